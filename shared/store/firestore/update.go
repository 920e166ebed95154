package firestore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bkper/automations-portal/shared/store"
)

// The pauses between two runs of a contended body are random and grow up to these.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
)

// commitTime is the longest that one call for a commit may take.
const commitTime = 60 * time.Second

var (
	// errContention: others changed what a body read, or hold it; it is run again.
	errContention = errors.New("contention")
	// errLock: a body cannot do without locks.
	errLock = errors.New("this is only done under locks")
)

// Update runs body without locks, on documents as they were at one moment, and commits on condition that none of those that
// it read has changed since: many short updates of one document then hold each other up by no more than a run, where under
// locks, which everyone who has read holds until one gives way, they stand still. No condition can say that a query still
// finds the same, so a body that calls Find is run anew from the start in a transaction that locks what it reads, and so is
// one that reads far more than it writes: see maxVerified. Commits of either sort wait for such locks, and those who hold
// them see no commit of either sort. A body that calls Update for documents that it has locked waits for itself.
func (s *Store) Update(ctx context.Context, body func(store.Tx) error) error {
	err := untilAlone(ctx, func() error { return s.optimistic(ctx, body) })
	if !errors.Is(err, errLock) {
		return err
	}
	var before []byte
	return untilAlone(ctx, func() (err error) {
		before, err = s.locking(ctx, before, body)
		return err
	})
}

// untilAlone repeats attempts until one was not spoilt by contention.
func untilAlone(ctx context.Context, attempt func() error) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := attempt()
		if !errors.Is(err, errContention) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("update: %w: %w", ctx.Err(), err)
		case <-time.After(rand.N(pause)):
		}
	}
}

// commit makes one call and sorts its errors.
func (s *Store) commit(ctx context.Context, request *pb.CommitRequest) error {
	c, err := s.connected(ctx)
	if err != nil {
		return err
	}
	request.Database = s.database
	calling, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	_, err = c.Commit(s.routed(calling), request)
	switch {
	case err == nil:
		return nil
	case contended(request, err):
		return fmt.Errorf("%w: %w", errContention, err)
	case len(request.Writes) > 0 && open(err):
		return fmt.Errorf("update: %w: %w", store.ErrUnknown, ended(ctx, err))
	}
	return fmt.Errorf("update: %w", ended(ctx, err))
}

// contended reports whether a commit was refused because of what others did. The codes of a condition that does not hold
// mean something else where no condition was set.
func contended(request *pb.CommitRequest, err error) bool {
	switch status.Code(err) {
	case codes.Aborted:
		return true
	case codes.FailedPrecondition, codes.AlreadyExists, codes.NotFound:
		return slices.ContainsFunc(request.Writes, func(w *pb.Write) bool { return w.CurrentDocument != nil })
	}
	return false
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
