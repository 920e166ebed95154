package posting_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
)

// tester is what tests and properties have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
	Context() context.Context
}

// scriptedBank tells what changed since a cursor, as banks do: the newest version of what is there, and the ids of what is
// gone that was there at the cursor.
type scriptedBank struct {
	mu       sync.Mutex
	item     string
	accounts []bank.Account
	log      []change
	since    map[[2]int]delta // by where it begins and ends in the log
	size     int              // transactions a page
	loading  bool             // there is more history than can be read yet
	mutates  bool             // a read in pages during which something changes must start over
	reads    int
	retells  *civil.Date // it tells no removals, but with every change all that stands since then
	// on is called before every read, outside of the lock; its error is the answer.
	on func(from bank.From) error
}

// change is a new version of a transaction, or the end of it.
type change struct {
	bank.Transaction
	gone bool
}

type delta struct {
	changed []bank.Transaction
	removed []bank.RemovedTransaction
}

func newBank(accounts int) *scriptedBank {
	b := &scriptedBank{item: "item", size: 500, since: map[[2]int]delta{}}
	for n := range accounts {
		b.accounts = append(b.accounts, bankAccount(n))
	}
	return b
}

func bankAccount(n int) bank.Account {
	return bank.Account{
		ID: fmt.Sprintf("bank-account-%024d", n), Name: fmt.Sprint("Account ", n), Mask: fmt.Sprintf("%04d", n), Type: bank.Deposit, Currency: "USD",
	}
}

// says adds versions of transactions.
func (b *scriptedBank) says(ts ...bank.Transaction) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range ts {
		b.log = append(b.log, change{Transaction: t})
	}
}

// takesBack ends transactions.
func (b *scriptedBank) takesBack(ts ...bank.Transaction) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range ts {
		b.log = append(b.log, change{Transaction: t, gone: true})
	}
}

func (b *scriptedBank) Item(context.Context, secret.String) (bank.Item, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bank.Item{ID: b.item, Accounts: slices.Clone(b.accounts)}, nil
}

// renew makes the bank forget the item: a new one begins with what stands, and names accounts and transactions anew.
func (b *scriptedBank) renew(item string) {
	now, accounts := b.standing(), map[string]string{}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.item, b.log, b.since = item, nil, map[[2]int]delta{}
	for n := range b.accounts {
		was := b.accounts[n].ID
		b.accounts[n].ID = item + " " + bankAccount(n).ID
		accounts[was] = b.accounts[n].ID
	}
	for _, id := range slices.Sorted(maps.Keys(now)) {
		t := now[id]
		t.ID, t.PendingID, t.Account = item+" "+id, "", accounts[t.Account]
		b.log = append(b.log, change{Transaction: t})
	}
}

