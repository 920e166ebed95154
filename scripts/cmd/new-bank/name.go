package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// bank is the provider to be made, by its names.
type bank struct {
	Name string // of its folder, and in URLs: tink
	Type string // in Go: Tink
	Env  string // in the environment: TINK
}

// names are those that the suite of providers allows.
var names = regexp.MustCompile(`^[a-z][a-z0-9]{1,20}$`)

// homes are the folders besides its own in which a provider's name may stand, as shared/rules has them.
var homes = []string{"shared/config", "functions/app", "shared/sandbox", "shared/posting/sim", "scripts", "infra"}

// named refuses what cannot be a provider's name, or is taken.
func named(root, name string) (bank, error) {
	b := bank{name, "", strings.ToUpper(name)}
	switch {
	case !names.MatchString(name):
		return b, fmt.Errorf("%q cannot be a provider's name: take 2 to 21 lower-case letters and digits, beginning with a letter", name)
	case strings.HasSuffix(name, "test"):
		return b, fmt.Errorf("%s ends in test, as the folders do that production never links: take another name", name)
	case token.IsKeyword(name):
		return b, fmt.Errorf("%s is a word of Go: take another name", name)
	}
	b.Type = strings.ToUpper(name[:1]) + name[1:]
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(b.adapter())))
	switch {
	case err == nil && strings.Contains(string(text), "errNotWritten"):
		return b, nil // a skeleton, which is completed
	case err == nil:
		return b, fmt.Errorf("%s is taken: there is a provider of that name", name)
	case !errors.Is(err, fs.ErrNotExist):
		return b, err
	}
	if _, err := os.Stat(filepath.Join(root, "shared", "bank", name)); err == nil {
		return b, fmt.Errorf("%s is taken: there is a folder shared/bank/%s", name, name)
	}
	if err := b.free(root); err != nil {
		return b, err
	}
	return b, b.unused(root)
}

// adapter is the file of the provider.
func (b bank) adapter() string { return "shared/bank/" + b.Name + "/" + b.Name + ".go" }

// free reports where the name is a word of the code already: a provider's name stands in few places only, which shared/rules
// sees to, and could not for such a word.
func (b bank) free(root string) error {
	for _, top := range []string{"functions", "shared"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(at string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			path, err := filepath.Rel(root, at)
			if err != nil {
				return err
			}
			path = filepath.ToSlash(path)
			if entry.IsDir() {
				for _, home := range homes {
					if path == home {
						return fs.SkipDir
					}
				}
				return nil
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			text, err := os.ReadFile(at)
			if err == nil && strings.Contains(strings.ToLower(string(text)), b.Name) {
				err = fmt.Errorf("%s is taken: %s uses the word, so that nobody could tell where the provider is meant", b.Name, path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// unused makes sure that the package can be called by its name where all providers are built.
func (b bank) unused(root string) error {
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, filepath.FromSlash(tablePath)), nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && (id.Name == b.Name || id.Name == b.Type) {
			err = fmt.Errorf("%s is taken: %s uses the word for something else", b.Name, tablePath)
		}
		return true
	})
	return err
}
