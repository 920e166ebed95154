// Package firestore keeps documents in Google's Firestore, in native mode.
//
// A document's fields are body (the JSON as one string: a map of Firestore's own values would make eight bytes of each
// digit, and has neither arrays in arrays, nor more than twenty levels, nor decimals), index (a map of arrays of strings,
// one per field of the index), due and expires (timestamps, missing where absent).
//
// What the database must be told, for each collection:
//
//   - body: no index at all, since Firestore indexes every field that it is not told to leave alone;
//   - expires: a time-to-live policy, and no index, since it grows all the time, which limits how fast documents are written;
//   - only if queries with both Field and Due are made: a composite index of index.<field> (array contains) and due
//     (ascending). Queries with one of them, or none, use the indexes that Firestore makes by itself.
//
// What an Update costs: a read for each document that it gets and a write for each one that it writes, as the calls say, and
// besides, only if it writes at all, a write for each document that it gets and does not write, which verifies that this one
// has not changed. The reads of every run count; an Update that finds reads what it got before its first Find twice.
package firestore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	client "cloud.google.com/go/firestore/apiv1"
	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/internal/txn"
)

// Options say where the documents are.
type Options struct {
	Project  string
	Database string                // empty is "(default)"
	Prefix   string                // before the name of every collection, where several deployments share a database
	Client   []option.ClientOption // for Google's client
}

// Store is a store.Store. Its client is made when it is first used: for the emulator at FIRESTORE_EMULATOR_HOST if that is
// set, else with the credentials of the environment.
//
// It speaks through the generated client. The one that Google writes on top of it repeats a commit whose answer was lost,
// which can end as "aborted" though the first one took place, and sleeps for up to a second after each abort.
type Store struct {
	options  Options
	database string // projects/…/databases/…
	mu       sync.Mutex
	client   *client.Client
}

// New makes a store without connecting to anything.
func New(o Options) *Store {
	return &Store{options: o, database: "projects/" + o.Project + "/databases/" + cmp.Or(o.Database, "(default)")}
}

// Close closes the client, if there is one. The next use makes a new one.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil
	}
	old := s.client
	s.client = nil
	return old.Close()
}

// connected gives the client, which outlives the request that was the first to need it.
func (s *Store) connected(ctx context.Context) (*client.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	made, err := client.NewClient(context.WithoutCancel(ctx), append(emulated(), s.options.Client...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to Firestore: %w", err)
	}
	made.CallOptions.Commit = nil // no repetition: see Store
	s.client = made
	return made, nil
}

// emulated gives the client's options for an emulator, if there is one.
func emulated() []option.ClientOption {
	host := os.Getenv("FIRESTORE_EMULATOR_HOST")
	if host == "" {
		return nil
	}
	return []option.ClientOption{
		option.WithEndpoint(host),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}

// routed adds the header by which Google routes calls to a database, as all of its own clients send it.
func (s *Store) routed(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "google-cloud-resource-prefix", s.database)
}

// Get reads documents by id.
func (s *Store) Get(ctx context.Context, kind string, ids ...string) ([]store.Document, error) {
	found, _, err := s.get(ctx, &pb.BatchGetDocumentsRequest{}, kind, ids)
	return found, err
}

// Find reads the documents that match.
func (s *Store) Find(ctx context.Context, q store.Query) ([]store.Document, error) {
	return s.find(ctx, &pb.RunQueryRequest{}, q)
}

// batch is what Firestore answers to a get.
type batch struct {
	found map[string]*pb.Document // by name; what is missing is not in it
	at    *timestamppb.Timestamp  // when all of this was true
}

// get completes a request, which says at what time or in which transaction it is, and makes it.
func (s *Store) get(ctx context.Context, request *pb.BatchGetDocumentsRequest, kind string, ids []string) ([]store.Document, batch, error) {
	if err := txn.CheckIDs(kind, ids...); err != nil {
		return nil, batch{}, fmt.Errorf("get: %w", err)
	}
	if len(ids) == 0 {
		return nil, batch{}, nil
	}
	request.Database, request.Mask = s.database, &pb.DocumentMask{FieldPaths: []string{fieldBody}}
	request.Documents = make([]string, len(ids))
	for i, id := range ids {
		request.Documents[i] = s.name(kind, id)
	}
	got, err := s.batchGet(ctx, request)
	if err != nil {
		return nil, batch{}, fmt.Errorf("get %s: %w", kind, ended(ctx, err))
	}
	found := make([]store.Document, len(ids))
	for i, id := range ids {
		found[i] = store.Document{Kind: kind, ID: id}
		if d := got.found[request.Documents[i]]; d != nil {
			text, err := body(d)
			if err != nil {
				return nil, batch{}, fmt.Errorf("get %s: %w", kind, err)
			}
			found[i].Body = []byte(text)
		}
	}
	return found, got, nil
}

// batchGet gathers the parts of an answer. What the earlier ones say still holds at the time of the last, by the comment on
// read_time in https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#batchgetdocumentsresponse.
func (s *Store) batchGet(ctx context.Context, request *pb.BatchGetDocumentsRequest) (batch, error) {
	c, err := s.connected(ctx)
	if err != nil {
		return batch{}, err
	}
	stream, err := c.BatchGetDocuments(s.routed(ctx), request)
	if err != nil {
		return batch{}, err
	}
	got := batch{found: map[string]*pb.Document{}}
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return batch{}, err
		}
		got.at = answer.ReadTime
		if d := answer.GetFound(); d != nil {
			got.found[d.Name] = d
		}
	}
}

