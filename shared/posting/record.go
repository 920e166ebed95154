package posting

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/store"
)

// page records one page of the bank into every Book that it concerns.
func (r *run) page(ctx context.Context, page *bank.Page) error {
	r.miss(page)
	r.retold = page.Retold
	for {
		targets, err := r.targets(ctx, r.touched(page))
		if err != nil {
			return err
		}
		if err := r.remember(ctx, targets, page); err != nil {
			return err
		}
		if err := r.missing(ctx, targets, page); err != nil {
			return err
		}
		var todo []planned
		for _, t := range targets {
			if !t.silent() {
				todo = append(todo, planned{t, plan(t, r.j, page, t.from, r.last(page))})
			}
		}
		if err = r.record(ctx, todo, r.named(page)); err == nil {
			err = r.hold(ctx, targets, page, false)
		}
		if err == nil {
			err = r.leaveBehind(ctx, targets)
		}
		if err == nil {
			for _, t := range targets {
				r.shut(t.Integration, t.shut)
				if t.vanished > 0 {
					r.count(t.ID, func(p *bank.Progress) { p.Vanished = t.vanished })
				}
			}
			r.progress(targets, page)
			r.stumbles = 0
			return nil
		}
		if !errors.Is(err, errConfig) && !errors.Is(err, errAgain) {
			return err
		}
		if err := r.obey(ctx); err != nil {
			if errors.Is(err, errConfig) {
				err = cmp.Or(r.hold(ctx, targets, page, true), err)
			}
			return err
		}
	}
}

// last reports whether a page is the last one of its read.
func (r *run) last(page *bank.Page) bool {
	return !page.More && !r.e.Read.Replay && !r.e.Read.Claiming
}

// miss adds to what a page removes that which an earlier reading of the same page has recorded and this one does not name.
func (r *run) miss(page *bank.Page) {
	if len(r.e.Read.Written) == 0 {
		return
	}
	named := map[string]bool{}
	for i := range page.Changed {
		named[page.Changed[i].ID] = true
	}
	for _, w := range r.e.Read.Written {
		if !named[w.ID] {
			page.Removed = append(page.Removed, w)
		}
	}
}

// planned is what is wanted of one integration.
type planned struct {
	*target
	wishes []*wish
}

// obey files what was done and looks again at what people want; errConfig where the connection is to be silent.
func (r *run) obey(ctx context.Context) error {
	if err := r.commit(ctx, false, nil); err != nil {
		return err
	}
	if err := r.reload(ctx); err != nil {
		return err
	}
	if r.conn.State != bank.Active {
		return errConfig
	}
	return nil
}

// touched lists the accounts that a page says something of. A removal without an account may be of any.
func (r *run) touched(page *bank.Page) []string {
	seen := map[string]bool{}
	for i := range page.Changed {
		seen[page.Changed[i].Account] = true
	}
	for _, g := range page.Removed {
		seen[g.Account] = true
	}
	for _, u := range page.Unusable {
		seen[u.Account] = true
	}
	for _, a := range page.Retold {
		seen[a.Account] = true
	}
	var accounts []string
	for _, a := range r.conn.Accounts {
		if seen[a.ID] || seen[""] {
			accounts = append(accounts, a.ID)
		}
	}
	return accounts
}

// targets finds the integrations that these accounts feed in this read, and opens their Books.
func (r *run) targets(ctx context.Context, accounts []string) ([]*target, error) {
	if err := r.routes(ctx, accounts); err != nil {
		return nil, err
	}
	var targets []*target
	for _, id := range accounts {
		key, _ := r.conn.KeyOf(id)
		for _, i := range r.feeds[key] {
			t, err := r.target(ctx, i, id)
			if err != nil {
				return nil, err
			}
			if t != nil {
				targets = append(targets, t)
			}
		}
	}
	return targets, nil
}

// routes reads the integrations of accounts that the run has not met yet.
func (r *run) routes(ctx context.Context, accounts []string) error {
	var unknown []string
	for _, id := range accounts {
		if key, ok := r.conn.KeyOf(id); ok {
			if _, known := r.feeds[key]; !known {
				r.feeds[key] = nil
				unknown = append(unknown, store.AccountKey(r.conn.ID, key))
			}
		}
	}
	for chunk := range slices.Chunk(unknown, 30) {
		found, err := store.Integrations.All(ctx, r.p.Store, store.Query{Field: store.ByAccount, Any: chunk})
		if err != nil {
			r.feeds = map[string][]*bank.Integration{}
			return storeError{err}
		}
		for _, i := range found {
			r.feeds[i.Key] = append(r.feeds[i.Key], i)
		}
	}
	return nil
}

