// Package store keeps the documents of the project: connections, integrations, sessions, users, and whatever package
// declares a Kind. A Store moves bytes; a Kind gives them a type. Every implementation passes the suite in storetest.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/bkper/automations-portal/shared/store/internal/snapshot"
)

// Store is a database of documents. All methods are safe for concurrent use. What breaks a rule that is written here, such
// as an id with a slash, is an error and changes nothing. Once ctx has ended errors wrap ctx.Err().
type Store interface {
	Reader
	// Count tells how many documents Find would give if it knew no limit; the query's own and its After do not matter. It
	// costs a read for every 1,000 that it counts, and is as of some moment after the call began.
	Count(ctx context.Context, q Query) (int, error)
	// Update runs body in one serializable transaction: what it read through tx, the absence of documents and of further
	// results included, is unchanged at the moment when all that it wrote appears at once; even a body that writes nothing
	// has read one state. The body may run several times, so it must have no effect but through tx and its own variables,
	// which it must set anew. It must not call Update. Its error undoes everything and is returned as it is. Contention is
	// retried until ctx ends; an error that leaves it open whether the writes took place is an ErrUnknown, and after any
	// other error they did not.
	Update(ctx context.Context, body func(tx Tx) error) error
}

// Reader reads documents, each document as of some moment after the call began and never as a transaction that is not
// complete would leave it. It waits for no transaction. What it gives has Kind, ID and Body, and is the caller's own.
type Reader interface {
	// Get reads at most 1,000 documents by id, in the order asked; a missing one has a nil Body.
	Get(ctx context.Context, kind string, ids ...string) ([]Document, error)
	// Find reads the documents that match, each once, ordered by Due and then id where the query has one, else by id.
	Find(ctx context.Context, q Query) ([]Document, error)
}

// Tx reads and writes in a transaction. Reads come before writes: a Get or Find after the first Put or Delete is a bug of
// the caller and fails the Update. A Put replaces the whole document; a Delete of what is missing is a success; of several
// writes of one document the last counts. One transaction writes at most 1,000 times and 4,000,000 bytes, each write
// counting 500 bytes more and each value of an Index 16: Firestore takes 10 MiB in one request, but its emulator 4 MiB.
type Tx interface {
	Get(kind string, ids ...string) ([]Document, error)
	Find(q Query) ([]Document, error)
	Put(d Document)
	Delete(kind, id string)
}

// Document is one stored thing. Body and Index together are at most 1,000,000 bytes, each name and value of the Index
// counting one byte more; the rest of Firestore's 1 MiB is for names.
type Document struct {
	Kind string // a collection name: 1 to 40 lower-case letters
	ID   string // 1 to 200 characters of A-Z a-z 0-9 . _ -, neither "." nor ".." nor between two underscores on both sides
	Body []byte // one JSON object in UTF-8, kept byte for byte
	// Index holds what Find can look for: a field's name, of 1 to 40 lower-case letters, and its values, each at most 200
	// bytes of UTF-8. All fields together have at most 10,000 values.
	Index map[string][]string
	// Due orders and selects by time, cut to whole microseconds; the zero time is absent, and such documents match no Due.
	Due time.Time
	// Expires lets the database delete the document some time after, if it ever does; the zero time keeps it for ever.
	Expires time.Time
	// Value is what the Body of a document is made from, where a store keeps that instead; Body is then an empty object.
	Value *Value
}

// Value is what a Kind was given, as it was then. It never changes: only a Kind looks into it, and makes copies.
type Value struct{ of any }

// String tells only that there is one.
func (*Value) String() string { return "a value" }

// Keeper is a Tx whose store may keep Values, in the memory of a process. Kinds then encode nothing, which is most of what
// a transaction costs there.
type Keeper interface{ KeepsValues() bool }

// Query selects documents of one kind: all of them, or those that meet each condition that is set. Field and Due together
// need a composite index on Firestore; everything else does with the indexes that it makes by itself.
type Query struct {
	Kind  string
	Field string    // an Index field …
	Any   []string  // … that holds at least one of these values, at most 30; none match nothing
	Due   time.Time // due at this time or before
	After string    // ids greater than this, in the order of bytes; only for queries without Due
	Limit int       // at most 1,000, which 0 means as well
}

// Errors of every implementation.
var (
	// ErrNotFound: no such document.
	ErrNotFound = errors.New("no such document")
	// ErrUnknown: the connection broke at the moment of the commit; it may have taken place.
	ErrUnknown = errors.New("it is not known whether the commit took place")
	// ErrExists: a document that was to be new is there already.
	ErrExists = errors.New("the document exists")
)

