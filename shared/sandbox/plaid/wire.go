package plaid

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// amount writes a decimal as a JSON number, digit by digit, never through a float.
type amount struct{ decimal.Decimal }

// MarshalJSON writes the plain decimal notation.
func (a amount) MarshalJSON() ([]byte, error) { return []byte(a.String()), nil }

func amountOrNull(d *decimal.Decimal) *amount {
	if d == nil {
		return nil
	}
	return &amount{*d}
}

func timeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format(time.RFC3339)
	return &s
}

type balancesJSON struct {
	Available  *amount `json:"available"`
	Current    *amount `json:"current"`
	Limit      *amount `json:"limit"`
	Currency   *string `json:"iso_currency_code"`
	Unofficial *string `json:"unofficial_currency_code"`
}

type accountJSON struct {
	ID           string       `json:"account_id"`
	Balances     balancesJSON `json:"balances"`
	Mask         *string      `json:"mask"`
	Name         string       `json:"name"`
	OfficialName *string      `json:"official_name"`
	Type         string       `json:"type"`
	Subtype      *string      `json:"subtype"`
	PersistentID string       `json:"persistent_account_id,omitempty"`
	Holder       string       `json:"holder_category"`
}

func accountsJSON(list []Account) []accountJSON {
	out := make([]accountJSON, 0, len(list))
	for _, a := range list {
		bal := a.Balances
		out = append(out, accountJSON{
			ID: a.AccountID, Mask: nullable(a.Mask), Name: a.Name, OfficialName: nullable(a.OfficialName), Type: a.Type,
			Subtype: nullable(a.Subtype), PersistentID: a.PersistentID, Holder: "personal",
			Balances: balancesJSON{amountOrNull(bal.Available), &amount{bal.Current}, amountOrNull(bal.Limit), nullable(bal.Currency), nil},
		})
	}
	return out
}

// linkAccountsJSON is the shorter form in which link sessions name accounts.
func linkAccountsJSON(list []Account) []map[string]any {
	out := make([]map[string]any, 0, len(list))
	for _, a := range list {
		out = append(out, map[string]any{
			"id": a.AccountID, "name": a.Name, "mask": nullable(a.Mask), "type": a.Type, "subtype": a.Subtype,
			"verification_status": nil, "class_type": nil,
		})
	}
	return out
}

var (
	noLocation = json.RawMessage(`{"address":null,"city":null,"country":null,"lat":null,"lon":null,"postal_code":null,"region":null,"store_number":null}`)
	noPayment  = json.RawMessage(`{"by_order_of":null,"payee":null,"payer":null,"payment_method":null,"payment_processor":null,"ppd_id":null,"reason":null,"reference_number":null}`)
	null       = json.RawMessage(`null`)
)

type categoryJSON struct {
	Primary    string `json:"primary"`
	Detailed   string `json:"detailed"`
	Confidence string `json:"confidence_level"`
	Version    string `json:"version"`
}

type counterpartyJSON struct {
	Name       string  `json:"name"`
	Type       string  `json:"type"`
	EntityID   *string `json:"entity_id"`
	Website    *string `json:"website"`
	LogoURL    *string `json:"logo_url"`
	Confidence string  `json:"confidence_level"`
}

type transactionJSON struct {
	AccountID            string             `json:"account_id"`
	AccountOwner         *string            `json:"account_owner"`
	Amount               amount             `json:"amount"`
	AuthorizedDate       *string            `json:"authorized_date"`
	AuthorizedDatetime   *string            `json:"authorized_datetime"`
	Category             json.RawMessage    `json:"category"`
	CategoryID           *string            `json:"category_id"`
	CheckNumber          *string            `json:"check_number"`
	Counterparties       []counterpartyJSON `json:"counterparties"`
	Date                 string             `json:"date"`
	Datetime             *string            `json:"datetime"`
	Currency             *string            `json:"iso_currency_code"`
	Location             json.RawMessage    `json:"location"`
	LogoURL              *string            `json:"logo_url"`
	MerchantEntityID     *string            `json:"merchant_entity_id"`
	MerchantName         *string            `json:"merchant_name"`
	Name                 string             `json:"name"`
	OriginalDescription  *string            `json:"original_description"`
	PaymentChannel       string             `json:"payment_channel"`
	PaymentMeta          json.RawMessage    `json:"payment_meta"`
	Pending              bool               `json:"pending"`
	PendingTransactionID *string            `json:"pending_transaction_id"`
	FinanceCategory      *categoryJSON      `json:"personal_finance_category"`
	TransactionCode      *string            `json:"transaction_code"`
	TransactionID        string             `json:"transaction_id"`
	TransactionType      string             `json:"transaction_type"`
	Unofficial           *string            `json:"unofficial_currency_code"`
	Website              *string            `json:"website"`
}

// primaries are the primary categories whose detailed ones begin with them and an underscore.
var primaries = []string{
	"INCOME", "TRANSFER_IN", "TRANSFER_OUT", "LOAN_PAYMENTS", "BANK_FEES", "ENTERTAINMENT", "FOOD_AND_DRINK", "GENERAL_MERCHANDISE",
	"TRANSPORTATION", "TRAVEL", "RENT_AND_UTILITIES",
}

func financeCategory(detailed string) *categoryJSON {
	for _, p := range primaries {
		if strings.HasPrefix(detailed, p+"_") {
			return &categoryJSON{p, detailed, "HIGH", "v2"}
		}
	}
	return nil
}

