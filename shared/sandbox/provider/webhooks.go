package provider

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/disk"
)

const (
	hooksAtOnce = 8
	hookRecord  = 200 // attempts that are remembered for whoever asks
)

// Mischief is what the network does to the next webhooks of any provider.
type Mischief struct {
	Drop          Count `json:"drop"`
	Duplicate     Count `json:"duplicate"`
	DelayMillis   int   `json:"delay_ms"`            // of every webhook, until changed
	HoldOddMillis int   `json:"hold_every_other_ms"` // so that later ones overtake, until changed
	Reverse       bool  `json:"reverse"`             // what comes up together is sent newest first, until changed
}

// Count is how many of the next webhooks are spoilt in one way.
type Count int

// Use takes one from the count and reports whether there was one.
func (c *Count) Use() bool {
	if *c == 0 {
		return false
	}
	*c--
	return true
}

// Delivery is a webhook on its way to its URL. A provider embeds it in a type that says the rest; both are kept as JSON.
type Delivery struct {
	ID      string    `json:"id"` // in the order in which they came up
	URL     string    `json:"url"`
	Body    string    `json:"body"`
	Next    time.Time `json:"next"`
	Attempt int       `json:"attempt"` // made so far

	flying bool
}

func (d *Delivery) delivery() *Delivery { return d }

// Hook is a pointer to a type that embeds Delivery.
type Hook interface{ delivery() *Delivery }

// Answer is what a receiver said to an attempt. Status is 0 where no answer came in time.
type Answer struct {
	Status int
	Header http.Header
}

// Sender is how a provider delivers. The Server's lock is held in each of its methods.
type Sender[D Hook] interface {
	// Drain puts what the Bank wants to tell into the Queue.
	Drain()
	// Now is the clock by which attempts are made.
	Now() time.Time
	// Header is what the next attempt carries.
	Header(d D) (http.Header, error)
	// Settle is told of each attempt, which Attempt counts already. It gives what is remembered of it and when the next one
	// is; the zero time is never.
	Settle(d D, a Answer) (record any, next time.Time)
}

// Queue is the webhooks that wait, and a record of what was sent. The Server's lock guards it.
type Queue[D Hook] struct {
	Mischief *Mischief // the provider's
	Waiting  map[string]D
	Count    uint64 // ever queued

	sender    Sender[D]
	changes   disk.Changes
	client    http.Client
	userAgent string
	record    []any
}

func newQueue[D Hook](o Options, sender Sender[D], changes disk.Changes) Queue[D] {
	q := Queue[D]{Mischief: &Mischief{}, Waiting: map[string]D{}, sender: sender, changes: changes, userAgent: o.UserAgent}
	if o.HTTP != nil {
		q.client = *o.HTTP
	}
	q.client.Timeout = o.Timeout
	q.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return q
}

func (q *Queue[D]) restore(body []byte) error {
	var d D
	if err := json.Unmarshal(body, &d); err != nil {
		return err
	}
	id := d.delivery().ID
	n, err := strconv.ParseUint(id, 10, 64)
	q.Waiting[id], q.Count = d, max(q.Count, n)
	return err
}

// Copies says how often the next webhook is queued: once, unless there is mischief.
func (q *Queue[D]) Copies() int {
	switch {
	case q.Mischief.Drop.Use():
		return 0
	case q.Mischief.Duplicate.Use():
		return 2
	}
	return 1
}

// Add queues a delivery, which needs its URL and Body only.
func (q *Queue[D]) Add(d D) {
	q.Count++
	wait := q.Mischief.DelayMillis
	if q.Count%2 == 1 {
		wait += q.Mischief.HoldOddMillis
	}
	b := d.delivery()
	b.ID, b.Next = fmt.Sprintf("%020d", q.Count), q.sender.Now().Add(time.Duration(wait)*time.Millisecond)
	q.keep(d)
}

func (q *Queue[D]) keep(d D) {
	id := d.delivery().ID
	q.Waiting[id] = d
	q.changes.Put("hook/"+id, d)
}

