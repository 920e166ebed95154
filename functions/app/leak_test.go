package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/web"
)

func discardEdge() *web.Edge {
	return &web.Edge{Function: "portal", Log: slog.New(slog.DiscardHandler), Who: nobody{}}
}

// heard is everything that the functions said, and every secret that they were told.
type heard struct {
	mu      sync.Mutex
	logs    bytes.Buffer
	said    []statement
	secrets map[string]string // value: what it is
	calls   map[string]int    // at the sandbox, by path
	asked   map[string][]string
	hook    *webhookHeard // the last one
}

// webhookHeard is a webhook as it came.
type webhookHeard struct {
	header http.Header
	body   string
}

// statement is something that left the functions.
type statement struct {
	where, text string
	may         string // the one secret that may be in it
}

func newHeard() *heard {
	return &heard{
		secrets: map[string]string{googleSecret: "the OAuth client's secret", plaidSecret: "the secret at the provider"},
		calls:   map[string]int{}, asked: map[string][]string{},
	}
}

// Write implements io.Writer for the log.
func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.logs.Write(p)
}

// logged are the lines of the log that tell of something bad.
func (h *heard) logged() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := strings.Split(h.logs.String(), "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, `"severity":"INFO"`) }), "\n")
}

func (h *heard) secret(what, value string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(value) >= needleHead {
		h.secrets[value] = what
	}
}

func (h *heard) say(s statement) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, s)
}

// times is how often a path of the sandbox was called.
func (h *heard) times(path string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls[path]
}

// bodies are those that were sent to a path of the sandbox.
func (h *heard) bodies(path string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked[path])
}

// tee keeps what is answered.
type tee struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (t *tee) Write(p []byte) (int, error) {
	t.body.Write(p)
	return t.ResponseWriter.Write(p)
}

// outside listens to a stand-in: what goes in and out there are the secrets.
func (h *heard) outside(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		sent := h.read(r)
		at := strings.TrimPrefix(r.URL.Path, "/sandbox/")
		h.mu.Lock()
		h.calls[at]++
		h.asked[at] = append(h.asked[at], sent)
		h.mu.Unlock()
		if form, err := url.ParseQuery(sent); err == nil {
			h.learn(form)
		}
		h.learnJSON(sent)
		t := &tee{ResponseWriter: out}
		next.ServeHTTP(t, r)
		h.learnJSON(t.body.String())
	})
}

func (h *heard) read(r *http.Request) string {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		text = nil
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	return string(text)
}

// secretNames are the members and fields that hold secrets on the wire.
var secretNames = []string{"access_token", "public_token", "link_token", "refresh_token", "id_token", "code_verifier", "code", "visit_handle", "item_key", "widget"}

func (h *heard) learn(form url.Values) {
	for _, name := range secretNames {
		h.secret(name, form.Get(name))
	}
}

func (h *heard) learnJSON(text string) {
	var value any
	if json.Unmarshal([]byte(text), &value) == nil {
		h.walk(value)
	}
}

func (h *heard) walk(value any) {
	switch v := value.(type) {
	case []any:
		for _, inner := range v {
			h.walk(inner)
		}
	case map[string]any:
		for name, inner := range v {
			text, isText := inner.(string)
			// A member called code is an error's in JSON; in a form it is the one of the sign-in.
			if isText && name != "code" && slices.Contains(secretNames, name) {
				h.secret(name, text)
			}
			h.walk(inner)
		}
	}
}

// itsCallers are the secrets that a function answers to the caller for whom they are.
var itsCallers = map[string]string{"/auth/refresh": "access_token", "/connect": "widget", "/connect/accounts": "widget", "/reconnect": "widget"}

// functions listens to our own: answers, and the messages that the queue pushes.
func (h *heard) functions(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		where := r.Method + " " + r.URL.Path
		if r.URL.Path == "/poster" || strings.HasSuffix(r.URL.Path, "/push") {
			h.say(statement{where: "message to " + where, text: decodedPush(h.read(r))})
		}
		if r.URL.Path == "/webhook/plaid" && r.Header.Get(badRequest) == "" {
			hook := &webhookHeard{r.Header.Clone(), h.read(r)}
			h.mu.Lock()
			h.hook = hook
			h.mu.Unlock()
		}
		t := &tee{ResponseWriter: out}
		next.ServeHTTP(t, r)
		s := statement{where: "answer of " + where, text: t.body.String() + fmt.Sprint(out.Header())}
		s.may = itsCallers[r.URL.Path]
		h.say(s)
	})
}

// decodedPush is the message of a push in clear beside its envelope.
func decodedPush(body string) string {
	var envelope struct{ Message struct{ Data []byte } }
	if json.Unmarshal([]byte(body), &envelope) != nil {
		return body
	}
	return body + string(envelope.Message.Data)
}

// renderings are the forms in which a secret may hide.
func renderings(value string) map[string]string {
	// Base64 of a text inside a longer one depends on where it begins: the part that does not is searched for.
	forms := map[string]string{
		"raw": value, "hex": hex.EncodeToString([]byte(value)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(value))),
		"URL-escaped": url.QueryEscape(value), "path-escaped": url.PathEscape(value),
	}
	for shift := range 3 {
		padded := append(bytes.Repeat([]byte{0}, shift), value...)
		for name, e := range map[string]*base64.Encoding{"base64": base64.StdEncoding, "base64url": base64.URLEncoding} {
			text := strings.TrimRight(e.EncodeToString(padded), "=")
			forms[fmt.Sprint(name, shift)] = text[min(shift+1, len(text))*4/3 : len(text)-2]
		}
	}
	return forms
}

// needle is one form of one secret.
type needle struct{ text, what, form string }

