package pluggy

import (
	"context"
	"encoding/base64"
	"errors"
	"math/bits"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/civil"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/bank/internal/tolerant"
)

const (
	transactionsPath = "/v2/transactions"
	transactionsCall = "GET " + transactionsPath

	// history is what Pluggy gives of an account at first, and what a whole comparison reads again, in days.
	history = 365
	// wholeEvery is the time between two whole comparisons. There is no way to ask what was changed or deleted, so that what
	// no webhook told is seen by them alone.
	wholeEvery = 7 * 24 * time.Hour
	// vicinity is how far a row may move when its id changes, in days: as far back everything is told again beside what is new,
	// so that both halves are seen together.
	vicinity = 7
	// overlap is read twice, since rows of one synchronisation become visible in any order.
	overlap = 10 * time.Minute
	// maxTold bounds the rows of one page in memory. What an account has beyond them is not compared.
	maxTold = 10_000
	// maxHops bounds the pages of one account: a million rows.
	maxHops = 2_000
	// maxCursor bounds a cursor of Pluggy's, which ours holds; they have about 90 characters.
	maxCursor = 4 << 10
	// pageRows is how many rows end a page, which may hold several accounts.
	pageRows = 500
	// requests is how many looks at accounts one page may take.
	requests = 8
)

// cursor is what Page.Next stands for: how far each account was read, and the read under way.
type cursor struct {
	Item  string          `json:"i"`           // digest of the item
	Marks map[string]mark `json:"m,omitempty"` // by account; one without has not been read yet
	Whole time.Time       `json:"w,omitzero"`  // when all was last read or compared
	Read  *reading        `json:"r,omitempty"`
}

// mark is how far an account was read.
type mark struct {
	Newest time.Time `json:"t"`           // when Pluggy had its newest row
	Last   string    `json:"d,omitempty"` // digest of the ids that it had since overlap before that; empty where they are not known
}

// reading is a read under way.
type reading struct {
	Whole    bool      `json:"w,omitempty"` // all is told, or compared
	Compare  bool      `json:"c,omitempty"` // accounts that were read before are retold, not only told
	Complete bool      `json:"h,omitempty"` // the item's history was all there when the read began
	Begun    time.Time `json:"b"`
	Left     []string  `json:"l"`           // accounts still to be read; the first one is under way
	After    string    `json:"a,omitempty"` // Pluggy's cursor in it
	Newest   time.Time `json:"n,omitzero"`  // so far in it
	Hops     uint      `json:"p,omitempty"` // pages so far in it
	Anchor   string    `json:"s,omitempty"` // digest of an earlier After; see hop
}

const cursorVersion = "1."

func (c cursor) text() (string, error) {
	body, err := json.Marshal(c, json.Deterministic(true))
	if err != nil {
		return "", err
	}
	return cursorVersion + base64.RawURLEncoding.EncodeToString(body), nil
}

// readCursor reads what text has made, for the same item.
func readCursor(at, item string) (c cursor, err error) {
	refused := &bank.Error{Kind: bank.Retry, Code: invalidCursor, Err: bank.ErrCursor}
	body, ok := strings.CutPrefix(at, cursorVersion)
	if !ok {
		return c, refused
	}
	raw, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil || json.Unmarshal(raw, &c, json.RejectUnknownMembers(true)) != nil || c.Item != itemDigest(item) {
		return c, refused
	}
	return c, nil
}

func itemDigest(item string) string { return bank.Hash(Name, "item", strings.ToLower(item))[:12] }

