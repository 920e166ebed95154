package pluggy

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Statuses of an item.
const (
	Updating      = "UPDATING"
	Updated       = "UPDATED"
	LoginError    = "LOGIN_ERROR"
	Outdated      = "OUTDATED"
	Merging       = "MERGING"
	WaitingInput  = "WAITING_USER_INPUT"
	WaitingAction = "WAITING_USER_ACTION"
)

// Who sets an execution off.
const (
	ByUser     = "USER"     // a connect token
	ByClient   = "CLIENT"   // an API key
	BySync     = "SYNC"     // Pluggy's own schedule
	ByInternal = "INTERNAL" // Pluggy
)

const (
	mostRetries      = 5 // hourly ones, after which an item drops out of the automatic synchronisation
	mostFailedLogins = 2
	mostErrors       = 5
	loginBackoff     = 15 * time.Minute
)

// ItemOptions are those of a connect token and of POST /items.
type ItemOptions struct {
	ClientUserID     string `json:"clientUserId,omitempty"`
	WebhookURL       string `json:"webhookUrl,omitempty"`
	OAuthRedirectURI string `json:"oauthRedirectUri,omitempty"`
	AvoidDuplicates  bool   `json:"avoidDuplicates,omitempty"`
	SortAlphabetical bool   `json:"connectorSortAlphabetically,omitempty"`
}

// ItemError is why an execution failed.
type ItemError struct {
	Code            string `json:"code"`
	Message         string `json:"message"`
	ProviderMessage string `json:"providerMessage,omitempty"`
	Parameter       string `json:"parameter,omitempty"`
}

// Parameter is what an item waits for.
type Parameter struct {
	Name         string    `json:"name"`
	Label        string    `json:"label"`
	Type         string    `json:"type"`
	Placeholder  string    `json:"placeholder,omitempty"`
	Instructions string    `json:"instructions,omitempty"`
	Data         string    `json:"data,omitempty"` // of an image: base64
	Options      []Option  `json:"options,omitempty"`
	ExpiresAt    time.Time `json:"-"`
}

// Option is one of a select.
type Option struct {
	Value string `json:"value"`
	Label string `json:"label"`
}

type item struct {
	id, client string
	connector  *Connector
	customerID string // empty before the first login
	parameters map[string]string
	options    ItemOptions
	products   []string
	token      string // id of the connect token that made it; empty where an API key did

	created, updated, lastUpdated time.Time
	status, execution             string
	trigger                       string
	left                          []string // statuses still to come
	stepAt                        time.Time
	deadline                      time.Time // of the user, while the item waits for one
	parameter                     *Parameter
	err                           *ItemError
	ended                         time.Time // last execution
	failedLogins, errors, retries int
	runs                          int    // executions that ended in this process
	approved                      bool   // USER_AUTHORIZATION_PENDING is over
	broken                        string // execution status in which every execution ends
	providerMessage               string // of broken
	nextSync, syncDisabled        time.Time
	consent                       consent

	accounts []*account
}

type consent struct {
	ID                        string
	Created, Expires, Revoked time.Time // zero is null
}

// CreateItem answers POST /items. token is the id of the connect token, empty for an API key.
func (b *Bank) createItem(client, token string, connectorID int, parameters map[string]string, products []string, o ItemOptions) (*item, error) {
	c, err := b.connector(connectorID)
	if err != nil {
		return nil, err
	}
	if err := b.mayCreate(client, c, parameters, o); err != nil {
		return nil, err
	}
	it := &item{
		id: b.newUUID(), client: client, connector: c, parameters: maps.Clone(parameters), options: o, products: products, token: token,
		created: b.now(), trigger: ByClient,
	}
	if token != "" {
		it.trigger = ByUser
	}
	if len(it.products) == 0 {
		it.products = c.Products
	}
	b.items[it.id] = it
	b.begin(it, created, true)
	return it, nil
}

