package posting_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/store/memory"
)

// An account that has had many items.
func TestAnAccountMayHaveHadManyItems(t *testing.T) {
	t.Parallel()
	h := &household{rig: newRig(t, memory.New(), 1), connected: true}
	h.link(theBook, 0, nil)
	h.bank.says(movements(0, 0, 500)...)
	h.post()
	for n := range 25 {
		h.disconnect(bank.Disconnected)
		now := h.bank.standing()
		account := fmt.Sprintf("account-of-item-%016d", n)
		h.bank.mu.Lock()
		h.bank.item, h.bank.log, h.bank.since = fmt.Sprint("item-", n), nil, map[[2]int]delta{}
		h.bank.accounts[0].ID = account
		k := 0
		for _, tx := range now {
			k++
			tx.ID, tx.Account = fmt.Sprintf("i%02d-%033d", n, k), account
			h.bank.log = append(h.bank.log, change{Transaction: tx})
		}
		h.bank.mu.Unlock()
		h.adopt()
		if err := h.poster().Post(t.Context(), events.Message{Connection: theConnection}); err != nil {
			t.Fatalf("item %d: %v", n, err)
		}
		if got := len(h.shelf.standing(theBook)); got != 500 {
			t.Fatalf("item %d: %d stand", n, got)
		}
	}
}

func shelves(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("book-%03d", i))
	}
	return ids
}

// The bank takes back a page full of rows of an account whose many integrations are paused.
func TestAPageThatIsTakenBackFromManyBooksIsHeld(t *testing.T) {
	t.Parallel()
	books := shelves(30)
	r := newRig(t, memory.New(), 1, books...)
	for _, b := range books {
		r.link(b, 0, nil)
	}
	r.bank.says(movements(0, 0, 500)...)
	r.post()
	for _, b := range books {
		r.link(b, 0, func(i *bank.Integration) { i.Paused = true })
	}
	r.bank.takesBack(movements(0, 0, 500)...)
	r.post()
	for _, b := range books {
		r.link(b, 0, nil)
	}
	r.post()
	for _, b := range books {
		if got := len(r.shelf.standing(b)); got != 0 {
			t.Fatalf("%d stand in %s", got, b)
		}
	}
}

// Books that can be read and not written, each with a page full of new rows.
func TestManyBooksMayRefuseToAnswer(t *testing.T) {
	t.Parallel()
	books := shelves(12)
	r := newRig(t, memory.New(), 1, books...)
	for _, b := range books {
		r.link(b, 0, nil)
	}
	r.bank.says(movements(0, 0, 500)...)
	down := true
	l := between{Ledger: r.shelf, write: func(_ ledger.Operation, _ []ledger.Transaction, do func() ([]ledger.Transaction, error)) ([]ledger.Transaction, error) {
		if down {
			return nil, errNoAnswer
		}
		return do()
	}}
	for range 6 {
		r.clock.pass(7 * time.Hour)
		r.through(l)
	}
	down = false
	for range 3 {
		r.clock.pass(7 * time.Hour)
		r.through(l)
	}
	for _, b := range books {
		if got := len(r.shelf.standing(b)); got != 500 {
			t.Errorf("%d stand in %s", got, b)
		}
	}
}

// More integrations than one query gives.
func TestAnAccountMayFeedMoreBooksThanOneQueryGives(t *testing.T) {
	t.Parallel()
	books := shelves(36)
	r := newRig(t, memory.New(), 30, books...)
	for _, b := range books {
		for a := range 30 {
			r.link(b, a, nil)
		}
	}
	for a := range 30 {
		r.bank.says(movement(a, 0))
	}
	r.post()
	for _, b := range books {
		if got := len(r.shelf.standing(b)); got != 30 {
			t.Fatalf("%d stand in %s", got, b)
		}
	}
}
