package posting_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/civil"
	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/store/memory"
)

// currencies have each number of fraction digits that ISO 4217 knows.
var currencies = map[string]int{"JPY": 0, "ISK": 0, "USD": 2, "BRL": 2, "KWD": 3, "TND": 3, "CLF": 4}

func TestTheCurrenciesOfTheseTestsHaveTheirDigits(t *testing.T) {
	for code, want := range currencies {
		if digits, ok := bank.Digits(code); !ok || digits != want {
			t.Errorf("%s has %d digits, official %v", code, digits, ok)
		}
	}
}

// signed is positive for money that comes in.
func signed(d bank.Direction, amount decimal.Decimal) decimal.Decimal {
	if d == bank.Out {
		return amount.Neg()
	}
	return amount
}

// fact is what a bank and a Book must agree on.
type fact struct {
	Date    civil.Date
	Amount  string // signed
	Text    string
	Pending bool
}

func told(t *bank.Transaction) fact {
	return fact{t.Date, signed(t.Direction, t.Amount).String(), t.Text, t.Pending}
}

func recorded(account string, r *ledger.Transaction) fact {
	d := bank.In
	if r.Credit == account {
		d = bank.Out
	}
	return fact{r.Date, signed(d, r.Amount).String(), r.Description, r.Properties["bank_pending"] != ""}
}

// facts counts equal facts.
type facts map[fact]int

// purse is a bank account that lives: transactions come, settle, change and go.
type purse struct {
	*rig
	digits int
	last   int
	now    map[string]bank.Transaction // by id
	told   []bank.Transaction          // said by the bank while it is being read in pages
}

// some draws one of the present transactions that match.
func (p *purse) some(t *rapid.T, match func(bank.Transaction) bool) bank.Transaction {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(p.now)) {
		if match(p.now[id]) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		t.Skip("there is none")
	}
	return p.now[rapid.SampledFrom(ids).Draw(t, "which")]
}

func anyOf(bank.Transaction) bool           { return true }
func isPending(t bank.Transaction) bool     { return t.Pending }
func (p *purse) say(ts ...bank.Transaction) { p.keep(ts...); p.bank.says(ts...) }

func (p *purse) keep(ts ...bank.Transaction) {
	for _, t := range ts {
		p.now[t.ID] = t
	}
}

func (p *purse) takeBack(t bank.Transaction) {
	delete(p.now, t.ID)
	p.bank.takesBack(t)
}

func (p *purse) fresh() string {
	p.last++
	return fmt.Sprint("tx-", p.last)
}

// vary gives a transaction other values.
func (p *purse) vary(t *rapid.T, tx *bank.Transaction) {
	tx.Amount = decimal.New(rapid.OneOf(rapid.Int64Range(1, 30), rapid.Int64Range(1, 999_999_999_999_999)).Draw(t, "amount"), -int32(p.digits))
	tx.Date = civil.Date{Year: 2024, Month: time.February, Day: 27}.AddDays(rapid.IntRange(0, 5).Draw(t, "day"))
	tx.Direction = rapid.SampledFrom([]bank.Direction{bank.In, bank.Out}).Draw(t, "direction")
	tx.Text = rapid.SampledFrom([]string{"PIX", "CARD", "FEE"}).Draw(t, "text")
}

func (p *purse) made(t *rapid.T, pending bool) bank.Transaction {
	tx := bank.Transaction{ID: p.fresh(), Account: p.bank.accounts[0].ID, Currency: p.bank.accounts[0].Currency, Pending: pending}
	p.vary(t, &tx)
	return tx
}

// actions are what can happen at the bank.
func (p *purse) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"comes":         func(t *rapid.T) { p.say(p.made(t, false)) },
		"comes pending": func(t *rapid.T) { p.say(p.made(t, true)) },
		"twin": func(t *rapid.T) {
			twin := p.some(t, anyOf)
			twin.ID, twin.PendingID = p.fresh(), ""
			p.say(twin)
		},
		"settles": func(t *rapid.T) {
			was := p.some(t, isPending)
			tx := was
			tx.ID, tx.Pending = p.fresh(), false
			if rapid.Bool().Draw(t, "changed") {
				p.vary(t, &tx)
			}
			if rapid.Bool().Draw(t, "linked") {
				tx.PendingID = was.ID
			}
			if rapid.Bool().Draw(t, "removed first") {
				p.takeBack(was)
				p.say(tx)
			} else {
				p.say(tx)
				p.takeBack(was)
			}
		},
		"is amended": func(t *rapid.T) {
			tx := p.some(t, anyOf)
			p.vary(t, &tx)
			p.say(tx)
		},
		"goes": func(t *rapid.T) { p.takeBack(p.some(t, anyOf)) },
		"comes while the bank is read": func(t *rapid.T) {
			p.told = append(p.told, p.made(t, false))
		},
	}
}

