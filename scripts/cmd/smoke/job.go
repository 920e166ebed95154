package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/functions/connect"
	"github.com/bkper/automations-portal/functions/disconnect"
	"github.com/bkper/automations-portal/functions/link"
	"github.com/bkper/automations-portal/functions/portal"
	"github.com/bkper/automations-portal/functions/remove"
	"github.com/bkper/automations-portal/scripts/internal/world"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	ledgerbkper "github.com/bkper/automations-portal/shared/ledger/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/view"
)

const (
	sandboxPerson = "client@example.com"
	interval      = 300 * time.Millisecond // between two looks at something that goes on elsewhere
)

// job is the main job under way.
type job struct {
	*smoke
	person *world.Person
	bank   *sandboxBank // nil outside of the sandbox
	books  *ledgerbkper.Client
	book   string
	name   string // of the Account that is made
	conn   view.Connection
	linked view.Integration
}

// job does the main job, as far as somebody can sign in.
func (s *smoke) job(ctx context.Context) {
	begun, err := s.begin(ctx)
	if err != nil {
		s.check(ctx, "somebody signs in", func(context.Context) (string, error) { return "", err })
		return
	}
	if begun == nil {
		return
	}
	begun.do(ctx)
}

// begin finds out as whom the job can be done; nil where nobody is at hand, which is said.
func (s *smoke) begin(ctx context.Context) (*job, error) {
	at, sandbox, err := s.behind(ctx)
	if err != nil {
		return nil, err
	}
	j := &job{smoke: s, book: s.options.book, name: "Smoke " + time.Now().UTC().Format("2006-01-02 15:04:05.000")}
	if j.person, err = world.NewPerson(s.url); err != nil {
		return nil, err
	}
	if sandbox {
		if j.book == "" {
			j.book = bkper.SeedBookID("USD")
		}
		j.bank = &sandboxBank{at: at + "/plaid", client: s.client}
		j.books, err = s.books(at + "/bkper")
		return j, errors.Join(err, j.person.SignIn(ctx, sandboxPerson))
	}
	if j.person.Token = s.env("PORTAL_ACCESS_TOKEN"); j.person.Token == "" {
		s.skip("the main job", "no sandbox stands behind the system, and PORTAL_ACCESS_TOKEN is not set")
		return nil, nil
	}
	if !s.options.person {
		s.skip("the main job", "only a person can sign in at a bank; call this with -person")
		return nil, nil
	}
	j.books, err = s.books(s.env("BKPER_API_URL"))
	return j, err
}

// behind tells whether the sandbox is behind the system, and where: then the sign-in leads to its Google.
func (s *smoke) behind(ctx context.Context) (at string, sandbox bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, world.At(s.url, "/auth/login"), nil)
	if err != nil {
		return "", false, err
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return "", false, err
	}
	answer.Body.Close()
	to, err := answer.Location()
	if err != nil {
		return "", false, err
	}
	before, _, sandbox := strings.Cut(to.Path, "/sandbox/google/")
	return to.Scheme + "://" + to.Host + before + "/sandbox", sandbox, nil
}

// do goes step by step, and takes back what it made whatever happens.
func (j *job) do(ctx context.Context) {
	steps := []struct {
		what string
		do   func(context.Context) (string, error)
	}{
		{"a person is known", j.known},
		{"a bank is connected", j.connect},
		{"an account is linked", j.link},
		{"what the bank has stands in the Book as drafts", j.imported},
		{"a new transaction at the bank becomes a draft", j.sent},
	}
	for _, step := range steps {
		if j.bank == nil && step.what == steps[4].what {
			j.skip(step.what, "only the sandbox's bank can be told to send one")
			continue
		}
		if !j.check(ctx, step.what, step.do) {
			break
		}
	}
	// Also after a failure or an interruption: a connection that is forgotten here is read, and paid for, for ever.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	if j.linked.ID != "" {
		j.check(last, "the integration is removed", j.removed)
	}
	if j.conn.ID != "" {
		j.check(last, "the bank is disconnected", j.disconnected)
	}
}

func (j *job) known(ctx context.Context) (string, error) {
	var list portal.BookList
	if err := j.person.Call(ctx, http.MethodGet, "/portal/books", nil, &list); err != nil {
		return "", err
	}
	i := slices.IndexFunc(list.Books, func(b portal.Book) bool {
		return b.ID == j.book || j.book == "" && ledger.Permission(b.Permission).Records()
	})
	if i < 0 {
		return "", errors.New("the person has no such Book, or none to record into; say which with -book")
	}
	j.book = list.Books[i].ID
	return "Book " + list.Books[i].Name, nil
}

func (j *job) connect(ctx context.Context) (string, error) {
	if j.bank != nil {
		if err := j.bank.open(ctx, j.name); err != nil {
			return "", fmt.Errorf("make a bank in the sandbox: %w", err)
		}
	}
	var started session.Started
	if err := j.person.Call(ctx, http.MethodPost, "/connect", connect.Request{Book: j.book, Country: j.country}, &started); err != nil {
		return "", err
	}
	if j.bank != nil {
		if err := j.person.Visit(ctx, started, j.bank.id, "user_good"); err != nil {
			return "", err
		}
	} else {
		fmt.Fprintf(j.out, "          sign in at a bank, within the next minutes, at %s\n", started.URL)
	}
	for {
		var done connect.Completed
		if err := j.person.Call(ctx, http.MethodPost, "/connect/complete", connect.Complete{Session: started.Session}, &done); err != nil {
			return "", err
		}
		switch state := bank.SessionState(done.State); {
		case state == bank.Kept && done.Connection != nil:
			j.conn = *done.Connection
			return fmt.Sprintf("%s, %d accounts", j.conn.Institution, len(j.conn.Accounts)), nil
		case state.Final():
			return "", errors.New(done.Message)
		}
		if err := world.Pause(ctx, interval); err != nil {
			return "", err
		}
	}
}

