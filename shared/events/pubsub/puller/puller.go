// Package puller is for development on Google's Pub/Sub emulator, which pushes without a token, without counting attempts
// and without back-off: it pulls instead, and pushes as Pub/Sub itself would. In production Pub/Sub pushes.
package puller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bkper/automations-portal/shared/events"
	dead "github.com/bkper/automations-portal/shared/events/pubsub"
	"github.com/bkper/automations-portal/shared/events/push"
)

// Config sets a Puller up. Project, Targets and Token are needed.
type Config struct {
	Project     string
	Options     []option.ClientOption
	Targets     map[events.Topic]string // the URL that each topic is pushed to
	Token       push.TokenSource
	Transport   http.RoundTripper // default http.DefaultTransport
	Deadline    time.Duration     // for the answer to a push; default 10 s, at most 9 min
	MinBackoff  time.Duration     // after the first refusal, doubled after each; default 10 s; whole seconds
	MaxBackoff  time.Duration     // default 10 min, which is the most
	MaxAttempts int               // 5 to 100; after which Pub/Sub makes a dead letter of a message; default 10
	Concurrency int               // pushes of one topic at a time; default 16
	Log         *slog.Logger      // default slog.Default()
}

func (c Config) withDefaults() Config {
	c.Deadline = min(cmp.Or(c.Deadline, 10*time.Second), 9*time.Minute)
	c.MinBackoff = cmp.Or(c.MinBackoff, 10*time.Second)
	c.MaxBackoff = min(cmp.Or(c.MaxBackoff, longest), longest)
	c.MaxAttempts = cmp.Or(c.MaxAttempts, 10)
	c.Concurrency = cmp.Or(c.Concurrency, 16)
	c.Log = cmp.Or(c.Log, slog.Default())
	return c
}

const (
	longest  = 10 * time.Minute // that an acknowledgement deadline can be
	spare    = 5 * time.Second  // that a lease lasts beyond the deadline of its push
	calling  = 10 * time.Second // bounds calls that write
	recovery = time.Second      // pause after a failed pull
)

// Puller pulls and pushes.
type Puller struct {
	config Config
	client *pubsub.Client
	pusher push.Pusher
}

// Open makes the topics and their subscriptions, dead letters included, where they are missing.
func Open(ctx context.Context, c Config) (*Puller, error) {
	c = c.withDefaults()
	client, err := pubsub.NewClient(ctx, c.Project, c.Options...)
	if err != nil {
		return nil, fmt.Errorf("open the puller: %w", err)
	}
	p := &Puller{
		config: c, client: client,
		pusher: push.Pusher{Transport: c.Transport, Token: c.Token, Deadline: c.Deadline},
	}
	for topic := range c.Targets {
		if err := p.create(ctx, topic); err != nil {
			return nil, errors.Join(fmt.Errorf("open the puller: %s: %w", topic, err), client.Close())
		}
	}
	return p, nil
}

// Close ends the connections. What is being pushed meanwhile is pushed again after its lease.
func (p *Puller) Close() error { return p.client.Close() }

func (p *Puller) create(ctx context.Context, topic events.Topic) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	letters := dead.DeadTopic(topic)
	for _, name := range []string{string(topic), letters} {
		_, err := p.client.TopicAdminClient.CreateTopic(ctx, &pubsubpb.Topic{Name: p.topicName(name)})
		if err != nil && status.Code(err) != codes.AlreadyExists {
			return err
		}
	}
	for _, s := range []*pubsubpb.Subscription{
		{Name: p.subscription(letters), Topic: p.topicName(letters), AckDeadlineSeconds: 60},
		{
			Name: p.subscription(string(topic)), Topic: p.topicName(string(topic)), AckDeadlineSeconds: 10,
			DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{
				DeadLetterTopic: p.topicName(letters), MaxDeliveryAttempts: int32(p.config.MaxAttempts),
			},
			ExpirationPolicy: &pubsubpb.ExpirationPolicy{Ttl: &durationpb.Duration{}},
		},
	} {
		_, err := p.client.SubscriptionAdminClient.CreateSubscription(ctx, s)
		if err != nil && status.Code(err) != codes.AlreadyExists {
			return err
		}
	}
	return nil
}

func (p *Puller) topicName(id string) string { return "projects/" + p.config.Project + "/topics/" + id }

func (p *Puller) subscription(id string) string {
	return "projects/" + p.config.Project + "/subscriptions/" + id
}

