package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bkper/automations-portal/functions/auth"
	"github.com/bkper/automations-portal/functions/connect"
	"github.com/bkper/automations-portal/functions/disconnect"
	"github.com/bkper/automations-portal/functions/link"
	"github.com/bkper/automations-portal/functions/portal"
	"github.com/bkper/automations-portal/functions/poster"
	"github.com/bkper/automations-portal/functions/reconnect"
	"github.com/bkper/automations-portal/functions/remove"
	functionsync "github.com/bkper/automations-portal/functions/sync"
	"github.com/bkper/automations-portal/shared/bank"
	plaidadapter "github.com/bkper/automations-portal/shared/bank/plaid"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	bkperadapter "github.com/bkper/automations-portal/shared/ledger/bkper"
	"github.com/bkper/automations-portal/shared/logs"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/google"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/store"
	storemem "github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/vault"
	vaultmem "github.com/bkper/automations-portal/shared/vault/memory"
	"github.com/bkper/automations-portal/shared/web"
)

// mode is what happens at a cut.
type mode struct {
	after bool // the call takes effect, and only its answer is lost
	kills bool // the process dies with it: nothing that it still does has an effect
}

func (m mode) String() string {
	return map[bool]string{false: "before", true: "after"}[m.after] + map[bool]string{false: " it", true: " it, and the process dies"}[m.kills]
}

var modes = []mode{{false, false}, {true, false}, {false, true}, {true, true}}

// cut makes one call of a function to the outside fail: its n-th.
type cut struct {
	mu    sync.Mutex
	n, at int // at: -1 cuts nothing
	mode  mode
	fired string // what was cut
	dead  bool
}

var errCut = errors.New("cut")

func (c *cut) call(what string, do func() error) error {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return errCut
	}
	mine := c.n == c.at
	c.n++
	if mine {
		c.fired, c.dead = what, c.mode.kills
	}
	c.mu.Unlock()
	if mine && !c.mode.after {
		return errCut
	}
	err := do()
	if mine && err == nil {
		return errCut
	}
	return err
}

// arm lets the n-th call from now on fail.
func (c *cut) arm(n int, m mode) { c.n, c.at, c.mode, c.fired = 0, n, m, "" }

// mend starts the process anew.
func (c *cut) mend() { c.at, c.dead = -1, false }

// outside is how adapters tell that they were not answered.
func outside(err error) error {
	if errors.Is(err, errCut) {
		return &bank.Error{Kind: bank.Retry, Code: "cut", Err: err}
	}
	return err
}

type cutStore struct {
	store.Store
	cut *cut
}

func (s cutStore) Get(ctx context.Context, kind string, ids ...string) (ds []store.Document, err error) {
	err = s.cut.call("store get "+kind, func() error { ds, err = s.Store.Get(ctx, kind, ids...); return err })
	return ds, err
}

func (s cutStore) Find(ctx context.Context, q store.Query) (ds []store.Document, err error) {
	err = s.cut.call("store find "+q.Kind, func() error { ds, err = s.Store.Find(ctx, q); return err })
	return ds, err
}

func (s cutStore) Update(ctx context.Context, body func(store.Tx) error) error {
	err := s.cut.call("store update", func() error { return s.Store.Update(ctx, body) })
	if errors.Is(err, errCut) {
		return fmt.Errorf("%w: %w", store.ErrUnknown, err)
	}
	return err
}

type cutVault struct {
	vault.Vault
	cut *cut
}

func (v cutVault) Get(ctx context.Context, name string) (got secret.String, err error) {
	err = v.cut.call("vault get", func() error { got, err = v.Vault.Get(ctx, name); return err })
	return got, err
}

func (v cutVault) Put(ctx context.Context, name string, s secret.String) error {
	return v.cut.call("vault put", func() error { return v.Vault.Put(ctx, name, s) })
}

func (v cutVault) Destroy(ctx context.Context, name string) error {
	return v.cut.call("vault destroy", func() error { return v.Vault.Destroy(ctx, name) })
}

