// Package secret holds the one type in which a token travels: whatever prints, logs or encodes it shows "[secret]".
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const mask = "[secret]"

// String is a secret text. The text lives in a closure, so no reflection-based printer, encoder or debugger that walks
// fields can reach it. The zero String is empty. Only the code that sends a secret to its owner may call Reveal.
type String struct{ reveal func() string }

// New hides s.
func New(s string) String {
	return String{func() string { return s }}
}

// Reveal returns the text itself. Never pass it to a log, an error, a message or a store.
func (s String) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// Empty reports whether there is no text.
func (s String) Empty() bool { return s.Reveal() == "" }

// Equal compares in constant time for texts of the same length.
func (s String) Equal(other string) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other)) == 1
}

// String returns "[secret]".
func (String) String() string { return mask }

// GoString returns "[secret]".
func (String) GoString() string { return mask }

// Format writes "[secret]" for every verb.
func (String) Format(f fmt.State, _ rune) { io.WriteString(f, mask) }

// LogValue returns "[secret]".
func (String) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalText returns "[secret]".
func (String) MarshalText() ([]byte, error) { return []byte(mask), nil }

// MarshalJSON returns "[secret]".
func (String) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }

// UnmarshalText takes a text in, as configuration and decoders do.
func (s *String) UnmarshalText(text []byte) error {
	*s = New(string(text))
	return nil
}
