package app_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sethvargo/go-envconfig"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/functions/app"
	"github.com/bkper/automations-portal/functions/connect"
	"github.com/bkper/automations-portal/functions/portal"
	"github.com/bkper/automations-portal/functions/reconnect"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/config"
	"github.com/bkper/automations-portal/shared/events"
	eventsqlite "github.com/bkper/automations-portal/shared/events/sqlite"
	"github.com/bkper/automations-portal/shared/logs"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/google"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/sqlitefile"
	"github.com/bkper/automations-portal/shared/store"
	storesqlite "github.com/bkper/automations-portal/shared/store/sqlite"
	vaultsqlite "github.com/bkper/automations-portal/shared/vault/sqlite"
	"github.com/bkper/automations-portal/shared/view"
	"github.com/bkper/automations-portal/shared/web/webtest"
)

const (
	clientEmail     = "client@example.com"
	bookkeeperEmail = "bookkeeper@example.com"
	strangerEmail   = "stranger@example.com"
	pushAccount     = "pusher@sandbox.iam.gserviceaccount.com"
	googleClient    = "sandbox.apps.googleusercontent.com"
	otherClient     = "other.apps.googleusercontent.com"
	plaidClient     = "sandbox-client"
	googleSecret    = "GOCSPX-canary-of-the-oauth-client"
	plaidSecret     = "canary-of-the-plaid-client-5f1c"
	patience        = 20 * time.Second // of a test that waits for all to be done
)

// world is every function on one port of a real server, on the embedded parts, with the sandbox as the banks, as Bkper and
// as Google.
type world struct {
	t      *testing.T
	url    string
	mux    *http.ServeMux // of the stand-ins, and of the functions
	cfg    *config.Config
	file   string // of documents, tokens and events
	queue  *eventsqlite.Queue
	google *google.Service
	books  *bkper.Service
	bkper  *bkper.Server
	plaid  *plaid.Server
	store  *storesqlite.Store
	vault  *vaultsqlite.Vault
	db     *sql.DB // the same file, read only for what has no interface
	heard  *heard
	watched

	client, bookkeeper *person // signed in
}

// newWorld starts a world with a client and a bookkeeper who have signed in, and with more providers than there are, should a
// test bring some. When the test ends nothing that left the functions may hold a token.
func newWorld(t *testing.T, more ...func(*world) bank.Provider) *world {
	t.Helper()
	w := &world{t: t, heard: newHeard(), file: filepath.Join(t.TempDir(), "portal.db")}
	var functions http.Handler = http.NotFoundHandler()
	mux := http.NewServeMux()
	w.mux = mux
	server := httptest.NewServer(mux)
	w.url = server.URL
	log := slog.New(logs.NewJSON(w.heard, logs.Options{Level: slog.LevelDebug}))
	before := slog.Default()
	slog.SetDefault(log)
	w.sandbox(log)
	contract := webtest.ForTest(t, document(t))
	checked := contract.Handler("", w.heard.functions(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) { functions.ServeHTTP(out, r) })))
	mux.HandleFunc("/", func(out http.ResponseWriter, r *http.Request) {
		if r.Header.Get(badRequest) != "" {
			r = r.WithContext(webtest.Bad(r.Context()))
		}
		checked.ServeHTTP(out, r)
	})

	w.cfg = w.configuration()
	a := app.New(w.cfg, log)
	a.Observe(w.observer())
	for _, open := range more {
		a.UseBank(open(w))
	}
	queue, err := eventsqlite.Open(t.Context(), w.file, eventsqlite.Config{
		Targets: a.Targets(), Token: w.oidc, Deadline: time.Minute, MinBackoff: 20 * time.Millisecond, MaxBackoff: 100 * time.Millisecond,
		MaxAttempts: 50, Log: log,
	})
	w.must(err)
	a.UseQueue(queue)
	w.queue = queue
	functions, err = a.Handler("")
	w.must(err)
	w.look()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { queue.Run(ctx); done <- struct{}{} }()
	go func() { w.must(w.plaid.Run(ctx)); done <- struct{}{} }()
	t.Cleanup(func() {
		if !t.Failed() {
			w.settle()
			w.noLeak()
		}
		stop()
		<-done
		<-done
		server.Close()
		a.Close()
		slog.SetDefault(before)
	})
	w.client, w.bookkeeper = w.signIn(clientEmail), w.signIn(bookkeeperEmail)
	return w
}

// badRequest marks requests that are not as the document says on purpose.
const badRequest = "Test-Bad-Request"

