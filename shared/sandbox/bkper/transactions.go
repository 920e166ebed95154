package bkper

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/shopspring/decimal"
)

// work is a batch under way: every step takes effect at once and can be taken back.
type work struct {
	s       *Service
	b       *book
	who     Caller
	changes []changed
	answer  []*record // what the caller gets to see, in the order of the batch
}

type changed struct {
	old, new *record
	kind     string // of event
}

func (w *work) put(old, new *record, kind string) {
	new.Updated = w.s.millis()
	w.b.swap(old, new)
	w.changes = append(w.changes, changed{old, new, kind})
}

func (w *work) undo() {
	for _, c := range slices.Backward(w.changes) {
		w.b.swap(c.new, c.old)
	}
	w.changes = nil
}

// commit saves what changed.
func (w *work) commit() error {
	save := map[string]any{}
	for _, c := range w.changes {
		save[w.b.ID+"/"+c.new.ID] = c.new
		w.b.event(w.s, w.who, c.kind, c.new.ID)
	}
	return w.s.saveAll(transactionSpace, save)
}

// batch runs each for the n rows of a batch under the rules of atomicity, and returns what the caller gets to see.
func (s *Service) batch(who Caller, bookID string, c capability, n int, each func(*work, int) error) (*work, error) {
	b, err := s.enter(who, bookID, c)
	if err != nil {
		return nil, err
	}
	w := &work{s: s, b: b, who: who}
	for i := range n {
		if who.CutAfter > 0 && i == who.CutAfter {
			err = errUnavailable()
			break
		}
		if err = each(w, i); err != nil {
			if !s.rules.BatchKeepsPrefix {
				w.undo()
			}
			break
		}
	}
	if saveErr := w.commit(); saveErr != nil {
		return nil, saveErr
	}
	return w, err
}

func (s *Service) list(who Caller, bookID string, c capability, n int, each func(*work, int) error) ([]Transaction, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, err := s.batch(who, bookID, c, n, each)
	if err != nil {
		return nil, err
	}
	all := make([]Transaction, 0, len(w.answer))
	for _, r := range w.answer {
		all = append(all, s.view(w.b, r))
	}
	return all, nil
}

func (s *Service) single(who Caller, bookID string, c capability, each func(*work) error) (TransactionOperation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who.CutAfter = 0
	w, err := s.batch(who, bookID, c, 1, func(w *work, _ int) error { return each(w) })
	if err != nil || len(w.answer) == 0 {
		return TransactionOperation{}, err
	}
	r := w.answer[0]
	v := s.view(w.b, r)
	op := TransactionOperation{Transaction: &v}
	if !w.b.permission(who).can(views) {
		return op, nil
	}
	w.b.eachSide(r, func(a *account, _ decimal.Decimal) { op.Accounts = append(op.Accounts, w.b.viewAccount(a)) })
	return op, nil
}

func (s *Service) view(b *book, r *record) Transaction {
	v := Transaction{
		ID: r.ID, Date: r.Date, DateValue: r.day(), DateFormatted: b.formatDate(r.Date), Description: r.Description,
		CreditAccount: b.brief(r.Credit), DebitAccount: b.brief(r.Debit), Properties: maps.Clone(r.Properties),
		RemoteIDs: slices.Clone(r.RemoteIDs), URLs: slices.Clone(r.URLs), Files: slices.Clone(r.Files), Tags: tags(r.Description),
		Draft: new(!r.Posted), Posted: new(r.Posted), Checked: new(r.Checked), Trashed: new(r.Trashed),
		CreatedBy: r.CreatedBy, CreatedAt: stamp(r.Created), UpdatedAt: stamp(r.Updated),
	}
	if r.Amount.Valid {
		v.Amount = new(b.money(r.Amount.Decimal))
	}
	if a := s.agent(r.Agent); a != nil {
		v.AgentID, v.AgentName, v.AgentLogo, v.AgentLogoDark = a.ID, a.Name, a.Logo, a.LogoDark
	}
	return v
}

var tag = regexp.MustCompile(`#([a-zA-Z0-9_]+)`)

