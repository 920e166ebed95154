package secretmanager_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	pb "cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sandbox "github.com/bkper/automations-portal/shared/sandbox/secretmanager"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/vault"
	"github.com/bkper/automations-portal/shared/vault/secretmanager"
	"github.com/bkper/automations-portal/shared/vault/vaulttest"
)

const project = "demo-portal"

// open returns a vault on a stand-in of its own and a function that opens it anew.
func open(t *testing.T, service *sandbox.Service, fault sandbox.Fault) (*secretmanager.Vault, func() *secretmanager.Vault) {
	t.Helper()
	options, stop, err := sandbox.Serve(service, fault)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	again := func() *secretmanager.Vault {
		v := secretmanager.New(project, options...)
		t.Cleanup(func() { v.Close() })
		return v
	}
	return again(), again
}

func readable(service *sandbox.Service, name string) []string {
	return service.Payloads("projects/" + project + "/secrets/" + name)
}

func harness(t *testing.T, service *sandbox.Service) vaulttest.Harness {
	v, again := open(t, service, nil)
	return vaulttest.Harness{
		Vault: v,
		Reopen: func() (vault.Vault, error) {
			return again(), v.Close()
		},
		Readable: func(_ context.Context, name string) ([]string, error) { return readable(service, name), nil },
	}
}

func TestSecretManagerPassesTheSuite(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T) vaulttest.Harness { return harness(t, sandbox.New()) })
}

func TestSecretManagerThatLagsBehindPassesTheSuite(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T) vaulttest.Harness {
		service := sandbox.New()
		service.Lag(true)
		return harness(t, service)
	})
}

// cut lets the n-th call fail before or after it takes effect, as a lost answer does; the calls after it are untouched.
func cut(n int32, after bool) (sandbox.Fault, *atomic.Int32) {
	var calls atomic.Int32
	return func(_ context.Context, _ string, next func() (any, error)) (any, error) {
		if calls.Add(1) != n {
			return next()
		}
		if after {
			_, _ = next() // its answer is what gets lost
		}
		return nil, status.Error(codes.PermissionDenied, "cut")
	}, &calls
}

func TestAPutThatIsCutAnywhereIsFinishedByItsRetry(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := int32(1); ; n++ {
			service := sandbox.New()
			v, _ := open(t, service, nil)
			if err := v.Put(t.Context(), "one", secret.New("old")); err != nil {
				t.Fatal(err)
			}
			fault, calls := cut(n, after)
			faulty, _ := open(t, service, fault)
			err := faulty.Put(t.Context(), "one", secret.New("new"))
			if err == nil && calls.Load() < n {
				break // a run without a cut: all places were tried
			}
			if got, err := v.Get(t.Context(), "one"); err != nil || got.Reveal() != "old" && got.Reveal() != "new" {
				t.Errorf("cut at call %d, after %v: neither text can be read: %v", n, after, err)
			}
			if err := v.Put(t.Context(), "one", secret.New("new")); err != nil {
				t.Fatal(err)
			}
			if got := readable(service, "one"); !slices.Equal(got, []string{"new"}) {
				t.Errorf("cut at call %d, after %v: %d texts can be read after the retry", n, after, len(got))
			}
		}
	}
}

func TestAFirstPutThatIsCutAnywhereIsFinishedByItsRetryOrByDestroy(t *testing.T) {
	for _, finish := range []func(context.Context, *secretmanager.Vault) error{
		func(ctx context.Context, v *secretmanager.Vault) error { return v.Put(ctx, "one", secret.New("new")) },
		func(ctx context.Context, v *secretmanager.Vault) error { return v.Destroy(ctx, "one") },
	} {
		for n := int32(1); n <= 4; n++ {
			service := sandbox.New()
			fault, _ := cut(n, true)
			faulty, _ := open(t, service, fault)
			_ = faulty.Put(t.Context(), "one", secret.New("new")) // cut
			if err := finish(t.Context(), faulty); err != nil {
				t.Fatal(err)
			}
			if n := len(readable(service, "one")); n > 1 {
				t.Errorf("%d texts can be read", n)
			}
		}
	}
}

