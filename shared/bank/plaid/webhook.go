package plaid

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	stdjson "encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"github.com/bkper/automations-portal/shared/bank"
)

// How Plaid signs webhooks: https://plaid.com/docs/api/webhooks/webhook-verification.
const (
	verificationHeader = "Plaid-Verification"
	oldest             = 5 * time.Minute  // age of a signature
	ahead              = 60 * time.Second // by which Plaid's clock may be before ours
	maxHeader          = 4 << 10
	maxBody            = 1 << 20
)

// Verify checks the signature, its age, and that it was made for this very body, and says what the webhook is about.
func (p *Plaid) Verify(ctx context.Context, header http.Header, body []byte) ([]bank.Notice, error) {
	signature, err := onlySignature(header)
	if err != nil {
		return nil, err
	}
	if err := p.verify(ctx, signature, body); err != nil {
		return nil, err
	}
	return p.notices(body)
}

func onlySignature(header http.Header) (string, error) {
	var found []string
	for name, values := range header {
		if strings.EqualFold(name, verificationHeader) {
			found = append(found, values...)
		}
	}
	if len(found) != 1 || found[0] == "" || len(found[0]) > maxHeader {
		return "", forged("it does not carry exactly one signature")
	}
	return found[0], nil
}

// verify looks at all that costs nothing before it asks for the key. Those claims are trusted only because the same text then
// passes the check of its signature.
func (p *Plaid) verify(ctx context.Context, signature string, body []byte) error {
	// A key's own algorithm decides, never the token's: anything else lets a public key serve as a shared secret.
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithJSONNumber(), jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(p.now))
	claims := jwt.MapClaims{}
	token, _, err := parser.ParseUnverified(signature, claims)
	if err != nil {
		return forged("its signature is not a token")
	}
	id, err := keyID(token.Header)
	if err != nil {
		return err
	}
	if err := p.timely(claims); err != nil {
		return err
	}
	if err := sameBody(claims, body); err != nil {
		return err
	}
	key, err := p.keys.key(ctx, id)
	if err != nil {
		return err
	}
	if _, err := parser.Parse(signature, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
		return forged("its signature does not match")
	}
	return nil
}

// keyID reads the header of the token, which is not verified yet: it may name a key, and bring none.
func keyID(header map[string]any) (string, error) {
	if header["alg"] != "ES256" {
		return "", forged("it is not signed with ES256")
	}
	for _, name := range []string{"jwk", "jku", "x5u", "x5c", "crit", "b64"} {
		if _, ok := header[name]; ok {
			return "", forged("its token brings " + name)
		}
	}
	id, ok := header["kid"].(string)
	if !ok || !keyIDs.MatchString(id) {
		return "", forged("it names no key")
	}
	return id, nil
}

// timely checks the time of signing. The token has no end of its own, so that without this check an old one stays good.
func (p *Plaid) timely(claims jwt.MapClaims) error {
	number, ok := claims["iat"].(stdjson.Number)
	if !ok {
		return forged("it does not say when it was signed")
	}
	seconds, err := number.Int64()
	if err != nil {
		return forged("it does not say when it was signed")
	}
	// Compared as seconds: the difference of two times saturates, and a hostile iat is as far away as it likes.
	now := p.now().Unix()
	if seconds < now-int64(oldest.Seconds()) || seconds > now+int64(ahead.Seconds()) {
		return forged("it was signed too long ago, or in the future")
	}
	return nil
}

// sameBody compares the bytes as they came: Plaid signs its own indentation.
func sameBody(claims jwt.MapClaims, body []byte) error {
	claimed, ok := claims["request_body_sha256"].(string)
	if !ok {
		return forged("it is not signed for a body")
	}
	want, err := hex.DecodeString(claimed)
	sum := sha256.Sum256(body)
	if err != nil || subtle.ConstantTimeCompare(want, sum[:]) != 1 {
		return forged("it is signed for another body")
	}
	return nil
}

func forged(why string) error {
	return &bank.Error{Kind: bank.Permanent, Code: "FORGED_WEBHOOK", Err: fmt.Errorf("%w: %s", bank.ErrForged, why)}
}

func malformed(why string) error {
	return &bank.Error{Kind: bank.Permanent, Code: "MALFORMED_WEBHOOK", Err: fmt.Errorf("%w: %s", bank.ErrMalformed, why)}
}

// envelope is all that is believed of a webhook, and only as a reason to look.
type envelope struct {
	Type        string `json:"webhook_type"`
	Code        string `json:"webhook_code"`
	Environment string `json:"environment"`
	Item        string `json:"item_id"`
	Link        string `json:"link_token"`
}

// subject is what a webhook makes us look at.
type subject int

const (
	anItem subject = iota + 1
	aLink
)

// subjects are the webhooks that matter; Plaid sends others, and adds to them.
var subjects = map[string]subject{
	"TRANSACTIONS/SYNC_UPDATES_AVAILABLE": anItem,
	"TRANSACTIONS/INITIAL_UPDATE":         anItem,
	"TRANSACTIONS/HISTORICAL_UPDATE":      anItem,
	"TRANSACTIONS/DEFAULT_UPDATE":         anItem,
	"TRANSACTIONS/TRANSACTIONS_REMOVED":   anItem,

	"ITEM/ERROR":                   anItem,
	"ITEM/LOGIN_REPAIRED":          anItem,
	"ITEM/PENDING_EXPIRATION":      anItem,
	"ITEM/PENDING_DISCONNECT":      anItem,
	"ITEM/USER_PERMISSION_REVOKED": anItem,
	"ITEM/USER_ACCOUNT_REVOKED":    anItem,
	"ITEM/NEW_ACCOUNTS_AVAILABLE":  anItem,

	"LINK/SESSION_FINISHED": aLink,
	"LINK/ITEM_ADD_RESULT":  aLink,
}

// maxID bounds what is passed on as an id; Plaid's have 37 characters, its link tokens about 50.
const maxID = 256

// notices reads a body whose signature was verified.
func (p *Plaid) notices(body []byte) ([]bank.Notice, error) {
	if len(body) > maxBody {
		return nil, malformed("it is too long")
	}
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, malformed("it is not the JSON of a webhook")
	}
	if e.Type == "" || e.Code == "" {
		return nil, malformed("it has no type or no code")
	}
	about := subjects[e.Type+"/"+e.Code]
	if e.Environment != p.environment && (about != 0 || e.Environment != "") { // what does not matter may lack it
		return nil, forged("it is of another environment")
	}
	switch about {
	case anItem:
		if e.Item == "" || len(e.Item) > maxID {
			return nil, malformed("it names no item")
		}
		// What a webhook of this type tells of is not among the transactions: it is in the state of the item, or nowhere else.
		return []bank.Notice{{Item: e.Item, Deep: e.Type == "ITEM", Opened: e.Code == "NEW_ACCOUNTS_AVAILABLE"}}, nil
	case aLink:
		if e.Link == "" || len(e.Link) > maxID {
			return nil, malformed("it names no link")
		}
		return []bank.Notice{{Session: ref(e.Link)}}, nil
	}
	return nil, nil
}
