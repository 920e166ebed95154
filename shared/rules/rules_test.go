// Package rules tests the code base itself: what each part may import, where the names of outside services may stand, and
// what must not be written at all. Each rule has its reason beside it, and plants: violations that it must see.
package rules

import (
	"slices"
	"strings"
	"testing"
)

var rules = slices.Concat(importRules, sourceRules, projectRules)

type rule struct {
	name   string
	why    string
	check  func(*tree) []string // the violations, each with its place
	fine   []plant              // trees that keep the rule
	plants []plant              // trees that break it, each in one way
}

// plant is a small tree for a rule to look at.
type plant func(*testing.T) *tree

func TestTheCodeBaseKeepsItsRules(t *testing.T) {
	all := load(t)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, violation := range r.check(all) {
				t.Errorf("%s\n\twhy: %s", violation, r.why)
			}
		})
	}
}

func TestEveryRuleSeesWhatIsPlanted(t *testing.T) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if len(r.plants) == 0 || r.why == "" {
				t.Error("a rule needs a reason, and a violation that it sees")
			}
			for i, p := range r.plants {
				if len(r.check(p(t))) != 1 {
					t.Errorf("plant %d: got %q, want one violation", i, r.check(p(t)))
				}
			}
			for i, p := range r.fine {
				if got := r.check(p(t)); len(got) > 0 {
					t.Errorf("fine tree %d: got %q", i, got)
				}
			}
		})
	}
}

func TestTheTreeIsTheWholeCodeBaseAndImportsOfTestsAreKeptApart(t *testing.T) {
	all := load(t)
	found := map[string]pkg{}
	for _, p := range all.packages {
		found[p.name] = p
	}
	if !slices.Contains(found["functions/app"].imports, "shared/store/sqlite") {
		t.Error("functions/app imports adapters, which does not show")
	}
	rules := found["shared/rules"]
	if slices.Contains(rules.imports, "functions/app") || !slices.Contains(rules.tested, "functions/app") {
		t.Errorf("the imports of tests are not kept apart: %+v", rules)
	}
	if !slices.Contains(all.linked, "shared/posting") || !slices.Contains(all.linked, "net/http") {
		t.Error("what the deployed binary links does not show")
	}
	for _, name := range []string{"README.md", "go.mod", ".golangci.yml", ".ci/run", "scripts/test", "shared/sandbox/emulator/run_other.go"} {
		if _, ok := all.file(name); !ok {
			t.Errorf("%s is not read", name)
		}
	}
}

// imports is a tree of one package.
func imports(name string, imported ...string) plant {
	return func(*testing.T) *tree { return &tree{packages: []pkg{{name: name, imports: imported}}} }
}

// source is a tree of one file.
func source(path, text string) plant { return sources(map[string]string{path: text}) }

func sources(texts map[string]string) plant {
	return func(t *testing.T) *tree {
		t.Helper()
		tr := new(tree)
		for path, text := range texts {
			tr.files = append(tr.files, parsed(t, file{path: path, text: text, mode: 0o644}))
		}
		return tr
	}
}

// below reports whether a folder is one of those, or lies below one.
func below(name string, folders ...string) bool {
	for _, f := range folders {
		if name == f || strings.HasPrefix(name, f+"/") {
			return true
		}
	}
	return false
}
