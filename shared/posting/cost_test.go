package posting_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/store/storetest"
)

// What linking and the schedule send, and what a webhook makes.
var (
	ring    = events.Message{Connection: theConnection}
	webhook = events.Message{Provider: theProvider, Item: "item"}
)

// cost counts what Firestore would bill for doing something.
func cost(c *storetest.Counter, do func()) int {
	c.Reset()
	do()
	return c.Reads() + c.Writes()
}

func TestAnImportCostsAFewReadsAndWritesPerThousandRows(t *testing.T) {
	t.Parallel()
	for _, thousands := range []int{1, 4, 20} {
		c := storetest.Counting(memory.New())
		r := newRig(t, c, 1)
		r.link(theBook, 0, nil)
		r.bank.says(movements(0, 0, thousands*1000)...)
		spent := cost(c, func() { r.deliver(ring) })
		t.Logf("%d rows: %d reads and %d writes, %.1f per 1,000", thousands*1000, c.Reads(), c.Writes(), float64(spent)/float64(thousands))
		if got := len(r.shelf.standing(theBook)); got != thousands*1000 {
			t.Fatalf("%d rows stand in the Book", got)
		}
		if spent > 20*thousands {
			t.Errorf("%d rows cost %d", thousands*1000, spent)
		}
	}
}

// veteran is a connection with 140 accounts, each of which feeds a Book, and a history of the first one.
func veteran(t *testing.T, history int) (*rig, *storetest.Counter) {
	t.Helper()
	c := storetest.Counting(memory.New())
	r := newRig(t, c, 140, theBook, "book-2")
	for n := range 140 {
		r.link([]string{theBook, "book-2"}[n%2], n, nil)
	}
	r.bank.says(movements(0, 0, history)...)
	r.post()
	if got := len(r.shelf.standing(theBook)); got != history {
		t.Fatalf("%d rows stand in the Book", got)
	}
	return r, c
}

func TestWhatIsNewCostsTheSameWhateverTheHistoryIs(t *testing.T) {
	t.Parallel()
	deltas := []struct {
		name string
		do   func(r *rig, history int)
	}{
		{"nothing", func(*rig, int) {}},
		{"three new rows", func(r *rig, history int) { r.bank.says(movements(0, history, 3)...) }},
		{"three rows amended", func(r *rig, history int) {
			for _, tx := range movements(0, history/2, 3) {
				tx.Text += " AS IT NOW READS"
				r.bank.says(tx)
			}
		}},
		{"a row taken back", func(r *rig, history int) { r.bank.takesBack(movement(0, history/3)) }},
	}
	spent := map[string][]int{}
	for _, history := range []int{2_000, 20_000} {
		r, c := veteran(t, history)
		for n, m := range []events.Message{ring, webhook} {
			for _, d := range deltas {
				d.do(r, history+n*10)
				n := cost(c, func() { r.deliver(m) })
				t.Logf("%s after %d rows: %d reads and %d writes", d.name, history, c.Reads(), c.Writes())
				spent[d.name] = append(spent[d.name], n)
			}
		}
		if got := len(r.shelf.standing(theBook)); got != history+2*(3-1) {
			t.Fatalf("%d rows stand in the Book", got)
		}
	}
	for _, d := range deltas {
		if s := spent[d.name]; !slices.Equal(s[:2], s[2:]) {
			t.Errorf("%s costs %d after 2,000 rows and %d after 20,000", d.name, s[:2], s[2:])
		}
	}
	for _, name := range []string{"nothing", "three new rows", "three rows amended"} {
		if n := slices.Max(spent[name]); n > 10 {
			t.Errorf("%s: costs %d", name, n)
		}
	}
	// The end of the read looks for removals, and trashing is a step of its own.
	if n := slices.Max(spent["a row taken back"]); n > 18 {
		t.Errorf("a row taken back costs %d", n)
	}
}

// scales weighs every document that is written, and keeps the heaviest of each kind.
type scales struct {
	store.Store
	heaviest map[string]int
}

func (s *scales) Update(ctx context.Context, body func(store.Tx) error) error {
	return s.Store.Update(ctx, func(tx store.Tx) error { return body(&weighing{tx, s}) })
}

type weighing struct {
	store.Tx
	scales *scales
}

