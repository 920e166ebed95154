package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// bug is one edit of one file.
type bug struct{ name, file, old, new string }

// planted are bugs that people have made in programs like this one, and those that this machinery found in its own. Each is
// one edit of the real code; a simulator that does not see it within a thousand histories is not to be believed.
var planted = []bug{
	{
		"an error is acknowledged", "shared/posting/run.go",
		"	if err != nil || e == nil {\n		return err\n	}", "	if err != nil || e == nil {\n		return nil\n	}",
	},
	{
		"the cursor moves before the rows are written", "shared/posting/record.go",
		"	r.miss(page)\n", "	r.miss(page)\n	r.e.Read.At = page.Next\n",
	},
	{
		"records are created without a remote id", "shared/posting/plan.go",
		"RemoteIDs: []string{row.Key}, Date: tx.Date", "RemoteIDs: nil, Date: tx.Date",
	},
	{
		"what is open is sent again blindly", "shared/posting/finish.go",
		"if err := r.hear(ctx, b, open); err != nil {\n			return err\n		}", "for _, row := range open {\n			row.forgo()\n		}\n		_ = b",
	},
	{
		"nobody holds a lease", "shared/posting/engine.go",
		"case !e.Lease.Held(now):", "case true:",
	},
	{
		"a lease ends while a call is under way", "shared/posting/run.go",
		"		if r.e.Lease.Until.Sub(r.now()) > limit {", "		if true {",
	},
	{
		"an older holder is not fenced off", "shared/posting/run.go",
		"		if now.Lease.Fence != r.e.Lease.Fence {\n			return ErrFenced\n		}\n		if config", "		if config",
	},
	{
		"a ring during the work is lost", "shared/posting/engine.go",
		"			e.Asked++\n			e.Deep = e.Deep || deep", "			return nil",
	},
	{
		"the holder goes without looking whether somebody rang", "shared/posting/run.go",
		"again = e.Asked > e.Reading || e.Config != r.config; again", "again = false; again",
	},
	{
		"pages of an abandoned read are kept", "shared/posting/run.go",
		"read.Origin, nil, nil, read.No+1, true", "read.Origin, nil, nil, read.No, read.Named",
	},
	{
		"a settled row does not find its pending one", "shared/posting/plan.go",
		"		w = p.find(t.PendingID)\n", "",
	},
	{
		"a record that a person trashed comes back", "shared/posting/deliver.go",
		"		for _, trashed := range []bool{false, true} {\n			if found[row.Key] != nil {", "		for _, trashed := range []bool{false} {\n			if found[row.Key] != nil {",
	},
	{
		"what a person trashed is recorded again", "shared/posting/plan.go",
		"	case Hand:\n	}", "	case Hand:\n		if wanted {\n			p.create(w, t, values)\n		}\n	}",
	},
	{
		"a person's amount is overwritten", "shared/posting/plan.go",
		"now.Amount.Equal(was.Amount), func()", "true, func()",
	},
	{
		"a removed integration is written to", "shared/posting/run.go",
		"(strict || r.sending) && config != r.config", "false",
	},
	{
		"one bank row in two Books is taken for one", "shared/posting/finish.go",
		"				rows[row.Integration+row.Key] = row\n			case", "				rows[row.Key] = row\n			case",
	},
	{
		"a page that is read again forgets what it wrote", "shared/posting/record.go",
		"	if len(r.e.Read.Written) == 0 {", "	if true {",
	},
	{
		"a waiting row is taken back though it has settled", "shared/posting/finish.go",
		"	if err := r.newer(ctx, rows); err != nil {\n		return nil, err\n	}\n", "",
	},
	{
		"what the Book was heard of is forgotten", "shared/posting/record.go",
		"		r.j.note(s)\n		if r.e.Read", "		if r.e.Read",
	},
	{
		"a new item is not recognised", "shared/posting/save.go",
		"				i.Epoch++\n			}\n			i.Of", "			}\n			i.Of",
	},
	{
		"a replay's cursor is taken at once", "shared/posting/run.go",
		"case read.Replay && page.Complete && read.Then == \"\":", "case false:",
	},
	{
		"a record that lists do not show yet is taken for one that is gone", "shared/posting/deliver.go",
		"	for n := 1; err == nil && n < tries; n++ {\n		missing", "	for n := 1; false; n++ {\n		missing",
	},
	{
		"what was trashed does not come back when asked for", "shared/posting/plan.go",
		"	if p.t.again && wanted &&", "	if false && wanted &&",
	},
	{
		"nobody notices that a Book is no longer locked", "shared/posting/locks.go",
		"	if len(r.e.Locked) == 0 ||", "	if true ||",
	},
	{
		"what a Book could not take is not read again", "shared/posting/record.go",
		"				i.Replay()\n", "",
	},
	{
		"a lock is overlooked", "shared/posting/plan.go",
		"	case t.locked(tx.Date):\n", "	case false:\n",
	},
	{
		"an archived Account is written to", "shared/posting/record.go",
		"	case b.Accounts[at].Archived:\n", "	case false:\n",
	},
	{
		"what a refused cursor would have told is not looked for", "shared/posting/finish.go",
		"(last.Complete || !read.compares())", "(last.Complete || !read.Replay)",
	},
}

// retelling are bugs that only a bank can show that tells no removals, and is read account by account.
var retelling = []bug{
	{
		"what is told no more stays", "shared/posting/plan.go",
		"	p.lose(retold)", "	_ = retold",
	},
	{
		"a read that was gone on with is taken for a whole one", "shared/posting/run.go",
		"main || (!replay && begun)", "main || !replay",
	},
}

func TestEveryPlantedBugIsSeen(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the simulator once for each bug")
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for at, bugs := range map[string][]bug{"plaid": planted, "pluggy": retelling} {
		for _, b := range bugs {
			t.Run(strings.ReplaceAll(b.name, " ", "_"), func(t *testing.T) {
				t.Parallel()
				out, failed := simulate(t, root, at, b)
				if !failed {
					t.Errorf("a thousand histories did not see it:\n%s", out)
				}
				t.Log(lastLine(out))
			})
		}
	}
}

func TestThePlantedBugsAreWhatFails(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the simulator")
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if out, failed := simulate(t, root, "plaid", bug{"none", "shared/posting/run.go", "package posting", "package posting"}); failed {
		t.Errorf("without a bug:\n%s", lastLine(out))
	}
}

// simulate builds the simulator with one file edited, in an overlay that touches no file of the tree, and runs it.
func simulate(t *testing.T, root, at string, b bug) (out string, failed bool) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(root, b.file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), b.old); n != 1 {
		t.Fatalf("%s has %d places to plant the bug in, not one", b.file, n)
	}
	replaced := filepath.Join(dir, "edited.go")
	if err := os.WriteFile(replaced, []byte(strings.Replace(string(text), b.old, b.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {path: replaced}})
	if err != nil {
		t.Fatal(err)
	}
	overlayFile, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sim")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	// Nobody debugs it, and linking takes most of the time of a run.
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-overlay", overlayFile, "-o", binary, "./scripts/cmd/sim")
	build.Dir = root
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, text)
	}
	run, err := exec.CommandContext(t.Context(), binary, "-bank", at, "-seeds", "1000").CombinedOutput()
	return string(run), err != nil
}

func lastLine(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1]
}
