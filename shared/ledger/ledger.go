// Package ledger is what the project needs of a bookkeeping service: Books with Accounts, and drafts in them.
package ledger

import (
	"context"
	"errors"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/secret"
)

// Ledger speaks to the bookkeeping service as the user whose access token it is given. Every implementation passes the
// suite in ledgertest. Errors are *bank.Error, wrapping the conditions below where they apply. All methods are safe for
// concurrent use.
type Ledger interface {
	// Books lists the Books that the user can see, without Accounts.
	Books(ctx context.Context, token secret.String) ([]Book, error)
	// Book reads one Book with its Accounts and what the user may do there. ErrNoAccess, ErrNotFound.
	Book(ctx context.Context, token secret.String, book string) (Book, error)
	// CreateAccount makes an Account and returns it with its id.
	CreateAccount(ctx context.Context, token secret.String, book string, a Account) (Account, error)
	// Find lists transactions, trashed ones or the others, a page at a time.
	Find(ctx context.Context, token secret.String, book string, q Query) (Found, error)
	// Write does one batch of one operation. It returns what the service says now stands; match it by remote id, never by
	// place: what the service skipped is missing. ErrRefused: nothing of the batch was written, and some row is to blame.
	Write(ctx context.Context, token secret.String, book string, op Operation, batch []Transaction) ([]Transaction, error)
}

// Operation is what Write does.
type Operation string

// The operations. MaxBatch bounds a batch of any of them.
const (
	Create Operation = "create" // as drafts, whatever the Book's automatic posting; a remote id that stands is skipped
	Update Operation = "update" // by ID; the whole transaction as it is to be
	Trash  Operation = "trash"  // by ID
	Revive Operation = "revive" // by ID: out of the trash
)

// MaxBatch is the number of transactions that Write takes at once.
const MaxBatch = 200

// Conditions that callers tell apart.
var (
	ErrNoAccess = errors.New("the user may not do this in the Book")
	ErrLogin    = errors.New("the access token is missing or expired")
	ErrNotFound = errors.New("no such Book, Account or transaction")
	ErrRefused  = errors.New("the Book refuses the request as it is")
)

// Book is a set of accounts, seen by one user.
type Book struct {
	ID         string
	Name       string
	Permission Permission
	Digits     int        // fraction digits of amounts
	Currency   string     // the Book's exc_code; "" where none is set
	Locked     civil.Date // records dated on or before are locked; zero where none are
	Accounts   []Account  // empty for a user who may not see them
}

// Permission is what a user may do in a Book.
type Permission string

// The permissions, from most to least.
const (
	Owner    Permission = "OWNER"
	Editor   Permission = "EDITOR"
	Poster   Permission = "POSTER"
	Recorder Permission = "RECORDER"
	Viewer   Permission = "VIEWER"
	None     Permission = "NONE"
)

// Edits reports whether Accounts and integrations may be changed.
func (p Permission) Edits() bool { return p == Owner || p == Editor }

// Sees reports whether the user is a collaborator at all.
func (p Permission) Sees() bool { return p != None && p != "" }

// Records reports whether drafts may be created.
func (p Permission) Records() bool { return p.Sees() && p != Viewer }

// Account is an Account of a Book.
type Account struct {
	ID       string
	Name     string
	Type     AccountType
	Archived bool
}

// AccountType is the nature of an Account.
type AccountType string

// The types of Accounts.
const (
	Asset     AccountType = "ASSET"
	Liability AccountType = "LIABILITY"
	Incoming  AccountType = "INCOMING"
	Outgoing  AccountType = "OUTGOING"
)

// Transaction is a record in a Book.
type Transaction struct {
	ID          string
	RemoteIDs   []string // at most one standing record of a Book carries a remote id
	Date        civil.Date
	Amount      decimal.Decimal // magnitude
	Credit      string          // Account id that the money leaves; "" where not known yet
	Debit       string          // Account id that the money reaches; "" where not known yet
	Description string
	Properties  map[string]string
	URLs        []string // kept as they are on Update
	Files       []byte   // opaque: the service's own list of files, kept as it is on Update

	Posted  bool // read only, as the next two
	Checked bool
	Trashed bool
}

// Writable reports whether a number can be the amount of a record: a magnitude, whose digits do not fill the memory when they are
// written out.
func Writable(d decimal.Decimal) bool {
	return !d.IsNegative() && d.Exponent() >= -50 && d.Exponent() <= 50 && d.NumDigits() <= 50
}

// Query selects transactions: by remote id alone, or by Account and dates.
type Query struct {
	RemoteID string
	Account  string     // Account name
	From, To civil.Date // both inclusive
	Trashed  bool       // those in the trash instead of those that stand
	Cursor   string     // Found.Cursor of the page before
}

// Found is a page of at most 1,000 transactions.
type Found struct {
	Transactions []Transaction
	Cursor       string // "" on the last page
}
