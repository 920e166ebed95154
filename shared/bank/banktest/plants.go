package banktest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

// Plant is a fault that a provider may have, and the check that must see it.
type Plant struct {
	Name   string
	Caught string // name of a Check
	wrap   func(bank.Provider) bank.Provider
	needs  func(Harness) bool // nil: every harness can show it
}

// RunPlants plants every fault into a good provider and expects its check to fail. A suite that sees nothing proves nothing.
func RunPlants(t *testing.T, open func(testing.TB) Harness) {
	for _, p := range plants {
		t.Run(p.Name, func(t *testing.T) {
			h := open(t)
			if p.needs != nil && !p.needs(h) {
				t.Skip("this provider has no such thing")
			}
			ctx, cancel := context.WithTimeout(t.Context(), longest)
			defer cancel()
			h.Provider = p.wrap(h.Provider)
			i := slices.IndexFunc(Checks(), func(c Check) bool { return c.Name == p.Caught })
			if i < 0 {
				t.Fatalf("there is no check %q", p.Caught)
			}
			if err := Checks()[i].Run(ctx, h); err == nil {
				t.Errorf("%q did not see it", p.Caught)
			} else {
				t.Logf("seen: %.200v", err)
			}
		})
	}
}

var plants = []Plant{
	{Name: "direction flipped", Caught: "money out and money in are told apart on every type of account", wrap: onRow(func(t *bank.Transaction) {
		t.Direction = map[bank.Direction]bank.Direction{bank.In: bank.Out, bank.Out: bank.In}[t.Direction]
	})},
	{Name: "direction from a signed amount", Caught: "rows are whole", wrap: onRow(func(t *bank.Transaction) {
		if t.Direction == bank.In {
			t.Amount = t.Amount.Neg()
		}
	})},
	{Name: "amounts through floats", Caught: "amounts are exact", wrap: onRow(func(t *bank.Transaction) {
		t.Amount = decimal.NewFromFloat(t.Amount.InexactFloat64())
	})},
	{Name: "dates moved through a time zone", Caught: "a bank's date is told as it is written", wrap: onRow(func(t *bank.Transaction) {
		t.Date = t.Date.AddDays(-1)
	})},
	{Name: "text tidied", Caught: "history is read in pages to its end, as the bank has it", wrap: onRow(func(t *bank.Transaction) {
		t.Text = strings.ToLower(t.Text)
	})},
	{Name: "pending told as settled", Caught: "a pending row that settles is one row", wrap: onRow(func(t *bank.Transaction) { t.Pending = false })},
	{
		Name: "the pending row is not named", Caught: "a pending row that settles is one row", needs: func(h Harness) bool { return h.Linked },
		wrap: onRow(func(t *bank.Transaction) { t.PendingID = "" }),
	},
	{Name: "account mixed up", Caught: "rows are whole", wrap: onRow(func(t *bank.Transaction) { t.Account = "someone's" })},
	{Name: "equal rows merged", Caught: "two equal rows of one day both stand", wrap: onRow(func(t *bank.Transaction) {
		t.ID = bank.Hash(t.Account, t.Date.String(), t.Amount.String(), t.Text)
	})},

	{Name: "a removed row dropped", Caught: "a row that the bank takes back is told", wrap: onPage(func(_ bank.From, p *bank.Page) {
		p.Removed, p.Retold = nil, nil
	})},
	{Name: "a retelling that claims too much", Caught: "nothing new is told as nothing", wrap: boasts},
	{Name: "changes of known rows dropped", Caught: "a row that the bank amends has its latest amount", wrap: onlyNew},
	{Name: "only the first page", Caught: "history is read in pages to its end, as the bank has it", wrap: onPage(func(_ bank.From, p *bank.Page) {
		p.More = false
	})},
	{Name: "an empty cursor over a real one", Caught: "nothing new is told as nothing", wrap: onPage(func(from bank.From, p *bank.Page) {
		if from.At != "" && len(p.Changed) == 0 {
			p.Next = ""
		}
	})},
	{Name: "never complete", Caught: "history is read in pages to its end, as the bank has it", wrap: onPage(func(_ bank.From, p *bank.Page) {
		p.Complete = false
	})},
	{Name: "a page that leads to itself", Caught: "history is read in pages to its end, as the bank has it", wrap: onPage(func(from bank.From, p *bank.Page) {
		if from.At != "" {
			p.Next, p.More = from.At, true
		}
	})},
	{
		Name: "a mutation swallowed", Caught: "a change between pages is told as a mutation", needs: func(h Harness) bool { return h.Mutates },
		wrap: onReadError(bank.ErrMutated, func(from bank.From) (bank.Page, error) { return bank.Page{Next: from.At}, nil }),
	},
	{
		Name: "a refused cursor swallowed", Caught: "a cursor that the provider never gave is refused",
		wrap: onReadError(bank.ErrCursor, func(bank.From) (bank.Page, error) { return bank.Page{}, nil }),
	},
	{
		Name: "gone told as passing", Caught: "what is removed is gone for every call",
		wrap: onReadError(bank.ErrGone, func(bank.From) (bank.Page, error) { return bank.Page{}, &bank.Error{Kind: bank.Retry, Code: "X"} }),
	},

	{Name: "removing twice fails", Caught: "removing an item twice is removing it once", wrap: func(p bank.Provider) bank.Provider {
		return &removesOnce{Provider: p}
	}},
	{Name: "removing does nothing", Caught: "what is removed is gone for every call", wrap: func(p bank.Provider) bank.Provider {
		return removesNothing{p}
	}},
	{Name: "an outcome told once", Caught: "an outcome may be asked again and again", wrap: func(p bank.Provider) bank.Provider {
		return &toldOnce{Provider: p}
	}},
	{Name: "the browser believed", Caught: "what a browser hints is not believed", wrap: func(p bank.Provider) bank.Provider {
		return believes{p}
	}},
	{Name: "a repair makes a candidate", Caught: "an item can be repaired and stays the same", wrap: func(p bank.Provider) bank.Provider {
		return repairMakes{p}
	}},
	{Name: "a broken item looks well", Caught: "an item can be repaired and stays the same", wrap: onItem(func(i *bank.Item) { i.NeedsUser = "" })},
	{Name: "new accounts hidden", Caught: "newly opened accounts can be shared", wrap: onItem(func(i *bank.Item) {
		i.Accounts = i.Accounts[:min(2, len(i.Accounts))]
	})},
	{Name: "accounts without a currency", Caught: "a session leads the person to the bank and back with an item", wrap: onItem(func(i *bank.Item) {
		i.Accounts[0].Currency = ""
	})},
	{Name: "one bank for another", Caught: "a bank is found by its id as it is by its name", wrap: func(p bank.Provider) bank.Provider { return confuses{p} }},
	{Name: "too many banks", Caught: "banks are found by name, and are at most 50", wrap: func(p bank.Provider) bank.Provider { return crowded{p} }},

	{
		Name: "the body is not compared", Caught: "a webhook whose body was touched is refused", needs: func(h Harness) bool { return h.Signed },
		wrap: func(p bank.Provider) bank.Provider {
			return &believesHeader{Provider: p, seen: map[string][]bank.Notice{}}
		},
	},
	{Name: "the proof is not compared", Caught: "a webhook whose proof was touched is refused", wrap: func(p bank.Provider) bank.Provider {
		return &believesBody{Provider: p, seen: map[string][]bank.Notice{}}
	}},
	{Name: "no proof is needed", Caught: "a webhook without its proof is refused", wrap: func(p bank.Provider) bank.Provider {
		return &believesBody{Provider: p, seen: map[string][]bank.Notice{}}
	}},
	{Name: "the session is not named", Caught: "webhooks tell of the session and of the item", wrap: onNotice(func(n *bank.Notice) { n.Session = "" })},
	{Name: "the item is not named", Caught: "webhooks tell of the session and of the item", wrap: onNotice(func(n *bank.Notice) { n.Item = "" })},
	{Name: "what cannot be read is welcome", Caught: "a webhook that cannot be read is malformed", wrap: func(p bank.Provider) bank.Provider {
		return welcomes{p}
	}},

	{Name: "errors show the token", Caught: "whatever breaks is worth a retry, and shows no secret", wrap: onAnyReadError(func(from bank.From, err error) error {
		return &bank.Error{Kind: bank.Retry, Code: "X", Err: fmt.Errorf("reading with %s: %w", from.Token.Reveal(), err)}
	})},
	{Name: "errors have no kind", Caught: "whatever breaks is worth a retry, and shows no secret", wrap: onAnyReadError(func(_ bank.From, err error) error {
		return errors.New("it did not work")
	})},
	{Name: "trouble told as final", Caught: "whatever breaks is worth a retry, and shows no secret", wrap: onAnyReadError(func(_ bank.From, err error) error {
		return &bank.Error{Kind: bank.Permanent, Code: "X", Err: err}
	})},
	{Name: "Retry-After ignored", Caught: "a service that says when is believed", wrap: onAnyReadError(func(_ bank.From, err error) error {
		return &bank.Error{Kind: bank.Retry, Code: "X", Err: err}
	})},
	{Name: "an empty answer taken for a page", Caught: "a success that says nothing is none", wrap: func(p bank.Provider) bank.Provider {
		return reads{p, func(from bank.From, page bank.Page, err error) (bank.Page, error) {
			if err != nil && bank.KindOf(err) == bank.Retry {
				return bank.Page{Next: from.At}, nil
			}
			return page, err
		}}
	}},
	{Name: "the context ignored", Caught: "who goes away is not waited for", wrap: func(p bank.Provider) bank.Provider { return deaf{p} }},
}

