package plaid

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

// shown compares secrets by their text.
var shown = cmp.Comparer(func(a, b secret.String) bool { return a.Equal(b.Reveal()) })

const createdLink = `{"link_token":"link-sandbox-af1a0311","expiration":"2026-03-14T09:56:53Z",
	"hosted_link_url":"https://secure.plaid.com/hl/abc","request_id":"XQVgFigpGHXkb0b"}`

func TestBeginAsksForAllHistoryOfRecordableAccounts(t *testing.T) {
	p, server := open(t, map[string]http.HandlerFunc{"/link/token/create": answerWith(createdLink)})
	got, err := p.Begin(t.Context(), bank.Begin{
		Session: "s1", User: "u1", Country: "FI", Language: "pt-BR", Return: "https://portal.example/connect/complete?session=s1",
		Webhook: "https://portal.example/webhook/plaid",
	})
	if err != nil {
		t.Fatal(err)
	}
	expires := time.Date(2026, 3, 14, 9, 56, 53, 0, time.UTC)
	want := bank.Begun{
		Handle: secret.New("link-sandbox-af1a0311"), Ref: bank.Hash("plaid", "link-sandbox-af1a0311"),
		URL: "https://secure.plaid.com/hl/abc", Expires: expires, Forgets: expires.Add(6 * time.Hour),
	}
	if diff := cmp.Diff(want, got, shown); diff != "" {
		t.Error(diff)
	}
	all := []any{"all"}
	wantBody := map[string]any{
		"client_name": "Automations", "language": "pt", "country_codes": []any{"FI"}, "user": map[string]any{"client_user_id": "u1"},
		"products": []any{"transactions"}, "transactions": map[string]any{"days_requested": 730.0},
		"webhook": "https://portal.example/webhook/plaid",
		"hosted_link": map[string]any{
			"completion_redirect_uri": "https://portal.example/connect/complete?session=s1", "url_lifetime_seconds": 1800.0,
		},
		"account_filters": map[string]any{
			"depository": map[string]any{"account_subtypes": all}, "credit": map[string]any{"account_subtypes": all},
			"loan": map[string]any{"account_subtypes": []any{"student", "mortgage"}},
		},
	}
	if diff := cmp.Diff(wantBody, server.asked[0].body); diff != "" {
		t.Error(diff)
	}
}

func TestARepairNamesTheItemAndNoProducts(t *testing.T) {
	p, server := open(t, map[string]http.HandlerFunc{"/link/token/create": answerWith(createdLink)})
	for _, accounts := range []bool{false, true} {
		got, err := p.Begin(t.Context(), bank.Begin{
			User: "u1", Country: "US", Language: "en", Return: "https://portal.example/back", Webhook: "https://portal.example/webhook/plaid",
			Token: secret.New(itemToken), Accounts: accounts,
		})
		if err != nil || got.Ref != bank.Hash("plaid", "link-sandbox-af1a0311") {
			t.Fatalf("%v, %v", got.Ref, err)
		}
		body := server.asked[len(server.asked)-1].body
		for _, name := range []string{"products", "transactions", "webhook", "account_filters"} {
			if _, ok := body[name]; ok {
				t.Errorf("%s was sent", name)
			}
		}
		if body["access_token"] != itemToken {
			t.Error("the item was not named")
		}
		if _, ok := body["update"]; ok != accounts {
			t.Errorf("update is %v", body["update"])
		}
	}
}

func TestBeginRefusesWhatPlaidCannotDo(t *testing.T) {
	p, server := open(t, map[string]http.HandlerFunc{"/link/token/create": answerWith(createdLink)})
	for code, b := range map[string]bank.Begin{
		unsupportedCountry:              {User: "u1", Country: "BR"},
		"ACCOUNT_SELECTION_UNAVAILABLE": {User: "u1", Country: "DE", Token: secret.New(itemToken), Accounts: true},
	} {
		if _, err := p.Begin(t.Context(), b); bank.CodeOf(err) != code || bank.KindOf(err) != bank.Permanent || errors.Is(err, bank.ErrUnsupported) != b.Accounts {
			t.Errorf("%s: %v", code, err)
		}
	}
	if len(server.asked) > 0 {
		t.Error("Plaid was asked")
	}
}

