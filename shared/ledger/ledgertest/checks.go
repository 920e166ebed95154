package ledgertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/secret"
)

// Checks is what every Ledger must pass.
var Checks = []Check{
	{"a user's Books are listed", booksAreListed},
	{"a Book tells what it is", bookTells},
	{"a Book tells what the user may do there", bookTellsPermission},
	{"a Book tells up to when it is locked", bookTellsLock},
	{"an archived Account is told", archivedIsTold},
	{"an expired token is told from a missing permission", tokenIsToldFromPermission},
	{"a permission that was taken away counts at once", revokedCounts},
	{"a viewer writes nothing", viewerWritesNothing},
	{"a missing Book is not found", missingIsNotFound},
	{"an Account is made once", accountIsMadeOnce},
	{"what is created is a draft", createdIsDraft},
	{"what is created is as it was sent", createdIsAsSent},
	{"a remote id that stands is not created again", remoteIDIsUnique},
	{"a remote id twice in a batch makes one record", remoteIDTwiceInBatch},
	{"records are found by any remote id", foundByRemoteID},
	{"records are found by Account whatever its name", foundByAccount},
	{"dates are inclusive on both ends", datesAreInclusive},
	{"all pages together are everything once", pagesAreEverything},
	{"an update changes what it says and keeps the rest", updateKeepsRest},
	{"an update keeps a draft a draft", updateKeepsDraft},
	{"what a person did is seen", personIsSeen},
	{"what a person checked stays as it is", checkedStays},
	{"a merged record carries both remote ids", mergedCarriesBoth},
	{"trashed records are kept apart and come back the same", trashAndRevive},
	{"a refused batch is told, and blames a row", refusedIsTold},
	{"a batch has its bounds", batchIsBounded},
	{"a call ends with its context", callEndsWithContext},
}

var day = civil.Date{Year: 2026, Month: 2, Day: 28}

func (h Harness) tx(remote, amount string) ledger.Transaction {
	return ledger.Transaction{
		RemoteIDs: []string{remote}, Date: day, Amount: decimal.RequireFromString(amount),
		Credit: h.Bank.ID, Description: "CARD 1234 " + remote,
	}
}

func (h Harness) write(ctx context.Context, op ledger.Operation, batch ...ledger.Transaction) ([]ledger.Transaction, error) {
	return h.Ledger.Write(ctx, h.Token, h.Book, op, batch)
}

// create writes one record and returns it as the answer has it.
func (h Harness) create(ctx context.Context, t ledger.Transaction) (ledger.Transaction, error) {
	all, err := h.write(ctx, ledger.Create, t)
	if err != nil {
		return t, fmt.Errorf("create: %w", err)
	}
	if len(all) != 1 || all[0].ID == "" || !slices.Contains(all[0].RemoteIDs, t.RemoteIDs[0]) {
		return t, fmt.Errorf("create answers %+v", all)
	}
	return all[0], nil
}

const mostPages = 10

// find reads all pages.
func (h Harness) find(ctx context.Context, q ledger.Query) ([]ledger.Transaction, error) {
	var all []ledger.Transaction
	for range mostPages {
		page, err := h.Ledger.Find(ctx, h.Token, h.Book, q)
		if err != nil {
			return nil, fmt.Errorf("find %+v: %w", q, err)
		}
		all = append(all, page.Transactions...)
		if q.Cursor = page.Cursor; q.Cursor == "" {
			return all, nil
		}
	}
	return nil, fmt.Errorf("more than %d pages", mostPages)
}

// one finds the only record, standing or trashed, with a remote id.
func (h Harness) one(ctx context.Context, remote string, trashed bool) (ledger.Transaction, error) {
	all, err := h.find(ctx, ledger.Query{RemoteID: remote, Trashed: trashed})
	if err != nil {
		return ledger.Transaction{}, err
	}
	if len(all) != 1 || all[0].Trashed != trashed {
		return ledger.Transaction{}, fmt.Errorf("%d records with remote id %q, trashed %v: %+v", len(all), remote, trashed, all)
	}
	return all[0], nil
}

// none makes sure that no record carries a remote id.
func (h Harness) none(ctx context.Context, remote string, trashed bool) error {
	all, err := h.find(ctx, ledger.Query{RemoteID: remote, Trashed: trashed})
	if err == nil && len(all) > 0 {
		return fmt.Errorf("a record with remote id %q, trashed %v: %+v", remote, trashed, all)
	}
	return err
}

