package connect

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/web"
)

// errBusy: another session is making an item for the same connection.
var errBusy = web.Conflict("busy", "This connection is being reconnected in another window. Finish there, or try again in a few minutes.")

// errTwice: another session of the user is making an item at the same bank. Until its connection stands nobody can tell
// whether it is for the same accounts.
var errTwice = web.Conflict("busy", "You are connecting this bank in another window too. Finish there, or try again in a few minutes.")

// claim fixes, before the exchange, which candidate becomes which connection, and makes the caller the only one who
// exchanges for the next minutes. It ends the session where the bank is connected already, or is not the one to be
// reconnected.
func (c *Connect) claim(ctx context.Context, s *bank.Session, candidate bank.Candidate, hint string, others bool) (claimed bool, err error) {
	for {
		before, err := c.survey(ctx, s.Owner)
		if err != nil {
			return false, err
		}
		claimed, err = c.claimAfter(ctx, s, candidate, hint, others, before)
		if !errors.Is(err, store.ErrOvertaken) {
			return claimed, err
		}
	}
}

// survey is what a user had at the time of a turn, or a little later.
type survey struct {
	turn        store.Turn
	sessions    []*bank.Session
	connections []*bank.Connection
}

// survey reads the turn first, so that a claim in between shows, and the sessions before the connections: one that is kept in
// between is found as either.
func (c *Connect) survey(ctx context.Context, owner string) (v survey, err error) {
	if v.turn, err = store.TurnOf(ctx, c.Store, owner); err != nil {
		return v, err
	}
	q := store.Query{Field: store.ByOwner, Any: []string{owner}}
	if v.sessions, err = store.Sessions.Find(ctx, c.Store, q); err != nil {
		return v, err
	}
	v.connections, err = store.Connections.Find(ctx, c.Store, q)
	return v, err
}

func (c *Connect) claimAfter(ctx context.Context, s *bank.Session, candidate bank.Candidate, hint string, others bool, before survey) (claimed bool, err error) {
	err = c.Store.Update(ctx, func(tx store.Tx) error {
		claimed = false
		fresh, err := store.Sessions.Load(tx, s.ID)
		if err != nil {
			return err
		}
		*s = *fresh
		now := c.Now()
		if s.State.Final() || (s.State == bank.Exchanging && now.Before(s.Trying)) {
			return nil
		}
		if s.State == bank.Open {
			if err := before.turn.Check(tx); err != nil {
				return err
			}
			if err := before.admit(tx, s, candidate); err != nil {
				return err
			}
			err = before.turn.Take(tx)
		}
		if s.State.Final() {
			hear(s, hint)
			s.Vain = true
			end(s, now)
		} else {
			claimed = true
			hear(s, hint)
			s.Vain = s.Vain || others || len(s.Former) > 0
			s.Tried = s.State == bank.Exchanging
			s.State, s.Trying, s.Due = bank.Exchanging, now.Add(exchangeTime), now.Add(exchangeTime)
			if s.Candidate == "" {
				s.Candidate, s.At = candidate.Key, candidate.Institution.ID
			}
		}
		return errors.Join(err, store.Sessions.Put(tx, s))
	})
	return claimed, err
}

// exchanging reports whether another session is making an item, of those that match.
func (v survey) exchanging(s *bank.Session, match func(*bank.Session) bool) bool {
	return slices.ContainsFunc(v.sessions, func(o *bank.Session) bool { return o.ID != s.ID && o.State == bank.Exchanging && match(o) })
}

// admit decides whether the candidate may become the session's connection, and sets the state that refuses it.
func (v survey) admit(tx store.Tx, s *bank.Session, candidate bank.Candidate) error {
	if s.Purpose == bank.ToRestore {
		conn, err := store.Connections.Load(tx, s.Connection)
		if err != nil {
			return err
		}
		switch {
		case conn.Institution.ID != candidate.Institution.ID:
			s.State = bank.Refused
		case conn.Item != "": // restored by another session meanwhile
			s.State, s.Duplicate = bank.Duplicate, conn.ID
		case v.exchanging(s, func(o *bank.Session) bool { return o.Connection == s.Connection }):
			return errBusy
		}
		return nil
	}
	for _, conn := range v.connections {
		if conn.ID != s.Connection && sameBank(conn, s.Provider, candidate) {
			s.State, s.Duplicate = bank.Duplicate, conn.ID
		}
	}
	if !s.State.Final() && v.exchanging(s, func(o *bank.Session) bool {
		return o.Purpose == bank.ToConnect && o.Provider == s.Provider && o.At == candidate.Institution.ID
	}) {
		return errTwice
	}
	return nil
}

// sameBank reports whether a connection already gives an account of the candidate.
func sameBank(conn *bank.Connection, provider string, candidate bank.Candidate) bool {
	if conn.Provider != provider || conn.Institution.ID != candidate.Institution.ID {
		return false
	}
	return slices.ContainsFunc(conn.Accounts, func(a bank.LinkedAccount) bool {
		return !a.Gone && slices.ContainsFunc(candidate.Accounts, func(b bank.Account) bool {
			return a.Mask == b.Mask && strings.EqualFold(a.Name, b.Name)
		})
	})
}
