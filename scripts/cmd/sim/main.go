// Command sim runs random histories through the posting code and prints the first one that breaks a promise.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bkper/automations-portal/shared/posting/sim"
)

func main() {
	first := flag.Uint64("seed", 1, "first seed")
	seeds := flag.Uint64("seeds", 1000, "how many histories")
	only := flag.Uint64("replay", 0, "replay one seed and print what happens")
	flag.Usage = func() {
		fmt.Fprint(os.Stderr, "sim runs random histories of banks, people, crashes and stalls through the real posting code.\n\n  scripts/sim -seeds N      run N histories; prints how many a second, and the first that breaks a promise\n  scripts/sim -replay SEED  run one again and print what happens\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	debug.SetGCPercent(800) // histories are small and many
	if *only != 0 {
		os.Exit(replay(*only))
	}
	os.Exit(run(*first, *seeds))
}

func replay(seed uint64) int {
	err := sim.Replay(seed)
	var v *sim.Violation
	if errors.As(err, &v) {
		fmt.Print(v.Trace)
		fmt.Println(v)
		return 1
	}
	fmt.Println("seed", seed, "keeps every promise")
	return 0
}

func run(first, seeds uint64) int {
	begun := time.Now()
	var next, done atomic.Uint64
	var worst atomic.Pointer[sim.Violation]
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			var runner sim.Runner
			defer runner.Close()
			for {
				n := next.Add(1) - 1
				if n >= seeds || worst.Load() != nil {
					return
				}
				var v *sim.Violation
				if errors.As(runner.Run(first+n), &v) {
					lowest(&worst, v)
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	rate := float64(done.Load()) / time.Since(begun).Seconds()
	if v := worst.Load(); v != nil {
		replay(v.Seed)
		fmt.Printf("%d histories, %.0f a second; seed %d breaks a promise\n", done.Load(), rate, v.Seed)
		return 1
	}
	fmt.Printf("%d histories, %.0f a second; every promise was kept\n", done.Load(), rate)
	return 0
}

// lowest keeps the violation of the smallest seed.
func lowest(worst *atomic.Pointer[sim.Violation], v *sim.Violation) {
	for {
		old := worst.Load()
		if old != nil && old.Seed <= v.Seed {
			return
		}
		if worst.CompareAndSwap(old, v) {
			return
		}
	}
}
