package infra_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/functions/app"
	"github.com/bkper/automations-portal/shared/telemetry"
)

// policy is an alert, as it is written.
type policy struct {
	block
	name, text string
}

// alerts are those of the system and those that every function has.
func alerts(t *testing.T) (all []policy) {
	t.Helper()
	for _, dir := range []string{".", "function"} {
		for _, file := range glob(t, filepath.Join(dir, "*.tf")) {
			whole := read(t, file)
			for _, b := range body(t, file).Blocks {
				if b.Type == "resource" && b.Labels[0] == "google_monitoring_alert_policy" {
					all = append(all, policy{block{b, file}, filepath.Join(dir, b.Labels[1]), string(b.Range().SliceBytes(whole)) + string(whole[b.OpenBraceRange.Start.Byte:b.CloseBraceRange.End.Byte])})
				}
			}
		}
	}
	return all
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	return files
}

var playbook = regexp.MustCompile(`content\s*=\s*file\("\$\{path\.module\}/(?:\.\./)?playbooks/([a-z-]+\.md)"\)`)

func TestEveryAlertTellsSomebodyWhatToDo(t *testing.T) {
	used := map[string]bool{"budget.md": true} // of the budget, whose mails Google words
	for _, a := range alerts(t) {
		page := playbook.FindStringSubmatch(a.text)
		if page == nil {
			t.Errorf("%s has no playbook", a.name)
			continue
		}
		used[page[1]] = true
		for _, needed := range []string{"notification_channels", "severity", "subject"} {
			if !strings.Contains(a.text, needed) {
				t.Errorf("%s has no %s", a.name, needed)
			}
		}
	}
	var pages []string
	for _, file := range glob(t, "playbooks/*.md") {
		pages = append(pages, filepath.Base(file))
		if !used[filepath.Base(file)] {
			t.Errorf("no alert has the playbook %s", file)
		}
	}
	for page := range used {
		if !slices.Contains(pages, page) {
			t.Errorf("there is no playbook %s", page)
		}
	}
	if !strings.Contains(string(read(t, "budget.tf")), "playbooks/budget.md") {
		t.Error("the budget does not name its playbook")
	}
}

// Cloud Monitoring sends the page with the alert, and takes 8,192 characters of it
// (https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies#Documentation).
const longestPage = 8_192

var (
	command = regexp.MustCompile("`(?:[A-Z_]+=PROJECT )?(scripts/[a-z-]+)")
	ops     = regexp.MustCompile("scripts/ops ((?:dead |orphans |webhooks )?[a-z]+)")
)

func TestAPlaybookCanBeFollowedByAStranger(t *testing.T) {
	known := string(read(t, "../scripts/cmd/ops/main.go"))
	for _, file := range glob(t, "playbooks/*.md") {
		page := string(read(t, file))
		if n := utf8.RuneCountInString(page); n > longestPage {
			t.Errorf("%s has %d characters", file, n)
		}
		at := 0
		for _, part := range []string{"# ", "**What it means.**", "**Before.**", "export GOOGLE_CLOUD_PROJECT=PROJECT", "**Look first**", "**Mend**", "**Afterwards.**"} {
			next := strings.Index(page[at:], part)
			if next < 0 {
				t.Errorf("%s has no part %q, or not in its place", file, part)
				continue
			}
			at += next
		}
		for _, script := range command.FindAllStringSubmatch(page, -1) {
			if files, err := filepath.Glob(filepath.Join("..", script[1])); err != nil || len(files) != 1 {
				t.Errorf("%s names %s, which is not there", file, script[1])
			}
		}
		for _, wrong := range wrongFlags(t, page) {
			t.Errorf("%s: %s", file, wrong)
		}
		for _, use := range ops.FindAllStringSubmatch(page, -1) {
			if !strings.Contains(known, "scripts/ops "+use[1]) {
				t.Errorf("%s names %s, which scripts/ops does not have", file, use[0])
			}
		}
		if index := string(read(t, "README.md")); !strings.Contains(index, "("+filepath.ToSlash(file)+")") {
			t.Errorf("the index of playbooks in README.md does not name %s", file)
		}
	}
}

