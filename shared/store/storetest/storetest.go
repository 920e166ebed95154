// Package storetest is the suite that every implementation of a store passes, and a counter of what calls would cost.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/store"
)

// Harness is an empty store and what the suite must know about it.
type Harness struct {
	Store store.Store
	// Reopen ends all connections to the database and opens it anew, as the next process would.
	Reopen func() (store.Store, error)
	// Contenders write one document at once, Rounds times each.
	Contenders, Rounds int
	// Patience is how long a transaction is kept open for another one that may be waiting for it: long enough for a whole
	// transaction if nothing holds it up.
	Patience time.Duration
}

// Check is one thing that must hold.
type Check struct {
	Name string
	Run  func(context.Context, Harness) error
}

// limit bounds one check.
const limit = 2 * time.Minute

// forEver times its patience is how long the suite waits for what must not wait at all.
const forEver = 100

// Run runs every check, each on a store of its own, side by side.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	for _, check := range checks() {
		t.Run(check.Name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if err := check.Run(ctx, open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

func checks() []Check {
	return slices.Concat(documentChecks, ruleChecks, queryChecks, transactionChecks, contentionChecks)
}

// kind is the collection that most checks use.
const kind = "things"

// document makes one of that kind.
func document(id, body string) store.Document {
	return store.Document{Kind: kind, ID: id, Body: []byte(body)}
}

// indexed makes one that is found by a field's values.
func indexed(id, field string, values ...string) store.Document {
	d := document(id, `{}`)
	d.Index = map[string][]string{field: values}
	return d
}

// due makes one that is due.
func due(id string, at time.Time) store.Document {
	d := document(id, `{}`)
	d.Due = at
	return d
}

// number makes one that holds a number.
func number(id string, n int) store.Document { return document(id, fmt.Sprintf(`{"n":%d}`, n)) }

// numberOf reads it; 0 where the document is missing.
func numberOf(d store.Document) (n int, err error) {
	if d.Body != nil {
		_, err = fmt.Sscanf(string(d.Body), `{"n":%d}`, &n)
	}
	return n, err
}

// put writes documents in one transaction.
func put(ctx context.Context, s store.Store, documents ...store.Document) error {
	return s.Update(ctx, func(tx store.Tx) error {
		for _, d := range documents {
			tx.Put(d)
		}
		return nil
	})
}

// remove deletes documents in one transaction.
func remove(ctx context.Context, s store.Store, ids ...string) error {
	return s.Update(ctx, func(tx store.Tx) error {
		for _, id := range ids {
			tx.Delete(kind, id)
		}
		return nil
	})
}

// holds checks the bodies of documents; "" is a missing one.
func holds(ctx context.Context, r store.Reader, want map[string]string) error {
	var errs []error
	for id, body := range want {
		found, err := r.Get(ctx, kind, id)
		if err != nil {
			return err
		}
		if len(found) != 1 || string(found[0].Body) != body || (found[0].Body == nil) != (body == "") {
			errs = append(errs, fmt.Errorf("%q is %.200q; want %.200q", id, found, body))
		}
	}
	return errors.Join(errs...)
}

// finds checks which documents a query finds, inside and outside of a transaction; ids are separated by spaces.
func finds(ctx context.Context, s store.Store, q store.Query, want string) error {
	q.Kind = kind
	outside, err := s.Find(ctx, q)
	if err != nil {
		return fmt.Errorf("find %+v: %w", q, err)
	}
	var inside []store.Document
	err = s.Update(ctx, func(tx store.Tx) (err error) {
		inside, err = tx.Find(q)
		return err
	})
	if err != nil {
		return fmt.Errorf("find %+v in a transaction: %w", q, err)
	}
	n, err := s.Count(ctx, q)
	if whole := q.After == "" && q.Limit == 0; err != nil || n < len(outside) || whole && n != len(outside) {
		return fmt.Errorf("count %+v gives %d, %w; want %q", q, n, err, want)
	}
	for _, found := range [][]store.Document{outside, inside} {
		if got := idsOf(found); got != want {
			return fmt.Errorf("find %+v gives %.300q; want %.300q", q, got, want)
		}
	}
	return nil
}

func idsOf(found []store.Document) string {
	ids := make([]string, len(found))
	for i, d := range found {
		ids[i] = d.ID
		if d.Body == nil || d.Kind != kind {
			ids[i] += "(no body or kind)"
		}
	}
	return strings.Join(ids, " ")
}

// refused checks that something was an error of which it is known that nothing was written.
func refused(what string, err error) error {
	if err == nil {
		return fmt.Errorf("%s is accepted", what)
	}
	if errors.Is(err, store.ErrUnknown) {
		return fmt.Errorf("%s leaves it open whether it took place: %w", what, err)
	}
	return nil
}

// all runs checks until one fails.
func all(errs ...func() error) error {
	for _, check := range errs {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}