// target makes an integration ready for this read; nil where the read is not for it.
func (r *run) target(ctx context.Context, i *bank.Integration, account string) (*target, error) {
	read := r.e.Read
	want, served := read.Serves[i.ID]
	if read.Claiming && (i.Epoch == 0 || !served) {
		return nil, nil
	}
	t := &target{Integration: i, provider: r.conn.Provider, from: account, again: served && i.Again > i.Have && i.Again <= want, since: read.First}
	if t.asleep() {
		return t, nil
	}
	if i.Epoch > 0 && i.Want > i.Have && !served {
		t.claims = later
	}
	if served && i.Epoch > 0 {
		t.claims = loosely
		if read.Claiming {
			t.claims = exactly
		}
	}
	o, err := r.open(ctx, booking{i.Book, i.As})
	if err != nil {
		return nil, err
	}
	t.opened = *o
	t.blocked = o.closed(i)
	return t, nil
}

// closed says why an integration cannot be written to a Book as it was opened; "" where it can.
func (o *opened) closed(i *bank.Integration) string {
	if o.blocked != "" {
		return o.blocked
	}
	return fit(i, o.book)
}

// fit says why a Book that can be opened cannot take the rows of an integration; "" where it can.
func fit(i *bank.Integration, b *ledger.Book) string {
	at := slices.IndexFunc(b.Accounts, func(a ledger.Account) bool { return a.ID == i.Account })
	switch {
	case !b.Permission.Records():
		return "no_access"
	case at < 0:
		return "account_gone"
	case b.Accounts[at].Archived:
		return "account_archived"
	}
	return ""
}

// open reads a Book as a user, once a run.
func (r *run) open(ctx context.Context, b booking) (*opened, error) {
	if o := r.books[b]; o != nil {
		return o, nil
	}
	o := &opened{}
	var err error
	if o.token, err = r.p.Grants.Token(ctx, b.as); err == nil {
		err = r.readBook(ctx, b, o)
	}
	if err != nil {
		if err = r.block(o, err); err != nil {
			return nil, err
		}
	}
	r.books[b] = o
	return o, nil
}

func (r *run) readBook(ctx context.Context, b booking, o *opened) error {
	book, err := ask(ctx, r, b, o, func(ctx context.Context) (ledger.Book, error) { return r.p.Ledger.Book(ctx, o.token, b.bookID) })
	if err == nil {
		o.book, o.read = &book, r.now()
	}
	return err
}

// ask calls the ledger for something that changes nothing, with a fresh token where the present one is refused.
func ask[T any](ctx context.Context, r *run, b booking, o *opened, do func(context.Context) (T, error)) (T, error) {
	v, err := call(ctx, r, LedgerCall, do)
	if errors.Is(err, ledger.ErrLogin) {
		if o.token, err = r.p.Grants.Fresh(ctx, b.as); err != nil {
			return v, err
		}
		v, err = call(ctx, r, LedgerCall, do)
	}
	return v, err
}

// block notes for which error about one Book its integrations stay behind while the others go on. What may pass fails the
// run once the others were served, until patience is at its end. Errors that are not about the Book are returned.
func (r *run) block(o *opened, err error) (fatal error) {
	var broken storeError
	switch kind := bank.KindOf(err); {
	case errors.As(err, &broken), errors.Is(err, ErrFenced), errors.Is(err, errConfig):
		return err
	case errors.Is(err, ledger.ErrNoAccess):
		o.blocked = "no_access"
	case errors.Is(err, ledger.ErrNotFound):
		o.blocked = "book_gone"
	case errors.Is(err, ledger.ErrLogin), kind == bank.UserMustAct:
		o.blocked = "consent_required"
	default:
		o.blocked = "ledger_unavailable"
		if (kind == bank.Retry || kind == bank.RetryAfter) && r.e.Failures < patience {
			o.passing = err
		}
	}
	return nil
}

