package posting_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
)

// mortal is a process that dies at its n-th call outside, before or after the call took effect. Nothing that it calls then
// has an effect.
type mortal struct {
	mu    sync.Mutex
	n     int
	after bool
	at    string // the call at which it died
}

var errDead = errors.New("this process is dead")

func (m *mortal) call(what string, do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at != "" {
		return errDead
	}
	if m.n--; m.n > 0 {
		return do()
	}
	m.at = what
	if m.after {
		_ = do() // nobody hears of it
	}
	return errDead
}

type mortalStore struct {
	store.Store
	*mortal
}

func (s mortalStore) Update(ctx context.Context, body func(store.Tx) error) error {
	return s.call("commit", func() error { return s.Store.Update(ctx, body) })
}

type mortalLedger struct {
	ledger.Ledger
	*mortal
}

func (l mortalLedger) Write(ctx context.Context, token secret.String, book string, op ledger.Operation, batch []ledger.Transaction) (out []ledger.Transaction, err error) {
	err = l.call(string(op), func() error { out, err = l.Ledger.Write(ctx, token, book, op, batch); return err })
	return out, err
}

func (l mortalLedger) Find(ctx context.Context, token secret.String, book string, q ledger.Query) (found ledger.Found, err error) {
	err = l.call("find", func() error { found, err = l.Ledger.Find(ctx, token, book, q); return err })
	return found, err
}

type mortalBank struct {
	bank.Reader
	*mortal
}

func (b mortalBank) Changes(ctx context.Context, from bank.From) (page bank.Page, err error) {
	err = b.call("read", func() error { page, err = b.Reader.Changes(ctx, from); return err })
	return page, err
}

// dying delivers an event to a process that dies at its n-th call, and tells at which; "" where it came to the end.
func (r *rig) dying(n int, after bool) string {
	r.Helper()
	m := &mortal{n: n, after: after}
	p := r.poster()
	p.Store, p.Ledger = mortalStore{r.store, m}, mortalLedger{r.shelf, m}
	p.Banks = map[string]bank.Reader{theProvider: mortalBank{r.bank, m}}
	if err := p.Post(r.Context(), events.Message{Connection: theConnection}); err != nil && m.at == "" {
		r.Fatalf("post: %v", err)
	}
	return m.at
}

const retoldRows = 1120 // so that the page is recorded in three steps

// retold prepares a bank that has told a few rows; then come many, three have another id, and two are gone.
func retold(t *testing.T, s store.Store) *rig {
	t.Helper()
	numbered := func(id string, n int) bank.Transaction {
		return purchase(id, costs(fmt.Sprint(n+1)), dated(1+n%20), says(fmt.Sprint("SHOP ", n)))
	}
	var old, fresh []bank.Transaction
	for n := range 20 {
		old = append(old, numbered(fmt.Sprint("old", n), n))
	}
	r := retellingInto(t, s, old...)
	for n := 20; n < retoldRows; n++ {
		fresh = append(fresh, numbered(fmt.Sprint("row", n), n))
	}
	r.bank.takesBack(old[:5]...)
	for n := range 3 {
		fresh = append(fresh, numbered(fmt.Sprint("renamed", n), n))
	}
	r.bank.says(fresh...)
	return r
}

// equal compares the Book with the bank, row by row, and the number of drafts that were ever made with that of purchases.
func (r *rig) equal(t *testing.T) {
	t.Helper()
	var want, got []string
	for row := range maps.Values(r.bank.standing()) {
		want = append(want, fmt.Sprint(row.Date, " ", row.Amount, " ", row.Text))
	}
	for _, l := range r.shelf.standing(theBook) {
		got = append(got, fmt.Sprint(l.Date, " ", l.Amount, " ", l.Description))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bank (-), Book (+):\n%s", diff)
	}
	if made := r.shelf.books[theBook].creates; made > retoldRows {
		t.Errorf("%d drafts were made of %d purchases", made, retoldRows)
	}
}

func TestAPageThatIsRetoldMayBeLeftAtEveryCall(t *testing.T) {
	const eventful = "rows of the first and the last step are renamed or vanish meanwhile"
	for name, meanwhile := range map[string]func(*rig){
		"nothing happens meanwhile": func(*rig) {},
		// One is of the first step, one of the last.
		eventful: func(r *rig) {
			now := r.bank.standing()
			for _, n := range []int{25, 1115} {
				was := now[fmt.Sprint("row", n)]
				is := was
				is.ID = fmt.Sprint("renamed", n)
				r.bank.takesBack(was, now[fmt.Sprint("row", n+1)])
				r.bank.says(is)
			}
		},
	} {
		for _, after := range []bool{false, true} {
			// JSON takes most of the time. A death after a call leaves the documents of one before the next call, so one run
			// meets all that a process may find encoded.
			keep := memory.NewOfValues
			if name == eventful && after {
				keep = memory.New
			}
			t.Run(fmt.Sprint(name, ", after=", after), func(t *testing.T) {
				died := map[string]int{}
				for n := 1; ; n++ {
					r := retold(t, keep())
					at := r.dying(n, after)
					died[at]++
					meanwhile(r)
					r.clock.pass(3 * time.Minute)
					r.post()
					r.clock.pass(7 * time.Hour)
					r.post()
					if r.equal(t); t.Failed() {
						t.Fatalf("it died at call %d, %q", n, at)
					}
					if at == "" {
						break
					}
				}
				if died["commit"] < 5 || died[string(ledger.Create)] < 2 || died[string(ledger.Trash)] < 1 || died["read"] < 1 {
					t.Errorf("it died at %v", died)
				}
			})
		}
	}
}

func TestTheStandInForADeadProcessHasNoEffect(t *testing.T) {
	r := newRig(t, memory.New(), 1)
	r.link(theBook, 0, nil)
	r.bank.says(movement(0, 0))
	if at := r.dying(2, false); at == "" || len(r.shelf.standing(theBook)) != 0 {
		t.Errorf("it died at %q, and recorded", at)
	}
}

// A deep look tells a year of rows of which nearly none has changed.
func TestWhatIsRetoldUnchangedIsWrittenNowhere(t *testing.T) {
	r := retelling(t, purchase("a"), purchase("b", says("B")), purchase("c", dated(20), says("C")))
	segments := r.engine().Seq
	r.shelf.wrote = func(_ string, op ledger.Operation, batch []ledger.Transaction) {
		t.Errorf("%s of %d records", op, len(batch))
	}
	r.bank.says(purchase("a")) // told again, as it is, and with it all that stands
	r.post()
	if seq := r.engine().Seq; seq != segments {
		t.Errorf("%d segments of the journal were written", seq-segments)
	}
	if r.bank.reads < 2 {
		t.Errorf("the bank was read %d times", r.bank.reads)
	}
}
