package google_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/api/idtoken"
	"google.golang.org/api/option"

	"github.com/bkper/automations-portal/shared/sandbox/disk"
	"github.com/bkper/automations-portal/shared/sandbox/google"
)

const (
	clientID = "portal.apps.googleusercontent.com"
	callback = "http://portal.test/auth/callback"
	ana      = "ana@example.com"
)

// world is a Google with one client and one account, a clock that the test moves and a browser that keeps still at
// redirects.
type world struct {
	t       *testing.T
	now     time.Time
	google  *google.Service
	server  *httptest.Server
	browser *http.Client
	conf    *oauth2.Config
}

func start(t *testing.T, db *disk.DB, auto bool) *world {
	t.Helper()
	w := &world{t: t, now: time.Now().Truncate(time.Second)}
	var err error
	w.google, err = google.New(google.Options{
		Clients: []google.Client{{ID: clientID, Secret: "s3cret", RedirectURIs: []string{callback}}, {ID: "other", Secret: "x", RedirectURIs: []string{callback}}},
		Users:   []google.User{{Email: ana, Name: "Ana"}},
		Now:     func() time.Time { return w.now },
		Random:  rand.NewChaCha8(sha256.Sum256([]byte(w.now.String()))),
		DB:      db,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.server = httptest.NewServer(google.NewServer(w.google, google.ServerOptions{BaseURL: "http://google.test", AutoApprove: auto}))
	t.Cleanup(w.server.Close)
	w.browser = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	w.conf = &oauth2.Config{
		ClientID: clientID, ClientSecret: "s3cret", RedirectURL: callback, Scopes: []string{"openid", "email"},
		Endpoint: oauth2.Endpoint{AuthURL: w.server.URL + "/o/oauth2/v2/auth", TokenURL: w.server.URL + "/token"},
	}
	return w
}

func (w *world) post(path string, form url.Values) (int, string) {
	w.t.Helper()
	return w.read(w.browser.PostForm(w.server.URL+path, form))
}

func (w *world) get(path string) (int, string) {
	w.t.Helper()
	return w.read(w.browser.Get(w.server.URL + path))
}

func (w *world) read(resp *http.Response, err error) (int, string) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// allow opens the authorization URL, clicks as ana and returns what the browser brings to the client.
func (w *world) allow(verifier string, opts ...oauth2.AuthCodeOption) url.Values {
	w.t.Helper()
	to := w.conf.AuthCodeURL("st&te", append(opts, oauth2.S256ChallengeOption(verifier))...)
	resp, err := w.browser.PostForm(to, url.Values{"email": {ana}})
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Body.Close()
	loc, err := resp.Location()
	if err != nil {
		w.t.Fatalf("status %d: %v", resp.StatusCode, err)
	}
	if !strings.HasPrefix(loc.String(), callback+"?") {
		w.t.Fatalf("sent to %s", loc)
	}
	return loc.Query()
}

func (w *world) signIn(opts ...oauth2.AuthCodeOption) *oauth2.Token {
	w.t.Helper()
	v := oauth2.GenerateVerifier()
	tok, err := w.conf.Exchange(w.t.Context(), w.allow(v, opts...).Get("code"), oauth2.VerifierOption(v))
	if err != nil {
		w.t.Fatal(err)
	}
	return tok
}

func oauthCode(err error) string {
	var e *oauth2.RetrieveError
	if errors.As(err, &e) {
		return e.ErrorCode
	}
	return "not an OAuth error"
}

func TestSignInBringsTokensOfTheAccount(t *testing.T) {
	w := start(t, nil, false)
	tok := w.signIn(oauth2.AccessTypeOffline, oauth2.SetAuthURLParam("nonce", "n1"))
	if !strings.HasPrefix(tok.AccessToken, "ya29.") || !strings.HasPrefix(tok.RefreshToken, "1//") || tok.TokenType != "Bearer" {
		t.Errorf("unexpected forms of tokens: %.6s %.4s %s", tok.AccessToken, tok.RefreshToken, tok.TokenType)
	}
	if tok.Extra("scope") != "https://www.googleapis.com/auth/userinfo.email openid" {
		t.Errorf("scope = %v", tok.Extra("scope"))
	}
	u, ok := w.google.Lookup(tok.AccessToken)
	if !ok || u.Email != ana || len(u.Sub) != 21 {
		t.Errorf("Lookup = %+v, %v", u, ok)
	}
	p := w.validate(tok.Extra("id_token").(string), clientID)
	if p.Subject != u.Sub || p.Claims["email"] != ana || p.Claims["email_verified"] != true || p.Claims["nonce"] != "n1" || p.Issuer != google.Issuer {
		t.Errorf("ID token claims = %v", p.Claims)
	}
}

func TestTheStateComesBackUnchanged(t *testing.T) {
	w := start(t, nil, false)
	if got := w.allow(oauth2.GenerateVerifier()).Get("state"); got != "st&te" {
		t.Errorf("state = %q", got)
	}
}

// stub answers the validator's fetch of Google's keys from the stand-in.
type stub struct{ to *httptest.Server }

func (s stub) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.String() != "https://www.googleapis.com/oauth2/v3/certs" {
		return nil, errors.New("the validator asked for " + r.URL.String())
	}
	return http.Get(s.to.URL + "/oauth2/v3/certs")
}

func (w *world) validate(token, audience string) *idtoken.Payload {
	w.t.Helper()
	p, err := w.validator().Validate(w.t.Context(), token, audience)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) validator() *idtoken.Validator {
	w.t.Helper()
	v, err := idtoken.NewValidator(context.Background(), option.WithHTTPClient(&http.Client{Transport: stub{w.server}}))
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func TestServiceAccountTokensPassGooglesOwnValidator(t *testing.T) {
	w := start(t, nil, false)
	const sa = "push@project.iam.gserviceaccount.com"
	tok, err := w.google.IDToken(sa, "https://poster.test/")
	if err != nil {
		t.Fatal(err)
	}
	p := w.validate(tok, "https://poster.test/")
	if p.Issuer != google.Issuer || p.Claims["email"] != sa || p.Claims["email_verified"] != true || p.Subject != google.Sub(sa) || p.Expires-p.IssuedAt != 3600 {
		t.Errorf("claims = %v", p.Claims)
	}
	if _, err := w.validator().Validate(t.Context(), tok, "https://elsewhere.test/"); err == nil {
		t.Error("another audience was accepted")
	}
	if _, err := w.validator().Validate(t.Context(), tok[:len(tok)-8]+"AAAAAAAA", "https://poster.test/"); err == nil {
		t.Error("an altered signature was accepted")
	}
	for range 2 {
		if err := w.google.RotateKey(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.validator().Validate(t.Context(), tok, "https://poster.test/"); err == nil {
		t.Error("a token outlived the publication of its key by two rotations")
	}
}

func TestAKeyRotatedOnceStillVerifies(t *testing.T) {
	w := start(t, nil, false)
	tok, err := w.google.IDToken("a@b", "aud")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.google.RotateKey(); err != nil {
		t.Fatal(err)
	}
	w.validate(tok, "aud")
}

func TestARefreshTokenComesOnlyPastTheConsentScreen(t *testing.T) {
	w := start(t, nil, false)
	if tok := w.signIn(); tok.RefreshToken != "" {
		t.Error("an online sign-in brought a refresh token")
	}
	if tok := w.signIn(oauth2.AccessTypeOffline); tok.RefreshToken == "" {
		t.Error("the first offline sign-in brought no refresh token")
	}
	if tok := w.signIn(oauth2.AccessTypeOffline); tok.RefreshToken != "" {
		t.Error("a second sign-in brought a refresh token without prompt=consent")
	}
	if tok := w.signIn(oauth2.AccessTypeOffline, oauth2.SetAuthURLParam("prompt", "consent")); tok.RefreshToken == "" {
		t.Error("prompt=consent brought no refresh token")
	}
}

func TestTheOldestOfManyRefreshTokensEnds(t *testing.T) {
	w := start(t, nil, false)
	req := google.AuthRequest{
		ClientID: clientID, RedirectURI: callback, ResponseType: "code", Scope: "openid email", Method: "S256",
		Challenge: oauth2.S256ChallengeFromVerifier("v"), AccessType: "offline", Prompt: "consent",
	}
	var all []string
	for range 101 {
		code, err := w.google.Approve(req, ana)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := w.google.Exchange(clientID, "s3cret", code, callback, "v")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tok.RefreshToken)
	}
	if _, err := w.google.Refresh(clientID, "s3cret", all[0]); err == nil {
		t.Error("the first of 101 refresh tokens lives")
	}
	if _, err := w.google.Refresh(clientID, "s3cret", all[1]); err != nil {
		t.Errorf("the second of 101 refresh tokens: %v", err)
	}
}

func TestAccessTokensEndAfterAnHourAndAreRefreshed(t *testing.T) {
	w := start(t, nil, false)
	tok := w.signIn(oauth2.AccessTypeOffline)
	w.now = w.now.Add(time.Hour)
	if _, ok := w.google.Lookup(tok.AccessToken); ok {
		t.Error("the access token lives after an hour")
	}
	if status, body := w.get("/tokeninfo?access_token=" + tok.AccessToken); status != 400 || !strings.Contains(body, "invalid_token") {
		t.Errorf("tokeninfo of an expired token = %d %s", status, body)
	}
	fresh, err := w.conf.TokenSource(t.Context(), &oauth2.Token{RefreshToken: tok.RefreshToken}).Token()
	if err != nil {
		t.Fatal(err)
	}
	if u, ok := w.google.Lookup(fresh.AccessToken); !ok || u.Email != ana {
		t.Errorf("Lookup of the fresh token = %+v, %v", u, ok)
	}
}

func TestTokenInfoTellsWhoseTokenItIsAndForWhom(t *testing.T) {
	w := start(t, nil, false)
	tok := w.signIn(oauth2.AccessTypeOffline)
	w.now = w.now.Add(time.Minute)
	_, body := w.get("/tokeninfo?access_token=" + url.QueryEscape(tok.AccessToken))
	var got google.TokenInfo
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := google.TokenInfo{
		Azp: clientID, Aud: clientID, Sub: google.Sub(ana), Scope: "https://www.googleapis.com/auth/userinfo.email openid",
		Exp: strconv.FormatInt(w.now.Add(59*time.Minute).Unix(), 10), ExpiresIn: "3540", Email: ana, EmailVerified: "true", AccessType: "offline",
	}
	if got != want {
		t.Errorf("tokeninfo = %+v\nwant %+v", got, want)
	}
}

func TestRevokingOneTokenEndsTheWholeConsent(t *testing.T) {
	w := start(t, nil, false)
	first := w.signIn(oauth2.AccessTypeOffline)
	second := w.signIn(oauth2.AccessTypeOffline, oauth2.SetAuthURLParam("prompt", "consent"))
	if status, body := w.post("/revoke", url.Values{"token": {second.AccessToken}}); status != 200 {
		t.Fatalf("revoke = %d %s", status, body)
	}
	if _, ok := w.google.Lookup(first.AccessToken); ok {
		t.Error("an access token survived")
	}
	_, err := w.conf.TokenSource(t.Context(), &oauth2.Token{RefreshToken: first.RefreshToken}).Token()
	if got := oauthCode(err); got != "invalid_grant" {
		t.Errorf("refreshing afterwards = %v", err)
	}
	if status, body := w.post("/revoke", url.Values{"token": {second.AccessToken}}); status != 400 || !strings.Contains(body, "invalid_token") {
		t.Errorf("revoking again = %d %s", status, body)
	}
	if tok := w.signIn(oauth2.AccessTypeOffline); tok.RefreshToken == "" {
		t.Error("the consent after a revocation brought no refresh token")
	}
}

func TestTheUsersHandEndsTokens(t *testing.T) {
	w := start(t, nil, false)
	tok := w.signIn(oauth2.AccessTypeOffline)
	if status, body := w.post("/_sim/expire", url.Values{"email": {ana}}); status != 200 {
		t.Fatalf("expire = %d %s", status, body)
	}
	if _, ok := w.google.Lookup(tok.AccessToken); ok {
		t.Error("the access token survived")
	}
	if _, err := w.google.Refresh(clientID, "s3cret", tok.RefreshToken); err != nil {
		t.Errorf("the refresh token did not survive: %v", err)
	}
	if status, body := w.post("/_sim/revoke", url.Values{"email": {ana}}); status != 200 {
		t.Fatalf("revoke = %d %s", status, body)
	}
	if _, err := w.google.Refresh(clientID, "s3cret", tok.RefreshToken); err == nil {
		t.Error("the refresh token survived the revocation")
	}
}

func TestTheTokenEndpointRefuses(t *testing.T) {
	w := start(t, nil, false)
	v := oauth2.GenerateVerifier()
	exchange := func(change url.Values) url.Values {
		f := url.Values{
			"grant_type": {"authorization_code"}, "client_id": {clientID}, "client_secret": {"s3cret"},
			"code": {w.allow(v).Get("code")}, "redirect_uri": {callback}, "code_verifier": {v},
		}
		for name, value := range change {
			f[name] = value
		}
		return f
	}
	for _, tt := range []struct {
		name   string
		form   url.Values
		status int
		code   string
	}{
		{"unknown client", exchange(url.Values{"client_id": {"nobody"}}), 401, "invalid_client"},
		{"wrong secret", exchange(url.Values{"client_secret": {"wrong"}}), 401, "invalid_client"},
		{"code of another client", exchange(url.Values{"client_id": {"other"}, "client_secret": {"x"}}), 400, "invalid_grant"},
		{"unknown code", exchange(url.Values{"code": {"4/0nothing"}}), 400, "invalid_grant"},
		{"no verifier", exchange(url.Values{"code_verifier": {""}}), 400, "invalid_grant"},
		{"wrong verifier", exchange(url.Values{"code_verifier": {oauth2.GenerateVerifier()}}), 400, "invalid_grant"},
		{"other redirect", exchange(url.Values{"redirect_uri": {"http://evil.test"}}), 400, "redirect_uri_mismatch"},
		{"unknown refresh token", url.Values{"grant_type": {"refresh_token"}, "client_id": {clientID}, "client_secret": {"s3cret"}, "refresh_token": {"1//0no"}}, 400, "invalid_grant"},
		{"unknown grant type", url.Values{"grant_type": {"password"}}, 400, "unsupported_grant_type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := w.post("/token", tt.form)
			var e struct{ Error string }
			if err := json.Unmarshal([]byte(body), &e); err != nil {
				t.Fatal(err)
			}
			if status != tt.status || e.Error != tt.code {
				t.Errorf("got %d %s, want %d %s", status, body, tt.status, tt.code)
			}
		})
	}
}

func TestACodeServesOnceAndForTenMinutes(t *testing.T) {
	w := start(t, nil, false)
	v := oauth2.GenerateVerifier()
	code := w.allow(v).Get("code")
	if _, err := w.conf.Exchange(t.Context(), code, oauth2.VerifierOption(v)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.conf.Exchange(t.Context(), code, oauth2.VerifierOption(v)); oauthCode(err) != "invalid_grant" {
		t.Errorf("second exchange: %v", err)
	}
	late := w.allow(v).Get("code")
	w.now = w.now.Add(10 * time.Minute)
	if _, err := w.conf.Exchange(t.Context(), late, oauth2.VerifierOption(v)); oauthCode(err) != "invalid_grant" {
		t.Errorf("late exchange: %v", err)
	}
}

func TestTheAuthorizationEndpointShowsErrorsAndNeverRedirectsThem(t *testing.T) {
	w := start(t, nil, true)
	good := w.conf.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
	for _, tt := range []struct {
		name, param, value string
		status             int
		shown              string
	}{
		{"unknown client", "client_id", "nobody", 401, "invalid_client"},
		{"foreign redirect", "redirect_uri", "https://evil.test/", 400, "redirect_uri_mismatch"},
		{"implicit flow", "response_type", "token", 400, "unsupported_response_type"},
		{"no challenge", "code_challenge", "", 400, "invalid_request"},
		{"plain challenge", "code_challenge_method", "plain", 400, "invalid_request"},
		{"bad scope", "scope", "everything", 400, "invalid_scope"},
		{"no scope", "scope", "", 400, "invalid_request"},
		{"bad access type", "access_type", "offlin", 400, "invalid_request"},
		{"bad prompt", "prompt", "promt", 400, "invalid_request"},
		{"unknown parameter", "promt", "consent", 400, "Parameter not allowed"},
		{"unknown hint", "login_hint", "who@example.com", 400, "find the Google Account"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := url.Parse(good)
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			q.Set(tt.param, tt.value)
			status, body := w.get(u.Path + "?" + q.Encode())
			if status != tt.status || !strings.Contains(body, tt.shown) {
				t.Errorf("got %d %s", status, body)
			}
		})
	}
}

func TestThePageOffersEveryAccountAndCancel(t *testing.T) {
	w := start(t, nil, false)
	if status, body := w.post("/_sim/users", url.Values{"email": {"bia@example.com"}, "name": {"Bia <b>"}}); status != 200 {
		t.Fatalf("add user = %d %s", status, body)
	}
	u, err := url.Parse(w.conf.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
	if err != nil {
		t.Fatal(err)
	}
	_, body := w.get(u.RequestURI())
	for _, want := range []string{`value="ana@example.com"`, `value="bia@example.com"`, "Bia &lt;b&gt;"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	resp, err := w.browser.PostForm(u.String(), url.Values{"deny": {"yes"}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	loc, err := resp.Location()
	if err != nil || loc.Query().Get("error") != "access_denied" || loc.Query().Get("state") != "s" || loc.Query().Has("code") {
		t.Errorf("cancel leads to %v, %v", loc, err)
	}
}

func TestAutoApproveAndPromptNoneNeedNoClick(t *testing.T) {
	w := start(t, nil, true)
	v := oauth2.GenerateVerifier()
	answer := func(opts ...oauth2.AuthCodeOption) url.Values {
		resp, err := w.browser.Get(w.conf.AuthCodeURL("s", append(opts, oauth2.S256ChallengeOption(v))...))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		loc, err := resp.Location()
		if err != nil {
			t.Fatal(err)
		}
		return loc.Query()
	}
	none := []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("prompt", "none"), oauth2.SetAuthURLParam("login_hint", ana)}
	if got := answer(none...).Get("error"); got != "interaction_required" {
		t.Errorf("prompt=none before any consent: error %q", got)
	}
	if _, err := w.conf.Exchange(t.Context(), answer().Get("code"), oauth2.VerifierOption(v)); err != nil {
		t.Error(err)
	}
	if answer(none...).Get("code") == "" {
		t.Error("prompt=none after consent brought no code")
	}
}

func TestUserInfoNeedsALivingToken(t *testing.T) {
	w := start(t, nil, false)
	tok := w.signIn()
	status, body := w.read(w.conf.Client(t.Context(), tok).Get(w.server.URL + "/oauth2/v3/userinfo"))
	if status != 200 || !strings.Contains(body, `"email":"ana@example.com"`) {
		t.Errorf("userinfo = %d %s", status, body)
	}
	if status, _ := w.get("/oauth2/v3/userinfo"); status != 401 {
		t.Errorf("userinfo without a token = %d", status)
	}
}

func TestDiscoveryAndCerts(t *testing.T) {
	w := start(t, nil, false)
	if _, body := w.get("/.well-known/openid-configuration"); !strings.Contains(body, `"jwks_uri":"http://google.test/oauth2/v3/certs"`) {
		t.Errorf("discovery = %s", body)
	}
	resp, err := w.browser.Get(w.server.URL + "/oauth2/v3/certs")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if !strings.Contains(resp.Header.Get("Cache-Control"), "max-age=") {
		t.Error("certs cannot be cached")
	}
}

func TestTokensCodesAndKeysSurviveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sandbox.db")
	open := func() *disk.DB {
		db, err := disk.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	before := start(t, open(), false)
	tok := before.signIn(oauth2.AccessTypeOffline)
	v := oauth2.GenerateVerifier()
	code := before.allow(v).Get("code")
	id, err := before.google.IDToken("a@b", "aud")
	if err != nil {
		t.Fatal(err)
	}

	after := start(t, open(), false)
	if u, ok := after.google.Lookup(tok.AccessToken); !ok || u.Email != ana {
		t.Errorf("Lookup = %+v, %v", u, ok)
	}
	if _, err := after.google.Refresh(clientID, "s3cret", tok.RefreshToken); err != nil {
		t.Error(err)
	}
	if again, err := after.conf.Exchange(t.Context(), code, oauth2.VerifierOption(v)); err != nil || again.RefreshToken != "" {
		t.Errorf("exchange of the code = %v (a refresh token: %v)", err, again != nil && again.RefreshToken != "")
	}
	after.validate(id, "aud")
	if err := after.google.RevokeUser(google.Sub(ana)); err != nil {
		t.Fatal(err)
	}
	if _, ok := start(t, open(), false).google.Lookup(tok.AccessToken); ok {
		t.Error("a revoked token came back with the restart")
	}
}
