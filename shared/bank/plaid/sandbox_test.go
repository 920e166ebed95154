package plaid

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	sandbox "github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/secret"
)

// against starts the sandbox's Plaid as it is, and the adapter that talks to it.
func against(t *testing.T, config sandbox.Config) (*Plaid, *sandbox.Server) {
	t.Helper()
	server, err := sandbox.New(sandbox.Options{Config: config, Clients: map[string]secret.String{suiteClient: secret.New(suiteSecret)}})
	if err != nil {
		t.Fatal(err)
	}
	at := httptest.NewServer(server)
	t.Cleanup(at.Close)
	p, err := New(Config{
		Environment: Sandbox, BaseURL: at.URL, ClientID: suiteClient, Secret: secret.New(suiteSecret), ClientName: "Automations",
		HTTPClient: &http.Client{Transport: toSpecification(t)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, server
}

// signIn begins a session and plays its person; the sandbox's own user_good at its own bank.
func signIn(t *testing.T, p *Plaid, server *sandbox.Server, webhook string) (bank.Begun, bank.Grant) {
	t.Helper()
	begun, err := p.Begin(t.Context(), bank.Begin{User: "u1", Country: "US", Language: "en", Return: returnTo, Webhook: webhook})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := url.Parse(begun.URL); err != nil || path.Base(begun.URL) == "" {
		t.Fatalf("%q is no page", begun.URL)
	}
	err = server.Do(func(b *sandbox.Bank) error {
		_, err := b.Connect(begun.Handle.Reveal(), "ins_109508", "user_good", "pass_good")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Outcome(t.Context(), bank.Visit{Handle: begun.Handle})
	if err != nil || len(out.Candidates) != 1 {
		t.Fatalf("%d candidates, %v", len(out.Candidates), err)
	}
	grant, err := p.Exchange(t.Context(), out.Candidates[0])
	if err != nil {
		t.Fatal(err)
	}
	return begun, grant
}

const returnTo = "https://portal.example/connect/complete"

func TestWebhooksAsTheyAreDeliveredAreAccepted(t *testing.T) {
	p, server := against(t, sandbox.Config{})
	type arrival struct {
		header http.Header
		body   []byte
	}
	arrivals := make(chan arrival, 100)
	portal := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			arrivals <- arrival{r.Header, body}
		}
	}))
	defer portal.Close()
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- server.Run(ctx) }()
	defer func() { stop(); <-stopped }()

	begun, grant := signIn(t, p, server, portal.URL)
	if _, err := p.Changes(t.Context(), bank.From{Token: grant.Token}); err != nil {
		t.Fatal(err)
	}
	if err := server.Do(func(b *sandbox.Bank) error { return b.Fail(grant.Item, "ITEM_LOGIN_REQUIRED", "") }); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(20 * time.Second)
	for session, item := false, false; !session || !item; {
		select {
		case a := <-arrivals:
			notices, err := p.Verify(t.Context(), a.header, a.body)
			if err != nil {
				t.Fatalf("%s: %v", a.body, err)
			}
			for _, n := range notices {
				session, item = session || n.Session == begun.Ref, item || n.Item == grant.Item
			}
		case <-deadline:
			t.Fatalf("named the session: %v, the item: %v", session, item)
		}
	}
}

func TestHistoryThatIsStillLoadingHasNoEndYet(t *testing.T) {
	p, server := against(t, sandbox.Config{InitialDelay: time.Hour, HistoricalDelay: time.Hour})
	_, grant := signIn(t, p, server, "https://portal.example/webhook/plaid")
	at, seen := "", 0
	for _, step := range []struct {
		load     sandbox.Status
		complete bool
	}{{sandbox.NotReady, false}, {sandbox.Initial, false}, {sandbox.Historical, true}} {
		if step.load != sandbox.NotReady {
			if err := server.Do(func(b *sandbox.Bank) error { return b.Load(grant.Item, step.load) }); err != nil {
				t.Fatal(err)
			}
		}
		before, more := seen, true
		for more {
			page, err := p.Changes(t.Context(), bank.From{Token: grant.Token, At: at})
			if err != nil {
				t.Fatal(err)
			}
			at, more, seen = page.Next, page.More, seen+len(page.Changed)
			if page.Complete != step.complete || (page.Next == "") != (step.load == sandbox.NotReady) {
				t.Errorf("%s: complete %v, next %q", step.load, page.Complete, page.Next)
			}
		}
		if (seen > before) != (step.load != sandbox.NotReady) {
			t.Errorf("%s brought %d rows", step.load, seen-before)
		}
	}
}

func TestACursorOfAnotherItemIsRefused(t *testing.T) {
	for code, config := range map[string]sandbox.Config{"INVALID_FIELD": {}, "INVALID_CURSOR": {CursorCode: true}} {
		p, server := against(t, config)
		_, one := signIn(t, p, server, "https://portal.example/webhook/plaid")
		_, other := signIn(t, p, server, "https://portal.example/webhook/plaid")
		page, err := p.Changes(t.Context(), bank.From{Token: one.Token})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Changes(t.Context(), bank.From{Token: other.Token, At: page.Next})
		if bank.CodeOf(err) != code || bank.KindOf(err) != bank.Retry || !errors.Is(err, bank.ErrCursor) {
			t.Errorf("got %v", err)
		}
	}
}
