package plaid

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func codesOf(list []Webhook) (out []string) {
	for _, w := range list {
		out = append(out, w.Code)
	}
	return out
}

func TestUserGoodHasTwoYearsOfTheSameHistoryEverywhere(t *testing.T) {
	read := func(seed uint64) (texts []string, months map[string]bool, accounts map[string]int) {
		b := simBank(seed)
		access, _ := linked(t, b, "ins_109508", "user_good")
		s := state{}
		s.drain(t, b, access, "", 500)
		months, accounts = map[string]bool{}, map[string]int{}
		for _, x := range s {
			texts = append(texts, x.Date+x.Amount.String()+x.Name)
			months[x.Date[:7]] = true
			accounts[b.accounts[x.AccountID].holding.Mask]++
		}
		slices.Sort(texts)
		return texts, months, accounts
	}
	one, months, accounts := read(1)
	two, _, _ := read(2)
	if diff := cmp.Diff(one, two); diff != "" {
		t.Errorf("the history depends on chance: %s", diff)
	}
	if len(months) < 24 || accounts["0000"] < 300 || accounts["1111"] < 40 || accounts["3333"] < 250 || accounts["7777"] < 40 || len(accounts) != 4 {
		t.Errorf("%d months, by account %v", len(months), accounts)
	}
}

func TestEuropeanBanksKeepTheirCurrency(t *testing.T) {
	for id, want := range map[string]string{"ins_109508": "USD", "ins_43": "CAD", "ins_117650": "GBP", "ins_909000": "PLN", "ins_907000": "EUR"} {
		b := simBank(1)
		inst, _ := b.institution(id)
		r := linkRequest()
		r.CountryCodes = inst.Countries
		l, err := b.CreateLinkToken(testClient, r)
		if err != nil {
			t.Fatal(err)
		}
		public, err := b.Connect(l.Token, id, "user_good", "pass_good")
		if err != nil {
			t.Fatal(err)
		}
		access, _, _ := b.Exchange(public)
		accounts, _, err := b.Accounts(access, nil)
		if err != nil || accounts[0].Balances.Currency != want {
			t.Errorf("%s: %v %v", id, accounts, err)
		}
	}
}

func TestTheDynamicUsersBankMovesAtEveryRefresh(t *testing.T) {
	b := simBank(1)
	access, _ := linked(t, b, "ins_109508", "user_transactions_dynamic")
	s := state{}
	cursor := s.drain(t, b, access, "", 500)
	pending := func() (n int) {
		for _, x := range s {
			if x.Pending {
				n++
			}
		}
		return n
	}
	before := pending()
	if len(s) != 50 || before == 0 || before == 50 {
		t.Fatalf("begins with %d of which %d are pending", len(s), before)
	}
	b.Drain()
	if err := b.Refresh(access); err != nil {
		t.Fatal(err)
	}
	p, err := b.Sync(access, SyncQuery{Cursor: cursor, Count: 500})
	if err != nil {
		t.Fatal(err)
	}
	if s.apply(p); len(p.Removed) != before || len(p.Added) != before+3 || len(p.Modified) != 1 || pending() != 3 {
		t.Errorf("%d removed, %d added, %d modified", len(p.Removed), len(p.Added), len(p.Modified))
	}
	if got := codesOf(b.Drain()); !slices.Equal(got, []string{"SYNC_UPDATES_AVAILABLE", "DEFAULT_UPDATE", "TRANSACTIONS_REMOVED"}) {
		t.Errorf("told %v", got)
	}
	create := func(posted string) error {
		return b.SandboxTransactions(access, []SandboxTransaction{{Transacted: "2026-11-19", Posted: posted, Amount: money("1.23"), Description: "mine"}})
	}
	if err := create("2026-11-20"); err != nil {
		t.Error(err)
	}
	for _, posted := range []string{"2026-11-21", "2026-11-01", "soon"} {
		if code(create(posted)) != "INVALID_FIELD" {
			t.Errorf("%s is allowed", posted)
		}
	}
	normal, _ := linked(t, b, "ins_109508", "user_good")
	if err := b.Refresh(normal); err != nil {
		t.Error(err)
	}
}

