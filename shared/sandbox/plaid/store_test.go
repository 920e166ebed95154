package plaid

import (
	"net/http"
	"testing"

	"github.com/bkper/automations-portal/shared/sandbox/disk"
	"github.com/bkper/automations-portal/shared/sandbox/provider/providertest"
	"github.com/google/go-cmp/cmp"
)

// everything is all that a Bank would write.
func everything(b *Bank) map[string]any {
	out := map[string]any{}
	put := func(d disk.Document) { out[d.Key()] = d.Doc() }
	for _, i := range b.own {
		put(institutionDoc{*i, i.n})
	}
	for _, c := range b.customers {
		put(c)
	}
	for _, h := range b.holdings {
		put(h)
	}
	for _, r := range b.rows {
		put(r)
	}
	for _, it := range b.items {
		put(it)
	}
	for _, e := range b.entries {
		put(e)
	}
	for _, l := range b.links {
		put(l)
	}
	for _, p := range b.publics {
		put(p)
	}
	return out
}

func TestARestartAfterEveryRequestLosesNothing(t *testing.T) {
	db := providertest.OpenDisk(t)
	r := newRig(t, Options{DB: db}, false)
	last := r.Server
	same := func(what string) {
		t.Helper()
		r.core.Lock()
		defer r.core.Unlock()
		again, err := New(Options{DB: db})
		if err != nil {
			t.Fatalf("after %s: %v", what, err)
		}
		if diff := cmp.Diff(everything(r.bank), everything(again.bank), cmp.Comparer(func(x, y *session) bool {
			return cmp.Diff(*x, *y, cmp.Exporter(nil)) == ""
		})); diff != "" {
			t.Fatalf("a restart after %s changes (-before +after):\n%s", what, diff)
		}
		last = again
	}
	token := r.linkToken(t, nil)
	same("link/token/create")
	r.visit(t, token.GetHostedLinkUrl(), "ins_109508")
	same("the page")
	access, item := r.itemByExchange(t, r.Next(t, "ITEM_ADD_RESULT").Fields["public_token"].(string))
	same("the exchange")
	_, _, _, cursor := r.syncAll(t.Context(), t, access, "")
	same("sync")
	_, out := r.post(t, "/accounts/get", `{"access_token":"`+access+`"}`)
	account := out["accounts"].([]any)[0].(map[string]any)["account_id"].(string)
	_, out = r.post(t, "/_sim/transactions", `{"account":"`+account+`","transactions":[{"amount":"1.10","description":"a","pending":true},{"amount":"2","description":"b"}]}`)
	rows := out["rows"].([]any)
	for _, step := range []struct{ path, body string }{
		{"transactions/settle", `{"id":"` + rows[0].(string) + `","split":true}`},
		{"transactions/amend", `{"id":"` + rows[1].(string) + `","amount":"3"}`},
		{"transactions/churn", `{"id":"` + rows[1].(string) + `"}`},
		{"transactions/vanish", `{"id":"` + rows[1].(string) + `"}`},
		{"accounts/open", `{"institution_id":"ins_109508","user":"user_good","name":"New","mask":"9999","type":"depository","subtype":"checking","currency":"USD","balance":"5"}`},
		{"accounts/reissue", `{"account_id":"` + account + `"}`},
		{"items/fail", `{"item_id":"` + item + `","code":"ITEM_LOGIN_REQUIRED","reason":"OAUTH_USER_REVOKED"}`},
		{"items/repair", `{"item_id":"` + item + `"}`},
		{"items/consent", `{"item_id":"` + item + `","expires":"2030-01-01T00:00:00Z"}`},
	} {
		if status, out := r.post(t, "/_sim/"+step.path, step.body); status != http.StatusOK {
			t.Fatalf("%s: %v", step.path, out)
		}
		same(step.path)
	}
	want, err := r.bank.Sync(access, SyncQuery{Cursor: cursor, Original: true})
	if err != nil {
		t.Fatal(err)
	}
	got, err := last.bank.Sync(access, SyncQuery{Cursor: cursor, Original: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a cursor leads elsewhere after the restart:\n%s", diff)
	}
	r.post(t, "/item/remove", `{"access_token":"`+access+`"}`)
	same("item/remove")
}

func TestABanksFileIsLoadedOnceForAll(t *testing.T) {
	db := providertest.OpenDisk(t)
	file := csvHeader + "1994-03-01,7,1972,100.00,CZK,VKLAD,100.00\n"
	var dates []string
	for n := range 2 {
		s, err := New(Options{DB: db})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Do(func(b *Bank) error {
			_, err := b.LoadFile(readFile(t, file), "Old Bank", noon.AddDate(0, 0, n))
			for _, r := range b.rows {
				dates = append(dates, r.Date)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"2026-11-20", "2026-11-20"}, dates); diff != "" {
		t.Error(diff)
	}
}

func TestAChangeCostsInProportionToItself(t *testing.T) {
	db := providertest.OpenDisk(t)
	s, err := New(Options{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	b := s.bank
	linked(t, b, "ins_109508", "user_good")
	if err := s.Do(func(*Bank) error { b.Tick(); return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Add("ins_109508/user_good/0", Row{Amount: money("1"), Description: "one more"}); err != nil {
		t.Fatal(err)
	}
	if n := len(b.dirty); n == 0 || n > 5 {
		t.Errorf("one new row writes %d documents", n)
	}
}

func TestWhatTheDiskRefusedIsWrittenLater(t *testing.T) {
	broken := providertest.OpenDisk(t)
	s, err := New(Options{DB: broken})
	if err != nil {
		t.Fatal(err)
	}
	broken.Close()
	if err := s.Do(func(b *Bank) error { linked(t, b, "ins_109508", "user_good"); return nil }); err == nil {
		t.Fatal("a closed disk took it")
	}
	s.core.DB = providertest.OpenDisk(t)
	if err := s.Do(func(*Bank) error { return nil }); err != nil {
		t.Fatal(err)
	}
	again, err := New(Options{DB: s.core.DB})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(again.bank.Items()); n != 1 {
		t.Errorf("%d items after the restart", n)
	}
}
