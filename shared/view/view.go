// Package view is what pages see of connections and integrations: what anyone who may see them needs, and nothing that is
// private to the person who signed in at the bank.
package view

import (
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/posting"
)

// Connection is a connection as its owner, or an editor of a Book to which it was offered, sees it.
type Connection struct {
	ID             string    `json:"id"`
	Provider       string    `json:"provider"`
	Institution    string    `json:"institution"`
	InstitutionID  string    `json:"institution_id"`
	Colour         string    `json:"colour,omitempty"`
	Country        string    `json:"country"`
	Status         string    `json:"status"`
	Message        string    `json:"message"` // the status as a sentence that says what to do
	Mine           bool      `json:"mine"`
	Accounts       []Account `json:"accounts"`
	Offered        []string  `json:"offered,omitempty"` // for the owner alone
	ConsentExpires time.Time `json:"consent_expires,omitzero"`
	LastSync       time.Time `json:"last_sync,omitzero"`
	NextSync       time.Time `json:"next_sync,omitzero"` // when Sync now is allowed again; none where it is
	Created        time.Time `json:"created"`

	// For the owner alone, like Offered.
	Need         bank.Need     `json:"need,omitempty"`         // of NeedsYou: why, where the bank tells
	NewAccounts  bool          `json:"new_accounts,omitzero"`  // the bank has accounts that were not shared yet
	Integrations []Integration `json:"integrations,omitempty"` // what Disconnect would stop, in whichever Book
}

// Rest is how long a connection rests between two looks at the bank that people ask for.
const Rest = 2 * time.Minute

// Account is a bank account.
type Account struct {
	Key      string `json:"key"` // for /link
	Name     string `json:"name"`
	Mask     string `json:"mask,omitempty"`
	Type     string `json:"type"`
	Currency string `json:"currency"`
	Linkable bool   `json:"linkable"`
}

// The statuses of a connection.
const (
	Connected    = "connected"
	NeedsYou     = "needs_you"
	Expiring     = "expiring"
	Unavailable  = "bank_unavailable"
	Disconnected = "disconnected"
	Stopping     = "stopping"
)

const (
	soon        = 14 * 24 * time.Hour
	tolerated   = 3 // failures in a row before a person is told
	unavailable = "The bank cannot be reached at the moment. It is tried again by itself; nothing is lost meanwhile."
)

// asks says in a sentence why the bank wants its customer again, and the way on.
var asks = map[bank.Need]string{
	"":                  "The bank asks its customer to sign in again. Reconnect to go on; nothing is lost meanwhile.",
	bank.NewCredentials: "The bank no longer accepts the user name or the password. Reconnect with those that work on its own website or app; nothing is lost meanwhile.",
	bank.Confirmation:   "The bank wants a code or a confirmation from its customer. Reconnect with the phone at hand; nothing is lost meanwhile.",
	bank.Locked:         "The bank has locked the access. Unlock it on the bank's own website or app, then reconnect; nothing is lost meanwhile.",
	bank.ActionAtBank:   "The bank wants something done first, such as accepting new terms. Sign in on its own website or app, then reconnect; nothing is lost meanwhile.",
	bank.NewConsent:     "The permission to read the accounts has ended or was withdrawn at the bank. Reconnect to give it again; nothing is lost meanwhile.",
	bank.NotReadable:    "The bank does not let these accounts be read in this way any more. Reconnect with another login of the bank, or import its statement as a file.",
	bank.Stalled:        "The bank could not be read for days, and is not tried any more by itself. Reconnect to go on; nothing is lost meanwhile.",
}

