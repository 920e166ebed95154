package caller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/vault"
)

// ConsentRequired is the Code of the *bank.Error that a user without a working grant gets: only a new consent helps.
const ConsentRequired = "consent_required"

const (
	// An access token is not used in its last minutes, so that it outlives the work that begins with it.
	grantMargin = 5 * time.Minute
	grantCount  = 10_000
)

// GrantsConfig sets Grants up.
type GrantsConfig struct {
	Vault        vault.Reader
	ClientID     string
	ClientSecret secret.String
	TokenURL     string       // default Google's token endpoint
	Client       *http.Client // default http.DefaultClient
}

// Grants turns the standing grants that users gave into access tokens, while those users are away.
type Grants struct {
	vault  vault.Reader
	id     string
	secret secret.String
	url    string
	client *http.Client
	known  *cache[secret.String]
}

// GoogleTokenURL is Google's token endpoint.
const GoogleTokenURL = "https://oauth2.googleapis.com/token"

// NewGrants returns Grants.
func NewGrants(c GrantsConfig) *Grants {
	g := &Grants{
		vault: c.Vault, id: c.ClientID, secret: c.ClientSecret, url: c.TokenURL,
		client: Bounded(c.Client), known: newCache[secret.String](grantCount),
	}
	if g.url == "" {
		g.url = GoogleTokenURL
	}
	return g
}

// Token returns an access token of the user that lives for five minutes at least, unless Google gives shorter ones. The
// error is a *bank.Error: UserMustAct with Code ConsentRequired where the user has no working grant; Retry where Google
// or the vault cannot be reached; OurFault where Google refuses the client itself.
func (g *Grants) Token(ctx context.Context, sub string) (secret.String, error) {
	if token, ok := g.known.peek(sub); ok {
		return token, nil
	}
	return g.Fresh(ctx, sub)
}

// Fresh is Token that never gives one from memory: for when the last one was refused before its time. Calls at once
// share one.
func (g *Grants) Fresh(ctx context.Context, sub string) (secret.String, error) {
	g.known.drop(sub)
	token, err := g.known.load(ctx, sub, func(ctx context.Context) (secret.String, time.Time, error) {
		return g.exchange(ctx, sub)
	})
	if err != nil && ctx.Err() != nil {
		return secret.String{}, &bank.Error{Kind: bank.Retry, Code: "cancelled", Err: err}
	}
	return token, err
}

func (g *Grants) exchange(ctx context.Context, sub string) (secret.String, time.Time, error) {
	refresh, err := g.vault.Get(ctx, vault.UserGrant(sub))
	if errors.Is(err, vault.ErrNotFound) {
		return secret.String{}, time.Time{}, &bank.Error{Kind: bank.UserMustAct, Code: ConsentRequired, Err: err}
	}
	if err != nil {
		return secret.String{}, time.Time{}, &bank.Error{Kind: bank.Retry, Code: "vault_unavailable", Err: err}
	}
	client := oauth2.Config{
		ClientID: g.id, ClientSecret: g.secret.Reveal(),
		Endpoint: oauth2.Endpoint{TokenURL: g.url, AuthStyle: oauth2.AuthStyleInParams},
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, g.client)
	token, err := client.TokenSource(ctx, &oauth2.Token{RefreshToken: refresh.Reveal()}).Token()
	if err != nil {
		return secret.String{}, time.Time{}, grantError(err)
	}
	return secret.New(token.AccessToken), token.Expiry.Add(-grantMargin), nil
}

// grantError never wraps what oauth2 made of an answer, because that holds the answer's body.
func grantError(err error) error {
	var unreached *url.Error
	if errors.As(err, &unreached) {
		return &bank.Error{Kind: bank.Retry, Code: "token_endpoint_unavailable", Err: unreached}
	}
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.Response == nil {
		return &bank.Error{Kind: bank.Retry, Code: "token_endpoint_unavailable", Err: errors.New("an answer that is none")}
	}
	status := refused.Response.StatusCode
	cause := fmt.Errorf("token endpoint: status %d", status)
	switch {
	case refused.ErrorCode == "invalid_grant":
		return &bank.Error{Kind: bank.UserMustAct, Code: ConsentRequired, Err: cause}
	case refused.ErrorCode == "" || status >= 500 || status == http.StatusTooManyRequests:
		return &bank.Error{Kind: bank.Retry, Code: "token_endpoint_unavailable", Err: cause}
	}
	return &bank.Error{Kind: bank.OurFault, Code: known(refused.ErrorCode), Err: cause}
}

// known keeps texts that OAuth does not define out of codes, which are stored and logged.
func known(code string) string {
	switch code {
	case "invalid_client", "invalid_request", "invalid_scope", "unauthorized_client", "unsupported_grant_type":
		return code
	}
	return "token_endpoint_refused"
}
