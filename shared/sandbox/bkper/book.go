package bkper

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// bookDoc is a Book as the disk keeps it.
type bookDoc struct {
	ID               string                  `json:"id"`
	Name             string                  `json:"name"`
	Agent            string                  `json:"agent,omitempty"`
	AutoPost         bool                    `json:"autoPost"`
	Digits           int                     `json:"fractionDigits"`
	DatePattern      string                  `json:"datePattern"`
	DecimalSeparator string                  `json:"decimalSeparator"`
	TimeZone         string                  `json:"timeZone"`
	LockDate         string                  `json:"lockDate,omitempty"`
	ClosingDate      string                  `json:"closingDate,omitempty"`
	Period           string                  `json:"period"`
	PeriodStart      string                  `json:"periodStartMonth"`
	PageSize         int                     `json:"pageSize"`
	Visibility       string                  `json:"visibility"`
	Properties       map[string]string       `json:"properties,omitempty"`
	Collaborators    map[string]Collaborator `json:"collaborators"` // by e-mail address in lower case
	Groups           map[string]Group        `json:"groups,omitempty"`
	Created          int64                   `json:"created"`
	Updated          int64                   `json:"updated"`
	Deleted          bool                    `json:"deleted,omitempty"`
}

// book is a Book with its indexes, which are made anew on load.
type book struct {
	bookDoc
	accounts     map[string]*account
	names        map[string]string // normalized name → account id
	records      map[string]*record
	remote       map[string][]*record // remote id → standing and trashed records, at most one of them standing
	standing     *index
	trash        *index
	integrations map[string]*Integration
	events       []Event
	seq          int64
	touched      int64
}

func newBook(d bookDoc) *book {
	return &book{
		bookDoc: d, accounts: map[string]*account{}, names: map[string]string{}, records: map[string]*record{},
		remote: map[string][]*record{}, standing: newIndex(), trash: newIndex(), integrations: map[string]*Integration{}, touched: d.Updated,
	}
}

// record is a transaction as the disk keeps it. A record is never changed: changes replace it by a copy.
type record struct {
	ID          string              `json:"id"`
	Book        string              `json:"book"`
	Seq         int64               `json:"seq"`
	Date        string              `json:"date,omitempty"`
	Amount      decimal.NullDecimal `json:"amount"`
	Credit      string              `json:"credit,omitempty"`
	Debit       string              `json:"debit,omitempty"`
	Description string              `json:"description,omitempty"`
	RemoteIDs   []string            `json:"remoteIds,omitempty"`
	URLs        []string            `json:"urls,omitempty"`
	Files       []File              `json:"files,omitempty"`
	Properties  map[string]string   `json:"properties,omitempty"`
	Posted      bool                `json:"posted,omitempty"`
	Checked     bool                `json:"checked,omitempty"`
	Trashed     bool                `json:"trashed,omitempty"`
	Agent       string              `json:"agent,omitempty"`
	CreatedBy   string              `json:"createdBy,omitempty"`
	Created     int64               `json:"created"`
	Updated     int64               `json:"updated"`
}

func (r *record) day() int { return dayOf(r.Date) }

// dayOf writes a date yyyy-MM-dd as YYYYMMDD; 0 for none.
func dayOf(date string) int {
	n := 0
	for _, c := range date {
		if c >= '0' && c <= '9' {
			n = n*10 + int(c-'0')
		}
	}
	return n
}

func (r *record) complete() bool {
	return r.Date != "" && r.Amount.Valid && !r.Amount.Decimal.IsZero() && r.Credit != "" && r.Debit != ""
}

// swap replaces old by new in all indexes and balances. One of them may be nil.
func (b *book) swap(old, new *record) {
	if old != nil {
		b.place(old).remove(old)
		b.eachSide(old, func(a *account, sign decimal.Decimal) {
			a.place(old).remove(old)
			a.tally(old, sign.Neg(), -1)
		})
		for _, id := range old.RemoteIDs {
			b.remote[id] = slices.DeleteFunc(b.remote[id], func(r *record) bool { return r == old })
			if len(b.remote[id]) == 0 {
				delete(b.remote, id)
			}
		}
		delete(b.records, old.ID)
	}
	if new != nil {
		b.place(new).add(new)
		b.eachSide(new, func(a *account, sign decimal.Decimal) {
			a.place(new).add(new)
			a.tally(new, sign, 1)
		})
		for _, id := range new.RemoteIDs {
			b.remote[id] = append(b.remote[id], new)
		}
		b.records[new.ID] = new
		b.seq = max(b.seq, new.Seq)
		b.touched = max(b.touched, new.Updated)
	}
}

