// Package toybank is a bank that exists in tests only, and the provider that brings it to the functions: to prove that they
// know no provider by name, and take for granted no habit of one. So it differs from the real ones where it can. People sign
// in in a widget on our page; an item is told of to those only who know its name; there is no token to be exchanged; rows
// are renamed when they settle and at other times, and once in a while all rows and accounts are; what was taken off a
// statement is told to those only who look deep; a secret in a header of its own accompanies the webhooks.
package toybank

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

// Name of the provider. It ends in a digit, since names may.
const Name = "toybank2"

// Headers of the service.
const (
	keyHeader   = "Toybank-Key"
	visitHeader = "Toybank-Visit"
	itemHeader  = "Toybank-Item"
	bellHeader  = "Toybank-Bell"
)

// What goes over the wire.
type (
	bankSays struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	visitAsks struct {
		User    string `json:"user"`
		Webhook string `json:"webhook"`
	}
	visitMade struct {
		Handle string `json:"visit_handle"`
		Ref    string `json:"ref"`
		Widget string `json:"widget"`
	}
	visitSays struct {
		Ref    string `json:"ref"`
		State  string `json:"state"`
		Renews bool   `json:"renews"`
	}
	madeSays struct {
		Visit string   `json:"visit"`
		User  string   `json:"user"`
		Item  itemSays `json:"item"`
	}
	keySays struct {
		Item string `json:"item"`
		Key  string `json:"item_key"`
	}
	itemSays struct {
		Item     string        `json:"item"`
		State    string        `json:"state"`
		Bank     bankSays      `json:"bank"`
		Accounts []accountSays `json:"accounts"`
	}
	accountSays struct {
		ID       string `json:"id"`
		Name     string `json:"name"`
		Number   string `json:"number"`
		Currency string `json:"currency"`
		Card     bool   `json:"card"`
	}
	rowSays struct {
		ID       string      `json:"id"`
		First    string      `json:"first"` // id that it had first, where it is another
		Account  string      `json:"account"`
		Card     bool        `json:"card"`
		Date     string      `json:"date"`
		Delta    json.Number `json:"delta"`
		Currency string      `json:"currency"`
		Text     string      `json:"text"`
		Pending  bool        `json:"pending"`
	}
	pageSays struct {
		Rows []rowSays `json:"rows"`
		Gone []string  `json:"gone"`
		Next string    `json:"next"`
		More bool      `json:"more"`
	}
	// call is the body of a webhook.
	call struct {
		Kind  string `json:"kind"` // made, rows, gone or item
		Item  string `json:"item"`
		Visit string `json:"visit,omitempty"`
	}
)

// toyInstitution is the only one.
var toyInstitution = bankSays{"toy", "Toy Bank of Aotearoa"}

// countries: one of its own, and one that others serve too.
var countries = []string{"NZ", "GB"}

// Provider is the adapter.
type Provider struct {
	url       string
	key, bell secret.String
	client    *http.Client
}

var _ bank.Provider = (*Provider)(nil)

// New makes the adapter of a Service that listens at a URL.
func New(url, key, bell string) *Provider {
	return &Provider{url, secret.New(key), secret.New(bell), &http.Client{Timeout: 10 * time.Second}}
}

// Name implements bank.Provider.
func (*Provider) Name() string { return Name }

// Countries implements bank.Directory.
func (*Provider) Countries() []string { return slices.Clone(countries) }

// Front implements bank.Directory.
func (*Provider) Front() bank.Front {
	return bank.Front{Days: 900, Adds: slices.Clone(countries), Widget: []byte("export function open() { return Promise.resolve({}); }\n"), Hosts: map[string][]string{"frame-src": {"https://widget.toybank.example"}}}
}

// whole refuses a success without the one thing that it always says.
func whole(err error, said *string) error {
	if err == nil && *said == "" {
		return &bank.Error{Kind: bank.Retry, Code: "half"}
	}
	return err
}

// Institutions implements bank.Directory.
func (p *Provider) Institutions(ctx context.Context, country, query string) ([]bank.Institution, error) {
	if !slices.Contains(countries, country) {
		return nil, &bank.Error{Kind: bank.Permanent, Code: "country", Err: bank.ErrUnsupported}
	}
	var found []bankSays
	err := p.call(ctx, http.MethodGet, "/banks?q="+url.QueryEscape(query), nil, nil, &found)
	var banks []bank.Institution
	for _, b := range found {
		banks = append(banks, b.institution(country))
	}
	return banks, err
}

