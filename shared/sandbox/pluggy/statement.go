package pluggy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// Types of rows and accounts.
const (
	Debit  = "DEBIT"  // money out; on a card a purchase
	Credit = "CREDIT" // money in; on a card a payment or refund

	BankAccount = "BANK"
	CardAccount = "CREDIT"
)

// wireTime is how Pluggy writes times.
const wireTime = "2006-01-02T15:04:05.000Z"

// Row is one line of an account's statement: what the bank knows, whatever Pluggy shows of it.
type Row struct {
	// Date is a time, RFC 3339 in UTC, as Pluggy will show it. A bare date is that day in São Paulo, T03:00:00.000Z, as
	// Open Finance has it; empty is now.
	Date        string           `json:"date"`
	Type        string           `json:"type"`                                 // DEBIT or CREDIT; empty is DEBIT
	Amount      decimal.Decimal  `json:"amount"`                               // without a sign, in Currency
	Currency    string           `json:"currency,omitempty"`                   // ISO 4217; empty is the account's
	InAccount   *decimal.Decimal `json:"amount_in_account_currency,omitempty"` // needed where Currency is not the account's
	Description string           `json:"description"`
	NoRaw       bool             `json:"no_raw,omitempty"` // descriptionRaw is null
	Pending     bool             `json:"pending,omitempty"`
	// ProviderID is the institution's own id. Empty takes one made from the row at connectors of Open Finance; at others
	// there is none.
	ProviderID    string                     `json:"provider_id,omitempty"`
	CategoryID    string                     `json:"category_id,omitempty"` // of /categories; empty is no enrichment
	OperationType string                     `json:"operation_type,omitempty"`
	Payment       *Payment                   `json:"payment,omitempty"`
	Card          *CardData                  `json:"card,omitempty"`
	Bill          string                     `json:"bill,omitempty"` // YYYY-MM of the closed bill that it is in
	Merchant      *Merchant                  `json:"merchant,omitempty"`
	Extra         map[string]json.RawMessage `json:"extra,omitempty"` // members that no client knows
}

// Payment is paymentData.
type Payment struct {
	Payer               *Party          `json:"payer"`
	Receiver            *Party          `json:"receiver"`
	Reason              *string         `json:"reason"`
	ReferenceNumber     *string         `json:"referenceNumber"`
	ReceiverReferenceID *string         `json:"receiverReferenceId"`
	Method              string          `json:"paymentMethod"`
	Boleto              json.RawMessage `json:"boletoMetadata"`
}

// Party is who pays or is paid; what is not known is left out.
type Party struct {
	Name          string    `json:"name,omitempty"`
	Document      *Document `json:"documentNumber,omitempty"`
	AccountNumber string    `json:"accountNumber,omitempty"`
	BranchNumber  string    `json:"branchNumber,omitempty"`
	RoutingNumber string    `json:"routingNumber,omitempty"`
}

// Document is a CPF or CNPJ, punctuated.
type Document struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// CardData is creditCardMetadata; what is not known is left out.
type CardData struct {
	Installment      int              `json:"installmentNumber,omitempty"`
	Installments     int              `json:"totalInstallments,omitempty"`
	Total            *decimal.Decimal `json:"totalAmount,omitempty"`
	PurchaseDate     string           `json:"purchaseDate,omitempty"`
	PayeeMCC         json.RawMessage  `json:"payeeMCC,omitempty"` // a number; older rows have a text
	CardNumber       string           `json:"cardNumber,omitempty"`
	BillID           string           `json:"billId,omitempty"` // filled in where the row is in a closed bill
	BillForecastDate string           `json:"billForecastDate,omitempty"`
	FeeType          string           `json:"feeType,omitempty"`
	FeeTypeInfo      string           `json:"feeTypeAdditionalInfo,omitempty"`
	OtherCredits     string           `json:"otherCreditsType,omitempty"`
	OtherCreditsInfo string           `json:"otherCreditsAdditionalInfo,omitempty"`
}

// Merchant is whom Pluggy recognised.
type Merchant struct {
	Name         string `json:"name"`
	BusinessName string `json:"businessName"` // may be empty
	CNPJ         string `json:"cnpj"`
	CNAE         string `json:"cnae,omitempty"`
	Category     string `json:"category,omitempty"`
}

