package posting_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"cloud.google.com/go/civil"
	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
)

var integration = bank.IntegrationID("book", "key")

// file puts rows into the journal as a segment of a connection.
func file(t *testing.T, s store.Store, connection string, seq int64, rows ...*posting.Row) {
	t.Helper()
	segment := &posting.Segment{ID: fmt.Sprintf("%s.%012d.x", connection, seq), Connection: connection, Book: "book", Seq: seq, Rows: rows}
	if err := s.Update(t.Context(), func(tx store.Tx) error { return posting.Segments.Put(tx, segment) }); err != nil {
		t.Fatal(err)
	}
}

func row(id string, day int, change func(*posting.Row)) *posting.Row {
	r := &posting.Row{
		Key: "bank_" + id, Integration: integration, IDs: []string{id}, State: posting.Standing, Record: "r-" + id,
		Written: posting.Values{Date: civil.Date{Year: 2026, Month: time.January, Day: 1}.AddDays(day), Amount: decimal.New(1250, -2), Direction: bank.Out},
	}
	if change != nil {
		change(r)
	}
	return r
}

func aside(r *posting.Row)   { r.State, r.Reason, r.Record = posting.Aside, posting.ReasonLocked, "" }
func changed(r *posting.Row) { r.Flag = posting.Changed; was := r.Written; r.Bank = &was }

func keys(t *testing.T, s store.Reader) []string {
	t.Helper()
	rows, err := posting.Attention(t.Context(), s, integration)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, r := range rows {
		keys = append(keys, r.Key)
	}
	return keys
}

func TestAttentionGivesTheNewestVersionOfRowsThatStillNeedAPerson(t *testing.T) {
	s := memory.New()
	other := row("other", 9, aside)
	other.Integration = bank.IntegrationID("book", "other")
	file(t, s, "c1", 1, row("a", 1, aside), row("b", 2, changed), row("c", 3, aside), row("fine", 4, nil), other)
	file(t, s, "c1", 2, row("c", 3, nil))                                                                       // the Book took it later
	file(t, s, "c1", 3, row("b", 2, func(r *posting.Row) { changed(r); r.Bank.Date = r.Bank.Date.AddDays(5) })) // it changed again
	settled := row("a", 1, aside)
	settled.IDs = []string{"a", "a2"}
	file(t, s, "c1", 4, settled, row("d", 5, func(r *posting.Row) { changed(r); r.State = posting.Hand }))
	// Another connection took the account over: its name sorts before, its epoch counts.
	file(t, s, "b0", 1, row("e", 0, func(r *posting.Row) { aside(r); r.Epoch = 1 }))
	file(t, s, "c1", 5, row("e", 0, nil))
	if diff := cmp.Diff([]string{"bank_b", "bank_a", "bank_e"}, keys(t, s)); diff != "" {
		t.Error(diff)
	}
	rows, err := posting.Attention(t.Context(), s, integration)
	if err != nil || rows[0].Says().Date != (civil.Date{Year: 2026, Month: time.January, Day: 8}) || rows[0].Record != "r-b" {
		t.Errorf("%+v, %v", rows[0], err)
	}
}

// The bank may send something without so much as a date; the journal must be readable afterwards.
func TestARowThatCannotBeReadIsShownToo(t *testing.T) {
	s := memory.New()
	file(t, s, "c1", 1, row("a", 1, aside), &posting.Row{
		Key: "bank_b", Integration: integration, IDs: []string{"b"}, State: posting.Aside, Reason: posting.ReasonUnusable,
	})
	if diff := cmp.Diff([]string{"bank_a", "bank_b"}, keys(t, s)); diff != "" {
		t.Error(diff)
	}
}

// counting counts the reads of a store.
type counting struct {
	store.Reader
	finds int
}

func (c *counting) Find(ctx context.Context, q store.Query) ([]store.Document, error) {
	c.finds++
	return c.Reader.Find(ctx, q)
}

func TestAttentionIsBoundedAndKeepsTheNewest(t *testing.T) {
	s := memory.New()
	for page := range 20 {
		var rows []*posting.Row
		for n := range 100 {
			day := page*100 + n
			rows = append(rows, row(fmt.Sprint(day), day, aside))
		}
		file(t, s, "c1", int64(page), rows...)
	}
	reads := &counting{Reader: s}
	rows, err := posting.Attention(t.Context(), reads, integration)
	if err != nil || len(rows) != 200 || rows[0].Key != "bank_1999" || rows[199].Key != "bank_1800" {
		t.Errorf("%d rows, the first %+v, %v", len(rows), rows[0], err)
	}
	if reads.finds > 10 {
		t.Errorf("%d reads for one page", reads.finds)
	}
}
