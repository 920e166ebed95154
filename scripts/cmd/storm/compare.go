package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/scripts/internal/world"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
)

// findings are what is not as it should be, a line each.
type findings struct {
	lost, doubled, orphaned []string
	unfinished              string // what went on for too long
	compared                int    // transactions at the banks
	accounts                int
	twice                   []string // customers of whom a person has two connections
	handles                 int      // of sessions that have ended, or were never written down: worthless, as the bank forgets them
	sessions                int      // whose answer died with a process that had asked the bank for a token; an operator is told of each
}

func (f *findings) fine() bool {
	return len(f.lost)+len(f.doubled)+len(f.orphaned) == 0 && f.unfinished == ""
}

func (f *findings) sum() string {
	return fmt.Sprintf("%d lost, %d doubled, %d orphaned", len(f.lost), len(f.doubled), len(f.orphaned))
}

const shown = 20 // lines of each sort

func (f *findings) print(w io.Writer) {
	for _, some := range [][]string{f.lost, f.doubled, f.orphaned} {
		for _, line := range some[:min(shown, len(some))] {
			fmt.Fprintln(w, "  "+line)
		}
		if len(some) > shown {
			fmt.Fprintf(w, "  … and %d more\n", len(some)-shown)
		}
	}
	if f.unfinished != "" {
		fmt.Fprintf(w, "  not finished: %s\n", f.unfinished)
	}
	if len(f.twice) > 0 {
		fmt.Fprintf(w, "Connected twice by one person: %s.\n", strings.Join(f.twice, ", "))
	}
	if f.handles > 0 {
		fmt.Fprintf(w, "%d handles of sessions are left in the vault that nobody will ask for.\n", f.handles)
	}
	if f.sessions > 0 {
		fmt.Fprintf(w, "%d tokens died with the process that had asked for them; their sessions are listed for the operator.\n", f.sessions)
	}
	fmt.Fprintf(w, "Compared %d transactions of %d bank accounts: %s.\n", f.compared, f.accounts, f.sum())
}

// rest is how long a connection that has no work is left alone at least: a new item whose history is not all there yet for ten
// minutes, the others for hours.
const rest = 5 * time.Minute

// waits says what is still under way; "" where nothing is.
func (s *storm) waits(ctx context.Context, people <-chan struct{}) (string, error) {
	select {
	case <-people:
	default:
		return "people are not done", nil
	}
	engines, err := all(ctx, s.store, posting.Engines)
	if err != nil {
		return "", err
	}
	now := time.Now()
	for _, e := range engines {
		if e.Lease.Held(now) || e.Asked > e.Reading || len(e.Open) > 0 || e.Failures > 0 || !e.Due.IsZero() && e.Due.Before(now.Add(rest)) {
			return fmt.Sprintf("connection %s is to be read (due %s, failure %q)", e.Connection, e.Due.Format(time.TimeOnly), e.Failure), nil
		}
	}
	connections, err := all(ctx, s.store, store.Connections)
	if err != nil {
		return "", err
	}
	for _, c := range connections {
		if c.State == bank.Removing {
			return fmt.Sprintf("connection %s is being disconnected", c.ID), nil
		}
	}
	sessions, err := all(ctx, s.store, store.Sessions)
	if err != nil {
		return "", err
	}
	for _, o := range sessions {
		if o.State == bank.Exchanging {
			return fmt.Sprintf("session %s is being kept", o.ID), nil
		}
	}
	return "", nil
}

// all reads every document of a kind.
func all[T any](ctx context.Context, r store.Reader, k store.Kind[T]) (list []*T, err error) {
	q := store.Query{Limit: 500}
	for {
		some, err := k.Find(ctx, r, q)
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
		if len(some) < q.Limit {
			return list, nil
		}
		q.After = k.ID(some[len(some)-1])
	}
}

