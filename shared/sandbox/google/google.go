// Package google stands in for Google's sign-in and token service: authorization, tokens, token information, revocation
// and the keys that verify ID tokens. The parts are plain types that tests call; Server puts HTTP over them.
package google

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/disk"
)

const (
	// Issuer is the iss of every ID token, as Google's are, wherever the stand-in listens.
	Issuer = "https://accounts.google.com"

	tokenLife = time.Hour
	codeLife  = 10 * time.Minute
	// Google keeps this many refresh tokens for one account and client; one more silently ends the oldest.
	// https://developers.google.com/identity/protocols/oauth2#expiration
	refreshLimit = 100

	// Spaces of the disk.
	userSpace  = "google.user"
	grantSpace = "google.grant"
	codeSpace  = "google.code"
	keySpace   = "google.key"
)

// User is a Google account.
type User struct {
	Sub   string `json:"sub"` // 21 digits; what Google promises never to change
	Email string `json:"email"`
	Name  string `json:"name,omitempty"`
}

// Client is an OAuth client registered with Google.
type Client struct {
	ID           string
	Secret       string
	RedirectURIs []string
}

// Error is a refusal in OAuth's own words.
type Error struct {
	Status      int    `json:"-"` // HTTP status
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

func (e *Error) Error() string { return e.Code + ": " + e.Description }

func refuse(status int, code, format string, args ...any) *Error {
	return &Error{status, code, fmt.Sprintf(format, args...)}
}

// Options set a Service up. Only Clients is needed.
type Options struct {
	Clients []Client
	Users   []User           // added unless the disk knows them already
	Now     func() time.Time // default time.Now
	Random  io.Reader        // source of tokens and codes; default crypto/rand
	DB      *disk.DB         // nil keeps everything in memory only
}

// Service is Google's sign-in and token service. It is safe for concurrent use.
type Service struct {
	clients map[string]Client
	now     func() time.Time
	random  io.Reader
	db      *disk.DB

	mu     sync.Mutex
	users  map[string]User   // by sub
	emails map[string]string // lower-case e-mail → sub
	grants map[string]*grant // by grantID
	access map[string]string // token hash → grantID
	fresh  map[string]string // refresh token hash → grantID
	codes  map[string]code   // by hash
	keys   []*key            // the last one signs
}

// grant is what a user allowed a client. It holds hashes only, so that no file of the sandbox holds a token.
type grant struct {
	Sub      string    `json:"sub"`
	ClientID string    `json:"client_id"`
	Scopes   []string  `json:"scopes"`
	Offline  bool      `json:"offline"`
	Access   []issued  `json:"access,omitempty"`
	Refresh  []issued  `json:"refresh,omitempty"`
	Since    time.Time `json:"since"`
}

type issued struct {
	Hash    string    `json:"hash"`
	Scopes  []string  `json:"scopes"`
	Offline bool      `json:"offline,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

type code struct {
	Sub         string    `json:"sub"`
	ClientID    string    `json:"client_id"`
	RedirectURI string    `json:"redirect_uri"`
	Challenge   string    `json:"challenge"`
	Nonce       string    `json:"nonce,omitempty"`
	Scopes      []string  `json:"scopes"`
	Offline     bool      `json:"offline"`
	Refresh     bool      `json:"refresh"` // the consent screen was passed for offline access
	Expires     time.Time `json:"expires"`
}

// New returns a Service with what the disk holds.
func New(o Options) (*Service, error) {
	s := &Service{
		clients: map[string]Client{}, now: o.Now, random: o.Random, db: o.DB,
		users: map[string]User{}, emails: map[string]string{}, grants: map[string]*grant{},
		access: map[string]string{}, fresh: map[string]string{}, codes: map[string]code{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.random == nil {
		s.random = rand.Reader
	}
	for _, c := range o.Clients {
		s.clients[c.ID] = c
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	if len(s.keys) == 0 {
		first, err := processKey()
		if err == nil {
			err = s.signWith(first)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, u := range o.Users {
		if _, err := s.AddUser(u); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Service) load() error {
	if s.db == nil {
		return nil
	}
	return errors.Join(
		disk.Each(s.db, userSpace, func(_ string, u User) error {
			s.users[u.Sub], s.emails[strings.ToLower(u.Email)] = u, u.Sub
			return nil
		}),
		disk.Each(s.db, grantSpace, func(id string, g grant) error {
			s.keep(id, &g)
			return nil
		}),
		disk.Each(s.db, codeSpace, func(hash string, c code) error {
			s.codes[hash] = c
			return nil
		}),
		disk.Each(s.db, keySpace, func(_ string, doc storedKey) error {
			k, err := doc.open()
			s.keys = append(s.keys, k)
			return err
		}))
}

func (s *Service) save(space, id string, doc any) error {
	if s.db == nil {
		return nil
	}
	return s.db.Save(space, map[string]any{id: doc})
}

// Sub returns the account number that the sandbox gives to an e-mail address: 21 digits, always the same.
func Sub(email string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(email)))
	n := new(big.Int).SetBytes(sum[:])
	n.Mod(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(20), nil))
	return fmt.Sprintf("1%020d", n)
}

// AddUser adds an account, or renames the one with the same Sub. An empty Sub is derived from the e-mail address.
func (s *Service) AddUser(u User) (User, error) {
	u.Sub = cmp.Or(u.Sub, Sub(u.Email))
	if !strings.Contains(u.Email, "@") || len(u.Sub) != 21 || strings.Trim(u.Sub, "0123456789") != "" {
		return User{}, fmt.Errorf("user %q with sub %q: want an e-mail address and 21 digits", u.Email, u.Sub)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub, ok := s.emails[strings.ToLower(u.Email)]; ok && sub != u.Sub {
		return User{}, fmt.Errorf("user %q exists with another sub", u.Email)
	}
	if old, ok := s.users[u.Sub]; ok {
		if old == u {
			return u, nil
		}
		delete(s.emails, strings.ToLower(old.Email))
	}
	s.users[u.Sub], s.emails[strings.ToLower(u.Email)] = u, u.Sub
	return u, s.save(userSpace, u.Sub, u)
}

// Users returns all accounts in the order of their e-mail addresses.
func (s *Service) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []User
	for _, u := range s.users {
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b User) int { return strings.Compare(a.Email, b.Email) })
	return all
}

// Lookup returns the account that an access token stands for, while the token lives.
func (s *Service) Lookup(accessToken string) (User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, _, ok := s.findAccess(accessToken)
	if !ok {
		return User{}, false
	}
	u, ok := s.users[g.Sub]
	return u, ok
}

func (s *Service) findAccess(token string) (*grant, issued, bool) {
	h := hash(token)
	g := s.grants[s.access[h]]
	if g == nil {
		return nil, issued{}, false
	}
	i := slices.IndexFunc(g.Access, func(t issued) bool { return t.Hash == h })
	if i < 0 || !s.now().Before(g.Access[i].Expires) {
		return nil, issued{}, false
	}
	return g, g.Access[i], true
}

// RevokeUser withdraws every consent of a user, as the user's hand does under "third-party connections": all access and
// refresh tokens end at once.
func (s *Service) RevokeUser(sub string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, g := range s.grants {
		if g.Sub == sub {
			if err := s.drop(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// ExpireTokens ends the access tokens of a user before their time; refresh tokens live on.
func (s *Service) ExpireTokens(sub string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, g := range s.grants {
		if g.Sub != sub {
			continue
		}
		for _, t := range g.Access {
			delete(s.access, t.Hash)
		}
		g.Access = nil
		if err := s.save(grantSpace, id, g); err != nil {
			return err
		}
	}
	return nil
}

func grantID(sub, clientID string) string { return sub + "/" + clientID }

// keep indexes a grant under its tokens.
func (s *Service) keep(id string, g *grant) {
	s.grants[id] = g
	for _, t := range g.Access {
		s.access[t.Hash] = id
	}
	for _, t := range g.Refresh {
		s.fresh[t.Hash] = id
	}
}

// drop forgets a grant and all its tokens, and the codes that would bring it back.
func (s *Service) drop(id string) error {
	g := s.grants[id]
	for _, t := range g.Access {
		delete(s.access, t.Hash)
	}
	for _, t := range g.Refresh {
		delete(s.fresh, t.Hash)
	}
	delete(s.grants, id)
	for h, c := range s.codes {
		if grantID(c.Sub, c.ClientID) == id {
			delete(s.codes, h)
			if err := s.save(codeSpace, h, nil); err != nil {
				return err
			}
		}
	}
	return s.save(grantSpace, id, nil)
}

func (s *Service) token(prefix string, bytes int) (string, error) {
	b := make([]byte, bytes)
	if _, err := io.ReadFull(s.random, b); err != nil {
		return "", fmt.Errorf("make a token: %w", err)
	}
	return prefix + base64.RawURLEncoding.EncodeToString(b), nil
}

func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
