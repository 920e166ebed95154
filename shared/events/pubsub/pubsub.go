// Package pubsub publishes events to Google's Pub/Sub and gives operators its dead letters. Pushing them to functions is
// Pub/Sub's own work.
package pubsub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"google.golang.org/api/option"

	"github.com/bkper/automations-portal/shared/events"
)

const (
	// publishing bounds one Publish, the client's own tries included. Whoever waits for it must answer a webhook.
	publishing = 8 * time.Second
	// gathering is how long a message waits for others to share its request.
	gathering = time.Millisecond
)

// Publisher publishes to the topics of one project; a topic's id is the events.Topic.
type Publisher struct {
	project string
	options []option.ClientOption

	mu     sync.Mutex
	client *pubsub.Client
	topics map[events.Topic]*pubsub.Publisher
}

var _ events.Publisher = (*Publisher)(nil)

// New returns a publisher for a Google Cloud project. The client is made at the first call, from options and else from the
// environment as Google's clients do, PUBSUB_EMULATOR_HOST included.
func New(project string, options ...option.ClientOption) *Publisher {
	return &Publisher{project: project, options: options, topics: map[events.Topic]*pubsub.Publisher{}}
}

// Close sends what is still to be sent and ends the connections. Publish must not be called again.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, topic := range p.topics {
		topic.Stop()
	}
	if p.client == nil {
		return nil
	}
	return p.client.Close()
}

func (p *Publisher) topic(id events.Topic) (*pubsub.Publisher, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if topic := p.topics[id]; topic != nil {
		return topic, nil
	}
	if p.client == nil {
		client, err := pubsub.NewClient(context.Background(), p.project, p.options...)
		if err != nil {
			return nil, err
		}
		p.client = client
	}
	topic := p.client.Publisher(string(id))
	topic.PublishSettings.DelayThreshold = gathering
	topic.PublishSettings.Timeout = publishing
	p.topics[id] = topic
	return topic, nil
}

// Publish implements events.Publisher. After an error the message may have been published all the same.
func (p *Publisher) Publish(ctx context.Context, topic events.Topic, m events.Message) error {
	if err := p.publish(ctx, topic, m); err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}

func (p *Publisher) publish(ctx context.Context, id events.Topic, m events.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	topic, err := p.topic(id)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, publishing)
	defer cancel()
	// The server's id is the sign that it has the message durably.
	_, err = topic.Publish(limited, &pubsub.Message{Data: data, Attributes: events.Attributes(ctx)}).Get(limited)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s: %w", publishing, err)
	}
	return err
}
