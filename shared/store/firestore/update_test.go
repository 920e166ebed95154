package firestore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/bkper/automations-portal/shared/store"
)

// script is a Firestore that answers as it is told and notes what it is asked.
type script struct {
	pb.UnimplementedFirestoreServer
	mu      sync.Mutex
	begins  []string // the transaction on whose behalf each began
	commits []codes.Code
	reads   []codes.Code
	calls   []string
	prefix  []string       // of the last call, for routing
	hang    chan struct{}  // if not nil, a commit waits for it
	found   []*pb.Document // what every read finds
}

func (s *script) note(ctx context.Context, call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	md, _ := metadata.FromIncomingContext(ctx)
	s.prefix = md.Get("google-cloud-resource-prefix")
}

// next takes the first of the codes; OK when none is left.
func (s *script) next(list *[]codes.Code) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(*list) == 0 {
		return nil
	}
	code := (*list)[0]
	*list = (*list)[1:]
	return status.Error(code, "scripted")
}

func (s *script) BeginTransaction(ctx context.Context, r *pb.BeginTransactionRequest) (*pb.BeginTransactionResponse, error) {
	s.note(ctx, "begin")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begins = append(s.begins, string(r.GetOptions().GetReadWrite().GetRetryTransaction()))
	return &pb.BeginTransactionResponse{Transaction: fmt.Appendf(nil, "t%d", len(s.begins))}, nil
}

func (s *script) Commit(ctx context.Context, r *pb.CommitRequest) (*pb.CommitResponse, error) {
	s.note(ctx, fmt.Sprintf("commit %s %d", r.Transaction, len(r.Writes)))
	if s.hang != nil {
		select {
		case <-s.hang:
		case <-ctx.Done():
		}
	}
	return &pb.CommitResponse{}, s.next(&s.commits)
}

func (s *script) Rollback(ctx context.Context, r *pb.RollbackRequest) (*emptypb.Empty, error) {
	s.note(ctx, "rollback "+string(r.Transaction))
	return &emptypb.Empty{}, nil
}

func (s *script) BatchGetDocuments(r *pb.BatchGetDocumentsRequest, stream pb.Firestore_BatchGetDocumentsServer) error {
	s.note(stream.Context(), "get")
	for _, d := range s.found {
		if err := stream.Send(&pb.BatchGetDocumentsResponse{Result: &pb.BatchGetDocumentsResponse_Found{Found: d}}); err != nil {
			return err
		}
	}
	return s.next(&s.reads)
}

// against gives a store that speaks to the script.
func against(t *testing.T, s *script) *Store {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterFirestoreServer(server, s)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return opened(t, Options{Project: "p", Database: "d", Client: []option.ClientOption{
		option.WithEndpoint(listener.Addr().String()), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}})
}

func thing(id string) store.Document {
	return store.Document{Kind: "things", ID: id, Body: []byte(`{}`)}
}

func putThing(tx store.Tx) error {
	tx.Put(thing("a"))
	return nil
}

func TestACommitThatMayHaveTakenPlaceIsNotRepeated(t *testing.T) {
	for _, row := range []struct {
		code    codes.Code
		unknown bool
	}{
		{codes.Unavailable, true}, {codes.DeadlineExceeded, true}, {codes.Canceled, true}, {codes.Unknown, true},
		{codes.Internal, true}, {codes.DataLoss, true},
		{codes.InvalidArgument, false}, {codes.FailedPrecondition, false}, {codes.PermissionDenied, false},
		{codes.NotFound, false}, {codes.AlreadyExists, false}, {codes.ResourceExhausted, false}, {codes.Unauthenticated, false},
	} {
		s := &script{commits: []codes.Code{row.code}}
		err := against(t, s).Update(t.Context(), putThing)
		if err == nil || errors.Is(err, store.ErrUnknown) != row.unknown || status.Code(err) != row.code {
			t.Errorf("%v gives %v; unknown: want %v", row.code, err, row.unknown)
		}
		if diff := cmp.Diff([]string{"begin", "commit t1 1", "rollback t1"}, s.calls); diff != "" {
			t.Errorf("%v: calls (-want +got):\n%s", row.code, diff)
		}
	}
}

