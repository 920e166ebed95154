package sqlite

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/sqlitefile"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/storetest"
)

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		path := filepath.Join(t.TempDir(), "portal.db")
		current := open(t, path)
		return storetest.Harness{
			Store: current,
			Reopen: func() (store.Store, error) {
				if err := current.Close(); err != nil {
					return nil, err
				}
				current = open(t, path)
				return current, nil
			},
			Contenders: 8, Rounds: 10, Patience: 100 * time.Millisecond,
		}
	})
}

// Two stores on one file have connections of their own, as two processes would.
func TestTwoStoresOnOneFileAreOne(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		path := filepath.Join(t.TempDir(), "portal.db")
		both := &alternating{stores: []store.Store{open(t, path), open(t, path)}}
		return storetest.Harness{
			Store:      both,
			Reopen:     func() (store.Store, error) { return both, nil },
			Contenders: 4, Rounds: 5, Patience: 100 * time.Millisecond,
		}
	})
}

func TestQueriesUseIndexes(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "portal.db"))
	for _, q := range []store.Query{
		{},
		{After: "a"},
		{Due: time.Unix(1, 0)},
		{Field: "colour", Any: []string{"red", "blue"}},
		{Field: "colour", Any: []string{"red"}, After: "a"},
		{Field: "colour", Any: []string{"red"}, Due: time.Unix(1, 0)},
	} {
		q.Kind, q.Limit = "things", 10
		text, args := statement(q)
		rows, err := s.reads.Query("EXPLAIN QUERY PLAN "+text, args...)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v: %s", q, strings.Join(plan, "; "))
		if strings.Contains(strings.Join(plan, "\n"), "SCAN") {
			t.Errorf("%+v reads a whole table: %q", q, plan)
		}
	}
}

func TestExpiredDocumentsAreDeletedAFewAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portal.db")
	s := open(t, path)
	now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	s.now = func() time.Time { return now }
	write := func(id string, expires time.Time) {
		t.Helper()
		err := s.Update(t.Context(), func(tx store.Tx) error {
			tx.Put(store.Document{Kind: "things", ID: id, Body: []byte(`{}`), Expires: expires, Index: map[string][]string{"colour": {"red"}}})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	left := func() (ids string) {
		t.Helper()
		found, err := s.Find(t.Context(), store.Query{Kind: "things", Field: "colour", Any: []string{"red"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range found {
			ids += d.ID
		}
		return ids
	}
	write("a", now.Add(time.Hour))
	write("b", now.Add(3*time.Hour))
	write("c", time.Time{})
	now = now.Add(2 * time.Hour)
	if got := left(); got != "abc" {
		t.Errorf("%q are left before anything is written; want all", got)
	}
	write("d", time.Time{})
	if got := left(); got != "bcd" {
		t.Errorf("%q are left; want all but a, which has expired", got)
	}
	db, err := sqlitefile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var terms int
	if err := db.QueryRow(`SELECT count(*) FROM terms`).Scan(&terms); err != nil || terms != 3 {
		t.Errorf("%d terms, %v; want 3", terms, err)
	}
}
