package plaid

import (
	"net/http"
	"time"

	"github.com/shopspring/decimal"
)

func (s *Server) routes() {
	s.linkRoutes()
	s.itemRoutes()
	s.institutionRoutes()
	s.sandboxRoutes()
	s.pageRoutes()
	s.controlRoutes()
	s.core.Mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { s.answer(w, nil, refuse("NOT_FOUND")) })
}

type withAccess struct {
	AccessToken string `json:"access_token"`
}

func (s *Server) linkRoutes() {
	endpoint(s, "/link/token/create", "client_name language country_codes user", func(c call, in LinkRequest) (map[string]any, error) {
		l, err := s.bank.CreateLinkToken(c.client, in)
		if err != nil {
			return nil, err
		}
		out := map[string]any{"link_token": l.Token, "expiration": timeOrNull(l.Expires)}
		if l.HostedID != "" {
			out["hosted_link_url"] = c.base + "/link/" + l.HostedID
		}
		return out, nil
	})
	type get struct {
		LinkToken string `json:"link_token"`
	}
	endpoint(s, "/link/token/get", "link_token", func(_ call, in get) (map[string]any, error) {
		v, err := s.bank.LinkTokenGet(in.LinkToken)
		if err != nil {
			return nil, err
		}
		return linkJSON(v), nil
	})
	type exchange struct {
		PublicToken string `json:"public_token"`
	}
	endpoint(s, "/item/public_token/exchange", "public_token", func(_ call, in exchange) (map[string]any, error) {
		access, item, err := s.bank.Exchange(in.PublicToken)
		if err != nil {
			return nil, err
		}
		return map[string]any{"access_token": access, "item_id": item}, nil
	})
	type key struct {
		KeyID string `json:"key_id"`
	}
	endpoint(s, "/webhook_verification_key/get", "key_id", func(_ call, in key) (map[string]any, error) {
		k := s.hooks.key(in.KeyID)
		if k == nil {
			return nil, refuse("INVALID_WEBHOOK_VERIFICATION_KEY_ID")
		}
		jwk, err := k.public()
		return map[string]any{"key": jwk}, err
	})
}

func (s *Server) itemRoutes() {
	endpoint(s, "/item/get", "access_token", func(_ call, in withAccess) (map[string]any, error) {
		it, err := s.bank.Item(in.AccessToken)
		if err != nil {
			return nil, err
		}
		return map[string]any{"item": itemJSON(it), "status": statusJSON(it)}, nil
	})
	type remove struct {
		AccessToken string `json:"access_token"`
		ReasonCode  string `json:"reason_code"`
		ReasonNote  string `json:"reason_note"`
	}
	endpoint(s, "/item/remove", "access_token", func(_ call, in remove) (map[string]any, error) {
		return nil, s.bank.RemoveItem(in.AccessToken)
	})
	type webhook struct {
		AccessToken string `json:"access_token"`
		Webhook     string `json:"webhook"`
	}
	endpoint(s, "/item/webhook/update", "access_token", func(_ call, in webhook) (map[string]any, error) {
		it, err := s.bank.UpdateWebhook(in.AccessToken, in.Webhook)
		if err != nil {
			return nil, err
		}
		return map[string]any{"item": itemJSON(it)}, nil
	})
	endpoint(s, "/item/access_token/invalidate", "access_token", func(_ call, in withAccess) (map[string]any, error) {
		fresh, err := s.bank.InvalidateAccessToken(in.AccessToken)
		if err != nil {
			return nil, err
		}
		return map[string]any{"new_access_token": fresh}, nil
	})
	type accounts struct {
		AccessToken string `json:"access_token"`
		Options     struct {
			AccountIDs []string `json:"account_ids"`
		} `json:"options"`
	}
	endpoint(s, "/accounts/get", "access_token", func(_ call, in accounts) (map[string]any, error) {
		list, it, err := s.bank.Accounts(in.AccessToken, in.Options.AccountIDs)
		if err != nil {
			return nil, err
		}
		return map[string]any{"accounts": accountsJSON(list), "item": itemJSON(it)}, nil
	})
	endpoint(s, "/transactions/sync", "access_token", s.sync)
	endpoint(s, "/transactions/refresh", "access_token", func(_ call, in withAccess) (map[string]any, error) {
		return nil, s.bank.Refresh(in.AccessToken)
	})
}

