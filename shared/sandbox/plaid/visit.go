package plaid

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/bkper/automations-portal/shared/sandbox/provider"
)

const mostSteps = 12 // pages and redirects of one visit

var (
	shownStep  = regexp.MustCompile(`<main data-step="([a-z]*)"`)
	shownError = regexp.MustCompile(`data-code="([A-Z_]*)">([^<]*)<`)
)

// Visit walks a user through a Hosted Link page as a browser would and returns where the page finally redirects to, the
// completion_redirect_uri; empty where there is none. In update mode institution is ignored. It is an error if the page
// refuses a step; the error holds Plaid's code and message.
//
// Each form is a POST, application/x-www-form-urlencoded, to the address at which it is shown, with the hidden field step:
//
//	step=institution  institution: institution_id    (a GET with q searches)
//	step=credentials  username, password
//	step=oauth        username, password             (the bank's own page, below /oauth)
//	step=accounts     account: bank account id, once for each; or all=1 for all that are offered
//	exit=exit         at any step: cancels
//
// Every POST answers 303, to the next page or, at the end and after a cancellation alike, to completion_redirect_uri.
func Visit(ctx context.Context, client *http.Client, hostedURL, institution, user, password string) (redirect string, err error) {
	return walk(ctx, client, hostedURL, func(step Step) url.Values {
		switch step {
		case ChooseBank:
			return url.Values{"institution": {institution}}
		case EnterLogin, EnterAtBank:
			return url.Values{"username": {user}, "password": {password}}
		default:
			return url.Values{"all": {"1"}}
		}
	})
}

// Cancel opens a Hosted Link page, cancels, and returns where the page redirects to.
func Cancel(ctx context.Context, client *http.Client, hostedURL string) (redirect string, err error) {
	return walk(ctx, client, hostedURL, func(Step) url.Values { return url.Values{"exit": {"exit"}} })
}

func walk(ctx context.Context, client *http.Client, hostedURL string, fill func(Step) url.Values) (string, error) {
	c := *client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	at, form, last := hostedURL, url.Values(nil), Step("")
	for range mostSteps {
		status, location, body, err := fetch(ctx, &c, at, form)
		if err != nil {
			return "", fmt.Errorf("visit the bank's page: %w", err)
		}
		form = nil
		if status == http.StatusSeeOther {
			next, err := resolve(at, location)
			if err != nil || !strings.HasPrefix(next, hostedURL) {
				return next, err
			}
			at = next
			continue
		}
		step := shownStep.FindStringSubmatch(body)
		if status != http.StatusOK || step == nil {
			return "", fmt.Errorf("visit the bank's page: it answered %d", status)
		}
		if e := shownError.FindStringSubmatch(body); e != nil && last != "" {
			return "", fmt.Errorf("visit the bank's page: %s: %s", e[1], html.UnescapeString(e[2]))
		}
		if last = Step(step[1]); last == Finished {
			return "", nil
		}
		form = fill(last)
		form.Set("step", string(last))
	}
	return "", errors.New("visit the bank's page: it does not end")
}

// fetch posts the form, or gets the page where there is none.
func fetch(ctx context.Context, c *http.Client, at string, form url.Values) (status int, location, body string, err error) {
	method, content := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, content = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, at, content)
	if err != nil {
		return 0, "", "", err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, provider.MaxBody))
	return resp.StatusCode, resp.Header.Get("Location"), string(text), err
}

func resolve(base, ref string) (string, error) {
	b, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	u, err := b.Parse(ref)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}