func TestAVersionDisabledOrDestroyedByAnOperatorIsNotFound(t *testing.T) {
	for _, turn := range []func(*sandbox.Service, string) error{
		func(s *sandbox.Service, version string) error {
			_, err := s.DisableSecretVersion(t.Context(), &pb.DisableSecretVersionRequest{Name: version})
			return err
		},
		func(s *sandbox.Service, version string) error {
			_, err := s.DestroySecretVersion(t.Context(), &pb.DestroySecretVersionRequest{Name: version})
			return err
		},
	} {
		service := sandbox.New()
		v, _ := open(t, service, nil)
		for _, text := range []string{"a", "b", "c"} {
			if err := v.Put(t.Context(), "one", secret.New(text)); err != nil {
				t.Fatal(err)
			}
		}
		if err := turn(service, "projects/"+project+"/secrets/one/versions/3"); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Get(t.Context(), "one"); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	}
}

func TestTheNewestOfManyVersionsIsFoundByNumber(t *testing.T) {
	service := sandbox.New()
	service.Lag(true)
	v, _ := open(t, service, nil)
	for i := range 40 {
		text := strings.Repeat("x", i+1)
		if err := v.Put(t.Context(), "one", secret.New(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := v.Get(t.Context(), "one"); err != nil || got.Reveal() != text {
			t.Fatalf("version %d: %v", i+1, err)
		}
	}
}

func TestAPayloadThatDoesNotFitItsChecksumIsReadAgain(t *testing.T) {
	service := sandbox.New()
	v, _ := open(t, service, nil)
	if err := v.Put(t.Context(), "one", secret.New("text")); err != nil {
		t.Fatal(err)
	}
	for failures, wanted := range map[int32]codes.Code{2: codes.OK, 100: codes.Unavailable} {
		var calls atomic.Int32
		damaged, _ := open(t, service, func(_ context.Context, _ string, next func() (any, error)) (any, error) {
			answer, err := next()
			if access, ok := answer.(*pb.AccessSecretVersionResponse); ok && calls.Add(1) <= failures {
				access.Payload.Data[0] ^= 1
			}
			return answer, err
		})
		got, err := damaged.Get(t.Context(), "one")
		if status.Code(errors.Unwrap(err)) != wanted || err == nil && got.Reveal() != "text" {
			t.Errorf("after %d damaged answers: %v", failures, err)
		}
		if n := calls.Load(); n > 4 {
			t.Errorf("%d calls", n)
		}
	}
}

func TestAwayForAMomentIsTriedAgainAndForLongerIsAnError(t *testing.T) {
	for away, want := range map[int32]bool{3: true, 1000: false} {
		var calls atomic.Int32
		v, _ := open(t, sandbox.New(), func(_ context.Context, _ string, next func() (any, error)) (any, error) {
			if calls.Add(1) <= away {
				return nil, status.Error(codes.Unavailable, "away")
			}
			return next()
		})
		if _, err := v.Get(t.Context(), "none"); errors.Is(err, vault.ErrNotFound) != want {
			t.Errorf("away for %d calls: %v", away, err)
		}
		if n := calls.Load(); n > 6 {
			t.Errorf("away for %d calls: called %d times", away, n)
		}
	}
}

func TestAnErrorOfTheServerNeverTellsTheSecret(t *testing.T) {
	const canary = "canary-77f0"
	v, _ := open(t, sandbox.New(), func(context.Context, string, func() (any, error)) (any, error) {
		return nil, status.Error(codes.InvalidArgument, "not a payload: "+canary)
	})
	if err := v.Put(t.Context(), "one", secret.New(canary)); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v", err)
	}
}

func TestSecretsOfOthersInTheProjectAreNotListed(t *testing.T) {
	service := sandbox.New()
	_, err := service.CreateSecret(t.Context(), &pb.CreateSecretRequest{
		Parent: "projects/" + project, SecretId: "connection-of-another-system",
		Secret: &pb.Secret{Replication: &pb.Replication{Replication: &pb.Replication_Automatic_{}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := open(t, service, nil)
	if err := v.Put(t.Context(), "connection-1", secret.New("x")); err != nil {
		t.Fatal(err)
	}
	if got, err := v.List(t.Context(), "connection-", ""); err != nil || !slices.Equal(got, []string{"connection-1"}) {
		t.Errorf("got %q, %v", got, err)
	}
}