// compare looks at everything from outside: at the bank, into the Books, into the store and the vault.
func (s *storm) compare(ctx context.Context) (*findings, error) {
	f := &findings{}
	s.mu.Lock()
	customers := slices.Clone(s.customers)
	s.mu.Unlock()
	records, err := s.records()
	if err != nil {
		return nil, err
	}
	for _, c := range customers {
		atBank, err := s.atBank(c)
		if err != nil {
			return nil, fmt.Errorf("%s at the bank: %w", c.user, err)
		}
		for _, name := range c.names {
			f.accounts++
			f.compared += len(atBank[name])
			f.match(c, name, atBank[name], records[c.book+name])
		}
	}
	return f, s.orphans(ctx, f)
}

// entry is a transaction, at the bank or in a Book; the amount is signed as the bank does.
type entry struct{ text, date, amount string }

// match compares one bank account with its records.
func (f *findings) match(c *customer, name string, atBank, records []entry) {
	standing, wanted, here := map[string]int{}, map[entry]int{}, map[string]int{}
	for _, e := range records {
		standing[e.text]++
		wanted[e]--
	}
	for _, e := range atBank {
		here[e.text]++
		wanted[e]++
	}
	silent := c.ended || c.removed[name] // nobody promised what the bank has said since
	for text, n := range standing {
		switch {
		case n > c.ever[text]:
			f.doubled = append(f.doubled, fmt.Sprintf("%s: %s stands %d times, the bank had it %d times", name, text, n, c.ever[text]))
		case !silent && n > here[text]:
			f.doubled = append(f.doubled, fmt.Sprintf("%s: %s stands %d times, the bank has it %d times", name, text, n, here[text]))
		}
	}
	if silent {
		return
	}
	for e, n := range wanted {
		if n > 0 {
			f.lost = append(f.lost, fmt.Sprintf("%s: %s of %s over %s (%d; with other values %d stand)", name, e.text, e.date, e.amount, n, standing[e.text]))
		}
	}
}

// records reads what stands in the Books, by Book and name of the Account.
func (s *storm) records() (map[string][]entry, error) {
	found := map[string][]entry{}
	for i, book := range s.books {
		accounts, err := s.world.Bkper.Accounts(bkper.Caller{Email: email(i)}, book)
		if err != nil {
			return nil, err
		}
		names := map[string]string{}
		for _, a := range accounts.Items {
			names[a.ID] = a.Name
		}
		hand, err := s.world.Bkper.Hand(book)
		if err != nil {
			return nil, err
		}
		all, err := hand.All()
		if err != nil {
			return nil, err
		}
		for _, t := range all {
			if bkper.True(t.Trashed) {
				continue
			}
			amount, err := decimal.NewFromString(*t.Amount)
			if err != nil {
				return nil, err
			}
			account := t.CreditAccount
			if account == nil {
				account, amount = t.DebitAccount, amount.Neg()
			}
			at := book + names[account.ID]
			found[at] = append(found[at], entry{t.Description, t.Date, amount.StringFixed(2)})
		}
	}
	return found, nil
}

// atBank reads what the bank has for a customer, through an item of our own that is removed again.
func (s *storm) atBank(c *customer) (found map[string][]entry, err error) {
	found = map[string][]entry{}
	err = s.world.Plaid.Do(func(b *plaid.Bank) error {
		public, err := b.SandboxPublicToken(world.PlaidClient, bankID, c.user, "pass_good", plaid.LinkRequest{
			Products: []string{"transactions"}, CountryCodes: []string{"US"}, Transactions: plaid.TransactionOptions{Days: 730},
		})
		if err != nil {
			return err
		}
		token, item, err := b.Exchange(public)
		if err != nil {
			return err
		}
		err = errors.Join(b.Load(item, plaid.Historical), c.statement(b, token, found))
		return errors.Join(err, b.RemoveItem(token))
	})
	return found, err
}

func (c *customer) statement(b *plaid.Bank, token string, found map[string][]entry) error {
	accounts, _, err := b.Accounts(token, nil)
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, a := range accounts {
		names[a.AccountID] = a.Name
	}
	for q := (plaid.SyncQuery{Count: 500, Original: true}); ; {
		page, err := b.Sync(token, q)
		if err != nil {
			return err
		}
		for _, t := range page.Added {
			if t.Pending && !c.pending {
				continue
			}
			name := names[t.AccountID]
			found[name] = append(found[name], entry{t.OriginalDescription, t.Date, t.Amount.StringFixed(2)})
		}
		if q.Cursor = page.NextCursor; !page.HasMore {
			return nil
		}
	}
}