func TestACommitWithoutWritesIsNeverUnknown(t *testing.T) {
	s := &script{commits: []codes.Code{codes.Unavailable}}
	err := against(t, s).Update(t.Context(), func(tx store.Tx) error { return nil })
	if err == nil || errors.Is(err, store.ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestContentionRunsTheBodyAgainOnBehalfOfTheSameTransaction(t *testing.T) {
	s := &script{
		reads:   []codes.Code{codes.Aborted, codes.OK, codes.OK, codes.OK},
		commits: []codes.Code{codes.Aborted, codes.Aborted},
	}
	runs := 0
	err := against(t, s).Update(t.Context(), func(tx store.Tx) error {
		runs++
		_, _ = tx.Get("things", "a") // a body that ignores what happened to its read decides nothing
		tx.Put(thing("a"))
		return nil
	})
	if err != nil || runs != 4 {
		t.Errorf("%d runs, %v; want 4", runs, err)
	}
	if diff := cmp.Diff([]string{"", "t1", "t2", "t3"}, s.begins); diff != "" {
		t.Errorf("begun on behalf of (-want +got):\n%s", diff)
	}
	want := []string{
		"begin", "get", "rollback t1", "begin", "get", "commit t2 1", "rollback t2",
		"begin", "get", "commit t3 1", "rollback t3", "begin", "get", "commit t4 1",
	}
	if diff := cmp.Diff(want, s.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestABodyThatFailsCommitsNothingAndFreesItsLocks(t *testing.T) {
	s := &script{reads: []codes.Code{codes.PermissionDenied}}
	own := errors.New("own")
	if err := against(t, s).Update(t.Context(), func(tx store.Tx) error {
		tx.Put(thing("a"))
		return own
	}); err != own {
		t.Errorf("got %v", err)
	}
	if err := against(t, s).Update(t.Context(), func(tx store.Tx) error {
		_, _ = tx.Get("things", "a")
		tx.Put(thing("a"))
		return nil
	}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a body that ignores the error of a read gives %v", err)
	}
	if diff := cmp.Diff([]string{"begin", "rollback t1", "begin", "get", "rollback t2"}, s.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestALockIsFreedWhenABodyPanics(t *testing.T) {
	s := &script{}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is gone")
			}
		}()
		_ = against(t, s).Update(t.Context(), func(store.Tx) error { panic("a bug") })
	}()
	if diff := cmp.Diff([]string{"begin", "rollback t1"}, s.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestTheContextEndsDuringTheCommit(t *testing.T) {
	s := &script{hang: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := against(t, s).Update(ctx, putThing)
	if !errors.Is(err, store.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestTheContextEndsDuringContention(t *testing.T) {
	s := &script{}
	for range 1000 {
		s.commits = append(s.commits, codes.Aborted)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := against(t, s).Update(ctx, putThing)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestCallsAreRoutedToTheDatabase(t *testing.T) {
	s := &script{}
	if _, err := against(t, s).Get(t.Context(), "things", "a"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"projects/p/databases/d"}, s.prefix); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
}

func TestADocumentOfAnotherShapeIsAnError(t *testing.T) {
	s := &script{found: []*pb.Document{{Name: "projects/p/databases/d/documents/things/a", Fields: map[string]*pb.Value{"body": array(nil)}}}}
	if found, err := against(t, s).Get(t.Context(), "things", "a"); err == nil {
		t.Errorf("got %q", found)
	}
}

func TestPrefixesAreApart(t *testing.T) {
	one := inEmulator(t, "one")
	two := opened(t, Options{Project: one.options.Project, Prefix: "two"})
	if err := one.Update(t.Context(), putThing); err != nil {
		t.Fatal(err)
	}
	for s, want := range map[*Store]int{one: 1, two: 0} {
		found, err := s.Find(t.Context(), store.Query{Kind: "things"})
		if err != nil || len(found) != want {
			t.Errorf("%s: %q, %v; want %d", s.options.Prefix, found, err, want)
		}
	}
	got, err := two.Get(t.Context(), "things", "a")
	if err != nil || got[0].Body != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAClosedStoreConnectsAgain(t *testing.T) {
	s := against(t, &script{})
	for range 2 {
		if _, err := s.Get(t.Context(), "things", "a"); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