func transactionsJSON(list []Transaction) []transactionJSON {
	out := make([]transactionJSON, 0, len(list))
	for _, t := range list {
		j := transactionJSON{
			AccountID: t.AccountID, Amount: amount{t.Amount}, AuthorizedDate: nullable(t.AuthorizedDate), Category: null,
			Counterparties: []counterpartyJSON{}, Date: t.Date, Currency: nullable(t.Currency), Location: noLocation,
			MerchantName: nullable(t.MerchantName), Name: t.Name, OriginalDescription: nullable(t.OriginalDescription),
			PaymentChannel: t.Channel, PaymentMeta: noPayment, Pending: t.Pending,
			PendingTransactionID: nullable(t.PendingTransactionID), FinanceCategory: financeCategory(t.Category),
			TransactionID: t.TransactionID, TransactionType: "unresolved",
		}
		if t.MerchantName != "" {
			j.Counterparties = append(j.Counterparties, counterpartyJSON{Name: t.MerchantName, Type: "merchant", Confidence: "HIGH"})
		}
		out = append(out, j)
	}
	return out
}

func pageJSON(p Page) map[string]any {
	removed := p.Removed
	if removed == nil {
		removed = []Removed{}
	}
	return map[string]any{
		"added": transactionsJSON(p.Added), "modified": transactionsJSON(p.Modified), "removed": removed,
		"accounts": accountsJSON(p.Accounts), "next_cursor": p.NextCursor, "has_more": p.HasMore,
		"transactions_update_status": p.Status,
	}
}

func itemJSON(it Item) map[string]any {
	return map[string]any{
		"item_id": it.ID, "institution_id": it.Institution, "institution_name": it.InstitutionName, "webhook": nullable(it.Webhook),
		"error": it.Error.body(), "available_products": []string{"balance"}, "billed_products": it.Products, "products": it.Products,
		"consented_products": it.Consented, "consent_expiration_time": timeOrNull(it.ConsentExpires), "update_type": "background",
		"created_at": timeOrNull(it.Created), "auth_method": nil,
	}
}

func statusJSON(it Item) map[string]any {
	status := map[string]any{
		"transactions": map[string]any{"last_successful_update": timeOrNull(it.LastUpdate), "last_failed_update": timeOrNull(it.LastFailed)},
		"last_webhook": nil,
	}
	if it.HookCode != "" {
		status["last_webhook"] = map[string]any{"sent_at": timeOrNull(it.HookAt), "code_sent": it.HookCode}
	}
	return status
}

func institutionJSON(i *Institution, metadata bool) map[string]any {
	routing := []string{}
	if i.Countries[0] == "US" && !i.own {
		h := fnv.New32a()
		h.Write([]byte(i.ID))
		routing = append(routing, fmt.Sprintf("%09d", h.Sum32()%1_000_000_000))
	}
	out := map[string]any{
		"institution_id": i.ID, "name": i.Name, "products": i.Products, "country_codes": i.Countries, "oauth": i.OAuth,
		"routing_numbers": routing, "dtc_numbers": []string{}, "url": nil, "primary_color": nil, "logo": nil,
	}
	if metadata {
		out["url"], out["primary_color"], out["logo"] = i.URL, i.Colour, i.Logo()
	}
	return out
}

func institutionsJSON(list []*Institution, metadata bool) []map[string]any {
	out := make([]map[string]any, 0, len(list))
	for _, i := range list {
		out = append(out, institutionJSON(i, metadata))
	}
	return out
}

func sessionJSON(s SessionView) map[string]any {
	out := map[string]any{
		"link_session_id": s.ID, "started_at": timeOrNull(s.Started), "finished_at": timeOrNull(s.Finished), "events": s.events,
		"on_success": nil, "on_exit": nil, "exit": nil, "results": nil,
	}
	var bank map[string]any
	if s.Institution != nil {
		bank = map[string]any{"institution_id": s.Institution.ID, "name": s.Institution.Name}
	}
	switch {
	case s.PublicToken != "":
		accounts := linkAccountsJSON(s.Accounts)
		out["on_success"] = map[string]any{
			"public_token": s.PublicToken,
			"metadata":     map[string]any{"institution": bank, "accounts": accounts, "link_session_id": s.ID},
		}
		added := []map[string]any{}
		if !s.Update {
			added = append(added, map[string]any{"public_token": s.PublicToken, "accounts": accounts, "institution": bank})
		}
		out["results"] = map[string]any{"item_add_results": added}
	case !s.Finished.IsZero():
		exit := map[string]any{
			"error":    s.Error.body(),
			"metadata": map[string]any{"institution": bank, "status": s.Exit, "link_session_id": s.ID, "request_id": s.ID},
		}
		out["on_exit"], out["exit"] = exit, exit
	}
	return out
}

func linkJSON(v LinkView) map[string]any {
	sessions := make([]map[string]any, 0, len(v.Sessions))
	for _, s := range v.Sessions {
		sessions = append(sessions, sessionJSON(s))
	}
	products := v.Request.Products
	if products == nil {
		products = []string{}
	}
	metadata := map[string]any{
		"initial_products": products, "webhook": nullable(v.Request.Webhook), "country_codes": v.Request.CountryCodes,
		"language": v.Request.Language, "redirect_uri": nullable(v.Request.RedirectURI), "client_name": v.Request.ClientName,
	}
	if len(v.Request.AccountFilters) > 0 {
		metadata["account_filters"] = v.Request.AccountFilters
	}
	return map[string]any{
		"link_token": v.Token, "created_at": timeOrNull(v.Created), "expiration": timeOrNull(v.Expires), "link_sessions": sessions,
		"metadata": metadata,
	}
}
