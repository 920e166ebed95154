package caller_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/sandbox/google"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/vault"
)

// wire answers requests without a network, so that time can be a bubble's.
type wire func(*http.Request) (*http.Response, error)

func (f wire) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func served(h http.Handler) *http.Client {
	return &http.Client{Transport: wire(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		in := r.Clone(r.Context())
		if in.Body == nil {
			in.Body = http.NoBody
		}
		h.ServeHTTP(w, in)
		return w.Result(), nil
	})}
}

func answering(status int, body string) *http.Client {
	return served(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
}

func unreachable() *http.Client {
	return &http.Client{Transport: wire(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") })}
}

func newGoogle(t *testing.T, client *http.Client) *caller.Google {
	t.Helper()
	g, err := caller.NewGoogle(caller.GoogleConfig{ClientIDs: []string{"portal", "other"}, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// info is a tokeninfo answer for a good token, with members replaced or, where nil, left out.
func info(replace map[string]any) string {
	all := map[string]any{
		"azp": "portal", "aud": "portal", "sub": "110", "scope": "openid https://www.googleapis.com/auth/userinfo.email",
		"exp": strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10), "expires_in": "3600",
		"email": "a@example.org", "email_verified": "true", "access_type": "online",
	}
	for name, value := range replace {
		all[name] = value
		if value == nil {
			delete(all, name)
		}
	}
	text, _ := json.Marshal(all)
	return string(text)
}

func TestAnAccessTokenIsSentInTheBodyAndTellsWhoCalls(t *testing.T) {
	g := newGoogle(t, served(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.String() != caller.TokenInfoURL || string(body) != "access_token=ya29.a%2Fb" {
			t.Errorf("%s %s with %q", r.Method, r.URL, body)
		}
		io.WriteString(w, info(nil))
	})))
	who, err := g.Verify(t.Context(), secret.New("ya29.a/b"))
	if err != nil || who.Sub != "110" || who.Email != "a@example.org" || who.Token.Reveal() != "ya29.a/b" {
		t.Errorf("%+v, %v", who, err)
	}
}

func TestAnAccessTokenThatProvesNothingIsRefused(t *testing.T) {
	for _, row := range []struct {
		name   string
		client *http.Client
		want   error
	}{
		{"another application's", answering(200, info(map[string]any{"aud": "evil"})), caller.ErrUnauthenticated},
		{"no audience", answering(200, info(map[string]any{"aud": nil})), caller.ErrUnauthenticated},
		{"only azp is ours", answering(200, info(map[string]any{"aud": "evil", "azp": "portal"})), caller.ErrUnauthenticated},
		{"expired", answering(200, info(map[string]any{"exp": strconv.FormatInt(time.Now().Unix()-1, 10)})), caller.ErrUnauthenticated},
		{"no expiry", answering(200, info(map[string]any{"exp": nil})), caller.ErrUnauthenticated},
		{"unverified e-mail", answering(200, info(map[string]any{"email_verified": "false"})), caller.ErrUnauthenticated},
		{"unknown e-mail", answering(200, info(map[string]any{"email": nil, "email_verified": nil})), caller.ErrUnauthenticated},
		{"no subject", answering(200, info(map[string]any{"sub": nil})), caller.ErrUnauthenticated},
		{"another scope", answering(200, info(map[string]any{"scope": "openid https://www.googleapis.com/auth/drive"})), caller.ErrUnauthenticated},
		{"refused by Google", answering(400, `{"error":"invalid_token"}`), caller.ErrUnauthenticated},
		{"empty answer", answering(200, `{}`), caller.ErrUnauthenticated},
		{"a page", answering(400, `<html>`), caller.ErrUnavailable},
		{"cut short", answering(200, `{"aud":"portal"`), caller.ErrUnavailable},
		{"overloaded", answering(429, `{}`), caller.ErrUnavailable},
		{"broken", answering(500, `{}`), caller.ErrUnavailable},
		{"redirected", answering(302, `{}`), caller.ErrUnavailable},
		{"unreachable", unreachable(), caller.ErrUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := newGoogle(t, row.client).Verify(t.Context(), secret.New("tok-en"))
			if !errors.Is(err, row.want) {
				t.Fatalf("%v, want %v", err, row.want)
			}
			if strings.Contains(err.Error(), "tok-en") {
				t.Errorf("the token is in %v", err)
			}
		})
	}
}

func TestOtherFormsOfAGoodAnswerAreAccepted(t *testing.T) {
	for _, replace := range []map[string]any{
		{"aud": "other"}, {"email_verified": true}, {"exp": time.Now().Add(time.Hour).Unix()}, {"scope": "openid email"},
	} {
		if _, err := newGoogle(t, answering(200, info(replace))).Verify(t.Context(), secret.New("t")); err != nil {
			t.Errorf("%v: %v", replace, err)
		}
	}
}

func TestGoogleIsAskedOnceAMinuteAboutATokenAndNotAfterItsExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		end := time.Now().Add(90 * time.Second).Unix()
		g := newGoogle(t, served(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			time.Sleep(time.Second)
			io.WriteString(w, info(map[string]any{"exp": strconv.FormatInt(end, 10)}))
		})))
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := g.Verify(t.Context(), secret.New("t")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		verify := func(want int32) {
			t.Helper()
			g.Verify(t.Context(), secret.New("t"))
			if got := calls.Load(); got != want {
				t.Errorf("%d calls, want %d", got, want)
			}
		}
		verify(1)
		time.Sleep(59 * time.Second)
		verify(1)
		time.Sleep(2 * time.Second)
		verify(2) // at 63 s
		time.Sleep(time.Until(time.Unix(end, 0)))
		if _, err := g.Verify(t.Context(), secret.New("t")); !errors.Is(err, caller.ErrUnauthenticated) {
			t.Errorf("after its expiry: %v", err)
		}
		if calls.Load() != 3 {
			t.Errorf("%d calls, want 3", calls.Load())
		}
	})
}

