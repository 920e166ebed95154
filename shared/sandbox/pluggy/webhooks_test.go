package pluggy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// bare is a Server that delivers only what a test lets it, on the clock of a synctest bubble.
func bare(t *testing.T, o Options) (*Server, *subscription) {
	t.Helper()
	o.LocalWebhooks = true
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	w := &subscription{ID: "w", Client: testClient, URL: "https://portal.example/webhook", Event: "all", Headers: map[string]string{"X-Secret": "s"}}
	s.hooks.keep(w)
	return s, w
}

// answers is a receiver in memory, so that hours pass at once.
type answers struct {
	start time.Time
	at    []time.Duration
	hosts []string
	reply func(n int) int
	hang  bool
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	a.at = append(a.at, time.Since(a.start))
	a.hosts = append(a.hosts, req.URL.Host)
	if a.hang {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	return &http.Response{StatusCode: a.reply(len(a.at)), Header: http.Header{"Location": {"https://elsewhere.example"}}, Body: http.NoBody, Request: req}, nil
}

func TestRepetitionsComeThreeByThree(t *testing.T) {
	h1, h3 := time.Hour, 3*time.Hour
	whole := []time.Duration{0, 0, 0, h1, h1, h1, h3, h3, h3}
	always := func(status int) func(int) int { return func(int) int { return status } }
	s5 := hookTimeout
	for name, row := range map[string]struct {
		event   string
		answers answers
		delays  [2]time.Duration
		want    []time.Duration
	}{
		"accepted":                 {"item/updated", answers{reply: always(200)}, [2]time.Duration{}, whole[:1]},
		"any 2xx is acceptance":    {"item/updated", answers{reply: always(204)}, [2]time.Duration{}, whole[:1]},
		"a redirect is none":       {"item/updated", answers{reply: func(n int) int { return []int{302, 200}[n-1] }}, [2]time.Duration{}, whole[:2]},
		"accepted after an hour":   {"item/updated", answers{reply: func(n int) int { return []int{500, 401, 400, 200}[n-1] }}, [2]time.Duration{}, whole[:4]},
		"refused for ever":         {"item/updated", answers{reply: always(500)}, [2]time.Duration{}, whole},
		"logins are told thrice":   {"item/login_succeeded", answers{reply: always(500)}, [2]time.Duration{}, whole[:3]},
		"no answer in five":        {"item/login_succeeded", answers{hang: true}, [2]time.Duration{}, []time.Duration{0, s5, 2 * s5}},
		"the clock can be shorter": {"item/updated", answers{reply: always(500)}, [2]time.Duration{15 * time.Minute, h1 * 2}, []time.Duration{0, 0, 0, h1 / 4, h1 / 4, h1 / 4, h1 * 9 / 4, h1 * 9 / 4, h1 * 9 / 4}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &row.answers
				a.start = time.Now()
				s, _ := bare(t, Options{HTTP: &http.Client{Transport: a}, RetryDelays: row.delays})
				s.hooks.enqueue(Event{ID: "e", Name: row.event, Client: testClient}, time.Now())
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); _ = s.Run(ctx) }()
				time.Sleep(12 * time.Hour)
				cancel()
				<-done
				if diff := cmp.Diff(row.want, a.at); diff != "" {
					t.Error(diff)
				}
				if slices.Contains(a.hosts, "elsewhere.example") {
					t.Error("a redirect was followed")
				}
			})
		})
	}
}

func TestAWebhookThatLosesTooMuchIsDisabledUntilItIsEnabled(t *testing.T) {
	r := newRig(t, Options{DisableAfter: 2})
	r.answer(func(received) int { return 500 })
	made := r.ok(t, "POST", "/webhooks", `{"event":"item/login_succeeded","url":"`+r.hook+`"}`)
	path := "/webhooks/" + made["id"].(string)
	for n := range 2 {
		r.connected(t, fmt.Sprintf("user-ok+%d", n))
		for range hookBurst {
			r.next(t, "item/login_succeeded")
		}
	}
	waitFor(t, func() bool { return r.ok(t, "GET", path, "")["disabledAt"] != nil })
	r.connected(t, "user-ok+3")
	if status, out := r.call(t, "PATCH", path, r.key, `{"enabled":true}`); status != 200 || out["disabledAt"] != nil {
		t.Fatal(status, out)
	}
	r.answer(func(received) int { return 200 })
	item := r.connected(t, "user-ok+4")
	if in := r.next(t, "item/login_succeeded"); in.fields["itemId"] != item {
		t.Error("what came up while it was disabled is sent")
	}
}

