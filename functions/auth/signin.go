package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
	"github.com/bkper/automations-portal/shared/web"
)

// SignIn is a visit to Google that has not come back yet. It is a document rather than an encrypted cookie because only
// what is deleted in a transaction serves once, and because no key has to be configured and changed.
type SignIn struct {
	ID      string    `json:"id"` // proof.id
	Return  string    `json:"return"`
	Consent bool      `json:"consent,omitempty"` // the consent screen was asked for
	Expires time.Time `json:"expires"`
}

// SignIns holds every SignIn.
var SignIns = store.Kind[SignIn]{
	Name:    "signins",
	ID:      func(s *SignIn) string { return s.ID },
	Expires: func(s *SignIn) time.Time { return s.Expires },
}

const (
	browserCookie = "bkper_login"
	signInLife    = 10 * time.Minute // as long as Google's code
)

// proof is what shows that the browser which comes back from Google is the one that was sent there. Everything but the
// state is derived from the browser's cookie and the state, so that the cookie is the only place where it is kept, tabs
// that sign in at once share one cookie, and a state that is wrong, used or another browser's names no document: nothing
// is compared that could be guessed byte by byte.
type proof struct{ browser, state string }

func (p proof) derive(use string) []byte {
	mac := hmac.New(sha256.New, []byte(p.browser))
	mac.Write([]byte(use + "\x00" + p.state))
	return mac.Sum(nil)
}

func (p proof) id() string { return hex.EncodeToString(p.derive("sign-in")) }

func (p proof) nonce() string { return base64.RawURLEncoding.EncodeToString(p.derive("nonce")) }

// verifier is a PKCE code verifier (RFC 7636 §4.1).
func (p proof) verifier() string { return base64.RawURLEncoding.EncodeToString(p.derive("verifier")) }

// login sends the browser to Google.
func (s *site) login(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	to, ok := s.allowed(q.Get("returnUrl"))
	if !ok {
		to = s.home
	}
	consent, hint := q.Get("consent") == "1", ""
	user, err := s.user(r)
	if err != nil {
		return err
	}
	if user != nil && (consent || !user.Granted) {
		consent, hint = true, user.Email
	}
	return s.toGoogle(w, r, SignIn{Return: to, Consent: consent}, hint)
}

func (s *site) toGoogle(w http.ResponseWriter, r *http.Request, visit SignIn, hint string) error {
	browser, ok := s.key(r, browserCookie)
	if !ok {
		browser = newKey()
	}
	p := proof{browser, newKey()}
	visit.ID, visit.Expires = p.id(), s.Now().Add(signInLife)
	err := s.Store.Update(r.Context(), func(tx store.Tx) error { return SignIns.Put(tx, &visit) })
	if err != nil {
		return fmt.Errorf("begin a sign-in: %w", err)
	}
	http.SetCookie(w, s.cookie(browserCookie, browser, signInLife))
	return leave(w, r, s.consentScreen(p, visit.Consent, hint))
}

// callback is where Google sends the browser back. Wherever it is cut, signing in once more completes it: the visit is
// spent first; the grant is in the vault before anything says so; a grant that was given and lost is noticed, since it
// does not work, and asked for again.
func (s *site) callback(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	browser, _ := s.key(r, browserCookie)
	p := proof{browser, q.Get("state")}
	visit, err := s.spend(r.Context(), p)
	if err != nil {
		return err
	}
	switch {
	case q.Get("error") == "access_denied":
		return leaveWith(w, r, visit.Return, "denied")
	case q.Get("error") != "" || q.Get("code") == "":
		return leaveWith(w, r, visit.Return, "failed")
	}
	who, err := s.exchange(r.Context(), p, q.Get("code"))
	if err != nil {
		return err
	}
	web.Note(r.Context(), slog.String("caller", caller.Caller{Sub: who.sub}.Hash()))
	granted, err := s.keepGrant(r.Context(), who)
	switch {
	case err != nil:
		return err
	case !granted && visit.Consent:
		return s.noGrant()
	case !granted:
		return s.toGoogle(w, r, SignIn{Return: visit.Return, Consent: true}, who.email)
	}
	return s.enter(w, r, who, visit.Return)
}

// spend takes a visit, once.
func (s *site) spend(ctx context.Context, p proof) (*SignIn, error) {
	if p.browser == "" || p.state == "" {
		return nil, s.expired(errors.New("no cookie or no state"))
	}
	var visit *SignIn
	err := s.Store.Update(ctx, func(tx store.Tx) (err error) {
		if visit, err = SignIns.Load(tx, p.id()); err != nil {
			return err
		}
		tx.Delete(SignIns.Name, visit.ID)
		return nil
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, s.expired(errors.New("unknown state"))
	case err != nil:
		return nil, fmt.Errorf("end a sign-in: %w", err)
	case !s.Now().Before(visit.Expires):
		return nil, s.expired(errors.New("too late"))
	}
	return visit, nil
}

// keepGrant reports whether the person has a working grant. Google's usual sign-in brings none; then the one that we have
// is kept, if Google still takes it.
func (s *site) keepGrant(ctx context.Context, who person) (bool, error) {
	if !who.refresh.Empty() {
		if err := s.Vault.Put(ctx, vault.UserGrant(who.sub), who.refresh); err != nil {
			return false, fmt.Errorf("keep a grant: %w", err)
		}
		return true, nil
	}
	_, err := s.Grants.Fresh(ctx, who.sub)
	if bank.CodeOf(err) == caller.ConsentRequired {
		return false, nil
	}
	return err == nil, err
}

// noGrant ends what would go round for ever.
func (s *site) noGrant() error {
	return &web.Problem{
		Status: http.StatusForbidden, Code: caller.ConsentRequired, URL: s.consentURL(),
		Detail: "Google gave no lasting permission. Remove this application at https://myaccount.google.com/connections, then sign in again.",
	}
}

// enter gives the browser a page session and lets the person's Books go on.
func (s *site) enter(w http.ResponseWriter, r *http.Request, who person, to string) error {
	cookie := newKey()
	now := s.Now()
	user := &bank.User{Sub: who.sub, Email: who.email, Granted: true, Updated: now}
	session := &PageSession{ID: digest(secret.New(cookie)), Sub: who.sub, Created: now, Expires: now.Add(sessionIdle)}
	former, had := s.key(r, SessionCookie)
	err := s.Store.Update(r.Context(), func(tx store.Tx) error {
		if had {
			tx.Delete(PageSessions.Name, digest(secret.New(former)))
		}
		return errors.Join(store.Users.Put(tx, user), PageSessions.Put(tx, session))
	})
	if err != nil {
		return fmt.Errorf("begin a page session: %w", err)
	}
	s.unblock(r.Context(), who.sub)
	http.SetCookie(w, s.sessionCookie(cookie, sessionIdle))
	return leave(w, r, to)
}
