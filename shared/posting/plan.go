package posting

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
)

// pendingProperty marks the draft of a transaction that has not settled.
const pendingProperty = "bank_pending"

// target is an integration that can take rows now: the plan knows all it needs of it.
type target struct {
	*bank.Integration
	opened
	provider string
	from     string // the bank's id of the account today
	claims   claims
	again    bool       // what people have trashed is to come back
	since    int64      // the first segment of this read
	shut     civil.Date // the newest date that the lock of the Book has kept out
	missing  []*Row     // of an account that the page retells: what it does not name
	vanished int        // how many of them were too many to be taken back unasked
}

// claims says how a new item's rows are recognised as those that an earlier item delivered.
type claims int

const (
	noClaims claims = iota
	exactly         // by date, amount, direction and text
	loosely         // by date, amount and direction, after a whole pass of exact claims
	later           // not in this read: until all history was compared, only rows that are known by their ids are followed
)

// asleep reports whether nothing is wanted for the Book now. What the bank takes back is noted all the same.
func (t *target) asleep() bool { return t.Paused || t.State != bank.Live }

// silent reports whether nothing can be written to the Book now.
func (t *target) silent() bool { return t.asleep() || t.blocked != "" }

// wish is what the plan wants done about one row. Whether it may be done can depend on what stands in the Book.
type wish struct {
	row    *Row
	intent Intent // "" only writes the row down
	values Values // of create, amend and revive: what the bank says
	source *bank.Transaction
}

