// Package secretmanager keeps the vault in Google's Secret Manager: one secret a name, of which only the newest version is
// ever left readable.
package secretmanager

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	pb "cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/vault"
)

// The label tells our secrets from others of the same project. Label values take neither capitals nor dots.
const (
	label = "kept-by"
	owner = "automations-portal"
)

const (
	maxScan     = 1_000_000 // names that List looks through
	scanPage    = 1_000     // names that List asks for at a time
	oldVersions = 100       // newest versions among which Put looks for older ones that can still be read
	putTries    = 3         // how often Put makes the secret again that a Destroy beside it deleted
	maxVersion  = 1 << 20   // greatest version number that Get looks for
)

// Vault is a vault in the Secret Manager of one project. Only what a call needs must be allowed:
//
//	Get      secretmanager.versions.access
//	Put      secretmanager.secrets.create, secretmanager.versions.{add,list,destroy}
//	Destroy  secretmanager.secrets.delete
//	List     secretmanager.secrets.list
//
// A Put that is cut short after it made the secret leaves a name that is listed and cannot be read; Put or Destroy
// finish it.
type Vault struct {
	project string
	options []option.ClientOption

	mu     sync.Mutex
	client *secretmanager.Client
}

var _ vault.Vault = (*Vault)(nil)

// New returns the vault of a Google Cloud project. The client is made at the first call, from options and else from the
// environment as Google's clients do.
func New(project string, options ...option.ClientOption) *Vault {
	return &Vault{project: project, options: options}
}

// Close ends the client's connections.
func (v *Vault) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.client == nil {
		return nil
	}
	client := v.client
	v.client = nil
	return client.Close()
}

// connect returns the client, made without the context of the one call that happens to be first.
func (v *Vault) connect() (*secretmanager.Client, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.client != nil {
		return v.client, nil
	}
	client, err := secretmanager.NewClient(context.Background(), v.options...)
	if err != nil {
		return nil, err
	}
	client.CallOptions = &secretmanager.CallOptions{} // tries are counted here, not by the clock alone
	v.client = client
	return client, nil
}

func (v *Vault) secretName(name string) string {
	return "projects/" + v.project + "/secrets/" + name
}

// Get implements vault.Reader. A disabled version counts as missing.
func (v *Vault) Get(ctx context.Context, name string) (secret.String, error) {
	if err := vault.CheckName(name); err != nil {
		return secret.String{}, fmt.Errorf("read the secret: %w", err)
	}
	s, err := v.access(ctx, name, "latest")
	if errors.Is(err, vault.ErrNotFound) {
		s, err = v.accessNewest(ctx, name)
	}
	if err != nil {
		return secret.String{}, fmt.Errorf("read the secret %s: %w", name, err)
	}
	return s, nil
}

// errUnreadable: the version exists, but was disabled or destroyed.
var errUnreadable = fmt.Errorf("%w: its newest version is disabled or destroyed", vault.ErrNotFound)

// accessNewest is for when "latest" names nothing that can be read: that name follows a new version only after a while,
// whereas reading by number is strongly consistent (https://cloud.google.com/secret-manager/docs/reference/consistency).
// Numbers begin at 1 and have no gaps, so the newest is found by doubling and halving.
func (v *Vault) accessNewest(ctx context.Context, name string) (s secret.String, err error) {
	err = vault.ErrNotFound
	below, above := 0, maxVersion // below exists, above does not
	for probe := 1; above-below > 1; {
		found, foundErr := v.access(ctx, name, strconv.Itoa(probe))
		switch {
		case foundErr == nil || errors.Is(foundErr, errUnreadable):
			below, s, err = probe, found, foundErr
		case errors.Is(foundErr, vault.ErrNotFound):
			above = probe
		default:
			return secret.String{}, foundErr
		}
		probe = min(2*below, (below+above)/2)
	}
	return s, err
}

