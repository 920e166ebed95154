package bkper_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/disk"
)

// Everybody of the tests' Book, by permission.
var (
	owner    = bkper.Caller{Email: "owner@example.com"}
	editor   = bkper.Caller{Email: "editor@example.com"}
	poster   = bkper.Caller{Email: "poster@example.com"}
	recorder = bkper.Caller{Email: "recorder@example.com"}
	viewer   = bkper.Caller{Email: "viewer@example.com"}
	stranger = bkper.Caller{Email: "stranger@example.com"}
)

type world struct {
	t    testing.TB
	s    *bkper.Service
	now  time.Time
	book string
	bank string // id of the Account "Bank"
	rent string // id of the Account "Rent"
}

func start(t testing.TB, o bkper.Options) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)}
	if o.Now == nil {
		o.Now = func() time.Time { return w.now }
	}
	w.s = must(bkper.New(o))(t)
	for _, c := range []bkper.Caller{owner, editor, poster, recorder, viewer, stranger} {
		if err := w.s.AddUser(bkper.User{Email: c.Email}); err != nil {
			t.Fatal(err)
		}
	}
	b := must(w.s.CreateBook(owner, bkper.Book{Name: "Test", AutoPost: new(false)}))(t)
	w.book = b.ID
	for who, p := range map[string]bkper.Permission{
		editor.Email: bkper.Editor, poster.Email: bkper.Poster, recorder.Email: bkper.Recorder, viewer.Email: bkper.Viewer,
	} {
		must(w.s.Share(owner, w.book, bkper.Collaborator{Email: who, Permission: p}))(t)
	}
	l := must(w.s.CreateAccounts(owner, w.book, []bkper.Account{{Name: "Bank", Type: bkper.Asset}, {Name: "Rent", Type: bkper.Outgoing}}))(t)
	w.bank, w.rent = l.Items[0].ID, l.Items[1].ID
	return w
}

// must unwraps a result that may not fail.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// wantError checks the status and a part of the message of a refusal.
func wantError(t testing.TB, err error, status int, part string) {
	t.Helper()
	var e *bkper.Error
	if !errors.As(err, &e) {
		t.Errorf("error = %v, want %d", err, status)
		return
	}
	if e.Status != status || !strings.Contains(e.Message, part) {
		t.Errorf("error = %v, want %d with %q", e, status, part)
	}
}

// draft is a draft of the bank account with a remote id.
func (w *world) draft(remoteID, date, amount string) bkper.Transaction {
	return bkper.Transaction{
		Date: date, Amount: new(amount), Description: "COFFEE " + remoteID, CreditAccount: &bkper.Account{ID: w.bank},
		RemoteIDs: []string{remoteID}, Draft: new(true),
	}
}

// full is complete, so that it can be posted.
func (w *world) full(remoteID, date, amount string) bkper.Transaction {
	t := w.draft(remoteID, date, amount)
	t.DebitAccount, t.Draft = &bkper.Account{Name: "rent"}, nil
	return t
}

func (w *world) create(in ...bkper.Transaction) []bkper.Transaction {
	w.t.Helper()
	return must(w.s.CreateBatch(owner, w.book, in))(w.t)
}

func (w *world) find(query string) []bkper.Transaction {
	w.t.Helper()
	return must(w.s.Transactions(owner, w.book, query, bkper.MaxLimit, ""))(w.t).Items
}

func (w *world) found(query string) string {
	w.t.Helper()
	return remoteIDs(w.find(query))
}

func remoteIDs(all []bkper.Transaction) string {
	var ids []string
	for _, t := range all {
		ids = append(ids, strings.Join(t.RemoteIDs, "+"))
	}
	return strings.Join(ids, " ")
}

func (w *world) balance(account string) string {
	w.t.Helper()
	return must(w.s.Account(owner, w.book, account))(w.t).Balance
}

func TestADuplicateOfAStandingRemoteIDIsSkippedWithoutAWord(t *testing.T) {
	w := start(t, bkper.Options{})
	w.create(w.draft("r1", "2026-01-02", "1"))
	if got := remoteIDs(w.create(w.draft("r1", "2026-01-02", "1"), w.draft("r2", "2026-01-02", "2"), w.draft("r2", "2026-01-02", "2"))); got != "r2" {
		t.Errorf("created %q, want r2 alone", got)
	}
	if got := w.found(""); got != "r2 r1" {
		t.Errorf("the Book holds %q", got)
	}
	op := must(w.s.Create(owner, w.book, w.draft("r1", "2026-01-02", "1")))(t)
	if op.Transaction != nil {
		t.Error("single create of a duplicate returned a transaction")
	}
	if got := w.create(w.draft("r1", "2026-01-02", "1")); len(got) != 0 {
		t.Errorf("a batch of duplicates returned %v", got)
	}
}