func (b *Bank) mayCreate(client string, c *Connector, parameters map[string]string, o ItemOptions) error {
	if b.health[c.ID] == Offline {
		return b.offline()
	}
	if wrong := c.validate(parameters); len(wrong) > 0 {
		return invalidParameters(wrong)
	}
	mine, same := 0, []string{}
	for _, it := range b.sortedItems() {
		if it.client != client {
			continue
		}
		mine++
		if it.connector == c && it.sameUser(parameters) && (!c.OAuth || b.cfg.AvoidOAuthDuplicates) {
			same = append(same, it.id)
		}
	}
	if o.AvoidDuplicates && len(same) > 0 {
		e := refuse(http.StatusBadRequest, "ITEM_USER_ALREADY_EXISTS", "An item for this user already exists")
		e.Items, e.bare = same, true
		return e
	}
	if b.cfg.ItemLimit > 0 && mine >= b.cfg.ItemLimit {
		e := refuse(http.StatusConflict, "ITEM_CREATION_LIMIT_EXCEEDED", "The limit of items is reached")
		e.Data = map[string]any{"itemsLimit": b.cfg.ItemLimit}
		return e
	}
	return nil
}

// sameUser compares by what identifies a person: not the secrets.
func (it *item) sameUser(parameters map[string]string) bool {
	for _, name := range []string{"user", "cpf", "cnpj"} {
		if given := parameters[name]; given != "" {
			return it.parameters[name] == given
		}
	}
	return false
}

func (b *Bank) offline() *Error {
	if b.cfg.OfflineConflict {
		return refuse(http.StatusConflict, "CONNECTOR_OFFLINE", "The connector is offline")
	}
	return refuse(http.StatusBadRequest, "CONNECTOR_OFFLINE", "The connector is offline")
}

// begin starts an execution; asked is whether a user is there to answer.
func (b *Bank) begin(it *item, first string, asked bool) {
	now := b.now()
	it.status, it.execution, it.stepAt = Updating, first, now
	it.err, it.parameter, it.deadline = nil, nil, time.Time{}
	it.updated, it.nextSync = now, time.Time{}
	it.left = b.plan(it, asked)
	if first == loginProgress {
		it.left = it.left[1:]
	}
	b.dirty.Touch(it)
}

// Tick does what items do by themselves when their time comes: executions advance, waits end, synchronisations begin,
// consents expire.
func (b *Bank) Tick() {
	for _, it := range b.sortedItems() {
		b.tick(it)
	}
}

