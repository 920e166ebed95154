package bkper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/secret"
)

const (
	maxAnswer = 32 << 20
	maxWait   = time.Hour
)

type call struct {
	method, path string
	query        url.Values
	cursor       string
	body         any // sent as JSON; nil for none
	into         any // a pointer; left alone by an answer without body
}

func (c *Client) do(ctx context.Context, token secret.String, k call) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := c.request(ctx, token, k)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return unreached(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return unreached(err)
	}
	if len(text) > maxAnswer {
		return &bank.Error{Kind: bank.OurFault, Code: "answer_too_large", Err: fmt.Errorf("more than %d bytes", maxAnswer)}
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return refusal(resp, text)
	}
	if resp.StatusCode == http.StatusNoContent || len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	if json.Unmarshal(text, k.into) != nil {
		return unreadable(errors.New("not the JSON that was expected"))
	}
	return nil
}

func (c *Client) request(ctx context.Context, token secret.String, k call) (*http.Request, error) {
	u := *c.base
	u.Path += k.path
	u.RawQuery = k.query.Encode()
	var body io.Reader
	if k.body != nil {
		text, err := json.Marshal(k.body)
		if err != nil {
			return nil, &bank.Error{Kind: bank.OurFault, Code: "malformed_request", Err: errors.New("not writable as JSON")}
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, k.method, u.String(), body)
	if err != nil {
		return nil, &bank.Error{Kind: bank.OurFault, Code: "malformed_request", Err: errors.New("not a request")}
	}
	h := req.Header
	h.Set("Authorization", "Bearer "+token.Reveal())
	h.Set("Accept", "application/json")
	if body != nil {
		h.Set("Content-Type", "application/json; charset=utf-8")
	}
	for name, value := range map[string]string{"bkper-api-key": c.key.Reveal(), "bkper-agent-id": c.agent, "cursor": k.cursor} {
		if value != "" {
			h.Set(name, value)
		}
	}
	return req, nil
}

// unreached drops the address from a transport's error, because queries hold the names of Accounts.
func unreached(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	return &bank.Error{Kind: bank.Retry, Code: "unreachable", Err: fmt.Errorf("call Bkper: %w", err)}
}

func unreadable(err error) error {
	return &bank.Error{Kind: bank.Retry, Code: "unreadable", Err: fmt.Errorf("read Bkper's answer: %w", err)}
}

func permanent(code string, condition error) error {
	return &bank.Error{Kind: bank.Permanent, Code: code, Err: condition}
}

// usage are the reasons with which APIs on Google's infrastructure, as Bkper's is, refuse for quota by status 403
// (https://developers.google.com/analytics/devguides/limits-and-quotas). A new token would not help there.
var usage = map[string]bool{"rateLimitExceeded": true, "userRateLimitExceeded": true, "quotaExceeded": true, "dailyLimitExceeded": true}

func refusal(resp *http.Response, text []byte) error {
	status := resp.StatusCode
	code := "http_" + strconv.Itoa(status)
	reason, readable := reasonOf(text)
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500, status < 400, usage[reason]:
		return passing(resp.Header, code)
	case status == http.StatusRequestEntityTooLarge:
		return permanent(code, ledger.ErrRefused)
	case !readable:
		// Whatever stands between answered, not Bkper.
		return passing(resp.Header, code)
	case status == http.StatusForbidden:
		return &bank.Error{Kind: bank.UserMustAct, Code: "login_required", Err: ledger.ErrLogin}
	case status == http.StatusUnauthorized:
		return &bank.Error{Kind: bank.UserMustAct, Code: "no_access", Err: ledger.ErrNoAccess}
	case status == http.StatusNotFound:
		return permanent(code, ledger.ErrNotFound)
	}
	return permanent(code, ledger.ErrRefused)
}

// reasonOf reads Bkper's error form; false where the text is not one.
func reasonOf(text []byte) (string, bool) {
	var form struct {
		Error *struct {
			Errors []struct {
				Reason string `json:"reason"`
			} `json:"errors"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &form) != nil || form.Error == nil {
		return "", false
	}
	if len(form.Error.Errors) == 0 {
		return "", true
	}
	return form.Error.Errors[0].Reason, true
}

func passing(h http.Header, code string) error {
	cause := errors.New("Bkper does not answer for now")
	if wait, ok := retryAfter(h.Get("Retry-After")); ok {
		return &bank.Error{Kind: bank.RetryAfter, Code: code, After: wait, Err: cause}
	}
	return &bank.Error{Kind: bank.Retry, Code: code, Err: cause}
}

// retryAfter reads seconds or a date, an hour at most.
func retryAfter(text string) (time.Duration, bool) {
	if n, err := strconv.Atoi(text); err == nil && n >= 0 {
		return time.Duration(min(n, int(maxWait/time.Second))) * time.Second, true
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	return min(max(time.Until(at), 0), maxWait), true
}