func TestACallerThatGivesUpDoesNotEndTheQuestionOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGoogle(t, &http.Client{Transport: wire(func(r *http.Request) (*http.Response, error) {
			select {
			case <-r.Context().Done():
				return nil, r.Context().Err()
			case <-time.After(time.Second):
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(info(nil)))}, nil
			}
		})})
		impatient, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := g.Verify(impatient, secret.New("t")); !errors.Is(err, context.Canceled) {
				t.Errorf("impatient: %v", err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if _, err := g.Verify(t.Context(), secret.New("t")); err != nil {
				t.Errorf("patient: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		all.Wait()
	})
}

func TestGoogleIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := &http.Client{Transport: wire(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		begun := time.Now()
		if _, err := newGoogle(t, stuck).Verify(t.Context(), secret.New("t")); !errors.Is(err, caller.ErrUnavailable) {
			t.Errorf("access token: %v", err)
		}
		p, err := caller.NewPusher(t.Context(), caller.PusherConfig{Audience: "https://poster", Account: "push@p", Client: stuck})
		if err != nil {
			t.Fatal(err)
		}
		token := signed(t, newKey(t), nil, nil)
		if _, err := p.Verify(t.Context(), secret.New(token)); !errors.Is(err, caller.ErrUnavailable) {
			t.Errorf("ID token: %v", err)
		}
		if waited := time.Since(begun); waited > 20*time.Second {
			t.Errorf("waited %v", waited)
		}
	})
}

func TestAVerifierWithoutAnAudienceCannotBeMade(t *testing.T) {
	if _, err := caller.NewGoogle(caller.GoogleConfig{}); err == nil {
		t.Error("without a client id")
	}
	if _, err := caller.NewGoogle(caller.GoogleConfig{ClientIDs: []string{""}}); err == nil {
		t.Error("with an empty client id")
	}
	if _, err := caller.NewPusher(t.Context(), caller.PusherConfig{Account: "push@p"}); err == nil {
		t.Error("without an audience")
	}
	if _, err := caller.NewPusher(t.Context(), caller.PusherConfig{Audience: "a"}); err == nil {
		t.Error("without an account")
	}
}

