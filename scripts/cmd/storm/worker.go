package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/sethvargo/go-envconfig"

	"github.com/bkper/automations-portal/functions/app"
	"github.com/bkper/automations-portal/shared/config"
	"github.com/bkper/automations-portal/shared/logs"
	"github.com/bkper/automations-portal/shared/secret"
)

// workerURL is the variable that makes this program a worker: where it gets the tokens of its pushes.
const workerURL = "STORM_TOKEN_URL"

// work serves the functions and pushes the embedded queue's messages, in one process, until it is killed. On the emulators
// functions/main serves; it cannot here, because nobody but a process that pushes can serve the embedded queue.
func work() (code int) {
	if err := serve(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context) error {
	cfg, err := config.Read(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	log := slog.New(logs.NewText(os.Stderr, logs.Options{}))
	slog.SetDefault(log)
	a := app.New(cfg, log)
	queue, err := a.Queue(ctx, fetchToken)
	if err != nil {
		return err
	}
	functions, err := a.Handler("")
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("localhost", cfg.Port))
	if err != nil {
		return err
	}
	go queue.Run(ctx)
	server := &http.Server{Handler: functions, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(listener)
}

// fetchToken gets an OIDC token from the storm, as processes on Google Cloud get theirs from the metadata server.
func fetchToken(ctx context.Context, audience string) (secret.String, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, os.Getenv(workerURL)+"?audience="+url.QueryEscape(audience), nil)
	if err != nil {
		return secret.String{}, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return secret.String{}, err
	}
	defer answer.Body.Close()
	token, err := io.ReadAll(io.LimitReader(answer.Body, 16<<10))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return secret.New(string(token)), err
}
