package posting

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bkper/automations-portal/shared/store"
)

// Version is what the journal said of a record at some time.
type Version struct {
	*Row
	Seq int64     // of the segment: of one connection, greater ones are later
	At  time.Time // zero for what is being written right now

	stamp stamp
}

// History tells all that the journal says of one record of an integration, the present state last; none where it does not
// know it. id is one of the bank's ids, the remote id, or the Book's own id of the record; for the last one the
// integration's whole journal is read.
func History(ctx context.Context, r store.Reader, integration, id string) ([]Version, error) {
	_, atBank, _ := strings.Cut(id, "_") // the remote id begins with the provider's name
	terms := []string{rowKey(integration, id)}
	if atBank != "" {
		terms = append(terms, rowKey(integration, atBank))
	}
	found, err := versions(ctx, r, store.Query{Field: byRow, Any: terms}, integration, id)
	if err == nil && len(found) == 0 {
		found, err = versions(ctx, r, store.Query{Field: byIntegration, Any: []string{integration}}, integration, id)
	}
	return found, err
}

func versions(ctx context.Context, r store.Reader, q store.Query, integration, id string) (found []Version, err error) {
	err = eachSegment(ctx, r, q, func(s *Segment) error {
		for _, row := range s.Rows {
			if row.Integration == integration && row.Is(id) {
				found = append(found, Version{row, s.Seq, s.At, s.stamp(row)})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("history of %s: %w", id, err)
	}
	slices.SortFunc(found, func(a, b Version) int { return a.stamp.compare(b.stamp) })
	return found, nil
}

// Is reports whether the row goes by that id, be it one of the bank's, the remote id or the Book's own.
func (r *Row) Is(id string) bool { return r.Key == id || r.Record == id || slices.Contains(r.IDs, id) }
