package plaid

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

func newTestBank(t testing.TB) (*Bank, *time.Time) {
	t.Helper()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	b := NewBank(Config{Now: func() time.Time { return now }, Rand: rand.New(rand.NewPCG(1, 2))})
	return b, &now
}

func connect(t testing.TB, b *Bank, institution, user string) (access, item string) {
	t.Helper()
	l, err := b.CreateLinkToken("c", LinkRequest{ClientName: "x", Language: "en", CountryCodes: []string{"US"}, User: LinkUser{ClientUserID: "u"},
		Products: []string{"transactions"}, Webhook: "https://x.example/hook", Transactions: TransactionOptions{Days: 730}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Connect(l.Token, institution, user, "pass_good")
	if err != nil {
		t.Fatal(err)
	}
	access, item, err = b.Exchange(p)
	if err != nil {
		t.Fatal(err)
	}
	return access, item
}

func TestScratch(t *testing.T) {
	b, _ := newTestBank(t)
	a, it := connect(t, b, "ins_109508", "user_good")
	n := 0
	cur := ""
	for {
		p, err := b.Sync(a, SyncQuery{Cursor: cur, Count: 500, Original: true})
		if err != nil {
			t.Fatal(err)
		}
		n += len(p.Added)
		cur = p.NextCursor
		if n < 600 {
			t.Logf("%+v %s %d", p.Added[0], p.Status, len(p.Accounts))
		}
		if !p.HasMore {
			break
		}
	}
	t.Log(n, it)
	f, _ := os.Open("/work/shared/data/berka.csv")
	inst, st, err := b.LoadCSV(f, "Berka", b.now().AddDate(0, 0, -1))
	if err != nil {
		t.Fatal(err)
	}
	a, _ = connect(t, b, inst.ID, "user_good")
	sum := map[string]string{}
	acc, _, _ := b.Accounts(a, nil)
	t.Log(len(acc), len(st.Closings()))
	_ = sum
	for _, w := range b.Drain() {
		t.Log(w.Type, w.Code, len(w.Body()))
	}
}
