// Package pluggy is the provider for Brazil: it speaks Pluggy's API and says what it hears in the words of package bank.
//
// What a reader of this package should know of Pluggy, because nothing in its answers says so:
//
//   - The handle of an item is its id, and no call lists items; who loses the id has lost the item.
//   - A removal is told by a webhook only, and a row that the bank changes may get a new id: then the old id is deleted, a new
//     one is created, and nothing links the two. Changes therefore retells a part of an account whenever it has news of it, and
//     all of it where a webhook, or a week, asks for that; see bank.Page.
//   - An instalment is told as the bank tells it, which differs: a row for each bill, or all of them at once, dated in months to
//     come. They are pending until their bill closes. A row that is dated in the future keeps its date.
//   - Some banks tell a scheduled payment and the payment itself as two rows for a while, or a bill's payment twice. Nothing
//     tells these apart from two honest payments, so both stand for as long as Pluggy names both.
package pluggy

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

// Name is the key under which connections keep this provider.
const Name = "pluggy"

// What people may connect. Pluggy has one host and one set of keys for both.
const (
	Sandbox    = "sandbox"    // Pluggy's own test banks too
	Production = "production" // real banks only
)

// DefaultURL is Pluggy's API.
const DefaultURL = "https://api.pluggy.ai"

// WebhookHeader carries the secret that webhooks are known by. Pluggy signs nothing, and sends such headers only where the
// webhook was registered through its API, not in its Dashboard.
const WebhookHeader = "Webhook-Secret"

// shortestSecret is the least length of a webhook secret, in characters.
const shortestSecret = 24

// Config says whom to call and as whom.
type Config struct {
	Environment  string        // Sandbox or Production
	BaseURL      string        // of Pluggy's API; empty for DefaultURL. http only on a loopback address
	ClientID     string        // from Pluggy's Dashboard
	ClientSecret secret.String // of the client
	// WebhookSecrets are the values of WebhookHeader that are accepted: one, and a second one while it is exchanged. Empty ones
	// are left out; without any, every webhook is refused.
	WebhookSecrets []secret.String
	WidgetURL      string // of the widget's script; empty for DefaultWidget

	// HTTPClient lends its Transport; time-outs and redirects are decided here. http.DefaultTransport where it is nil.
	HTTPClient *http.Client
	Now        func() time.Time // time.Now where it is nil
}

// Pluggy is a bank.Provider. It is safe for concurrent use.
type Pluggy struct {
	environment string
	base        *url.URL
	widget      *url.URL
	clientID    string
	secret      secret.String
	doorbell    []secret.String
	now         func() time.Time
	http        *http.Client
	keys        keyring

	mu      sync.Mutex
	best    shelf
	looking singleflight.Group
}

var _ bank.Provider = (*Pluggy)(nil)

// usualTimeout bounds one request; Pluggy publishes no bound of its own.
const usualTimeout = 20 * time.Second

// New checks the configuration and makes a Pluggy; it does no I/O. The error names every fault.
func New(c Config) (*Pluggy, error) {
	base, script, err := c.check()
	if err != nil {
		return nil, err
	}
	p := &Pluggy{environment: c.Environment, base: base, widget: script, clientID: c.ClientID, secret: c.ClientSecret, now: c.Now}
	for _, s := range c.WebhookSecrets {
		if !s.Empty() {
			p.doorbell = append(p.doorbell, s)
		}
	}
	if p.now == nil {
		p.now = time.Now
	}
	carrier := http.DefaultTransport
	if c.HTTPClient != nil && c.HTTPClient.Transport != nil {
		carrier = c.HTTPClient.Transport
	}
	p.http = &http.Client{Transport: unmoved{carrier}, Timeout: usualTimeout, CheckRedirect: stay}
	return p, nil
}

// stay answers with the redirect itself, so that keys go nowhere else.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// unmoved hides where a redirect leads, since the client says in its error what it cannot read there, and an address holds ids.
type unmoved struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (u unmoved) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := u.next.RoundTrip(r)
	if err == nil {
		answer.Header.Del("Location")
	}
	return answer, err
}

func (c Config) check() (base, script *url.URL, err error) {
	var faults []error
	if c.Environment != Sandbox && c.Environment != Production {
		faults = append(faults, fmt.Errorf("pluggy: environment %q is neither sandbox nor production", c.Environment))
	}
	if base, err = url.Parse(strings.TrimRight(cmp.Or(c.BaseURL, DefaultURL), "/")); err != nil || base.Host == "" || !bank.Confidential(base) {
		faults = append(faults, errors.New("pluggy: the base URL must be https, or http on a loopback address"))
	}
	if script, err = url.Parse(cmp.Or(c.WidgetURL, DefaultWidget)); err != nil || script.Host == "" || !bank.Confidential(script) {
		faults = append(faults, errors.New("pluggy: the widget's URL must be https, or http on a loopback address"))
	}
	if c.ClientID == "" {
		faults = append(faults, errors.New("pluggy: the client id is missing"))
	}
	if c.ClientSecret.Empty() {
		faults = append(faults, errors.New("pluggy: the client secret is missing"))
	}
	for _, s := range c.WebhookSecrets {
		if !s.Empty() && (len(s.Reveal()) < shortestSecret || !presentable(s.Reveal())) {
			faults = append(faults, fmt.Errorf("pluggy: a webhook secret must have at least %d letters, digits, - or _", shortestSecret))
		}
	}
	return base, script, errors.Join(faults...)
}

// presentable reports whether a text travels unchanged as the value of a header.
func presentable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// Name returns "pluggy".
func (*Pluggy) Name() string { return Name }
