package bank

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"time"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/secret"
)

// Provider is one service that gives access to banks: a folder below this package. Every provider passes the suite in
// banktest. All methods are safe for concurrent use, honour the context, and return *Error for what the outside service
// answers.
type Provider interface {
	Linker
	Reader
	Doorbell
	Directory
	// Name is the key under which connections keep it and webhooks arrive: lower case, never changed.
	Name() string
}

// Of finds a provider, or the part of it that a function needs, in a table of those that are served. *Error of Kind OurFault
// where the configuration no longer has it; its connections wait until it has.
func Of[T any](table map[string]T, name string) (T, error) {
	p, served := table[name]
	if !served {
		return p, &Error{Kind: OurFault, Code: "provider_not_served"}
	}
	return p, nil
}

// Linker takes people to their bank and ends what came of it.
type Linker interface {
	// Begin starts a session at the provider and says where to send the person. ErrUnsupported where Begin.Accounts is
	// asked for in a country that is not among Front.Adds.
	Begin(context.Context, Begin) (Begun, error)
	// Outcome asks the provider what became of a session. It may be asked again and again.
	Outcome(context.Context, Visit) (Outcome, error)
	// Exchange turns a candidate into an item. It must be called once only: see Session and Lost.
	Exchange(context.Context, Candidate) (Grant, error)
	// Discard ends a candidate that is not going to be exchanged, where the provider would keep an item for it; what is gone
	// already is a success.
	Discard(context.Context, Candidate) error
	// Remove ends the item at the provider; what is gone already is a success.
	Remove(ctx context.Context, token secret.String) error
}

// Begin is what a session is started with.
type Begin struct {
	Session  string        // our id
	User     string        // an opaque id of the user; no e-mail address
	Country  string        // ISO 3166-1 alpha-2
	Language string        // "en" or "pt"
	Return   string        // URL to which the person comes back, whatever happened
	Webhook  string        // URL of our webhook function for this provider
	Token    secret.String // of the item to be repaired; empty for a new one
	Accounts bool          // of a repair: let the person share more accounts
}

// Begun says where to send the person.
type Begun struct {
	Handle  secret.String // by which the provider knows the session; kept in the vault
	Ref     string        // digest of the handle, as the provider's Notice.Session will carry it
	URL     string        // the provider's own page; empty where it has none
	Widget  secret.String // the token for the provider's script on our page; empty where there is a URL
	Expires time.Time     // the person must have come back by then
	Forgets time.Time     // after this the provider no longer tells the outcome
}

// Visit names a session for Outcome.
type Visit struct {
	Handle secret.String // empty once the session has ended: what was made in it later is recognised by its Ref
	Ref    string        // Begun.Ref
	User   string        // as given to Begin
	Hint   string        // what the browser or a webhook says came of it; only ever looked up, never believed
}

// Outcome is what the provider knows of a session.
type Outcome struct {
	State      VisitState
	Candidates []Candidate // of Finished: what the person made; more than one is possible. Of Left: what must be discarded
	Cause      Cause       // of Visiting and Left
}

// Cause says why a person came back from the bank without success, or has had none so far.
type Cause string

// The causes that a provider may tell of; none where the person just left, or nobody knows.
const (
	BadCredentials Cause = "credentials" // the bank did not accept who signed in
	BankDown       Cause = "bank_down"
	TooLate        Cause = "expired"     // the visit took too long
	Unreadable     Cause = "unsupported" // the bank cannot be read in this way
)

// VisitState is where the person stands.
type VisitState string

// The states of a visit.
const (
	Visiting VisitState = "visiting" // not back yet
	Finished VisitState = "finished"
	Left     VisitState = "left"    // came back or stayed away without success
	Unknown  VisitState = "unknown" // the provider has forgotten it
)

// Candidate is an item that can be kept.
type Candidate struct {
	Key         string        // stable digest; not secret
	Public      secret.String // for Exchange
	Institution Institution
	Accounts    []Account // names and masks; ids may differ from those of the item
}

// Grant is what an exchange yields.
type Grant struct {
	Item  string
	Token secret.String
}

// Reader reads what banks say.
type Reader interface {
	// Item reads the state of an item and its accounts.
	Item(ctx context.Context, token secret.String) (Item, error)
	// Changes reads one page. Mutations are ErrMutated, refused cursors ErrCursor.
	Changes(context.Context, From) (Page, error)
}

// Item is what the provider says of a connection.
type Item struct {
	ID             string
	Institution    Institution
	Accounts       []Account
	NeedsUser      string // code why the owner must sign in again; "" where all is well
	ConsentExpires time.Time
}

// From says where to read.
type From struct {
	Token secret.String
	At    string // Page.Next of the page before; "" is the beginning of all history
	Deep  bool   // read again what may have changed silently, for providers that do not tell every change
}

