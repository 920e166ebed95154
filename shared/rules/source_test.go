package rules

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Words that are looked for are put together here, so that this file does not break its own rules.
var (
	unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX|HA` + `CK)\b`)
	somebodys  = regexp.MustCompile(`(^|[^\w.])(/(ho` + `me|Us` + `ers|ro` + `ot|wo` + `rk|workspace)/\w|C:\\\\?Us` + `ers)`)
	reasoned   = regexp.MustCompile(`^//no` + `lint:[a-z]+(,[a-z]+)* // \S|^// #no` + `sec G\d+ -- \S`)
	silencing  = regexp.MustCompile(`^//\s*(no` + `lint|#no` + `sec)\b`)
)

// providerHomes are where the providers' names may stand, besides their own folders.
var providerHomes = []string{"shared/config", "functions/app", "shared/sandbox", "shared/posting/sim", "scripts", "infra"}

var sourceRules = []rule{
	{
		name:  "every package has one package comment",
		why:   "a newcomer reads it first, and two would contradict each other one day",
		check: onePackageComment,
		fine: []plant{
			source("shared/bank/bank.go", "// Package bank holds what banks have.\npackage bank"),
			source("scripts/cmd/dev/main.go", "// Command dev runs it all.\npackage main"),
			source("shared/rules/rules_test.go", "// Package rules tests.\npackage rules"),
			sources(map[string]string{"a/a.go": "// Package a is one.\npackage a", "a/b.go": "package a", "a/a_test.go": "package a_test"}),
		},
		plants: []plant{
			source("shared/bank/bank.go", "package bank"), source("shared/bank/bank.go", "// Helpers of banks.\npackage bank"),
			sources(map[string]string{"a/a.go": "// Package a is one.\npackage a", "a/b.go": "// Package a is two.\npackage a"}),
			sources(map[string]string{"a/a.go": "package a", "a/a_test.go": "// Package a is tested.\npackage a"}),
		},
	},
	{
		name:  "a provider's name stays in its own folder",
		why:   "a further provider is a new folder and one line in functions/app; whoever says a name elsewhere has to be found and changed",
		check: providersAtHome,
		fine: []plant{
			source("shared/bank/plaid/item.go", "package pla"+"id"), source("functions/app/app.go", "package app // pla"+"id.New"),
			source("functions/link/link_test.go", "package link // Pla"+"id"),
		},
		plants: []plant{source("functions/link/link.go", "package link // as Pla"+"id does"), source("shared/posting/run.go", "package posting\nvar isPlug"+"gy bool"), aThirdProvider},
	},
	{
		name:  "the framework neither decodes nor serves",
		why:   "its Typed functions give one caller's input to the next, and its server has no time-outs, no limit on bodies and no graceful stop",
		check: frameworkRegistersOnly,
		fine:  []plant{source("functions/main/main.go", "package main\nimport \"github.com/GoogleCloudPlatform/functions-framework-go/functions\"\nfunc f() { functions.HTTP(\"\", nil) }")},
		plants: []plant{
			source("functions/main/main.go", "package main\nimport \"github.com/GoogleCloudPlatform/functions-framework-go/functions\"\nfunc f() { functions.Typed(\"\", nil) }"),
			source("functions/main/main.go", "package main\nimport ff \"github.com/GoogleCloudPlatform/functions-framework-go/functions\"\nfunc f() { ff.Typed(\"\", nil) }"),
			source("functions/main/main.go", "package main\nimport _ \"github.com/GoogleCloudPlatform/functions-framework-go/funcframework\""),
		},
	},
	{
		name:  "tests sleep in bubbles only",
		why:   "a test that waits for real is slow on a good day and fails on a busy one; testing/synctest has a clock of its own. A sleep elsewhere says beside it why",
		check: sleeps,
		fine: []plant{
			source("a/a_test.go", "package a\nfunc f() { synctest.Test(t, func(t *testing.T) { time.Sleep(1) }) }"),
			source("a/a_test.go", "package a\nfunc f() {\n\ttime.Sleep(1) // polls another process\n}"), source("a/a.go", "package a\nfunc f() { time.Sleep(1) }"),
		},
		plants: []plant{
			source("a/a_test.go", "package a\nfunc f() { time.Sleep(1) }"), source("a/atest/run.go", "package atest\nfunc f() { time.Sleep(1) }"),
			source("a/a_test.go", "package a\n// Far away.\nfunc f() { synctest.Wait(); time.Sleep(1) }"),
		},
	},
	{
		name:   "a silenced linter has its reason beside it",
		why:    "without one, nobody dares to take it away",
		check:  silences,
		fine:   []plant{source("a/a.go", "package a\nvar x = 1 //no"+"lint:errcheck // it ends with Stop only")},
		plants: []plant{source("a/a.go", "package a\nvar x = 1 //no"+"lint:errcheck"), source("a/a.go", "package a\nvar x = 1 //no"+"lint"), source("a/a.go", "package a\nvar x = 1 // #no"+"sec")},
	},
	{
		name:   "nothing is left to do",
		why:    "what is missing belongs where all look for it, with the reason; a note in the code is read by nobody",
		check:  lines(unfinished),
		fine:   []plant{source("a/a.go", "package a // to do it well")},
		plants: []plant{source("a/a.go", "package a // TO"+"DO: later"), source("README.md", "It works.\nFIX"+"ME: not always.")},
	},
	{
		name:   "no file names somebody's machine",
		why:    "it works there only",
		check:  lines(somebodys),
		fine:   []plant{source("README.md", "See https://example.com/ho"+"me/x and ./wo"+"rk/x, ~/.local/go")},
		plants: []plant{source("a/a_test.go", "package a\nvar file = \"/ho"+"me/ann/x.csv\""), source("README.md", "run /Us"+"ers/ann/x")},
	},
}

