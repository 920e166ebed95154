package toybank

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/bank/banktest"
)

func TestToybankIsAProvider(t *testing.T) { banktest.Run(t, harness) }

func TestTheSuiteSeesPlantedFaults(t *testing.T) { banktest.RunPlants(t, harness) }

const (
	suiteKey  = "key-of-the-suite-canary"
	suiteBell = "bell-of-the-suite-canary"
)

func harness(t testing.TB) banktest.Harness {
	t.Helper()
	s := NewService(suiteKey, suiteBell, Account{Name: "Day to day", Number: "01", Currency: "NZD"}, Account{Name: "Plastic", Number: "02", Currency: "NZD", Card: true})
	today := civil.DateOf(time.Now().UTC())
	for i := range 3 * pageRows {
		s.Add(Row{Account: i % 2, Date: today.AddDays(-i).String(), Delta: decimal.New(int64(i*7-100), -2), Text: fmt.Sprintf("HISTORY %d", i)})
	}
	faults := &banktest.Faults{Next: s}
	at := httptest.NewServer(faults)
	t.Cleanup(at.Close)
	return banktest.Harness{
		Provider: New(at.URL, suiteKey, suiteBell), Bank: person{s}, Faults: faults,
		Country: "NZ", Institution: toyInstitution.ID, Query: "aotearoa", Today: today,
		Linked: true, Secrets: []string{suiteKey, suiteBell}, Sign: func([]byte) http.Header { return s.Signed() },
	}
}

// person plays the bank and the person.
type person struct{ *Service }

func (p person) SignIn(_ context.Context, b bank.Begun) (string, error) {
	return p.Service.SignIn(b.Widget.Reveal())
}

func (p person) Leave(_ context.Context, b bank.Begun) (string, error) {
	return "", p.Service.Leave(b.Widget.Reveal())
}

func (p person) Statement(_ context.Context, account string) (entries []banktest.Entry, err error) {
	for _, r := range p.Service.Statement(account) {
		date, err := civil.ParseDate(r.Date)
		if err != nil {
			return nil, err
		}
		e := banktest.Entry{Account: account, Date: date, Amount: r.Delta.Abs(), Direction: bank.In, Text: r.Text, Pending: r.Pending}
		if r.Delta.IsNegative() != (r.Account == 1) {
			e.Direction = bank.Out
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// delta is what money in some direction does to the balance that an account shows.
func delta(amount decimal.Decimal, d bank.Direction, card bool) decimal.Decimal {
	if (d == bank.Out) == card {
		return amount
	}
	return amount.Neg()
}

func (p person) Add(_ context.Context, e banktest.Entry) (string, error) {
	no := p.AccountNo(e.Account)
	first := p.Service.Add(Row{Account: no, Date: e.Date.String(), Delta: delta(e.Amount, e.Direction, no == 1), Text: e.Text, Pending: e.Pending})
	return fmt.Sprint(first), nil
}

func (p person) change(row string, renamed bool, edit func(*Row)) error {
	var no int
	_, err := fmt.Sscan(row, &no)
	if err == nil {
		p.Change(no, renamed, edit)
	}
	return err
}

func (p person) Settle(_ context.Context, row string, amount decimal.Decimal) error {
	return p.change(row, true, func(r *Row) {
		r.Pending, r.Delta = false, amount.Mul(decimal.NewFromInt(int64(r.Delta.Sign())))
	})
}

func (p person) Amend(_ context.Context, row string, amount decimal.Decimal) error {
	return p.change(row, false, func(r *Row) { r.Delta = amount.Mul(decimal.NewFromInt(int64(r.Delta.Sign()))) })
}

func (p person) Take(_ context.Context, row string) error {
	var no int
	_, err := fmt.Sscan(row, &no)
	if err == nil {
		p.Service.Take(no)
	}
	return err
}

func (p person) Open(context.Context, string) error {
	p.OpenAccount(Account{Name: "Rainy day", Number: "03", Currency: "NZD"})
	return nil
}

func (p person) BreakLogin(_ context.Context, item string) error {
	p.Ail(item, "asks")
	return nil
}

func (p person) Revoke(_ context.Context, item string) error {
	p.Ail(item, "revoked")
	return nil
}

func (person) Mutate(context.Context, string) error { return nil }

func (p person) Webhooks(context.Context) (hooks []banktest.Webhook, err error) {
	for _, w := range p.Service.Webhooks() {
		hooks = append(hooks, banktest.Webhook{Header: w.Header, Body: w.Body})
	}
	return hooks, nil
}
