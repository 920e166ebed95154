package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/bkper/automations-portal/functions/connect"
	"github.com/bkper/automations-portal/functions/disconnect"
	"github.com/bkper/automations-portal/functions/link"
	"github.com/bkper/automations-portal/functions/portal"
	"github.com/bkper/automations-portal/functions/reconnect"
	"github.com/bkper/automations-portal/functions/remove"
	"github.com/bkper/automations-portal/scripts/internal/world"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/view"
)

// populate starts the people and the bank. They act until the calm, then bring things to what they want in the end.
func (s *storm) populate(ctx context.Context) *sync.WaitGroup {
	var all sync.WaitGroup
	arrive := func(n int) {
		c, err := s.open(n)
		if err != nil {
			s.log.Error("a customer could not be made", "err", err)
			return
		}
		all.Go(func() {
			if err := s.live(ctx, c); err != nil && ctx.Err() == nil {
				s.log.Error("a person gave up", "customer", c.user, "err", err)
			}
		})
	}
	for n := range s.connections {
		arrive(n)
	}
	all.Go(func() {
		for n := s.connections; ; n++ {
			select {
			case <-time.After(newcomers):
				arrive(n)
			case <-s.calm:
				return
			case <-ctx.Done():
				return
			}
		}
	})
	all.Go(func() { s.trade(ctx) })
	return &all
}

// agent is a person at work on one connection.
type agent struct {
	*storm
	*customer
	p   *world.Person
	rng *rand.Rand

	connection string
	linked     map[string]string // integrations by the name of the bank account
}

func (s *storm) live(ctx context.Context, c *customer) error {
	p, err := world.NewPerson(s.url)
	if err != nil {
		return err
	}
	a := &agent{storm: s, customer: c, p: p, rng: s.chance(c.user), linked: map[string]string{}}
	if err := a.insist(ctx, func(ctx context.Context) error { return p.SignIn(ctx, c.email) }); err != nil {
		return err
	}
	steps := []func(context.Context) error{a.connect, a.linkAll}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	for !a.isCalm() {
		if err := a.change(ctx); err != nil {
			return err
		}
		if err := pause(ctx, a.rng, 0, 3*time.Second); err != nil {
			return err
		}
	}
	return a.conclude(ctx)
}

func (s *storm) isCalm() bool {
	select {
	case <-s.calm:
		return true
	default:
		return false
	}
}

// change does one of the things that people do with a connection that they have.
func (a *agent) change(ctx context.Context) error {
	name := a.names[a.rng.IntN(len(a.names))]
	switch n := a.rng.IntN(10); {
	case a.restless && n < 6:
		if err := a.disconnect(ctx); err != nil {
			return err
		}
		return a.reconnect(ctx)
	case !a.restless && n < 5:
		if err := a.remove(ctx, name); err != nil {
			return err
		}
		return a.link(ctx, name)
	case n < 8:
		return a.link(ctx, name)
	}
	if err := a.call(ctx, "/portal/sync", portal.SyncNow{Connection: a.connection}, &struct{}{}); err != nil {
		a.count(a.met, codeOf(err), 1) // it was only a wish
	}
	return ctx.Err()
}

// conclude brings everything to what the comparison expects.
func (a *agent) conclude(ctx context.Context) error {
	if err := a.linkAll(ctx); err != nil {
		return err
	}
	for _, name := range a.names {
		if a.removed[name] {
			if err := a.remove(ctx, name); err != nil {
				return err
			}
		}
	}
	if !a.ended {
		return nil
	}
	return a.disconnect(ctx)
}

// insist repeats what a person wants until it works, as a person would who is told to try again. What people meet on the way
// is counted.
func (a *agent) insist(ctx context.Context, do func(context.Context) error) error {
	for {
		err := do(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		a.count(a.met, codeOf(err), 1)
		a.log.Debug("a person tries again", "customer", a.user, "err", err)
		if err := pause(ctx, a.rng, 200*time.Millisecond, time.Second); err != nil {
			return err
		}
	}
}

func codeOf(err error) string {
	var refusal *world.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Code != "":
		return refusal.Code
	case errors.As(err, &refusal):
		return strconv.Itoa(refusal.Status)
	case errors.As(err, new(unhappy)):
		return err.Error()
	}
	return "no answer"
}

// unhappy is an answer that is no refusal and not what a person wants.
type unhappy string

func (u unhappy) Error() string { return string(u) }

func (a *agent) call(ctx context.Context, path string, in, out any) error {
	return a.p.Call(ctx, http.MethodPost, path, in, out)
}

// connect makes the connection, unless an earlier try has.
func (a *agent) connect(ctx context.Context) error {
	return a.insist(ctx, func(ctx context.Context) error {
		mine, err := a.mine(ctx)
		if err != nil {
			return err
		}
		if len(mine) > 0 {
			a.connection = mine[0].ID
			return nil
		}
		var started session.Started
		if err := a.call(ctx, "/connect", connect.Request{Book: a.book, Country: "US"}, &started); err != nil {
			return err
		}
		if err := a.visit(ctx, started); err != nil {
			return err
		}
		a.count(a.did, "connects", 1)
		return nil
	})
}

// mine lists the connections that have this customer's accounts.
func (a *agent) mine(ctx context.Context) ([]view.Connection, error) {
	var all portal.Connections
	if err := a.p.Call(ctx, http.MethodGet, "/portal/connections", nil, &all); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all.Connections, func(c view.Connection) bool {
		return !slices.ContainsFunc(c.Accounts, func(account view.Account) bool { return account.Name == a.names[0] })
	}), nil
}