// count makes sure that so many records stand, whatever remote ids they carry.
func (h Harness) count(ctx context.Context, want int) error {
	all, err := h.find(ctx, ledger.Query{Account: h.Bank.Name})
	if err == nil && len(all) != want {
		return fmt.Errorf("%d records, want %d: %+v", len(all), want, all)
	}
	return err
}

// differ compares what a client may write.
func differ(got, want ledger.Transaction) error {
	switch {
	case got.Date != want.Date:
		return fmt.Errorf("date %v, want %v", got.Date, want.Date)
	case !got.Amount.Equal(want.Amount):
		return fmt.Errorf("amount %v, want %v", got.Amount, want.Amount)
	case got.Credit != want.Credit || got.Debit != want.Debit:
		return fmt.Errorf("from %q to %q, want from %q to %q", got.Credit, got.Debit, want.Credit, want.Debit)
	case got.Description != want.Description:
		return fmt.Errorf("description %q, want %q", got.Description, want.Description)
	case !maps.Equal(got.Properties, want.Properties):
		return fmt.Errorf("properties %v, want %v", got.Properties, want.Properties)
	case !slices.Equal(got.RemoteIDs, want.RemoteIDs):
		return fmt.Errorf("remote ids %q, want %q", got.RemoteIDs, want.RemoteIDs)
	case !slices.Equal(got.URLs, want.URLs):
		return fmt.Errorf("URLs %q, want %q", got.URLs, want.URLs)
	}
	return nil
}

// fails makes sure that an error is the condition, of the right kind, and holds no token.
func (h Harness) fails(what string, err, condition error, kind bank.Kind) error {
	var e *bank.Error
	if !errors.Is(err, condition) || !errors.As(err, &e) || e.Kind != kind {
		return fmt.Errorf("%s: %v, want %v of kind %s", what, err, condition, kind)
	}
	for _, other := range []error{ledger.ErrLogin, ledger.ErrNoAccess, ledger.ErrNotFound, ledger.ErrRefused} {
		if other != condition && errors.Is(err, other) {
			return fmt.Errorf("%s: %v is also %v", what, err, other)
		}
	}
	for _, token := range []secret.String{h.Token, h.Stranger, h.Expired} {
		if strings.Contains(err.Error(), token.Reveal()) {
			return fmt.Errorf("%s: the error holds a token", what)
		}
	}
	return nil
}

// everywhere makes sure that all calls about a Book fail alike.
func (h Harness) everywhere(ctx context.Context, token secret.String, book string, condition error, kind bank.Kind) error {
	_, readErr := h.Ledger.Book(ctx, token, book)
	_, findErr := h.Ledger.Find(ctx, token, book, ledger.Query{Account: h.Bank.Name})
	_, accountErr := h.Ledger.CreateAccount(ctx, token, book, ledger.Account{Name: "Nowhere", Type: ledger.Asset})
	_, writeErr := h.Ledger.Write(ctx, token, book, ledger.Create, []ledger.Transaction{h.tx("nowhere", "1")})
	return errors.Join(
		h.fails("Book", readErr, condition, kind), h.fails("Find", findErr, condition, kind),
		h.fails("CreateAccount", accountErr, condition, kind), h.fails("Write", writeErr, condition, kind))
}

func booksAreListed(ctx context.Context, h Harness) error {
	has := func(token secret.String) (bool, error) {
		all, err := h.Ledger.Books(ctx, token)
		return slices.ContainsFunc(all, func(b ledger.Book) bool { return b.ID == h.Book && b.Name != "" && b.Permission == ledger.Editor }), err
	}
	if ok, err := has(h.Token); err != nil || !ok {
		return fmt.Errorf("the user's Book is not listed as it is: %w", cmp.Or(err, errors.New("missing")))
	}
	if ok, err := has(h.Stranger); err != nil || ok {
		return fmt.Errorf("a stranger sees the Book, or an error: %w", cmp.Or(err, errors.New("seen")))
	}
	_, err := h.Ledger.Books(ctx, h.Expired)
	return h.fails("Books", err, ledger.ErrLogin, bank.UserMustAct)
}

