package pluggy

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const nobody = "11111111-2222-4333-8444-555555555555"

// traced stands in a wanted body for an errorId, which differs each time.
const traced = "*"

func refusal(code int, description, message string) map[string]any {
	out := map[string]any{"code": json.Number(itoa(code)), "message": message}
	if description != "" {
		out["codeDescription"] = description
	}
	return out
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestEveryRefusalHasPluggysBody(t *testing.T) {
	r := newRig(t, Options{})
	token := r.token(t, `{}`)
	item := r.connected(t, "user-ok")
	bank := r.accountOf(t, item, "BANK")
	foreign := r.auth(t, otherClient, "other")
	expired := unauthorised()
	scope := refusal(403, "", "Forbidden resource")
	itemMissing := refusal(404, "ITEM_NOT_FOUND", "item not found")
	unknown := func(name string) map[string]any { return refusal(400, "", "property "+name+" should not exist") }
	noAccount := refusal(400, "", "accountId should not be null or undefined, accountId must be a UUID")
	hook := r.URL
	r.ok(t, "POST", "/webhooks", `{"event":"all","url":"`+hook+`"}`)
	for range mostPerEvent {
		r.ok(t, "POST", "/webhooks", `{"event":"item/error","url":"`+hook+`/`+strings.Repeat("x", 1+len(r.hooks.own))+`"}`)
	}
	validation := refusal(400, "CONNECTOR_VALIDATION_ERROR", "Connector parameters do not match validation rules")
	validation["details"] = []any{
		map[string]any{"code": "001", "message": "user parameter is required", "parameter": "user"},
		map[string]any{"code": "001", "message": "password parameter is required", "parameter": "password"},
	}
	deprecatedBody := refusal(410, "ENDPOINT_DEPRECATED", "This endpoint is deprecated. Use GET /v2/transactions with cursor pagination instead.")
	deprecatedBody["errorId"] = traced
	recently := refusal(409, "CLIENT_IS_UPDATING_BEFORE_ALLOWED_FREQUENCY", "The item was updated too recently")
	recently["data"] = map[string]any{"minUpdateFrequencyAllowedInHours": json.Number("1"), "lastUpdatedAt": noon.Format(wireTime)}
	for _, row := range []struct {
		method, path, key, body string
		status                  int
		want                    map[string]any
	}{
		{"POST", "/auth", "", `{"clientId":"client-1","clientSecret":"wrong"}`, 401, refusal(401, "CLIENT_KEYS_UNAUTHORIZED", "Client keys are invalid")},
		{"POST", "/auth", "", `{}`, 401, refusal(401, "CLIENT_KEYS_UNAUTHORIZED", "Client keys are invalid")},
		{"POST", "/auth", "", `{"clientId":"client-off","clientSecret":"off"}`, 401, refusal(401, "CLIENT_DISABLED", "Client is disabled")},
		{"POST", "/auth", "", `{"clientId":"a","b":1}`, 400, unknown("b")},
		{"POST", "/auth", "", `{`, 400, refusal(400, "", "Unexpected token in JSON")},
		{"GET", "/connectors", "", "", 403, refusal(403, "", expired.Message)},
		{"GET", "/connectors", "nonsense", "", 403, refusal(403, "", expired.Message)},
		{"GET", "/connectors", r.key + "x", "", 403, refusal(403, "", expired.Message)},
		{"POST", "/connect_token", "", `{}`, 403, refusal(403, "", expired.Message)},
		{"POST", "/connect_token", token, `{}`, 403, scope},
		{"POST", "/connect_token", r.key, `{"itemId":"` + nobody + `"}`, 404, itemMissing},
		{"POST", "/connect_token", foreign, `{"itemId":"` + item + `"}`, 404, itemMissing},
		{"POST", "/connect_token", r.key, `{"options":{"oauthRedirectUrl":"https://x.example"}}`, 400, unknown("options.oauthRedirectUrl")},
		{"POST", "/connect_token", r.key, `{"options":{"webhookUrl":"nowhere"}}`, 400, refusal(400, "", "url must be an https URL")},
		{"GET", "/connectors/999", r.key, "", 404, refusal(404, "CONNECTOR_NOT_FOUND", "connector not found")},
		{"GET", "/connectors/x", r.key, "", 404, refusal(404, "CONNECTOR_NOT_FOUND", "connector not found")},
		{"GET", "/connectors?page=2", r.key, "", 400, unknown("page")},
		{"GET", "/connectors?sandbox=maybe", r.key, "", 400, refusal(400, "", "sandbox must be a boolean value")},
		{"POST", "/connectors/999/validate", r.key, `{}`, 404, refusal(404, "CONNECTOR_NOT_FOUND", "connector not found")},
		{"POST", "/items", r.key, `{"connectorId":0,"parameters":{}}`, 400, validation},
		{"POST", "/items", r.key, `{"connectorId":999,"parameters":{}}`, 404, refusal(404, "CONNECTOR_NOT_FOUND", "connector not found")},
		{"POST", "/items", r.key, `{"parameters":{}}`, 400, refusal(400, "", "connectorId should not be null or undefined")},
		{"POST", "/items", r.key, `{"connectorId":0,"parameters":{"user":"user-ok","password":"password-ok"},"avoidDuplicates":true}`, 400, map[string]any{
			"message": "An item for this user already exists", "codeDescription": "ITEM_USER_ALREADY_EXISTS", "items": []any{item},
		}},
		{"GET", "/items", r.key, "", 404, refusal(404, "", "Cannot GET /items")},
		{"GET", "/items/" + nobody, r.key, "", 404, itemMissing},
		{"GET", "/items/" + item, foreign, "", 404, itemMissing},
		{"GET", "/items/" + item, token, "", 403, scope},
		{"PATCH", "/items/" + item, r.key, `{}`, 409, recently},
		{"PATCH", "/items/" + item, r.key, `{"parameters":{"user":"user-ok+x"}}`, 400, refusal(400, "ITEM_ORIGINAL_CONNECTED_WITH_DIFFERENT_ACCOUNT", "The item was connected with another account")},
		{"PATCH", "/items/" + nobody, r.key, `{}`, 404, itemMissing},
		{"PATCH", "/items/" + item, token, `{}`, 403, scope},
		{"PATCH", "/items/" + nobody + "/disable-auto-sync", r.key, ``, 404, itemMissing},
		{"DELETE", "/items/" + nobody, r.key, "", 404, itemMissing},
		{"DELETE", "/items/" + item, foreign, "", 404, itemMissing},
		{"DELETE", "/items/" + item, token, "", 403, scope},
		{"POST", "/items/" + item + "/mfa", r.key, `{"token":"123456"}`, 400, refusal(400, "ITEM_MFA_NOT_FOUND", "The item waits for no parameter")},
		{"POST", "/items/" + nobody + "/mfa", r.key, `{}`, 404, itemMissing},
		{"GET", "/v2/items", r.key, "", 403, scope},
		{"GET", "/accounts", r.key, "", 400, refusal(400, "", "itemId should not be null or undefined, itemId must be a UUID")},
		{"GET", "/accounts?itemId=" + nobody, r.key, "", 404, itemMissing},
		{"GET", "/accounts?itemId=" + item, foreign, "", 404, itemMissing},
		{"GET", "/accounts?itemId=" + item, token, "", 403, scope},
		{"GET", "/accounts?itemId=" + item + "&type=LOAN", r.key, "", 400, refusal(400, "", "type must be one of the following values: BANK, CREDIT")},
		{"GET", "/accounts/" + nobody, r.key, "", 404, refusal(404, "ACCOUNT_NOT_FOUND", "account not found")},
		{"GET", "/accounts/" + bank, foreign, "", 404, refusal(404, "ACCOUNT_NOT_FOUND", "account not found")},
		{"GET", "/accounts/" + bank, token, "", 403, scope},
		{"GET", "/transactions?accountId=" + bank, r.key, "", 410, deprecatedBody},
		{"GET", "/transactions/" + nobody, r.key, "", 404, refusal(404, "TRANSACTION_NOT_FOUND", "transaction not found")},
		{"PATCH", "/transactions/" + nobody, r.key, `{"categoryId":"01000000"}`, 404, refusal(404, "TRANSACTION_NOT_FOUND", "transaction not found")},
		{"GET", "/v2/transactions", r.key, "", 400, noAccount},
		{"GET", "/v2/transactions?accountId=x", r.key, "", 400, refusal(400, "", "accountId must be a UUID")},
		{"GET", "/v2/transactions?accountId=" + nobody, r.key, "", 404, refusal(404, "ACCOUNT_NOT_FOUND", "account not found")},
		{"GET", "/v2/transactions?accountId=" + bank, foreign, "", 404, refusal(404, "ACCOUNT_NOT_FOUND", "account not found")},
		{"GET", "/v2/transactions?accountId=" + bank, token, "", 403, scope},
		{"GET", "/v2/transactions?accountId=" + bank + "&pageSize=10", r.key, "", 400, unknown("pageSize")},
		{"GET", "/v2/transactions?accountId=" + bank + "&page=1&limit=3&from=2026-01-01&to=2026-02-01&itemId=x", r.key, "", 400, refusal(400, "",
			"property from should not exist, property itemId should not exist, property limit should not exist, property page should not exist, property to should not exist")},
		{"GET", "/v2/transactions?accountId=" + bank + "&after=nonsense", r.key, "", 400, refusal(400, "", "Invalid cursor")},
		{"GET", "/v2/transactions?accountId=" + bank + "&after=", r.key, "", 400, refusal(400, "", "Invalid cursor")},
		{"GET", "/v2/transactions?accountId=" + bank + "&ids=" + strings.Repeat(nobody+",", 501), r.key, "", 400, refusal(400, "IDS_PARAMETER_EXCEEDS_MAX_LENGTH", "ids must have at most 500 elements")},
		{"GET", "/v2/transactions?accountId=" + bank + "&dateFrom=2026-01-01&createdAtFrom=2026-01-01T00:00:00.000Z", r.key, "", 400, refusal(400, "", "createdAtFrom cannot be used together with dateFrom or ids")},
		{"GET", "/v2/transactions?accountId=" + bank + "&ids=" + nobody + "&createdAtFrom=2026-01-01T00:00:00.000Z", r.key, "", 400, refusal(400, "", "createdAtFrom cannot be used together with dateFrom or ids")},
		{"GET", "/v2/transactions?accountId=" + bank + "&dateFrom=01/01/2026", r.key, "", 400, refusal(400, "", "dateFrom must be a valid ISO 8601 date string")},
		{"GET", "/v2/transactions?accountId=" + bank + "&createdAtFrom=2026-01-01", r.key, "", 400, refusal(400, "", "createdAtFrom must be a valid ISO 8601 date string")},
		{"GET", "/bills", r.key, "", 400, noAccount},
		{"GET", "/bills?accountId=" + nobody, r.key, "", 404, refusal(404, "ACCOUNT_NOT_FOUND", "account not found")},
		{"GET", "/bills/" + nobody, r.key, "", 404, refusal(404, "CREDIT_CARD_BILL_NOT_FOUND", "bill not found")},
		{"GET", "/consents", r.key, "", 400, refusal(400, "", "itemId should not be null or undefined, itemId must be a UUID")},
		{"GET", "/consents?itemId=" + nobody, r.key, "", 404, itemMissing},
		{"GET", "/consents/" + nobody, r.key, "", 404, refusal(404, "CONSENT_NOT_FOUND", "consent not found")},
		{"GET", "/categories", token, "", 403, scope},
		{"POST", "/webhooks", r.key, `{"event":"all"}`, 400, refusal(400, "", "event and url should not be null or undefined, property enabled should not exist")},
		{"POST", "/webhooks", r.key, `{"event":"all","url":"` + hook + `"}`, 400, refusal(400, "", "A webhook for this event and url exists already")},
		{"POST", "/webhooks", r.key, `{"event":"item/error","url":"` + hook + `"}`, 400, refusal(400, "", "At most 5 webhooks are allowed for an event")},
		{"POST", "/webhooks", r.key, `{"event":"all","url":"ftp://x.example"}`, 400, refusal(400, "", "url must be an https URL")},
		{"POST", "/webhooks", r.key, `{"event":"all","url":"https://x.example","headers":{"a":1}}`, 400, refusal(400, "", "headers must be an object of strings")},
		{"GET", "/webhooks/" + nobody, r.key, "", 404, refusal(404, "WEBHOOK_NOT_FOUND", "webhook not found")},
		{"PATCH", "/webhooks/" + nobody, r.key, `{"enabled":true}`, 404, refusal(404, "WEBHOOK_NOT_FOUND", "webhook not found")},
		{"DELETE", "/webhooks/" + nobody, r.key, "", 404, refusal(404, "WEBHOOK_NOT_FOUND", "webhook not found")},
		{"GET", "/webhooks", token, "", 403, scope},
	} {
		status, got := r.call(t, row.method, row.path, row.key, row.body)
		if row.want["errorId"] == traced && got["errorId"] != nil {
			got["errorId"] = traced
		}
		if diff := cmp.Diff(row.want, got); status != row.status || diff != "" {
			t.Errorf("%s %.80s %s: %d\n%s", row.method, row.path, row.body, status, diff)
		}
	}
}

func TestAKeyOfAnotherServerIsNoGood(t *testing.T) {
	one, other := newRig(t, Options{}), newRig(t, Options{})
	if status, _ := other.call(t, "GET", "/connectors", one.key, ""); status != http.StatusForbidden {
		t.Errorf("it answers %d", status)
	}
}

func TestLimitsAMinuteAreRefusedWithTheirHeaders(t *testing.T) {
	r := newRig(t, Options{RateLimits: true, Config: Config{MinUpdate: -1}})
	item := r.connected(t, "user-ok")
	for n := range 20 {
		if status, out := r.call(t, "PATCH", "/items/"+item, r.key, `{}`); status != http.StatusOK {
			t.Fatal(n, status, out)
		}
		r.ok(t, "GET", "/items/"+item, "")
	}
	status, h, body := r.raw(t, "PATCH", "/items/"+item, r.key, `{}`)
	want := `{"code":429,"message":"Too many requests. Please try again later (see Retry-After header in seconds)"}`
	if status != http.StatusTooManyRequests || string(body) != want || h.Get("Retry-After") != "60" || h.Get("RateLimit-Limit") != "20" || h.Get("RateLimit-Reset") == "" {
		t.Errorf("%d %v %s", status, h, body)
	}
	r.clock.advance(time.Minute)
	_, h, _ = r.raw(t, "PATCH", "/items/"+item, r.key, `{}`)
	if h.Get("RateLimit-Limit") != "" {
		t.Error("a good answer has the headers too")
	}
}

func TestFaultsFailAsGatewaysAndNetworksDo(t *testing.T) {
	r := newRig(t, Options{})
	item := r.connected(t, "user-ok")
	control := func(body string) {
		t.Helper()
		if status, out := r.call(t, "POST", "/_sim/faults", "", body); status != http.StatusOK {
			t.Fatal(out)
		}
	}
	control(`{"path":"/items/","kind":"error","status":429,"times":1}`)
	if status, h, _ := r.raw(t, "GET", "/items/"+item, r.key, ""); status != 429 || h.Get("Retry-After") != "60" {
		t.Errorf("%d %v", status, h)
	}
	control(`{"path":"/items/","method":"GET","kind":"error","times":1}`)
	if status, out := r.call(t, "GET", "/items/"+item, r.key, ""); status != 500 || out["code"] == nil {
		t.Errorf("%d %v", status, out)
	}
	control(`{"path":"/connectors","kind":"html","times":1,"skip":1}`)
	r.ok(t, "GET", "/connectors", "")
	if status, _, body := r.raw(t, "GET", "/connectors", r.key, ""); status != 502 || !strings.HasPrefix(string(body), "<html>") {
		t.Errorf("%d %s", status, body)
	}
	control(`{"path":"/connectors","kind":"cut","times":1}`)
	control(`{"path":"/items/","method":"DELETE","kind":"reset","after":true,"times":1}`)
	for _, call := range [][2]string{{"GET", "/connectors"}, {"DELETE", "/items/" + item}} {
		req, _ := http.NewRequestWithContext(t.Context(), call[0], r.url+call[1], nil)
		req.Header.Set("X-API-KEY", r.key)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			err = json.NewDecoder(resp.Body).Decode(new(any))
			resp.Body.Close()
		}
		if err == nil {
			t.Errorf("%v is answered whole", call)
		}
	}
	if status, _ := r.call(t, "GET", "/items/"+item, r.key, ""); status != http.StatusNotFound {
		t.Errorf("the request that was cut took no effect: %d", status)
	}
	control(`{"path":"","kind":"error"}`)
	if status, _, _ := r.raw(t, "DELETE", "/_sim/faults", "", ""); status != http.StatusOK {
		t.Error(status)
	}
	r.ok(t, "GET", "/connectors", "")
}
