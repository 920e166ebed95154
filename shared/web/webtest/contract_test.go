package webtest_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/web/webtest"
)

// spec is a small document with each keyword that the functions' own document leans on.
const spec = `{
  "openapi": "3.1.0",
  "info": {"title": "Shelves", "version": "1"},
  "servers": [{"url": "/"}],
  "paths": {
    "/shelf": {
      "get": {
        "security": [{"token": []}],
        "parameters": [{"name": "room", "in": "query", "required": true, "schema": {"type": "string", "pattern": "^[a-z]+$"}}],
        "responses": {"200": {"description": "It.", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Shelf"}}}}}
      },
      "post": {
        "security": [{"token": []}],
        "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Shelf"}}}},
        "responses": {
          "200": {"description": "Kept.", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Shelf"}}}},
          "202": {"description": "Later.", "content": {"application/json": {"schema": {"allOf": [
            {"$ref": "#/components/schemas/Shelf"}, {"properties": {"kind": {"const": "wood"}}}]}}}},
          "204": {"description": "Nothing."},
          "303": {"description": "Elsewhere.", "headers": {"Location": {"required": true, "schema": {"type": "string", "format": "uri"}}}},
          "409": {"description": "No.", "content": {"application/problem+json": {"schema": {"allOf": [
            {"$ref": "#/components/schemas/Problem"}, {"properties": {"code": {"enum": ["full", "locked"]}}}]}}}}
        }
      }
    },
    "/door": {"post": {"security": [{"session": []}], "responses": {"204": {"description": "Open."}}}}
  },
  "components": {
    "securitySchemes": {
      "token": {"type": "http", "scheme": "bearer"},
      "session": {"type": "apiKey", "in": "cookie", "name": "session"}
    },
    "schemas": {
      "Shelf": {
        "type": "object", "additionalProperties": false, "required": ["name", "kind", "note", "boards"],
        "properties": {
          "name": {"type": "string", "minLength": 1},
          "kind": {"type": "string", "enum": ["wood", "steel"]},
          "note": {"type": ["string", "null"]},
          "made": {"type": "string", "format": "date"},
          "seen": {"type": "string", "format": "date-time"},
          "home": {"type": "string", "format": "uri"},
          "boards": {"type": "array", "items": {"$ref": "#/components/schemas/Board"}}
        }
      },
      "Board": {"type": "object", "additionalProperties": false, "required": ["width"], "properties": {"width": {"type": "integer", "minimum": 1}}},
      "Problem": {
        "type": "object", "additionalProperties": false, "required": ["code"], "properties": {"code": {"type": "string"}}
      }
    },
    "responses": {
      "NoSuchPath": {"description": "No.", "content": {"application/problem+json": {"schema": {"allOf": [
        {"$ref": "#/components/schemas/Problem"}, {"properties": {"code": {"enum": ["not_found"]}}}]}}}},
      "MethodNotAllowed": {"description": "No.", "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    }
  }
}`

const good = `{"name":"a","kind":"wood","note":null,"boards":[{"width":3}]}`

// violations collects what a Contract reports.
type violations struct {
	mu  sync.Mutex
	all []string
}

func (v *violations) add(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all = append(v.all, err.Error())
}

func contract(t *testing.T) (*webtest.Contract, *violations) {
	t.Helper()
	v := &violations{}
	c, err := webtest.New([]byte(spec), v.add)
	if err != nil {
		t.Fatal(err)
	}
	return c, v
}

// given is what a server answers.
type given struct {
	status int
	kind   string
	body   string
	header [2]string
}

func (g given) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if g.kind != "" {
		w.Header().Set("Content-Type", g.kind)
	}
	if g.header[0] != "" {
		w.Header().Set(g.header[0], g.header[1])
	}
	w.WriteHeader(g.status)
	io.WriteString(w, g.body)
}

const (
	asJSON    = "application/json"
	asProblem = "application/problem+json"
)

func request(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer x")
	if body != "" {
		r.Header.Set("Content-Type", asJSON)
	}
	return r
}

// both sends a request through the handler and through the transport, which must find the same.
func both(t *testing.T, c *webtest.Contract, v *violations, r *http.Request, g given) []string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	w := httptest.NewRecorder()
	c.Handler("", g).ServeHTTP(w, r)
	if w.Code != g.status || w.Body.String() != g.body {
		t.Errorf("the handler changed the answer to %d %s", w.Code, w.Body)
	}
	first := v.all
	v.all = nil

	server := httptest.NewServer(g)
	defer server.Close()
	out := r.Clone(r.Context())
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host = "http", strings.TrimPrefix(server.URL, "http://")
	out.Body = io.NopCloser(strings.NewReader(string(body)))
	resp, err := c.RoundTripper(nil).RoundTrip(out)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != g.status || string(got) != g.body && r.Method != http.MethodHead {
		t.Errorf("the transport changed the answer to %d %s, %v", resp.StatusCode, got, err)
	}
	if diff := cmp.Diff(first, v.all); diff != "" {
		t.Errorf("the transport finds others: %s", diff)
	}
	return v.all
}