// Due returns when Tick has something to do; the zero time is never.
func (b *Bank) Due() (first time.Time) {
	for _, it := range b.items {
		if t := b.due(it); !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// moving reports whether an execution goes on without its user.
func (it *item) moving() bool { return len(it.left) > 0 && it.deadline.IsZero() }

func (b *Bank) due(it *item) time.Time {
	switch {
	case it.moving() && it.execution == pendingConsent:
		return it.stepAt.Add(b.cfg.Approval)
	case it.moving():
		return it.stepAt.Add(b.cfg.Step)
	case !it.deadline.IsZero():
		return it.deadline
	}
	due := it.nextSync
	if e := it.consent.Expires; !e.IsZero() && it.consent.Revoked.IsZero() && (due.IsZero() || e.Before(due)) {
		due = e
	}
	return due
}

func (b *Bank) tick(it *item) {
	for {
		due := b.due(it)
		if due.IsZero() || due.After(b.now()) {
			return
		}
		switch {
		case it.moving():
			it.stepAt = due
			next := it.left[0]
			it.left = it.left[1:]
			b.enter(it, next)
		case it.status == WaitingInput:
			b.finish(it, inputTimeout)
		case it.status == WaitingAction:
			b.finish(it, notGranted)
		case due.Equal(it.consent.Expires):
			it.consent.Revoked = due
			b.breakItem(it, revoked, "")
		default:
			it.trigger = BySync
			b.begin(it, loginProgress, false)
		}
	}
}

// enter brings an item to the next status of its execution.
func (b *Bank) enter(it *item, execution string) {
	now := b.now()
	b.dirty.Touch(it)
	it.updated = now
	switch execution {
	case WaitingInput, WaitingAction:
		b.wait(it, execution)
	case pendingConsent:
		it.status, it.execution = b.statusAfter(execution), execution
		it.err = &ItemError{Code: execution, Message: messages[execution]}
		b.emitItem(it, "item/error", map[string]any{"error": it.err})
	case merging:
		it.status, it.execution = Merging, execution
	case loginProgress, mfaProgress:
		it.execution = execution
	default:
		if !strings.HasSuffix(execution, "_IN_PROGRESS") {
			b.finish(it, execution)
			return
		}
		it.status, it.execution, it.err = Updating, execution, nil
		if execution == collecting[0] {
			b.emitItem(it, "item/login_succeeded", nil)
		}
	}
}

// wait stops an execution until its user answers.
func (b *Bank) wait(it *item, status string) {
	it.status, it.execution = status, status
	it.deadline = b.now().Add(b.cfg.Patience)
	if status == WaitingInput {
		it.parameter = secondFactor(kind(it.parameters["user"]), it.connector.ID)
		it.parameter.ExpiresAt = it.deadline
		b.emitItem(it, "item/waiting_user_input", nil)
		return
	}
	b.emitItem(it, "item/waiting_user_action", nil)
}

// finish ends an execution.
func (b *Bank) finish(it *item, execution string) {
	now := b.now()
	first := it.lastUpdated.IsZero()
	it.status, it.execution, it.left = b.statusAfter(execution), execution, nil
	it.deadline, it.ended, it.updated = time.Time{}, now, now
	it.runs++
	b.dirty.Touch(it)
	if execution != success && execution != partialSuccess {
		b.fail(it, execution)
		return
	}
	it.failedLogins, it.errors, it.retries = 0, 0, 0
	it.parameter = nil
	it.lastUpdated = now
	if it.connector.OpenFinance && it.consent.ID == "" {
		it.consent = consent{ID: b.newUUID(), Created: now}
	}
	b.schedule(it, b.cfg.AutoSync)
	b.collect(it)
	if first {
		b.emitItem(it, "item/created", nil)
	} else {
		b.emitItem(it, "item/updated", nil)
	}
}

// schedule plans the next automatic synchronisation, unless that is disabled.
func (b *Bank) schedule(it *item, in time.Duration) {
	it.nextSync = time.Time{}
	if it.syncDisabled.IsZero() {
		it.nextSync = b.now().Add(in)
	}
}

// fail ends an execution in an error. A login error waits for its user, others are tried again, hourly and five times.
func (b *Bank) fail(it *item, execution string) {
	it.err = &ItemError{Code: execution, Message: cmp.Or(messages[execution], execution), ProviderMessage: it.providerMessage}
	if kind(it.parameters["user"]) == "user-account-need-actions-provider-message" {
		it.err.ProviderMessage = "Aceite os novos termos de uso no aplicativo do seu banco."
	}
	if execution == inputTimeout && it.parameter != nil {
		it.err.Parameter = it.parameter.Name
	}
	it.parameter = nil
	it.errors++
	if execution == badCredentials || execution == badMFA {
		it.failedLogins++
	}
	it.nextSync = time.Time{}
	if it.status == Outdated && !it.lastUpdated.IsZero() && it.retries < mostRetries {
		it.retries++
		b.schedule(it, time.Hour)
	}
	b.emitItem(it, "item/error", map[string]any{"error": it.err})
}

// idle reports whether nothing goes on with an item.
func (it *item) idle() bool { return len(it.left) == 0 && it.deadline.IsZero() }

// updateItem answers PATCH /items/{id}; trigger says who asks.
func (b *Bank) updateItem(it *item, trigger string, parameters map[string]string, o ItemOptions, products []string) error {
	if err := b.mayUpdate(it, trigger, parameters); err != nil {
		return err
	}
	if len(parameters) > 0 {
		if it.parameters == nil {
			it.parameters = map[string]string{}
		}
		maps.Copy(it.parameters, parameters)
		it.broken, it.providerMessage = "", ""
	}
	it.options.ClientUserID = cmp.Or(o.ClientUserID, it.options.ClientUserID)
	it.options.WebhookURL = cmp.Or(o.WebhookURL, it.options.WebhookURL)
	it.options.OAuthRedirectURI = cmp.Or(o.OAuthRedirectURI, it.options.OAuthRedirectURI)
	if len(products) > 0 {
		it.products = products
	}
	it.trigger = trigger
	b.begin(it, loginProgress, trigger == ByUser || len(parameters) > 0)
	return nil
}

func (b *Bank) mayUpdate(it *item, trigger string, parameters map[string]string) error {
	now := b.now()
	switch {
	case it.connector.ID == meuPluggy:
		e := badRequest("MeuPluggy item cant be updated")
		e.traced = true
		return e
	case b.health[it.connector.ID] == Offline:
		return b.offline()
	case !it.idle():
		return refuse(http.StatusConflict, "ITEM_IS_ALREADY_UPDATING", "The item is already being updated")
	case it.failedLogins >= mostFailedLogins && now.Before(it.ended.Add(loginBackoff)):
		e := refuse(http.StatusBadRequest, "TOO_MANY_CONSECUTIVE_LOGIN_FAILURES", "Too many consecutive login failures")
		e.Data = map[string]any{
			"readableBackoffTime": "15 minutes", "maxConsecutiveFailedLoginAttempts": mostFailedLogins,
			"lastExecutionEndedAt": it.ended.Format(wireTime), "canRetryAfterDate": it.ended.Add(loginBackoff).Format(wireTime),
		}
		return e
	}
	if len(parameters) > 0 {
		if wrong := it.connector.validate(merged(it.parameters, parameters)); len(wrong) > 0 {
			return invalidParameters(wrong)
		}
		if user := parameters["user"]; user != "" && it.anothers(user) {
			return refuse(http.StatusBadRequest, otherAccount, "%s", messages[otherAccount])
		}
		return nil
	}
	if trigger != ByClient {
		return nil
	}
	return b.mayRefresh(it, now)
}

// anothers reports whether a user is not the one whose accounts the item shows.
func (it *item) anothers(user string) bool {
	return !it.lastUpdated.IsZero() && it.customerID != customerID(it.connector.ID, user)
}

// mayRefresh says whether an API key may update an item with the credentials that Pluggy has.
func (b *Bank) mayRefresh(it *item, now time.Time) error {
	switch {
	case it.status == LoginError:
		return refuse(http.StatusBadRequest, "LAST_EXECUTION_HAD_LOGIN_ERROR", "The last execution had a login error; new parameters are needed")
	case it.errors > mostErrors:
		return refuse(http.StatusBadRequest, "TOO_MANY_CONSECUTIVE_ERRORS", "Too many consecutive errors")
	case b.cfg.MinUpdate > 0 && !it.lastUpdated.IsZero() && now.Before(it.lastUpdated.Add(b.cfg.MinUpdate)):
		e := refuse(http.StatusConflict, "CLIENT_IS_UPDATING_BEFORE_ALLOWED_FREQUENCY", "The item was updated too recently")
		e.Data = map[string]any{
			"minUpdateFrequencyAllowedInHours": int(b.cfg.MinUpdate / time.Hour), "lastUpdatedAt": it.lastUpdated.Format(wireTime),
		}
		return e
	}
	return nil
}

func merged(old, given map[string]string) map[string]string {
	all := maps.Clone(old)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, given)
	return all
}

// answerMFA answers POST /items/{id}/mfa.
func (b *Bank) answerMFA(it *item, answers map[string]string) error {
	switch {
	case it.status == WaitingInput && !it.deadline.After(b.now()):
		return badMFARequest("ITEM_MFA_EXPIRED", "The time to answer is over")
	case it.execution == mfaProgress:
		return badMFARequest("ITEM_MFA_ALREADY_PROVIDED", "The parameter was provided already")
	case it.status != WaitingInput:
		return badMFARequest("ITEM_MFA_NOT_FOUND", "The item waits for no parameter")
	}
	answer, ok := answers[it.parameter.Name]
	if !ok || len(answers) != 1 {
		return badMFARequest("ITEM_MFA_PARAMETER_EXPECTED_MISMATCH", "The item waits for the parameter "+it.parameter.Name)
	}
	it.status, it.execution, it.stepAt, it.deadline = Updating, mfaProgress, b.now(), time.Time{}
	if it.parameter.accepts(answer) {
		it.customerID = customerID(it.connector.ID, it.parameters["user"])
		it.left = b.inside(it)
	} else {
		it.left = []string{badMFA}
	}
	it.parameter = nil
	b.dirty.Touch(it)
	return nil
}

func badMFARequest(description, message string) *Error {
	return refuse(http.StatusBadRequest, description, "%s", message)
}

func (p *Parameter) accepts(answer string) bool {
	if p.Type == "select" {
		return slices.ContainsFunc(p.Options, func(o Option) bool { return o.Value == answer })
	}
	return answer == goodMFA
}

// authorise is the user signing in at the bank's own page and granting access, or not. A wrong login is an error that the
// bank's page shows; the item goes on waiting.
func (b *Bank) authorise(it *item, user, password string, granted bool) error {
	if it.status != WaitingAction {
		return fmt.Errorf("item %s waits for no action", it.id)
	}
	if granted && (password != goodPassword || !b.knows(it.connector, user)) {
		return &ItemError{Code: badCredentials, Message: messages[badCredentials]}
	}
	if granted && it.anothers(user) {
		return &ItemError{Code: otherAccount, Message: messages[otherAccount]}
	}
	it.status, it.execution, it.stepAt, it.deadline = Updating, loginProgress, b.now(), time.Time{}
	it.left = []string{notGranted}
	if granted {
		it.broken, it.providerMessage = "", ""
		it.parameters = merged(it.parameters, map[string]string{"user": user})
		it.customerID = customerID(it.connector.ID, user)
		it.consent = consent{}
		it.left = b.inside(it)
	}
	b.dirty.Touch(it)
	return nil
}

// Error names the code and the message.
func (e *ItemError) Error() string { return e.Code + ": " + e.Message }

// removeItem answers DELETE /items/{id}.
func (b *Bank) removeItem(it *item) {
	b.emitItem(it, "item/deleted", nil)
	for len(it.accounts) > 0 {
		b.dropAccount(it.accounts[0])
	}
	if c := b.customers[it.customerID]; c != nil {
		c.items = slices.DeleteFunc(c.items, func(x *item) bool { return x == it })
	}
	delete(b.items, it.id)
	b.dirty.Forget(it)
}

// disableSync answers PATCH /items/{id}/disable-auto-sync.
func (b *Bank) disableSync(it *item) {
	it.syncDisabled, it.nextSync = b.now(), time.Time{}
	b.dirty.Touch(it)
}

// sortedItems returns the items in the order in which they were made.
func (b *Bank) sortedItems() []*item {
	list := make([]*item, 0, len(b.items))
	for _, it := range b.items {
		list = append(list, it)
	}
	slices.SortFunc(list, func(x, y *item) int {
		return cmp.Or(x.created.Compare(y.created), strings.Compare(x.id, y.id))
	})
	return list
}

// item finds a client's item; another client's does not exist.
func (b *Bank) item(client, id string) (*item, error) {
	it := b.items[id]
	if it == nil || it.client != client {
		return nil, notFound("ITEM", "item not found")
	}
	return it, nil
}

func (b *Bank) itemByID(id string) (*item, error) {
	if it := b.items[id]; it != nil {
		return it, nil
	}
	return nil, fmt.Errorf("no item %q", id)
}

// breakItem puts an item into an error that stays until its user, or Repair, ends it.
func (b *Bank) breakItem(it *item, execution, providerMessage string) {
	it.broken, it.providerMessage = execution, providerMessage
	it.trigger = BySync
	it.left = nil
	b.finish(it, execution)
}

// Fail makes the bank refuse an item: its executions end in the execution status, such as INVALID_CREDENTIALS or
// SITE_NOT_AVAILABLE, from now on and until its user signs in again or Repair. The client is told by item/error.
func (b *Bank) Fail(itemID, execution, providerMessage string) error {
	it, err := b.itemByID(itemID)
	if err != nil {
		return err
	}
	if messages[execution] == "" {
		return fmt.Errorf("no execution status %q", execution)
	}
	b.breakItem(it, execution, providerMessage)
	return nil
}

// Repair ends Fail without the user: the next synchronisation, which begins at once, gets in.
func (b *Bank) Repair(itemID string) error {
	it, err := b.itemByID(itemID)
	if err != nil {
		return err
	}
	it.broken, it.providerMessage, it.left, it.deadline = "", "", nil, time.Time{}
	it.failedLogins, it.errors, it.retries = 0, 0, 0
	it.trigger = ByInternal
	b.begin(it, loginProgress, false)
	b.tick(it)
	return nil
}

// Sync begins an automatic synchronisation now.
func (b *Bank) Sync(itemID string) error {
	it, err := b.itemByID(itemID)
	if err != nil {
		return err
	}
	if !it.idle() {
		return fmt.Errorf("item %s is being updated", itemID)
	}
	it.trigger = BySync
	b.begin(it, loginProgress, false)
	b.tick(it)
	return nil
}

// Revoke is the user taking the consent back at the bank.
func (b *Bank) Revoke(itemID string) error {
	it, err := b.itemByID(itemID)
	if err != nil {
		return err
	}
	it.consent.Revoked = b.now()
	b.breakItem(it, revoked, "")
	return nil
}

// ExpireConsent makes an item's consent end at a time; Pluggy's default is no end.
func (b *Bank) ExpireConsent(itemID string, at time.Time) error {
	it, err := b.itemByID(itemID)
	if err != nil {
		return err
	}
	if it.consent.ID == "" {
		it.consent = consent{ID: b.newUUID(), Created: it.created}
	}
	it.consent.Expires = at.UTC().Truncate(time.Millisecond)
	b.dirty.Touch(it)
	b.tick(it)
	return nil
}

// Discontinue is Pluggy deleting an item, as those of a connector that is no more.
func (b *Bank) Discontinue(itemID string) error {
	it, err := b.itemByID(itemID)
	if err != nil {
		return err
	}
	b.removeItem(it)
	return nil
}

// secondFactor is what a user is asked for.
func secondFactor(kind string, connector int) *Parameter {
	switch {
	case kind == "user-ok-img":
		return &Parameter{Name: "token", Label: "Digite o código da imagem", Type: "image", Data: captcha()}
	case kind == "user-ok-select", connector == 5 && kind != "user-ok-phone":
		return &Parameter{Name: "device", Label: "Para onde enviamos o código?", Type: "select", Options: []Option{
			{"sms", "SMS para (11) *****-1234"}, {"email", "E-mail para u***@example.com"},
		}}
	case kind == "user-ok-phone":
		return &Parameter{Name: "token", Label: "Código enviado para o seu telefone", Type: "number", Placeholder: goodMFA}
	}
	return &Parameter{Name: "token", Label: "Token", Type: "number", Placeholder: goodMFA, Instructions: "Digite o token do seu banco"}
}
