// Package memory keeps documents in the memory of one process, for tests and simulators. It starts no goroutine, reads no
// clock and deletes nothing that has expired, so the same calls in the same order give the same results.
package memory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/internal/txn"
)

// Store is a store.Store. One transaction runs at a time, its body included; a body runs once. Reads outside of
// transactions do not wait for bodies.
type Store struct {
	values bool

	turn  chan struct{} // held by the transaction that runs
	mu    sync.RWMutex  // guards kinds, for moments only
	kinds map[string]*kind
}

// kind is one collection.
type kind struct {
	documents map[string]*txn.Write
	terms     map[txn.Term]map[string]bool // ids by term
}

// New makes an empty store.
func New() *Store {
	return &Store{turn: make(chan struct{}, 1), kinds: map[string]*kind{}}
}

// NewOfValues makes an empty store that keeps what a store.Kind puts as a copy of the value, for simulators, which would spend
// half of their time on JSON. Kinds see no difference; who reads the Body of such a document finds an empty object, and its
// size counts as that.
func NewOfValues() *Store {
	s := New()
	s.values = true
	return s
}

// Get reads documents by id.
func (s *Store) Get(ctx context.Context, kind string, ids ...string) ([]store.Document, error) {
	if err := cmp.Or(ctx.Err(), txn.CheckIDs(kind, ids...)); err != nil {
		return nil, fmt.Errorf("get %s: %w", kind, err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	found := make([]store.Document, len(ids))
	for i, id := range ids {
		found[i] = store.Document{Kind: kind, ID: id}
		if k := s.kinds[kind]; k != nil {
			found[i] = k.read(kind, id)
		}
	}
	return found, nil
}

// Find reads the documents that match.
func (s *Store) Find(ctx context.Context, q store.Query) ([]store.Document, error) {
	q, _, err := txn.CheckQuery(q)
	if err := cmp.Or(ctx.Err(), err); err != nil {
		return nil, fmt.Errorf("find %s: %w", q.Kind, err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	k := s.kinds[q.Kind]
	if k == nil {
		return nil, nil
	}
	ids := k.matching(q)
	slices.SortFunc(ids, func(a, b string) int {
		if q.Due.IsZero() {
			return strings.Compare(a, b)
		}
		return cmp.Or(k.documents[a].Due.Compare(k.documents[b].Due), strings.Compare(a, b))
	})
	found := make([]store.Document, min(len(ids), q.Limit))
	for i := range found {
		found[i] = k.read(q.Kind, ids[i])
	}
	return found, nil
}

// Count counts the documents that match.
func (s *Store) Count(ctx context.Context, q store.Query) (int, error) {
	q, _, err := txn.CheckQuery(q)
	if err := cmp.Or(ctx.Err(), err); err != nil {
		return 0, fmt.Errorf("count %s: %w", q.Kind, err)
	}
	q.After = ""
	s.mu.RLock()
	defer s.mu.RUnlock()
	k := s.kinds[q.Kind]
	if k == nil {
		return 0, nil
	}
	return len(k.matching(q)), nil
}

func (k *kind) read(name, id string) store.Document {
	d := store.Document{Kind: name, ID: id}
	if w := k.documents[id]; w != nil {
		d.Body, d.Value = bytes.Clone(w.Body), w.Value
	}
	return d
}

// matching are the ids of the documents that match, each once and in no order.
func (k *kind) matching(q store.Query) []string {
	var ids []string
	if q.Field == "" {
		for id, d := range k.documents {
			if matches(d, q) {
				ids = append(ids, id)
			}
		}
		return ids
	}
	for _, value := range q.Any {
		for id := range k.terms[txn.Term{Field: q.Field, Value: value}] {
			if matches(k.documents[id], q) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// matches reports whether a document meets the conditions besides the field.
func matches(d *txn.Write, q store.Query) bool {
	if !q.Due.IsZero() && (d.Due.IsZero() || d.Due.After(q.Due)) {
		return false
	}
	return d.ID > q.After
}

// Update runs body while no other transaction runs. A body that calls Update waits for itself until ctx ends.
func (s *Store) Update(ctx context.Context, body func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("update: %w", ctx.Err())
	}
	defer func() { <-s.turn }()
	t := &tx{store: s, ctx: ctx}
	writes, err := t.Done(body(t))
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range writes {
		s.apply(&writes[i])
	}
	return nil
}

func (s *Store) apply(w *txn.Write) {
	k := s.kinds[w.Kind]
	if k == nil {
		k = &kind{documents: map[string]*txn.Write{}, terms: map[txn.Term]map[string]bool{}}
		s.kinds[w.Kind] = k
	}
	if old := k.documents[w.ID]; old != nil {
		k.forget(old)
	}
	if w.Body == nil {
		delete(k.documents, w.ID)
		return
	}
	k.documents[w.ID] = w
	for _, term := range w.Terms {
		if k.terms[term] == nil {
			k.terms[term] = map[string]bool{}
		}
		k.terms[term][w.ID] = true
	}
}

// forget takes a document out of the index.
func (k *kind) forget(w *txn.Write) {
	for _, term := range w.Terms {
		delete(k.terms[term], w.ID)
		if len(k.terms[term]) == 0 {
			delete(k.terms, term)
		}
	}
}

// tx is the transaction of one run of a body.
type tx struct {
	txn.Writes
	store *Store
	ctx   context.Context
}

func (t *tx) Get(kind string, ids ...string) ([]store.Document, error) {
	if err := t.Reading(); err != nil {
		return nil, err
	}
	found, err := t.store.Get(t.ctx, kind, ids...)
	t.Failed(err)
	return found, err
}

func (t *tx) Find(q store.Query) ([]store.Document, error) {
	if err := t.Reading(); err != nil {
		return nil, err
	}
	found, err := t.store.Find(t.ctx, q)
	t.Failed(err)
	return found, err
}

// KeepsValues implements store.Keeper.
func (t *tx) KeepsValues() bool { return t.store.values }