type cutBank struct {
	bank.Provider
	cut *cut
}

func (b cutBank) Begin(ctx context.Context, in bank.Begin) (out bank.Begun, err error) {
	err = b.cut.call("begin", func() error { out, err = b.Provider.Begin(ctx, in); return err })
	return out, outside(err)
}

func (b cutBank) Outcome(ctx context.Context, in bank.Visit) (out bank.Outcome, err error) {
	err = b.cut.call("outcome", func() error { out, err = b.Provider.Outcome(ctx, in); return err })
	return out, outside(err)
}

func (b cutBank) Exchange(ctx context.Context, in bank.Candidate) (out bank.Grant, err error) {
	err = b.cut.call("exchange", func() error { out, err = b.Provider.Exchange(ctx, in); return err })
	if errors.Is(err, errCut) {
		out = bank.Grant{}
	}
	return out, outside(err)
}

func (b cutBank) Remove(ctx context.Context, token secret.String) error {
	return outside(b.cut.call("remove item", func() error { return b.Provider.Remove(ctx, token) }))
}

func (b cutBank) Item(ctx context.Context, token secret.String) (out bank.Item, err error) {
	err = b.cut.call("item", func() error { out, err = b.Provider.Item(ctx, token); return err })
	return out, outside(err)
}

func (b cutBank) Changes(ctx context.Context, in bank.From) (out bank.Page, err error) {
	err = b.cut.call("changes", func() error { out, err = b.Provider.Changes(ctx, in); return err })
	return out, outside(err)
}

func (b cutBank) Institutions(ctx context.Context, country, query string) (out []bank.Institution, err error) {
	err = b.cut.call("institutions", func() error { out, err = b.Provider.Institutions(ctx, country, query); return err })
	return out, outside(err)
}

type cutLedger struct {
	ledger.Ledger
	cut *cut
}

func (l cutLedger) Book(ctx context.Context, token secret.String, book string) (out ledger.Book, err error) {
	err = l.cut.call("book", func() error { out, err = l.Ledger.Book(ctx, token, book); return err })
	return out, outside(err)
}

func (l cutLedger) Books(ctx context.Context, token secret.String) (out []ledger.Book, err error) {
	err = l.cut.call("books", func() error { out, err = l.Ledger.Books(ctx, token); return err })
	return out, outside(err)
}

func (l cutLedger) CreateAccount(ctx context.Context, token secret.String, book string, a ledger.Account) (out ledger.Account, err error) {
	err = l.cut.call("create account", func() error { out, err = l.Ledger.CreateAccount(ctx, token, book, a); return err })
	return out, outside(err)
}

func (l cutLedger) Find(ctx context.Context, token secret.String, book string, q ledger.Query) (out ledger.Found, err error) {
	err = l.cut.call("find records", func() error { out, err = l.Ledger.Find(ctx, token, book, q); return err })
	return out, outside(err)
}

func (l cutLedger) Write(ctx context.Context, token secret.String, book string, op ledger.Operation, batch []ledger.Transaction) (out []ledger.Transaction, err error) {
	err = l.cut.call("write records", func() error { out, err = l.Ledger.Write(ctx, token, book, op, batch); return err })
	return out, outside(err)
}

// cutWire is an HTTP client's way out.
type cutWire struct {
	next http.RoundTripper
	cut  *cut
}

func (c cutWire) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	err = c.cut.call(r.Method+" "+r.URL.Path, func() error { resp, err = c.next.RoundTrip(r); return err })
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// bench is the functions on storage in memory, with a clock that only waiting moves, and a queue that the test empties by
// hand: so that each call of a function can be cut, one after the other, in no time.
type bench struct {
	t        *testing.T
	now      time.Time
	cut      cut
	store    *storemem.Store
	vault    *vaultmem.Vault
	plaid    *plaid.Server
	books    *bkper.Service
	google   http.Handler
	granted  bool // whatever the vault has, the client's grant works
	provider bank.Provider
	ledger   ledger.Ledger
	serve    map[string]http.Handler
	log      strings.Builder
	heard    *heard
	said     []statement

	mu    sync.Mutex
	queue []published

	book, institution string
	account           string // at the bank
	started           session.Started
	visited           bool
}

