package bank

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Kind says what is to be done about an error of an outside service. Adapters translate at their border, once.
type Kind string

// The kinds of errors.
const (
	UserMustAct Kind = "user_must_act" // sign in at the bank, consent again, restore a permission
	Retry       Kind = "retry"         // passing: try again with growing delays
	RetryAfter  Kind = "retry_after"   // passing: not before Error.After
	Permanent   Kind = "permanent"     // asking again cannot help
	OurFault    Kind = "our_fault"     // a bug or a wrong configuration: an operator must look
)

// Error is what adapters return. Code is stable and safe to store and log; Err is the cause and never leaves the logs.
type Error struct {
	Kind  Kind
	Code  string        // of the outside service, such as ITEM_LOGIN_REQUIRED; never a message, never a token
	After time.Duration // of RetryAfter
	Err   error
}

// Error says kind, code and cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s: %s", e.Kind, e.Code)
	}
	return fmt.Sprintf("%s: %s: %v", e.Kind, e.Code, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// longestWait bounds a Retry-After, so that a wrong one does not silence a connection for long.
const longestWait = 6 * time.Hour

// Heed waits as long as the Retry-After of an answer asks for, in seconds or as an HTTP date measured by the answer's own
// clock, where trying again can help.
func (e *Error) Heed(header http.Header) {
	if e.Kind != Retry && e.Kind != RetryAfter {
		return
	}
	var wait time.Duration
	text := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		wait = time.Duration(min(seconds, int(longestWait.Seconds()))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		if sent, err := http.ParseTime(header.Get("Date")); err == nil {
			wait = min(at.Sub(sent), longestWait)
		}
	}
	if wait > 0 {
		e.Kind, e.After = RetryAfter, wait
	}
}

// KindOf finds the kind of an error; an error that no adapter has translated is worth a retry.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Retry
}

// CodeOf finds the code of an error; "" where it has none.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Conditions that callers tell apart, whatever the Kind. Adapters wrap them: &Error{Kind, Code, Err: bank.ErrGone}.
var (
	// ErrGone: the item is no longer at the provider; only a new one can follow.
	ErrGone = errors.New("the connection no longer exists at the provider")
	// ErrMutated: the bank's data changed while it was read in pages; read again from where the read began.
	ErrMutated = errors.New("the bank's data changed during the read")
	// ErrCursor: the provider refuses the cursor; read again from the beginning.
	ErrCursor = errors.New("the provider refuses the cursor")
	// ErrForged: a webhook that the provider did not send.
	ErrForged = errors.New("the webhook is not the provider's")
	// ErrMalformed: a webhook of the provider that cannot be read.
	ErrMalformed = errors.New("the webhook cannot be read")
	// ErrUnsupported: the provider does not offer this for the connection as it is.
	ErrUnsupported = errors.New("the provider does not offer this")
	// ErrNotFound: no such thing, or none that this caller may see.
	ErrNotFound = errors.New("not found")
)

// Why a row cannot be used, whatever the provider. A person reads these beside the row, as the Reason of an Unusable.
var (
	ErrNotRow     = errors.New("the bank sent something that is not a transaction")
	ErrNoID       = errors.New("the bank gave the transaction no id, or one that cannot be used")
	ErrNoAmount   = errors.New("the bank gave the transaction no amount")
	ErrBadAmount  = errors.New("the bank gave an amount that is not a number")
	ErrNoCurrency = errors.New("the bank gave the amount no currency")
	ErrBadDate    = errors.New("the bank gave no date, or one that does not exist")
)
