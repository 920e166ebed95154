package plaid

import (
	"cmp"
	"fmt"
	"time"

	"github.com/shopspring/decimal"
)

// Row is one line of an account's statement: what the bank knows, whatever Plaid shows of it.
type Row struct {
	Date        string          `json:"date"`                 // YYYY-MM-DD; empty is today. Pending: when it happened; settled: when it was posted
	Authorized  string          `json:"authorized,omitempty"` // YYYY-MM-DD, or empty where the bank does not say
	Amount      decimal.Decimal `json:"amount"`               // positive = money out of the account, as Plaid has it
	Currency    string          `json:"currency,omitempty"`   // ISO 4217; empty is the account's
	Description string          `json:"description"`          // the bank's raw text
	Name        string          `json:"name,omitempty"`       // Plaid's name; empty is the raw text
	Merchant    string          `json:"merchant,omitempty"`   // empty where Plaid recognised none
	Category    string          `json:"category,omitempty"`   // Plaid's detailed personal finance category
	Channel     string          `json:"channel,omitempty"`    // online, in store or other; empty is other
	Pending     bool            `json:"pending,omitempty"`
}

// Holding is an account as the bank keeps it, its statement included.
type Holding struct {
	Name, OfficialName, Mask string
	Type, Subtype            string // Plaid's: depository/checking, credit/credit card, …
	Currency                 string // ISO 4217
	Current                  decimal.Decimal
	Available, Limit         *decimal.Decimal // nil where the bank does not say
	Rows                     []Row            // Current and Available already count them
}

type customer struct {
	id                string
	institution, user string
	dynamic           bool // user_transactions_dynamic
	holdings          []*holding
	items             []*item // live ones
}

type holding struct {
	Holding
	id     string
	owner  *customer
	rows   []*row
	closed bool
}

type row struct {
	Row
	id        string
	n         int // place in the statement
	holding   *holding
	pendingOf string // the row that this one settled; empty where the bank did not say
	version   int
	gone      bool
}

// AddCustomer opens accounts at an institution for a user, who signs in with the password pass_good, and returns the bank
// account ids in the same order. It is an error if the institution is unknown or the user has accounts there already.
func (b *Bank) AddCustomer(institution, user string, accounts []Holding) ([]string, error) {
	if _, ok := b.institution(institution); !ok {
		return nil, fmt.Errorf("add customer: no institution %q", institution)
	}
	if b.customers[institution+"/"+user] != nil {
		return nil, fmt.Errorf("add customer: %s has accounts at %s already", user, institution)
	}
	c := b.newCustomer(institution, user)
	ids := make([]string, len(accounts))
	for i, a := range accounts {
		ids[i] = b.open(c, a).id
	}
	return ids, nil
}

func (b *Bank) newCustomer(institution, user string) *customer {
	c := &customer{id: institution + "/" + user, institution: institution, user: user}
	b.customers[c.id] = c
	b.dirty.Touch(c)
	return c
}

// open adds an account to a customer. The ids of the account and its rows come from the customer and their order, so the
// same customer has the same ids wherever it is made.
func (b *Bank) open(c *customer, a Holding) *holding {
	h := &holding{Holding: a, id: fmt.Sprintf("%s/%d", c.id, len(c.holdings)), owner: c}
	h.Rows = nil
	c.holdings = append(c.holdings, h)
	b.holdings[h.id] = h
	b.dirty.Touch(h)
	for _, r := range a.Rows {
		b.record(h, r)
	}
	return h
}

// record writes a row into the statement without moving the balance.
func (b *Bank) record(h *holding, r Row) *row {
	return b.recordAs(h, fmt.Sprintf("%s/%d", h.id, len(h.rows)), r)
}

func (b *Bank) recordAs(h *holding, id string, r Row) *row {
	r.Date = cmp.Or(r.Date, b.today())
	r.Currency = cmp.Or(r.Currency, h.Currency)
	r.Name = cmp.Or(r.Name, r.Description)
	r.Channel = cmp.Or(r.Channel, "other")
	line := &row{Row: r, id: id, n: len(h.rows), holding: h}
	h.rows = append(h.rows, line)
	b.rows[id] = line
	b.dirty.Touch(line)
	return line
}

