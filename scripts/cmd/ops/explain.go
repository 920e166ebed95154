package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/view"
)

// mostID is longer than any id of a bank or a Book.
const mostID = 150

func explain(f *flag.FlagSet) func(context.Context, *operator, []string) error {
	day := f.String("date", "", "the transaction's date at the bank, yyyy-mm-dd: tells whether a period or a lock keeps it away")
	return func(ctx context.Context, o *operator, rest []string) error {
		if err := one(rest, 2, "which Book, and which transaction"); err != nil {
			return err
		}
		var date civil.Date
		if *day != "" {
			var err error
			if date, err = civil.ParseDate(*day); err != nil {
				return fmt.Errorf("%w: -date takes yyyy-mm-dd", errUsage)
			}
		}
		if rest[1] == "" || len(rest[1]) > mostID {
			return fmt.Errorf("%w: an id has 1 to %d characters", errUsage, mostID)
		}
		return o.explain(ctx, rest[0], rest[1], date)
	}
}

// feed is an integration and what it hangs on.
type feed struct {
	*bank.Integration
	conn   *bank.Connection // nil where there is none
	engine *posting.Engine  // nil where there is none
}

func (o *operator) explain(ctx context.Context, book, id string, date civil.Date) error {
	s, err := o.app.Store()
	if err != nil {
		return err
	}
	feeds, err := o.feeds(ctx, s, book)
	if err != nil {
		return err
	}
	if len(feeds) == 0 {
		return fmt.Errorf("no bank account was ever linked to the Book %s", book)
	}
	known := false
	for _, f := range feeds {
		history, err := posting.History(ctx, s, f.ID, id)
		if err != nil {
			return err
		}
		history = append(history, f.writing(id)...)
		if len(history) == 0 {
			continue
		}
		known = true
		if err := o.tell(ctx, f, history); err != nil {
			return err
		}
	}
	if known {
		return nil
	}
	o.say("The journal of the Book %s does not know %s: it was never recorded there, nor kept aside.", book, id)
	for _, f := range feeds {
		o.suspect(ctx, f, date)
	}
	return nil
}

// feeds are all integrations that a Book has, or had.
func (o *operator) feeds(ctx context.Context, s store.Store, book string) (feeds []feed, err error) {
	integrations, err := store.Integrations.Find(ctx, s, store.Query{Field: store.ByBook, Any: []string{book}})
	if err != nil {
		return nil, err
	}
	for _, i := range integrations {
		f := feed{Integration: i}
		if f.conn, err = store.Connections.Get(ctx, s, i.Connection); err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if f.engine, err = posting.Engines.Get(ctx, s, i.Connection); err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		feeds = append(feeds, f)
	}
	return feeds, nil
}

// writing is what the holder of the connection has begun to write and not filed yet.
func (f feed) writing(id string) (open []posting.Version) {
	if f.engine == nil {
		return nil
	}
	for _, s := range f.engine.Open {
		for _, row := range s.Rows {
			if row.Integration == f.ID && row.Is(id) {
				open = append(open, posting.Version{Row: row, Seq: s.Seq})
			}
		}
	}
	return open
}

func (f feed) String() string {
	return fmt.Sprintf("%s %s of %s into %s (integration %s)", f.Of.Name, f.Of.Mask, f.Bank.Name, f.AccountTag, f.ID)
}

// tell says what became of a record.
func (o *operator) tell(ctx context.Context, f feed, history []posting.Version) error {
	now := history[len(history)-1]
	o.say("%s", f)
	o.say("  Remote id %s; the bank's ids %s, the present one last.", now.Key, strings.Join(now.IDs, ", "))
	for _, v := range history {
		at := "being written"
		if !v.At.IsZero() {
			at = o.ago(v.At)
		}
		says := v.Says()
		o.say("  %s: %s%s, %s %s, dated %s%s", at, v.State, note(v), says.Amount, says.Direction, says.Date, pending(says.Pending))
	}
	o.say("  %s", stands(now.Row))
	o.asked(ctx, f, now.Key)
	return nil
}

func pending(is bool) string {
	if is {
		return ", pending"
	}
	return ""
}

// note adds what a state alone does not say.
func note(v posting.Version) string {
	var notes []string
	for _, text := range []string{string(v.Intent), string(v.Flag), string(v.Reason)} {
		if text != "" {
			notes = append(notes, text)
		}
	}
	if v.Waiting {
		notes = append(notes, "removed by the bank")
	}
	if len(notes) == 0 {
		return ""
	}
	return " (" + strings.Join(notes, ", ") + ")"
}

