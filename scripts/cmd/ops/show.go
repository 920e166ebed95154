package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
	"github.com/bkper/automations-portal/shared/view"
)

func show(*flag.FlagSet) func(context.Context, *operator, []string) error {
	return func(ctx context.Context, o *operator, rest []string) error {
		if err := one(rest, 1, "which connection"); err != nil {
			return err
		}
		return o.show(ctx, rest[0])
	}
}

// connection finds one by its id or by what the provider calls it.
func (o *operator) connection(ctx context.Context, name string) (*bank.Connection, error) {
	s, err := o.app.Store()
	if err != nil {
		return nil, err
	}
	if !strings.Contains(name, "/") {
		c, err := store.Connections.Get(ctx, s, name)
		if errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("there is no connection %s", name)
		}
		return c, err
	}
	found, err := store.Connections.Find(ctx, s, store.Query{Field: store.ByItem, Any: []string{name}, Limit: 1})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("there is no connection with the item %s", name)
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

func (o *operator) show(ctx context.Context, name string) error {
	c, err := o.connection(ctx, name)
	if err != nil {
		return err
	}
	s, err := o.app.Store()
	if err != nil {
		return err
	}
	e, err := posting.Engines.Get(ctx, s, c.ID)
	if errors.Is(err, store.ErrNotFound) {
		e, err = &posting.Engine{Connection: c.ID}, nil
	}
	if err != nil {
		return err
	}
	linked, err := store.Integrations.Find(ctx, s, store.Query{Field: store.ByConnection, Any: []string{c.ID}})
	if err != nil {
		return err
	}
	sessions, err := store.Sessions.Find(ctx, s, store.Query{Field: store.ByConnection, Any: []string{c.ID}})
	if err != nil {
		return err
	}
	token, err := o.kept(ctx, vault.ConnectionToken(c.ID))
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(o.out, 0, 4, 2, ' ', 0)
	o.showConnection(w, c, token)
	o.showEngine(w, e)
	for _, i := range linked {
		o.showIntegration(w, i, c, e)
	}
	for _, x := range sessions {
		fmt.Fprintf(w, "session\t%s, to %s, %s, begun %s, ended %s\n", x.ID, x.Purpose, x.State, o.ago(x.Created), o.ago(x.Ended))
	}
	return w.Flush()
}

// kept tells whether the vault has a secret, without reading it.
func (o *operator) kept(ctx context.Context, name string) (bool, error) {
	v, err := o.app.Vault()
	if err != nil {
		return false, err
	}
	names, err := v.List(ctx, name, "")
	return slices.Contains(names, name), err
}

func (o *operator) showConnection(w *tabwriter.Writer, c *bank.Connection, token bool) {
	reason, has := "", map[bool]string{true: "in the vault", false: "not in the vault"}[token]
	if c.Reason != "" {
		reason = ", because of " + c.Reason
	}
	fmt.Fprintf(w, "connection\t%s\nstate\t%s%s\nowner\t%s\nbank\t%s (%s), %s\nitem\t%s/%s\ntoken\t%s\n",
		c.ID, c.State, reason, c.Email, c.Institution.Name, c.Institution.ID, c.Country, c.Provider, c.Item, has)
	fmt.Fprintf(w, "consent ends\t%s\ncreated\t%s\nchanged\t%s\noffered to\t%s\n", o.ago(c.ConsentExpires), o.ago(c.Created), o.ago(c.Updated), strings.Join(c.Offered, ", "))
	for _, a := range c.Accounts {
		gone := ""
		if a.Gone {
			gone = ", no longer named by the bank"
		}
		fmt.Fprintf(w, "account\t%s %s, %s, %s, key %s%s\n", a.Name, a.Mask, a.Type, a.Currency, a.Key, gone)
	}
}

func (o *operator) showEngine(w *tabwriter.Writer, e *posting.Engine) {
	fmt.Fprintf(w, "due\t%s\nread to the end\t%s\nstate looked at\t%s\n", o.ago(e.Due), o.ago(e.Synced), o.ago(e.Looked))
	if e.Lease.Held(o.now()) {
		fmt.Fprintf(w, "lease\theld until %s, the %d. holder\n", o.ago(e.Lease.Until), e.Lease.Fence)
	} else {
		fmt.Fprintf(w, "lease\tfree, after %d holders\n", e.Lease.Fence)
	}
	fmt.Fprintf(w, "rings\t%d, of which %d were heard before the last read\n", e.Asked, e.Reading)
	if e.Failures > 0 {
		fmt.Fprintf(w, "failures\t%d in a row, the last one %s\n", e.Failures, cmp.Or(e.Failure, "without a code"))
	}
	fmt.Fprintf(w, "cursor\t%s\n", map[bool]string{true: "set", false: "none: history is read from its beginning"}[e.Cursor != ""])
	if r := e.Read; r != nil {
		fmt.Fprintf(w, "reading\tattempt %d, replay %v, for %d integrations that lack history\n", r.No, r.Replay, len(r.Serves))
	}
	for _, s := range e.Open {
		fmt.Fprintf(w, "writing\t%d rows into the Book %s, which has not been heard yet\n", len(s.Rows), s.Book)
	}
}

func (o *operator) showIntegration(w *tabwriter.Writer, i *bank.Integration, c *bank.Connection, e *posting.Engine) {
	v := view.OfIntegration(i, c, e)
	fmt.Fprintf(w, "integration\t%s: %s %s into %s (%s) of the Book %s (%s), from %s, as %s\n", i.ID, i.Of.Name, i.Of.Mask, i.AccountTag, i.Account, i.BookName, i.Book, i.From, i.AsEmail)
	fmt.Fprintf(w, "\t%s: %s\n", v.Status, v.Message)
	p := v.Progress
	fmt.Fprintf(w, "\t%d recorded, the last one %s; %d kept aside, %d flagged, %d vanished; oldest of the bank %s, history complete %v, wanted %d, had %d\n",
		p.Recorded, o.ago(p.Last), p.Aside, p.Flagged, p.Vanished, p.Oldest, p.Complete, i.Want, i.Have)
}
