package plaid

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	plaidgo "github.com/plaid/plaid-go/v20/plaid"
)

func country(code plaidgo.CountryCode) func(*plaidgo.LinkTokenCreateRequest) {
	return func(r *plaidgo.LinkTokenCreateRequest) { r.CountryCodes = []plaidgo.CountryCode{code} }
}

func TestThePageConnectsAtEveryKindOfBank(t *testing.T) {
	r := newRig(t, Options{}, false)
	for _, row := range []struct {
		institution string
		country     plaidgo.CountryCode
		consent     bool
	}{
		{"ins_109508", "US", false},
		{"ins_127287", "US", true},
		{"ins_43", "CA", false},
		{"ins_117650", "GB", true},
		{"ins_907001", "DE", true},
		{"ins_919000", "FI", true},
		{"ins_132363", "US", false},
	} {
		token := r.linkToken(t, country(row.country))
		r.visit(t, token.GetHostedLinkUrl(), row.institution)
		told := r.all(t, "ITEM_ADD_RESULT", "SESSION_FINISHED")
		added, done := told["ITEM_ADD_RESULT"], told["SESSION_FINISHED"]
		public := added.Fields["public_token"].(string)
		if done.Fields["status"] != "SUCCESS" || done.Fields["public_tokens"].([]any)[0] != public || done.Fields["link_token"] != token.LinkToken || done.Fields["item_id"] != nil {
			t.Errorf("%s: %v", row.institution, done.Fields)
		}
		access, _ := r.itemByExchange(t, public)
		_, out := r.post(t, "/item/get", `{"access_token":"`+access+`"}`)
		item := out["item"].(map[string]any)
		if item["institution_id"] != row.institution || (item["consent_expiration_time"] != nil) != row.consent {
			t.Errorf("%s: %v", row.institution, item)
		}
	}
}

func TestThePageShowsWhatTheBankRefuses(t *testing.T) {
	r := newRig(t, Options{}, false)
	for _, row := range []struct{ institution, user, password, code string }{
		{"ins_109508", "user_good", "wrong", "INVALID_CREDENTIALS"},
		{"ins_109508", "stranger", "pass_good", "INVALID_CREDENTIALS"},
		{"ins_109508", "user_good", "error_ITEM_LOCKED", "ITEM_LOCKED"},
		{"ins_127287", "user_good", "error_USER_SETUP_REQUIRED", "USER_SETUP_REQUIRED"},
		{"ins_127287", "user_transactions_dynamic", "any", "INVALID_CREDENTIALS"},
		{"ins_109508", "user_custom", "{}", "NO_ACCOUNTS"},
		{"ins_109508", "user_custom", "nonsense", "INVALID_CREDENTIALS"},
		{"ins_132361", "user_good", "pass_good", "INSTITUTION_DOWN"},
		{"ins_133402", "user_good", "pass_good", "INSTITUTION_NO_LONGER_SUPPORTED"},
		{"ins_43", "user_good", "pass_good", "INVALID_INSTITUTION"}, // Canadian, and only the United States were asked for
	} {
		token := r.linkToken(t, nil)
		_, err := Visit(t.Context(), http.DefaultClient, token.GetHostedLinkUrl(), row.institution, row.user, row.password)
		if err == nil || !strings.Contains(err.Error(), row.code) {
			t.Errorf("%+v: %v", row, err)
		}
	}
}

func TestCancellingAlsoEndsAtTheCompletionPage(t *testing.T) {
	r := newRig(t, Options{}, false)
	token := r.linkToken(t, nil)
	to, err := Cancel(t.Context(), http.DefaultClient, token.GetHostedLinkUrl())
	if err != nil || to != "https://portal.example/connect/complete" {
		t.Fatalf("led to %q: %v", to, err)
	}
	if in := r.Next(t, "SESSION_FINISHED"); in.Fields["status"] != "EXITED" || len(in.Fields["public_tokens"].([]any)) != 0 {
		t.Errorf("%v", in.Fields)
	}
	got := must[plaidgo.LinkTokenGetResponse](t)(r.official().LinkTokenGet(t.Context()).LinkTokenGetRequest(*plaidgo.NewLinkTokenGetRequest(token.LinkToken)).Execute())
	if s := got.GetLinkSessions()[0]; s.OnSuccess.Get() != nil || s.OnExit.Get() == nil || s.FinishedAt.Get() == nil {
		t.Errorf("%+v", s)
	}
	// The same link can be opened again, as in Plaid's Sandbox.
	r.visit(t, token.GetHostedLinkUrl(), "ins_109508")
}