// Holding is an account as the bank keeps it, its statement included.
type Holding struct {
	Name, MarketingName string
	Number              string // "0001/12345-0"; of a card the last four digits
	Type, Subtype       string // BANK/CHECKING_ACCOUNT, BANK/SAVINGS_ACCOUNT, CREDIT/CREDIT_CARD
	Currency            string // ISO 4217
	Owner, TaxNumber    string
	Brand, Level        string          // of a card
	Limit               decimal.Decimal // of a card
	// Opening is the balance before the first row: of a card what is owed is positive.
	Opening decimal.Decimal
	Rows    []Row
	// Life says what happens in the account by itself as time passes: see history. Empty is nothing.
	Life string
}

type customer struct {
	id        string
	connector int
	user      string
	holdings  []*holding
	items     []*item // live ones
}

type holding struct {
	Holding
	id      string
	owner   *customer
	rows    []*row
	perDay  map[string]int // rows of each day, for their order
	total   decimal.Decimal
	closed  bool
	grownTo string // YYYY-MM-DD: until when Life has been lived
}

type row struct {
	Row
	id       string
	n        int // place in the statement
	order    int // place in its day
	at       time.Time
	holding  *holding
	version  int
	identity int // moves when Pluggy takes it for another transaction
	gone     bool
}

// AddCustomer opens accounts at a connector for a user, who signs in with the password password-ok, and returns the bank
// account ids in the same order. It is an error if the connector is unknown, the user has accounts there already, or a row
// cannot be.
func (b *Bank) AddCustomer(connector int, user string, accounts []Holding) ([]string, error) {
	if _, err := b.connector(connector); err != nil {
		return nil, fmt.Errorf("add customer: %w", err)
	}
	if b.customers[customerID(connector, user)] != nil {
		return nil, fmt.Errorf("add customer: %s has accounts at %d already", user, connector)
	}
	c := b.newCustomer(connector, user)
	ids := make([]string, len(accounts))
	for i, a := range accounts {
		h, err := b.open(c, a)
		if err != nil {
			return nil, fmt.Errorf("add customer: %w", err)
		}
		ids[i] = h.id
	}
	return ids, nil
}

func customerID(connector int, user string) string { return fmt.Sprintf("%d/%s", connector, user) }

func (b *Bank) newCustomer(connector int, user string) *customer {
	c := &customer{id: customerID(connector, user), connector: connector, user: user}
	b.customers[c.id] = c
	b.dirty.Touch(c)
	return c
}

// open adds an account to a customer. The ids of the account and its rows come from the customer and their order, so the
// same customer has the same ids wherever it is made.
func (b *Bank) open(c *customer, a Holding) (*holding, error) {
	h := &holding{Holding: a, id: fmt.Sprintf("%s/%d", c.id, len(c.holdings)), owner: c, perDay: map[string]int{}}
	h.Rows = nil
	c.holdings = append(c.holdings, h)
	b.holdings[h.id] = h
	for _, r := range a.Rows {
		if _, err := b.record(h, r); err != nil {
			return nil, err
		}
	}
	b.changed(h)
	return h, nil
}

// when reads a row's date.
func (b *Bank) when(date string) (time.Time, error) {
	if date == "" {
		return b.now(), nil
	}
	if len(date) == len(time.DateOnly) {
		date += "T03:00:00.000Z"
	}
	t, err := time.Parse(time.RFC3339Nano, date)
	if err != nil {
		return t, fmt.Errorf("date %q is neither YYYY-MM-DD nor RFC 3339", date)
	}
	return t.UTC().Truncate(time.Millisecond), nil
}

// record writes a row into the statement.
func (b *Bank) record(h *holding, r Row) (*row, error) {
	line := &row{id: fmt.Sprintf("%s/%d", h.id, len(h.rows)), n: len(h.rows), holding: h}
	if err := b.fill(line, r); err != nil {
		return nil, err
	}
	h.rows = append(h.rows, line)
	b.rows[line.id] = line
	h.total = h.total.Add(line.effect())
	b.stale(line)
	return line, nil
}

// fill completes a row and takes its place in its day.
func (b *Bank) fill(line *row, r Row) error {
	h := line.holding
	at, err := b.when(r.Date)
	r.Type, r.Currency = cmp.Or(r.Type, Debit), cmp.Or(r.Currency, h.Currency)
	switch {
	case err != nil:
		return err
	case r.Type != Debit && r.Type != Credit:
		return fmt.Errorf("type %q is neither DEBIT nor CREDIT", r.Type)
	case r.Amount.IsNegative() || r.InAccount != nil && r.InAccount.IsNegative():
		return fmt.Errorf("the amount of %q has a sign; its type says the direction", r.Description)
	case (r.Currency != h.Currency) != (r.InAccount != nil):
		return fmt.Errorf("%q in %s needs an amount in the account's %s, and one in it must have none", r.Description, r.Currency, h.Currency)
	}
	if c, _ := b.connector(h.owner.connector); r.ProviderID == "" && c.OpenFinance {
		r.ProviderID = derivedID("provider/" + line.id)
	}
	r.Date = at.Format(wireTime)
	line.Row, line.at = r, at
	line.order = h.perDay[r.Date[:10]]
	h.perDay[r.Date[:10]]++
	return nil
}