var newKey = func() func(*testing.T) *rsa.PrivateKey {
	make := sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
	return func(t *testing.T) *rsa.PrivateKey {
		t.Helper()
		k, err := make()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
}()

// signed is an ID token that the Pusher of the tests accepts, with claims and header members replaced.
func signed(t *testing.T, k any, claims, header map[string]any) string {
	t.Helper()
	now := time.Now()
	all := jwt.MapClaims{
		"iss": "https://accounts.google.com", "aud": "https://poster", "sub": "220", "email": "push@p",
		"email_verified": true, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	for name, value := range claims {
		all[name] = value
	}
	var method jwt.SigningMethod = jwt.SigningMethodRS256
	switch k.(type) {
	case *ecdsa.PrivateKey:
		method = jwt.SigningMethodES256
	case []byte:
		method = jwt.SigningMethodHS256
	}
	token := jwt.NewWithClaims(method, all)
	token.Header["kid"] = "k1"
	for name, value := range header {
		token.Header[name] = value
	}
	text, err := token.SignedString(k)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func keys(t *testing.T, fetches *atomic.Int32) *http.Client {
	public := newKey(t).PublicKey
	return served(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetches.Add(1)
		if r.URL.String() != caller.KeysURL {
			t.Errorf("keys asked at %s", r.URL)
		}
		w.Header().Set("Cache-Control", "public, max-age=3600")
		json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{
			"kid": "k1", "kty": "RSA", "alg": "RS256", "use": "sig",
			"n": base64.RawURLEncoding.EncodeToString(public.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(public.E)).Bytes()),
		}}})
	}))
}

func newPusher(t *testing.T, client *http.Client) *caller.Pusher {
	t.Helper()
	p, err := caller.NewPusher(t.Context(), caller.PusherConfig{Audience: "https://poster", Account: "push@p", Client: client})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAPushOfTheServiceAccountIsAccepted(t *testing.T) {
	var fetches atomic.Int32
	p := newPusher(t, keys(t, &fetches))
	for _, iss := range []string{"https://accounts.google.com", "accounts.google.com"} {
		who, err := p.Verify(t.Context(), secret.New(signed(t, newKey(t), map[string]any{"iss": iss}, nil)))
		if err != nil || who.Email != "push@p" || who.Sub != "220" || !who.Token.Empty() {
			t.Errorf("%s: %+v, %v", iss, who, err)
		}
	}
	if fetches.Load() != 1 {
		t.Errorf("keys fetched %d times", fetches.Load())
	}
}

func TestAPushThatIsNotTheServiceAccountsIsRefused(t *testing.T) {
	other, _ := rsa.GenerateKey(rand.Reader, 2048)
	curve, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	good := signed(t, newKey(t), nil, nil)
	parts := strings.Split(good, ".")
	alg := func(name string) string {
		return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":%q,"kid":"k1","typ":"JWT"}`, name))
	}
	claim := func(name string, value any) string { return signed(t, newKey(t), map[string]any{name: value}, nil) }
	var fetches atomic.Int32
	p := newPusher(t, keys(t, &fetches))
	for name, token := range map[string]string{
		"empty":                  "",
		"no dots":                "token",
		"two dots":               "..",
		"another audience":       claim("aud", "https://webhook"),
		"list of audiences":      claim("aud", []string{"https://poster"}),
		"another issuer":         claim("iss", "https://evil.example"),
		"no issuer":              claim("iss", ""),
		"another account":        claim("email", "push@evil"),
		"no e-mail":              claim("email", nil),
		"unverified e-mail":      claim("email_verified", false),
		"e-mail verified a text": claim("email_verified", "true"),
		"expired":                claim("exp", time.Now().Add(-time.Minute).Unix()),
		"no expiry":              claim("exp", nil),
		"another key":            signed(t, other, nil, nil),
		"unknown key":            signed(t, newKey(t), nil, map[string]any{"kid": "k2"}),
		"no kid":                 signed(t, newKey(t), nil, map[string]any{"kid": ""}),
		"ES256":                  signed(t, curve, nil, nil),
		"short ES256":            alg("ES256") + "." + parts[1] + ".AAAA",
		"HS256 by public key":    signed(t, newKey(t).N.Bytes(), nil, nil),
		"none":                   alg("none") + "." + parts[1] + ".",
		"no signature":           parts[0] + "." + parts[1] + ".",
		"altered claims":         parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":9999999999,"aud":"https://poster"}`)) + "." + parts[2],
	} {
		t.Run(name, func(t *testing.T) {
			if who, err := p.Verify(t.Context(), secret.New(token)); !errors.Is(err, caller.ErrUnauthenticated) {
				t.Errorf("%+v, %v", who, err)
			}
		})
	}
	if fetches.Load() != 1 {
		t.Errorf("forged pushes fetched the keys %d times", fetches.Load())
	}
}

func TestWithoutKeysAPushIsNeitherAcceptedNorRefused(t *testing.T) {
	torn := &http.Client{Transport: wire(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(tear{})}, nil
	})}
	for name, client := range map[string]*http.Client{"unreachable": unreachable(), "broken": answering(500, ""), "torn": torn} {
		if _, err := newPusher(t, client).Verify(t.Context(), secret.New(signed(t, newKey(t), nil, nil))); !errors.Is(err, caller.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type tear struct{}

func (tear) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// reader is a vault.Reader that counts.
type reader struct {
	mu    sync.Mutex
	held  map[string]string
	fail  error
	reads int
}

func (v *reader) Get(_ context.Context, name string) (secret.String, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reads++
	if v.fail != nil {
		return secret.String{}, v.fail
	}
	s, ok := v.held[name]
	if !ok {
		return secret.String{}, fmt.Errorf("%s: %w", name, vault.ErrNotFound)
	}
	return secret.New(s), nil
}

func newGrants(v vault.Reader, client *http.Client) *caller.Grants {
	return caller.NewGrants(caller.GrantsConfig{Vault: v, ClientID: "portal", ClientSecret: secret.New("client-secret"), Client: client})
}

func grant(text string) *reader {
	return &reader{held: map[string]string{vault.UserGrant("110"): text}}
}

// tokenServer gives at1, at2, … each for an hour.
func tokenServer(calls *atomic.Int32) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := calls.Add(1)
		time.Sleep(time.Second) // in the bubble of the test that asks
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"at%d","expires_in":3599,"token_type":"Bearer"}`, n)
	})
}

func TestAGrantBecomesAnAccessTokenThatIsKeptUntilFiveMinutesBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		g := newGrants(grant("1//refresh"), served(tokenServer(&calls)))
		expect := func(get func(context.Context, string) (secret.String, error), want string) {
			t.Helper()
			token, err := get(t.Context(), "110")
			if err != nil || token.Reveal() != want {
				t.Errorf("%q, %v, want %q", token.Reveal(), err, want)
			}
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { expect(g.Token, "at1") })
		}
		all.Wait()
		time.Sleep(54 * time.Minute)
		expect(g.Token, "at1")
		time.Sleep(time.Minute)
		expect(g.Token, "at2")
		for range 5 {
			all.Go(func() { expect(g.Fresh, "at3") })
		}
		all.Wait()
		expect(g.Token, "at3")
	})
}

func TestTheRefreshTokenGoesToTheTokenEndpointInTheBody(t *testing.T) {
	g := newGrants(grant("1//refresh"), served(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		want := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"1//refresh"}, "client_id": {"portal"}, "client_secret": {"client-secret"}}
		if r.URL.String() != caller.GoogleTokenURL || form.Encode() != want.Encode() || r.Header.Get("Authorization") != "" {
			t.Errorf("%s with %v", r.URL, form)
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token":"at","expires_in":3599}`)
	})))
	if token, err := g.Token(t.Context(), "110"); err != nil || token.Reveal() != "at" {
		t.Error(err)
	}
}

