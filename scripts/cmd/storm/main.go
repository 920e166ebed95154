// Command storm kills the processes that serve the functions, again and again, while people connect, link and disconnect banks,
// and then looks whether anything was lost, doubled or orphaned. The banks, Bkper, Google and the databases live on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/bkper/automations-portal/shared/logs"
)

const usage = `storm kills the processes that serve the functions (kill -9) at random moments of imports, connects and disconnects,
lets the work come to its end, and compares what the banks hold with what stands in the Books:

  lost       transactions at a bank that do not stand in the Book as the bank has them
  doubled    records too many: a second one of a transaction, or one of a transaction that the bank took back
  orphaned   tokens without a connection, items at a bank without one, active connections without a token

It exits with 0 if all three are 0. Documents and events are on Google's emulators where these are installed.

  scripts/storm                 30 kills; about two minutes and a half
  scripts/storm -kills 300      about eight minutes

`

// options are the flags.
type options struct {
	kills       int
	connections int
	seed        uint64
	parts       string
	verbose     bool
	hurry       bool
	rows        int           // of each bank account when the storm begins
	drain       time.Duration // the longest wait for the work to come to its end
	program     string        // serves the functions on the embedded parts
	log         *slog.Logger
}

func main() {
	if os.Getenv(workerURL) != "" {
		os.Exit(work())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	ok, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1)
	case !ok:
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("storm", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.kills, "kills", 30, "processes to kill")
	f.IntVar(&o.connections, "connections", 20, "connections that are made at once when the storm begins; more come while it lasts")
	f.Uint64Var(&o.seed, "seed", 0, "of what people, banks and the killer do; 0 takes one by chance. Processes make no run like the other")
	f.StringVar(&o.parts, "parts", "auto", "emulators, embedded (SQLite), or auto: emulators where they are installed")
	f.IntVar(&o.rows, "rows", 150, "transactions of each bank account when it is connected")
	f.DurationVar(&o.drain, "drain", 6*time.Minute, "the longest wait, after the last kill, for the work to come to its end")
	f.BoolVar(&o.hurry, "hurry", false, "after the last kill, end all workers once and date back what they left by three minutes, rather than wait for leases to end")
	f.BoolVar(&o.verbose, "v", false, "say what people meet")
	f.Usage = func() {
		fmt.Fprint(stderr, usage)
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected %q; see scripts/storm -help", f.Arg(0))
	case o.parts != "auto" && o.parts != "emulators" && o.parts != "embedded":
		return o, fmt.Errorf("-parts must be emulators, embedded or auto, not %q", o.parts)
	case o.kills < 0 || o.connections < 1 || o.rows < 1:
		return o, errors.New("-connections and -rows must be 1 or more, -kills 0 or more")
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (ok bool, err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return false, err
	}
	level := slog.LevelError
	if o.verbose {
		level = slog.LevelDebug
	}
	o.log = slog.New(logs.NewText(stderr, logs.Options{Level: level}))
	slog.SetDefault(o.log)
	if o.program, err = os.Executable(); err != nil {
		return false, err
	}
	s, err := begin(ctx, o)
	if err != nil {
		return false, err
	}
	defer s.end()
	fmt.Fprintf(stdout, "Storm of %d kills on %s (seed %d).\n", o.kills, s.parts, o.seed)
	return s.rage(ctx, stdout, stderr)
}
