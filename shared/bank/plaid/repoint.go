package plaid

import (
	"context"
	"fmt"

	sdk "github.com/plaid/plaid-go/v20/plaid"

	"github.com/bkper/automations-portal/shared/secret"
)

// Repoint makes Plaid call another webhook about an item, which it calls at once to tell. Items keep the webhook with which
// they were made (https://plaid.com/docs/api/items/#itemwebhookupdate).
func (p *Plaid) Repoint(ctx context.Context, token secret.String, webhook string) error {
	if err := p.ours(token); err != nil {
		return fmt.Errorf("repoint: %w", err)
	}
	request := sdk.ItemWebhookUpdateRequest{AccessToken: token.Reveal(), Webhook: *sdk.NewNullableString(&webhook)}
	_, answer, err := p.api.ItemWebhookUpdate(ctx).ItemWebhookUpdateRequest(request).Execute()
	if err != nil {
		return failure("/item/webhook/update", answer, err)
	}
	return nil
}