// access reads one version. errUnreadable, vault.ErrNotFound.
func (v *Vault) access(ctx context.Context, name, version string) (secret.String, error) {
	var answer *pb.AccessSecretVersionResponse
	err := v.call(ctx, func(ctx context.Context, c *secretmanager.Client) (err error) {
		answer, err = c.AccessSecretVersion(ctx, &pb.AccessSecretVersionRequest{Name: v.secretName(name) + "/versions/" + version})
		if err == nil && !intact(answer.GetPayload()) {
			return status.Error(codes.Unavailable, "the payload does not fit its checksum")
		}
		return err
	})
	switch status.Code(err) {
	case codes.OK:
		return secret.New(string(answer.GetPayload().GetData())), nil
	case codes.NotFound:
		return secret.String{}, vault.ErrNotFound
	case codes.FailedPrecondition:
		return secret.String{}, errUnreadable
	}
	return secret.String{}, err
}

func intact(p *pb.SecretPayload) bool {
	return p.DataCrc32C != nil && *p.DataCrc32C == checksum(p.GetData())
}

func checksum(data []byte) int64 {
	return int64(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
}

// Put implements vault.Writer. Wherever it is cut short, the newest complete text is the one that is read, and the next Put
// or Destroy of the name ends what is left of older ones.
func (v *Vault) Put(ctx context.Context, name string, s secret.String) error {
	if err := errors.Join(vault.CheckName(name), vault.CheckSecret(s)); err != nil {
		return fmt.Errorf("write the secret: %w", err)
	}
	number, err := v.add(ctx, name, s)
	if err == nil {
		err = v.destroyBelow(ctx, name, number)
	}
	if err != nil {
		return fmt.Errorf("write the secret %s: %w", name, err)
	}
	return nil
}

// add adds a version, and makes the secret first where it is missing. It returns the version's number.
func (v *Vault) add(ctx context.Context, name string, s secret.String) (number int, err error) {
	for range putTries {
		number, err = v.addVersion(ctx, name, s)
		if status.Code(err) != codes.NotFound {
			return number, err
		}
		if err := v.create(ctx, name); err != nil {
			return 0, err
		}
	}
	return 0, err
}

func (v *Vault) addVersion(ctx context.Context, name string, s secret.String) (int, error) {
	data := []byte(s.Reveal())
	sum := checksum(data)
	var added *pb.SecretVersion
	err := v.call(ctx, func(ctx context.Context, c *secretmanager.Client) (err error) {
		added, err = c.AddSecretVersion(ctx, &pb.AddSecretVersionRequest{
			Parent:  v.secretName(name),
			Payload: &pb.SecretPayload{Data: data, DataCrc32C: &sum},
		})
		if err != nil {
			// This is the one call that carries the secret; what a server says of it may quote it.
			return status.Error(status.Code(err), "adding the version failed")
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return versionNumber(added.GetName())
}

func versionNumber(resource string) (int, error) {
	number, err := strconv.Atoi(path.Base(resource))
	if err != nil {
		return 0, fmt.Errorf("not the name of a version: %q", resource)
	}
	return number, nil
}

func (v *Vault) create(ctx context.Context, name string) error {
	err := v.call(ctx, func(ctx context.Context, c *secretmanager.Client) error {
		_, err := c.CreateSecret(ctx, &pb.CreateSecretRequest{
			Parent:   "projects/" + v.project,
			SecretId: name,
			Secret: &pb.Secret{
				Replication: &pb.Replication{Replication: &pb.Replication_Automatic_{Automatic: &pb.Replication_Automatic{}}},
				Labels:      map[string]string{label: owner},
			},
		})
		return err
	})
	if status.Code(err) == codes.AlreadyExists {
		return nil
	}
	return err
}

// destroyBelow destroys every older version, never a newer one, which a Put beside this one may have added. The list is
// only eventually consistent, so the version just before is destroyed whether it is listed or not.
func (v *Vault) destroyBelow(ctx context.Context, name string, number int) error {
	old, err := v.undestroyed(ctx, name)
	if err != nil {
		return err
	}
	for _, n := range slices.Compact(slices.Sorted(slices.Values(append(old, number-1)))) {
		if n < 1 || n >= number {
			continue
		}
		if err := v.destroyVersion(ctx, name, n); err != nil {
			return err
		}
	}
	return nil
}

// undestroyed returns the numbers of versions that can be read or be made readable again.
func (v *Vault) undestroyed(ctx context.Context, name string) ([]int, error) {
	var numbers []int
	err := v.call(ctx, func(ctx context.Context, c *secretmanager.Client) error {
		numbers = nil
		versions := c.ListSecretVersions(ctx, &pb.ListSecretVersionsRequest{Parent: v.secretName(name), PageSize: oldVersions})
		for range oldVersions {
			version, err := versions.Next()
			if errors.Is(err, iterator.Done) {
				return nil
			}
			if err != nil {
				return err
			}
			if version.GetState() == pb.SecretVersion_DESTROYED {
				continue
			}
			number, err := versionNumber(version.GetName())
			if err != nil {
				return err
			}
			numbers = append(numbers, number)
		}
		return nil
	})
	if status.Code(err) == codes.NotFound { // a Destroy beside this Put has ended all versions
		return nil, nil
	}
	return numbers, err
}

func (v *Vault) destroyVersion(ctx context.Context, name string, number int) error {
	err := v.call(ctx, func(ctx context.Context, c *secretmanager.Client) error {
		_, err := c.DestroySecretVersion(ctx, &pb.DestroySecretVersionRequest{
			Name: fmt.Sprintf("%s/versions/%d", v.secretName(name), number),
		})
		return err
	})
	switch status.Code(err) {
	case codes.NotFound, codes.FailedPrecondition: // it was destroyed before
		return nil
	}
	return err
}

// Destroy implements vault.Vault: the secret is deleted with all its versions.
func (v *Vault) Destroy(ctx context.Context, name string) error {
	if err := vault.CheckName(name); err != nil {
		return fmt.Errorf("destroy the secret: %w", err)
	}
	err := v.call(ctx, func(ctx context.Context, c *secretmanager.Client) error {
		return c.DeleteSecret(ctx, &pb.DeleteSecretRequest{Name: v.secretName(name)})
	})
	if err != nil && status.Code(err) != codes.NotFound {
		return fmt.Errorf("destroy the secret %s: %w", name, err)
	}
	return nil
}

// List implements vault.Vault. Secret Manager neither sorts by name nor begins in the middle, so a call reads the names of
// all secrets that contain prefix, whatever after is.
func (v *Vault) List(ctx context.Context, prefix, after string) ([]string, error) {
	if err := vault.CheckList(prefix, after); err != nil {
		return nil, fmt.Errorf("list the secrets: %w", err)
	}
	var names []string
	err := v.call(ctx, func(ctx context.Context, c *secretmanager.Client) (err error) {
		names, err = scan(c.ListSecrets(ctx, &pb.ListSecretsRequest{
			Parent: "projects/" + v.project, PageSize: scanPage, Filter: filter(prefix),
		}), prefix, after)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the secrets: %w", err)
	}
	return names, nil
}

// filter is in the words of https://cloud.google.com/secret-manager/docs/filtering, where name:X means that X occurs
// anywhere in the name.
func filter(prefix string) string {
	all := "labels." + label + "=" + owner
	if prefix == "" {
		return all
	}
	return all + " AND name:" + prefix
}

// scan returns the first names, in order, and never holds more than twice as many.
func scan(secrets *secretmanager.SecretIterator, prefix, after string) ([]string, error) {
	var names []string
	for range maxScan {
		s, err := secrets.Next()
		if errors.Is(err, iterator.Done) {
			return first(names), nil
		}
		if err != nil {
			return nil, err
		}
		if name := path.Base(s.GetName()); strings.HasPrefix(name, prefix) && name > after {
			names = append(names, name)
		}
		if len(names) == 2*vault.MaxList {
			names = first(names)
		}
	}
	return nil, fmt.Errorf("there are more than %d secrets", maxScan)
}

func first(names []string) []string {
	slices.Sort(names)
	return names[:min(len(names), vault.MaxList)]
}