func TestWhatAGrantCannotGiveSaysWhoMustAct(t *testing.T) {
	const hint = "echo-of-1//refresh"
	for _, row := range []struct {
		name   string
		vault  *reader
		client *http.Client
		kind   bank.Kind
		code   string
	}{
		{"revoked", grant("1//refresh"), answering(400, `{"error":"invalid_grant","error_description":"`+hint+`"}`), bank.UserMustAct, caller.ConsentRequired},
		{"never given", &reader{}, unreachable(), bank.UserMustAct, caller.ConsentRequired},
		{"vault away", &reader{fail: errors.New("vault away")}, unreachable(), bank.Retry, "vault_unavailable"},
		{"unreachable", grant("1//refresh"), unreachable(), bank.Retry, "token_endpoint_unavailable"},
		{"broken", grant("1//refresh"), answering(503, `{"error":"backend `+hint+`"}`), bank.Retry, "token_endpoint_unavailable"},
		{"overloaded", grant("1//refresh"), answering(429, `{"error":"rate_limit_exceeded"}`), bank.Retry, "token_endpoint_unavailable"},
		{"a page", grant("1//refresh"), answering(400, `<html>`+hint), bank.Retry, "token_endpoint_unavailable"},
		{"cut short", grant("1//refresh"), answering(200, `{"access_token":"`+hint), bank.Retry, "token_endpoint_unavailable"},
		{"without a token", grant("1//refresh"), answering(200, `{}`), bank.Retry, "token_endpoint_unavailable"},
		{"wrong client", grant("1//refresh"), answering(401, `{"error":"invalid_client"}`), bank.OurFault, "invalid_client"},
		{"unknown refusal", grant("1//refresh"), answering(400, `{"error":"`+hint+`"}`), bank.OurFault, "token_endpoint_refused"},
	} {
		t.Run(row.name, func(t *testing.T) {
			token, err := newGrants(row.vault, row.client).Token(t.Context(), "110")
			if bank.KindOf(err) != row.kind || bank.CodeOf(err) != row.code || !token.Empty() {
				t.Fatalf("%v, want %s %s", err, row.kind, row.code)
			}
			if strings.Contains(err.Error(), "refresh") || strings.Contains(err.Error(), "client-secret") {
				t.Errorf("a token in %v", err)
			}
		})
	}
}

