package plaid

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/provider/providertest"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/shopspring/decimal"
)

const (
	testClient = "client-1"
	testSecret = "sandbox-secret"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// simBank is a Bank with a clock that stands still and repeatable ids.
func simBank(seed uint64) *Bank {
	return NewBank(Config{Now: func() time.Time { return noon }, Rand: rand.New(rand.NewPCG(seed, 7))})
}

func linkRequest() LinkRequest {
	return LinkRequest{
		ClientName: "Portal", Language: "en", CountryCodes: []string{"US"}, User: LinkUser{ClientUserID: "u-1"},
		Products: []string{"transactions"}, Webhook: "https://portal.example/webhook", Transactions: TransactionOptions{Days: maxDays},
	}
}

// linked connects a user and returns the access token and the item id.
func linked(t testing.TB, b *Bank, institution, user string) (access, item string) {
	t.Helper()
	l, err := b.CreateLinkToken(testClient, linkRequest())
	if err != nil {
		t.Fatal(err)
	}
	public, err := b.Connect(l.Token, institution, user, "pass_good")
	if err != nil {
		t.Fatal(err)
	}
	access, item, err = b.Exchange(public)
	if err != nil {
		t.Fatal(err)
	}
	return access, item
}

// smallCustomer opens two accounts with three settled rows at a bank and connects them.
func smallCustomer(t testing.TB, b *Bank) (access, item string, accounts []string) {
	t.Helper()
	row := func(date, amount, text string) Row { return Row{Date: date, Amount: money(amount), Description: text} }
	accounts, err := b.AddCustomer("ins_109508", "sim", []Holding{
		{Name: "Current", Mask: "0001", Type: "depository", Subtype: "checking", Currency: "USD", Current: money("100"), Rows: []Row{
			row("2026-11-01", "10", "one"), row("2026-08-02", "20.5", "two"),
		}},
		{Name: "Card", Mask: "0002", Type: "credit", Subtype: "credit card", Currency: "USD", Current: money("5"), Rows: []Row{row("2026-11-03", "30", "three")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	access, item = linked(t, b, "ins_109508", "sim")
	return access, item, accounts
}

// state is what a reader of the pages holds.
type state map[string]Transaction

// apply takes a page in, the way Plaid says to: upserts, then idempotent removals.
func (s state) apply(p Page) {
	for _, t := range append(append([]Transaction{}, p.Added...), p.Modified...) {
		s[t.TransactionID] = t
	}
	for _, r := range p.Removed {
		delete(s, r.TransactionID)
	}
}

// drain reads from a cursor to the end and returns the last cursor.
func (s state) drain(t testing.TB, b *Bank, access, cursor string, count int) string {
	t.Helper()
	for {
		p, err := b.Sync(access, SyncQuery{Cursor: cursor, Count: count})
		if err != nil {
			t.Fatal(err)
		}
		s.apply(p)
		cursor = p.NextCursor
		if !p.HasMore {
			return cursor
		}
	}
}

func code(err error) string {
	if e, ok := err.(*Error); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

// contract is Plaid's own OpenAPI file, as plaid-go ships it, with what Plaid has added since that version.
var contract = sync.OnceValues(func() (*openapi3.T, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/plaid/plaid-go/v20").Output()
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join(strings.TrimSpace(string(dir)), "api", "openapi.yaml"))
	if err != nil {
		return nil, err
	}
	grow := func(schema string, values ...any) {
		v := doc.Components.Schemas[schema].Value
		v.Enum = append(v.Enum, values...)
	}
	grow("PlaidErrorType", "TRANSACTIONS_ERROR", "SANDBOX_ERROR")
	grow("CountryCode", "AT", "FI")
	fire := doc.Components.Schemas["SandboxItemFireWebhookRequest"].Value.Properties["webhook_code"].Value
	fire.Enum = append(fire.Enum, "USER_PERMISSION_REVOKED", "USER_ACCOUNT_REVOKED", "PENDING_DISCONNECT", "LOGIN_REPAIRED")
	return doc, nil
})

// held serves a handler and fails the test on a request or an answer that Plaid's contract does not allow.
type held struct {
	t    testing.TB
	next http.Handler
	// lax lets requests through that break the contract, to see how they are refused.
	lax bool
}

func (h held) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	doc, err := contract()
	if err != nil {
		h.t.Errorf("load the contract: %v", err)
		return
	}
	path := doc.Paths.Find(r.URL.Path)
	if path == nil {
		h.next.ServeHTTP(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	if !h.lax {
		visit(h.t, "request "+r.URL.Path, path.Post.RequestBody.Value.Content["application/json"].Schema, body)
	}
	rec := httptest.NewRecorder()
	h.next.ServeHTTP(rec, r)
	schema := path.Post.Responses.Status(200).Value.Content["application/json"].Schema
	if rec.Code != http.StatusOK {
		schema = doc.Components.Schemas["PlaidError"]
	}
	if rec.Header().Get("Content-Type") == "application/json" {
		visit(h.t, fmt.Sprintf("answer %d of %s", rec.Code, r.URL.Path), schema, rec.Body.Bytes())
	}
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

func visit(t testing.TB, what string, schema *openapi3.SchemaRef, body []byte) {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if err := schema.Value.VisitJSON(v, openapi3.MultiErrors()); err != nil {
		t.Errorf("%s breaks Plaid's contract: %v", what, err)
	}
}

// rig is a Server under a path prefix, and somebody who receives its webhooks.
type rig struct {
	*Server
	*providertest.Receiver
	url string
}

type received = providertest.Received

func newRig(t *testing.T, o Options, lax bool) *rig {
	t.Helper()
	r := &rig{Receiver: providertest.NewReceiver(t, "webhook_code")}
	o.Clients = map[string]secret.String{testClient: secret.New(testSecret), "client-2": secret.New("other")}
	var mux http.ServeMux
	server := httptest.NewServer(&mux)
	t.Cleanup(server.Close)
	r.url = server.URL + "/plaid"
	o.BaseURL = r.url
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	mux.Handle("/plaid/", http.StripPrefix("/plaid", held{t, s, lax}))
	providertest.Run(t, s)
	return r
}

// all waits for one webhook of each code, in whatever order they come, and skips others.
func (r *rig) all(t *testing.T, codes ...string) map[string]received {
	t.Helper()
	got := map[string]received{}
	for len(got) < len(codes) {
		in := r.Next(t, codes...)
		got[in.Name] = in
	}
	return got
}

// post calls the API with a raw body and returns the status and the members of the answer.
func (r *rig) post(t testing.TB, path, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("PLAID-CLIENT-ID", testClient)
	req.Header.Set("PLAID-SECRET", testSecret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out map[string]any
	d := json.NewDecoder(resp.Body)
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return resp.StatusCode, out
}

func dec(s string) *decimal.Decimal { return moneyPtr(s) }
