package main

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bkper/automations-portal/scripts/internal/world"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
)

// TestMain is also the main of the workers, which run this binary.
func TestMain(m *testing.M) {
	if os.Getenv(workerURL) != "" {
		os.Exit(work())
	}
	os.Exit(m.Run())
}

func TestNothingIsLostDoubledOrOrphanedWhenProcessesAreKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("not run: it starts and kills processes for some ten seconds")
	}
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	ok, err := run(t.Context(), []string{"-parts", "embedded", "-kills", "6", "-connections", "5", "-rows", "60", "-hurry", "-drain", "60s"}, &out, io.Discard)
	if err != nil || !ok {
		t.Fatalf("%v\n%s", err, &out)
	}
	t.Log(out.String())
	if !strings.Contains(out.String(), "0 lost, 0 doubled, 0 orphaned") || !strings.Contains(out.String(), "6 kills") {
		t.Errorf("it says\n%s", &out)
	}
}

func TestTheComparisonSeesWhatIsNotAsItShouldBe(t *testing.T) {
	const name = "ana checking"
	c := customer{names: []string{name}, removed: map[string]bool{}, ever: map[string]int{"RENT": 1, "TWIN": 2, "GONE": 1}}
	rent, twin, gone := entry{"RENT", "2026-01-02", "9.00"}, entry{"TWIN", "2026-01-03", "1.00"}, entry{"GONE", "2026-01-04", "5.00"}
	amended := entry{"RENT", "2026-01-02", "9.50"}
	for says, row := range map[string]struct {
		bank, book    []entry
		ended         bool
		lost, doubled int
	}{
		"all is well":                             {bank: []entry{rent, twin, twin}, book: []entry{twin, rent, twin}},
		"a row is missing":                        {bank: []entry{rent, twin}, book: []entry{twin}, lost: 1},
		"one of two honest twins is missing":      {bank: []entry{twin, twin}, book: []entry{twin}, lost: 1},
		"a row stands twice":                      {bank: []entry{rent}, book: []entry{rent, rent}, doubled: 1},
		"a row stands with an old amount":         {bank: []entry{amended}, book: []entry{rent}, lost: 1},
		"it stands with the old and the new":      {bank: []entry{amended}, book: []entry{rent, amended}, doubled: 1},
		"what the bank took back stands":          {bank: []entry{rent}, book: []entry{rent, gone}, doubled: 1},
		"nothing more was promised":               {bank: []entry{rent, twin}, book: []entry{gone}, ended: true},
		"not even then does anything stand twice": {bank: []entry{rent}, book: []entry{gone, gone}, ended: true, doubled: 1},
	} {
		t.Run(says, func(t *testing.T) {
			c, f := c, &findings{}
			c.ended = row.ended
			f.match(&c, name, row.bank, row.book)
			if len(f.lost) != row.lost || len(f.doubled) != row.doubled {
				t.Errorf("lost %q, doubled %q", f.lost, f.doubled)
			}
		})
	}
}

func TestOrphansAreSeen(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := begin(t.Context(), options{connections: 1, rows: 1, parts: "embedded", program: program, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.end()
	if _, err := s.open(0); err != nil {
		t.Fatal(err)
	}
	finish := func() (token, item string) {
		err := s.world.Plaid.Do(func(b *plaid.Bank) error {
			public, err := b.SandboxPublicToken(world.PlaidClient, bankID, "customer000", "pass_good", plaid.LinkRequest{Products: []string{"transactions"}})
			if err == nil {
				token, item, err = b.Exchange(public)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return token, item
	}
	keep := func(c *bank.Connection) {
		if err := s.store.Update(t.Context(), func(tx store.Tx) error { return store.Connections.Put(tx, c) }); err != nil {
			t.Fatal(err)
		}
	}
	put := func(connection, token string) {
		if err := s.vault.Put(t.Context(), vault.ConnectionToken(connection), secret.New(token)); err != nil {
			t.Fatal(err)
		}
	}
	orphans := func() []string {
		f := &findings{}
		if err := s.orphans(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		slices.Sort(f.orphaned)
		return f.orphaned
	}
	token, item := finish()
	s.exchanged[item] = "candidate"
	keep(&bank.Connection{ID: "healthy", State: bank.Active, Item: item, Updated: time.Now()})
	put("healthy", token)
	keep(&bank.Connection{ID: "ended", State: bank.Disconnected, Updated: time.Now()})
	if found := orphans(); len(found) > 0 {
		t.Fatalf("orphans where there are none: %q", found)
	}
	_, stray := finish()
	s.exchanged[stray] = "another"
	put("ended", "x")
	put("nobody", "x")
	keep(&bank.Connection{ID: "tokenless", State: bank.Active, Item: "i", Updated: time.Now()})
	found := orphans()
	if len(found) != 4 {
		t.Errorf("found %q; want the item, two tokens and the connection without one", found)
	}
}
