package plaid

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	plaidgo "github.com/plaid/plaid-go/v20/plaid"
)

const goodLink = `{"client_name":"x","language":"en","country_codes":["US"],"user":{"client_user_id":"u"},"products":["transactions"]%s}`

// sandboxItem makes an item without the page.
func (r *rig) sandboxItem(t testing.TB, institution, user string) (access, item string) {
	t.Helper()
	_, out := r.post(t, "/sandbox/public_token/create", fmt.Sprintf(
		`{"institution_id":%q,"initial_products":["transactions"],"options":{"webhook":%q,"override_username":%q,"override_password":"pass_good","transactions":{"days_requested":730}}}`,
		institution, r.URL, user))
	public, _ := out["public_token"].(string)
	_, out = r.post(t, "/item/public_token/exchange", fmt.Sprintf(`{"public_token":%q}`, public))
	access, _ = out["access_token"].(string)
	item, _ = out["item_id"].(string)
	if access == "" {
		t.Fatalf("no item: %v", out)
	}
	return access, item
}

func TestBadRequestsAreRefusedWithPlaidsOwnCodes(t *testing.T) {
	r := newRig(t, Options{Config: Config{RedirectURIs: []string{"https://portal.example/oauth"}}}, true)
	access, _ := r.sandboxItem(t, "ins_109508", "user_good")
	with := func(member string) string { return fmt.Sprintf(goodLink, ","+member) }
	sync := func(member string) string { return `{"access_token":"` + access + `",` + member + `}` }
	for _, row := range []struct{ path, body, code, says string }{
		{"/nothing", `{}`, "NOT_FOUND", ""},
		{"/item/get", `{`, "INVALID_BODY", ""},
		{"/item/get", `[]`, "INVALID_BODY", ""},
		{"/item/get", `null`, "INVALID_BODY", ""},
		{"/item/get", `{"access_token":"a","access_token":"b"}`, "INVALID_BODY", ""},
		{"/item/get", `{"access_token":"a"} {}`, "INVALID_BODY", ""},
		{"/item/get", `{}`, "MISSING_FIELDS", "access_token"},
		{"/item/get", `{"access_token":null}`, "MISSING_FIELDS", "access_token"},
		{"/item/get", `{"access_token":7}`, "INVALID_FIELD", "access_token"},
		{"/item/get", `{"access_token":"access-sandbox-x"}`, "INVALID_ACCESS_TOKEN", "expected format"},
		{"/item/get", `{"access_token":"access-sandbox-00000000-0000-4000-8000-000000000000"}`, "INVALID_ACCESS_TOKEN", "could not find"},
		{"/item/get", sync(`"Access_Token":"x"`), "UNKNOWN_FIELDS", "Access_Token"},
		{"/item/get", sync(`"secret":"wrong"`), "", ""}, // the header counts
		{"/link/token/create", `{"client_name":"x","language":"en"}`, "MISSING_FIELDS", "country_codes, user"},
		{"/link/token/create", with(`"colour":"red"`), "UNKNOWN_FIELDS", "colour"},
		{"/link/token/create", with(`"hosted_link":{"colour":"red"}`), "UNKNOWN_FIELDS", "hosted_link.colour"},
		{"/link/token/create", with(`"transactions":{"days_requested":731}`), "INVALID_FIELD", "days_requested"},
		{"/link/token/create", with(`"redirect_uri":"http://portal.example/oauth"`), "INVALID_FIELD", "https"},
		{"/link/token/create", with(`"redirect_uri":"https://portal.example/oauth?x=1"`), "INVALID_FIELD", "query"},
		{"/link/token/create", with(`"redirect_uri":"https://portal.example/other"`), "INVALID_FIELD", "dashboard"},
		{"/link/token/create", with(`"redirect_uri":"https://portal.example/oauth"`), "", ""},
		{"/link/token/create", with(`"webhook":"portal"`), "INVALID_FIELD", "webhook"},
		{"/link/token/create", with(`"institution_id":"ins_56"`), "INVALID_INSTITUTION", ""},
		{"/link/token/create", with(`"access_token":"` + access + `"`), "INVALID_FIELD", "products"},
		{"/link/token/create", with(`"hosted_link":{"url_lifetime_seconds":9999999}`), "INVALID_FIELD", "url_lifetime_seconds"},
		{"/link/token/create", strings.Replace(fmt.Sprintf(goodLink, ""), `"u"`, `"a@b.example"`, 1), "INVALID_FIELD", "email"},
		{"/link/token/create", strings.Replace(fmt.Sprintf(goodLink, ""), `"u"`, `"+1 415 555 0123"`, 1), "INVALID_FIELD", "phone"},
		{"/link/token/create", strings.Replace(fmt.Sprintf(goodLink, ""), `"US"`, `"BR"`, 1), "INVALID_FIELD", "country_codes"},
		{"/link/token/create", strings.Replace(fmt.Sprintf(goodLink, ""), `"US"`, ``, 1), "INVALID_FIELD", "country_codes"},
		{"/link/token/create", strings.Replace(fmt.Sprintf(goodLink, ""), `"en"`, `"xx"`, 1), "INVALID_FIELD", "language"},
		{"/link/token/create", strings.Replace(fmt.Sprintf(goodLink, ""), `["transactions"]`, `[]`, 1), "INVALID_FIELD", "products"},
		{"/link/token/get", `{"link_token":"link-sandbox-x"}`, "INVALID_LINK_TOKEN", ""},
		{"/item/public_token/exchange", `{"public_token":"public-sandbox-x"}`, "INVALID_PUBLIC_TOKEN", ""},
		{"/transactions/sync", sync(`"count":501`), "INVALID_FIELD", "count"},
		{"/transactions/sync", sync(`"count":0`), "INVALID_FIELD", "count"},
		{"/transactions/sync", sync(`"count":1.5`), "INVALID_FIELD", "count"},
		{"/transactions/sync", sync(`"cursor":"nonsense"`), "INVALID_FIELD", "cursor not associated with access_token"},
		{"/transactions/sync", sync(`"options":{"account_id":"x"}`), "UNKNOWN_FIELDS", "options.account_id"},
		{"/accounts/get", sync(`"options":{"account_ids":["x"]}`), "INVALID_ACCOUNT_ID", ""},
		{"/institutions/get", `{"count":501,"offset":0,"country_codes":["US"]}`, "INVALID_FIELD", "count"},
		{"/institutions/get", `{"count":5,"country_codes":["US"]}`, "MISSING_FIELDS", "offset"},
		{"/institutions/search", `{"query":"","country_codes":["US"]}`, "INVALID_FIELD", "query"},
		{"/institutions/get_by_id", `{"institution_id":"ins_43","country_codes":["US"]}`, "INVALID_INSTITUTION", ""},
		{"/webhook_verification_key/get", `{"key_id":"x"}`, "INVALID_WEBHOOK_VERIFICATION_KEY_ID", ""},
		{"/sandbox/public_token/create", `{"institution_id":"ins_0","initial_products":["transactions"]}`, "INVALID_INSTITUTION", ""},
		{"/sandbox/public_token/create", `{"institution_id":"ins_132361","initial_products":["transactions"]}`, "INSTITUTION_DOWN", ""},
		{"/sandbox/item/fire_webhook", sync(`"webhook_code":"PENDING_EXPIRATION"`), "INVALID_FIELD", "webhook_code"},
		{"/sandbox/item/fire_webhook", sync(`"webhook_code":"PRODUCT_READY"`), "SANDBOX_PRODUCT_NOT_ENABLED", ""},
		{"/sandbox/item/fire_webhook", sync(`"webhook_code":"DEFAULT_UPDATE"`), "", ""},
		{"/sandbox/transactions/create", sync(`"transactions":[]`), "INVALID_FIELD", "user_transactions_dynamic"},
	} {
		status, out := r.post(t, row.path, row.body)
		got, _ := out["error_code"].(string)
		message, _ := out["error_message"].(string)
		if id, _ := out["request_id"].(string); len(id) != 15 {
			t.Errorf("%s %s: request_id %q", row.path, row.body, id)
		}
		want := map[string]int{"": 200, "NOT_FOUND": 404}[row.code]
		if want == 0 {
			want = 400
		}
		if got != row.code || status != want || !strings.Contains(message, row.says) {
			t.Errorf("%s %s: %d %s %q, want %d %s …%s…", row.path, row.body, status, got, message, want, row.code, row.says)
		}
	}
}

