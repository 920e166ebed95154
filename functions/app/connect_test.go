package app_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bkper/automations-portal/functions/connect"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/view"
)

func TestPageWebhookAndScheduleAtOnceMakeOneConnection(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("At once")
	for round := range 6 {
		b := w.bank("Bank "+strings.Repeat("I", round+1), checking(row(1, "5", "COFFEE")))
		s := w.client.begin(book)
		kept, err := store.Sessions.Get(t.Context(), w.store, s.Session)
		w.must(err)
		w.client.visit(s, b) // from here on the bank's webhook is under way
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() { w.client.do(http.MethodPost, "/connect/complete", connect.Complete{Session: s.Session}) })
			all.Go(func() { w.ring(events.Sessions, events.Message{Session: kept.Ref}) }) // as the schedule does
		}
		all.Wait()
		w.settle()
		c := w.client.kept(s)
		if n := len(w.client.connections()); n != round+1 {
			t.Fatalf("round %d: %d connections", round, n)
		}
		if items := w.items(b.id, true); len(items) != 1 || w.heard.times("plaid/item/public_token/exchange") != round+1 {
			t.Fatalf("round %d: %d items, %d exchanges", round, len(items), w.heard.times("plaid/item/public_token/exchange"))
		}
		w.keys("connection-", append(connectionIDs(w.client.connections()), c.ID)...)
	}
	w.keys("session-")
}

func connectionIDs(all []view.Connection) (ids []string) {
	for _, c := range all {
		ids = append(ids, c.ID)
	}
	return ids
}

// keys fails unless the vault has exactly these secrets of a sort.
func (w *world) keys(prefix string, ids ...string) {
	w.t.Helper()
	names, err := w.vault.List(w.t.Context(), prefix, "")
	w.must(err)
	slices.Sort(ids)
	var want []string
	for _, id := range slices.Compact(ids) {
		want = append(want, prefix+id)
	}
	if !slices.Equal(names, want) {
		w.t.Errorf("the vault has %v, want %v", names, want)
	}
}

func TestOneSessionAskedAgainGivesTheSameConnection(t *testing.T) {
	w := newWorld(t)
	b := w.bank("Steady Bank", checking())
	s := w.client.begin(w.newBook("Steady"))
	if done := w.client.do(http.MethodPost, "/connect/complete", connect.Complete{Session: s.Session}); !strings.Contains(done.body, `"open"`) {
		t.Errorf("before the visit: %s", done.body)
	}
	w.client.visit(s, b)
	first, second := w.client.kept(s), w.client.kept(s)
	if first.ID != second.ID || !first.Mine || first.Status != view.Connected || len(first.Accounts) != 1 {
		t.Errorf("first %+v, second %+v", first, second)
	}
}

func TestABankConnectedAlreadyIsNoticedBeforeTheExchange(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Twice")
	b := w.bank("Double Bank", checking())
	c := w.client.connect(b, book)
	w.settle()
	before := w.heard.times("plaid/item/public_token/exchange")
	s := w.client.begin(book)
	w.client.visit(s, b)
	done := w.client.complete(s)
	w.settle()
	if done.State != string(bank.Duplicate) || done.Connection == nil || done.Connection.ID != c.ID {
		t.Errorf("the second time: %+v", done)
	}
	if now := w.heard.times("plaid/item/public_token/exchange"); now != before || len(w.items(b.id, true)) != 1 {
		t.Errorf("%d exchanges more; items %v", now-before, w.items(b.id, true))
	}
	w.keys("connection-", c.ID)
	w.keys("session-")
	// Another person's connection to the same bank is nobody's duplicate.
	if other := w.bookkeeper.connect(b, book); other.ID == c.ID {
		t.Error("two people share a connection")
	}
}

func TestABankThatIsBeingConnectedIsNotConnectedTwice(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Two windows")
	b := w.bank("Busy Bank", checking())
	one, other := w.client.begin(book), w.client.begin(book)
	w.client.visit(one, b)
	w.plaid.AddFault(plaid.Fault{Path: "/item/public_token/exchange", Kind: plaid.FaultError, Times: 1})
	w.client.do(http.MethodPost, "/connect/complete", connect.Complete{Session: one.Session}) // whoever was first is at it now
	w.client.visit(other, b)
	done := w.client.do(http.MethodPost, "/connect/complete", connect.Complete{Session: other.Session})
	if done.status != http.StatusConflict || !strings.Contains(done.body, `"busy"`) {
		t.Errorf("in the other window: %d %s", done.status, done.body)
	}
	if all := w.client.connections(); len(all) > 1 {
		t.Errorf("connections %v", all)
	}
	elsewhere := w.client.connect(w.bank("Another Bank", checking()), book)
	if elsewhere.Status != view.Connected {
		t.Errorf("another bank meanwhile: %+v", elsewhere)
	}
}

func TestAVisitThatIsLeftMakesNothing(t *testing.T) {
	w := newWorld(t)
	s := w.client.begin(w.newBook("Left"))
	if _, err := plaid.Cancel(t.Context(), w.client.http, s.URL); err != nil {
		t.Fatal(err)
	}
	if done := w.client.complete(s); done.State != string(bank.Cancelled) {
		t.Errorf("the session is %+v", done)
	}
	if all := w.client.connections(); len(all) != 0 {
		t.Errorf("connections %v", all)
	}
	w.keys("session-")
}

func TestEveryLinkAsksForTheMostHistory(t *testing.T) {
	w := newWorld(t)
	b := w.bank("Long Bank", checking(row(725, "7", "LONG AGO"), row(5, "1", "LATELY")))
	book := w.newBook("Long")
	c, _ := w.client.linked(b, book)
	w.client.ok(http.MethodPost, "/disconnect", map[string]string{"connection": c.ID}, nil)
	w.client.reconnect(c.ID, b)
	asked := w.heard.bodies("plaid/link/token/create")
	if len(asked) != 2 {
		t.Fatalf("%d link tokens", len(asked))
	}
	for _, body := range asked {
		if !strings.Contains(strings.ReplaceAll(body, " ", ""), `"days_requested":730`) {
			t.Errorf("a link token is asked for with %s", body)
		}
	}
}

func TestAccountsOpenedLaterAreShared(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("More accounts")
	b := w.bank("Growing Bank", checking(row(9, "1", "OLD")))
	c, _ := w.client.linked(b, book)
	var opened string
	b.do(func(p *plaid.Bank) (err error) {
		opened, err = p.OpenAccount(b.id, b.user, card(row(4, "8.25", "FIRST SWIPE")))
		return err
	})
	w.settle()
	if now := w.client.connection(c.ID); len(now.Accounts) != 1 {
		t.Fatalf("an account that was not shared is shown: %+v", now.Accounts)
	}
	var s session.Started
	w.client.ok(http.MethodPost, "/connect/accounts", connect.Accounts{Connection: c.ID}, &s)
	w.client.visit(s, b)
	after := w.client.kept(s)
	if after.ID != c.ID || len(after.Accounts) != 2 || after.Accounts[0].Key != c.Accounts[0].Key || opened == "" {
		t.Fatalf("after sharing: %+v", after)
	}
	if len(w.items(b.id, true)) != 1 {
		t.Error("sharing accounts made an item")
	}
	w.client.link(linkTo(book, after, 1))
	want := []string{day(4) + " 8.25 Card>? FIRST SWIPE", day(9) + " 1 ins_growing_bank>? OLD"}
	w.hasRecords(book, want...)
}