// reads changes what Changes gives.
type reads struct {
	bank.Provider
	change func(bank.From, bank.Page, error) (bank.Page, error)
}

func (r reads) Changes(ctx context.Context, from bank.From) (bank.Page, error) {
	page, err := r.Provider.Changes(ctx, from)
	return r.change(from, page, err)
}

func onPage(change func(bank.From, *bank.Page)) func(bank.Provider) bank.Provider {
	return func(p bank.Provider) bank.Provider {
		return reads{p, func(from bank.From, page bank.Page, err error) (bank.Page, error) {
			if err == nil {
				change(from, &page)
			}
			return page, err
		}}
	}
}

func onRow(change func(*bank.Transaction)) func(bank.Provider) bank.Provider {
	return onPage(func(_ bank.From, page *bank.Page) {
		for i := range page.Changed {
			change(&page.Changed[i])
		}
	})
}

// boasts says of an account that it was retold, whatever the page names.
func boasts(p bank.Provider) bank.Provider {
	account := ""
	return onPage(func(_ bank.From, page *bank.Page) {
		if account != "" {
			page.Retold = append(page.Retold, bank.Retold{Account: account})
		}
		if len(page.Changed) > 0 {
			account = page.Changed[0].Account
		}
	})(p)
}

func onlyNew(p bank.Provider) bank.Provider {
	seen := map[string]bool{}
	return onPage(func(_ bank.From, page *bank.Page) {
		page.Changed = slices.DeleteFunc(page.Changed, func(t bank.Transaction) bool {
			known := seen[t.ID]
			seen[t.ID] = true
			return known
		})
	})(p)
}

