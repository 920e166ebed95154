package pluggy

import (
	"errors"
	"hash/fnv"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/bankfile"
	"github.com/shopspring/decimal"
)

const (
	firstOwnID = 10_000 // connectors of files; Pluggy's own ids are smaller
	ownIDs     = 1 << 20
)

// ownID is the connector id of a name.
func ownID(name string) int {
	h := fnv.New32a()
	h.Write([]byte(name))
	return firstOwnID + int(h.Sum32()%ownIDs)
}

// LoadFile makes a connector of Open Finance out of a bank's file: all dates are shifted by the same number of days so
// that the last row falls on lastDay, and user-ok has every account of the file. A connector that was made under the name
// before is returned as it is, so the dates of what it showed do not move. Items show the last year of it.
func (b *Bank) LoadFile(f *bankfile.File, name string, lastDay time.Time) (*Connector, error) {
	if name == "" {
		return nil, errors.New("a connector needs a name")
	}
	id := ownID(name)
	if c := b.own[id]; c != nil {
		return c, nil
	}
	if err := b.AddConnector(Connector{ID: id, Name: name, OpenFinance: true}); err != nil {
		return nil, err
	}
	rows, sums := map[string][]Row{}, map[string]decimal.Decimal{}
	for l := range f.Lines(lastDay) {
		r := Row{Date: l.Date, Type: Debit, Amount: l.Amount.Abs(), Currency: l.Currency, Description: l.Description, ProviderID: l.ID}
		if l.Amount.IsPositive() {
			r.Type = Credit
		}
		rows[l.Account] = append(rows[l.Account], r)
		sums[l.Account] = sums[l.Account].Add(l.Amount)
	}
	var accounts []Holding
	for _, cl := range f.Closings() {
		accounts = append(accounts, Holding{
			Name: cl.Name, Number: cl.Account, Type: BankAccount, Subtype: "CHECKING_ACCOUNT", Currency: cl.Currency,
			Opening: cl.Balance.Sub(sums[cl.Account]), Rows: rows[cl.Account],
		})
	}
	_, err := b.AddCustomer(id, "user-ok", accounts)
	return b.own[id], err
}
