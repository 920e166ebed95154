package connect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/vault"
)

// exchangeTime is within which an exchange and what follows has an answer, or will never have one.
const exchangeTime = 2 * time.Minute

// keep turns a candidate into the session's connection. The hint is the one that led to the candidates.
func (c *Connect) keep(ctx context.Context, s *bank.Session, candidates []bank.Candidate, hint string) error {
	chosen := slices.IndexFunc(candidates, func(o bank.Candidate) bool { return s.Candidate == "" || o.Key == s.Candidate })
	var candidate bank.Candidate
	if chosen >= 0 {
		candidate = candidates[chosen]
	}
	claimed, err := c.claim(ctx, s, candidate, hint, len(candidates) > 1)
	if err != nil {
		return err
	}
	if !claimed {
		return c.forget(ctx, s)
	}
	// From here on it does not end with whoever asked, as a person who closes the page: the token is given once, and if nobody
	// waits for it the item is lost.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Trying.Sub(c.Now()))
	defer cancel()
	token, err := c.token(ctx, s, candidate)
	if err != nil {
		return err
	}
	if s.State.Final() {
		return c.forget(ctx, s)
	}
	item, err := c.Banks[s.Provider].Item(ctx, token)
	if err != nil && bank.KindOf(err) == bank.Permanent {
		return c.undo(ctx, s, token, err)
	}
	if err != nil {
		return fmt.Errorf("read the new item: %w", err)
	}
	if err := c.commit(ctx, s, item); err != nil {
		return err
	}
	c.ring(ctx, s.Connection)
	return c.forget(ctx, s)
}

// token gives the token of the new item. It is exchanged once, and goes to the vault before anything else.
func (c *Connect) token(ctx context.Context, s *bank.Session, candidate bank.Candidate) (secret.String, error) {
	name := vault.ConnectionToken(s.Connection)
	token, err := c.Vault.Get(ctx, name)
	if err == nil || !errors.Is(err, vault.ErrNotFound) {
		return token, err
	}
	if candidate.Key == "" { // the provider no longer names it
		return token, c.giveUp(ctx, s, nil)
	}
	grant, err := c.Banks[s.Provider].Exchange(ctx, candidate)
	switch k := bank.KindOf(err); {
	case err == nil:
	case k == bank.Retry || (k == bank.RetryAfter && s.Tried):
		return token, fmt.Errorf("exchange: %w", err) // nobody knows whether it took place
	default:
		return token, c.giveUp(ctx, s, err)
	}
	for n := 0; ; n++ {
		if !c.Now().Before(s.Trying) { // we slept, and somebody else may be at it: our token must not replace another's
			err = errors.New("the exchange took too long")
			break
		}
		if err = c.Vault.Put(ctx, name, grant.Token); err == nil {
			return grant.Token, nil
		}
		if n == 3 {
			break
		}
		if c.Sleep(ctx, time.Second<<n) != nil {
			break
		}
	}
	// A token that cannot be kept must not leave an item behind that is read, and billed, for nobody.
	if removed := c.Banks[s.Provider].Remove(context.WithoutCancel(ctx), grant.Token); removed != nil {
		slog.ErrorContext(ctx, "an item at the bank could neither be kept nor removed", "session", s.ID, "item", grant.Item, "code", bank.CodeOf(removed))
	}
	return token, fmt.Errorf("keep the token: %w", err)
}

// giveUp ends a session whose candidate cannot be exchanged any more. Where the first try was refused, nothing was made.
// After an earlier try the refusal may be because that one took place: the provider gives a token only once, so the session
// is lost, and an operator must look.
func (c *Connect) giveUp(ctx context.Context, s *bank.Session, refusal error) error {
	state, log := bank.Cancelled, slog.With("session", s.ID, "provider", s.Provider, "code", bank.CodeOf(refusal))
	switch {
	case s.Tried:
		state = bank.Lost
		log.ErrorContext(ctx, "the answer of an exchange was lost: an item at the bank has no owner")
	case bank.KindOf(refusal) == bank.OurFault:
		log.ErrorContext(ctx, "an item at the bank could not be made: the provider refuses our exchanges")
	default:
		log.WarnContext(ctx, "the provider refused an exchange")
	}
	return c.change(ctx, s, func(s *bank.Session) bool {
		if s.State.Final() {
			return false
		}
		s.State = state
		end(s, c.Now())
		return true
	})
}

// undo ends an item that was made and can never be read: it would be billed for nobody, and keep the way to its bank busy.
func (c *Connect) undo(ctx context.Context, s *bank.Session, token secret.String, why error) error {
	slog.WarnContext(ctx, "a new item cannot be read, and is ended", "session", s.ID, "provider", s.Provider, "code", bank.CodeOf(why))
	if err := c.Banks[s.Provider].Remove(ctx, token); err != nil {
		return fmt.Errorf("remove the new item: %w", err)
	}
	if err := c.Vault.Destroy(ctx, vault.ConnectionToken(s.Connection)); err != nil {
		return fmt.Errorf("destroy the token of the new item: %w", err)
	}
	err := c.change(ctx, s, func(s *bank.Session) bool {
		if s.State.Final() {
			return false
		}
		if s.State = bank.Cancelled; !errors.Is(why, bank.ErrGone) {
			s.Cause = bank.Unreadable
		}
		end(s, c.Now())
		return true
	})
	if err != nil {
		return err
	}
	return c.forget(ctx, s)
}
