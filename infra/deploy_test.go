package infra_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/functions/app"
)

// rehearsal is scripts/deploy in a folder of its own, with stand-ins for all that it calls: they write down how they were
// called, and answer as the real ones would.
type rehearsal struct {
	t   *testing.T
	dir string
	env []string
}

// stand-ins; $CALLS is where they write.
var standIns = map[string]string{
	"bin/terraform": `exit 0`,
	"bin/go":        `exit 0`,
	"bin/gcloud": `case "$*" in
"projects describe"*) echo 123456789012 ;;
"storage ls"*) [ -n "${BUCKET:-}" ] ;;
"secrets list"*) echo PLAID_SECRET ;;
"secrets versions list"*) echo "${VERSION:-}" ;;
"secrets versions add"*) cat >"$CALLS.value" ;;
"run services describe"*status.traffic.tag*) echo "candidate new"; echo " ${SERVING:-old}"; echo "previous older" ;;
"run services describe"*status.traffic.revisionName,status.traffic.percent*) echo "new "; echo "${SERVING:-old} 100"; echo "older " ;;
"run services update-traffic ${FAILS:-none} "*) exit 1 ;;
esac`,
	"scripts/image": `echo "example.com/functions@sha256:$(printf 'a%.0s' 1 2 3 4 5 6 7 8)"`,
	"scripts/smoke": `exit "${SMOKE:-0}"`,
}

func rehearse(t *testing.T) *rehearsal {
	t.Helper()
	r := &rehearsal{t: t, dir: t.TempDir()}
	r.write("scripts/deploy", string(read(t, "../scripts/deploy")))
	for _, file := range append(glob(t, "*.tf"), "examples/small.tfvars") {
		r.write(filepath.Join("infra", file), string(read(t, file)))
	}
	for name, answer := range standIns {
		r.write(name, "#!/bin/sh\necho \""+filepath.Base(name)+" $*\" >>\"$CALLS\"\n"+answer+"\n")
	}
	r.env = []string{"PATH=" + filepath.Join(r.dir, "bin") + ":" + os.Getenv("PATH"), "CALLS=" + filepath.Join(r.dir, "calls"), "PLAID_SECRET=the value"}
	return r
}

func (r *rehearsal) write(name, text string) {
	r.t.Helper()
	file := filepath.Join(r.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o700)); err != nil {
		r.t.Fatal(err)
	}
}

// deploy calls the script and gives what was called by it, all functions' calls in order, and whether it succeeded.
func (r *rehearsal) deploy(env []string, args ...string) (calls []string, said string, ok bool) {
	r.t.Helper()
	if err := os.RemoveAll(filepath.Join(r.dir, "calls")); err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.CommandContext(r.t.Context(), "sh", append([]string{"scripts/deploy", "--project", "demo-project", "--vars", "infra/examples/small.tfvars"}, args...)...)
	cmd.Dir, cmd.Env = r.dir, append(slices.Clone(r.env), env...)
	out, err := cmd.CombinedOutput()
	if text, err := os.ReadFile(filepath.Join(r.dir, "calls")); err == nil {
		calls = strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	return calls, string(out), err == nil
}

// having are the calls that hold all of the words.
func having(calls []string, words ...string) (some []string) {
	for _, c := range calls {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(c, w) }) {
			some = append(some, c)
		}
	}
	return some
}

func TestADeploymentTestsNewRevisionsBeforeTheyGetTraffic(t *testing.T) {
	r := rehearse(t)
	calls, said, ok := r.deploy(nil, "--yes")
	if !ok {
		t.Fatal(said)
	}
	order := func(words ...string) int {
		some := having(calls, words...)
		if len(some) == 0 {
			t.Fatalf("nothing was called with %q:\n%s", words, strings.Join(calls, "\n"))
		}
		return slices.Index(calls, some[0])
	}
	steps := []int{
		order("gcloud services enable"), order("storage buckets create"), order("terraform", "apply", "-target"), order("secrets versions add PLAID_SECRET"),
		order("image -push us-central1-docker.pkg.dev/demo-project/automations-portal/functions"),
		slices.Index(calls, having(calls, "terraform", " apply ", "sha256:aaaaaaaa")[0]), order("run services update ", "--no-traffic", "--tag candidate"),
		order("smoke https://candidate---*-123456789012.us-central1.run.app"), order("update-traffic", "--to-tags candidate=100"),
	}
	if !slices.IsSorted(steps) {
		t.Errorf("the steps come in the order %v:\n%s", steps, strings.Join(calls, "\n"))
	}
	for _, name := range app.Names() {
		for _, words := range [][]string{
			{"run services update " + name + " ", "--image example.com/functions@sha256:aaaaaaaa"},
			{"update-traffic " + name + " ", "--update-tags previous=old"},
			{"update-traffic " + name + " ", "--to-tags candidate=100"},
		} {
			if got := having(calls, words...); len(got) != 1 {
				t.Errorf("%s: %d calls with %q", name, len(got), words)
			}
		}
	}
	if got := read(t, filepath.Join(r.dir, "calls.value")); string(got) != "the value" {
		t.Errorf("the secret became %q", got)
	}
	if strings.Contains(strings.Join(calls, " ")+said, "the value") {
		t.Error("the secret stands among arguments or in what is printed")
	}
}

