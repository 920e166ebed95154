package pluggy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/bkper/automations-portal/shared/bank"
)

// webhook is one as Pluggy keeps it for the client.
type webhook struct {
	ID       loose                   `json:"id"`
	URL      loose                   `json:"url"`
	Event    loose                   `json:"event"`
	Headers  maybe[map[string]loose] `json:"headers"`
	Disabled loose                   `json:"disabledAt"`
}

// every is Pluggy's word for all events, also those that are added later; what does not matter is answered and forgotten.
const every = "all"

const webhooksCall = "GET /webhooks"

// Register makes Pluggy call an address with the first of the webhook secrets, and calls again where it has given up after
// failures, or the address is another now. It may be repeated; it returns, for people, what it did, and nothing where all was as it should be. The Dashboard
// cannot register a webhook with a header.
func (p *Pluggy) Register(ctx context.Context, address string) (did []string, err error) {
	if at, err := url.Parse(address); err != nil || at.Host == "" || !bank.Confidential(at) {
		return nil, errors.New("pluggy: the address of a webhook must be an https URL")
	}
	if len(p.doorbell) == 0 {
		return nil, errors.New("pluggy: there is no webhook secret to register")
	}
	var got struct {
		Results []webhook `json:"results"`
	}
	if err := p.do(ctx, call{name: webhooksCall, method: http.MethodGet, path: "/webhooks"}, &got); err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(got.Results, func(w webhook) bool { return w.Event != every })
	ours := slices.DeleteFunc(slices.Clone(all), func(w webhook) bool { return string(w.URL) != address })
	if i := slices.IndexFunc(all, p.carries); len(ours) == 0 && i >= 0 {
		ours = all[i : i+1] // the functions have moved, and the secret says whose it is
	}
	if len(ours) == 0 {
		body := map[string]any{"event": every, "url": address, "headers": p.proof()}
		if err := p.do(ctx, call{name: "POST /webhooks", method: http.MethodPost, path: "/webhooks", in: body}, nil); err != nil {
			return nil, err
		}
		return []string{"registered " + address + " for all events"}, nil
	}
	for _, w := range ours {
		more, err := p.mend(ctx, w, address)
		did = append(did, more...)
		if err != nil {
			return did, err
		}
	}
	return did, nil
}

// proof are the headers with which Pluggy is to call.
func (p *Pluggy) proof() map[string]string {
	return map[string]string{WebhookHeader: p.doorbell[0].Reveal()}
}

// carries reports whether a webhook has our header, whose name may come back in other letters.
func (p *Pluggy) carries(w webhook) bool {
	for name, value := range w.Headers.Value {
		if strings.EqualFold(name, WebhookHeader) {
			return p.doorbell[0].Equal(string(value))
		}
	}
	return false
}

// mend brings a webhook that is there to what it should be.
func (p *Pluggy) mend(ctx context.Context, w webhook, address string) (did []string, err error) {
	if !ids.MatchString(string(w.ID)) {
		return nil, broken(webhooksCall, badAnswer, errors.New("a webhook without an id"))
	}
	change := map[string]any{}
	if string(w.URL) != address {
		change["url"] = address
		did = append(did, fmt.Sprintf("moved the webhook %s from %s to %s", w.ID, w.URL, address))
	}
	if !p.carries(w) {
		change["headers"] = p.proof()
		did = append(did, fmt.Sprintf("gave the webhook %s its secret", w.ID))
	}
	if w.Disabled != "" {
		change["enabled"] = true
		did = append(did, fmt.Sprintf("enabled the webhook %s, which Pluggy had disabled at %s", w.ID, w.Disabled))
	}
	if len(change) == 0 {
		return nil, nil
	}
	err = p.do(ctx, call{name: "PATCH /webhooks/{id}", method: http.MethodPatch, path: "/webhooks/" + string(w.ID), in: change}, nil)
	if err != nil {
		return nil, err
	}
	return did, nil
}
