package posting

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/civil"
	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
)

// desk carries plans out, without anything going wrong: a journal, the records of one Book, and an integration.
type desk struct {
	t       *testing.T
	target  *target
	j       *journal
	seq     int64
	records map[string]*ledger.Transaction // by Row.Key
	writes  int
}

const (
	ours  = "bank-account" // the Account of the Book
	there = "account"      // the bank's id of its account
)

func newDesk(t *testing.T) *desk {
	t.Helper()
	return &desk{
		t: t, j: newJournal(nil), records: map[string]*ledger.Transaction{},
		target: &target{
			Integration: &bank.Integration{ID: bank.IntegrationID("book", "key"), Book: "book", Account: ours, Currency: "USD", From: january(1), State: bank.Live},
			opened:      opened{book: &ledger.Book{Digits: 2}}, provider: "bank", from: there,
		},
	}
}

func january(day int) civil.Date { return civil.Date{Year: 2026, Month: time.January, Day: day} }

// tx is a settled transaction of 12.50 out on the 10th, changed by how.
func tx(id string, how ...func(*bank.Transaction)) bank.Transaction {
	t := bank.Transaction{ID: id, Account: there, Date: january(10), Amount: decimal.RequireFromString("12.50"), Currency: "USD", Direction: bank.Out, Text: "SHOP"}
	for _, h := range how {
		h(&t)
	}
	return t
}

func pending(t *bank.Transaction) { t.Pending = true }
func of(id string) func(*bank.Transaction) {
	return func(t *bank.Transaction) { t.PendingID = id }
}

func amount(a string) func(*bank.Transaction) {
	return func(t *bank.Transaction) { t.Amount = decimal.RequireFromString(a) }
}

func on(day int) func(*bank.Transaction) { return func(t *bank.Transaction) { t.Date = january(day) } }

func text(s string) func(*bank.Transaction) {
	return func(t *bank.Transaction) { t.Text = s }
}
func in(t *bank.Transaction)    { t.Direction = bank.In }
func euros(t *bank.Transaction) { t.Currency = "EUR" }

// page is what one page of the bank names, and takes back.
func page(changed []bank.Transaction, removed ...string) bank.Page {
	p := bank.Page{Changed: changed}
	for _, id := range removed {
		p.Removed = append(p.Removed, bank.RemovedTransaction{ID: id, Account: there})
	}
	return p
}

func named(ts ...bank.Transaction) []bank.Transaction { return ts }

// read carries out the pages of one read, and what its end decides.
func (d *desk) read(pages ...bank.Page) {
	d.t.Helper()
	for i := range pages {
		d.carryOut(plan(d.target, d.j, &pages[i], there, i == len(pages)-1))
	}
	var gone []*wish
	d.j.newest(d.target.ID, func(r *Row) {
		if r.Waiting && r.State == Standing {
			row := *r
			gone = append(gone, &wish{row: &row, intent: ToTrash})
		}
	})
	d.carryOut(gone)
}

func (d *desk) carryOut(wishes []*wish) {
	d.t.Helper()
	d.seq++
	s := &Segment{Seq: d.seq}
	for _, w := range wishes {
		now := d.records[w.row.Key]
		after, write := settle(d.target, w, now)
		w.row.Intent = w.intent
		if write {
			d.write(w.row, after)
		} else if w.row.Intent != "" {
			d.t.Fatalf("%s is intended and there is nothing to write", w.row.Intent)
		}
		s.Rows = append(s.Rows, w.row)
	}
	d.j.note(s)
}

func (d *desk) write(row *Row, after ledger.Transaction) {
	d.t.Helper()
	d.writes++
	switch row.Intent {
	case ToCreate:
		if old := d.records[row.Key]; old != nil && !old.Trashed {
			d.t.Fatalf("a second record of %s", row.Key)
		}
		after.ID = fmt.Sprint("record ", d.writes)
	case ToTrash:
		after.Trashed = true
	case ToRevive:
		after.Trashed = false
	case ToAmend:
	}
	maps.DeleteFunc(after.Properties, func(_, v string) bool { return v == "" })
	d.records[row.Key] = &after
	row.confirm(after.ID)
}

// standing describes the records that are not in the trash, in order.
func (d *desk) standing() []string {
	all := []string{}
	for _, r := range d.records {
		if !r.Trashed {
			all = append(all, describe(r))
		}
	}
	slices.Sort(all)
	return all
}

