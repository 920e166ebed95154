// Package app is the only place that knows every part: it takes the configuration, builds the adapters, hands each function
// what it needs and no more, and gives back their handlers. main and scripts/dev both start from it.
package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bkper/automations-portal/functions/auth"
	"github.com/bkper/automations-portal/functions/connect"
	"github.com/bkper/automations-portal/functions/disconnect"
	"github.com/bkper/automations-portal/functions/link"
	"github.com/bkper/automations-portal/functions/portal"
	"github.com/bkper/automations-portal/functions/poster"
	"github.com/bkper/automations-portal/functions/reconnect"
	"github.com/bkper/automations-portal/functions/remove"
	functionsync "github.com/bkper/automations-portal/functions/sync"
	"github.com/bkper/automations-portal/functions/webhook"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/bank/plaid"
	"github.com/bkper/automations-portal/shared/bank/pluggy"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/config"
	"github.com/bkper/automations-portal/shared/events"
	eventsqlite "github.com/bkper/automations-portal/shared/events/sqlite"
	"github.com/bkper/automations-portal/shared/ledger/bkper"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/telemetry"
	"github.com/bkper/automations-portal/shared/vault"
	"github.com/bkper/automations-portal/shared/web"
)

// App is the process: its parts, each made when a function first needs it.
type App struct {
	cfg *config.Config
	log *slog.Logger

	store  func() (store.Store, error)
	vault  func() (vault.Vault, error)
	events func() (events.Publisher, error)
	banks  func() (map[string]bank.Provider, error)

	queue     *eventsqlite.Queue // where the embedded one is used
	telemetry *telemetry.Telemetry
	client    *http.Client // for all outside calls

	mu     sync.Mutex
	closes []func() error
}

// New makes an App. It connects to nothing.
func New(cfg *config.Config, log *slog.Logger) *App {
	a := &App{cfg: cfg, log: log, client: &http.Client{Transport: carrier()}}
	a.store, a.vault, a.events = sync.OnceValues(a.openStore), sync.OnceValues(a.openVault), sync.OnceValues(a.openEvents)
	a.banks = sync.OnceValues(a.openBanks)
	return a
}

// Observe makes all functions tell of what they do. It must be called before Handler.
func (a *App) Observe(t *telemetry.Telemetry) {
	a.telemetry, a.client = t, &http.Client{Transport: t.Transport(carrier())}
}

// Close closes what was opened.
func (a *App) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, end := range slices.Backward(a.closes) {
		if err := end(); err != nil {
			a.log.Warn("close", "err", err)
		}
	}
	a.closes = nil
}

// functions is the table of all functions.
var functions = map[string]func(*App) (http.Handler, error){
	"connect":    (*App).connect,
	"link":       (*App).link,
	"remove":     (*App).remove,
	"disconnect": (*App).disconnect,
	"reconnect":  (*App).reconnect,
	"webhook":    (*App).webhook,
	"poster":     (*App).poster,
	"sync":       (*App).sync,
	"auth":       (*App).auth,
	"portal":     (*App).portal,
}

// calledByMachines are the functions for whose answer no person waits.
var calledByMachines = []string{"webhook", "poster", "sync"}

