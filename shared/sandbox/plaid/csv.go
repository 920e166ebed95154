package plaid

import (
	"errors"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/bankfile"
)

// LoadFile makes an institution out of a bank's file: all dates are shifted by the same number of days so that the
// last row falls on lastDay, and user_good has every account of the file. It is found in every country. An institution that
// was made under the name before is returned as it is, so the dates of what it showed do not move.
func (b *Bank) LoadFile(f *bankfile.File, name string, lastDay time.Time) (*Institution, error) {
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
	for _, cl := range f.Closings() {
		balance := cl.Balance
		holdings[cl.Account] = b.open(c, Holding{
			Name: cl.Name, Mask: cl.Mask, Type: "depository", Subtype: "checking", Currency: cl.Currency,
			Current: balance, Available: &balance,
		})
	}
	for l := range f.Lines(lastDay) {
		b.recordAs(holdings[l.Account], id+"/"+l.ID, Row{
			Date: l.Date, Amount: l.Amount.Neg(), Currency: l.Currency, Description: l.Description,
		})
	}
	return i, nil
}
