package plaid

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	linkLife       = 4 * time.Hour
	updateLife     = 30 * time.Minute
	hostedLife     = 30 * time.Minute
	mostHostedLife = 21 * day
	resultLife     = 6 * time.Hour // how long /link/token/get tells of a session after its end
)

var (
	languages = []string{"da", "nl", "en", "et", "fr", "de", "hi", "it", "lv", "lt", "no", "pl", "pt", "ro", "es", "sv", "vi"}
	products  = []string{
		"assets", "auth", "balance", "identity", "identity_match", "investments", "investments_auth", "liabilities", "payment_initiation",
		"identity_verification", "transactions", "credit_details", "income", "income_verification", "deposit_switch", "standing_orders",
		"transfer", "employment", "recurring_transactions", "signal", "statements",
	}
	phone = regexp.MustCompile(`^\+[0-9][0-9 ()-]{6,}$`)
)

// LinkRequest is the body of /link/token/create, as far as Transactions need it.
type LinkRequest struct {
	ClientName          string             `json:"client_name"`
	Language            string             `json:"language"`
	CountryCodes        []string           `json:"country_codes"`
	User                LinkUser           `json:"user"`
	Products            []string           `json:"products"`
	RequiredIfSupported []string           `json:"required_if_supported_products"`
	Optional            []string           `json:"optional_products"`
	AdditionalConsented []string           `json:"additional_consented_products"`
	Webhook             string             `json:"webhook"`
	AccessToken         string             `json:"access_token"` // makes it update mode
	Customization       string             `json:"link_customization_name"`
	RedirectURI         string             `json:"redirect_uri"`
	InstitutionID       string             `json:"institution_id"`
	InstitutionData     *InstitutionData   `json:"institution_data"`
	UserToken           string             `json:"user_token"`
	AccountFilters      map[string]Filter  `json:"account_filters"` // by account type; types not listed are hidden
	Transactions        TransactionOptions `json:"transactions"`
	Update              UpdateOptions      `json:"update"`
	Hosted              *HostedLink        `json:"hosted_link"`
}

// LinkUser is the end user; only the opaque id counts.
type LinkUser struct {
	ClientUserID string `json:"client_user_id"`
	LegalName    string `json:"legal_name"`
	PhoneNumber  string `json:"phone_number"`
	EmailAddress string `json:"email_address"`
}

// InstitutionData highlights a bank by its routing number; the sandbox ignores it.
type InstitutionData struct {
	RoutingNumber string `json:"routing_number"`
}

// Filter lists the account subtypes that may be connected; "all" is every one.
type Filter struct {
	Subtypes []string `json:"account_subtypes"`
}

// TransactionOptions is how much history an Item will have, in days; 0 is 90.
type TransactionOptions struct {
	Days int `json:"days_requested"`
}

// UpdateOptions of update mode.
type UpdateOptions struct {
	AccountSelection bool `json:"account_selection_enabled"`
}

// HostedLink asks for a page of Plaid's own.
type HostedLink struct {
	DeliveryMethod        string `json:"delivery_method"`
	CompletionRedirectURI string `json:"completion_redirect_uri"`
	LifetimeSeconds       int    `json:"url_lifetime_seconds"`
	IsMobileApp           bool   `json:"is_mobile_app"`
}

type link struct {
	token, hostedID, client string
	request                 LinkRequest
	item                    string // the Item of update mode
	created, expires        time.Time
	sessions                []*session
}

// LinkToken is the answer to /link/token/create.
type LinkToken struct {
	Token    string
	HostedID string // last part of the Hosted Link address; empty where hosted_link was not asked for
	Expires  time.Time
}

// CreateLinkToken answers /link/token/create for a client.
func (b *Bank) CreateLinkToken(client string, r LinkRequest) (LinkToken, error) {
	if err := b.checkLink(r); err != nil {
		return LinkToken{}, err
	}
	l := &link{token: "link-" + Environment + "-" + b.newUUID(), client: client, request: r, created: b.now()}
	life := linkLife
	if r.AccessToken != "" {
		it, err := b.consenting(r.AccessToken)
		if err != nil {
			return LinkToken{}, err
		}
		l.item, life = it.id, updateLife
		l.request.AccessToken = ""
	}
	if r.Hosted != nil {
		l.hostedID = b.newID()
		life = cmp.Or(time.Duration(r.Hosted.LifetimeSeconds)*time.Second, hostedLife)
		b.hosted[l.hostedID] = l
	}
	l.expires = l.created.Add(life)
	b.links[l.token] = l
	b.dirty.Touch(l)
	return LinkToken{l.token, l.hostedID, l.expires}, nil
}

