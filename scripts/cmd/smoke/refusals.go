package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/bkper/automations-portal/scripts/internal/world"
)

// request is one that a check sends, and what must come back.
type request struct {
	what   string
	method string
	path   string
	body   string
	header map[string]string
	want   []answer
}

// answer is a status, and the code of our own problem with it; "" where the answer need not be ours.
type answer struct {
	status int
	code   string
}

// Where Google Cloud itself keeps strangers from a function it answers 403, or 404 for one that has no way in from outside, and
// nothing of ours is asked; behind one host for all functions there is no such path.
var (
	refused  = []answer{{http.StatusUnauthorized, "unauthenticated"}}
	isolated = []answer{{http.StatusUnauthorized, "unauthenticated"}, {http.StatusUnauthorized, ""}, {http.StatusForbidden, ""}, {http.StatusNotFound, ""}, {http.StatusNotFound, "not_found"}}
	nothing  = []answer{{http.StatusNotFound, "not_found"}}
)

const message = `{"message":{"data":"eyJjb25uZWN0aW9uIjoic21va2UifQ==","messageId":"1"},"subscription":"projects/p/subscriptions/rings"}`

// forgery is a token of the right form that nobody signed.
const forgery = "eyJhbGciOiJFUzI1NiIsImtpZCI6InNtb2tlIiwidHlwIjoiSldUIn0.eyJpYXQiOjE3MDAwMDAwMDAsInJlcXVlc3RfYm9keV9zaGEyNTYiOiIwMCJ9.c21va2U"

func requests() []request {
	signed := map[string]string{"Authorization": "Bearer " + forgery}
	all := []request{
		{"portal serves the page", http.MethodGet, "/portal/", "", nil, []answer{{http.StatusOK, ""}}},
		{"portal describes the functions", http.MethodGet, "/portal/openapi.json", "", nil, []answer{{http.StatusOK, ""}}},
		{"auth sends people to Google", http.MethodGet, "/auth/login", "", nil, []answer{{http.StatusSeeOther, ""}}},
		{"auth gives no token without a session", http.MethodPost, "/auth/refresh", "", nil, refused},
		{"portal shows a stranger nothing", http.MethodGet, "/portal/connections", "", nil, refused},
		{"portal shows a forged token nothing", http.MethodGet, "/portal/connections", "", signed, refused},
		{"webhook answers", http.MethodPost, "/webhook/nobody", "{}", nil, nothing},
		{"a webhook without a signature is refused", http.MethodPost, "/webhook/plaid", "{}", nil, refused},
		{
			"a webhook with a forged signature is refused", http.MethodPost, "/webhook/plaid", `{"webhook_type":"TRANSACTIONS","webhook_code":"SYNC_UPDATES_AVAILABLE","item_id":"smoke"}`,
			map[string]string{"Plaid-Verification": forgery},
			refused,
		},
	}
	all = append(all, request{ // where it is not served, nobody is let in either
		"a webhook without the secret that Pluggy was told is refused", http.MethodPost, "/webhook/pluggy", `{"event":"item/updated","itemId":"smoke"}`,
		map[string]string{"Authorization": "Bearer smoke"},
		append(slices.Clone(refused), nothing...),
	})
	for _, function := range []string{"connect", "link", "remove", "disconnect", "reconnect"} {
		all = append(all,
			request{function + " refuses a stranger", http.MethodPost, "/" + function, "{}", nil, refused},
			request{function + " refuses a forged token", http.MethodPost, "/" + function, "{}", signed, refused})
	}
	for _, path := range []string{"/poster", "/sync", "/connect/push", "/disconnect/push"} {
		all = append(all,
			request{path[1:] + " refuses a stranger", http.MethodPost, path, message, nil, isolated},
			request{path[1:] + " refuses a forged token", http.MethodPost, path, message, signed, isolated})
	}
	return all
}

// refusals checks that every function answers, and whom it refuses.
func (s *smoke) refusals(ctx context.Context) {
	for _, r := range requests() {
		s.check(ctx, r.what, func(ctx context.Context) (string, error) { return s.send(ctx, r) })
	}
}

func (s *smoke) send(ctx context.Context, r request) (string, error) {
	request, err := http.NewRequestWithContext(ctx, r.method, world.At(s.url, r.path), strings.NewReader(r.body))
	if err != nil {
		return "", err
	}
	if r.body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.header {
		request.Header.Set(name, value)
	}
	got, err := s.client.Do(request)
	if err != nil {
		return "", err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(io.LimitReader(got.Body, 4<<20))
	if err != nil {
		return "", err
	}
	var problem struct{ Code string }
	if strings.HasPrefix(got.Header.Get("Content-Type"), "application/problem+json") {
		if err := json.Unmarshal(text, &problem); err != nil {
			return "", fmt.Errorf("%d and a problem that cannot be read", got.StatusCode)
		}
	}
	for _, want := range r.want {
		if got.StatusCode == want.status && problem.Code == want.code {
			return fmt.Sprint(got.StatusCode), nil
		}
	}
	return "", fmt.Errorf("%s %s answers %d %q, want %s; it begins with %.80q", r.method, world.At(s.url, r.path), got.StatusCode, problem.Code,
		wanted(r.want), bytes.TrimSpace(text))
}

func wanted(answers []answer) string {
	texts := make([]string, len(answers))
	for i, a := range answers {
		texts[i] = fmt.Sprintf("%d %q", a.status, a.code)
	}
	return strings.Join(texts, " or ")
}
