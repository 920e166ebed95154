package pluggy

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

const mostIDs = 400 // transaction ids that one webhook names

// account is a bank account as one item shows it.
type account struct {
	id               string
	item             *item
	holding          *holding
	created, updated time.Time
	balance          decimal.Decimal // as last collected
	byRow            map[*row]*entry
	sorted           []*entry      // as /v2/transactions lists them
	stale            map[*row]bool // rows that changed since
}

// entry is a transaction: a row as an account last collected it.
type entry struct {
	id                string
	account           *account
	row               *row
	created, updated  time.Time
	version, identity int
	shown             Row
	at                time.Time
	order             int
}

// shows returns the item's account for a bank account, nil where it shows none.
func (it *item) shows(h *holding) *account {
	for _, a := range it.accounts {
		if a.holding == h {
			return a
		}
	}
	return nil
}

// Announce synchronises the items whose bank changed, unless Config leaves that to their next synchronisation: those
// that are well see the change and tell it.
func (b *Bank) Announce() {
	if len(b.fresh) == 0 {
		return
	}
	fresh := b.fresh
	b.fresh = map[string]*holding{}
	if b.cfg.WaitForSync {
		return
	}
	touched := map[*item]bool{}
	for _, h := range fresh {
		for _, it := range h.owner.items {
			touched[it] = true
		}
	}
	for _, it := range b.sortedItems() {
		if touched[it] && it.idle() && it.status == Updated && it.behind() {
			it.trigger = BySync
			it.lastUpdated, it.updated = b.now(), b.now()
			b.schedule(it, b.cfg.AutoSync)
			b.collect(it)
			b.emitItem(it, "item/updated", nil)
			b.dirty.Touch(it)
		}
	}
	clear(b.fresh)
}

// behind reports whether the bank has what the item does not show.
func (it *item) behind() bool {
	now := it.lastUpdated
	for _, a := range it.accounts {
		if len(a.stale) > 0 || a.holding.closed || !a.balance.Equal(a.holding.balance(now)) {
			return true
		}
	}
	return len(it.accounts) < it.open()
}

// open counts the accounts that the item would show.
func (it *item) open() (n int) {
	if len(it.accounts) == 0 {
		return 0
	}
	for _, h := range it.accounts[0].holding.owner.holdings {
		if !h.closed && it.reaches(h) {
			n++
		}
	}
	return n
}

// reaches reports whether the item gets at an account: a part of those of user-ok-account-error fails.
func (it *item) reaches(h *holding) bool {
	return kind(it.parameters["user"]) != "user-ok-account-error" || h.Type != CardAccount
}

// collect brings an item up to what its bank says, and tells what changed.
func (b *Bank) collect(it *item) {
	c := b.customer(it)
	for _, h := range c.holdings {
		b.grow(h)
		a := it.shows(h)
		switch {
		case h.closed && a != nil:
			b.dropAccount(a)
		case h.closed, !it.reaches(h):
		default:
			if a == nil {
				a = b.addAccount(it, h)
			}
			b.collectAccount(a)
		}
	}
}

// customer is the bank's side of an item; it comes into being with its first login.
func (b *Bank) customer(it *item) *customer {
	c := b.customers[it.customerID]
	if c == nil {
		c = b.newCustomer(it.connector.ID, it.parameters["user"])
		b.endow(c, it.connector)
	}
	if !slices.Contains(c.items, it) {
		c.items = append(c.items, it)
	}
	return c
}

func (b *Bank) addAccount(it *item, h *holding) *account {
	a := newAccount(b.newUUID(), it, h, b.now())
	for _, r := range h.rows {
		a.stale[r] = true
	}
	it.accounts = append(it.accounts, a)
	b.accounts[a.id] = a
	return a
}

func newAccount(id string, it *item, h *holding, now time.Time) *account {
	return &account{id: id, item: it, holding: h, created: now, updated: now, byRow: map[*row]*entry{}, stale: map[*row]bool{}}
}

func (b *Bank) dropAccount(a *account) {
	for _, e := range a.sorted {
		delete(b.entries, e.id)
		b.dirty.Forget(e)
	}
	a.item.accounts = slices.DeleteFunc(a.item.accounts, func(x *account) bool { return x == a })
	delete(b.accounts, a.id)
	b.dirty.Touch(a.item)
}