// remember looks up what the journal holds on a page, and asks the Book about rows whose intent was never heard of.
func (r *run) remember(ctx context.Context, targets []*target, page *bank.Page) error {
	byID, whole := map[string][]string{}, []string{}
	for _, t := range targets {
		ids := idsOf(page, t.from)
		if t.silent() {
			byID[t.ID] = removedOf(page, t.from)
			continue
		}
		pages := r.e.Progress[t.ID].Recorded/200 + 1
		if _, served := r.e.Read.Serves[t.ID]; served || len(ids)/30 > pages {
			whole = append(whole, t.ID)
		} else {
			byID[t.ID] = ids
		}
	}
	if err := r.j.all(ctx, whole); err != nil {
		return storeError{err}
	}
	if err := r.j.lookup(ctx, byID); err != nil {
		return storeError{err}
	}
	unheard := map[booking][]*Row{}
	for _, t := range targets {
		for _, id := range idsOf(page, t.from) {
			if row := r.j.find(t.ID, id); row != nil && row.Intent != "" && !t.silent() {
				unheard[booking{t.Book, t.As}] = append(unheard[booking{t.Book, t.As}], row)
			}
		}
	}
	for b, rows := range unheard {
		if err := r.hear(ctx, b, rows); err != nil {
			return err
		}
	}
	return nil
}

// idsOf lists the bank's ids that a page names for one account.
func idsOf(page *bank.Page, account string) []string {
	var ids []string
	for i := range page.Changed {
		if t := &page.Changed[i]; t.Account == account {
			ids = append(ids, t.ID)
			if t.PendingID != "" {
				ids = append(ids, t.PendingID)
			}
		}
	}
	for _, u := range page.Unusable {
		if u.Account == account && u.ID != "" {
			ids = append(ids, u.ID)
		}
	}
	return append(ids, removedOf(page, account)...)
}

// removedOf lists the bank's ids that a page takes back from one account.
func removedOf(page *bank.Page, account string) []string {
	var ids []string
	for _, g := range page.Removed {
		if g.Account == "" || g.Account == account {
			ids = append(ids, g.ID)
		}
	}
	return ids
}

// hold writes down what the bank takes back from Books that cannot be written now, or from all where the connection is to be
// silent. The bank says it once; the replay that follows does it.
func (r *run) hold(ctx context.Context, targets []*target, page *bank.Page, all bool) error {
	held, order := map[booking][]*Row{}, []booking(nil)
	for _, t := range targets {
		b := booking{t.Book, t.As}
		o := r.books[b]
		passing := o != nil && o.passing != nil // the page will be read again
		if !all && (passing || (!t.silent() && (o == nil || o.blocked == ""))) {
			continue
		}
		for _, id := range removedOf(page, t.from) {
			old := r.j.find(t.ID, id)
			if old == nil || old.current() != id || old.Waiting {
				continue
			}
			row := *old
			switch {
			case row.mayStand():
				row.Waiting = true
			case row.State == Aside:
				row.State, row.Reason = Absent, ""
			default:
				continue
			}
			if held[b] == nil {
				order = append(order, b)
			}
			held[b] = append(held[b], &row)
		}
	}
	r.e.Read.Waiting = r.e.Read.Waiting || all // should the same item go on
	weight := 0
	for _, b := range order {
		for _, rows := range portions(held[b], (*Row).weight) {
			s := &Segment{Book: b.bookID, As: b.as, Rows: rows}
			r.number([]*Segment{s})
			r.j.note(s)
			r.done = append(r.done, s)
			if weight += sum(rows, (*Row).weight); weight < openRows && len(r.done) < served {
				continue
			}
			if err := r.commit(ctx, false, nil); err != nil {
				return err
			}
			weight = 0
		}
	}
	return nil
}

// named lists what a page names, where the end of the read must know.
func (r *run) named(page *bank.Page) []string {
	if !r.e.Read.Named || r.e.Read.Claiming || r.e.Read.Then != "" {
		return nil
	}
	ids, oldest := make([]string, len(page.Changed)), maps.Clone(r.e.Read.Oldest)
	if oldest == nil {
		oldest = map[string]civil.Date{}
	}
	for i := range page.Changed {
		t := &page.Changed[i]
		ids[i] = t.ID
		if d, known := oldest[t.Account]; !known || t.Date.Before(d) {
			oldest[t.Account] = t.Date
		}
	}
	r.e.Read.Oldest = oldest
	return ids
}

// leaveBehind marks the integrations whose Book could not take rows: their history is read again once it can. Where that may
// pass, it is not marked: the error is returned, so that the same page is tried again.
func (r *run) leaveBehind(ctx context.Context, targets []*target) (passing error) {
	codes := map[string]string{}
	for _, t := range targets {
		if t.asleep() {
			continue
		}
		o := r.books[booking{t.Book, t.As}]
		if t.blocked == "" && o != nil {
			t.blocked = o.blocked // found out while writing
		}
		switch {
		case t.blocked == "" || r.left[t.ID]:
		case o.passing != nil:
			passing = o.passing
		default:
			codes[t.ID] = t.blocked
		}
	}
	if err := r.fallBehind(ctx, codes); err != nil {
		return err
	}
	return passing
}

