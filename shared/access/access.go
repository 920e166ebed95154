// Package access decides what a verified caller may do in a Book and with a connection, and says so when it is not
// allowed. What a caller may not see looks exactly like what does not exist.
package access

import (
	"context"
	"errors"
	"regexp"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/web"
)

// BookReader is the part of a Ledger that tells what its user may do.
type BookReader interface {
	Book(ctx context.Context, token secret.String, book string) (ledger.Book, error)
}

// ids are what the project and the ledger make; anything else cannot exist and is never sent anywhere.
var ids = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// ID refuses what cannot be an id; field is the JSON pointer of the member.
func ID(field, id string) error {
	if !ids.MatchString(id) {
		return web.Invalid(field, "This must be an id of 1 to 128 letters, digits, - and _, as the lists give it.")
	}
	return nil
}

// Book reads a Book that the caller collaborates on.
func Book(ctx context.Context, l BookReader, c caller.Caller, id string) (ledger.Book, error) {
	if err := ID("/book", id); err != nil {
		return ledger.Book{}, err
	}
	b, err := l.Book(ctx, c.Token, id)
	if err != nil {
		return b, ExplainLedger(err)
	}
	if !b.Permission.Sees() {
		return b, noBook()
	}
	return b, nil
}

// EditBook reads a Book whose Accounts and integrations the caller may change.
func EditBook(ctx context.Context, l BookReader, c caller.Caller, id string) (ledger.Book, error) {
	b, err := Book(ctx, l, c, id)
	if err == nil && !b.Permission.Edits() {
		err = web.Forbidden("Only an owner or editor of this Book may do that: ask one of them, or ask the owner to make you an editor.")
	}
	return b, err
}

// Own reads a connection of the caller.
func Own(ctx context.Context, r store.Reader, c caller.Caller, id string) (*bank.Connection, error) {
	conn, err := connection(ctx, r, id)
	if err == nil && conn.Owner != c.Sub {
		err = noConnection()
	}
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// Offered reads a connection that the caller owns or that was offered to a Book, whose editor the caller must be already.
func Offered(ctx context.Context, r store.Reader, c caller.Caller, id, book string) (*bank.Connection, error) {
	conn, err := connection(ctx, r, id)
	if err == nil && conn.Owner != c.Sub && !conn.OfferedTo(book) {
		err = noConnection()
	}
	if err != nil {
		return nil, err
	}
	return conn, nil
}

func connection(ctx context.Context, r store.Reader, id string) (*bank.Connection, error) {
	if err := ID("/connection", id); err != nil {
		return nil, err
	}
	conn, err := store.Connections.Get(ctx, r, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, noConnection()
	}
	return conn, err
}

func noConnection() error {
	return web.NotFound("There is no such connection, or it is not yours. Your connections are listed under User Connections.")
}

func noBook() *web.Problem {
	return web.NotFound("There is no such Book, or you are not a collaborator on it. Ask its owner to share it with you.")
}

// NoIntegration: 404, also for one of a Book that the caller may not see.
func NoIntegration() error {
	return web.NotFound("There is no such integration, or you may not see it. Reload the list of the Book's integrations.")
}

// ExplainLedger turns an error of the ledger, or of a grant to use it, into an answer that tells the caller what to do.
// What will pass, and what is a fault of ours, it leaves to the edge; ExplainBank too.
func ExplainLedger(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ledger.ErrNoAccess), errors.Is(err, ledger.ErrNotFound):
		return noBook().Because(err)
	case errors.Is(err, ledger.ErrLogin), mustAct(err):
		return web.Unauthenticated().Because(err)
	}
	return err
}

// ExplainBank turns an error of a provider into an answer that tells the caller what to do.
func ExplainBank(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bank.ErrGone):
		return ConnectionGone().Because(err)
	case mustAct(err):
		return web.Conflict("sign_in_again", "The bank asks its customer to sign in again. Reconnect the connection first.").Because(err)
	}
	return err
}

// ConnectionGone: 409. Neither the provider nor we can use what the person once agreed to.
func ConnectionGone() *web.Problem {
	return web.Conflict("connection_gone", "The bank has ended this connection. Reconnect it: its integrations are kept.")
}

// mustAct reports whether an adapter has said that only the user can go on.
func mustAct(err error) bool {
	var be *bank.Error
	return errors.As(err, &be) && be.Kind == bank.UserMustAct
}