type syncRequest struct {
	AccessToken string `json:"access_token"`
	Cursor      string `json:"cursor"`
	Count       *int   `json:"count"`
	Options     struct {
		Original        bool   `json:"include_original_description"`
		Category        bool   `json:"include_personal_finance_category"`  // always given by now
		Counterparties  bool   `json:"include_logo_and_counterparty_beta"` // always given by now
		CategoryVersion string `json:"personal_finance_category_version"`
		Days            *int   `json:"days_requested"`
	} `json:"options"`
}

func (s *Server) sync(_ call, in syncRequest) (map[string]any, error) {
	q := SyncQuery{Cursor: in.Cursor, Original: in.Options.Original}
	if in.Count != nil {
		if q.Count = *in.Count; q.Count == 0 {
			return nil, invalidField("count must be between 1 and %d", maxCount)
		}
	}
	if in.Options.Days != nil {
		if q.Days = *in.Options.Days; q.Days == 0 {
			return nil, invalidField("days_requested must be between 1 and %d", maxDays)
		}
	}
	p, err := s.bank.Sync(in.AccessToken, q)
	if err != nil {
		return nil, err
	}
	return pageJSON(p), nil
}

func (s *Server) institutionRoutes() {
	type options struct {
		Products []string `json:"products"`
		Routing  []string `json:"routing_numbers"` // the sandbox's banks are not found by it
		OAuth    *bool    `json:"oauth"`
		Metadata bool     `json:"include_optional_metadata"`
		Auth     bool     `json:"include_auth_metadata"`               // nothing to tell
		Payments bool     `json:"include_payment_initiation_metadata"` // nothing to tell
		Status   bool     `json:"include_status"`                      // not in the Sandbox
	}
	type get struct {
		Count     int      `json:"count"`
		Offset    int      `json:"offset"`
		Countries []string `json:"country_codes"`
		Options   options  `json:"options"`
	}
	endpoint(s, "/institutions/get", "count offset country_codes", func(_ call, in get) (map[string]any, error) {
		page, total, err := s.bank.Institutions(in.Countries, in.Options.Products, in.Options.OAuth, in.Offset, in.Count)
		if err != nil {
			return nil, err
		}
		return map[string]any{"institutions": institutionsJSON(page, in.Options.Metadata), "total": total}, nil
	})
	type search struct {
		Query     string   `json:"query"`
		Products  []string `json:"products"`
		Countries []string `json:"country_codes"`
		Options   options  `json:"options"`
	}
	endpoint(s, "/institutions/search", "query country_codes", func(_ call, in search) (map[string]any, error) {
		list, err := s.bank.SearchInstitutions(in.Query, in.Countries, in.Products, in.Options.OAuth)
		if err != nil {
			return nil, err
		}
		return map[string]any{"institutions": institutionsJSON(list, in.Options.Metadata)}, nil
	})
	type byID struct {
		ID        string   `json:"institution_id"`
		Countries []string `json:"country_codes"`
		Options   options  `json:"options"`
	}
	endpoint(s, "/institutions/get_by_id", "institution_id country_codes", func(_ call, in byID) (map[string]any, error) {
		i, err := s.bank.InstitutionByID(in.ID, in.Countries)
		if err != nil {
			return nil, err
		}
		return map[string]any{"institution": institutionJSON(i, in.Options.Metadata)}, nil
	})
}

type sandboxTokenRequest struct {
	InstitutionID   string   `json:"institution_id"`
	InitialProducts []string `json:"initial_products"`
	UserToken       string   `json:"user_token"`
	Options         struct {
		Webhook      string `json:"webhook"`
		Username     string `json:"override_username"`
		Password     string `json:"override_password"`
		Transactions struct {
			StartDate string `json:"start_date"`
			EndDate   string `json:"end_date"` // the sandbox's history always ends today
			Days      int    `json:"days_requested"`
		} `json:"transactions"`
	} `json:"options"`
}

