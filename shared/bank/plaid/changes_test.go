package plaid

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/civil"
	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/bank/internal/tolerant"
	"github.com/bkper/automations-portal/shared/secret"
)

var exact = cmp.Comparer(func(a, b decimal.Decimal) bool { return a.Equal(b) })

// fullRow is a transaction with every field that Plaid sends.
const fullRow = `{"transaction_id":"t1","account_id":"a1","account_owner":null,"amount":12.30,"iso_currency_code":"USD","unofficial_currency_code":null,
	"category":["Food"],"category_id":"1","check_number":"1001","counterparties":[{"name":"Cafe","type":"merchant"}],"date":"2026-03-13","datetime":null,
	"authorized_date":"2026-03-12","authorized_datetime":null,"location":{"city":null,"lat":null},"name":"Cafe","merchant_name":"The Cafe",
	"merchant_entity_id":"m1","logo_url":null,"website":"cafe.example","original_description":"CAFE *SQ 1234  NYC","payment_channel":"in store",
	"payment_meta":{"reference_number":"R9","payee":null},"pending":false,"pending_transaction_id":"t0",
	"personal_finance_category":{"primary":"FOOD_AND_DRINK","detailed":"FOOD_AND_DRINK_COFFEE","confidence_level":"HIGH"},
	"transaction_code":"purchase","transaction_type":"place","unknown_later":{"deep":[1,2]}}`

func page(rest string) string {
	return `{"added":[],"modified":[],"removed":[],"request_id":"r",` + rest + `}`
}

func TestChangesSaysOnePageInOurWords(t *testing.T) {
	p, server := open(t, map[string]http.HandlerFunc{"/transactions/sync": answerWith(`{"added":[` + fullRow + `],
		"modified":[{"transaction_id":"t2","account_id":"a2","amount":-0.1,"iso_currency_code":null,"unofficial_currency_code":"BTC","date":"2026-02-28",
			"name":"REFUND","original_description":null,"pending":true,"pending_transaction_id":null}],
		"removed":[{"transaction_id":"t0","account_id":"a1"},{"transaction_id":"t9"}],
		"accounts":[{"account_id":"a1","name":"Checking","mask":"0000","type":"depository","subtype":"checking","persistent_account_id":"p1",
			"balances":{"available":1,"current":2,"iso_currency_code":"USD","unofficial_currency_code":null}},{"account_id":7}],
		"next_cursor":"c1","has_more":true,"transactions_update_status":"HISTORICAL_UPDATE_COMPLETE","request_id":"r"}`)})
	got, err := p.Changes(t.Context(), bank.From{Token: secret.New(itemToken), At: "c0"})
	if err != nil {
		t.Fatal(err)
	}
	want := bank.Page{
		Changed: []bank.Transaction{{
			ID: "t1", Account: "a1", PendingID: "t0", Date: civil.Date{Year: 2026, Month: 3, Day: 13}, Amount: decimal.RequireFromString("12.3"),
			Currency: "USD", Direction: bank.Out, Text: "CAFE *SQ 1234  NYC",
			Details: map[string]string{
				"merchant": "The Cafe", "category": "FOOD_AND_DRINK_COFFEE", "check_number": "1001", "payment_channel": "in store",
				"transaction_code": "purchase", "reference_number": "R9", "authorized_date": "2026-03-12",
			},
		}, {
			ID: "t2", Account: "a2", Pending: true, Date: civil.Date{Year: 2026, Month: 2, Day: 28}, Amount: decimal.RequireFromString("0.1"),
			Currency: "BTC", Direction: bank.In, Text: "REFUND", Details: map[string]string{},
		}},
		Removed: []bank.RemovedTransaction{{ID: "t0", Account: "a1"}, {ID: "t9"}},
		Next:    "c1", More: true, Complete: true,
		Accounts: []bank.Account{{ID: "a1", Persistent: "p1", Name: "Checking", Mask: "0000", Type: bank.Deposit, Subtype: "checking", Currency: "USD"}},
	}
	if diff := cmp.Diff(want, got, exact); diff != "" {
		t.Error(diff)
	}
	wantBody := map[string]any{
		"access_token": itemToken, "cursor": "c0", "count": 500.0, "options": map[string]any{"include_original_description": true},
	}
	if diff := cmp.Diff(wantBody, server.asked[0].body); diff != "" {
		t.Error(diff)
	}
}