// orphans looks for tokens, items and connections that do not belong together.
func (s *storm) orphans(ctx context.Context, f *findings) error {
	connections, err := all(ctx, s.store, store.Connections)
	if err != nil {
		return err
	}
	items := map[string]plaid.Item{}
	for _, i := range s.items() {
		items[i.ID] = i
	}
	orphan := func(format string, args ...any) { f.orphaned = append(f.orphaned, fmt.Sprintf(format, args...)) }
	held, tokens := map[string]bool{}, map[string]bool{}
	for _, c := range connections {
		name := vault.ConnectionToken(c.ID)
		tokens[name] = c.State != bank.Disconnected
		if c.State == bank.Disconnected {
			continue
		}
		held[c.Item] = true
		token, err := s.vault.Get(ctx, name)
		if err != nil {
			orphan("connection %s is %s and its token cannot be read: %v", c.ID, c.State, err)
			continue
		}
		if item, err := s.itemOf(token.Reveal()); err != nil || item != c.Item {
			orphan("connection %s has the item %s, and a token of %q (%v)", c.ID, c.Item, item, err)
		}
	}
	f.twice = twice(connections)
	stray, err := s.secrets(ctx, "connection-")
	if err != nil {
		return err
	}
	for _, name := range stray {
		if !tokens[name] {
			orphan("the token %s has no connection that lives", name)
		}
	}
	lost, err := s.visits(ctx, f)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for item, candidate := range s.exchanged {
		if _, lives := items[item]; lives && !held[item] && !lost[candidate] {
			orphan("the item %s of %s lives at the bank and no connection has it", item, items[item].User)
		}
	}
	return nil
}

// items are those that live at the bank.
func (s *storm) items() (all []plaid.Item) {
	_ = s.world.Plaid.Do(func(b *plaid.Bank) error { all = b.Items(); return nil }) // it only reads
	return all
}

func (s *storm) itemOf(token string) (id string, err error) {
	err = s.world.Plaid.Do(func(b *plaid.Bank) error {
		item, err := b.Item(token)
		id = item.ID
		return err
	})
	return id, err
}

// secrets lists the names of what is in the vault.
func (s *storm) secrets(ctx context.Context, prefix string) (list []string, err error) {
	for after := ""; ; after = list[len(list)-1] {
		some, err := s.vault.List(ctx, prefix, after)
		if err != nil || len(some) == 0 {
			return list, err
		}
		list = append(list, some...)
	}
}

// visits looks at the sessions. lost are the candidates of those that say themselves that the bank's answer was lost: the one
// case in which an item may live on that nobody has, because the bank tells its token only once.
func (s *storm) visits(ctx context.Context, f *findings) (lost map[string]bool, err error) {
	sessions, err := all(ctx, s.store, store.Sessions)
	if err != nil {
		return nil, err
	}
	handles, err := s.secrets(ctx, "session-")
	if err != nil {
		return nil, err
	}
	lost = map[string]bool{}
	open := map[string]bool{}
	for _, o := range sessions {
		open[vault.SessionHandle(o.ID)] = !o.State.Final()
		if o.State == bank.Lost {
			lost[o.Candidate] = true
		}
	}
	f.sessions = len(lost)
	f.handles = len(slices.DeleteFunc(handles, func(name string) bool { return open[name] }))
	return lost, nil
}

// twice lists customers of whom a person has made two connections.
func twice(connections []*bank.Connection) (some []string) {
	seen := map[string]bool{}
	for _, c := range connections {
		if c.State == bank.Disconnected || len(c.Accounts) == 0 {
			continue
		}
		user, _, _ := strings.Cut(c.Accounts[0].Name, " ")
		if seen[user] {
			some = append(some, user)
		}
		seen[user] = true
	}
	return some
}
