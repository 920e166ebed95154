package pubsub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bkper/automations-portal/shared/events"
)

// DeadTopic is the id of the topic that the dead letters of a topic go to, and of the one subscription that keeps them.
func DeadTopic(topic events.Topic) string { return string(topic) + "-dead" }

const (
	maxDead = 1_000           // dead letters that one call reads
	holding = 60              // seconds for which a call has the letters for itself
	looking = 3 * time.Second // within which Pub/Sub hands out what there is
)

// ErrNoDeadLetter: there is no dead letter with this id; it may have been replayed before, or another call has it.
var ErrNoDeadLetter = errors.New("no such dead letter")

// DeadLetters reads and replays the dead letters of a project's topics.
type DeadLetters struct {
	client *pubsub.Client
	topics []events.Topic
}

// OpenDeadLetters returns the dead letters of the topics of a Google Cloud project.
func OpenDeadLetters(ctx context.Context, project string, topics []events.Topic, options ...option.ClientOption) (*DeadLetters, error) {
	client, err := pubsub.NewClient(ctx, project, options...)
	if err != nil {
		return nil, fmt.Errorf("open the dead letters: %w", err)
	}
	return &DeadLetters{client: client, topics: topics}, nil
}

// Close ends the connections.
func (d *DeadLetters) Close() error { return d.client.Close() }

// held is a dead letter that this call has for itself.
type held struct {
	events.DeadLetter
	ack string
}

// Read returns the dead letters, at most 1,000 a topic. Pub/Sub may hand out only some at a time, and none to two callers at once.
func (d *DeadLetters) Read(ctx context.Context) ([]events.DeadLetter, error) {
	var all []events.DeadLetter
	for _, topic := range d.topics {
		letters, err := d.hold(ctx, topic)
		for _, letter := range letters {
			all = append(all, letter.DeadLetter)
		}
		if err := errors.Join(err, d.release(ctx, topic, letters)); err != nil {
			return nil, fmt.Errorf("read the dead letters of %s: %w", topic, err)
		}
	}
	return all, nil
}

// Replay publishes a dead letter again, as a new message whose attempts are counted anew. ErrNoDeadLetter. Cut short
// between the two it leaves the letter and the message, which a doorbell may.
func (d *DeadLetters) Replay(ctx context.Context, id string) error {
	_, err := d.ReplayAll(ctx, []string{id})
	return err
}

// atOnce is how many letters are played again at once, so that a thousand are within the time for which they are held.
const atOnce = 16

// ReplayAll is Replay of many, in one look at each topic: Pub/Sub takes seconds to say that there are no more. It goes on after
// one that cannot be played, and returns those that could.
func (d *DeadLetters) ReplayAll(ctx context.Context, ids []string) (played []string, err error) {
	var errs []error
	for _, topic := range d.topics {
		if len(played) == len(ids) {
			break
		}
		letters, err := d.hold(ctx, topic)
		failed := make([]error, len(letters))
		g := new(errgroup.Group)
		g.SetLimit(atOnce)
		for i, letter := range letters {
			if err == nil && slices.Contains(ids, letter.ID) {
				g.Go(func() error { failed[i] = d.replay(ctx, topic, letter); return nil })
			}
		}
		_ = g.Wait() // each has its own
		var rest []held
		for i, letter := range letters {
			if err != nil || failed[i] != nil || !slices.Contains(ids, letter.ID) {
				rest = append(rest, letter)
			} else {
				played = append(played, letter.ID)
			}
		}
		errs = append(errs, errors.Join(failed...), err, d.release(ctx, topic, rest))
	}
	if err := errors.Join(errs...); err != nil {
		return played, fmt.Errorf("replay dead letters: %w", err)
	}
	for _, id := range ids {
		if !slices.Contains(played, id) {
			errs = append(errs, fmt.Errorf("replay the dead letter %s: %w", id, ErrNoDeadLetter))
		}
	}
	return played, errors.Join(errs...)
}

func (d *DeadLetters) replay(ctx context.Context, topic events.Topic, letter held) error {
	_, err := d.client.TopicAdminClient.Publish(ctx, &pubsubpb.PublishRequest{
		Topic:    "projects/" + d.client.Project() + "/topics/" + string(topic),
		Messages: []*pubsubpb.PubsubMessage{{Data: letter.Data}},
	})
	if err != nil {
		return err
	}
	return d.client.SubscriptionAdminClient.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{
		Subscription: d.subscription(topic), AckIds: []string{letter.ack},
	})
}

// hold takes what there is, each pull until one finds nothing more.
func (d *DeadLetters) hold(ctx context.Context, topic events.Topic) ([]held, error) {
	var letters []held
	for len(letters) < maxDead {
		pulled, err := d.pull(ctx, topic, maxDead-len(letters))
		if err != nil || len(pulled) == 0 {
			return letters, err
		}
		for _, m := range pulled {
			letters = append(letters, held{letterOf(topic, m.GetMessage()), m.GetAckId()})
		}
		if err := d.modify(ctx, topic, letters[len(letters)-len(pulled):], holding); err != nil {
			return letters, err
		}
	}
	return letters, nil
}

func (d *DeadLetters) pull(ctx context.Context, topic events.Topic, n int) ([]*pubsubpb.ReceivedMessage, error) {
	limited, cancel := context.WithTimeout(ctx, looking)
	defer cancel()
	response, err := d.client.SubscriptionAdminClient.Pull(limited, &pubsubpb.PullRequest{
		Subscription: d.subscription(topic), MaxMessages: int32(n),
	})
	if ctx.Err() == nil && (status.Code(err) == codes.DeadlineExceeded || errors.Is(err, context.DeadlineExceeded)) {
		return nil, nil // a pull waits until there is something
	}
	return response.GetReceivedMessages(), err
}

// release lets others have the letters at once.
func (d *DeadLetters) release(ctx context.Context, topic events.Topic, letters []held) error {
	return d.modify(context.WithoutCancel(ctx), topic, letters, 0)
}

func (d *DeadLetters) modify(ctx context.Context, topic events.Topic, letters []held, seconds int32) error {
	if len(letters) == 0 {
		return nil
	}
	ids := make([]string, len(letters))
	for i, letter := range letters {
		ids[i] = letter.ack
	}
	ctx, cancel := context.WithTimeout(ctx, publishing)
	defer cancel()
	return d.client.SubscriptionAdminClient.ModifyAckDeadline(ctx, &pubsubpb.ModifyAckDeadlineRequest{
		Subscription: d.subscription(topic), AckIds: ids, AckDeadlineSeconds: seconds,
	})
}

func (d *DeadLetters) subscription(topic events.Topic) string {
	return "projects/" + d.client.Project() + "/subscriptions/" + DeadTopic(topic)
}

// letterOf reads what Pub/Sub writes on dead letters (https://cloud.google.com/pubsub/docs/dead-letter-topics).
func letterOf(topic events.Topic, m *pubsubpb.PubsubMessage) events.DeadLetter {
	attempts, _ := strconv.Atoi(m.GetAttributes()["CloudPubSubDeadLetterSourceDeliveryCount"]) // 0 where it is not said
	published, err := time.Parse(time.RFC3339, m.GetAttributes()["CloudPubSubDeadLetterSourceTopicPublishTime"])
	if err != nil {
		published = m.GetPublishTime().AsTime()
	}
	return events.DeadLetter{
		ID: m.GetMessageId(), Topic: topic, Data: m.GetData(), Attempts: attempts, Published: published,
	}
}
