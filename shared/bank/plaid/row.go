package plaid

import (
	"errors"

	"cloud.google.com/go/civil"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/bkper/automations-portal/shared/bank"
)

// Why a row cannot be used. A person reads these beside the row.
var (
	errNotRow     = errors.New("the bank sent something that is not a transaction")
	errNoID       = errors.New("the bank gave the transaction no id, or one that cannot be used")
	errNoAccount  = errors.New("the bank did not say which account the transaction belongs to")
	errNoAmount   = errors.New("the bank gave the transaction no amount")
	errBadAmount  = errors.New("the bank gave an amount that is not a number")
	errNoCurrency = errors.New("the bank gave the amount no currency")
	errBadDate    = errors.New("the bank gave no date, or one that does not exist")
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
	r.whole = value.Kind() == '{' && json.Unmarshal(value, &r, lenient) == nil
	return r
}

// id is the row's own; "" where there is none that can be used.
func (r row) id() string {
	if id := text(r.ID); bank.UsableID(id) {
		return id
	}
	return ""
}

// transaction says the row in our words. Beside an error it holds what ids there were.
func (r row) transaction() (bank.Transaction, error) {
	t := bank.Transaction{ID: r.id(), Account: text(r.Account)}
	switch {
	case !r.whole:
		return t, errNotRow
	case t.ID == "":
		return t, errNoID
	case t.Account == "":
		return t, errNoAccount
	}
	if err := r.money(&t); err != nil {
		return t, err
	}
	date, err := civil.ParseDate(text(r.Date))
	if err != nil {
		return t, errBadDate
	}
	t.Date = date
	t.Pending = string(r.Pending) == "true"
	if id := text(r.PendingID); bank.UsableID(id) {
		t.PendingID = id
	}
	t.Text = orElse(text(r.Original), text(r.Name))
	t.Details = r.details()
	return t, nil
}

// money reads the amount. Plaid's sign is the same for every type of account: positive is money out of it, a purchase by card
// as well as a payment from a current account.
func (r row) money(t *bank.Transaction) error {
	if len(r.Amount) == 0 || r.Amount.Kind() == 'n' {
		return errNoAmount
	}
	amount, err := bank.ParseAmount(string(r.Amount))
	if err != nil {
		return errBadAmount
	}
	if t.Currency = orElse(text(r.ISO), text(r.Unofficial)); t.Currency == "" {
		return errNoCurrency
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
	read(r.Category, &category)
	read(r.Payment, &payment)
	details := map[string]string{}
	for key, value := range map[string]string{
		"merchant":         text(r.Merchant),
		"category":         orElse(text(category.Detailed), text(category.Primary)),
		"check_number":     text(r.Check),
		"payment_channel":  text(r.Channel),
		"transaction_code": text(r.Code),
		"reference_number": text(payment.Reference),
		"authorized_date":  text(r.AuthorizedDate),
	} {
		if value != "" {
			details[key] = value
		}
	}
	return details
}

// text returns a JSON string's text; "" for null, nothing, and every other kind.
func text(value jsontext.Value) string {
	var s string
	if value.Kind() != '"' || json.Unmarshal(value, &s, lenient) != nil {
		return ""
	}
	return s
}

// read decodes an object and leaves out as it is where there is none.
func read(value jsontext.Value, out any) {
	if value.Kind() == '{' {
		_ = json.Unmarshal(value, out, lenient)
	}
}
