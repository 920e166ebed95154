package plaid

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// mostCSVBytes bounds a bank's file.
const mostCSVBytes = 256 << 20

var csvColumns = []string{"date", "id", "account", "amount", "currency", "description", "balance"}

// Statement is a bank's file: the rows of any number of accounts.
type Statement struct {
	rows     []csvRow // by date, those of one day in the order of the file
	accounts []string // in the order of their first row
}

type csvRow struct {
	date, id, account, currency, description string
	amount, balance                          decimal.Decimal // negative amount = money out, as banks print it
}

// ReadCSV reads a bank's file: UTF-8 with the header date, id, account, amount, currency, description, balance; dates
// YYYY-MM-DD; amount signed with negative = out; balance after the row. It fails, naming the line, on anything else, on an
// id that comes twice and on an empty file.
func ReadCSV(r io.Reader) (*Statement, error) {
	limited := &io.LimitedReader{R: r, N: mostCSVBytes}
	cr := csv.NewReader(limited)
	cr.FieldsPerRecord = len(csvColumns)
	cr.ReuseRecord = true
	header, err := cr.Read()
	if err != nil {
		return nil, fmt.Errorf("read the bank's file: %w", err)
	}
	if header[0] = strings.TrimPrefix(header[0], "\ufeff"); !slices.Equal(header, csvColumns) {
		return nil, fmt.Errorf("read the bank's file: the header must be %s", strings.Join(csvColumns, ","))
	}
	s := &Statement{}
	ids, accounts := map[string]bool{}, map[string]bool{}
	for {
		record, err := cr.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the bank's file: %w", err)
		}
		row, err := parseRow(record)
		if err == nil && ids[row.id] {
			err = fmt.Errorf("id %q comes twice", row.id)
		}
		if err != nil {
			line, _ := cr.FieldPos(0)
			return nil, fmt.Errorf("read the bank's file: line %d: %w", line, err)
		}
		ids[row.id] = true
		if !accounts[row.account] {
			accounts[row.account] = true
			s.accounts = append(s.accounts, row.account)
		}
		s.rows = append(s.rows, row)
	}
	if limited.N == 0 {
		return nil, fmt.Errorf("read the bank's file: it is larger than %d MiB", mostCSVBytes>>20)
	}
	if len(s.rows) == 0 {
		return nil, errors.New("read the bank's file: it has no rows")
	}
	slices.SortStableFunc(s.rows, func(x, y csvRow) int { return strings.Compare(x.date, y.date) })
	return s, nil
}

func parseRow(f []string) (csvRow, error) {
	row := csvRow{
		date: strings.Clone(f[0]), id: strings.Clone(f[1]), account: strings.Clone(f[2]),
		currency: strings.Clone(f[4]), description: strings.Clone(f[5]),
	}
	if err := dateOnly(row.date); err != nil {
		return row, fmt.Errorf("date %q is not YYYY-MM-DD", row.date)
	}
	if row.id == "" || row.account == "" || len(row.currency) != 3 {
		return row, errors.New("id, account and a currency of three letters are needed")
	}
	var err error
	if row.amount, err = decimal.NewFromString(f[3]); err != nil {
		return row, fmt.Errorf("amount %q is not a number", f[3])
	}
	if row.balance, err = decimal.NewFromString(f[6]); err != nil {
		return row, fmt.Errorf("balance %q is not a number", f[6])
	}
	return row, nil
}

// Closing is what the bank says that an account holds at the end of its file.
type Closing struct {
	Account  string // the file's name of it
	Name     string // the name under which the institution shows it
	Mask     string
	Currency string
	Balance  decimal.Decimal
}

// Closings returns the last balance of every account, in the order of the file: of the last day's rows, the balance from
// which no other row of that day starts. Rows of one day may be out of order, so the last line need not hold it. A last day
// that ends where it began leaves no such balance; then it is that of the day before, or of the last line.
func (s *Statement) Closings() []Closing {
	days := map[string]*lastDays{}
	for _, r := range s.rows {
		d := days[r.account]
		if d == nil {
			d = &lastDays{}
			days[r.account] = d
		}
		d.add(r)
	}
	out := make([]Closing, 0, len(s.accounts))
	for _, a := range s.accounts {
		d := days[a]
		out = append(out, Closing{Account: a, Name: accountName(a), Mask: mask(a), Currency: d.day[0].currency, Balance: d.closing()})
	}
	return out
}

