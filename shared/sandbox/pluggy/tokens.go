package pluggy

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

const (
	apiKeyLife       = 2 * time.Hour
	connectTokenLife = 30 * time.Minute
	keyBits          = 2048
)

// signer makes and reads API keys and connect tokens. The key is a sandbox's own and protects nothing outside it.
type signer struct {
	private *rsa.PrivateKey
	seal    cipher.AEAD
	server  string // so that tokens of one server are no good at another that has the same key
}

// processKey is made once a process: a new one for every server would take most of the time of many tests.
var processKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, keyBits) })

type keyDoc struct {
	Private []byte // PKCS #1, DER
	Server  string
}

func newSigner() (*signer, error) {
	private, err := processKey()
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	return signerOf(private, uuid.NewString())
}

func (d keyDoc) signer() (*signer, error) {
	private, err := x509.ParsePKCS1PrivateKey(d.Private)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	return signerOf(private, d.Server)
}

func signerOf(private *rsa.PrivateKey, server string) (*signer, error) {
	sum := sha256.Sum256(x509.MarshalPKCS1PrivateKey(private))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	return &signer{private, seal, server}, err
}

func (s *signer) doc() keyDoc {
	return keyDoc{x509.MarshalPKCS1PrivateKey(s.private), s.server}
}

// connectToken is what a connect token seals.
type connectToken struct {
	ID      string
	Item    string // of update mode
	Options ItemOptions

	expires time.Time // sealed by the token around it
}

// claims of an API key; a connect token has data too.
type claims struct {
	ClientID string `json:"clientId"`
	Data     string `json:"data,omitempty"`
	jwt.RegisteredClaims
}

func (s *signer) sign(c claims, now time.Time, life time.Duration) (string, error) {
	c.IssuedAt, c.ExpiresAt = jwt.NewNumericDate(now), jwt.NewNumericDate(now.Add(life))
	c.Audience = jwt.ClaimStrings{s.server}
	return jwt.NewWithClaims(jwt.SigningMethodRS256, c).SignedString(s.private)
}

func (s *signer) apiKey(client string, now time.Time) (string, error) {
	return s.sign(claims{ClientID: client}, now, apiKeyLife)
}

func (s *signer) connectToken(client string, t connectToken, now time.Time) (string, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	sealed := base64.StdEncoding.EncodeToString(s.seal.Seal(nil, nil, text, nil))
	return s.sign(claims{ClientID: client, Data: sealed}, now, connectTokenLife)
}

// read returns whose key or token it is; token is nil for an API key.
func (s *signer) read(given string, now time.Time) (client string, token *connectToken, err error) {
	var c claims
	_, err = jwt.ParseWithClaims(given, &c, func(*jwt.Token) (any, error) { return &s.private.PublicKey, nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired(), jwt.WithAudience(s.server),
		jwt.WithTimeFunc(func() time.Time { return now }))
	if err != nil || c.Data == "" {
		return c.ClientID, nil, err
	}
	sealed, err := base64.StdEncoding.DecodeString(c.Data)
	if err != nil {
		return "", nil, errors.New("sealed options cannot be read")
	}
	text, err := s.seal.Open(nil, nil, sealed, nil)
	if err != nil {
		return "", nil, errors.New("sealed options cannot be read")
	}
	token = &connectToken{expires: c.ExpiresAt.Time}
	return c.ClientID, token, json.Unmarshal(text, token)
}
