package web

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/bkper/automations-portal/shared/events"
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
			return Invalid("", "This is not a push of this project's messages.").Because(err)
		}
		Note(r.Context(), slog.String("event", d.ID), slog.Int("attempt", d.Attempt))
		if err := do(r.Context(), d); err != nil {
			return Unavailable(0).Because(fmt.Errorf("event %s: %w", d.ID, err))
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}, http.MethodPost)
}