func TestTheRulesShowDuplicatesInstead(t *testing.T) {
	w := start(t, bkper.Options{Rules: bkper.Rules{SingleDuplicateReturned: true, BatchDuplicatesReturned: true}})
	first := w.create(w.draft("r1", "2026-01-02", "1"))[0]
	if op := must(w.s.Create(owner, w.book, w.draft("r1", "2026-01-02", "5")))(t); op.Transaction == nil || op.Transaction.ID != first.ID {
		t.Errorf("single create of a duplicate returned %+v", op.Transaction)
	}
	if got := w.create(w.draft("r1", "2026-01-02", "1")); len(got) != 1 || got[0].ID != first.ID {
		t.Errorf("batch returned %v", got)
	}
	if got := w.found(""); got != "r1" {
		t.Errorf("the Book holds %q", got)
	}
}

func TestATrashedRemoteIDBlocksOnlyWhereTheRulesSay(t *testing.T) {
	w := start(t, bkper.Options{})
	id := w.create(w.draft("r1", "2026-01-02", "1"))[0].ID
	must(w.s.Trash(owner, w.book, id))(t)
	w.s.SetRules(bkper.Rules{TrashedBlocks: true})
	if got := w.create(w.draft("r1", "2026-01-02", "1")); len(got) != 0 {
		t.Errorf("created %v although the trash blocks", got)
	}
	w.s.SetRules(bkper.Rules{})
	if got := w.create(w.draft("r1", "2026-01-02", "1")); len(got) != 1 {
		t.Errorf("created %v", got)
	}
	_, err := w.s.Untrash(owner, w.book, id)
	wantError(t, err, 400, "already exists")
}

func TestDraftTrueOverridesAutomaticPosting(t *testing.T) {
	w := start(t, bkper.Options{})
	must(w.s.UpdateBook(owner, w.book, bkper.Book{AutoPost: new(true)}))(t)
	asDraft := w.full("d", "2026-01-02", "1")
	asDraft.Draft = new(true)
	half := w.draft("half", "2026-01-02", "1")
	half.Draft = nil
	for _, got := range w.create(w.full("p", "2026-01-02", "3"), asDraft, half) {
		if want := got.RemoteIDs[0] == "p"; bkper.True(got.Posted) != want || bkper.True(got.Draft) == want {
			t.Errorf("%v: posted %v, draft %v", got.RemoteIDs, bkper.True(got.Posted), bkper.True(got.Draft))
		}
	}
	if got := w.balance("Bank"); got != "3.00" {
		t.Errorf("balance of Bank = %s: credits − debits of what is posted is 3.00", got)
	}
	must(w.s.UpdateBook(owner, w.book, bkper.Book{AutoPost: new(false)}))(t)
	if got := w.create(w.full("q", "2026-01-02", "3"))[0]; bkper.True(got.Posted) {
		t.Error("a Book without automatic posting posted")
	}
}

func TestBatchesAreAllOrNothingUnlessTheRulesKeepThePrefix(t *testing.T) {
	bad := func(w *world) error {
		wrong := w.draft("bad", "2026-02-30", "1")
		_, err := w.s.CreateBatch(owner, w.book, []bkper.Transaction{w.draft("r1", "2026-01-02", "1"), wrong, w.draft("r2", "2026-01-02", "1")})
		return err
	}
	w := start(t, bkper.Options{})
	wantError(t, bad(w), 400, "2026-02-30")
	if got := w.found(""); got != "" {
		t.Errorf("the Book holds %q", got)
	}
	w.s.SetRules(bkper.Rules{BatchKeepsPrefix: true})
	wantError(t, bad(w), 400, "2026-02-30")
	if got := w.found(""); got != "r1" {
		t.Errorf("the Book holds %q", got)
	}
}

func TestABatchCutInTheMiddleKeepsWhatCameBefore(t *testing.T) {
	w := start(t, bkper.Options{})
	cut := owner
	cut.CutAfter = 1
	_, err := w.s.CreateBatch(cut, w.book, []bkper.Transaction{w.draft("r1", "2026-01-02", "1"), w.draft("r2", "2026-01-02", "1")})
	wantError(t, err, 503, "")
	if got := w.found(""); got != "r1" {
		t.Errorf("the Book holds %q", got)
	}
}

