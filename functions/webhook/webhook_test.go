package webhook_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bkper/automations-portal/functions/webhook"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/web"
)

type believer struct{}

func (believer) Verify(context.Context, http.Header, []byte) ([]bank.Notice, error) {
	return []bank.Notice{{Item: "item"}}, nil
}

// stuck is a queue that answers nobody.
type stuck struct{}

func (stuck) Publish(ctx context.Context, _ events.Topic, _ events.Message) error {
	<-ctx.Done()
	return ctx.Err()
}

// A provider that has waited too long counts a failure, and gives the webhook up after some; a refusal in time makes it repeat.
func TestAProviderIsRefusedBeforeItGivesUpWhereNothingCanBePublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := (&webhook.Webhook{
			Banks: map[string]bank.Doorbell{"somebank": believer{}}, Events: stuck{},
			Edge: &web.Edge{Function: "webhook", Log: slog.New(slog.DiscardHandler), Timeout: webhook.Timeout},
		}).Handler()
		began, answer := time.Now(), httptest.NewRecorder()
		h.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/somebank", strings.NewReader("{}")))
		if took := time.Since(began); answer.Code != http.StatusServiceUnavailable || took >= 5*time.Second || took < time.Second {
			t.Errorf("%d after %v", answer.Code, took)
		}
	})
}
