package app_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/sandbox/google"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
)

// mostCuts is more than any of these functions calls.
const mostCuts = 400

// everyCut runs a story again and again, each time with the next call of it cut, until a run is not cut any more; then the
// same person tries once more, and the schedule does its work. prepare stands before the cuts, act may be cut, check looks
// at what came of it all; lost says that an answer was lost which nobody can get again.
func everyCut(t *testing.T, prepare func(*bench), act func(*bench), check func(b *bench, lost bool)) {
	t.Helper()
	least := 0
	for _, m := range modes {
		for n := range mostCuts {
			b := newBench(t)
			prepare(b)
			b.cut.arm(n, m)
			act(b)
			what, lost := b.cut.fired, false
			if what != "" {
				lost = (what == "exchange" && m.after) || (what == "vault put" && m.kills && !m.after)
				b.cut.mend()
				b.now = b.now.Add(3 * time.Minute) // after which an answer that is not there will not come
				act(b)
			}
			b.cut.mend()
			b.minutes(4)
			check(b, lost)
			b.sound(lost)
			if t.Failed() {
				t.Fatalf("with call %d (%s) cut %v; the log:\n%s", n, what, m, b.log.String())
			}
			if what == "" {
				least = max(least, n)
				break
			}
		}
	}
	if least < 3 || least >= mostCuts-1 {
		t.Errorf("%d calls were cut", least)
	}
	t.Logf("each of %d calls was cut in %d ways", least, len(modes))
}

// sound checks what must hold whatever was cut.
func (b *bench) sound(lost bool) {
	b.t.Helper()
	var tokens, active, items []string
	for _, c := range b.connections() {
		if c.State == bank.Active || c.State == bank.NeedsUser {
			active = append(active, vault.ConnectionToken(c.ID))
			items = append(items, c.Item)
		}
	}
	tokens = b.secrets("connection-")
	slices.Sort(active)
	if !slices.Equal(tokens, active) {
		b.t.Errorf("tokens %v, active connections %v", tokens, active)
	}
	kept := b.items()
	slices.Sort(kept)
	slices.Sort(items)
	if !slices.Equal(kept, items) && !lost {
		b.t.Errorf("items at the bank %v, of connections %v", kept, items)
	}
	for _, s := range b.sessions() {
		switch {
		case s.State == bank.Exchanging:
			b.t.Errorf("a session is still %s", s.State)
		case s.State == bank.Lost && !lost:
			b.t.Errorf("a session is lost, although its answer came")
		case s.State.Final() && slices.Contains(b.secrets("session-"), vault.SessionHandle(s.ID)):
			b.t.Errorf("a session that is %s keeps its handle", s.State)
		}
	}
	if n := len(b.connections()); n > 1 {
		b.t.Errorf("%d connections", n)
	}
	b.noLeak()
}

func nothing(*bench) {}

// connectIt is the whole way of a person to a bank. Who has lost the answer starts anew.
func connectIt(b *bench) {
	if !b.begin("connect", "/", object{"book": b.book, "country": "US"}) {
		return
	}
	if done := b.complete(); done.State == string(bank.Lost) {
		b.forget()
	}
}

func TestConnectCutAtEveryCall(t *testing.T) {
	everyCut(t, nothing, connectIt, func(b *bench, lost bool) {
		if len(b.connections()) == 1 {
			return
		}
		if !lost {
			b.t.Errorf("no connection; sessions %+v", b.sessions())
			return
		}
		b.forget()
		connectIt(b) // what was lost is lost, and the person can connect anew
		b.minutes(1)
		if len(b.connections()) != 1 {
			b.t.Errorf("after a lost answer the bank cannot be connected: %+v", b.sessions())
		}
	})
}

// connected prepares a connection.
func connected(b *bench) {
	b.t.Helper()
	connectIt(b)
	b.minutes(1)
	b.forget()
	if len(b.connections()) != 1 {
		b.t.Fatalf("not connected: %+v\n%s", b.sessions(), b.log.String())
	}
}