// browser posts a form at a page and returns the next page.
func browse(t *testing.T, at string, form url.Values) (now, text string) {
	t.Helper()
	resp, err := http.Get(at)
	if form != nil {
		resp, err = http.PostForm(at, form)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Request.URL.String(), string(body)
}

var checkbox = regexp.MustCompile(`name="account" value="([^"]+)"( checked)?> ([^<]*)</label>`)

func TestABrowserSearchesChoosesAccountsAndComesBackForMore(t *testing.T) {
	r := newRig(t, Options{}, false)
	noRedirect := func(req *plaidgo.LinkTokenCreateRequest) { req.SetHostedLink(plaidgo.LinkTokenCreateHostedLink{}) }
	token := r.linkToken(t, func(req *plaidgo.LinkTokenCreateRequest) {
		noRedirect(req)
		req.SetAccountFilters(plaidgo.LinkTokenAccountFilters{
			Depository: &plaidgo.DepositoryFilter{AccountSubtypes: []plaidgo.DepositoryAccountSubtype{"all"}},
			Credit:     &plaidgo.CreditFilter{AccountSubtypes: []plaidgo.CreditAccountSubtype{"all"}},
		})
	})
	at, text := browse(t, token.GetHostedLinkUrl(), nil)
	if _, found := browse(t, at+"&q=gingham", nil); !strings.Contains(found, "First Gingham Credit Union") || strings.Contains(found, "Tartan") {
		t.Errorf("search shows %s", found)
	}
	if strings.Contains(text, "<script") {
		t.Error("the page has a script")
	}
	at, _ = browse(t, at, url.Values{"step": {"institution"}, "institution": {"ins_109508"}})
	at, text = browse(t, at, url.Values{"step": {"credentials"}, "username": {"user_good"}, "password": {"pass_good"}})
	boxes := checkbox.FindAllStringSubmatch(text, -1)
	if len(boxes) != 5 || strings.Contains(text, "401k") {
		t.Fatalf("%d accounts are offered", len(boxes))
	}
	at, text = browse(t, at, url.Values{"step": {"accounts"}})
	if !strings.Contains(text, "NO_ACCOUNTS") {
		t.Error("choosing nothing is not refused")
	}
	if _, text = browse(t, at, url.Values{"step": {"accounts"}, "account": {boxes[0][1], boxes[3][1]}}); !strings.Contains(text, "close this window") {
		t.Fatalf("the page ends with %s", text)
	}
	access, _ := r.itemByExchange(t, r.Next(t, "ITEM_ADD_RESULT").Fields["public_token"].(string))
	if masks := r.masks(t, access); !slices.Equal(masks, []string{"0000", "3333"}) {
		t.Fatalf("the item shows %v", masks)
	}

	token = r.linkToken(t, func(req *plaidgo.LinkTokenCreateRequest) {
		noRedirect(req)
		req.Products, req.Transactions = nil, nil
		req.SetAccessToken(access)
		req.SetUpdate(plaidgo.LinkTokenCreateRequestUpdate{AccountSelectionEnabled: plaidgo.PtrBool(true)})
	})
	at, text = browse(t, token.GetHostedLinkUrl(), nil)
	if !strings.Contains(text, "Sign in at First Platypus Bank") {
		t.Fatal("update mode asks for the bank")
	}
	at, text = browse(t, at, url.Values{"step": {"credentials"}, "username": {"user_good+other"}, "password": {"pass_good"}})
	if !strings.Contains(text, "INVALID_UPDATED_USERNAME") {
		t.Error("another person may repair the item")
	}
	at, text = browse(t, at, url.Values{"step": {"credentials"}, "username": {"user_good"}, "password": {"pass_good"}})
	checked := 0
	for _, b := range checkbox.FindAllStringSubmatch(text, -1) {
		if b[2] != "" {
			checked++
		}
	}
	if checked != 2 {
		t.Errorf("%d accounts are checked", checked)
	}
	browse(t, at, url.Values{"step": {"accounts"}, "account": {boxes[1][1], boxes[3][1]}})
	if masks := r.masks(t, access); !slices.Equal(masks, []string{"3333", "1111"}) {
		t.Fatalf("the item shows %v", masks)
	}
}

func (r *rig) masks(t *testing.T, access string) (masks []string) {
	t.Helper()
	_, out := r.post(t, "/accounts/get", `{"access_token":"`+access+`"}`)
	for _, a := range out["accounts"].([]any) {
		masks = append(masks, a.(map[string]any)["mask"].(string))
	}
	return masks
}

func TestALinkThatIsOverOrAFormOutOfPlaceChangesNothing(t *testing.T) {
	now := noon
	r := newRig(t, Options{Config: Config{Now: func() time.Time { return now }}}, false)
	token := r.linkToken(t, nil)
	at, _ := browse(t, token.GetHostedLinkUrl(), nil)
	for _, row := range []struct {
		at     string
		form   url.Values
		status int
	}{
		{at, url.Values{"step": {"accounts"}, "all": {"1"}}, 409},
		{at, url.Values{"step": {"nonsense"}}, 409},
		{token.GetHostedLinkUrl() + "?session=other", url.Values{"exit": {"exit"}}, 409},
		{r.url + "/link/other?session=x", url.Values{"exit": {"exit"}}, 410},
	} {
		resp, err := http.PostForm(row.at, row.form)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != row.status {
			t.Errorf("%s %v: %d", row.at, row.form, resp.StatusCode)
		}
	}
	now = noon.Add(hostedLife)
	if _, err := Visit(t.Context(), http.DefaultClient, token.GetHostedLinkUrl(), "ins_109508", "user_good", "pass_good"); err == nil {
		t.Error("an expired link can be used")
	}
	if len(r.bank.items) > 0 {
		t.Error("an item was made")
	}
	for after, want := range map[time.Duration]string{hostedLife + resultLife: "", hostedLife + resultLife + time.Second: "INVALID_LINK_TOKEN"} {
		now = noon.Add(after)
		_, out := r.post(t, "/link/token/get", `{"link_token":"`+token.LinkToken+`"}`)
		if got, _ := out["error_code"].(string); got != want {
			t.Errorf("%s after the link was made: %q", after, got)
		}
	}
}
