package infra_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/functions/app"
	"github.com/bkper/automations-portal/shared/config"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/vault"
)

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// parsed are the files of a package, tests left out.
func parsed(t *testing.T, folder string) (files []*ast.File) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("..", folder, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no package %s: %v", folder, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// methods are the methods of a package by name, whatever their receivers.
func methods(t *testing.T, folder string) map[string][]*ast.FuncDecl {
	t.Helper()
	all := map[string][]*ast.FuncDecl{}
	for _, file := range parsed(t, folder) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				all[f.Name.Name] = append(all[f.Name.Name], f)
			}
		}
	}
	return all
}

// chain is a selector such as a.cfg.PlaidURL in its parts; nil for other expressions.
func chain(e ast.Expr) []string {
	switch e := e.(type) {
	case *ast.Ident:
		return []string{e.Name}
	case *ast.SelectorExpr:
		if before := chain(e.X); before != nil {
			return append(before, e.Sel.Name)
		}
	}
	return nil
}

// wiring is what functions/app hands to a function: which fields of the configuration it takes, and whose packages' values get
// the vault and the publisher.
type wiring struct {
	fields, vaulted, publishing map[string]bool
	calls                       map[string]bool // methods of the app on the way
}

// wire follows a function's builder in functions/app through the methods that it calls.
func wire(t *testing.T, function string) wiring {
	t.Helper()
	all := methods(t, "functions/app")
	opened := onceOpened(all["New"][0])
	w := wiring{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
	var follow func(name string)
	follow = func(name string) {
		if w.calls[name] {
			return
		}
		w.calls[name] = true
		if via := opened[name]; via != "" {
			follow(via)
		}
		for _, f := range all[name] {
			if f.Recv == nil {
				continue
			}
			w.look(f)
			ast.Inspect(f, func(n ast.Node) bool {
				if c := selector(n); len(c) >= 2 && (c[0] == "a" || c[0] == "g") && c[1] != "cfg" {
					follow(c[len(c)-1])
				}
				return true
			})
		}
	}
	follow(function)
	return w
}

func selector(n ast.Node) []string {
	s, ok := n.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	return chain(s)
}

// onceOpened says which method opens what a field of the app gives: a.store = sync.OnceValues(a.openStore).
func onceOpened(constructor *ast.FuncDecl) map[string]string {
	opened := map[string]string{}
	ast.Inspect(constructor, func(n ast.Node) bool {
		assign, ok := n.(*ast.AssignStmt)
		if !ok || len(assign.Lhs) != len(assign.Rhs) {
			return true
		}
		for i := range assign.Lhs {
			call, ok := assign.Rhs[i].(*ast.CallExpr)
			if to := chain(assign.Lhs[i]); ok && len(to) == 2 && len(call.Args) == 1 {
				if from := chain(call.Args[0]); len(from) == 2 {
					opened[to[1]] = from[1]
				}
			}
		}
		return true
	})
	return opened
}

// look notes what one builder takes from the configuration and to whom it gives the vault (v) and the publisher (e).
func (w *wiring) look(f *ast.FuncDecl) {
	ast.Inspect(f, func(n ast.Node) bool {
		if c := selector(n); len(c) >= 3 && c[len(c)-2] == "cfg" {
			w.fields[c[len(c)-1]] = true
		}
		of, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		of2 := chain(of.Type)
		if len(of2) != 2 {
			return true
		}
		for _, e := range of.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				switch value := chain(kv.Value); {
				case len(value) == 1 && value[0] == "v":
					w.vaulted[of2[0]] = true
				case len(value) == 1 && value[0] == "e":
					w.publishing[of2[0]] = true
				}
			}
		}
		return true
	})
}

// home is the folder of a package that functions/app imports by this name.
func home(name string) string {
	name = map[string]string{"functionsync": "sync"}[name] + strings.TrimPrefix(name, "functionsync")
	if slices.Contains(app.Names(), name) {
		return "functions/" + name
	}
	return "shared/" + name
}

// ofOthers are variables that somebody else's code reads in every function.
var ofOthers = []string{"OTEL_RESOURCE_ATTRIBUTES"}

