package posting_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/store/storetest"
)

// dies ends a process in the middle of a call.
type dies struct{}

// killed delivers an event to a process that dies on the way.
func (r *rig) killed(m events.Message) {
	r.Helper()
	defer func() {
		if died := recover(); died != (dies{}) {
			r.Fatalf("it was to die, and %v", died)
		}
	}()
	r.deliver(m)
}

// schedule rings as often as something is due, until nothing is within a time; it tells how often.
func (r *rig) schedule(within time.Duration) (rung int) {
	r.Helper()
	for end := r.clock.Now().Add(within); r.clock.Now().Before(end); r.clock.pass(time.Minute) {
		due, err := posting.Rings(r.Context(), r.store, r.clock.Now(), 10)
		if err != nil {
			r.Fatalf("due: %v", err)
		}
		for _, e := range due {
			rung++
			r.deliver(events.Message{Connection: e.Connection})
		}
	}
	return rung
}

func (r *rig) has(book string, n int) {
	r.Helper()
	if got := len(r.shelf.standing(book)); got != n || r.shelf.books[book].creates != n {
		r.Fatalf("%d records stand in %s and %d were made; it should be %d", got, book, r.shelf.books[book].creates, n)
	}
}

func TestRingsThatComeDuringAReadCostOneMoreReadAndAtMostTwoWrites(t *testing.T) {
	for name, c := range map[string]struct{ deep, writes int }{"plain": {-1, 1}, "the first is deep": {0, 1}, "some are deep": {50, 2}} {
		t.Run(name, func(t *testing.T) {
			counter := storetest.Counting(memory.New())
			r := newRig(t, counter, 1)
			r.link(theBook, 0, nil)
			r.post()
			r.bank.says(movements(0, 0, 3)...)
			before, burst, deep := r.bank.reads, false, []bool{}
			r.bank.on = func(from bank.From) error {
				deep = append(deep, from.Deep)
				if burst {
					return nil
				}
				burst = true
				writes := counter.Writes()
				for n := range 100 {
					r.bank.says(movement(0, 3+n))
					r.deliver(events.Message{Connection: theConnection, Deep: c.deep >= 0 && n%50 == c.deep%50 && n >= c.deep})
				}
				if got := counter.Writes() - writes; got != c.writes {
					t.Errorf("100 rings wrote %d times", got)
				}
				return nil
			}
			r.deliver(events.Message{Connection: theConnection})
			r.has(theBook, 103)
			if reads := r.bank.reads - before; reads != 2 || !slices.Equal(deep, []bool{false, c.deep >= 0}) {
				t.Errorf("%d reads, deep %v", reads, deep)
			}
		})
	}
}

// moments are all outside calls of a rig: at is called at each, with its number.
func (r *rig) moments(at func(n int)) {
	n := 0
	r.bank.on = func(bank.From) error { at(n); n++; return nil }
	r.shelf.on = func(string, string) error { at(n); n++; return nil }
}

func TestTheLastChangeIsNotMissedWheneverItRings(t *testing.T) {
	t.Parallel()
	for moment := 0; ; moment++ {
		r := newRig(t, memory.New(), 1)
		r.link(theBook, 0, nil)
		r.bank.says(movements(0, 0, 3)...)
		rang := false
		r.moments(func(n int) {
			if n == moment {
				rang = true
				r.bank.says(movement(0, 3))
				r.deliver(events.Message{Connection: theConnection})
			}
		})
		r.deliver(events.Message{Connection: theConnection})
		if !rang {
			if moment < 3 {
				t.Fatalf("only %d moments", moment)
			}
			return
		}
		r.has(theBook, 4)
	}
}

