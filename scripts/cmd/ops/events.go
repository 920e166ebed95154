package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/events/pubsub"
	eventsqlite "github.com/bkper/automations-portal/shared/events/sqlite"
)

// broker is what an operator has of a queue.
type broker interface {
	events.Publisher
	DeadLetters(ctx context.Context) ([]events.DeadLetter, error)
	// ReplayAll goes on after one that cannot be played again, and returns those that could.
	ReplayAll(ctx context.Context, ids []string) (played []string, err error)
	Close() error
}

// cloud is Pub/Sub as a broker.
type cloud struct {
	*pubsub.Publisher
	dead *pubsub.DeadLetters
}

func (c cloud) DeadLetters(ctx context.Context) ([]events.DeadLetter, error) { return c.dead.Read(ctx) }

func (c cloud) ReplayAll(ctx context.Context, ids []string) ([]string, error) {
	return c.dead.ReplayAll(ctx, ids)
}

func (c cloud) Close() error { return errors.Join(c.dead.Close(), c.Publisher.Close()) }

// embedded is the queue of a file as a broker.
type embedded struct{ *eventsqlite.Queue }

func (e embedded) ReplayAll(ctx context.Context, ids []string) (played []string, err error) {
	for _, id := range ids {
		if failed := e.Replay(ctx, id); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		played = append(played, id)
	}
	return played, err
}

func (o *operator) broker(ctx context.Context) (broker, error) {
	if o.cfg.Events == "pubsub" {
		dead, err := pubsub.OpenDeadLetters(ctx, o.cfg.Project, events.Topics)
		return cloud{pubsub.New(o.cfg.Project), dead}, err
	}
	// The process that serves this file pushes; here nothing is.
	targets := map[events.Topic]string{}
	for _, topic := range events.Topics {
		targets[topic] = "the process that serves"
	}
	q, err := eventsqlite.Open(ctx, o.cfg.DataFile, eventsqlite.Config{Targets: targets})
	return embedded{q}, err
}

func sync(f *flag.FlagSet) func(context.Context, *operator, []string) error {
	deep := f.Bool("deep", false, "look also at what the bank may have changed silently, and at the state of the item")
	return func(ctx context.Context, o *operator, rest []string) (err error) {
		if err := one(rest, 1, "which connection"); err != nil {
			return err
		}
		c, err := o.connection(ctx, rest[0])
		if err != nil {
			return err
		}
		b, err := o.broker(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.Close()) }()
		if err := b.Publish(ctx, events.Rings, events.Message{Connection: c.ID, Deep: *deep}); err != nil {
			return err
		}
		o.say("Rang for %s (%s, %s). scripts/ops show %s tells when it was read.", c.ID, c.Institution.Name, c.State, c.ID)
		return nil
	}
}

func deadList(*flag.FlagSet) func(context.Context, *operator, []string) error {
	return func(ctx context.Context, o *operator, rest []string) (err error) {
		if err := one(rest, 0, "nothing more"); err != nil {
			return err
		}
		b, err := o.broker(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.Close()) }()
		letters, err := b.DeadLetters(ctx)
		if err != nil {
			return err
		}
		if len(letters) == 0 {
			o.say("There are no dead letters.")
			return nil
		}
		w := tabwriter.NewWriter(o.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "id\ttopic\tpublished\tdelivered\tmessage")
		for _, l := range letters {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d times\t%.200q\n", l.ID, l.Topic, o.ago(l.Published), l.Attempts, l.Data)
		}
		return w.Flush()
	}
}

func deadReplay(f *flag.FlagSet) func(context.Context, *operator, []string) error {
	all := f.Bool("all", false, "every dead letter that there is")
	return func(ctx context.Context, o *operator, ids []string) (err error) {
		if *all == (len(ids) > 0) {
			return fmt.Errorf("%w: say ids of dead letters, or -all", errUsage)
		}
		b, err := o.broker(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.Close()) }()
		if *all {
			letters, err := b.DeadLetters(ctx)
			if err != nil {
				return err
			}
			for _, l := range letters {
				ids = append(ids, l.ID)
			}
		}
		slices.Sort(ids)
		return o.replay(ctx, b, slices.Compact(ids))
	}
}

func (o *operator) replay(ctx context.Context, b broker, ids []string) error {
	played, err := b.ReplayAll(ctx, ids)
	for _, id := range played {
		o.say("Published %s again.", id)
	}
	o.say("%d of %d published again.", len(played), len(ids))
	return err
}
