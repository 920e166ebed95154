package bkper

import (
	"maps"
	"slices"
	"strings"

	"github.com/shopspring/decimal"
)

// accountDoc is an Account as the disk keeps it; balances follow from the transactions.
type accountDoc struct {
	ID         string            `json:"id"`
	Book       string            `json:"book"`
	Name       string            `json:"name"`
	Type       AccountType       `json:"type"`
	Archived   bool              `json:"archived,omitempty"`
	Groups     []string          `json:"groups,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
	Agent      string            `json:"agent,omitempty"`
	Created    int64             `json:"created"`
	Updated    int64             `json:"updated"`
}

type account struct {
	accountDoc
	balance         decimal.Decimal // credits − debits of what is posted and stands
	posted          int             // posted records, standing ones only
	standing, trash *index
}

func (b *book) addAccount(d accountDoc) *account {
	a := &account{accountDoc: d, standing: newIndex(), trash: newIndex()}
	b.accounts[d.ID], b.names[Normalize(d.Name)] = a, d.ID
	return a
}

func (a *account) place(r *record) *index {
	if r.Trashed {
		return a.trash
	}
	return a.standing
}

// tally enters a record into the balance; count is 1 to enter it and -1 to take it out.
func (a *account) tally(r *record, sign decimal.Decimal, count int) {
	if !r.Posted || r.Trashed {
		return
	}
	a.posted += count
	if r.Credit != r.Debit {
		a.balance = a.balance.Add(r.Amount.Decimal.Mul(sign))
	}
}

// find returns an Account by id or name, or nil.
func (b *book) find(idOrName string) *account {
	if a := b.accounts[idOrName]; a != nil {
		return a
	}
	return b.accounts[b.names[Normalize(idOrName)]]
}

func (b *book) money(d decimal.Decimal) string {
	return d.StringFixed(max(int32(b.Digits), -d.Exponent()))
}

// brief is an Account as it stands inside a transaction.
func (b *book) brief(id string) *Account {
	a := b.accounts[id]
	if a == nil {
		return nil
	}
	return &Account{
		ID: a.ID, Name: a.Name, NormalizedName: Normalize(a.Name), Type: a.Type, Archived: new(a.Archived),
		Credit: new(a.Type == Liability || a.Type == Incoming), Permanent: new(a.Type == Asset || a.Type == Liability),
	}
}

func (b *book) viewAccount(a *account) Account {
	v := *b.brief(a.ID)
	v.Balance, v.BalanceVerified, v.HasTransactionPosted = b.money(a.balance), new(true), new(a.posted > 0)
	v.AgentID, v.Properties = a.Agent, maps.Clone(a.Properties)
	v.CreatedAt, v.UpdatedAt = stamp(a.Created), stamp(a.Updated)
	for _, id := range a.Groups {
		if g, ok := b.Groups[id]; ok {
			v.Groups = append(v.Groups, g)
		}
	}
	return v
}

func (b *book) viewAccounts() []Account {
	var all []Account
	for _, id := range sorted(b.names) {
		all = append(all, b.viewAccount(b.accounts[id]))
	}
	return all
}

// Accounts lists the Accounts of a Book by name.
func (s *Service) Accounts(who Caller, bookID string) (List[Account], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, views)
	if err != nil {
		return List[Account]{}, err
	}
	return List[Account]{Items: b.viewAccounts()}, nil
}

// Account reads an Account by id or name.
func (s *Service) Account(who Caller, bookID, idOrName string) (Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, views)
	if err != nil {
		return Account{}, err
	}
	a := b.find(idOrName)
	if a == nil {
		return Account{}, notFound("Account NOT found! ID or name: %s", idOrName)
	}
	return b.viewAccount(a), nil
}

// CreateAccounts makes Accounts, all or none. Two Accounts of a Book never share a normalized name.
func (s *Service) CreateAccounts(who Caller, bookID string, in []Account) (List[Account], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, edits)
	if err != nil {
		return List[Account]{}, err
	}
	now := s.millis()
	var docs []accountDoc
	names := map[string]bool{}
	for _, a := range in {
		d := accountDoc{ID: s.id(), Book: b.ID, Agent: who.Agent, Created: now, Updated: now}
		if err := b.setAccount(&d, a); err != nil {
			return List[Account]{}, err
		}
		if names[Normalize(d.Name)] {
			return List[Account]{}, invalid("Account with name [%s] already exists", d.Name)
		}
		names[Normalize(d.Name)] = true
		docs = append(docs, d)
	}
	var l List[Account]
	save := map[string]any{}
	for _, d := range docs {
		l.Items = append(l.Items, b.viewAccount(b.addAccount(d)))
		save[b.ID+"/"+d.ID] = d
		b.event(s, who, "ACCOUNT_CREATED", d.ID)
	}
	return l, s.saveAll(accountSpace, save)
}

// UpdateAccounts changes, by id, what is said and leaves what is not.
func (s *Service) UpdateAccounts(who Caller, bookID string, in []Account) (List[Account], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, edits)
	if err != nil {
		return List[Account]{}, err
	}
	var l List[Account]
	save := map[string]any{}
	for _, in := range in {
		a := b.accounts[in.ID]
		if a == nil {
			return List[Account]{}, notFound("Account NOT found! ID: %s", in.ID)
		}
		d := a.accountDoc
		d.Updated = s.millis()
		if err := b.setAccount(&d, in); err != nil {
			return List[Account]{}, err
		}
		delete(b.names, Normalize(a.Name))
		a.accountDoc = d
		b.names[Normalize(d.Name)] = d.ID
		save[b.ID+"/"+d.ID] = d
		l.Items = append(l.Items, b.viewAccount(a))
		b.event(s, who, "ACCOUNT_UPDATED", d.ID)
	}
	return l, s.saveAll(accountSpace, save)
}

func (b *book) setAccount(d *accountDoc, in Account) error {
	if in.Name != "" {
		d.Name = strings.TrimSpace(in.Name)
	}
	if in.Type != "" {
		d.Type = in.Type
	}
	if in.Archived != nil {
		d.Archived = *in.Archived
	}
	if Normalize(d.Name) == "" {
		return invalid("Account name is required")
	}
	if !slices.Contains([]AccountType{Asset, Liability, Incoming, Outgoing}, d.Type) {
		return invalid("InvalidFormatException: account type [%s]", d.Type)
	}
	if id, ok := b.names[Normalize(d.Name)]; ok && id != d.ID {
		return invalid("Account with name [%s] already exists", d.Name)
	}
	var err error
	if d.Properties, err = merge(d.Properties, in.Properties); err != nil {
		return err
	}
	if in.Groups == nil {
		return nil
	}
	d.Groups = nil
	for _, g := range in.Groups {
		found := b.findGroup(g)
		if found == "" {
			return notFound("Group NOT found! ID or name: %s%s", g.ID, g.Name)
		}
		d.Groups = append(d.Groups, found)
	}
	return nil
}

// DeleteAccount deletes an Account; one with posted transactions can only be archived. Drafts and trashed transactions
// lose that side.
func (s *Service) DeleteAccount(who Caller, bookID, id string) (Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, edits)
	if err != nil {
		return Account{}, err
	}
	a := b.find(id)
	if a == nil {
		return Account{}, notFound("Account NOT found! ID: %s", id)
	}
	var affected []*record
	collect := func(r *record) bool { affected = append(affected, r); return true }
	a.standing.scan(0, maxDay, start, collect)
	a.trash.scan(0, maxDay, start, collect)
	if slices.ContainsFunc(affected, func(r *record) bool { return r.Posted }) {
		return Account{}, invalid("Account [%s] has posted transactions: archive it", a.Name)
	}
	v := b.viewAccount(a)
	save := map[string]any{}
	for _, r := range affected {
		without := *r
		if without.Credit == a.ID {
			without.Credit = ""
		}
		if without.Debit == a.ID {
			without.Debit = ""
		}
		b.swap(r, &without)
		save[b.ID+"/"+r.ID] = &without
	}
	delete(b.accounts, a.ID)
	delete(b.names, Normalize(a.Name))
	b.event(s, who, "ACCOUNT_DELETED", a.ID)
	if err := s.saveAll(transactionSpace, save); err != nil {
		return Account{}, err
	}
	return v, s.save(accountSpace, b.ID+"/"+a.ID, nil)
}

func (b *book) findGroup(g Group) string {
	if _, ok := b.Groups[g.ID]; ok {
		return g.ID
	}
	for id, have := range b.Groups {
		if g.Name != "" && Normalize(have.Name) == Normalize(g.Name) {
			return id
		}
	}
	return ""
}

func (b *book) viewGroups() []Group {
	all := sorted(b.Groups)
	slices.SortStableFunc(all, func(x, y Group) int { return strings.Compare(x.NormalizedName, y.NormalizedName) })
	return all
}

// Groups lists the groups of a Book by name.
func (s *Service) Groups(who Caller, bookID string) (List[Group], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, views)
	if err != nil {
		return List[Group]{}, err
	}
	return List[Group]{Items: b.viewGroups()}, nil
}

// Group reads a group by id or name, with the Accounts in it.
func (s *Service) Group(who Caller, bookID, idOrName string) (Group, List[Account], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l List[Account]
	b, err := s.enter(who, bookID, views)
	if err != nil {
		return Group{}, l, err
	}
	id := b.findGroup(Group{ID: idOrName, Name: idOrName})
	if id == "" {
		return Group{}, l, notFound("Group NOT found! ID or name: %s", idOrName)
	}
	for _, accountID := range sorted(b.names) {
		if a := b.accounts[accountID]; slices.Contains(a.Groups, id) {
			l.Items = append(l.Items, b.viewAccount(a))
		}
	}
	return b.Groups[id], l, nil
}

// PutGroup makes a group, or changes the one with the given id.
func (s *Service) PutGroup(who Caller, bookID string, in Group) (Group, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, edits)
	if err != nil {
		return Group{}, err
	}
	g, known := b.Groups[in.ID]
	now, kind := stamp(s.millis()), "GROUP_UPDATED"
	switch {
	case in.ID != "" && !known:
		return Group{}, notFound("Group NOT found! ID: %s", in.ID)
	case !known && Normalize(in.Name) == "":
		return Group{}, invalid("Group name is required")
	case !known:
		g, kind = Group{ID: s.id(), AgentID: who.Agent, CreatedAt: now}, "GROUP_CREATED"
	}
	if other := b.findGroup(Group{Name: in.Name}); other != "" && other != g.ID {
		return Group{}, invalid("Group with name [%s] already exists", in.Name)
	}
	if in.Name != "" {
		g.Name, g.NormalizedName = in.Name, Normalize(in.Name)
	}
	if in.Hidden != nil {
		g.Hidden = in.Hidden
	}
	if g.Properties, err = merge(g.Properties, in.Properties); err != nil {
		return Group{}, err
	}
	g.UpdatedAt = now
	b.Groups[g.ID] = g
	b.event(s, who, kind, g.ID)
	return g, s.keepBook(b)
}

// DeleteGroup deletes a group; its Accounts stay.
func (s *Service) DeleteGroup(who Caller, bookID, id string) (Group, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, edits)
	if err != nil {
		return Group{}, err
	}
	g, ok := b.Groups[id]
	if !ok {
		return Group{}, notFound("Group NOT found! ID: %s", id)
	}
	delete(b.Groups, id)
	b.event(s, who, "GROUP_DELETED", id)
	return g, s.keepBook(b)
}
