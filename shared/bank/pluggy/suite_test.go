package pluggy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/bank/banktest"
	sandbox "github.com/bkper/automations-portal/shared/sandbox/pluggy"
	"github.com/bkper/automations-portal/shared/sandbox/provider/providertest"
	"github.com/bkper/automations-portal/shared/secret"
)

func TestPluggyIsAProvider(t *testing.T) { banktest.Run(t, harness) }

func TestTheSuiteSeesPlantedFaults(t *testing.T) { banktest.RunPlants(t, harness) }

const (
	suiteUser      = "suite-person"
	suiteClient    = "client-id"
	suiteSecret    = "client-secret-canary"
	suiteConnector = 9001
)

// harness is the sandbox's Pluggy with one bank, at which one customer has more history than fits a page.
func harness(t testing.TB) banktest.Harness {
	t.Helper()
	server, err := sandbox.New(sandbox.Options{
		Clients: map[string]secret.String{suiteClient: secret.New(suiteSecret)}, LocalWebhooks: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	b := &theBankOf{server: server, rows: map[string]banktest.Entry{}, today: civil.DateOf(time.Now().In(bankTime))}
	front := &banktest.Faults{Next: server}
	at, bells := httptest.NewServer(front), httptest.NewServer(http.HandlerFunc(b.hear))
	t.Cleanup(at.Close)
	t.Cleanup(bells.Close)
	providertest.Run(t, server)
	p := adapter(t, at.URL, b.now)
	p.clientID, p.secret = suiteClient, secret.New(suiteSecret)
	if _, err := p.Register(t.Context(), bells.URL+"/webhook/pluggy"); err != nil {
		t.Fatal(err)
	}
	if err := b.open(); err != nil {
		t.Fatal(err)
	}
	return banktest.Harness{
		Provider: p, Bank: b, Faults: front, Country: "BR", Institution: fmt.Sprint(suiteConnector), Query: "Suite Savings", Today: b.today,
		Secrets: []string{suiteSecret, theSecret},
		Sign:    func([]byte) http.Header { return http.Header{WebhookHeader: {theSecret}} },
	}
}

// theBankOf plays the bank and the person through the sandbox's own types. It remembers what it wrote on the statements, so that
// what Pluggy tells is compared with what the bank did.
type theBankOf struct {
	server *sandbox.Server
	today  civil.Date

	mu    sync.Mutex
	rows  map[string]banktest.Entry // by row; Account is the bank's own id here
	names map[string]string         // the bank's own id of an account, by the id under which an item shows it
	sent  []banktest.Webhook
	extra int
	skew  time.Duration
}

const historyRows = 1100 // a page has 500

// now is the adapter's clock: a person who leaves is known by the time that has passed.
func (b *theBankOf) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Add(b.skew)
}

func (b *theBankOf) hear(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "cut", http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, banktest.Webhook{Header: r.Header, Body: body})
}

