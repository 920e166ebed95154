package plaid

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"
)

func TestAnItemThatIsNotReadyAnswersNothingAndNoCursor(t *testing.T) {
	now := noon
	b := NewBank(Config{Now: func() time.Time { return now }, InitialDelay: 10 * time.Second, HistoricalDelay: time.Minute})
	access, _, _ := smallCustomer(t, b)
	want := []struct {
		after  time.Duration
		rows   int
		status Status
	}{{0, 0, NotReady}, {10 * time.Second, 2, Initial}, {time.Minute, 3, Historical}}
	for _, w := range want {
		now = noon.Add(w.after)
		p, err := b.Sync(access, SyncQuery{})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Added) != w.rows || p.Status != w.status || (p.NextCursor == "") != (w.status == NotReady) {
			t.Fatalf("after %s: %d rows, %s, cursor %q", w.after, len(p.Added), p.Status, p.NextCursor)
		}
	}
	var codes []string
	for _, w := range b.Drain() {
		codes = append(codes, w.Code)
	}
	if diff := cmp.Diff([]string{"INITIAL_UPDATE", "SYNC_UPDATES_AVAILABLE", "HISTORICAL_UPDATE", "SYNC_UPDATES_AVAILABLE"}, codes); diff != "" {
		t.Fatal(diff)
	}
}

func TestSyncUpdatesAvailableWaitsForTheFirstSync(t *testing.T) {
	b := simBank(1)
	access, _, accounts := smallCustomer(t, b)
	b.Tick()
	told := func() bool {
		return slices.ContainsFunc(b.Drain(), func(w Webhook) bool { return w.Code == "SYNC_UPDATES_AVAILABLE" })
	}
	add := func() {
		if _, err := b.Add(accounts[0], Row{Amount: money("1"), Description: "x"}); err != nil {
			t.Fatal(err)
		}
		b.Announce()
	}
	if add(); told() {
		t.Fatal("told before the first sync")
	}
	state{}.drain(t, b, access, "", 100)
	if add(); !told() {
		t.Fatal("not told after the first sync")
	}
}

func TestHistoryIsBoundedByTheDaysRequestedWhenTheItemWasMade(t *testing.T) {
	for _, row := range []struct{ days, want int }{{730, 3}, {0, 2}, {10, 0}, {18, 1}} { // 0 is the default of 90
		b := simBank(1)
		if _, err := b.AddCustomer("ins_109508", "sim", []Holding{{Type: "depository", Currency: "USD", Rows: []Row{
			{Date: "2025-01-01", Amount: money("1")}, {Date: "2026-09-01", Amount: money("2")}, {Date: "2026-11-02", Amount: money("3")},
		}}}); err != nil {
			t.Fatal(err)
		}
		r := linkRequest()
		r.Transactions.Days = row.days
		l, err := b.CreateLinkToken(testClient, r)
		if err != nil {
			t.Fatal(err)
		}
		public, err := b.Connect(l.Token, "ins_109508", "sim", "pass_good")
		if err != nil {
			t.Fatal(err)
		}
		access, _, err := b.Exchange(public)
		if err != nil {
			t.Fatal(err)
		}
		p, err := b.Sync(access, SyncQuery{Days: 730})
		if err != nil || len(p.Added) != row.want {
			t.Errorf("%d days requested: %d rows, want %d (%v)", row.days, len(p.Added), row.want, err)
		}
	}
}

func TestALogThatMovesDuringPaginationIsAMutation(t *testing.T) {
	b := simBank(1)
	access, item, accounts := smallCustomer(t, b)
	first, err := b.Sync(access, SyncQuery{Count: 1})
	if err != nil || !first.HasMore {
		t.Fatal(first, err)
	}
	if _, err := b.Add(accounts[0], Row{Amount: money("1"), Description: "late"}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it never heals
		if _, err := b.Sync(access, SyncQuery{Cursor: first.NextCursor}); code(err) != "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION" {
			t.Fatalf("got %v", err)
		}
	}
	s := state{}
	end := s.drain(t, b, access, "", 1)
	if len(s) != 4 {
		t.Fatalf("%d transactions after the restart", len(s))
	}
	if _, err := b.Add(accounts[0], Row{Amount: money("1"), Description: "later"}); err != nil {
		t.Fatal(err)
	}
	if s.drain(t, b, access, end, 1); len(s) != 5 {
		t.Fatal("a cursor after the last page is no pagination, yet it lost a row")
	}
	if err := b.ForceMutation(item, 1); err != nil {
		t.Fatal(err)
	}
	page, _ := b.Sync(access, SyncQuery{Count: 2})
	if _, err := b.Sync(access, SyncQuery{Cursor: page.NextCursor}); code(err) != "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION" {
		t.Fatalf("forced: %v", err)
	}
}

