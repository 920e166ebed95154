package plaid

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	sdk "github.com/plaid/plaid-go/v20/plaid"

	"github.com/bkper/automations-portal/shared/bank"
)

// Codes of our own, for what carries none of Plaid's.
const (
	badAnswer        = "BAD_ANSWER"        // a success that cannot be read
	unexpectedStatus = "UNEXPECTED_STATUS" // a failure that is not in Plaid's form, such as a proxy's page
)

// rule says what an error code of Plaid's means. Status alone means little: most errors of items and banks are 400.
type rule struct {
	kind  bank.Kind
	after time.Duration // of RetryAfter, where Plaid does not name a time
	is    error
}

// A bank that is down is tried again when the bank may be up; the person can do nothing about it.
const bankDown = time.Hour

// rules are the codes of https://plaid.com/docs/errors that can reach us.
var rules = map[string]rule{
	"TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION": {kind: bank.Retry, is: bank.ErrMutated},

	"INTERNAL_SERVER_ERROR": {kind: bank.Retry},
	"PLANNED_MAINTENANCE":   {kind: bank.Retry},

	"INSTITUTION_DOWN":           {kind: bank.RetryAfter, after: bankDown},
	"INSTITUTION_NOT_RESPONDING": {kind: bank.RetryAfter, after: bankDown},
	"INSTITUTION_NOT_AVAILABLE":  {kind: bank.RetryAfter, after: bankDown},
	"PRODUCT_NOT_READY":          {kind: bank.RetryAfter, after: 5 * time.Minute},

	"ITEM_LOGIN_REQUIRED":         {kind: bank.UserMustAct},
	"INVALID_CREDENTIALS":         {kind: bank.UserMustAct},
	"INVALID_MFA":                 {kind: bank.UserMustAct},
	"INSUFFICIENT_CREDENTIALS":    {kind: bank.UserMustAct},
	"ACCESS_NOT_GRANTED":          {kind: bank.UserMustAct},
	"NO_ACCOUNTS":                 {kind: bank.UserMustAct},
	"ADDITIONAL_CONSENT_REQUIRED": {kind: bank.UserMustAct},
	"ITEM_LOCKED":                 {kind: bank.UserMustAct},
	"USER_SETUP_REQUIRED":         {kind: bank.UserMustAct},
	"PASSWORD_RESET_REQUIRED":     {kind: bank.UserMustAct},

	"ITEM_NOT_FOUND":            {kind: bank.Permanent, is: bank.ErrGone},
	"INVALID_ACCESS_TOKEN":      {kind: bank.Permanent, is: bank.ErrGone},
	"USER_PERMISSION_REVOKED":   {kind: bank.Permanent, is: bank.ErrGone},
	"ITEM_CONCURRENTLY_DELETED": {kind: bank.Permanent, is: bank.ErrGone},

	// The item still exists, and is billed, though it will never work again: it must be removed, so these are not ErrGone.
	"ITEM_NOT_SUPPORTED":              {kind: bank.Permanent},
	"MFA_NOT_SUPPORTED":               {kind: bank.Permanent},
	"INVALID_UPDATED_USERNAME":        {kind: bank.Permanent},
	"INSTITUTION_NO_LONGER_SUPPORTED": {kind: bank.Permanent},
	"UNSUPPORTED_RESPONSE":            {kind: bank.Permanent},
	"PRODUCTS_NOT_SUPPORTED":          {kind: bank.Permanent},

	"INVALID_ACCOUNT_ID":   {kind: bank.Permanent},
	"INVALID_LINK_TOKEN":   {kind: bank.Permanent},
	"INVALID_PUBLIC_TOKEN": {kind: bank.Permanent},
	"USER_INPUT_TIMEOUT":   {kind: bank.Permanent},

	unknownInstitution:                    {kind: bank.Permanent, is: bank.ErrNotFound},
	"INVALID_WEBHOOK_VERIFICATION_KEY_ID": {kind: bank.Permanent, is: bank.ErrNotFound},

	"TRIAL_CONNECTION_LIMIT":            {kind: bank.OurFault},
	"CREDITS_EXHAUSTED":                 {kind: bank.OurFault},
	"INVALID_API_KEYS":                  {kind: bank.OurFault},
	"UNAUTHORIZED_ENVIRONMENT":          {kind: bank.OurFault},
	"UNAUTHORIZED_ROUTE_ACCESS":         {kind: bank.OurFault},
	"UNAUTHORIZED_INSTITUTION":          {kind: bank.OurFault},
	"INSTITUTION_REGISTRATION_REQUIRED": {kind: bank.OurFault},
	"INVALID_PRODUCT":                   {kind: bank.OurFault},
	"INVALID_LINK_CUSTOMIZATION":        {kind: bank.OurFault},
	"INVALID_FIELD":                     {kind: bank.OurFault},
	"MISSING_FIELDS":                    {kind: bank.OurFault},
	"UNKNOWN_FIELDS":                    {kind: bank.OurFault},
	"INVALID_BODY":                      {kind: bank.OurFault},
	"INVALID_HEADERS":                   {kind: bank.OurFault},
	"NOT_FOUND":                         {kind: bank.OurFault},
	"SANDBOX_ONLY":                      {kind: bank.OurFault},
}

