package plaid

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/bankfile"
	"github.com/bkper/automations-portal/shared/sandbox/provider/providertest"
	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
)

const csvHeader = "date,id,account,amount,currency,description,balance\n"

func readFile(t *testing.T, text string) *bankfile.File {
	t.Helper()
	f, err := bankfile.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestABanksFileBecomesAnInstitution(t *testing.T) {
	b := simBank(1)
	// The last day's lines are out of order: the day ends at 80, whatever line comes last.
	file := csvHeader +
		"1993-03-01,7,201972,100.00,CZK,VKLAD,100.00\n" +
		"1994-02-28,9,201972,-30.00,CZK,VYBER,80.00\n" +
		"1994-02-28,8,201972,10.00,CZK,UROK,110.00\n" +
		"1993-03-05,5,33,4.50,CZK,\"PŘÍJEM, 1\",4.50\n"
	f := readFile(t, file)
	inst, err := b.LoadFile(f, "Old Bank", noon.AddDate(0, 0, -1))
	if err != nil {
		t.Fatal(err)
	}
	want := []bankfile.Closing{
		{Account: "201972", Name: "Account 201972", Mask: "1972", Currency: "CZK", Balance: money("80")},
		{Account: "33", Name: "Account 33", Mask: "33", Currency: "CZK", Balance: money("4.5")},
	}
	if diff := cmp.Diff(want, f.Closings()); diff != "" {
		t.Error(diff)
	}
	for _, country := range Countries {
		if found, err := b.SearchInstitutions("old b", []string{country}, []string{"transactions"}, nil); err != nil || len(found) != 1 || found[0].ID != inst.ID {
			t.Errorf("search in %s: %v %v", country, found, err)
		}
	}
	access, _ := linked(t, b, inst.ID, "user_good")
	got := state{}
	got.drain(t, b, access, "", 1)
	texts := map[string]string{}
	for _, x := range got {
		texts[x.Name] = x.Date + " " + x.Amount.String() + " " + x.Currency
	}
	if diff := cmp.Diff(map[string]string{
		"VKLAD": "2025-11-20 -100 CZK", "VYBER": "2026-11-19 30 CZK", "UROK": "2026-11-19 -10 CZK", "PŘÍJEM, 1": "2025-11-24 -4.5 CZK",
	}, texts); diff != "" {
		t.Error(diff)
	}
	again, err := b.LoadFile(f, "Old Bank", noon.AddDate(0, 0, 5))
	if err != nil || again != inst || len(b.customers) != 1 {
		t.Errorf("loading again moved something: %v", err)
	}
}

// manyAccounts is a bank's file of 140 accounts with 28 rows each.
func manyAccounts() string {
	var file strings.Builder
	file.WriteString(csvHeader)
	n := 0
	for a := range 140 {
		balance := decimal.Zero
		for d := range 28 {
			amount := decimal.New(int64((a*31+d*17)%9973)-3000, -2)
			balance = balance.Add(amount)
			n++
			fmt.Fprintf(&file, "1994-01-%02d,%d,%d,%s,CZK,x,%s\n", d+1, n, 1000+a, amount.StringFixed(2), balance.StringFixed(2))
		}
	}
	return file.String()
}

func TestAnItemOfManyAccountsTiesOutToTheCent(t *testing.T) { checkFile(t, manyAccounts(), 140) }

func TestAnItemOfManyAccountsWorksOverHTTP(t *testing.T) {
	r := newRig(t, Options{DB: providertest.OpenDisk(t)}, false)
	resp, err := http.Post(r.url+"/_sim/institutions?name=Many&last_day="+time.Now().Format(time.DateOnly), "text/csv", strings.NewReader(manyAccounts()))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var made struct {
		ID string `json:"institution_id"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || made.ID == "" {
		t.Fatalf("%d: %v", resp.StatusCode, err)
	}
	token := r.linkToken(t, country("DE"))
	r.visit(t, token.GetHostedLinkUrl(), made.ID)
	access, _ := r.itemByExchange(t, r.Next(t, "ITEM_ADD_RESULT").Fields["public_token"].(string))
	added, _, _, _ := r.syncAll(t.Context(), t, access, "")
	accounts := map[string]bool{}
	for _, x := range added {
		accounts[x.AccountId] = true
	}
	if len(r.masks(t, access)) != 140 || len(accounts) != 140 || len(added) != 140*28 {
		t.Errorf("%d accounts, %d transactions of %d accounts", len(r.masks(t, access)), len(added), len(accounts))
	}
}

func checkFile(t *testing.T, file string, accounts int) {
	t.Helper()
	b := simBank(1)
	f := readFile(t, file)
	inst, err := b.LoadFile(f, "Many", noon)
	if err != nil {
		t.Fatal(err)
	}
	access, _ := linked(t, b, inst.ID, "user_good")
	list, _, err := b.Accounts(access, nil)
	if err != nil || len(list) != accounts {
		t.Fatalf("%d accounts: %v", len(list), err)
	}
	got := state{}
	got.drain(t, b, access, "", 500)
	sums := map[string]decimal.Decimal{}
	for _, x := range got {
		sums[x.AccountID] = sums[x.AccountID].Sub(x.Amount)
	}
	for i, c := range f.Closings() {
		a := list[i]
		if a.Name != c.Name || !a.Balances.Current.Equal(c.Balance) || !sums[a.AccountID].Equal(c.Balance) {
			t.Errorf("%s: the bank says %s, the account %s, the rows %s", c.Name, c.Balance, a.Balances.Current, sums[a.AccountID])
		}
	}
	if len(got) != strings.Count(file, "\n")-1 {
		t.Errorf("%d transactions of %d lines", len(got), strings.Count(file, "\n")-1)
	}
}
