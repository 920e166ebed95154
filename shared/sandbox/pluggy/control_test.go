package pluggy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// control posts to the control interface.
func (r *rig) control(t *testing.T, path, body string) map[string]any {
	t.Helper()
	status, out := r.call(t, "POST", "/_sim/"+path, "", body)
	if status != http.StatusOK {
		t.Fatalf("%s %s: %d %v", path, body, status, out)
	}
	return out
}

func TestTheControlScriptsTheBank(t *testing.T) {
	r := newRig(t, Options{})
	token := r.token(t, `{"options":{"clientUserId":"u-1"}}`)
	made := r.control(t, "connect", `{"connect_token":"`+token+`","connector":3,"user":"user-ok","password":"password-ok","mfa":"123456"}`)
	if made["status"] != Updated {
		t.Fatal(made)
	}
	item := made["item_id"].(string)
	account := r.accountOf(t, item, "BANK")
	added := r.control(t, "transactions", `{"account":"`+account+`","transactions":[{"date":"2026-11-19","type":"CREDIT","amount":"12.34","description":"PIX"},{"amount":5,"description":"now"}]}`)
	rows := added["rows"].([]any)
	newest := func() (out []string) {
		for _, x := range r.ok(t, "GET", "/v2/transactions?accountId="+account+"&createdAtFrom="+r.clock.now().Format(wireTime), "")["results"].([]any) {
			row := x.(map[string]any)
			if d := row["description"]; d == "PIX" || d == "now" || d == "later" {
				out = append(out, fmt.Sprint(d, " ", row["amount"]))
			}
		}
		slices.Sort(out)
		return out
	}
	expect := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, newest()); diff != "" {
			t.Error(diff)
		}
	}
	expect("PIX 12.34", "now -5")
	first := `{"id":"` + rows[0].(string) + `"`
	r.control(t, "transactions/amend", first+`,"description":"later","id_change":"keep"}`)
	expect("later 12.34", "now -5")
	r.control(t, "transactions/churn", first+`}`)
	r.control(t, "transactions/vanish", first+`}`)
	expect("now -5")
	r.control(t, "transactions/return", first+`}`)
	expect("later 12.34", "now -5")
	r.control(t, "accounts/churn", `{"account":"`+account+`"}`)
	r.control(t, "accounts/balance", `{"account":"`+account+`","balance":"77.01"}`)
	if got := r.ok(t, "GET", "/accounts/"+account, ""); got["balance"] != json.Number("77.01") {
		t.Error(got)
	}
	opened := r.control(t, "accounts/open", `{"connector":3,"user":"user-ok","name":"Nova","number":"9","type":"BANK","subtype":"SAVINGS_ACCOUNT","currency":"BRL","balance":"1"}`)
	if got := r.ok(t, "GET", "/accounts?itemId="+item, ""); got["total"] != json.Number("4") {
		t.Error(got["total"])
	}
	r.control(t, "accounts/close", `{"account":"`+opened["account"].(string)+`"}`)
	if got := r.ok(t, "GET", "/accounts?itemId="+item, ""); got["total"] != json.Number("3") {
		t.Error(got["total"])
	}
	byItem := `{"item_id":"` + item + `"`
	state := func(want string) {
		t.Helper()
		if got := r.ok(t, "GET", "/items/"+item, ""); got["executionStatus"] != want {
			t.Errorf("%v, want %s", got["executionStatus"], want)
		}
	}
	r.control(t, "items/fail", byItem+`,"status":"ACCOUNT_LOCKED"}`)
	state("ACCOUNT_LOCKED")
	r.control(t, "items/repair", byItem+`}`)
	state("SUCCESS")
	r.control(t, "items/consent", byItem+`,"expires":"2026-11-21T12:00:00Z"}`)
	r.control(t, "clock", `{"advance_seconds":86400}`)
	r.key = r.auth(t, testClient, testSecret)
	state("USER_AUTHORIZATION_REVOKED")
	r.control(t, "items/discontinue", byItem+`}`)
	if status, _ := r.call(t, "GET", "/items/"+item, r.key, ""); status != http.StatusNotFound {
		t.Error(status)
	}
	r.control(t, "connectors/health", `{"connector":601,"status":"OFFLINE"}`)
	if status, out := r.call(t, "POST", "/items", r.key, `{"connectorId":601,"parameters":{"cpf":"88293707623"}}`); status != 400 || out["codeDescription"] != "CONNECTOR_OFFLINE" {
		t.Error(status, out)
	}
}

