// Package posting moves what banks say into Books, exactly once: it decides what to write (plan) and writes it so that a
// crash, a duplicate or a stall at any moment loses nothing and doubles nothing (run).
package posting

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/store"
)

// Engine is what must still happen for one connection. It is a document apart from the Connection, which people edit.
//
// A message is a doorbell: ringing it while the connection is being read only counts in Asked, so a burst of webhooks
// costs one more read, and the last change is never missed because whoever reads the bank does so after Reading was set.
type Engine struct {
	Connection string `json:"connection"`

	Asked       int64 `json:"asked"`   // rings
	Reading     int64 `json:"reading"` // Asked as it was before the present holder began to read the bank
	Deep        bool  `json:"deep,omitempty"`
	ReadingDeep bool  `json:"reading_deep,omitempty"`

	Lease Lease     `json:"lease"`
	Due   time.Time `json:"due,omitzero"` // when sync must ring; absent where nothing is to be done

	Item   string `json:"item,omitempty"`   // whose cursor it is
	Cursor string `json:"cursor,omitempty"` // the bank was read to here, and all of it was recorded
	Read   *Read  `json:"read,omitempty"`   // the read under way
	Seq    int64  `json:"seq"`              // segments are numbered by it

	// Open are segments whose intents were committed to and perhaps sent; they become documents of their own once the
	// Book has been heard.
	Open []*Segment `json:"open,omitempty"`

	// Config counts what people changed that the holder must obey: saves, removals, pauses, disconnection. Obeyed is
	// the Config that the holder last saw in a commit.
	Config int64 `json:"config"`
	Obeyed int64 `json:"obeyed"`
	// Known is the Config for which the holder found out Linked and Behind.
	Known  int64 `json:"known"`
	Linked bool  `json:"linked,omitempty"` // some integration lives
	Behind bool  `json:"behind,omitempty"` // some integration may want its history read
	// Revised is Connection.Updated as the holder last read or wrote it: while that and Config are the same, so is the rest.
	Revised time.Time `json:"revised,omitzero"`

	Progress map[string]bank.Progress `json:"progress,omitempty"` // by integration

	Locked   map[string]civil.Date `json:"locked,omitempty"`  // by integration: the newest date that the lock of its Book kept out
	Unlocked time.Time             `json:"unlocked,omitzero"` // when those Books were last asked for their lock

	Loading time.Time `json:"loading,omitzero"` // since when a read has waited for history that is not all there

	Failures int       `json:"failures,omitempty"` // in a row
	Failure  string    `json:"failure,omitempty"`  // code of the last one
	Looked   time.Time `json:"looked,omitzero"`    // when the state of the item was last read
	Synced   time.Time `json:"synced,omitzero"`    // when the bank was last read to the end
}

// Lease makes one process at a time the holder of a connection.
type Lease struct {
	Until time.Time `json:"until,omitzero"`
	Fence int64     `json:"fence"` // grows with each holder; an older holder's commits fail
}

// Held reports whether somebody holds the lease.
func (l Lease) Held(now time.Time) bool { return now.Before(l.Until) }

// Read is one pass over the bank's pages. It survives the process: the next holder goes on at At.
type Read struct {
	First  int64  `json:"first"`  // Seq when it began: it wrote the segments from here on
	No     int    `json:"no"`     // 1, and one more each time the bank's data changed under it
	Origin string `json:"origin"` // where it began; "" is the beginning of history
	At     string `json:"at"`     // the page to be read next
	// Replay: history is read again, for the integrations in Serves. It becomes what the cursor stands for if it was all
	// there, since what it brought and the bank then takes back is told to nobody who reads from an older cursor.
	Replay bool `json:"replay"`
	// Serves are the integrations whose history this read brings, with their Want as it was when it began.
	Serves map[string]int `json:"serves,omitempty"`
	// Claiming is a first pass over the history of a new item: it only recognises rows that an earlier item delivered.
	Claiming bool `json:"claiming,omitempty"`
	// Renewed: some of Serves was fed by an earlier item.
	Renewed bool `json:"renewed,omitempty"`
	Waiting bool `json:"waiting,omitempty"` // some segments hold removals that wait for the end
	Deep    bool `json:"deep,omitempty"`
	// Then is where a replay has ended. The read goes on from the cursor once more, for what the bank took back meanwhile:
	// whoever reads from Then is not told of what was gone before. After that, Then is the cursor.
	Then string `json:"then,omitempty"`
	// Oldest is the oldest date that a Named read was given, by the bank's id of the account: what is older was not told.
	Oldest map[string]civil.Date `json:"oldest,omitempty"`
	// Written are the bank's ids that the journal took down at this page. Should the page be read again, after a crash, what it
	// no longer names is gone, and the bank will never say so.
	Written []bank.RemovedTransaction `json:"written,omitempty"`
	Named   bool                      `json:"named,omitempty"` // segments keep what the bank named, to know at the end what it did not
	// Pages is how many were read one after the other, and Anchor the digest of where an earlier one led; see circles.
	Pages  uint   `json:"pages,omitempty"`
	Anchor string `json:"anchor,omitempty"`
}

// compares reports whether the read is to find, by comparing all of history with the journal, what nobody tells any more: until
// all of it is there, it is read from the beginning again.
func (read *Read) compares() bool { return read.Replay || (read.Named && read.Origin == "") }

