package plaid

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	sdk "github.com/plaid/plaid-go/v20/plaid"

	"github.com/bkper/automations-portal/shared/bank"
)

// countries are those in which Plaid gives transactions. The SDK has no names for Austria and Finland.
var countries = []string{
	"AT", "BE", "CA", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "IE", "IT", "LT", "LV", "NL", "NO", "PL", "PT", "SE", "US",
}

const (
	unsupportedCountry = "UNSUPPORTED_COUNTRY"
	maxQuery           = 100 // characters
	maxLogo            = 200 << 10
	shelfSize          = 50
	// shelfLife is long because Plaid allows ten pages of the directory a minute in its Sandbox, and banks seldom change.
	shelfLife = 24 * time.Hour
)

// shelf is the first page of a country's banks.
type shelf struct {
	banks []bank.Institution
	until time.Time
}

// Countries returns the 20 countries for which Plaid has the Transactions product.
func (*Plaid) Countries() []string { return slices.Clone(countries) }

// adding are the countries in which Plaid lets accounts be chosen anew for an item that exists.
var adding = []string{"CA", "US"}

// Front tells how long the history is. The sign-in is a page of Plaid's own, so nothing of it runs on ours.
func (*Plaid) Front() bank.Front {
	return bank.Front{Days: daysRequested, Adds: slices.Clone(adding), Needs: needs}
}

// Institutions searches by name, at most 10 as Plaid has it. An empty query gives the first 50, kept for a day.
func (p *Plaid) Institutions(ctx context.Context, country, query string) ([]bank.Institution, error) {
	if !slices.Contains(countries, country) {
		return nil, &bank.Error{Kind: bank.Permanent, Code: unsupportedCountry, Err: bank.ErrNotFound}
	}
	query = strings.TrimSpace(query)
	if query == "" {
		return p.shelf(ctx, country)
	}
	if utf8.RuneCountInString(query) > maxQuery {
		return nil, nil
	}
	request := sdk.InstitutionsSearchRequest{
		Query:        query,
		Products:     []sdk.Products{sdk.PRODUCTS_TRANSACTIONS},
		CountryCodes: []sdk.CountryCode{sdk.CountryCode(country)},
		Options:      &sdk.InstitutionsSearchRequestOptions{IncludeOptionalMetadata: sdk.PtrBool(true)},
	}
	got, answer, err := p.api.InstitutionsSearch(ctx).InstitutionsSearchRequest(request).Execute()
	if err != nil {
		return nil, failure("/institutions/search", answer, err)
	}
	return institutions(country, got.Institutions), nil
}

// shelf answers from the copy of the day. A copy that is older is better than none.
func (p *Plaid) shelf(ctx context.Context, country string) ([]bank.Institution, error) {
	p.mu.Lock()
	have, ok := p.best[country]
	p.mu.Unlock()
	if ok && p.now().Before(have.until) {
		return slices.Clone(have.banks), nil
	}
	result := p.looking.DoChan(country, func() (any, error) {
		// One fetch is for all who wait for it; the client's own time-out ends it.
		return p.fetchShelf(context.WithoutCancel(ctx), country)
	})
	select {
	case <-ctx.Done():
		return nil, broken(shelfCall, "TRANSPORT", ctx.Err())
	case got := <-result:
		if got.Err != nil && ok {
			return slices.Clone(have.banks), nil
		}
		if got.Err != nil {
			return nil, got.Err
		}
		banks, _ := got.Val.([]bank.Institution)
		return slices.Clone(banks), nil
	}
}

const shelfCall = "/institutions/get"

func (p *Plaid) fetchShelf(ctx context.Context, country string) ([]bank.Institution, error) {
	request := sdk.InstitutionsGetRequest{
		Count:        shelfSize,
		CountryCodes: []sdk.CountryCode{sdk.CountryCode(country)},
		Options: &sdk.InstitutionsGetRequestOptions{
			Products:                []sdk.Products{sdk.PRODUCTS_TRANSACTIONS},
			IncludeOptionalMetadata: sdk.PtrBool(true),
		},
	}
	got, answer, err := p.api.InstitutionsGet(ctx).InstitutionsGetRequest(request).Execute()
	if err != nil {
		return nil, failure(shelfCall, answer, err)
	}
	banks := institutions(country, got.Institutions)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.best[country] = shelf{banks: banks, until: p.now().Add(shelfLife)}
	return banks, nil
}

const unknownInstitution = "INVALID_INSTITUTION"

// ids of institutions as Plaid gives them; whatever else somebody sends is not asked for.
var institutionIDs = regexp.MustCompile(`^[0-9A-Za-z_-]{1,100}$`)

// Institution asks for one bank by its id. Plaid allows 400 such calls a minute.
func (p *Plaid) Institution(ctx context.Context, country, id string) (bank.Institution, error) {
	if !slices.Contains(countries, country) || !institutionIDs.MatchString(id) {
		return bank.Institution{}, &bank.Error{Kind: bank.Permanent, Code: unknownInstitution, Err: bank.ErrNotFound}
	}
	const call = "/institutions/get_by_id"
	request := sdk.InstitutionsGetByIdRequest{
		InstitutionId: id, CountryCodes: []sdk.CountryCode{sdk.CountryCode(country)},
		Options: &sdk.InstitutionsGetByIdRequestOptions{IncludeOptionalMetadata: sdk.PtrBool(true)},
	}
	got, answer, err := p.api.InstitutionsGetById(ctx).InstitutionsGetByIdRequest(request).Execute()
	if err != nil {
		return bank.Institution{}, failure(call, answer, err)
	}
	found := institutions(country, []sdk.Institution{got.Institution})
	if len(found) == 0 || found[0].ID != id {
		return bank.Institution{}, broken(call, badAnswer, errors.New("another bank"))
	}
	return found[0], nil
}

func institutions(country string, found []sdk.Institution) []bank.Institution {
	banks := make([]bank.Institution, 0, len(found))
	for _, i := range found[:min(len(found), shelfSize)] {
		if i.InstitutionId == "" || i.Name == "" {
			continue
		}
		banks = append(banks, bank.Institution{
			ID: i.InstitutionId, Name: i.Name, Country: country,
			URL: site(i.GetUrl()), Colour: colour(i.GetPrimaryColor()), Logo: logo(i.GetLogo()),
		})
	}
	return banks
}

// site lets pass only what a page may link to.
func site(text string) string {
	at, err := url.Parse(text)
	if err != nil || at.Scheme != "https" && at.Scheme != "http" || at.Host == "" {
		return ""
	}
	return at.String()
}

var colours = regexp.MustCompile(`^#[0-9a-f]{6}$`)

func colour(text string) string {
	if text = strings.ToLower(text); colours.MatchString(text) {
		return text
	}
	return ""
}

// logo makes an image that a page can show without asking another host. Only PNG passes, as Plaid promises it.
func logo(text string) string {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) > maxLogo || !bytes.HasPrefix(raw, []byte("\x89PNG\r\n\x1a\n")) {
		return ""
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(raw)
}
