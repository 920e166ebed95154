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
	at := flag.String("bank", string(sim.Plaid), "whose rules the bank follows: "+string(sim.Plaid)+" or "+string(sim.Pluggy))
	flag.Usage = func() {
		fmt.Fprint(os.Stderr, "sim runs random histories of banks, people, crashes and stalls through the real posting code.\n\n  scripts/sim -seeds N      run N histories; prints how many a second, and the first that breaks a promise\n  scripts/sim -replay SEED  run one again and print what happens\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if b := sim.Bank(*at); b != sim.Plaid && b != sim.Pluggy {
		fmt.Fprintf(os.Stderr, "sim: there is no bank %q\n", b)
		os.Exit(2)
	}
	debug.SetGCPercent(800) // histories are small and many
	if *only != 0 {
		os.Exit(replay(sim.Bank(*at), *only))
	}
	os.Exit(run(sim.Bank(*at), *first, *seeds))
}

func replay(at sim.Bank, seed uint64) int {
	err := sim.Replay(at, seed)
	var v *sim.Violation
	if errors.As(err, &v) {
		fmt.Print(v.Trace)
		fmt.Println(v)
		return 1
	}
	fmt.Println("seed", seed, "keeps every promise")
	return 0
}

func run(at sim.Bank, first, seeds uint64) int {
	begun := time.Now()
	var next, done atomic.Uint64
	var worst atomic.Pointer[sim.Violation]
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			runner := sim.Runner{Bank: at}
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
		replay(at, v.Seed)
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
