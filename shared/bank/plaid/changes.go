package plaid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/bank/internal/tolerant"
)

const (
	syncCall = "/transactions/sync"
	pageSize = 500 // the most that Plaid gives
)

type syncRequest struct {
	AccessToken string      `json:"access_token"`
	Cursor      string      `json:"cursor,omitempty"`
	Count       int         `json:"count"`
	Options     syncOptions `json:"options"`
}

type syncOptions struct {
	IncludeOriginalDescription bool `json:"include_original_description"`
}

// Changes reads one page. It goes around the SDK, which reads amounts as floats, drops half of what the answer says, and is
// seven times slower. Plaid tells every change by itself, so that From.Deep makes no difference.
func (p *Plaid) Changes(ctx context.Context, from bank.From) (bank.Page, error) {
	if err := p.ours(from.Token); err != nil {
		return bank.Page{}, fmt.Errorf("changes: %w", err)
	}
	body, err := p.post(ctx, syncCall, syncRequest{
		AccessToken: from.Token.Reveal(), Cursor: from.At, Count: pageSize,
		Options: syncOptions{IncludeOriginalDescription: true},
	})
	if err != nil {
		return bank.Page{}, err
	}
	return readPage(body, from.At)
}

// syncAnswer has pointers where Plaid always gives something: without it the answer is no page, since the cursor of half a page
// would pass by the other half.
type syncAnswer struct {
	Added    *[]jsontext.Value `json:"added"`
	Modified *[]jsontext.Value `json:"modified"`
	Removed  *[]jsontext.Value `json:"removed"`
	Next     *string           `json:"next_cursor"`
	More     *bool             `json:"has_more"`
	Status   string            `json:"transactions_update_status"`
	Accounts []jsontext.Value  `json:"accounts"`
}

// maxCursor is far above the 256 characters of Plaid's cursors, and little beside what a document holds.
const maxCursor = 4 << 10

// readPage decodes an answer to a call with the cursor at.
func readPage(body []byte, at string) (bank.Page, error) {
	var a syncAnswer
	if err := tolerant.Unmarshal(body, &a); err != nil {
		return bank.Page{}, broken(syncCall, badAnswer, errors.New("the answer cannot be decoded"))
	}
	if a.Added == nil || a.Modified == nil || a.Removed == nil || a.Next == nil || a.More == nil {
		return bank.Page{}, broken(syncCall, badAnswer, errors.New("a part of the answer is missing"))
	}
	if len(*a.Next) > maxCursor {
		return bank.Page{}, broken(syncCall, badAnswer, errors.New("its cursor is too long to be kept"))
	}
	if *a.More && (*a.Next == "" || *a.Next == at) {
		return bank.Page{}, broken(syncCall, badAnswer, errors.New("more is promised where nothing moves on"))
	}
	page := bank.Page{Next: *a.Next, More: *a.More, Complete: a.Status == "HISTORICAL_UPDATE_COMPLETE"}
	if page.Next == "" {
		// Plaid has nothing yet. The empty cursor would send a reader that is further on back to the beginning.
		page.Next = at
	}
	for _, value := range slices.Concat(*a.Added, *a.Modified) {
		if t, err := readRow(value).transaction(); err != nil {
			page.Unusable = append(page.Unusable, unusable(value, t, err))
		} else {
			page.Changed = append(page.Changed, t)
		}
	}
	for _, value := range *a.Removed {
		row := readRow(value)
		t := bank.Transaction{ID: row.id(), Account: tolerant.Text(row.Account)}
		if t.ID != "" {
			page.Removed = append(page.Removed, bank.RemovedTransaction{ID: t.ID, Account: t.Account})
		} else {
			page.Unusable = append(page.Unusable, unusable(value, t, bank.ErrNoID))
		}
	}
	for _, value := range a.Accounts {
		var s syncAccount
		if err := tolerant.Unmarshal(value, &s); err == nil && s.ID != "" {
			page.Accounts = append(page.Accounts, s.account())
		}
	}
	return page, nil
}

// unusable is a row that cannot be recorded, with what is known of it.
func unusable(value jsontext.Value, t bank.Transaction, why error) bank.Unusable {
	return bank.Unusable{ID: cmp.Or(t.ID, bank.UnnamedID(value)), Account: t.Account, Reason: why.Error()}
}

type syncAccount struct {
	ID         string `json:"account_id"`
	Persistent string `json:"persistent_account_id"`
	Name       string `json:"name"`
	Mask       string `json:"mask"`
	Type       string `json:"type"`
	Subtype    string `json:"subtype"`
	Balances   struct {
		ISO        string `json:"iso_currency_code"`
		Unofficial string `json:"unofficial_currency_code"`
	} `json:"balances"`
}

func (s syncAccount) account() bank.Account {
	return bank.Account{
		ID: s.ID, Persistent: s.Persistent, Name: s.Name, Mask: s.Mask, Type: accountType(s.Type), Subtype: s.Subtype,
		Currency: cmp.Or(s.Balances.ISO, s.Balances.Unofficial),
	}
}
