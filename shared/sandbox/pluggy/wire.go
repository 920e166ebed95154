package pluggy

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/shopspring/decimal"
)

// amount writes a decimal as a JSON number, digit by digit, never through a float.
type amount struct{ decimal.Decimal }

// MarshalJSON writes the plain decimal notation.
func (a amount) MarshalJSON() ([]byte, error) { return []byte(a.String()), nil }

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func timeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format(wireTime)
	return &s
}

// page is the envelope of all lists but /v2/transactions.
func pageJSON[T any](results []T) map[string]any {
	return map[string]any{"page": 1, "total": len(results), "totalPages": (len(results) + pageSize - 1) / pageSize, "results": results}
}

func (b *Bank) connectorJSON(c *Connector, base string, details bool) map[string]any {
	health := map[string]any{"status": b.Health(c.ID), "stage": nil}
	if details {
		health["details"] = map[string]any{"connectionRateLast6Hours": map[string]string{Online: "99.2", Unstable: "61.5", Offline: "0"}[b.Health(c.ID)], "connectionsLast6Hours": 120}
	}
	return map[string]any{
		"id": c.ID, "name": c.Name, "primaryColor": c.Colour, "institutionUrl": c.URL, "country": "BR", "type": c.Type,
		"credentials": c.Credentials, "imageUrl": fmt.Sprintf("%s/assets/connector-icons/%d.svg", base, c.ID), "hasMFA": c.MFA,
		"oauth": c.OAuth, "health": health, "products": c.Products, "createdAt": "2023-09-01T18:05:09.145Z",
		"updatedAt": "2024-07-16T15:34:08.028Z", "isSandbox": c.Sandbox, "isOpenFinance": c.OpenFinance,
		"supportsPaymentInitiation": false, "supportsScheduledPayments": false, "supportsSmartTransfers": false,
		"supportsBoletoManagement": false, "supportsAutomaticPix": false,
	}
}

func (b *Bank) itemJSON(it *item, base string) map[string]any {
	return map[string]any{
		"id": it.id, "connector": b.connectorJSON(it.connector, base, false), "createdAt": timeOrNull(it.created),
		"updatedAt": timeOrNull(it.updated), "status": it.status, "executionStatus": it.execution,
		"lastUpdatedAt": timeOrNull(it.lastUpdated), "webhookUrl": nullable(it.options.WebhookURL), "error": it.err,
		"clientUserId": nullable(it.options.ClientUserID), "consecutiveFailedLoginAttempts": it.failedLogins,
		"statusDetail": it.detail(), "parameter": it.parameter.json(), "userAction": it.action(base), "nextAutoSyncAt": timeOrNull(it.nextSync),
		"autoSyncDisabledAt": timeOrNull(it.syncDisabled), "consentExpiresAt": timeOrNull(it.consent.Expires), "products": it.products,
		"oauthRedirectUri": nullable(it.options.OAuthRedirectURI), "resourcesCollectedAt": nil,
	}
}

func (p *Parameter) json() any {
	if p == nil {
		return nil
	}
	out := map[string]any{"name": p.Name, "label": p.Label, "type": p.Type, "expiresAt": timeOrNull(p.ExpiresAt)}
	for name, v := range map[string]string{"placeholder": p.Placeholder, "instructions": p.Instructions, "data": p.Data} {
		if v != "" {
			out[name] = v
		}
	}
	if len(p.Options) > 0 {
		out["options"] = p.Options
	}
	return out
}

// action is where the user has to go: the bank's own page.
func (it *item) action(base string) any {
	if it.status != WaitingAction {
		return nil
	}
	return map[string]any{
		"type": "authorize-access", "instructions": "Autorize o acesso no site do seu banco.",
		"attributes": map[string]any{"url": base + "/bank/" + it.id}, "expiresAt": timeOrNull(it.deadline),
	}
}