func tags(description string) []string {
	if !strings.Contains(description, "#") {
		return nil
	}
	var all []string
	for _, m := range tag.FindAllStringSubmatch(description, -1) {
		if !slices.Contains(all, m[1]) {
			all = append(all, m[1])
		}
	}
	return all
}

// Transaction reads one transaction, whatever its state.
func (s *Service) Transaction(who Caller, bookID, id string) (Transaction, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, views)
	if err != nil {
		return Transaction{}, err
	}
	r := b.records[id]
	if r == nil {
		return Transaction{}, noTransaction(id)
	}
	return s.view(b, r), nil
}

func noTransaction(id string) error { return notFound("Transaction NOT found! ID: %s", id) }

// CreateBatch records transactions. One whose remote id stands in the Book is skipped without a word, also when it
// stands earlier in the same batch. Complete ones are posted at once where the Book posts automatically, unless they
// say draft.
func (s *Service) CreateBatch(who Caller, bookID string, in []Transaction) ([]Transaction, error) {
	return s.list(who, bookID, records, len(in), func(w *work, i int) error {
		return w.create(in[i], false, w.s.rules.BatchDuplicatesReturned)
	})
}

// Create records one transaction, as CreateBatch does.
func (s *Service) Create(who Caller, bookID string, in Transaction) (TransactionOperation, error) {
	return s.single(who, bookID, records, func(w *work) error {
		return w.create(in, false, w.s.rules.SingleDuplicateReturned)
	})
}

func (w *work) create(in Transaction, post, showDuplicate bool) error {
	if in.ID != "" {
		return invalid("A new transaction has no id, but [%s] was sent", in.ID)
	}
	now := w.s.millis()
	r := &record{Book: w.b.ID, Agent: w.who.Agent, CreatedBy: w.who.Email, Created: now}
	if err := w.fill(r, in); err != nil {
		return err
	}
	if old := w.duplicate(r); old != nil {
		if showDuplicate {
			w.answer = append(w.answer, old)
		}
		return nil
	}
	if !w.s.rules.LockedDrafts && w.b.locked(r.Date) {
		return lockedError(w.b)
	}
	kind := "TRANSACTION_CREATED"
	if post || w.b.AutoPost && r.complete() && !True(in.Draft) && w.b.permission(w.who).can(posts) {
		if err := w.postable(r); err != nil {
			return err
		}
		r.Posted, kind = true, "TRANSACTION_POSTED"
	}
	// Nothing is numbered before it is known to be written.
	w.b.seq++
	r.Seq, r.ID = w.b.seq, w.s.id()
	w.put(nil, r, kind)
	w.answer = append(w.answer, r)
	return nil
}

// duplicate returns a record that keeps r from being created.
func (w *work) duplicate(r *record) *record {
	for _, id := range r.RemoteIDs {
		if old := w.b.standingWith(id); old != nil {
			return old
		}
		if held := w.b.remote[id]; len(held) > 0 && w.s.rules.TrashedBlocks {
			return held[0]
		}
	}
	return nil
}

func lockedError(b *book) error {
	return invalid("The book is locked until %s", b.formatDate(max(b.LockDate, b.ClosingDate)))
}

// amountForm is what Java's BigDecimal takes, without a sign and bounded.
var amountForm = regexp.MustCompile(`^[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?$`)

func (w *work) amount(text *string) (decimal.NullDecimal, error) {
	if text == nil {
		return decimal.NullDecimal{}, nil
	}
	if !amountForm.MatchString(*text) {
		return decimal.NullDecimal{}, invalid("InvalidFormatException: amount [%.60s] is not a positive decimal", *text)
	}
	d, err := decimal.NewFromString(*text)
	if err != nil {
		return decimal.NullDecimal{}, invalid("InvalidFormatException: amount [%.60s]: %v", *text, err)
	}
	rounded := d.Round(int32(w.b.Digits))
	if !rounded.Equal(d) && !w.s.rules.Rounds {
		return decimal.NullDecimal{}, invalid("Amount [%s] has more than %d fraction digits", *text, w.b.Digits)
	}
	return decimal.NewNullDecimal(rounded), nil
}

const maxRemoteID = 1500 // bytes of an indexed text in Google's Datastore

