package plaid

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/bank/banktest"
	sandbox "github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/secret"
)

func TestPlaidIsAProvider(t *testing.T) { banktest.Run(t, harness) }

func TestTheSuiteSeesPlantedFaults(t *testing.T) { banktest.RunPlants(t, harness) }

const (
	suiteUser   = "suite_person"
	suiteClient = "client-id"
	suiteSecret = "client-secret-canary"
)

// harness is the sandbox's Plaid with one bank, at which one customer has more history than fits a page.
func harness(t testing.TB) banktest.Harness {
	t.Helper()
	server, err := sandbox.New(sandbox.Options{Clients: map[string]secret.String{suiteClient: secret.New(suiteSecret)}})
	if err != nil {
		t.Fatal(err)
	}
	keys := newKeyServer(t)
	front := &banktest.Faults{Next: &front{keys: keys, next: server}}
	at := httptest.NewServer(front)
	t.Cleanup(at.Close)
	p, err := New(Config{
		Environment: Sandbox, BaseURL: at.URL, ClientID: suiteClient, Secret: secret.New(suiteSecret), ClientName: "Automations",
		HTTPClient: &http.Client{Transport: toSpecification(t)},
	})
	if err != nil {
		t.Fatal(err)
	}
	b := &theBank{server: server, keys: keys, rows: map[string]banktest.Entry{}, today: civil.DateOf(time.Now().UTC())}
	if err := b.open(); err != nil {
		t.Fatal(err)
	}
	return banktest.Harness{
		Provider: p, Bank: b, Faults: front, Country: "US", Institution: b.institution, Query: "Suite Savings", Today: b.today,
		Signed: true, Linked: true, Mutates: true, Secrets: []string{suiteSecret},
		Sign: func(body []byte) http.Header {
			header, _ := keys.signed(goodKid, string(body), time.Now())
			return header
		},
	}
}

// front adds a verification key of the test's own to those of the sandbox.
type front struct {
	keys *keyServer
	next http.Handler
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != keyCall {
		f.next.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "cut", http.StatusBadRequest)
		return
	}
	var asked struct {
		ID string `json:"key_id"`
	}
	if json.Unmarshal(body, &asked) == nil && asked.ID == goodKid {
		r.Header.Set("Test-Kid", goodKid)
		f.keys.ServeHTTP(w, r)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	f.next.ServeHTTP(w, r)
}

// theBank plays the bank and the person through the sandbox's own types. It remembers what it wrote on the statements, so
// that what Plaid tells is compared with what the bank did.
type theBank struct {
	server      *sandbox.Server
	keys        *keyServer
	institution string
	today       civil.Date

	mu    sync.Mutex
	rows  map[string]banktest.Entry // by row; Account is the mask here
	sent  []sandbox.Webhook
	extra int
}

const historyRows = 1100 // a page has 500

func (b *theBank) open() error {
	accounts := []sandbox.Holding{
		{Name: "Suite Checking", Mask: "1001", Type: "depository", Subtype: "checking", Currency: "USD"},
		{Name: "Suite Card", Mask: "2002", Type: "credit", Subtype: "credit card", Currency: "USD"},
	}
	return b.do(func(s *sandbox.Bank) error {
		bank, err := s.AddInstitution("ins_suite", "Suite Savings Bank", []string{"US"}, false)
		if err != nil {
			return err
		}
		b.institution = bank.ID
		ids, err := s.AddCustomer(bank.ID, suiteUser, accounts)
		if err != nil {
			return err
		}
		for i := range historyRows {
			e := banktest.Entry{
				Account: accounts[i%2].Mask, Date: b.today.AddDays(-i / 2), Amount: decimal.New(int64(100+i*37%90000), -2),
				Direction: way(i), Text: fmt.Sprintf("HISTORY *%d", i),
			}
			if err := b.write(s, ids[i%2], e); err != nil {
				return err
			}
		}
		return nil
	})
}

func way(i int) bank.Direction {
	if i%3 == 0 {
		return bank.In
	}
	return bank.Out
}

// do runs f on the sandbox's bank and keeps the webhooks that come of it.
func (b *theBank) do(f func(*sandbox.Bank) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.server.Do(func(s *sandbox.Bank) error {
		err := f(s)
		s.Announce()
		b.sent = append(b.sent, s.Drain()...)
		return err
	})
}

func (b *theBank) write(s *sandbox.Bank, account string, e banktest.Entry) error {
	ids, err := s.Add(account, plaidRow(e))
	if err == nil {
		b.rows[ids[0]] = e
	}
	return err
}

func plaidRow(e banktest.Entry) sandbox.Row {
	return sandbox.Row{Date: e.Date.String(), Amount: signed(e), Description: e.Text, Name: "cleaned " + e.Text, Pending: e.Pending}
}

// signed is the amount as Plaid has it: positive is money out.
func signed(e banktest.Entry) decimal.Decimal {
	if e.Direction == bank.In {
		return e.Amount.Neg()
	}
	return e.Amount
}

