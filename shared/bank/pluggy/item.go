package pluggy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

// item is what Pluggy says of one, as far as it matters here.
type item struct {
	ID             loose            `json:"id"`
	Connector      maybe[connector] `json:"connector"`
	Status         loose            `json:"status"`
	Execution      loose            `json:"executionStatus"`
	User           loose            `json:"clientUserId"`
	LastUpdated    moment           `json:"lastUpdatedAt"` // of the last success; none while the first one is awaited
	Updated        moment           `json:"updatedAt"`
	NextAutoSync   moment           `json:"nextAutoSyncAt"`
	ConsentExpires moment           `json:"consentExpiresAt"`
	Detail         maybe[detail]    `json:"statusDetail"`
}

// detail tells what a synchronisation left out, as when a bank's monthly quota is used up.
type detail struct {
	Transactions maybe[struct {
		LastUpdated moment `json:"lastUpdatedAt"`
	}] `json:"transactions"`
}

// ids are those of items and accounts. Nothing else becomes part of an address.
var ids = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

const (
	itemCall     = "GET /items/{id}"
	accountsCall = "GET /accounts"
)

// item reads an item; *bank.Error with ErrGone where there is none that is ours.
func (p *Pluggy) item(ctx context.Context, id string) (*item, error) {
	if !ids.MatchString(id) {
		return nil, gone(itemCall)
	}
	i := new(item)
	if err := p.do(ctx, call{name: itemCall, method: http.MethodGet, path: "/items/" + id}, i); err != nil {
		return nil, err
	}
	if !strings.EqualFold(string(i.ID), id) {
		return nil, broken(itemCall, badAnswer, errors.New("another item"))
	}
	return i, nil
}

// Item reads an item and its accounts.
func (p *Pluggy) Item(ctx context.Context, token secret.String) (bank.Item, error) {
	i, err := p.item(ctx, token.Reveal())
	if err != nil {
		return bank.Item{}, err
	}
	accounts, err := p.accounts(ctx, i)
	if err != nil {
		return bank.Item{}, err
	}
	return bank.Item{
		ID: string(i.ID), Institution: i.Connector.Value.institution(), Accounts: accounts,
		NeedsUser: i.needsUser(p.now()), ConsentExpires: i.ConsentExpires.Time,
	}, nil
}

// waiting are the statuses in which Pluggy waits for the person, at the widget or, when the synchronisation was its own, for
// whoever opens the widget again.
var waiting = []string{"WAITING_USER_INPUT", "WAITING_USER_ACTION"}

// personal are the ends of a synchronisation about which only the person can do something, whatever the status of the item.
var personal = []string{
	"INVALID_CREDENTIALS", "INVALID_CREDENTIALS_MFA", "ACCOUNT_LOCKED", "ACCOUNT_NEEDS_ACTION", "ACCOUNT_CREDENTIALS_RESET",
	"USER_AUTHORIZATION_NOT_GRANTED", "USER_AUTHORIZATION_REVOKED", "USER_NOT_SUPPORTED", "USER_INPUT_TIMEOUT",
}

// needs are what the codes mean to a person. An item that is gone was ended at the bank, at Pluggy or by its own consent.
var needs = map[string]bank.Need{
	"INVALID_CREDENTIALS": bank.NewCredentials, "ACCOUNT_CREDENTIALS_RESET": bank.NewCredentials,
	"LAST_EXECUTION_HAD_LOGIN_ERROR": bank.NewCredentials,
	"WAITING_USER_INPUT":             bank.Confirmation, "WAITING_USER_ACTION": bank.Confirmation,
	"INVALID_CREDENTIALS_MFA": bank.Confirmation, "USER_INPUT_TIMEOUT": bank.Confirmation,
	"ACCOUNT_LOCKED": bank.Locked, "TOO_MANY_CONSECUTIVE_LOGIN_FAILURES": bank.Locked,
	"ACCOUNT_NEEDS_ACTION":           bank.ActionAtBank,
	"USER_AUTHORIZATION_NOT_GRANTED": bank.NewConsent, "USER_AUTHORIZATION_REVOKED": bank.NewConsent, "ITEM_NOT_FOUND": bank.NewConsent,
	"USER_NOT_SUPPORTED": bank.NotReadable,
	syncStopped:          bank.Stalled, "TOO_MANY_CONSECUTIVE_ERRORS": bank.Stalled,
}

// passing are those that resolve themselves, even under the status LOGIN_ERROR.
var passing = []string{"USER_AUTHORIZATION_PENDING"}

// stopped is how long an item that fails may be without a success before it is taken for given up: Pluggy tries it again each
// hour, five times, and then never.
const stopped = 48 * time.Hour

// stalled is how long an item that looks well, and for which no synchronisation is planned, may be without one: Pluggy has
// been seen to leave such items alone for good.
const stalled = 72 * time.Hour

// syncStopped is the code of our own for an item that was given up.
const syncStopped = "SYNC_STOPPED"

