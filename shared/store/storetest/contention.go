package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bkper/automations-portal/shared/store"
)

var contentionChecks = []Check{
	{"no increment is lost among many at once", increments},
	{"one of many at once takes a free lease", oneTakes},
	{"transactions on documents of their own all succeed", distinct},
	{"what was read has not changed at the commit", lostUpdate},
	{"what was missing is missing at the commit", createRace},
	{"what was read and not written has not changed at the commit", writeSkew},
	{"no document of another's is new to a query by value at the commit", phantom(byValue, "new")},
	{"no document of another's comes into a query by value before the commit", phantom(byValue, "changed")},
	{"no document of another's is new to a query by time at the commit", phantom(byTime, "new")},
	{"no document of another's comes into a query by time before the commit", phantom(byTime, "changed")},
	{"no document of another's is new to a query by both at the commit", phantom(byBoth, "new")},
	{"no increment is lost among some who get and one who finds", incrementsOfBothSorts},
	{"no document that one made who had got another is new to a query at the commit", findBesideGet},
	{"no document is new at the commit that one made who had found nothing", getBesideFind},
	{"a transaction that only reads sees one state", oneState},
	{"a transaction does not wait beyond its context", waitsNoLonger},
}

// increment adds one to a document.
func increment(ctx context.Context, s store.Store, id string) error {
	return incrementMeeting(ctx, s, id, func() {})
}

func incrementMeeting(ctx context.Context, s store.Store, id string, meet func()) error {
	return s.Update(ctx, func(tx store.Tx) error {
		n, err := read(tx, id)
		if err != nil {
			return err
		}
		meet()
		tx.Put(number(id, n+1))
		return nil
	})
}

// meeting gives each of n transactions a function that waits, the first time, until all of them have called theirs. A store
// may run one after another, so each waits only as long as the patience.
func meeting(n int, patience time.Duration) func() (meet func()) {
	var come atomic.Int64
	all := make(chan struct{})
	return func() func() {
		return sync.OnceFunc(func() {
			if come.Add(1) == int64(n) {
				close(all)
			}
			select {
			case <-all:
			case <-time.After(patience):
			}
		})
	}
}