func bookTells(ctx context.Context, h Harness) error {
	b, err := h.Ledger.Book(ctx, h.Token, h.Book)
	if err != nil {
		return err
	}
	if b.ID != h.Book || b.Name == "" || b.Digits != 2 || b.Currency != "USD" || !b.Locked.IsZero() {
		return fmt.Errorf("%+v", b)
	}
	for _, a := range []ledger.Account{h.Bank, h.Other} {
		if !slices.Contains(b.Accounts, a) {
			return fmt.Errorf("%+v is not among %+v", a, b.Accounts)
		}
	}
	return nil
}

func bookTellsPermission(ctx context.Context, h Harness) error {
	for _, p := range []ledger.Permission{ledger.Editor, ledger.Poster, ledger.Recorder, ledger.Viewer} {
		if err := h.Hand.Permit(ctx, p); err != nil {
			return err
		}
		b, err := h.Ledger.Book(ctx, h.Token, h.Book)
		if err != nil || b.Permission != p {
			return fmt.Errorf("permission %q, %v, want %q", b.Permission, err, p)
		}
		// Who only records does not see the Accounts.
		if sees := len(b.Accounts) > 0; sees != (p != ledger.Recorder) {
			return fmt.Errorf("%s sees %d Accounts", p, len(b.Accounts))
		}
	}
	return nil
}

func bookTellsLock(ctx context.Context, h Harness) error {
	if err := h.Hand.Lock(ctx, day); err != nil {
		return err
	}
	b, err := h.Ledger.Book(ctx, h.Token, h.Book)
	if err == nil && b.Locked != day {
		return fmt.Errorf("locked until %v, want %v", b.Locked, day)
	}
	return err
}

func archivedIsTold(ctx context.Context, h Harness) error {
	if err := h.Hand.Archive(ctx, h.Other.ID); err != nil {
		return err
	}
	b, err := h.Ledger.Book(ctx, h.Token, h.Book)
	if err != nil {
		return err
	}
	want := h.Other
	want.Archived = true
	if !slices.Contains(b.Accounts, want) || !slices.Contains(b.Accounts, h.Bank) {
		return fmt.Errorf("%+v", b.Accounts)
	}
	return nil
}

func tokenIsToldFromPermission(ctx context.Context, h Harness) error {
	return errors.Join(
		h.everywhere(ctx, h.Expired, h.Book, ledger.ErrLogin, bank.UserMustAct),
		h.everywhere(ctx, h.Stranger, h.Book, ledger.ErrNoAccess, bank.UserMustAct))
}

func revokedCounts(ctx context.Context, h Harness) error {
	if _, err := h.create(ctx, h.tx("r1", "1")); err != nil {
		return err
	}
	if err := h.Hand.Permit(ctx, ledger.None); err != nil {
		return err
	}
	return h.everywhere(ctx, h.Token, h.Book, ledger.ErrNoAccess, bank.UserMustAct)
}

func viewerWritesNothing(ctx context.Context, h Harness) error {
	t, err := h.create(ctx, h.tx("r1", "1"))
	if err != nil {
		return err
	}
	if err := h.Hand.Permit(ctx, ledger.Viewer); err != nil {
		return err
	}
	t.Description = "changed"
	for op, batch := range map[ledger.Operation]ledger.Transaction{ledger.Create: h.tx("r2", "1"), ledger.Update: t, ledger.Trash: t} {
		_, err := h.write(ctx, op, batch)
		if err := h.fails(string(op), err, ledger.ErrNoAccess, bank.UserMustAct); err != nil {
			return err
		}
	}
	now, err := h.one(ctx, "r1", false)
	if err != nil {
		return err
	}
	if now.Description == "changed" {
		return errors.New("a viewer changed a record")
	}
	return h.none(ctx, "r2", false)
}

func missingIsNotFound(ctx context.Context, h Harness) error {
	return errors.Join(
		h.everywhere(ctx, h.Token, h.Missing, ledger.ErrNotFound, bank.Permanent),
		h.everywhere(ctx, h.Token, "../"+h.Book, ledger.ErrNotFound, bank.Permanent))
}

func accountIsMadeOnce(ctx context.Context, h Harness) error {
	made, err := h.Ledger.CreateAccount(ctx, h.Token, h.Book, ledger.Account{Name: "Gold Card", Type: ledger.Liability})
	if err != nil {
		return err
	}
	if made.ID == "" || made.Name != "Gold Card" || made.Type != ledger.Liability {
		return fmt.Errorf("made %+v", made)
	}
	b, err := h.Ledger.Book(ctx, h.Token, h.Book)
	if err != nil {
		return err
	}
	if !slices.Contains(b.Accounts, made) {
		return fmt.Errorf("%+v is not among %+v", made, b.Accounts)
	}
	_, err = h.Ledger.CreateAccount(ctx, h.Token, h.Book, ledger.Account{Name: "Gold Card", Type: ledger.Asset})
	return h.fails("the same name", err, ledger.ErrRefused, bank.Permanent)
}

