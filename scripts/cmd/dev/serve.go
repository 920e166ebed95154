package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sethvargo/go-envconfig"

	"github.com/bkper/automations-portal/functions/app"
	"github.com/bkper/automations-portal/scripts/internal/world"
	pluggyadapter "github.com/bkper/automations-portal/shared/bank/pluggy"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/config"
	"github.com/bkper/automations-portal/shared/events/pubsub/puller"
	"github.com/bkper/automations-portal/shared/logs"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/disk"
	"github.com/bkper/automations-portal/shared/sandbox/google"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/telemetry"
)

// The people of the sandbox.
const (
	clientEmail     = "client@example.com"
	bookkeeperEmail = "bookkeeper@example.com"
)

// system is everything that runs.
type system struct {
	url   string // of the portal, no slash at the end
	parts string // what is used for what, for people
	cfg   *config.Config
	log   *slog.Logger

	watch *telemetry.Telemetry
	disk  *disk.DB
	world *world.World

	stops []func()
	busy  sync.WaitGroup
}

func (s *system) stop() {
	for _, end := range s.stops {
		end()
	}
	s.busy.Wait()
	if err := s.watch.Close(context.Background()); err != nil {
		s.log.Warn("telemetry", "err", err)
	}
	s.disk.Close()
}

// background runs do until the system stops.
func (s *system) background(ctx context.Context, do func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	s.stops = append(s.stops, cancel)
	s.busy.Go(func() { do(ctx) })
}

func start(ctx context.Context, o options, stdout, stderr io.Writer) (*system, error) {
	listener, err := net.Listen("tcp", fmt.Sprintf("localhost:%d", o.port))
	if err != nil {
		return nil, fmt.Errorf("%w; choose another port with -port", err)
	}
	s := &system{url: "http://localhost:" + strings.TrimPrefix(listener.Addr().String(), "127.0.0.1:")}
	if _, port, err := net.SplitHostPort(listener.Addr().String()); err == nil {
		s.url = "http://localhost:" + port
	}
	level := slog.LevelError
	if o.verbose {
		level = slog.LevelInfo
	}
	s.log = slog.New(logs.NewText(stderr, logs.Options{Level: level}))
	slog.SetDefault(s.log)
	if err := s.sandbox(o); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	if s.cfg, err = config.Read(ctx, envconfig.MultiLookuper(envconfig.OsLookuper(), envconfig.MapLookuper(s.defaults(o)))); err != nil {
		return nil, err
	}
	s.describe()
	if err := s.observe(ctx, o, stdout); err != nil {
		return nil, err
	}
	if err := s.serve(ctx, listener); err != nil {
		return nil, err
	}
	if err := s.bell(ctx); err != nil {
		return nil, fmt.Errorf("register the webhook of the sandbox: %w", err)
	}
	return s, nil
}

// defaults is the configuration of what has no credentials in the environment: the sandbox on this port.
func (s *system) defaults(o options) map[string]string {
	d := s.world.Env(os.Getenv)
	d["DATA_FILE"], d["LOG_TEXT"] = filepath.Join(o.data, "portal.db"), "true"
	d["STORE"], d["VAULT"], d["EVENTS"] = "sqlite", "sqlite", "sqlite"
	if os.Getenv("FIRESTORE_EMULATOR_HOST") != "" {
		d["STORE"] = "firestore"
	}
	if os.Getenv("PUBSUB_EMULATOR_HOST") != "" {
		d["EVENTS"] = "pubsub"
	}
	if d["STORE"] == "firestore" || d["EVENTS"] == "pubsub" {
		d["GOOGLE_CLOUD_PROJECT"] = "demo-automations-portal"
	}
	return d
}

// describe says in words what is used for what.
func (s *system) describe() {
	part := func(name, url string) string {
		if strings.HasPrefix(url, s.url) {
			return name + ": sandbox"
		}
		return name + ": real"
	}
	s.parts = strings.Join([]string{
		part("Plaid", s.cfg.PlaidURL), part("Pluggy", s.cfg.PluggyURL), part("Bkper", s.cfg.BkperURL), part("Google", s.cfg.GoogleTokenURL),
		"documents: " + s.cfg.Store, "tokens: " + s.cfg.Vault, "events: " + s.cfg.Events,
	}, ", ")
}

