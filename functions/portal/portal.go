// Package portal serves the page that people use, the lists that it shows, and Sync now.
package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bkper/automations-portal/shared/access"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/view"
	"github.com/bkper/automations-portal/shared/web"
)

// Books is the part of a ledger that the lists need.
type Books interface {
	access.BookReader
	Books(ctx context.Context, token secret.String) ([]ledger.Book, error)
}

// Portal serves the function.
type Portal struct {
	Store     store.Reader
	Banks     map[string]bank.Directory
	Books     Books
	Events    events.Publisher
	Edge      *web.Edge
	Functions Functions
	Support   string // e-mail address to which people turn
	Privacy   string // URL of the privacy policy
	Book      string // URL of a Book's transactions as people see them; {book} stands for its id
	Now       func() time.Time
}

// Handler serves the paths below the function's root.
func (p *Portal) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/{$}", p.Edge.Handle("portal", p.index, http.MethodGet, http.MethodHead))
	mux.Handle("/page/{version}/{file}", p.Edge.Handle("portal/page", p.file, http.MethodGet, http.MethodHead))
	mux.Handle("/widgets/{provider}", p.Edge.Handle("portal/widgets", p.widget(), http.MethodGet, http.MethodHead))
	mux.Handle("/config", p.Edge.Handle("portal/config", p.config, http.MethodGet, http.MethodHead))
	mux.Handle("/openapi.json", p.Edge.Handle("portal/openapi", document, http.MethodGet, http.MethodHead))
	mux.Handle("/user", web.Get(p.Edge, "portal/user", p.user))
	mux.Handle("/connections", web.Get(p.Edge, "portal/connections", p.connections))
	mux.Handle("/integrations", web.Get(p.Edge, "portal/integrations", p.integrations))
	mux.Handle("/attention", web.Get(p.Edge, "portal/attention", p.attention))
	mux.Handle("/countries", web.Get(p.Edge, "portal/countries", p.countries))
	mux.Handle("/banks", web.Get(p.Edge, "portal/banks", p.banks))
	mux.Handle("/bank", web.Get(p.Edge, "portal/bank", p.bank))
	mux.Handle("/books", web.Get(p.Edge, "portal/books", p.books))
	mux.Handle("/book", web.Get(p.Edge, "portal/book", p.book))
	mux.Handle("/sync", web.Post(p.Edge, "portal/sync", p.sync))
	mux.Handle("/", p.Edge.Nothing())
	return mux
}

// Nothing is asked for.
type Nothing struct{}

// User is who calls.
type User struct {
	Email string `json:"email"`
}

func (p *Portal) user(_ context.Context, who caller.Caller, _ Nothing) (User, error) {
	return User{who.Email}, nil
}

// Connections lists connections.
type Connections struct {
	Connections []view.Connection `json:"connections"`
}

// connections lists everything that is connected to the caller, whichever Book is open.
func (p *Portal) connections(ctx context.Context, who caller.Caller, _ Nothing) (Connections, error) {
	mine, err := store.Connections.Find(ctx, p.Store, store.Query{Field: store.ByOwner, Any: []string{who.Sub}})
	if err != nil {
		return Connections{}, err
	}
	list, err := p.shown(ctx, who, mine)
	if err != nil {
		return list, err
	}
	return list, p.addUses(ctx, list.Connections, mine)
}

// addUses tells of each connection which integrations hang on it, in whichever Book.
func (p *Portal) addUses(ctx context.Context, views []view.Connection, conns []*bank.Connection) error {
	const most = 30 // values of a query
	byID := map[string]*bank.Connection{}
	at := map[string]int{}
	var ids []string
	for _, c := range conns {
		byID[c.ID], ids = c, append(ids, c.ID)
	}
	for n, v := range views {
		at[v.ID] = n
	}
	for some := range slices.Chunk(ids, most) {
		is, err := store.Integrations.Find(ctx, p.Store, store.Query{Field: store.ByConnection, Any: some})
		if err != nil {
			return err
		}
		slices.SortFunc(is, byName)
		for _, i := range is {
			v := &views[at[i.Connection]]
			v.Integrations = append(v.Integrations, view.OfIntegration(i, byID[i.Connection], nil))
		}
	}
	return nil
}

