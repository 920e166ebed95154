package posting

import (
	"context"
	"errors"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/telemetry"
)

// tell counts how the work on a connection ended.
func (r *run) tell(ctx context.Context, err error) {
	provider := ""
	if r.conn != nil {
		provider = r.conn.Provider
	}
	outcome, code := outcomeOf(err)
	r.p.Telemetry.Add(ctx, telemetry.Syncs, 1, provider, outcome, code)
}

func outcomeOf(err error) (outcome, code string) {
	var broken storeError
	switch {
	case err == nil:
		return "done", ""
	case errors.Is(err, ErrFenced):
		return "overtaken", ""
	case errors.Is(err, errBudget):
		return "unfinished", ""
	case errors.As(err, &broken):
		return "store", ""
	}
	return string(bank.KindOf(err)), bank.CodeOf(err)
}