// byConnection is the index field of documents that belong to a connection.
const byConnection = "connection"

// Engines holds every Engine; its id is the connection's.
var Engines = store.Kind[Engine]{
	Name: "engines",
	ID:   func(e *Engine) string { return e.Connection },
	Index: func(e *Engine) map[string][]string {
		if e.Failures < failing {
			return nil
		}
		return map[string][]string{store.ByTrouble: {store.Failing}}
	},
	Due: func(e *Engine) time.Time { return e.Due },
}

// failing is how many failures in a row are no longer taken for something that passes.
const failing = 3

// share is the part of an Engine that others than its holder write: all that a commit must read.
type share struct {
	Asked  int64 `json:"asked"`
	Deep   bool  `json:"deep"`
	Config int64 `json:"config"`
	Lease  Lease `json:"lease"`
}

var shares = store.Kind[share]{Name: Engines.Name}

// ErrFenced: another process has taken over the connection; whoever gets it must stop without writing.
var ErrFenced = errors.New("another holder has the connection")

// errConfig: people changed what the holder must obey since it last looked.
var errConfig = errors.New("the configuration changed")

// Load reads the engine in a transaction; a connection that never had one gets a fresh one.
func Load(tx store.Tx, connection string) (*Engine, error) {
	e, err := Engines.Load(tx, connection)
	if errors.Is(err, store.ErrNotFound) {
		return &Engine{Connection: connection}, nil
	}
	return e, err
}

// Mark says, in the transaction of a save, removal, pause or disconnection, that the holder must look again. It returns
// the mark that Stopped takes. A zero due leaves the time of the next reading as it is.
func (e *Engine) Mark(due time.Time) int64 {
	e.Config++
	if !due.IsZero() && (e.Due.IsZero() || due.Before(e.Due)) {
		e.Due = due
	}
	return e.Config
}

// Stopped reports whether no process can still write on the basis of a configuration older than mark: the holder has
// committed since, or there is none, or its lease has ended longer ago than its last call could take.
func Stopped(ctx context.Context, r store.Reader, connection string, mark int64, now time.Time) (bool, error) {
	e, err := Engines.Get(ctx, r, connection)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return e.Quiet(mark, now), nil
}

// Quiet is Stopped for an engine in hand.
func (e *Engine) Quiet(mark int64, now time.Time) bool {
	return e.Obeyed >= mark || e.Lease.Until.IsZero() || now.After(e.Lease.Until.Add(LedgerCall))
}

// Adopt takes over what another connection's engine knows of the progress of an integration.
func (e *Engine) Adopt(integration string, from *Engine) {
	if p, known := from.Progress[integration]; known {
		if e.Progress == nil {
			e.Progress = map[string]bank.Progress{}
		}
		e.Progress[integration] = p
	}
}

// ring counts a ring, or takes the lease where it is free. It reports whether this process is now the holder.
func (p *Poster) ring(ctx context.Context, connection string, deep bool) (held *Engine, err error) {
	err = p.Store.Update(ctx, func(tx store.Tx) error {
		held = nil
		e, err := Engines.Load(tx, connection)
		if errors.Is(err, store.ErrNotFound) {
			return nil // whoever connects it rings once it is there
		}
		if err != nil {
			return err
		}
		now := p.Now()
		switch {
		case !e.Lease.Held(now):
			e.take(now, deep)
			held = e
		case e.Asked == e.Reading:
			e.Asked++
			e.Deep = e.Deep || deep
		case deep && !e.Deep:
			e.Deep = true
		default:
			return nil // already asked for: nothing to write
		}
		return Engines.Put(tx, e)
	})
	if err != nil {
		return nil, fmt.Errorf("ring: %w", err)
	}
	return held, nil
}

// take makes the caller the holder. A holder that died was going to look deep: so does the next.
func (e *Engine) take(now time.Time, deep bool) {
	e.Lease = Lease{Until: now.Add(LeaseTime), Fence: e.Lease.Fence + 1}
	e.Due = e.Lease.Until
	e.again(deep)
	e.Obeyed = e.Config
}

// again begins a round: all rings so far are served by what is read from now on.
func (e *Engine) again(deep bool) {
	e.Reading = e.Asked
	e.ReadingDeep = e.ReadingDeep || e.Deep || deep
	e.Deep = false
}

// free lets go of the lease.
func (e *Engine) free(due time.Time) {
	e.Lease.Until = time.Time{}
	e.Due = due
}

// Rings finds connections that are due, oldest first.
func Rings(ctx context.Context, r store.Reader, now time.Time, limit int) ([]*Engine, error) {
	return Engines.Find(ctx, r, store.Query{Due: now, Limit: limit})
}

// stopWait is how long a person waits for a holder to stop.
const stopWait = 20 * time.Second

// AwaitStop waits until nothing can be written any more on the basis of a configuration older than mark. It reports false
// where that takes longer than a person waits.
func AwaitStop(ctx context.Context, r store.Reader, connection string, mark int64, now func() time.Time, sleep func(context.Context, time.Duration) error) (bool, error) {
	for until := now().Add(stopWait); ; {
		stopped, err := Stopped(ctx, r, connection, mark, now())
		if err != nil || stopped {
			return stopped, err
		}
		if !now().Before(until) {
			return false, nil
		}
		if err := sleep(ctx, 250*time.Millisecond); err != nil {
			return false, err
		}
	}
}