// needs are what the codes mean to a person. ITEM_LOGIN_REQUIRED is not among them: Plaid gives it for many reasons.
var needs = map[string]bank.Need{
	"INVALID_CREDENTIALS": bank.NewCredentials, "PASSWORD_RESET_REQUIRED": bank.NewCredentials,
	"INVALID_MFA":         bank.Confirmation,
	"ITEM_LOCKED":         bank.Locked,
	"USER_SETUP_REQUIRED": bank.ActionAtBank,
	"ACCESS_NOT_GRANTED":  bank.NewConsent, "ADDITIONAL_CONSENT_REQUIRED": bank.NewConsent, "USER_PERMISSION_REVOKED": bank.NewConsent,
	"ITEM_NOT_FOUND": bank.NewConsent, "INVALID_ACCESS_TOKEN": bank.NewConsent, "ITEM_CONCURRENTLY_DELETED": bank.NewConsent,
}

// families are the error types, for codes that Plaid adds later.
var families = map[string]rule{
	"RATE_LIMIT_EXCEEDED": {kind: bank.Retry},
	"API_ERROR":           {kind: bank.Retry},
	"TRANSACTIONS_ERROR":  {kind: bank.Retry},
	"INSTITUTION_ERROR":   {kind: bank.RetryAfter, after: bankDown},
	"ITEM_ERROR":          {kind: bank.UserMustAct},
	"INVALID_REQUEST":     {kind: bank.OurFault},
	"INVALID_INPUT":       {kind: bank.OurFault},
}

// complaint is the body of an error. Its messages stay here: they are not ours to vouch for.
type complaint struct {
	Type    string `json:"error_type"`
	Code    string `json:"error_code"`
	Message string `json:"error_message"`
	Request string `json:"request_id"`
}

var (
	codes    = regexp.MustCompile(`^[A-Z][A-Z0-9_]{1,63}$`)
	requests = regexp.MustCompile(`^[0-9A-Za-z]{1,40}$`)
)

// failure translates what the SDK returned beside its error.
func failure(call string, answer *http.Response, err error) error {
	if answer == nil {
		return broken(call, "TRANSPORT", err)
	}
	// The SDK's own helper asserts the type without unwrapping, and fails on pages that are not JSON.
	var told sdk.GenericOpenAPIError
	if !errors.As(err, &told) {
		return broken(call, badAnswer, err)
	}
	return refusal(call, answer.StatusCode, answer.Header, told.Body())
}

// refusal translates an answer that is not a success, or one that could not be decoded.
func refusal(call string, status int, header http.Header, body []byte) error {
	if status == http.StatusOK {
		return broken(call, badAnswer, errors.New("the answer cannot be decoded"))
	}
	var said complaint
	if err := json.Unmarshal(body, &said); err != nil || !codes.MatchString(said.Code) {
		said = complaint{Code: unexpectedStatus}
	}
	if !requests.MatchString(said.Request) {
		said.Request = "unknown"
	}
	r := said.rule(status)
	cause := fmt.Errorf("plaid %s: status %d, request %s", call, status, said.Request)
	if r.is != nil {
		cause = fmt.Errorf("%w: %w", cause, r.is)
	}
	e := &bank.Error{Kind: r.kind, Code: said.Code, After: r.after, Err: cause}
	e.Heed(header)
	return e
}

func (c complaint) rule(status int) rule {
	r, known := rules[c.Code]
	// The code is that of every wrong field, or one that Plaid does not name; that it is the cursor stands in the text alone.
	refused := c.Type == "INVALID_REQUEST" || c.Type == "INVALID_INPUT"
	if refused && (!known || c.Code == "INVALID_FIELD") && strings.Contains(strings.ToLower(c.Code+c.Message), "cursor") {
		return rule{kind: bank.Retry, is: bank.ErrCursor}
	}
	if known {
		return r
	}
	if r, ok := families[c.Type]; ok {
		return r
	}
	switch {
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return rule{kind: bank.Retry}
	case status < 400, status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound:
		return rule{kind: bank.OurFault}
	}
	return rule{kind: bank.Permanent}
}
