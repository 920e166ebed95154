package plaid

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// signingKey signs webhooks. The private half is a sandbox's own and protects nothing outside it.
type signingKey struct {
	ID      string    `json:"id"`
	Private []byte    `json:"private"` // PKCS #8, DER
	Created time.Time `json:"created"`
	Expired time.Time `json:"expired,omitzero"`

	private *ecdsa.PrivateKey
}

func newSigningKey(now time.Time) (*signingKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a webhook key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("make a webhook key: %w", err)
	}
	return &signingKey{ID: uuid.NewString(), Private: der, Created: now, private: private}, nil
}

func (k *signingKey) load() error {
	private, err := x509.ParsePKCS8PrivateKey(k.Private)
	if err != nil {
		return fmt.Errorf("webhook key %s: %w", k.ID, err)
	}
	ec, ok := private.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("webhook key %s: not an elliptic curve key", k.ID)
	}
	k.private = ec
	return nil
}

// public is the key as /webhook_verification_key/get shows it.
func (k *signingKey) public() (map[string]any, error) {
	point, err := k.private.PublicKey.Bytes() // 4, X, Y; each coordinate keeps its leading zeros
	if err != nil {
		return nil, fmt.Errorf("webhook key %s: %w", k.ID, err)
	}
	jwk := map[string]any{
		"alg": "ES256", "crv": "P-256", "kty": "EC", "use": "sig", "kid": k.ID, "created_at": k.Created.Unix(), "expired_at": nil,
		"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
	}
	if !k.Expired.IsZero() {
		jwk["expired_at"] = k.Expired.Unix()
	}
	return jwk, nil
}

// sign makes the Plaid-Verification header of a body.
func (k *signingKey) sign(body []byte, issued time.Time) (string, error) {
	sum := sha256.Sum256(body)
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iat": issued.Unix(), "request_body_sha256": hex.EncodeToString(sum[:]),
	})
	token.Header["kid"] = k.ID
	return token.SignedString(k.private)
}
