package infra_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/functions/app"
)

// terraform is a copy of the definition that keeps no state, with Terraform or OpenTofu at hand and Google's real provider,
// which scripts/deploy check puts into the user's cache.
type terraform struct {
	t    *testing.T
	tool string
	dir  string
	env  []string
}

// providers is the folder in which scripts/deploy check keeps Google's provider.
func providers() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "automations-portal", "terraform-providers"), err
}

func newTerraform(t *testing.T) *terraform {
	t.Helper()
	tool := ""
	for _, name := range []string{"terraform", "tofu"} {
		if found, err := exec.LookPath(name); err == nil && tool == "" {
			tool = found
		}
	}
	if tool == "" {
		t.Skip("not run: neither Terraform nor OpenTofu is installed; what Google's provider would refuse is not seen")
	}
	mirror, err := providers()
	if err != nil {
		t.Skip("not run: no folder for a cache: ", err)
	}
	host := map[bool]string{true: "registry.opentofu.org", false: "registry.terraform.io"}[strings.HasSuffix(tool, "tofu")]
	if found, err := filepath.Glob(filepath.Join(mirror, host, "hashicorp", "google", "*", runtime.GOOS+"_"+runtime.GOARCH, "*")); err != nil || len(found) == 0 {
		if found, err = filepath.Glob(filepath.Join(mirror, host, "hashicorp", "google", "*.zip")); err != nil || len(found) == 0 {
			t.Skip("not run: Google's provider for Terraform is not at hand; scripts/deploy check gets it once")
		}
	}
	dir := t.TempDir()
	rc := filepath.Join(dir, "terraform.rc")
	settings := fmt.Sprintf("disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", mirror)
	if err := os.WriteFile(rc, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	tf := &terraform{t: t, tool: tool, dir: filepath.Join(dir, "infra"), env: append(os.Environ(),
		"TF_CLI_CONFIG_FILE="+rc, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "GOOGLE_OAUTH_ACCESS_TOKEN=fake", "HOME="+dir)}
	tf.copy()
	tf.run("init", "-backend=false", "-input=false", "-no-color")
	return tf
}

// copy takes what is written, not what an earlier deployment left, and no place for a state.
func (tf *terraform) copy() {
	tf.t.Helper()
	err := filepath.WalkDir(".", func(at string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".terraform"):
			return fs.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(tf.dir, at), 0o700)
		case at == "backend.tf" || strings.HasSuffix(at, ".go") || strings.HasPrefix(entry.Name(), ".terraform"):
			return nil
		}
		text, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(tf.dir, at), text, 0o600)
	})
	if err != nil {
		tf.t.Fatal(err)
	}
}

func (tf *terraform) run(args ...string) []byte {
	tf.t.Helper()
	cmd := exec.CommandContext(tf.t.Context(), tf.tool, args...)
	cmd.Dir, cmd.Env = tf.dir, tf.env
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		tf.t.Fatalf("%s %s: %v\n%s%s", tf.tool, args[0], err, out, exit.Stderr)
	}
	if err != nil {
		tf.t.Fatal(err)
	}
	return out
}

// planned is one resource of a plan, modules' included.
type planned struct {
	Address string         `json:"address"`
	Type    string         `json:"type"`
	Values  map[string]any `json:"values"`
}

type planModule struct {
	Resources []planned    `json:"resources"`
	Children  []planModule `json:"child_modules"`
}

func (m planModule) all() []planned {
	all := m.Resources
	for _, c := range m.Children {
		all = append(all, c.all()...)
	}
	return all
}

func (tf *terraform) plan(example string) []planned {
	tf.t.Helper()
	out := filepath.Join(tf.dir, example+".plan")
	tf.run("plan", "-refresh=false", "-input=false", "-no-color", "-out="+out, "-var-file=examples/"+example+".tfvars", "-var=project_id=demo-project",
		"-var=project_number=123456789012", "-var=image=example.com/functions@sha256:"+strings.Repeat("0", 64))
	var p struct {
		Values struct {
			Root planModule `json:"root_module"`
		} `json:"planned_values"`
	}
	if err := json.Unmarshal(tf.run("show", "-json", out), &p); err != nil {
		tf.t.Fatal(err)
	}
	return p.Values.Root.all()
}