// describe says day, amount, sides and text, and whether the draft is marked as pending.
func describe(r *ledger.Transaction) string {
	words := []string{fmt.Sprint(r.Date.Day), r.Amount.StringFixed(2), r.Credit + ">" + r.Debit, r.Description}
	if r.Properties[pendingProperty] != "" {
		words = append(words, "pending")
	}
	return strings.Join(words, " ")
}

func (d *desk) stands(want ...string) {
	d.t.Helper()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, d.standing()); diff != "" {
		d.t.Errorf("records (-want +got):\n%s", diff)
	}
}

// row is the newest version of the row that the bank knows by id.
func (d *desk) row(id string) *Row {
	d.t.Helper()
	r := d.j.find(d.target.ID, id)
	if r == nil {
		d.t.Fatalf("the journal does not know %q", id)
	}
	return r
}

func TestPendingAndSettledAreOneRecordInEveryOrder(t *testing.T) {
	const settled = "11 13.00 bank-account> SHOP SETTLED"
	p := tx("p", pending)
	linked := tx("s", of("p"), amount("13.00"), on(11), text("SHOP SETTLED"))
	unlinked := tx("s", amount("13.00"), on(11), text("SHOP SETTLED"))
	for name, reads := range map[string][][]bank.Page{
		"both in one page":                              {{page(named(p, linked))}},
		"both in one page, the settled one first":       {{page(named(linked, p))}},
		"both in one page, and taken back there":        {{page(named(p, linked), "p")}},
		"on two pages":                                  {{page(named(p)), page(named(linked), "p")}},
		"in two reads":                                  {{page(named(p))}, {page(named(linked), "p")}},
		"settled, then removed on the next page":        {{page(named(p))}, {page(named(linked)), page(nil, "p")}},
		"removed, then settled on the next page":        {{page(named(p))}, {page(nil, "p"), page(named(linked))}},
		"settled, then removed in the next read":        {{page(named(p))}, {page(named(linked))}, {page(nil, "p")}},
		"removed, then settled in the next read":        {{page(named(p))}, {page(nil, "p")}, {page(named(linked))}},
		"the pending one named again after it settled":  {{page(named(p))}, {page(named(linked))}, {page(named(p))}},
		"the pending one named for the first time late": {{page(named(linked))}, {page(named(p))}},
		"the pending one named and taken back late":     {{page(named(linked))}, {page(named(p), "p")}},
		"no link, on one page":                          {{page(named(p))}, {page(named(unlinked), "p")}},
		"no link, settled then removed":                 {{page(named(p))}, {page(named(unlinked)), page(nil, "p")}},
		"no link, removed then settled":                 {{page(named(p))}, {page(nil, "p"), page(named(unlinked))}},
		"no link, removed in the next read":             {{page(named(p))}, {page(named(unlinked))}, {page(nil, "p")}},
		"no link, settled in the next read":             {{page(named(p))}, {page(nil, "p")}, {page(named(unlinked))}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, records := range []bool{true, false} {
				d := newDesk(t)
				d.target.Pending = records
				for _, pages := range reads {
					d.read(pages...)
				}
				d.stands(settled)
				if !strings.HasPrefix(name, "no link") && len(d.records) != 1 {
					t.Errorf("%d records were made", len(d.records))
				}
				writes := d.writes
				d.read(reads[len(reads)-1]...)
				d.stands(settled)
				if d.writes != writes {
					t.Errorf("the same again wrote %d times more", d.writes-writes)
				}
			}
		})
	}
}

func TestAPendingTransactionIsADraftMarkedAsSuchAndCarriesBothIdsOnceItSettles(t *testing.T) {
	d := newDesk(t)
	d.target.Pending = true
	d.read(page(named(tx("p", pending))))
	d.stands("10 12.50 bank-account> SHOP pending")
	d.read(page(named(tx("s", of("p")))))
	d.stands("10 12.50 bank-account> SHOP")
	if got := d.records["bank_p"].RemoteIDs; !slices.Equal(got, []string{"bank_p", "bank_s"}) {
		t.Errorf("remote ids %v", got)
	}
	d.read(page(named(tx("p2", pending))))
	d.read(page(nil, "p2"))
	d.stands("10 12.50 bank-account> SHOP")
}