func TestALinkWithoutAPageIsNoLink(t *testing.T) {
	p, _ := open(t, map[string]http.HandlerFunc{
		"/link/token/create": answerWith(`{"link_token":"link-sandbox-1","expiration":"2026-03-14T09:56:53Z","request_id":"r"}`),
	})
	if _, err := p.Begin(t.Context(), bank.Begin{User: "u1", Country: "US"}); bank.CodeOf(err) != badAnswer {
		t.Errorf("got %v", err)
	}
}

const (
	linkHead = `{"link_token":"link-sandbox-1","created_at":"2026-03-14T09:00:00Z","expiration":"2026-03-14T09:30:00Z","request_id":"r",
		"metadata":{"initial_products":["transactions"],"webhook":null,"country_codes":["US"],"language":"en","redirect_uri":null,"client_name":"A"}`
	going = `{"link_session_id":"l1","started_at":"2026-03-14T09:10:00Z","finished_at":null,"on_success":null,"on_exit":null}`
	left  = `{"link_session_id":"l2","started_at":"2026-03-14T09:10:00Z","finished_at":"2026-03-14T09:12:00Z","on_success":null,
		"on_exit":{"error":null,"metadata":{"institution":null,"link_session_id":"l2","request_id":"r","status":"requires_credentials"}}}`
	leftNew = `{"link_session_id":"l3","started_at":"2026-03-14T09:10:00Z","exit":{"error":null,"metadata":{}},"results":{"item_add_results":[]}}`
	made    = `{"link_session_id":"l4","started_at":"2026-03-14T09:10:00Z","finished_at":"2026-03-14T09:12:00Z",
		"on_success":{"public_token":"public-1","metadata":{"institution":{"name":"First Platypus Bank","institution_id":"ins_109508"},
			"accounts":[{"id":"a1","name":"Checking","mask":"0000","type":"depository","subtype":"checking"}],"link_session_id":"l4"}},
		"results":{"item_add_results":[
			{"public_token":"public-1","institution":{"institution_id":"ins_109508","name":"First Platypus Bank"},
			 "accounts":[{"id":"a1","name":"Checking","mask":"0000","type":"depository","subtype":"checking"}]},
			{"public_token":"public-2","institution":null,"accounts":[{"id":"a2","name":"Card","mask":null,"type":"credit","subtype":"credit card"}]}]}}`
	madeOld = `{"link_session_id":"l5","finished_at":"2026-03-14T09:12:00Z","on_success":{"public_token":"public-3","metadata":null}}`
	stopped = `{"link_session_id":"l7","started_at":"2026-03-14T09:10:00Z","finished_at":"2026-03-14T09:12:00Z","on_success":null,"on_exit":null}`
	handed  = `{"link_session_id":"l6","finished_at":"2026-03-14T09:12:00Z","events":[{"event_name":"OPEN"},{"event_name":"HANDOFF"}]}`
)

// refused is a session that its person left after an error.
func refused(code string) string {
	return `{"link_session_id":"l8","finished_at":"2026-03-14T09:12:00Z","on_exit":{"error":{"error_code":"` + code + `"},"metadata":{}}}`
}

