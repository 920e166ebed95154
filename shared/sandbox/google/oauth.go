package google

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// AuthRequest is what a client asks at the authorization endpoint.
type AuthRequest struct {
	ClientID       string
	RedirectURI    string
	ResponseType   string // "code" is the only one served
	Scope          string // separated by spaces
	Nonce          string
	Challenge      string // PKCE; required here, although Google lets confidential clients go without
	Method         string // of the challenge: "S256"
	AccessType     string // "", "online" or "offline"
	Prompt         string // separated by spaces: none, consent, select_account
	IncludeGranted bool   // adds what the user has granted this client before
}

// CheckClient tells whether an answer may go to the redirect URI at all. Google shows such errors to the person and
// never redirects.
func (s *Service) CheckClient(r AuthRequest) error {
	c, ok := s.clients[r.ClientID]
	if !ok {
		return refuse(http.StatusUnauthorized, "invalid_client", "The OAuth client was not found.")
	}
	if !slices.Contains(c.RedirectURIs, r.RedirectURI) {
		return refuse(http.StatusBadRequest, "redirect_uri_mismatch", "The redirect URI in the request, %s, does not match the ones authorized for the OAuth client.", r.RedirectURI)
	}
	return nil
}

// Check returns an *Error for a request that Google would not show a consent screen for.
func (s *Service) Check(r AuthRequest) error {
	if err := s.CheckClient(r); err != nil {
		return err
	}
	switch {
	case r.ResponseType != "code":
		return refuse(http.StatusBadRequest, "unsupported_response_type", "Invalid response_type: %s", r.ResponseType)
	case strings.TrimSpace(r.Scope) == "":
		return refuse(http.StatusBadRequest, "invalid_request", "Missing required parameter: scope")
	case r.Method != "S256" || len(r.Challenge) != 43:
		return refuse(http.StatusBadRequest, "invalid_request", "Missing or malformed code_challenge with code_challenge_method S256")
	case !slices.Contains([]string{"", "online", "offline"}, r.AccessType):
		return refuse(http.StatusBadRequest, "invalid_request", "Invalid access_type: %s", r.AccessType)
	}
	for _, p := range strings.Fields(r.Prompt) {
		if !slices.Contains([]string{"none", "consent", "select_account"}, p) {
			return refuse(http.StatusBadRequest, "invalid_request", "Invalid prompt: %s", p)
		}
	}
	for _, sc := range strings.Fields(r.Scope) {
		if sc != "openid" && sc != "email" && sc != "profile" && !strings.HasPrefix(sc, "https://") {
			return refuse(http.StatusBadRequest, "invalid_scope", "Some requested scopes were invalid: %s", sc)
		}
	}
	return nil
}

// Approve is the user's click on "Allow". The code it returns can be exchanged once within ten minutes.
func (s *Service) Approve(r AuthRequest, email string) (string, error) {
	if err := s.Check(r); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, ok := s.emails[strings.ToLower(email)]
	if !ok {
		return "", refuse(http.StatusBadRequest, "invalid_request", "Couldn't find the Google Account %s", email)
	}
	scopes := fullScopes(strings.Fields(r.Scope))
	offline := r.AccessType == "offline"
	g := s.grants[grantID(sub, r.ClientID)]
	// Google gives a refresh token only when the person passes the consent screen: the first time, when asked for more,
	// or when the client asks for the screen.
	consent := g == nil || !subset(scopes, g.Scopes) || offline && !g.Offline || slices.Contains(strings.Fields(r.Prompt), "consent")
	if r.IncludeGranted && g != nil {
		scopes = union(scopes, g.Scopes)
	}
	text, err := s.token("4/0", 52)
	if err != nil {
		return "", err
	}
	c := code{
		Sub: sub, ClientID: r.ClientID, RedirectURI: r.RedirectURI, Challenge: r.Challenge, Nonce: r.Nonce,
		Scopes: scopes, Offline: offline, Refresh: offline && consent, Expires: s.now().Add(codeLife),
	}
	s.codes[hash(text)] = c
	return text, s.save(codeSpace, hash(text), c)
}