func increments(ctx context.Context, h Harness) error {
	come := meeting(h.Contenders, h.Patience)
	g, working := errgroup.WithContext(ctx)
	for range h.Contenders {
		meet := come()
		g.Go(func() error {
			for range h.Rounds {
				if err := incrementMeeting(working, h.Store, "a", meet); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return holds(ctx, h.Store, map[string]string{"a": fmt.Sprintf(`{"n":%d}`, h.Contenders*h.Rounds)})
}

func oneTakes(ctx context.Context, h Harness) error {
	come := meeting(h.Contenders, h.Patience)
	take := func(me int, meet func()) error {
		return h.Store.Update(ctx, func(tx store.Tx) error {
			held, err := read(tx, "lease")
			if err != nil {
				return err
			}
			if held != 0 {
				return errOwn
			}
			meet()
			tx.Put(number("lease", me))
			return nil
		})
	}
	var winner, winners atomic.Int64
	var g errgroup.Group
	for i := range h.Contenders {
		meet := come()
		g.Go(func() error {
			err := take(i+1, meet)
			if err == nil {
				winners.Add(1)
				winner.Store(int64(i + 1))
			}
			if errors.Is(err, errOwn) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil || winners.Load() != 1 {
		return fmt.Errorf("%d took the lease, %w; want one", winners.Load(), err)
	}
	return holds(ctx, h.Store, map[string]string{"lease": fmt.Sprintf(`{"n":%d}`, winner.Load())})
}

func distinct(ctx context.Context, h Harness) error {
	const own, rounds = 8, 5
	want := map[string]string{}
	g, working := errgroup.WithContext(ctx)
	for i := range own {
		id := fmt.Sprintf("d%d", i)
		want[id] = fmt.Sprintf(`{"n":%d}`, rounds)
		g.Go(func() error {
			for range rounds {
				if err := increment(working, h.Store, id); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return holds(ctx, h.Store, want)
}

// interleave runs two transactions of which the second begins when the first has read and before it goes on. A store may
// make the second wait for the first, so the first waits for it only as long as the harness's patience.
func interleave(ctx context.Context, h Harness, reads, goesOn func(store.Tx) error, second func() error) error {
	ended := make(chan struct{})
	var secondErr error
	begun := false
	err := h.Store.Update(ctx, func(tx store.Tx) error {
		if err := reads(tx); err != nil {
			return err
		}
		if !begun {
			begun = true
			go func() {
				defer close(ended)
				secondErr = second()
			}()
			select {
			case <-ended:
			case <-time.After(h.Patience):
			}
		}
		return goesOn(tx)
	})
	if !begun {
		return err
	}
	<-ended
	return errors.Join(err, secondErr)
}

func lostUpdate(ctx context.Context, h Harness) error {
	if err := put(ctx, h.Store, number("a", 1)); err != nil {
		return err
	}
	return incrementsBoth(ctx, h, `{"n":3}`)
}

func createRace(ctx context.Context, h Harness) error { return incrementsBoth(ctx, h, `{"n":2}`) }

// incrementsBoth lets both transactions increment a. What runs of the first did that were not committed must not be seen.
func incrementsBoth(ctx context.Context, h Harness, want string) error {
	n, runs := 0, 0
	reads := func(tx store.Tx) (err error) {
		runs++
		n, err = read(tx, "a")
		return err
	}
	goesOn := func(tx store.Tx) error {
		tx.Put(number("a", n+1))
		tx.Put(number(fmt.Sprintf("run%d", runs), runs))
		return nil
	}
	if err := interleave(ctx, h, reads, goesOn, func() error { return increment(ctx, h.Store, "a") }); err != nil {
		return err
	}
	expect := map[string]string{"a": want}
	for run := 1; run <= runs; run++ {
		expect[fmt.Sprintf("run%d", run)] = ""
	}
	expect[fmt.Sprintf("run%d", runs)] = fmt.Sprintf(`{"n":%d}`, runs)
	return holds(ctx, h.Store, expect)
}

// writeSkew lets two people who are on call go off, each only if the other stays.
func writeSkew(ctx context.Context, h Harness) error {
	if err := put(ctx, h.Store, number("a", 1), number("b", 1)); err != nil {
		return err
	}
	on := 0
	reads := func(tx store.Tx) error {
		a, err := read(tx, "a")
		if err != nil {
			return err
		}
		b, err := read(tx, "b")
		on = a + b
		return err
	}
	second := func() error {
		return h.Store.Update(ctx, func(tx store.Tx) error {
			found, err := tx.Get(kind, "a", "b")
			if err != nil {
				return err
			}
			a, errA := numberOf(found[0])
			b, errB := numberOf(found[1])
			if a+b == 2 {
				tx.Put(number("b", 0))
			}
			return errors.Join(errA, errB)
		})
	}
	goesOn := func(tx store.Tx) error {
		if on == 2 {
			tx.Put(number("a", 0))
		}
		return nil
	}
	if err := interleave(ctx, h, reads, goesOn, second); err != nil {
		return err
	}
	found, err := h.Store.Get(ctx, kind, "a", "b")
	if err != nil {
		return err
	}
	if string(found[0].Body) == string(found[1].Body) {
		return fmt.Errorf("both are %s: each went off because the other was on", found[0].Body)
	}
	return nil
}

// What a document is looked for by in phantom.
var (
	someTime = time.Unix(1_800_000_000, 0)
	byValue  = store.Query{Kind: kind, Field: "colour", Any: []string{"red"}}
	byTime   = store.Query{Kind: kind, Due: someTime}
	byBoth   = store.Query{Kind: kind, Field: "colour", Any: []string{"red"}, Due: someTime}
)

// phantom lets two transactions write a document that matches a query, each only if none does. The first makes a new one, the
// second a new one as well or changes one that did not match.
func phantom(q store.Query, second string) func(context.Context, Harness) error {
	return func(ctx context.Context, h Harness) error {
		matching := func(id string) store.Document {
			d := indexed(id, "colour", "red")
			d.Due = someTime
			return d
		}
		if err := put(ctx, h.Store, document("changed", `{}`)); err != nil {
			return err
		}
		return writeUnlessFound(ctx, h, q, matching("first"), matching(second))
	}
}

func writeUnlessFound(ctx context.Context, h Harness, q store.Query, first, second store.Document) error {
	var found []store.Document
	reads := func(tx store.Tx) (err error) {
		found, err = tx.Find(q)
		return err
	}
	goesOn := func(d store.Document) func(store.Tx) error {
		return func(tx store.Tx) error {
			if len(found) == 0 {
				tx.Put(d)
			}
			return nil
		}
	}
	err := interleave(ctx, h, reads, goesOn(first), func() error {
		return h.Store.Update(ctx, func(tx store.Tx) error {
			found, err := tx.Find(q)
			if err == nil && len(found) == 0 {
				tx.Put(second)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	if found, err = h.Store.Find(ctx, q); err != nil || len(found) != 1 {
		return fmt.Errorf("%+v: two transactions that each found nothing left %d documents, %w; want one", q, len(found), err)
	}
	return nil
}

// incrementsOfBothSorts lets one contender read by a query the number that the others get by its id.
func incrementsOfBothSorts(ctx context.Context, h Harness) error {
	get := func(tx store.Tx) ([]store.Document, error) { return tx.Get(kind, "a") }
	find := func(tx store.Tx) ([]store.Document, error) { return tx.Find(byValue) }
	if err := put(ctx, h.Store, red("a", 0)); err != nil {
		return err
	}
	come := meeting(h.Contenders, h.Patience)
	g, working := errgroup.WithContext(ctx)
	for i := range h.Contenders {
		read, meet := get, come()
		if i == 0 {
			read = find
		}
		g.Go(func() error {
			for range h.Rounds {
				if err := incrementRed(working, h.Store, read, meet); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return holds(ctx, h.Store, map[string]string{"a": fmt.Sprintf(`{"n":%d}`, h.Contenders*h.Rounds)})
}

func incrementRed(ctx context.Context, s store.Store, read func(store.Tx) ([]store.Document, error), meet func()) error {
	return s.Update(ctx, func(tx store.Tx) error {
		found, err := read(tx)
		if err != nil || len(found) != 1 {
			return fmt.Errorf("%d documents, %w; want one", len(found), err)
		}
		n, err := numberOf(found[0])
		meet()
		tx.Put(red("a", n+1))
		return err
	})
}

// red makes a number that byValue finds.
func red(id string, n int) store.Document {
	d := number(id, n)
	d.Index = map[string][]string{"colour": {"red"}}
	return d
}

// findBesideGet and getBesideFind let one transaction make a red document unless it finds any, and one unless it gets the
// other's: only one of them may. They differ in which is open while the other one runs.
func findBesideGet(ctx context.Context, h Harness) error {
	return oneRed(ctx, h, unlessFound("first"), unlessGot("first", "second"))
}

func getBesideFind(ctx context.Context, h Harness) error {
	return oneRed(ctx, h, unlessGot("second", "first"), unlessFound("second"))
}

// makes is a transaction in two parts: what it reads, and what it writes then.
type makes struct{ reads, writes func(store.Tx) error }

func unlessFound(id string) makes {
	return unless(id, func(tx store.Tx) (bool, error) {
		found, err := tx.Find(byValue)
		return len(found) > 0, err
	})
}

func unlessGot(other, id string) makes {
	return unless(id, func(tx store.Tx) (bool, error) {
		found, err := tx.Get(kind, other)
		return err == nil && found[0].Body != nil, err
	})
}

func unless(id string, there func(store.Tx) (bool, error)) makes {
	is := false
	return makes{
		func(tx store.Tx) (err error) {
			is, err = there(tx)
			return err
		},
		func(tx store.Tx) error {
			if !is {
				tx.Put(red(id, 1))
			}
			return nil
		},
	}
}

func oneRed(ctx context.Context, h Harness, first, second makes) error {
	err := interleave(ctx, h, first.reads, first.writes, func() error {
		return h.Store.Update(ctx, func(tx store.Tx) error {
			if err := second.reads(tx); err != nil {
				return err
			}
			return second.writes(tx)
		})
	})
	if err != nil {
		return err
	}
	if found, err := h.Store.Find(ctx, store.Query{Kind: kind}); err != nil || len(found) != 1 {
		return fmt.Errorf("each of two made a document, without the other's: there are %d, %w; want one", len(found), err)
	}
	return nil
}

// oneState lets a transaction read one of two documents before and one after another transaction writes both.
func oneState(ctx context.Context, h Harness) error {
	if err := put(ctx, h.Store, number("a", 1), number("b", 1)); err != nil {
		return err
	}
	var a, b int
	reads := func(tx store.Tx) (err error) {
		a, err = read(tx, "a")
		return err
	}
	goesOn := func(tx store.Tx) (err error) {
		b, err = read(tx, "b")
		return err
	}
	second := func() error { return put(ctx, h.Store, number("a", 2), number("b", 2)) }
	if err := interleave(ctx, h, reads, goesOn, second); err != nil {
		return err
	}
	if a != b {
		return fmt.Errorf("a transaction reads %d and %d, which were never there together", a, b)
	}
	return holds(ctx, h.Store, map[string]string{"a": `{"n":2}`, "b": `{"n":2}`})
}

// waitsNoLonger keeps a transaction open until another, which may have to wait for it, has given up.
func waitsNoLonger(ctx context.Context, h Harness) error {
	var second error
	ended := make(chan struct{})
	begun := false
	err := h.Store.Update(ctx, func(tx store.Tx) error {
		n, err := read(tx, "a")
		if err != nil {
			return err
		}
		if !begun {
			begun = true
			go func() {
				defer close(ended)
				short, cancel := context.WithTimeout(ctx, h.Patience)
				defer cancel()
				second = increment(short, h.Store, "a")
			}()
		}
		select {
		case <-ended:
		case <-time.After(forEver * h.Patience):
			return errors.New("a transaction goes on long after its context has ended")
		}
		tx.Put(number("a", n+1))
		return nil
	})
	if err != nil {
		return err
	}
	switch {
	case second == nil:
		return holds(ctx, h.Store, map[string]string{"a": `{"n":2}`})
	case !errors.Is(second, context.DeadlineExceeded):
		return fmt.Errorf("the context ended and the error is %w", second)
	case errors.Is(second, store.ErrUnknown):
		return nil
	}
	return holds(ctx, h.Store, map[string]string{"a": `{"n":1}`})
}
