package sim

import (
	"time"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/store"
)

// lock is how far the past of a Book is locked, and since when; the zero date is not at all.
type lock struct {
	date civil.Date
	at   time.Time
}

// noticed is how long a run can go on with a Book as it was when it was opened.
const noticed = 20 * time.Minute

// shuts is a person who closes a Book for a while: its past is locked, or an Account is archived.
func (h *history) shuts() {
	f := h.feeds[h.rng.IntN(len(h.feeds))]
	hand, err := h.books.Hand(f.book)
	must(err)
	h.closed = true
	h.had.closures++
	if h.chance(0.5) {
		must(hand.Archive(f.to, true))
		h.log("person: archives the Account of %s", f.book[:6])
		h.sleep(h.between(0, time.Hour))
		must(hand.Archive(f.to, false))
		h.log("person: restores the Account of %s", f.book[:6])
		return
	}
	date := civil.DateOf(h.now).AddDays(-h.rng.IntN(60))
	_, err = hand.Lock(date.String())
	must(err)
	h.locks[f.book] = lock{date, h.now}
	if date.After(h.everLocked[f.book]) {
		h.everLocked[f.book] = date
	}
	h.log("person: locks %s until %s", f.book[:6], date)
	h.sleep(h.between(0, time.Hour))
	_, err = hand.Lock("")
	must(err)
	h.locks[f.book] = lock{}
	h.log("person: unlocks %s", f.book[:6])
}

// respects fails where something is written into a past that has been locked for so long that every run must know.
func (h *history) respects(book string, op ledger.Operation, batch []ledger.Transaction) {
	l := h.locks[book]
	if l.date == (civil.Date{}) || h.now.Sub(l.at) < noticed {
		return
	}
	for _, t := range batch {
		if !t.Date.After(l.date) {
			h.fail("%s of %q on %s, though the Book has been locked until %s since %s", op, t.Description, t.Date, l.date, l.at)
		}
	}
}

// pleads is a person who asks that what was trashed is imported again.
func (h *history) pleads() {
	for _, f := range h.feeds {
		if !f.live || len(f.trashed) == 0 {
			continue
		}
		for _, r := range h.rows {
			if f.trashed[r.token] && (r.date.Before(f.from) || (r.pending && !f.pending)) { // not wanted now; it may be later
				f.either[r.token] = true
			}
		}
		f.trashed, f.binned = map[string]bool{}, map[string]bool{}
		h.had.pleas++
		h.log("what was trashed shall come back to %s", f.book[:6])
		h.saves(f, false, true)
		return
	}
}

// pleading reports whether what was asked for is still to come: what is trashed meanwhile may come back with it or not.
func (h *history) pleading(f *feed) bool {
	i, err := store.Integrations.Get(timeless{}, h.store, f.id)
	must(err)
	return i.Again > i.Have
}

// flagged are the records of which a person is told that the bank says something else; they are asked for only where a lock may
// have kept a record as it was.
func (h *history) flagged(f *feed) map[string]bool {
	told := map[string]bool{}
	if h.everLocked[f.book] == (civil.Date{}) || f.id == "" {
		return told
	}
	rows, err := posting.Attention(timeless{}, h.store, f.id)
	must(err)
	for _, row := range rows {
		told[row.Record] = row.Flag != ""
	}
	return told
}

// notes is a person who adds a property to a record.
func (h *history) notes(f *feed, hand bkper.Hand, t bkper.Transaction) {
	if _, err := hand.Edit(t.ID, bkper.Edit{Properties: map[string]string{note: "mine"}}); err == nil {
		f.noted[t.ID] = h.now
		h.had.hands++
		h.log("person: notes something about %s %q", t.ID, t.Description)
		h.amendToo(t)
	}
}

const note = "note"

// erases fails where a write takes away what a person has noted.
func (h *history) erases(f *feed, batch []ledger.Transaction) {
	for _, t := range batch {
		if at, noted := f.noted[t.ID]; noted && t.Properties[note] == "" {
			if h.now.Sub(at) > instant {
				h.fail("erased: what a person had noted about %q", t.Description)
			}
			delete(f.noted, t.ID)
		}
	}
}
