package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/sandbox/pluggy"
	"github.com/bkper/automations-portal/shared/view"
)

// brazil is where the banks are Pluggy's.
const brazil = "BR"

// sendToBrazil makes the bank send a few new transactions, and returns how many.
func (s *system) sendToBrazil(account string) (int, error) {
	rows := []pluggy.Row{
		{Type: pluggy.Debit, Amount: decimal.RequireFromString("4.33"), Description: "PADARIA SAO JOAO 0042"},
		{Type: pluggy.Debit, Amount: decimal.RequireFromString("89.4"), Description: "ENERGIA DEBITO AUTOMATICO"},
		{Type: pluggy.Credit, Amount: decimal.RequireFromString("1250"), Description: "PIX RECEBIDO CLIENTE NF 1007"},
	}
	return len(rows), s.world.Pluggy.Do(func(b *pluggy.Bank) error {
		_, err := b.Add(account, rows...)
		return err
	})
}

// tieOutBrazil compares, account by account, the bank's own balance with what stood there before the first row that it tells and
// the sum of the Book's records. What is dated in the future is in the Book already, and in the balance of a card.
func (s *system) tieOutBrazil(ctx context.Context, p *person, book string, conn view.Connection, linked []view.Integration, stdout io.Writer) error {
	found, err := s.entries(ctx, p, book, linked)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(stdout, 2, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nAccount\tRecords\tBefore the first\tSum in the Book\tOf these to come\tBank's balance\t\t")
	differ := 0
	for _, i := range linked {
		var tie pluggy.Tie
		err := s.world.Pluggy.Do(func(b *pluggy.Bank) (err error) {
			tie, err = b.Tie(i.Key)
			return err
		})
		if err != nil {
			return err
		}
		sum := decimal.Zero
		for _, e := range found[i.ID] {
			sum = sum.Add(e.signed)
		}
		before, balance, ahead := tie.Opening, tie.Balance, tie.Future
		if isCard(conn, i.Key) { // what is owed is positive there
			before, balance, ahead = before.Neg(), balance.Neg(), decimal.Zero
		}
		verdict := "ties out"
		if !before.Add(sum).Sub(ahead).Equal(balance) {
			verdict = "DIFFERS"
			differ++
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t\n", i.AccountName, len(found[i.ID]), before.StringFixed(2), sum.StringFixed(2), ahead.StringFixed(2), balance.StringFixed(2), verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if differ > 0 {
		return errors.New("the Book does not tie out with the bank")
	}
	fmt.Fprintln(stdout, "Every account ties out with the bank's own balance.")
	return nil
}

func isCard(conn view.Connection, key string) bool {
	for _, a := range conn.Accounts {
		if a.Key == key {
			return a.Type == string(bank.Card)
		}
	}
	return false
}
