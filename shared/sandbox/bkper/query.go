package bkper

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultLimit and MaxLimit bound a page of transactions.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// query is a parsed query: all of its terms must hold.
type query struct {
	from, to  int // YYYYMMDD: from <= day < to
	accounts  []string
	groups    []string
	remoteIDs []string
	states    []string
	texts     []string
}

// term is key:value, key:'quoted value', a quoted text or a word.
var term = regexp.MustCompile(`(?:([A-Za-z]+):)?(?:'([^']*)'|"([^"]*)")|(\S+)`)

// bareRemoteID is what a remote id in a query may hold without quotes.
var bareRemoteID = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// parse reads Bkper's query language. today is in the Book's time zone.
func (b *book) parse(text string, today time.Time) (*query, error) {
	q := &query{to: maxDay}
	for _, m := range term.FindAllStringSubmatch(text, -1) {
		key, value := m[1], m[2]+m[3]
		if m[4] != "" {
			var ok bool
			if key, value, ok = strings.Cut(m[4], ":"); !ok {
				key, value = "", m[4]
			}
			if strings.EqualFold(key, "remoteId") && !bareRemoteID.MatchString(value) {
				return nil, invalid("Quote the remote id in query: %s", m[0])
			}
		}
		if err := q.add(b, key, value, m[0], today); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func (q *query) add(b *book, key, value, whole string, today time.Time) error {
	switch strings.ToLower(key) {
	case "account", "acc":
		q.accounts = append(q.accounts, value)
	case "group":
		q.groups = append(q.groups, value)
	case "remoteid":
		q.remoteIDs = append(q.remoteIDs, value)
	case "is":
		if !slices.Contains([]string{"draft", "posted", "unchecked", "checked", "trashed"}, value) {
			return invalid("Unknown state in query: is:%s", value)
		}
		q.states = append(q.states, value)
	case "after", "before", "on":
		from, to, err := b.span(value, today)
		if err != nil {
			return err
		}
		// after is inclusive and before exclusive: both look at where the span begins.
		if key = strings.ToLower(key); key != "before" {
			q.from = max(q.from, from)
		}
		switch key {
		case "before":
			q.to = min(q.to, from)
		case "on":
			q.to = min(q.to, to)
		}
	case "":
		q.texts = append(q.texts, stripMarks(value))
	default:
		q.texts = append(q.texts, stripMarks(whole))
	}
	return nil
}

var (
	isoSpan      = regexp.MustCompile(`^(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?$`)
	patternSpan  = regexp.MustCompile(`^(\d{2,4})/(\d{2})/(\d{2,4})$`)
	variableSpan = regexp.MustCompile(`^\$([dmy])(?:([+-])(\d{1,4}))?$`)
)

// span returns the days from <= day < to that a date, month, year or variable means.
func (b *book) span(text string, today time.Time) (from, to int, err error) {
	if m := variableSpan.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[2] + m[3])
		from, to := variable(m[1], n, today)
		return from, to, nil
	}
	if m := patternSpan.FindStringSubmatch(text); m != nil {
		layout := map[string]string{"dd/MM/yyyy": "02/01/2006", "MM/dd/yyyy": "01/02/2006", "yyyy/MM/dd": "2006/01/02"}[b.DatePattern]
		if t, err := time.Parse(layout, text); err == nil {
			return dayNumber(t), dayNumber(t) + 1, nil
		}
	}
	m := isoSpan.FindStringSubmatch(text)
	if m == nil {
		return 0, 0, invalid("Invalid date in query: %s", text)
	}
	month, day := m[2], m[3]
	if month == "" {
		month = "01"
	}
	if day == "" {
		day = "01"
	}
	t, err := time.Parse(time.DateOnly, m[1]+"-"+month+"-"+day)
	switch {
	case err != nil:
		return 0, 0, invalid("Invalid date in query: %s", text)
	case m[3] != "":
		return dayNumber(t), dayNumber(t) + 1, nil
	case m[2] != "":
		return dayNumber(t), dayNumber(t.AddDate(0, 1, 0)), nil
	}
	return dayNumber(t), dayNumber(t.AddDate(1, 0, 0)), nil
}

func variable(unit string, n int, today time.Time) (from, to int) {
	y, m, d := today.Date()
	date := func(y int, m time.Month, d int) int { return dayNumber(time.Date(y, m, d, 0, 0, 0, 0, time.UTC)) }
	switch unit {
	case "d":
		return date(y, m, d+n), date(y, m, d+n+1)
	case "m":
		return date(y, m+time.Month(n), 1), date(y, m+time.Month(n)+1, 1)
	}
	return date(y+n, 1, 1), date(y+n+1, 1, 1)
}

func dayNumber(t time.Time) int {
	y, m, d := t.Date()
	return y*10000 + int(m)*100 + d
}

