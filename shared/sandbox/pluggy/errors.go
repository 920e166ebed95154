package pluggy

import (
	"fmt"
	"net/http"
)

// Error is a refusal in Pluggy's own words. Its code in the body is the HTTP status; what tells refusals of one status apart
// is codeDescription, which some lack.
type Error struct {
	Status      int            // HTTP status of the answer
	Description string         // codeDescription; empty where Pluggy gives none
	Message     string         // for developers
	Data        map[string]any // nil is none
	Details     []Detail
	Items       []string // of ITEM_USER_ALREADY_EXISTS

	limit  int  // requests a minute, of a 429; 0 is that of most endpoints
	bare   bool // Pluggy leaves the code out
	traced bool // Pluggy adds an errorId
}

// Detail is what is wrong with one parameter of a connector.
type Detail struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Parameter string `json:"parameter"`
}

// Error names the status, the description and the message; none holds a token.
func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Description, e.Message) }

func (e *Error) body(newID func() string) map[string]any {
	out := map[string]any{"message": e.Message}
	if !e.bare {
		out["code"] = e.Status
	}
	if e.Description != "" {
		out["codeDescription"] = e.Description
	}
	if e.Data != nil {
		out["data"] = e.Data
	}
	if e.Details != nil {
		out["details"] = e.Details
	}
	if e.Items != nil {
		out["items"] = e.Items
	}
	if e.traced {
		out["errorId"] = newID()
	}
	return out
}

func refuse(status int, description, format string, args ...any) *Error {
	return &Error{Status: status, Description: description, Message: fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) *Error {
	return refuse(http.StatusBadRequest, "", format, args...)
}

func notFound(what, message string) *Error {
	return refuse(http.StatusNotFound, what+"_NOT_FOUND", "%s", message)
}

// unauthorised answers a missing, expired or invalid key.
func unauthorised() *Error {
	return refuse(http.StatusForbidden, "", "Missing or invalid authorization token")
}

// outOfScope answers a connect token that asks for more than it may. Pluggy's own words are not documented; they differ
// from those of an expired key, so that a client does not fetch a new key in vain.
func outOfScope() *Error { return refuse(http.StatusForbidden, "", "Forbidden resource") }

func deprecated() *Error {
	e := refuse(http.StatusGone, "ENDPOINT_DEPRECATED", "This endpoint is deprecated. Use GET /v2/transactions with cursor pagination instead.")
	e.traced = true
	return e
}

// tooMany answers the request that is one more than limit a minute.
func tooMany(limit int) *Error {
	e := refuse(http.StatusTooManyRequests, "", "Too many requests. Please try again later (see Retry-After header in seconds)")
	e.limit = limit
	return e
}
