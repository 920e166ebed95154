package firestore

import (
	"context"
	"fmt"
	"maps"
	"slices"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/internal/txn"
)

// maxVerified is how many documents that were read and not written one commit verifies. With the most that a transaction may
// write, their names still fit into the 4 MiB that the emulator takes.
const maxVerified = 500

// optimistic runs body once without locks. A body that writes nothing has read one state and needs no commit.
func (s *Store) optimistic(ctx context.Context, body func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	t := &snapshot{store: s, ctx: ctx, versions: map[string]*timestamppb.Timestamp{}}
	writes, err := t.Done(body(t))
	switch {
	case t.finds:
		// Whatever the body made of it: it has not seen what it must see to decide anything.
		return errLock
	case err == nil && ctx.Err() != nil:
		return fmt.Errorf("update: %w", ctx.Err())
	case err != nil || len(writes) == 0:
		if moved := t.steady(); moved != nil {
			return moved
		}
		return err
	}
	conditional := t.conditional(writes)
	if len(conditional) > len(writes)+maxVerified {
		return errLock
	}
	return s.commit(ctx, &pb.CommitRequest{Writes: conditional})
}

// snapshot is what one run of a body reads, all of it as of one moment.
type snapshot struct {
	txn.Writes
	store    *Store
	ctx      context.Context
	at       *timestamppb.Timestamp            // that moment, from the first read on
	versions map[string]*timestamppb.Timestamp // when each document that was read was last updated; nil: missing
	finds    bool
}

func (t *snapshot) Get(kind string, ids ...string) ([]store.Document, error) {
	if err := t.Reading(); err != nil {
		return nil, err
	}
	request := &pb.BatchGetDocumentsRequest{}
	if t.at != nil {
		request.ConsistencySelector = &pb.BatchGetDocumentsRequest_ReadTime{ReadTime: t.at}
	}
	found, got, err := t.store.get(t.ctx, request, kind, ids)
	t.Failed(err)
	if err != nil || len(ids) == 0 {
		return found, err
	}
	t.at = got.at
	for _, id := range ids {
		name := t.store.name(kind, id)
		t.versions[name] = got.found[name].GetUpdateTime()
	}
	return found, nil
}

// Find ends the run.
func (t *snapshot) Find(store.Query) ([]store.Document, error) {
	if err := t.Reading(); err != nil {
		return nil, err
	}
	t.finds = true
	return nil, errLock
}

// steady makes sure, for a body that commits nothing, that what it read was true at one moment: errContention where it was
// not. Firestore promises as much of reads at one read time; its emulator now and then gives parts of a commit. Where
// every document still has the version that was read, all had it in between.
func (t *snapshot) steady() error {
	if len(t.versions) < 2 || t.ctx.Err() != nil {
		return nil //nolint:nilerr // whoever has given up is told so by the caller
	}
	got, err := t.store.batchGet(t.ctx, &pb.BatchGetDocumentsRequest{
		Database: t.store.database, Documents: slices.Sorted(maps.Keys(t.versions)), Mask: &pb.DocumentMask{FieldPaths: []string{fieldDue}},
	})
	if err != nil {
		return fmt.Errorf("update: %w", ended(t.ctx, err))
	}
	for name, version := range t.versions {
		if now := got.found[name].GetUpdateTime(); now.AsTime() != version.AsTime() || (now == nil) != (version == nil) {
			return errContention
		}
	}
	return nil
}

// conditional gives the writes with the condition that nothing of what was read has changed. Of several writes of one
// document only the first can have it: the others follow a change.
func (t *snapshot) conditional(writes []txn.Write) []*pb.Write {
	unverified := maps.Clone(t.versions)
	var list []*pb.Write
	for _, w := range writes {
		write, name := t.store.write(w), t.store.name(w.Kind, w.ID)
		if version, read := unverified[name]; read {
			write.CurrentDocument = unchanged(version)
			delete(unverified, name)
		}
		list = append(list, write)
	}
	for _, name := range slices.Sorted(maps.Keys(unverified)) {
		list = append(list, verification(name, unverified[name]))
	}
	return list
}