func TestADeepLookIsNotForgottenWhenItsProcessDies(t *testing.T) {
	for name, begin := range map[string]func(r *rig, deep events.Message){
		"before it began": func(r *rig, deep events.Message) { r.killed(deep) },
		"while another held the connection": func(r *rig, deep events.Message) {
			r.bank.on = func(bank.From) error { r.deliver(deep); panic(dies{}) }
			r.killed(events.Message{Connection: theConnection})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, memory.New(), 1)
			r.link(theBook, 0, nil)
			r.post()
			r.bank.on = func(bank.From) error { panic(dies{}) }
			begin(r, events.Message{Connection: theConnection, Deep: true})
			looks := []bool{}
			r.bank.on = func(from bank.From) error { looks = append(looks, from.Deep); return nil }
			r.clock.pass(posting.LeaseTime - time.Second)
			r.post()
			if len(looks) != 0 {
				t.Fatal("the bank was read while the dead one's lease ran")
			}
			r.schedule(2 * time.Minute)
			r.post()
			if !slices.Equal(looks, []bool{true, false}) {
				t.Errorf("deep: %v", looks)
			}
		})
	}
}

// Whoever sleeps past the lease may find that another has taken over, at any call.
func TestAHolderThatSleptWritesNothingMore(t *testing.T) {
	t.Parallel()
	for moment := 0; ; moment++ {
		r := newRig(t, memory.New(), 1)
		r.link(theBook, 0, nil)
		r.bank.says(movements(0, 0, 450)...)
		r.bank.size = 200
		slept, other := false, false
		writes := 0
		r.shelf.wrote = func(string, ledger.Operation, []ledger.Transaction) {
			if slept && !other {
				writes++
			}
		}
		r.moments(func(n int) {
			if n == moment && !slept {
				slept, other = true, true
				r.clock.pass(posting.LeaseTime + time.Second)
				r.deliver(events.Message{Connection: theConnection})
				other = false
			}
		})
		r.deliver(events.Message{Connection: theConnection})
		if !slept {
			if moment < 7 { // three pages, the Book, three batches
				t.Fatalf("only %d moments", moment)
			}
			return
		}
		r.has(theBook, 450)
		// The call during which it slept reaches the Book; the remote ids make it harmless.
		if e := r.engine(); writes > 1 || e.Lease.Fence != 2 || e.Lease.Held(r.clock.Now()) {
			t.Fatalf("asleep in call %d: %d writes afterwards, %+v", moment, writes, e.Lease)
		}
	}
}

func TestABackFillThatOutlastsItsEventGoesOnByItself(t *testing.T) {
	const rows = 20_000
	s := &scales{memory.New(), map[string]int{}}
	r := newRig(t, s, 1)
	r.link(theBook, 0, nil)
	r.bank.says(movements(0, 0, rows)...)
	pages, most, held := 0, 0, uint64(0)
	r.bank.on = func(bank.From) error {
		r.clock.pass(50 * time.Second)
		if pages++; r.bank.reads == rows/500-1 {
			held = heap()
		}
		return nil
	}
	r.bells.rings = append(r.bells.rings, events.Message{Connection: theConnection})
	posts := 0
	for m, more := r.bells.next(); more; m, more = r.bells.next() {
		begun := r.clock.Now()
		pages = 0
		r.deliver(m)
		posts++
		most = max(most, pages)
		if took := r.clock.Now().Sub(begun); took > 10*time.Minute-posting.LedgerCall {
			t.Errorf("an event took %s", took)
		}
	}
	r.has(theBook, rows)
	if posts < 4 || most > 12 {
		t.Errorf("%d events, of at most %d pages", posts, most)
	}
	if rung := r.schedule(4 * time.Hour); rung != 0 {
		t.Errorf("%d more were due", rung)
	}
	kept := int64(held) - int64(heap())
	t.Logf("%d events; the last one held %d kB; the heaviest documents: %v", posts, kept/1024, s.heaviest)
	if kept > 64<<20 {
		t.Errorf("the last event held %d bytes", kept)
	}
}

// heap is what lives, in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func failing(kind bank.Kind, after time.Duration) error {
	return &bank.Error{Kind: kind, Code: "SOME_CODE", After: after, Err: errors.New("injected")}
}

