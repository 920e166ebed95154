// Package browsertest tells the page's stories in a real browser: every function on one port, with the sandbox as the banks, as
// Bkper and as Google, and people who find what they use as a screen reader does, by role and name.
package browsertest

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sethvargo/go-envconfig"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/functions/app"
	brazil "github.com/bkper/automations-portal/shared/bank/pluggy"
	"github.com/bkper/automations-portal/shared/config"
	"github.com/bkper/automations-portal/shared/logs"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/google"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/sandbox/pluggy"
	"github.com/bkper/automations-portal/shared/sandbox/provider"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	storesqlite "github.com/bkper/automations-portal/shared/store/sqlite"
)

const (
	clientEmail     = "client@example.com"
	bookkeeperEmail = "bookkeeper@example.com"
	pushAccount     = "pusher@sandbox.iam.gserviceaccount.com"
	googleClient    = "sandbox.apps.googleusercontent.com"
	sandboxSecret   = "sandbox-secret"
	plaidClient     = "sandbox-client"
	pluggyClient    = "00000000-0000-4000-8000-5a4db0c5c11e"
	sandboxBell     = "sandbox-webhook-secret-of-no-worth" // Pluggy's webhooks carry it
)

// world is everything but the browser, on one port.
type world struct {
	t      *testing.T
	url    string
	cfg    *config.Config
	google *google.Service
	books  *bkper.Service
	bkper  *bkper.Server
	plaid  *plaid.Server
	pluggy *pluggy.Server
	log    *journal

	connectors int          // of Brazil's banks that the test has opened
	late       atomic.Int64 // nanoseconds by which the banks' clocks are ahead
}

// option changes the configuration of a world before its functions start.
type option func(env map[string]string)

// newWorld starts the functions and the sandbox. They stop when the test ends.
func newWorld(t *testing.T, options ...option) *world {
	t.Helper()
	w := &world{t: t, log: new(journal)}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	w.url = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	log := slog.New(logs.NewText(w.log, logs.Options{Level: slog.LevelInfo}))
	w.sandbox(mux, log)
	env := w.environment()
	for _, o := range options {
		o(env)
	}
	var err error
	w.cfg, err = config.Read(t.Context(), envconfig.MapLookuper(env))
	w.must(err)
	a := app.New(w.cfg, log)
	queue, err := a.Queue(t.Context(), w.oidc)
	w.must(err)
	functions, err := a.Handler("")
	w.must(err)
	mux.Handle("/", functions)
	w.registerBell()
	ctx, stop := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	busy.Go(func() { queue.Run(ctx) })
	for _, run := range []func(context.Context) error{w.plaid.Run, w.pluggy.Run} {
		busy.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the functions logged:\n%s", w.log.tail())
		}
		stop()
		busy.Wait()
		server.CloseClientConnections()
		server.Close()
		a.Close()
	})
	return w
}

func (w *world) must(err error) {
	if err != nil {
		w.t.Helper()
		w.t.Error(err)
		w.t.FailNow()
	}
}

func (w *world) sandbox(mux *http.ServeMux, log *slog.Logger) {
	w.t.Helper()
	var err error
	w.google, err = google.New(google.Options{
		Clients: []google.Client{{ID: googleClient, Secret: sandboxSecret, RedirectURIs: []string{w.url + "/auth/callback"}}},
		Users:   []google.User{{Email: clientEmail, Name: "Client"}, {Email: bookkeeperEmail, Name: "Bookkeeper"}},
	})
	w.must(err)
	w.books, err = bkper.New(bkper.Options{})
	w.must(err)
	w.must(bkper.Seed(w.books,
		bkper.User{ID: google.Sub(clientEmail), Email: clientEmail, Name: "Client"},
		bkper.User{ID: google.Sub(bookkeeperEmail), Email: bookkeeperEmail, Name: "Bookkeeper"}))
	now := func() time.Time { return time.Now().Add(time.Duration(w.late.Load())) }
	w.plaid, err = plaid.New(plaid.Options{
		Config:  plaid.Config{Now: now},
		BaseURL: w.url + "/sandbox/plaid", Clients: map[string]secret.String{plaidClient: secret.New(sandboxSecret)},
		RetryBase: 20 * time.Millisecond, Log: log,
	})
	w.must(err)
	w.pluggy, err = pluggy.New(pluggy.Options{
		Config: pluggy.Config{Now: now}, BaseURL: w.url + "/sandbox/pluggy", Clients: map[string]secret.String{pluggyClient: secret.New(sandboxSecret)}, LocalWebhooks: true,
		RetryDelays: [2]time.Duration{20 * time.Millisecond, 20 * time.Millisecond}, Log: log,
	})
	w.must(err)
	w.bkper = bkper.NewServer(w.books, func(token string) (email, sub string, ok bool) {
		u, ok := w.google.Lookup(token)
		return u.Email, u.Sub, ok
	})
	mount := func(at string, h http.Handler) { mux.Handle(at+"/", http.StripPrefix(at, h)) }
	mount("/sandbox/google", google.NewServer(w.google, google.ServerOptions{BaseURL: w.url + "/sandbox/google"}))
	mount("/sandbox/bkper", w.bkper)
	mount("/sandbox/plaid", w.plaid)
	mount("/sandbox/pluggy", w.pluggy)
}

