package sqlite

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/bkper/automations-portal/shared/secret"
)

const keySize = 32 // bytes: AES-256

// ErrKey: the vault cannot be opened with this key, or has none.
var ErrKey = errors.New("the vault's key does not fit")

// sealer encrypts with AES-256-GCM and a random nonce; the name is authenticated with the text, so that a sealed text put
// under another name in the file does not open.
type sealer struct{ aead cipher.AEAD }

// Names and the proof are bound under different words, so that neither can stand for the other.
const (
	ofSecret = "secret:"
	ofProof  = "proof"
)

func newSealer(key []byte) (sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealer{aead}, err
}

func (s sealer) seal(name string, text secret.String) []byte {
	return s.aead.Seal(nil, nil, []byte(text.Reveal()), []byte(ofSecret+name))
}

func (s sealer) open(name string, sealed []byte) (secret.String, error) {
	text, err := s.aead.Open(nil, nil, sealed, []byte(ofSecret+name))
	if err != nil {
		return secret.String{}, errors.New("the file holds a damaged text under this name")
	}
	return secret.New(string(text)), nil
}

// unlock returns the sealer of the key that fits the file, or of a new key for a new file.
func unlock(ctx context.Context, tx *sql.Tx, keyFile string, given secret.String) (sealer, error) {
	var proof []byte
	err := tx.QueryRowContext(ctx, `SELECT proof FROM vault_key`).Scan(&proof)
	begun := err == nil
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return sealer{}, err
	}
	key, err := findKey(keyFile, given, begun)
	if err != nil {
		return sealer{}, err
	}
	s, err := newSealer(key)
	if err != nil {
		return sealer{}, err
	}
	if !begun {
		proof := s.aead.Seal(nil, nil, nil, []byte(ofProof))
		_, err := tx.ExecContext(ctx, `INSERT INTO vault_key (id, proof) VALUES (1, ?)`, proof)
		return s, err
	}
	if _, err := s.aead.Open(nil, nil, proof, []byte(ofProof)); err != nil {
		return sealer{}, fmt.Errorf("%w: it is not the one that the file was begun with", ErrKey)
	}
	return s, nil
}

// findKey takes the given key, else that of the key file, which it makes unless the vault was begun with a key before.
func findKey(file string, given secret.String, begun bool) ([]byte, error) {
	if !given.Empty() {
		return parseKey(given.Reveal(), "the given key")
	}
	text, err := readKeyFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if begun {
			return nil, fmt.Errorf("%w: none was given and %s is missing", ErrKey, file)
		}
		return makeKeyFile(file)
	}
	if err != nil {
		return nil, err
	}
	return parseKey(text, file)
}

// parseKey never repeats the text in its error.
func parseKey(text, source string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("%w: %s is not %d bytes in base64", ErrKey, source, keySize)
	}
	return key, nil
}

func readKeyFile(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%w: %s can be read by others; chmod 600 it", ErrKey, file)
	}
	text, err := os.ReadFile(file)
	return string(text), err
}

// makeKeyFile makes a new key. The file appears whole or not at all, and is on the disk before any secret is; the caller
// holds the database's write lock, so no two processes do this at once.
func makeKeyFile(file string) ([]byte, error) {
	key := make([]byte, keySize)
	rand.Read(key)                                                // never fails
	temporary, err := os.CreateTemp(filepath.Dir(file), ".key-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err := errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(temporary.Name(), file); err != nil {
		return nil, err
	}
	return key, syncFolder(filepath.Dir(file))
}

func syncFolder(folder string) error {
	if runtime.GOOS == "windows" { // folders cannot be synced there
		return nil
	}
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
