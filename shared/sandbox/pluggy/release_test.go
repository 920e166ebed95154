package pluggy

import (
	"testing"

	"github.com/bkper/automations-portal/shared/sandbox/disk"
	"github.com/bkper/automations-portal/shared/sandbox/provider/providertest"
)

// TestTheStateOfAReleaseIsReadForEver leaves the signing key out.
func TestTheStateOfAReleaseIsReadForEver(t *testing.T) {
	kinds := []string{"clock", "connector", "customer", "entry", "health", "holding", "hook", "item", "row", "webhook"}
	providertest.CheckReleased(t, space, kinds, func(db *disk.DB) map[string]any {
		s, err := New(Options{DB: db})
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]any{"clock/skew": s.core.Clock.Skew}
		put := func(d disk.Document) { all[d.Key()] = d.Doc() }
		for _, c := range s.bank.own {
			put(connectorDoc{*c, c.TwoSteps, c.Installments})
		}
		for id, status := range s.bank.health {
			put(healthDoc{id, status})
		}
		for _, c := range s.bank.customers {
			put(c)
		}
		for _, h := range s.bank.holdings {
			put(h)
		}
		for _, r := range s.bank.rows {
			put(r)
		}
		for _, it := range s.bank.items {
			put(it)
		}
		for _, e := range s.bank.entries {
			put(e)
		}
		for id, w := range s.hooks.own {
			all["webhook/"+id] = w
		}
		for id, d := range s.core.Webhooks.Waiting {
			all["hook/"+id] = d
		}
		return all
	})
}
