// Package vaulttest is the suite that every vault passes.
package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/vault"
)

// Harness is an empty vault and what a check must be able to do to it.
type Harness struct {
	Vault vault.Vault
	// Reopen closes the vault and opens it again as a new process would, with all that has been kept.
	Reopen func() (vault.Vault, error)
	// Readable gives every text that somebody with all rights in the vault could still read under a name, so that older
	// ones show which Get hides.
	Readable func(ctx context.Context, name string) ([]string, error)
}

// Check is one property of every vault; an error says how it is violated.
type Check struct {
	Name string
	Run  func(ctx context.Context, h Harness) error
}

// Run holds a vault against every check, each with a vault of its own from open.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Checks returns all checks.
func Checks() []Check {
	return []Check{
		{"what was put is read, byte for byte", bytesStand},
		{"a missing secret is not found", missingIsNotFound},
		{"a secret that is put again is replaced and its old text unreadable", replaced},
		{"a destroyed secret is unreadable and leaves the list", destroyed},
		{"destroying what is gone is a success", destroyTwice},
		{"a name can be used again after it was destroyed", putAfterDestroy},
		{"secrets of 1 to 65,536 bytes are taken and no others", sizes},
		{"names that Secret Manager would refuse are refused", names},
		{"names that differ in case or by a character more are different secrets", namesApart},
		{"a list has the prefix, an order, a beginning and an end", lists},
		{"a list is cut at 1,000 and goes on from there", longList},
		{"a restart keeps what was put and brings nothing destroyed back", restart},
		{"of concurrent writes one whole text stands, and only that", lastWriteStands},
		{"concurrent secrets never mix", neverMixed},
		{"a reader beside writers always finds a whole text", readersBesideWriters},
		{"writing and destroying at once leave either of the two", putBesideDestroy},
		{"an ended context stops every call before it does anything", endedContext},
		{"no error tells a secret", errorsTellNothing},
	}
}

func bytesStand(ctx context.Context, h Harness) error {
	for i, text := range []string{"access-token", "a\x00b", "\xff\xfe\x80", " spaced\r\n", "çã€😀", string(allBytes())} {
		name := fmt.Sprintf("binary-%d", i)
		if err := h.Vault.Put(ctx, name, secret.New(text)); err != nil {
			return err
		}
		if err := holds(ctx, h.Vault, name, text); err != nil {
			return err
		}
	}
	return nil
}

func allBytes() []byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return all
}

func missingIsNotFound(ctx context.Context, h Harness) error {
	return absent(ctx, h, "never-put")
}

func replaced(ctx context.Context, h Harness) error {
	for _, text := range []string{"first", "second", "third", "third"} {
		if err := h.Vault.Put(ctx, "one", secret.New(text)); err != nil {
			return err
		}
		if err := onlyReadable(ctx, h, "one", text); err != nil {
			return err
		}
	}
	return nil
}

func destroyed(ctx context.Context, h Harness) error {
	if err := put(ctx, h.Vault, "gone", "kept"); err != nil {
		return err
	}
	if err := h.Vault.Destroy(ctx, "gone"); err != nil {
		return err
	}
	if err := absent(ctx, h, "gone"); err != nil {
		return err
	}
	if err := listed(ctx, h.Vault, "", "", "kept"); err != nil {
		return err
	}
	return holds(ctx, h.Vault, "kept", "text of kept")
}

func destroyTwice(ctx context.Context, h Harness) error {
	if err := put(ctx, h.Vault, "gone"); err != nil {
		return err
	}
	for _, name := range []string{"gone", "gone", "never-put"} {
		if err := h.Vault.Destroy(ctx, name); err != nil {
			return fmt.Errorf("destroying %s: %w", name, err)
		}
	}
	return nil
}

