// Package remove ends one Integration: nothing more is recorded into that Book from that bank account. The Connection stays.
package remove

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/bkper/automations-portal/shared/access"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/web"
)

// Remove serves the function.
type Remove struct {
	Store store.Store
	Books access.BookReader
	Edge  *web.Edge
	Now   func() time.Time
	Sleep func(context.Context, time.Duration) error
}

// Handler serves the function.
func (f *Remove) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/{$}", web.Post(f.Edge, "remove", f.remove))
	mux.Handle("/", f.Edge.Nothing())
	return mux
}

// Request names the integration.
type Request struct {
	Integration string `json:"integration"`
}

// Response says whether the integration is silent already.
type Response struct {
	State   string `json:"state"` // "removed", or "stopping": ask again
	Message string `json:"message"`
}

// Status is 202 while the integration is stopping.
func (r Response) Status() int {
	if r.State == "stopping" {
		return http.StatusAccepted
	}
	return http.StatusOK
}

func (f *Remove) remove(ctx context.Context, who caller.Caller, r Request) (Response, error) {
	seen, err := f.mayRemove(ctx, who, r.Integration)
	if err != nil {
		return Response{}, err
	}
	var i *bank.Integration
	var mark int64
	err = f.Store.Update(ctx, func(tx store.Tx) error {
		if i, err = store.Integrations.Load(tx, seen.ID); err != nil {
			return err
		}
		if i.Connection != seen.Connection { // another one feeds it by now, whose owner need not be the caller
			return access.NoIntegration()
		}
		e, err := posting.Load(tx, i.Connection)
		if err != nil {
			return err
		}
		if mark = e.Config; i.State == bank.Removed {
			return nil
		}
		mark = e.Mark(time.Time{})
		i.State, i.Updated = bank.Removed, f.Now()
		return errors.Join(posting.Engines.Put(tx, e), store.Integrations.Put(tx, i))
	})
	if err != nil {
		return Response{}, err
	}
	// Only once no process can still write is "removed" the truth.
	stopped, err := posting.AwaitStop(ctx, f.Store, i.Connection, mark, f.Now, f.Sleep)
	if err != nil {
		return Response{}, err
	}
	if !stopped {
		return Response{"stopping", "Being removed: a transaction may still arrive within the next two minutes. Ask again to be sure."}, nil
	}
	return Response{"removed", "Removed: nothing more is recorded. What was recorded stays, and the connection too."}, nil
}

// mayRemove finds an integration that the caller may end: an editor of its Book, or the owner of its connection.
func (f *Remove) mayRemove(ctx context.Context, who caller.Caller, id string) (*bank.Integration, error) {
	if err := access.ID("/integration", id); err != nil {
		return nil, err
	}
	i, err := store.Integrations.Get(ctx, f.Store, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, access.NoIntegration()
	}
	if err != nil {
		return nil, err
	}
	_, err = access.Own(ctx, f.Store, who, i.Connection)
	var p *web.Problem
	if err == nil || !errors.As(err, &p) {
		return i, err
	}
	if _, err = access.EditBook(ctx, f.Books, who, i.Book); errors.As(err, &p) && p.Status == http.StatusNotFound {
		return nil, access.NoIntegration()
	}
	return i, err
}
