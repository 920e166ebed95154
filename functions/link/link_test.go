package link_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
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

// overtaken is a store in which something happens before each transaction.
type overtaken struct {
	store.Store
	before func()
}

func (o overtaken) Update(ctx context.Context, do func(store.Tx) error) error {
	o.before()
	return o.Store.Update(ctx, do)
}

func TestOfTwoWhoTakeAFormerIntegrationOverAtOnceOneDoes(t *testing.T) {
	s, today := storemem.New(), civil.DateOf(time.Now())
	put := func(i *bank.Integration, cs ...*bank.Connection) {
		err := s.Update(t.Context(), func(tx store.Tx) error {
			for _, c := range cs {
				if err := store.Connections.Put(tx, c); err != nil {
					return err
				}
			}
			return store.Integrations.Put(tx, i)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	account := bank.Account{ID: "k", Name: "Joint", Mask: "1", Type: bank.Deposit, Currency: "USD"}
	of := func(owner string) *bank.Connection {
		return &bank.Connection{
			ID: "of-" + owner, Owner: owner, State: bank.Active, Institution: bank.Institution{ID: "i1"},
			Accounts: []bank.LinkedAccount{{Key: "k-" + owner, Account: account}},
		}
	}
	former := bank.Integration{ID: "i", Book: "b", Connection: "gone", Bank: bank.Institution{ID: "i1"}, Of: account, From: today, State: bank.Removed}
	put(&former, of("ana"), of("bob"))
	anas := former
	anas.Connection, anas.Key, anas.State = "of-ana", "k-ana", bank.Live
	h := (&link.Link{
		Store: overtaken{s, func() { put(&anas) }}, Books: outside{}, Grants: outside{}, Events: outside{}, Now: time.Now,
		Edge: &web.Edge{Who: outside{}, Log: slog.New(slog.DiscardHandler)},
	}).Handler()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/",
		strings.NewReader(`{"book":"b","connection":"of-bob","key":"k-bob","account":"a","from":"`+today.String()+`"}`))
	r.Header.Set("Authorization", "Bearer bob")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if i, err := store.Integrations.Get(t.Context(), s, "i"); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "already_linked") || err != nil || i.Connection != "of-ana" {
		t.Errorf("%d %s; %+v, %v", w.Code, w.Body, i, err)
	}
}
