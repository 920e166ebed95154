// Package sim runs the real posting code through random histories, deterministically: one process at a time, a clock of its
// own, and at every outside call a chance that it is slow, fails before, fails after it took effect, or that the process
// dies. The banks and the Books are the sandbox's own types. The same seed gives the same history.
package sim

import (
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
	*crew
	rng   *rand.Rand
	now   time.Time
	queue queue
	order int // breaks ties of equal times
	at    *process
	trace *strings.Builder // nil where nobody reads it

	faults float64 // chance that an outside call goes wrong
	down   bool    // the store answers every other call
	calm   bool    // the end of the history: nothing goes wrong any more
	had    life
}

// life counts what happens in a history. TestHistoriesAreFull demands so much of each on average: a simulator that is made
// fast by letting less happen finds less.
type life struct {
	calls    int // outside calls; a history that needs too many does not end
	failures int // calls that failed, with their effect or without
	deaths   int // of processes, before or after the effect of a call
	stalls   int // calls that took longer, and processes that slept longer, than a second
	events   int // deliveries to the poster
	lost     int // webhooks that never came
	writes   int // batches that reached a Book

	rows     int // new at the bank
	changes  int // of the bank: settled, amended, gone, named anew, disturbed pages
	hands    int // records that a person edited or trashed
	saves    int // of integrations: linked, another start date, pending or not, paused or not
	removals int // of integrations
	renewals int // of the item: disconnected and connected again
	outages  int // of the store, while the bank goes on
	closures int // of a Book: its past locked, or an Account archived
	pleas    int // for what was trashed
	refusals int // of cursors that were given
}

// crew are processes that outlive a history, because the stack of a new one must grow first.
type crew struct {
	free []*process
	all  []*process
}

// process is something that runs by itself: a function at work, a person, the bank.
type process struct {
	name string
	do   func()
	busy bool // in the middle of do
	ends bool // whatever it does: the history is over
	next func() (busy, lives bool)
	stop func()
	give func(busy bool) bool
}

// killed unwinds a process that dies.
type killed struct{}

func newWorld(c *crew, seed uint64, trace *strings.Builder) *world {
	return &world{crew: c, rng: rand.New(rand.NewPCG(seed, 0x5eed)), now: start, trace: trace}
}

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// spawn starts a process after a while.
func (w *world) spawn(name string, after time.Duration, do func()) {
	p := w.idle()
	p.name, p.do = name, func() { w.attempt(do) }
	w.push(p, after)
}

// idle gives a process that has nothing to do.
func (c *crew) idle() *process {
	if n := len(c.free); n > 0 {
		p := c.free[n-1]
		c.free = c.free[:n-1]
		return p
	}
	p := &process{}
	p.next, p.stop = iter.Pull(func(yield func(bool) bool) {
		p.give = yield
		for p.do(); yield(false); p.do() {
		}
	})
	c.all = append(c.all, p)
	return p
}

// dismiss ends what the processes still do.
func (c *crew) dismiss() {
	for i := 0; i < len(c.all); i++ { // who is ended may still start others
		p := c.all[i]
		for p.ends = true; p.busy; {
			p.busy, _ = p.next()
		}
	}
	c.free = append(c.free[:0], c.all...)
	for _, p := range c.all {
		p.ends, p.do = false, nil
	}
}

// close ends the processes themselves.
func (c *crew) close() {
	for _, p := range c.all {
		p.stop()
	}
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

func (w *world) push(p *process, after time.Duration) {
	w.order++
	w.queue.push(entry{w.now.Sub(start) + after, w.order, p})
}

// errEndless: the history does not come to rest.
var errEndless = errors.New("the history does not come to rest")

const maxCalls = 20000

// run lets processes run until none is due before a time.
func (w *world) run(until time.Time) error {
	for end := until.Sub(start); len(w.queue) > 0 && w.queue[0].wake <= end; {
		first := w.queue.pop()
		w.now = start.Add(first.wake)
		p := first.process
		w.at = p
		if p.busy, _ = p.next(); !p.busy {
			w.free = append(w.free, p)
		}
		w.at = nil
		if w.had.calls > maxCalls {
			return errEndless
		}
	}
	if w.now.Before(until) {
		w.now = until
	}
	return nil
}

// sleep lets other processes run for a while.
func (w *world) sleep(d time.Duration) {
	p := w.at
	w.push(p, d)
	if !p.give(true) || p.ends {
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
	w.had.calls++
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
	if took > time.Second {
		w.had.stalls++
	}
	w.sleep(took)
	if !w.chance(w.faults) {
		return fine
	}
	switch w.rng.IntN(4) {
	case 0:
		w.had.failures++
		w.log("%s: fails before", what)
		return before
	case 1:
		w.had.failures++
		w.log("%s: takes effect, then fails", what)
		return after
	case 2:
		w.had.deaths++
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
		w.had.deaths++
		w.log("%s: killed after", what)
		panic(killed{})
	}
	// The answer is there, and the process may be asleep for longer than its lease.
	if !w.calm && w.chance(w.faults/3) {
		w.had.stalls++
		w.sleep(w.between(time.Second, 4*time.Minute))
	}
	return nil
}

var errFault = errors.New("injected fault")

// queue is a heap of processes that sleep, by the time when they wake.
type queue []entry

type entry struct {
	wake    time.Duration // since start
	rank    int
	process *process
}

func (e *entry) before(o *entry) bool {
	return e.wake < o.wake || e.wake == o.wake && e.rank < o.rank
}

func (q *queue) push(e entry) {
	h := append(*q, e)
	i := len(h) - 1
	for up := (i - 1) / 2; i > 0 && e.before(&h[up]); up = (i - 1) / 2 {
		h[i] = h[up]
		i = up
	}
	h[i] = e
	*q = h
}

func (q *queue) pop() entry {
	h := *q
	first, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	i := 0
	for down := 1; down < len(h); down = 2*i + 1 {
		if down+1 < len(h) && h[down+1].before(&h[down]) {
			down++
		}
		if !h[down].before(&last) {
			break
		}
		h[i], i = h[down], down
	}
	if len(h) > 0 {
		h[i] = last
	}
	*q = h
	return first
}
