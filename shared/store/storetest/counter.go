package storetest

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/bkper/automations-portal/shared/store"
)

// Counter is a store that counts what Firestore would bill (https://cloud.google.com/firestore/pricing): a read for every
// document that was asked for, whether it is there or not, or that a query gives, at least one for a query; a write for
// every Put and Delete that is committed. A body that runs again reads again. Failed reads are not billed.
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

// Update counts what body reads in every run, and what it wrote in the last one unless that was certainly not committed.
func (c *Counter) Update(ctx context.Context, body func(store.Tx) error) error {
	var last *countingTx
	err := c.Store.Update(ctx, func(tx store.Tx) error {
		last = &countingTx{Tx: tx, counter: c}
		return body(last)
	})
	if err == nil || errors.Is(err, store.ErrUnknown) && last != nil {
		c.writes.Add(last.writes)
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
	counter *Counter
	writes  int64
}

func (t *countingTx) Get(kind string, ids ...string) ([]store.Document, error) {
	return t.counter.got(t.Tx.Get(kind, ids...))
}

func (t *countingTx) Find(q store.Query) ([]store.Document, error) {
	return t.counter.found(t.Tx.Find(q))
}

func (t *countingTx) Put(d store.Document) {
	t.writes++
	t.Tx.Put(d)
}

func (t *countingTx) Delete(kind, id string) {
	t.writes++
	t.Tx.Delete(kind, id)
}
