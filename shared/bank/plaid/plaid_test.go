package plaid

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

const itemToken = "access-sandbox-0c1e2d3f-canary"

func TestEveryFaultOfAConfigurationIsNamed(t *testing.T) {
	_, err := New(Config{Environment: "development", BaseURL: "http://plaid.example", ClientName: strings.Repeat("x", 31)})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"development", "base URL", "client id", "secret", "1 to 30"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing is said of %q: %v", want, err)
		}
	}
}

func TestCredentialsTravelEncryptedOrNowhere(t *testing.T) {
	for base, ok := range map[string]bool{
		"": true, "https://plaid.example/prefix": true, "http://127.0.0.1:8080": true, "http://localhost:8080": true, "http://[::1]:80": true,
		"http://10.0.0.1": false, "http://localhost.example": false, "ftp://localhost": false, "localhost:8080": false, "%": false,
	} {
		_, err := New(Config{Environment: Production, BaseURL: base, ClientID: "c", Secret: secret.New("s"), ClientName: "n"})
		if (err == nil) != ok {
			t.Errorf("%q: %v", base, err)
		}
	}
}

func TestTheSecretDoesNotShowInAnyPrintOfTheAdapter(t *testing.T) {
	p, _ := open(t, nil)
	encoded, _ := json.Marshal(p)
	for _, shown := range []string{fmt.Sprintf("%+v", p), fmt.Sprintf("%#v", *p.api), fmt.Sprint(p.slow), string(encoded)} {
		if strings.Contains(shown, "canary") {
			t.Errorf("the secret shows: %s", shown)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	reached := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer other.Close()
	away := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}
	p, _ := open(t, map[string]http.HandlerFunc{"/item/get": away, "/transactions/sync": away})
	_, itemErr := p.Item(t.Context(), secret.New(itemToken))
	_, syncErr := p.Changes(t.Context(), bank.From{Token: secret.New(itemToken)})
	if reached {
		t.Fatal("the credentials went to another host")
	}
	if bank.KindOf(itemErr) != bank.OurFault || bank.KindOf(syncErr) != bank.OurFault {
		t.Errorf("a redirect is a wrong configuration: %v, %v", itemErr, syncErr)
	}
}

func TestAnAnswerThatIsTooLongIsRefusedNotCut(t *testing.T) {
	endless := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"item":"`)
		filler := bytes.Repeat([]byte("x"), 1<<20)
		for range 20 {
			if _, err := w.Write(filler); err != nil {
				return
			}
		}
	}
	p, _ := open(t, map[string]http.HandlerFunc{"/item/get": endless, "/transactions/sync": endless})
	_, itemErr := p.Item(t.Context(), secret.New(itemToken))
	_, syncErr := p.Changes(t.Context(), bank.From{Token: secret.New(itemToken)})
	for _, err := range []error{itemErr, syncErr} {
		if !errors.Is(err, errTooLong) || bank.KindOf(err) != bank.Retry {
			t.Errorf("got %v", err)
		}
	}
}

func TestOneByteWithinTheBoundPasses(t *testing.T) {
	for _, n := range []int{9, 10, 11} {
		_, err := io.ReadAll(&bounded{ReadCloser: io.NopCloser(strings.NewReader(strings.Repeat("x", n))), left: 10})
		if (err != nil) != (n > 10) {
			t.Errorf("%d bytes of 10: %v", n, err)
		}
	}
}

func TestATokenOfAnotherEnvironmentIsNeverSent(t *testing.T) {
	p, server := open(t, nil)
	token := secret.New("access-production-5f3a-canary")
	_, itemErr := p.Item(t.Context(), token)
	_, syncErr := p.Changes(t.Context(), bank.From{Token: token})
	_, beginErr := p.Begin(t.Context(), bank.Begin{Country: "US", Token: token})
	for _, err := range []error{itemErr, syncErr, beginErr, p.Remove(t.Context(), token)} {
		if bank.KindOf(err) != bank.OurFault || errors.Is(err, bank.ErrGone) || err == nil {
			t.Errorf("a live item would be given up: %v", err)
		}
	}
	if len(server.asked) > 0 {
		t.Errorf("asked %v", server.asked)
	}
}

