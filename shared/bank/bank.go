// Package bank is the domain: what a connection to a bank is, what an integration with a Book is, what a bank says, and
// what every provider of bank data must be able to do. It does no I/O.
package bank

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/civil"
)

// Connection is the authorisation that one user gave at one bank; it serves many Books.
type Connection struct {
	ID       string `json:"id"`
	Owner    string `json:"owner"`    // Google's sub of the user who signed in at the bank
	Email    string `json:"email"`    // the owner's, for the operator and for messages
	Provider string `json:"provider"` // the key of the Provider
	Item     string `json:"item"`     // what the provider calls this connection; empty once disconnected

	Institution Institution     `json:"institution"`
	Country     string          `json:"country"` // ISO 3166-1 alpha-2, upper case
	Accounts    []LinkedAccount `json:"accounts"`
	Offered     []string        `json:"offered"` // Books whose editors may link the accounts

	State  ConnectionState `json:"state"`
	Reason string          `json:"reason,omitempty"` // why the user must act: a code of the provider's, for the operator

	ConsentExpires time.Time `json:"consent_expires,omitzero"`
	NewAccounts    bool      `json:"new_accounts,omitempty"` // the bank has accounts that were not shared yet
	Epoch          int       `json:"epoch"`                  // how many items this connection has had
	Created        time.Time `json:"created"`
	Updated        time.Time `json:"updated"`
}

// ConnectionState says what can be done with a Connection.
type ConnectionState string

// The states of a Connection.
const (
	Active       ConnectionState = "active"
	NeedsUser    ConnectionState = "needs_user"   // its owner must sign in at the bank again
	Removing     ConnectionState = "removing"     // Disconnect has begun: nothing is read or recorded any more
	Disconnected ConnectionState = "disconnected" // no consent at the bank and no token; can be restored
)

// Institution is a bank.
type Institution struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Country string `json:"country,omitempty"`
	URL     string `json:"url,omitempty"`
	Colour  string `json:"colour,omitempty"` // #rrggbb
	Logo    string `json:"logo,omitempty"`   // a data: URL or an https URL; only in searches, never stored
	Health  string `json:"health,omitempty"` // "", "degraded" or "down"
}

// Account is a bank account as a provider shows it.
type Account struct {
	ID         string      `json:"id"`                   // the provider's, good within one item
	Persistent string      `json:"persistent,omitempty"` // the provider's for the account itself, where it gives one
	Name       string      `json:"name"`
	Mask       string      `json:"mask,omitempty"` // last characters of the number; not unique
	Type       AccountType `json:"type"`
	Subtype    string      `json:"subtype,omitempty"`
	Currency   string      `json:"currency"` // ISO 4217, or the provider's code where it is not official
}

// AccountType says which side of a balance sheet a bank account is on.
type AccountType string

// The types of bank accounts whose transactions can be recorded. Other is shown and cannot be linked.
const (
	Deposit AccountType = "deposit" // current, savings: an asset
	Card    AccountType = "card"    // a liability
	Loan    AccountType = "loan"    // a liability
	Other   AccountType = "other"
)

// Linkable reports whether providers give the transactions of such an account.
func (t AccountType) Linkable() bool { return t == Deposit || t == Card || t == Loan }

// LinkedAccount is an Account with the key that stays the same when the connection gets a new item.
type LinkedAccount struct {
	Key string `json:"key"` // never changes; integrations and the journal hang on it
	Account
	Gone bool `json:"gone,omitempty"` // the bank no longer names it
}

// ByKey finds the account with that key.
func (c *Connection) ByKey(key string) (LinkedAccount, bool) {
	i := slices.IndexFunc(c.Accounts, func(a LinkedAccount) bool { return a.Key == key })
	if i < 0 {
		return LinkedAccount{}, false
	}
	return c.Accounts[i], true
}

// KeyOf finds the key of the account that the provider calls id today.
func (c *Connection) KeyOf(id string) (string, bool) {
	i := slices.IndexFunc(c.Accounts, func(a LinkedAccount) bool { return a.ID == id && !a.Gone })
	if i < 0 {
		return "", false
	}
	return c.Accounts[i].Key, true
}

// OfferedTo reports whether the connection was offered to a Book.
func (c *Connection) OfferedTo(book string) bool { return slices.Contains(c.Offered, book) }

// Integration sends the transactions of one bank account into one Account of a Book from a date on. There is at most one
// per Book and bank account; see IntegrationID.
type Integration struct {
	ID         string           `json:"id"`
	Book       string           `json:"book"`
	BookName   string           `json:"book_name"`
	Connection string           `json:"connection"` // that feeds it now
	Key        string           `json:"key"`        // LinkedAccount.Key there
	Bank       Institution      `json:"bank"`       // of the account, to recognise it under another connection
	Of         Account          `json:"of"`         // the bank account, as it was when saved
	Account    string           `json:"account"`
	AccountTag string           `json:"account_name"` // the Account's name when it was saved
	Currency   string           `json:"currency"`     // of the bank account; rows in another one are kept aside
	From       civil.Date       `json:"from"`         // nothing dated before is recorded
	Pending    bool             `json:"pending"`      // record transactions before they settle
	Paused     bool             `json:"paused"`
	As         string           `json:"as"`       // sub of the user as whom it records: who saved it last
	AsEmail    string           `json:"as_email"` // shown on the page
	State      IntegrationState `json:"state"`

	// What the poster knows. Want counts the saves that ask for history to be read again; Have is the last one that was
	// wholly served. While Want > Have the integration is read from the beginning.
	Want   int       `json:"want"`
	Have   int       `json:"have"`
	Again  int       `json:"again,omitempty"`  // the Want with which people asked to bring back what they had trashed
	Behind string    `json:"behind,omitempty"` // why rows could not be recorded: a Reason
	Until  time.Time `json:"until,omitzero"`   // not tried again before, while behind

	// Epoch counts the items that have fed the integration: one more when its connection gets a new item, or when another
	// connection to the same bank account takes over. A new item names every transaction anew.
	Epoch int `json:"epoch"`

	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
}