func TestPendingTransactionsWaitWhereOnlySettledOnesAreWanted(t *testing.T) {
	d := newDesk(t)
	d.read(page(named(tx("p", pending))))
	d.read(page(nil, "p"))
	d.stands()
	if d.seq > 0 && d.j.find(d.target.ID, "p") != nil {
		t.Error("the journal keeps what was not recorded")
	}
}

// touch is what a person does to a record.
type touch func(*ledger.Transaction)

var (
	nothing    touch = func(*ledger.Transaction) {}
	redate     touch = func(r *ledger.Transaction) { r.Date = january(20) }
	reprice    touch = func(r *ledger.Transaction) { r.Amount = decimal.RequireFromString("99.00") }
	retell     touch = func(r *ledger.Transaction) { r.Description = "Lunch" }
	complete   touch = func(r *ledger.Transaction) { r.Debit = "food" }
	decorate   touch = func(r *ledger.Transaction) { r.Properties = map[string]string{"project": "x"}; r.URLs = []string{"u"} }
	move       touch = func(r *ledger.Transaction) { r.Credit = "another" }
	post       touch = func(r *ledger.Transaction) { r.Debit, r.Posted = "food", true }
	check      touch = func(r *ledger.Transaction) { r.Checked = true }
	foresee    touch = func(r *ledger.Transaction) { r.Amount = decimal.RequireFromString("13.00") }
	foreseeAll touch = func(r *ledger.Transaction) {
		r.Amount, r.Date, r.Description = decimal.RequireFromString("13.00"), january(11), "STORE"
	}
)

