package pluggy

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"
)

// Transaction is a row as an item shows it.
type Transaction struct {
	ID, AccountID    string
	Row              // its Date is as on the wire
	Signed           decimal.Decimal
	Order            int
	Created, Updated time.Time // at Pluggy
}

// Account is a bank account as an item shows it.
type Account struct {
	ID, ItemID       string
	Holding          // without rows
	Balance          decimal.Decimal
	Created, Updated time.Time
}

// Query is what /v2/transactions filters by. Dates are UTC; the zero time does not filter.
type Query struct {
	IDs          []string
	From, To     time.Time // days, inclusive
	CreatedAfter time.Time // at or after this time of collection
	After        string    // cursor of the page before
}

// Page is one of /v2/transactions.
type Page struct {
	Transactions []Transaction
	After        string // cursor of the next page; empty is none
}

func (b *Bank) account(client, id string) (*account, error) {
	a := b.accounts[id]
	if a == nil || a.item.client != client {
		return nil, notFound("ACCOUNT", "account not found")
	}
	b.tick(a.item)
	if b.accounts[id] == nil {
		return nil, notFound("ACCOUNT", "account not found")
	}
	return a, nil
}

// Transactions is a page of an account's, newest first.
func (b *Bank) Transactions(client, accountID string, q Query) (Page, error) {
	a, err := b.account(client, accountID)
	if err != nil {
		return Page{}, err
	}
	start := 0
	if q.After != "" {
		if start, err = a.after(q.After); err != nil {
			return Page{}, err
		}
	}
	var page Page
	for i, e := range a.sorted[start:] {
		if !q.matches(e) {
			continue
		}
		if len(page.Transactions) == pageSize {
			page.After = a.sorted[start+i-1].cursor()
			return page, nil
		}
		page.Transactions = append(page.Transactions, e.view())
	}
	return page, nil
}

func (q Query) matches(e *entry) bool {
	return (len(q.IDs) == 0 || slices.Contains(q.IDs, e.id)) &&
		(q.From.IsZero() || !e.at.Before(q.From)) && (q.To.IsZero() || e.at.Before(q.To.AddDate(0, 0, 1))) &&
		!e.created.Before(q.CreatedAfter)
}

func (e *entry) cursor() string {
	return base64.StdEncoding.EncodeToString([]byte(e.at.Format(wireTime) + "|" + e.id))
}

// after returns the place behind a cursor, whether or not what it names is still there.
func (a *account) after(cursor string) (int, error) {
	text, err := base64.StdEncoding.DecodeString(cursor)
	date, id, ok := strings.Cut(string(text), "|")
	at, wrong := time.Parse(wireTime, date)
	if err != nil || !ok || wrong != nil || uuid.Validate(id) != nil {
		return 0, badRequest("Invalid cursor")
	}
	i, found := slices.BinarySearchFunc(a.sorted, &entry{at: at, id: id}, func(x, y *entry) int { return x.compare(y.at, y.id) })
	if found {
		i++
	}
	return i, nil
}

// view is what the item shows of an entry.
func (e *entry) view() Transaction {
	r := e.shown
	if r.Card != nil && r.Bill != "" {
		card := *r.Card
		card.BillID, card.BillForecastDate = e.account.billID(r.Bill), ""
		r.Card = &card
	}
	return Transaction{
		ID: e.id, AccountID: e.account.id, Row: r, Signed: r.signed(r.Amount, e.account.holding.Type), Order: e.order,
		Created: e.created, Updated: e.updated,
	}
}

func (b *Bank) transaction(client, id string) (*entry, error) {
	e := b.entries[id]
	if e == nil || e.account.item.client != client {
		return nil, notFound("TRANSACTION", "transaction not found")
	}
	return e, nil
}

func (a *account) view(negativeCards bool) Account {
	v := Account{ID: a.id, ItemID: a.item.id, Holding: a.holding.Holding, Balance: a.balance, Created: a.created, Updated: a.updated}
	if a.holding.Type == CardAccount && negativeCards {
		v.Balance = v.Balance.Neg()
	}
	return v
}

// Accounts are those of an item that is a client's, in the order in which they were found.
func (b *Bank) Accounts(client, itemID string) ([]Account, error) {
	it, err := b.item(client, itemID)
	if err != nil {
		return nil, err
	}
	b.tick(it)
	list := []Account{}
	for _, a := range it.accounts {
		list = append(list, a.view(b.cfg.NegativeCards))
	}
	return list, nil
}

// Bill is a closed one of a card.
type Bill struct {
	ID, AccountID string
	Closing, Due  time.Time
	Total         decimal.Decimal
	Currency      string
	Charges       []Transaction // fees and taxes in it
	Payments      []Transaction // of the bill before
}

