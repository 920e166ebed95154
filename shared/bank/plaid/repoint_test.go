package plaid

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	sandbox "github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/secret"
)

func TestAnItemCallsTheNewWebhookOnceItIsRepointed(t *testing.T) {
	p, server := against(t, sandbox.Config{})
	came := make(chan string, 100)
	hear := func(name string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			came <- name
		}))
		t.Cleanup(s.Close)
		return s
	}
	before, after := hear("the old webhook"), hear("the new webhook")
	_, grant := signIn(t, p, server, before.URL)
	if err := p.Repoint(t.Context(), grant.Token, after.URL); err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Run(t.Context()) }() // it ends with the test
	for {
		select {
		case name := <-came:
			if name == "the new webhook" {
				return
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the new webhook is not called")
		}
	}
}

func TestARefusedRepointIsAnErrorOfTheBank(t *testing.T) {
	p, server := against(t, sandbox.Config{})
	_, grant := signIn(t, p, server, "https://portal.example/webhook/plaid")
	if err := p.Repoint(t.Context(), grant.Token, "not a URL"); bank.KindOf(err) == bank.Retry {
		t.Errorf("a URL that is none: %v", err)
	}
	if err := p.Repoint(t.Context(), secret.New("access-production-1"), "https://portal.example"); bank.KindOf(err) != bank.OurFault {
		t.Errorf("a token of another environment: %v", err)
	}
}
