// Package ledgertest is the suite that every ledger.Ledger passes.
package ledgertest

import (
	"context"
	"testing"
	"time"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/secret"
)

// Harness is a Ledger and a small world around it, fresh for every check: a user who is EDITOR of one Book, which posts
// complete records automatically, keeps two fraction digits and USD, is not locked, and has two Accounts.
type Harness struct {
	Ledger   ledger.Ledger
	Token    secret.String // the user's
	Stranger secret.String // of somebody who is no collaborator of the Book
	Expired  secret.String // was good once
	Book     string
	Missing  string // well formed, and no Book's id
	Bank     ledger.Account
	Other    ledger.Account
	Hand     Hand
}

// Hand is what people do in the service's own pages, in the Book of the Harness. Ids are those of transactions and, for
// Archive, of an Account.
type Hand struct {
	Post    func(ctx context.Context, id string) error
	Check   func(ctx context.Context, id string) error
	Uncheck func(ctx context.Context, id string) error
	Trash   func(ctx context.Context, id string) error
	Merge   func(ctx context.Context, one, two string) error
	Attach  func(ctx context.Context, id, file string) error // puts a file of that name on a transaction
	Archive func(ctx context.Context, id string) error
	Lock    func(ctx context.Context, until civil.Date) error
	Permit  func(ctx context.Context, p ledger.Permission) error // changes what the user may do
}

// Check is one thing that must hold.
type Check struct {
	Name string
	Run  func(context.Context, Harness) error
}

const patience = time.Minute

// Run runs every check, each in a world that open makes for it.
func Run(t *testing.T, open func(*testing.T) Harness) {
	for _, c := range Checks {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := c.Run(ctx, open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}
