package plaid

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

const (
	maxDays     = 730 // the most history that days_requested may ask for
	defaultDays = 90

	consentWarning = 7 * day
	consentEurope  = 180 * day
	consentAmerica = 365 * day
)

type item struct {
	id, access, client string
	institution        *Institution
	customer           *customer
	webhook            string
	products           []string
	consented          []string
	created            time.Time
	signedIn           time.Time

	linked                    time.Time // when Transactions was added; history counts back from here
	days                      int       // how far; frozen with linked
	status                    Status
	synced                    bool
	initialDue, historicalDue time.Time
	lastUpdate                time.Time

	err       *Error
	errAt     time.Time
	consent   time.Time // zero where the consent does not end
	warned    bool
	removed   bool
	mutations int
	hookAt    time.Time
	hookCode  string

	accounts []*account
	byRow    map[string]*entry // by row id, superseded ones excepted
	log      []*entry
	news     news
}

// account is a bank account as one Item shows it.
type account struct {
	id      string // account_id
	item    string // id of the Item
	holding *holding
	gone    bool
}

type public struct {
	token, client, item string
	expires             time.Time
	used                bool
}

// shows returns the Item's account for a bank account, nil where it shows none.
func (it *item) shows(h *holding) *account {
	for _, a := range it.accounts {
		if a.holding == h && !a.gone {
			return a
		}
	}
	return nil
}

// newItem makes an Item of a customer with some of the accounts; it has no access token before its exchange.
func (b *Bank) newItem(client string, c *customer, chosen []*holding, l LinkRequest) *item {
	inst, _ := b.institution(c.institution)
	now := b.now()
	it := &item{
		id: b.newID(), client: client, institution: inst, customer: c, webhook: l.Webhook,
		products: slices.Concat(l.Products, l.RequiredIfSupported, l.Optional), consented: l.AdditionalConsented,
		created: now, signedIn: now, status: NotReady, byRow: map[string]*entry{},
	}
	for _, h := range chosen {
		b.addAccount(it, h)
	}
	it.renewConsent(now)
	if slices.Contains(it.products, "transactions") {
		it.begin(b, l.Transactions.Days)
	}
	b.items[it.id] = it
	c.items = append(c.items, it)
	b.dirty.Touch(it)
	return it
}

func (b *Bank) addAccount(it *item, h *holding) *account {
	a := &account{id: b.newID(), item: it.id, holding: h}
	it.accounts = append(it.accounts, a)
	b.accounts[a.id] = a
	return a
}

// begin freezes the history that the Item shows and plans its loading.
func (it *item) begin(b *Bank, days int) {
	it.linked = b.now()
	it.days = cmp.Or(days, defaultDays)
	it.initialDue = it.linked.Add(b.cfg.InitialDelay)
	it.historicalDue = it.linked.Add(max(b.cfg.InitialDelay, b.cfg.HistoricalDelay))
	b.dirty.Touch(it)
}

// renewConsent counts the consent from now: 180 days in Europe, a year at the American banks that send their users to
// their own page, endless elsewhere (https://plaid.com/docs/api/items/, consent_expiration_time).
func (it *item) renewConsent(now time.Time) {
	it.warned = false
	switch {
	case it.institution.european():
		it.consent = now.Add(consentEurope)
	case it.institution.OAuth:
		it.consent = now.Add(consentAmerica)
	}
}

// Tick does what Items do by themselves when their time comes: histories load, consents warn and end, logins expire. The
// methods that take an access token do it for their Item; whoever wants the webhooks in time calls Tick when Due says.
func (b *Bank) Tick() {
	for _, it := range b.sortedItems() {
		b.tick(it)
	}
}

