package pluggy

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/disk"
	"github.com/shopspring/decimal"
)

// space is where the sandbox's documents lie on the disk.
const space = "pluggy"

type connectorDoc struct {
	Connector
	TwoSteps     bool   `json:"twoSteps"`
	Installments string `json:"installments"`
}

func (d connectorDoc) Key() string { return fmt.Sprintf("connector/%d", d.ID) }
func (d connectorDoc) Doc() any    { return d }

type healthDoc struct {
	ID     int
	Status string
}

func (h healthDoc) Key() string { return fmt.Sprintf("health/%d", h.ID) }
func (h healthDoc) Doc() any    { return h }

type customerDoc struct {
	ID, User  string
	Connector int
}

func (c *customer) Key() string { return "customer/" + c.id }
func (c *customer) Doc() any    { return customerDoc{c.id, c.user, c.connector} }

type holdingDoc struct {
	Holding
	ID, Customer, GrownTo string
	N                     int
	Closed                bool
}

func (h *holding) Key() string { return "holding/" + h.id }
func (h *holding) Doc() any {
	return holdingDoc{h.Holding, h.id, h.owner.id, h.grownTo, slices.Index(h.owner.holdings, h), h.closed}
}

type rowDoc struct {
	Row
	ID, Holding                 string
	N, Order, Version, Identity int
	Gone                        bool
}

func (r *row) Key() string { return "row/" + r.id }
func (r *row) Doc() any {
	return rowDoc{r.Row, r.id, r.holding.id, r.n, r.order, r.version, r.identity, r.gone}
}

type accountDoc struct {
	ID, Holding      string
	Created, Updated time.Time
	Balance          decimal.Decimal
}

type itemDoc struct {
	ID, Client, Customer, Token                            string
	Connector                                              int
	Parameters                                             map[string]string
	Options                                                ItemOptions
	Products                                               []string
	Created, Updated, LastUpdated, StepAt, Deadline, Ended time.Time
	Status, Execution, Trigger, Broken, ProviderMessage    string
	Left                                                   []string
	Parameter                                              *Parameter
	Err                                                    *ItemError
	FailedLogins, Errors, Retries                          int
	Approved                                               bool
	NextSync, SyncDisabled                                 time.Time
	Consent                                                consent
	Accounts                                               []accountDoc
}

func (it *item) Key() string { return "item/" + it.id }
func (it *item) Doc() any {
	d := itemDoc{
		it.id, it.client, it.customerID, it.token, it.connector.ID, it.parameters, it.options, it.products, it.created, it.updated,
		it.lastUpdated, it.stepAt, it.deadline, it.ended, it.status, it.execution, it.trigger, it.broken, it.providerMessage, it.left,
		it.parameter, it.err, it.failedLogins, it.errors, it.retries, it.approved, it.nextSync, it.syncDisabled, it.consent, nil,
	}
	for _, a := range it.accounts {
		d.Accounts = append(d.Accounts, accountDoc{a.id, a.holding.id, a.created, a.updated, a.balance})
	}
	return d
}

type entryDoc struct {
	ID, Account, Row         string
	Created, Updated         time.Time
	Version, Identity, Order int
	Shown                    Row
}

func (e *entry) Key() string { return "entry/" + e.id }
func (e *entry) Doc() any {
	return entryDoc{e.id, e.account.id, e.row.id, e.created, e.updated, e.version, e.identity, e.order, e.shown}
}

// saved is everything on the disk, as it was written.
type saved struct {
	connectors []connectorDoc
	health     []healthDoc
	customers  []customerDoc
	holdings   []holdingDoc
	rows       []rowDoc
	items      []itemDoc
	entries    []entryDoc
	webhooks   []*subscription
	keys       []keyDoc
}

// kinds says where a document goes, by the kind in its id.
func (s *saved) kinds() map[string]func(body []byte) error {
	return map[string]func(body []byte) error{
		"connector": disk.Into(&s.connectors),
		"health":    disk.Into(&s.health),
		"customer":  disk.Into(&s.customers),
		"holding":   disk.Into(&s.holdings),
		"row":       disk.Into(&s.rows),
		"item":      disk.Into(&s.items),
		"entry":     disk.Into(&s.entries),
		"webhook":   disk.Into(&s.webhooks),
		"key":       disk.Into(&s.keys),
	}
}

