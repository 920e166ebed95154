package sqlite

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/sqlitefile"
	"github.com/bkper/automations-portal/shared/vault"
	"github.com/bkper/automations-portal/shared/vault/vaulttest"
)

func key(of byte) secret.String {
	return secret.New(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{of}, keySize)))
}

func open(t *testing.T, path string, k secret.String) *Vault {
	t.Helper()
	v, err := Open(t.Context(), path, k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func put(t *testing.T, v *Vault, name, text string) {
	t.Helper()
	if err := v.Put(t.Context(), name, secret.New(text)); err != nil {
		t.Fatal(err)
	}
}

func newPath(t *testing.T) string { return filepath.Join(t.TempDir(), "portal.db") }

func TestTheEmbeddedVaultPassesTheSuite(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T) vaulttest.Harness {
		path := newPath(t)
		v := open(t, path, secret.String{})
		return vaulttest.Harness{
			Vault: v,
			Reopen: func() (vault.Vault, error) {
				return open(t, path, secret.String{}), v.Close()
			},
			Readable: func(ctx context.Context, name string) ([]string, error) {
				return readable(ctx, path, name)
			},
		}
	})
}

// readable opens every row of the name with a vault of its own.
func readable(ctx context.Context, path, name string) ([]string, error) {
	v, err := Open(ctx, path, secret.String{})
	if err != nil {
		return nil, err
	}
	defer v.Close()
	rows, err := v.reads.QueryContext(ctx, `SELECT sealed FROM vault_secrets WHERE name = ?`, name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var sealed []byte
		if err := rows.Scan(&sealed); err != nil {
			return nil, err
		}
		text, err := v.seal.open(name, sealed)
		if err != nil {
			return nil, err
		}
		all = append(all, text.Reveal())
	}
	return all, rows.Err()
}

func TestAnotherKeyIsRefusedWhenTheVaultIsOpened(t *testing.T) {
	path := newPath(t)
	v := open(t, path, key(1))
	put(t, v, "one", "text")
	for name, k := range map[string]secret.String{
		"another key": key(2), "no key": {}, "too short": secret.New("AAAA"), "no base64": secret.New("canary!canary!"),
	} {
		_, err := Open(t.Context(), path, k)
		if !errors.Is(err, ErrKey) {
			t.Errorf("%s: got %v, want ErrKey", name, err)
			continue
		}
		if !k.Empty() && strings.Contains(err.Error(), k.Reveal()) {
			t.Errorf("%s: the error tells the key", name)
		}
	}
	if _, err := os.Stat(path + ".key"); err == nil {
		t.Error("a key file was made for a vault that has a given key")
	}
	if s, err := open(t, path, key(1)).Get(t.Context(), "one"); err != nil || s.Reveal() != "text" {
		t.Errorf("the right key: %v", err)
	}
}

func TestTheKeyFileIsForItsOwnerOnlyAndNeverReplaced(t *testing.T) {
	path := newPath(t)
	put(t, open(t, path, secret.String{}), "one", "text")
	info, err := os.Stat(path + ".key")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v, %v", info, err)
	}
	if err := os.Chmod(path+".key", 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, secret.String{}); !errors.Is(err, ErrKey) {
		t.Errorf("a key file that others can read: got %v, want ErrKey", err)
	}
	if err := os.Remove(path + ".key"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, secret.String{}); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), path+".key") {
		t.Errorf("a lost key file: got %v, want ErrKey with its name", err)
	}
	if _, err := os.Stat(path + ".key"); err == nil {
		t.Error("a lost key file was replaced by another key")
	}
}

func TestOpeningANewFileAtOnceMakesOneKey(t *testing.T) {
	path := newPath(t)
	const n = 8
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			v, err := Open(t.Context(), path, secret.String{})
			if err != nil {
				t.Error(err)
				return
			}
			defer v.Close()
			if err := v.Put(t.Context(), "one", secret.New("text")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s, err := open(t, path, secret.String{}).Get(t.Context(), "one"); err != nil || s.Reveal() != "text" {
		t.Errorf("got %v", err)
	}
}

func TestASealedTextUnderAnotherNameOrAlteredDoesNotOpen(t *testing.T) {
	path := newPath(t)
	v := open(t, path, key(1))
	put(t, v, "one", "text of one")
	put(t, v, "two", "text of two")
	for _, statement := range []string{
		`UPDATE vault_secrets SET sealed = (SELECT sealed FROM vault_secrets WHERE name = 'one') WHERE name = 'two'`,
		`UPDATE vault_secrets SET sealed = (SELECT proof FROM vault_key) WHERE name = 'two'`,
		`UPDATE vault_secrets SET sealed = zeroblob(40) WHERE name = 'two'`,
		`UPDATE vault_secrets SET sealed = x'00' WHERE name = 'two'`,
	} {
		if _, err := v.writes.Exec(statement); err != nil {
			t.Fatal(err)
		}
		if s, err := v.Get(t.Context(), "two"); err == nil || errors.Is(err, vault.ErrNotFound) || !s.Empty() {
			t.Errorf("%s: got %v", statement, err)
		}
	}
}

// TestTheFilesHoldNoTextAndNothingOfWhatWasDestroyed looks for the ciphertext too, since whoever has the key file could
// open it.
func TestTheFilesHoldNoTextAndNothingOfWhatWasDestroyed(t *testing.T) {
	path := newPath(t)
	v := open(t, path, secret.String{})
	canary := strings.Repeat("canary", 500)
	var traces [][]byte
	remember := func() {
		var sealed []byte
		if err := v.reads.QueryRow(`SELECT sealed FROM vault_secrets WHERE name = 'one'`).Scan(&sealed); err != nil {
			t.Fatal(err)
		}
		traces = append(traces, sealed[20:60])
	}
	put(t, v, "one", canary)
	remember()
	put(t, v, "one", canary+"2")
	if found := search(t, path, []byte("canary")); found != "" {
		t.Errorf("%s holds the text", found)
	}
	remember()
	if search(t, path, traces[1]) == "" {
		t.Fatal("the search finds nothing, not even what stands")
	}
	if err := v.Destroy(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	for i, trace := range traces {
		if found := search(t, path, trace); found != "" {
			t.Errorf("%s still holds text %d in encrypted form", found, i)
		}
	}
}

// search returns the first of the database's files that contains the bytes.
func search(t *testing.T, path string, what []byte) string {
	t.Helper()
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, what) {
			return file
		}
	}
	return ""
}

func TestAWriterWaitsForAnotherOnlyAsLongAsItsContext(t *testing.T) {
	path := newPath(t)
	v := open(t, path, key(1))
	put(t, v, "one", "text")
	other, err := sqlitefile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- v.Put(ctx, "one", secret.New("other")) }()
	if s, err := v.Get(t.Context(), "one"); err != nil || s.Reveal() != "text" {
		t.Errorf("a reader beside a writer: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
