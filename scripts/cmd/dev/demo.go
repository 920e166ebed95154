package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"

	"github.com/bkper/automations-portal/functions/connect"
	"github.com/bkper/automations-portal/functions/link"
	"github.com/bkper/automations-portal/functions/portal"
	"github.com/bkper/automations-portal/scripts/internal/world"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/sandbox/bankfile"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/view"
)

// person is somebody at a browser who does the main job.
type person struct {
	*world.Person
	widget func(token, institution, user string) (item string, err error) // what the provider's script shows on the page
}

// demo does the main job as a person would, through the functions' own URLs.
func (s *system) demo(ctx context.Context, o options, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(o.seconds)*time.Second, fmt.Errorf("not done after %d seconds; give more with -timeout", o.seconds))
	defer cancel()
	err := s.mainJob(ctx, o, stdout, stderr)
	if errors.Is(err, context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	return err
}

func (s *system) mainJob(ctx context.Context, o options, stdout, stderr io.Writer) error {
	if s.bankIsReal(o) || s.cfg.GoogleClientID != world.GoogleClient {
		return errors.New("the demo signs in by itself, which only the sandbox's bank and sign-in allow; unset PLAID_*, PLUGGY_* and GOOGLE_*, or run without -demo and use a browser")
	}
	bankID, country, currency, statement, err := s.chooseBank(o)
	if err != nil {
		return err
	}
	p, err := s.signIn(ctx)
	if err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	fmt.Fprintf(stdout, "Signed in as %s.\n", clientEmail)
	book := bkper.SeedBookID(currency)
	conn, err := p.connect(ctx, book, country, bankID)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	fmt.Fprintf(stdout, "Connected %s: %d accounts.\n", conn.Institution, len(conn.Accounts))
	linked, err := p.linkAll(ctx, book, conn, o.country == brazil)
	if err != nil {
		return fmt.Errorf("link: %w", err)
	}
	fmt.Fprintf(stdout, "Linked %d accounts to Accounts of the Book.\n", len(linked))
	total := 0
	if statement != nil {
		total = statement.Rows()
	}
	if err := p.watch(ctx, book, linked, total, stderr); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if statement != nil {
		return s.tieOut(ctx, p, book, linked, statement, stdout)
	}
	if err := s.sendSome(ctx, p, o, book, linked, stdout); err != nil {
		return fmt.Errorf("new transactions: %w", err)
	}
	if err := s.printBook(ctx, p, book, linked, stdout); err != nil || o.country != brazil {
		return err
	}
	return s.tieOutBrazil(ctx, p, book, conn, linked, stdout)
}

func (s *system) bankIsReal(o options) bool {
	at := s.cfg.PlaidURL
	if o.country == brazil {
		at = s.cfg.PluggyURL
	}
	return !strings.HasPrefix(at, s.url)
}

// chooseBank finds the sandbox's bank, or makes one out of a bank's file.
func (s *system) chooseBank(o options) (id, country, currency string, file *bankfile.File, err error) {
	if o.country == brazil {
		return "601", brazil, "BRL", nil, nil
	}
	if o.bank == "" {
		return "ins_109508", "US", "USD", nil, nil
	}
	opened, err := os.Open(o.bank)
	if err != nil {
		return "", "", "", nil, err
	}
	defer opened.Close()
	if file, err = bankfile.Read(opened); err != nil {
		return "", "", "", nil, fmt.Errorf("%s: %w", o.bank, err)
	}
	currency = file.Closings()[0].Currency
	if bkper.SeedBookID(currency) == "" {
		return "", "", "", nil, fmt.Errorf("%s: the sandbox has no Book in %s", o.bank, currency)
	}
	err = s.world.Plaid.Do(func(b *plaid.Bank) error {
		i, err := b.LoadFile(file, "Bank of "+strings.TrimSuffix(baseName(o.bank), ".csv"), time.Now().AddDate(0, 0, -1))
		if err == nil {
			id = i.ID
		}
		return err
	})
	return id, "GB", currency, file, err
}

