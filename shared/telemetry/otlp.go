package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

// sending bounds one try to send, and interval is the time between two where nobody flushes.
const (
	sending  = 5 * time.Second
	interval = time.Minute
)

// scopeOfGoogle is what Google's Telemetry API asks for
// (https://docs.cloud.google.com/stackdriver/docs/reference/telemetry/v1.metrics.post).
const scopeOfGoogle = "https://www.googleapis.com/auth/cloud-platform"

// OTLP sends over HTTP to an endpoint without a path, such as a collector's http://localhost:4318, or Google's own
// https://telemetry.googleapis.com with the credentials of the environment. Nothing is sent before there is something.
func OTLP(ctx context.Context, endpoint string) (Sinks, error) {
	at, err := url.Parse(strings.TrimSuffix(endpoint, "/"))
	if err != nil || at.Host == "" {
		return Sinks{}, fmt.Errorf("telemetry: %q is not an endpoint", endpoint)
	}
	client := &http.Client{Timeout: sending}
	if at.Scheme == "https" && strings.HasSuffix(at.Hostname(), ".googleapis.com") {
		client.Transport = &oauth2.Transport{Source: oauth2.ReuseTokenSource(nil, credentials{})}
	}
	spans, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(at.JoinPath("v1/traces").String()), otlptracehttp.WithHTTPClient(client))
	if err != nil {
		return Sinks{}, fmt.Errorf("telemetry: %w", err)
	}
	numbers, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(at.JoinPath("v1/metrics").String()), otlpmetrichttp.WithHTTPClient(client))
	if err != nil {
		return Sinks{}, fmt.Errorf("telemetry: %w", err)
	}
	return Sinks{
		Spans:   sdktrace.NewBatchSpanProcessor(spans, sdktrace.WithExportTimeout(2*sending)),
		Numbers: sdkmetric.NewPeriodicReader(numbers, sdkmetric.WithInterval(interval), sdkmetric.WithTimeout(2*sending)),
	}, nil
}

// credentials finds those of the environment when they are first needed.
type credentials struct{}

// Token implements oauth2.TokenSource.
func (credentials) Token() (*oauth2.Token, error) {
	source, err := google.DefaultTokenSource(context.Background(), scopeOfGoogle)
	if err != nil {
		return nil, fmt.Errorf("credentials for telemetry: %w", err)
	}
	token, err := source.Token()
	if err != nil {
		return nil, fmt.Errorf("token for telemetry: %w", err)
	}
	return token, nil
}
