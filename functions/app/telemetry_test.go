package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/telemetry"
)

// watched is what the functions gave to a viewer of spans and numbers.
type watched struct {
	spans   *tracetest.InMemoryExporter
	numbers *metric.ManualReader
}

// observer makes the telemetry of a world.
func (w *world) observer() *telemetry.Telemetry {
	w.watched = watched{tracetest.NewInMemoryExporter(), metric.NewManualReader()}
	t, err := telemetry.New(w.t.Context(), telemetry.Options{Project: "demo"},
		telemetry.Sinks{Spans: sdktrace.NewSimpleSpanProcessor(w.watched.spans), Numbers: w.watched.numbers})
	w.must(err)
	return t
}

// shown is all that a viewer was given, as texts.
func (w *world) shown() []statement {
	w.t.Helper()
	var said []statement
	for _, span := range w.watched.spans.GetSpans() {
		text, err := json.Marshal(span)
		w.must(err)
		said = append(said, statement{where: "the span " + span.Name, text: string(text)})
	}
	var numbers bytes.Buffer
	for point := range w.points() {
		numbers.WriteString(point + "\n")
	}
	return append(said, statement{where: "the numbers", text: numbers.String()})
}

// points are the numbers by name and labels, such as "portal_webhooks_total outcome=taken provider=p"; of a histogram how
// many were counted.
func (w *world) points() map[string]float64 {
	w.t.Helper()
	var all metricdata.ResourceMetrics
	w.must(w.watched.numbers.Collect(context.Background(), &all))
	found := map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			point := func(labels attribute.Set, value float64) {
				found[strings.Join(append([]string{m.Name}, texts(labels)...), " ")] += value
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					point(p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					point(p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					point(p.Attributes, float64(p.Count))
				}
			default:
				w.t.Errorf("%s is a %T", m.Name, data)
			}
		}
	}
	return found
}

func texts(labels attribute.Set) (pairs []string) {
	for _, l := range labels.ToSlice() {
		pairs = append(pairs, string(l.Key)+"="+l.Value.String())
	}
	return pairs
}

// spans are those of a name, the oldest first.
func (w *world) spans(name string) (some []tracetest.SpanStub) {
	for _, s := range w.watched.spans.GetSpans() {
		if s.Name == name {
			some = append(some, s)
		}
	}
	return some
}

// below reports whether a span lies below another in its trace.
func (w *world) below(s tracetest.SpanStub, above trace.SpanContext) bool {
	byID := map[trace.SpanID]tracetest.SpanStub{}
	for _, other := range w.watched.spans.GetSpans() {
		byID[other.SpanContext.SpanID()] = other
	}
	for known := true; known; s, known = byID[s.Parent.SpanID()] {
		if s.Parent.SpanID() == above.SpanID() && s.SpanContext.TraceID() == above.TraceID() {
			return true
		}
	}
	return false
}

func TestOneTraceLeadsFromTheBanksWebhookToTheDraft(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Traced")
	b := w.bank("Traced Bank", checking(row(3, "1", "OLD")))
	w.client.linked(b, book)
	w.watched.spans.Reset()
	b.add(row(0, "2", "NEW"))
	w.settle()
	w.hasRecords(book, day(3)+" 1 ins_traced_bank>? OLD", day(0)+" 2 ins_traced_bank>? NEW")

	steps := []struct {
		name string
		role trace.SpanKind
	}{
		{"publish rings", telemetry.Producer},
		{"handle poster", telemetry.Consumer},
		{"POST /sandbox/plaid/transactions/sync", telemetry.Client},
		{"POST /sandbox/bkper/v5/books/*/transactions/batch", telemetry.Client},
	}
	// Of several webhooks one rings when nobody is reading, and so begins to.
	hooks := w.spans("webhook webhook")
	whole := slices.IndexFunc(hooks, func(hook tracetest.SpanStub) bool {
		for _, step := range steps {
			if !slices.ContainsFunc(w.spans(step.name), func(s tracetest.SpanStub) bool {
				return s.SpanKind == step.role && w.below(s, hook.SpanContext)
			}) {
				return false
			}
		}
		return true
	})
	if whole < 0 {
		for _, hook := range hooks {
			t.Log("a webhook's trace: ", w.names(hook.SpanContext.TraceID()))
		}
		t.Fatalf("no webhook's trace has all of %v", steps)
	}
	hook := hooks[whole].SpanContext
	if !slices.ContainsFunc(w.spans("handle poster"), func(s tracetest.SpanStub) bool {
		return slices.Contains(s.Attributes, attribute.String("provider", "plaid"))
	}) {
		t.Error("no span has what the request's line notes")
	}
	for _, s := range w.spans("handle poster") {
		if len(s.Links) != 1 || s.Links[0].SpanContext.TraceID() == s.SpanContext.TraceID() {
			t.Errorf("the handling of a message is not linked with the request that brought it: %+v", s.Links)
		}
	}
	for _, function := range []string{"webhook", "poster"} {
		if !w.heard.line(`"function":"`+function+`"`, hook.TraceID().String()) {
			t.Errorf("no request line of %s is of the trace %s", function, hook.TraceID())
		}
	}
}

