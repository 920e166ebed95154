package plaid

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	plaidgo "github.com/plaid/plaid-go/v20/plaid"
)

// official is Plaid's own Go client, pointed at the sandbox.
func (r *rig) official() *plaidgo.PlaidApiService {
	cfg := plaidgo.NewConfiguration()
	cfg.AddDefaultHeader("PLAID-CLIENT-ID", testClient)
	cfg.AddDefaultHeader("PLAID-SECRET", testSecret)
	cfg.UseEnvironment(plaidgo.Environment(r.url))
	return plaidgo.NewAPIClient(cfg).PlaidApi
}

func must[T any](t *testing.T) func(T, any, error) T {
	return func(v T, _ any, err error) T {
		t.Helper()
		if err != nil {
			var api plaidgo.GenericOpenAPIError
			if errors.As(err, &api) {
				t.Fatalf("%v: %s", err, api.Body())
			}
			t.Fatal(err)
		}
		return v
	}
}

func (r *rig) linkToken(t *testing.T, change func(*plaidgo.LinkTokenCreateRequest)) plaidgo.LinkTokenCreateResponse {
	t.Helper()
	req := plaidgo.NewLinkTokenCreateRequest("Portal", "en", []plaidgo.CountryCode{plaidgo.COUNTRYCODE_US}, plaidgo.LinkTokenCreateRequestUser{ClientUserId: "u-1"})
	req.SetProducts([]plaidgo.Products{plaidgo.PRODUCTS_TRANSACTIONS})
	req.SetTransactions(plaidgo.LinkTokenTransactions{DaysRequested: plaidgo.PtrInt32(730)})
	req.SetWebhook(r.URL)
	req.SetHostedLink(plaidgo.LinkTokenCreateHostedLink{CompletionRedirectUri: plaidgo.PtrString("https://portal.example/connect/complete")})
	if change != nil {
		change(req)
	}
	return must[plaidgo.LinkTokenCreateResponse](t)(r.official().LinkTokenCreate(t.Context()).LinkTokenCreateRequest(*req).Execute())
}

// verify holds a webhook to Plaid's recipe with the official client's key.
func (r *rig) verify(t *testing.T, in received) error {
	t.Helper()
	_, err := jwt.Parse(in.Header.Get("Plaid-Verification"), func(token *jwt.Token) (any, error) {
		kid, _ := token.Header["kid"].(string)
		resp, _, err := r.official().WebhookVerificationKeyGet(t.Context()).
			WebhookVerificationKeyGetRequest(*plaidgo.NewWebhookVerificationKeyGetRequest(kid)).Execute()
		if err != nil {
			return nil, err
		}
		key := resp.GetKey()
		x, errX := base64.RawURLEncoding.DecodeString(key.GetX())
		y, errY := base64.RawURLEncoding.DecodeString(key.GetY())
		if err := errors.Join(errX, errY); err != nil {
			return nil, err
		}
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	}, jwt.WithValidMethods([]string{"ES256"}))
	if err != nil {
		return err
	}
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(in.Header.Get("Plaid-Verification"), claims); err != nil {
		return err
	}
	issued, err := claims.GetIssuedAt()
	if err != nil || issued == nil || time.Since(issued.Time) > 5*time.Minute {
		return errors.New("stale")
	}
	sum := sha256.Sum256(in.Body)
	if claims["request_body_sha256"] != hex.EncodeToString(sum[:]) {
		return errors.New("another body")
	}
	return nil
}

func (r *rig) syncAll(ctx context.Context, t *testing.T, access, cursor string) (added, modified []plaidgo.Transaction, removed []string, next string) {
	t.Helper()
	for {
		req := plaidgo.TransactionsSyncRequest{AccessToken: access, Cursor: &cursor, Count: plaidgo.PtrInt32(500)}
		original := plaidgo.NullableBool{}
		original.Set(plaidgo.PtrBool(true))
		req.Options = &plaidgo.TransactionsSyncRequestOptions{IncludeOriginalDescription: original}
		p := must[plaidgo.TransactionsSyncResponse](t)(r.official().TransactionsSync(ctx).TransactionsSyncRequest(req).Execute())
		added, modified = append(added, p.Added...), append(modified, p.Modified...)
		for _, x := range p.Removed {
			removed = append(removed, x.GetTransactionId())
		}
		cursor = p.NextCursor
		if !p.HasMore {
			return added, modified, removed, cursor
		}
	}
}

func (r *rig) itemByExchange(t *testing.T, public string) (access, item string) {
	t.Helper()
	x := must[plaidgo.ItemPublicTokenExchangeResponse](t)(r.official().ItemPublicTokenExchange(t.Context()).
		ItemPublicTokenExchangeRequest(*plaidgo.NewItemPublicTokenExchangeRequest(public)).Execute())
	return x.AccessToken, x.ItemId
}

func (r *rig) visit(t *testing.T, hosted, institution string) {
	t.Helper()
	to, err := Visit(t.Context(), http.DefaultClient, hosted, institution, "user_good", "pass_good")
	if err != nil || to != "https://portal.example/connect/complete" {
		t.Fatalf("the page led to %q: %v", to, err)
	}
}

