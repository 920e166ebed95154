package telemetry

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/bkper/automations-portal/shared/logs"
)

// watch is telemetry whose spans a test reads.
func watch(t *testing.T) (*Telemetry, *tracetest.InMemoryExporter) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	all, err := New(t.Context(), Options{}, Sinks{sdktrace.NewSimpleSpanProcessor(spans), metric.NewManualReader()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = all.Close(context.Background()) }) // nothing is sent anywhere
	return all, spans
}

func TestWhereItIsOffNothingHappensAndNothingIsSpent(t *testing.T) {
	var off *Telemetry
	before := otel.GetTracerProvider()
	ctx := logs.WithTrace(t.Context(), logs.Trace{ID: "4bf92f3577b34da6a3ce929d0e0e4736"})
	spent := testing.AllocsPerRun(100, func() {
		inner, span := off.Start(ctx, Client, "name", "key", "value")
		span.Set("key", "value")
		span.End("code")
		off.Add(ctx, Syncs, 1, "p", "done", "")
		if inner != ctx {
			t.Error("the context is another one")
		}
	})
	if spent > 0 {
		t.Errorf("%v allocations", spent)
	}
	if inner, span := off.Continue(ctx, logs.Trace{ID: "a"}, "name"); inner != ctx || span != nil {
		t.Error("a span is continued")
	}
	if next := http.DefaultTransport; off.Transport(next) != next {
		t.Error("calls go through something")
	}
	if err := off.Flush(ctx); err != nil {
		t.Error(err)
	}
	if err := off.Close(ctx); err != nil {
		t.Error(err)
	}
	off.Everywhere(nil)
	if otel.GetTracerProvider() != before {
		t.Error("other libraries are listened to")
	}
}

func TestASpanLiesBelowWhatTheCallerNamed(t *testing.T) {
	all, spans := watch(t)
	caller := logs.Trace{ID: "4bf92f3577b34da6a3ce929d0e0e4736", Span: "00f067aa0ba902b7", Sampled: true}
	ctx, outer := all.Start(logs.WithTrace(t.Context(), caller), Server, "outer")
	line, _ := logs.TraceOf(ctx)
	_, inner := all.Start(ctx, Client, "inner")
	inner.End("")
	outer.End("503")
	got := spans.GetSpans()
	if got[1].Parent.SpanID().String() != caller.Span || got[1].SpanContext.TraceID().String() != caller.ID || !got[1].Parent.IsRemote() {
		t.Errorf("the outer span lies below %v", got[1].Parent)
	}
	if got[0].Parent.SpanID() != got[1].SpanContext.SpanID() {
		t.Error("the inner span does not lie below the outer one")
	}
	if line.ID != caller.ID || line.Span != got[1].SpanContext.SpanID().String() || !line.Sampled {
		t.Errorf("lines of the log are of %+v", line)
	}
	if got[1].Status.Description != "503" || got[0].Status.Description != "" {
		t.Errorf("the spans say %+v, %+v", got[1].Status, got[0].Status)
	}
}

func TestWhatTheCallerDoesNotWantIsNotTold(t *testing.T) {
	all, spans := watch(t)
	caller := logs.Trace{ID: "4bf92f3577b34da6a3ce929d0e0e4736", Span: "00f067aa0ba902b7"}
	ctx, span := all.Start(logs.WithTrace(t.Context(), caller), Server, "unsampled")
	span.End("")
	if line, _ := logs.TraceOf(ctx); line.ID != caller.ID || line.Sampled || len(spans.GetSpans()) > 0 {
		t.Errorf("%d spans, lines of %+v", len(spans.GetSpans()), line)
	}
}

func TestAPathIsToldWithoutWhatMayBeMoreThanAName(t *testing.T) {
	for path, want := range map[string]string{
		"/transactions/sync":                             "/transactions/sync",
		"/webhook_verification_key/get":                  "/webhook_verification_key/get",
		"/v5/books/agtzfmJrcGVyLWhyZHIOCxIGTGVkZ2VyGM/x": "/v5/books/*/x",
		"/oauth2/v3/certs":                               "/oauth2/v3/certs",
		"/access-sandbox-1234/a%20b":                     "/*/*",
		"/abcdefghijklmnopqrstuvwxy":                     "/*",
		"/":                                              "/",
		"":                                               "/",
		strings.Repeat("/a", 20):                         strings.Repeat("/a", 8),
	} {
		if got := shape(path); got != want {
			t.Errorf("%s is told as %s, want %s", path, got, want)
		}
	}
}