// registerBell makes Brazil's provider call us, as is done once for each deployment.
func (w *world) registerBell() {
	w.t.Helper()
	p, err := brazil.New(brazil.Config{
		Environment: w.cfg.PluggyEnvironment, BaseURL: w.cfg.PluggyURL, ClientID: w.cfg.PluggyClientID, ClientSecret: w.cfg.PluggySecret,
		WidgetURL: w.cfg.PluggyWidgetURL, WebhookSecrets: []secret.String{w.cfg.PluggyBell},
	})
	w.must(err)
	_, err = p.Register(w.t.Context(), w.cfg.WebhookURL+"/"+p.Name())
	w.must(err)
}

func (w *world) environment() map[string]string {
	at := w.url + "/sandbox/google"
	return map[string]string{
		"PUBLIC_URL": w.url, "DATA_FILE": filepath.Join(w.t.TempDir(), "portal.db"), "STORE": "sqlite", "VAULT": "sqlite", "EVENTS": "sqlite",
		"PUSH_SERVICE_ACCOUNT": pushAccount, "PUSH_CERTS_URL": at + "/oauth2/v3/certs",
		"PLAID_CLIENT_ID": plaidClient, "PLAID_SECRET": sandboxSecret, "PLAID_URL": w.url + "/sandbox/plaid",
		"PLUGGY_CLIENT_ID": pluggyClient, "PLUGGY_CLIENT_SECRET": sandboxSecret, "PLUGGY_WEBHOOK_SECRET": sandboxBell,
		"PLUGGY_URL": w.url + "/sandbox/pluggy", "PLUGGY_WIDGET_URL": w.url + "/sandbox/pluggy/pluggy-connect/latest/pluggy-connect.js",
		"GOOGLE_CLIENT_ID": googleClient, "GOOGLE_CLIENT_SECRET": sandboxSecret, "GOOGLE_AUTH_URL": at + "/o/oauth2/v2/auth",
		"GOOGLE_TOKEN_URL": at + "/token", "GOOGLE_TOKENINFO_URL": at + "/tokeninfo", "GOOGLE_CERTS_URL": at + "/oauth2/v3/certs",
		"BKPER_API_URL": w.url + "/sandbox/bkper", "BOOK_URL": w.url + "/sandbox/bkper/book/{book}/transactions",
	}
}

// oidc is the token with which Pub/Sub calls.
func (w *world) oidc(_ context.Context, audience string) (secret.String, error) {
	token, err := w.google.IDToken(pushAccount, audience)
	return secret.New(token), err
}

// savings is a bank with one customer, who signs in as customer with the password pass_good; in Brazil with password-ok.
type savings struct {
	w         *world
	id, name  string
	ids       []string // of the accounts
	connector int      // of Brazil's provider; 0 for others
}

const customer = "customer"

func (b *savings) brazilian() bool { return b.connector != 0 }

