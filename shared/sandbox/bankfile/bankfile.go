// Package bankfile reads the statement of a bank as a file, so that a stand-in can play a real bank: rows of any number of
// accounts, with their dates moved to now, and what each account holds at the end.
package bankfile

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

// mostBytes bounds a bank's file.
const mostBytes = 256 << 20

var columns = []string{"date", "id", "account", "amount", "currency", "description", "balance"}

// File is a bank's file: the rows of any number of accounts.
type File struct {
	rows     []row    // by date, those of one day in the order of the file
	accounts []string // in the order of their first row
}

type row struct {
	date, id, account, currency, description string
	amount, balance                          decimal.Decimal // negative amount = money out, as banks print it
}

// Read reads a bank's file: UTF-8 with the header date, id, account, amount, currency, description, balance; dates
// YYYY-MM-DD; amount signed with negative = out; balance after the row. It fails, naming the line, on anything else, on an
// id that comes twice and on an empty file.
func Read(from io.Reader) (*File, error) {
	limited := &io.LimitedReader{R: from, N: mostBytes}
	cr := csv.NewReader(limited)
	cr.FieldsPerRecord = len(columns)
	cr.ReuseRecord = true
	header, err := cr.Read()
	if err != nil {
		return nil, fmt.Errorf("read the bank's file: %w", err)
	}
	if header[0] = strings.TrimPrefix(header[0], "\ufeff"); !slices.Equal(header, columns) {
		return nil, fmt.Errorf("read the bank's file: the header must be %s", strings.Join(columns, ","))
	}
	f := &File{}
	ids, accounts := map[string]bool{}, map[string]bool{}
	for {
		record, err := cr.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the bank's file: %w", err)
		}
		r, err := parse(record)
		if err == nil && ids[r.id] {
			err = fmt.Errorf("id %q comes twice", r.id)
		}
		if err != nil {
			line, _ := cr.FieldPos(0)
			return nil, fmt.Errorf("read the bank's file: line %d: %w", line, err)
		}
		ids[r.id] = true
		if !accounts[r.account] {
			accounts[r.account] = true
			f.accounts = append(f.accounts, r.account)
		}
		f.rows = append(f.rows, r)
	}
	if limited.N == 0 {
		return nil, fmt.Errorf("read the bank's file: it is larger than %d MiB", mostBytes>>20)
	}
	if len(f.rows) == 0 {
		return nil, errors.New("read the bank's file: it has no rows")
	}
	slices.SortStableFunc(f.rows, func(x, y row) int { return strings.Compare(x.date, y.date) })
	return f, nil
}

func parse(record []string) (row, error) {
	r := row{
		date: strings.Clone(record[0]), id: strings.Clone(record[1]), account: strings.Clone(record[2]),
		currency: strings.Clone(record[4]), description: strings.Clone(record[5]),
	}
	if _, err := time.Parse(time.DateOnly, r.date); err != nil {
		return r, fmt.Errorf("date %q is not YYYY-MM-DD", r.date)
	}
	if r.id == "" || r.account == "" || len(r.currency) != 3 {
		return r, errors.New("id, account and a currency of three letters are needed")
	}
	var err error
	if r.amount, err = decimal.NewFromString(record[3]); err != nil {
		return r, fmt.Errorf("amount %q is not a number", record[3])
	}
	if r.balance, err = decimal.NewFromString(record[6]); err != nil {
		return r, fmt.Errorf("balance %q is not a number", record[6])
	}
	return r, nil
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
func (f *File) Closings() []Closing {
	days := map[string]*lastDays{}
	for _, r := range f.rows {
		d := days[r.account]
		if d == nil {
			d = &lastDays{}
			days[r.account] = d
		}
		d.add(r)
	}
	out := make([]Closing, 0, len(f.accounts))
	for _, a := range f.accounts {
		d := days[a]
		out = append(out, Closing{Account: a, Name: accountName(a), Mask: mask(a), Currency: d.day[0].currency, Balance: d.closing()})
	}
	return out
}

// lastDays keeps the rows of the latest day of an account, and the balance at the end of the day before, while rows come in
// the order of their dates.
type lastDays struct {
	day    []row
	before *decimal.Decimal
}

func (d *lastDays) add(r row) {
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

// Line is one row of the file.
type Line struct {
	Account, ID, Date, Currency, Description string          // Date is YYYY-MM-DD
	Amount                                   decimal.Decimal // negative = money out, as banks print it
}

// Lines are the rows by date, all shifted by the same number of days so that the last falls on lastDay.
func (f *File) Lines(lastDay time.Time) iter.Seq[Line] {
	shift := f.shift(lastDay)
	return func(yield func(Line) bool) {
		for _, r := range f.rows {
			if !yield(Line{r.account, r.id, shift(r.date), r.currency, r.description, r.amount}) {
				return
			}
		}
	}
}

// Rows returns the number of rows in the file.
func (f *File) Rows() int { return len(f.rows) }

func (f *File) shift(lastDay time.Time) func(string) string {
	date := func(text string) time.Time {
		t, _ := time.Parse(time.DateOnly, text) // parsed once already
		return t
	}
	last := time.Date(lastDay.Year(), lastDay.Month(), lastDay.Day(), 0, 0, 0, 0, time.UTC)
	days := int(last.Sub(date(f.rows[len(f.rows)-1].date)) / (24 * time.Hour))
	return func(text string) string { return date(text).AddDate(0, 0, days).Format(time.DateOnly) }
}
