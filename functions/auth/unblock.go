package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/web"
)

const (
	// What lies beyond is tried again when its own time has come.
	maxUnblocked = 1000
	atOnce       = 8
	unblockTime  = 15 * time.Second
)

// unblock lets the Books go on that could not take rows as this person, most often because the grant did not work. It
// runs at every sign-in, so that one which was cut short is made up for; and it fails no sign-in, for the person can do
// nothing about it and each integration is tried again in its own time.
func (s *site) unblock(ctx context.Context, sub string) {
	ctx, cancel := context.WithTimeout(ctx, unblockTime)
	defer cancel()
	waiting, err := s.waiting(ctx, sub)
	g := new(errgroup.Group) // without a context of its own: what fails must not stop the others
	g.SetLimit(atOnce)
	for connection, ids := range waiting {
		g.Go(func() error { return s.resume(ctx, sub, connection, ids) })
	}
	if err := errors.Join(err, g.Wait()); err != nil {
		web.Note(ctx, slog.String("not_resumed", err.Error()))
	}
}

// waiting finds the integrations of each connection that are not to be tried yet.
func (s *site) waiting(ctx context.Context, sub string) (map[string][]string, error) {
	blocked, err := store.Integrations.Find(ctx, s.Store, store.Query{Field: store.ByBlocked, Any: []string{sub}, Limit: maxUnblocked})
	if err != nil {
		return nil, fmt.Errorf("find blocked integrations: %w", err)
	}
	waiting := map[string][]string{}
	for _, i := range blocked {
		if !i.Until.IsZero() {
			waiting[i.Connection] = append(waiting[i.Connection], i.ID)
		}
	}
	return waiting, nil
}

func (s *site) resume(ctx context.Context, sub, connection string, ids []string) error {
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		is, err := store.Integrations.LoadAll(tx, ids...)
		if err != nil {
			return err
		}
		engine, err := posting.Load(tx, connection)
		if err != nil {
			return err
		}
		engine.Mark(s.Now())
		for _, i := range is {
			if i == nil || i.State != bank.Live || i.As != sub || i.Connection != connection {
				continue
			}
			i.Until = time.Time{}
			if err := store.Integrations.Put(tx, i); err != nil {
				return err
			}
		}
		return posting.Engines.Put(tx, engine)
	})
	if err != nil {
		return fmt.Errorf("resume a connection: %w", err)
	}
	if err := s.Events.Publish(ctx, events.Rings, events.Message{Connection: connection}); err != nil {
		// The engine is due, so sync rings within a minute.
		web.Note(ctx, slog.String("not_rung", connection))
	}
	return nil
}
