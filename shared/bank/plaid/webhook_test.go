package plaid

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/bank"
)

const goodKid = "6c5516e1-92dc-479e-a8ff-5a51992e0001"

// webhookBody is indented as Plaid indents it.
const webhookBody = `{
  "environment": "sandbox",
  "historical_update_complete": true,
  "initial_update_complete": true,
  "item_id": "wz666MBjYWTp2PDzzggYhM6oWWmBb",
  "webhook_code": "SYNC_UPDATES_AVAILABLE",
  "webhook_type": "TRANSACTIONS"
}`

// keyServer is Plaid's side: it signs webhooks and tells the keys.
type keyServer struct {
	mu      sync.Mutex
	keys    map[string]map[string]any // by kid; as Plaid tells them
	private map[string]*ecdsa.PrivateKey
}

func newKeyServer(t testing.TB) *keyServer {
	s := &keyServer{keys: map[string]map[string]any{}, private: map[string]*ecdsa.PrivateKey{}}
	s.add(t, goodKid, nil)
	return s
}

// add makes a key; change edits what Plaid tells of it.
func (s *keyServer) add(t testing.TB, kid string, change map[string]any) *ecdsa.PrivateKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, kid, private, change)
	return private
}

func (s *keyServer) put(t testing.TB, kid string, private *ecdsa.PrivateKey, change map[string]any) {
	t.Helper()
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	half := len(point) / 2
	key := map[string]any{
		"alg": "ES256", "crv": "P-256", "kid": kid, "kty": "EC", "use": "sig", "created_at": testTime.Unix() - 1000, "expired_at": nil,
		"x": base64.RawURLEncoding.EncodeToString(point[1 : 1+half]), "y": base64.RawURLEncoding.EncodeToString(point[1+half:]),
	}
	maps.Copy(key, change)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[kid], s.private[kid] = key, private
}

func (s *keyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The body was read by the server that calls this; the kid travels in a header of the test's own.
	s.mu.Lock()
	key := s.keys[r.Header.Get("Test-Kid")]
	s.mu.Unlock()
	if key == nil {
		refuseWith(400, "INVALID_INPUT", "INVALID_WEBHOOK_VERIFICATION_KEY_ID", "invalid key_id provided")(w, r)
		return
	}
	told, _ := json.Marshal(map[string]any{"key": key, "request_id": "r"})
	answerWith(string(told))(w, r)
}

// openKeys starts a Plaid whose keys are those of s. Fetches are counted by the recorded server.
func openKeys(t testing.TB, s *keyServer) (*Plaid, *recorded) {
	p, server := open(t, nil)
	server.answers = map[string]http.HandlerFunc{keyCall: func(w http.ResponseWriter, r *http.Request) {
		server.mu.Lock()
		last := server.asked[len(server.asked)-1]
		server.mu.Unlock()
		kid, _ := last.body["key_id"].(string)
		r.Header.Set("Test-Kid", kid)
		s.ServeHTTP(w, r)
	}}
	return p, server
}

// token is what is signed; each case changes one part.
type token struct {
	header  map[string]any
	claims  map[string]any
	sign    func(signed []byte) []byte
	tamper  func(compact string) string
	headers func(compact string) http.Header
	body    []byte // as it arrives
}

func (s *keyServer) token() token {
	sum := sha256.Sum256([]byte(webhookBody))
	return token{
		header: map[string]any{"alg": "ES256", "kid": goodKid, "typ": "JWT"},
		claims: map[string]any{"iat": testTime.Unix(), "request_body_sha256": hex.EncodeToString(sum[:])},
		sign:   signWith(s.private[goodKid]),
		body:   []byte(webhookBody),
	}
}

func signWith(key *ecdsa.PrivateKey) func([]byte) []byte {
	return func(signed []byte) []byte {
		sum := sha256.Sum256(signed)
		r, v, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			panic(err)
		}
		return append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...)
	}
}