// reads tells whether a function uses a variable of the environment, and whether that is a secret.
func reads(function, variable string) (read, isSecret bool) {
	if slices.Contains(ofOthers, variable) {
		return true, false
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[config.Config]()) {
		name, _, _ := strings.Cut(f.Tag.Get("env"), ",")
		if name != variable {
			continue
		}
		functions, some := f.Tag.Lookup("for")
		return !some || slices.Contains(strings.Fields(functions), function), f.Type == reflect.TypeFor[secret.String]()
	}
	return false, false
}

func TestTheConfigurationSaysWhoUsesWhat(t *testing.T) {
	ofProvider := wire(t, "openBanks").fields
	if len(ofProvider) == 0 {
		t.Fatal("functions/app no longer opens the providers in openBanks")
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[config.Config]()) {
		functions, some := f.Tag.Lookup("for")
		if !some {
			continue
		}
		var using []string
		for _, name := range app.Names() {
			if wire(t, name).fields[f.Name] {
				using = append(using, name)
			}
		}
		said := strings.Fields(functions)
		slices.Sort(said)
		if ofProvider[f.Name] { // it is handed over wherever the provider is, and says itself for what it uses it
			using = slices.DeleteFunc(using, func(name string) bool { return !slices.Contains(said, name) })
		}
		if diff := cmp.Diff(using, said); diff != "" {
			t.Errorf("%s is used by functions/app for, and said to be for (-want +got):\n%s", f.Name, diff)
		}
	}
}

// rights are what a function does with what is kept at Google.
type rights struct {
	Store    string              // none, read or write
	Vault    map[string][]string // methods, with the beginnings of the names
	Topics   []string            // that it publishes to
	CallBank bool
}

var prefixes = map[string]string{
	"ConnectionToken": vault.ConnectionToken(""), "SessionHandle": vault.SessionHandle(""), "UserGrant": vault.UserGrant(""),
}

var topics = map[string]events.Topic{"Rings": events.Rings, "Sessions": events.Sessions, "Disconnects": events.Disconnects}

// needs finds the rights that a function's code needs.
func needs(t *testing.T, function string) rights {
	t.Helper()
	w := wire(t, function)
	r := rights{Store: storing(t, function, w), Vault: map[string][]string{}, CallBank: w.calls["banks"]}
	for name := range w.vaulted {
		for _, use := range vaultUses(t, home(name)) {
			method, prefix, _ := strings.Cut(use, " ")
			r.Vault[method] = insert(r.Vault[method], prefix)
		}
	}
	for name := range w.publishing {
		for _, file := range parsed(t, home(name)) {
			ast.Inspect(file, func(n ast.Node) bool {
				if c := selector(n); len(c) == 2 && c[0] == "events" && topics[c[1]] != "" {
					r.Topics = insert(r.Topics, string(topics[c[1]]))
				}
				return true
			})
		}
	}
	return r
}

func insert(all []string, one string) []string {
	if at, found := slices.BinarySearch(all, one); !found {
		return slices.Insert(all, at, one)
	}
	return all
}

// storing tells what a function's own struct lets it do with documents: its field Store is a store.Store, or something that
// only reads.
func storing(t *testing.T, function string, w wiring) string {
	t.Helper()
	if !w.calls["store"] {
		return "none"
	}
	for _, file := range parsed(t, "functions/"+function) {
		for _, d := range file.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range decl.Specs {
				s, ok := spec.(*ast.TypeSpec)
				if !ok || !strings.EqualFold(s.Name.Name, function) {
					continue
				}
				for _, field := range s.Type.(*ast.StructType).Fields.List {
					if len(field.Names) == 1 && field.Names[0].Name == "Store" && strings.Join(chain(field.Type), ".") != "store.Store" {
						return "read"
					}
				}
			}
		}
	}
	return "write"
}