// Due returns when Tick has something to do; the zero time is never.
func (b *Bank) Due() (first time.Time) {
	for _, it := range b.items {
		if t := it.due(b.cfg.LoginExpiry); !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// sortedItems returns the live Items in the order in which they were made.
func (b *Bank) sortedItems() []*item {
	list := make([]*item, 0, len(b.items))
	for _, it := range b.items {
		if !it.removed {
			list = append(list, it)
		}
	}
	slices.SortFunc(list, func(x, y *item) int {
		return cmp.Or(x.created.Compare(y.created), strings.Compare(x.id, y.id))
	})
	return list
}

func (b *Bank) tick(it *item) {
	now := b.now()
	for it.err == nil && !it.removed {
		due := it.due(b.cfg.LoginExpiry)
		if due.IsZero() || due.After(now) {
			return
		}
		switch {
		case b.cfg.LoginExpiry > 0 && !it.signedIn.Add(b.cfg.LoginExpiry).After(now):
			b.fail(it, refuse("ITEM_LOGIN_REQUIRED"))
		case !it.consent.IsZero() && !it.consent.After(now):
			e := refuse("ITEM_LOGIN_REQUIRED")
			e.Reason = "OAUTH_CONSENT_EXPIRED"
			b.fail(it, e)
		case !it.consent.IsZero() && !it.warned && !it.consent.Add(-consentWarning).After(now):
			b.warn(it)
		case it.status == NotReady:
			b.load(it, Initial)
		case it.status == Initial:
			b.load(it, Historical)
		}
	}
}

// warn says that the consent ends, in the two ways of the two continents.
func (b *Bank) warn(it *item) {
	it.warned = true
	b.dirty.Touch(it)
	ends := it.consent.Format(time.RFC3339)
	if it.institution.european() {
		b.emit(it, "ITEM", "PENDING_EXPIRATION", map[string]any{"consent_expiration_time": ends})
		return
	}
	b.emit(it, "ITEM", "PENDING_DISCONNECT", map[string]any{"reason": "INSTITUTION_TOKEN_EXPIRATION", "disconnect_time": ends})
}

// fail puts an Item into an error and tells its owner.
func (b *Bank) fail(it *item, e *Error) {
	it.err, it.errAt = e, b.now()
	b.dirty.Touch(it)
	b.emit(it, "ITEM", "ERROR", map[string]any{"error": e.inWebhook()})
}

func (e *Error) inWebhook() *errorBody {
	body := e.body()
	body.Status = e.Status
	return body
}

// repair ends an Item's error and shows it what it missed.
func (b *Bank) repair(it *item) {
	it.err = nil
	it.signedIn = b.now()
	b.dirty.Touch(it)
	b.tick(it)
	if it.status != NotReady {
		b.catchUp(it)
	}
}

var accessFormat = regexp.MustCompile(`^access-(sandbox|production)-[0-9a-f-]{36}$`)

// find returns the Item of an access token, in whatever state it is.
func (b *Bank) find(accessToken string) (*item, error) {
	it := b.tokens[accessToken]
	switch {
	case it == nil && !accessFormat.MatchString(accessToken):
		e := refuse("INVALID_ACCESS_TOKEN")
		e.Message = "provided access token is in an invalid format. expected format: access-<environment>-<identifier>"
		return nil, e
	case it == nil:
		return nil, refuse("INVALID_ACCESS_TOKEN")
	case it.removed:
		return nil, refuse("ITEM_NOT_FOUND")
	}
	b.tick(it)
	return it, nil
}

// consenting returns the Item of an access token unless its user revoked the permission.
func (b *Bank) consenting(accessToken string) (*item, error) {
	it, err := b.find(accessToken)
	if err != nil {
		return nil, err
	}
	if it.err != nil && it.err.Code == "USER_PERMISSION_REVOKED" {
		return nil, it.err
	}
	return it, nil
}

// healthy returns the Item of an access token unless it is in an error.
func (b *Bank) healthy(accessToken string) (*item, error) {
	it, err := b.find(accessToken)
	if err != nil {
		return nil, err
	}
	if it.err != nil {
		return nil, it.err
	}
	return it, nil
}

func (b *Bank) itemByID(id string) (*item, error) {
	it := b.items[id]
	if it == nil || it.removed {
		return nil, fmt.Errorf("no item %q", id)
	}
	return it, nil
}

// Exchange turns a public token into an access token, once, within 30 minutes. A public token of update mode gives the
// access token that the Item has.
func (b *Bank) Exchange(publicToken string) (accessToken, itemID string, err error) {
	p := b.publics[publicToken]
	switch {
	case p == nil, p.used, b.items[p.item] == nil, b.items[p.item].removed:
		return "", "", refuse("INVALID_PUBLIC_TOKEN")
	case !b.now().Before(p.expires):
		e := refuse("INVALID_PUBLIC_TOKEN")
		e.Message = "provided public token is expired. Public tokens expire 30 minutes after creation at which point they can no longer be exchanged"
		return "", "", e
	}
	p.used = true
	b.dirty.Touch(p)
	it := b.items[p.item]
	if it.access == "" {
		b.giveAccess(it)
	}
	return it.access, it.id, nil
}

func (b *Bank) giveAccess(it *item) {
	it.access = "access-" + Environment + "-" + b.newUUID()
	b.tokens[it.access] = it
	b.dirty.Touch(it)
}

func (b *Bank) newPublic(it *item) *public {
	p := &public{token: "public-" + Environment + "-" + b.newUUID(), client: it.client, item: it.id, expires: b.now().Add(publicTokenLife)}
	b.publics[p.token] = p
	b.dirty.Touch(p)
	return p
}

// Balances of an account; a nil amount is null.
type Balances struct {
	Available *decimal.Decimal
	Current   decimal.Decimal
	Limit     *decimal.Decimal
	Currency  string // iso_currency_code
}

// Account is a bank account as Plaid shows it.
type Account struct {
	AccountID    string
	Balances     Balances
	Mask         string // empty is null
	Name         string
	OfficialName string // empty is null
	Type         string
	Subtype      string
	PersistentID string // persistent_account_id; empty at most banks
}

// persistentBanks are the Sandbox institutions that give persistent_account_id.
var persistentBanks = []string{"ins_56", "ins_13", "ins_127990", "ins_127287"}

func (a *account) show() Account {
	h := a.holding
	out := Account{
		AccountID: a.id, Mask: h.Mask, Name: h.Name, OfficialName: h.OfficialName, Type: h.Type, Subtype: h.Subtype,
		Balances: Balances{Available: h.Available, Current: h.Current, Limit: h.Limit, Currency: h.Currency},
	}
	if h.Type == "depository" && slices.Contains(persistentBanks, h.owner.institution) {
		out.PersistentID = derivedID("persistent", h.id)
	}
	return out
}

func (it *item) show() []Account {
	list := []Account{}
	for _, a := range it.accounts {
		if !a.gone {
			list = append(list, a.show())
		}
	}
	return list
}

// Accounts answers /accounts/get; only, where not empty, names the accounts wanted.
func (b *Bank) Accounts(accessToken string, only []string) ([]Account, Item, error) {
	it, err := b.healthy(accessToken)
	if err != nil {
		return nil, Item{}, err
	}
	list := it.show()
	if len(only) == 0 {
		return list, b.itemView(it), nil
	}
	wanted := slices.DeleteFunc(slices.Clone(list), func(a Account) bool { return !slices.Contains(only, a.AccountID) })
	if len(wanted) != len(only) {
		return nil, Item{}, refuse("INVALID_ACCOUNT_ID")
	}
	return wanted, b.itemView(it), nil
}

// Item is what /item/get shows, its status included.
type Item struct {
	ID, Institution, InstitutionName string
	Webhook                          string // empty is null
	Error                            *Error // nil while the Item is healthy
	Products, Consented              []string
	ConsentExpires                   time.Time // zero is null
	Created                          time.Time
	LastUpdate, LastFailed           time.Time // of its transactions; zero is null
	HookAt                           time.Time // last webhook; zero is none
	HookCode                         string
	Status                           Status // not part of /item/get
	User                             string // the bank's user; not part of /item/get
}

func (b *Bank) itemView(it *item) Item {
	v := Item{
		ID: it.id, Institution: it.institution.ID, InstitutionName: it.institution.Name, Webhook: it.webhook, Error: it.err,
		Products: it.products, Consented: slices.Concat(it.products, it.consented), ConsentExpires: it.consent,
		Created: it.created, LastUpdate: it.lastUpdate, HookAt: it.hookAt, HookCode: it.hookCode, Status: it.status,
		User: it.customer.user,
	}
	if it.err != nil {
		v.LastFailed = it.errAt
	}
	return v
}

// Item answers /item/get, which works for an Item in an error too.
func (b *Bank) Item(accessToken string) (Item, error) {
	it, err := b.find(accessToken)
	if err != nil {
		return Item{}, err
	}
	return b.itemView(it), nil
}

// RemoveItem answers /item/remove: the access token is worthless from now on.
func (b *Bank) RemoveItem(accessToken string) error {
	it, err := b.consenting(accessToken)
	if err != nil {
		return err
	}
	it.removed = true
	it.customer.items = slices.DeleteFunc(it.customer.items, func(x *item) bool { return x == it })
	for at, e := range it.log {
		if e != nil && e.at == at {
			delete(b.entries, e.id)
			b.dirty.Forget(e)
		}
	}
	it.log, it.byRow = nil, nil
	b.dirty.Touch(it)
	return nil
}

// InvalidateAccessToken answers /item/access_token/invalidate: the old token dies at once.
func (b *Bank) InvalidateAccessToken(accessToken string) (newToken string, err error) {
	it, err := b.consenting(accessToken)
	if err != nil {
		return "", err
	}
	delete(b.tokens, accessToken)
	b.giveAccess(it)
	return it.access, nil
}

// UpdateWebhook answers /item/webhook/update; an empty URL takes the webhook away. A new one hears of it.
func (b *Bank) UpdateWebhook(accessToken, url string) (Item, error) {
	it, err := b.find(accessToken)
	if err != nil {
		return Item{}, err
	}
	if url != "" && !webURL(url) {
		return Item{}, invalidField("webhook must be a valid URL")
	}
	it.webhook = url
	b.dirty.Touch(it)
	b.emit(it, "ITEM", "WEBHOOK_UPDATE_ACKNOWLEDGED", map[string]any{"new_webhook_url": url, "error": nil})
	return b.itemView(it), nil
}

// Refresh answers /transactions/refresh. Plaid's own look at the bank finds nothing that the sandbox does not show at
// once, except for user_transactions_dynamic, whose bank moves at every call.
func (b *Bank) Refresh(accessToken string) error {
	it, err := b.healthy(accessToken)
	if err != nil {
		return err
	}
	if it.customer.dynamic {
		b.dynamicRefresh(it.customer)
		b.Announce()
	}
	it.lastUpdate = b.now()
	b.dirty.Touch(it)
	return nil
}

// ResetLogin answers /sandbox/item/reset_login: the Item needs its user.
func (b *Bank) ResetLogin(accessToken string) error {
	it, err := b.consenting(accessToken)
	if err != nil {
		return err
	}
	b.fail(it, refuse("ITEM_LOGIN_REQUIRED"))
	return nil
}

// Fail puts an Item into the error of a code and tells its owner; reason, where not empty, is error_code_reason.
func (b *Bank) Fail(itemID, code, reason string) error {
	it, err := b.itemByID(itemID)
	if err != nil {
		return err
	}
	e, ok := refusals[code]
	if !ok {
		return fmt.Errorf("no error code %q", code)
	}
	e.Reason = reason
	b.fail(it, &e)
	return nil
}

// Repair ends an Item's error without its user, as Plaid does when the bank lets it in again, and says LOGIN_REPAIRED.
func (b *Bank) Repair(itemID string) error {
	it, err := b.itemByID(itemID)
	if err != nil {
		return err
	}
	b.repair(it)
	b.emit(it, "ITEM", "LOGIN_REPAIRED", nil)
	return nil
}

// Revoke is the user taking the permission back at the bank: USER_PERMISSION_REVOKED, and nothing works any more.
func (b *Bank) Revoke(itemID string) error {
	it, err := b.itemByID(itemID)
	if err != nil {
		return err
	}
	it.err, it.errAt = refuse("USER_PERMISSION_REVOKED"), b.now()
	b.dirty.Touch(it)
	b.emit(it, "ITEM", "USER_PERMISSION_REVOKED", map[string]any{"error": it.err.inWebhook()})
	return nil
}

// RevokeAccount takes one account out of one Item; silent does so without USER_ACCOUNT_REVOKED, as most banks do.
func (b *Bank) RevokeAccount(accountID string, silent bool) error {
	it, a, err := b.ownerOf(accountID)
	if err != nil {
		return err
	}
	a.gone = true
	b.dirty.Touch(it)
	if !silent {
		b.emit(it, "ITEM", "USER_ACCOUNT_REVOKED", map[string]any{"account_id": a.id, "error": nil})
	}
	return nil
}

// ReissueAccount gives an account and all its transactions new ids in one Item, as happens when a bank renames an account
// or its user grants it anew, and returns the new account_id.
func (b *Bank) ReissueAccount(accountID string) (string, error) {
	it, old, err := b.ownerOf(accountID)
	if err != nil {
		return "", err
	}
	old.gone = true
	fresh := b.addAccount(it, old.holding)
	for _, r := range old.holding.rows {
		if e := it.byRow[r.id]; e != nil && e.live() {
			b.supersede(it, e, fresh)
		}
	}
	b.dirty.Touch(it)
	return fresh.id, nil
}

func (b *Bank) ownerOf(accountID string) (*item, *account, error) {
	a := b.accounts[accountID]
	if a == nil || a.gone {
		return nil, nil, fmt.Errorf("no account %q", accountID)
	}
	it, err := b.itemByID(a.item)
	return it, a, err
}

// ExpireConsent moves the end of an Item's consent; Tick warns seven days before it and ends the Item's health at it.
func (b *Bank) ExpireConsent(itemID string, at time.Time) error {
	it, err := b.itemByID(itemID)
	if err != nil {
		return err
	}
	it.consent, it.warned = at.UTC(), false
	b.dirty.Touch(it)
	b.tick(it)
	return nil
}

// Load loads an Item's history up to a status now, whatever the delays are.
func (b *Bank) Load(itemID string, to Status) error {
	it, err := b.itemByID(itemID)
	if err != nil {
		return err
	}
	if it.err != nil {
		return fmt.Errorf("load: the item is in the error %s", it.err.Code)
	}
	if it.status == NotReady {
		b.load(it, Initial)
	}
	if it.status == Initial && to == Historical {
		b.load(it, Historical)
	}
	return nil
}

// ItemAccounts returns what an Item shows now, by item id, for controls that hold no access token.
func (b *Bank) ItemAccounts(itemID string) ([]Account, error) {
	it, err := b.itemByID(itemID)
	if err != nil {
		return nil, err
	}
	return it.show(), nil
}

// Items returns every Item that was made and not removed, exchanged or not.
func (b *Bank) Items() []Item {
	list := []Item{}
	for _, it := range b.sortedItems() {
		list = append(list, b.itemView(it))
	}
	return list
}
