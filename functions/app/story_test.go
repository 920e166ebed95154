package app_test

import (
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/functions/link"
	"github.com/bkper/automations-portal/shared/view"
)

// linkTo asks to link one account of a connection to an Account of its own name.
func linkTo(book string, c view.Connection, account int) link.Request {
	a := c.Accounts[account]
	return link.Request{Book: book, Connection: c.ID, Key: a.Key, Create: a.Name, From: day(700)}
}

// hasRecords fails unless the Book holds exactly these records.
func (w *world) hasRecords(book string, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(want, w.records(book)); diff != "" {
		w.t.Errorf("the Book (-want +got):\n%s", diff)
	}
}