func createdIsDraft(ctx context.Context, h Harness) error {
	complete := h.tx("r1", "10")
	complete.Debit = h.Other.ID
	for _, t := range []ledger.Transaction{complete, h.tx("r2", "10")} {
		made, err := h.create(ctx, t)
		if err != nil {
			return err
		}
		now, err := h.one(ctx, t.RemoteIDs[0], false)
		if err != nil {
			return err
		}
		if made.Posted || made.Checked || now.Posted || now.Checked {
			return fmt.Errorf("%s is posted", t.RemoteIDs[0])
		}
	}
	return nil
}

func createdIsAsSent(ctx context.Context, h Harness) error {
	out, in := h.tx("out", "1234.5"), h.tx("in", "0.01")
	in.Credit, in.Debit = "", h.Bank.ID
	in.Properties = map[string]string{"bank_text": "ÇA & <b> 'q' \"Q\" 100%", "pending": "yes"}
	in.URLs = []string{"https://bank.example/a?b=c&d=é"}
	in.RemoteIDs = []string{"in", "in-alias"}
	odd := h.tx("odd", "12345678901234567890.12")
	odd.Description = "  PIX – «ação» #tag 'q' \"Q\" \\n account:'x' \U0001F4B6  "
	odd.Date = civil.Date{Year: 2024, Month: 2, Day: 29}
	whole := h.tx("whole", "100")
	whole.Date = civil.Date{Year: 2025, Month: 12, Day: 31}
	for _, t := range []ledger.Transaction{out, in, odd, whole} {
		made, err := h.create(ctx, t)
		if err != nil {
			return err
		}
		now, err := h.one(ctx, t.RemoteIDs[0], false)
		if err != nil {
			return err
		}
		if err := errors.Join(differ(made, t), differ(now, t)); err != nil {
			return fmt.Errorf("%s: %w", t.RemoteIDs[0], err)
		}
		if now.ID != made.ID {
			return fmt.Errorf("%s: id %s in the answer and %s later", t.RemoteIDs[0], made.ID, now.ID)
		}
	}
	return nil
}

func remoteIDIsUnique(ctx context.Context, h Harness) error {
	first, err := h.create(ctx, h.tx("r2", "2"))
	if err != nil {
		return err
	}
	answer, err := h.write(ctx, ledger.Create, h.tx("r1", "1"), h.tx("r2", "99"), h.tx("r3", "3"))
	if err != nil {
		return err
	}
	for _, want := range []ledger.Transaction{h.tx("r1", "1"), h.tx("r2", "2"), h.tx("r3", "3")} {
		now, err := h.one(ctx, want.RemoteIDs[0], false)
		if err != nil {
			return err
		}
		if err := differ(now, want); err != nil {
			return fmt.Errorf("%s: %w", want.RemoteIDs[0], err)
		}
		// The answer may show what stands already, but must show it as it stands.
		for _, a := range answer {
			if slices.Contains(a.RemoteIDs, want.RemoteIDs[0]) && a.ID != now.ID {
				return fmt.Errorf("%s: id %s in the answer, %s in the Book", want.RemoteIDs[0], a.ID, now.ID)
			}
		}
		if now.RemoteIDs[0] == "r2" && now.ID != first.ID {
			return fmt.Errorf("r2 was %s and is %s", first.ID, now.ID)
		}
	}
	if len(answer) < 2 {
		return fmt.Errorf("the new ones are not in the answer: %+v", answer)
	}
	return h.count(ctx, 3)
}

func remoteIDTwiceInBatch(ctx context.Context, h Harness) error {
	if _, err := h.write(ctx, ledger.Create, h.tx("r1", "1"), h.tx("r1", "1"), h.tx("r2", "2")); err != nil {
		return err
	}
	_, err := h.one(ctx, "r1", false)
	_, other := h.one(ctx, "r2", false)
	return errors.Join(err, other, h.count(ctx, 2))
}