func (w *weighing) Put(d store.Document) {
	weight := len(d.Body)
	for field, values := range d.Index {
		for _, v := range values {
			weight += len(field) + len(v) + 2
		}
	}
	w.scales.heaviest[d.Kind] = max(w.scales.heaviest[d.Kind], weight)
	w.Tx.Put(d)
}

// A document is as large as the page that it holds, not as the history: 10 years of 5,000 rows a month are 600,000 rows, of
// which the bank gives at most 500 a page. Firestore refuses documents of more than 1 MiB.
func TestNoDocumentGrowsWithTheHistory(t *testing.T) {
	t.Parallel()
	heaviest := map[int]map[string]int{}
	for _, rows := range []int{2_000, 20_000} {
		s := &scales{memory.New(), map[string]int{}}
		r := newRig(t, s, 1)
		r.link(theBook, 0, func(i *bank.Integration) { i.Pending = true })
		for month := range rows / 1000 {
			pending := movements(0, month*1000, 500)
			for i := range pending {
				pending[i].Pending = true
			}
			settled := movements(0, month*1000+500, 500)
			for i := range settled {
				settled[i].PendingID, settled[i].Text = pending[i].ID, settled[i].Text+" SETTLED"
			}
			r.bank.says(pending...)
			r.post()
			r.bank.takesBack(pending...)
			r.bank.says(settled...)
			r.post()
		}
		if got := len(r.shelf.standing(theBook)); got != rows/2 {
			t.Fatalf("%d rows stand in the Book", got)
		}
		heaviest[rows] = s.heaviest
		t.Logf("%d versions of rows: the heaviest documents, in bytes: %v", rows, s.heaviest)
	}
	for kind, weight := range heaviest[20_000] {
		if weight > 400_000 {
			t.Errorf("a document of %s has %d bytes", kind, weight)
		}
		// Numbers and cursors get some digits more.
		if weight > heaviest[2_000][kind]+200 {
			t.Errorf("documents of %s grow from %d to %d bytes", kind, heaviest[2_000][kind], weight)
		}
	}
}

// One bank account may feed many Books: the intents of one page are as many rows for each.
func TestAnAccountThatFeedsManyBooksIsImportedIntoAll(t *testing.T) {
	t.Parallel()
	books := []string{"book-1", "book-2", "book-3", "book-4", "book-5", "book-6", "book-7", "book-8", "book-9", "book-10"}
	s := &scales{memory.New(), map[string]int{}}
	r := newRig(t, s, 1, books...)
	for _, b := range books {
		r.link(b, 0, nil)
	}
	r.bank.says(movements(0, 0, 1000)...)
	r.post()
	t.Logf("the heaviest documents, in bytes: %v", s.heaviest)
	stands := map[string]int{}
	want := map[string]int{}
	for _, b := range books {
		stands[b], want[b] = len(r.shelf.standing(b)), 1000
	}
	if diff := cmp.Diff(want, stands); diff != "" {
		e := r.engine()
		t.Errorf("rows in the Books (-want +got):\n%s; %d failures, the last one %q", diff, e.Failures, e.Failure)
	}
}

// A bank that tells no removals is compared with the part of the journal that it retells, not with all of it.
func TestWhatIsRetoldCostsTheSameWhateverTheHistoryIs(t *testing.T) {
	t.Parallel()
	var spent []int
	for _, history := range []int{2_000, 20_000} {
		c := storetest.Counting(memory.New())
		r := newRig(t, c, 1)
		since := february(1)
		r.bank.retells = &since
		r.link(theBook, 0, nil)
		r.bank.says(movements(0, 0, history)...) // years before
		r.bank.says(purchase("a"))
		r.post()
		r.bank.takesBack(purchase("a"))
		r.bank.says(purchase("b", dated(11)), purchase("c", says("C")))
		spent = append(spent, cost(c, func() { r.deliver(ring) }))
		t.Logf("after %d rows: %d reads and %d writes", history, c.Reads(), c.Writes())
		if got := len(r.shelf.standing(theBook)); got != history+2 {
			t.Fatalf("%d rows stand in the Book", got)
		}
	}
	if spent[0] != spent[1] || spent[0] > 15 {
		t.Errorf("it costs %d after 2,000 rows and %d after 20,000", spent[0], spent[1])
	}
}
