package plaid

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How Plaid delivers (https://plaid.com/docs/api/webhooks/#webhook-retries): anything but 200 within ten seconds is
// repeated for a day.
const (
	hookTimeout    = 10 * time.Second
	hookFactor     = 4
	hookAttempts   = 7 // the first and six repetitions: 30 s, 2 m, 8 m, 32 m, 2 h 8 m, 8 h 32 m
	mostRetryAfter = 4 * time.Hour
	hooksAtOnce    = 8
	hookRecord     = 200 // deliveries that are remembered for whoever asks
	staleBy        = 10 * time.Minute
)

// Mischief is what the network and forgers do to the next webhooks. The counts are used up one by one; a wrong signature
// or a stale iat spoils the first attempt only, so that the repetition shows whether the receiver still takes good ones.
type Mischief struct {
	Drop           int  `json:"drop"`
	Duplicate      int  `json:"duplicate"`
	WrongSignature int  `json:"wrong_signature"`
	StaleIAT       int  `json:"stale_iat"`
	DelayMillis    int  `json:"delay_ms"`            // of every webhook, until changed
	HoldOddMillis  int  `json:"hold_every_other_ms"` // so that later ones overtake, until changed
	KeepSignature  bool `json:"keep_signature"`      // repetitions carry the first signature, until changed
}

// delivery is a webhook on its way to its URL.
type delivery struct {
	ID      string    `json:"id"` // in the order in which they came up
	URL     string    `json:"url"`
	Type    string    `json:"type"`
	Code    string    `json:"code"`
	Item    string    `json:"item,omitempty"`
	Body    string    `json:"body"`
	Next    time.Time `json:"next"`
	Attempt int       `json:"attempt"` // made so far
	Wrong   bool      `json:"wrong,omitempty"`
	Stale   bool      `json:"stale,omitempty"`
	First   string    `json:"first,omitempty"` // signature of the first attempt

	flying bool
}

// Delivered is what became of one attempt.
type Delivered struct {
	At      time.Time `json:"at"`
	Type    string    `json:"webhook_type"`
	Code    string    `json:"webhook_code"`
	Item    string    `json:"item_id,omitempty"`
	URL     string    `json:"url"`
	Attempt int       `json:"attempt"`
	Status  int       `json:"status"` // HTTP status; 0 where no answer came
}

// hooks is the queue of webhooks, its keys and its record. The Server's mutex guards it.
type hooks struct {
	base     time.Duration
	client   *http.Client
	mischief Mischief
	count    uint64
	queue    map[string]*delivery
	keys     []*signingKey // the last one signs
	record   []Delivered
	dirty    map[string]any // what changed since the last save, by document id
}

func (h *hooks) init(o Options) {
	h.base = o.RetryBase
	h.queue = map[string]*delivery{}
	h.dirty = map[string]any{}
	client := http.Client{}
	if o.HTTP != nil {
		client = *o.HTTP
	}
	client.Timeout = hookTimeout
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	h.client = &client
}

func (h *hooks) restore(docs map[string]json.RawMessage) error {
	for id, body := range docs {
		switch kind, _, _ := strings.Cut(id, "/"); kind {
		case "hook":
			d := &delivery{}
			if err := json.Unmarshal(body, d); err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			h.queue[d.ID] = d
			if n, err := strconv.ParseUint(d.ID, 10, 64); err == nil {
				h.count = max(h.count, n)
			}
		case "key":
			k := &signingKey{}
			if err := json.Unmarshal(body, k); err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			if err := k.load(); err != nil {
				return err
			}
			h.keys = append(h.keys, k)
		}
	}
	slices.SortFunc(h.keys, func(x, y *signingKey) int { return x.Created.Compare(y.Created) })
	return nil
}

// ensureKey makes the first key.
func (h *hooks) ensureKey(now time.Time) error {
	if len(h.keys) > 0 {
		return nil
	}
	return h.rotate(now)
}

// rotate makes a new key sign from now on.
func (h *hooks) rotate(now time.Time) error {
	k, err := newSigningKey(now)
	if err != nil {
		return err
	}
	h.keys = append(h.keys, k)
	h.dirty["key/"+k.ID] = k
	return nil
}

// expire ends the key that signs; it goes on signing until rotate.
func (h *hooks) expire(now time.Time) {
	k := h.keys[len(h.keys)-1]
	k.Expired = now
	h.dirty["key/"+k.ID] = k
}

func (h *hooks) key(id string) *signingKey {
	for _, k := range h.keys {
		if k.ID == id {
			return k
		}
	}
	return nil
}

// use takes one from a count of the mischief.
func use(n *int) bool {
	if *n == 0 {
		return false
	}
	*n--
	return true
}

func (h *hooks) enqueue(w Webhook) {
	m := &h.mischief
	if use(&m.Drop) {
		return
	}
	copies := 1
	if use(&m.Duplicate) {
		copies = 2
	}
	wait := time.Duration(m.DelayMillis) * time.Millisecond
	for range copies {
		h.count++
		d := &delivery{
			ID: fmt.Sprintf("%020d", h.count), URL: w.URL, Type: w.Type, Code: w.Code, Item: w.ItemID, Body: string(w.Body()),
			Next: time.Now().Add(wait), Wrong: use(&m.WrongSignature), Stale: use(&m.StaleIAT),
		}
		if h.count%2 == 1 {
			d.Next = d.Next.Add(time.Duration(m.HoldOddMillis) * time.Millisecond)
		}
		h.queue[d.ID] = d
		h.dirty["hook/"+d.ID] = d
	}
}

// due takes out what is to be sent now, oldest first, and says when to look again; the zero time is when woken.
func (h *hooks) due(now time.Time) (send []*delivery, next time.Time) {
	for _, d := range h.queue {
		switch {
		case d.flying:
		case !d.Next.After(now):
			send = append(send, d)
		case next.IsZero() || d.Next.Before(next):
			next = d.Next
		}
	}
	slices.SortFunc(send, func(x, y *delivery) int { return cmp.Or(x.Next.Compare(y.Next), strings.Compare(x.ID, y.ID)) })
	for _, d := range send {
		d.flying = true
	}
	return send, next
}

// header signs an attempt.
func (h *hooks) header(d *delivery, now time.Time) (string, error) {
	key, issued := h.keys[len(h.keys)-1], now
	if d.Attempt > 0 {
		if h.mischief.KeepSignature && d.First != "" {
			return d.First, nil
		}
		return key.sign([]byte(d.Body), issued)
	}
	if d.Stale {
		issued = now.Add(-staleBy)
	}
	if d.Wrong {
		forger, err := newSigningKey(now)
		if err != nil {
			return "", err
		}
		forger.ID = key.ID
		key = forger
	}
	header, err := key.sign([]byte(d.Body), issued)
	d.First = header
	return header, err
}

// settle notes the outcome of an attempt and plans the next one, if any.
func (h *hooks) settle(d *delivery, status int, retryAfter time.Duration, now time.Time) {
	d.flying = false
	d.Attempt++
	h.record = append(h.record, Delivered{now.UTC(), d.Type, d.Code, d.Item, d.URL, d.Attempt, status})
	h.record = h.record[max(0, len(h.record)-hookRecord):]
	if status == http.StatusOK || d.Attempt == hookAttempts {
		delete(h.queue, d.ID)
		h.dirty["hook/"+d.ID] = nil
		return
	}
	wait := h.base
	for range d.Attempt - 1 {
		wait *= hookFactor
	}
	if status == http.StatusTooManyRequests && retryAfter > 0 {
		wait = min(retryAfter, mostRetryAfter)
	}
	d.Next = now.Add(wait)
	h.dirty["hook/"+d.ID] = d
}

// Run sends the webhooks, and moves Items whose time has come, until ctx ends; it then waits for the attempts under way and
// returns nil. What was not delivered is delivered by the next Run, of another process too.
func (s *Server) Run(ctx context.Context) error {
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

// look ticks the bank and returns what is to be sent now and how long the next thing is away, an hour at most.
func (s *Server) look() ([]*delivery, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if due := s.bank.Due(); !due.IsZero() && !due.After(s.bank.now()) {
		s.bank.Tick()
		if err := s.commit(); err != nil {
			s.log.Error("sandbox Plaid: keep the state", "error", err)
		}
	}
	now := time.Now()
	send, next := s.hooks.due(now)
	wait := time.Hour
	if !next.IsZero() {
		wait = min(wait, next.Sub(now))
	}
	if due := s.bank.Due(); !due.IsZero() {
		wait = min(wait, due.Sub(s.bank.now()))
	}
	return send, max(wait, time.Millisecond)
}

// deliver makes one attempt. An attempt that the end of ctx cut short does not count.
func (s *Server) deliver(ctx context.Context, d *delivery) {
	s.mu.Lock()
	header, err := s.hooks.header(d, time.Now())
	s.mu.Unlock()
	if err != nil {
		s.log.Error("sandbox Plaid: sign a webhook", "error", err)
		return
	}
	status, retryAfter := s.post(ctx, d, header)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil && status == 0 {
		d.flying = false
		return
	}
	s.hooks.settle(d, status, retryAfter, time.Now())
	if err := s.commit(); err != nil {
		s.log.Error("sandbox Plaid: keep the state", "error", err)
	}
}

func (s *Server) post(ctx context.Context, d *delivery, header string) (status int, retryAfter time.Duration) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader([]byte(d.Body)))
	if err != nil {
		return 0, 0
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Plaid-Verification", header)
	req.Header.Set("User-Agent", "Plaid-Webhook-Sandbox/1.0")
	resp, err := s.hooks.client.Do(req)
	if err != nil {
		return 0, 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)) // only the status counts; reading lets the connection be used again
	return resp.StatusCode, parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())
}

// parseRetryAfter reads the three forms that Plaid honours: seconds, an HTTP date, an ISO 8601 time.
func parseRetryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(v); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return t.Sub(now)
	}
	if t, err := time.Parse(time.RFC3339, v); err == nil {
		return t.Sub(now)
	}
	return 0
}
