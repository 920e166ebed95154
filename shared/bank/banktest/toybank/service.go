package toybank

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
)

// Service is the bank with its one customer, and the API by which it is read. Its methods are the bank's own side and the
// person's; they are safe for concurrent use.
type Service struct {
	key, bell string

	mu       sync.Mutex
	accounts []Account
	rows     []*row
	visits   map[string]*visit // by handle
	items    []*item
	sent     []Webhook
	clock    int // counts all changes
}

// Account is one of the customer's.
type Account struct {
	Name, Number, Currency string
	Card                   bool
}

// Row is one of a statement. Its Delta is what it does to the balance that is shown: of a card, that is what is owed.
type Row struct {
	Account int // index
	Date    string
	Delta   decimal.Decimal
	Text    string
	Pending bool
}

type row struct {
	Row
	no, changed int // the latter by the clock
	renamed     int // how often
	gone        bool
}

type visit struct {
	ref, user, webhook string
	widget             string
	renews             *item
	state              string // open, done or left
}

type item struct {
	name, key, visit, user, webhook, state string
	shared                                 int // so many accounts
	edition                                int // all ids change with it
}

// Webhook is one that the service sends.
type Webhook struct {
	URL    string
	Header http.Header
	Body   []byte
}

// NewService opens the bank for a client that has the key; bell accompanies its webhooks.
func NewService(key, bell string, accounts ...Account) *Service {
	return &Service{key: key, bell: bell, accounts: accounts, visits: map[string]*visit{}}
}

// random is a secret of the service.
func random(kind string) string { return kind + "-" + strings.ToLower(rand.Text()) }

// SignIn is the person in the widget, who signs in and shares every account. The hint is what the script then tells the
// page: the name of a new item, nothing of a repaired one.
func (s *Service) SignIn(widget string) (hint string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.inWidget(widget)
	if err != nil {
		return "", err
	}
	v.state = "done"
	it := v.renews
	if it == nil {
		it = &item{name: fmt.Sprintf("item%d", len(s.items)+1), key: random("itemkey"), visit: v.ref, user: v.user, webhook: v.webhook}
		s.items = append(s.items, it)
		s.ring(it, call{Kind: "made", Item: it.name, Visit: v.ref})
	}
	it.state = "well"
	before := it.shared
	it.shared = len(s.accounts)
	if v.renews == nil {
		return it.name, nil
	}
	for _, r := range s.rows {
		if r.Account >= before { // new to its readers
			s.touch(r)
		}
	}
	return "", nil
}

// Leave is the person who closes the widget.
func (s *Service) Leave(widget string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.inWidget(widget)
	if err == nil {
		v.state = "left"
	}
	return err
}

func (s *Service) inWidget(token string) (*visit, error) {
	for _, v := range s.visits {
		if v.widget == token && v.state == "open" {
			return v, nil
		}
	}
	return nil, errors.New("no such widget, or it is closed")
}

// Add writes rows on the statement and returns the number of the first.
func (s *Service) Add(rows ...Row) (first int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first = len(s.rows)
	for _, r := range rows {
		added := &row{Row: r, no: len(s.rows)}
		s.rows = append(s.rows, added)
		s.touch(added)
	}
	s.ringAll("rows")
	return first
}

// Change changes a row. Where it is renamed by that, it has another id from then on, and names the one that it had first.
func (s *Service) Change(no int, renamed bool, edit func(*Row)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rows[no]
	edit(&r.Row)
	s.touch(r)
	if renamed {
		r.renamed++
	}
	s.ringAll("rows")
}

// Take takes a row off the statement. Those who only follow changes are not told: they must look deep.
func (s *Service) Take(no int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows[no].gone = true
	s.ringAll("gone")
}

// Statement is what stands on an account of an item, by the account's present id.
func (s *Service) Statement(account string) (rows []Row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range s.items {
		for _, r := range s.rows {
			if it.account(r.Account) == account && !r.gone {
				rows = append(rows, r.Row)
			}
		}
	}
	return rows
}