// find completes a request, which says in which transaction it is, and makes it.
func (s *Store) find(ctx context.Context, request *pb.RunQueryRequest, q store.Query) ([]store.Document, error) {
	q, none, err := txn.CheckQuery(q)
	if err != nil {
		return nil, fmt.Errorf("find: %w", err)
	}
	if none {
		return nil, ctx.Err()
	}
	request.Parent = s.database + "/documents"
	request.QueryType = &pb.RunQueryRequest_StructuredQuery{StructuredQuery: s.query(q)}
	found, err := s.runQuery(ctx, request, q.Kind)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", q.Kind, ended(ctx, err))
	}
	return found, nil
}

func (s *Store) runQuery(ctx context.Context, request *pb.RunQueryRequest, kind string) (found []store.Document, err error) {
	c, err := s.connected(ctx)
	if err != nil {
		return nil, err
	}
	stream, err := c.RunQuery(s.routed(ctx), request)
	if err != nil {
		return nil, err
	}
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		if d := answer.GetDocument(); d != nil {
			text, err := body(d)
			if err != nil {
				return nil, err
			}
			id := d.Name[strings.LastIndexByte(d.Name, '/')+1:]
			found = append(found, store.Document{Kind: kind, ID: id, Body: []byte(text)})
		}
	}
}

// counted is the alias of the one number that Count asks for.
const counted = "n"

// Count counts the documents that match.
func (s *Store) Count(ctx context.Context, q store.Query) (int, error) {
	q, none, err := txn.CheckQuery(q)
	if err != nil {
		return 0, fmt.Errorf("count: %w", err)
	}
	if none {
		return 0, ctx.Err()
	}
	n, err := s.count(ctx, q)
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", q.Kind, ended(ctx, err))
	}
	return n, nil
}

func (s *Store) count(ctx context.Context, q store.Query) (n int, err error) {
	c, err := s.connected(ctx)
	if err != nil {
		return 0, err
	}
	matching := &pb.StructuredQuery{From: s.collection(q.Kind), Where: where(q)}
	stream, err := c.RunAggregationQuery(s.routed(ctx), &pb.RunAggregationQueryRequest{
		Parent: s.database + "/documents",
		QueryType: &pb.RunAggregationQueryRequest_StructuredAggregationQuery{StructuredAggregationQuery: &pb.StructuredAggregationQuery{
			QueryType: &pb.StructuredAggregationQuery_StructuredQuery{StructuredQuery: matching},
			Aggregations: []*pb.StructuredAggregationQuery_Aggregation{{
				Alias: counted, Operator: &pb.StructuredAggregationQuery_Aggregation_Count_{Count: &pb.StructuredAggregationQuery_Aggregation_Count{}},
			}},
		}},
	})
	if err != nil {
		return 0, err
	}
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		n += int(answer.GetResult().GetAggregateFields()[counted].GetIntegerValue())
	}
}

// ended makes an error that came after the end of ctx say so; gRPC's own is a status. gRPC compares with the deadline by
// itself, and so may notice that it has passed before ctx does.
func ended(ctx context.Context, err error) error {
	end := ctx.Err()
	if deadline, ok := ctx.Deadline(); ok && end == nil && !time.Now().Before(deadline) {
		end = context.DeadlineExceeded
	}
	if err != nil && end != nil && !errors.Is(err, end) {
		return fmt.Errorf("%w: %w", end, err)
	}
	return err
}
