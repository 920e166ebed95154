package posting

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
)

// group is what is written to one Book as one user in one step.
type group struct {
	booking
	*opened
	wishes  []planned
	size    int // wishes in all
	rows    []*Row
	before  map[string]*ledger.Transaction // by Row.Key: the record as it was when that was decided
	after   map[string]ledger.Transaction  // by Row.Key: the record as it is to be
	segment *Segment
	begun   time.Time // when it was last sent
	stale   bool      // some record had changed meanwhile: it must be planned again
}

// decide turns the wishes of a group into rows with intents, by what stands in the Book now.
func (r *run) decide(ctx context.Context, g *group) error {
	var standing []*Row
	for _, p := range g.wishes {
		for _, w := range p.wishes {
			if w.intent == ToAmend || w.intent == ToTrash || w.intent == ToRevive {
				standing = append(standing, w.row)
			}
		}
	}
	now, err := r.findSurely(ctx, g.booking, g.opened, standing)
	if err != nil {
		return r.block(g.opened, err)
	}
	g.before = now
	for _, p := range g.wishes {
		for _, w := range p.wishes {
			if after, write := settle(p.target, w, now[w.row.Key]); write {
				g.after[w.row.Key] = after
			}
			w.row.Intent, w.row.created, w.row.at = w.intent, w.intent == ToCreate, p.from
			g.rows = append(g.rows, w.row)
		}
	}
	return nil
}

// operations are sent in this order; a revived record is then brought to its values.
var operations = []struct {
	op      ledger.Operation
	intents []Intent
}{
	{ledger.Create, []Intent{ToCreate}},
	{ledger.Revive, []Intent{ToRevive}},
	{ledger.Update, []Intent{ToRevive}},
	{ledger.Update, []Intent{ToAmend}},
	{ledger.Trash, []Intent{ToTrash}},
}

// errAgain: a write may not have reached the Book. The Book was asked what of it stands; the rest is to be planned anew, since
// people may have changed records meanwhile.
var errAgain = errors.New("plan again")

// send writes the intents of a group and hears what came of each. What may pass is tried again, but never blindly: the Book
// is asked first, then the caller plans again.
func (r *run) send(ctx context.Context, g *group) error {
	r.sending = true
	defer func() { r.sending = false }()
	g.stale, g.begun = false, r.now()
	err := r.sendOnce(ctx, g)
	if err == nil && !g.stale {
		return nil
	}
	r.stumbles++
	if err == nil {
		return errAgain
	}
	if errors.Is(err, errAgain) {
		g.forgoAll()
		return errAgain
	}
	wait, again := r.wait(err, r.stumbles)
	if errors.Is(err, ledger.ErrLogin) && r.stumbles < tries {
		token, refused := r.p.Grants.Fresh(ctx, g.as)
		if refused == nil {
			g.token = token
		}
		err, again = refused, refused == nil
	}
	if !again {
		return r.giveUp(g, err)
	}
	if err := r.p.Sleep(ctx, wait); err != nil {
		return err
	}
	if err := r.hear(ctx, g.booking, g.open()); err != nil {
		return err
	}
	return errAgain
}

// recheck leaves out of a batch the records that a person has changed since it was decided. The Book knows no
// compare-and-set, so this is done as late as can be, and again where looking took long.
func (r *run) recheck(ctx context.Context, g *group, rows []*Row) ([]*Row, error) {
	for range tries {
		begun := r.now()
		now, err := r.find(ctx, g.booking, g.opened, rows)
		if err != nil {
			return nil, err
		}
		rows = slices.DeleteFunc(slices.Clone(rows), func(row *Row) bool {
			if alike(g.before[row.Key], now[row.Key]) {
				after := g.after[row.Key]
				after.Files = now[row.Key].Files // which nobody can compare
				g.after[row.Key] = after
				return false
			}
			if r.stumbles+1 < tries {
				row.forgo()
				g.stale = true
			} else {
				row.refuse() // it changes faster than we can look
			}
			return true
		})
		if len(rows) == 0 || r.now().Sub(begun) < fresh {
			break
		}
	}
	return rows, nil
}

