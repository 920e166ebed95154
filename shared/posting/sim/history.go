package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/vault"
)

// Violation is a promise that a history broke.
type Violation struct {
	Seed   uint64
	Reason string
	Trace  string // what happened, line by line; only of Replay
}

// Error says which history broke what.
func (v *Violation) Error() string { return fmt.Sprintf("seed %d: %s", v.Seed, v.Reason) }

// Runner runs histories one after another.
type Runner struct {
	Bank Bank // empty is Plaid
	crew crew
}

// Run runs the history of a seed. A *Violation is the only error.
func (r *Runner) Run(seed uint64) error {
	_, err := r.run(seed, memory.NewOfValues(), nil)
	return err
}

// Close ends what a Runner keeps between histories.
func (r *Runner) Close() { r.crew.close() }

// Replay runs a history and writes down what happens.
func Replay(at Bank, seed uint64) error {
	r := Runner{Bank: at}
	defer r.Close()
	var trace strings.Builder
	_, err := r.run(seed, memory.NewOfValues(), &trace)
	var v *Violation
	if errors.As(err, &v) {
		v.Trace = trace.String()
	}
	return err
}

func (r *Runner) run(seed uint64, documents *memory.Store, trace *strings.Builder) (life, error) {
	h := &history{world: newWorld(&r.crew, seed, trace), store: documents}
	defer h.dismiss()
	h.begin(cmp.Or(r.Bank, Plaid))
	err := h.live()
	if err == nil && len(h.broken) > 0 {
		err = errors.New(h.broken[0])
	}
	if err != nil {
		err = &Violation{Seed: seed, Reason: err.Error()}
	}
	return h.had, err
}

const (
	owner      = "owner@example.com"
	connection = "conn"
)

// history is the world with what lives in it: one person with one connection to a bank of one or two accounts, which feed
// one or two Books each from a start date of its own, for five minutes to three hours.
//
// Meanwhile the bank adds, settles, amends, names anew and takes back rows, also between the pages of one read; webhooks are
// lost, late, doubled and shuffled; at each outside call a process is slow, fails before or after the effect, dies, or
// sleeps beyond its lease; the store hardly answers for a minute; lists of the Books are older than the Books; the provider
// refuses its cursors; the person edits, notes and trashes records, locks Books, archives Accounts, saves, pauses and removes
// integrations, asks for what was trashed, and replaces the item by a new one. TestHistoriesAreFull says how much of each there is at least. Then nothing goes wrong any more, and what the Books hold must be what the
// bank has.
type history struct {
	*world
	store  *memory.Store // without faults, for people
	bank   institution
	books  *bkper.Service
	reader reader
	broker *broker
	post   *posting.Poster
	tokens map[string]secret.String

	accounts []string // bank account ids

	rows    []*row
	feeds   []*feed
	broken  []string
	renewed bool // the item was replaced
	noise   bool // the person edits, posts and trashes
	closed  bool // some Book was closed for a while
	forgot  bool // the provider refused its cursors

	locks      map[string]lock       // by Book
	everLocked map[string]civil.Date // by Book: the newest date that was ever locked
}

// row is one line of the bank's statement.
type row struct {
	id      string // the bank's
	token   string // stands in its description
	account int
	pending bool
	gone    bool
	date    civil.Date
	retold  bool              // it was there when the provider refused its cursors
	renamed bool              // it was told under another id with nothing that links the two
	amended bool              // its amount has changed once
	adrift  bool              // and then came a new item, which may not have told: nothing links the two amounts
	said    []decimal.Decimal // amounts that it has had
}

// feed is an integration, as its user knows it.
type feed struct {
	id      string
	book    string
	account int    // of the bank
	to      string // Account of the Book
	from    civil.Date
	least   civil.Date // earliest from that it ever had
	pending bool
	everPen bool
	stirred bool // was paused, removed or fed by a new item: removals at the bank may have been missed
	live    bool
	silent  bool                 // "removed" was answered
	touched map[string]bool      // records that the person has changed, by id
	wants   map[string]want      // the amount that the person gave a record, by id
	binned  map[string]bool      // remote ids of records that the person has trashed
	trashed map[string]bool      // tokens whose record the person has trashed
	either  map[string]bool      // tokens whose record was trashed while the trashed was to come back
	noted   map[string]time.Time // when the person noted something about a record, by id
}

// want is what a person made of a record.
type want struct {
	amount decimal.Decimal
	at     time.Time
}