func (s *Server) sandboxRoutes() {
	endpoint(s, "/sandbox/public_token/create", "institution_id initial_products", s.sandboxToken)
	type fire struct {
		AccessToken string `json:"access_token"`
		Type        string `json:"webhook_type"`
		Code        string `json:"webhook_code"`
	}
	endpoint(s, "/sandbox/item/fire_webhook", "access_token webhook_code", func(_ call, in fire) (map[string]any, error) {
		if err := s.bank.FireWebhook(in.AccessToken, in.Type, in.Code); err != nil {
			return nil, err
		}
		return map[string]any{"webhook_fired": true}, nil
	})
	endpoint(s, "/sandbox/item/reset_login", "access_token", func(_ call, in withAccess) (map[string]any, error) {
		if err := s.bank.ResetLogin(in.AccessToken); err != nil {
			return nil, err
		}
		return map[string]any{"reset_login": true}, nil
	})
	type create struct {
		AccessToken  string               `json:"access_token"`
		Transactions []SandboxTransaction `json:"transactions"`
	}
	endpoint(s, "/sandbox/transactions/create", "access_token transactions", func(_ call, in create) (map[string]any, error) {
		return nil, s.bank.SandboxTransactions(in.AccessToken, in.Transactions)
	})
}

func (s *Server) sandboxToken(c call, in sandboxTokenRequest) (map[string]any, error) {
	user, password := in.Options.Username, in.Options.Password
	if user == "" {
		user = "user_good"
	}
	if password == "" {
		password = "pass_good"
	}
	days := in.Options.Transactions.Days
	if start := in.Options.Transactions.StartDate; start != "" && days == 0 {
		t, err := time.Parse(time.DateOnly, start)
		if err != nil {
			return nil, invalidField("options.transactions.start_date must be YYYY-MM-DD")
		}
		days = int(s.bank.now().Sub(t) / day)
	}
	switch {
	case days < 0 || days > maxDays:
		return nil, invalidField("options.transactions.days_requested must be between 1 and %d", maxDays)
	case in.Options.Webhook != "" && !webURL(in.Options.Webhook):
		return nil, invalidField("options.webhook must be a valid URL")
	}
	token, err := s.bank.SandboxPublicToken(c.client, in.InstitutionID, user, password, LinkRequest{
		Products: in.InitialProducts, Webhook: in.Options.Webhook, Transactions: TransactionOptions{Days: days},
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"public_token": token}, nil
}

// SandboxTransaction is one of /sandbox/transactions/create.
type SandboxTransaction struct {
	Transacted  string          `json:"date_transacted"` // YYYY-MM-DD, today or up to 14 days ago, as is Posted
	Posted      string          `json:"date_posted"`
	Amount      decimal.Decimal `json:"amount"` // positive = out
	Description string          `json:"description"`
	Currency    string          `json:"iso_currency_code"`
}

// SandboxTransactions answers /sandbox/transactions/create: at most ten rows in the first depository account of a
// user_transactions_dynamic.
func (b *Bank) SandboxTransactions(accessToken string, list []SandboxTransaction) error {
	it, err := b.healthy(accessToken)
	if err != nil {
		return err
	}
	if !it.customer.dynamic {
		return invalidField("transactions can only be created for the user user_transactions_dynamic")
	}
	if len(list) < 1 || len(list) > 10 {
		return invalidField("transactions must hold between 1 and 10 transactions")
	}
	rows := make([]Row, len(list))
	for i, t := range list {
		first, last := daysAgo(b.now(), 14), b.today()
		if dateOnly(t.Transacted) != nil || dateOnly(t.Posted) != nil || t.Transacted < first || t.Posted < first || t.Transacted > last || t.Posted > last {
			return invalidField("date_transacted and date_posted must lie between 14 days ago and today")
		}
		if t.Description == "" {
			return invalidField("description must not be empty")
		}
		rows[i] = Row{Date: t.Posted, Authorized: t.Transacted, Amount: t.Amount, Currency: t.Currency, Description: t.Description}
	}
	for _, a := range it.accounts {
		if !a.gone && a.holding.Type == "depository" {
			_, err := b.Add(a.holding.id, rows...)
			return err
		}
	}
	return refuse("NO_ACCOUNTS")
}
