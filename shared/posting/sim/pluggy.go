package sim

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	adapter "github.com/bkper/automations-portal/shared/bank/pluggy"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/sandbox/pluggy"
	"github.com/bkper/automations-portal/shared/secret"
)

// brazilianBank tells no removal to whoever reads, and gives rows other ids. How that is followed is the better part of its
// adapter, so histories go through the real one, which calls the sandbox's server without a network.
type brazilianBank struct {
	*adapter.Pluggy
	server *pluggy.Server
	heard  []events.Message // and not yet asked for by rings
}

const (
	brazilianID     = 9001
	brazilianClient = "client"
	brazilianSecret = "the client's secret"
)

func newPluggy(w *world) institution {
	now := func() time.Time { return w.now }
	server, err := pluggy.New(pluggy.Options{
		Config:  pluggy.Config{Now: now, Rand: rand.New(rand.NewPCG(w.rng.Uint64(), 1))},
		Clients: map[string]secret.String{brazilianClient: secret.New(brazilianSecret)},
	})
	must(err)
	reader, err := adapter.New(adapter.Config{
		Environment: adapter.Sandbox, BaseURL: "http://localhost", ClientID: brazilianClient, ClientSecret: secret.New(brazilianSecret),
		HTTPClient: &http.Client{Transport: within{server}}, Now: now,
	})
	must(err)
	return &brazilianBank{Pluggy: reader, server: server}
}

// within carries requests to a handler.
type within struct{ to http.Handler }

func (w within) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	answer := httptest.NewRecorder()
	w.to.ServeHTTP(answer, r)
	return answer.Result(), nil
}

// do changes something at the bank. Webhooks are taken out before the server sends them by itself.
func (b *brazilianBank) do(what func(*pluggy.Bank) error) {
	must(b.server.Do(func(at *pluggy.Bank) error {
		err := what(at)
		at.Announce()
		for _, e := range at.Drain() {
			if strings.HasPrefix(e.Name, "transactions/") || e.Name == "item/updated" {
				b.heard = append(b.heard, events.Message{Item: e.ItemID, Deep: e.Name == "transactions/updated" || e.Name == "transactions/deleted"})
			}
		}
		return err
	}))
}

// open opens an account and a card, which has the other signs.
func (b *brazilianBank) open(accounts int) (ids []string) {
	var holdings []pluggy.Holding
	for i := range accounts {
		h := pluggy.Holding{Name: accountName(i), Number: fmt.Sprintf("0001/%05d-0", 1000+i), Type: pluggy.BankAccount, Subtype: "CHECKING_ACCOUNT", Currency: "BRL"}
		if i%2 == 1 {
			h.Number, h.Type, h.Subtype = fmt.Sprint(1000+i), pluggy.CardAccount, "CREDIT_CARD"
		}
		holdings = append(holdings, h)
	}
	b.do(func(at *pluggy.Bank) (err error) {
		if err := at.AddConnector(pluggy.Connector{ID: brazilianID, Name: "Bank"}); err != nil {
			return err
		}
		ids, err = at.AddCustomer(brazilianID, customer, holdings)
		return err
	})
	return ids
}

func (b *brazilianBank) connect() (item string) {
	b.do(func(at *pluggy.Bank) (err error) {
		item, _, err = at.Connect(brazilianClient, "", pluggy.ItemOptions{}, pluggy.Visit{Connector: brazilianID, User: customer, Password: "password-ok"})
		return err
	})
	return item
}

func (b *brazilianBank) disconnect(token string) {
	b.do(func(at *pluggy.Bank) error { return at.RemoveItem(brazilianClient, token) })
}

func (b *brazilianBank) paged(int) {}

func (b *brazilianBank) add(account string, date civil.Date, amount decimal.Decimal, text string, pending bool) (id string) {
	kind := pluggy.Debit
	if amount.IsNegative() {
		kind = pluggy.Credit
	}
	b.do(func(at *pluggy.Bank) error {
		ids, err := at.Add(account, pluggy.Row{Date: date.String(), Type: kind, Amount: amount.Abs(), Description: text, Pending: pending})
		if err == nil {
			id = ids[0]
		}
		return err
	})
	return id
}

func (b *brazilianBank) amend(id string, amount decimal.Decimal) {
	b.do(func(at *pluggy.Bank) error {
		return at.Amend(id, pluggy.Amendment{Amount: new(amount.Abs()), Type: pluggy.Debit, ID: pluggy.KeepID})
	})
}

// settle keeps the id, unless nothing is to link the two.
func (b *brazilianBank) settle(id string, s settlement) string {
	a := pluggy.Amendment{Post: true, Amount: s.amount, ID: pluggy.KeepID}
	if s.amount != nil {
		a.Type = pluggy.Debit
	}
	if s.unlinked || s.split {
		a.ID = pluggy.ChangeID
	}
	b.do(func(at *pluggy.Bank) error { return at.Amend(id, a) })
	return id
}

func (b *brazilianBank) vanish(id string) {
	b.do(func(at *pluggy.Bank) error { return at.Vanish(id) })
}

func (b *brazilianBank) rename(id string) {
	b.do(func(at *pluggy.Bank) error { return at.Churn(id) })
}

func (b *brazilianBank) disturb(int) {}
func (b *brazilianBank) forget()     {}

func (b *brazilianBank) due() (at time.Time) {
	b.do(func(bank *pluggy.Bank) error { at = bank.Due(); return nil })
	return at
}

func (b *brazilianBank) pass() {
	b.do(func(at *pluggy.Bank) error { at.Tick(); return nil })
}

func (b *brazilianBank) rings() []events.Message {
	heard := b.heard
	b.heard = nil
	return heard
}

// found: all is compared once a week.
func (b *brazilianBank) found() time.Duration { return 8 * 24 * time.Hour }