// leaks searches statements for secrets. It goes over each text once, because there are many secrets.
func leaks(said []statement, secrets map[string]string) []string {
	needles := map[[needleHead]byte][]needle{}
	for value, what := range secrets {
		for form, text := range renderings(value) {
			if len(text) >= needleHead {
				head := [needleHead]byte([]byte(text))
				needles[head] = append(needles[head], needle{text, what, form})
			}
		}
	}
	var found []string
	for _, s := range said {
		for i := 0; i+needleHead <= len(s.text); i++ {
			for _, n := range needles[[needleHead]byte([]byte(s.text[i:i+needleHead]))] {
				if s.may != n.what && strings.HasPrefix(s.text[i:], n.text) {
					found = append(found, fmt.Sprintf("%s stands (%s) in: %s", n.what, n.form, s.where))
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

const needleHead = 8 // bytes; shorter texts are no secrets

// everything is all that left the functions: answers, messages, log, and every table but that of the vault.
func (w *world) everything() (said []statement, secrets map[string]string) {
	w.heard.mu.Lock()
	said = append(slices.Clone(w.heard.said), statement{where: "the log", text: w.heard.logs.String()})
	secrets = map[string]string{}
	for value, what := range w.heard.secrets {
		secrets[value] = what
	}
	w.heard.mu.Unlock()
	said = append(said, w.shown()...)
	for table, rows := range w.tables() {
		said = append(said, statement{where: "the table " + table, text: strings.Join(rows, "\n")})
	}
	return said, secrets
}

// noLeak fails the test if any token left the functions.
func (w *world) noLeak() {
	w.t.Helper()
	said, secrets := w.everything()
	for _, found := range leaks(said, secrets) {
		w.t.Error(found)
	}
}

// tables are the rows of every table of the functions' file but those of the vault, as texts.
func (w *world) tables() map[string][]string {
	w.t.Helper()
	names := w.column(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%vault%' AND name NOT LIKE 'sqlite_%' ORDER BY name`)
	all := map[string][]string{}
	for _, name := range names {
		all[name] = w.column(`SELECT * FROM "` + name + `"`)
	}
	return all
}

func (w *world) column(query string) []string {
	w.t.Helper()
	rows, err := w.db.Query(query)
	w.must(err)
	defer rows.Close()
	columns, err := rows.Columns()
	w.must(err)
	texts := []string{}
	for rows.Next() {
		cells := make([]any, len(columns))
		for i := range cells {
			cells[i] = new([]byte)
		}
		w.must(rows.Scan(cells...))
		var parts [][]byte
		for _, c := range cells {
			parts = append(parts, *c.(*[]byte))
		}
		texts = append(texts, string(bytes.Join(parts, []byte("|"))))
	}
	w.must(rows.Err())
	return texts
}

func TestTheSearchFindsAPlantedLeakInEveryForm(t *testing.T) {
	const token = "access-sandbox-9b2f/canary+7?e=1"
	secrets := map[string]string{token: "access_token"}
	for name, text := range map[string]string{
		"raw": token, "in JSON": `{"a":"` + token + `"}`, "hex": hex.EncodeToString([]byte(token)),
		"base64":            base64.StdEncoding.EncodeToString([]byte(token)),
		"base64 of JSON":    base64.StdEncoding.EncodeToString([]byte(`{"token":"` + token + `"}`)),
		"base64 after one":  base64.RawURLEncoding.EncodeToString([]byte("x" + token)),
		"base64 after two":  base64.URLEncoding.EncodeToString([]byte("xy" + token + "z")),
		"URL-escaped":       "https://x.example/?t=" + url.QueryEscape(token),
		"in a path":         "https://x.example/" + url.PathEscape(token),
		"upper case in hex": strings.ToUpper(hex.EncodeToString([]byte("x" + token + "y"))),
	} {
		if len(leaks([]statement{{where: name, text: text}}, secrets)) == 0 {
			t.Errorf("a leak is not found: %s", name)
		}
	}
	if found := leaks([]statement{{text: token, may: "access_token"}, {text: "nothing"}}, secrets); len(found) > 0 {
		t.Errorf("found where there is none: %v", found)
	}
}

func TestTheSearchFindsLeaksWhereverTheFunctionsCouldMakeThem(t *testing.T) {
	w := newWorld(t)
	b := w.bank("Leaky Bank", checking(row(3, "1", "ONE")))
	w.client.linked(b, w.newBook("Leaky"))
	said, secrets := w.everything()
	kinds := map[string]bool{}
	for _, what := range secrets {
		kinds[what] = true
	}
	for _, what := range []string{"access_token", "public_token", "link_token", "refresh_token", "id_token", "the token of a push"} {
		if !kinds[what] {
			t.Errorf("the search knows no %s", what)
		}
	}
	where := map[string]bool{}
	for _, s := range said {
		where[s.where] = where[s.where] || s.text != ""
	}
	for _, place := range []string{
		"the log", "message to POST /poster", "message to POST /connect/push", "answer of POST /link", "answer of POST /connect",
		"answer of POST /webhook/plaid", "the table documents",
	} {
		if !where[place] {
			t.Errorf("the search has heard nothing of %s", place)
		}
	}
	slog.Error("planted", "answer", fmt.Errorf("body: %s", w.client.token))
	w.heard.mu.Lock()
	log := statement{where: "the log", text: w.heard.logs.String()}
	w.heard.logs.Reset() // it is a plant: the end of the test must not find it
	w.heard.mu.Unlock()
	if len(leaks([]statement{log}, secrets)) == 0 {
		t.Error("a token in the log is not found")
	}
}

// nobody lets nobody in.
type nobody struct{}

func (nobody) Verify(context.Context, secret.String) (caller.Caller, error) {
	return caller.Caller{}, caller.ErrUnauthenticated
}