// TestTheSandboxOfGoogleIsVerifiedAsGoogle holds the verifiers against a whole sign-in.
func TestTheSandboxOfGoogleIsVerifiedAsGoogle(t *testing.T) {
	service, err := google.New(google.Options{
		Clients: []google.Client{{ID: "portal", Secret: "client-secret", RedirectURIs: []string{"https://p.example/cb"}}, {ID: "evil", RedirectURIs: []string{"https://p.example/cb"}}},
		Users:   []google.User{{Email: "a@example.org", Name: "A"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := google.NewServer(service, google.ServerOptions{})
	sandbox := served(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() == caller.KeysURL {
			r.URL.Path = "/oauth2/v3/certs"
		}
		server.ServeHTTP(w, r)
	}))
	tokens := signIn(t, service, "portal", "client-secret")
	g := newGoogle(t, sandbox)
	who, err := g.Verify(t.Context(), secret.New(tokens.AccessToken))
	if err != nil || who.Sub != google.Sub("a@example.org") || who.Email != "a@example.org" {
		t.Errorf("%+v, %v", who, err)
	}
	if _, err := g.Verify(t.Context(), secret.New(signIn(t, service, "evil", "").AccessToken)); !errors.Is(err, caller.ErrUnauthenticated) {
		t.Errorf("another application's token: %v", err)
	}

	grants := newGrants(&reader{held: map[string]string{vault.UserGrant(who.Sub): tokens.RefreshToken}}, sandbox)
	fresh, err := grants.Token(t.Context(), who.Sub)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := g.Verify(t.Context(), fresh); err != nil || again.Sub != who.Sub {
		t.Errorf("%+v, %v", again, err)
	}
	if err := service.RevokeUser(who.Sub); err != nil {
		t.Fatal(err)
	}
	if _, err := grants.Fresh(t.Context(), who.Sub); bank.CodeOf(err) != caller.ConsentRequired {
		t.Errorf("after revocation: %v", err)
	}
	if _, err := newGoogle(t, sandbox).Verify(t.Context(), fresh); !errors.Is(err, caller.ErrUnauthenticated) {
		t.Errorf("a revoked token: %v", err)
	}

	push, err := service.IDToken("push@p", "https://poster")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newPusher(t, sandbox).Verify(t.Context(), secret.New(push)); err != nil {
		t.Error(err)
	}
	if _, err := newPusher(t, sandbox).Verify(t.Context(), secret.New(tokens.IDToken)); !errors.Is(err, caller.ErrUnauthenticated) {
		t.Errorf("a person's ID token: %v", err)
	}
}

func signIn(t *testing.T, s *google.Service, client, clientSecret string) google.Tokens {
	t.Helper()
	// RFC 7636, appendix B.
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	code, err := s.Approve(google.AuthRequest{
		ClientID: client, RedirectURI: "https://p.example/cb", ResponseType: "code", Scope: "openid email",
		Challenge: challenge, Method: "S256", AccessType: "offline",
	}, "a@example.org")
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := s.Exchange(client, clientSecret, code, "https://p.example/cb", verifier)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestACallersHashTellsNothing(t *testing.T) {
	a, b := caller.Caller{Sub: "110"}, caller.Caller{Sub: "111"}
	if a.Hash() == b.Hash() || strings.Contains(a.Hash(), "110") || (caller.Caller{}).Hash() != "" {
		t.Errorf("%q, %q", a.Hash(), b.Hash())
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v", a, a, caller.Caller{Token: secret.New("tok-en")})
	if strings.Contains(out.String(), "tok-en") {
		t.Error(out.String())
	}
}
