package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
)

// harness is one for a store that is made of a correct one.
func harness(broken func(*memory.Store) store.Store) Harness {
	inner := memory.New()
	s := broken(inner)
	return Harness{
		Store:      s,
		Reopen:     func() (store.Store, error) { return s, nil },
		Contenders: 8, Rounds: 20, Patience: 20 * time.Millisecond,
	}
}

func TestACorrectStoreThatRunsBodiesAgainPasses(t *testing.T) {
	Run(t, func(*testing.T) Harness {
		return harness(func(inner *memory.Store) store.Store { return &optimistic{Store: inner} })
	})
}

func TestAStoreWhoseCallsAreChangedByNothingPasses(t *testing.T) {
	Run(t, func(*testing.T) Harness {
		return harness(func(inner *memory.Store) store.Store { return &altered{Store: inner} })
	})
}

// violation is a store that breaks one rule, and the check that must see it.
type violation struct {
	name   string
	seenBy string
	broken func(*memory.Store) store.Store
}

func TestEveryViolationIsSeen(t *testing.T) {
	for _, v := range violations {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			check := checkNamed(t, v.seenBy)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			h := harness(v.broken)
			if v.name == "forgets at a restart" {
				h.Reopen = func() (store.Store, error) { return memory.New(), nil }
			}
			err := check.Run(ctx, h)
			if err == nil {
				t.Fatalf("%q does not see it", v.seenBy)
			}
			t.Log(err)
		})
	}
}

func TestEveryCheckSeesAViolation(t *testing.T) {
	for _, check := range checks() {
		if !slices.ContainsFunc(violations, func(v violation) bool { return v.seenBy == check.Name }) {
			t.Errorf("nothing shows that %q can fail", check.Name)
		}
	}
}

