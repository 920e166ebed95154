// Package connect is a person's way to a bank: it starts a session at the bank's sign-in, keeps what the session yields as
// a Connection, offers the connection to Books, and lets its owner share accounts that were opened since.
package connect

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/bkper/automations-portal/shared/access"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
	"github.com/bkper/automations-portal/shared/view"
	"github.com/bkper/automations-portal/shared/web"
)

// Connect serves the function.
type Connect struct {
	Store  store.Store
	Vault  vault.Vault
	Banks  map[string]bank.Provider
	Books  access.BookReader
	Start  *session.Starter
	Events events.Publisher
	Page   string // URL of the portal's page, to which people come back from the bank
	Edge   *web.Edge
	Pushes *web.Edge // verifies the subscription of the sessions topic
	Now    func() time.Time
	Sleep  func(context.Context, time.Duration) error
}

// Handler serves the paths below the function's root.
func (c *Connect) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/{$}", web.Post(c.Edge, "connect", c.connect))
	mux.Handle("/complete", c.Edge.Handle("connect/complete", c.completeOrBack(), http.MethodGet, http.MethodHead, http.MethodPost))
	mux.Handle("/offer", web.Post(c.Edge, "connect/offer", c.offer))
	mux.Handle("/accounts", web.Post(c.Edge, "connect/accounts", c.accounts))
	mux.Handle("/push", web.Push(c.Pushes, "connect/push", c.push))
	mux.Handle("/", c.Edge.Nothing())
	return mux
}

// Request starts a session for a bank of a country, from a Book.
type Request struct {
	Book     string `json:"book"`
	Country  string `json:"country"`            // ISO 3166-1 alpha-2
	Provider string `json:"provider,omitempty"` // where several serve the country
	Language string `json:"language,omitempty"` // of the person: "en" or "pt"
}

func (c *Connect) connect(ctx context.Context, who caller.Caller, r Request) (session.Started, error) {
	var none session.Started
	if _, err := access.Book(ctx, c.Books, who, r.Book); err != nil {
		return none, err
	}
	provider, err := c.serves(r.Country, r.Provider)
	if err != nil {
		return none, err
	}
	return c.Start.Start(ctx, who, bank.Session{
		Book: r.Book, Provider: provider, Country: r.Country, Purpose: bank.ToConnect, Connection: session.NewID(),
	}, r.Language, secret.String{})
}