// fill sets everything that a client may write to what in says; what it does not say becomes empty.
func (w *work) fill(r *record, in Transaction) error {
	var err error
	if r.Amount, err = w.amount(in.Amount); err != nil {
		return err
	}
	if in.Date != "" {
		if err := checkDate(in.Date); err != nil {
			return err
		}
	}
	if r.Credit, err = w.side(in.CreditAccount, r.Credit); err != nil {
		return err
	}
	if r.Debit, err = w.side(in.DebitAccount, r.Debit); err != nil {
		return err
	}
	if r.Properties, err = merge(nil, in.Properties); err != nil {
		return err
	}
	r.RemoteIDs = nil
	for _, id := range in.RemoteIDs {
		if id == "" || len(id) > maxRemoteID {
			return invalid("A remote id has 1 to %d bytes", maxRemoteID)
		}
		if !slices.Contains(r.RemoteIDs, id) {
			r.RemoteIDs = append(r.RemoteIDs, id)
		}
	}
	r.Date, r.Description, r.URLs, r.Files = in.Date, in.Description, slices.Clone(in.URLs), slices.Clone(in.Files)
	return nil
}

// side resolves an Account by id or name. An archived one takes nothing new, but stays where it was.
func (w *work) side(ref *Account, before string) (string, error) {
	if ref == nil || ref.ID == "" && ref.Name == "" {
		return "", nil
	}
	a := w.b.accounts[ref.ID]
	if ref.ID == "" {
		a = w.b.accounts[w.b.names[Normalize(ref.Name)]]
	}
	if a == nil {
		return "", notFound("Account NOT found! ID or name: %s%s", ref.ID, ref.Name)
	}
	if a.Archived && a.ID != before {
		return "", invalid("Account [%s] is archived", a.Name)
	}
	return a.ID, nil
}

// byID finds the record of a row, which may be all but its id.
func (w *work) byID(in Transaction) (*record, error) {
	r := w.b.records[in.ID]
	if r == nil {
		return nil, noTransaction(in.ID)
	}
	return r, nil
}

// may tells whether the caller may alter a record as it stands.
func (w *work) may(r *record) error {
	c := records
	if r.Posted {
		c = posts
	}
	if err := w.b.allow(w.who, c); err != nil {
		return err
	}
	if w.b.locked(r.Date) && (r.Posted || !w.s.rules.LockedDrafts) {
		return lockedError(w.b)
	}
	return nil
}

// Update changes one transaction into what is sent, whole.
func (s *Service) Update(who Caller, bookID string, in Transaction) (TransactionOperation, error) {
	return s.single(who, bookID, records, func(w *work) error {
		r, err := w.byID(in)
		if err != nil {
			return err
		}
		if r.Checked {
			return invalid("The transaction [%s] is checked", in.ID)
		}
		return w.update(r, in)
	})
}

// UpdateBatch changes transactions, each into what is sent. Checked ones are skipped, unless updateChecked. It returns
// those that were updated.
func (s *Service) UpdateBatch(who Caller, bookID string, in []Transaction, updateChecked bool) ([]Transaction, error) {
	return s.list(who, bookID, records, len(in), func(w *work, i int) error {
		r, err := w.byID(in[i])
		if err != nil || r.Checked && !updateChecked {
			return err
		}
		return w.update(r, in[i])
	})
}

func (w *work) update(old *record, in Transaction) error {
	if old.Trashed {
		return invalid("The transaction [%s] is in the trash", old.ID)
	}
	if err := w.may(old); err != nil {
		return err
	}
	r := *old
	if err := w.fill(&r, in); err != nil {
		return err
	}
	if err := w.may(&r); err != nil {
		return err
	}
	if r.Posted && !r.complete() {
		return invalid("The posted transaction [%s] needs a date, an amount and both accounts", r.ID)
	}
	for _, id := range r.RemoteIDs {
		if other := w.b.standingWith(id); other != nil && other.ID != r.ID {
			return invalid("Remote id [%s] already exists on the book", id)
		}
	}
	if in.Checked != nil && *in.Checked != r.Checked {
		if err := w.checkable(&r); err != nil {
			return err
		}
		r.Checked = *in.Checked
	}
	w.put(old, &r, "TRANSACTION_UPDATED")
	w.answer = append(w.answer, &r)
	return nil
}