func (b *book) place(r *record) *index {
	if r.Trashed {
		return b.trash
	}
	return b.standing
}

// eachSide calls do with the record's Accounts and the sign with which its amount enters their balances.
func (b *book) eachSide(r *record, do func(*account, decimal.Decimal)) {
	if a := b.accounts[r.Credit]; a != nil {
		do(a, decimal.NewFromInt(1))
	}
	// A transaction of an Account with itself stands once in the Account's index.
	if a := b.accounts[r.Debit]; a != nil && r.Debit != r.Credit {
		do(a, decimal.NewFromInt(-1))
	}
}

// standingWith returns the standing record that holds a remote id, or nil.
func (b *book) standingWith(remoteID string) *record {
	for _, r := range b.remote[remoteID] {
		if !r.Trashed {
			return r
		}
	}
	return nil
}

// locked reports whether a date lies in the locked or closed period.
func (b *book) locked(date string) bool {
	return date != "" && date <= max(b.LockDate, b.ClosingDate)
}

func (b *book) event(s *Service, who Caller, kind, resource string) {
	const keep = 1000
	if len(b.events) >= 2*keep {
		b.events = append([]Event(nil), b.events[keep:]...)
	}
	e := Event{ID: s.id(), BookID: b.ID, Type: kind, Resource: resource, CreatedAt: stamp(s.millis())}
	u := s.users[fold(who.Email)]
	e.User = &User{Name: u.Name, Email: who.Email}
	e.Agent = s.agent(who.Agent)
	b.events = append(b.events, e)
}

func (s *Service) agent(id string) *Agent {
	if id == "" {
		return nil
	}
	a := &Agent{ID: id}
	if app := s.apps[id]; app != nil {
		a.Name, a.Logo, a.LogoDark = app.Name, app.LogoURL, app.LogoURLDark
	}
	return a
}

func (s *Service) viewBook(b *book, who Caller) Book {
	owner := ""
	for _, c := range b.Collaborators {
		if c.Permission == Owner {
			owner = cmp.Or(s.users[fold(c.Email)].Name, c.Email)
		}
	}
	v := Book{
		ID: b.ID, Name: b.Name, AgentID: b.Agent, AutoPost: new(b.AutoPost), FractionDigits: new(b.Digits), DatePattern: b.DatePattern,
		DecimalSeparator: b.DecimalSeparator, TimeZone: b.TimeZone, LockDate: b.LockDate, ClosingDate: b.ClosingDate,
		Period: b.Period, PeriodStartMonth: b.PeriodStart, PageSize: b.PageSize, Visibility: b.Visibility,
		Properties: maps.Clone(b.Properties), Permission: b.permission(who), OwnerName: owner,
		CreatedAt: stamp(b.Created), UpdatedAt: stamp(b.Updated), LastUpdateMs: stamp(b.touched),
		TotalTransactions: s.int64(len(b.records)),
	}
	if zone, err := time.LoadLocation(b.TimeZone); err == nil {
		_, offset := s.now().In(zone).Zone()
		v.TimeZoneOffset = new(offset / 60)
	}
	return v
}

// Books lists the Books that the caller is a collaborator of, by name; filter is part of the name.
func (s *Service) Books(who Caller, filter string) (List[Book], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l List[Book]
	for _, b := range sorted(s.books) {
		if !b.Deleted && b.permission(who).can(enters) && strings.Contains(stripMarks(b.Name), stripMarks(filter)) {
			l.Items = append(l.Items, s.viewBook(b, who))
		}
	}
	slices.SortStableFunc(l.Items, func(x, y Book) int { return strings.Compare(x.Name, y.Name) })
	return l, nil
}

// Book reads one Book; with says whether Accounts and groups come with it. A RECORDER gets none.
func (s *Service) Book(who Caller, id string, with bool) (Book, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, id, enters)
	if err != nil {
		return Book{}, err
	}
	v := s.viewBook(b, who)
	if with && v.Permission.can(views) {
		v.Accounts, v.Groups = b.viewAccounts(), b.viewGroups()
	}
	return v, nil
}

