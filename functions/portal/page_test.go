package portal_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	diff "github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/functions/portal"
	"github.com/bkper/automations-portal/shared/bank"
)

// fetch asks for a file of the page as a browser does.
func fetch(t *testing.T, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	p := &portal.Portal{
		Banks: map[string]bank.Directory{"scripted": &scriptedBank{}}, Edge: discard(),
		Functions: portal.Functions{Auth: "https://auth.example/auth", Connect: "https://connect.example", Link: site + "/link"},
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, r)
	return w
}

var address = regexp.MustCompile(`"(page/[0-9a-f]+/[a-z.]+)"`)

// files are the addresses of what the page loads before anybody does anything.
func files(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, found := range address.FindAllStringSubmatch(fetch(t, "/").Body.String(), -1) {
		all = append(all, "/"+found[1])
	}
	if len(all) < 10 {
		t.Fatalf("the page loads %q", all)
	}
	return all
}

const mostWeight = 150_000

func TestThePageWeighsLessThan150kBCompressed(t *testing.T) {
	entries, err := os.ReadDir("page")
	if err != nil {
		t.Fatal(err)
	}
	version := strings.Split(files(t)[0], "/")[2]
	weight := fetch(t, "/", "Accept-Encoding: gzip").Body.Len()
	for _, e := range entries {
		if e.Name() == "index.html" {
			continue
		}
		w := fetch(t, "/page/"+version+"/"+e.Name(), "Accept-Encoding: br, gzip")
		if w.Code != http.StatusOK || w.Header().Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: %d, encoded as %q", e.Name(), w.Code, w.Header().Get("Content-Encoding"))
		}
		weight += w.Body.Len()
	}
	t.Logf("%d bytes", weight)
	if weight > mostWeight {
		t.Errorf("%d bytes", weight)
	}
}

