package posting_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/store/sqlite"
)

// act is one operation of the history. A write is what the poster did to the Book of an integration.
type act struct {
	what        string // "link", "remove", "disconnect", "reconnect", "write"
	integration int
}

// allowed is the sequential specification: what is live, and whether the connection is.
type allowed struct {
	connected bool
	live      [2]bool
}

func (s allowed) after(a act) (possible bool, next allowed) {
	switch a.what {
	case "link":
		s.live[a.integration] = true
	case "remove":
		s.live[a.integration] = false
	case "disconnect", "reconnect":
		s.connected = a.what == "reconnect"
	case "write":
		return s.connected && s.live[a.integration], s
	}
	return true, s
}

// specification says that a write takes effect only while its integration lives: from some moment of link on, to some
// moment before remove, or disconnect, has answered.
var specification = porcupine.Model{
	Init: func() any { return allowed{connected: true} },
	Step: func(state, input, _ any) (bool, any) {
		s, _ := state.(allowed)
		a, _ := input.(act)
		possible, next := s.after(a)
		return possible, next
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprint(input) },
}

// crowd are people and posters at work at once, in a bubble: time passes only while all of them wait.
type crowd struct {
	t     *testing.T
	rig   *rig
	rng   *rand.Rand
	await func(context.Context, store.Reader, string, int64) (bool, error) // whether all have stopped
	ended bool

	mu      sync.Mutex
	now     int64 // orders the history
	history []porcupine.Operation
}

func (c *crowd) tick() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now++
	return c.now
}

func (c *crowd) note(client int, a act, call, ret int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history = append(c.history, porcupine.Operation{ClientId: client, Input: a, Call: call, Return: ret})
}

// between draws a time.
func (c *crowd) between(from, to time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return from + time.Duration(c.rng.Int64N(int64(to-from)))
}

func (c *crowd) one(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.IntN(n)
}

// wait sleeps on the clock of the bubble.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// stall makes an outside call take some time, now and then nearly all that it may.
func (c *crowd) stall(limit time.Duration) error {
	took := c.between(0, time.Second)
	if c.one(6) == 0 {
		took = c.between(0, limit-time.Second)
	}
	return wait(c.t.Context(), took)
}

// slow is a ledger whose calls take time; after them, a process may sleep past its lease.
type slow struct {
	*shelf
	crowd *crowd
}

func (s slow) Write(ctx context.Context, token secret.String, book string, op ledger.Operation, batch []ledger.Transaction) ([]ledger.Transaction, error) {
	if err := s.crowd.stall(posting.LedgerCall); err != nil {
		return nil, err
	}
	wrote, err := s.shelf.Write(ctx, token, book, op, batch)
	if s.crowd.one(8) == 0 {
		return wrote, errors.Join(err, wait(s.crowd.t.Context(), s.crowd.between(0, 4*time.Minute)))
	}
	return wrote, err
}

// person does one of some acts now and then, until the day is over.
func (c *crowd) person(client int, acts []act) {
	for !c.over() {
		if wait(c.t.Context(), c.between(0, 40*time.Second)) != nil {
			return
		}
		a := acts[c.one(len(acts))]
		call := c.tick()
		done, err := c.do(a)
		if err != nil {
			c.t.Errorf("%v: %v", a, err)
			return
		}
		if done {
			c.note(client, a, call, c.tick())
		}
	}
}

