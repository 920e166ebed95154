package plaid

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func (r *rig) fire(t *testing.T, access, code string) {
	t.Helper()
	if status, out := r.post(t, "/sandbox/item/fire_webhook", `{"access_token":"`+access+`","webhook_code":"`+code+`"}`); status != 200 {
		t.Fatal(out)
	}
}

func TestEveryWebhookIsSignedOverItsIndentedBody(t *testing.T) {
	r := newRig(t, Options{}, false)
	access, item := r.sandboxItem(t, "ins_109508", "user_good")
	for code, kind := range fireable {
		if kind == "" || kind == "AUTH" {
			continue
		}
		r.fire(t, access, code)
		in := r.next(t, code)
		if err := r.verify(t, in); err != nil {
			t.Errorf("%s: %v", code, err)
		}
		if !strings.HasPrefix(string(in.body), "{\n  \"") || in.fields["item_id"] != item || in.fields["environment"] != "sandbox" || in.fields["webhook_type"] != kind {
			t.Errorf("%s: %s", code, in.body)
		}
		in.body = append(in.body, ' ')
		if r.verify(t, in) == nil {
			t.Error("a body with a space more verifies")
		}
	}
}

func TestMischiefSpoilsTheNextWebhooks(t *testing.T) {
	r := newRig(t, Options{RetryBase: time.Millisecond}, false)
	access, _ := r.sandboxItem(t, "ins_109508", "user_good")
	r.next(t, "HISTORICAL_UPDATE")
	r.answer(func(in received) int {
		if r.verify(t, in) != nil {
			return http.StatusUnauthorized
		}
		return http.StatusOK
	})
	for _, mischief := range []string{`{"wrong_signature":1}`, `{"stale_iat":1}`} {
		r.post(t, "/_sim/webhooks", mischief)
		r.fire(t, access, "DEFAULT_UPDATE")
		if r.verify(t, r.next(t, "DEFAULT_UPDATE")) == nil {
			t.Errorf("%s: the first attempt verifies", mischief)
		}
		if err := r.verify(t, r.next(t, "DEFAULT_UPDATE")); err != nil {
			t.Errorf("%s: the repetition does not: %v", mischief, err)
		}
	}
	r.post(t, "/_sim/webhooks", `{"drop":1,"duplicate":1}`)
	r.fire(t, access, "LOGIN_REPAIRED")
	r.fire(t, access, "DEFAULT_UPDATE")
	for range 2 {
		if in := <-r.got; in.code() != "DEFAULT_UPDATE" {
			t.Errorf("%s came", in.code())
		}
	}
	r.mu.Lock()
	n := r.hooks.count % 2
	r.mu.Unlock()
	if n == 1 {
		r.fire(t, access, "DEFAULT_UPDATE") // so that the next one is odd
		r.next(t, "DEFAULT_UPDATE")
	}
	r.post(t, "/_sim/webhooks", `{"hold_every_other_ms":50}`)
	r.fire(t, access, "LOGIN_REPAIRED")
	r.fire(t, access, "DEFAULT_UPDATE")
	if in := r.next(t, "LOGIN_REPAIRED", "DEFAULT_UPDATE"); in.code() != "DEFAULT_UPDATE" {
		t.Error("the later one did not overtake")
	}
	r.next(t, "LOGIN_REPAIRED")
}

func TestKeysRotateAndExpire(t *testing.T) {
	r := newRig(t, Options{}, false)
	access, _ := r.sandboxItem(t, "ins_109508", "user_good")
	_, before := r.post(t, "/_sim/keys", `{}`)
	_, after := r.post(t, "/_sim/keys", `{"expire":true,"rotate":true}`)
	if before["key_id"] == after["key_id"] {
		t.Fatal("the key did not change")
	}
	for key, expired := range map[any]bool{before["key_id"]: true, after["key_id"]: false} {
		_, out := r.post(t, "/webhook_verification_key/get", `{"key_id":"`+key.(string)+`"}`)
		if jwk := out["key"].(map[string]any); (jwk["expired_at"] != nil) != expired {
			t.Errorf("%v", jwk)
		}
	}
	r.fire(t, access, "ERROR")
	if err := r.verify(t, r.next(t, "ERROR")); err != nil {
		t.Error(err)
	}
}

