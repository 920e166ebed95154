package pluggy

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// maxIDs is how many ids /v2/transactions takes.
const maxIDs = 500

func (s *Server) routes() {
	s.authRoutes()
	s.connectorRoutes()
	s.itemRoutes()
	s.accountRoutes()
	s.transactionRoutes()
	s.webhookRoutes()
	s.pageRoutes()
	s.controlRoutes()
	s.core.Mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.answer(w, nil, refuse(http.StatusNotFound, "", "Cannot %s %s", r.Method, r.URL.Path))
	})
}

func (s *Server) authRoutes() {
	type credentials struct {
		ClientID     string `json:"clientId"`
		ClientSecret string `json:"clientSecret"`
		NonExpiring  bool   `json:"nonExpiring"` // sent by Pluggy's own SDK; not documented
	}
	endpoint(s, "POST /auth", anybody, "", func(c *call, in credentials) (any, error) {
		known := s.opts.Clients[in.ClientID]
		switch {
		case known.Empty() || !known.Equal(in.ClientSecret):
			return nil, refuse(http.StatusUnauthorized, "CLIENT_KEYS_UNAUTHORIZED", "Client keys are invalid")
		case slices.Contains(s.opts.Disabled, in.ClientID):
			return nil, refuse(http.StatusUnauthorized, "CLIENT_DISABLED", "Client is disabled")
		}
		key, err := s.signer.apiKey(in.ClientID, c.now)
		return map[string]any{"apiKey": key}, err
	})
	type connect struct {
		ItemID  string      `json:"itemId"`
		Options ItemOptions `json:"options"`
	}
	endpoint(s, "POST /connect_token", keyOnly, "", func(c *call, in connect) (any, error) {
		if in.ItemID != "" {
			if _, err := s.bank.item(c.client, in.ItemID); err != nil {
				return nil, err
			}
		}
		if err := s.checkOptions(in.Options); err != nil {
			return nil, err
		}
		token, err := s.signer.connectToken(c.client, connectToken{ID: uuid.NewString(), Item: in.ItemID, Options: in.Options}, c.now)
		return map[string]any{"accessToken": token}, err
	})
}

// checkOptions refuses addresses that Pluggy would not call or return to.
func (s *Server) checkOptions(o ItemOptions) error {
	if o.WebhookURL != "" {
		if err := s.checkHook(o.WebhookURL); err != nil {
			return err
		}
	}
	if u, err := url.Parse(o.OAuthRedirectURI); o.OAuthRedirectURI != "" && (err != nil || u.Host == "" || u.Scheme != "https" && !s.opts.LocalWebhooks) {
		return badRequest("oauthRedirectUri must be an https URL")
	}
	return nil
}

// list reads a parameter with commas in it.
func list(c *call, name string) []string {
	return slices.DeleteFunc(strings.Split(c.query.Get(name), ","), func(s string) bool { return s == "" })
}

// flag reads a parameter that is true or false; nil is not given.
func flag(c *call, name string) (*bool, error) {
	if !c.query.Has(name) {
		return nil, nil
	}
	v, err := strconv.ParseBool(c.query.Get(name))
	if err != nil {
		return nil, badRequest("%s must be a boolean value", name)
	}
	return &v, nil
}

const connectorParameters = "countries types name sandbox healthDetails isOpenFinance supportsPaymentInitiation supportsSmartTransfers supportsAutomaticPix"

func (s *Server) connectorRoutes() {
	endpoint(s, "GET /connectors", both, connectorParameters, func(c *call, _ struct{}) (any, error) {
		flags := map[string]*bool{}
		for _, name := range strings.Fields(connectorParameters)[3:] {
			v, err := flag(c, name)
			if err != nil {
				return nil, err
			}
			flags[name] = v
		}
		set := func(name string) bool { return flags[name] != nil && *flags[name] }
		q := ConnectorQuery{
			Countries: list(c, "countries"), Types: list(c, "types"), Name: c.query.Get("name"), Sandbox: set("sandbox"),
			OpenFinance: flags["isOpenFinance"],
		}
		out := []map[string]any{}
		for _, found := range s.bank.Connectors(q) {
			if !set("supportsPaymentInitiation") && !set("supportsSmartTransfers") && !set("supportsAutomaticPix") {
				out = append(out, s.bank.connectorJSON(found, c.base, set("healthDetails")))
			}
		}
		return pageJSON(out), nil
	})
	endpoint(s, "GET /connectors/{id}", both, "healthDetails", func(c *call, _ struct{}) (any, error) {
		found, err := s.connectorOf(c)
		if err != nil {
			return nil, err
		}
		details, err := flag(c, "healthDetails")
		return s.bank.connectorJSON(found, c.base, details != nil && *details), err
	})
	endpoint(s, "POST /connectors/{id}/validate", both, "", func(c *call, in jsontext.Value) (any, error) {
		found, err := s.connectorOf(c)
		if err != nil {
			return nil, err
		}
		parameters, err := flatParameters(in)
		if err != nil {
			return nil, err
		}
		return map[string]any{"parameters": maps.Clone(parameters), "errors": found.validate(parameters)}, nil
	})
	s.core.Mux.HandleFunc("GET /assets/connector-icons/{file}", s.serveIcon)
}

