// Command ops is for operators: it looks at connections, rings for them, plays dead letters again, re-points webhooks, checks a
// provider's new secret, retires what nobody owns any more, and explains why a transaction is, or is not, in a Book.
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
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sethvargo/go-envconfig"

	"github.com/bkper/automations-portal/functions/app"
	"github.com/bkper/automations-portal/shared/config"
	"github.com/bkper/automations-portal/shared/logs"
)

const usage = `ops is for operators. It never shows a token, and what destroys something only says what it would do until -do is given.

  scripts/ops show CONNECTION            a connection, its engine, its integrations, its sessions; also PROVIDER/ITEM
  scripts/ops sync CONNECTION            ring for it, as its bank's webhook does
  scripts/ops dead list                  messages that were refused too often
  scripts/ops dead replay ID… | -all     publish them again
  scripts/ops webhooks repoint URL       let the providers call another webhook function
  scripts/ops rotate PROVIDER SETTING    check a new secret, which is read from the standard input, and say what to do with it
  scripts/ops orphans list               what is left of sessions, tokens without a connection, items that were lost
  scripts/ops orphans retire             end them
  scripts/ops explain BOOK TRANSACTION   why it is, or is not, in the Book; an id of the bank, the Book, or the remote id

  scripts/ops COMMAND -help              says more of one

It works on the store, the vault and the events that the environment configures, as the README lists it: GOOGLE_CLOUD_PROJECT
and the credentials of gcloud for a deployment, or DATA_FILE for the file of scripts/dev (data/portal.db). Commands that call
providers or Books need their variables too. The exit code is 0 where it was done, 1 where it was not, 2 where the command is
not one.
`

// command is one of them. parse reads its flags and returns what runs.
type command struct {
	name string // one word or two
	args string
	says string
	// flags declares the command's own flags, and returns what runs with the rest of the arguments.
	flags func(*flag.FlagSet) func(context.Context, *operator, []string) error
}

func commands() []command {
	return []command{
		{"show", "CONNECTION", "Shows a connection. CONNECTION is its id, or PROVIDER/ITEM as the provider knows it.", show},
		{"sync", "CONNECTION", "Rings for a connection: the poster looks at its bank. Nothing is doubled by ringing once too often.", sync},
		{"dead list", "", "Lists dead letters, at most 1,000 of each topic. Pub/Sub hands each to one caller at a time.", deadList},
		{"dead replay", "ID… or -all", "Publishes dead letters again, as new messages. Mend first what refused them; nothing is doubled by playing one twice.", deadReplay},
		{"webhooks repoint", "URL", "Points the items of all connections to another webhook function: URL/PROVIDER is called from then on. Nothing is lost meanwhile, since every connection is looked at within six hours anyway.", repoint},
		{"rotate", "PROVIDER SETTING", "Reads a provider's new secret from the standard input, asks the provider whether it takes it, and says how to put it in place. It changes nothing and shows no secret.", rotate},
		{"orphans list", "", "Lists handles of sessions that were never written down or have ended, tokens whose connection does not exist or is disconnected, and sessions whose item was lost.", orphansList},
		{"orphans retire", "", "Destroys such handles. Removes at the provider the items of such tokens, then destroys those. What belongs to a session that goes on is left alone.", orphansRetire},
		{"explain", "BOOK TRANSACTION", "Says what the journal knows of a transaction, and else what may keep it away. Where the environment has the Google client and Bkper, the Book is asked too.", explain},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := run(ctx, os.Args[1:], envconfig.OsLookuper(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errUsage: the command is not one.
var errUsage = errors.New("see scripts/ops -help")

func run(ctx context.Context, args []string, env envconfig.Lookuper, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	err := dispatch(ctx, args, env, stdin, stdout, stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, "ops:", err)
		return 2
	}
	fmt.Fprintln(stderr, "ops:", err)
	return 1
}

func dispatch(ctx context.Context, args []string, env envconfig.Lookuper, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) == 0 || slices.Contains([]string{"-h", "-help", "--help", "help"}, args[0]) {
		fmt.Fprint(stdout, usage)
		if len(args) == 0 {
			return fmt.Errorf("%w", errUsage)
		}
		return nil
	}
	c, rest, err := choose(args)
	if err != nil {
		return err
	}
	f := flag.NewFlagSet(c.name, flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "scripts/ops %s %s\n\n%s\n\n", c.name, c.args, c.says)
		f.PrintDefaults()
	}
	do := c.flags(f)
	rest, err = parse(f, rest)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	o, err := open(ctx, env, stdin, stdout, stderr)
	if err != nil {
		return err
	}
	defer o.app.Close()
	return do(ctx, o, rest)
}

// choose finds the command that the arguments begin with.
func choose(args []string) (command, []string, error) {
	for _, c := range commands() {
		words := strings.Fields(c.name)
		if len(args) >= len(words) && slices.Equal(args[:len(words)], words) {
			return c, args[len(words):], nil
		}
	}
	return command{}, nil, fmt.Errorf("%w: there is no command %q", errUsage, strings.Join(args[:min(2, len(args))], " "))
}

// parse lets flags stand behind arguments too.
func parse(f *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, f.Arg(0)), f.Args()[1:]
	}
}

// operator is what all commands share.
type operator struct {
	cfg   *config.Config
	app   *app.App
	env   envconfig.Lookuper
	in    io.Reader
	out   io.Writer
	now   func() time.Time
	sleep func(context.Context, time.Duration) error
}

// self is the function as which the configuration is read: none that is served, so that only the store, the vault and the
// events are needed.
const self = "operator"

func open(ctx context.Context, env envconfig.Lookuper, stdin io.Reader, stdout, stderr io.Writer) (*operator, error) {
	cfg, err := config.Read(ctx, envconfig.MultiLookuper(envconfig.MapLookuper(map[string]string{"FUNCTION_TARGET": self}), env))
	if err != nil {
		return nil, err
	}
	// Opening would make a file that is missing, and a misspelt name would look like an empty system.
	if cfg.Store == "sqlite" || cfg.Vault == "sqlite" || cfg.Events == "sqlite" {
		if _, err := os.Stat(cfg.DataFile); err != nil {
			return nil, fmt.Errorf("DATA_FILE: %w", err)
		}
	}
	log := slog.New(logs.NewText(stderr, logs.Options{Level: slog.LevelWarn}))
	return &operator{cfg: cfg, app: app.New(cfg, log), env: env, in: stdin, out: stdout, now: time.Now, sleep: app.Sleep}, nil
}

func (o *operator) say(format string, args ...any) { fmt.Fprintf(o.out, format+"\n", args...) }

// one takes exactly so many arguments.
func one(rest []string, n int, what string) error {
	if len(rest) != n {
		return fmt.Errorf("%w: say %s", errUsage, what)
	}
	return nil
}

// ago is a time in words; "never" where there is none.
func (o *operator) ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := o.now().Sub(t).Round(time.Second)
	if d < 0 {
		return fmt.Sprintf("%s (in %s)", t.UTC().Format(time.RFC3339), -d)
	}
	return fmt.Sprintf("%s (%s ago)", t.UTC().Format(time.RFC3339), d)
}