// move counts a row into the balances, or out of them.
func (h *holding) move(r *row, in bool) {
	amount := r.Amount
	if !in {
		amount = amount.Neg()
	}
	if h.Available != nil {
		left := h.Available.Sub(amount)
		h.Available = &left
	}
	switch {
	case r.Pending:
	case h.Type == "depository":
		h.Current = h.Current.Sub(amount)
	default:
		h.Current = h.Current.Add(amount)
	}
}

// findHolding takes a bank account's own id or the account_id under which any Item shows it.
func (b *Bank) findHolding(id string) (*holding, error) {
	if h := b.holdings[id]; h != nil {
		return h, nil
	}
	if a := b.accounts[id]; a != nil {
		return a.holding, nil
	}
	return nil, fmt.Errorf("no bank account %q", id)
}

// findRow takes a row's own id or the transaction_id under which any Item shows it.
func (b *Bank) findRow(id string) (*row, error) {
	if r := b.rows[id]; r != nil {
		return r, nil
	}
	if e := b.entries[id]; e != nil {
		return e.row, nil
	}
	return nil, fmt.Errorf("no row %q", id)
}

// Add writes rows into an account's statement and returns their row ids. The account is named by its bank account id or by
// any account_id; every Item that shows the account shows the rows. Like every change at the bank it is told to nobody
// before Announce.
func (b *Bank) Add(account string, rows ...Row) ([]string, error) {
	h, err := b.findHolding(account)
	if err != nil {
		return nil, fmt.Errorf("add: %w", err)
	}
	ids := make([]string, len(rows))
	for i, r := range rows {
		line := b.record(h, r)
		h.move(line, true)
		b.show(line)
		ids[i] = line.id
	}
	b.dirty.Touch(h)
	return ids, nil
}

// Settlement says how a pending row becomes a settled one. Plaid shows it as the removal of the pending transaction and a
// new one that names it in pending_transaction_id.
type Settlement struct {
	Amount      *decimal.Decimal `json:"amount,omitempty"`      // nil keeps it; a tip changes it
	Date        string           `json:"date,omitempty"`        // posting date; empty is today
	Description string           `json:"description,omitempty"` // empty keeps it
	Unlinked    bool             `json:"unlinked,omitempty"`    // pending_transaction_id is null, as some banks leave it
	AddedFirst  bool             `json:"added_first,omitempty"` // the settled row comes before the removal
	Split       bool             `json:"split,omitempty"`       // the two never share a page
	KeepPending bool             `json:"keep_pending,omitempty"`
}

// Settle posts a pending row, named by row id or any transaction_id, and returns the settled row's id. With KeepPending
// the pending row stays until Vanish takes it.
func (b *Bank) Settle(id string, s Settlement) (string, error) {
	old, err := b.findRow(id)
	if err != nil {
		return "", fmt.Errorf("settle: %w", err)
	}
	if !old.Pending || old.gone {
		return "", fmt.Errorf("settle: row %q is not pending", id)
	}
	line := b.settled(old, s)
	steps := []func(){func() { b.drop(old) }, func() { old.holding.move(line, true); b.show(line) }}
	switch {
	case s.KeepPending:
		steps = steps[1:]
	case s.AddedFirst:
		steps[0], steps[1] = steps[1], steps[0]
	}
	steps[0]()
	if len(steps) == 2 {
		heads := b.heads(old.holding.owner)
		steps[1]()
		if s.Split {
			b.breakAfter(heads)
		}
	}
	b.dirty.Touch(old.holding)
	return line.id, nil
}

func (b *Bank) settled(old *row, s Settlement) *row {
	r := old.Row
	r.Pending = false
	r.Authorized = cmp.Or(old.Authorized, old.Date)
	r.Date = cmp.Or(s.Date, b.today())
	if s.Amount != nil {
		r.Amount = *s.Amount
	}
	if s.Description != "" {
		r.Description, r.Name = s.Description, s.Description
	}
	line := b.record(old.holding, r)
	if !s.Unlinked {
		line.pendingOf = old.id
	}
	return line
}

// drop takes a row off the statement.
func (b *Bank) drop(r *row) {
	r.holding.move(r, false)
	r.gone = true
	b.dirty.Touch(r)
	b.show(r)
}

// Amendment changes a row in place; what is nil or empty stays.
type Amendment struct {
	Amount      *decimal.Decimal `json:"amount,omitempty"`
	Date        string           `json:"date,omitempty"` // YYYY-MM-DD
	Description string           `json:"description,omitempty"`
}

