package posting_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/civil"
	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/store"
)

// Documents of every released version decode for ever: these files are of version 1 and never change. A new version adds
// files of its own.

func golden[T any](t *testing.T, kind store.Kind[T], file string, want *T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	got, err := kind.Decode(store.Document{Kind: kind.Name, ID: "x", Body: text})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(decimal.Decimal.Equal), cmp.AllowUnexported(posting.Row{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
	d, err := kind.Document(got)
	if err != nil {
		t.Fatal(err)
	}
	again, err := kind.Decode(d)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, again, cmp.Comparer(decimal.Decimal.Equal), cmp.AllowUnexported(posting.Row{})); diff != "" {
		t.Errorf("%s written and read again:\n%s", file, diff)
	}
	if strings.Contains(file, "unknown") {
		return
	}
	if d, err = kind.Document(want); err != nil {
		t.Fatal(err)
	}
	if again, err = kind.Decode(d); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, again, cmp.Comparer(decimal.Decimal.Equal), cmp.AllowUnexported(posting.Row{})); diff != "" {
		t.Errorf("%s as this version writes it:\n%s", file, diff)
	}
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func fullRow() *posting.Row {
	v := posting.Values{Date: civil.Date{Year: 2026, Month: 11, Day: 19}, Amount: decimal.RequireFromString("12.50"), Direction: bank.Out, Text: "digest", Pending: true}
	after := v
	after.Pending = false
	return &posting.Row{
		Key: "plaid_t1", Integration: "0123456789abcdef0123456789abcdef", IDs: []string{"t1", "t2"}, Epoch: 1, State: posting.Standing,
		Record: "r1", Account: "a1", Written: v, Intent: posting.ToAmend, After: &after, Waiting: true, Flag: posting.Changed, Bank: &after, Reason: posting.ReasonLocked,
	}
}

func fullSegment() *posting.Segment {
	return &posting.Segment{ID: "c.000000000007.x", Connection: "c", Book: "b", As: "u", Seq: 7, No: 2, Rows: []*posting.Row{fullRow()}, Named: []string{"t2"}, Page: "p", At: noon}
}

func TestDocumentsOfVersionOneDecode(t *testing.T) {
	t.Parallel()
	golden(t, posting.Segments, "segment-v1.json", fullSegment())
	golden(t, posting.Engines, "engine-v1.json", &posting.Engine{
		Connection: "c", Asked: 3, Reading: 2, Deep: true, ReadingDeep: true, Lease: posting.Lease{Until: noon, Fence: 9}, Due: noon,
		Item: "i", Cursor: "cur", Seq: 7, Open: []*posting.Segment{fullSegment()}, Config: 4, Obeyed: 3, Known: 4, Linked: true, Behind: true,
		Read: &posting.Read{
			First: 5, No: 2, Origin: "o", At: "at", Replay: true, Serves: map[string]int{"0123456789abcdef0123456789abcdef": 2}, Claiming: true, Renewed: true,
			Then: "then", Oldest: map[string]civil.Date{"acc": {Year: 2025, Month: 1, Day: 2}}, Written: []bank.RemovedTransaction{{ID: "t1", Account: "acc"}},
			Waiting: true, Deep: true, Named: true,
		},
		Progress: map[string]bank.Progress{"0123456789abcdef0123456789abcdef": {Recorded: 5, Aside: 1, Flagged: 2, Last: noon, Oldest: civil.Date{Year: 2025, Month: 1, Day: 2}, Complete: true, Vanished: 3}},
		Failures: 2, Failure: "CODE", Looked: noon, Synced: noon,
	})
	golden(t, store.Integrations, "integration-v1.json", &bank.Integration{
		ID: "0123456789abcdef0123456789abcdef", Book: "b", BookName: "Book", Connection: "c", Key: "k",
		Bank:    bank.Institution{ID: "ins_1", Name: "Bank", Country: "US", URL: "https://bank.example", Colour: "#112233"},
		Of:      bank.Account{ID: "acc", Persistent: "p", Name: "Checking", Mask: "0000", Type: bank.Deposit, Subtype: "checking", Currency: "USD"},
		Account: "a1", AccountTag: "Checking", Currency: "USD", From: civil.Date{Year: 2026, Month: 1, Day: 1}, Pending: true, Paused: true, As: "u", AsEmail: "u@example.com",
		State: bank.Live, Want: 2, Have: 1, Behind: "no_access", Until: noon, Epoch: 1, Created: noon, Updated: noon,
	})
	golden(t, store.Connections, "connection-v1.json", &bank.Connection{
		ID: "c", Owner: "u", Email: "u@example.com", Provider: "plaid", Item: "i", Institution: bank.Institution{ID: "ins_1", Name: "Bank"}, Country: "US",
		Accounts: []bank.LinkedAccount{{Key: "k", Account: bank.Account{ID: "acc", Name: "Checking", Type: bank.Card, Currency: "USD"}, Gone: true}},
		Offered:  []string{"b"}, State: bank.NeedsUser, Reason: "CODE", ConsentExpires: noon, NewAccounts: true, Epoch: 2, Created: noon, Updated: noon,
	})
	golden(t, store.Sessions, "session-v1.json", &bank.Session{
		ID: "s", Owner: "u", Email: "u@example.com", Book: "b", Provider: "plaid", Country: "US", Purpose: bank.ToRestore, Connection: "c", Ref: "ref",
		State: bank.Exchanging, Candidate: "cand", Duplicate: "d", Created: noon, Forgotten: noon, Due: noon, Trying: noon, Tried: true, Ended: noon,
	})
	golden(t, store.Users, "user-v1.json", &bank.User{Sub: "u", Email: "u@example.com", Granted: true, Updated: noon})
}

func TestADocumentOfANewerVersionDecodes(t *testing.T) {
	t.Parallel()
	golden(t, store.Users, "user-unknown.json", &bank.User{Sub: "u", Email: "u@example.com", Granted: true, Updated: noon})
}