func putAfterDestroy(ctx context.Context, h Harness) error {
	for i := range 3 {
		text := fmt.Sprintf("life %d", i)
		if err := h.Vault.Put(ctx, "again", secret.New(text)); err != nil {
			return err
		}
		if err := onlyReadable(ctx, h, "again", text); err != nil {
			return err
		}
		if err := h.Vault.Destroy(ctx, "again"); err != nil {
			return err
		}
	}
	return absent(ctx, h, "again")
}

func sizes(ctx context.Context, h Harness) error {
	for _, n := range []int{1, 2, 4_096, vault.MaxSize} {
		text := strings.Repeat("x", n-1) + "y"
		if err := h.Vault.Put(ctx, "sized", secret.New(text)); err != nil {
			return fmt.Errorf("%d bytes: %w", n, err)
		}
		if err := holds(ctx, h.Vault, "sized", text); err != nil {
			return fmt.Errorf("%d bytes: %w", n, err)
		}
	}
	if err := h.Vault.Put(ctx, "sized", secret.New("stands")); err != nil {
		return err
	}
	for _, n := range []int{0, vault.MaxSize + 1} {
		if err := h.Vault.Put(ctx, "sized", secret.New(strings.Repeat("x", n))); !errors.Is(err, vault.ErrInvalid) {
			return fmt.Errorf("%d bytes: got %v, want ErrInvalid", n, err)
		}
	}
	return holds(ctx, h.Vault, "sized", "stands")
}

func names(ctx context.Context, h Harness) error {
	for _, name := range []string{"", "a/b", "a b", "a.b", "a\x00", "é", "..", "a'b", "a%", strings.Repeat("a", vault.MaxName+1)} {
		_, get := h.Vault.Get(ctx, name)
		put, destroy := h.Vault.Put(ctx, name, secret.New("x")), h.Vault.Destroy(ctx, name)
		for _, err := range []error{get, put, destroy} {
			if !errors.Is(err, vault.ErrInvalid) {
				return fmt.Errorf("%q: got %v, want ErrInvalid", name, err)
			}
		}
	}
	for _, bad := range []string{"a/b", "a OR b", `a"`, "a%", "*"} {
		_, prefix := h.Vault.List(ctx, bad, "")
		_, after := h.Vault.List(ctx, "", bad)
		if !errors.Is(prefix, vault.ErrInvalid) || !errors.Is(after, vault.ErrInvalid) {
			return fmt.Errorf("listing %q: got %v and %v, want ErrInvalid", bad, prefix, after)
		}
	}
	return put(ctx, h.Vault, "a", "-", "_", "0", "Az09_-", strings.Repeat("n", vault.MaxName))
}

func namesApart(ctx context.Context, h Harness) error {
	all := []string{"name", "Name", "names", "nam", "na_me", "na-me", "naXme"}
	if err := put(ctx, h.Vault, all...); err != nil {
		return err
	}
	for _, name := range all {
		if err := onlyReadable(ctx, h, name, "text of "+name); err != nil {
			return err
		}
	}
	if err := h.Vault.Destroy(ctx, "name"); err != nil {
		return err
	}
	return listed(ctx, h.Vault, "", "", "Name", "na-me", "naXme", "na_me", "nam", "names")
}

func lists(ctx context.Context, h Harness) error {
	if err := listed(ctx, h.Vault, "", ""); err != nil {
		return err
	}
	err := put(ctx, h.Vault, "grant-2", "connection-b", "connection-a", "xconnection-d", "connection", "connection-c", "Connection-e", "connection_f")
	if err != nil {
		return err
	}
	for _, row := range []struct {
		prefix, after string
		want          []string
	}{
		{"", "", []string{"Connection-e", "connection", "connection-a", "connection-b", "connection-c", "connection_f", "grant-2", "xconnection-d"}},
		{"connection-", "", []string{"connection-a", "connection-b", "connection-c"}},
		{"connection-", "connection-a", []string{"connection-b", "connection-c"}},
		{"connection-", "connection-aa", []string{"connection-b", "connection-c"}},
		{"connection-", "connection-c", nil},
		{"connection-", "a", []string{"connection-a", "connection-b", "connection-c"}},
		{"connection-", "zzz", nil},
		{"session-", "", nil},
		{"", "connection_f", []string{"grant-2", "xconnection-d"}},
	} {
		if err := listed(ctx, h.Vault, row.prefix, row.after, row.want...); err != nil {
			return err
		}
	}
	return nil
}