// Changes gives one page. A cursor is a place in the log; within a read it says besides where the read ends and how far it
// has come.
func (b *scriptedBank) Changes(_ context.Context, from bank.From) (bank.Page, error) {
	if b.on != nil {
		if err := b.on(from); err != nil {
			return bank.Page{}, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	begin, end, done, err := place(from.At, len(b.log))
	if err != nil {
		return bank.Page{}, err
	}
	if b.mutates && end != len(b.log) {
		return bank.Page{}, &bank.Error{Kind: bank.Retry, Code: "MUTATED", Err: bank.ErrMutated}
	}
	d := b.delta(begin, end)
	if b.retells != nil && from.At != "" && !strings.Contains(from.At, ":") {
		return b.retelling(d, end), nil
	}
	page := bank.Page{Complete: !b.loading, Next: strconv.Itoa(end)}
	changed := d.changed[min(done, len(d.changed)):]
	page.Changed = slices.Clone(changed[:min(b.size, len(changed))])
	if len(changed) > b.size {
		page.More, page.Next = true, fmt.Sprintf("%d:%d:%d", begin, end, done+b.size)
		return page, nil
	}
	page.Removed = slices.Clone(d.removed)
	return page, nil
}

// retelling is a page of a bank that tells no removals.
func (b *scriptedBank) retelling(d delta, end int) bank.Page {
	page := bank.Page{Complete: true, Next: strconv.Itoa(end)}
	if len(d.changed)+len(d.removed) == 0 {
		return page
	}
	for _, a := range b.accounts {
		page.Retold = append(page.Retold, bank.Retold{Account: a.ID, Since: *b.retells})
	}
	now := b.stands()
	for _, id := range slices.Sorted(maps.Keys(now)) {
		if !now[id].Date.Before(*b.retells) {
			page.Changed = append(page.Changed, now[id])
		}
	}
	return page
}

func place(at string, last int) (begin, end, done int, err error) {
	if at == "" {
		return 0, last, 0, nil
	}
	parts := strings.Split(at, ":")
	numbers := make([]int, len(parts))
	for i, p := range parts {
		if numbers[i], err = strconv.Atoi(p); err != nil {
			return 0, 0, 0, &bank.Error{Kind: bank.Permanent, Code: "CURSOR", Err: bank.ErrCursor}
		}
	}
	if len(parts) == 1 {
		return numbers[0], last, 0, nil
	}
	return numbers[0], numbers[1], numbers[2], nil
}

func (b *scriptedBank) delta(begin, end int) delta {
	if d, known := b.since[[2]int{begin, end}]; known {
		return d
	}
	known, last := map[string]bool{}, map[string]int{}
	for i, c := range b.log[:end] {
		if i < begin {
			known[c.ID] = !c.gone
		} else {
			last[c.ID] = i
		}
	}
	var d delta
	for i := begin; i < end; i++ {
		switch c := b.log[i]; {
		case last[c.ID] != i:
		case !c.gone:
			d.changed = append(d.changed, c.Transaction)
		case known[c.ID]:
			d.removed = append(d.removed, bank.RemovedTransaction{ID: c.ID, Account: c.Account})
		}
	}
	b.since[[2]int{begin, end}] = d
	return d
}

// standing are the transactions that the bank has now, by id.
func (b *scriptedBank) standing() map[string]bank.Transaction {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stands()
}

func (b *scriptedBank) stands() map[string]bank.Transaction {
	now := map[string]bank.Transaction{}
	for _, c := range b.log {
		now[c.ID] = c.Transaction
		if c.gone {
			delete(now, c.ID)
		}
	}
	return now
}

// shelf is a ledger of Books in memory.
type shelf struct {
	mu    sync.Mutex
	books map[string]*shelved
	last  int
	// on is called before every call, outside of the lock; its error is the answer.
	on func(op, book string) error
	// wrote is called, under the lock, with every batch that takes effect.
	wrote func(book string, op ledger.Operation, batch []ledger.Transaction)
	// deaf: new records are made, and neither that nor anything else is answered.
	deaf bool
}

type shelved struct {
	ledger.Book
	records  map[string]*ledger.Transaction // by id
	byRemote map[string][]*ledger.Transaction
	creates  int // records made
}

func newShelf(books ...ledger.Book) *shelf {
	s := &shelf{books: map[string]*shelved{}}
	for _, b := range books {
		s.books[b.ID] = &shelved{Book: b, records: map[string]*ledger.Transaction{}, byRemote: map[string][]*ledger.Transaction{}}
	}
	return s
}

// bookWith makes a Book with so many Accounts, "to-0" and on.
func bookWith(id string, accounts int) ledger.Book {
	b := ledger.Book{ID: id, Name: "Book " + id, Permission: ledger.Editor, Digits: 2, Currency: "USD"}
	for n := range accounts {
		b.Accounts = append(b.Accounts, ledger.Account{ID: fmt.Sprint("to-", n), Name: fmt.Sprint("Bank ", n), Type: ledger.Asset})
	}
	return b
}

func (s *shelf) Books(context.Context, secret.String) ([]ledger.Book, error) { return nil, nil }

func (s *shelf) CreateAccount(context.Context, secret.String, string, ledger.Account) (ledger.Account, error) {
	return ledger.Account{}, errors.New("not here")
}

// begin lets on decide, and takes the lock.
func (s *shelf) begin(op, book string) (*shelved, error) {
	if s.on != nil {
		if err := s.on(op, book); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	if b := s.books[book]; b != nil {
		return b, nil
	}
	s.mu.Unlock()
	return nil, &bank.Error{Kind: bank.Permanent, Code: "not_found", Err: ledger.ErrNotFound}
}

func (s *shelf) Book(_ context.Context, _ secret.String, id string) (ledger.Book, error) {
	b, err := s.begin("book", id)
	if err != nil {
		return ledger.Book{}, err
	}
	defer s.mu.Unlock()
	told := b.Book
	told.Accounts = slices.Clone(told.Accounts)
	return told, nil
}

func (s *shelf) Find(_ context.Context, _ secret.String, book string, q ledger.Query) (ledger.Found, error) {
	b, err := s.begin("find", book)
	if err != nil {
		return ledger.Found{}, err
	}
	defer s.mu.Unlock()
	if s.deaf {
		return ledger.Found{}, errNoAnswer
	}
	var found ledger.Found
	if q.RemoteID != "" {
		for _, t := range b.byRemote[q.RemoteID] {
			if t.Trashed == q.Trashed {
				found.Transactions = append(found.Transactions, clone(t))
			}
		}
		return found, nil
	}
	at := slices.IndexFunc(b.Accounts, func(a ledger.Account) bool { return a.Name == q.Account })
	for _, t := range b.sorted() {
		if at >= 0 && t.Trashed == q.Trashed && (t.Credit == b.Accounts[at].ID || t.Debit == b.Accounts[at].ID) && !t.Date.Before(q.From) && !t.Date.After(q.To) {
			found.Transactions = append(found.Transactions, clone(t))
		}
	}
	return found, nil
}

func (s *shelf) Write(_ context.Context, _ secret.String, book string, op ledger.Operation, batch []ledger.Transaction) ([]ledger.Transaction, error) {
	b, err := s.begin(string(op), book)
	if err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if len(batch) > ledger.MaxBatch {
		return nil, fmt.Errorf("a batch of %d", len(batch))
	}
	if s.wrote != nil {
		s.wrote(book, op, batch)
	}
	var out []ledger.Transaction
	for i := range batch {
		t := b.records[batch[i].ID]
		if (op == ledger.Create) != (t == nil) {
			if op == ledger.Create {
				return nil, fmt.Errorf("a new record with the id %q", batch[i].ID)
			}
			return nil, &bank.Error{Kind: bank.Permanent, Code: "not_found", Err: ledger.ErrNotFound}
		}
		switch op {
		case ledger.Create:
			if b.stands(batch[i].RemoteIDs) {
				continue
			}
			s.last++
			made := clone(&batch[i])
			made.ID = fmt.Sprintf("record-%08d", s.last)
			b.creates++
			b.keep(&made)
			t = &made
		case ledger.Update:
			if t.Trashed {
				continue
			}
			next := clone(&batch[i])
			next.Posted, next.Checked, next.Trashed = t.Posted, t.Checked, t.Trashed
			maps.DeleteFunc(next.Properties, func(_, v string) bool { return v == "" })
			b.forget(t)
			b.keep(&next)
			t = &next
		case ledger.Trash:
			t.Trashed = true
		case ledger.Revive:
			t.Trashed = false
		}
		out = append(out, clone(t))
	}
	if s.deaf {
		return nil, errNoAnswer
	}
	return out, nil
}

var errNoAnswer = &bank.Error{Kind: bank.Retry, Code: "no_answer"}

func clone(t *ledger.Transaction) ledger.Transaction {
	c := *t
	c.RemoteIDs, c.Properties = slices.Clone(t.RemoteIDs), maps.Clone(t.Properties)
	return c
}

func (b *shelved) stands(remoteIDs []string) bool {
	return slices.ContainsFunc(remoteIDs, func(id string) bool {
		return slices.ContainsFunc(b.byRemote[id], func(t *ledger.Transaction) bool { return !t.Trashed })
	})
}

func (b *shelved) keep(t *ledger.Transaction) {
	b.records[t.ID] = t
	for _, id := range t.RemoteIDs {
		b.byRemote[id] = append(b.byRemote[id], t)
	}
}

func (b *shelved) forget(t *ledger.Transaction) {
	delete(b.records, t.ID)
	for _, id := range t.RemoteIDs {
		b.byRemote[id] = slices.DeleteFunc(b.byRemote[id], func(o *ledger.Transaction) bool { return o == t })
	}
}

func (b *shelved) sorted() []*ledger.Transaction {
	return slices.SortedFunc(maps.Values(b.records), func(a, o *ledger.Transaction) int { return strings.Compare(a.ID, o.ID) })
}

// standing are copies of the records of a Book that are not in the trash, oldest first.
func (s *shelf) standing(book string) []ledger.Transaction { return s.list(book, false) }

func (s *shelf) list(book string, trashed bool) []ledger.Transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []ledger.Transaction
	for _, t := range s.books[book].sorted() {
		if t.Trashed == trashed {
			all = append(all, clone(t))
		}
	}
	return all
}

// edit changes a record as a person would.
func (s *shelf) edit(book, record string, how func(*ledger.Transaction)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how(s.books[book].records[record])
}

// consents are standing grants; those that are named in refused do not work any more.
type consents struct {
	mu      sync.Mutex
	refused map[string]bool
}

func (c *consents) Token(_ context.Context, sub string) (secret.String, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused[sub] {
		return secret.String{}, &bank.Error{Kind: bank.UserMustAct, Code: "invalid_grant"}
	}
	return secret.New("token of " + sub), nil
}

func (c *consents) Fresh(ctx context.Context, sub string) (secret.String, error) {
	return c.Token(ctx, sub)
}

func (c *consents) set(sub string, refused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = map[string]bool{sub: refused}
}

type tokens struct{}

func (tokens) Get(_ context.Context, name string) (secret.String, error) {
	return secret.New(name), nil
}

// bells keeps what was published.
type bells struct {
	mu    sync.Mutex
	rings []events.Message
}

func (b *bells) Publish(_ context.Context, _ events.Topic, m events.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rings = append(b.rings, m)
	return nil
}

func (b *bells) next() (events.Message, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.rings) == 0 {
		return events.Message{}, false
	}
	m := b.rings[0]
	b.rings = b.rings[1:]
	return m, true
}

// clock is moved by whoever sleeps.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clock) Sleep(_ context.Context, d time.Duration) error {
	c.pass(d)
	return nil
}