func part(value any) string {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func (k token) compact() string {
	signed := part(k.header) + "." + part(k.claims)
	compact := signed + "." + base64.RawURLEncoding.EncodeToString(k.sign([]byte(signed)))
	if k.tamper != nil {
		compact = k.tamper(compact)
	}
	return compact
}

func (k token) arrive() (http.Header, []byte) {
	if k.headers != nil {
		return k.headers(k.compact()), k.body
	}
	return http.Header{"Plaid-Verification": {k.compact()}}, k.body
}

var accepted = []bank.Notice{{Item: "wz666MBjYWTp2PDzzggYhM6oWWmBb"}}

func TestForgedWebhooksAreRefused(t *testing.T) {
	header := func(name string, value any) func(*keyServer, *token) {
		return func(_ *keyServer, k *token) { k.header[name] = value }
	}
	without := func(name string) func(*keyServer, *token) {
		return func(_ *keyServer, k *token) { delete(k.header, name) }
	}
	claim := func(name string, value any) func(*keyServer, *token) {
		return func(_ *keyServer, k *token) { k.claims[name] = value }
	}
	compact := func(change func(string) string) func(*keyServer, *token) {
		return func(_ *keyServer, k *token) { k.tamper = change }
	}
	arrives := func(change func(string) http.Header) func(*keyServer, *token) {
		return func(_ *keyServer, k *token) { k.headers = change }
	}
	body := func(b string) func(*keyServer, *token) {
		return func(_ *keyServer, k *token) { k.body = []byte(b) }
	}
	keyTold := func(kid string, change map[string]any) func(*keyServer, *token) {
		return func(s *keyServer, k *token) {
			k.sign = signWith(s.add(t, kid, change))
			k.header["kid"] = kid
		}
	}
	const other = "11111111-92dc-479e-a8ff-5a51992e0002"
	for name, change := range map[string]func(*keyServer, *token){
		"no header":     arrives(func(string) http.Header { return http.Header{} }),
		"two headers":   arrives(func(c string) http.Header { return http.Header{"Plaid-Verification": {c, c}} }),
		"two spellings": arrives(func(c string) http.Header { return http.Header{"Plaid-Verification": {c}, "plaid-verification": {c}} }),
		"empty header":  arrives(func(string) http.Header { return http.Header{"Plaid-Verification": {""}} }),
		"header of 10 kB": arrives(func(c string) http.Header {
			return http.Header{"Plaid-Verification": {c + strings.Repeat("A", 10<<10)}}
		}),
		"token of 10 kB":  header("pad", strings.Repeat("A", 10<<10)),
		"only two dots":   compact(func(string) string { return ".." }),
		"one part":        compact(func(c string) string { return c[:strings.Index(c, ".")] }),
		"four parts":      compact(func(c string) string { return c + ".AAAA" }),
		"not base64":      compact(func(c string) string { return "%" + c[1:] }),
		"a bearer prefix": compact(func(c string) string { return "Bearer " + c }),
		"alg none": func(_ *keyServer, k *token) {
			k.header["alg"] = "none"
			k.sign = func([]byte) []byte { return nil }
		},
		"alg None": func(_ *keyServer, k *token) {
			k.header["alg"] = "None"
			k.sign = func([]byte) []byte { return nil }
		},
		"HS256 with the public key": func(s *keyServer, k *token) {
			k.header["alg"] = "HS256"
			secret, _ := x509.MarshalPKIXPublicKey(&s.private[goodKid].PublicKey)
			k.sign = func(signed []byte) []byte {
				mac := hmac.New(sha256.New, secret)
				mac.Write(signed)
				return mac.Sum(nil)
			}
		},
		"RS256": func(_ *keyServer, k *token) {
			k.header["alg"] = "RS256"
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			k.sign = func(signed []byte) []byte {
				sum := sha256.Sum256(signed)
				signature, _ := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
				return signature
			}
		},
		"ES384": func(_ *keyServer, k *token) {
			k.header["alg"] = "ES384"
			key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			k.sign = func(signed []byte) []byte {
				sum := sha512.Sum384(signed)
				r, s, _ := ecdsa.Sign(rand.Reader, key, sum[:])
				return append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...)
			}
		},
		"alg missing":       without("alg"),
		"kid missing":       without("kid"),
		"kid a number":      header("kid", 7),
		"kid empty":         header("kid", ""),
		"kid of 10 kB":      header("kid", strings.Repeat("a", 10<<10)),
		"kid with newline":  header("kid", goodKid+"\n"),
		"kid a path":        header("kid", "../"+goodKid),
		"kid unknown":       header("kid", other),
		"another's key":     func(s *keyServer, k *token) { s.add(t, other, nil); k.header["kid"] = other },
		"jwk brought along": header("jwk", map[string]any{"kty": "EC"}),
		"jku brought along": header("jku", "https://forger.example/keys"),
		"x5u brought along": header("x5u", "https://forger.example/cert"),
		"x5c brought along": header("x5c", []string{"MIIB"}),
		"crit":              header("crit", []string{"exp"}),

		"key expired":                  keyTold(other, map[string]any{"expired_at": testTime.Unix() - 1}),
		"key expires this very second": keyTold(other, map[string]any{"expired_at": testTime.Unix()}),
		"key of another id":            keyTold(other, map[string]any{"kid": goodKid}),
		"key for another use":          keyTold(other, map[string]any{"use": "enc"}),
		"key for another alg":          keyTold(other, map[string]any{"alg": "ES384"}),
		"key of another curve":         keyTold(other, map[string]any{"crv": "P-384"}),
		"key of another type":          keyTold(other, map[string]any{"kty": "RSA"}),
		"point off the curve":          keyTold(other, map[string]any{"x": base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))}),
		"point at infinity":            keyTold(other, map[string]any{"x": "", "y": ""}),
		"point too long":               keyTold(other, map[string]any{"x": base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{1}, 33))}),
		"point not base64":             keyTold(other, map[string]any{"x": "%%%"}),
		"zero signature":               func(_ *keyServer, k *token) { k.sign = func([]byte) []byte { return make([]byte, 64) } },
		"no signature":                 func(_ *keyServer, k *token) { k.sign = func([]byte) []byte { return nil } },
		"DER signature":                func(s *keyServer, k *token) { k.sign = derWith(s.private[goodKid]) },
		"signature truncated":          compact(func(c string) string { return c[:len(c)-4] }),
		"signature extended":           compact(func(c string) string { return c + "AAAA" }),
		"payload altered":              compact(func(c string) string { return alter(c, 1, `"iat":`, ` "iat":`) }),
		"header altered":               compact(func(c string) string { return alter(c, 0, `"JWT"`, `"jwt"`) }),
		"iat missing":                  func(_ *keyServer, k *token) { delete(k.claims, "iat") },
		"iat a string":                 claim("iat", fmt.Sprint(testTime.Unix())),
		"iat null":                     claim("iat", nil),
		"iat six minutes ago":          claim("iat", testTime.Unix()-360),
		"iat a second too old":         claim("iat", testTime.Unix()-301),
		"iat an hour ahead":            claim("iat", testTime.Unix()+3600),
		"iat a second too far":         claim("iat", testTime.Unix()+61),
		"iat before all time":          claim("iat", -1<<62),
		"iat huge":                     claim("iat", json.Number("1e300")),
		"already over":                 claim("exp", testTime.Unix()-1),
		"not yet":                      claim("nbf", testTime.Unix()+3600),
		"body hash missing":            func(_ *keyServer, k *token) { delete(k.claims, "request_body_sha256") },
		"body hash empty":              claim("request_body_sha256", ""),
		"body hash not text":           claim("request_body_sha256", 7),
		"body hash not hex":            claim("request_body_sha256", strings.Repeat("z", 64)),
		"body hash cut": func(_ *keyServer, k *token) {
			k.claims["request_body_sha256"] = k.claims["request_body_sha256"].(string)[:62]
		},
		"body of another":   body(strings.Replace(webhookBody, "wz666", "other", 1)),
		"body with a space": body(webhookBody + " "),
		"body re-encoded":   body(recode(webhookBody)),
		"body empty":        body(""),
	} {
		t.Run(name, func(t *testing.T) {
			s := newKeyServer(t)
			p, server := openKeys(t, s)
			k := s.token()
			change(s, &k)
			h, b := k.arrive()
			notices, err := p.Verify(t.Context(), h, b)
			if !errors.Is(err, bank.ErrForged) || notices != nil {
				t.Errorf("accepted or misjudged: %v, %v", notices, err)
			}
			if n := server.calls(keyCall); n > 0 && needsNoKey(name) {
				t.Errorf("it cost %d fetches of a key", n)
			}
			if err != nil && len(err.Error()) > 300 {
				t.Errorf("the refusal repeats what came in: %.300s", err)
			}
		})
	}
}