const mostBills = 12

func (a *account) billID(month string) string { return derivedID("bill/" + a.id + "/" + month) }

// bills are the closed ones, newest first.
func (a *account) bills() []Bill {
	byMonth := map[string]*Bill{}
	for _, e := range a.sorted {
		if e.shown.Bill == "" {
			continue
		}
		bill := byMonth[e.shown.Bill]
		if bill == nil {
			bill = a.newBill(e.shown.Bill)
			byMonth[e.shown.Bill] = bill
		}
		bill.add(e)
	}
	list := []Bill{}
	for _, bill := range byMonth {
		list = append(list, *bill)
	}
	slices.SortFunc(list, func(x, y Bill) int { return y.Closing.Compare(x.Closing) })
	return list[:min(mostBills, len(list))]
}

func (a *account) newBill(month string) *Bill {
	first, _ := time.Parse("2006-01", month) // a month that cannot be read closes in year one
	closing := first.AddDate(0, 0, closesOn-1)
	return &Bill{ID: a.billID(month), AccountID: a.id, Closing: closing, Due: closing.AddDate(0, 0, dueDays), Currency: a.holding.Currency}
}

func (bill *Bill) add(e *entry) {
	v := e.view()
	if v.OperationType == "PAGAMENTO" {
		bill.Payments = append(bill.Payments, v)
		return
	}
	bill.Total = bill.Total.Add(v.signed(v.inAccount().Round(2), CardAccount))
	if v.Card != nil && v.Card.FeeType != "" {
		bill.Charges = append(bill.Charges, v)
	}
}

// Visit is what a person does in the Connect widget.
type Visit struct {
	Connector      int    // -1 in update mode
	Item           string // of update mode
	User, Password string
	CPF            string // of connectors of Open Finance; empty takes any
	MFA            string // the answer to a second factor; empty answers none
	Deny           bool   // refuses the access at the bank's page
}

// Connect does what a person does in the Connect widget, all at once, and returns the item's id and status, as far as the
// clock lets it come. token is the id of the connect token. An item that ends in an error is no error: it exists.
func (b *Bank) Connect(client, token string, o ItemOptions, v Visit) (itemID, status string, err error) {
	it, err := b.visit(client, token, o, v)
	if err != nil {
		return "", "", err
	}
	b.tick(it)
	if it.status == WaitingAction {
		if err := b.authorise(it, v.User, v.Password, !v.Deny); err != nil {
			return it.id, it.status, err
		}
		b.tick(it)
	}
	if it.status == WaitingInput && v.MFA != "" {
		if err := b.answerMFA(it, map[string]string{it.parameter.Name: v.MFA}); err != nil {
			return it.id, it.status, err
		}
		b.tick(it)
	}
	return it.id, it.status, nil
}

func (b *Bank) visit(client, token string, o ItemOptions, v Visit) (*item, error) {
	if v.Item != "" {
		it, err := b.item(client, v.Item)
		if err != nil {
			return nil, err
		}
		return it, b.updateItem(it, ByUser, v.parameters(it.connector), ItemOptions{}, nil)
	}
	c, err := b.connector(v.Connector)
	if err != nil {
		return nil, err
	}
	return b.createItem(client, token, c.ID, v.parameters(c), nil, o)
}

// parameters are what the widget asks for at a connector.
func (v Visit) parameters(c *Connector) map[string]string {
	all := map[string]string{"user": v.User, "password": v.Password, "token": v.MFA, "cpf": v.CPF, "cnpj": v.CPF}
	out := map[string]string{}
	for _, asked := range c.Credentials {
		given := all[asked.Name]
		if given == "" && (asked.Name == "cpf" || asked.Name == "cnpj") {
			given = map[string]string{"cpf": "882.937.076-23", "cnpj": "12.345.678/0001-95"}[asked.Name]
		}
		out[asked.Name] = given
	}
	return out
}

// RemoveItem deletes an item that is a client's.
func (b *Bank) RemoveItem(client, itemID string) error {
	it, err := b.item(client, itemID)
	if err != nil {
		return err
	}
	b.removeItem(it)
	return nil
}

// State is what GET /items/{id} says of an item's condition.
type State struct {
	Status, Execution string
	Error             *ItemError
	ClientUserID      string
	Connector         int
	LastUpdated       time.Time // zero before the first
	ConsentExpires    time.Time // zero is never
}

// Item is the state of an item that is a client's.
func (b *Bank) Item(client, itemID string) (State, error) {
	it, err := b.item(client, itemID)
	if err != nil {
		return State{}, err
	}
	b.tick(it)
	return State{it.status, it.execution, it.err, it.options.ClientUserID, it.connector.ID, it.lastUpdated, it.consent.Expires}, nil
}
