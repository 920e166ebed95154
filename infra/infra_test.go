// Package infra_test checks the definition of the infrastructure against the code that it is for, without Google: what each
// function is told, what it may do, and what watches it. Where Terraform and Google's provider are at hand, they check it too.
package infra_test

import (
	"log/slog"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sethvargo/go-envconfig"
	"github.com/zclconf/go-cty/cty"

	"github.com/bkper/automations-portal/functions/app"
	"github.com/bkper/automations-portal/shared/config"
	"github.com/bkper/automations-portal/shared/events"
)

var examples = []string{"small", "large"}

// module gives the arguments of the module that defines a function, which stands in a file of the function's name.
func (f *folder) module(name string) map[string]cty.Value {
	f.t.Helper()
	for _, b := range f.all("module") {
		if b.Labels[0] != name {
			continue
		}
		if b.file != name+".tf" {
			f.t.Errorf("the module %s stands in %s: each function has a file of its own", name, b.file)
		}
		args := map[string]cty.Value{}
		for argument, a := range b.Body.Attributes {
			args[argument] = f.value(a.Expr)
		}
		if text(args["source"]) != "./function" || text(args["name"]) != name {
			f.t.Errorf("the module %s makes %s from %s", name, text(args["name"]), text(args["source"]))
		}
		return args
	}
	f.t.Fatalf("there is no module for the function %s", name)
	return nil
}

func TestEveryFunctionIsDeployedAndNothingElse(t *testing.T) {
	f := open(t, ".", example(t, "small"))
	var modules []string
	for _, b := range f.all("module") {
		modules = append(modules, b.Labels[0])
	}
	slices.Sort(modules)
	if diff := cmp.Diff(app.Names(), modules); diff != "" {
		t.Errorf("the functions of functions/app and the modules (-want +got):\n%s", diff)
	}
	for _, name := range app.Names() {
		f.module(name)
	}
	if got := len(f.resources("google_cloud_run_v2_service")); got > 0 {
		t.Error("a service stands outside of the module that gives it an account and alerts of its own")
	}
}

// environment is what a function is given, with a stand-in for each secret.
func environment(f *folder, name string) (env map[string]string, secrets []string) {
	args := f.module(name)
	env = map[string]string{"FUNCTION_TARGET": name}
	for variable, v := range object(args["env"]) {
		env[variable] = text(v)
	}
	if s, ok := args["secrets"]; ok {
		secrets = texts(s)
	}
	for _, s := range secrets {
		env[s] = "a-secret-of-at-least-thirty-two-characters"
	}
	return env, secrets
}

func TestEveryFunctionStartsWithWhatItIsGiven(t *testing.T) {
	for _, e := range examples {
		f := open(t, ".", example(t, e))
		for _, name := range app.Names() {
			env, _ := environment(f, name)
			cfg, err := config.Read(t.Context(), envconfig.MapLookuper(env))
			if err != nil {
				t.Errorf("%s in the %s example: %v", name, e, err)
				continue
			}
			a := app.New(cfg, slog.New(slog.DiscardHandler))
			if _, err := a.Handler(name); err != nil {
				t.Errorf("%s in the %s example is not built: %v", name, e, err)
			}
			a.Close()
		}
	}
}

func TestEveryFunctionIsGivenWhatItReadsAndNothingElse(t *testing.T) {
	for _, e := range examples {
		f := open(t, ".", example(t, e))
		for _, name := range app.Names() {
			env, secrets := environment(f, name)
			for variable := range env {
				read, isSecret := reads(name, variable)
				if !read {
					t.Errorf("%s is given %s, which it does not read", name, variable)
				}
				if isSecret != slices.Contains(secrets, variable) {
					t.Errorf("%s: whether %s is a secret, the definition and the configuration say otherwise", name, variable)
				}
			}
		}
	}
}