// needsUser gives the code for which the owner must sign in again; "" where all is well or will be without them. Both
// statuses are open sets: what is not known is taken for passing.
func (i *item) needsUser(now time.Time) string {
	status, execution := string(i.Status), string(i.Execution)
	switch {
	case status == "UPDATED" && i.forgotten(now, stalled):
		return syncStopped
	case slices.Contains(passing, execution), status == "UPDATED", i.working():
		return ""
	case slices.Contains(waiting, status):
		return status
	case slices.Contains(personal, execution):
		return execution
	case status == "LOGIN_ERROR":
		if codes.MatchString(execution) && execution != "SUCCESS" {
			return execution
		}
		return status
	case status == "OUTDATED" && i.forgotten(now, stopped):
		return syncStopped
	}
	return ""
}

// forgotten reports whether no synchronisation is planned, and the last success is longer ago than that.
func (i *item) forgotten(now time.Time, after time.Duration) bool {
	return i.NextAutoSync.IsZero() && !i.LastUpdated.IsZero() && now.Sub(i.LastUpdated.Time) > after
}

// working reports whether a synchronisation is under way.
func (i *item) working() bool { return i.Status == "UPDATING" || i.Status == "MERGING" }

// longestSync is how long a synchronisation is waited for. One that takes longer has been lost.
const longestSync = time.Hour

// changing reports whether what was read at an earlier synchronisation is being replaced now: rows may be missing that are there
// again when it is over.
func (i *item) changing(now time.Time) bool {
	return i.working() && !i.LastUpdated.IsZero() && now.Sub(i.Updated.Time) < longestSync
}

// complete reports whether all history is there that the bank gives: the first synchronisation brings it, unless it had to leave
// the transactions out.
func (i *item) complete() bool {
	if i.LastUpdated.IsZero() {
		return false
	}
	left := i.Detail.Value.Transactions
	return !left.Is || !left.Value.LastUpdated.IsZero()
}

// account is one as Pluggy shows it. Balances are not read: a card's mean something else at each bank.
type account struct {
	ID       loose `json:"id"`
	Item     loose `json:"itemId"`
	Type     loose `json:"type"`
	Subtype  loose `json:"subtype"`
	Number   loose `json:"number"`
	Name     loose `json:"name"`
	Trade    loose `json:"marketingName"`
	Currency loose `json:"currencyCode"`
}

// accounts reads the accounts of an item.
func (p *Pluggy) accounts(ctx context.Context, i *item) ([]bank.Account, error) {
	var got struct {
		Total   loose      `json:"total"`
		Results *[]account `json:"results"`
	}
	c := call{name: accountsCall, method: http.MethodGet, path: "/accounts", query: url.Values{"itemId": {string(i.ID)}}}
	if err := p.do(ctx, c, &got); err != nil {
		return nil, err
	}
	// What is not named is gone, with all that comes for it. Pluggy documents no second page of accounts.
	if got.Results == nil {
		return nil, broken(accountsCall, badAnswer, errors.New("it has no results"))
	}
	if total, err := strconv.Atoi(string(got.Total)); err == nil && total > len(*got.Results) {
		return nil, broken(accountsCall, badAnswer, errors.New("it names fewer accounts than there are"))
	}
	accounts := make([]bank.Account, 0, len(*got.Results))
	for _, a := range *got.Results {
		if !ids.MatchString(string(a.ID)) || (a.Item != "" && !strings.EqualFold(string(a.Item), string(i.ID))) {
			return nil, broken(accountsCall, badAnswer, errors.New("an account without an id, or of another item"))
		}
		accounts = append(accounts, a.account(i))
	}
	return accounts, nil
}

func (a account) account(i *item) bank.Account {
	out := bank.Account{
		ID: string(a.ID), Name: cmp.Or(string(a.Name), cmp.Or(string(a.Trade), string(a.Subtype))), Mask: mask(string(a.Number)),
		Type: bank.Other, Subtype: strings.ToLower(string(a.Subtype)), Currency: string(a.Currency),
	}
	switch a.Type {
	case "BANK":
		out.Type = bank.Deposit
		// A card's number is masked, and changes with the plastic: it identifies nothing, and no more does a masked one of an account.
		number := digits(string(a.Number))
		if len(number) > maskLength && !strings.ContainsAny(string(a.Number), "*xX•") && i.Connector.Value.ID != "" {
			out.Persistent = bank.Hash(Name, "account", string(i.Connector.Value.ID), string(a.Subtype), number)
		}
	case "CREDIT":
		out.Type = bank.Card
	}
	return out
}

func digits(text string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, text)
}

const maskLength = 4

// mask is the last four digits of a number such as 0001/12345-0.
func mask(number string) string {
	d := digits(number)
	return d[max(0, len(d)-maskLength):]
}

// Remove deletes the item, and with it the consent at the bank and what Pluggy charges for it.
func (p *Pluggy) Remove(ctx context.Context, token secret.String) error {
	const name = "DELETE /items/{id}"
	if !ids.MatchString(token.Reveal()) {
		return &bank.Error{Kind: bank.OurFault, Code: "TOKEN_OF_NO_ITEM", Err: fmt.Errorf("pluggy %s", name)}
	}
	err := p.do(ctx, call{name: name, method: http.MethodDelete, path: "/items/" + token.Reveal()}, nil)
	if errors.Is(err, bank.ErrGone) {
		return nil
	}
	return err
}