func checkNamed(t *testing.T, name string) Check {
	t.Helper()
	all := checks()
	i := slices.IndexFunc(all, func(c Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no check is called %q", name)
	}
	return all[i]
}

// flawed makes a violation by an optimistic store.
func flawed(flaw func(*optimistic)) func(*memory.Store) store.Store {
	return func(inner *memory.Store) store.Store {
		o := &optimistic{Store: inner}
		flaw(o)
		return o
	}
}

// by makes a violation by altered calls.
func by(alter func(*altered)) func(*memory.Store) store.Store {
	return func(inner *memory.Store) store.Store {
		a := &altered{Store: inner}
		alter(a)
		return a
	}
}

func puts(change func(*store.Document)) func(*memory.Store) store.Store {
	return by(func(a *altered) {
		a.put = func(tx store.Tx, d store.Document) {
			d = clone(d)
			change(&d)
			tx.Put(d)
		}
	})
}

func queries(change func(*store.Query)) func(*memory.Store) store.Store {
	return by(func(a *altered) { a.query = change })
}

func results(change func(store.Query, []store.Document) []store.Document) func(*memory.Store) store.Store {
	return by(func(a *altered) { a.found = change })
}

var violations = []violation{
	// Documents.
	{"numbers become floats", "a body is read byte for byte", puts(func(d *store.Document) {
		var v any
		if json.Unmarshal(d.Body, &v) == nil {
			d.Body, _ = json.Marshal(v)
		}
	})},
	{"white space is lost", "a body is read byte for byte", puts(func(d *store.Document) {
		var b bytes.Buffer
		if json.Compact(&b, d.Body) == nil {
			d.Body = b.Bytes()
		}
	})},
	{"missing documents are left out", "missing documents stand in the answer in the order asked", by(func(a *altered) {
		a.got = func(_ []string, got []store.Document) []store.Document {
			return slices.DeleteFunc(got, func(d store.Document) bool { return d.Body == nil })
		}
	})},
	{"documents come in the order of ids", "missing documents stand in the answer in the order asked", by(func(a *altered) {
		a.got = func(_ []string, got []store.Document) []store.Document {
			slices.SortFunc(got, func(a, b store.Document) int { return strings.Compare(a.ID, b.ID) })
			return got
		}
	})},
	{"missing documents are empty", "missing documents stand in the answer in the order asked", by(func(a *altered) {
		a.got = func(_ []string, got []store.Document) []store.Document {
			for i := range got {
				got[i].Body = append([]byte{}, got[i].Body...)
			}
			return got
		}
	})},
	{"a put merges", "a document is replaced whole and deleted", merging},
	{"deletes are ignored", "a document is replaced whole and deleted", by(func(a *altered) {
		a.del = func(store.Tx, string, string) {}
	})},
	{"the first of several writes counts", "of several writes of one document the last counts", reversed},
	{"all kinds are one", "kinds are apart", oneKind},
	{"fifty documents are read at once and no more", "many documents are written and read at once", by(func(a *altered) {
		a.ids = func(kind string, ids []string) (string, []string) { return kind, ids[:min(len(ids), 50)] }
	})},
	{"what is put is shared", "callers and store share no memory", sharing(true)},
	{"what is read is shared", "callers and store share no memory", sharing(false)},
	{"everything with an expiry is gone", "expiry deletes nothing before its time", by(func(a *altered) {
		a.put = func(tx store.Tx, d store.Document) {
			if d.Expires.IsZero() {
				tx.Put(d)
			}
		}
	})},
	{"forgets at a restart", "everything is there after a restart", by(func(*altered) {})},
	{"an index of one field", "the project's own kinds are found by what they declare", puts(func(d *store.Document) {
		for _, field := range slices.Sorted(maps.Keys(d.Index))[min(1, len(d.Index)):] {
			delete(d.Index, field)
		}
	})},

	// Rules.
	{"half of the size is too large", "a document of the greatest size is kept and a greater one refused", puts(func(d *store.Document) {
		if len(d.Body) > 500_000 {
			d.Body = nil
		}
	})},
	{"too large is cut", "a document of the greatest size is kept and a greater one refused", puts(func(d *store.Document) {
		if len(d.Body) > 1_000_000-200_007 {
			d.Body = []byte(`{}`)
		}
	})},
	{"too much is left away", "a transaction has a greatest size", firstWrites(900)},
	{"any JSON will do", "a body is one JSON object", puts(func(d *store.Document) {
		if json.Valid(d.Body) {
			d.Body = []byte(`{}`)
		}
	})},
	{"broken text is mended", "a body is one JSON object", puts(func(d *store.Document) { d.Body = bytes.ToValidUTF8(d.Body, []byte("?")) })},
	{"bad ids are mended", "kinds and ids keep their rules", puts(func(d *store.Document) { d.ID = strings.ReplaceAll(d.ID, "/", "_") })},
	{"bad ids are missing", "kinds and ids keep their rules", by(func(a *altered) {
		a.ids = func(kind string, ids []string) (string, []string) {
			ids = slices.Clone(ids)
			for i := range ids {
				ids[i] = strings.ReplaceAll(ids[i], "/", "_")
			}
			return kind, ids
		}
	})},
	{"no kind is a kind", "kinds and ids keep their rules", by(func(a *altered) {
		a.ids = func(kind string, ids []string) (string, []string) {
			if kind == "" {
				return "none", ids
			}
			return kind, ids
		}
	})},
	{"long values are cut", "an index keeps its rules", puts(func(d *store.Document) {
		for _, values := range d.Index {
			for i := range values {
				values[i] = values[i][:min(len(values[i]), 200)]
			}
		}
	})},
	{"values end at a zero byte", "an index keeps its rules", by(func(a *altered) {
		a.query = func(q *store.Query) { q.Any = eachValue(q.Any, beforeZero) }
		a.put = func(tx store.Tx, d store.Document) {
			d = clone(d)
			for field := range d.Index {
				d.Index[field] = eachValue(d.Index[field], beforeZero)
			}
			tx.Put(d)
		}
	})},
	{"too many values are cut", "a query keeps its rules", queries(func(q *store.Query) { q.Any = q.Any[:min(len(q.Any), 30)] })},
	{"too high a limit is lowered", "a query keeps its rules", queries(func(q *store.Query) { q.Limit = min(q.Limit, 1000) })},
	{"the context is ignored", "nothing is done once the context has ended", func(inner *memory.Store) store.Store { return heedless{inner} }},
	{"the end of the context is a riddle", "nothing is done once the context has ended", by(func(a *altered) {
		a.fails = func(err error) error {
			if errors.Is(err, context.Canceled) {
				return errors.Join(store.ErrUnknown, err)
			}
			return err
		}
	})},

	// Queries.
	{"a count is of what Find gives", "a count knows no limit, and obeys the rules of queries", func(inner *memory.Store) store.Store { return short{inner} }},
	{"no order", "documents come in the order of their ids and page by page", results(func(_ store.Query, found []store.Document) []store.Document {
		slices.Reverse(found)
		return found
	})},
	{"the order of a dictionary", "documents come in the order of their ids and page by page", results(func(q store.Query, found []store.Document) []store.Document {
		if q.Due.IsZero() {
			slices.SortFunc(found, func(a, b store.Document) int { return strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID)) })
		}
		return found
	})},
	{"pages overlap", "documents come in the order of their ids and page by page", queries(func(q *store.Query) {
		if q.After != "" {
			q.After = q.After[:len(q.After)-1]
		}
	})},
	{"every page is the first", "documents come in the order of their ids and page by page", queries(func(q *store.Query) { q.After = "" })},
	{"only the first value counts", "documents are found by any of some values of one of several fields", queries(func(q *store.Query) { q.Any = q.Any[:min(1, len(q.Any))] })},
	{"fields are one", "documents are found by any of some values of one of several fields", oneField},
	{"a document is found for each of its values", "documents are found by any of some values of one of several fields", results(func(q store.Query, found []store.Document) []store.Document {
		if len(q.Any) > 1 && len(found) > 0 {
			found = append(found[:1:1], found...)
		}
		return found
	})},
	{"no values match everything", "documents are found by any of some values of one of several fields", queries(func(q *store.Query) {
		if len(q.Any) == 0 {
			q.Field = ""
		}
	})},
	{"the index keeps what was", "the index follows every change", neverForgets},
	{"the index keeps what was deleted", "the index follows every change", ghosts},
	{"time is ignored", "documents that are due come in the order of time", queries(func(q *store.Query) {
		if !q.Due.IsZero() {
			q.Due = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
		}
	})},
	{"absent is due", "documents that are due come in the order of time", puts(func(d *store.Document) {
		if d.Due.IsZero() {
			d.Due = time.Unix(-1, 0)
		}
	})},
	{"time is in seconds", "documents that are due come in the order of time", puts(func(d *store.Document) { d.Due = d.Due.Truncate(time.Second) })},
	{"the limit is of what has no order yet", "documents that are due come in the order of time", results(func(q store.Query, found []store.Document) []store.Document {
		if !q.Due.IsZero() {
			slices.SortFunc(found, func(a, b store.Document) int { return strings.Compare(a.ID, b.ID) })
		}
		return found
	})},
	{"time overrules the field", "time and field select together", queries(func(q *store.Query) {
		if !q.Due.IsZero() {
			q.Field, q.Any = "", nil
		}
	})},
	{"a hundred by default", "a query gives at most what it asks for", queries(func(q *store.Query) {
		if q.Limit == 0 {
			q.Limit = 100
		}
	})},
	{"no limit", "a query gives at most what it asks for", queries(func(q *store.Query) { q.Limit = 0 })},

	// Transactions.
	{"the error is dressed", "the error of a body undoes everything and is returned as it is", by(func(a *altered) {
		a.fails = func(err error) error {
			if err != nil {
				return fmt.Errorf("update: %w", err)
			}
			return nil
		}
	})},
	{"a failed body runs again", "the error of a body undoes everything and is returned as it is", twice},
	{"what a failed body wrote stays", "the error of a body undoes everything and is returned as it is", func(inner *memory.Store) store.Store { return piecemeal{Store: inner, despiteErrors: true} }},
	{"writes are seen at once", "nothing is seen before the commit and nobody waits to read", func(inner *memory.Store) store.Store { return atOnce{inner} }},
	{"readers wait", "nothing is seen before the commit and nobody waits to read", func(inner *memory.Store) store.Store {
		return &locked{Store: inner, lock: make(chan struct{}, 1)}
	}},
	{"writes are made one after another", "others see all of a transaction or nothing", func(inner *memory.Store) store.Store { return piecemeal{Store: inner} }},
	{"reads after writes", "a transaction reads before it writes", flawed(func(o *optimistic) { o.readsAfterWrites = true })},
	{"a former holder is let in", "a former holder writes nothing under its old fence", by(func(a *altered) {
		a.fails = func(err error) error {
			if errors.Is(err, errOwn) {
				return nil
			}
			return err
		}
	})},

	// Contention.
	{"updates are lost", "no increment is lost among many at once", flawed(func(o *optimistic) { o.comparesNothing = true })},
	{"a committed body runs again", "no increment is lost among many at once", twice},
	{"many win", "one of many at once takes a free lease", flawed(func(o *optimistic) { o.comparesNothing = true })},
	{"busy is an error", "transactions on documents of their own all succeed", func(inner *memory.Store) store.Store {
		return &impatient{Store: inner}
	}},
	{"an update is lost", "what was read has not changed at the commit", flawed(func(o *optimistic) { o.comparesNothing = true })},
	{"a body that runs again reads what it read", "what was read has not changed at the commit", flawed(func(o *optimistic) { o.remembers = true })},
	{"writes of aborted runs stay", "what was read has not changed at the commit", flawed(func(o *optimistic) { o.keepsAborted = true })},
	{"absence is not compared", "what was missing is missing at the commit", flawed(func(o *optimistic) { o.comparesNoAbsence = true })},
	{"only what is written is compared", "what was read and not written has not changed at the commit", flawed(func(o *optimistic) { o.comparesWritten = true })},
	{"phantoms by value", "no document of another's is new to a query by value at the commit", flawed(func(o *optimistic) { o.comparesNoQueries = true })},
	{"changes by value", "no document of another's comes into a query by value before the commit", flawed(func(o *optimistic) { o.comparesNoQueries = true })},
	{"phantoms by time", "no document of another's is new to a query by time at the commit", flawed(func(o *optimistic) { o.comparesNoQueries = true })},
	{"changes by time", "no document of another's comes into a query by time before the commit", flawed(func(o *optimistic) { o.comparesNoQueries = true })},
	{"phantoms by both", "no document of another's is new to a query by both at the commit", flawed(func(o *optimistic) { o.comparesNoQueries = true })},
	{"updates of both sorts are lost", "no increment is lost among some who get and one who finds", flawed(func(o *optimistic) { o.comparesNothing = true })},
	{"phantoms of those who get", "no document that one made who had got another is new to a query at the commit", flawed(func(o *optimistic) { o.comparesNoQueries = true })},
	{"absence is not compared with those who find", "no document is new at the commit that one made who had found nothing", flawed(func(o *optimistic) { o.comparesNoAbsence = true })},
	{"readers are not compared", "a transaction that only reads sees one state", flawed(func(o *optimistic) { o.trustsReaders = true })},
	{"waits in line", "a transaction does not wait beyond its context", flawed(func(o *optimistic) { o.waitsInLine = true })},
}

