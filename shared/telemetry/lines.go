package telemetry

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Lines writes for people at a terminal: a line for each span when it ends, and at the end one for each number.
func Lines(w io.Writer) Sinks {
	l := &lines{out: w}
	return Sinks{
		Spans:   sdktrace.NewSimpleSpanProcessor(l),
		Numbers: sdkmetric.NewPeriodicReader(numberLines{l}, sdkmetric.WithInterval(365*24*time.Hour)),
	}
}

type lines struct {
	mu  sync.Mutex
	out io.Writer
}

func (l *lines) print(format string, args ...any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := fmt.Fprintf(l.out, format+"\n", args...); err != nil {
		return fmt.Errorf("print telemetry: %w", err)
	}
	return nil
}

// ExportSpans implements sdktrace.SpanExporter.
func (l *lines) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	for _, s := range spans {
		failed := ""
		if s.Status().Description != "" {
			failed = " FAILED " + s.Status().Description
		}
		parent := "-"
		if s.Parent().IsValid() {
			parent = s.Parent().SpanID().String()
		}
		err := l.print("span %s %s<%s %8.1fms %-8s %s%s%s", s.SpanContext().TraceID(), s.SpanContext().SpanID(), parent,
			float64(s.EndTime().Sub(s.StartTime()).Microseconds())/1000, s.SpanKind(), s.Name(), pairsOf(s.Attributes()), failed)
		if err != nil {
			return err
		}
	}
	return nil
}

func pairsOf(all []attribute.KeyValue) string {
	var b strings.Builder
	for _, a := range all {
		fmt.Fprintf(&b, " %s=%s", a.Key, a.Value.String())
	}
	return b.String()
}

// Shutdown implements sdktrace.SpanExporter.
func (l *lines) Shutdown(context.Context) error { return nil }

// numberLines writes the numbers.
type numberLines struct{ *lines }

// Temporality implements sdkmetric.Exporter.
func (numberLines) Temporality(sdkmetric.InstrumentKind) metricdata.Temporality {
	return metricdata.CumulativeTemporality
}

// Aggregation implements sdkmetric.Exporter.
func (numberLines) Aggregation(k sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	return sdkmetric.DefaultAggregationSelector(k)
}

// ForceFlush implements sdkmetric.Exporter.
func (numberLines) ForceFlush(context.Context) error { return nil }

// Export implements sdkmetric.Exporter.
func (n numberLines) Export(_ context.Context, all *metricdata.ResourceMetrics) error {
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if err := n.export(m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n numberLines) export(m metricdata.Metrics) error {
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			if err := n.print("number %s%s %d", m.Name, pairsOf(p.Attributes.ToSlice()), p.Value); err != nil {
				return err
			}
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			if err := n.print("number %s%s %g", m.Name, pairsOf(p.Attributes.ToSlice()), p.Value); err != nil {
				return err
			}
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			if err := n.print("number %s%s %d times, %.3f s in all", m.Name, pairsOf(p.Attributes.ToSlice()), p.Count, p.Sum); err != nil {
				return err
			}
		}
	}
	return nil
}