// sandbox makes the stand-ins, with the state of the last run.
func (s *system) sandbox(o options) (err error) {
	if s.disk, err = disk.Open(filepath.Join(o.data, "sandbox.db")); err != nil {
		return err
	}
	s.world, err = world.New(world.Options{
		URL: s.url, DB: s.disk, Log: s.log, Retry: time.Second,
		People: []google.User{{Email: clientEmail, Name: "Client"}, {Email: bookkeeperEmail, Name: "Bookkeeper"}},
		Bank:   plaid.Config{InitialDelay: time.Second, HistoricalDelay: 3 * time.Second},
	})
	if err != nil {
		return err
	}
	return bkper.Seed(s.world.Bkper,
		bkper.User{ID: google.Sub(clientEmail), Email: clientEmail, Name: "Client"},
		bkper.User{ID: google.Sub(bookkeeperEmail), Email: bookkeeperEmail, Name: "Bookkeeper"})
}

// observe tells of what the functions do where the environment names an endpoint, or on the terminal where that is asked.
func (s *system) observe(ctx context.Context, o options, stdout io.Writer) (err error) {
	var sinks telemetry.Sinks
	switch {
	case o.watch:
		sinks = telemetry.Lines(stdout)
	case s.cfg.TelemetryURL != "":
		if sinks, err = telemetry.OTLP(ctx, s.cfg.TelemetryURL); err != nil {
			return err
		}
	default:
		return nil
	}
	s.watch, err = telemetry.New(ctx, telemetry.Options{Version: "dev", Project: s.cfg.Project}, sinks)
	s.watch.Everywhere(func(err error) { s.log.Warn("telemetry", "err", err) })
	return err
}

// serve starts the functions, the queue and the schedule.
func (s *system) serve(ctx context.Context, listener net.Listener) error {
	a := app.New(s.cfg, s.log)
	a.Observe(s.watch)
	s.stops = append(s.stops, a.Close)
	if s.cfg.Events == "sqlite" {
		queue, err := a.Queue(ctx, s.world.Token)
		if err != nil {
			return err
		}
		s.background(ctx, queue.Run)
	} else if err := s.pull(ctx, a); err != nil {
		return err
	}
	functions, err := a.Handler("")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", functions)
	s.world.Mount(mux, s.whose())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	s.busy.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("serve", "err", err)
		}
	})
	s.stops = append([]func(){func() { shutdown(server) }}, s.stops...)
	s.background(ctx, func(ctx context.Context) { s.world.Run(ctx, s.log) })
	s.background(ctx, func(ctx context.Context) { s.world.Schedule(ctx, s.cfg.SyncURL, time.Minute, s.log) })
	return nil
}

// bell registers the webhook of the sandbox's Pluggy, which calls nobody else. The real one is told by scripts/webhooks, since it
// calls public addresses only.
func (s *system) bell(ctx context.Context) error {
	if !strings.HasPrefix(s.cfg.PluggyURL, s.url) {
		return nil
	}
	p, err := pluggyadapter.New(pluggyadapter.Config{
		Environment: s.cfg.PluggyEnvironment, BaseURL: s.cfg.PluggyURL, ClientID: s.cfg.PluggyClientID, ClientSecret: s.cfg.PluggySecret,
		WebhookSecrets: []secret.String{s.cfg.PluggyBell},
	})
	if err != nil {
		return err
	}
	_, err = p.Register(ctx, s.cfg.WebhookURL+"/"+p.Name())
	return err
}

func shutdown(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		server.Close()
	}
}

// whose tells the sandbox's Bkper whose access token it is: the sandbox's Google knows, or the real one is asked.
func (s *system) whose() func(string) (email, sub string, ok bool) {
	if s.cfg.GoogleClientID == world.GoogleClient {
		return s.world.Whose
	}
	real, err := caller.NewGoogle(caller.GoogleConfig{ClientIDs: []string{s.cfg.GoogleClientID}, TokenInfo: s.cfg.GoogleTokenInfoURL})
	return func(token string) (string, string, bool) {
		if err != nil {
			return "", "", false
		}
		who, err := real.Verify(context.Background(), secret.New(token))
		return who.Email, who.Sub, err == nil
	}
}

// pull stands in for push on Google's emulator, which pushes without a token.
func (s *system) pull(ctx context.Context, a *app.App) error {
	p, err := puller.Open(ctx, puller.Config{
		Project: s.cfg.Project, Targets: a.Targets(), Token: s.world.Token, Deadline: 9 * time.Minute, Log: s.log,
	})
	if err != nil {
		return err
	}
	s.stops = append(s.stops, func() { p.Close() })
	s.background(ctx, p.Run)
	return nil
}
