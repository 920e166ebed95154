package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

//go:embed skeleton
var skeleton embed.FS

// file is one that belongs to a provider, or names it.
type file struct {
	path string
	text []byte // as it is to be; nil where it is so already
	made bool   // it was not there
}

const (
	module     = "github.com/bkper/automations-portal/"
	tablePath  = "functions/app/app.go"
	configPath = "shared/config/config.go"
)

// files are all of them.
func (b bank) files(root string) (all []file, err error) {
	for _, m := range []struct{ path, template string }{
		{b.adapter(), "bank.go.tmpl"},
		{"shared/bank/" + b.Name + "/suite_test.go", "suite_test.go.tmpl"},
		{"shared/sandbox/" + b.Name + "/" + b.Name + ".go", "sandbox.go.tmpl"},
	} {
		f, err := b.make(root, m.path, m.template)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	for _, c := range []struct {
		path string
		edit func([]byte) ([]byte, error)
	}{
		{configPath, b.config},
		{tablePath, b.table},
		{"infra/README.md", b.readme},
		{"infra/examples/small.tfvars", b.infra},
		{"infra/examples/large.tfvars", b.infra},
	} {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(c.path)))
		if err != nil {
			return nil, err
		}
		edited, err := c.edit(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.path, err)
		}
		all = append(all, file{path: c.path, text: edited})
	}
	return all, nil
}

// make fills a template, where the file is not there.
func (b bank) make(root, path, name string) (file, error) {
	f := file{path: path, made: true}
	if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(path))); !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	t, err := template.ParseFS(skeleton, "skeleton/"+name)
	if err != nil {
		return f, err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, b); err != nil {
		return f, err
	}
	f.text, err = format.Source(text.Bytes())
	return f, err
}

// insertion is text that is put before a place of a Go file.
type insertion struct {
	at   token.Pos
	text string
}

// inserted puts texts into a Go file, from the last to the first, and formats it.
func inserted(set *token.FileSet, text []byte, all ...insertion) ([]byte, error) {
	for _, i := range all {
		at := set.Position(i.at).Offset
		text = append(text[:at:at], append([]byte(i.text), text[at:]...)...)
	}
	return format.Source(text)
}

// errShape: the file is no longer as this program knows it.
var errShape = errors.New("new-bank does not find its place here any more; add the provider by hand, and mend scripts/cmd/new-bank")

// users are the functions that build the providers.
const users = "connect disconnect reconnect webhook poster portal"

// config adds the fields, and lets the URL be checked as others are.
func (b bank) config(text []byte) ([]byte, error) {
	if bytes.Contains(text, fmt.Appendf(nil, "env:%q", b.Env+"_KEY")) {
		return nil, nil
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, configPath, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var fields, urls token.Pos
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeSpec:
			if s, ok := n.Type.(*ast.StructType); ok && n.Name.Name == "Config" {
				fields = s.Fields.Closing
			}
		case *ast.CompositeLit:
			if hasKey(n, `"BKPER_API_URL"`) {
				urls = n.Rbrace
			}
		}
		return true
	})
	if !fields.IsValid() || urls < fields {
		return nil, errShape
	}
	return inserted(set, text,
		insertion{urls, fmt.Sprintf("%q: c.%sURL,\n", b.Env+"_URL", b.Type)},
		insertion{fields, fmt.Sprintf("\n%[1]sKey secret.String `env:\"%[2]s_KEY\" for:\"%[3]s\"` // without, %[1]s is not served\n%[1]sURL string `env:\"%[2]s_URL\" for:\"%[3]s\"`\n",
			b.Type, b.Env, users)})
}

func hasKey(lit *ast.CompositeLit, key string) bool {
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if k, ok := kv.Key.(*ast.BasicLit); ok && k.Value == key {
				return true
			}
		}
	}
	return false
}

// table adds the one entry in the list of providers.
func (b bank) table(text []byte) ([]byte, error) {
	path := module + "shared/bank/" + b.Name
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, tablePath, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var imports, entries token.Pos
	for _, i := range f.Imports {
		switch at := strings.Trim(i.Path.Value, `"`); {
		case at == path:
			return nil, nil
		case strings.HasPrefix(at, module+"shared/bank/"):
			imports = i.Pos()
		}
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "openBanks" {
			ast.Inspect(fn, func(n ast.Node) bool {
				if loop, ok := n.(*ast.RangeStmt); ok && !entries.IsValid() {
					if list, ok := loop.X.(*ast.CompositeLit); ok {
						entries = list.Rbrace
					}
				}
				return true
			})
		}
	}
	if !imports.IsValid() || !entries.IsValid() {
		return nil, errShape
	}
	return inserted(set, text,
		insertion{entries, fmt.Sprintf("{!a.cfg.%[2]sKey.Empty(), func() (bank.Provider, error) {\nreturn %[1]s.New(%[1]s.Config{BaseURL: a.cfg.%[2]sURL, Key: a.cfg.%[2]sKey, HTTPClient: a.http()})\n}},\n", b.Name, b.Type)},
		insertion{imports, fmt.Sprintf("%q\n", path)})
}

// variables is the table of the environment's variables, to the end of its last row.
var variables = regexp.MustCompile("(?m)^\\| `FUNCTION_TARGET` .*\n(\\|.*\n)*")

// readme adds the row of the variables.
func (b bank) readme(text []byte) ([]byte, error) {
	if bytes.Contains(text, fmt.Appendf(nil, "`%s_KEY`", b.Env)) {
		return nil, nil
	}
	at := variables.FindIndex(text)
	if at == nil {
		return nil, errShape
	}
	row := fmt.Sprintf("| `%s_KEY`, `%[1]s_URL` | of %s, which is not written yet and without a key is not served; where it is | as for the other banks |\n", b.Env, b.Type)
	return append(text[:at[1]:at[1]], append([]byte(row), text[at[1]:]...)...), nil
}

// entries is the map of providers in the variables of a deployment.
var entries = regexp.MustCompile(`(?ms)^banks = \{\n.*?^\}`)

// infra adds the entry of the provider to the variables of a deployment.
func (b bank) infra(text []byte) ([]byte, error) {
	at := entries.FindIndex(text)
	if at == nil {
		return nil, errShape
	}
	if regexp.MustCompile(`(?m)^  ` + b.Name + ` = \{`).Match(text[at[0]:at[1]]) {
		return nil, nil
	}
	end := at[1] - 1
	entry := fmt.Sprintf("  %s = {\n    settings = {}\n    secrets  = [%q]\n  }\n", b.Name, b.Env+"_KEY")
	return append(text[:end:end], append([]byte(entry), text[end:]...)...), nil
}
