package posting

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/bkper/automations-portal/shared/store"
)

const (
	attentionRows    = 200   // shown at most
	attentionChecked = 1_000 // looked up at most, where many have been settled since
)

// Attention lists the rows of an integration that a person should look at, because they were kept aside or are flagged: the
// newest version of each, the newest by date first, at most 200. What a page under way has just done may be missing.
func Attention(ctx context.Context, r store.Reader, integration string) ([]*Row, error) {
	told, err := told(ctx, r, integration)
	if err != nil {
		return nil, err
	}
	j := newJournal(r)
	rows := map[string]*Row{}
	for chunk := range slices.Chunk(told[:min(len(told), attentionChecked)], attentionRows) {
		var ids []string
		for _, row := range chunk {
			ids = append(ids, row.current())
		}
		if err := j.lookup(ctx, map[string][]string{integration: ids}); err != nil {
			return nil, err
		}
		for _, id := range ids {
			if row := j.find(integration, id); row != nil && row.attends() {
				rows[row.Key] = row
			}
		}
		if len(rows) >= attentionRows {
			break
		}
	}
	newest := slices.SortedFunc(maps.Values(rows), newerFirst)
	return newest[:min(len(newest), attentionRows)], nil
}

// told lists the rows that needed a person at some time, some version of each, the newest by date first.
func told(ctx context.Context, r store.Reader, integration string) ([]*Row, error) {
	rows := map[string]*Row{}
	err := eachSegment(ctx, r, store.Query{Field: byAttention, Any: []string{integration}}, func(s *Segment) error {
		for _, row := range s.Rows {
			if row.Integration == integration && row.attends() {
				rows[row.Key] = row
			}
		}
		return nil
	})
	return slices.SortedFunc(maps.Values(rows), newerFirst), err
}

// attends reports whether a person should look at the row.
func (r *Row) attends() bool { return r.State == Aside || (r.State == Standing && r.Flag != "") }

// Says gives what the bank says of the transaction, as far as the journal holds it.
func (r *Row) Says() Values {
	if r.Bank != nil {
		return *r.Bank
	}
	return r.Written
}

func newerFirst(a, b *Row) int {
	return cmp.Or(b.Says().Date.Compare(a.Says().Date), cmp.Compare(a.Key, b.Key))
}
