package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tree copies the project, as far as git knows it, so that a test may change it.
func tree(t *testing.T) (root, original string) {
	t.Helper()
	original, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = original
	paths, err := list.Output()
	if err != nil {
		t.Skipf("not run: git does not list this project's files (%v), so new-bank is not tried on a copy of them", err)
	}
	root = t.TempDir()
	for path := range strings.SplitSeq(strings.TrimSuffix(string(paths), "\x00"), "\x00") {
		copyFile(t, filepath.Join(original, path), filepath.Join(root, path))
	}
	return root, original
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return // deleted, and git has not heard of it
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, text, info.Mode())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// texts are all files of a folder.
func texts(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(at)
		all[strings.TrimPrefix(at, root+string(filepath.Separator))] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// overlay makes the go tool see what differs in the copy as if it stood in the project, whose packages are built already.
func overlay(t *testing.T, original string, before, after map[string]string, root string) (file string) {
	t.Helper()
	replace := map[string]string{}
	for path, text := range after {
		if was, ok := before[path]; strings.HasSuffix(path, ".go") && (!ok || was != text) {
			replace[filepath.Join(original, path)] = filepath.Join(root, path)
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func shell(t *testing.T, dir string, command ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestTheSkeletonBuildsKeepsTheRulesAndSaysThatNothingIsWritten(t *testing.T) {
	root, original := tree(t)
	before := texts(t, root)
	if err := extend(root, "tinkle2", io.Discard); err != nil {
		t.Fatal(err)
	}
	seen := "-overlay=" + overlay(t, original, before, texts(t, root), root)
	rules := filepath.Join(t.TempDir(), "rules.test")
	for _, do := range []struct{ dir, command string }{
		{original, "go build " + seen + " ./shared/config ./functions/..."},
		{root, "go vet ./shared/bank/tinkle2 ./shared/sandbox/tinkle2"},
		{original, "go test -c -vet=off " + seen + " -o " + rules + " ./shared/rules"},
		{filepath.Join(root, "shared", "rules"), rules},
	} {
		if out, err := shell(t, do.dir, strings.Fields(do.command)...); err != nil {
			t.Errorf("%s: %v\n%s", do.command, err, out)
		}
	}
	out, err := shell(t, root, "go", "test", "./shared/bank/tinkle2")
	if err == nil || !strings.Contains(out, "permanent: not_written: tinkle2: Begin is not written yet") || strings.Contains(out, "panic:") {
		t.Errorf("the suite of a provider that is not written: %v\n%s", err, out)
	}
}

func TestASecondRunChangesNothingAndCompletesWhatIsMissing(t *testing.T) {
	root, _ := tree(t)
	said := func() string {
		t.Helper()
		var out bytes.Buffer
		if err := extend(root, "tinkle", &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if first := said(); strings.Count(first, "made ") != 3 || strings.Count(first, "changed ") != 5 || !strings.Contains(first, "scripts/test ./shared/bank/tinkle") {
		t.Errorf("it said:\n%s", first)
	}
	whole := texts(t, root)
	if err := os.RemoveAll(filepath.Join(root, "shared", "sandbox", "tinkle")); err != nil {
		t.Fatal(err)
	}
	if second := said(); strings.Count(second, "made ") != 1 || strings.Count(second, "is there ") != 7 {
		t.Errorf("it said:\n%s", second)
	}
	said()
	for path, text := range texts(t, root) {
		if whole[path] != text {
			t.Errorf("%s changed", path)
		}
	}
}

func TestNamesThatCannotBeOrAreTakenAreRefusedWithASentence(t *testing.T) {
	root, _ := tree(t)
	before := texts(t, root)
	for name, why := range map[string]string{
		"": "letters and digits", "Tink": "letters and digits", "2tink": "letters and digits", "t": "letters and digits", "tink-pay": "letters and digits",
		"../tink": "letters and digits", "averyveryverylongnameofabank": "letters and digits", "tinktest": "ends in test", "func": "word of Go",
		"plaid": "there is a provider of that name", "banktest": "ends in test", "webhook": "uses the word", "sub": "uses the word", "cfg": "uses the word",
	} {
		err := extend(root, name, io.Discard)
		if err == nil || !strings.Contains(err.Error(), why) || len(strings.Fields(err.Error())) < 6 {
			t.Errorf("%q: %v, want a sentence that says %q", name, err, why)
		}
	}
	for path, text := range texts(t, root) {
		if before[path] != text {
			t.Errorf("a refusal changed %s", path)
		}
	}
}

func TestAFileThatHasAnotherShapeStopsItBeforeAnythingIsWritten(t *testing.T) {
	for _, path := range []string{configPath, tablePath, "infra/README.md", "infra/examples/small.tfvars"} {
		root, _ := tree(t)
		at := filepath.Join(root, filepath.FromSlash(path))
		text := "nothing\n"
		if strings.HasSuffix(path, ".go") {
			text = "package x\n"
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		before := texts(t, root)
		if err := extend(root, "tinkle", io.Discard); !errors.Is(err, errShape) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
		if len(texts(t, root)) != len(before) {
			t.Errorf("%s: something was written", path)
		}
	}
}