// Names lists the functions.
func Names() []string {
	var names []string
	for name := range functions {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Handler serves one function by name, at the root and below its name; or all of them, each below its name.
func (a *App) Handler(name string) (http.Handler, error) {
	mux := http.NewServeMux()
	names := Names()
	if name != "" {
		names = []string{name}
	} else {
		edge := &web.Edge{Function: "app", Log: a.log, Telemetry: a.telemetry}
		mux.Handle("/{$}", edge.Handle("root", redirect("/portal/", http.StatusSeeOther), http.MethodGet, http.MethodHead))
		mux.Handle("/openapi.json",
			edge.Handle("root/openapi", redirect("/portal/openapi.json", http.StatusTemporaryRedirect), http.MethodGet, http.MethodHead))
		mux.Handle("/", edge.Nothing())
	}
	for _, n := range names {
		build, known := functions[n]
		if !known {
			return nil, fmt.Errorf("there is no function %q: FUNCTION_TARGET must be one of %s", n, strings.Join(Names(), ", "))
		}
		h, err := build(a)
		if err != nil {
			return nil, fmt.Errorf("function %s: %w", n, err)
		}
		if slices.Contains(calledByMachines, n) {
			h = a.telemetry.Flushing(h)
		}
		mux.Handle("/"+n+"/", http.StripPrefix("/"+n, h))
		mux.Handle("/"+n, atRoot(h))
		if name != "" {
			mux.Handle("/", h)
		}
	}
	return mux, nil
}

func redirect(to string, status int) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		http.Redirect(w, r, to, status)
		return nil
	}
}

// atRoot serves a function that is called by its bare name.
func atRoot(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r2 := r.Clone(r.Context())
		r2.URL.Path, r2.URL.RawPath = "/", ""
		h.ServeHTTP(w, r2)
	})
}

// openBanks has the one list of providers: another one is one more entry.
func (a *App) openBanks() (map[string]bank.Provider, error) {
	all := map[string]bank.Provider{}
	for _, one := range []struct {
		served bool
		open   func() (bank.Provider, error)
	}{
		{a.cfg.ServesPlaid(), func() (bank.Provider, error) {
			return plaid.New(plaid.Config{
				Environment: a.cfg.PlaidEnvironment, BaseURL: a.cfg.PlaidURL, ClientID: a.cfg.PlaidClientID, Secret: a.cfg.PlaidSecret,
				ClientName: a.cfg.PlaidClientName, HTTPClient: a.http(),
			})
		}},
		{a.cfg.ServesPluggy(), func() (bank.Provider, error) {
			return pluggy.New(pluggy.Config{
				Environment: a.cfg.PluggyEnvironment, BaseURL: a.cfg.PluggyURL, ClientID: a.cfg.PluggyClientID, ClientSecret: a.cfg.PluggySecret,
				WidgetURL: a.cfg.PluggyWidgetURL, WebhookSecrets: []secret.String{a.cfg.PluggyBell, a.cfg.PluggyOldBell}, HTTPClient: a.http(),
			})
		}},
	} {
		if !one.served {
			continue
		}
		p, err := one.open()
		if err != nil {
			return nil, err
		}
		all[p.Name()] = p
	}
	return all, nil
}

// narrow gives a function no more of the providers than it needs.
func narrow[T any](all map[string]bank.Provider, as func(bank.Provider) T) map[string]T {
	some := make(map[string]T, len(all))
	for name, p := range all {
		some[name] = as(p)
	}
	return some
}

func (a *App) books() (*bkper.Client, error) {
	return bkper.New(bkper.Config{BaseURL: a.cfg.BkperURL, APIKey: a.cfg.BkperAPIKey, Agent: a.cfg.BkperAgent, HTTP: a.http()})
}

func (a *App) grants(v vault.Reader) *caller.Grants {
	return caller.NewGrants(caller.GrantsConfig{
		Vault: v, ClientID: a.cfg.GoogleClientID, ClientSecret: a.cfg.GoogleClientSecret, TokenURL: a.cfg.GoogleTokenURL, Client: a.http(),
	})
}

// http is the client for all outside calls. Proxies and redirects are the adapters' concern; this one bounds connections.
func (a *App) http() *http.Client { return a.client }

var carrier = sync.OnceValue(func() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // nothing here puts another in its place
	t.MaxIdleConnsPerHost = 32
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	return t
})

// people is the edge of what people and pages call.
func (a *App) people(function string) (*web.Edge, error) {
	who, err := caller.NewGoogle(caller.GoogleConfig{ClientIDs: []string{a.cfg.GoogleClientID}, TokenInfo: a.cfg.GoogleTokenInfoURL, Client: a.http()})
	if err != nil {
		return nil, err
	}
	return &web.Edge{Function: function, Who: who, Log: a.log, Origins: a.cfg.Origins, Telemetry: a.telemetry}, nil
}

