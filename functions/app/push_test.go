package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/functions/webhook"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/sandbox/provider"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/web"
)

// post sends a body to a function as a machine does.
func (w *world) post(path, body string, header http.Header) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+path, strings.NewReader(body))
	w.must(err)
	r.Header = header.Clone()
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(badRequest, "yes")
	resp, err := http.DefaultClient.Do(r)
	w.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	w.must(err)
	return answer{resp.StatusCode, string(text), resp.Header}
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// envelope is a push of a message.
func envelope(message string) string {
	return object{"message": object{"data": []byte(message), "messageId": "7"}, "subscription": "s"}.String()
}

func TestPushesAreTakenFromTheServiceAccountOnly(t *testing.T) {
	s := newStage(t)
	s.settle()
	before := s.snapshot()
	for path, audience := range map[string]string{
		"/poster": s.cfg.PosterURL, "/sync": s.cfg.SyncURL, "/connect/push": s.cfg.ConnectURL + "/push", "/disconnect/push": s.cfg.DisconnectURL + "/push",
	} {
		idToken := func(account, audience string) string {
			token, err := s.google.IDToken(account, audience)
			s.must(err)
			s.heard.secret("the token of a push", token)
			return token
		}
		good := idToken(pushAccount, audience)
		body := envelope(object{"connection": s.connection}.String())
		for name, header := range map[string]http.Header{
			"no token": {}, "nonsense": bearer("nonsense"), "a person's": bearer(s.client.token),
			"for another function": bearer(idToken(pushAccount, "https://other.example")), "of another account": bearer(idToken("someone@else.example", audience)),
			"altered": bearer(good[:len(good)-6] + "AAAAAA"), "unsigned": bearer("eyJhbGciOiJub25lIn0." + strings.Split(good, ".")[1] + "."),
			"two": {"Authorization": {"Bearer " + good, "Bearer " + good}}, "in another scheme": {"Authorization": {"Basic " + good}},
		} {
			if a := s.post(path, body, header); a.status != http.StatusUnauthorized || a.code() != "unauthenticated" {
				t.Errorf("%s with a token %s: %d %s", path, name, a.status, a.body)
			}
		}
		if path == "/sync" {
			continue
		}
		for name, body := range map[string]string{
			"nothing": "", "no JSON": "x", "a list": "[]", "no message": "{}", "no data": `{"message":{"messageId":"1"}}`,
			"data that is no base64": `{"message":{"data":"%"}}`, "data that is no JSON": envelope("x"), "data that is null": envelope("null"), "too much": strings.Repeat("x", 300<<10),
		} {
			if a := s.post(path, body, bearer(good)); a.status != http.StatusBadRequest || a.code() != "invalid_request" {
				t.Errorf("%s with %s: %d %s", path, name, a.status, a.body)
			}
		}
		for _, message := range []string{`{}`, `{"connection":"none"}`, `{"provider":"plaid","item":"none"}`, `{"provider":"nobody","item":"x"}`, `{"session":"none"}`, `{"of_a_later_version":1}`} {
			if a := s.post(path, envelope(message), bearer(good)); a.status != http.StatusNoContent {
				t.Errorf("%s with %s, which nobody knows: %d %s", path, message, a.status, a.body)
			}
		}
	}
	s.settle()
	if diff := cmp.Diff(before, s.snapshot()); diff != "" {
		t.Errorf("something changed:\n%s", diff)
	}
}

