package posting

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/store"
)

// Row is what the journal knows of one record: which of the bank's transactions it stands for, what was last written to
// the Book, and what is being written. It holds no text, only a keyed digest of it.
type Row struct {
	Key         string   `json:"key"` // remote id of the record in the Book; never changes
	Integration string   `json:"integration"`
	IDs         []string `json:"ids"` // the bank's ids, the present one last: pending then settled, old item then new item
	Epoch       int      `json:"epoch,omitempty"`

	State   RowState `json:"state"`
	Record  string   `json:"record,omitempty"`  // the Book's id of the record
	Account string   `json:"account,omitempty"` // Account of the Book on our side
	Written Values   `json:"written"`           // as last written by us

	Intent Intent  `json:"intent,omitempty"` // what is being written
	After  *Values `json:"after,omitempty"`  // Written, once an Amend or a Revive is confirmed
	Tried  *Values `json:"tried,omitempty"`  // Written of an earlier Create that was not heard of: it may yet turn up

	Waiting bool    `json:"waiting,omitempty"` // the bank removed it; decided at the end of the read
	Flag    Flag    `json:"flag,omitempty"`
	Bank    *Values `json:"bank,omitempty"`   // of a Flag: what the bank says now
	Reason  Reason  `json:"reason,omitempty"` // of Aside

	created bool   // by the step under way
	sent    bool   // of an Intent: the Book may have taken it, and only the Book can tell
	at      string // the bank's id of the account, in the step under way
}

// Values are the fields of a record that follow the bank.
type Values struct {
	Date      civil.Date      `json:"date,omitzero"` // none of what cannot be read
	Amount    decimal.Decimal `json:"amount"`
	Direction bank.Direction  `json:"direction"`
	Text      string          `json:"text"` // keyed digest
	Pending   bool            `json:"pending,omitempty"`
}

// Equal compares by value.
func (v Values) Equal(o Values) bool {
	return v.Date == o.Date && v.Amount.Equal(o.Amount) && v.Direction == o.Direction && v.Text == o.Text && v.Pending == o.Pending
}

// RowState says where the record of a Row is.
type RowState string

// The states of a Row.
const (
	Absent   RowState = "absent"   // not in the Book: intended, or taken back before it was written
	Standing RowState = "standing" // in the Book
	Binned   RowState = "binned"   // we trashed it because the bank took it back; it comes back if the bank does
	Hand     RowState = "hand"     // a person trashed it; it stays there
	Aside    RowState = "aside"    // could not be recorded: Reason
)

// Intent is an operation that was committed to before it was sent; while it is set, the Book must be asked whether it
// took place.
type Intent string

// The intents.
const (
	ToCreate Intent = "create"
	ToAmend  Intent = "amend"
	ToTrash  Intent = "trash"
	ToRevive Intent = "revive"
)

// Flag says that the bank and the record differ, and that the record cannot be changed: a person's hand forbids it, or nobody can read
// to what.
type Flag string

// The flags.
const (
	Changed   Flag = "changed"    // the bank has other values
	TakenBack Flag = "taken_back" // the bank no longer has it
	Garbled   Flag = "garbled"    // the bank has changed it to something that cannot be read
)

// Reason says why a row is kept aside.
type Reason string

// The reasons.
const (
	ReasonCurrency Reason = "currency"   // in another currency than its account
	ReasonDigits   Reason = "digits"     // more fraction digits than the Book has
	ReasonZero     Reason = "zero"       // no amount
	ReasonLocked   Reason = "locked"     // dated in the locked period of the Book
	ReasonRefused  Reason = "refused"    // the Book refuses this row
	ReasonUnusable Reason = "unreadable" // the bank sent something that is not a transaction
)

// current is the id under which the bank now knows the row.
func (r *Row) current() string { return r.IDs[len(r.IDs)-1] }

// mayStand reports whether there is, or may be, a record of it that we made.
func (r *Row) mayStand() bool { return r.State == Standing || r.Intent != "" }

// knows adds ids in order, the last one becoming the present one.
func (r *Row) knows(ids ...string) {
	for _, id := range ids {
		if id == "" || r.current() == id {
			continue
		}
		r.IDs = append(slices.DeleteFunc(slices.Clone(r.IDs), func(old string) bool { return old == id }), id)
	}
}

