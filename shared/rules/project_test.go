package rules

import (
	"fmt"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bkper/automations-portal/shared/secret"
)

var projectRules = []rule{
	{
		name:   "the table of functions is the folders of functions",
		why:    "a folder that is in no table is never deployed, and nobody notices",
		check:  tableIsFolders,
		fine:   []plant{functionsAre([]string{"link"}, "functions/link", "functions/app", "functions/main")},
		plants: []plant{functionsAre([]string{"link"}, "functions/link", "functions/remove"), functionsAre([]string{"link", "remove"}, "functions/link")},
	},
	{
		name:  "secrets are configured as secret.String",
		why:   "any other string comes out when the configuration is printed or logged",
		check: secretsAreSecret,
		fine: []plant{configured(struct {
			Key secret.String `env:"VAULT_KEY"`
			URL string        `env:"GOOGLE_TOKEN_URL, default=x"`
		}{})},
		plants: []plant{
			configured(struct {
				Key string `env:"API_KEY"`
			}{}),
			configured(struct {
				Key string `env:"OAUTH_CLIENT_SECRET, required"`
			}{}),
		},
	},
	{
		name:  "the READMEs name every variable of the environment, and none that nothing reads",
		why:   "who deploys has nothing else to go by",
		check: readmeNamesVariables,
		fine:  []plant{described("Set `PORT`; `FIRESTORE_EMULATOR_HOST` is Google's.")},
		plants: []plant{
			described("Set nothing."), described("Set `PORT` and `PORTAL_COLOUR`."), described("Set `PORT` and `BANK24_KEY`."),
		},
	},
	{
		name:   "what the README points at is there",
		why:    "a newcomer follows it word by word",
		check:  readmePointsAtFiles,
		fine:   []plant{sources(map[string]string{"README.md": "Run `scripts/test -short`; read `shared/bank` and `shared/*`.", "scripts/test": "", "shared/bank/b.md": ""})},
		plants: []plant{source("README.md", "Run `scripts/deploy`."), source("README.md", "Read `shared/nowhere/x.go`.")},
	},
	{
		name:   "go.mod replaces nothing",
		why:    "a replaced module is one that nobody else builds or checks, and go install ignores it",
		check:  nothingReplaced,
		fine:   []plant{func(*testing.T) *tree { return new(tree) }},
		plants: []plant{func(*testing.T) *tree { return &tree{replaced: []string{"golang.org/x/net"}} }},
	},
	{
		name:  "what people call can be called",
		why:   "the README says scripts/test, not sh scripts/test",
		check: commandsAreExecutable,
		fine: []plant{
			func(*testing.T) *tree {
				return &tree{files: []file{{path: "scripts/x", text: "#!/bin/sh\n", mode: 0o755}}}
			}, source("scripts/cmd/x/x.go", "package main"),
		},
		plants: []plant{
			source("scripts/test", "#!/bin/sh\n"), func(*testing.T) *tree {
				return &tree{files: []file{{path: ".ci/run", text: "exec scripts/test\n", mode: 0o755}}}
			},
		},
	},
}

func functionsAre(table []string, packages ...string) plant {
	return func(*testing.T) *tree {
		tr := &tree{functions: table}
		for _, name := range packages {
			tr.packages = append(tr.packages, pkg{name: name})
		}
		return tr
	}
}

func configured(c any) plant {
	return func(*testing.T) *tree { return &tree{config: reflect.TypeOf(c)} }
}

func described(readme string) plant {
	return func(t *testing.T) *tree {
		t.Helper()
		tr := source("README.md", readme)(t)
		tr.config = reflect.TypeFor[struct {
			Port string `env:"PORT"`
		}]()
		return tr
	}
}

func tableIsFolders(t *tree) (violations []string) {
	var folders []string
	for _, p := range t.packages {
		if name, found := strings.CutPrefix(p.name, "functions/"); found && !strings.Contains(name, "/") && name != "app" && name != "main" {
			folders = append(folders, name)
		}
	}
	for _, name := range folders {
		if !slices.Contains(t.functions, name) {
			violations = append(violations, fmt.Sprintf("functions/%s is not in the table of functions/app", name))
		}
	}
	for _, name := range t.functions {
		if !slices.Contains(folders, name) {
			violations = append(violations, fmt.Sprintf("the table of functions/app has %s, and there is no functions/%s", name, name))
		}
	}
	return violations
}

// variables are the names of the environment by which the configuration is set.
func variables(config reflect.Type) (names []string, types []reflect.Type) {
	for _, f := range reflect.VisibleFields(config) {
		if name, _, _ := strings.Cut(f.Tag.Get("env"), ","); name != "" {
			names, types = append(names, name), append(types, f.Type)
		}
	}
	return names, types
}

var secretName = regexp.MustCompile(`(SECRET|KEY|TOKEN|PASSWORD|CREDENTIALS)$`)

func secretsAreSecret(t *tree) (violations []string) {
	names, types := variables(t.config)
	for i, name := range names {
		if secretName.MatchString(name) && types[i] != reflect.TypeFor[secret.String]() {
			violations = append(violations, fmt.Sprintf("%s is a %s", name, types[i]))
		}
	}
	return violations
}

// others are variables that somebody else's code reads.
var others = []string{"FIRESTORE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST", "OTEL_RESOURCE_ATTRIBUTES"}

var variable = regexp.MustCompile("`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)`")

func readmeNamesVariables(t *tree) (violations []string) {
	var named []string
	for _, name := range []string{"README.md", "infra/README.md"} {
		readme, _ := t.file(name)
		for _, found := range variable.FindAllStringSubmatch(readme.text, -1) {
			named = append(named, found[1])
		}
	}
	known, _ := variables(t.config)
	for _, name := range known {
		if !slices.Contains(named, name) {
			violations = append(violations, "the READMEs do not name "+name)
		}
	}
	for _, name := range named {
		if !slices.Contains(known, name) && !slices.Contains(others, name) {
			violations = append(violations, "nothing reads "+name)
		}
	}
	return violations
}

var pointer = regexp.MustCompile("`((?:shared|functions|scripts|infra|\\.ci)/[\\w./-]+)")

func readmePointsAtFiles(t *tree) (violations []string) {
	readme, _ := t.file("README.md")
	for _, found := range pointer.FindAllStringSubmatch(readme.text, -1) {
		place := strings.TrimSuffix(found[1], "/")
		if !slices.ContainsFunc(t.files, func(f file) bool { return below(f.path, place) }) {
			violations = append(violations, "there is no "+place)
		}
	}
	return violations
}

func nothingReplaced(t *tree) (violations []string) {
	for _, name := range t.replaced {
		violations = append(violations, "go.mod replaces "+name)
	}
	return violations
}

func commandsAreExecutable(t *tree) (violations []string) {
	for _, f := range t.files {
		if path.Ext(f.path) != "" || (!command(f.path) && path.Dir(f.path) != ".ci") {
			continue
		}
		if f.mode&0o111 != 0o111 || !strings.HasPrefix(f.text, "#!") {
			violations = append(violations, f.path+" cannot be called: it needs the mode 755 and a first line such as #!/bin/sh")
		}
	}
	return violations
}
