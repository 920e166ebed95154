package firestore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/internal/txn"
)

// The pauses between two runs of a contended transaction are random and grow up to these.
const (
	firstPause = 30 * time.Millisecond
	lastPause  = 2 * time.Second
)

// The longest that one call for a commit and for a rollback may take.
const (
	commitTime   = 60 * time.Second
	rollbackTime = 5 * time.Second
)

// errAborted marks what contention did to a transaction, so that it is run again.
var errAborted = errors.New("aborted by contention")

// Update runs body in transactions until one was not aborted. Firestore holds locks on what a body reads; a body that calls
// Update for the same documents waits for itself.
func (s *Store) Update(ctx context.Context, body func(store.Tx) error) error {
	var before []byte
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		id, err := s.attempt(ctx, before, body)
		if !errors.Is(err, errAborted) {
			return err
		}
		before = id
		select {
		case <-ctx.Done():
			return fmt.Errorf("update: %w: %w", ctx.Err(), err)
		case <-time.After(rand.N(pause)):
		}
	}
}

// attempt runs body in one transaction; before is the one that was aborted, on whose behalf Firestore gives it precedence.
// It gives the transaction's id.
func (s *Store) attempt(ctx context.Context, before []byte, body func(store.Tx) error) (id []byte, err error) {
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
		return id, fmt.Errorf("%w: %w", errAborted, t.aborted)
	case err != nil:
		return id, err
	case ctx.Err() != nil:
		return id, fmt.Errorf("update: %w", ctx.Err())
	}
	err = s.commit(ctx, id, writes)
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

// commit is called without writes too: only then are the locks gone and the reads known to be of one state.
func (s *Store) commit(ctx context.Context, id []byte, writes []txn.Write) error {
	c, err := s.connected(ctx)
	if err != nil {
		return err
	}
	request := &pb.CommitRequest{Database: s.database, Transaction: id}
	for _, w := range writes {
		request.Writes = append(request.Writes, s.write(w))
	}
	calling, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	_, err = c.Commit(s.routed(calling), request)
	switch {
	case err == nil:
		return nil
	case status.Code(err) == codes.Aborted:
		return fmt.Errorf("%w: %w", errAborted, err)
	case len(writes) > 0 && open(err):
		return fmt.Errorf("update: %w: %w", store.ErrUnknown, ended(ctx, err))
	}
	return fmt.Errorf("update: %w", ended(ctx, err))
}

// open reports whether a commit that failed like this may have taken place. The other codes are Firestore's own refusals
// (https://cloud.google.com/firestore/docs/understand-error-codes).
func open(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Unknown, codes.Internal, codes.DataLoss:
		return true
	}
	return false
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
	found, err := t.store.get(t.ctx, &pb.BatchGetDocumentsRequest{ConsistencySelector: in}, kind, ids)
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