func TestAnAmendmentChangesOnlyTheFieldsThatNobodyHasTouched(t *testing.T) {
	whole := tx("a", amount("13.00"), on(11), text("STORE"))
	for name, c := range map[string]struct {
		hand  touch
		says  bank.Transaction
		want  string
		flag  Flag
		quiet bool // nothing is written
	}{
		"untouched":                                {nothing, whole, "11 13.00 bank-account> STORE", "", false},
		"only the amount":                          {nothing, tx("a", amount("13.00")), "10 13.00 bank-account> SHOP", "", false},
		"only the date":                            {nothing, tx("a", on(11)), "11 12.50 bank-account> SHOP", "", false},
		"only the text":                            {nothing, tx("a", text("STORE")), "10 12.50 bank-account> STORE", "", false},
		"the same again":                           {nothing, tx("a"), "10 12.50 bank-account> SHOP", "", true},
		"the person dated it":                      {redate, whole, "20 13.00 bank-account> STORE", Changed, false},
		"the person priced it":                     {reprice, whole, "11 99.00 bank-account> STORE", Changed, false},
		"the person told it":                       {retell, whole, "11 13.00 bank-account> Lunch", Changed, false},
		"the person moved it to another account":   {move, whole, "11 13.00 another> STORE", "", false},
		"the other side was completed":             {complete, whole, "11 13.00 bank-account>food STORE", "", false},
		"it was decorated":                         {decorate, whole, "11 13.00 bank-account> STORE", "", false},
		"the person wrote what the bank now says":  {foreseeAll, whole, "11 13.00 bank-account> STORE", "", true},
		"the person foresaw the amount":            {foresee, whole, "11 13.00 bank-account> STORE", "", false},
		"posted":                                   {post, whole, "10 12.50 bank-account>food SHOP", Changed, true},
		"checked":                                  {check, whole, "10 12.50 bank-account> SHOP", Changed, true},
		"touched, and the bank has the same again": {reprice, tx("a"), "10 99.00 bank-account> SHOP", "", true},
		"the direction flips":                      {nothing, tx("a", in), "10 12.50 >bank-account SHOP", "", false},
		"the direction flips on a completed one":   {complete, tx("a", in), "10 12.50 bank-account>food SHOP", Changed, true},
		"no amount any more":                       {nothing, tx("a", amount("0")), "10 12.50 bank-account> SHOP", Changed, true},
		"more digits than the Book has":            {nothing, tx("a", amount("12.505")), "10 12.50 bank-account> SHOP", Changed, true},
		"more than a Book can hold":                {nothing, tx("a", amount("1e99")), "10 12.50 bank-account> SHOP", Changed, true},
		"in another currency":                      {nothing, tx("a", euros), "10 12.50 bank-account> SHOP", Changed, true},
		"another amount in another currency":       {nothing, tx("a", euros, amount("13.00")), "10 12.50 bank-account> SHOP", Changed, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.read(page(named(tx("a"))))
			c.hand(d.records["bank_a"])
			properties, writes := maps.Clone(d.records["bank_a"].Properties), d.writes
			for range 2 {
				d.read(page(named(c.says)))
				d.stands(c.want)
				if row := d.row("a"); row.Flag != c.flag || (c.flag != "") != (row.Bank != nil) || (row.Bank != nil && !row.Bank.Amount.Equal(c.says.Amount)) {
					t.Errorf("flag %q, %+v", row.Flag, row.Bank)
				}
			}
			if quiet := d.writes == writes; quiet != c.quiet || d.writes > writes+1 {
				t.Errorf("%d writes", d.writes-writes)
			}
			if diff := cmp.Diff(properties, d.records["bank_a"].Properties); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestALockedDateIsLeftAsItIs(t *testing.T) {
	for name, c := range map[string]struct {
		locked int
		says   bank.Transaction
	}{
		"the record is locked":           {10, tx("a", amount("13.00"), on(11))},
		"it would move to a locked date": {9, tx("a", amount("13.00"), on(9))},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.read(page(named(tx("a"))))
			d.target.book.Locked = january(c.locked)
			d.read(page(named(c.says)))
			d.stands("10 12.50 bank-account> SHOP")
			if d.row("a").Flag != Changed {
				t.Error("nobody is told")
			}
		})
	}
}

func TestAFlagEndsWhenBankAndRecordAgree(t *testing.T) {
	d := newDesk(t)
	d.read(page(named(tx("a"))))
	reprice(d.records["bank_a"])
	d.read(page(named(tx("a", amount("13.00")))))
	if d.row("a").Flag != Changed {
		t.Fatal("no flag")
	}
	d.records["bank_a"].Amount = decimal.RequireFromString("13.00")
	d.read(page(named(tx("a", amount("13.00"), text("STORE")))))
	if r := d.row("a"); r.Flag != "" || r.Bank != nil {
		t.Errorf("%q, %+v", r.Flag, r.Bank)
	}
	d.stands("10 13.00 bank-account> STORE")
}

func TestWhatTheBankTakesBackIsTrashedUnlessAPersonHasTouchedIt(t *testing.T) {
	for name, c := range map[string]struct {
		hand touch
		kept bool
	}{
		"untouched": {nothing, false}, "the other side was completed": {complete, false}, "decorated": {decorate, false},
		"dated": {redate, true}, "priced": {reprice, true}, "told": {retell, true}, "moved": {move, true}, "posted": {post, true}, "checked": {check, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.read(page(named(tx("a"))))
			c.hand(d.records["bank_a"])
			d.read(page(nil, "a"))
			stands, row := len(d.standing()) == 1, d.row("a")
			if stands != c.kept || (row.Flag == TakenBack) != c.kept || (row.State == Binned) == c.kept || row.Waiting {
				t.Errorf("stands %v, %+v", stands, row)
			}
			d.read(page(nil, "a"))
			d.read(page(named(tx("a", amount("13.00")))))
			if d.row("a").Flag == TakenBack || len(d.standing()) != 1 {
				t.Errorf("named again: %+v, %v", d.row("a"), d.standing())
			}
		})
	}
}

func TestWhatAPersonTrashedStaysTrashed(t *testing.T) {
	d := newDesk(t)
	d.target.Pending = true
	d.read(page(named(tx("a", pending), tx("b"))))
	for _, r := range d.records {
		r.Trashed = true
	}
	d.read(page(named(tx("a2", of("a"), amount("13.00"))), "a", "b"))
	d.read(page(named(tx("b", amount("14.00")), tx("a2", amount("15.00")))))
	d.stands()
	for _, id := range []string{"a", "b"} {
		if s := d.row(id).State; s != Hand {
			t.Errorf("%s is %s", id, s)
		}
	}
	if len(d.records) != 2 {
		t.Errorf("%d records were made", len(d.records))
	}
}

