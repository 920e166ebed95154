// Package webhook takes what banks' providers call: it verifies that they sent it, publishes a doorbell, and answers 200
// only once Pub/Sub has it. It reads no store and holds no token.
package webhook

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/telemetry"
	"github.com/bkper/automations-portal/shared/web"
)

// Timeout is that of the Edge: the least patient provider waits five seconds for an answer.
const Timeout = 4 * time.Second

// maxBody is far above what providers send.
const maxBody = 1 << 20

// Webhook serves the function.
type Webhook struct {
	Banks     map[string]bank.Doorbell
	Events    events.Publisher
	Edge      *web.Edge
	Telemetry *telemetry.Telemetry
}

// Handler serves /{provider} below the function's root.
func (h *Webhook) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/{provider}", h.Edge.Handle("webhook", h.take, http.MethodPost))
	mux.Handle("/", h.Edge.Nothing())
	return mux
}

func (h *Webhook) take(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("provider")
	doorbell, known := h.Banks[name]
	if !known {
		return web.NotFound("No provider of bank data calls here.")
	}
	web.Note(r.Context(), slog.String("provider", name))
	body, err := web.Body(w, r, maxBody)
	if err != nil {
		return err
	}
	outcome := "unkept"
	defer func() { h.Telemetry.Add(r.Context(), telemetry.Webhooks, 1, name, outcome) }()
	notices, err := doorbell.Verify(r.Context(), r.Header, body)
	switch {
	case errors.Is(err, bank.ErrForged):
		outcome = "forged"
		p := web.Unauthenticated().Because(err)
		p.Detail = "Prove that the provider has sent this: its proof is missing, wrong, too old, or of another body."
		return p
	case errors.Is(err, bank.ErrMalformed):
		outcome = "malformed"
		return web.Invalid("", "This is not a webhook of the provider.").Because(err)
	case err != nil: // the provider calls again
		outcome = "unverified"
		return web.Unavailable(0).Because(fmt.Errorf("verify: %w", err))
	}
	for _, n := range notices {
		topic, m := events.Rings, events.Message{Provider: name, Item: n.Item, Deep: n.Deep, Opened: n.Opened}
		if n.Session != "" {
			topic, m = events.Sessions, events.Message{Session: n.Session, Item: n.Item}
		}
		if err := h.Events.Publish(r.Context(), topic, m); err != nil {
			return web.Unavailable(0).Because(fmt.Errorf("publish: %w", err))
		}
	}
	outcome = "taken"
	w.WriteHeader(http.StatusOK)
	return nil
}
