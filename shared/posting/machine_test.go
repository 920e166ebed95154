package posting_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/civil"
	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
)

// promise is what the model knows of one integration.
type promise struct {
	book    string
	account int
	to      string // Account of the Book
	id      string

	saved, live, paused bool
	from                civil.Date
	frozen              facts // what stood when it fell silent; nil while it may be written
	woken               facts // what stood when a silence ended, until the bank is read
	stale               facts // what stood then and the bank no longer had: it changed unheard
	early               facts // what stood before the start date when that was moved to later
}

func (p *promise) writes(connected bool) bool { return connected && p.live && !p.paused }

// household is one connection whose two accounts can feed two Books.
type household struct {
	*rig
	promises  []*promise
	connected bool
	items     int
	last      int
	broken    string
}

func newHousehold(t *rapid.T) *household {
	h := &household{rig: newRig(t, memory.New(), 2, "book-1", "book-2"), connected: true}
	h.bank.size = rapid.IntRange(1, 5).Draw(t, "page")
	for _, book := range []string{"book-1", "book-2"} {
		for account := range 2 {
			key := h.bank.accounts[account].ID
			h.promises = append(h.promises, &promise{
				book: book, account: account, to: fmt.Sprint("to-", account), id: bank.IntegrationID(book, key), stale: facts{}, early: facts{}, frozen: facts{},
			})
		}
	}
	h.shelf.wrote = func(book string, op ledger.Operation, batch []ledger.Transaction) {
		for _, tx := range batch {
			at := slices.IndexFunc(h.promises, func(p *promise) bool { return p.book == book && (p.to == tx.Credit || p.to == tx.Debit) })
			switch p := h.promises[at]; {
			case !p.writes(h.connected):
				h.broken = fmt.Sprintf("%s of %q in %s for an integration that is silent", op, tx.Description, book)
			case op == ledger.Create && tx.Date.Before(p.from):
				h.broken = fmt.Sprintf("a record of %s in %s, which begins on %s", tx.Date, book, p.from)
			}
		}
	}
	return h
}

// stands are the records of an integration.
func (h *household) stands(p *promise) facts {
	f := facts{}
	for _, r := range h.shelf.standing(p.book) {
		if r.Credit == p.to || r.Debit == p.to {
			f[recorded(p.to, &r)]++
		}
	}
	return f
}

// hush notes who has fallen silent and who may be written again, after something that people did.
func (h *household) hush() {
	for _, p := range h.promises {
		switch may := p.writes(h.connected); {
		case !may && p.frozen == nil:
			p.frozen, p.woken = h.stands(p), nil
		case may && p.frozen != nil:
			p.frozen, p.woken = nil, p.frozen
		}
	}
}

// pick draws one of the integrations that match.
func (h *household) pick(t *rapid.T, match func(*promise) bool) *promise {
	some := slices.DeleteFunc(slices.Clone(h.promises), func(p *promise) bool { return !match(p) })
	if len(some) == 0 {
		t.Skip("there is none")
	}
	return rapid.SampledFrom(some).Draw(t, "integration")
}

var begins = civil.Date{Year: 2026, Month: time.January, Day: 1}

func (h *household) saves(p *promise) {
	of := h.bank.accounts[p.account]
	h.save(&bank.Integration{
		ID: p.id, Book: p.book, Connection: theConnection, Key: bankAccount(p.account).ID, Bank: bank.Institution{ID: "inst"}, Of: of,
		Account: p.to, Currency: of.Currency, From: p.from, Paused: p.paused, As: theUser, State: bank.Live,
	})
}

func (h *household) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"link": func(t *rapid.T) {
			p := h.pick(t, func(p *promise) bool { return h.connected })
			from := begins.AddDays(rapid.IntRange(0, 6).Draw(t, "from"))
			if p.saved && from.After(p.from) {
				for f, n := range h.stands(p) {
					p.early[f] = max(p.early[f], n)
				}
			}
			p.from, p.paused, p.live, p.saved = from, rapid.IntRange(0, 4).Draw(t, "paused") == 0, true, true
			h.saves(p)
			h.hush()
		},
		"remove": func(t *rapid.T) {
			p := h.pick(t, func(p *promise) bool { return p.live })
			h.quiet(t, h.remove(p.id))
			p.live, p.paused = false, false
			h.hush()
		},
		"disconnect": func(t *rapid.T) {
			if !h.connected {
				t.Skip("it is")
			}
			h.quiet(t, h.disconnect(bank.Disconnected))
			h.connected = false
			h.hush()
		},
		"reconnect": func(t *rapid.T) {
			if h.connected {
				t.Skip("it is")
			}
			h.reconnect()
			h.connected = true
			h.hush()
		},
		"the bank has more": func(t *rapid.T) {
			h.last++
			tx := bank.Transaction{ID: fmt.Sprint("tx-", h.last), Currency: "USD", Account: h.bank.accounts[rapid.IntRange(0, 1).Draw(t, "account")].ID}
			tx.Date = begins.AddDays(rapid.IntRange(0, 6).Draw(t, "day"))
			h.vary(t, &tx)
			h.bank.says(tx)
		},
		"the bank amends": func(t *rapid.T) {
			tx := h.some(t)
			h.vary(t, &tx)
			h.bank.says(tx)
		},
		"the bank takes back": func(t *rapid.T) { h.bank.takesBack(h.some(t)) },
		"a ring":              h.rings,
		"a ring besides":      h.rings, // so that there are enough of them
		"a ring at last":      h.rings,
	}
}

