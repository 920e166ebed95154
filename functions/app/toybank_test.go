package app_test

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/functions/connect"
	"github.com/bkper/automations-portal/functions/portal"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/bank/banktest/toybank"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/view"
)

// toy is a bank whose provider no function has heard of: all that a test does for it is to put it into the table of banks.
type toy struct {
	*toybank.Service
	w *world
}

const (
	toyKey  = "canary-of-the-toybank-key"
	toyBell = "canary-of-the-toybank-bell"
)

// Its accounts, by index.
const (
	everyday = iota
	plastic
)

func newToy(t *testing.T) *toy {
	t.Helper()
	y := &toy{Service: toybank.NewService(toyKey, toyBell,
		toybank.Account{Name: "Day to day", Number: "01", Currency: "NZD"}, toybank.Account{Name: "Plastic", Number: "02", Currency: "NZD", Card: true})}
	y.w = newWorld(t, func(w *world) bank.Provider {
		w.heard.secret("the key at the toybank", toyKey)
		w.heard.secret("the bell of the toybank", toyBell)
		w.mount("/sandbox/toybank", y.Service)
		return toybank.New(w.url+"/sandbox/toybank", toyKey, toyBell)
	})
	return y
}

// entry is a settled row of so many days ago; delta is what it does to the balance that is shown.
func entry(account, daysAgo int, delta, text string) toybank.Row {
	return toybank.Row{Account: account, Date: day(daysAgo), Delta: decimal.RequireFromString(delta), Text: text}
}

