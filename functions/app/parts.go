package app

import (
	"context"
	"errors"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/events/pubsub"
	"github.com/bkper/automations-portal/shared/events/push"
	eventsqlite "github.com/bkper/automations-portal/shared/events/sqlite"
	"github.com/bkper/automations-portal/shared/ledger/bkper"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/firestore"
	storesqlite "github.com/bkper/automations-portal/shared/store/sqlite"
	"github.com/bkper/automations-portal/shared/telemetry"
	"github.com/bkper/automations-portal/shared/vault"
	"github.com/bkper/automations-portal/shared/vault/secretmanager"
	vaultsqlite "github.com/bkper/automations-portal/shared/vault/sqlite"
	"github.com/bkper/automations-portal/shared/web"
)

func (a *App) onClose(end func() error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closes = append(a.closes, end)
}

func (a *App) openStore() (store.Store, error) {
	if a.cfg.Store == "firestore" {
		s := firestore.New(firestore.Options{Project: a.cfg.Project, Database: a.cfg.Database, Prefix: a.cfg.Prefix})
		a.onClose(s.Close)
		return s, nil
	}
	s, err := storesqlite.Open(a.cfg.DataFile)
	if err != nil {
		return nil, err
	}
	a.onClose(s.Close)
	return s, nil
}

func (a *App) openVault() (vault.Vault, error) {
	if a.cfg.Vault == "secretmanager" {
		v := secretmanager.New(a.cfg.Project)
		a.onClose(v.Close)
		return v, nil
	}
	v, err := vaultsqlite.Open(context.Background(), a.cfg.DataFile, a.cfg.VaultKey)
	if err != nil {
		return nil, err
	}
	a.onClose(v.Close)
	return v, nil
}

func (a *App) openEvents() (events.Publisher, error) {
	p, err := a.openPublisher()
	if err != nil || a.telemetry == nil {
		return p, err
	}
	return publishing{p, a.telemetry}, nil
}

// publishing tells of what is published. The message carries the span on.
type publishing struct {
	next      events.Publisher
	telemetry *telemetry.Telemetry
}

func (p publishing) Publish(ctx context.Context, topic events.Topic, m events.Message) error {
	ctx, span := p.telemetry.Start(ctx, telemetry.Producer, "publish "+string(topic), "messaging.destination.name", string(topic))
	err := p.next.Publish(ctx, topic, m)
	failed := ""
	if err != nil {
		failed = "unpublished"
	}
	span.End(failed)
	return err
}

func (a *App) openPublisher() (events.Publisher, error) {
	if a.cfg.Events == "pubsub" {
		p := pubsub.New(a.cfg.Project)
		a.onClose(p.Close)
		return p, nil
	}
	if a.queue == nil {
		return nil, errors.New("EVENTS=sqlite is the embedded queue, which only a process that pushes can serve: start scripts/dev")
	}
	return a.queue, nil
}

// Targets are the URLs to which each topic is pushed. They are the audiences of the pushes' tokens too.
func (a *App) Targets() map[events.Topic]string {
	return map[events.Topic]string{
		events.Rings:       a.cfg.PosterURL,
		events.Sessions:    a.cfg.ConnectURL + "/push",
		events.Disconnects: a.cfg.DisconnectURL + "/push",
	}
}

// Queue opens the embedded queue, for a process that pushes its messages with tokens of the source. It must be called
// before Handler.
func (a *App) Queue(ctx context.Context, token push.TokenSource) (*eventsqlite.Queue, error) {
	q, err := eventsqlite.Open(ctx, a.cfg.DataFile, eventsqlite.Config{
		Targets: a.Targets(), Token: token, Deadline: push.MaxDeadline, Log: a.log,
	})
	if err != nil {
		return nil, err
	}
	a.queue = q
	a.onClose(q.Close)
	return q, nil
}

// gathering collects the parts of one function and the first error.
type gathering struct {
	a   *App
	err error
}

func gather(a *App) *gathering { return &gathering{a: a} }

func take[T any](g *gathering, part T, err error) T {
	if err != nil && g.err == nil {
		g.err = err
	}
	return part
}

func (g *gathering) store() store.Store {
	s, err := g.a.store()
	return take(g, s, err)
}

func (g *gathering) vault() vault.Vault {
	v, err := g.a.vault()
	return take(g, v, err)
}

func (g *gathering) events() events.Publisher {
	e, err := g.a.events()
	return take(g, e, err)
}

func (g *gathering) banks() map[string]bank.Provider {
	b, err := g.a.banks()
	return take(g, b, err)
}

func (g *gathering) books() *bkper.Client {
	b, err := g.a.books()
	return take(g, b, err)
}

func (g *gathering) people(function string) *web.Edge {
	e, err := g.a.people(function)
	return take(g, e, err)
}

func (g *gathering) machines(function, audience string) *web.Edge {
	e, err := g.a.machines(context.Background(), function, audience)
	return take(g, e, err)
}