func TestACursorThatTheItemNeverGaveIsRefused(t *testing.T) {
	b := simBank(1)
	access, _, _ := smallCustomer(t, b)
	other, _ := linked(t, b, "ins_109508", "sim")
	mine := state{}.drain(t, b, access, "", 100)
	if len(mine) > maxCursor {
		t.Fatalf("the cursor has %d characters", len(mine))
	}
	for _, c := range []string{"x", "AAAA", mine + "AAAA", strings.Repeat("A", 300), mine[:len(mine)-4], "now"} {
		if _, err := b.Sync(access, SyncQuery{Cursor: c}); code(err) != "INVALID_FIELD" {
			t.Errorf("cursor %q: %v", c, err)
		}
	}
	if _, err := b.Sync(other, SyncQuery{Cursor: mine}); code(err) != "INVALID_FIELD" || !strings.Contains(err.Error(), "cursor not associated with access_token") {
		t.Errorf("another item's cursor: %v", err)
	}
}

// shape writes a page down: +id added, ~id modified, -id removed, by the row's text.
func shape(p Page, names map[string]string) (out []string) {
	for _, t := range p.Added {
		names[t.TransactionID] = t.Name
		out = append(out, "+"+t.Name)
	}
	for _, t := range p.Modified {
		out = append(out, "~"+t.Name)
	}
	for _, r := range p.Removed {
		out = append(out, "-"+names[r.TransactionID])
	}
	return out
}

// What Plaid does not say it does both ways.
func TestWhatPlaidLeavesOpenCanBeEither(t *testing.T) {
	for _, either := range []bool{false, true} {
		now := noon
		b := NewBank(Config{Now: func() time.Time { return now }, TellTwice: either, CursorCode: either})
		access, _, _ := smallCustomer(t, b)
		p, err := b.Sync(access, SyncQuery{})
		if err != nil || len(p.Added) != 3 || len(p.Modified) != map[bool]int{true: 3}[either] {
			t.Fatalf("%d added, %d modified, %v", len(p.Added), len(p.Modified), err)
		}
		var refused *Error
		if _, err := b.Sync(access, SyncQuery{Cursor: "x"}); !errors.As(err, &refused) || (refused.Code == "INVALID_CURSOR") != either {
			t.Errorf("a cursor that it never gave: %v", err)
		}
	}
}