type published struct {
	topic events.Topic
	m     events.Message
}

// local carries requests to the stand-ins without a wire.
type local map[string]http.Handler

func (l local) RoundTrip(r *http.Request) (*http.Response, error) {
	h, ok := l[r.URL.Host]
	if !ok {
		return nil, errors.New("no such host: " + r.URL.Host)
	}
	own := r.Clone(r.Context())
	own.RequestURI = r.URL.RequestURI()
	if own.Body == nil {
		own.Body = http.NoBody
	}
	out := httptest.NewRecorder()
	h.ServeHTTP(out, own)
	resp := out.Result()
	resp.Request = r
	return resp, nil
}

const (
	benchSite   = "https://portal.example"
	benchGoogle = "https://google.example"
)

// benchSignIn is Google, one for all benches: its keys take long to make.
var benchSignIn = sync.OnceValues(func() (*google.Service, error) {
	return google.New(google.Options{
		Clients: []google.Client{{ID: googleClient, Secret: googleSecret, RedirectURIs: []string{benchSite + "/auth/callback"}}},
		Users:   []google.User{{Email: clientEmail, Name: "Client"}},
	})
})

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Now(), store: storemem.New(), vault: new(vaultmem.Vault), heard: newHeard(), granted: true}
	b.cut.mend()
	var err error
	log := slog.New(logs.NewText(&b.log, logs.Options{Level: slog.LevelDebug}))
	slog.SetDefault(log)
	b.plaid, err = plaid.New(plaid.Options{
		Config: plaid.Config{Now: b.clock}, BaseURL: "https://plaid.example", Clients: map[string]secret.String{plaidClient: secret.New(plaidSecret)}, Log: log,
	})
	b.must(err)
	b.books, err = bkper.New(bkper.Options{Now: b.clock})
	b.must(err)
	whose := func(token string) (email, sub string, ok bool) {
		return clientEmail, google.Sub(clientEmail), token == benchToken
	}
	client := &http.Client{Transport: local{"plaid.example": b.heard.outside(b.plaid), "bkper.example": bkper.NewServer(b.books, whose)}}
	b.provider, err = plaidadapter.New(plaidadapter.Config{
		Environment: "sandbox", BaseURL: "https://plaid.example", ClientID: plaidClient, Secret: secret.New(plaidSecret), ClientName: "Bkper", HTTPClient: client, Now: b.clock,
	})
	b.must(err)
	b.ledger, err = bkperadapter.New(bkperadapter.Config{BaseURL: "https://bkper.example", HTTP: client})
	b.must(err)
	signIn, err := benchSignIn()
	b.must(err)
	b.google = b.heard.outside(google.NewServer(signIn, google.ServerOptions{BaseURL: benchGoogle, AutoApprove: true}))
	b.build(log)
	b.furnish()
	return b
}

func (b *bench) must(err error) {
	if err != nil {
		b.t.Helper()
		b.t.Fatal(err)
	}
}

func (b *bench) clock() time.Time { return b.now }

func (b *bench) sleep(ctx context.Context, d time.Duration) error {
	b.now = b.now.Add(d)
	return ctx.Err()
}

// Publish implements events.Publisher.
func (b *bench) Publish(_ context.Context, topic events.Topic, m events.Message) error {
	return b.cut.call("publish", func() error {
		b.mu.Lock() // sync publishes many at once
		defer b.mu.Unlock()
		b.queue = append(b.queue, published{topic, m})
		return nil
	})
}

// benchToken is the client's, who is alone on a bench.
const benchToken = "access-token-of-the-client"

// Verify implements web.Verifier.
func (b *bench) Verify(_ context.Context, token secret.String) (caller.Caller, error) {
	return caller.Caller{Sub: google.Sub(clientEmail), Email: clientEmail, Token: token}, nil
}

