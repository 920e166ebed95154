// Package telemetry gives spans and numbers to whoever watches the functions, in OpenTelemetry's protocol. It is off unless
// it is told where to send them. What it is given must never hold a token, a text of a bank or an amount: names, codes and
// ids of ours only.
package telemetry

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/bkper/automations-portal/shared/logs"
)

// Options say who speaks.
type Options struct {
	Function string // the function that is served; empty where one process serves all
	Version  string // of what is deployed; may be empty
	Project  string // Google Cloud project; may be empty
}

// Sinks are where spans and numbers go: OTLP, Lines, or a test's own.
type Sinks struct {
	Spans   sdktrace.SpanProcessor
	Numbers sdkmetric.Reader
}

// Telemetry gives spans and numbers. nil is off: every method of it does nothing and costs nothing. It is safe for
// concurrent use.
type Telemetry struct {
	tracer      trace.Tracer
	traces      *sdktrace.TracerProvider
	meters      *sdkmetric.MeterProvider
	instruments map[string]instrument
	flushed     atomic.Int64 // when, in Unix nanoseconds
}

// instrument is one metric; of its three one is set.
type instrument struct {
	labels    []string
	counter   metric.Int64Counter
	gauge     metric.Float64Gauge
	histogram metric.Float64Histogram
}

const scope = "github.com/bkper/automations-portal"

// limits bound what one span may hold: what is larger is no name, code or id.
var limits = sdktrace.SpanLimits{
	AttributeValueLengthLimit: 256, AttributeCountLimit: 32, EventCountLimit: 8, LinkCountLimit: 8,
	AttributePerEventCountLimit: 8, AttributePerLinkCountLimit: 8,
}

// seconds are the bounds of histograms: from a quick call to a back-fill.
var seconds = []float64{0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 300, 3600, 21600}

// New begins to give spans and numbers to the sinks. Attributes of the process, such as its region, are taken from
// OTEL_RESOURCE_ATTRIBUTES, and the sampler from OTEL_TRACES_SAMPLER: by default what the caller decided, else every
// trace.
func New(ctx context.Context, o Options, s Sinks) (*Telemetry, error) {
	about, err := resource.New(ctx, resource.WithAttributes(o.attributes()...), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	t := &Telemetry{
		traces:      sdktrace.NewTracerProvider(sdktrace.WithResource(about), sdktrace.WithSpanProcessor(s.Spans), sdktrace.WithRawSpanLimits(limits)),
		meters:      sdkmetric.NewMeterProvider(sdkmetric.WithResource(about), sdkmetric.WithReader(s.Numbers)),
		instruments: map[string]instrument{},
	}
	t.tracer = t.traces.Tracer(scope)
	t.flushed.Store(time.Now().UnixNano())
	meter := t.meters.Meter(scope)
	for _, m := range Metrics {
		if t.instruments[m.Name], err = m.instrument(meter); err != nil {
			return nil, errors.Join(fmt.Errorf("telemetry: %w", err), t.Close(ctx))
		}
	}
	return t, nil
}

// attributes name the process. Google's Telemetry API wants to know the project, and tells processes apart by the instance.
func (o Options) attributes() []attribute.KeyValue {
	all := []attribute.KeyValue{
		attribute.String("service.namespace", "automations-portal"),
		attribute.String("service.name", cmp.Or(o.Function, "all")),
		attribute.String("service.instance.id", rand.Text()),
	}
	for key, value := range map[string]string{"service.version": o.Version, "gcp.project_id": o.Project} {
		if value != "" {
			all = append(all, attribute.String(key, value))
		}
	}
	return all
}

func (m Metric) instrument(meter metric.Meter) (i instrument, err error) {
	i.labels = m.Labels
	switch m.Kind {
	case Counter:
		i.counter, err = meter.Int64Counter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Says))
	case Gauge:
		i.gauge, err = meter.Float64Gauge(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Says))
	case Histogram:
		i.histogram, err = meter.Float64Histogram(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Says),
			metric.WithExplicitBucketBoundaries(seconds...))
	}
	if err != nil {
		return i, fmt.Errorf("metric %s: %w", m.Name, err)
	}
	return i, nil
}

// Everywhere lets libraries that speak OpenTelemetry, such as Google's clients, give their spans here too. It is for
// programs, whose spans have one destination.
func (t *Telemetry) Everywhere(failed func(error)) {
	if t == nil {
		return
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(failed))
	otel.SetTracerProvider(t.traces)
}

