package plaid

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// Status is transactions_update_status: how much of an Item's history is loaded.
type Status string

// The values of Status, in the order in which an Item passes them.
const (
	NotReady   Status = "NOT_READY"
	Initial    Status = "INITIAL_UPDATE_COMPLETE"    // the last 30 days
	Historical Status = "HISTORICAL_UPDATE_COMPLETE" // all that was requested
	initialAge        = 30                           // days
	maxCursor         = 256                          // characters
	maxCount          = 500
)

// entry is what one Item shows of one row. The Item's log is its entries in the order of their last change: an entry moves
// to the end when it changes, and the position that it left stays empty, so a cursor is a position in the log.
type entry struct {
	id         string // transaction_id
	row        *row
	account    *account
	version    int
	at         int    // position in the log
	flips      []int  // positions at which it was added, removed, added, …
	breaks     bool   // a page ends before it
	pending    string // transaction_id of the pending entry that it settled; empty is null
	generation int
	superseded bool // a churned entry took its place
}

// live reports whether the Item shows the entry.
func (e *entry) live() bool { return len(e.flips)%2 == 1 }

// liveAt reports whether somebody who read the log up to a position knows the entry.
func (e *entry) liveAt(position int) bool {
	n := 0
	for _, f := range e.flips {
		if f < position {
			n++
		}
	}
	return n%2 == 1
}

// append moves an entry to the end of the log; flip says whether it appears or disappears by that.
func (b *Bank) append(it *item, e *entry, flip bool) {
	e.at = len(it.log)
	e.breaks = false
	e.version = e.row.version
	it.log = append(it.log, e)
	if flip {
		e.flips = append(e.flips, e.at)
	}
	b.dirty.Touch(e)
	b.dirty.Touch(it)
	switch {
	case !flip:
		it.news.changed = true
	case e.live():
		it.news.added++
	default:
		it.news.removed = append(it.news.removed, e.id)
	}
}

// show brings every Item of the row's customer up to date with it.
func (b *Bank) show(r *row) {
	for _, it := range r.holding.owner.items {
		b.reflect(it, r)
	}
}

// reflect brings one Item up to date with one row. An Item in an error sees nothing of its bank.
func (b *Bank) reflect(it *item, r *row) {
	a := it.shows(r.holding)
	if a == nil || it.err != nil || it.status == NotReady {
		return
	}
	e := it.byRow[r.id]
	if e == nil {
		if !r.gone && r.Date >= it.since() {
			b.append(it, b.newEntry(it, r, a, 0), true)
		}
		return
	}
	switch {
	case r.gone && e.live(), !r.gone && !e.live():
		b.append(it, e, true)
	case e.version != r.version && e.live():
		b.append(it, e, false)
	}
}

func (b *Bank) newEntry(it *item, r *row, a *account, generation int) *entry {
	id := derivedID(it.id, r.id, string(rune('a'+generation%26)), strings.Repeat("+", generation/26))
	e := &entry{id: id, row: r, account: a, generation: generation}
	if p := it.byRow[r.pendingOf]; p != nil {
		e.pending = p.id
	}
	it.byRow[r.id] = e
	b.entries[id] = e
	return e
}

// supersede removes an entry and shows its row anew under another transaction id.
func (b *Bank) supersede(it *item, e *entry, a *account) {
	e.superseded = true
	b.append(it, e, true)
	b.append(it, b.newEntry(it, e.row, a, e.generation+1), true)
}

// catchUp brings an Item up to date with every row of its accounts.
func (b *Bank) catchUp(it *item) {
	for _, a := range it.accounts {
		if a.gone || !transacts(a.holding) {
			continue
		}
		for _, r := range a.holding.rows {
			b.reflect(it, r)
		}
	}
}

// transacts reports whether the Transactions product covers an account.
func transacts(h *holding) bool {
	return h.Type == "depository" || h.Type == "credit" || h.Type == "loan" && h.Subtype == "student"
}

// since is the first date that the Item shows.
func (it *item) since() string {
	if it.status == Initial {
		return daysAgo(it.linked, min(initialAge, it.days))
	}
	return daysAgo(it.linked, it.days)
}

// heads notes where the logs of a customer's Items end.
func (b *Bank) heads(c *customer) map[*item]int {
	m := make(map[*item]int, len(c.items))
	for _, it := range c.items {
		m[it] = len(it.log)
	}
	return m
}

// breakAfter ends a page at each of the noted positions.
func (b *Bank) breakAfter(heads map[*item]int) {
	for it, n := range heads {
		if n < len(it.log) {
			it.log[n].breaks = true
			b.dirty.Touch(it.log[n])
		}
	}
}

