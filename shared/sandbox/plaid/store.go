package plaid

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/disk"
)

// space is where the sandbox's documents lie on the disk.
const space = "plaid"

type institutionDoc struct {
	Institution
	N int `json:"n"`
}

func (d institutionDoc) Key() string { return "institution/" + d.ID }
func (d institutionDoc) Doc() any    { return d }

type customerDoc struct {
	ID, Institution, User string
	Dynamic               bool
}

func (c *customer) Key() string { return "customer/" + c.id }
func (c *customer) Doc() any    { return customerDoc{c.id, c.institution, c.user, c.dynamic} }

type holdingDoc struct {
	Holding
	ID, Owner string
	N         int
	Closed    bool
}

func (h *holding) Key() string { return "holding/" + h.id }
func (h *holding) Doc() any {
	return holdingDoc{h.Holding, h.id, h.owner.id, slices.Index(h.owner.holdings, h), h.closed}
}

type rowDoc struct {
	Row
	ID, Holding string
	N           int
	PendingOf   string
	Version     int
	Gone        bool
}

func (r *row) Key() string { return "row/" + r.id }
func (r *row) Doc() any {
	return rowDoc{r.Row, r.id, r.holding.id, r.n, r.pendingOf, r.version, r.gone}
}

type accountDoc struct {
	ID, Holding string
	Gone        bool
}

type itemDoc struct {
	ID, Access, Client, Institution, Customer, Webhook string
	Products, Consented                                []string
	Created, SignedIn, Linked                          time.Time
	Days                                               int
	Status                                             Status
	Synced                                             bool
	InitialDue, HistoricalDue, LastUpdate              time.Time
	Err                                                *Error
	ErrAt, Consent                                     time.Time
	Warned, Removed                                    bool
	HookAt                                             time.Time
	HookCode                                           string
	Accounts                                           []accountDoc
	Head                                               int // the log's length
}

func (it *item) Key() string { return "item/" + it.id }
func (it *item) Doc() any {
	d := itemDoc{
		it.id, it.access, it.client, it.institution.ID, it.customer.id, it.webhook, it.products, it.consented, it.created, it.signedIn,
		it.linked, it.days, it.status, it.synced, it.initialDue, it.historicalDue, it.lastUpdate, it.err, it.errAt, it.consent,
		it.warned, it.removed, it.hookAt, it.hookCode, nil, len(it.log),
	}
	for _, a := range it.accounts {
		d.Accounts = append(d.Accounts, accountDoc{a.id, a.holding.id, a.gone})
	}
	return d
}

type entryDoc struct {
	ID, Item, Row, Account string
	Version, At            int
	Flips                  []int
	Breaks, Superseded     bool
	Pending                string
	Generation             int
}

func (e *entry) Key() string { return "entry/" + e.id }
func (e *entry) Doc() any {
	return entryDoc{e.id, e.account.item, e.row.id, e.account.id, e.version, e.at, e.flips, e.breaks, e.superseded, e.pending, e.generation}
}

type linkDoc struct {
	Token, HostedID, Client string
	Request                 LinkRequest
	Item                    string
	Created, Expires        time.Time
	Sessions                []*session
}

func (l *link) Key() string { return "link/" + l.token }
func (l *link) Doc() any {
	return linkDoc{l.token, l.hostedID, l.client, l.request, l.item, l.created, l.expires, l.sessions}
}

type publicDoc struct {
	Token, Client, Item string
	Expires             time.Time
	Used                bool
}

func (p *public) Key() string { return "public/" + p.token }
func (p *public) Doc() any    { return publicDoc{p.token, p.client, p.item, p.expires, p.used} }

// saved is everything on the disk, as it was written.
type saved struct {
	institutions []institutionDoc
	customers    []customerDoc
	holdings     []holdingDoc
	rows         []rowDoc
	items        []itemDoc
	entries      []entryDoc
	links        []linkDoc
	publics      []publicDoc
	keys         []*signingKey
}

// kinds says where a document goes, by the kind in its id.
func (s *saved) kinds() map[string]func(body []byte) error {
	return map[string]func(body []byte) error{
		"institution": disk.Into(&s.institutions),
		"customer":    disk.Into(&s.customers),
		"holding":     disk.Into(&s.holdings),
		"row":         disk.Into(&s.rows),
		"item":        disk.Into(&s.items),
		"entry":       disk.Into(&s.entries),
		"link":        disk.Into(&s.links),
		"public":      disk.Into(&s.publics),
		"key":         disk.Into(&s.keys),
	}
}

