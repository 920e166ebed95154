package web_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/logs"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/web"
)

// tokens is a Verifier that knows its tokens beforehand.
type tokens map[string]error

func (t tokens) Verify(_ context.Context, token secret.String) (caller.Caller, error) {
	err, ok := t[token.Reveal()]
	if !ok {
		err = caller.ErrUnauthenticated
	}
	if err != nil {
		return caller.Caller{}, fmt.Errorf("verify: %w", err)
	}
	return caller.Caller{Sub: "110", Email: "a@example.org", Token: token}, nil
}

type linkRequest struct {
	Book   string            `json:"book"`
	Count  int               `json:"count,omitzero"`
	Extra  map[string]any    `json:"extra,omitzero"`
	Labels map[string]string `json:"labels,omitzero"`
}

type linkResponse struct {
	Book string `json:"book"`
	Who  string `json:"who"`
}

func echo(_ context.Context, who caller.Caller, r linkRequest) (linkResponse, error) {
	return linkResponse{r.Book, who.Email}, nil
}

type fixture struct {
	edge *web.Edge
	log  *bytes.Buffer
}

func newFixture() *fixture {
	var out bytes.Buffer
	return &fixture{&web.Edge{
		Function: "link", Who: tokens{"good": nil, "dark": caller.ErrUnavailable},
		Log: slog.New(logs.NewJSON(&out, logs.Options{Project: "p"})), Origins: []string{"https://portal.example"},
	}, &out}
}

func post(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/link", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer good")
	r.Header.Set("Content-Type", "application/json")
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func object(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return got
}

func failing(err error) func(context.Context, caller.Caller, linkRequest) (linkResponse, error) {
	return func(context.Context, caller.Caller, linkRequest) (linkResponse, error) { return linkResponse{}, err }
}

func TestAnActionAnswersItsCallerAndWritesOneLine(t *testing.T) {
	f := newFixture()
	h := web.Post(f.edge, "link", func(ctx context.Context, who caller.Caller, r linkRequest) (linkResponse, error) {
		web.Note(ctx, slog.String("connection", "c1"))
		return echo(ctx, who, r)
	})
	r := post(`{"book":"b1"}`)
	r.Header.Set("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	w := serve(h, r)
	if w.Code != http.StatusOK || w.Body.String() != `{"book":"b1","who":"a@example.org"}` {
		t.Errorf("answer %d %s", w.Code, w.Body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Strict-Transport-Security": "max-age=31536000",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	line := object(t, f.log.Bytes())
	if _, ok := line["ms"].(float64); !ok {
		t.Errorf("no milliseconds in %v", line)
	}
	delete(line, "ms")
	delete(line, "time")
	want := map[string]any{
		"severity": "INFO", "message": "request", "function": "link", "route": "link", "method": "POST", "status": 200.0,
		"caller": caller.Caller{Sub: "110"}.Hash(), "connection": "c1",
		"logging.googleapis.com/trace":         "projects/p/traces/4bf92f3577b34da6a3ce929d0e0e4736",
		"logging.googleapis.com/spanId":        "00f067aa0ba902b7",
		"logging.googleapis.com/trace_sampled": true,
	}
	if diff := cmp.Diff(want, line); diff != "" {
		t.Error(diff)
	}
}

func TestAResponseChoosesItsStatus(t *testing.T) {
	f := newFixture()
	h := web.Post(f.edge, "remove", func(context.Context, caller.Caller, linkRequest) (stopping, error) {
		return stopping{State: "stopping"}, nil
	})
	if w := serve(h, post(`{}`)); w.Code != http.StatusAccepted || w.Body.String() != `{"state":"stopping"}` {
		t.Errorf("answer %d %s", w.Code, w.Body)
	}
}

type stopping struct {
	State string `json:"state"`
}

func (stopping) Status() int { return http.StatusAccepted }

func TestABodyThatIsNotTheActionsIsRefusedAndNothingIsDone(t *testing.T) {
	deep := `{"extra":` + strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40) + `}`
	for _, row := range []struct{ name, body, field string }{
		{"empty", ``, ""},
		{"null", `null`, ""},
		{"list", `[]`, ""},
		{"text", `"book"`, ""},
		{"cut short", `{"book":"b1"`, ""},
		{"unknown member", `{"book":"b1","token":"x"}`, "/token"},
		{"other case", `{"Book":"b1"}`, "/Book"},
		{"wrong type", `{"book":7}`, "/book"},
		{"number as text", `{"count":"7"}`, "/count"},
		{"too big a number", `{"count":1e30}`, "/count"},
		{"null member", `{"book":null}`, "/book"},
		{"null inside", `{"labels":{"a":null}}`, "/labels/a"},
		{"member twice", `{"book":"b1","book":"b2"}`, "/book"},
		{"member twice inside", `{"extra":{"a":1,"a":2}}`, "/extra/a"},
		{"trailing value", `{"book":"b1"}{}`, ""},
		{"trailing text", `{"book":"b1"} x`, ""},
		{"invalid UTF-8", "{\"book\":\"\xff\"}", ""},
		{"lone surrogate", `{"book":"\ud800"}`, ""},
		{"too deep", deep, ""},
		{"too large", `{"book":"` + strings.Repeat("b", web.MaxBody) + `"}`, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture()
			h := web.Post(f.edge, "link", func(context.Context, caller.Caller, linkRequest) (linkResponse, error) {
				t.Error("the action was done")
				return linkResponse{}, nil
			})
			w := serve(h, post(row.body))
			got := object(t, w.Body.Bytes())
			field, _ := got["field"].(string)
			if w.Code != http.StatusBadRequest || got["code"] != "invalid_request" || field != row.field || got["detail"] == "" {
				t.Errorf("answer %d %s", w.Code, w.Body)
			}
		})
	}
}

func TestOnlyJSONByPostIsTaken(t *testing.T) {
	f := newFixture()
	h := web.Post(f.edge, "link", echo)
	form := post(`{"book":"b1"}`)
	form.Header.Set("Content-Type", "text/plain")
	if w := serve(h, form); w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("text/plain: %d", w.Code)
	}
	get := post(`{"book":"b1"}`)
	get.Method = http.MethodGet
	if w := serve(h, get); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	charset := post(`{"book":"b1"}`)
	charset.Header.Set("Content-Type", "application/json; charset=utf-8")
	if w := serve(h, charset); w.Code != http.StatusOK {
		t.Errorf("with a charset: %d", w.Code)
	}
}