// call lets the service send what it has to tell, and waits for what comes of it.
func (y *toy) call() {
	y.w.t.Helper()
	for _, hook := range y.Webhooks() {
		r, err := http.NewRequestWithContext(y.w.t.Context(), http.MethodPost, hook.URL, strings.NewReader(string(hook.Body)))
		y.w.must(err)
		r.Header = hook.Header
		resp, err := http.DefaultClient.Do(r)
		y.w.must(err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || hook.URL != y.w.url+"/webhook/"+toybank.Name {
			y.w.t.Fatalf("a webhook to %s: %s", hook.URL, resp.Status)
		}
	}
	y.w.settle()
}

// book makes a Book in New Zealand's currency.
func (y *toy) book(name string) string {
	y.w.t.Helper()
	two := 2
	return y.w.makeBook(bkper.Book{Name: name, FractionDigits: &two, Properties: map[string]string{"exc_code": "NZD"}}, bkper.Editor)
}

// visit is one that has begun.
type visit struct{ Session, URL, Widget string }

// start asks a function for a visit to the bank, which must be one in a widget.
func (y *toy) start(p *person, path string, in object) (v visit) {
	y.w.t.Helper()
	p.ok(http.MethodPost, path, in, &v)
	if v.URL != "" || v.Widget == "" {
		y.w.t.Fatalf("%s sends the person to the page %q", path, v.URL)
	}
	return v
}

// signIn is the person in the widget; the hint is what its script tells the page.
func (y *toy) signIn(v visit) (hint string) {
	y.w.t.Helper()
	hint, err := y.SignIn(v.Widget)
	y.w.must(err)
	return hint
}

// complete asks as the page does, which may know a hint.
func (y *toy) complete(p *person, v visit, hint string) (done connect.Completed) {
	y.w.t.Helper()
	p.ok(http.MethodPost, "/connect/complete", connect.Complete{Session: v.Session, Item: hint}, &done)
	return done
}

// kept completes a visit that must end well.
func (y *toy) kept(p *person, v visit, hint string) view.Connection {
	y.w.t.Helper()
	done := y.complete(p, v, hint)
	if done.State != string(bank.Kept) || done.Connection == nil {
		y.w.t.Fatalf("the session is %+v\n%s", done, y.w.heard.logged())
	}
	y.call()
	return *done.Connection
}

// connect connects the bank, as a page that stays open does.
func (y *toy) connect(p *person, book string) view.Connection {
	y.w.t.Helper()
	v := y.start(p, "/connect", object{"book": book, "country": "NZ"})
	return y.kept(p, v, y.signIn(v))
}

// again goes to the bank once more with a connection.
func (y *toy) again(p *person, path, connection string) view.Connection {
	y.w.t.Helper()
	v := y.start(p, path, object{"connection": connection})
	return y.kept(p, v, y.signIn(v))
}

func TestABankThatNoFunctionHasHeardOfIsServedByAll(t *testing.T) {
	y := newToy(t)
	w, book := y.w, y.book("Toys")
	y.Add(entry(everyday, 9, "-4.5", "COFFEE"), entry(everyday, 8, "1000", "WAGES"), entry(plastic, 7, "30", "SHOES"), entry(plastic, 6, "-30", "CARD PAID"))
	c := y.connect(w.client, book)
	i := w.client.link(linkTo(book, c, everyday))
	w.client.link(linkTo(book, c, plastic))
	want := []string{
		day(9) + " 4.5 Day to day>? COFFEE", day(8) + " 1000 ?>Day to day WAGES", day(7) + " 30 Plastic>? SHOES", day(6) + " 30 ?>Plastic CARD PAID",
	}
	w.hasRecords(book, want...)

	y.Add(entry(everyday, 0, "-2", "HEARD"))
	y.call()
	y.Add(entry(plastic, 0, "3", "UNHEARD"))
	y.Webhooks() // all are lost
	y.due(c.ID)
	w.schedule()
	w.settle()
	want = append(want, day(0)+" 2 Day to day>? HEARD", day(0)+" 3 Plastic>? UNHEARD")
	w.hasRecords(book, want...)

	w.client.ok(http.MethodPost, "/remove", object{"integration": i.ID}, nil)
	y.Add(entry(everyday, 0, "-7", "REMOVED"), entry(plastic, 0, "8", "STILL LINKED"))
	y.call()
	want = append(want, day(0)+" 8 Plastic>? STILL LINKED")
	w.hasRecords(book, want...)

	w.client.ok(http.MethodPost, "/disconnect", object{"connection": c.ID}, nil)
	y.Add(entry(plastic, 0, "9", "MEANWHILE"))
	y.call()
	if w.keys("connection-"); len(y.Items()) != 0 || w.client.connection(c.ID).Status != view.Disconnected {
		t.Errorf("disconnected, the items are %v", y.Items())
	}
	w.hasRecords(book, want...)

	restored := y.again(w.client, "/reconnect", c.ID)
	want = append(want, day(0)+" 9 Plastic>? MEANWHILE")
	w.hasRecords(book, want...)
	if w.client.link(linkTo(book, restored, everyday)); restored.ID != c.ID || restored.Provider != toybank.Name || restored.Country != "NZ" {
		t.Errorf("restored: %+v", restored)
	}
	w.hasRecords(book, append(want, day(0)+" 7 Day to day>? REMOVED")...)
}

// due lets the time come at which a connection is looked at unasked.
func (y *toy) due(connection string) {
	y.w.t.Helper()
	y.w.must(y.w.store.Update(y.w.t.Context(), func(tx store.Tx) error {
		e, err := posting.Load(tx, connection)
		if err != nil {
			return err
		}
		e.Due = time.Now().Add(-time.Minute)
		return posting.Engines.Put(tx, e)
	}))
}

func TestAWidgetsVisitEndsWellWhoeverTellsOfIt(t *testing.T) {
	y := newToy(t)
	w, book := y.w, y.book("Visits")
	begin := func(p *person) visit {
		t.Helper()
		return y.start(p, "/connect", object{"book": book, "country": "NZ"})
	}
	left := begin(w.client)
	w.must(y.Leave(left.Widget))
	if done := y.complete(w.client, left, ""); done.State != string(bank.Cancelled) {
		t.Errorf("closed without signing in: %+v", done)
	}
	closed := begin(w.client) // the page is closed before it hears of the item; the bank's webhook names it
	y.signIn(closed)
	if done := y.complete(w.client, closed, ""); done.State != string(bank.Open) {
		t.Errorf("before anybody names the item: %+v", done)
	}
	y.call()
	c := y.kept(w.client, closed, "")
	if c.Status != view.Connected || len(c.Accounts) != 2 {
		t.Errorf("connected: %+v", c)
	}
	again := begin(w.client)
	if done := y.complete(w.client, again, y.signIn(again)); done.State != string(bank.Duplicate) || done.Connection.ID != c.ID {
		t.Errorf("connected twice: %+v", done)
	}
	theirs, ours := begin(w.client), begin(w.bookkeeper)
	if done := y.complete(w.bookkeeper, ours, y.signIn(theirs)); done.State != string(bank.Open) || done.Connection != nil {
		t.Errorf("one user's item is given to another who knows its name: %+v", done)
	}
	y.call()
	if other := y.kept(w.bookkeeper, ours, y.signIn(ours)); other.ID == c.ID {
		t.Error("two people share a connection")
	}
	w.settle()
	if items := y.Items(); len(items) != 2 { // what was made in vain, at the second and the third sign-in, is ended
		t.Errorf("items of two connections: %v", items)
	}
	w.keys("session-")
}

func TestRowsThatAreRenamedStayOneRecordWithWhatAPersonDidToIt(t *testing.T) {
	y := newToy(t)
	w, book := y.w, y.book("Renamed")
	c := y.connect(w.client, book)
	r := linkTo(book, c, everyday)
	r.Pending = new(true)
	w.client.link(r)
	held := entry(everyday, 1, "-20", "DINNER")
	held.Pending = true
	dinner := y.Add(held, entry(everyday, 1, "-6", "MISTAKE"))
	y.call()
	made, err := w.books.CreateAccounts(bkper.Caller{Email: clientEmail}, book, []bkper.Account{{Name: "Food", Type: bkper.Outgoing}})
	w.must(err)
	before := w.find(book, "DINNER").ID
	_, err = w.hand(book).Edit(before, bkper.Edit{Debit: &made.Items[0].ID})
	w.must(err)
	y.Change(dinner, true, func(r *toybank.Row) { r.Pending, r.Delta = false, decimal.New(-235, -1) })
	y.call()
	y.Change(dinner, true, func(*toybank.Row) {})
	y.Change(dinner, true, func(r *toybank.Row) { r.Date = day(0) })
	y.call()
	w.hasRecords(book, day(0)+" 23.5 Day to day>Food DINNER", day(1)+" 6 Day to day>? MISTAKE")
	if after := w.find(book, "DINNER").ID; after != before {
		t.Errorf("the record %s became %s", before, after)
	}
	y.Take(dinner + 1) // told to those only who look deep, as the webhook asks for
	y.call()
	w.hasRecords(book, day(0)+" 23.5 Day to day>Food DINNER", day(1)+" 6 Day to day>? MISTAKE trashed")
}

func TestABankThatNamesAllAnewDoublesAndLosesNothing(t *testing.T) {
	y := newToy(t)
	w, book := y.w, y.book("Named anew")
	y.Add(entry(everyday, 90, "-3.2", "COFFEE"), entry(everyday, 90, "-3.2", "COFFEE"), entry(everyday, 30, "900", "WAGES"))
	gum := y.Add(entry(everyday, 2, "-1", "GUM"))
	c := y.connect(w.client, book)
	i := w.client.link(linkTo(book, c, everyday))
	before := w.records(book)
	y.Renumber()
	y.Add(entry(everyday, 0, "-4", "AFTERWARDS"))
	y.call()
	want := append(slices.Clone(before), day(0)+" 4 Day to day>? AFTERWARDS")
	w.hasRecords(book, want...)
	now := w.client.connection(c.ID)
	if diff := cmp.Diff(c.Accounts, now.Accounts); diff != "" || w.client.integration(book, i.ID).Status != view.Live {
		t.Errorf("the accounts changed:\n%s", diff)
	}
	y.Change(gum, true, func(r *toybank.Row) { r.Delta = decimal.New(-2, 0) })
	y.call()
	want[slices.Index(want, day(2)+" 1 Day to day>? GUM")] = day(2) + " 2 Day to day>? GUM"
	w.hasRecords(book, want...)
}

func TestAWidgetRepairsAndSharesMoreAccounts(t *testing.T) {
	y := newToy(t)
	w, book := y.w, y.book("Repaired")
	y.Add(entry(everyday, 5, "-1", "A"))
	c := y.connect(w.client, book)
	w.client.link(linkTo(book, c, everyday))
	item := y.Items()[0]
	y.Ail(item, "asks")
	y.call()
	if c := w.client.connection(c.ID); c.Status != view.NeedsYou {
		t.Fatalf("the connection is %+v", c)
	}
	y.Add(entry(everyday, 1, "-2", "MEANWHILE"))
	y.call()
	repaired := y.again(w.client, "/reconnect", c.ID)
	if repaired.ID != c.ID || repaired.Status != view.Connected || !slices.Equal(y.Items(), []string{item}) {
		t.Errorf("repaired: %+v, items %v", repaired, y.Items())
	}
	w.hasRecords(book, day(5)+" 1 Day to day>? A", day(1)+" 2 Day to day>? MEANWHILE")

	y.OpenAccount(toybank.Account{Name: "Rainy day", Number: "03", Currency: "NZD"})
	y.Add(entry(plastic+1, 3, "8.25", "FIRST INTEREST"))
	y.call()
	if now := w.client.connection(c.ID); len(now.Accounts) != 2 {
		t.Fatalf("an account that was not shared is shown: %+v", now.Accounts)
	}
	shared := y.again(w.client, "/connect/accounts", c.ID)
	if len(shared.Accounts) != 3 || shared.Accounts[0].Key != c.Accounts[0].Key {
		t.Fatalf("shared: %+v", shared)
	}
	w.client.link(linkTo(book, shared, plastic+1))
	w.hasRecords(book, day(5)+" 1 Day to day>? A", day(1)+" 2 Day to day>? MEANWHILE", day(3)+" 8.25 ?>Rainy day FIRST INTEREST")
}

func TestAThirdProviderStandsInTheListsBesideTheOthers(t *testing.T) {
	y := newToy(t)
	w := y.w
	var served portal.Countries
	w.client.ok(http.MethodGet, "/portal/countries", nil, &served)
	if !slices.Contains(served.Countries, "NZ") || !slices.Contains(served.Countries, "US") {
		t.Errorf("the countries are %v", served.Countries)
	}
	w.bank("Bank of Both", checking())
	providers := func(query string) (names []string) {
		t.Helper()
		var found portal.Banks
		w.client.ok(http.MethodGet, "/portal/banks?"+query, nil, &found)
		for _, b := range found.Banks {
			if !slices.Contains(names, b.Provider) {
				names = append(names, b.Provider)
			}
		}
		return names
	}
	for query, want := range map[string][]string{
		"country=NZ": {toybank.Name}, "country=NZ&q=aotearoa": {toybank.Name}, "country=GB": {"plaid", toybank.Name},
		"country=GB&q=bank+of": {"plaid", toybank.Name}, "country=US": {"plaid"},
	} {
		if got := providers(query); !slices.Equal(got, want) {
			t.Errorf("%s: banks of %v, want %v", query, got, want)
		}
	}
	w.plaid.AddFault(plaid.Fault{Path: "/institutions/search", Kind: plaid.FaultError, Times: 9})
	if got := providers("country=GB&q=ban"); !slices.Equal(got, []string{toybank.Name}) {
		t.Errorf("while one provider is down, banks of %v", got)
	}
	if a := w.client.do(http.MethodGet, "/portal/banks?country=GB&q=nowhere", nil); a.status != http.StatusServiceUnavailable {
		t.Errorf("nothing found while one provider is down: %d %s", a.status, a.body)
	}
	book := y.book("Chosen")
	v := y.start(w.client, "/connect", object{"book": book, "country": "GB", "provider": toybank.Name})
	y.kept(w.client, v, y.signIn(v))
	w.client.refused("/connect", object{"book": book, "country": "US", "provider": toybank.Name}, http.StatusUnprocessableEntity, "country_not_served")
}

func TestThePageGetsWhatAThirdProvidersSignInNeeds(t *testing.T) {
	w := newToy(t).w
	var c portal.Config
	w.client.ok(http.MethodGet, "/portal/config", nil, &c)
	i := slices.IndexFunc(c.Providers, func(p portal.Provider) bool { return p.Name == toybank.Name })
	if i < 0 || c.Providers[i].Days != 900 || c.Providers[i].Widget == "" {
		t.Fatalf("the page knows the providers %+v", c.Providers)
	}
	widget := w.client.do(http.MethodGet, "/portal/"+c.Providers[i].Widget, nil)
	if widget.status != http.StatusOK || !strings.Contains(widget.body, "export function open") || !strings.HasPrefix(widget.header.Get("Content-Type"), "text/javascript") {
		t.Errorf("the widget: %d %v %s", widget.status, widget.header, widget.body)
	}
	page := w.client.do(http.MethodGet, "/portal/", nil)
	if policy := page.header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-src https://widget.toybank.example") {
		t.Errorf("the page's policy is %s", policy)
	}
}

