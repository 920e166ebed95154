package portal_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/functions/auth"
	"github.com/bkper/automations-portal/functions/connect"
	"github.com/bkper/automations-portal/functions/disconnect"
	"github.com/bkper/automations-portal/functions/link"
	"github.com/bkper/automations-portal/functions/portal"
	"github.com/bkper/automations-portal/functions/poster"
	"github.com/bkper/automations-portal/functions/reconnect"
	"github.com/bkper/automations-portal/functions/remove"
	functionsync "github.com/bkper/automations-portal/functions/sync"
	"github.com/bkper/automations-portal/functions/webhook"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/store"
	storemem "github.com/bkper/automations-portal/shared/store/memory"
	vaultmem "github.com/bkper/automations-portal/shared/vault/memory"
	"github.com/bkper/automations-portal/shared/web"
	"github.com/bkper/automations-portal/shared/web/webtest"
)

const site = "https://portal.example"

// world is every function on one port, on storage in memory, with a bank and a ledger that do as they are told.
type world struct {
	t        *testing.T
	store    *storemem.Store
	tokens   *vaultmem.Vault
	bank     *scriptedBank
	books    *scriptedBooks
	contract *webtest.Contract
	handler  http.Handler
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: storemem.New(), tokens: &vaultmem.Vault{}, bank: &scriptedBank{}, books: &scriptedBooks{}, contract: webtest.ForTest(t, openAPI(t))}
	mux := http.NewServeMux()
	for name, h := range w.functions() {
		mux.Handle("/"+name+"/", http.StripPrefix("/"+name, h))
		mux.HandleFunc("/"+name, func(out http.ResponseWriter, r *http.Request) {
			r.URL.Path = "/"
			h.ServeHTTP(out, r)
		})
	}
	w.handler = mux
	return w
}

func (w *world) functions() map[string]http.Handler {
	tokens, now := w.tokens, time.Now
	edge := discard()
	banks := map[string]bank.Provider{"scripted": w.bank}
	start := &session.Starter{
		Store: w.store, Vault: tokens, Banks: banks, Connect: site + "/connect", Now: now,
		Webhook: func(provider string) string { return site + "/webhook/" + provider },
	}
	sleep := func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	return map[string]http.Handler{
		"connect": (&connect.Connect{
			Store: w.store, Vault: tokens, Banks: banks, Books: w.books, Start: start, Events: silent{},
			Page: site + "/portal/", Edge: edge, Pushes: edge, Now: now, Sleep: sleep,
		}).Handler(),
		"link": (&link.Link{
			Store: w.store, Books: w.books, Grants: w.books, Events: silent{}, Consent: site + "/auth/login?consent=1",
			Edge: edge, Now: now,
		}).Handler(),
		"remove": (&remove.Remove{Store: w.store, Books: w.books, Edge: edge, Now: now, Sleep: sleep}).Handler(),
		"disconnect": (&disconnect.Disconnect{
			Store: w.store, Vault: tokens, Banks: map[string]disconnect.Remover{"scripted": w.bank},
			Edge: edge, Pushes: edge, Now: now, Sleep: sleep,
		}).Handler(),
		"reconnect": (&reconnect.Reconnect{Store: w.store, Vault: tokens, Banks: banks, Start: start, Edge: edge, Now: now}).Handler(),
		"webhook":   (&webhook.Webhook{Banks: map[string]bank.Doorbell{"scripted": w.bank}, Events: silent{}, Edge: edge}).Handler(),
		"poster":    (&poster.Poster{Posting: &posting.Poster{Store: w.store}, Pushes: edge}).Handler(),
		"sync":      (&functionsync.Sync{Store: w.store, Events: silent{}, Pushes: edge, Now: now}).Handler(),
		"portal": (&portal.Portal{
			Store: w.store, Banks: map[string]bank.Directory{"scripted": w.bank}, Books: w.books, Events: silent{},
			Edge: edge, Now: now,
		}).Handler(),
		"auth": (&auth.Auth{
			Store: w.store, Vault: tokens, Grants: w.books, Events: silent{}, Edge: edge, ClientID: "x",
			ClientSecret: secret.New("x"), URL: site + "/auth", Home: "/portal/",
		}).Handler(),
	}
}

