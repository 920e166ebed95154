package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
)

// sort says what an orphan is.
type sort string

const (
	handle sort = "handle" // of a session, in the vault: worthless, once the session has ended
	token  sort = "token"  // of an item at the provider, in the vault: a live consent that nobody sees
	lost   sort = "lost"   // a session whose item is at the provider, and whose token nobody has
)

// orphan is something that belongs to nobody.
type orphan struct {
	sort     sort
	id       string // of the session or connection
	provider string // "" where nothing tells it
	why      string
}

func orphansList(*flag.FlagSet) func(context.Context, *operator, []string) error {
	return func(ctx context.Context, o *operator, rest []string) error {
		if err := one(rest, 0, "nothing more"); err != nil {
			return err
		}
		found, err := o.orphans(ctx)
		if err != nil {
			return err
		}
		return o.listOrphans(found)
	}
}

func (o *operator) listOrphans(found []orphan) error {
	if len(found) == 0 {
		o.say("There are no orphans.")
		return nil
	}
	w := tabwriter.NewWriter(o.out, 0, 4, 2, ' ', 0)
	for _, x := range found {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", x.sort, x.id, cmp.Or(x.provider, "?"), x.why)
	}
	return w.Flush()
}

// orphans finds all of them.
func (o *operator) orphans(ctx context.Context) ([]orphan, error) {
	handles, err := o.orphanHandles(ctx)
	if err != nil {
		return nil, err
	}
	tokens, err := o.orphanTokens(ctx)
	if err != nil {
		return nil, err
	}
	found := append(handles, tokens...)
	err = each(ctx, o, store.Sessions, func(s *bank.Session) error {
		if s.State == bank.Lost {
			found = append(found, orphan{lost, s.ID, s.Provider, fmt.Sprintf("of %s at %s, ended %s: its item can be removed by the provider's support only", s.Email, cmp.Or(s.At, "an unknown bank"), o.ago(s.Ended))})
		}
		return nil
	})
	return found, err
}

// names calls do with the ids behind every name in the vault that begins with the prefix, a page at a time.
func (o *operator) names(ctx context.Context, prefix string, do func(ids []string) error) error {
	v, err := o.app.Vault()
	if err != nil {
		return err
	}
	for after := ""; ; {
		names, err := v.List(ctx, prefix, after)
		if err != nil || len(names) == 0 {
			return err
		}
		ids := make([]string, len(names))
		for i, name := range names {
			ids[i] = strings.TrimPrefix(name, prefix)
		}
		if err := do(ids); err != nil {
			return err
		}
		after = names[len(names)-1]
	}
}

func (o *operator) orphanHandles(ctx context.Context) (found []orphan, err error) {
	s, err := o.app.Store()
	if err != nil {
		return nil, err
	}
	err = o.names(ctx, vault.SessionHandle(""), func(ids []string) error {
		documents, err := s.Get(ctx, store.Sessions.Name, ids...)
		if err != nil {
			return err
		}
		for i, d := range documents {
			session, err := store.Sessions.Decode(d)
			switch {
			case errors.Is(err, store.ErrNotFound):
				found = append(found, orphan{handle, ids[i], "", "its session was never written down, or is forgotten"})
			case err != nil:
				return err
			case session.State.Final():
				found = append(found, orphan{handle, ids[i], session.Provider, "its session has ended: " + string(session.State)})
			}
		}
		return nil
	})
	return found, err
}

func (o *operator) orphanTokens(ctx context.Context) (found []orphan, err error) {
	s, err := o.app.Store()
	if err != nil {
		return nil, err
	}
	err = o.names(ctx, vault.ConnectionToken(""), func(ids []string) error {
		documents, err := s.Get(ctx, store.Connections.Name, ids...)
		if err != nil {
			return err
		}
		for i, d := range documents {
			x, err := o.orphanToken(ctx, s, ids[i], d)
			if err != nil {
				return err
			}
			if x != nil {
				found = append(found, *x)
			}
		}
		return nil
	})
	return found, err
}

