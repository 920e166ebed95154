package pluggy

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/civil"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

// Each test here is named for a trap that Pluggy's answers set, and fails when it is fallen into.

var (
	reais = bank.Account{ID: theBank, Type: bank.Deposit, Currency: "BRL"}
	card  = bank.Account{ID: theCard, Type: bank.Card, Currency: "BRL"}
)

func row1(t *testing.T, of bank.Account, members ...string) bank.Transaction {
	t.Helper()
	got, err := readRow(jsontext.Value(rowJSON("t1", of.ID, members...))).transaction(of)
	if err != nil {
		t.Fatalf("%v: %v", members, err)
	}
	return got
}

// A card's purchases are positive and its payments negative, an account's the other way round, and some banks differ.
func TestTheDirectionIsThatOfTheTypeWhateverTheSign(t *testing.T) {
	for _, of := range []bank.Account{reais, card} {
		for _, amount := range []string{"12.5", "-12.5"} {
			for kind, want := range map[string]bank.Direction{"DEBIT": bank.Out, "CREDIT": bank.In} {
				got := row1(t, of, `"type":"`+kind+`"`, `"amount":`+amount)
				if got.Direction != want || got.Amount.String() != "12.5" {
					t.Errorf("%s of %s on a %s: %s %s", kind, amount, of.Type, got.Direction, got.Amount)
				}
			}
		}
	}
}

func TestAPurchaseInAnotherCurrencyCountsWithWhatTheAccountWasCharged(t *testing.T) {
	got := row1(t, card, `"currencyCode":"USD"`, `"amount":58`, `"amountInAccountCurrency":298.19`)
	if got.Amount.String() != "298.19" || got.Currency != "BRL" || got.Details["original_amount"] != "58" || got.Details["original_currency"] != "USD" {
		t.Errorf("%+v", got)
	}
	// Where the bank does not say what was charged, the row is in another currency than its account, and must say so.
	if got := row1(t, card, `"currencyCode":"USD"`, `"amount":58`); got.Currency != "USD" || got.Amount.String() != "58" {
		t.Errorf("%+v", got)
	}
}

func TestAmountsOfFourDecimalsAreRoundedHalfAwayFromZero(t *testing.T) {
	for amount, want := range map[string]string{
		"307.8891": "307.89", "-307.885": "307.89", "0.005": "0.01", "0.0049": "0", "2.675": "2.68", "1e2": "100", "90071992547409.93": "90071992547409.93",
	} {
		if got := row1(t, card, `"amount":`+amount); got.Amount.String() != want {
			t.Errorf("%s became %s, want %s", amount, got.Amount, want)
		}
	}
}

// Midnight UTC and midnight in São Paulo are both days without a time. An evening in Brazil is the next day in UTC; until 2019
// its clock had a summer.
func TestADayIsThatOfTheBanksOwnCalendar(t *testing.T) {
	for text, want := range map[string]string{
		"2026-06-15T03:00:00.000Z":      "2026-06-15", // midnight in São Paulo
		"2026-06-15T00:00:00.000Z":      "2026-06-15", // padded
		"2026-06-16T01:30:00.000Z":      "2026-06-15", // an evening
		"2026-06-16T02:59:59.999Z":      "2026-06-15",
		"2026-06-16T00:00:00.001Z":      "2026-06-15",
		"2026-01-01T02:00:00.000Z":      "2025-12-31",
		"2018-12-15T02:00:00.000Z":      "2018-12-15", // midnight in the summer of 2018
		"2018-12-15T01:59:00.000Z":      "2018-12-14",
		"2023-07-20T00:00:00":           "2023-07-20", // without a zone
		"2023-07-20":                    "2023-07-20",
		"2026-06-15T23:30:00.000-03:00": "2026-06-15",
	} {
		got := row1(t, reais, `"date":"`+text+`"`)
		if got.Date.String() != want {
			t.Errorf("%s became %s, want %s", text, got.Date, want)
		}
	}
}

func TestARowDatedInTheFutureKeepsItsDate(t *testing.T) {
	got := row1(t, card, `"date":"2099-11-10T03:00:00.000Z"`, `"status":"PENDING"`)
	if got.Date != (civil.Date{Year: 2099, Month: 11, Day: 10}) || !got.Pending {
		t.Errorf("%+v", got)
	}
}

