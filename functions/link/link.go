// Package link sends a bank account into an Account of a Book from a date on. Saving again changes the Account, the period,
// whether pending transactions are recorded, or pauses and resumes.
package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/access"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/view"
	"github.com/bkper/automations-portal/shared/web"
)

// Books is the part of a ledger that linking needs.
type Books interface {
	access.BookReader
	CreateAccount(ctx context.Context, token secret.String, book string, a ledger.Account) (ledger.Account, error)
}

// Grants tells whether a user has a standing grant that works.
type Grants interface {
	Token(ctx context.Context, sub string) (secret.String, error)
}

// Link serves the function.
type Link struct {
	Store   store.Store
	Books   Books
	Grants  Grants
	Events  events.Publisher
	Consent string // URL at which the caller gives a standing grant
	Edge    *web.Edge
	Now     func() time.Time
}

// Handler serves the function.
func (l *Link) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/{$}", web.Post(l.Edge, "link", l.link))
	mux.Handle("/", l.Edge.Nothing())
	return mux
}

// Request says which bank account goes where.
type Request struct {
	Book       string `json:"book"`
	Connection string `json:"connection"`
	Key        string `json:"key"`                // of the bank account, as the lists give it
	Account    string `json:"account,omitempty"`  // id of an Account of the Book, or …
	Create     string `json:"create,omitempty"`   // … the name of one to be created, of the right type
	From       string `json:"from"`               // yyyy-mm-dd: nothing dated before is recorded
	Pending    *bool  `json:"pending,omitempty"`  // record transactions before they settle; left out: as it stands, or false
	Paused     *bool  `json:"paused,omitempty"`   // record nothing until saved again with false; left out: as it stands, or false
	Insist     bool   `json:"insist,omitempty"`   // link although the currencies or fraction digits differ
	Trashed    bool   `json:"trashed,omitempty"`  // import again what people have trashed in the Book
	Replaces   string `json:"replaces,omitempty"` // where asked: id of the former integration of the same bank account, or "none"
}

// earliest is where dates begin to be a slip of the pen.
var earliest = civil.Date{Year: 1990, Month: time.January, Day: 1}

func (l *Link) link(ctx context.Context, who caller.Caller, r Request) (view.Integration, error) {
	var none view.Integration
	book, err := access.EditBook(ctx, l.Books, who, r.Book)
	if err != nil {
		return none, err
	}
	conn, err := access.Offered(ctx, l.Store, who, r.Connection, r.Book)
	if err != nil {
		return none, err
	}
	account, err := linkable(conn, r.Key)
	if err != nil {
		return none, err
	}
	from, err := l.date(r.From)
	if err != nil {
		return none, err
	}
	if err := fits(account, book, r.Insist); err != nil {
		return none, err
	}
	if err := l.consents(ctx, who); err != nil {
		return none, err
	}
	turn, err := store.TurnOf(ctx, l.Store, "book-"+book.ID)
	if err != nil {
		return none, err
	}
	chosen, _ := named(book, r.Account, strings.TrimSpace(r.Create))
	former, err := l.former(ctx, conn, account, chosen.ID, r)
	if err != nil {
		return none, err
	}
	to, err := l.account(ctx, who, book, account, r)
	if err != nil {
		return none, err
	}
	i := &bank.Integration{
		ID: former, Book: book.ID, BookName: book.Name, Connection: conn.ID, Key: account.Key, Bank: conn.Institution, Of: account.Account,
		Account: to.ID, AccountTag: to.Name, Currency: account.Currency, From: from,
		As: who.Sub, AsEmail: who.Email, State: bank.Live,
	}
	e, err := l.save(ctx, who, i, r, turn)
	if errors.Is(err, store.ErrOvertaken) { // by a save that may have fed the same bank account into this Book
		return l.link(ctx, who, r)
	}
	if err != nil {
		return none, err
	}
	web.Note(ctx, slog.String("connection", conn.ID), slog.String("integration", i.ID))
	if err := l.Events.Publish(ctx, events.Rings, events.Message{Connection: conn.ID}); err != nil {
		slog.WarnContext(ctx, "could not ring; the schedule will", "connection", conn.ID, "err", err)
	}
	return view.OfIntegration(i, conn, e), nil
}

func linkable(conn *bank.Connection, key string) (bank.LinkedAccount, error) {
	account, ok := conn.ByKey(key)
	switch {
	case conn.State == bank.Disconnected || conn.State == bank.Removing:
		return account, web.Conflict("disconnected", "This connection is disconnected. Its owner can reconnect it under User Connections.")
	case !ok || account.Gone:
		return account, web.NotFound("This connection has no such bank account. Reload the list of its accounts.")
	case !account.Type.Linkable():
		return account, web.Unprocessable("not_linkable", "/key", "Banks give no transactions of accounts of this kind. Choose a current, savings, card or loan account.")
	}
	return account, nil
}

