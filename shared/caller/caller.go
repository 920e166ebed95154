// Package caller finds out who calls: a person with Google's access token, Pub/Sub or Cloud Scheduler with an ID token;
// and it gets the fresh access tokens with which a background function acts as a person who consented before.
package caller

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/bkper/automations-portal/shared/secret"
)

// Caller is who calls.
type Caller struct {
	Sub   string        // Google's subject: never changes, unlike the e-mail address
	Email string        // verified by Google
	Token secret.String // the access token that the caller sent; empty for services
}

// Hash names the caller in logs.
func (c Caller) Hash() string {
	if c.Sub == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(c.Sub))
	return hex.EncodeToString(sum[:6])
}

var (
	// ErrUnauthenticated: the token is not one of ours, or no longer; a person must sign in again.
	ErrUnauthenticated = errors.New("the token is not accepted")
	// ErrUnavailable: Google cannot be asked now; the same call may pass later.
	ErrUnavailable = errors.New("the token cannot be checked now")
)

const (
	callTimeout = 10 * time.Second
	maxAnswer   = 1 << 20
)

// Bounded is a client for calls that carry a token: it follows no redirect and does not wait for ever.
func Bounded(c *http.Client) *http.Client {
	if c == nil {
		c = http.DefaultClient
	}
	own := *c
	own.Timeout = callTimeout
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}