func onReadError(of error, instead func(bank.From) (bank.Page, error)) func(bank.Provider) bank.Provider {
	return func(p bank.Provider) bank.Provider {
		return reads{p, func(from bank.From, page bank.Page, err error) (bank.Page, error) {
			if errors.Is(err, of) {
				return instead(from)
			}
			return page, err
		}}
	}
}

func onAnyReadError(change func(bank.From, error) error) func(bank.Provider) bank.Provider {
	return func(p bank.Provider) bank.Provider {
		return reads{p, func(from bank.From, page bank.Page, err error) (bank.Page, error) {
			if err != nil {
				err = change(from, err)
			}
			return page, err
		}}
	}
}

type items struct {
	bank.Provider
	change func(*bank.Item)
}

func (i items) Item(ctx context.Context, token secret.String) (bank.Item, error) {
	item, err := i.Provider.Item(ctx, token)
	if err == nil {
		i.change(&item)
	}
	return item, err
}

func onItem(change func(*bank.Item)) func(bank.Provider) bank.Provider {
	return func(p bank.Provider) bank.Provider { return items{p, change} }
}

type rings struct {
	bank.Provider
	change func(*bank.Notice)
}

func (r rings) Verify(ctx context.Context, header http.Header, body []byte) ([]bank.Notice, error) {
	notices, err := r.Provider.Verify(ctx, header, body)
	for i := range notices {
		r.change(&notices[i])
	}
	return notices, err
}