func (s *Server) connectorOf(c *call) (*Connector, error) {
	id, err := strconv.Atoi(c.PathValue("id"))
	if err != nil {
		return nil, notFound("CONNECTOR", "connector not found")
	}
	return s.bank.connector(id)
}

func (s *Server) serveIcon(w http.ResponseWriter, r *http.Request) {
	name, isSVG := strings.CutSuffix(r.PathValue("file"), ".svg")
	id, err := strconv.Atoi(name)
	s.core.Lock()
	c, unknown := s.bank.connector(id)
	s.core.Unlock()
	if !isSVG || err != nil || unknown != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
	_, _ = w.Write(c.Icon())
}

type itemRequest struct {
	ConnectorID *int           `json:"connectorId"`
	Parameters  jsontext.Value `json:"parameters"`
	Products    []string       `json:"products"`
	ItemOptions
}

// itemOf finds the item of a request; a connect token sees its own only.
func (s *Server) itemOf(c *call) (*item, error) {
	it, err := s.bank.item(c.client, c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return it, c.reaches(it)
}

func (c *call) reaches(it *item) error {
	if c.token != nil && c.token.ID != it.token && c.token.Item != it.id {
		return outOfScope()
	}
	return nil
}

func (s *Server) itemRoutes() {
	endpoint(s, "POST /items", both, "", s.postItem)
	endpoint(s, "GET /items/{id}", both, "", func(c *call, _ struct{}) (any, error) {
		it, err := s.itemOf(c)
		if err != nil {
			return nil, err
		}
		s.bank.tick(it)
		return s.bank.itemJSON(it, c.base), nil
	})
	endpoint(s, "PATCH /items/{id}", both, "", s.patchItem)
	endpoint(s, "DELETE /items/{id}", keyOnly, "", func(c *call, _ struct{}) (any, error) {
		it, err := s.itemOf(c)
		if err != nil {
			return nil, err
		}
		s.bank.removeItem(it)
		return map[string]any{"count": 1}, nil
	})
	endpoint(s, "POST /items/{id}/mfa", both, "", func(c *call, in jsontext.Value) (any, error) {
		it, err := s.itemOf(c)
		if err != nil {
			return nil, err
		}
		answers, err := flatParameters(in)
		if err == nil {
			err = s.bank.answerMFA(it, answers)
		}
		return s.bank.itemJSON(it, c.base), err
	})
	endpoint(s, "PATCH /items/{id}/disable-auto-sync", keyOnly, "", func(c *call, _ struct{}) (any, error) {
		it, err := s.itemOf(c)
		if err != nil {
			return nil, err
		}
		s.bank.disableSync(it)
		return s.bank.itemJSON(it, c.base), nil
	})
	endpoint(s, "GET /v2/items", keyOnly, "clientUserId connectorId after", s.listItemsV2)
}

func (s *Server) postItem(c *call, in itemRequest) (any, error) {
	parameters, err := flatParameters(in.Parameters)
	if err != nil {
		return nil, err
	}
	if in.ConnectorID == nil {
		return nil, badRequest("connectorId should not be null or undefined")
	}
	o, token := in.ItemOptions, ""
	if c.token != nil {
		if c.token.Item != "" {
			return nil, outOfScope()
		}
		token = c.token.ID
		o = s.bank.sealed(c.token.Options, in.ItemOptions)
	}
	if err := s.checkOptions(o); err != nil {
		return nil, err
	}
	it, err := s.bank.createItem(c.client, token, *in.ConnectorID, parameters, in.Products, o)
	if err != nil {
		return nil, err
	}
	return s.bank.itemJSON(it, c.base), nil
}

// sealed joins the options of a connect token with those of a body.
func (b *Bank) sealed(token, body ItemOptions) ItemOptions {
	first, second := body, token
	if b.cfg.TokenOptionsWin {
		first, second = token, body
	}
	if first.ClientUserID == "" {
		first.ClientUserID = second.ClientUserID
	}
	if first.WebhookURL == "" {
		first.WebhookURL = second.WebhookURL
	}
	if first.OAuthRedirectURI == "" {
		first.OAuthRedirectURI = second.OAuthRedirectURI
	}
	first.AvoidDuplicates = first.AvoidDuplicates || second.AvoidDuplicates
	return first
}

func (s *Server) patchItem(c *call, in itemRequest) (any, error) {
	it, err := s.itemOf(c)
	if err != nil {
		return nil, err
	}
	if c.token != nil && c.token.Item != it.id && it.status == Updated {
		return nil, outOfScope() // an update needs a token that was made for it
	}
	parameters, err := flatParameters(in.Parameters)
	if err == nil {
		err = s.checkOptions(in.ItemOptions)
	}
	if err != nil {
		return nil, err
	}
	o := in.ItemOptions
	if c.token != nil {
		o = s.bank.sealed(c.token.Options, o)
	}
	s.bank.tick(it)
	if err := s.bank.updateItem(it, c.trigger(), parameters, o, in.Products); err != nil {
		return nil, err
	}
	return s.bank.itemJSON(it, c.base), nil
}

func (s *Server) listItemsV2(c *call, _ struct{}) (any, error) {
	if !s.bank.cfg.ListItems {
		return nil, outOfScope()
	}
	after, out := c.query.Get("after"), []map[string]any{}
	for _, it := range s.bank.sortedItems() {
		switch {
		case it.client != c.client, c.query.Has("clientUserId") && it.options.ClientUserID != c.query.Get("clientUserId"):
		case c.query.Has("connectorId") && c.query.Get("connectorId") != strconv.Itoa(it.connector.ID):
		case after != "":
			if it.id == after {
				after = ""
			}
		case len(out) == pageSize:
			q := maps.Clone(c.query)
			q.Set("after", fmt.Sprint(out[pageSize-1]["id"]))
			return map[string]any{"results": out, "next": "?" + q.Encode()}, nil
		default:
			out = append(out, s.bank.itemJSON(it, c.base))
		}
	}
	return map[string]any{"results": out, "next": nil}, nil
}

func (s *Server) accountRoutes() {
	endpoint(s, "GET /accounts", both, "itemId type", s.listAccounts)
	endpoint(s, "GET /accounts/{id}", keyOnly, "", func(c *call, _ struct{}) (any, error) {
		a, err := s.bank.account(c.client, c.PathValue("id"))
		if err != nil {
			return nil, err
		}
		return accountJSON(a.view(s.bank.cfg.NegativeCards), false), nil
	})
	endpoint(s, "GET /bills", keyOnly, "accountId", func(c *call, _ struct{}) (any, error) {
		if err := mustUUID(c, "accountId"); err != nil {
			return nil, err
		}
		a, err := s.bank.account(c.client, c.query.Get("accountId"))
		if err != nil {
			return nil, err
		}
		out := []map[string]any{}
		for _, bill := range a.bills() {
			out = append(out, billJSON(bill))
		}
		return pageJSON(out), nil
	})
	endpoint(s, "GET /bills/{id}", keyOnly, "", s.getBill)
	endpoint(s, "GET /consents", keyOnly, "itemId page pageSize", func(c *call, _ struct{}) (any, error) {
		if err := mustUUID(c, "itemId"); err != nil {
			return nil, err
		}
		it, err := s.bank.item(c.client, c.query.Get("itemId"))
		if err != nil {
			return nil, err
		}
		out := []map[string]any{}
		if it.consent.ID != "" {
			out = append(out, it.consentJSON())
		}
		return pageJSON(out), nil
	})
	endpoint(s, "GET /consents/{id}", keyOnly, "", func(c *call, _ struct{}) (any, error) {
		for _, it := range s.bank.items {
			if it.client == c.client && it.consent.ID == c.PathValue("id") && it.consent.ID != "" {
				return it.consentJSON(), nil
			}
		}
		return nil, notFound("CONSENT", "consent not found")
	})
}

func mustUUID(c *call, name string) error {
	switch given := c.query.Get(name); {
	case given == "":
		return badRequest("%s should not be null or undefined, %s must be a UUID", name, name)
	case uuid.Validate(given) != nil:
		return badRequest("%s must be a UUID", name)
	}
	return nil
}

func (s *Server) listAccounts(c *call, _ struct{}) (any, error) {
	if err := mustUUID(c, "itemId"); err != nil {
		return nil, err
	}
	kind := c.query.Get("type")
	if kind != "" && kind != BankAccount && kind != CardAccount {
		return nil, badRequest("type must be one of the following values: BANK, CREDIT")
	}
	it, err := s.bank.item(c.client, c.query.Get("itemId"))
	if err == nil {
		err = c.reaches(it)
	}
	if err != nil {
		return nil, err
	}
	accounts, err := s.bank.Accounts(c.client, it.id)
	out := []map[string]any{}
	for _, a := range accounts {
		if kind == "" || kind == a.Type {
			out = append(out, accountJSON(a, c.token != nil))
		}
	}
	return pageJSON(out), err
}

func (s *Server) getBill(c *call, _ struct{}) (any, error) {
	for _, a := range s.bank.accounts {
		if a.item.client != c.client || a.holding.Type != CardAccount {
			continue
		}
		for _, bill := range a.bills() {
			if bill.ID == c.PathValue("id") {
				return billJSON(bill), nil
			}
		}
	}
	return nil, notFound("CREDIT_CARD_BILL", "bill not found")
}

func (s *Server) transactionRoutes() {
	endpoint(s, "GET /v2/transactions", keyOnly, "accountId ids dateFrom dateTo createdAtFrom after", s.listTransactions)
	endpoint(s, "GET /transactions", keyOnly, "accountId ids from to page pageSize billId createdAtFrom", func(*call, struct{}) (any, error) {
		return nil, deprecated()
	})
	endpoint(s, "GET /transactions/{id}", keyOnly, "", func(c *call, _ struct{}) (any, error) {
		e, err := s.bank.transaction(c.client, c.PathValue("id"))
		if err != nil {
			return nil, err
		}
		return transactionJSON(e.view()), nil
	})
	type patch struct {
		CategoryID string `json:"categoryId"`
	}
	endpoint(s, "PATCH /transactions/{id}", keyOnly, "", func(c *call, in patch) (any, error) {
		e, err := s.bank.transaction(c.client, c.PathValue("id"))
		switch {
		case err != nil:
			return nil, err
		case categoryName(in.CategoryID) == "":
			return nil, badRequest("categoryId must be that of a category")
		}
		e.shown.CategoryID, e.updated = in.CategoryID, c.now
		s.bank.dirty.Touch(e)
		return transactionJSON(e.view()), nil
	})
	endpoint(s, "GET /categories", keyOnly, "parentId", func(c *call, _ struct{}) (any, error) {
		out := []map[string]any{}
		for _, x := range categories {
			if parent := c.query.Get("parentId"); parent == "" || parent == x.parent {
				out = append(out, x.json())
			}
		}
		return pageJSON(out), nil
	})
}

// queryOf reads the filters of /v2/transactions.
func queryOf(c *call) (q Query, err error) {
	has := c.query.Has
	if err := mustUUID(c, "accountId"); err != nil {
		return q, err
	}
	switch {
	case has("createdAtFrom") && (has("dateFrom") || has("ids")):
		return q, badRequest("createdAtFrom cannot be used together with dateFrom or ids")
	case has("after") && c.query.Get("after") == "":
		return q, badRequest("Invalid cursor")
	}
	if q.IDs = list(c, "ids"); len(q.IDs) > maxIDs {
		return q, refuse(http.StatusBadRequest, "IDS_PARAMETER_EXCEEDS_MAX_LENGTH", "ids must have at most %d elements", maxIDs)
	}
	q.After = c.query.Get("after")
	for name, field := range map[string]*time.Time{"dateFrom": &q.From, "dateTo": &q.To} {
		if err := readTime(c, name, time.DateOnly, field); err != nil {
			return q, err
		}
	}
	return q, readTime(c, "createdAtFrom", wireTime, &q.CreatedAfter)
}

func readTime(c *call, name, format string, field *time.Time) error {
	if !c.query.Has(name) {
		return nil
	}
	t, err := time.Parse(format, c.query.Get(name))
	if err != nil {
		return badRequest("%s must be a valid ISO 8601 date string", name)
	}
	*field = t
	return nil
}

func (s *Server) listTransactions(c *call, _ struct{}) (any, error) {
	q, err := queryOf(c)
	if err != nil {
		return nil, err
	}
	p, err := s.bank.Transactions(c.client, c.query.Get("accountId"), q)
	if err != nil {
		return nil, err
	}
	var next *string
	if p.After != "" {
		again := url.Values{"accountId": c.query["accountId"]}
		if s.bank.cfg.NextCarriesFilters {
			again = maps.Clone(c.query)
		}
		again.Set("after", p.After)
		text := "?" + again.Encode()
		next = &text
	}
	return map[string]any{"results": transactionsJSON(p.Transactions), "next": next}, nil
}
