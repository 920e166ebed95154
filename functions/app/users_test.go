package app_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/functions/connect"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/google"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/view"
)

// thing is what an action is about, and what people are to it.
type thing struct {
	name, id, book string
	owner          *person
	editors        []*person // of its Book, or of a Book to which it was offered
	viewers        []*person
}

func TestTwoUsersAllActionsAllIDs(t *testing.T) {
	w := newWorld(t)
	shared, own := w.newBook("Shared"), w.makeBook(bkper.Book{Name: "The client's own", Properties: map[string]string{"exc_code": "USD"}}, bkper.Viewer)
	theirs := bkper.SeedBookID("AUD") // the bookkeeper's, in which the client is nobody
	stranger := &person{w: w, email: strangerEmail, http: http.DefaultClient, token: w.accessToken(strangerEmail, googleClient, googleSecret, w.url+"/auth/callback")}
	one, two, three := w.bank("Bank One", checking()), w.bank("Bank Two", checking()), w.bank("Bank Three", checking())
	offered, private, foreign := w.client.connect(one, shared), w.client.connect(two, own), w.bookkeeper.connect(three, theirs)
	key := map[string]string{offered.ID: offered.Accounts[0].Key, private.ID: private.Accounts[0].Key, foreign.ID: foreign.Accounts[0].Key}
	save := func(p *person, c view.Connection, book string) string {
		return p.link(linking{Book: book, Connection: c.ID, Key: c.Accounts[0].Key, Create: "Bank of it", Insist: true}).ID
	}
	connections := []thing{
		{"offered", offered.ID, shared, w.client, []*person{w.client, w.bookkeeper}, nil},
		{"private", private.ID, own, w.client, []*person{w.client}, []*person{w.bookkeeper}},
		{"the bookkeeper's", foreign.ID, theirs, w.bookkeeper, []*person{w.bookkeeper}, nil},
		{"none", "abcdefghijklmnopqrstuvwxyz", shared, nil, []*person{w.client, w.bookkeeper}, nil},
	}
	integrations := []thing{
		{"in the shared Book", save(w.client, offered, shared), shared, w.client, []*person{w.client, w.bookkeeper}, nil},
		{"in the client's own Book", save(w.client, private, own), own, w.client, []*person{w.client}, []*person{w.bookkeeper}},
		{"in the bookkeeper's Book", save(w.bookkeeper, foreign, theirs), theirs, w.bookkeeper, []*person{w.bookkeeper}, nil},
		{"none", "abcdefghijklmnopqrstuvwxyz", "", nil, nil, nil},
	}
	sessions := []thing{
		{"the client's", w.client.begin(shared).Session, "", w.client, nil, nil},
		{"the bookkeeper's", w.bookkeeper.begin(shared).Session, "", w.bookkeeper, nil, nil},
		{"none", "abcdefghijklmnopqrstuvwxyz", "", nil, nil, nil},
	}
	owners := func(p *person, x thing) int {
		return map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[p == x.owner]
	}
	byBook := func(p *person, x thing) int {
		switch {
		case x.owner == nil, !slices.Contains(x.editors, p) && !slices.Contains(x.viewers, p):
			return http.StatusNotFound
		case slices.Contains(x.viewers, p):
			return http.StatusForbidden
		}
		return http.StatusOK
	}
	type action struct {
		path   string
		things []thing
		body   func(thing) object
		want   func(*person, thing) int // 200 is any success, or a refusal that has nothing to do with who asks
	}
	actions := []action{ // those that end things last
		{"/connect/complete", sessions, func(x thing) object { return object{"session": x.id} }, owners},
		{"/portal/sync", connections, func(x thing) object { return object{"connection": x.id} }, owners},
		{
			"/portal/sync", connections, func(x thing) object { return object{"connection": x.id, "book": x.book} },
			func(p *person, x thing) int { return byBook(p, x) },
		},
		{"/link", connections, func(x thing) object {
			return object{"connection": x.id, "book": x.book, "key": "k" + key[x.id], "create": "Bank of it", "from": day(9), "insist": true}
		}, func(p *person, x thing) int {
			if x.owner != nil && byBook(p, x) == http.StatusOK {
				return http.StatusNotFound // of the bank account, which is not there
			}
			return byBook(p, x)
		}},
		{"/connect/accounts", connections, func(x thing) object { return object{"connection": x.id} }, owners},
		{"/reconnect", connections, func(x thing) object { return object{"connection": x.id} }, owners},
		{"/connect/offer", connections, func(x thing) object { return object{"connection": x.id, "book": x.book, "offered": true} }, owners},
		{"/remove", integrations, func(x thing) object { return object{"integration": x.id} }, func(p *person, x thing) int {
			if x.owner != nil && p == x.owner {
				return http.StatusOK
			}
			return byBook(p, x)
		}},
		{"/disconnect", connections, func(x thing) object { return object{"connection": x.id} }, owners},
	}
	ask := func(a action, p *person, x thing) {
		t.Helper()
		answer, want := p.do(http.MethodPost, a.path, a.body(x)), a.want(p, x)
		switch {
		case want != http.StatusOK && answer.status != want,
			want == http.StatusOK && answer.status >= 400 && answer.status != http.StatusTooManyRequests:
			t.Errorf("POST %s on %s as %s: %d %s, want %d", a.path, x.name, p.email, answer.status, answer.body, want)
		}
	}
	people := []*person{w.client, w.bookkeeper, stranger}
	w.settle()
	before := w.snapshot()
	asked := 0
	for _, a := range actions {
		for _, p := range people {
			for _, x := range a.things {
				if a.want(p, x) != http.StatusOK {
					ask(a, p, x)
					asked++
				}
			}
		}
	}
	w.settle()
	if diff := cmp.Diff(before, w.snapshot()); diff != "" {
		t.Errorf("what was refused changed something:\n%s", diff)
	}
	for _, a := range actions {
		for _, p := range people {
			for _, x := range a.things {
				if a.want(p, x) == http.StatusOK {
					ask(a, p, x)
					asked++
				}
			}
		}
	}
	if want := 3 * (len(sessions) + len(integrations) + 7*len(connections)); asked != want {
		t.Errorf("%d asked, want %d", asked, want)
	}
}

