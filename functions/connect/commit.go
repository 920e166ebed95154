package connect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/bkper/automations-portal/shared/access"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
)

// commit writes the connection and ends the session, in one transaction.
func (c *Connect) commit(ctx context.Context, s *bank.Session, item bank.Item) error {
	return c.Store.Update(ctx, func(tx store.Tx) error {
		fresh, err := store.Sessions.Load(tx, s.ID)
		if err != nil {
			return err
		}
		*s = *fresh
		if s.State.Final() {
			return nil
		}
		now := c.Now()
		conn, err := store.Connections.Load(tx, s.Connection)
		if errors.Is(err, store.ErrNotFound) {
			conn, err = &bank.Connection{
				ID: s.Connection, Owner: s.Owner, Email: s.Email, Provider: s.Provider, Country: s.Country, Created: now, Offered: []string{s.Book},
			}, nil
		}
		if err != nil {
			return err
		}
		renewed := len(conn.Accounts) > 0
		conn.Item, conn.Institution, conn.ConsentExpires = item.ID, item.Institution, item.ConsentExpires
		conn.Institution.Logo = ""
		conn.Institution.ID = cmp.Or(conn.Institution.ID, s.At) // not every item says
		conn.State, conn.Reason, conn.NewAccounts, conn.Updated = bank.Active, "", false, now
		accounts, moved := bank.Match(conn.Accounts, item.Accounts)
		conn.Accounts = accounts
		var is []*bank.Integration
		if renewed {
			conn.Epoch++
			if is, err = posting.Moved(tx, conn.ID, accounts, moved); err != nil {
				return err
			}
		}
		e, err := posting.Load(tx, conn.ID)
		if err != nil {
			return err
		}
		e.Mark(now)
		s.State = bank.Kept
		end(s, now)
		for _, i := range is {
			if err := store.Integrations.Put(tx, i); err != nil {
				return err
			}
		}
		return errors.Join(store.Connections.Put(tx, conn), posting.Engines.Put(tx, e), store.Sessions.Put(tx, s))
	})
}

// repaired ends a session whose item lived on: the next look at the bank tells its state and its accounts.
func (c *Connect) repaired(ctx context.Context, s *bank.Session) error {
	token, err := c.Vault.Get(ctx, vault.ConnectionToken(s.Connection))
	if errors.Is(err, vault.ErrNotFound) {
		return access.ConnectionGone().Because(err)
	}
	if err != nil {
		return fmt.Errorf("token of the connection: %w", err)
	}
	item, err := c.Banks[s.Provider].Item(ctx, token)
	if err != nil {
		return fmt.Errorf("read the item: %w", err)
	}
	err = c.Store.Update(ctx, func(tx store.Tx) error {
		fresh, err := store.Sessions.Load(tx, s.ID)
		if err != nil {
			return err
		}
		*s = *fresh
		conn, err := store.Connections.Load(tx, s.Connection)
		if err != nil {
			return err
		}
		if s.State.Final() || conn.Item != item.ID {
			return nil
		}
		accounts, moved := conn.Accounts, []string(nil)
		if item.NeedsUser == "" { // while it needs its user, a provider may not tell the accounts
			accounts, moved = bank.Match(conn.Accounts, item.Accounts)
		}
		is, err := posting.Moved(tx, conn.ID, accounts, moved)
		if err != nil {
			return err
		}
		e, err := posting.Load(tx, conn.ID)
		if err != nil {
			return err
		}
		now := c.Now()
		conn.Accounts, conn.ConsentExpires, conn.Reason, conn.Updated = accounts, item.ConsentExpires, item.NeedsUser, now
		if conn.State == bank.NeedsUser && item.NeedsUser == "" {
			conn.State = bank.Active
		}
		if s.Purpose == bank.ToAccounts {
			conn.NewAccounts = false
		}
		e.Mark(now)
		s.State = bank.Kept
		end(s, now)
		for _, i := range is {
			if err := store.Integrations.Put(tx, i); err != nil {
				return err
			}
		}
		return errors.Join(store.Connections.Put(tx, conn), posting.Engines.Put(tx, e), store.Sessions.Put(tx, s))
	})
	if err != nil {
		return err
	}
	c.ring(ctx, s.Connection)
	return c.forget(ctx, s)
}

// ring tells the poster of a connection: webhooks that came before it was known were dropped. Should that fail, the
// schedule finds the connection due.
func (c *Connect) ring(ctx context.Context, connection string) {
	if err := c.Events.Publish(ctx, events.Rings, events.Message{Connection: connection, Deep: true}); err != nil {
		slog.WarnContext(ctx, "could not ring; the schedule will", "connection", connection, "err", err)
	}
}
