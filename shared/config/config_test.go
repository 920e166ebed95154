package config_test

import (
	"maps"
	"slices"
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
	got := faults(t, map[string]string{"PLAID_ENV": "moon", "AUTH_URL": "http://portal.example", "BOOK_URL": "https://books.example"})
	for _, name := range []string{
		"DATA_FILE", "GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET", "PLAID_CLIENT_ID", "PLAID_SECRET", "PUSH_SERVICE_ACCOUNT",
		"PLAID_ENV", "CONNECT_URL", "WEBHOOK_URL", "AUTH_URL", "POSTER_URL", "SYNC_URL", "DISCONNECT_URL", "PAGE_URL", "BOOK_URL",
	} {
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

// What the functions could not serve with is a fault that is listed, and no panic of theirs.
func TestPagesOfOtherOriginsAreSaidToBe(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"FUNCTION_TARGET": "auth", "GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLIENT_ID": "id", "GOOGLE_CLIENT_SECRET": "s", "AUTH_URL": "https://auth.example",
	}
	for _, row := range []struct{ page, origins, fault string }{
		{"https://Auth.example/portal", "", ""},
		{"https://page.example/portal", "https://page.example", ""},
		{"https://page.example/portal", "https://page.example,https://other.example", ""},
		{"https://page.example/portal", "", "PAGE_URL"},
		{"https://page.example/portal", "https://other.example", "PAGE_URL"},
		{"https://auth.example/portal", "https://Other.example", "ALLOWED_ORIGINS"},
		{"https://auth.example/portal", "https://other.example/", "ALLOWED_ORIGINS"},
		{"https://auth.example/portal", "https://other.example?x", "ALLOWED_ORIGINS"},
	} {
		env["PAGE_URL"], env["ALLOWED_ORIGINS"] = row.page, row.origins
		if got := faults(t, env); (got == "") != (row.fault == "") || !strings.Contains(got, row.fault) {
			t.Errorf("%s beside %q: %q, want %q", row.page, row.origins, got, row.fault)
		}
	}
}

// A deployment serves the countries for whose banks it has credentials; half of them is a mistake, and so is none at all.
func TestAProviderWithoutCredentialsIsNotServed(t *testing.T) {
	t.Parallel()
	const plaid, pluggy = "PLAID_CLIENT_ID PLAID_SECRET", "PLUGGY_CLIENT_ID PLUGGY_CLIENT_SECRET"
	base := map[string]string{
		"FUNCTION_TARGET": "webhook", "GOOGLE_CLOUD_PROJECT": "p", "PUBLIC_URL": "https://portal.example",
	}
	for name, c := range map[string]struct{ has, asks string }{
		"Plaid alone":         {plaid, ""},
		"Pluggy alone":        {pluggy + " PLUGGY_WEBHOOK_SECRET", ""},
		"both":                {plaid + " " + pluggy + " PLUGGY_WEBHOOK_SECRET", ""},
		"none":                {"", plaid},
		"half of Plaid":       {"PLAID_CLIENT_ID", "PLAID_SECRET"},
		"half of Pluggy":      {plaid + " PLUGGY_CLIENT_SECRET", "PLUGGY_CLIENT_ID PLUGGY_WEBHOOK_SECRET"},
		"no secret to expect": {pluggy, "PLUGGY_WEBHOOK_SECRET"},
	} {
		env := maps.Clone(base)
		for _, variable := range strings.Fields(c.has) {
			env[variable] = "x"
		}
		got := faults(t, env)
		for _, variable := range strings.Fields(plaid + " " + pluggy + " PLUGGY_WEBHOOK_SECRET") {
			if wanted := slices.Contains(strings.Fields(c.asks), variable); strings.Contains(got, "  "+variable+" is needed") != wanted {
				t.Errorf("%s: %s is asked for: %v, in\n%s", name, variable, !wanted, got)
			}
		}
		if (got == "") != (c.asks == "") {
			t.Errorf("%s: %s", name, got)
		}
	}
}
