// Package secretmanager stands in for Google's Secret Manager, for which Google has no emulator: the calls that the vault
// makes, over gRPC in this process.
package secretmanager

import (
	"context"
	"fmt"
	"hash/crc32"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	pb "cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Service is Secret Manager in memory. Its methods are the RPCs. It is safe for concurrent use.
type Service struct {
	pb.UnimplementedSecretManagerServiceServer

	mu      sync.Mutex
	secrets map[string]*entry // by resource name
	changes int               // etags and creation order are made of it
	lagging bool
}

type entry struct {
	secret   *pb.Secret
	order    int
	versions []*version // version n at n-1
}

type version struct {
	about *pb.SecretVersion
	data  []byte
}

// New returns a Service without secrets.
func New() *Service { return &Service{secrets: map[string]*entry{}} }

// Lag makes whatever Secret Manager promises only eventually lag by one change: "latest" names the version before the
// newest, and lists of versions lack the newest. Only reading a version by its number is strongly consistent
// (https://cloud.google.com/secret-manager/docs/reference/consistency).
func (s *Service) Lag(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lagging = on
}

var (
	projectName = regexp.MustCompile(`^projects/[a-z0-9-]+$`)
	secretID    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)
	labelKey    = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	labelValue  = regexp.MustCompile(`^[a-z0-9_-]{0,63}$`)
)

const (
	maxPayload = 65_536 // bytes (https://cloud.google.com/secret-manager/quotas)
	maxPage    = 25_000
	maxLabels  = 64
)

// CreateSecret makes a secret without versions. InvalidArgument, AlreadyExists.
func (s *Service) CreateSecret(_ context.Context, r *pb.CreateSecretRequest) (*pb.Secret, error) {
	switch {
	case !projectName.MatchString(r.GetParent()):
		return nil, invalid("the parent is not a project")
	case !secretID.MatchString(r.GetSecretId()):
		return nil, invalid("the secret id is not 1 to 255 letters, digits, _ and -")
	case r.GetSecret().GetReplication().GetReplication() == nil:
		return nil, invalid("a secret needs a replication policy")
	}
	if err := checkLabels(r.GetSecret().GetLabels()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := r.GetParent() + "/secrets/" + r.GetSecretId()
	if s.secrets[name] != nil {
		return nil, status.Errorf(codes.AlreadyExists, "Secret [%s] already exists.", name)
	}
	made := proto.CloneOf(r.GetSecret())
	made.Name, made.CreateTime, made.Etag = name, timestamppb.Now(), s.etag()
	s.secrets[name] = &entry{secret: made, order: s.changes}
	return proto.CloneOf(made), nil
}

func checkLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return invalid("too many labels")
	}
	for key, value := range labels {
		if !labelKey.MatchString(key) || !labelValue.MatchString(value) {
			return invalid("not a label: %q=%q", key, value)
		}
	}
	return nil
}

