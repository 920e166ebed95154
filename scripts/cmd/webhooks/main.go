// Command webhooks makes Pluggy call the webhook function, with the secret by which it is known. Plaid needs no such thing: it is
// told the address with every item.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/bkper/automations-portal/shared/bank/pluggy"
	"github.com/bkper/automations-portal/shared/secret"
)

const usage = `webhooks registers the webhook function at Pluggy, with its secret header, and enables it again where Pluggy has disabled it
after failures. It may be run as often as one likes, and says what it did. Run it after each deployment, and each day: Pluggy
tells nobody when it gives a webhook up, and its Dashboard can register none with a header.

  scripts/webhooks -url https://HOST/webhook

In the environment,
  PLUGGY_CLIENT_ID, PLUGGY_CLIENT_SECRET   from Pluggy's Dashboard
  PLUGGY_WEBHOOK_SECRET                    that the webhook function accepts; at least 24 letters, digits, - or _
  WEBHOOK_URL, or PUBLIC_URL               of the webhook function, where -url is left out
  PLUGGY_URL                               another address than Pluggy's own

To exchange the secret, give the function the old one as PLUGGY_WEBHOOK_SECRET_OLD beside the new one, deploy it, run this, and take
the old one away a day later: until then Pluggy repeats what it could not deliver.

`

// patience bounds the whole run.
const patience = time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "webhooks:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) error {
	var at string
	f := flag.NewFlagSet("webhooks", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&at, "url", "", "where the webhook function is reached")
	f.Usage = func() {
		fmt.Fprint(stderr, usage)
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected %q; see scripts/webhooks -help", f.Arg(0))
	}
	if at = address(at, env); at == "" {
		return errors.New("say where the webhook function is reached: -url, WEBHOOK_URL or PUBLIC_URL")
	}
	if env("PLUGGY_WEBHOOK_SECRET") == "" {
		return errors.New("PLUGGY_WEBHOOK_SECRET is needed: the secret that the webhook function accepts")
	}
	p, err := pluggy.New(pluggy.Config{
		Environment: pluggy.Production, BaseURL: env("PLUGGY_URL"), ClientID: env("PLUGGY_CLIENT_ID"), ClientSecret: secret.New(env("PLUGGY_CLIENT_SECRET")),
		WebhookSecrets: []secret.String{secret.New(env("PLUGGY_WEBHOOK_SECRET"))},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	did, err := p.Register(ctx, at+"/"+p.Name())
	for _, line := range did {
		fmt.Fprintln(stdout, "Pluggy:", line)
	}
	if err == nil && len(did) == 0 {
		fmt.Fprintf(stdout, "Pluggy: %s/%s is registered and enabled; nothing to do.\n", at, p.Name())
	}
	return err
}

// address is that of the webhook function, without a slash at its end.
func address(given string, env func(string) string) string {
	if given == "" {
		given = env("WEBHOOK_URL")
	}
	if public := strings.TrimSuffix(env("PUBLIC_URL"), "/"); given == "" && public != "" {
		given = public + "/webhook"
	}
	return strings.TrimSuffix(given, "/")
}