// Changes reads one page. What is new is found by the time at which Pluggy first had it, since banks tell rows late, with an
// old date. Removals and changes of known rows are told by no call, so accounts with news are retold from a week before them, and
// all accounts are retold where From.Deep or a week that has passed asks for it. While a synchronisation is under way nothing can
// be compared: that is ITEM_UPDATING, a moment later all of it is there, and a webhook says so.
func (p *Pluggy) Changes(ctx context.Context, from bank.From) (bank.Page, error) {
	i, err := p.item(ctx, from.Token.Reveal())
	if err != nil {
		return bank.Page{}, err
	}
	at := cursor{Item: itemDigest(string(i.ID))}
	if from.At != "" {
		if at, err = readCursor(from.At, string(i.ID)); err != nil {
			return bank.Page{}, err
		}
	}
	if code := i.needsUser(p.now()); code != "" {
		return bank.Page{}, &bank.Error{Kind: bank.UserMustAct, Code: code}
	}
	accounts, err := p.accounts(ctx, i)
	if err != nil {
		return bank.Page{}, err
	}
	r := &reader{p: p, item: i, accounts: accounts, at: at, page: bank.Page{Accounts: accounts, Complete: i.complete()}}
	if err := r.read(ctx, from); err != nil {
		return bank.Page{}, err
	}
	return r.page, nil
}

// reader makes one page.
type reader struct {
	p        *Pluggy
	item     *item
	accounts []bank.Account
	at       cursor
	page     bank.Page
}

func (r *reader) read(ctx context.Context, from bank.From) error {
	now := r.p.now()
	if r.at.Read == nil {
		if from.At == "" && len(r.accounts) == 0 {
			return nil // nothing to read from yet
		}
		r.begin(from, now)
	}
	read := r.at.Read
	if read.Compare && r.item.changing(now) {
		return &bank.Error{Kind: bank.RetryAfter, Code: "ITEM_UPDATING", After: time.Minute}
	}
	r.page.Complete = read.Complete
	for n := 0; len(read.Left) > 0 && n < requests && !r.full() && (n == 0 || !hurried(ctx)); n++ {
		index := slices.IndexFunc(r.accounts, func(a bank.Account) bool { return a.ID == read.Left[0] })
		if index < 0 {
			read.next() // closed since the read began
			continue
		}
		if err := r.account(ctx, r.accounts[index]); err != nil {
			return err
		}
	}
	if r.page.More = len(read.Left) > 0; !r.page.More {
		if read.Whole {
			r.at.Whole = read.Begun
		}
		r.at.Read = nil
	}
	return r.end()
}

func (r *reader) begin(from bank.From, now time.Time) {
	read := &reading{Begun: now, Complete: r.item.complete() && !r.item.changing(now)}
	read.Whole = from.At == "" || from.Deep || now.Sub(r.at.Whole) >= wholeEvery
	read.Compare = from.At != ""
	for _, a := range r.accounts {
		read.Left = append(read.Left, a.ID)
	}
	r.at.Read = read
}

// hurried reports whether a request that begins now may not end in time. What was read until then is told, and the rest later: it
// would be lost with the page, and again with the next one.
func hurried(ctx context.Context) bool {
	end, bounded := ctx.Deadline()
	return bounded && time.Until(end) < usualTimeout
}

// full reports whether the page says enough.
func (r *reader) full() bool {
	return len(r.page.Retold) > 0 || len(r.page.Changed)+len(r.page.Unusable) >= pageRows
}

func (r *reader) end() (err error) {
	r.page.Next, err = r.at.text()
	return err
}

// next goes on to the next account.
func (read *reading) next() {
	read.Left, read.After, read.Newest, read.Hops, read.Anchor = read.Left[1:], "", time.Time{}, 0, ""
}

// account reads what the page is to say of one account, and goes on to the next where that is all.
func (r *reader) account(ctx context.Context, a bank.Account) error {
	mark, known := r.at.Marks[a.ID]
	switch read := r.at.Read; {
	case !read.Compare || !known:
		return r.history(ctx, a)
	case read.Whole:
		return r.retell(ctx, a, r.longAgo(), nil)
	default:
		return r.news(ctx, a, mark)
	}
}

// history reads one page of all that an account has.
func (r *reader) history(ctx context.Context, a bank.Account) error {
	read := r.at.Read
	l, err := r.p.list(ctx, a, nil, read.After)
	if err != nil {
		return err
	}
	r.take(a, l.rows)
	read.Newest = latest(read.Newest, newest(l.rows))
	if l.after != "" {
		return read.hop(l.after)
	}
	r.mark(a, mark{Newest: read.Newest})
	return nil
}