// restore fills a new Bank from the disk.
func (b *Bank) restore(s *saved) error {
	for _, d := range s.connectors {
		c := d.Connector
		c.TwoSteps, c.Installments, c.own = d.TwoSteps, d.Installments, true
		b.own[c.ID] = &c
	}
	for _, d := range s.health {
		b.health[d.ID] = d.Status
	}
	for _, d := range s.customers {
		b.customers[d.ID] = &customer{id: d.ID, connector: d.Connector, user: d.User}
	}
	if err := b.restoreStatements(s); err != nil {
		return err
	}
	if err := b.restoreItems(s); err != nil {
		return err
	}
	return nil
}

func (b *Bank) restoreStatements(s *saved) error {
	slices.SortFunc(s.holdings, func(x, y holdingDoc) int { return cmp.Compare(x.N, y.N) })
	for _, d := range s.holdings {
		c := b.customers[d.Customer]
		if c == nil {
			return fmt.Errorf("bank account %s: no customer %s", d.ID, d.Owner)
		}
		h := &holding{Holding: d.Holding, id: d.ID, owner: c, closed: d.Closed, grownTo: d.GrownTo, perDay: map[string]int{}}
		c.holdings = append(c.holdings, h)
		b.holdings[h.id] = h
	}
	slices.SortFunc(s.rows, func(x, y rowDoc) int { return cmp.Compare(x.N, y.N) })
	for _, d := range s.rows {
		h := b.holdings[d.Holding]
		at, err := b.when(d.Date)
		if h == nil || err != nil {
			return fmt.Errorf("row %s: its bank account or its date is missing", d.ID)
		}
		r := &row{Row: d.Row, id: d.ID, n: d.N, order: d.Order, at: at, holding: h, version: d.Version, identity: d.Identity, gone: d.Gone}
		h.rows = append(h.rows, r)
		h.perDay[r.Date[:10]] = max(h.perDay[r.Date[:10]], r.order+1)
		h.total = h.total.Add(r.effect())
		b.rows[r.id] = r
	}
	return nil
}

func (b *Bank) restoreItems(s *saved) error {
	for _, d := range s.items {
		if err := b.restoreItem(d); err != nil {
			return fmt.Errorf("item %s: %w", d.ID, err)
		}
	}
	for _, it := range b.sortedItems() {
		if c := b.customers[it.customerID]; c != nil && !it.lastUpdated.IsZero() {
			c.items = append(c.items, it)
		}
	}
	shown := map[*account][]*entry{}
	for _, d := range s.entries {
		a, r := b.accounts[d.Account], b.rows[d.Row]
		at, err := b.when(d.Shown.Date)
		if a == nil || r == nil || err != nil {
			return fmt.Errorf("transaction %s: its account or row is missing", d.ID)
		}
		e := &entry{
			id: d.ID, account: a, row: r, created: d.Created, updated: d.Updated, version: d.Version, identity: d.Identity,
			shown: d.Shown, at: at, order: d.Order,
		}
		a.byRow[r], b.entries[e.id] = e, e
		shown[a] = append(shown[a], e)
	}
	for _, a := range b.accounts {
		a.list(shown[a])
		a.restoreStale()
	}
	return nil
}

// restoreStale finds again what the bank changed since the account was last collected.
func (a *account) restoreStale() {
	for _, r := range a.holding.rows {
		if e := a.byRow[r]; e == nil && !r.gone || e != nil && e.version != r.version {
			a.stale[r] = true
		}
	}
}

func (b *Bank) restoreItem(d itemDoc) error {
	c, err := b.connector(d.Connector)
	if err != nil {
		return err
	}
	it := &item{
		id: d.ID, client: d.Client, connector: c, customerID: d.Customer, parameters: d.Parameters, options: d.Options, products: d.Products,
		token: d.Token, created: d.Created, updated: d.Updated, lastUpdated: d.LastUpdated, status: d.Status, execution: d.Execution,
		trigger: d.Trigger, left: d.Left, stepAt: d.StepAt, deadline: d.Deadline, parameter: d.Parameter, err: d.Err, ended: d.Ended,
		failedLogins: d.FailedLogins, errors: d.Errors, retries: d.Retries, approved: d.Approved, broken: d.Broken,
		providerMessage: d.ProviderMessage, nextSync: d.NextSync, syncDisabled: d.SyncDisabled, consent: d.Consent,
	}
	if it.parameter != nil {
		it.parameter.ExpiresAt = it.deadline
	}
	for _, x := range d.Accounts {
		h := b.holdings[x.Holding]
		if h == nil {
			return fmt.Errorf("no bank account %s", x.Holding)
		}
		a := newAccount(x.ID, it, h, x.Created)
		a.updated, a.balance = x.Updated, x.Balance
		it.accounts = append(it.accounts, a)
		b.accounts[a.id] = a
	}
	b.items[it.id] = it
	return nil
}
