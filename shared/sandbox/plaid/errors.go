package plaid

import "fmt"

// Error is a refusal in Plaid's own words. Which codes exist, their types, statuses and messages are listed at
// https://plaid.com/docs/errors/; most failures of an Item or an institution come with status 400, so the status alone
// says little.
type Error struct {
	Type    string // error_type
	Code    string // error_code
	Message string // error_message, for developers
	Display string // display_message, for the end user; empty is null
	Reason  string // error_code_reason; empty is null
	Status  int    // HTTP status of the answer
}

// Error names the type, the code and the message; none holds a token.
func (e *Error) Error() string { return e.Type + "/" + e.Code + ": " + e.Message }

type errorBody struct {
	Type          string   `json:"error_type"`
	Code          string   `json:"error_code"`
	Message       string   `json:"error_message"`
	Display       *string  `json:"display_message"`
	Reason        *string  `json:"error_code_reason"`
	Documentation string   `json:"documentation_url"`
	Suggested     *string  `json:"suggested_action"`
	Causes        []string `json:"causes"`
	Status        int      `json:"status,omitempty"`
	RequestID     string   `json:"request_id,omitempty"`
}

func (e *Error) body() *errorBody {
	if e == nil {
		return nil
	}
	return &errorBody{
		Type: e.Type, Code: e.Code, Message: e.Message, Display: nullable(e.Display), Reason: nullable(e.Reason),
		Documentation: "https://plaid.com/docs/?ref=error#" + e.Type, Causes: []string{},
	}
}

const (
	invalidRequest = "INVALID_REQUEST"
	invalidInput   = "INVALID_INPUT"
	itemError      = "ITEM_ERROR"
	bankError      = "INSTITUTION_ERROR"
	rateLimit      = "RATE_LIMIT_EXCEEDED"
	apiError       = "API_ERROR"
	syncError      = "TRANSACTIONS_ERROR"
	sandboxError   = "SANDBOX_ERROR"
)