func TestFailuresAreWrittenDownAndTriedAgainLaterAndLater(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		min  time.Duration // until the first try again
		max  time.Duration
		last time.Duration // between tries, in the end
	}{
		"what may pass":           {failing(bank.Retry, 0), 30 * time.Second, time.Minute, 6 * time.Hour},
		"what no adapter knows":   {errors.New("strange"), 30 * time.Second, time.Minute, 6 * time.Hour},
		"not before":              {failing(bank.RetryAfter, 10*time.Minute), 10 * time.Minute, 10 * time.Minute, 6 * time.Hour},
		"not before, later still": {failing(bank.RetryAfter, 12*time.Hour), 12 * time.Hour, 12 * time.Hour, 12 * time.Hour},
		"our fault":               {failing(bank.OurFault, 0), time.Hour, time.Hour, 6 * time.Hour},
		"the user must act":       {failing(bank.UserMustAct, 0), 24 * time.Hour, 24 * time.Hour, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, memory.New(), 1)
			r.link(theBook, 0, nil)
			r.post()
			r.bank.says(movements(0, 0, 3)...)
			r.bank.on = func(bank.From) error { return c.err }
			r.post()
			e := r.engine()
			if wait := e.Due.Sub(r.clock.Now()); wait < c.min || wait > c.max || e.Failures != 1 || e.Lease.Held(r.clock.Now()) {
				t.Fatalf("due in %s, %+v", wait, e)
			}
			var wait time.Duration
			for range 12 {
				r.clock.pass(r.engine().Due.Sub(r.clock.Now()))
				r.post()
				next := r.engine().Due.Sub(r.clock.Now())
				if next < wait*9/10 {
					t.Errorf("after %s it waits for %s", wait, next)
				}
				wait = next
			}
			if wait > c.last || wait < c.last/2 {
				t.Errorf("in the end it waits for %s", wait)
			}
			r.bank.on = nil
			r.clock.pass(wait)
			r.post()
			r.has(theBook, 3)
			if e := r.engine(); e.Failures != 0 || e.Failure != "" {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestAShortWaitIsWaitedFor(t *testing.T) {
	r := newRig(t, memory.New(), 1)
	r.link(theBook, 0, nil)
	r.bank.says(movements(0, 0, 3)...)
	calls, begun := 0, r.clock.Now()
	r.bank.on = func(bank.From) error {
		if calls++; calls < 3 {
			return failing(bank.RetryAfter, 5*time.Second)
		}
		return nil
	}
	r.post()
	r.has(theBook, 3)
	if took := r.clock.Now().Sub(begun); took < 10*time.Second || took > 20*time.Second {
		t.Errorf("%s", took)
	}
}

// block is a way in which a Book cannot take rows, and its end.
type block struct {
	code      string
	begin     func(*rig)
	end       func(*rig)
	passing   bool // it is taken for something that passes, at first
	consented bool // its end is a new grant, which is told
}

var blocks = map[string]block{
	"the grant was revoked": {
		code: "consent_required", begin: func(r *rig) { r.grants.set("user-2", true) }, end: func(r *rig) { r.grants.set("user-2", false) }, consented: true,
	},
	"the user may only view": {
		code: "no_access", begin: func(r *rig) { r.shelf.books["book-2"].Permission = ledger.Viewer }, end: func(r *rig) { r.shelf.books["book-2"].Permission = ledger.Editor },
	},
	"the Account is archived": {
		code: "account_archived", begin: func(r *rig) { r.shelf.books["book-2"].Accounts[0].Archived = true }, end: func(r *rig) { r.shelf.books["book-2"].Accounts[0].Archived = false },
	},
	"the Account is gone": {
		code: "account_gone", begin: func(r *rig) { r.shelf.books["book-2"].Accounts[0].ID = "other" }, end: func(r *rig) { r.shelf.books["book-2"].Accounts[0].ID = "to-0" },
	},
	"the Book is gone":          {code: "book_gone", begin: refuses(ledger.ErrNotFound, bank.Permanent), end: accepts},
	"the Book cannot be opened": {code: "no_access", begin: refuses(ledger.ErrNoAccess, bank.UserMustAct), end: accepts},
	"the Book does not answer": {
		code: "ledger_unavailable", begin: refuses(errors.New("time-out"), bank.Retry), end: accepts, passing: true,
	},
}

func refuses(err error, kind bank.Kind) func(*rig) {
	return func(r *rig) {
		r.shelf.on = func(_, book string) error {
			if book == "book-2" {
				return &bank.Error{Kind: kind, Code: "X", Err: err}
			}
			return nil
		}
	}
}

func accepts(r *rig) { r.shelf.on = nil }

func TestABookThatTakesNothingLeavesItsSiblingsAloneAndCatchesUp(t *testing.T) {
	for name, c := range blocks {
		for _, new := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, new %v", name, new), func(t *testing.T) {
				r := newRig(t, memory.New(), 1, "book-1", "book-2")
				r.link("book-1", 0, nil)
				i := r.link("book-2", 0, func(i *bank.Integration) { i.As = "user-2" })
				before := 0
				if !new {
					before = 5
					r.bank.says(movements(0, 0, 5)...)
					r.post()
					r.has("book-2", 5)
				}
				c.begin(r)
				r.bank.says(movements(0, 5, 5)...)
				r.post()
				if c.passing {
					r.schedule(time.Hour)
				}
				r.has("book-1", before+5)
				r.has("book-2", before)
				if got := r.integration(i.ID); got.Behind != c.code || got.Want <= got.Have {
					t.Fatalf("%q, want %d, have %d", got.Behind, got.Want, got.Have)
				}
				r.bank.says(movement(0, 10))
				r.post()
				if c.passing {
					r.schedule(time.Hour)
				}
				r.has("book-1", before+6)
				c.end(r)
				if c.consented {
					r.unblock(i.ID)
					r.post()
				} else {
					r.schedule(11 * time.Hour)
				}
				r.has("book-1", before+6)
				r.has("book-2", before+6)
				if got := r.integration(i.ID); got.Behind != "" || got.Want != got.Have {
					t.Errorf("%q, want %d, have %d", got.Behind, got.Want, got.Have)
				}
			})
		}
	}
}