// waitFor looks again until something that another goroutine does has been done.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("it does not come")
		}
		time.Sleep(5 * time.Millisecond) // polls the server's own goroutine
	}
}

func TestWebhooksAreKeptAsPluggyKeepsThem(t *testing.T) {
	r := newRig(t, Options{})
	if status, _, body := r.raw(t, "GET", "/webhooks", r.key, ""); status != http.StatusNoContent || len(body) > 0 {
		t.Errorf("none: %d %s", status, body)
	}
	status, made := r.call(t, "POST", "/webhooks", r.key, `{"event":"all","url":"`+r.hook+`","headers":{"Authorization":"Bearer s"}}`)
	want := []string{"createdAt", "disabledAt", "event", "headers", "id", "updatedAt", "url"}
	if diff := cmp.Diff(want, keys(made)); status != http.StatusCreated || diff != "" {
		t.Fatal(status, diff)
	}
	path := "/webhooks/" + made["id"].(string)
	if diff := cmp.Diff(made, r.ok(t, "GET", path, "")); diff != "" {
		t.Error(diff)
	}
	if list := r.ok(t, "GET", "/webhooks", ""); len(list["results"].([]any)) != 1 {
		t.Error(list)
	}
	got := r.ok(t, "PATCH", path, `{"event":"item/error","headers":null}`)
	if got["event"] != "item/error" || len(got["headers"].(map[string]any)) != 0 || got["url"] != r.hook {
		t.Error(got)
	}
	foreign := r.auth(t, otherClient, "other")
	if status, _ := r.call(t, "GET", path, foreign, ""); status != 404 {
		t.Errorf("another client's: %d", status)
	}
	if got := r.ok(t, "DELETE", path, ""); got["count"] != json.Number("1") {
		t.Error(got)
	}
	if status, _ := r.call(t, "GET", path, r.key, ""); status != 404 {
		t.Error(status)
	}
}