func (w *work) postable(r *record) error {
	if err := w.b.allow(w.who, posts); err != nil {
		return err
	}
	if !r.complete() {
		return invalid("To post, a transaction needs a date, an amount and both accounts")
	}
	if w.b.locked(r.Date) {
		return lockedError(w.b)
	}
	return nil
}

func (w *work) checkable(r *record) error {
	if err := w.b.allow(w.who, checks); err != nil {
		return err
	}
	if !r.Posted {
		return invalid("The transaction [%s] is a draft", r.ID)
	}
	if w.b.locked(r.Date) {
		return lockedError(w.b)
	}
	return nil
}

// A step moves a record to another state: it changes the copy it is given, or returns false where nothing is to do.
type step func(w *work, r *record) (bool, error)

// turn runs a step on a row's record.
func (w *work) turn(in Transaction, kind string, do step) error {
	old, err := w.byID(in)
	if err != nil {
		return err
	}
	r := *old
	moved, err := do(w, &r)
	if err != nil {
		return err
	}
	if moved {
		w.put(old, &r, kind)
		old = &r
	}
	w.answer = append(w.answer, old)
	return nil
}

func (s *Service) turnOne(who Caller, bookID, id, kind string, do step) (TransactionOperation, error) {
	return s.single(who, bookID, enters, func(w *work) error { return w.turn(Transaction{ID: id}, kind, do) })
}

func (s *Service) turnAll(who Caller, bookID string, in []Transaction, kind string, do step) error {
	_, err := s.list(who, bookID, enters, len(in), func(w *work, i int) error { return w.turn(in[i], kind, do) })
	return err
}

func stepPost(w *work, r *record) (bool, error) {
	if r.Trashed {
		return false, invalid("The transaction [%s] is in the trash", r.ID)
	}
	if r.Posted {
		return false, nil
	}
	err := w.postable(r)
	r.Posted = true
	return true, err
}

func stepCheck(to bool) step {
	return func(w *work, r *record) (bool, error) {
		if r.Trashed {
			return false, invalid("The transaction [%s] is in the trash", r.ID)
		}
		err := w.checkable(r)
		moved := r.Checked != to
		r.Checked = to
		return moved, err
	}
}

func stepTrash(trashChecked, skipChecked bool) step {
	return func(w *work, r *record) (bool, error) {
		if r.Trashed || r.Checked && !trashChecked && skipChecked {
			return false, nil
		}
		if r.Checked && !trashChecked {
			return false, invalid("The transaction [%s] is checked", r.ID)
		}
		err := w.may(r)
		r.Trashed = true
		return true, err
	}
}

func stepUntrash(w *work, r *record) (bool, error) {
	if !r.Trashed {
		return false, nil
	}
	if err := w.may(r); err != nil {
		return false, err
	}
	for _, id := range r.RemoteIDs {
		if other := w.b.standingWith(id); other != nil {
			return false, invalid("Remote id [%s] already exists on the book", id)
		}
	}
	r.Trashed = false
	return true, nil
}

// Post posts a draft. Without an id it records what is sent and posts it in one call.
func (s *Service) Post(who Caller, bookID string, in Transaction) (TransactionOperation, error) {
	if in.ID != "" {
		return s.turnOne(who, bookID, in.ID, "TRANSACTION_POSTED", stepPost)
	}
	return s.single(who, bookID, posts, func(w *work) error {
		return w.create(in, true, w.s.rules.SingleDuplicateReturned)
	})
}

// PostBatch posts drafts; ids are enough.
func (s *Service) PostBatch(who Caller, bookID string, in []Transaction) error {
	return s.turnAll(who, bookID, in, "TRANSACTION_POSTED", stepPost)
}

// Check locks a posted transaction against changes.
func (s *Service) Check(who Caller, bookID, id string) (TransactionOperation, error) {
	return s.turnOne(who, bookID, id, "TRANSACTION_CHECKED", stepCheck(true))
}

// CheckBatch is Check for many.
func (s *Service) CheckBatch(who Caller, bookID string, in []Transaction) error {
	return s.turnAll(who, bookID, in, "TRANSACTION_CHECKED", stepCheck(true))
}

