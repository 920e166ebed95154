package portal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/civil"
	diff "github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/functions/portal"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
	"github.com/bkper/automations-portal/shared/web/webtest"
)

type problem struct{ Code, Detail, Field string }

// refused sends a request that is well formed and refused.
func (w *world) refused(path, body string, status int) (p problem) {
	w.t.Helper()
	w.post(path, body, status, &p)
	return p
}

func (w *world) update(change func(store.Tx) error) {
	w.t.Helper()
	if err := w.store.Update(w.t.Context(), change); err != nil {
		w.t.Fatal(err)
	}
}

var march = civil.Date{Year: 2026, Month: time.March, Day: 1}

type shownIntegration struct {
	ID, Status, Message string
	Pending, Paused     bool
}

// linked links the first account of a connection that it makes.
func (w *world) linked() (connection string, i shownIntegration) {
	w.t.Helper()
	c := w.connected()
	w.post("/link", fmt.Sprintf(`{"book":"b1","connection":%q,"key":%q,"account":"c1","from":"2026-01-01"}`, c.ID, c.Accounts[0].Key), 200, &i)
	return c.ID, i
}

func (w *world) integrations() []shownIntegration {
	w.t.Helper()
	var list struct{ Integrations []shownIntegration }
	w.get("/portal/integrations?book=b1", &list)
	return list.Integrations
}

func TestAnIntegrationIsNotLiveWhileItsConnectionIsNot(t *testing.T) {
	w := newWorld(t)
	connection, _ := w.linked()
	edit := func(change func(*bank.Connection, *posting.Engine)) {
		w.update(func(tx store.Tx) error {
			c, err := store.Connections.Load(tx, connection)
			if err != nil {
				return err
			}
			e, err := posting.Load(tx, connection)
			if err != nil {
				return err
			}
			change(c, e)
			if err := store.Connections.Put(tx, c); err != nil {
				return err
			}
			return posting.Engines.Put(tx, e)
		})
	}
	for _, row := range []struct {
		change func(*bank.Connection, *posting.Engine)
		want   string
	}{
		{func(*bank.Connection, *posting.Engine) {}, "importing"},
		{func(_ *bank.Connection, e *posting.Engine) { e.Failures = 3 }, "bank_unavailable"},
		{func(c *bank.Connection, _ *posting.Engine) { c.Accounts[0].Gone = true }, "bank_account_gone"},
		{func(c *bank.Connection, _ *posting.Engine) { c.State = bank.NeedsUser }, "needs_owner"},
		{func(c *bank.Connection, _ *posting.Engine) { c.State = bank.Removing }, "stopping"},
		{func(c *bank.Connection, _ *posting.Engine) { c.State = bank.Disconnected }, "disconnected"},
	} {
		edit(row.change)
		if got := w.integrations(); len(got) != 1 || got[0].Status != row.want || got[0].Message == "" {
			t.Errorf("%+v, want %s", got, row.want)
		}
	}
}

// Editors of a Book to which the connection is offered see that it needs its owner, and nothing of why.
func TestOnlyItsOwnerIsToldWhyAConnectionNeedsThem(t *testing.T) {
	w := newWorld(t)
	id, _ := w.linked()
	type shown struct{ ID, Status, Message, Need string }
	for owner, want := range map[string]string{"ana": "locked", "bob": ""} {
		w.update(func(tx store.Tx) error {
			c, err := store.Connections.Load(tx, id)
			if err != nil {
				return err
			}
			c.Owner, c.State, c.Reason = owner, bank.NeedsUser, "WORD_OF_THE_BANK"
			return store.Connections.Put(tx, c)
		})
		var mine struct{ Connections []shown }
		var offered struct{ Offered []shown }
		w.get("/portal/connections", &mine)
		w.get("/portal/integrations?book=b1", &offered)
		for _, c := range append(mine.Connections, offered.Offered...) {
			if c.Status != "needs_you" || c.Need != want || strings.Contains(c.Message, "locked") != (want != "") || strings.Contains(c.Message, "WORD") {
				t.Errorf("owned by %s: %+v", owner, c)
			}
		}
		if len(offered.Offered) == 0 {
			t.Errorf("owned by %s, it is not offered", owner)
		}
	}
}

// counted counts the calls of Get by kind.
type counted struct {
	store.Reader
	gets map[string]int
}

func (c *counted) Get(ctx context.Context, kind string, ids ...string) ([]store.Document, error) {
	c.gets[kind]++
	return c.Reader.Get(ctx, kind, ids...)
}

