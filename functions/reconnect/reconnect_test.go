package reconnect_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bkper/automations-portal/functions/reconnect"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/store"
	storemem "github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/vault"
	vaultmem "github.com/bkper/automations-portal/shared/vault/memory"
	"github.com/bkper/automations-portal/shared/web"
)

// leaving is a bank whose item cannot be repaired, and at which something happens while it is removed.
type leaving struct {
	bank.Provider
	meanwhile func()
}

func (leaving) Item(context.Context, secret.String) (bank.Item, error) { return bank.Item{}, nil }

func (leaving) Begin(_ context.Context, b bank.Begin) (bank.Begun, error) {
	if !b.Token.Empty() {
		return bank.Begun{}, &bank.Error{Kind: bank.Permanent, Code: "GONE", Err: bank.ErrGone}
	}
	return bank.Begun{Handle: secret.New("handle"), URL: "https://bank.example"}, nil
}

func (l leaving) Remove(context.Context, secret.String) error {
	l.meanwhile()
	return nil
}

type people struct{}

func (people) Verify(_ context.Context, token secret.String) (caller.Caller, error) {
	return caller.Caller{Sub: token.Reveal(), Token: token}, nil
}

func TestTheTokenThatAnotherWindowRestoredStays(t *testing.T) {
	s, tokens, name := storemem.New(), new(vaultmem.Vault), vault.ConnectionToken("c")
	stand := func(item string) {
		conn := &bank.Connection{ID: "c", Owner: "ana", Provider: "p", Item: item, State: bank.Active}
		if err := errors.Join(
			s.Update(t.Context(), func(tx store.Tx) error { return store.Connections.Put(tx, conn) }),
			tokens.Put(t.Context(), name, secret.New("token of "+item)),
		); err != nil {
			t.Fatal(err)
		}
	}
	stand("first")
	banks := map[string]bank.Provider{"p": leaving{meanwhile: func() { stand("second") }}}
	h := (&reconnect.Reconnect{
		Store: s, Vault: tokens, Banks: banks, Edge: &web.Edge{Who: people{}, Log: slog.New(slog.DiscardHandler)}, Now: time.Now,
		Start: &session.Starter{Store: s, Vault: tokens, Banks: banks, Webhook: func(string) string { return "" }, Now: time.Now},
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
	if conn, err := store.Connections.Get(t.Context(), s, "c"); err != nil || conn.Item != "second" || conn.State != bank.Active {
		t.Errorf("%+v, %v", conn, err)
	}
}
