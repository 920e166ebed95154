package caller

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"google.golang.org/api/idtoken"

	"github.com/bkper/automations-portal/shared/secret"
)

// KeysURL is where Google publishes the keys that ID tokens are signed with; Pusher's client is asked for it.
const KeysURL = "https://www.googleapis.com/oauth2/v3/certs"

// PusherConfig sets a Pusher up.
type PusherConfig struct {
	Audience string // the aud that the push subscription or the Scheduler job is configured with
	Account  string // e-mail address of the service account that pushes
	// Client fetches KeysURL; default http.DefaultClient. A client that answers KeysURL with the keys of a local issuer
	// makes that issuer the one that is trusted.
	Client *http.Client
}

// Pusher verifies the ID tokens that Pub/Sub and Cloud Scheduler send as a service account.
type Pusher struct {
	audience, account string
	validator         *idtoken.Validator
}

// NewPusher returns a verifier; an error says what is not configured.
func NewPusher(ctx context.Context, c PusherConfig) (*Pusher, error) {
	// The validator takes an empty audience for "any".
	if c.Audience == "" || c.Account == "" {
		return nil, errors.New("verify pushes: no audience or no service account")
	}
	client := bounded(c.Client)
	client.Transport = keyTransport{client.Transport}
	// The time-out of a client hides its transport's error; Verify's context does not.
	client.Timeout = 0
	v, err := idtoken.NewValidator(ctx, idtoken.WithHTTPClient(client))
	if err != nil {
		return nil, fmt.Errorf("verify pushes: %w", err)
	}
	return &Pusher{audience: c.Audience, account: c.Account, validator: v}, nil
}

// Verify tells whether the configured service account sent the token to the configured audience. ErrUnauthenticated,
// ErrUnavailable.
func (p *Pusher) Verify(ctx context.Context, token secret.String) (Caller, error) {
	if !signedByRS256(token.Reveal()) {
		return Caller{}, fmt.Errorf("verify a push: %w: not RS256", ErrUnauthenticated)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	payload, err := p.validator.Validate(ctx, token.Reveal(), p.audience)
	if errors.Is(err, ErrUnavailable) {
		return Caller{}, fmt.Errorf("verify a push: %w", err)
	}
	if err != nil {
		return Caller{}, fmt.Errorf("verify a push: %w: %w", ErrUnauthenticated, err)
	}
	// The validator checks signature, audience and expiry only.
	email, _ := payload.Claims["email"].(string)
	verified, _ := payload.Claims["email_verified"].(bool)
	switch {
	case payload.Issuer != "https://accounts.google.com" && payload.Issuer != "accounts.google.com":
		return Caller{}, fmt.Errorf("verify a push: %w: another issuer", ErrUnauthenticated)
	case email != p.account || !verified:
		return Caller{}, fmt.Errorf("verify a push: %w: another account", ErrUnauthenticated)
	}
	return Caller{Sub: payload.Subject, Email: email}, nil
}

// signedByRS256 keeps the validator's other algorithm out: Google signs no ID token of a service account with ES256, and
// the validator panics on a short ES256 signature.
func signedByRS256(token string) bool {
	head, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return false
	}
	var header struct {
		Alg string `json:"alg"`
	}
	return json.Unmarshal(text, &header) == nil && header.Alg == "RS256"
}

// keyTransport makes a failed fetch of the keys recognisable, which the validator's own errors are not, and bounds the
// answer.
type keyTransport struct{ base http.RoundTripper }

func (t keyTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	base := t.base
	if base == nil {
		base = http.DefaultTransport
	}
	resp, err := base.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("%w: keys: %w", ErrUnavailable, err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: keys: status %d", ErrUnavailable, resp.StatusCode)
	}
	resp.Body = keyBody{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}

type keyBody struct {
	io.Reader
	io.Closer
}

func (b keyBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: keys: %w", ErrUnavailable, err)
	}
	return n, err
}
