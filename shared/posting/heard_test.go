package posting_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/store/memory"
)

// The bank says once what it takes back. What is said while the Book cannot take it, or while the integration is paused, must
// be done when that ends, also where a replay cannot show it: the row is older than all that the bank still names.
func TestWhatTheBankTakesBackIsDoneOnceTheBookCanTakeIt(t *testing.T) {
	for name, c := range map[string]struct{ begin, end func(r *rig) }{
		"the grant was revoked": {
			func(r *rig) { r.grants.set(theUser, true) },
			func(r *rig) { r.grants.set(theUser, false); r.save(r.wanted(theBook, 0)) },
		},
		"paused": {
			func(r *rig) { r.pause(true) },
			func(r *rig) { r.pause(false) },
		},
		"the Book fails while it is looked at": {
			func(r *rig) { r.shelf.on = fails("find") },
			func(r *rig) { r.shelf.on = nil; r.save(r.wanted(theBook, 0)) },
		},
	} {
		for rows, left := range map[string]int{"the oldest one": 4, "the newest one": 0} {
			t.Run(name+", "+rows, func(t *testing.T) {
				r := newRig(t, memory.New(), 1)
				r.link(theBook, 0, nil)
				for n := range 5 {
					r.bank.says(movement(0, 10*n))
				}
				r.post()
				c.begin(r)
				r.bank.takesBack(movement(0, 10*(4-left)))
				r.post()
				c.end(r)
				r.post()
				if n := len(r.shelf.standing(theBook)); n != 4 {
					t.Errorf("%d records stand, and the bank has 4", n)
				}
			})
		}
	}
}

// A draft was sent, the Book never answered, and while it was away the bank took the transaction back.
func TestADraftThatWasNeverHeardOfGoesWhenTheBankTakesItBack(t *testing.T) {
	r := newRig(t, memory.New(), 1)
	r.link(theBook, 0, nil)
	r.bank.says(movement(0, 0), movement(0, 100))
	r.shelf.deaf = true
	for range 5 {
		r.post()
		r.clock.pass(7 * time.Hour)
	}
	if n := len(r.shelf.standing(theBook)); n != 2 {
		t.Fatalf("%d records stand: the Book was to take them and not to answer", n)
	}
	r.bank.takesBack(movement(0, 0))
	for range 5 {
		r.post()
		r.clock.pass(7 * time.Hour)
	}
	r.shelf.deaf = false
	r.save(r.wanted(theBook, 0))
	r.post()
	if n := len(r.shelf.standing(theBook)); n != 1 {
		t.Errorf("%d records stand, and the bank has 1", n)
	}
}

// A person signs in again, and the bank names accounts and transactions anew under the same item.
func TestAnAccountThatIsNamedAnewIsReplayed(t *testing.T) {
	r := newRig(t, memory.New(), 2)
	r.link(theBook, 0, nil)
	r.bank.says(movements(0, 0, 5)...)
	r.post()
	r.bank.renew("item")
	fresh := movement(0, 60)
	fresh.Account = r.bank.accounts[0].ID
	r.bank.says(fresh)
	r.clock.pass(25 * time.Hour)
	r.post()
	if n := len(r.shelf.standing(theBook)); n != 6 {
		t.Errorf("%d records stand, and the bank has 6", n)
	}
}

// A person takes an account out of the consent and brings it back, or a bank does not name it for a while. What came for it
// meanwhile was for nobody, and the bank says it once.
func TestAnAccountThatComesBackIsReplayed(t *testing.T) {
	r := newRig(t, memory.New(), 2)
	i := r.link(theBook, 0, nil)
	r.bank.says(movements(0, 0, 5)...)
	r.post()
	all := r.bank.accounts
	r.bank.accounts = all[1:]
	r.clock.pass(25 * time.Hour)
	r.post()
	r.bank.says(movement(0, 60))
	r.clock.pass(7 * time.Hour)
	r.post()
	r.bank.accounts = all
	r.clock.pass(25 * time.Hour)
	r.post()
	if n := len(r.shelf.standing(theBook)); n != 6 {
		t.Errorf("%d records stand, and the bank has 6", n)
	}
	if now := r.integration(i.ID); now.Epoch != 0 || now.Want != now.Have || r.shelf.books[theBook].creates != 6 {
		t.Errorf("epoch %d, want %d, have %d, %d records were made", now.Epoch, now.Want, now.Have, r.shelf.books[theBook].creates)
	}
}

// circle is a bank whose pages lead back to one before.
type circle struct {
	*scriptedBank
	length, asked int
}

func (c *circle) Changes(_ context.Context, from bank.From) (bank.Page, error) {
	c.asked++
	if c.asked > 1000 {
		return bank.Page{}, &bank.Error{Kind: bank.Permanent, Code: "FOR_EVER"}
	}
	n := 0
	_, _ = fmt.Sscan(from.At, &n)
	return bank.Page{Changed: movements(0, n, 1), Next: fmt.Sprint(n%c.length + 1), More: true, Complete: true}, nil
}

func TestPagesThatLeadInACircleAreLeft(t *testing.T) {
	for _, length := range []int{1, 2, 3, 7} {
		r := newRig(t, memory.New(), 1)
		r.link(theBook, 0, nil)
		bank := &circle{scriptedBank: r.bank, length: length}
		p := r.poster()
		p.Banks[theProvider] = bank
		if err := p.Post(t.Context(), events.Message{Connection: theConnection}); err != nil {
			t.Fatal(err)
		}
		if e := r.engine(); e.Failure != "CIRCULAR_PAGES" || e.Due.IsZero() || bank.asked > 200 {
			t.Errorf("a circle of %d: after %d reads %q", length, bank.asked, e.Failure)
		}
		if n, made := len(r.shelf.standing(theBook)), r.shelf.books[theBook].creates; n != length+1 || made != n {
			t.Errorf("a circle of %d: %d records stand, %d were made", length, n, made)
		}
	}
}

