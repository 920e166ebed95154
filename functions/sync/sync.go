// Package sync is the schedule: it rings for every Connection that is due and for what was cut short (sessions at the bank,
// disconnections), so that a lost webhook or a crash delays and never loses. It does none of the work itself.
package sync

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/telemetry"
	"github.com/bkper/automations-portal/shared/web"
)

// perRun bounds what one run rings for, of each sort; the next run, a minute later, goes on.
const perRun = 1000

// Sync serves the function.
type Sync struct {
	Store     Store
	Events    events.Publisher
	Pushes    *web.Edge // verifies the schedule
	Now       func() time.Time
	Telemetry *telemetry.Telemetry
	Log       *slog.Logger
}

// Store is the part of the store that the schedule needs.
type Store interface {
	store.Reader
	Count(ctx context.Context, q store.Query) (int, error)
}

// Handler takes the schedule's POST at the function's root.
func (s *Sync) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/{$}", s.Pushes.Handle("sync", s.sync, http.MethodPost))
	mux.Handle("/", s.Pushes.Nothing())
	return mux
}

// Rung counts what was rung for.
type Rung struct {
	Connections    int `json:"connections"`
	Sessions       int `json:"sessions"`
	Disconnections int `json:"disconnections"`
}

func (s *Sync) sync(w http.ResponseWriter, r *http.Request) error {
	if err := s.Pushes.Machine(w, r); err != nil {
		return err
	}
	rung, err := s.ring(r.Context())
	if err != nil {
		return web.Unavailable(0).Because(err)
	}
	if s.Telemetry != nil {
		s.census(r.Context())
	}
	return web.JSON(w, http.StatusOK, rung)
}

func (s *Sync) ring(ctx context.Context) (rung Rung, err error) {
	now := s.Now()
	engines, err := posting.Rings(ctx, s.Store, now, perRun)
	if err != nil {
		return rung, fmt.Errorf("connections that are due: %w", err)
	}
	sessions, err := store.Sessions.Find(ctx, s.Store, store.Query{Due: now, Limit: perRun})
	if err != nil {
		return rung, fmt.Errorf("sessions that are due: %w", err)
	}
	removing, err := store.Connections.Find(ctx, s.Store, store.Query{Due: now.Add(-time.Minute), Limit: perRun})
	if err != nil {
		return rung, fmt.Errorf("disconnections that are due: %w", err)
	}
	removing = slices.DeleteFunc(removing, func(c *bank.Connection) bool { return rests(now.Sub(c.Updated)) })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(32)
	publish := func(topic events.Topic, m events.Message) {
		g.Go(func() error { return s.Events.Publish(ctx, topic, m) })
	}
	for _, e := range engines {
		publish(events.Rings, events.Message{Connection: e.Connection})
	}
	for _, o := range sessions {
		publish(events.Sessions, events.Message{Session: o.Ref})
	}
	for _, c := range removing {
		publish(events.Disconnects, events.Message{Connection: c.ID})
	}
	rung = Rung{len(engines), len(sessions), len(removing)}
	s.tell(ctx, rung, engines, now)
	return rung, g.Wait()
}

// rests reports whether a disconnection of that age is left alone by this run: what could not be ended for an hour, since its
// bank refuses, is tried once an hour. Each try that fails is a message that Pub/Sub brings again for hours, and a dead letter.
func rests(age time.Duration) bool {
	return age > time.Hour && age%time.Hour > 2*time.Minute
}

// tell gives the numbers of a run.
func (s *Sync) tell(ctx context.Context, rung Rung, engines []*posting.Engine, now time.Time) {
	lag := 0.0
	if len(engines) > 0 {
		lag = now.Sub(engines[0].Due).Seconds()
	}
	s.Telemetry.Add(ctx, telemetry.SyncLag, lag)
	s.Telemetry.Add(ctx, telemetry.SyncRung, float64(rung.Connections), "connections")
	s.Telemetry.Add(ctx, telemetry.SyncRung, float64(rung.Sessions), "sessions")
	s.Telemetry.Add(ctx, telemetry.SyncRung, float64(rung.Disconnections), "disconnections")
}

// ahead is how many days before its end a consent is counted as expiring.
const ahead = 14

// census counts the connections that somebody should know of. What cannot be counted now is counted in a minute.
func (s *Sync) census(ctx context.Context) {
	days := make([]string, 0, ahead+1)
	for day := range ahead + 1 {
		days = append(days, s.Now().UTC().AddDate(0, 0, day).Format(time.DateOnly))
	}
	for _, c := range []struct {
		kind, field string
		any         []string
		metric      string
		labels      []string
	}{
		{store.Connections.Name, store.ByTrouble, []string{store.NeedsUser}, telemetry.Trouble, []string{store.NeedsUser}},
		{posting.Engines.Name, store.ByTrouble, []string{store.Failing}, telemetry.Trouble, []string{store.Failing}},
		{store.Connections.Name, store.ByConsent, days, telemetry.Expiring, nil},
	} {
		n, err := s.Store.Count(ctx, store.Query{Kind: c.kind, Field: c.field, Any: c.any})
		if err != nil {
			s.Log.WarnContext(ctx, "could not be counted", "metric", c.metric, "err", err)
			continue
		}
		s.Telemetry.Add(ctx, c.metric, float64(n), c.labels...)
	}
}
