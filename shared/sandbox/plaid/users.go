package plaid

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

const (
	mostCustomBytes    = 55 << 10 // what user_custom's configuration may be, at Plaid too
	mostCustomAccounts = 10
	historyMonths      = 24
)

// signIn is the bank's own login. The users are those of Plaid's Sandbox (https://plaid.com/docs/sandbox/test-credentials/):
// user_good with pass_good; the password error_<CODE> fails with that code; user_transactions_dynamic with any password at
// banks without OAuth; user_custom with accounts written as JSON in the password. Beyond Plaid's, user_good+NAME is another
// person with accounts like user_good's.
func (b *Bank) signIn(inst *Institution, user, password string) (*customer, *Error) {
	if e := inst.outage(); e != nil {
		return nil, e
	}
	if code, ok := strings.CutPrefix(password, "error_"); ok {
		if _, known := refusals[code]; known {
			return nil, refuse(code)
		}
	}
	kind, _, _ := strings.Cut(user, "+")
	if kind == "user_custom" && !inst.own {
		return b.customUser(inst, user, password)
	}
	dynamic := kind == "user_transactions_dynamic" && !inst.OAuth
	if password != "pass_good" && !dynamic {
		return nil, refuse("INVALID_CREDENTIALS")
	}
	if c := b.customers[inst.ID+"/"+user]; c != nil {
		return c, nil
	}
	if inst.own || kind != "user_good" && !dynamic {
		return nil, refuse("INVALID_CREDENTIALS")
	}
	c := b.newCustomer(inst.ID, user)
	c.dynamic = dynamic
	b.dirty.Touch(c)
	for _, h := range defaultAccounts(inst, user, b.now(), dynamic) {
		b.open(c, h)
	}
	return c, nil
}

func money(s string) decimal.Decimal { return decimal.RequireFromString(s) }

func moneyPtr(s string) *decimal.Decimal {
	d := money(s)
	return &d
}

// defaultAccounts are the accounts that the Sandbox gives user_good, in the currency of the bank's country.
func defaultAccounts(inst *Institution, user string, now time.Time, dynamic bool) []Holding {
	currency := inst.currency()
	list := []Holding{
		{Name: "Plaid Checking", OfficialName: "Plaid Gold Standard 0% Interest Checking", Mask: "0000", Type: "depository", Subtype: "checking", Available: moneyPtr("100"), Current: money("110")},
		{Name: "Plaid Saving", OfficialName: "Plaid Silver Standard 0.1% Interest Saving", Mask: "1111", Type: "depository", Subtype: "savings", Available: moneyPtr("200"), Current: money("210")},
		{Name: "Plaid CD", OfficialName: "Plaid Bronze Standard 0.2% Interest CD", Mask: "2222", Type: "depository", Subtype: "cd", Current: money("1000")},
		{Name: "Plaid Credit Card", OfficialName: "Plaid Diamond 12.5% APR Interest Credit Card", Mask: "3333", Type: "credit", Subtype: "credit card", Current: money("410"), Limit: moneyPtr("2000")},
		{Name: "Plaid Money Market", OfficialName: "Plaid Platinum Standard 1.85% Interest Money Market", Mask: "4444", Type: "depository", Subtype: "money market", Available: moneyPtr("43200"), Current: money("43200")},
		{Name: "Plaid IRA", Mask: "5555", Type: "investment", Subtype: "ira", Current: money("320.76")},
		{Name: "Plaid 401k", Mask: "6666", Type: "investment", Subtype: "401k", Current: money("23631.9805")},
		{Name: "Plaid Student Loan", Mask: "7777", Type: "loan", Subtype: "student", Current: money("65262")},
		{Name: "Plaid Mortgage", Mask: "8888", Type: "loan", Subtype: "mortgage", Current: money("56302.06")},
	}
	for i := range list {
		h := &list[i]
		h.Currency = currency
		if dynamic {
			if i == 0 {
				h.Rows = dynamicRows(now)
			}
			continue
		}
		if habits := everyday[h.Mask]; habits != nil {
			h.Rows = history(habits, inst.ID+"/"+user+"/"+h.Mask, now)
		}
	}
	return list
}

// habit is something that recurs in an account.
type habit struct {
	day                         int // of the month; 0 is a few times a month, on any day
	times                       int // a month, where day is 0
	low, high                   int64
	name, merchant, description string // the description's %d is a reference number
	category, channel           string
}