// Add counts one to a Counter, adds a value to a Histogram, or sets a Gauge. The labels are the values of the metric's
// labels, in their order.
func (t *Telemetry) Add(ctx context.Context, name string, value float64, labels ...string) {
	if t == nil {
		return
	}
	i := t.instruments[name]
	values := make([]attribute.KeyValue, 0, len(i.labels))
	for n, key := range i.labels {
		if n < len(labels) {
			values = append(values, attribute.String(key, labels[n]))
		}
	}
	set := metric.WithAttributeSet(attribute.NewSet(values...))
	switch {
	case i.counter != nil:
		i.counter.Add(ctx, int64(value), set)
	case i.gauge != nil:
		i.gauge.Record(ctx, value, set)
	case i.histogram != nil:
		i.histogram.Record(ctx, value, set)
	}
}

// Role says on which side of a call or a message a span is.
type Role = trace.SpanKind

// The roles.
const (
	Server   = trace.SpanKindServer
	Client   = trace.SpanKindClient
	Producer = trace.SpanKindProducer
	Consumer = trace.SpanKindConsumer
)

// Span is a piece of work that has begun; nil, where telemetry is off, does nothing.
type Span struct{ span trace.Span }

// Start begins a span in the trace of the context: below its span, or else below what the caller's request or message
// named. The context that it returns carries it on, to log lines and messages too. Pairs are keys and values.
func (t *Telemetry) Start(ctx context.Context, role Role, name string, pairs ...string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	return t.start(ctx, name, trace.WithSpanKind(role), trace.WithAttributes(attributes(pairs)...))
}

// Continue begins the span of whoever handles a message, in the trace of its sender, with a link to the request that
// brought it: the broker made that one, in a trace of its own.
func (t *Telemetry) Continue(ctx context.Context, sender logs.Trace, name string, pairs ...string) (context.Context, *Span) {
	if t == nil || sender.ID == "" {
		return t.Start(ctx, Consumer, name, pairs...)
	}
	request := trace.LinkFromContext(ctx)
	ctx = logs.WithTrace(trace.ContextWithSpan(ctx, nil), sender)
	return t.start(ctx, name, trace.WithSpanKind(Consumer), trace.WithAttributes(attributes(pairs)...), trace.WithLinks(request))
}

func (t *Telemetry) start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, *Span) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		if parent, known := logs.TraceOf(ctx); known {
			ctx = trace.ContextWithRemoteSpanContext(ctx, contextOf(parent))
		}
	}
	ctx, span := t.tracer.Start(ctx, name, options...)
	c := span.SpanContext()
	return logs.WithTrace(ctx, logs.Trace{ID: c.TraceID().String(), Span: c.SpanID().String(), Sampled: c.IsSampled()}), &Span{span}
}

// contextOf is the parent that a trace names; one without a span is none.
func contextOf(t logs.Trace) trace.SpanContext {
	id, noID := trace.TraceIDFromHex(t.ID)
	span, noSpan := trace.SpanIDFromHex(t.Span)
	if noID != nil || noSpan != nil {
		return trace.SpanContext{}
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: trace.TraceFlags(0).WithSampled(t.Sampled), Remote: true})
}

func attributes(pairs []string) []attribute.KeyValue {
	all := make([]attribute.KeyValue, 0, len(pairs)/2)
	for n := 0; n+1 < len(pairs); n += 2 {
		all = append(all, attribute.String(pairs[n], pairs[n+1]))
	}
	return all
}

// Set adds keys and values.
func (s *Span) Set(pairs ...string) {
	if s != nil {
		s.span.SetAttributes(attributes(pairs)...)
	}
}

// End ends the span; a code says that it failed, and with what. Errors themselves are for the log: their texts are longer,
// and come from others.
func (s *Span) End(code string) {
	if s == nil {
		return
	}
	if code != "" {
		s.span.SetStatus(codes.Error, code)
	}
	s.span.End()
}

// Flush sends what there is.
func (t *Telemetry) Flush(ctx context.Context) error {
	if t == nil {
		return nil
	}
	t.flushed.Store(time.Now().UnixNano())
	return errors.Join(t.traces.ForceFlush(ctx), t.meters.ForceFlush(ctx))
}

// Close sends what there is and ends.
func (t *Telemetry) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return errors.Join(t.traces.Shutdown(ctx), t.meters.Shutdown(ctx))
}