func TestWhoseGrantEndsIsAskedToSignInAndNothingIsLost(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Grants")
	b := w.bank("Grant Bank", checking(row(5, "1", "A")))
	_, i := w.client.linked(b, book)
	w.must(w.google.RevokeUser(google.Sub(clientEmail)))
	b.add(row(1, "2", "MEANWHILE"))
	w.settle()
	w.hasRecords(book, day(5)+" 1 ins_grant_bank>? A")
	if now := w.bookkeeper.integration(book, i.ID); now.Status != "consent_required" {
		t.Errorf("the integration is %+v", now)
	}
	w.signIn(clientEmail)
	w.settle()
	w.hasRecords(book, day(5)+" 1 ins_grant_bank>? A", day(1)+" 2 ins_grant_bank>? MEANWHILE")
	if now := w.bookkeeper.integration(book, i.ID); now.Status != view.Live {
		t.Errorf("after signing in it is %+v", now)
	}
}

func TestAnotherEditorMayTakeTheRecordingOver(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Taken over")
	b := w.bank("Leaving Bank", checking(row(5, "1", "A")))
	c := w.client.connect(b, book)
	r := linkTo(book, c, 0)
	i := w.bookkeeper.link(r)
	w.must(w.hand(book).Permit(bookkeeperEmail, bkper.Viewer))
	b.add(row(1, "2", "MEANWHILE"))
	w.settle()
	if now := w.client.integration(book, i.ID); now.Status != "no_access" || len(w.records(book)) != 1 {
		t.Errorf("the integration is %+v", now)
	}
	if again := w.client.link(r); again.ID != i.ID || again.PostsAs != clientEmail {
		t.Errorf("taken over: %+v", again)
	}
	w.hasRecords(book, day(5)+" 1 Everyday>? A", day(1)+" 2 Everyday>? MEANWHILE")
}

