package banktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/bkper/automations-portal/shared/bank"
)

var doorbell = []Check{
	{"webhooks tell of the session and of the item", webhooksTell},
	{"a webhook without its proof is refused", proofMissing},
	{"a webhook whose proof was touched is refused", proofTouched},
	{"a webhook whose body was touched is refused", bodyTouched},
	{"a webhook that cannot be read is malformed", unreadable},
}

func webhooksTell(ctx context.Context, h Harness) error {
	c, err := connect(ctx, h)
	if err != nil {
		return err
	}
	if err := c.follow(ctx, h, false); err != nil {
		return err
	}
	a, err := c.account(bank.Deposit)
	if err != nil {
		return err
	}
	if _, err := h.Bank.Add(ctx, Entry{Account: a.ID, Date: h.Today, Amount: d("1"), Direction: bank.In, Text: "SUITE BELL"}); err != nil {
		return err
	}
	hooks, err := h.Bank.Webhooks(ctx)
	if err != nil {
		return err
	}
	session, item := false, false
	for _, hook := range hooks {
		// A provider may send a webhook more than once.
		for range 2 {
			notices, err := h.Provider.Verify(ctx, hook.Header, hook.Body)
			if err != nil {
				return err
			}
			for _, n := range notices {
				session, item = session || n.Session == c.began.Ref, item || n.Item == c.Item
			}
		}
	}
	if !session || !item {
		return fmt.Errorf("of %d webhooks one named the session: %v, one the item: %v", len(hooks), session, item)
	}
	return nil
}

// genuine returns a webhook that the provider accepts.
func genuine(ctx context.Context, h Harness) (Webhook, error) {
	c, err := connect(ctx, h)
	if err != nil {
		return Webhook{}, err
	}
	if err := h.Bank.BreakLogin(ctx, c.Item); err != nil {
		return Webhook{}, err
	}
	hooks, err := h.Bank.Webhooks(ctx)
	if err != nil || len(hooks) == 0 {
		return Webhook{}, fmt.Errorf("%d webhooks, %v", len(hooks), err)
	}
	last := hooks[len(hooks)-1]
	if _, err := h.Provider.Verify(ctx, last.Header, last.Body); err != nil {
		return Webhook{}, fmt.Errorf("a genuine webhook is refused: %w", err)
	}
	return last, nil
}

func refused(ctx context.Context, h Harness, how string, header http.Header, body []byte) error {
	notices, err := h.Provider.Verify(ctx, header, body)
	if !errors.Is(err, bank.ErrForged) || len(notices) > 0 {
		return fmt.Errorf("%s: %d notices, %v", how, len(notices), err)
	}
	return nil
}

// proofs are the headers that a service adds: all but those that every client sends.
func proofs(header http.Header) []string {
	var names []string
	for name := range header {
		switch http.CanonicalHeaderKey(name) {
		case "Content-Type", "Content-Length", "User-Agent", "Accept-Encoding", "Accept", "Host":
		default:
			names = append(names, name)
		}
	}
	return names
}

func proofMissing(ctx context.Context, h Harness) error {
	hook, err := genuine(ctx, h)
	if err != nil {
		return err
	}
	empty := hook.Header.Clone()
	for _, name := range proofs(hook.Header) {
		empty.Set(name, "")
	}
	for how, header := range map[string]http.Header{"no header": {}, "nil": nil, "empty values": empty} {
		if err := refused(ctx, h, how, header, hook.Body); err != nil {
			return err
		}
	}
	return nil
}

func proofTouched(ctx context.Context, h Harness) error {
	hook, err := genuine(ctx, h)
	if err != nil {
		return err
	}
	names := proofs(hook.Header)
	if len(names) == 0 {
		return errors.New("the webhook carries no proof")
	}
	for _, change := range []func(string) string{
		func(v string) string { return v[1:] }, func(v string) string { return v[:len(v)-2] }, func(v string) string { return v + "A" },
		func(v string) string { return v + "," + v }, func(v string) string { return swap(v, 0) },
		func(v string) string { return swap(v, len(v)/2) }, func(v string) string { return swap(v, len(v)-10) },
	} {
		header := hook.Header.Clone()
		for _, name := range names {
			header.Set(name, change(hook.Header.Get(name)))
		}
		if err := refused(ctx, h, "proof touched", header, hook.Body); err != nil {
			return err
		}
	}
	return nil
}

// swap changes one character.
func swap(v string, at int) string {
	changed := byte('A')
	if v[max(at, 0)] == changed {
		changed = 'B'
	}
	return v[:max(at, 0)] + string(changed) + v[max(at, 0)+1:]
}

func bodyTouched(ctx context.Context, h Harness) error {
	if !h.Signed {
		return nil
	}
	hook, err := genuine(ctx, h)
	if err != nil {
		return err
	}
	for how, body := range map[string][]byte{
		"a space more": append(bytes.Clone(hook.Body), ' '), "a byte less": hook.Body[:len(hook.Body)-1], "empty": {},
		"another letter": bytes.Replace(hook.Body, []byte("e"), []byte("f"), 1), "spaces lost": bytes.ReplaceAll(hook.Body, []byte(" "), nil),
	} {
		if bytes.Equal(body, hook.Body) {
			continue
		}
		if err := refused(ctx, h, how, hook.Header, body); err != nil {
			return err
		}
	}
	return nil
}

func unreadable(ctx context.Context, h Harness) error {
	for _, body := range []string{"", "{", "[]", "null", "7", "{}{}", `{"a":1,"a":2}`, "{} x", "<xml/>"} {
		notices, err := h.Provider.Verify(ctx, h.Sign([]byte(body)), []byte(body))
		if !errors.Is(err, bank.ErrMalformed) || len(notices) > 0 {
			return fmt.Errorf("%q: %d notices, %v", body, len(notices), err)
		}
	}
	return nil
}
