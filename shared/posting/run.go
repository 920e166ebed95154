package posting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"slices"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/telemetry"
	"github.com/bkper/automations-portal/shared/vault"
)

// Times that make a sleeper harmless: a call begins only if it must end before the lease does, and the work of one event
// ends before its acknowledgement is due (600 s).
const (
	LeaseTime  = 90 * time.Second
	BankCall   = 60 * time.Second
	LedgerCall = 30 * time.Second
	budget     = 8 * time.Minute
)

const (
	interval     = 5 * time.Hour // between two looks at a healthy connection; up to an hour more, to spread them
	statusEvery  = 24 * time.Hour
	loadingFor   = 10 * time.Minute // at first, between two looks at a new item whose history is still being loaded
	tries        = 3                // of a call that may pass
	longestWait  = 20 * time.Second
	fresh        = 10 * time.Second // how old the look at a record may be that is going to be changed
	mutations    = 5                // restarts of one read before the connection rests
	patience     = 3                // failures in a row for one Book's sake before the others go on without it
	blockedFor   = 4 * time.Hour    // less than interval: the next look tries again
	slowestRetry = 6 * time.Hour
)

// Poster does what a doorbell asks: sync one connection and record into its Books.
type Poster struct {
	Store  store.Store
	Tokens vault.Reader
	Banks  map[string]bank.Reader // by provider
	Ledger ledger.Ledger
	Grants Grants
	Events events.Publisher
	Log    *slog.Logger

	Telemetry *telemetry.Telemetry

	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error
	Rand  func() float64 // in [0, 1)
}

// Grants give access tokens for the users as whom records are made.
type Grants interface {
	// Token gives an access token that may be some minutes old. *bank.Error of Kind UserMustAct where the user must consent
	// again.
	Token(ctx context.Context, sub string) (secret.String, error)
	// Fresh gets a new one, after the service refused the other.
	Fresh(ctx context.Context, sub string) (secret.String, error)
}

// errBudget: the event's time is used up; the rest is left to the next one.
var errBudget = errors.New("out of time")

// storeError marks an error of our own database: only then is an event refused, since nothing could be written down.
type storeError struct{ error }

func (e storeError) Unwrap() error { return e.error }

// Post handles one event. An error means that not even a failure could be written down, and that the event must come
// again; everything else is acknowledged, because what remains to be done stands in the Engine.
func (p *Poster) Post(ctx context.Context, m events.Message) error {
	met, err := p.resolve(ctx, m)
	if err != nil || met == nil {
		return err
	}
	if m.Opened && met.Item != "" && !met.NewAccounts {
		if err := p.opened(ctx, met.ID); err != nil {
			return err
		}
	}
	e, err := p.ring(ctx, met.ID, m.Deep)
	if err != nil || e == nil {
		return err
	}
	r := &run{p: p, e: e, met: met, config: e.Config, deadline: p.Now().Add(budget), j: newJournal(p.Store), left: map[string]bool{}, log: p.Log.With("connection", met.ID)}
	err = r.work(ctx)
	r.tell(ctx, err)
	return r.end(ctx, err)
}