// fallBehind marks integrations with why their Books cannot be written.
func (r *run) fallBehind(ctx context.Context, codes map[string]string) error {
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(codes)), served) {
		if err := r.commit(ctx, true, r.behind(ids, codes)); err != nil {
			return err
		}
		for _, id := range ids {
			r.left[id] = true
			r.log.WarnContext(ctx, "an integration stays behind", "integration", id, "code", codes[id])
		}
	}
	return nil
}

// behind is the part of a commit that marks integrations.
func (r *run) behind(ids []string, codes map[string]string) func(store.Tx) (func() error, error) {
	return func(tx store.Tx) (func() error, error) {
		is, err := store.Integrations.LoadAll(tx, ids...)
		if err != nil {
			return nil, err
		}
		r.e.Behind = true
		return func() error {
			for n, i := range is {
				if i == nil || i.State != bank.Live {
					continue
				}
				i.Replay()
				i.Behind, i.Until = codes[ids[n]], r.now().Add(blockedFor)
				if err := store.Integrations.Put(tx, i); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}
}

// progress counts what a page brought.
func (r *run) progress(targets []*target, page *bank.Page) {
	oldest := map[string]civil.Date{}
	for i := range page.Changed {
		t := &page.Changed[i]
		if d, ok := oldest[t.Account]; !ok || t.Date.Before(d) {
			oldest[t.Account] = t.Date
		}
	}
	for _, t := range targets {
		if d, ok := oldest[t.from]; ok && !t.asleep() {
			r.count(t.ID, func(p *bank.Progress) {
				if p.Oldest == (civil.Date{}) || d.Before(p.Oldest) {
					p.Oldest = d
				}
			})
		}
	}
}

func (r *run) count(integration string, change func(*bank.Progress)) {
	if r.e.Progress == nil {
		r.e.Progress = map[string]bank.Progress{}
	}
	p := r.e.Progress[integration]
	change(&p)
	r.e.Progress[integration] = p
}

// record carries wishes out: it looks at what stands, commits to the intents, writes to the Books and hears what they say.
// errConfig: people have changed something; what was not sent is not going to be. errAgain: the Book stumbled. The caller
// plans again.
func (r *run) record(ctx context.Context, todo []planned, named []string) error {
	groups := map[booking]*group{}
	var order []*group
	for _, p := range divided(todo) {
		b := booking{p.Book, p.As}
		g := groups[b]
		size := sum(p.wishes, (*wish).weight)
		if g == nil || g.size+size > openRows {
			g = &group{booking: b, opened: r.books[b], after: map[string]ledger.Transaction{}}
			groups[b] = g
			order = append(order, g)
		}
		g.wishes = append(g.wishes, p)
		g.size += size
	}
	for first := true; first || len(order) > 0; first = false {
		n := together(order)
		if err := r.recordTogether(ctx, order[:n], named); err != nil {
			return err
		}
		order, named = order[n:], nil
	}
	return nil
}

// openRows bounds the rows that are written in one step, by their weight: a bank account may feed any number of Books, and the
// row of each takes some 500 bytes in the engine's document, and in a segment, of at most 1 MB.
const openRows = 500

// weight is how much of openRows a row takes: more where the bank has named it many times, as with each new item.
func (r *Row) weight() int { return 1 + len(r.IDs)/4 }

func (w *wish) weight() int { return w.row.weight() }

func sum[T any](all []T, weight func(T) int) (total int) {
	for _, one := range all {
		total += weight(one)
	}
	return total
}

// portions cuts a list into parts that can be written in one step.
func portions[T any](all []T, weight func(T) int) (parts [][]T) {
	begin, size := 0, 0
	for n, one := range all {
		if size += weight(one); size > openRows && n > begin {
			parts = append(parts, all[begin:n])
			begin, size = n, weight(one)
		}
	}
	if begin < len(all) {
		parts = append(parts, all[begin:])
	}
	return parts
}

// divided cuts what is wanted of an integration into parts that can be written in one step.
func divided(todo []planned) (parts []planned) {
	for _, p := range todo {
		if len(p.wishes) == 0 {
			parts = append(parts, p)
		}
		for _, wishes := range portions(p.wishes, (*wish).weight) {
			parts = append(parts, planned{p.target, wishes})
		}
	}
	return parts
}

// together tells how many groups can be written in one step.
func together(groups []*group) int {
	rows := 0
	for n, g := range groups {
		rows += g.size
		if n > 0 && (rows > openRows || n == served) {
			return n
		}
	}
	return len(groups)
}

func (r *run) recordTogether(ctx context.Context, groups []*group, named []string) error {
	var segments []*Segment
	for _, g := range groups {
		if err := r.decide(ctx, g); err != nil {
			return err
		}
		if len(g.rows) > 0 {
			g.segment = &Segment{Book: g.bookID, As: g.as, Rows: g.rows}
			segments = append(segments, g.segment)
		}
	}
	if named != nil {
		if len(segments) == 0 {
			segments = append(segments, &Segment{})
		}
		segments[0].Named, segments[0].Page = named, bank.Hash(r.e.Read.At)
	}
	if len(segments) == 0 {
		return nil
	}
	if err := r.heavy(groups); err != nil {
		return err
	}
	if err := r.intend(ctx, segments); err != nil {
		return err
	}
	return r.deliver(ctx, groups)
}

// heavy gives the error of a Book that has not answered, where too much waits for it in the engine's document to go on with the
// others.
func (r *run) heavy(groups []*group) (passing error) {
	weight := 0
	for _, s := range r.e.Open {
		weight += sum(s.Rows, (*Row).weight)
		if o := r.books[booking{s.Book, s.As}]; o != nil && o.passing != nil {
			passing = o.passing
		}
	}
	for _, g := range groups {
		weight += sum(g.rows, (*Row).weight)
	}
	if weight <= 2*openRows {
		return nil
	}
	return passing
}

// number makes segments the next ones of the journal.
func (r *run) number(segments []*Segment) {
	r.e.Seq++
	for _, s := range segments {
		s.Connection, s.Seq, s.No, s.At = r.conn.ID, r.e.Seq, r.e.Read.No, r.now()
		s.ID = segmentID(r.conn.ID, s.Seq, s.Book, s.As)
	}
}

// intend commits to the intents of segments. Nothing of them may be sent before.
func (r *run) intend(ctx context.Context, segments []*Segment) error {
	r.number(segments)
	written := map[string]bool{} // other Books may have had the same rows
	for _, w := range r.e.Read.Written {
		written[w.ID] = true
	}
	for _, s := range segments {
		for _, row := range s.Rows {
			// An account that is retold is compared with the journal anyway.
			compared := slices.ContainsFunc(r.retold, func(a bank.Retold) bool { return a.Account == row.at })
			named := row.mayStand() && row.Intent != ToTrash && !row.Waiting
			if named && !written[row.current()] && !compared {
				written[row.current()] = true
				r.e.Read.Written = append(r.e.Read.Written, bank.RemovedTransaction{ID: row.current(), Account: row.at})
			}
		}
	}
	kept := r.e.Open
	r.e.Open = slices.Concat(kept, segments)
	err := r.commit(ctx, true, nil)
	if errors.Is(err, errConfig) {
		r.e.Open = kept
		r.e.Seq--
	}
	return err
}

// deliver sends the intents of all groups and moves their segments to those that the next commit files.
func (r *run) deliver(ctx context.Context, groups []*group) error {
	var stop error
	for _, g := range groups {
		if g.segment == nil {
			continue
		}
		if errors.Is(stop, errConfig) {
			g.forgoAll()
			continue
		}
		switch err := r.send(ctx, g); {
		case errors.Is(err, errConfig):
			g.forgoAll()
			stop = err
		case errors.Is(err, errAgain):
			stop = err
		case err != nil:
			return err
		}
	}
	r.file()
	return stop
}

// file leaves the segments of which the Books were heard to the next commit. Of a Book that may soon answer, they stay open.
func (r *run) file() {
	open := r.e.Open
	r.e.Open = nil
	for _, s := range open {
		r.j.note(s)
		if r.e.Read != nil {
			r.e.Read.Waiting = r.e.Read.Waiting || s.waits()
		}
		if o := r.books[booking{s.Book, s.As}]; o != nil && o.passing != nil && s.open() {
			r.e.Open = append(r.e.Open, s)
			continue
		}
		for _, row := range s.Rows {
			r.tally(row)
		}
		r.done = append(r.done, s)
	}
}

func (r *run) tally(row *Row) {
	r.count(row.Integration, func(p *bank.Progress) {
		if row.created && row.State == Standing {
			p.Recorded++
			p.Last = r.now()
		}
		if row.State == Aside {
			p.Aside++
		}
		if row.Flag != "" {
			p.Flagged++
		}
	})
}