func TestWithoutAVerifiedCallerNothingIsReadOrDone(t *testing.T) {
	for _, row := range []struct {
		name      string
		headers   []string
		status    int
		challenge string
	}{
		{"none", nil, 401, "Bearer"},
		{"empty", []string{"Bearer "}, 401, "Bearer"},
		{"another scheme", []string{"Basic good"}, 401, "Bearer"},
		{"two", []string{"Bearer good", "Bearer good"}, 401, "Bearer"},
		{"not a token", []string{"Bearer good\x01"}, 401, "Bearer"},
		{"two words", []string{"Bearer good good"}, 401, "Bearer"},
		{"too long", []string{"Bearer " + strings.Repeat("a", 5000)}, 401, "Bearer"},
		{"unknown", []string{"Bearer bad"}, 401, `Bearer error="invalid_token"`},
		{"Google away", []string{"Bearer dark"}, 503, ""},
		{"good", []string{"bearer good"}, 200, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture()
			done := false
			h := web.Post(f.edge, "link", func(ctx context.Context, who caller.Caller, r linkRequest) (linkResponse, error) {
				done = true
				return echo(ctx, who, r)
			})
			r := post(`{"book":"b1"}`)
			r.Header["Authorization"] = row.headers
			w := serve(h, r)
			if w.Code != row.status || w.Header().Get("WWW-Authenticate") != row.challenge || done != (row.status == 200) {
				t.Errorf("%d, challenge %q, done %v", w.Code, w.Header().Get("WWW-Authenticate"), done)
			}
			if row.status == 503 && w.Header().Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
}

func TestAPathThatAFunctionDoesNotHaveIsAProblemWhateverTheMethod(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions} {
		f := newFixture()
		r := httptest.NewRequest(method, "/nowhere", nil)
		r.Header.Set("Access-Control-Request-Method", "POST")
		w := serve(f.edge.Nothing(), r)
		if w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != "application/problem+json" || object(t, w.Body.Bytes())["code"] != "not_found" {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
		if line := object(t, f.log.Bytes()); line["status"] != 404.0 {
			t.Errorf("%s: line %v", method, line)
		}
	}
}

func TestAnActionOnAPathWithOtherMethodsIsRefusedWithAllOfThem(t *testing.T) {
	f := newFixture()
	act := web.Action(f.edge, "link", echo)
	h := f.edge.Handle("link", func(w http.ResponseWriter, r *http.Request) error {
		if r.Method == http.MethodPost {
			return act(w, r)
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}, http.MethodGet, http.MethodPost)
	for method, status := range map[string]int{"GET": 204, "POST": 200, "PUT": 405} {
		r := post(`{"book":"b1"}`)
		r.Method = method
		w := serve(h, r)
		if w.Code != status || status == 405 && w.Header().Get("Allow") != "GET, POST" {
			t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
}

// A service account cannot sign in again.
func TestAMachineWithoutAGoodTokenIsToldOfItsToken(t *testing.T) {
	for header, status := range map[string]int{"": 401, "Bearer bad": 401, "Bearer dark": 503, "Bearer good": 204} {
		f := newFixture()
		h := f.edge.Handle("push", func(w http.ResponseWriter, r *http.Request) error {
			if err := f.edge.Machine(w, r); err != nil {
				return err
			}
			w.WriteHeader(http.StatusNoContent)
			return nil
		}, http.MethodPost)
		r := post(`{}`)
		r.Header.Set("Authorization", header)
		w := serve(h, r)
		if w.Code != status {
			t.Errorf("%q: %d %s", header, w.Code, w.Body)
		}
		if status == 401 && !strings.Contains(w.Body.String(), "ID token of the service account") {
			t.Errorf("%q: %s", header, w.Body)
		}
	}
}

func TestAnActionWithoutAVerifierCannotBeMade(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("made")
		}
	}()
	web.Post(&web.Edge{}, "link", echo)
}

func TestErrorsBecomeProblemsWithoutTheirCause(t *testing.T) {
	cause := errors.New("row of SECRET table")
	for _, row := range []struct {
		name    string
		err     error
		status  int
		code    string
		seconds float64
		level   string
	}{
		{"unknown", cause, 500, "internal", 0, "ERROR"},
		{"problem", web.Conflict("already_linked", "Choose another.").Because(cause), 409, "already_linked", 0, "INFO"},
		{"wrapped problem", fmt.Errorf("link: %w", web.NotFound("No such Connection.").Because(cause)), 404, "not_found", 0, "INFO"},
		{"problem without a status", (&web.Problem{Code: "x"}).Because(cause), 500, "internal", 0, "ERROR"},
		{"passing", &bank.Error{Kind: bank.Retry, Code: "X", Err: cause}, 503, "unavailable", 5, "WARNING"},
		{"passing later", fmt.Errorf("bank: %w", &bank.Error{Kind: bank.RetryAfter, After: 1500 * time.Millisecond, Err: cause}), 503, "unavailable", 2, "WARNING"},
		{"permanent", &bank.Error{Kind: bank.Permanent, Code: "X", Err: cause}, 500, "internal", 0, "ERROR"},
		{"deadline", fmt.Errorf("%w: %w", context.DeadlineExceeded, cause), 503, "unavailable", 5, "WARNING"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture()
			w := serve(web.Post(f.edge, "link", failing(row.err)), post(`{}`))
			got := object(t, w.Body.Bytes())
			if w.Code != row.status || got["status"] != float64(row.status) || got["code"] != row.code {
				t.Errorf("answer %d %s", w.Code, w.Body)
			}
			if got["type"] != "about:blank" || got["title"] != http.StatusText(row.status) || len(got["trace"].(string)) != 32 {
				t.Errorf("answer %s", w.Body)
			}
			if seconds, _ := got["seconds"].(float64); seconds != row.seconds {
				t.Errorf("seconds %v, want %v", seconds, row.seconds)
			}
			if row.seconds > 0 && w.Header().Get("Retry-After") != fmt.Sprint(row.seconds) {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
			if strings.Contains(w.Body.String(), "SECRET") {
				t.Errorf("the cause is shown: %s", w.Body)
			}
			line := object(t, f.log.Bytes())
			if text, _ := line["error"].(string); !strings.Contains(text, "SECRET") || line["code"] != row.code || line["severity"] != row.level {
				t.Errorf("line %v", line)
			}
		})
	}
}

func TestAProblemCarriesWhatACallerNeedsToGoOn(t *testing.T) {
	f := newFixture()
	p := &web.Problem{Status: 403, Code: "consent_required", Detail: "Allow it.", URL: "https://a.example/c", Connection: "c1", Field: "/book"}
	w := serve(web.Post(f.edge, "link", failing(p)), post(`{}`))
	got := object(t, w.Body.Bytes())
	delete(got, "trace")
	want := map[string]any{
		"type": "about:blank", "title": "Forbidden", "status": 403.0, "code": "consent_required", "detail": "Allow it.",
		"url": "https://a.example/c", "connection": "c1", "field": "/book",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if w.Header().Get("Content-Type") != "application/problem+json" {
		t.Error(w.Header())
	}
	if _, ok := object(t, f.log.Bytes())["error"]; ok {
		t.Errorf("an error without a cause in %s", f.log)
	}
}

func TestAPanicIsA500AndItsValueIsNowhere(t *testing.T) {
	for name, panics := range map[string]func(){
		"value":   func() { panic("SECRET token") },
		"error":   func() { panic(errors.New("SECRET token")) },
		"runtime": func() { _ = []string{"SECRET"}[len(name())] },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			w := serve(web.Post(f.edge, "link", func(context.Context, caller.Caller, linkRequest) (linkResponse, error) {
				panics()
				return linkResponse{}, nil
			}), post(`{}`))
			if w.Code != 500 || strings.Contains(w.Body.String()+f.log.String(), "SECRET") {
				t.Errorf("%d %s, line %s", w.Code, w.Body, f.log)
			}
			if text, _ := object(t, f.log.Bytes())["error"].(string); !strings.Contains(text, "web_test.TestAPanicIsA500") {
				t.Errorf("no place in %q", text)
			}
		})
	}
}

func name() string { return "beyond" }

func TestAnAnswerThatFailsHalfWayBreaksTheConnectionOff(t *testing.T) {
	f := newFixture()
	h := f.edge.Handle("page", func(w http.ResponseWriter, r *http.Request) error {
		fmt.Fprint(w, "half")
		return errors.New("the rest is lost")
	}, http.MethodGet)
	defer func() {
		if v := recover(); v != any(http.ErrAbortHandler) {
			t.Errorf("recovered %v", v)
		}
		if line := object(t, f.log.Bytes()); line["status"] != 500.0 {
			t.Errorf("line %v", line)
		}
	}()
	serve(h, httptest.NewRequest(http.MethodGet, "/", nil))
}

func TestAClientThatIsGoneIsA499InTheLogOnly(t *testing.T) {
	f := newFixture()
	ctx, cancel := context.WithCancel(t.Context())
	w := serve(web.Post(f.edge, "link", func(ctx context.Context, _ caller.Caller, _ linkRequest) (linkResponse, error) {
		cancel()
		<-ctx.Done()
		return linkResponse{}, ctx.Err()
	}), post(`{}`).WithContext(ctx))
	if w.Body.Len() > 0 {
		t.Errorf("answer %s", w.Body)
	}
	if line := object(t, f.log.Bytes()); line["status"] != 499.0 || line["severity"] != "INFO" {
		t.Errorf("line %v", line)
	}
}

func TestARequestEndsAtItsTimeout(t *testing.T) {
	f := newFixture()
	f.edge.Timeout = time.Nanosecond
	w := serve(web.Post(f.edge, "link", func(ctx context.Context, _ caller.Caller, _ linkRequest) (linkResponse, error) {
		<-ctx.Done()
		return linkResponse{}, ctx.Err()
	}), post(`{}`))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A stranger's drops must not keep places from the bank's own webhooks.
func TestABodyThatNeverEndsIsWaitedForNoLongerThanTheRequestMayTake(t *testing.T) {
	f := newFixture()
	f.edge.Timeout = 20 * time.Millisecond
	server := httptest.NewServer(f.edge.Handle("webhook", func(w http.ResponseWriter, r *http.Request) error {
		_, err := web.Body(w, r, 1<<20)
		return err
	}, http.MethodPost))
	defer server.Close()
	client, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
	resp, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode < http.StatusBadRequest {
		t.Error(resp.Status)
	}
}

type listRequest struct {
	Book  string `json:"book"`
	Limit int    `json:"limit,string,omitzero"`
}

func TestAListTakesItsRequestFromTheQuery(t *testing.T) {
	f := newFixture()
	h := web.Get(f.edge, "list", func(_ context.Context, _ caller.Caller, r listRequest) (listRequest, error) { return r, nil })
	for _, row := range []struct {
		query  string
		status int
		body   string
	}{
		{"book=b%201&limit=7", 200, `{"book":"b 1","limit":"7"}`},
		{"", 200, `{"book":""}`},
		{"book=a&book=b", 400, ""},
		{"books=a", 400, ""},
		{"limit=many", 400, ""},
		{"book=%ff", 400, ""},
		{"%ff=1&%ff=2", 400, ""},
		{"book=%zz", 400, ""},
		{"book=" + strings.Repeat("b", 5000), 400, ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/list", nil)
		r.URL.RawQuery = row.query
		r.Header.Set("Authorization", "Bearer good")
		w := serve(h, r)
		if w.Code != row.status || row.body != "" && w.Body.String() != row.body {
			t.Errorf("%.40q: %d %s", row.query, w.Code, w.Body)
		}
		if row.status == 400 && object(t, w.Body.Bytes())["code"] != "invalid_request" {
			t.Errorf("%.40q: %s", row.query, w.Body)
		}
	}
}

func TestOnlyConfiguredOriginsMayCallFromOtherPages(t *testing.T) {
	for _, row := range []struct {
		origin      string
		credentials bool
		allowed     bool
	}{
		{"https://portal.example", false, true},
		{"https://portal.example", true, true},
		{"https://portal.example.evil.example", false, false},
		{"http://portal.example", true, false},
		{"null", true, false},
	} {
		f := newFixture()
		f.edge.Credentials = row.credentials
		h := web.Post(f.edge, "link", echo)
		pre := httptest.NewRequest(http.MethodOptions, "/link", nil)
		pre.Header.Set("Origin", row.origin)
		pre.Header.Set("Access-Control-Request-Method", "POST")
		real := post(`{}`)
		real.Header.Set("Origin", row.origin)
		for _, r := range []*http.Request{pre, real} {
			w := serve(h, r)
			got := w.Header().Get("Access-Control-Allow-Origin")
			if (got == row.origin) != row.allowed || !row.allowed && got != "" || w.Header().Get("Vary") != "Origin" {
				t.Errorf("%s from %s: %v", r.Method, row.origin, w.Header())
			}
			if cookies := w.Header().Get("Access-Control-Allow-Credentials") == "true"; cookies != (row.allowed && row.credentials) {
				t.Errorf("%s from %s: credentials %v", r.Method, row.origin, cookies)
			}
			if allowed := w.Header().Get("Access-Control-Allow-Headers"); r == pre && (allowed != "") != row.allowed {
				t.Errorf("preflight from %s: headers %q", row.origin, allowed)
			}
		}
	}
}

func FuzzAnyBodyIsDoneOrRefused(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"book":"b"}`, `{"book":7}`, `{"extra":{"a":[1,2,{"b":null}]}}`, `{"labels":{"a":"b","a":"c"}}`,
		`{"count":1e400}`, "{\"book\":\"\xc3\"}", `[[[[`, `{"extra":`, `{"a":1}{"b":2}`,
	} {
		f.Add([]byte(seed))
	}
	fix := newFixture()
	fix.edge.Log = slog.New(slog.DiscardHandler)
	h := web.Post(fix.edge, "link", echo)
	f.Fuzz(func(t *testing.T, body []byte) {
		w := serve(h, post(string(body)))
		if w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if !json.Valid(w.Body.Bytes()) || w.Body.Len() > len(body)+1024 {
			t.Errorf("answer of %d bytes to %d: %s", w.Body.Len(), len(body), w.Body)
		}
	})
}

func TestTheLineOfAPushBelongsToTheTraceOfWhoeverPublished(t *testing.T) {
	f := newFixture()
	var handled logs.Trace
	h := web.Push(f.edge, "poster", func(ctx context.Context, _ events.Delivery) error {
		handled, _ = logs.TraceOf(ctx)
		return nil
	})
	const sender = "4bf92f3577b34da6a3ce929d0e0e4736"
	r := post(`{"message":{"data":"eyJjb25uZWN0aW9uIjoiYyJ9","messageId":"7","attributes":{"traceparent":"00-` + sender + `-00f067aa0ba902b7-01"}}}`)
	r.Header.Set("traceparent", "00-0000000000000000000000000000000a-00f067aa0ba902b8-01") // of the broker's request
	if w := serve(h, r); w.Code != http.StatusNoContent {
		t.Fatalf("answer %d %s", w.Code, w.Body)
	}
	if got := object(t, f.log.Bytes())["logging.googleapis.com/trace"]; got != "projects/p/traces/"+sender || handled.ID != sender {
		t.Errorf("the line is of %v, the work of %+v", got, handled)
	}
}
