package sim

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/secret"
)

// institution is a bank with its provider: what happens there, and what is told of it. Nothing fails in it.
type institution interface {
	bank.Reader
	// open opens accounts for the customer, called by accountName, and returns the bank's own ids of them.
	open(accounts int) []string
	// connect makes an item and returns its token.
	connect() (token string)
	disconnect(token string)
	// paged says how many rows a page has at most, where the provider lets its client choose.
	paged(rows int)

	// What becomes of rows, by the bank's own ids. Money that leaves the account is positive.
	add(account string, date civil.Date, amount decimal.Decimal, text string, pending bool) (id string)
	amend(id string, amount decimal.Decimal)
	settle(id string, s settlement) (now string)
	vanish(id string)
	rename(id string) // tells the same row as another one
	// disturb lets the provider's data change under the next readings, so many times.
	disturb(times int)
	// forget lets the provider refuse all cursors that it has given so far, where it has any to refuse.
	forget()

	due() time.Time          // when the bank does something by itself; the zero time is never
	pass()                   // lets it do that
	rings() []events.Message // what webhooks tell of since the last time
	// found is how long it may take until what no webhook told of is seen.
	found() time.Duration
}

// settlement is how a pending row settles.
type settlement struct {
	amount     *decimal.Decimal // where it differs
	addedFirst bool             // the settled row is told before the pending one is taken back
	split      bool             // with a page between the two
	unlinked   bool             // nothing says that they belong together
}

// Bank names a provider whose rules histories can follow.
type Bank string

// The banks.
const (
	Plaid  Bank = "plaid"
	Pluggy Bank = "pluggy"
)

// institutions makes each of them.
var institutions = map[Bank]func(*world) institution{Plaid: newPlaid, Pluggy: newPluggy}

func accountName(n int) string { return fmt.Sprintf("Account %d", n) }

// reader is what the poster sees of an institution: calls take their time, and fail.
type reader struct {
	w    *world
	bank institution
}

func (r reader) Item(ctx context.Context, token secret.String) (bank.Item, error) {
	f := r.w.call("bank item", posting.BankCall)
	if f == before {
		return bank.Item{}, &bank.Error{Kind: bank.Retry, Code: "FAULT", Err: errFault}
	}
	item, err := r.bank.Item(ctx, token)
	if err != nil {
		return bank.Item{}, err
	}
	return item, r.fail("bank item", f)
}

func (r reader) Changes(ctx context.Context, from bank.From) (bank.Page, error) {
	f := r.w.call("bank changes", posting.BankCall)
	if f == before {
		return bank.Page{}, &bank.Error{Kind: bank.Retry, Code: "FAULT", Err: errFault}
	}
	page, err := r.bank.Changes(ctx, from)
	if err != nil {
		r.w.log("bank refuses: %v", err)
		return bank.Page{}, err
	}
	if r.w.trace != nil {
		for _, t := range page.Changed {
			r.w.log("bank names %s (pending %v of %s) %s %s %s %q", t.ID, t.Pending, t.PendingID, t.Date, t.Direction, t.Amount, t.Text)
		}
		for _, g := range page.Removed {
			r.w.log("bank removes %s", g.ID)
		}
		for _, a := range page.Retold {
			r.w.log("bank has told all of %s since %s", a.Account, a.Since)
		}
	}
	return page, r.fail("bank changes", f)
}

func (r reader) fail(what string, f fate) error {
	if err := r.w.ended(what, f); err != nil {
		return &bank.Error{Kind: bank.Retry, Code: "FAULT", Err: err}
	}
	return nil
}
