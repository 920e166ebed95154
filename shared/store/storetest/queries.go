package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bkper/automations-portal/shared/store"
)

var queryChecks = []Check{
	{"documents come in the order of their ids and page by page", pages},
	{"documents are found by any of some values of one of several fields", findsByValues},
	{"the index follows every change", indexFollows},
	{"documents that are due come in the order of time", findsDue},
	{"time and field select together", findsDueByField},
	{"a query gives at most what it asks for", limits},
	{"a count knows no limit, and obeys the rules of queries", counts},
}

func pages(ctx context.Context, h Harness) error {
	want := strings.Fields("-a .a 0 10 9 A B _a a a-b a.b a0 aB a_b aa b")
	for i := range want {
		d := indexed(want[len(want)-1-i], "colour", "red")
		d.Index["half"] = []string{fmt.Sprint(i % 2)}
		if err := put(ctx, h.Store, d); err != nil {
			return err
		}
	}
	if err := finds(ctx, h.Store, store.Query{}, strings.Join(want, " ")); err != nil {
		return err
	}
	for _, q := range []store.Query{{Limit: 3}, {Limit: 3, Field: "colour", Any: []string{"red", "none"}}} {
		for i := 0; i <= len(want); i += 3 {
			if err := finds(ctx, h.Store, q, strings.Join(want[i:min(i+3, len(want))], " ")); err != nil {
				return err
			}
			q.After = want[min(i+2, len(want)-1)]
		}
	}
	return all(
		func() error { return finds(ctx, h.Store, store.Query{After: "a"}, "a-b a.b a0 aB a_b aa b") },
		func() error { return finds(ctx, h.Store, store.Query{After: "a1"}, "aB a_b aa b") },
		func() error {
			return finds(ctx, h.Store, store.Query{After: "B", Field: "half", Any: []string{"0"}}, "_a a-b a0 a_b b")
		},
	)
}

func findsByValues(ctx context.Context, h Harness) error {
	both := indexed("both", "colour", "red", "blue")
	both.Index["shape"] = []string{"round"}
	err := put(ctx, h.Store,
		both, indexed("red", "colour", "red"), indexed("green", "colour", "green"),
		indexed("shape", "shape", "red"), indexed("empty", "colour"), document("none", `{"colour":"red"}`))
	if err != nil {
		return err
	}
	thirty := strings.Split(strings.Repeat("none,", 27)+"green,red,blue", ",")
	for _, row := range []struct {
		field string
		any   []string
		want  string
	}{
		{"colour", []string{"red"}, "both red"},
		{"colour", []string{"blue", "red"}, "both red"},
		{"colour", []string{"green", "blue", "green"}, "both green"},
		{"shape", []string{"red", "round"}, "both shape"},
		{"colour", []string{"round"}, ""},
		{"colour", nil, ""},
		{"other", []string{"red"}, ""},
		{"colour", thirty, "both green red"},
	} {
		if err := finds(ctx, h.Store, store.Query{Field: row.field, Any: row.any}, row.want); err != nil {
			return err
		}
	}
	return nil
}

func indexFollows(ctx context.Context, h Harness) error {
	is := func(red, blue string) func() error {
		return func() error {
			return all(
				func() error { return finds(ctx, h.Store, store.Query{Field: "colour", Any: []string{"red"}}, red) },
				func() error { return finds(ctx, h.Store, store.Query{Field: "colour", Any: []string{"blue"}}, blue) },
			)
		}
	}
	return all(
		func() error {
			return put(ctx, h.Store, indexed("a", "colour", "red"), indexed("b", "colour", "red"), indexed("c", "colour", "blue"))
		},
		is("a b", "c"),
		func() error { return put(ctx, h.Store, indexed("a", "colour", "blue")) },
		is("b", "a c"),
		func() error { return put(ctx, h.Store, document("a", `{}`), indexed("b", "shape", "red")) },
		is("", "c"),
		func() error { return remove(ctx, h.Store, "c") },
		is("", ""),
		func() error { return put(ctx, h.Store, document("c", `{}`)) },
		is("", ""),
		func() error { return put(ctx, h.Store, indexed("c", "colour", "red", "blue")) },
		is("c", "c"),
	)
}

