package connect_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bkper/automations-portal/functions/connect"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/store"
	storemem "github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/vault"
	vaultmem "github.com/bkper/automations-portal/shared/vault/memory"
	"github.com/bkper/automations-portal/shared/web"
)

// finished is a provider at which the person has finished; its exchanges end as told, one after the other.
type finished struct {
	bank.Provider
	exchanges []error
	asked     int
	forgets   bool   // the candidate, once an exchange was asked for
	slow      func() // what happens while an exchange is under way
	broken    error  // of reading the item
	removed   []string
	nameless  bool // the item does not say at which bank it is
}

func (f *finished) Outcome(context.Context, bank.Visit) (bank.Outcome, error) {
	if f.forgets && f.asked > 0 {
		return bank.Outcome{State: bank.Unknown}, nil
	}
	one := bank.Candidate{Key: "k", Public: secret.New("public"), Institution: bank.Institution{ID: "i1"}}
	return bank.Outcome{State: bank.Finished, Candidates: []bank.Candidate{one}}, nil
}

func (f *finished) Exchange(ctx context.Context, _ bank.Candidate) (bank.Grant, error) {
	f.asked++
	if f.slow != nil {
		f.slow()
	}
	if ctx.Err() != nil { // the item is made all the same
		return bank.Grant{}, fault(bank.Retry)
	}
	if err := f.exchanges[f.asked-1]; err != nil {
		return bank.Grant{}, err
	}
	return bank.Grant{Item: "item", Token: secret.New("token")}, nil
}

func (f *finished) Remove(_ context.Context, token secret.String) error {
	f.removed = append(f.removed, token.Reveal())
	return nil
}

func (f *finished) Item(context.Context, secret.String) (bank.Item, error) {
	if f.broken != nil {
		return bank.Item{}, f.broken
	}
	if f.nameless {
		return bank.Item{ID: "item"}, nil
	}
	return bank.Item{ID: "item", Institution: bank.Institution{ID: "i1"}}, nil
}

type people struct{}

func (people) Verify(_ context.Context, token secret.String) (caller.Caller, error) {
	return caller.Caller{Sub: token.Reveal(), Token: token}, nil
}

type silent struct{}

func (silent) Publish(context.Context, events.Topic, events.Message) error { return nil }

// visit is a session whose person has finished at the bank.
type visit struct {
	t       *testing.T
	browser context.Context // ends where the person closes the page
	store   store.Store
	tokens  vaultmem.Vault
	now     time.Time
	log     bytes.Buffer
	handler http.Handler
}