// AccountNo is the index of the account that an item calls id.
func (s *Service) AccountNo(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range s.items {
		for no := range s.accounts {
			if it.account(no) == id {
				return no
			}
		}
	}
	return -1
}

// OpenAccount opens one more, which is not shared until the person has been in the widget again.
func (s *Service) OpenAccount(a Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts = append(s.accounts, a)
	s.ringAll("item")
}

// Renumber gives every account and every row another id, and does not tell which was which.
func (s *Service) Renumber() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range s.items {
		it.edition++
	}
	s.ringAll("item")
}

// Ail puts an item into a state other than well, such as "asks" or "revoked".
func (s *Service) Ail(name, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range s.items {
		if it.name == name {
			it.state = state
			s.ring(it, call{Kind: "item", Item: it.name})
		}
	}
}

// Items are the names of those that were made and not removed.
func (s *Service) Items() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range s.items {
		names = append(names, it.name)
	}
	return names
}

// Webhooks returns what was sent since the last call.
func (s *Service) Webhooks() []Webhook {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.sent
	s.sent = nil
	return sent
}

// Signed is the header with which the service sends.
func (s *Service) Signed() http.Header {
	return http.Header{"Content-Type": {"application/json"}, bellHeader: {s.bell}}
}

func (s *Service) ringAll(kind string) {
	for _, it := range s.items {
		s.ring(it, call{Kind: kind, Item: it.name})
	}
}

func (s *Service) ring(it *item, c call) {
	body, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	s.sent = append(s.sent, Webhook{it.webhook, s.Signed(), body})
}

func (s *Service) touch(r *row) {
	s.clock++
	r.changed = s.clock
}

// account is the id of an account at an item.
func (it *item) account(no int) string {
	return fmt.Sprintf("%s-account%d-%d", it.name, no, it.edition)
}

// ids are all that a row has had at an item, the present one last.
func (it *item) ids(r *row) (ids []string) {
	for n := range r.renamed + 1 {
		ids = append(ids, fmt.Sprintf("%s-row%d-%d-%d", it.name, r.no, it.edition, n))
	}
	return ids
}

// ServeHTTP is the API. All that is secret travels in headers and bodies, never in addresses.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get(keyHeader) != s.key {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var answer any
	status := http.StatusNotFound
	switch r.Method + " " + r.URL.Path {
	case "GET /banks":
		answer, status = s.listed(r), http.StatusOK
	case "POST /visits":
		answer, status = s.begin(r)
	case "GET /visit":
		if v := s.visits[r.Header.Get(visitHeader)]; v != nil {
			answer, status = visitSays{v.ref, v.state, v.renews != nil}, http.StatusOK
		}
	case "GET /made":
		if it := s.find(func(it *item) bool { return it.name == r.URL.Query().Get("item") }); it != nil {
			answer, status = madeSays{it.visit, it.user, s.says(it)}, http.StatusOK
		}
	case "POST /key":
		if it := s.find(func(it *item) bool { return it.name == r.URL.Query().Get("item") }); it != nil {
			answer, status = keySays{it.name, it.key}, http.StatusOK
		}
	default:
		answer, status = s.ofItem(r)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		panic(err)
	}
}

func (s *Service) find(is func(*item) bool) *item {
	if i := slices.IndexFunc(s.items, is); i >= 0 {
		return s.items[i]
	}
	return nil
}

// ofItem answers what is asked with the key of an item.
func (s *Service) ofItem(r *http.Request) (answer any, status int) {
	it := s.find(func(it *item) bool { return it.key == r.Header.Get(itemHeader) })
	switch {
	case it == nil:
		return nil, http.StatusNotFound
	case r.Method == http.MethodDelete:
		s.items = slices.DeleteFunc(s.items, func(o *item) bool { return o == it })
		return nil, http.StatusOK
	case r.URL.Path == "/item":
		return s.says(it), http.StatusOK
	case it.state != "well":
		return nil, http.StatusForbidden
	}
	return s.page(it, r.URL.Query().Get("at"), r.URL.Query().Get("deep") != "")
}

