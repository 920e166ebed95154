package posting

import (
	"context"
	"errors"
	"maps"
	"slices"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/store"
)

// After a replay, rows that the bank no longer names are taken back unasked only up to these bounds.
const (
	vanishedRows  = 20
	vanishedShare = 100 // one in so many
	// silentDays is how young a row must be, in days, that a bank which names nothing at all of its account should have named.
	silentDays = 180
)

// recover settles the intents that an earlier holder left open, before anything new is planned.
func (r *run) recover(ctx context.Context) error {
	if len(r.e.Open) == 0 {
		return nil
	}
	if err := r.reload(ctx); err != nil {
		return err
	}
	codes := map[string]string{}
	for _, s := range r.e.Open {
		b := booking{s.Book, s.As}
		open := slices.DeleteFunc(slices.Clone(s.Rows), func(row *Row) bool {
			row.created = row.Intent == ToCreate
			return row.Intent == ""
		})
		if err := r.hear(ctx, b, open); err != nil {
			return err
		}
		for _, row := range open {
			if row.Intent != "" && r.books[b].passing == nil {
				codes[row.Integration] = r.books[b].blocked
			}
		}
	}
	r.file()
	if len(codes) > 0 {
		return r.commit(ctx, false, r.behind(slices.Sorted(maps.Keys(codes)), codes))
	}
	return nil
}

// finish ends a read: what the bank took back is taken back in the Books, then the cursor moves.
func (r *run) finish(ctx context.Context, last *bank.Page) error {
	for {
		err := r.removals(ctx, last)
		if err == nil {
			err = r.close(ctx, last)
		}
		if !errors.Is(err, errConfig) && !errors.Is(err, errAgain) {
			return err
		}
		if err := r.obey(ctx); err != nil {
			return err
		}
	}
}

// close commits the end of a read.
func (r *run) close(ctx context.Context, last *bank.Page) error {
	read := r.e.Read
	before := *r.e
	r.e.Read = nil
	if last.Next != "" && (last.Complete || !read.compares()) {
		r.e.Cursor = last.Next
	}
	r.loading = r.loading || (last.Next != "" && r.e.Cursor == "")
	r.e.Synced = r.now()
	served := slices.Sorted(maps.Keys(read.Serves))
	for _, id := range served {
		r.count(id, func(p *bank.Progress) { p.Complete = last.Complete })
	}
	if last.Complete && !read.Replay { // what came with the first part of history has the rest now too
		for id, p := range r.e.Progress {
			p.Complete = true
			r.e.Progress[id] = p
		}
	}
	if last.Next == "" || len(served) == 0 {
		// Nothing was promised: what this read did is filed with the commit that lets go.
		r.loading = r.loading || (last.Next == "" && len(served) > 0)
		return nil
	}
	err := r.commit(ctx, true, func(tx store.Tx) (func() error, error) {
		is, err := store.Integrations.LoadAll(tx, served...)
		if err != nil {
			return nil, err
		}
		return func() error {
			for _, i := range is {
				if i == nil || i.State != bank.Live || i.Paused { // it was not written for
					continue
				}
				if !last.Complete && (read.Named || i.Epoch > 0) { // compared with the journal until all of it was there
					r.loading = true
					continue
				}
				i.Have = max(i.Have, read.Serves[i.ID])
				if i.Have >= i.Want {
					i.Behind = ""
				}
				if err := store.Integrations.Put(tx, i); err != nil {
					return err
				}
			}
			return nil
		}, nil
	})
	if errors.Is(err, errConfig) {
		r.e.Read, r.e.Cursor, r.e.Synced = read, before.Cursor, before.Synced
	}
	if err == nil {
		r.feeds = map[string][]*bank.Integration{} // what was read of them says that they lack history
	}
	return err
}