const (
	theConnection = "connection-1"
	theBook       = "book-1"
	theUser       = "user-1"
	theProvider   = "somebank"
)

// rig is a connection to a bank and the Books that it feeds, on a store.
type rig struct {
	tester
	store  store.Store
	bank   *scriptedBank
	shelf  *shelf
	grants *consents
	bells  *bells
	clock  *clock
}

// newRig makes a connection with so many accounts, and Books that have an Account for each.
func newRig(t tester, s store.Store, accounts int, books ...string) *rig {
	if len(books) == 0 {
		books = []string{theBook}
	}
	var all []ledger.Book
	for _, id := range books {
		all = append(all, bookWith(id, accounts))
	}
	r := &rig{
		tester: t, store: s, bank: newBank(accounts), shelf: newShelf(all...), grants: &consents{}, bells: &bells{},
		clock: &clock{now: time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC)},
	}
	conn := &bank.Connection{
		ID: theConnection, Owner: theUser, Provider: theProvider, Item: "item", State: bank.Active, Offered: books, Country: "US",
		Institution: bank.Institution{ID: "inst", Name: "Some Bank"}, Created: r.clock.now, Updated: r.clock.now,
	}
	for _, a := range r.bank.accounts {
		conn.Accounts = append(conn.Accounts, bank.LinkedAccount{Key: a.ID, Account: a})
	}
	r.update(func(tx store.Tx) error {
		return errors.Join(store.Connections.Put(tx, conn), posting.Engines.Put(tx, &posting.Engine{Connection: conn.ID}))
	})
	return r
}