// cursor is a place in one Item's log.
type cursor struct {
	pos    int // first position not yet read
	origin int // where the pagination began; changes are told relative to it
	head   int // the log's length when the page was made; pos < head means that more pages follow
}

func (c cursor) encode(item string) string {
	raw := append([]byte(item), 0)
	raw = binary.AppendUvarint(raw, uint64(c.pos))
	raw = binary.AppendUvarint(raw, uint64(c.origin))
	raw = binary.AppendUvarint(raw, uint64(c.head))
	return base64.StdEncoding.EncodeToString(raw)
}

// decodeCursor refuses what this Item never gave out.
func decodeCursor(it *item, text string) (c cursor, err error) {
	foreign := invalidField("cursor not associated with access_token")
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(text) > maxCursor {
		return c, foreign
	}
	rest, ok := strings.CutPrefix(string(raw), it.id+"\x00")
	if !ok {
		return c, foreign
	}
	left := []byte(rest)
	for _, field := range []*int{&c.pos, &c.origin, &c.head} {
		v, n := binary.Uvarint(left)
		if n <= 0 || v > uint64(len(it.log)) {
			return c, foreign
		}
		*field, left = int(v), left[n:]
	}
	if len(left) > 0 || c.origin > c.pos || c.pos > c.head {
		return c, foreign
	}
	return c, nil
}

// SyncQuery is a request of /transactions/sync.
type SyncQuery struct {
	Cursor   string
	Count    int  // 1 to 500; 0 is 100
	Original bool // include_original_description
	Days     int  // days_requested, 1 to 730, read only where the Item has no Transactions yet; 0 is 90
}

// Transaction is a row as Plaid shows it.
type Transaction struct {
	TransactionID        string
	AccountID            string
	Amount               decimal.Decimal // positive = money out
	Currency             string          // iso_currency_code
	Date                 string          // YYYY-MM-DD
	AuthorizedDate       string          // empty is null
	Name                 string
	MerchantName         string // empty is null
	OriginalDescription  string // empty unless the query asked for it
	Category             string // personal_finance_category.detailed; empty is null
	Channel              string
	Pending              bool
	PendingTransactionID string // empty is null
}

// Removed names a transaction that is no more.
type Removed struct {
	TransactionID string `json:"transaction_id"`
	AccountID     string `json:"account_id"`
}

// Page is an answer of /transactions/sync.
type Page struct {
	Added, Modified []Transaction
	Removed         []Removed
	Accounts        []Account // those that the page's transactions belong to
	NextCursor      string    // empty while Status is NotReady
	HasMore         bool
	Status          Status
}

// Sync answers /transactions/sync: the changes since a cursor, at most Count of added, modified and removed together, each
// as it stands now. An empty cursor replays the current state, all as added. It fails with
// TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION if anything changed since the page that the cursor came from and that page
// was not the last, and with INVALID_FIELD if the cursor is not this Item's. Its cost is that of the page and of the
// positions between its transactions that were left empty.
func (b *Bank) Sync(accessToken string, q SyncQuery) (Page, error) {
	it, err := b.healthy(accessToken)
	if err != nil {
		return Page{}, err
	}
	if q.Count < 0 || q.Count > maxCount {
		return Page{}, invalidField("count must be between 1 and %d", maxCount)
	}
	if q.Count == 0 {
		q.Count = 100
	}
	if err := b.startTransactions(it, q.Days); err != nil {
		return Page{}, err
	}
	if !it.synced {
		it.synced = true
		b.dirty.Touch(it)
	}
	if it.status == NotReady {
		return Page{Status: NotReady}, nil
	}
	from := cursor{}
	if q.Cursor != "" {
		if from, err = decodeCursor(it, q.Cursor); err != nil && b.cfg.CursorCode {
			err = refuse("INVALID_CURSOR")
		}
		if err != nil {
			return Page{}, err
		}
	}
	if from.pos < from.head {
		b.forcedMutation(it)
		if from.head != len(it.log) {
			return Page{}, refuse("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")
		}
	} else {
		from.origin = from.pos
	}
	return b.page(it, from, q), nil
}

// startTransactions adds the product to an Item that was made without it.
func (b *Bank) startTransactions(it *item, days int) error {
	if slices.Contains(it.products, "transactions") {
		return nil
	}
	if days < 0 || days > maxDays {
		return invalidField("days_requested must be between 1 and %d", maxDays)
	}
	it.products = append(it.products, "transactions")
	it.begin(b, days)
	b.tick(it)
	return nil
}

// forcedMutation moves the log under a reader where ForceMutation asked for it.
func (b *Bank) forcedMutation(it *item) {
	if it.mutations == 0 {
		return
	}
	for i := len(it.log) - 1; i >= 0; i-- {
		if e := it.log[i]; e != nil && e.at == i && e.live() {
			it.mutations--
			b.append(it, e, false)
			return
		}
	}
}