// Granted reports whether the account has allowed the client all that it asks, so that no screen is needed.
func (s *Service) Granted(r AuthRequest, email string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.grants[grantID(s.emails[strings.ToLower(email)], r.ClientID)]
	return g != nil && subset(fullScopes(strings.Fields(r.Scope)), g.Scopes)
}

// Tokens is the token endpoint's answer.
type Tokens struct {
	AccessToken  string `json:"access_token"`
	ExpiresIn    int    `json:"expires_in"` // seconds
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope"`
	TokenType    string `json:"token_type"`
	IDToken      string `json:"id_token,omitempty"`
}

// Exchange turns a code into tokens, once. An *Error says invalid_client or invalid_grant.
func (s *Service) Exchange(clientID, clientSecret, codeText, redirectURI, verifier string) (Tokens, error) {
	if err := s.authenticate(clientID, clientSecret); err != nil {
		return Tokens{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := hash(codeText)
	c, ok := s.codes[h]
	if !ok || c.ClientID != clientID {
		return Tokens{}, refuse(http.StatusBadRequest, "invalid_grant", "Malformed auth code.")
	}
	delete(s.codes, h)
	if err := s.save(codeSpace, h, nil); err != nil {
		return Tokens{}, err
	}
	sum := sha256.Sum256([]byte(verifier))
	switch {
	case !s.now().Before(c.Expires):
		return Tokens{}, refuse(http.StatusBadRequest, "invalid_grant", "Bad Request")
	case c.RedirectURI != redirectURI:
		return Tokens{}, refuse(http.StatusBadRequest, "redirect_uri_mismatch", "Bad Request")
	case verifier == "":
		return Tokens{}, refuse(http.StatusBadRequest, "invalid_grant", "Missing code verifier.")
	case !equal(base64.RawURLEncoding.EncodeToString(sum[:]), c.Challenge):
		return Tokens{}, refuse(http.StatusBadRequest, "invalid_grant", "Invalid code verifier.")
	}
	return s.consented(c)
}

// consented records the consent behind a code and issues its tokens.
func (s *Service) consented(c code) (Tokens, error) {
	id := grantID(c.Sub, c.ClientID)
	g := s.grants[id]
	if g == nil {
		g = &grant{Sub: c.Sub, ClientID: c.ClientID, Since: s.now()}
		s.grants[id] = g
	}
	g.Scopes, g.Offline = union(g.Scopes, c.Scopes), g.Offline || c.Offline
	var refresh string
	if c.Refresh {
		var err error
		if refresh, err = s.token("1//0", 72); err != nil {
			return Tokens{}, err
		}
		g.Refresh = append(g.Refresh, issued{Hash: hash(refresh), Scopes: c.Scopes})
		s.fresh[hash(refresh)] = id
		if len(g.Refresh) > refreshLimit {
			delete(s.fresh, g.Refresh[0].Hash)
			g.Refresh = g.Refresh[1:]
		}
	}
	t, err := s.issue(id, g, c.Scopes, c.Offline, c.Nonce)
	t.RefreshToken = refresh
	return t, err
}

// Refresh turns a refresh token into a new access token. It never returns a new refresh token, as Google does not.
func (s *Service) Refresh(clientID, clientSecret, refreshToken string) (Tokens, error) {
	if err := s.authenticate(clientID, clientSecret); err != nil {
		return Tokens{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := hash(refreshToken)
	id := s.fresh[h]
	g := s.grants[id]
	if g == nil || g.ClientID != clientID {
		return Tokens{}, refuse(http.StatusBadRequest, "invalid_grant", "Token has been expired or revoked.")
	}
	i := slices.IndexFunc(g.Refresh, func(t issued) bool { return t.Hash == h })
	return s.issue(id, g, g.Refresh[i].Scopes, true, "")
}

func (s *Service) issue(id string, g *grant, scopes []string, offline bool, nonce string) (Tokens, error) {
	access, err := s.token("ya29.a0", 96)
	if err != nil {
		return Tokens{}, err
	}
	t := Tokens{AccessToken: access, ExpiresIn: int(tokenLife.Seconds()) - 1, Scope: strings.Join(scopes, " "), TokenType: "Bearer"}
	if slices.Contains(scopes, "openid") {
		if t.IDToken, err = s.sign(s.claims(g, scopes, access, nonce)); err != nil {
			return Tokens{}, err
		}
	}
	g.Access = slices.DeleteFunc(g.Access, func(t issued) bool {
		past := !s.now().Before(t.Expires)
		if past {
			delete(s.access, t.Hash)
		}
		return past
	})
	g.Access = append(g.Access, issued{Hash: hash(access), Scopes: scopes, Offline: offline, Expires: s.now().Add(tokenLife)})
	s.access[hash(access)] = id
	return t, s.save(grantSpace, id, g)
}

func (s *Service) claims(g *grant, scopes []string, access, nonce string) jwt.MapClaims {
	u := s.users[g.Sub]
	sum := sha256.Sum256([]byte(access))
	c := jwt.MapClaims{"aud": g.ClientID, "azp": g.ClientID, "sub": u.Sub, "at_hash": base64.RawURLEncoding.EncodeToString(sum[:16])}
	if slices.Contains(scopes, emailScope) {
		c["email"], c["email_verified"] = u.Email, true
	}
	if slices.Contains(scopes, profileScope) {
		c["name"] = u.Name
	}
	if nonce != "" {
		c["nonce"] = nonce
	}
	return c
}

func (s *Service) authenticate(clientID, clientSecret string) error {
	c, ok := s.clients[clientID]
	if !ok {
		return refuse(http.StatusUnauthorized, "invalid_client", "The OAuth client was not found.")
	}
	if !equal(c.Secret, clientSecret) {
		return refuse(http.StatusUnauthorized, "invalid_client", "Unauthorized")
	}
	return nil
}

// TokenInfo describes an access token as Google's tokeninfo endpoint does, numbers and booleans as strings.
type TokenInfo struct {
	Azp           string `json:"azp"`
	Aud           string `json:"aud"`
	Sub           string `json:"sub,omitempty"`
	Scope         string `json:"scope"`
	Exp           string `json:"exp"`        // seconds since 1970
	ExpiresIn     string `json:"expires_in"` // seconds
	Email         string `json:"email,omitempty"`
	EmailVerified string `json:"email_verified,omitempty"`
	AccessType    string `json:"access_type"`
}

// TokenInfo describes a living access token; any other is refused as invalid_token.
func (s *Service) TokenInfo(accessToken string) (TokenInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, t, ok := s.findAccess(accessToken)
	if !ok {
		return TokenInfo{}, refuse(http.StatusBadRequest, "invalid_token", "Invalid Value")
	}
	info := TokenInfo{
		Azp: g.ClientID, Aud: g.ClientID, Scope: strings.Join(t.Scopes, " "), AccessType: "online",
		Exp: strconv.FormatInt(t.Expires.Unix(), 10), ExpiresIn: strconv.Itoa(int(t.Expires.Sub(s.now()).Seconds())),
	}
	if t.Offline {
		info.AccessType = "offline"
	}
	if slices.Contains(t.Scopes, "openid") {
		info.Sub = g.Sub
	}
	if slices.Contains(t.Scopes, emailScope) {
		info.Email, info.EmailVerified = s.users[g.Sub].Email, "true"
	}
	return info, nil
}

// Revoke ends the consent that an access or refresh token came from: every token that this user gave this client ends
// with it, whichever of them was sent. That is why signing out must never revoke.
func (s *Service) Revoke(token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.fresh[hash(token)]
	if !ok {
		g, _, found := s.findAccess(token)
		if !found {
			return refuse(http.StatusBadRequest, "invalid_token", "Token expired or revoked")
		}
		id = grantID(g.Sub, g.ClientID)
	}
	return s.drop(id)
}

const (
	emailScope   = "https://www.googleapis.com/auth/userinfo.email"
	profileScope = "https://www.googleapis.com/auth/userinfo.profile"
)

// fullScopes writes the short names out and adds openid to them, as Google's answers do.
func fullScopes(asked []string) []string {
	var full []string
	for _, sc := range asked {
		switch sc {
		case "email", emailScope:
			full = append(full, emailScope, "openid")
		case "profile", profileScope:
			full = append(full, profileScope, "openid")
		default:
			full = append(full, sc)
		}
	}
	slices.Sort(full)
	return slices.Compact(full)
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

func subset(small, big []string) bool {
	return !slices.ContainsFunc(small, func(s string) bool { return !slices.Contains(big, s) })
}