func newVisit(t *testing.T, p bank.Provider) *visit {
	t.Helper()
	v := &visit{t: t, browser: t.Context(), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	s := storemem.New()
	v.store = s
	begun := &bank.Session{ID: "s", Ref: "ref", Owner: "ana", Provider: "p", Purpose: bank.ToConnect, Connection: session.NewID(), State: bank.Open, Created: v.now, Forgotten: v.now.Add(time.Hour)}
	if err := s.Update(t.Context(), func(tx store.Tx) error { return store.Sessions.Put(tx, begun) }); err != nil {
		t.Fatal(err)
	}
	if err := v.tokens.Put(t.Context(), vault.SessionHandle("s"), secret.New("handle")); err != nil {
		t.Fatal(err)
	}
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&v.log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	edge := &web.Edge{Who: people{}, Log: slog.New(slog.DiscardHandler)}
	v.handler = (&connect.Connect{
		Store: s, Vault: &v.tokens, Banks: map[string]bank.Provider{"p": p}, Events: silent{}, Edge: edge, Pushes: edge,
		Now: func() time.Time { return v.now }, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}).Handler()
	return v
}

type completed struct{ State, Message, Code string }

// post asks, when every exchange before has had its time.
func (v *visit) post(path, body string) *httptest.ResponseRecorder {
	v.t.Helper()
	r := httptest.NewRequestWithContext(v.browser, http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer ana")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	v.handler.ServeHTTP(w, r)
	v.now = v.now.Add(5 * time.Minute)
	return w
}

// complete asks what became of the session, as the page does; the hint is what the provider's script told it.
func (v *visit) complete(hint string) (c completed) {
	v.t.Helper()
	w := v.post("/complete", fmt.Sprintf(`{"session":"s","item":%q}`, hint))
	if err := json.Unmarshal(w.Body.Bytes(), &c); err != nil {
		v.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return c
}

// push is the event of a webhook, which may name an item, or of the schedule, which does not.
func (v *visit) push(hint string) {
	v.t.Helper()
	data := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"session":"ref","item":%q}`, hint))
	if w := v.post("/push", fmt.Sprintf(`{"message":{"data":%q,"messageId":"1"}}`, data)); w.Code != http.StatusNoContent {
		v.t.Fatalf("push: %d %s", w.Code, w.Body)
	}
}

func fault(k bank.Kind) error { return &bank.Error{Kind: k, Code: "X"} }

func TestARefusedExchangeEndsTheSessionAndOnlyADoubtfulOneIsLost(t *testing.T) {
	for _, row := range []struct {
		name      string
		exchanges []error
		forgets   bool
		states    []string // of each answer; "" is a refusal
		alerts    bool
	}{
		{"at once", []error{nil}, false, []string{"kept"}, false},
		{"refused", []error{fault(bank.Permanent)}, false, []string{"cancelled", "cancelled"}, false},
		{"refused for now", []error{fault(bank.RetryAfter)}, false, []string{"cancelled", "cancelled"}, false},
		{"refused for a fault of ours", []error{fault(bank.OurFault)}, false, []string{"cancelled"}, true},
		{"unknown, then kept", []error{fault(bank.Retry), nil}, false, []string{"", "kept"}, false},
		{"unknown, then refused", []error{fault(bank.Retry), fault(bank.Permanent)}, false, []string{"", "lost", "lost"}, true},
		{"unknown, then refused for now, then refused", []error{fault(bank.Retry), fault(bank.RetryAfter), fault(bank.Permanent)}, false, []string{"", "", "lost"}, true},
		{"unknown, then forgotten", []error{fault(bank.Retry)}, true, []string{"", "lost"}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := newVisit(t, &finished{exchanges: row.exchanges, forgets: row.forgets})
			var last completed
			for n, want := range row.states {
				last = v.complete("")
				if last.State != want || want == "" && last.Code != "unavailable" {
					t.Fatalf("answer %d: %+v, want %q", n+1, last, want)
				}
			}
			if last.State == "cancelled" && !strings.Contains(last.Message, "refused") {
				t.Errorf("message %q", last.Message)
			}
			if alerts := strings.Contains(v.log.String(), "level=ERROR"); alerts != row.alerts {
				t.Errorf("alert %v, want %v: %s", alerts, row.alerts, &v.log)
			}
			if _, err := v.tokens.Get(t.Context(), vault.SessionHandle("s")); err == nil {
				t.Error("the handle of a session that has ended is still there")
			}
		})
	}
}

// By its bank a connection is restored, and one that is connected twice is noticed.
func TestAConnectionHasTheBankAtWhichThePersonSignedInWhateverItsItemSays(t *testing.T) {
	for _, nameless := range []bool{false, true} {
		v := newVisit(t, &finished{exchanges: []error{nil}, nameless: nameless})
		if got := v.complete(""); got.State != "kept" {
			t.Fatalf("%+v", got)
		}
		made, err := store.Connections.Find(t.Context(), v.store, store.Query{Field: store.ByOwner, Any: []string{"ana"}})
		if err != nil || len(made) != 1 || made[0].Institution.ID != "i1" {
			t.Errorf("nameless %v: %+v, %v", nameless, made, err)
		}
	}
}

func TestAnExchangeThatSleptTooLongIsUndoneAndReplacesNoToken(t *testing.T) {
	f := &finished{exchanges: []error{nil}}
	v := newVisit(t, f)
	f.slow = func() { v.now = v.now.Add(10 * time.Minute) }
	if c := v.complete(""); c.State == "kept" {
		t.Errorf("%+v", c)
	}
	if len(f.removed) != 1 || f.removed[0] != "token" {
		t.Errorf("removed at the bank: %v, want the new item", f.removed)
	}
	names, err := v.tokens.List(t.Context(), "connection-", "")
	if err != nil || len(names) > 0 {
		t.Errorf("tokens %v, %v; want none", names, err)
	}
}

func TestAPersonWhoClosesThePageDuringAnExchangeLosesNothing(t *testing.T) {
	f := &finished{exchanges: []error{nil, fault(bank.Permanent)}}
	v := newVisit(t, f)
	v.browser, f.slow = context.WithCancel(t.Context())
	v.post("/complete", `{"session":"s"}`)
	v.browser = t.Context()
	if c := v.complete(""); c.State != "kept" || f.asked != 1 || len(f.removed) > 0 {
		t.Errorf("%+v after %d exchanges, removed %v; %s", c, f.asked, f.removed, &v.log)
	}
}

func TestANewItemThatCanNeverBeReadIsEndedAndLeavesTheWayFree(t *testing.T) {
	gone := &bank.Error{Kind: bank.Permanent, Code: "X", Err: bank.ErrGone}
	for name, row := range map[string]struct {
		broken error
		says   string
	}{
		"of a bank that cannot be read": {fault(bank.Permanent), "Import a file"},
		"gone already":                  {gone, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &finished{exchanges: []error{nil}, broken: row.broken}
			v := newVisit(t, f)
			for range 2 {
				if c := v.complete(""); c.State != "cancelled" || !strings.Contains(c.Message, row.says) {
					t.Errorf("%+v; %s", c, &v.log)
				}
			}
			names, err := v.tokens.List(t.Context(), "", "")
			if err != nil || len(names) > 0 || len(f.removed) != 1 {
				t.Errorf("in the vault: %v, %v; removed at the bank: %v", names, err, f.removed)
			}
		})
	}
}

// hinted is a provider that tells of an item only to those who know its name.
type hinted struct {
	finished
	down int // outcomes that fail
}

func (h *hinted) Outcome(ctx context.Context, v bank.Visit) (bank.Outcome, error) {
	switch {
	case v.Hint != "item":
		return bank.Outcome{State: bank.Visiting}, nil
	case h.down > 0:
		h.down--
		return bank.Outcome{}, fault(bank.Retry)
	}
	return h.finished.Outcome(ctx, v)
}

func TestWhatAHintLedToIsFinishedByWhoeverAsksNext(t *testing.T) {
	for name, row := range map[string]struct {
		provider *hinted
		did      func(*visit)
	}{
		"the page knows it":                               {&hinted{finished: finished{exchanges: []error{nil}}}, func(v *visit) { v.complete("item") }},
		"the page was closed, and a webhook knows it":     {&hinted{finished: finished{exchanges: []error{nil}}}, func(v *visit) { v.push("item") }},
		"a webhook knows it while the provider is down":   {&hinted{finished{exchanges: []error{nil}}, 1}, func(v *visit) { v.push("item"); v.push("") }},
		"the page is closed during a doubtful exchange":   {&hinted{finished: finished{exchanges: []error{fault(bank.Retry), nil}}}, func(v *visit) { v.complete("item"); v.push("") }},
		"another name is told during a doubtful exchange": {&hinted{finished: finished{exchanges: []error{fault(bank.Retry), nil}}}, func(v *visit) { v.complete("item"); v.push("other") }},
		"a page that knows nothing asks after a webhook":  {&hinted{finished{exchanges: []error{nil}}, 1}, func(v *visit) { v.push("item"); v.complete("") }},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVisit(t, row.provider)
			if c := v.complete(""); c.State != "open" {
				t.Fatalf("before anybody knows: %+v", c)
			}
			row.did(v)
			if c := v.complete(""); c.State != "kept" {
				t.Errorf("%+v; %s", c, &v.log)
			}
		})
	}
}

func TestANameThatNoItemHasIsNotKept(t *testing.T) {
	v := newVisit(t, &hinted{})
	if c := v.complete(strings.Repeat("x", 401)); c.Code != "invalid_request" {
		t.Errorf("%+v", c)
	}
	if s, err := store.Sessions.Get(t.Context(), v.store, "s"); err != nil || s.Hint != "" {
		t.Errorf("%.40q is kept, %v", s.Hint, err)
	}
}