func eachValue(values []string, change func(string) string) []string {
	values = slices.Clone(values)
	for i := range values {
		values[i] = change(values[i])
	}
	return values
}

func beforeZero(s string) string {
	before, _, _ := strings.Cut(s, "\x00")
	return before
}

// merging keeps the members of a former body.
func merging(inner *memory.Store) store.Store {
	bodies := map[string]map[string]any{}
	return &altered{Store: inner, put: func(tx store.Tx, d store.Document) {
		if bodies[d.ID] == nil {
			bodies[d.ID] = map[string]any{}
		}
		body := bodies[d.ID]
		_ = json.Unmarshal(d.Body, &body)
		d.Body, _ = json.Marshal(body)
		tx.Put(d)
	}}
}

// reversed makes the writes of a transaction last to first.
func reversed(inner *memory.Store) store.Store {
	return rewriting{inner, slices.Reverse[[]func(store.Tx)]}
}

// firstWrites makes only so many writes of a transaction.
func firstWrites(n int) func(*memory.Store) store.Store {
	return func(inner *memory.Store) store.Store {
		return rewriting{inner, func(writes []func(store.Tx)) {
			for i := n; i < len(writes); i++ {
				writes[i] = func(store.Tx) {}
			}
		}}
	}
}

// rewriting changes the list of a transaction's writes.
type rewriting struct {
	store.Store
	change func([]func(store.Tx))
}

