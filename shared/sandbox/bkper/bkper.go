// Package bkper stands in for Bkper, the bookkeeping service: Books with Accounts, Transactions and collaborators behind
// the REST API v5. The parts are plain types that a simulator calls without HTTP; Server puts HTTP over them.
package bkper

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/disk"
)

// Spaces of the disk: one document an entity.
const (
	userSpace        = "bkper.user"
	bookSpace        = "bkper.book"
	accountSpace     = "bkper.account"
	transactionSpace = "bkper.transaction"
	integrationSpace = "bkper.integration"
	connectionSpace  = "bkper.connection"
	appSpace         = "bkper.app"
	counterSpace     = "bkper.counter"
	seedSpace        = "bkper.seed"
)

// Rules are the points on which nothing public says what Bkper does, so that clients are tested under each answer. The
// zero Rules are the answers that forgive a client least.
type Rules struct {
	// SingleDuplicateReturned: creating one transaction whose remote id stands answers with the standing transaction
	// instead of an operation without one.
	SingleDuplicateReturned bool `json:"singleDuplicateReturned"`
	// BatchDuplicatesReturned: a batch answers with the standing transactions too, instead of the created ones only.
	BatchDuplicatesReturned bool `json:"batchDuplicatesReturned"`
	// TrashedBlocks: a trashed transaction's remote id cannot be used again.
	TrashedBlocks bool `json:"trashedBlocks"`
	// BatchKeepsPrefix: what stands before the row at fault stays written, instead of nothing.
	BatchKeepsPrefix bool `json:"batchKeepsPrefix"`
	// LockedDrafts: locks bind posted transactions only, instead of drafts too.
	LockedDrafts bool `json:"lockedDrafts"`
	// Rounds: amounts are rounded half up to the Book's fraction digits, instead of refused when they have more.
	Rounds bool `json:"rounds"`
	// IntegrationsBy is the least permission that writes integrations; OWNER, EDITOR (also when empty), POSTER,
	// RECORDER or VIEWER.
	IntegrationsBy Permission `json:"integrationsBy"`
	// VoidIsObject: a call without result answers 200 {} instead of 204.
	VoidIsObject bool `json:"voidIsObject"`
	// Int64IsNumber: 64-bit integers are JSON numbers instead of strings.
	Int64IsNumber bool `json:"int64IsNumber"`
}

// Options set a Service up; all are optional.
type Options struct {
	Now   func() time.Time // default time.Now
	NewID func() int64     // default a counter that never repeats, restarts included
	DB    *disk.DB         // nil keeps everything in memory only
	Rules Rules
}

// Caller is who makes a call, and through which agent.
type Caller struct {
	Email string
	Agent string // app id; "" for the person alone
	// CutAfter, where not 0, is a fault: the service dies after this many rows of a batch, and they stand.
	CutAfter int
}

// Service is Bkper. It is safe for concurrent use, and every method that changes something has saved it when it returns.
type Service struct {
	now   func() time.Time
	newID func() int64
	db    *disk.DB

	mu          sync.Mutex
	rules       Rules
	lag         time.Duration
	users       map[string]User // by e-mail address in lower case
	books       map[string]*book
	connections map[string]*Connection
	apps        map[string]*App
	next, limit int64 // of the built-in counter
	counterErr  error
	seeded      bool
}