func TestTheDefinitionIsOneThatGooglesProviderTakes(t *testing.T) {
	tf := newTerraform(t)
	tf.run("fmt", "-check", "-recursive", "-no-color")
	tf.run("validate", "-no-color")
	for _, e := range examples {
		t.Run(e, func(t *testing.T) {
			tf.t = t
			resources := tf.plan(e)
			t.Logf("the %s example plans %d resources", e, len(resources))
			if len(resources) < 100 {
				t.Errorf("%d resources", len(resources))
			}
			checkServices(t, resources)
			checkRights(t, resources)
		})
	}
}

// at finds a value below a path of names and positions.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func checkServices(t *testing.T, resources []planned) {
	t.Helper()
	served := map[string]bool{} // and whether anyone may call
	for _, r := range resources {
		if r.Type != "google_cloud_run_v2_service" {
			continue
		}
		name, _ := r.Values["name"].(string)
		container := at(r.Values, "template", 0, "containers", 0)
		served[name], _ = r.Values["invoker_iam_disabled"].(bool)
		env, _ := at(container, "env").([]any)
		if !slices.ContainsFunc(env, func(e any) bool { return at(e, "name") == "FUNCTION_TARGET" && at(e, "value") == name }) {
			t.Errorf("%s is not told its name", r.Address)
		}
		if image, _ := at(container, "image").(string); !strings.Contains(image, "@sha256:") {
			t.Errorf("%s runs %q", r.Address, image)
		}
		if r.Values["deletion_protection"] != true || at(container, "resources", 0, "cpu_idle") != true {
			t.Errorf("%s can be destroyed, or is paid for while it idles", r.Address)
		}
	}
	want := map[string]bool{}
	for _, name := range app.Names() {
		want[name] = name != "poster" && name != "sync"
	}
	if diff := cmp.Diff(want, served); diff != "" {
		t.Errorf("services, and whether anyone may call (-want +got):\n%s", diff)
	}
}

// projectWide are the roles that may be given for a whole project, and to whom.
var projectWide = map[string]string{
	"roles/datastore.viewer": "module.", "roles/datastore.user": "module.", "roles/telemetry.writer": "module.",
	"automationsPortalVaultGet": "module.", "automationsPortalVaultPut": "module.", "automationsPortalVaultCreate": "module.", "automationsPortalVaultDestroy": "module.",
}

func checkRights(t *testing.T, resources []planned) {
	t.Helper()
	for _, r := range resources {
		role, _ := r.Values["role"].(string)
		switch {
		case r.Type == "google_service_account_key":
			t.Errorf("%s: a key in a file can be lost, and nothing needs one", r.Address)
		case slices.Contains([]string{"roles/owner", "roles/editor", "roles/viewer"}, role):
			t.Errorf("%s gives %s", r.Address, role)
		case strings.HasPrefix(r.Type, "google_project_iam_") && r.Type != "google_project_iam_member" && r.Type != "google_project_iam_custom_role":
			t.Errorf("%s takes rights away that others gave", r.Address)
		case r.Type == "google_project_iam_member" && !strings.HasPrefix(r.Address, "google_project_iam_member.deploy"):
			if role != "" && !strings.HasPrefix(r.Address, projectWide[role]) || role != "" && projectWide[role] == "" {
				t.Errorf("%s gives %s in the whole project", r.Address, role)
			}
			if len(at(r.Values, "condition").([]any)) == 0 && role != "roles/telemetry.writer" && !strings.Contains(r.Address, "vault_create") {
				t.Errorf("%s has no condition", r.Address)
			}
		case r.Type == "google_cloud_run_v2_service_iam_member" && (role != "roles/run.invoker" || !strings.HasPrefix(r.Address, "module.poster.") && !strings.HasPrefix(r.Address, "module.sync.")):
			t.Errorf("%s lets somebody call", r.Address)
		}
		if member, _ := r.Values["member"].(string); member == "allUsers" || member == "allAuthenticatedUsers" {
			t.Errorf("%s is for everybody", r.Address)
		}
	}
}

func TestWhatTheDefinitionPromisesHolds(t *testing.T) {
	tf := newTerraform(t)
	out := string(tf.run("test", "-no-color"))
	lines := strings.Split(strings.TrimSpace(out), "\n")
	t.Log(lines[len(lines)-1])
	if !strings.Contains(out, "Success!") || strings.Contains(out, "skip") {
		t.Error(out)
	}
}
