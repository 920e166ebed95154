package pluggy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// How Pluggy delivers: anything but 2xx within five seconds is tried again, three times at once, three times later, three
// times later still.
const (
	hookTimeout  = 5 * time.Second
	hookBurst    = 3
	hookBursts   = 3
	hooksAtOnce  = 8
	hookRecord   = 200 // deliveries that are remembered for whoever asks
	mostPerEvent = 5
	publicAPI    = "https://api.pluggy.ai"
)

// hookEvents are what a webhook may listen to, besides all and item/all.
var hookEvents = []string{
	"item/created", "item/updated", "item/error", "item/deleted", "item/waiting_user_input", "item/waiting_user_action",
	"item/login_succeeded", "connector/status_updated", "transactions/created", "transactions/updated", "transactions/deleted",
}

// Mischief is what the network and forgers do to the next webhooks. The counts are used up one by one.
type Mischief struct {
	Drop          int  `json:"drop"`                // events that somebody listens to and that reach nobody
	Duplicate     int  `json:"duplicate"`           // events that come twice
	NoHeaders     int  `json:"no_headers"`          // deliveries whose first attempt comes without the webhook's headers
	DelayMillis   int  `json:"delay_ms"`            // of every event, until changed
	HoldOddMillis int  `json:"hold_every_other_ms"` // so that later ones overtake, until changed
	Reverse       bool `json:"reverse"`             // what comes up together is sent newest first, until changed
}

// subscription is a webhook of a client.
type subscription struct {
	ID       string            `json:"id"`
	Client   string            `json:"client"`
	URL      string            `json:"url"`
	Event    string            `json:"event"`
	Headers  map[string]string `json:"headers"`
	Created  time.Time         `json:"created"`
	Updated  time.Time         `json:"updated"`
	Disabled time.Time         `json:"disabled,omitzero"`
	Lost     int               `json:"lost"` // events in a row whose attempts all failed
}

func (w *subscription) listens(e Event) bool {
	return w.Disabled.IsZero() && (e.Client == "" || e.Client == w.Client) &&
		(w.Event == "all" || w.Event == e.Name || w.Event == "item/all" && strings.HasPrefix(e.Name, "item/"))
}

func (w *subscription) json() map[string]any {
	headers := w.Headers
	if headers == nil {
		headers = map[string]string{}
	}
	return map[string]any{
		"id": w.ID, "url": w.URL, "event": w.Event, "headers": headers, "createdAt": timeOrNull(w.Created), "updatedAt": timeOrNull(w.Updated),
		"disabledAt": timeOrNull(w.Disabled),
	}
}

// delivery is an event on its way to one URL.
type delivery struct {
	ID      string    `json:"id"` // in the order in which they came up
	Event   string    `json:"event"`
	EventID string    `json:"event_id"`
	URL     string    `json:"url"`
	Webhook string    `json:"webhook,omitempty"` // id of the client's; empty is the item's
	Body    string    `json:"body"`
	Next    time.Time `json:"next"`
	Attempt int       `json:"attempt"` // made so far
	Bare    bool      `json:"bare,omitempty"`

	flying bool
}

// Delivered is what became of one attempt.
type Delivered struct {
	At      time.Time `json:"at"`
	Event   string    `json:"event"`
	EventID string    `json:"event_id"`
	Item    bool      `json:"item_level"`
	URL     string    `json:"url"`
	Attempt int       `json:"attempt"`
	Status  int       `json:"status"` // HTTP status; 0 where no answer came in time
}

// hooks is the clients' webhooks, the queue and its record. The Server's mutex guards it.
type hooks struct {
	delays   [2]time.Duration
	patience int
	links    string
	client   *http.Client
	mischief Mischief
	count    uint64
	own      map[string]*subscription
	queue    map[string]*delivery
	record   []Delivered
	dirty    map[string]any // what changed since the last save, by document id
}

func (h *hooks) init(o *Options) {
	h.delays, h.patience, h.links = o.RetryDelays, o.DisableAfter, cmp.Or(o.BaseURL, publicAPI)
	h.own, h.queue, h.dirty = map[string]*subscription{}, map[string]*delivery{}, map[string]any{}
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
		var err error
		switch kind, _, _ := strings.Cut(id, "/"); kind {
		case "hook":
			d := &delivery{}
			err = json.Unmarshal(body, d)
			h.queue[d.ID] = d
			n, _ := strconv.ParseUint(d.ID, 10, 64) // written by enqueue
			h.count = max(h.count, n)
		case "webhook":
			w := &subscription{}
			err = json.Unmarshal(body, w)
			h.own[w.ID] = w
		}
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
	}
	return nil
}

func (h *hooks) keep(w *subscription) {
	h.own[w.ID] = w
	h.dirty["webhook/"+w.ID] = w
}

// use takes one from a count of the mischief.
func use(n *int) bool {
	if *n == 0 {
		return false
	}
	*n--
	return true
}