func (w *world) must(err error) {
	if err != nil {
		w.t.Helper()
		w.t.Fatal(err)
	}
}

// mount serves a stand-in and listens to it.
func (w *world) mount(at string, h http.Handler) {
	w.mux.Handle(at+"/", w.heard.outside(http.StripPrefix(at, h)))
}

func (w *world) sandbox(log *slog.Logger) {
	var err error
	w.google, err = google.New(google.Options{
		Clients: []google.Client{
			{ID: googleClient, Secret: googleSecret, RedirectURIs: []string{w.url + "/auth/callback"}},
			{ID: otherClient, Secret: "other", RedirectURIs: []string{"https://other.example/back"}},
		},
		Users: []google.User{{Email: clientEmail, Name: "Client"}, {Email: bookkeeperEmail, Name: "Bookkeeper"}, {Email: strangerEmail, Name: "Stranger"}},
	})
	w.must(err)
	w.books, err = bkper.New(bkper.Options{})
	w.must(err)
	w.must(bkper.Seed(w.books,
		bkper.User{ID: google.Sub(clientEmail), Email: clientEmail, Name: "Client"},
		bkper.User{ID: google.Sub(bookkeeperEmail), Email: bookkeeperEmail, Name: "Bookkeeper"}))
	w.plaid, err = plaid.New(plaid.Options{
		BaseURL: w.url + "/sandbox/plaid", Clients: map[string]secret.String{plaidClient: secret.New(plaidSecret)},
		RetryBase: 20 * time.Millisecond, Log: log,
	})
	w.must(err)
	w.bkper = bkper.NewServer(w.books, func(token string) (email, sub string, ok bool) {
		u, ok := w.google.Lookup(token)
		return u.Email, u.Sub, ok
	})
	w.mount("/sandbox/google", google.NewServer(w.google, google.ServerOptions{BaseURL: w.url + "/sandbox/google"}))
	w.mount("/sandbox/bkper", w.bkper)
	w.mount("/sandbox/plaid", w.plaid)
}

func (w *world) configuration() *config.Config {
	w.t.Helper()
	at := w.url + "/sandbox/google"
	cfg, err := config.Read(w.t.Context(), envconfig.MapLookuper(map[string]string{
		"PUBLIC_URL": w.url, "DATA_FILE": w.file, "PUSH_SERVICE_ACCOUNT": pushAccount, "PUSH_CERTS_URL": at + "/oauth2/v3/certs",
		"PLAID_CLIENT_ID": plaidClient, "PLAID_SECRET": plaidSecret, "PLAID_URL": w.url + "/sandbox/plaid",
		"GOOGLE_CLIENT_ID": googleClient, "GOOGLE_CLIENT_SECRET": googleSecret, "GOOGLE_AUTH_URL": at + "/o/oauth2/v2/auth",
		"GOOGLE_TOKEN_URL": at + "/token", "GOOGLE_TOKENINFO_URL": at + "/tokeninfo", "GOOGLE_CERTS_URL": at + "/oauth2/v3/certs",
		"BKPER_API_URL": w.url + "/sandbox/bkper",
	}))
	w.must(err)
	return cfg
}

// look opens the functions' file a second time, to see what they keep.
func (w *world) look() {
	var err error
	w.store, err = storesqlite.Open(w.file)
	w.must(err)
	w.vault, err = vaultsqlite.Open(w.t.Context(), w.file, secret.String{})
	w.must(err)
	w.db, err = sqlitefile.Open(w.file)
	w.must(err)
	w.t.Cleanup(func() { w.must(errors.Join(w.store.Close(), w.vault.Close(), w.db.Close())) })
}

// oidc is the token with which Pub/Sub and Cloud Scheduler call.
func (w *world) oidc(_ context.Context, audience string) (secret.String, error) {
	token, err := w.google.IDToken(pushAccount, audience)
	w.heard.secret("the token of a push", token)
	return secret.New(token), err
}