func fails(op string) func(string, string) error {
	return func(did, _ string) error {
		if did == op {
			return &bank.Error{Kind: bank.Permanent, Code: "no_access", Err: ledger.ErrNoAccess}
		}
		return nil
	}
}

// A Book that does not answer for a while makes nobody wait but itself, and then lacks nothing.
func TestABookThatDoesNotAnswerDelaysNoOther(t *testing.T) {
	for _, op := range []string{"book", "create"} {
		t.Run(op, func(t *testing.T) {
			r := newRig(t, memory.New(), 1, "away", "there")
			r.link("away", 0, nil)
			r.link("there", 0, nil)
			r.shelf.on = func(did, book string) error {
				if book == "away" && did == op {
					return errNoAnswer
				}
				return nil
			}
			for n := range 2 {
				r.bank.says(movements(0, n*10, 5)...)
				r.post()
				if got := len(r.shelf.standing("there")); got != 5*(n+1) {
					t.Errorf("the other Book has %d of %d", got, 5*(n+1))
				}
			}
			r.shelf.on = nil
			r.post()
			if got := len(r.shelf.standing("away")); got != 10 {
				t.Errorf("the Book that was away has %d of 10", got)
			}
			for _, book := range []string{"away", "there"} {
				if made := r.shelf.books[book].creates; made != 10 {
					t.Errorf("%d records were made in %s", made, book)
				}
			}
			if e := r.engine(); len(e.Open) > 0 || e.Failures > 0 {
				t.Errorf("%d segments are open, %d failures", len(e.Open), e.Failures)
			}
		})
	}
}

// A Book does not tell when its lock moves.
func TestRowsThatALockKeptOutComeInWhenItMovesBack(t *testing.T) {
	r := newRig(t, memory.New(), 1)
	lock := func(d civil.Date) { r.shelf.books[theBook].Locked = d }
	lock(movement(0, 29).Date)
	r.link(theBook, 0, nil)
	r.bank.says(movements(0, 0, 50)...)
	for _, step := range []struct {
		lock civil.Date
		want int
	}{
		{movement(0, 29).Date, 20},
		{movement(0, 19).Date, 30},
		{civil.Date{}, 50},
	} {
		lock(step.lock)
		r.clock.pass(7 * time.Hour)
		r.post()
		if got := len(r.shelf.standing(theBook)); got != step.want {
			t.Errorf("locked to %v: %d records stand, not %d", step.lock, got, step.want)
		}
	}
	reads := r.bank.reads
	r.clock.pass(7 * time.Hour)
	r.post()
	if e := r.engine(); len(e.Locked) > 0 || r.bank.reads != reads+1 {
		t.Errorf("locked %v, %d reads", e.Locked, r.bank.reads-reads)
	}
}

// An account of which the bank suddenly names nothing at all is more likely a fault than an empty account.
func TestAPersonIsAskedWhereTheBankNamesNothingAnyMore(t *testing.T) {
	r := newRig(t, memory.New(), 1)
	i := r.link(theBook, 0, nil)
	young := movement(0, 0)
	young.Date = civil.DateOf(r.clock.Now()).AddDays(-3)
	r.bank.says(young)
	r.post()
	r.bank.log, r.bank.since = nil, map[[2]int]delta{}
	earlier := r.wanted(theBook, 0)
	earlier.From = earlier.From.AddDays(-1)
	r.save(earlier)
	r.post()
	if got, asked := len(r.shelf.standing(theBook)), r.engine().Progress[i.ID].Vanished; got != 1 || asked != 1 {
		t.Errorf("%d records stand, a person is asked about %d", got, asked)
	}
}

// A person locks the Book, or archives the Account, between the look at the Book and the first record.
func TestABookThatIsClosedDuringTheRunTakesItsRowsOnceItIsOpen(t *testing.T) {
	t.Parallel()
	for name, shut := range map[string]func(b *ledger.Book, shut bool){
		"locked": func(b *ledger.Book, shut bool) {
			if b.Locked = (civil.Date{}); shut {
				b.Locked = civil.Date{Year: 2026, Month: time.January, Day: 31}
			}
		},
		"archived": func(b *ledger.Book, shut bool) { b.Accounts[0].Archived = shut },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(), 1)
			r.link(theBook, 0, nil)
			r.bank.says(movements(0, 0, 20)...)
			closed := false
			r.through(between{Ledger: r.shelf, write: func(_ ledger.Operation, _ []ledger.Transaction, do func() ([]ledger.Transaction, error)) ([]ledger.Transaction, error) {
				if !closed {
					closed = true
					r.clock.pass(time.Second)
					shut(&r.shelf.books[theBook].Book, true)
				}
				return nil, &bank.Error{Kind: bank.Permanent, Code: "refused", Err: ledger.ErrRefused}
			}})
			shut(&r.shelf.books[theBook].Book, false)
			r.clock.pass(7 * time.Hour)
			r.post()
			if got := len(r.shelf.standing(theBook)); got != 20 {
				t.Errorf("%d stand", got)
			}
		})
	}
}