var (
	called   = regexp.MustCompile("`scripts/([a-z-]+)([^`]*)`")
	flagName = regexp.MustCompile(`(?:^|\s)--?([a-z-]+)`)
)

// wrongFlags says which flags a page gives to our commands that they do not have.
func wrongFlags(t *testing.T, page string) (wrong []string) {
	t.Helper()
	for _, use := range called.FindAllStringSubmatch(page, -1) {
		source := string(read(t, "../scripts/"+use[1]))
		if files, err := filepath.Glob("../scripts/cmd/" + use[1] + "/*.go"); err == nil {
			for _, file := range files {
				source += string(read(t, file))
			}
		}
		for _, f := range flagName.FindAllStringSubmatch(use[2], -1) {
			defined := regexp.MustCompile(`[(\s]"` + f[1] + `", |--` + f[1] + `(?: \||\))`) // of Go's flags, and of a case in the shell
			if f[1] != "help" && !defined.MatchString(source) {
				wrong = append(wrong, "scripts/"+use[1]+" has no flag "+f[1])
			}
		}
	}
	return wrong
}

func TestFlagsThatACommandDoesNotHaveAreSeen(t *testing.T) {
	for page, want := range map[string]int{
		"`scripts/ops orphans retire -do`": 0, "`scripts/ops orphans retire --do`, and\n`scripts/webhooks -url URL`": 0,
		"`scripts/deploy --project P --vars FILE --plan`": 0, "`scripts/deploy --roll-back`": 1, "`scripts/ops dead replay -force -all`": 1, "`scripts/smoke --help`": 0,
	} {
		if got := wrongFlags(t, page); len(got) != want {
			t.Errorf("%s: got %q, want %d faults", page, got, want)
		}
	}
}

func TestEveryFunctionsSilenceIsNoticed(t *testing.T) {
	f := open(t, ".", example(t, "small"))
	for _, name := range app.Names() {
		args := f.module(name)
		_, private := args["callers"]
		if _, counted := args["silence"]; counted != private {
			t.Errorf("%s: a function that machines alone call is silent when nobody calls; the others are asked from outside", name)
		}
	}
	// The check from outside knows the functions by what they answer to paths that they do not have.
	if said := "There is nothing here"; !strings.Contains(string(read(t, "../shared/web/edge.go")), said) || !strings.Contains(string(read(t, "function/alerts.tf")), said) {
		t.Errorf("the functions, or the check from outside, no longer say %q", said)
	}
}

var (
	metric   = regexp.MustCompile(`\b(portal_[a-z_]+)(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*[=!]~?\s*\\?"([^"\\]*)`)
	grouping = regexp.MustCompile(`by \(([^)]*)\)`)
)

// metrics are the metrics that a query names, with the labels that it asks for.
func metrics(query string) map[string][]string {
	asked := map[string][]string{}
	for _, m := range metric.FindAllStringSubmatch(query, -1) {
		asked[m[1]] = append(asked[m[1]], "")
		for _, label := range matcher.FindAllStringSubmatch(m[2], -1) {
			asked[m[1]] = append(asked[m[1]], label[1])
		}
		for _, group := range grouping.FindAllStringSubmatch(query, -1) {
			for label := range strings.SplitSeq(group[1], ",") {
				asked[m[1]] = append(asked[m[1]], strings.TrimSpace(label))
			}
		}
	}
	return asked
}

// wrongMetrics says what a query asks for that no function counts.
func wrongMetrics(query string) (wrong []string) {
	for name, labels := range metrics(query) {
		at := slices.IndexFunc(telemetry.Metrics, func(m telemetry.Metric) bool {
			if m.Kind == telemetry.Histogram {
				return name == m.Name+"_bucket" || name == m.Name+"_sum" || name == m.Name+"_count"
			}
			return name == m.Name
		})
		if at < 0 {
			wrong = append(wrong, "there is no metric "+name)
			continue
		}
		for _, label := range labels {
			if label != "" && label != "le" && !slices.Contains(telemetry.Metrics[at].Labels, label) {
				wrong = append(wrong, fmt.Sprintf("%s has no label %s", name, label))
			}
		}
	}
	return wrong
}