// Kind is the type and the index of the documents of one collection.
type Kind[T any] struct {
	Name    string
	ID      func(*T) string
	Index   func(*T) map[string][]string // may be nil
	Due     func(*T) time.Time           // may be nil
	Expires func(*T) time.Time           // may be nil
}

// Document encodes v.
func (k Kind[T]) Document(v *T) (Document, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return Document{}, fmt.Errorf("encode %s: %w", k.Name, err)
	}
	return k.document(v, body), nil
}

// keep is Document for a store that keeps Values.
func (k Kind[T]) keep(v *T) (Document, error) {
	now, err := snapshot.Of(v)
	if err != nil {
		return Document{}, fmt.Errorf("copy %s: %w", k.Name, err)
	}
	d := k.document(v, []byte("{}"))
	d.Value = &Value{now}
	return d, nil
}

func (k Kind[T]) document(v *T, body []byte) Document {
	d := Document{Kind: k.Name, ID: k.ID(v), Body: body}
	if k.Index != nil {
		d.Index = k.Index(v)
	}
	if k.Due != nil {
		d.Due = k.Due(v)
	}
	if k.Expires != nil {
		d.Expires = k.Expires(v)
	}
	return d
}

// Decode is the reverse of Document. Members that this version does not know are ignored, since a newer one may have
// written them.
func (k Kind[T]) Decode(d Document) (*T, error) {
	if d.Body == nil {
		return nil, fmt.Errorf("%s %q: %w", k.Name, d.ID, ErrNotFound)
	}
	v := new(T)
	if d.Value != nil {
		if err := snapshot.Into(v, d.Value.of); err != nil {
			return nil, fmt.Errorf("copy %s %q: %w", k.Name, d.ID, err)
		}
		return v, nil
	}
	if err := json.Unmarshal(d.Body, v); err != nil {
		return nil, fmt.Errorf("decode %s %q: %w", k.Name, d.ID, err)
	}
	return v, nil
}

// Get reads one document outside a transaction. ErrNotFound.
func (k Kind[T]) Get(ctx context.Context, r Reader, id string) (*T, error) {
	ds, err := r.Get(ctx, k.Name, id)
	if err != nil {
		return nil, err
	}
	return k.Decode(ds[0])
}

// Find reads documents outside a transaction.
func (k Kind[T]) Find(ctx context.Context, r Reader, q Query) ([]*T, error) {
	q.Kind = k.Name
	ds, err := r.Find(ctx, q)
	if err != nil {
		return nil, err
	}
	return k.decodeAll(ds)
}

// All reads every document that matches outside a transaction, however many there are, ordered by id. The query has neither Due
// nor Limit.
func (k Kind[T]) All(ctx context.Context, r Reader, q Query) (all []*T, err error) {
	for q.Limit = most; ; q.After = k.ID(all[len(all)-1]) {
		found, err := k.Find(ctx, r, q)
		if err != nil {
			return nil, err
		}
		if all = append(all, found...); len(found) < q.Limit {
			return all, nil
		}
	}
}

// most is the greatest Limit.
const most = 1_000

// Load reads one document in a transaction. ErrNotFound.
func (k Kind[T]) Load(tx Tx, id string) (*T, error) {
	ds, err := tx.Get(k.Name, id)
	if err != nil {
		return nil, err
	}
	return k.Decode(ds[0])
}

// LoadAll reads documents in a transaction, in the order asked; a missing one is nil.
func (k Kind[T]) LoadAll(tx Tx, ids ...string) ([]*T, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	ds, err := tx.Get(k.Name, ids...)
	if err != nil {
		return nil, err
	}
	vs := make([]*T, len(ds))
	for i, d := range ds {
		if d.Body == nil {
			continue
		}
		if vs[i], err = k.Decode(d); err != nil {
			return nil, err
		}
	}
	return vs, nil
}

// Select finds documents in a transaction.
func (k Kind[T]) Select(tx Tx, q Query) ([]*T, error) {
	q.Kind = k.Name
	ds, err := tx.Find(q)
	if err != nil {
		return nil, err
	}
	return k.decodeAll(ds)
}

// Put writes v in a transaction.
func (k Kind[T]) Put(tx Tx, v *T) error {
	document := k.Document
	if s, ok := tx.(Keeper); ok && s.KeepsValues() {
		document = k.keep
	}
	d, err := document(v)
	if err != nil {
		return err
	}
	tx.Put(d)
	return nil
}

func (k Kind[T]) decodeAll(ds []Document) ([]*T, error) {
	vs := make([]*T, len(ds))
	for i, d := range ds {
		v, err := k.Decode(d)
		if err != nil {
			return nil, err
		}
		vs[i] = v
	}
	return vs, nil
}
