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
	"github.com/bkper/automations-portal/shared/config"
	"github.com/bkper/automations-portal/shared/logs"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/google"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/secret"
)

const (
	clientEmail     = "client@example.com"
	bookkeeperEmail = "bookkeeper@example.com"
	pushAccount     = "pusher@sandbox.iam.gserviceaccount.com"
	googleClient    = "sandbox.apps.googleusercontent.com"
	sandboxSecret   = "sandbox-secret"
	plaidClient     = "sandbox-client"
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
	log    *journal
	late   atomic.Int64 // nanoseconds by which the bank's clock is ahead
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
	ctx, stop := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	busy.Go(func() { queue.Run(ctx) })
	busy.Go(func() { w.must(w.plaid.Run(ctx)) })
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
	w.plaid, err = plaid.New(plaid.Options{
		Config:  plaid.Config{Now: func() time.Time { return time.Now().Add(time.Duration(w.late.Load())) }},
		BaseURL: w.url + "/sandbox/plaid", Clients: map[string]secret.String{plaidClient: secret.New(sandboxSecret)},
		RetryBase: 20 * time.Millisecond, Log: log,
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
}

func (w *world) environment() map[string]string {
	at := w.url + "/sandbox/google"
	return map[string]string{
		"PUBLIC_URL": w.url, "DATA_FILE": filepath.Join(w.t.TempDir(), "portal.db"), "STORE": "sqlite", "VAULT": "sqlite", "EVENTS": "sqlite",
		"PUSH_SERVICE_ACCOUNT": pushAccount, "PUSH_CERTS_URL": at + "/oauth2/v3/certs",
		"PLAID_CLIENT_ID": plaidClient, "PLAID_SECRET": sandboxSecret, "PLAID_URL": w.url + "/sandbox/plaid",
		"GOOGLE_CLIENT_ID": googleClient, "GOOGLE_CLIENT_SECRET": sandboxSecret, "GOOGLE_AUTH_URL": at + "/o/oauth2/v2/auth",
		"GOOGLE_TOKEN_URL": at + "/token", "GOOGLE_TOKENINFO_URL": at + "/tokeninfo", "GOOGLE_CERTS_URL": at + "/oauth2/v3/certs",
		"BKPER_API_URL": w.url + "/sandbox/bkper",
	}
}

// oidc is the token with which Pub/Sub calls.
func (w *world) oidc(_ context.Context, audience string) (secret.String, error) {
	token, err := w.google.IDToken(pushAccount, audience)
	return secret.New(token), err
}

// savings is a bank with one customer.
type savings struct {
	w        *world
	id, name string
	ids      []string // of the accounts
}

// customer signs in at every bank that a test opens, with the password pass_good.
const customer = "customer"

// bank opens a bank whose only customer has these accounts.
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

// do changes something at the bank; its webhooks follow.
func (b *savings) do(change func(*plaid.Bank) error) {
	b.w.t.Helper()
	b.w.must(b.w.plaid.Do(change))
}

// add writes rows into the first account, and returns their ids.
func (b *savings) add(rows ...plaid.Row) (ids []string) {
	b.w.t.Helper()
	b.do(func(p *plaid.Bank) (err error) { ids, err = p.Add(b.ids[0], rows...); return err })
	return ids
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
	owner := bkper.Caller{Email: clientEmail}
	made, err := w.books.CreateBook(owner, bkper.Book{
		Name: name, FractionDigits: new(2), AutoPost: new(false), Properties: map[string]string{"exc_code": "USD"},
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