func (r rewriting) Update(ctx context.Context, body func(store.Tx) error) error {
	return r.Store.Update(ctx, func(tx store.Tx) error {
		late := &lateTx{Tx: tx}
		err := body(late)
		r.change(late.writes)
		for _, write := range late.writes {
			write(tx)
		}
		return err
	})
}

// lateTx keeps writes for later.
type lateTx struct {
	store.Tx
	writes []func(store.Tx)
}

func (t *lateTx) Put(d store.Document) {
	d = clone(d)
	t.writes = append(t.writes, func(tx store.Tx) { tx.Put(d) })
}

func (t *lateTx) Delete(kind, id string) {
	t.writes = append(t.writes, func(tx store.Tx) { tx.Delete(kind, id) })
}

// piecemeal makes each write of a transaction by itself, after the body.
type piecemeal struct {
	store.Store
	despiteErrors bool
}

func (p piecemeal) Update(ctx context.Context, body func(store.Tx) error) error {
	var late *lateTx
	err := p.Store.Update(ctx, func(tx store.Tx) error {
		late = &lateTx{Tx: tx}
		return body(late)
	})
	if err != nil && !p.despiteErrors {
		return err
	}
	for _, write := range late.writes {
		_ = p.Store.Update(ctx, func(tx store.Tx) error {
			write(tx)
			return nil
		})
		time.Sleep(time.Millisecond) // so that others look meanwhile
	}
	return err
}

