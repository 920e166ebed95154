package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/sethvargo/go-envconfig"

	"github.com/bkper/automations-portal/functions/app"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/config"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
)

// repointer is a provider whose items each have a webhook of their own.
type repointer interface {
	Repoint(ctx context.Context, token secret.String, webhook string) error
}

const (
	perPage   = 500
	doesIt    = "do it; without, only say what would be done"
	dryRunEnd = "Nothing was changed; give -do to do it."
)

func repoint(f *flag.FlagSet) func(context.Context, *operator, []string) error {
	do := f.Bool("do", false, doesIt)
	only := f.String("provider", "", "of this provider alone")
	return func(ctx context.Context, o *operator, rest []string) error {
		if err := one(rest, 1, "the URL of the webhook function, such as https://banks.example.com/webhook"); err != nil {
			return err
		}
		at, err := url.Parse(strings.TrimSuffix(rest[0], "/"))
		if err != nil || at.Scheme != "https" || at.Host == "" || at.RawQuery != "" {
			return fmt.Errorf("%w: providers call https URLs, without a query", errUsage)
		}
		banks, err := o.app.Banks()
		if err != nil {
			return err
		}
		if *only != "" && banks[*only] == nil {
			return fmt.Errorf("%w: the providers are %s", errUsage, strings.Join(slices.Sorted(maps.Keys(banks)), ", "))
		}
		return o.repoint(ctx, at.String(), banks, *only, *do)
	}
}

// repoint goes on after an item that cannot be pointed elsewhere.
func (o *operator) repoint(ctx context.Context, at string, banks map[string]bank.Provider, only string, do bool) error {
	v, err := o.app.Vault()
	if err != nil {
		return err
	}
	done, failed, without := 0, 0, map[string]int{}
	err = each(ctx, o, store.Connections, func(c *bank.Connection) error {
		alive := c.State == bank.Active || c.State == bank.NeedsUser
		if !alive || only != "" && c.Provider != only {
			return nil
		}
		provider, can := banks[c.Provider].(repointer)
		if !can {
			without[c.Provider]++
			return nil
		}
		if !do {
			done++
			return nil
		}
		token, err := v.Get(ctx, vault.ConnectionToken(c.ID))
		if err == nil {
			err = provider.Repoint(ctx, token, at+"/"+c.Provider)
		}
		if err != nil {
			failed++
			o.say("%s (%s): %v", c.ID, c.Institution.Name, err)
			return ctx.Err()
		}
		done++
		return nil
	})
	for _, name := range slices.Sorted(maps.Keys(without)) {
		o.say("Left out: %d connections of %s, whose items have no webhook of their own: scripts/webhooks tells it once, for all.", without[name], name)
	}
	switch {
	case err != nil:
		return err
	case !do:
		o.say("%d connections would be pointed to %s/PROVIDER. %s", done, at, dryRunEnd)
	default:
		o.say("%d connections point to %s/PROVIDER, %d could not be changed.", done, at, failed)
	}
	if failed > 0 {
		return errors.New("some could not be changed; call this again")
	}
	return nil
}

// each calls do with every document of a kind.
func each[T any](ctx context.Context, o *operator, k store.Kind[T], do func(*T) error) error {
	s, err := o.app.Store()
	if err != nil {
		return err
	}
	for q := (store.Query{Limit: perPage}); ; {
		some, err := k.Find(ctx, s, q)
		if err != nil {
			return err
		}
		for _, v := range some {
			if err := do(v); err != nil {
				return err
			}
		}
		if len(some) < q.Limit {
			return nil
		}
		q.After = k.ID(some[len(some)-1])
	}
}

// maxSecret bounds what is read of the standard input.
const maxSecret = 4 << 10

func rotate(*flag.FlagSet) func(context.Context, *operator, []string) error {
	return func(ctx context.Context, o *operator, rest []string) error {
		if err := one(rest, 2, "which provider and which of its settings, such as plaid PLAID_SECRET; the new secret comes by the standard input, where no history keeps it"); err != nil {
			return err
		}
		name, variable := rest[0], rest[1]
		if !isSecret(variable) {
			return fmt.Errorf("%w: %s is no secret of the configuration", errUsage, variable)
		}
		text, err := io.ReadAll(io.LimitReader(o.in, maxSecret))
		if err != nil {
			return err
		}
		found := secret.New(strings.TrimSpace(string(text)))
		if found.Empty() {
			return fmt.Errorf("%w: the standard input is empty", errUsage)
		}
		p, err := o.with(ctx, name, variable, found)
		if err != nil {
			return err
		}
		if strings.HasSuffix(variable, ofWebhooks) {
			o.howToRotateWebhooks(name, variable)
			return nil
		}
		if _, err := p.Institutions(ctx, p.Countries()[0], ""); err != nil {
			return fmt.Errorf("%s does not take the new secret, so the old one must stay: %w", name, err)
		}
		o.howToRotate(name, variable)
		return nil
	}
}

// ofWebhooks ends the name of a secret that we choose, and the provider sends with its webhooks.
const ofWebhooks = "_WEBHOOK_SECRET"

func isSecret(variable string) bool {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[config.Config]()) {
		if name, _, _ := strings.Cut(f.Tag.Get("env"), ","); name == variable {
			return f.Type == reflect.TypeFor[secret.String]()
		}
	}
	return false
}

// with is a provider that uses another secret.
func (o *operator) with(ctx context.Context, name, variable string, s secret.String) (bank.Provider, error) {
	env := envconfig.MultiLookuper(envconfig.MapLookuper(map[string]string{"FUNCTION_TARGET": self, variable: s.Reveal()}), o.env)
	cfg, err := config.Read(ctx, env)
	if err != nil {
		return nil, err
	}
	banks, err := app.New(cfg, slog.New(slog.DiscardHandler)).Banks()
	if err != nil {
		return nil, err
	}
	if banks[name] == nil {
		return nil, fmt.Errorf("%w: the providers are %s", errUsage, strings.Join(slices.Sorted(maps.Keys(banks)), ", "))
	}
	return banks[name], nil
}

func (o *operator) howToRotate(name, variable string) {
	o.say("%s takes the new secret. Put it in place, and take the old one away last:", name)
	o.say("  1. gcloud secrets versions add %s --data-file=-    and give it the secret by the standard input", variable)
	o.say("  2. deploy again: processes read their secrets when they start")
	o.say("  3. scripts/smoke URL, and an hour without alerts: connections are read with the new one")
	o.say("  4. end the old secret at %s, and gcloud secrets versions destroy OLD --secret=%s", name, variable)
}

func (o *operator) howToRotateWebhooks(name, variable string) {
	o.say("The secret can be used. It is one of ours, so %s knows it once it is told:", name)
	o.say("  1. name %s_OLD among the webhook_secrets of your variables; scripts/deploy asks for its value: give it the present secret", variable)
	o.say("  2. gcloud secrets versions add %s --data-file=-    and give it the new one by the standard input", variable)
	o.say("  3. scripts/deploy: webhooks with either are taken")
	o.say("  4. scripts/webhooks, with the new one in its environment: %s sends it from then on", name)
	o.say("  5. after a day, take %s_OLD away from your variables and deploy again", variable)
}