func TestWhatWeTrashedComesBackWithWhatTheBankSaysThen(t *testing.T) {
	d := newDesk(t)
	d.read(page(named(tx("a"))))
	d.read(page(nil, "a"))
	d.stands()
	d.read(page(named(tx("a", amount("13.00"), on(11), in))))
	d.stands("11 13.00 >bank-account SHOP")
	if len(d.records) != 1 {
		t.Errorf("%d records were made", len(d.records))
	}

	d.read(page(nil, "a"))
	d.records["bank_a"].Trashed = false // a person took it out of the trash
	d.read(page(named(tx("a", amount("14.00"), on(11), in))))
	d.stands("11 14.00 >bank-account SHOP")

	d.read(page(nil, "a"))
	delete(d.records, "bank_a") // the trash was emptied
	d.read(page(named(tx("a", amount("15.00")))))
	d.stands("10 15.00 bank-account> SHOP")

	d.read(page(nil, "a"))
	d.target.book.Locked = january(10)
	d.read(page(named(tx("a"))))
	d.stands()
	if r := d.row("a"); r.State != Binned || d.target.shut != january(10) {
		t.Errorf("into a locked period: %+v", r)
	}

	d.target.book.Locked = civil.Date{}
	d.read(page(named(tx("a"))))
	d.stands("10 12.50 bank-account> SHOP")
}

func TestNothingBeforeTheStartDateIsRecorded(t *testing.T) {
	d := newDesk(t)
	d.target.From = january(10)
	d.read(page(named(tx("before", on(9)), tx("on"))))
	d.stands("10 12.50 bank-account> SHOP")

	d.read(page(named(tx("before", on(11)), tx("on", on(9)))))
	d.stands("11 12.50 bank-account> SHOP")
	d.read(page(named(tx("on", on(12)))))
	d.stands("11 12.50 bank-account> SHOP", "12 12.50 bank-account> SHOP")
	if len(d.records) != 2 {
		t.Errorf("%d records were made", len(d.records))
	}

	retell(d.records["bank_on"])
	d.read(page(named(tx("on", on(9)))))
	if r := d.row("on"); r.Flag != TakenBack || len(d.standing()) != 2 {
		t.Errorf("a touched one that moves before the start: %+v", r)
	}
}

// A later start date removes nothing, and what stands before it still follows the bank.
func TestALaterStartDateRemovesNothing(t *testing.T) {
	d := newDesk(t)
	d.read(page(named(tx("a"))))
	d.target.From = january(15)
	d.read(page(named(tx("a", amount("13.00"), on(9)))))
	d.stands("9 13.00 bank-account> SHOP")
	d.read(page(nil, "a"))
	d.stands()
	d.read(page(named(tx("a"))))
	d.stands()
}

func TestWhatTheBookCannotHoldIsKeptAsideWithTheReason(t *testing.T) {
	for name, c := range map[string]struct {
		says   bank.Transaction
		reason Reason
		mend   func(*desk) bank.Transaction
	}{
		"another currency":          {tx("a", euros), ReasonCurrency, func(*desk) bank.Transaction { return tx("a") }},
		"zero":                      {tx("a", amount("0.00")), ReasonZero, func(*desk) bank.Transaction { return tx("a") }},
		"digits":                    {tx("a", amount("12.505")), ReasonDigits, func(*desk) bank.Transaction { return tx("a") }},
		"more than a Book can hold": {tx("a", amount("1e99")), ReasonRefused, func(*desk) bank.Transaction { return tx("a") }},
		"digits, the Book gets more of them": {tx("a", amount("12.505")), ReasonDigits, func(d *desk) bank.Transaction {
			d.target.book.Digits = 3
			return tx("a", amount("12.505"))
		}},
		"locked": {tx("a", on(5)), ReasonLocked, func(d *desk) bank.Transaction {
			d.target.book.Locked = civil.Date{}
			return tx("a", on(5))
		}},
		"on the last locked day": {tx("a", on(7)), ReasonLocked, func(*desk) bank.Transaction { return tx("a", on(8)) }},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.target.book.Locked = january(7)
			d.read(page(named(c.says, tx("fine", on(8)))))
			d.stands("8 12.50 bank-account> SHOP")
			if r := d.row("a"); r.State != Aside || r.Reason != c.reason {
				t.Errorf("%s, %q", r.State, r.Reason)
			}
			mended := c.mend(d)
			d.read(page(named(mended)))
			if r := d.row("a"); r.State != Standing || r.Reason != "" || len(d.standing()) != 2 {
				t.Errorf("mended: %+v", r)
			}
			d.read(page(nil, "a"))
			d.stands("8 12.50 bank-account> SHOP")
		})
	}
}

