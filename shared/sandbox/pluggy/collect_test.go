package pluggy

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"
)

// small is a customer with one bank account and one card at a connector, connected.
func small(t *testing.T, b *Bank, connector int) (it *item, bank, card string) {
	t.Helper()
	ids, err := b.AddCustomer(connector, "user-small", []Holding{
		{Name: "Conta", Number: "0001/1-1", Type: BankAccount, Subtype: "CHECKING_ACCOUNT", Currency: "BRL", Opening: money("100"), Rows: []Row{
			{Date: "2026-11-01", Amount: money("10"), Description: "one"}, {Date: "2026-11-02", Type: Credit, Amount: money("25.5"), Description: "two"},
		}},
		{Name: "Cartão", Number: "1234", Type: CardAccount, Subtype: "CREDIT_CARD", Currency: "BRL", Opening: money("5"), Rows: []Row{
			{Date: "2026-11-03", Amount: money("30"), Description: "three", Pending: true},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	it = connect(t, b, connector, "user-small")
	b.Announce()
	b.Drain()
	return it, ids[0], ids[1]
}

func (b *Bank) all(t *testing.T, a *account) (list []Transaction) {
	t.Helper()
	q := Query{}
	for {
		p, err := b.Transactions(testClient, a.id, q)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p.Transactions...)
		if q.After = p.After; q.After == "" {
			return list
		}
	}
}

// said are the transaction events since, shortened.
func said(b *Bank) (list []string) {
	b.Announce()
	for _, e := range b.Drain() {
		if strings.HasPrefix(e.Name, "transactions/") {
			n := e.Fields["transactionsCount"]
			if ids, ok := e.Fields["transactionIds"].([]string); ok {
				n = len(ids)
			}
			list = append(list, fmt.Sprintf("%s %v", strings.TrimPrefix(e.Name, "transactions/"), n))
		}
	}
	return list
}

func TestChangesAtTheBankAreToldAsPluggyTellsThem(t *testing.T) {
	for _, row := range []struct {
		name      string
		connector int
		change    func(b *Bank, bank, card string) error
		want      []string
	}{
		{"a new row", 0, func(b *Bank, bank, _ string) error {
			_, err := b.Add(bank, Row{Amount: money("1"), Description: "new"})
			return err
		}, []string{"created 1"}},
		{"posted as it was", 0, func(b *Bank, _, card string) error { return b.Amend(card+"/0", Amendment{Post: true, Bill: "2026-11"}) }, []string{"updated 1"}},
		{"posted with another text", 0, func(b *Bank, _, card string) error {
			return b.Amend(card+"/0", Amendment{Post: true, Description: "THREE"})
		}, []string{"deleted 1", "created 1"}},
		{"posted with another text, by the institution's id", 601, func(b *Bank, _, card string) error {
			return b.Amend(card+"/0", Amendment{Post: true, Description: "THREE"})
		}, []string{"updated 1"}},
		{"another amount", 0, func(b *Bank, bank, _ string) error { return b.Amend(bank+"/0", Amendment{Amount: moneyPtr("11")}) }, []string{"deleted 1", "created 1"}},
		{"another amount, same id", 0, func(b *Bank, bank, _ string) error {
			return b.Amend(bank+"/0", Amendment{Amount: moneyPtr("11"), ID: KeepID})
		}, []string{"updated 1"}},
		{"churned", 601, func(b *Bank, bank, _ string) error { return b.Churn(bank + "/0") }, []string{"deleted 1", "created 1"}},
		{"all churned", 601, func(b *Bank, bank, _ string) error { return b.ChurnAccount(bank) }, []string{"deleted 2", "created 2"}},
		{"gone", 0, func(b *Bank, bank, _ string) error { return b.Vanish(bank + "/0") }, []string{"deleted 1"}},
		{"gone and back at once", 0, func(b *Bank, bank, _ string) error {
			if err := b.Vanish(bank + "/0"); err != nil {
				return err
			}
			return b.Return(bank + "/0")
		}, []string{"updated 1"}},
		{"another balance", 0, func(b *Bank, bank, _ string) error { return b.SetBalance(bank, money("7")) }, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := simBank(1, newClock())
			_, bank, card := small(t, b, row.connector)
			if err := row.change(b, bank, card); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, said(b)); diff != "" {
				t.Error(diff)
			}
			if got := said(b); got != nil {
				t.Errorf("said twice: %v", got)
			}
		})
	}
}

func TestARowThatComesBackIsAnotherTransaction(t *testing.T) {
	b := simBank(1, newClock())
	it, bank, _ := small(t, b, 601)
	id := it.accounts[0].sorted[1].id
	_ = b.Vanish(bank + "/0")
	b.Announce()
	_ = b.Return(bank + "/0")
	b.Announce()
	back := it.accounts[0].sorted[1]
	if back.id == id || back.row.id != bank+"/0" {
		t.Errorf("%s is %s again", back.row.id, back.id)
	}
}

func TestALateRowHasAnOldDateAndANewCreation(t *testing.T) {
	c := newClock()
	b := simBank(1, c)
	it, bank, _ := small(t, b, 0)
	c.advance(48 * time.Hour)
	if _, err := b.Add(bank, Row{Date: "2026-10-01", Amount: money("9.99"), Description: "late"}); err != nil {
		t.Fatal(err)
	}
	b.Announce()
	p, err := b.Transactions(testClient, it.accounts[0].id, Query{CreatedAfter: c.now()})
	if err != nil || len(p.Transactions) != 1 || p.Transactions[0].Date != "2026-10-01T03:00:00.000Z" {
		t.Errorf("%v %+v", err, p)
	}
	for _, e := range b.Drain() {
		if e.Name == "transactions/created" && (e.Fields["transactionsMinDate"] != "2026-10-01T03:00:00.000Z" || e.Fields["transactionsCreatedAtFrom"] != c.now().Format(wireTime)) {
			t.Errorf("%v", e.Fields)
		}
	}
}

func TestARowWaitsForTheNextSynchronisationWhereConfigured(t *testing.T) {
	c := newClock()
	b := simBank(1, c)
	b.cfg.WaitForSync = true
	it, bank, _ := small(t, b, 0)
	_, _ = b.Add(bank, Row{Amount: money("1"), Description: "later"})
	if got := said(b); got != nil || len(it.accounts[0].sorted) != 2 {
		t.Errorf("%v", got)
	}
	c.advance(day)
	b.Tick()
	if diff := cmp.Diff([]string{"created 1"}, said(b)); diff != "" {
		t.Error(diff)
	}
}

func TestANewItemShowsTheSameRowsUnderOtherIDs(t *testing.T) {
	b := simBank(1, newClock())
	one, _, _ := small(t, b, 601)
	other := connect(t, b, 601, "user-small")
	for i, a := range one.accounts {
		x, y := b.all(t, a), b.all(t, other.accounts[i])
		if len(x) != len(y) || a.id == other.accounts[i].id {
			t.Fatal(len(x), len(y))
		}
		for _, row := range x {
			if row.ProviderID == "" || !slices.ContainsFunc(y, func(o Transaction) bool { return o.ProviderID == row.ProviderID && o.ID != row.ID }) {
				t.Errorf("%+v has no counterpart", row)
			}
		}
	}
	if it := connect(t, b, 0, "user-ok"); b.all(t, it.accounts[0])[0].ProviderID != "" {
		t.Error("a direct connector gives an institution's id")
	}
}

func TestAnItemShowsAYearOnly(t *testing.T) {
	b := simBank(1, newClock())
	it := connect(t, b, 0, "user-ok")
	list := b.all(t, it.accounts[0])
	if last := list[len(list)-1].Date; last < "2025-11-20" || last > "2025-12-05" {
		t.Errorf("the oldest is of %s", last)
	}
	if oldest := b.holdings["0/user-ok/0"].rows[6].Date; oldest > "2025-11-01" {
		t.Errorf("the bank itself has nothing older than %s", oldest)
	}
}

// TestBalancesTieOut lives a year at every connector that tells in its own way, and adds up what the API shows.
func TestBalancesTieOut(t *testing.T) {
	for _, connector := range []int{0, 601, 602, 603, 614} {
		c := newClock()
		b := simBank(1, c)
		it := connect(t, b, connector, "user-ok")
		var opening []decimal.Decimal
		for range 14 {
			for i, a := range it.accounts {
				tie, err := b.Tie(a.id)
				if err != nil {
					t.Fatal(err)
				}
				if len(opening) == i {
					opening = append(opening, tie.Opening)
				}
				if !tie.Opening.Equal(opening[i]) {
					t.Fatalf("%d %s: rows and balance differ by %s", connector, a.holding.Name, tie.Opening.Sub(opening[i]))
				}
			}
			c.advance(13 * day)
			b.Tick()
		}
	}
}

func TestAnyChangesLeaveWhatIsShownEqualToWhatTheBankHas(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := newClock()
		b := simBank(1, c)
		it, bank, _ := small(t, b, rapid.SampledFrom([]int{0, 601}).Draw(rt, "connector"))
		a := it.accounts[0]
		heard := listener{}
		heard.read(rt, b, a, Query{})
		for range rapid.IntRange(1, 20).Draw(rt, "changes") {
			someChange(rt, b, bank)
			c.advance(time.Duration(rapid.IntRange(0, 3).Draw(rt, "hours")) * time.Hour)
			if rapid.Bool().Draw(rt, "announce") {
				heard.listen(rt, b, a)
			}
		}
		heard.listen(rt, b, a)
		want, h := map[string]string{}, b.holdings[bank]
		for _, r := range h.rows {
			if !r.gone {
				want[r.id] = r.likeness()
			}
		}
		got := map[string]string{}
		for _, e := range a.sorted {
			got[e.row.id] = e.shown.likeness()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatal(diff)
		}
		if !slices.IsSortedFunc(a.sorted, func(x, y *entry) int { return x.compare(y.at, y.id) }) {
			rt.Fatal("not in order")
		}
		tie, err := b.Tie(a.id)
		if err != nil || !tie.Opening.Equal(money("100")) {
			rt.Fatal(err, tie)
		}
		if diff := cmp.Diff(want, heard.rows(b)); diff != "" {
			rt.Fatal("heard: " + diff)
		}
	})
}

