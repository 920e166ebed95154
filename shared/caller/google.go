package caller

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bkper/automations-portal/shared/secret"
)

// TokenInfoURL is where Google describes an access token.
const TokenInfoURL = "https://oauth2.googleapis.com/tokeninfo"

const (
	// A token that its user revokes is accepted for so long after.
	tokenMemory = time.Minute
	tokenCount  = 10_000

	emailScope = "https://www.googleapis.com/auth/userinfo.email"
)

// GoogleConfig sets a Google up.
type GoogleConfig struct {
	ClientIDs []string     // the OAuth clients whose tokens are taken; a token made for any other is refused
	TokenInfo string       // default TokenInfoURL
	Client    *http.Client // default http.DefaultClient
}

// Google verifies the access tokens that people's browsers send. They are opaque, so Google is asked about each and the
// answer is remembered for a minute at most.
type Google struct {
	clientIDs []string
	tokenInfo string
	client    *http.Client
	known     *cache[Caller]
}

// NewGoogle returns a verifier; an error says that no client id is configured.
func NewGoogle(c GoogleConfig) (*Google, error) {
	if len(c.ClientIDs) == 0 || slices.Contains(c.ClientIDs, "") {
		return nil, errors.New("verify access tokens: no OAuth client id")
	}
	g := &Google{clientIDs: c.ClientIDs, tokenInfo: c.TokenInfo, client: Bounded(c.Client), known: newCache[Caller](tokenCount)}
	if g.tokenInfo == "" {
		g.tokenInfo = TokenInfoURL
	}
	return g, nil
}

// Verify tells whose token it is. ErrUnauthenticated, ErrUnavailable.
func (g *Google) Verify(ctx context.Context, token secret.String) (Caller, error) {
	sum := sha256.Sum256([]byte(token.Reveal()))
	key := string(sum[:])
	who, ok := g.known.peek(key)
	if !ok {
		var err error
		who, err = g.known.load(ctx, key, func(ctx context.Context) (Caller, time.Time, error) { return g.ask(ctx, token) })
		if err != nil {
			return Caller{}, fmt.Errorf("verify an access token: %w", err)
		}
	}
	who.Token = token
	return who, nil
}

// tokenInfo is Google's description of an access token. Numbers and booleans come as strings.
type tokenInfo struct {
	Aud           string          `json:"aud"`
	Sub           string          `json:"sub"`
	Scope         string          `json:"scope"`
	Exp           json.RawMessage `json:"exp"`
	Email         string          `json:"email"`
	EmailVerified json.RawMessage `json:"email_verified"`
}

func (g *Google) ask(ctx context.Context, token secret.String) (Caller, time.Time, error) {
	// In the body, because addresses end up in the logs of whatever stands between.
	form := url.Values{"access_token": {token.Reveal()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.tokenInfo, strings.NewReader(form.Encode()))
	if err != nil {
		return Caller{}, time.Time{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := g.client.Do(req)
	if err != nil {
		return Caller{}, time.Time{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return Caller{}, time.Time{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	var info tokenInfo
	readable := json.Unmarshal(body, &info) == nil
	switch {
	case readable && resp.StatusCode == http.StatusOK:
		return g.accept(info)
	case readable && (resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusUnauthorized):
		return Caller{}, time.Time{}, fmt.Errorf("%w: unknown or expired", ErrUnauthenticated)
	}
	return Caller{}, time.Time{}, fmt.Errorf("%w: status %d", ErrUnavailable, resp.StatusCode)
}

// accept checks the audience first of all: without that, a token which some other application got from its user would
// open this one.
func (g *Google) accept(info tokenInfo) (Caller, time.Time, error) {
	seconds, err := strconv.ParseInt(unquoted(info.Exp), 10, 64)
	expires := time.Unix(seconds, 0)
	fault := ""
	switch {
	case !slices.Contains(g.clientIDs, info.Aud):
		fault = "made for another application"
	case err != nil || !time.Now().Before(expires):
		fault = "expired"
	case !knowsEmail(info.Scope):
		fault = "without the scope of the e-mail address"
	case info.Sub == "" || info.Email == "" || unquoted(info.EmailVerified) != "true":
		fault = "without a verified person"
	}
	if fault != "" {
		return Caller{}, time.Time{}, fmt.Errorf("%w: %s", ErrUnauthenticated, fault)
	}
	until := time.Now().Add(tokenMemory)
	if expires.Before(until) {
		until = expires
	}
	return Caller{Sub: info.Sub, Email: info.Email}, until, nil
}

func knowsEmail(scope string) bool {
	scopes := strings.Fields(scope)
	return slices.Contains(scopes, emailScope) || slices.Contains(scopes, "openid") && slices.Contains(scopes, "email")
}

func unquoted(raw json.RawMessage) string { return strings.Trim(string(raw), `"`) }
