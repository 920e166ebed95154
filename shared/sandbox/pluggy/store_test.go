package pluggy

import (
	"net/http"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/provider/providertest"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/google/go-cmp/cmp"
)

func (r *rig) everything(t *testing.T, items ...string) (all []map[string]any) {
	t.Helper()
	for _, item := range items {
		all = append(all, r.ok(t, "GET", "/items/"+item, ""))
		accounts := r.ok(t, "GET", "/accounts?itemId="+item, "")
		all = append(all, accounts)
		for _, a := range accounts["results"].([]any) {
			id := a.(map[string]any)["id"].(string)
			all = append(all, r.ok(t, "GET", "/v2/transactions?accountId="+id, ""), r.ok(t, "GET", "/bills?accountId="+id, ""))
		}
	}
	return all
}

func TestARestartGoesOnWhereTheServerEnded(t *testing.T) {
	db := providertest.OpenDisk(t)
	o := Options{DB: db, Config: Config{MinUpdate: -1, WaitForSync: true}}
	r := newRig(t, o)
	r.Answer(func(received) int { return 500 })
	item := r.connectedAt(t, 601, "user-ok")
	broken, _, err := r.Connect(r.token(t, `{}`), Visit{Connector: 3, User: "user-ok-select", Password: goodPassword})
	if err != nil {
		t.Fatal(err)
	}
	account := r.accountOf(t, item, "BANK")
	hook := r.ok(t, "POST", "/webhooks", `{"event":"all","url":"`+r.URL+`","headers":{"X-Secret":"s"}}`)
	if err := r.Do(func(b *Bank) error {
		_, err := b.Add(account, Row{Amount: money("1.2345"), Description: "not collected yet", Card: &CardData{Total: moneyPtr("3")}})
		return cmpErr(err, b.SetHealth(602, Unstable), b.AddConnector(Connector{ID: 900, Name: "Banco Próprio"}))
	}); err != nil {
		t.Fatal(err)
	}
	if status, out := r.call(t, "POST", "/_sim/clock", "", `{"advance_seconds":60}`); status != 200 {
		t.Fatal(out)
	}
	before := r.everything(t, item)

	o.Clients = map[string]secret.String{testClient: secret.New(testSecret)}
	o.Now, o.LocalWebhooks, o.BaseURL = r.clock.now, true, r.url
	again, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	after := newRigAt(t, r, again)
	if diff := cmp.Diff(before, after.everything(t, item)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(hook, after.ok(t, "GET", "/webhooks/"+hook["id"].(string), "")); diff != "" {
		t.Error(diff)
	}
	if got := after.ok(t, "GET", "/connectors/900", ""); got["name"] != "Banco Próprio" {
		t.Error(got)
	}
	if got := after.ok(t, "GET", "/connectors/602", ""); got["health"].(map[string]any)["status"] != Unstable {
		t.Error(got)
	}
	if got := after.ok(t, "POST", "/items/"+broken+"/mfa", `{"device":"sms"}`); got["status"] != Updating {
		t.Error(got)
	}
	if got := after.ok(t, "GET", "/items/"+broken, ""); got["status"] != Updated {
		t.Error(got)
	}
	after.ok(t, "PATCH", "/items/"+item, `{}`)
	after.ok(t, "GET", "/items/"+item, "")
	first := after.ok(t, "GET", "/v2/transactions?accountId="+account+"&createdAtFrom="+noon.Add(time.Second).Format(wireTime), "")["results"].([]any)
	if len(first) != 1 || first[0].(map[string]any)["description"] != "not collected yet" {
		t.Errorf("%d rows: %v", len(first), first)
	}
}

// newRigAt serves another Server where a rig's was, with the same API key.
func newRigAt(t *testing.T, r *rig, s *Server) *rig {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/pluggy/", http.StripPrefix("/pluggy", s))
	server := serve(t, mux)
	return &rig{Server: s, clock: r.clock, url: server + "/pluggy", key: r.key, Receiver: r.Receiver}
}
