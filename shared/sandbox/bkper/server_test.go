package bkper_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/bkper"
)

// api is a Server mounted under a prefix, with tokens that name their users.
type api struct {
	*world
	url string
}

func serve(t *testing.T, o bkper.Options) *api {
	t.Helper()
	w := start(t, o)
	v := bkper.NewServer(w.s, func(token string) (string, string, bool) {
		email, ok := strings.CutPrefix(token, "token-of-")
		return email, "sub-" + email, ok
	})
	server := httptest.NewServer(http.StripPrefix("/bkper", v))
	t.Cleanup(server.Close)
	return &api{w, server.URL + "/bkper"}
}

type reply struct {
	status int
	body   string
	header http.Header
}

// send makes a request as bkper-js does.
func (a *api) send(who bkper.Caller, method, path, body string, headers ...string) reply {
	a.t.Helper()
	got, err := a.try(a.t.(*testing.T).Context(), who, method, path, body, headers...)
	if err != nil {
		a.t.Fatal(err)
	}
	return got
}

func (a *api) try(ctx context.Context, who bkper.Caller, method, path, body string, headers ...string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Authorization", "Bearer token-of-"+who.Email)
	req.Header.Set("bkper-agent-id", "my-agent")
	req.Header.Set("bkper-api-key", "K")
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, strings.TrimSpace(string(text)), resp.Header}, err
}

func (a *api) want(got reply, status int, pattern string) {
	a.t.Helper()
	if got.status != status || !regexp.MustCompile(pattern).MatchString(got.body) {
		a.t.Errorf("got %d %s, want %d %s", got.status, got.body, status, pattern)
	}
}