// resolve finds the connection that an event means, of which no more than its id may be known. An item that nobody knows is
// no error: whoever is connecting it rings once it is known.
func (p *Poster) resolve(ctx context.Context, m events.Message) (*bank.Connection, error) {
	if m.Connection != "" {
		return &bank.Connection{ID: m.Connection}, nil
	}
	found, err := store.Connections.Find(ctx, p.Store, store.Query{Field: store.ByItem, Any: []string{store.ItemKey(m.Provider, m.Item)}, Limit: 1})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// opened notes that the bank has accounts that were not shared, for the owner to see.
func (p *Poster) opened(ctx context.Context, connection string) error {
	return p.Store.Update(ctx, func(tx store.Tx) error {
		c, err := store.Connections.Load(tx, connection)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		c.NewAccounts = true
		return store.Connections.Put(tx, c)
	})
}

// run is one process's hold on one connection.
type run struct {
	p        *Poster
	e        *Engine // as last committed, with what this holder has done since
	config   int64   // Engine.Config at which conn and feeds were read
	deadline time.Time
	log      *slog.Logger

	met   *bank.Connection // as the event's item was resolved, before the lease was taken
	conn  *bank.Connection
	bank  bank.Reader
	token secret.String
	feeds map[string][]*bank.Integration // live ones by account key
	books map[booking]*opened
	j     *journal

	done      []*Segment      // heard, to be filed with the next commit
	mutations int             // reads that had to start over
	stumbles  int             // writes in a row that may not have reached a Book
	sending   bool            // intents are being sent: a commit must not overlook a change of configuration
	looked    bool            // the item was looked at in this run
	unlocked  bool            // Books were asked for their lock in this run
	loading   bool            // the history of a new item was not all there yet
	left      map[string]bool // integrations that this run has left behind
	retold    []bank.Retold   // of the page under way
}

// booking is a Book as one user.
type booking struct{ bookID, as string }

// opened is what a run found out about a booking.
type opened struct {
	book    *ledger.Book
	read    time.Time // when it was
	token   secret.String
	blocked string // code; why nothing can be recorded
	passing error  // of blocked: it may pass; the others are served, then the run ends with it and tries again
}

func (r *run) now() time.Time { return r.p.Now() }

// commit writes while the lease is held, and renews it. See transact.
func (r *run) commit(ctx context.Context, strict bool, extra func(tx store.Tx) (func() error, error)) error {
	return r.transact(ctx, strict, extra, func(e *Engine) {
		e.Lease.Until = r.now().Add(LeaseTime)
		e.Due = e.Lease.Until
	})
}

// letGo frees the lease, unless how leaves it held: it sees what others have written meanwhile.
func (r *run) letGo(ctx context.Context, how func(*Engine)) error {
	return r.transact(ctx, false, nil, how)
}

// transact is the only way in which a holder writes. It fails with ErrFenced where another holder has taken over, and with
// errConfig where it is strict and people have changed the configuration; every other error is a storeError. The extra
// function may read in the transaction and returns what to write.
func (r *run) transact(ctx context.Context, strict bool, extra func(tx store.Tx) (func() error, error), how func(*Engine)) error {
	var next Engine
	var config int64
	err := r.p.Store.Update(ctx, func(tx store.Tx) error {
		now, err := shares.Load(tx, r.e.Connection)
		if err != nil {
			return err
		}
		if now.Lease.Fence != r.e.Lease.Fence {
			return ErrFenced
		}
		if config = now.Config; (strict || r.sending) && config != r.config {
			return errConfig
		}
		put := func() error { return nil }
		if extra != nil {
			if put, err = extra(tx); err != nil {
				return err
			}
		}
		next = *r.e
		next.Asked, next.Deep, next.Config, next.Obeyed = now.Asked, now.Deep, now.Config, now.Config
		how(&next)
		if err := Engines.Put(tx, &next); err != nil {
			return err
		}
		for _, s := range r.done {
			if err := Segments.Put(tx, s); err != nil {
				return err
			}
		}
		return put()
	})
	switch {
	case err == nil:
		*r.e = next
		r.done = nil
		return nil
	case errors.Is(err, ErrFenced):
		return err
	case errors.Is(err, errConfig):
		r.e.Config = config // so that reload notices
		return err
	}
	return storeError{err}
}

// end lets go after work, whatever came of it.
func (r *run) end(ctx context.Context, err error) error {
	var broken storeError
	switch {
	case err == nil || errors.Is(err, ErrFenced):
		return nil
	case errors.As(err, &broken):
		return err
	case errors.Is(err, errBudget):
		if err := r.letGo(ctx, func(e *Engine) { e.free(r.now()) }); err != nil {
			return fenced(err)
		}
		if err := r.p.Events.Publish(ctx, events.Rings, events.Message{Connection: r.e.Connection}); err != nil {
			r.log.WarnContext(ctx, "could not ring; sync will", "err", err)
		}
		return nil
	}
	return fenced(r.fail(ctx, err))
}

func fenced(err error) error {
	if errors.Is(err, ErrFenced) {
		return nil
	}
	return err
}

// fail writes a failure down, with the time to try again.
func (r *run) fail(ctx context.Context, cause error) error {
	kind, code := bank.KindOf(cause), bank.CodeOf(cause)
	r.log.WarnContext(ctx, "sync failed", "kind", kind, "code", code, "err", cause)
	var be *bank.Error
	wait := r.backoff(r.e.Failures)
	switch {
	case kind == bank.UserMustAct || errors.Is(cause, bank.ErrGone):
		wait = statusEvery
		if errors.Is(cause, bank.ErrGone) {
			code = "gone"
		}
		if err := r.needsUser(ctx, code); err != nil {
			return err
		}
	case errors.As(cause, &be) && kind == bank.RetryAfter:
		wait = max(wait, be.After)
	case kind == bank.OurFault || kind == bank.Permanent:
		wait = max(wait, time.Hour)
	}
	return r.letGo(ctx, func(e *Engine) {
		e.Failures++
		e.Failure = code
		if e.Asked > e.Reading || e.Config != r.config { // somebody rang, or mended something, since this began
			wait = min(wait, time.Minute)
		}
		e.free(r.now().Add(wait))
	})
}

// backoff grows from a minute to six hours, by half to all of it.
func (r *run) backoff(failures int) time.Duration {
	d := min(time.Minute<<min(failures, 10), slowestRetry)
	return d/2 + time.Duration(r.p.Rand()*float64(d/2))
}

// work goes round until nobody has rung meanwhile.
func (r *run) work(ctx context.Context) error {
	if err := r.recover(ctx); err != nil {
		return err
	}
	for {
		idle, err := r.round(ctx)
		if err != nil {
			return err
		}
		again := false
		err = r.letGo(ctx, func(e *Engine) {
			if again = e.Asked > e.Reading || e.Config != r.config; again {
				e.ReadingDeep = false
				e.again(false)
				e.Lease.Until = r.now().Add(LeaseTime)
				e.Due = e.Lease.Until
				return
			}
			e.ReadingDeep, e.Failures, e.Failure = false, 0, ""
			due := time.Time{}
			if idle > 0 {
				due = r.now().Add(idle)
			}
			e.free(due)
		})
		if err != nil || !again {
			return err
		}
	}
}

// round reads the bank once and tells how long the connection can rest; 0 is until somebody rings.
func (r *run) round(ctx context.Context) (idle time.Duration, err error) {
	main, replayed := false, false
	// The read under way was begun in this round: it knows who wants history now, and has passed by nothing that a ring told of.
	begun := false
	for {
		switch err = r.reload(ctx); {
		case err != nil:
			return 0, err
		case r.conn.State == bank.Removing || r.conn.State == bank.Disconnected:
			return 0, nil
		}
		r.token, err = r.p.Tokens.Get(ctx, vault.ConnectionToken(r.conn.ID))
		if errors.Is(err, vault.ErrNotFound) {
			return 0, &bank.Error{Kind: bank.UserMustAct, Code: "no_token", Err: err}
		}
		if err != nil {
			return 0, fmt.Errorf("token of the connection: %w", err)
		}
		if r.bank, err = bank.Of(r.p.Banks, r.conn.Provider); err != nil {
			return 0, err
		}
		switch err := r.look(ctx); {
		case errors.Is(err, errConfig):
			continue
		case err != nil:
			return 0, err
		}
		if r.conn.State == bank.NeedsUser {
			return statusEvery, nil
		}
		switch err := r.unlock(ctx); {
		case errors.Is(err, errConfig):
			continue
		case err != nil:
			return 0, err
		}
		if r.e.Read == nil && !replayed {
			switch r.e.Read, err = r.next(ctx, main); {
			case errors.Is(err, errConfig):
				continue
			case err != nil:
				return 0, err
			}
			begun = true
		}
		if r.e.Read == nil {
			break
		}
		replay := r.e.Read.Replay
		switch err := r.read(ctx); {
		case errors.Is(err, errConfig):
			continue
		case err != nil:
			return 0, err
		}
		main, replayed = main || (!replay && begun), replayed || (replay && begun)
	}
	if !r.e.Linked {
		return 0, nil
	}
	if r.loading {
		return r.patiently(), nil
	}
	r.e.Loading = time.Time{}
	return interval + time.Duration(r.p.Rand()*float64(time.Hour)), nil
}

// patiently tells when to look again for history that is still being loaded: the longer it takes, the more seldom, since some
// banks never say that all is there.
func (r *run) patiently() time.Duration {
	if r.e.Loading.IsZero() {
		r.e.Loading = r.now()
	}
	return min(max(r.now().Sub(r.e.Loading), loadingFor), interval)
}

// reload reads the connection, and forgets what was known of its integrations, where people have changed something.
func (r *run) reload(ctx context.Context) error {
	if r.conn != nil && r.config == r.e.Config {
		return nil
	}
	// The number is read before the things: a change in between shows as a change at the next commit.
	r.config = r.e.Config
	conn, err := r.connection(ctx)
	if err != nil {
		return storeError{err}
	}
	r.e.Revised = conn.Updated
	r.conn, r.feeds, r.books, r.left = conn, map[string][]*bank.Integration{}, map[booking]*opened{}, map[string]bool{} // a save is not behind
	if r.e.Item != conn.Item {
		r.e.Item, r.e.Cursor, r.e.Read, r.e.Loading = conn.Item, "", nil, time.Time{} // a new item begins at the beginning
	}
	if r.e.Known == r.config && r.config != 0 {
		return nil
	}
	linked, err := store.Integrations.Find(ctx, r.p.Store, store.Query{Field: store.ByConnection, Any: []string{conn.ID}, Limit: 1})
	if err != nil {
		return storeError{err}
	}
	r.e.Linked, r.e.Behind, r.e.Known = len(linked) > 0, len(linked) > 0, r.config
	return nil
}

// connection reads the connection, unless the event was resolved by it and the engine tells that nothing has changed since:
// all that writes a connection counts in Config or is a holder.
func (r *run) connection(ctx context.Context) (*bank.Connection, error) {
	if met := r.met; r.conn == nil && r.config == r.e.Known && !met.Updated.IsZero() && met.Updated.Equal(r.e.Revised) {
		return met, nil
	}
	return store.Connections.Get(ctx, r.p.Store, r.e.Connection)
}

// look reads the state of the item where that is due: the first time, when told to look deep, daily, and while the user
// must act.
func (r *run) look(ctx context.Context) error {
	due := r.e.Looked.IsZero() || !r.now().Before(r.e.Looked.Add(statusEvery)) || r.conn.State == bank.NeedsUser
	if r.looked || (!due && !r.e.ReadingDeep) {
		return nil
	}
	item, err := call(ctx, r, BankCall, func(ctx context.Context) (bank.Item, error) {
		return r.bank.Item(ctx, r.token)
	})
	if err != nil {
		return err
	}
	state := bank.Active
	if item.NeedsUser != "" {
		state = bank.NeedsUser
	}
	accounts, moved := r.conn.Accounts, []string(nil)
	if item.NeedsUser == "" { // while it needs its user, a provider may not tell the accounts
		accounts, moved = bank.Match(r.conn.Accounts, item.Accounts)
	}
	if state == r.conn.State && item.NeedsUser == r.conn.Reason && item.ConsentExpires.Equal(r.conn.ConsentExpires) && slices.Equal(accounts, r.conn.Accounts) {
		r.looked, r.e.Looked = true, r.now()
		return nil
	}
	looked := r.e.Looked
	r.e.Looked = r.now()
	err = r.commit(ctx, true, func(tx store.Tx) (func() error, error) {
		c, err := store.Connections.Load(tx, r.conn.ID)
		if err != nil {
			return nil, err
		}
		is, err := Moved(tx, c.ID, accounts, moved)
		if err != nil {
			return nil, err
		}
		c.State, c.Reason, c.ConsentExpires, c.Accounts, c.Updated = state, item.NeedsUser, item.ConsentExpires, accounts, r.now()
		r.e.Behind, r.e.Revised = r.e.Behind || len(is) > 0, c.Updated
		return func() error {
			r.conn, r.feeds = c, map[string][]*bank.Integration{}
			return putAll(tx, c, is)
		}, nil
	})
	if err != nil {
		r.e.Looked = looked // what it said is not written down
		return err
	}
	r.looked = true
	return nil
}

func putAll(tx store.Tx, c *bank.Connection, is []*bank.Integration) error {
	for _, i := range is {
		if err := store.Integrations.Put(tx, i); err != nil {
			return err
		}
	}
	return store.Connections.Put(tx, c)
}

// needsUser writes down that only the owner can go on.
func (r *run) needsUser(ctx context.Context, code string) error {
	return r.commit(ctx, false, func(tx store.Tx) (func() error, error) {
		c, err := store.Connections.Load(tx, r.e.Connection)
		if err != nil || c.State != bank.Active {
			return func() error { return nil }, err
		}
		c.State, c.Reason, c.Updated = bank.NeedsUser, code, r.now()
		r.e.Revised = c.Updated
		return func() error { return store.Connections.Put(tx, c) }, nil
	})
}

// next decides what to read: first what is new, then history for integrations that lack it; nil where all is done.
func (r *run) next(ctx context.Context, main bool) (*Read, error) {
	if main && (!r.e.Behind || r.e.Cursor == "") { // without a cursor, a replay would only read once more what there was
		return nil, nil
	}
	if !r.e.Linked && r.e.Cursor != "" {
		return nil, nil
	}
	serves, renewed, err := r.behindhand(ctx, main)
	if err != nil {
		return nil, err
	}
	read := &Read{First: r.e.Seq + 1, No: 1, Serves: serves, Claiming: renewed, Renewed: renewed, Deep: r.e.ReadingDeep}
	if !main {
		read.Origin = r.e.Cursor
		read.At = read.Origin
		read.Named = read.Origin == "" && r.e.Seq > 0
		return read, nil
	}
	if len(serves) == 0 {
		return nil, nil
	}
	read.Replay, read.Named = true, true
	return read, nil
}

// served bounds the integrations whose history one read brings: all of them are written in one commit.
const served = 300

// behindhand finds the integrations that lack history and can take it, with their Want. A Book that could not be written before
// is looked at first: history is not read for one that still cannot.
func (r *run) behindhand(ctx context.Context, main bool) (serves map[string]int, renewed bool, err error) {
	serves = map[string]int{}
	if !r.e.Behind || (!main && r.e.Cursor != "") {
		return serves, false, nil
	}
	behind, err := store.Integrations.All(ctx, r.p.Store, store.Query{Field: store.ByReplay, Any: []string{r.conn.ID}})
	if err != nil {
		return nil, false, storeError{err}
	}
	r.e.Behind = len(behind) > 0
	still := map[string]string{}
	for _, i := range behind {
		if !i.Replays(r.now()) || len(serves) == served {
			continue
		}
		if i.Behind != "" {
			o, err := r.open(ctx, booking{i.Book, i.As})
			if err != nil {
				return nil, false, err
			}
			if code := o.closed(i); code != "" && o.passing == nil {
				still[i.ID] = code
				continue
			}
		}
		serves[i.ID] = i.Want
		renewed = renewed || i.Epoch > 0
	}
	return serves, renewed, r.fallBehind(ctx, still)
}

// read goes through the pages of the read under way and finishes it.
func (r *run) read(ctx context.Context) error {
	for {
		if r.now().After(r.deadline) {
			return errBudget
		}
		page, err := call(ctx, r, BankCall, func(ctx context.Context) (bank.Page, error) {
			return r.bank.Changes(ctx, bank.From{Token: r.token, At: r.e.Read.At, Deep: r.e.Read.Deep})
		})
		if err != nil {
			if err := r.startOver(err); err != nil {
				return err
			}
			continue
		}
		if !r.e.Linked {
			return r.idle()
		}
		if r.e.Read.Then != "" {
			page.Changed, page.Unusable, page.Retold = nil, nil, nil // what is new comes again from there on
		}
		if err := r.page(ctx, &page); err != nil {
			return err
		}
		if r.e.Read.past(&page, r.e.Cursor) {
			return r.finish(ctx, &page)
		}
		if r.e.Read.circles(&page) {
			if err := r.startOver(&bank.Error{Kind: bank.Retry, Code: "CIRCULAR_PAGES", Err: bank.ErrMutated}); err != nil {
				return err
			}
		}
	}
}

// circles reports whether a page leads to one that was read before, and would be followed for ever, in a circle of any length: where
// each leads is compared with where one before it did, which moves on whenever the number of pages has doubled.
func (read *Read) circles(page *bank.Page) bool {
	if !page.More {
		read.Pages, read.Anchor = 0, ""
		return false
	}
	next := bank.Hash(page.Next)[:12]
	if next == read.Anchor {
		return true
	}
	if read.Pages++; bits.OnesCount(read.Pages) == 1 {
		read.Anchor = next
	}
	return false
}

// past moves a read on past a page, and reports whether that was the last one.
func (read *Read) past(page *bank.Page, cursor string) bool {
	read.At, read.Written = page.Next, nil
	switch {
	case page.More:
		return false
	case read.Claiming:
		read.Claiming, read.At = false, read.Origin
		return false
	case read.Replay && page.Complete && read.Then == "":
		read.Then, read.At = page.Next, cursor
		return false
	case read.Then != "":
		page.Next, page.Complete = read.Then, true
	}
	return true
}

// startOver takes a read back to where it must begin again, where the bank's answer asks for that; other errors are returned.
func (r *run) startOver(err error) error {
	read := r.e.Read
	if errors.Is(err, bank.ErrCursor) && read.At != "" {
		// Start over at the beginning of history: what is there already is recognised by its ids.
		r.e.Cursor, r.e.Read = "", nil
		if r.mutations++; r.mutations <= mutations {
			return errConfig
		}
		return &bank.Error{Kind: bank.Retry, Code: bank.CodeOf(err)} // it refuses what it has just given
	}
	if !errors.Is(err, bank.ErrMutated) {
		return err
	}
	read.Pages, read.Anchor = 0, ""
	if read.Then != "" {
		read.At = r.e.Cursor
	} else {
		// What this attempt wrote and the next one does not name was never, or is no longer, at the bank.
		read.At, read.Written, read.Oldest, read.No, read.Named = read.Origin, nil, nil, read.No+1, true
	}
	if r.mutations++; r.mutations > mutations {
		return &bank.Error{Kind: bank.Retry, Code: bank.CodeOf(err)}
	}
	return nil
}

// idle ends the read of a connection that feeds no Book: it only told the bank that we listen. The cursor stays, so that
// the first link gets all history.
func (r *run) idle() error {
	r.e.Read = nil
	r.e.Synced = r.now()
	return nil
}

// call does an outside call that changes nothing, within the lease, and repeats what may pass.
func call[T any](ctx context.Context, r *run, limit time.Duration, do func(context.Context) (T, error)) (T, error) {
	for n := 1; ; n++ {
		if err := r.lease(ctx, limit); err != nil {
			var none T
			return none, err
		}
		c, cancel := context.WithTimeout(ctx, limit)
		v, err := do(c)
		cancel()
		wait, again := r.wait(err, n)
		if !again {
			return v, err
		}
		if err := r.p.Sleep(ctx, wait); err != nil {
			return v, err
		}
	}
}

// lease makes sure that a call of this length ends before the lease does. A commit can take so long itself that the lease it
// renewed is short again.
func (r *run) lease(ctx context.Context, limit time.Duration) error {
	for range tries {
		if r.e.Lease.Until.Sub(r.now()) > limit {
			return nil
		}
		if err := r.commit(ctx, false, nil); err != nil {
			return err
		}
	}
	return errBudget
}

// wait tells how long to wait before the n-th call is repeated, and whether that is worth while.
func (r *run) wait(err error, n int) (time.Duration, bool) {
	if err == nil || n >= tries || errors.Is(err, bank.ErrMutated) || errors.Is(err, bank.ErrCursor) {
		return 0, false
	}
	var be *bank.Error
	if !errors.As(err, &be) {
		return 0, false
	}
	wait := time.Second << (n - 1)
	wait = wait/2 + time.Duration(r.p.Rand()*float64(wait/2))
	switch be.Kind {
	case bank.Retry:
	case bank.RetryAfter:
		wait = max(wait, be.After)
	default:
		return 0, false
	}
	return wait, wait <= longestWait && r.now().Add(wait).Before(r.deadline)
}
