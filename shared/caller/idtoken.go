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

// KeysURL is where Google publishes the keys that ID tokens are signed with.
const KeysURL = "https://www.googleapis.com/oauth2/v3/certs"

// Identity is what an ID token says.
type Identity struct {
	Sub   string
	Email string // empty where Google has not verified it
	Nonce string // of the sign-in that the token was made for; empty for services
}

// IDTokens verifies the ID tokens that Google makes for one audience.
type IDTokens struct {
	audience  string
	validator *idtoken.Validator
}

// NewIDTokens returns a verifier; an error says that there is no audience. The client fetches KeysURL; nil is
// http.DefaultClient. A client that answers KeysURL with the keys of a local issuer makes that issuer the one that is trusted.
func NewIDTokens(ctx context.Context, audience string, client *http.Client) (*IDTokens, error) {
	if audience == "" { // which the validator takes for any
		return nil, errors.New("verify ID tokens: no audience")
	}
	own := Bounded(client)
	own.Transport = keyTransport{own.Transport}
	// The time-out of a client hides its transport's error; Verify's context does not.
	own.Timeout = 0
	v, err := idtoken.NewValidator(ctx, idtoken.WithHTTPClient(own))
	if err != nil {
		return nil, fmt.Errorf("verify ID tokens: %w", err)
	}
	return &IDTokens{audience, v}, nil
}

// Verify tells who it is that Google made the token for. ErrUnauthenticated, ErrUnavailable.
func (v *IDTokens) Verify(ctx context.Context, token secret.String) (Identity, error) {
	if !signedByRS256(token.Reveal()) {
		return Identity{}, fmt.Errorf("%w: not RS256", ErrUnauthenticated)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	payload, err := v.validator.Validate(ctx, token.Reveal(), v.audience)
	if errors.Is(err, ErrUnavailable) {
		return Identity{}, fmt.Errorf("validate: %w", err)
	}
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrUnauthenticated, err)
	}
	// The validator checks signature, audience and expiry only.
	if payload.Issuer != "https://accounts.google.com" && payload.Issuer != "accounts.google.com" {
		return Identity{}, fmt.Errorf("%w: another issuer", ErrUnauthenticated)
	}
	who := Identity{Sub: payload.Subject}
	who.Nonce, _ = payload.Claims["nonce"].(string)
	if verified, _ := payload.Claims["email_verified"].(bool); verified {
		who.Email, _ = payload.Claims["email"].(string)
	}
	return who, nil
}

// signedByRS256 keeps the validator's other algorithm out: Google signs no ID token with ES256, and the validator
// panics on a short ES256 signature.
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