func (b *Bank) page(it *item, from cursor, q SyncQuery) Page {
	p := Page{Status: it.status}
	var touched []*account
	n, pos := 0, from.pos
	for ; pos < len(it.log); pos++ {
		e := it.log[pos]
		if e == nil || e.at != pos || !e.concerns(from.origin) {
			continue
		}
		if n == q.Count || n > 0 && e.breaks {
			p.HasMore = true
			break
		}
		n++
		if !slices.Contains(touched, e.account) {
			touched = append(touched, e.account)
		}
		switch known := e.liveAt(from.origin); {
		case !e.live():
			p.Removed = append(p.Removed, Removed{e.id, e.account.id})
		case known:
			p.Modified = append(p.Modified, e.show(q.Original))
		default:
			p.Added = append(p.Added, e.show(q.Original))
			if b.cfg.TellTwice {
				p.Modified = append(p.Modified, e.show(q.Original))
			}
		}
	}
	for _, a := range touched {
		if !a.gone {
			p.Accounts = append(p.Accounts, a.show())
		}
	}
	p.NextCursor = cursor{pos, from.origin, len(it.log)}.encode(it.id)
	return p
}

// concerns reports whether the entry is news to somebody who read the log up to origin. What an account shows is hidden
// while the account is gone; what was removed from it is told.
func (e *entry) concerns(origin int) bool {
	if e.live() {
		return !e.account.gone
	}
	return e.liveAt(origin)
}

func (e *entry) show(original bool) Transaction {
	r := e.row
	t := Transaction{
		TransactionID: e.id, AccountID: e.account.id, Amount: r.Amount, Currency: r.Currency, Date: r.Date,
		AuthorizedDate: r.Authorized, Name: r.Name, MerchantName: r.Merchant, Category: r.Category, Channel: r.Channel,
		Pending: r.Pending, PendingTransactionID: e.pending,
	}
	if original {
		t.OriginalDescription = r.Description
	}
	return t
}

// load moves an Item to the next status, shows what belongs to it and tells its owner.
func (b *Bank) load(it *item, to Status) {
	it.status = to
	b.catchUp(it)
	it.lastUpdate = b.now()
	b.dirty.Touch(it)
	added := it.news.added
	it.news = news{}
	code := "INITIAL_UPDATE"
	if to == Historical {
		code = "HISTORICAL_UPDATE"
	}
	b.emit(it, "TRANSACTIONS", code, map[string]any{"error": nil, "new_transactions": added})
	b.emitSync(it)
}

// emitSync tells of changes; Plaid does so only once /transactions/sync has been called for the Item.
func (b *Bank) emitSync(it *item) {
	if it.synced {
		b.emit(it, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE", map[string]any{
			"initial_update_complete": it.status != NotReady, "historical_update_complete": it.status == Historical,
		})
	}
}

// news is what an Item's owner was not told yet.
type news struct {
	added   int
	changed bool
	removed []string
}

// Announce tells the owners of all Items that changed since the last Announce: SYNC_UPDATES_AVAILABLE where the Item was
// synced before, and the older DEFAULT_UPDATE and TRANSACTIONS_REMOVED.
func (b *Bank) Announce() {
	for _, it := range b.sortedItems() {
		n := it.news
		it.news = news{}
		if n.added > 0 || n.changed || len(n.removed) > 0 {
			it.lastUpdate = b.now()
			b.dirty.Touch(it)
			b.emitSync(it)
		}
		if n.added > 0 {
			b.emit(it, "TRANSACTIONS", "DEFAULT_UPDATE", map[string]any{"error": nil, "new_transactions": n.added})
		}
		if len(n.removed) > 0 {
			b.emit(it, "TRANSACTIONS", "TRANSACTIONS_REMOVED", map[string]any{"error": nil, "removed_transactions": n.removed})
		}
	}
}

// ForceMutation makes the next times pages after a first one fail with the mutation error, by really moving the log.
func (b *Bank) ForceMutation(itemID string, times int) error {
	it, err := b.itemByID(itemID)
	if err != nil {
		return err
	}
	it.mutations = times
	return nil
}

// due returns when an Item next does something by itself.
func (it *item) due(expiry time.Duration) (first time.Time) {
	consider := func(t time.Time) {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if it.removed || it.err != nil {
		return first
	}
	switch it.status {
	case NotReady:
		consider(it.initialDue)
	case Initial:
		consider(it.historicalDue)
	case Historical:
	}
	if !it.consent.IsZero() {
		consider(it.consent)
		if !it.warned {
			consider(it.consent.Add(-consentWarning))
		}
	}
	if expiry > 0 {
		consider(it.signedIn.Add(expiry))
	}
	return first
}