func longList(ctx context.Context, h Harness) error {
	const all = vault.MaxList + 5
	var want []string
	for i := range all {
		want = append(want, fmt.Sprintf("many-%04d", i))
	}
	if err := put(ctx, h.Vault, want...); err != nil {
		return err
	}
	if err := listed(ctx, h.Vault, "many-", "", want[:vault.MaxList]...); err != nil {
		return err
	}
	return listed(ctx, h.Vault, "many-", want[vault.MaxList-1], want[vault.MaxList:]...)
}

func restart(ctx context.Context, h Harness) error {
	if err := put(ctx, h.Vault, "kept", "replaced", "gone"); err != nil {
		return err
	}
	if err := h.Vault.Put(ctx, "replaced", secret.New("newer")); err != nil {
		return err
	}
	if err := h.Vault.Destroy(ctx, "gone"); err != nil {
		return err
	}
	var err error
	if h.Vault, err = h.Reopen(); err != nil {
		return err
	}
	if err := onlyReadable(ctx, h, "kept", "text of kept"); err != nil {
		return err
	}
	if err := onlyReadable(ctx, h, "replaced", "newer"); err != nil {
		return err
	}
	if err := absent(ctx, h, "gone"); err != nil {
		return err
	}
	return listed(ctx, h.Vault, "", "", "kept", "replaced")
}

const writers = 16

func lastWriteStands(ctx context.Context, h Harness) error {
	texts := make([]string, writers)
	err := atOnce(writers, func(i int) error {
		texts[i] = whole(i)
		return h.Vault.Put(ctx, "raced", secret.New(texts[i]))
	})
	if err != nil {
		return err
	}
	got, err := h.Vault.Get(ctx, "raced")
	if err != nil {
		return err
	}
	if !slices.Contains(texts, got.Reveal()) {
		return errors.New("what stands was put by nobody")
	}
	if err := onlyReadable(ctx, h, "raced", got.Reveal()); err != nil {
		return err
	}
	if err := h.Vault.Put(ctx, "raced", secret.New("after them all")); err != nil {
		return err
	}
	return onlyReadable(ctx, h, "raced", "after them all")
}

func neverMixed(ctx context.Context, h Harness) error {
	return atOnce(writers, func(i int) error {
		name := fmt.Sprintf("own-%d", i)
		for round := range 5 {
			text := whole(i*100 + round)
			if err := h.Vault.Put(ctx, name, secret.New(text)); err != nil {
				return err
			}
			if err := holds(ctx, h.Vault, name, text); err != nil {
				return err
			}
		}
		return nil
	})
}

func readersBesideWriters(ctx context.Context, h Harness) error {
	if err := h.Vault.Put(ctx, "shared", secret.New(whole(0))); err != nil {
		return err
	}
	return atOnce(6, func(i int) error {
		for round := range 10 {
			if i%2 == 0 {
				if err := h.Vault.Put(ctx, "shared", secret.New(whole(round))); err != nil {
					return err
				}
				continue
			}
			got, err := h.Vault.Get(ctx, "shared")
			if err != nil {
				return fmt.Errorf("a secret that always stands: %w", err)
			}
			if err := isWhole(got.Reveal()); err != nil {
				return err
			}
		}
		return nil
	})
}

