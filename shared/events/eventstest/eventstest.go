// Package eventstest is the suite that every broker of events passes, together with whatever pushes its messages.
package eventstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/logs"
)

// Harness is a broker without messages that pushes to an Endpoint, and what a check must be able to do to it.
type Harness struct {
	Publisher events.Publisher
	// Kill ends the broker's pushing as kill -9 does, writing nothing down, and starts it again with what it has kept.
	Kill func() error
	// Cut makes the broker unreachable to publishers for good.
	Cut func() error
	// DeadLetters and Replay are what an operator has.
	DeadLetters func(ctx context.Context) ([]events.DeadLetter, error)
	Replay      func(ctx context.Context, id string) error
	// Close ends everything.
	Close func()

	Attempts    int           // after which a message becomes a dead letter
	Concurrency int           // pushes of a topic at a time
	MinBackoff  time.Duration // before the second attempt; every later pause is as long at least
	// Quiet is the time within which whatever is delivered again has been: longer than back-offs and leases.
	Quiet time.Duration
}

// Open starts a broker that pushes to e.
type Open func(ctx context.Context, e *Endpoint) (*Harness, error)

// Check is one property of every broker; an error says how it is violated.
type Check struct {
	Name string
	Run  func(ctx context.Context, open Open) error
}

// Run holds a broker against every check, in real time. All checks run side by side, whatever -parallel says: they mostly
// wait.
func Run(t *testing.T, open Open) {
	checks := Checks()
	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { errs[i] = c.Run(t.Context(), open) })
	}
	wg.Wait()
	for i, c := range checks {
		t.Run(c.Name, func(t *testing.T) {
			if errs[i] != nil {
				t.Error(errs[i])
			}
		})
	}
}

