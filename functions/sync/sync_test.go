package sync_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	functionsync "github.com/bkper/automations-portal/functions/sync"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	storemem "github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/web"
)

type schedule struct{}

func (schedule) Verify(context.Context, secret.String) (caller.Caller, error) {
	return caller.Caller{Sub: "schedule"}, nil
}

// counted counts messages.
type counted struct{ disconnects int }

func (c *counted) Publish(_ context.Context, topic events.Topic, _ events.Message) error {
	if topic == events.Disconnects {
		c.disconnects++
	}
	return nil
}

func TestADisconnectionThatItsBankRefusesIsTriedEachMinuteAndLaterEachHour(t *testing.T) {
	s, rung := storemem.New(), new(counted)
	now := time.Date(2026, 1, 1, 0, 0, 30, 0, time.UTC)
	conn := &bank.Connection{ID: "c", Owner: "ana", Provider: "p", State: bank.Removing, Updated: now}
	if err := s.Update(t.Context(), func(tx store.Tx) error { return store.Connections.Put(tx, conn) }); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	h := (&functionsync.Sync{Store: s, Events: rung, Pushes: &web.Edge{Who: schedule{}, Log: log}, Now: func() time.Time { return now }, Log: log}).Handler()
	hours := func(n int) int {
		before := rung.disconnects
		for range n * 60 {
			now = now.Add(time.Minute)
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("{}"))
			r.Header.Set("Authorization", "Bearer token")
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, r); w.Code != http.StatusOK {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		return rung.disconnects - before
	}
	if n := hours(1); n < 55 {
		t.Errorf("rung for %d times in the first hour", n)
	}
	if n := hours(24); n < 24 || n > 3*24 {
		t.Errorf("rung for %d times in the day after", n)
	}
}
