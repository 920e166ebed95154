// Package config is all that can be configured, read from the environment once, at start, and checked whole: a wrong
// revision refuses to start and lists every fault.
package config

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/sethvargo/go-envconfig"

	"github.com/bkper/automations-portal/shared/secret"
)

// Config is the configuration of one process. The tag "for" names the functions that use a variable, where not all do: only
// to them it is given, and only they refuse to start without it, so that a secret is where it is needed and nowhere else.
type Config struct {
	Function string `env:"FUNCTION_TARGET"`    // serve this function alone; empty serves all on one port
	Port     string `env:"PORT, default=8080"` // to listen on
	LogText  bool   `env:"LOG_TEXT"`           // lines for a terminal instead of JSON

	// TelemetryURL is where spans and numbers go: a collector, or https://telemetry.googleapis.com; none without it.
	TelemetryURL string `env:"OTEL_EXPORTER_OTLP_ENDPOINT"`

	// PublicURL is where the functions are reached: function F at PublicURL/F, whoever routes it there. The URLs below
	// replace it for one function, where each has a host of its own.
	PublicURL     string `env:"PUBLIC_URL"`
	ConnectURL    string `env:"CONNECT_URL" for:"connect reconnect portal"`
	LinkURL       string `env:"LINK_URL" for:"portal"`
	RemoveURL     string `env:"REMOVE_URL" for:"portal"`
	ReconnectURL  string `env:"RECONNECT_URL" for:"portal"`
	WebhookURL    string `env:"WEBHOOK_URL" for:"connect reconnect"`
	AuthURL       string `env:"AUTH_URL" for:"auth link portal"`
	PosterURL     string `env:"POSTER_URL" for:"poster"`
	SyncURL       string `env:"SYNC_URL" for:"sync"`
	DisconnectURL string `env:"DISCONNECT_URL" for:"disconnect portal"`
	PageURL       string `env:"PAGE_URL" for:"connect auth"` // of the portal's page; default PublicURL/portal

	// Origins are other origins whose pages may call, such as https://bkper.app.
	Origins []string `env:"ALLOWED_ORIGINS" for:"connect link remove disconnect reconnect auth portal"`

	SupportEmail string `env:"SUPPORT_EMAIL, default=support@bkper.com" for:"portal"`       // to which the page sends people
	PrivacyURL   string `env:"PRIVACY_URL, default=https://bkper.com/privacy" for:"portal"` // of the policy that people agree to

	// BookURL is where people see the transactions of a Book, in which {book} stands for its id; with a slash and a
	// transaction's id behind, where they see that one.
	BookURL string `env:"BOOK_URL, default=https://bkper.app/books/{book}/transactions" for:"portal"`

	// Google Cloud. With a project, documents, tokens and events are kept in Firestore, Secret Manager and Pub/Sub.
	Project  string `env:"GOOGLE_CLOUD_PROJECT"`
	Database string `env:"FIRESTORE_DATABASE" for:"connect link remove disconnect reconnect poster sync auth portal"` // default "(default)"
	Prefix   string `env:"RESOURCE_PREFIX" for:"connect link remove disconnect reconnect poster sync auth portal"`    // before the names of collections, where deployments share a database

	// Without a project, all is kept in one SQLite file. Each can be chosen by itself.
	DataFile string        `env:"DATA_FILE"`
	VaultKey secret.String `env:"VAULT_KEY" for:"connect link disconnect reconnect poster auth"` // 32 bytes in base64; default a key file beside DataFile
	Store    string        `env:"STORE"`                                                         // firestore or sqlite
	Vault    string        `env:"VAULT"`                                                         // secretmanager or sqlite
	Events   string        `env:"EVENTS"`                                                        // pubsub or sqlite

	PushAccount string `env:"PUSH_SERVICE_ACCOUNT" for:"connect disconnect poster sync"` // e-mail of the service account that pushes and schedules

	// Sign-in with Google, and where Google is.
	GoogleClientID     string        `env:"GOOGLE_CLIENT_ID" for:"connect link remove disconnect reconnect auth portal poster"`
	GoogleClientSecret secret.String `env:"GOOGLE_CLIENT_SECRET" for:"link poster auth"`
	GoogleAuthURL      string        `env:"GOOGLE_AUTH_URL"`
	GoogleTokenURL     string        `env:"GOOGLE_TOKEN_URL"`
	GoogleTokenInfoURL string        `env:"GOOGLE_TOKENINFO_URL"`
	GoogleCertsURL     string        `env:"GOOGLE_CERTS_URL"` // keys that verify the ID tokens of people
	PushCertsURL       string        `env:"PUSH_CERTS_URL"`   // keys that verify the ID tokens of pushes

	BkperURL    string        `env:"BKPER_API_URL" for:"connect link remove poster portal"`
	BkperAPIKey secret.String `env:"BKPER_API_KEY" for:"connect link remove poster portal"`
	BkperAgent  string        `env:"BKPER_AGENT_ID, default=automations-portal" for:"connect link remove poster portal"`

	PlaidClientID    string        `env:"PLAID_CLIENT_ID" for:"connect disconnect reconnect webhook poster portal"`
	PlaidSecret      secret.String `env:"PLAID_SECRET" for:"connect disconnect reconnect webhook poster portal"`
	PlaidEnvironment string        `env:"PLAID_ENV, default=sandbox" for:"connect disconnect reconnect webhook poster portal"`
	PlaidURL         string        `env:"PLAID_URL" for:"connect disconnect reconnect webhook poster portal"` // default the environment's own
	PlaidClientName  string        `env:"PLAID_CLIENT_NAME, default=Bkper" for:"connect disconnect reconnect webhook poster portal"`

	PluggyClientID    string        `env:"PLUGGY_CLIENT_ID" for:"connect disconnect reconnect webhook poster portal"`
	PluggySecret      secret.String `env:"PLUGGY_CLIENT_SECRET" for:"connect disconnect reconnect webhook poster portal"`
	PluggyEnvironment string        `env:"PLUGGY_ENV, default=sandbox" for:"connect disconnect reconnect webhook poster portal"`
	PluggyURL         string        `env:"PLUGGY_URL" for:"connect disconnect reconnect webhook poster portal"` // default Pluggy's own
	PluggyWidgetURL   string        `env:"PLUGGY_WIDGET_URL" for:"portal"`                                      // default Pluggy's own
	PluggyBell        secret.String `env:"PLUGGY_WEBHOOK_SECRET" for:"webhook"`                                 // in a header of every webhook
	PluggyOldBell     secret.String `env:"PLUGGY_WEBHOOK_SECRET_OLD" for:"webhook"`                             // accepted too, while it is exchanged
}