// What one function is told and another one reads too must reach both, also where it may be left out.
func TestAVariableThatIsSetIsGivenToAllWhoReadIt(t *testing.T) {
	values := example(t, "large")
	values["bkper"] = cty.ObjectVal(map[string]cty.Value{
		"settings": cty.MapVal(map[string]cty.Value{"BKPER_AGENT_ID": cty.StringVal("portal")}),
		"secrets":  cty.SetVal([]cty.Value{cty.StringVal("BKPER_API_KEY")}),
	})
	f := open(t, ".", values)
	given := map[string][]string{}
	for _, name := range app.Names() {
		env, _ := environment(f, name)
		for variable := range env {
			given[variable] = append(given[variable], name)
		}
	}
	if len(given["BKPER_AGENT_ID"]) == 0 || len(given["PLAID_CLIENT_NAME"]) == 0 {
		t.Error("what an example sets is given to nobody")
	}
	for variable, to := range given {
		for _, name := range app.Names() {
			if read, _ := reads(name, variable); read && !slices.Contains(to, name) {
				t.Errorf("%s reads %s, which is given to %v alone", name, variable, to)
			}
		}
	}
}

func TestEventsArePushedToWhereFunctionsExpectThem(t *testing.T) {
	for _, e := range examples {
		f := open(t, ".", example(t, e))
		all := map[string]string{}
		for _, name := range app.Names() {
			env, _ := environment(f, name)
			for variable, value := range env {
				if before, ok := all[variable]; ok && before != value && variable != "FUNCTION_TARGET" {
					t.Errorf("functions are told different values of %s: %q and %q", variable, before, value)
				}
				all[variable] = value
			}
		}
		delete(all, "FUNCTION_TARGET")
		cfg, err := config.Read(t.Context(), envconfig.MapLookuper(all))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		for topic, audience := range app.New(cfg, nil).Targets() {
			want[string(topic)] = audience
		}
		got := map[string]string{}
		for topic, to := range object(f.local("topics")) {
			got[topic] = text(to.GetAttr("audience"))
			endpoint, err := url.Parse(text(to.GetAttr("endpoint")))
			if err != nil || !strings.HasSuffix(endpoint.Host, ".run.app") || strings.HasSuffix(got[topic], "/push") != strings.HasSuffix(endpoint.Path, "/push") {
				t.Errorf("%s is pushed to %s, with a token for %s", topic, endpoint, got[topic])
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: URLs for which pushes are signed (-want +got):\n%s", e, diff)
		}
		if len(got) != len(events.Topics) {
			t.Errorf("%d topics, want %d", len(got), len(events.Topics))
		}
	}
}

// Everybody reaches these, which verify their callers themselves; the others are called by one account of ours alone.
func TestOnlyFunctionsThatVerifyTheirCallersAreReachedByAnyone(t *testing.T) {
	f := open(t, ".", example(t, "small"))
	callers := map[string]string{}
	for _, b := range f.all("module") {
		if caller := b.Body.Attributes["callers"]; caller != nil {
			callers[b.Labels[0]] = string(caller.Expr.Range().SliceBytes(source(t, b.file)))
		}
	}
	want := map[string]string{"poster": "[google_service_account.push.email]", "sync": "[google_service_account.schedule.email]"}
	if diff := cmp.Diff(want, callers); diff != "" {
		t.Errorf("who alone may call (-want +got):\n%s", diff)
	}
	public := slices.DeleteFunc(app.Names(), func(name string) bool { _, private := callers[name]; return private })
	if diff := cmp.Diff(public, texts(f.local("public"))); diff != "" {
		t.Errorf("local.public (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(app.Names(), slices.Sorted(maps.Keys(object(f.local("url"))))); diff != "" {
		t.Errorf("local.url (-want +got):\n%s", diff)
	}
}

// A function must give up before its caller does, or its answer is lost and the work is done twice at once.
func TestFunctionsThatArePushedToHaveAsMuchTimeAsPubSubGivesThem(t *testing.T) {
	f := open(t, ".", example(t, "small"))
	for _, topic := range []string{"poster", "connect", "disconnect"} {
		if got := text(f.module(topic)["timeout"]); got != "600" {
			t.Errorf("%s may take %s s; its edge ends a push after 590", topic, got)
		}
	}
	push := f.resources("google_pubsub_subscription")["push"].Body
	if got := text(f.value(push.Attributes["ack_deadline_seconds"].Expr)); got != "600" {
		t.Errorf("Pub/Sub waits for %s s", got)
	}
}

func source(t *testing.T, file string) []byte {
	t.Helper()
	return read(t, filepath.Join(".", file))
}
