package plaid

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/provider"
)

// How Plaid delivers (https://plaid.com/docs/api/webhooks/#webhook-retries): anything but 200 within ten seconds is
// repeated for a day.
const (
	hookTimeout    = 10 * time.Second
	hookFactor     = 4
	hookAttempts   = 7 // the first and six repetitions: 30 s, 2 m, 8 m, 32 m, 2 h 8 m, 8 h 32 m
	mostRetryAfter = 4 * time.Hour
	staleBy        = 10 * time.Minute
)

// Mischief is what the network and forgers do to the next webhooks. A wrong signature or a stale iat spoils the first
// attempt only, so that the repetition shows whether the receiver still takes good ones.
type Mischief struct {
	provider.Mischief
	WrongSignature provider.Count `json:"wrong_signature"`
	StaleIAT       provider.Count `json:"stale_iat"`
	KeepSignature  bool           `json:"keep_signature"` // repetitions carry the first signature, until changed
}

// delivery is a webhook on its way to its URL.
type delivery struct {
	provider.Delivery
	Type  string `json:"type"`
	Code  string `json:"code"`
	Item  string `json:"item,omitempty"`
	Wrong bool   `json:"wrong,omitempty"`
	Stale bool   `json:"stale,omitempty"`
	First string `json:"first,omitempty"` // signature of the first attempt
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

// hooks signs the webhooks and says when they are repeated, as a provider.Sender. The lock of core guards it.
type hooks struct {
	core     *provider.Server[*delivery]
	bank     *Bank
	base     time.Duration
	mischief Mischief
	keys     []*signingKey // the last one signs
}

// restore takes in the keys of the disk, and makes the first one where there is none.
func (h *hooks) restore(keys []*signingKey, now time.Time) error {
	for _, k := range keys {
		if err := k.load(); err != nil {
			return err
		}
	}
	h.keys = slices.SortedFunc(slices.Values(keys), func(x, y *signingKey) int { return x.Created.Compare(y.Created) })
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
	h.core.Changes.Put("key/"+k.ID, k)
	return nil
}

// expire ends the key that signs; it goes on signing until rotate.
func (h *hooks) expire(now time.Time) {
	k := h.keys[len(h.keys)-1]
	k.Expired = now
	h.core.Changes.Put("key/"+k.ID, k)
}

func (h *hooks) key(id string) *signingKey {
	for _, k := range h.keys {
		if k.ID == id {
			return k
		}
	}
	return nil
}

// Drain queues what the Bank wants to tell.
func (h *hooks) Drain() {
	for _, w := range h.bank.Drain() {
		h.enqueue(w)
	}
}

func (h *hooks) enqueue(w Webhook) {
	for range h.core.Webhooks.Copies() {
		h.core.Webhooks.Add(&delivery{
			Delivery: provider.Delivery{URL: w.URL, Body: string(w.Body())}, Type: w.Type, Code: w.Code, Item: w.ItemID,
			Wrong: h.mischief.WrongSignature.Use(), Stale: h.mischief.StaleIAT.Use(),
		})
	}
}

// Now is not the Bank's: a receiver compares iat with its own clock.
func (h *hooks) Now() time.Time { return time.Now() }

// Header signs an attempt.
func (h *hooks) Header(d *delivery) (http.Header, error) {
	signature, err := h.signature(d, h.Now())
	return http.Header{"Plaid-Verification": {signature}}, err
}

func (h *hooks) signature(d *delivery, now time.Time) (string, error) {
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

// Settle repeats what was not taken, later each time.
func (h *hooks) Settle(d *delivery, a provider.Answer) (record any, next time.Time) {
	now := h.Now()
	record = Delivered{now.UTC(), d.Type, d.Code, d.Item, d.URL, d.Attempt, a.Status}
	if a.Status == http.StatusOK || d.Attempt == hookAttempts {
		return record, time.Time{}
	}
	wait := h.base
	for range d.Attempt - 1 {
		wait *= hookFactor
	}
	if after := parseRetryAfter(a.Header.Get("Retry-After"), now); a.Status == http.StatusTooManyRequests && after > 0 {
		wait = min(after, mostRetryAfter)
	}
	return record, now.Add(wait)
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