func (h *history) begin(at Bank) {
	h.faults = []float64{0, 0.005, 0.02, 0.06}[h.rng.IntN(4)]
	h.noise = h.chance(0.7)
	clock := func() time.Time { return h.now }
	h.bank = institutions[at](h.world)
	ids := int64(0)
	books, err := bkper.New(bkper.Options{Now: clock, NewID: func() int64 { ids++; return ids }, Rules: bkper.Rules{
		BatchDuplicatesReturned: h.chance(0.3), TrashedBlocks: h.chance(0.3), BatchKeepsPrefix: h.chance(0.3), LockedDrafts: h.chance(0.3),
	}})
	must(err)
	if h.chance(0.3) {
		books.SetLag(h.between(0, 2*time.Second))
	}
	h.books, h.locks, h.everLocked = books, map[string]lock{}, map[string]civil.Date{}
	h.tokens = map[string]secret.String{}
	h.bank.paged(1 + h.rng.IntN(6))
	h.reader = reader{h.world, h.bank}
	h.broker = &broker{w: h.world, died: h.meanwhile}
	if h.chance(0.3) {
		h.broker.lost = 0.5
	}
	h.post = &posting.Poster{
		Store: database{h.world, h.store}, Tokens: h, Banks: map[string]bank.Reader{"bank": h.reader},
		Ledger: ledgerOf(h), Grants: grants{}, Events: h.broker, Log: slog.New(slog.DiscardHandler),
		Now: clock, Sleep: h.Sleep, Rand: h.rng.Float64,
	}
	if h.trace != nil {
		h.post.Log = slog.New(slog.NewTextHandler(lines{h.world}, &slog.HandlerOptions{ReplaceAttr: untimed}))
	}
	h.broker.post = h.post.Post
	h.openBank()
	h.openBooks()
	h.connect()
}

func ledgerOf(h *history) ledger.Ledger {
	return books{w: h.world, real: h.books, begins: h.leased, wrote: func(book string, op ledger.Operation, batch []ledger.Transaction) {
		if op == ledger.Create && h.noise && h.chance(0.05) {
			h.spawn("person", h.between(time.Millisecond, time.Second), h.trashes)
		}
		h.respects(book, op, batch)
		for _, f := range h.feeds {
			if f.book == book && op == ledger.Update {
				h.overwrites(f, batch)
				h.erases(f, batch)
			}
			if f.book != book || !f.silent {
				continue
			}
			for _, t := range batch {
				if t.Credit == f.to || t.Debit == f.to {
					h.fail("after Remove was answered, %s wrote %q into the Book", op, t.Description)
				}
			}
		}
	}}
}

// leases is what a glance at an engine tells of its lease.
var leases = store.Kind[struct {
	Lease posting.Lease `json:"lease"`
}]{Name: posting.Engines.Name}

// leased fails where a write begins that may not have ended when the lease does.
func (h *history) leased() {
	e, err := leases.Get(timeless{}, h.store, connection)
	must(err)
	if left := e.Lease.Until.Sub(h.now); left < posting.LedgerCall {
		h.fail("a write began though its time-out is %v and the lease ends in %v", posting.LedgerCall, left)
	}
}

// meanwhile lets the bank take something back between the death of a process and the work of the next.
func (h *history) meanwhile() {
	if r := h.pick(func(*row) bool { return true }); r != nil && h.chance(0.3) {
		h.spawn("bank", h.between(0, 30*time.Second), func() {
			if !r.gone {
				h.vanish(r)
			}
		})
	}
}

// instant is how long a person's change can be overlooked: the Book knows no compare-and-set, so what is changed while a
// write is on its way is lost.
const instant = time.Minute

// overwrites fails where a write takes back an amount that a person gave.
func (h *history) overwrites(f *feed, batch []ledger.Transaction) {
	for _, t := range batch {
		if want, ok := f.wants[t.ID]; ok && !t.Amount.Equal(want.amount) {
			if h.now.Sub(want.at) > instant && !h.said(tokenOf(t.Description), want.amount) {
				h.fail("overwritten: a person had made %q %s, and now it is %s", t.Description, want.amount, t.Amount)
			}
			delete(f.wants, t.ID)
		}
	}
}

// said reports whether the bank has had a row at an amount: where a person and the bank agreed, the bank may go on.
func (h *history) said(token string, amount decimal.Decimal) bool {
	return slices.ContainsFunc(h.rows, func(r *row) bool { return r.token == token && slices.ContainsFunc(r.said, amount.Equal) })
}

