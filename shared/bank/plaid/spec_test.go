package plaid

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/bkper/automations-portal/shared/secret"
)

// specification is Plaid's own OpenAPI file, which its Go module carries.
var specification = sync.OnceValues(func() (*openapi3.T, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/plaid/plaid-go/v20").Output()
	if err != nil {
		return nil, fmt.Errorf("find Plaid's module: %w", err)
	}
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join(strings.TrimSpace(string(dir)), "api", "openapi.yaml"))
	if err != nil {
		return nil, err
	}
	// Plaid came to these two countries after this version of its file.
	code := doc.Components.Schemas["CountryCode"].Value
	code.Enum = append(code.Enum, "AT", "FI")
	return doc, nil
})

// checkRequest holds a request against the specification. Plaid refuses unknown fields, the specification lets them pass, so
// that they are looked for here.
func checkRequest(path string, body []byte) error {
	doc, err := specification()
	if err != nil {
		return err
	}
	item := doc.Paths.Value(path)
	if item == nil || item.Post == nil {
		return fmt.Errorf("Plaid has no %s", path)
	}
	schema := item.Post.RequestBody.Value.Content["application/json"].Schema.Value
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := schema.VisitJSON(value, openapi3.VisitAsRequest()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return unknownFields(path, schema, value)
}

func unknownFields(at string, schema *openapi3.Schema, value any) error {
	object, ok := value.(map[string]any)
	if !ok || len(schema.Properties) == 0 {
		return nil
	}
	for name, inner := range object {
		property := schema.Properties[name]
		if property == nil {
			return fmt.Errorf("%s.%s is not a field of Plaid's", at, name)
		}
		if err := unknownFields(at+"."+name, property.Value, inner); err != nil {
			return err
		}
	}
	return nil
}

// specified is a transport on which every request must be as Plaid's specification has it.
type specified struct{ t testing.TB }

// toSpecification reads the specification, which takes seconds, before the time-out of a request begins to run.
func toSpecification(t testing.TB) specified {
	t.Helper()
	if _, err := specification(); err != nil {
		t.Fatal(err)
	}
	return specified{t}
}

func (s specified) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err := checkRequest(r.URL.Path, body); err != nil {
		s.t.Errorf("a request is not as Plaid wants it: %v", err)
	}
	for _, name := range []string{"Plaid-Client-Id", "Plaid-Secret", "Plaid-Version"} {
		if len(r.Header.Values(name)) != 1 {
			s.t.Errorf("%s has %q %d times", r.URL.Path, name, len(r.Header.Values(name)))
		}
	}
	return http.DefaultTransport.RoundTrip(r)
}

var testTime = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

// recorded answers each call by its path, and keeps what was asked.
type recorded struct {
	mu      sync.Mutex
	asked   []call
	answers map[string]http.HandlerFunc
}

type call struct {
	path string
	body map[string]any
}

func (s *recorded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.asked = append(s.asked, call{r.URL.Path, body})
	answer := s.answers[r.URL.Path]
	s.mu.Unlock()
	if answer == nil {
		answer = refuseWith(http.StatusNotFound, "INVALID_REQUEST", "NOT_FOUND", "no such endpoint")
	}
	answer(w, r)
}

func (s *recorded) calls(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.asked {
		if c.path == path {
			n++
		}
	}
	return n
}

func answerWith(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, body)
	}
}

func refuseWith(status int, kind, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]any{
			"error_type": kind, "error_code": code, "error_message": message, "display_message": nil, "request_id": "aBcDeFgHiJkLmNo",
		})
	}
}

// open starts a Plaid that answers as told, and the adapter that talks to it.
func open(t testing.TB, answers map[string]http.HandlerFunc) (*Plaid, *recorded) {
	t.Helper()
	server := &recorded{answers: answers}
	at := httptest.NewServer(server)
	t.Cleanup(at.Close)
	p, err := New(Config{
		Environment: Sandbox, BaseURL: at.URL, ClientID: "client", Secret: secret.New("client-secret-canary"), ClientName: "Automations",
		HTTPClient: &http.Client{Transport: toSpecification(t)}, Now: func() time.Time { return testTime },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, server
}
