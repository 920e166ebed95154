package memory_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/store/storetest"
)

// both are the two ways in which documents are kept.
var both = map[string]func() *memory.Store{"bodies": memory.New, "values": memory.NewOfValues}

func TestStore(t *testing.T) {
	for name, open := range both {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(*testing.T) storetest.Harness {
				s := open()
				return storetest.Harness{
					Store:      s,
					Reopen:     func() (store.Store, error) { return s, nil }, // it outlives the processes that a simulator kills
					Contenders: 8, Rounds: 50, Patience: 20 * time.Millisecond,
				}
			})
		})
	}
}

type thing struct {
	ID     string            `json:"id"`
	Colour string            `json:"colour"`
	Tags   []string          `json:"tags,omitempty"`
	Notes  map[string]string `json:"notes"`
	mine   string            // not of the document
}

var things = store.Kind[thing]{
	Name:  "things",
	ID:    func(t *thing) string { return t.ID },
	Index: func(t *thing) map[string][]string { return map[string][]string{"colour": {t.Colour}} },
}

// tagged are things as somebody sees them who knows only a part.
var tagged = store.Kind[struct {
	Tags []string `json:"tags"`
}]{Name: things.Name}

func TestKindsSeeNoDifferenceBetweenBodiesAndValues(t *testing.T) {
	t.Parallel()
	for name, open := range both {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, s := t.Context(), open()
			mine := &thing{ID: "a", Colour: "red", Tags: []string{"one"}, mine: "mine"}
			put := func(v *thing) {
				t.Helper()
				if err := s.Update(ctx, func(tx store.Tx) error { return things.Put(tx, v) }); err != nil {
					t.Fatal(err)
				}
			}
			put(mine)
			mine.Colour, mine.Tags[0] = "spoilt", "spoilt"
			want := &thing{ID: "a", Colour: "red", Tags: []string{"one"}, Notes: map[string]string{}}
			for range 2 { // what was read is spoilt as well
				got, err := things.Get(ctx, s, "a")
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got, cmp.AllowUnexported(thing{})); diff != "" {
					t.Fatalf("(-want +got):\n%s", diff)
				}
				got.Tags[0], got.Notes["spoilt"] = "spoilt", "spoilt"
			}
			found, err := things.Find(ctx, s, store.Query{Field: "colour", Any: []string{"red"}})
			if err != nil || len(found) != 1 || found[0].Tags[0] != "one" {
				t.Errorf("found %v, %v", found, err)
			}
			part, err := tagged.Get(ctx, s, "a")
			if err != nil || !slices.Equal(part.Tags, []string{"one"}) {
				t.Errorf("the part that another kind knows: %v, %v", part, err)
			}
			put(&thing{ID: "a", Colour: "blue"})
			if found, err := things.Find(ctx, s, store.Query{Field: "colour", Any: []string{"red"}}); err != nil || len(found) != 0 {
				t.Errorf("found %v, %v by what it was", found, err)
			}
			if got, err := things.Get(ctx, s, "a"); err != nil || got.Tags != nil {
				t.Errorf("replaced: %v, %v", got, err)
			}
			if _, err := things.Get(ctx, s, "b"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("what is not there: %v", err)
			}
		})
	}
}

func TestAllFindsMoreThanOneQueryGives(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), memory.New()
	for hundred := range 25 {
		if err := s.Update(ctx, func(tx store.Tx) error {
			for n := range 100 {
				if err := things.Put(tx, &thing{ID: fmt.Sprintf("%02d-%02d", hundred, n), Colour: "red"}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for colour, want := range map[string]int{"red": 2500, "blue": 0} {
		all, err := things.All(ctx, s, store.Query{Field: "colour", Any: []string{colour}})
		if err != nil || len(all) != want || !slices.IsSortedFunc(all, func(a, b *thing) int { return strings.Compare(a.ID, b.ID) }) {
			t.Errorf("%s: %d, %v", colour, len(all), err)
		}
	}
}