func TestACallOutsideKeepsItsQueryHeadersAndErrorToItself(t *testing.T) {
	all, spans := watch(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer server.Close()
	client := &http.Client{Transport: all.Transport(http.DefaultTransport)}
	for _, url := range []string{server.URL + "/a/tok3n?q=tok3n#tok3n", "http://tok3n@127.0.0.1:1/tok3n"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer tok3n")
		if answer, err := client.Do(r); err == nil {
			answer.Body.Close()
		}
	}
	got := spans.GetSpans()
	if len(got) != 2 || got[0].Name != "GET /a/*" || got[0].Status.Description != "418" || got[1].Status.Description != "no_answer" {
		t.Fatalf("spans %+v", got)
	}
	for _, s := range got {
		for _, a := range s.Attributes {
			if strings.Contains(a.Value.String(), "tok3n") {
				t.Errorf("%s: %s=%s", s.Name, a.Key, a.Value.String())
			}
		}
	}
}

func TestEverythingIsSentToTheEndpointAtTheEnd(t *testing.T) {
	var mu sync.Mutex
	sent := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			sent[r.URL.Path] += len(body)
		}
	}))
	defer server.Close()
	sinks, err := OTLP(t.Context(), server.URL+"/")
	if err != nil {
		t.Fatal(err)
	}
	all, err := New(t.Context(), Options{Function: "poster"}, sinks)
	if err != nil {
		t.Fatal(err)
	}
	_, span := all.Start(t.Context(), Server, "work")
	span.End("")
	all.Add(t.Context(), SyncLag, 7)
	if err := all.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(sent) != 2 || sent["/v1/traces"] == 0 || sent["/v1/metrics"] == 0 {
		t.Errorf("sent %v", sent)
	}
	if _, err := OTLP(t.Context(), "localhost:4318"); err == nil {
		t.Error("an endpoint without a scheme is taken")
	}
}

func TestAMachinesRequestSendsWhatThereIsTwiceAMinuteAtMost(t *testing.T) {
	all, _ := watch(t)
	h := all.Flushing(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	begun := all.flushed.Load()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil))
	if all.flushed.Load() != begun {
		t.Error("it is sent again at once")
	}
	all.flushed.Store(time.Now().Add(-fresh - time.Second).UnixNano())
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil))
	if time.Since(time.Unix(0, all.flushed.Load())) > fresh {
		t.Error("nothing is sent")
	}
}

func TestLinesAreForPeople(t *testing.T) {
	var out bytes.Buffer
	all, err := New(t.Context(), Options{}, Lines(&out))
	if err != nil {
		t.Fatal(err)
	}
	_, span := all.Start(t.Context(), Server, "webhook", "route", "webhook")
	span.End("unavailable")
	all.Add(t.Context(), Webhooks, 1, "p", "taken")
	all.Add(t.Context(), SyncLag, 2.5)
	all.Add(t.Context(), EventAge, 1, "poster")
	if err := all.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		" server   webhook route=webhook FAILED unavailable\n", "number portal_webhooks_total outcome=taken provider=p 1\n",
		"number portal_sync_lag_seconds 2.5\n", "number portal_event_age_seconds function=poster 1 times, 1.000 s in all\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

// TestNamesAreFitForGooglesEndpoint knows its rule (https://docs.cloud.google.com/stackdriver/docs/otlp-metrics/overview)
// and that of Prometheus, which has no dots.
func TestNamesAreFitForGooglesEndpoint(t *testing.T) {
	fit := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	var names []string
	for _, m := range Metrics {
		for _, name := range append([]string{m.Name}, m.Labels...) {
			if !fit.MatchString(name) {
				t.Errorf("%q is not fit", name)
			}
		}
		if slices.Contains(names, m.Name) || (m.Kind == Counter) != strings.HasSuffix(m.Name, "_total") || (m.Unit == "s") != strings.HasSuffix(m.Name, "_seconds") {
			t.Errorf("%s stands twice, or does not say what it is", m.Name)
		}
		names = append(names, m.Name)
	}
}
