package pluggy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/provider/providertest"
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

func TestRepetitionsComeThreeByThree(t *testing.T) {
	h1, h3 := time.Hour, 3*time.Hour
	whole := []time.Duration{0, 0, 0, h1, h1, h1, h3, h3, h3}
	for name, row := range map[string]struct {
		event    string
		statuses []int
		delays   [2]time.Duration
		want     []time.Duration
	}{
		"accepted":                 {"item/updated", []int{200}, [2]time.Duration{}, whole[:1]},
		"any 2xx is acceptance":    {"item/updated", []int{204}, [2]time.Duration{}, whole[:1]},
		"a redirect is none":       {"item/updated", []int{302, 200}, [2]time.Duration{}, whole[:2]},
		"accepted after an hour":   {"item/updated", []int{500, 401, 400, 200}, [2]time.Duration{}, whole[:4]},
		"refused for ever":         {"item/updated", []int{500}, [2]time.Duration{}, whole},
		"logins are told thrice":   {"item/login_succeeded", []int{500}, [2]time.Duration{}, whole[:3]},
		"no answer in five":        {"item/login_succeeded", nil, [2]time.Duration{}, []time.Duration{0, hookTimeout, 2 * hookTimeout}},
		"the clock can be shorter": {"item/updated", []int{500}, [2]time.Duration{15 * time.Minute, h1 * 2}, []time.Duration{0, 0, 0, h1 / 4, h1 / 4, h1 / 4, h1 * 9 / 4, h1 * 9 / 4, h1 * 9 / 4}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &providertest.Instant{Statuses: row.statuses, Header: http.Header{"Location": {"https://elsewhere.example"}}, Start: time.Now()}
				s, _ := bare(t, Options{HTTP: &http.Client{Transport: a}, RetryDelays: row.delays})
				s.hooks.enqueue(Event{ID: "e", Name: row.event, Client: testClient})
				providertest.RunFor(t, s, 12*time.Hour)
				if diff := cmp.Diff(row.want, a.At); diff != "" {
					t.Error(diff)
				}
				if slices.Contains(a.Hosts, "elsewhere.example") {
					t.Error("a redirect was followed")
				}
			})
		})
	}
}