func foundByRemoteID(ctx context.Context, h Harness) error {
	ids := []string{
		"plain_1-A", "has space", "is:trashed", "plus+and&hash#%25", "slash/é", "o'clock", `"quoted"`, "x' after:2099-01-01 '", "a", "A",
	}
	for _, id := range ids {
		if _, err := h.create(ctx, h.tx(id, "1")); err != nil {
			return fmt.Errorf("%q: %w", id, err)
		}
	}
	for _, id := range ids {
		if _, err := h.one(ctx, id, false); err != nil {
			return err
		}
	}
	return h.none(ctx, "plain_1", false)
}

func foundByAccount(ctx context.Context, h Harness) error {
	for _, name := range []string{"Conta Itaú & Filhos", "Pete's Account", "100% - is:trashed"} {
		made, err := h.Ledger.CreateAccount(ctx, h.Token, h.Book, ledger.Account{Name: name, Type: ledger.Asset})
		if err != nil {
			return err
		}
		from, to := h.tx("from "+made.ID, "1"), h.tx("to "+made.ID, "1")
		from.Credit, to.Credit, to.Debit = made.ID, h.Bank.ID, made.ID
		if _, err := h.write(ctx, ledger.Create, from, to, h.tx("not "+made.ID, "1")); err != nil {
			return err
		}
		all, err := h.find(ctx, ledger.Query{Account: name})
		if err != nil {
			return err
		}
		if len(all) != 2 || all[0].Credit != made.ID && all[0].Debit != made.ID {
			return fmt.Errorf("%q: found %+v", name, all)
		}
	}
	return nil
}

func datesAreInclusive(ctx context.Context, h Harness) error {
	var batch []ledger.Transaction
	for i, text := range []string{"2025-12-30", "2025-12-31", "2026-01-01", "2026-02-28", "2026-03-01"} {
		t := h.tx(text, fmt.Sprint(i+1))
		t.Date, _ = civil.ParseDate(text)
		batch = append(batch, t)
	}
	if _, err := h.write(ctx, ledger.Create, batch...); err != nil {
		return err
	}
	for _, row := range []struct {
		from, to civil.Date
		want     []string
	}{
		{batch[1].Date, batch[3].Date, []string{"2025-12-31", "2026-01-01", "2026-02-28"}},
		{batch[2].Date, batch[2].Date, []string{"2026-01-01"}},
		{batch[3].Date, civil.Date{}, []string{"2026-02-28", "2026-03-01"}},
		{civil.Date{}, batch[1].Date, []string{"2025-12-30", "2025-12-31"}},
	} {
		all, err := h.find(ctx, ledger.Query{Account: h.Bank.Name, From: row.from, To: row.to})
		if err != nil {
			return err
		}
		var got []string
		for _, t := range all {
			got = append(got, t.Date.String())
		}
		slices.Sort(got)
		if !slices.Equal(got, row.want) {
			return fmt.Errorf("from %v to %v: %v, want %v", row.from, row.to, got, row.want)
		}
	}
	return nil
}

func pagesAreEverything(ctx context.Context, h Harness) error {
	const batches = 6
	want := map[string]bool{}
	for b := range batches {
		var batch []ledger.Transaction
		for i := range ledger.MaxBatch {
			t := h.tx(fmt.Sprintf("p%d-%d", b, i), "1")
			want[t.RemoteIDs[0]] = true
			batch = append(batch, t)
		}
		answer, err := h.write(ctx, ledger.Create, batch...)
		if err != nil || len(answer) != len(batch) {
			return fmt.Errorf("%d of %d created: %w", len(answer), len(batch), cmp.Or(err, errors.New("the rest is missing")))
		}
	}
	first, err := h.Ledger.Find(ctx, h.Token, h.Book, ledger.Query{Account: h.Bank.Name})
	if err != nil {
		return err
	}
	if n := len(first.Transactions); n == 0 || n > 1000 {
		return fmt.Errorf("a page of %d", n)
	}
	all, err := h.find(ctx, ledger.Query{Account: h.Bank.Name})
	if err != nil {
		return err
	}
	for _, t := range all {
		delete(want, t.RemoteIDs[0])
	}
	if len(all) != batches*ledger.MaxBatch || len(want) > 0 {
		return fmt.Errorf("%d found, %d missing", len(all), len(want))
	}
	return nil
}