func TestCredentialsAreCheckedAndTokensBelongToTheirClient(t *testing.T) {
	r := newRig(t, Options{}, true)
	access, _ := r.sandboxItem(t, "ins_109508", "user_good")
	for _, row := range []struct{ header, body, code string }{
		{"", ``, "INVALID_API_KEYS"},
		{"client-1:wrong", ``, "INVALID_API_KEYS"},
		{"nobody:", ``, "INVALID_API_KEYS"},
		{"client-1:sandbox-secret", ``, ""},
		{"", `"client_id":"client-1","secret":"sandbox-secret",`, ""},
		{"", `"client_id":"client-1","secret":7,`, "INVALID_API_KEYS"},
		{"client-2:other", ``, "INVALID_ACCESS_TOKEN"},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/item/get", strings.NewReader(`{`+row.body+`"access_token":"`+access+`"}`))
		req.Header.Set("Content-Type", "application/json")
		if id, secret, ok := strings.Cut(row.header, ":"); ok {
			req.Header.Set("PLAID-CLIENT-ID", id)
			req.Header.Set("PLAID-SECRET", secret)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		var out struct {
			Code string `json:"error_code"`
		}
		if json.Unmarshal(body, &out) != nil || out.Code != row.code {
			t.Errorf("%q %q: %s, want %q", row.header, row.body, body, row.code)
		}
	}
}

func TestSyncAnswersWhatTheOfficialStructsLose(t *testing.T) {
	r := newRig(t, Options{}, false)
	access, item := r.sandboxItem(t, "ins_109508", "user_good")
	_, out := r.post(t, "/accounts/get", `{"access_token":"`+access+`"}`)
	account := out["accounts"].([]any)[0].(map[string]any)["account_id"].(string)
	_, first := r.post(t, "/transactions/sync", `{"access_token":"`+access+`","count":500}`)
	for first["has_more"] == true {
		_, first = r.post(t, "/transactions/sync", `{"access_token":"`+access+`","count":500,"cursor":"`+first["next_cursor"].(string)+`"}`)
	}
	_, rows := r.post(t, "/_sim/transactions", `{"account":"`+account+`","transactions":[{"amount":"90071992547409931.07","description":"a","pending":true}]}`)
	_, page := r.post(t, "/transactions/sync", `{"access_token":"`+access+`","cursor":"`+first["next_cursor"].(string)+`"}`)
	added := page["added"].([]any)[0].(map[string]any)
	if added["amount"].(json.Number) != "90071992547409931.07" {
		t.Errorf("the amount became %v", added["amount"])
	}
	if page["transactions_update_status"] != "HISTORICAL_UPDATE_COMPLETE" {
		t.Errorf("status %v", page["transactions_update_status"])
	}
	if list := page["accounts"].([]any); len(list) != 1 || list[0].(map[string]any)["account_id"] != account {
		t.Errorf("accounts %v", list)
	}
	r.post(t, "/_sim/transactions/vanish", `{"id":"`+rows["rows"].([]any)[0].(string)+`"}`)
	_, page = r.post(t, "/transactions/sync", `{"access_token":"`+access+`","cursor":"`+page["next_cursor"].(string)+`"}`)
	gone := page["removed"].([]any)[0].(map[string]any)
	if gone["account_id"] != account || gone["transaction_id"] != added["transaction_id"] {
		t.Errorf("removed %v of item %s", gone, item)
	}
}

func TestRateLimitsAreThoseOfTheSandboxAndOffByDefault(t *testing.T) {
	for _, on := range []bool{false, true} {
		r := newRig(t, Options{RateLimits: on}, false)
		refused := 0
		for range 25 { // two minutes may be touched
			if status, out := r.post(t, "/institutions/get", `{"count":1,"offset":0,"country_codes":["US"]}`); status == 429 {
				refused++
				if out["error_type"] != "RATE_LIMIT_EXCEEDED" || out["error_code"] != "INSTITUTIONS_GET_LIMIT" {
					t.Errorf("refused with %v", out)
				}
			}
		}
		if on != (refused >= 5) || !on && refused > 0 {
			t.Errorf("limits %t: %d refused", on, refused)
		}
	}
}

func TestFaultsDoWhatTheySay(t *testing.T) {
	r := newRig(t, Options{}, false)
	access, _ := r.sandboxItem(t, "ins_109508", "user_good")
	body := `{"access_token":"` + access + `"}`
	get := func() (int, error) {
		_, resp, err := r.official().ItemGet(t.Context()).ItemGetRequest(*plaidgo.NewItemGetRequest(access)).Execute()
		if resp == nil {
			return 0, err
		}
		return resp.StatusCode, err
	}
	for _, row := range []struct {
		fault  Fault
		status int
	}{
		{Fault{Path: "/item/get", Kind: FaultError, Code: "RATE_LIMIT", Times: 1}, 429},
		{Fault{Path: "/item/get", Kind: FaultError, Times: 1}, 500},
		{Fault{Path: "/item/", Kind: FaultError, Status: 503, Times: 1}, 503},
		{Fault{Path: "/item/get", Method: "GET", Kind: FaultError, Times: 1}, 200},
		{Fault{Path: "/item/get", Kind: FaultHTML, Times: 1}, 502},
		{Fault{Kind: FaultSlow, Times: 1, DelayMillis: 5}, 200},
		{Fault{Path: "/accounts/get", Kind: FaultHTML, Times: 1}, 200},
	} {
		r.AddFault(row.fault)
		if status, _ := get(); status != row.status {
			t.Errorf("%+v: %d", row.fault, status)
		}
		r.ClearFaults()
		if status, err := get(); status != 200 {
			t.Errorf("after %+v: %d %v", row.fault, status, err)
		}
	}
	r.AddFault(Fault{Path: "/item/remove", Kind: FaultError, Times: 1, After: true})
	if status, _ := r.post(t, "/item/remove", body); status != 500 {
		t.Errorf("remove that takes effect and fails: %d", status)
	}
	if _, out := r.post(t, "/item/remove", body); out["error_code"] != "ITEM_NOT_FOUND" {
		t.Errorf("it did not take effect: %v", out)
	}
}

func TestAResetBreaksTheConnection(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	s.AddFault(Fault{Kind: FaultReset})
	resp, err := http.Post(server.URL+"/item/get", "application/json", strings.NewReader(`{}`))
	if err == nil {
		resp.Body.Close()
		t.Fatal("an answer came")
	}
}

func TestEveryCountryHasBanksWithLogos(t *testing.T) {
	r := newRig(t, Options{}, false)
	for _, country := range Countries {
		_, out := r.post(t, "/institutions/get", `{"count":500,"offset":0,"country_codes":["`+country+`"],"options":{"include_optional_metadata":true,"products":["transactions"]}}`)
		list := out["institutions"].([]any)
		if len(list) < 5 || out["total"].(json.Number).String() != fmt.Sprint(len(list)) {
			t.Errorf("%s has %d banks of %v", country, len(list), out["total"])
		}
		if logo, _ := list[0].(map[string]any)["logo"].(string); !strings.HasPrefix(logo, "iVBORw0KGgo") {
			t.Errorf("%s: the logo is no PNG", country)
		}
	}
	_, page := r.post(t, "/institutions/get", `{"count":3,"offset":500,"country_codes":["US"]}`)
	if list := page["institutions"].([]any); len(list) != 0 {
		t.Errorf("a page after the end holds %d", len(list))
	}
	_, found := r.post(t, "/institutions/search", `{"query":"plat","products":["transactions"],"country_codes":["US"],"options":{"include_optional_metadata":true}}`)
	var names []string
	for _, i := range found["institutions"].([]any) {
		names = append(names, i.(map[string]any)["name"].(string))
	}
	if !slices.Contains(names, "First Platypus Bank") || !slices.Contains(names, "Platypus OAuth Bank") {
		t.Errorf("found %v", names)
	}
	_, one := r.post(t, "/institutions/get_by_id", `{"institution_id":"ins_127287","country_codes":["US"]}`)
	if i := one["institution"].(map[string]any); i["oauth"] != true || i["logo"] != nil {
		t.Errorf("ins_127287 is %v", i)
	}
}

// complaints counts what a contract check would fail a test with.
type complaints struct {
	testing.TB
	n int
}

func (c *complaints) Errorf(string, ...any) { c.n++ }

func TestTheContractCheckCanFail(t *testing.T) {
	for name, row := range map[string]struct{ path, request, answer string }{
		"request without a token": {"/item/get", `{}`, `{"item":null,"request_id":"r"}`},
		"answer without a member": {"/transactions/sync", `{"access_token":"a"}`, `{"added":[],"modified":[],"removed":[],"next_cursor":"","request_id":"r"}`},
		"answer of a wrong type":  {"/item/remove", `{"access_token":"a"}`, `{"request_id":1}`},
		"count out of bounds":     {"/transactions/sync", `{"access_token":"a","count":501}`, `{"added":[],"modified":[],"removed":[],"has_more":false,"next_cursor":"","request_id":"r"}`},
	} {
		c := &complaints{TB: t}
		h := held{t: c, next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, row.answer)
		})}
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, row.path, strings.NewReader(row.request)))
		if c.n == 0 {
			t.Errorf("%s: nothing was noticed", name)
		}
	}
}

func TestAFailureOutsidePlaidsTableIsAnInternalError(t *testing.T) {
	s, err := New(Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.answer(w, nil, errors.New("disk full"))
	if w.Code != 500 || !strings.Contains(w.Body.String(), "INTERNAL_SERVER_ERROR") || strings.Contains(w.Body.String(), "disk") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
