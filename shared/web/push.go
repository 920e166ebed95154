package web

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/logs"
	"github.com/bkper/automations-portal/shared/telemetry"
)

// MaxPush is the number of bytes that a push request may have.
const MaxPush = 256 << 10

// Push makes a handler of what a Pub/Sub push subscription sends: e.Who verifies the ID token of its service account. No
// error acknowledges the event; an error brings it again, and in the end to the dead letters, where an operator can read
// it. So does a message that nobody can read.
func Push(e *Edge, route string, do func(context.Context, events.Delivery) error) http.Handler {
	return e.Handle(route, func(w http.ResponseWriter, r *http.Request) error {
		if err := e.Machine(w, r); err != nil {
			return err
		}
		body, err := Body(w, r, MaxPush)
		if err != nil {
			return err
		}
		d, err := events.Decode(body)
		if err != nil {
			e.Telemetry.Add(r.Context(), telemetry.Events, 1, e.Function, "malformed")
			return Invalid("", "This is not a push of this project's messages.").Because(err)
		}
		Note(r.Context(), slog.String("event", d.ID), slog.Int("attempt", d.Attempt))
		if err := e.handle(r.Context(), route, d, do); err != nil {
			return Unavailable(0).Because(fmt.Errorf("event %s: %w", d.ID, err))
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}, http.MethodPost)
}

// handle does what a message asks in the trace of whoever sent it, so that all lines about it are found together.
func (e *Edge) handle(ctx context.Context, route string, d events.Delivery, do func(context.Context, events.Delivery) error) error {
	if d.Trace.ID != "" {
		ctx = logs.WithTrace(ctx, d.Trace)
	}
	ctx, span := e.Telemetry.Continue(ctx, d.Trace, "handle "+route, "messaging.message.id", d.ID, "messaging.attempt", strconv.Itoa(d.Attempt))
	l, ok := ctx.Value(lineKey{}).(*line)
	if ok && d.Trace.ID != "" {
		l.mu.Lock()
		l.sender, _ = logs.TraceOf(ctx)
		l.mu.Unlock()
	}
	outcome, failed := "done", ""
	err := do(ctx, d)
	if err != nil {
		outcome, failed = "refused", "refused"
	}
	if ok && span != nil {
		span.Set(l.pairs()...)
	}
	span.End(failed)
	e.Telemetry.Add(ctx, telemetry.Events, 1, e.Function, outcome)
	if !d.Published.IsZero() {
		e.Telemetry.Add(ctx, telemetry.EventAge, max(0, time.Since(d.Published).Seconds()), e.Function)
	}
	return err
}
