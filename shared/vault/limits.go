package vault

import (
	"errors"
	"fmt"

	"github.com/bkper/automations-portal/shared/secret"
)

// The limits are those of Secret Manager (https://cloud.google.com/secret-manager/quotas), so that what one vault takes
// every vault takes.
const (
	MaxSize = 65_536 // bytes of a secret
	MaxName = 255    // bytes of a name
	MaxList = 1_000  // names that one List returns
)

// ErrInvalid: the name or the secret is one that no vault takes; trying again will not help.
var ErrInvalid = errors.New("not a name or a secret that a vault takes")

// CheckName returns ErrInvalid unless name has 1 to 255 of the characters A-Z, a-z, 0-9, _ and -.
func CheckName(name string) error {
	if name == "" || len(name) > MaxName || !plain(name) {
		return fmt.Errorf("%w: a name has 1 to %d letters, digits, _ and -", ErrInvalid, MaxName)
	}
	return nil
}

// CheckSecret returns ErrInvalid unless s has 1 to 65,536 bytes.
func CheckSecret(s secret.String) error {
	if n := len(s.Reveal()); n < 1 || n > MaxSize {
		return fmt.Errorf("%w: a secret has 1 to %d bytes, this one %d", ErrInvalid, MaxSize, n)
	}
	return nil
}

// CheckList returns ErrInvalid for a prefix or an after in which a character occurs that no name has.
func CheckList(prefix, after string) error {
	if len(prefix) > MaxName || len(after) > MaxName || !plain(prefix) || !plain(after) {
		return fmt.Errorf("%w: a list begins with letters, digits, _ and -", ErrInvalid)
	}
	return nil
}

func plain(s string) bool {
	for _, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
