package posting

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/store"
)

// locksEvery bounds how often Books are asked for their lock alone: closed years keep rows out for good.
const locksEvery = time.Hour

// unlock has the history read again of integrations whose Book kept rows out by its lock, where the lock has moved back. Books
// do not tell when that happens. errConfig.
func (r *run) unlock(ctx context.Context) error {
	if len(r.e.Locked) == 0 || (r.now().Before(r.e.Unlocked.Add(locksEvery)) && !r.e.ReadingDeep) || r.unlocked {
		return nil
	}
	is, err := r.byID(ctx, slices.Sorted(maps.Keys(r.e.Locked)))
	if err != nil {
		return err
	}
	var open []string
	for _, i := range is {
		if i.Paused {
			continue
		}
		o, err := r.open(ctx, booking{i.Book, i.As})
		if err != nil {
			return err
		}
		if o.blocked == "" && o.book.Locked.Before(r.e.Locked[i.ID]) {
			open = append(open, i.ID)
		}
	}
	r.unlocked, r.e.Unlocked = true, r.now()
	open = open[:min(len(open), served)] // the others in an hour
	if len(open) == 0 {
		return nil
	}
	return r.commit(ctx, true, func(tx store.Tx) (func() error, error) {
		is, err := store.Integrations.LoadAll(tx, open...)
		if err != nil {
			return nil, err
		}
		locked := maps.Clone(r.e.Locked)
		maps.DeleteFunc(locked, func(id string, _ civil.Date) bool { return slices.Contains(open, id) })
		r.e.Locked, r.e.Behind = locked, true
		return func() error {
			var errs []error
			for _, i := range is {
				i.Replay()
				errs = append(errs, store.Integrations.Put(tx, i))
			}
			return errors.Join(errs...)
		}, nil
	})
}

// shut notes the newest date that the lock of a Book has kept out.
func (r *run) shut(i *bank.Integration, d civil.Date) {
	if d.After(r.e.Locked[i.ID]) {
		r.e.Locked = maps.Clone(r.e.Locked)
		if r.e.Locked == nil {
			r.e.Locked = map[string]civil.Date{}
		}
		r.e.Locked[i.ID] = d
	}
}