// bank opens a bank of the United States whose only customer has these accounts.
func (w *world) bank(name string, holdings ...plaid.Holding) *savings {
	w.t.Helper()
	b := &savings{w: w, id: "ins_" + strings.ToLower(strings.ReplaceAll(name, " ", "_")), name: name}
	b.do(func(p *plaid.Bank) (err error) {
		if _, err = p.AddInstitution(b.id, name, []string{"US", "GB"}, false); err == nil {
			b.ids, err = p.AddCustomer(b.id, customer, holdings)
		}
		return err
	})
	return b
}

// brazil opens the same in Brazil.
func (w *world) brazil(name string, holdings ...plaid.Holding) *savings {
	w.t.Helper()
	w.connectors++
	b := &savings{w: w, name: name, connector: 99000 + w.connectors}
	var accounts []pluggy.Holding
	for _, h := range holdings {
		accounts = append(accounts, brazilianHolding(h))
	}
	w.must(w.pluggy.Do(func(p *pluggy.Bank) error {
		err := p.AddConnector(pluggy.Connector{ID: b.connector, Name: name})
		if err == nil {
			b.ids, err = p.AddCustomer(b.connector, customer, accounts)
		}
		return err
	}))
	return b
}

func brazilianHolding(h plaid.Holding) pluggy.Holding {
	same := pluggy.Holding{Name: h.Name, Number: h.Mask, Type: "BANK", Subtype: "CHECKING_ACCOUNT", Currency: "BRL", Rows: brazilianRows(h.Rows)}
	if h.Type == "credit" {
		same.Type, same.Subtype = "CREDIT", "CREDIT_CARD"
	}
	return same
}

func brazilianRows(rows []plaid.Row) (same []pluggy.Row) {
	for _, r := range rows {
		same = append(same, pluggy.Row{Date: r.Date, Amount: r.Amount.Abs(), Description: r.Description, Pending: r.Pending})
	}
	return same
}

// do changes something at a bank of the United States; its webhooks follow.
func (b *savings) do(change func(*plaid.Bank) error) {
	b.w.t.Helper()
	b.w.must(b.w.plaid.Do(change))
}

// add writes rows into the first account, and returns their ids.
func (b *savings) add(rows ...plaid.Row) (ids []string) {
	b.w.t.Helper()
	if !b.brazilian() {
		b.do(func(p *plaid.Bank) (err error) { ids, err = p.Add(b.ids[0], rows...); return err })
		return ids
	}
	b.w.must(b.w.pluggy.Do(func(p *pluggy.Bank) (err error) {
		if ids, err = p.Add(b.ids[0], brazilianRows(rows)...); err == nil {
			p.Announce()
		}
		return err
	}))
	return ids
}

// amend changes the amount of a row.
func (b *savings) amend(id string, amount decimal.Decimal) {
	b.w.t.Helper()
	if !b.brazilian() {
		b.do(func(p *plaid.Bank) error { return p.Amend(id, plaid.Amendment{Amount: &amount}) })
		return
	}
	b.w.must(b.w.pluggy.Do(func(p *pluggy.Bank) error {
		defer p.Announce()
		return p.Amend(id, pluggy.Amendment{Amount: &amount})
	}))
}

// settle posts a pending row with another amount.
func (b *savings) settle(id string, amount decimal.Decimal) {
	b.w.t.Helper()
	if !b.brazilian() {
		b.do(func(p *plaid.Bank) error {
			_, err := p.Settle(id, plaid.Settlement{Amount: &amount})
			return err
		})
		return
	}
	b.w.must(b.w.pluggy.Do(func(p *pluggy.Bank) error {
		defer p.Announce()
		return p.Amend(id, pluggy.Amendment{Amount: &amount, Post: true})
	}))
}

// ask makes the bank ask for its customer.
func (b *savings) ask() {
	b.w.t.Helper()
	if !b.brazilian() {
		b.do(func(p *plaid.Bank) error { return p.Fail(p.Items()[0].ID, "ITEM_LOGIN_REQUIRED", "") })
		return
	}
	b.onItem(func(p *pluggy.Bank, item string) error { return p.Fail(item, "INVALID_CREDENTIALS", "") })
}

// expire lets the consent of the customer end.
func (b *savings) expire(at time.Time) {
	b.w.t.Helper()
	if !b.brazilian() {
		b.do(func(p *plaid.Bank) error { return p.ExpireConsent(p.Items()[0].ID, at) })
		return
	}
	b.onItem(func(p *pluggy.Bank, item string) error { return p.ExpireConsent(item, at) })
}