// Read reads the configuration and checks it. The error lists every fault by the name of its variable.
func Read(ctx context.Context, env envconfig.Lookuper) (*Config, error) {
	c := new(Config)
	if err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: c, Lookuper: env}); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c.fill()
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("configuration:\n%w", err)
	}
	return c, nil
}

// fill derives what was left out.
func (c *Config) fill() {
	c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
	for name, target := range map[string]*string{
		"connect": &c.ConnectURL, "link": &c.LinkURL, "remove": &c.RemoveURL, "reconnect": &c.ReconnectURL,
		"webhook": &c.WebhookURL, "auth": &c.AuthURL, "poster": &c.PosterURL,
		"sync": &c.SyncURL, "disconnect": &c.DisconnectURL, "portal": &c.PageURL,
	} {
		if *target == "" && c.PublicURL != "" {
			*target = c.PublicURL + "/" + name
		}
		*target = strings.TrimSuffix(*target, "/")
	}
	google := map[bool]string{true: "firestore secretmanager pubsub", false: "sqlite sqlite sqlite"}[c.Project != ""]
	defaults := strings.Fields(google)
	for i, target := range []*string{&c.Store, &c.Vault, &c.Events} {
		if *target == "" {
			*target = defaults[i]
		}
	}
}

func (c *Config) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("  "+format, args...)) }
	oneOf := func(name, value string, allowed ...string) {
		for _, a := range allowed {
			if value == a {
				return
			}
		}
		fault("%s must be one of %s, not %q", name, strings.Join(allowed, ", "), value)
	}
	needed := func(name, value, why string) {
		if value == "" && c.uses(name) {
			fault("%s is needed: %s", name, why)
		}
	}
	oneOf("STORE", c.Store, "firestore", "sqlite")
	oneOf("VAULT", c.Vault, "secretmanager", "sqlite")
	oneOf("EVENTS", c.Events, "pubsub", "sqlite")
	oneOf("PLAID_ENV", c.PlaidEnvironment, "sandbox", "production")
	if c.Store == "sqlite" || c.Vault == "sqlite" || c.Events == "sqlite" {
		needed("DATA_FILE", c.DataFile, "the SQLite file in which documents, tokens or events are kept; or set GOOGLE_CLOUD_PROJECT")
	}
	if c.Store == "firestore" || c.Vault == "secretmanager" || c.Events == "pubsub" {
		needed("GOOGLE_CLOUD_PROJECT", c.Project, "the project of Firestore, Secret Manager and Pub/Sub")
	}
	needed("GOOGLE_CLIENT_ID", c.GoogleClientID, "the OAuth client with which people sign in")
	oneOf("PLUGGY_ENV", c.PluggyEnvironment, "sandbox", "production")
	if c.ServesPlaid() || !c.ServesPluggy() { // a portal without any bank is a mistake
		needed("PLAID_CLIENT_ID", c.PlaidClientID, "from Plaid's Dashboard; or PLUGGY_CLIENT_ID, for banks of Brazil alone")
		needed("PLAID_SECRET", c.PlaidSecret.Reveal(), "of the environment, from Plaid's Dashboard")
	}
	if c.ServesPluggy() {
		needed("PLUGGY_CLIENT_ID", c.PluggyClientID, "from Pluggy's Dashboard")
		needed("PLUGGY_CLIENT_SECRET", c.PluggySecret.Reveal(), "from Pluggy's Dashboard")
		needed("PLUGGY_WEBHOOK_SECRET", c.PluggyBell.Reveal(), "at least 24 random letters and digits, with which scripts/webhooks registers the webhook")
	}
	needed("PUSH_SERVICE_ACCOUNT", c.PushAccount, "e-mail of the service account that Pub/Sub and the schedule push as")
	if c.GoogleClientSecret.Empty() && c.uses("GOOGLE_CLIENT_SECRET") {
		fault("GOOGLE_CLIENT_SECRET is needed: of the OAuth client")
	}
	for name, value := range map[string]string{
		"CONNECT_URL": c.ConnectURL, "LINK_URL": c.LinkURL, "REMOVE_URL": c.RemoveURL, "RECONNECT_URL": c.ReconnectURL,
		"WEBHOOK_URL": c.WebhookURL, "AUTH_URL": c.AuthURL, "POSTER_URL": c.PosterURL,
		"SYNC_URL": c.SyncURL, "DISCONNECT_URL": c.DisconnectURL, "PAGE_URL": c.PageURL,
	} {
		if value == "" && c.uses(name) {
			fault("%s is needed, or PUBLIC_URL for all of them", name)
		} else if value != "" && !secure(value) {
			fault("%s must be an https URL (http only on a loopback address), not %q", name, value)
		}
	}
	if !secure(c.BookURL) || !strings.Contains(c.BookURL, "{book}") {
		fault("BOOK_URL must be an https URL (http only on a loopback address) with {book} where the Book's id is, not %q", c.BookURL)
	}
	for _, o := range c.Origins {
		if !secure(o) || origin(o) != o {
			fault("ALLOWED_ORIGINS must be origins such as https://bkper.app, not %q", o)
		}
	}
	if (c.Function == "" || c.Function == "auth") && secure(c.AuthURL) && secure(c.PageURL) && origin(c.PageURL) != origin(c.AuthURL) && !slices.Contains(c.Origins, origin(c.PageURL)) {
		fault("PAGE_URL must be at the origin of AUTH_URL or at one of ALLOWED_ORIGINS: people are not sent elsewhere, not even to %q", c.PageURL)
	}
	for name, value := range map[string]string{
		"GOOGLE_AUTH_URL": c.GoogleAuthURL, "GOOGLE_TOKEN_URL": c.GoogleTokenURL, "GOOGLE_TOKENINFO_URL": c.GoogleTokenInfoURL,
		"GOOGLE_CERTS_URL": c.GoogleCertsURL, "PUSH_CERTS_URL": c.PushCertsURL, "BKPER_API_URL": c.BkperURL, "PLAID_URL": c.PlaidURL,
		"PLUGGY_URL": c.PluggyURL, "PLUGGY_WIDGET_URL": c.PluggyWidgetURL,
		"OTEL_EXPORTER_OTLP_ENDPOINT": c.TelemetryURL,
	} {
		if value != "" && !secure(value) {
			fault("%s must be an https URL (http only on a loopback address), not %q", name, value)
		}
	}
	return errors.Join(faults...)
}

// ServesPlaid reports whether any of Plaid's credentials is there: without, its countries are not served.
func (c *Config) ServesPlaid() bool { return c.PlaidClientID != "" || !c.PlaidSecret.Empty() }

// ServesPluggy reports whether any of Pluggy's credentials is there: without, Brazil is not served.
func (c *Config) ServesPluggy() bool { return c.PluggyClientID != "" || !c.PluggySecret.Empty() }

// uses reports whether the function that is served uses a variable. A process that serves all functions uses all.
func (c *Config) uses(variable string) bool {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		name, _, _ := strings.Cut(f.Tag.Get("env"), ",")
		if functions, some := f.Tag.Lookup("for"); some && name == variable && c.Function != "" {
			return slices.Contains(strings.Fields(functions), c.Function)
		}
	}
	return true
}

// secure reports whether a URL is safe to send tokens to.
func secure(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	host := u.Hostname()
	return u.Scheme == "https" || (u.Scheme == "http" && (host == "localhost" || host == "127.0.0.1" || host == "::1"))
}

// origin is that of a URL, as browsers write it.
func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}
