package firestore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
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
	"google.golang.org/protobuf/types/known/timestamppb"

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
	found   []*pb.Document // what every get finds; what else it asks for is missing
	gets    int64          // each of which is answered with the next second
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
	call := "commit " + string(r.Transaction) + ":"
	for _, w := range r.Writes {
		call += " " + inWords(w)
	}
	s.note(ctx, call)
	if s.hang != nil {
		select {
		case <-s.hang:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &pb.CommitResponse{}, s.next(&s.commits)
}

// inWords says what a write does, to which document and on which condition.
func inWords(w *pb.Write) string {
	words := "delete " + path.Base(w.GetDelete())
	if d := w.GetUpdate(); d != nil {
		words = "put " + path.Base(d.Name)
		if w.UpdateMask != nil {
			words = fmt.Sprintf("touch %s in %d fields", path.Base(d.Name), len(d.Fields)+len(w.UpdateMask.FieldPaths))
		}
	}
	switch c := w.GetCurrentDocument().GetConditionType().(type) {
	case *pb.Precondition_UpdateTime:
		words += fmt.Sprintf(" if of %d", c.UpdateTime.Seconds)
	case *pb.Precondition_Exists:
		words += fmt.Sprintf(" if %v", c.Exists)
	}
	return words + ","
}

func (s *script) Rollback(ctx context.Context, r *pb.RollbackRequest) (*emptypb.Empty, error) {
	s.note(ctx, "rollback "+string(r.Transaction))
	return &emptypb.Empty{}, nil
}

func (s *script) BatchGetDocuments(r *pb.BatchGetDocumentsRequest, stream pb.Firestore_BatchGetDocumentsServer) error {
	call, at := "get", r.GetReadTime()
	switch {
	case at != nil:
		call += fmt.Sprintf(" of %d", at.Seconds)
	case r.GetTransaction() != nil:
		call += " in " + string(r.GetTransaction())
	}
	s.note(stream.Context(), call)
	if err := s.next(&s.reads); err != nil {
		return err
	}
	if at == nil {
		s.mu.Lock()
		s.gets++
		at = &timestamppb.Timestamp{Seconds: s.gets}
		s.mu.Unlock()
	}
	for _, name := range r.Documents {
		answer := &pb.BatchGetDocumentsResponse{ReadTime: at, Result: &pb.BatchGetDocumentsResponse_Missing{Missing: name}}
		for _, d := range s.found {
			if d.Name == name {
				answer.Result = &pb.BatchGetDocumentsResponse_Found{Found: d}
			}
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
	return nil
}

func (s *script) RunQuery(r *pb.RunQueryRequest, stream pb.Firestore_RunQueryServer) error {
	s.note(stream.Context(), "find in "+string(r.GetTransaction()))
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

// stored is a document that was last updated at this second.
func stored(id string, second int64) *pb.Document {
	return &pb.Document{
		Name:       "projects/p/databases/d/documents/things/" + id,
		Fields:     map[string]*pb.Value{"body": text(`{}`)},
		UpdateTime: &timestamppb.Timestamp{Seconds: second},
	}
}

// find is what a body does that is run under locks.
func find(tx store.Tx) error {
	_, err := tx.Find(store.Query{Kind: "things"})
	return err
}

func (s *script) called(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, s.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestACommitThatMayHaveTakenPlaceIsNotRepeated(t *testing.T) {
	for _, row := range []struct {
		code    codes.Code
		unknown bool
	}{
		{codes.Unavailable, true},
		{codes.DeadlineExceeded, true},
		{codes.Canceled, true},
		{codes.Unknown, true},
		{codes.Internal, true},
		{codes.DataLoss, true},
		{codes.InvalidArgument, false},
		{codes.FailedPrecondition, false},
		{codes.PermissionDenied, false},
		{codes.NotFound, false},
		{codes.AlreadyExists, false},
		{codes.ResourceExhausted, false},
		{codes.Unauthenticated, false},
	} {
		s := &script{commits: []codes.Code{row.code}}
		err := against(t, s).Update(t.Context(), putThing)
		if err == nil || errors.Is(err, store.ErrUnknown) != row.unknown || status.Code(err) != row.code {
			t.Errorf("%v gives %v; unknown: want %v", row.code, err, row.unknown)
		}
		s.called(t, "commit : put a,")
		s = &script{commits: []codes.Code{row.code}}
		err = against(t, s).Update(t.Context(), func(tx store.Tx) error { return errors.Join(find(tx), putThing(tx)) })
		if err == nil || errors.Is(err, store.ErrUnknown) != row.unknown || status.Code(err) != row.code {
			t.Errorf("under locks %v gives %v; unknown: want %v", row.code, err, row.unknown)
		}
		s.called(t, "begin", "find in t1", "commit t1: put a,", "rollback t1")
	}
}

func TestAConditionalCommitThatMayHaveTakenPlaceIsNotRepeated(t *testing.T) {
	s := &script{commits: []codes.Code{codes.Unavailable}}
	err := against(t, s).Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.Get("things", "a")
		return errors.Join(err, putThing(tx))
	})
	if !errors.Is(err, store.ErrUnknown) {
		t.Errorf("got %v", err)
	}
	s.called(t, "get", "commit : put a if false,")
}

func TestACommitWithoutWritesIsNeverUnknown(t *testing.T) {
	s := &script{commits: []codes.Code{codes.Unavailable}}
	err := against(t, s).Update(t.Context(), find)
	if err == nil || errors.Is(err, store.ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestAllThatIsReadIsOfOneMomentAndACommitIsOnConditionThatNoneOfItHasChanged(t *testing.T) {
	s := &script{
		found:   []*pb.Document{stored("a", 11), stored("c", 13), stored("e", 15)},
		commits: []codes.Code{codes.FailedPrecondition},
	}
	if err := against(t, s).Update(t.Context(), func(tx store.Tx) error {
		_, nothing := tx.Get("things")
		_, first := tx.Get("things", "a", "b", "c", "d")
		_, second := tx.Get("things", "a", "e", "f")
		tx.Put(thing("a"))
		tx.Delete("things", "b")
		tx.Put(thing("blind"))
		tx.Delete("things", "a")
		tx.Put(thing("f"))
		tx.Delete("things", "e")
		return errors.Join(nothing, first, second)
	}); err != nil {
		t.Error(err)
	}
	commit := "commit : put a if of 11, delete b if false, put blind, delete a, put f if false, delete e if of 15," +
		" touch c in 0 fields if of 13, delete d if false,"
	s.called(t, "get", "get of 1", commit, "get", "get of 2", commit)
}

func TestABodyThatWritesNothingCommitsNothing(t *testing.T) {
	s := &script{}
	if err := against(t, s).Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.Get("things", "a")
		return err
	}); err != nil {
		t.Error(err)
	}
	s.called(t, "get")
}

func TestABodyThatReadsFarMoreThanItWritesIsRunUnderLocks(t *testing.T) {
	for reads, want := range map[int][]string{
		maxVerified + 1: {"get", "commit"},
		maxVerified + 2: {"get", "begin", "get in t1", "commit t1: put d0,"},
	} {
		ids := make([]string, reads)
		for i := range ids {
			ids[i] = fmt.Sprintf("d%d", i)
		}
		s := &script{}
		if err := against(t, s).Update(t.Context(), func(tx store.Tx) error {
			_, err := tx.Get("things", ids...)
			tx.Put(thing("d0"))
			return err
		}); err != nil {
			t.Error(err)
		}
		if want[1] == "commit" {
			s.calls[1] = s.calls[1][:len("commit")]
		}
		s.called(t, want...)
	}
}

func TestContentionRunsTheBodyAgain(t *testing.T) {
	s := &script{commits: []codes.Code{codes.FailedPrecondition, codes.AlreadyExists, codes.NotFound, codes.Aborted}}
	runs := 0
	err := against(t, s).Update(t.Context(), func(tx store.Tx) error {
		runs++
		_, err := tx.Get("things", "a")
		return errors.Join(err, putThing(tx))
	})
	if err != nil || runs != 5 {
		t.Errorf("%d runs, %v; want 5", runs, err)
	}
}

func TestContentionUnderLocksRunsTheBodyAgainOnBehalfOfTheSameTransaction(t *testing.T) {
	s := &script{
		reads:   []codes.Code{codes.Aborted, codes.OK, codes.OK, codes.OK},
		commits: []codes.Code{codes.Aborted, codes.Aborted},
	}
	runs := 0
	err := against(t, s).Update(t.Context(), func(tx store.Tx) error {
		runs++
		_ = find(tx) // a body that ignores what happened to its read decides nothing
		tx.Put(thing("a"))
		return nil
	})
	if err != nil || runs != 5 { // the first of which ended with its Find
		t.Errorf("%d runs, %v; want 5", runs, err)
	}
	if diff := cmp.Diff([]string{"", "t1", "t2", "t3"}, s.begins); diff != "" {
		t.Errorf("begun on behalf of (-want +got):\n%s", diff)
	}
	s.called(t,
		"begin", "find in t1", "rollback t1", "begin", "find in t2", "commit t2: put a,", "rollback t2",
		"begin", "find in t3", "commit t3: put a,", "rollback t3", "begin", "find in t4", "commit t4: put a,",
	)
}

func TestABodyThatFailsCommitsNothingAndFreesItsLocks(t *testing.T) {
	own := errors.New("own")
	for _, row := range []struct {
		read        func(store.Tx) error
		unread, all []string
	}{
		{func(tx store.Tx) error { _, err := tx.Get("things", "a"); return err }, []string{"get"}, []string{"get", "get"}},
		{
			find,
			[]string{"begin", "find in t1", "rollback t1"},
			[]string{"begin", "find in t1", "rollback t1", "begin", "find in t2", "rollback t2"},
		},
	} {
		s := &script{reads: []codes.Code{codes.PermissionDenied}}
		if err := against(t, s).Update(t.Context(), func(tx store.Tx) error {
			_ = row.read(tx)
			tx.Put(thing("a"))
			return nil
		}); status.Code(err) != codes.PermissionDenied {
			t.Errorf("a body that ignores the error of a read gives %v", err)
		}
		s.called(t, row.unread...)
		if err := against(t, s).Update(t.Context(), func(tx store.Tx) error {
			_ = row.read(tx)
			tx.Put(thing("a"))
			return own
		}); err != own {
			t.Errorf("got %v", err)
		}
		s.called(t, row.all...)
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
		_ = against(t, s).Update(t.Context(), func(tx store.Tx) error {
			if find(tx) == nil {
				panic("a bug")
			}
			return nil
		})
	}()
	s.called(t, "begin", "find in t1", "rollback t1")
}

func TestADocumentThatWasMadeAgainIsNotTheOneThatWasRead(t *testing.T) {
	for what, written := range map[string]bool{"written": true, "only read": false} {
		s := inEmulator(t, "")
		if err := s.Update(t.Context(), putThing); err != nil {
			t.Fatal(err)
		}
		again := func() error {
			return errors.Join(
				s.Update(t.Context(), func(tx store.Tx) error { tx.Delete("things", "a"); return nil }),
				s.Update(t.Context(), putThing),
			)
		}
		runs := 0
		err := s.Update(t.Context(), func(tx store.Tx) error {
			runs++
			_, err := tx.Get("things", "a")
			if runs == 1 {
				err = errors.Join(err, again())
			}
			if written {
				tx.Delete("things", "a")
			}
			tx.Put(thing("b"))
			return err
		})
		if err != nil || runs != 2 {
			t.Errorf("%s: %d runs, %v; want 2", what, runs, err)
		}
	}
}

func TestVerificationChangesNothingAndDisturbsNobody(t *testing.T) {
	s := inEmulator(t, "")
	if err := s.Update(t.Context(), putThing); err != nil {
		t.Fatal(err)
	}
	both := func(writes string, meanwhile func() error) (runs int, err error) {
		return runs, s.Update(t.Context(), func(tx store.Tx) error {
			runs++
			_, err := tx.Get("things", "a", "missing")
			if runs == 1 {
				err = errors.Join(err, meanwhile())
			}
			tx.Put(thing(writes))
			return err
		})
	}
	runs, err := both("b", func() error {
		_, err := both("c", func() error { return nil })
		return err
	})
	if err != nil || runs != 1 {
		t.Errorf("%d runs, %v; want 1", runs, err)
	}
	found, err := s.Get(t.Context(), "things", "a", "missing")
	if err != nil || string(found[0].Body) != `{}` || found[1].Body != nil {
		t.Errorf("got %q, %v", found, err)
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
	other := stored("a", 1)
	other.Fields["body"] = array(nil)
	s := &script{found: []*pb.Document{other}}
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