// plan decides what a page means for one integration. It is pure: it reads the journal, changes neither it nor the page,
// and returns wishes for copies of rows, at most one a row, in the order of the page. With the last page of a read, nothing
// can come any more that keeps what was taken back.
func plan(t *target, j *journal, page *bank.Page, account string, last bool) []*wish {
	p := &planner{t: t, j: j, last: last, local: map[string]*wish{}, gone: map[string]bool{}}
	for _, id := range removedOf(page, account) {
		p.gone[id] = true
	}
	changed := slices.Clone(page.Changed)
	// Pending rows first: the settled row of the same page must find the one that it settles.
	slices.SortStableFunc(changed, func(a, b bank.Transaction) int { return b2i(b.Pending) - b2i(a.Pending) })
	p.follow(changed, account)
	for i := range changed {
		if changed[i].Account == account {
			p.changed(&changed[i])
		}
	}
	for _, gone := range page.Removed {
		if gone.Account == "" || gone.Account == account {
			p.removed(gone.ID)
		}
	}
	for _, u := range page.Unusable {
		if u.Account == account {
			p.unusable(u)
		}
	}
	_, retold := retells(page, account)
	p.lose(retold)
	return slices.DeleteFunc(p.wishes, func(w *wish) bool { return w.intent == "" && w.row.same(p.was[w.row]) })
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

type planner struct {
	t       *target
	j       *journal
	last    bool
	wishes  []*wish
	local   map[string]*wish // by bank id
	was     map[*Row]*Row    // what a copied row was copied from
	follows map[string]*Row  // by bank id: the row that goes on under it
	gone    map[string]bool  // bank ids that the page takes back
}

// find gives the wish for a bank id, made of a copy of the journal's row; nil where the id is new.
func (p *planner) find(id string) *wish {
	if id == "" {
		return nil
	}
	if w := p.local[id]; w != nil {
		return w
	}
	old := p.j.find(p.t.ID, id)
	if old == nil {
		return nil
	}
	if w := p.local[old.current()]; w != nil { // the page has touched this row under another id
		return w
	}
	return p.copy(old)
}

func (p *planner) copy(old *Row) *wish {
	row := *old
	row.IDs = slices.Clone(old.IDs)
	w := &wish{row: &row}
	if p.was == nil {
		p.was = map[*Row]*Row{}
	}
	p.was[&row] = old
	p.keep(w)
	return w
}

func (p *planner) keep(w *wish) {
	if !slices.Contains(p.wishes, w) {
		p.wishes = append(p.wishes, w)
	}
	p.index(w)
}

func (p *planner) index(w *wish) {
	for _, id := range w.row.IDs {
		p.local[id] = w
	}
}

// settles reports whether a transaction can be the settled one of the pending one that it names. What settled by itself, or is a
// record of its own, was not that one, whatever the bank says; nor can two that stand have been the same.
func (p *planner) settles(t *bank.Transaction) bool {
	was, w := p.find(t.PendingID), p.find(t.ID)
	switch {
	case t.PendingID == t.ID:
		return false
	case was == nil, was == w:
		return true
	case w != nil:
		return false
	case was.source != nil && was.source.ID != t.ID:
		return was.source.Pending || p.gone[was.source.ID]
	}
	row := was.row
	switch over := row.Waiting || p.gone[row.current()]; {
	case over, row.State != Standing && row.State != Hand: // what the bank takes back may go on under another id
		return true
	case row.current() == t.PendingID:
		return row.Written.Pending
	}
	return row.State == Hand // it has settled as another, which a person does not want
}

func (p *planner) changed(t *bank.Transaction) {
	if t.PendingID != "" && !p.settles(t) {
		t.PendingID = ""
	}
	values := valuesOf(p.t.ID, t)
	w := p.find(t.ID)
	if w == nil {
		w = p.find(t.PendingID)
	}
	if w == nil {
		w = p.claim(t, values)
	}
	if was := p.follows[t.ID]; w == nil && was != nil {
		w = p.copy(was)
	}
	if w == nil {
		p.added(t, values)
		return
	}
	if t.Pending && w.row.current() != t.ID && slices.Contains(w.row.IDs, t.ID) {
		return // an older view of a row that has settled since
	}
	w.row.knows(t.PendingID, t.ID)
	w.row.Epoch, w.row.Waiting = p.t.Epoch, false
	p.index(w)
	p.known(w, t, values)
}

// added plans a transaction that the journal does not know.
func (p *planner) added(t *bank.Transaction, values Values) {
	if t.Date.Before(p.t.From) || (t.Pending && !p.t.Pending) || p.t.claims == exactly || p.t.claims == later {
		return
	}
	row := &Row{Key: p.t.provider + "_" + t.ID, Integration: p.t.ID, IDs: []string{t.ID}, Epoch: p.t.Epoch, State: Absent}
	if t.PendingID != "" {
		row.IDs = []string{t.PendingID, t.ID} // should the pending one be named later, it is recognised
	}
	w := &wish{row: row}
	p.keep(w)
	p.create(w, t, values)
}

// known plans what the bank says of a row that the journal knows.
func (p *planner) known(w *wish, t *bank.Transaction, values Values) {
	row := w.row
	if p.t.claims == exactly {
		return // this pass only recognises; the next one writes
	}
	wanted := !t.Date.Before(p.t.From) && (!t.Pending || p.t.Pending)
	if p.t.again && wanted && (row.State == Standing || row.State == Hand) {
		// The journal does not know what people have trashed until it looks. What stands is amended as ever.
		w.intent, w.values, w.source = ToRevive, values, t
		return
	}
	switch row.State {
	case Absent, Aside:
		if wanted && !p.refused(row, values) {
			p.create(w, t, values)
		}
	case Binned:
		if wanted {
			w.intent, w.values, w.source = ToRevive, values, t
		}
	case Standing:
		switch {
		case t.Date.Before(p.t.From) && !row.Written.Date.Before(p.t.From):
			// It has moved to before the start date: it is part of what stood in the account then.
			w.intent, w.source, w.values = ToTrash, t, values
		case p.t.knows(row, t, values):
			w.intent = ""
		default:
			w.intent, w.values, w.source = ToAmend, values, t
		}
	case Hand:
	}
}

// refused reports whether the Book has refused just this during the same read. It is not asked again: to find out takes two
// calls a row, and a Book that refuses all would take more than there is time for, again and again.
func (p *planner) refused(row *Row, values Values) bool {
	return row.Reason == ReasonRefused && p.t.since > 0 && p.j.since(p.t.Integration, row.current(), p.t.since) && row.Account == p.t.Account && values.Equal(row.Written)
}

// knows reports whether the bank says nothing new of a row that stands. A difference that is no more is forgotten.
func (t *target) knows(row *Row, tx *bank.Transaction, values Values) bool {
	if values.Equal(row.Written) && tx.Currency == t.Currency {
		row.Flag, row.Bank = "", nil
		return true
	}
	return row.Flag == Changed && row.Bank != nil && values.Equal(*row.Bank) // told already
}

// create plans a new record, or says why there can be none.
func (p *planner) create(w *wish, t *bank.Transaction, values Values) {
	row := w.row
	if was := row.Written; p.was[row] != nil && was.Date.IsValid() && !was.Equal(values) {
		row.Tried = &was
	}
	row.Written, row.Reason, row.Account = values, "", p.t.Account
	if reason := p.t.refuses(t); reason != "" {
		if reason == ReasonLocked {
			p.t.keepOut(t.Date)
		}
		row.State, row.Reason, w.intent = Aside, reason, ""
		return
	}
	row.State = Absent
	w.intent, w.values, w.source = ToCreate, values, t
}

// refuses says why a transaction cannot be recorded, whoever tries; "" where it can.
func (t *target) refuses(tx *bank.Transaction) Reason {
	switch {
	case tx.Currency != t.Currency:
		return ReasonCurrency
	case tx.Amount.Sign() == 0:
		return ReasonZero
	case !ledger.Writable(tx.Amount):
		return ReasonRefused // a batch with it would not be sent at all
	case !tx.Amount.Equal(tx.Amount.Truncate(int32(t.book.Digits))):
		return ReasonDigits
	case t.locked(tx.Date):
		return ReasonLocked
	}
	return ""
}

// keepOut notes a date at which the lock of the Book has kept a row out: once it is open, history is read again.
func (t *target) keepOut(d civil.Date) {
	if t.locked(d) && d.After(t.shut) {
		t.shut = d
	}
}

func (t *target) locked(d civil.Date) bool {
	return t.book.Locked != civil.Date{} && !d.After(t.book.Locked)
}

// removed plans for a transaction that the bank takes back. What stands waits for the last page: a settled row that replaces
// it may still come.
func (p *planner) removed(id string) {
	w := p.find(id)
	if w == nil || w.row.current() != id {
		return // never recorded, or it lives on as another transaction
	}
	switch w.row.State {
	case Standing:
		w.row.Waiting, w.intent = true, ""
		if p.last {
			w.intent = ToTrash
		}
	case Absent, Aside:
		w.row.State, w.row.Reason, w.intent = Absent, "", ""
		if p.was[w.row] == nil {
			p.drop(w)
		}
	case Binned, Hand:
	}
}

// drop forgets a row that came and went in one page.
func (p *planner) drop(w *wish) {
	p.wishes = slices.DeleteFunc(p.wishes, func(o *wish) bool { return o == w })
	maps.DeleteFunc(p.local, func(_ string, o *wish) bool { return o == w })
}

func (p *planner) unusable(u bank.Unusable) {
	if u.ID == "" || p.t.claims == later {
		return
	}
	if w := p.find(u.ID); w != nil {
		if w.row.State == Standing && w.row.Flag == "" && w.intent == "" && w.row.current() == u.ID && p.t.claims != exactly {
			w.row.Flag = Garbled
		}
		return
	}
	p.keep(&wish{row: &Row{
		Key: p.t.provider + "_" + u.ID, Integration: p.t.ID, IDs: []string{u.ID}, Epoch: p.t.Epoch, State: Aside, Reason: ReasonUnusable,
	}})
}

// claim recognises a row of a former item. Each is claimed once: from then on it carries the new id. Rows that a person
// trashed can be claimed, rows that the bank took back cannot.
func (p *planner) claim(t *bank.Transaction, values Values) *wish {
	if p.t.claims != exactly && p.t.claims != loosely {
		return nil
	}
	var found *Row
	for _, r := range p.j.like(p.t.ID, values) {
		if r.Epoch >= p.t.Epoch || p.local[r.current()] != nil || (r.State != Standing && r.State != Hand) ||
			(p.t.claims == exactly && r.Written.Text != values.Text) || (t.Pending && !r.Written.Pending) {
			continue
		}
		if r.Written.Pending == t.Pending && !r.Waiting {
			return p.copy(r)
		}
		if found == nil || found.Waiting {
			found = r // pending when the former item was last read, settled now; or about to be taken back
		}
	}
	if found == nil {
		return nil
	}
	return p.copy(found)
}

// same reports whether the copy says no more than what it was copied from.
func (r *Row) same(o *Row) bool {
	return o != nil && r.State == o.State && r.Flag == o.Flag && r.Waiting == o.Waiting && r.Reason == o.Reason &&
		r.Epoch == o.Epoch && r.Written.Equal(o.Written) && slices.Equal(r.IDs, o.IDs)
}

// valuesOf turns a transaction into what the journal keeps of it.
func valuesOf(integration string, t *bank.Transaction) Values {
	return Values{Date: t.Date, Amount: t.Amount, Direction: t.Direction, Text: digest(integration, t.Text), Pending: t.Pending}
}

// digest hides a text behind a key that differs by integration, so that equal texts in two Books do not look equal.
func digest(integration, text string) string {
	mac := hmac.New(sha256.New, []byte(integration))
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:15])
}