// Segment is what one page did to one Book, as one user. Segments are written once and never deleted; of a Row that stands
// in several, the one with the greatest Epoch is the truth, and of those the last: see stamp.
type Segment struct {
	ID         string    `json:"id"`
	Connection string    `json:"connection"`
	Book       string    `json:"book"`
	As         string    `json:"as"`
	Seq        int64     `json:"seq"`
	No         int       `json:"no"` // attempt of the read
	Rows       []*Row    `json:"rows,omitempty"`
	Named      []string  `json:"named,omitempty"` // bank ids in the page; see Read.Named
	Page       string    `json:"page,omitempty"`  // of Named: digest of Read.At; a later reading of the same page replaces it
	At         time.Time `json:"at"`
}

// waits reports whether removals in it are still to be decided.
func (s *Segment) waits() bool {
	return slices.ContainsFunc(s.Rows, func(r *Row) bool { return r.Waiting })
}

// open reports whether the Book has not been heard of some intent in it.
func (s *Segment) open() bool {
	return slices.ContainsFunc(s.Rows, func(r *Row) bool { return r.Intent != "" })
}

// Index fields of segments.
const (
	byRow         = "row"         // integration + "/" + bank id
	byIntegration = "integration" // integrations in it
	byWaiting     = "waiting"     // connection, where removals wait
	byAttention   = "attention"   // integrations with rows aside or flagged
	byMonth       = "month"       // integration + "/" + month of a row's date
)

// Segments is the journal.
var Segments = store.Kind[Segment]{
	Name: "segments",
	ID:   func(s *Segment) string { return s.ID },
	Index: func(s *Segment) map[string][]string {
		index := map[string][]string{byConnection: {s.Connection}}
		integrations, attention, months := map[string]bool{}, map[string]bool{}, map[string]bool{}
		for _, r := range s.Rows {
			integrations[r.Integration] = true
			if r.Flag != "" || r.State == Aside {
				attention[r.Integration] = true
			}
			if r.Written.Date.IsValid() {
				months[monthKey(r.Integration, r.Written.Date)] = true
			}
			for _, id := range r.IDs {
				index[byRow] = append(index[byRow], rowKey(r.Integration, id))
			}
		}
		if s.waits() {
			index[byWaiting] = []string{s.Connection}
		}
		index[byIntegration], index[byAttention] = slices.Sorted(maps.Keys(integrations)), slices.Sorted(maps.Keys(attention))
		index[byMonth] = slices.Sorted(maps.Keys(months))
		return index
	},
}

// segmentID orders the segments of a connection by number.
func segmentID(connection string, seq int64, book, as string) string {
	return fmt.Sprintf("%s.%012d.%s", connection, seq, bank.Hash(book, as)[:12])
}

// firstSegment is less than the ids of all segments from seq on.
func firstSegment(connection string, seq int64) string {
	return fmt.Sprintf("%s.%012d", connection, seq)
}

func monthKey(integration string, d civil.Date) string {
	return fmt.Sprintf("%s/%04d-%02d", integration[:16], d.Year, d.Month)
}

func rowKey(integration, id string) string { return integration[:16] + "/" + id }

// journal is the part of the journal that one run has looked up. The holder of a connection is the only writer of the
// journals of its integrations, so what was read stays true until it writes itself.
type journal struct {
	store store.Reader
	rows  map[string]version // by rowKey of each id
	whole map[string]bool    // integrations that are wholly in memory
	asked map[string]bool    // rowKeys that were looked up
	alike map[string][]*Row  // by integration, date, amount and direction; built when first wanted
}

// version is a copy of a Row.
type version struct {
	row *Row
	stamp
}

// stamp orders the copies of a Row. Each connection numbers its own segments, and an integration can pass from one to another:
// there the time tells, since the former has let go before.
type stamp struct {
	epoch      int
	connection string
	seq        int64
	at         time.Time
}

func (s *Segment) stamp(r *Row) stamp { return stamp{r.Epoch, s.Connection, s.Seq, s.At} }

func (s stamp) compare(o stamp) int {
	if s.epoch != o.epoch || s.connection == o.connection {
		return cmp.Or(cmp.Compare(s.epoch, o.epoch), cmp.Compare(s.seq, o.seq))
	}
	return cmp.Or(s.at.Compare(o.at), cmp.Compare(s.seq, o.seq))
}

