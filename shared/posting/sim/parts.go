package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"cloud.google.com/go/civil"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
)

const storeCall = 10 * time.Second

// database is a store that can fail.
type database struct {
	w    *world
	real store.Store
}

func (d database) call(what string) fate {
	f := d.w.call(what, storeCall)
	if d.w.down && !d.w.calm && d.w.chance(0.5) {
		return before
	}
	return f
}

func (d database) Get(ctx context.Context, kind string, ids ...string) ([]store.Document, error) {
	f := d.call("store get")
	if f == before {
		return nil, errFault
	}
	docs, err := d.real.Get(ctx, kind, ids...)
	return docs, errors.Join(err, d.w.ended("store get", f))
}

func (d database) Find(ctx context.Context, q store.Query) ([]store.Document, error) {
	f := d.call("store find")
	if f == before {
		return nil, errFault
	}
	docs, err := d.real.Find(ctx, q)
	return docs, errors.Join(err, d.w.ended("store find", f))
}

// Count is for whoever watches: no history asks for it.
func (d database) Count(ctx context.Context, q store.Query) (int, error) { return d.real.Count(ctx, q) }

func (d database) Update(ctx context.Context, body func(store.Tx) error) error {
	f := d.call("store update")
	if f == before {
		return errFault
	}
	if err := d.real.Update(ctx, body); err != nil {
		return err
	}
	if err := d.w.ended("store update", f); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnknown, err)
	}
	return nil
}

// books is Bkper as a ledger.
type books struct {
	w    *world
	real *bkper.Service
	// wrote is told of every batch at the moment when it takes effect.
	wrote func(book string, op ledger.Operation, batch []ledger.Transaction)
	// begins is told when somebody is about to write, which takes up to a call's time-out.
	begins func()
}

func who(token secret.String) bkper.Caller { return bkper.Caller{Email: token.Reveal()} }

func (b books) retry(f fate) error {
	if err := b.w.ended("ledger", f); err != nil {
		return &bank.Error{Kind: bank.Retry, Code: "FAULT", Err: err}
	}
	return nil
}

func (b books) refusal(err error) error {
	var be *bkper.Error
	if !errors.As(err, &be) {
		return &bank.Error{Kind: bank.OurFault, Code: "SANDBOX", Err: err}
	}
	switch be.Status {
	case 401:
		return &bank.Error{Kind: bank.UserMustAct, Code: "no_access", Err: ledger.ErrNoAccess}
	case 404:
		return &bank.Error{Kind: bank.Permanent, Code: "not_found", Err: ledger.ErrNotFound}
	}
	return &bank.Error{Kind: bank.Permanent, Code: "refused", Err: fmt.Errorf("%w: %w", ledger.ErrRefused, err)}
}

func (b books) Books(context.Context, secret.String) ([]ledger.Book, error) { return nil, nil }

func (b books) CreateAccount(context.Context, secret.String, string, ledger.Account) (ledger.Account, error) {
	return ledger.Account{}, nil
}

func (b books) Book(_ context.Context, token secret.String, id string) (ledger.Book, error) {
	f := b.w.call("ledger book", posting.LedgerCall)
	if f == before {
		return ledger.Book{}, &bank.Error{Kind: bank.Retry, Code: "FAULT", Err: errFault}
	}
	book, err := b.real.Book(who(token), id, true)
	if err != nil {
		return ledger.Book{}, b.refusal(err)
	}
	told := ledger.Book{ID: book.ID, Name: book.Name, Permission: ledger.Permission(book.Permission), Digits: 2}
	if d, err := civil.ParseDate(book.LockDate); err == nil {
		told.Locked = d
	}
	for _, a := range book.Accounts {
		told.Accounts = append(told.Accounts, ledger.Account{ID: a.ID, Name: a.Name, Type: ledger.AccountType(a.Type), Archived: bkper.True(a.Archived)})
	}
	return told, b.retry(f)
}

func (b books) Find(_ context.Context, token secret.String, book string, q ledger.Query) (ledger.Found, error) {
	f := b.w.call("ledger find", posting.LedgerCall)
	if f == before {
		return ledger.Found{}, &bank.Error{Kind: bank.Retry, Code: "FAULT", Err: errFault}
	}
	text := "remoteId:'" + q.RemoteID + "'"
	if q.RemoteID == "" {
		text = fmt.Sprintf("account:'%s' after:%s before:%s", q.Account, q.From, q.To.AddDays(1))
	}
	if q.Trashed {
		text += " is:trashed"
	}
	list, err := b.real.Transactions(who(token), book, text, 1000, q.Cursor)
	if err != nil {
		return ledger.Found{}, b.refusal(err)
	}
	found := ledger.Found{Cursor: list.Cursor}
	for _, t := range list.Items {
		found.Transactions = append(found.Transactions, fromBook(t))
	}
	return found, b.retry(f)
}