func (l *Link) date(text string) (civil.Date, error) {
	d, err := civil.ParseDate(text)
	if err != nil {
		return d, web.Invalid("/from", "The start date must be a date such as 2026-01-31.")
	}
	if d.Before(earliest) || d.After(civil.DateOf(l.Now()).AddDays(366)) {
		return d, web.Unprocessable("date_out_of_range", "/from", "The start date must lie between 1990 and a year from now.")
	}
	return d, nil
}

// fits refuses a bank account whose amounts the Book would not hold as they are.
func fits(a bank.LinkedAccount, b ledger.Book, insist bool) error {
	digits, official := bank.Digits(a.Currency)
	switch {
	case insist:
		return nil
	case b.Currency != "" && !strings.EqualFold(b.Currency, a.Currency):
		return web.Unprocessable("currency_mismatch", "/key", fmt.Sprintf(
			"The bank account is in %s and the Book in %s. Link it to a Book in %s, or insist if you know that the Book keeps this Account in %s.",
			a.Currency, b.Currency, a.Currency, a.Currency))
	case official && digits > b.Digits:
		return web.Unprocessable("digits_mismatch", "/key", fmt.Sprintf(
			"%s has %d decimal places and the Book keeps %d. Raise the Book's decimal places, or insist to keep aside what does not fit.",
			a.Currency, digits, b.Digits))
	}
	return nil
}

// consents makes sure that records can be made as the caller when the caller is away.
func (l *Link) consents(ctx context.Context, who caller.Caller) error {
	_, err := l.Grants.Token(ctx, who.Sub)
	if bank.KindOf(err) == bank.UserMustAct && err != nil {
		p := web.Forbidden("Transactions are recorded in your name while you are away. Allow that by signing in once more, then save again.")
		p.Code, p.URL = "consent_required", l.Consent
		return p.Because(err)
	}
	return access.ExplainLedger(err)
}

// former finds the id that this bank account has, or once had, in the Book, under this connection or an earlier one: the
// journal of what was recorded hangs on it, and prevents that anything is recorded twice. A person must say which one it is where
// the account looks like several that have fed the Book, and where an unlike one has fed the same Account or has the same last
// digits: banks get other ids at their providers, and accounts other names and numbers.
func (l *Link) former(ctx context.Context, conn *bank.Connection, account bank.LinkedAccount, to string, r Request) (string, error) {
	own := bank.IntegrationID(r.Book, account.Key)
	known, err := store.Integrations.Find(ctx, l.Store, store.Query{Field: store.ByBook, Any: []string{r.Book}})
	if err != nil {
		return "", err
	}
	var same, perhaps []*bank.Integration
	for _, i := range known {
		switch {
		case i.Connection == conn.ID && i.Key == account.Key:
			return i.ID, nil
		case i.Connection == conn.ID && names(conn, i.Key): // another account, which the bank names beside this one
		case i.ID == r.Replaces:
			return i.ID, l.free(ctx, conn, i)
		case i.Bank.ID == conn.Institution.ID && bank.Alike(i.Of, account.Account):
			same = append(same, i)
		case i.Of.Type == account.Type && i.Currency == account.Currency && (i.Account == to || account.Mask != "" && i.Of.Mask == account.Mask):
			perhaps = append(perhaps, i)
		}
	}
	switch {
	case r.Replaces == "none":
		return own, nil
	case r.Replaces != "":
		return "", web.Unprocessable("no_such_integration", "/replaces", "The Book has no such integration. Take its id from the list, or \"none\".")
	case len(same) > 1, len(same) == 0 && len(perhaps) > 0:
		return "", web.Conflict("which_account", "The Book may hold transactions of this bank account already: others with the same last digits, or that went to the same Account, have fed the Book. Say in \"replaces\" which one it is, or \"none\", so that nothing is recorded twice.")
	case len(same) == 1:
		return same[0].ID, l.free(ctx, conn, same[0])
	}
	return own, nil
}

// names reports whether the bank still names an account of the connection.
func names(conn *bank.Connection, key string) bool {
	a, known := conn.ByKey(key)
	return known && !a.Gone
}

// free refuses an integration that another connection still feeds.
func (l *Link) free(ctx context.Context, conn *bank.Connection, i *bank.Integration) error {
	if i.State == bank.Removed || i.Connection == conn.ID {
		return nil
	}
	other, err := store.Connections.Get(ctx, l.Store, i.Connection)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err == nil && (other.State == bank.Active || other.State == bank.NeedsUser) {
		return web.Conflict("already_linked", fmt.Sprintf(
			"This bank account already feeds the Account %q of this Book through another connection. Remove that integration first: what it recorded stays.", i.AccountTag))
	}
	return nil
}