// Every row of the table, as Plaid would send it.
func TestEveryErrorCodeHasItsKind(t *testing.T) {
	const gone, mutated, cursor = "gone", "mutated", "cursor"
	for _, row := range []struct {
		status           int
		family, code     string
		kind             bank.Kind
		is               string
		message, headers string
	}{
		{400, "TRANSACTIONS_ERROR", "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION", bank.Retry, mutated, "", ""},
		{400, "TRANSACTIONS_ERROR", "SOMETHING_NEW", bank.Retry, "", "", ""},
		{429, "RATE_LIMIT_EXCEEDED", "TRANSACTIONS_SYNC_LIMIT", bank.Retry, "", "", ""},
		{429, "RATE_LIMIT_EXCEEDED", "TRANSACTIONS_SYNC_LIMIT", bank.RetryAfter, "", "", "Retry-After: 17"},
		{429, "RATE_LIMIT_EXCEEDED", "TRIAL_CONNECTION_LIMIT", bank.OurFault, "", "", "Retry-After: 17"},
		{429, "RATE_LIMIT_EXCEEDED", "CREDITS_EXHAUSTED", bank.OurFault, "", "", ""},
		{500, "API_ERROR", "INTERNAL_SERVER_ERROR", bank.Retry, "", "", ""},
		{503, "API_ERROR", "PLANNED_MAINTENANCE", bank.Retry, "", "", ""},
		{400, "API_ERROR", "SOMETHING_NEW", bank.Retry, "", "", ""},
		{400, "INSTITUTION_ERROR", "INSTITUTION_DOWN", bank.RetryAfter, "", "", ""},
		{400, "INSTITUTION_ERROR", "INSTITUTION_NOT_RESPONDING", bank.RetryAfter, "", "", ""},
		{400, "INSTITUTION_ERROR", "INSTITUTION_NOT_AVAILABLE", bank.RetryAfter, "", "", ""},
		{400, "INSTITUTION_ERROR", "SOMETHING_NEW", bank.RetryAfter, "", "", ""},
		{400, "ITEM_ERROR", "PRODUCT_NOT_READY", bank.RetryAfter, "", "", ""},
		{400, "ITEM_ERROR", "ITEM_LOGIN_REQUIRED", bank.UserMustAct, "", "", ""},
		{400, "ITEM_ERROR", "INVALID_CREDENTIALS", bank.UserMustAct, "", "", ""},
		{400, "ITEM_ERROR", "INVALID_MFA", bank.UserMustAct, "", "", ""},
		{400, "ITEM_ERROR", "INSUFFICIENT_CREDENTIALS", bank.UserMustAct, "", "", ""},
		{400, "ITEM_ERROR", "ACCESS_NOT_GRANTED", bank.UserMustAct, "", "", ""},
		{400, "ITEM_ERROR", "NO_ACCOUNTS", bank.UserMustAct, "", "", ""},
		{400, "INVALID_INPUT", "ADDITIONAL_CONSENT_REQUIRED", bank.UserMustAct, "", "", ""},
		{400, "ITEM_ERROR", "ITEM_LOCKED", bank.UserMustAct, "", "", ""},
		{400, "ITEM_ERROR", "USER_SETUP_REQUIRED", bank.UserMustAct, "", "", ""},
		{400, "ITEM_ERROR", "PASSWORD_RESET_REQUIRED", bank.UserMustAct, "", "", ""},
		{400, "ITEM_ERROR", "SOMETHING_NEW", bank.UserMustAct, "", "", ""},
		{400, "ITEM_ERROR", "ITEM_NOT_FOUND", bank.Permanent, gone, "", ""},
		{400, "INVALID_INPUT", "INVALID_ACCESS_TOKEN", bank.Permanent, gone, "", ""},
		{400, "INVALID_INPUT", "USER_PERMISSION_REVOKED", bank.Permanent, gone, "", ""},
		{400, "ITEM_ERROR", "ITEM_CONCURRENTLY_DELETED", bank.Permanent, gone, "", ""},
		{400, "ITEM_ERROR", "ITEM_NOT_SUPPORTED", bank.Permanent, "", "", ""},
		{400, "ITEM_ERROR", "MFA_NOT_SUPPORTED", bank.Permanent, "", "", ""},
		{400, "ITEM_ERROR", "INVALID_UPDATED_USERNAME", bank.Permanent, "", "", ""},
		{400, "INSTITUTION_ERROR", "INSTITUTION_NO_LONGER_SUPPORTED", bank.Permanent, "", "", ""},
		{400, "INSTITUTION_ERROR", "UNSUPPORTED_RESPONSE", bank.Permanent, "", "", ""},
		{400, "ITEM_ERROR", "PRODUCTS_NOT_SUPPORTED", bank.Permanent, "", "", ""},
		{400, "INVALID_INPUT", "INVALID_ACCOUNT_ID", bank.Permanent, "", "", ""},
		{400, "INVALID_REQUEST", "INVALID_FIELD", bank.Retry, cursor, "cursor not associated with access_token", ""},
		{400, "INVALID_INPUT", "INVALID_FIELD", bank.Retry, cursor, "Cursor is invalid", ""},
		{400, "INVALID_INPUT", "INVALID_CURSOR", bank.Retry, cursor, "", ""},
		{400, "INVALID_REQUEST", "SOMETHING_NEW", bank.Retry, cursor, "the cursor is malformed", ""},
		{400, "TRANSACTIONS_ERROR", "SOMETHING_NEW", bank.Retry, "", "read on from the last cursor", ""},
		{400, "INVALID_REQUEST", "INVALID_FIELD", bank.OurFault, "", "count must be 500 or less", ""},
		{400, "INVALID_INPUT", "INVALID_API_KEYS", bank.OurFault, "", "", ""},
		{400, "INVALID_INPUT", "UNAUTHORIZED_ENVIRONMENT", bank.OurFault, "", "", ""},
		{400, "INVALID_REQUEST", "MISSING_FIELDS", bank.OurFault, "", "", ""},
		{400, "INVALID_REQUEST", "UNKNOWN_FIELDS", bank.OurFault, "", "", ""},
		{400, "INVALID_INPUT", "SOMETHING_NEW", bank.OurFault, "", "", ""},
		{400, "NEW_TYPE", "SOMETHING_NEW", bank.Permanent, "", "", ""},
		{502, "NEW_TYPE", "SOMETHING_NEW", bank.Retry, "", "", ""},
	} {
		t.Run(row.code+" "+row.headers, func(t *testing.T) {
			message := row.message + " for " + itemToken
			refuse := refuseWith(row.status, row.family, row.code, message)
			p, _ := open(t, map[string]http.HandlerFunc{"/transactions/sync": func(w http.ResponseWriter, r *http.Request) {
				if name, value, ok := strings.Cut(row.headers, ": "); ok {
					w.Header().Set(name, value)
				}
				refuse(w, r)
			}})
			_, err := p.Changes(t.Context(), bank.From{Token: secret.New(itemToken), At: "c0"})
			var e *bank.Error
			if !errors.As(err, &e) || e.Kind != row.kind || e.Code != row.code {
				t.Fatalf("got %v, want %s", err, row.kind)
			}
			if (e.Kind == bank.RetryAfter) != (e.After > 0) || row.headers != "" && e.Kind == bank.RetryAfter && e.After != 17*time.Second {
				t.Errorf("after %v", e.After)
			}
			for name, sentinel := range map[string]error{gone: bank.ErrGone, mutated: bank.ErrMutated, cursor: bank.ErrCursor} {
				if errors.Is(err, sentinel) != (row.is == name) {
					t.Errorf("is %s: %v", name, !(row.is == name))
				}
			}
			if strings.Contains(err.Error(), "canary") || strings.Contains(fmt.Sprintf("%#v", e.Err), "canary") {
				t.Errorf("the token shows: %v", err)
			}
		})
	}
}

