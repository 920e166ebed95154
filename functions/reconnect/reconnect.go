// Package reconnect repairs a Connection whose bank asks its owner to sign in again, or restores one that was disconnected:
// the same Connection, with the same integrations. The session that it starts is completed by connect.
package reconnect

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/bkper/automations-portal/shared/access"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
	"github.com/bkper/automations-portal/shared/web"
)

// Vault is the part of the vault that reconnecting needs.
type Vault interface {
	vault.Reader
	Destroy(ctx context.Context, name string) error
}

// Reconnect serves the function.
type Reconnect struct {
	Store store.Store
	Vault Vault
	Banks map[string]bank.Provider
	Start *session.Starter
	Edge  *web.Edge
	Now   func() time.Time
}

// Handler serves the function.
func (f *Reconnect) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/{$}", web.Post(f.Edge, "reconnect", f.reconnect))
	mux.Handle("/", f.Edge.Nothing())
	return mux
}

// Request names the connection.
type Request struct {
	Connection string `json:"connection"`
	Language   string `json:"language,omitempty"`
}

func (f *Reconnect) reconnect(ctx context.Context, who caller.Caller, r Request) (session.Started, error) {
	var none session.Started
	conn, err := access.Own(ctx, f.Store, who, r.Connection)
	if err != nil {
		return none, err
	}
	if conn.State == bank.Removing {
		return none, web.Conflict("stopping", "This connection is being disconnected. Try again in two minutes.")
	}
	s := bank.Session{Provider: conn.Provider, Country: conn.Country, Purpose: bank.ToRepair, Connection: conn.ID}
	token, err := f.lives(ctx, conn)
	if err != nil {
		return none, err
	}
	if !token.Empty() {
		started, err := f.Start.Start(ctx, who, s, r.Language, token)
		switch {
		case err != nil && bank.KindOf(err) == bank.UserMustAct:
			return none, web.Conflict("sign_in_again",
				"The bank does not let this connection be repaired as it is. Disconnect it, then reconnect: its integrations are kept.").Because(err)
		case !errors.Is(err, bank.ErrGone):
			return started, err
		}
		if err := f.retire(ctx, conn, token); err != nil {
			return none, err
		}
	}
	s.Purpose = bank.ToRestore
	return f.Start.Start(ctx, who, s, r.Language, secret.String{})
}

// lives gives the token of an item that can be repaired; empty where only a new item can follow.
func (f *Reconnect) lives(ctx context.Context, conn *bank.Connection) (secret.String, error) {
	if conn.State == bank.Disconnected || conn.Item == "" {
		return secret.String{}, nil
	}
	token, err := f.Vault.Get(ctx, vault.ConnectionToken(conn.ID))
	if errors.Is(err, vault.ErrNotFound) { // given up by a try that was cut short
		return secret.String{}, f.retire(ctx, conn, token)
	}
	if err != nil {
		return token, err
	}
	provider, err := bank.Of(f.Banks, conn.Provider)
	if err != nil {
		return token, err
	}
	_, err = provider.Item(ctx, token)
	switch {
	case errors.Is(err, bank.ErrGone):
		return secret.String{}, f.retire(ctx, conn, token)
	case err != nil && bank.KindOf(err) == bank.UserMustAct: // which is what the person has come for
		return token, nil
	}
	return token, access.ExplainBank(err)
}

// retire gives up an item that the provider no longer has, so that a new one can take its place. The token goes first: a
// session that restores the connection must never find the old one.
func (f *Reconnect) retire(ctx context.Context, conn *bank.Connection, token secret.String) error {
	if !token.Empty() {
		if err := f.Banks[conn.Provider].Remove(ctx, token); err != nil {
			return access.ExplainBank(err)
		}
		// Meanwhile a session of another window may have restored the connection: that token must stay.
		name := vault.ConnectionToken(conn.ID)
		now, err := f.Vault.Get(ctx, name)
		if err == nil && now.Equal(token.Reveal()) {
			err = f.Vault.Destroy(ctx, name)
		}
		if err != nil && !errors.Is(err, vault.ErrNotFound) {
			return err
		}
	}
	return f.Store.Update(ctx, func(tx store.Tx) error {
		fresh, err := store.Connections.Load(tx, conn.ID)
		if err != nil {
			return err
		}
		e, err := posting.Load(tx, conn.ID)
		if err != nil {
			return err
		}
		if fresh.Item != conn.Item {
			return nil
		}
		e.Mark(time.Time{})
		fresh.Item, fresh.State, fresh.Updated = "", bank.Disconnected, f.Now()
		return errors.Join(store.Connections.Put(tx, fresh), posting.Engines.Put(tx, e))
	})
}
