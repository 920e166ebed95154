// Package plaid stands in for Plaid in development and tests. Bank is Plaid as plain types: no HTTP, no goroutine, no clock
// of its own, so that a simulator can run thousands of histories a second on it; Server puts Plaid's HTTP interface, its
// Hosted Link page and its signed webhooks over a Bank. It speaks the Transactions product only.
package plaid

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/disk"
	"github.com/bkper/automations-portal/shared/sandbox/provider"
)

const (
	// Environment is the one that the sandbox says it is, in tokens and webhooks.
	Environment = "sandbox"

	publicTokenLife = 30 * time.Minute
	day             = 24 * time.Hour
)

// Config sets a Bank up. The zero Config works: real clock, unpredictable ids, every history loaded at once.
type Config struct {
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Rand makes every id and token; default unpredictable. A seeded one makes a run repeatable, and must not be used on
	// persisted state, where it would give ids out twice.
	Rand *rand.Rand
	// InitialDelay and HistoricalDelay are how long after an Item is made its first 30 days and the rest of its history are
	// loaded. Plaid takes about ten seconds and one to two minutes.
	InitialDelay, HistoricalDelay time.Duration
	// LoginExpiry is the age at which an Item needs its user again; 0 is never. Plaid's Sandbox takes 30 days.
	LoginExpiry time.Duration
	// TellTwice names what is added a second time, as modified, in the same page. Plaid does not say whether a transaction can be
	// in two lists of one update.
	TellTwice bool
	// CursorCode refuses a cursor with INVALID_INPUT and a code of its own. Plaid documents no error for one; INVALID_FIELD was seen.
	CursorCode bool
	// RedirectURIs, where not empty, are the only redirect_uri that a link token may name.
	RedirectURIs []string
}

// Bank is Plaid and the banks behind it. It is not safe for concurrent use.
//
// The banks are modelled apart from what Plaid shows of them: a customer has accounts with rows (see Row), and each Item
// of that customer shows these rows under ids of its own. So a new Item for the same customer shows the same history under
// new ids, and what changes at the bank changes in every Item of that customer.
type Bank struct {
	cfg  Config
	rand *rand.Rand

	customers map[string]*customer // by institution/user
	holdings  map[string]*holding  // by bank account id
	rows      map[string]*row      // by row id

	own    map[string]*Institution // added to the seeded ones, by id
	ownIDs []string                // in the order in which they were added

	links    map[string]*link   // by link token
	hosted   map[string]*link   // by the id in the hosted page's address
	publics  map[string]*public // by public token
	items    map[string]*item   // by item id
	tokens   map[string]*item   // by access token, removed Items included
	accounts map[string]*account
	entries  map[string]*entry // by transaction id

	outbox []Webhook
	dirty  disk.Changes // nil where nobody keeps it
}

// NewBank returns a Bank with the seeded institutions and nothing else.
func NewBank(cfg Config) *Bank {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = provider.NewRand()
	}
	return &Bank{
		cfg: cfg, rand: cfg.Rand,
		customers: map[string]*customer{}, holdings: map[string]*holding{}, rows: map[string]*row{},
		own:   map[string]*Institution{},
		links: map[string]*link{}, hosted: map[string]*link{}, publics: map[string]*public{},
		items: map[string]*item{}, tokens: map[string]*item{}, accounts: map[string]*account{}, entries: map[string]*entry{},
	}
}

func (b *Bank) now() time.Time { return b.cfg.Now().UTC() }

func (b *Bank) today() string { return b.now().Format(time.DateOnly) }

// daysAgo returns the date n days before t.
func daysAgo(t time.Time, n int) string { return t.AddDate(0, 0, -n).Format(time.DateOnly) }

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// letters writes n characters of the ids' alphabet, ten from each number that next gives.
func letters(n int, next func() uint64) string {
	out := make([]byte, n)
	var v uint64
	for i := range out {
		if i%10 == 0 {
			v = next()
		}
		out[i] = alphabet[v%uint64(len(alphabet))]
		v /= uint64(len(alphabet))
	}
	return string(out)
}

// newID makes an id as Plaid's are: 37 letters and digits, case-sensitive.
func (b *Bank) newID() string { return letters(37, b.rand.Uint64) }

// derivedID makes the same id from the same parts, always.
func derivedID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	sum := h.Sum(nil)
	i := -8
	return letters(37, func() uint64 { i += 8; return binary.BigEndian.Uint64(sum[i%32:]) })
}

func (b *Bank) newUUID() string { return provider.UUID(b.rand) }