// other is a provider under another name.
type other struct{ bank.Provider }

func (other) Name() string { return "other" }

func TestAProviderThatIsNotServedForAWhileKeepsItsConnections(t *testing.T) {
	b := newBench(t)
	onBooks(b)
	c, served := b.connections()[0], b.provider
	b.begin("reconnect", "/", object{"connection": c.ID})
	asked := b.started.Session
	b.forget()
	b.add(meanwhile()...)
	b.provider = other{served}
	b.build(slog.Default())
	b.minutes(2)
	e, err := posting.Engines.Get(t.Context(), b.store, c.ID)
	b.must(err)
	if e.Failure != "provider_not_served" {
		t.Errorf("the connection's failure is %q", e.Failure)
	}
	for path, in := range map[string]object{"reconnect/": {"connection": c.ID}, "connect/accounts": {"connection": c.ID}, "connect/complete": {"session": asked}} {
		function, below, _ := strings.Cut(path, "/")
		if status := b.call(function, "/"+below, in, nil); status != http.StatusInternalServerError {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status := b.call("disconnect", "/", object{"connection": c.ID}, nil); status != http.StatusAccepted {
		t.Errorf("disconnect: %d", status)
	}
	if strings.Contains(b.log.String(), "panic") || len(b.items()) != 1 || len(b.secrets("connection-")) != 1 {
		t.Errorf("items %v, tokens %v; the log:\n%s", b.items(), b.secrets("connection-"), b.log.String())
	}
	b.provider = served
	b.build(slog.Default())
	b.minutes(4)
	if c := b.connections()[0]; c.State != bank.Disconnected || len(b.items()) != 0 || len(b.secrets("connection-")) != 0 {
		t.Errorf("served again: %+v, items %v", c, b.items())
	}
}

func TestEachProvidersWebhooksAreTakenWithItsOwnProofOnly(t *testing.T) {
	y := newToy(t)
	w, book := y.w, y.book("Rung")
	y.Add(entry(everyday, 5, "-1", "A"))
	c := y.connect(w.client, book)
	w.client.link(linkTo(book, c, everyday))
	y.Add(entry(everyday, 1, "-2", "B"))
	good := y.Webhooks()[0]
	before := w.snapshot()
	for name, row := range map[string]struct {
		path   string
		header http.Header
		status int
	}{
		"no proof":              {toybank.Name, http.Header{}, http.StatusUnauthorized},
		"another secret":        {toybank.Name, http.Header{"Toybank-Bell": {toyBell + "x"}}, http.StatusUnauthorized},
		"in another's header":   {toybank.Name, http.Header{"Plaid-Verification": {toyBell}}, http.StatusUnauthorized},
		"at another's address":  {"plaid", good.Header, http.StatusUnauthorized},
		"at nobody's address":   {"toybank", good.Header, http.StatusNotFound},
		"good, of another kind": {toybank.Name, good.Header, http.StatusBadRequest},
	} {
		body := string(good.Body)
		if row.status == http.StatusBadRequest {
			body = `{"webhook_type":"TRANSACTIONS"}`
		}
		if a := w.post("/webhook/"+row.path, body, row.header); a.status != row.status {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	w.settle()
	if diff := cmp.Diff(before, w.snapshot()); diff != "" {
		t.Errorf("something changed:\n%s", diff)
	}
	if a := w.post("/webhook/"+toybank.Name, string(good.Body), good.Header); a.status != http.StatusOK {
		t.Errorf("a good one: %d %s", a.status, a.body)
	}
	w.settle()
	w.hasRecords(book, day(5)+" 1 Day to day>? A", day(1)+" 2 Day to day>? B")
}
