package plaid

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	sdk "github.com/plaid/plaid-go/v20/plaid"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/bkper/automations-portal/shared/bank"
)

const (
	// keyLife is how long a key is believed before Plaid is asked again. Plaid sets a key's end only when it rotates it,
	// so this is how long a withdrawn key can go unnoticed.
	keyLife = time.Hour
	// refusedLife is how long a key that Plaid does not know is not asked for again: less than the 30 seconds after which
	// Plaid first repeats a webhook.
	refusedLife = 20 * time.Second
	// Whoever forges webhooks chooses the key ids, so that only so many unknown ones are asked for: a few at once, and one
	// more each interval, which leaves some for a new key by the time Plaid repeats its webhook.
	strangersAtOnce  = 10
	strangerInterval = 10 * time.Second
	// keyTimeout leaves time to answer the webhook, for which Plaid waits 10 seconds.
	keyTimeout = 5 * time.Second
)

// keyIDs is the shape of Plaid's key ids, which are UUIDs.
var keyIDs = regexp.MustCompile(`^[0-9A-Za-z-]{8,64}$`)

// verificationKey is a key that Plaid signs webhooks with.
type verificationKey struct {
	public  *ecdsa.PublicKey
	expires time.Time // zero where Plaid has not rotated it
	fetched time.Time
}

// keyring keeps Plaid's verification keys. The lock is never held across a fetch: a flood of forged key ids does not delay
// webhooks whose key is known.
type keyring struct {
	fetch func(context.Context, string) (verificationKey, error)
	now   func() time.Time

	strangers *rate.Limiter
	flight    singleflight.Group

	mu      sync.Mutex
	known   map[string]verificationKey
	refused map[string]time.Time // until when
}

func newKeyring(fetch func(context.Context, string) (verificationKey, error), now func() time.Time) *keyring {
	return &keyring{
		fetch: fetch, now: now, strangers: rate.NewLimiter(rate.Every(strangerInterval), strangersAtOnce),
		known: map[string]verificationKey{}, refused: map[string]time.Time{},
	}
}

// key finds the key with that id. ErrForged where Plaid has none, or it has expired by now, however fresh our copy is;
// Retry where Plaid could not be asked.
func (k *keyring) key(ctx context.Context, id string) (*ecdsa.PublicKey, error) {
	key, fresh, refused := k.look(id)
	if refused {
		return nil, forged("its key was refused a moment ago")
	}
	if !fresh {
		result := k.flight.DoChan(id, func() (any, error) {
			// The answer is for every webhook that waits for it, not only for the one that came first.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyTimeout)
			defer cancel()
			return k.ask(ctx, id)
		})
		select {
		case <-ctx.Done():
			return nil, broken(keyCall, "TRANSPORT", ctx.Err())
		case got := <-result:
			if got.Err != nil {
				return nil, got.Err
			}
			key, _ = got.Val.(verificationKey)
		}
	}
	if !key.expires.IsZero() && !k.now().Before(key.expires) {
		return nil, forged("its key has expired")
	}
	return key.public, nil
}

func (k *keyring) look(id string) (key verificationKey, fresh, refused bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if until, ok := k.refused[id]; ok && now.Before(until) {
		return verificationKey{}, false, true
	}
	key, ok := k.known[id]
	return key, ok && now.Before(key.fetched.Add(keyLife)), false
}

// ask asks Plaid, within the bound for ids that Plaid has never confirmed.
func (k *keyring) ask(ctx context.Context, id string) (verificationKey, error) {
	k.mu.Lock()
	_, confirmed := k.known[id]
	k.mu.Unlock()
	if !confirmed && !k.strangers.AllowN(k.now(), 1) {
		return verificationKey{}, &bank.Error{Kind: bank.Retry, Code: "TOO_MANY_UNKNOWN_KEYS"}
	}
	key, err := k.fetch(ctx, id)
	if err != nil && !errors.Is(err, bank.ErrForged) {
		return verificationKey{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forget()
	if err != nil {
		delete(k.known, id)
		k.refused[id] = k.now().Add(refusedLife)
		return verificationKey{}, err
	}
	key.fetched = k.now()
	k.known[id] = key
	return key, nil
}

// forget drops what is past its time, so that neither map grows for ever.
func (k *keyring) forget() {
	now := k.now()
	for id, until := range k.refused {
		if !now.Before(until) {
			delete(k.refused, id)
		}
	}
	for id, key := range k.known {
		if now.After(key.fetched.Add(24 * keyLife)) {
			delete(k.known, id)
		}
	}
}

const keyCall = "/webhook_verification_key/get"

// fetchKey gets a key from Plaid. A key that Plaid does not know, or that is not one for ES256, proves nothing: ErrForged.
func (p *Plaid) fetchKey(ctx context.Context, id string) (verificationKey, error) {
	request := sdk.WebhookVerificationKeyGetRequest{KeyId: id}
	got, answer, err := p.api.WebhookVerificationKeyGet(ctx).WebhookVerificationKeyGetRequest(request).Execute()
	if err != nil {
		err = failure(keyCall, answer, err)
		if errors.Is(err, bank.ErrNotFound) {
			return verificationKey{}, forged("Plaid does not know its key")
		}
		return verificationKey{}, err
	}
	public, err := readKey(id, got.Key)
	if err != nil {
		return verificationKey{}, forged(err.Error())
	}
	key := verificationKey{public: public}
	if expired := got.Key.ExpiredAt.Get(); expired != nil {
		key.expires = time.Unix(int64(*expired), 0)
	}
	return key, nil
}

func readKey(id string, key sdk.JWKPublicKey) (*ecdsa.PublicKey, error) {
	if key.Kid != id || key.Kty != "EC" || key.Crv != "P-256" || key.Alg != "ES256" || key.Use != "sig" {
		return nil, errors.New("its key is not one for ES256")
	}
	point := make([]byte, 65)
	point[0] = 4
	for i, coordinate := range []string{key.X, key.Y} {
		raw, err := base64.RawURLEncoding.Strict().DecodeString(coordinate)
		if err != nil || len(raw) > 32 {
			return nil, errors.New("its key has no such point")
		}
		// Encoders exist that leave leading zero bytes out.
		copy(point[1+32*i+32-len(raw):], raw)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fmt.Errorf("its key is unusable: %w", err)
	}
	return public, nil
}
