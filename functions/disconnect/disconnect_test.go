package disconnect_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bkper/automations-portal/functions/disconnect"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	storemem "github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/vault"
	vaultmem "github.com/bkper/automations-portal/shared/vault/memory"
	"github.com/bkper/automations-portal/shared/web"
)

// slow is a bank at which something happens while it revokes.
type slow struct{ meanwhile func() }

func (s slow) Remove(context.Context, secret.String) error {
	s.meanwhile()
	return nil
}

type people struct{}

func (people) Verify(_ context.Context, token secret.String) (caller.Caller, error) {
	return caller.Caller{Sub: token.Reveal(), Token: token}, nil
}

func TestADisconnectionThatWasOvertakenLeavesTheNewItemAlone(t *testing.T) {
	s, tokens, name := storemem.New(), new(vaultmem.Vault), vault.ConnectionToken("c")
	stand := func(item string, state bank.ConnectionState) {
		conn := &bank.Connection{ID: "c", Owner: "ana", Provider: "p", Item: item, State: state}
		if err := errors.Join(
			s.Update(t.Context(), func(tx store.Tx) error { return store.Connections.Put(tx, conn) }),
			tokens.Put(t.Context(), name, secret.New("token of "+item)),
		); err != nil {
			t.Fatal(err)
		}
	}
	for _, state := range []bank.ConnectionState{bank.Active, bank.Removing} {
		t.Run(string(state), func(t *testing.T) {
			stand("first", bank.Active)
			// Another try ends, the person connects anew, and may disconnect that too.
			bank := slow{func() { stand("second", state) }}
			h := (&disconnect.Disconnect{
				Store: s, Vault: tokens, Banks: map[string]disconnect.Remover{"p": bank}, Edge: &web.Edge{Who: people{}, Log: slog.New(slog.DiscardHandler)},
				Pushes: &web.Edge{Who: people{}}, Now: time.Now, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
			}).Handler()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(`{"connection":"c"}`))
			r.Header.Set("Authorization", "Bearer ana")
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			token, err := tokens.Get(t.Context(), name)
			if w.Code != http.StatusOK || err != nil || !token.Equal("token of second") {
				t.Errorf("%d %s; the token of the new item: %v", w.Code, w.Body, err)
			}
			if conn, err := store.Connections.Get(t.Context(), s, "c"); err != nil || conn.Item != "second" || conn.State != state {
				t.Errorf("%+v, %v", conn, err)
			}
		})
	}
}
