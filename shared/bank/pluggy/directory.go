package pluggy

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bkper/automations-portal/shared/bank"
)

// countries are those in which Pluggy has banks.
var countries = []string{"BR"}

const (
	unsupportedCountry = "UNSUPPORTED_COUNTRY"
	maxQuery           = 100 // characters
	shelfSize          = 50
	// shelfLife is short, because the list tells which banks can be reached now.
	shelfLife = 10 * time.Minute
)

// shelf is the best known banks.
type shelf struct {
	banks []bank.Institution
	until time.Time
}

// connector is a bank as Pluggy reaches it. The same bank may have several, for people and for businesses.
type connector struct {
	ID       loose   `json:"id"`
	Name     loose   `json:"name"`
	Country  loose   `json:"country"`
	Colour   loose   `json:"primaryColor"` // without a leading #
	URL      loose   `json:"institutionUrl"`
	Image    loose   `json:"imageUrl"`
	Sandbox  bool    `json:"isSandbox"`
	Products []loose `json:"products"`
	Health   maybe[struct {
		Status loose `json:"status"`
	}] `json:"health"`
}

// health is what Pluggy's words mean. New items of an OFFLINE connector are refused.
var health = map[string]string{"UNSTABLE": "degraded", "OFFLINE": "down"}

var connectors = regexp.MustCompile(`^[0-9]{1,9}$`)

func (c connector) institution() bank.Institution {
	if !connectors.MatchString(string(c.ID)) {
		return bank.Institution{}
	}
	return bank.Institution{
		ID: string(c.ID), Name: string(c.Name), Country: string(c.Country),
		URL: site(string(c.URL)), Colour: colour(string(c.Colour)), Logo: picture(string(c.Image)),
		Health: health[string(c.Health.Value.Status)],
	}
}

// meuPluggy is the connector of Pluggy's own service for one's own use. It is no bank, hides which one is behind it, and must not
// be used commercially.
const meuPluggy = "200"

// allowed reports whether people may connect the bank: test banks not in production, where they would feed a real Book, and
// neither what is no bank.
func (p *Pluggy) allowed(c connector) bool {
	return slices.Contains(countries, string(c.Country)) && (p.environment == Sandbox || !c.Sandbox && c.ID != meuPluggy)
}

// Countries returns BR.
func (*Pluggy) Countries() []string { return slices.Clone(countries) }

// Institutions searches by name. An empty query gives the first 50, kept for ten minutes.
func (p *Pluggy) Institutions(ctx context.Context, country, query string) ([]bank.Institution, error) {
	if !slices.Contains(countries, country) {
		return nil, &bank.Error{Kind: bank.Permanent, Code: unsupportedCountry, Err: bank.ErrNotFound}
	}
	query = strings.TrimSpace(query)
	if query == "" {
		return p.shelf(ctx)
	}
	if utf8.RuneCountInString(query) > maxQuery {
		return nil, nil
	}
	return p.connectors(ctx, query)
}

const connectorsCall = "GET /connectors"

// shelf answers from a recent copy. One that is older is better than none.
func (p *Pluggy) shelf(ctx context.Context) ([]bank.Institution, error) {
	p.mu.Lock()
	have := p.best
	p.mu.Unlock()
	if p.now().Before(have.until) {
		return slices.Clone(have.banks), nil
	}
	result := p.looking.DoChan("shelf", func() (any, error) {
		banks, err := p.connectors(context.WithoutCancel(ctx), "")
		if err == nil {
			p.mu.Lock()
			p.best = shelf{banks, p.now().Add(shelfLife)}
			p.mu.Unlock()
		}
		return banks, err
	})
	select {
	case <-ctx.Done():
		return nil, broken(connectorsCall, transport, ctx.Err())
	case got := <-result:
		if got.Err != nil && have.banks != nil {
			return slices.Clone(have.banks), nil
		}
		if got.Err != nil {
			return nil, got.Err
		}
		banks, _ := got.Val.([]bank.Institution)
		return slices.Clone(banks), nil
	}
}

// Institution asks for one bank by its id.
func (p *Pluggy) Institution(ctx context.Context, country, id string) (bank.Institution, error) {
	none := &bank.Error{Kind: bank.Permanent, Code: "CONNECTOR_NOT_FOUND", Err: bank.ErrNotFound}
	if !slices.Contains(countries, country) || !connectors.MatchString(id) {
		return bank.Institution{}, none
	}
	var got connector
	err := p.do(ctx, call{name: "GET /connectors/{id}", method: http.MethodGet, path: "/connectors/" + id, query: url.Values{"healthDetails": {"true"}}}, &got)
	if err != nil {
		return bank.Institution{}, err
	}
	if string(got.ID) != id || got.Name == "" || !p.allowed(got) {
		return bank.Institution{}, none
	}
	return got.institution(), nil
}

func (p *Pluggy) connectors(ctx context.Context, query string) ([]bank.Institution, error) {
	q := url.Values{"countries": {strings.Join(countries, ",")}, "types": {"PERSONAL_BANK,BUSINESS_BANK"}, "healthDetails": {"true"}}
	if query != "" {
		q.Set("name", query)
	}
	if p.environment == Sandbox {
		q.Set("sandbox", "true")
	}
	var got struct {
		Results []maybe[connector] `json:"results"`
	}
	if err := p.do(ctx, call{name: connectorsCall, method: http.MethodGet, path: "/connectors", query: q}, &got); err != nil {
		return nil, err
	}
	banks := []bank.Institution{}
	for _, r := range got.Results {
		c := r.Value
		if i := c.institution(); i.ID != "" && i.Name != "" && p.allowed(c) && c.gives("TRANSACTIONS") && len(banks) < shelfSize {
			banks = append(banks, i)
		}
	}
	return banks, nil
}

// gives reports whether a connector has a product; one that lists none is asked.
func (c connector) gives(product loose) bool {
	return len(c.Products) == 0 || slices.Contains(c.Products, product)
}

// site lets pass only what a page may link to.
func site(text string) string {
	at, err := url.Parse(text)
	if err != nil || (at.Scheme != "https" && at.Scheme != "http") || at.Host == "" || at.User != nil {
		return ""
	}
	return at.String()
}

// picture lets pass only what a page may show.
func picture(text string) string {
	if at, err := url.Parse(text); err != nil || !bank.Confidential(at) {
		return ""
	}
	return site(text)
}

var colours = regexp.MustCompile(`^[0-9a-f]{6}$`)

func colour(text string) string {
	if text = strings.ToLower(strings.TrimPrefix(text, "#")); colours.MatchString(text) {
		return "#" + text
	}
	return ""
}
