package posting_test

import (
	"fmt"
	"testing"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
)

// february is a day before the clock of the rig.
func february(day int) civil.Date { return civil.Date{Year: 2026, Month: 2, Day: day} }

func purchase(id string, how ...func(*bank.Transaction)) bank.Transaction {
	t := movement(0, 0)
	t.ID, t.Date, t.Amount, t.Direction, t.Text = id, february(10), decimal.RequireFromString("12.50"), bank.Out, "SHOP"
	for _, h := range how {
		h(&t)
	}
	return t
}

func dated(n int) func(*bank.Transaction) { return func(t *bank.Transaction) { t.Date = february(n) } }

func costs(a string) func(*bank.Transaction) {
	return func(t *bank.Transaction) { t.Amount = decimal.RequireFromString(a) }
}
func says(s string) func(*bank.Transaction) { return func(t *bank.Transaction) { t.Text = s } }
func unsettled(t *bank.Transaction)         { t.Pending = true }

// retelling is a rig whose bank tells removals only by what it no longer names, with rows that were recorded.
func retelling(t *testing.T, rows ...bank.Transaction) *rig {
	t.Helper()
	return retellingInto(t, memory.New(), rows...)
}

func retellingInto(t *testing.T, s store.Store, rows ...bank.Transaction) *rig {
	t.Helper()
	r := newRig(t, s, 1)
	since := february(1)
	r.bank.retells = &since
	r.link(theBook, 0, func(i *bank.Integration) { i.Pending = true })
	r.bank.says(rows...)
	r.post()
	if n := len(r.shelf.standing(theBook)); n != len(rows) {
		t.Fatalf("%d of %d rows were recorded", n, len(rows))
	}
	return r
}

// The draft is the same record before and after, with what a person has added to it.
func TestARowWhoseIDChangesStaysOneDraft(t *testing.T) {
	for name, c := range map[string]struct{ was, is bank.Transaction }{
		"the id alone":                   {purchase("a"), purchase("b")},
		"the day too":                    {purchase("a"), purchase("b", dated(13))},
		"the text too":                   {purchase("a"), purchase("b", says("SHOP SAO PAULO"))},
		"day and text too":               {purchase("a"), purchase("b", dated(7), says("SHOP SAO PAULO"))},
		"it settles":                     {purchase("a", unsettled), purchase("b")},
		"the amount too":                 {purchase("a"), purchase("b", costs("13.75"))},
		"it settles with another amount": {purchase("a", unsettled), purchase("b", costs("13.75"), dated(12))},
	} {
		t.Run(name, func(t *testing.T) {
			r := retelling(t, c.was)
			before := r.shelf.standing(theBook)[0]
			r.shelf.edit(theBook, before.ID, func(l *ledger.Transaction) { l.Debit = "groceries" })
			r.bank.takesBack(c.was)
			r.bank.says(c.is)
			r.post()
			all := r.shelf.standing(theBook)
			if len(all) != 1 || all[0].ID != before.ID || all[0].Debit != "groceries" {
				t.Fatalf("%+v", all)
			}
			if got := all[0]; got.Date != c.is.Date || !got.Amount.Equal(c.is.Amount) || got.Description != c.is.Text {
				t.Errorf("%+v, want %+v", got, c.is)
			}
			r.bank.says(purchase("b", says("LATER")))
			r.post()
			if all := r.shelf.standing(theBook); len(all) != 1 || all[0].Description != "LATER" {
				t.Errorf("under its new id it is not followed: %+v", all)
			}
		})
	}
}