func TestACustomUserHasTheAccountsOfItsConfiguration(t *testing.T) {
	b := simBank(1)
	config := `{"version":"2","seed":"x","override_accounts":[{"type":"depository","subtype":"checking","starting_balance":10.25,"currency":"EUR",
		"meta":{"name":"Giro","mask":"4711","limit":null},"transactions":[
		{"date_transacted":"2026-11-01","date_posted":"2026-11-02","amount":100.10,"description":"RENT","currency":"EUR"},
		{"date_transacted":"2026-11-19","date_posted":"2026-11-25","amount":-5,"description":"REFUND","currency":"EUR"}]}]}`
	public, err := b.SandboxPublicToken(testClient, "ins_109508", "user_custom", config, LinkRequest{Products: []string{"transactions"}})
	if err != nil {
		t.Fatal(err)
	}
	access, _, err := b.Exchange(public)
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Sync(access, SyncQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range p.Added {
		got = append(got, strings.Join([]string{x.Date, x.AuthorizedDate, x.Amount.String(), x.Currency, x.Name, map[bool]string{true: "pending"}[x.Pending]}, " "))
	}
	if diff := cmp.Diff([]string{"2026-11-02 2026-11-01 100.1 EUR RENT ", "2026-11-19  -5 EUR REFUND pending"}, got); diff != "" {
		t.Error(diff)
	}
	if a := p.Accounts[0]; a.Name != "Giro" || a.Mask != "4711" || a.Balances.Current.String() != "10.25" {
		t.Errorf("%+v", a)
	}
	again, err := b.SandboxPublicToken(testClient, "ins_109508", "user_custom", config, LinkRequest{Products: []string{"transactions"}})
	if err != nil || len(b.customers) != 1 || again == public {
		t.Errorf("the same configuration is another customer: %v", err)
	}
}

func TestConsentWarnsSevenDaysAheadAndThenEnds(t *testing.T) {
	for id, row := range map[string]struct {
		after   time.Duration
		warning string
	}{"ins_117650": {consentEurope, "PENDING_EXPIRATION"}, "ins_127287": {consentAmerica, "PENDING_DISCONNECT"}} {
		now := noon
		b := NewBank(Config{Now: func() time.Time { return now }})
		public, err := b.SandboxPublicToken(testClient, id, "user_good", "pass_good", LinkRequest{Products: []string{"transactions"}, Webhook: "https://portal.example/w"})
		if err != nil {
			t.Fatal(err)
		}
		access, item, _ := b.Exchange(public)
		b.Tick()
		b.Drain()
		if want := noon.Add(row.after - consentWarning); !b.Due().Equal(want) {
			t.Errorf("%s: next due %s, want %s", id, b.Due(), want)
		}
		now = noon.Add(row.after - consentWarning)
		b.Tick()
		b.Tick()
		if got := codesOf(b.Drain()); !slices.Equal(got, []string{row.warning}) {
			t.Errorf("%s: told %v", id, got)
		}
		now = noon.Add(row.after)
		if _, err := b.Sync(access, SyncQuery{}); code(err) != "ITEM_LOGIN_REQUIRED" || err.(*Error).Reason != "OAUTH_CONSENT_EXPIRED" {
			t.Errorf("%s: %v", id, err)
		}
		if got := codesOf(b.Drain()); !slices.Equal(got, []string{"ERROR"}) {
			t.Errorf("%s: told %v", id, got)
		}
		l, err := b.CreateLinkToken(testClient, LinkRequest{ClientName: "x", Language: "en", CountryCodes: b.items[item].institution.Countries, User: LinkUser{ClientUserID: "u"}, AccessToken: access})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Connect(l.Token, "", "user_good", "pass_good"); err != nil {
			t.Fatal(err)
		}
		if v, err := b.Item(access); err != nil || v.Error != nil || !v.ConsentExpires.Equal(now.Add(row.after)) {
			t.Errorf("%s: update mode left %+v", id, v)
		}
	}
}

func TestALoginExpiresWhereAskedFor(t *testing.T) {
	now := noon
	b := NewBank(Config{Now: func() time.Time { return now }, LoginExpiry: 30 * day})
	access, _ := linked(t, b, "ins_109508", "user_good")
	now = noon.Add(30*day - time.Second)
	if _, err := b.Sync(access, SyncQuery{}); err != nil {
		t.Error(err)
	}
	now = noon.Add(30 * day)
	if _, err := b.Sync(access, SyncQuery{}); code(err) != "ITEM_LOGIN_REQUIRED" {
		t.Error(err)
	}
}

func TestAPublicTokenIsGoodOnceAndForHalfAnHour(t *testing.T) {
	now := noon
	b := NewBank(Config{Now: func() time.Time { return now }})
	token := func() string {
		p, err := b.SandboxPublicToken(testClient, "ins_109508", "user_good", "pass_good", LinkRequest{Products: []string{"transactions"}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	once, late := token(), token()
	if _, _, err := b.Exchange(once); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Exchange(once); code(err) != "INVALID_PUBLIC_TOKEN" {
		t.Error(err)
	}
	now = noon.Add(publicTokenLife)
	if _, _, err := b.Exchange(late); code(err) != "INVALID_PUBLIC_TOKEN" || !strings.Contains(err.Error(), "expired") {
		t.Error(err)
	}
}

func TestWhatIsRevokedIsGone(t *testing.T) {
	b := simBank(1)
	access, item, accounts := smallCustomer(t, b)
	s := state{}
	cursor := s.drain(t, b, access, "", 100)
	shown, err := b.ItemAccounts(item)
	if err != nil {
		t.Fatal(err)
	}
	b.Drain()
	if err := b.RevokeAccount(shown[0].AccountID, false); err != nil {
		t.Fatal(err)
	}
	if got := codesOf(b.Drain()); !slices.Equal(got, []string{"USER_ACCOUNT_REVOKED"}) {
		t.Errorf("told %v", got)
	}
	if _, err := b.Add(accounts[0], Row{Amount: money("1"), Description: "unseen"}); err != nil {
		t.Fatal(err)
	}
	if p, err := b.Sync(access, SyncQuery{Cursor: cursor}); err != nil || len(p.Added) != 0 {
		t.Errorf("a revoked account shows %v %v", p.Added, err)
	}
	fresh := state{}
	if fresh.drain(t, b, access, "", 100); len(fresh) != 1 {
		t.Errorf("a replay shows %d", len(fresh))
	}
	if err := b.CloseAccount(accounts[1]); err != nil || len(b.Drain()) != 0 {
		t.Errorf("closing an account is told: %v", err)
	}
	if list, _ := b.ItemAccounts(item); len(list) != 0 {
		t.Errorf("still shown: %v", list)
	}
	if err := b.Revoke(item); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Sync(access, SyncQuery{}); code(err) != "USER_PERMISSION_REVOKED" {
		t.Error(err)
	}
	if err := b.RemoveItem(access); code(err) != "USER_PERMISSION_REVOKED" {
		t.Error(err)
	}
}

func TestAnAccountThatComesBackTellsWhatItsReaderMissed(t *testing.T) {
	b := simBank(1)
	access, item, accounts := smallCustomer(t, b)
	s := state{}
	cursor := s.drain(t, b, access, "", 100)
	shown, _ := b.ItemAccounts(item)
	rows, err := b.Add(accounts[0], Row{Amount: money("1"), Description: "changed meanwhile"}, Row{Amount: money("1"), Description: "told too late"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.RevokeAccount(shown[0].AccountID, true); err != nil {
		t.Fatal(err)
	}
	cursor = s.drain(t, b, access, cursor, 100)
	if err := b.Amend(rows[0], Amendment{Amount: dec("2")}); err != nil {
		t.Fatal(err)
	}
	l, err := b.CreateLinkToken(testClient, LinkRequest{
		ClientName: "x", Language: "en", CountryCodes: []string{"US"}, User: LinkUser{ClientUserID: "u"},
		AccessToken: access, Update: UpdateOptions{AccountSelection: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Connect(l.Token, "", "sim", "pass_good"); err != nil {
		t.Fatal(err)
	}
	s.drain(t, b, access, cursor, 1)
	fresh := state{}
	fresh.drain(t, b, access, "", 100)
	if diff := cmp.Diff(fresh, s); diff != "" || len(s) != 5 {
		t.Errorf("-replay +changes: %s", diff)
	}
}

func TestANewAccountIsToldAndShownOnceItIsSelected(t *testing.T) {
	b := simBank(1)
	access, item, _ := smallCustomer(t, b)
	b.Tick()
	b.Drain()
	if _, err := b.OpenAccount("ins_109508", "sim", Holding{
		Name: "New", Mask: "9999", Type: "depository", Subtype: "savings", Currency: "USD",
		Rows: []Row{{Date: "2026-01-01", Amount: money("-3"), Description: "opening"}},
	}); err != nil {
		t.Fatal(err)
	}
	if got := codesOf(b.Drain()); !slices.Equal(got, []string{"NEW_ACCOUNTS_AVAILABLE"}) {
		t.Errorf("told %v", got)
	}
	s := state{}
	cursor := s.drain(t, b, access, "", 100)
	if list, _ := b.ItemAccounts(item); len(list) != 2 || len(s) != 3 {
		t.Errorf("shown before it is selected: %v", list)
	}
	l, err := b.CreateLinkToken(testClient, LinkRequest{
		ClientName: "x", Language: "en", CountryCodes: []string{"US"}, User: LinkUser{ClientUserID: "u"},
		AccessToken: access, Update: UpdateOptions{AccountSelection: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	public, err := b.Connect(l.Token, "", "sim", "pass_good")
	if err != nil {
		t.Fatal(err)
	}
	if same, _, err := b.Exchange(public); err != nil || same != access {
		t.Errorf("update mode gave another access token: %v", err)
	}
	if got := codesOf(b.Drain()); !slices.Contains(got, "SYNC_UPDATES_AVAILABLE") {
		t.Errorf("told %v", got)
	}
	if s.drain(t, b, access, cursor, 100); len(s) != 4 {
		t.Errorf("%d transactions", len(s))
	}
}

func TestBalancesFollowTheRows(t *testing.T) {
	b := simBank(1)
	five := money("5")
	ids, err := b.AddCustomer("ins_109508", "sim", []Holding{
		{Type: "depository", Currency: "USD", Current: money("100"), Available: &five},
		{Type: "credit", Currency: "USD", Current: money("100")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"85", "115"} {
		rows, err := b.Add(ids[i], Row{Amount: money("10"), Description: "x", Pending: true}, Row{Amount: money("8"), Description: "y"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Settle(rows[0], Settlement{Amount: dec("12")}); err != nil {
			t.Fatal(err)
		}
		if err := b.Amend(rows[1], Amendment{Amount: dec("3")}); err != nil {
			t.Fatal(err)
		}
		if got := b.holdings[ids[i]].Current.String(); got != want {
			t.Errorf("account %d holds %s, want %s", i, got, want)
		}
	}
	if got := b.holdings[ids[0]].Available.String(); got != "-10" {
		t.Errorf("available %s", got)
	}
}
