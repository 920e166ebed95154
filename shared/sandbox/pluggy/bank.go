// Package pluggy stands in for Pluggy in development and tests. Bank is Pluggy as plain types: no HTTP, no goroutine, no
// clock of its own, so that a simulator can run thousands of histories a second on it; Server puts Pluggy's HTTP interface,
// its Connect widget and its webhooks over a Bank. It speaks accounts, cards and their transactions only.
//
// What Pluggy's documents leave open is an option; its default is the reading that asks more of a client.
package pluggy

import (
	"math/rand/v2"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/disk"
	"github.com/bkper/automations-portal/shared/sandbox/provider"
	"github.com/google/uuid"
)

const (
	day         = 24 * time.Hour
	historyDays = 365 // what a new item shows; https://docs.pluggy.ai, "up to 12 months"
	pageSize    = 500 // of /v2/transactions, fixed by Pluggy
)

// Config sets a Bank up. The zero Config works: real clock, unpredictable ids, an item is collected at its first look.
type Config struct {
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Rand makes every id; default unpredictable. A seeded one makes a run repeatable, and must not be used on persisted
	// state, where it would give ids out twice.
	Rand *rand.Rand
	// Step is how long each execution status of an item lasts. With 0 an item is through at its second look: the answer
	// to its creation shows CREATED, the next one the end.
	Step time.Duration
	// Approval is how long USER_AUTHORIZATION_PENDING lasts before the bank approves by itself; default a minute.
	Approval time.Duration
	// Patience is how long an item waits for its user before USER_INPUT_TIMEOUT; default five minutes.
	Patience time.Duration
	// AutoSync is the time between two synchronisations of an item by Pluggy; default 24 hours.
	AutoSync time.Duration
	// MinUpdate is how often a client may update an item by its API key, at most; sooner is 409. Default an hour; negative
	// is no limit. The widget is exempt.
	MinUpdate time.Duration
	// WaitForSync keeps what a bank changes hidden until the item's next synchronisation, as at Pluggy. Otherwise every
	// healthy item is synchronised as soon as something changed.
	WaitForSync bool
	// ItemLimit is how many items a client may have; 0 is no limit.
	ItemLimit int
	// TokenOptionsWin makes the options sealed in a connect token win over those in the body of POST /items. Pluggy does
	// not say which does; the default lets whoever holds a token set another clientUserId.
	TokenOptionsWin bool
	// AvoidOAuthDuplicates makes avoidDuplicates work for connectors with OAuth too. Pluggy does not say.
	AvoidOAuthDuplicates bool
	// ListItems enables GET /v2/items, which Pluggy does on request only.
	ListItems bool
	// OfflineConflict answers 409 instead of 400 where a connector is offline: Pluggy's sources say both.
	OfflineConflict bool
	// NegativeCards shows what is owed on a card as a negative balance, as Pluggy's own sandbox does; a real card's is
	// positive.
	NegativeCards bool
	// Statuses overrides the item status that follows an execution status; see defaultStatuses.
	Statuses map[string]string
	// NextCarriesFilters repeats the dates of the request in a page's next. Without, next names the account and the cursor
	// only, and whoever follows it as it is reads more than was asked for.
	NextCarriesFilters bool
}

func (c *Config) fill() {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = provider.NewRand()
	}
	for p, d := range map[*time.Duration]time.Duration{
		&c.Approval: time.Minute, &c.Patience: 5 * time.Minute, &c.AutoSync: day, &c.MinUpdate: time.Hour,
	} {
		if *p == 0 {
			*p = d
		}
	}
}

// Bank is Pluggy and the banks behind it. It is not safe for concurrent use.
//
// The banks are modelled apart from what Pluggy shows of them: a customer has accounts with rows (see Row), and each item
// of that customer shows these rows under ids of its own, as it last collected them. So a new item for the same customer
// shows the same history under new ids.
type Bank struct {
	cfg Config

	customers map[string]*customer // by connector/user
	holdings  map[string]*holding  // by bank account id
	rows      map[string]*row      // by row id

	own    map[int]*Connector // added to the seeded ones, by id
	health map[int]string     // of connectors that are not ONLINE

	items    map[string]*item // by id; deleted ones are gone
	accounts map[string]*account
	entries  map[string]*entry // by transaction id
	fresh    map[string]*holding

	outbox []Event
	dirty  disk.Changes // nil where nobody keeps it
}

// NewBank returns a Bank with the seeded connectors and nothing else.
func NewBank(cfg Config) *Bank {
	cfg.fill()
	return &Bank{
		cfg: cfg, customers: map[string]*customer{}, holdings: map[string]*holding{}, rows: map[string]*row{},
		own: map[int]*Connector{}, health: map[int]string{}, items: map[string]*item{}, accounts: map[string]*account{},
		entries: map[string]*entry{}, fresh: map[string]*holding{},
	}
}

// now is in milliseconds, which is all that Pluggy's timestamps show.
func (b *Bank) now() time.Time { return b.cfg.Now().UTC().Truncate(time.Millisecond) }

func (b *Bank) newUUID() string { return provider.UUID(b.cfg.Rand) }

// derivedID makes the same id from the same text, always.
func derivedID(text string) string { return uuid.NewSHA1(uuid.NameSpaceOID, []byte(text)).String() }
