package plaid

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
	if diff := cmp.Diff([]string{"clock", "customer", "entry", "holding", "hook", "institution", "item", "link", "public", "row"}, slices.Sorted(maps.Keys(kinds))); diff != "" {
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
	for id, doc := range everything(s.bank) {
		got[id] = asJSON(t, doc)
	}
	for id, d := range s.hooks.queue {
		got["hook/"+id] = asJSON(t, d)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