// Amend changes a row, named by row id or any transaction_id; Plaid reports it as modified.
func (b *Bank) Amend(id string, a Amendment) error {
	r, err := b.findRow(id)
	if err != nil {
		return fmt.Errorf("amend: %w", err)
	}
	if r.gone {
		return fmt.Errorf("amend: row %q is gone", id)
	}
	r.holding.move(r, false)
	if a.Amount != nil {
		r.Amount = *a.Amount
	}
	r.Date = cmp.Or(a.Date, r.Date)
	if a.Description != "" {
		r.Description, r.Name = a.Description, a.Description
	}
	r.holding.move(r, true)
	r.version++
	b.dirty.Touch(r)
	b.dirty.Touch(r.holding)
	b.show(r)
	return nil
}

// Vanish takes a row, named by row id or any transaction_id, off the statement: a hold that was lifted, a settled row that
// the bank took back.
func (b *Bank) Vanish(id string) error {
	r, err := b.findRow(id)
	if err != nil {
		return fmt.Errorf("vanish: %w", err)
	}
	if r.gone {
		return fmt.Errorf("vanish: row %q is gone already", id)
	}
	b.drop(r)
	b.dirty.Touch(r.holding)
	return nil
}

// Return brings a row that vanished back; Plaid shows it under the transaction_id that it had.
func (b *Bank) Return(id string) error {
	r, err := b.findRow(id)
	if err != nil {
		return fmt.Errorf("return: %w", err)
	}
	if !r.gone {
		return fmt.Errorf("return: row %q is not gone", id)
	}
	r.gone = false
	r.version++
	r.holding.move(r, true)
	b.dirty.Touch(r)
	b.dirty.Touch(r.holding)
	b.show(r)
	return nil
}

// Churn gives a row, named by row id or any transaction_id, new transaction ids in every Item that shows it, though nothing
// happened at the bank: Plaid removes the old transaction and adds the same one anew.
func (b *Bank) Churn(id string) error {
	r, err := b.findRow(id)
	if err != nil {
		return fmt.Errorf("churn: %w", err)
	}
	for _, it := range r.holding.owner.items {
		if e := it.byRow[r.id]; e != nil && e.live() {
			b.supersede(it, e, e.account)
		}
	}
	return nil
}

// OpenAccount opens one more account for a customer that exists and returns its bank account id. Items do not show it
// before their user selects it in update mode; they are told NEW_ACCOUNTS_AVAILABLE at once.
func (b *Bank) OpenAccount(institution, user string, a Holding) (string, error) {
	c := b.customers[institution+"/"+user]
	if c == nil {
		return "", fmt.Errorf("open account: no customer %q at %q", user, institution)
	}
	h := b.open(c, a)
	for _, it := range c.items {
		b.emit(it, "ITEM", "NEW_ACCOUNTS_AVAILABLE", map[string]any{"error": nil})
	}
	return h.id, nil
}

// CloseAccount closes an account at the bank, named by bank account id or any account_id. It disappears from every Item
// without a word, as at Plaid.
func (b *Bank) CloseAccount(id string) error {
	h, err := b.findHolding(id)
	if err != nil {
		return fmt.Errorf("close account: %w", err)
	}
	h.closed = true
	b.dirty.Touch(h)
	for _, it := range h.owner.items {
		if a := it.shows(h); a != nil {
			a.gone = true
			b.dirty.Touch(it)
		}
	}
	return nil
}

// dynamicRefresh is what user_transactions_dynamic's bank does at every /transactions/refresh: all pending rows settle, one
// settled row costs 1.00 more, and new pending ones appear.
func (b *Bank) dynamicRefresh(c *customer) {
	h := c.holdings[0]
	var amended bool
	for _, r := range append([]*row(nil), h.rows...) {
		switch {
		case r.gone:
		case r.Pending:
			b.Settle(r.id, Settlement{})
		case !amended:
			amount := r.Amount.Add(decimal.NewFromInt(1))
			b.Amend(r.id, Amendment{Amount: &amount})
			amended = true
		}
	}
	n := len(h.rows)
	for i := range 3 {
		b.Add(h.id, Row{Amount: decimal.New(int64(500+(n+i)*37%4500), -2), Description: fmt.Sprintf("DYNAMIC PURCHASE %d", n+i), Pending: true})
	}
}

func dateOnly(s string) error {
	_, err := time.Parse(time.DateOnly, s)
	return err
}
