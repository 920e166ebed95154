// Package push delivers messages to functions as Pub/Sub's push subscriptions do, for queues that are not Pub/Sub or
// cannot push as it does.
package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/bkper/automations-portal/shared/secret"
)

// Message is one delivery of a message.
type Message struct {
	ID           string
	Data         []byte
	Attributes   map[string]string
	Published    time.Time
	Attempt      int    // 1 for the first delivery
	Subscription string // projects/P/subscriptions/S
}

// TokenSource gives the OIDC token of the service account that pushes, for an audience.
type TokenSource func(ctx context.Context, audience string) (secret.String, error)

// MaxDeadline is the longest that Pub/Sub lets a push take; the shortest is 10 s
// (https://cloud.google.com/pubsub/docs/push).
const MaxDeadline = 10 * time.Minute

// Pusher pushes. It is safe for concurrent use.
type Pusher struct {
	// Transport sends the requests; default http.DefaultTransport.
	Transport http.RoundTripper
	// Token signs the requests; the audience is the URL that is pushed to, as it is by default with Pub/Sub.
	Token TokenSource
	// Deadline bounds one push, token included; default 10 s, at most MaxDeadline.
	Deadline time.Duration
}

// envelope is the body of a push request, field for field as Pub/Sub sends it to an endpoint that unwraps nothing
// (https://cloud.google.com/pubsub/docs/push#receive_push); it names some fields twice.
type envelope struct {
	Attempt      int    `json:"deliveryAttempt,omitempty"`
	Message      wire   `json:"message"`
	Subscription string `json:"subscription"`
}

type wire struct {
	Attributes   map[string]string `json:"attributes,omitempty"`
	Data         []byte            `json:"data"`
	MessageID    string            `json:"messageId"`
	MessageID2   string            `json:"message_id"`
	PublishTime  time.Time         `json:"publishTime"`
	PublishTime2 time.Time         `json:"publish_time"`
}

const maxAnswer = 64 << 10 // bytes read of an answer, so that its connection can be used again

// Push sends m to url. nil means acknowledged: the answer was 200, 201, 202 or 204. No redirect is followed.
func (p *Pusher) Push(ctx context.Context, url string, m Message) error {
	deadline := p.Deadline
	if deadline <= 0 {
		deadline = 10 * time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, min(deadline, MaxDeadline), errDeadline)
	defer cancel()
	err := p.push(ctx, url, m)
	if err != nil && errors.Is(context.Cause(ctx), errDeadline) {
		err = errDeadline
	}
	if err != nil {
		return fmt.Errorf("push message %s to %s: %w", m.ID, url, err)
	}
	return nil
}

var errDeadline = errors.New("no answer before the acknowledgement deadline")

func (p *Pusher) push(ctx context.Context, url string, m Message) error {
	request, err := p.request(ctx, url, m)
	if err != nil {
		return err
	}
	client := http.Client{Transport: p.Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
		_, _ = io.CopyN(io.Discard, response.Body, maxAnswer) // the status alone decides
		return nil
	}
	return fmt.Errorf("status %d", response.StatusCode)
}

func (p *Pusher) request(ctx context.Context, url string, m Message) (*http.Request, error) {
	published := m.Published.UTC()
	body, err := json.Marshal(envelope{
		Attempt:      m.Attempt,
		Subscription: m.Subscription,
		Message: wire{
			Attributes: m.Attributes, Data: m.Data,
			MessageID: m.ID, MessageID2: m.ID, PublishTime: published, PublishTime2: published,
		},
	})
	if err != nil {
		return nil, err
	}
	token, err := p.Token(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+token.Reveal())
	return request, nil
}
