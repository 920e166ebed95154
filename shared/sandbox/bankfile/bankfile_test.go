package bankfile

import (
	"strings"
	"testing"

	"github.com/shopspring/decimal"
)

const header = "date,id,account,amount,currency,description,balance\n"

func TestTheLastBalanceIsTheOneNoOtherRowStartsFrom(t *testing.T) {
	for name, row := range map[string]struct{ lines, want string }{
		"in order":                       {"2020-01-01,1,a,5,EUR,x,5\n2020-01-02,2,a,2,EUR,x,7\n2020-01-02,3,a,-1,EUR,x,6", "6"},
		"out of order":                   {"2020-01-02,3,a,-1,EUR,x,6\n2020-01-02,2,a,2,EUR,x,7\n2020-01-01,1,a,5,EUR,x,5", "6"},
		"a zero row":                     {"2020-01-01,1,a,5,EUR,x,5\n2020-01-02,2,a,0,EUR,x,5", "5"},
		"a balance met twice":            {"2020-01-01,1,a,5,EUR,x,5\n2020-01-02,3,a,-1,EUR,x,5\n2020-01-02,2,a,1,EUR,x,6\n2020-01-02,4,a,3,EUR,x,8", "8"},
		"a day that ends where it began": {"2020-01-01,1,a,5,EUR,x,5\n2020-01-02,2,a,1,EUR,x,6\n2020-01-02,3,a,-1,EUR,x,5", "5"},
	} {
		f, err := Read(strings.NewReader(header + row.lines + "\n"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := f.Closings()[0].Balance; !got.Equal(decimal.RequireFromString(row.want)) {
			t.Errorf("%s: %s, want %s", name, got, row.want)
		}
	}
}

func TestAFileThatIsNoStatementIsRefusedWithItsLine(t *testing.T) {
	good := "2020-01-01,1,a,5,EUR,x,5\n"
	for name, row := range map[string]struct{ file, want string }{
		"empty":          {"", "EOF"},
		"no rows":        {header, "no rows"},
		"other header":   {"day,id,account,amount,currency,description,balance\n" + good, "header"},
		"date":           {header + good + "01/02/2020,2,a,5,EUR,x,5\n", "line 3: date"},
		"amount":         {header + "2020-01-01,1,a,five,EUR,x,5\n", "line 2: amount"},
		"balance":        {header + "2020-01-01,1,a,5,EUR,x,\n", "line 2: balance"},
		"id twice":       {header + good + good, "line 3: id \"1\" comes twice"},
		"missing column": {header + "2020-01-01,1,a,5,EUR,x\n", "wrong number of fields"},
	} {
		if _, err := Read(strings.NewReader(row.file)); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