// unblock tells that a user has given a new grant, as signing in does.
func (r *rig) unblock(id string) {
	r.Helper()
	r.update(func(tx store.Tx) error {
		i, err := store.Integrations.Load(tx, id)
		if err != nil {
			return err
		}
		e, err := posting.Load(tx, i.Connection)
		if err != nil {
			return err
		}
		e.Mark(r.clock.Now())
		i.Until = time.Time{}
		return errors.Join(posting.Engines.Put(tx, e), store.Integrations.Put(tx, i))
	})
}

func TestARowThatTheBookRefusesIsKeptAsideAndTheRestGoesOn(t *testing.T) {
	r := newRig(t, memory.New(), 1)
	i := r.link(theBook, 0, nil)
	r.bank.says(movements(0, 0, 450)...)
	bad := map[string]bool{}
	for _, n := range []int{0, 7, 8, 199, 200, 449} {
		bad[theProvider+"_"+movement(0, n).ID] = true
	}
	p := r.poster()
	p.Ledger = choosy{r.shelf, bad}
	if err := p.Post(t.Context(), events.Message{Connection: theConnection}); err != nil {
		t.Fatal(err)
	}
	r.has(theBook, 450-len(bad))
	rows, err := posting.Attention(t.Context(), r.store, i.ID)
	if err != nil {
		t.Fatal(err)
	}
	aside := map[string]bool{}
	for _, row := range rows {
		aside[row.Key] = row.State == posting.Aside && row.Reason == posting.ReasonRefused
	}
	if diff := cmp.Diff(bad, aside); diff != "" {
		t.Error(diff)
	}
}
