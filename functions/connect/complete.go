package connect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/bkper/automations-portal/shared/access"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
	"github.com/bkper/automations-portal/shared/view"
	"github.com/bkper/automations-portal/shared/web"
)

const (
	exchangeTime = 2 * time.Minute // within which an exchange and what follows has an answer, or will never have one
	slowestLook  = 30 * time.Minute
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

func (c *Connect) complete(ctx context.Context, who caller.Caller, r Complete) (Completed, error) {
	if err := access.ID("/session", r.Session); err != nil {
		return Completed{}, err
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
			slog.ErrorContext(ctx, "an item at the bank that nobody uses could not be removed", "session", s.ID, "hint", hint, "code", bank.CodeOf(err))
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
	token, err := c.token(ctx, s, candidate)
	if err != nil {
		return err
	}
	if s.State.Final() {
		return c.forget(ctx, s)
	}
	item, err := c.Banks[s.Provider].Item(ctx, token)
	if err != nil {
		return fmt.Errorf("read the new item: %w", err)
	}
	if err := c.commit(ctx, s, item); err != nil {
		return err
	}
	c.ring(ctx, s.Connection)
	return c.forget(ctx, s)
}

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
		if !errors.Is(err, errOvertaken) {
			return claimed, err
		}
	}
}

// turn counts the claims of a user. Each claim needs to know what the user has, which only queries tell; and a query in a
// transaction locks more than it finds, for a minute where its process dies (Firestore's emulator: all of the collection).
// So the queries are made before, and the claim is made only if no other was made since.
type turn struct {
	Owner string `json:"owner"`
	No    int64  `json:"no"`
}

var turns = store.Kind[turn]{Name: "turns", ID: func(t *turn) string { return t.Owner }}

// errOvertaken: another session of the user was claimed since the survey.
var errOvertaken = errors.New("another session was claimed meanwhile")

// survey is what a user had at the time of a turn, or a little later.
type survey struct {
	turn        turn
	sessions    []*bank.Session
	connections []*bank.Connection
}

// survey reads the turn first, so that a claim in between shows, and the sessions before the connections: one that is kept in
// between is found as either.
func (c *Connect) survey(ctx context.Context, owner string) (v survey, err error) {
	v.turn.Owner = owner
	t, err := turns.Get(ctx, c.Store, owner)
	switch {
	case err == nil:
		v.turn = *t
	case !errors.Is(err, store.ErrNotFound):
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
		next := turn{s.Owner, before.turn.No + 1}
		if s.State == bank.Open {
			if err := before.stillTrue(tx); err != nil {
				return err
			}
			if err := before.admit(tx, s, candidate); err != nil {
				return err
			}
			err = turns.Put(tx, &next)
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

func (v survey) stillTrue(tx store.Tx) error {
	t, err := turns.Load(tx, v.turn.Owner)
	switch {
	case errors.Is(err, store.ErrNotFound):
		t = &turn{}
	case err != nil:
		return err
	}
	if t.No != v.turn.No {
		return errOvertaken
	}
	return nil
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
	state, level, what := bank.Cancelled, slog.LevelWarn, "the provider refused an exchange"
	switch {
	case s.Tried:
		state, level, what = bank.Lost, slog.LevelError, "the answer of an exchange was lost: an item at the bank has no owner"
	case bank.KindOf(refusal) == bank.OurFault:
		level = slog.LevelError
	}
	slog.Log(ctx, level, what, "session", s.ID, "provider", s.Provider, "code", bank.CodeOf(refusal))
	return c.change(ctx, s, func(s *bank.Session) bool {
		if s.State.Final() {
			return false
		}
		s.State = state
		end(s, c.Now())
		return true
	})
}

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
		conn.State, conn.Reason, conn.Updated = bank.Active, "", now
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
