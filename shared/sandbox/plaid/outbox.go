package plaid

import (
	"encoding/json"
	"maps"
)

// Webhook is one that the bank wants to send.
type Webhook struct {
	URL    string
	Type   string // webhook_type
	Code   string // webhook_code
	ItemID string // empty for the webhooks of Link, which name no Item
	Fields map[string]any
}

// Body is the JSON text of the webhook, indented by two spaces as Plaid's are.
func (w Webhook) Body() []byte {
	all := maps.Clone(w.Fields)
	if all == nil {
		all = map[string]any{}
	}
	all["webhook_type"], all["webhook_code"], all["environment"] = w.Type, w.Code, Environment
	if w.ItemID != "" {
		all["item_id"] = w.ItemID
	}
	body, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		panic("plaid sandbox: webhook that is not JSON: " + err.Error())
	}
	return body
}

// Drain returns the webhooks that came up since the last Drain, oldest first.
func (b *Bank) Drain() []Webhook {
	out := b.outbox
	b.outbox = nil
	return out
}

// emit queues a webhook of an Item that has somewhere to send it.
func (b *Bank) emit(it *item, kind, code string, fields map[string]any) {
	if it.webhook == "" {
		return
	}
	it.hookAt, it.hookCode = b.now(), code
	b.dirty.Touch(it)
	b.outbox = append(b.outbox, Webhook{it.webhook, kind, code, it.id, fields})
}

// emitLink queues a webhook of a link session; only Hosted Link sends them.
func (b *Bank) emitLink(l *link, code string, fields map[string]any) {
	if l.request.Webhook == "" || l.request.Hosted == nil {
		return
	}
	fields["link_token"] = l.token
	b.outbox = append(b.outbox, Webhook{URL: l.request.Webhook, Type: "LINK", Code: code, Fields: fields})
}

// fireable are the codes that /sandbox/item/fire_webhook knows, with their types.
var fireable = map[string]string{
	"DEFAULT_UPDATE": "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE": "TRANSACTIONS", "RECURRING_TRANSACTIONS_UPDATE": "TRANSACTIONS",
	"NEW_ACCOUNTS_AVAILABLE": "ITEM", "USER_PERMISSION_REVOKED": "ITEM", "USER_ACCOUNT_REVOKED": "ITEM",
	"PENDING_DISCONNECT": "ITEM", "LOGIN_REPAIRED": "ITEM", "ERROR": "ITEM",
	"SMS_MICRODEPOSITS_VERIFICATION": "AUTH", "AUTHORIZATION_GRANTED": "", "PRODUCT_READY": "",
}

// FireWebhook answers /sandbox/item/fire_webhook: the webhook is sent, nothing else changes.
func (b *Bank) FireWebhook(accessToken, kind, code string) error {
	it, err := b.find(accessToken)
	if err != nil {
		return err
	}
	its, ok := fireable[code]
	switch {
	case !ok:
		return invalidField("webhook_code must be one that the sandbox can fire")
	case its == "" || its == "AUTH":
		return refuse("SANDBOX_PRODUCT_NOT_ENABLED")
	case kind != "" && kind != its:
		return invalidField("webhook_type does not belong to webhook_code")
	case it.webhook == "":
		return refuse("SANDBOX_WEBHOOK_INVALID")
	}
	b.emit(it, its, code, b.sample(it, code))
	return nil
}

func (b *Bank) sample(it *item, code string) map[string]any {
	first := ""
	if list := it.show(); len(list) > 0 {
		first = list[0].AccountID
	}
	switch code {
	case "DEFAULT_UPDATE":
		return map[string]any{"error": nil, "new_transactions": 0}
	case "SYNC_UPDATES_AVAILABLE":
		return map[string]any{"initial_update_complete": it.status != NotReady, "historical_update_complete": it.status == Historical}
	case "RECURRING_TRANSACTIONS_UPDATE":
		return map[string]any{"account_ids": []string{first}}
	case "USER_ACCOUNT_REVOKED":
		return map[string]any{"account_id": first, "error": nil}
	case "USER_PERMISSION_REVOKED":
		return map[string]any{"error": refuse("USER_PERMISSION_REVOKED").inWebhook()}
	case "PENDING_DISCONNECT":
		return map[string]any{"reason": "INSTITUTION_MIGRATION", "disconnect_time": b.now().Add(consentWarning).Format("2006-01-02T15:04:05.000Z07:00")}
	case "ERROR":
		return map[string]any{"error": refuse("ITEM_LOGIN_REQUIRED").inWebhook()}
	case "NEW_ACCOUNTS_AVAILABLE":
		return map[string]any{"error": nil}
	}
	return nil
}