// everyday is what happens in user_good's accounts, by mask; amounts in cents, positive = out.
var everyday = map[string][]habit{
	"0000": {
		{day: 1, low: 145000, high: 145000, name: "Rent", description: "ACH DEBIT RIVERSIDE PROPERTIES RENT PPD ID: %d", category: "RENT_AND_UTILITIES_RENT", channel: "other"},
		{day: 3, low: 20000, high: 20000, name: "Transfer to savings", description: "ONLINE TRANSFER TO SAV ...1111 REF #%d", category: "TRANSFER_OUT_SAVINGS", channel: "other"},
		{day: 12, low: 7800, high: 16400, name: "City Power & Light", merchant: "City Power & Light", description: "CITY POWER & LIGHT BILLPAY %d", category: "RENT_AND_UTILITIES_GAS_AND_ELECTRICITY", channel: "online"},
		{day: 15, low: -215000, high: -215000, name: "Acme Corp Payroll", description: "ACME CORP DES:PAYROLL ID:%d CO ID:1411289245 PPD", category: "INCOME_WAGES", channel: "other"},
		{day: 18, low: 28000, high: 52000, name: "Credit card payment", description: "CREDIT CRD AUTOPAY %d", category: "LOAN_PAYMENTS_CREDIT_CARD_PAYMENT", channel: "other"},
		{day: 20, low: 5500, high: 5500, name: "Northwind Wireless", merchant: "Northwind Wireless", description: "NORTHWIND WIRELESS AUTOPAY %d", category: "RENT_AND_UTILITIES_TELEPHONE", channel: "online"},
		{day: 28, low: -215000, high: -215000, name: "Acme Corp Payroll", description: "ACME CORP DES:PAYROLL ID:%d CO ID:1411289245 PPD", category: "INCOME_WAGES", channel: "other"},
		{times: 5, low: 2300, high: 14500, name: "Greenleaf Market", merchant: "Greenleaf Market", description: "POS DEBIT GREENLEAF MARKET #%d", category: "FOOD_AND_DRINK_GROCERIES", channel: "in store"},
		{times: 6, low: 350, high: 890, name: "Corner Coffee", merchant: "Corner Coffee", description: "CHECKCARD CORNER COFFEE %d", category: "FOOD_AND_DRINK_COFFEE", channel: "in store"},
		{times: 2, low: 4000, high: 20000, name: "ATM withdrawal", description: "ATM WITHDRAWAL %d MAIN ST", category: "TRANSFER_OUT_WITHDRAWAL", channel: "other"},
		{times: 2, low: 2900, high: 6800, name: "Roadside Fuel", merchant: "Roadside Fuel", description: "ROADSIDE FUEL %d PUMP 4", category: "TRANSPORTATION_GAS", channel: "in store"},
	},
	"1111": {
		{day: 3, low: -20000, high: -20000, name: "Transfer from checking", description: "ONLINE TRANSFER FROM CHK ...0000 REF #%d", category: "TRANSFER_IN_SAVINGS", channel: "other"},
		{day: 28, low: -240, high: -90, name: "Interest payment", description: "INTRST PYMNT %d", category: "INCOME_INTEREST_EARNED", channel: "other"},
	},
	"3333": {
		{day: 5, low: 1549, high: 1549, name: "Streamly", merchant: "Streamly", description: "STREAMLY.COM %d", category: "ENTERTAINMENT_TV_AND_MOVIES", channel: "online"},
		{day: 9, low: 1099, high: 1099, name: "Tunebox", merchant: "Tunebox", description: "TUNEBOX P%d", category: "ENTERTAINMENT_MUSIC_AND_AUDIO", channel: "online"},
		{day: 18, low: -52000, high: -28000, name: "Payment - thank you", description: "AUTOMATIC PAYMENT - THANK YOU %d", category: "LOAN_PAYMENTS_CREDIT_CARD_PAYMENT", channel: "other"},
		{times: 4, low: 1800, high: 9600, name: "Trattoria Bella", merchant: "Trattoria Bella", description: "TST* TRATTORIA BELLA %d", category: "FOOD_AND_DRINK_RESTAURANT", channel: "in store"},
		{times: 3, low: 1200, high: 18900, name: "Parcelwise", merchant: "Parcelwise", description: "PARCELWISE MKTPL*%d", category: "GENERAL_MERCHANDISE_ONLINE_MARKETPLACES", channel: "online"},
		{times: 4, low: 900, high: 3400, name: "Hoppla Rides", merchant: "Hoppla Rides", description: "HOPPLA *TRIP %d", category: "TRANSPORTATION_TAXIS_AND_RIDE_SHARES", channel: "online"},
	},
	"7777": {
		{day: 22, low: -40000, high: -40000, name: "Student loan payment", description: "STUDENT LN PYMT %d", category: "LOAN_PAYMENTS_STUDENT_LOAN_PAYMENT", channel: "other"},
		{day: 28, low: 9500, high: 12500, name: "Interest charge", description: "INTEREST CHARGED %d", category: "BANK_FEES_INTEREST_CHARGE", channel: "other"},
	},
}

