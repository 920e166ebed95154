package bkper_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/bkper"
)

func TestQueriesFindWhatTheyName(t *testing.T) {
	w := start(t, bkper.Options{}) // the day is 2026-03-15
	w.create(
		w.draft("jan1", "2026-01-01", "1"), w.draft("jan31", "2026-01-31", "2"), w.draft("feb", "2026-02-01", "3.75"),
		w.draft("mar15", "2026-03-15", "4"), w.draft("old", "2025-12-31", "5"),
	)
	must(w.s.Post(owner, w.book, w.full("posted", "2026-02-10", "6")))(t)
	checked := must(w.s.Post(owner, w.book, w.full("checked", "2026-02-11", "7")))(t).Transaction
	must(w.s.Check(owner, w.book, checked.ID))(t)
	gone := w.create(w.draft("gone", "2026-02-12", "8"))[0]
	must(w.s.Trash(owner, w.book, gone.ID))(t)
	odd := w.draft("x:y z", "2026-02-13", "9")
	odd.Description, odd.CreditAccount = "Pão de Açúcar #food", nil
	w.create(odd)
	g := must(w.s.PutGroup(owner, w.book, bkper.Group{Name: "Home Costs"}))(t)
	must(w.s.UpdateAccounts(owner, w.book, []bkper.Account{{ID: w.rent, Groups: []bkper.Group{g}}}))(t)

	for query, want := range map[string]string{
		"":                          "mar15 x:y z checked posted feb jan31 jan1 old",
		"account:'Bank'":            "mar15 checked posted feb jan31 jan1 old",
		`acc:"bank"`:                "mar15 checked posted feb jan31 jan1 old",
		"account:Bank account:Rent": "checked posted",
		"account:'Nobody'":          "",
		"account:'Rent' is:trashed": "",
		"account:'Bank' is:trashed": "gone",
		"group:'Home costs'":        "checked posted",
		"group:Nothing":             "",
		"after:2026-02-01":          "mar15 x:y z checked posted feb",
		"before:2026-02-01":         "jan31 jan1 old",
		"after:2026-01-31 before:2026-02-01 account:Bank": "jan31",
		"on:2026-01":                    "jan31 jan1",
		"on:2025":                       "old",
		"on:2026-02-01":                 "feb",
		"on:01/02/2026":                 "feb",
		"after:$m":                      "mar15",
		"after:$m-1 before:$m":          "x:y z checked posted feb",
		"on:$d":                         "mar15",
		"on:$y-1":                       "old",
		"is:draft after:2026-02-01":     "mar15 x:y z feb",
		"is:unchecked":                  "posted",
		"is:checked":                    "checked",
		"is:trashed":                    "gone",
		"remoteId:feb":                  "feb",
		"remoteId:gone":                 "",
		"remoteId:gone is:trashed":      "gone",
		"remoteId:'x:y z'":              "x:y z",
		"remoteId:feb after:2026-02-02": "",
		"pao de acucar":                 "x:y z",
		"#food":                         "x:y z",
		"3.75":                          "feb",
		"rent":                          "checked posted",
		"COFFEE feb":                    "feb",
		"'coffee feb'":                  "feb",
		"coffee nothing":                "",
	} {
		t.Run(query, func(t *testing.T) {
			if got := w.found(query); got != want {
				t.Errorf("found %q, want %q", got, want)
			}
		})
	}
	for _, query := range []string{"after:yesterday", "on:2026-13", "is:posted-ish", "remoteId:x:y"} {
		t.Run(query, func(t *testing.T) {
			_, err := w.s.Transactions(owner, w.book, query, 0, "")
			wantError(t, err, 400, "")
		})
	}
	if got := string(must(w.s.Count(owner, w.book, "is:draft"))(t).Total); got != `"6"` {
		t.Errorf("count of drafts = %s", got)
	}
}

func TestVariablesFollowTheBooksTimeZone(t *testing.T) {
	w := start(t, bkper.Options{})
	w.now = time.Date(2026, 3, 15, 23, 0, 0, 0, time.UTC)
	must(w.s.UpdateBook(owner, w.book, bkper.Book{TimeZone: "Asia/Tokyo"}))(t)
	w.create(w.draft("utc", "2026-03-15", "1"), w.draft("tokyo", "2026-03-16", "1"))
	if got := w.found("on:$d"); got != "tokyo" {
		t.Errorf("today = %q", got)
	}
}

func TestPagesNeitherRepeatNorHideWhileTheBookChanges(t *testing.T) {
	w := start(t, bkper.Options{})
	var all []bkper.Transaction
	for i := range 250 {
		all = append(all, w.draft(fmt.Sprint("r", i), fmt.Sprintf("2026-01-%02d", i%28+1), "1"))
	}
	created := w.create(all...)
	seen := map[string]int{}
	cursor, pages := "", 0
	for {
		l := must(w.s.Transactions(owner, w.book, "account:'Bank'", 0, cursor))(t)
		if l.Account != w.bank {
			t.Errorf("account of the list = %q", l.Account)
		}
		if len(l.Items) > bkper.DefaultLimit {
			t.Errorf("a page of %d", len(l.Items))
		}
		for _, tx := range l.Items {
			seen[tx.ID]++
		}
		pages++
		// A new first row and a vanished seen row must not shift the pages behind.
		w.create(w.draft(fmt.Sprint("new", pages), "2026-03-01", "1"))
		must(w.s.Trash(owner, w.book, l.Items[0].ID))(t)
		if cursor = l.Cursor; cursor == "" {
			break
		}
	}
	if pages != 3 {
		t.Errorf("%d pages, want 3", pages)
	}
	for _, tx := range created {
		if seen[tx.ID] != 1 {
			t.Errorf("%v was listed %d times", tx.RemoteIDs, seen[tx.ID])
		}
	}
	if got := len(must(w.s.Transactions(owner, w.book, "", 5000, ""))(t).Items); got != len(w.find("")) || got < 250 {
		t.Errorf("a limit above the most listed %d", got)
	}
	_, err := w.s.Transactions(owner, w.book, "", 0, "not a cursor")
	wantError(t, err, 400, "cursor")
}