func updateKeepsRest(ctx context.Context, h Harness) error {
	t := h.tx("r1", "10")
	t.Debit, t.RemoteIDs = h.Other.ID, []string{"r1", "r1-pending"}
	t.Properties, t.URLs = map[string]string{"colour": "red"}, []string{"https://bank.example/1"}
	made, err := h.create(ctx, t)
	if err != nil {
		return err
	}
	if err := h.Hand.Attach(ctx, made.ID, "receipt.txt"); err != nil {
		return err
	}
	want, err := h.one(ctx, "r1", false)
	if err != nil {
		return err
	}
	want.Amount, want.Date, want.Description = decimal.RequireFromString("11.25"), day.AddDays(1), "CARD settled"
	answer, err := h.write(ctx, ledger.Update, want)
	if err != nil || len(answer) != 1 {
		return fmt.Errorf("update answers %+v, %w", answer, cmp.Or(err, errors.New("not one record")))
	}
	now, err := h.one(ctx, "r1", false)
	if err != nil {
		return err
	}
	if err := errors.Join(differ(answer[0], want), differ(now, want)); err != nil {
		return err
	}
	if now.ID != made.ID || now.Posted {
		return fmt.Errorf("%s became %+v", made.ID, now)
	}
	if !strings.Contains(string(now.Files), "receipt.txt") {
		return fmt.Errorf("files %s", now.Files)
	}
	return nil
}

func updateKeepsDraft(ctx context.Context, h Harness) error {
	t, err := h.create(ctx, h.tx("r1", "10"))
	if err != nil {
		return err
	}
	t.Debit = h.Other.ID
	if _, err := h.write(ctx, ledger.Update, t); err != nil {
		return err
	}
	now, err := h.one(ctx, "r1", false)
	if err != nil {
		return err
	}
	if now.Posted {
		return errors.New("completing a draft posted it")
	}
	return differ(now, t)
}

func personIsSeen(ctx context.Context, h Harness) error {
	t := h.tx("r1", "10")
	t.Debit = h.Other.ID
	made, err := h.create(ctx, t)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		do              func(context.Context, string) error
		posted, checked bool
	}{{h.Hand.Post, true, false}, {h.Hand.Check, true, true}, {h.Hand.Uncheck, true, false}} {
		if err := step.do(ctx, made.ID); err != nil {
			return err
		}
		now, err := h.one(ctx, "r1", false)
		if err != nil {
			return err
		}
		if now.Posted != step.posted || now.Checked != step.checked {
			return fmt.Errorf("posted %v, checked %v, want %v, %v", now.Posted, now.Checked, step.posted, step.checked)
		}
	}
	if err := h.Hand.Trash(ctx, made.ID); err != nil {
		return err
	}
	if _, err := h.one(ctx, "r1", true); err != nil {
		return err
	}
	return h.none(ctx, "r1", false)
}

func checkedStays(ctx context.Context, h Harness) error {
	t := h.tx("r1", "10")
	t.Debit = h.Other.ID
	made, err := h.create(ctx, t)
	if err != nil {
		return err
	}
	if err := errors.Join(h.Hand.Post(ctx, made.ID), h.Hand.Check(ctx, made.ID)); err != nil {
		return err
	}
	changed := made
	changed.Posted, changed.Checked, changed.Description = true, true, "changed"
	// Whether the service leaves it out or refuses is its own affair; it must not stand in the answer as changed.
	answer, err := h.write(ctx, ledger.Update, changed)
	if err != nil && !errors.Is(err, ledger.ErrRefused) || err == nil && len(answer) > 0 {
		return fmt.Errorf("update answers %+v, %v", answer, err)
	}
	if _, err := h.write(ctx, ledger.Trash, made); err != nil && !errors.Is(err, ledger.ErrRefused) {
		return err
	}
	now, err := h.one(ctx, "r1", false)
	if err != nil {
		return err
	}
	if !now.Checked {
		return errors.New("the check is gone")
	}
	return differ(now, made)
}

func mergedCarriesBoth(ctx context.Context, h Harness) error {
	one, err := h.create(ctx, h.tx("r1", "10"))
	if err != nil {
		return err
	}
	two, err := h.create(ctx, h.tx("r2", "10"))
	if err != nil {
		return err
	}
	if err := h.Hand.Merge(ctx, one.ID, two.ID); err != nil {
		return err
	}
	byOne, err := h.one(ctx, "r1", false)
	if err != nil {
		return err
	}
	byTwo, err := h.one(ctx, "r2", false)
	if err != nil {
		return err
	}
	if byOne.ID != byTwo.ID || byOne.ID == one.ID || byOne.ID == two.ID {
		return fmt.Errorf("%s and %s merged into %s and %s", one.ID, two.ID, byOne.ID, byTwo.ID)
	}
	return nil
}