// AddSecretVersion adds an enabled version. InvalidArgument for an empty or too large payload and for one that does not fit
// its checksum, NotFound.
func (s *Service) AddSecretVersion(_ context.Context, r *pb.AddSecretVersionRequest) (*pb.SecretVersion, error) {
	data := r.GetPayload().GetData()
	if len(data) == 0 || len(data) > maxPayload {
		return nil, invalid("the payload must have 1 to %d bytes", maxPayload)
	}
	if sum := r.GetPayload().DataCrc32C; sum != nil && *sum != checksum(data) {
		return nil, invalid("the payload does not fit its checksum")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(r.GetParent())
	if err != nil {
		return nil, err
	}
	about := &pb.SecretVersion{
		Name:                           fmt.Sprintf("%s/versions/%d", r.GetParent(), len(e.versions)+1),
		CreateTime:                     timestamppb.Now(),
		State:                          pb.SecretVersion_ENABLED,
		Etag:                           s.etag(),
		ClientSpecifiedPayloadChecksum: r.GetPayload().DataCrc32C != nil,
	}
	e.versions = append(e.versions, &version{about, slices.Clone(data)})
	return proto.CloneOf(about), nil
}

// AccessSecretVersion returns an enabled version's payload with its checksum. NotFound, FailedPrecondition.
func (s *Service) AccessSecretVersion(_ context.Context, r *pb.AccessSecretVersionRequest) (*pb.AccessSecretVersionResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, v, err := s.findVersion(r.GetName())
	if err != nil {
		return nil, err
	}
	if v.about.GetState() != pb.SecretVersion_ENABLED {
		return nil, status.Errorf(codes.FailedPrecondition, "Secret Version [%s] is in %s state.", v.about.GetName(), v.about.GetState())
	}
	sum := checksum(v.data)
	return &pb.AccessSecretVersionResponse{
		Name:    v.about.GetName(),
		Payload: &pb.SecretPayload{Data: slices.Clone(v.data), DataCrc32C: &sum},
	}, nil
}

// DisableSecretVersion makes a version unreadable until it is enabled again. NotFound, FailedPrecondition.
func (s *Service) DisableSecretVersion(_ context.Context, r *pb.DisableSecretVersionRequest) (*pb.SecretVersion, error) {
	return s.turn(r.GetName(), r.GetEtag(), pb.SecretVersion_DISABLED)
}

// DestroySecretVersion erases a version's payload. NotFound; FailedPrecondition for one that is destroyed already.
func (s *Service) DestroySecretVersion(_ context.Context, r *pb.DestroySecretVersionRequest) (*pb.SecretVersion, error) {
	return s.turn(r.GetName(), r.GetEtag(), pb.SecretVersion_DESTROYED)
}

func (s *Service) turn(name, etag string, to pb.SecretVersion_State) (*pb.SecretVersion, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, v, err := s.findVersion(name)
	if err != nil {
		return nil, err
	}
	if err := checkEtag(etag, v.about.GetEtag()); err != nil {
		return nil, err
	}
	if v.about.GetState() == pb.SecretVersion_DESTROYED {
		return nil, status.Errorf(codes.FailedPrecondition, "Secret Version [%s] is in DESTROYED state.", v.about.GetName())
	}
	v.about.State, v.about.Etag = to, s.etag()
	if to == pb.SecretVersion_DESTROYED {
		v.data, v.about.DestroyTime = nil, timestamppb.Now()
	}
	return proto.CloneOf(v.about), nil
}

// DeleteSecret deletes a secret with all versions. NotFound, FailedPrecondition.
func (s *Service) DeleteSecret(_ context.Context, r *pb.DeleteSecretRequest) (*emptypb.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(r.GetName())
	if err != nil {
		return nil, err
	}
	if err := checkEtag(r.GetEtag(), e.secret.GetEtag()); err != nil {
		return nil, err
	}
	delete(s.secrets, r.GetName())
	return &emptypb.Empty{}, nil
}

// ListSecretVersions lists the versions of a secret, newest first, those that are destroyed included. NotFound.
func (s *Service) ListSecretVersions(_ context.Context, r *pb.ListSecretVersionsRequest) (*pb.ListSecretVersionsResponse, error) {
	if r.GetFilter() != "" {
		return nil, status.Error(codes.Unimplemented, "the stand-in filters no versions")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(r.GetParent())
	if err != nil {
		return nil, err
	}
	var all []*pb.SecretVersion
	for _, v := range e.versions[:len(e.versions)-s.lag(e)] {
		all = append(all, proto.CloneOf(v.about))
	}
	slices.Reverse(all)
	from, to, next, err := page(r.GetPageToken(), int(r.GetPageSize()), len(all))
	if err != nil {
		return nil, err
	}
	return &pb.ListSecretVersionsResponse{Versions: all[from:to], NextPageToken: next, TotalSize: int32(len(all))}, nil
}

// ListSecrets lists the secrets of a project, newest first. The filters served are name:PART and labels.KEY=VALUE, joined by
// AND (https://cloud.google.com/secret-manager/docs/filtering).
func (s *Service) ListSecrets(_ context.Context, r *pb.ListSecretsRequest) (*pb.ListSecretsResponse, error) {
	if !projectName.MatchString(r.GetParent()) {
		return nil, invalid("the parent is not a project")
	}
	fits, err := parseFilter(r.GetFilter())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := slices.SortedFunc(maps.Values(s.secrets), func(a, b *entry) int { return b.order - a.order })
	var all []*pb.Secret
	for _, e := range entries {
		if strings.HasPrefix(e.secret.GetName(), r.GetParent()+"/") && fits(e.secret) {
			all = append(all, proto.CloneOf(e.secret))
		}
	}
	from, to, next, err := page(r.GetPageToken(), int(r.GetPageSize()), len(all))
	if err != nil {
		return nil, err
	}
	total := int32(len(all))
	if r.GetFilter() != "" {
		total = 0 // as Google says of filtered lists
	}
	return &pb.ListSecretsResponse{Secrets: all[from:to], NextPageToken: next, TotalSize: total}, nil
}

func parseFilter(filter string) (func(*pb.Secret) bool, error) {
	var all []func(*pb.Secret) bool
	for term := range strings.SplitSeq(filter, " AND ") {
		if part, ok := strings.CutPrefix(term, "name:"); ok && secretID.MatchString(part) {
			all = append(all, func(s *pb.Secret) bool {
				return strings.Contains(strings.ToLower(s.GetName()), strings.ToLower(part))
			})
			continue
		}
		label, isLabel := strings.CutPrefix(term, "labels.")
		key, value, _ := strings.Cut(label, "=")
		switch {
		case isLabel && labelKey.MatchString(key) && value != "" && labelValue.MatchString(value):
			all = append(all, func(s *pb.Secret) bool { return s.GetLabels()[key] == value })
		case filter != "":
			return nil, invalid("not a filter: %s", term)
		}
	}
	return func(s *pb.Secret) bool {
		return !slices.ContainsFunc(all, func(fits func(*pb.Secret) bool) bool { return !fits(s) })
	}, nil
}

// page cuts a page out of n results; its token is the index of the next one.
func page(token string, size, n int) (from, to int, next string, err error) {
	if token != "" {
		if from, err = strconv.Atoi(token); err != nil || from < 0 {
			return 0, 0, "", invalid("the page token is not one of ours")
		}
	}
	if size < 0 {
		return 0, 0, "", invalid("a page has no negative size")
	}
	if size == 0 {
		size = 100
	}
	from = min(from, n)
	to = min(from+min(size, maxPage), n)
	if to < n {
		next = strconv.Itoa(to)
	}
	return from, to, next, nil
}

func (s *Service) find(name string) (*entry, error) {
	e := s.secrets[name]
	if e == nil {
		return nil, status.Errorf(codes.NotFound, "Secret [%s] not found.", name)
	}
	return e, nil
}

func (s *Service) findVersion(name string) (*entry, *version, error) {
	secret, id, ok := strings.Cut(name, "/versions/")
	if !ok {
		return nil, nil, invalid("the name is not that of a version")
	}
	e, err := s.find(secret)
	if err != nil {
		return nil, nil, err
	}
	number, err := strconv.Atoi(id)
	if id == "latest" {
		number, err = len(e.versions)-s.lag(e), nil
	}
	if err != nil {
		return nil, nil, invalid("the name is not that of a version")
	}
	if number < 1 || number > len(e.versions) {
		return nil, nil, status.Errorf(codes.NotFound, "Secret Version [%s] not found.", name)
	}
	return e, e.versions[number-1], nil
}

// lag is how many of the newest versions are not seen yet except by their numbers.
func (s *Service) lag(e *entry) int {
	if s.lagging && len(e.versions) > 0 {
		return 1
	}
	return 0
}

func (s *Service) etag() string {
	s.changes++
	return fmt.Sprintf("%q", strconv.FormatInt(time.Now().UnixMicro(), 16)+"-"+strconv.Itoa(s.changes))
}

func checkEtag(given, current string) error {
	if given != "" && given != current {
		return status.Error(codes.FailedPrecondition, "The etag does not match the current one.")
	}
	return nil
}

func checksum(data []byte) int64 {
	return int64(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
}

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// Payloads returns every payload of a secret that is not destroyed, oldest first, whatever its state.
func (s *Service) Payloads(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.secrets[name]
	if e == nil {
		return nil
	}
	var all []string
	for _, v := range e.versions {
		if v.about.GetState() != pb.SecretVersion_DESTROYED {
			all = append(all, string(v.data))
		}
	}
	return all
}
