package storetest

import (
	"errors"
	"testing"

	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
)

func TestACounterIsAStore(t *testing.T) {
	Run(t, func(*testing.T) Harness {
		return harness(func(inner *memory.Store) store.Store { return Counting(inner) })
	})
}

func TestTheCounterCountsWhatIsBilled(t *testing.T) {
	inner := memory.New()
	c := Counting(inner)
	ctx := t.Context()
	step := func(what string, reads, writes int, err error) {
		t.Helper()
		if err != nil || c.Reads() != reads || c.Writes() != writes {
			t.Errorf("%s: %d reads, %d writes, %v; want %d and %d", what, c.Reads(), c.Writes(), err, reads, writes)
		}
		c.Reset()
	}
	step("put", 0, 3, put(ctx, c, document("a", `{}`), document("b", `{}`), document("b", `{}`)))
	_, err := c.Get(ctx, kind, "a", "none", "a")
	step("get", 3, 0, err)
	_, err = c.Find(ctx, store.Query{Kind: kind})
	step("find", 2, 0, err)
	_, err = c.Find(ctx, store.Query{Kind: "none"})
	step("find nothing", 1, 0, err)
	step("delete", 0, 2, remove(ctx, c, "a", "none"))
	readAndWrite := func(tx store.Tx) error {
		_, err := tx.Get(kind, "a", "b")
		_, errFind := tx.Find(store.Query{Kind: kind})
		tx.Put(document("c", `{}`))
		return errors.Join(err, errFind)
	}
	step("update", 3, 1, c.Update(ctx, readAndWrite))
	err = c.Update(ctx, func(tx store.Tx) error { return errors.Join(readAndWrite(tx), errOwn) })
	if !errors.Is(err, errOwn) {
		t.Error(err)
	}
	step("update undone", 4, 0, nil)
	step("update that verifies", 3, 3, c.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Get(kind, "a", "b", "none")
		tx.Delete(kind, "a")
		return err
	}))
	step("update that only reads", 2, 0, c.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Get(kind, "a", "b")
		return err
	}))
	again := Counting(&optimistic{Store: inner})
	runs := 0
	err = again.Update(ctx, func(tx store.Tx) error {
		runs++
		_, err := tx.Get(kind, "a", "b")
		if runs == 1 {
			err = errors.Join(err, put(ctx, inner, number("a", 1)))
		}
		tx.Put(document("d", `{}`))
		return err
	})
	if err != nil || runs != 2 || again.Reads() != 4 || again.Writes() != 3 {
		t.Errorf("%d runs, %d reads, %d writes, %v; want 2, 4 and 3", runs, again.Reads(), again.Writes(), err)
	}
}