// hop goes on to the next page of an account. A cursor that comes again would be followed for ever, in a circle of any length:
// each is compared with one from before, which moves on whenever their number has doubled.
func (read *reading) hop(after string) error {
	digest := bank.Hash(after)[:12]
	if read.Hops++; read.Hops > maxHops || digest == read.Anchor {
		return broken(transactionsCall, badAnswer, errCircle)
	}
	if bits.OnesCount(read.Hops) == 1 {
		read.Anchor = digest
	}
	read.After = after
	return nil
}

// mark ends an account that was read to its end. One that has no rows has no time to go on from, and is read again. It goes on from
// before the read began at the latest: what came since may be on a page that was passed, whatever came on those after it.
func (r *reader) mark(a bank.Account, m mark) {
	if r.at.Marks == nil {
		r.at.Marks = map[string]mark{}
	}
	if begun := r.at.Read.Begun; m.Newest.After(begun) {
		m = mark{Newest: begun}
	}
	if !m.Newest.IsZero() {
		r.at.Marks[a.ID] = m
	}
	r.at.Read.next()
}

// markOf is the mark after rows that hold all that Pluggy has had since overlap before the newest of them.
func markOf(rows []row) mark {
	m := mark{Newest: newest(rows)}
	since := m.Newest.Add(-overlap)
	var last []string
	for _, row := range rows {
		if !row.Created.Before(since) {
			last = append(last, row.name())
		}
	}
	slices.Sort(last)
	m.Last = bank.Hash(last...)[:12]
	return m
}

// news looks for rows that Pluggy has had since the mark, and retells what stands near them.
func (r *reader) news(ctx context.Context, a bank.Account, was mark) error {
	since := url.Values{"createdAtFrom": {was.Newest.Add(-overlap).UTC().Format("2006-01-02T15:04:05.000Z")}}
	rows, whole, err := r.p.all(ctx, a, since)
	if err != nil {
		return err
	}
	if !whole { // it is read like one that is not known, since the mark would pass by what lies beyond
		delete(r.at.Marks, a.ID)
		return nil
	}
	now := markOf(rows)
	same := now.Newest.Equal(was.Newest)
	if same && (was.Last == "" || was.Last == now.Last) {
		if was.Last == "" { // some of them may have become visible only after they were passed
			r.take(a, rows)
		}
		r.mark(a, now)
		return nil
	}
	// Where no row is newer, one of the last has come or gone.
	oldest := r.longAgo().AddDays(vicinity)
	for i, date := range dates(rows, func(row row) bool { return same || row.Created.After(was.Newest) }) {
		if i == 0 || date.Before(oldest) {
			oldest = date
		}
	}
	return r.retell(ctx, a, oldest.AddDays(-vicinity), rows)
}

// longAgo is the day from which all is told again.
func (r *reader) longAgo() civil.Date {
	return civil.DateOf(r.at.Read.Begun.In(bankTime)).AddDays(-history)
}

// dates are the days of some rows.
func dates(rows []row, of func(row) bool) (days []civil.Date) {
	for _, row := range rows {
		if date, ok := dateOf(tolerant.Text(row.Date)); ok && of(row) {
			days = append(days, date)
		}
	}
	return days
}

// retell tells all that stands on an account since a date, and what else is new.
func (r *reader) retell(ctx context.Context, a bank.Account, since civil.Date, also []row) error {
	// A day more is asked for than is told: Pluggy does not say by whose clock it compares.
	rows, whole, err := r.p.all(ctx, a, url.Values{"dateFrom": {since.AddDays(-1).String()}})
	if err != nil {
		return err
	}
	if !whole {
		since, whole = cut(rows)
	}
	seen := map[string]bool{}
	for _, row := range rows {
		seen[row.name()] = true
	}
	for _, row := range also {
		if !seen[row.name()] {
			rows = append(rows, row)
		}
	}
	if whole {
		r.page.Retold = append(r.page.Retold, bank.Retold{Account: a.ID, Since: since})
	}
	r.take(a, rows)
	r.mark(a, markOf(rows))
	return nil
}

