package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"golang.org/x/oauth2"

	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/web"
)

// scopes are what Bkper's API takes a token with.
var scopes = []string{"openid", "https://www.googleapis.com/auth/userinfo.email"}

// consentScreen is the URL of Google's sign-in. Offline access is asked for always; Google gives a refresh token only
// past the screen, which it shows the first time and when it is asked to.
// https://developers.google.com/identity/protocols/oauth2/web-server#offline
func (s *site) consentScreen(p proof, consent bool, hint string) string {
	options := []oauth2.AuthCodeOption{
		oauth2.AccessTypeOffline, oauth2.S256ChallengeOption(p.verifier()), oauth2.SetAuthURLParam("nonce", p.nonce()),
	}
	if consent {
		options = append(options, oauth2.SetAuthURLParam("prompt", "consent"))
	}
	if hint != "" {
		options = append(options, oauth2.SetAuthURLParam("login_hint", hint))
	}
	return s.oauth.AuthCodeURL(p.state, options...)
}

// person is whom Google says has signed in.
type person struct {
	sub     string
	email   string
	refresh secret.String // empty unless the person passed the consent screen
}

// exchange turns the code that the browser brought into a person.
func (s *site) exchange(ctx context.Context, p proof, code string) (person, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, s.client)
	token, err := s.oauth.Exchange(ctx, code, oauth2.VerifierOption(p.verifier()))
	if err != nil {
		return person{}, s.exchangeError(err)
	}
	raw, _ := token.Extra("id_token").(string)
	who, err := s.verify(ctx, raw, p.nonce())
	who.refresh = secret.New(token.RefreshToken)
	return who, err
}

// exchangeError never wraps what oauth2 made of an answer, because that holds the answer's body.
func (s *site) exchangeError(err error) error {
	var unreached *url.Error
	if errors.As(err, &unreached) {
		return s.unavailable(unreached)
	}
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.Response == nil {
		return s.unavailable(errors.New("token endpoint: an answer that is none"))
	}
	switch refused.ErrorCode {
	case "invalid_grant":
		return s.expired(errors.New("token endpoint: invalid_grant"))
	case "invalid_client", "unauthorized_client", "invalid_request", "redirect_uri_mismatch":
		return fmt.Errorf("token endpoint: %s", refused.ErrorCode)
	}
	return s.unavailable(fmt.Errorf("token endpoint: status %d", refused.Response.StatusCode))
}

// unavailable says that Google cannot be asked. The code is spent, so only a new sign-in helps.
func (s *site) unavailable(cause error) error {
	p := web.Unavailable(0)
	p.Detail, p.URL = "Google does not answer. Sign in again in a moment.", s.loginURL()
	return p.Because(cause)
}

// expired says that a sign-in cannot be completed from here, and nothing of why: to whoever forges one, all is the same.
func (s *site) expired(cause error) error {
	p := &web.Problem{
		Status: http.StatusBadRequest, Code: "sign_in_expired", URL: s.loginURL(),
		Detail: "This sign-in is over: it was used already, took too long, or began in another browser. Sign in again.",
	}
	return p.Because(cause)
}

// verify reads an ID token. What was wrong with it is not told, for some errors quote the token.
func (s *site) verify(ctx context.Context, raw, nonce string) (person, error) {
	who, err := s.tokens.Verify(ctx, secret.New(raw))
	switch {
	case errors.Is(err, caller.ErrUnavailable):
		return person{}, s.unavailable(errors.New("ID token: no keys"))
	case err != nil:
		return person{}, s.expired(errors.New("ID token: signature, audience, time or issuer"))
	case subtle.ConstantTimeCompare([]byte(who.Nonce), []byte(nonce)) != 1:
		return person{}, s.expired(errors.New("ID token: of another sign-in"))
	case who.Sub == "" || who.Email == "":
		return person{}, web.Forbidden("Google has not verified the e-mail address of this account. Verify it there, or sign in with another account.")
	}
	return person{sub: who.Sub, email: who.Email}, nil
}
