package main

import (
	"bytes"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bkper/automations-portal/shared/sandbox/pluggy"
	"github.com/bkper/automations-portal/shared/secret"
)

const bell = "a-secret-of-twenty-four-letters"

// call runs the command and returns what it printed, or its error.
func call(t *testing.T, env map[string]string, args ...string) (string, error) {
	t.Helper()
	var out, diagnostics bytes.Buffer
	err := run(t.Context(), args, func(name string) string { return env[name] }, &out, &diagnostics)
	if all := out.String() + diagnostics.String(); strings.Contains(all, bell) || strings.Contains(all, "client-secret") {
		t.Errorf("a secret is shown: %s", all)
	}
	return out.String(), err
}

func TestTheWebhookIsRegisteredOnceWhoeverSaysWhere(t *testing.T) {
	server, err := pluggy.New(pluggy.Options{Clients: map[string]secret.String{"client": secret.New("client-secret")}})
	if err != nil {
		t.Fatal(err)
	}
	at := httptest.NewServer(server)
	defer at.Close()
	env := map[string]string{"PLUGGY_CLIENT_ID": "client", "PLUGGY_CLIENT_SECRET": "client-secret", "PLUGGY_WEBHOOK_SECRET": bell, "PLUGGY_URL": at.URL}
	for _, step := range []struct {
		env  map[string]string
		args []string
		want string
	}{
		{nil, []string{"-url", "https://portal.example/webhook/"}, "Pluggy: registered https://portal.example/webhook/pluggy for all events\n"},
		{map[string]string{"PUBLIC_URL": "https://portal.example/"}, nil, "Pluggy: https://portal.example/webhook/pluggy is registered and enabled; nothing to do.\n"},
		{map[string]string{"WEBHOOK_URL": "https://portal.example/webhook"}, nil, "Pluggy: https://portal.example/webhook/pluggy is registered and enabled; nothing to do.\n"},
	} {
		with := maps.Clone(env)
		maps.Copy(with, step.env)
		if out, err := call(t, with, step.args...); out != step.want || err != nil {
			t.Errorf("%v: %q, %v", step.args, out, err)
		}
	}
	env["PLUGGY_CLIENT_SECRET"] = "wrong"
	if _, err := call(t, env, "-url", "https://portal.example/webhook"); err == nil || !strings.Contains(err.Error(), "CLIENT_KEYS_UNAUTHORIZED") {
		t.Errorf("with wrong credentials: %v", err)
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	for want, env := range map[string]map[string]string{
		"-url, WEBHOOK_URL or PUBLIC_URL": {},
		"PLUGGY_WEBHOOK_SECRET is needed": {"PUBLIC_URL": "https://portal.example"},
		"client id":                       {"PUBLIC_URL": "https://portal.example", "PLUGGY_WEBHOOK_SECRET": bell},
		"client secret":                   {"PUBLIC_URL": "https://portal.example", "PLUGGY_WEBHOOK_SECRET": bell, "PLUGGY_CLIENT_ID": "x"},
	} {
		if _, err := call(t, env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in %v", want, err)
		}
	}
	if _, err := call(t, nil, "https://portal.example"); err == nil {
		t.Error("an argument is ignored")
	}
}