// RunInBubble holds a broker that reaches its Endpoint by Transport against every check, in the time of
// testing/synctest, where waiting takes none.
func RunInBubble(t *testing.T, open Open) {
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := c.Run(t.Context(), open); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Checks returns all checks.
func Checks() []Check {
	return []Check{
		{"messages are pushed as published, signed, to their topics' endpoints", pushedAsPublished},
		{"the trace of the publisher, and the time of publishing, come with every push of a message", traced},
		{"what 2xx has acknowledged is never pushed again", acknowledgedOnce},
		{"what is refused is pushed again, counted, until acknowledged", refusedComesAgain},
		{"refusals are backed off", backedOff},
		{"what is not answered in time is pushed again", unansweredComesAgain},
		{"what is refused too often becomes a readable dead letter and is pushed no more", deadLetter},
		{"a replayed dead letter is delivered anew and leaves", replay},
		{"dead letters and their replay survive kill -9", deadLetterSurvives},
		{"what was published stands when the process is killed at once", publishedIsDurable},
		{"what was being pushed by a killed process is pushed again", killedComesAgain},
		{"many messages published at once all arrive, several at a time, within the bound", many},
		{"one slow message does not hold up the others", slowAlone},
		{"refused messages do not hold up the others", refusedAlone},
		{"one topic does not hold up another", topicsApart},
		{"an unreachable broker refuses a message", unreachable},
		{"an ended context refuses a message", endedContext},
		{"a topic that nobody gets is refused", unknownTopic},
	}
}

// with runs use on a broker that pushes to an endpoint with the answer.
func with(ctx context.Context, open Open, answer func(context.Context, Push) int, use func(*Harness, *Endpoint) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := newEndpoint(answer)
	h, err := open(ctx, e)
	if err != nil {
		return err
	}
	defer h.Close()
	err = use(h, e)
	_, violations := e.all()
	return errors.Join(err, violations)
}

func ring(i int) events.Message { return events.Message{Connection: fmt.Sprintf("ring-%d", i)} }

func (h *Harness) rings(ctx context.Context, from, to int) error {
	for i := from; i < to; i++ {
		if err := h.Publisher.Publish(ctx, events.Rings, ring(i)); err != nil {
			return err
		}
	}
	return nil
}

func atLeast(n int) func([]Push) bool { return func(p []Push) bool { return len(p) >= n } }

func pushedAsPublished(ctx context.Context, open Open) error {
	want := map[events.Message]events.Topic{
		{Connection: "c-1"}:                                events.Rings,
		{Connection: "c-2", Deep: true}:                    events.Rings,
		{Provider: "p", Item: "item é \" < 😀 \n"}:          events.Rings,
		{Session: "s-1"}:                                   events.Sessions,
		{Connection: "c-1", Session: "s-1", Provider: "q"}: events.Sessions,
	}
	return with(ctx, open, acknowledge, func(h *Harness, e *Endpoint) error {
		for m, topic := range want {
			if err := h.Publisher.Publish(ctx, topic, m); err != nil {
				return err
			}
		}
		pushes, err := e.until(ctx, "all messages", atLeast(len(want)))
		if err != nil {
			return err
		}
		ids := map[string]bool{}
		for _, p := range pushes {
			ids[p.ID] = true
			if want[p.Message] != p.Topic {
				return fmt.Errorf("%+v came to %s, or was never published", p.Message, p.Topic)
			}
			if p.Attempt != 1 {
				return fmt.Errorf("a first delivery says attempt %d", p.Attempt)
			}
		}
		if len(ids) != len(want) {
			return fmt.Errorf("%d messages have %d ids", len(want), len(ids))
		}
		return nil
	})
}

func traced(ctx context.Context, open Open) error {
	answer := func(_ context.Context, p Push) int {
		if p.Nth == 1 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	}
	return with(ctx, open, answer, func(h *Harness, e *Endpoint) error {
		want := logs.Trace{ID: "4bf92f3577b34da6a3ce929d0e0e4736", Span: "00f067aa0ba902b7", Sampled: true}
		begun := time.Now().Add(-time.Minute) // the broker has a clock of its own
		if err := h.Publisher.Publish(logs.WithTrace(ctx, want), events.Rings, ring(0)); err != nil {
			return err
		}
		pushes, err := e.until(ctx, "the redelivery", atLeast(2))
		if err != nil {
			return err
		}
		for _, p := range pushes {
			if p.Trace != want || p.Published.Before(begun) {
				return fmt.Errorf("delivery %d is of the trace %+v and was published at %s", p.Nth, p.Trace, p.Published)
			}
		}
		return nil
	})
}

func acknowledgedOnce(ctx context.Context, open Open) error {
	statuses := []int{http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent}
	var mu sync.Mutex
	answer := func(context.Context, Push) int {
		mu.Lock()
		defer mu.Unlock()
		status := statuses[0]
		statuses = append(statuses[1:], status)
		return status
	}
	return with(ctx, open, answer, func(h *Harness, e *Endpoint) error {
		n := len(statuses)
		if err := h.rings(ctx, 0, n); err != nil {
			return err
		}
		if _, err := e.until(ctx, "all messages", atLeast(n)); err != nil {
			return err
		}
		return e.quiet(ctx, h.Quiet, n)
	})
}

func refusedComesAgain(ctx context.Context, open Open) error {
	statuses := []int{http.StatusInternalServerError, http.StatusTooManyRequests, http.StatusNotFound, http.StatusOK}
	answer := func(_ context.Context, p Push) int { return statuses[min(p.Nth, len(statuses))-1] }
	return with(ctx, open, answer, func(h *Harness, e *Endpoint) error {
		if err := h.rings(ctx, 0, 1); err != nil {
			return err
		}
		pushes, err := e.until(ctx, "redeliveries", atLeast(len(statuses)))
		if err != nil {
			return err
		}
		for i, p := range pushes {
			if p.Message != ring(0) || p.ID != pushes[0].ID || p.Attempt != i+1 {
				return fmt.Errorf("delivery %d is %+v", i+1, p)
			}
		}
		return e.quiet(ctx, h.Quiet, len(statuses))
	})
}

func backedOff(ctx context.Context, open Open) error {
	answer := func(_ context.Context, p Push) int {
		if p.Nth < 4 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	}
	return with(ctx, open, answer, func(h *Harness, e *Endpoint) error {
		if err := h.rings(ctx, 0, 1); err != nil {
			return err
		}
		pushes, err := e.until(ctx, "redeliveries", atLeast(4))
		if err != nil {
			return err
		}
		var whole time.Duration
		for i := 1; i < len(pushes); i++ {
			gap := pushes[i].At.Sub(pushes[i-1].At)
			if gap < h.MinBackoff {
				return fmt.Errorf("delivery %d came %s after the one before, want at least %s", i+1, gap, h.MinBackoff)
			}
			whole += gap
		}
		// 1 + 2 + 4 times the first, had all gaps been as short as allowed.
		if whole < 7*h.MinBackoff {
			return fmt.Errorf("four deliveries within %s: the pauses do not grow from %s", whole, h.MinBackoff)
		}
		return nil
	})
}

// hang answers when the one who pushes has gone.
func hang(ctx context.Context) int {
	<-ctx.Done()
	return http.StatusOK
}

func unansweredComesAgain(ctx context.Context, open Open) error {
	answer := func(ctx context.Context, p Push) int {
		if p.Nth == 1 {
			return hang(ctx)
		}
		return http.StatusOK
	}
	return with(ctx, open, answer, func(h *Harness, e *Endpoint) error {
		if err := h.rings(ctx, 0, 1); err != nil {
			return err
		}
		pushes, err := e.until(ctx, "the redelivery", atLeast(2))
		if err != nil {
			return err
		}
		if pushes[1].Attempt != 2 {
			return fmt.Errorf("the second delivery says attempt %d", pushes[1].Attempt)
		}
		return e.quiet(ctx, h.Quiet, 2)
	})
}

// bad is the message that the endpoints below refuse for ever, or until told otherwise.
var bad = events.Message{Connection: "bad", Deep: true}

type switchable struct {
	mu     sync.Mutex
	accept bool
}

func (s *switchable) turn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accept = true
}

