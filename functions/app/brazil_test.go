package app_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/functions/connect"
	"github.com/bkper/automations-portal/shared/bank"
	adapter "github.com/bkper/automations-portal/shared/bank/pluggy"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/pluggy"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/view"
)

const (
	brazilSecret = "canary-of-the-client-in-brazil"
	brazilBell   = "canary-of-the-bell-in-brazil-77"
	brazilBank   = 9100
	brazilUser   = "maria"
)

// brazil is a world with a bank of Brazil, at which one person has an account and a card.
type brazil struct {
	*world
	server *pluggy.Server
	own    []string // the bank's own ids of the account and of the card
}

func newBrazil(t *testing.T, rows ...pluggy.Row) *brazil {
	t.Helper()
	b := new(brazil)
	b.world = newWorld(t, func(w *world) bank.Provider {
		w.heard.secret("the client's secret in Brazil", brazilSecret)
		w.heard.secret("the bell of Brazil", brazilBell)
		var err error
		b.server, err = pluggy.New(pluggy.Options{
			BaseURL: w.url + "/sandbox/pluggy", Clients: map[string]secret.String{"client": secret.New(brazilSecret)}, LocalWebhooks: true,
			RetryDelays: [2]time.Duration{20 * time.Millisecond, 20 * time.Millisecond},
		})
		w.must(err)
		w.mount("/sandbox/pluggy", b.server)
		p, err := adapter.New(adapter.Config{
			Environment: adapter.Sandbox, BaseURL: w.url + "/sandbox/pluggy", ClientID: "client", ClientSecret: secret.New(brazilSecret),
			WebhookSecrets: []secret.String{secret.New(brazilBell)},
		})
		w.must(err)
		_, err = p.Register(w.t.Context(), w.url+"/webhook/"+p.Name())
		w.must(err)
		return p
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.server.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		b.must(<-done)
	})
	b.must(b.server.Do(func(s *pluggy.Bank) (err error) {
		if err = s.AddConnector(pluggy.Connector{ID: brazilBank, Name: "Banco do Teste"}); err != nil {
			return err
		}
		b.own, err = s.AddCustomer(brazilBank, brazilUser, []pluggy.Holding{
			{Name: "Conta", Number: "0001/77-1", Type: pluggy.BankAccount, Subtype: "CHECKING_ACCOUNT", Currency: "BRL", Rows: rows},
			{Name: "Cartão", Number: "4242", Type: pluggy.CardAccount, Subtype: "CREDIT_CARD", Currency: "BRL"},
		})
		return err
	}))
	return b
}

// quiet waits until nothing is on its way any more, from the bank to the Book.
func (b *brazil) quiet() {
	b.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		w := httptest.NewRecorder()
		b.server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/_sim/webhooks", nil))
		var said struct{ Waiting int }
		b.must(json.Unmarshal(w.Body.Bytes(), &said))
		if said.Waiting == 0 {
			b.settle()
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("%d webhooks wait", said.Waiting)
		}
	}
}

// at changes something at the bank and waits for what comes of it.
func (b *brazil) at(change func(*pluggy.Bank) error) {
	b.t.Helper()
	b.must(b.server.Do(change))
	b.quiet()
}

// held are the items that the client has.
func (b *brazil) held() (all []string) {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/_sim/items", nil))
	var said struct {
		Items []struct{ Item struct{ ID string } }
	}
	b.must(json.Unmarshal(w.Body.Bytes(), &said))
	for _, i := range said.Items {
		all = append(all, i.Item.ID)
	}
	return all
}

// standing are the records of a Book that are not in the trash.
func (b *brazil) standing(book string) []string {
	return slices.DeleteFunc(b.records(book), func(r string) bool { return strings.HasSuffix(r, "trashed") })
}

// start asks a function for a visit, and signIn is the person in the widget.
func (b *brazil) start(p *person, path string, in object) (v visit) {
	b.t.Helper()
	p.ok(http.MethodPost, path, in, &v)
	return v
}

func (b *brazil) signIn(v visit) (item string) {
	b.t.Helper()
	var shown struct{ ConnectToken string }
	b.must(json.Unmarshal([]byte(v.Widget), &shown))
	item, status, err := b.server.Connect(shown.ConnectToken, pluggy.Visit{Connector: brazilBank, User: brazilUser, Password: "password-ok"})
	b.must(err)
	if status != pluggy.Updated {
		b.t.Fatalf("the item is %s", status)
	}
	return item
}

func (b *brazil) complete(p *person, v visit, hint string) (done connect.Completed) {
	b.t.Helper()
	p.ok(http.MethodPost, "/connect/complete", connect.Complete{Session: v.Session, Item: hint}, &done)
	b.quiet()
	return done
}

func (b *brazil) kept(p *person, v visit, hint string) view.Connection {
	b.t.Helper()
	done := b.complete(p, v, hint)
	if done.State != string(bank.Kept) || done.Connection == nil {
		b.t.Fatalf("the session is %+v\n%s", done, b.heard.logged())
	}
	return *done.Connection
}

func reais(name string) bkper.Book {
	two := 2
	return bkper.Book{Name: name, FractionDigits: &two, Properties: map[string]string{"exc_code": "BRL"}}
}

func bought(daysAgo int, amount, text string) pluggy.Row {
	return pluggy.Row{Date: day(daysAgo), Type: pluggy.Debit, Amount: decimal.RequireFromString(amount), Description: text}
}

