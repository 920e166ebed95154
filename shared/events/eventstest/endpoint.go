package eventstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/secret"
)

// Endpoint is the functions that a broker pushes to: topic rings at the path /rings, sessions at /sessions. It is an
// http.Handler; inside a bubble of testing/synctest a broker reaches it through Transport instead. It takes only what
// Token signed for the very URL, as the functions do, and every violation fails the check.
type Endpoint struct {
	answer func(ctx context.Context, p Push) int
	came   chan struct{} // one element while there may be news

	mu         sync.Mutex
	pushes     []Push
	running    int
	mostAtOnce int
	violations []error
}

// Push is one delivery that the endpoint got.
type Push struct {
	events.Delivery
	Topic events.Topic
	At    time.Time
	Nth   int // how many pushes of the same message there were, this one included
}

func newEndpoint(answer func(context.Context, Push) int) *Endpoint {
	return &Endpoint{answer: answer, came: make(chan struct{}, 1)}
}

// acknowledge is the answer of a function that takes everything.
func acknowledge(context.Context, Push) int { return http.StatusNoContent }

// Token is the token source that brokers sign with.
func (e *Endpoint) Token(_ context.Context, audience string) (secret.String, error) {
	return secret.New(token(audience)), nil
}

func token(audience string) string { return "signed for " + audience }

// ServeHTTP implements http.Handler.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, status, err := e.read(r)
	if err != nil {
		e.mu.Lock()
		e.violations = append(e.violations, err)
		e.mu.Unlock()
		e.ring()
		w.WriteHeader(status)
		return
	}
	e.begin(&p)
	status = e.answer(r.Context(), p)
	e.mu.Lock()
	e.running--
	e.mu.Unlock()
	w.WriteHeader(status)
}

func (e *Endpoint) read(r *http.Request) (p Push, status int, err error) {
	want := "Bearer " + token("http://"+r.Host+r.URL.Path)
	if got := r.Header.Values("Authorization"); len(got) != 1 || got[0] != want {
		return Push{}, http.StatusUnauthorized, fmt.Errorf("a push to %s is not signed for that URL", r.URL.Path)
	}
	if r.Method != http.MethodPost {
		return Push{}, http.StatusMethodNotAllowed, fmt.Errorf("a push with %s", r.Method)
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 1<<20))
	if err != nil {
		return Push{}, http.StatusBadRequest, fmt.Errorf("a push without a whole body: %w", err)
	}
	d, err := events.Decode(body)
	if err != nil {
		return Push{}, http.StatusBadRequest, err
	}
	if d.ID == "" || d.Attempt < 1 {
		return Push{}, http.StatusBadRequest, fmt.Errorf("a push with id %q and attempt %d", d.ID, d.Attempt)
	}
	return Push{Delivery: d, Topic: events.Topic(path.Base(r.URL.Path)), At: time.Now()}, 0, nil
}

func (e *Endpoint) begin(p *Push) {
	e.mu.Lock()
	p.Nth = 1
	for _, other := range e.pushes {
		if other.Message == p.Message && other.Topic == p.Topic {
			p.Nth++
		}
	}
	e.pushes = append(e.pushes, *p)
	e.running++
	e.mostAtOnce = max(e.mostAtOnce, e.running)
	e.mu.Unlock()
	e.ring()
}

func (e *Endpoint) ring() {
	select {
	case e.came <- struct{}{}:
	default:
	}
}

// all returns the pushes so far, or the first violation.
func (e *Endpoint) all() ([]Push, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]Push(nil), e.pushes...), errors.Join(e.violations...)
}

// patience bounds how long a check waits for what must come; it is long, since on a busy machine all takes longer.
const patience = time.Minute

// until waits for pushes that satisfy enough.
func (e *Endpoint) until(ctx context.Context, what string, enough func([]Push) bool) ([]Push, error) {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		pushes, err := e.all()
		if err != nil || enough(pushes) {
			return pushes, err
		}
		select {
		case <-e.came:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timeout.C:
			return nil, fmt.Errorf("waited for %s; %d pushes came", what, len(pushes))
		}
	}
}

// quiet fails if more pushes than n have come after d.
func (e *Endpoint) quiet(ctx context.Context, d time.Duration, n int) error {
	if err := wait(ctx, d); err != nil {
		return err
	}
	pushes, err := e.all()
	if err == nil && len(pushes) != n {
		err = fmt.Errorf("%d pushes came, want %d", len(pushes), n)
	}
	return err
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Transport reaches the endpoint without a network.
func (e *Endpoint) Transport() http.RoundTripper { return direct{e} }

type direct struct{ handler http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	answered := make(chan *http.Response, 1)
	served := r.Clone(r.Context())
	served.Host = r.URL.Host
	go func() {
		w := httptest.NewRecorder()
		d.handler.ServeHTTP(w, served)
		answered <- w.Result()
	}()
	select {
	case response := <-answered:
		return response, nil
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
}

// distinct counts the different messages whose text begins with prefix.
func distinct(pushes []Push, prefix string) int {
	seen := map[events.Message]bool{}
	for _, p := range pushes {
		if strings.HasPrefix(p.Connection, prefix) {
			seen[p.Message] = true
		}
	}
	return len(seen)
}
