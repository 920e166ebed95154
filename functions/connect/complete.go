package connect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/bkper/automations-portal/shared/access"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
	"github.com/bkper/automations-portal/shared/view"
	"github.com/bkper/automations-portal/shared/web"
)

// Complete asks what became of a session. Item is what the provider's script told the page, where there is one; it is only
// looked up, never believed.
type Complete struct {
	Session string `json:"session"`
	Item    string `json:"item,omitempty"`
}

// Completed says what became of a session.
type Completed struct {
	State      string           `json:"state"` // a bank.SessionState
	Message    string           `json:"message"`
	Reason     string           `json:"reason,omitempty"` // of open and cancelled: a bank.Cause
	Connection *view.Connection `json:"connection,omitempty"`
}

var messages = map[bank.SessionState]string{
	bank.Open:       "The bank's sign-in is not finished yet. Finish it in the window of the bank, or start again.",
	bank.Exchanging: "The bank has agreed; the connection is being kept. Ask again in a moment.",
	bank.Kept:       "Connected. Link its accounts to Accounts of your Book.",
	bank.Duplicate:  "You have connected this bank already. Reconnect that connection instead: its integrations stay.",
	bank.Cancelled:  "The bank's sign-in was left before it was finished. Start again when you are ready.",
	bank.Refused:    "This is another bank than the one to be reconnected. Reconnect at the same bank, or connect this one anew.",
	bank.Lost:       "The bank agreed, but its answer was lost, so this connection cannot be used. Connect the bank again; our support has been told.",
}

// causes are why a visit was cancelled, as sentences.
var causes = map[bank.Cause]string{
	bank.BadCredentials: "The bank did not accept the user name, the password or the code. Make sure that they work at the bank itself, then start again.",
	bank.BankDown:       "The bank does not answer at the moment. Try again later today.",
	bank.TooLate:        "The bank's sign-in took too long, and has ended. Start again.",
	bank.Unreadable:     "This bank does not let its accounts be read in this way. Import a file of the bank instead.",
}

// message is the state of a session as a sentence. One that was cancelled after a candidate had been chosen is one whose
// exchange the provider refused.
func message(s *bank.Session) string {
	if why := causes[s.Cause]; s.State == bank.Cancelled && why != "" {
		return why
	}
	if s.State == bank.Cancelled && s.Candidate != "" {
		return "The bank's sign-in took too long, or was refused. Start again."
	}
	return messages[s.State]
}

// longestItem is in characters; providers' scripts name one item, or a few with commas between.
const longestItem = 400

func (c *Connect) complete(ctx context.Context, who caller.Caller, r Complete) (Completed, error) {
	if err := access.ID("/session", r.Session); err != nil {
		return Completed{}, err
	}
	if utf8.RuneCountInString(r.Item) > longestItem { // it is kept, and asked for again and again
		return Completed{}, web.Invalid("/item", fmt.Sprintf("The id of an item has at most %d characters.", longestItem))
	}
	s, err := store.Sessions.Get(ctx, c.Store, r.Session)
	if errors.Is(err, store.ErrNotFound) || (err == nil && s.Owner != who.Sub) {
		return Completed{}, web.NotFound("There is no such session, or it is not yours. Start again from Banks.")
	}
	if err != nil {
		return Completed{}, err
	}
	if s, err = c.finish(ctx, s, r.Item); err != nil {
		return Completed{}, access.ExplainBank(err)
	}
	return c.completed(ctx, who, s)
}

func (c *Connect) completed(ctx context.Context, who caller.Caller, s *bank.Session) (Completed, error) {
	done := Completed{State: string(s.State), Message: message(s)}
	if s.State == bank.Open || s.State == bank.Cancelled {
		done.Reason = string(s.Cause)
	}
	id := s.Connection
	if s.State == bank.Duplicate {
		id = s.Duplicate
	}
	if s.State != bank.Kept && s.State != bank.Duplicate {
		return done, nil
	}
	conn, err := store.Connections.Get(ctx, c.Store, id)
	if err != nil {
		return done, err
	}
	v, err := c.show(ctx, who, conn)
	done.Connection = &v
	return done, err
}

// push completes the session that a webhook, or the schedule, tells of.
func (c *Connect) push(ctx context.Context, d events.Delivery) error {
	if d.Session == "" {
		return nil // nothing to do
	}
	found, err := store.Sessions.Find(ctx, c.Store, store.Query{Field: store.ByRef, Any: []string{d.Session}, Limit: 1})
	if err != nil || len(found) == 0 {
		return err // a session that is not ours, or is not written down yet: the schedule will ask
	}
	web.Note(ctx, slog.String("session", found[0].ID))
	_, err = c.finish(ctx, found[0], d.Item)
	if err == nil {
		return nil
	}
	// What can be tried again is tried when it is due: an event that comes back at once would only slow the others.
	if due := c.later(ctx, found[0], d.Item); due != nil {
		return due
	}
	slog.WarnContext(ctx, "a session could not be completed yet", "session", found[0].ID, "code", bank.CodeOf(err), "err", err)
	return nil
}

