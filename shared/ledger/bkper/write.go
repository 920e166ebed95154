package bkper

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/secret"
)

// batches are the calls of the operations. Trash and Revive are void at Bkper: they return nothing.
var batches = map[ledger.Operation]struct {
	method, path string
	wire         func(*ledger.Transaction) (transaction, error)
}{
	ledger.Create: {http.MethodPost, "/transactions/batch", created},
	ledger.Update: {http.MethodPut, "/transactions/batch", updated},
	ledger.Trash:  {http.MethodPatch, "/transactions/trash/batch", named},
	ledger.Revive: {http.MethodPatch, "/transactions/untrash/batch", named},
}

// Write implements ledger.Ledger. Checked transactions are left as they are by Update and Trash: they are missing in
// Update's answer. Trash and Revive return nothing.
func (c *Client) Write(ctx context.Context, token secret.String, book string, op ledger.Operation, batch []ledger.Transaction) ([]ledger.Transaction, error) {
	how, ok := batches[op]
	if !ok || len(batch) > ledger.MaxBatch {
		return nil, &bank.Error{Kind: bank.OurFault, Code: "malformed_batch", Err: fmt.Errorf("%d rows to %q", len(batch), op)}
	}
	path, err := bookPath(book, how.path)
	if err != nil || len(batch) == 0 {
		return nil, err
	}
	send, err := rows(op, batch, how.wire)
	if err != nil {
		return nil, err
	}
	var answer list
	err = c.do(ctx, token, call{method: how.method, path: path, body: send, into: &answer})
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, c.blame(ctx, token, book, err)
	}
	if err != nil {
		return nil, err
	}
	return answer.read()
}

// blame tells a Book that is gone from a row that names an Account or transaction which is gone: Bkper answers both alike.
func (c *Client) blame(ctx context.Context, token secret.String, book string, missing error) error {
	_, err := c.book(ctx, token, book, nil)
	switch {
	case err == nil:
		return permanent(bank.CodeOf(missing), ledger.ErrRefused)
	case errors.Is(err, ledger.ErrNotFound):
		return missing
	}
	return err
}

// rows leaves out new transactions whose remote id came before in the same batch: what Bkper does with them is not known,
// and two records for one remote id must never stand.
func rows(op ledger.Operation, batch []ledger.Transaction, wire func(*ledger.Transaction) (transaction, error)) (list, error) {
	seen := map[string]bool{}
	var l list
	for i := range batch {
		twice := false
		for _, id := range batch[i].RemoteIDs {
			twice = twice || seen[id]
			seen[id] = true
		}
		if twice && op == ledger.Create {
			continue
		}
		row, err := wire(&batch[i])
		if err != nil {
			return list{}, err
		}
		l.Items = append(l.Items, row)
	}
	return l, nil
}

// created always says draft: without it a Book that posts automatically would post a complete record, and a person would
// find it posted instead of proposed.
func created(t *ledger.Transaction) (transaction, error) {
	w, err := whole(t)
	w.Draft = true
	return w, err
}

func updated(t *ledger.Transaction) (transaction, error) {
	if t.ID == "" {
		return transaction{}, &bank.Error{Kind: bank.OurFault, Code: "malformed_batch", Err: errors.New("an update without id")}
	}
	w, err := whole(t)
	w.ID, w.Draft = text(t.ID), !t.Posted
	return w, err
}

func named(t *ledger.Transaction) (transaction, error) {
	if t.ID == "" {
		return transaction{}, &bank.Error{Kind: bank.OurFault, Code: "malformed_batch", Err: errors.New("a row without id")}
	}
	return transaction{ID: text(t.ID)}, nil
}