func TestForgedWebhooksAreRefusedAndGoodOnesTakenAgain(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Forged")
	b := w.bank("Forged Bank", checking(row(5, "1", "A")))
	w.client.linked(b, book)
	signed := w.heard.webhook()
	if signed == nil {
		t.Fatal("no webhook came")
	}
	good := signed.header.Get("Plaid-Verification")
	before := w.snapshot()
	for name, forged := range map[string]webhookHeard{
		"no signature":         {http.Header{}, signed.body},
		"another body":         {signed.header, strings.Replace(signed.body, "sandbox", "sandbox ", 1)},
		"two signatures":       {http.Header{"Plaid-Verification": {good, good}}, signed.body},
		"an altered signature": {http.Header{"Plaid-Verification": {good[:len(good)-8] + "AAAAAAAA"}}, signed.body},
		"nonsense":             {http.Header{"Plaid-Verification": {"a.b.c"}}, "{}"},
	} {
		if a := w.post("/webhook/plaid", forged.body, forged.header); a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := w.post("/webhook/nobody", signed.body, signed.header); a.status != http.StatusNotFound {
		t.Errorf("another provider: %d %s", a.status, a.body)
	}
	w.settle()
	if diff := cmp.Diff(before, w.snapshot()); diff != "" {
		t.Errorf("something changed:\n%s", diff)
	}
	if a := w.post("/webhook/plaid", signed.body, signed.header); a.status != http.StatusOK {
		t.Errorf("a good one, repeated: %d %s", a.status, a.body)
	}
	w.settle()
	w.hasRecords(book, day(5)+" 1 ins_forged_bank>? A")
}

// webhook is the last one that was heard.
func (h *heard) webhook() *webhookHeard {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hook
}

func TestSpoiltAndRepeatedWebhooksLoseAndDoubleNothing(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Spoilt")
	b := w.bank("Spoilt Bank", checking())
	w.client.linked(b, book)
	want := []string{}
	for i, m := range []any{plaid.Mischief{WrongSignature: 1}, plaid.Mischief{StaleIAT: 1}, provider.Mischief{Duplicate: 3}, provider.Mischief{HoldOddMillis: 20}} {
		w.sim(http.MethodPost, "/sandbox/plaid/_sim/webhooks", m, nil)
		text := fmt.Sprintf("ROW %d", i)
		b.add(row(i, "5", text))
		w.settle()
		want = append(want, day(i)+" 5 ins_spoilt_bank>? "+text)
	}
	w.hasRecords(book, want...)
	var hooks struct{ Deliveries []plaid.Delivered }
	w.sim(http.MethodGet, "/sandbox/plaid/_sim/webhooks", nil, &hooks)
	refused := slices.DeleteFunc(hooks.Deliveries, func(d plaid.Delivered) bool { return d.Status == http.StatusOK })
	if len(refused) != 2 || refused[0].Status != http.StatusUnauthorized || refused[1].Status != http.StatusUnauthorized {
		t.Errorf("refused were %+v", refused)
	}
}

func TestALostWebhookDelaysAndNeverLoses(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Silent")
	b := w.bank("Silent Bank", checking())
	c, _ := w.client.linked(b, book)
	w.sim(http.MethodPost, "/sandbox/plaid/_sim/webhooks", provider.Mischief{Drop: 100}, nil)
	b.add(row(1, "5", "UNHEARD"))
	w.schedule()
	w.settle()
	w.hasRecords(book)
	w.must(w.store.Update(t.Context(), func(tx store.Tx) error {
		e, err := posting.Load(tx, c.ID)
		if err != nil {
			return err
		}
		if rest := time.Until(e.Due); rest > 6*time.Hour || rest < 4*time.Hour {
			t.Errorf("it rests for %v", rest)
		}
		e.Due = time.Now().Add(-time.Second)
		return posting.Engines.Put(tx, e)
	}))
	w.schedule()
	w.settle()
	w.hasRecords(book, day(1)+" 5 ins_silent_bank>? UNHEARD")
}

func TestAWebhookOfAnItemThatNobodyKnowsIsTaken(t *testing.T) {
	w := newWorld(t)
	b := w.bank("Unknown Bank", checking())
	b.do(func(p *plaid.Bank) error {
		public, err := p.SandboxPublicToken(plaidClient, b.id, b.user, "pass_good", plaid.LinkRequest{Products: []string{"transactions"}, Webhook: w.url + "/webhook/plaid"})
		if err != nil {
			return err
		}
		access, _, err := p.Exchange(public)
		if err != nil {
			return err
		}
		return p.FireWebhook(access, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")
	})
	w.settle()
	if signed := w.heard.webhook(); signed == nil {
		t.Fatal("no webhook came")
	}
	var hooks struct{ Deliveries []plaid.Delivered }
	w.sim(http.MethodGet, "/sandbox/plaid/_sim/webhooks", nil, &hooks)
	for _, d := range hooks.Deliveries {
		if d.Status != http.StatusOK || d.Attempt != 1 {
			t.Errorf("answered %+v", d)
		}
	}
}

// bell is a provider that says what its webhooks are about, or why not.
type bell struct{ err error }

func (b bell) Verify(context.Context, http.Header, []byte) ([]bank.Notice, error) {
	return []bank.Notice{{Item: "one"}, {Session: "two"}, {Item: "three", Deep: true}}, b.err
}

// broker refuses its n-th message, before or after it has taken it.
type broker struct {
	at, n int
	after bool
	took  []string
}

func (b *broker) Publish(_ context.Context, topic events.Topic, m events.Message) error {
	b.n++
	refuse := b.n == b.at
	if !refuse || b.after {
		b.took = append(b.took, string(topic)+m.Item+m.Session)
	}
	if refuse {
		return errors.New("the broker is away")
	}
	return nil
}

func TestAWebhookIsAnswered200OnlyOnceEveryMessageIsPublished(t *testing.T) {
	all := []string{"ringsone", "sessionstwo", "ringsthree"}
	for at := range len(all) + 2 {
		for _, after := range []bool{false, true} {
			b := &broker{at: at, after: after}
			ring := func() int {
				f := &webhook.Webhook{Banks: map[string]bank.Doorbell{"test": bell{}}, Events: b, Edge: &web.Edge{Log: slog.New(slog.DiscardHandler)}}
				out := httptest.NewRecorder()
				f.Handler().ServeHTTP(out, httptest.NewRequest(http.MethodPost, "/test", strings.NewReader("{}")))
				return out.Code
			}
			status := ring()
			cutOff := at >= 1 && at <= len(all)
			if want := map[bool]int{true: http.StatusServiceUnavailable, false: http.StatusOK}[cutOff]; status != want {
				t.Errorf("message %d refused (after %v): %d, want %d", at, after, status, want)
			}
			if cutOff && ring() != http.StatusOK {
				t.Error("repeated by the provider, it is refused again")
			}
			for _, m := range all {
				if !slices.Contains(b.took, m) {
					t.Errorf("message %d refused (after %v): %s was never published, only %v", at, after, m, b.took)
				}
			}
		}
	}
}

func TestAWebhookThatCannotBeReadIsSaidToBeSo(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
	}{
		{fmt.Errorf("x: %w", bank.ErrForged), http.StatusUnauthorized},
		{fmt.Errorf("x: %w", bank.ErrMalformed), http.StatusBadRequest},
		{&bank.Error{Kind: bank.Retry, Code: "keys"}, http.StatusServiceUnavailable},
	} {
		b := &broker{}
		f := &webhook.Webhook{Banks: map[string]bank.Doorbell{"test": bell{c.err}}, Events: b, Edge: &web.Edge{Log: slog.New(slog.DiscardHandler)}}
		out := httptest.NewRecorder()
		f.Handler().ServeHTTP(out, httptest.NewRequest(http.MethodPost, "/test", strings.NewReader("{}")))
		if out.Code != c.status || len(b.took) > 0 {
			t.Errorf("%v: %d, published %v", c.err, out.Code, b.took)
		}
	}
}