// Token implements Grants.
func (b *bench) Token(ctx context.Context, sub string) (secret.String, error) {
	if !b.granted {
		if _, err := b.vault.Get(ctx, vault.UserGrant(sub)); err != nil {
			return secret.String{}, &bank.Error{Kind: bank.UserMustAct, Code: "no_grant", Err: err}
		}
	}
	return secret.New(benchToken), nil
}

// Fresh implements Grants.
func (b *bench) Fresh(ctx context.Context, sub string) (secret.String, error) {
	return b.Token(ctx, sub)
}

// build hands every function parts that can be cut.
func (b *bench) build(log *slog.Logger) {
	s, v, p, l := cutStore{b.store, &b.cut}, cutVault{b.vault, &b.cut}, cutBank{b.provider, &b.cut}, cutLedger{b.ledger, &b.cut}
	banks := map[string]bank.Provider{p.Name(): p}
	edge := &web.Edge{Who: b, Log: log}
	google := &http.Client{Transport: cutWire{local{"google.example": b.google, "www.googleapis.com": b.google}, &b.cut}}
	grants := caller.NewGrants(caller.GrantsConfig{
		Vault: v, ClientID: googleClient, ClientSecret: secret.New(googleSecret), TokenURL: benchGoogle + "/token", Client: google,
	})
	start := &session.Starter{
		Store: s, Vault: v, Banks: banks, Connect: benchSite + "/connect", Now: b.clock,
		Webhook: func(provider string) string { return benchSite + "/webhook/" + provider },
	}
	b.serve = map[string]http.Handler{
		"connect": (&connect.Connect{Store: s, Vault: v, Banks: banks, Books: l, Start: start, Events: b, Page: benchSite + "/portal", Edge: edge, Pushes: edge, Now: b.clock, Sleep: b.sleep}).Handler(),
		"link":    (&link.Link{Store: s, Books: l, Grants: b, Events: b, Consent: benchSite + "/auth/login", Edge: edge, Now: b.clock}).Handler(),
		"remove":  (&remove.Remove{Store: s, Books: l, Edge: edge, Now: b.clock, Sleep: b.sleep}).Handler(),
		"disconnect": (&disconnect.Disconnect{
			Store: s, Vault: v, Banks: map[string]disconnect.Remover{p.Name(): p}, Edge: edge, Pushes: edge,
			Now: b.clock, Sleep: b.sleep,
		}).Handler(),
		"reconnect": (&reconnect.Reconnect{Store: s, Vault: v, Banks: banks, Start: start, Edge: edge, Now: b.clock}).Handler(),
		"auth": (&auth.Auth{
			Store: s, Vault: v, Grants: grants, Events: b, Edge: &web.Edge{Function: "auth", Log: log}, ClientID: googleClient,
			ClientSecret: secret.New(googleSecret), AuthURL: benchGoogle + "/o/oauth2/v2/auth", TokenURL: benchGoogle + "/token", Client: google,
			URL: benchSite + "/auth", Home: benchSite + "/portal/", Now: b.clock,
		}).Handler(),
		"portal": (&portal.Portal{
			Store: s, Banks: map[string]bank.Directory{p.Name(): p}, Books: l, Events: b, Edge: edge, Now: b.clock,
		}).Handler(),
		"sync": (&functionsync.Sync{Store: s, Events: b, Pushes: edge, Now: b.clock}).Handler(),
		"poster": (&poster.Poster{Posting: &posting.Poster{
			Store: s, Tokens: v, Banks: map[string]bank.Reader{p.Name(): p}, Ledger: l, Grants: b, Events: b, Log: log, Now: b.clock, Sleep: b.sleep,
			Rand: func() float64 { return 0.5 },
		}, Pushes: edge}).Handler(),
	}
}

