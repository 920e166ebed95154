package pluggy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// made is an item of a user at a connector, as an API key makes it.
func made(t *testing.T, b *Bank, connector int, user, password string) *item {
	t.Helper()
	it, err := b.createItem(testClient, "", connector, map[string]string{"user": user, "password": password, "token": goodMFA, "cpf": "882.937.076-23"}, nil, ItemOptions{ClientUserID: "u-1"})
	if err != nil {
		t.Fatal(err)
	}
	return it
}

func connect(t *testing.T, b *Bank, connector int, user string) *item {
	t.Helper()
	id, status, err := b.Connect(testClient, "token-"+user, ItemOptions{}, Visit{Connector: connector, User: user, Password: goodPassword})
	if err != nil || status != Updated {
		t.Fatal(user, status, err)
	}
	return b.items[id]
}

func names(list []Event) (out []string) {
	for _, e := range list {
		out = append(out, e.Name)
	}
	return out
}

func TestEachSandboxUserEndsAsPluggysTableSays(t *testing.T) {
	for _, row := range []struct{ user, password, execution, status string }{
		{"user-ok", "password-ok", "SUCCESS", "UPDATED"},
		{"user-ok", "password-bad", "INVALID_CREDENTIALS", "LOGIN_ERROR"},
		{"user-bad", "password-ok", "INVALID_CREDENTIALS", "LOGIN_ERROR"},
		{"user-logged", "password-ok", "ALREADY_LOGGED_IN", "OUTDATED"},
		{"user-locked", "password-ok", "ACCOUNT_LOCKED", "LOGIN_ERROR"},
		{"user-error", "password-ok", "UNEXPECTED_ERROR", "OUTDATED"},
		{"user-unavailable", "password-ok", "SITE_NOT_AVAILABLE", "OUTDATED"},
		{"user-account-need-actions", "password-ok", "ACCOUNT_NEEDS_ACTION", "OUTDATED"},
		{"user-account-need-actions-provider-message", "password-ok", "ACCOUNT_NEEDS_ACTION", "OUTDATED"},
		{"user-connection-error", "password-ok", "CONNECTION_ERROR", "OUTDATED"},
		{"user-account-credentials-reset", "password-ok", "ACCOUNT_CREDENTIALS_RESET", "LOGIN_ERROR"},
		{"user-not-supported", "password-ok", "USER_NOT_SUPPORTED", "OUTDATED"},
		{"user-ok-account-error", "password-ok", "PARTIAL_SUCCESS", "UPDATED"},
		{"user-ok-account-warning", "password-ok", "SUCCESS", "UPDATED"},
		{"user-ok-two-checking-accounts", "password-ok", "SUCCESS", "UPDATED"},
		{"user-ok-multi-company", "password-ok", "SUCCESS", "UPDATED"},
		{"user-ok-perf", "password-ok", "SUCCESS", "UPDATED"},
		{"user-ok-perf-200x", "password-ok", "SUCCESS", "UPDATED"},
		{"user-ok-perf-6000x", "password-ok", "INVALID_CREDENTIALS", "LOGIN_ERROR"},
	} {
		b := simBank(1, newClock())
		it := made(t, b, 0, row.user, row.password)
		if it.status != Updating || it.execution != created {
			t.Errorf("%s begins %s %s", row.user, it.status, it.execution)
		}
		b.tick(it)
		failed := row.status != Updated
		if it.execution != row.execution || it.status != row.status || (it.err != nil) != failed {
			t.Errorf("%s ends %s %s %v", row.user, it.status, it.execution, it.err)
		}
		told := names(b.Drain())
		if failed != slices.Contains(told, "item/error") || failed == slices.Contains(told, "item/created") {
			t.Errorf("%s tells %v", row.user, told)
		}
	}
}

func TestWhatPluggyDoesNotSayOfAStatusIsAnOption(t *testing.T) {
	b := NewBank(Config{Statuses: map[string]string{"ACCOUNT_LOCKED": Outdated}})
	it := made(t, b, 0, "user-locked", goodPassword)
	b.tick(it)
	if it.status != Outdated {
		t.Error(it.status)
	}
}

