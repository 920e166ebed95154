package bkper_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/bkper/automations-portal/shared/sandbox/bkper"
)

// row is what the model knows of a transaction.
type row struct {
	id, remote, date string
	posted, trashed  bool
}

// TestRemoteIDsAreUniqueAmongWhatStands drives the Service and a model of a few lines with the same steps.
func TestRemoteIDsAreUniqueAmongWhatStands(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := start(t, bkper.Options{})
		var model []*row
		standing := func(remote string) bool {
			return slices.ContainsFunc(model, func(x *row) bool { return x.remote == remote && !x.trashed })
		}
		pick := func(r *rapid.T) *row {
			if len(model) == 0 {
				r.Skip("nothing to pick")
			}
			return rapid.SampledFrom(model).Draw(r, "row")
		}
		remote := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
		date := rapid.SampledFrom([]string{"2026-01-01", "2026-01-02", "2026-02-01"})
		r.Repeat(map[string]func(*rapid.T){
			"create": func(r *rapid.T) {
				var in []bkper.Transaction
				var want []string
				for range rapid.IntRange(1, 4).Draw(r, "rows") {
					x := &row{remote: remote.Draw(r, "remote"), date: date.Draw(r, "date")}
					in = append(in, w.full(x.remote, x.date, "1"))
					if !standing(x.remote) {
						model = append(model, x)
						want = append(want, x.remote)
					}
				}
				got := w.create(in...)
				if remoteIDs(got) != strings.Join(want, " ") {
					r.Fatalf("created %q, want %q", remoteIDs(got), want)
				}
				for i, tx := range got {
					model[len(model)-len(got)+i].id = tx.ID
				}
			},
			"trash": func(r *rapid.T) {
				x := pick(r)
				if err := w.s.TrashBatch(owner, w.book, []bkper.Transaction{{ID: x.id}}, false); err != nil {
					r.Fatal(err)
				}
				x.trashed = true
			},
			"untrash": func(r *rapid.T) {
				x := pick(r)
				refused := x.trashed && standing(x.remote)
				err := w.s.UntrashBatch(owner, w.book, []bkper.Transaction{{ID: x.id}})
				var e *bkper.Error
				if refused != errors.As(err, &e) {
					r.Fatalf("untrash: %v, want a refusal: %v", err, refused)
				}
				if !refused {
					x.trashed = false
				}
			},
			"post": func(r *rapid.T) {
				x := pick(r)
				_, err := w.s.Post(owner, w.book, bkper.Transaction{ID: x.id})
				if x.trashed != (err != nil) {
					r.Fatalf("post: %v, want a refusal: %v", err, x.trashed)
				}
				x.posted = x.posted || !x.trashed
			},
			"move": func(r *rapid.T) {
				x := pick(r)
				to := date.Draw(r, "date")
				_, err := w.hand().Edit(x.id, bkper.Edit{Date: &to})
				if x.trashed != (err != nil) {
					r.Fatalf("edit: %v, want a refusal: %v", err, x.trashed)
				}
				if err == nil {
					x.date = to
				}
			},
			"": func(r *rapid.T) { w.compare(r, model) },
		})
	})
}

// compare holds every way to find a transaction against the model.
func (w *world) compare(r *rapid.T, model []*row) {
	for _, trashed := range []bool{false, true} {
		for _, date := range []string{"2026-01-01", "2026-01-02", "2026-02-01"} {
			for _, by := range []string{"", " account:Bank", " account:Rent"} {
				query := "on:" + date + by
				if trashed {
					query += " is:trashed"
				}
				w.same(r, query, model, func(x *row) bool { return x.date == date && x.trashed == trashed })
			}
		}
		for _, remote := range []string{"a", "b", "c", "d", "e"} {
			query := "remoteId:" + remote
			if trashed {
				query += " is:trashed"
			}
			w.same(r, query, model, func(x *row) bool { return x.remote == remote && x.trashed == trashed })
		}
	}
	balance := 0
	for _, x := range model {
		if x.posted && !x.trashed {
			balance++
		}
	}
	if got := w.balance("Bank"); got != fmt.Sprintf("%d.00", balance) {
		r.Fatalf("balance = %s, want %d", got, balance)
	}
}

func (w *world) same(r *rapid.T, query string, model []*row, in func(*row) bool) {
	var want, got []string
	for _, x := range model {
		if in(x) {
			want = append(want, x.id)
		}
	}
	for _, tx := range w.find(query) {
		got = append(got, tx.ID)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		r.Fatalf("%s found %v, want %v", query, got, want)
	}
}
