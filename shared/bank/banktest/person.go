package banktest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/bank"
)

// Addresses that a session is given. Nothing listens there; the harness catches what would be sent.
const (
	returnURL  = "https://portal.example/connect/complete?session=suite"
	webhookURL = "https://portal.example/webhook/suite"
)

func begin(ctx context.Context, h Harness, b bank.Begin) (bank.Begun, error) {
	if b.User == "" {
		b.User = "user-1"
	}
	b.Session, b.Country, b.Language, b.Return, b.Webhook = "suite", h.Country, "en", returnURL, webhookURL
	begun, err := h.Provider.Begin(ctx, b)
	if err != nil {
		return begun, fmt.Errorf("begin: %w", err)
	}
	return begun, nil
}

// connected is an item of which everything has been read.
type connected struct {
	bank.Grant
	item  bank.Item
	began bank.Begun
	known map[string]bank.Transaction
	at    string
	pages []bank.Page
}

// connect makes an item.
func connect(ctx context.Context, h Harness) (*connected, error) {
	begun, err := begin(ctx, h, bank.Begin{})
	if err != nil {
		return nil, err
	}
	hint, err := h.Bank.SignIn(ctx, begun)
	if err != nil {
		return nil, fmt.Errorf("the person could not sign in: %w", err)
	}
	out, err := h.Provider.Outcome(ctx, bank.Visit{Handle: begun.Handle, User: "user-1", Hint: hint})
	if err != nil {
		return nil, fmt.Errorf("outcome: %w", err)
	}
	if out.State != bank.Finished || len(out.Candidates) != 1 {
		return nil, fmt.Errorf("after the person signed in the outcome is %s with %d candidates", out.State, len(out.Candidates))
	}
	c := &connected{began: begun, known: map[string]bank.Transaction{}}
	if c.Grant, err = h.Provider.Exchange(ctx, out.Candidates[0]); err != nil {
		return nil, fmt.Errorf("exchange: %w", err)
	}
	if c.item, err = h.Provider.Item(ctx, c.Token); err != nil {
		return nil, fmt.Errorf("item: %w", err)
	}
	return c, nil
}

// read connects and reads everything.
func read(ctx context.Context, h Harness) (*connected, error) {
	c, err := connect(ctx, h)
	if err != nil {
		return nil, err
	}
	if err := c.follow(ctx, h, false); err != nil {
		return nil, err
	}
	if _, err := h.Bank.Webhooks(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// maxPages ends a read that never ends.
const maxPages = 200

// follow reads from where it stands to the end, and takes over what it hears as the engine does.
func (c *connected) follow(ctx context.Context, h Harness, deep bool) error {
	c.pages = nil
	been := map[string]bool{c.at: true}
	for range maxPages {
		page, err := h.Provider.Changes(ctx, bank.From{Token: c.Token, At: c.at, Deep: deep})
		if err != nil {
			return fmt.Errorf("changes: %w", err)
		}
		if page.Next == "" && (c.at != "" || page.More || len(page.Changed) > 0) {
			return errors.New("a page that says something does not say where to go on")
		}
		c.take(page)
		if !page.More {
			return nil
		}
		if been[c.at] {
			return errors.New("reading goes in circles")
		}
		been[c.at] = true
	}
	return fmt.Errorf("reading does not end after %d pages", maxPages)
}

func (c *connected) take(p bank.Page) {
	c.pages = append(c.pages, p)
	for _, t := range p.Changed {
		c.known[t.ID] = t
	}
	for _, r := range p.Removed {
		delete(c.known, r.ID)
	}
	for _, r := range p.Retold {
		c.miss(p, r)
	}
	c.at = p.Next
}

// miss forgets what a page that retells an account does not name.
func (c *connected) miss(p bank.Page, r bank.Retold) {
	maps.DeleteFunc(c.known, func(id string, t bank.Transaction) bool {
		named := slices.ContainsFunc(p.Changed, func(o bank.Transaction) bool { return o.ID == id })
		return t.Account == r.Account && !t.Date.Before(r.Since) && !named
	})
}

// hear waits for the webhooks of a change, verifies them as they come, and reads as they say.
func (c *connected) hear(ctx context.Context, h Harness) error {
	rang, deep, err := c.notices(ctx, h)
	if err != nil {
		return err
	}
	if !rang {
		return errors.New("no webhook told of the change")
	}
	return c.follow(ctx, h, deep)
}

func (c *connected) notices(ctx context.Context, h Harness) (rang, deep bool, err error) {
	hooks, err := h.Bank.Webhooks(ctx)
	if err != nil {
		return false, false, err
	}
	for _, hook := range hooks {
		notices, err := h.Provider.Verify(ctx, hook.Header, hook.Body)
		if err != nil {
			return false, false, fmt.Errorf("verify: %w", err)
		}
		for _, n := range notices {
			rang, deep = rang || n.Item == c.Item, deep || n.Deep
		}
	}
	return rang, deep, nil
}

// account finds one of a type.
func (c *connected) account(t bank.AccountType) (bank.Account, error) {
	i := slices.IndexFunc(c.item.Accounts, func(a bank.Account) bool { return a.Type == t })
	if i < 0 {
		return bank.Account{}, fmt.Errorf("the item has no account of type %s", t)
	}
	return c.item.Accounts[i], nil
}

// named finds what is known under a text; the suite gives every row that it adds a text of its own.
func (c *connected) named(text string) []bank.Transaction {
	var found []bank.Transaction
	for _, t := range c.known {
		if t.Text == text {
			found = append(found, t)
		}
	}
	return found
}

// one is named where exactly one is expected.
func (c *connected) one(text string) (bank.Transaction, error) {
	found := c.named(text)
	if len(found) != 1 {
		return bank.Transaction{}, fmt.Errorf("%q stands %d times", text, len(found))
	}
	return found[0], nil
}

// line is an Entry in a form that can be counted.
type line struct {
	account, amount, text string
	date                  civil.Date
	direction             bank.Direction
	pending               bool
}

// tally compares what is known with the bank's statements of all accounts whose transactions are given.
func (c *connected) tally(ctx context.Context, h Harness) error {
	balance := map[line]int{}
	for _, a := range c.item.Accounts {
		if !a.Type.Linkable() {
			continue
		}
		entries, err := h.Bank.Statement(ctx, a.ID)
		if err != nil {
			return err
		}
		for _, e := range entries {
			balance[line{a.ID, e.Amount.String(), e.Text, e.Date, e.Direction, e.Pending}]++
		}
	}
	for _, t := range c.known {
		balance[line{t.Account, t.Amount.String(), t.Text, t.Date, t.Direction, t.Pending}]--
	}
	for l, n := range balance {
		if n != 0 {
			return fmt.Errorf("%+v stands %d times too little at us", l, n)
		}
	}
	return nil
}