// alike reports whether nothing that a person can change differs, but for files. An update sends the whole record: what it does
// not know of would be gone.
func alike(a, b *ledger.Transaction) bool {
	return a != nil && b != nil && a.ID == b.ID && a.Date == b.Date && a.Amount.Equal(b.Amount) && a.Description == b.Description &&
		a.Credit == b.Credit && a.Debit == b.Debit && a.Posted == b.Posted && a.Checked == b.Checked && a.Trashed == b.Trashed &&
		maps.Equal(a.Properties, b.Properties) && slices.Equal(a.URLs, b.URLs) && slices.Equal(a.RemoteIDs, b.RemoteIDs)
}

// giveUp leaves a Book alone: where it surely refused, the intents are forgone, else they stay open in the journal until
// the Book can be asked.
func (r *run) giveUp(g *group, err error) error {
	if err := r.block(g.opened, err); err != nil {
		return err
	}
	if !passes(err) {
		g.forgoAll()
	}
	return nil
}

func (g *group) open() []*Row {
	return slices.DeleteFunc(slices.Clone(g.rows), func(row *Row) bool { return row.Intent == "" })
}

// forgoAll takes back the intents that were not sent. Of the others the Book is asked before they are planned again: what we
// trashed would be taken for a person's doing.
func (g *group) forgoAll() {
	for _, row := range g.open() {
		if !row.sent {
			row.forgo()
		}
	}
}

func (r *run) sendOnce(ctx context.Context, g *group) error {
	for _, step := range operations {
		rows := slices.DeleteFunc(g.open(), func(row *Row) bool { return !slices.Contains(step.intents, row.Intent) })
		for batch := range slices.Chunk(rows, ledger.MaxBatch) {
			if err := r.write(ctx, g, step.op, batch); err != nil {
				return err
			}
		}
	}
	return r.hearSkipped(ctx, g)
}

// write sends one batch. A batch that the Book refuses is halved until the row to blame stands alone: that one is kept
// aside, the rest goes on.
func (r *run) write(ctx context.Context, g *group, op ledger.Operation, rows []*Row) error {
	if op != ledger.Create && rows[0].Intent != ToRevive || op == ledger.Revive {
		var err error
		if rows, err = r.recheck(ctx, g, rows); err != nil || len(rows) == 0 {
			return err
		}
	}
	batch := make([]ledger.Transaction, len(rows))
	for i, row := range rows {
		batch[i] = g.after[row.Key]
	}
	if err := r.lease(ctx, LedgerCall); err != nil {
		return err
	}
	first := slices.DeleteFunc(slices.Clone(rows), func(row *Row) bool { return row.sent })
	sent(rows, true)
	c, cancel := context.WithTimeout(ctx, LedgerCall)
	wrote, err := r.p.Ledger.Write(c, g.token, g.bookID, op, batch)
	cancel()
	if err != nil && !passes(err) {
		sent(first, false)
	}
	switch {
	case errors.Is(err, ledger.ErrRefused) && len(rows) > 1:
		half := len(rows) / 2
		if err := r.write(ctx, g, op, rows[:half]); err != nil {
			return err
		}
		return r.write(ctx, g, op, rows[half:])
	case errors.Is(err, ledger.ErrRefused):
		if err := r.closes(ctx, g); err != nil {
			return err
		}
		rows[0].refuse()
		return nil
	case err != nil:
		return err
	}
	if op == ledger.Revive {
		return nil // heard with the update that follows
	}
	byRemoteID := map[string]*ledger.Transaction{}
	for i := range wrote {
		for _, id := range wrote[i].RemoteIDs {
			if !wrote[i].Trashed {
				byRemoteID[id] = &wrote[i]
			}
		}
	}
	for _, row := range rows {
		switch record := byRemoteID[row.Key]; {
		case record == nil:
		case row.Intent == ToCreate:
			g.stale = row.made(record) || g.stale
		default:
			row.confirm(record.ID)
		}
	}
	return nil
}