func TestRowsThatAreNotNamedAreTakenBackAndTheOthersStay(t *testing.T) {
	for name, c := range map[string]struct {
		was, gone, is []bank.Transaction
		left          int
	}{
		"one of two alike": {[]bank.Transaction{purchase("a"), purchase("b")}, []bank.Transaction{purchase("a")}, nil, 1},
		"one, and another purchase comes": {
			[]bank.Transaction{purchase("a"), purchase("b", says("B"))}, []bank.Transaction{purchase("a")}, []bank.Transaction{purchase("c", costs("99"))}, 2,
		},
		"two alike get new ids": {
			[]bank.Transaction{purchase("a"), purchase("b")}, []bank.Transaction{purchase("a"), purchase("b")}, []bank.Transaction{purchase("c"), purchase("d")}, 2,
		},
		"far away is another purchase": {
			[]bank.Transaction{purchase("a", dated(1)), purchase("k", says("K"))}, []bank.Transaction{purchase("a", dated(1))}, []bank.Transaction{purchase("b", dated(20))}, 2,
		},
		"what is older than the window": {
			[]bank.Transaction{purchase("a", func(t *bank.Transaction) { t.Date = february(1).AddDays(-1) }), purchase("b")}, nil, []bank.Transaction{purchase("c", says("C"))}, 3,
		},
		"the only one": {[]bank.Transaction{purchase("a")}, []bank.Transaction{purchase("a")}, nil, 0},
		"all of several, which is more likely a fault": {
			[]bank.Transaction{purchase("a"), purchase("b")}, []bank.Transaction{purchase("a"), purchase("b")}, nil, 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := retelling(t, c.was...)
			r.bank.takesBack(c.gone...)
			r.bank.says(c.is...)
			r.post()
			if n := len(r.shelf.standing(theBook)); n != c.left {
				t.Errorf("%d records stand, want %d", n, c.left)
			}
		})
	}
}

func TestARecordThatAPersonTrashedStaysTrashedUnderANewID(t *testing.T) {
	r := retelling(t, purchase("a"), purchase("b", says("B")))
	for _, l := range r.shelf.standing(theBook) {
		if l.Description == "SHOP" {
			r.shelf.edit(theBook, l.ID, func(l *ledger.Transaction) { l.Trashed = true })
		}
	}
	r.bank.says(purchase("a", says("SHOP"), dated(11))) // which is how it is heard that the record is in the trash
	r.post()
	r.bank.takesBack(purchase("a"))
	r.bank.says(purchase("c", dated(11)))
	r.post()
	if all := r.shelf.standing(theBook); len(all) != 1 || all[0].Description != "B" {
		t.Errorf("%+v", all)
	}
}

func TestWhenTooMuchIsGoneAtOnceNothingIsTakenBackAndItIsTold(t *testing.T) {
	var rows []bank.Transaction
	for n := range 40 {
		rows = append(rows, purchase(fmt.Sprint("row", n), costs(fmt.Sprint(n+1)), dated(1+n%20), says(fmt.Sprint("SHOP ", n))))
	}
	r := retelling(t, rows...)
	r.bank.takesBack(rows[:30]...)
	r.post()
	if n := len(r.shelf.standing(theBook)); n != 40 {
		t.Errorf("%d records stand", n)
	}
	e := r.engine()
	if got := e.Progress[r.wanted(theBook, 0).ID].Vanished; got != 30 {
		t.Errorf("%d are told", got)
	}
	r.bank.says(rows[15:30]...)
	r.post()
	if n := len(r.shelf.standing(theBook)); n != 25 {
		t.Errorf("%d records stand once fewer are gone", n)
	}
}

// A page may hold far more than what can be intended at once.
func TestAPageOfAnySizeIsRecordedInSteps(t *testing.T) {
	r := retelling(t, purchase("first"))
	var rows []bank.Transaction
	for n := range 1700 {
		rows = append(rows, purchase(fmt.Sprint("row", n), costs(fmt.Sprint(n+1)), dated(1+n%20)))
	}
	r.bank.says(rows...)
	steps := 0
	r.shelf.wrote = func(string, ledger.Operation, []ledger.Transaction) {
		steps++
		if open := len(r.engine().Open); open > 1 {
			t.Errorf("%d steps are open at once", open)
		}
		for _, s := range r.engine().Open {
			if len(s.Rows) > 500 {
				t.Errorf("%d rows are intended at once", len(s.Rows))
			}
		}
		if n := len(r.engine().Read.Written); n > 500 {
			t.Errorf("%d ids are kept beside the read", n)
		}
	}
	r.post()
	if n := len(r.shelf.standing(theBook)); n != 1701 || steps < 4 {
		t.Errorf("%d records stand after %d batches", n, steps)
	}
}