func discard() *web.Edge { return &web.Edge{Who: people{}, Log: slog.New(slog.DiscardHandler)} }

// call sends a request through the contract and reads the answer into into, unless that is nil.
func (w *world) call(r *http.Request, status int, into any) *httptest.ResponseRecorder {
	w.t.Helper()
	out := httptest.NewRecorder()
	w.contract.Handler("", w.handler).ServeHTTP(out, r)
	if out.Code != status {
		w.t.Fatalf("%s %s: %d %s", r.Method, r.URL, out.Code, out.Body)
	}
	if into != nil {
		if err := json.Unmarshal(out.Body.Bytes(), into); err != nil {
			w.t.Fatal(err)
		}
	}
	return out
}

func (w *world) post(path, body string, status int, into any) {
	w.t.Helper()
	w.call(asked(w.t.Context(), http.MethodPost, path, body), status, into)
}

func (w *world) get(path string, into any) {
	w.t.Helper()
	w.call(asked(w.t.Context(), http.MethodGet, path, ""), http.StatusOK, into)
}

// refuse sends a bad request and wants the code.
func (w *world) refuse(path, body string, status int, code string) {
	w.t.Helper()
	var problem struct{ Code string }
	w.call(asked(webtest.Bad(w.t.Context()), http.MethodPost, path, body), status, &problem)
	if problem.Code != code {
		w.t.Errorf("%s %s: code %s, want %s", path, body, problem.Code, code)
	}
}

func asked(ctx context.Context, method, target, body string) *http.Request {
	r := httptest.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer ana")
	r.Header.Set("Content-Type", "application/json")
	return r
}

// people are those whose name is their token.
type people struct{}

func (people) Verify(_ context.Context, token secret.String) (caller.Caller, error) {
	return caller.Caller{Sub: token.Reveal(), Email: token.Reveal() + "@example.com", Token: token}, nil
}

type silent struct{}

func (silent) Publish(context.Context, events.Topic, events.Message) error { return nil }

// scriptedBank has one item with two accounts.
type scriptedBank struct {
	left                  bool
	begin, item, exchange error
	down                  error // of what is asked of the directory by an id
}

func (*scriptedBank) Name() string        { return "scripted" }
func (*scriptedBank) Countries() []string { return []string{"US"} }

func (*scriptedBank) Front() bank.Front {
	return bank.Front{
		Days: 365, Adds: []string{"US"}, Needs: map[string]bank.Need{"WORD_OF_THE_BANK": bank.Locked}, Widget: []byte("export const open = async () => ({});\n"),
		Hosts: map[string][]string{"script-src": {"https://cdn.bank.example"}, "frame-src": {"https://widget.bank.example"}},
	}
}

func (*scriptedBank) Institutions(context.Context, string, string) ([]bank.Institution, error) {
	return []bank.Institution{
		{ID: "i1", Name: "First Bank", Country: "US", URL: "https://bank.example", Colour: "#0e3e6b", Logo: "data:image/png;base64,iVBORw0KGgo=", Health: "down"},
		{ID: "i2", Name: "Second Bank"},
	}, nil
}

func (s *scriptedBank) Institution(ctx context.Context, country, id string) (bank.Institution, error) {
	if s.down != nil {
		return bank.Institution{}, s.down
	}
	banks, err := s.Institutions(ctx, country, "")
	i := slices.IndexFunc(banks, func(b bank.Institution) bool { return b.ID == id })
	if err == nil && i < 0 {
		return bank.Institution{}, &bank.Error{Kind: bank.Permanent, Code: "X", Err: bank.ErrNotFound}
	}
	return banks[i], err
}

func (s *scriptedBank) Begin(_ context.Context, b bank.Begin) (bank.Begun, error) {
	if s.begin != nil {
		return bank.Begun{}, s.begin
	}
	return bank.Begun{
		Handle: secret.New("handle-" + b.Session), Ref: "ref-" + b.Session, URL: "https://bank.example/visit",
		Expires: time.Now().Add(time.Hour), Forgets: time.Now().Add(2 * time.Hour),
	}, nil
}

