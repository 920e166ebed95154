package link_test

import (
	"context"
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
	return ledger.Book{ID: "b", Permission: ledger.Editor, Digits: 2, Accounts: []ledger.Account{{ID: "a", Type: ledger.Asset}}}, nil
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
			save := func(s store.Store, owner string) *httptest.ResponseRecorder {
				h := (&link.Link{
					Store: s, Books: outside{}, Grants: outside{}, Events: outside{}, Now: time.Now,
					Edge: &web.Edge{Who: outside{}, Log: slog.New(slog.DiscardHandler)},
				}).Handler()
				body := fmt.Sprintf(`{"book":"b","connection":"of-%s","key":"k-%[1]s","account":"a","from":%q}`, owner, today)
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
				r.Header.Set("Authorization", "Bearer "+owner)
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				return w
			}
			bobs := save(overtaken{s, new(sync.Once), func() {
				if anas := save(s, "ana"); anas.Code != http.StatusOK {
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
