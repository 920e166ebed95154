package pluggy

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

// inMemory answers every call with a script, without a network.
type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w.Result(), nil
}

// Whatever Pluggy answers, it is understood or is an error of a kind, and no row is half understood.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(itemJSON()), []byte(accountsJSON), []byte(resultsJSON("?after=x", rowJSON("t", theBank))), 200)
	f.Add([]byte(itemJSON(`"status":7`, `"connector":[]`)), []byte(`{"results":[{"id":"`+theBank+`"}]}`), []byte(`{"results":[1,null,{"id":"t","amount":1e99}],"next":7}`), 200)
	f.Add([]byte(`null`), []byte(`{}`), []byte(`{"code":429}`), 429)
	f.Fuzz(func(t *testing.T, item, accounts, rows []byte, status int) {
		if status < 200 || status > 599 {
			return
		}
		s := &script{t: t, answers: map[string]http.HandlerFunc{
			"GET /items/" + theItem: with(200, string(item)), "GET /accounts": with(200, string(accounts)), "GET " + transactionsPath: with(status, string(rows)),
		}}
		p, err := New(Config{Environment: Sandbox, ClientID: "c", ClientSecret: secret.New("s"), HTTPClient: &http.Client{Transport: inMemory{s}}})
		if err != nil {
			t.Fatal(err)
		}
		at := ""
		for range 3 {
			page, err := p.Changes(t.Context(), bank.From{Token: secret.New(theItem), At: at})
			if err != nil {
				if told := (*bank.Error)(nil); !errors.As(err, &told) || told.Code == "" || told.Kind == "" {
					t.Errorf("%v", err)
				}
				return
			}
			for _, c := range page.Changed {
				if c.ID == "" || c.Account == "" || c.Currency == "" || !c.Date.IsValid() || c.Amount.IsNegative() || (c.Direction != bank.In && c.Direction != bank.Out) {
					t.Errorf("half understood: %+v", c)
				}
			}
			if page.More && page.Next == at {
				t.Error("a page leads to itself")
			}
			at = page.Next
		}
	})
}

// What is asked besides rows is understood as well, or is an error of a kind; and nobody is given an item that is another's.
func FuzzOtherAnswers(f *testing.F) {
	f.Add([]byte(itemJSON()), []byte(accountsJSON), []byte(`{"accessToken":"`+jwt(`{"iat":1000,"exp":2800}`)+`"}`), 200)
	f.Add([]byte(`{"results":[`+itemJSON()+`,null,7]}`), []byte(`{"results":[{"id":601,"name":"Itaú","country":"BR"},null]}`), []byte(`{"apiKey":7}`), 200)
	f.Add([]byte(`{"id":"`+theItem+`","connector":{"country":"BR","isSandbox":7}}`), []byte(`{"results":[{"id":"`+theItem+`","event":"all","headers":[]}]}`), []byte(`null`), 403)
	f.Fuzz(func(t *testing.T, item, list, token []byte, status int) {
		if status < 200 || status > 599 {
			return
		}
		s := &script{t: t, answers: map[string]http.HandlerFunc{}}
		for _, path := range []string{"GET /items/" + theItem, "GET /v2/items", "DELETE /items/" + theItem} {
			s.answers[path] = with(status, string(item))
		}
		for _, path := range []string{"GET /accounts", "GET /connectors", "GET /webhooks"} {
			s.answers[path] = with(status, string(list))
		}
		for _, path := range []string{"POST /connect_token", "POST /auth", "POST /webhooks", "PATCH /webhooks/" + theItem} {
			s.answers[path] = with(status, string(token))
		}
		p, err := New(Config{
			Environment: Production, ClientID: "c", ClientSecret: secret.New("s"), WebhookSecrets: []secret.String{secret.New(theSecret)},
			HTTPClient: &http.Client{Transport: inMemory{s}},
		})
		if err != nil {
			t.Fatal(err)
		}
		failed := func(call string, err error) bool {
			if told := (*bank.Error)(nil); err != nil && (!errors.As(err, &told) || told.Code == "" || told.Kind == "" || strings.Contains(err.Error(), theItem)) {
				t.Errorf("%s: %v", call, err)
			}
			return err != nil
		}
		for range 2 { // the second time with the key that the first brought, or that is given
			if got, err := p.Item(t.Context(), secret.New(theItem)); !failed("item", err) && !strings.EqualFold(got.ID, theItem) {
				t.Errorf("another item: %+v", got)
			}
			if begun, err := p.Begin(t.Context(), bank.Begin{User: "u", Country: "BR"}); !failed("begin", err) {
				out, err := p.Outcome(t.Context(), bank.Visit{Handle: begun.Handle, Ref: begun.Ref, User: "u", Hint: theItem})
				if failed("outcome", err); len(out.Candidates) > 0 {
					t.Errorf("an item of another visit: %+v", out)
				}
			}
			if banks, err := p.Institutions(t.Context(), "BR", "x"); !failed("institutions", err) && len(banks) > shelfSize {
				t.Errorf("%d banks", len(banks))
			}
			_, err := p.Register(t.Context(), "https://portal.example/webhook/pluggy")
			failed("register", err)
			failed("remove", p.Remove(t.Context(), secret.New(theItem)))
			p.keys.key = apiKey{secret.New("key"), p.now().Add(keyLifetime)}
		}
	})
}