// IntegrationState says whether an Integration records.
type IntegrationState string

// The states of an Integration. A removed one is kept: its journal prevents doubles when it is linked again.
const (
	Live    IntegrationState = "live"
	Removed IntegrationState = "removed"
)

// Progress is what the page shows of an import.
type Progress struct {
	Recorded int        `json:"recorded"` // drafts created since the integration was made
	Aside    int        `json:"aside"`    // times that a row was kept aside; each has its reason in the journal
	Flagged  int        `json:"flagged"`  // times that the bank changed a row after a person had touched its record
	Last     time.Time  `json:"last,omitzero"`
	Oldest   civil.Date `json:"oldest,omitzero"` // oldest date that the bank has given
	Complete bool       `json:"complete"`        // the history that the bank has was read to its end
	Vanished int        `json:"vanished"`        // records that the bank no longer names, too many to take back unasked
}

// IntegrationID derives the one id that a Book and a bank account have, so that two links at once make one. It stays when
// another connection to the same account takes over: the journal hangs on it.
func IntegrationID(book, key string) string { return Hash(book, key) }

// Replays reports whether history must be read again for the integration, and whether it may be tried now.
func (i *Integration) Replays(now time.Time) bool {
	return i.State == Live && !i.Paused && i.Want > i.Have && !now.Before(i.Until)
}

// Replay asks that history is read again. What people have asked to bring back, and may not have come yet, comes with it.
func (i *Integration) Replay() {
	pleaded := i.Again > i.Have
	i.Want++
	if pleaded {
		i.Again = i.Want
	}
}

// Hash is a short stable digest of some texts, fit for ids: 32 lower-case hexadecimal digits.
func Hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// Session is one visit to a bank's sign-in.
type Session struct {
	ID         string       `json:"id"`
	Owner      string       `json:"owner"`
	Email      string       `json:"email"`
	Book       string       `json:"book"` // from which it was started; the connection is offered to it
	Provider   string       `json:"provider"`
	Country    string       `json:"country"`
	Purpose    Purpose      `json:"purpose"`
	Connection string       `json:"connection"` // the connection that it makes, repairs or restores
	Ref        string       `json:"ref"`        // digest of the provider's handle; the handle is in the vault
	State      SessionState `json:"state"`
	Candidate  string       `json:"candidate,omitempty"` // Candidate.Key that is being kept
	At         string       `json:"at,omitempty"`        // id of the candidate's institution
	Hint       string       `json:"hint,omitempty"`      // Visit.Hint for whoever asks next: the page or a webhook gave it
	Former     []string     `json:"former,omitempty"`    // hints before that one: what they name may have been made in vain
	Vain       bool         `json:"vain,omitempty"`      // of a final one: what was made and not kept may still be at the provider
	Duplicate  string       `json:"duplicate,omitempty"` // the connection that already has this bank
	Created    time.Time    `json:"created"`
	Forgotten  time.Time    `json:"forgotten"`       // after this the provider no longer tells the outcome
	Due        time.Time    `json:"due,omitzero"`    // when its outcome is asked for, should nobody come back
	Trying     time.Time    `json:"trying,omitzero"` // of Exchanging: until then an exchange may be under way
	Tried      bool         `json:"tried,omitempty"` // of Exchanging: an earlier exchange was begun, and nobody knows what came of it
	Ended      time.Time    `json:"ended,omitzero"`
	Cause      Cause        `json:"cause,omitempty"` // of Cancelled
}

// Purpose says why a person is sent to the bank.
type Purpose string

// The purposes of a Session.
const (
	ToConnect  Purpose = "connect"  // a new connection
	ToRepair   Purpose = "repair"   // the item lives: sign in again
	ToAccounts Purpose = "accounts" // the item lives: share more accounts
	ToRestore  Purpose = "restore"  // the item is gone: a new item for the same connection
)

// SessionState is where a Session stands.
type SessionState string

// The states of a Session. Kept, Duplicate, Cancelled, Lost and Refused are final.
const (
	Open       SessionState = "open"
	Exchanging SessionState = "exchanging" // the public token is being exchanged; see Lost
	Kept       SessionState = "kept"
	Duplicate  SessionState = "duplicate" // the user already has this bank: reconnect that connection
	Cancelled  SessionState = "cancelled" // nothing was made
	Refused    SessionState = "refused"   // another bank than the one to be reconnected
	Lost       SessionState = "lost"      // the answer of an exchange never came: an operator must look
)

// Final reports whether a session in this state never changes again.
func (s SessionState) Final() bool { return s != Open && s != Exchanging }

// User is a person who has signed in.
type User struct {
	Sub     string    `json:"sub"`
	Email   string    `json:"email"`
	Granted bool      `json:"granted"` // a standing grant is in the vault and was not refused since
	Updated time.Time `json:"updated"`
}
