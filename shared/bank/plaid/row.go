package plaid

import (
	"cmp"
	"errors"

	"cloud.google.com/go/civil"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/bank/internal/tolerant"
)

// Why a row cannot be used. A person reads these beside the row.
var (
	errNoAccount = errors.New("the bank did not say which account the transaction belongs to")
)

// row is one of added, modified or removed. Nothing is decoded further than needed, so that an unforeseen type in a field
// that does not matter costs nothing.
type row struct {
	ID             jsontext.Value `json:"transaction_id"`
	Account        jsontext.Value `json:"account_id"`
	PendingID      jsontext.Value `json:"pending_transaction_id"`
	Pending        jsontext.Value `json:"pending"`
	Date           jsontext.Value `json:"date"`
	Amount         jsontext.Value `json:"amount"`
	ISO            jsontext.Value `json:"iso_currency_code"`
	Unofficial     jsontext.Value `json:"unofficial_currency_code"`
	Original       jsontext.Value `json:"original_description"`
	Name           jsontext.Value `json:"name"`
	Merchant       jsontext.Value `json:"merchant_name"`
	AuthorizedDate jsontext.Value `json:"authorized_date"`
	Channel        jsontext.Value `json:"payment_channel"`
	Code           jsontext.Value `json:"transaction_code"`
	Check          jsontext.Value `json:"check_number"`
	Category       jsontext.Value `json:"personal_finance_category"`
	Payment        jsontext.Value `json:"payment_meta"`

	whole bool // it was an object
}

func readRow(value jsontext.Value) row {
	var r row
	r.whole = tolerant.Object(value, &r)
	return r
}

// id is the row's own; "" where there is none that can be used.
func (r row) id() string {
	if id := tolerant.Text(r.ID); bank.UsableID(id) {
		return id
	}
	return ""
}

// transaction says the row in our words. Beside an error it holds what ids there were.
func (r row) transaction() (bank.Transaction, error) {
	t := bank.Transaction{ID: r.id(), Account: tolerant.Text(r.Account)}
	switch {
	case !r.whole:
		return t, bank.ErrNotRow
	case t.ID == "":
		return t, bank.ErrNoID
	case t.Account == "":
		return t, errNoAccount
	}
	if err := r.money(&t); err != nil {
		return t, err
	}
	date, err := civil.ParseDate(tolerant.Text(r.Date))
	if err != nil {
		return t, bank.ErrBadDate
	}
	t.Date = date
	t.Pending = string(r.Pending) == "true"
	if id := tolerant.Text(r.PendingID); bank.UsableID(id) {
		t.PendingID = id
	}
	t.Text = cmp.Or(tolerant.Text(r.Original), tolerant.Text(r.Name))
	t.Details = r.details()
	return t, nil
}

// money reads the amount. Plaid's sign is the same for every type of account: positive is money out of it, a purchase by card
// as well as a payment from a current account.
func (r row) money(t *bank.Transaction) error {
	if len(r.Amount) == 0 || r.Amount.Kind() == 'n' {
		return bank.ErrNoAmount
	}
	amount, err := bank.ParseAmount(string(r.Amount))
	if err != nil {
		return bank.ErrBadAmount
	}
	if t.Currency = cmp.Or(tolerant.Text(r.ISO), tolerant.Text(r.Unofficial)); t.Currency == "" {
		return bank.ErrNoCurrency
	}
	t.Amount, t.Direction = amount.Abs(), bank.Out
	if amount.IsNegative() {
		t.Direction = bank.In
	}
	return nil
}

// details keeps what helps to recognise a transaction, in keys that a Book takes unchanged.
func (r row) details() map[string]string {
	var category struct {
		Primary  jsontext.Value `json:"primary"`
		Detailed jsontext.Value `json:"detailed"`
	}
	var payment struct {
		Reference jsontext.Value `json:"reference_number"`
	}
	tolerant.Object(r.Category, &category)
	tolerant.Object(r.Payment, &payment)
	details := map[string]string{}
	for key, value := range map[string]string{
		"merchant":         tolerant.Text(r.Merchant),
		"category":         cmp.Or(tolerant.Text(category.Detailed), tolerant.Text(category.Primary)),
		"check_number":     tolerant.Text(r.Check),
		"payment_channel":  tolerant.Text(r.Channel),
		"transaction_code": tolerant.Text(r.Code),
		"reference_number": tolerant.Text(payment.Reference),
		"authorized_date":  tolerant.Text(r.AuthorizedDate),
	} {
		if value != "" {
			details[key] = value
		}
	}
	return details
}
