package pluggy

import (
	"cmp"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/provider"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// How Pluggy delivers: anything but 2xx within five seconds is tried again, three times at once, three times later, three
// times later still.
const (
	hookTimeout  = 5 * time.Second
	hookBurst    = 3
	hookBursts   = 3
	mostPerEvent = 5
	publicAPI    = "https://api.pluggy.ai"
)

// hookEvents are what a webhook may listen to, besides all and item/all.
var hookEvents = []string{
	"item/created", "item/updated", "item/error", "item/deleted", "item/waiting_user_input", "item/waiting_user_action",
	"item/login_succeeded", "connector/status_updated", "transactions/created", "transactions/updated", "transactions/deleted",
}

// Mischief is what the network and forgers do to the next webhooks. Events are dropped that somebody listens to.
type Mischief struct {
	provider.Mischief
	NoHeaders provider.Count `json:"no_headers"` // deliveries whose first attempt comes without the webhook's headers
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
	provider.Delivery
	Event   string `json:"event"`
	EventID string `json:"event_id"`
	Webhook string `json:"webhook,omitempty"` // id of the client's; empty is the item's
	Bare    bool   `json:"bare,omitempty"`
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

// hooks is the clients' webhooks, and says when they are repeated, as a provider.Sender. The lock of core guards it.
type hooks struct {
	core     *provider.Server[*delivery]
	bank     *Bank
	delays   [2]time.Duration
	patience int
	links    string
	mischief Mischief
	own      map[string]*subscription
}

func (h *hooks) keep(w *subscription) {
	h.own[w.ID] = w
	h.core.Changes.Put("webhook/"+w.ID, w)
}

// Drain queues what the Bank wants to tell.
func (h *hooks) Drain() {
	for _, e := range h.bank.Drain() {
		h.enqueue(e)
	}
}

// enqueue sends an event to the client's webhooks that listen to it, and to the item's own.
func (h *hooks) enqueue(e Event) {
	listening := slices.DeleteFunc(h.sorted(), func(w *subscription) bool { return !w.listens(e) })
	if len(listening) == 0 && e.ItemURL == "" {
		return
	}
	body, err := e.body(h.links)
	if err != nil {
		panic("pluggy sandbox: webhook that is not JSON: " + err.Error())
	}
	for range h.core.Webhooks.Copies() {
		for _, w := range listening {
			h.add(e, w.URL, w.ID, body)
		}
		if e.ItemURL != "" {
			h.add(e, e.ItemURL, "", body)
		}
	}
}

func (h *hooks) add(e Event, to, webhook string, body []byte) {
	h.core.Webhooks.Add(&delivery{
		Delivery: provider.Delivery{URL: to, Body: string(body)}, Event: e.Name, EventID: e.ID, Webhook: webhook,
		Bare: h.mischief.NoHeaders.Use(),
	})
}

// sorted are the clients' webhooks in the order in which they were made.
func (h *hooks) sorted() []*subscription {
	return slices.SortedFunc(maps.Values(h.own), func(x, y *subscription) int {
		return cmp.Or(x.Created.Compare(y.Created), strings.Compare(x.ID, y.ID))
	})
}

// Now is the Bank's clock.
func (h *hooks) Now() time.Time { return h.bank.now() }

// Header is what the client had put beside its webhook's URL.
func (h *hooks) Header(d *delivery) (http.Header, error) {
	header := http.Header{}
	if w := h.own[d.Webhook]; w != nil && (!d.Bare || d.Attempt > 0) {
		for name, value := range w.Headers {
			header.Set(name, value)
		}
	}
	return header, nil
}

// Settle repeats what was not taken, three by three, and counts what a webhook loses.
func (h *hooks) Settle(d *delivery, a provider.Answer) (record any, next time.Time) {
	now := h.Now()
	record = Delivered{now, d.Event, d.EventID, d.Webhook == "", d.URL, d.Attempt, a.Status}
	most := hookBurst * hookBursts
	if d.Event == "item/login_succeeded" {
		most = hookBurst
	}
	done := a.Status >= 200 && a.Status < 300
	switch {
	case !done && d.Attempt < most && d.Attempt%hookBurst == 0:
		return record, now.Add(h.delays[d.Attempt/hookBurst-1])
	case !done && d.Attempt < most:
		return record, now
	}
	if w := h.own[d.Webhook]; w != nil {
		h.judge(w, done, now)
	}
	return record, time.Time{}
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
	h.core.Webhooks.Cancel(func(d *delivery) bool { return d.Webhook == webhook })
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
		s.core.Changes.Put("webhook/"+w.ID, nil)
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
