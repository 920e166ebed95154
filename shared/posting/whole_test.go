package posting_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
)

// A bank that refuses its own cursors is not asked without end.
func TestABankThatRefusesItsOwnCursorsIsNotAskedWithoutEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	r.link(theBook, 0, nil)
	r.bank.size = 1
	r.bank.says(movements(0, 0, 3)...)
	n := 0
	r.bank.on = func(from bank.From) error {
		if n++; n > 500 {
			t.Fatal("asked without end")
		}
		if strings.Contains(from.At, ":") {
			return &bank.Error{Kind: bank.Permanent, Code: "CURSOR", Err: bank.ErrCursor}
		}
		return nil
	}
	r.post()
	if e := r.engine(); e.Failures != 1 {
		t.Errorf("%d failures, after %d calls", e.Failures, n)
	}
}

// The cursor is refused while history is still loading.
func TestWhatARefusedCursorWouldHaveToldIsFoundOnceHistoryIsLoaded(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	r.link(theBook, 0, nil)
	r.bank.loading = true
	r.bank.says(movements(0, 0, 3)...)
	r.post()
	r.bank.takesBack(movement(0, 0))
	refused := false
	r.bank.on = func(from bank.From) error {
		if from.At != "" && !refused {
			refused = true
			return &bank.Error{Kind: bank.Permanent, Code: "CURSOR", Err: bank.ErrCursor}
		}
		return nil
	}
	r.post()
	r.bank.loading = false
	r.clock.pass(time.Hour)
	r.post()
	r.post()
	if got := len(r.shelf.standing(theBook)); got != 2 {
		t.Errorf("%d stand, want 2", got)
	}
}

type glanced struct {
	*scriptedBank
	item func()
}

func (g glanced) Item(ctx context.Context, token secret.String) (bank.Item, error) {
	g.item()
	return g.scriptedBank.Item(ctx, token)
}

// Somebody saves while the state of the item is read, which has news.
func TestWhatTheItemSaysIsWrittenDownThoughSomebodySaves(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	r.link(theBook, 0, nil)
	r.bank.accounts[0].Name = "Renamed"
	saved := false
	p := r.poster()
	p.Banks = map[string]bank.Reader{theProvider: glanced{r.bank, func() {
		if !saved {
			saved = true
			r.link(theBook, 0, nil)
		}
	}}}
	if err := p.Post(t.Context(), events.Message{Connection: theConnection}); err != nil {
		t.Fatal(err)
	}
	conn, err := store.Connections.Get(t.Context(), r.store, theConnection)
	if err != nil || conn.Accounts[0].Name != "Renamed" || r.engine().Failures > 0 {
		t.Errorf("%+v, %d failures, %v", conn.Accounts, r.engine().Failures, err)
	}
}

// The bank is not read from the beginning for a Book that still cannot be written.
func TestHistoryIsNotReadForABookThatIsStillClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	i := r.link(theBook, 0, nil)
	r.bank.says(movements(0, 0, 3)...)
	r.post()
	r.shelf.books[theBook].Accounts[0].Archived = true
	r.bank.says(movement(0, 3))
	r.post()
	reads := r.bank.reads
	for range 10 {
		r.clock.pass(7 * time.Hour)
		r.post()
	}
	if got := r.bank.reads - reads; got > 10 {
		t.Errorf("%d pages read in 10 looks", got)
	}
	r.shelf.books[theBook].Accounts[0].Archived = false
	r.clock.pass(7 * time.Hour)
	r.post()
	if got := len(r.shelf.standing(theBook)); got != 4 || r.integration(i.ID).Behind != "" {
		t.Errorf("%d stand; behind %q", got, r.integration(i.ID).Behind)
	}
}

// History that never becomes complete is not read every ten minutes for ever.
func TestHistoryThatNeverEndsIsReadMoreAndMoreSeldom(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	r.link(theBook, 0, nil)
	r.bank.says(movements(0, 0, 3)...)
	r.post()
	r.bank.loading = true
	longer := r.wanted(theBook, 0)
	longer.From = longer.From.AddDays(-1)
	r.save(longer)
	looks := 0
	for end := r.clock.Now().Add(10 * 24 * time.Hour); r.clock.Now().Before(end); looks++ {
		r.post()
		r.clock.pass(max(r.engine().Due.Sub(r.clock.Now()), time.Second))
	}
	if looks > 100 {
		t.Errorf("%d looks in ten days", looks)
	}
}

// A person saves an integration again during a run that has left it behind. What the save asks for is not passed by.
func TestASaveDuringARunThatLeftTheIntegrationBehindIsServed(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(), 1)
	i := r.link(theBook, 0, nil)
	r.post()
	r.shelf.books[theBook].Accounts[0].Archived = true
	r.bank.says(movement(0, 0))
	reads := 0
	r.bank.on = func(bank.From) error {
		if reads++; reads == 2 {
			r.link(theBook, 0, func(i *bank.Integration) { i.Pending = true })
		}
		return nil
	}
	r.bank.size = 1
	r.bank.says(movement(0, 1))
	r.post()
	if now := r.integration(i.ID); now.Have >= now.Want || now.Behind == "" {
		t.Errorf("it is said to have all, and the Book took nothing: %+v", now)
	}
	r.shelf.books[theBook].Accounts[0].Archived = false
	r.clock.pass(7 * time.Hour)
	r.post()
	if got := len(r.shelf.standing(theBook)); got != 2 {
		t.Errorf("%d stand", got)
	}
}