func TestWhatTheControlCannotDoIsRefused(t *testing.T) {
	r := newRig(t, Options{})
	for path, body := range map[string]string{
		"transactions": `{"account":"nobody","transactions":[]}`, "transactions/amend": `{"id":"x"}`, "transactions/vanish": `{"id":"x"}`,
		"transactions/return": `{"id":"x"}`, "transactions/churn": `{"id":"x"}`, "accounts/open": `{}`, "accounts/close": `{}`,
		"accounts/balance": `{"account":"x","balance":"1"}`, "accounts/churn": `{}`, "items/fail": `{"item_id":"x","status":"NO"}`, "items/repair": `{}`,
		"items/sync": `{}`, "items/revoke": `{}`, "items/consent": `{}`, "items/discontinue": `{}`, "connectors/health": `{"connector":601,"status":"ILL"}`,
		"connect": `{"connect_token":"x"}`, "clock": `{"advance_seconds":-1}`, "faults": `{"unknown":1}`, "webhooks": `[]`,
	} {
		if status, out := r.call(t, "POST", "/_sim/"+path, "", body); status != http.StatusBadRequest || out["error"] == "" {
			t.Errorf("%s %s: %d %v", path, body, status, out)
		}
	}
	req, _ := http.NewRequestWithContext(t.Context(), "POST", r.url+"/_sim/clock", http.NoBody)
	req.Header.Set("Content-Type", "text/plain") // as a form of a foreign page could send
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Error(resp.Status)
	}
}

func TestTheControlListsWhatThereIs(t *testing.T) {
	r := newRig(t, Options{})
	r.ok(t, "POST", "/webhooks", `{"event":"item/created","url":"`+r.URL+`"}`)
	item := r.connected(t, "user-ok")
	r.Next(t, "item/created")
	_, out := r.call(t, "GET", "/_sim/items", "", "")
	one := out["items"].([]any)[0].(map[string]any)
	if one["user"] != "user-ok" || one["item"].(map[string]any)["id"] != item {
		t.Error(one)
	}
	for _, x := range one["accounts"].([]any) {
		a := x.(map[string]any)
		tie := a["tie"].(map[string]any)
		sum := money(tie["opening"].(string)).Add(money(tie["posted"].(string))).Add(money(tie["pending"].(string)))
		if a["type"] == "CREDIT" {
			sum = sum.Add(money(tie["future"].(string)))
		}
		if !sum.Equal(money(string(a["balance"].(json.Number)))) || a["transactions"] == json.Number("0") {
			t.Errorf("%v", a)
		}
	}
	waitFor(t, func() bool {
		_, out := r.call(t, "GET", "/_sim/webhooks", "", "")
		list := out["deliveries"].([]any)
		return len(list) == 1 && list[0].(map[string]any)["status"] == json.Number("200") && out["waiting"] == json.Number("0")
	})
}

func TestConsentsBelongToOpenFinance(t *testing.T) {
	r := newRig(t, Options{})
	item := r.connectedAt(t, 601, "user-ok")
	list := r.ok(t, "GET", "/consents?itemId="+item, "")["results"].([]any)
	consent := list[0].(map[string]any)
	if len(list) != 1 || consent["itemId"] != item || consent["expiresAt"] != nil || consent["revokedAt"] != nil {
		t.Errorf("%v", list)
	}
	if diff := cmp.Diff(any(consent), any(r.ok(t, "GET", "/consents/"+consent["id"].(string), ""))); diff != "" {
		t.Error(diff)
	}
	if list := r.ok(t, "GET", "/consents?itemId="+r.connected(t, "user-ok"), "")["results"].([]any); len(list) != 0 {
		t.Errorf("%v", list)
	}
	if list := r.ok(t, "GET", "/categories?parentId=17000000", "")["results"].([]any); len(list) != 2 || list[0].(map[string]any)["parentDescription"] != "Housing" {
		t.Errorf("%v", list)
	}
}

// TestTheSameSeedIsTheSameHistory is what a simulator that replays relies on.
func TestTheSameSeedIsTheSameHistory(t *testing.T) {
	history := func(seed uint64) (out []string) {
		c := newClock()
		b := simBank(seed, c)
		for n := range 3 {
			id, _, err := b.Connect(testClient, "t", ItemOptions{}, Visit{Connector: 601, User: fmt.Sprintf("user-ok+%d", n), Password: goodPassword})
			if err != nil {
				t.Fatal(err)
			}
			accounts, err := b.Accounts(testClient, id)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = b.Add(accounts[0].ID, Row{Amount: money("1"), Description: "x"})
			_ = b.ChurnAccount(accounts[2].ID)
			b.Announce()
			c.advance(25 * time.Hour)
			b.Tick()
			s, err := b.Item(testClient, id)
			out = append(out, fmt.Sprint(s, err))
		}
		if err := b.RemoveItem(testClient, b.sortedItems()[0].id); err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Drain() {
			out = append(out, fmt.Sprint(e))
		}
		return out
	}
	if diff := cmp.Diff(history(1), history(1)); diff != "" {
		t.Error(diff)
	}
	if cmp.Equal(history(1), history(2)) {
		t.Error("the seed changes nothing")
	}
}
