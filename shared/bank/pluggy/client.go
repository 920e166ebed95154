package pluggy

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/singleflight"

	"github.com/bkper/automations-portal/shared/bank/internal/tolerant"
	"github.com/bkper/automations-portal/shared/secret"
)

// maxAnswer bounds what is read of one answer, in bytes. 500 transactions are about 1 MB.
const maxAnswer = 16 << 20

var errTooLong = errors.New("the answer is longer than any that Pluggy should give")

// call is one request. Name is its method and path without ids, for errors.
type call struct {
	name   string
	method string
	path   string
	query  url.Values
	in     any // nil sends no body
}

// answer is what came back, whole.
type answer struct {
	call   string
	status int
	header http.Header
	body   []byte
}

// do calls Pluggy and decodes a success into out, which may be nil. A key that Pluggy no longer takes is replaced once.
func (p *Pluggy) do(ctx context.Context, c call, out any) error {
	got, err := p.authorised(ctx, c)
	if err != nil {
		return err
	}
	return got.decode(out)
}

// decode reads a success into out, which may be nil, and translates anything else.
func (a *answer) decode(out any) error {
	if a.status < 200 || a.status > 299 {
		return a.refusal()
	}
	if out == nil || a.status == http.StatusNoContent {
		return nil
	}
	if err := tolerant.Unmarshal(a.body, out); err != nil {
		return broken(a.call, badAnswer, errors.New("the answer cannot be decoded"))
	}
	return nil
}

func (p *Pluggy) authorised(ctx context.Context, c call) (*answer, error) {
	for renewed := false; ; renewed = true {
		key, err := p.keys.get(ctx, p.now, p.authenticate)
		if err != nil {
			return nil, err
		}
		got, err := p.send(ctx, c, key)
		if err != nil || renewed || !got.keyRefused() {
			return got, err
		}
		p.keys.drop(key)
	}
}

// keyRefused reports whether the key is at fault. Other refusals have the status 403 too: of a connect token at most endpoints,
// of a bank that withholds a balance, of what the plan does not include.
func (a *answer) keyRefused() bool {
	if a.status == http.StatusUnauthorized {
		return true
	}
	if a.status != http.StatusForbidden {
		return false
	}
	said := complaintOf(a.body)
	return said.Code == "" && strings.Contains(strings.ToLower(string(said.Message)), "authorization token")
}

func (p *Pluggy) send(ctx context.Context, c call, key secret.String) (*answer, error) {
	var body io.Reader
	if c.in != nil {
		text, err := json.Marshal(c.in)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", c.name, err)
		}
		body = bytes.NewReader(text)
	}
	at := *p.base
	at.Path += c.path
	at.RawQuery = c.query.Encode()
	r, err := http.NewRequestWithContext(ctx, c.method, at.String(), body)
	if err != nil {
		return nil, fmt.Errorf("prepare %s", c.name)
	}
	r.Header.Set("Accept", "application/json")
	if c.in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if !key.Empty() {
		r.Header.Set("X-API-KEY", key.Reveal())
	}
	came, err := p.http.Do(r)
	if err != nil {
		return nil, broken(c.name, transport, err)
	}
	defer came.Body.Close()
	text, err := io.ReadAll(io.LimitReader(came.Body, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = errTooLong // half an answer must never look like a whole one
	}
	if err != nil {
		return nil, broken(c.name, badAnswer, err)
	}
	return &answer{c.name, came.StatusCode, came.Header, text}, nil
}

// authenticate gets an API key. It is good for every call, for two hours.
func (p *Pluggy) authenticate(ctx context.Context) (apiKey, error) {
	c := call{name: "POST /auth", method: http.MethodPost, path: "/auth", in: map[string]string{
		"clientId": p.clientID, "clientSecret": p.secret.Reveal(),
	}}
	got, err := p.send(ctx, c, secret.String{})
	if err != nil {
		return apiKey{}, err
	}
	if got.status != http.StatusOK {
		return apiKey{}, got.refusal()
	}
	var said struct {
		Key loose `json:"apiKey"`
	}
	if tolerant.Unmarshal(got.body, &said) != nil || said.Key == "" {
		return apiKey{}, broken(c.name, badAnswer, errors.New("no key"))
	}
	return apiKey{secret.New(string(said.Key)), p.now().Add(lifetime(string(said.Key)))}, nil
}