func TestAWebhooksAddressMustBePublic(t *testing.T) {
	s := &Server{}
	for address, good := range map[string]bool{
		"https://portal.example/webhook": true, "http://portal.example": false, "https://localhost/x": false, "https://127.0.0.1": false,
		"https://[::1]/": false, "https://10.1.2.3": false, "https://box.local": false, "https://api.internal": false, "https://intranet": false, "::": false,
	} {
		if err := s.checkHook(address); (err == nil) != good {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestAnEventGoesToTheClientsWebhookAndToTheItemsUnderOneID(t *testing.T) {
	r := newRig(t, Options{})
	r.ok(t, "POST", "/webhooks", `{"event":"all","url":"`+r.hook+`/app","headers":{"X-Secret":"s"}}`)
	token := r.token(t, `{"options":{"clientUserId":"u-1","webhookUrl":"`+r.hook+`/item"}}`)
	item, _, err := r.Connect(token, Visit{Connector: 0, User: "user-ok", Password: goodPassword})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]any{}
	for range 2 {
		in := r.next(t, "item/created")
		ids[in.path] = in.fields["eventId"]
		if (in.header.Get("X-Secret") == "s") != (in.path == "/app") {
			t.Errorf("%s has the header %q", in.path, in.header.Get("X-Secret"))
		}
		want := map[string]any{"event": "item/created", "eventId": in.fields["eventId"], "itemId": item, "triggeredBy": "USER", "clientUserId": "u-1"}
		if diff := cmp.Diff(want, in.fields); diff != "" {
			t.Error(diff)
		}
	}
	if len(ids) != 2 || ids["/app"] != ids["/item"] || ids["/app"] == nil {
		t.Error(ids)
	}
}

func TestWebhooksSayWhatPluggysSay(t *testing.T) {
	r := newRig(t, Options{})
	r.ok(t, "POST", "/webhooks", `{"event":"all","url":"`+r.hook+`"}`)
	item := r.connected(t, "user-ok-perf")
	account := r.accountOf(t, item, "BANK")
	expect := func(in received, want map[string]any) {
		t.Helper()
		want["event"], want["eventId"] = in.event(), in.fields["eventId"]
		if diff := cmp.Diff(want, in.fields); diff != "" || in.fields["eventId"] == "" {
			t.Error(diff)
		}
	}
	in := r.next(t, "transactions/created")
	for in.fields["accountId"] != account { // each account has its own, and they come in any order
		in = r.next(t, "transactions/created")
	}
	from, query := noon.Format(wireTime), "transactions?accountId="+account+"&createdAtFrom="+noon.Format(wireTime)
	expect(in, map[string]any{
		"itemId": item, "accountId": account, "transactionsCount": 1000.0, "transactionsMinDate": in.fields["transactionsMinDate"],
		"transactionsCreatedAtFrom": from, "createdTransactionsLink": r.url + "/" + query, "createdTransactionsLinkV2": r.url + "/v2/" + query,
	})
	_ = r.Do(func(b *Bank) error { return b.ChurnAccount(account) })
	var blocks []int
	for range 3 {
		in := r.next(t, "transactions/deleted")
		blocks = append(blocks, len(in.fields["transactionIds"].([]any)))
		expect(in, map[string]any{"itemId": item, "accountId": account, "clientId": testClient, "transactionIds": in.fields["transactionIds"]})
	}
	if slices.Sort(blocks); !slices.Equal(blocks, []int{200, 400, 400}) {
		t.Error(blocks)
	}
	_ = r.Do(func(b *Bank) error {
		return b.Amend(b.items[item].accounts[0].sorted[0].id, Amendment{CategoryID: "17010000"})
	})
	in = r.next(t, "transactions/updated")
	expect(in, map[string]any{"itemId": item, "accountId": account, "clientId": testClient, "transactionIds": in.fields["transactionIds"], "transactionsCount": 1.0})
	_ = r.Do(func(b *Bank) error { return b.Fail(item, "ACCOUNT_NEEDS_ACTION", "Aceite") })
	expect(r.next(t, "item/error"), map[string]any{
		"itemId": item, "triggeredBy": "SYNC", "clientUserId": "u-1",
		"error": map[string]any{"code": "ACCOUNT_NEEDS_ACTION", "message": messages["ACCOUNT_NEEDS_ACTION"], "providerMessage": "Aceite"},
	})
	_ = r.Do(func(b *Bank) error { return b.SetHealth(601, Offline) })
	expect(r.next(t, "connector/status_updated"), map[string]any{"id": "601", "connectorId": 601.0, "data": map[string]any{"status": "OFFLINE"}})
	r.ok(t, "DELETE", "/items/"+item, "")
	expect(r.next(t, "item/deleted"), map[string]any{"itemId": item, "clientUserId": "u-1"})
}

func TestMischiefSpoilsTheNextWebhooks(t *testing.T) {
	r := newRig(t, Options{})
	r.ok(t, "POST", "/webhooks", `{"event":"item/updated","url":"`+r.hook+`","headers":{"X-Secret":"s"}}`)
	item := r.connected(t, "user-ok")
	mischief := func(body string) {
		t.Helper()
		if status, out := r.call(t, "POST", "/_sim/webhooks", "", body); status != 200 {
			t.Fatal(out)
		}
	}
	sync := func() {
		t.Helper()
		if status, out := r.call(t, "POST", "/_sim/items/sync", "", `{"item_id":"`+item+`"}`); status != 200 {
			t.Fatal(out)
		}
	}
	mischief(`{"drop":1,"duplicate":1}`)
	sync()
	sync()
	one, two := r.next(t, "item/updated"), r.next(t, "item/updated")
	if one.fields["eventId"] != two.fields["eventId"] {
		t.Error("the duplicate has another id")
	}
	r.answer(func(in received) int {
		if in.header.Get("X-Secret") != "s" {
			return 401
		}
		return 200
	})
	mischief(`{"no_headers":1}`)
	sync()
	if one, two := r.next(t, "item/updated"), r.next(t, "item/updated"); one.header.Get("X-Secret") != "" || two.header.Get("X-Secret") != "s" {
		t.Error("the first attempt has the header, or the second has not")
	}
	status, out := r.call(t, "POST", "/_sim/webhooks/forge", "", `{"client":"client-1","body":{"event":"item/updated","eventId":"x","itemId":"`+nobody+`"},"headers":true}`)
	if in := r.next(t, "item/updated"); status != 200 || out["sent"] != json.Number("1") || in.fields["itemId"] != nobody || in.header.Get("X-Secret") != "s" {
		t.Error(status, out, in)
	}
}

func TestLaterEventsMayOvertake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{start: time.Now(), reply: func(int) int { return 200 }}
		var order []string
		s, _ := bare(t, Options{HTTP: &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			var body struct{ EventID string }
			_ = json.NewDecoder(req.Body).Decode(&body)
			order = append(order, body.EventID)
			return a.RoundTrip(req)
		})}})
		s.hooks.mischief.HoldOddMillis = 50
		for _, id := range []string{"first", "second"} {
			s.hooks.enqueue(Event{ID: id, Name: "item/updated", Client: testClient}, time.Now())
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = s.Run(ctx) }()
		time.Sleep(time.Second)
		cancel()
		<-done
		if strings.Join(order, " ") != "second first" {
			t.Error(order)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
