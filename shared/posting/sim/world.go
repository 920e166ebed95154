// Package sim runs the real posting code through random histories, deterministically: one process at a time, a clock of its
// own, and at every outside call a chance that it is slow, fails before, fails after it took effect, or that the process
// dies. The banks and the Books are the sandbox's own types. The same seed gives the same history.
package sim

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"time"
)

// world is one history.
type world struct {
	rng   *rand.Rand
	now   time.Time
	queue processes
	free  []*process
	all   []*process
	order int // breaks ties of equal times
	at    *process
	trace *strings.Builder // nil where nobody reads it

	faults float64 // chance that an outside call goes wrong
	calm   bool    // the end of the history: nothing goes wrong any more
	calls  int     // outside calls so far; a history that needs too many does not end
}

// process is something that runs by itself: a function at work, a person, the bank.
type process struct {
	name string
	wake time.Time
	rank int
	do   func()
	next func() (busy, lives bool)
	stop func()
	give func(busy bool) bool
}

// killed unwinds a process that dies.
type killed struct{}

func newWorld(seed uint64, trace *strings.Builder) *world {
	return &world{rng: rand.New(rand.NewPCG(seed, 0x5eed)), now: start, trace: trace}
}

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// spawn starts a process after a while.
func (w *world) spawn(name string, after time.Duration, do func()) {
	p := w.idle()
	p.name, p.wake, p.do = name, w.now.Add(after), do
	w.push(p)
}

// idle gives a process that has nothing to do: a new one costs a stack that must grow first.
func (w *world) idle() *process {
	if n := len(w.free); n > 0 {
		p := w.free[n-1]
		w.free = w.free[:n-1]
		return p
	}
	p := &process{}
	p.next, p.stop = iter.Pull(func(yield func(bool) bool) {
		p.give = yield
		for {
			w.attempt(p.do)
			if !yield(false) {
				return
			}
		}
	})
	w.all = append(w.all, p)
	return p
}

// attempt runs what a process does to its end, or to its death.
func (w *world) attempt(do func()) {
	defer func() {
		if died := recover(); died != nil {
			if _, mine := died.(killed); !mine {
				panic(died)
			}
			w.log("dies")
		}
	}()
	do()
}

func (w *world) push(p *process) {
	w.order++
	p.rank = w.order
	heap.Push(&w.queue, p)
}

// errEndless: the history does not come to rest.
var errEndless = errors.New("the history does not come to rest")

const maxCalls = 20000

// run lets processes run until none is due before a time.
func (w *world) run(until time.Time) error {
	for len(w.queue) > 0 && !w.queue[0].wake.After(until) {
		p, _ := heap.Pop(&w.queue).(*process)
		if p.wake.After(w.now) {
			w.now = p.wake
		}
		w.at = p
		if busy, _ := p.next(); busy {
			w.push(p)
		} else {
			w.free = append(w.free, p)
		}
		w.at = nil
		if w.calls > maxCalls {
			return errEndless
		}
	}
	if w.now.Before(until) {
		w.now = until
	}
	return nil
}

// close ends what still runs.
func (w *world) close() {
	for _, p := range w.all {
		p.stop()
	}
}

// sleep lets other processes run for a while.
func (w *world) sleep(d time.Duration) {
	p := w.at
	p.wake = w.now.Add(d)
	if !p.give(true) {
		panic(killed{})
	}
	w.at = p
}

// Sleep is sleep for the code under test.
func (w *world) Sleep(_ context.Context, d time.Duration) error {
	w.sleep(d)
	return nil
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func (w *world) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.rng.Int64N(int64(to-from)+1))
}

func (w *world) log(format string, args ...any) {
	if w.trace == nil {
		return
	}
	name := "-"
	if w.at != nil {
		name = w.at.name
	}
	fmt.Fprintf(w.trace, "%s %-12s %s\n", w.now.Format("01-02 15:04:05.000"), name, fmt.Sprintf(format, args...))
}

// fate is what becomes of an outside call.
type fate int

const (
	fine   fate = iota
	before      // fails and has no effect
	after       // takes effect and fails
)

// call begins an outside call: it takes some time, and its fate is decided. A process may die at either end.
func (w *world) call(what string, limit time.Duration) fate {
	w.calls++
	if w.calm {
		w.sleep(w.between(time.Millisecond, 5*time.Millisecond))
		return fine
	}
	took := w.between(time.Millisecond, 40*time.Millisecond)
	switch {
	case w.chance(w.faults / 2):
		took = w.between(0, limit-time.Second) // a stall, but an answer within the time-out
	case w.chance(0.05):
		took = w.between(0, min(3*time.Second, limit/2))
	}
	w.sleep(took)
	if !w.chance(w.faults) {
		return fine
	}
	switch w.rng.IntN(4) {
	case 0:
		w.log("%s: fails before", what)
		return before
	case 1:
		w.log("%s: takes effect, then fails", what)
		return after
	case 2:
		w.log("%s: killed before", what)
		panic(killed{})
	default:
		return after + 1 // killed after its effect: see ended
	}
}

// ended ends an outside call that has taken effect.
func (w *world) ended(what string, f fate) error {
	switch {
	case f == after:
		return errFault
	case f > after:
		w.log("%s: killed after", what)
		panic(killed{})
	}
	// The answer is there, and the process may be asleep for longer than its lease.
	if !w.calm && w.chance(w.faults/3) {
		w.sleep(w.between(time.Second, 4*time.Minute))
	}
	return nil
}

var errFault = errors.New("injected fault")

type processes []*process

func (q processes) Len() int { return len(q) }
func (q processes) Less(i, j int) bool {
	if !q[i].wake.Equal(q[j].wake) {
		return q[i].wake.Before(q[j].wake)
	}
	return q[i].rank < q[j].rank
}
func (q processes) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *processes) Push(x any) {
	if p, ok := x.(*process); ok {
		*q = append(*q, p)
	}
}

// Pop implements heap.Interface.
func (q *processes) Pop() any {
	old := *q
	p := old[len(old)-1]
	*q = old[:len(old)-1]
	return p
}
