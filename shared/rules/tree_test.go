package rules

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/bkper/automations-portal/functions/app"
	"github.com/bkper/automations-portal/shared/config"
)

const module = "github.com/bkper/automations-portal/"

// tree is the code base as the rules see it. Packages of our own are named by their folder, such as shared/bank.
type tree struct {
	packages  []pkg
	linked    []string     // packages in the binary that is deployed
	functions []string     // names in the table of functions
	config    reflect.Type // the struct of the configuration
	replaced  []string     // modules that go.mod replaces
	files     []file
}

type pkg struct {
	name    string
	imports []string // not those of its tests
	tested  []string // those of its tests
}

type file struct {
	path string // below the root, with slashes
	text string
	mode fs.FileMode
	set  *token.FileSet
	ast  *ast.File // of Go files
}

func (f file) dir() string  { return path.Dir(f.path) }
func (f file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// at is a place in a Go file, as an editor finds it.
func (f file) at(p token.Pos) string { return f.set.Position(p).String() }

// goFiles are those of all platforms.
func (t *tree) goFiles() (some []file) {
	for _, f := range t.files {
		if f.ast != nil {
			some = append(some, f)
		}
	}
	return some
}

func (t *tree) file(path string) (file, bool) {
	for _, f := range t.files {
		if f.path == path {
			return f, true
		}
	}
	return file{}, false
}

func load(t *testing.T) *tree {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	tr := &tree{functions: app.Names(), config: reflect.TypeFor[config.Config]()}
	tr.packages = packages(t, root)
	for _, name := range strings.Fields(goTool(t, root, "list", "-deps", "./functions/main")) {
		tr.linked = append(tr.linked, strings.TrimPrefix(name, module))
	}
	var mod struct {
		Replace []struct{ Old struct{ Path string } }
	}
	if err := json.Unmarshal([]byte(goTool(t, root, "mod", "edit", "-json")), &mod); err != nil {
		t.Fatal(err)
	}
	for _, r := range mod.Replace {
		tr.replaced = append(tr.replaced, r.Old.Path)
	}
	tr.files = files(t, root)
	return tr
}

func goTool(t *testing.T, root string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func packages(t *testing.T, root string) (all []pkg) {
	t.Helper()
	lists := json.NewDecoder(strings.NewReader(goTool(t, root, "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")))
	for {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		err := lists.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pkg{
			name:    strings.TrimPrefix(p.ImportPath, module),
			imports: ours(p.Imports), tested: ours(append(p.TestImports, p.XTestImports...)),
		})
	}
}

func ours(imports []string) []string {
	for i := range imports {
		imports[i] = strings.TrimPrefix(imports[i], module)
	}
	return imports
}

// built are folders that hold what is made here, not what is written here.
var built = map[string]bool{".git": true, "bin": true, "data": true}

func files(t *testing.T, root string) (all []file) {
	t.Helper()
	err := filepath.WalkDir(root, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, at)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if entry.IsDir() {
			if built[name] {
				return fs.SkipDir
			}
			return nil
		}
		if !written(name) {
			return nil
		}
		text, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		all = append(all, parsed(t, file{path: name, text: string(text), mode: info.Mode()}))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// written reports whether a file is one that people write, so that a developer's own data is not read.
func written(name string) bool {
	switch path.Ext(name) {
	case ".go", ".md", ".mod", ".yml", ".yaml", ".html", ".tf":
		return true
	}
	return command(name) || strings.HasPrefix(name, ".ci/")
}

// command reports whether a file is one that people call.
func command(name string) bool {
	return path.Dir(name) == "scripts" || path.Dir(name) == "scripts/cmd"
}

func parsed(t *testing.T, f file) file {
	t.Helper()
	if path.Ext(f.path) != ".go" {
		return f
	}
	f.set = token.NewFileSet()
	var err error
	if f.ast, err = parser.ParseFile(f.set, f.path, f.text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
		t.Fatal(err)
	}
	return f
}
