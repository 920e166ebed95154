package pubsub_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	sdk "cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/events/pubsub"
)

// pulls counts how often the dead letters were looked through. Each look ends with seconds of waiting for more.
type pulls struct{ n atomic.Int32 }

func (p *pulls) React(any) (bool, any, error) {
	p.n.Add(1)
	return false, nil, nil
}

func TestManyDeadLettersArePlayedAgainInOneLook(t *testing.T) {
	looks := new(pulls)
	server := pstest.NewServer(pstest.ServerReactorOption{FuncName: "Pull", Reactor: looks})
	defer server.Close()
	options := []option.ClientOption{
		option.WithEndpoint(server.Addr), option.WithoutAuthentication(), option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
	client, err := sdk.NewClient(t.Context(), "p", options...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, name := range []string{string(events.Rings), pubsub.DeadTopic(events.Rings)} {
		topic, err := client.TopicAdminClient.CreateTopic(t.Context(), &pubsubpb.Topic{Name: "projects/p/topics/" + name})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: "projects/p/subscriptions/" + name, Topic: topic.GetName()})
		if err != nil {
			t.Fatal(err)
		}
	}
	const many = 30
	var ids []string
	for n := range many {
		ids = append(ids, server.Publish("projects/p/topics/"+pubsub.DeadTopic(events.Rings), fmt.Appendf(nil, `{"connection":"c%d"}`, n), nil))
	}
	dead, err := pubsub.OpenDeadLetters(t.Context(), "p", []events.Topic{events.Rings}, options...)
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	played, err := dead.ReplayAll(t.Context(), append(ids[1:], "none"))
	slices.Sort(played)
	if want := slices.Sorted(slices.Values(ids[1:])); err == nil || !slices.Equal(played, want) {
		t.Errorf("played %v, %v; want all but the one that was not asked for, and a word about the one that is not there", played, err)
	}
	if n := looks.n.Load(); n > many/2 {
		t.Errorf("looked %d times for %d letters", n, many)
	}
	again := 0
	for _, m := range server.Messages() {
		if m.Topic == "projects/p/topics/"+string(events.Rings) {
			again++
		}
	}
	if again != many-1 {
		t.Errorf("%d messages, want %d", again, many-1)
	}
}