// bookKey writes a number as the url-safe key that Google's Datastore gives to Bkper's ledgers.
func bookKey(n int64) string {
	raw := append([]byte("j\x0bs~bkper-hrdr\x13\x0b\x12\x06Ledger\x18"), binary.AppendUvarint(nil, uint64(n))...)
	return base64.RawURLEncoding.EncodeToString(append(raw, 0x0c))
}

// CreateBook makes a Book that the caller owns. AutoPost is on unless said otherwise, as for new Books at Bkper. An ID is
// taken where it is given: seeds use it.
func (s *Service) CreateBook(who Caller, in Book) (Book, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.millis()
	d := bookDoc{
		ID: in.ID, Agent: who.Agent, AutoPost: true, Digits: 2, DatePattern: "dd/MM/yyyy", DecimalSeparator: "DOT", TimeZone: "UTC",
		Period: "MONTH", PeriodStart: "JANUARY", PageSize: 100, Visibility: "PRIVATE", Created: now,
		Groups: map[string]Group{}, Collaborators: map[string]Collaborator{},
	}
	if strings.TrimSpace(in.Name) == "" {
		return Book{}, invalid("Book name is required")
	}
	if d.ID == "" {
		d.ID = bookKey(s.newID())
	}
	if s.books[d.ID] != nil {
		return Book{}, invalid("Book [%s] exists", d.ID)
	}
	d.Collaborators[fold(who.Email)] = Collaborator{ID: s.id(), Email: who.Email, Permission: Owner, CreatedAt: stamp(now), UpdatedAt: stamp(now)}
	b := newBook(d)
	if err := b.set(who, in); err != nil {
		return Book{}, err
	}
	s.books[d.ID] = b
	b.event(s, who, "BOOK_CREATED", b.ID)
	return s.viewBook(b, who), s.keepBook(b)
}

func (s *Service) keepBook(b *book) error {
	b.Updated = s.millis()
	b.touched = max(b.touched, b.Updated)
	return s.save(bookSpace, b.ID, b.bookDoc)
}

// UpdateBook changes what is said and leaves what is not. EDITORs may; only the OWNER may move a lock back.
func (s *Service) UpdateBook(who Caller, id string, in Book) (Book, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, id, edits)
	if err != nil {
		return Book{}, err
	}
	before := b.bookDoc
	if err := b.set(who, in); err != nil {
		b.bookDoc = before
		return Book{}, err
	}
	b.event(s, who, "BOOK_UPDATED", b.ID)
	return s.viewBook(b, who), s.keepBook(b)
}

func (b *book) set(who Caller, in Book) error {
	for _, f := range []struct {
		to      *string
		in      string
		allowed []string
	}{
		{&b.Name, in.Name, nil},
		{&b.TimeZone, in.TimeZone, nil},
		{&b.DatePattern, in.DatePattern, []string{"dd/MM/yyyy", "MM/dd/yyyy", "yyyy/MM/dd"}},
		{&b.DecimalSeparator, in.DecimalSeparator, []string{"DOT", "COMMA"}},
		{&b.Period, in.Period, []string{"MONTH", "QUARTER", "YEAR"}},
		{&b.PeriodStart, in.PeriodStartMonth, months},
		{&b.Visibility, in.Visibility, []string{"PUBLIC", "PRIVATE"}},
	} {
		if f.in == "" {
			continue
		}
		if f.allowed != nil && !slices.Contains(f.allowed, f.in) {
			return invalid("InvalidFormatException: [%s] is not one of %v", f.in, f.allowed)
		}
		*f.to = f.in
	}
	if _, err := time.LoadLocation(b.TimeZone); err != nil {
		return invalid("Invalid time zone [%s]", b.TimeZone)
	}
	if in.AutoPost != nil {
		b.AutoPost = *in.AutoPost
	}
	if in.FractionDigits != nil {
		if b.Digits = *in.FractionDigits; b.Digits < 0 || b.Digits > 8 {
			return invalid("Fraction digits must be between 0 and 8")
		}
	}
	var err error
	if b.Properties, err = merge(b.Properties, in.Properties); err != nil {
		return err
	}
	return b.setLocks(who, in)
}

var months = []string{
	"JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE", "JULY", "AUGUST", "SEPTEMBER", "OCTOBER", "NOVEMBER", "DECEMBER",
}