func TestAWebhookThatLosesTooMuchIsDisabledUntilItIsEnabled(t *testing.T) {
	r := newRig(t, Options{DisableAfter: 2})
	r.Answer(func(received) int { return 500 })
	made := r.ok(t, "POST", "/webhooks", `{"event":"item/login_succeeded","url":"`+r.URL+`"}`)
	path := "/webhooks/" + made["id"].(string)
	for n := range 2 {
		r.connected(t, fmt.Sprintf("user-ok+%d", n))
		for range hookBurst {
			r.Next(t, "item/login_succeeded")
		}
	}
	waitFor(t, func() bool { return r.ok(t, "GET", path, "")["disabledAt"] != nil })
	r.connected(t, "user-ok+3")
	if status, out := r.call(t, "PATCH", path, r.key, `{"enabled":true}`); status != 200 || out["disabledAt"] != nil {
		t.Fatal(status, out)
	}
	r.Answer(func(received) int { return 200 })
	item := r.connected(t, "user-ok+4")
	if in := r.Next(t, "item/login_succeeded"); in.Fields["itemId"] != item {
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
	status, made := r.call(t, "POST", "/webhooks", r.key, `{"event":"all","url":"`+r.URL+`","headers":{"Authorization":"Bearer s"}}`)
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
	if got["event"] != "item/error" || len(got["headers"].(map[string]any)) != 0 || got["url"] != r.URL {
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
	r.ok(t, "POST", "/webhooks", `{"event":"all","url":"`+r.URL+`/app","headers":{"X-Secret":"s"}}`)
	token := r.token(t, `{"options":{"clientUserId":"u-1","webhookUrl":"`+r.URL+`/item"}}`)
	item, _, err := r.Connect(token, Visit{Connector: 0, User: "user-ok", Password: goodPassword})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]any{}
	for range 2 {
		in := r.Next(t, "item/created")
		ids[in.Path] = in.Fields["eventId"]
		if (in.Header.Get("X-Secret") == "s") != (in.Path == "/app") {
			t.Errorf("%s has the header %q", in.Path, in.Header.Get("X-Secret"))
		}
		want := map[string]any{"event": "item/created", "eventId": in.Fields["eventId"], "itemId": item, "triggeredBy": "USER", "clientUserId": "u-1"}
		if diff := cmp.Diff(want, in.Fields); diff != "" {
			t.Error(diff)
		}
	}
	if len(ids) != 2 || ids["/app"] != ids["/item"] || ids["/app"] == nil {
		t.Error(ids)
	}
}

func TestWebhooksSayWhatPluggysSay(t *testing.T) {
	r := newRig(t, Options{})
	r.ok(t, "POST", "/webhooks", `{"event":"all","url":"`+r.URL+`"}`)
	item := r.connected(t, "user-ok-perf")
	account := r.accountOf(t, item, "BANK")
	expect := func(in received, want map[string]any) {
		t.Helper()
		want["event"], want["eventId"] = in.Name, in.Fields["eventId"]
		if diff := cmp.Diff(want, in.Fields); diff != "" || in.Fields["eventId"] == "" {
			t.Error(diff)
		}
	}
	in := r.Next(t, "transactions/created")
	for in.Fields["accountId"] != account { // each account has its own, and they come in any order
		in = r.Next(t, "transactions/created")
	}
	from, query := noon.Format(wireTime), "transactions?accountId="+account+"&createdAtFrom="+noon.Format(wireTime)
	expect(in, map[string]any{
		"itemId": item, "accountId": account, "transactionsCount": 1000.0, "transactionsMinDate": in.Fields["transactionsMinDate"],
		"transactionsCreatedAtFrom": from, "createdTransactionsLink": r.url + "/" + query, "createdTransactionsLinkV2": r.url + "/v2/" + query,
	})
	_ = r.Do(func(b *Bank) error { return b.ChurnAccount(account) })
	var blocks []int
	for range 3 {
		in := r.Next(t, "transactions/deleted")
		blocks = append(blocks, len(in.Fields["transactionIds"].([]any)))
		expect(in, map[string]any{"itemId": item, "accountId": account, "clientId": testClient, "transactionIds": in.Fields["transactionIds"]})
	}
	if slices.Sort(blocks); !slices.Equal(blocks, []int{200, 400, 400}) {
		t.Error(blocks)
	}
	_ = r.Do(func(b *Bank) error {
		return b.Amend(b.items[item].accounts[0].sorted[0].id, Amendment{CategoryID: "17010000"})
	})
	in = r.Next(t, "transactions/updated")
	expect(in, map[string]any{"itemId": item, "accountId": account, "clientId": testClient, "transactionIds": in.Fields["transactionIds"], "transactionsCount": 1.0})
	_ = r.Do(func(b *Bank) error { return b.Fail(item, "ACCOUNT_NEEDS_ACTION", "Aceite") })
	expect(r.Next(t, "item/error"), map[string]any{
		"itemId": item, "triggeredBy": "SYNC", "clientUserId": "u-1",
		"error": map[string]any{"code": "ACCOUNT_NEEDS_ACTION", "message": messages["ACCOUNT_NEEDS_ACTION"], "providerMessage": "Aceite"},
	})
	_ = r.Do(func(b *Bank) error { return b.SetHealth(601, Offline) })
	expect(r.Next(t, "connector/status_updated"), map[string]any{"id": "601", "connectorId": 601.0, "data": map[string]any{"status": "OFFLINE"}})
	r.ok(t, "DELETE", "/items/"+item, "")
	expect(r.Next(t, "item/deleted"), map[string]any{"itemId": item, "clientUserId": "u-1"})
}

func TestMischiefSpoilsTheNextWebhooks(t *testing.T) {
	r := newRig(t, Options{})
	r.ok(t, "POST", "/webhooks", `{"event":"item/updated","url":"`+r.URL+`","headers":{"X-Secret":"s"}}`)
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
	one, two := r.Next(t, "item/updated"), r.Next(t, "item/updated")
	if one.Fields["eventId"] != two.Fields["eventId"] {
		t.Error("the duplicate has another id")
	}
	r.Answer(func(in received) int {
		if in.Header.Get("X-Secret") != "s" {
			return 401
		}
		return 200
	})
	mischief(`{"no_headers":1}`)
	sync()
	if one, two := r.Next(t, "item/updated"), r.Next(t, "item/updated"); one.Header.Get("X-Secret") != "" || two.Header.Get("X-Secret") != "s" {
		t.Error("the first attempt has the header, or the second has not")
	}
	status, out := r.call(t, "POST", "/_sim/webhooks/forge", "", `{"client":"client-1","body":{"event":"item/updated","eventId":"x","itemId":"`+nobody+`"},"headers":true}`)
	if in := r.Next(t, "item/updated"); status != 200 || out["sent"] != json.Number("1") || in.Fields["itemId"] != nobody || in.Header.Get("X-Secret") != "s" {
		t.Error(status, out, in)
	}
}

func TestLaterEventsMayOvertake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &providertest.Instant{Statuses: []int{200}}
		var order []string
		s, _ := bare(t, Options{HTTP: &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			var body struct{ EventID string }
			_ = json.NewDecoder(req.Body).Decode(&body)
			order = append(order, body.EventID)
			return a.RoundTrip(req)
		})}})
		s.hooks.mischief.HoldOddMillis = 50
		for _, id := range []string{"first", "second"} {
			s.hooks.enqueue(Event{ID: id, Name: "item/updated", Client: testClient})
		}
		providertest.RunFor(t, s, time.Second)
		if strings.Join(order, " ") != "second first" {
			t.Error(order)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