// cut says since when rows are whole that were cut short, newest first; false where they are not in that order.
func cut(rows []row) (since civil.Date, ok bool) {
	last := civil.Date{}
	for _, row := range rows {
		date, read := dateOf(tolerant.Text(row.Date))
		// The order is that of the times, of which the rule for dates may make a day more or less.
		if !read || (!last.IsZero() && date.After(last.AddDays(1))) {
			return since, false
		}
		last = date
	}
	return last.AddDays(2), !last.IsZero()
}

// take puts rows into the page.
func (r *reader) take(a bank.Account, rows []row) {
	for _, row := range rows {
		t, err := row.transaction(a)
		if err != nil {
			r.page.Unusable = append(r.page.Unusable, bank.Unusable{ID: row.name(), Account: t.Account, Reason: err.Error()})
		} else {
			r.page.Changed = append(r.page.Changed, t)
		}
	}
}

// newest is when Pluggy had the last of some rows.
func newest(rows []row) (at time.Time) {
	for _, row := range rows {
		at = latest(at, row.Created.Time)
	}
	return at
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// all reads every page of a query; whole is false where there are too many, or there is no time for more.
func (p *Pluggy) all(ctx context.Context, a bank.Account, filter url.Values) (rows []row, whole bool, err error) {
	seen := map[string]bool{}
	for after := ""; len(rows) < maxTold; {
		l, err := p.list(ctx, a, filter, after)
		if err != nil {
			return nil, false, err
		}
		rows = append(rows, l.rows...)
		if l.after == "" {
			return rows, true, nil
		}
		if hurried(ctx) {
			break
		}
		if after = l.after; seen[after] || len(seen) == maxHops {
			return nil, false, broken(transactionsCall, badAnswer, errCircle)
		}
		seen[after] = true
	}
	return rows, false, nil
}

var (
	errCircle = errors.New("its pages lead in a circle")
	errAstray = errors.New("its next page is elsewhere")
)

// list is one page of Pluggy's.
type list struct {
	rows  []row
	after string // of the next one; "" where this is the last
}

// list reads one page. The filters are sent with every page: Pluggy does not say that its next repeats them.
func (p *Pluggy) list(ctx context.Context, a bank.Account, filter url.Values, after string) (list, error) {
	q := url.Values{"accountId": {a.ID}}
	for name, values := range filter {
		q[name] = values
	}
	if after != "" {
		q.Set("after", after)
	}
	var got struct {
		Results *[]jsontext.Value `json:"results"`
		Next    loose             `json:"next"`
	}
	if err := p.do(ctx, call{name: transactionsCall, method: http.MethodGet, path: transactionsPath, query: q}, &got); err != nil {
		return list{}, err
	}
	if got.Results == nil {
		return list{}, broken(transactionsCall, badAnswer, errors.New("it has no results"))
	}
	l := list{rows: make([]row, 0, len(*got.Results))}
	for _, value := range *got.Results {
		l.rows = append(l.rows, readRow(value))
	}
	if got.Next == "" {
		return l, nil
	}
	var err error
	if l.after, err = p.follow(string(got.Next), a.ID); err != nil {
		return list{}, broken(transactionsCall, badAnswer, err)
	}
	return l, nil
}

// follow takes the cursor out of a next, and nothing else: the request that it is for is our own. What points elsewhere is
// refused, since our key would go with it.
func (p *Pluggy) follow(next, account string) (after string, err error) {
	to, err := url.Parse(next)
	if err != nil {
		return "", errAstray
	}
	home := *p.base
	home.Path += transactionsPath
	to = home.ResolveReference(to)
	q, err := url.ParseQuery(to.RawQuery)
	if err != nil || to.Scheme != home.Scheme || to.Host != home.Host || to.Path != home.Path || to.User != nil {
		return "", errAstray
	}
	after = q.Get("after")
	if of := q.Get("accountId"); (of != "" && !strings.EqualFold(of, account)) || after == "" || len(after) > maxCursor {
		return "", errAstray
	}
	return after, nil
}