// lastDays keeps the rows of the latest day of an account, and the balance at the end of the day before, while rows come in
// the order of their dates.
type lastDays struct {
	day    []csvRow
	before *decimal.Decimal
}

func (d *lastDays) add(r csvRow) {
	if len(d.day) > 0 && r.date != d.day[0].date {
		end := d.closing()
		d.before, d.day = &end, d.day[:0]
	}
	d.day = append(d.day, r)
}

func (d *lastDays) closing() decimal.Decimal {
	open := map[string]int{} // ends minus starts, by balance
	for _, r := range d.day {
		open[r.balance.String()]++
		open[r.balance.Sub(r.amount).String()]--
	}
	for _, r := range slices.Backward(d.day) {
		if open[r.balance.String()] > 0 {
			return r.balance
		}
	}
	if d.before != nil {
		return *d.before
	}
	return d.day[len(d.day)-1].balance
}

func accountName(account string) string { return "Account " + account }

func mask(account string) string { return account[max(0, len(account)-4):] }

// LoadCSV reads a bank's file (see ReadCSV) and loads it (see LoadStatement).
func (b *Bank) LoadCSV(r io.Reader, name string, lastDay time.Time) (*Institution, *Statement, error) {
	s, err := ReadCSV(r)
	if err != nil {
		return nil, nil, err
	}
	i, err := b.LoadStatement(s, name, lastDay)
	return i, s, err
}

// LoadStatement makes an institution out of a bank's file: all dates are shifted by the same number of days so that the
// last row falls on lastDay, and user_good has every account of the file. It is found in every country. An institution that
// was made under the name before is returned as it is, so the dates of what it showed do not move.
func (b *Bank) LoadStatement(s *Statement, name string, lastDay time.Time) (*Institution, error) {
	if name == "" {
		return nil, errors.New("an institution needs a name")
	}
	id := "ins_" + derivedID("csv", name)[:10]
	if i := b.own[id]; i != nil {
		return i, nil
	}
	i, err := b.AddInstitution(id, name, Countries, false)
	if err != nil {
		return nil, err
	}
	c := b.newCustomer(id, "user_good")
	holdings := map[string]*holding{}
	for _, cl := range s.Closings() {
		balance := cl.Balance
		holdings[cl.Account] = b.open(c, Holding{
			Name: cl.Name, Mask: cl.Mask, Type: "depository", Subtype: "checking", Currency: cl.Currency,
			Current: balance, Available: &balance,
		})
	}
	for l := range s.Lines(lastDay) {
		b.recordAs(holdings[l.Account], id+"/"+l.ID, Row{
			Date: l.Date, Amount: l.Amount.Neg(), Currency: l.Currency, Description: l.Description,
		})
	}
	return i, nil
}

// Line is one row of the file.
type Line struct {
	Account, ID, Date, Currency, Description string          // Date is YYYY-MM-DD
	Amount                                   decimal.Decimal // negative = money out, as banks print it
}

// Lines are the rows by date, all shifted by the same number of days so that the last falls on lastDay.
func (s *Statement) Lines(lastDay time.Time) iter.Seq[Line] {
	shift := s.shift(lastDay)
	return func(yield func(Line) bool) {
		for _, r := range s.rows {
			if !yield(Line{r.account, r.id, shift(r.date), r.currency, r.description, r.amount}) {
				return
			}
		}
	}
}

// Rows returns the number of rows in the file.
func (s *Statement) Rows() int { return len(s.rows) }

func (s *Statement) shift(lastDay time.Time) func(string) string {
	date := func(text string) time.Time {
		t, _ := time.Parse(time.DateOnly, text) // parsed once already
		return t
	}
	last := time.Date(lastDay.Year(), lastDay.Month(), lastDay.Day(), 0, 0, 0, 0, time.UTC)
	days := int(last.Sub(date(s.rows[len(s.rows)-1].date)) / day)
	return func(text string) string { return date(text).AddDate(0, 0, days).Format(time.DateOnly) }
}