func TestTheFirstReadSendsNoCursor(t *testing.T) {
	p, server := open(t, map[string]http.HandlerFunc{"/transactions/sync": answerWith(page(`"next_cursor":"","has_more":false,"transactions_update_status":"NOT_READY"`))})
	got, err := p.Changes(t.Context(), bank.From{Token: secret.New(itemToken)})
	if err != nil || got.Next != "" || got.More || got.Complete {
		t.Errorf("%+v, %v", got, err)
	}
	if _, ok := server.asked[0].body["cursor"]; ok {
		t.Error("an empty cursor was sent")
	}
}

func TestAnEmptyCursorNeverReplacesARealOne(t *testing.T) {
	got, err := readPage([]byte(page(`"next_cursor":"","has_more":false,"transactions_update_status":"NOT_READY"`)), "c7")
	if err != nil || got.Next != "c7" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAPageThatPromisesMoreMustMoveOn(t *testing.T) {
	for _, next := range []string{"", "c7"} {
		if _, err := readPage([]byte(page(`"next_cursor":"`+next+`","has_more":true`)), "c7"); bank.KindOf(err) != bank.Retry || err == nil {
			t.Errorf("%q: %v", next, err)
		}
	}
}

// Every answer has these. One without them, taken for an empty one, would move the cursor past rows that nobody has read.
func TestAnAnswerWithoutItsPartsIsNoPage(t *testing.T) {
	whole := []string{`"added":[]`, `"modified":[]`, `"removed":[]`, `"next_cursor":"c1"`, `"has_more":false`}
	if _, err := readPage([]byte("{"+strings.Join(whole, ",")+"}"), "c0"); err != nil {
		t.Fatal(err)
	}
	for i, part := range whole {
		name, _, _ := strings.Cut(part, ":")
		for _, instead := range []string{`"x":1`, name + ":null"} {
			parts := slices.Clone(whole)
			parts[i] = instead
			body := "{" + strings.Join(parts, ",") + "}"
			if got, err := readPage([]byte(body), "c0"); bank.CodeOf(err) != badAnswer || bank.KindOf(err) != bank.Retry {
				t.Errorf("%s: %+v, %v", body, got, err)
			}
		}
	}
}

// What is kept of an answer must fit where it is kept: one row must not stop all that come after it.
func TestIDsAndCursorsThatPlaidNeverGivesAreNotKept(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	if _, err := readPage([]byte(page(`"next_cursor":"`+long+`","has_more":true`)), "c0"); bank.CodeOf(err) != badAnswer {
		t.Errorf("a cursor of a megabyte: %v", err)
	}
	for _, id := range []string{long, "a b", `it's \"both\"`, `a\u0000`, `a\nb`, "é"} {
		row := strings.Replace(fullRow, `"t1"`, `"`+id+`"`, 1)
		got, err := readPage([]byte(`{"added":[`+row+`,`+fullRow+`],"modified":[],"removed":[{"transaction_id":"`+id+`","account_id":"a1"}],"next_cursor":"c1","has_more":false}`), "")
		if err != nil || len(got.Changed) != 1 || len(got.Removed) != 0 || len(got.Unusable) != 2 || got.Unusable[0].ID == id {
			t.Errorf("%.20q: %d changed, %d removed, %d unusable, %v", id, len(got.Changed), len(got.Removed), len(got.Unusable), err)
		}
		pending := strings.Replace(fullRow, `"t0"`, `"`+id+`"`, 1)
		if got, err = readPage([]byte(`{"added":[`+pending+`],"modified":[],"removed":[],"next_cursor":"c1","has_more":false}`), ""); err != nil || len(got.Changed) != 1 || got.Changed[0].PendingID != "" {
			t.Errorf("as pending %.20q: %+v, %v", id, got.Changed, err)
		}
	}
}

func TestHistoryIsCompleteOnlyWhenPlaidSaysSo(t *testing.T) {
	for status, complete := range map[string]bool{
		`"HISTORICAL_UPDATE_COMPLETE"`: true, `"INITIAL_UPDATE_COMPLETE"`: false, `"NOT_READY"`: false,
		`"TRANSACTIONS_UPDATE_STATUS_UNKNOWN"`: false, `null`: false, `"new"`: false,
	} {
		got, err := readPage([]byte(page(`"next_cursor":"c1","has_more":false,"transactions_update_status":`+status)), "")
		if err != nil || got.Complete != complete {
			t.Errorf("%s: %+v, %v", status, got, err)
		}
	}
}

func TestAmountsAreExact(t *testing.T) {
	for written, want := range map[string]string{
		"0.1": "0.1", "-0.30": "0.3", "1234567890123.4567": "1234567890123.4567", "0.30000000000000004": "0.30000000000000004",
		"9007199254740993": "9007199254740993", "1e3": "1000", "-2.5E-3": "0.0025", "0": "0", "-0": "0", "100": "100",
	} {
		got, err := readPage([]byte(`{"added":[`+strings.Replace(fullRow, "12.30", written, 1)+`],"modified":[],"removed":[],"next_cursor":"c1","has_more":false}`), "")
		if err != nil || len(got.Changed) != 1 {
			t.Fatalf("%s: %+v, %v", written, got, err)
		}
		if amount := got.Changed[0].Amount; !amount.Equal(decimal.RequireFromString(want)) || amount.IsNegative() {
			t.Errorf("%s became %s", written, amount)
		}
		direction := bank.Out
		if strings.HasPrefix(written, "-") && want != "0" {
			direction = bank.In
		}
		if got.Changed[0].Direction != direction {
			t.Errorf("%s is %s", written, got.Changed[0].Direction)
		}
	}
}

func TestOneOddRowHidesNoOther(t *testing.T) {
	change := func(old, changed string) string {
		if !strings.Contains(fullRow, old) {
			t.Fatalf("the row has no %s", old)
		}
		return strings.Replace(strings.Replace(fullRow, old, changed, 1), `"t1"`, `"odd"`, 1)
	}
	for row, want := range map[string]bank.Unusable{
		`null`:      {Reason: bank.ErrNotRow.Error()},
		`"text"`:    {Reason: bank.ErrNotRow.Error()},
		`[` + `{}]`: {Reason: bank.ErrNotRow.Error()},
		`{}`:        {Reason: bank.ErrNoID.Error()},
		change(`"transaction_id":"t1"`, `"transaction_id":17`):                  {Account: "a1", Reason: bank.ErrNoID.Error()},
		change(`"account_id":"a1"`, `"account_id":null`):                        {ID: "odd", Reason: errNoAccount.Error()},
		change(`12.30`, `null`):                                                 {ID: "odd", Account: "a1", Reason: bank.ErrNoAmount.Error()},
		change(`"amount":12.30,`, ``):                                           {ID: "odd", Account: "a1", Reason: bank.ErrNoAmount.Error()},
		change(`12.30`, `"12.30"`):                                              {ID: "odd", Account: "a1", Reason: bank.ErrBadAmount.Error()},
		change(`12.30`, `1e999999999`):                                          {ID: "odd", Account: "a1", Reason: bank.ErrBadAmount.Error()},
		change(`12.30`, `1e60`):                                                 {ID: "odd", Account: "a1", Reason: bank.ErrBadAmount.Error()},
		change(`12.30`, `{}`):                                                   {ID: "odd", Account: "a1", Reason: bank.ErrBadAmount.Error()},
		change(`"iso_currency_code":"USD"`, `"iso_currency_code":null`):         {ID: "odd", Account: "a1", Reason: bank.ErrNoCurrency.Error()},
		change(`"date":"2026-03-13"`, `"date":"2026-02-29"`):                    {ID: "odd", Account: "a1", Reason: bank.ErrBadDate.Error()},
		change(`"date":"2026-03-13"`, `"date":null`):                            {ID: "odd", Account: "a1", Reason: bank.ErrBadDate.Error()},
		change(`"date":"2026-03-13"`, `"date":"2026-03-13T00:00:00Z"`):          {ID: "odd", Account: "a1", Reason: bank.ErrBadDate.Error()},
		strings.Replace(change(`12.30`, `null`), `"name":"Cafe"`, `"x":1e5`, 1): {ID: "odd", Account: "a1", Reason: bank.ErrNoAmount.Error()},
	} {
		got, err := readPage([]byte(`{"added":[`+fullRow+`,`+row+`],"modified":[`+row+`],"removed":[],"next_cursor":"c1","has_more":false}`), "")
		if err != nil || len(got.Changed) != 1 {
			t.Errorf("%s: %+v, %v", row, got, err)
		}
		if want.ID == "" { // one that is made up, so that the row is shown, and once
			want.ID = bank.UnnamedID([]byte(row))
		}
		if diff := cmp.Diff([]bank.Unusable{want, want}, got.Unusable); diff != "" {
			t.Errorf("%s: %s", row, diff)
		}
	}
}

func TestOddTypesInFieldsThatDoNotMatterCostNothing(t *testing.T) {
	row := fullRow
	for _, change := range [][2]string{
		{`"merchant_name":"The Cafe"`, `"merchant_name":{"x":1}`},
		{`"check_number":"1001"`, `"check_number":1001`},
		{`"payment_meta":{"reference_number":"R9","payee":null}`, `"payment_meta":[1]`},
		{`"payment_channel":"in store"`, `"payment_channel":null`},
		{`"detailed":"FOOD_AND_DRINK_COFFEE"`, `"detailed":null`},
		{`"authorized_date":"2026-03-12",`, ``},
		{`"transaction_code":"purchase"`, `"transaction_code":[]`},
		{`"original_description":"CAFE *SQ 1234  NYC"`, `"original_description":""`},
	} {
		row = strings.Replace(row, change[0], change[1], 1)
	}
	got, err := readPage([]byte(`{"added":[`+row+`],"modified":[],"removed":[],"next_cursor":"c1","has_more":false}`), "")
	if err != nil || len(got.Changed) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got.Changed[0].Text != "Cafe" {
		t.Errorf("the text is %q", got.Changed[0].Text)
	}
	if diff := cmp.Diff(map[string]string{"category": "FOOD_AND_DRINK"}, got.Changed[0].Details); diff != "" {
		t.Error(diff)
	}
}

func TestARemovalWithoutAnIDIsKeptAside(t *testing.T) {
	got, err := readPage([]byte(`{"added":[],"modified":[],"removed":[{"account_id":"a1"},{"transaction_id":"t1"},null],"next_cursor":"c1","has_more":false}`), "")
	if err != nil || len(got.Removed) != 1 || len(got.Unusable) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzChangesNeverPanicsNorLosesARow(f *testing.F) {
	f.Add([]byte(`{"added":[`+fullRow+`],"modified":[],"removed":[{"transaction_id":"t0"}],"next_cursor":"c1","has_more":true}`), "c0")
	f.Add([]byte(page(`"next_cursor":"","has_more":false,"transactions_update_status":"NOT_READY"`)), "c0")
	f.Add([]byte(`{"added":[null,{},[],1e9,"\ud800"],"modified":[],"removed":[{}],"accounts":[{"account_id":"a"}],"next_cursor":"c","has_more":false}`), "")
	f.Fuzz(func(t *testing.T, body []byte, at string) {
		got, err := readPage(body, at)
		if err != nil {
			return
		}
		var all syncAnswer
		if err := tolerant.Unmarshal(body, &all); err != nil {
			t.Fatalf("understood, and yet: %v", err)
		}
		if rows := len(*all.Added) + len(*all.Modified) + len(*all.Removed); rows != len(got.Changed)+len(got.Removed)+len(got.Unusable) {
			t.Errorf("of %d rows %d changed, %d removed, %d unusable", rows, len(got.Changed), len(got.Removed), len(got.Unusable))
		}
		if at != "" && got.Next == "" || got.More && got.Next == at {
			t.Errorf("reading cannot go on from %q: %q, %v", at, got.Next, got.More)
		}
		for _, c := range got.Changed {
			if c.ID == "" || c.Account == "" || c.Currency == "" || c.Amount.IsNegative() || !c.Date.IsValid() || c.Direction != bank.In && c.Direction != bank.Out {
				t.Errorf("half understood: %+v", c)
			}
			for key := range c.Details {
				if len(key) > 30 {
					t.Errorf("%q is too long for a Book", key)
				}
			}
		}
	})
}
