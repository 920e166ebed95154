package banktest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

var failing = []Check{
	{"whatever breaks is worth a retry, and shows no secret", breaks},
	{"a service that says when is believed", saysWhen},
	{"a success that says nothing is none", saysNothing},
	{"who goes away is not waited for", goesAway},
	{"keys that cannot be had do not make a webhook forged", keysAway},
	{"a token that never was is refused for good", noSuchToken},
}

// calls are all that reach the service with a token.
func calls(h Harness, c *connected, begun bank.Begun) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"begin": func(ctx context.Context) error {
			_, err := h.Provider.Begin(ctx, bank.Begin{Session: "s", User: "user-1", Country: h.Country, Return: returnURL, Webhook: webhookURL})
			return err
		},
		"repair": func(ctx context.Context) error {
			_, err := h.Provider.Begin(ctx, bank.Begin{Session: "s", User: "user-1", Country: h.Country, Return: returnURL, Token: c.Token})
			return err
		},
		"outcome": func(ctx context.Context) error {
			_, err := h.Provider.Outcome(ctx, bank.Visit{Handle: begun.Handle, User: "user-1"})
			return err
		},
		"item": func(ctx context.Context) error {
			_, err := h.Provider.Item(ctx, c.Token)
			return err
		},
		"changes": func(ctx context.Context) error {
			_, err := h.Provider.Changes(ctx, bank.From{Token: c.Token, At: c.at})
			return err
		},
		"remove": func(ctx context.Context) error { return h.Provider.Remove(ctx, c.Token) },
		"banks": func(ctx context.Context) error {
			_, err := h.Provider.Institutions(ctx, h.Country, h.Query)
			return err
		},
	}
}

// breaking connects and returns the calls to break, and one that exchanges a candidate.
func breaking(ctx context.Context, h Harness) (all map[string]func(context.Context) error, secrets []string, err error) {
	c, err := read(ctx, h)
	if err != nil {
		return nil, nil, err
	}
	begun, err := begin(ctx, h, bank.Begin{})
	if err != nil {
		return nil, nil, err
	}
	hint, err := h.Bank.SignIn(ctx, begun)
	if err != nil {
		return nil, nil, err
	}
	out, err := h.Provider.Outcome(ctx, bank.Visit{Handle: begun.Handle, User: "user-1", Hint: hint})
	if err != nil || len(out.Candidates) != 1 {
		return nil, nil, fmt.Errorf("%d candidates, %v", len(out.Candidates), err)
	}
	all = calls(h, c, begun)
	all["exchange"] = func(ctx context.Context) error {
		_, err := h.Provider.Exchange(ctx, out.Candidates[0])
		return err
	}
	secrets = append(h.Secrets, c.Token.Reveal(), begun.Handle.Reveal(), c.began.Handle.Reveal(), out.Candidates[0].Public.Reveal())
	return all, secrets, nil
}

func breaks(ctx context.Context, h Harness) error {
	all, secrets, err := breaking(ctx, h)
	if err != nil {
		return err
	}
	defer h.Faults.set(nil)
	for _, f := range faults {
		h.Faults.set(&f)
		for name, call := range all {
			if err := passing(call(ctx), secrets); err != nil {
				return fmt.Errorf("%s, %s: %w", f.name, name, err)
			}
		}
	}
	return nil
}

// passing holds an error to what every one of a service in trouble must be.
func passing(err error, secrets []string) error {
	var e *bank.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("it is not a bank.Error: %v", err)
	}
	if e.Kind != bank.Retry && e.Kind != bank.RetryAfter || e.Code == "" {
		return fmt.Errorf("it is %s with the code %q", e.Kind, e.Code)
	}
	if (e.Kind == bank.RetryAfter) != (e.After > 0) {
		return fmt.Errorf("it is %s after %v", e.Kind, e.After)
	}
	return clean(err, secrets)
}

// clean looks for secrets in an error and in all that it wraps, however it is printed.
func clean(err error, secrets []string) error {
	for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
		for _, e := range unwrapped(err) {
			shown := fmt.Sprintf(verb, e)
			for _, s := range secrets {
				if s != "" && strings.Contains(shown, s) {
					return errors.New("the error shows a secret")
				}
			}
		}
	}
	return nil
}

