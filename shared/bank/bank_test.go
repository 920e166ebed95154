package bank

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func linked(key string, a Account) LinkedAccount { return LinkedAccount{Key: key, Account: a} }

func TestAccountsKeepTheirKeysWhenTheBankNamesThemAnew(t *testing.T) {
	a := Account{ID: "a", Name: "Checking", Mask: "0001", Type: Deposit, Currency: "USD"}
	b := Account{ID: "b", Name: "Card", Mask: "0002", Type: Card, Currency: "USD"}
	named := func(a Account, id string) Account { a.ID = id; return a }
	lasting := func(a Account, id string) Account { a.Persistent = id; return a }
	gone := func(l LinkedAccount) LinkedAccount { l.Gone = true; return l }
	for name, c := range map[string]struct {
		old   []LinkedAccount
		now   []Account
		want  []LinkedAccount
		moved []string
	}{
		"new ones":           {nil, []Account{a, b}, []LinkedAccount{linked("a", a), linked("b", b)}, nil},
		"the same":           {[]LinkedAccount{linked("k", a)}, []Account{a}, []LinkedAccount{linked("k", a)}, nil},
		"one is gone":        {[]LinkedAccount{linked("k", a), linked("l", b)}, []Account{b}, []LinkedAccount{gone(linked("k", a)), linked("l", b)}, nil},
		"one is back":        {[]LinkedAccount{gone(linked("k", a)), linked("l", b)}, []Account{a, b}, []LinkedAccount{linked("k", a), linked("l", b)}, []string{"k"}},
		"named anew":         {[]LinkedAccount{linked("k", a)}, []Account{named(a, "a2")}, []LinkedAccount{linked("k", named(a, "a2"))}, []string{"k"}},
		"two that are alike": {[]LinkedAccount{linked("k", a)}, []Account{named(a, "a2"), named(a, "a3")}, []LinkedAccount{gone(linked("k", a)), linked("a2", named(a, "a2")), linked("a3", named(a, "a3"))}, nil},
		"told by what lasts": {
			[]LinkedAccount{linked("k", lasting(a, "p"))},
			[]Account{lasting(named(a, "a2"), "q"), lasting(named(b, "a3"), "p")},
			[]LinkedAccount{linked("k", lasting(named(b, "a3"), "p")), linked("a2", lasting(named(a, "a2"), "q"))},
			[]string{"k"},
		},
		"one is told twice": {[]LinkedAccount{linked("k", a)}, []Account{a, b, a}, []LinkedAccount{linked("k", a), linked("b", b)}, nil},
		"a new one twice":   {nil, []Account{a, a}, []LinkedAccount{linked("a", a)}, nil},
	} {
		got, moved := Match(c.old, c.now)
		if !slices.Equal(got, c.want) || !slices.Equal(moved, c.moved) {
			t.Errorf("%s: %+v, moved %v", name, got, moved)
		}
		if again, _ := Match(got, c.now); !slices.Equal(again, got) {
			t.Errorf("%s: told again it becomes %+v", name, again)
		}
	}
}

func TestAmountsThatNoBookTakesAreNone(t *testing.T) {
	for text, good := range map[string]bool{
		"0": true, "-0": true, "12.30": true, "1e3": true, "-2.5E-3": true, "90071992547409.93": true, "99999999999999999999": true,
		"0.000000000000000000000000000001": true, "1.000000000000000000000000000000": true,
		"100000000000000000000": false, "1e20": false, "1e60": false, "-1e99": false, "1e-99": false, "1e999999999": false, "0x1": false,
		"": false, "+1": false, "1.": false, ".5": false, "NaN": false, "1,5": false, " 1": false, "1\n": false, `"1"`: false,
		strings.Repeat("9", 40): false,
	} {
		if d, err := ParseAmount(text); (err == nil) != good || (d.NumDigits() > 50) {
			t.Errorf("%q: %s, %v", text, d, err)
		}
	}
}

func TestIDsThatCannotBeWorkedWithAreToldApart(t *testing.T) {
	for id, good := range map[string]bool{
		"a8534c85-53ce-4f21-94d7-50e9d2ee4957": true, "lPNjeW1nR6CDn5okmGQ6hEpMo4lLNoSrzqDje": true, "a/b:c.d_e": true, strings.Repeat("x", 200): true,
		"": false, " ": false, "a b": false, "a\n": false, "é": false, `"`: false, "'": false, "a\x00": false, strings.Repeat("x", 201): false,
	} {
		if UsableID(id) != good {
			t.Errorf("%q", id)
		}
	}
	row := []byte(fmt.Sprintf("%01000d", 7))
	if id := UnnamedID(row); !UsableID(id) || id != UnnamedID(row) || id == UnnamedID(row[1:]) {
		t.Error(id)
	}
}
