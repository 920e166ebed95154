// Package banktest is what every provider of bank data must do, as checks that run against the provider's adapter and a
// sandbox of its service.
package banktest

import (
	"context"
	"net/http"
	"testing"
	"time"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
)

// Harness is a provider and the sandbox behind it. Each check gets one of its own, with nothing connected yet.
type Harness struct {
	Provider bank.Provider
	Bank     Bank
	Faults   *Faults // stands before the sandbox

	Country     string     // where Institution is
	Institution string     // id of the bank at which people sign in; see Bank.SignIn
	Query       string     // finds it in the directory
	Today       civil.Date // at the bank

	// What a provider can and cannot do. What one cannot, its checks do not ask for.
	Signed  bool // webhooks are signed over their body, not only accompanied by a secret
	Linked  bool // a settled transaction names the pending one, unless it keeps its id
	Mutates bool // a read in pages is interrupted by a change

	// Secrets must never show in an error: the credentials that the provider was made with.
	Secrets []string
	// Sign makes the headers with which the service would send this body now.
	Sign func(body []byte) http.Header
}

// Bank is the bank's own side, and the person's. Nothing of it is seen by the provider but what its service tells.
type Bank interface {
	// SignIn is a person at the page to which Begin pointed, who signs in and shares every account. Hint is what the
	// browser would bring back to us; "" where it brings nothing. The bank must have more history than fits one page, an
	// account of type Deposit and one of type Card; every person signs in as the same customer.
	SignIn(context.Context, bank.Begun) (hint string, err error)
	// Leave is a person who opens the page and turns back.
	Leave(context.Context, bank.Begun) (hint string, err error)

	// Statement is all that stands on an account, which is named by Account.ID, as is Entry.Account.
	Statement(ctx context.Context, account string) ([]Entry, error)
	// Add writes a row; the name that it returns is good for the calls below.
	Add(context.Context, Entry) (row string, err error)
	// Settle posts a pending row with its final amount.
	Settle(ctx context.Context, row string, amount decimal.Decimal) error
	// Amend changes the amount of a row.
	Amend(ctx context.Context, row string, amount decimal.Decimal) error
	// Take takes a row off the statement.
	Take(ctx context.Context, row string) error
	// Open opens one more account for the customer of an item.
	Open(ctx context.Context, item string) error
	// BreakLogin makes the item need its person again.
	BreakLogin(ctx context.Context, item string) error
	// Revoke ends the consent at the bank.
	Revoke(ctx context.Context, item string) error
	// Mutate changes the bank's data between the pages of the next read of the item.
	Mutate(ctx context.Context, item string) error

	// Webhooks returns what the service has sent since the last call, waiting for what it is about to send.
	Webhooks(context.Context) ([]Webhook, error)
}

// Entry is a row of a bank's statement.
type Entry struct {
	Account   string
	Date      civil.Date
	Amount    decimal.Decimal // magnitude
	Direction bank.Direction
	Text      string
	Pending   bool
}

// Webhook is one as it arrives.
type Webhook struct {
	Header http.Header
	Body   []byte
}

// Check is one thing that a provider must do. Run returns why it does not.
type Check struct {
	Name string
	Run  func(context.Context, Harness) error
}

// Checks are all of them.
func Checks() []Check {
	var all []Check
	for _, some := range [][]Check{directory, linking, reading, changing, ending, doorbell, failing} {
		all = append(all, some...)
	}
	return all
}

// longest bounds one check: a provider that hangs fails.
const longest = time.Minute

// Run runs every check on a harness that open makes for it.
func Run(t *testing.T, open func(testing.TB) Harness) {
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), longest)
			defer cancel()
			if err := c.Run(ctx, open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}
