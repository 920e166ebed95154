package posting_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/vault"
)

// byToken sends calls to the bank of the connection whose token it is.
type byToken map[string]bank.Reader

func (b byToken) Item(ctx context.Context, token secret.String) (bank.Item, error) {
	return b[token.Reveal()].Item(ctx, token)
}

func (b byToken) Changes(ctx context.Context, from bank.From) (bank.Page, error) {
	return b[from.Token.Reveal()].Changes(ctx, from)
}

// The journal of an integration that another connection has taken over, which counts its segments from one.
func TestTheJournalKeepsItsOrderWhenAnotherConnectionTakesOver(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	i := r.link(theBook, 0, func(i *bank.Integration) { i.Pending = true })
	pending, _ := pendingAnd(0)
	for n := range 30 {
		if n == 20 {
			r.bank.says(pending)
		}
		r.bank.says(movement(0, n+1))
		r.post()
	}
	var record ledger.Transaction
	for _, tx := range r.shelf.standing(theBook) {
		if len(tx.Properties) > 0 {
			record = tx
		}
	}
	r.shelf.edit(theBook, record.ID, func(tx *ledger.Transaction) { tx.Description = "Lunch" })
	r.disconnect(bank.Disconnected)
	second := newBank(1)
	second.item = "item-2"
	second.accounts[0].ID = "account-of-the-second"
	for n := range 30 {
		tx := movement(0, n+1)
		tx.ID, tx.Account = "second-"+tx.ID, second.accounts[0].ID
		second.says(tx)
	}
	r.update(func(tx store.Tx) error {
		return errors.Join(store.Connections.Put(tx, &bank.Connection{
			ID: "connection-2", Owner: theUser, Provider: theProvider, Item: "item-2", State: bank.Active, Institution: bank.Institution{ID: "inst"},
			Accounts: []bank.LinkedAccount{{Key: second.accounts[0].ID, Account: second.accounts[0]}},
		}), posting.Engines.Put(tx, &posting.Engine{Connection: "connection-2"}))
	})
	taken := *r.integration(i.ID)
	taken.Connection, taken.Key, taken.Of = "connection-2", second.accounts[0].ID, second.accounts[0]
	r.clock.pass(time.Hour)
	r.save(&taken)
	p := r.poster()
	p.Banks = map[string]bank.Reader{theProvider: byToken{vault.ConnectionToken(theConnection): r.bank, vault.ConnectionToken("connection-2"): second}}
	if err := p.Post(t.Context(), events.Message{Connection: "connection-2"}); err != nil {
		t.Fatal(err)
	}
	if got := len(r.shelf.standing(theBook)); got != 31 {
		t.Errorf("%d stand", got)
	}
	rows, err := posting.Attention(t.Context(), r.store, i.ID)
	if err != nil || len(rows) != 1 || rows[0].Flag != posting.TakenBack {
		t.Errorf("nobody is told that the bank no longer has it: %v %v", rows, err)
	}
	versions, err := posting.History(t.Context(), r.store, i.ID, pending.ID)
	if err != nil || len(versions) == 0 || versions[len(versions)-1].Flag != posting.TakenBack {
		t.Errorf("%d versions, the last is not that: %v", len(versions), err)
	}
}