func linkIt(b *bench) {
	c := b.connections()[0]
	b.call("link", "/", object{"book": b.book, "connection": c.ID, "key": c.Accounts[0].Key, "create": "Everyday", "from": day(700)}, nil)
}

// onBooks prepares a linked connection whose history stands in the Book.
func onBooks(b *bench) {
	b.t.Helper()
	connected(b)
	linkIt(b)
	b.minutes(1)
	b.holds(historyRows()...)
}

// holds fails unless the Book has exactly these rows.
func (b *bench) holds(rows ...plaid.Row) {
	b.t.Helper()
	if diff := cmp.Diff(expected("Everyday", rows...), b.records()); diff != "" {
		b.t.Errorf("the Book (-want +got):\n%s", diff)
	}
}

// add writes rows at the bank, and rings for them.
func (b *bench) add(rows ...plaid.Row) {
	b.must(b.plaid.Do(func(p *plaid.Bank) error { _, err := p.Add(b.account, rows...); return err }))
	b.ring()
}

func (b *bench) ring() {
	b.queue = append(b.queue, published{events.Rings, events.Message{Connection: b.connections()[0].ID}})
}

func TestLinkCutAtEveryCall(t *testing.T) {
	everyCut(t, connected, linkIt, func(b *bench, _ bool) {
		if is := b.integrations(); len(is) != 1 || is[0].State != bank.Live {
			b.t.Errorf("integrations %+v", is)
		}
		b.holds(historyRows()...)
		book, err := b.ledger.Book(b.t.Context(), must(b.Token(b.t.Context(), "")), b.book)
		b.must(err)
		if len(book.Accounts) != 1 {
			b.t.Errorf("Accounts %+v", book.Accounts)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestRemoveCutAtEveryCall(t *testing.T) {
	remove := func(b *bench) {
		var answer struct{ State string }
		status := b.call("remove", "/", object{"integration": b.integrations()[0].ID}, &answer)
		if status == http.StatusOK && answer.State == "removed" {
			b.add(row(0, "77", "TOO LATE")) // nothing may reach the Book from here on
		}
	}
	everyCut(t, onBooks, remove, func(b *bench, _ bool) {
		if is := b.integrations(); len(is) != 1 || is[0].State != bank.Removed {
			b.t.Errorf("integrations %+v", is)
		}
		b.holds(historyRows()...)
	})
}

func TestDisconnectCutAtEveryCall(t *testing.T) {
	disconnect := func(b *bench) {
		b.call("disconnect", "/", object{"connection": b.connections()[0].ID}, nil)
	}
	everyCut(t, onBooks, disconnect, func(b *bench, _ bool) {
		if c := b.connections()[0]; c.State != bank.Disconnected || c.Item != "" {
			b.t.Errorf("the connection is %+v", c)
		}
		if len(b.items()) != 0 || len(b.secrets("connection-")) != 0 {
			b.t.Errorf("items %v, tokens %v", b.items(), b.secrets("connection-"))
		}
		b.add(row(0, "77", "TOO LATE"))
		b.minutes(1)
		b.holds(historyRows()...)
	})
}

// disconnected prepares a connection that was ended, with rows that came since.
func disconnected(b *bench) {
	b.t.Helper()
	onBooks(b)
	b.call("disconnect", "/", object{"connection": b.connections()[0].ID}, nil)
	if len(b.items()) != 0 {
		b.t.Fatal("not disconnected")
	}
	b.add(meanwhile()...)
	b.deliver()
}

func meanwhile() []plaid.Row {
	return []plaid.Row{row(0, "4", "MEANWHILE"), row(0, "4", "MEANWHILE"), row(40, "3.2", "COFFEE")}
}

func reconnectIt(b *bench) {
	if !b.begin("reconnect", "/", object{"connection": b.connections()[0].ID}) {
		return
	}
	if done := b.complete(); done.State == string(bank.Lost) {
		b.forget()
	}
}

// back checks that the connection is whole again.
func back(b *bench, lost bool) {
	b.t.Helper()
	if b.connections()[0].State != bank.Active && lost {
		b.forget()
		reconnectIt(b)
		b.minutes(1)
	}
	c := b.connections()[0]
	if c.State != bank.Active || c.Item == "" || len(c.Accounts) != 1 || c.Accounts[0].Gone {
		b.t.Errorf("the connection is %+v; sessions %+v", c, b.sessions())
	}
	b.minutes(2)
	b.holds(append(historyRows(), meanwhile()...)...)
}

func TestReconnectAfterADisconnectCutAtEveryCall(t *testing.T) {
	everyCut(t, disconnected, reconnectIt, back)
}

func TestReconnectOfAnItemThatIsGoneCutAtEveryCall(t *testing.T) {
	gone := func(b *bench) {
		onBooks(b)
		token := must(b.vault.Get(b.t.Context(), vault.ConnectionToken(b.connections()[0].ID)))
		b.must(b.plaid.Do(func(p *plaid.Bank) error { return p.RemoveItem(token.Reveal()) }))
		b.add(meanwhile()...)
		b.deliver()
	}
	everyCut(t, gone, reconnectIt, back)
}

func TestRepairCutAtEveryCall(t *testing.T) {
	failing := func(b *bench) {
		onBooks(b)
		it := b.items()[0]
		b.must(b.plaid.Do(func(p *plaid.Bank) error { return p.Fail(it, "ITEM_LOGIN_REQUIRED", "") }))
		b.add(meanwhile()...)
		b.deliver()
		if c := b.connections()[0]; c.State != bank.NeedsUser {
			b.t.Fatalf("the connection is %+v", c)
		}
	}
	everyCut(t, failing, reconnectIt, func(b *bench, lost bool) {
		back(b, lost)
		if b.connections()[0].Epoch != 0 {
			b.t.Errorf("a repair made a new item: %+v", b.connections()[0])
		}
	})
}

// dying prepares a poster that died with a batch on its way to the Book: its lease lasts a while.
func dying(b *bench) {
	b.t.Helper()
	onBooks(b)
	b.add(meanwhile()...)
	for n := range mostCuts {
		b.cut.arm(n, mode{after: true, kills: true})
		b.push(b.queue[0])
		if b.cut.mend(); b.cut.fired == "write records" {
			b.queue = nil
			return
		}
		b.now = b.now.Add(3 * time.Minute)
	}
	b.t.Fatal("the poster writes nothing")
}

func TestNobodyIsToldThatAllIsSilentWhileAPosterMayStillWrite(t *testing.T) {
	for function, last := range map[string]string{"remove": "removed", "connect": "ended", "disconnect": "disconnected"} {
		b := newBench(t)
		dying(b)
		ask := func() (state string) {
			t.Helper()
			var answer struct{ State string }
			in, path := object{"connection": b.connections()[0].ID}, "/"
			switch function {
			case "remove":
				in = object{"integration": b.integrations()[0].ID}
			case "connect": // which stops to offer it
				in["book"], in["offered"], path = b.book, false, "/offer"
			}
			status := b.call(function, path, in, &answer)
			if want := map[bool]int{true: http.StatusOK, false: http.StatusAccepted}[answer.State == last]; status != want {
				t.Errorf("%s: %d %s", function, status, answer.State)
			}
			return answer.State
		}
		asked := b.now
		if state := ask(); state != "stopping" {
			t.Errorf("%s while somebody holds the connection: %s", function, state)
		}
		if waited := b.now.Sub(asked); waited > 30*time.Second {
			t.Errorf("%s: a person waits for %v", function, waited)
		}
		if len(b.items()) != 1 || len(b.secrets("connection-")) != 1 {
			t.Errorf("%s ended the item while somebody may read it", function)
		}
		b.now = b.now.Add(3 * time.Minute)
		before := b.records()
		if state := ask(); state != last {
			t.Errorf("%s after the lease: %s", function, state)
		}
		b.ring()
		b.minutes(2)
		if diff := cmp.Diff(before, b.records()); diff != "" {
			t.Errorf("%s: written after it was said to be silent:\n%s", function, diff)
		}
		b.sound(false)
	}
}

func TestPosterCutAtEveryCall(t *testing.T) {
	changed := func(b *bench) {
		onBooks(b)
		b.add(meanwhile()...)
	}
	post := func(b *bench) {
		for _, p := range b.queue {
			b.push(p)
		}
	}
	everyCut(t, changed, post, func(b *bench, _ bool) { b.holds(append(historyRows(), meanwhile()...)...) })
}

func TestSyncCutAtEveryCall(t *testing.T) {
	due := func(b *bench) {
		connectIt(b)
		b.forget()
		b.begin("connect", "/", object{"book": b.book, "country": "US"})
		b.must(b.store.Update(b.t.Context(), func(tx store.Tx) error {
			return store.Connections.Put(tx, &bank.Connection{ID: "ending", Owner: "x", Provider: "plaid", State: bank.Removing, Updated: b.now})
		}))
		b.queue = nil
		b.now = b.now.Add(7 * time.Hour)
	}
	everyCutOf(t, due, func(b *bench) int { return b.call("sync", "/", object{}, nil) }, func(b *bench, answered int) {
		topics := map[events.Topic]bool{}
		for _, p := range b.queue {
			topics[p.topic] = true
		}
		if answered == http.StatusOK && len(topics) != 3 {
			b.t.Errorf("answered %d, and published %v", answered, b.queue)
		}
	})
}

func TestStoppingToOfferCutAtEveryCall(t *testing.T) {
	offer := func(offered bool) func(*bench) {
		return func(b *bench) {
			c := b.connections()[0]
			status := b.call("connect", "/offer", object{"connection": c.ID, "book": b.book, "offered": offered}, nil)
			if status == http.StatusOK && !offered {
				b.add(row(0, "77", "TOO LATE")) // nothing may reach the Book from here on
			}
		}
	}
	offered := func(b *bench, want ...string) {
		b.t.Helper()
		if c := b.connections()[0]; !slices.Equal(c.Offered, want) || c.State != bank.Active {
			b.t.Errorf("the connection is %+v", c)
		}
		if is := b.integrations(); len(is) != 1 || is[0].State != bank.Removed {
			b.t.Errorf("integrations %+v", is)
		}
		b.holds(historyRows()...)
	}
	everyCut(t, onBooks, offer(false), func(b *bench, _ bool) { offered(b) })
	stopped := func(b *bench) {
		onBooks(b)
		offer(false)(b)
		offered(b)
	}
	everyCut(t, stopped, offer(true), func(b *bench, _ bool) { offered(b, b.book) })
}

func TestSharingMoreAccountsCutAtEveryCall(t *testing.T) {
	opened := func(b *bench) {
		onBooks(b)
		b.must(b.plaid.Do(func(p *plaid.Bank) error {
			_, err := p.OpenAccount(b.institution, "customer", card(row(4, "8.25", "FIRST SWIPE")))
			return err
		}))
	}
	share := func(b *bench) {
		if b.begin("connect", "/accounts", object{"connection": b.connections()[0].ID}) {
			b.complete()
		}
	}
	everyCut(t, opened, share, func(b *bench, _ bool) {
		if c := b.connections()[0]; c.State != bank.Active || len(c.Accounts) != 2 || c.Epoch != 0 || c.Accounts[0].Gone {
			b.t.Errorf("the connection is %+v", c)
		}
		b.holds(historyRows()...)
	})
}

func TestSignInCutAtEveryCall(t *testing.T) {
	blocked := func(b *bench) {
		onBooks(b)
		b.granted = false // and none is in the vault
		b.add(meanwhile()...)
		b.deliver()
		if is := b.integrations(); is[0].Behind != "consent_required" {
			b.t.Fatalf("the integration is %+v", is[0])
		}
		b.holds(historyRows()...)
	}
	everyCut(t, blocked, func(b *bench) { b.signIn() }, func(b *bench, _ bool) {
		user, err := store.Users.Get(b.t.Context(), b.store, google.Sub(clientEmail))
		b.must(err)
		if !user.Granted || len(b.secrets("grant-")) != 1 || !b.signIn() {
			b.t.Errorf("the user is %+v, the grants are %v", user, b.secrets("grant-"))
		}
		b.holds(append(historyRows(), meanwhile()...)...)
	})
}

func TestListsCutAtEveryCallAnswerOnceTheyCanAgain(t *testing.T) {
	lists := func(b *bench) (answers []string) {
		for _, path := range []string{
			"/connections", "/integrations?book=" + b.book, "/attention?book=" + b.book + "&integration=" + b.integrations()[0].ID,
			"/countries", "/banks?country=US", "/books", "/book?book=" + b.book,
		} {
			status, body := b.get("portal", path)
			if status != http.StatusOK && status < http.StatusInternalServerError && status != 0 {
				b.t.Errorf("%s: %d %s", path, status, body)
			}
			answers = append(answers, fmt.Sprint(path, " ", status, " ", body))
		}
		return answers
	}
	var before, during []string
	prepare := func(b *bench) {
		onBooks(b)
		before = lists(b)
	}
	everyCut(t, prepare, func(b *bench) { during = lists(b) }, func(b *bench, _ bool) {
		// What stands has not changed: the second try was not cut. Times go on.
		if diff := cmp.Diff(timeless(before), timeless(during)); diff != "" {
			b.t.Errorf("asked again (-want +got):\n%s", diff)
		}
	})
}

// times are those in answers.
var times = regexp.MustCompile(`"[a-z_]+":"20\d\d-\d\d-\d\dT[^"]*",?`)

func timeless(answers []string) (texts []string) {
	for _, a := range answers {
		texts = append(texts, times.ReplaceAllString(a, ""))
	}
	return texts
}

func TestSyncNowCutAtEveryCallIsOnlySaidToBeAskedForWhenItIs(t *testing.T) {
	rested := func(b *bench) {
		onBooks(b)
		b.now = b.now.Add(time.Hour)
	}
	ask := func(b *bench) int {
		status := b.call("portal", "/sync", object{"connection": b.connections()[0].ID}, nil)
		return map[bool]int{true: http.StatusOK, false: status}[status == http.StatusAccepted]
	}
	everyCutOf(t, rested, ask, func(b *bench, answered int) {
		if answered == http.StatusOK && (len(b.queue) == 0 || !b.queue[0].m.Deep) {
			b.t.Errorf("answered %d, and published %v", answered, b.queue)
		}
	})
}

// everyCutOf is everyCut for a function whose answer is a promise: check sees the answer of the try that was cut, and that
// of the next.
func everyCutOf(t *testing.T, prepare func(*bench), act func(*bench) int, check func(b *bench, answered int)) {
	t.Helper()
	for _, m := range modes {
		for n := range mostCuts {
			b := newBench(t)
			prepare(b)
			b.cut.arm(n, m)
			answered := act(b)
			what := b.cut.fired
			check(b, answered)
			if what != "" {
				if strings.HasPrefix(what, "publish") && answered != 0 && answered != http.StatusServiceUnavailable {
					t.Errorf("answered %d although it could not publish", answered)
				}
				b.cut.mend()
				if answered = act(b); answered != http.StatusOK {
					t.Errorf("tried again: %d", answered)
				}
				check(b, answered)
			}
			if t.Failed() {
				t.Fatalf("with call %d (%s) cut %v; the log:\n%s", n, what, m, b.log.String())
			}
			if what == "" {
				if n < 3 {
					t.Errorf("only %d calls were cut", n)
				}
				break
			}
		}
	}
}