func (s *switchable) answer(context.Context, Push) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accept {
		return http.StatusOK
	}
	return http.StatusInternalServerError
}

// dead waits until there are n dead letters.
func (h *Harness) dead(ctx context.Context, n int) ([]events.DeadLetter, error) {
	for until := time.Now().Add(patience); ; {
		letters, err := h.DeadLetters(ctx)
		if err != nil || len(letters) == n {
			return letters, err
		}
		if time.Now().After(until) {
			return nil, fmt.Errorf("there are %d dead letters, want %d", len(letters), n)
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// bury publishes bad and waits until it is a dead letter.
func (h *Harness) bury(ctx context.Context, e *Endpoint) (events.DeadLetter, error) {
	if err := h.Publisher.Publish(ctx, events.Rings, bad); err != nil {
		return events.DeadLetter{}, err
	}
	if _, err := e.until(ctx, "all attempts", atLeast(h.Attempts)); err != nil {
		return events.DeadLetter{}, err
	}
	letters, err := h.dead(ctx, 1)
	if err != nil {
		return events.DeadLetter{}, err
	}
	return letters[0], nil
}

func deadLetter(ctx context.Context, open Open) error {
	return with(ctx, open, new(switchable).answer, func(h *Harness, e *Endpoint) error {
		letter, err := h.bury(ctx, e)
		if err != nil {
			return err
		}
		if err := legible(letter, h.Attempts); err != nil {
			return err
		}
		if again, err := h.dead(ctx, 1); err != nil || again[0].ID == "" {
			return fmt.Errorf("reading a dead letter twice: %v, %w", again, err)
		}
		return e.quiet(ctx, h.Quiet, h.Attempts)
	})
}

func legible(letter events.DeadLetter, attempts int) error {
	var m events.Message
	if err := json.Unmarshal(letter.Data, &m); err != nil {
		return fmt.Errorf("the dead letter cannot be read: %w", err)
	}
	if m != bad || letter.Topic != events.Rings || letter.Attempts != attempts || letter.Published.IsZero() {
		return fmt.Errorf("the dead letter is %+v with %+v", letter, m)
	}
	return nil
}

func replay(ctx context.Context, open Open) error {
	s := new(switchable)
	return with(ctx, open, s.answer, func(h *Harness, e *Endpoint) error {
		letter, err := h.bury(ctx, e)
		if err != nil {
			return err
		}
		if h.Replay(ctx, "none-of-ours") == nil {
			return errors.New("an unknown dead letter was replayed")
		}
		s.turn()
		return h.replay(ctx, e, letter)
	})
}

// replay replays a dead letter for which all attempts have been made before, and sees it delivered.
func (h *Harness) replay(ctx context.Context, e *Endpoint, letter events.DeadLetter) error {
	if err := h.Replay(ctx, letter.ID); err != nil {
		return err
	}
	pushes, err := e.until(ctx, "the replayed message", atLeast(h.Attempts+1))
	if err != nil {
		return err
	}
	// A pull that was killed may have taken the first attempt with it.
	last := pushes[h.Attempts]
	if last.Message != bad || last.Topic != events.Rings || last.Attempt >= h.Attempts {
		return fmt.Errorf("the replayed message is %+v", last)
	}
	if _, err := h.dead(ctx, 0); err != nil {
		return err
	}
	return e.quiet(ctx, h.Quiet, h.Attempts+1)
}

func deadLetterSurvives(ctx context.Context, open Open) error {
	s := new(switchable)
	return with(ctx, open, s.answer, func(h *Harness, e *Endpoint) error {
		if _, err := h.bury(ctx, e); err != nil {
			return err
		}
		if err := h.Kill(); err != nil {
			return err
		}
		letters, err := h.dead(ctx, 1)
		if err != nil {
			return err
		}
		if err := legible(letters[0], h.Attempts); err != nil {
			return err
		}
		s.turn()
		return h.replay(ctx, e, letters[0])
	})
}

func publishedIsDurable(ctx context.Context, open Open) error {
	const n = 20
	s := new(switchable)
	return with(ctx, open, s.answer, func(h *Harness, e *Endpoint) error {
		if err := h.rings(ctx, 0, n); err != nil {
			return err
		}
		if err := h.Kill(); err != nil {
			return err
		}
		s.turn()
		before, err := e.all()
		if err != nil {
			return err
		}
		_, err = e.until(ctx, "every message after the restart", func(p []Push) bool {
			return distinct(p[len(before):], "ring-") == n
		})
		return err
	})
}

func killedComesAgain(ctx context.Context, open Open) error {
	answer := func(ctx context.Context, p Push) int {
		if p.Nth == 1 {
			return hang(ctx)
		}
		return http.StatusOK
	}
	return with(ctx, open, answer, func(h *Harness, e *Endpoint) error {
		if err := h.rings(ctx, 0, 1); err != nil {
			return err
		}
		if _, err := e.until(ctx, "the first push", atLeast(1)); err != nil {
			return err
		}
		if err := h.Kill(); err != nil {
			return err
		}
		pushes, err := e.until(ctx, "the push after the restart", atLeast(2))
		if err != nil {
			return err
		}
		if pushes[1].Message != ring(0) || pushes[1].Attempt < 2 {
			return fmt.Errorf("after the restart came %+v", pushes[1])
		}
		return nil
	})
}

func many(ctx context.Context, open Open) error {
	const publishers, each = 8, 15
	answer := func(ctx context.Context, _ Push) int {
		if wait(ctx, 20*time.Millisecond) != nil {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	}
	return with(ctx, open, answer, func(h *Harness, e *Endpoint) error {
		errs := make([]error, publishers)
		var wg sync.WaitGroup
		for i := range publishers {
			wg.Go(func() { errs[i] = h.rings(ctx, i*each, (i+1)*each) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		_, err := e.until(ctx, "every message", func(p []Push) bool { return distinct(p, "ring-") == publishers*each })
		if err != nil {
			return err
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.mostAtOnce < 2 || e.mostAtOnce > h.Concurrency {
			return fmt.Errorf("up to %d pushes at a time, want 2 to %d", e.mostAtOnce, h.Concurrency)
		}
		return nil
	})
}

func slowAlone(ctx context.Context, open Open) error {
	answered := make(chan struct{})
	answer := func(ctx context.Context, p Push) int {
		if p.Message != bad {
			return http.StatusOK
		}
		select {
		case <-answered:
		case <-ctx.Done():
		}
		return http.StatusOK
	}
	return with(ctx, open, answer, func(h *Harness, e *Endpoint) error {
		defer close(answered)
		return h.othersArrive(ctx, e)
	})
}

// othersArrive publishes bad and then others, which must arrive before bad comes a second time.
func (h *Harness) othersArrive(ctx context.Context, e *Endpoint) error {
	const others = 10
	if err := h.Publisher.Publish(ctx, events.Rings, bad); err != nil {
		return err
	}
	if _, err := e.until(ctx, "the bad one", atLeast(1)); err != nil {
		return err
	}
	if err := h.rings(ctx, 0, others); err != nil {
		return err
	}
	pushes, err := e.until(ctx, "the others", func(p []Push) bool { return distinct(p, "ring-") == others })
	if err != nil {
		return err
	}
	for _, p := range pushes {
		if p.Message == bad && p.Nth > 1 {
			return errors.New("the others came only after the bad one had come again")
		}
	}
	return nil
}

func refusedAlone(ctx context.Context, open Open) error {
	answer := func(_ context.Context, p Push) int {
		if p.Message == bad || p.Nth == 1 && p.Connection != "last" {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	}
	return with(ctx, open, answer, func(h *Harness, e *Endpoint) error {
		n := 2 * h.Concurrency
		if err := h.rings(ctx, 0, n); err != nil {
			return err
		}
		if err := h.Publisher.Publish(ctx, events.Rings, bad); err != nil {
			return err
		}
		if err := h.Publisher.Publish(ctx, events.Rings, events.Message{Connection: "last"}); err != nil {
			return err
		}
		_, err := e.until(ctx, "every message a second time and the last", func(p []Push) bool {
			return distinct(p, "last") == 1 && acknowledged(p) == n
		})
		return err
	})
}

// acknowledged counts the rings that came a second time.
func acknowledged(pushes []Push) int {
	n := 0
	for _, p := range pushes {
		if p.Nth == 2 && p.Message != bad {
			n++
		}
	}
	return n
}

func topicsApart(ctx context.Context, open Open) error {
	answer := func(ctx context.Context, p Push) int {
		if p.Topic == events.Rings {
			return hang(ctx)
		}
		return http.StatusOK
	}
	return with(ctx, open, answer, func(h *Harness, e *Endpoint) error {
		if err := h.rings(ctx, 0, h.Concurrency); err != nil {
			return err
		}
		if _, err := e.until(ctx, "as many rings as fit", atLeast(h.Concurrency)); err != nil {
			return err
		}
		session := events.Message{Session: "s"}
		if err := h.Publisher.Publish(ctx, events.Sessions, session); err != nil {
			return err
		}
		pushes, err := e.until(ctx, "the session", atLeast(h.Concurrency+1))
		if err == nil && pushes[h.Concurrency].Message != session {
			err = errors.New("a ring came again before the session came at all")
		}
		return err
	})
}

func unreachable(ctx context.Context, open Open) error {
	return with(ctx, open, acknowledge, func(h *Harness, _ *Endpoint) error {
		if err := h.Cut(); err != nil {
			return err
		}
		begun := time.Now()
		if h.Publisher.Publish(ctx, events.Rings, ring(0)) == nil {
			return errors.New("a message that no broker has counts as published")
		}
		if took := time.Since(begun); took > patience {
			return fmt.Errorf("the refusal took %s", took)
		}
		return nil
	})
}

func endedContext(ctx context.Context, open Open) error {
	return with(ctx, open, acknowledge, func(h *Harness, _ *Endpoint) error {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if err := h.Publisher.Publish(ended, events.Rings, ring(0)); !errors.Is(err, context.Canceled) {
			return fmt.Errorf("got %v, want context.Canceled", err)
		}
		return nil
	})
}

func unknownTopic(ctx context.Context, open Open) error {
	return with(ctx, open, acknowledge, func(h *Harness, _ *Endpoint) error {
		if h.Publisher.Publish(ctx, "nobodys", ring(0)) == nil {
			return errors.New("a message that nobody will ever get counts as published")
		}
		return nil
	})
}