// refusals holds every code that the sandbox can answer with; the password error_<CODE> and the control of an Item's
// error draw from it too.
var refusals = index([]Error{
	{Type: invalidInput, Code: "INVALID_API_KEYS", Message: "invalid client_id or secret provided"},
	{Type: invalidInput, Code: "INVALID_ACCESS_TOKEN", Message: "could not find matching access token"},
	{Type: invalidInput, Code: "INVALID_PUBLIC_TOKEN", Message: "could not find matching public token"},
	{Type: invalidInput, Code: "INVALID_LINK_TOKEN", Message: "invalid link_token provided"},
	{Type: invalidInput, Code: "INVALID_ACCOUNT_ID", Message: "failed to find requested account ID for requested item"},
	{Type: invalidInput, Code: "INVALID_INSTITUTION", Message: "invalid institution_id provided"},
	{Type: invalidInput, Code: "INVALID_PRODUCT", Message: "client is not authorized to access the requested products"},
	{Type: invalidInput, Code: "INVALID_WEBHOOK_VERIFICATION_KEY_ID", Message: "invalid key_id provided. note that key_ids are specific to Plaid environments, and verification requests must be made to the same environment that the webhook was sent from"},
	{Type: invalidInput, Code: "INVALID_CURSOR", Message: "the provided cursor is invalid"},
	{Type: invalidInput, Code: "USER_PERMISSION_REVOKED", Message: "the holder of this account has revoked their permission for your application to access it"},
	{Type: invalidInput, Code: "ADDITIONAL_CONSENT_REQUIRED", Message: "client does not have user consent to access the requested product"},

	{Type: invalidRequest, Code: "INVALID_BODY", Message: "body could not be parsed as JSON"},
	{Type: invalidRequest, Code: "INVALID_HEADERS", Message: "one or more of the request headers are invalid"},
	{Type: invalidRequest, Code: "NOT_FOUND", Message: "unknown endpoint", Status: 404},

	{Type: itemError, Code: "ITEM_NOT_FOUND", Message: "The Item you requested cannot be found. This Item does not exist, has been previously removed via /item/remove, or has had access removed by the user."},
	{Type: itemError, Code: "ITEM_LOGIN_REQUIRED", Message: "the login details of this item have changed (credentials, MFA, or required user action) and a user login is required to update this information. use Link's update mode to restore the item to a good state"},
	{Type: itemError, Code: "INVALID_CREDENTIALS", Message: "the provided credentials were not correct", Display: "The provided credentials were not correct. Please try again."},
	{Type: itemError, Code: "INVALID_MFA", Message: "the provided MFA response(s) were not correct", Display: "The response to the security question was not correct. Please try again."},
	{Type: itemError, Code: "INVALID_SEND_METHOD", Message: "the provided MFA send method was invalid"},
	{Type: itemError, Code: "INSUFFICIENT_CREDENTIALS", Message: "insufficient authorization was granted to complete the request", Display: "The information provided was not sufficient to connect the account."},
	{Type: itemError, Code: "INVALID_UPDATED_USERNAME", Message: "the username provided to /item/credentials/update is not consistent with the existing item", Display: "The username does not belong to the connected account."},
	{Type: itemError, Code: "ACCESS_NOT_GRANTED", Message: "access to this product was not granted for the account", Display: "You need to grant access to the account to continue."},
	{Type: itemError, Code: "ITEM_LOCKED", Message: "this account is locked. prompt the user to visit the institution's site and unlock their account", Display: "The account is locked. Unlock it at the bank, then try again."},
	{Type: itemError, Code: "ITEM_NOT_SUPPORTED", Message: "this account is currently not supported", Display: "This account is not supported."},
	{Type: itemError, Code: "ITEM_CONCURRENTLY_DELETED", Message: "this item was deleted while the request was being processed"},
	{Type: itemError, Code: "MFA_NOT_SUPPORTED", Message: "this account requires a MFA type that we do not currently support for the institution", Display: "The security method of this account is not supported."},
	{Type: itemError, Code: "NO_ACCOUNTS", Message: "no valid accounts exist for this item", Display: "No accounts could be found that can be connected."},
	{Type: itemError, Code: "PASSWORD_RESET_REQUIRED", Message: "the user must log in directly to the financial institution and reset their password", Display: "Reset your password at the bank, then try again."},
	{Type: itemError, Code: "PRODUCTS_NOT_SUPPORTED", Message: "the requested product is not supported by this item"},
	{Type: itemError, Code: "PRODUCT_NOT_READY", Message: "the requested product is not yet ready. please provide a webhook or try the request again later"},
	{Type: itemError, Code: "USER_SETUP_REQUIRED", Message: "the account has not been fully set up. prompt the user to visit the issuing institution's site and finish the setup process", Display: "The account is not fully set up. Finish the set-up at the bank, then try again."},
	{Type: itemError, Code: "USER_INPUT_TIMEOUT", Message: "user took too long to respond to a prompt", Display: "The time to answer is over. Please try again."},

	{Type: bankError, Code: "INSTITUTION_DOWN", Message: "this institution is not currently responding to this request. please try again soon", Display: "This bank is currently unavailable. Please try again later."},
	{Type: bankError, Code: "INSTITUTION_NOT_RESPONDING", Message: "this institution is not currently responding to this request. please try again soon", Display: "This bank is not responding. Please try again later."},
	{Type: bankError, Code: "INSTITUTION_NOT_AVAILABLE", Message: "this institution is not currently available. please try again soon", Display: "This bank is not available. Please try again later."},
	{Type: bankError, Code: "INSTITUTION_NO_LONGER_SUPPORTED", Message: "this institution is no longer supported", Display: "This bank is no longer supported."},
	{Type: bankError, Code: "INSTITUTION_REGISTRATION_REQUIRED", Message: "this institution requires registration before it can be accessed"},
	{Type: bankError, Code: "UNSUPPORTED_RESPONSE", Message: "the data returned from the financial institution is not valid"},

	{Type: syncError, Code: "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION", Message: "Underlying transaction data changed since last page was fetched. Please restart pagination from last update."},

	{Type: apiError, Code: "INTERNAL_SERVER_ERROR", Message: "an unexpected error occurred", Status: 500},
	{Type: apiError, Code: "PLANNED_MAINTENANCE", Message: "the Plaid API is temporarily unavailable due to planned maintenance. visit https://status.plaid.com/ for more information", Status: 503},

	{Type: rateLimit, Code: "RATE_LIMIT", Message: "rate limit exceeded. please try again later", Status: 429},
	{Type: rateLimit, Code: "TRANSACTIONS_SYNC_LIMIT", Message: "rate limit exceeded for attempts to access this item's transactions. please try again later", Status: 429},
	{Type: rateLimit, Code: "TRANSACTIONS_REFRESH_LIMIT", Message: "rate limit exceeded for attempts to refresh transactions. please try again later", Status: 429},
	{Type: rateLimit, Code: "ACCOUNTS_LIMIT", Message: "rate limit exceeded for attempts to access /accounts/get. please try again later", Status: 429},
	{Type: rateLimit, Code: "ITEM_GET_LIMIT", Message: "rate limit exceeded for attempts to access /item/get. please try again later", Status: 429},
	{Type: rateLimit, Code: "INSTITUTIONS_GET_LIMIT", Message: "rate limit exceeded for attempts to access /institutions/get. please try again later", Status: 429},
	{Type: rateLimit, Code: "INSTITUTIONS_GET_BY_ID_LIMIT", Message: "rate limit exceeded for attempts to access /institutions/get_by_id. please try again later", Status: 429},

	{Type: sandboxError, Code: "SANDBOX_WEBHOOK_INVALID", Message: "webhook for this item is either not set up, or invalid. please update the item's webhook and try again"},
	{Type: sandboxError, Code: "SANDBOX_PRODUCT_NOT_ENABLED", Message: "the product of this webhook is not enabled for the item. please initialize the item with it and try again"},
})

func index(list []Error) map[string]Error {
	m := make(map[string]Error, len(list))
	for _, e := range list {
		if e.Status == 0 {
			e.Status = 400
		}
		m[e.Code] = e
	}
	return m
}

// refuse returns the error of a code in the table; a code outside it is the sandbox's own mistake.
func refuse(code string) *Error {
	e, ok := refusals[code]
	if !ok {
		panic("plaid sandbox: no such error code: " + code)
	}
	return &e
}

func invalidField(format string, args ...any) *Error {
	return &Error{Type: invalidRequest, Code: "INVALID_FIELD", Message: fmt.Sprintf(format, args...), Status: 400}
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