func (q *Queue[D]) drop(d D) {
	id := d.delivery().ID
	delete(q.Waiting, id)
	q.changes.Put("hook/"+id, nil)
}

// Cancel gives up what waits and is meant, but for the attempts under way.
func (q *Queue[D]) Cancel(meant func(D) bool) {
	for _, d := range q.Waiting {
		if meant(d) && !d.delivery().flying {
			q.drop(d)
		}
	}
}

// due takes out what is to be sent now, oldest first, and says when to look again; the zero time is when woken.
func (q *Queue[D]) due(now time.Time) (send []D, next time.Time) {
	for _, d := range q.Waiting {
		switch b := d.delivery(); {
		case b.flying:
		case !b.Next.After(now):
			b.flying = true
			send = append(send, d)
		case next.IsZero() || b.Next.Before(next):
			next = b.Next
		}
	}
	slices.SortFunc(send, func(x, y D) int {
		a, b := x.delivery(), y.delivery()
		return cmp.Or(a.Next.Compare(b.Next), strings.Compare(a.ID, b.ID))
	})
	if q.Mischief.Reverse {
		slices.Reverse(send)
	}
	return send, next
}

// settle notes the outcome of an attempt and plans the next one, if any.
func (q *Queue[D]) settle(d D, a Answer) {
	b := d.delivery()
	b.Attempt++
	record, next := q.sender.Settle(d, a)
	q.record = append(q.record, record)
	q.record = q.record[max(0, len(q.record)-hookRecord):]
	b.flying = false
	if next.IsZero() {
		q.drop(d)
		return
	}
	b.Next = next
	q.keep(d)
}

func (q *Queue[D]) post(ctx context.Context, d D, header http.Header) (a Answer) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.delivery().URL, strings.NewReader(d.delivery().Body))
	if err != nil {
		return a
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", q.userAgent)
	resp, err := q.client.Do(req)
	if err != nil {
		return a
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, MaxBody)) // only the head counts; reading lets the connection be used again
	return Answer{resp.StatusCode, resp.Header}
}

// Run sends the webhooks, and does what is due at the bank, until ctx ends; it then waits for the attempts under way and
// returns nil. What was not delivered is delivered by the next Run, of another process too.
func (s *Server[D]) Run(ctx context.Context) error {
	var flying sync.WaitGroup
	defer flying.Wait()
	slots := make(chan struct{}, hooksAtOnce)
	for {
		send, wait := s.look()
		for _, d := range send {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			flying.Go(func() {
				defer func() { <-slots }()
				s.deliver(ctx, d)
			})
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-s.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// look ticks the Bank and returns what is to be sent now and how long the next thing is away, an hour at most.
func (s *Server[D]) look() ([]D, time.Duration) {
	s.Lock()
	defer s.Unlock()
	if due := s.Bank.Due(); !due.IsZero() && !due.After(s.Clock.Now()) {
		s.Bank.Tick()
		if err := s.Commit(); err != nil {
			s.Log.Error("sandbox: keep the state", "space", s.Space, "error", err)
		}
	}
	now := s.Webhooks.sender.Now()
	send, next := s.Webhooks.due(now)
	wait := time.Hour
	if !next.IsZero() {
		wait = min(wait, next.Sub(now))
	}
	if due := s.Bank.Due(); !due.IsZero() {
		wait = min(wait, due.Sub(s.Clock.Now()))
	}
	return send, max(wait, time.Millisecond)
}

// deliver makes one attempt. An attempt that the end of ctx cut short does not count.
func (s *Server[D]) deliver(ctx context.Context, d D) {
	s.Lock()
	header, err := s.Webhooks.sender.Header(d)
	s.Unlock()
	if err != nil {
		s.Log.Error("sandbox: sign a webhook", "space", s.Space, "error", err)
		return
	}
	a := s.Webhooks.post(ctx, d, header)
	s.Lock()
	defer s.Unlock()
	if ctx.Err() != nil && a.Status == 0 {
		d.delivery().flying = false
		return
	}
	s.Webhooks.settle(d, a)
	if err := s.Commit(); err != nil {
		s.Log.Error("sandbox: keep the state", "space", s.Space, "error", err)
	}
}
