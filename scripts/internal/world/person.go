package world

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/session"
)

// Person is somebody at a browser: cookies, and the access token that the page holds.
type Person struct {
	base  string
	http  *http.Client
	Token string
}

// Refusal is a function's answer to what a person cannot have.
type Refusal struct {
	Status int
	Code   string // empty where the answer is not one of ours
	text   string
}

func (r *Refusal) Error() string { return r.text }

// At is the URL of a path, which begins with the name of a function, at base. A * in base stands for that name, where each
// function has a host of its own.
func At(base, path string) string {
	function, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return strings.ReplaceAll(base, "*", function) + path
}

// NewPerson is a person whose browser is empty, at the portal at base; see At.
func NewPerson(base string) (*Person, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &Person{base: base, http: &http.Client{Jar: jar, Timeout: time.Minute}}, nil
}

// SignIn goes through the sandbox's consent screen, unless the browser is signed in already, and gets an access token as the
// page does.
func (p *Person) SignIn(ctx context.Context, email string) error {
	if p.Refresh(ctx) == nil {
		return nil
	}
	screen, err := p.get(ctx, At(p.base, "/auth/login?consent=1"))
	if err != nil {
		return err
	}
	form := url.Values{"email": {email}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, screen.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := p.http.Do(r)
	if err != nil {
		return err
	}
	answer.Body.Close()
	return p.Refresh(ctx)
}

// Refresh gets the page a new access token.
func (p *Person) Refresh(ctx context.Context) error {
	var access struct{ AccessToken string }
	if err := p.Call(ctx, http.MethodPost, "/auth/refresh", nil, &access); err != nil {
		return err
	}
	p.Token = access.AccessToken
	return nil
}

// get follows redirects and returns where they end.
func (p *Person) get(ctx context.Context, address string) (*url.URL, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	answer, err := p.http.Do(r)
	if err != nil {
		return nil, err
	}
	answer.Body.Close()
	if answer.StatusCode >= 400 {
		return nil, fmt.Errorf("%s: %s", address, answer.Status)
	}
	return answer.Request.URL, nil
}

// Visit goes to the bank's sign-in page and comes back.
func (p *Person) Visit(ctx context.Context, started session.Started, institution, user string) error {
	back, err := plaid.Visit(ctx, p.http, started.URL, institution, user, "pass_good")
	if err != nil {
		return err
	}
	_, err = p.get(ctx, back)
	return err
}

// Call calls a function with JSON and reads its JSON. A refusal is a *Refusal with the function's own sentence.
func (p *Person) Call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, At(p.base, path), body)
	if err != nil {
		return err
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if p.Token != "" {
		r.Header.Set("Authorization", "Bearer "+p.Token)
	}
	answer, err := p.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 8<<20))
	if err != nil {
		return err
	}
	if answer.StatusCode >= 400 {
		var problem struct{ Code, Detail string }
		if json.Unmarshal(text, &problem) != nil || problem.Detail == "" {
			return &Refusal{answer.StatusCode, "", fmt.Sprintf("%s %s: %s", method, path, answer.Status)}
		}
		return &Refusal{answer.StatusCode, problem.Code, fmt.Sprintf("%s (%s)", problem.Detail, problem.Code)}
	}
	return json.Unmarshal(text, out)
}

// Pause waits, or returns early with the context's error.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