func TestAlertsAndTheDashboardAskForMetricsThatAreCounted(t *testing.T) {
	asked := map[string]bool{}
	for _, file := range []string{"alerts.tf", "dashboard.tf"} {
		for line := range strings.Lines(string(read(t, file))) {
			for _, wrong := range wrongMetrics(line) {
				t.Errorf("%s: %s in %s", file, wrong, strings.TrimSpace(line))
			}
			for name := range metrics(line) {
				asked[name] = true
			}
		}
	}
	for _, m := range telemetry.Metrics {
		if m.Name != telemetry.Requests && m.Name != telemetry.Events && m.Name != telemetry.SyncRung && !asked[m.Name] && !asked[m.Name+"_bucket"] {
			t.Errorf("%s is counted, and neither an alert nor the dashboard shows it", m.Name)
		}
	}
	for query, want := range map[string]int{
		`max(portal_sync_lag_seconds) > 1`: 0, `max(portal_sync_lags) > 1`: 1, `portal_webhooks_total{outcome=~\"forged\"}`: 0,
		`portal_webhooks_total{outcomes=\"forged\"}`: 1, `sum by (provider, bank) (rate(portal_webhooks_total[1m]))`: 1,
		`sum by (le) (rate(portal_call_seconds_bucket[1m]))`: 0, `portal_call_seconds`: 1,
	} {
		if got := wrongMetrics(query); len(got) != want {
			t.Errorf("%s: got %q, want %d faults", query, got, want)
		}
	}
}

var (
	extracted = regexp.MustCompile(`EXTRACT\(jsonPayload\.([a-z]+)\)`)
	awaited   = regexp.MustCompile(`service_name=\\"([a-z]+)\\".*severity=ERROR AND jsonPayload\.message:\\"([^"\\]+)`)
	serious   = regexp.MustCompile(`slog\.(?:ErrorContext\(ctx|LevelError), "([^"]+)"`)
)

// What a function logs as an error, beside its requests, is for an operator: an alert waits for it. An alert that waits for a
// line in the log must wait for one that is written, and one at least must have the names that it takes from it.
func TestAlertsWaitForLinesThatAreLogged(t *testing.T) {
	found := 0
	for _, name := range app.Names() {
		source := ""
		for _, file := range glob(t, filepath.Join("..", "functions", name, "*.go")) {
			if !strings.HasSuffix(file, "_test.go") {
				source += string(read(t, file))
			}
		}
		heard := map[string]bool{}
		for _, a := range alerts(t) {
			await := awaited.FindStringSubmatch(a.text)
			if await == nil || await[1] != name {
				continue
			}
			found++
			with := map[string]bool{}
			for line := range strings.Lines(source) {
				if m := serious.FindStringSubmatch(line); m != nil && strings.Contains(m[1], await[2]) {
					heard[m[1]] = true
					for _, field := range extracted.FindAllStringSubmatch(a.text, -1) {
						with[field[1]] = with[field[1]] || strings.Contains(line, `"`+field[1]+`"`)
					}
				}
			}
			for _, field := range extracted.FindAllStringSubmatch(a.text, -1) {
				if !with[field[1]] {
					t.Errorf("%s: the function %s logs no error with %q and with %s", a.name, name, await[2], field[1])
				}
			}
		}
		for _, m := range serious.FindAllStringSubmatch(source, -1) {
			if !heard[m[1]] {
				t.Errorf("the function %s logs the error %q, for which no alert waits", name, m[1])
			}
		}
	}
	if found != 1 {
		t.Errorf("%d alerts wait for lines in the log, want 1", found)
	}
}

// Whoever removes one has to take it away here too.
func TestTheAlertsAreThese(t *testing.T) {
	var names []string
	for _, a := range alerts(t) {
		names = append(names, filepath.ToSlash(a.name))
	}
	slices.Sort(names)
	want := []string{
		"connections_in_trouble", "consents_expiring", "dead_letters", "function/errors", "function/silent", "function/unanswered",
		"lost_item", "oldest_event", "sync_lag", "webhook_rejections", "webhooks_silent",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