// account finds the Account of the Book, or creates it. The same name again gives the same Account.
func (l *Link) account(ctx context.Context, who caller.Caller, b ledger.Book, of bank.LinkedAccount, r Request) (ledger.Account, error) {
	wanted := ledger.Asset
	if of.Type != bank.Deposit {
		wanted = ledger.Liability
	}
	name := strings.TrimSpace(r.Create)
	switch {
	case (r.Account == "") == (name == ""):
		return ledger.Account{}, web.Invalid("/account", "Choose an Account of the Book, or give the name of a new one; not both.")
	case utf8.RuneCountInString(r.Create) > longestName:
		return ledger.Account{}, web.Invalid("/create", fmt.Sprintf("The name of an Account can have at most %d characters.", longestName))
	case strings.ContainsFunc(r.Create, unseen):
		return ledger.Account{}, web.Invalid("/create", "Leave out of the name what cannot be seen: line breaks, other control characters, and marks of writing direction.")
	}
	found, ok := named(b, r.Account, name)
	if !ok && name != "" {
		return l.create(ctx, who, b.ID, ledger.Account{Name: name, Type: wanted})
	}
	if !ok {
		return found, web.Unprocessable("no_such_account", "/account", "The Book has no such Account. Reload the list of its Accounts.")
	}
	return found, feedable(found)
}

// named finds an Account by its id, or by its name.
func named(b ledger.Book, id, name string) (ledger.Account, bool) {
	at := slices.IndexFunc(b.Accounts, func(a ledger.Account) bool {
		return a.ID == id || (name != "" && strings.EqualFold(a.Name, name))
	})
	if at < 0 {
		return ledger.Account{}, false
	}
	return b.Accounts[at], true
}

func feedable(a ledger.Account) error {
	switch {
	case a.Archived:
		return web.Unprocessable("account_archived", "/account", "This Account is archived. Restore it in the Book, or choose another one.")
	case a.Type != ledger.Asset && a.Type != ledger.Liability:
		return web.Unprocessable("account_type", "/account", "A bank account can only feed an asset or a liability Account. Choose another one.")
	}
	return nil
}

// create makes an Account. The Book refuses a name that it has: then another save made it since the Book was read, and two
// at once shall make one.
func (l *Link) create(ctx context.Context, who caller.Caller, book string, a ledger.Account) (ledger.Account, error) {
	made, err := l.Books.CreateAccount(ctx, who.Token, book, a)
	if !errors.Is(err, ledger.ErrRefused) {
		return made, access.ExplainLedger(err)
	}
	b, again := l.Books.Book(ctx, who.Token, book)
	if again != nil {
		return made, access.ExplainLedger(again)
	}
	if made, ok := named(b, "", a.Name); ok {
		return made, feedable(made)
	}
	return made, web.Unprocessable("account_refused", "/create", "The Book refuses to create this Account. Try another name, or create it in the Book and choose it.").Because(err)
}

// longestName is in characters.
const longestName = 100

// unseen finds what a person who reads a name does not see, and which can make it look like another.
func unseen(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}

// save writes the integration and tells the connection's holder, in one transaction. The turn is that of the Book, in which two
// people may link one account that they share.
func (l *Link) save(ctx context.Context, who caller.Caller, i *bank.Integration, r Request, turn store.Turn) (e *posting.Engine, err error) {
	wanted := *i
	err = l.Store.Update(ctx, func(tx store.Tx) error {
		*i = wanted
		if err := turn.Check(tx); err != nil {
			return err
		}
		old, err := store.Integrations.Load(tx, i.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		conn, err := store.Connections.Load(tx, i.Connection)
		if err != nil {
			return err
		}
		if _, err := linkable(conn, i.Key); err != nil {
			return err
		}
		if conn.Owner != who.Sub && !conn.OfferedTo(i.Book) {
			return web.Conflict("no_longer_offered", "The connection is no longer offered to this Book. Ask its owner to offer it again.")
		}
		i.Pending, i.Paused = stands(r.Pending, old, func() bool { return old.Pending }), stands(r.Paused, old, func() bool { return old.Paused })
		if e, err = posting.Save(tx, i, old, l.Now()); errors.Is(err, posting.ErrStopping) {
			return web.Conflict("stopping", "The former connection is still letting go of this bank account. Try again in two minutes.")
		}
		if err == nil && r.Trashed {
			err = posting.BringBack(tx, i)
		}
		return errors.Join(err, turn.Take(tx))
	})
	return e, err
}

// stands is what is asked for, else what stands; one that was removed, or never was, stands no more.
func stands(asked *bool, old *bank.Integration, was func() bool) bool {
	if asked != nil {
		return *asked
	}
	return old != nil && old.State == bank.Live && was()
}