// The SDK is called for all but one endpoint, and wraps refusals in a type of its own.
func TestTheSDKsErrorsAreTranslatedAsWell(t *testing.T) {
	p, _ := open(t, map[string]http.HandlerFunc{
		"/item/get": refuseWith(400, "ITEM_ERROR", "ITEM_LOGIN_REQUIRED", "sign in with "+itemToken),
	})
	_, err := p.Item(t.Context(), secret.New(itemToken))
	if bank.KindOf(err) != bank.UserMustAct || bank.CodeOf(err) != "ITEM_LOGIN_REQUIRED" || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNotPlaidsIsJudgedByItsStatus(t *testing.T) {
	for status, want := range map[int]bank.Kind{
		500: bank.Retry, 502: bank.Retry, 504: bank.Retry, 429: bank.Retry, 408: bank.Retry,
		401: bank.OurFault, 403: bank.OurFault, 404: bank.OurFault, 413: bank.Permanent,
	} {
		page := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			io.WriteString(w, "<html>Bad Gateway "+itemToken)
		}
		p, _ := open(t, map[string]http.HandlerFunc{"/item/get": page, "/transactions/sync": page})
		_, itemErr := p.Item(t.Context(), secret.New(itemToken))
		_, syncErr := p.Changes(t.Context(), bank.From{Token: secret.New(itemToken)})
		for _, err := range []error{itemErr, syncErr} {
			if bank.KindOf(err) != want || bank.CodeOf(err) != unexpectedStatus || strings.Contains(err.Error(), "canary") {
				t.Errorf("%d: %v", status, err)
			}
		}
	}
}