// orphanToken judges one token; nil where it belongs to a connection, or to a session that is making one.
func (o *operator) orphanToken(ctx context.Context, s store.Reader, id string, d store.Document) (*orphan, error) {
	c, err := store.Connections.Decode(d)
	missing := errors.Is(err, store.ErrNotFound)
	switch {
	case err != nil && !missing:
		return nil, err
	case !missing && c.State != bank.Disconnected:
		return nil, nil
	}
	sessions, err := store.Sessions.Find(ctx, s, store.Query{Field: store.ByConnection, Any: []string{id}})
	if err != nil {
		return nil, err
	}
	x := &orphan{sort: token, id: id, why: "its connection does not exist"}
	if !missing {
		x.provider, x.why = c.Provider, "its connection is disconnected"
	}
	for _, session := range sessions {
		if !session.State.Final() {
			return nil, nil
		}
		x.provider = session.Provider
	}
	return x, nil
}

func orphansRetire(f *flag.FlagSet) func(context.Context, *operator, []string) error {
	do := f.Bool("do", false, doesIt)
	wait := f.Duration("wait", 90*time.Second, "between the first look and the second: what was only being written is no orphan by then")
	provider := f.String("provider", "", "of tokens for which nothing tells whose they are")
	session := f.String("lost", "", "forget this lost session: the provider's support has removed its item")
	return func(ctx context.Context, o *operator, rest []string) error {
		if err := one(rest, 0, "nothing more"); err != nil {
			return err
		}
		if *session != "" {
			return o.forget(ctx, *session, *do)
		}
		found, err := o.orphans(ctx)
		if err != nil {
			return err
		}
		if !*do {
			o.say("%d orphans, of which the lost stay. %s", len(found), dryRunEnd)
			return o.listOrphans(found)
		}
		if len(found) == 0 {
			return o.listOrphans(found)
		}
		if err := o.sleep(ctx, *wait); err != nil {
			return err
		}
		return o.retire(ctx, found, *provider)
	}
}

// retire ends what is still an orphan at the second look, and goes on after one that cannot be ended.
func (o *operator) retire(ctx context.Context, before []orphan, provider string) error {
	again, err := o.orphans(ctx)
	if err != nil {
		return err
	}
	still := map[orphan]bool{}
	for _, x := range again {
		still[orphan{sort: x.sort, id: x.id}] = true
	}
	retired, left := 0, 0
	for _, x := range before {
		if !still[orphan{sort: x.sort, id: x.id}] {
			continue
		}
		if x.sort == lost {
			left++
			o.say("%s %s stays: ask %s to remove its item, then give -lost %s.", x.sort, x.id, x.provider, x.id)
			continue
		}
		if err := o.end(ctx, x, provider); err != nil {
			left++
			o.say("%s %s stays: %v", x.sort, x.id, err)
			continue
		}
		retired++
		o.say("%s %s is retired.", x.sort, x.id)
	}
	o.say("%d retired, %d left.", retired, left)
	if left > 0 {
		return errors.New("some orphans are left")
	}
	return nil
}

// end destroys a handle, or removes an item at its provider and then destroys its token: in this order, since a consent whose
// token is gone can be revoked by nobody.
func (o *operator) end(ctx context.Context, x orphan, provider string) error {
	v, err := o.app.Vault()
	if err != nil {
		return err
	}
	if x.sort == handle {
		return v.Destroy(ctx, vault.SessionHandle(x.id))
	}
	banks, err := o.app.Banks()
	if err != nil {
		return err
	}
	p := banks[cmp.Or(x.provider, provider)]
	if p == nil {
		return fmt.Errorf("nothing tells its provider, or %q is not configured; say it with -provider", cmp.Or(x.provider, provider))
	}
	secret, err := v.Get(ctx, vault.ConnectionToken(x.id))
	if err != nil && !errors.Is(err, vault.ErrNotFound) {
		return err
	}
	if err == nil {
		if err := p.Remove(ctx, secret); err != nil {
			return fmt.Errorf("remove the item: %w", err)
		}
	}
	return v.Destroy(ctx, vault.ConnectionToken(x.id))
}

// forget deletes a lost session, which otherwise is kept for ever.
func (o *operator) forget(ctx context.Context, id string, do bool) error {
	s, err := o.app.Store()
	if err != nil {
		return err
	}
	return s.Update(ctx, func(tx store.Tx) error {
		session, err := store.Sessions.Load(tx, id)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("there is no session %s", id)
		}
		if err != nil {
			return err
		}
		if session.State != bank.Lost {
			return fmt.Errorf("the session %s is %s, not lost", id, session.State)
		}
		if !do {
			o.say("The session %s would be forgotten. %s", id, dryRunEnd)
			return nil
		}
		tx.Delete(store.Sessions.Name, id)
		o.say("The session %s is forgotten.", id)
		return nil
	})
}
