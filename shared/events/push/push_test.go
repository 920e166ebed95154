package push_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/events/push"
	"github.com/bkper/automations-portal/shared/secret"
)

func token(_ context.Context, audience string) (secret.String, error) {
	return secret.New("token for " + audience), nil
}

func TestAPushIsWhatPubSubSends(t *testing.T) {
	var got any
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		header = r.Header
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	p := push.Pusher{Token: token}
	err := p.Push(t.Context(), server.URL+"/poster", push.Message{
		ID: "42", Data: []byte(`{"connection":"c"}`), Attributes: map[string]string{"k": "v"}, Attempt: 3,
		Published: time.Date(2026, 11, 20, 9, 8, 7, 6000, time.FixedZone("", 3600)), Subscription: "projects/p/subscriptions/rings",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"deliveryAttempt": 3.0,
		"subscription":    "projects/p/subscriptions/rings",
		"message": map[string]any{
			"attributes": map[string]any{"k": "v"},
			"data":       "eyJjb25uZWN0aW9uIjoiYyJ9",
			"messageId":  "42", "message_id": "42",
			"publishTime": "2026-11-20T08:08:07.000006Z", "publish_time": "2026-11-20T08:08:07.000006Z",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := header.Get("Authorization"); got != "Bearer token for "+server.URL+"/poster" {
		t.Errorf("Authorization: %s", got)
	}
	if got := header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type: %s", got)
	}
}

func TestOnlyFourStatusesAcknowledge(t *testing.T) {
	for status := 200; status < 600; status++ {
		p := push.Pusher{Token: token, Transport: answer(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "elsewhere") {
				t.Error("a redirect was followed")
			}
			body := io.NopCloser(strings.NewReader("body"))
			return &http.Response{StatusCode: status, Body: body, Header: http.Header{"Location": {"/elsewhere"}}}, nil
		})}
		err := p.Push(t.Context(), "http://poster.example/", push.Message{ID: "1"})
		if acknowledged := status == 200 || status == 201 || status == 202 || status == 204; (err == nil) != acknowledged {
			t.Errorf("%d: %v", status, err)
		}
	}
}

type answer func(*http.Request) (*http.Response, error)

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func TestAPushEndsAtItsDeadline(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{0: 10 * time.Second, time.Minute: time.Minute, time.Hour: push.MaxDeadline} {
		synctest.Test(t, func(t *testing.T) {
			p := push.Pusher{Token: token, Deadline: given, Transport: answer(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})}
			begun := time.Now()
			err := p.Push(t.Context(), "http://poster.example/", push.Message{ID: "1"})
			if took := time.Since(begun); err == nil || took != want {
				t.Errorf("deadline %s: %v after %s", given, err, took)
			}
		})
	}
}

func TestWithoutATokenNothingIsSent(t *testing.T) {
	p := push.Pusher{
		Token: func(context.Context, string) (secret.String, error) { return secret.String{}, errors.New("no key") },
		Transport: answer(func(*http.Request) (*http.Response, error) {
			t.Error("sent")
			return nil, errors.New("sent")
		}),
	}
	if err := p.Push(t.Context(), "http://poster.example/", push.Message{ID: "1"}); err == nil {
		t.Error("acknowledged")
	}
}