var accounts = []bank.Account{
	{ID: "a1", Persistent: "p1", Name: "Checking", Mask: "0000", Type: bank.Deposit, Currency: "USD"},
	{ID: "a2", Persistent: "p2", Name: "Pension", Type: bank.Other, Currency: "USD"},
}

func (s *scriptedBank) Outcome(_ context.Context, v bank.Visit) (bank.Outcome, error) {
	if s.left {
		return bank.Outcome{State: bank.Left}, nil
	}
	one := bank.Candidate{Key: bank.Hash(v.Handle.Reveal()), Public: secret.New("public"), Institution: bank.Institution{ID: "i1", Name: "First Bank"}, Accounts: accounts}
	return bank.Outcome{State: bank.Finished, Candidates: []bank.Candidate{one}}, nil
}

func (s *scriptedBank) Exchange(_ context.Context, c bank.Candidate) (bank.Grant, error) {
	if s.exchange != nil {
		return bank.Grant{}, s.exchange
	}
	return bank.Grant{Item: "item-" + c.Key, Token: secret.New("token-" + c.Key)}, nil
}

func (*scriptedBank) Discard(context.Context, bank.Candidate) error { return nil }

func (*scriptedBank) Remove(context.Context, secret.String) error { return nil }

func (s *scriptedBank) Item(_ context.Context, token secret.String) (bank.Item, error) {
	if s.item != nil {
		return bank.Item{}, s.item
	}
	return bank.Item{
		ID: strings.Replace(token.Reveal(), "token", "item", 1), Institution: bank.Institution{ID: "i1", Name: "First Bank", Colour: "#0e3e6b"},
		Accounts: accounts, ConsentExpires: time.Now().Add(time.Hour),
	}, nil
}

func (*scriptedBank) Changes(context.Context, bank.From) (bank.Page, error) { return bank.Page{}, nil }

// proofHeader is the scripted provider's own.
const proofHeader = "Scripted-Proof"

func (*scriptedBank) Verify(_ context.Context, head http.Header, _ []byte) ([]bank.Notice, error) {
	if head.Get(proofHeader) == "" {
		return nil, bank.ErrForged
	}
	return []bank.Notice{{Item: "item-x"}}, nil
}

// scriptedBooks has two Books and an Account in each, and gives grants.
type scriptedBooks struct {
	withoutGrant bool
	create       error
	created      []string
}

func book(id string, p ledger.Permission) ledger.Book {
	return ledger.Book{
		ID: id, Name: "Acme", Permission: p, Digits: 2, Currency: "USD",
		Accounts: []ledger.Account{{ID: "c1", Name: "Cash", Type: ledger.Asset}, {ID: "c2", Name: "Rent", Type: ledger.Outgoing}},
	}
}

func (*scriptedBooks) Books(context.Context, secret.String) ([]ledger.Book, error) {
	return []ledger.Book{{ID: "b1", Name: "Acme", Permission: ledger.Owner, Currency: "USD"}, {ID: "b2", Permission: ledger.Viewer}}, nil
}

func (*scriptedBooks) Book(_ context.Context, _ secret.String, id string) (ledger.Book, error) {
	switch id {
	case "b1":
		return book(id, ledger.Owner), nil
	case "b2":
		return book(id, ledger.Viewer), nil
	}
	return ledger.Book{}, &bank.Error{Kind: bank.Permanent, Code: "not_found", Err: ledger.ErrNotFound}
}

func (b *scriptedBooks) CreateAccount(_ context.Context, _ secret.String, _ string, a ledger.Account) (ledger.Account, error) {
	a.ID = "c3"
	b.created = append(b.created, a.Name)
	return a, b.create
}

func (b *scriptedBooks) Token(context.Context, string) (secret.String, error) {
	if b.withoutGrant {
		return secret.String{}, &bank.Error{Kind: bank.UserMustAct, Code: caller.ConsentRequired}
	}
	return secret.New("access"), nil
}

func (b *scriptedBooks) Fresh(ctx context.Context, sub string) (secret.String, error) {
	return b.Token(ctx, sub)
}

type shownConnection struct {
	ID       string
	Accounts []struct{ Key string }
}

