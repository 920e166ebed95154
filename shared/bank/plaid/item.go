package plaid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	sdk "github.com/plaid/plaid-go/v20/plaid"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

// Item reads an item and its accounts. Where the owner must sign in again, Plaid may refuse the accounts: they are nil then,
// which does not mean that they are gone.
func (p *Plaid) Item(ctx context.Context, token secret.String) (bank.Item, error) {
	if err := p.ours(token); err != nil {
		return bank.Item{}, fmt.Errorf("item: %w", err)
	}
	request := sdk.ItemGetRequest{AccessToken: token.Reveal()}
	got, answer, err := p.api.ItemGet(ctx).ItemGetRequest(request).Execute()
	if err != nil {
		return bank.Item{}, failure("/item/get", answer, err)
	}
	if got.Item.ItemId == "" {
		return bank.Item{}, broken("/item/get", badAnswer, errors.New("no item"))
	}
	item := bank.Item{ID: got.Item.ItemId, Institution: bank.Institution{ID: got.Item.GetInstitutionId()}}
	item.Institution.Name, _ = got.Item.AdditionalProperties["institution_name"].(string)
	if expires := got.Item.ConsentExpirationTime.Get(); expires != nil {
		item.ConsentExpires = *expires
	}
	if item.NeedsUser, err = trouble(got.Item.Error.Get()); err != nil {
		return bank.Item{}, err
	}
	item.Accounts, err = p.accounts(ctx, token)
	if err != nil && bank.KindOf(err) == bank.UserMustAct {
		item.NeedsUser, err = bank.CodeOf(err), nil
	}
	return item, err
}

// trouble reads the error that an item carries: a code where its owner must act, an error where it is lost, nothing where it
// will pass, which is also what is assumed of errors that Plaid may add.
func trouble(e *sdk.PlaidError) (string, error) {
	if e == nil {
		return "", nil
	}
	said := complaint{Type: string(e.ErrorType), Code: e.ErrorCode}
	if !codes.MatchString(said.Code) {
		return "", nil
	}
	switch r := said.rule(http.StatusInternalServerError); r.kind {
	case bank.UserMustAct:
		return said.Code, nil
	case bank.Permanent:
		return "", &bank.Error{Kind: r.kind, Code: said.Code, Err: r.is}
	default:
		return "", nil
	}
}

func (p *Plaid) accounts(ctx context.Context, token secret.String) ([]bank.Account, error) {
	const call = "/accounts/get"
	request := sdk.AccountsGetRequest{AccessToken: token.Reveal()}
	got, answer, err := p.api.AccountsGet(ctx).AccountsGetRequest(request).Execute()
	if err != nil {
		return nil, failure(call, answer, err)
	}
	if got.Accounts == nil { // not even an empty list: whatever that is, it must not say that all accounts are gone
		return nil, broken(call, badAnswer, errors.New("no accounts"))
	}
	accounts := make([]bank.Account, 0, len(got.Accounts))
	for _, a := range got.Accounts {
		if a.AccountId == "" {
			return nil, broken(call, badAnswer, errors.New("an account without an id"))
		}
		accounts = append(accounts, bank.Account{
			ID: a.AccountId, Persistent: a.GetPersistentAccountId(), Name: a.Name, Mask: a.GetMask(),
			Type: accountType(string(a.Type)), Subtype: string(a.GetSubtype()),
			Currency: cmp.Or(a.Balances.GetIsoCurrencyCode(), a.Balances.GetUnofficialCurrencyCode()),
		})
	}
	return accounts, nil
}

func accountType(t string) bank.AccountType {
	switch t {
	case "depository":
		return bank.Deposit
	case "credit":
		return bank.Card
	case "loan":
		return bank.Loan
	}
	return bank.Other
}