func (s *Service) listed(r *http.Request) []bankSays {
	if query := r.URL.Query().Get("q"); !strings.Contains(strings.ToLower(toyInstitution.Name), strings.ToLower(query)) {
		return nil
	}
	return []bankSays{toyInstitution}
}

func (s *Service) begin(r *http.Request) (answer any, status int) {
	var asked visitAsks
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		return nil, http.StatusBadRequest
	}
	v := &visit{ref: fmt.Sprintf("visit%d", len(s.visits)+1), user: asked.User, webhook: asked.Webhook, widget: random("widget"), state: "open"}
	if key := r.Header.Get(itemHeader); key != "" {
		if v.renews = s.find(func(it *item) bool { return it.key == key }); v.renews == nil {
			return nil, http.StatusNotFound
		}
	}
	handle := random("visit")
	s.visits[handle] = v
	return visitMade{handle, v.ref, v.widget}, http.StatusOK
}

func (s *Service) says(it *item) itemSays {
	says := itemSays{Item: it.name, State: it.state, Bank: toyInstitution}
	for no, a := range s.accounts[:it.shared] {
		says.Accounts = append(says.Accounts, accountSays{it.account(no), a.Name, a.Number, a.Currency, a.Card})
	}
	return says
}

const pageRows = 40

// page tells the rows that have changed since a time, each once, as they are now. A cursor is that time and the edition, after
// which the ids of another edition mean nothing.
func (s *Service) page(it *item, at string, deep bool) (answer any, status int) {
	edition, since := it.edition, 0
	if at != "" {
		n, err := fmt.Sscanf(at, "%d.%d", &edition, &since)
		if err != nil || n != 2 || edition != it.edition || since > s.clock {
			return nil, http.StatusGone
		}
	}
	changed := slices.DeleteFunc(slices.Clone(s.rows), func(r *row) bool { return r.gone || r.changed <= since || r.Account >= it.shared })
	slices.SortFunc(changed, func(a, b *row) int { return cmp.Compare(a.changed, b.changed) })
	says := pageSays{More: len(changed) > pageRows, Next: fmt.Sprintf("%d.%d", edition, s.clock)}
	if says.More {
		changed = changed[:pageRows]
		says.Next = fmt.Sprintf("%d.%d", edition, changed[pageRows-1].changed)
	}
	for _, r := range changed {
		ids := it.ids(r)
		says.Rows = append(says.Rows, s.told(it, r, ids))
		says.Gone = append(says.Gone, ids[:r.renamed]...)
	}
	for _, r := range s.rows {
		if deep && r.gone && !says.More {
			says.Gone = append(says.Gone, it.ids(r)...)
		}
	}
	return says, http.StatusOK
}

func (s *Service) told(it *item, r *row, ids []string) rowSays {
	a := s.accounts[r.Account]
	told := rowSays{
		ID: ids[r.renamed], Account: it.account(r.Account), Card: a.Card, Date: r.Date, Delta: json.Number(r.Delta.String()),
		Currency: a.Currency, Text: r.Text, Pending: r.Pending,
	}
	if r.renamed > 0 {
		told.First = ids[0]
	}
	return told
}

// parse reads an amount as the adapter tells it; card is whether the balance is a debt.
func parse(delta json.Number, card bool) (decimal.Decimal, bank.Direction, error) {
	amount, err := bank.ParseAmount(delta.String())
	if err != nil {
		return amount, "", strconv.ErrSyntax
	}
	if amount.IsNegative() == card {
		return amount.Abs(), bank.In, nil
	}
	return amount.Abs(), bank.Out, nil
}