// needsNoKey reports whether a case must be refused before Plaid is asked for a key.
func needsNoKey(name string) bool {
	for _, kind := range []string{"no header", "two", "empty", "header of", "alg", "HS256", "RS256", "ES384", "iat", "body"} {
		if strings.HasPrefix(name, kind) {
			return true
		}
	}
	return strings.HasPrefix(name, "kid") && name != "kid unknown"
}

func derWith(key *ecdsa.PrivateKey) func([]byte) []byte {
	return func(signed []byte) []byte {
		sum := sha256.Sum256(signed)
		signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil {
			panic(err)
		}
		return signature
	}
}

// alter changes one decoded part of a token and leaves its signature.
func alter(compact string, index int, old, changed string) string {
	parts := strings.Split(compact, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[index])
	if err != nil || !strings.Contains(string(raw), old) {
		panic("nothing to alter in " + string(raw))
	}
	parts[index] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(raw), old, changed, 1)))
	return strings.Join(parts, ".")
}

func recode(body string) string {
	var value any
	if err := json.Unmarshal([]byte(body), &value); err != nil {
		panic(err)
	}
	raw, _ := json.Marshal(value)
	return string(raw)
}

func TestGenuineWebhooksAreAccepted(t *testing.T) {
	for name, change := range map[string]func(*keyServer, *token){
		"as Plaid sends it": func(*keyServer, *token) {},
		"header in lower case": func(_ *keyServer, k *token) {
			k.headers = func(c string) http.Header { return http.Header{"plaid-verification": {c}} }
		},
		"upper-case hash": func(_ *keyServer, k *token) {
			k.claims["request_body_sha256"] = strings.ToUpper(k.claims["request_body_sha256"].(string))
		},
		"five minutes old": func(_ *keyServer, k *token) { k.claims["iat"] = testTime.Unix() - 300 },
		"a minute ahead":   func(_ *keyServer, k *token) { k.claims["iat"] = testTime.Unix() + 60 },
		"no typ":           func(_ *keyServer, k *token) { delete(k.header, "typ") },
		"key that expires soon": func(s *keyServer, k *token) {
			s.put(t, goodKid, s.private[goodKid], map[string]any{"expired_at": testTime.Unix() + 1})
		},
		"X begins with a zero byte": func(s *keyServer, k *token) { k.sign = signWith(leadingZero(t, s, 1)) },
		"Y begins with a zero byte": func(s *keyServer, k *token) { k.sign = signWith(leadingZero(t, s, 33)) },
		"zero byte left out": func(s *keyServer, k *token) {
			key := leadingZero(t, s, 1)
			point, _ := key.PublicKey.Bytes()
			s.put(t, goodKid, key, map[string]any{"x": base64.RawURLEncoding.EncodeToString(point[2:33])})
			k.sign = signWith(key)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newKeyServer(t)
			p, _ := openKeys(t, s)
			k := s.token()
			change(s, &k)
			h, b := k.arrive()
			notices, err := p.Verify(t.Context(), h, b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(accepted, notices); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// leadingZero makes a key whose point has a zero byte at that place, and tells it as the good one.
func leadingZero(t testing.TB, s *keyServer, place int) *ecdsa.PrivateKey {
	for {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if point, _ := key.PublicKey.Bytes(); point[place] == 0 {
			s.put(t, goodKid, key, nil)
			return key
		}
	}
}

func TestAWebhookOfAnotherEnvironmentIsRefused(t *testing.T) {
	s := newKeyServer(t)
	p, _ := openKeys(t, s)
	p.environment = Production
	h, b := s.token().arrive()
	if _, err := p.Verify(t.Context(), h, b); !errors.Is(err, bank.ErrForged) {
		t.Errorf("got %v", err)
	}
}

// signed makes a genuine webhook of any body.
func (s *keyServer) signed(kid, body string, at time.Time) (http.Header, []byte) {
	sum := sha256.Sum256([]byte(body))
	s.mu.Lock()
	private := s.private[kid]
	s.mu.Unlock()
	return token{
		header: map[string]any{"alg": "ES256", "kid": kid, "typ": "JWT"},
		claims: map[string]any{"iat": at.Unix(), "request_body_sha256": hex.EncodeToString(sum[:])},
		sign:   signWith(private), body: []byte(body),
	}.arrive()
}

func TestWebhooksSayWhatToLookAt(t *testing.T) {
	s := newKeyServer(t)
	p, _ := openKeys(t, s)
	item, state := []bank.Notice{{Item: "item1"}}, []bank.Notice{{Item: "item1", Deep: true}}
	opened := []bank.Notice{{Item: "item1", Deep: true, Opened: true}}
	session := []bank.Notice{{Session: bank.Hash("plaid", "link-sandbox-1")}}
	for code, want := range map[string][]bank.Notice{
		"TRANSACTIONS/SYNC_UPDATES_AVAILABLE": item, "TRANSACTIONS/INITIAL_UPDATE": item, "TRANSACTIONS/HISTORICAL_UPDATE": item,
		"TRANSACTIONS/DEFAULT_UPDATE": item, "TRANSACTIONS/TRANSACTIONS_REMOVED": item,
		"TRANSACTIONS/RECURRING_TRANSACTIONS_UPDATE": nil,
		"ITEM/ERROR": state, "ITEM/LOGIN_REPAIRED": state, "ITEM/PENDING_EXPIRATION": state, "ITEM/PENDING_DISCONNECT": state,
		"ITEM/USER_PERMISSION_REVOKED": state, "ITEM/USER_ACCOUNT_REVOKED": state, "ITEM/NEW_ACCOUNTS_AVAILABLE": opened,
		"ITEM/WEBHOOK_UPDATE_ACKNOWLEDGED": nil,
		"LINK/SESSION_FINISHED":            session, "LINK/ITEM_ADD_RESULT": session, "LINK/EVENTS": nil,
		"HOLDINGS/DEFAULT_UPDATE": nil, "DASHBOARD_CONFIGURED_ALERT/INSTITUTION_STATUS_ALERT_TRIGGERED": nil, "NEW/CODE": nil,
	} {
		kind, name, _ := strings.Cut(code, "/")
		body := fmt.Sprintf(`{"webhook_type":%q,"webhook_code":%q,"item_id":"item1","link_token":"link-sandbox-1","environment":"sandbox",
			"error":{"error_code":"ITEM_LOGIN_REQUIRED"},"public_tokens":["public-1"],"new":[{"a":1},{"a":1}]}`, kind, name)
		h, b := s.signed(goodKid, body, testTime)
		got, err := p.Verify(t.Context(), h, b)
		if err != nil {
			t.Errorf("%s: %v", code, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", code, diff)
		}
	}
}

// Plaid stops calling where most of its webhooks are refused: what it signed and we have no use for is taken, whatever it lacks.
func TestAWebhookThatDoesNotMatterMayLackItsEnvironment(t *testing.T) {
	s := newKeyServer(t)
	p, _ := openKeys(t, s)
	for body, good := range map[string]bool{
		`{"webhook_type":"NEW","webhook_code":"CODE"}`:                                          true,
		`{"webhook_type":"NEW","webhook_code":"CODE","environment":"production"}`:               false,
		`{"webhook_type":"ITEM","webhook_code":"ERROR","item_id":"i"}`:                          false,
		`{"webhook_type":"LINK","webhook_code":"SESSION_FINISHED","link_token":"link-sandbox"}`: false,
	} {
		h, b := s.signed(goodKid, body, testTime)
		if got, err := p.Verify(t.Context(), h, b); (err == nil) != good || len(got) > 0 {
			t.Errorf("%s: %v, %v", body, got, err)
		}
	}
}

func TestWebhooksThatCannotBeReadAreMalformed(t *testing.T) {
	s := newKeyServer(t)
	p, _ := openKeys(t, s)
	const rest = `"environment":"sandbox","webhook_code":"ERROR","webhook_type":"ITEM"`
	for _, body := range []string{
		``, `null`, `[]`, `"text"`, `{`, `{` + rest + `}`, `{"item_id":"",` + rest + `}`, `{"item_id":7,` + rest + `}`,
		`{"item_id":"a",` + rest + `} {}`, `{"item_id":"a",` + rest + `}x`, `{"item_id":"a","item_id":"b",` + rest + `}`,
		`{"item_id":"a","n":{"x":1,"x":2},` + rest + `}`, `{"item_id":"a","n":"` + "\xff" + `",` + rest + `}`,
		`{"item_id":"` + strings.Repeat("a", 257) + `",` + rest + `}`, `{"item_id":"a","environment":"sandbox","webhook_type":"ITEM"}`,
		`{"item_id":"a","environment":"sandbox","webhook_code":"ERROR"}`,
		`{"environment":"sandbox","webhook_code":"SESSION_FINISHED","webhook_type":"LINK"}`,
		`{"item_id":"a","pad":"` + strings.Repeat("a", 1<<20) + `",` + rest + `}`,
		`{"item_id":"a","deep":` + strings.Repeat(`[`, 20000) + strings.Repeat(`]`, 20000) + `,` + rest + `}`,
	} {
		h, b := s.signed(goodKid, body, testTime)
		if got, err := p.Verify(t.Context(), h, b); !errors.Is(err, bank.ErrMalformed) || got != nil {
			t.Errorf("%.80s: %v, %v", body, got, err)
		}
	}
}

func FuzzWebhookBodiesNeverPanicNorNameNothing(f *testing.F) {
	p, _ := open(f, nil)
	f.Add([]byte(webhookBody))
	f.Add([]byte(`{"webhook_type":"LINK","webhook_code":"SESSION_FINISHED","link_token":"l","environment":"sandbox"}`))
	f.Add([]byte(`{"webhook_type":"ITEM","webhook_code":"ERROR","item_id":null,"environment":"sandbox"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		notices, err := p.notices(body)
		if err != nil && !errors.Is(err, bank.ErrMalformed) && !errors.Is(err, bank.ErrForged) {
			t.Errorf("an error of no kind: %v", err)
		}
		for _, n := range notices {
			if (n.Item == "") == (n.Session == "") || len(n.Item) > maxID {
				t.Errorf("%+v", n)
			}
		}
	})
}

// Nothing passes but what was signed, whatever its parts say, and nothing else is an error of no kind.
func FuzzSignaturesAreThoseOfThePartsThatWereSigned(f *testing.F) {
	s := newKeyServer(f)
	genuine := s.token()
	head, claims := part(genuine.header), part(genuine.claims)
	signed := genuine.sign([]byte(head + "." + claims))
	p, _ := open(f, nil)
	key := verificationKey{public: &s.private[goodKid].PublicKey, fetched: testTime}
	p.keys.now = p.now
	p.keys.fetch = func(context.Context, string) (verificationKey, error) {
		return verificationKey{}, forged("no such key")
	}
	raw := func(part string) []byte {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			f.Fatal(err)
		}
		return text
	}
	f.Add(raw(head), raw(claims), signed)
	f.Add([]byte(`{"alg":"none","kid":"`+goodKid+`"}`), raw(claims), []byte{})
	f.Add([]byte(`{"alg":["ES256"],"kid":{},"crit":[]}`), []byte(`{"iat":1e99,"nbf":"x","exp":-1,"aud":7,"request_body_sha256":[]}`), []byte("x"))
	f.Fuzz(func(t *testing.T, header, payload, signature []byte) {
		p.keys.known[goodKid] = key
		encode := base64.RawURLEncoding.EncodeToString
		h := http.Header{verificationHeader: {encode(header) + "." + encode(payload) + "." + encode(signature)}}
		notices, err := p.Verify(t.Context(), h, []byte(webhookBody))
		switch {
		case err == nil && (encode(header) != head || encode(payload) != claims):
			t.Errorf("%s.%s passes", header, payload)
		case err != nil && (len(notices) > 0 || !errors.Is(err, bank.ErrForged) && bank.KindOf(err) != bank.Retry):
			t.Errorf("%d notices, %v", len(notices), err)
		}
	})
}

func TestAKeyIsFetchedOnceAnHour(t *testing.T) {
	s := newKeyServer(t)
	p, server := openKeys(t, s)
	now := testTime
	p.keys.now, p.now = func() time.Time { return now }, func() time.Time { return now }
	for _, step := range []struct {
		pass    time.Duration
		fetches int
	}{{0, 1}, {0, 1}, {59 * time.Minute, 1}, {time.Minute, 2}, {time.Minute, 2}} {
		now = now.Add(step.pass)
		h, b := s.signed(goodKid, webhookBody, now)
		if _, err := p.Verify(t.Context(), h, b); err != nil {
			t.Fatal(err)
		}
		if got := server.calls(keyCall); got != step.fetches {
			t.Errorf("%v later: %d fetches, want %d", now.Sub(testTime), got, step.fetches)
		}
	}
}

func TestAKeyThatExpiresWhileCachedIsRefusedAtOnce(t *testing.T) {
	s := newKeyServer(t)
	s.put(t, goodKid, s.private[goodKid], map[string]any{"expired_at": testTime.Unix() + 60})
	p, server := openKeys(t, s)
	now := testTime
	p.keys.now, p.now = func() time.Time { return now }, func() time.Time { return now }
	for _, step := range []struct {
		pass time.Duration
		ok   bool
	}{{0, true}, {59 * time.Second, true}, {time.Second, false}} {
		now = now.Add(step.pass)
		h, b := s.signed(goodKid, webhookBody, now)
		if _, err := p.Verify(t.Context(), h, b); (err == nil) != step.ok || err != nil && !errors.Is(err, bank.ErrForged) {
			t.Errorf("%v later: %v", now.Sub(testTime), err)
		}
	}
	if n := server.calls(keyCall); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestAKeyThatPlaidWithdrawsIsRefusedWhenItsTimeIsOver(t *testing.T) {
	s := newKeyServer(t)
	p, _ := openKeys(t, s)
	now := testTime
	p.keys.now, p.now = func() time.Time { return now }, func() time.Time { return now }
	h, b := s.signed(goodKid, webhookBody, now)
	if _, err := p.Verify(t.Context(), h, b); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	delete(s.keys, goodKid)
	s.mu.Unlock()
	now = now.Add(keyLife)
	h, b = s.signed(goodKid, webhookBody, now)
	if _, err := p.Verify(t.Context(), h, b); !errors.Is(err, bank.ErrForged) {
		t.Errorf("got %v", err)
	}
}

func TestKeysThatCannotBeFetchedAreTriedAgain(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"down":    refuseWith(500, "API_ERROR", "INTERNAL_SERVER_ERROR", ""),
		"a page":  func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", 502) },
		"cut":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"garbage": answerWith(`{"key":`),
	} {
		s := newKeyServer(t)
		p, server := openKeys(t, s)
		server.answers[keyCall] = answer
		h, b := s.token().arrive()
		if _, err := p.Verify(t.Context(), h, b); bank.KindOf(err) != bank.Retry || errors.Is(err, bank.ErrForged) || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func forge(s *keyServer, n int) (http.Header, []byte) {
	k := s.token()
	k.header["kid"] = fmt.Sprintf("%08d-0000-4000-8000-000000000000", n)
	k.sign = func([]byte) []byte { return bytes.Repeat([]byte{1}, 64) }
	return k.arrive()
}

func TestTenThousandForgedWebhooksCostAConstantNumberOfFetches(t *testing.T) {
	s := newKeyServer(t)
	p, server := openKeys(t, s)
	now := testTime
	p.keys.now, p.now = func() time.Time { return now }, func() time.Time { return now }
	good, body := s.token().arrive()
	if _, err := p.Verify(t.Context(), good, body); err != nil {
		t.Fatal(err)
	}
	for n := range 10_000 {
		h, b := forge(s, n)
		if notices, err := p.Verify(t.Context(), h, b); err == nil {
			t.Fatalf("accepted %v", notices)
		}
	}
	if n := server.calls(keyCall); n > 1+strangersAtOnce {
		t.Errorf("%d fetches", n)
	}
	if n := len(p.keys.refused) + len(p.keys.known); n > 1+strangersAtOnce {
		t.Errorf("%d keys are remembered", n)
	}
	if _, err := p.Verify(t.Context(), good, body); err != nil {
		t.Errorf("a genuine webhook was refused: %v", err)
	}

	// A key that is new during the flood is learned by the webhook that Plaid repeats.
	const fresh = "22222222-92dc-479e-a8ff-5a51992e0003"
	s.add(t, fresh, nil)
	h, b := s.signed(fresh, webhookBody, now)
	if _, err := p.Verify(t.Context(), h, b); bank.KindOf(err) != bank.Retry || errors.Is(err, bank.ErrForged) {
		t.Errorf("it must be repeated: %v", err)
	}
	now = now.Add(30 * time.Second)
	h, b = s.signed(fresh, webhookBody, now)
	if _, err := p.Verify(t.Context(), h, b); err != nil {
		t.Errorf("the new key was not learned: %v", err)
	}
}

func TestAKeyThatPlaidDoesNotKnowIsNotAskedForAgainAtOnce(t *testing.T) {
	s := newKeyServer(t)
	p, server := openKeys(t, s)
	now := testTime
	p.keys.now = func() time.Time { return now }
	for _, step := range []struct {
		pass    time.Duration
		fetches int
	}{{0, 1}, {0, 1}, {19 * time.Second, 1}, {time.Second, 2}} {
		now = now.Add(step.pass)
		if _, err := p.keys.key(t.Context(), "00000000-0000-4000-8000-000000000000"); !errors.Is(err, bank.ErrForged) {
			t.Fatal(err)
		}
		if got := server.calls(keyCall); got != step.fetches {
			t.Errorf("%v later: %d fetches, want %d", now.Sub(testTime), got, step.fetches)
		}
	}
}

func TestKeysThatWereRefusedAreForgotten(t *testing.T) {
	s := newKeyServer(t)
	p, _ := openKeys(t, s)
	now := testTime
	p.keys.now = func() time.Time { return now }
	for n := range 100 {
		now = now.Add(strangerInterval)
		if _, err := p.keys.key(t.Context(), fmt.Sprintf("%08d-0000-4000-8000-000000000000", n)); !errors.Is(err, bank.ErrForged) {
			t.Fatal(err)
		}
	}
	if n := len(p.keys.refused); n > 3 {
		t.Errorf("%d are remembered", n)
	}
}

func TestAKnownKeyIsRefreshedInAFlood(t *testing.T) {
	s := newKeyServer(t)
	p, _ := openKeys(t, s)
	now := testTime
	p.keys.now, p.now = func() time.Time { return now }, func() time.Time { return now }
	h, b := s.signed(goodKid, webhookBody, now)
	if _, err := p.Verify(t.Context(), h, b); err != nil {
		t.Fatal(err)
	}
	now = now.Add(keyLife)
	for n := range 3 * strangersAtOnce {
		if _, err := p.keys.key(t.Context(), fmt.Sprintf("%08d-0000-4000-8000-000000000000", n)); err == nil {
			t.Fatal("accepted")
		}
	}
	h, b = s.signed(goodKid, webhookBody, now)
	if _, err := p.Verify(t.Context(), h, b); err != nil {
		t.Errorf("the flood took the budget of a known key: %v", err)
	}
}

func TestAStalledFetchDelaysNoWebhookWhoseKeyIsKnown(t *testing.T) {
	s := newKeyServer(t)
	p, server := openKeys(t, s)
	good, body := s.token().arrive()
	if _, err := p.Verify(t.Context(), good, body); err != nil {
		t.Fatal(err)
	}
	entered, release := make(chan struct{}, 100), make(chan struct{})
	genuine := server.answers[keyCall]
	server.mu.Lock()
	server.answers[keyCall] = func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-release
		genuine(w, r)
	}
	server.mu.Unlock()

	// The same unknown key a hundred times at once is one fetch.
	var waiting sync.WaitGroup
	errs := make(chan error, 100)
	for range 100 {
		waiting.Go(func() {
			h, b := forge(s, 1)
			_, err := p.Verify(t.Context(), h, b)
			errs <- err
		})
	}
	<-entered
	if _, err := p.Verify(t.Context(), good, body); err != nil {
		t.Errorf("a genuine webhook waited or failed: %v", err)
	}
	close(release)
	waiting.Wait()
	close(errs)
	for err := range errs {
		if !errors.Is(err, bank.ErrForged) {
			t.Errorf("got %v", err)
		}
	}
	if n := server.calls(keyCall); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

func TestACallerThatGoesAwayDoesNotFailTheOthers(t *testing.T) {
	s := newKeyServer(t)
	p, server := openKeys(t, s)
	entered, release := make(chan struct{}), make(chan struct{})
	genuine := server.answers[keyCall]
	server.answers[keyCall] = func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		genuine(w, r)
	}
	h, b := s.token().arrive()
	ctx, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := p.Verify(ctx, h, b); first <- err }()
	<-entered
	second := make(chan error, 1)
	go func() { _, err := p.Verify(t.Context(), h, b); second <- err }()
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) || bank.KindOf(err) != bank.Retry {
		t.Errorf("who left got %v", err)
	}
	close(release)
	if err := <-second; err != nil {
		t.Errorf("who stayed got %v", err)
	}
}