func TestAmountsArePositiveDecimals(t *testing.T) {
	for _, tt := range []struct {
		amount string
		digits int
		rounds bool
		want   string // "" for refused
	}{
		{"1234.5", 2, false, "1234.50"},
		{"100", 2, false, "100.00"},
		{"0.10", 2, false, "0.10"},
		{"1e+21", 2, false, "1000000000000000000000.00"},
		{"1e-8", 8, false, "0.00000001"},
		{"1e-8", 2, true, "0.00"},
		{"10.005", 2, true, "10.01"},
		{"10.005", 2, false, ""},
		{"100.0", 0, false, "100"},
		{"-5", 2, false, ""},
		{"+5", 2, false, ""},
		{"undefined", 2, false, ""},
		{"", 2, false, ""},
		{"1,5", 2, false, ""},
		{"1e999", 2, false, ""},
		{" 1", 2, false, ""},
	} {
		t.Run(tt.amount, func(t *testing.T) {
			w := start(t, bkper.Options{Rules: bkper.Rules{Rounds: tt.rounds}})
			must(w.s.UpdateBook(owner, w.book, bkper.Book{FractionDigits: new(tt.digits)}))(t)
			op, err := w.s.Create(owner, w.book, w.draft("r", "2026-01-02", tt.amount))
			if tt.want == "" {
				wantError(t, err, 400, "mount [")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := *op.Transaction.Amount; got != tt.want {
				t.Errorf("amount = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAnythingMissingMakesADraft(t *testing.T) {
	w := start(t, bkper.Options{})
	got := w.create(bkper.Transaction{Description: "only #text and #more"})[0]
	if !bkper.True(got.Draft) || got.Date != "" || got.Amount != nil || !slices.Equal(got.Tags, []string{"text", "more"}) {
		t.Errorf("got %+v", got)
	}
	_, err := w.s.Post(owner, w.book, bkper.Transaction{ID: got.ID})
	wantError(t, err, 400, "needs a date")
	_, err = w.s.Post(owner, w.book, w.full("zero", "2026-01-02", "0"))
	wantError(t, err, 400, "needs a date")
}

func TestAnUnknownOrArchivedAccountIsRefused(t *testing.T) {
	w := start(t, bkper.Options{})
	bad := w.draft("r", "2026-01-02", "1")
	bad.CreditAccount = &bkper.Account{ID: "4711"}
	_, err := w.s.CreateBatch(owner, w.book, []bkper.Transaction{bad})
	wantError(t, err, 404, "4711")
	w.create(w.draft("before", "2026-01-02", "1"))
	if err := w.hand().Archive(w.bank, true); err != nil {
		t.Fatal(err)
	}
	_, err = w.s.CreateBatch(owner, w.book, []bkper.Transaction{w.draft("r", "2026-01-02", "1")})
	wantError(t, err, 400, "archived")
	if err := w.hand().Archive(w.bank, false); err != nil {
		t.Fatal(err)
	}
	w.create(w.draft("r", "2026-01-02", "1"))
}

func (w *world) hand() bkper.Hand {
	w.t.Helper()
	return must(w.s.Hand(w.book))(w.t)
}

func TestPostWithoutAnIDCreatesAndPosts(t *testing.T) {
	w := start(t, bkper.Options{})
	op := must(w.s.Post(poster, w.book, w.full("r", "2026-01-02", "7.25")))(t)
	if !bkper.True(op.Transaction.Posted) {
		t.Error("not posted")
	}
	if got := w.balance("rent"); got != "-7.25" {
		t.Errorf("balance of Rent = %s", got)
	}
	var touched []string
	for _, a := range op.Accounts {
		touched = append(touched, a.Name+" "+a.Balance)
	}
	if !slices.Equal(touched, []string{"Bank 7.25", "Rent -7.25"}) {
		t.Errorf("touched accounts = %v", touched)
	}
}

func TestATransactionOfAnAccountWithItselfIsListedOnceAndMovesNothing(t *testing.T) {
	w := start(t, bkper.Options{})
	in := w.full("r", "2026-01-02", "1")
	in.DebitAccount = in.CreditAccount
	must(w.s.Post(owner, w.book, in))(t)
	if got := w.found("account:Bank"); got != "r" {
		t.Errorf("listed %q", got)
	}
	if got := w.balance("Bank"); got != "0.00" {
		t.Errorf("balance = %s", got)
	}
}

func TestCheckedTransactionsAreLocked(t *testing.T) {
	w := start(t, bkper.Options{})
	tx := *must(w.s.Post(owner, w.book, w.full("r", "2026-01-02", "1")))(t).Transaction
	must(w.s.Check(owner, w.book, tx.ID))(t)
	tx.Description = "changed"
	_, err := w.s.Update(owner, w.book, tx)
	wantError(t, err, 400, "checked")
	_, err = w.s.Trash(owner, w.book, tx.ID)
	wantError(t, err, 400, "checked")
	if got := must(w.s.UpdateBatch(owner, w.book, []bkper.Transaction{tx}, false))(t); len(got) != 0 {
		t.Errorf("a batch updated %v", got)
	}
	if err := w.s.TrashBatch(owner, w.book, []bkper.Transaction{{ID: tx.ID}}, false); err != nil {
		t.Fatal(err)
	}
	if got := w.find("is:checked"); len(got) != 1 || got[0].Description == "changed" {
		t.Errorf("checked = %+v", got)
	}
	if got := must(w.s.UpdateBatch(owner, w.book, []bkper.Transaction{tx}, true))(t); len(got) != 1 || got[0].Description != "changed" {
		t.Errorf("updateChecked updated %v", got)
	}
	if err := w.s.TrashBatch(owner, w.book, []bkper.Transaction{{ID: tx.ID}}, true); err != nil {
		t.Fatal(err)
	}
	if got := w.balance("Bank"); got != "0.00" {
		t.Errorf("balance with the transaction in the bin = %s", got)
	}
	must(w.s.Untrash(owner, w.book, tx.ID))(t)
	if got := w.balance("Bank"); got != "1.00" {
		t.Errorf("balance with the transaction back = %s", got)
	}
	must(w.s.Uncheck(owner, w.book, tx.ID))(t)
	must(w.s.Trash(owner, w.book, tx.ID))(t)
}

func TestALockedPeriodRefusesChanges(t *testing.T) {
	w := start(t, bkper.Options{})
	posted := must(w.s.Post(owner, w.book, w.full("p", "2026-01-31", "1")))(t).Transaction
	w.create(w.draft("d", "2026-01-31", "1"))
	draft := w.find("remoteId:d")[0]
	must(w.hand().Lock("2026-01-15"))(t)
	must(w.s.UpdateBook(owner, w.book, bkper.Book{ClosingDate: "2026-01-31"}))(t)
	try := func() map[string]error {
		all := map[string]error{}
		_, all["create"] = w.s.Create(owner, w.book, w.draft("new", "2026-01-31", "1"))
		_, all["post"] = w.s.Post(owner, w.book, w.full("new2", "2026-01-31", "1"))
		_, all["trash"] = w.s.Trash(owner, w.book, posted.ID)
		_, all["check"] = w.s.Check(owner, w.book, posted.ID)
		moved := draft
		moved.Date = "2026-02-01"
		_, all["move draft"] = w.s.Update(owner, w.book, moved)
		return all
	}
	for what, err := range try() {
		t.Run(what, func(t *testing.T) { wantError(t, err, 400, "locked until 31/01/2026") })
	}
	w.create(w.draft("after", "2026-02-01", "1"))
	w.s.SetRules(bkper.Rules{LockedDrafts: true})
	for what, err := range try() {
		t.Run(what+" with drafts free", func(t *testing.T) {
			if what == "create" || what == "move draft" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, 400, "locked until")
		})
	}
	_, err := w.s.UpdateBook(editor, w.book, bkper.Book{ClosingDate: "1900-00-00"})
	wantError(t, err, 401, "EDITOR")
	if b := must(w.s.UpdateBook(owner, w.book, bkper.Book{ClosingDate: "1900-00-00", LockDate: "1900-00-00"}))(t); b.ClosingDate != "" || b.LockDate != "" {
		t.Errorf("locks after unlocking = %q %q", b.ClosingDate, b.LockDate)
	}
	must(w.s.Trash(owner, w.book, posted.ID))(t)
}

func TestPermissions(t *testing.T) {
	w := start(t, bkper.Options{})
	n := 0
	fresh := func() string { n++; return fmt.Sprint("f", n) }
	newDraft := func() string {
		return must(w.s.Create(owner, w.book, w.full(fresh(), "2026-01-02", "1")))(t).Transaction.ID
	}
	newPosted := func() string {
		return must(w.s.Post(owner, w.book, w.full(fresh(), "2026-01-02", "1")))(t).Transaction.ID
	}
	must(w.s.PutApp(owner, bkper.App{ID: "bot", Name: "Bot", Published: new(true)}, true))(t)
	for _, tt := range []struct {
		what string
		may  []bkper.Caller
		do   func(bkper.Caller) error
	}{
		{"read the Book", []bkper.Caller{editor, poster, recorder, viewer}, func(c bkper.Caller) error { _, err := w.s.Book(c, w.book, true); return err }},
		{"create an Account", []bkper.Caller{editor}, func(c bkper.Caller) error {
			_, err := w.s.CreateAccounts(c, w.book, []bkper.Account{{Name: fresh(), Type: bkper.Asset}})
			return err
		}},
		{"record", []bkper.Caller{editor, poster, recorder}, func(c bkper.Caller) error {
			_, err := w.s.Create(c, w.book, w.draft(fresh(), "2026-01-02", "1"))
			return err
		}},
		{"trash a draft", []bkper.Caller{editor, poster, recorder}, func(c bkper.Caller) error { _, err := w.s.Trash(c, w.book, newDraft()); return err }},
		{"post", []bkper.Caller{editor, poster}, func(c bkper.Caller) error {
			_, err := w.s.Post(c, w.book, bkper.Transaction{ID: newDraft()})
			return err
		}},
		{"trash a posted one", []bkper.Caller{editor, poster}, func(c bkper.Caller) error { _, err := w.s.Trash(c, w.book, newPosted()); return err }},
		{"check", []bkper.Caller{editor}, func(c bkper.Caller) error { _, err := w.s.Check(c, w.book, newPosted()); return err }},
		{"view", []bkper.Caller{editor, poster, viewer}, func(c bkper.Caller) error { _, err := w.s.Transactions(c, w.book, "", 0, ""); return err }},
		{"list Accounts", []bkper.Caller{editor, poster, viewer}, func(c bkper.Caller) error { _, err := w.s.Accounts(c, w.book); return err }},
		{"share", []bkper.Caller{editor}, func(c bkper.Caller) error {
			_, err := w.s.Share(c, w.book, bkper.Collaborator{Email: "new@example.com", Permission: bkper.Viewer})
			return err
		}},
		{"lock", []bkper.Caller{editor}, func(c bkper.Caller) error {
			_, err := w.s.UpdateBook(c, w.book, bkper.Book{LockDate: "2020-01-01"})
			return err
		}},
		{"integrate", []bkper.Caller{editor}, func(c bkper.Caller) error {
			_, err := w.s.CreateIntegration(c, w.book, bkper.Integration{AgentID: "bot"})
			return err
		}},
		{"delete the Book", nil, func(c bkper.Caller) error { _, err := w.s.DeleteBook(c, w.book); return err }},
	} {
		for _, who := range []bkper.Caller{editor, poster, recorder, viewer, stranger} {
			t.Run(tt.what+" as "+who.Email, func(t *testing.T) {
				err := tt.do(who)
				if slices.Contains(tt.may, who) {
					if err != nil {
						t.Error(err)
					}
					return
				}
				wantError(t, err, 401, who.Email)
			})
		}
	}
}

func TestARecorderSeesNeitherAccountsNorGroups(t *testing.T) {
	w := start(t, bkper.Options{})
	b := must(w.s.Book(recorder, w.book, true))(t)
	if b.Accounts != nil || b.Groups != nil || b.Permission != bkper.Recorder {
		t.Errorf("got %+v", b)
	}
	if op := must(w.s.Create(recorder, w.book, w.draft("r", "2026-01-02", "1")))(t); op.Accounts != nil {
		t.Errorf("accounts = %+v", op.Accounts)
	}
}

func TestTheLeastPermissionForIntegrationsIsARule(t *testing.T) {
	w := start(t, bkper.Options{Rules: bkper.Rules{IntegrationsBy: bkper.Poster}})
	must(w.s.PutApp(owner, bkper.App{ID: "bot", Name: "Bot", Published: new(true)}, true))(t)
	must(w.s.CreateIntegration(poster, w.book, bkper.Integration{AgentID: "bot"}))(t)
	_, err := w.s.CreateIntegration(recorder, w.book, bkper.Integration{AgentID: "bot"})
	wantError(t, err, 401, "RECORDER")
}

func TestRevokingADeletedOrUnknownBookIsTold(t *testing.T) {
	w := start(t, bkper.Options{})
	if err := w.hand().Permit(viewer.Email, bkper.None); err != nil {
		t.Fatal(err)
	}
	_, err := w.s.Book(viewer, w.book, false)
	wantError(t, err, 401, "The user [viewer@example.com] is not a collaborator on the book [Test - "+w.book+"]")
	must(w.s.Unshare(owner, w.book, editor.Email))(t)
	_, err = w.s.Book(editor, w.book, false)
	wantError(t, err, 401, "not a collaborator")
	if err := w.hand().Delete(); err != nil {
		t.Fatal(err)
	}
	_, err = w.s.Book(owner, w.book, false)
	wantError(t, err, 404, "Book NOT found")
	if l := must(w.s.Books(owner, ""))(t); len(l.Items) != 0 {
		t.Errorf("books = %v", l.Items)
	}
}

func TestUpdateReplacesTheWholeTransaction(t *testing.T) {
	w := start(t, bkper.Options{})
	in := w.draft("r", "2026-01-02", "1")
	in.Properties = map[string]string{"a": "1", "b": "2"}
	in.URLs, in.Files = []string{"https://x.example"}, []bkper.File{{ID: "f1", Name: "receipt.pdf"}}
	tx := w.create(in)[0]
	tx.DebitAccount = &bkper.Account{Name: "Rent"}
	tx.Properties = map[string]string{"a": "1", "b": "", "c d-e": "3"}
	got := *must(w.s.Update(recorder, w.book, tx))(t).Transaction
	if diff := cmp.Diff(map[string]string{"a": "1", "c_de": "3"}, got.Properties); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	if got.DebitAccount == nil || got.DebitAccount.ID != w.rent || len(got.URLs) != 1 || len(got.Files) != 1 || got.RemoteIDs[0] != "r" {
		t.Errorf("got %+v", got)
	}
	got = *must(w.s.Update(owner, w.book, bkper.Transaction{ID: tx.ID, Date: "2026-01-02"}))(t).Transaction
	if got.Amount != nil || got.CreditAccount != nil || got.Properties != nil || got.RemoteIDs != nil || got.Files != nil {
		t.Errorf("what was not sent stayed: %+v", got)
	}
	if list := w.find("account:Bank"); len(list) != 0 {
		t.Errorf("the Account still lists %v", list)
	}
}

func TestAnUpdateCannotTakeAnothersRemoteID(t *testing.T) {
	w := start(t, bkper.Options{})
	all := w.create(w.draft("r1", "2026-01-02", "1"), w.draft("r2", "2026-01-02", "1"))
	all[1].RemoteIDs = []string{"r2", "r1"}
	_, err := w.s.Update(owner, w.book, all[1])
	wantError(t, err, 400, "r1")
	_, err = w.s.Update(owner, w.book, bkper.Transaction{ID: "nothing"})
	wantError(t, err, 404, "Transaction NOT found! ID: nothing")
}

func TestMergeKeepsBothRemoteIDsAndNamesTheOriginals(t *testing.T) {
	w := start(t, bkper.Options{})
	a := w.create(w.draft("r1", "2026-01-02", "1"))[0]
	b := must(w.s.Post(owner, w.book, w.full("r2", "2026-01-03", "1")))(t).Transaction
	m := must(w.hand().Merge(a.ID, b.ID))(t).Transaction
	want := []string{"r2", "r1", "merged_" + b.ID, "merged_" + a.ID}
	if !slices.Equal(m.RemoteIDs, want) || !bkper.True(m.Posted) || m.Date != "2026-01-03" || m.ID == a.ID || m.ID == b.ID {
		t.Errorf("merged = %+v, want remote ids %v", m, want)
	}
	if got := w.find("remoteId:r1"); len(got) != 1 || got[0].ID != m.ID {
		t.Errorf("r1 is held by %v", got)
	}
	if got := len(w.find("is:trashed")); got != 2 {
		t.Errorf("%d in the bin, want both originals", got)
	}
	if got := w.balance("Bank"); got != "1.00" {
		t.Errorf("balance = %s", got)
	}
	if got := w.create(w.draft("r1", "2026-01-02", "1"), w.draft("r2", "2026-01-02", "1")); len(got) != 0 {
		t.Errorf("created %v after the merge", got)
	}
	_, err := w.s.Untrash(owner, w.book, a.ID)
	wantError(t, err, 400, "r1")
}

func TestNamesAreComparedNormalized(t *testing.T) {
	for name, want := range map[string]string{
		"Bank-A": "bank_a", "bank a": "bank_a", "  Bank   A ": "bank_a", "Café São_Paulo": "cafe_sao_paulo", "Øre Łódź Straße": "ore_lodz_strase",
	} {
		if got := bkper.Normalize(name); got != want {
			t.Errorf("Normalize(%q) = %q, want %q", name, got, want)
		}
	}
	w := start(t, bkper.Options{})
	must(w.s.CreateAccounts(owner, w.book, []bkper.Account{{Name: "Caixa Econômica-1", Type: bkper.Asset}}))(t)
	if got := must(w.s.Account(owner, w.book, "CAIXA economica 1"))(t).Name; got != "Caixa Econômica-1" {
		t.Errorf("found %q", got)
	}
	_, err := w.s.CreateAccounts(owner, w.book, []bkper.Account{{Name: "caixa economica_1", Type: bkper.Asset}})
	wantError(t, err, 400, "already exists")
	_, err = w.s.CreateAccounts(owner, w.book, []bkper.Account{{Name: "No type"}})
	wantError(t, err, 400, "account type")
}

func TestPropertyKeysAreNormalizedAndBounded(t *testing.T) {
	w := start(t, bkper.Options{})
	b := must(w.s.UpdateBook(owner, w.book, bkper.Book{Properties: map[string]string{"Exc Code!": "USD", "other": "x"}}))(t)
	if diff := cmp.Diff(map[string]string{"exc_code": "USD", "other": "x"}, b.Properties); diff != "" {
		t.Error(diff)
	}
	b = must(w.s.UpdateBook(owner, w.book, bkper.Book{Properties: map[string]string{"other": ""}}))(t)
	if diff := cmp.Diff(map[string]string{"exc_code": "USD"}, b.Properties); diff != "" {
		t.Error(diff)
	}
	must(w.s.UpdateBook(owner, w.book, bkper.Book{Properties: map[string]string{strings.Repeat("k", 29) + "-!k": "v"}}))(t)
	_, err := w.s.UpdateBook(owner, w.book, bkper.Book{Properties: map[string]string{strings.Repeat("k", 31): "v"}})
	wantError(t, err, 400, "30 characters")
}

func TestAccountsWithPostedTransactionsAreOnlyArchived(t *testing.T) {
	w := start(t, bkper.Options{})
	must(w.s.Post(owner, w.book, w.full("r", "2026-01-02", "1")))(t)
	wantError(t, w.hand().DeleteAccount(w.bank), 400, "archive")
	if !bkper.True(must(w.s.Account(owner, w.book, w.bank))(t).HasTransactionPosted) {
		t.Error("hasTransactionPosted is not true")
	}
	other := must(w.s.CreateAccounts(owner, w.book, []bkper.Account{{Name: "Other", Type: bkper.Asset}}))(t).Items[0]
	in := w.draft("d", "2026-01-02", "1")
	in.CreditAccount = &other
	draft := w.create(in)[0]
	if err := w.hand().DeleteAccount(other.ID); err != nil {
		t.Fatal(err)
	}
	if got := must(w.s.Transaction(owner, w.book, draft.ID))(t); got.CreditAccount != nil {
		t.Errorf("the draft kept %v", got.CreditAccount)
	}
}

func TestTheAgentIsOnWhatItCreates(t *testing.T) {
	w := start(t, bkper.Options{})
	must(w.s.PutApp(owner, bkper.App{ID: "bot", Name: "The Bot", LogoURL: "https://logo.example"}, true))(t)
	bot := owner
	bot.Agent = "bot"
	got := must(w.s.CreateBatch(bot, w.book, []bkper.Transaction{w.draft("r", "2026-01-02", "1")}))(t)[0]
	if got.AgentID != "bot" || got.AgentName != "The Bot" || got.AgentLogo != "https://logo.example" || got.CreatedBy != owner.Email {
		t.Errorf("got %+v", got)
	}
	edited := must(w.hand().Edit(got.ID, bkper.Edit{Description: new("other"), Debit: new("Rent"), Amount: new("2")}))(t).Transaction
	if edited.AgentID != "bot" || edited.Description != "other" || *edited.Amount != "2.00" || edited.DebitAccount.ID != w.rent || edited.CreditAccount.ID != w.bank {
		t.Errorf("after a person's edit: %+v", edited)
	}
}

func TestAppsAreInstalledByIntegrationOnce(t *testing.T) {
	w := start(t, bkper.Options{})
	_, err := w.s.CreateIntegration(owner, w.book, bkper.Integration{AgentID: "bot"})
	wantError(t, err, 404, "App NOT found! ID: bot")
	must(w.s.PutApp(owner, bkper.App{ID: "bot", Name: "Bot", Users: "editor *@other.example"}, true))(t)
	must(w.s.App(editor, "bot"))(t)
	_, err = w.s.App(viewer, "bot")
	wantError(t, err, 404, "bot")
	first := must(w.s.CreateIntegration(editor, w.book, bkper.Integration{AgentID: "bot"}))(t)
	again := must(w.s.CreateIntegration(editor, w.book, bkper.Integration{AgentID: "bot"}))(t)
	if first.ID != again.ID {
		t.Error("installed twice")
	}
	if l := must(w.s.InstalledApps(viewer, w.book))(t); len(l.Items) != 1 || l.Items[0].ID != "bot" {
		t.Errorf("installed = %+v", l)
	}
	must(w.s.DeleteIntegration(editor, w.book, first.ID))(t)
	if l := must(w.s.InstalledApps(viewer, w.book))(t); len(l.Items) != 0 {
		t.Errorf("installed after uninstalling = %+v", l)
	}
	_, err = w.s.DeleteIntegration(editor, w.book, first.ID)
	wantError(t, err, 404, "Integration NOT found")
}

func TestConnectionsAreTheirOwnersAlone(t *testing.T) {
	w := start(t, bkper.Options{})
	c := must(w.s.CreateConnection(owner, bkper.Connection{Name: "Bank", Type: "BANK", Properties: map[string]string{"access_token": "x"}}))(t)
	_, err := w.s.Connection(editor, c.ID)
	wantError(t, err, 404, "Connection NOT found")
	_, err = w.s.CreateIntegration(editor, w.book, bkper.Integration{ConnectionID: c.ID})
	wantError(t, err, 404, "Connection NOT found")
	i := must(w.s.CreateIntegration(owner, w.book, bkper.Integration{ConnectionID: c.ID, Name: "Checking"}))(t)
	if l := must(w.s.ConnectionIntegrations(owner, c.ID))(t); len(l.Items) != 1 || l.Items[0].ID != i.ID {
		t.Errorf("integrations = %+v", l)
	}
	c = must(w.s.UpdateConnection(owner, bkper.Connection{ID: c.ID, Properties: map[string]string{"access_token": ""}}))(t)
	if c.Properties != nil || c.Name != "Bank" {
		t.Errorf("connection = %+v", c)
	}
	if u := must(w.s.User(owner))(t); !u.BankConnections {
		t.Error("the user has no bank connections")
	}
	must(w.s.DeleteConnection(owner, c.ID))(t)
	if l := must(w.s.Integrations(owner, w.book))(t); len(l.Items) != 0 {
		t.Errorf("integrations after deleting the connection = %+v", l)
	}
}

func TestNewTransactionsAreMissingFromListsWhileTheIndexLags(t *testing.T) {
	w := start(t, bkper.Options{})
	w.s.SetLag(time.Second)
	id := w.create(w.draft("r", "2026-01-02", "1"))[0].ID
	if got := w.found(""); got != "" {
		t.Errorf("visible at once: %q", got)
	}
	must(w.s.Transaction(owner, w.book, id))(t)
	if got := w.create(w.draft("r", "2026-01-02", "1")); len(got) != 0 {
		t.Error("the remote id was free while the index lagged")
	}
	w.now = w.now.Add(time.Second)
	if got := w.found(""); got != "r" {
		t.Errorf("after the lag: %q", got)
	}
}

func TestEventsTellWhatHappened(t *testing.T) {
	w := start(t, bkper.Options{})
	tx := must(w.s.Post(owner, w.book, w.full("r", "2026-01-02", "1")))(t).Transaction
	must(w.s.Trash(owner, w.book, tx.ID))(t)
	var kinds []string
	for _, e := range must(w.s.Events(owner, w.book, "", tx.ID, 10))(t).Items {
		kinds = append(kinds, e.Type)
	}
	if !slices.Equal(kinds, []string{"TRANSACTION_DELETED", "TRANSACTION_POSTED"}) {
		t.Errorf("events = %v", kinds)
	}
}

func TestCallersAtOnceCreateARemoteIDOnce(t *testing.T) {
	w := start(t, bkper.Options{})
	var created atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 50 {
				got, err := w.s.CreateBatch(owner, w.book, []bkper.Transaction{w.draft(fmt.Sprint("r", i), "2026-01-02", "1")})
				if err != nil {
					t.Error(err)
				}
				created.Add(int64(len(got)))
				if _, err := w.s.Transactions(viewer, w.book, "account:Bank", 10, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := len(w.find("")); got != 50 || created.Load() != 50 {
		t.Errorf("%d stand, %d answers said created, want 50", got, created.Load())
	}
}

func TestEverythingSurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sandbox.db")
	open := func() *disk.DB {
		db := must(disk.Open(path))(t)
		t.Cleanup(func() { db.Close() })
		return db
	}
	w := start(t, bkper.Options{DB: open()})
	must(w.s.PutApp(owner, bkper.App{ID: "bot", Name: "Bot", Published: new(true)}, true))(t)
	must(w.s.CreateIntegration(owner, w.book, bkper.Integration{AgentID: "bot"}))(t)
	must(w.s.CreateConnection(owner, bkper.Connection{Name: "Bank", Type: "BANK"}))(t)
	gone := w.create(w.draft("gone", "2026-01-02", "1"))[0].ID
	must(w.s.Trash(owner, w.book, gone))(t)
	must(w.s.Post(owner, w.book, w.full("p", "2026-01-03", "4.50")))(t)
	w.create(w.draft("d", "2026-01-02", "1"))
	other := must(w.s.CreateAccounts(owner, w.book, []bkper.Account{{Name: "Other", Type: bkper.Asset}}))(t).Items[0]
	if err := w.hand().DeleteAccount(other.ID); err != nil {
		t.Fatal(err)
	}
	snapshot := func(s *bkper.Service) []any {
		return []any{
			must(s.Book(owner, w.book, true))(t), must(must(s.Hand(w.book))(t).All())(t), must(s.Integrations(owner, w.book))(t),
			must(s.Connections(owner))(t), must(s.Apps(owner))(t), must(s.User(owner))(t), must(s.Collaborators(owner, w.book))(t),
			must(s.Transactions(owner, w.book, "account:Bank", 0, ""))(t), must(s.Transactions(owner, w.book, "is:trashed", 0, ""))(t),
		}
	}
	want := snapshot(w.s)
	again := must(bkper.New(bkper.Options{DB: open(), Now: func() time.Time { return w.now }}))(t)
	if diff := cmp.Diff(want, snapshot(again)); diff != "" {
		t.Errorf("before and after the restart differ:\n%s", diff)
	}
	if got := must(again.CreateBatch(owner, w.book, []bkper.Transaction{w.draft("p", "2026-01-03", "4.50"), w.draft("new", "2026-01-03", "1")}))(t); remoteIDs(got) != "new" {
		t.Errorf("created after the restart: %q", remoteIDs(got))
	}
	for i := range 50 {
		must(again.Create(owner, w.book, w.draft(fmt.Sprint("new", i), "2026-01-03", "1")))(t)
	}
	if got := len(must(must(again.Hand(w.book))(t).All())(t)); got != 54 {
		t.Errorf("%d transactions, want 54: an id was given twice", got)
	}
}

func TestSeedMakesTheSameSharedBooksEveryTime(t *testing.T) {
	client, bookkeeper := bkper.User{Email: "client@example.com", Name: "Client"}, bkper.User{Email: "keeper@example.com", Name: "Keeper"}
	path := filepath.Join(t.TempDir(), "sandbox.db")
	db := must(disk.Open(path))(t)
	t.Cleanup(func() { db.Close() })
	s := must(bkper.New(bkper.Options{DB: db}))(t)
	if err := bkper.Seed(s, client, bookkeeper); err != nil {
		t.Fatal(err)
	}
	permission := func(who bkper.User, currency string) bkper.Permission {
		b, err := s.Book(bkper.Caller{Email: who.Email}, bkper.SeedBookID(currency), true)
		if err != nil {
			return bkper.None
		}
		if b.Properties["exc_code"] != currency {
			t.Errorf("currency of %s = %q", currency, b.Properties["exc_code"])
		}
		return b.Permission
	}
	for currency, want := range map[string][2]bkper.Permission{
		"USD": {bkper.Owner, bkper.Editor}, "GBP": {bkper.Viewer, bkper.Owner}, "AUD": {bkper.None, bkper.Owner}, "CHF": {bkper.Owner, bkper.None},
	} {
		if got := [2]bkper.Permission{permission(client, currency), permission(bookkeeper, currency)}; got != want {
			t.Errorf("%s: permissions %v, want %v", currency, got, want)
		}
	}
	b := must(s.Book(bkper.Caller{Email: client.Email}, bkper.SeedBookID("KWD"), true))(t)
	if *b.FractionDigits != 3 || len(b.Accounts) != 11 || len(b.Groups) != 4 {
		t.Errorf("KWD: %d digits, %d accounts, %d groups", *b.FractionDigits, len(b.Accounts), len(b.Groups))
	}
	if err := must(s.Hand(bkper.SeedBookID("USD")))(t).Delete(); err != nil {
		t.Fatal(err)
	}
	again := must(bkper.New(bkper.Options{DB: db}))(t)
	if err := bkper.Seed(again, client, bookkeeper); err != nil {
		t.Fatal(err)
	}
	if got := len(again.AllBooks()); got != 9 {
		t.Errorf("%d Books after the restart, want 9: the deleted one stays deleted", got)
	}
}
