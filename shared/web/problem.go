package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
)

// Problem is an answer that is not a success, as RFC 9457 writes it. Everything in it is shown to the caller; the cause
// is for the log alone.
type Problem struct {
	Status int    // HTTP status
	Code   string // stable, for programs
	Detail string // a sentence that tells a person what to do next

	URL        string        // where the person must go, such as a consent
	Connection string        // the Connection that it is about
	Field      string        // JSON pointer to the member at fault
	After      time.Duration // when the same call may pass; rounded up to seconds

	cause error
}

// Because returns the problem with a cause, which is logged and never shown.
func (p *Problem) Because(err error) *Problem {
	own := *p
	own.cause = err
	return &own
}

// Error says status, code and cause.
func (p *Problem) Error() string {
	if p.cause == nil {
		return fmt.Sprintf("%d %s", p.Status, p.Code)
	}
	return fmt.Sprintf("%d %s: %v", p.Status, p.Code, p.cause)
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.cause }

// Unauthenticated: 401. The person must sign in, or the page must get a fresh access token.
func Unauthenticated() *Problem {
	return &Problem{
		Status: http.StatusUnauthorized, Code: "unauthenticated",
		Detail: "Sign in again: the access token is missing, expired or not made for this application.",
	}
}

// Forbidden: 403. detail says who may do it instead.
func Forbidden(detail string) *Problem {
	return &Problem{Status: http.StatusForbidden, Code: "forbidden", Detail: detail}
}

// NotFound: 404, also for what belongs to somebody else, so that nobody learns what exists.
func NotFound(detail string) *Problem {
	return &Problem{Status: http.StatusNotFound, Code: "not_found", Detail: detail}
}

// Conflict: 409. What stands already stands in the way; code tells which case it is.
func Conflict(code, detail string) *Problem {
	return &Problem{Status: http.StatusConflict, Code: code, Detail: detail}
}

// Invalid: 400. The request cannot be read; field is a JSON pointer, or "" where it is not about one member.
func Invalid(field, detail string) *Problem {
	return &Problem{Status: http.StatusBadRequest, Code: "invalid_request", Detail: detail, Field: field}
}

// Unprocessable: 422. The request can be read and cannot be done; code tells which case it is.
func Unprocessable(code, field, detail string) *Problem {
	return &Problem{Status: http.StatusUnprocessableEntity, Code: code, Detail: detail, Field: field}
}

// Unavailable: 503. The same call may pass after that time; zero means a few seconds.
func Unavailable(after time.Duration) *Problem {
	return &Problem{
		Status: http.StatusServiceUnavailable, Code: "unavailable", After: cmp.Or(max(after, 0), 5*time.Second),
		Detail: "A service that this depends on does not answer. Try again in a moment; nothing is lost.",
	}
}

func internal() *Problem {
	return &Problem{
		Status: http.StatusInternalServerError, Code: "internal",
		Detail: "Something went wrong on our side. Try again; if it stays, send us the trace of this answer.",
	}
}

const maxField = 256

// statusGone is what the log says of a client that did not wait; nobody reads the answer.
const statusGone = 499

// problemOf is the one table from errors to answers. What it does not know is a fault of ours and says nothing.
func problemOf(client context.Context, err error) *Problem {
	var p *Problem
	var outside *bank.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(client.Err(), context.Canceled):
		return (&Problem{Status: statusGone, Code: "client_gone"}).Because(err)
	case errors.As(err, &p) && p.Status >= http.StatusBadRequest:
		if err == error(p) { //nolint:errorlint // the very one: what is wrapped has more to say
			return p
		}
		return p.Because(err)
	case errors.Is(err, caller.ErrUnauthenticated):
		return Unauthenticated().Because(err)
	case errors.Is(err, caller.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return Unavailable(0).Because(err)
	case errors.As(err, &outside) && (outside.Kind == bank.Retry || outside.Kind == bank.RetryAfter):
		return Unavailable(outside.After).Because(err)
	case errors.As(err, &tooLarge):
		return Invalid("", fmt.Sprintf("Send a body of at most %d bytes.", tooLarge.Limit)).Because(err)
	}
	return internal().Because(err)
}

// body is the wire form.
type body struct {
	Type       string `json:"type"`
	Title      string `json:"title"`
	Status     int    `json:"status"`
	Detail     string `json:"detail"`
	Code       string `json:"code"`
	URL        string `json:"url,omitzero"`
	Connection string `json:"connection,omitzero"`
	Field      string `json:"field,omitzero"`
	Seconds    int    `json:"seconds,omitzero"`
	Trace      string `json:"trace,omitzero"`
}

// shown makes a text that the caller made up fit to be sent back.
func shown(field string) string {
	return strings.ToValidUTF8(field[:min(len(field), maxField)], "")
}

func (p *Problem) write(w http.ResponseWriter, trace string) {
	seconds := int((p.After + time.Second - 1) / time.Second)
	// RFC 9457 §4.2.1: without a type of its own a problem's title is that of its status.
	text, err := json.Marshal(body{
		Type: "about:blank", Title: http.StatusText(p.Status), Status: p.Status, Detail: p.Detail, Code: p.Code,
		URL: p.URL, Connection: p.Connection, Field: shown(p.Field), Seconds: seconds, Trace: trace,
	})
	if err != nil {
		text = []byte(`{"type":"about:blank","code":"internal"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if seconds > 0 {
		h.Set("Retry-After", strconv.Itoa(seconds))
	}
	if p.Status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(p.Status)
	w.Write(text)
}
