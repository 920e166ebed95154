package connect_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
)

// lasting is a provider whose items are there from the sign-in on, and stay until they are ended.
type lasting struct {
	finished
	state bank.VisitState
	items []string
	down  int    // discards that fail
	tried string // one that never worked, of which the provider knows that only after some looks
	looks int
}

func (l *lasting) Outcome(_ context.Context, v bank.Visit) (bank.Outcome, error) {
	out := bank.Outcome{State: l.state}
	if l.tried != "" && v.Hint == l.tried {
		if l.looks--; l.looks >= 0 {
			return bank.Outcome{State: bank.Visiting}, nil
		}
		out.State = bank.Left
	}
	for _, id := range l.items {
		if v.Ref == "ref" && v.Hint == id {
			out.Candidates = append(out.Candidates, bank.Candidate{
				Key: "key of " + id, Public: secret.New(id), Institution: bank.Institution{ID: "i1"},
				Accounts: []bank.Account{{Name: "Savings", Mask: "1"}},
			})
		}
	}
	return out, nil
}

func (l *lasting) Exchange(_ context.Context, c bank.Candidate) (bank.Grant, error) {
	return bank.Grant{Item: c.Public.Reveal(), Token: secret.New(c.Public.Reveal())}, nil
}

func (l *lasting) Discard(_ context.Context, c bank.Candidate) error {
	if l.down > 0 {
		l.down--
		return fault(bank.Retry)
	}
	l.items = slices.DeleteFunc(l.items, func(id string) bool { return id == c.Public.Reveal() })
	return nil
}

func TestWhatIsMadeAndNotKeptIsEndedAtTheProvider(t *testing.T) {
	for name, row := range map[string]struct {
		provider *lasting
		did      func(*visit)
		state    string
		left     []string
	}{
		"one is kept": {&lasting{state: bank.Finished, items: []string{"one"}}, func(v *visit) { v.complete("one") }, "kept", []string{"one"}},
		"a second sign-in in the same window": {
			&lasting{state: bank.Finished, items: []string{"one", "two"}}, func(v *visit) { v.complete("one"); v.push("two") }, "kept", []string{"one"},
		},
		"a second one, told while the provider is down": {
			&lasting{state: bank.Finished, items: []string{"one", "two"}, down: 2}, func(v *visit) { v.complete("one"); v.push("two"); v.push(""); v.push("") }, "kept", []string{"one"},
		},
		"the kept one is told again": {
			&lasting{state: bank.Finished, items: []string{"one"}}, func(v *visit) { v.complete("one"); v.push("one"); v.push("other"); v.push("one") }, "kept", []string{"one"},
		},
		"another bank was tried before": {
			&lasting{state: bank.Finished, items: []string{"bad", "one"}, tried: "bad", looks: 2}, func(v *visit) { v.push("bad"); v.complete("one"); v.push(""); v.push("") }, "kept", []string{"one"},
		},
		"it never worked": {&lasting{state: bank.Left, items: []string{"one"}}, func(v *visit) { v.push("one") }, "cancelled", nil},
		"it never worked, and the provider is down": {
			&lasting{state: bank.Left, items: []string{"one"}, down: 1}, func(v *visit) { v.push("one"); v.push("") }, "cancelled", nil,
		},
		"the bank is connected already": {&lasting{state: bank.Finished, items: []string{"one"}}, func(v *visit) { v.hasBank(); v.complete("one") }, "duplicate", nil},
		"the bank is connected already, and the provider is down": {
			&lasting{state: bank.Finished, items: []string{"one"}, down: 1}, func(v *visit) { v.hasBank(); v.complete("one"); v.push("") }, "duplicate", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVisit(t, row.provider)
			row.did(v)
			if c := v.complete(""); c.State != row.state {
				t.Errorf("%+v; %s", c, &v.log)
			}
			if diff := cmp.Diff(row.left, row.provider.items, cmp.Transformer("nil", func(s []string) int { return len(s) })); diff != "" {
				t.Errorf("at the provider: %v; %s", row.provider.items, &v.log)
			}
			if _, err := v.tokens.Get(t.Context(), vault.SessionHandle("s")); err == nil {
				t.Error("the handle is kept")
			}
			if s, err := store.Sessions.Get(t.Context(), v.store, "s"); err != nil || s.Vain || !s.Due.IsZero() {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

// hasBank gives the person a connection to the same bank.
func (v *visit) hasBank() {
	v.t.Helper()
	conn := &bank.Connection{
		ID: "had", Owner: "ana", Provider: "p", Item: "had", State: bank.Active, Institution: bank.Institution{ID: "i1"},
		Accounts: []bank.LinkedAccount{{Key: "a", Account: bank.Account{ID: "a", Name: "Savings", Mask: "1"}}},
	}
	if err := v.store.Update(v.t.Context(), func(tx store.Tx) error { return store.Connections.Put(tx, conn) }); err != nil {
		v.t.Fatal(err)
	}
}
