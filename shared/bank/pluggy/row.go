package pluggy

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // the rule for dates needs São Paulo's clock on machines that have no zones of their own

	"cloud.google.com/go/civil"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/bank/internal/tolerant"
)

// Why a row cannot be used. A person reads these beside the row.
var (
	errNoDirection = errors.New("the bank did not say which way the money went")
	errForeign     = errors.New("the bank sent a transaction of another account")
)

// row is a transaction as it comes. All of the keys at its top are always there, as null where there is nothing; below, they are
// left out. Nothing is decoded further than needed.
type row struct {
	ID            jsontext.Value `json:"id"`
	Account       jsontext.Value `json:"accountId"`
	Description   jsontext.Value `json:"description"`
	Raw           jsontext.Value `json:"descriptionRaw"`
	Currency      jsontext.Value `json:"currencyCode"`
	Amount        jsontext.Value `json:"amount"`
	InOwnCurrency jsontext.Value `json:"amountInAccountCurrency"`
	Date          jsontext.Value `json:"date"`
	Type          jsontext.Value `json:"type"`
	Status        jsontext.Value `json:"status"`
	Category      jsontext.Value `json:"category"`
	Operation     jsontext.Value `json:"operationType"`
	Payment       jsontext.Value `json:"paymentData"`
	Card          jsontext.Value `json:"creditCardMetadata"`
	Merchant      jsontext.Value `json:"merchant"`
	Created       moment         `json:"createdAt"` // when Pluggy first had it, whatever its date

	whole   bool   // it was an object
	unnamed string // of a row without a usable id: one that is made up
}

func readRow(value jsontext.Value) row {
	var r row
	r.whole = tolerant.Object(value, &r)
	if !bank.UsableID(tolerant.Text(r.ID)) {
		r.unnamed = bank.UnnamedID(value)
	}
	return r
}

// name is the row's id, or one that is made up for it.
func (r row) name() string { return cmp.Or(r.unnamed, tolerant.Text(r.ID)) }

// transaction says the row in our words, for the account that was asked for.
func (r row) transaction(of bank.Account) (bank.Transaction, error) {
	t := bank.Transaction{ID: r.name(), Account: of.ID}
	switch at := tolerant.Text(r.Account); {
	case !r.whole:
		return t, bank.ErrNotRow
	case r.unnamed != "":
		return t, bank.ErrNoID
	case at != "" && !strings.EqualFold(at, of.ID):
		return t, errForeign
	}
	if err := r.money(&t, of); err != nil {
		return t, err
	}
	var ok bool
	if t.Date, ok = dateOf(tolerant.Text(r.Date)); !ok {
		return t, bank.ErrBadDate
	}
	t.Pending = tolerant.Text(r.Status) == "PENDING"
	t.Text = cmp.Or(tolerant.Text(r.Raw), tolerant.Text(r.Description))
	t.Details = r.details(t.Direction)
	if t.Text == "" {
		t.Text = cmp.Or(t.Details["merchant"], t.Details["operation"])
	}
	return t, nil
}

// money reads the amount and the way it went. The sign says nothing: a purchase by card is positive and a payment from a current
// account negative, and some banks have it otherwise. Where the row is in another currency than its account, what the account
// was charged stands beside it.
func (r row) money(t *bank.Transaction, of bank.Account) error {
	amount, currency := r.Amount, tolerant.Text(r.Currency)
	if number(r.InOwnCurrency) {
		amount, currency = r.InOwnCurrency, of.Currency
	}
	if len(amount) == 0 || amount.Kind() == 'n' {
		return bank.ErrNoAmount
	}
	value, err := bank.ParseAmount(string(amount))
	if err != nil {
		return bank.ErrBadAmount
	}
	if t.Currency = cmp.Or(currency, of.Currency); t.Currency == "" {
		return bank.ErrNoCurrency
	}
	switch tolerant.Text(r.Type) {
	case "DEBIT":
		t.Direction = bank.Out
	case "CREDIT":
		t.Direction = bank.In
	default:
		return errNoDirection
	}
	// Some banks give four decimals of a converted amount, which no statement shows.
	t.Amount = value.Abs()
	if digits, official := bank.Digits(t.Currency); official {
		t.Amount = t.Amount.Round(int32(digits))
	}
	return nil
}