func (h *history) fail(format string, args ...any) {
	h.broken = append(h.broken, fmt.Sprintf(format, args...))
	h.log("VIOLATION: %s", h.broken[len(h.broken)-1])
}

// lines are log lines in a trace, whose clock is the history's.
type lines struct{ w *world }

func untimed(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func (l lines) Write(p []byte) (int, error) {
	l.w.log("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}

// Get implements vault.Reader.
func (h *history) Get(_ context.Context, name string) (secret.String, error) {
	f := h.call("vault get", storeCall)
	if f == before {
		return secret.String{}, errFault
	}
	token, ok := h.tokens[name]
	if !ok {
		return token, vault.ErrNotFound
	}
	return token, h.ended("vault get", f)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (h *history) openBank() {
	h.accounts = h.bank.open(1 + h.rng.IntN(2))
	for range h.rng.IntN(8) {
		h.addRow(false, true)
	}
}

func (h *history) openBooks() {
	for i := range 1 + h.rng.IntN(2) {
		book, err := h.books.CreateBook(bkper.Caller{Email: owner}, bkper.Book{Name: fmt.Sprintf("Book %d", i), FractionDigits: new(2)})
		must(err)
		for a := range h.accounts {
			made, err := h.books.CreateAccounts(bkper.Caller{Email: owner}, book.ID, []bkper.Account{{Name: fmt.Sprintf("Bank %d", a), Type: bkper.Asset}})
			must(err)
			h.feeds = append(h.feeds, &feed{
				book: book.ID, account: a, to: made.Items[0].ID, touched: map[string]bool{}, wants: map[string]want{}, binned: map[string]bool{}, trashed: map[string]bool{},
				either: map[string]bool{}, noted: map[string]time.Time{},
			})
		}
	}
}

// connect makes an item and writes the connection down.
func (h *history) connect() {
	token := secret.New(h.bank.connect())
	h.tokens[vault.ConnectionToken(connection)] = token
	item, err := h.bank.Item(timeless{}, token)
	must(err)
	h.update(func(tx store.Tx) error {
		c, err := store.Connections.Load(tx, connection)
		if errors.Is(err, store.ErrNotFound) {
			c, err = &bank.Connection{ID: connection, Owner: owner, Provider: "bank", Created: h.now}, nil
		}
		must(err)
		accounts, moved := bank.Match(c.Accounts, item.Accounts)
		is, err := posting.Moved(tx, c.ID, accounts, moved)
		must(err)
		e, err := posting.Load(tx, connection)
		must(err)
		e.Mark(h.now)
		c.Item, c.State, c.Accounts, c.Reason = item.ID, bank.Active, accounts, ""
		for _, i := range is {
			must(store.Integrations.Put(tx, i))
		}
		must(store.Connections.Put(tx, c))
		return posting.Engines.Put(tx, e)
	})
	h.log("connected as item %s", item.ID)
}

func (h *history) update(body func(tx store.Tx) error) {
	must(h.store.Update(timeless{}, body))
}

func (h *history) ring() { h.broker.send(events.Message{Connection: connection}) }

// save links a feed, or saves it again.
func (h *history) save(f *feed, paused bool) { h.saves(f, paused, false) }

// saves is save, and asks for what was trashed.
func (h *history) saves(f *feed, paused, again bool) {
	h.update(func(tx store.Tx) error {
		c, err := store.Connections.Load(tx, connection)
		must(err)
		i := &bank.Integration{Book: f.book, Connection: connection, As: owner, State: bank.Live, From: f.from, Pending: f.pending, Paused: paused, Account: f.to}
		for _, a := range c.Accounts {
			if a.Name == accountName(f.account) {
				i.Key, i.Of, i.Currency = a.Key, a.Account, a.Currency
			}
		}
		i.ID = bank.IntegrationID(f.book, i.Key)
		f.id = i.ID
		old, err := store.Integrations.Load(tx, i.ID)
		if !errors.Is(err, store.ErrNotFound) {
			must(err)
		}
		if _, err = posting.Save(tx, i, old, h.now); again {
			must(posting.BringBack(tx, i))
		}
		return err
	})
	f.live, f.silent = true, false
	f.everPen = f.everPen || f.pending
	if f.least == (civil.Date{}) || f.from.Before(f.least) {
		f.least = f.from
	}
	f.stirred = f.stirred || paused
	h.had.saves++
	h.log("saved %s from %s pending %v paused %v", f.id[:6], f.from, f.pending, paused)
	h.ring()
}

// remove ends a feed as the function does: the mark first, then "removed" once nobody can write any more.
func (h *history) remove(f *feed) {
	var mark int64
	h.update(func(tx store.Tx) error {
		i, err := store.Integrations.Load(tx, f.id)
		must(err)
		e, err := posting.Load(tx, connection)
		must(err)
		mark = e.Mark(time.Time{})
		i.State = bank.Removed
		must(posting.Engines.Put(tx, e))
		return store.Integrations.Put(tx, i)
	})
	f.live, f.stirred = false, true
	h.had.removals++
	h.log("removing %s", f.id[:6])
	stopped, err := posting.AwaitStop(timeless{}, h.store, connection, mark, func() time.Time { return h.now }, h.Sleep)
	must(err)
	f.silent = stopped && !f.live
	h.log("remove answered %v", stopped)
}

// renew replaces the item by a new one, as disconnecting and reconnecting does.
func (h *history) renew() {
	var mark int64
	h.update(func(tx store.Tx) error {
		c, err := store.Connections.Load(tx, connection)
		must(err)
		e, err := posting.Load(tx, connection)
		must(err)
		mark = e.Mark(time.Time{})
		c.State = bank.Removing
		must(posting.Engines.Put(tx, e))
		return store.Connections.Put(tx, c)
	})
	for {
		stopped, err := posting.AwaitStop(timeless{}, h.store, connection, mark, func() time.Time { return h.now }, h.Sleep)
		must(err)
		if stopped {
			break
		}
	}
	h.bank.disconnect(h.tokens[vault.ConnectionToken(connection)].Reveal())
	delete(h.tokens, vault.ConnectionToken(connection))
	h.had.renewals++
	h.log("disconnected")
	h.sleep(h.between(0, 20*time.Minute))
	for _, r := range h.rows {
		r.adrift = r.adrift || r.amended
	}
	h.connect()
	h.renewed = true
	for _, f := range h.feeds {
		f.stirred = true
	}
	h.ring()
}

func (h *history) addRow(pending, old bool) {
	n := len(h.rows) + 1
	r := &row{token: fmt.Sprintf("ROW%d.", n), account: h.rng.IntN(len(h.accounts)), pending: pending}
	amount := decimal.New(int64(h.rng.IntN(4000)-2000), -2)
	if amount.IsZero() {
		amount = decimal.New(1, 0)
	}
	text := r.token
	if h.chance(0.2) && len(h.rows) > 0 { // an honest twin of another row but for its token
		text = r.token + " TWIN"
	}
	date := civil.DateOf(h.now)
	if old {
		date = date.AddDays(-h.rng.IntN(120))
	}
	r.date = date
	r.id = h.bank.add(h.accounts[r.account], date, amount, text, pending)
	h.rows = append(h.rows, r)
	h.had.rows++
	h.log("bank: new row %s pending %v %s", r.token, pending, amount)
}

// pick chooses a row that is at the bank.
func (h *history) pick(want func(*row) bool) *row {
	var fit []*row
	for _, r := range h.rows {
		if !r.gone && want(r) {
			fit = append(fit, r)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[h.rng.IntN(len(fit))]
}

// moves does one thing at the bank, or several in quick succession.
func (h *history) moves() {
	h.move()
	for h.chance(0.3) {
		h.sleep(h.between(10*time.Millisecond, 600*time.Millisecond))
		h.move()
	}
	if h.chance(0.1) { // one row, changed again and again while it is being recorded
		if r := h.pick(func(r *row) bool { return true }); r != nil {
			for range 2 + h.rng.IntN(4) {
				h.amend(r)
				h.sleep(h.between(100*time.Millisecond, 40*time.Second))
			}
		}
	}
}

// outage lets half of what the store is asked fail for a while, in which the bank goes on.
func (h *history) outage() {
	h.had.outages++
	h.down = true
	h.log("the store hardly answers")
	for range 1 + h.rng.IntN(2) {
		h.sleep(h.between(0, 20*time.Second))
		h.moves()
	}
	h.sleep(h.between(time.Second, 20*time.Second))
	h.down = false
	h.log("the store answers")
}

// amend changes the amount of a row at the bank.
func (h *history) amend(r *row) {
	if r.gone {
		return
	}
	amount := decimal.New(int64(1+h.rng.IntN(5000)), -2)
	h.bank.amend(r.id, amount)
	r.said = append(r.said, amount)
	r.amended, r.adrift = true, r.adrift || h.renewed
	h.had.changes++
	h.log("bank: %s is now %s", r.token, amount)
	h.announce()
}

// vanish takes a row off the bank's statement.
func (h *history) vanish(r *row) {
	h.bank.vanish(r.id)
	r.gone = true
	h.had.changes++
	h.log("bank: %s vanishes", r.token)
	h.announce()
}

// forgets lets the provider refuse all cursors that it has given, and so what it would have told next.
func (h *history) forgets() {
	if r := h.pick(func(*row) bool { return true }); r != nil && h.chance(0.5) {
		h.vanish(r)
	}
	h.bank.forget()
	h.forgot = true
	for _, r := range h.rows {
		r.retold = !r.gone
	}
	h.had.refusals++
	h.log("bank: no longer knows its cursors")
}

func (h *history) move() {
	switch h.rng.IntN(12) {
	case 0, 1, 2:
		h.addRow(false, h.chance(0.3))
	case 3, 4, 5:
		h.addRow(true, false)
	case 6, 7:
		if r := h.pick(func(r *row) bool { return r.pending }); r != nil {
			s := settlement{addedFirst: h.chance(0.3), split: h.chance(0.4), unlinked: h.chance(0.1)}
			if h.chance(0.3) {
				tip := decimal.New(int64(100+h.rng.IntN(900)), -2)
				s.amount = &tip
				r.amended, r.adrift = true, r.adrift || h.renewed
			}
			r.id, r.pending = h.bank.settle(r.id, s), false
			r.renamed = true // a provider may not link the two
			h.had.changes++
			h.log("bank: %s settles (added first %v, split %v, unlinked %v, other amount %v)", r.token, s.addedFirst, s.split, s.unlinked, s.amount != nil)
		}
	case 8:
		if r := h.pick(func(r *row) bool { return true }); r != nil {
			h.amend(r)
		}
	case 9:
		if r := h.pick(func(r *row) bool { return true }); r != nil {
			h.vanish(r)
		}
	case 10:
		if r := h.pick(func(r *row) bool { return !r.pending }); r != nil && h.chance(0.5) {
			h.bank.rename(r.id)
			r.renamed = true
			h.had.changes++
			h.log("bank: %s is named anew", r.token)
		}
	case 11:
		if len(h.tokens) > 0 && h.chance(0.5) {
			h.bank.disturb(1 + h.rng.IntN(2))
			h.had.changes++
			h.log("bank: pages will be disturbed")
		}
		added := 1 + h.rng.IntN(6)
		for range added {
			h.addRow(false, true)
		}
		r := h.rows[len(h.rows)-1-h.rng.IntN(added)]
		h.announce()
		h.sleep(h.between(20*time.Millisecond, 400*time.Millisecond))
		if !r.gone && h.chance(0.7) { // gone again before the pages were read to the end
			h.vanish(r)
		}
	}
	h.announce()
}

// announce sends the bank's webhooks, some of which are lost.
func (h *history) announce() {
	for _, ring := range h.bank.rings() {
		if h.chance(h.broker.lost) {
			h.had.lost++
			continue
		}
		ring.Provider = "bank"
		h.broker.send(ring)
	}
}

// hand is the person at work in the Book.
func (h *history) hand() {
	f := h.feeds[h.rng.IntN(len(h.feeds))]
	hand, err := h.books.Hand(f.book)
	must(err)
	all, err := hand.All()
	must(err)
	var drafts []bkper.Transaction
	for _, t := range all {
		if !bkper.True(t.Trashed) && f.has(t) {
			drafts = append(drafts, t)
		}
	}
	if len(drafts) == 0 {
		return
	}
	t := drafts[h.rng.IntN(len(drafts))]
	switch h.rng.IntN(4) {
	case 0:
		amount := decimal.New(int64(1+h.rng.IntN(5000)), -2).String()
		if decimal.RequireFromString(amount).Equal(fromBook(t).Amount) {
			return // no change at all
		}
		if _, err := hand.Edit(t.ID, bkper.Edit{Amount: &amount}); err == nil {
			f.touched[t.ID], f.wants[t.ID] = true, want{decimal.RequireFromString(amount), h.now}
			h.had.hands++
			h.log("person: %s %q is now %s", t.ID, t.Description, amount)
			h.amendToo(t)
		}
	case 1:
		text := t.Description + " seen"
		if _, err := hand.Edit(t.ID, bkper.Edit{Description: &text}); err == nil {
			f.touched[t.ID] = true
			h.had.hands++
			h.log("person: %s is now %q", t.ID, text)
			h.amendToo(t)
		}
	case 2:
		h.notes(f, hand, t)
	case 3:
		if _, err := hand.Trash(t.ID); err == nil {
			h.bin(f, t)
			h.had.hands++
			h.log("person: trashes %s %q", t.ID, t.Description)
		}
	}
}

// trashes is the person throwing away the newest record, perhaps before its maker knows that it stands.
func (h *history) trashes() {
	for _, f := range h.feeds {
		hand, err := h.books.Hand(f.book)
		must(err)
		all, err := hand.All()
		must(err)
		for _, t := range all {
			if !bkper.True(t.Trashed) && f.has(t) && h.chance(0.5) {
				if _, err := hand.Trash(t.ID); err == nil {
					h.bin(f, t)
					h.had.hands++
					h.log("person: trashes the new %s %q", t.ID, t.Description)
				}
				return
			}
		}
	}
}

// amendToo lets the bank change a row that the person has just changed.
func (h *history) amendToo(t bkper.Transaction) {
	if r := h.pick(func(r *row) bool { return r.token == tokenOf(t.Description) }); r != nil && h.chance(0.4) {
		h.amend(r)
	}
}

func tokenOf(description string) string {
	at := strings.IndexByte(description, '.')
	if at < 0 {
		return description
	}
	return description[:at+1]
}

// bin notes that the person has trashed a record.
func (h *history) bin(f *feed, t bkper.Transaction) {
	f.touched[t.ID] = true
	delete(f.wants, t.ID) // should it come back, it is as the bank has it
	if h.pleading(f) {
		f.either[tokenOf(t.Description)] = true
		return
	}
	f.trashed[tokenOf(t.Description)] = true
	for _, id := range t.RemoteIDs {
		f.binned[id] = true
	}
}

func (f *feed) has(t bkper.Transaction) bool {
	return (t.CreditAccount != nil && t.CreditAccount.ID == f.to) || (t.DebitAccount != nil && t.DebitAccount.ID == f.to)
}

// changes is the person at work in the portal.
func (h *history) changes() {
	f := h.feeds[h.rng.IntN(len(h.feeds))]
	switch {
	case !f.live:
		h.save(f, false)
		if h.chance(0.4) { // and away again while history is being imported
			h.sleep(h.between(50*time.Millisecond, 800*time.Millisecond))
			h.remove(f)
		}
	case h.chance(0.3):
		f.from = f.from.AddDays(-h.rng.IntN(60))
		h.save(f, false)
		if h.chance(0.4) {
			h.sleep(h.between(10*time.Millisecond, 400*time.Millisecond))
			if r := h.pick(func(r *row) bool { return true }); r != nil {
				h.vanish(r)
			}
		}
	case h.chance(0.3):
		f.pending = !f.pending
		h.save(f, false)
	case h.chance(0.3):
		h.save(f, true)
		h.sleep(h.between(0, 10*time.Minute))
		h.save(f, false)
	case h.chance(0.5):
		if h.chance(0.6) { // while something is being recorded
			h.move()
			h.sleep(h.between(10*time.Millisecond, 400*time.Millisecond))
		}
		h.remove(f)
		h.sleep(h.between(0, 10*time.Minute))
		if h.chance(0.8) && !f.live {
			h.save(f, false)
		}
	}
}

// live lets the history happen, brings it to rest, and checks it.
func (h *history) live() error {
	for _, f := range h.feeds {
		f.from = civil.DateOf(h.now).AddDays(-h.rng.IntN(90))
		f.pending = h.chance(0.5)
	}
	h.spawn("link", 0, func() {
		for _, f := range h.feeds {
			if h.chance(0.9) {
				h.save(f, false)
			}
			h.sleep(h.between(0, time.Minute))
		}
	})
	span := h.between(5*time.Minute, 3*time.Hour)
	h.repeat("bank", 3+h.rng.IntN(14), span, h.moves)
	if h.noise {
		h.repeat("person", h.rng.IntN(8), span, h.hand)
	}
	h.repeat("portal", h.rng.IntN(4), span, h.changes)
	if h.chance(0.25) {
		h.spawn("renew", h.between(0, span), h.renew)
	}
	if h.chance(0.25) {
		h.spawn("outage", span-h.between(0, time.Minute), h.outage)
	}
	if h.chance(0.25) {
		h.repeat("person", 1+h.rng.IntN(2), span, h.shuts)
	}
	if h.noise && h.chance(0.3) {
		h.repeat("portal", 1, span, h.pleads)
	}
	if h.chance(0.2) {
		h.repeat("bank", 1, min(span, h.between(time.Minute, 20*time.Minute)), h.forgets) // soon: history may still be loading
	}
	h.schedule(span)
	if err := h.run(start.Add(span)); err != nil {
		return err
	}
	h.calm = true
	h.log("all is calm")
	h.bank.disturb(0)
	rest := 30 * time.Minute
	if h.broker.lost > 0 {
		rest = h.bank.found()
	}
	if h.closed { // what is left behind is tried again after some hours
		rest = max(rest, 14*time.Hour)
	}
	h.schedule(rest)
	if err := h.run(h.now.Add(rest)); err != nil {
		return err
	}
	return h.check()
}

// repeat does something so many times at random moments.
func (h *history) repeat(name string, times int, span time.Duration, do func()) {
	for range times {
		h.spawn(name, h.between(0, span), do)
	}
}

// schedule is sync, once a minute, and the bank's own clock. Minutes in which nothing can be due are passed over.
func (h *history) schedule(span time.Duration) {
	h.spawn("sync", 0, func() {
		for until := h.now.Add(span); h.now.Before(until); h.sleep(time.Minute) {
			if due := h.bank.due(); !due.IsZero() && !due.After(h.now) {
				h.bank.pass()
				h.announce()
			}
			next := until
			if due := h.nextDue(); due.After(h.now) {
				next = earlier(next, due)
			} else if !due.IsZero() {
				h.ringDue()
			}
			h.rest(earlier(next, h.bank.due()))
		}
	})
}

// dues is what a glance at the engines tells.
var dues = store.Kind[struct {
	Due time.Time `json:"due,omitzero"`
}]{Name: posting.Engines.Name}

// nextDue is when the connection is due, if ever.
func (h *history) nextDue() time.Time {
	e, err := dues.Get(timeless{}, h.store, connection)
	must(err)
	return e.Due
}

func (h *history) ringDue() {
	due, err := posting.Rings(timeless{}, h.store, h.now, 10)
	must(err)
	for _, e := range due {
		h.broker.send(events.Message{Connection: e.Connection})
	}
}

// rest passes whole minutes until something is due or somebody is at work, who may make something due.
func (h *history) rest(next time.Time) {
	if len(h.queue) > 0 {
		next = earlier(next, start.Add(h.queue[0].wake))
	}
	if wait := next.Sub(h.now).Truncate(time.Minute); wait > 0 {
		h.sleep(wait)
	}
}

// earlier gives the first of two times, of which the second may be none.
func earlier(one, other time.Time) time.Time {
	if other.IsZero() || one.Before(other) {
		return one
	}
	return other
}

// atBank is what the bank has of a token now.
type atBank struct {
	settled, pending *bank.Transaction
}

// check compares every Book with the bank.
func (h *history) check() error {
	token := h.tokens[vault.ConnectionToken(connection)]
	item, err := h.bank.Item(timeless{}, token)
	if err != nil {
		return err
	}
	h.bank.paged(500)
	h.bank.disturb(0)
	truth := map[string]map[string]*atBank{} // by account and token
	name := map[string]string{}
	for _, a := range item.Accounts {
		name[a.ID], truth[a.Name] = a.Name, map[string]*atBank{}
	}
	for page := (bank.Page{More: true}); page.More; {
		if page, err = h.bank.Changes(timeless{}, bank.From{Token: token, At: page.Next}); err != nil {
			return err
		}
		for i := range page.Changed {
			t := &page.Changed[i]
			there := truth[name[t.Account]]
			at := there[tokenOf(t.Text)]
			if at == nil {
				at = &atBank{}
				there[tokenOf(t.Text)] = at
			}
			if t.Pending {
				at.pending = t
			} else {
				at.settled = t
			}
		}
	}
	for _, f := range h.feeds {
		if err := h.checkFeed(f, truth[accountName(f.account)]); err != nil {
			return err
		}
	}
	return nil
}

func (h *history) checkFeed(f *feed, truth map[string]*atBank) error {
	hand, err := h.books.Hand(f.book)
	must(err)
	all, err := hand.All()
	must(err)
	standing, told := map[string][]bkper.Transaction{}, h.flagged(f)
	for _, t := range all {
		if at, noted := f.noted[t.ID]; noted && t.Properties[note] == "" {
			return fmt.Errorf("erased: what a person noted at %s about %q", at, t.Description)
		}
		if f.has(t) && !bkper.True(t.Trashed) {
			standing[tokenOf(t.Description)] = append(standing[tokenOf(t.Description)], t)
		}
	}
	for token, ts := range standing {
		lost := truth[token] == nil && h.untold(f, ts[0])
		if len(ts) > 1 && f.live && !h.ambiguous(token) && !told[ts[0].ID] && !lost {
			return fmt.Errorf("doubled: %s stands %d times in account %d of Book %s, one of them in a person's hand", token, len(ts), f.account, f.book[:6])
		}
		untouched := 0
		for _, t := range ts {
			if slices.ContainsFunc(t.RemoteIDs, func(id string) bool { return f.binned[id] }) {
				return fmt.Errorf("resurrected: a person has trashed %s", token)
			}
			if !f.touched[t.ID] && !told[t.ID] {
				untouched++
			}
		}
		// A removed integration may have been stopped between a new name and the end of the read that takes the old one back.
		if untouched > 1 && f.live && !h.adrift(token) && !lost {
			return fmt.Errorf("doubled: %s stands %d times in account %d of Book %s", token, untouched, f.account, f.book[:6])
		}
		if truth[token] == nil && untouched > 0 && f.live && !f.stirred && !h.asks(f) && !lost {
			return fmt.Errorf("kept: %s is no longer at the bank and stands untouched", token)
		}
	}
	if !f.live {
		return nil
	}
	for _, token := range slices.Sorted(keysOf(truth)) {
		if err := h.checkToken(f, token, truth[token], standing[token], told); err != nil {
			return err
		}
	}
	return nil
}

// asks reports whether a person is asked about records that the bank no longer names, since there are too many of them.
func (h *history) asks(f *feed) bool {
	e, err := posting.Engines.Get(timeless{}, h.store, connection)
	must(err)
	return e.Progress[f.id].Vanished > 0
}

// ambiguous reports whether nothing tells that what the bank says of a row and what it said are the same.
func (h *history) ambiguous(token string) bool {
	return slices.ContainsFunc(h.rows, func(r *row) bool { return r.token == token && (r.renamed || r.adrift) })
}

func (h *history) adrift(token string) bool {
	return slices.ContainsFunc(h.rows, func(r *row) bool { return r.token == token && r.adrift })
}

// untold reports whether a record is older than all that the bank has told since its cursors were refused: whoever compares cannot
// miss it.
func (h *history) untold(f *feed, t bkper.Transaction) bool {
	return h.forgot && !slices.ContainsFunc(h.rows, func(r *row) bool {
		return r.account == f.account && r.retold && !r.gone && r.date.String() <= t.Date
	})
}

func (h *history) checkToken(f *feed, token string, at *atBank, ts []bkper.Transaction, told map[string]bool) error {
	t := at.settled
	if t == nil {
		t = at.pending
	}
	date := t.Date
	wanted := !date.Before(f.from) && (!t.Pending || f.pending)
	if !wanted {
		if len(ts) > 0 && date.Before(f.least) && !f.touched[ts[0].ID] {
			return fmt.Errorf("too early: %s of %s stands, the start date is %s", token, date, f.from)
		}
		if len(ts) > 0 && t.Pending && !f.everPen {
			return fmt.Errorf("pending: %s stands and has not settled", token)
		}
		return nil
	}
	if f.trashed[token] || f.either[token] {
		return nil // it may stand again only as another transaction of the bank's
	}
	if len(ts) == 0 {
		return fmt.Errorf("lost: %s of %s is missing from account %d of Book %s", token, date, f.account, f.book[:6])
	}
	for _, r := range ts {
		if f.touched[r.ID] || told[r.ID] || (len(ts) > 1 && h.adrift(token)) {
			return nil
		}
	}
	r := fromBook(ts[0])
	switch {
	case !r.Amount.Equal(t.Amount):
		return fmt.Errorf("amount: %s is %s at the bank and %s in the Book", token, t.Amount, r.Amount)
	case (t.Direction == bank.Out) != (r.Credit == f.to):
		return fmt.Errorf("direction: %s is the wrong way round", token)
	case r.Date != date:
		return fmt.Errorf("date: %s is of %s at the bank and of %s in the Book", token, date, r.Date)
	case (r.Properties["bank_pending"] != "") != t.Pending:
		return fmt.Errorf("pending mark: %s", token)
	case r.Posted:
		return fmt.Errorf("posted: %s is not a draft", token)
	}
	return nil
}

func keysOf(m map[string]*atBank) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