func TestACodeThatIsNoneIsNotPassedOn(t *testing.T) {
	p, _ := open(t, map[string]http.HandlerFunc{"/item/get": refuseWith(500, "ITEM_ERROR", "Item of "+itemToken, "")})
	if _, err := p.Item(t.Context(), secret.New(itemToken)); bank.CodeOf(err) != unexpectedStatus || bank.KindOf(err) != bank.Retry {
		t.Errorf("got %v", err)
	}
}

func TestASuccessThatCannotBeReadIsTriedAgain(t *testing.T) {
	for _, body := range []string{`{"item":`, `[]`, `{"item":{"item_id":7}}`, `"` + itemToken + `"`} {
		p, _ := open(t, map[string]http.HandlerFunc{"/item/get": answerWith(body), "/transactions/sync": answerWith(body[:2])})
		_, itemErr := p.Item(t.Context(), secret.New(itemToken))
		_, syncErr := p.Changes(t.Context(), bank.From{Token: secret.New(itemToken)})
		for _, err := range []error{itemErr, syncErr} {
			if bank.CodeOf(err) != badAnswer || bank.KindOf(err) != bank.Retry || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v", body, err)
			}
		}
	}
}

func TestABrokenConnectionIsTriedAgain(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	p, _ := open(t, map[string]http.HandlerFunc{"/item/remove": cut, "/transactions/sync": cut})
	_, err := p.Changes(t.Context(), bank.From{Token: secret.New(itemToken)})
	for _, err := range []error{err, p.Remove(t.Context(), secret.New(itemToken))} {
		if bank.KindOf(err) != bank.Retry || bank.CodeOf(err) != "TRANSPORT" || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v", err)
		}
	}
}

// What asks for a person says why, where Plaid does.
func TestCodesThatAskForThePersonSayWhy(t *testing.T) {
	general := []string{"ITEM_LOGIN_REQUIRED", "INSUFFICIENT_CREDENTIALS", "NO_ACCOUNTS"} // have many reasons
	for code, r := range rules {
		if asks := r.kind == bank.UserMustAct || errors.Is(r.is, bank.ErrGone); asks != (needs[code] != "" || slices.Contains(general, code)) {
			t.Errorf("%s means %q", code, needs[code])
		}
	}
	if got := (&Plaid{}).Front().Needs["ITEM_LOCKED"]; got != bank.Locked {
		t.Errorf("the page is told %q", got)
	}
}