func TestLinkingTwiceAtOnceLinksOnce(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Linked at once")
	b := w.bank("Linking Bank", checking(historyRows()...))
	c := w.client.connect(b, book)
	answers := make([]answer, 8)
	var all sync.WaitGroup
	for n := range answers {
		all.Go(func() {
			p := map[bool]*person{true: w.client, false: w.bookkeeper}[n%2 == 0]
			answers[n] = p.do(http.MethodPost, "/link", linkTo(book, c, 0))
		})
	}
	all.Wait()
	w.settle()
	ids := map[string]bool{}
	for _, a := range answers {
		if a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
			continue
		}
		ids[a.member("id")] = true
	}
	if len(ids) != 1 || len(w.client.integrations(book).Integrations) != 1 {
		t.Errorf("integrations %v", slices.Collect(maps.Keys(ids)))
	}
	w.hasRecords(book, expected("Everyday", historyRows()...)...)
	accounts, err := w.books.Accounts(bkper.Caller{Email: clientEmail}, book)
	w.must(err)
	if len(accounts.Items) != 1 {
		t.Errorf("%d Accounts", len(accounts.Items))
	}
}

func TestReconnectingInTwoWindowsMakesOneItem(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Two windows")
	b := w.bank("Window Bank", checking(historyRows()...))
	c, _ := w.client.linked(b, book)
	before := w.records(book)
	w.client.ok(http.MethodPost, "/disconnect", object{"connection": c.ID}, nil)
	var windows [2]session.Started
	for n := range windows {
		w.client.ok(http.MethodPost, "/reconnect", object{"connection": c.ID}, &windows[n])
	}
	var all sync.WaitGroup
	for _, s := range windows {
		all.Go(func() {
			w.client.visit(s, b)
			w.client.do(http.MethodPost, "/connect/complete", connect.Complete{Session: s.Session})
		})
	}
	all.Wait()
	w.settle()
	var states []string
	for _, s := range windows {
		var done connect.Completed
		w.client.ok(http.MethodPost, "/connect/complete", connect.Complete{Session: s.Session}, &done)
		states = append(states, done.State)
	}
	slices.Sort(states)
	if !slices.Equal(states, []string{string(bank.Duplicate), string(bank.Kept)}) || len(w.items(b.id, true)) != 1 {
		t.Errorf("the sessions are %v, the items %v", states, w.items(b.id, true))
	}
	w.settle()
	w.hasRecords(book, before...)
	w.keys("connection-", c.ID)
}

func TestDisconnectingAndRemovingAtOnceEndsWell(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("All at once")
	b := w.bank("Hasty Bank", checking(historyRows()...))
	c, i := w.client.linked(b, book)
	before := w.records(book)
	b.add(row(0, "9", "IN THE MIDDLE"))
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { w.client.do(http.MethodPost, "/disconnect", object{"connection": c.ID}) })
		all.Go(func() { w.client.do(http.MethodPost, "/remove", object{"integration": i.ID}) })
		all.Go(func() { w.bookkeeper.do(http.MethodPost, "/portal/sync", object{"connection": c.ID, "book": book}) })
	}
	all.Wait()
	w.settle()
	if c := w.client.connection(c.ID); c.Status != view.Disconnected {
		t.Errorf("the connection is %+v", c)
	}
	w.keys("connection-")
	if n := len(w.items(b.id, true)); n != 0 {
		t.Errorf("%d items live on", n)
	}
	got := slices.DeleteFunc(w.records(book), func(r string) bool { return strings.HasSuffix(r, "IN THE MIDDLE") })
	if diff := cmp.Diff(before, got); diff != "" {
		t.Errorf("the Book changed:\n%s", diff)
	}
}