// run yields the matching records, newest first, from a position on. It walks the narrowest index that the query names.
func (b *book) run(q *query, after position, hiddenFrom int64, yield func(*record) bool) {
	trashed := slices.Contains(q.states, "trashed")
	keep := func(r *record) bool {
		if r.Created > hiddenFrom || !q.matches(b, r) {
			return true
		}
		return yield(r)
	}
	if len(q.remoteIDs) > 0 {
		held := slices.Clone(b.remote[q.remoteIDs[0]])
		slices.SortFunc(held, func(x, y *record) int {
			if after := (position{x.day(), x.Seq}); after.passed(y) {
				return -1
			}
			return 1
		})
		for _, r := range held {
			if day := r.day(); r.Trashed == trashed && day >= q.from && day < q.to && after.passed(r) && !keep(r) {
				return
			}
		}
		return
	}
	x := b.standing
	if trashed {
		x = b.trash
	}
	if len(q.accounts) > 0 {
		a := b.accounts[b.names[Normalize(q.accounts[0])]]
		if a == nil {
			return
		}
		if x = a.standing; trashed {
			x = a.trash
		}
	}
	x.scan(q.from, q.to, after, keep)
}

func (q *query) matches(b *book, r *record) bool {
	for _, name := range q.accounts {
		if id := b.names[Normalize(name)]; id == "" || r.Credit != id && r.Debit != id {
			return false
		}
	}
	for _, name := range q.groups {
		if id := b.findGroup(Group{Name: name}); id == "" || !b.inGroup(r.Credit, id) && !b.inGroup(r.Debit, id) {
			return false
		}
	}
	for _, id := range q.remoteIDs {
		if !slices.Contains(r.RemoteIDs, id) {
			return false
		}
	}
	for _, state := range q.states {
		if !r.is(state) {
			return false
		}
	}
	return q.matchesText(b, r)
}

func (b *book) inGroup(accountID, groupID string) bool {
	a := b.accounts[accountID]
	return a != nil && slices.Contains(a.Groups, groupID)
}

func (r *record) is(state string) bool {
	switch state {
	case "draft":
		return !r.Posted
	case "posted":
		return r.Posted
	case "unchecked":
		return r.Posted && !r.Checked
	case "checked":
		return r.Checked
	}
	return r.Trashed
}

func (q *query) matchesText(b *book, r *record) bool {
	if len(q.texts) == 0 {
		return true
	}
	text := r.Description
	for _, id := range []string{r.Credit, r.Debit} {
		if a := b.accounts[id]; a != nil {
			text += " " + a.Name
		}
	}
	if r.Amount.Valid {
		text += " " + b.money(r.Amount.Decimal)
	}
	text = stripMarks(text)
	return !slices.ContainsFunc(q.texts, func(t string) bool { return !strings.Contains(text, t) })
}

// prepare finds the Book, reads the query and says from which creation on records are not visible yet.
func (s *Service) prepare(who Caller, bookID, text string) (*book, *query, int64, error) {
	b, err := s.enter(who, bookID, views)
	if err != nil {
		return nil, nil, 0, err
	}
	zone, err := time.LoadLocation(b.TimeZone)
	if err != nil {
		return nil, nil, 0, err
	}
	q, err := b.parse(text, s.now().In(zone))
	return b, q, s.now().Add(-s.lag).UnixMilli(), err
}

// Transactions lists what a query finds, newest date first; without is:trashed, what stands. A page has limit items (0 is
// DefaultLimit, more than MaxLimit is MaxLimit); its Cursor asks for the next. The cursor is a place in the order, so
// changes between pages neither repeat nor hide what did not move.
func (s *Service) Transactions(who Caller, bookID, text string, limit int, cursor string) (TransactionList, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, q, hidden, err := s.prepare(who, bookID, text)
	if err != nil {
		return TransactionList{}, err
	}
	after, err := readCursor(cursor)
	if err != nil {
		return TransactionList{}, err
	}
	if limit == 0 {
		limit = DefaultLimit
	}
	limit = min(limit, MaxLimit)
	var l TransactionList
	var last *record
	b.run(q, after, hidden, func(r *record) bool {
		if len(l.Items) == limit {
			l.Cursor = writeCursor(last)
			return false
		}
		last = r
		l.Items = append(l.Items, s.view(b, r))
		return true
	})
	if len(q.accounts) == 1 {
		l.Account = b.names[Normalize(q.accounts[0])]
	}
	return l, nil
}

// Count counts what a query finds.
func (s *Service) Count(who Caller, bookID, text string) (Count, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, q, hidden, err := s.prepare(who, bookID, text)
	if err != nil {
		return Count{}, err
	}
	n := 0
	b.run(q, start, hidden, func(*record) bool { n++; return true })
	return Count{s.int64(n)}, nil
}

func writeCursor(r *record) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%d", r.day(), r.Seq))
}

func readCursor(text string) (position, error) {
	if text == "" {
		return start, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	var p position
	if err == nil {
		_, err = fmt.Sscanf(string(raw), "%d.%d", &p.day, &p.seq)
	}
	if err != nil {
		return position{}, invalid("Invalid cursor")
	}
	return p, nil
}