// document is the OpenAPI document that the functions serve.
func document(t *testing.T) []byte {
	t.Helper()
	p := &portal.Portal{Edge: discardEdge()}
	out := httptest.NewRecorder()
	p.Handler().ServeHTTP(out, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	if out.Code != http.StatusOK {
		t.Fatalf("the document: %d", out.Code)
	}
	return out.Body.Bytes()
}

// settle waits until nothing is under way: no webhook waits, no message, and nobody holds a connection.
func (w *world) settle() {
	w.t.Helper()
	for until, quiet := time.Now().Add(patience), 0; quiet < 2; {
		busy := w.busy()
		if busy == "" {
			quiet++
			continue
		}
		quiet = 0
		if time.Now().After(until) {
			w.t.Fatalf("still busy after %v: %s\n%s", patience, busy, w.heard.logged())
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (w *world) busy() string {
	var hooks struct{ Waiting int }
	w.sim(http.MethodGet, "/sandbox/plaid/_sim/webhooks", nil, &hooks)
	if hooks.Waiting > 0 {
		return fmt.Sprint(hooks.Waiting, " webhooks")
	}
	var messages int
	w.must(w.db.QueryRow(`SELECT count(*) FROM events_queue`).Scan(&messages))
	if messages > 0 {
		return fmt.Sprint(messages, " messages")
	}
	engines, err := posting.Engines.Find(context.Background(), w.store, store.Query{})
	w.must(err)
	for _, e := range engines {
		if e.Lease.Held(time.Now()) {
			return "the connection " + e.Connection
		}
	}
	return ""
}

// sim uses a control of the sandbox.
func (w *world) sim(method, path string, in, out any) {
	text, err := json.Marshal(in)
	w.must(err)
	r, err := http.NewRequest(method, w.url+path, bytes.NewReader(text))
	w.must(err)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	w.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	w.must(err)
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %s %s", path, resp.Status, body)
	}
	if out != nil {
		w.must(json.Unmarshal(body, out))
	}
}

// item is one at the sandbox's Plaid.
type item struct {
	ItemID      string `json:"item_id"`
	Institution string `json:"institution_id"`
	Exchanged   bool
	Accounts    []struct {
		AccountID string `json:"account_id"`
		Mask      string
	}
}

// items are those that were made and not removed, of one bank.
func (w *world) items(institution string, exchanged bool) []item {
	var list struct{ Items []item }
	w.sim(http.MethodGet, "/sandbox/plaid/_sim/items", nil, &list)
	return slices.DeleteFunc(list.Items, func(i item) bool { return i.Institution != institution || i.Exchanged != exchanged })
}

// schedule calls sync, as Cloud Scheduler does.
func (w *world) schedule() {
	w.t.Helper()
	token, err := w.oidc(w.t.Context(), w.cfg.SyncURL)
	w.must(err)
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.cfg.SyncURL, nil)
	w.must(err)
	r.Header.Set("Authorization", "Bearer "+token.Reveal())
	resp, err := http.DefaultClient.Do(r)
	w.must(err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("sync: %s", resp.Status)
	}
}

// ring puts a message into the queue.
func (w *world) ring(topic events.Topic, m events.Message) {
	w.must(w.queue.Publish(w.t.Context(), topic, m))
}

// savings is a bank with one customer.
type savings struct {
	w    *world
	id   string   // of the institution
	ids  []string // of the accounts
	user string
}

// bank opens a bank whose only customer has these accounts.
func (w *world) bank(name string, holdings ...plaid.Holding) *savings {
	w.t.Helper()
	b := &savings{w: w, user: "customer"}
	b.id = "ins_" + strings.ToLower(strings.ReplaceAll(name, " ", "_"))
	w.must(w.plaid.Do(func(p *plaid.Bank) (err error) {
		if _, err = p.AddInstitution(b.id, name, []string{"US", "GB"}, false); err == nil {
			b.ids, err = p.AddCustomer(b.id, b.user, holdings)
		}
		return err
	}))
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

func pending(daysAgo int, amount, text string) plaid.Row {
	r := row(daysAgo, amount, text)
	r.Pending = true
	return r
}

func day(ago int) string { return time.Now().UTC().AddDate(0, 0, -ago).Format(time.DateOnly) }

// person is somebody at a browser: cookies, and the access token that the page holds.
type person struct {
	w     *world
	email string
	http  *http.Client
	token string
}

// signIn goes through Google's consent screen and gets an access token as the page does.
func (w *world) signIn(email string) *person {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	w.must(err)
	p := &person{w: w, email: email, http: &http.Client{Jar: jar, Timeout: time.Minute}}
	screen, err := p.http.Get(w.url + "/auth/login?consent=1")
	w.must(err)
	screen.Body.Close()
	back, err := p.http.PostForm(screen.Request.URL.String(), url.Values{"email": {email}})
	w.must(err)
	back.Body.Close()
	var access struct{ AccessToken string }
	p.ok(http.MethodPost, "/auth/refresh", nil, &access)
	p.token = access.AccessToken
	return p
}

// answer is what a function answers.
type answer struct {
	status int
	body   string
	header http.Header
}

// code is that of a problem.
func (a answer) code() string { return a.member("code") }

func (a answer) member(name string) string {
	var members map[string]any
	if json.Unmarshal([]byte(a.body), &members) != nil {
		return ""
	}
	text, _ := members[name].(string)
	return text
}

// send sends a body as it is; bad says that it is not as the document says.
func (p *person) send(method, path, body string, bad bool) answer {
	p.w.t.Helper()
	r, err := http.NewRequestWithContext(p.w.t.Context(), method, p.w.url+path, strings.NewReader(body))
	p.w.must(err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if p.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	if bad {
		r.Header.Set(badRequest, "yes")
	}
	resp, err := p.http.Do(r)
	p.w.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	p.w.must(err)
	return answer{resp.StatusCode, string(text), resp.Header}
}

// do sends a good request.
func (p *person) do(method, path string, in any) answer {
	p.w.t.Helper()
	var body []byte
	if in != nil {
		var err error
		body, err = json.Marshal(in)
		p.w.must(err)
	}
	return p.send(method, path, string(body), false)
}

// ok is do that must succeed.
func (p *person) ok(method, path string, in, out any) {
	p.w.t.Helper()
	a := p.do(method, path, in)
	if a.status >= http.StatusMultipleChoices {
		p.w.t.Fatalf("%s %s as %s: %d %s\n%s", method, path, p.email, a.status, a.body, p.w.heard.logged())
	}
	if out != nil {
		p.w.must(json.Unmarshal([]byte(a.body), out))
	}
}

// refused is do that must be refused, with a sentence.
func (p *person) refused(path string, in any, status int, code string) answer {
	p.w.t.Helper()
	a := p.do(http.MethodPost, path, in)
	if a.status != status || a.code() != code || !strings.HasSuffix(a.member("detail"), ".") {
		p.w.t.Errorf("POST %s %+v as %s: %d %s, want %d %s and a sentence", path, in, p.email, a.status, a.body, status, code)
	}
	return a
}

// begin starts a session to connect a bank.
func (p *person) begin(book string) session.Started {
	p.w.t.Helper()
	var s session.Started
	p.ok(http.MethodPost, "/connect", connect.Request{Book: book, Country: "US"}, &s)
	return s
}

// visit signs in at the bank, and comes back.
func (p *person) visit(s session.Started, b *savings) {
	p.w.t.Helper()
	back, err := plaid.Visit(p.w.t.Context(), p.http, s.URL, b.id, b.user, "pass_good")
	p.w.must(err)
	resp, err := p.http.Get(back)
	p.w.must(err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.Contains(resp.Request.URL.RawQuery, s.Session) {
		p.w.t.Fatalf("the way back from the bank ends at %s: %s", resp.Request.URL.Path, resp.Status)
	}
}

// complete asks what became of a session until that is known.
func (p *person) complete(s session.Started) connect.Completed {
	p.w.t.Helper()
	for until := time.Now().Add(patience); ; {
		var done connect.Completed
		p.ok(http.MethodPost, "/connect/complete", connect.Complete{Session: s.Session}, &done)
		if bank.SessionState(done.State).Final() {
			return done
		}
		if time.Now().After(until) {
			p.w.t.Fatalf("the session is still %s", done.State)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// connect connects a bank.
func (p *person) connect(b *savings, book string) view.Connection {
	p.w.t.Helper()
	s := p.begin(book)
	p.visit(s, b)
	return p.kept(s)
}

// kept completes a session that must end well.
func (p *person) kept(s session.Started) view.Connection {
	p.w.t.Helper()
	done := p.complete(s)
	if done.State != string(bank.Kept) || done.Connection == nil {
		p.w.t.Fatalf("the session is %+v", done)
	}
	return *done.Connection
}

// reconnect repairs or restores a connection.
func (p *person) reconnect(connection string, b *savings) view.Connection {
	p.w.t.Helper()
	var s session.Started
	p.ok(http.MethodPost, "/reconnect", reconnect.Request{Connection: connection}, &s)
	p.visit(s, b)
	return p.kept(s)
}

// linking is what /link takes, in the document's words.
type linking struct {
	Book       string `json:"book"`
	Connection string `json:"connection"`
	Key        string `json:"key"`
	Account    string `json:"account,omitempty"`
	Create     string `json:"create,omitempty"`
	From       string `json:"from"`
	Pending    *bool  `json:"pending,omitempty"`
	Paused     *bool  `json:"paused,omitempty"`
	Insist     bool   `json:"insist,omitempty"`
	Replaces   string `json:"replaces,omitempty"`
}

// link saves an integration and waits for what it brings.
func (p *person) link(r linking) view.Integration {
	p.w.t.Helper()
	var i view.Integration
	if r.From == "" {
		r.From = day(700)
	}
	p.ok(http.MethodPost, "/link", r, &i)
	p.w.settle()
	return i
}

// linked connects a bank and links its first account.
func (p *person) linked(b *savings, book string) (view.Connection, view.Integration) {
	p.w.t.Helper()
	c := p.connect(b, book)
	return c, p.link(linking{Book: book, Connection: c.ID, Key: c.Accounts[0].Key, Create: b.id})
}

func (p *person) connections() []view.Connection {
	p.w.t.Helper()
	var list portal.Connections
	p.ok(http.MethodGet, "/portal/connections", nil, &list)
	return list.Connections
}

// connection is one of the person's own as it stands.
func (p *person) connection(id string) view.Connection {
	p.w.t.Helper()
	all := p.connections()
	i := slices.IndexFunc(all, func(c view.Connection) bool { return c.ID == id })
	if i < 0 {
		p.w.t.Fatalf("%s does not have the connection %s", p.email, id)
	}
	return all[i]
}

func (p *person) integrations(book string) portal.Integrations {
	p.w.t.Helper()
	var list portal.Integrations
	p.ok(http.MethodGet, "/portal/integrations?book="+book, nil, &list)
	return list
}

// integration is one of a Book as it stands.
func (p *person) integration(book, id string) view.Integration {
	p.w.t.Helper()
	all := p.integrations(book).Integrations
	i := slices.IndexFunc(all, func(i view.Integration) bool { return i.ID == id })
	if i < 0 {
		p.w.t.Fatalf("the Book %s does not have the integration %s", book, id)
	}
	return all[i]
}

// newBook makes a Book of the client's in which the bookkeeper is an editor.
func (w *world) newBook(name string) string {
	w.t.Helper()
	two := 2
	return w.makeBook(bkper.Book{Name: name, FractionDigits: &two, Properties: map[string]string{"exc_code": "USD"}}, bkper.Editor)
}

func (w *world) makeBook(b bkper.Book, bookkeeper bkper.Permission) string {
	w.t.Helper()
	owner := bkper.Caller{Email: clientEmail}
	b.AutoPost = new(bool)
	made, err := w.books.CreateBook(owner, b)
	w.must(err)
	if bookkeeper != bkper.None {
		_, err = w.books.Share(owner, made.ID, bkper.Collaborator{Email: bookkeeperEmail, Permission: bookkeeper})
		w.must(err)
	}
	return made.ID
}

// record is a transaction of a Book in one line.
func record(t bkper.Transaction) string {
	side := func(a *bkper.Account) string {
		if a == nil {
			return "?"
		}
		return a.Name
	}
	amount := "no amount"
	if t.Amount != nil {
		amount = decimal.RequireFromString(*t.Amount).String()
	}
	line := fmt.Sprintf("%s %s %s>%s %s", t.Date, amount, side(t.CreditAccount), side(t.DebitAccount), t.Description)
	for name, is := range map[string]*bool{" posted": t.Posted, " trashed": t.Trashed} {
		if bkper.True(is) {
			line += name
		}
	}
	return line
}

// all is every transaction of a Book, as Bkper has it.
func (w *world) all(book string) []bkper.Transaction {
	w.t.Helper()
	all, err := w.hand(book).All()
	w.must(err)
	return all
}

func (w *world) hand(book string) bkper.Hand {
	w.t.Helper()
	h, err := w.books.Hand(book)
	w.must(err)
	return h
}

// records is the Book in lines, in order: a multiset.
func (w *world) records(book string) []string {
	w.t.Helper()
	lines := []string{}
	for _, t := range w.all(book) {
		lines = append(lines, record(t))
	}
	slices.Sort(lines)
	return lines
}

// find is the one record of a Book with a text.
func (w *world) find(book, text string) bkper.Transaction {
	w.t.Helper()
	all := slices.DeleteFunc(w.all(book), func(t bkper.Transaction) bool { return t.Description != text || bkper.True(t.Trashed) })
	if len(all) != 1 {
		w.t.Fatalf("%d records say %q in\n%s", len(all), text, strings.Join(w.records(book), "\n"))
	}
	return all[0]
}
