// Package world is what lies outside the functions while they run on one machine: the sandbox as the banks, as Bkper and as
// Google, the schedule that calls, and people.
package world

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/disk"
	"github.com/bkper/automations-portal/shared/sandbox/google"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/sandbox/pluggy"
	"github.com/bkper/automations-portal/shared/secret"
)

// The clients of the sandbox. PlaidClient and PluggyClient own the items that the functions make.
const (
	GoogleClient  = "sandbox.apps.googleusercontent.com"
	PlaidClient   = "sandbox-client"
	PluggyClient  = "00000000-0000-4000-8000-5a4db0c5c11e"
	pushAccount   = "pusher@sandbox.iam.gserviceaccount.com"
	sandboxSecret = "sandbox-secret"
	sandboxBell   = "sandbox-webhook-secret-of-no-worth" // Pluggy's webhooks carry it
)

// Options set a World up. URL is needed.
type Options struct {
	URL    string // where the functions, and below /sandbox the stand-ins, are reached; no slash at the end
	People []google.User
	Bank   plaid.Config
	Brazil pluggy.Config
	Retry  time.Duration // before the first repetition of a bank's webhook
	DB     *disk.DB      // nil keeps everything in memory only
	Log    *slog.Logger
}

// World is the outside.
type World struct {
	URL    string
	Google *google.Service
	Bkper  *bkper.Service
	Plaid  *plaid.Server
	Pluggy *pluggy.Server
}

// New makes the stand-ins, with the state of the last run where there is a disk. The people have accounts at Google and none
// at Bkper yet.
func New(o Options) (*World, error) {
	w := &World{URL: o.URL}
	var err error
	w.Google, err = google.New(google.Options{
		DB:      o.DB,
		Clients: []google.Client{{ID: GoogleClient, Secret: sandboxSecret, RedirectURIs: []string{o.URL + "/auth/callback"}}},
		Users:   o.People,
	})
	if err != nil {
		return nil, err
	}
	if w.Bkper, err = bkper.New(bkper.Options{DB: o.DB}); err != nil {
		return nil, err
	}
	w.Plaid, err = plaid.New(plaid.Options{
		Config: o.Bank, BaseURL: o.URL + "/sandbox/plaid", Clients: map[string]secret.String{PlaidClient: secret.New(sandboxSecret)},
		DB: o.DB, RetryBase: o.Retry, Log: o.Log,
	})
	if err != nil {
		return nil, err
	}
	w.Pluggy, err = pluggy.New(pluggy.Options{
		Config: o.Brazil, BaseURL: o.URL + "/sandbox/pluggy", Clients: map[string]secret.String{PluggyClient: secret.New(sandboxSecret)},
		DB: o.DB, LocalWebhooks: true, RetryDelays: [2]time.Duration{o.Retry, 2 * o.Retry}, Log: o.Log,
	})
	return w, err
}

// Run lets the banks live and send their webhooks until ctx ends.
func (w *World) Run(ctx context.Context, log *slog.Logger) {
	var all sync.WaitGroup
	for name, run := range map[string]func(context.Context) error{"Plaid": w.Plaid.Run, "Pluggy": w.Pluggy.Run} {
		all.Go(func() {
			if err := run(ctx); err != nil {
				log.Error("sandbox bank", "of", name, "err", err)
			}
		})
	}
	all.Wait()
}

// Widget does what a person does in the widget that the page shows for banks of Brazil, and returns the item that the widget
// tells the page.
func (w *World) Widget(token, institution, user string) (item string, err error) {
	var shown struct{ ConnectToken string }
	if err := json.Unmarshal([]byte(token), &shown); err != nil {
		return "", err
	}
	connector, err := strconv.Atoi(institution)
	if err != nil {
		return "", err
	}
	item, status, err := w.Pluggy.Connect(shown.ConnectToken, pluggy.Visit{Connector: connector, User: user, Password: "password-ok"})
	if err == nil && status != pluggy.Updated {
		err = fmt.Errorf("the sign-in ended with %s", status)
	}
	return item, err
}

