package infra_test

import (
	"go/ast"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// literals are the composite literals of our own code whose type is named so, with the names of their fields' values.
func literals(t *testing.T, typeName string) (all []map[string]ast.Expr) {
	t.Helper()
	for _, top := range []string{"functions", "shared"} {
		err := filepath.WalkDir(filepath.Join("..", top), func(at string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.IsDir() || strings.Contains(at, "sandbox") || strings.HasSuffix(at, "test") || strings.HasSuffix(at, "sim") {
				return err
			}
			if files, err := filepath.Glob(filepath.Join(at, "*.go")); err != nil || !slices.ContainsFunc(files, func(f string) bool { return !strings.HasSuffix(f, "_test.go") }) {
				return err
			}
			folder, err := filepath.Rel("..", at)
			if err != nil {
				return err
			}
			for _, file := range parsed(t, folder) {
				ast.Inspect(file, func(n ast.Node) bool {
					if lit, ok := n.(*ast.CompositeLit); ok && named(lit.Type) == typeName {
						fields := map[string]ast.Expr{}
						for _, e := range lit.Elts {
							if kv, ok := e.(*ast.KeyValueExpr); ok {
								fields[chain(kv.Key)[0]] = kv.Value
							}
						}
						all = append(all, fields)
					}
					return true
				})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// named is the last part of a type's name, type arguments left out.
func named(e ast.Expr) string {
	if of, ok := e.(*ast.IndexExpr); ok {
		e = of.X
	}
	c := chain(e)
	if len(c) == 0 {
		return ""
	}
	return c[len(c)-1]
}

func TestEveryCollectionIsDefinedAndEndsWhereItsDocumentsDo(t *testing.T) {
	want := map[string]bool{}
	for _, kind := range literals(t, "Kind") {
		name, ok := kind["Name"].(*ast.BasicLit)
		if !ok {
			continue // another view of a kind that is declared elsewhere
		}
		text, err := strconv.Unquote(name.Value)
		if err != nil {
			t.Fatal(err)
		}
		want[text] = kind["Expires"] != nil
	}
	f := open(t, ".", example(t, "small"))
	got := map[string]bool{}
	for name, collection := range object(f.local("collections")) {
		got[name] = collection.GetAttr("expires").True()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("collections, and whether their documents end (-want +got):\n%s", diff)
	}
	for _, field := range []string{"body", "expires"} {
		b := f.resources("google_firestore_field")[field].Body
		if got := text(f.value(b.Attributes["field"].Expr)); got != field {
			t.Errorf("the field %s is called %s", field, got)
		}
		if len(b.Blocks) == 0 || b.Blocks[0].Type != "index_config" || len(b.Blocks[0].Body.Blocks) > 0 {
			t.Errorf("the field %s is indexed", field)
		}
	}
	if ttl := f.resources("google_firestore_field")["expires"].Body.Blocks; len(ttl) < 2 || ttl[1].Type != "ttl_config" {
		t.Error("nothing ends: the field expires has no time-to-live policy")
	}
}

// A query with a field and a time needs a composite index; production refuses it without, and the emulator does not.
func TestEveryQueryDoesWithTheIndexesThatAreDefined(t *testing.T) {
	queries := literals(t, "Query")
	needing := 0
	for _, q := range queries {
		if q["Field"] != nil && q["Due"] != nil {
			needing++
		}
	}
	if len(queries) < 10 {
		t.Fatalf("%d queries are found, where there are more", len(queries))
	}
	f := open(t, ".", example(t, "small"))
	if defined := len(f.resources("google_firestore_index")); needing != 0 || defined != 0 {
		t.Errorf("%d queries ask for a field and a time, and %d composite indexes are defined; firestore.tf says that none is needed", needing, defined)
	}
}
