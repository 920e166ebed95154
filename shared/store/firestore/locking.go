package firestore

import (
	"context"
	"fmt"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/internal/txn"
)

// rollbackTime is the longest that one call for a rollback may take.
const rollbackTime = 5 * time.Second

// locking runs body once in a transaction that locks what it reads; before is the one that was aborted, on whose behalf
// Firestore gives it precedence. It gives the transaction's id.
func (s *Store) locking(ctx context.Context, before []byte, body func(store.Tx) error) (id []byte, err error) {
	id, err = s.begin(ctx, before)
	if err != nil {
		return before, fmt.Errorf("update: %w", ended(ctx, err))
	}
	committed := false
	defer func() {
		if !committed {
			s.rollback(ctx, id)
		}
	}()
	t := &tx{store: s, ctx: ctx, id: id}
	writes, err := t.Done(body(t))
	switch {
	case t.aborted != nil:
		// Whatever the body made of it: it has not seen what it must see to decide anything.
		return id, fmt.Errorf("%w: %w", errContention, t.aborted)
	case err != nil:
		return id, err
	case ctx.Err() != nil:
		return id, fmt.Errorf("update: %w", ctx.Err())
	}
	// Without writes too: only then are the locks gone and the reads known to be of one state.
	request := &pb.CommitRequest{Transaction: id}
	for _, w := range writes {
		request.Writes = append(request.Writes, s.write(w))
	}
	err = s.commit(ctx, request)
	committed = err == nil
	return id, err
}

func (s *Store) begin(ctx context.Context, before []byte) (id []byte, err error) {
	c, err := s.connected(ctx)
	if err != nil {
		return nil, err
	}
	mode := &pb.TransactionOptions_ReadWrite_{ReadWrite: &pb.TransactionOptions_ReadWrite{RetryTransaction: before}}
	answer, err := c.BeginTransaction(s.routed(ctx), &pb.BeginTransactionRequest{
		Database: s.database, Options: &pb.TransactionOptions{Mode: mode},
	})
	return answer.GetTransaction(), err
}

// rollback frees the locks at once. Where it fails, Firestore does so after a minute.
func (s *Store) rollback(ctx context.Context, id []byte) {
	c, err := s.connected(ctx)
	if err != nil {
		return
	}
	calling, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
	defer cancel()
	_ = c.Rollback(s.routed(calling), &pb.RollbackRequest{Database: s.database, Transaction: id})
}

// tx is the transaction of one run of a body.
type tx struct {
	txn.Writes
	store   *Store
	ctx     context.Context
	id      []byte
	aborted error
}

func (t *tx) Get(kind string, ids ...string) ([]store.Document, error) {
	if err := t.Reading(); err != nil {
		return nil, err
	}
	in := &pb.BatchGetDocumentsRequest_Transaction{Transaction: t.id}
	found, _, err := t.store.get(t.ctx, &pb.BatchGetDocumentsRequest{ConsistencySelector: in}, kind, ids)
	t.note(err)
	return found, err
}

func (t *tx) Find(q store.Query) ([]store.Document, error) {
	if err := t.Reading(); err != nil {
		return nil, err
	}
	in := &pb.RunQueryRequest_Transaction{Transaction: t.id}
	found, err := t.store.find(t.ctx, &pb.RunQueryRequest{ConsistencySelector: in}, q)
	t.note(err)
	return found, err
}

// note keeps what became of a read.
func (t *tx) note(err error) {
	t.Failed(err)
	if status.Code(err) == codes.Aborted {
		t.aborted = err
	}
}