// later sets the next time at which the outcome of a session is asked for, and keeps the hint for it.
func (c *Connect) later(ctx context.Context, s *bank.Session, hint string) error {
	err := c.change(ctx, s, func(s *bank.Session) bool {
		now := c.Now()
		if s.State == bank.Open {
			hear(s, hint)
		}
		switch {
		case s.State.Final():
			return false
		case now.After(s.Forgotten) && s.State == bank.Open:
			s.State, s.Cause, s.Vain = bank.Cancelled, bank.TooLate, s.Hint != ""
			end(s, now)
		default:
			s.Due = nextLook(s, now)
		}
		return true
	})
	if err != nil {
		return err
	}
	return c.forget(ctx, s)
}

// maxFormer bounds the hints that are kept: only the person who visits, and the provider, give them.
const maxFormer = 8

// hear keeps a hint, and the one before it.
func hear(s *bank.Session, hint string) {
	if hint == "" || hint == s.Hint {
		return
	}
	if s.Hint != "" && len(s.Former) < maxFormer && !slices.Contains(s.Former, s.Hint) {
		s.Former = append(s.Former, s.Hint)
	}
	s.Hint = hint
}

const slowestLook = 30 * time.Minute

// nextLook is when a session is looked at again: seldom once it is old.
func nextLook(s *bank.Session, now time.Time) time.Time {
	return now.Add(min(max(now.Sub(s.Created), time.Minute), slowestLook))
}

func end(s *bank.Session, now time.Time) {
	s.Due, s.Trying, s.Ended = time.Time{}, time.Time{}, now
	if s.Vain {
		s.Due = now.Add(time.Minute)
	}
}

// change edits a session in one transaction; edit returns false to leave it. s becomes what stands afterwards.
func (c *Connect) change(ctx context.Context, s *bank.Session, edit func(*bank.Session) bool) error {
	return c.Store.Update(ctx, func(tx store.Tx) error {
		fresh, err := store.Sessions.Load(tx, s.ID)
		if err != nil {
			return err
		}
		write := edit(fresh)
		*s = *fresh
		if !write {
			return nil
		}
		return store.Sessions.Put(tx, fresh)
	})
}

// finish brings a session as far as it can be brought now. It may be called by the page, by a webhook and by the schedule,
// in any order and at once: each step is fixed in the store before it is taken, so that no two can create two.
func (c *Connect) finish(ctx context.Context, s *bank.Session, hint string) (*bank.Session, error) {
	if s.State.Final() {
		if err := c.late(ctx, s, hint); err != nil {
			return s, err
		}
		return s, c.forget(ctx, s)
	}
	if s.State == bank.Exchanging && c.Now().Before(s.Trying) {
		return s, nil // somebody is at it
	}
	if hint == "" || s.State == bank.Exchanging { // then the one that led to the candidate
		hint = s.Hint
	}
	handle, err := c.Vault.Get(ctx, vault.SessionHandle(s.ID))
	if err != nil {
		return s, fmt.Errorf("handle of the session: %w", err)
	}
	provider, err := bank.Of(c.Banks, s.Provider)
	if err != nil {
		return s, err
	}
	out, err := provider.Outcome(ctx, bank.Visit{Handle: handle, Ref: s.Ref, User: session.User(s.Owner), Hint: hint})
	if err != nil {
		return s, fmt.Errorf("outcome of the session: %w", err)
	}
	switch {
	case out.State == bank.Visiting && s.State == bank.Open:
		err := c.later(ctx, s, hint)
		s.Cause = cmp.Or(s.Cause, out.Cause) // so far: it is not written down
		return s, err
	case out.State == bank.Finished && (s.Purpose == bank.ToRepair || s.Purpose == bank.ToAccounts):
		return s, c.repaired(ctx, s)
	case out.State == bank.Finished && len(out.Candidates) > 0:
		return s, c.keep(ctx, s, out.Candidates, hint)
	case s.State == bank.Exchanging:
		return s, c.keep(ctx, s, nil, hint) // the token may be in the vault already
	}
	for _, o := range out.Candidates { // of Left: before the session ends, so that a crash forgets none
		if err := provider.Discard(ctx, o); err != nil {
			return s, fmt.Errorf("discard what was made in vain: %w", err)
		}
	}
	err = c.change(ctx, s, func(s *bank.Session) bool {
		if s.State != bank.Open {
			return false
		}
		s.State, s.Cause, s.Vain = bank.Cancelled, out.Cause, len(s.Former) > 0
		end(s, c.Now())
		return true
	})
	if err != nil {
		return s, err
	}
	return s, c.forget(ctx, s)
}
