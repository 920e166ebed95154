package bkper_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/ledger/bkper"
	"github.com/bkper/automations-portal/shared/ledger/ledgertest"
	sandbox "github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/secret"
)

const (
	owner, editor, stranger = "owner@example.org", "editor@example.org", "stranger@example.org"
	editorToken             = "ya29.editor-token"
	strangerToken           = "ya29.stranger-token"
)

func whose(token string) (email, sub string, ok bool) {
	switch token {
	case editorToken:
		return editor, "110", true
	case strangerToken:
		return stranger, "120", true
	}
	return "", "", false
}

// world is a sandbox of Bkper behind HTTP, with a Client that speaks to it.
func world(t *testing.T, rules sandbox.Rules) ledgertest.Harness {
	t.Helper()
	s, err := sandbox.New(sandbox.Options{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sandbox.NewServer(s, whose))
	t.Cleanup(server.Close)
	client, err := bkper.New(bkper.Config{BaseURL: server.URL, Agent: "automations-portal", HTTP: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	h := ledgertest.Harness{
		Ledger: client, Token: secret.New(editorToken), Stranger: secret.New(strangerToken), Expired: secret.New("ya29.expired-token"),
		Missing: "agtzfmJrcGVyLWhyZHITCxIGTGVkZ2VyGAAA",
	}
	if err := populate(s, &h); err != nil {
		t.Fatal(err)
	}
	return h
}

func populate(s *sandbox.Service, h *ledgertest.Harness) error {
	who := sandbox.Caller{Email: owner}
	if err := s.AddUser(sandbox.User{Email: owner}); err != nil {
		return err
	}
	b, err := s.CreateBook(who, sandbox.Book{Name: "Shop", AutoPost: new(true), Properties: map[string]string{"exc_code": "USD"}})
	if err != nil {
		return err
	}
	if _, err := s.Share(who, b.ID, sandbox.Collaborator{Email: editor, Permission: sandbox.Editor}); err != nil {
		return err
	}
	made, err := s.CreateAccounts(who, b.ID, []sandbox.Account{{Name: "Bank", Type: sandbox.Asset}, {Name: "Groceries", Type: sandbox.Outgoing}})
	if err != nil {
		return err
	}
	h.Book = b.ID
	h.Bank = ledger.Account{ID: made.Items[0].ID, Name: "Bank", Type: ledger.Asset}
	h.Other = ledger.Account{ID: made.Items[1].ID, Name: "Groceries", Type: ledger.Outgoing}
	hand, err := s.Hand(b.ID)
	h.Hand = ledgertest.Hand{
		Post:    turn(hand.Post),
		Check:   turn(hand.Check),
		Uncheck: turn(hand.Uncheck),
		Trash:   turn(hand.Trash),
		Merge:   func(_ context.Context, one, two string) error { _, err := hand.Merge(one, two); return err },
		Archive: func(_ context.Context, id string) error { return hand.Archive(id, true) },
		Lock:    func(_ context.Context, until civil.Date) error { _, err := hand.Lock(until.String()); return err },
		Permit:  func(_ context.Context, p ledger.Permission) error { return hand.Permit(editor, sandbox.Permission(p)) },
		Attach: func(_ context.Context, id, file string) error {
			t, err := s.Transaction(who, b.ID, id)
			if err != nil {
				return err
			}
			t.Files = append(t.Files, sandbox.File{ID: "f1", Name: file, ContentType: "text/plain", URL: "https://files.example/f1"})
			_, err = s.Update(who, b.ID, t)
			return err
		},
	}
	return err
}

func turn(do func(string) (sandbox.TransactionOperation, error)) func(context.Context, string) error {
	return func(_ context.Context, id string) error {
		_, err := do(id)
		return err
	}
}

// TestBkperIsALedger runs the suite under every answer that Bkper may give where nothing public says which.
func TestBkperIsALedger(t *testing.T) {
	for name, rules := range map[string]sandbox.Rules{
		"strictest":           {},
		"duplicates returned": {BatchDuplicatesReturned: true, SingleDuplicateReturned: true},
		"trash blocks":        {TrashedBlocks: true},
		"prefix kept":         {BatchKeepsPrefix: true},
		"other forms":         {VoidIsObject: true, Int64IsNumber: true, LockedDrafts: true, Rounds: true},
	} {
		t.Run(name, func(t *testing.T) {
			ledgertest.Run(t, func(t *testing.T) ledgertest.Harness { return world(t, rules) })
		})
	}
}

// spoilt is a Ledger with parts replaced; a nil part works.
type spoilt struct {
	ledger.Ledger
	books  func(ctx context.Context, token secret.String) ([]ledger.Book, error)
	book   func(ctx context.Context, token secret.String, id string) (ledger.Book, error)
	create func(ctx context.Context, token secret.String, book string, a ledger.Account) (ledger.Account, error)
	find   func(ctx context.Context, token secret.String, book string, q ledger.Query) (ledger.Found, error)
	write  func(ctx context.Context, token secret.String, book string, op ledger.Operation, batch []ledger.Transaction) ([]ledger.Transaction, error)
}

func (s *spoilt) Books(ctx context.Context, token secret.String) ([]ledger.Book, error) {
	if s.books != nil {
		return s.books(ctx, token)
	}
	return s.Ledger.Books(ctx, token)
}

func (s *spoilt) Book(ctx context.Context, token secret.String, id string) (ledger.Book, error) {
	if s.book != nil {
		return s.book(ctx, token, id)
	}
	return s.Ledger.Book(ctx, token, id)
}

func (s *spoilt) CreateAccount(ctx context.Context, token secret.String, book string, a ledger.Account) (ledger.Account, error) {
	if s.create != nil {
		return s.create(ctx, token, book, a)
	}
	return s.Ledger.CreateAccount(ctx, token, book, a)
}

func (s *spoilt) Find(ctx context.Context, token secret.String, book string, q ledger.Query) (ledger.Found, error) {
	if s.find != nil {
		return s.find(ctx, token, book, q)
	}
	return s.Ledger.Find(ctx, token, book, q)
}

func (s *spoilt) Write(ctx context.Context, token secret.String, book string, op ledger.Operation, batch []ledger.Transaction) ([]ledger.Transaction, error) {
	if s.write != nil {
		return s.write(ctx, token, book, op, batch)
	}
	return s.Ledger.Write(ctx, token, book, op, batch)
}

// The kinds of damage.

func seesBook(damage func(*ledger.Book)) func(*ledgertest.Harness, *spoilt) {
	return func(_ *ledgertest.Harness, s *spoilt) {
		s.book = func(ctx context.Context, token secret.String, id string) (ledger.Book, error) {
			b, err := s.Ledger.Book(ctx, token, id)
			damage(&b)
			return b, err
		}
	}
}

func asks(damage func(*ledger.Query)) func(*ledgertest.Harness, *spoilt) {
	return func(_ *ledgertest.Harness, s *spoilt) {
		s.find = func(ctx context.Context, token secret.String, book string, q ledger.Query) (ledger.Found, error) {
			damage(&q)
			return s.Ledger.Find(ctx, token, book, q)
		}
	}
}

func finds(damage func(ledger.Query, *ledger.Found)) func(*ledgertest.Harness, *spoilt) {
	return func(_ *ledgertest.Harness, s *spoilt) {
		s.find = func(ctx context.Context, token secret.String, book string, q ledger.Query) (ledger.Found, error) {
			f, err := s.Ledger.Find(ctx, token, book, q)
			damage(q, &f)
			return f, err
		}
	}
}

func sends(op ledger.Operation, damage func(*ledger.Transaction)) func(*ledgertest.Harness, *spoilt) {
	return func(_ *ledgertest.Harness, s *spoilt) {
		s.write = func(ctx context.Context, token secret.String, book string, o ledger.Operation, batch []ledger.Transaction) ([]ledger.Transaction, error) {
			if o == op {
				batch = slices.Clone(batch)
				for i := range batch {
					damage(&batch[i])
				}
			}
			return s.Ledger.Write(ctx, token, book, o, batch)
		}
	}
}

func writes(damage func(h *ledgertest.Harness, ctx context.Context, op ledger.Operation, batch []ledger.Transaction, send func(ledger.Operation, []ledger.Transaction) ([]ledger.Transaction, error)) ([]ledger.Transaction, error)) func(*ledgertest.Harness, *spoilt) {
	return func(h *ledgertest.Harness, s *spoilt) {
		s.write = func(ctx context.Context, token secret.String, book string, op ledger.Operation, batch []ledger.Transaction) ([]ledger.Transaction, error) {
			return damage(h, ctx, op, batch, func(op ledger.Operation, batch []ledger.Transaction) ([]ledger.Transaction, error) {
				return s.Ledger.Write(ctx, token, book, op, batch)
			})
		}
	}
}

func errs(damage func(error, secret.String) error) func(*ledgertest.Harness, *spoilt) {
	return func(_ *ledgertest.Harness, s *spoilt) {
		hurt := func(err error, token secret.String) error {
			if err == nil {
				return nil
			}
			return damage(err, token)
		}
		s.book = func(ctx context.Context, token secret.String, id string) (ledger.Book, error) {
			b, err := s.Ledger.Book(ctx, token, id)
			return b, hurt(err, token)
		}
		s.write = func(ctx context.Context, token secret.String, book string, op ledger.Operation, batch []ledger.Transaction) ([]ledger.Transaction, error) {
			all, err := s.Ledger.Write(ctx, token, book, op, batch)
			return all, hurt(err, token)
		}
	}
}

type (
	sender = func(ledger.Operation, []ledger.Transaction) ([]ledger.Transaction, error)
	rows   = []ledger.Transaction
)

// faults are mistakes that a Ledger can make, each with the check that must see it.
var faults = []struct {
	name   string
	caught string
	spoil  func(*ledgertest.Harness, *spoilt)
}{
	{"posts what it creates", "what is created is a draft", writes(func(h *ledgertest.Harness, ctx context.Context, op ledger.Operation, batch rows, send sender) (rows, error) {
		all, err := send(op, batch)
		for i := range all {
			if op == ledger.Create && all[i].Credit != "" && all[i].Debit != "" {
				err = errors.Join(err, h.Hand.Post(ctx, all[i].ID))
			}
		}
		return all, err
	})},
	{"posts a draft that becomes complete", "an update keeps a draft a draft", writes(func(h *ledgertest.Harness, ctx context.Context, op ledger.Operation, batch rows, send sender) (rows, error) {
		all, err := send(op, batch)
		if op == ledger.Update && err == nil && len(all) > 0 {
			err = h.Hand.Post(ctx, all[0].ID)
		}
		return all, err
	})},
	{"writes what was skipped without its remote id", "a remote id that stands is not created again", writes(func(_ *ledgertest.Harness, _ context.Context, op ledger.Operation, batch rows, send sender) (rows, error) {
		all, err := send(op, batch)
		for _, t := range batch {
			if op == ledger.Create && err == nil && !slices.ContainsFunc(all, func(a ledger.Transaction) bool { return slices.Equal(a.RemoteIDs, t.RemoteIDs) }) {
				t.RemoteIDs = nil
				_, err = send(op, []ledger.Transaction{t})
			}
		}
		return all, err
	})},
	{"amends what stands instead of skipping it", "a remote id that stands is not created again", func(_ *ledgertest.Harness, s *spoilt) {
		s.write = func(ctx context.Context, token secret.String, book string, op ledger.Operation, batch []ledger.Transaction) ([]ledger.Transaction, error) {
			all, err := s.Ledger.Write(ctx, token, book, op, batch)
			if op != ledger.Create || err != nil {
				return all, err
			}
			for _, t := range batch {
				found, err := s.Ledger.Find(ctx, token, book, ledger.Query{RemoteID: t.RemoteIDs[0]})
				if err != nil || len(found.Transactions) != 1 {
					return all, err
				}
				t.ID = found.Transactions[0].ID
				if _, err := s.Ledger.Write(ctx, token, book, ledger.Update, []ledger.Transaction{t}); err != nil {
					return all, err
				}
			}
			return all, nil
		}
	}},
	{"answers by place", "a remote id that stands is not created again", writes(func(_ *ledgertest.Harness, _ context.Context, op ledger.Operation, batch rows, send sender) (rows, error) {
		all, err := send(op, batch)
		if op != ledger.Create {
			return all, err
		}
		mixed := slices.Clone(batch[:min(len(batch), len(all))])
		for i := range mixed {
			mixed[i].ID = all[i].ID
		}
		return mixed, err
	})},
	{"sends a remote id twice to a service that takes it", "a remote id twice in a batch makes one record", writes(func(_ *ledgertest.Harness, _ context.Context, op ledger.Operation, batch rows, send sender) (rows, error) {
		batch = slices.Clone(batch)
		for i := 1; i < len(batch); i++ {
			if slices.Equal(batch[i].RemoteIDs, batch[0].RemoteIDs) {
				batch[i].RemoteIDs = nil
			}
		}
		return send(op, batch)
	})},
	{"refuses a batch with a remote id twice", "a remote id twice in a batch makes one record", writes(func(_ *ledgertest.Harness, _ context.Context, op ledger.Operation, batch rows, send sender) (rows, error) {
		if len(batch) > 1 && batch[0].RemoteIDs[0] == batch[1].RemoteIDs[0] {
			return nil, &bank.Error{Kind: bank.Permanent, Err: ledger.ErrRefused}
		}
		return send(op, batch)
	})},
	{"swaps the direction", "what is created is as it was sent", sends(ledger.Create, func(t *ledger.Transaction) { t.Credit, t.Debit = t.Debit, t.Credit })},
	{"computes with floats", "what is created is as it was sent", sends(ledger.Create, func(t *ledger.Transaction) {
		t.Amount = decimal.NewFromFloat(t.Amount.InexactFloat64()).Round(2)
	})},
	{"moves the date to UTC", "what is created is as it was sent", sends(ledger.Create, func(t *ledger.Transaction) { t.Date = t.Date.AddDays(-1) })},
	{"trims the text", "what is created is as it was sent", sends(ledger.Create, func(t *ledger.Transaction) { t.Description = strings.TrimSpace(t.Description) })},
	{"sends one remote id", "what is created is as it was sent", sends(ledger.Create, func(t *ledger.Transaction) { t.RemoteIDs = t.RemoteIDs[:1] })},
	{"forgets properties", "what is created is as it was sent", sends(ledger.Create, func(t *ledger.Transaction) { t.Properties = nil })},
	{"forgets URLs", "what is created is as it was sent", sends(ledger.Create, func(t *ledger.Transaction) { t.URLs = nil })},
	{"drops remote ids on update", "an update changes what it says and keeps the rest", sends(ledger.Update, func(t *ledger.Transaction) { t.RemoteIDs = nil })},
	{"drops properties on update", "an update changes what it says and keeps the rest", sends(ledger.Update, func(t *ledger.Transaction) { t.Properties = nil })},
	{"drops URLs on update", "an update changes what it says and keeps the rest", sends(ledger.Update, func(t *ledger.Transaction) { t.URLs = nil })},
	{"drops files on update", "an update changes what it says and keeps the rest", sends(ledger.Update, func(t *ledger.Transaction) { t.Files = nil })},
	{"drops the other side on update", "an update changes what it says and keeps the rest", sends(ledger.Update, func(t *ledger.Transaction) { t.Debit = "" })},
	{"updates the amount only", "an update changes what it says and keeps the rest", sends(ledger.Update, func(t *ledger.Transaction) { t.Description, t.Date = "CARD 1234 r1", t.Date.AddDays(-1) })},
	{"does not update", "an update changes what it says and keeps the rest", writes(func(_ *ledgertest.Harness, _ context.Context, op ledger.Operation, batch rows, send sender) (rows, error) {
		if op == ledger.Update {
			return batch, nil
		}
		return send(op, batch)
	})},
	{"unchecks to update", "what a person checked stays as it is", writes(func(h *ledgertest.Harness, ctx context.Context, op ledger.Operation, batch rows, send sender) (rows, error) {
		if op == ledger.Update {
			if err := h.Hand.Uncheck(ctx, batch[0].ID); err != nil {
				return nil, err
			}
		}
		return send(op, batch)
	})},
	{"trashes what is checked", "what a person checked stays as it is", writes(func(h *ledgertest.Harness, ctx context.Context, op ledger.Operation, batch rows, send sender) (rows, error) {
		if op == ledger.Trash {
			if err := h.Hand.Uncheck(ctx, batch[0].ID); err != nil {
				return nil, err
			}
		}
		return send(op, batch)
	})},
	{"finds no trash", "trashed records are kept apart and come back the same", asks(func(q *ledger.Query) { q.Trashed = false })},
	{"does not trash", "trashed records are kept apart and come back the same", writes(func(_ *ledgertest.Harness, _ context.Context, op ledger.Operation, batch rows, send sender) (rows, error) {
		if op == ledger.Trash {
			return nil, nil
		}
		return send(op, batch)
	})},
	{"revives by creating", "trashed records are kept apart and come back the same", writes(func(_ *ledgertest.Harness, _ context.Context, op ledger.Operation, batch rows, send sender) (rows, error) {
		if op == ledger.Revive {
			batch, op = slices.Clone(batch), ledger.Create
			batch[0].ID = ""
		}
		return send(op, batch)
	})},
	{"does not say what is trashed", "what a person did is seen", finds(func(_ ledger.Query, f *ledger.Found) {
		for i := range f.Transactions {
			f.Transactions[i].Trashed = false
		}
	})},
	{"does not say what is posted", "what a person did is seen", finds(func(_ ledger.Query, f *ledger.Found) {
		for i := range f.Transactions {
			f.Transactions[i].Posted = false
		}
	})},
	{"does not say what is checked", "what a person did is seen", finds(func(_ ledger.Query, f *ledger.Found) {
		for i := range f.Transactions {
			f.Transactions[i].Checked = false
		}
	})},
	{"reads one remote id", "a merged record carries both remote ids", finds(func(q ledger.Query, f *ledger.Found) {
		f.Transactions = slices.DeleteFunc(f.Transactions, func(t ledger.Transaction) bool { return t.RemoteIDs[0] != q.RemoteID })
	})},
	{"does not quote remote ids", "records are found by any remote id", asks(func(q *ledger.Query) { q.RemoteID, _, _ = strings.Cut(q.RemoteID, " ") })},
	{"finds by beginning", "records are found by any remote id", asks(func(q *ledger.Query) {
		if q.RemoteID == "plain_1" {
			q.RemoteID = "plain_1-A"
		}
	})},
	{"does not quote names", "records are found by Account whatever its name", asks(func(q *ledger.Query) { q.Account, _, _ = strings.Cut(q.Account, " ") })},
	{"finds every Account's", "records are found by Account whatever its name", asks(func(q *ledger.Query) { q.Account = "" })},
	{"ends a day early", "dates are inclusive on both ends", asks(func(q *ledger.Query) {
		if !q.To.IsZero() {
			q.To = q.To.AddDays(-1)
		}
	})},
	{"ends a day late", "dates are inclusive on both ends", asks(func(q *ledger.Query) {
		if !q.To.IsZero() {
			q.To = q.To.AddDays(1)
		}
	})},
	{"begins a day late", "dates are inclusive on both ends", asks(func(q *ledger.Query) {
		if !q.From.IsZero() {
			q.From = q.From.AddDays(1)
		}
	})},
	{"gives one page", "all pages together are everything once", finds(func(_ ledger.Query, f *ledger.Found) { f.Cursor = "" })},
	{"gives the first page for ever", "all pages together are everything once", asks(func(q *ledger.Query) { q.Cursor = "" })},
	{"repeats a row of the page before", "all pages together are everything once", finds(func(q ledger.Query, f *ledger.Found) {
		if q.Cursor != "" {
			f.Transactions = append(f.Transactions, f.Transactions[0])
		}
	})},
	{"takes permission for login", "an expired token is told from a missing permission", errs(func(err error, _ secret.String) error {
		switch {
		case errors.Is(err, ledger.ErrLogin):
			return &bank.Error{Kind: bank.UserMustAct, Err: ledger.ErrNoAccess}
		case errors.Is(err, ledger.ErrNoAccess):
			return &bank.Error{Kind: bank.UserMustAct, Err: ledger.ErrLogin}
		}
		return err
	})},
	{"shows the token", "an expired token is told from a missing permission", errs(func(err error, token secret.String) error {
		return fmt.Errorf("with %s: %w", token.Reveal(), err)
	})},
	{"retries for ever without permission", "a permission that was taken away counts at once", errs(func(err error, _ secret.String) error {
		return &bank.Error{Kind: bank.Retry, Err: err}
	})},
	{"takes a missing Book for a missing permission", "a missing Book is not found", errs(func(err error, _ secret.String) error {
		if errors.Is(err, ledger.ErrNotFound) {
			return &bank.Error{Kind: bank.UserMustAct, Err: ledger.ErrNoAccess}
		}
		return err
	})},
	{"lets viewers believe that they wrote", "a viewer writes nothing", writes(func(_ *ledgertest.Harness, _ context.Context, op ledger.Operation, batch rows, send sender) (rows, error) {
		all, err := send(op, batch)
		if errors.Is(err, ledger.ErrNoAccess) {
			return batch, nil
		}
		return all, err
	})},
	{"takes a missing row for a missing Book", "a refused batch is told, and blames a row", errs(func(err error, _ secret.String) error {
		if errors.Is(err, ledger.ErrRefused) {
			return &bank.Error{Kind: bank.Permanent, Err: ledger.ErrNotFound}
		}
		return err
	})},
	{"writes what it can of a refused batch", "a refused batch is told, and blames a row", writes(func(_ *ledgertest.Harness, _ context.Context, op ledger.Operation, batch rows, send sender) (rows, error) {
		all, err := send(op, batch)
		if errors.Is(err, ledger.ErrRefused) && len(batch) > 1 {
			send(op, batch[1:])
		}
		return all, err
	})},
	{"cuts a batch that is too large", "a batch has its bounds", writes(func(_ *ledgertest.Harness, _ context.Context, op ledger.Operation, batch rows, send sender) (rows, error) {
		return send(op, batch[:min(len(batch), ledger.MaxBatch)])
	})},
	{"drops the sign", "a batch has its bounds", sends(ledger.Create, func(t *ledger.Transaction) { t.Amount = t.Amount.Abs() })},
	{"goes on without its caller", "a call ends with its context", func(_ *ledgertest.Harness, s *spoilt) {
		s.write = func(ctx context.Context, token secret.String, book string, op ledger.Operation, batch []ledger.Transaction) ([]ledger.Transaction, error) {
			return s.Ledger.Write(context.WithoutCancel(ctx), token, book, op, batch)
		}
	}},
	{"lists no Books", "a user's Books are listed", func(_ *ledgertest.Harness, s *spoilt) {
		s.books = func(context.Context, secret.String) ([]ledger.Book, error) { return nil, nil }
	}},
	{"lists everybody's Books", "a user's Books are listed", func(h *ledgertest.Harness, s *spoilt) {
		s.books = func(ctx context.Context, token secret.String) ([]ledger.Book, error) {
			if token.Equal(strangerToken) {
				token = h.Token
			}
			return s.Ledger.Books(ctx, token)
		}
	}},
	{"reads no Accounts", "a Book tells what it is", seesBook(func(b *ledger.Book) { b.Accounts = nil })},
	{"reads no currency", "a Book tells what it is", seesBook(func(b *ledger.Book) { b.Currency = "" })},
	{"reads no digits", "a Book tells what it is", seesBook(func(b *ledger.Book) { b.Digits = 0 })},
	{"takes everybody for an editor", "a Book tells what the user may do there", seesBook(func(b *ledger.Book) { b.Permission = ledger.Editor })},
	{"reads no lock", "a Book tells up to when it is locked", seesBook(func(b *ledger.Book) { b.Locked = civil.Date{} })},
	{"takes archived Accounts for open ones", "an archived Account is told", seesBook(func(b *ledger.Book) {
		for i := range b.Accounts {
			b.Accounts[i].Archived = false
		}
	})},
	{"makes every Account an asset", "an Account is made once", func(_ *ledgertest.Harness, s *spoilt) {
		s.create = func(ctx context.Context, token secret.String, book string, a ledger.Account) (ledger.Account, error) {
			a.Type = ledger.Asset
			return s.Ledger.CreateAccount(ctx, token, book, a)
		}
	}},
	{"makes an Account twice", "an Account is made once", func(_ *ledgertest.Harness, s *spoilt) {
		s.create = func(ctx context.Context, token secret.String, book string, a ledger.Account) (ledger.Account, error) {
			made, err := s.Ledger.CreateAccount(ctx, token, book, a)
			if errors.Is(err, ledger.ErrRefused) {
				a.Name += " 2"
				return s.Ledger.CreateAccount(ctx, token, book, a)
			}
			return made, err
		}
	}},
}

func TestEveryPlantedFaultIsCaught(t *testing.T) {
	caught := map[string]bool{}
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			i := slices.IndexFunc(ledgertest.Checks, func(c ledgertest.Check) bool { return c.Name == fault.caught })
			if i < 0 {
				t.Fatalf("no check %q", fault.caught)
			}
			h := world(t, sandbox.Rules{})
			s := &spoilt{Ledger: h.Ledger}
			fault.spoil(&h, s)
			h.Ledger = s
			err := ledgertest.Checks[i].Run(t.Context(), h)
			if err == nil {
				t.Fatal("nothing was seen")
			}
			t.Log(err)
			caught[fault.caught] = true
		})
	}
	for _, c := range ledgertest.Checks {
		if !caught[c.Name] {
			t.Errorf("no planted fault shows that %q can fail", c.Name)
		}
	}
}

