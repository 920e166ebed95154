package config_test

import (
	"strings"
	"testing"

	"github.com/sethvargo/go-envconfig"

	"github.com/bkper/automations-portal/shared/config"
)

func faults(t *testing.T, env map[string]string) string {
	t.Helper()
	_, err := config.Read(t.Context(), envconfig.MapLookuper(env))
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestEveryFaultOfAConfigurationIsListedAtOnce(t *testing.T) {
	t.Parallel()
	got := faults(t, map[string]string{"PLAID_ENV": "moon", "AUTH_URL": "http://portal.example"})
	for _, name := range []string{"DATA_FILE", "GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET", "PLAID_CLIENT_ID", "PLAID_SECRET", "PUSH_SERVICE_ACCOUNT",
		"PLAID_ENV", "CONNECT_URL", "WEBHOOK_URL", "AUTH_URL", "POSTER_URL", "SYNC_URL", "DISCONNECT_URL", "PAGE_URL"} {
		if !strings.Contains(got, "  "+name+" ") {
			t.Errorf("%s is not listed in\n%s", name, got)
		}
	}
}

func TestAFunctionAsksForWhatItUsesAndNoMore(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"FUNCTION_TARGET": "sync", "GOOGLE_CLOUD_PROJECT": "p", "SYNC_URL": "https://sync.example", "PUSH_SERVICE_ACCOUNT": "schedule@p.example",
	}
	if got := faults(t, env); got != "" {
		t.Errorf("sync, which calls neither banks nor Books, does not start: %s", got)
	}
	env["FUNCTION_TARGET"] = "poster"
	got := faults(t, env)
	for name, wanted := range map[string]bool{"POSTER_URL": true, "PLAID_SECRET": true, "GOOGLE_CLIENT_SECRET": true, "AUTH_URL": false} {
		if strings.Contains(got, "  "+name+" ") != wanted {
			t.Errorf("poster: %s is listed: %v, want %v, in\n%s", name, !wanted, wanted, got)
		}
	}
}
