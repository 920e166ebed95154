package vaulttest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/vault"
	"github.com/bkper/automations-portal/shared/vault/vaulttest"
)

// model is a vault that keeps every text it ever got, so that faults can bring old ones back. Each fault breaks one rule;
// without any it is right.
type model struct {
	mu    sync.Mutex
	texts map[string][]string
	fault string
}

func (m *model) has(fault string) bool { return m.fault == fault }

func (m *model) begin(ctx context.Context, check error) error {
	if check != nil && !m.has("takes any name and size") {
		return check
	}
	if ctx.Err() != nil && !m.has("works on after its context ended") {
		return ctx.Err()
	}
	return nil
}

func (m *model) key(name string) string {
	switch {
	case m.has("folds the case of names"):
		return strings.ToLower(name)
	case m.has("shortens names"):
		return name[:min(len(name), 4)]
	}
	return name
}

func (m *model) Get(ctx context.Context, name string) (secret.String, error) {
	if err := m.begin(ctx, vault.CheckName(name)); err != nil {
		return secret.String{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.texts[m.key(name)]
	if len(all) == 0 {
		if m.has("gives an empty secret for a missing one") {
			return secret.String{}, nil
		}
		return secret.String{}, vault.ErrNotFound
	}
	if m.has("reads the oldest") {
		return secret.New(all[0]), nil
	}
	return secret.New(all[len(all)-1]), nil
}

func (m *model) Put(ctx context.Context, name string, s secret.String) error {
	if err := m.begin(ctx, errors.Join(vault.CheckName(name), vault.CheckSecret(s))); err != nil {
		if m.has("tells the secret in an error") {
			return fmt.Errorf("put %s: %w", s.Reveal(), err)
		}
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	text, key := s.Reveal(), m.key(name)
	old := m.texts[key]
	switch {
	case m.has("keeps the old text beside the new"), m.has("reads the oldest"):
		m.texts[key] = append(old, text)
	case m.has("never replaces") && len(old) > 0:
	case m.has("mixes concurrent texts") && len(old) > 0 && len(old[0]) > 50:
		m.texts[key] = []string{old[0][:50] + text[min(50, len(text)):]}
	case m.has("cuts at a zero byte"):
		m.texts[key] = []string{strings.SplitN(text, "\x00", 2)[0]}
	case m.has("takes text only"):
		m.texts[key] = []string{strings.ToValidUTF8(text, "?")}
	case m.has("trims spaces"):
		m.texts[key] = []string{strings.TrimSpace(text)}
	case m.has("cuts long secrets"):
		m.texts[key] = []string{text[:min(len(text), 50_000)]}
	case m.has("refuses a name that was destroyed") && old != nil && len(old) == 0:
		return errors.New("destroyed")
	default:
		m.texts[key] = []string{text}
	}
	return nil
}

func (m *model) Destroy(ctx context.Context, name string) error {
	if err := m.begin(ctx, vault.CheckName(name)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := m.key(name)
	switch {
	case m.has("destroys nothing"):
	case m.has("destroys all secrets"):
		clear(m.texts)
	case m.has("refuses to destroy what is missing") && len(m.texts[key]) == 0:
		return vault.ErrNotFound
	case m.has("refuses a name that was destroyed"), m.has("lists what was destroyed"):
		m.texts[key] = []string{}
	default:
		delete(m.texts, key)
	}
	return nil
}

func (m *model) List(ctx context.Context, prefix, after string) ([]string, error) {
	if err := m.begin(ctx, vault.CheckList(prefix, after)); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name, texts := range m.texts {
		switch {
		case m.has("takes the prefix anywhere in the name") && strings.Contains(name, prefix) && name > after,
			m.has("lists from after on, itself included") && strings.HasPrefix(name, prefix) && name >= after,
			m.has("ignores after") && strings.HasPrefix(name, prefix):
			names = append(names, name)
		case strings.HasPrefix(name, prefix) && name > after && (len(texts) > 0 || m.has("lists what was destroyed")):
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if m.has("lists in reverse order") {
		slices.Reverse(names)
	}
	if m.has("lists without an end") {
		return names, nil
	}
	return names[:min(len(names), vault.MaxList)], nil
}

func (m *model) reopen() (vault.Vault, error) {
	if m.has("forgets at a restart") {
		clear(m.texts)
	}
	if m.has("brings the destroyed back at a restart") {
		m.texts["gone"] = []string{"text of gone"}
	}
	return m, nil
}

func (m *model) harness() vaulttest.Harness {
	return vaulttest.Harness{
		Vault:  m,
		Reopen: m.reopen,
		Readable: func(_ context.Context, name string) ([]string, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			return slices.Clone(m.texts[m.key(name)]), nil
		},
	}
}

// failing runs every check on vaults with the fault and returns the names of those that saw it.
func failing(ctx context.Context, fault string) map[string]bool {
	seen := map[string]bool{}
	for _, c := range vaulttest.Checks() {
		if c.Run(ctx, (&model{texts: map[string][]string{}, fault: fault}).harness()) != nil {
			seen[c.Name] = true
		}
	}
	return seen
}

func TestARightVaultPassesEveryCheck(t *testing.T) {
	if seen := failing(t.Context(), ""); len(seen) > 0 {
		t.Errorf("refused by %q", slices.Sorted(maps.Keys(seen)))
	}
}

func TestEveryPlantedViolationIsCaught(t *testing.T) {
	for _, fault := range []string{
		"takes any name and size",
		"works on after its context ended",
		"folds the case of names",
		"shortens names",
		"gives an empty secret for a missing one",
		"reads the oldest",
		"tells the secret in an error",
		"keeps the old text beside the new",
		"never replaces",
		"mixes concurrent texts",
		"cuts at a zero byte",
		"takes text only",
		"trims spaces",
		"cuts long secrets",
		"refuses a name that was destroyed",
		"destroys nothing",
		"destroys all secrets",
		"refuses to destroy what is missing",
		"lists what was destroyed",
		"takes the prefix anywhere in the name",
		"lists from after on, itself included",
		"ignores after",
		"lists in reverse order",
		"lists without an end",
		"forgets at a restart",
		"brings the destroyed back at a restart",
	} {
		t.Run(fault, func(t *testing.T) {
			if len(failing(t.Context(), fault)) == 0 {
				t.Error("no check sees it")
			}
		})
	}
}