// connected takes a person through the bank.
func (w *world) connected() shownConnection {
	w.t.Helper()
	var begun struct{ Session string }
	w.post("/connect", `{"book":"b1","country":"US","provider":"scripted","language":"pt-BR"}`, http.StatusOK, &begun)
	w.call(asked(w.t.Context(), http.MethodGet, "/connect/complete?session="+begun.Session, ""), http.StatusSeeOther, nil)
	var done struct {
		State      string
		Connection shownConnection
	}
	w.post("/connect/complete", `{"session":"`+begun.Session+`"}`, http.StatusOK, &done)
	if done.State != "kept" || len(done.Connection.Accounts) != len(accounts) {
		w.t.Fatalf("%+v", done)
	}
	return done.Connection
}

func TestTheWholeWayIsAsTheDocumentSays(t *testing.T) {
	w := newWorld(t)
	w.walkThroughAuth()
	w.get("/portal/countries", nil)
	w.get("/portal/banks?country=US&q=first", nil)
	w.get("/portal/bank?provider=scripted&country=US&id=i1", nil)
	w.get("/portal/books", nil)
	w.get("/portal/book?book=b1", nil)
	c := w.connected()
	key := c.Accounts[0].Key
	var i struct{ ID string }
	w.post("/link", fmt.Sprintf(`{"book":"b1","connection":%q,"key":%q,"create":"Checking","from":"2026-01-01"}`, c.ID, key), 200, &i)
	w.post("/link", fmt.Sprintf(`{"book":"b1","connection":%q,"key":%q,"account":"c1","from":"2026-01-01","paused":true}`, c.ID, key), 200, nil)
	w.get("/portal/connections", nil)
	w.get("/portal/integrations?book=b1", nil)
	w.get("/portal/attention?book=b1&integration="+i.ID, nil)
	w.post("/portal/sync", fmt.Sprintf(`{"connection":%q,"book":"b1"}`, c.ID), 202, nil)
	w.post("/connect/accounts", fmt.Sprintf(`{"connection":%q}`, c.ID), 200, nil)
	w.post("/connect/offer", fmt.Sprintf(`{"connection":%q,"book":"b2","offered":true}`, c.ID), 200, nil)
	w.post("/remove", fmt.Sprintf(`{"integration":%q}`, i.ID), 200, nil)
	w.post("/reconnect", fmt.Sprintf(`{"connection":%q,"language":"en"}`, c.ID), 200, nil)
	w.post("/disconnect", fmt.Sprintf(`{"connection":%q}`, c.ID), 200, nil)
	w.walkThroughMachines()
	w.get("/portal/user", nil)
	for _, path := range []string{"/portal/", "/portal/openapi.json", "/portal/config", "/portal/page/v/style.css", "/portal/widgets/scripted.js"} {
		w.call(httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil), 200, nil)
	}
	// The first and the second are served by what mounts the functions; the third needs Google.
	want := []string{"GET /", "GET /auth/callback", "GET /openapi.json"}
	if diff := diff.Diff(want, w.contract.Unexercised()); diff != "" {
		t.Error(diff)
	}
}