func TestWhatCannotBeReadIsKeptAsideUntilItCan(t *testing.T) {
	d := newDesk(t)
	unusable := bank.Page{Unusable: []bank.Unusable{{ID: "a", Account: there}, {ID: "b", Account: "another"}, {Account: there}}}
	d.read(unusable)
	if r := d.row("a"); r.State != Aside || r.Reason != ReasonUnusable || d.j.find(d.target.ID, "b") != nil {
		t.Errorf("%+v", r)
	}
	d.read(page(named(tx("a"))))
	d.stands("10 12.50 bank-account> SHOP")
	for _, c := range []struct {
		page bank.Page
		want Flag
	}{{unusable, Garbled}, {unusable, Garbled}, {page(named(tx("a"))), ""}, {unusable, Garbled}, {page(named(tx("a", amount("13.00")))), ""}} {
		writes := d.writes
		d.read(c.page)
		if r := d.row("a"); r.Flag != c.want || r.State != Standing || c.want != "" && d.writes != writes {
			t.Errorf("%+v after %d writes", r, d.writes-writes)
		}
	}
	d.stands("10 13.00 bank-account> SHOP")
}

func TestAmountsWithNoughtsAtTheEndFitABookWithFewerDigits(t *testing.T) {
	d := newDesk(t)
	d.target.book.Digits = 0
	d.read(page(named(tx("a", amount("12.00")), tx("b", amount("12.50")))))
	d.stands("10 12.00 bank-account> SHOP")
}

func TestTheSameIdTwiceIsOneRecordAndTwinsAreTwo(t *testing.T) {
	d := newDesk(t)
	d.read(page(named(tx("a"), tx("a", amount("13.00")), tx("twin", amount("13.00")))))
	d.stands("10 13.00 bank-account> SHOP", "10 13.00 bank-account> SHOP")
	d.read(page(named(tx("came")), "came"), page(named(tx("and")), "and"))
	d.stands("10 13.00 bank-account> SHOP", "10 13.00 bank-account> SHOP")
	d.read(page(named(bank.Transaction{ID: "else", Account: "another account"}), "unknown"))
	d.stands("10 13.00 bank-account> SHOP", "10 13.00 bank-account> SHOP")
}

// A bank names for each settled row the pending one that it was. Two that name the same, or one that names a row which never was
// pending, are rows of their own: money must not be lost over a link.
func TestALinkToWhatIsNotPendingTakesNothingAway(t *testing.T) {
	link := func(id string) func(*bank.Transaction) { return func(t *bank.Transaction) { t.PendingID = id } }
	one, two := tx("one", link("p"), amount("60.00"), on(11)), tx("two", link("p"), amount("40.00"), on(11))
	other := tx("other", link("plain"), amount("7.00"), on(12))
	const first, second, plain, own = "11 60.00 bank-account> SHOP", "11 40.00 bank-account> SHOP", "10 12.50 bank-account> SHOP", "12 7.00 bank-account> SHOP"
	for name, c := range map[string]struct {
		pages []bank.Page
		want  []string
	}{
		"one pending, two settled":                {[]bank.Page{page(named(tx("p", pending))), page(named(one, two), "p")}, []string{second, first}},
		"all in one page":                         {[]bank.Page{page(named(one, two, tx("p", pending)))}, []string{second, first}},
		"the pending one was never told":          {[]bank.Page{page(named(one, two))}, []string{second, first}},
		"one in each of two reads":                {[]bank.Page{page(named(tx("p", pending))), page(named(one), "p"), page(named(two))}, []string{second, first}},
		"named anew, and taken back later":        {[]bank.Page{page(named(tx("p", pending))), page(named(one), "p"), page(named(two)), page(nil, "one")}, []string{second}},
		"the settled one is named anew":           {[]bank.Page{page(named(tx("p", pending))), page(named(one), "p"), page(named(two), "one")}, []string{second}},
		"named anew in one page":                  {[]bank.Page{page(named(tx("p", pending))), page(named(one), "p"), page(named(two), "one", "p")}, []string{second}},
		"a settled row goes on as another":        {[]bank.Page{page(named(tx("plain"))), page(named(other), "plain")}, []string{own}},
		"a link to a settled row":                 {[]bank.Page{page(named(tx("plain"))), page(named(other))}, []string{plain, own}},
		"a link to a settled row in its own page": {[]bank.Page{page(named(tx("plain"), other))}, []string{plain, own}},
		"a link to itself":                        {[]bank.Page{page(named(tx("plain", link("plain"))))}, []string{plain}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, records := range []bool{true, false} {
				d := newDesk(t)
				d.target.Pending = records
				for i := range c.pages {
					d.read(c.pages[i])
				}
				d.stands(c.want...)
				writes := d.writes
				d.read(page(c.pages[len(c.pages)-1].Changed)) // told again
				d.stands(c.want...)
				if d.writes != writes {
					t.Errorf("the same again wrote %d times more", d.writes-writes)
				}
			}
		})
	}
}

