package storetest

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"

	"github.com/bkper/automations-portal/shared/store"
)

// Counter is a store that counts what Firestore would bill (https://cloud.google.com/firestore/pricing): a read for every
// document that was asked for, whether it is there or not, or that a query gives, at least one for a query; a write for
// every Put and Delete that is committed, and for every document that such a body got and did not write, unless it calls
// Find: the write verifies that the document has not changed. A body that runs again reads again. Failed reads are not billed.
type Counter struct {
	store.Store
	reads, writes atomic.Int64
}

// Counting makes a counter around a store.
func Counting(s store.Store) *Counter { return &Counter{Store: s} }

// Reads is the number of reads so far.
func (c *Counter) Reads() int { return int(c.reads.Load()) }

// Writes is the number of writes so far.
func (c *Counter) Writes() int { return int(c.writes.Load()) }

// Reset sets both numbers to zero.
func (c *Counter) Reset() {
	c.reads.Store(0)
	c.writes.Store(0)
}

// Get counts and reads documents.
func (c *Counter) Get(ctx context.Context, kind string, ids ...string) ([]store.Document, error) {
	return c.got(c.Store.Get(ctx, kind, ids...))
}

// Find counts and reads documents.
func (c *Counter) Find(ctx context.Context, q store.Query) ([]store.Document, error) {
	return c.found(c.Store.Find(ctx, q))
}

// Count counts the reads of a count: one for every 1,000 documents, and one at least.
func (c *Counter) Count(ctx context.Context, q store.Query) (int, error) {
	n, err := c.Store.Count(ctx, q)
	if err == nil {
		c.reads.Add(int64(max(1, (n+999)/1000)))
	}
	return n, err
}

// Update counts what body reads in every run, and what it wrote in the last one unless that was certainly not committed.
func (c *Counter) Update(ctx context.Context, body func(store.Tx) error) error {
	var last *countingTx
	err := c.Store.Update(ctx, func(tx store.Tx) error {
		last = &countingTx{Tx: tx, counter: c, got: map[[2]string]bool{}, written: map[[2]string]bool{}}
		return body(last)
	})
	if err == nil || errors.Is(err, store.ErrUnknown) && last != nil {
		c.writes.Add(last.writes + last.verified())
	}
	return err
}

func (c *Counter) got(documents []store.Document, err error) ([]store.Document, error) {
	c.reads.Add(int64(len(documents)))
	return documents, err
}

func (c *Counter) found(documents []store.Document, err error) ([]store.Document, error) {
	if err == nil {
		c.reads.Add(int64(max(1, len(documents))))
	}
	return documents, err
}

type countingTx struct {
	store.Tx
	counter      *Counter
	writes       int64
	got, written map[[2]string]bool // by kind and id
	finds        bool
}

// verified is how many documents were got and not written, where that has a price.
func (t *countingTx) verified() int64 {
	if t.finds || t.writes == 0 {
		return 0
	}
	maps.DeleteFunc(t.got, func(document [2]string, _ bool) bool { return t.written[document] })
	return int64(len(t.got))
}

func (t *countingTx) Get(kind string, ids ...string) ([]store.Document, error) {
	for _, id := range ids {
		t.got[[2]string{kind, id}] = true
	}
	return t.counter.got(t.Tx.Get(kind, ids...))
}

func (t *countingTx) Find(q store.Query) ([]store.Document, error) {
	t.finds = true
	return t.counter.found(t.Tx.Find(q))
}

func (t *countingTx) Put(d store.Document) {
	t.writes++
	t.written[[2]string{d.Kind, d.ID}] = true
	t.Tx.Put(d)
}

func (t *countingTx) Delete(kind, id string) {
	t.writes++
	t.written[[2]string{kind, id}] = true
	t.Tx.Delete(kind, id)
}
