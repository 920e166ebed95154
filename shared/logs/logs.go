// Package logs writes log lines that Cloud Logging understands, or that a person reads at a terminal. A request's trace
// travels in its context, so that every line about it can be found together.
package logs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"strings"
)

// Options say where the lines are read.
type Options struct {
	Project string     // Google Cloud project id; Cloud Logging links a trace only when its project is named
	Level   slog.Level // the least that is written
}

// NewJSON returns a handler that writes one JSON object a line with the field names that Cloud Logging reads: severity,
// message, time and logging.googleapis.com/trace (https://cloud.google.com/logging/docs/structured-logging).
func NewJSON(w io.Writer, o Options) slog.Handler {
	base := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: o.Level, ReplaceAttr: cloudNames})
	return &handler{base: base, scoped: base, trace: func(t Trace) []slog.Attr { return t.cloud(o.Project) }}
}

// NewText returns a handler for terminals: one line of key=value pairs each.
func NewText(w io.Writer, o Options) slog.Handler {
	base := slog.NewTextHandler(w, &slog.HandlerOptions{Level: o.Level})
	return &handler{base: base, scoped: base, trace: func(t Trace) []slog.Attr {
		return []slog.Attr{slog.String("trace", t.ID)}
	}}
}

func cloudNames(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.MessageKey:
		a.Key = "message"
	case slog.LevelKey:
		level, ok := a.Value.Any().(slog.Level)
		if !ok {
			return a
		}
		return slog.String("severity", severity(level))
	}
	return a
}

func severity(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "ERROR"
	case l >= slog.LevelWarn:
		return "WARNING"
	case l >= slog.LevelInfo:
		return "INFO"
	}
	return "DEBUG"
}

// handler adds the context's trace. Cloud Logging reads the trace at the top of an object only, so the groups that a
// logger opened are put on again after it.
type handler struct {
	base   slog.Handler
	scoped slog.Handler                      // base with every scope
	scopes []func(slog.Handler) slog.Handler // WithAttrs and WithGroup, in order
	trace  func(Trace) []slog.Attr
}

func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.base.Enabled(ctx, l) }

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	t, ok := TraceOf(ctx)
	if !ok {
		return h.scoped.Handle(ctx, r)
	}
	traced := h.base.WithAttrs(h.trace(t))
	for _, scope := range h.scopes {
		traced = scope(traced)
	}
	return traced.Handle(ctx, r)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(in slog.Handler) slog.Handler { return in.WithAttrs(attrs) })
}

func (h *handler) WithGroup(name string) slog.Handler {
	return h.with(func(in slog.Handler) slog.Handler { return in.WithGroup(name) })
}

func (h *handler) with(scope func(slog.Handler) slog.Handler) slog.Handler {
	scopes := append(h.scopes[:len(h.scopes):len(h.scopes)], scope)
	return &handler{base: h.base, scoped: scope(h.scoped), scopes: scopes, trace: h.trace}
}

// Trace names one request through all services.
type Trace struct {
	ID      string // 32 hexadecimal digits
	Span    string // 16 hexadecimal digits; "" where not known
	Sampled bool
}

func (t Trace) cloud(project string) []slog.Attr {
	id := t.ID
	if project != "" {
		id = "projects/" + project + "/traces/" + t.ID
	}
	attrs := []slog.Attr{slog.String("logging.googleapis.com/trace", id)}
	if t.Span != "" {
		attrs = append(attrs, slog.String("logging.googleapis.com/spanId", t.Span))
	}
	if t.Sampled {
		attrs = append(attrs, slog.Bool("logging.googleapis.com/trace_sampled", true))
	}
	return attrs
}

type traceKey struct{}

// WithTrace returns a context whose log lines carry t.
func WithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf returns the trace that WithTrace put into the context.
func TraceOf(ctx context.Context) (Trace, bool) {
	t, ok := ctx.Value(traceKey{}).(Trace)
	return t, ok
}

// ParseTrace reads the trace that the caller or Google's front end gave a request: the header traceparent
// (https://www.w3.org/TR/trace-context/) or else the older X-Cloud-Trace-Context. It reports false where neither is
// there and well formed.
func ParseTrace(h http.Header) (Trace, bool) {
	if t, ok := ParseParent(h.Get(ParentName)); ok {
		return t, true
	}
	// TRACE_ID/SPAN_ID;o=1, with a decimal span that Cloud Logging cannot join to a hexadecimal one.
	id, rest, _ := strings.Cut(h.Get("X-Cloud-Trace-Context"), "/")
	if !isHex(id, 32) {
		return Trace{}, false
	}
	return Trace{ID: id, Sampled: strings.HasSuffix(rest, ";o=1")}, true
}

// ParentName is the name of the header, and of the attribute of messages, that carries a trace on.
const ParentName = "traceparent"

// ParseParent reads the value of ParentName, in the form of https://www.w3.org/TR/trace-context/. It reports false where it
// is not well formed.
func ParseParent(value string) (Trace, bool) {
	parts := strings.Split(value, "-")
	if len(parts) < 4 || len(parts[0]) != 2 || !isHex(parts[1], 32) || !isHex(parts[2], 16) || !isHex(parts[3], 2) {
		return Trace{}, false
	}
	return Trace{ID: parts[1], Span: parts[2], Sampled: strings.Contains("13579bdf", parts[3][1:])}, true
}

// Parent is the reverse of ParseParent; a trace whose span is not known gets one made up, since the form wants one.
func (t Trace) Parent() string {
	span, flags := t.Span, "00"
	if span == "" {
		var made [8]byte
		rand.Read(made[:])
		span = hex.EncodeToString(made[:])
	}
	if t.Sampled {
		flags = "01"
	}
	return "00-" + t.ID + "-" + span + "-" + flags
}

func isHex(s string, digits int) bool {
	if len(s) != digits || s != strings.ToLower(s) || strings.Trim(s, "0") == "" && digits > 2 {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}