// keyLifetime is what Pluggy gives a key that does not say: two hours.
const keyLifetime = 2 * time.Hour

// lifetime reads how long a token is good. The difference of its own two times does not depend on anybody's clock.
func lifetime(token string) time.Duration {
	claims := claimsOf(token)
	life := time.Duration(claims.Expires-claims.Issued) * time.Second
	if claims.Issued <= 0 || life <= 0 || life > 24*time.Hour {
		return keyLifetime
	}
	return life
}

type claims struct {
	Issued  int64 `json:"iat"`
	Expires int64 `json:"exp"`
}

// claimsOf reads a JWT without verifying it: it is handed back to whoever made it.
func claimsOf(token string) (c claims) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || tolerant.Unmarshal(text, &c) != nil {
		return claims{}
	}
	return c
}

// early is how long before its end a key is replaced, so that it never ends on the way.
const early = 10 * time.Minute

type apiKey struct {
	text  secret.String
	until time.Time
}

// keyring keeps the key that all calls share.
type keyring struct {
	mu      sync.Mutex
	key     apiKey
	fetches singleflight.Group
}

// get gives the key, or fetches one: a single time for all who wait. A key that is about to end serves on where no other can
// be had.
func (k *keyring) get(ctx context.Context, now func() time.Time, fetch func(context.Context) (apiKey, error)) (secret.String, error) {
	k.mu.Lock()
	have := k.key
	k.mu.Unlock()
	if !have.text.Empty() && now().Before(have.until.Add(-early)) {
		return have.text, nil
	}
	result := k.fetches.DoChan("key", func() (any, error) {
		// The fetch is for all who wait: it must not end because one of them does.
		fresh, err := fetch(context.WithoutCancel(ctx))
		if err == nil {
			k.mu.Lock()
			k.key = fresh
			k.mu.Unlock()
		}
		return fresh, err
	})
	select {
	case <-ctx.Done():
		return secret.String{}, broken("POST /auth", transport, ctx.Err())
	case got := <-result:
		switch {
		case got.Err == nil:
			fresh, _ := got.Val.(apiKey)
			return fresh.text, nil
		case !have.text.Empty() && now().Before(have.until):
			return have.text, nil
		}
		return secret.String{}, got.Err
	}
}

// drop forgets a key that was refused, unless another has taken its place.
func (k *keyring) drop(refused secret.String) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key.text.Equal(refused.Reveal()) {
		k.key = apiKey{}
	}
}

// loose is a text that may come as something else: a number as its digits, null and the rest as nothing.
type loose string

// UnmarshalJSON implements json.Unmarshaler.
func (l *loose) UnmarshalJSON(value []byte) error {
	*l = ""
	switch jsontext.Value(value).Kind() {
	case '"':
		var s string
		if err := tolerant.Unmarshal(value, &s); err != nil {
			return err
		}
		*l = loose(s)
	case '0':
		*l = loose(value)
	default: // nothing that has a text
	}
	return nil
}

// moment is a point in time, or zero where there is none that can be read.
type moment struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (m *moment) UnmarshalJSON(value []byte) error {
	var text loose
	if err := text.UnmarshalJSON(value); err != nil {
		return err
	}
	*m = moment{}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", time.DateOnly} {
		if at, err := time.Parse(layout, string(text)); err == nil {
			*m = moment{at.UTC()}
			return nil
		}
	}
	return nil
}

// maybe is an object that may come as null or as something else; then Value is zero.
type maybe[T any] struct {
	Value T
	Is    bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *maybe[T]) UnmarshalJSON(value []byte) error {
	*m = maybe[T]{}
	if m.Is = tolerant.Object(value, &m.Value); !m.Is {
		*m = maybe[T]{} // half of it says something else
	}
	return nil
}
