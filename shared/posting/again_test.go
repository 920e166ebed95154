package posting_test

import (
	"testing"
	"time"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
)

// again saves an integration anew and asks to bring back what was trashed.
func (r *rig) again(i *bank.Integration) {
	r.Helper()
	r.save(i)
	r.update(func(tx store.Tx) error {
		now, err := store.Integrations.Load(tx, i.ID)
		if err != nil {
			return err
		}
		return posting.BringBack(tx, now)
	})
}

func toTheBin(t *ledger.Transaction) { t.Trashed = true }

func TestWhatAPersonTrashedComesBackOnceWhenAskedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	i := r.link(theBook, 0, nil)
	r.bank.says(movements(0, 0, 20)...)
	r.post()
	stand := func(when string, want int) {
		t.Helper()
		if got := len(r.shelf.standing(theBook)); got != want {
			t.Errorf("%s: %d stand, want %d", when, got, want)
		}
	}
	stand("imported", 20)
	for _, tx := range r.shelf.standing(theBook)[:7] {
		r.shelf.edit(theBook, tx.ID, toTheBin)
	}
	r.save(r.wanted(theBook, 0))
	r.post()
	stand("saved again", 13)
	r.again(r.wanted(theBook, 0))
	r.post()
	stand("asked for", 20)
	if left := len(r.shelf.list(theBook, true)); left != 0 {
		t.Errorf("%d records are left in the trash", left)
	}
	r.shelf.edit(theBook, r.shelf.standing(theBook)[0].ID, toTheBin)
	earlier := r.wanted(theBook, 0)
	earlier.From = i.From.AddDays(-1)
	r.save(earlier)
	r.post()
	stand("trashed after that", 19)
}

func TestWhatStandsStaysAsItIsWhenTheTrashedIsAskedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	r.link(theBook, 0, nil)
	r.bank.says(movements(0, 0, 3)...)
	r.post()
	mine := r.shelf.standing(theBook)[0]
	r.shelf.edit(theBook, mine.ID, func(t *ledger.Transaction) { t.Description, t.Posted = "Lunch with Ana", true })
	r.again(r.wanted(theBook, 0))
	r.post()
	if got := r.shelf.standing(theBook); len(got) != 3 || got[0].Description != "Lunch with Ana" || !got[0].Posted {
		t.Errorf("%+v", got)
	}
}

// What is posted and as the bank says needs nobody when the trashed is asked for.
func TestWhatIsPostedNeedsNobodyWhenTheTrashedIsAskedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	i := r.link(theBook, 0, nil)
	r.bank.says(movements(0, 0, 3)...)
	r.post()
	r.shelf.edit(theBook, r.shelf.standing(theBook)[0].ID, func(t *ledger.Transaction) { t.Posted = true })
	r.again(r.wanted(theBook, 0))
	r.post()
	if rows, err := posting.Attention(t.Context(), r.store, i.ID); err != nil || len(rows) > 0 {
		t.Errorf("%d rows need a person: %v", len(rows), err)
	}
}

// What was asked for comes though the Book could not be written, or the integration was silent, when history was read for it.
func TestWhatWasTrashedComesBackOnceItCan(t *testing.T) {
	t.Parallel()
	for name, hinder := range map[string]func(r *rig, hindered bool){
		"the Account is archived": func(r *rig, hindered bool) { r.shelf.books[theBook].Accounts[0].Archived = hindered },
		"the Book is locked": func(r *rig, hindered bool) {
			r.shelf.books[theBook].Locked = civil.Date{}
			if hindered {
				r.shelf.books[theBook].Locked = civil.Date{Year: 2026, Month: time.January, Day: 31}
			}
		},
		"the integration is paused": func(r *rig, hindered bool) { r.pause(hindered) },
		"the integration is removed": func(r *rig, hindered bool) {
			if hindered {
				r.remove(r.wanted(theBook, 0).ID)
				return
			}
			r.link(theBook, 0, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(), 1)
			r.link(theBook, 0, nil)
			r.bank.says(movements(0, 0, 5)...)
			r.post()
			for _, tx := range r.shelf.standing(theBook) {
				r.shelf.edit(theBook, tx.ID, toTheBin)
			}
			r.again(r.wanted(theBook, 0))
			hinder(r, true)
			r.post()
			hinder(r, false)
			for range 2 {
				r.clock.pass(7 * time.Hour)
				r.post()
			}
			if got := len(r.shelf.standing(theBook)); got != 5 {
				t.Errorf("%d stand", got)
			}
		})
	}
}