func (r *rig) update(body func(store.Tx) error) {
	r.Helper()
	if err := r.store.Update(r.Context(), body); err != nil {
		r.Fatalf("update: %v", err)
	}
}

// poster makes a process.
func (r *rig) poster() *posting.Poster {
	return &posting.Poster{
		Store: r.store, Tokens: tokens{}, Banks: map[string]bank.Reader{theProvider: r.bank}, Ledger: r.shelf, Grants: r.grants, Events: r.bells,
		Log: slog.New(slog.DiscardHandler), Now: r.clock.Now, Sleep: r.clock.Sleep, Rand: func() float64 { return 0.5 },
	}
}

// wanted is an integration as a person saves it.
func (r *rig) wanted(book string, account int) *bank.Integration {
	a := r.bank.accounts[account]
	return &bank.Integration{
		ID: bank.IntegrationID(book, a.ID), Book: book, BookName: "Book " + book, Connection: theConnection, Key: a.ID,
		Bank: bank.Institution{ID: "inst"}, Of: a, Account: fmt.Sprint("to-", account), Currency: a.Currency,
		From: civil.Date{Year: 2000, Month: time.January, Day: 1}, As: theUser, State: bank.Live,
	}
}

// save stores an integration as linking does.
func (r *rig) save(i *bank.Integration) {
	r.Helper()
	r.update(func(tx store.Tx) error {
		old, err := store.Integrations.Load(tx, i.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		_, err = posting.Save(tx, i, old, r.clock.Now())
		return err
	})
}

// link saves an integration of an account and a Book, changed by how, which may be nil.
func (r *rig) link(book string, account int, how func(*bank.Integration)) *bank.Integration {
	r.Helper()
	i := r.wanted(book, account)
	if how != nil {
		how(i)
	}
	r.save(i)
	return i
}

// pause pauses all integrations, or resumes them.
func (r *rig) pause(paused bool) {
	r.Helper()
	is, err := store.Integrations.Find(r.Context(), r.store, store.Query{Field: store.ByConnection, Any: []string{theConnection}})
	if err != nil {
		r.Fatalf("integrations: %v", err)
	}
	for _, i := range is {
		i.Paused = paused
		r.save(i)
	}
}

// remove ends an integration as removing does, and tells the mark.
func (r *rig) remove(id string) (mark int64) {
	r.Helper()
	r.update(func(tx store.Tx) error {
		i, err := store.Integrations.Load(tx, id)
		if err != nil {
			return err
		}
		e, err := posting.Load(tx, i.Connection)
		if err != nil {
			return err
		}
		mark = e.Mark(time.Time{})
		i.State = bank.Removed
		return errors.Join(posting.Engines.Put(tx, e), store.Integrations.Put(tx, i))
	})
	return mark
}

// post is one event; what it rings for is posted as well.
func (r *rig) post() {
	r.Helper()
	r.deliver(events.Message{Connection: theConnection})
	for {
		m, more := r.bells.next()
		if !more {
			return
		}
		r.deliver(m)
	}
}

func (r *rig) deliver(m events.Message) {
	r.Helper()
	if err := r.poster().Post(r.Context(), m); err != nil {
		r.Fatalf("post: %v", err)
	}
}

func (r *rig) engine() *posting.Engine {
	r.Helper()
	e, err := posting.Engines.Get(r.Context(), r.store, theConnection)
	if err != nil {
		r.Fatalf("engine: %v", err)
	}
	return e
}

func (r *rig) integration(id string) *bank.Integration {
	r.Helper()
	i, err := store.Integrations.Get(r.Context(), r.store, id)
	if err != nil {
		r.Fatalf("integration: %v", err)
	}
	return i
}

// movement makes the n-th transaction of an account: 12.50 out, a day later for every ten.
func movement(account, n int) bank.Transaction {
	a := bankAccount(account)
	return bank.Transaction{
		ID: fmt.Sprintf("t-%d-%032d", account, n), Account: a.ID, Date: civil.Date{Year: 2020, Month: time.January, Day: 1}.AddDays(n / 10),
		Amount: decimal.New(1250, -2), Currency: a.Currency, Direction: bank.Out, Text: fmt.Sprintf("CARD PURCHASE %d AT A SHOP WITH A LONG NAME", n),
	}
}

func movements(account, from, n int) []bank.Transaction {
	ts := make([]bank.Transaction, n)
	for i := range ts {
		ts[i] = movement(account, from+i)
	}
	return ts
}

var _ vault.Reader = tokens{}

// choosy refuses batches with certain remote ids.
type choosy struct {
	*shelf
	bad map[string]bool
}

func (c choosy) Write(ctx context.Context, token secret.String, book string, op ledger.Operation, batch []ledger.Transaction) ([]ledger.Transaction, error) {
	for _, t := range batch {
		if c.bad[t.RemoteIDs[0]] {
			return nil, &bank.Error{Kind: bank.Permanent, Code: "refused", Err: ledger.ErrRefused}
		}
	}
	return c.shelf.Write(ctx, token, book, op, batch)
}
