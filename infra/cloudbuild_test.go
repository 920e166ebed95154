package infra_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/oasdiff/yaml"
	"google.golang.org/api/cloudbuild/v1"
)

// build decodes a build as Google's own client knows it, which has no place for a word that is spelt wrongly.
func build(text []byte) (*cloudbuild.Build, error) {
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(asJSON))
	d.DisallowUnknownFields()
	b := new(cloudbuild.Build)
	return b, d.Decode(b)
}

func TestCloudBuildTakesItsFile(t *testing.T) {
	text := read(t, "../cloudbuild.yaml")
	b, err := build(text)
	if err != nil {
		t.Fatal(err)
	}
	for was, is := range map[string]string{"entrypoint:": "entryPoint2:", "timeout: 3600s": "timeOuts: 3600s", "machineType:": "machine:", "serviceAccount:": "account:"} {
		if _, err := build(bytes.Replace(text, []byte(was), []byte(is), 1)); err == nil {
			t.Errorf("%s is taken for %s", is, was)
		}
	}
	if !strings.Contains(b.ServiceAccount, "/serviceAccounts/deploy@") || open(t, ".", example(t, "small")).resources("google_service_account")["deploy"].Block == nil {
		t.Errorf("it runs as %s, which infra/ does not make", b.ServiceAccount)
	}
	if _, known := b.Substitutions["_VARS"]; !known || len(b.Substitutions) != 1 {
		t.Errorf("substitutions: %v", b.Substitutions)
	}
}

// checks are the steps before those of a deployment: the tests, and known faults of what is linked.
const checks = 2

func TestCloudBuildTakesTheStepsOfADeployment(t *testing.T) {
	b, err := build(read(t, "../cloudbuild.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	script := string(read(t, "../scripts/deploy"))
	said := regexp.MustCompile(`(?m)^steps="([a-z ]+)"$`).FindStringSubmatch(script)
	if said == nil {
		t.Fatal("scripts/deploy names no steps")
	}
	tools := map[string]string{"prepare": "cloud-cli", "secrets": "cloud-cli", "candidates": "cloud-cli", "traffic": "cloud-cli", "places": "terraform", "infra": "terraform"}
	var steps []string
	for _, s := range b.Steps[checks:] {
		steps = append(steps, s.Id)
		want := []string{"scripts/deploy", "--project", "$PROJECT_ID", "--vars", "$_VARS", "--yes", "--only", s.Id}
		if diff := cmp.Diff(want, s.Args); diff != "" || s.Entrypoint != "sh" {
			t.Errorf("%s (-want +got):\n%s", s.Id, diff)
		}
		if tool := tools[s.Id]; tool == "" && !strings.HasPrefix(s.Name, "golang:") || !strings.Contains(s.Name, tool) {
			t.Errorf("%s runs in %s", s.Id, s.Name)
		}
	}
	if diff := cmp.Diff(strings.Fields(said[1]), steps); diff != "" {
		t.Errorf("steps of scripts/deploy and of Cloud Build (-want +got):\n%s", diff)
	}
	if first := b.Steps[0]; !slices.Contains(first.Args, "scripts/test") {
		t.Errorf("it begins with %s", first.Id)
	}
	for _, s := range b.Steps {
		if len(s.WaitFor) > 0 || s.AllowFailure || len(s.AllowExitCodes) > 0 {
			t.Errorf("%s does not wait for the one before, or may fail", s.Id)
		}
	}
}