func TestTheIntegrationsOfManyConnectionsAreReadAtOnce(t *testing.T) {
	w := newWorld(t)
	w.update(func(tx store.Tx) error {
		for n := range 20 {
			id := fmt.Sprint("c", n)
			if err := store.Connections.Put(tx, &bank.Connection{ID: id, Owner: "bob", State: bank.Active, Accounts: []bank.LinkedAccount{{Key: id}}}); err != nil {
				return err
			}
			i := &bank.Integration{ID: id, Book: "b1", Connection: id, Key: id, Currency: "USD", From: march, State: bank.Live}
			if err := store.Integrations.Put(tx, i); err != nil {
				return err
			}
		}
		return nil
	})
	reads := &counted{w.store, map[string]int{}}
	w.handler = http.StripPrefix("/portal", (&portal.Portal{Store: reads, Books: w.books, Events: silent{}, Edge: discard(), Now: time.Now}).Handler())
	if got := w.integrations(); len(got) != 20 || got[0].Status != "live" {
		t.Errorf("%d integrations, %+v", len(got), got)
	}
	if d := diff.Diff(map[string]int{"connections": 1, "engines": 1}, reads.gets); d != "" {
		t.Error(d)
	}
}

func TestSavingAgainKeepsWhatIsLeftOut(t *testing.T) {
	w := newWorld(t)
	c := w.connected()
	save := func(rest string) (i shownIntegration) {
		w.post("/link", fmt.Sprintf(`{"book":"b1","connection":%q,"key":%q,"account":"c1","from":"2026-01-01"%s}`, c.ID, c.Accounts[0].Key, rest), 200, &i)
		return i
	}
	for _, row := range []struct {
		rest            string
		pending, paused bool
	}{
		{``, false, false},
		{`,"pending":true`, true, false},
		{`,"paused":true`, true, true},
		{``, true, true},
		{`,"paused":false`, true, false},
		{`,"pending":false`, false, false},
		{`,"pending":true,"paused":true`, true, true},
	} {
		if i := save(row.rest); i.Pending != row.pending || i.Paused != row.paused {
			t.Errorf("%q: %+v", row.rest, i)
		}
	}
	w.post("/remove", fmt.Sprintf(`{"integration":%q}`, save("").ID), 200, nil)
	if i := save(""); i.Pending || i.Paused {
		t.Errorf("linked anew: %+v", i)
	}
}

func TestABankIsShownByItsIDAndMayBeKeptForADay(t *testing.T) {
	w := newWorld(t)
	const good = "/portal/bank?provider=scripted&country=US&id=i1"
	var b portal.Bank
	out := w.call(asked(t.Context(), http.MethodGet, good, ""), 200, &b)
	if kept := out.Header().Get("Cache-Control"); b.Name != "First Bank" || b.Logo == "" || kept != "private, max-age=86400" {
		t.Errorf("%+v, kept %q", b, kept)
	}
	for _, path := range []string{"/portal/bank?provider=scripted&country=US&id=i9", "/portal/bank?provider=nobody&country=US&id=i1"} {
		out := w.call(asked(webtest.Bad(t.Context()), http.MethodGet, path, ""), 404, nil)
		if kept := out.Header().Get("Cache-Control"); kept != "no-store" {
			t.Errorf("%s: a refusal is kept, %q", path, kept)
		}
	}
	w.bank.down = &bank.Error{Kind: bank.Retry, Code: "X"}
	w.call(asked(webtest.Bad(t.Context()), http.MethodGet, good, ""), 503, nil)
}