func byName(a, b *bank.Integration) int {
	return strings.Compare(a.Bank.Name+a.Of.Name+a.ID, b.Bank.Name+b.Of.Name+b.ID)
}

func (p *Portal) shown(ctx context.Context, who caller.Caller, conns []*bank.Connection) (Connections, error) {
	list := Connections{Connections: []view.Connection{}}
	var ids []string
	for _, c := range conns {
		ids = append(ids, c.ID)
	}
	engines, err := all(ctx, p.Store, posting.Engines, ids)
	if err != nil {
		return list, err
	}
	slices.SortFunc(conns, func(a, b *bank.Connection) int { return a.Created.Compare(b.Created) })
	for _, c := range conns {
		list.Connections = append(list.Connections, view.OfConnection(c, engines[c.ID], bank.NeedOf(c, p.Banks[c.Provider]), who.Sub, p.Now()))
	}
	return list, nil
}

// all reads the documents of one kind that there are, at once.
func all[T any](ctx context.Context, r store.Reader, kind store.Kind[T], ids []string) (map[string]*T, error) {
	found := map[string]*T{}
	if len(ids) == 0 {
		return found, nil
	}
	docs, err := r.Get(ctx, kind.Name, ids...)
	if err != nil {
		return nil, err
	}
	for _, d := range docs {
		v, err := kind.Decode(d)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found[d.ID] = v
	}
	return found, nil
}

// OfBook names a Book.
type OfBook struct {
	Book string `json:"book"`
}

// Integrations lists what is configured on a Book, and what was offered to it by others.
type Integrations struct {
	Integrations []view.Integration `json:"integrations"`
	Offered      []view.Connection  `json:"offered"`
	Former       []view.Integration `json:"former,omitempty"` // that were removed, for Link's replaces
}

// split parts what records from what was removed.
func split(is []*bank.Integration) (live, former []*bank.Integration) {
	for _, i := range is {
		if i.State == bank.Live {
			live = append(live, i)
		} else {
			former = append(former, i)
		}
	}
	return live, former
}

// integrations lists, for any collaborator who sees the Book, its integrations with their progress; for its editors, also
// the connections whose accounts they may link there.
func (p *Portal) integrations(ctx context.Context, who caller.Caller, r OfBook) (Integrations, error) {
	list := Integrations{Integrations: []view.Integration{}, Offered: []view.Connection{}}
	book, err := access.Book(ctx, p.Books, who, r.Book)
	if err != nil {
		return list, err
	}
	is, err := store.Integrations.Find(ctx, p.Store, store.Query{Field: store.ByBook, Any: []string{r.Book}})
	if err != nil {
		return list, err
	}
	live, former := split(is)
	is = live
	slices.SortFunc(is, byName)
	var ids []string
	for _, i := range is {
		if !slices.Contains(ids, i.Connection) {
			ids = append(ids, i.Connection)
		}
	}
	conns, err := all(ctx, p.Store, store.Connections, ids)
	if err != nil {
		return list, err
	}
	engines, err := all(ctx, p.Store, posting.Engines, ids)
	if err != nil {
		return list, err
	}
	for _, i := range is {
		list.Integrations = append(list.Integrations, view.OfIntegration(i, conns[i.Connection], engines[i.Connection]))
	}
	if !book.Permission.Edits() {
		return list, nil
	}
	for _, i := range former {
		list.Former = append(list.Former, view.OfIntegration(i, nil, nil))
	}
	offered, err := store.Connections.Find(ctx, p.Store, store.Query{Field: store.ByBook, Any: []string{r.Book}})
	if err != nil {
		return list, err
	}
	shown, err := p.shown(ctx, who, offered)
	list.Offered = shown.Connections
	return list, err
}

