package posting_test

import (
	"context"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store/memory"
)

// lagging hides records from lists for a while after they were made.
func lagging(r *rig, lag time.Duration) between {
	made := map[string]time.Time{}
	return between{
		Ledger: r.shelf,
		found: func(_ ledger.Query, f ledger.Found) ledger.Found {
			var seen []ledger.Transaction
			for _, tx := range f.Transactions {
				if !r.clock.Now().Before(made[tx.ID].Add(lag)) {
					seen = append(seen, tx)
				}
			}
			f.Transactions = seen
			return f
		},
		write: func(op ledger.Operation, _ []ledger.Transaction, do func() ([]ledger.Transaction, error)) ([]ledger.Transaction, error) {
			out, err := do()
			for _, tx := range out {
				if op == ledger.Create {
					made[tx.ID] = r.clock.Now()
				}
			}
			return out, err
		},
	}
}

// A record that lists do not show yet is not taken for one that a person trashed.
func TestARecordThatListsDoNotShowYetIsNotTakenForTrashed(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	r.link(theBook, 0, func(i *bank.Integration) { i.Pending = true })
	pending, settled := pendingAnd(1)
	settled.Amount = decimal.New(99, 0)
	r.bank.size = 1
	r.bank.says(pending, settled)
	r.through(lagging(r, 2*time.Second))
	if got := r.shelf.standing(theBook); len(got) != 1 || !got[0].Amount.Equal(settled.Amount) || len(got[0].Properties) > 0 {
		t.Errorf("%+v", got)
	}
}

// A new record whose maker had no answer, and which lists do not show yet.
func TestANewRecordIsAskedForUntilListsShowIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	i := r.link(theBook, 0, nil)
	r.bank.says(movement(0, 1))
	l := lagging(r, 3*time.Second)
	write, lost := l.write, false
	l.write = func(op ledger.Operation, b []ledger.Transaction, do func() ([]ledger.Transaction, error)) ([]ledger.Transaction, error) {
		out, err := write(op, b, do)
		if !lost {
			lost = true
			return nil, errNoAnswer
		}
		return out, err
	}
	r.through(l)
	if rows, err := posting.Attention(t.Context(), r.store, i.ID); err != nil || len(rows) > 0 {
		t.Errorf("kept aside though it stands: %+v %v", rows, err)
	}
	r.bank.takesBack(movement(0, 1))
	r.post()
	if got := r.shelf.standing(theBook); len(got) > 0 {
		t.Errorf("the bank took it back and it stands: %+v", got)
	}
}

// A record is made late, after the Book was asked for it, and the bank has changed meanwhile.
func TestARecordThatIsMadeLateIsBroughtToWhatTheBankSaysNow(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	r.link(theBook, 0, nil)
	tx := movement(0, 1)
	r.bank.says(tx)
	var late func()
	down := true
	l := between{Ledger: r.shelf, write: func(op ledger.Operation, batch []ledger.Transaction, do func() ([]ledger.Transaction, error)) ([]ledger.Transaction, error) {
		if late == nil {
			late = func() { _, _ = do() }
		}
		if down {
			return nil, errNoAnswer
		}
		if late != nil {
			late()
			late = func() {}
		}
		return do()
	}}
	r.through(l)
	down = false
	tx.Amount = decimal.New(4321, -2)
	r.bank.says(tx)
	r.clock.pass(time.Hour)
	r.through(l)
	if got := r.shelf.standing(theBook); len(got) != 1 || !got[0].Amount.Equal(tx.Amount) {
		t.Errorf("%+v", got)
	}
}

// unaskable is a ledger of a Book whose Account has a name that cannot be asked for.
type unaskable struct{ *shelf }

func (u unaskable) Find(ctx context.Context, token secret.String, book string, q ledger.Query) (ledger.Found, error) {
	if q.Account != "" {
		return ledger.Found{}, &bank.Error{Kind: bank.Permanent, Code: "unquotable", Err: ledger.ErrRefused}
	}
	return u.shelf.Find(ctx, token, book, q)
}

func TestRecordsOfAnAccountWithAnImpossibleNameAreAskedForOneByOne(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	r.link(theBook, 0, nil)
	all := movements(0, 0, 8)
	r.bank.says(all...)
	r.through(unaskable{r.shelf})
	for n := range all {
		all[n].Amount = decimal.New(4321, -2)
	}
	r.bank.says(all...)
	r.through(unaskable{r.shelf})
	for _, tx := range r.shelf.standing(theBook) {
		if !tx.Amount.Equal(all[0].Amount) {
			t.Errorf("%s", tx.Amount)
		}
	}
}