func TestAnExecutionPassesThroughPluggysStatusesByTheClock(t *testing.T) {
	c := newClock()
	b := simBank(1, c)
	b.cfg.Step = time.Second
	it := made(t, b, 3, "user-ok", goodPassword)
	var seen []string
	note := func() {
		if n := len(seen); n == 0 || seen[n-1] != it.status+" "+it.execution {
			seen = append(seen, it.status+" "+it.execution)
		}
	}
	for range 30 {
		note()
		if it.status == WaitingInput {
			if err := b.answerMFA(it, map[string]string{"token": goodMFA}); err != nil {
				t.Fatal(err)
			}
			note()
		}
		c.advance(time.Second)
		b.Tick()
	}
	want := []string{
		"UPDATING CREATED", "UPDATING LOGIN_IN_PROGRESS", "WAITING_USER_INPUT WAITING_USER_INPUT", "UPDATING LOGIN_MFA_IN_PROGRESS",
		"UPDATING ACCOUNTS_IN_PROGRESS", "UPDATING CREDITCARDS_IN_PROGRESS", "UPDATING TRANSACTIONS_IN_PROGRESS", "UPDATING PAYMENT_DATA_IN_PROGRESS",
		"UPDATING IDENTITY_IN_PROGRESS", "MERGING MERGING", "UPDATED SUCCESS",
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
	told := slices.DeleteFunc(names(b.Drain()), func(s string) bool { return strings.HasPrefix(s, "transactions/") })
	if diff := cmp.Diff([]string{"item/waiting_user_input", "item/login_succeeded", "item/created"}, told); diff != "" {
		t.Error(diff)
	}
}

func TestASecondFactorIsRefusedAsPluggyRefusesIt(t *testing.T) {
	c := newClock()
	b := simBank(1, c)
	it := made(t, b, 3, "user-ok", goodPassword)
	b.tick(it)
	answer := func(name, value string) string {
		err := b.answerMFA(it, map[string]string{name: value})
		if e, ok := err.(*Error); ok {
			return e.Description
		}
		return ""
	}
	if got := answer("tokem", "1"); got != "ITEM_MFA_PARAMETER_EXPECTED_MISMATCH" {
		t.Error(got)
	}
	if got := answer("token", goodMFA); got != "" {
		t.Error(got)
	}
	if got := answer("token", goodMFA); got != "ITEM_MFA_ALREADY_PROVIDED" {
		t.Error(got)
	}
	b.tick(it)
	it = made(t, b, 3, "user-ok", goodPassword)
	b.tick(it)
	c.advance(b.cfg.Patience)
	if got := answer("token", goodMFA); got != "ITEM_MFA_EXPIRED" {
		t.Error(got)
	}
	b.Drain()
	b.tick(it)
	if it.execution != inputTimeout || it.err.Parameter != "token" || names(b.Drain())[0] != "item/error" {
		t.Errorf("%s %+v", it.execution, it.err)
	}
	it = made(t, b, 1, "user-ok", goodPassword)
	b.tick(it)
	if it.status != Updated {
		t.Errorf("a token given at once: %s", it.execution)
	}
}

func TestABankThatApprovesLaterContinuesByItself(t *testing.T) {
	c := newClock()
	b := simBank(1, c)
	it := made(t, b, 0, "user-ok-auth-pending", goodPassword)
	b.tick(it)
	if it.status != Outdated || it.execution != pendingConsent || !slices.Contains(names(b.Drain()), "item/error") {
		t.Error(it.status, it.execution)
	}
	c.advance(time.Minute)
	b.Tick()
	if it.status != Updated || it.err != nil {
		t.Error(it.status, it.err)
	}
}

func TestItemsAreSynchronisedDailyAndFailingOnesHourlyFiveTimes(t *testing.T) {
	c := newClock()
	b := simBank(1, c)
	it := connect(t, b, 0, "user-ok")
	if got := it.nextSync.Sub(it.lastUpdated); got != day {
		t.Errorf("next after %v", got)
	}
	c.advance(day)
	b.Drain()
	b.Tick()
	if !it.lastUpdated.Equal(c.now()) || it.trigger != BySync || !slices.Contains(names(b.Drain()), "item/updated") {
		t.Error("not synchronised", it.lastUpdated)
	}
	if err := b.Fail(it.id, "SITE_NOT_AVAILABLE", ""); err != nil {
		t.Fatal(err)
	}
	failures := 1
	for range 48 {
		c.advance(time.Hour)
		b.Drain()
		b.Tick()
		failures += len(b.Drain())
	}
	if failures != 1+mostRetries || !it.nextSync.IsZero() {
		t.Errorf("%d failures, next %v", failures, it.nextSync)
	}
	if err := b.Repair(it.id); err != nil || it.status != Updated {
		t.Error(err, it.status)
	}
	if err := b.Fail(it.id, badCredentials, ""); err != nil || !it.nextSync.IsZero() {
		t.Error("a login error is tried again", err, it.nextSync)
	}
	b.disableSync(it)
	if err := b.Repair(it.id); err != nil || !it.nextSync.IsZero() {
		t.Error("disabled, it is planned all the same", err)
	}
}

func TestUpdatesAreRefusedAsPluggyRefusesThem(t *testing.T) {
	c := newClock()
	b := simBank(1, c)
	it := connect(t, b, 0, "user-ok")
	update := func(trigger string, parameters map[string]string) string {
		t.Helper()
		err := b.updateItem(it, trigger, parameters, ItemOptions{}, nil)
		if e, ok := err.(*Error); ok {
			return e.Description
		}
		return ""
	}
	expect := func(want, got string) {
		t.Helper()
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	expect("CLIENT_IS_UPDATING_BEFORE_ALLOWED_FREQUENCY", update(ByClient, nil))
	expect("", update(ByUser, nil)) // the widget is exempt
	expect("ITEM_IS_ALREADY_UPDATING", update(ByUser, nil))
	b.tick(it)
	c.advance(time.Hour)
	expect("", update(ByClient, nil))
	b.tick(it)
	for range 2 {
		expect("", update(ByClient, map[string]string{"password": "password-bad"}))
		b.tick(it)
	}
	expect("TOO_MANY_CONSECUTIVE_LOGIN_FAILURES", update(ByUser, map[string]string{"password": goodPassword}))
	c.advance(loginBackoff)
	expect("LAST_EXECUTION_HAD_LOGIN_ERROR", update(ByClient, nil))
	if err := b.SetHealth(0, Offline); err != nil {
		t.Fatal(err)
	}
	expect("CONNECTOR_OFFLINE", update(ByUser, nil))
	_ = b.SetHealth(0, Online)
	expect("", update(ByUser, map[string]string{"password": goodPassword}))
	b.tick(it)
	if it.status != Updated || it.failedLogins != 0 {
		t.Error(it.status, it.failedLogins)
	}
	if err := b.Fail(it.id, "CONNECTION_ERROR", ""); err != nil {
		t.Fatal(err)
	}
	it.errors = mostErrors + 1
	c.advance(10 * time.Minute)
	expect("TOO_MANY_CONSECUTIVE_ERRORS", update(ByClient, nil))

	it = connect(t, b, meuPluggy, "user-ok")
	err := b.updateItem(it, ByUser, nil, ItemOptions{}, nil)
	if e, ok := err.(*Error); !ok || e.Message != "MeuPluggy item cant be updated" || e.Description != "" || !e.traced {
		t.Errorf("%v", err)
	}
}

func TestACancelledConsentIsTold(t *testing.T) {
	c := newClock()
	b := simBank(1, c)
	it := connect(t, b, 601, "user-ok")
	if it.consent.ID == "" || !it.consent.Expires.IsZero() {
		t.Errorf("%+v", it.consent)
	}
	if err := b.ExpireConsent(it.id, noon.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	b.Drain()
	c.advance(time.Hour)
	b.Tick()
	if it.execution != revoked || it.consent.Revoked.IsZero() || names(b.Drain())[0] != "item/error" {
		t.Error(it.execution, it.consent)
	}
	other := connect(t, b, 601, "user-ok+2")
	if err := b.Revoke(other.id); err != nil || other.execution != revoked {
		t.Error(err, other.execution)
	}
}

func TestWhoeverHoldsATokenMaySetAnotherUserUnlessConfigured(t *testing.T) {
	for wins, want := range map[bool]string{false: "attacker", true: "owner"} {
		r := newRig(t, Options{Config: Config{TokenOptionsWin: wins}})
		token := r.token(t, `{"options":{"clientUserId":"owner"}}`)
		status, out := r.call(t, "POST", "/items", token, `{"connectorId":0,"parameters":{"user":"user-ok","password":"password-ok"},"clientUserId":"attacker"}`)
		if status != 200 || out["clientUserId"] != want {
			t.Errorf("%v: %d %v", wins, status, out["clientUserId"])
		}
	}
}

func TestAConnectTokenReachesItsOwnItemsOnly(t *testing.T) {
	r := newRig(t, Options{})
	token := r.token(t, `{}`)
	item, _, err := r.Connect(token, Visit{Connector: 0, User: "user-ok", Password: goodPassword})
	if err != nil {
		t.Fatal(err)
	}
	update := r.token(t, `{"itemId":"`+item+`"}`)
	for _, mine := range []string{token, update} {
		if status, out := r.call(t, "GET", "/items/"+item, mine, ""); status != 200 {
			t.Error(status, out)
		}
		status, out := r.call(t, "GET", "/accounts?itemId="+item, mine, "")
		if status != 200 {
			t.Fatal(status, out)
		}
		if a := out["results"].([]any)[0].(map[string]any); a["id"] == nil || a["taxNumber"] != nil || a["owner"] != nil {
			t.Errorf("%v", a)
		}
	}
	if status, _ := r.call(t, "PATCH", "/items/"+item, update, `{}`); status != 200 {
		t.Errorf("an update by the widget: %d", status)
	}
	r.ok(t, "GET", "/items/"+item, "")
	if status, _ := r.call(t, "PATCH", "/items/"+item, token, `{}`); status != 403 {
		t.Errorf("an update without itemId in the token: %d", status)
	}
	if status, _ := r.call(t, "POST", "/items", update, `{"connectorId":0,"parameters":{"user":"user-ok","password":"password-ok"}}`); status != 403 {
		t.Errorf("a new item with a token of update mode: %d", status)
	}
	if status, _ := r.call(t, "GET", "/items/"+item, r.token(t, `{}`), ""); status != 403 {
		t.Errorf("another token: %d", status)
	}
}

func TestAnItemHasPluggysMembers(t *testing.T) {
	r := newRig(t, Options{})
	item := r.connected(t, "user-ok")
	got := r.ok(t, "GET", "/items/"+item, "")
	want := []string{
		"autoSyncDisabledAt", "clientUserId", "connector", "consecutiveFailedLoginAttempts", "consentExpiresAt", "createdAt", "error",
		"executionStatus", "id", "lastUpdatedAt", "nextAutoSyncAt", "oauthRedirectUri", "parameter", "products", "resourcesCollectedAt",
		"status", "statusDetail", "updatedAt", "userAction", "webhookUrl",
	}
	if diff := cmp.Diff(want, keys(got)); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"error", "parameter", "userAction", "statusDetail", "webhookUrl", "consentExpiresAt"} {
		if got[name] != nil {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	r.ok(t, "PATCH", "/items/"+item+"/disable-auto-sync", "")
	if got := r.ok(t, "GET", "/items/"+item, ""); got["autoSyncDisabledAt"] == nil || got["nextAutoSyncAt"] != nil {
		t.Errorf("%v", got)
	}
	partial := r.connected(t, "user-ok-account-error")
	detail := r.ok(t, "GET", "/items/"+partial, "")["statusDetail"].(map[string]any)
	if cards := detail["creditCards"].(map[string]any); cards["isUpdated"] != false || len(cards["warnings"].([]any)) != 1 || detail["loans"] != nil {
		t.Errorf("%v", detail)
	}
	if n := r.ok(t, "GET", "/accounts?itemId="+partial+"&type=CREDIT", "")["total"]; n != json.Number("0") {
		t.Errorf("%v cards", n)
	}
	if status, out := r.call(t, "DELETE", "/items/"+item, r.key, ""); status != 200 || out["count"] != json.Number("1") {
		t.Errorf("%d %v", status, out)
	}
	if status, _ := r.call(t, "GET", "/items/"+item, r.key, ""); status != 404 {
		t.Errorf("it is still there: %d", status)
	}
}

func keys(m map[string]any) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

func TestConnectorsAreFilteredAsPluggyFilters(t *testing.T) {
	r := newRig(t, Options{})
	ids := func(query string) (list []string) {
		for _, c := range r.ok(t, "GET", "/connectors?"+query, "")["results"].([]any) {
			list = append(list, string(c.(map[string]any)["id"].(json.Number)))
		}
		return list
	}
	for query, want := range map[string][]string{
		"name=ita%C3%BA": {"601", "651"}, "name=ita%C3%BA&types=BUSINESS_BANK": {"651"}, "countries=AR": nil,
		"sandbox=true&name=pluggy%20bank&types=PERSONAL_BANK": {"0", "1", "2", "3", "5", "8"}, "name=pluggy%20bank": nil,
		"isOpenFinance=false": {"200"}, "supportsAutomaticPix=true": nil, "countries=BR,AR&name=xp": {"602"},
	} {
		if diff := cmp.Diff(want, ids(query)); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	if err := r.Do(func(b *Bank) error { return b.SetHealth(601, Unstable) }); err != nil {
		t.Fatal(err)
	}
	got := r.ok(t, "GET", "/connectors/601?healthDetails=true", "")
	health := got["health"].(map[string]any)
	if health["status"] != "UNSTABLE" || health["details"] == nil || strings.HasPrefix(got["primaryColor"].(string), "#") || got["oauth"] != true {
		t.Errorf("%v", got)
	}
	if _, h, _ := r.raw(t, "GET", strings.TrimPrefix(got["imageUrl"].(string), r.url), "", ""); h.Get("Content-Type") != "image/svg+xml" {
		t.Errorf("the image is %v", h)
	}
	out := r.ok(t, "POST", "/connectors/0/validate", `{"user":"user-ok","password":"x"}`)
	want := []any{map[string]any{"code": "002", "message": "A senha deve ter entre 6 e 20 caracteres", "parameter": "password"}}
	if diff := cmp.Diff(want, out["errors"]); diff != "" {
		t.Error(diff)
	}
}

func TestItemsAreListedOnlyWhereThatIsEnabled(t *testing.T) {
	r := newRig(t, Options{Config: Config{ListItems: true}})
	first, second := r.connected(t, "user-ok"), r.connected(t, "user-ok+2")
	list := func(query string) (ids []any) {
		for _, it := range r.ok(t, "GET", "/v2/items?"+query, "")["results"].([]any) {
			ids = append(ids, it.(map[string]any)["id"])
		}
		return ids
	}
	if got := list("clientUserId=u-1&connectorId=0"); len(got) != 2 {
		t.Error(got)
	}
	all := list("")
	if got := list("after=" + all[0].(string)); len(got) != 1 || got[0] != all[1] || all[0] != first && all[0] != second {
		t.Error(got, all)
	}
	if got := list("clientUserId=nobody"); len(got) != 0 {
		t.Error(got)
	}
}