// enqueue sends an event to the client's webhooks that listen to it, and to the item's own.
func (h *hooks) enqueue(e Event, now time.Time) {
	listening := slices.DeleteFunc(h.sorted(), func(w *subscription) bool { return !w.listens(e) })
	if len(listening) == 0 && e.ItemURL == "" || use(&h.mischief.Drop) {
		return
	}
	body, err := e.body(h.links)
	if err != nil {
		panic("pluggy sandbox: webhook that is not JSON: " + err.Error())
	}
	copies := 1
	if use(&h.mischief.Duplicate) {
		copies = 2
	}
	for range copies {
		for _, w := range listening {
			h.add(e, w.URL, w.ID, body, now)
		}
		if e.ItemURL != "" {
			h.add(e, e.ItemURL, "", body, now)
		}
	}
}

func (h *hooks) add(e Event, to, webhook string, body []byte, now time.Time) {
	m := &h.mischief
	h.count++
	d := &delivery{
		ID: fmt.Sprintf("%020d", h.count), Event: e.Name, EventID: e.ID, URL: to, Webhook: webhook, Body: string(body),
		Next: now.Add(time.Duration(m.DelayMillis) * time.Millisecond), Bare: use(&m.NoHeaders),
	}
	if h.count%2 == 1 {
		d.Next = d.Next.Add(time.Duration(m.HoldOddMillis) * time.Millisecond)
	}
	h.queue[d.ID] = d
	h.dirty["hook/"+d.ID] = d
}

// sorted are the clients' webhooks in the order in which they were made.
func (h *hooks) sorted() []*subscription {
	return slices.SortedFunc(maps.Values(h.own), func(x, y *subscription) int {
		return cmp.Or(x.Created.Compare(y.Created), strings.Compare(x.ID, y.ID))
	})
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
	if h.mischief.Reverse {
		slices.Reverse(send)
	}
	for _, d := range send {
		d.flying = true
	}
	return send, next
}

// headers are those that an attempt carries beside Pluggy's.
func (h *hooks) headers(d *delivery) map[string]string {
	if w := h.own[d.Webhook]; w != nil && (!d.Bare || d.Attempt > 0) {
		return maps.Clone(w.Headers)
	}
	return nil
}

// settle notes the outcome of an attempt and plans the next one, if any.
func (h *hooks) settle(d *delivery, status int, now time.Time) {
	d.flying = false
	d.Attempt++
	h.record = append(h.record, Delivered{now, d.Event, d.EventID, d.Webhook == "", d.URL, d.Attempt, status})
	h.record = h.record[max(0, len(h.record)-hookRecord):]
	most := hookBurst * hookBursts
	if d.Event == "item/login_succeeded" {
		most = hookBurst
	}
	done := status >= 200 && status < 300
	if !done && d.Attempt < most {
		d.Next = now
		if d.Attempt%hookBurst == 0 {
			d.Next = now.Add(h.delays[d.Attempt/hookBurst-1])
		}
		h.dirty["hook/"+d.ID] = d
		return
	}
	delete(h.queue, d.ID)
	h.dirty["hook/"+d.ID] = nil
	if w := h.own[d.Webhook]; w != nil {
		h.judge(w, done, now)
	}
}

// judge disables a webhook that lost too many events in a row; what still waits for it is not sent.
func (h *hooks) judge(w *subscription, done bool, now time.Time) {
	w.Lost++
	if done {
		w.Lost = 0
	}
	if w.Lost >= h.patience {
		w.Disabled = now
		h.cancel(w.ID)
	}
	h.keep(w)
}

// cancel gives up what waits for a webhook.
func (h *hooks) cancel(webhook string) {
	for id, d := range h.queue {
		if d.Webhook == webhook && !d.flying {
			delete(h.queue, id)
			h.dirty["hook/"+id] = nil
		}
	}
}

// Run sends the webhooks, and moves items whose time has come, until ctx ends; it then waits for the attempts under way and
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
			s.log.Error("sandbox Pluggy: keep the state", "error", err)
		}
	}
	now := s.bank.now()
	send, next := s.hooks.due(now)
	wait := time.Hour
	if !next.IsZero() {
		wait = min(wait, next.Sub(now))
	}
	if due := s.bank.Due(); !due.IsZero() {
		wait = min(wait, due.Sub(now))
	}
	return send, max(wait, time.Millisecond)
}

// deliver makes one attempt. An attempt that the end of ctx cut short does not count.
func (s *Server) deliver(ctx context.Context, d *delivery) {
	s.mu.Lock()
	headers := s.hooks.headers(d)
	s.mu.Unlock()
	status := s.post(ctx, d, headers)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil && status == 0 {
		d.flying = false
		return
	}
	s.hooks.settle(d, status, s.bank.now())
	if err := s.commit(); err != nil {
		s.log.Error("sandbox Pluggy: keep the state", "error", err)
	}
}

