package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/secret"
)

// americanBank tells every change since a cursor, in pages that must be read anew where something changes meanwhile. What the
// provider's adapter does is done here in a few lines, for the sake of speed: the adapter has tests of its own.
type americanBank struct {
	*plaid.Bank
	rows    int             // a page
	refused map[string]bool // cursors that are refused
	given   []string
}

const (
	americanID = "ins_sim"
	customer   = "user"
)

func newPlaid(w *world) institution {
	seed := w.rng.Uint64()
	return &americanBank{Bank: plaid.NewBank(plaid.Config{
		Now: func() time.Time { return w.now }, Rand: rand.New(rand.NewPCG(seed, 1)),
		InitialDelay: w.between(0, 20*time.Second), HistoricalDelay: w.between(20*time.Second, 5*time.Minute), TellTwice: seed%4 == 0,
	})}
}

func (b *americanBank) open(accounts int) []string {
	_, err := b.AddInstitution(americanID, "Bank", []string{"US"}, false)
	must(err)
	var holdings []plaid.Holding
	for i := range accounts {
		holdings = append(holdings, plaid.Holding{
			Name: accountName(i), Mask: fmt.Sprintf("%04d", 1000+i), Type: "depository", Subtype: "checking", Currency: "USD",
		})
	}
	ids, err := b.AddCustomer(americanID, customer, holdings)
	must(err)
	return ids
}

func (b *americanBank) connect() string {
	public, err := b.SandboxPublicToken("client", americanID, customer, "pass_good", plaid.LinkRequest{
		Products: []string{"transactions"}, Webhook: "https://sim.example/", Transactions: plaid.TransactionOptions{Days: 730},
	})
	must(err)
	token, _, err := b.Exchange(public)
	must(err)
	return token
}

func (b *americanBank) disconnect(token string) { must(b.RemoveItem(token)) }
func (b *americanBank) paged(rows int)          { b.rows = rows }

func (b *americanBank) add(account string, date civil.Date, amount decimal.Decimal, text string, pending bool) string {
	ids, err := b.Add(account, plaid.Row{Date: date.String(), Amount: amount, Description: text, Pending: pending})
	must(err)
	return ids[0]
}

func (b *americanBank) amend(id string, amount decimal.Decimal) {
	must(b.Amend(id, plaid.Amendment{Amount: &amount}))
}

func (b *americanBank) settle(id string, s settlement) string {
	now, err := b.Settle(id, plaid.Settlement{Amount: s.amount, AddedFirst: s.addedFirst, Split: s.split, Unlinked: s.unlinked})
	must(err)
	return now
}

func (b *americanBank) vanish(id string) { must(b.Vanish(id)) }
func (b *americanBank) rename(id string) { must(b.Churn(id)) }

func (b *americanBank) disturb(times int) {
	if items := b.Items(); len(items) > 0 {
		must(b.ForceMutation(items[len(items)-1].ID, times))
	}
}

func (b *americanBank) forget() {
	b.refused = map[string]bool{}
	for _, cursor := range b.given {
		b.refused[cursor] = true
	}
}

func (b *americanBank) due() time.Time { return b.Due() }
func (b *americanBank) pass()          { b.Tick() }

func (b *americanBank) rings() (rings []events.Message) {
	b.Announce()
	for _, w := range b.Drain() {
		if w.Code == "SYNC_UPDATES_AVAILABLE" {
			rings = append(rings, events.Message{Item: w.ItemID})
		}
	}
	return rings
}

// found: every healthy connection is looked at within six hours.
func (b *americanBank) found() time.Duration { return 7 * time.Hour }

// Item implements bank.Reader.
func (b *americanBank) Item(_ context.Context, token secret.String) (bank.Item, error) {
	item, err := b.Bank.Item(token.Reveal())
	if err != nil {
		return bank.Item{}, translate(err)
	}
	told := bank.Item{ID: item.ID}
	if item.Error != nil {
		told.NeedsUser = item.Error.Code
		return told, nil
	}
	accounts, _, err := b.Accounts(token.Reveal(), nil)
	if err != nil {
		return bank.Item{}, translate(err)
	}
	for _, a := range accounts {
		told.Accounts = append(told.Accounts, bank.Account{ID: a.AccountID, Name: a.Name, Mask: a.Mask, Type: bank.Deposit, Currency: a.Balances.Currency})
	}
	return told, nil
}

// Changes implements bank.Reader.
func (b *americanBank) Changes(_ context.Context, from bank.From) (bank.Page, error) {
	if b.refused[from.At] {
		return bank.Page{}, &bank.Error{Kind: bank.Permanent, Code: "INVALID_FIELD", Err: bank.ErrCursor}
	}
	p, err := b.Sync(from.Token.Reveal(), plaid.SyncQuery{Cursor: from.At, Count: b.rows, Original: true})
	if err != nil {
		return bank.Page{}, translate(err)
	}
	page := bank.Page{Next: p.NextCursor, More: p.HasMore, Complete: p.Status == plaid.Historical}
	if p.NextCursor == "" {
		page.Next = from.At
	}
	if page.Next != "" {
		b.given = append(b.given, page.Next)
		delete(b.refused, page.Next) // it may be the same as one of before
	}
	for _, list := range [][]plaid.Transaction{p.Added, p.Modified} {
		for _, t := range list {
			page.Changed = append(page.Changed, transaction(t))
		}
	}
	for _, g := range p.Removed {
		page.Removed = append(page.Removed, bank.RemovedTransaction{ID: g.TransactionID, Account: g.AccountID})
	}
	return page, nil
}

func transaction(t plaid.Transaction) bank.Transaction {
	date, err := civil.ParseDate(t.Date)
	if err != nil {
		panic(err)
	}
	direction := bank.In
	if t.Amount.Sign() > 0 {
		direction = bank.Out
	}
	return bank.Transaction{
		ID: t.TransactionID, Account: t.AccountID, PendingID: t.PendingTransactionID, Pending: t.Pending, Date: date,
		Amount: t.Amount.Abs(), Currency: t.Currency, Direction: direction, Text: t.OriginalDescription,
	}
}

// translate does what the provider's adapter does for the refusals that can happen here.
func translate(err error) error {
	var pe *plaid.Error
	if !errors.As(err, &pe) {
		return &bank.Error{Kind: bank.OurFault, Code: "SANDBOX", Err: err}
	}
	switch pe.Code {
	case "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION":
		return &bank.Error{Kind: bank.Retry, Code: pe.Code, Err: bank.ErrMutated}
	case "INVALID_FIELD":
		return &bank.Error{Kind: bank.Permanent, Code: pe.Code, Err: bank.ErrCursor}
	case "ITEM_NOT_FOUND", "INVALID_ACCESS_TOKEN":
		return &bank.Error{Kind: bank.UserMustAct, Code: pe.Code, Err: bank.ErrGone}
	case "ITEM_LOGIN_REQUIRED":
		return &bank.Error{Kind: bank.UserMustAct, Code: pe.Code, Err: err}
	}
	return &bank.Error{Kind: bank.OurFault, Code: pe.Code, Err: err}
}