// detail is statusDetail: null unless a part failed or has a warning.
func (it *item) detail() any {
	if it.status != Updated {
		return nil
	}
	well := map[string]any{"isUpdated": true, "lastUpdatedAt": timeOrNull(it.lastUpdated), "warnings": []any{}}
	out := map[string]any{
		"accounts": well, "creditCards": well, "transactions": well, "investments": nil, "investmentsTransactions": nil, "identity": well,
		"paymentData": well, "loans": nil, "accountStatements": nil,
	}
	warning := func(code, message string) []any {
		return []any{map[string]any{"code": code, "message": message, "providerMessage": nil}}
	}
	switch kind(it.parameters["user"]) {
	case "user-ok-account-error":
		out["creditCards"] = map[string]any{"isUpdated": false, "lastUpdatedAt": nil, "warnings": warning("001", "Credit cards could not be collected")}
	case "user-ok-account-warning":
		out["accounts"] = map[string]any{"isUpdated": true, "lastUpdatedAt": timeOrNull(it.lastUpdated), "warnings": warning("423", "Open Finance monthly rate limit reached on product ACCOUNTS")}
	default:
		return nil
	}
	return out
}

// accountJSON is an account; a connect token sees less of it.
func accountJSON(a Account, reduced bool) map[string]any {
	out := map[string]any{
		"id": a.ID, "itemId": a.ItemID, "type": a.Type, "subtype": a.Subtype, "number": a.Number, "name": a.Name,
		"marketingName": nullable(a.MarketingName), "balance": amount{a.Balance}, "currencyCode": a.Currency,
	}
	if reduced {
		return out
	}
	maps.Copy(out, map[string]any{
		"owner": nullable(a.Owner), "taxNumber": nullable(a.TaxNumber), "bankData": a.bankData(), "creditData": a.creditData(),
		"createdAt": timeOrNull(a.Created), "updatedAt": timeOrNull(a.Updated),
	})
	return out
}

func (a Account) bankData() any {
	if a.Type != BankAccount {
		return nil
	}
	return map[string]any{
		"transferNumber": "341/" + a.Number, "closingBalance": amount{a.Balance}, "automaticallyInvestedBalance": nil,
		"overdraftContractedLimit": nil, "overdraftUsedLimit": nil, "unarrangedOverdraftAmount": nil, "hasReservedBalance": false,
		"reservedBalances": []any{},
	}
}

func (a Account) creditData() any {
	if a.Type != CardAccount {
		return nil
	}
	return map[string]any{
		"level": nullable(a.Level), "brand": nullable(a.Brand), "brandAdditionalInfo": nil, "balanceCloseDate": nil,
		"balanceDueDate": a.Updated.Format(time.DateOnly), "availableCreditLimit": amount{a.Limit.Sub(a.Balance.Abs())},
		"balanceForeignCurrency": nil, "minimumPayment": nil, "creditLimit": amount{a.Limit}, "isLimitFlexible": false, "status": "ACTIVE",
		"holderType": "MAIN", "disaggregatedCreditLimits": []any{}, "additionalCards": []any{},
	}
}

func transactionJSON(t Transaction) map[string]any {
	out := map[string]any{}
	for name, v := range t.Extra {
		out[name] = v
	}
	status := "POSTED"
	if t.Pending {
		status = "PENDING"
	}
	var raw *string
	if !t.NoRaw {
		raw = &t.Description
	}
	maps.Copy(out, map[string]any{
		"id": t.ID, "description": t.Description, "descriptionRaw": raw, "currencyCode": t.Currency, "amount": amount{t.Signed},
		"amountInAccountCurrency": t.converted(), "date": t.Date, "type": t.Type, "balance": nil, "providerCode": nil,
		"providerId": nullable(t.ProviderID), "status": status, "category": nullable(categoryName(t.CategoryID)),
		"categoryId": nullable(t.CategoryID), "paymentData": t.Payment, "creditCardMetadata": t.cardJSON(), "merchant": t.Merchant,
		"operationType": nullable(t.OperationType), "operationTypeAdditionalInfo": nil, "accountId": t.AccountID, "order": t.Order,
		"createdAt": timeOrNull(t.Created), "updatedAt": timeOrNull(t.Updated),
	})
	return out
}

// converted is amountInAccountCurrency: null unless the currency is another one; its sign is that of the amount.
func (t Transaction) converted() *amount {
	if t.InAccount == nil {
		return nil
	}
	v := *t.InAccount
	if t.Signed.IsNegative() {
		v = v.Neg()
	}
	return &amount{v}
}

// cardJSON shows a total as a number.
func (t Transaction) cardJSON() any {
	if t.Card == nil {
		return nil
	}
	if t.Card.Total == nil {
		return t.Card
	}
	return struct {
		CardData
		Total amount `json:"totalAmount"`
	}{*t.Card, amount{*t.Card.Total}}
}

