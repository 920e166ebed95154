// Package auth signs people in with Google: it keeps each person's standing grant for the functions that work while the
// person is away, and gives the page fresh access tokens for as long as the person's page session lasts. It speaks the
// contract of Bkper's web-auth client.
package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
	"github.com/bkper/automations-portal/shared/web"
)

// Auth serves the function.
type Auth struct {
	Store  store.Store
	Vault  vault.Writer // grants are put, never read: Grants does that
	Grants Grants
	Events events.Publisher
	Edge   *web.Edge // its Origins and Credentials are replaced by what Returns says

	ClientID     string // of the OAuth client registered with Google
	ClientSecret secret.String
	AuthURL      string       // default GoogleAuthURL
	TokenURL     string       // default caller.GoogleTokenURL
	Client       *http.Client // for TokenURL and the keys at caller.KeysURL; default http.DefaultClient

	URL     string           // where browsers reach the function, such as https://portal.example/auth
	Home    string           // where people come out who did not say where to: a path or a URL; default "/"
	Returns []string         // other origins whose pages sign people in here, such as https://pages.example; exact
	Now     func() time.Time // default time.Now
}

// GoogleAuthURL is Google's authorization endpoint (https://developers.google.com/identity/protocols/oauth2/web-server).
const GoogleAuthURL = "https://accounts.google.com/o/oauth2/v2/auth"

// Grants turns a standing grant into an access token; caller.Grants tells the errors.
type Grants interface {
	Fresh(ctx context.Context, sub string) (secret.String, error)
}

// Handler serves the paths below the function's root:
//
//	GET      /login     ?returnUrl= &consent=1  to Google, and from there to returnUrl
//	GET      /callback  where Google sends the browser back
//	POST     /refresh   {"accessToken", "userId"}, or 401
//	GET,POST /logout    ?returnUrl=  ends the page session
//
// It panics where URL, Home or Returns are not what they must be: a function that does not know which pages are its own
// must not serve.
func (a *Auth) Handler() http.Handler {
	s := a.site()
	mux := http.NewServeMux()
	mux.Handle("/login", s.edge.Handle("auth/login", s.login, http.MethodGet))
	mux.Handle("/callback", s.edge.Handle("auth/callback", s.callback, http.MethodGet))
	mux.Handle("/refresh", s.edge.Handle("auth/refresh", s.refresh, http.MethodPost))
	mux.Handle("/logout", s.edge.Handle("auth/logout", s.logout, http.MethodGet, http.MethodPost))
	mux.Handle("/", s.edge.Nothing())
	return mux
}

// site is an Auth with everything that follows from its configuration.
type site struct {
	*Auth
	edge    *web.Edge
	base    *url.URL
	home    string
	origins []string // our own first
	guard   *http.CrossOriginProtection
	oauth   oauth2.Config
	client  *http.Client
	tokens  *caller.IDTokens
}

func (a *Auth) site() *site {
	own := *a
	if own.Now == nil {
		own.Now = time.Now
	}
	base, err := url.Parse(strings.TrimSuffix(a.URL, "/"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		panic("auth: URL is not one")
	}
	edge := *a.Edge
	edge.Origins, edge.Credentials = a.Returns, true
	s := &site{Auth: &own, edge: &edge, base: base, client: caller.Bounded(a.Client)}
	s.origins = append([]string{base.Scheme + "://" + strings.ToLower(base.Host)}, a.Returns...)
	s.guard = http.NewCrossOriginProtection()
	for _, origin := range s.origins {
		if err := s.guard.AddTrustedOrigin(origin); err != nil {
			panic("auth: not an origin in Returns")
		}
	}
	home, ok := s.allowed(cmp.Or(a.Home, "/"))
	if !ok {
		panic("auth: Home is not a page of ours")
	}
	s.home = home
	s.oauth = oauth2.Config{
		ClientID: a.ClientID, ClientSecret: a.ClientSecret.Reveal(), RedirectURL: base.String() + "/callback", Scopes: scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL: cmp.Or(a.AuthURL, GoogleAuthURL), TokenURL: cmp.Or(a.TokenURL, caller.GoogleTokenURL), AuthStyle: oauth2.AuthStyleInParams,
		},
	}
	if s.tokens, err = caller.NewIDTokens(context.Background(), a.ClientID, a.Client); err != nil {
		panic("auth: " + err.Error())
	}
	return s
}