// furnish makes the client's Book and a bank with some history.
func (b *bench) furnish() {
	b.must(b.books.AddUser(bkper.User{ID: google.Sub(clientEmail), Email: clientEmail, Name: "Client"}))
	two := 2
	made, err := b.books.CreateBook(bkper.Caller{Email: clientEmail}, bkper.Book{Name: "Bench", AutoPost: new(bool), FractionDigits: &two, Properties: map[string]string{"exc_code": "USD"}})
	b.must(err)
	b.book, b.institution = made.ID, "ins_bench"
	b.must(b.plaid.Do(func(p *plaid.Bank) error {
		if _, err := p.AddInstitution(b.institution, "Bench Bank", []string{"US"}, false); err != nil {
			return err
		}
		h := checking(historyRows()...)
		ids, err := p.AddCustomer(b.institution, "customer", []plaid.Holding{h})
		if err == nil {
			b.account = ids[0]
		}
		return err
	}))
}

// call calls a function as the client, or as a machine, whose body is a message.
func (b *bench) call(function, path string, in, out any) int {
	b.t.Helper()
	text, err := json.Marshal(in)
	b.must(err)
	r := httptest.NewRequestWithContext(b.t.Context(), http.MethodPost, path, strings.NewReader(string(text)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+benchToken)
	answer := httptest.NewRecorder()
	b.serve[function].ServeHTTP(answer, r)
	b.said = append(b.said, statement{where: "answer of " + function + path, text: answer.Body.String()})
	if b.cut.dead {
		return 0 // a process that died answers nothing
	}
	if out != nil && answer.Code < http.StatusMultipleChoices {
		b.must(json.Unmarshal(answer.Body.Bytes(), out))
	}
	return answer.Code
}

// get asks a function for something as the client.
func (b *bench) get(function, path string) (status int, body string) {
	b.t.Helper()
	r := httptest.NewRequestWithContext(b.t.Context(), http.MethodGet, path, nil)
	r.Header.Set("Authorization", "Bearer "+benchToken)
	answer := httptest.NewRecorder()
	b.serve[function].ServeHTTP(answer, r)
	b.said = append(b.said, statement{where: "answer of " + function + path, text: answer.Body.String()})
	if b.cut.dead {
		return 0, ""
	}
	return answer.Code, answer.Body.String()
}

// signIn is the client's browser on its way through Google, with consent. It reports whether it came back to the page.
func (b *bench) signIn() bool {
	b.t.Helper()
	jar, err := cookiejar.New(nil)
	b.must(err)
	site := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		if !strings.HasPrefix(r.URL.Path, "/auth/") {
			return // the page
		}
		http.StripPrefix("/auth", b.serve["auth"]).ServeHTTP(answer, r)
		b.said = append(b.said, statement{where: "answer of " + r.URL.Path, text: answer.Body.String() + fmt.Sprint(answer.Header())})
		if b.cut.dead {
			w.WriteHeader(http.StatusBadGateway) // what stands before a process that died
			return
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
	})
	browser := &http.Client{Jar: jar, Transport: local{"portal.example": site, "google.example": b.google}}
	resp, err := browser.Get(benchSite + "/auth/login?consent=1")
	b.must(err)
	resp.Body.Close()
	return resp.Request.URL.Path == "/portal/" && resp.Request.URL.RawQuery == ""
}

// begin goes to the bank through a function that starts a session, and signs in there.
func (b *bench) begin(function, path string, in any) bool {
	if b.started.Session == "" && b.call(function, path, in, &b.started) != http.StatusOK {
		return false
	}
	if !b.visited {
		client := &http.Client{Transport: local{"plaid.example": b.plaid}}
		_, err := plaid.Visit(b.t.Context(), client, b.started.URL, b.institution, "customer", "pass_good")
		b.must(err)
		b.visited = true
	}
	return true
}

// complete asks what became of the session.
func (b *bench) complete() (done connect.Completed) {
	b.call("connect", "/complete", object{"session": b.started.Session}, &done)
	return done
}

