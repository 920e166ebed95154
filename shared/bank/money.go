package bank

import (
	"fmt"
	"regexp"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"
	"golang.org/x/text/currency"
)

// Direction says which way money went, seen from the bank account.
type Direction string

// The directions of money.
const (
	In  Direction = "in"
	Out Direction = "out"
)

// Transaction is one movement on a bank account, as a provider's adapter tells it.
type Transaction struct {
	ID        string // the provider's; a new item gives new ids
	Account   string // Account.ID
	PendingID string // ID of the pending transaction that this one settles, where the bank says so
	Pending   bool
	Date      civil.Date        // as the bank writes it; never converted through a time zone by us
	Amount    decimal.Decimal   // magnitude, never negative
	Currency  string            // of Amount
	Direction Direction         // decided once, by the adapter
	Text      string            // raw bank text, unchanged
	Details   map[string]string // what else is worth keeping as properties; keys of at most 30 characters
}

// amounts are plain decimals; exponents are bounded so that a hostile "1e999999999" cannot take all memory.
var amounts = regexp.MustCompile(`^-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?$`)

// No bank has moved so much, and a Book takes no more digits than these: such a row must not stop the others of its batch.
const mostDigits, leastExponent = 20, -30

// ParseAmount reads a decimal number as JSON writes it. It refuses what is not a number or absurdly long.
func ParseAmount(s string) (decimal.Decimal, error) {
	if amounts.MatchString(s) {
		d, err := decimal.NewFromString(s)
		if err == nil && d.Exponent() >= leastExponent && d.NumDigits()+int(d.Exponent()) <= mostDigits {
			return d, nil
		}
	}
	return decimal.Decimal{}, fmt.Errorf("%.40q is not an amount", s)
}

// usable are ids that can be kept, looked for in a Book, and written in a query: printable, without quotation marks, not long.
var usable = regexp.MustCompile(`^[!#-&(-~]{1,200}$`)

// UsableID reports whether a provider's id of a transaction can be worked with. A row under another one is Unusable: it must not
// stop those that come after it.
func UsableID(id string) bool { return usable.MatchString(id) }

// UnnamedID is an id for a row that came without a usable one, the same whenever the same row comes, so that it is shown once.
func UnnamedID(row []byte) string { return "unnamed-" + Hash(string(row)) }

// Digits gives the number of fraction digits of a currency by ISO 4217; ok is false where the code is not official.
func Digits(code string) (digits int, ok bool) {
	unit, err := currency.ParseISO(code)
	if err != nil {
		return 0, false
	}
	digits, _ = currency.Standard.Rounding(unit)
	return digits, true
}