// closes reads a Book again that refuses a row: a person may have locked it or archived an Account since it was opened, and then
// that is why, and the row is to be recorded once it is open again. errAgain.
func (r *run) closes(ctx context.Context, g *group) error {
	if g.read.After(g.begun) && r.now().Sub(g.read) < fresh {
		return nil
	}
	was := g.book
	if err := r.readBook(ctx, g.booking, g.opened); err != nil {
		return err
	}
	if g.book.Locked != was.Locked || !slices.Equal(g.book.Accounts, was.Accounts) {
		return errAgain
	}
	return nil
}

// sent notes whether the Book may have taken the intents of rows.
func sent(rows []*Row, may bool) {
	for _, row := range rows {
		row.sent = may
	}
}

// passes reports whether an error leaves it open what became of a write; all others say that nothing did.
func passes(err error) bool {
	kind := bank.KindOf(err)
	return kind == bank.Retry || kind == bank.RetryAfter
}

// refuse keeps a row aside because the Book will not have it as it is.
func (r *Row) refuse() {
	switch r.Intent {
	case ToCreate:
		r.State, r.Reason = Aside, ReasonRefused
	case ToTrash:
		r.Flag, r.Waiting = TakenBack, false
	default:
		r.Flag, r.Bank = Changed, r.After
	}
	r.forgo()
}

// hearSkipped asks about rows that the Book did not name in its answers: new records whose remote id it has already,
// trashed ones, and what it silently left as it was. The last are kept aside, since sending them again cannot help; but a list
// may be older than the answer, so it is asked for several times.
func (r *run) hearSkipped(ctx context.Context, g *group) error {
	skipped := g.open()
	for n := 1; len(skipped) > 0; n++ {
		was := make([]Row, len(skipped))
		for i, row := range skipped {
			was[i] = *row
		}
		if err := r.hearBy(ctx, g.booking, skipped, r.find); err != nil {
			return err
		}
		var doubted []*Row
		for i, row := range skipped {
			if row.Intent != "" || row.fulfils(&was[i]) {
				g.stale = g.stale || row.late(&was[i])
				continue
			}
			row.Intent, row.After, row.sent = was[i].Intent, was[i].After, was[i].sent
			doubted = append(doubted, row)
		}
		if skipped = doubted; n == tries {
			for _, row := range doubted {
				row.refuse()
			}
			return nil
		}
		if err := r.lookAgain(ctx, g, n, len(doubted)); err != nil {
			return err
		}
	}
	return nil
}

// lookAgain waits before the Book is asked once more for so many records. A person may have renamed an Account by whose name
// they are asked for.
func (r *run) lookAgain(ctx context.Context, g *group, n, records int) error {
	if records == 0 {
		return nil
	}
	if err := r.p.Sleep(ctx, time.Second<<(n-1)); err != nil {
		return err
	}
	if records <= few || g.blocked != "" {
		return nil
	}
	if err := r.readBook(ctx, g.booking, g.opened); err != nil {
		return r.block(g.opened, err)
	}
	return nil
}

// late reports whether a row that was heard of stands as an earlier attempt made it.
func (r *Row) late(intended *Row) bool {
	return intended.Intent == ToCreate && r.State == Standing && !r.Written.Equal(intended.Written)
}

// fulfils reports whether a row that was heard of is as its intent wanted it, or in a person's hand, or stands as an earlier
// attempt made it.
func (r *Row) fulfils(intended *Row) bool {
	switch {
	case r.State == Hand:
		return true
	case intended.Intent == ToCreate:
		return r.State == Standing
	case intended.Intent == ToTrash:
		return r.State == Binned
	}
	return r.State == Standing && r.Written.Equal(*intended.After)
}

// hear asks the Book what became of open intents.
func (r *run) hear(ctx context.Context, b booking, rows []*Row) error {
	return r.hearBy(ctx, b, rows, r.findSurely)
}

// hearBy is hear by one of the ways to find records.
func (r *run) hearBy(ctx context.Context, b booking, rows []*Row, find func(context.Context, booking, *opened, []*Row) (map[string]*ledger.Transaction, error)) error {
	if len(rows) == 0 {
		return nil
	}
	o, err := r.open(ctx, b)
	if err != nil {
		return err
	}
	if o.blocked != "" {
		return nil // they stay open
	}
	now, err := find(ctx, b, o, rows)
	if err != nil {
		return r.block(o, err)
	}
	for _, row := range rows {
		row.hear(now[row.Key])
	}
	return nil
}

