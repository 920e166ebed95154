package plaid

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/provider/providertest"
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
		in := r.Next(t, code)
		if err := r.verify(t, in); err != nil {
			t.Errorf("%s: %v", code, err)
		}
		if !strings.HasPrefix(string(in.Body), "{\n  \"") || in.Fields["item_id"] != item || in.Fields["environment"] != "sandbox" || in.Fields["webhook_type"] != kind {
			t.Errorf("%s: %s", code, in.Body)
		}
		in.Body = append(in.Body, ' ')
		if r.verify(t, in) == nil {
			t.Error("a body with a space more verifies")
		}
	}
}

func TestMischiefSpoilsTheNextWebhooks(t *testing.T) {
	r := newRig(t, Options{RetryBase: time.Millisecond}, false)
	access, _ := r.sandboxItem(t, "ins_109508", "user_good")
	r.Next(t, "HISTORICAL_UPDATE")
	r.Answer(func(in received) int {
		if r.verify(t, in) != nil {
			return http.StatusUnauthorized
		}
		return http.StatusOK
	})
	for _, mischief := range []string{`{"wrong_signature":1}`, `{"stale_iat":1}`} {
		r.post(t, "/_sim/webhooks", mischief)
		r.fire(t, access, "DEFAULT_UPDATE")
		if r.verify(t, r.Next(t, "DEFAULT_UPDATE")) == nil {
			t.Errorf("%s: the first attempt verifies", mischief)
		}
		if err := r.verify(t, r.Next(t, "DEFAULT_UPDATE")); err != nil {
			t.Errorf("%s: the repetition does not: %v", mischief, err)
		}
	}
	r.post(t, "/_sim/webhooks", `{"drop":1,"duplicate":1}`)
	r.fire(t, access, "LOGIN_REPAIRED")
	r.fire(t, access, "DEFAULT_UPDATE")
	for range 2 {
		if in := <-r.Got; in.Name != "DEFAULT_UPDATE" {
			t.Errorf("%s came", in.Name)
		}
	}
	r.core.Lock()
	n := r.core.Webhooks.Count % 2
	r.core.Unlock()
	if n == 1 {
		r.fire(t, access, "DEFAULT_UPDATE") // so that the next one is odd
		r.Next(t, "DEFAULT_UPDATE")
	}
	r.post(t, "/_sim/webhooks", `{"hold_every_other_ms":50}`)
	r.fire(t, access, "LOGIN_REPAIRED")
	r.fire(t, access, "DEFAULT_UPDATE")
	if in := r.Next(t, "LOGIN_REPAIRED", "DEFAULT_UPDATE"); in.Name != "DEFAULT_UPDATE" {
		t.Error("the later one did not overtake")
	}
	r.Next(t, "LOGIN_REPAIRED")
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
	if err := r.verify(t, r.Next(t, "ERROR")); err != nil {
		t.Error(err)
	}
}

func TestRepetitionsComeAfterThirtySecondsTimesFourForADay(t *testing.T) {
	s30, m2, m8, m32 := 30*time.Second, 2*time.Minute, 8*time.Minute, 32*time.Minute
	h2, h8 := 2*time.Hour+8*time.Minute, 8*time.Hour+32*time.Minute
	whole := []time.Duration{0, s30, s30 + m2, s30 + m2 + m8, s30 + m2 + m8 + m32, s30 + m2 + m8 + m32 + h2, s30 + m2 + m8 + m32 + h2 + h8}
	for name, row := range map[string]struct {
		statuses   []int
		retryAfter string
		want       []time.Duration
	}{
		"accepted":                 {[]int{200}, "", whole[:1]},
		"only 200 is acceptance":   {[]int{204, 302, 200}, "", whole[:3]},
		"refused for ever":         {[]int{500}, "", whole},
		"retry after seconds":      {[]int{429, 200}, "77", []time.Duration{0, 77 * time.Second}},
		"retry after is bounded":   {[]int{429, 200}, "99999", []time.Duration{0, 4 * time.Hour}},
		"retry after only of 429":  {[]int{503, 200}, "77", whole[:2]},
		"no answer in ten seconds": {nil, "", []time.Duration{0, 10*time.Second + s30}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &providertest.Instant{Statuses: row.statuses, Header: http.Header{"Retry-After": {row.retryAfter}}, Start: time.Now()}
				s, err := New(Options{HTTP: &http.Client{Transport: a}})
				if err != nil {
					t.Fatal(err)
				}
				s.hooks.enqueue(Webhook{URL: "https://portal.example/webhook", Type: "ITEM", Code: "ERROR"})
				until := 24 * time.Hour
				if row.statuses == nil {
					until = time.Minute
				}
				providertest.RunFor(t, s, until)
				if len(a.At) != len(row.want) {
					t.Fatalf("attempts at %v, want %v", a.At, row.want)
				}
				for i := range a.At {
					if d := a.At[i] - row.want[i]; d < 0 || d > time.Second {
						t.Errorf("attempt %d at %v, want %v", i, a.At[i], row.want[i])
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
	db := providertest.OpenDisk(t)
	var up atomic.Bool
	r := newRig(t, Options{DB: db, RetryBase: time.Hour}, false)
	r.Answer(func(received) int {
		if up.Load() {
			return 200
		}
		return 503
	})
	r.sandboxItem(t, "ins_109508", "user_good")
	first := r.Next(t, "HISTORICAL_UPDATE")
	up.Store(true)
	again, err := New(Options{DB: db, BaseURL: r.url})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range again.core.Webhooks.Waiting {
		d.Next = time.Now() // the hour is over
	}
	providertest.Run(t, again)
	second := r.Next(t, "HISTORICAL_UPDATE")
	if string(first.Body) != string(second.Body) {
		t.Errorf("%s became %s", first.Body, second.Body)
	}
	if err := r.verify(t, second); err != nil {
		t.Errorf("signed with another key after the restart: %v", err)
	}
}

func TestAWebhookIsKeptBeforeItsFirstAttempt(t *testing.T) {
	db := providertest.OpenDisk(t)
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
	if n := len(s.core.Webhooks.Waiting); n == 0 || len(again.core.Webhooks.Waiting) != n {
		t.Errorf("%d webhooks wait, %d after the restart", n, len(again.core.Webhooks.Waiting))
	}
}