// loginURL is where a person whom an answer refuses can go.
func (s *site) loginURL() string { return s.base.String() + "/login" }

func (s *site) consentURL() string { return s.loginURL() + "?consent=1" }

// cookie makes one that only this host can set. Over https its name says so, and browsers then take it from nobody else: whoever
// has another host below the same domain could otherwise put people into a session of their own, and be given their banks. Such
// a name wants the path /.
func (s *site) cookie(name, value string, age time.Duration) *http.Cookie {
	c := &http.Cookie{
		Name: s.cookieName(name), Value: value, Path: "/", MaxAge: int(age / time.Second),
		HttpOnly: true, Secure: s.secure(), SameSite: http.SameSiteLaxMode,
	}
	if !c.Secure {
		c.Path = cmp.Or(s.base.Path, "/")
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

func (s *site) secure() bool { return s.base.Scheme == "https" }

func (s *site) cookieName(name string) string {
	if s.secure() {
		return "__Host-" + name
	}
	return name
}

const keyBytes = 32

// newKey is what a cookie holds: 256 random bits as 43 characters.
func newKey() string {
	var b [keyBytes]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// key reads a cookie made with newKey.
func (s *site) key(r *http.Request, name string) (string, bool) {
	c, err := r.Cookie(s.cookieName(name))
	if err != nil {
		return "", false
	}
	if b, err := base64.RawURLEncoding.Strict().DecodeString(c.Value); err != nil || len(b) != keyBytes {
		return "", false
	}
	return c.Value, true
}

// allowed tells whether a person may be sent to a URL or path, and as what. The answer always begins with an origin from
// our own list, so that no spelling of another host can get through.
func (s *site) allowed(raw string) (string, bool) {
	if raw == "" || len(raw) > maxReturn || strings.ContainsFunc(raw, odd) {
		return "", false
	}
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Opaque != "" {
		return "", false
	}
	origin := u.Scheme + "://" + strings.ToLower(u.Host)
	if u.Scheme == "" && strings.HasPrefix(raw, "/") && !strings.HasPrefix(raw, "//") {
		origin = s.origins[0]
	}
	if !slices.Contains(s.origins, origin) || s.ours(origin, u) {
		return "", false
	}
	rest := url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: withoutOutcome(u), Fragment: u.Fragment, RawFragment: u.RawFragment}
	return origin + rest.String(), true
}

const maxReturn = 2000

// odd finds what browsers strip or turn into a slash.
func odd(r rune) bool { return r <= ' ' || r == '\\' || r == 0x7f }

// ours finds this function's own paths: to be sent to one of them after signing in would be to go round, or out again.
func (s *site) ours(origin string, u *url.URL) bool {
	at := path.Clean(u.Path)
	return s.base.Path != "" && origin == s.origins[0] && (at == s.base.Path || strings.HasPrefix(at, s.base.Path+"/"))
}

// outcome is the parameter by which the page learns that nobody was signed in.
const outcome = "signin"

// withoutOutcome forgets how an earlier sign-in from the same page ended.
func withoutOutcome(u *url.URL) string {
	q := u.Query()
	if !q.Has(outcome) {
		return u.RawQuery
	}
	q.Del(outcome)
	return q.Encode()
}

// leave sends the browser to a page.
func leave(w http.ResponseWriter, r *http.Request, to string) error {
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// leaveWith is leave for a sign-in that did not succeed.
func leaveWith(w http.ResponseWriter, r *http.Request, to, how string) error {
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	q := u.Query()
	q.Set(outcome, how)
	u.RawQuery = q.Encode()
	return leave(w, r, u.String())
}
