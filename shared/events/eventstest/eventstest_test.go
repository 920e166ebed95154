package eventstest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/events/eventstest"
	"github.com/bkper/automations-portal/shared/events/sqlite"
	"github.com/bkper/automations-portal/shared/secret"
)

// fault alters a right broker, the embedded queue, into one that breaks one rule. Nil fields leave it right.
type fault struct {
	config  func(*sqlite.Config)
	request func(body map[string]any, r *http.Request)
	answer  func(*http.Response, error) (*http.Response, error)
	harness func(*eventstest.Harness)
	publish func(events.Publisher) events.Publisher
	restart func(path string) string
}

// altered alters pushes and their answers; base reaches the endpoint.
type altered struct {
	fault
	base http.RoundTripper
}

func (a altered) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.request != nil {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		a.request(body, r)
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	}
	response, err := a.base.RoundTrip(r)
	if a.answer != nil {
		return a.answer(response, err)
	}
	return response, err
}

type broker struct {
	*sqlite.Queue
	cancel context.CancelFunc
	ended  chan struct{}
}

func start(ctx context.Context, path string, c sqlite.Config) (*broker, error) {
	q, err := sqlite.Open(ctx, path, c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	b := &broker{q, cancel, make(chan struct{})}
	go func() {
		defer close(b.ended)
		q.Run(ctx)
	}()
	return b, nil
}

func (b *broker) kill() {
	b.Close()
	b.cancel()
	<-b.ended
}

func (f fault) open(t *testing.T) eventstest.Open {
	return func(ctx context.Context, e *eventstest.Endpoint) (*eventstest.Harness, error) {
		path := filepath.Join(t.TempDir(), "portal.db")
		c := sqlite.Config{
			Targets:    map[events.Topic]string{events.Rings: "http://portal.test/rings", events.Sessions: "http://portal.test/sessions"},
			Token:      e.Token,
			Transport:  altered{f, e.Transport()},
			MinBackoff: time.Second, MaxBackoff: 10 * time.Second, MaxAttempts: 5, Concurrency: 4,
			Log: slog.New(slog.DiscardHandler),
		}
		h := &eventstest.Harness{Attempts: 5, Concurrency: 4, MinBackoff: time.Second, Quiet: 30 * time.Second}
		if f.config != nil {
			f.config(&c)
		}
		b, err := start(ctx, path, c)
		if err != nil {
			return nil, err
		}
		use := func() {
			h.Publisher, h.DeadLetters, h.Replay, h.Cut = b, b.DeadLetters, b.Replay, b.Close
			if f.publish != nil {
				h.Publisher = f.publish(b)
			}
			if f.harness != nil {
				f.harness(h)
			}
		}
		h.Close = func() { b.kill() }
		h.Kill = func() (err error) {
			b.kill()
			if f.restart != nil {
				path = f.restart(path)
			}
			b, err = start(ctx, path, c)
			use()
			return err
		}
		use()
		return h, nil
	}
}

// firstFailing runs the checks until one sees the fault.
func firstFailing(t *testing.T, f fault) (seen error) {
	for _, c := range eventstest.Checks() {
		synctest.Test(t, func(t *testing.T) { seen = c.Run(t.Context(), f.open(t)) })
		if seen != nil {
			t.Logf("seen by %q: %v", c.Name, seen)
			return seen
		}
	}
	return nil
}

func TestARightBrokerPassesEveryCheck(t *testing.T) {
	if err := firstFailing(t, fault{request: func(map[string]any, *http.Request) {}}); err != nil {
		t.Error(err)
	}
}

// late is a publisher that writes a message down only after it has said that it did.
type late struct{ events.Publisher }

func (l late) Publish(ctx context.Context, topic events.Topic, m events.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if topic != events.Rings && topic != events.Sessions {
		return errors.New("no such topic")
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = l.Publisher.Publish(ctx, topic, m) })
	return nil
}

// sure is a publisher that never admits a failure.
type sure struct{ events.Publisher }

func (s sure) Publish(ctx context.Context, topic events.Topic, m events.Message) error {
	_ = s.Publisher.Publish(ctx, topic, m)
	return ctx.Err()
}

// deaf is a publisher that does not hear that its caller has gone.
type deaf struct{ events.Publisher }

func (d deaf) Publish(ctx context.Context, topic events.Topic, m events.Message) error {
	return d.Publisher.Publish(context.WithoutCancel(ctx), topic, m)
}

// shallow is a publisher that loses a field.
type shallow struct{ events.Publisher }

func (s shallow) Publish(ctx context.Context, topic events.Topic, m events.Message) error {
	m.Deep = false
	return s.Publisher.Publish(ctx, topic, m)
}

func acknowledged() *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
}

func configure(change func(*sqlite.Config)) fault { return fault{config: change} }

func publish(wrap func(events.Publisher) events.Publisher) fault { return fault{publish: wrap} }

func letters(change func(*events.DeadLetter)) fault {
	return fault{harness: func(h *eventstest.Harness) {
		read := h.DeadLetters
		h.DeadLetters = func(ctx context.Context) ([]events.DeadLetter, error) {
			all, err := read(ctx)
			for i := range all {
				change(&all[i])
			}
			return all, err
		}
	}}
}