// The Book says what the bank says, to the last digit and on the same day, whatever happened in between.
func TestABookHasExactlyTheMoneyThatTheBankHas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		code := rapid.SampledFrom(slices.Sorted(maps.Keys(currencies))).Draw(t, "currency")
		p := &purse{rig: newRig(t, memory.New(), 1), digits: currencies[code], now: map[string]bank.Transaction{}}
		p.bank.accounts[0].Currency = code
		p.shelf.books[theBook].Digits = rapid.IntRange(p.digits, 8).Draw(t, "digits of the Book")
		p.bank.size = rapid.IntRange(1, 4).Draw(t, "page")
		p.bank.mutates = true
		p.bank.on = func(from bank.From) error {
			if strings.Contains(from.At, ":") && len(p.told) > 0 {
				p.say(p.told...)
				p.told = nil
			}
			return nil
		}
		i := p.link(theBook, 0, func(i *bank.Integration) {
			i.Currency, i.Pending = code, rapid.Bool().Draw(t, "pending wanted")
		})
		agree := func(t *rapid.T) {
			p.clock.pass(time.Minute)
			p.post()
			p.agree(t, i)
		}
		actions := p.actions()
		actions["is read"] = agree
		t.Repeat(actions)
		agree(t)
	})
}

func (p *purse) agree(t *rapid.T, i *bank.Integration) {
	wanted, stands := facts{}, facts{}
	atBank, inBook := decimal.Zero, decimal.Zero
	for _, tx := range p.now {
		if !tx.Pending || i.Pending {
			wanted[told(&tx)]++
			atBank = atBank.Add(signed(tx.Direction, tx.Amount))
		}
	}
	for _, r := range p.shelf.standing(theBook) {
		f := recorded(i.Account, &r)
		stands[f]++
		inBook = inBook.Add(decimal.RequireFromString(f.Amount))
	}
	if diff := cmp.Diff(wanted, stands); diff != "" || !atBank.Equal(inBook) {
		t.Fatalf("the bank has %s and the Book %s (-bank +book):\n%s", atBank, inBook, diff)
	}
}

// A Book with fewer fraction digits gets the rows that fit, exactly, and none that would have to be rounded.
func TestNothingIsRounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		code := rapid.SampledFrom(slices.Sorted(maps.Keys(currencies))).Draw(t, "currency")
		r := newRig(t, memory.New(), 1)
		r.shelf.books[theBook].Digits = rapid.IntRange(0, 4).Draw(t, "digits of the Book")
		i := r.link(theBook, 0, func(i *bank.Integration) { i.Currency = code })
		wanted, stands := facts{}, facts{}
		for n := range rapid.IntRange(1, 20).Draw(t, "transactions") {
			tx := movement(0, n)
			minor := rapid.Int64Range(1, 99_999).Draw(t, "minor units")
			tx.Amount, tx.Currency = decimal.New(minor, -int32(currencies[code])), code
			r.bank.says(tx)
			if tx.Amount.Equal(tx.Amount.Round(int32(r.shelf.books[theBook].Digits))) {
				wanted[told(&tx)]++
			}
		}
		r.post()
		for _, tx := range r.shelf.standing(theBook) {
			stands[recorded(i.Account, &tx)]++
		}
		if diff := cmp.Diff(wanted, stands); diff != "" {
			t.Fatalf("(-wanted +stands):\n%s", diff)
		}
		aside := 0
		for _, n := range wanted {
			aside -= n
		}
		aside += len(r.bank.standing())
		if got := r.engine().Progress[i.ID].Aside; got != aside {
			t.Fatalf("%d are shown as kept aside, %d are", got, aside)
		}
	})
}

// The bank changes the currency of a row and nothing else.
func TestAnotherCurrencyOfTheSameAmountIsTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	i := r.link(theBook, 0, nil)
	tx := movement(0, 1)
	r.bank.says(tx)
	r.post()
	tx.Currency = "EUR"
	r.bank.says(tx)
	r.post()
	if rows, err := posting.Attention(t.Context(), r.store, i.ID); err != nil || len(rows) != 1 {
		t.Errorf("nobody is told: %v", err)
	}
	tx.Currency = "USD"
	r.bank.says(tx)
	r.post()
	if rows, err := posting.Attention(t.Context(), r.store, i.ID); err != nil || len(rows) != 0 {
		t.Errorf("it is right again: %+v %v", rows, err)
	}
}