// Run delivers messages until ctx ends, and returns when the last push has ended.
func (p *Puller) Run(ctx context.Context) {
	var topics sync.WaitGroup
	for topic, target := range p.config.Targets {
		topics.Go(func() { p.serve(ctx, topic, target) })
	}
	topics.Wait()
}

// serve pulls as many messages as it can push at once.
func (p *Puller) serve(ctx context.Context, topic events.Topic, target string) {
	var pushes sync.WaitGroup
	defer pushes.Wait()
	busy := make(chan struct{}, p.config.Concurrency)
	for {
		select {
		case busy <- struct{}{}: // a place for the first message, before there is one
		case <-ctx.Done():
			return
		}
		pulled, err := p.pull(ctx, topic, 1+cap(busy)-len(busy))
		if err != nil && ctx.Err() == nil {
			p.config.Log.ErrorContext(ctx, "Pub/Sub cannot be pulled from", "topic", topic, "error", err)
			pause(ctx, recovery)
		}
		<-busy
		for _, m := range pulled {
			busy <- struct{}{}
			pushes.Go(func() {
				defer func() { <-busy }()
				p.deliver(ctx, topic, target, m)
			})
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// pull waits for messages and leases them for as long as a push may take.
func (p *Puller) pull(ctx context.Context, topic events.Topic, n int) ([]*pubsubpb.ReceivedMessage, error) {
	response, err := p.client.SubscriptionAdminClient.Pull(ctx, &pubsubpb.PullRequest{
		Subscription: p.subscription(string(topic)), MaxMessages: int32(n),
	})
	if err != nil || len(response.GetReceivedMessages()) == 0 {
		return nil, err
	}
	pulled := response.GetReceivedMessages()
	return pulled, p.lease(ctx, topic, p.config.Deadline+spare, pulled...)
}

// lease sets when messages that are not acknowledged are delivered again, in whole seconds.
func (p *Puller) lease(ctx context.Context, topic events.Topic, d time.Duration, messages ...*pubsubpb.ReceivedMessage) error {
	ctx, cancel := context.WithTimeout(ctx, calling)
	defer cancel()
	ids := make([]string, len(messages))
	for i, m := range messages {
		ids[i] = m.GetAckId()
	}
	return p.client.SubscriptionAdminClient.ModifyAckDeadline(ctx, &pubsubpb.ModifyAckDeadlineRequest{
		Subscription: p.subscription(string(topic)), AckIds: ids, AckDeadlineSeconds: int32((d + time.Second - 1) / time.Second),
	})
}

func (p *Puller) deliver(ctx context.Context, topic events.Topic, target string, m *pubsubpb.ReceivedMessage) {
	id, attempt := m.GetMessage().GetMessageId(), int(m.GetDeliveryAttempt())
	refusal := p.pusher.Push(ctx, target, push.Message{
		ID: id, Data: m.GetMessage().GetData(), Attributes: m.GetMessage().GetAttributes(),
		Published: m.GetMessage().GetPublishTime().AsTime(), Attempt: attempt,
		Subscription: p.subscription(string(topic)),
	})
	if refusal != nil && ctx.Err() == nil {
		p.config.Log.WarnContext(ctx, "a push was refused",
			"topic", topic, "message", id, "attempt", attempt, "of", p.config.MaxAttempts, "error", refusal)
	}
	settle := context.WithoutCancel(ctx)
	if err := p.settle(settle, topic, m, refusal); err != nil {
		p.config.Log.ErrorContext(settle, "how a push ended was not said to Pub/Sub; it comes again",
			"topic", topic, "message", id, "error", err)
	}
}

// settle acknowledges, or lets the message come again when its lease ends, which is the back-off.
func (p *Puller) settle(ctx context.Context, topic events.Topic, m *pubsubpb.ReceivedMessage, refusal error) error {
	if refusal != nil {
		return p.lease(ctx, topic, p.backoff(int(m.GetDeliveryAttempt())), m)
	}
	ctx, cancel := context.WithTimeout(ctx, calling)
	defer cancel()
	return p.client.SubscriptionAdminClient.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{
		Subscription: p.subscription(string(topic)), AckIds: []string{m.GetAckId()},
	})
}

// backoff is the pause after the attempt-th refusal; none after the last, which makes a dead letter.
func (p *Puller) backoff(attempt int) time.Duration {
	if attempt >= p.config.MaxAttempts {
		return 0
	}
	d := p.config.MinBackoff
	for range attempt - 1 {
		d = min(2*d, p.config.MaxBackoff)
	}
	return d
}