// listener is a client that reads what webhooks name, and knows nothing else.
type listener map[string]string // by transaction id

func (l listener) read(t *rapid.T, b *Bank, a *account, q Query) {
	p, err := b.Transactions(testClient, a.id, q)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range p.Transactions {
		l[x.ID] = x.likeness()
	}
}

func (l listener) listen(t *rapid.T, b *Bank, a *account) {
	b.Announce()
	for _, e := range b.Drain() {
		ids, _ := e.Fields["transactionIds"].([]string)
		switch e.Name {
		case "transactions/created":
			from, err := time.Parse(wireTime, e.Fields["transactionsCreatedAtFrom"].(string))
			if err != nil {
				t.Fatal(err)
			}
			l.read(t, b, a, Query{CreatedAfter: from})
		case "transactions/updated":
			l.read(t, b, a, Query{IDs: ids})
		case "transactions/deleted":
			for _, id := range ids {
				delete(l, id)
			}
		}
	}
}

// rows is what is known, by row id.
func (l listener) rows(b *Bank) map[string]string {
	out := map[string]string{}
	for id, text := range l {
		row := "gone " + id
		if e := b.entries[id]; e != nil {
			row = e.row.id
		}
		out[row] = text
	}
	return out
}

func someChange(rt *rapid.T, b *Bank, bank string) {
	h := b.holdings[bank]
	id := h.rows[rapid.IntRange(0, len(h.rows)-1).Draw(rt, "row")].id
	amount := decimal.New(rapid.Int64Range(1, 100000).Draw(rt, "amount"), -4)
	date := noon.AddDate(0, 0, -rapid.IntRange(0, 300).Draw(rt, "days")).Format(time.DateOnly)
	// What cannot be done to a row that is gone, or is there, is refused and changes nothing.
	switch rapid.IntRange(0, 5).Draw(rt, "change") {
	case 0:
		_, _ = b.Add(bank, Row{Date: date, Amount: amount, Description: "some", Type: rapid.SampledFrom([]string{Debit, Credit}).Draw(rt, "type")})
	case 1:
		_ = b.Amend(id, Amendment{Amount: &amount, Date: date, ID: rapid.SampledFrom([]string{"", KeepID, ChangeID}).Draw(rt, "id")})
	case 2:
		_ = b.Vanish(id)
	case 3:
		_ = b.Return(id)
	case 4:
		_ = b.Churn(id)
	case 5:
		_ = b.Amend(id, Amendment{Post: true})
	}
}