// Institution implements bank.Directory.
func (p *Provider) Institution(ctx context.Context, country, id string) (bank.Institution, error) {
	var banks []bank.Institution
	var err error
	if slices.Contains(countries, country) {
		banks, err = p.Institutions(ctx, country, "")
	}
	i := slices.IndexFunc(banks, func(b bank.Institution) bool { return b.ID == id })
	if err == nil && i < 0 {
		err = &bank.Error{Kind: bank.Permanent, Code: "bank", Err: bank.ErrNotFound}
	}
	if err != nil {
		return bank.Institution{}, err
	}
	return banks[i], nil
}

func (b bankSays) institution(country string) bank.Institution {
	return bank.Institution{ID: b.ID, Name: b.Name, Country: country}
}

// Begin implements bank.Linker.
func (p *Provider) Begin(ctx context.Context, b bank.Begin) (bank.Begun, error) {
	if !slices.Contains(countries, b.Country) {
		return bank.Begun{}, &bank.Error{Kind: bank.Permanent, Code: "country", Err: bank.ErrUnsupported}
	}
	var made visitMade
	err := whole(p.call(ctx, http.MethodPost, "/visits", secrets{itemHeader: b.Token}, visitAsks{b.User, b.Webhook}, &made), &made.Handle)
	now := time.Now()
	return bank.Begun{
		Handle: secret.New(made.Handle), Ref: made.Ref, Widget: secret.New(made.Widget), Expires: now.Add(time.Hour), Forgets: now.Add(2 * time.Hour),
	}, err
}

// Outcome implements bank.Linker. An item is found by its name alone, and believed only if it was made in this visit, by this
// user.
func (p *Provider) Outcome(ctx context.Context, v bank.Visit) (bank.Outcome, error) {
	var visit visitSays
	err := p.call(ctx, http.MethodGet, "/visit", secrets{visitHeader: v.Handle}, nil, &visit)
	switch {
	case errors.Is(err, bank.ErrGone):
		return bank.Outcome{State: bank.Unknown}, nil
	case err != nil:
		return bank.Outcome{}, err
	case visit.State == "left":
		return bank.Outcome{State: bank.Left}, nil
	case visit.State == "done" && visit.Renews:
		return bank.Outcome{State: bank.Finished}, nil
	case v.Hint == "":
		return bank.Outcome{State: bank.Visiting}, nil
	}
	var made madeSays
	err = p.call(ctx, http.MethodGet, "/made?item="+url.QueryEscape(v.Hint), nil, nil, &made)
	if errors.Is(err, bank.ErrGone) || err == nil && (made.Visit != visit.Ref || made.User != v.User) {
		return bank.Outcome{State: bank.Visiting}, nil
	}
	if err != nil {
		return bank.Outcome{}, err
	}
	return bank.Outcome{State: bank.Finished, Candidates: []bank.Candidate{{
		Key: bank.Hash(made.Item.Item), Public: secret.New(made.Item.Item), Institution: made.Item.Bank.institution(""), Accounts: made.Item.accounts(),
	}}}, nil
}

// Exchange implements bank.Linker. It may be repeated.
func (p *Provider) Exchange(ctx context.Context, c bank.Candidate) (bank.Grant, error) {
	var got keySays
	err := whole(p.call(ctx, http.MethodPost, "/key?item="+url.QueryEscape(c.Public.Reveal()), nil, nil, &got), &got.Key)
	return bank.Grant{Item: got.Item, Token: secret.New(got.Key)}, err
}