func TestOutcomeTellsWhereThePersonStands(t *testing.T) {
	first := bank.Candidate{
		Key: bank.Hash("plaid", "public-1"), Public: secret.New("public-1"),
		Institution: bank.Institution{ID: "ins_109508", Name: "First Platypus Bank"},
		Accounts:    []bank.Account{{ID: "a1", Name: "Checking", Mask: "0000", Type: bank.Deposit, Subtype: "checking"}},
	}
	second := bank.Candidate{
		Key: bank.Hash("plaid", "public-2"), Public: secret.New("public-2"),
		Accounts: []bank.Account{{ID: "a2", Name: "Card", Type: bank.Card, Subtype: "credit card"}},
	}
	third := bank.Candidate{Key: bank.Hash("plaid", "public-3"), Public: secret.New("public-3")}
	const early, late, forgotten = "2026-03-14T09:20:00Z", "2026-03-14T09:30:00Z", "2026-03-14T15:30:00Z"
	for name, row := range map[string]struct {
		handle, now, sessions string
		want                  bank.Outcome
	}{
		"nobody came":                    {"link-sandbox-1", early, ``, bank.Outcome{State: bank.Visiting}},
		"nobody came in time":            {"link-sandbox-1", late, ``, bank.Outcome{State: bank.Left, Cause: bank.TooLate}},
		"at the bank":                    {"link-sandbox-1", early, going, bank.Outcome{State: bank.Visiting}},
		"at the bank past the end":       {"link-sandbox-1", late, going, bank.Outcome{State: bank.Visiting}},
		"at the bank for ever":           {"link-sandbox-1", forgotten, going, bank.Outcome{State: bank.Left, Cause: bank.TooLate}},
		"left":                           {"link-sandbox-1", early, left, bank.Outcome{State: bank.Left}},
		"left, as newer answers have it": {"link-sandbox-1", early, leftNew, bank.Outcome{State: bank.Left}},
		"could not sign in":              {"link-sandbox-1", early, refused("INVALID_CREDENTIALS"), bank.Outcome{State: bank.Left, Cause: bank.BadCredentials}},
		"the bank was down":              {"link-sandbox-1", early, refused("INSTITUTION_DOWN"), bank.Outcome{State: bank.Left, Cause: bank.BankDown}},
		"the bank is not supported":      {"link-sandbox-1", early, refused("INSTITUTION_NO_LONGER_SUPPORTED"), bank.Outcome{State: bank.Left, Cause: bank.Unreadable}},
		"another error":                  {"link-sandbox-1", early, refused("NEW_ONE"), bank.Outcome{State: bank.Left}},
		"ended without a word":           {"link-sandbox-1", early, stopped, bank.Outcome{State: bank.Left}},
		"left once, trying again":        {"link-sandbox-1", early, left + "," + going, bank.Outcome{State: bank.Visiting}},
		"made two items":                 {"link-sandbox-1", early, made, bank.Outcome{State: bank.Finished, Candidates: []bank.Candidate{first, second}}},
		"made items in two sessions":     {"link-sandbox-1", forgotten, left + "," + made + "," + madeOld + "," + going, bank.Outcome{State: bank.Finished, Candidates: []bank.Candidate{first, second, third}}},
		"repaired":                       {"repair:link-sandbox-1", early, left + "," + made, bank.Outcome{State: bank.Finished}},
		"repaired, told by events":       {"repair:link-sandbox-1", early, handed, bank.Outcome{State: bank.Finished}},
		"did not repair":                 {"repair:link-sandbox-1", early, left, bank.Outcome{State: bank.Left}},
	} {
		t.Run(name, func(t *testing.T) {
			p, server := open(t, map[string]http.HandlerFunc{
				"/link/token/get": answerWith(linkHead + `,"link_sessions":[` + row.sessions + `]}`),
			})
			p.now = func() time.Time { return at(t, row.now) }
			for range 2 {
				got, err := p.Outcome(t.Context(), bank.Visit{Handle: secret.New(row.handle), User: "u1", Hint: "public-forged"})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(row.want, got, shown); diff != "" {
					t.Error(diff)
				}
			}
			if asked := server.asked[0].body["link_token"]; asked != "link-sandbox-1" {
				t.Errorf("asked for %v", asked)
			}
		})
	}
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// The event that a person has succeeded may be told before what came of it. Who is sent away then loses the bank's consent.
func TestASuccessIsWaitedForUntilPlaidTellsWhatWasMade(t *testing.T) {
	l := linkState{Sessions: []linkSession{{Events: []struct {
		Name string `json:"event_name"`
	}{{"HANDOFF"}}}}, Expiration: testTime.Add(time.Hour)}
	for later, want := range map[time.Duration]bank.VisitState{0: bank.Visiting, 2 * time.Hour: bank.Visiting, 7 * time.Hour: bank.Left} {
		if got := l.outcome(false, testTime.Add(later)); got.State != want {
			t.Errorf("after %v: %s", later, got.State)
		}
	}
}

// Plaid may leave the end of a link out; nobody is late for an end that is not known.
func TestALinkWithoutAnEndIsNotOver(t *testing.T) {
	for _, expiration := range []string{`"expiration":null`, `"x":1`} {
		for _, sessions := range []string{``, going} {
			p, _ := open(t, map[string]http.HandlerFunc{
				"/link/token/get": answerWith(strings.Replace(linkHead, `"expiration":"2026-03-14T09:30:00Z"`, expiration, 1) + `,"link_sessions":[` + sessions + `]}`),
			})
			if got, err := p.Outcome(t.Context(), bank.Visit{Handle: secret.New("link-sandbox-1")}); err != nil || got.State != bank.Visiting {
				t.Errorf("%s, %s: %v, %v", expiration, sessions, got, err)
			}
		}
	}
}

func TestAForgottenLinkIsUnknown(t *testing.T) {
	p, _ := open(t, map[string]http.HandlerFunc{"/link/token/get": refuseWith(400, "INVALID_INPUT", "INVALID_LINK_TOKEN", "invalid link_token provided")})
	got, err := p.Outcome(t.Context(), bank.Visit{Handle: secret.New("link-sandbox-1")})
	if err != nil || got.State != bank.Unknown {
		t.Errorf("%v, %v", got, err)
	}
}

func TestExchangeYieldsTheItemAndItsToken(t *testing.T) {
	p, server := open(t, map[string]http.HandlerFunc{
		"/item/public_token/exchange": answerWith(`{"access_token":"access-sandbox-1","item_id":"item1","request_id":"r"}`),
	})
	got, err := p.Exchange(t.Context(), bank.Candidate{Public: secret.New("public-1")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bank.Grant{Item: "item1", Token: secret.New("access-sandbox-1")}, got, shown); diff != "" {
		t.Error(diff)
	}
	if server.asked[0].body["public_token"] != "public-1" {
		t.Errorf("asked %v", server.asked)
	}
}

func TestAnExchangeWithoutATokenIsNoGrant(t *testing.T) {
	p, _ := open(t, map[string]http.HandlerFunc{"/item/public_token/exchange": answerWith(`{"item_id":"item1","request_id":"r"}`)})
	if _, err := p.Exchange(t.Context(), bank.Candidate{Public: secret.New("public-1")}); bank.CodeOf(err) != badAnswer {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsGoneIsRemoved(t *testing.T) {
	for code, ok := range map[string]bool{
		"ITEM_NOT_FOUND": true, "INVALID_ACCESS_TOKEN": true, "USER_PERMISSION_REVOKED": true, "ITEM_CONCURRENTLY_DELETED": true,
		"ITEM_LOGIN_REQUIRED": false, "INTERNAL_SERVER_ERROR": false, "INVALID_API_KEYS": false, "ITEM_NOT_SUPPORTED": false,
	} {
		p, _ := open(t, map[string]http.HandlerFunc{"/item/remove": refuseWith(400, "ITEM_ERROR", code, "")})
		if err := p.Remove(t.Context(), secret.New(itemToken)); (err == nil) != ok {
			t.Errorf("%s: %v", code, err)
		}
	}
}

const (
	itemHead     = `{"item":{"item_id":"item1","institution_id":"ins_1","institution_name":"Bank","webhook":null,"available_products":[],"billed_products":["transactions"],"update_type":"background"`
	healthyItem  = itemHead + `,"error":null,"consent_expiration_time":"2026-09-01T00:00:00Z"},"status":null,"request_id":"r"}`
	someAccounts = `{"item":{"item_id":"item1","webhook":null,"error":null,"available_products":[],"billed_products":[],"consent_expiration_time":null,"update_type":"background"},"request_id":"r","accounts":[
		{"account_id":"a1","persistent_account_id":"p1","name":"Checking","official_name":null,"mask":"0000","type":"depository","subtype":"checking","balances":{"available":1.1,"current":2.2,"limit":null,"iso_currency_code":"USD","unofficial_currency_code":null}},
		{"account_id":"a2","name":"Card","official_name":null,"mask":null,"type":"credit","subtype":"credit card","balances":{"available":null,"current":2.2,"limit":null,"iso_currency_code":null,"unofficial_currency_code":"BTC"}},
		{"account_id":"a3","name":"Loan","official_name":null,"mask":null,"type":"loan","subtype":null,"balances":{"available":null,"current":null,"limit":null,"iso_currency_code":"USD","unofficial_currency_code":null}},
		{"account_id":"a4","name":"Shares","official_name":null,"mask":null,"type":"investment","subtype":"401k","balances":{"available":null,"current":null,"limit":null,"iso_currency_code":"USD","unofficial_currency_code":null}}]}`
)

func itemWith(code, kind string) string {
	return itemHead + `,"error":{"error_type":"` + kind + `","error_code":"` + code + `","error_message":"m","display_message":null,"status":400},"consent_expiration_time":null},"request_id":"r"}`
}

func TestItemTellsAccountsAndConsent(t *testing.T) {
	p, _ := open(t, map[string]http.HandlerFunc{"/item/get": answerWith(healthyItem), "/accounts/get": answerWith(someAccounts)})
	got, err := p.Item(t.Context(), secret.New(itemToken))
	if err != nil {
		t.Fatal(err)
	}
	want := bank.Item{
		ID: "item1", Institution: bank.Institution{ID: "ins_1", Name: "Bank"}, ConsentExpires: time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC),
		Accounts: []bank.Account{
			{ID: "a1", Persistent: "p1", Name: "Checking", Mask: "0000", Type: bank.Deposit, Subtype: "checking", Currency: "USD"},
			{ID: "a2", Name: "Card", Type: bank.Card, Subtype: "credit card", Currency: "BTC"},
			{ID: "a3", Name: "Loan", Type: bank.Loan, Currency: "USD"},
			{ID: "a4", Name: "Shares", Type: bank.Other, Subtype: "401k", Currency: "USD"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Accounts that an answer does not name are gone for us, with all that comes for them. An answer without a list names none by mistake.
func TestAnAnswerWithoutAccountsOrAnItemIsNone(t *testing.T) {
	nobody := strings.Replace(healthyItem, `"item_id":"item1",`, ``, 1)
	for name, c := range map[string]struct {
		item, accounts string
		ok             bool
	}{
		"whole":                 {healthyItem, someAccounts, true},
		"all accounts closed":   {healthyItem, `{"accounts":[],"request_id":"r"}`, true},
		"no list":               {healthyItem, `{"request_id":"r"}`, false},
		"null":                  {healthyItem, `{"accounts":null,"request_id":"r"}`, false},
		"an account without id": {healthyItem, `{"accounts":[{"name":"x","balances":{},"type":"depository"}]}`, false},
		"an item without id":    {nobody, someAccounts, false},
		"nothing":               {`{}`, someAccounts, false},
	} {
		p, _ := open(t, map[string]http.HandlerFunc{"/item/get": answerWith(c.item), "/accounts/get": answerWith(c.accounts)})
		got, err := p.Item(t.Context(), secret.New(itemToken))
		if (err == nil) != c.ok || err != nil && (bank.KindOf(err) != bank.Retry || bank.CodeOf(err) != badAnswer) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestTheErrorThatAnItemCarriesDecidesWhatIsAsked(t *testing.T) {
	login := refuseWith(400, "ITEM_ERROR", "ITEM_LOGIN_REQUIRED", "")
	for name, row := range map[string]struct {
		item, accounts http.HandlerFunc
		needs          string
		gone, failed   bool
	}{
		"login, accounts refused":    {answerWith(itemWith("ITEM_LOGIN_REQUIRED", "ITEM_ERROR")), login, "ITEM_LOGIN_REQUIRED", false, false},
		"locked, accounts given":     {answerWith(itemWith("ITEM_LOCKED", "ITEM_ERROR")), answerWith(someAccounts), "ITEM_LOCKED", false, false},
		"only the accounts know":     {answerWith(healthyItem), login, "ITEM_LOGIN_REQUIRED", false, false},
		"the bank is down":           {answerWith(itemWith("INSTITUTION_DOWN", "INSTITUTION_ERROR")), answerWith(someAccounts), "", false, false},
		"an error yet unknown":       {answerWith(itemWith("BRAND_NEW", "BRAND_NEW_ERROR")), answerWith(someAccounts), "", false, false},
		"revoked":                    {answerWith(itemWith("USER_PERMISSION_REVOKED", "INVALID_INPUT")), answerWith(someAccounts), "", true, true},
		"no longer supported":        {answerWith(itemWith("ITEM_NOT_SUPPORTED", "ITEM_ERROR")), answerWith(someAccounts), "", false, true},
		"the accounts fail for once": {answerWith(healthyItem), refuseWith(500, "API_ERROR", "INTERNAL_SERVER_ERROR", ""), "", false, true},
		"removed":                    {refuseWith(400, "ITEM_ERROR", "ITEM_NOT_FOUND", ""), answerWith(someAccounts), "", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := open(t, map[string]http.HandlerFunc{"/item/get": row.item, "/accounts/get": row.accounts})
			got, err := p.Item(t.Context(), secret.New(itemToken))
			if got.NeedsUser != row.needs || errors.Is(err, bank.ErrGone) != row.gone || (err != nil) != row.failed {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

const onePixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

func aBank(id, url, colour, logo string) string {
	return `{"institution_id":"` + id + `","name":"Bank ` + id + `","products":["transactions"],"country_codes":["DE"],"routing_numbers":[],
		"oauth":true,"url":` + url + `,"primary_color":` + colour + `,"logo":` + logo + `}`
}

func TestBanksCarryOnlyWhatAPageCanShow(t *testing.T) {
	p, server := open(t, map[string]http.HandlerFunc{"/institutions/search": answerWith(`{"request_id":"r","institutions":[` +
		aBank("ins_1", `"https://bank.example/"`, `"#00A4E4"`, `"`+onePixel+`"`) + `,` +
		aBank("ins_2", `"javascript://bank.example/%0Aalert(1)"`, `"red;}"`, `"PHN2Zz4="`) + `,` +
		aBank("ins_3", `null`, `null`, `null`) + `]}`)})
	got, err := p.Institutions(t.Context(), "DE", "  Bank ")
	if err != nil {
		t.Fatal(err)
	}
	want := []bank.Institution{
		{ID: "ins_1", Name: "Bank ins_1", Country: "DE", URL: "https://bank.example/", Colour: "#00a4e4", Logo: "data:image/png;base64," + onePixel},
		{ID: "ins_2", Name: "Bank ins_2", Country: "DE"},
		{ID: "ins_3", Name: "Bank ins_3", Country: "DE"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if server.asked[0].body["query"] != "Bank" {
		t.Errorf("asked %v", server.asked)
	}
}

func TestTheFirstPageOfACountryIsFetchedOnceADay(t *testing.T) {
	answer := answerWith(`{"request_id":"r","total":1,"institutions":[` + aBank("ins_1", `null`, `null`, `null`) + `]}`)
	answers := map[string]http.HandlerFunc{"/institutions/get": answer}
	p, server := open(t, answers)
	now := testTime
	p.now = func() time.Time { return now }
	look := func() []bank.Institution {
		t.Helper()
		got, err := p.Institutions(t.Context(), "DE", "")
		if err != nil || len(got) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
		return got
	}
	look()[0].Name = "overwritten by a caller"
	look()[0].Name = "overwritten by the next"
	if look()[0].Name != "Bank ins_1" || server.calls("/institutions/get") != 1 {
		t.Errorf("%d fetches", server.calls("/institutions/get"))
	}
	now = now.Add(shelfLife)
	look()
	if server.calls("/institutions/get") != 2 {
		t.Error("yesterday's banks were given")
	}
	now = now.Add(shelfLife)
	server.mu.Lock()
	answers["/institutions/get"] = refuseWith(429, "RATE_LIMIT_EXCEEDED", "INSTITUTIONS_GET_LIMIT", "")
	server.mu.Unlock()
	look()
}

func TestCountriesThatPlaidDoesNotServeAreRefused(t *testing.T) {
	p, _ := open(t, nil)
	if n := len(p.Countries()); n != 20 {
		t.Errorf("%d countries", n)
	}
	if _, err := p.Institutions(t.Context(), "BR", ""); !errors.Is(err, bank.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if got, err := p.Institutions(t.Context(), "US", string(bytes.Repeat([]byte("x"), 101))); err != nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}