// pushTime is longer than the work of one event and shorter than its acknowledgement deadline of 600 s.
const pushTime = 590 * time.Second

// machines is the edge of what Pub/Sub and the schedule call, at a URL that is their token's audience.
func (a *App) machines(ctx context.Context, function, audience string) (*web.Edge, error) {
	who, err := caller.NewPusher(ctx, caller.PusherConfig{Audience: audience, Account: a.cfg.PushAccount, Client: a.keys(a.cfg.PushCertsURL)})
	if err != nil {
		return nil, err
	}
	return &web.Edge{Function: function, Who: who, Log: a.log, Timeout: pushTime, Telemetry: a.telemetry}, nil
}

// keys is the client that fetches the keys of ID tokens: Google's, or those of the issuer that stands in for it.
func (a *App) keys(issuer string) *http.Client {
	if issuer == "" {
		return a.http()
	}
	return &http.Client{Transport: certs{issuer, a.http().Transport}}
}

// certs answers requests for Google's keys with those at another address.
type certs struct {
	url  string
	next http.RoundTripper
}

func (c certs) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.String() != caller.KeysURL {
		return c.next.RoundTrip(r)
	}
	to, err := url.Parse(c.url)
	if err != nil {
		return nil, err
	}
	r2 := r.Clone(r.Context())
	r2.URL, r2.Host = to, to.Host
	return c.next.RoundTrip(r2)
}

// Sleep waits, or returns early with the context's error.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *App) starter(s store.Store, v vault.Writer, banks map[string]bank.Provider) *session.Starter {
	return &session.Starter{
		Store: s, Vault: v, Banks: banks, Connect: a.cfg.ConnectURL, Now: time.Now,
		Webhook: func(provider string) string { return a.cfg.WebhookURL + "/" + provider },
	}
}

func (a *App) connect() (http.Handler, error) {
	g := gather(a)
	s, v, e, banks, books, edge := g.store(), g.vault(), g.events(), g.banks(), g.books(), g.people("connect")
	pushes := g.machines("connect", a.cfg.ConnectURL+"/push")
	if g.err != nil {
		return nil, g.err
	}
	return (&connect.Connect{
		Store: s, Vault: v, Banks: banks, Books: books, Start: a.starter(s, v, banks), Events: e, Page: a.cfg.PageURL + "/",
		Edge: edge, Pushes: pushes, Now: time.Now, Sleep: Sleep,
	}).Handler(), nil
}

func (a *App) link() (http.Handler, error) {
	g := gather(a)
	s, v, e, books, edge := g.store(), g.vault(), g.events(), g.books(), g.people("link")
	if g.err != nil {
		return nil, g.err
	}
	return (&link.Link{
		Store: s, Books: books, Grants: a.grants(v), Events: e, Consent: a.cfg.AuthURL + "/login?consent=1", Edge: edge, Now: time.Now,
	}).Handler(), nil
}

func (a *App) remove() (http.Handler, error) {
	g := gather(a)
	s, books, edge := g.store(), g.books(), g.people("remove")
	if g.err != nil {
		return nil, g.err
	}
	return (&remove.Remove{Store: s, Books: books, Edge: edge, Now: time.Now, Sleep: Sleep}).Handler(), nil
}

func (a *App) disconnect() (http.Handler, error) {
	g := gather(a)
	s, v, banks, edge := g.store(), g.vault(), g.banks(), g.people("disconnect")
	pushes := g.machines("disconnect", a.cfg.DisconnectURL+"/push")
	if g.err != nil {
		return nil, g.err
	}
	return (&disconnect.Disconnect{
		Store: s, Vault: v, Banks: narrow(banks, func(p bank.Provider) disconnect.Remover { return p }),
		Edge: edge, Pushes: pushes, Now: time.Now, Sleep: Sleep,
	}).Handler(), nil
}

