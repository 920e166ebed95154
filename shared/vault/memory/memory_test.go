package memory_test

import (
	"context"
	"errors"
	"testing"

	"github.com/bkper/automations-portal/shared/vault"
	"github.com/bkper/automations-portal/shared/vault/memory"
	"github.com/bkper/automations-portal/shared/vault/vaulttest"
)

func TestTheMemoryVaultPassesTheSuite(t *testing.T) {
	vaulttest.Run(t, func(*testing.T) vaulttest.Harness {
		v := new(memory.Vault)
		return vaulttest.Harness{
			Vault:  v,
			Reopen: func() (vault.Vault, error) { return v, nil }, // a simulated restart keeps the vault
			Readable: func(ctx context.Context, name string) ([]string, error) {
				s, err := v.Get(ctx, name)
				if errors.Is(err, vault.ErrNotFound) {
					return nil, nil
				}
				return []string{s.Reveal()}, err
			},
		}
	})
}