// stands says in a sentence why a record is, or is not, in the Book.
func stands(r *posting.Row) string {
	switch {
	case r.Intent != "":
		return "It is being written; whether it took place is asked of the Book before anything else is done for it."
	case r.State == posting.Standing && r.Flag != "":
		return "It stands in the Book as " + r.Record + ". " + view.OfRow(r).Message
	case r.State == posting.Standing:
		return "It stands in the Book as " + r.Record + ", as far as we know: a person may have moved it to the trash since."
	case r.State == posting.Binned:
		return "It is in the Book's trash: the bank has taken it back. It comes back by itself, should the bank name it again."
	case r.State == posting.Hand:
		return "It is in the Book's trash, where a person has put it, and so it stays. Restore it there if that was a mistake."
	case r.State == posting.Aside:
		return view.OfRow(r).Message
	}
	return "It is not in the Book: the bank took it back before it was written."
}

// asked adds what the Book itself says, where this may be asked: no texts, which are the person's own business.
func (o *operator) asked(ctx context.Context, f feed, remote string) {
	books, token, why := o.book(ctx, f)
	if why != "" {
		o.say("  The Book was not asked: %s.", why)
		return
	}
	there := false
	for _, trashed := range []bool{false, true} {
		page, err := books.Find(ctx, token, f.Book, ledger.Query{RemoteID: remote, Trashed: trashed})
		if err != nil {
			o.say("  The Book cannot be asked: %v", err)
			return
		}
		for _, t := range page.Transactions {
			there = true
			where := map[bool]string{false: "stands", true: "lies in the trash"}[t.Trashed]
			o.say("  The Book says: %s %s (draft %v), dated %s, over %s.", t.ID, where, !t.Posted, t.Date, t.Amount)
		}
	}
	if !there {
		o.say("  The Book says: it has no record with the remote id %s, not even in the trash.", remote)
	}
}

// suspect lists what may keep a transaction away that the journal does not know.
func (o *operator) suspect(ctx context.Context, f feed, date civil.Date) {
	o.say("%s", f)
	v := view.OfIntegration(f.Integration, f.conn, f.engine)
	o.say("  %s: %s", v.Status, v.Message)
	o.say("  Nothing dated before %s is recorded%s.", f.From, verdict(date, func(d civil.Date) bool { return d.Before(f.From) }))
	if !f.Pending {
		o.say("  A transaction that is pending at the bank comes once it has settled.")
	}
	if !f.Until.IsZero() {
		o.say("  The Book is tried again %s.", o.ago(f.Until))
	}
	if e := f.engine; e != nil {
		o.say("  The bank was last read to its end %s; it is looked at again %s.", o.ago(e.Synced), o.ago(e.Due))
		if e.Failures > 0 {
			o.say("  The last %d reads failed: %s.", e.Failures, cmp.Or(e.Failure, "without a code"))
		}
		if e.Asked > e.Reading || e.Lease.Held(o.now()) {
			o.say("  It is being read right now: ask again in a minute.")
		}
	}
	o.locked(ctx, f, date)
	o.say("  To look at once: scripts/ops sync %s -deep", f.Connection)
}

// verdict applies a rule to the date, where one was given.
func verdict(date civil.Date, keepsAway func(civil.Date) bool) string {
	switch {
	case date.IsZero():
		return ""
	case keepsAway(date):
		return fmt.Sprintf(", which keeps one of %s AWAY", date)
	}
	return fmt.Sprintf(", which lets one of %s pass", date)
}

// locked tells of the Book's lock.
func (o *operator) locked(ctx context.Context, f feed, date civil.Date) {
	books, token, why := o.book(ctx, f)
	if why != "" {
		o.say("  The Book was not asked for its lock: %s.", why)
		return
	}
	b, err := books.Book(ctx, token, f.Book)
	switch {
	case err != nil:
		o.say("  The Book cannot be asked for its lock: %v", err)
	case b.Locked.IsZero():
		o.say("  The Book is not locked; as %s one may do there what %s may.", f.AsEmail, b.Permission)
	default:
		o.say("  The Book is locked up to %s%s. What was kept aside for that is listed on the portal.", b.Locked, verdict(date, func(d civil.Date) bool { return !d.After(b.Locked) }))
	}
	if err == nil && !slices.ContainsFunc(b.Accounts, func(a ledger.Account) bool { return a.ID == f.Account && !a.Archived }) {
		o.say("  The Account %s is gone from the Book, or archived.", f.AccountTag)
	}
}

// book opens Bkper as the user as whom an integration records; why says what is missing for it.
func (o *operator) book(ctx context.Context, f feed) (books ledger.Ledger, token secret.String, why string) {
	if o.cfg.GoogleClientID == "" || o.cfg.GoogleClientSecret.Empty() {
		return nil, token, "GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET are not set"
	}
	client, grants, err := o.app.Books()
	if err == nil {
		token, err = grants.Token(ctx, f.As)
	}
	if err != nil {
		return nil, token, fmt.Sprintf("as %s it cannot be opened: %v", f.AsEmail, err)
	}
	return client, token, ""
}
