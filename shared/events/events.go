// Package events carries doorbells from whoever learns of something to the function that looks. A message says where to
// look and nothing of what is there, so duplicates, order and age do not matter. Every implementation passes the suite
// in eventstest.
package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/bkper/automations-portal/shared/logs"
)

// Topic is where messages of one sort go.
type Topic string

// The topics: Rings is pushed to poster, Sessions to connect, Disconnects to disconnect.
const (
	Rings       Topic = "rings"
	Sessions    Topic = "sessions"
	Disconnects Topic = "disconnects"
)

// Topics are all of them.
var Topics = []Topic{Rings, Sessions, Disconnects}

// Message is a doorbell. Fields may be added, never changed: messages of every released version decode for ever.
type Message struct {
	Connection string `json:"connection,omitempty"` // Rings, Disconnects: look at this connection …
	Provider   string `json:"provider,omitempty"`   // … or at the one with this item of this provider
	Item       string `json:"item,omitempty"`
	Deep       bool   `json:"deep,omitempty"`    // look again at what may have changed silently
	Opened     bool   `json:"opened,omitempty"`  // tell the owner that the bank has accounts that were not shared
	Session    string `json:"session,omitempty"` // Sessions: the bank.Session with this Ref; Item hints at what came of it
}

// Publisher hands messages to the broker. Implementations are safe for concurrent use.
type Publisher interface {
	// Publish returns nil only once the broker has the message durably.
	Publish(ctx context.Context, topic Topic, m Message) error
}

// Delivery is a message as a push request brings it.
type Delivery struct {
	Message
	ID      string // the broker's id of the message
	Attempt int    // how often it was delivered, 1 for the first time; 0 where the broker does not say

	Published time.Time  `json:",omitzero"` // zero where the broker does not say
	Trace     logs.Trace `json:",omitzero"` // of whoever published it; without ID where it was sent without one
}

// Attributes are what a publisher sends beside a message: the trace of the context, so that what follows from the message
// is found with what led to it. nil where there is none.
func Attributes(ctx context.Context) map[string]string {
	t, known := logs.TraceOf(ctx)
	if !known {
		return nil
	}
	return map[string]string{logs.ParentName: t.Parent()}
}

// ErrMalformed: the body is not a push request with a message of ours.
var ErrMalformed = errors.New("not a push of this project's messages")

// envelope is the body of a Pub/Sub push request (https://cloud.google.com/pubsub/docs/push#receive_push).
type envelope struct {
	Message struct {
		Data        []byte            `json:"data"`
		MessageID   string            `json:"messageId"`
		PublishTime string            `json:"publishTime"`
		Attributes  map[string]string `json:"attributes"`
	} `json:"message"`
	DeliveryAttempt int `json:"deliveryAttempt"`
}

// Decode reads the body of a push request. ErrMalformed.
func Decode(body []byte) (Delivery, error) {
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return Delivery{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var m *Message
	if err := json.Unmarshal(e.Message.Data, &m); err != nil {
		return Delivery{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if m == nil { // the data was null
		return Delivery{}, fmt.Errorf("%w: it has no message", ErrMalformed)
	}
	d := Delivery{Message: *m, ID: e.Message.MessageID, Attempt: e.DeliveryAttempt}
	// These two are for whoever watches: a message is good without them.
	d.Published, _ = time.Parse(time.RFC3339Nano, e.Message.PublishTime)
	d.Trace, _ = logs.ParseParent(e.Message.Attributes[logs.ParentName])
	return d, nil
}

// DeadLetter is a message that was refused as often as the broker delivers one. It waits for an operator, who lets it be
// delivered again once the reason is gone.
type DeadLetter struct {
	ID        string // names it to the broker that has it
	Topic     Topic
	Data      []byte // the message's JSON
	Attempts  int    // how often it was delivered
	Published time.Time
}
