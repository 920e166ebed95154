package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/bkper/automations-portal/scripts/internal/world"
	"github.com/bkper/automations-portal/shared/bank"
	adapter "github.com/bkper/automations-portal/shared/bank/plaid"
	"github.com/bkper/automations-portal/shared/secret"
)

// plaidSandbox is where Plaid's own sandbox is; PLAID_URL stands in for it.
const plaidSandbox = "https://sandbox.plaid.com"

// firstPlatypus is a bank of Plaid's Sandbox that asks nobody anything.
const firstPlatypus = "ins_109508"

// direct speaks with Plaid's Sandbox itself.
type direct struct {
	*smoke
	base, id string
	secret   secret.String
	plaid    *adapter.Plaid
}

// plaid checks the credentials, where they are at hand: with them an item is made as a person would make it, read, and removed.
// Only Plaid knows what the system answered to its call of the webhook; the system's log and numbers tell as well.
func (s *smoke) plaid(ctx context.Context) {
	d := &direct{smoke: s, base: s.env("PLAID_URL"), id: s.env("PLAID_CLIENT_ID"), secret: secret.New(s.env("PLAID_SECRET"))}
	if d.id == "" || d.secret.Empty() {
		s.skip("Plaid's Sandbox", "PLAID_CLIENT_ID and PLAID_SECRET are not set")
		return
	}
	if d.base == "" {
		d.base = plaidSandbox
	}
	var token secret.String
	if !s.check(ctx, "Plaid's Sandbox makes an item", func(ctx context.Context) (detail string, err error) {
		token, detail, err = d.item(ctx)
		return detail, err
	}) {
		return
	}
	s.check(ctx, "Plaid's Sandbox gives its transactions", func(ctx context.Context) (string, error) { return d.read(ctx, token) })
	if strings.HasPrefix(s.url, "https://") {
		s.check(ctx, "Plaid's Sandbox is told to call the webhook", func(ctx context.Context) (string, error) {
			return "", d.post(ctx, "/sandbox/item/fire_webhook", map[string]any{"access_token": token.Reveal(), "webhook_code": "DEFAULT_UPDATE"}, nil)
		})
	} else {
		s.skip("Plaid's Sandbox is told to call the webhook", "it calls https only")
	}
	s.check(context.WithoutCancel(ctx), "Plaid's Sandbox removes the item", func(ctx context.Context) (string, error) {
		return "", d.plaid.Remove(ctx, token)
	})
}

// item makes an item at a bank that asks nobody anything.
func (d *direct) item(ctx context.Context) (token secret.String, detail string, err error) {
	d.plaid, err = adapter.New(adapter.Config{Environment: adapter.Sandbox, BaseURL: d.base, ClientID: d.id, Secret: d.secret, ClientName: "Smoke test", HTTPClient: d.client})
	if err != nil {
		return token, "", err
	}
	options := map[string]any{}
	if strings.HasPrefix(d.url, "https://") {
		options["webhook"] = world.At(d.url, "/webhook/plaid")
	}
	var made struct {
		Public string `json:"public_token"`
	}
	err = d.post(ctx, "/sandbox/public_token/create", map[string]any{
		"institution_id": firstPlatypus, "initial_products": []string{"transactions"}, "options": options,
	}, &made)
	if err != nil {
		return token, "", err
	}
	grant, err := d.plaid.Exchange(ctx, bank.Candidate{Public: secret.New(made.Public)})
	if err != nil {
		return token, "", err
	}
	item, err := d.plaid.Item(ctx, grant.Token)
	return grant.Token, fmt.Sprintf("%s, %d accounts", item.Institution.Name, len(item.Accounts)), err
}

// read waits until the bank has transactions, which in Plaid's Sandbox takes some seconds.
func (d *direct) read(ctx context.Context, token secret.String) (string, error) {
	for {
		page, err := d.plaid.Changes(ctx, bank.From{Token: token})
		if err != nil {
			return "", err
		}
		if len(page.Changed) > 0 {
			return fmt.Sprintf("%d on the first page", len(page.Changed)), nil
		}
		if err := world.Pause(ctx, 10*interval); err != nil {
			return "", err
		}
	}
}

// post calls what only Plaid's Sandbox has.
func (d *direct) post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(d.base, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "PLAID-CLIENT-ID": d.id, "PLAID-SECRET": d.secret.Reveal(), "Plaid-Version": "2020-09-14",
	} {
		r.Header.Set(name, value)
	}
	answer, err := d.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		var refusal struct {
			Code string `json:"error_code"`
		}
		_ = json.Unmarshal(text, &refusal) // its code is more than the status, where there is one
		return fmt.Errorf("%s: %s %s", path, answer.Status, refusal.Code)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return errors.New(path + ": an answer that cannot be read")
	}
	return nil
}