func TestTrafficAsTheDocumentSaysPasses(t *testing.T) {
	for _, row := range []struct {
		name, method, target, body string
		given                      given
	}{
		{"post", "POST", "/shelf", good, given{200, asJSON, good, [2]string{}}},
		{"with a charset", "POST", "/shelf", good, given{200, asJSON + "; charset=utf-8", good, [2]string{}}},
		{"slash at the end", "POST", "/shelf/", good, given{200, asJSON, good, [2]string{}}},
		{"narrowed", "POST", "/shelf", good, given{202, asJSON, good, [2]string{}}},
		{"every member", "POST", "/shelf", good, given{
			200, asJSON,
			`{"name":"a","kind":"steel","note":"b","made":"2026-02-28","seen":"2026-02-28T10:00:00.5Z","home":"https://a.example/b","boards":[]}`,
			[2]string{},
		}},
		{"nothing", "POST", "/shelf", good, given{204, "", "", [2]string{}}},
		{"elsewhere", "POST", "/shelf", good, given{303, "", "", [2]string{"Location", "https://a.example"}}},
		{"problem", "POST", "/shelf", good, given{409, asProblem, `{"code":"full"}`, [2]string{}}},
		{"list", "GET", "/shelf?room=a", "", given{200, asJSON, good, [2]string{}}},
		{"no body for HEAD", "HEAD", "/shelf?room=a", "", given{200, asJSON, "", [2]string{}}},
		{"another method", "PUT", "/shelf", "", given{405, asProblem, `{"code":"x"}`, [2]string{"Allow", "GET, POST"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, v := contract(t)
			if all := both(t, c, v, request(row.method, row.target, row.body), row.given); len(all) > 0 {
				t.Errorf("violations: %q", all)
			}
		})
	}
}

func TestEveryPlantedViolationIsSeen(t *testing.T) {
	fine := given{200, asJSON, good, [2]string{}}
	answered := func(body string) given { return given{200, asJSON, body, [2]string{}} }
	for _, row := range []struct {
		name, method, target, body string
		given                      given
		says                       string
	}{
		{"extra member in an answer", "POST", "/shelf", good, answered(`{"name":"a","kind":"wood","note":null,"boards":[],"x":1}`), "x"},
		{"extra member inside", "POST", "/shelf", good, answered(`{"name":"a","kind":"wood","note":null,"boards":[{"width":1,"x":1}]}`), "x"},
		{"missing member in an answer", "POST", "/shelf", good, answered(`{"kind":"wood","note":null,"boards":[]}`), "name"},
		{"missing member inside", "POST", "/shelf", good, answered(`{"name":"a","kind":"wood","note":null,"boards":[{}]}`), "width"},
		{"null where none may be", "POST", "/shelf", good, answered(`{"name":null,"kind":"wood","note":null,"boards":[]}`), "name"},
		{"none of several types", "POST", "/shelf", good, answered(`{"name":"a","kind":"wood","note":7,"boards":[]}`), "note"},
		{"number as text", "POST", "/shelf", good, answered(`{"name":"a","kind":"wood","note":null,"boards":[{"width":"3"}]}`), "width"},
		{"fraction for an integer", "POST", "/shelf", good, answered(`{"name":"a","kind":"wood","note":null,"boards":[{"width":1.5}]}`), "width"},
		{"below the minimum", "POST", "/shelf", good, answered(`{"name":"a","kind":"wood","note":null,"boards":[{"width":0}]}`), "width"},
		{"not in the enumeration", "POST", "/shelf", good, answered(`{"name":"a","kind":"glass","note":null,"boards":[]}`), "kind"},
		{"too short", "POST", "/shelf", good, answered(`{"name":"","kind":"wood","note":null,"boards":[]}`), "name"},
		{"no such date", "POST", "/shelf", good, answered(`{"name":"a","kind":"wood","note":null,"boards":[],"made":"2026-02-31"}`), "made"},
		{"time without a zone", "POST", "/shelf", good, answered(`{"name":"a","kind":"wood","note":null,"boards":[],"seen":"2026-02-28T10:00:00"}`), "seen"},
		{"relative URI", "POST", "/shelf", good, answered(`{"name":"a","kind":"wood","note":null,"boards":[],"home":"/b"}`), "home"},
		{"not what allOf narrows it to", "POST", "/shelf", good, given{202, asJSON, strings.Replace(good, "wood", "steel", 1), [2]string{}}, "kind"},
		{"extra member inside what is narrowed", "POST", "/shelf", good, given{202, asJSON, `{"name":"a","kind":"wood","note":null,"boards":[{"width":1,"x":1}]}`, [2]string{}}, "x"},
		{"missing member of what is narrowed", "POST", "/shelf", good, given{202, asJSON, `{"kind":"wood","note":null,"boards":[]}`, [2]string{}}, "name"},
		{"none of several types in what is narrowed", "POST", "/shelf", good, given{202, asJSON, `{"name":"a","kind":"wood","note":7,"boards":[]}`, [2]string{}}, "note"},
		{"no such date in what is narrowed", "POST", "/shelf", good, given{202, asJSON, `{"name":"a","kind":"wood","note":null,"boards":[],"made":"2026-02-31"}`, [2]string{}}, "made"},
		{"extra member beside allOf", "POST", "/shelf", good, given{409, asProblem, `{"code":"full","x":1}`, [2]string{}}, "x"},
		{"undocumented code", "POST", "/shelf", good, given{409, asProblem, `{"code":"empty"}`, [2]string{}}, "code"},
		{"undocumented status", "POST", "/shelf", good, given{410, asProblem, `{"code":"full"}`, [2]string{}}, "status"},
		{"undocumented redirect", "POST", "/shelf", good, given{307, "", "", [2]string{"Location", "https://a.example"}}, "status"},
		{"another media type", "POST", "/shelf", good, given{409, asJSON, `{"code":"full"}`, [2]string{}}, asJSON},
		{"not JSON", "POST", "/shelf", good, answered(`{"name"`), "answer"},
		{"body where none is due", "POST", "/shelf", good, given{303, "text/html", "<a>", [2]string{"Location", "https://a.example"}}, "text/html"},
		{"no body where one is due", "POST", "/shelf", good, given{200, "", "", [2]string{}}, "answer"},
		{"missing header", "POST", "/shelf", good, given{303, "", "", [2]string{}}, "Location"},
		{"header of another form", "POST", "/shelf", good, given{303, "", "", [2]string{"Location", "/b"}}, "Location"},
		{"undocumented path", "POST", "/wall", good, fine, "no such path"},
		{"undocumented method", "PUT", "/shelf", good, fine, "no such path"},
		{"documented method refused", "POST", "/shelf", good, given{405, asProblem, `{"code":"x"}`, [2]string{"Allow", "GET, POST"}}, "has this method"},
		{"Allow that leaves one out", "PUT", "/shelf", "", given{405, asProblem, `{"code":"x"}`, [2]string{"Allow", "GET"}}, "POST"},
		{"refused method without a problem", "PUT", "/shelf", "", given{405, "text/plain", "no", [2]string{"Allow", "GET, POST"}}, "text/plain"},
		{"extra member in a request", "POST", "/shelf", strings.Replace(good, "{", `{"x":1,`, 1), fine, "request"},
		{"missing member in a request", "POST", "/shelf", `{"kind":"wood","note":null,"boards":[]}`, fine, "request"},
		{"no body in a request", "POST", "/shelf", "", fine, "request"},
		{"missing parameter", "GET", "/shelf", "", fine, "room"},
		{"parameter of another form", "GET", "/shelf?room=A", "", fine, "room"},
		{"undocumented parameter", "GET", "/shelf?room=a&wall=b", "", fine, "wall"},
		{"body that is not documented", "POST", "/door", good, given{204, "", "", [2]string{}}, "request"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, v := contract(t)
			r := request(row.method, row.target, row.body)
			r.AddCookie(&http.Cookie{Name: "session", Value: "x"})
			all := both(t, c, v, r, row.given)
			if len(all) == 0 || !strings.Contains(strings.Join(all, "\n"), row.says) {
				t.Errorf("found %q", all)
			}
			for _, one := range all {
				if len(one) > 400 || !strings.HasPrefix(one, row.method+" /") {
					t.Errorf("a report of %d characters: %.600s", len(one), one)
				}
			}
		})
	}
}