// visit signs in at the bank and asks what came of it, for a short while or a long one.
func (a *agent) visit(ctx context.Context, started session.Started) error {
	// That the way back fails, on which a worker may be hit, changes nothing: the page asks what became of the session.
	_ = a.p.Visit(ctx, started, bankID, a.user)
	patience := 150 * time.Second
	if a.rng.IntN(5) == 0 {
		patience = time.Duration(a.rng.IntN(5000)) * time.Millisecond
	}
	for until := time.Now().Add(patience); ; {
		var done connect.Completed
		err := a.call(ctx, "/connect/complete", connect.Complete{Session: started.Session}, &done)
		if err == nil && done.Connection != nil {
			a.connection = done.Connection.ID
			return nil
		}
		state := bank.SessionState(done.State)
		switch {
		case err == nil && state != bank.Open && state != bank.Exchanging:
			return unhappy("session " + done.State)
		case time.Now().After(until):
			return unhappy("impatience")
		case err != nil:
			a.count(a.met, codeOf(err), 1)
		}
		if err := pause(ctx, a.rng, 200*time.Millisecond, time.Second); err != nil {
			return err
		}
	}
}

func (a *agent) linkAll(ctx context.Context) error {
	for _, name := range a.names {
		if err := a.link(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// link saves where an account goes, whichever connection of the person has it now.
func (a *agent) link(ctx context.Context, name string) error {
	return a.insist(ctx, func(ctx context.Context) error {
		mine, err := a.mine(ctx)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(mine, func(c view.Connection) bool { return c.ID == a.connection })
		if at < 0 || mine[at].Status != view.Connected {
			return unhappy("not connected")
		}
		for _, account := range mine[at].Accounts {
			if account.Name != name {
				continue
			}
			var i view.Integration
			err := a.call(ctx, "/link", link.Request{
				Book: a.book, Connection: a.connection, Key: account.Key, Create: name, From: "2000-01-01", Pending: &a.pending,
			}, &i)
			if err == nil {
				a.linked[name] = i.ID
				a.count(a.did, "links", 1)
			}
			return err
		}
		return unhappy("no such bank account")
	})
}

func (a *agent) remove(ctx context.Context, name string) error {
	return a.insist(ctx, func(ctx context.Context) error {
		var gone remove.Response
		err := a.call(ctx, "/remove", remove.Request{Integration: a.linked[name]}, &gone)
		if err == nil {
			a.count(a.did, "removals", 1)
		}
		return err
	})
}

func (a *agent) disconnect(ctx context.Context) error {
	return a.insist(ctx, func(ctx context.Context) error {
		var gone disconnect.Response
		err := a.call(ctx, "/disconnect", disconnect.Request{Connection: a.connection}, &gone)
		if err == nil {
			a.count(a.did, "disconnections", 1)
		}
		return err
	})
}

func (a *agent) reconnect(ctx context.Context) error {
	return a.insist(ctx, func(ctx context.Context) error {
		var started session.Started
		if err := a.call(ctx, "/reconnect", reconnect.Request{Connection: a.connection}, &started); err != nil {
			return err
		}
		if err := a.visit(ctx, started); err != nil {
			return err
		}
		a.count(a.did, "reconnections", 1)
		return nil
	})
}

// customer is somebody with two accounts at the bank, of which a person makes one connection.
type customer struct {
	user        string // at the bank
	email, book string // of the person
	names       []string
	ids         []string        // the bank's, in the order of names
	restless    bool            // disconnects and reconnects; the bank then changes nothing that it has said
	pending     bool            // what has not settled is recorded too
	removed     map[string]bool // accounts whose integration is removed in the end
	ended       bool            // the connection is disconnected in the end

	// Of the goroutine that is the bank.
	n       int            // numbers rows
	ever    map[string]int // how many rows there ever were of a description
	holds   []string       // pending rows
	settled []string
	taken   int // rows that the bank took back
}

// open makes the n-th customer. Every third one is restless, and every fourth of the others has pending rows recorded.
func (s *storm) open(n int) (*customer, error) {
	person := n % len(s.books)
	c := &customer{
		user: fmt.Sprintf("customer%03d", n), email: email(person), book: s.books[person],
		restless: n%3 == 0, pending: n%3 != 0 && n%4 == 1, removed: map[string]bool{}, ever: map[string]int{},
	}
	rng := s.chance("opening " + c.user)
	var holdings []plaid.Holding
	for i, kind := range [][2]string{{"depository", "checking"}, {"credit", "credit card"}} {
		name := fmt.Sprintf("%s %s", c.user, kind[1])
		c.names = append(c.names, name)
		h := plaid.Holding{Name: name, Mask: fmt.Sprintf("%04d", 2*n+i), Type: kind[0], Subtype: kind[1], Currency: "USD"}
		for range s.rows {
			h.Rows = append(h.Rows, c.row(rng, rng.IntN(600)))
		}
		h.Rows = append(h.Rows, h.Rows[0]) // an honest twin
		c.ever[h.Rows[0].Description]++
		holdings = append(holdings, h)
	}
	switch rng.IntN(10) {
	case 0:
		c.ended = true
	case 1, 2:
		c.removed[c.names[rng.IntN(2)]] = true
	}
	err := s.world.Plaid.Do(func(b *plaid.Bank) (err error) {
		c.ids, err = b.AddCustomer(bankID, c.user, holdings)
		return err
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.customers = append(s.customers, c)
	return c, err
}
