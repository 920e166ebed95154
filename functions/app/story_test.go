package app_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/functions/connect"
	"github.com/bkper/automations-portal/functions/portal"
	"github.com/bkper/automations-portal/functions/reconnect"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/view"
)

// linkTo asks to link one account of a connection to an Account of its own name.
func linkTo(book string, c view.Connection, account int) linking {
	a := c.Accounts[account]
	return linking{Book: book, Connection: c.ID, Key: a.Key, Create: a.Name, From: day(700)}
}

// hasRecords fails unless the Book holds exactly these records.
func (w *world) hasRecords(book string, want ...string) {
	w.t.Helper()
	want = slices.Clone(want)
	slices.Sort(want)
	if diff := cmp.Diff(want, w.records(book), cmp.Transformer("some", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
		w.t.Errorf("the Book (-want +got):\n%s", diff)
	}
}

func TestMoneyGoesTheRightWayForEveryKindOfAccount(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Directions")
	loan := plaid.Holding{Name: "Studies", Mask: "0003", Type: "loan", Subtype: "student", Currency: "USD", Current: decimal.New(9, 3), Rows: []plaid.Row{row(3, "-300", "PAID OFF"), row(2, "12.34", "INTEREST")}}
	b := w.bank("Three Bank", checking(row(9, "4.50", "COFFEE"), row(8, "-1000", "WAGES")), card(row(7, "30", "SHOES"), row(6, "-30", "CARD PAID")), loan)
	c := w.client.connect(b, book)
	for i := range c.Accounts {
		w.client.link(linkTo(book, c, i))
	}
	w.hasRecords(book,
		day(9)+" 4.5 Everyday>? COFFEE", day(8)+" 1000 ?>Everyday WAGES",
		day(7)+" 30 Card>? SHOES", day(6)+" 30 ?>Card CARD PAID",
		day(3)+" 300 ?>Studies PAID OFF", day(2)+" 12.34 Studies>? INTEREST")
	types := map[string]string{}
	var seen portal.Book
	w.client.ok(http.MethodGet, "/portal/book?book="+book, nil, &seen)
	for _, a := range seen.Accounts {
		types[a.Name] = a.Type
	}
	if diff := cmp.Diff(map[string]string{"Everyday": "ASSET", "Card": "LIABILITY", "Studies": "LIABILITY"}, types); diff != "" {
		t.Errorf("the Accounts (-want +got):\n%s", diff)
	}
	b.add(row(0, "2", "TODAY"))
	w.settle()
	if got := record(w.find(book, "TODAY")); got != day(0)+" 2 Everyday>? TODAY" {
		t.Errorf("what came later: %s", got)
	}
}

func TestSavingAgainChangesTheAccountAndThePeriod(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Saved again")
	b := w.bank("Saving Bank", checking(row(300, "1", "OLD"), row(100, "2", "MIDDLE"), row(10, "3", "NEW")))
	c := w.client.connect(b, book)
	r := linkTo(book, c, 0)
	r.From = day(150)
	first := w.client.link(r)
	w.hasRecords(book, day(100)+" 2 Everyday>? MIDDLE", day(10)+" 3 Everyday>? NEW")
	w.client.link(r)
	r.From = day(50) // shorter: what stands stays
	w.client.link(r)
	w.hasRecords(book, day(100)+" 2 Everyday>? MIDDLE", day(10)+" 3 Everyday>? NEW")
	b.add(row(80, "7", "BEFORE THE START"))
	w.settle()
	w.hasRecords(book, day(100)+" 2 Everyday>? MIDDLE", day(10)+" 3 Everyday>? NEW")
	r.From, r.Create = day(400), "Another" // longer, and another Account for what is new
	again := w.client.link(r)
	want := []string{day(300) + " 1 Another>? OLD", day(100) + " 2 Everyday>? MIDDLE", day(80) + " 7 Another>? BEFORE THE START", day(10) + " 3 Everyday>? NEW"}
	w.hasRecords(book, want...)
	w.client.link(r)
	w.hasRecords(book, want...)
	if again.ID != first.ID || again.AccountName != "Another" || len(w.client.integrations(book).Integrations) != 1 {
		t.Errorf("first %+v, again %+v", first, again)
	}
	if i := w.client.integration(book, first.ID); i.Status != view.Live || i.Progress.Recorded != 4 || !i.Progress.Complete {
		t.Errorf("the integration says %+v", i)
	}
}

func TestAPausedIntegrationRecordsWhenItIsResumed(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Paused")
	b := w.bank("Pausing Bank", checking(row(10, "1", "BEFORE")))
	c := w.client.connect(b, book)
	r := linkTo(book, c, 0)
	w.client.link(r)
	r.Paused = new(true)
	if i := w.client.link(r); i.Status != view.Paused {
		t.Errorf("paused: %+v", i)
	}
	b.add(row(1, "2", "MEANWHILE"))
	w.settle()
	w.hasRecords(book, day(10)+" 1 Everyday>? BEFORE")
	r.Paused = new(false)
	w.client.link(r)
	w.hasRecords(book, day(10)+" 1 Everyday>? BEFORE", day(1)+" 2 Everyday>? MEANWHILE")
}

func TestPendingTransactionsAreRecordedWhereThatIsAsked(t *testing.T) {
	w := newWorld(t)
	b := w.bank("Pending Bank", checking())
	without, with := w.newBook("Settled only"), w.newBook("Pending too")
	c := w.client.connect(b, without)
	w.client.ok(http.MethodPost, "/connect/offer", object{"connection": c.ID, "book": with, "offered": true}, nil)
	w.client.link(linkTo(without, c, 0))
	r := linkTo(with, c, 0)
	r.Pending = new(true)
	w.client.link(r)
	ids := b.add(pending(1, "20", "DINNER"), pending(1, "9", "HOLD"), pending(1, "6", "UNWANTED"))
	w.settle()
	w.hasRecords(without)
	w.hasRecords(with, day(1)+" 20 Everyday>? DINNER", day(1)+" 9 Everyday>? HOLD", day(1)+" 6 Everyday>? UNWANTED")
	_, err := w.hand(with).Trash(w.find(with, "UNWANTED").ID)
	w.must(err)
	tip := decimal.New(23, 0)
	b.do(func(p *plaid.Bank) error {
		if _, err := p.Settle(ids[0], plaid.Settlement{Amount: &tip, Date: day(0)}); err != nil {
			return err
		}
		if _, err := p.Settle(ids[2], plaid.Settlement{Date: day(0)}); err != nil {
			return err
		}
		return p.Vanish(ids[1])
	})
	w.settle()
	settled := []string{day(0) + " 23 Everyday>? DINNER", day(0) + " 6 Everyday>? UNWANTED"}
	w.hasRecords(without, settled...)
	w.hasRecords(with, day(0)+" 23 Everyday>? DINNER", day(1)+" 9 Everyday>? HOLD trashed", day(1)+" 6 Everyday>? UNWANTED trashed")
	r = linkTo(without, c, 0)
	b.add(pending(0, "5", "LATER HOLD"))
	w.settle()
	w.hasRecords(without, settled...)
	r.Pending = new(true) // turned on later: what is pending now is recorded
	w.client.link(r)
	settled = append(settled, day(0)+" 5 Everyday>? LATER HOLD")
	w.hasRecords(without, settled...)
	r.Pending = new(false) // turned off: what stands stays, and settles as one
	w.client.link(r)
	w.hasRecords(without, settled...)
}

func TestAPersonsHandWins(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Hands")
	b := w.bank("Moving Bank", checking())
	ids := b.add(row(9, "1", "UNTOUCHED"), row(9, "2", "COMPLETED"), row(9, "3", "AMOUNT EDITED"), row(9, "4", "POSTED"), row(9, "5", "TRASHED"),
		row(9, "6", "GONE UNTOUCHED"), row(9, "7", "GONE EDITED"), row(9, "8", "GONE POSTED"))
	_, i := w.client.linked(b, book)
	hand, id := w.hand(book), func(text string) string { return w.find(book, text).ID }
	did := func(_ bkper.TransactionOperation, err error) { t.Helper(); w.must(err) }
	made, err := w.books.CreateAccounts(bkper.Caller{Email: clientEmail}, book, []bkper.Account{{Name: "Food", Type: bkper.Outgoing}})
	w.must(err)
	food, edited, ours := made.Items[0].ID, "33", "AMOUNT EDITED BY US"
	did(hand.Edit(id("COMPLETED"), bkper.Edit{Debit: &food}))
	did(hand.Edit(id("AMOUNT EDITED"), bkper.Edit{Amount: &edited, Description: &ours}))
	did(hand.Edit(id("GONE EDITED"), bkper.Edit{Amount: &edited}))
	for _, text := range []string{"POSTED", "GONE POSTED"} {
		did(hand.Edit(id(text), bkper.Edit{Debit: &food}))
		did(hand.Post(id(text)))
	}
	did(hand.Trash(id("TRASHED")))
	b.do(func(p *plaid.Bank) error {
		for i, row := range ids {
			changed := decimal.New(int64(i+1)*10, 0)
			if i >= 5 {
				w.must(p.Vanish(row))
			} else {
				w.must(p.Amend(row, plaid.Amendment{Amount: &changed}))
			}
		}
		return nil
	})
	w.settle()
	w.hasRecords(book,
		day(9)+" 10 ins_moving_bank>? UNTOUCHED", day(9)+" 20 ins_moving_bank>Food COMPLETED", day(9)+" 33 ins_moving_bank>? AMOUNT EDITED BY US",
		day(9)+" 4 ins_moving_bank>Food POSTED posted", day(9)+" 5 ins_moving_bank>? TRASHED trashed",
		day(9)+" 6 ins_moving_bank>? GONE UNTOUCHED trashed", day(9)+" 33 ins_moving_bank>? GONE EDITED", day(9)+" 8 ins_moving_bank>Food GONE POSTED posted")
	if i = w.client.integration(book, i.ID); i.Progress.Flagged != 4 {
		t.Errorf("%d records are flagged with what the bank says: %+v", i.Progress.Flagged, i)
	}
}

func TestRemoveStopsOneBookAndLeavesTheRest(t *testing.T) {
	w := newWorld(t)
	one, two := w.newBook("One"), w.newBook("Two")
	b := w.bank("Removing Bank", checking(row(5, "1", "A"), row(5, "1", "A")))
	c, i := w.client.linked(b, one)
	w.client.ok(http.MethodPost, "/connect/offer", object{"connection": c.ID, "book": two, "offered": true}, nil)
	w.client.link(linkTo(two, c, 0))
	a := w.client.do(http.MethodPost, "/remove", map[string]string{"integration": i.ID})
	if a.status != http.StatusOK || a.member("state") != "removed" {
		t.Fatalf("remove: %d %s", a.status, a.body)
	}
	if again := w.client.do(http.MethodPost, "/remove", map[string]string{"integration": i.ID}); again.body != a.body || again.status != a.status {
		t.Errorf("removed again: %d %s", again.status, again.body)
	}
	before := w.records(one)
	b.add(row(0, "2", "LATER"))
	w.settle()
	w.hasRecords(one, before...)
	if got := len(w.records(two)); got != 3 {
		t.Errorf("the other Book has %d records", got)
	}
	if c := w.client.connection(c.ID); c.Status != view.Connected || len(w.items(b.id, true)) != 1 {
		t.Errorf("the connection is %+v", c)
	}
	w.client.link(linkTo(one, c, 0)) // linked again: only what is missing, to the Account chosen now
	w.hasRecords(one, append(before, day(0)+" 2 Everyday>? LATER")...)
}

func TestDisconnectEndsTheConsentAndTheToken(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Disconnected")
	b := w.bank("Ending Bank", checking(row(5, "1", "A")))
	c, _ := w.client.linked(b, book)
	a := w.client.do(http.MethodPost, "/disconnect", map[string]string{"connection": c.ID})
	if a.status != http.StatusOK || a.member("state") != "disconnected" {
		t.Fatalf("disconnect: %d %s", a.status, a.body)
	}
	if len(w.items(b.id, true)) != 0 {
		t.Error("the item lives on")
	}
	w.keys("connection-")
	b.add(row(0, "2", "LATER"))
	w.schedule()
	w.settle()
	w.hasRecords(book, day(5)+" 1 ins_ending_bank>? A")
	if c := w.client.connection(c.ID); c.Status != view.Disconnected {
		t.Errorf("the connection is %+v", c)
	}
	if again := w.client.do(http.MethodPost, "/disconnect", map[string]string{"connection": c.ID}); again.status != a.status || again.body != a.body {
		t.Errorf("disconnected again: %d %s", again.status, again.body)
	}
	w.client.refused("/portal/sync", portal.SyncNow{Connection: c.ID}, http.StatusConflict, "not_connected")
	w.client.refused("/connect/accounts", connect.Accounts{Connection: c.ID}, http.StatusConflict, "disconnected")
	w.client.refused("/link", linkTo(book, c, 0), http.StatusConflict, "disconnected")
}

func TestAConnectionThatNeedsItsUserIsRepaired(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Repaired")
	b := w.bank("Asking Bank", checking(row(5, "1", "A")))
	c, i := w.client.linked(b, book)
	it := w.items(b.id, true)[0]
	b.do(func(p *plaid.Bank) error { return p.Fail(it.ItemID, "ITEM_LOGIN_REQUIRED", "") })
	w.settle()
	if c := w.client.connection(c.ID); c.Status != view.NeedsYou {
		t.Fatalf("the connection is %+v", c)
	}
	b.add(row(1, "2", "MEANWHILE"))
	w.settle()
	repaired := w.client.reconnect(c.ID, b)
	w.settle()
	if repaired.ID != c.ID || repaired.Status != view.Connected || w.client.integration(book, i.ID).Status != view.Live {
		t.Errorf("repaired: %+v", repaired)
	}
	if now := w.items(b.id, true); len(now) != 1 || now[0].ItemID != it.ItemID || w.heard.times("plaid/item/public_token/exchange") != 1 {
		t.Errorf("items %v", now)
	}
	w.hasRecords(book, day(5)+" 1 ins_asking_bank>? A", day(1)+" 2 ins_asking_bank>? MEANWHILE")
}

// historyRows are a history with honest twins, and with texts that differ in little.
func historyRows() []plaid.Row {
	return []plaid.Row{
		row(400, "12", "RENT"), row(300, "12", "RENT"), row(40, "3.2", "COFFEE"), row(40, "3.2", "COFFEE"), row(40, "3.2", "COFFEE"),
		row(39, "3.2", "COFFEE"), row(30, "-900", "WAGES"), row(12, "8", "LUNCH 1"), row(12, "8", "LUNCH 2"), row(2, "1", "GUM"),
	}
}

func TestReconnectingAfterADisconnectDoublesAndLosesNothing(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Restored")
	b := w.bank("Returning Bank", checking(historyRows()...), card(row(3, "5", "SWIPE"), row(3, "5", "SWIPE")))
	c, i := w.client.linked(b, book)
	w.client.link(linkTo(book, c, 1))
	_, err := w.hand(book).Trash(w.find(book, "GUM").ID)
	w.must(err)
	before := w.records(book)
	w.client.ok(http.MethodPost, "/disconnect", map[string]string{"connection": c.ID}, nil)
	b.add(row(40, "3.2", "COFFEE"), row(0, "4", "MEANWHILE"), row(0, "4", "MEANWHILE"))
	restored := w.client.reconnect(c.ID, b)
	w.settle()
	if restored.ID != c.ID || restored.Accounts[0].Key != c.Accounts[0].Key || len(w.client.connections()) != 1 {
		t.Fatalf("restored: %+v", restored)
	}
	want := append(before, day(40)+" 3.2 ins_returning_bank>? COFFEE", day(0)+" 4 ins_returning_bank>? MEANWHILE", day(0)+" 4 ins_returning_bank>? MEANWHILE")
	w.hasRecords(book, want...)
	if now := w.client.integration(book, i.ID); now.Status != view.Live || now.Connection != c.ID {
		t.Errorf("the integration is %+v", now)
	}
	w.keys("connection-", c.ID)
	b.add(row(0, "6", "AFTERWARDS"))
	w.settle()
	w.hasRecords(book, append(want, day(0)+" 6 ins_returning_bank>? AFTERWARDS")...)
}

func TestReconnectingAtAnotherBankIsRefused(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Refused")
	b, other := w.bank("First Bank", checking(row(5, "1", "A"))), w.bank("Second Bank", checking(row(5, "1", "A")))
	c, _ := w.client.linked(b, book)
	w.client.ok(http.MethodPost, "/disconnect", map[string]string{"connection": c.ID}, nil)
	before := w.heard.times("plaid/item/public_token/exchange")
	var s session.Started
	w.client.ok(http.MethodPost, "/reconnect", reconnect.Request{Connection: c.ID}, &s)
	w.client.visit(s, other)
	if done := w.client.complete(s); done.State != string(bank.Refused) || done.Connection != nil {
		t.Errorf("the session is %+v", done)
	}
	if c := w.client.connection(c.ID); c.Status != view.Disconnected || w.heard.times("plaid/item/public_token/exchange") != before {
		t.Errorf("the connection is %+v", c)
	}
	w.keys("connection-")
	w.client.reconnect(c.ID, b) // at the same bank it still works
}

func TestRemoveDisconnectReconnectAndLinkAgainLeavesNoDouble(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("All over again")
	b := w.bank("Patient Bank", checking(historyRows()...))
	c, i := w.client.linked(b, book)
	before := w.records(book)
	w.client.ok(http.MethodPost, "/remove", map[string]string{"integration": i.ID}, nil)
	w.client.ok(http.MethodPost, "/disconnect", map[string]string{"connection": c.ID}, nil)
	b.add(row(0, "4", "MEANWHILE"))
	s := w.client.begin(book)
	w.client.visit(s, b)
	if done := w.client.complete(s); done.State != string(bank.Duplicate) || done.Connection.ID != c.ID {
		t.Fatalf("connecting a disconnected bank anew: %+v", done)
	}
	restored := w.client.reconnect(c.ID, b)
	w.settle()
	w.hasRecords(book, before...)
	again := w.client.link(linking{Book: book, Connection: c.ID, Key: restored.Accounts[0].Key, Create: b.id})
	w.hasRecords(book, append(before, day(0)+" 4 ins_patient_bank>? MEANWHILE")...)
	if again.ID != i.ID {
		t.Errorf("the integration was %s and is %s", i.ID, again.ID)
	}
}

func TestAJointAccountOfTwoPeopleCountsOnceInABook(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Joint")
	b := w.bank("Joint Bank", checking(historyRows()...))
	_, i := w.client.linked(b, book)
	before := w.records(book)
	theirs := w.bookkeeper.connect(b, book)
	r := linking{Book: book, Connection: theirs.ID, Key: theirs.Accounts[0].Key, Create: b.id, From: day(700)}
	w.refuse([]bad{{"fed by another connection", w.bookkeeper, "/link", object{
		"book": book, "connection": theirs.ID, "key": r.Key, "create": b.id, "from": r.From,
	}.String(), http.StatusConflict, "already_linked", true}})
	w.client.ok(http.MethodPost, "/remove", map[string]string{"integration": i.ID}, nil)
	b.add(row(0, "4", "MEANWHILE"), row(40, "3.2", "COFFEE"))
	w.settle()
	w.hasRecords(book, before...)
	w.bookkeeper.link(r)
	w.hasRecords(book, append(before, day(0)+" 4 ins_joint_bank>? MEANWHILE", day(40)+" 3.2 ins_joint_bank>? COFFEE")...)
	if now := w.bookkeeper.integrations(book).Integrations; len(now) != 1 || now[0].PostsAs != bookkeeperEmail {
		t.Errorf("the integrations are %+v", now)
	}
}

func TestABookkeeperLinksWhatWasOfferedAndNoMore(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Offered")
	b := w.bank("Offered Bank", checking(row(5, "1", "A")))
	c := w.client.connect(b, book)
	offered := w.bookkeeper.integrations(book).Offered
	if len(offered) != 1 || offered[0].ID != c.ID || offered[0].Mine || offered[0].Offered != nil {
		t.Fatalf("the bookkeeper sees %+v", offered)
	}
	if len(w.bookkeeper.connections()) != 0 {
		t.Error("another's connection is listed as the bookkeeper's")
	}
	i := w.bookkeeper.link(linkTo(book, c, 0))
	if i.PostsAs != bookkeeperEmail {
		t.Errorf("it records as %s", i.PostsAs)
	}
	w.hasRecords(book, day(5)+" 1 Everyday>? A")
	w.bookkeeper.refused("/disconnect", map[string]string{"connection": c.ID}, http.StatusNotFound, "not_found")
	w.bookkeeper.refused("/reconnect", reconnect.Request{Connection: c.ID}, http.StatusNotFound, "not_found")
	w.bookkeeper.refused("/connect/accounts", connect.Accounts{Connection: c.ID}, http.StatusNotFound, "not_found")
	w.bookkeeper.refused("/connect/offer", object{"connection": c.ID, "book": book, "offered": false}, http.StatusNotFound, "not_found")
	another := w.newBook("Not offered to")
	r := linkTo(another, c, 0)
	w.bookkeeper.refused("/link", r, http.StatusNotFound, "not_found")
	w.client.ok(http.MethodPost, "/connect/offer", object{"connection": c.ID, "book": book, "offered": false}, nil)
	b.add(row(0, "2", "LATER"))
	w.settle()
	w.hasRecords(book, day(5)+" 1 Everyday>? A")
	w.bookkeeper.refused("/link", linkTo(book, c, 0), http.StatusNotFound, "not_found")
	if list := w.bookkeeper.integrations(book); len(list.Offered) != 0 || len(list.Integrations) != 0 {
		t.Errorf("after the offer ended: %+v", list)
	}
	if c := w.client.connection(c.ID); c.Status != view.Connected {
		t.Errorf("the connection is %+v", c)
	}
}

func TestTheOwnerMayRemoveAnyIntegrationOfOwnConnections(t *testing.T) {
	w := newWorld(t)
	book := w.makeBook(bkper.Book{Name: "The bookkeeper's", Properties: map[string]string{"exc_code": "USD"}}, bkper.Editor)
	b := w.bank("Owner Bank", checking(row(5, "1", "A")))
	c := w.client.connect(b, book)
	i := w.bookkeeper.link(linkTo(book, c, 0))
	stranger := w.signIn(strangerEmail)
	stranger.refused("/remove", map[string]string{"integration": i.ID}, http.StatusNotFound, "not_found")
	w.client.ok(http.MethodPost, "/remove", map[string]string{"integration": i.ID}, nil)
	if strings.Contains(strings.Join(w.records(book), " "), "LATER") {
		t.Error("recorded after its removal")
	}
}

func TestSyncNowRings(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Now")
	b := w.bank("Slow Bank", checking(row(5, "1", "A")))
	c, _ := w.client.linked(b, book)
	a := w.client.refused("/portal/sync", portal.SyncNow{Connection: c.ID}, http.StatusTooManyRequests, "just_synced")
	if a.header.Get("Retry-After") == "" {
		t.Error("it does not say when")
	}
	fresh := w.bookkeeper.connect(w.bank("Unread Bank", checking()), book)
	w.settle()
	w.must(w.store.Update(t.Context(), func(tx store.Tx) error {
		e, err := posting.Load(tx, fresh.ID)
		if err != nil {
			return err
		}
		e.Synced = time.Now().Add(-time.Hour)
		return posting.Engines.Put(tx, e)
	}))
	if a := w.bookkeeper.do(http.MethodPost, "/portal/sync", portal.SyncNow{Connection: fresh.ID}); a.status != http.StatusAccepted {
		t.Errorf("synced long ago: %d %s", a.status, a.body)
	}
	if a := w.bookkeeper.do(http.MethodPost, "/portal/sync", portal.SyncNow{Connection: c.ID, Book: book}); a.status != http.StatusTooManyRequests {
		t.Errorf("of an offered one: %d %s", a.status, a.body)
	}
}

// Providers give a bank a new id when they begin to read it in another way, and end the items of the old one.
func TestABankWithANewIDDuplicatesNothing(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Moved")
	rows := []plaid.Row{row(20, "4.50", "COFFEE"), row(20, "4.50", "COFFEE"), row(9, "900", "RENT")}
	before, after := w.bank("Old Bank", checking(rows...)), w.bank("New Bank", checking(append(rows, row(1, "7", "LUNCH"))...))
	c := w.client.connect(before, book)
	first := w.client.link(linkTo(book, c, 0))
	want := []string{day(20) + " 4.5 Everyday>? COFFEE", day(20) + " 4.5 Everyday>? COFFEE", day(9) + " 900 Everyday>? RENT"}
	w.hasRecords(book, want...)
	w.client.ok(http.MethodPost, "/disconnect", map[string]string{"connection": c.ID}, nil)
	w.settle()

	r := linkTo(book, w.client.connect(after, book), 0)
	w.client.refused("/link", r, http.StatusConflict, "which_account")
	w.hasRecords(book, want...)
	r.Replaces = first.ID
	if i := w.client.link(r); i.ID != first.ID {
		t.Errorf("it is another integration: %+v", i)
	}
	w.hasRecords(book, append(want, day(1)+" 7 Everyday>? LUNCH")...)
}