// restore fills a new Bank from the disk.
func (b *Bank) restore(s *saved) error {
	slices.SortFunc(s.institutions, func(x, y institutionDoc) int { return cmp.Compare(x.N, y.N) })
	for _, d := range s.institutions {
		inst := d.Institution
		inst.own, inst.n = true, d.N
		b.own[inst.ID] = &inst
		b.ownIDs = append(b.ownIDs, inst.ID)
	}
	for _, d := range s.customers {
		b.customers[d.ID] = &customer{id: d.ID, institution: d.Institution, user: d.User, dynamic: d.Dynamic}
	}
	if err := b.restoreStatements(s); err != nil {
		return err
	}
	if err := b.restoreItems(s); err != nil {
		return err
	}
	for _, d := range s.links {
		l := &link{d.Token, d.HostedID, d.Client, d.Request, d.Item, d.Created, d.Expires, d.Sessions}
		b.links[l.token] = l
		if l.hostedID != "" {
			b.hosted[l.hostedID] = l
		}
	}
	for _, d := range s.publics {
		b.publics[d.Token] = &public{d.Token, d.Client, d.Item, d.Expires, d.Used}
	}
	return nil
}

func (b *Bank) restoreStatements(s *saved) error {
	slices.SortFunc(s.holdings, func(x, y holdingDoc) int { return cmp.Compare(x.N, y.N) })
	for _, d := range s.holdings {
		c := b.customers[d.Owner]
		if c == nil {
			return fmt.Errorf("bank account %s: no customer %s", d.ID, d.Owner)
		}
		h := &holding{Holding: d.Holding, id: d.ID, owner: c, closed: d.Closed}
		c.holdings = append(c.holdings, h)
		b.holdings[h.id] = h
	}
	slices.SortFunc(s.rows, func(x, y rowDoc) int { return cmp.Compare(x.N, y.N) })
	for _, d := range s.rows {
		h := b.holdings[d.Holding]
		if h == nil {
			return fmt.Errorf("row %s: no bank account %s", d.ID, d.Holding)
		}
		r := &row{Row: d.Row, id: d.ID, n: d.N, holding: h, pendingOf: d.PendingOf, version: d.Version, gone: d.Gone}
		h.rows = append(h.rows, r)
		b.rows[r.id] = r
	}
	return nil
}

func (b *Bank) restoreItems(s *saved) error {
	for _, d := range s.items {
		it, err := b.restoreItem(d)
		if err != nil {
			return fmt.Errorf("item %s: %w", d.ID, err)
		}
		b.items[it.id] = it
		if it.access != "" {
			b.tokens[it.access] = it
		}
	}
	for _, it := range b.sortedItems() {
		it.customer.items = append(it.customer.items, it)
	}
	for _, d := range s.entries {
		it, r, a := b.items[d.Item], b.rows[d.Row], b.accounts[d.Account]
		if it == nil || r == nil || a == nil || d.At >= len(it.log) {
			return fmt.Errorf("transaction %s: its item, row or account is missing", d.ID)
		}
		e := &entry{
			id: d.ID, row: r, account: a, version: d.Version, at: d.At, flips: d.Flips, breaks: d.Breaks, pending: d.Pending,
			generation: d.Generation, superseded: d.Superseded,
		}
		it.log[e.at] = e
		b.entries[e.id] = e
		if !e.superseded {
			it.byRow[r.id] = e
		}
	}
	return nil
}

func (b *Bank) restoreItem(d itemDoc) (*item, error) {
	inst, ok := b.institution(d.Institution)
	c := b.customers[d.Customer]
	if !ok || c == nil {
		return nil, fmt.Errorf("no institution %s or customer %s", d.Institution, d.Customer)
	}
	it := &item{
		id: d.ID, access: d.Access, client: d.Client, institution: inst, customer: c, webhook: d.Webhook,
		products: d.Products, consented: d.Consented, created: d.Created, signedIn: d.SignedIn, linked: d.Linked, days: d.Days,
		status: d.Status, synced: d.Synced, initialDue: d.InitialDue, historicalDue: d.HistoricalDue, lastUpdate: d.LastUpdate,
		err: d.Err, errAt: d.ErrAt, consent: d.Consent, warned: d.Warned, removed: d.Removed, hookAt: d.HookAt, hookCode: d.HookCode,
		byRow: map[string]*entry{}, log: make([]*entry, d.Head),
	}
	for _, x := range d.Accounts {
		h := b.holdings[x.Holding]
		if h == nil {
			return nil, fmt.Errorf("no bank account %s", x.Holding)
		}
		a := &account{id: x.ID, item: d.ID, holding: h, gone: x.Gone}
		it.accounts = append(it.accounts, a)
		b.accounts[a.id] = a
	}
	return it, nil
}
