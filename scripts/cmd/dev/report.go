package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/scripts/internal/world"
	ledgerbkper "github.com/bkper/automations-portal/shared/ledger/bkper"

	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/sandbox/bankfile"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/view"
)

// groupOf collects from several goroutines.
type groupOf[T any] struct {
	mu  sync.Mutex
	all []T
}

func (g *groupOf[T]) add(v T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all = append(g.all, v)
}

// entry is a record of the Book, signed as the bank sees it.
type entry struct {
	ledger.Transaction
	account string
	signed  decimal.Decimal
}

// entries reads what stands in the Book for linked accounts, by the id of the integration.
func (s *system) entries(ctx context.Context, p *person, book string, linked []view.Integration) (map[string][]entry, error) {
	client, err := ledgerbkper.New(ledgerbkper.Config{BaseURL: s.cfg.BkperURL, Agent: s.cfg.BkperAgent})
	if err != nil {
		return nil, err
	}
	found := map[string][]entry{}
	for _, i := range linked {
		q := ledger.Query{Account: i.AccountName}
		for {
			page, err := client.Find(ctx, secret.New(p.Token), book, q)
			if err != nil {
				return nil, err
			}
			for _, t := range page.Transactions {
				e := entry{t, i.AccountName, t.Amount}
				if t.Credit == i.Account {
					e.signed = t.Amount.Neg()
				}
				found[i.ID] = append(found[i.ID], e)
			}
			if q.Cursor = page.Cursor; q.Cursor == "" {
				break
			}
		}
	}
	return found, nil
}

func count(all map[string][]entry) (n int) {
	for _, es := range all {
		n += len(es)
	}
	return n
}

// sendSome makes the bank send a few new transactions and waits until they stand in the Book.
func (s *system) sendSome(ctx context.Context, p *person, o options, book string, linked []view.Integration, stdout io.Writer) error {
	before, err := s.entries(ctx, p, book, linked)
	if err != nil {
		return err
	}
	send := s.sendToPlaid
	if o.country == brazil {
		send = s.sendToBrazil
	}
	begun := time.Now()
	sent, err := send(linked[0].Key)
	if err != nil {
		return err
	}
	for {
		now, err := s.entries(ctx, p, book, linked)
		if err != nil {
			return err
		}
		if count(now) >= count(before)+sent {
			fmt.Fprintf(stdout, "The bank sent %d new transactions; they stood in the Book after %.1f s.\n", sent, time.Since(begun).Seconds())
			return nil
		}
		if err := world.Pause(ctx, interval); err != nil {
			return err
		}
	}
}

// sendToPlaid makes the bank send a few new transactions, and returns how many.
func (s *system) sendToPlaid(account string) (int, error) {
	rows := []plaid.Row{
		{Amount: decimal.RequireFromString("4.33"), Description: "COFFEE CORNER 0042"},
		{Amount: decimal.RequireFromString("89.4"), Description: "UTILITY CO DIRECT DEBIT"},
		{Amount: decimal.RequireFromString("-1250"), Description: "CLIENT PAYMENT INV 1007"},
	}
	return len(rows), s.world.Plaid.Do(func(b *plaid.Bank) error {
		_, err := b.Add(account, rows...)
		return err
	})
}

const shown = 15

// printBook prints the newest records, and the sum of each Account.
func (s *system) printBook(ctx context.Context, p *person, book string, linked []view.Integration, stdout io.Writer) error {
	found, err := s.entries(ctx, p, book, linked)
	if err != nil {
		return err
	}
	var all []entry
	w := tabwriter.NewWriter(stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nAccount\tRecords\tSum")
	for _, i := range linked {
		sum := decimal.Zero
		for _, e := range found[i.ID] {
			sum = sum.Add(e.signed)
		}
		all = append(all, found[i.ID]...)
		fmt.Fprintf(w, "%s\t%d\t%s %s\n", i.AccountName, len(found[i.ID]), sum.StringFixed(2), i.Currency)
	}
	slices.SortStableFunc(all, func(a, b entry) int { return strings.Compare(b.Date.String(), a.Date.String()) })
	fmt.Fprintf(w, "\nDate\tAccount\tAmount\tDescription\t\n")
	for _, e := range all[:min(shown, len(all))] {
		state := "draft"
		if e.Posted {
			state = "posted"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.Date, e.account, e.signed.StringFixed(2), e.Description, state)
	}
	if len(all) > shown {
		fmt.Fprintf(w, "… and %d more\n", len(all)-shown)
	}
	return w.Flush()
}

// tieOut compares, account by account, what the bank says that it holds with the sum of the Book's records.
func (s *system) tieOut(ctx context.Context, p *person, book string, linked []view.Integration, file *bankfile.File, stdout io.Writer) error {
	found, err := s.entries(ctx, p, book, linked)
	if err != nil {
		return err
	}
	byName := map[string]view.Integration{}
	for _, i := range linked {
		byName[i.AccountName] = i
	}
	w := tabwriter.NewWriter(stdout, 2, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "Account\tRecords\tBank's balance\tSum in the Book\t\t")
	records, differ := 0, 0
	for _, c := range file.Closings() {
		i := byName[c.Name]
		sum := decimal.Zero
		for _, e := range found[i.ID] {
			sum = sum.Add(e.signed)
		}
		records += len(found[i.ID])
		verdict := "ties out"
		if !sum.Equal(c.Balance) {
			verdict = "DIFFERS"
			differ++
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t\n", c.Name, len(found[i.ID]), c.Balance.StringFixed(2), sum.StringFixed(2), verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d records in %d accounts; %d of the bank's file.\n", records, len(file.Closings()), file.Rows())
	if differ > 0 || records != file.Rows() {
		return errors.New("the Book does not tie out with the bank")
	}
	fmt.Fprintln(stdout, "Every account ties out with the bank's own balance.")
	return nil
}