func baseName(path string) string { return path[strings.LastIndexAny(path, `/\`)+1:] }

func (s *system) signIn(ctx context.Context) (*person, error) {
	p, err := world.NewPerson(s.url)
	if err != nil {
		return nil, err
	}
	return &person{p, s.world.Widget}, p.SignIn(ctx, clientEmail)
}

// connect goes to the bank's sign-in and comes back. A bank that was connected by an earlier run is found again.
func (p *person) connect(ctx context.Context, book, country, institution string) (view.Connection, error) {
	var mine portal.Connections
	if err := p.Call(ctx, http.MethodGet, "/portal/connections", nil, &mine); err != nil {
		return view.Connection{}, err
	}
	for _, c := range mine.Connections {
		if c.InstitutionID == institution && c.Status == view.Connected {
			return c, nil
		}
	}
	var started session.Started
	if err := p.Call(ctx, http.MethodPost, "/connect", connect.Request{Book: book, Country: country}, &started); err != nil {
		return view.Connection{}, err
	}
	item, err := p.visit(ctx, started, institution)
	if err != nil {
		return view.Connection{}, err
	}
	for {
		var done connect.Completed
		if err := p.Call(ctx, http.MethodPost, "/connect/complete", connect.Complete{Session: started.Session, Item: item}, &done); err != nil {
			return view.Connection{}, err
		}
		switch {
		case done.Connection != nil:
			return *done.Connection, nil
		case done.State != string(bank.Open) && done.State != string(bank.Exchanging):
			return view.Connection{}, errors.New(done.Message)
		}
		if err := world.Pause(ctx, interval); err != nil {
			return view.Connection{}, err
		}
	}
}

// visit goes to the page of the bank's provider, or does what its widget asks for, which tells the item that came of it.
func (p *person) visit(ctx context.Context, started session.Started, institution string) (item string, err error) {
	if started.URL == "" {
		return p.widget(started.Widget.Reveal(), institution, "user-ok")
	}
	return "", p.Visit(ctx, started, institution, "user_good")
}

// interval is the time between two looks at something that goes on elsewhere.
const interval = 300 * time.Millisecond

// linkAll links every account that can be linked, each to an Account of its own name, with all history.
func (p *person) linkAll(ctx context.Context, book string, conn view.Connection, pending bool) ([]view.Integration, error) {
	var mu groupOf[view.Integration]
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(1)
	for _, a := range conn.Accounts {
		if !a.Linkable {
			continue
		}
		g.Go(func() error {
			var i view.Integration
			err := p.Call(ctx, http.MethodPost, "/link", link.Request{
				Book: book, Connection: conn.ID, Key: a.Key, Create: a.Name, From: "1990-01-01", Pending: &pending,
			}, &i)
			if err != nil {
				return fmt.Errorf("%s: %w", a.Name, err)
			}
			mu.add(i)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(mu.all, func(a, b view.Integration) int { return strings.Compare(a.AccountName, b.AccountName) })
	return mu.all, nil
}

// watch shows the import until every integration has the whole history of its bank.
func (p *person) watch(ctx context.Context, book string, linked []view.Integration, total int, stderr io.Writer) error {
	if total == 0 {
		total = -1 // unknown: a spinner with a count
	}
	bar := progressbar.NewOptions(total, progressbar.OptionSetWriter(stderr), progressbar.OptionSetDescription("Recording drafts"),
		progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(30))
	defer fmt.Fprintln(stderr)
	for {
		is, err := p.integrations(ctx, book, linked)
		if err != nil {
			return err
		}
		recorded, complete := 0, 0
		for _, i := range is {
			recorded += i.Progress.Recorded
			if i.Status == view.Live && i.Progress.Complete {
				complete++
			}
			if i.Status != view.Live && i.Status != view.Importing {
				return fmt.Errorf("%s: %s", i.AccountName, i.Message)
			}
		}
		if err := bar.Set(recorded); err != nil {
			return err
		}
		if complete == len(linked) {
			return bar.Finish()
		}
		if err := world.Pause(ctx, interval); err != nil {
			return err
		}
	}
}

// integrations reads how the linked accounts stand.
func (p *person) integrations(ctx context.Context, book string, linked []view.Integration) ([]view.Integration, error) {
	var list portal.Integrations
	if err := p.Call(ctx, http.MethodGet, "/portal/integrations?book="+url.QueryEscape(book), nil, &list); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Integrations, func(i view.Integration) bool {
		return !slices.ContainsFunc(linked, func(l view.Integration) bool { return l.ID == i.ID })
	}), nil
}
