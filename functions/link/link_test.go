package link_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/functions/link"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	storemem "github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/web"
)

// outside is everything that the function asks, and is content.
type outside struct{}

func (outside) Verify(_ context.Context, token secret.String) (caller.Caller, error) {
	return caller.Caller{Sub: token.Reveal(), Token: token}, nil
}

func (outside) Book(context.Context, secret.String, string) (ledger.Book, error) {
	return ledger.Book{ID: "b", Permission: ledger.Editor, Digits: 2, Accounts: []ledger.Account{{ID: "a", Type: ledger.Asset}, {ID: "z", Type: ledger.Asset}}}, nil
}

func (outside) CreateAccount(context.Context, secret.String, string, ledger.Account) (ledger.Account, error) {
	panic("an Account is made")
}

func (outside) Token(context.Context, string) (secret.String, error) { return secret.New("grant"), nil }

func (outside) Publish(context.Context, events.Topic, events.Message) error { return nil }

// overtaken is a store in which something happens before the first transaction.
type overtaken struct {
	store.Store
	before *sync.Once
	do     func()
}

func (o overtaken) Update(ctx context.Context, do func(store.Tx) error) error {
	o.before.Do(o.do)
	return o.Store.Update(ctx, do)
}

func TestOfTwoWhoLinkTheirJointAccountAtOnceOneDoes(t *testing.T) {
	today := civil.DateOf(time.Now())
	account := bank.Account{ID: "k", Name: "Joint", Mask: "1", Type: bank.Deposit, Currency: "USD"}
	former := &bank.Integration{ID: "i", Book: "b", Connection: "gone", Bank: bank.Institution{ID: "i1"}, Of: account, From: today, State: bank.Removed}
	for name, known := range map[string][]*bank.Integration{"for the first time": nil, "which fed the Book before": {former}} {
		t.Run(name, func(t *testing.T) {
			s := storemem.New()
			err := s.Update(t.Context(), func(tx store.Tx) (err error) {
				for _, owner := range []string{"ana", "bob"} {
					err = errors.Join(err, store.Connections.Put(tx, &bank.Connection{
						ID: "of-" + owner, Owner: owner, State: bank.Active, Institution: bank.Institution{ID: "i1"},
						Accounts: []bank.LinkedAccount{{Key: "k-" + owner, Account: account}},
					}))
				}
				for _, i := range known {
					err = errors.Join(err, store.Integrations.Put(tx, i))
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			as := func(s store.Store, owner string) *httptest.ResponseRecorder {
				return save(t, s, owner, fmt.Sprintf(`{"book":"b","connection":"of-%s","key":"k-%[1]s","account":"a","from":%q}`, owner, today))
			}
			bobs := as(overtaken{s, new(sync.Once), func() {
				if anas := as(s, "ana"); anas.Code != http.StatusOK {
					t.Errorf("the first: %d %s", anas.Code, anas.Body)
				}
			}}, "bob")
			if bobs.Code != http.StatusConflict || !strings.Contains(bobs.Body.String(), "already_linked") {
				t.Errorf("the second: %d %s", bobs.Code, bobs.Body)
			}
			is, err := store.Integrations.Find(t.Context(), s, store.Query{Field: store.ByBook, Any: []string{"b"}})
			if err != nil || len(is) != 1 || is[0].Connection != "of-ana" {
				t.Errorf("%+v, %v", is, err)
			}
		})
	}
}

// A bank moves to another id at its provider, an account gets another name or number: then only a person knows whether the Book
// holds its transactions already.
func TestWhereABankAccountMayHaveFedTheBookAPersonIsAsked(t *testing.T) {
	today := civil.DateOf(time.Now())
	checking := bank.Account{ID: "k0", Name: "Checking", Mask: "1111", Type: bank.Deposit, Currency: "USD"}
	like := func(change func(*bank.Account)) bank.Account { a := checking; change(&a); return a }
	renamed := like(func(a *bank.Account) { a.Name, a.Mask = "Checking Plus", "2222" })
	for name, row := range map[string]struct {
		of         bank.Account // which fed the Account "a" before …
		bank       string       // … at this bank …
		connection string       // … under this connection
		account    string       // to which it goes now
		replaces   string
		want       string // "own", "former", or the code of a refusal
	}{
		"the same account of the same bank":        {checking, "i1", "gone", "a", "", "former"},
		"the same account, to another Account":     {checking, "i1", "gone", "z", "", "former"},
		"the same account of a bank with a new id": {checking, "i0", "gone", "a", "", "which_account"},
		"that account, to another Account":         {checking, "i0", "gone", "z", "", "which_account"},
		"that account, which a person knows":       {checking, "i0", "gone", "a", "former", "former"},
		"that account, which is another one":       {checking, "i0", "gone", "a", "none", "own"},
		"a renamed account with a new number":      {renamed, "i1", "gone", "a", "", "which_account"},
		"a renamed account of this connection":     {renamed, "i1", "mine", "a", "", "which_account"},
		"that one, which a person knows":           {renamed, "i1", "mine", "a", "former", "former"},
		"an unlike account, to another Account":    {renamed, "i1", "gone", "z", "", "own"},
		"an account that is fed still":             {checking, "i0", "other", "a", "former", "already_linked"},
		"another currency":                         {like(func(a *bank.Account) { a.Currency = "EUR" }), "i0", "gone", "a", "", "own"},
		"another kind of account":                  {like(func(a *bank.Account) { a.Type = bank.Card }), "i0", "gone", "a", "", "own"},
		"a second account of this connection":      {renamed, "i1", "beside", "a", "", "own"},
		"that one cannot be replaced":              {renamed, "i1", "beside", "a", "former", "no_such_integration"},
	} {
		t.Run(name, func(t *testing.T) {
			s := storemem.New()
			mine := &bank.Connection{ID: "mine", Owner: "ana", State: bank.Active, Institution: bank.Institution{ID: "i1"}, Accounts: []bank.LinkedAccount{{Key: "k1", Account: checking}}}
			other := &bank.Connection{ID: "other", Owner: "bob", State: bank.Active, Institution: bank.Institution{ID: "i0"}, Accounts: []bank.LinkedAccount{{Key: "k0", Account: checking}}}
			former := &bank.Integration{
				ID: "former", Book: "b", Connection: row.connection, Key: "k0", Bank: bank.Institution{ID: row.bank}, Of: row.of, Account: "a", Currency: row.of.Currency,
				From: today, State: bank.Live,
			}
			if row.connection == "beside" || row.connection == "mine" {
				former.Connection = "mine"
				mine.Accounts = append(mine.Accounts, bank.LinkedAccount{Key: "k0", Account: row.of, Gone: row.connection == "mine"})
			}
			err := s.Update(t.Context(), func(tx store.Tx) error {
				return errors.Join(store.Connections.Put(tx, mine), store.Connections.Put(tx, other), store.Integrations.Put(tx, former))
			})
			if err != nil {
				t.Fatal(err)
			}
			asked := map[string]string{"book": "b", "connection": "mine", "key": "k1", "account": row.account, "from": today.String()}
			if row.replaces != "" {
				asked["replaces"] = row.replaces
			}
			body, err := json.Marshal(asked)
			if err != nil {
				t.Fatal(err)
			}
			w := save(t, s, "ana", string(body))
			var got struct{ ID, Code string }
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			want, saved := map[string]string{"own": bank.IntegrationID("b", "k1"), "former": "former"}[row.want]
			if saved != (w.Code == http.StatusOK) || saved && got.ID != want || !saved && got.Code != row.want {
				t.Errorf("%d %s, want %s", w.Code, w.Body, row.want)
			}
		})
	}
}

// save calls the function.
func save(t *testing.T, s store.Store, owner, body string) *httptest.ResponseRecorder {
	t.Helper()
	h := (&link.Link{
		Store: s, Books: outside{}, Grants: outside{}, Events: outside{}, Now: time.Now, Edge: &web.Edge{Who: outside{}, Log: slog.New(slog.DiscardHandler)},
	}).Handler()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+owner)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