// effect is what the row adds to the account's balance by Pluggy's sign: money in is positive in a bank account, what is
// owed on a card. Banks settle in cents, though some tell four decimals.
func (r *row) effect() decimal.Decimal {
	if r.gone {
		return decimal.Zero
	}
	return r.signed(r.inAccount().Round(2), r.holding.Type)
}

func (r Row) inAccount() decimal.Decimal {
	if r.InAccount != nil {
		return *r.InAccount
	}
	return r.Amount
}

// signed gives an amount Pluggy's sign, which cards invert.
func (r Row) signed(amount decimal.Decimal, accountType string) decimal.Decimal {
	if (r.Type == Debit) == (accountType == CardAccount) {
		return amount
	}
	return amount.Neg()
}

// balance is what the bank says the account holds now. What is dated in the future counts on a card, where it uses up the
// limit, and not in a bank account.
func (h *holding) balance(now time.Time) decimal.Decimal {
	sum := h.Opening.Add(h.total)
	if h.Type == CardAccount {
		return sum
	}
	for _, r := range h.rows {
		if r.at.After(now) {
			sum = sum.Sub(r.effect())
		}
	}
	return sum
}

// stale notes that items that show the row's account have something to collect.
func (b *Bank) stale(r *row) {
	r.version++
	b.dirty.Touch(r)
	for _, it := range r.holding.owner.items {
		if a := it.shows(r.holding); a != nil {
			a.stale[r] = true
		}
	}
}

// changed notes that an account changed at the bank.
func (b *Bank) changed(h *holding) {
	b.dirty.Touch(h)
	b.fresh[h.id] = h
}

// findHolding takes a bank account's own id or the id under which any item shows it.
func (b *Bank) findHolding(id string) (*holding, error) {
	if h := b.holdings[id]; h != nil {
		return h, nil
	}
	if a := b.accounts[id]; a != nil {
		return a.holding, nil
	}
	return nil, fmt.Errorf("no bank account %q", id)
}

// findRow takes a row's own id or the transaction id under which any item shows it.
func (b *Bank) findRow(id string) (*row, error) {
	if r := b.rows[id]; r != nil {
		return r, nil
	}
	if e := b.entries[id]; e != nil {
		return e.row, nil
	}
	return nil, fmt.Errorf("no row %q", id)
}

// live is findRow for rows that are there.
func (b *Bank) live(id string) (*row, error) {
	r, err := b.findRow(id)
	if err == nil && r.gone {
		return nil, fmt.Errorf("row %q is gone", id)
	}
	return r, err
}

// Add writes rows into an account's statement and returns their row ids. The account is named by its bank account id or by
// the id under which any item shows it. Like every change at the bank it is seen by nobody before Announce, or before the
// item's next synchronisation where Config says so.
func (b *Bank) Add(account string, rows ...Row) ([]string, error) {
	h, err := b.findHolding(account)
	if err != nil {
		return nil, fmt.Errorf("add: %w", err)
	}
	ids := make([]string, len(rows))
	for i, r := range rows {
		line, err := b.record(h, r)
		if err != nil {
			return nil, fmt.Errorf("add: %w", err)
		}
		ids[i] = line.id
	}
	b.changed(h)
	return ids, nil
}

// What becomes of a transaction's id when its row changes.
const (
	KeepID   = "keep"
	ChangeID = "change"
)

// Amendment changes a row in place; what is nil or empty stays.
type Amendment struct {
	Amount      *decimal.Decimal `json:"amount,omitempty"`
	InAccount   *decimal.Decimal `json:"amount_in_account_currency,omitempty"`
	Date        string           `json:"date,omitempty"` // as Row.Date
	Description string           `json:"description,omitempty"`
	Type        string           `json:"type,omitempty"` // DEBIT or CREDIT
	CategoryID  string           `json:"category_id,omitempty"`
	Post        bool             `json:"post,omitempty"` // PENDING becomes POSTED
	Bill        string           `json:"bill,omitempty"` // YYYY-MM of the closed bill that it is in now
	// ID is keep or change. Empty does as Pluggy: a row with the institution's own id, or with the same amount, date and
	// description, keeps its transaction id and is told as updated; else the transaction is deleted and another created.
	ID string `json:"id_change,omitempty"`
}

