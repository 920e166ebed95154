package app_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path"
	"path/filepath"
	"testing"

	"github.com/sethvargo/go-envconfig"

	"github.com/bkper/automations-portal/functions/app"
	"github.com/bkper/automations-portal/shared/config"
)

type asked struct {
	method, path string
	status       int
	code, allow  string
}

func TestEveryPathIsAnsweredAlikeWhicheverFunctionIsServed(t *testing.T) {
	for _, name := range []string{"", "link", "portal"} {
		cfg, err := config.Read(t.Context(), envconfig.MapLookuper(map[string]string{
			"PUBLIC_URL": "https://portal.example", "DATA_FILE": filepath.Join(t.TempDir(), "portal.db"), "GOOGLE_CLIENT_ID": "x",
			"GOOGLE_CLIENT_SECRET": "x", "PLAID_CLIENT_ID": "x", "PLAID_SECRET": "x", "PUSH_SERVICE_ACCOUNT": "p@example.com",
			"EVENTS": "pubsub", "GOOGLE_CLOUD_PROJECT": "p", "STORE": "sqlite", "VAULT": "sqlite",
		}))
		if err != nil {
			t.Fatal(err)
		}
		a := app.New(cfg, slog.New(slog.DiscardHandler))
		t.Cleanup(a.Close)
		h, err := a.Handler(name)
		if err != nil {
			t.Fatal(err)
		}
		rows := []asked{
			{http.MethodGet, "/nowhere", 404, "not_found", ""},
			{http.MethodPost, "/nowhere/at/all", 404, "not_found", ""},
			{http.MethodGet, path.Join("/", name, "no/where"), 404, "not_found", ""},
		}
		if name == "" {
			rows = append(rows, []asked{
				{http.MethodGet, "/", 303, "", ""},
				{http.MethodPost, "/", 405, "method_not_allowed", "GET, HEAD"},
				{http.MethodHead, "/openapi.json", 307, "", ""},
				{http.MethodPut, "/openapi.json", 405, "method_not_allowed", "GET, HEAD"},
				{http.MethodPut, "/connect/complete", 405, "method_not_allowed", "GET, HEAD, POST"},
				{http.MethodGet, "/link", 405, "method_not_allowed", "POST"},
			}...)
		}
		for _, row := range rows {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), row.method, row.path, nil))
			var problem struct{ Code string }
			if row.code != "" && (json.Unmarshal(w.Body.Bytes(), &problem) != nil || w.Header().Get("Content-Type") != "application/problem+json") {
				t.Errorf("function %q, %s %s: %d %s", name, row.method, row.path, w.Code, w.Body)
			}
			if w.Code != row.status || problem.Code != row.code || w.Header().Get("Allow") != row.allow {
				t.Errorf("function %q, %s %s: %d %s, Allow %q", name, row.method, row.path, w.Code, problem.Code, w.Header().Get("Allow"))
			}
		}
	}
}