func newJournal(r store.Reader) *journal {
	return &journal{store: r, rows: map[string]version{}, whole: map[string]bool{}, asked: map[string]bool{}}
}

// find gives the newest Row of an integration for a bank id; nil where there is none.
func (j *journal) find(integration, id string) *Row {
	if id == "" {
		return nil
	}
	return j.rows[rowKey(integration, id)].row
}

// since reports whether the newest Row for a bank id was written by that segment of its connection or a later one.
func (j *journal) since(i *bank.Integration, id string, seq int64) bool {
	v := j.rows[rowKey(i.ID, id)]
	return v.connection == i.Connection && v.seq >= seq
}

// note takes a segment in.
func (j *journal) note(s *Segment) {
	for _, r := range s.Rows {
		v := version{r, s.stamp(r)}
		for _, id := range r.IDs {
			k := rowKey(r.Integration, id)
			if old := j.rows[k]; old.row == nil || old.compare(v.stamp) < 0 {
				j.rows[k] = v
			}
		}
	}
}

// lookup reads what the journal holds on these ids, by id.
func (j *journal) lookup(ctx context.Context, wanted map[string][]string) error {
	var terms []string
	for integration, ids := range wanted {
		if j.whole[integration] {
			continue
		}
		for _, id := range ids {
			if k := rowKey(integration, id); !j.asked[k] {
				j.asked[k] = true
				terms = append(terms, k)
			}
		}
	}
	slices.Sort(terms)
	for chunk := range slices.Chunk(terms, 30) {
		if err := j.each(ctx, byRow, chunk); err != nil {
			return err
		}
	}
	return nil
}

// all reads the whole journals of integrations.
func (j *journal) all(ctx context.Context, integrations []string) error {
	missing := slices.DeleteFunc(slices.Clone(integrations), func(i string) bool { return j.whole[i] })
	slices.Sort(missing)
	for chunk := range slices.Chunk(missing, 30) {
		if err := j.each(ctx, byIntegration, chunk); err != nil {
			return err
		}
		for _, i := range chunk {
			j.whole[i] = true
		}
	}
	return nil
}

// months reads the segments with rows of these months, by monthKey.
func (j *journal) months(ctx context.Context, keys []string) error {
	var terms []string
	for _, k := range keys {
		if !j.asked[k] {
			j.asked[k] = true
			terms = append(terms, k)
		}
	}
	for chunk := range slices.Chunk(terms, 30) {
		if err := j.each(ctx, byMonth, chunk); err != nil {
			return err
		}
	}
	return nil
}

// each reads all segments that have one of the values, a page at a time.
func (j *journal) each(ctx context.Context, field string, values []string) error {
	return eachSegment(ctx, j.store, store.Query{Field: field, Any: values}, func(s *Segment) error {
		j.note(s)
		return nil
	})
}

func eachSegment(ctx context.Context, r store.Reader, q store.Query, do func(*Segment) error) error {
	q.Limit = 100
	for {
		found, err := Segments.Find(ctx, r, q)
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		for _, s := range found {
			if err := do(s); err != nil {
				return err
			}
		}
		if len(found) < q.Limit {
			return nil
		}
		q.After = found[len(found)-1].ID
	}
}

// newest calls do with the newest version of each row of an integration, in the order of their keys.
func (j *journal) newest(integration string, do func(*Row)) {
	rows := map[string]*Row{}
	for _, v := range j.rows {
		if v.row.Integration == integration && j.find(integration, v.row.current()) == v.row {
			rows[v.row.Key] = v.row
		}
	}
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		do(rows[key])
	}
}

// like gives the rows of an integration that were written with the same date, amount and direction, oldest key first.
// The integration must be wholly in memory.
func (j *journal) like(integration string, v Values) []*Row {
	if j.alike == nil {
		j.alike = map[string][]*Row{}
	}
	if _, built := j.alike[integration]; !built {
		j.alike[integration] = nil
		j.newest(integration, func(r *Row) {
			k := alikeKey(integration, r.Written)
			j.alike[k] = append(j.alike[k], r)
		})
	}
	return slices.DeleteFunc(slices.Clone(j.alike[alikeKey(integration, v)]), func(r *Row) bool {
		return j.find(integration, r.current()) != r // a newer version has been noted since
	})
}

func alikeKey(integration string, v Values) string {
	return integration + "/" + v.Date.String() + "/" + v.Amount.String() + "/" + string(v.Direction)
}
