package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

func open(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func exec1(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatal(err)
	}
}

func TestEveryConnectionHasTheOptions(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "portal.db"))
	want := map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"}
	for range 3 {
		conn, err := db.Conn(t.Context()) // held until the end, so that each round gets a new one
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for pragma, value := range want {
			var got string
			if err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != value {
				t.Errorf("%s is %q, %v; want %q", pragma, got, err, value)
			}
		}
	}
}

func TestNamesThatLookLikeOptionsAreFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a b?mode=memory", "100%25#1", ":memory:", "ü.db"} {
		path := filepath.Join(dir, name)
		exec1(t, open(t, path), `CREATE TABLE t (x)`)
		info, err := os.Stat(path)
		if err != nil || info.Size() == 0 && !hasLog(path) {
			t.Errorf("%s: not written to: %v", name, err)
			continue
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s may be read by others: %v", name, info.Mode())
		}
	}
}

func hasLog(path string) bool {
	info, err := os.Stat(path + "-wal")
	return err == nil && info.Size() > 0
}

func TestAMissingDirectoryIsSaid(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none", "portal.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestManyPoolsOpenANewFileAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portal.db")
	var g errgroup.Group
	for range 12 {
		g.Go(func() error {
			db, err := Open(path)
			if err != nil {
				return err
			}
			defer db.Close()
			_, err = db.Exec(`CREATE TABLE IF NOT EXISTS t (x)`)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestReadersDoNotWaitForAWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portal.db")
	db := open(t, path)
	exec1(t, db, `CREATE TABLE t (x)`)
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec(`INSERT INTO t VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // below the time for which a writer would wait
	defer cancel()
	for _, db := range []*sql.DB{db, open(t, path)} {
		var n int
		if err := db.QueryRowContext(ctx, `SELECT count(*) FROM t`).Scan(&n); err != nil || n != 0 {
			t.Errorf("read %d, %v beside an open transaction; want 0", n, err)
		}
	}
}

func TestWhatWasCommittedSurvivesTheDeathOfTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portal.db")
	if os.Getenv("SQLITEFILE_TEST_VICTIM") != "" {
		die(t, os.Getenv("SQLITEFILE_TEST_VICTIM"))
	}
	victim := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	victim.Env = append(os.Environ(), "SQLITEFILE_TEST_VICTIM="+path)
	out, err := victim.CombinedOutput()
	if victim.ProcessState.Exited() {
		t.Fatalf("the victim was not killed: %v\n%s", err, out)
	}
	var got int
	if err := open(t, path).QueryRow(`SELECT count(*) FROM t`).Scan(&got); err != nil || got != 100 {
		t.Errorf("found %d rows, %v; want the 100 that were committed and not the one that was not", got, err)
	}
}

// die commits 100 rows, leaves one uncommitted and kills its own process.
func die(t *testing.T, path string) {
	db := open(t, path)
	exec1(t, db, `CREATE TABLE t (x)`)
	for range 100 {
		exec1(t, db, `INSERT INTO t VALUES (1)`)
	}
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(`INSERT INTO t VALUES (2)`); err != nil {
		t.Fatal(err)
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Kill(); err != nil {
		t.Fatal(err)
	}
	select {}
}

func TestAFileWhoseWriteLockAnotherHoldsIsBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portal.db")
	db := open(t, path)
	exec1(t, db, `PRAGMA busy_timeout = 0`)
	db.SetMaxOpenConns(1) // the one that does not wait
	other, err := open(t, path).Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback()
	if _, err := db.Exec(`CREATE TABLE t (x)`); !Busy(err) {
		t.Errorf("got %v, want one that is busy", err)
	}
	if Busy(nil) || Busy(sql.ErrTxDone) {
		t.Error("what is not busy is taken for it")
	}
}
