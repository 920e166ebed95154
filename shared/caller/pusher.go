package caller

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/bkper/automations-portal/shared/secret"
)

// PusherConfig sets a Pusher up.
type PusherConfig struct {
	Audience string       // the aud that the push subscription or the Scheduler job is configured with
	Account  string       // e-mail address of the service account that pushes
	Client   *http.Client // as of NewIDTokens
}

// Pusher verifies the ID tokens that Pub/Sub and Cloud Scheduler send as a service account.
type Pusher struct {
	account string
	tokens  *IDTokens
}

// NewPusher returns a verifier; an error says what is not configured.
func NewPusher(ctx context.Context, c PusherConfig) (*Pusher, error) {
	if c.Account == "" {
		return nil, errors.New("verify pushes: no service account")
	}
	tokens, err := NewIDTokens(ctx, c.Audience, c.Client)
	if err != nil {
		return nil, fmt.Errorf("verify pushes: %w", err)
	}
	return &Pusher{account: c.Account, tokens: tokens}, nil
}

// Verify tells whether the configured service account sent the token to the configured audience. ErrUnauthenticated,
// ErrUnavailable.
func (p *Pusher) Verify(ctx context.Context, token secret.String) (Caller, error) {
	who, err := p.tokens.Verify(ctx, token)
	if err != nil {
		return Caller{}, fmt.Errorf("verify a push: %w", err)
	}
	if who.Email != p.account {
		return Caller{}, fmt.Errorf("verify a push: %w: another account", ErrUnauthenticated)
	}
	return Caller{Sub: who.Sub, Email: who.Email}, nil
}