func TestTheOfficialClientLivesAnItemsWholeLife(t *testing.T) {
	r := newRig(t, Options{}, false)
	api := r.official()

	token := r.linkToken(t, nil)
	r.visit(t, token.GetHostedLinkUrl(), "ins_109508")
	done := r.Next(t, "SESSION_FINISHED")
	if err := r.verify(t, done); err != nil {
		t.Fatalf("webhook does not verify: %v", err)
	}
	public := done.Fields["public_tokens"].([]any)[0].(string)
	got := must[plaidgo.LinkTokenGetResponse](t)(api.LinkTokenGet(t.Context()).LinkTokenGetRequest(*plaidgo.NewLinkTokenGetRequest(token.LinkToken)).Execute())
	if s := got.GetLinkSessions()[0]; s.OnSuccess.Get().PublicToken != public || s.AdditionalProperties["results"] == nil {
		t.Fatalf("the session does not hold the public token of the webhook: %+v", s)
	}
	access, item := r.itemByExchange(t, public)

	added, _, _, cursor := r.syncAll(t.Context(), t, access, "")
	if len(added) < 500 {
		t.Fatalf("two years brought only %d transactions", len(added))
	}
	for _, a := range added {
		if a.OriginalDescription.Get() == nil || *a.OriginalDescription.Get() == "" {
			t.Fatal("a transaction has no original description")
		}
	}
	accounts := must[plaidgo.AccountsGetResponse](t)(api.AccountsGet(t.Context()).AccountsGetRequest(*plaidgo.NewAccountsGetRequest(access)).Execute())
	checking := accounts.Accounts[0]
	if len(accounts.Accounts) != 9 || *checking.Mask.Get() != "0000" || *checking.Balances.Current.Get() != 110 {
		t.Fatalf("not the Sandbox's accounts: %+v", accounts.Accounts)
	}

	r.movesAtTheBank(t, access, item, checking.AccountId, cursor)
	r.repairInUpdateMode(t, access, item)
	r.rotateAndRemove(t, access)
}

func (r *rig) movesAtTheBank(t *testing.T, access, item, account, cursor string) {
	t.Helper()
	_, out := r.post(t, "/_sim/transactions", `{"account":"`+account+`","transactions":[{"amount":"12.30","description":"COFFEE","pending":true}]}`)
	row := out["rows"].([]any)[0].(string)
	if in := r.Next(t, "SYNC_UPDATES_AVAILABLE"); in.Fields["item_id"] != item {
		t.Fatalf("webhook of another item: %v", in.Fields)
	}
	added, _, _, cursor := r.syncAll(t.Context(), t, access, cursor)
	if len(added) != 1 || !added[0].Pending || added[0].Amount != 12.3 {
		t.Fatalf("added %+v", added)
	}
	r.post(t, "/_sim/transactions/settle", `{"id":"`+row+`","amount":"14.00"}`)
	r.Next(t, "SYNC_UPDATES_AVAILABLE")
	settled, _, removed, _ := r.syncAll(t.Context(), t, access, cursor)
	if len(settled) != 1 || len(removed) != 1 || removed[0] != added[0].TransactionId || *settled[0].PendingTransactionId.Get() != removed[0] {
		t.Fatalf("settled %+v, removed %v", settled, removed)
	}
}

func (r *rig) repairInUpdateMode(t *testing.T, access, item string) {
	t.Helper()
	api := r.official()
	must[plaidgo.SandboxItemResetLoginResponse](t)(api.SandboxItemResetLogin(t.Context()).
		SandboxItemResetLoginRequest(*plaidgo.NewSandboxItemResetLoginRequest(access)).Execute())
	r.Next(t, "ERROR")
	_, _, err := api.TransactionsSync(t.Context()).TransactionsSyncRequest(plaidgo.TransactionsSyncRequest{AccessToken: access}).Execute()
	if refused, e := plaidgo.ToPlaidError(err); e != nil || refused.ErrorCode != "ITEM_LOGIN_REQUIRED" {
		t.Fatalf("sync of a broken item: %v", err)
	}
	token := r.linkToken(t, func(req *plaidgo.LinkTokenCreateRequest) {
		req.Products, req.Transactions, req.Webhook = nil, nil, plaidgo.PtrString(r.URL)
		req.SetAccessToken(access)
	})
	r.visit(t, token.GetHostedLinkUrl(), "")
	if in := r.Next(t, "SESSION_FINISHED", "ITEM_ADD_RESULT"); in.Name != "SESSION_FINISHED" {
		t.Fatal("update mode says that it added an item")
	}
	got := must[plaidgo.ItemGetResponse](t)(api.ItemGet(t.Context()).ItemGetRequest(*plaidgo.NewItemGetRequest(access)).Execute())
	if got.Item.Error.Get() != nil || got.Item.ItemId != item {
		t.Fatalf("update mode left %+v", got.Item)
	}
}

func (r *rig) rotateAndRemove(t *testing.T, access string) {
	t.Helper()
	api := r.official()
	fresh := must[plaidgo.ItemAccessTokenInvalidateResponse](t)(api.ItemAccessTokenInvalidate(t.Context()).
		ItemAccessTokenInvalidateRequest(*plaidgo.NewItemAccessTokenInvalidateRequest(access)).Execute()).NewAccessToken
	remove := func(token string) error {
		_, _, err := api.ItemRemove(t.Context()).ItemRemoveRequest(*plaidgo.NewItemRemoveRequest(token)).Execute()
		return err
	}
	for _, step := range []struct{ token, code string }{{access, "INVALID_ACCESS_TOKEN"}, {fresh, ""}, {fresh, "ITEM_NOT_FOUND"}} {
		err := remove(step.token)
		if step.code == "" && err == nil {
			continue
		}
		if refused, e := plaidgo.ToPlaidError(err); e != nil || refused.ErrorCode != step.code {
			t.Fatalf("remove: %v, want %q", err, step.code)
		}
	}
}