func TestAWriteWhoseAnswerIsLostIsNotWrittenTwice(t *testing.T) {
	for _, kind := range []sandbox.FaultKind{sandbox.FaultResetAfter, sandbox.FaultPartial} {
		t.Run(string(kind), func(t *testing.T) {
			s, err := sandbox.New(sandbox.Options{})
			if err != nil {
				t.Fatal(err)
			}
			skin := sandbox.NewServer(s, whose)
			if err := skin.SetFaults([]sandbox.Fault{{Kind: kind, Method: "POST", Path: "batch", Times: 1}}); err != nil {
				t.Fatal(err)
			}
			server := httptest.NewServer(skin)
			defer server.Close()
			c, err := bkper.New(bkper.Config{BaseURL: server.URL, HTTP: server.Client()})
			if err != nil {
				t.Fatal(err)
			}
			var h ledgertest.Harness
			if err := populate(s, &h); err != nil {
				t.Fatal(err)
			}
			batch := []ledger.Transaction{{RemoteIDs: []string{"r1"}, Credit: h.Bank.ID}, {RemoteIDs: []string{"r2"}, Credit: h.Bank.ID}}
			write := func() error {
				_, err := c.Write(t.Context(), secret.New(editorToken), h.Book, ledger.Create, batch)
				return err
			}
			if err := write(); bank.KindOf(err) != bank.Retry || err == nil {
				t.Errorf("the first time: %v", err)
			}
			if err := write(); err != nil {
				t.Errorf("the second time: %v", err)
			}
			found, err := c.Find(t.Context(), secret.New(editorToken), h.Book, ledger.Query{Account: h.Bank.Name})
			if err != nil || len(found.Transactions) != 2 {
				t.Errorf("%d records, %v", len(found.Transactions), err)
			}
		})
	}
}