func onNotice(change func(*bank.Notice)) func(bank.Provider) bank.Provider {
	return func(p bank.Provider) bank.Provider { return rings{p, change} }
}

type removesOnce struct {
	bank.Provider
	mu   sync.Mutex
	done bool
}

func (r *removesOnce) Remove(ctx context.Context, token secret.String) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return &bank.Error{Kind: bank.Permanent, Code: "X", Err: bank.ErrGone}
	}
	r.done = true
	return r.Provider.Remove(ctx, token)
}

type removesNothing struct{ bank.Provider }

func (removesNothing) Remove(context.Context, secret.String) error { return nil }

type toldOnce struct {
	bank.Provider
	told bool
}

func (o *toldOnce) Outcome(ctx context.Context, v bank.Visit) (bank.Outcome, error) {
	if o.told {
		return bank.Outcome{State: bank.Unknown}, nil
	}
	o.told = true
	return o.Provider.Outcome(ctx, v)
}

type believes struct{ bank.Provider }

func (b believes) Outcome(ctx context.Context, v bank.Visit) (bank.Outcome, error) {
	out, err := b.Provider.Outcome(ctx, v)
	if err == nil && v.Hint != "" && len(out.Candidates) == 0 {
		out = bank.Outcome{State: bank.Finished, Candidates: []bank.Candidate{{Key: bank.Hash(v.Hint), Public: secret.New(v.Hint)}}}
	}
	return out, err
}

type repairMakes struct{ bank.Provider }

func (r repairMakes) Outcome(ctx context.Context, v bank.Visit) (bank.Outcome, error) {
	out, err := r.Provider.Outcome(ctx, v)
	if out.State == bank.Finished && len(out.Candidates) == 0 {
		out.Candidates = []bank.Candidate{{Key: "again", Public: secret.New("again")}}
	}
	return out, err
}

// confuses gives the first bank for every id.
type confuses struct{ bank.Provider }

func (c confuses) Institution(ctx context.Context, country, id string) (bank.Institution, error) {
	if banks, err := c.Provider.Institutions(ctx, country, ""); err == nil && len(banks) > 0 {
		return banks[0], nil
	}
	return c.Provider.Institution(ctx, country, id)
}

type crowded struct{ bank.Provider }

func (c crowded) Institutions(ctx context.Context, country, query string) ([]bank.Institution, error) {
	banks, err := c.Provider.Institutions(ctx, country, query)
	for len(banks) > 0 && len(banks) <= 50 {
		banks = append(banks, banks...)
	}
	return banks, err
}

type believesHeader struct {
	bank.Provider
	seen map[string][]bank.Notice
}

func (b *believesHeader) Verify(ctx context.Context, header http.Header, body []byte) ([]bank.Notice, error) {
	notices, err := b.Provider.Verify(ctx, header, body)
	key := fmt.Sprint(header)
	if err == nil {
		b.seen[key] = notices
	} else if old, ok := b.seen[key]; ok {
		return old, nil
	}
	return notices, err
}

type believesBody struct {
	bank.Provider
	seen map[string][]bank.Notice
}

func (b *believesBody) Verify(ctx context.Context, header http.Header, body []byte) ([]bank.Notice, error) {
	notices, err := b.Provider.Verify(ctx, header, body)
	if err == nil {
		b.seen[string(body)] = notices
	} else if old, ok := b.seen[string(body)]; ok {
		return old, nil
	}
	return notices, err
}

type welcomes struct{ bank.Provider }

func (w welcomes) Verify(ctx context.Context, header http.Header, body []byte) ([]bank.Notice, error) {
	notices, err := w.Provider.Verify(ctx, header, body)
	if errors.Is(err, bank.ErrMalformed) {
		return nil, nil
	}
	return notices, err
}

type deaf struct{ bank.Provider }

func (d deaf) Item(ctx context.Context, token secret.String) (bank.Item, error) {
	return d.Provider.Item(context.WithoutCancel(ctx), token)
}
