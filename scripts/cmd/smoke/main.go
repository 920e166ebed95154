// Command smoke looks from outside whether a system works, deployed or local: every function answers, strangers and forgeries
// are refused, and the main job goes through.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/bkper/automations-portal/shared/ledger/bkper"
	"github.com/bkper/automations-portal/shared/secret"
)

const usage = `smoke looks from outside whether a system works, and says so line by line.

  scripts/smoke http://localhost:8080                    what scripts/dev serves
  scripts/smoke https://banks.example.com                a deployment with one host for all functions
  scripts/smoke 'https://*-123456.europe-west1.run.app'  one with a host for each: * stands for the function's name

Always: every function answers; it refuses whoever does not say who he is; a forged webhook is refused; the functions that
only Pub/Sub and the schedule may call refuse everybody else.

Where the sandbox stands behind the system, the main job as well: sign in, connect a bank made for this, link its account, let
the bank send a transaction, see the draft in the Book, remove, disconnect. Elsewhere the main job needs a person's token,
and with -person somebody who signs in at the bank (in Plaid's Sandbox: user_good with pass_good at any bank):

  PORTAL_ACCESS_TOKEN   access token that the portal's own page has of that person: answer of its call to /auth/refresh
  BKPER_API_URL         where Bkper is, default https://api.bkper.app; BKPER_API_KEY is sent to it where there is one
  PLAID_CLIENT_ID, PLAID_SECRET   of Plaid's Sandbox: an item is made there without a person, read and removed again, and
                                  Plaid is told to call the system's webhook

The exit code is 0 where nothing failed, 1 where something did, 2 where the command is not one. What is left out is said.

`

// options are the flags and the environment.
type options struct {
	url     string
	book    string
	country string
	person  bool
	only    bool // no main job
	limit   time.Duration
	env     func(string) string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

var errUsage = errors.New("usage")

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("smoke", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.book, "book", "", "id of the Book for the main job; default the sandbox's, or the token's first in which it may record")
	f.StringVar(&o.country, "country", "US", "country of the bank for the main job, outside of the sandbox")
	f.BoolVar(&o.person, "person", false, "outside of the sandbox: print where somebody signs in at the bank, and wait")
	f.BoolVar(&o.only, "refusals", false, "leave the main job out")
	f.DurationVar(&o.limit, "timeout", 5*time.Minute, "give up after so long")
	f.Usage = func() {
		fmt.Fprint(stderr, usage)
		f.PrintDefaults()
	}
	// The URL may stand before the flags, or behind them.
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		o.url, args = args[0], args[1:]
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case o.url == "" && f.NArg() == 1:
		o.url = f.Arg(0)
	case f.NArg() > 0:
		return o, fmt.Errorf("%w: unexpected %q; see scripts/smoke -help", errUsage, f.Arg(0))
	}
	o.url = strings.TrimSuffix(o.url, "/")
	at, err := url.Parse(strings.ReplaceAll(o.url, "*", "x"))
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" || at.RawQuery != "" {
		return o, fmt.Errorf("%w: say the URL of the system, such as http://localhost:8080; see scripts/smoke -help", errUsage)
	}
	return o, nil
}

func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) (code int) {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "smoke:", err)
		return 2
	}
	o.env = env
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("not done after %s; give more with -timeout", o.limit))
	defer cancel()
	s := &smoke{options: o, out: stdout, client: &http.Client{
		Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	begun := time.Now()
	s.refusals(ctx)
	s.plaid(ctx)
	if s.only {
		s.skip("the main job", "-refusals was given")
	} else if s.failed == 0 {
		s.job(ctx)
	} else {
		s.skip("the main job", "something failed before")
	}
	fmt.Fprintf(stdout, "%d ok, %d failed, %d left out, after %.1f s.\n", s.passed, s.failed, s.left, time.Since(begun).Seconds())
	if s.failed > 0 {
		return 1
	}
	return 0
}

// smoke is one run.
type smoke struct {
	options
	out                  io.Writer
	client               *http.Client
	passed, failed, left int
}

// check does one thing and says how it went; the detail is shown beside what holds.
func (s *smoke) check(ctx context.Context, what string, do func(context.Context) (detail string, err error)) bool {
	begun := time.Now()
	detail, err := do(ctx)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		s.failed++
		fmt.Fprintf(s.out, "FAILED    %s: %v\n", what, err)
		return false
	}
	s.passed++
	if detail != "" {
		detail += ", "
	}
	fmt.Fprintf(s.out, "ok        %s (%s%d ms)\n", what, detail, time.Since(begun).Milliseconds())
	return true
}

func (s *smoke) skip(what, why string) {
	s.left++
	fmt.Fprintf(s.out, "left out  %s: %s\n", what, why)
}

// books is the Bkper that stands behind the system.
func (s *smoke) books(at string) (*bkper.Client, error) {
	return bkper.New(bkper.Config{BaseURL: at, APIKey: secret.New(s.env("BKPER_API_KEY")), Agent: "automations-portal-smoke"})
}