// removals takes back, in the Books, what the bank took back during the read.
func (r *run) removals(ctx context.Context, last *bank.Page) error {
	read := r.e.Read
	if !read.Waiting && !read.Named && !read.Renewed {
		return nil
	}
	if len(r.done) > 0 {
		if err := r.commit(ctx, false, nil); err != nil {
			return err
		}
	}
	gone, err := r.gone(ctx, last)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(gone, 500) {
		if err := r.takeBack(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

// gone lists the newest versions of rows whose transaction is no longer at the bank, as far as this read can tell.
func (r *run) gone(ctx context.Context, last *bank.Page) ([]*Row, error) {
	read, rows := r.e.Read, map[string]*Row{}
	pages, abandoned := map[string][]string{}, []*Row{}
	query := store.Query{Field: byWaiting, Any: []string{r.conn.ID}, After: firstSegment(r.conn.ID, read.First)}
	if read.Named {
		query.Field = byConnection
	}
	err := eachSegment(ctx, r.p.Store, query, func(s *Segment) error {
		r.j.note(s)
		if s.No == read.No && s.Page != "" {
			pages[s.Page] = s.Named
		}
		for _, row := range s.Rows {
			switch {
			case row.Waiting:
				rows[row.Integration+row.Key] = row
			case s.No < read.No:
				abandoned = append(abandoned, row)
			}
		}
		return nil
	})
	if err != nil {
		return nil, storeError{err}
	}
	named := map[string]bool{}
	for _, ids := range pages {
		for _, id := range ids {
			named[id] = true
		}
	}
	if err := r.newer(ctx, rows); err != nil {
		return nil, err
	}
	for _, row := range abandoned {
		if newest := r.j.find(row.Integration, row.current()); newest != nil && newest.State == Standing && !named[newest.current()] {
			rows[newest.Integration+newest.Key] = newest
		}
	}
	if last.Next != "" {
		if err := r.held(ctx, rows); err != nil {
			return nil, err
		}
	}
	if read.Origin == "" && read.Named && last.Complete {
		if err := r.vanished(ctx, named, rows); err != nil {
			return nil, err
		}
	}
	var gone []*Row
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		newest := r.j.find(rows[key].Integration, rows[key].current())
		if newest != nil && newest.State == Standing && (newest == rows[key] || newest.Waiting) {
			gone = append(gone, newest)
		}
	}
	return gone, nil
}

// newer looks up what has become of rows since: another process may have recorded it.
func (r *run) newer(ctx context.Context, rows map[string]*Row) error {
	ids := map[string][]string{}
	for _, row := range rows {
		ids[row.Integration] = append(ids[row.Integration], row.IDs...)
	}
	if err := r.j.lookup(ctx, ids); err != nil {
		return storeError{err}
	}
	return nil
}

// held adds rows of the integrations whose history was read that cannot stand: those that the bank took back while their Book
// could not be written, or when a former item ended, and pending ones of a former item that no row of the new one claimed,
// since under that name they never settle. What the Book has not been heard of yet, it is asked now.
func (r *run) held(ctx context.Context, rows map[string]*Row) error {
	is, err := r.byID(ctx, slices.Sorted(maps.Keys(r.e.Read.Serves)))
	if err != nil {
		return err
	}
	var targets []*target
	for _, i := range is {
		account, _ := r.conn.ByKey(i.Key)
		t, err := r.target(ctx, i, account.ID)
		if err != nil {
			return err
		}
		targets = append(targets, t)
		if err := r.j.all(ctx, []string{i.ID}); err != nil {
			return storeError{err}
		}
		var open []*Row
		r.j.newest(i.ID, func(row *Row) {
			if row.Intent != "" {
				open = append(open, row)
			}
		})
		if err := r.hear(ctx, booking{i.Book, i.As}, open); err != nil {
			return err
		}
		r.j.newest(i.ID, func(row *Row) {
			if row.State == Standing && row.Intent == "" && (row.Waiting || (row.Written.Pending && row.Epoch < i.Epoch)) && row.Flag != TakenBack {
				rows[row.Integration+row.Key] = row
			}
		})
	}
	return r.leaveBehind(ctx, targets)
}

// vanished adds what a whole replay did not name, unless that is suspiciously much: then nothing is taken back and a
// person is asked.
func (r *run) vanished(ctx context.Context, named map[string]bool, rows map[string]*Row) error {
	is, err := store.Integrations.All(ctx, r.p.Store, store.Query{Field: store.ByConnection, Any: []string{r.conn.ID}})
	if err != nil {
		return storeError{err}
	}
	for _, i := range is {
		account, ok := r.conn.ByKey(i.Key)
		if _, served := r.e.Read.Serves[i.ID]; !ok || account.Gone || i.Paused || (!served && i.Want > i.Have) {
			continue
		}
		if err := r.j.all(ctx, []string{i.ID}); err != nil {
			return storeError{err}
		}
		oldest, told := r.e.Read.Oldest[account.ID]
		if !told {
			oldest = civil.DateOf(r.now()).AddDays(-silentDays)
		}
		total := 0
		var missing []*Row
		equals := r.j.equals(i)
		r.j.newest(i.ID, func(row *Row) {
			total++
			if row.State == Standing && row.Flag != TakenBack && !named[row.current()] && !row.Written.Date.Before(oldest) &&
				(row.Epoch == i.Epoch || equals[saying(row.Written)]) {
				missing = append(missing, row)
			}
		})
		suspicious := len(missing) > max(vanishedRows, total/vanishedShare) || (!told && len(missing) > 0)
		r.count(i.ID, func(p *bank.Progress) {
			p.Vanished = 0
			if suspicious {
				p.Vanished = len(missing)
			}
		})
		if suspicious {
			continue
		}
		for _, row := range missing {
			rows[row.Integration+row.Key] = row
		}
	}
	return nil
}

// equals gives what the bank says of the rows that stand for the present item. A row of a former item of which it said the same,
// and which nothing claimed, is one more than the present one names: the former one ended before it had told of a new name.
func (j *journal) equals(i *bank.Integration) map[string]bool {
	equals := map[string]bool{}
	j.newest(i.ID, func(row *Row) {
		if row.Epoch == i.Epoch && row.State == Standing && i.Epoch > 0 {
			equals[saying(row.Written)] = true
		}
	})
	return equals
}

// saying is all that the bank says of a row.
func saying(v Values) string { return alikeKey(v.Text, v) }

// byID reads integrations that still live on this connection.
func (r *run) byID(ctx context.Context, ids []string) ([]*bank.Integration, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	ds, err := r.p.Store.Get(ctx, store.Integrations.Name, ids...)
	if err != nil {
		return nil, storeError{err}
	}
	var is []*bank.Integration
	for _, d := range ds {
		i, err := store.Integrations.Decode(d)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, storeError{err}
		}
		if i.State == bank.Live && i.Connection == r.conn.ID {
			is = append(is, i)
		}
	}
	return is, nil
}

// takeBack trashes the records of rows that nobody has touched, and flags the others.
func (r *run) takeBack(ctx context.Context, rows []*Row) error {
	byIntegration := map[string][]*Row{}
	for _, row := range rows {
		byIntegration[row.Integration] = append(byIntegration[row.Integration], row)
	}
	is, err := r.byID(ctx, slices.Sorted(maps.Keys(byIntegration)))
	if err != nil {
		return err
	}
	var todo []planned
	var targets []*target
	for _, i := range is {
		account, _ := r.conn.ByKey(i.Key)
		t, err := r.target(ctx, i, account.ID)
		if err != nil {
			return err
		}
		if t == nil || t.asleep() {
			continue
		}
		targets = append(targets, t)
		if t.blocked != "" {
			continue
		}
		open := slices.DeleteFunc(slices.Clone(byIntegration[i.ID]), func(row *Row) bool { return row.Intent == "" })
		if err := r.hear(ctx, booking{i.Book, i.As}, open); err != nil {
			return err
		}
		p := planned{target: t}
		for _, old := range byIntegration[i.ID] {
			row := *old
			switch {
			case row.Intent != "": // not heard of: the Book is blocked
			case row.State == Standing:
				p.wishes = append(p.wishes, &wish{row: &row, intent: ToTrash})
			default:
				p.wishes = append(p.wishes, &wish{row: &row})
			}
		}
		todo = append(todo, p)
	}
	if err := r.record(ctx, todo, nil); err != nil {
		return err
	}
	return r.leaveBehind(ctx, targets)
}