func putBesideDestroy(ctx context.Context, h Harness) error {
	for range 5 {
		err := atOnce(4, func(i int) error {
			if i%2 == 0 {
				return h.Vault.Destroy(ctx, "contested")
			}
			return h.Vault.Put(ctx, "contested", secret.New(whole(i)))
		})
		if err != nil {
			return err
		}
		got, err := h.Vault.Get(ctx, "contested")
		if err == nil {
			err = isWhole(got.Reveal())
		} else if errors.Is(err, vault.ErrNotFound) {
			err = nil
		}
		if err != nil {
			return err
		}
	}
	if err := h.Vault.Destroy(ctx, "contested"); err != nil {
		return err
	}
	return absent(ctx, h, "contested")
}

func endedContext(ctx context.Context, h Harness) error {
	if err := put(ctx, h.Vault, "stands"); err != nil {
		return err
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, get := h.Vault.Get(ended, "stands")
	_, list := h.Vault.List(ended, "", "")
	put, destroy := h.Vault.Put(ended, "stands", secret.New("other")), h.Vault.Destroy(ended, "stands")
	for call, err := range map[string]error{"Get": get, "List": list, "Put": put, "Destroy": destroy} {
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("%s: got %v, want context.Canceled", call, err)
		}
	}
	return onlyReadable(ctx, h, "stands", "text of stands")
}

func errorsTellNothing(ctx context.Context, h Harness) error {
	const canary = "canary-5b1f"
	ended, cancel := context.WithCancel(ctx)
	cancel()
	long := canary + strings.Repeat("x", vault.MaxSize)
	for _, err := range []error{
		h.Vault.Put(ctx, "bad/name", secret.New(canary)),
		h.Vault.Put(ctx, "too-long", secret.New(long)),
		h.Vault.Put(ended, "ended", secret.New(canary)),
	} {
		if err == nil {
			return errors.New("a call that must fail has not")
		}
		if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), canary) {
			return errors.New("an error tells the secret")
		}
	}
	return nil
}

func put(ctx context.Context, v vault.Vault, names ...string) error {
	for _, name := range names {
		if err := v.Put(ctx, name, secret.New("text of "+name)); err != nil {
			return fmt.Errorf("putting %s: %w", name, err)
		}
	}
	return nil
}

func holds(ctx context.Context, v vault.Vault, name, want string) error {
	got, err := v.Get(ctx, name)
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if got.Reveal() != want {
		return fmt.Errorf("%s holds %d bytes that are not the %d last put", name, len(got.Reveal()), len(want))
	}
	return nil
}

func onlyReadable(ctx context.Context, h Harness, name, want string) error {
	if err := holds(ctx, h.Vault, name, want); err != nil {
		return err
	}
	all, err := h.Readable(ctx, name)
	if err != nil {
		return err
	}
	if len(all) != 1 || all[0] != want {
		return fmt.Errorf("%s: %d texts can be read, want only the last", name, len(all))
	}
	return nil
}

func absent(ctx context.Context, h Harness, name string) error {
	if _, err := h.Vault.Get(ctx, name); !errors.Is(err, vault.ErrNotFound) {
		return fmt.Errorf("reading %s: got %v, want ErrNotFound", name, err)
	}
	all, err := h.Readable(ctx, name)
	if err != nil {
		return err
	}
	if len(all) != 0 {
		return fmt.Errorf("%s: %d texts can still be read", name, len(all))
	}
	return nil
}

func listed(ctx context.Context, v vault.Vault, prefix, after string, want ...string) error {
	got, err := v.List(ctx, prefix, after)
	if err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("listing %q after %q: got %d names %.200q, want %d %.200q", prefix, after, len(got), got, len(want), want)
	}
	return nil
}

// whole is a text in which a mix with another one shows: one letter, many times.
func whole(i int) string { return strings.Repeat(string(rune('A'+i%26)), 100+i) }

func isWhole(text string) error {
	if text == "" || strings.Trim(text, text[:1]) != "" {
		return errors.New("a text is a mix of two")
	}
	return nil
}

// atOnce runs do(0) … do(n-1) side by side.
func atOnce(n int, do func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
