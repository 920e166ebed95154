package sqlite

import (
	"context"
	"sync/atomic"

	"github.com/bkper/automations-portal/shared/store"
)

// alternating gives each call to the next of some stores.
type alternating struct {
	stores []store.Store
	calls  atomic.Int64
}

func (a *alternating) next() store.Store {
	return a.stores[int(a.calls.Add(1))%len(a.stores)]
}

func (a *alternating) Get(ctx context.Context, kind string, ids ...string) ([]store.Document, error) {
	return a.next().Get(ctx, kind, ids...)
}

func (a *alternating) Find(ctx context.Context, q store.Query) ([]store.Document, error) {
	return a.next().Find(ctx, q)
}

func (a *alternating) Count(ctx context.Context, q store.Query) (int, error) {
	return a.next().Count(ctx, q)
}

func (a *alternating) Update(ctx context.Context, body func(store.Tx) error) error {
	return a.next().Update(ctx, body)
}
