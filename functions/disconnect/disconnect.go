// Package disconnect ends a Connection: it silences its Books, revokes the consent at the bank, and destroys the token, in
// that order. The Connection stays listed and can be reconnected, with its integrations.
package disconnect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/bkper/automations-portal/shared/access"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
	"github.com/bkper/automations-portal/shared/web"
)

// Vault is the part of the vault that disconnecting needs.
type Vault interface {
	vault.Reader
	Destroy(ctx context.Context, name string) error
}

// Remover revokes at the bank.
type Remover interface {
	Remove(ctx context.Context, token secret.String) error
}

// Disconnect serves the function.
type Disconnect struct {
	Store  store.Store
	Vault  Vault
	Banks  map[string]Remover
	Edge   *web.Edge
	Pushes *web.Edge // verifies the subscription of the disconnects topic
	Now    func() time.Time
	Sleep  func(context.Context, time.Duration) error
}

// Handler serves the paths below the function's root.
func (d *Disconnect) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/{$}", web.Post(d.Edge, "disconnect", d.disconnect))
	mux.Handle("/push", web.Push(d.Pushes, "disconnect/push", d.push))
	mux.Handle("/", d.Edge.Nothing())
	return mux
}

// Request names the connection.
type Request struct {
	Connection string `json:"connection"`
}

// Response says how far the disconnection is.
type Response struct {
	State   string `json:"state"` // "disconnected", or "stopping": it goes on by itself
	Message string `json:"message"`
}

// Status is 202 while the connection is stopping.
func (r Response) Status() int {
	if r.State == "stopping" {
		return http.StatusAccepted
	}
	return http.StatusOK
}

var stopping = Response{"stopping", "Being disconnected: it goes on by itself, and a transaction may still arrive within the next two minutes."}

func (d *Disconnect) disconnect(ctx context.Context, who caller.Caller, r Request) (Response, error) {
	conn, err := access.Own(ctx, d.Store, who, r.Connection)
	if err != nil {
		return Response{}, err
	}
	done, err := d.end(ctx, conn.ID)
	if err != nil {
		// It is written down, and the schedule goes on with it.
		slog.WarnContext(ctx, "a disconnection could not be finished yet", "connection", conn.ID, "code", bank.CodeOf(err), "err", err)
		return stopping, nil
	}
	if !done {
		return stopping, nil
	}
	return Response{"disconnected", "Disconnected: nothing is read from the bank or recorded any more. What was recorded stays."}, nil
}

// push goes on with a disconnection that was cut short.
func (d *Disconnect) push(ctx context.Context, m events.Delivery) error {
	if m.Connection == "" {
		return nil // nothing to do
	}
	web.Note(ctx, slog.String("connection", m.Connection))
	conn, err := store.Connections.Get(ctx, d.Store, m.Connection)
	if errors.Is(err, store.ErrNotFound) || (err == nil && conn.State != bank.Removing) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = d.end(ctx, m.Connection)
	return err
}

// end takes the steps of a disconnection that are not taken yet; each may be repeated. The token is destroyed only after
// the bank has revoked it: a consent that nobody can revoke would live on.
func (d *Disconnect) end(ctx context.Context, id string) (done bool, err error) {
	mark, conn, err := d.silence(ctx, id)
	if err != nil || conn.State == bank.Disconnected {
		return err == nil, err
	}
	if done, err = posting.AwaitStop(ctx, d.Store, id, mark, d.Now, d.Sleep); err != nil || !done {
		return false, err
	}
	name := vault.ConnectionToken(id)
	token, err := d.Vault.Get(ctx, name)
	switch {
	case errors.Is(err, vault.ErrNotFound): // destroyed by an earlier try, after the bank had revoked it
	case err != nil:
		return false, fmt.Errorf("token of the connection: %w", err)
	default:
		provider, err := bank.Of(d.Banks, conn.Provider)
		if err != nil {
			return false, err
		}
		if err := provider.Remove(ctx, token); err != nil {
			return false, fmt.Errorf("revoke at the bank: %w", err)
		}
		// A bank may take long. Meanwhile another try may have ended all, and the person connected anew: that token must stay.
		now, err := d.Vault.Get(ctx, name)
		if err == nil && !now.Equal(token.Reveal()) {
			return true, nil
		}
		if err == nil {
			err = d.Vault.Destroy(ctx, name)
		}
		if err != nil && !errors.Is(err, vault.ErrNotFound) {
			return false, fmt.Errorf("destroy the token: %w", err)
		}
	}
	return true, d.Store.Update(ctx, func(tx store.Tx) error {
		conn, err := store.Connections.Load(tx, id)
		if err != nil || conn.State != bank.Removing {
			return err
		}
		conn.State, conn.Item, conn.Reason, conn.Updated, conn.ConsentExpires = bank.Disconnected, "", "", d.Now(), time.Time{}
		return store.Connections.Put(tx, conn)
	})
}

// silence sets the mark that every holder obeys before it writes.
func (d *Disconnect) silence(ctx context.Context, id string) (mark int64, conn *bank.Connection, err error) {
	err = d.Store.Update(ctx, func(tx store.Tx) error {
		if conn, err = store.Connections.Load(tx, id); err != nil {
			return err
		}
		e, err := posting.Load(tx, id)
		if err != nil {
			return err
		}
		if mark = e.Config; conn.State == bank.Removing || conn.State == bank.Disconnected {
			return nil
		}
		mark = e.Mark(time.Time{})
		conn.State, conn.Updated = bank.Removing, d.Now()
		return errors.Join(posting.Engines.Put(tx, e), store.Connections.Put(tx, conn))
	})
	return mark, conn, err
}