func transactionsJSON(list []Transaction) []map[string]any {
	out := make([]map[string]any, 0, len(list))
	for _, t := range list {
		out = append(out, transactionJSON(t))
	}
	return out
}

// localTime is how bills write times: without a zone.
const localTime = "2006-01-02T15:04:05"

func billJSON(bill Bill) map[string]any {
	charges, payments := []any{}, []any{}
	for _, t := range bill.Charges {
		charges = append(charges, map[string]any{
			"id": t.ID, "type": t.Card.FeeType, "amount": amount{t.Amount}, "currencyCode": t.Currency, "additionalInfo": nil,
		})
	}
	for _, t := range bill.Payments {
		payments = append(payments, map[string]any{
			"id": t.ID, "valueType": "FULL", "paymentDate": t.Date, "paymentMode": "PIX", "amount": amount{t.Amount}, "currencyCode": t.Currency,
		})
	}
	return map[string]any{
		"id": bill.ID, "dueDate": bill.Due.Format(wireTime), "billClosingDate": bill.Closing.Format(localTime), "totalAmount": amount{bill.Total},
		"totalAmountCurrencyCode": bill.Currency, "minimumPaymentAmount": nil, "allowsInstallments": false, "financeCharges": charges,
		"payments": payments,
	}
}

func (it *item) consentJSON() map[string]any {
	owner := it.id
	if it.connector.ID == meuPluggy {
		owner = derivedID("meu/" + it.id)
	}
	return map[string]any{
		"id": it.consent.ID, "itemId": owner, "products": it.products,
		"openFinancePermissionsGranted": []string{"ACCOUNTS_READ", "ACCOUNTS_TRANSACTIONS_READ", "CREDIT_CARDS_ACCOUNTS_READ", "CREDIT_CARDS_ACCOUNTS_TRANSACTIONS_READ"},
		"createdAt":                     timeOrNull(it.consent.Created), "expiresAt": timeOrNull(it.consent.Expires), "revokedAt": timeOrNull(it.consent.Revoked),
	}
}

// body is what a webhook says. links is the address of the API.
func (e Event) body(links string) ([]byte, error) {
	all := maps.Clone(e.Fields)
	if all == nil {
		all = map[string]any{}
	}
	all["event"], all["eventId"] = e.Name, e.ID
	if e.ItemID != "" {
		all["itemId"] = e.ItemID
	}
	if e.Name == "transactions/created" {
		query := fmt.Sprintf("transactions?accountId=%s&createdAtFrom=%s", all["accountId"], all["transactionsCreatedAtFrom"])
		all["createdTransactionsLink"], all["createdTransactionsLinkV2"] = links+"/"+query, links+"/v2/"+query
	}
	return json.Marshal(all)
}

// category is one of /categories.
type category struct{ id, name, translated, parent string }

// categories are those that the sandbox's rows have, with their parents; Pluggy has some 130.
var categories = []category{
	{"01000000", "Income", "Renda", ""},
	{"01010000", "Salary", "Salário", "01000000"},
	{"03000000", "Investments", "Investimentos", ""},
	{"05000000", "Transfers", "Transferências", ""},
	{"05070000", "Transfer - PIX", "Transferência - PIX", "05000000"},
	{"08000000", "Shopping", "Compras", ""},
	{"09000000", "Digital services", "Serviços digitais", ""},
	{"09020000", "Video streaming", "Streaming de vídeo", "09000000"},
	{"10000000", "Groceries", "Supermercado", ""},
	{"11000000", "Food and drinks", "Alimentos e bebidas", ""},
	{"15000000", "Transportation", "Transporte", ""},
	{"15010000", "Taxi and ride-hailing", "Táxi e transporte privado urbano", "15000000"},
	{"16000000", "Bank fees", "Taxas bancárias", ""},
	{"17000000", "Housing", "Moradia", ""},
	{"17010000", "Rent", "Aluguel", "17000000"},
	{"17020000", "Utilities", "Serviços públicos", "17000000"},
}

func categoryName(id string) string {
	for _, c := range categories {
		if c.id == id {
			return c.name
		}
	}
	return ""
}

func (c category) json() map[string]any {
	return map[string]any{
		"id": c.id, "description": c.name, "descriptionTranslated": c.translated, "parentId": nullable(c.parent),
		"parentDescription": nullable(categoryName(c.parent)),
	}
}