// draft makes the record of a new transaction. Money that leaves the bank account leaves the Account: it is the credit
// side, for accounts and cards alike. The other side stays empty for whoever completes the draft.
func draft(t *target, row *Row, tx *bank.Transaction) ledger.Transaction {
	d := ledger.Transaction{RemoteIDs: []string{row.Key}, Date: tx.Date, Amount: tx.Amount, Description: tx.Text, Properties: maps.Clone(tx.Details)}
	if tx.Direction == bank.Out {
		d.Credit = t.Account
	} else {
		d.Debit = t.Account
	}
	if tx.Pending {
		if d.Properties == nil {
			d.Properties = map[string]string{}
		}
		d.Properties[pendingProperty] = "true"
	}
	return d
}

// settle decides a wish about a record that exists, by what stands in the Book now: now is nil where the Book has no such
// record any more. It returns the record as it is to be where something is to be written. A person's hand wins: a field
// changes only where it is still as we wrote it.
func settle(t *target, w *wish, now *ledger.Transaction) (after ledger.Transaction, write bool) {
	row := w.row
	if w.intent == ToRevive && now != nil && !now.Trashed {
		w.intent, row.State = ToAmend, Standing // a person took it out of the trash
		if t.knows(row, w.source, w.values) {
			w.intent = ""
		}
	}
	switch w.intent {
	case ToAmend:
		if now == nil || now.Trashed {
			row.State, w.intent, row.Waiting = Hand, "", false
			return after, false
		}
		return amend(t, w, *now)
	case ToRevive:
		if now == nil {
			w.intent = ToCreate
			row.State, row.Written, row.Account = Absent, w.values, t.Account
			return draft(t, row, w.source), true
		}
		if t.locked(now.Date) || t.locked(w.values.Date) {
			// Once the Book is open, it comes back as what we trashed does, whoever did.
			row.State, w.intent = Binned, ""
			t.keepOut(now.Date)
			t.keepOut(w.values.Date)
			return after, false
		}
		return revived(w, *now), true
	case ToTrash:
		switch {
		case now == nil || now.Trashed:
			row.State, w.intent, row.Waiting = Hand, "", false
		case now.Posted || now.Checked || t.locked(now.Date) || !row.untouched(now):
			w.flag(TakenBack)
		default:
			return *now, true
		}
		return after, false
	case ToCreate:
		return draft(t, row, w.source), true
	}
	return after, false
}

