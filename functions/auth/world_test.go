package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/functions/auth"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/logs"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/sandbox/google"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	storemem "github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/vault"
	vaultmem "github.com/bkper/automations-portal/shared/vault/memory"
	"github.com/bkper/automations-portal/shared/web"
)

const (
	clientID     = "portal.apps.googleusercontent.com"
	clientSecret = "GOCSPX-canary-client-secret"
	ana          = "ana@example.com"
	bob          = "bob@example.com"
	pages        = "https://pages.example"
)

// world is the function behind real HTTP, Google's stand-in, a clock that the test moves and everything that was said.
type world struct {
	t      *testing.T
	google *google.Service
	screen *httptest.Server // Google's
	server *httptest.Server // ours
	auth   *auth.Auth
	store  *storemem.Store
	vault  *vaultmem.Vault
	cut    *cut
	log    *syncBuffer

	mu     sync.Mutex
	now    time.Time
	tokens []string // all that Google ever issued
	rings  []events.Message
}

func newWorld(t *testing.T, change ...func(*auth.Auth)) *world {
	t.Helper()
	w := &world{t: t, now: time.Now(), store: storemem.New(), vault: new(vaultmem.Vault), log: new(syncBuffer), cut: &cut{at: -1}}
	var handler http.Handler
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { handler.ServeHTTP(rw, r) }))
	t.Cleanup(w.server.Close)
	var err error
	w.google, err = google.New(google.Options{
		Clients: []google.Client{{ID: clientID, Secret: clientSecret, RedirectURIs: []string{w.server.URL + "/auth/callback"}}},
		Users:   []google.User{{Email: ana, Name: "Ana"}, {Email: bob, Name: "Bob"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.screen = httptest.NewServer(google.NewServer(w.google, google.ServerOptions{}))
	t.Cleanup(w.screen.Close)

	client := &http.Client{Transport: wire(w.toGoogle)}
	tokenURL := w.screen.URL + "/token"
	w.auth = &auth.Auth{
		Store: cutStore{w.store, w.cut}, Vault: cutVault{w.vault, w.cut}, Events: w,
		Grants: caller.NewGrants(caller.GrantsConfig{
			Vault: cutVault{w.vault, w.cut}, ClientID: clientID, ClientSecret: secret.New(clientSecret), TokenURL: tokenURL, Client: client,
		}),
		Edge:     &web.Edge{Function: "auth", Log: slog.New(logs.NewJSON(w.log, logs.Options{Level: slog.LevelDebug}))},
		ClientID: clientID, ClientSecret: secret.New(clientSecret),
		AuthURL: w.screen.URL + "/o/oauth2/v2/auth", TokenURL: tokenURL, Client: client,
		URL: w.server.URL + "/auth", Home: "/portal", Returns: []string{pages}, Now: w.clock,
	}
	for _, f := range change {
		f(w.auth)
	}
	handler = http.StripPrefix("/auth", w.auth.Handler())
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// Publish implements events.Publisher.
func (w *world) Publish(_ context.Context, topic events.Topic, m events.Message) error {
	return w.cut.call(func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if topic != events.Rings {
			return errors.New("another topic")
		}
		w.rings = append(w.rings, m)
		return nil
	})
}

// toGoogle carries what the function says to Google, and remembers the tokens in the answers.
func (w *world) toGoogle(r *http.Request) (*http.Response, error) {
	var resp *http.Response
	err := w.cut.call(func() (err error) {
		if r.URL.String() == caller.KeysURL {
			resp, err = http.Get(w.screen.URL + "/oauth2/v3/certs")
			return err
		}
		resp, err = http.DefaultTransport.RoundTrip(r)
		if err == nil {
			err = w.overhear(resp)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (w *world) overhear(resp *http.Response) error {
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var said google.Tokens
	if json.Unmarshal(body, &said) == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, token := range []string{said.AccessToken, said.RefreshToken, said.IDToken} {
			if token != "" {
				w.tokens = append(w.tokens, token)
			}
		}
	}
	return err
}

type wire func(*http.Request) (*http.Response, error)

func (f wire) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// cut fails one outside call of many: before it takes effect, or after.
type cut struct {
	mu    sync.Mutex
	n     int
	at    int // -1: none
	after bool
	fired bool
}

var errCut = errors.New("cut")

func (c *cut) call(do func() error) error {
	c.mu.Lock()
	mine := c.n == c.at
	c.n++
	c.fired = c.fired || mine
	c.mu.Unlock()
	if mine && !c.after {
		return errCut
	}
	err := do()
	if mine && err == nil {
		return errCut
	}
	return err
}

type cutStore struct {
	store.Store
	cut *cut
}

func (s cutStore) Get(ctx context.Context, kind string, ids ...string) (ds []store.Document, err error) {
	err = s.cut.call(func() error { ds, err = s.Store.Get(ctx, kind, ids...); return err })
	return ds, err
}

func (s cutStore) Find(ctx context.Context, q store.Query) (ds []store.Document, err error) {
	err = s.cut.call(func() error { ds, err = s.Store.Find(ctx, q); return err })
	return ds, err
}

func (s cutStore) Update(ctx context.Context, body func(store.Tx) error) error {
	return s.cut.call(func() error { return s.Store.Update(ctx, body) })
}

type cutVault struct {
	vault.Vault
	cut *cut
}

func (v cutVault) Get(ctx context.Context, name string) (got secret.String, err error) {
	err = v.cut.call(func() error { got, err = v.Vault.Get(ctx, name); return err })
	return got, err
}

func (v cutVault) Put(ctx context.Context, name string, s secret.String) error {
	return v.cut.call(func() error { return v.Vault.Put(ctx, name, s) })
}

// browser keeps cookies and stands still at redirects.
type browser struct {
	w      *world
	client *http.Client
	seen   []string // addresses it was sent to, and bodies of refusals
}

func (w *world) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	still := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{w: w, client: &http.Client{Jar: jar, CheckRedirect: still}}
}

// answer is a response that was read.
type answer struct {
	status int
	to     *url.URL // Location
	body   string
	header http.Header
}

func (a answer) code() string {
	var p struct{ Code string }
	json.Unmarshal([]byte(a.body), &p)
	return p.Code
}

func (b *browser) do(method, to string, form url.Values, headers ...string) answer {
	b.w.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.w.t.Context(), method, to, body)
	if err != nil {
		b.w.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.w.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, body: string(text), header: resp.Header}
	a.to, _ = resp.Location()
	if a.to != nil {
		b.seen = append(b.seen, a.to.String())
	}
	if a.status >= 400 {
		b.seen = append(b.seen, a.body)
	}
	return a
}

func (b *browser) get(path string, headers ...string) answer {
	b.w.t.Helper()
	return b.do(http.MethodGet, b.w.server.URL+path, nil, headers...)
}

// refresh is what the page does.
func (b *browser) refresh(headers ...string) answer {
	b.w.t.Helper()
	return b.do(http.MethodPost, b.w.server.URL+"/auth/refresh", nil, headers...)
}

// click is a person who allows, at Google.
func (b *browser) click(screen *url.URL, email string) answer {
	b.w.t.Helper()
	return b.do(http.MethodPost, screen.String(), url.Values{"email": {email}})
}

// signIn goes from the login to wherever it ends, clicking on every screen of Google's.
func (b *browser) signIn(email, query string) (end answer, screens []*url.URL) {
	b.w.t.Helper()
	end = b.get("/auth/login" + query)
	for range 4 {
		if end.to == nil || !strings.HasPrefix(end.to.String(), b.w.screen.URL) {
			return end, screens
		}
		screens = append(screens, end.to)
		back := b.click(end.to, email)
		if back.to == nil {
			b.w.t.Fatalf("Google shows %d %s", back.status, back.body)
		}
		end = b.do(http.MethodGet, back.to.String(), nil)
	}
	b.w.t.Fatal("it goes round and round")
	return end, screens
}

// enter is signIn that must succeed.
func (b *browser) enter(email string) []*url.URL {
	b.w.t.Helper()
	end, screens := b.signIn(email, "")
	if end.status != http.StatusSeeOther || end.to.String() != b.w.server.URL+"/portal" {
		b.w.t.Fatalf("the sign-in ends with %d %v %s\n%s", end.status, end.to, end.body, b.w.log)
	}
	return screens
}

// cookie is the value that the browser keeps.
func (b *browser) cookie(name string) string {
	at, _ := url.Parse(b.w.server.URL + "/auth/")
	for _, c := range b.client.Jar.Cookies(at) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// token is the access token of a refresh that must succeed.
func (b *browser) token() string {
	b.w.t.Helper()
	a := b.refresh()
	var got auth.Access
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
		b.w.t.Fatalf("refresh: %d %s", a.status, a.body)
	}
	return got.AccessToken
}

func (w *world) grant(email string) string {
	s, err := w.vault.Get(context.Background(), vault.UserGrant(google.Sub(email)))
	if err != nil && !errors.Is(err, vault.ErrNotFound) {
		w.t.Fatal(err)
	}
	return s.Reveal()
}

func (w *world) user(email string) *bank.User {
	w.t.Helper()
	u, err := store.Users.Get(context.Background(), w.store, google.Sub(email))
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

// block makes integrations of some connections that wait for a grant.
func (w *world) block(email string, connections ...string) {
	w.t.Helper()
	err := w.store.Update(context.Background(), func(tx store.Tx) error {
		for _, c := range connections {
			i := &bank.Integration{
				ID: "i-" + c, Book: "b", Connection: c, As: google.Sub(email), State: bank.Live, Want: 2, Have: 1,
				From:   civil.Date{Year: 2026, Month: 1, Day: 1},
				Behind: "consent", Until: w.clock().Add(4 * time.Hour),
			}
			e := &posting.Engine{Connection: c, Due: w.clock().Add(5 * time.Hour)}
			if err := errors.Join(store.Integrations.Put(tx, i), posting.Engines.Put(tx, e)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// waits tells for how long a connection's integration and engine wait still.
func (w *world) waits(connection string) (integration, engine time.Duration) {
	w.t.Helper()
	i, err := store.Integrations.Get(context.Background(), w.store, "i-"+connection)
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := posting.Engines.Get(context.Background(), w.store, connection)
	if err != nil {
		w.t.Fatal(err)
	}
	return max(i.Until.Sub(w.clock()), 0), max(e.Due.Sub(w.clock()), 0)
}

// documents are all that the function can have stored, as text.
func (w *world) documents() string {
	w.t.Helper()
	var all strings.Builder
	for _, kind := range []string{"users", "signins", "pagesessions", "integrations", "engines", "connections"} {
		ds, err := w.store.Find(context.Background(), store.Query{Kind: kind})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, d := range ds {
			all.WriteString(d.Kind + "/" + d.ID + " " + string(d.Body) + "\n")
		}
	}
	return all.String()
}

func (w *world) count(kind string) int {
	ds, err := w.store.Find(context.Background(), store.Query{Kind: kind})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(ds)
}