func TestARequestWithoutItsCredentialIsSeen(t *testing.T) {
	for _, target := range []string{"/shelf?room=a", "/door"} {
		c, v := contract(t)
		method, g := "POST", given{204, "", "", [2]string{}}
		if target != "/door" {
			method, g = "GET", given{200, asJSON, good, [2]string{}}
		}
		r := httptest.NewRequest(method, target, nil)
		if all := both(t, c, v, r, g); len(all) != 1 {
			t.Errorf("%s: found %q", target, all)
		}
	}
}

func TestOfABadRequestOnlyTheAnswerIsChecked(t *testing.T) {
	refusal := given{409, asProblem, `{"code":"full"}`, [2]string{}}
	for _, row := range []struct {
		name, method, target, body string
		given                      given
		violations                 int
	}{
		{"refused", "POST", "/shelf", `{"x":`, refusal, 0},
		{"refused with another code", "POST", "/shelf", `{"x":`, given{409, asProblem, `{"code":"empty"}`, [2]string{}}, 1},
		{"path that is not there", "GET", "/wall", "", given{404, asProblem, `{"code":"not_found"}`, [2]string{}}, 0},
		{"path that is not there, answered", "GET", "/wall", "", given{200, asJSON, good, [2]string{}}, 1},
		{"path that is not there, in another form", "GET", "/wall", "", given{404, "text/plain", "no", [2]string{}}, 1},
		{"method that is not there, answered", "PUT", "/shelf", "", given{200, asJSON, good, [2]string{}}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, v := contract(t)
			r := request(row.method, row.target, row.body)
			if all := both(t, c, v, r.WithContext(webtest.Bad(t.Context())), row.given); len(all) != row.violations {
				t.Errorf("found %q", all)
			}
		})
	}
}

