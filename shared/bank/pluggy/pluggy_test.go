package pluggy

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/secret"
)

const (
	theItem   = "e062ab2b-9006-45e8-b689-defabba53647"
	theBank   = "0d5a0000-0000-4000-8000-000000000001"
	theCard   = "0d5a0000-0000-4000-8000-000000000002"
	theSecret = "a-secret-of-twenty-four-letters"
)

// script is Pluggy as a test wants it: answers by "METHOD /path", and what was asked.
type script struct {
	t       testing.TB
	answers map[string]http.HandlerFunc

	mu    sync.Mutex
	asked []*http.Request
	keys  int
}

// says answers with a body and the status 200.
func says(body string) http.HandlerFunc { return with(http.StatusOK, body) }

func with(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Clone(r.Context()))
	s.mu.Unlock()
	if answer, ok := s.answers[r.Method+" "+r.URL.Path]; ok {
		answer(w, r)
		return
	}
	if r.URL.Path == "/auth" {
		s.mu.Lock()
		s.keys++
		n := s.keys
		s.mu.Unlock()
		says(fmt.Sprintf(`{"apiKey":"key-%d"}`, n))(w, r)
		return
	}
	with(http.StatusNotFound, `{"code":404,"codeDescription":"ITEM_NOT_FOUND","message":"item not found"}`)(w, r)
}

// queries are those of the requests for a path.
func (s *script) queries(path string) (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.asked {
		if r.URL.Path == path {
			all = append(all, r.URL.RawQuery)
		}
	}
	return all
}

// scripted starts a script, and an adapter that talks to it.
func scripted(t testing.TB, answers map[string]http.HandlerFunc) (*Pluggy, *script) {
	t.Helper()
	s := &script{t: t, answers: answers}
	at := httptest.NewServer(s)
	t.Cleanup(at.Close)
	return adapter(t, at.URL, nil), s
}

func adapter(t testing.TB, base string, now func() time.Time) *Pluggy {
	t.Helper()
	p, err := New(Config{
		Environment: Sandbox, BaseURL: base, ClientID: "client", ClientSecret: secret.New("client-secret"),
		WebhookSecrets: []secret.String{secret.New(theSecret)}, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// An item and its accounts, with what a test wants otherwise.
func itemJSON(members ...string) string {
	return object(`"id":"`+theItem+`","status":"UPDATED","executionStatus":"SUCCESS","lastUpdatedAt":"2026-06-20T10:00:00.000Z",
		"updatedAt":"2026-06-20T10:00:00.000Z","nextAutoSyncAt":"2026-06-21T10:00:00.000Z","clientUserId":"reference","consentExpiresAt":null,
		"connector":{"id":601,"name":"Itaú","primaryColor":"EC7000","country":"BR","isSandbox":false,"products":["ACCOUNTS","TRANSACTIONS"]}`, members)
}

const accountsJSON = `{"page":1,"total":2,"totalPages":1,"results":[
	{"id":"` + theBank + `","itemId":"` + theItem + `","type":"BANK","subtype":"CHECKING_ACCOUNT","number":"0001/12345-0","name":"Conta Corrente",
	 "marketingName":"GOLD","balance":120.15,"currencyCode":"BRL","taxNumber":"416.799.495-00","bankData":{"transferNumber":"1/2/3"},"creditData":null},
	{"id":"` + theCard + `","itemId":"` + theItem + `","type":"CREDIT","subtype":"CREDIT_CARD","number":"**** 0597","name":"Mastercard Black",
	 "balance":-503.1,"currencyCode":"BRL","creditData":{"level":"BLACK"}}]}`

// rowJSON is a row with all of the keys that Pluggy always sends; members replace some.
func rowJSON(id, account string, members ...string) string {
	return object(`"id":"`+id+`","accountId":"`+account+`","description":"Padaria","descriptionRaw":"PADARIA SAO JOAO","currencyCode":"BRL","amount":-12.5,
		"amountInAccountCurrency":null,"date":"2026-06-15T03:00:00.000Z","type":"DEBIT","balance":null,"providerCode":null,"providerId":null,
		"status":"POSTED","category":null,"categoryId":null,"paymentData":null,"creditCardMetadata":null,"merchant":null,"operationType":null,
		"operationTypeAdditionalInfo":null,"order":0,"createdAt":"2026-06-16T08:00:00.000Z","updatedAt":"2026-06-16T08:00:00.000Z"`, members)
}

// object joins members; later ones win, since the reader takes the last of two.
func object(base string, members []string) string {
	return "{" + strings.Join(append([]string{base}, members...), ",") + "}"
}

func resultsJSON(next string, rows ...string) string {
	if next != "null" {
		next = `"` + next + `"`
	}
	return `{"results":[` + strings.Join(rows, ",") + `],"next":` + next + `}`
}

// jwt is a token of which only the claims are read.
func jwt(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2lnbmF0dXJl"
}
