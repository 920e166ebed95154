// Package web is the HTTP edge of every function: one decoder, one table from errors to answers, one log line a request.
package web

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/logs"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/telemetry"
)

const (
	// MaxBody is the number of bytes that an action takes.
	MaxBody = 64 << 10

	maxToken = 4 << 10
	maxNotes = 16
)

// Verifier tells whose token it is; caller.ErrUnauthenticated and caller.ErrUnavailable are its refusals.
type Verifier interface {
	Verify(ctx context.Context, token secret.String) (caller.Caller, error)
}

// Edge is what the handlers of one function share.
type Edge struct {
	Function    string        // in every log line
	Who         Verifier      // may be nil where no handler asks for a caller
	Log         *slog.Logger  // default slog.Default()
	Origins     []string      // pages of other origins that may call, such as https://portal.example; exact
	Credentials bool          // whether those pages may send cookies; no action needs them
	Timeout     time.Duration // of a request, default a minute
	Telemetry   *telemetry.Telemetry
}

// Handle makes a handler of do: it answers to the methods alone, guards against panics, sets security headers, writes
// do's error as a problem and one log line. route names it in the log, where paths would bring ids in. do must return an
// error only before it has written anything; later ones break the connection off. Without methods do is asked whatever the
// method is.
func (e *Edge) Handle(route string, do func(http.ResponseWriter, *http.Request) error, methods ...string) http.Handler {
	return &handler{edge: e, route: route, do: do, methods: methods}
}

// Nothing makes a handler of the paths that a function does not have, for its mux's pattern "/": the mux's own answer is no
// problem, and is not logged.
func (e *Edge) Nothing() http.Handler {
	return e.Handle("nothing", func(http.ResponseWriter, *http.Request) error {
		return NotFound("There is nothing here; see /openapi.json.")
	})
}

type handler struct {
	edge    *Edge
	route   string
	do      func(http.ResponseWriter, *http.Request) error
	methods []string
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	client := r.Context()
	trace, ok := logs.ParseTrace(r.Header)
	if !ok {
		trace = newTrace()
	}
	line := &line{start: time.Now()}
	ctx, span := h.edge.Telemetry.Start(logs.WithTrace(client, trace), telemetry.Server, h.edge.Function+" "+h.route,
		"http.request.method", method(r), "http.route", h.route)
	trace, _ = logs.TraceOf(ctx)
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, lineKey{}, line), cmp.Or(h.edge.Timeout, time.Minute))
	defer cancel()
	out := &writer{ResponseWriter: w}
	setSecurity(out.Header())
	h.allowOrigin(out.Header(), r)

	err := h.guarded(out, r.WithContext(ctx))
	if err == nil {
		h.tell(ctx, r, line, span, cmp.Or(out.status, http.StatusOK), nil)
		return
	}
	p := problemOf(client, err)
	h.tell(ctx, r, line, span, p.Status, p)
	if out.status != 0 {
		// The answer has begun; only a broken connection tells the client that it is not whole.
		panic(http.ErrAbortHandler)
	}
	if p.Status == statusGone {
		out.WriteHeader(statusGone) // net/http would say 200, should somebody listen after all
		return
	}
	p.write(out, trace.ID)
}

// tell says how a request ended, to the log, in its span and in numbers.
func (h *handler) tell(ctx context.Context, r *http.Request, l *line, span *telemetry.Span, status int, p *Problem) {
	h.log(ctx, r, l, status, p)
	code, failed := "", ""
	if p != nil {
		code = p.Code
	}
	if status >= http.StatusInternalServerError {
		failed = code
	}
	shown := strconv.Itoa(status)
	if span != nil {
		span.Set(append(l.pairs(), "http.response.status_code", shown)...)
	}
	span.End(failed)
	h.edge.Telemetry.Add(ctx, telemetry.Requests, 1, h.edge.Function, h.route, shown, code)
}

func newTrace() logs.Trace {
	var id [16]byte
	rand.Read(id[:])
	return logs.Trace{ID: hex.EncodeToString(id[:])}
}

func setSecurity(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Strict-Transport-Security", "max-age=31536000") // over http browsers do not heed it
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
}

func (h *handler) allowOrigin(head http.Header, r *http.Request) {
	if len(h.edge.Origins) == 0 {
		return
	}
	head.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !slices.Contains(h.edge.Origins, origin) {
		return
	}
	head.Set("Access-Control-Allow-Origin", origin)
	head.Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate")
	if h.edge.Credentials {
		head.Set("Access-Control-Allow-Credentials", "true")
	}
}

// guarded runs do. What a panic carries may hold a token, so only its type and its place are kept.
func (h *handler) guarded(w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic of %T at %s", v, place())
		}
	}()
	switch {
	case len(h.methods) == 0:
		return h.do(w, r)
	case r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "":
		h.preflight(w)
		return nil
	case !slices.Contains(h.methods, r.Method):
		w.Header().Set("Allow", strings.Join(h.methods, ", "))
		return &Problem{
			Status: http.StatusMethodNotAllowed, Code: "method_not_allowed",
			Detail: "Use " + strings.Join(h.methods, " or ") + " here.",
		}
	}
	return h.do(w, r)
}