// OfIntegration names an integration of a Book.
type OfIntegration struct {
	Book        string `json:"book"`
	Integration string `json:"integration"`
}

// Attention lists what a person should look at.
type Attention struct {
	Rows []view.Row `json:"rows"`
}

// attention lists, for any collaborator who sees the Book, what an integration could not record, and the records that
// differ from the bank because a person's hand forbids to change them.
func (p *Portal) attention(ctx context.Context, who caller.Caller, r OfIntegration) (Attention, error) {
	list := Attention{Rows: []view.Row{}}
	if err := access.ID("/integration", r.Integration); err != nil {
		return list, err
	}
	if _, err := access.Book(ctx, p.Books, who, r.Book); err != nil {
		return list, err
	}
	i, err := store.Integrations.Get(ctx, p.Store, r.Integration)
	if errors.Is(err, store.ErrNotFound) || (err == nil && i.Book != r.Book) {
		return list, access.NoIntegration()
	}
	if err != nil {
		return list, err
	}
	rows, err := posting.Attention(ctx, p.Store, i.ID)
	for _, row := range rows {
		list.Rows = append(list.Rows, view.OfRow(row))
	}
	return list, err
}

// Countries lists where banks can be connected.
type Countries struct {
	Countries []string `json:"countries"` // ISO 3166-1 alpha-2
}

func (p *Portal) countries(context.Context, caller.Caller, Nothing) (Countries, error) {
	var all []string
	for _, d := range p.Banks {
		all = append(all, d.Countries()...)
	}
	slices.Sort(all)
	return Countries{slices.Compact(all)}, nil
}

// Search looks for banks.
type Search struct {
	Country string `json:"country"`
	Query   string `json:"q,omitempty"`
}

// Bank is a bank that can be connected.
type Bank struct {
	bank.Institution
	Provider string `json:"provider"`
}

// Banks lists banks.
type Banks struct {
	Banks []Bank `json:"banks"`
}

// longestQuery is in characters.
const longestQuery = 100

func (p *Portal) banks(ctx context.Context, _ caller.Caller, r Search) (Banks, error) {
	list := Banks{Banks: []Bank{}}
	if utf8.RuneCountInString(r.Query) > longestQuery {
		return list, web.Invalid("/q", fmt.Sprintf("Search with at most %d characters.", longestQuery))
	}
	served := false
	var failed error
	for name, d := range p.Banks {
		if !slices.Contains(d.Countries(), r.Country) {
			continue
		}
		served = true
		found, err := d.Institutions(ctx, r.Country, strings.TrimSpace(r.Query))
		if err != nil {
			slog.WarnContext(ctx, "a provider's banks are missing in a list", "provider", name, "code", bank.CodeOf(err), "err", err)
			failed = err
			continue
		}
		for _, i := range found {
			list.Banks = append(list.Banks, Bank{i, name})
		}
	}
	if !served {
		return list, web.Unprocessable("country_not_served", "/country", "Banks of this country cannot be connected yet. Import a file of the bank instead.")
	}
	if failed != nil && len(list.Banks) == 0 { // where another provider has some, a person may go on
		return list, access.ExplainBank(failed)
	}
	slices.SortStableFunc(list.Banks, func(a, b Bank) int { return strings.Compare(a.Provider, b.Provider) })
	return list, nil
}

// OfBank names a bank.
type OfBank struct {
	Provider string `json:"provider"`
	Country  string `json:"country"`
	ID       string `json:"id"`
}

// Keep is a day: names and logos seldom change, and providers limit how often they tell them.
func (Bank) Keep() time.Duration { return 24 * time.Hour }