func TestAnInstalmentIsTheRowThatTheBankTellsAndSaysWhichItIs(t *testing.T) {
	for name, c := range map[string]struct {
		metadata string
		want     map[string]string
	}{
		"a row for each bill": {
			`{"installmentNumber":3,"totalInstallments":12,"purchaseDate":"2026-04-20T03:00:00.000Z","payeeMCC":5814,"cardNumber":"0597","billId":"b","billForecastDate":"2026-07"}`,
			map[string]string{"installment": "3/12", "purchase_date": "2026-04-20", "card": "0597", "bill_month": "2026-07"},
		},
		"numbers as texts":         {`{"installmentNumber":"3","totalInstallments":"12","payeeMCC":"5814"}`, map[string]string{"installment": "3/12"}},
		"the whole purchase":       {`{"totalAmount":1200,"purchaseDate":"2026-04-20T00:00:00.000Z"}`, map[string]string{"purchase_date": "2026-04-20"}},
		"no instalment":            {`{"installmentNumber":1,"totalInstallments":1}`, map[string]string{}},
		"no bill, by its sentinel": {`{"billForecastDate":"0001-01","feeTypeAdditionalInfo":"NA"}`, map[string]string{}},
		"nothing":                  {`null`, map[string]string{}},
		"another kind":             {`"card"`, map[string]string{}},
	} {
		got := row1(t, card, `"creditCardMetadata":`+c.metadata)
		if diff := cmp.Diff(c.want, got.Details); diff != "" || got.Amount.String() != "12.5" || got.Date.String() != "2026-06-15" {
			t.Errorf("%s: %+v: %s", name, got, diff)
		}
	}
}

func TestTheTextIsTheBanksOwnAndNeverEmptyWhereSomethingIsKnown(t *testing.T) {
	for members, want := range map[string]string{
		`"descriptionRaw":"PIX  ENVIADO ","description":"Pix enviado"`: "PIX  ENVIADO ",
		`"descriptionRaw":null`: "Padaria",
		`"descriptionRaw":null,"description":"","merchant":{"name":"","businessName":"PADARIA LTDA"}`: "PADARIA LTDA",
		`"descriptionRaw":null,"description":null,"operationType":"PIX"`:                              "PIX",
	} {
		if got := row1(t, reais, members); got.Text != want {
			t.Errorf("%s: %q, want %q", members, got.Text, want)
		}
	}
}

// Category and merchant come with some plans, and may vanish later.
func TestEnrichmentThatVanishesLeavesTheRowAsItIs(t *testing.T) {
	with := row1(t, reais, `"category":"Groceries"`, `"merchant":{"name":"Padaria","businessName":""}`)
	without := row1(t, reais)
	if with.Details["merchant"] != "Padaria" || with.Details["category"] != "Groceries" {
		t.Errorf("%+v", with.Details)
	}
	with.Details, without.Details = nil, nil
	if !cmp.Equal(with, without, cmp.Comparer(func(a, b bank.Transaction) bool {
		return a.ID == b.ID && a.Amount.Equal(b.Amount) && a.Text == b.Text && a.Date == b.Date && a.Direction == b.Direction
	})) {
		t.Errorf("%+v became %+v", with, without)
	}
}

func TestTheOtherSideOfAPaymentIsNamedWithoutItsTaxNumber(t *testing.T) {
	const payment = `"paymentData":{"payer":{"name":"ANA","documentNumber":{"type":"CPF","value":"882.937.076-23"}},"receiver":{"name":"LOJA"},"paymentMethod":"PIX","reason":"aluguel","referenceNumber":"E1"}`
	for kind, want := range map[string]string{"DEBIT": "LOJA", "CREDIT": "ANA"} {
		got := row1(t, reais, payment, `"type":"`+kind+`"`)
		if got.Details["counterparty"] != want || got.Details["payment_method"] != "PIX" || got.Details["reference_number"] != "E1" {
			t.Errorf("%s: %v", kind, got.Details)
		}
		for key, value := range got.Details {
			if strings.Contains(value, "882") || len(key) > 30 {
				t.Errorf("%s: %s", key, value)
			}
		}
	}
	if got := row1(t, reais, `"paymentData":{"receiver":null,"payer":"?"}`); got.Details["counterparty"] != "" {
		t.Errorf("%v", got.Details)
	}
}

