package sqlite_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/events/eventstest"
	"github.com/bkper/automations-portal/shared/events/sqlite"
)

// running is a queue whose Run runs.
type running struct {
	*sqlite.Queue
	cancel context.CancelFunc
	ended  chan struct{}
}

func start(ctx context.Context, path string, c sqlite.Config) (*running, error) {
	q, err := sqlite.Open(ctx, path, c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &running{q, cancel, make(chan struct{})}
	go func() {
		defer close(r.ended)
		q.Run(ctx)
	}()
	return r, nil
}

// kill ends it as a killed process would: the file is closed first, so nothing more is written down.
func (r *running) kill() {
	r.Close()
	r.cancel()
	<-r.ended
}

func config(e *eventstest.Endpoint) sqlite.Config {
	return sqlite.Config{
		Targets:    map[events.Topic]string{events.Rings: "http://portal.test/rings", events.Sessions: "http://portal.test/sessions"},
		Token:      e.Token,
		Transport:  e.Transport(),
		MinBackoff: time.Second, MaxBackoff: 10 * time.Second, MaxAttempts: 5, Concurrency: 4,
		Log: slog.New(slog.DiscardHandler),
	}
}

func TestTheEmbeddedQueuePassesTheSuite(t *testing.T) {
	eventstest.RunInBubble(t, func(ctx context.Context, e *eventstest.Endpoint) (*eventstest.Harness, error) {
		path, c := filepath.Join(t.TempDir(), "portal.db"), config(e)
		q, err := start(ctx, path, c)
		if err != nil {
			return nil, err
		}
		h := &eventstest.Harness{
			Close:    func() { q.kill() },
			Attempts: c.MaxAttempts, Concurrency: c.Concurrency, MinBackoff: c.MinBackoff, Quiet: 30 * time.Second,
		}
		use := func() { h.Publisher, h.DeadLetters, h.Replay, h.Cut = q, q.DeadLetters, q.Replay, q.Close }
		h.Kill = func() (err error) {
			q.kill()
			q, err = start(ctx, path, c)
			use()
			return err
		}
		use()
		return h, nil
	})
}