// vaultUses are the calls of a vault in a package, as "get connection-".
func vaultUses(t *testing.T, folder string) (uses []string) {
	t.Helper()
	for name, all := range methods(t, folder) {
		for _, f := range all {
			named := map[string]string{} // variables that hold a name
			ast.Inspect(f, func(n ast.Node) bool {
				if assign, ok := n.(*ast.AssignStmt); ok && len(assign.Rhs) == 1 {
					if c := chain(assign.Lhs[0]); len(c) == 1 {
						named[c[0]] = secretName(assign.Rhs[0], nil)
					}
				}
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				c := chain(call.Fun)
				if len(c) < 3 || !slices.Contains([]string{"Vault", "vault", "Tokens"}, c[len(c)-2]) {
					return true
				}
				prefix := secretName(call.Args[1], named)
				if prefix == "" {
					t.Errorf("%s: it cannot be told which secrets %s uses", folder, name)
				}
				uses = append(uses, fmt.Sprintf("%s %s", strings.ToLower(c[len(c)-1]), prefix))
				return true
			})
		}
	}
	return uses
}

// secretName is the beginning of the name that an expression gives.
func secretName(e ast.Expr, named map[string]string) string {
	if call, ok := e.(*ast.CallExpr); ok {
		if c := chain(call.Fun); len(c) == 2 && c[0] == "vault" {
			return prefixes[c[1]]
		}
	}
	if c := chain(e); len(c) == 1 {
		return named[c[0]]
	}
	return ""
}

func TestEveryFunctionHasTheRightsThatItsCodeNeedsAndNoMore(t *testing.T) {
	f := open(t, ".", example(t, "large"))
	for _, name := range app.Names() {
		args := f.module(name)
		got := rights{Store: "none", Vault: map[string][]string{}}
		if v, ok := args["store"]; ok {
			got.Store = text(v)
		}
		for method, names := range object(args["vault"]) {
			got.Vault[method] = texts(names)
		}
		if v, ok := args["publishes"]; ok {
			got.Topics = texts(v)
		}
		if v, ok := args["egress"]; ok {
			got.CallBank = v.True()
		}
		if diff := cmp.Diff(needs(t, name), got); diff != "" {
			t.Errorf("%s: what its code needs, and what it is given (-want +got):\n%s", name, diff)
		}
	}
}

// The adapter says beside its type which permissions each method needs.
func TestTheRolesOfTheVaultAreThoseThatItsAdapterAsksFor(t *testing.T) {
	f := open(t, ".", example(t, "small"))
	role := f.resources("google_project_iam_custom_role")["vault"].Body
	got := map[string]string{}
	for method, r := range object(f.value(role.Attributes["for_each"].Expr)) {
		got[method] = strings.Join(texts(r.GetAttr("permissions")), " ")
	}
	want := map[string]string{
		"get": "secretmanager.versions.access", "create": "secretmanager.secrets.create", "destroy": "secretmanager.secrets.delete",
		"put": "secretmanager.versions.add secretmanager.versions.destroy secretmanager.versions.list",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
	comment := string(read(t, filepath.Join("..", "shared", "vault", "secretmanager", "secretmanager.go")))
	for _, line := range []string{
		"Get      secretmanager.versions.access", "Put      secretmanager.secrets.create, secretmanager.versions.{add,list,destroy}",
		"Destroy  secretmanager.secrets.delete",
	} {
		if !strings.Contains(comment, line) {
			t.Errorf("the adapter no longer says %q: its permissions have changed", line)
		}
	}
}

// A stranger's bodies are held until their proof was checked. Go takes up to two and a half times what they are.
func TestWebhookHasTheMemoryForAsManyBodiesAsItTakesAtOnce(t *testing.T) {
	most := regexp.MustCompile(`const maxBody = (\d+) << 20\n`).FindSubmatch(read(t, "../functions/webhook/webhook.go"))
	if most == nil {
		t.Fatal("the function no longer says in MiB how long a body may be")
	}
	args := open(t, ".", example(t, "large")).module("webhook")
	size := "256Mi" // of a function that says nothing
	if said, ok := args["memory"]; ok {
		size = text(said)
	}
	megabytes, err := strconv.Atoi(string(most[1]))
	memory, err2 := strconv.Atoi(strings.TrimSuffix(size, "Mi"))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	at, _ := args["concurrency"].AsBigFloat().Int64()
	if need := 64 + 5*int(at)*megabytes/2; memory < need {
		t.Errorf("%d bodies of %d MiB at once take %d MiB, and it has %d", at, megabytes, need, memory)
	}
}