// onItem changes something of the only connection, in Brazil.
func (b *savings) onItem(change func(p *pluggy.Bank, item string) error) {
	b.w.t.Helper()
	conns, err := store.Connections.Find(b.w.t.Context(), b.w.documents(), store.Query{})
	b.w.must(err)
	b.w.must(b.w.pluggy.Do(func(p *pluggy.Bank) error {
		defer p.Announce()
		return change(p, conns[0].Item)
	}))
}

// open opens one more account for the customer.
func (b *savings) open(h plaid.Holding) {
	b.w.t.Helper()
	if !b.brazilian() {
		b.do(func(p *plaid.Bank) error {
			_, err := p.OpenAccount(b.id, customer, h)
			return err
		})
		return
	}
	b.w.must(b.w.pluggy.Do(func(p *pluggy.Bank) error {
		_, err := p.OpenAccount(b.connector, customer, brazilianHolding(h))
		return err
	}))
}

// hesitate makes the bank give its transactions late, once.
func (b *savings) hesitate(by time.Duration) {
	late := provider.Fault{Kind: provider.FaultSlow, DelayMillis: int(by.Milliseconds()), Times: 1}
	if late.Path = "/transactions/sync"; b.brazilian() {
		late.Path = "/v2/transactions"
		b.w.pluggy.AddFault(late)
		return
	}
	b.w.plaid.AddFault(late)
}

// documents opens the functions' documents a second time.
func (w *world) documents() *storesqlite.Store {
	w.t.Helper()
	s, err := storesqlite.Open(w.cfg.DataFile)
	w.must(err)
	w.t.Cleanup(func() { w.must(s.Close()) })
	return s
}

func checking(rows ...plaid.Row) plaid.Holding {
	return plaid.Holding{Name: "Everyday", Mask: "0001", Type: "depository", Subtype: "checking", Currency: "USD", Current: decimal.New(100, 0), Rows: rows}
}

func card(rows ...plaid.Row) plaid.Holding {
	return plaid.Holding{Name: "Card", Mask: "0002", Type: "credit", Subtype: "credit card", Currency: "USD", Current: decimal.New(50, 0), Rows: rows}
}

// row is a settled row of so many days ago; a positive amount is money out.
func row(daysAgo int, amount, text string) plaid.Row {
	return plaid.Row{Date: day(daysAgo), Amount: decimal.RequireFromString(amount), Description: text}
}

func day(ago int) string { return time.Now().UTC().AddDate(0, 0, -ago).Format(time.DateOnly) }

// newBook makes a Book of the client's in which the bookkeeper is an editor.
func (w *world) newBook(name string) string {
	w.t.Helper()
	return w.newBookIn("USD", name)
}

func (w *world) newBookIn(currency, name string) string {
	w.t.Helper()
	owner := bkper.Caller{Email: clientEmail}
	made, err := w.books.CreateBook(owner, bkper.Book{
		Name: name, FractionDigits: new(2), AutoPost: new(false), Properties: map[string]string{"exc_code": currency},
	})
	w.must(err)
	_, err = w.books.CreateAccounts(owner, made.ID, []bkper.Account{{Name: "Bank Account", Type: bkper.Asset}, {Name: "Groceries", Type: bkper.Outgoing}})
	w.must(err)
	_, err = w.books.Share(owner, made.ID, bkper.Collaborator{Email: bookkeeperEmail, Permission: bkper.Editor})
	w.must(err)
	return made.ID
}

// texts are the descriptions of a Book's standing records, in order.
func (w *world) texts(book string) []string {
	w.t.Helper()
	hand, err := w.books.Hand(book)
	w.must(err)
	all, err := hand.All()
	w.must(err)
	texts := []string{}
	for _, t := range all {
		if !bkper.True(t.Trashed) {
			texts = append(texts, t.Description)
		}
	}
	slices.Sort(texts)
	return texts
}

// journal keeps what the functions log, to be shown when a test fails.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(line)
}

func (j *journal) tail() string {
	const most = 6000
	j.mu.Lock()
	defer j.mu.Unlock()
	text := j.text.String()
	return text[max(0, len(text)-most):]
}
