package bkper

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
)

// The shapes of the API, as far as they are used. Null fields are left out by Bkper, lists without items too.

// text is a JSON string, or a number: Google's Cloud Endpoints, on which Bkper runs, writes 64-bit integers as either.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(raw []byte) error {
	var s string
	if err := json.Unmarshal(raw, &s); err == nil {
		*t = text(s)
		return nil
	}
	var n json.Number
	if err := json.Unmarshal(raw, &n); err != nil {
		return err
	}
	*t = text(n)
	return nil
}

type book struct {
	ID             text              `json:"id"`
	Name           string            `json:"name"`
	Permission     string            `json:"permission"`
	FractionDigits text              `json:"fractionDigits"`
	LockDate       string            `json:"lockDate"`
	ClosingDate    string            `json:"closingDate"`
	Properties     map[string]string `json:"properties"`
	Accounts       []account         `json:"accounts"`
}

const (
	usualDigits = 2
	maxDigits   = 8
)

func (w *book) read() (ledger.Book, error) {
	digits := usualDigits
	if w.FractionDigits != "" {
		var err error
		if digits, err = strconv.Atoi(string(w.FractionDigits)); err != nil || digits < 0 || digits > maxDigits {
			return ledger.Book{}, errors.New("a Book with malformed fraction digits")
		}
	}
	locked, err := lockedUntil(w.LockDate, w.ClosingDate)
	if err != nil {
		return ledger.Book{}, errors.New("a Book with a malformed lock")
	}
	b := ledger.Book{
		ID: string(w.ID), Name: w.Name, Permission: permission(w.Permission), Digits: digits, Locked: locked,
		Currency: strings.ToUpper(strings.TrimSpace(w.Properties["exc_code"])),
	}
	for i := range w.Accounts {
		b.Accounts = append(b.Accounts, w.Accounts[i].read())
	}
	return b, nil
}

// permission takes what it does not know for none.
func permission(word string) ledger.Permission {
	switch p := ledger.Permission(word); p {
	case ledger.Owner, ledger.Editor, ledger.Poster, ledger.Recorder, ledger.Viewer:
		return p
	default:
		return ledger.None
	}
}

type account struct {
	ID       text   `json:"id,omitempty"`
	Name     string `json:"name,omitempty"`
	Type     string `json:"type,omitempty"`
	Archived bool   `json:"archived,omitempty"`
}

func (w *account) read() ledger.Account {
	return ledger.Account{ID: string(w.ID), Name: w.Name, Type: ledger.AccountType(w.Type), Archived: w.Archived}
}

type transaction struct {
	ID            text              `json:"id,omitempty"`
	RemoteIDs     []string          `json:"remoteIds,omitempty"`
	Date          string            `json:"date,omitempty"`
	Amount        text              `json:"amount,omitempty"`
	CreditAccount *account          `json:"creditAccount,omitempty"`
	DebitAccount  *account          `json:"debitAccount,omitempty"`
	Description   string            `json:"description,omitempty"`
	Properties    map[string]string `json:"properties,omitempty"`
	URLs          []string          `json:"urls,omitempty"`
	Files         json.RawMessage   `json:"files,omitempty"`
	Draft         bool              `json:"draft,omitempty"`
	Posted        bool              `json:"posted,omitempty"`
	Checked       bool              `json:"checked,omitempty"`
	Trashed       bool              `json:"trashed,omitempty"`
}

// whole is everything about a transaction that a client may write. What an update leaves out is emptied.
func whole(t *ledger.Transaction) (transaction, error) {
	if !ledger.Writable(t.Amount) {
		return transaction{}, &bank.Error{Kind: bank.OurFault, Code: "malformed_amount", Err: errors.New("an amount that is no magnitude")}
	}
	w := transaction{
		RemoteIDs: t.RemoteIDs, Amount: text(t.Amount.String()), Description: t.Description, Properties: t.Properties,
		URLs: t.URLs, Files: t.Files, CreditAccount: side(t.Credit), DebitAccount: side(t.Debit),
	}
	if !t.Date.IsZero() {
		w.Date = t.Date.String()
	}
	return w, nil
}

func side(id string) *account {
	if id == "" {
		return nil
	}
	return &account{ID: text(id)}
}

func (w *transaction) read() (ledger.Transaction, error) {
	t := ledger.Transaction{
		ID: string(w.ID), RemoteIDs: w.RemoteIDs, Description: w.Description, Properties: w.Properties, URLs: w.URLs,
		Posted: w.Posted, Checked: w.Checked, Trashed: w.Trashed,
	}
	if len(w.Files) > 0 && string(w.Files) != "null" {
		t.Files = w.Files
	}
	if w.CreditAccount != nil {
		t.Credit = string(w.CreditAccount.ID)
	}
	if w.DebitAccount != nil {
		t.Debit = string(w.DebitAccount.ID)
	}
	var err error
	// A draft that a person began may lack either.
	if w.Date != "" {
		if t.Date, err = civil.ParseDate(w.Date); err != nil {
			return t, errors.New("a transaction with a malformed date")
		}
	}
	if w.Amount != "" {
		if t.Amount, err = decimal.NewFromString(string(w.Amount)); err != nil || !ledger.Writable(t.Amount.Abs()) {
			return t, errors.New("a transaction with a malformed amount")
		}
	}
	if t.ID == "" {
		return t, errors.New("a transaction without id")
	}
	return t, nil
}

type list struct {
	Items  []transaction `json:"items"`
	Cursor string        `json:"cursor,omitempty"`
}

func (l *list) read() ([]ledger.Transaction, error) {
	var all []ledger.Transaction
	for i := range l.Items {
		t, err := l.Items[i].read()
		if err != nil {
			return nil, unreadable(fmt.Errorf("item %d: %w", i, err))
		}
		all = append(all, t)
	}
	return all, nil
}
