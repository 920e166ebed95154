package google

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strconv"
	"sync"

	"github.com/golang-jwt/jwt/v5"
)

type key struct {
	id      string
	private *rsa.PrivateKey
}

type storedKey struct {
	ID    string `json:"id"`
	PKCS8 []byte `json:"pkcs8"`
}

func (d storedKey) open() (*key, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(d.PKCS8)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", d.ID, err)
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("signing key %s: not an RSA key", d.ID)
	}
	return &key{d.ID, private}, nil
}

// RotateKey signs with a new key from now on. The one before stays published, as Google's does, so that what it signed
// can be verified; older ones vanish.
func (s *Service) RotateKey() error {
	private, err := newKey()
	if err != nil {
		return err
	}
	return s.signWith(private)
}

func newKey() (*rsa.PrivateKey, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	return private, nil
}

// processKey is what every new service of a process signs with at first: making one for each would take most of the time of
// many tests.
var processKey = sync.OnceValues(newKey)

func (s *Service) signWith(private *rsa.PrivateKey) error {
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(&private.PublicKey))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, &key{hex.EncodeToString(sum[:20]), private})
	s.keys = s.keys[max(0, len(s.keys)-2):]
	return s.saveKeys()
}

// saveKeys names the keys by their place, so that they load in the order of their age.
func (s *Service) saveKeys() error {
	for place, k := range s.keys {
		der, err := x509.MarshalPKCS8PrivateKey(k.private)
		if err != nil {
			return fmt.Errorf("keep a signing key: %w", err)
		}
		if err := s.save(keySpace, strconv.Itoa(place), storedKey{k.id, der}); err != nil {
			return err
		}
	}
	return nil
}

// JWK is a public RSA key as RFC 7517 writes it.
type JWK struct {
	Kid string `json:"kid"`
	Kty string `json:"kty"`
	Alg string `json:"alg"`
	Use string `json:"use"`
	N   string `json:"n"`
	E   string `json:"e"`
}

// Keys returns the public keys that verify what IDToken and the token endpoint sign.
func (s *Service) Keys() []JWK {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []JWK
	for _, k := range s.keys {
		all = append(all, JWK{
			Kid: k.id, Kty: "RSA", Alg: "RS256", Use: "sig",
			N: base64.RawURLEncoding.EncodeToString(k.private.N.Bytes()),
			E: base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.private.E)).Bytes()),
		})
	}
	return all
}

// IDToken returns the token that Pub/Sub push and Cloud Scheduler send as a service account: RS256, an hour long, with
// the e-mail address verified.
func (s *Service) IDToken(serviceAccountEmail, audience string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := Sub(serviceAccountEmail)
	return s.sign(jwt.MapClaims{"aud": audience, "azp": sub, "sub": sub, "email": serviceAccountEmail, "email_verified": true})
}

// sign adds issuer and times to the claims and signs them with the newest key.
func (s *Service) sign(claims jwt.MapClaims) (string, error) {
	now := s.now()
	claims["iss"], claims["iat"], claims["exp"] = Issuer, now.Unix(), now.Add(tokenLife).Unix()
	k := s.keys[len(s.keys)-1]
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	t.Header["kid"] = k.id
	signed, err := t.SignedString(k.private)
	if err != nil {
		return "", fmt.Errorf("sign an ID token: %w", err)
	}
	return signed, nil
}