func (j *job) link(ctx context.Context) (string, error) {
	i := slices.IndexFunc(j.conn.Accounts, func(a view.Account) bool { return a.Linkable })
	if i < 0 {
		return "", errors.New("the bank has no account that can be linked")
	}
	a := j.conn.Accounts[i]
	err := j.person.Call(ctx, http.MethodPost, "/link", link.Request{
		Book: j.book, Connection: j.conn.ID, Key: a.Key, Create: j.name, From: time.Now().AddDate(-1, 0, 0).Format(time.DateOnly), Insist: true,
		Replaces: "none", // each run connects anew, and its account is like those of the runs before
	}, &j.linked)
	return a.Name, err
}

func (j *job) imported(ctx context.Context) (string, error) {
	for {
		var list portal.Integrations
		if err := j.person.Call(ctx, http.MethodGet, "/portal/integrations?book="+url.QueryEscape(j.book), nil, &list); err != nil {
			return "", err
		}
		i := slices.IndexFunc(list.Integrations, func(i view.Integration) bool { return i.ID == j.linked.ID })
		if i < 0 {
			return "", errors.New("the integration is not listed")
		}
		now := list.Integrations[i]
		if now.Status != view.Live && now.Status != view.Importing {
			return "", errors.New(now.Message)
		}
		if now.Progress.Complete && now.Progress.Recorded > 0 {
			standing, err := j.standing(ctx)
			if err == nil && len(standing) < now.Progress.Recorded {
				err = fmt.Errorf("%d transactions are said to be recorded, and %d stand in the Book", now.Progress.Recorded, len(standing))
			}
			return fmt.Sprintf("%d drafts", len(standing)), err
		}
		if err := world.Pause(ctx, interval); err != nil {
			return "", fmt.Errorf("%d recorded so far: %w", now.Progress.Recorded, err)
		}
	}
}

// standing reads what the Book has for the account.
func (j *job) standing(ctx context.Context) (all []ledger.Transaction, err error) {
	q := ledger.Query{Account: j.name}
	for {
		page, err := j.books.Find(ctx, secret.New(j.person.Token), j.book, q)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Transactions...)
		if q.Cursor = page.Cursor; q.Cursor == "" {
			return all, nil
		}
	}
}

func (j *job) sent(ctx context.Context) (string, error) {
	text := "NEW " + strings.ToUpper(j.name)
	if err := j.bank.send(ctx, j.linked.Key, text); err != nil {
		return "", fmt.Errorf("let the bank send it: %w", err)
	}
	for {
		standing, err := j.standing(ctx)
		if err != nil {
			return "", err
		}
		i := slices.IndexFunc(standing, func(t ledger.Transaction) bool { return t.Description == text })
		if i >= 0 {
			if standing[i].Posted || !standing[i].Amount.Equal(amount) {
				return "", fmt.Errorf("it stands as %+v", standing[i])
			}
			return amount.String(), nil
		}
		if err := world.Pause(ctx, interval); err != nil {
			return "", err
		}
	}
}

func (j *job) removed(ctx context.Context) (string, error) {
	var gone remove.Response
	err := j.person.Call(ctx, http.MethodPost, "/remove", remove.Request{Integration: j.linked.ID}, &gone)
	return gone.State, err
}

func (j *job) disconnected(ctx context.Context) (string, error) {
	for {
		var ended disconnect.Response
		err := j.person.Call(ctx, http.MethodPost, "/disconnect", disconnect.Request{Connection: j.conn.ID}, &ended)
		if err != nil || ended.State == "disconnected" {
			return "", err
		}
		if err := world.Pause(ctx, 10*interval); err != nil {
			return "", err
		}
	}
}

// amount is what the new transaction is over.
var amount = decimal.RequireFromString("4.33")

// sandboxBank is a bank in the sandbox that is made for one run.
type sandboxBank struct {
	at     string // of the sandbox's Plaid
	client *http.Client
	id     string
}

// open makes the bank out of a file with two transactions.
func (b *sandboxBank) open(ctx context.Context, name string) error {
	file := "date,id,account,amount,currency,description,balance\n" +
		"2026-01-05,s1,Everyday,-12.50,USD,FIRST OF THE SMOKE TEST,87.50\n2026-01-07,s2,Everyday,100.00,USD,SECOND OF THE SMOKE TEST,187.50\n"
	query := url.Values{"name": {name}, "last_day": {time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)}}
	var made struct {
		ID string `json:"institution_id"`
	}
	err := b.control(ctx, "institutions?"+query.Encode(), "text/csv", []byte(file), &made)
	b.id = made.ID
	return err
}

// send lets the bank have one transaction more.
func (b *sandboxBank) send(ctx context.Context, account, text string) error {
	body, err := json.Marshal(map[string]any{"account": account, "transactions": []plaid.Row{{Amount: amount, Description: text}}})
	if err != nil {
		return err
	}
	return b.control(ctx, "transactions", "application/json", body, nil)
}

func (b *sandboxBank) control(ctx context.Context, path, kind string, body []byte, out any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.at+"/_sim/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", kind)
	answer, err := b.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %.200s", answer.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}