// linked connects the bank and links account and card.
func (b *brazil) linked() (book string, conn view.Connection) {
	b.t.Helper()
	book = b.makeBook(reais("Livro"), bkper.Editor)
	v := b.start(b.client, "/connect", object{"book": book, "country": "BR"})
	conn = b.kept(b.client, v, b.signIn(v))
	for _, a := range conn.Accounts {
		var i view.Integration
		b.client.ok(http.MethodPost, "/link", object{"book": book, "connection": conn.ID, "key": a.Key, "create": a.Name, "from": "2000-01-01", "pending": true}, &i)
	}
	b.quiet()
	return book, conn
}

func TestABankOfBrazilFeedsABookFromTheFirstRowToTheEnd(t *testing.T) {
	b := newBrazil(t, bought(40, "10.00", "ANTIGA"), bought(3, "20.00", "RECENTE"))
	book, conn := b.linked()
	if got := b.standing(book); len(got) != 2 {
		t.Fatalf("%v", got)
	}
	var row []string
	b.at(func(s *pluggy.Bank) (err error) {
		row, err = s.Add(b.own[1], bought(1, "58.00", "LOJA"))
		if err == nil {
			_, err = s.Add(b.own[0], bought(90, "7.50", "ATRASADA"))
		}
		return err
	})
	if got := b.standing(book); len(got) != 4 {
		t.Fatalf("what the bank tells late, with an old date, or of the card is missing: %v", got)
	}
	before := b.find(book, "LOJA")
	amount := decimal.RequireFromString("58.90")
	b.at(func(s *pluggy.Bank) error {
		return s.Amend(row[0], pluggy.Amendment{Amount: &amount, ID: pluggy.ChangeID})
	})
	b.at(func(s *pluggy.Bank) error { return s.Churn(row[0]) })
	b.at(func(s *pluggy.Bank) error {
		return s.Amend(row[0], pluggy.Amendment{Description: "LOJA NOVA", ID: pluggy.KeepID})
	})
	if after := b.find(book, "LOJA NOVA"); after.ID != before.ID || after.Amount == nil || !decimal.RequireFromString(*after.Amount).Equal(amount) || len(b.standing(book)) != 4 {
		t.Errorf("%+v became %+v among %v", before, after, b.standing(book))
	}
	b.at(func(s *pluggy.Bank) error { return s.Vanish(row[0]) })
	if got := b.standing(book); len(got) != 3 {
		t.Errorf("what the bank took back stands: %v", got)
	}
	b.client.ok(http.MethodPost, "/disconnect", object{"connection": conn.ID}, nil)
	b.quiet()
	if left := b.held(); len(left) > 0 {
		t.Errorf("after the disconnection the bank still gives %v", left)
	}
}

func TestATabThatIsClosedAtTheBankOfBrazilLosesNothing(t *testing.T) {
	b := newBrazil(t, bought(3, "20.00", "RECENTE"))
	v := b.start(b.client, "/connect", object{"book": b.makeBook(reais("Livro"), bkper.Editor), "country": "BR"})
	b.signIn(v)
	b.quiet() // the webhook tells of it, and the page does not
	if mine := b.client.connections(); len(mine) != 1 || len(mine[0].Accounts) != 2 {
		t.Errorf("%+v\n%s", mine, b.heard.logged())
	}
}

func TestABankOfBrazilThatIsConnectedTwiceIsKeptOnce(t *testing.T) {
	b := newBrazil(t, bought(3, "20.00", "RECENTE"))
	book, conn := b.linked()
	first := b.held()
	v := b.start(b.client, "/connect", object{"book": book, "country": "BR"})
	done := b.complete(b.client, v, b.signIn(v))
	if done.State != string(bank.Duplicate) || done.Connection == nil || done.Connection.ID != conn.ID {
		t.Errorf("%+v", done)
	}
	if left := b.held(); !slices.Equal(left, first) {
		t.Errorf("the bank gives %v, of which only %v is used", left, first)
	}
	b.at(func(s *pluggy.Bank) error {
		_, err := s.Add(b.own[0], bought(0, "1.00", "DEPOIS"))
		return err
	})
	if got := b.standing(book); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

func TestABankOfBrazilIsRepairedWithoutANewItem(t *testing.T) {
	b := newBrazil(t, bought(3, "20.00", "RECENTE"))
	book, conn := b.linked()
	first := b.held()
	b.at(func(s *pluggy.Bank) error { return s.Fail(first[0], "INVALID_CREDENTIALS", "") })
	if got := b.client.connection(conn.ID); got.Status != view.NeedsYou {
		t.Fatalf("the connection is %s", got.Status)
	}
	v := b.start(b.client, "/reconnect", object{"connection": conn.ID})
	if again := b.kept(b.client, v, b.signIn(v)); again.ID != conn.ID || again.Status != view.Connected {
		t.Errorf("%+v", again)
	}
	b.at(func(s *pluggy.Bank) error {
		_, err := s.Add(b.own[0], bought(0, "1.00", "DEPOIS"))
		return err
	})
	if got := b.standing(book); !slices.Equal(b.held(), first) || len(got) != 2 {
		t.Errorf("the bank gives %v, the Book has %v", b.held(), got)
	}
}
