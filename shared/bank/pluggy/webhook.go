package pluggy

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/bank/internal/tolerant"
)

const (
	maxBody      = 1 << 20
	maxReference = 255 // of a clientUserId, as Pluggy bounds it
)

// Verify checks that the webhook carries our secret and says what it is about. Nothing but ids is taken from it, and they are
// only looked up: Pluggy signs nothing. The links in its body are never followed, since our key would go with the request.
func (p *Pluggy) Verify(_ context.Context, header http.Header, body []byte) ([]bank.Notice, error) {
	if !p.known(header) {
		return nil, &bank.Error{Kind: bank.Permanent, Code: "FORGED_WEBHOOK", Err: fmt.Errorf("%w: it does not carry the secret", bank.ErrForged)}
	}
	if len(body) > maxBody {
		return nil, malformed("it is too long")
	}
	var e event
	if jsontext.Value(body).Kind() != '{' || json.Unmarshal(body, &e) != nil {
		return nil, malformed("it is not the JSON of a webhook")
	}
	return e.notices()
}

// known compares with every accepted secret, each in full, so that the time tells nothing.
func (p *Pluggy) known(header http.Header) bool {
	var found []string
	for name, values := range header {
		if strings.EqualFold(name, WebhookHeader) {
			found = append(found, values...)
		}
	}
	if len(found) != 1 || found[0] == "" {
		return false
	}
	got, matches := sha256.Sum256([]byte(found[0])), 0
	for _, s := range p.doorbell {
		want := sha256.Sum256([]byte(s.Reveal()))
		matches |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return matches == 1
}

// event is all that is read of a webhook.
type event struct {
	Name string         `json:"event"`
	Item jsontext.Value `json:"itemId"`
	User jsontext.Value `json:"clientUserId"`
	By   jsontext.Value `json:"triggeredBy"`
}

// subject is what an event makes us look at.
type subject struct {
	deep    bool // what it tells of is not among what is new
	session bool // it may tell of a visit
}

// subjects are the events that matter. Pluggy sends others where a webhook is registered for all, and adds to them.
var subjects = map[string]subject{
	"item/created":             {session: true},
	"item/updated":             {session: true},
	"item/error":               {session: true},
	"item/login_succeeded":     {session: true},
	"item/waiting_user_input":  {session: true},
	"item/waiting_user_action": {session: true},
	"item/deleted":             {},
	"transactions/created":     {},
	"transactions/updated":     {deep: true},
	"transactions/deleted":     {deep: true},
}

// notices says what an event is about. A visit is told only of what a person has triggered: Pluggy repeats the person's
// clientUserId with each of its own synchronisations, every day.
func (e event) notices() ([]bank.Notice, error) {
	if e.Name == "" {
		return nil, malformed("it names no event")
	}
	about, matters := subjects[e.Name]
	if !matters {
		return nil, nil
	}
	id := tolerant.Text(e.Item)
	if !ids.MatchString(id) {
		return nil, malformed("it names no item")
	}
	id = strings.ToLower(id)
	notices := []bank.Notice{{Item: id, Deep: about.deep}}
	by := tolerant.Text(e.By)
	if user := tolerant.Text(e.User); about.session && user != "" && len(user) <= maxReference && (by == "USER" || by == "" || e.Name == "item/created") {
		notices = append(notices, bank.Notice{Session: ref(user), Item: id})
	}
	return notices, nil
}

// ref is the digest by which webhooks about a visit are matched with sessions.
func ref(clientUserID string) string { return bank.Hash(Name, clientUserID) }

func malformed(why string) error {
	return &bank.Error{Kind: bank.Permanent, Code: "MALFORMED_WEBHOOK", Err: fmt.Errorf("%w: %s", bank.ErrMalformed, why)}
}
