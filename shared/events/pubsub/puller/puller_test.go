package puller_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/events/eventstest"
	"github.com/bkper/automations-portal/shared/events/pubsub"
	"github.com/bkper/automations-portal/shared/events/pubsub/puller"
	"github.com/bkper/automations-portal/shared/sandbox/emulator"
)

var google = emulator.Shared{Product: emulator.PubSub}

func TestMain(m *testing.M) {
	code := m.Run()
	google.Stop()
	os.Exit(code)
}

func to(host string) []option.ClientOption {
	return []option.ClientOption{
		option.WithEndpoint(host), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}

// running is a puller whose Run runs.
type running struct {
	*puller.Puller
	cancel context.CancelFunc
	ended  chan struct{}
}

func start(ctx context.Context, c puller.Config) (*running, error) {
	p, err := puller.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &running{p, cancel, make(chan struct{})}
	go func() {
		defer close(r.ended)
		p.Run(ctx)
	}()
	return r, nil
}

// kill ends it as a killed process would: the connection goes first, so Pub/Sub learns nothing more.
func (r *running) kill() {
	r.Close()
	r.cancel()
	<-r.ended
}

var projects atomic.Int32

func TestPubSubWithThePullerPassesTheSuite(t *testing.T) {
	options := to(google.Host(t))
	topics := []events.Topic{events.Rings, events.Sessions}
	eventstest.Run(t, func(ctx context.Context, e *eventstest.Endpoint) (*eventstest.Harness, error) {
		server := httptest.NewServer(e)
		project := fmt.Sprintf("demo-suite-%d", projects.Add(1))
		c := puller.Config{
			Project: project, Options: options, Token: e.Token,
			Targets:  map[events.Topic]string{events.Rings: server.URL + "/rings", events.Sessions: server.URL + "/sessions"},
			Deadline: 4 * time.Second, MinBackoff: time.Second, MaxBackoff: 4 * time.Second, MaxAttempts: 5, Concurrency: 4,
			Log: slog.New(slog.DiscardHandler),
		}
		p, err := start(ctx, c)
		if err != nil {
			return nil, err
		}
		letters, err := pubsub.OpenDeadLetters(ctx, project, topics, options...)
		if err != nil {
			return nil, err
		}
		publisher := pubsub.New(project, options...)
		h := &eventstest.Harness{
			Publisher: publisher, DeadLetters: letters.Read, Replay: letters.Replay,
			Attempts: c.MaxAttempts, Concurrency: c.Concurrency, MinBackoff: c.MinBackoff, Quiet: 11 * time.Second,
		}
		h.Kill = func() (err error) {
			p.kill()
			p, err = start(ctx, c)
			return err
		}
		h.Cut = func() error {
			h.Publisher = pubsub.New(project, to(nowhere(t))...)
			return nil
		}
		h.Close = func() {
			p.kill()
			if err := errors.Join(publisher.Close(), letters.Close()); err != nil {
				t.Error(err)
			}
			server.Close()
		}
		return h, nil
	})
}

// nowhere is an address at which nobody listens.
func nowhere(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestPublishingToADeafServerIsBounded(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // connections are made and never answered
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	p := pubsub.New("demo-deaf", to(listener.Addr().String())...)
	begun := time.Now()
	err = p.Publish(t.Context(), events.Rings, events.Message{Connection: "c"})
	if took := time.Since(begun); err == nil || took > 20*time.Second {
		t.Errorf("got %v after %s", err, took)
	}
	if err != nil && !strings.Contains(err.Error(), string(events.Rings)) {
		t.Errorf("the error names no topic: %v", err)
	}
}