func TestPagesHoldFiveHundredAndStandStillWhileRowsCome(t *testing.T) {
	for carries, want := range map[bool]bool{false: false, true: true} {
		r := newRig(t, Options{Config: Config{NextCarriesFilters: carries}})
		item := r.connected(t, "user-ok-perf")
		account := r.accountOf(t, item, "BANK")
		path := "/v2/transactions?accountId=" + account + "&dateFrom=2025-11-20"
		page := r.ok(t, "GET", path, "")
		next := page["next"].(string)
		q, err := url.ParseQuery(strings.TrimPrefix(next, "?"))
		if err != nil || !strings.HasPrefix(next, "?") || q.Get("accountId") != account || q.Has("dateFrom") != want {
			t.Errorf("next is %s", next)
		}
		seen := map[string]bool{}
		take := func(page map[string]any) {
			for _, x := range page["results"].([]any) {
				id := x.(map[string]any)["id"].(string)
				if seen[id] {
					t.Errorf("%s comes twice", id)
				}
				seen[id] = true
			}
		}
		take(page)
		first := seen[page["results"].([]any)[499].(map[string]any)["id"].(string)]
		if len(seen) != 500 || !first {
			t.Fatal(len(seen))
		}
		for _, x := range r.ok(t, "GET", "/v2/transactions"+next, "")["results"].([]any) {
			if id := x.(map[string]any)["id"].(string); seen[id] {
				t.Errorf("%s stands on two pages", id)
			}
		}
		last := page["results"].([]any)[499].(map[string]any)["id"].(string)
		if err := r.Do(func(b *Bank) error {
			_, err := b.Add(account, Row{Amount: money("1"), Description: "ahead of the cursor"})
			return cmpErr(err, b.Vanish(last)) // the cursor names what is gone now
		}); err != nil {
			t.Fatal(err)
		}
		page = r.ok(t, "GET", "/v2/transactions"+next, "")
		take(page)
		if len(seen) != 1000 || page["next"] != nil {
			t.Errorf("%d rows, next %v", len(seen), page["next"])
		}
	}
}

