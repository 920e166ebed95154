package access_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bkper/automations-portal/shared/access"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/web"
)

func TestAnErrorOfTheBookIsNeverToldAsOneOfTheBank(t *testing.T) {
	for name, row := range map[string]struct {
		err    error
		status int
	}{
		"login":    {&bank.Error{Kind: bank.UserMustAct, Code: "login_required", Err: ledger.ErrLogin}, 401},
		"grant":    {&bank.Error{Kind: bank.UserMustAct, Code: "consent_required"}, 401},
		"access":   {&bank.Error{Kind: bank.UserMustAct, Code: "no_access", Err: ledger.ErrNoAccess}, 404},
		"no Book":  {&bank.Error{Kind: bank.Permanent, Code: "http_404", Err: ledger.ErrNotFound}, 404},
		"refused":  {&bank.Error{Kind: bank.Permanent, Code: "http_400", Err: ledger.ErrRefused}, 0},
		"passing":  {&bank.Error{Kind: bank.Retry}, 0},
		"our own":  {errors.New("a bug"), 0},
		"no error": {nil, 0},
	} {
		err := access.ExplainLedger(row.err)
		var p *web.Problem
		if row.status == 0 {
			if err != row.err {
				t.Errorf("%s: %v, want it left to the edge", name, err)
			}
			continue
		}
		if !errors.As(err, &p) || p.Status != row.status || strings.Contains(p.Detail, "bank") || !errors.Is(err, row.err) {
			t.Errorf("%s: %v %+v", name, err, p)
		}
	}
}

func TestAnErrorOfTheBankTellsTheWayBack(t *testing.T) {
	for code, cause := range map[string]error{
		"connection_gone": &bank.Error{Kind: bank.Permanent, Code: "X", Err: bank.ErrGone},
		"sign_in_again":   &bank.Error{Kind: bank.UserMustAct, Code: "X"},
	} {
		err := access.ExplainBank(fmt.Errorf("begin: %w", cause))
		var p *web.Problem
		if !errors.As(err, &p) || p.Code != code || p.Status != 409 || !errors.Is(err, cause) {
			t.Errorf("%s: %v", code, err)
		}
	}
	for _, cause := range []error{nil, errors.New("a bug"), &bank.Error{Kind: bank.OurFault}, &bank.Error{Kind: bank.RetryAfter}} {
		if err := access.ExplainBank(cause); err != cause {
			t.Errorf("%v: %v, want it left to the edge", cause, err)
		}
	}
}