func (b *Bank) checkLink(r LinkRequest) error {
	switch {
	case r.ClientName == "":
		return invalidField("client_name must not be empty")
	case !slices.Contains(languages, r.Language):
		return invalidField("language must be one of %s", strings.Join(languages, ", "))
	case r.User.ClientUserID == "":
		return invalidField("user.client_user_id must not be empty")
	case strings.Contains(r.User.ClientUserID, "@"), phone.MatchString(r.User.ClientUserID):
		return invalidField("user.client_user_id must not be an email address or a phone number")
	case r.Webhook != "" && !webURL(r.Webhook):
		return invalidField("webhook must be a valid URL")
	case r.Transactions.Days < 0 || r.Transactions.Days > maxDays:
		return invalidField("transactions.days_requested must be between 1 and %d", maxDays)
	}
	if err := checkCountries(r.CountryCodes); err != nil {
		return err
	}
	if err := b.checkRedirect(r.RedirectURI); err != nil {
		return err
	}
	if err := checkHosted(r.Hosted); err != nil {
		return err
	}
	return b.checkMode(r)
}

// checkMode holds a new connection and update mode to what each must and must not name.
func (b *Bank) checkMode(r LinkRequest) error {
	for _, p := range slices.Concat(r.Products, r.RequiredIfSupported, r.Optional, r.AdditionalConsented) {
		if !slices.Contains(products, p) {
			return invalidField("products: %q is not a product", p)
		}
	}
	if r.InstitutionID != "" {
		inst, ok := b.institution(r.InstitutionID)
		if !ok || !inst.european() {
			return refuse("INVALID_INSTITUTION")
		}
	}
	switch {
	case r.AccessToken == "" && len(r.Products) == 0:
		return invalidField("products must contain at least one product")
	case r.AccessToken != "" && len(r.Products)+len(r.RequiredIfSupported)+len(r.Optional) > 0:
		return invalidField("products must not be given with an access_token")
	case r.AccessToken != "" && r.Transactions.Days > 0:
		return invalidField("transactions must not be given with an access_token")
	case r.AccessToken == "" && r.Update.AccountSelection:
		return invalidField("update.account_selection_enabled needs an access_token")
	case slices.Contains(slices.Concat(r.Products, r.RequiredIfSupported, r.Optional), "balance"):
		return refuse("INVALID_PRODUCT")
	}
	return nil
}

// checkRedirect applies Plaid's rules: https, or http to this machine; no query, no fragment, no wildcard; registered.
func (b *Bank) checkRedirect(uri string) error {
	if uri == "" {
		return nil
	}
	u, err := url.Parse(uri)
	local := err == nil && u.Scheme == "http" && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1")
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && !local:
		return invalidField("redirect_uri must be an https URI")
	case strings.ContainsAny(uri, "?#*"):
		return invalidField("redirect_uri must not contain a query, a fragment or a wildcard")
	case len(b.cfg.RedirectURIs) > 0 && !slices.Contains(b.cfg.RedirectURIs, uri):
		return invalidField("OAuth redirect URI must be configured in the developer dashboard")
	}
	return nil
}

func checkHosted(h *HostedLink) error {
	switch {
	case h == nil:
		return nil
	case h.LifetimeSeconds < 0 || time.Duration(h.LifetimeSeconds)*time.Second > mostHostedLife:
		return invalidField("hosted_link.url_lifetime_seconds must be at most %d", int(mostHostedLife.Seconds()))
	case h.DeliveryMethod != "" && h.DeliveryMethod != "sms" && h.DeliveryMethod != "email":
		return invalidField("hosted_link.delivery_method must be sms or email")
	}
	if u, err := url.Parse(h.CompletionRedirectURI); h.CompletionRedirectURI != "" && (err != nil || u.Scheme == "" || u.Scheme == "javascript") {
		return invalidField("hosted_link.completion_redirect_uri must be a URI")
	}
	return nil
}

func webURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http")
}

// LinkTokenGet answers /link/token/get: the request and every session that it led to.
func (b *Bank) LinkTokenGet(token string) (LinkView, error) {
	l := b.links[token]
	if l == nil || b.now().After(l.ended().Add(resultLife)) {
		return LinkView{}, refuse("INVALID_LINK_TOKEN")
	}
	v := LinkView{Token: l.token, Created: l.created, Expires: l.expires, Request: l.request}
	for _, s := range l.sessions {
		v.Sessions = append(v.Sessions, b.sessionView(l, s))
	}
	return v, nil
}

// LinkView is what /link/token/get shows.
type LinkView struct {
	Token            string
	Created, Expires time.Time
	Request          LinkRequest
	Sessions         []SessionView
}

// ended is when the last session ended, or ends at the latest.
func (l *link) ended() time.Time {
	last := l.created
	for _, s := range l.sessions {
		end := cmp.Or(s.Finished, l.expires)
		if end.After(last) {
			last = end
		}
	}
	if len(l.sessions) == 0 {
		return l.expires
	}
	return last
}