// revived is a record that we trashed, with what the bank says now.
func revived(w *wish, now ledger.Transaction) ledger.Transaction {
	now.Trashed, now.Date, now.Amount, now.Description = false, w.values.Date, w.values.Amount, w.source.Text
	if !w.row.side(&now, w.values.Direction) {
		now.Credit, now.Debit = now.Debit, now.Credit
	}
	w.row.markPending(&now, w.values.Pending)
	w.row.After = &w.values
	return now
}

// markPending sets or clears the mark of a pending draft and reports whether that changed anything.
func (r *Row) markPending(now *ledger.Transaction, pending bool) bool {
	if (now.Properties[pendingProperty] != "") == pending {
		return false
	}
	now.Properties = maps.Clone(now.Properties)
	if now.Properties == nil {
		now.Properties = map[string]string{}
	}
	now.Properties[pendingProperty] = ""
	if pending {
		now.Properties[pendingProperty] = "true"
	}
	return true
}

// flag gives up changing the record and keeps what the bank says.
func (w *wish) flag(f Flag) {
	w.row.Flag, w.intent, w.row.Waiting = f, "", false
	if w.source != nil {
		w.row.Bank = &w.values
	}
}

// amend brings the fields of a draft to what the bank says, where no person has changed them.
func amend(t *target, w *wish, now ledger.Transaction) (ledger.Transaction, bool) {
	row, want, was := w.row, w.values, w.row.Written
	if now.Posted || now.Checked || t.locked(now.Date) || t.locked(want.Date) || w.source.Currency != t.Currency ||
		!want.Amount.Equal(want.Amount.Truncate(int32(t.book.Digits))) || want.Amount.Sign() == 0 || !ledger.Writable(want.Amount) {
		w.flag(Changed)
		return now, false
	}
	written, kept, write := was, false, false
	field := func(isWanted, isOurs bool, set func(), note func()) {
		switch {
		case isWanted:
			note()
		case isOurs:
			set()
			note()
			write = true
		default:
			kept = true
		}
	}
	field(now.Date == want.Date, now.Date == was.Date, func() { now.Date = want.Date }, func() { written.Date = want.Date })
	field(now.Amount.Equal(want.Amount), now.Amount.Equal(was.Amount), func() { now.Amount = want.Amount }, func() { written.Amount = want.Amount })
	text := digest(row.Integration, now.Description)
	field(text == want.Text, text == was.Text, func() { now.Description = w.source.Text }, func() { written.Text = want.Text })
	// Where the bank's direction is what it was, an Account that a person has changed is no difference to the bank.
	field(want.Direction == was.Direction || row.side(&now, want.Direction), row.side(&now, was.Direction) && row.other(&now, was.Direction) == "",
		func() { now.Credit, now.Debit = now.Debit, now.Credit }, func() { written.Direction = want.Direction })

	write = row.markPending(&now, want.Pending) || write
	written.Pending = want.Pending
	if id := t.provider + "_" + row.current(); !slices.Contains(now.RemoteIDs, id) && len(row.IDs) > 1 {
		now.RemoteIDs = append(slices.Clone(now.RemoteIDs), id)
		write = true
	}
	row.Flag, row.Bank = "", nil
	if kept {
		row.Flag, row.Bank = Changed, &want
	}
	if !write {
		w.intent, row.Written = "", written
		return now, false
	}
	row.After = &written
	return now, true
}