func TestADeploymentThatIsRepeatedMakesNothingTwice(t *testing.T) {
	calls, said, ok := rehearse(t).deploy([]string{"BUCKET=there", "VERSION=1", "SERVING=new"}, "--yes")
	if !ok {
		t.Fatal(said)
	}
	for _, made := range []string{"buckets create", "versions add", "--update-tags"} {
		if got := having(calls, made); len(got) > 0 {
			t.Errorf("called again: %s", got[0])
		}
	}
}

func TestRevisionsThatFailTheSmokeTestGetNoTraffic(t *testing.T) {
	calls, _, ok := rehearse(t).deploy([]string{"SMOKE=1"}, "--yes")
	if got := having(calls, "update-traffic"); ok || len(got) > 0 {
		t.Errorf("it succeeds: %v, and calls %q", ok, got)
	}
}

// Two versions side by side are safe, so the functions that can be switched are, and a second call finishes the rest. What
// served is marked in all of them before, for a roll-back instead.
func TestAFunctionThatCannotBeSwitchedIsSaidAndTheOthersAreSwitched(t *testing.T) {
	calls, said, ok := rehearse(t).deploy([]string{"FAILS=poster --to-tags"}, "--yes")
	if ok || !strings.Contains(said, "call the same again") {
		t.Errorf("it succeeds: %v, and says\n%s", ok, said)
	}
	for i, c := range having(calls, "update-traffic") {
		if marks := strings.Contains(c, "--update-tags previous=old"); marks != (i < len(app.Names())) {
			t.Errorf("the %d. call is %q", i+1, c)
		}
	}
	calls, _, ok = rehearse(t).deploy([]string{"FAILS=poster --update-tags"}, "--yes")
	if got := having(calls, "--to-tags"); ok || len(got) > 0 {
		t.Errorf("it succeeds: %v, and calls %q where what served could not be marked", ok, got)
	}
}

func TestARollBackGivesEveryFunctionWhatServedBefore(t *testing.T) {
	calls, said, ok := rehearse(t).deploy(nil, "--rollback")
	var want []string
	for _, name := range app.Names() {
		want = append(want, "gcloud run services update-traffic "+name+" --to-tags previous=100 --project demo-project --region us-central1 --quiet")
	}
	slices.Sort(calls)
	if diff := cmp.Diff(want, calls); diff != "" || !ok {
		t.Errorf("%s\n(-want +got):\n%s", said, diff)
	}
}

func TestADryRunCallsNothing(t *testing.T) {
	for _, args := range [][]string{{"--dry-run"}, {"--dry-run", "--rollback"}, {"--dry-run", "--plan"}} {
		calls, said, ok := rehearse(t).deploy(nil, args...)
		if len(calls) > 0 || !ok || !strings.Contains(said, "demo-project") {
			t.Errorf("%q calls %q and says\n%s", args, calls, said)
		}
	}
}

func TestWhereNobodyCanBeAskedNothingIsAppliedUnasked(t *testing.T) {
	calls, said, ok := rehearse(t).deploy(nil)
	if len(calls) > 0 || ok || !strings.Contains(said, "--yes") {
		t.Errorf("it calls %q and says %s", calls, said)
	}
}

func TestWrongArgumentsAreRefusedBeforeAnythingIsCalled(t *testing.T) {
	for _, args := range [][]string{{"--only", "everything"}, {"--frobnicate"}, {"--vars"}, {"--vars", "nowhere.tfvars"}, {"--project", "Some Project"}} {
		calls, said, ok := rehearse(t).deploy(nil, args...)
		if len(calls) > 0 || ok || !strings.Contains(said, "deploy: ") {
			t.Errorf("%q calls %q and says %s", args, calls, said)
		}
	}
}
