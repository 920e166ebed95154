package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/bkper/automations-portal/shared/store"
)

var transactionChecks = []Check{
	{"the error of a body undoes everything and is returned as it is", bodyError},
	{"nothing is seen before the commit and nobody waits to read", unseen},
	{"others see all of a transaction or nothing", allAtOnce},
	{"a transaction reads before it writes", readsFirst},
	{"a former holder writes nothing under its old fence", fences},
}

var errOwn = errors.New("the body's own")

func bodyError(ctx context.Context, h Harness) error {
	if err := put(ctx, h.Store, number("a", 1), indexed("b", "colour", "red")); err != nil {
		return err
	}
	runs := 0
	err := h.Store.Update(ctx, func(tx store.Tx) error {
		runs++
		if _, err := tx.Get(kind, "a", "c"); err != nil {
			return err
		}
		tx.Put(number("a", 2))
		tx.Put(number("c", 3))
		tx.Delete(kind, "b")
		tx.Put(document("not/valid", `{}`))
		return errOwn
	})
	if err != errOwn || runs != 1 {
		return fmt.Errorf("the body ran %d times and %w was returned; want once and %w itself", runs, err, errOwn)
	}
	return all(
		func() error { return holds(ctx, h.Store, map[string]string{"a": `{"n":1}`, "b": `{}`, "c": ``}) },
		func() error { return finds(ctx, h.Store, store.Query{Field: "colour", Any: []string{"red"}}, "b") },
		func() error { return put(ctx, h.Store, number("a", 4)) },
		func() error { return holds(ctx, h.Store, map[string]string{"a": `{"n":4}`}) },
	)
}

func unseen(ctx context.Context, h Harness) error {
	if err := put(ctx, h.Store, number("a", 1), number("b", 1)); err != nil {
		return err
	}
	err := h.Store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Get(kind, "a", "b", "c"); err != nil {
			return err
		}
		tx.Put(number("a", 2))
		tx.Delete(kind, "b")
		tx.Put(number("c", 2))
		reading, cancel := context.WithTimeout(ctx, forEver*h.Patience)
		defer cancel()
		if err := holds(reading, h.Store, map[string]string{"a": `{"n":1}`, "b": `{"n":1}`, "c": ``}); err != nil {
			return err
		}
		found, err := h.Store.Find(reading, store.Query{Kind: kind})
		if got := idsOf(found); got != "a b" || err != nil {
			return fmt.Errorf("find gives %q, %w", got, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("beside an open transaction: %w", err)
	}
	return holds(ctx, h.Store, map[string]string{"a": `{"n":2}`, "b": ``, "c": `{"n":2}`})
}

// allAtOnce writes pairs of equal numbers while others look for unequal ones.
func allAtOnce(ctx context.Context, h Harness) error {
	if err := put(ctx, h.Store, number("a", 0), number("b", 0)); err != nil {
		return err
	}
	var over atomic.Bool
	var g errgroup.Group
	g.Go(func() error {
		defer over.Store(true)
		for i := range h.Contenders * h.Rounds {
			if err := put(ctx, h.Store, number("a", i+1), number("b", i+1)); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error {
		for !over.Load() {
			if err := equal(ctx, h.Store); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(g.Wait(), equal(ctx, h.Store))
}

// equal reads two documents in one transaction, one after the other.
func equal(ctx context.Context, s store.Store) error {
	var a, b int
	err := s.Update(ctx, func(tx store.Tx) (err error) {
		if a, err = read(tx, "a"); err != nil {
			return err
		}
		b, err = read(tx, "b")
		return err
	})
	if err == nil && a != b {
		err = fmt.Errorf("a transaction reads %d and %d, which were never there together", a, b)
	}
	return err
}

// read reads a number in a transaction.
func read(tx store.Tx, id string) (int, error) {
	found, err := tx.Get(kind, id)
	if err != nil {
		return 0, err
	}
	return numberOf(found[0])
}

func readsFirst(ctx context.Context, h Harness) error {
	for what, read := range map[string]func(store.Tx) error{
		"get": func(tx store.Tx) error {
			_, err := tx.Get(kind, "a")
			return err
		},
		"find": func(tx store.Tx) error {
			_, err := tx.Find(store.Query{Kind: kind})
			return err
		},
	} {
		for after, write := range map[string]func(store.Tx){
			"put":    func(tx store.Tx) { tx.Put(number("a", 1)) },
			"delete": func(tx store.Tx) { tx.Delete(kind, "b") },
		} {
			what := what + " after " + after
			var told error
			ignored := h.Store.Update(ctx, func(tx store.Tx) error {
				write(tx)
				told = read(tx)
				return nil
			})
			if err := errors.Join(refused(what, told), refused(what+", its error ignored,", ignored)); err != nil {
				return err
			}
		}
	}
	return finds(ctx, h.Store, store.Query{}, "")
}

// fences plays a lease: who takes it bumps the fence, and who writes compares it.
func fences(ctx context.Context, h Harness) error {
	take := func() (fence int, err error) {
		err = h.Store.Update(ctx, func(tx store.Tx) error {
			if fence, err = read(tx, "lease"); err != nil {
				return err
			}
			fence++
			tx.Put(number("lease", fence))
			return nil
		})
		return fence, err
	}
	write := func(fence int) error {
		return h.Store.Update(ctx, func(tx store.Tx) error {
			now, err := read(tx, "lease")
			if err != nil {
				return err
			}
			if now != fence {
				return errOwn
			}
			tx.Put(number("work", fence))
			return nil
		})
	}
	former, err := take()
	if err := errors.Join(err, write(former)); err != nil {
		return err
	}
	latter, err := take()
	if err != nil || latter == former {
		return fmt.Errorf("the fences are %d and %d, %w", former, latter, err)
	}
	if err := write(former); err != errOwn {
		return fmt.Errorf("the former holder writes: %w", err)
	}
	return all(
		func() error { return holds(ctx, h.Store, map[string]string{"work": `{"n":1}`}) },
		func() error { return write(latter) },
		func() error { return holds(ctx, h.Store, map[string]string{"work": `{"n":2}`}) },
	)
}