// answers is a receiver in memory, so that a day of repetitions passes at once.
type answers struct {
	start time.Time
	at    []time.Duration
	reply func(n int) (status int, retryAfter string)
	hang  bool
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	a.at = append(a.at, time.Since(a.start))
	if a.hang {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	status, after := a.reply(len(a.at))
	h := http.Header{}
	h.Set("Retry-After", after)
	return &http.Response{StatusCode: status, Header: h, Body: http.NoBody, Request: req}, nil
}

func TestRepetitionsComeAfterThirtySecondsTimesFourForADay(t *testing.T) {
	s30, m2, m8, m32 := 30*time.Second, 2*time.Minute, 8*time.Minute, 32*time.Minute
	h2, h8 := 2*time.Hour+8*time.Minute, 8*time.Hour+32*time.Minute
	whole := []time.Duration{0, s30, s30 + m2, s30 + m2 + m8, s30 + m2 + m8 + m32, s30 + m2 + m8 + m32 + h2, s30 + m2 + m8 + m32 + h2 + h8}
	for name, row := range map[string]struct {
		answers answers
		want    []time.Duration
	}{
		"accepted":                 {answers{reply: func(int) (int, string) { return 200, "" }}, whole[:1]},
		"only 200 is acceptance":   {answers{reply: func(n int) (int, string) { return []int{204, 302, 200}[n-1], "" }}, whole[:3]},
		"refused for ever":         {answers{reply: func(int) (int, string) { return 500, "" }}, whole},
		"retry after seconds":      {answers{reply: func(n int) (int, string) { return []int{429, 200}[n-1], "77" }}, []time.Duration{0, 77 * time.Second}},
		"retry after is bounded":   {answers{reply: func(n int) (int, string) { return []int{429, 200}[n-1], "99999" }}, []time.Duration{0, 4 * time.Hour}},
		"retry after only of 429":  {answers{reply: func(n int) (int, string) { return []int{503, 200}[n-1], "77" }}, whole[:2]},
		"no answer in ten seconds": {answers{hang: true}, []time.Duration{0, 10*time.Second + s30}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &row.answers
				a.start = time.Now()
				s, err := New(Options{HTTP: &http.Client{Transport: a}})
				if err != nil {
					t.Fatal(err)
				}
				s.hooks.enqueue(Webhook{URL: "https://portal.example/webhook", Type: "ITEM", Code: "ERROR"})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); _ = s.Run(ctx) }()
				until := 24 * time.Hour
				if a.hang {
					until = time.Minute
				}
				time.Sleep(until)
				cancel()
				<-done
				if len(a.at) != len(row.want) {
					t.Fatalf("attempts at %v, want %v", a.at, row.want)
				}
				for i := range a.at {
					if d := a.at[i] - row.want[i]; d < 0 || d > time.Second {
						t.Errorf("attempt %d at %v, want %v", i, a.at[i], row.want[i])
					}
				}
			})
		})
	}
}

func TestRetryAfterIsReadInItsThreeForms(t *testing.T) {
	for v, want := range map[string]time.Duration{
		"90": 90 * time.Second, noon.Add(time.Minute).Format(http.TimeFormat): time.Minute,
		noon.Add(time.Hour).Format(time.RFC3339): time.Hour, "": 0, "soon": 0,
	} {
		if got := parseRetryAfter(v, noon); got != want {
			t.Errorf("%q: %s", v, got)
		}
	}
}

func TestUndeliveredWebhooksSurviveARestart(t *testing.T) {
	db := openDisk(t)
	var up atomic.Bool
	r := newRig(t, Options{DB: db, RetryBase: time.Hour}, false)
	r.answer(func(received) int {
		if up.Load() {
			return 200
		}
		return 503
	})
	r.sandboxItem(t, "ins_109508", "user_good")
	first := r.next(t, "HISTORICAL_UPDATE")
	up.Store(true)
	again, err := New(Options{DB: db, BaseURL: r.url})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range again.hooks.queue {
		d.Next = time.Now() // the hour is over
	}
	run(t, again)
	second := r.next(t, "HISTORICAL_UPDATE")
	if string(first.body) != string(second.body) {
		t.Errorf("%s became %s", first.body, second.body)
	}
	if err := r.verify(t, second); err != nil {
		t.Errorf("signed with another key after the restart: %v", err)
	}
}

func TestAWebhookIsKeptBeforeItsFirstAttempt(t *testing.T) {
	db := openDisk(t)
	s, err := New(Options{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Do(func(b *Bank) error {
		_, item := linked(t, b, "ins_109508", "user_good")
		return b.Fail(item, "ITEM_LOCKED", "")
	}); err != nil {
		t.Fatal(err)
	}
	again, err := New(Options{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.hooks.queue); n == 0 || len(again.hooks.queue) != n {
		t.Errorf("%d webhooks wait, %d after the restart", n, len(again.hooks.queue))
	}
}