func cmpErr(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestTransactionsAreFiltered(t *testing.T) {
	r := newRig(t, Options{})
	item := r.connected(t, "user-ok")
	account := r.accountOf(t, item, "BANK")
	list := func(query string) []any {
		t.Helper()
		return r.ok(t, "GET", "/v2/transactions?accountId="+account+query, "")["results"].([]any)
	}
	some := list("")
	within := []any{}
	for _, x := range some {
		if day := x.(map[string]any)["date"].(string)[:10]; day >= "2026-10-05" && day <= "2026-10-20" {
			within = append(within, x)
		}
	}
	if diff := cmp.Diff(within, list("&dateFrom=2026-10-05&dateTo=2026-10-20")); diff != "" || len(within) == 0 {
		t.Error(len(within), diff)
	}
	ids := []string{some[0].(map[string]any)["id"].(string), some[7].(map[string]any)["id"].(string)}
	if got := list("&ids=" + strings.Join(ids, ",") + "," + nobody); len(got) != 2 {
		t.Error(len(got))
	}
	if got := list("&createdAtFrom=" + noon.Add(time.Second).Format(wireTime)); len(got) != 0 {
		t.Error(len(got))
	}
	if got := list("&createdAtFrom=" + noon.Format(wireTime)); len(got) != len(some) {
		t.Error(len(got), len(some))
	}
	one := r.ok(t, "GET", "/transactions/"+ids[0], "")
	if diff := cmp.Diff(some[0], any(one)); diff != "" {
		t.Error(diff)
	}
	if got := r.ok(t, "PATCH", "/transactions/"+ids[0], `{"categoryId":"17010000"}`); got["category"] != "Rent" {
		t.Error(got)
	}
}

// TestTheDataSetHasWhatRealDataHas looks for every peculiarity at the connectors that have it.
func TestTheDataSetHasWhatRealDataHas(t *testing.T) {
	r := newRig(t, Options{})
	var bank, card, btg, xp []map[string]any
	read := func(connector int, kind string) (list []map[string]any) {
		item := r.connectedAt(t, connector, "user-ok")
		for _, x := range r.ok(t, "GET", "/v2/transactions?accountId="+r.accountOf(t, item, kind), "")["results"].([]any) {
			list = append(list, x.(map[string]any))
		}
		return list
	}
	bank, card, btg, xp = read(603, "BANK"), read(601, "CREDIT"), read(614, "CREDIT"), read(602, "CREDIT")
	text := func(x map[string]any, name string) string { s, _ := x[name].(string); return s }
	meta := func(x map[string]any, name string) any {
		m, _ := x["creditCardMetadata"].(map[string]any)
		return m[name]
	}
	negative := func(x map[string]any) bool { return strings.HasPrefix(string(x["amount"].(json.Number)), "-") }
	today := noon.Format(wireTime)
	for name, row := range map[string]struct {
		in []map[string]any
		is func(map[string]any) bool
	}{
		"an amount in dollars": {card, func(x map[string]any) bool {
			return x["currencyCode"] == "USD" && x["amountInAccountCurrency"] == json.Number("298.19")
		}},
		"four decimals":         {card, func(x map[string]any) bool { return x["amount"] == json.Number("307.8891") }},
		"midnight in São Paulo": {bank, func(x map[string]any) bool { return strings.HasSuffix(text(x, "date"), "T03:00:00.000Z") }},
		"late in the evening":   {bank, func(x map[string]any) bool { return strings.HasSuffix(text(x, "date"), "T01:30:05.000Z") }},
		"midnight UTC":          {bank, func(x map[string]any) bool { return strings.HasSuffix(text(x, "date"), "T00:00:00.000Z") }},
		"pending":               {card, func(x map[string]any) bool { return x["status"] == "PENDING" && meta(x, "billId") == nil }},
		"posted in a bill":      {card, func(x map[string]any) bool { return x["status"] == "POSTED" && meta(x, "billId") != nil }},
		"one instalment a bill": {card, func(x map[string]any) bool { return meta(x, "installmentNumber") != nil && x["status"] == "POSTED" }},
		"instalments ahead": {btg, func(x map[string]any) bool {
			return meta(x, "installmentNumber") != nil && text(x, "date") > today && x["status"] == "PENDING"
		}},
		"a whole purchase": {xp, func(x map[string]any) bool {
			return meta(x, "totalAmount") == json.Number("899.4") && meta(x, "billId") == nil && x["status"] == "POSTED"
		}},
		"a row in the future": {bank, func(x map[string]any) bool { return text(x, "date") > today }},
		"no bill in sight":    {card, func(x map[string]any) bool { return meta(x, "billForecastDate") == "0001-01" }},
		"no merchant":         {bank, func(x map[string]any) bool { return x["merchant"] == nil }},
		"an empty business name": {bank, func(x map[string]any) bool {
			m, _ := x["merchant"].(map[string]any)
			return m != nil && m["businessName"] == ""
		}},
		"no raw text":          {bank, func(x map[string]any) bool { return x["descriptionRaw"] == nil }},
		"an unknown member":    {bank, func(x map[string]any) bool { return x["insights"] != nil }},
		"an unknown operation": {bank, func(x map[string]any) bool { return x["operationType"] == "PRODUTO_QUE_NINGUEM_CONHECE" }},
		"no category":          {bank, func(x map[string]any) bool { return x["categoryId"] == nil && x["category"] == nil }},
		"PIX with its payer": {bank, func(x map[string]any) bool {
			p, _ := x["paymentData"].(map[string]any)
			return p != nil && p["receiver"] == nil
		}},
		"a purchase on a card": {card, func(x map[string]any) bool { return x["type"] == "DEBIT" && !negative(x) }},
		"a refund on a card": {card, func(x map[string]any) bool {
			return x["type"] == "CREDIT" && negative(x) && x["operationType"] == "ESTORNO"
		}},
		"money out of an account":   {bank, func(x map[string]any) bool { return x["type"] == "DEBIT" && negative(x) }},
		"money into an account":     {bank, func(x map[string]any) bool { return x["type"] == "CREDIT" && !negative(x) }},
		"the institution's own ids": {bank, func(x map[string]any) bool { return x["providerId"] != nil }},
	} {
		if !slices.ContainsFunc(row.in, row.is) {
			t.Errorf("nothing has %s", name)
		}
	}
	for _, x := range append(append(bank, card...), btg...) {
		if n := len(x); n != 23 && x["insights"] == nil {
			t.Fatalf("%d members: %v", n, keys(x))
		}
	}
	equal := map[string]int{}
	for _, x := range bank {
		equal[fmt.Sprint(x["date"], x["amount"], x["description"])]++
	}
	if !slices.Contains(valuesOf(equal), 2) {
		t.Error("no two rows of one day are equal")
	}
}

func valuesOf(m map[string]int) (list []int) {
	for _, v := range m {
		list = append(list, v)
	}
	return list
}

func TestABillClosesAndPostsWhatIsInIt(t *testing.T) {
	r := newRig(t, Options{})
	item := r.connected(t, "user-ok")
	card := r.accountOf(t, item, "CREDIT")
	before := r.ok(t, "GET", "/bills?accountId="+card, "")["results"].([]any)
	r.clock.advance(7 * day)
	r.key = r.auth(t, testClient, testSecret)
	r.ok(t, "GET", "/items/"+item, "")
	after := r.ok(t, "GET", "/bills?accountId="+card, "")["results"].([]any)
	newest := after[0].(map[string]any)
	if len(before) < 10 || newest["billClosingDate"] != "2026-11-25T00:00:00" || newest["dueDate"] != "2026-12-05T00:00:00.000Z" {
		t.Fatalf("%d bills, then %v", len(before), newest)
	}
	if diff := cmp.Diff(any(newest), any(r.ok(t, "GET", "/bills/"+newest["id"].(string), ""))); diff != "" {
		t.Error(diff)
	}
	total := decimal.Zero
	for _, x := range r.ok(t, "GET", "/v2/transactions?accountId="+card+"&dateFrom=2026-10-01", "")["results"].([]any) {
		row := x.(map[string]any)
		if m, _ := row["creditCardMetadata"].(map[string]any); m["billId"] == newest["id"] && row["operationType"] != "PAGAMENTO" {
			v := row["amount"]
			if row["amountInAccountCurrency"] != nil {
				v = row["amountInAccountCurrency"]
			}
			total = total.Add(money(string(v.(json.Number))).Round(2))
		}
	}
	if !total.Equal(money(string(newest["totalAmount"].(json.Number)))) {
		t.Errorf("the bill says %v, its rows %s", newest["totalAmount"], total)
	}
}

func TestUsersWithOtherAccountsHaveThem(t *testing.T) {
	r := newRig(t, Options{})
	for user, want := range map[string]string{
		"user-ok-two-checking-accounts": "CHECKING_ACCOUNT CHECKING_ACCOUNT CREDIT_CARD",
		"user-ok-multi-company":         "CHECKING_ACCOUNT CHECKING_ACCOUNT CREDIT_CARD",
		"user-ok-perf-200x":             "CHECKING_ACCOUNT CREDIT_CARD",
	} {
		var got []string
		for _, a := range r.ok(t, "GET", "/accounts?itemId="+r.connected(t, user), "")["results"].([]any) {
			got = append(got, a.(map[string]any)["subtype"].(string))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s has %v", user, got)
		}
	}
	item := r.connected(t, "user-ok-perf-200x")
	_ = r.Do(func(b *Bank) error {
		if n := len(b.items[item].accounts[0].sorted); n != 2000 {
			t.Errorf("%d rows", n)
		}
		return nil
	})
}

func TestAccountsOpenAndCloseWithTheBank(t *testing.T) {
	b := simBank(1, newClock())
	it, bank, _ := small(t, b, 0)
	if _, err := b.OpenAccount(0, "user-small", Holding{Name: "Nova", Type: BankAccount, Subtype: "SAVINGS_ACCOUNT", Currency: "BRL"}); err != nil {
		t.Fatal(err)
	}
	b.Announce()
	if len(it.accounts) != 3 {
		t.Error(len(it.accounts))
	}
	if err := b.CloseAccount(bank); err != nil {
		t.Fatal(err)
	}
	b.Announce()
	if len(it.accounts) != 2 || it.accounts[0].holding.id == bank {
		t.Error(len(it.accounts))
	}
}

func TestARowThatCannotBeIsRefused(t *testing.T) {
	b := simBank(1, newClock())
	_, bank, _ := small(t, b, 0)
	for name, r := range map[string]Row{
		"a sign": {Amount: money("-1")}, "a type": {Amount: money("1"), Type: "OUT"}, "a date": {Amount: money("1"), Date: "20/11/2026"},
		"a currency without its amount": {Amount: money("1"), Currency: "USD"}, "an amount too many": {Amount: money("1"), InAccount: moneyPtr("1")},
	} {
		if _, err := b.Add(bank, r); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
