package pluggy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/bank/internal/tolerant"
)

// Codes of our own, for what carries none of Pluggy's.
const (
	transport        = "TRANSPORT"         // no answer
	badAnswer        = "BAD_ANSWER"        // a success that cannot be read
	unexpectedStatus = "UNEXPECTED_STATUS" // a failure without a code, such as a gateway's page
	invalidCursor    = "INVALID_CURSOR"
)

// rule says what a codeDescription means.
type rule struct {
	kind  bank.Kind
	after time.Duration // of RetryAfter, where Pluggy does not name a time
	is    error
}

// rules are the codes that can reach us, by https://docs.pluggy.ai and the OpenAPI document at https://api.pluggy.ai/oas3.json.
var rules = map[string]rule{
	// The code, not the status: a gateway has a 404 too, and so has Pluggy for an address that it does not know.
	"ITEM_NOT_FOUND":        {kind: bank.Permanent, is: bank.ErrGone},
	"ACCOUNT_NOT_FOUND":     {kind: bank.Retry, is: bank.ErrMutated}, // it was listed a moment ago
	"TRANSACTION_NOT_FOUND": {kind: bank.Permanent},
	"CONNECTOR_NOT_FOUND":   {kind: bank.Permanent, is: bank.ErrNotFound},

	"CONNECTOR_OFFLINE":                           {kind: bank.RetryAfter, after: time.Hour},
	"ITEM_IS_ALREADY_UPDATING":                    {kind: bank.RetryAfter, after: time.Minute},
	"CLIENT_IS_UPDATING_BEFORE_ALLOWED_FREQUENCY": {kind: bank.RetryAfter, after: time.Hour},
	"ITEM_IN_ERROR_COOLDOWN":                      {kind: bank.RetryAfter, after: time.Hour},

	"LAST_EXECUTION_HAD_LOGIN_ERROR":                 {kind: bank.UserMustAct},
	"TOO_MANY_CONSECUTIVE_ERRORS":                    {kind: bank.UserMustAct},
	"TOO_MANY_CONSECUTIVE_LOGIN_FAILURES":            {kind: bank.UserMustAct},
	"ITEM_ORIGINAL_CONNECTED_WITH_DIFFERENT_ACCOUNT": {kind: bank.UserMustAct},

	"CLIENT_KEYS_UNAUTHORIZED":         {kind: bank.OurFault},
	"CLIENT_DISABLED":                  {kind: bank.OurFault},
	"ENDPOINT_DEPRECATED":              {kind: bank.OurFault},
	"ITEM_CREATION_LIMIT_EXCEEDED":     {kind: bank.OurFault},
	"CLIENT_HAS_ITEM_UPDATES_DISABLED": {kind: bank.OurFault},
}

// byStatus is what a status means where the code says nothing: codeDescription is missing from some answers, and new ones are
// added.
func byStatus(status int) rule {
	switch {
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return rule{kind: bank.Retry}
	case status == http.StatusConflict:
		return rule{kind: bank.RetryAfter, after: 10 * time.Minute}
	}
	return rule{kind: bank.OurFault}
}

// complaint is the body of an error. Its message stays here: it is not ours to vouch for.
type complaint struct {
	Code    loose `json:"codeDescription"`
	Message loose `json:"message"`
	ID      loose `json:"errorId"`
}

var (
	codes   = regexp.MustCompile(`^[A-Z][A-Z0-9_]{1,63}$`)
	traceID = regexp.MustCompile(`^[0-9A-Za-z-]{1,40}$`)
)

func complaintOf(body []byte) complaint {
	var said complaint
	if tolerant.Unmarshal(body, &said) != nil {
		return complaint{}
	}
	return said
}

// refusal translates an answer that is not a success.
func (a *answer) refusal() error {
	said := complaintOf(a.body)
	code, id := string(said.Code), string(said.ID)
	if !codes.MatchString(code) {
		code = unexpectedStatus
	}
	if !traceID.MatchString(id) {
		id = "unknown"
	}
	r, known := rules[code]
	if !known {
		r = byStatus(a.status)
	}
	// That it is the cursor stands in the text alone.
	if a.status == http.StatusBadRequest && strings.Contains(strings.ToLower(string(said.Message)), "cursor") {
		code, r = invalidCursor, rule{kind: bank.Retry, is: bank.ErrCursor}
	}
	cause := fmt.Errorf("pluggy %s: status %d, error %s", a.call, a.status, id)
	if r.is != nil {
		cause = fmt.Errorf("%w: %w", cause, r.is)
	}
	e := &bank.Error{Kind: r.kind, Code: code, After: r.after, Err: cause}
	e.Heed(a.header)
	return e
}

// broken is a call whose outcome is not known. The address of a request holds ids, so that nothing of it is shown.
func broken(call, code string, err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	return &bank.Error{Kind: bank.Retry, Code: code, Err: fmt.Errorf("pluggy %s: %w", call, err)}
}

// gone is the error of an item that does not exist, or is another client's: Pluggy does not tell these apart.
func gone(call string) error {
	return &bank.Error{Kind: bank.Permanent, Code: "ITEM_NOT_FOUND", Err: fmt.Errorf("pluggy %s: %w", call, bank.ErrGone)}
}