// Env is the configuration of functions that use the sandbox. A service for which the environment has credentials is left
// out; env may be nil.
func (w *World) Env(env func(variable string) string) map[string]string {
	at := w.URL + "/sandbox/google"
	d := map[string]string{
		"PUBLIC_URL": w.URL, "PUSH_SERVICE_ACCOUNT": pushAccount, "PUSH_CERTS_URL": at + "/oauth2/v3/certs",
	}
	sandbox := func(variable string) bool { return env == nil || env(variable) == "" }
	if sandbox("PLAID_CLIENT_ID") {
		d["PLAID_CLIENT_ID"], d["PLAID_SECRET"], d["PLAID_URL"] = PlaidClient, sandboxSecret, w.URL+"/sandbox/plaid"
	}
	if sandbox("PLUGGY_CLIENT_ID") {
		brazil := w.URL + "/sandbox/pluggy"
		d["PLUGGY_CLIENT_ID"], d["PLUGGY_CLIENT_SECRET"], d["PLUGGY_WEBHOOK_SECRET"] = PluggyClient, sandboxSecret, sandboxBell
		d["PLUGGY_URL"], d["PLUGGY_WIDGET_URL"] = brazil, brazil+"/pluggy-connect/latest/pluggy-connect.js"
	}
	if sandbox("GOOGLE_CLIENT_ID") {
		d["GOOGLE_CLIENT_ID"], d["GOOGLE_CLIENT_SECRET"] = GoogleClient, sandboxSecret
		d["GOOGLE_AUTH_URL"], d["GOOGLE_TOKEN_URL"] = at+"/o/oauth2/v2/auth", at+"/token"
		d["GOOGLE_TOKENINFO_URL"], d["GOOGLE_CERTS_URL"] = at+"/tokeninfo", at+"/oauth2/v3/certs"
	}
	if sandbox("BKPER_API_URL") {
		d["BKPER_API_URL"], d["BOOK_URL"] = w.URL+"/sandbox/bkper", w.URL+"/sandbox/bkper/book/{book}/transactions"
	}
	return d
}

// Mount serves the stand-ins below /sandbox. whose tells Bkper whose access token it is.
func (w *World) Mount(mux *http.ServeMux, whose func(token string) (email, sub string, ok bool)) {
	mount := func(at string, h http.Handler) { mux.Handle(at+"/", http.StripPrefix(at, h)) }
	mount("/sandbox/google", google.NewServer(w.Google, google.ServerOptions{BaseURL: w.URL + "/sandbox/google"}))
	mount("/sandbox/bkper", bkper.NewServer(w.Bkper, whose))
	mount("/sandbox/plaid", w.Plaid)
	mount("/sandbox/pluggy", w.Pluggy)
}

// Whose tells whose access token it is, where the sandbox's Google gave it.
func (w *World) Whose(token string) (email, sub string, ok bool) {
	u, ok := w.Google.Lookup(token)
	return u.Email, u.Sub, ok
}

// Token is the OIDC token with which Pub/Sub and Cloud Scheduler call.
func (w *World) Token(_ context.Context, audience string) (secret.String, error) {
	token, err := w.Google.IDToken(pushAccount, audience)
	return secret.New(token), err
}

// Schedule calls the function sync, which listens at url, as Cloud Scheduler does, now and each time the interval has passed,
// until ctx ends.
func (w *World) Schedule(ctx context.Context, url string, interval time.Duration, log *slog.Logger) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := w.callSync(ctx, url); err != nil && ctx.Err() == nil {
			log.Error("schedule", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (w *World) callSync(ctx context.Context, url string) error {
	token, err := w.Token(ctx, url)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token.Reveal())
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("sync answered %s", answer.Status)
	}
	return nil
}