// New returns a Service with what the disk holds.
func New(o Options) (*Service, error) {
	s := &Service{
		now: o.Now, newID: o.NewID, db: o.DB, rules: o.Rules,
		users: map[string]User{}, books: map[string]*book{}, connections: map[string]*Connection{}, apps: map[string]*App{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.newID == nil {
		s.newID = s.count
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	return s, nil
}

// Rules returns what is in force.
func (s *Service) Rules() Rules {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rules
}

// SetRules changes what is in force from the next call on.
func (s *Service) SetRules(r Rules) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = r
}

// SetLag hides transactions from lists and counts for so long after their creation, as an eventually consistent index
// does. Reading by id and the uniqueness of remote ids do not lag.
func (s *Service) SetLag(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag = d
}

// countBlock is the number of ids taken from the disk at once, so that not every id costs a write.
const (
	countBlock = 1000
	firstID    = 5629499534213120 // ids look like the sixteen digits of Google's Datastore
)

func (s *Service) count() int64 {
	if s.next == 0 {
		s.next, s.limit = firstID, firstID
	}
	if s.next >= s.limit {
		s.limit = s.next + countBlock
		s.counterErr = errors.Join(s.counterErr, s.save(counterSpace, "id", s.limit))
	}
	s.next++
	return s.next - 1
}

func (s *Service) id() string { return strconv.FormatInt(s.newID(), 10) }

func (s *Service) save(space, id string, doc any) error {
	return s.saveAll(space, map[string]any{id: doc})
}

func (s *Service) saveAll(space string, docs map[string]any) error {
	if s.db == nil {
		return nil
	}
	return errors.Join(s.counterErr, s.db.Save(space, docs))
}

func (s *Service) load() error {
	if s.db == nil {
		return nil
	}
	for _, step := range []func() error{
		func() error {
			return disk.Each(s.db, seedSpace, func(_ string, done bool) error { s.seeded = done; return nil })
		},
		func() error {
			return disk.Each(s.db, counterSpace, func(_ string, n int64) error { s.next, s.limit = n, n; return nil })
		},
		func() error {
			return disk.Each(s.db, userSpace, func(_ string, u User) error { s.users[fold(u.Email)] = u; return nil })
		},
		func() error {
			return disk.Each(s.db, appSpace, func(_ string, a App) error { s.apps[a.ID] = &a; return nil })
		},
		func() error {
			return disk.Each(s.db, connectionSpace, func(_ string, c Connection) error { s.connections[c.ID] = &c; return nil })
		},
		func() error {
			return disk.Each(s.db, bookSpace, func(_ string, d bookDoc) error { s.books[d.ID] = newBook(d); return nil })
		},
		func() error {
			return disk.Each(s.db, accountSpace, func(_ string, d accountDoc) error { return s.inBook(d.Book, func(b *book) { b.addAccount(d) }) })
		},
		func() error {
			return disk.Each(s.db, transactionSpace, func(_ string, r record) error { return s.inBook(r.Book, func(b *book) { b.swap(nil, &r) }) })
		},
		func() error {
			return disk.Each(s.db, integrationSpace, func(_ string, i Integration) error {
				return s.inBook(i.BookID, func(b *book) { b.integrations[i.ID] = &i })
			})
		},
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) inBook(id string, do func(*book)) error {
	b, ok := s.books[id]
	if !ok {
		return fmt.Errorf("no Book %s", id)
	}
	do(b)
	return nil
}

func fold(email string) string { return strings.ToLower(email) }

func (s *Service) millis() int64 { return s.now().UnixMilli() }

// stamp writes a time as Bkper does: milliseconds since 1970, as text.
func stamp(ms int64) string { return strconv.FormatInt(ms, 10) }

// int64 writes a 64-bit integer as the rules say.
func (s *Service) int64(n int) json.RawMessage {
	if s.rules.Int64IsNumber {
		return json.RawMessage(strconv.Itoa(n))
	}
	return json.RawMessage(strconv.Quote(strconv.Itoa(n)))
}

// AddUser makes a person known; a person known already is renamed. Calling the API makes a person known too.
func (s *Service) AddUser(u User) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.users[fold(u.Email)]
	u.ID = cmp.Or(u.ID, old.ID)
	u.Name = cmp.Or(u.Name, old.Name, u.Email)
	if ok && old == u {
		return nil
	}
	if u.ID == "" {
		u.ID = s.id()
	}
	s.users[fold(u.Email)] = u
	return s.save(userSpace, fold(u.Email), u)
}

// User returns who the caller is.
func (s *Service) User(who Caller) (User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.users[fold(who.Email)]
	if !ok {
		return User{}, errLogin()
	}
	u.Username, _, _ = strings.Cut(u.Email, "@")
	u.FullName, u.Free = u.Name, true
	u.GivenName, _, _ = strings.Cut(u.Name, " ")
	_, u.HostedDomain, _ = strings.Cut(u.Email, "@")
	for _, c := range s.connections {
		u.BankConnections = u.BankConnections || c.Type == "BANK" && fold(c.Email) == fold(who.Email)
	}
	return u, nil
}

// enter finds a Book for a caller who may do something there.
func (s *Service) enter(who Caller, bookID string, c capability) (*book, error) {
	b, ok := s.books[bookID]
	if !ok || b.Deleted {
		return nil, notFound("Book NOT found! ID: %s", bookID)
	}
	if err := b.allow(who, c); err != nil {
		return nil, err
	}
	return b, nil
}

// sorted returns the values of m in the order of their keys.
func sorted[T any](m map[string]T) []T {
	var all []T
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, m[k])
	}
	return all
}