func (s *Server) post(ctx context.Context, d *delivery, headers map[string]string) (status int) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader([]byte(d.Body)))
	if err != nil {
		return 0
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Pluggy-Webhook-Sandbox/1.0")
	resp, err := s.hooks.client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)) // only the status counts; reading lets the connection be used again
	return resp.StatusCode
}

// checkHook applies Pluggy's rules for the address of a webhook.
func (s *Server) checkHook(raw string) error {
	u, err := url.Parse(raw)
	local := s.opts.LocalWebhooks
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && !(local && u.Scheme == "http"):
		return badRequest("url must be an https URL")
	case !local && !public(u.Hostname()):
		return badRequest("url must have a public host")
	}
	return nil
}

func public(host string) bool {
	return net.ParseIP(host) == nil && strings.Contains(host, ".") && !strings.HasSuffix(host, ".local") &&
		!strings.HasSuffix(host, ".internal") && !strings.HasSuffix(host, ".localhost")
}

type webhookRequest struct {
	Event   *string        `json:"event"`
	URL     *string        `json:"url"`
	Headers jsontext.Value `json:"headers"`
	Enabled *bool          `json:"enabled"`
}

func (s *Server) webhookRoutes() {
	endpoint(s, "POST /webhooks", keyOnly, "", func(c *call, in webhookRequest) (any, error) {
		if in.Event == nil || in.URL == nil || in.Enabled != nil {
			return nil, badRequest("event and url should not be null or undefined, property enabled should not exist")
		}
		w := &subscription{ID: uuid.NewString(), Client: c.client, Created: c.now}
		if err := s.change(w, in, c.now); err != nil {
			return nil, err
		}
		return createdBody{w.json()}, nil
	})
	endpoint(s, "GET /webhooks", keyOnly, "", func(c *call, _ struct{}) (any, error) {
		out := []map[string]any{}
		for _, w := range s.hooks.sorted() {
			if w.Client == c.client {
				out = append(out, w.json())
			}
		}
		if len(out) == 0 {
			return nothing{}, nil
		}
		return pageJSON(out), nil
	})
	endpoint(s, "GET /webhooks/{id}", keyOnly, "", func(c *call, _ struct{}) (any, error) {
		w, err := s.webhookOf(c)
		if err != nil {
			return nil, err
		}
		return w.json(), nil
	})
	endpoint(s, "PATCH /webhooks/{id}", keyOnly, "", func(c *call, in webhookRequest) (any, error) {
		w, err := s.webhookOf(c)
		if err == nil {
			err = s.change(w, in, c.now)
		}
		if err != nil {
			return nil, err
		}
		return s.hooks.own[w.ID].json(), nil
	})
	endpoint(s, "DELETE /webhooks/{id}", keyOnly, "", func(c *call, _ struct{}) (any, error) {
		w, err := s.webhookOf(c)
		if err != nil {
			return nil, err
		}
		delete(s.hooks.own, w.ID)
		s.hooks.dirty["webhook/"+w.ID] = nil
		s.hooks.cancel(w.ID)
		return map[string]any{"count": 1}, nil
	})
}

func (s *Server) webhookOf(c *call) (*subscription, error) {
	if w := s.hooks.own[c.PathValue("id")]; w != nil && w.Client == c.client {
		return w, nil
	}
	return nil, notFound("WEBHOOK", "webhook not found")
}

// change puts a request into a copy of a webhook and keeps that, if it may be.
func (s *Server) change(w *subscription, in webhookRequest, now time.Time) error {
	changed := *w
	if in.Event != nil {
		changed.Event = *in.Event
	}
	if in.URL != nil {
		changed.URL = *in.URL
	}
	if len(in.Headers) > 0 {
		changed.Headers = nil
		if err := json.Unmarshal(in.Headers, &changed.Headers); err != nil {
			return badRequest("headers must be an object of strings")
		}
	}
	if in.Enabled != nil {
		if !*in.Enabled {
			return badRequest("enabled must be true")
		}
		changed.Disabled, changed.Lost = time.Time{}, 0
	}
	if err := s.mayListen(&changed); err != nil {
		return err
	}
	changed.Updated = now
	*w = changed
	s.hooks.keep(w)
	return nil
}

func (s *Server) mayListen(w *subscription) error {
	if w.Event != "all" && w.Event != "item/all" && !slices.Contains(hookEvents, w.Event) {
		return badRequest("event must be one of the following values: all, %s", strings.Join(hookEvents, ", "))
	}
	if err := s.checkHook(w.URL); err != nil {
		return err
	}
	same := 0
	for _, other := range s.hooks.own {
		if other.ID == w.ID || other.Client != w.Client || other.Event != w.Event {
			continue
		}
		if same++; other.URL == w.URL {
			return badRequest("A webhook for this event and url exists already")
		}
	}
	if same >= mostPerEvent {
		return badRequest("At most %d webhooks are allowed for an event", mostPerEvent)
	}
	return nil
}