func (b *theBankOf) open() error {
	accounts := []sandbox.Holding{
		{Name: "Suite Checking", Number: "0001/1001-1", Type: sandbox.BankAccount, Subtype: "CHECKING_ACCOUNT", Currency: "BRL"},
		{Name: "Suite Card", Number: "2002", Type: sandbox.CardAccount, Subtype: "CREDIT_CARD", Currency: "BRL"},
	}
	return b.server.Do(func(s *sandbox.Bank) error {
		err := s.AddConnector(sandbox.Connector{ID: suiteConnector, Name: "Suite Savings Bank"})
		if err != nil {
			return err
		}
		ids, err := s.AddCustomer(suiteConnector, suiteUser, accounts)
		if err != nil {
			return err
		}
		for i := range historyRows {
			e := banktest.Entry{
				Account: ids[i%2], Date: b.today.AddDays(-i / 4), Amount: decimal.New(int64(100+i*37%90000), -2),
				Direction: way(i), Text: fmt.Sprintf("HISTORY *%d", i),
			}
			if _, err := b.write(s, e); err != nil {
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

func (b *theBankOf) write(s *sandbox.Bank, e banktest.Entry) (string, error) {
	kind := sandbox.Debit
	if e.Direction == bank.In {
		kind = sandbox.Credit
	}
	ids, err := s.Add(e.Account, sandbox.Row{Date: e.Date.String(), Type: kind, Amount: e.Amount, Description: e.Text, Pending: e.Pending})
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if own, known := b.names[e.Account]; known {
		e.Account = own
	}
	b.rows[ids[0]] = e
	return ids[0], nil
}

// visit does what the person does in the widget.
func (b *theBankOf) SignIn(_ context.Context, begun bank.Begun) (string, error) {
	var shown widget
	if err := json.Unmarshal([]byte(begun.Widget.Reveal()), &shown); err != nil {
		return "", err
	}
	id, status, err := b.server.Connect(shown.Token, sandbox.Visit{Connector: suiteConnector, User: suiteUser, Password: "password-ok"})
	if err == nil && status != "UPDATED" {
		err = fmt.Errorf("the item is %s", status)
	}
	if err != nil {
		return "", err
	}
	return id, b.learn(id)
}

// learn notes under which ids an item shows the accounts.
func (b *theBankOf) learn(item string) error {
	w := httptest.NewRecorder()
	b.server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/_sim/items", nil))
	var said struct {
		Items []struct {
			Accounts []struct {
				ID  string `json:"id"`
				Own string `json:"bank_account"`
			} `json:"accounts"`
		} `json:"items"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.names = map[string]string{}
	for _, i := range said.Items {
		for _, a := range i.Accounts {
			b.names[a.ID] = a.Own
		}
	}
	return nil
}

func (b *theBankOf) Leave(context.Context, bank.Begun) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.skew += 24 * time.Hour
	return "", nil
}

func (b *theBankOf) Statement(_ context.Context, account string) ([]banktest.Entry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	own, known := b.names[account]
	if !known {
		return nil, fmt.Errorf("no account %s", account)
	}
	var entries []banktest.Entry
	for _, e := range b.rows {
		if e.Account == own {
			e.Account = account
			entries = append(entries, e)
		}
	}
	return entries, nil
}

func (b *theBankOf) Add(_ context.Context, e banktest.Entry) (row string, err error) {
	err = b.server.Do(func(s *sandbox.Bank) error {
		row, err = b.write(s, e)
		return err
	})
	return row, err
}

// edit changes a row at the bank and what is remembered of it.
func (b *theBankOf) edit(row string, change func(*banktest.Entry), do func(*sandbox.Bank) error) error {
	b.mu.Lock()
	if e, known := b.rows[row]; known && change != nil {
		change(&e)
		b.rows[row] = e
	} else {
		delete(b.rows, row)
	}
	b.mu.Unlock()
	return b.server.Do(do)
}

func (b *theBankOf) Settle(_ context.Context, row string, amount decimal.Decimal) error {
	return b.edit(row, func(e *banktest.Entry) { e.Amount, e.Pending, e.Date = amount, false, b.today }, func(s *sandbox.Bank) error {
		return s.Amend(row, sandbox.Amendment{Amount: &amount, Post: true, Date: b.today.String()})
	})
}

func (b *theBankOf) Amend(_ context.Context, row string, amount decimal.Decimal) error {
	return b.edit(row, func(e *banktest.Entry) { e.Amount = amount }, func(s *sandbox.Bank) error {
		return s.Amend(row, sandbox.Amendment{Amount: &amount})
	})
}

func (b *theBankOf) Take(_ context.Context, row string) error {
	return b.edit(row, nil, func(s *sandbox.Bank) error { return s.Vanish(row) })
}

func (b *theBankOf) Open(_ context.Context, item string) error {
	b.mu.Lock()
	b.extra++
	number := fmt.Sprintf("0001/%d-1", 3000+b.extra)
	b.mu.Unlock()
	err := b.server.Do(func(s *sandbox.Bank) error {
		_, err := s.OpenAccount(suiteConnector, suiteUser, sandbox.Holding{
			Name: "Suite Savings", Number: number, Type: sandbox.BankAccount, Subtype: "SAVINGS_ACCOUNT", Currency: "BRL",
		})
		if err == nil {
			err = s.Sync(item)
		}
		return err
	})
	if err != nil {
		return err
	}
	return b.learn(item)
}

func (b *theBankOf) BreakLogin(_ context.Context, item string) error {
	return b.server.Do(func(s *sandbox.Bank) error { return s.Fail(item, "INVALID_CREDENTIALS", "") })
}

func (b *theBankOf) Revoke(_ context.Context, item string) error {
	return b.server.Do(func(s *sandbox.Bank) error { return s.Revoke(item) })
}

// Mutate does nothing: a page of Pluggy's stays what it is whatever comes between.
func (*theBankOf) Mutate(context.Context, string) error { return nil }

// Webhooks waits until the sandbox has none left to send.
func (b *theBankOf) Webhooks(ctx context.Context) ([]banktest.Webhook, error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		w := httptest.NewRecorder()
		b.server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/_sim/webhooks", nil))
		var said struct{ Waiting int }
		if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil {
			return nil, err
		}
		if said.Waiting == 0 {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	sent := b.sent
	b.sent = nil
	return sent, nil
}
