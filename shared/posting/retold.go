package posting

import (
	"context"
	"slices"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/bank"
)

const (
	// moves is how far a row may move when the bank gives it another id, in days.
	moves = 5
	// recent is how far back the journal is read by months, in days; beyond, all of it is.
	recent = 60
	// ahead is for how many months instalments are told.
	ahead = 24
)

// retells gives since when a page retells an account.
func retells(page *bank.Page, account string) (since civil.Date, ok bool) {
	i := slices.IndexFunc(page.Retold, func(r bank.Retold) bool { return r.Account == account })
	if i < 0 {
		return since, false
	}
	return page.Retold[i].Since, true
}

// missing finds, for each target whose account the page retells, the rows that the page does not name.
func (r *run) missing(ctx context.Context, targets []*target, page *bank.Page) error {
	for _, t := range targets {
		t.missing = nil
		since, retold := retells(page, t.from)
		if !retold || t.silent() {
			continue
		}
		if err := r.recall(ctx, t, since); err != nil {
			return err
		}
		named := map[string]bool{}
		for _, id := range idsOf(page, t.from) {
			named[id] = true
		}
		rows := r.j.unnamed(t.Integration, since, named)
		// Of a row that was found by an older version, the newest one may say that it is elsewhere.
		byID, open := map[string][]string{}, []*Row{}
		for _, row := range rows {
			byID[t.ID] = append(byID[t.ID], row.IDs...)
		}
		if err := r.j.lookup(ctx, byID); err != nil {
			return storeError{err}
		}
		rows = r.j.unnamed(t.Integration, since, named)
		for _, row := range rows {
			if row.Intent != "" {
				open = append(open, row)
			}
		}
		if err := r.hear(ctx, booking{t.Book, t.As}, open); err != nil {
			return err
		}
		t.missing = slices.DeleteFunc(rows, func(row *Row) bool { return row.Intent != "" || row.State == Absent })
	}
	return nil
}

// recall reads what the journal holds of an integration since a date.
func (r *run) recall(ctx context.Context, t *target, since civil.Date) error {
	today := civil.DateOf(r.now())
	var err error
	if today.DaysSince(since) > recent {
		err = r.j.all(ctx, []string{t.ID})
	} else {
		var months []string
		for m := (civil.Date{Year: since.Year, Month: since.Month, Day: 1}); !m.After(today.AddMonths(ahead)); m = m.AddMonths(1) {
			months = append(months, monthKey(t.ID, m))
		}
		err = r.j.months(ctx, months)
	}
	if err != nil {
		return storeError{err}
	}
	return nil
}

// unnamed lists the rows of an integration's present item, dated since then, that are not named, the oldest key first.
func (j *journal) unnamed(i *bank.Integration, since civil.Date, named map[string]bool) (rows []*Row) {
	j.newest(i.ID, func(row *Row) {
		known := row.State == Standing || row.State == Hand || row.State == Aside || row.Intent != ""
		if known && row.Epoch == i.Epoch && !row.Written.Date.Before(since) && !slices.ContainsFunc(row.IDs, func(id string) bool { return named[id] }) {
			rows = append(rows, row)
		}
	})
	return rows
}

// follow pairs the rows that are missing with transactions that the journal does not know: the bank has given them another id,
// and nothing else links the two. Each row is taken once, by what is most like it.
func (p *planner) follow(changed []bank.Transaction, account string) {
	if len(p.t.missing) == 0 {
		return
	}
	var unknown []*bank.Transaction
	for i := range changed {
		if t := &changed[i]; t.Account == account && p.find(t.ID) == nil && p.find(t.PendingID) == nil {
			unknown = append(unknown, t)
		}
	}
	left := slices.Clone(p.t.missing)
	p.follows = map[string]*Row{}
	for _, alike := range likeness {
		for _, t := range unknown {
			values := valuesOf(p.t.ID, t)
			if p.follows[t.ID] != nil {
				continue
			}
			nearest := -1
			for i, row := range left {
				if away(row, values) <= moves && alike(row.Written, values) && (nearest < 0 || away(row, values) < away(left[nearest], values)) {
					nearest = i
				}
			}
			if nearest >= 0 {
				p.follows[t.ID] = left[nearest]
				left = slices.Delete(left, nearest, nearest+1)
			}
		}
	}
	p.t.missing = left
}

// likeness says how a transaction may be like the row that it follows, best first.
var likeness = []func(was, is Values) bool{
	func(was, is Values) bool { return sameMoney(was, is) && was.Text == is.Text && was.Date == is.Date },
	func(was, is Values) bool { return sameMoney(was, is) && was.Text == is.Text },
	sameMoney,
	func(was, is Values) bool {
		settled := was.Pending && !is.Pending
		return was.Direction == is.Direction && was.Text == is.Text && (settled || was.Date == is.Date)
	},
}

func sameMoney(a, b Values) bool { return a.Direction == b.Direction && a.Amount.Equal(b.Amount) }

// away is the number of days between a row and what may follow it.
func away(row *Row, v Values) int {
	days := row.Written.Date.DaysSince(v.Date)
	return max(days, -days)
}

// lose plans for the missing rows that nothing follows: the bank has taken them back, unless it is suspiciously much, or all that
// there was. Then a person is asked.
func (p *planner) lose(retold bool) {
	if !retold {
		return
	}
	standing := 0
	for _, row := range p.t.missing {
		if row.State == Standing && row.Flag != TakenBack {
			standing++
		}
	}
	if standing > max(vanishedRows, len(p.local)/vanishedShare) || (standing > 1 && len(p.local) == 0) {
		p.t.vanished = standing
		return
	}
	for _, row := range p.t.missing {
		if row.Flag != TakenBack {
			p.removed(row.current())
		}
	}
}
