package pluggy

import (
	"errors"
	"net/http"
	"net/http/httptest"
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