func number(value jsontext.Value) bool { return value.Kind() == '0' }

// bankTime is the clock by which Brazil's banks write their days.
var bankTime = func() *time.Location {
	at, err := time.LoadLocation("America/Sao_Paulo")
	if err != nil {
		panic(fmt.Sprintf("the time zones are linked into the binary, and yet: %v", err))
	}
	return at
}()

// dateOf gives the day of a row. Days without a time come as midnight in São Paulo from some banks and as midnight UTC from
// others; times come in UTC, in which an evening in Brazil is the next day.
func dateOf(text string) (civil.Date, bool) {
	var at moment
	if err := at.UnmarshalJSON(fmt.Appendf(nil, "%q", text)); err != nil || at.IsZero() {
		return civil.Date{}, false
	}
	if at.Hour() == 0 && at.Minute() == 0 && at.Second() == 0 && at.Nanosecond() == 0 {
		return civil.DateOf(at.Time), true
	}
	return civil.DateOf(at.In(bankTime)), true
}

// details keeps what helps to recognise a transaction, in keys that a Book takes unchanged. The tax numbers of people stay out.
func (r row) details(way bank.Direction) map[string]string {
	var merchant struct {
		Name     loose `json:"name"`
		Business loose `json:"businessName"`
	}
	type side = maybe[struct {
		Name loose `json:"name"`
	}]
	var payment struct {
		Payer     side  `json:"payer"`
		Receiver  side  `json:"receiver"`
		Method    loose `json:"paymentMethod"`
		Reason    loose `json:"reason"`
		Reference loose `json:"referenceNumber"`
	}
	var card struct {
		Number    loose `json:"installmentNumber"`
		Total     loose `json:"totalInstallments"`
		Purchased loose `json:"purchaseDate"`
		Card      loose `json:"cardNumber"`
		Bill      loose `json:"billForecastDate"`
	}
	tolerant.Object(r.Merchant, &merchant)
	tolerant.Object(r.Payment, &payment)
	tolerant.Object(r.Card, &card)
	other := payment.Receiver.Value.Name
	if way == bank.In {
		other = payment.Payer.Value.Name
	}
	details := map[string]string{
		"merchant":          cmp.Or(string(merchant.Name), string(merchant.Business)),
		"category":          tolerant.Text(r.Category),
		"operation":         tolerant.Text(r.Operation),
		"counterparty":      string(other),
		"payment_method":    string(payment.Method),
		"payment_reason":    string(payment.Reason),
		"reference_number":  string(payment.Reference),
		"card":              string(card.Card),
		"bill_month":        billMonth(string(card.Bill)),
		"original_amount":   r.original(),
		"original_currency": "",
	}
	if details["original_amount"] != "" {
		details["original_currency"] = tolerant.Text(r.Currency)
	}
	if total := string(card.Total); card.Number != "" && total != "" && total != "0" && total != "1" {
		details["installment"] = string(card.Number) + "/" + total
	}
	if bought, ok := dateOf(string(card.Purchased)); ok {
		details["purchase_date"] = bought.String()
	}
	for key, value := range details {
		if value == "" {
			delete(details, key)
		}
	}
	return details
}

// original is the amount in the currency of the purchase, where that is another one than the account's.
func (r row) original() string {
	if !number(r.InOwnCurrency) || !number(r.Amount) {
		return ""
	}
	value, err := bank.ParseAmount(string(r.Amount))
	if err != nil {
		return ""
	}
	return value.Abs().String()
}

var months = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}$`)

// billMonth reads the month of the bill to which a row will belong; 0001-01 is Pluggy's word for none.
func billMonth(text string) string {
	if !months.MatchString(text) || slices.Contains([]string{"0001-01", "0000-00"}, text) {
		return ""
	}
	return text
}
