package telemetry

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Transport gives a span and a time for every call through it, until the answer begins. Of the URL it tells the host and
// the shape of the path: ids, and what may be more than an id, never leave. Where telemetry is off it is next itself.
func (t *Telemetry) Transport(next http.RoundTripper) http.RoundTripper {
	if t == nil {
		return next
	}
	return &transport{t, next}
}

type transport struct {
	telemetry *Telemetry
	next      http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	host, operation := r.URL.Hostname(), shape(r.URL.Path)
	ctx, span := c.telemetry.Start(r.Context(), Client, r.Method+" "+operation,
		"http.request.method", r.Method, "server.address", host, "url.template", operation)
	began := time.Now()
	answer, err := c.next.RoundTrip(r.WithContext(ctx))
	status, code := "0", ""
	if err != nil {
		code = "no_answer"
	} else {
		if status = strconv.Itoa(answer.StatusCode); answer.StatusCode >= http.StatusBadRequest {
			code = status
		}
		span.Set("http.response.status_code", status)
	}
	span.End(code)
	c.telemetry.Add(ctx, Calls, time.Since(began).Seconds(), host, operation, status)
	return answer, err
}

// word is a part of a path that a programmer wrote; the longest that is called has 24 letters. Ids and tokens have digits,
// capitals or more letters.
var word = regexp.MustCompile(`^(v\d{1,2}|oauth2|[a-z_]{1,24})$`)

// shape is a path with a * for everything that is no word, and at most eight parts.
func shape(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i, p := range parts {
		if p != "" && !word.MatchString(p) {
			parts[i] = "*"
		}
	}
	return "/" + strings.Join(parts[:min(len(parts), 8)], "/")
}

const (
	fresh    = 30 * time.Second // within which nothing is sent again
	flushing = 2 * time.Second  // at most, of a request's time
)

// Flushing sends what there is at the end of a request, twice a minute at most. It is for what machines call where a process
// has a processor only while it answers, as on Cloud Run: what is left to a timer would wait for the next request.
func (t *Telemetry) Flushing(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer t.flushWhereDue(r.Context())
		next.ServeHTTP(w, r)
	})
}

func (t *Telemetry) flushWhereDue(ctx context.Context) {
	last := t.flushed.Load()
	now := time.Now()
	if now.Sub(time.Unix(0, last)) < fresh || !t.flushed.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushing)
	defer cancel()
	_ = t.Flush(ctx) // OpenTelemetry's error handler has heard of it
}
