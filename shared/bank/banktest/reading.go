package banktest

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
)

var (
	byValue = cmp.Comparer(func(a, b decimal.Decimal) bool { return a.Equal(b) })
	d       = decimal.RequireFromString
)

var reading = []Check{
	{"history is read in pages to its end, as the bank has it", wholeHistory},
	{"rows are whole", rowsWhole},
	{"a page may be read again", pageAgain},
	{"reading again from the beginning tells the same", readAgain},
	{"nothing new is told as nothing", nothingNew},
	{"a cursor that the provider never gave is refused", foreignCursor},
	{"a change between pages is told as a mutation", mutation},
	{"calls at once do not disturb each other", atOnce},
}

func wholeHistory(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	if err := c.tally(ctx, h); err != nil {
		return err
	}
	if len(c.pages) < 2 {
		return fmt.Errorf("all of %d rows came in one page, which proves nothing", len(c.known))
	}
	if last := c.pages[len(c.pages)-1]; !last.Complete {
		return errors.New("the history that is there is not said to be complete")
	}
	for _, p := range c.pages {
		if len(p.Unusable) > 0 {
			return fmt.Errorf("not understood: %+v", p.Unusable[0])
		}
	}
	return nil
}

func rowsWhole(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, a := range c.item.Accounts {
		known[a.ID] = true
	}
	for id, t := range c.known {
		switch {
		case id == "", !known[t.Account], t.Currency == "", !t.Date.IsValid(), t.Text == "":
			return fmt.Errorf("not whole: %+v", t)
		case t.Amount.IsNegative(), t.Direction != bank.In && t.Direction != bank.Out:
			return fmt.Errorf("%s has the amount %s %q", id, t.Amount, t.Direction)
		}
		for key := range t.Details {
			if len(key) > 30 {
				return fmt.Errorf("the detail %q is too long for a property", key)
			}
		}
	}
	return nil
}

func pageAgain(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	at := ""
	for i, want := range c.pages {
		page, err := h.Provider.Changes(ctx, bank.From{Token: c.Token, At: at})
		if err != nil {
			return fmt.Errorf("page %d: %w", i, err)
		}
		if diff := cmp.Diff(want.Changed, page.Changed, byValue); diff != "" {
			return fmt.Errorf("page %d differs when it is read again: %s", i, diff)
		}
		if page.Next == at && page.More {
			return fmt.Errorf("page %d leads to itself", i)
		}
		at = page.Next
	}
	return nil
}

func readAgain(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	before := maps.Clone(c.known)
	c.known, c.at = map[string]bank.Transaction{}, ""
	if err := c.follow(ctx, h, false); err != nil {
		return err
	}
	if diff := cmp.Diff(before, c.known, byValue); diff != "" {
		return errors.New(diff)
	}
	return nil
}

func nothingNew(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	for range 3 {
		if err := c.follow(ctx, h, false); err != nil {
			return err
		}
		if n := len(c.pages[0].Removed); n > 0 {
			return fmt.Errorf("%d rows were removed of which nobody knows", n)
		}
	}
	return c.tally(ctx, h)
}

func foreignCursor(ctx context.Context, h Harness) error {
	c, err := connect(ctx, h)
	if err != nil {
		return err
	}
	for _, at := range []string{"no such cursor", "bm8gc3VjaCBjdXJzb3I="} {
		if _, err := h.Provider.Changes(ctx, bank.From{Token: c.Token, At: at}); !errors.Is(err, bank.ErrCursor) {
			return fmt.Errorf("%q: %v", at, err)
		}
	}
	return nil
}

func mutation(ctx context.Context, h Harness) error {
	if !h.Mutates {
		return nil
	}
	c, err := connect(ctx, h)
	if err != nil {
		return err
	}
	if err := h.Bank.Mutate(ctx, c.Item); err != nil {
		return err
	}
	if err := c.follow(ctx, h, false); !errors.Is(err, bank.ErrMutated) || bank.KindOf(err) != bank.Retry {
		return fmt.Errorf("the read went on: %v", err)
	}
	c.known, c.at = map[string]bank.Transaction{}, ""
	if err := c.follow(ctx, h, false); err != nil {
		return fmt.Errorf("a second read from where the first began: %w", err)
	}
	return c.tally(ctx, h)
}