// cleared is the date by which a client takes a lock away.
const cleared = "1900-00-00"

func (b *book) setLocks(who Caller, in Book) error {
	for _, lock := range []struct {
		to *string
		in string
	}{{&b.LockDate, in.LockDate}, {&b.ClosingDate, in.ClosingDate}} {
		if lock.in == "" || lock.in == *lock.to {
			continue
		}
		date := lock.in
		if date == cleared {
			date = ""
		} else if err := checkDate(date); err != nil {
			return err
		}
		if date < *lock.to {
			if err := b.allow(who, owns); err != nil {
				return err
			}
		}
		*lock.to = date
	}
	return nil
}

func checkDate(date string) error {
	if _, err := time.Parse(time.DateOnly, date); err != nil {
		return invalid("InvalidFormatException: date [%s] is not yyyy-MM-dd", date)
	}
	return nil
}

// DeleteBook deletes a Book for everyone; only its OWNER may.
func (s *Service) DeleteBook(who Caller, id string) (Book, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, id, owns)
	if err != nil {
		return Book{}, err
	}
	v := s.viewBook(b, who)
	b.Deleted = true
	return v, s.keepBook(b)
}

// Collaborators lists who may do what in a Book.
func (s *Service) Collaborators(who Caller, bookID string) (List[Collaborator], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, views)
	if err != nil {
		return List[Collaborator]{}, err
	}
	return List[Collaborator]{Items: sorted(b.Collaborators)}, nil
}

// Share gives a person a permission, or another one than before. OWNER cannot be given or taken.
func (s *Service) Share(who Caller, bookID string, in Collaborator) (Collaborator, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, edits)
	if err != nil {
		return Collaborator{}, err
	}
	c, known := b.Collaborators[fold(in.Email)]
	switch {
	case !strings.Contains(in.Email, "@"):
		return Collaborator{}, invalid("Invalid email [%s]", in.Email)
	case !slices.Contains(permissions, in.Permission) || in.Permission == Owner:
		return Collaborator{}, invalid("InvalidFormatException: permission [%s] cannot be given", in.Permission)
	case known && c.Permission == Owner:
		return Collaborator{}, invalid("The owner keeps the book")
	}
	now, kind := stamp(s.millis()), "COLLABORATOR_UPDATED"
	if !known {
		c, kind = Collaborator{ID: s.id(), Email: in.Email, CreatedAt: now}, "COLLABORATOR_ADDED"
	}
	c.Permission, c.UpdatedAt = in.Permission, now
	b.Collaborators[fold(in.Email)] = c
	b.event(s, who, kind, c.ID)
	return c, s.keepBook(b)
}

// Unshare ends a person's access; idOrEmail says whose.
func (s *Service) Unshare(who Caller, bookID, idOrEmail string) (Collaborator, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, edits)
	if err != nil {
		return Collaborator{}, err
	}
	for key, c := range b.Collaborators {
		if c.ID != idOrEmail && key != fold(idOrEmail) {
			continue
		}
		if c.Permission == Owner {
			return Collaborator{}, invalid("The owner keeps the book")
		}
		delete(b.Collaborators, key)
		b.event(s, who, "COLLABORATOR_REMOVED", c.ID)
		return c, s.keepBook(b)
	}
	return Collaborator{}, notFound("Collaborator NOT found! ID: %s", idOrEmail)
}

// Events lists what happened in a Book, newest first, at most limit. Only the last thousand or so are kept, and none
// across a restart.
func (s *Service) Events(who Caller, bookID, kind, resource string, limit int) (List[Event], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, views)
	if err != nil {
		return List[Event]{}, err
	}
	var l List[Event]
	for _, e := range slices.Backward(b.events) {
		if len(l.Items) < limit && (kind == "" || e.Type == kind) && (resource == "" || e.Resource == resource) {
			l.Items = append(l.Items, e)
		}
	}
	return l, nil
}

// formatDate writes a date in the Book's pattern.
func (b *book) formatDate(date string) string {
	if len(date) != 10 {
		return ""
	}
	y, m, d := date[:4], date[5:7], date[8:]
	switch b.DatePattern {
	case "MM/dd/yyyy":
		return m + "/" + d + "/" + y
	case "yyyy/MM/dd":
		return y + "/" + m + "/" + d
	}
	return d + "/" + m + "/" + y
}