func TestNullsMissingKeysAndUnknownOnesAreNoTrouble(t *testing.T) {
	bare := `{"id":"t1","amount":1,"type":"CREDIT","date":"2026-06-15T03:00:00.000Z","somethingNew":{"a":[1,2]},"status":"SOMETHING_NEW"}`
	got, err := readRow(jsontext.Value(bare)).transaction(reais)
	if err != nil || got.Currency != "BRL" || got.Pending || got.Account != theBank {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestARowThatIsNotUnderstoodIsSetAsideAlone(t *testing.T) {
	for members, want := range map[string]error{
		`"id":null`: bank.ErrNoID, `"id":7`: bank.ErrNoID, `"amount":null`: bank.ErrNoAmount, `"amount":"12"`: bank.ErrBadAmount, `"amount":1e999999`: bank.ErrBadAmount,
		`"type":"TRANSFER"`: errNoDirection, `"type":null`: errNoDirection, `"date":null`: bank.ErrBadDate, `"date":"0000-13-45"`: bank.ErrBadDate, `"accountId":"` + theCard + `"`: errForeign,
	} {
		if _, err := readRow(jsontext.Value(rowJSON("t1", theBank, members))).transaction(reais); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", members, err, want)
		}
	}
	if _, err := readRow(jsontext.Value(rowJSON("t1", theBank, `"currencyCode":null`))).transaction(bank.Account{ID: theBank}); !errors.Is(err, bank.ErrNoCurrency) {
		t.Error(err)
	}
	if _, err := readRow(jsontext.Value(`[1]`)).transaction(reais); !errors.Is(err, bank.ErrNotRow) {
		t.Error(err)
	}
	p, _ := itemWith(t, resultsJSON("null", rowJSON("t1", theBank), rowJSON("t2", theBank, `"amount":"?"`), `"odd"`, rowJSON("t3", theBank)), resultsJSON("null"))
	page, err := p.Changes(t.Context(), bank.From{Token: secret.New(theItem)})
	if err != nil || len(page.Changed) != 2 || len(page.Unusable) != 2 || page.Unusable[0].ID != "t2" {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestAnAccountIsKnownByItsNumberAndACardOnlyWithinItsItem(t *testing.T) {
	p, _ := scripted(t, map[string]http.HandlerFunc{"GET /items/" + theItem: says(itemJSON()), "GET /accounts": says(accountsJSON)})
	item, err := p.Item(t.Context(), secret.New(theItem))
	if err != nil {
		t.Fatal(err)
	}
	want := []bank.Account{
		{ID: theBank, Name: "Conta Corrente", Mask: "3450", Type: bank.Deposit, Subtype: "checking_account", Currency: "BRL"},
		{ID: theCard, Name: "Mastercard Black", Mask: "0597", Type: bank.Card, Subtype: "credit_card", Currency: "BRL"},
	}
	key := item.Accounts[0].Persistent
	item.Accounts[0].Persistent = ""
	if diff := cmp.Diff(want, item.Accounts); diff != "" || key == "" {
		t.Errorf("key %q: %s", key, diff)
	}
	if item.Institution.ID != "601" || item.Institution.Colour != "#ec7000" || item.Institution.Name != "Itaú" {
		t.Errorf("%+v", item.Institution)
	}
	again := strings.NewReplacer(theBank, "0d5a0000-0000-4000-8000-00000000000a", "0001/12345-0", "00011 2345-0", "416.799", "999.999").Replace(accountsJSON)
	p, _ = scripted(t, map[string]http.HandlerFunc{"GET /items/" + theItem: says(itemJSON()), "GET /accounts": says(again)})
	if item, err = p.Item(t.Context(), secret.New(theItem)); err != nil || item.Accounts[0].Persistent != key {
		t.Errorf("a new item gives the same account the key %q, want %q, %v", item.Accounts[0].Persistent, key, err)
	}
}

// The sets of both statuses are open. Only what the person alone can mend asks for the person.
func TestAStatusAsksForThePersonOnlyWhereNobodyElseCanHelp(t *testing.T) {
	now := time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct{ status, execution, members, want string }{
		"well":                         {"UPDATED", "SUCCESS", "", ""},
		"a part is missing":            {"UPDATED", "PARTIAL_SUCCESS", "", ""},
		"under way":                    {"UPDATING", "LOGIN_IN_PROGRESS", "", ""},
		"merging":                      {"MERGING", "MERGING", "", ""},
		"the password is wrong":        {"LOGIN_ERROR", "INVALID_CREDENTIALS", "", "INVALID_CREDENTIALS"},
		"the code is wrong":            {"LOGIN_ERROR", "INVALID_CREDENTIALS_MFA", "", "INVALID_CREDENTIALS_MFA"},
		"a login error without reason": {"LOGIN_ERROR", "", "", "LOGIN_ERROR"},
		"a login error with a new one": {"LOGIN_ERROR", "SOMETHING_NEW", "", "SOMETHING_NEW"},
		"a code is waited for":         {"WAITING_USER_INPUT", "WAITING_USER_INPUT", "", "WAITING_USER_INPUT"},
		"an action is waited for":      {"WAITING_USER_ACTION", "WAITING_USER_ACTION", "", "WAITING_USER_ACTION"},
		"the account is locked":        {"OUTDATED", "ACCOUNT_LOCKED", "", "ACCOUNT_LOCKED"},
		"the bank wants something":     {"OUTDATED", "ACCOUNT_NEEDS_ACTION", "", "ACCOUNT_NEEDS_ACTION"},
		"the password was reset":       {"LOGIN_ERROR", "ACCOUNT_CREDENTIALS_RESET", "", "ACCOUNT_CREDENTIALS_RESET"},
		"the consent was revoked":      {"OUTDATED", "USER_AUTHORIZATION_REVOKED", "", "USER_AUTHORIZATION_REVOKED"},
		"the consent was not given":    {"OUTDATED", "USER_AUTHORIZATION_NOT_GRANTED", "", "USER_AUTHORIZATION_NOT_GRANTED"},
		"nobody typed the code":        {"OUTDATED", "USER_INPUT_TIMEOUT", "", "USER_INPUT_TIMEOUT"},
		"the consent is on its way":    {"OUTDATED", "USER_AUTHORIZATION_PENDING", "", ""},
		"on its way, as a login error": {"LOGIN_ERROR", "USER_AUTHORIZATION_PENDING", "", ""},
		"the bank is down":             {"OUTDATED", "SITE_NOT_AVAILABLE", "", ""},
		"the line is down":             {"OUTDATED", "CONNECTION_ERROR", "", ""},
		"logged in elsewhere":          {"OUTDATED", "ALREADY_LOGGED_IN", "", ""},
		"a bug of theirs":              {"OUTDATED", "UNEXPECTED_ERROR", "", ""},
		"statuses that are new":        {"SOMETHING_NEW", "SOMETHING_NEWER", "", ""},
		"given up after failures":      {"OUTDATED", "SITE_NOT_AVAILABLE", `"nextAutoSyncAt":null,"lastUpdatedAt":"2026-06-17T10:00:00.000Z"`, "SYNC_STOPPED"},
		"failing since this morning":   {"OUTDATED", "SITE_NOT_AVAILABLE", `"nextAutoSyncAt":null`, ""},
		"well, and nothing planned":    {"UPDATED", "SUCCESS", `"nextAutoSyncAt":null`, ""},
		"stalled, and looks healthy":   {"UPDATED", "SUCCESS", `"nextAutoSyncAt":null,"lastUpdatedAt":"2026-06-17T10:00:00.000Z"`, "SYNC_STOPPED"},
		"late, and planned":            {"UPDATED", "SUCCESS", `"lastUpdatedAt":"2026-06-10T10:00:00.000Z"`, ""},
	} {
		members := []string{`"status":"` + c.status + `"`, `"executionStatus":"` + c.execution + `"`}
		if c.members != "" {
			members = append(members, c.members)
		}
		p, s := scripted(t, map[string]http.HandlerFunc{"GET /items/" + theItem: says(itemJSON(members...)), "GET /accounts": says(accountsJSON)})
		p.now = func() time.Time { return now }
		item, err := p.Item(t.Context(), secret.New(theItem))
		if err != nil || item.NeedsUser != c.want {
			t.Errorf("%s: %q, %v, want %q", name, item.NeedsUser, err, c.want)
		}
		if c.want == "" {
			continue
		}
		if _, err := p.Changes(t.Context(), bank.From{Token: secret.New(theItem)}); bank.KindOf(err) != bank.UserMustAct || bank.CodeOf(err) != c.want {
			t.Errorf("%s: reading it is %v", name, err)
		}
		if len(s.queries(transactionsPath)) > 0 {
			t.Errorf("%s: rows were read", name)
		}
	}
}

// What asks for a person says why, so that nobody is sent to sign in at a bank that has locked them out.
func TestEveryCodeThatAsksForThePersonSaysWhy(t *testing.T) {
	p, _ := scripted(t, nil)
	told := p.Front().Needs
	for _, code := range append(slices.Concat(waiting, personal), syncStopped) {
		if told[code] == "" {
			t.Errorf("%s says nothing", code)
		}
	}
	for code, r := range rules {
		// Of the update that another account answered, a person is told in the visit itself.
		if (r.kind == bank.UserMustAct || errors.Is(r.is, bank.ErrGone)) && told[code] == "" && code != "ITEM_ORIGINAL_CONNECTED_WITH_DIFFERENT_ACCOUNT" {
			t.Errorf("the error %s says nothing", code)
		}
	}
	for code, want := range map[string]bank.Need{
		"ACCOUNT_LOCKED": bank.Locked, "WAITING_USER_INPUT": bank.Confirmation, "USER_AUTHORIZATION_REVOKED": bank.NewConsent,
		"SYNC_STOPPED": bank.Stalled, "ITEM_NOT_FOUND": bank.NewConsent, "INVALID_CREDENTIALS": bank.NewCredentials, "SOMETHING_NEW": "",
	} {
		c := &bank.Connection{State: bank.NeedsUser, Reason: code}
		if got := bank.NeedOf(c, p); got != want {
			t.Errorf("%s: %q, want %q", code, got, want)
		}
		if c.State = bank.Active; bank.NeedOf(c, p) != "" || bank.NeedOf(c, nil) != "" {
			t.Errorf("%s asks for nobody", code)
		}
	}
}

func TestAConsentSaysWhenItEndsWhereItEnds(t *testing.T) {
	for value, want := range map[string]time.Time{
		`null`: {}, `"2026-12-01T00:00:00.000Z"`: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), `"soon"`: {}, `7`: {},
	} {
		p, _ := scripted(t, map[string]http.HandlerFunc{"GET /items/" + theItem: says(itemJSON(`"consentExpiresAt":` + value)), "GET /accounts": says(accountsJSON)})
		if item, err := p.Item(t.Context(), secret.New(theItem)); err != nil || !item.ConsentExpires.Equal(want) {
			t.Errorf("%s: %v, %v", value, item.ConsentExpires, err)
		}
	}
}

// Pluggy synchronises by itself. To ask it for that is limited to twenty calls a minute, refused where it is too soon, and
// forbidden in batches; the person alone makes and repairs items, in the widget.
func TestNothingThatIsReadAsksPluggyToSynchronise(t *testing.T) {
	d := newDoor(t)
	d.has("reference")
	d.s.answers["GET "+transactionsPath] = says(resultsJSON("null", rowJSON("t1", theBank)))
	begun := d.begin(t, bank.Begin{Token: secret.New(theItem)})
	d.outcome(t, begun, "user-1", theItem)
	at := ""
	for _, deep := range []bool{false, false, true} {
		_, at = follow(t, d.Pluggy, at, deep)
	}
	if _, err := d.Item(t.Context(), secret.New(theItem)); err != nil {
		t.Error(err)
	}
	items := 0
	for _, r := range d.s.asked {
		if strings.Contains(r.URL.Path, "/items") {
			items++
			if r.Method != http.MethodGet {
				t.Errorf("%s %s", r.Method, r.URL.Path)
			}
		}
	}
	if items < 4 {
		t.Errorf("items were asked for %d times", items)
	}
}

func TestACallThatComesTooOftenIsRepeatedWhenPluggySays(t *testing.T) {
	for wait, want := range map[string]time.Duration{"60": time.Minute, "0": 0, "soon": 0, "-5": 0, "9999999": 6 * time.Hour} {
		p, _ := scripted(t, map[string]http.HandlerFunc{"GET /items/" + theItem: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", wait)
			with(http.StatusTooManyRequests, `{"message":"Too many requests. Please try again later (see Retry-After header in seconds)","code":429}`)(w, r)
		}})
		_, err := p.Item(t.Context(), secret.New(theItem))
		var e *bank.Error
		if kind := map[bool]bank.Kind{true: bank.RetryAfter, false: bank.Retry}[want > 0]; !errors.As(err, &e) || e.Kind != kind || e.After != want {
			t.Errorf("%s: %v", wait, err)
		}
	}
}

// A scheduled payment may stand beside the payment itself, and two coffees are two coffees.
func TestRowsThatAreAlikeAreAllTold(t *testing.T) {
	p, _ := itemWith(t, resultsJSON("null", rowJSON("t1", theBank), rowJSON("t2", theBank), rowJSON("t3", theBank, `"status":"PENDING"`)), resultsJSON("null"))
	pages, _ := follow(t, p, "", false)
	if got := names(pages); len(got) != 3 {
		t.Errorf("%v", got)
	}
}

func TestWhatIsGoneAlreadyIsRemoved(t *testing.T) {
	p, _ := scripted(t, map[string]http.HandlerFunc{"DELETE /items/" + theItem: with(404, `{"code":404,"codeDescription":"ITEM_NOT_FOUND"}`)})
	if err := p.Remove(t.Context(), secret.New(theItem)); err != nil {
		t.Error(err)
	}
	p, _ = scripted(t, map[string]http.HandlerFunc{"DELETE /items/" + theItem: with(404, `<html>a gateway's page</html>`)})
	if err := p.Remove(t.Context(), secret.New(theItem)); err == nil {
		t.Error("a gateway's page passes for a removed consent")
	}
}

func TestBanksAreShownWithTheirHealthAndTestBanksNotInProduction(t *testing.T) {
	const connectors = `{"results":[
		{"id":601,"name":"Itaú","primaryColor":"EC7000","institutionUrl":"https://www.itau.com.br","imageUrl":"https://cdn.pluggy.ai/i.svg","country":"BR","health":{"status":"ONLINE","stage":null}},
		{"id":602,"name":"Unsteady","primaryColor":"#xyz","institutionUrl":"javascript:x","imageUrl":"http://cdn.pluggy.ai/i.svg","country":"BR","health":{"status":"UNSTABLE"}},
		{"id":603,"name":"Down","country":"BR","health":{"status":"OFFLINE"}},{"id":604,"name":"New","country":"BR","health":{"status":"SOMETHING_NEW"},"products":["TRANSACTIONS"]},
		{"id":200,"name":"MeuPluggy","country":"BR","isOpenFinance":false},{"id":0,"name":"Pluggy Bank","country":"BR","isSandbox":true},{"id":700,"name":"Banco Porteño","country":"AR"},{"id":701,"name":"Only identity","country":"BR","products":["IDENTITY"]},
		{"id":"../x","name":"Odd","country":"BR"},{"id":702,"name":null,"country":"BR"}]}`
	p, s := scripted(t, map[string]http.HandlerFunc{"GET /connectors": says(connectors)})
	banks, err := p.Institutions(t.Context(), "BR", "banco")
	want := []bank.Institution{
		{ID: "601", Name: "Itaú", Country: "BR", URL: "https://www.itau.com.br", Colour: "#ec7000", Logo: "https://cdn.pluggy.ai/i.svg"},
		{ID: "602", Name: "Unsteady", Country: "BR", Health: "degraded"},
		{ID: "603", Name: "Down", Country: "BR", Health: "down"},
		{ID: "604", Name: "New", Country: "BR"},
		{ID: "200", Name: "MeuPluggy", Country: "BR"},
		{ID: "0", Name: "Pluggy Bank", Country: "BR"},
	}
	if diff := cmp.Diff(want, banks); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
	if q := s.queries("/connectors")[0]; !strings.Contains(q, "name=banco") || !strings.Contains(q, "sandbox=true") {
		t.Errorf("asked %s", q)
	}
	p.environment = Production
	banks, err = p.Institutions(t.Context(), "BR", "banco")
	if err != nil || slices.ContainsFunc(banks, func(b bank.Institution) bool { return b.ID == "0" || b.ID == "200" }) || strings.Contains(s.queries("/connectors")[1], "sandbox") {
		t.Errorf("in production: %v, %v", banks, err)
	}
}