// atOnce makes each write of a transaction during the body.
type atOnce struct{ store.Store }

func (a atOnce) Update(ctx context.Context, body func(store.Tx) error) error {
	return body(&atOnceTx{a.Store, ctx})
}

type atOnceTx struct {
	s   store.Store
	ctx context.Context
}

func (t *atOnceTx) Get(kind string, ids ...string) ([]store.Document, error) {
	return t.s.Get(t.ctx, kind, ids...)
}

func (t *atOnceTx) Find(q store.Query) ([]store.Document, error) { return t.s.Find(t.ctx, q) }

func (t *atOnceTx) Put(d store.Document) { _ = put(t.ctx, t.s, d) }

func (t *atOnceTx) Delete(kind, id string) {
	_ = t.s.Update(t.ctx, func(tx store.Tx) error {
		tx.Delete(kind, id)
		return nil
	})
}

// twice runs every transaction twice.
func twice(inner *memory.Store) store.Store { return twiceOver{inner} }

type twiceOver struct{ store.Store }

func (t twiceOver) Update(ctx context.Context, body func(store.Tx) error) error {
	_ = t.Store.Update(ctx, body)
	return t.Store.Update(ctx, body)
}

// short counts what one call of Find gives.
type short struct{ store.Store }

func (s short) Count(ctx context.Context, q store.Query) (int, error) {
	found, err := s.Find(ctx, q)
	return len(found), err
}

// heedless does not look at the context.
type heedless struct{ inner store.Store }

func (h heedless) Get(ctx context.Context, kind string, ids ...string) ([]store.Document, error) {
	return h.inner.Get(context.WithoutCancel(ctx), kind, ids...)
}

