package posting_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store/memory"
)

// between is a ledger with a say before and after the calls of the one behind it.
type between struct {
	ledger.Ledger
	found func(ledger.Query, ledger.Found) ledger.Found
	write func(op ledger.Operation, batch []ledger.Transaction, do func() ([]ledger.Transaction, error)) ([]ledger.Transaction, error)
}

func (b between) Find(ctx context.Context, token secret.String, book string, q ledger.Query) (ledger.Found, error) {
	found, err := b.Ledger.Find(ctx, token, book, q)
	if b.found != nil {
		found = b.found(q, found)
	}
	return found, err
}

func (b between) Write(ctx context.Context, token secret.String, book string, op ledger.Operation, batch []ledger.Transaction) ([]ledger.Transaction, error) {
	do := func() ([]ledger.Transaction, error) { return b.Ledger.Write(ctx, token, book, op, batch) }
	if b.write != nil {
		return b.write(op, batch, do)
	}
	return do()
}

// through posts one event with another ledger.
func (r *rig) through(l ledger.Ledger) {
	r.Helper()
	p := r.poster()
	p.Ledger = l
	if err := p.Post(r.Context(), events.Message{Connection: theConnection}); err != nil {
		r.Fatalf("post: %v", err)
	}
}

func pendingAnd(n int) (pending, settled bank.Transaction) {
	pending = movement(0, n)
	pending.Pending = true
	settled = movement(0, n)
	settled.ID, settled.PendingID = "settled-"+settled.ID, pending.ID
	return pending, settled
}

// What was sent is not taken for unsent because somebody saved meanwhile.
func TestWhatWasSentIsNotTakenForUnsent(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]error{"answered": nil, "not answered": errNoAnswer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(), 1)
			r.link(theBook, 0, func(i *bank.Integration) { i.Pending = true })
			pending, settled := pendingAnd(1)
			r.bank.says(pending)
			r.post()
			r.bank.takesBack(pending)
			saved := false
			r.through(between{Ledger: r.shelf, write: func(op ledger.Operation, _ []ledger.Transaction, do func() ([]ledger.Transaction, error)) ([]ledger.Transaction, error) {
				out, err := do()
				if op == ledger.Trash && !saved {
					saved = true
					r.clock.pass(70 * time.Second)
					r.link(theBook, 0, func(i *bank.Integration) { i.Pending = true })
					return nil, answer
				}
				return out, err
			}})
			r.post()
			r.bank.says(settled)
			r.post()
			if got := r.shelf.standing(theBook); len(got) != 1 {
				t.Errorf("%d records: what we trashed was taken for a person's doing", len(got))
			}
		})
	}
}

// What a person adds to a record while it is being amended is kept.
func TestWhatAPersonAddsWhileARecordIsBeingAmendedIsKept(t *testing.T) {
	t.Parallel()
	for name, add := range map[string]func(*ledger.Transaction){
		"a property": func(tx *ledger.Transaction) { tx.Properties = map[string]string{"note": "mine"} },
		"an address": func(tx *ledger.Transaction) { tx.URLs = []string{"https://example.com/receipt"} },
		"a file":     func(tx *ledger.Transaction) { tx.Files = []byte(`[{"id":"f1"}]`) },
		"an id":      func(tx *ledger.Transaction) { tx.RemoteIDs = append(tx.RemoteIDs, "merged_1") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(), 1)
			r.link(theBook, 0, nil)
			tx := movement(0, 1)
			r.bank.says(tx)
			r.post()
			tx.Amount = decimal.New(77, 0)
			r.bank.says(tx)
			finds, record := 0, r.shelf.standing(theBook)[0].ID
			r.shelf.on = func(op, _ string) error {
				if op == "find" {
					if finds++; finds == 2 {
						r.shelf.edit(theBook, record, add)
					}
				}
				return nil
			}
			r.post()
			want := ledger.Transaction{RemoteIDs: []string{"somebank_" + tx.ID}}
			add(&want)
			got := r.shelf.standing(theBook)[0]
			if !maps.Equal(got.Properties, want.Properties) || fmt.Sprint(got.URLs, got.Files, got.RemoteIDs) != fmt.Sprint(want.URLs, want.Files, want.RemoteIDs) || !got.Amount.Equal(tx.Amount) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// What the Book has refused in this read it is not asked again.
func TestWhatTheBookRefusedIsNotSentAgainInTheSameRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	r.link(theBook, 0, nil)
	r.bank.says(movements(0, 0, 64)...)
	writes := 0
	l := between{Ledger: r.shelf, write: func(ledger.Operation, []ledger.Transaction, func() ([]ledger.Transaction, error)) ([]ledger.Transaction, error) {
		if writes++; writes == 100 {
			return nil, errNoAnswer
		}
		return nil, &bank.Error{Kind: bank.Permanent, Code: "refused", Err: ledger.ErrRefused}
	}}
	r.through(l)
	if writes > 160 {
		t.Errorf("%d calls", writes)
	}
}
