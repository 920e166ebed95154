// Package plaid is the provider for North America and Europe: it speaks Plaid's API and says what it hears in the words of
// package bank.
package plaid

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	sdk "github.com/plaid/plaid-go/v20/plaid"
	"golang.org/x/sync/singleflight"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

// Name is the key under which connections keep this provider.
const Name = "plaid"

// The environments of Plaid. Items, tokens and verification keys of one mean nothing in the other.
const (
	Sandbox    = "sandbox"
	Production = "production"
)

// Config says whom to call and as whom.
type Config struct {
	Environment string        // Sandbox or Production
	BaseURL     string        // of Plaid's API; empty for the environment's own. http only on a loopback address
	ClientID    string        // from Plaid's Dashboard
	Secret      secret.String // of the environment
	ClientName  string        // what the person reads in Link: 1 to 30 characters, longer ones Plaid hides

	// HTTPClient lends its Transport; time-outs and redirects are decided here. http.DefaultTransport where it is nil.
	HTTPClient *http.Client
	Now        func() time.Time // time.Now where it is nil
}

// Plaid is a bank.Provider. It is safe for concurrent use.
type Plaid struct {
	environment string
	base        string
	clientName  string
	now         func() time.Time
	api         *sdk.PlaidApiService
	slow        *http.Client // for reads whose first answer may take Plaid most of a minute
	keys        *keyring

	mu      sync.Mutex
	best    map[string]shelf // by country
	looking singleflight.Group
}

var _ bank.Provider = (*Plaid)(nil)

// Plaid's own time-outs are not published. Its first sync after a bank's history came in takes up to eight times as long as
// a usual one, so that a minute is the least for it; no other call was seen to need more than some seconds.
const (
	usualTimeout = 20 * time.Second
	syncTimeout  = 60 * time.Second
)

// New checks the configuration and makes a Plaid; it does no I/O. The error names every fault.
func New(c Config) (*Plaid, error) {
	base, err := c.check()
	if err != nil {
		return nil, err
	}
	p := &Plaid{environment: c.Environment, base: base, clientName: c.ClientName, now: c.Now, best: map[string]shelf{}}
	if p.now == nil {
		p.now = time.Now
	}
	carrier := http.DefaultTransport
	if c.HTTPClient != nil && c.HTTPClient.Transport != nil {
		carrier = c.HTTPClient.Transport
	}
	wire := &wire{next: carrier, clientID: c.ClientID, secret: c.Secret}
	p.slow = &http.Client{Transport: wire, Timeout: syncTimeout, CheckRedirect: stay}

	settings := sdk.NewConfiguration()
	settings.UseEnvironment(sdk.Environment(base))
	settings.HTTPClient = &http.Client{Transport: wire, Timeout: usualTimeout, CheckRedirect: stay}
	p.api = sdk.NewAPIClient(settings).PlaidApi
	p.keys = newKeyring(p.fetchKey, p.now)
	return p, nil
}

// check returns the base URL to use, without a slash at its end.
func (c Config) check() (string, error) {
	var faults []error
	base := c.BaseURL
	switch c.Environment {
	case Sandbox:
		base = cmp.Or(base, string(sdk.Sandbox))
	case Production:
		base = cmp.Or(base, string(sdk.Production))
	case "development":
		faults = append(faults, errors.New("plaid: Plaid has closed its development environment; use sandbox or production"))
	default:
		faults = append(faults, fmt.Errorf("plaid: environment %q is neither sandbox nor production", c.Environment))
	}
	if at, err := url.Parse(base); base != "" && (err != nil || at.Host == "" || !bank.Confidential(at)) {
		faults = append(faults, errors.New("plaid: the base URL must be https, or http on a loopback address"))
	}
	if c.ClientID == "" {
		faults = append(faults, errors.New("plaid: the client id is missing"))
	}
	if c.Secret.Empty() {
		faults = append(faults, errors.New("plaid: the secret is missing"))
	}
	if n := utf8.RuneCountInString(c.ClientName); n < 1 || n > 30 {
		faults = append(faults, errors.New("plaid: the client name must have 1 to 30 characters"))
	}
	return strings.TrimRight(base, "/"), errors.Join(faults...)
}

// Name returns "plaid".
func (*Plaid) Name() string { return Name }

// ours refuses an access token of another environment before it is sent. Plaid would answer INVALID_ACCESS_TOKEN, which
// otherwise means that the item is gone.
func (p *Plaid) ours(token secret.String) error {
	text := token.Reveal()
	if text == "" || strings.HasPrefix(text, "access-") && !strings.HasPrefix(text, "access-"+p.environment+"-") {
		return &bank.Error{Kind: bank.OurFault, Code: "TOKEN_OF_ANOTHER_ENVIRONMENT"}
	}
	return nil
}