// OfConnection shows a connection to a user; why is bank.NeedOf of it. The engine may be nil.
func OfConnection(c *bank.Connection, e *posting.Engine, why bank.Need, sub string, now time.Time) Connection {
	v := Connection{
		ID: c.ID, Provider: c.Provider, Institution: c.Institution.Name, InstitutionID: c.Institution.ID, Colour: c.Institution.Colour,
		Country: c.Country, Mine: c.Owner == sub, Accounts: []Account{}, ConsentExpires: c.ConsentExpires, Created: c.Created,
	}
	failures := 0
	if e != nil {
		v.LastSync, failures = e.Synced, e.Failures
		if next := e.Synced.Add(Rest); next.After(now) {
			v.NextSync = next
		}
	}
	if v.Mine {
		v.Offered, v.NewAccounts = c.Offered, c.NewAccounts
	}
	if v.Status, v.Message = status(c, failures, now); v.Status == NeedsYou && v.Mine {
		if v.Need = why; c.State == bank.Active {
			v.Need = bank.NewConsent
		}
		v.Message = asks[v.Need]
	}
	for _, a := range c.Accounts {
		if !a.Gone {
			v.Accounts = append(v.Accounts, Account{a.Key, a.Name, a.Mask, string(a.Type), a.Currency, a.Type.Linkable()})
		}
	}
	return v
}

func status(c *bank.Connection, failures int, now time.Time) (code, message string) {
	switch {
	case c.State == bank.Disconnected:
		return Disconnected, "Disconnected: nothing is read from the bank. Reconnect to go on where it stopped."
	case c.State == bank.Removing:
		return Stopping, "Being disconnected."
	case c.State == bank.NeedsUser, ended(c, now):
		return NeedsYou, asks[""]
	case failures >= tolerated:
		return Unavailable, unavailable
	case !c.ConsentExpires.IsZero() && c.ConsentExpires.Sub(now) < soon:
		return Expiring, "The consent at the bank ends soon. Reconnect before then to go on without a gap."
	}
	return Connected, "Connected."
}

// ended reports whether the consent at the bank is over, of which the provider may not have told yet.
func ended(c *bank.Connection, now time.Time) bool {
	return !c.ConsentExpires.IsZero() && !c.ConsentExpires.After(now)
}

// Integration is the use of a bank account on a Book.
type Integration struct {
	ID          string        `json:"id"`
	Book        string        `json:"book"`
	BookName    string        `json:"book_name"`
	Connection  string        `json:"connection"`
	Institution string        `json:"institution"`
	Key         string        `json:"key"` // of the bank account
	Name        string        `json:"name"`
	Mask        string        `json:"mask,omitempty"`
	Currency    string        `json:"currency"`
	Account     string        `json:"account"` // of the Book
	AccountName string        `json:"account_name"`
	From        string        `json:"from"` // yyyy-mm-dd
	Pending     bool          `json:"pending"`
	Paused      bool          `json:"paused"`
	PostsAs     string        `json:"posts_as"` // e-mail address
	Status      string        `json:"status"`
	Message     string        `json:"message"`
	Progress    bank.Progress `json:"progress"`
}

// The statuses of an integration, besides Unavailable, Disconnected and Stopping of its connection; one that is behind has
// the code of its reason.
const (
	Live       = "live"
	Importing  = "importing"
	Paused     = "paused"
	Removed    = "removed"
	NeedsOwner = "needs_owner"       // of the connection
	Unnamed    = "bank_account_gone" // by the bank
)

// behind says in a sentence why a Book could not take rows, and the way back.
var behind = map[string]string{
	"consent_required":   "The user as whom it records must sign in here again. Any editor may also save the integration anew.",
	"no_access":          "The user as whom it records may no longer write to this Book. Any editor may save the integration anew.",
	"book_gone":          "The Book is gone.",
	"account_gone":       "The Account of the Book is gone. Choose another one and save.",
	"account_archived":   "The Account of the Book is archived. Restore it, or choose another one and save.",
	"ledger_unavailable": "The Book could not be reached. It is tried again by itself; nothing is lost meanwhile.",
}