// visit opens the hosted page and acts until the session is over.
func (b *theBank) visit(begun bank.Begun, act func(sandbox.Step) sandbox.Act) error {
	at, err := url.Parse(begun.URL)
	if err != nil {
		return err
	}
	hosted := path.Base(at.Path)
	return b.do(func(s *sandbox.Bank) error {
		id, err := s.StartSession(hosted)
		if err != nil {
			return err
		}
		for range 10 {
			v, err := s.Session(hosted, id)
			if err != nil {
				return err
			}
			if v.Error != nil {
				return v.Error
			}
			if v.Step == sandbox.Finished || !v.Finished.IsZero() {
				return nil
			}
			if err := s.Act(hosted, id, act(v.Step)); err != nil {
				return err
			}
		}
		return fmt.Errorf("the session does not end")
	})
}

func (b *theBank) SignIn(_ context.Context, begun bank.Begun) (string, error) {
	return "", b.visit(begun, func(step sandbox.Step) sandbox.Act {
		return sandbox.Act{Step: step, Institution: b.institution, User: suiteUser, Password: "pass_good", All: true}
	})
}

func (b *theBank) Leave(_ context.Context, begun bank.Begun) (string, error) {
	return "", b.visit(begun, func(sandbox.Step) sandbox.Act { return sandbox.Act{Exit: true} })
}

// mask finds an account of any item by its id.
func mask(s *sandbox.Bank, account string) (string, error) {
	for _, item := range s.Items() {
		accounts, err := s.ItemAccounts(item.ID)
		if err != nil {
			return "", err
		}
		for _, a := range accounts {
			if a.AccountID == account {
				return a.Mask, nil
			}
		}
	}
	return "", fmt.Errorf("no account %s", account)
}

func (b *theBank) Statement(_ context.Context, account string) ([]banktest.Entry, error) {
	var entries []banktest.Entry
	err := b.do(func(s *sandbox.Bank) error {
		number, err := mask(s, account)
		for _, e := range b.rows {
			if e.Account == number {
				e.Account = account
				entries = append(entries, e)
			}
		}
		return err
	})
	return entries, err
}

func (b *theBank) Add(_ context.Context, e banktest.Entry) (row string, err error) {
	err = b.do(func(s *sandbox.Bank) error {
		ids, err := s.Add(e.Account, plaidRow(e))
		if err != nil {
			return err
		}
		row = ids[0]
		e.Account, err = mask(s, e.Account)
		b.rows[row] = e
		return err
	})
	return row, err
}

func (b *theBank) Settle(_ context.Context, row string, amount decimal.Decimal) error {
	return b.do(func(s *sandbox.Bank) error {
		e := b.rows[row]
		e.Amount, e.Pending, e.Date = amount, false, b.today
		final := signed(e)
		settled, err := s.Settle(row, sandbox.Settlement{Amount: &final, Date: b.today.String()})
		if err != nil {
			return err
		}
		delete(b.rows, row)
		b.rows[settled] = e
		return nil
	})
}

func (b *theBank) Amend(_ context.Context, row string, amount decimal.Decimal) error {
	return b.do(func(s *sandbox.Bank) error {
		e := b.rows[row]
		e.Amount = amount
		b.rows[row] = e
		final := signed(e)
		return s.Amend(row, sandbox.Amendment{Amount: &final})
	})
}

func (b *theBank) Take(_ context.Context, row string) error {
	return b.do(func(s *sandbox.Bank) error {
		delete(b.rows, row)
		return s.Vanish(row)
	})
}

func (b *theBank) Open(context.Context, string) error {
	return b.do(func(s *sandbox.Bank) error {
		b.extra++
		_, err := s.OpenAccount(b.institution, suiteUser, sandbox.Holding{
			Name: "Suite Savings", Mask: fmt.Sprint(3000 + b.extra), Type: "depository", Subtype: "savings", Currency: "USD",
		})
		return err
	})
}

func (b *theBank) BreakLogin(_ context.Context, item string) error {
	return b.do(func(s *sandbox.Bank) error { return s.Fail(item, "ITEM_LOGIN_REQUIRED", "") })
}

func (b *theBank) Revoke(_ context.Context, item string) error {
	return b.do(func(s *sandbox.Bank) error { return s.Revoke(item) })
}

func (b *theBank) Mutate(_ context.Context, item string) error {
	return b.do(func(s *sandbox.Bank) error { return s.ForceMutation(item, 1) })
}

func (b *theBank) Webhooks(context.Context) ([]banktest.Webhook, error) {
	b.mu.Lock()
	sent := b.sent
	b.sent = nil
	b.mu.Unlock()
	var hooks []banktest.Webhook
	for _, w := range sent {
		if !strings.HasPrefix(w.URL, "https://portal.example/") {
			return nil, fmt.Errorf("a webhook was sent to %s", w.URL)
		}
		header, body := b.keys.signed(goodKid, string(w.Body()), time.Now())
		header.Set("Content-Type", "application/json")
		hooks = append(hooks, banktest.Webhook{Header: header, Body: body})
	}
	return hooks, nil
}