func trashAndRevive(ctx context.Context, h Harness) error {
	t := h.tx("r1", "10")
	t.Properties, t.RemoteIDs = map[string]string{"colour": "red"}, []string{"r1", "r1-pending"}
	made, err := h.create(ctx, t)
	if err != nil {
		return err
	}
	stays, err := h.create(ctx, h.tx("r2", "1"))
	if err != nil {
		return err
	}
	if _, err := h.write(ctx, ledger.Trash, made); err != nil {
		return err
	}
	binned, err := h.one(ctx, "r1-pending", true)
	if err != nil {
		return err
	}
	standing, err := h.find(ctx, ledger.Query{Account: h.Bank.Name})
	if err != nil {
		return err
	}
	trashed, err := h.find(ctx, ledger.Query{Account: h.Bank.Name, From: day, To: day, Trashed: true})
	if err != nil {
		return err
	}
	if len(standing) != 1 || standing[0].ID != stays.ID || len(trashed) != 1 || trashed[0].ID != made.ID {
		return fmt.Errorf("standing %+v, trashed %+v", standing, trashed)
	}
	if _, err := h.write(ctx, ledger.Revive, binned); err != nil {
		return err
	}
	now, err := h.one(ctx, "r1", false)
	if err != nil {
		return err
	}
	if now.ID != made.ID {
		return fmt.Errorf("%s came back as %s", made.ID, now.ID)
	}
	return errors.Join(differ(now, t), h.none(ctx, "r1", true))
}

func refusedIsTold(ctx context.Context, h Harness) error {
	bad := h.tx("bad", "1")
	bad.Credit = "9999999999999999"
	_, err := h.write(ctx, ledger.Create, bad, h.tx("good", "1"))
	if err := h.fails("an Account that is not there", err, ledger.ErrRefused, bank.Permanent); err != nil {
		return err
	}
	gone := h.tx("gone", "1")
	gone.ID = "9999999999999998"
	for _, op := range []ledger.Operation{ledger.Update, ledger.Trash, ledger.Revive} {
		_, err := h.write(ctx, op, gone)
		if err := h.fails(string(op)+" of a transaction that is not there", err, ledger.ErrRefused, bank.Permanent); err != nil {
			return err
		}
	}
	return errors.Join(h.none(ctx, "bad", false), h.none(ctx, "good", false))
}

func batchIsBounded(ctx context.Context, h Harness) error {
	if answer, err := h.write(ctx, ledger.Create); err != nil || len(answer) > 0 {
		return fmt.Errorf("an empty batch: %+v, %w", answer, cmp.Or(err, errors.New("not empty")))
	}
	var batch []ledger.Transaction
	for i := range ledger.MaxBatch + 1 {
		batch = append(batch, h.tx(fmt.Sprint("b", i), "1"))
	}
	if _, err := h.write(ctx, ledger.Create, batch...); bank.KindOf(err) != bank.OurFault {
		return fmt.Errorf("a batch of %d: %v", len(batch), err)
	}
	if _, err := h.write(ctx, "merge", h.tx("b0", "1")); bank.KindOf(err) != bank.OurFault {
		return fmt.Errorf("an unknown operation: %v", err)
	}
	negative := h.tx("b0", "-1")
	if _, err := h.write(ctx, ledger.Create, negative); bank.KindOf(err) != bank.OurFault {
		return fmt.Errorf("a negative amount: %v", err)
	}
	return h.none(ctx, "b0", false)
}

func callEndsWithContext(ctx context.Context, h Harness) error {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := h.Ledger.Write(ended, h.Token, h.Book, ledger.Create, []ledger.Transaction{h.tx("late", "1")}); !errors.Is(err, context.Canceled) || bank.KindOf(err) != bank.Retry {
		return fmt.Errorf("write: %v", err)
	}
	if _, err := h.Ledger.Book(ended, h.Token, h.Book); !errors.Is(err, context.Canceled) || bank.KindOf(err) != bank.Retry {
		return fmt.Errorf("read: %v", err)
	}
	return h.none(ctx, "late", false)
}
