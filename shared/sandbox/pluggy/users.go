package pluggy

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	goodPassword = "password-ok"
	goodMFA      = "123456"
)

// collecting are the statuses of an execution that gets in, in the order of https://docs.pluggy.ai.
var collecting = []string{
	"ACCOUNTS_IN_PROGRESS", "CREDITCARDS_IN_PROGRESS", "TRANSACTIONS_IN_PROGRESS", "PAYMENT_DATA_IN_PROGRESS", "IDENTITY_IN_PROGRESS",
	merging,
}

const (
	created        = "CREATED"
	loginProgress  = "LOGIN_IN_PROGRESS"
	mfaProgress    = "LOGIN_MFA_IN_PROGRESS"
	merging        = "MERGING"
	pendingConsent = "USER_AUTHORIZATION_PENDING"
	success        = "SUCCESS"
	partialSuccess = "PARTIAL_SUCCESS"
	badCredentials = "INVALID_CREDENTIALS"
	badMFA         = "INVALID_CREDENTIALS_MFA"
	inputTimeout   = "USER_INPUT_TIMEOUT"
	notGranted     = "USER_AUTHORIZATION_NOT_GRANTED"
	revoked        = "USER_AUTHORIZATION_REVOKED"
	otherAccount   = "ITEM_ORIGINAL_CONNECTED_WITH_DIFFERENT_ACCOUNT"
)

// failing are the users of Pluggy's sandbox whose execution ends in an error.
var failing = map[string]string{
	"user-logged":               "ALREADY_LOGGED_IN",
	"user-locked":               "ACCOUNT_LOCKED",
	"user-error":                "UNEXPECTED_ERROR",
	"user-unavailable":          "SITE_NOT_AVAILABLE",
	"user-account-need-actions": "ACCOUNT_NEEDS_ACTION",
	"user-account-need-actions-provider-message": "ACCOUNT_NEEDS_ACTION",
	"user-connection-error":                      "CONNECTION_ERROR",
	"user-account-credentials-reset":             "ACCOUNT_CREDENTIALS_RESET",
	"user-not-supported":                         "USER_NOT_SUPPORTED",
}

// succeeding are those who get in, with the end of their execution.
var succeeding = map[string]string{
	"user-ok":                       success,
	"user-ok-account-error":         partialSuccess,
	"user-ok-account-warning":       success,
	"user-ok-two-checking-accounts": success,
	"user-ok-multi-company":         success,
	"user-ok-auth-pending":          success,
	"user-ok-img":                   success,
	"user-ok-select":                success,
	"user-ok-phone":                 success,
	"user-ok-perf":                  success,
}

// askedTwice are those who are asked for a second factor whatever the connector.
var askedTwice = []string{"user-ok-img", "user-ok-select", "user-ok-phone"}

const mostPerf = 5000

var perf = regexp.MustCompile(`^user-ok-perf-(\d{1,4})x$`)

// perfTimes is how many tens of rows user-ok-perf and user-ok-perf-Nx have in their current account; 0 for others. Pluggy
// multiplies a base of unknown size.
func perfTimes(kind string) int {
	if kind == "user-ok-perf" {
		return 100
	}
	if m := perf.FindStringSubmatch(kind); m != nil {
		n, err := strconv.Atoi(m[1])
		if err == nil && n <= mostPerf {
			return n
		}
	}
	return 0
}

// kind is the user of Pluggy's table. Beyond it, user-ok+NAME is another person with accounts like user-ok's.
func kind(user string) string {
	k, _, _ := strings.Cut(user, "+")
	return k
}

// ending is how an execution ends for a user of the seeded connectors; empty for nobody.
func ending(user string) string {
	k := kind(user)
	if perfTimes(k) > 0 {
		return success
	}
	return cmp.Or(failing[k], succeeding[k])
}

// defaultStatuses are the item statuses that follow the ends of an execution. Pluggy documents those of SUCCESS and
// INVALID_CREDENTIALS; Config.Statuses takes another view of the rest. What is not listed is OUTDATED.
var defaultStatuses = map[string]string{
	success: Updated, partialSuccess: Updated, badCredentials: LoginError, badMFA: LoginError,
	"ACCOUNT_LOCKED": LoginError, "ACCOUNT_CREDENTIALS_RESET": LoginError,
}

func (b *Bank) statusAfter(execution string) string {
	return cmp.Or(b.cfg.Statuses[execution], defaultStatuses[execution], Outdated)
}

// messages are those of an item's error.
var messages = map[string]string{
	badCredentials:              "The provided credentials are invalid",
	badMFA:                      "The provided MFA is invalid",
	"ALREADY_LOGGED_IN":         "User is already logged in the institution's site",
	"ACCOUNT_LOCKED":            "The account is locked",
	"UNEXPECTED_ERROR":          "An unexpected error occurred",
	"SITE_NOT_AVAILABLE":        "The institution's site is not available",
	"ACCOUNT_NEEDS_ACTION":      "The account needs an action of its user at the institution",
	"CONNECTION_ERROR":          "The connection to the institution failed",
	"ACCOUNT_CREDENTIALS_RESET": "The credentials must be reset at the institution",
	"USER_NOT_SUPPORTED":        "The user is not supported",
	pendingConsent:              "The user has to authorise the access at the institution",
	notGranted:                  "The user did not authorise the access",
	revoked:                     "The user revoked the access",
	otherAccount:                "The item was connected with another account",
	inputTimeout:                "User requested input had expired",
}

// plan is what an execution goes through, up to where its user is needed. asked is whether a user is there to answer.
func (b *Bank) plan(it *item, asked bool) []string {
	steps := []string{loginProgress}
	c := it.connector
	if c.OAuth {
		if asked || it.customerID == "" {
			return append(steps, WaitingAction)
		}
		return append(steps, b.inside(it)...)
	}
	user := it.parameters["user"]
	switch {
	case it.parameters["password"] != goodPassword, !b.knows(c, user):
		return append(steps, badCredentials)
	case it.broken != "":
		return append(steps, it.broken)
	case asked && c.MFA && !c.TwoSteps && it.parameters["token"] != goodMFA:
		return append(steps, badMFA)
	case asked && (c.TwoSteps || slices.Contains(askedTwice, kind(user))):
		return append(steps, WaitingInput)
	}
	it.customerID = customerID(c.ID, user)
	return append(steps, b.inside(it)...)
}

// knows reports whether a bank has the user.
func (b *Bank) knows(c *Connector, user string) bool {
	return b.customers[customerID(c.ID, user)] != nil || !c.own && ending(user) != ""
}

// inside is what follows the login.
func (b *Bank) inside(it *item) []string {
	if it.broken != "" {
		return []string{it.broken}
	}
	user := it.parameters["user"]
	end := cmp.Or(ending(user), success)
	if failing[kind(user)] != "" {
		return []string{end}
	}
	steps := append(slices.Clone(collecting), end)
	if kind(user) == "user-ok-auth-pending" && !it.approved {
		it.approved = true
		return append([]string{pendingConsent}, steps...)
	}
	return steps
}