func TestPendingBecomesSettledInEveryOrder(t *testing.T) {
	for name, row := range map[string]struct {
		how    Settlement
		pages  [][]string
		linked bool
	}{
		"one page":              {Settlement{Description: "S"}, [][]string{{"+S", "-P"}}, true},
		"removed, then settled": {Settlement{Description: "S", Split: true}, [][]string{{"-P"}, {"+S"}}, true},
		"settled, then removed": {Settlement{Description: "S", Split: true, AddedFirst: true}, [][]string{{"+S"}, {"-P"}}, true},
		"no link":               {Settlement{Description: "S", Unlinked: true}, [][]string{{"+S", "-P"}}, false},
		"pending stays":         {Settlement{Description: "S", KeepPending: true}, [][]string{{"+S"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := simBank(1)
			access, _, accounts := smallCustomer(t, b)
			rows, err := b.Add(accounts[0], Row{Amount: money("9"), Description: "P", Pending: true})
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]string{}
			p, err := b.Sync(access, SyncQuery{})
			if err != nil {
				t.Fatal(err)
			}
			shape(p, names)
			if _, err := b.Settle(rows[0], row.how); err != nil {
				t.Fatal(err)
			}
			var pages [][]string
			for more, cursor := true, p.NextCursor; more; {
				p, err := b.Sync(access, SyncQuery{Cursor: cursor})
				if err != nil {
					t.Fatal(err)
				}
				pages = append(pages, shape(p, names))
				for _, s := range p.Added {
					if (names[s.PendingTransactionID] == "P") != row.linked {
						t.Errorf("pending_transaction_id is %q", s.PendingTransactionID)
					}
				}
				more, cursor = p.HasMore, p.NextCursor
			}
			if diff := cmp.Diff(row.pages, pages); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestANewItemShowsTheSameStatementUnderNewIds(t *testing.T) {
	b := simBank(1)
	first, _, accounts := smallCustomer(t, b)
	if _, err := b.Add(accounts[0], Row{Amount: money("7"), Description: "added later"}); err != nil {
		t.Fatal(err)
	}
	one := state{}
	one.drain(t, b, first, "", 100)
	if err := b.RemoveItem(first); err != nil {
		t.Fatal(err)
	}
	second, _ := linked(t, b, "ins_109508", "sim")
	two := state{}
	two.drain(t, b, second, "", 100)
	texts := func(s state) (out []string) {
		for _, x := range s {
			out = append(out, x.Date+x.Amount.String()+x.Name)
		}
		slices.Sort(out)
		return out
	}
	for id := range one {
		if _, again := two[id]; again {
			t.Errorf("transaction_id %s lives on", id)
		}
	}
	if diff := cmp.Diff(texts(one), texts(two)); diff != "" || len(one) != 4 {
		t.Fatal(diff)
	}
}

func TestChurnAndReissueGiveNewIdsForTheSameRows(t *testing.T) {
	b := simBank(1)
	access, _, _ := smallCustomer(t, b)
	s := state{}
	cursor := s.drain(t, b, access, "", 100)
	var some Transaction
	for _, x := range s {
		if x.Name == "one" {
			some = x
		}
	}
	if err := b.Churn(some.TransactionID); err != nil {
		t.Fatal(err)
	}
	cursor = s.drain(t, b, access, cursor, 1)
	if _, still := s[some.TransactionID]; still || len(s) != 3 {
		t.Fatalf("churn left %v", s)
	}
	fresh, err := b.ReissueAccount(some.AccountID)
	if err != nil {
		t.Fatal(err)
	}
	s.drain(t, b, access, cursor, 100)
	n := 0
	for _, x := range s {
		if x.AccountID == some.AccountID {
			t.Error("a transaction kept the old account")
		}
		if x.AccountID == fresh {
			n++
		}
	}
	if n != 2 || len(s) != 3 {
		t.Fatalf("the reissued account shows %d of %d", n, len(s))
	}
}

func TestAnItemInAnErrorSeesNothingAndCatchesUp(t *testing.T) {
	b := simBank(1)
	access, item, accounts := smallCustomer(t, b)
	s := state{}
	cursor := s.drain(t, b, access, "", 100)
	if err := b.ResetLogin(access); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Add(accounts[0], Row{Amount: money("1"), Description: "meanwhile"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Sync(access, SyncQuery{Cursor: cursor}); code(err) != "ITEM_LOGIN_REQUIRED" {
		t.Fatal(err)
	}
	if err := b.Repair(item); err != nil {
		t.Fatal(err)
	}
	if s.drain(t, b, access, cursor, 100); len(s) != 4 {
		t.Fatalf("%d transactions after the repair", len(s))
	}
}

// TestTheStreamOfChangesAlwaysEqualsAFreshReplay drives a bank at random beside readers of two Items of the same customer
// who each apply the pages, in sizes of their own and with restarts on mutations. Whenever one is at the end, what it holds
// must be what a replay from an empty cursor gives, and what the bank's statement says.
func TestTheStreamOfChangesAlwaysEqualsAFreshReplay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := simBank(rapid.Uint64().Draw(rt, "seed"))
		access, _, accounts := smallCustomer(t, b)
		second, _ := linked(t, b, "ins_109508", "sim")
		readers := []*reader{{bank: b, access: access, held: state{}}, {bank: b, access: second, held: state{}}}
		var rows []string
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch rapid.IntRange(0, 8).Draw(rt, "step") {
			case 0, 1:
				ids, err := b.Add(rapid.SampledFrom(accounts).Draw(rt, "account"), Row{
					Amount: decimal.New(rapid.Int64Range(-5000, 5000).Draw(rt, "amount"), -2), Description: fmt.Sprint("r", len(rows)),
					Pending: rapid.Bool().Draw(rt, "pending"),
				})
				if err != nil {
					rt.Fatal(err)
				}
				rows = append(rows, ids...)
			case 2, 3, 4:
				if len(rows) > 0 {
					if settled := disturb(rt, b, rapid.SampledFrom(rows).Draw(rt, "row")); settled != "" {
						rows = append(rows, settled)
					}
				}
			default:
				rapid.SampledFrom(readers).Draw(rt, "reader").read(rt, rapid.IntRange(1, 5).Draw(rt, "count"))
			}
		}
		for _, r := range readers {
			for r.read(rt, 3) {
			}
			r.check(rt)
		}
	})
}

// disturb changes a row in a random way that its state allows; others are refused by the bank, which is as good.
func disturb(rt *rapid.T, b *Bank, row string) (settled string) {
	switch rapid.IntRange(0, 4).Draw(rt, "how") {
	case 0:
		settled, _ = b.Settle(row, Settlement{
			Amount: dec("3.21"), Split: rapid.Bool().Draw(rt, "split"), AddedFirst: rapid.Bool().Draw(rt, "added first"),
			Unlinked: rapid.Bool().Draw(rt, "unlinked"), KeepPending: rapid.Bool().Draw(rt, "keep"),
		})
	case 1:
		_ = b.Amend(row, Amendment{Amount: dec("8.88")})
	case 2:
		_ = b.Vanish(row)
	case 3:
		_ = b.Return(row)
	case 4:
		_ = b.Churn(row)
	}
	return settled
}

// reader follows one Item: pages are kept apart until the last one came.
type reader struct {
	bank   *Bank
	access string
	cursor string // after the last whole read
	at     string
	held   state
	pages  []Page
}

// read takes one page and reports whether more follow.
func (r *reader) read(rt *rapid.T, count int) (more bool) {
	if len(r.pages) == 0 {
		r.at = r.cursor
	}
	p, err := r.bank.Sync(r.access, SyncQuery{Cursor: r.at, Count: count})
	if code(err) == "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION" && len(r.pages) > 0 {
		r.pages = nil
		return true
	}
	if err != nil {
		rt.Fatal(err)
	}
	if n := len(p.Added) + len(p.Modified) + len(p.Removed); n > count {
		rt.Fatalf("a page of %d holds %d", count, n)
	}
	r.pages, r.at = append(r.pages, p), p.NextCursor
	if p.HasMore {
		return true
	}
	for _, p := range r.pages {
		for _, t := range p.Added {
			if _, known := r.held[t.TransactionID]; known {
				rt.Fatalf("%s was added though it is known", t.TransactionID)
			}
		}
		for _, t := range p.Modified {
			if _, known := r.held[t.TransactionID]; !known {
				rt.Fatalf("%s was modified though it is unknown", t.TransactionID)
			}
		}
		r.held.apply(p)
	}
	r.pages, r.cursor = nil, r.at
	r.check(rt)
	return false
}

func (r *reader) check(rt *rapid.T) {
	fresh := state{}
	for cursor, more := "", true; more; {
		p, err := r.bank.Sync(r.access, SyncQuery{Cursor: cursor, Count: 7})
		if err != nil {
			rt.Fatal(err)
		}
		if len(p.Modified)+len(p.Removed) > 0 {
			rt.Fatal("a replay tells of more than what stands")
		}
		fresh.apply(p)
		cursor, more = p.NextCursor, p.HasMore
	}
	if diff := cmp.Diff(fresh, r.held); diff != "" {
		rt.Fatalf("the changes led elsewhere than a replay (-replay +changes):\n%s", diff)
	}
	var bank, shown []string
	for _, row := range r.bank.rows {
		if !row.gone {
			bank = append(bank, row.Name+row.Amount.String())
		}
	}
	for _, t := range fresh {
		shown = append(shown, t.Name+t.Amount.String())
	}
	slices.Sort(bank)
	slices.Sort(shown)
	if diff := cmp.Diff(bank, shown); diff != "" {
		rt.Fatalf("the item shows something else than the bank (-bank +item):\n%s", diff)
	}
}