// Amend changes a row, named by row id or any transaction id.
func (b *Bank) Amend(id string, a Amendment) error {
	r, err := b.live(id)
	if err != nil {
		return fmt.Errorf("amend: %w", err)
	}
	before, effect, order := r.Row, r.effect(), r.order
	after := before
	a.apply(&after)
	if err := b.fill(r, after); err != nil {
		return fmt.Errorf("amend: %w", err)
	}
	if r.Date[:10] == before.Date[:10] {
		r.order = order
	}
	switch {
	case a.ID == ChangeID, a.ID == "" && before.ProviderID == "" && before.likeness() != r.likeness():
		r.identity++
	}
	r.holding.total = r.holding.total.Sub(effect).Add(r.effect())
	b.stale(r)
	b.changed(r.holding)
	return nil
}

func (a Amendment) apply(r *Row) {
	if a.Amount != nil {
		r.Amount = *a.Amount
	}
	if a.InAccount != nil {
		r.InAccount = a.InAccount
	}
	if a.Post {
		r.Pending = false
	}
	r.Date, r.Description, r.Type = cmp.Or(a.Date, r.Date), cmp.Or(a.Description, r.Description), cmp.Or(a.Type, r.Type)
	r.CategoryID, r.Bill = cmp.Or(a.CategoryID, r.CategoryID), cmp.Or(a.Bill, r.Bill)
}

// likeness is by what Pluggy knows a row again whose institution gives no id.
func (r Row) likeness() string {
	return strings.Join([]string{r.Description, r.Type, r.Amount.String(), r.Date}, "|")
}

// Vanish takes a row, named by row id or any transaction id, off the statement.
func (b *Bank) Vanish(id string) error {
	r, err := b.live(id)
	if err != nil {
		return fmt.Errorf("vanish: %w", err)
	}
	r.holding.total = r.holding.total.Sub(r.effect())
	r.gone = true
	b.stale(r)
	b.changed(r.holding)
	return nil
}

// Return brings a row back, named by its row id. If its absence was told, Pluggy shows it as another transaction.
func (b *Bank) Return(id string) error {
	r, err := b.findRow(id)
	if err != nil {
		return fmt.Errorf("return: %w", err)
	}
	if !r.gone {
		return fmt.Errorf("return: row %q is not gone", id)
	}
	r.gone = false
	r.holding.total = r.holding.total.Add(r.effect())
	b.stale(r)
	b.changed(r.holding)
	return nil
}

// Churn gives a row, named by row id or any transaction id, another transaction id in every item, though nothing happened
// at the bank: the old transaction is deleted and the same one created anew.
func (b *Bank) Churn(id string) error {
	r, err := b.live(id)
	if err != nil {
		return fmt.Errorf("churn: %w", err)
	}
	r.identity++
	b.stale(r)
	b.changed(r.holding)
	return nil
}

// ChurnAccount churns every row of an account.
func (b *Bank) ChurnAccount(account string) error {
	h, err := b.findHolding(account)
	if err != nil {
		return fmt.Errorf("churn: %w", err)
	}
	for _, r := range h.rows {
		if !r.gone {
			r.identity++
			b.stale(r)
		}
	}
	b.changed(h)
	return nil
}

// SetBalance makes the bank say that an account holds this much, by Pluggy's sign, without a row for it: its opening
// balance moves.
func (b *Bank) SetBalance(account string, balance decimal.Decimal) error {
	h, err := b.findHolding(account)
	if err != nil {
		return fmt.Errorf("set balance: %w", err)
	}
	h.Opening = h.Opening.Add(balance).Sub(h.balance(b.now()))
	b.changed(h)
	return nil
}

// OpenAccount opens one more account for a customer that exists and returns its bank account id. Items show it after their
// next synchronisation.
func (b *Bank) OpenAccount(connector int, user string, a Holding) (string, error) {
	c := b.customers[customerID(connector, user)]
	if c == nil {
		return "", fmt.Errorf("open account: no customer %q at %d", user, connector)
	}
	h, err := b.open(c, a)
	if err != nil {
		return "", fmt.Errorf("open account: %w", err)
	}
	return h.id, nil
}

// CloseAccount closes an account at the bank. Items lose it, and its transactions, at their next synchronisation.
func (b *Bank) CloseAccount(account string) error {
	h, err := b.findHolding(account)
	if err != nil {
		return fmt.Errorf("close account: %w", err)
	}
	h.closed = true
	b.changed(h)
	return nil
}