func TestTheLinkedAccountIsTheSideThatMoneyLeavesOrReaches(t *testing.T) {
	d := newDesk(t)
	d.read(page(named(tx("a"), tx("b", in))))
	d.stands("10 12.50 >bank-account SHOP", "10 12.50 bank-account> SHOP")
}

// renew gives the desk a new item: all ids are new, and the two passes of the first read recognise what they can.
func (d *desk) renew(pages ...bank.Page) {
	d.t.Helper()
	d.target.Epoch++
	writes := d.writes
	d.target.claims = exactly
	d.read(pages...)
	if d.writes != writes {
		d.t.Errorf("the pass that only recognises wrote %d times", d.writes-writes)
	}
	d.j.alike = nil
	d.target.claims = loosely
	d.read(pages...)
	d.j.alike, d.target.claims = nil, noClaims
}

func TestANewItemDoublesNothingAndHonestTwinsStand(t *testing.T) {
	plain := "10 12.50 bank-account> SHOP"
	for name, c := range map[string]struct {
		old, now []bank.Transaction
		before   func(*desk) // the new item comes
		want     []string
		made     int // records that were ever made
	}{
		"the same under a new id":        {old: named(tx("a")), now: named(tx("A")), want: []string{plain}, made: 1},
		"two twins":                      {old: named(tx("a"), tx("b")), now: named(tx("A"), tx("B")), want: []string{plain, plain}, made: 2},
		"two twins and a third":          {old: named(tx("a"), tx("b")), now: named(tx("A"), tx("B"), tx("C")), want: []string{plain, plain, plain}, made: 3},
		"one of two is no longer named":  {old: named(tx("a"), tx("b")), now: named(tx("A")), want: []string{plain, plain}, made: 2},
		"under another text":             {old: named(tx("a")), now: named(tx("A", text("SHOP 24"))), want: []string{"10 12.50 bank-account> SHOP 24"}, made: 1},
		"equal texts find each other":    {old: named(tx("a", text("X")), tx("b", text("Y"))), now: named(tx("A", text("Z")), tx("B", text("X"))), want: []string{"10 12.50 bank-account> X", "10 12.50 bank-account> Z"}, made: 2},
		"another amount is another":      {old: named(tx("a")), now: named(tx("A", amount("13.00"))), want: []string{plain, "10 13.00 bank-account> SHOP"}, made: 2},
		"another day is another":         {old: named(tx("a")), now: named(tx("A", on(11))), want: []string{plain, "11 12.50 bank-account> SHOP"}, made: 2},
		"another direction is another":   {old: named(tx("a")), now: named(tx("A", in)), want: []string{"10 12.50 >bank-account SHOP", plain}, made: 2},
		"what a person trashed stays so": {old: named(tx("a")), now: named(tx("A")), before: func(d *desk) { d.records["bank_a"].Trashed = true }, want: nil, made: 1},
		"what we trashed is not claimed": {old: named(tx("a")), now: named(tx("A")), before: func(d *desk) { d.read(page(nil, "a")) }, want: []string{plain}, made: 2},
		"pending there, settled here":    {old: named(tx("a", pending)), now: named(tx("A")), want: []string{plain}, made: 1},
		"the settled one prefers its like": {
			old: named(tx("a", pending), tx("b")), now: named(tx("A"), tx("B", pending)),
			want: []string{plain, plain + " pending"}, made: 2,
		},
		"a person's text is kept": {
			old: named(tx("a")), now: named(tx("A")), before: func(d *desk) { retell(d.records["bank_a"]) },
			want: []string{"10 12.50 bank-account> Lunch"}, made: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.target.Pending = true
			d.read(page(c.old))
			if c.before != nil {
				c.before(d)
			}
			d.renew(page(c.now))
			d.stands(c.want...)
			if len(d.records) != c.made {
				t.Errorf("%d records were made", len(d.records))
			}
			d.read(page(c.now))
			d.stands(c.want...)
			var again []bank.Transaction
			for _, x := range c.now {
				x.ID += " once more"
				again = append(again, x)
			}
			d.renew(page(again))
			d.stands(c.want...)
		})
	}
}

