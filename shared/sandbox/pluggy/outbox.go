package pluggy

// Event is a webhook that Pluggy wants to send: to the client's own webhooks that listen to it, and to the item's URL.
type Event struct {
	ID      string // eventId, the same wherever it is sent to and however often
	Name    string // such as item/updated
	Client  string // empty is every client
	ItemID  string // empty for the webhooks of connectors
	ItemURL string // the item's own webhookUrl; empty is none
	Fields  map[string]any
}

// Drain returns the events that came up since the last Drain, oldest first.
func (b *Bank) Drain() []Event {
	out := b.outbox
	b.outbox = nil
	return out
}

func (b *Bank) emitAll(e Event) {
	e.ID = b.newUUID()
	b.outbox = append(b.outbox, e)
}

// emit queues an event of an item. item/* events but item/deleted say who set it off; clientUserId is null where there is
// none.
func (b *Bank) emit(it *item, name string, fields map[string]any) {
	b.emitAll(Event{Name: name, Client: it.client, ItemID: it.id, ItemURL: it.options.WebhookURL, Fields: fields})
}

func (b *Bank) emitItem(it *item, name string, fields map[string]any) {
	if fields == nil {
		fields = map[string]any{}
	}
	if name != "item/deleted" {
		fields["triggeredBy"] = it.trigger
	}
	if it.options.ClientUserID != "" {
		fields["clientUserId"] = it.options.ClientUserID
	}
	b.emit(it, name, fields)
}