func (h *handler) preflight(w http.ResponseWriter) {
	if w.Header().Get("Access-Control-Allow-Origin") != "" {
		w.Header().Set("Access-Control-Allow-Methods", strings.Join(h.methods, ", "))
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		w.Header().Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
}

// place finds the function that panicked, below the runtime's own frames.
func place() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	panicking := false
	for {
		f, more := frames.Next()
		if panicking && !strings.HasPrefix(f.Function, "runtime.") {
			return f.Function + ":" + strconv.Itoa(f.Line)
		}
		panicking = panicking || f.Function == "runtime.gopanic"
		if !more {
			return "unknown"
		}
	}
}

// line collects what the log line of a request says.
type line struct {
	start  time.Time
	mu     sync.Mutex
	caller string
	sender logs.Trace // of the message that the request brought
	notes  []slog.Attr
}

type lineKey struct{}

// Note adds attributes to the log line of the request, such as the connection it is about: ids, never names, amounts or
// tokens. A request takes sixteen.
func Note(ctx context.Context, attrs ...slog.Attr) {
	if l, ok := ctx.Value(lineKey{}).(*line); ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.notes = append(l.notes, attrs[:min(len(attrs), maxNotes-len(l.notes))]...)
	}
}

// pairs are the notes so far, for spans.
func (l *line) pairs() (pairs []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.notes {
		pairs = append(pairs, n.Key, n.Value.String())
	}
	return pairs
}

func (h *handler) log(ctx context.Context, r *http.Request, l *line, status int, p *Problem) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sender.ID != "" {
		ctx = logs.WithTrace(ctx, l.sender)
	}
	attrs := []slog.Attr{
		slog.String("function", h.edge.Function),
		slog.String("route", h.route),
		slog.String("method", method(r)),
		slog.Int("status", status),
		slog.Int64("ms", time.Since(l.start).Milliseconds()),
	}
	if l.caller != "" {
		attrs = append(attrs, slog.String("caller", l.caller))
	}
	if p != nil {
		attrs = append(attrs, slog.String("code", p.Code))
		if p.cause != nil {
			attrs = append(attrs, slog.String("error", p.cause.Error()))
		}
	}
	cmp.Or(h.edge.Log, slog.Default()).LogAttrs(ctx, level(status), "request", append(attrs, l.notes...)...)
}

// method keeps what a caller may make up out of the log.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

func level(status int) slog.Level {
	switch {
	case status == http.StatusServiceUnavailable:
		return slog.LevelWarn
	case status >= http.StatusInternalServerError:
		return slog.LevelError
	}
	return slog.LevelInfo
}

// writer remembers whether an answer has begun.
type writer struct {
	http.ResponseWriter
	status int
}

func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	w.status = cmp.Or(w.status, http.StatusOK)
	return w.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController what lies below.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Caller verifies the bearer token of a request. The error is a refusal that Handle knows how to answer.
func (e *Edge) Caller(w http.ResponseWriter, r *http.Request) (caller.Caller, error) {
	token, ok := bearer(r)
	if !ok {
		return caller.Caller{}, Unauthenticated()
	}
	who, err := e.Who.Verify(r.Context(), token)
	if errors.Is(err, caller.ErrUnauthenticated) {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	if err != nil {
		return caller.Caller{}, err
	}
	if l, ok := r.Context().Value(lineKey{}).(*line); ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.caller = who.Hash()
	}
	return who, nil
}

// Machine is Caller for what Pub/Sub and the schedule call, where nobody can sign in.
func (e *Edge) Machine(w http.ResponseWriter, r *http.Request) error {
	_, err := e.Caller(w, r)
	var p *Problem
	if errors.Is(err, caller.ErrUnauthenticated) || errors.As(err, &p) && p.Status == http.StatusUnauthorized {
		p = Unauthenticated().Because(err)
		p.Detail = "Send the ID token of the service account that calls here, made for this URL."
		return p
	}
	return err
}

// bearer takes one header of RFC 6750's form.
func bearer(r *http.Request) (secret.String, bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return secret.String{}, false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken || strings.ContainsFunc(token, notToken) {
		return secret.String{}, false
	}
	return secret.New(token), true
}

func notToken(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._~+/=", r))
}

// Body reads a body of at most limit bytes; a longer one is refused as a whole. One that comes drop by drop keeps its place no
// longer than the request may take.
func Body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if until, bounded := r.Context().Deadline(); bounded && r.Body != http.NoBody {
		_ = http.NewResponseController(w).SetReadDeadline(until) // what cannot do that has no slow bodies
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return data, nil
	case errors.As(err, &tooLarge):
		return nil, tooLarge
	}
	return nil, Invalid("", "Send the whole body.").Because(err)
}