// bank shows one bank, for pages that have its id from a connection and no logo, which is stored nowhere.
func (p *Portal) bank(ctx context.Context, _ caller.Caller, r OfBank) (Bank, error) {
	d, served := p.Banks[r.Provider]
	if !served {
		return Bank{}, noBank()
	}
	found, err := d.Institution(ctx, r.Country, r.ID)
	if errors.Is(err, bank.ErrNotFound) {
		return Bank{}, noBank().Because(err)
	}
	if err != nil {
		return Bank{}, access.ExplainBank(err)
	}
	return Bank{found, r.Provider}, nil
}

func noBank() *web.Problem {
	return web.NotFound("There is no such bank, or it can no longer be connected.")
}

// Book is a Book as the page shows it.
type Book struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Permission string    `json:"permission"`
	Currency   string    `json:"currency,omitempty"`
	Accounts   []Account `json:"accounts,omitempty"`
}

// Account is an Account of a Book.
type Account struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Type     string `json:"type"`
	Archived bool   `json:"archived,omitempty"`
}

// BookList lists Books.
type BookList struct {
	Books []Book `json:"books"`
}

func (p *Portal) books(ctx context.Context, who caller.Caller, _ Nothing) (BookList, error) {
	list := BookList{Books: []Book{}}
	found, err := p.Books.Books(ctx, who.Token)
	if err != nil {
		return list, access.ExplainLedger(err)
	}
	for _, b := range found {
		list.Books = append(list.Books, ofBook(b))
	}
	return list, nil
}

func (p *Portal) book(ctx context.Context, who caller.Caller, r OfBook) (Book, error) {
	b, err := access.Book(ctx, p.Books, who, r.Book)
	return ofBook(b), err
}

func ofBook(b ledger.Book) Book {
	v := Book{ID: b.ID, Name: b.Name, Permission: string(b.Permission), Currency: b.Currency}
	for _, a := range b.Accounts {
		v.Accounts = append(v.Accounts, Account{a.ID, a.Name, string(a.Type), a.Archived})
	}
	return v
}

// SyncNow asks for a look at the bank. Book is needed by those to whom the connection was offered.
type SyncNow struct {
	Connection string `json:"connection"`
	Book       string `json:"book,omitempty"`
}

// Asked says that the bank will be looked at.
type Asked struct {
	State   string `json:"state"`
	Message string `json:"message"`
}

// Status is 202: the work is done elsewhere.
func (Asked) Status() int { return http.StatusAccepted }

// sync rings. It never uses the provider's refresh, which is paid by the call.
func (p *Portal) sync(ctx context.Context, who caller.Caller, r SyncNow) (Asked, error) {
	conn, err := p.mayRing(ctx, who, r)
	if err != nil {
		return Asked{}, err
	}
	if conn.State != bank.Active {
		return Asked{}, web.Conflict("not_connected", "The bank cannot be read now. Reconnect this connection first.")
	}
	engines, err := all(ctx, p.Store, posting.Engines, []string{conn.ID})
	if err != nil {
		return Asked{}, err
	}
	if e := engines[conn.ID]; e != nil {
		if rest := e.Synced.Add(view.Rest).Sub(p.Now()); rest > 0 {
			return Asked{}, &web.Problem{
				Status: http.StatusTooManyRequests, Code: "just_synced", After: rest,
				Detail: "The bank was read a moment ago, and all it had is in the Book. Ask again in two minutes.",
			}
		}
	}
	if err := p.Events.Publish(ctx, events.Rings, events.Message{Connection: conn.ID, Deep: true}); err != nil {
		return Asked{}, web.Unavailable(0).Because(err)
	}
	return Asked{"asked", "The bank is being read; new transactions show in the Book within a minute."}, nil
}

func (p *Portal) mayRing(ctx context.Context, who caller.Caller, r SyncNow) (*bank.Connection, error) {
	if r.Book == "" {
		return access.Own(ctx, p.Store, who, r.Connection)
	}
	if _, err := access.EditBook(ctx, p.Books, who, r.Book); err != nil {
		return nil, err
	}
	return access.Offered(ctx, p.Store, who, r.Connection, r.Book)
}
