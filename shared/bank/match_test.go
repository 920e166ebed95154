package bank_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/bank"
)

func TestAnAccountThatABankListsTwiceIsOne(t *testing.T) {
	t.Parallel()
	a := bank.Account{ID: "a", Name: "Current", Mask: "0001", Type: bank.Deposit, Currency: "BRL"}
	b := bank.Account{ID: "b", Name: "Savings", Mask: "0002", Type: bank.Deposit, Currency: "BRL"}
	listed := []bank.Account{a, b, a}
	want := []bank.LinkedAccount{{Key: "a", Account: a}, {Key: "b", Account: b}}
	var known []bank.LinkedAccount
	for look := range 3 {
		accounts, moved := bank.Match(known, listed)
		if diff := cmp.Diff(want, accounts); diff != "" || len(moved) > 0 {
			t.Fatalf("look %d: moved %v\n%s", look, moved, diff)
		}
		known = accounts
	}
	// As an earlier version may have written it down.
	if accounts, _ := bank.Match([]bank.LinkedAccount{want[0], want[1], want[0]}, listed); !cmp.Equal(accounts, want) {
		t.Errorf("%+v", accounts)
	}
}