func (h heedless) Find(ctx context.Context, q store.Query) ([]store.Document, error) {
	return h.inner.Find(context.WithoutCancel(ctx), q)
}

func (h heedless) Count(ctx context.Context, q store.Query) (int, error) {
	return h.inner.Count(context.WithoutCancel(ctx), q)
}

func (h heedless) Update(ctx context.Context, body func(store.Tx) error) error {
	return h.inner.Update(context.WithoutCancel(ctx), body)
}

// locked lets nobody read while a transaction is open.
type locked struct {
	store.Store
	lock chan struct{}
}

func (l *locked) wait(ctx context.Context) (release func(), err error) {
	select {
	case l.lock <- struct{}{}:
		return func() { <-l.lock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *locked) Get(ctx context.Context, kind string, ids ...string) ([]store.Document, error) {
	release, err := l.wait(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return l.Store.Get(ctx, kind, ids...)
}

func (l *locked) Update(ctx context.Context, body func(store.Tx) error) error {
	release, err := l.wait(ctx)
	if err != nil {
		return err
	}
	defer release()
	return l.Store.Update(ctx, body)
}

// impatient fails where another transaction is open.
type impatient struct {
	store.Store
	open sync.Mutex
}

func (i *impatient) Update(ctx context.Context, body func(store.Tx) error) error {
	if !i.open.TryLock() {
		return errors.New("busy")
	}
	defer i.open.Unlock()
	return i.Store.Update(ctx, func(tx store.Tx) error {
		time.Sleep(time.Millisecond) // so that others come meanwhile
		return body(tx)
	})
}

// sharing lets callers write to what the store has read or been given.
func sharing(given bool) func(*memory.Store) store.Store {
	return func(inner *memory.Store) store.Store {
		bodies := map[string][]byte{}
		a := &altered{Store: inner}
		show := func(got []store.Document) []store.Document {
			for i, d := range got {
				if bodies[d.ID] == nil {
					bodies[d.ID] = d.Body
				}
				got[i].Body = bodies[d.ID]
			}
			return got
		}
		if given {
			a.put = func(tx store.Tx, d store.Document) {
				bodies[d.ID] = d.Body
				tx.Put(d)
			}
		}
		a.got = func(_ []string, got []store.Document) []store.Document { return show(got) }
		a.found = func(_ store.Query, found []store.Document) []store.Document { return show(found) }
		return a
	}
}

// oneKind keeps all kinds in one collection.
func oneKind(inner *memory.Store) store.Store {
	return &altered{
		Store: inner,
		ids:   func(_ string, ids []string) (string, []string) { return kind, ids },
		query: func(q *store.Query) { q.Kind = kind },
		put: func(tx store.Tx, d store.Document) {
			d.Kind = kind
			tx.Put(d)
		},
		del: func(tx store.Tx, _, id string) { tx.Delete(kind, id) },
	}
}

// oneField finds a value in whatever field it is.
func oneField(inner *memory.Store) store.Store {
	return &altered{
		Store: inner,
		query: func(q *store.Query) {
			if q.Field != "" {
				q.Field = "any"
			}
		},
		put: func(tx store.Tx, d store.Document) {
			d.Index = map[string][]string{"any": slices.Concat(slices.Collect(maps.Values(d.Index))...)}
			tx.Put(d)
		},
	}
}

// neverForgets adds what a document's index was to what it is.
func neverForgets(inner *memory.Store) store.Store {
	former := map[string]map[string][]string{}
	return &altered{Store: inner, put: func(tx store.Tx, d store.Document) {
		d = clone(d)
		if d.Index == nil {
			d.Index = map[string][]string{}
		}
		for field, values := range former[d.ID] {
			d.Index[field] = append(d.Index[field], values...)
		}
		former[d.ID] = d.Index
		tx.Put(d)
	}}
}

// ghosts keeps deleted documents in the index.
func ghosts(inner *memory.Store) store.Store {
	return &altered{Store: inner, del: func(tx store.Tx, kind, id string) {
		tx.Put(indexed(id, "colour", "red", "blue"))
	}}
}
