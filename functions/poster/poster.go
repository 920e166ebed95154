// Package poster does what a doorbell asks: it syncs one Connection with its bank and records into its Books.
package poster

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/web"
)

// Poster serves the function.
type Poster struct {
	Posting *posting.Poster
	Pushes  *web.Edge // verifies the subscription of the rings topic
}

// Handler takes pushes at the function's root.
func (p *Poster) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/{$}", web.Push(p.Pushes, "poster", p.post))
	mux.Handle("/", p.Pushes.Nothing())
	return mux
}

func (p *Poster) post(ctx context.Context, d events.Delivery) error {
	if d.Connection == "" && d.Item == "" {
		return nil // nothing to do
	}
	web.Note(ctx, slog.String("connection", d.Connection), slog.String("provider", d.Provider))
	return p.Posting.Post(ctx, d.Message)
}
