// Command dev runs the whole project on one machine: every function, on one port, with a sandbox as the banks, as Bkper and as
// Google. Whatever has credentials, or an emulator's host, in the environment is used instead.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

const usage = `dev starts everything in one process on one port, and prints its URLs when it is ready.

  scripts/dev                    serve until interrupted
  scripts/dev -demo              do the main job without a hand on it: sign in, connect a bank, link its accounts, record
                                 what it has, let it send a few new transactions, print the Book
  scripts/dev -demo -country BR  the same with a bank and a card of Brazil, and compare every account with the bank's own
                                 balance
  scripts/dev -demo -bank FILE   the same with a real bank's file (columns date,id,account,amount,currency,description,
                                 balance), and compare every account with the bank's own last balance

The state is kept in the folder that -data names and survives a restart. In the environment,
  PLAID_CLIENT_ID, PLAID_SECRET            use Plaid instead of the sandbox's
  PLUGGY_CLIENT_ID, PLUGGY_CLIENT_SECRET, PLUGGY_WEBHOOK_SECRET
                                           use Pluggy instead of the sandbox's
  GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET   use Google's sign-in
  BKPER_API_URL                            use Bkper (https://api.bkper.app); needs Google's sign-in
  FIRESTORE_EMULATOR_HOST                  keep documents in Google's emulator instead of SQLite
  PUBSUB_EMULATOR_HOST                     send events through Google's emulator

`

// options are the flags.
type options struct {
	data    string
	port    int
	demo    bool
	bank    string
	country string
	verbose bool
	watch   bool
	seconds int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "stopped; the state is kept")
	case err != nil:
		fmt.Fprintln(os.Stderr, "dev:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("dev", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.data, "data", "data", "folder for the state")
	f.IntVar(&o.port, "port", 8080, "port to listen on; 0 takes a free one")
	f.BoolVar(&o.demo, "demo", false, "do the main job and exit")
	f.StringVar(&o.country, "country", "US", "with -demo: of the bank, US or BR")
	f.StringVar(&o.bank, "bank", "", "with -demo: a bank's file to import")
	f.BoolVar(&o.verbose, "v", false, "show the functions' log")
	f.BoolVar(&o.watch, "telemetry", false, "print a line for every span, and the numbers at the end")
	f.IntVar(&o.seconds, "timeout", 600, "with -demo: give up after so many seconds")
	f.Usage = func() {
		fmt.Fprint(stderr, usage)
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected %q; see scripts/dev -help", f.Arg(0))
	case o.country != "US" && o.country != brazil:
		return o, fmt.Errorf("-country is US or BR, not %q", o.country)
	case o.country == brazil && (o.bank != "" || !o.demo):
		return o, errors.New("-country BR goes with -demo, and not with -bank")
	case o.bank != "" && !o.demo:
		return o, errors.New("-bank goes with -demo")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if o.data, err = filepath.Abs(o.data); err != nil {
		return err
	}
	if err := os.MkdirAll(o.data, 0o700); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := start(ctx, o, stdout, stderr)
	if err != nil {
		return err
	}
	defer s.stop()
	fmt.Fprintf(stdout, "Automations Portal on %s (%s; state in %s)\n", s.url, s.parts, o.data)
	if o.demo {
		return s.demo(ctx, o, stdout, stderr)
	}
	if strings.HasPrefix(s.cfg.BkperURL, s.url) {
		fmt.Fprintf(stdout, "The sandbox's Books, with what is recorded, on %s/sandbox/bkper/book/\n", s.url)
	}
	<-ctx.Done()
	return nil
}