func TestTrafficOfOthersAndPreflightsAreLetPass(t *testing.T) {
	c, v := contract(t)
	c.Ours = func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/shelf") }
	both(t, c, v, request("GET", "/elsewhere", ""), given{200, "", "", [2]string{}})
	preflight := request("OPTIONS", "/shelf", "")
	preflight.Header.Set("Access-Control-Request-Method", "POST")
	both(t, c, v, preflight, given{204, "", "", [2]string{}})
	if len(v.all) > 0 {
		t.Errorf("found %q", v.all)
	}
}

func TestAHandlerBelowAPrefixIsCheckedWhereItIsMounted(t *testing.T) {
	c, v := contract(t)
	h := c.Handler("/shelf", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/on/its/way/down"
		given{200, asJSON, good, [2]string{}}.ServeHTTP(w, r)
	}))
	h.ServeHTTP(httptest.NewRecorder(), request("POST", "/", good))
	if len(v.all) > 0 || slices.Contains(c.Unexercised(), "POST /shelf") {
		t.Errorf("found %q, unexercised %q", v.all, c.Unexercised())
	}
}

func TestWhatWasNeverExercisedIsListed(t *testing.T) {
	c, v := contract(t)
	send := func(method, target, body string, g given) {
		c.Handler("", g).ServeHTTP(httptest.NewRecorder(), request(method, target, body))
	}
	send("POST", "/shelf", good, given{409, asProblem, `{"code":"full"}`, [2]string{}})
	send("GET", "/shelf?room=a", "", given{200, asJSON, good, [2]string{}})
	if diff := cmp.Diff([]string{"POST /door", "POST /shelf"}, c.Unexercised()); diff != "" {
		t.Error(diff)
	}
	want := []string{"POST /door 204", "POST /shelf 200", "POST /shelf 202", "POST /shelf 204", "POST /shelf 303", "POST /shelf 409 locked"}
	if diff := cmp.Diff(want, c.Unseen()); diff != "" || len(v.all) > 0 {
		t.Error(diff, v.all)
	}
	send("POST", "/shelf", good, given{204, "", "", [2]string{}})
	if diff := cmp.Diff([]string{"POST /door"}, c.Unexercised()); diff != "" {
		t.Error(diff)
	}
}

func TestADocumentThatIsNotValidIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":       `{`,
		"no description": strings.Replace(spec, `"description": "It.", `, "", 1),
		"dangling":       strings.Replace(spec, "schemas/Board", "schemas/Plank", 1),
		"no such scheme": strings.Replace(spec, `{"session": []}`, `{"cookie": []}`, 1),
	} {
		if _, err := webtest.New([]byte(text), func(error) {}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestARequestBodyThatBreaksOffReachesTheHandlerAsItIs(t *testing.T) {
	c, v := contract(t)
	broken := errors.New("cut")
	r := request("POST", "/shelf", "")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"na`), brokenReader{broken}))
	c.Handler("", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got, err := io.ReadAll(r.Body); string(got) != `{"na` || !errors.Is(err, broken) {
			t.Errorf("the handler read %q, %v", got, err)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
	if len(v.all) > 0 {
		t.Errorf("found %q", v.all)
	}
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }
