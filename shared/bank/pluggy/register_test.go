package pluggy

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	sandbox "github.com/bkper/automations-portal/shared/sandbox/pluggy"
	"github.com/bkper/automations-portal/shared/secret"
)

func TestRegisteringAWebhookTwiceIsRegisteringItOnce(t *testing.T) {
	server, err := sandbox.New(sandbox.Options{Clients: map[string]secret.String{suiteClient: secret.New(suiteSecret)}})
	if err != nil {
		t.Fatal(err)
	}
	at := httptest.NewServer(server)
	defer at.Close()
	as := func(secrets ...string) *Pluggy {
		c := Config{Environment: Sandbox, BaseURL: at.URL, ClientID: suiteClient, ClientSecret: secret.New(suiteSecret)}
		for _, s := range secrets {
			c.WebhookSecrets = append(c.WebhookSecrets, secret.New(s))
		}
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const address = "https://portal.example/webhook/pluggy"
	for _, step := range []struct {
		what    string
		secrets []string
		did     int
	}{
		{"new", []string{theSecret}, 1},
		{"as it is", []string{theSecret}, 0},
		{"another secret", []string{"another-secret-of-24-letters", theSecret}, 1},
		{"as it is", []string{"another-secret-of-24-letters"}, 0},
		{"moved", []string{"another-secret-of-24-letters"}, 1},
	} {
		to := address
		if step.what == "moved" {
			to = "https://portal2.example/webhook/pluggy"
		}
		did, err := as(step.secrets...).Register(t.Context(), to)
		if err != nil || len(did) != step.did {
			t.Errorf("%s: %v, %v", step.what, did, err)
		}
		for _, line := range did {
			if strings.Contains(line, theSecret) || strings.Contains(line, "another-secret") {
				t.Errorf("%s: shows a secret: %s", step.what, line)
			}
		}
	}
	if _, err := as(theSecret).Register(t.Context(), "http://portal.example/webhook/pluggy"); err == nil {
		t.Error("registered at an address without TLS")
	}
	if _, err := as().Register(t.Context(), address); err == nil {
		t.Error("registered without a secret")
	}
}

// Pluggy gives a webhook up after failures, and nothing tells so but the webhook itself.
func TestAWebhookThatPluggyHasDisabledIsEnabled(t *testing.T) {
	const id = "6f2d0000-0000-4000-8000-000000000009"
	body := func(disabled, header string) string {
		return `{"results":[{"id":"x","url":"https://other.example/","event":"all"},{"id":"` + id + `","url":"https://portal.example/webhook/pluggy","event":"all",
			"headers":{"webhook-secret":"` + header + `"},"disabledAt":` + disabled + `}]}`
	}
	for name, c := range map[string]struct {
		list string
		did  []string
	}{
		"disabled":                {body(`"2026-06-20T10:00:00.000Z"`, theSecret), []string{"enabled the webhook " + id + ", which Pluggy had disabled at 2026-06-20T10:00:00.000Z"}},
		"enabled":                 {body(`null`, theSecret), nil},
		"from the Dashboard":      {strings.Replace(body(`null`, ""), `"headers":{"webhook-secret":""}`, `"headers":null`, 1), []string{"gave the webhook " + id + " its secret"}},
		"disabled, and by an old": {body(`"x"`, "old"), []string{"gave the webhook " + id + " its secret", "enabled the webhook " + id + ", which Pluggy had disabled at x"}},
	} {
		p, s := scripted(t, nil)
		s.answers = map[string]http.HandlerFunc{"GET /webhooks": says(c.list), "PATCH /webhooks/" + id: says(`{}`)}
		did, err := p.Register(t.Context(), "https://portal.example/webhook/pluggy")
		if diff := cmp.Diff(c.did, did); diff != "" || err != nil {
			t.Errorf("%s: %v: %s", name, err, diff)
		}
		if n := len(s.queries("/webhooks/" + id)); n != min(len(c.did), 1) {
			t.Errorf("%s: %d changes", name, n)
		}
	}
}
