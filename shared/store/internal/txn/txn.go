// Package txn is what the implementations of a store have in common: the rules that documents and queries must keep, and
// the writes of a transaction until its body has returned.
package txn

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/bkper/automations-portal/shared/store"
)

// The limits of store.Document, store.Query and store.Tx.
const (
	maxDocument = 1_000_000 // bytes of body and index
	maxUpdate   = 4_000_000 // bytes of all writes, with …
	eachWrite   = 500       // … for the name of a document and the fields' own names
	eachValue   = 16        // … for what surrounds a value in a request
	maxWrites   = 1_000
	maxIDs      = 1_000
	maxLimit    = 1_000
	maxAny      = 30
	maxValue    = 200 // bytes
	maxValues   = 10_000
)

// isName reports whether s can name a kind or a field: 1 to 40 lower-case letters.
func isName(s string) bool {
	for i := range len(s) {
		if s[i] < 'a' || s[i] > 'z' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 40
}

// isID reports whether s has the form of an id: 1 to 200 characters, each of A-Z a-z 0-9 . _ or -.
func isID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 200
}

// Term is one value of one Index field.
type Term struct{ Field, Value string }

// Write is one Put or Delete.
type Write struct {
	Kind, ID string
	Body     []byte // nil deletes
	Terms    []Term // in order, each once
	Due      time.Time
	Expires  time.Time
	Value    *store.Value // of a store that keeps them
}

// Writes gathers what a body writes and the first thing that it did wrong.
type Writes struct {
	list []Write
	size int
	err  error
}

// Put keeps a copy of d, so that what the caller does to it later has no effect.
func (w *Writes) Put(d store.Document) {
	terms, err := check(d)
	if err != nil {
		w.fail(err)
		return
	}
	w.add(len(d.Body), Write{
		Kind: d.Kind, ID: d.ID, Body: bytes.Clone(d.Body), Terms: terms,
		Due: micro(d.Due), Expires: micro(d.Expires), Value: d.Value,
	})
}

// Delete notes that the document is to go.
func (w *Writes) Delete(kind, id string) {
	if err := CheckIDs(kind, id); err != nil {
		w.fail(err)
		return
	}
	w.add(0, Write{Kind: kind, ID: id})
}

func (w *Writes) add(size int, write Write) {
	for _, t := range write.Terms {
		size += len(t.Value) + eachValue
	}
	w.size += size + eachWrite
	w.list = append(w.list, write)
	if w.size > maxUpdate {
		w.fail(fmt.Errorf("one transaction writes more than %d bytes", maxUpdate))
	}
	if len(w.list) > maxWrites {
		w.fail(fmt.Errorf("one transaction writes more than %d times", maxWrites))
	}
}

// Reading is called before every read in the transaction and refuses one that follows a write.
func (w *Writes) Reading() error {
	if len(w.list) == 0 {
		return nil
	}
	err := errors.New("a transaction reads after it has written")
	w.fail(err)
	return err
}

// Failed notes what came of a read: without what it asked for a body must not commit, even where it does not mind.
func (w *Writes) Failed(err error) { w.fail(err) }

func (w *Writes) fail(err error) { w.err = cmp.Or(w.err, err) }

// Done ends the body: its own error as it is, else the first thing that went wrong, else what it wrote.
func (w *Writes) Done(body error) ([]Write, error) {
	if body != nil {
		return nil, body
	}
	return w.list, w.err
}

// CheckIDs checks what Get or Delete was given.
func CheckIDs(kind string, each ...string) error {
	if !isName(kind) {
		return fmt.Errorf("%.50q is no kind of documents", kind)
	}
	if len(each) > maxIDs {
		return fmt.Errorf("%d ids at once; at most %d", len(each), maxIDs)
	}
	for _, id := range each {
		if !validID(id) {
			return fmt.Errorf("%.210q is no id of a document", id)
		}
	}
	return nil
}

// validID refuses what Firestore refuses besides (https://cloud.google.com/firestore/quotas#limits).
func validID(id string) bool {
	reserved := id == "." || id == ".." || strings.HasPrefix(id, "__") && strings.HasSuffix(id, "__")
	return isID(id) && !reserved
}

// CheckQuery checks what Find was given and fills in the limit. None says that nothing can match.
func CheckQuery(q store.Query) (checked store.Query, none bool, err error) {
	q.Limit = cmp.Or(q.Limit, maxLimit)
	switch {
	case !isName(q.Kind):
		err = fmt.Errorf("%.50q is no kind of documents", q.Kind)
	case q.Limit < 0 || q.Limit > maxLimit:
		err = fmt.Errorf("a limit of %d; at most %d", q.Limit, maxLimit)
	case len(q.Any) > maxAny:
		err = fmt.Errorf("%d values at once; at most %d", len(q.Any), maxAny)
	case q.Field == "" && len(q.Any) > 0:
		err = errors.New("values without a field")
	case q.Field != "" && !isName(q.Field):
		err = fmt.Errorf("%.50q is no field", q.Field)
	case q.After != "" && !q.Due.IsZero():
		err = errors.New("a query by time has no After")
	case q.After != "" && !validID(q.After):
		err = fmt.Errorf("%.210q is no id of a document", q.After)
	}
	for _, value := range q.Any {
		err = cmp.Or(err, checkValue(q.Field, value))
	}
	q.Due = micro(q.Due)
	return q, q.Field != "" && len(q.Any) == 0, err
}

func checkValue(field, value string) error {
	if len(value) > maxValue || !utf8.ValidString(value) {
		return fmt.Errorf("a value of %q is longer than %d bytes or not UTF-8", field, maxValue)
	}
	return nil
}

// check checks a document and lists its terms.
func check(d store.Document) ([]Term, error) {
	if err := CheckIDs(d.Kind, d.ID); err != nil {
		return nil, err
	}
	if body := jsontext.Value(d.Body); d.Value == nil && !isObject(body) {
		return nil, fmt.Errorf("%s %q: the body is no JSON object", d.Kind, d.ID)
	}
	terms, size, err := flatten(d.Index)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", d.Kind, d.ID, err)
	}
	if size += len(d.Body); size > maxDocument {
		return nil, fmt.Errorf("%s %q has %d bytes; at most %d", d.Kind, d.ID, size, maxDocument)
	}
	return terms, nil
}

func isObject(v jsontext.Value) bool {
	return v.Kind() == '{' && v.IsValid(jsontext.AllowDuplicateNames(true))
}

// flatten lists the terms of an index and says how many bytes it takes.
func flatten(index map[string][]string) (terms []Term, size int, err error) {
	n := 0
	for _, values := range index {
		n += len(values)
	}
	terms = make([]Term, 0, n)
	for field, values := range index {
		if !isName(field) {
			return nil, 0, fmt.Errorf("%.50q is no field", field)
		}
		size += len(field) + 1
		for _, value := range values {
			if err := checkValue(field, value); err != nil {
				return nil, 0, err
			}
			size += len(value) + 1
			terms = append(terms, Term{field, value})
		}
	}
	if len(terms) > maxValues {
		return nil, 0, fmt.Errorf("%d values in the index; at most %d", len(terms), maxValues)
	}
	slices.SortFunc(terms, func(a, b Term) int {
		return cmp.Or(strings.Compare(a.Field, b.Field), strings.Compare(a.Value, b.Value))
	})
	return slices.Compact(terms), size, nil
}

func micro(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMicro(t.UnixMicro()).UTC()
}