func sendsTwice(base http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		for range 2 {
			r = r.Clone(r.Context())
			r.Body = io.NopCloser(bytes.NewReader(body))
			if response, err := base.RoundTrip(r); err != nil || response.StatusCode >= 300 {
				return response, err
			}
		}
		return acknowledged(), nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func message(body map[string]any) map[string]any { return body["message"].(map[string]any) }

var violations = map[string]fault{
	"says published before the message is durable": publish(func(p events.Publisher) events.Publisher { return late{p} }),
	"says published although the broker is down":   publish(func(p events.Publisher) events.Publisher { return sure{p} }),
	"publishes after the context ended":            publish(func(p events.Publisher) events.Publisher { return deaf{p} }),
	"loses a field":                                publish(func(p events.Publisher) events.Publisher { return shallow{p} }),
	"drops what is refused with 5xx": {answer: func(r *http.Response, err error) (*http.Response, error) {
		if err == nil && r.StatusCode >= 500 {
			return acknowledged(), nil
		}
		return r, err
	}},
	"drops what is refused with 4xx": {answer: func(r *http.Response, err error) (*http.Response, error) {
		if err == nil && r.StatusCode >= 400 && r.StatusCode < 500 {
			return acknowledged(), nil
		}
		return r, err
	}},
	"drops what is not answered in time": {answer: func(r *http.Response, err error) (*http.Response, error) {
		if err != nil {
			return acknowledged(), nil
		}
		return r, err
	}},
	"takes 202 for a refusal": {answer: func(r *http.Response, err error) (*http.Response, error) {
		if err == nil && r.StatusCode == http.StatusAccepted {
			r.StatusCode = http.StatusServiceUnavailable
		}
		return r, err
	}},
	"waits for an answer for ever": configure(func(c *sqlite.Config) { c.Deadline = 10 * time.Minute }),
	"pushes without a token":       {request: func(_ map[string]any, r *http.Request) { r.Header.Del("Authorization") }},
	"pushes with the token of another audience": configure(func(c *sqlite.Config) {
		sign := c.Token
		c.Token = func(ctx context.Context, _ string) (secret.String, error) { return sign(ctx, "http://portal.test") }
	}),
	"pushes to the other topic's endpoint": configure(func(c *sqlite.Config) {
		c.Targets = map[events.Topic]string{events.Rings: c.Targets[events.Sessions], events.Sessions: c.Targets[events.Rings]}
	}),
	"pushes what was acknowledged again": configure(func(c *sqlite.Config) { c.Transport = sendsTwice(c.Transport) }),
	"counts no attempts":                 {request: func(body map[string]any, _ *http.Request) { body["deliveryAttempt"] = 1 }},
	"says no attempt":                    {request: func(body map[string]any, _ *http.Request) { delete(body, "deliveryAttempt") }},
	"gives every message one id":         {request: func(body map[string]any, _ *http.Request) { message(body)["messageId"] = "1" }},
	"sends data that is no message":      {request: func(body map[string]any, _ *http.Request) { message(body)["data"] = "e30x" }},
	"never backs off": configure(func(c *sqlite.Config) {
		c.MinBackoff, c.MaxBackoff = time.Nanosecond, time.Nanosecond
	}),
	"backs off by the same pause for ever": configure(func(c *sqlite.Config) { c.MaxBackoff = c.MinBackoff }),
	"never gives up":                       configure(func(c *sqlite.Config) { c.MaxAttempts = 1_000 }),
	"gives up early":                       configure(func(c *sqlite.Config) { c.MaxAttempts = 3 }),
	"pushes one at a time":                 configure(func(c *sqlite.Config) { c.Concurrency = 1 }),
	"pushes without a bound":               configure(func(c *sqlite.Config) { c.Concurrency = 1_000 }),
	"keeps no dead letters": {harness: func(h *eventstest.Harness) {
		h.DeadLetters = func(context.Context) ([]events.DeadLetter, error) { return nil, nil }
	}},
	"keeps dead letters that cannot be read": letters(func(d *events.DeadLetter) { d.Data = d.Data[1:] }),
	"forgets the topic of dead letters":      letters(func(d *events.DeadLetter) { d.Topic = "" }),
	"forgets the attempts of dead letters":   letters(func(d *events.DeadLetter) { d.Attempts = 0 }),
	"replays nothing": {harness: func(h *eventstest.Harness) {
		replay := h.Replay
		h.Replay = func(ctx context.Context, id string) error {
			if _, err := strconv.Atoi(id); err != nil {
				return replay(ctx, id)
			}
			return nil
		}
	}},
	"replays and keeps the dead letter": {harness: func(h *eventstest.Harness) {
		h.Replay = func(ctx context.Context, id string) error {
			if strings.HasPrefix(id, "none") {
				return errors.New("unknown")
			}
			return h.Publisher.Publish(ctx, events.Rings, events.Message{Connection: "bad", Deep: true})
		}
	}},
	"replays what does not exist": {harness: func(h *eventstest.Harness) {
		replay := h.Replay
		h.Replay = func(ctx context.Context, id string) error {
			_ = replay(ctx, id)
			return nil
		}
	}},
	"forgets everything at a restart": {restart: func(path string) string { return path + "2" }},
}

func TestEveryPlantedViolationIsCaught(t *testing.T) {
	for name, f := range violations {
		t.Run(name, func(t *testing.T) {
			if firstFailing(t, f) == nil {
				t.Error("no check sees it")
			}
		})
	}
}
