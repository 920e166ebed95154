package auth

import (
	"context"
	"crypto/sha256"
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
	"github.com/bkper/automations-portal/shared/web"
)

// PageSession is a browser in which a person has signed in. All that it allows is to be given access tokens: every action
// asks for such a token and looks at no cookie.
type PageSession struct {
	ID      string    `json:"id"` // digest of the cookie, which is not kept
	Sub     string    `json:"sub"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

// PageSessions holds every PageSession.
var PageSessions = store.Kind[PageSession]{
	Name:    "pagesessions",
	ID:      func(p *PageSession) string { return p.ID },
	Expires: func(p *PageSession) time.Time { return p.Expires },
}

// SessionCookie is named as Bkper's own is, with __Host- before it over https.
const SessionCookie = "bkper_session"

const (
	sessionIdle = 30 * 24 * time.Hour  // a session that is not used ends
	sessionLife = 180 * 24 * time.Hour // every session ends
	sessionStep = 24 * time.Hour       // a session in use is written so often
)

// digest needs no salt and no slow hash: what it hides has 256 random bits.
func digest(cookie secret.String) string {
	sum := sha256.Sum256([]byte(cookie.Reveal()))
	return hex.EncodeToString(sum[:])
}

// sessionCookie goes to pages of other sites too where such are configured; the guard then keeps all others out.
func (s *site) sessionCookie(value string, age time.Duration) *http.Cookie {
	c := s.cookie(SessionCookie, value, age)
	if c.Secure && len(s.Returns) > 0 {
		c.SameSite = http.SameSiteNoneMode
	}
	return c
}

// session reads the page session of a request; nil where there is none.
func (s *site) session(r *http.Request) (*PageSession, error) {
	cookie, ok := s.key(r, SessionCookie)
	if !ok {
		return nil, nil
	}
	session, err := PageSessions.Get(r.Context(), s.Store, digest(secret.New(cookie)))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read a page session: %w", err)
	}
	if !s.Now().Before(session.Expires) {
		return nil, nil
	}
	return session, nil
}

// user reads who is signed in already; nil where nobody is.
func (s *site) user(r *http.Request) (*bank.User, error) {
	session, err := s.session(r)
	if session == nil {
		return nil, err
	}
	user, err := store.Users.Get(r.Context(), s.Store, session.Sub)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read a user: %w", err)
	}
	return user, nil
}

// Access is the answer that Bkper's web-auth client expects.
type Access struct {
	AccessToken string `json:"accessToken"` // Google's, of the person
	UserID      string `json:"userId"`      // Google's sub
}

// refresh gives the page an access token. It is never one from memory: pages ask when theirs was refused, and a person
// who took the consent back and gave it again would get the dead one for an hour.
func (s *site) refresh(w http.ResponseWriter, r *http.Request) error {
	if err := s.guard.Check(r); err != nil {
		return foreign(err)
	}
	began := s.Now()
	session, err := s.session(r)
	if err != nil {
		return err
	}
	if session == nil {
		return s.signedOut()
	}
	web.Note(r.Context(), slog.String("caller", caller.Caller{Sub: session.Sub}.Hash()))
	token, err := s.Grants.Fresh(r.Context(), session.Sub)
	if bank.CodeOf(err) == caller.ConsentRequired {
		return errors.Join(s.refused(r.Context(), session.Sub, began), s.consentRequired(err))
	}
	if err != nil {
		return err
	}
	if err := s.prolong(w, r, session); err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, Access{AccessToken: token.Reveal(), UserID: session.Sub})
}

func foreign(cause error) error {
	return web.Forbidden("Pages of other sites cannot use this session. Ask the operator to allow the page's origin.").Because(cause)
}

// signedOut and consentRequired are both 401, because that is the only refusal the client knows.
func (s *site) signedOut() error {
	return &web.Problem{Status: http.StatusUnauthorized, Code: "unauthenticated", Detail: "Sign in.", URL: s.loginURL()}
}

func (s *site) consentRequired(cause error) error {
	p := &web.Problem{
		Status: http.StatusUnauthorized, Code: caller.ConsentRequired, URL: s.consentURL(),
		Detail: "Sign in again and allow this application: Google no longer takes the permission that you gave.",
	}
	return p.Because(cause)
}

// refused writes down that Google no longer takes a grant, unless the person has signed in since it was asked.
func (s *site) refused(ctx context.Context, sub string, asked time.Time) error {
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		user, err := store.Users.Load(tx, sub)
		if errors.Is(err, store.ErrNotFound) || err == nil && (!user.Granted || user.Updated.After(asked)) {
			return nil
		}
		if err != nil {
			return err
		}
		user.Granted, user.Updated = false, asked
		return store.Users.Put(tx, user)
	})
	if err != nil {
		return fmt.Errorf("note a refused grant: %w", err)
	}
	return nil
}

// prolong moves the end of a session that is in use, at most once a day. One that was ended meanwhile stays ended.
func (s *site) prolong(w http.ResponseWriter, r *http.Request, session *PageSession) error {
	until := s.Now().Add(sessionIdle)
	if end := session.Created.Add(sessionLife); until.After(end) {
		until = end
	}
	if until.Sub(session.Expires) < sessionStep {
		return nil
	}
	err := s.Store.Update(r.Context(), func(tx store.Tx) error {
		now, err := PageSessions.Load(tx, session.ID)
		if err != nil {
			return err
		}
		now.Expires = until
		return PageSessions.Put(tx, now)
	})
	if errors.Is(err, store.ErrNotFound) {
		return s.signedOut()
	}
	if err != nil {
		return fmt.Errorf("prolong a page session: %w", err)
	}
	cookie, _ := s.key(r, SessionCookie)
	http.SetCookie(w, s.sessionCookie(cookie, until.Sub(s.Now())))
	return nil
}

// logout ends the page session. The grant stays, and nothing is revoked at Google: that would end every grant of the
// person at once and so stop the posting.
func (s *site) logout(w http.ResponseWriter, r *http.Request) error {
	if err := s.ownHand(r); err != nil {
		return foreign(err)
	}
	if cookie, ok := s.key(r, SessionCookie); ok {
		err := s.Store.Update(r.Context(), func(tx store.Tx) error {
			tx.Delete(PageSessions.Name, digest(secret.New(cookie)))
			return nil
		})
		if err != nil {
			return fmt.Errorf("end a page session: %w", err)
		}
	}
	http.SetCookie(w, s.sessionCookie("", 0))
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	to, ok := s.allowed(r.URL.Query().Get("returnUrl"))
	if !ok {
		to = s.home
	}
	return leave(w, r, to)
}

// ownHand keeps pictures and frames of other sites from signing people out; to a GET the guard has no objection.
func (s *site) ownHand(r *http.Request) error {
	if to := r.Header.Get("Sec-Fetch-Dest"); r.Method == http.MethodGet && to != "" && to != "document" {
		return errors.New("not a navigation")
	}
	if err := s.guard.Check(r); err != nil {
		return fmt.Errorf("of another site: %w", err)
	}
	return nil
}