// history is 24 months of habits up to today, oldest first; the last two days are still pending where a card was used. It
// is the same for the same key and day.
func history(habits []habit, key string, now time.Time) []Row {
	h := fnv.New64a()
	h.Write([]byte(key))
	rng := rand.New(rand.NewPCG(h.Sum64(), 1))
	today := now.Format(time.DateOnly)
	fresh := daysAgo(now, 1)
	var rows []Row
	first := time.Date(now.Year(), now.Month()-historyMonths, 1, 0, 0, 0, 0, time.UTC)
	for month := range historyMonths + 1 {
		start := first.AddDate(0, month, 0)
		for _, habit := range habits {
			for range max(1, habit.times) {
				day := cmp.Or(habit.day, 1+rng.IntN(28))
				rows = append(rows, habit.row(rng, start.AddDate(0, 0, day-1)))
			}
		}
	}
	rows = slices.DeleteFunc(rows, func(r Row) bool { return r.Date > today })
	for i := range rows {
		r := &rows[i]
		r.Pending = r.Date >= fresh && r.Merchant != ""
		if r.Pending {
			r.Authorized = ""
		}
	}
	slices.SortStableFunc(rows, func(x, y Row) int { return strings.Compare(x.Date, y.Date) })
	return rows
}

func (h habit) row(rng *rand.Rand, on time.Time) Row {
	cents := h.low + rng.Int64N(h.high-h.low+1)
	r := Row{
		Date: on.Format(time.DateOnly), Amount: decimal.New(cents, -2), Name: h.name, Merchant: h.merchant,
		Description: fmt.Sprintf(h.description, 10000+rng.IntN(90000)), Category: h.category, Channel: h.channel,
	}
	if h.merchant != "" {
		r.Authorized = daysAgo(on, 1)
	}
	return r
}

// dynamicRows are the 50 rows that user_transactions_dynamic begins with, the newest pending.
func dynamicRows(now time.Time) []Row {
	rows := make([]Row, 50)
	for i := range rows {
		back := (len(rows) - 1 - i) / 4
		rows[i] = Row{
			Date: daysAgo(now, back), Amount: decimal.New(int64(1000+i*173%9000), -2), Pending: back < 2,
			Description: fmt.Sprintf("DYNAMIC PURCHASE %d", i), Channel: "in store",
		}
	}
	return rows
}

type customConfig struct {
	Version  json.RawMessage `json:"version"` // a number or a text; not read
	Seed     string          `json:"seed"`
	Accounts []struct {
		Type      string           `json:"type"`
		Subtype   string           `json:"subtype"`
		Starting  *decimal.Decimal `json:"starting_balance"`
		Available *decimal.Decimal `json:"force_available_balance"`
		Currency  string           `json:"currency"`
		Meta      struct {
			Name         string           `json:"name"`
			OfficialName string           `json:"official_name"`
			Limit        *decimal.Decimal `json:"limit"`
			Mask         string           `json:"mask"`
		} `json:"meta"`
		Transactions []struct {
			Transacted  string          `json:"date_transacted"`
			Posted      string          `json:"date_posted"`
			Amount      decimal.Decimal `json:"amount"`
			Description string          `json:"description"`
			Currency    string          `json:"currency"`
		} `json:"transactions"`
	} `json:"override_accounts"`
}

// customUser makes the customer that a user_custom configuration describes. A date_posted in the future is a pending row.
// The same configuration is the same customer.
func (b *Bank) customUser(inst *Institution, user, config string) (*customer, *Error) {
	user += "/" + derivedID(config)[:8]
	if c := b.customers[inst.ID+"/"+user]; c != nil {
		return c, nil
	}
	var cfg customConfig
	if len(config) > mostCustomBytes || json.Unmarshal([]byte(config), &cfg) != nil || len(cfg.Accounts) > mostCustomAccounts {
		return nil, refuse("INVALID_CREDENTIALS")
	}
	holdings, err := cfg.holdings(inst.currency(), b.today())
	if err != nil {
		return nil, refuse("INVALID_CREDENTIALS")
	}
	c := b.newCustomer(inst.ID, user)
	for _, h := range holdings {
		b.open(c, h)
	}
	return c, nil
}

func (cfg *customConfig) holdings(currency, today string) ([]Holding, error) {
	var out []Holding
	for i, a := range cfg.Accounts {
		h := Holding{
			Name: cmp.Or(a.Meta.Name, "Plaid "+a.Subtype), OfficialName: a.Meta.OfficialName, Mask: cmp.Or(a.Meta.Mask, fmt.Sprintf("%04d", i)),
			Type: a.Type, Subtype: a.Subtype, Currency: cmp.Or(a.Currency, currency), Available: a.Available, Limit: a.Meta.Limit,
		}
		if a.Starting != nil {
			h.Current = *a.Starting
		}
		for _, t := range a.Transactions {
			if err := cmp.Or(dateOnly(t.Transacted), dateOnly(t.Posted)); err != nil {
				return nil, err
			}
			r := Row{Date: t.Posted, Authorized: t.Transacted, Amount: t.Amount, Currency: t.Currency, Description: t.Description}
			if t.Posted > today {
				r.Date, r.Authorized, r.Pending = t.Transacted, "", true
			}
			h.Rows = append(h.Rows, r)
		}
		out = append(out, h)
	}
	return out, nil
}
