package connect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/vault"
)

// late keeps the hint at something that was made after its session had ended, as by a person who signs in twice in one window.
func (c *Connect) late(ctx context.Context, s *bank.Session, hint string) error {
	if hint == "" || hint == s.Hint || (s.Purpose != bank.ToConnect && s.Purpose != bank.ToRestore) {
		return nil
	}
	return c.change(ctx, s, func(s *bank.Session) bool {
		hear(s, hint)
		s.Vain, s.Due = true, c.Now().Add(time.Minute)
		return true
	})
}

// forget ends what a session that has ended has made in vain, and destroys its handle.
func (c *Connect) forget(ctx context.Context, s *bank.Session) error {
	if !s.State.Final() {
		return nil
	}
	if s.Vain {
		if err := c.discard(ctx, s); err != nil { // the session is what it is; the schedule goes on with the rest
			slog.WarnContext(ctx, "what was made in vain could not be ended yet", "session", s.ID, "code", bank.CodeOf(err), "err", err)
		}
		if s.Vain {
			return nil
		}
	}
	return c.Vault.Destroy(ctx, vault.SessionHandle(s.ID))
}

// patience is how long it is tried to end what a session has made in vain.
const patience = 24 * time.Hour

// discard ends at the provider what a session has made and the connection does not use: it would be read, and billed, for nobody.
func (c *Connect) discard(ctx context.Context, s *bank.Session) error {
	hint := s.Hint
	done, err := c.discardOnce(ctx, s)
	changed := c.change(ctx, s, func(s *bank.Session) bool {
		switch now := c.Now(); {
		case done && s.Hint == hint:
			s.Vain, s.Due, s.Former = false, time.Time{}, nil
		case now.After(s.Ended.Add(patience)):
			slog.ErrorContext(ctx, "an item at the bank that nobody uses could not be removed", "session", s.ID, "item", hint, "code", bank.CodeOf(err))
			s.Vain, s.Due, s.Former = false, time.Time{}, nil
		default:
			s.Due = nextLook(s, now)
		}
		return true
	})
	return errors.Join(err, changed)
}

func (c *Connect) discardOnce(ctx context.Context, s *bank.Session) (done bool, err error) {
	handle, err := c.Vault.Get(ctx, vault.SessionHandle(s.ID))
	if err != nil && !errors.Is(err, vault.ErrNotFound) {
		return false, fmt.Errorf("handle of the session: %w", err)
	}
	provider, err := bank.Of(c.Banks, s.Provider)
	if err != nil {
		return false, err
	}
	done = true
	for _, hint := range append(slices.Clone(s.Former), s.Hint) {
		out, err := provider.Outcome(ctx, bank.Visit{Handle: handle, Ref: s.Ref, User: session.User(s.Owner), Hint: hint})
		if err != nil {
			return false, fmt.Errorf("outcome of the session: %w", err)
		}
		for _, o := range out.Candidates {
			if s.State == bank.Kept && o.Key == s.Candidate {
				continue
			}
			if err := provider.Discard(ctx, o); err != nil {
				return false, fmt.Errorf("discard what was made in vain: %w", err)
			}
		}
		done = done && out.State != bank.Visiting
	}
	return done, nil
}
