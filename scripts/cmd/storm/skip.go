package main

import (
	"context"
	"errors"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/store"
)

// skipped is longer than any dead process keeps others from its work.
const skipped = 3 * time.Minute

// skip lets time pass at once, as if all processes had been down for so long: they are, while everything that they wrote for
// a time to come is dated back.
func (s *storm) skip(ctx context.Context) error {
	s.rest()
	defer s.employ(ctx)
	engines, err := all(ctx, s.store, posting.Engines)
	if err != nil {
		return err
	}
	sessions, err := all(ctx, s.store, store.Sessions)
	if err != nil {
		return err
	}
	connections, err := all(ctx, s.store, store.Connections)
	if err != nil {
		return err
	}
	back := func(times ...*time.Time) {
		for _, t := range times {
			if !t.IsZero() {
				*t = t.Add(-skipped)
			}
		}
	}
	for _, e := range engines {
		back(&e.Lease.Until, &e.Due)
		err = errors.Join(err, s.store.Update(ctx, func(tx store.Tx) error { return posting.Engines.Put(tx, e) }))
	}
	for _, o := range sessions {
		back(&o.Due, &o.Trying)
		err = errors.Join(err, s.store.Update(ctx, func(tx store.Tx) error { return store.Sessions.Put(tx, o) }))
	}
	for _, c := range connections {
		if c.State == bank.Removing {
			back(&c.Updated)
			err = errors.Join(err, s.store.Update(ctx, func(tx store.Tx) error { return store.Connections.Put(tx, c) }))
		}
	}
	return err
}