// few is the number of records that are asked for one by one rather than by Account and dates.
const few = 5

// find reads the records of rows, by key: those that stand, else those in the trash. Records are known by their remote
// ids, because merging two gives a new record that carries the ids of both.
func (r *run) find(ctx context.Context, b booking, o *opened, rows []*Row) (map[string]*ledger.Transaction, error) {
	found, listed := map[string]*ledger.Transaction{}, false
	if len(rows) > few {
		err := r.findByAccount(ctx, b, o, rows, found)
		if err != nil && !errors.Is(err, ledger.ErrRefused) {
			return nil, err
		}
		listed = err == nil // an Account can have a name that cannot be asked for
	}
	for _, row := range rows {
		if found[row.Key] != nil || (listed && row.Intent == ToCreate) {
			// A new record that is nowhere near where it was to be was not made. Should a person have moved it in these
			// seconds, its remote id prevents a second one.
			continue
		}
		for _, trashed := range []bool{false, true} {
			if found[row.Key] != nil {
				break
			}
			if err := r.collect(ctx, b, o, ledger.Query{RemoteID: row.Key, Trashed: trashed}, found); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// findSurely is find for records that must be there, or may have been made just now: a list may be older than they are, and what
// it does not show is asked for again before anybody says that it was not made, or that a person has done away with it.
func (r *run) findSurely(ctx context.Context, b booking, o *opened, rows []*Row) (map[string]*ledger.Transaction, error) {
	found, err := r.find(ctx, b, o, rows)
	for n := 1; err == nil && n < tries; n++ {
		missing := slices.DeleteFunc(slices.Clone(rows), func(row *Row) bool { return found[row.Key] != nil })
		if len(missing) == 0 {
			break
		}
		if err = r.p.Sleep(ctx, time.Second<<(n-1)); err != nil {
			return nil, err
		}
		var more map[string]*ledger.Transaction
		if more, err = r.find(ctx, b, o, missing); err == nil {
			maps.Copy(found, more)
		}
	}
	return found, err
}

// findByAccount reads the records of each Account between the first and the last date of its rows.
func (r *run) findByAccount(ctx context.Context, b booking, o *opened, rows []*Row, found map[string]*ledger.Transaction) error {
	type span struct{ from, to civil.Date }
	spans := map[string]span{}
	for _, row := range rows {
		s, known := spans[row.Account]
		for _, v := range []*Values{&row.Written, row.After} {
			if v == nil {
				continue
			}
			if !known || v.Date.Before(s.from) {
				s.from = v.Date
			}
			if !known || v.Date.After(s.to) {
				s.to = v.Date
			}
			known = true
		}
		spans[row.Account] = s
	}
	for _, a := range o.book.Accounts {
		s, wanted := spans[a.ID]
		if !wanted {
			continue
		}
		for _, trashed := range []bool{false, true} {
			if err := r.collect(ctx, b, o, ledger.Query{Account: a.Name, From: s.from, To: s.to, Trashed: trashed}, found); err != nil {
				return err
			}
		}
	}
	return nil
}

// collect adds what a query finds, by remote id; a record that stands wins over one in the trash.
func (r *run) collect(ctx context.Context, b booking, o *opened, q ledger.Query, found map[string]*ledger.Transaction) error {
	for {
		page, err := ask(ctx, r, b, o, func(ctx context.Context) (ledger.Found, error) {
			return r.p.Ledger.Find(ctx, o.token, b.bookID, q)
		})
		if err != nil {
			return err
		}
		for i := range page.Transactions {
			t := &page.Transactions[i]
			for _, id := range t.RemoteIDs {
				if old := found[id]; old == nil || (old.Trashed && !t.Trashed) {
					found[id] = t
				}
			}
		}
		if page.Cursor == "" {
			return nil
		}
		q.Cursor = page.Cursor
	}
}