// collectAccount takes in the rows that changed.
func (b *Bank) collectAccount(a *account) {
	now := b.now()
	a.balance, a.updated = a.holding.balance(now), now
	rows := slices.SortedFunc(maps.Keys(a.stale), func(x, y *row) int { return cmp.Compare(x.n, y.n) })
	clear(a.stale)
	from := a.item.created.Truncate(day).AddDate(0, 0, -historyDays)
	var created, updated, deleted []*entry
	for _, r := range rows {
		e := a.byRow[r]
		if e != nil && (r.gone || e.identity != r.identity) {
			b.remove(e)
			deleted = append(deleted, e)
			e = nil
		}
		switch {
		case r.gone, e == nil && r.at.Before(from), e != nil && e.version == r.version:
		case e == nil:
			created = append(created, b.show(a, r, now))
		default:
			b.refresh(e, now)
			updated = append(updated, e)
		}
	}
	a.list(created)
	b.tell(a, now, created, updated, deleted)
}

func (b *Bank) show(a *account, r *row, now time.Time) *entry {
	e := &entry{id: b.newUUID(), account: a, row: r, created: now, identity: r.identity}
	b.entries[e.id] = e
	a.byRow[r] = e
	e.take(now)
	b.dirty.Touch(e)
	return e
}

// take makes an entry show its row as it is.
func (e *entry) take(now time.Time) {
	e.version, e.shown, e.at, e.order, e.updated = e.row.version, e.row.Row, e.row.at, e.row.order, now
}

// refresh is take for an entry that is listed.
func (b *Bank) refresh(e *entry, now time.Time) {
	e.unlist()
	e.take(now)
	e.list()
	b.dirty.Touch(e)
}

func (b *Bank) remove(e *entry) {
	e.unlist()
	delete(e.account.byRow, e.row)
	delete(b.entries, e.id)
	b.dirty.Forget(e)
}

// compare puts the newest first, and those of one moment in the order of their ids.
func (e *entry) compare(at time.Time, id string) int {
	return cmp.Or(at.Compare(e.at), strings.Compare(e.id, id))
}

// list takes entries in; many at once are sorted once.
func (a *account) list(entries []*entry) {
	const few = 32
	if len(entries) < few {
		for _, e := range entries {
			e.list()
		}
		return
	}
	a.sorted = append(a.sorted, entries...)
	slices.SortFunc(a.sorted, func(x, y *entry) int { return x.compare(y.at, y.id) })
}

func (e *entry) list() {
	at, _ := slices.BinarySearchFunc(e.account.sorted, e, func(x, y *entry) int { return x.compare(y.at, y.id) })
	e.account.sorted = slices.Insert(e.account.sorted, at, e)
}

func (e *entry) unlist() {
	at, found := slices.BinarySearchFunc(e.account.sorted, e, func(x, y *entry) int { return x.compare(y.at, y.id) })
	if found && e.account.sorted[at] == e {
		e.account.sorted = slices.Delete(e.account.sorted, at, at+1)
	}
}

// tell queues the webhooks of one account's changes.
func (b *Bank) tell(a *account, now time.Time, created, updated, deleted []*entry) {
	b.tellIDs(a, "transactions/deleted", deleted)
	if len(created) > 0 {
		first := slices.MinFunc(created, func(x, y *entry) int { return x.at.Compare(y.at) })
		b.emit(a.item, "transactions/created", map[string]any{
			"accountId": a.id, "transactionsCount": len(created), "transactionsMinDate": first.shown.Date,
			"transactionsCreatedAtFrom": now.Format(wireTime),
		})
	}
	b.tellIDs(a, "transactions/updated", updated)
}

func (b *Bank) tellIDs(a *account, name string, list []*entry) {
	for block := range slices.Chunk(list, mostIDs) {
		ids := make([]string, len(block))
		for i, e := range block {
			ids[i] = e.id
		}
		fields := map[string]any{"accountId": a.id, "clientId": a.item.client, "transactionIds": ids}
		if name == "transactions/updated" {
			fields["transactionsCount"] = len(ids)
		}
		b.emit(a.item, name, fields)
	}
}
