// Package vault keeps tokens, apart from everything else. Every implementation passes the suite in vaulttest.
package vault

import (
	"context"
	"errors"

	"github.com/bkper/automations-portal/shared/secret"
)

// Vault keeps one secret a name; names are made by the functions below. All methods are safe for concurrent use. A
// function that needs less takes Reader or Writer. A name or secret outside the limits below is ErrInvalid.
type Vault interface {
	Reader
	Writer
	// Destroy makes the secret unreadable for ever; what is gone already is a success.
	Destroy(ctx context.Context, name string) error
	// List gives the names that begin with prefix and are greater than after, in order, at most 1,000.
	List(ctx context.Context, prefix, after string) ([]string, error)
}

// Reader reads secrets.
type Reader interface {
	// Get reads the secret as it was last written. ErrNotFound where there is none or it was destroyed.
	Get(ctx context.Context, name string) (secret.String, error)
}

// Writer writes secrets.
type Writer interface {
	// Put writes a secret, of 1 to 65,536 bytes; it replaces an older one, which becomes unreadable.
	Put(ctx context.Context, name string, s secret.String) error
}

// ErrNotFound: there is no such secret, or it was destroyed.
var ErrNotFound = errors.New("no such secret")

// ConnectionToken names the token of a connection's item.
func ConnectionToken(connection string) string { return "connection-" + connection }

// SessionHandle names the provider's handle of a session.
func SessionHandle(session string) string { return "session-" + session }

// UserGrant names the refresh token of a user's standing grant.
func UserGrant(sub string) string { return "grant-" + sub }