// OfIntegration shows an integration and the connection that feeds it. Connection and engine may be nil.
func OfIntegration(i *bank.Integration, c *bank.Connection, e *posting.Engine) Integration {
	v := Integration{
		ID: i.ID, Book: i.Book, BookName: i.BookName, Connection: i.Connection, Institution: i.Bank.Name,
		Key: i.Key, Name: i.Of.Name, Mask: i.Of.Mask, Currency: i.Currency,
		Account: i.Account, AccountName: i.AccountTag, From: i.From.String(), Pending: i.Pending, Paused: i.Paused, PostsAs: i.AsEmail,
	}
	failures := 0
	if e != nil {
		v.Progress, failures = e.Progress[i.ID], e.Failures
	}
	var told bool
	if v.Status, v.Message, told = silenced(i, c); told {
		return v
	}
	switch {
	case i.Paused:
		v.Status, v.Message = Paused, "Paused: what the bank has meanwhile is recorded when it is resumed."
	case i.Behind != "":
		v.Status, v.Message = i.Behind, behind[i.Behind]
	case failures >= tolerated:
		v.Status, v.Message = Unavailable, unavailable
	case i.Want > i.Have:
		v.Status, v.Message = Importing, "History is being imported. Banks may take up to two days for a long one."
	default:
		v.Status, v.Message = Live, "Every transaction is recorded as it happens."
	}
	return v
}

// silenced says why nothing can come to an integration whatever its Book does; told is false where something can.
func silenced(i *bank.Integration, c *bank.Connection) (code, message string, told bool) {
	if c == nil {
		c = &bank.Connection{State: bank.Disconnected}
	}
	account, known := c.ByKey(i.Key)
	switch {
	case i.State == bank.Removed:
		return Removed, "Removed: nothing more is recorded. The connection stays.", true
	case c.State == bank.Removing:
		return Stopping, "The connection to the bank is being disconnected by its owner.", true
	case c.State == bank.Disconnected:
		return Disconnected, "The connection to the bank is disconnected, and nothing is recorded. Once its owner reconnects it, this goes on where it stopped.", true
	case c.State == bank.NeedsUser:
		return NeedsOwner, "The bank asks its customer to sign in again: the owner of the connection must reconnect it. Nothing is lost meanwhile.", true
	case !known || account.Gone:
		return Unnamed, "The bank no longer shows this account. If it is still open, the owner of the connection can reconnect and share it again; if not, remove this integration: what was recorded stays.", true
	}
	return "", "", false
}

// Row is a transaction at the bank that a person should look at. There is no text of it, since none is kept.
type Row struct {
	Reason    string `json:"reason"` // a posting.Reason or a posting.Flag
	Message   string `json:"message"`
	Date      string `json:"date,omitempty"` // as the bank has it, like the next two
	Amount    string `json:"amount,omitempty"`
	Direction string `json:"direction,omitempty"`
	Record    string `json:"record,omitempty"` // the Book's id; none where nothing is recorded
}

var asides = map[posting.Reason]string{
	posting.ReasonCurrency: "Not recorded: it is in another currency than the bank account. Record it by hand.",
	posting.ReasonDigits:   "Not recorded: it has more decimal places than the Book keeps. Record it by hand, or raise the Book's decimal places, then pause and resume the integration.",
	posting.ReasonZero:     "Not recorded: it has no amount. There is nothing to do.",
	posting.ReasonLocked:   "Not recorded: its date lies in the locked period of the Book. Record it by hand with a later date, or move the lock, then pause and resume the integration.",
	posting.ReasonRefused:  "Not recorded: the Book refuses it. Record it by hand.",
	posting.ReasonUnusable: "Not recorded: the bank sent something that cannot be read. Look at the bank's statement, and record it by hand if it is there.",
}

var flags = map[posting.Flag]string{
	posting.Changed:   "The bank has changed this transaction to what stands here, but its record was posted, checked or changed by hand, or is locked. Compare the record with the bank, and correct it if need be.",
	posting.Garbled:   "The bank has changed this transaction to something that cannot be read, and its record is as it was. Compare the record with the bank's statement, and correct it if need be.",
	posting.TakenBack: "The bank has taken this transaction back, but its record was posted, checked or changed by hand, or is locked. Remove the record if it is not needed.",
}

// OfRow shows a row that was kept aside or is flagged.
func OfRow(r *posting.Row) Row {
	says := r.Says()
	v := Row{Reason: string(r.Reason), Message: asides[r.Reason], Record: r.Record}
	if r.Flag != "" {
		v.Reason, v.Message = string(r.Flag), flags[r.Flag]
	}
	if says.Date.IsValid() {
		v.Date, v.Amount, v.Direction = says.Date.String(), says.Amount.String(), string(says.Direction)
	}
	return v
}