func atOnce(ctx context.Context, h Harness) error {
	c, err := connect(ctx, h)
	if err != nil {
		return err
	}
	const callers = 8
	results := make(chan error, callers)
	for range callers {
		go func() {
			reader := &connected{Grant: c.Grant, known: map[string]bank.Transaction{}}
			var err error
			if reader.item, err = h.Provider.Item(ctx, c.Token); err == nil {
				err = reader.follow(ctx, h, false)
			}
			if err == nil {
				err = reader.tally(ctx, h)
			}
			results <- err
		}()
	}
	for range callers {
		err = errors.Join(err, <-results)
	}
	return err
}

var changing = []Check{
	{"money out and money in are told apart on every type of account", directions},
	{"amounts are exact", exactAmounts},
	{"a bank's date is told as it is written", datesStay},
	{"two equal rows of one day both stand", twins},
	{"a pending row that settles is one row", settles},
	{"a row that the bank amends has its latest amount", amends},
	{"a row that the bank takes back is told", takesBack},
	{"following every change ends where reading anew does", followedIsReplayed},
}

// added writes rows at the bank and hears of them.
func (c *connected) added(ctx context.Context, h Harness, entries ...Entry) ([]string, error) {
	var rows []string
	for _, e := range entries {
		row, err := h.Bank.Add(ctx, e)
		if err != nil {
			return nil, fmt.Errorf("the bank could not add %q: %w", e.Text, err)
		}
		rows = append(rows, row)
	}
	return rows, c.hear(ctx, h)
}

func directions(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	for _, t := range []bank.AccountType{bank.Deposit, bank.Card} {
		a, err := c.account(t)
		if err != nil {
			return err
		}
		for _, way := range []bank.Direction{bank.In, bank.Out} {
			e := Entry{Account: a.ID, Date: h.Today, Amount: d("12.34"), Direction: way, Text: fmt.Sprintf("SUITE %s %s", t, way)}
			if _, err := c.added(ctx, h, e); err != nil {
				return err
			}
			got, err := c.one(e.Text)
			if err != nil {
				return err
			}
			if got.Direction != way || !got.Amount.Equal(e.Amount) || got.Account != a.ID || got.Pending {
				return fmt.Errorf("money %s of a %s is told as %s %s: %+v", way, t, got.Amount, got.Direction, got)
			}
		}
	}
	return c.tally(ctx, h)
}

func exactAmounts(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	a, err := c.account(bank.Deposit)
	if err != nil {
		return err
	}
	var entries []Entry
	for i, amount := range []string{"0.01", "0.1", "0.3", "10.10", "4.35", "1234567.89", "90071992547409.93"} {
		entries = append(entries, Entry{
			Account: a.ID, Date: h.Today, Amount: d(amount), Direction: bank.Out, Text: fmt.Sprintf("SUITE EXACT %d", i),
		})
	}
	if _, err := c.added(ctx, h, entries...); err != nil {
		return err
	}
	for _, e := range entries {
		got, err := c.one(e.Text)
		if err != nil {
			return err
		}
		if !got.Amount.Equal(e.Amount) || got.Currency != a.Currency {
			return fmt.Errorf("%s %s became %s %s", e.Amount, a.Currency, got.Amount, got.Currency)
		}
	}
	return nil
}

func datesStay(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	a, err := c.account(bank.Deposit)
	if err != nil {
		return err
	}
	var entries []Entry
	for back := range 40 {
		entries = append(entries, Entry{
			Account: a.ID, Date: h.Today.AddDays(-back), Amount: d("1"), Direction: bank.In, Text: fmt.Sprintf("SUITE DAY %d", back),
		})
	}
	if _, err := c.added(ctx, h, entries...); err != nil {
		return err
	}
	for _, e := range entries {
		if got, err := c.one(e.Text); err != nil || got.Date != e.Date {
			return fmt.Errorf("%s became %s, %v", e.Date, got.Date, err)
		}
	}
	return nil
}

func twins(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	a, err := c.account(bank.Deposit)
	if err != nil {
		return err
	}
	coffee := Entry{Account: a.ID, Date: h.Today, Amount: d("2.50"), Direction: bank.Out, Text: "SUITE COFFEE"}
	if _, err := c.added(ctx, h, coffee, coffee); err != nil {
		return err
	}
	if n := len(c.named(coffee.Text)); n != 2 {
		return fmt.Errorf("two coffees stand %d times", n)
	}
	return nil
}