func (c *crowd) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// do tells whether the act took place; one that is refused has no effect.
func (c *crowd) do(a act) (bool, error) {
	var mark int64
	refused := false
	err := c.rig.store.Update(c.t.Context(), func(tx store.Tx) (err error) {
		refused, mark, err = c.change(tx, a)
		return err
	})
	if err != nil || refused {
		return false, err
	}
	if a.what == "remove" || a.what == "disconnect" {
		for stopped := false; !stopped; {
			if stopped, err = c.await(c.t.Context(), c.rig.store, theConnection, mark); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// change is the transaction of an act, as the functions write it.
func (c *crowd) change(tx store.Tx, a act) (refused bool, mark int64, err error) {
	wanted := c.rig.wanted(theBook, a.integration)
	i, err := store.Integrations.Load(tx, wanted.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, 0, err
	}
	conn, err := store.Connections.Load(tx, theConnection)
	if err != nil {
		return false, 0, err
	}
	if a.what == "link" {
		if conn.State == bank.Removing {
			return true, 0, nil
		}
		_, err = posting.Save(tx, wanted, i, time.Now())
		return false, 0, err
	}
	e, err := posting.Load(tx, theConnection)
	if err != nil {
		return false, 0, err
	}
	mark = e.Config
	switch {
	case a.what == "remove" && i == nil, a.what == "reconnect" && conn.State != bank.Removing:
		return true, 0, nil
	case a.what == "remove" && i.State == bank.Live:
		i.State, mark = bank.Removed, e.Mark(time.Time{})
		return false, mark, errors.Join(posting.Engines.Put(tx, e), store.Integrations.Put(tx, i))
	case a.what == "disconnect" && conn.State == bank.Active:
		conn.State, mark = bank.Removing, e.Mark(time.Time{})
	case a.what == "reconnect":
		conn.State, mark = bank.Active, e.Mark(time.Now())
	default:
		return false, mark, nil // it is so already: only the answer has to be true
	}
	return false, mark, errors.Join(posting.Engines.Put(tx, e), store.Connections.Put(tx, conn))
}

// oneDay lets everybody work for some time, and gives the history of it.
func oneDay(t *testing.T, seed uint64, s store.Store, await func(context.Context, store.Reader, string, int64) (bool, error)) []porcupine.Operation {
	t.Helper()
	c := &crowd{t: t, rng: rand.New(rand.NewPCG(seed, 1)), await: await, rig: newRig(t, s, 2)}
	c.rig.bank.on = func(bank.From) error { return c.stall(posting.BankCall) }
	c.rig.shelf.wrote = func(_ string, _ ledger.Operation, batch []ledger.Transaction) {
		integration := 0
		if batch[0].Credit == "to-1" {
			integration = 1
		}
		at := c.tick()
		c.note(9, act{"write", integration}, at, at)
	}
	var all sync.WaitGroup
	all.Go(func() { c.person(0, []act{{"link", 0}, {"link", 1}}) })
	all.Go(func() { c.person(1, []act{{"remove", 0}, {"remove", 1}}) })
	all.Go(func() { c.person(2, []act{{"disconnect", 0}, {"reconnect", 0}, {"reconnect", 0}}) })
	all.Go(func() {
		for n := 0; !c.over(); n++ {
			c.rig.bank.says(movement(n%2, n))
			if wait(t.Context(), c.between(0, 10*time.Second)) != nil {
				return
			}
		}
	})
	for range 3 {
		all.Go(func() { c.poster() })
	}
	if err := wait(t.Context(), 25*time.Minute); err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	all.Wait()
	return c.history
}

// poster is rung now and then.
func (c *crowd) poster() {
	p := &posting.Poster{
		Store: c.rig.store, Tokens: tokens{}, Banks: map[string]bank.Reader{theProvider: c.rig.bank}, Ledger: slow{c.rig.shelf, c}, Grants: c.rig.grants,
		Events: c.rig.bells, Log: slog.New(slog.DiscardHandler), Now: time.Now, Sleep: wait, Rand: func() float64 { return 0.5 },
	}
	for !c.over() {
		if err := p.Post(c.t.Context(), events.Message{Connection: theConnection}); err != nil {
			c.t.Errorf("post: %v", err)
			return
		}
		if wait(c.t.Context(), c.between(0, 20*time.Second)) != nil {
			return
		}
	}
}

func awaitStop(ctx context.Context, r store.Reader, connection string, mark int64) (bool, error) {
	return posting.AwaitStop(ctx, r, connection, mark, time.Now, wait)
}

// linearizable plays a history and checks it.
func linearizable(t *testing.T, seed uint64, open func(t *testing.T) store.Store, await func(context.Context, store.Reader, string, int64) (bool, error)) (ok bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		history := oneDay(t, seed, open(t), await)
		count := map[string]int{}
		for _, o := range history {
			a, _ := o.Input.(act)
			count[a.what]++
		}
		if count["write"] < 3 || count["link"] < 3 || count["remove"] < 3 || count["disconnect"] < 1 {
			t.Errorf("seed %d: too little happened: %v", seed, count)
		}
		switch result, _ := porcupine.CheckOperationsVerbose(specification, history, time.Hour); result {
		case porcupine.Ok:
			ok = true
		case porcupine.Illegal:
		case porcupine.Unknown:
			t.Error("the history could not be checked")
		}
		t.Logf("seed %d: %v", seed, count)
	})
	return ok
}

// inMemory keeps no JSON, which would take most of the time; the days in a file do.
func inMemory(*testing.T) store.Store { return memory.NewOfValues() }

func TestWhatIsWrittenLivesAtThatMoment(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		days int
		open func(*testing.T) store.Store
	}{
		"memory": {10, inMemory},
		"sqlite": {1, func(t *testing.T) store.Store {
			s, err := sqlite.Open(t.TempDir() + "/portal.db")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(c.days) {
				if !linearizable(t, seed, c.open, awaitStop) {
					t.Fatalf("seed %d: something was written for an integration after it was said to be removed, or disconnected", seed)
				}
			}
		})
	}
}

// The check must see an answer that comes too early.
func TestAnAnswerBeforeTheHolderHasStoppedIsSeen(t *testing.T) {
	t.Parallel()
	for name, await := range map[string]func(context.Context, store.Reader, string, int64) (bool, error){
		"at once": func(context.Context, store.Reader, string, int64) (bool, error) { return true, nil },
		"for what was before": func(ctx context.Context, r store.Reader, c string, mark int64) (bool, error) {
			return awaitStop(ctx, r, c, mark-1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				if !linearizable(t, seed, inMemory, await) {
					t.Logf("seen with seed %d", seed)
					return
				}
			}
			t.Error("nobody noticed")
		})
	}
}