// aThirdProvider has a folder of its own, and is named elsewhere too.
func aThirdProvider(t *testing.T) *tree {
	t.Helper()
	tr := source("functions/link/link.go", "package link // as Tinkle does")(t)
	tr.packages = []pkg{{name: "shared/bank/tinkle"}}
	return tr
}

func onePackageComment(t *tree) (violations []string) {
	production, comments := map[string]bool{}, map[string][]string{}
	for _, f := range t.goFiles() {
		production[f.dir()] = production[f.dir()] || !f.isTest()
	}
	for _, f := range t.goFiles() {
		if f.isTest() == production[f.dir()] {
			continue
		}
		comments[f.dir()] = append(comments[f.dir()], "")
		if f.ast.Doc != nil {
			comments[f.dir()] = append(comments[f.dir()], f.ast.Doc.Text())
		}
	}
	for dir, texts := range comments {
		texts = slices.DeleteFunc(texts, func(s string) bool { return s == "" })
		if len(texts) != 1 {
			violations = append(violations, fmt.Sprintf("%s has %d package comments", dir, len(texts)))
		} else if word, _, _ := strings.Cut(texts[0], " "); word != "Package" && word != "Command" {
			violations = append(violations, fmt.Sprintf("%s has a package comment that does not begin with Package or Command", dir))
		}
	}
	return violations
}

// providers are the two that the project is for, and all that have a folder.
func (t *tree) providers() []string {
	names := []string{"pla" + "id", "plug" + "gy"}
	for _, p := range t.packages {
		if a := adapter(p.name); path.Dir(a) == "shared/bank" {
			names = append(names, path.Base(a))
		}
	}
	return names
}

func providersAtHome(t *tree) (violations []string) {
	names := t.providers()
	provider := regexp.MustCompile("(?i)" + strings.Join(names, "|"))
	homes := slices.Clone(providerHomes)
	for _, name := range names {
		homes = append(homes, "shared/bank/"+name)
	}
	for _, f := range t.goFiles() {
		if f.isTest() || below(f.dir(), homes...) {
			continue
		}
		for i, line := range strings.Split(f.text, "\n") {
			if provider.MatchString(line) {
				violations = append(violations, fmt.Sprintf("%s:%d: %s", f.path, i+1, strings.TrimSpace(line)))
			}
		}
	}
	return violations
}

func frameworkRegistersOnly(t *tree) (violations []string) {
	const framework = "github.com/GoogleCloudPlatform/functions-framework-go/"
	for _, f := range t.goFiles() {
		local := ""
		for _, spec := range f.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			switch {
			case err != nil:
			case imported == framework+"funcframework":
				violations = append(violations, f.at(spec.Pos())+": imports its server")
			case imported == framework+"functions" && spec.Name != nil:
				local = spec.Name.Name
			case imported == framework+"functions":
				local = "functions"
			}
		}
		each(f.ast, func(call *ast.CallExpr) {
			if local != "" && calls(call, local, "Typed") {
				violations = append(violations, f.at(call.Pos())+": registers a Typed function")
			}
		})
	}
	return violations
}

func sleeps(t *tree) (violations []string) {
	for _, f := range t.goFiles() {
		if !f.isTest() && !strings.HasSuffix(path.Base(f.dir()), "test") {
			continue
		}
		excused := bubbles(f)
		for _, group := range f.ast.Comments {
			line := f.set.Position(group.Pos()).Line
			excused = append(excused, func(p token.Pos) bool { return f.set.Position(p).Line == line })
		}
		each(f.ast, func(call *ast.CallExpr) {
			if calls(call, "time", "Sleep") && !slices.ContainsFunc(excused, func(is func(token.Pos) bool) bool { return is(call.Pos()) }) {
				violations = append(violations, f.at(call.Pos())+": sleeps")
			}
		})
	}
	return violations
}

// bubbles are the parts of a file that run in a bubble of testing/synctest.
func bubbles(f file) (parts []func(token.Pos) bool) {
	each(f.ast, func(call *ast.CallExpr) {
		if calls(call, "synctest", "Test") {
			parts = append(parts, func(p token.Pos) bool { return call.Pos() < p && p < call.End() })
		}
	})
	return parts
}

func each(in ast.Node, do func(*ast.CallExpr)) {
	ast.Inspect(in, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			do(call)
		}
		return true
	})
}

// calls reports whether a call is pkg.name(…).
func calls(call *ast.CallExpr, pkg, name string) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != name {
		return false
	}
	from, ok := selector.X.(*ast.Ident)
	return ok && from.Name == pkg
}

func silences(t *tree) (violations []string) {
	for _, f := range t.goFiles() {
		for _, group := range f.ast.Comments {
			for _, c := range group.List {
				if silencing.MatchString(c.Text) && !reasoned.MatchString(c.Text) {
					violations = append(violations, f.at(c.Pos())+": "+c.Text)
				}
			}
		}
	}
	return violations
}

// lines refuses lines that match.
func lines(unwanted *regexp.Regexp) func(*tree) []string {
	return func(t *tree) (violations []string) {
		for _, f := range t.files {
			for i, line := range strings.Split(f.text, "\n") {
				if unwanted.MatchString(line) {
					violations = append(violations, fmt.Sprintf("%s:%d: %s", f.path, i+1, strings.TrimSpace(line)))
				}
			}
		}
		return violations
	}
}