func (h *household) vary(t *rapid.T, tx *bank.Transaction) {
	tx.Amount = decimal.New(rapid.Int64Range(1, 4).Draw(t, "amount"), -2)
	tx.Direction = rapid.SampledFrom([]bank.Direction{bank.In, bank.Out}).Draw(t, "direction")
	tx.Text = rapid.SampledFrom([]string{"PIX", "CARD"}).Draw(t, "text")
}

func (h *household) some(t *rapid.T) bank.Transaction {
	now := h.bank.standing()
	if len(now) == 0 {
		t.Skip("there is none")
	}
	return now[rapid.SampledFrom(slices.Sorted(maps.Keys(now))).Draw(t, "which")]
}

// quiet: nobody holds the connection, so nothing can be written any more.
func (h *household) quiet(t *rapid.T, mark int64) {
	stopped, err := posting.Stopped(t.Context(), h.store, theConnection, mark, h.clock.Now())
	if err != nil || !stopped {
		t.Fatalf("stopped: %v, %v", stopped, err)
	}
}

// disconnect changes the state of the connection as disconnecting does, and tells the mark.
func (r *rig) disconnect(state bank.ConnectionState) (mark int64) {
	r.Helper()
	r.update(func(tx store.Tx) error {
		conn, err := store.Connections.Load(tx, theConnection)
		if err != nil {
			return err
		}
		e, err := posting.Load(tx, conn.ID)
		if err != nil {
			return err
		}
		mark = e.Mark(time.Time{})
		conn.State = state
		if state == bank.Disconnected {
			conn.Item = ""
		}
		return errors.Join(posting.Engines.Put(tx, e), store.Connections.Put(tx, conn))
	})
	return mark
}

// reconnect gives the connection a new item, as connecting does.
func (h *household) reconnect() {
	h.items++
	h.bank.renew(fmt.Sprint("item-", h.items))
	h.adopt()
}

// adopt notes the item and the accounts that the bank has now, as a connection that was restored.
func (h *household) adopt() {
	h.update(func(tx store.Tx) error {
		conn, err := store.Connections.Load(tx, theConnection)
		if err != nil {
			return err
		}
		accounts, moved := bank.Match(conn.Accounts, h.bank.accounts)
		is, err := posting.Moved(tx, conn.ID, accounts, moved)
		if err != nil {
			return err
		}
		e, err := posting.Load(tx, conn.ID)
		if err != nil {
			return err
		}
		e.Mark(h.clock.Now())
		conn.Item, conn.State, conn.Accounts = h.bank.item, bank.Active, accounts
		for _, i := range is {
			err = errors.Join(err, store.Integrations.Put(tx, i))
		}
		return errors.Join(err, posting.Engines.Put(tx, e), store.Connections.Put(tx, conn))
	})
}

// rings posts, and compares the Books with the bank.
func (h *household) rings(t *rapid.T) {
	h.clock.pass(time.Minute)
	h.post()
	if h.broken != "" {
		t.Fatal(h.broken)
	}
	for _, p := range h.promises {
		if p.frozen != nil {
			if diff := cmp.Diff(p.frozen, h.stands(p)); diff != "" {
				t.Fatalf("%s changed while account %d was silent there:\n%s", p.book, p.account, diff)
			}
			continue
		}
		h.compare(t, p)
	}
}

func (h *household) compare(t *rapid.T, p *promise) {
	stands, before := h.stands(p), facts{}
	for _, tx := range h.bank.standing() {
		if tx.Account != h.bank.accounts[p.account].ID {
			continue
		}
		f := told(&tx)
		if p.woken != nil {
			p.woken[f]--
		}
		if tx.Date.Before(p.from) {
			before[f]++
		} else if stands[f]--; stands[f] < 0 {
			t.Fatalf("account %d has not brought %v to %s; there is %v besides", p.account, f, p.book, stands)
		}
	}
	for f, n := range p.woken {
		p.stale[f] = max(p.stale[f], n)
	}
	p.woken = nil
	for f, n := range stands {
		if n > before[f]+p.stale[f]+p.early[f] {
			t.Fatalf("%d of %v too many in %s; the bank has %v, and there was %v", n, f, p.book, before, p.stale)
		}
	}
}

func TestOnlyWhatLivesIsWrittenAndAllOfIt(t *testing.T) {
	t.Parallel()
	for range 5 { // a check is 100 histories
		rapid.Check(t, func(t *rapid.T) {
			h := newHousehold(t)
			t.Repeat(h.actions())
			h.rings(t)
		})
	}
}

// While an integration waits for its history to be read again, because its bank account has a new item, the bank goes on: it
// tells only once what it takes back, and what is older than all that it still names cannot be missed later.
func TestWhatTheBankTakesBackIsHeardWhileHistoryIsToBeReadAgain(t *testing.T) {
	t.Parallel()
	h := &household{rig: newRig(t, memory.New(), 1), connected: true}
	h.link(theBook, 0, nil)
	h.disconnect(bank.Disconnected)
	h.reconnect()
	tx := movement(0, 0)
	tx.Account = h.bank.accounts[0].ID
	h.bank.says(tx)
	h.post()
	if n := len(h.shelf.standing(theBook)); n != 1 {
		t.Fatalf("%d records", n)
	}
	longer := *h.integration(bank.IntegrationID(theBook, bankAccount(0).ID))
	longer.From = longer.From.AddDays(-1)
	h.save(&longer)
	h.bank.takesBack(tx)
	h.post()
	if left := h.shelf.standing(theBook); len(left) != 0 {
		t.Errorf("the bank took it back, and it stands: %+v", left)
	}
}