func (b books) Write(_ context.Context, token secret.String, book string, op ledger.Operation, batch []ledger.Transaction) ([]ledger.Transaction, error) {
	b.begins()
	f := b.w.call("ledger "+string(op), posting.LedgerCall)
	if f == before {
		return nil, &bank.Error{Kind: bank.Retry, Code: "FAULT", Err: errFault}
	}
	caller, in := who(token), make([]bkper.Transaction, len(batch))
	if !b.w.calm && f == after && b.w.chance(0.5) {
		caller.CutAfter = 1 + b.w.rng.IntN(len(batch))
	}
	for i, t := range batch {
		in[i] = toBook(t)
		if op == ledger.Create {
			in[i].Draft = new(true)
		}
		if b.w.trace != nil {
			b.w.log("ledger %s in %s: %s %s %s %q %v", op, book[:6], t.ID, t.Date, t.Amount, t.Description, t.RemoteIDs)
		}
	}
	b.w.had.writes++
	b.wrote(book, op, batch)
	var out []bkper.Transaction
	var err error
	switch op {
	case ledger.Create:
		out, err = b.real.CreateBatch(caller, book, in)
	case ledger.Update:
		out, err = b.real.UpdateBatch(caller, book, in, false)
	case ledger.Trash:
		err = b.real.TrashBatch(caller, book, in, false)
	case ledger.Revive:
		err = b.real.UntrashBatch(caller, book, in)
	}
	if caller.CutAfter > 0 {
		return nil, &bank.Error{Kind: bank.Retry, Code: "FAULT", Err: errFault}
	}
	if err != nil {
		return nil, b.refusal(err)
	}
	var told []ledger.Transaction
	for _, t := range out {
		told = append(told, fromBook(t))
	}
	return told, b.retry(f)
}

func toBook(t ledger.Transaction) bkper.Transaction {
	amount := t.Amount.String()
	out := bkper.Transaction{
		ID: t.ID, Date: t.Date.String(), Amount: &amount, Description: t.Description, RemoteIDs: t.RemoteIDs, Properties: maps.Clone(t.Properties), URLs: t.URLs,
	}
	if t.Credit != "" {
		out.CreditAccount = &bkper.Account{ID: t.Credit}
	}
	if t.Debit != "" {
		out.DebitAccount = &bkper.Account{ID: t.Debit}
	}
	return out
}

func fromBook(t bkper.Transaction) ledger.Transaction {
	out := ledger.Transaction{
		ID: t.ID, RemoteIDs: t.RemoteIDs, Description: t.Description, Properties: t.Properties, URLs: t.URLs,
		Posted: bkper.True(t.Posted), Checked: bkper.True(t.Checked), Trashed: bkper.True(t.Trashed),
	}
	if d, err := civil.ParseDate(t.Date); err == nil {
		out.Date = d
	}
	if t.Amount != nil {
		out.Amount = decimal.RequireFromString(*t.Amount)
	}
	if t.CreditAccount != nil {
		out.Credit = t.CreditAccount.ID
	}
	if t.DebitAccount != nil {
		out.Debit = t.DebitAccount.ID
	}
	return out
}

// grants always work: the sandbox's Bkper is asked by e-mail address.
type grants struct{}

func (grants) Token(_ context.Context, sub string) (secret.String, error) {
	return secret.New(sub), nil
}

func (grants) Fresh(_ context.Context, sub string) (secret.String, error) {
	return secret.New(sub), nil
}

// timeless is a context that never ends, whatever time-outs are derived from it: the history has a clock of its own. Its
// deadline has passed long ago, so that package context starts no timers for them.
type timeless struct{}

// Deadline implements context.Context.
func (timeless) Deadline() (time.Time, bool) { return time.Time{}, true }

// Done implements context.Context.
func (timeless) Done() <-chan struct{} { return nil }

// Err implements context.Context.
func (timeless) Err() error { return nil }

// Value implements context.Context.
func (timeless) Value(any) any { return nil }

// broker delivers at least once, late, twice and in any order; a refused message comes again.
type broker struct {
	w    *world
	post func(context.Context, events.Message) error
	lost float64 // chance that a ring of the bank's never comes, as a webhook that was never sent
	died func()  // is told when a process dies
}

func (b *broker) Publish(_ context.Context, _ events.Topic, m events.Message) error {
	f := b.w.call("publish", storeCall)
	if f == before {
		return errFault
	}
	b.send(m)
	return b.w.ended("publish", f)
}

func (b *broker) send(m events.Message) {
	b.deliver(m, 1)
	if !b.w.calm && b.w.chance(0.1) {
		b.deliver(m, 1)
	}
}

func (b *broker) deliver(m events.Message, attempt int) {
	wait := b.w.between(5*time.Millisecond, 50*time.Millisecond)
	if !b.w.calm && b.w.chance(0.2) {
		wait = b.w.between(0, 20*time.Second)
	}
	wait += time.Duration(attempt-1) * 10 * time.Second
	b.w.spawn(fmt.Sprintf("poster%d", b.w.order), wait, func() {
		b.w.had.events++
		acknowledged, died := false, true
		defer func() {
			if !acknowledged && attempt < 50 {
				b.deliver(m, attempt+1)
			}
			if died {
				b.died()
			}
		}()
		err := b.post(timeless{}, m)
		died = false
		acknowledged = err == nil
		if err != nil {
			b.w.log("event refused: %v", err)
		}
	})
}
