package sim

import (
	"errors"
	"testing"
)

func TestEveryHistoryKeepsEveryPromise(t *testing.T) {
	t.Parallel()
	n := uint64(histories)
	if testing.Short() {
		n /= 10
	}
	for seed := uint64(1); seed <= n; seed++ {
		if err := Run(seed); err != nil {
			var v *Violation
			if errors.As(Replay(seed), &v) {
				t.Log(v.Trace)
			}
			t.Fatal(err)
		}
	}
}

func TestTheSameSeedGivesTheSameHistory(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 20; seed++ {
		one, two := traceOf(seed), traceOf(seed)
		if one != two {
			t.Fatalf("seed %d gave two histories", seed)
		}
		if one == traceOf(seed+1000) {
			t.Fatalf("seeds %d and %d gave the same history", seed, seed+1000)
		}
	}
}
