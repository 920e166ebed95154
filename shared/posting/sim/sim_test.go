package sim

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/store/memory"
)

func TestEveryHistoryKeepsEveryPromise(t *testing.T) {
	t.Parallel()
	// Through the adapter of Brazil's banks, a history takes thirty times as long.
	for at, n := range map[Bank]uint64{Plaid: histories, Pluggy: histories / 60} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			if testing.Short() {
				n /= 10
			}
			r := Runner{Bank: at}
			defer r.Close()
			for seed := uint64(1); seed <= n; seed++ {
				if err := r.Run(seed); err != nil {
					var v *Violation
					if errors.As(Replay(at, seed), &v) {
						t.Log(v.Trace)
					}
					t.Fatal(err)
				}
			}
		})
	}
}

func traceOf(at Bank, seed uint64, documents *memory.Store) string {
	r := Runner{Bank: at}
	defer r.Close()
	var trace strings.Builder
	if _, err := r.run(seed, documents, &trace); err != nil {
		fmt.Fprintln(&trace, err)
	}
	return trace.String()
}

func TestTheSameSeedGivesTheSameHistory(t *testing.T) {
	t.Parallel()
	for at, n := range map[Bank]uint64{Plaid: 20, Pluggy: 3} {
		for seed := uint64(1); seed <= n; seed++ {
			one, two := traceOf(at, seed, memory.NewOfValues()), traceOf(at, seed, memory.NewOfValues())
			if one != two {
				t.Fatalf("%s: seed %d gave two histories", at, seed)
			}
			if one == traceOf(at, seed+1000, memory.NewOfValues()) {
				t.Fatalf("%s: seeds %d and %d gave the same history", at, seed, seed+1000)
			}
		}
	}
}

// Histories keep documents as values because JSON would take half of their time. Nothing may depend on that.
func TestEncodedDocumentsGiveTheSameHistory(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 100; seed++ {
		if values, bodies := traceOf(Plaid, seed, memory.NewOfValues()), traceOf(Plaid, seed, memory.New()); values != bodies {
			t.Fatalf("seed %d: %s", seed, cmp.Diff(strings.Split(bodies, "\n"), strings.Split(values, "\n")))
		}
	}
}

// One Runner after another history, and after one that was broken off, does what a new one does.
func TestAHistoryKnowsNothingOfTheOneBefore(t *testing.T) {
	t.Parallel()
	var r Runner
	defer r.Close()
	for seed := uint64(1); seed <= 20; seed++ {
		var trace strings.Builder
		_, _ = r.run(seed, memory.NewOfValues(), &trace)
		if trace.String() != traceOf(Plaid, seed, memory.NewOfValues()) {
			t.Fatalf("seed %d gave two histories", seed)
		}
	}
}

func TestHistoriesAreFull(t *testing.T) {
	t.Parallel()
	const enough = 500
	if histories < enough {
		t.Skip("the averages need more histories than the race detector lets run")
	}
	var r Runner
	defer r.Close()
	total := map[string]int{}
	for seed := uint64(1); seed <= enough; seed++ {
		l, _ := r.run(seed, memory.NewOfValues(), nil) // whether it kept every promise is asked above
		for _, c := range l.list() {
			total[c.name] += c.n
		}
	}
	for _, c := range (life{}).list() {
		got := float64(total[c.name]) / enough
		t.Logf("%-8s %.2f", c.name, got)
		if got < c.least {
			t.Errorf("%s: %.2f a history, at least %.2f are wanted", c.name, got, c.least)
		}
	}
}

// list gives what a life counts, with the least that a history must have of it on average.
func (l life) list() []struct {
	name  string
	n     int
	least float64
} {
	return []struct {
		name  string
		n     int
		least float64
	}{
		{"calls", l.calls, 240},
		{"failures", l.failures, 2.5},
		{"deaths", l.deaths, 2.5},
		{"stalls", l.stalls, 12},
		{"events", l.events, 27},
		{"lost", l.lost, 2.2},
		{"writes", l.writes, 11},
		{"rows", l.rows, 13},
		{"changes", l.changes, 8.2},
		{"hands", l.hands, 1.7},
		{"saves", l.saves, 3.2},
		{"removals", l.removals, 0.26},
		{"renewals", l.renewals, 0.22},
		{"outages", l.outages, 0.17},
		{"closures", l.closures, 0.3},
		{"pleas", l.pleas, 0.05},
		{"refusals", l.refusals, 0.15},
	}
}