func unwrapped(err error) []error {
	if err == nil {
		return nil
	}
	all := []error{err}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		all = append(all, unwrapped(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, unwrapped(inner)...)
		}
	}
	return all
}

func saysWhen(ctx context.Context, h Harness) error {
	all, _, err := breaking(ctx, h)
	if err != nil {
		return err
	}
	want, err := time.ParseDuration(patience + "s")
	if err != nil {
		return err
	}
	defer h.Faults.set(nil)
	h.Faults.set(&faults[len(faults)-1])
	for name, call := range all {
		var e *bank.Error
		if err := call(ctx); !errors.As(err, &e) || e.Kind != bank.RetryAfter || e.After != want {
			return fmt.Errorf("%s: %v", name, err)
		}
	}
	return nil
}

// saysNothing: an answer without its parts must not look like one in which there is nothing. Accounts would be gone, rows passed by,
// and a person sent away who is at the bank. That a removal took place, and that there are no banks, it may say.
func saysNothing(ctx context.Context, h Harness) error {
	all, secrets, err := breaking(ctx, h)
	if err != nil {
		return err
	}
	delete(all, "remove")
	delete(all, "banks")
	delete(all, "outcome")
	begun, err := begin(ctx, h, bank.Begin{})
	if err != nil {
		return err
	}
	defer h.Faults.set(nil)
	for _, f := range hollow {
		h.Faults.set(&f)
		for name, call := range all {
			if err := passing(call(ctx), secrets); err != nil {
				return fmt.Errorf("%s, %s: %w", f.name, name, err)
			}
		}
		out, err := h.Provider.Outcome(ctx, bank.Visit{Handle: begun.Handle, Ref: begun.Ref, User: "user-1"})
		if err != nil {
			err = passing(err, secrets)
		} else if out.State != bank.Visiting {
			err = fmt.Errorf("it says that the person is %s", out.State)
		}
		if err != nil {
			return fmt.Errorf("%s, outcome: %w", f.name, err)
		}
	}
	return nil
}

func goesAway(ctx context.Context, h Harness) error {
	all, _, err := breaking(ctx, h)
	if err != nil {
		return err
	}
	gone, leave := context.WithCancel(ctx)
	leave()
	for name, call := range all {
		start := time.Now()
		if err := call(gone); !errors.Is(err, context.Canceled) {
			return fmt.Errorf("%s: %v", name, err)
		}
		if took := time.Since(start); took > soon {
			return fmt.Errorf("%s took %v", name, took)
		}
	}
	return nil
}

func keysAway(ctx context.Context, h Harness) error {
	body := []byte("{}")
	header := h.Sign(body)
	defer h.Faults.set(nil)
	for _, f := range faults {
		h.Faults.set(&f)
		if _, err := h.Provider.Verify(ctx, header, body); errors.Is(err, bank.ErrForged) {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	h.Faults.set(nil)
	if _, err := h.Provider.Verify(ctx, header, body); !errors.Is(err, bank.ErrMalformed) {
		return fmt.Errorf("when the keys are back: %v", err)
	}
	return nil
}

func noSuchToken(ctx context.Context, h Harness) error {
	c, err := connect(ctx, h)
	if err != nil {
		return err
	}
	// Same length and alphabet, so that only the service can tell.
	text := c.Token.Reveal()
	wrong := secret.New(text[:len(text)-6] + "000000")
	if wrong.Equal(text) {
		wrong = secret.New(text[:len(text)-6] + "000001")
	}
	_, itemErr := h.Provider.Item(ctx, wrong)
	_, readErr := h.Provider.Changes(ctx, bank.From{Token: wrong})
	for call, err := range map[string]error{"item": itemErr, "changes": readErr} {
		if bank.KindOf(err) != bank.Permanent || !errors.Is(err, bank.ErrGone) || err == nil {
			return fmt.Errorf("%s: %v", call, err)
		}
		if err := clean(err, append(h.Secrets, wrong.Reveal())); err != nil {
			return fmt.Errorf("%s: %w", call, err)
		}
	}
	return nil
}
