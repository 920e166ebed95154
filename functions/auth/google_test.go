package auth_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/bkper/automations-portal/functions/auth"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/secret"
)

type deaf struct{}

func (deaf) Publish(context.Context, events.Topic, events.Message) error {
	return errors.New("the broker is away")
}

// dark are grants that cannot be tried.
type dark struct{}

func (dark) Fresh(context.Context, string) (secret.String, error) {
	return secret.String{}, &bank.Error{Kind: bank.Retry, Code: "vault_unavailable", Err: errors.New("away")}
}

func TestAGrantThatCannotBeTriedIsNotTakenForOne(t *testing.T) {
	w := newWorld(t, func(a *auth.Auth) { a.Grants = dark{} })
	w.browser().enter(ana) // a new grant needs no trial
	b := w.browser()
	end, screens := b.signIn(ana, "")
	if end.status != http.StatusServiceUnavailable || len(screens) != 1 || b.cookie(auth.SessionCookie) != "" {
		t.Errorf("%d %v %s", end.status, end.to, end.body)
	}
}

// forger is a Google that signs whatever the test wants.
type forger struct {
	w        *world
	b        *browser
	key      *rsa.PrivateKey
	nonce    string
	change   func(jwt.MapClaims)
	forge    func(string) string // alters the ID token
	tokenEnd func(http.ResponseWriter)
	keysEnd  func() (*http.Response, error)
}

func newForger(t *testing.T) *forger {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f := &forger{key: key}
	f.w = newWorld(t, func(a *auth.Auth) { a.Client = &http.Client{Transport: wire(f.answer)} })
	f.b = f.w.browser()
	return f
}

func (f *forger) answer(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Method == http.MethodGet && f.keysEnd != nil:
		return f.keysEnd()
	case r.Method == http.MethodGet: // the validator has other keys for ES256
		json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]string{
			"kid": "k", "kty": "RSA", "alg": "RS256",
			"n": base64.RawURLEncoding.EncodeToString(f.key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(f.key.E)).Bytes()),
		}}})
	case f.tokenEnd != nil:
		f.tokenEnd(w)
	default:
		json.NewEncoder(w).Encode(map[string]any{"access_token": "ya29.x", "token_type": "Bearer", "expires_in": 3599, "id_token": f.idToken()})
	}
	return w.Result(), nil
}

func (f *forger) idToken() string {
	claims := jwt.MapClaims{
		"iss": "https://accounts.google.com", "aud": clientID, "azp": clientID, "sub": "110", "email": ana, "email_verified": true,
		"nonce": f.nonce, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	if f.change != nil {
		f.change(claims)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = "k"
	text, err := token.SignedString(f.key)
	if err != nil {
		f.w.t.Fatal(err)
	}
	if f.forge != nil {
		return f.forge(text)
	}
	return text
}

// callback begins a sign-in and comes back from it.
func (f *forger) callback(t *testing.T, change func(jwt.MapClaims)) answer {
	t.Helper()
	return f.back(f.b.get("/auth/login").to, change)
}

func (f *forger) back(screen *url.URL, change func(jwt.MapClaims)) answer {
	f.nonce, f.change = screen.Query().Get("nonce"), change
	return f.b.get("/auth/callback?code=4/0x&state=" + url.QueryEscape(screen.Query().Get("state")))
}

func TestAnIDTokenThatProvesNothingSignsNobodyIn(t *testing.T) {
	set := func(name string, value any) func(jwt.MapClaims) {
		return func(c jwt.MapClaims) { c[name] = value }
	}
	for _, row := range []struct {
		name   string
		change func(jwt.MapClaims)
		forge  func(string) string
		code   string
	}{
		{"another issuer", set("iss", "https://evil.example"), nil, "sign_in_expired"},
		{"another application", set("aud", "other"), nil, "sign_in_expired"},
		{"several applications", set("aud", []string{clientID, "other"}), nil, "sign_in_expired"},
		{"expired", set("exp", time.Now().Add(-time.Minute).Unix()), nil, "sign_in_expired"},
		{"another sign-in", set("nonce", "x"), nil, "sign_in_expired"},
		{"no nonce", func(c jwt.MapClaims) { delete(c, "nonce") }, nil, "sign_in_expired"},
		{"unverified e-mail", set("email_verified", false), nil, "forbidden"},
		{"e-mail verified in words", set("email_verified", "false"), nil, "forbidden"},
		{"no e-mail", set("email", ""), nil, "forbidden"},
		{"nobody", set("sub", ""), nil, "forbidden"},
		{"altered", nil, func(s string) string { return s[:len(s)-8] + "AAAAAAAA" }, "sign_in_expired"},
		{"absent", nil, func(string) string { return "" }, "sign_in_expired"},
		{"unsigned", nil, func(s string) string {
			return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + s[strings.Index(s, "."):]
		}, "sign_in_expired"},
		{"short ES256", nil, func(s string) string {
			return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","kid":"k"}`)) + s[strings.Index(s, "."):strings.LastIndex(s, ".")] + ".AA"
		}, "sign_in_expired"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newForger(t)
			f.forge = row.forge
			a := f.callback(t, row.change)
			if a.code() != row.code || a.status >= 500 || f.b.cookie(auth.SessionCookie) != "" || f.w.count("users") != 0 {
				t.Errorf("%d %v %s", a.status, a.to, a.body)
			}
		})
	}
	f := newForger(t)
	if a := f.callback(t, set("iss", "accounts.google.com")); a.to == nil {
		t.Errorf("the other spelling of the issuer: %d %s", a.status, a.body)
	}
}

func TestWhenGoogleDoesNotAnswerThePersonIsToldToSignInAgain(t *testing.T) {
	const leak = "ya29.LEAK"
	end := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(status); io.WriteString(w, body) }
	}
	for _, row := range []struct {
		name   string
		token  func(http.ResponseWriter)
		keys   func() (*http.Response, error)
		status int
		code   string
	}{
		{"broken", end(500, leak), nil, 503, "unavailable"},
		{"overloaded", end(429, `{"error":"rate_limit","error_description":"`+leak+`"}`), nil, 503, "unavailable"},
		{"not JSON", end(200, leak), nil, 503, "unavailable"},
		{"redirected", end(302, leak), nil, 503, "unavailable"},
		{"client refused", end(401, `{"error":"invalid_client","error_description":"`+leak+`"}`), nil, 500, "internal"},
		{"code refused", end(400, `{"error":"invalid_grant","error_description":"`+leak+`"}`), nil, 400, "sign_in_expired"},
		{"keys away", nil, func() (*http.Response, error) { return nil, errors.New("no route") }, 503, "unavailable"},
		{"keys broken", nil, func() (*http.Response, error) {
			return &http.Response{StatusCode: 500, Body: io.NopCloser(strings.NewReader(leak))}, nil
		}, 503, "unavailable"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newForger(t)
			f.tokenEnd, f.keysEnd = row.token, row.keys
			a := f.callback(t, nil)
			if a.status != row.status || a.code() != row.code {
				t.Errorf("%d %s", a.status, a.body)
			}
			if row.status != 500 && !strings.Contains(a.body, f.w.server.URL+"/auth/login") {
				t.Errorf("no way on in %s", a.body)
			}
			if strings.Contains(a.body+f.w.log.String(), leak) {
				t.Errorf("the answer's body is in %s\n%s", a.body, f.w.log)
			}
		})
	}
}