// untouched reports whether a record is as we wrote it; completing the other side is no touch.
func (r *Row) untouched(now *ledger.Transaction) bool {
	return now.Date == r.Written.Date && now.Amount.Equal(r.Written.Amount) && digest(r.Integration, now.Description) == r.Written.Text &&
		r.side(now, r.Written.Direction)
}

// side reports whether our Account is on the side of a record that the direction asks for.
func (r *Row) side(now *ledger.Transaction, d bank.Direction) bool {
	if d == bank.Out {
		return now.Credit == r.Account
	}
	return now.Debit == r.Account
}

// other gives the Account across from ours.
func (r *Row) other(now *ledger.Transaction, d bank.Direction) string {
	if d == bank.Out {
		return now.Debit
	}
	return now.Credit
}

// confirm writes down that the intent took place.
func (r *Row) confirm(record string) {
	switch r.Intent {
	case ToCreate:
		r.State, r.Record, r.Tried = Standing, record, nil
	case ToAmend, ToRevive:
		r.State, r.Written = Standing, *r.After
	case ToTrash:
		r.State, r.Waiting = Binned, false
	}
	r.Intent, r.After, r.sent = "", nil, false
}

// forgo writes down that the intent did not take place: the row is as it was and will be planned again.
func (r *Row) forgo() { r.Intent, r.After, r.sent = "", nil, false }

// hear settles an open intent by what the Book says: the record, or nil where it has none.
func (r *Row) hear(now *ledger.Transaction) {
	switch {
	case now == nil:
		r.forgo()
	case now.Trashed && r.Intent == ToTrash:
		r.confirm(now.ID)
	case now.Trashed && r.Intent == ToRevive:
		r.forgo()
	case now.Trashed:
		r.forgo()
		r.State, r.Record = Hand, now.ID
	case r.Intent == ToCreate:
		r.made(now)
	case r.Intent == ToRevive:
		r.State = Standing
		r.heardAmend(now)
	case r.Intent == ToAmend:
		r.heardAmend(now)
	default:
		r.forgo()
	}
}

// made settles a create by the record that stands. It can be that of an earlier attempt, which came late: then that is what is
// written, and made reports that the rest is to be planned.
func (r *Row) made(now *ledger.Transaction) (late bool) {
	if r.Tried != nil && !r.untouched(now) {
		tried := &Row{Integration: r.Integration, Account: r.Account, Written: *r.Tried}
		if late = tried.untouched(now); late {
			r.Written = *r.Tried
		}
	}
	r.confirm(now.ID)
	return late
}

func (r *Row) heardAmend(now *ledger.Transaction) {
	after := &Row{Integration: r.Integration, Account: r.Account, Written: *r.After}
	if after.untouched(now) && (now.Properties[pendingProperty] != "") == r.After.Pending {
		r.confirm(now.ID)
		return
	}
	r.forgo()
}
