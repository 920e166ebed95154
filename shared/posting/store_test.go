package posting_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/store/sqlite"
)

// onStores runs a test on each store that needs nothing but this process.
func onStores(t *testing.T, test func(t *testing.T, open func() store.Store)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		test(t, func() store.Store { return memory.New() })
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		n, dir := 0, t.TempDir()
		test(t, func() store.Store {
			n++
			s, err := sqlite.Open(filepath.Join(dir, fmt.Sprint(n, ".db")))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		})
	})
}

// cabinet is a store and the map that it must equal.
type cabinet struct {
	store store.Store
	kind  string
	model map[string]store.Document
}

var (
	drawers = []string{"a", "a.1", "A", "b", "b_", "-"}
	fields  = []string{"owner", "book"}
	values  = []string{"x", "y", "ü/x"}
	days    = []int{0, 1, 2, 3} // none, and three days
)

func day(n int) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Date(2026, time.March, n, 0, 0, 0, 1000, time.UTC)
}

func (c *cabinet) document(t *rapid.T) store.Document {
	d := store.Document{Kind: c.kind, ID: rapid.SampledFrom(drawers).Draw(t, "id"), Due: day(rapid.SampledFrom(days).Draw(t, "due"))}
	d.Body = fmt.Appendf(nil, `{"n": %d}`, rapid.IntRange(0, 9).Draw(t, "n"))
	d.Index = map[string][]string{}
	for _, f := range fields {
		if some := rapid.SliceOfNDistinct(rapid.SampledFrom(values), 0, 2, rapid.ID).Draw(t, f); len(some) > 0 {
			d.Index[f] = some
		}
	}
	return d
}

func (c *cabinet) query(t *rapid.T) store.Query {
	q := store.Query{Kind: c.kind, Limit: rapid.IntRange(0, 4).Draw(t, "limit")}
	if rapid.Bool().Draw(t, "by field") {
		q.Field = rapid.SampledFrom(fields).Draw(t, "field")
		q.Any = rapid.SliceOfN(rapid.SampledFrom(values), 0, 3).Draw(t, "any")
	}
	if rapid.Bool().Draw(t, "by time") {
		q.Due = day(rapid.SampledFrom(days[1:]).Draw(t, "due"))
	} else if rapid.Bool().Draw(t, "after") {
		q.After = rapid.SampledFrom(drawers).Draw(t, "after")
	}
	return q
}

// finds is what a query must find in the model.
func finds(model map[string]store.Document, q store.Query) []store.Document {
	found := []store.Document{}
	for _, d := range model {
		has := q.Field == "" || slices.ContainsFunc(d.Index[q.Field], func(v string) bool { return slices.Contains(q.Any, v) })
		if has && d.ID > q.After && (q.Due.IsZero() || (!d.Due.IsZero() && !d.Due.After(q.Due))) {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b store.Document) int {
		if q.Due.IsZero() {
			return strings.Compare(a.ID, b.ID)
		}
		return cmp.Or(a.Due.Compare(b.Due), strings.Compare(a.ID, b.ID))
	})
	if q.Limit > 0 {
		found = found[:min(q.Limit, len(found))]
	}
	return found
}

// same compares kinds, ids and bodies, which is what a read gives.
func same(t *rapid.T, what string, want, got []store.Document, err error) {
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if !slices.EqualFunc(want, got, func(a, b store.Document) bool {
		return a.Kind == b.Kind && a.ID == b.ID && bytes.Equal(a.Body, b.Body) && (a.Body == nil) == (b.Body == nil)
	}) {
		t.Fatalf("%s (-want +got):\n%s", what, gocmp.Diff(want, got))
	}
}

func (c *cabinet) gets(t *rapid.T, get func(kind string, ids ...string) ([]store.Document, error)) {
	ids := rapid.SliceOfN(rapid.SampledFrom(drawers), 1, 4).Draw(t, "ids")
	var want []store.Document
	for _, id := range ids {
		want = append(want, store.Document{Kind: c.kind, ID: id, Body: c.model[id].Body})
	}
	got, err := get(c.kind, ids...)
	same(t, "get", want, got, err)
}

func (c *cabinet) finds(t *rapid.T, find func(store.Query) ([]store.Document, error)) {
	q := c.query(t)
	got, err := find(q)
	same(t, fmt.Sprintf("find %+v", q), finds(c.model, q), got, err)
}

var errChanged = errors.New("changed my mind")

// update reads, then writes; it takes place as a whole or not at all.
func (c *cabinet) update(t *rapid.T) {
	undo := rapid.IntRange(0, 3).Draw(t, "undo") == 0
	next := maps.Clone(c.model)
	type write struct {
		document store.Document
		deletes  bool
	}
	var writes []write
	for range rapid.IntRange(0, 4).Draw(t, "writes") {
		w := write{c.document(t), rapid.IntRange(0, 2).Draw(t, "deletes") == 0}
		writes = append(writes, w)
		next[w.document.ID] = w.document
		if w.deletes {
			delete(next, w.document.ID)
		}
	}
	reads := rapid.IntRange(0, 2).Draw(t, "reads")
	err := c.store.Update(t.Context(), func(tx store.Tx) error {
		for range reads {
			c.gets(t, tx.Get)
			c.finds(t, tx.Find)
		}
		for _, w := range writes {
			if w.deletes {
				tx.Delete(c.kind, w.document.ID)
			} else {
				tx.Put(w.document)
			}
		}
		if undo {
			return errChanged
		}
		return nil
	})
	if undo != errors.Is(err, errChanged) || (!undo && err != nil) {
		t.Fatalf("update: %v", err)
	}
	if !undo {
		c.model = next
	}
}

func TestAStoreIsAMapWithIndexes(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func() store.Store) {
		s, n := open(), 0
		rapid.Check(t, func(t *rapid.T) {
			n++
			c := &cabinet{store: s, kind: "k" + letters(n), model: map[string]store.Document{}}
			t.Repeat(map[string]func(*rapid.T){
				"update": c.update,
				"get": func(t *rapid.T) {
					c.gets(t, func(kind string, ids ...string) ([]store.Document, error) { return s.Get(t.Context(), kind, ids...) })
				},
				"find": func(t *rapid.T) {
					c.finds(t, func(q store.Query) ([]store.Document, error) { return s.Find(t.Context(), q) })
				},
			})
		})
	})
}

// letters writes a number with letters only, as names of kinds are.
func letters(n int) string {
	var b strings.Builder
	for ; n > 0; n /= 26 {
		b.WriteByte(byte('a' + n%26))
	}
	return b.String()
}