// TestTheWireIsThatOfTheOfficialClient sends what bkper-js 2.42 was seen to send, line by line.
func TestTheWireIsThatOfTheOfficialClient(t *testing.T) {
	a := serve(t, bkper.Options{})
	b := "/v5/books/" + a.book
	must(a.s.CreateAccounts(owner, a.book, []bkper.Account{{Name: "Bank Açct/1", Type: bkper.Asset}}))(t)
	must(a.s.PutApp(owner, bkper.App{ID: "my-agent", Name: "Mine", Installable: new(true)}, true))(t)
	c := must(a.s.CreateConnection(owner, bkper.Connection{Name: "Wise", Type: "BANK", AgentID: "my-agent"}))(t)
	tx := `"createdAt":"1795167610378","date":"2026-01-15","amount":"1234.5","description":"X","creditAccount":{"id":"` + a.bank + `","name":"Bank","type":"ASSET"},"properties":{"k":"v"}`
	for _, line := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"GET", "/v5/user", "", 200, `"email":"owner@example.com".*"id":"sub-owner@example.com"`},
		{"GET", "/v5/books/", "", 200, `^\{"items":\[\{.*"permission":"OWNER"`},
		{"GET", "/v5/books", "", 200, `^\{"items":`},
		{"GET", "/v5/books/?query=abc", "", 200, `^\{\}$`},
		{"GET", "/v5/books/?", "", 200, `^\{"items":`},
		{"GET", "/v5/apps", "", 200, `"id":"my-agent"`},
		{"GET", "/v5/apps/invalid-id", "", 404, `^\{"error":\{"code":404,"message":"App NOT found! ID: invalid-id","errors":\[\{"domain":"global","reason":"notFound","message":"App NOT found! ID: invalid-id"\}\]\}\}$`},
		{"GET", "/v5/collections", "", 200, `^\{\}$`},
		{"GET", b + "?loadAccounts=false&loadGroups=false", "", 200, `"fractionDigits":2.*"totalTransactions":"0"`},
		{"GET", "/_ah/api/bkper" + b + "?loadAccounts=true", "", 200, `"accounts":\[`},
		{"GET", b + "/accounts/Bank%20A%C3%A7ct%2F1", "", 200, `"normalizedName":"bank_acct/1"`},
		{"GET", b + "/accounts/Nobody", "", 404, `"reason":"notFound"`},
		{"POST", b + "/accounts", `{"createdAt":"1795167610378","name":"New","type":"ASSET"}`, 200, `"agentId":"my-agent".*"balance":"0.00".*"name":"New"`},
		{"POST", b + "/transactions", `{` + tx + `,"remoteIds":["r1"]}`, 200, `^\{"accounts":\[.*"transaction":\{"agentId":"my-agent".*"amount":"1234.50".*"createdAt":"17\d{11}".*"dateFormatted":"15/01/2026","dateValue":20260115.*"draft":true`},
		{"PATCH", b + "/transactions/post", `{` + tx + `,"remoteIds":["r2"],"debitAccount":{"name":"Rent"}}`, 200, `"posted":true`},
		{"POST", b + "/transactions/batch", `{"items":[{` + tx + `,"remoteIds":["r3"],"draft":true},{` + tx + `,"remoteIds":["r1"]}]}`, 200, `^\{"items":\[\{[^]]*"remoteIds":\["r3"\][^]]*\}\]\}$`},
		{"POST", b + "/transactions/batch", `{"items":[{` + tx + `,"remoteIds":["r1"]}]}`, 200, `^\{\}$`},
		{"GET", b + "/transactions?query=remoteId%3Ar1&limit=100", "", 200, `"remoteIds":\["r1"\]`},
		{"GET", b + "/transactions?query=account%3A%27Bank%27%20after%3A2026-01-01&limit=500", "", 200, `^\{"account":"` + a.bank + `","items":`},
		{"GET", b + "/transactions/count?query=is%3Adraft", "", 200, `^\{"total":"2"\}$`},
		{"GET", b + "/apps", "", 200, `^\{\}$`},
		{"GET", b + "/integrations", "", 200, `^\{\}$`},
		{"POST", b + "/integrations", `{"agentId":"my-agent","connectionId":"` + c.ID + `","name":"Checking","properties":{"a":"b"}}`, 200, `"addedBy":"owner@example.com".*"name":"Checking"`},
		{"POST", b + "/integrations", `{"agentId":"my-agent"}`, 200, `"agentId":"my-agent","bookId":"` + a.book + `"`},
		{"GET", b + "/apps", "", 200, `"id":"my-agent"`},
		{"GET", "/v5/user/connections", "", 200, `"id":"` + c.ID + `"`},
		{"POST", "/v5/user/connections", `{"agentId":"my-banks","name":"Wise","type":"BANK","uuid":"item-uuid","properties":{"provider":"plaid"}}`, 200, `"uuid":"item-uuid"`},
		{"PUT", "/v5/user/connections", `{"id":"` + c.ID + `","name":"Wiser"}`, 200, `"name":"Wiser"`},
		{"GET", "/v5/user/connections/" + c.ID + "/integrations", "", 200, `"name":"Checking"`},
		{"DELETE", "/v5/user/connections/" + c.ID, "", 200, `"name":"Wiser"`},
		{"PATCH", b + "/transactions/post/batch", `{"items":[]}`, 204, `^$`},
	} {
		t.Run(line.method+" "+line.path, func(t *testing.T) {
			a.t = t
			a.want(a.send(owner, line.method, line.path, line.body), line.status, line.answer)
		})
	}
	a.t = t
	i := must(a.s.Integrations(owner, a.book))(t).Items[0]
	a.want(a.send(owner, "PUT", b+"/integrations", `{"agentId":"my-agent","name":"Renamed","id":"`+i.ID+`","bookId":"`+a.book+`"}`), 200, `"name":"Renamed"`)
	a.want(a.send(owner, "DELETE", b+"/integrations/"+i.ID, ""), 200, `"id":"`+i.ID+`"`)
	id := a.find("remoteId:r3")[0].ID
	a.want(a.send(owner, "PATCH", b+"/transactions/trash/batch", `{"items":[{"id":"`+id+`"}]}`), 204, `^$`)
	a.want(a.send(owner, "GET", b+"/transactions/"+id, ""), 200, `"trashed":true`)
	a.want(a.send(owner, "PATCH", b+"/transactions/restore", `{"id":"`+id+`"}`), 200, `"trashed":false`)
	a.s.SetRules(bkper.Rules{VoidIsObject: true, Int64IsNumber: true})
	a.want(a.send(owner, "PATCH", b+"/transactions/trash/batch", `{"items":[{"id":"`+id+`"}]}`), 200, `^\{\}$`)
	a.want(a.send(owner, "GET", b+"/transactions/count?query=is%3Adraft", ""), 200, `^\{"total":1\}$`)
}

func TestTheCursorTravelsInAHeader(t *testing.T) {
	a := serve(t, bkper.Options{})
	a.create(a.draft("r1", "2026-01-01", "1"), a.draft("r2", "2026-01-02", "1"), a.draft("r3", "2026-01-03", "1"))
	path := "/v5/books/" + a.book + "/transactions?limit=2"
	var page struct {
		Cursor string
		Items  []bkper.Transaction
	}
	if err := json.Unmarshal([]byte(a.send(owner, "GET", path, "").body), &page); err != nil {
		t.Fatal(err)
	}
	if got := remoteIDs(page.Items); got != "r3 r2" || page.Cursor == "" {
		t.Fatalf("first page %q, cursor %q", got, page.Cursor)
	}
	a.want(a.send(owner, "GET", path, "", "cursor", page.Cursor), 200, `^\{"items":\[\{[^]]*"remoteIds":\["r1"\][^]]*\}\]\}$`)
	a.want(a.send(owner, "GET", "/v5/books/"+a.book+"/transactions?limit=0", ""), 400, "limit")
}