// Discard implements bank.Linker.
func (p *Provider) Discard(ctx context.Context, c bank.Candidate) error {
	got, err := p.Exchange(ctx, c)
	if errors.Is(err, bank.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.Remove(ctx, got.Token)
}

// Remove implements bank.Linker.
func (p *Provider) Remove(ctx context.Context, token secret.String) error {
	err := p.call(ctx, http.MethodDelete, "/item", secrets{itemHeader: token}, nil, nil)
	if errors.Is(err, bank.ErrGone) {
		return nil
	}
	return err
}

// Item implements bank.Reader.
func (p *Provider) Item(ctx context.Context, token secret.String) (bank.Item, error) {
	var says itemSays
	err := whole(p.call(ctx, http.MethodGet, "/item", secrets{itemHeader: token}, nil, &says), &says.Item)
	item := bank.Item{ID: says.Item, Institution: says.Bank.institution(""), Accounts: says.accounts()}
	if says.State != "well" {
		item.NeedsUser = says.State
	}
	return item, err
}

func (i itemSays) accounts() (all []bank.Account) {
	for _, a := range i.Accounts {
		t := bank.Deposit
		if a.Card {
			t = bank.Card
		}
		all = append(all, bank.Account{ID: a.ID, Name: a.Name, Mask: a.Number, Type: t, Currency: a.Currency})
	}
	return all
}

// Changes implements bank.Reader.
func (p *Provider) Changes(ctx context.Context, from bank.From) (bank.Page, error) {
	query := url.Values{"at": {from.At}}
	if from.Deep {
		query.Set("deep", "1")
	}
	var says pageSays
	if err := whole(p.call(ctx, http.MethodGet, "/rows?"+query.Encode(), secrets{itemHeader: from.Token}, nil, &says), &says.Next); err != nil {
		return bank.Page{}, err
	}
	page := bank.Page{Next: says.Next, More: says.More, Complete: true}
	for _, r := range says.Rows {
		t, err := r.transaction()
		if err != nil {
			page.Unusable = append(page.Unusable, bank.Unusable{ID: r.ID, Account: r.Account, Reason: err.Error()})
			continue
		}
		page.Changed = append(page.Changed, t)
	}
	for _, id := range says.Gone {
		page.Removed = append(page.Removed, bank.RemovedTransaction{ID: id})
	}
	return page, nil
}

func (r rowSays) transaction() (t bank.Transaction, err error) {
	t = bank.Transaction{ID: r.ID, Account: r.Account, PendingID: r.First, Pending: r.Pending, Currency: r.Currency, Text: r.Text}
	if t.Date, err = civil.ParseDate(r.Date); err == nil {
		t.Amount, t.Direction, err = parse(r.Delta, r.Card)
	}
	return t, err
}

// Verify implements bank.Doorbell.
func (p *Provider) Verify(_ context.Context, header http.Header, body []byte) ([]bank.Notice, error) {
	bells := header.Values(bellHeader)
	if len(bells) != 1 || subtle.ConstantTimeCompare([]byte(bells[0]), []byte(p.bell.Reveal())) != 1 {
		return nil, fmt.Errorf("verify: %w", bank.ErrForged)
	}
	var c call
	in := json.NewDecoder(bytes.NewReader(body))
	in.DisallowUnknownFields()
	if err := in.Decode(&c); err != nil || in.Decode(new(any)) != io.EOF || c.Item == "" {
		return nil, fmt.Errorf("verify: %w", bank.ErrMalformed)
	}
	switch c.Kind {
	case "made":
		return []bank.Notice{{Session: c.Visit, Item: c.Item}}, nil
	case "rows":
		return []bank.Notice{{Item: c.Item}}, nil
	}
	return []bank.Notice{{Item: c.Item, Deep: true}}, nil
}

// secrets are headers.
type secrets map[string]secret.String

// call asks the service. Its errors name no address and no header.
func (p *Provider) call(ctx context.Context, method, path string, with secrets, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, p.url+path, bytes.NewReader(body))
	if err != nil {
		return &bank.Error{Kind: bank.OurFault, Code: "address"}
	}
	r.Header.Set(keyHeader, p.key.Reveal())
	for name, value := range with {
		if !value.Empty() {
			r.Header.Set(name, value.Reveal())
		}
	}
	resp, err := p.client.Do(r)
	if err != nil {
		return &bank.Error{Kind: bank.Retry, Code: "unreachable", Err: errors.Unwrap(err)}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return failure(resp)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(out); err != nil {
		return &bank.Error{Kind: bank.Retry, Code: "answer"}
	}
	return nil
}

func failure(resp *http.Response) error {
	e := &bank.Error{Kind: bank.Retry, Code: "status_" + strconv.Itoa(resp.StatusCode)}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusBadRequest:
		e.Kind = bank.OurFault
	case http.StatusForbidden:
		e.Kind = bank.UserMustAct
	case http.StatusNotFound:
		e.Kind, e.Err = bank.Permanent, bank.ErrGone
	case http.StatusGone:
		e.Kind, e.Err = bank.Permanent, bank.ErrCursor
	}
	e.Heed(resp.Header)
	return e
}