// pendingRow adds a pending purchase by card; not every bank has them on other accounts.
func (c *connected) pendingRow(ctx context.Context, h Harness, text string) (row string, told bank.Transaction, err error) {
	a, err := c.account(bank.Card)
	if err != nil {
		return "", told, err
	}
	rows, err := c.added(ctx, h, Entry{
		Account: a.ID, Date: h.Today.AddDays(-1), Amount: d("20"), Direction: bank.Out, Text: text, Pending: true,
	})
	if err != nil {
		return "", told, err
	}
	if told, err = c.one(text); err == nil && !told.Pending {
		err = errors.New("a pending row is told as settled")
	}
	return rows[0], told, err
}

func settles(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	const text = "SUITE DINNER"
	row, before, err := c.pendingRow(ctx, h, text)
	if err != nil {
		return err
	}
	if err := h.Bank.Settle(ctx, row, d("23.50")); err != nil {
		return err
	}
	if err := c.hear(ctx, h); err != nil {
		return err
	}
	after, err := c.one(text)
	if err != nil {
		return err
	}
	if after.Pending || !after.Amount.Equal(d("23.50")) {
		return fmt.Errorf("the settled row is %+v", after)
	}
	if h.Linked && after.ID != before.ID && after.PendingID != before.ID {
		return fmt.Errorf("the settled row names %q as its pending one, want %q", after.PendingID, before.ID)
	}
	return c.tally(ctx, h)
}

func amends(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	a, err := c.account(bank.Deposit)
	if err != nil {
		return err
	}
	const text = "SUITE BILL"
	rows, err := c.added(ctx, h, Entry{Account: a.ID, Date: h.Today, Amount: d("80"), Direction: bank.Out, Text: text})
	if err != nil {
		return err
	}
	if err := h.Bank.Amend(ctx, rows[0], d("80.01")); err != nil {
		return err
	}
	if err := c.hear(ctx, h); err != nil {
		return err
	}
	if got, err := c.one(text); err != nil || !got.Amount.Equal(d("80.01")) {
		return fmt.Errorf("the amount is %s, %v", got.Amount, err)
	}
	return c.tally(ctx, h)
}

func takesBack(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	row, _, err := c.pendingRow(ctx, h, "SUITE HOLD")
	if err != nil {
		return err
	}
	a, err := c.account(bank.Deposit)
	if err != nil {
		return err
	}
	settled, err := c.added(ctx, h, Entry{Account: a.ID, Date: h.Today, Amount: d("9"), Direction: bank.In, Text: "SUITE MISTAKE"})
	if err != nil {
		return err
	}
	for _, r := range []string{row, settled[0]} {
		if err := h.Bank.Take(ctx, r); err != nil {
			return err
		}
	}
	if err := c.hear(ctx, h); err != nil {
		return err
	}
	if n := len(c.named("SUITE HOLD")) + len(c.named("SUITE MISTAKE")); n > 0 {
		return fmt.Errorf("%d rows that the bank took back still stand", n)
	}
	return c.tally(ctx, h)
}

func followedIsReplayed(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	if err := c.busyDay(ctx, h); err != nil {
		return err
	}
	if err := c.tally(ctx, h); err != nil {
		return fmt.Errorf("after following: %w", err)
	}
	followed := c.known
	c.known, c.at = map[string]bank.Transaction{}, ""
	if err := c.follow(ctx, h, false); err != nil {
		return err
	}
	if diff := cmp.Diff(followed, c.known, byValue); diff != "" {
		return fmt.Errorf("following and reading anew differ: %s", diff)
	}
	return nil
}

// busyDay is some of everything, heard of at different times.
func (c *connected) busyDay(ctx context.Context, h Harness) error {
	a, err := c.account(bank.Deposit)
	if err != nil {
		return err
	}
	var rows []string
	for i := range 6 {
		row, _, err := c.pendingRow(ctx, h, fmt.Sprintf("SUITE BUSY %d", i))
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	steps := []func() error{
		func() error { return h.Bank.Settle(ctx, rows[0], d("20")) },
		func() error { return h.Bank.Settle(ctx, rows[1], d("21.07")) },
		func() error { return h.Bank.Take(ctx, rows[2]) },
		func() error { return h.Bank.Amend(ctx, rows[3], d("19.99")) },
		func() error {
			_, err := h.Bank.Add(ctx, Entry{Account: a.ID, Date: h.Today, Amount: d("3000"), Direction: bank.In, Text: "SUITE SALARY"})
			return err
		},
		func() error { return h.Bank.Settle(ctx, rows[3], d("19.99")) },
		func() error { return h.Bank.Take(ctx, rows[4]) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		if i%2 == 1 || i == len(steps)-1 {
			if err := c.hear(ctx, h); err != nil {
				return fmt.Errorf("step %d: %w", i, err)
			}
		}
	}
	return nil
}
