package pluggy

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const released = "testdata/state.json"

func asJSON(t *testing.T, v any) (out any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTheStateOfAReleaseIsReadForEver loads what a released sandbox wrote, its signing key left out, and would write the same.
func TestTheStateOfAReleaseIsReadForEver(t *testing.T) {
	text, err := os.ReadFile(released)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for id := range want {
		kind, _, _ := strings.Cut(id, "/")
		kinds[kind] = true
	}
	if diff := cmp.Diff([]string{"clock", "connector", "customer", "entry", "health", "holding", "hook", "item", "row", "webhook"}, slices.Sorted(maps.Keys(kinds))); diff != "" {
		t.Fatal(diff)
	}
	db := openDisk(t)
	if err := db.Save(space, maps.Clone(want)); err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{"clock/skew": asJSON(t, s.skew)}
	put := func(d document) { got[d.key()] = asJSON(t, d.doc()) }
	for _, c := range s.bank.own {
		put(c)
	}
	for id, status := range s.bank.health {
		put(healthDoc{id, status})
	}
	for _, c := range s.bank.customers {
		put(c)
	}
	for _, h := range s.bank.holdings {
		put(h)
	}
	for _, r := range s.bank.rows {
		put(r)
	}
	for _, it := range s.bank.items {
		put(it)
	}
	for _, e := range s.bank.entries {
		put(e)
	}
	for id, w := range s.hooks.own {
		got["webhook/"+id] = asJSON(t, w)
	}
	for id, d := range s.hooks.queue {
		got["hook/"+id] = asJSON(t, d)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
