package secretmanager_test

import (
	"fmt"
	"testing"

	pb "cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bkper/automations-portal/shared/sandbox/secretmanager"
)

const parent = "projects/demo"

func create(t *testing.T, s *secretmanager.Service, id string) *pb.Secret {
	t.Helper()
	made, err := s.CreateSecret(t.Context(), &pb.CreateSecretRequest{
		Parent: parent, SecretId: id,
		Secret: &pb.Secret{
			Replication: &pb.Replication{Replication: &pb.Replication_Automatic_{}},
			Labels:      map[string]string{"parity": fmt.Sprint(len(id) % 2)},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestWhatSecretManagerRefusesIsRefused(t *testing.T) {
	s := secretmanager.New()
	one := create(t, s, "one")
	add := func(data string, sum *int64) error {
		_, err := s.AddSecretVersion(t.Context(), &pb.AddSecretVersionRequest{
			Parent: one.GetName(), Payload: &pb.SecretPayload{Data: []byte(data), DataCrc32C: sum},
		})
		return err
	}
	wrong := int64(1)
	_, again := s.CreateSecret(t.Context(), &pb.CreateSecretRequest{Parent: parent, SecretId: "one", Secret: one})
	_, dotted := s.CreateSecret(t.Context(), &pb.CreateSecretRequest{Parent: parent, SecretId: "o.ne", Secret: one})
	_, nowhere := s.CreateSecret(t.Context(), &pb.CreateSecretRequest{Parent: parent, SecretId: "two", Secret: &pb.Secret{}})
	_, etag := s.DeleteSecret(t.Context(), &pb.DeleteSecretRequest{Name: one.GetName(), Etag: `"other"`})
	_, missing := s.DeleteSecret(t.Context(), &pb.DeleteSecretRequest{Name: parent + "/secrets/none"})
	_, filter := s.ListSecrets(t.Context(), &pb.ListSecretsRequest{Parent: parent, Filter: "name~one"})
	for _, row := range []struct {
		what string
		err  error
		want codes.Code
	}{
		{"a secret that exists", again, codes.AlreadyExists},
		{"an id with a dot", dotted, codes.InvalidArgument},
		{"no replication", nowhere, codes.InvalidArgument},
		{"another etag", etag, codes.FailedPrecondition},
		{"a missing secret", missing, codes.NotFound},
		{"a regular expression", filter, codes.InvalidArgument},
		{"an empty payload", add("", nil), codes.InvalidArgument},
		{"65,537 bytes", add(string(make([]byte, 65_537)), nil), codes.InvalidArgument},
		{"another checksum", add("text", &wrong), codes.InvalidArgument},
		{"no checksum", add("text", nil), codes.OK},
	} {
		if got := status.Code(row.err); got != row.want {
			t.Errorf("%s: got %v, want %v", row.what, row.err, row.want)
		}
	}
}

func TestADestroyedVersionIsGoneForEver(t *testing.T) {
	s := secretmanager.New()
	one := create(t, s, "one")
	for range 2 {
		if _, err := s.AddSecretVersion(t.Context(), &pb.AddSecretVersionRequest{
			Parent: one.GetName(), Payload: &pb.SecretPayload{Data: []byte("text")},
		}); err != nil {
			t.Fatal(err)
		}
	}
	newest := one.GetName() + "/versions/2"
	if _, err := s.DestroySecretVersion(t.Context(), &pb.DestroySecretVersionRequest{Name: newest}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]codes.Code{
		newest: codes.FailedPrecondition, one.GetName() + "/versions/latest": codes.FailedPrecondition,
		one.GetName() + "/versions/1": codes.OK, one.GetName() + "/versions/3": codes.NotFound,
		parent + "/secrets/none/versions/1": codes.NotFound,
	} {
		if _, err := s.AccessSecretVersion(t.Context(), &pb.AccessSecretVersionRequest{Name: name}); status.Code(err) != want {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	if _, err := s.DisableSecretVersion(t.Context(), &pb.DisableSecretVersionRequest{Name: newest}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("disabling it: %v", err)
	}
}

func TestListsAreFilteredPagedAndNewestFirst(t *testing.T) {
	s := secretmanager.New()
	for _, id := range []string{"conn-1", "other", "CONN-22", "conn-3", "xconn-4"} {
		create(t, s, id)
	}
	var got []string
	request := &pb.ListSecretsRequest{Parent: parent, PageSize: 2, Filter: "labels.parity=0 AND name:conn-"}
	for pages := 0; pages == 0 || request.GetPageToken() != ""; pages++ {
		response, err := s.ListSecrets(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range response.GetSecrets() {
			got = append(got, secret.GetName())
		}
		request.PageToken = response.GetNextPageToken()
	}
	if want := "[projects/demo/secrets/conn-3 projects/demo/secrets/conn-1]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