func (w *world) walkThroughAuth() {
	now := time.Now()
	cookie := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	sum := sha256.Sum256([]byte(cookie))
	err := w.store.Update(w.t.Context(), func(tx store.Tx) error {
		return auth.PageSessions.Put(tx, &auth.PageSession{ID: hex.EncodeToString(sum[:]), Sub: "ana", Created: now, Expires: now.Add(time.Hour)})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, row := range []struct {
		method, target string
		status         int
	}{
		{http.MethodGet, "/auth/login?returnUrl=/portal/", 303},
		{http.MethodPost, "/auth/refresh", 200},
		{http.MethodGet, "/auth/logout?returnUrl=/portal/", 303},
		{http.MethodPost, "/auth/logout", 204},
		{http.MethodPost, "/auth/refresh", 401},
		{http.MethodGet, "/auth/callback?state=x&code=y", 400},
	} {
		r := httptest.NewRequestWithContext(w.t.Context(), row.method, row.target, nil)
		r.AddCookie(&http.Cookie{Name: "__Host-" + auth.SessionCookie, Value: cookie})
		w.call(r, row.status, nil)
	}
}

func (w *world) walkThroughMachines() {
	push := `{"message":{"data":"eyJjb25uZWN0aW9uIjoibm9ib2R5cyJ9","messageId":"1","publishTime":"2026-01-01T00:00:00Z"},"subscription":"s","deliveryAttempt":1}`
	for _, path := range []string{"/poster", "/connect/push", "/disconnect/push"} {
		w.post(path, push, http.StatusNoContent, nil)
		w.post(path, `{"message":{"data":"e30=","messageId":"2"}}`, http.StatusNoContent, nil) // nothing to do
		w.refuse(path, `{"message":{"data":"e30"}}`, 400, "invalid_request")
	}
	w.call(httptest.NewRequestWithContext(webtest.Bad(w.t.Context()), http.MethodPost, "/poster", strings.NewReader(push)), 401, nil)
	sync := asked(w.t.Context(), http.MethodPost, "/sync", "")
	sync.Header.Del("Content-Type")
	w.call(sync, http.StatusOK, nil)
	ring := asked(w.t.Context(), http.MethodPost, "/webhook/scripted", `{"webhook_type":"x"}`)
	w.call(withSignature(ring), http.StatusOK, nil)
	w.refuse("/webhook/scripted", `{}`, 401, "unauthenticated")
	w.refuse("/webhook/other", `{}`, 404, "not_found")
}

func withSignature(r *http.Request) *http.Request {
	r.Header.Set(proofHeader, "x")
	return r
}

func TestRefusalsAreAsTheDocumentSays(t *testing.T) {
	w := newWorld(t)
	c := w.connected()
	key, other := c.Accounts[0].Key, c.Accounts[1].Key
	linked := func(book, key, rest string) string {
		return fmt.Sprintf(`{"book":%q,"connection":%q,"key":%q,%s}`, book, c.ID, key, rest)
	}
	for _, row := range []struct {
		path, body string
		status     int
		code       string
	}{
		{"/connect", `{"book":"b1","country":"US","x":1}`, 400, "invalid_request"},
		{"/connect", `{"book":"b9","country":"US"}`, 404, "not_found"},
		{"/connect", `{"book":"b1","country":"US","provider":null}`, 400, "invalid_request"},
		{"/connect", `{"book":"b1","country":"BR"}`, 422, "country_not_served"},
		{"/connect", `{"book":"b1","country":"BR","provider":"scripted"}`, 422, "country_not_served"},
		{"/connect", `{"book":"b1","country":"US","provider":"nobody"}`, 422, "unknown_provider"},
		{"/connect/complete", `{"session":"invalid"}`, 404, "not_found"},
		{"/connect/offer", fmt.Sprintf(`{"connection":%q,"book":"b1"}`, c.ID), 400, "invalid_request"},
		{"/connect/offer", fmt.Sprintf(`{"connection":%q,"offered":false}`, c.ID), 400, "invalid_request"},
		{"/connect/complete", `{"session":"nobodys"}`, 404, "not_found"},
		{"/connect/offer", fmt.Sprintf(`{"connection":%q,"book":"b9","offered":true}`, c.ID), 404, "not_found"},
		{"/connect/accounts", `{"connection":"nobodys"}`, 404, "not_found"},
		{"/link", linked("b2", key, `"account":"c1","from":"2026-01-01"`), 403, "forbidden"},
		{"/link", linked("b1", "x", `"account":"c1","from":"2026-01-01"`), 404, "not_found"},
		{"/link", linked("b1", other, `"account":"c1","from":"2026-01-01"`), 422, "not_linkable"},
		{"/link", linked("b1", key, `"account":"c1","from":"1026-01-01"`), 422, "date_out_of_range"},
		{"/link", linked("b1", key, `"account":"c9","from":"2026-01-01"`), 422, "no_such_account"},
		{"/link", linked("b1", key, `"account":"c2","from":"2026-01-01"`), 422, "account_type"},
		{"/link", linked("b1", key, `"account":"c1","create":"x","from":"2026-01-01"`), 400, "invalid_request"},
		{"/link", linked("b1", key, `"account":"c1","from":"2026-01-01","replaces":"x"`), 422, "no_such_integration"},
		{"/remove", `{"integration":"nobodys"}`, 404, "not_found"},
		{"/disconnect", `{"connection":""}`, 400, "invalid_request"},
		{"/reconnect", `{"connection":"nobodys"}`, 404, "not_found"},
		{"/portal/sync", `{"connection":"nobodys"}`, 404, "not_found"},
		{"/portal/sync", fmt.Sprintf(`{"connection":%q,"book":"b2"}`, c.ID), 403, "forbidden"},
	} {
		w.refuse(row.path, row.body, row.status, row.code)
	}
	w.books.withoutGrant = true
	w.refuse("/link", linked("b1", key, `"account":"c1","from":"2026-01-01"`), 403, "consent_required")
	w.post("/disconnect", fmt.Sprintf(`{"connection":%q}`, c.ID), 200, nil)
	w.refuse("/link", linked("b1", key, `"account":"c1","from":"2026-01-01"`), 409, "disconnected")
	w.refuse("/connect/accounts", fmt.Sprintf(`{"connection":%q}`, c.ID), 409, "disconnected")
	w.refuse("/portal/sync", fmt.Sprintf(`{"connection":%q}`, c.ID), 409, "not_connected")
}

// Whoever is not signed in learns nothing, and every operation that asks for a person or a machine refuses alike.
func TestEveryOperationIsServedAndAsksForItsCaller(t *testing.T) {
	w := newWorld(t)
	for name, o := range operationsOf(document(t)) {
		method, path, _ := strings.Cut(name, " ")
		if path == "/" || path == "/openapi.json" {
			continue // served by what mounts the functions
		}
		r := httptest.NewRequestWithContext(webtest.Bad(t.Context()), method, strings.Replace(path, "{provider}", "scripted", 1), nil)
		out := httptest.NewRecorder()
		w.contract.Handler("", w.handler).ServeHTTP(out, r)
		// Each provider has a header of its own, so the document has no name for it.
		secured := o.Security != nil && len(*o.Security) > 0 || path == "/webhook/{provider}"
		if secured != (out.Code == http.StatusUnauthorized) || out.Code == http.StatusMethodNotAllowed {
			t.Errorf("%s: %d %s", name, out.Code, out.Body)
		}
	}
}

func TestAPathThatNoFunctionHasIsAnsweredAsTheDocumentSays(t *testing.T) {
	w := newWorld(t)
	for name := range w.functions() {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			w.call(asked(webtest.Bad(t.Context()), method, "/"+name+"/nowhere/at/all", `{}`), http.StatusNotFound, nil)
		}
	}
}

func TestWhoComesBackFromABankWithoutASessionIsSentToThePage(t *testing.T) {
	w := newWorld(t)
	for query, want := range map[string]string{"?session=s1": "s1", "": "invalid", "?session=%3Cb%3E": "invalid", "?error=x": "invalid"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			out := w.call(asked(webtest.Bad(t.Context()), method, "/connect/complete"+query, ""), http.StatusSeeOther, nil)
			if got := out.Header().Get("Location"); got != site+"/portal/?session="+want {
				t.Errorf("%s %q: to %s", method, query, got)
			}
		}
	}
}

func TestAnotherMethodIsRefusedAsTheDocumentSays(t *testing.T) {
	w := newWorld(t)
	for name := range operationsOf(document(t)) {
		_, path, _ := strings.Cut(name, " ")
		if path == "/" || path == "/openapi.json" {
			continue // served by what mounts the functions
		}
		path = strings.Replace(path, "{provider}", "scripted", 1)
		w.call(asked(webtest.Bad(t.Context()), http.MethodPut, path, `{}`), http.StatusMethodNotAllowed, nil)
	}
}

func openAPI(t *testing.T) []byte {
	t.Helper()
	h := (&portal.Portal{Edge: &web.Edge{Who: people{}, Log: slog.New(slog.DiscardHandler)}}).Handler()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	text, err := io.ReadAll(w.Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatal(w.Code, err)
	}
	return text
}
