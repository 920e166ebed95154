package plaid

import (
	"testing"

	"github.com/bkper/automations-portal/shared/sandbox/disk"
	"github.com/bkper/automations-portal/shared/sandbox/provider/providertest"
)

// TestTheStateOfAReleaseIsReadForEver leaves the signing key out.
func TestTheStateOfAReleaseIsReadForEver(t *testing.T) {
	kinds := []string{"clock", "customer", "entry", "holding", "hook", "institution", "item", "link", "public", "row"}
	providertest.CheckReleased(t, space, kinds, func(db *disk.DB) map[string]any {
		s, err := New(Options{DB: db})
		if err != nil {
			t.Fatal(err)
		}
		all := everything(s.bank)
		all["clock/skew"] = s.core.Clock.Skew
		for id, d := range s.core.Webhooks.Waiting {
			all["hook/"+id] = d
		}
		return all
	})
}