// Page is a part of what changed. A transaction in Changed may be new or known.
type Page struct {
	Changed  []Transaction
	Removed  []RemovedTransaction
	Next     string // where the next page begins; "" where the bank has nothing to read from yet
	More     bool
	Complete bool      // the provider says that all history it will ever have is there
	Accounts []Account // as this page knows them; may be nil
	Unusable []Unusable
	// Retold says of accounts that the page names all that stands on them since a date. What it does not name is gone, or goes on
	// under another id that the page names. Providers that tell every removal have no need of it.
	Retold []Retold
}

// Retold is an account of which a page names every transaction since a date, pending and unusable ones too.
type Retold struct {
	Account string // Account.ID
	Since   civil.Date
}

// RemovedTransaction is one that the bank takes back.
type RemovedTransaction struct {
	ID      string `json:"id"`
	Account string `json:"account"` // "" where the bank does not say
}

// Unusable is a row that the adapter could not understand; it is shown to the user and the rest goes on. Its ID is UnnamedID where it
// has none that is usable; without any it is shown to nobody.
type Unusable struct {
	ID, Account, Reason string
}

// Doorbell understands webhooks.
type Doorbell interface {
	// Verify checks that the provider sent this and says what it is about. No I/O but the provider's verification keys.
	// ErrForged, ErrMalformed, or an *Error of Kind Retry where the keys could not be had.
	Verify(ctx context.Context, header http.Header, body []byte) ([]Notice, error)
}

// Notice is what a webhook is about. Its content is a reason to look, never the truth.
type Notice struct {
	Item    string // look at this item; beside a Session, it is the Visit.Hint for its outcome
	Session string // or ask for the outcome of the session with this Begun.Ref
	Deep    bool
	// Opened: the item's bank has accounts that were not shared. Some providers tell that nowhere else, and it is no more than a hint
	// for the owner.
	Opened bool
}

// Directory lists banks.
type Directory interface {
	// Countries are the ISO codes that the provider serves.
	Countries() []string
	// Institutions searches the banks of a country; an empty query gives the best known. At most 50.
	Institutions(ctx context.Context, country, query string) ([]Institution, error)
	// Institution is the bank of a country that has this id. ErrNotFound where there is none.
	Institution(ctx context.Context, country, id string) (Institution, error)
	// Front is what the provider brings to our page. It never changes.
	Front() Front
}

// Front is what a provider brings to our page, which knows no provider by name.
type Front struct {
	// Days of history that its banks give at most.
	Days int
	// Adds are the countries in which the owner of a connection can share more accounts of it later, with Begin.Accounts.
	Adds []string
	// Widget is an ES module for providers whose Begun has a Widget. It exports a function
	//
	//	open({token, language, dark, institution}) → Promise of {item}
	//
	// that shows the provider's widget over the page: token is Begun.Widget, language "en" or "pt", dark whether the page
	// is, institution the Institution.ID that the person has chosen, or "". The promise is kept once the widget has closed;
	// item is for /connect/complete, absent where the person left without one. It is broken where the widget cannot be shown.
	Widget []byte
	// Hosts are the https origins that the widget needs, by directive of the page's Content-Security-Policy: script-src,
	// frame-src, connect-src, img-src, font-src or style-src.
	Hosts map[string][]string
	// Needs says what the codes of Item.NeedsUser and of errors of Kind UserMustAct mean to a person. A code that is not among
	// them means no more than that the bank wants its customer again.
	Needs map[string]Need
}

// Need is why the owner of a connection must sign in again.
type Need string

// The needs that a person is told in words of their own.
const (
	NewCredentials Need = "credentials"  // the user name or the password is no longer accepted
	Confirmation   Need = "confirmation" // the bank waits for a code or an approval
	Locked         Need = "locked"       // the bank has locked the access
	ActionAtBank   Need = "action"       // the bank wants something done on its own website first
	NewConsent     Need = "consent"      // the permission has ended or was withdrawn
	NotReadable    Need = "unsupported"  // this customer's accounts cannot be read in this way
	Stalled        Need = "stalled"      // it is not read any more after failures, until somebody signs in
)

// NeedOf says why the owner of a connection must sign in again, in the words of the provider that serves it, which may be
// nil; "" where nobody must, or nobody knows.
func NeedOf(c *Connection, d Directory) Need {
	if c.State != NeedsUser || d == nil {
		return ""
	}
	return d.Front().Needs[c.Reason]
}

// Confidential reports whether credentials may travel to that URL.
func Confidential(at *url.URL) bool {
	if at.Scheme == "https" {
		return true
	}
	ip := net.ParseIP(at.Hostname())
	return at.Scheme == "http" && (at.Hostname() == "localhost" || ip.IsLoopback())
}