// Uncheck opens a checked transaction for changes.
func (s *Service) Uncheck(who Caller, bookID, id string) (TransactionOperation, error) {
	return s.turnOne(who, bookID, id, "TRANSACTION_UNCHECKED", stepCheck(false))
}

// UncheckBatch is Uncheck for many.
func (s *Service) UncheckBatch(who Caller, bookID string, in []Transaction) error {
	return s.turnAll(who, bookID, in, "TRANSACTION_UNCHECKED", stepCheck(false))
}

// Trash throws a transaction into the bin; a checked one is refused.
func (s *Service) Trash(who Caller, bookID, id string) (TransactionOperation, error) {
	return s.turnOne(who, bookID, id, "TRANSACTION_DELETED", stepTrash(false, false))
}

// TrashBatch is Trash for many. Checked ones are skipped, unless trashChecked.
func (s *Service) TrashBatch(who Caller, bookID string, in []Transaction, trashChecked bool) error {
	return s.turnAll(who, bookID, in, "TRANSACTION_DELETED", stepTrash(trashChecked, true))
}

// Untrash takes a transaction out of the bin as it was. It is refused while another record stands with its remote id.
func (s *Service) Untrash(who Caller, bookID, id string) (TransactionOperation, error) {
	return s.turnOne(who, bookID, id, "TRANSACTION_RESTORED", stepUntrash)
}

// UntrashBatch is Untrash for many.
func (s *Service) UntrashBatch(who Caller, bookID string, in []Transaction) error {
	return s.turnAll(who, bookID, in, "TRANSACTION_RESTORED", stepUntrash)
}

// Merge makes one new transaction of two: the first one's values completed by the other's, both remote ids, and
// merged_ID for each of the two, which go to the bin. It is posted if one of them was.
func (s *Service) Merge(who Caller, bookID string, in []Transaction) (TransactionOperation, error) {
	if len(in) != 2 || in[0].ID == in[1].ID {
		return TransactionOperation{}, invalid("Two different transactions are merged")
	}
	return s.single(who, bookID, records, func(w *work) error {
		one, err := w.byID(in[0])
		if err != nil {
			return err
		}
		two, err := w.byID(in[1])
		if err != nil {
			return err
		}
		// What is posted weighs more than a draft.
		if two.Posted && !one.Posted {
			one, two = two, one
		}
		return w.merge(one, two)
	})
}

func (w *work) merge(one, two *record) error {
	for _, r := range []*record{one, two} {
		if r.Trashed || r.Checked {
			return invalid("The transaction [%s] is in the trash or checked", r.ID)
		}
		if err := w.may(r); err != nil {
			return err
		}
	}
	r := *one
	if !r.Amount.Valid {
		r.Amount = two.Amount
	}
	for _, f := range []struct {
		to   *string
		from string
	}{{&r.Date, two.Date}, {&r.Credit, two.Credit}, {&r.Debit, two.Debit}} {
		if *f.to == "" {
			*f.to = f.from
		}
	}
	if two.Description != "" && !strings.Contains(r.Description, two.Description) {
		r.Description = strings.TrimSpace(r.Description + " " + two.Description)
	}
	r.Properties = maps.Clone(two.Properties)
	if r.Properties == nil {
		r.Properties = map[string]string{}
	}
	maps.Copy(r.Properties, one.Properties)
	r.RemoteIDs = slices.Concat(one.RemoteIDs, two.RemoteIDs, []string{"merged_" + one.ID, "merged_" + two.ID})
	r.URLs, r.Files = slices.Concat(one.URLs, two.URLs), slices.Concat(one.Files, two.Files)
	for _, old := range []*record{one, two} {
		gone := *old
		gone.Trashed = true
		w.put(old, &gone, "TRANSACTION_DELETED")
	}
	w.b.seq++
	r.ID, r.Seq, r.Agent, r.CreatedBy, r.Created = w.s.id(), w.b.seq, w.who.Agent, w.who.Email, w.s.millis()
	w.put(nil, &r, "TRANSACTION_CREATED")
	w.answer = append(w.answer, &r)
	return nil
}