// names are those of the spans of a trace.
func (w *world) names(id trace.TraceID) (names []string) {
	for _, s := range w.watched.spans.GetSpans() {
		if s.SpanContext.TraceID() == id {
			names = append(names, s.Name)
		}
	}
	return names
}

// line reports whether a line of the log has all of the texts.
func (h *heard) line(texts ...string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for line := range strings.Lines(h.logs.String()) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			return true
		}
	}
	return false
}

func TestTheNumbersTellWhatTheAlertsAskFor(t *testing.T) {
	w := newWorld(t)
	b := w.bank("Counted Bank", checking(row(3, "1", "ONE")))
	c, _ := w.client.linked(b, w.newBook("Counted"))
	forged, err := http.Post(w.url+"/webhook/plaid", "application/json", strings.NewReader(`{}`))
	w.must(err)
	forged.Body.Close()
	if forged.StatusCode != http.StatusUnauthorized {
		t.Fatalf("a forged webhook: %s", forged.Status)
	}
	past := time.Now().Add(-5 * time.Minute)
	w.must(w.store.Update(t.Context(), func(tx store.Tx) error {
		e, err := posting.Load(tx, c.ID)
		if err != nil {
			return err
		}
		conn, err := store.Connections.Load(tx, c.ID)
		if err != nil {
			return err
		}
		other, lost := *conn, *e
		other.ID, lost.Connection, other.State, other.ConsentExpires = "other", "other", bank.NeedsUser, time.Now().AddDate(0, 0, 3)
		e.Due, lost.Due, lost.Failures = past, time.Time{}, 3
		if err := store.Connections.Put(tx, &other); err != nil {
			return err
		}
		if err := posting.Engines.Put(tx, e); err != nil {
			return err
		}
		return posting.Engines.Put(tx, &lost)
	}))
	w.schedule()
	points := w.points()
	for point, atLeast := range map[string]float64{
		"portal_webhooks_total outcome=forged provider=plaid":                                  1,
		"portal_webhooks_total outcome=taken provider=plaid":                                   1,
		"portal_requests_total code= function=link route=link status=200":                      1,
		"portal_requests_total code=unauthenticated function=webhook route=webhook status=401": 1,
		"portal_events_total function=poster outcome=done":                                     1,
		"portal_event_age_seconds function=poster":                                             1,
		"portal_syncs_total code= outcome=done provider=plaid":                                 1,
		"portal_sync_lag_seconds":                                                              300,
		"portal_sync_rung sort=connections":                                                    1,
		"portal_connections_trouble reason=needs_user":                                         1,
		"portal_connections_trouble reason=failing":                                            1,
		"portal_consents_expiring":                                                             1,
	} {
		if points[point] < atLeast {
			t.Errorf("%s is %v, want %v at least", point, points[point], atLeast)
		}
	}
	if points["portal_connections_trouble reason=needs_user"] != 1 || points["portal_consents_expiring"] != 1 {
		t.Errorf("connections are counted twice: %v", points)
	}
	calls := 0
	for point := range points {
		if strings.HasPrefix(point, telemetry.Calls+" ") {
			calls++
		}
		if name, labels, _ := strings.Cut(point, " "); len(strings.Fields(labels)) != len(labelsOf(t, name)) {
			t.Errorf("%s has not the labels %v", point, labelsOf(t, name))
		}
	}
	if calls == 0 {
		t.Error("no call outside is counted")
	}
	w.settle()
}

func labelsOf(t *testing.T, name string) []string {
	t.Helper()
	i := slices.IndexFunc(telemetry.Metrics, func(m telemetry.Metric) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("%s is not in the table of metrics", name)
	}
	return telemetry.Metrics[i].Labels
}

func TestTheSearchFindsATokenInASpanAndInANumber(t *testing.T) {
	w := newWorld(t)
	token := w.client.token
	_, span := w.observer().Start(t.Context(), telemetry.Client, "planted", "answer", "x"+token)
	span.End("")
	if len(leaks(w.shown(), map[string]string{token: "access_token"})) == 0 {
		t.Error("a token in a span is not found")
	}
	w.observer().Add(t.Context(), telemetry.Syncs, 1, "p", "done", token)
	if len(leaks(w.shown(), map[string]string{token: "access_token"})) == 0 {
		t.Error("a token in a number is not found")
	}
	w.observer() // the plants must not be found at the end
}