func TestEveryFileOfThePageIsServedWholeAndKeptByBrowsers(t *testing.T) {
	for _, path := range files(t) {
		w := fetch(t, path)
		if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" || w.Header().Get("Content-Type") == "" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		zipped := fetch(t, path, "Accept-Encoding: gzip")
		r, err := gzip.NewReader(zipped.Body)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(r); err != nil || !bytes.Equal(text, w.Body.Bytes()) {
			t.Errorf("%s: compressed it is another, %v", path, err)
		}
		again := fetch(t, path, "If-None-Match: "+w.Header().Get("ETag"))
		if again.Code != http.StatusNotModified || again.Body.Len() > 0 {
			t.Errorf("%s again: %d", path, again.Code)
		}
		other := fetch(t, regexp.MustCompile(`/page/[0-9a-f]+/`).ReplaceAllString(path, "/page/older/"))
		if other.Code != http.StatusOK || other.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%s of another version: %d, %s", path, other.Code, other.Header().Get("Cache-Control"))
		}
	}
	for _, path := range []string{"/page/v/index.html", "/page/v/portal.go", "/page/v/..%2fportal.go", "/widgets/nobody.js", "/widgets/scripted"} {
		if w := fetch(t, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestThePolicyLetsOurOwnFilesTheFunctionsAndTheProvidersHostsIn(t *testing.T) {
	got := map[string]string{}
	for part := range strings.SplitSeq(fetch(t, "/").Header().Get("Content-Security-Policy"), "; ") {
		directive, sources, _ := strings.Cut(part, " ")
		got[directive] = sources
	}
	want := map[string]string{
		"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
		"script-src": "'self' https://cdn.bank.example", "frame-src": "https://widget.bank.example", "style-src": "'self'",
		"connect-src": "'self' https://auth.example https://connect.example " + site, "img-src": "'self' data:",
	}
	if d := diff.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// greedy is a provider that asks for more than hosts.
type greedy struct{ scriptedBank }

func (greedy) Front() bank.Front {
	return bank.Front{Hosts: map[string][]string{
		"script-src": {"'unsafe-inline'", "*", "https:", "https://a.example/x", "https://b.example; img-src *"}, "default-src": {"https://c.example"},
	}}
}

func TestAProviderCannotOpenThePolicy(t *testing.T) {
	p := &portal.Portal{Banks: map[string]bank.Directory{"greedy": &greedy{}}, Edge: discard()}
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'self'; style-src") || strings.Contains(policy, "example") {
		t.Error(policy)
	}
}

func TestThePageIsFoundWithoutTheSlashAtItsEnd(t *testing.T) {
	w := fetch(t, "/")
	if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.RequestURI = "/portal?session=s1"
	out := httptest.NewRecorder()
	(&portal.Portal{Edge: discard()}).Handler().ServeHTTP(out, r)
	if out.Code != http.StatusPermanentRedirect || out.Header().Get("Location") != "portal/?session=s1" {
		t.Errorf("%d to %s", out.Code, out.Header().Get("Location"))
	}
}

// sources are the page's modules by name.
func sources(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	names, err := filepath.Glob("page/*.js")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = string(text)
	}
	return all
}

func TestThePageHasAllItsModulesPreloaded(t *testing.T) {
	loaded := fetch(t, "/").Body.String()
	for name := range sources(t) {
		if !strings.Contains(loaded, "/"+name+`"`) {
			t.Errorf("%s is not named in index.html, and so found late", name)
		}
	}
}

// A text of a bank's or of a person's that became markup could act as the person who looks at it.
func TestNoTextBecomesMarkupAndNoTokenIsStored(t *testing.T) {
	unsafe := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacent|document\.write|DOMParser|srcdoc|createContextualFragment|\beval\(|new Function|setTimeout\('|javascript:|localStorage|document\.cookie`)
	for name, text := range sources(t) {
		if found := unsafe.FindString(text); found != "" {
			t.Errorf("%s has %s", name, found)
		}
		if name != "api.js" && strings.Contains(text, "accessToken") {
			t.Errorf("%s knows the access token", name)
		}
		if name == "api.js" && strings.Contains(text, "Storage") {
			t.Error("api.js stores something")
		}
	}
	index, err := os.ReadFile("page/index.html")
	if err != nil {
		t.Fatal(err)
	}
	if inline := regexp.MustCompile(`<script[^>]*>[^<]|<style|\son\w+=|style=`).Find(index); inline != nil {
		t.Errorf("index.html has %s, which the policy forbids", inline)
	}
}

// words reads a language; texts of several forms are joined.
func words(t *testing.T, name string) map[string]string {
	t.Helper()
	text, err := os.ReadFile("page/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]any
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(name, err)
	}
	all := map[string]string{}
	for key, v := range raw {
		switch v := v.(type) {
		case string:
			all[key] = v
		case map[string]any:
			if v["other"] == nil || v["one"] == nil {
				t.Errorf("%s: %s has not all forms", name, key)
			}
			all[key], _ = v["other"].(string)
		}
	}
	return all
}

var place = regexp.MustCompile(`\{\w+\}`)

func TestBothLanguagesSayTheSameThings(t *testing.T) {
	en, pt := words(t, "en.json"), words(t, "pt-BR.json")
	if d := diff.Diff(slices.Sorted(maps.Keys(en)), slices.Sorted(maps.Keys(pt))); d != "" {
		t.Errorf("keys of English (-) and of Portuguese (+): %s", d)
	}
	for key := range en {
		places := func(text string) []string {
			return slices.Compact(slices.Sorted(slices.Values(place.FindAllString(text, -1))))
		}
		if d := diff.Diff(places(en[key]), places(pt[key])); d != "" {
			t.Errorf("%s: places of English (-) and of Portuguese (+): %s", key, d)
		}
		if en[key] == "" || pt[key] == "" {
			t.Errorf("%s is empty", key)
		}
	}
}

var asksFor = regexp.MustCompile("\\b(?:t|rich)\\((?:[^()'`]*\\? )?['`]([a-z_.A-Z$0-9{}]+)['`](?: : ['`]([a-z_.A-Z0-9]+)['`])?")

// A key that is made of parts is known by its beginning.
func TestEveryTextThatThePageAsksForIsThereAndIsAskedFor(t *testing.T) {
	en := words(t, "en.json")
	var all strings.Builder
	for name, text := range sources(t) {
		all.WriteString(text)
		for _, found := range asksFor.FindAllStringSubmatch(text, -1) {
			for _, key := range found[1:] {
				head, _, made := strings.Cut(key, "${")
				known := key == "" || en[key] != "" || made && slices.ContainsFunc(slices.Collect(maps.Keys(en)), func(k string) bool { return strings.HasPrefix(k, head) })
				if !known {
					t.Errorf("%s asks for %q", name, key)
				}
			}
		}
	}
	composed := regexp.MustCompile(`^(error|reason|connection|integration|permission|account|type|period|health|privacy|visit|offer|disconnect|remove|banks\.region|apps|bots)(\.|$)`)
	for key := range en {
		if !composed.MatchString(key) && !strings.Contains(all.String(), "'"+key+"'") {
			t.Errorf("nothing asks for %q", key)
		}
	}
}

// Whatever a person can be told by a code, they are told in their language.
func TestThePageHasWordsForEveryStatus(t *testing.T) {
	en := words(t, "en.json")
	schemas := document(t).Components.Schemas
	enum := func(schema, member string) []any {
		s := schemas[schema].Value
		if member != "" {
			s = s.Properties[member].Value
		}
		return s.Enum
	}
	want := func(prefix string, values []any) {
		for _, v := range values {
			if key := prefix + v.(string); en[key] == "" {
				t.Errorf("no text %s", key)
			}
		}
	}
	want("connection.", enum("Connection", "status"))
	want("connection.needs_you.", enum("Connection", "need"))
	want("offer.", enum("Offering", "state"))
	want("integration.", enum("Integration", "status"))
	want("reason.", enum("AttentionRow", "reason"))
	want("visit.reason.", enum("Completed", "reason"))
	want("account.", enum("BankAccount", "type"))
	want("permission.", enum("Book", "permission"))
	for _, state := range enum("SessionState", "") {
		if s := bank.SessionState(state.(string)); s.Final() && s != bank.Kept {
			want("visit.", []any{state})
		}
	}
	for _, action := range []string{"POST /connect", "POST /link", "POST /connect/accounts", "POST /portal/sync"} {
		for _, status := range []string{"409", "422"} {
			response := operationsOf(document(t))[action].Responses.Map()[status]
			if response == nil {
				continue
			}
			for _, code := range codesOf(response.Value) {
				if !slices.Contains(said, code) {
					want("error.", []any{code})
				}
			}
		}
	}
}

// said are codes that only a fault of the page brings; their sentence is shown as it comes.
var said = []string{"no_such_integration", "unknown_provider"}

func TestTheMapIsOfOutlinesAndHasTheCountriesInWhichBanksAreServed(t *testing.T) {
	text, err := os.ReadFile("page/world.json")
	if err != nil {
		t.Fatal(err)
	}
	var world map[string]string
	if err := json.Unmarshal(text, &world); err != nil {
		t.Fatal(err)
	}
	outline := regexp.MustCompile(`^(M-?\d+ -?\d+l[-\d ]+z)+$`)
	for code, d := range world {
		if code != "viewBox" && !outline.MatchString(d) {
			t.Errorf("%s is %.60q", code, d)
		}
	}
	for code := range strings.FieldsSeq("AT BE BR CA DE DK EE ES FI FR GB IE IT LT LV NL NO PL PT SE US") {
		if world[code] == "" {
			t.Errorf("%s is not drawn", code)
		}
	}
}
