package storetest

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/bkper/automations-portal/shared/store"
)

// altered is a store whose calls are changed on their way in and out, inside and outside of transactions alike.
type altered struct {
	store.Store
	ids   func(kind string, ids []string) (string, []string)
	got   func(asked []string, got []store.Document) []store.Document
	query func(*store.Query)
	found func(store.Query, []store.Document) []store.Document
	put   func(tx store.Tx, d store.Document)
	del   func(tx store.Tx, kind, id string)
	fails func(error) error // of every call
}

func (a *altered) Get(ctx context.Context, kind string, ids ...string) ([]store.Document, error) {
	return a.get(kind, ids, func(kind string, ids []string) ([]store.Document, error) { return a.Store.Get(ctx, kind, ids...) })
}

func (a *altered) Find(ctx context.Context, q store.Query) ([]store.Document, error) {
	return a.find(q, func(q store.Query) ([]store.Document, error) { return a.Store.Find(ctx, q) })
}

func (a *altered) Update(ctx context.Context, body func(store.Tx) error) error {
	return a.error(a.Store.Update(ctx, func(tx store.Tx) error { return body(&alteredTx{tx, a}) }))
}

func (a *altered) error(err error) error {
	if a.fails == nil {
		return err
	}
	return a.fails(err)
}

func (a *altered) get(kind string, ids []string, get func(string, []string) ([]store.Document, error)) ([]store.Document, error) {
	asked := ids
	if a.ids != nil {
		kind, ids = a.ids(kind, ids)
	}
	got, err := get(kind, ids)
	if err == nil && a.got != nil {
		got = a.got(asked, got)
	}
	return got, a.error(err)
}

func (a *altered) find(q store.Query, find func(store.Query) ([]store.Document, error)) ([]store.Document, error) {
	asked := q
	if a.query != nil {
		a.query(&q)
	}
	found, err := find(q)
	if err == nil && a.found != nil {
		found = a.found(asked, found)
	}
	return found, a.error(err)
}

type alteredTx struct {
	store.Tx
	a *altered
}

func (t *alteredTx) Get(kind string, ids ...string) ([]store.Document, error) {
	return t.a.get(kind, ids, func(kind string, ids []string) ([]store.Document, error) { return t.Tx.Get(kind, ids...) })
}

func (t *alteredTx) Find(q store.Query) ([]store.Document, error) { return t.a.find(q, t.Tx.Find) }

func (t *alteredTx) Put(d store.Document) {
	if t.a.put == nil {
		t.Tx.Put(d)
		return
	}
	t.a.put(t.Tx, d)
}

func (t *alteredTx) Delete(kind, id string) {
	if t.a.del == nil {
		t.Tx.Delete(kind, id)
		return
	}
	t.a.del(t.Tx, kind, id)
}

// optimistic runs bodies side by side on the documents as they are and compares what they read before it writes. Without a
// flaw it is correct, and the only one here that runs bodies again.
type optimistic struct {
	store.Store
	comparesNothing   bool // loses updates
	comparesWritten   bool // only what is written too: write skew
	comparesNoQueries bool // phantoms
	comparesNoAbsence bool
	trustsReaders     bool // compares nothing where nothing is written
	remembers         bool // a body that runs again reads what it read before
	keepsAborted      bool // writes of aborted runs stay
	readsAfterWrites  bool
	waitsInLine       bool // for its turn, whatever the context says
	turn              sync.Mutex
}

func (o *optimistic) Update(ctx context.Context, body func(store.Tx) error) error {
	if o.waitsInLine {
		o.turn.Lock()
		defer o.turn.Unlock()
	}
	t := &optimisticTx{o: o, ctx: ctx}
	for {
		changed, err := o.attempt(t, body)
		if err != nil || !changed {
			return err
		}
		again := &optimisticTx{o: o, ctx: ctx}
		if o.remembers {
			again.memory = t.reads
		}
		if o.keepsAborted {
			again.writes = t.writes
		}
		t = again
	}
}

func (o *optimistic) attempt(t *optimisticTx, body func(store.Tx) error) (changed bool, err error) {
	if err := t.ctx.Err(); err != nil {
		return false, err
	}
	t.kept = len(t.writes)
	if err := body(t); err != nil {
		return false, err
	}
	err = o.Store.Update(t.ctx, func(tx store.Tx) error {
		changed = false
		for _, r := range t.reads {
			now, err := r.again(tx)
			if err != nil {
				return err
			}
			changed = changed || o.compares(t, r) && !slices.EqualFunc(now, r.result, same)
		}
		for _, write := range t.writes {
			if !changed {
				write.do(tx)
			}
		}
		if t.failed && !o.readsAfterWrites {
			_, _ = tx.Find(store.Query{}) // refused, and so the commit is
		}
		return nil
	})
	return changed, err
}

func same(a, b store.Document) bool { return a.ID == b.ID && string(a.Body) == string(b.Body) }

func (o *optimistic) compares(t *optimisticTx, r readBefore) bool {
	switch {
	case o.comparesNothing, len(t.memory) > 0, o.comparesNoQueries && r.query, o.trustsReaders && len(t.writes) == 0:
		return false
	case o.comparesNoAbsence && !r.query && r.result[0].Body == nil:
		return false
	case o.comparesWritten:
		return slices.ContainsFunc(t.writes, func(w write) bool {
			return slices.ContainsFunc(r.result, func(d store.Document) bool { return d.ID == w.id })
		})
	}
	return true
}

// readBefore is one read of a body and how to make it again.
type readBefore struct {
	query  bool
	result []store.Document
	again  func(store.Tx) ([]store.Document, error)
}

type write struct {
	id string
	do func(store.Tx)
}

type optimisticTx struct {
	o      *optimistic
	ctx    context.Context
	reads  []readBefore
	memory []readBefore
	writes []write
	kept   int // how many of writes are of an earlier run
	failed bool
}

func (t *optimisticTx) read(r readBefore, now func() ([]store.Document, error)) (found []store.Document, err error) {
	if len(t.writes) > t.kept && !t.o.readsAfterWrites {
		t.failed = true
		return nil, errOwn
	}
	if len(t.memory) > len(t.reads) {
		r.result = t.memory[len(t.reads)].result
	} else if r.result, err = now(); err != nil {
		t.failed = true
		return nil, err
	}
	t.reads = append(t.reads, r)
	for _, d := range r.result {
		found = append(found, clone(d))
	}
	return found, nil
}

func clone(d store.Document) store.Document {
	d.Body = bytes.Clone(d.Body)
	d.Index = maps.Clone(d.Index)
	for field, values := range d.Index {
		d.Index[field] = slices.Clone(values)
	}
	return d
}

func (t *optimisticTx) Get(kind string, ids ...string) ([]store.Document, error) {
	again := func(tx store.Tx) ([]store.Document, error) { return tx.Get(kind, ids...) }
	return t.read(readBefore{again: again}, func() ([]store.Document, error) { return t.o.Store.Get(t.ctx, kind, ids...) })
}

func (t *optimisticTx) Find(q store.Query) ([]store.Document, error) {
	again := func(tx store.Tx) ([]store.Document, error) { return tx.Find(q) }
	return t.read(readBefore{query: true, again: again}, func() ([]store.Document, error) { return t.o.Store.Find(t.ctx, q) })
}

func (t *optimisticTx) Put(d store.Document) {
	d = clone(d)
	t.writes = append(t.writes, write{d.ID, func(tx store.Tx) { tx.Put(d) }})
}

func (t *optimisticTx) Delete(kind, id string) {
	t.writes = append(t.writes, write{id, func(tx store.Tx) { tx.Delete(kind, id) }})
}