func TestMissingTokensAre403AndMissingAccess401(t *testing.T) {
	a := serve(t, bkper.Options{})
	b := "/v5/books/" + a.book
	for _, header := range []string{"", "Bearer expired", "Basic token-of-owner@example.com"} {
		got := a.send(owner, "GET", b, "", "Authorization", header)
		a.want(got, 403, `^\{"error":\{"code":403,"message":"Login Required.","errors":\[\{"domain":"global","reason":"forbidden"`)
	}
	got := a.send(stranger, "GET", b, "")
	a.want(got, 401, `"message":"The user \[stranger@example.com\] is not a collaborator on the book \[Test - `+a.book+`\]".*"reason":"required"`)
	a.want(a.send(owner, "GET", "/v5/books/nothing", ""), 404, `"reason":"notFound"`)
	a.want(a.send(owner, "GET", "/v5/nothing", ""), 404, `"code":404`)
	a.want(a.send(owner, "PATCH", "/v5/books", "{}"), 404, `"code":404`)
}

func TestBodiesAreReadStrictly(t *testing.T) {
	a := serve(t, bkper.Options{})
	path := "/v5/books/" + a.book + "/transactions"
	for name, body := range map[string]string{
		"unknown member":      `{"amout":"1"}`,
		"other case":          `{"Amount":"1"}`,
		"number for text":     `{"amount":1}`,
		"text for list":       `{"remoteIds":"r1"}`,
		"number in list":      `{"remoteIds":[1]}`,
		"text for boolean":    `{"draft":"true"}`,
		"text for object":     `{"creditAccount":"Bank"}`,
		"number in map":       `{"properties":{"a":1}}`,
		"repeated member":     `{"date":"2026-01-01","date":"2026-01-02"}`,
		"two values":          `{} {}`,
		"not JSON":            `date=2026-01-01`,
		"nothing":             ``,
		"list":                `[]`,
		"bad date":            `{"date":"15/01/2026"}`,
		"a day with time":     `{"date":"2026-01-15T00:00:00Z"}`,
		"day that is none":    `{"date":"2026-02-29"}`,
		"signed amount":       `{"amount":"-5"}`,
		"amount of bkper-js":  `{"amount":"undefined"}`,
		"empty remote id":     `{"remoteIds":[""]}`,
		"id of a new one":     `{"id":"1"}`,
		"long property key":   `{"properties":{"abcdefghijklmnopqrstuvwxyz_12345":"x"}}`,
		"invalid UTF-8":       "{\"description\":\"\xff\"}",
		"unknown member deep": `{"creditAccount":{"iD":"1"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			a.t = t
			a.want(a.send(owner, "POST", path, body), 400, `"reason":"invalid"`)
		})
	}
	if got := a.found(""); got != "" {
		t.Errorf("something was created: %q", got)
	}
	a.t = t
	a.want(a.send(owner, "POST", path, `{"description":"`+strings.Repeat("x", 33<<20)+`"}`), 413, "too large")
}

func (a *api) faults(list string) {
	a.t.Helper()
	a.want(a.send(owner, "PUT", "/_sim/faults", list), 200, "")
}

func TestFaultsHappenAsOftenAsAsked(t *testing.T) {
	a := serve(t, bkper.Options{})
	path := "/v5/books/" + a.book
	a.faults(`[{"kind":"status","status":429,"retryAfter":"2","path":"^/v5/books/[^/]+$","method":"GET","skip":1,"times":1},
		{"kind":"status","status":503,"body":"<html>Bad gateway</html>","path":"accounts$"}]`)
	a.want(a.send(owner, "GET", path, ""), 200, "")
	limited := a.send(owner, "GET", path, "")
	a.want(limited, 429, `"code":429`)
	if limited.header.Get("Retry-After") != "2" {
		t.Error("no Retry-After")
	}
	a.want(a.send(owner, "GET", path, ""), 200, "")
	a.want(a.send(owner, "GET", path+"/accounts", ""), 503, "^<html>")
	a.faults(`[]`)
	a.want(a.send(owner, "GET", path+"/accounts", ""), 200, "")
	a.want(a.send(owner, "PUT", "/_sim/faults", `[{"kind":"explode"}]`), 400, "explode")
	a.want(a.send(owner, "PUT", "/_sim/faults", `[{"kind":"status","status":200}]`), 400, "status")
	a.want(a.send(owner, "PUT", "/_sim/faults", `[{"kind":"reset","path":"("}]`), 400, "path")
}

func TestFaultsAfterTheWorkLeaveItDone(t *testing.T) {
	a := serve(t, bkper.Options{})
	path := "/v5/books/" + a.book + "/transactions/batch"
	body := func(ids ...string) string {
		var items []bkper.Transaction
		for _, id := range ids {
			items = append(items, a.draft(id, "2026-01-02", "1"))
		}
		raw := must(json.Marshal(bkper.List[bkper.Transaction]{Items: items}))(t)
		return string(raw)
	}
	a.faults(`[{"kind":"reset","path":"batch$"}]`)
	if got, err := a.try(t.Context(), owner, "POST", path, body("r1")); err == nil {
		t.Errorf("got %+v over a closed connection", got)
	}
	if got := a.found(""); got != "" {
		t.Errorf("a reset before the work left %q", got)
	}
	a.faults(`[{"kind":"reset_after","path":"batch$"}]`)
	if got, err := a.try(t.Context(), owner, "POST", path, body("r1")); err == nil {
		t.Errorf("got %+v over a closed connection", got)
	}
	if got := a.found(""); got != "r1" {
		t.Errorf("a reset after the work left %q", got)
	}
	a.faults(`[{"kind":"hang","path":"batch$"}]`)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if got, err := a.try(ctx, owner, "POST", path, body("r2")); err == nil {
		t.Errorf("got %+v from a server that hangs", got)
	}
	if got := a.found(""); got != "r2 r1" {
		t.Errorf("a hang after the work left %q", got)
	}
	a.faults(`[{"kind":"partial","rows":2,"path":"batch$"}]`)
	a.want(a.send(owner, "POST", path, body("r3", "r4", "r5")), 503, `"reason":"backendError"`)
	if got := a.found(""); got != "r4 r3 r2 r1" {
		t.Errorf("a partial batch left %q", got)
	}
	a.faults(`[{"kind":"slow","delayMs":1,"path":"batch$"}]`)
	a.want(a.send(owner, "POST", path, body("r5")), 200, `"r5"`)
}

func TestHandsReachTheBookFromAnotherProcess(t *testing.T) {
	a := serve(t, bkper.Options{})
	b := "/_sim/books/" + a.book
	all := a.create(a.full("r1", "2026-01-02", "1"), a.draft("r2", "2026-01-02", "2"))
	one, two := all[0].ID, all[1].ID
	for _, step := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"POST", "/transactions/" + one + "/edit", `{"amount":"9.5","debit":"Rent","properties":{"note":"x"}}`, 200, `"amount":"9.50".*"note":"x"`},
		{"POST", "/transactions/" + one + "/post", "", 200, `"posted":true`},
		{"POST", "/transactions/" + one + "/check", "", 200, `"checked":true`},
		{"POST", "/transactions/" + one + "/edit", `{"amount":"1"}`, 400, "checked"},
		{"POST", "/transactions/" + one + "/uncheck", "", 200, `"checked":false`},
		{"POST", "/transactions/" + two + "/trash", "", 200, `"trashed":true`},
		{"POST", "/transactions/" + two + "/untrash", "", 200, `"trashed":false`},
		{"POST", "/transactions/" + two + "/burn", "", 404, "burn"},
		{"POST", "/merge", `{"ids":["` + one + `","` + two + `"]}`, 200, `"merged_` + one + `"`},
		{"POST", "/lock", `{"date":"2026-01-31"}`, 200, `"lockDate":"2026-01-31"`},
		{"POST", "/lock", `{"date":""}`, 200, `"fractionDigits"`},
		{"POST", "/accounts/" + a.bank + "/archive", "", 200, ""},
		{"POST", "/accounts/" + a.bank + "/restore", "", 200, ""},
		{"POST", "/accounts/" + a.bank + "/delete", "", 400, "archive"},
		{"POST", "/permit", `{"email":"viewer@example.com","permission":"NONE"}`, 200, ""},
		{"GET", "/transactions", "", 200, `^\{"items":\[\{.*"id":"` + one},
		{"POST", "/delete", "", 200, ""},
		{"GET", "/transactions", "", 404, "NOT found"},
	} {
		t.Run(step.path, func(t *testing.T) {
			a.t = t
			a.want(a.send(owner, step.method, b+step.path, step.body), step.status, step.answer)
		})
	}
	a.t = t
	a.want(a.send(owner, "GET", "/_sim/books", ""), 200, `^\{\}$`)
	a.want(a.send(owner, "PUT", "/_sim/rules", `{"rounds":true}`), 200, "")
	a.want(a.send(owner, "GET", "/_sim/rules", ""), 200, `"rounds":true`)
	a.want(a.send(owner, "PUT", "/_sim/lag", `{"ms":5}`), 200, "")
}
