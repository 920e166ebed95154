// Command main serves the functions: the one that FUNCTION_TARGET names, or all of them on one port.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/functions"
	"github.com/sethvargo/go-envconfig"

	"github.com/bkper/automations-portal/functions/app"
	"github.com/bkper/automations-portal/shared/config"
	"github.com/bkper/automations-portal/shared/logs"
	"github.com/bkper/automations-portal/shared/telemetry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// grace is how long requests may go on after SIGTERM, and lastWords what is then left for telemetry; Cloud Run gives ten
// seconds.
const (
	grace     = 7 * time.Second
	lastWords = 2 * time.Second
)

// observe begins to tell of what the process does; nil where nobody asked for it.
func observe(ctx context.Context, cfg *config.Config, log *slog.Logger) (*telemetry.Telemetry, error) {
	if cfg.TelemetryURL == "" {
		return nil, nil
	}
	sinks, err := telemetry.OTLP(ctx, cfg.TelemetryURL)
	if err != nil {
		return nil, err
	}
	t, err := telemetry.New(ctx, telemetry.Options{Function: cfg.Function, Version: os.Getenv("K_REVISION"), Project: cfg.Project}, sinks)
	t.Everywhere(func(err error) { log.Warn("telemetry", "err", err) })
	return t, err
}

func serve(ctx context.Context) error {
	cfg, err := config.Read(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	lines := logs.NewJSON(os.Stderr, logs.Options{Project: cfg.Project})
	if cfg.LogText {
		lines = logs.NewText(os.Stderr, logs.Options{})
	}
	log := slog.New(lines)
	slog.SetDefault(log)
	watch, err := observe(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.Background(), lastWords)
		defer cancel()
		if err := watch.Close(last); err != nil {
			log.Warn("telemetry", "err", err)
		}
	}()
	a := app.New(cfg, log)
	a.Observe(watch)
	defer a.Close()
	handler, err := a.Handler(cfg.Function)
	if err != nil {
		return err
	}
	// The framework is the contract with Google's tools. It serves without time-outs, body limits or a graceful stop, so
	// the server is our own.
	functions.HTTP(name(cfg.Function), handler.ServeHTTP)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute}
	listener, err := net.Listen("tcp", ":"+cfg.Port)
	if err != nil {
		return err
	}
	log.Info("serving", "function", name(cfg.Function), "address", listener.Addr().String())
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		stopped <- server.Shutdown(last)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

func name(function string) string {
	if function == "" {
		return "all"
	}
	return function
}
