package pluggy

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/provider/providertest"
	"github.com/bkper/automations-portal/shared/secret"
)

const (
	testClient  = "client-1"
	otherClient = "client-2"
	offClient   = "client-off"
	testSecret  = "sandbox-secret"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// clock is one that a test moves.
type clock struct{ at atomic.Pointer[time.Time] }

func newClock() *clock {
	c := new(clock)
	c.at.Store(&noon)
	return c
}

func (c *clock) now() time.Time { return *c.at.Load() }

func (c *clock) advance(d time.Duration) {
	t := c.now().Add(d)
	c.at.Store(&t)
}

// simBank is a Bank with repeatable ids.
func simBank(seed uint64, c *clock) *Bank {
	return NewBank(Config{Now: c.now, Rand: rand.New(rand.NewPCG(seed, 7))})
}

// rig is a Server under a path prefix, and somebody who receives its webhooks.
type rig struct {
	*Server
	*providertest.Receiver
	clock *clock
	url   string
	key   string // API key
}

type received = providertest.Received

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	r := &rig{Receiver: providertest.NewReceiver(t, "event"), clock: newClock()}
	o.Clients = map[string]secret.String{testClient: secret.New(testSecret), otherClient: secret.New("other"), offClient: secret.New("off")}
	o.Disabled, o.LocalWebhooks = []string{offClient}, true
	if o.Now == nil {
		o.Now = r.clock.now
	}
	var mux http.ServeMux
	server := httptest.NewServer(&mux)
	t.Cleanup(server.Close)
	r.url = server.URL + "/pluggy"
	o.BaseURL = r.url
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	mux.Handle("/pluggy/", http.StripPrefix("/pluggy", s))
	providertest.Run(t, s)
	r.key = r.auth(t, testClient, testSecret)
	return r
}

func (r *rig) auth(t *testing.T, client, password string) string {
	t.Helper()
	status, out := r.call(t, "POST", "/auth", "", `{"clientId":"`+client+`","clientSecret":"`+password+`"}`)
	if status != http.StatusOK {
		t.Fatal(status, out)
	}
	return out["apiKey"].(string)
}

// call speaks to the server; key is sent as X-API-KEY. Numbers stay as they were written.
func (r *rig) call(t testing.TB, method, path, key, body string) (int, map[string]any) {
	t.Helper()
	status, _, text := r.raw(t, method, path, key, body)
	var out map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&out); err != nil && len(text) > 0 {
		t.Fatalf("%s %s: %v: %s", method, path, err, text)
	}
	return status, out
}

func (r *rig) raw(t testing.TB, method, path, key, body string) (int, http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("X-API-KEY", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, text
}

// ok is call with the API key that must succeed.
func (r *rig) ok(t testing.TB, method, path, body string) map[string]any {
	t.Helper()
	status, out := r.call(t, method, path, r.key, body)
	if status/100 != 2 {
		t.Fatalf("%s %s: %d %v", method, path, status, out)
	}
	return out
}

// token makes a connect token.
func (r *rig) token(t testing.TB, body string) string {
	t.Helper()
	return r.ok(t, "POST", "/connect_token", body)["accessToken"].(string)
}

// connected makes an item of a user at Pluggy Bank, as the widget does.
func (r *rig) connected(t testing.TB, user string) (item string) {
	t.Helper()
	return r.connectedAt(t, 0, user)
}

func (r *rig) connectedAt(t testing.TB, connector int, user string) (item string) {
	t.Helper()
	item, status, err := r.Connect(r.token(t, `{"options":{"clientUserId":"u-1"}}`), Visit{Connector: connector, User: user, Password: goodPassword})
	if err != nil || status != Updated {
		t.Fatal(item, status, err)
	}
	return item
}

// accountOf is the id of an item's first account of a type.
func (r *rig) accountOf(t testing.TB, item, kind string) string {
	t.Helper()
	list := r.ok(t, "GET", "/accounts?itemId="+item+"&type="+kind, "")["results"].([]any)
	return list[0].(map[string]any)["id"].(string)
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}
