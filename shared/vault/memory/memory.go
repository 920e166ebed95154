// Package memory is a vault that forgets everything with the process: for simulators, never for people's tokens.
package memory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/vault"
)

// Vault keeps secrets in a map. The zero Vault is empty and ready.
type Vault struct {
	mu      sync.Mutex
	secrets map[string]secret.String
}

var _ vault.Vault = (*Vault)(nil)

// Get implements vault.Reader.
func (v *Vault) Get(ctx context.Context, name string) (secret.String, error) {
	if err := begin(ctx, vault.CheckName(name)); err != nil {
		return secret.String{}, fmt.Errorf("read the secret: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	s, ok := v.secrets[name]
	if !ok {
		return secret.String{}, fmt.Errorf("read the secret %s: %w", name, vault.ErrNotFound)
	}
	return s, nil
}

// Put implements vault.Writer.
func (v *Vault) Put(ctx context.Context, name string, s secret.String) error {
	if err := begin(ctx, vault.CheckName(name), vault.CheckSecret(s)); err != nil {
		return fmt.Errorf("write the secret: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.secrets == nil {
		v.secrets = map[string]secret.String{}
	}
	v.secrets[name] = s
	return nil
}

// Destroy implements vault.Vault.
func (v *Vault) Destroy(ctx context.Context, name string) error {
	if err := begin(ctx, vault.CheckName(name)); err != nil {
		return fmt.Errorf("destroy the secret: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.secrets, name)
	return nil
}

// List implements vault.Vault.
func (v *Vault) List(ctx context.Context, prefix, after string) ([]string, error) {
	if err := begin(ctx, vault.CheckList(prefix, after)); err != nil {
		return nil, fmt.Errorf("list the secrets: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var names []string
	for name := range v.secrets {
		if strings.HasPrefix(name, prefix) && name > after {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names[:min(len(names), vault.MaxList)], nil
}

// begin returns the first error of checks, or that of a context that has ended.
func begin(ctx context.Context, checks ...error) error {
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}