// forget lets the person start anew, with another session.
func (b *bench) forget() { b.started, b.visited = session.Started{}, false }

// deliver pushes all messages that wait, as often as the broker would in a while.
func (b *bench) deliver() {
	b.t.Helper()
	for round := 0; len(b.queue) > 0; round++ {
		if round == 50 {
			b.t.Fatalf("the queue does not empty: %v", b.queue)
		}
		waiting := b.queue
		b.queue = nil
		for _, p := range waiting {
			if b.push(p) >= http.StatusMultipleChoices {
				b.queue = append(b.queue, p)
			}
		}
	}
}

func (b *bench) push(p published) int {
	data, err := json.Marshal(p.m)
	b.must(err)
	to := map[events.Topic][2]string{events.Rings: {"poster", "/"}, events.Sessions: {"connect", "/push"}, events.Disconnects: {"disconnect", "/push"}}[p.topic]
	return b.call(to[0], to[1], object{"message": object{"data": data, "messageId": "1"}}, nil)
}

// minutes lets time pass, with the schedule at work and the queue emptied.
func (b *bench) minutes(n int) {
	b.t.Helper()
	for range n {
		b.now = b.now.Add(time.Minute)
		if status := b.call("sync", "/", object{}, nil); status != http.StatusOK {
			b.t.Errorf("sync: %d", status)
		}
		b.deliver()
	}
}

func (b *bench) connections() []*bank.Connection {
	all, err := store.Connections.Find(b.t.Context(), b.store, store.Query{})
	b.must(err)
	return all
}

func (b *bench) sessions() []*bank.Session {
	all, err := store.Sessions.Find(b.t.Context(), b.store, store.Query{})
	b.must(err)
	return all
}

func (b *bench) integrations() []*bank.Integration {
	all, err := store.Integrations.Find(b.t.Context(), b.store, store.Query{})
	b.must(err)
	return all
}

func (b *bench) secrets(prefix string) []string {
	names, err := b.vault.List(b.t.Context(), prefix, "")
	b.must(err)
	return names
}

// items are those that were exchanged and not removed.
func (b *bench) items() (ids []string) {
	out := httptest.NewRecorder()
	b.plaid.ServeHTTP(out, httptest.NewRequest(http.MethodGet, "/_sim/items", nil))
	var list struct{ Items []item }
	b.must(json.Unmarshal(out.Body.Bytes(), &list))
	for _, i := range list.Items {
		if i.Exchanged {
			ids = append(ids, i.ItemID)
		}
	}
	return ids
}

// noLeak searches all that left the functions for what the bank told them in confidence, also when they were cut.
func (b *bench) noLeak() {
	b.t.Helper()
	said := append(slices.Clone(b.said), statement{where: "the log", text: b.log.String()})
	for _, p := range b.queue {
		said = append(said, statement{where: "a message", text: fmt.Sprintf("%+v", p)})
	}
	for _, kind := range []string{store.Connections.Name, store.Integrations.Name, store.Sessions.Name, posting.Engines.Name, posting.Segments.Name} {
		found, err := b.store.Find(b.t.Context(), store.Query{Kind: kind})
		b.must(err)
		for _, d := range found {
			said = append(said, statement{where: "a document of " + kind, text: string(d.Body)})
		}
	}
	for _, found := range leaks(said, b.heard.secrets) {
		b.t.Error(found)
	}
}

func (b *bench) records() []string {
	h, err := b.books.Hand(b.book)
	b.must(err)
	all, err := h.All()
	b.must(err)
	lines := []string{}
	for _, t := range all {
		lines = append(lines, record(t))
	}
	slices.Sort(lines)
	return lines
}

// expected are the records of bank rows in an Account.
func expected(account string, rows ...plaid.Row) []string {
	lines := []string{}
	for _, r := range rows {
		side := account + ">?"
		if r.Amount.IsNegative() {
			side = "?>" + account
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s", r.Date, r.Amount.Abs().String(), side, r.Description))
	}
	slices.Sort(lines)
	return lines
}