// Each old row is claimed once, whatever pages the new item's rows come on.
func TestClaimsHoldAcrossPages(t *testing.T) {
	d := newDesk(t)
	d.read(page(named(tx("a"), tx("b"))))
	d.renew(page(named(tx("A"))), page(named(tx("B"))), page(named(tx("C"))))
	d.stands("10 12.50 bank-account> SHOP", "10 12.50 bank-account> SHOP", "10 12.50 bank-account> SHOP")
}

func TestAnIntentThatNobodyHeardOfIsSettledByWhatTheBookSays(t *testing.T) {
	was := valuesOf("i-0123456789abcdef", new(tx("a")))
	will := valuesOf("i-0123456789abcdef", new(tx("a", amount("13.00"))))
	record := func(how ...touch) *ledger.Transaction {
		r := &ledger.Transaction{ID: "r", RemoteIDs: []string{"bank_a"}, Date: was.Date, Amount: was.Amount, Credit: ours, Description: "SHOP"}
		for _, h := range how {
			h(r)
		}
		return r
	}
	trashed := func(r *ledger.Transaction) { r.Trashed = true }
	for name, c := range map[string]struct {
		intent  Intent
		state   RowState // before
		says    *ledger.Transaction
		want    RowState
		written Values
	}{
		"a create that did not take place":             {ToCreate, Absent, nil, Absent, was},
		"a create that did":                            {ToCreate, Absent, record(), Standing, was},
		"a create that a person trashed since":         {ToCreate, Absent, record(trashed), Hand, was},
		"an amendment that did not take place":         {ToAmend, Standing, record(), Standing, was},
		"an amendment that did":                        {ToAmend, Standing, record(foresee), Standing, will},
		"an amendment of what a person trashed since":  {ToAmend, Standing, record(trashed), Hand, was},
		"an amendment of what is nowhere":              {ToAmend, Standing, nil, Standing, was},
		"a trashing that did not take place":           {ToTrash, Standing, record(), Standing, was},
		"a trashing that did":                          {ToTrash, Standing, record(trashed), Binned, was},
		"a revival that did not take place":            {ToRevive, Binned, record(trashed), Binned, was},
		"a revival that did":                           {ToRevive, Binned, record(foresee), Standing, will},
		"a revival that took place without its values": {ToRevive, Binned, record(), Standing, was},
	} {
		t.Run(name, func(t *testing.T) {
			row := &Row{Key: "bank_a", Integration: "i-0123456789abcdef", IDs: []string{"a"}, State: c.state, Account: ours, Written: was, Intent: c.intent}
			if c.intent == ToAmend || c.intent == ToRevive {
				row.After = &will
			}
			row.hear(c.says)
			if row.State != c.want || !row.Written.Equal(c.written) || row.Intent != "" || row.After != nil {
				t.Errorf("%+v", row)
			}
		})
	}
}

func TestAPlanChangesNeitherTheJournalNorThePage(t *testing.T) {
	d := newDesk(t)
	d.target.Pending = true
	d.read(page(named(tx("a"), tx("p", pending))))
	before, _ := Segments.Document(&Segment{Rows: []*Row{d.row("a"), d.row("p")}})
	p := page(named(tx("s", of("p"), amount("13.00")), tx("new", pending)), "a")
	plan(d.target, d.j, &p, there, true)
	after, _ := Segments.Document(&Segment{Rows: []*Row{d.row("a"), d.row("p")}})
	if diff := cmp.Diff(string(before.Body), string(after.Body)); diff != "" {
		t.Error(diff)
	}
	if p.Changed[0].ID != "s" || d.j.find(d.target.ID, "new") != nil {
		t.Errorf("%+v", p.Changed)
	}
}