func findsDue(ctx context.Context, h Harness) error {
	now := time.Date(2026, 7, 1, 12, 0, 0, 123_456_000, time.UTC)
	elsewhere := now.In(time.FixedZone("", -3*60*60))
	err := put(ctx, h.Store,
		due("now", now), due("also", elsewhere), due("past", now.Add(-time.Microsecond)), due("next", now.Add(time.Microsecond)),
		due("old", time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC)), due("ages", now.AddDate(-20, 0, 0)),
		due("far", time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)), document("absent", `{}`))
	if err != nil {
		return err
	}
	for _, row := range []struct {
		due   time.Time
		limit int
		want  string
	}{
		{now, 0, "old ages past also now"},
		{now.Add(999 * time.Nanosecond), 0, "old ages past also now"},
		{now.Add(-time.Nanosecond), 0, "old ages past"},
		{elsewhere, 4, "old ages past also"},
		{time.Unix(0, 0), 0, "old"},
		{time.Unix(-10, 0), 0, ""},
		{time.Date(9998, 12, 31, 0, 0, 0, 0, time.UTC), 0, "old ages past also now next"},
		{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 0, "old ages past also now next far"},
	} {
		if err := finds(ctx, h.Store, store.Query{Due: row.due, Limit: row.limit}, row.want); err != nil {
			return err
		}
	}
	return all(
		func() error {
			return put(ctx, h.Store, document("old", `{}`), due("ages", now.Add(time.Hour)), due("next", now.Add(999)))
		},
		func() error { return remove(ctx, h.Store, "past") },
		func() error { return finds(ctx, h.Store, store.Query{Due: now}, "also next now") },
	)
}

func findsDueByField(ctx context.Context, h Harness) error {
	now := time.Unix(1_800_000_000, 0)
	with := func(id, colour string, at time.Time) store.Document {
		d := indexed(id, "colour", colour, "any")
		d.Due = at
		return d
	}
	err := put(ctx, h.Store, with("late", "red", now), with("early", "red", now.Add(-time.Hour)), with("never", "red", time.Time{}),
		with("blue", "blue", now), with("next", "red", now.Add(1000)))
	return all(
		func() error { return err },
		func() error {
			return finds(ctx, h.Store, store.Query{Field: "colour", Any: []string{"red", "none"}, Due: now}, "early late")
		},
		func() error {
			return finds(ctx, h.Store, store.Query{Field: "colour", Any: []string{"any", "blue"}, Due: now, Limit: 2}, "early blue")
		},
		func() error { return finds(ctx, h.Store, store.Query{Field: "colour", Due: now}, "") },
	)
}

func limits(ctx context.Context, h Harness) error {
	const n = 1001
	var documents []store.Document
	for i := range n {
		d := indexed(fmt.Sprintf("d%04d", i), "colour", "red")
		d.Due = time.Unix(int64(n-i), 0)
		documents = append(documents, d)
	}
	if err := all(
		func() error { return put(ctx, h.Store, documents[:n/2]...) },
		func() error { return put(ctx, h.Store, documents[n/2:]...) },
	); err != nil {
		return err
	}
	for _, q := range []store.Query{{}, {Field: "colour", Any: []string{"red"}}, {Due: time.Unix(n, 0)}} {
		for limit, want := range map[int]int{0: 1000, 1: 1, 999: 999, 1000: 1000} {
			q.Kind, q.Limit = kind, limit
			found, err := h.Store.Find(ctx, q)
			if err != nil || len(found) != want {
				return fmt.Errorf("find %+v gives %d documents, %w; want %d", q, len(found), err, want)
			}
			first := "d0000"
			if !q.Due.IsZero() {
				first = "d1000"
			}
			if found[0].ID != first {
				return fmt.Errorf("find %+v begins with %q; want %q", q, found[0].ID, first)
			}
		}
	}
	return nil
}

func counts(ctx context.Context, h Harness) error {
	const n = 1002
	now := time.Unix(1_800_000_000, 0)
	begun := 0
	for some := range slices.Chunk(make([]store.Document, n), n/2) {
		begun++
		for i := range some {
			some[i] = indexed(fmt.Sprintf("d%d-%d", begun, i), "colour", "red", "blue")
			some[i].Due = now.Add(time.Duration(i%3) * time.Hour)
		}
		if err := put(ctx, h.Store, some...); err != nil {
			return err
		}
	}
	for _, row := range []struct {
		q    store.Query
		want int
	}{
		{store.Query{}, n},
		{store.Query{Limit: 3, After: "d"}, n},
		{store.Query{After: "e"}, n},
		{store.Query{Field: "colour", Any: []string{"red", "blue", "none"}}, n},
		{store.Query{Field: "colour", Any: []string{"none"}}, 0},
		{store.Query{Field: "colour"}, 0},
		{store.Query{Due: now}, n / 3},
		{store.Query{Due: now.Add(time.Hour), Field: "colour", Any: []string{"red"}}, 2 * n / 3},
	} {
		row.q.Kind = kind
		if got, err := h.Store.Count(ctx, row.q); err != nil || got != row.want {
			return fmt.Errorf("count %+v gives %d, %w; want %d", row.q, got, err, row.want)
		}
	}
	if got, err := h.Store.Count(ctx, store.Query{Kind: "others"}); err != nil || got != 0 {
		return fmt.Errorf("a collection without documents has %d, %w", got, err)
	}
	_, err := h.Store.Count(ctx, store.Query{Kind: "No kind"})
	return refused("a count of no kind", err)
}