func TestNamesOfNewAccountsAreThoseThatAPersonSees(t *testing.T) {
	w := newWorld(t)
	c := w.connected()
	body := func(name string) string {
		text, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"book":"b1","connection":%q,"key":%q,"create":%s,"from":"2026-01-01"}`, c.ID, c.Accounts[0].Key, text)
	}
	for _, name := range []string{
		"a\x00b", "a\nb", "a\tb", "\x7f", "a\u0085b", "a\u202eb", "a\u2066b", "a\u200fb", "a\u061cb", "a\u2028b", strings.Repeat("é", 101),
	} {
		w.refuse("/link", body(name), http.StatusBadRequest, "invalid_request")
	}
	if len(w.books.created) > 0 {
		t.Errorf("created %q", w.books.created)
	}
	for _, name := range []string{strings.Repeat("é", 100), "Conta corrente – 東京 👩‍🚀", "שלום"} {
		w.post("/link", body(name), http.StatusOK, nil)
	}
	if len(w.books.created) != 3 {
		t.Errorf("created %q", w.books.created)
	}
	w.books.create = &bank.Error{Kind: bank.Permanent, Code: "http_400", Err: ledger.ErrRefused}
	if p := w.refused("/link", body("Duplicate"), http.StatusUnprocessableEntity); p.Code != "account_refused" || p.Field != "/create" {
		t.Errorf("%+v", p)
	}
}

func TestASearchIsCountedInCharacters(t *testing.T) {
	w := newWorld(t)
	w.get("/portal/banks?country=US&q="+url.QueryEscape(strings.Repeat("ã", 100)), nil)
	var p problem
	w.call(asked(webtest.Bad(t.Context()), http.MethodGet, "/portal/banks?country=US&q="+strings.Repeat("a", 101), ""), 400, &p)
	if p.Field != "/q" || !strings.Contains(p.Detail, "at most 100") {
		t.Errorf("%+v", p)
	}
}

func TestOfferAndCompleteTellHowTheBankIsRead(t *testing.T) {
	w := newWorld(t)
	var begun struct{ Session string }
	w.post("/connect", `{"book":"b1","country":"US"}`, http.StatusOK, &begun)
	var done struct {
		Connection struct {
			ID, Status string
			LastSync   string `json:"last_sync"`
		}
	}
	w.post("/connect/complete", `{"session":"`+begun.Session+`"}`, http.StatusOK, &done)
	w.update(func(tx store.Tx) error {
		e, err := posting.Load(tx, done.Connection.ID)
		if err != nil {
			return err
		}
		e.Synced, e.Failures = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), 3
		return posting.Engines.Put(tx, e)
	})
	w.post("/connect/complete", `{"session":"`+begun.Session+`"}`, http.StatusOK, &done)
	if done.Connection.Status != "bank_unavailable" || done.Connection.LastSync != "2026-01-02T03:04:05Z" {
		t.Errorf("complete: %+v", done)
	}
	var offered struct {
		State      string
		Connection struct {
			Status   string
			LastSync string `json:"last_sync"`
		}
	}
	w.post("/connect/offer", fmt.Sprintf(`{"connection":%q,"book":"b2","offered":true}`, done.Connection.ID), 200, &offered)
	if c := offered.Connection; offered.State != "offered" || c.Status != "bank_unavailable" || c.LastSync != "2026-01-02T03:04:05Z" {
		t.Errorf("offer: %+v", offered)
	}
}

func TestToAskForMoreAccountsIsRefusedWithTheWayOn(t *testing.T) {
	w := newWorld(t)
	c := w.connected()
	body := fmt.Sprintf(`{"connection":%q}`, c.ID)
	w.bank.begin = &bank.Error{Kind: bank.Permanent, Code: "ACCOUNT_SELECTION_UNAVAILABLE", Err: bank.ErrUnsupported}
	if p := w.refused("/connect/accounts", body, 422); p.Code != "account_selection_unavailable" || !strings.Contains(p.Detail, "connect again") {
		t.Errorf("%+v", p)
	}
	if err := w.tokens.Destroy(t.Context(), vault.ConnectionToken(c.ID)); err != nil {
		t.Fatal(err)
	}
	if p := w.refused("/connect/accounts", body, 409); p.Code != "connection_gone" {
		t.Errorf("%+v", p)
	}
}

func TestReconnectNeverSaysThatOneMustReconnectFirst(t *testing.T) {
	w := newWorld(t)
	body := fmt.Sprintf(`{"connection":%q}`, w.connected().ID)
	w.bank.item = &bank.Error{Kind: bank.UserMustAct, Code: "ITEM_LOGIN_REQUIRED"}
	w.post("/reconnect", body, 200, nil) // that is what it is for
	w.bank.begin = &bank.Error{Kind: bank.UserMustAct, Code: "ITEM_LOCKED"}
	if p := w.refused("/reconnect", body, 409); p.Code != "sign_in_again" || strings.Contains(p.Detail, "first") || !strings.Contains(p.Detail, "Disconnect") {
		t.Errorf("%+v", p)
	}
}

func TestMachinesAreNotToldToSignIn(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/poster", "/connect/push", "/disconnect/push", "/sync", "/webhook/scripted"} {
		r := asked(webtest.Bad(t.Context()), http.MethodPost, path, `{}`)
		r.Header.Del("Authorization")
		var p problem
		w.call(r, http.StatusUnauthorized, &p)
		if strings.Contains(p.Detail, "Sign in") {
			t.Errorf("%s: %s", path, p.Detail)
		}
	}
}

func TestAttentionShowsWhatAPersonMustLookAtToWhoSeesTheBook(t *testing.T) {
	w := newWorld(t)
	_, i := w.linked()
	values := posting.Values{Date: march, Amount: decimal.New(1250, -2), Direction: bank.Out, Text: "digest"}
	now := posting.Values{Date: march.AddDays(1), Amount: decimal.New(99, 0), Direction: bank.Out}
	w.update(func(tx store.Tx) error {
		return posting.Segments.Put(tx, &posting.Segment{ID: "c1.000000000001.x", Connection: "c1", Book: "b1", Seq: 1, Rows: []*posting.Row{
			{Key: "k1", Integration: i.ID, IDs: []string{"1"}, State: posting.Aside, Reason: posting.ReasonLocked, Written: values},
			{Key: "k2", Integration: i.ID, IDs: []string{"2"}, State: posting.Standing, Record: "r2", Written: values, Flag: posting.Changed, Bank: &now},
			{Key: "k3", Integration: i.ID, IDs: []string{"3"}, State: posting.Aside, Reason: posting.ReasonUnusable},
			{Key: "k4", Integration: i.ID, IDs: []string{"4"}, State: posting.Standing, Record: "r4", Written: values},
		}})
	})
	var list struct {
		Rows []struct{ Reason, Message, Date, Amount, Direction, Record string }
	}
	w.get("/portal/attention?book=b1&integration="+i.ID, &list)
	var got []string
	for _, r := range list.Rows {
		if r.Message == "" {
			t.Errorf("no sentence: %+v", r)
		}
		got = append(got, strings.Join([]string{r.Reason, r.Date, r.Amount, r.Direction, r.Record}, " "))
	}
	if d := diff.Diff([]string{"changed 2026-03-02 99 out r2", "locked 2026-03-01 12.5 out ", "unreadable    "}, got); d != "" {
		t.Error(d)
	}
	for query, status := range map[string]int{
		"book=b1&integration=nobodys": 404, "book=b2&integration=" + i.ID: 404, "book=b9&integration=" + i.ID: 404, "book=b1": 400,
	} {
		w.call(asked(webtest.Bad(t.Context()), http.MethodGet, "/portal/attention?"+query, ""), status, nil)
	}
}

func TestAnOwnerSeesWhatHangsOnAConnectionAndNobodyElseDoes(t *testing.T) {
	w := newWorld(t)
	connection, i := w.linked()
	w.update(func(tx store.Tx) error {
		c, err := store.Connections.Load(tx, connection)
		if err != nil {
			return err
		}
		e, err := posting.Load(tx, connection)
		if err != nil {
			return err
		}
		c.NewAccounts, e.Synced = true, time.Now()
		return errors.Join(store.Connections.Put(tx, c), posting.Engines.Put(tx, e))
	})
	type shown struct {
		Connections  []shownWhole
		Integrations []shownIntegration
		Offered      []shownWhole
		Former       []shownIntegration
	}
	var mine, ofBook shown
	w.get("/portal/connections", &mine)
	if c := mine.Connections; len(c) != 1 || !c[0].NewAccounts || len(c[0].Integrations) != 1 || c[0].Integrations[0].ID != i.ID || c[0].NextSync == "" {
		t.Errorf("mine: %+v", mine)
	}
	w.update(func(tx store.Tx) error {
		c, err := store.Connections.Load(tx, connection)
		if err != nil {
			return err
		}
		c.Owner = "bob"
		return store.Connections.Put(tx, c)
	})
	w.get("/portal/integrations?book=b1", &ofBook)
	if c := ofBook.Offered; len(c) != 1 || c[0].NewAccounts || len(c[0].Integrations) != 0 || len(ofBook.Former) != 0 {
		t.Errorf("somebody else's: %+v", ofBook)
	}
	w.post("/remove", fmt.Sprintf(`{"integration":%q}`, i.ID), 200, nil)
	var after shown
	w.get("/portal/integrations?book=b1", &after)
	if len(after.Integrations) != 0 || len(after.Former) != 1 || after.Former[0].Status != "removed" {
		t.Errorf("after: %+v", after)
	}
}

type shownWhole struct {
	NewAccounts  bool   `json:"new_accounts"`
	NextSync     string `json:"next_sync"`
	Integrations []shownIntegration
}

func TestWhatWasTrashedIsImportedAgainWhenAskedFor(t *testing.T) {
	w := newWorld(t)
	c := w.connected()
	save := func(rest string) *bank.Integration {
		var i shownIntegration
		w.post("/link", fmt.Sprintf(`{"book":"b1","connection":%q,"key":%q,"account":"c1","from":"2026-01-01"%s}`, c.ID, c.Accounts[0].Key, rest), 200, &i)
		stored, err := store.Integrations.Get(t.Context(), w.store, i.ID)
		if err != nil {
			t.Fatal(err)
		}
		if rest != "" && i.Status != "importing" {
			t.Errorf("answered %s", i.Status)
		}
		return stored
	}
	if i := save(""); i.Again != 0 {
		t.Errorf("%+v", i)
	}
	asked := save(`,"trashed":true`)
	if asked.Again != asked.Want || asked.Want < 2 {
		t.Errorf("%+v", asked)
	}
	if i := save(""); i.Again != asked.Again || i.Want != asked.Want {
		t.Errorf("saved again: %+v", i)
	}
}
