package remove_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/functions/remove"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	storemem "github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/web"
)

type people struct{}

func (people) Verify(_ context.Context, token secret.String) (caller.Caller, error) {
	return caller.Caller{Sub: token.Reveal(), Token: token}, nil
}

// overtaken is a store in which something happens before each transaction.
type overtaken struct {
	store.Store
	before func()
}

func (o overtaken) Update(ctx context.Context, do func(store.Tx) error) error {
	o.before()
	return o.Store.Update(ctx, do)
}

func TestTheOwnerOfAFormerConnectionDoesNotRemoveWhatAnotherFeedsByNow(t *testing.T) {
	s := storemem.New()
	put := func(connection string) {
		i := &bank.Integration{ID: "i", Book: "b", Connection: connection, From: civil.Date{Year: 2026, Month: 1, Day: 1}, State: bank.Live}
		if err := s.Update(t.Context(), func(tx store.Tx) error { return store.Integrations.Put(tx, i) }); err != nil {
			t.Fatal(err)
		}
	}
	conn := &bank.Connection{ID: "anas", Owner: "ana", State: bank.Active}
	if err := s.Update(t.Context(), func(tx store.Tx) error { return store.Connections.Put(tx, conn) }); err != nil {
		t.Fatal(err)
	}
	put("anas")
	h := (&remove.Remove{
		Store: overtaken{s, func() { put("bobs") }}, Edge: &web.Edge{Who: people{}, Log: slog.New(slog.DiscardHandler)}, Now: time.Now,
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}).Handler()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(`{"integration":"i"}`))
	r.Header.Set("Authorization", "Bearer ana")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if i, err := store.Integrations.Get(t.Context(), s, "i"); w.Code != http.StatusNotFound || err != nil || i.State != bank.Live {
		t.Errorf("%d %s; %+v, %v", w.Code, w.Body, i, err)
	}
}
