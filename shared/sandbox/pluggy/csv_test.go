package pluggy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/bkper/automations-portal/shared/sandbox/bankfile"
	"github.com/google/go-cmp/cmp"
)

const file = "date,id,account,amount,currency,description,balance\n" +
	"2015-03-01,7,201972,100.00,BRL,DEPOSITO,100.00\n" +
	"2016-02-28,9,201972,-30.00,BRL,SAQUE,80.00\n" +
	"2016-02-28,8,201972,10.00,BRL,JUROS,110.00\n" +
	"2014-03-05,5,33,4.50,BRL,\"CREDITO, 1\",4.50\n"

func TestABanksFileBecomesAConnectorWhoseAccountsTieOut(t *testing.T) {
	b := simBank(1, newClock())
	s, err := bankfile.Read(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.LoadFile(s, "Banco Antigo", noon.AddDate(0, 0, -1))
	if err != nil {
		t.Fatal(err)
	}
	it := connect(t, b, c.ID, "user-ok")
	got := map[string]string{}
	for i, a := range it.accounts {
		if want := s.Closings()[i].Balance; !a.balance.Equal(want) {
			t.Errorf("%s holds %s, the file says %s", a.holding.Name, a.balance, want)
		}
		for _, x := range b.all(t, a) {
			got[x.ProviderID] = x.Date[:10] + " " + x.Signed.String() + " " + x.Description
		}
	}
	if diff := cmp.Diff(map[string]string{"7": "2025-11-20 100 DEPOSITO", "8": "2026-11-19 10 JUROS", "9": "2026-11-19 -30 SAQUE"}, got); diff != "" {
		t.Error(diff)
	}
	if again, err := b.LoadFile(s, "Banco Antigo", noon); err != nil || again != c {
		t.Errorf("loading again moved something: %v", err)
	}
}

func TestABanksFileIsTakenByTheControl(t *testing.T) {
	r := newRig(t, Options{})
	post := func(query, kind, body string) int {
		req, err := http.NewRequestWithContext(t.Context(), "POST", r.url+"/_sim/connectors?"+query, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := post("name=Antigo&last_day=2026-11-19", "text/csv", file); got != 200 {
		t.Error(got)
	}
	r.connectedAt(t, ownID("Antigo"), "user-ok")
	for query, kind := range map[string]string{"name=x&last_day=soon": "text/csv", "name=&last_day=2026-11-19": "text/csv", "name=x&last_day=2026-11-19": "text/plain"} {
		if got := post(query, kind, file); got != 400 {
			t.Errorf("%s: %d", query, got)
		}
	}
}