// serves finds the provider of a country.
func (c *Connect) serves(country, wanted string) (string, error) {
	if wanted != "" && c.Banks[wanted] == nil {
		return "", web.Unprocessable("unknown_provider", "/provider", "There is no such provider. Take it from the list of banks, or leave it out.")
	}
	var names []string
	for name, p := range c.Banks {
		if slices.Contains(p.Countries(), country) && (wanted == "" || wanted == name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "", web.Unprocessable("country_not_served", "/country", "Banks of this country cannot be connected yet. Import a file of the bank instead.")
	}
	slices.Sort(names)
	return names[0], nil
}

// Accounts asks to share more accounts of a connection.
type Accounts struct {
	Connection string `json:"connection"`
	Language   string `json:"language,omitempty"`
}

func (c *Connect) accounts(ctx context.Context, who caller.Caller, r Accounts) (session.Started, error) {
	var none session.Started
	conn, err := access.Own(ctx, c.Store, who, r.Connection)
	if err != nil {
		return none, err
	}
	if conn.State != bank.Active && conn.State != bank.NeedsUser {
		return none, web.Conflict("disconnected", "This connection is disconnected. Reconnect it first.")
	}
	token, err := c.Vault.Get(ctx, vault.ConnectionToken(conn.ID))
	if errors.Is(err, vault.ErrNotFound) {
		return none, access.ConnectionGone().Because(err)
	}
	if err != nil {
		return none, err
	}
	started, err := c.Start.Start(ctx, who, bank.Session{
		Provider: conn.Provider, Country: conn.Country, Purpose: bank.ToAccounts, Connection: conn.ID,
	}, r.Language, token)
	if errors.Is(err, bank.ErrUnsupported) {
		return none, web.Unprocessable("account_selection_unavailable", "/connection",
			"Banks there share all accounts at the sign-in. To share others, disconnect and connect again: the integrations are carried over.").Because(err)
	}
	return started, err
}

// Offer offers a connection to a Book, or stops offering it, which ends that Book's integrations of it.
type Offer struct {
	Connection string `json:"connection"`
	Book       string `json:"book"`
	Offered    *bool  `json:"offered"` // must be said: to leave it out is not to stop
}

// Offering says how far an offer is, or its end.
type Offering struct {
	State      string          `json:"state"` // "offered", "ended", or "stopping": ask again
	Message    string          `json:"message"`
	Connection view.Connection `json:"connection"`
}

// Status is 202 while the Book's integrations are stopping.
func (o Offering) Status() int {
	if o.State == "stopping" {
		return http.StatusAccepted
	}
	return http.StatusOK
}

func (c *Connect) offer(ctx context.Context, who caller.Caller, r Offer) (Offering, error) {
	if err := c.mayOffer(ctx, who, r); err != nil {
		return Offering{}, err
	}
	conn, mark, err := c.saveOffer(ctx, r)
	if err != nil {
		return Offering{}, err
	}
	done := Offering{State: "offered", Message: "Offered: the editors of the Book can link its accounts now."}
	if !*r.Offered {
		// Only once no process can still write is "ended" the truth.
		stopped, err := posting.AwaitStop(ctx, c.Store, conn.ID, mark, c.Now, c.Sleep)
		if err != nil {
			return Offering{}, err
		}
		if done = (Offering{State: "ended", Message: "No longer offered: nothing more is recorded there from it. What was recorded stays."}); !stopped {
			done = Offering{State: "stopping", Message: "No longer offered: a transaction may still arrive within the next two minutes. Ask again to be sure."}
		}
	}
	done.Connection, err = c.show(ctx, who, conn)
	return done, err
}

func (c *Connect) mayOffer(ctx context.Context, who caller.Caller, r Offer) error {
	if r.Offered == nil {
		return web.Invalid("/offered", "Say true to offer the connection to the Book, or false to stop.")
	}
	if err := access.ID("/book", r.Book); err != nil {
		return err
	}
	if _, err := access.Own(ctx, c.Store, who, r.Connection); err != nil {
		return err
	}
	if *r.Offered { // to stop offering, one need not see the Book any more
		if _, err := access.Book(ctx, c.Books, who, r.Book); err != nil {
			return err
		}
	}
	return nil
}

// saveOffer also gives the mark that every process must have seen before the end of an offer is sure.
func (c *Connect) saveOffer(ctx context.Context, r Offer) (conn *bank.Connection, mark int64, err error) {
	err = c.Store.Update(ctx, func(tx store.Tx) (err error) {
		if conn, err = store.Connections.Load(tx, r.Connection); err != nil {
			return err
		}
		switch {
		case conn.OfferedTo(r.Book) && !*r.Offered:
			mark, err = c.stopOffering(tx, conn, r.Book)
		case *r.Offered && !conn.OfferedTo(r.Book):
			conn.Offered = append(conn.Offered, r.Book)
			err = store.Connections.Put(tx, conn)
		case !*r.Offered: // asked again
			var e *posting.Engine
			if e, err = posting.Load(tx, conn.ID); err == nil {
				mark = e.Config
			}
		}
		return err
	})
	return conn, mark, err
}

func (c *Connect) show(ctx context.Context, who caller.Caller, conn *bank.Connection) (view.Connection, error) {
	e, err := posting.Engines.Get(ctx, c.Store, conn.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return view.Connection{}, err
	}
	return view.OfConnection(conn, e, bank.NeedOf(conn, c.Banks[conn.Provider]), who.Sub, c.Now()), nil
}

func (c *Connect) stopOffering(tx store.Tx, conn *bank.Connection, book string) (mark int64, err error) {
	linked, err := store.Integrations.Select(tx, store.Query{Field: store.ByConnection, Any: []string{conn.ID}})
	if err != nil {
		return 0, err
	}
	e, err := posting.Load(tx, conn.ID)
	if err != nil {
		return 0, err
	}
	mark = e.Mark(time.Time{})
	conn.Offered = slices.DeleteFunc(conn.Offered, func(b string) bool { return b == book })
	conn.Updated = c.Now()
	for _, i := range linked {
		if i.Book == book {
			i.State, i.Updated = bank.Removed, c.Now()
			if err := store.Integrations.Put(tx, i); err != nil {
				return 0, err
			}
		}
	}
	return mark, errors.Join(store.Connections.Put(tx, conn), posting.Engines.Put(tx, e))
}

// completeOrBack serves the page, which asks by POST, and the browsers of people who come back.
func (c *Connect) completeOrBack() func(http.ResponseWriter, *http.Request) error {
	complete := web.Action(c.Edge, "connect/complete", c.complete)
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method == http.MethodPost {
			return complete(w, r)
		}
		return c.back(w, r)
	}
}

// noSession is an id that no session has: the page asks for it and shows the sentence that it gets.
const noSession = "invalid"

// back is where the bank's page sends the person: it only goes on to the portal's page, which then asks with its own token
// what became of the session. That a person came back never means success.
func (c *Connect) back(w http.ResponseWriter, r *http.Request) error {
	id := r.URL.Query().Get("session")
	if access.ID("/session", id) != nil {
		id = noSession
	}
	http.Redirect(w, r, c.Page+"?session="+url.QueryEscape(id), http.StatusSeeOther)
	return nil
}