func (a *App) reconnect() (http.Handler, error) {
	g := gather(a)
	s, v, banks, edge := g.store(), g.vault(), g.banks(), g.people("reconnect")
	if g.err != nil {
		return nil, g.err
	}
	return (&reconnect.Reconnect{Store: s, Vault: v, Banks: banks, Start: a.starter(s, v, banks), Edge: edge, Now: time.Now}).Handler(), nil
}

func (a *App) webhook() (http.Handler, error) {
	g := gather(a)
	e, banks := g.events(), g.banks()
	if g.err != nil {
		return nil, g.err
	}
	return (&webhook.Webhook{
		Banks: narrow(banks, func(p bank.Provider) bank.Doorbell { return p }), Events: e,
		Edge:      &web.Edge{Function: "webhook", Log: a.log, Timeout: webhook.Timeout, Telemetry: a.telemetry},
		Telemetry: a.telemetry,
	}).Handler(), nil
}

func (a *App) poster() (http.Handler, error) {
	g := gather(a)
	s, v, e, banks, books := g.store(), g.vault(), g.events(), g.banks(), g.books()
	pushes := g.machines("poster", a.cfg.PosterURL)
	if g.err != nil {
		return nil, g.err
	}
	return (&poster.Poster{
		Posting: &posting.Poster{
			Store: s, Tokens: v, Banks: narrow(banks, func(p bank.Provider) bank.Reader { return p }), Ledger: books, Grants: a.grants(v),
			Events: e, Log: a.log, Now: time.Now, Sleep: Sleep, Rand: rand.Float64, Telemetry: a.telemetry,
		},
		Pushes: pushes,
	}).Handler(), nil
}

func (a *App) sync() (http.Handler, error) {
	g := gather(a)
	s, e := g.store(), g.events()
	schedule := g.machines("sync", a.cfg.SyncURL)
	if g.err != nil {
		return nil, g.err
	}
	return (&functionsync.Sync{Store: s, Events: e, Pushes: schedule, Now: time.Now, Telemetry: a.telemetry, Log: a.log}).Handler(), nil
}

func (a *App) auth() (http.Handler, error) {
	g := gather(a)
	s, v, e := g.store(), g.vault(), g.events()
	if g.err != nil {
		return nil, g.err
	}
	return (&auth.Auth{
		Store: s, Vault: v, Grants: a.grants(v), Events: e, Edge: &web.Edge{Function: "auth", Log: a.log, Telemetry: a.telemetry},
		ClientID: a.cfg.GoogleClientID, ClientSecret: a.cfg.GoogleClientSecret, AuthURL: a.cfg.GoogleAuthURL, TokenURL: a.cfg.GoogleTokenURL,
		Client: a.keys(a.cfg.GoogleCertsURL), URL: a.cfg.AuthURL, Home: a.cfg.PageURL + "/", Returns: a.cfg.Origins,
	}).Handler(), nil
}

func (a *App) portal() (http.Handler, error) {
	g := gather(a)
	s, e, banks, books, edge := g.store(), g.events(), g.banks(), g.books(), g.people("portal")
	if g.err != nil {
		return nil, g.err
	}
	return (&portal.Portal{
		Store: s, Banks: narrow(banks, func(p bank.Provider) bank.Directory { return p }), Books: books, Events: e, Edge: edge,
		Functions: portal.Functions{
			Auth: a.cfg.AuthURL, Connect: a.cfg.ConnectURL, Link: a.cfg.LinkURL, Remove: a.cfg.RemoveURL,
			Disconnect: a.cfg.DisconnectURL, Reconnect: a.cfg.ReconnectURL,
		},
		Support: a.cfg.SupportEmail, Privacy: a.cfg.PrivacyURL, Book: a.cfg.BookURL, Now: time.Now,
	}).Handler(), nil
}
