package infra_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// folder is the definition in one folder, as far as it can be known without Google: variables, locals and the arguments of
// modules are evaluated, and whatever a resource will say is unknown.
type folder struct {
	t       *testing.T
	blocks  []block
	context *hcl.EvalContext
}

// block is one top-level block, and the file that it stands in.
type block struct {
	*hclsyntax.Block
	file string
}

func (b block) is(kind string) bool { return b.Type == kind }

// open reads the files of a folder, with the values of its variables; others have their defaults.
func open(t *testing.T, dir string, values map[string]cty.Value) *folder {
	t.Helper()
	f := &folder{t: t, context: &hcl.EvalContext{Functions: functions, Variables: map[string]cty.Value{"module": cty.DynamicVal}}}
	files, err := filepath.Glob(filepath.Join(dir, "*.tf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no definition in %s: %v", dir, err)
	}
	for _, file := range files {
		for _, b := range body(t, file).Blocks {
			f.blocks = append(f.blocks, block{b, filepath.Base(file)})
			if b.Type == "resource" {
				f.context.Variables[b.Labels[0]] = cty.DynamicVal
			}
		}
	}
	f.variables(values)
	f.locals()
	return f
}

func body(t *testing.T, file string) *hclsyntax.Body {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parsed, faults := hclsyntax.ParseConfig(text, file, hcl.InitialPos)
	if faults.HasErrors() {
		t.Fatal(faults)
	}
	return parsed.Body.(*hclsyntax.Body)
}

// example reads the variables of examples/NAME.tfvars, and those that scripts/deploy adds.
func example(t *testing.T, name string) map[string]cty.Value {
	t.Helper()
	values := map[string]cty.Value{
		"project_id": cty.StringVal("demo-project"), "project_number": cty.StringVal("123456789012"),
		"image": cty.StringVal("example.com/functions@sha256:" + strings.Repeat("0", 64)),
	}
	for attribute, a := range body(t, filepath.Join("examples", name+".tfvars")).Attributes {
		v, faults := a.Expr.Value(nil)
		if faults.HasErrors() {
			t.Fatal(faults)
		}
		values[attribute] = v
	}
	return values
}

func (f *folder) variables(values map[string]cty.Value) {
	f.t.Helper()
	given := map[string]cty.Value{}
	for _, b := range f.all("variable") {
		name := b.Labels[0]
		v, ok := values[name]
		if fallback := b.Body.Attributes["default"]; !ok && fallback != nil {
			v, ok = f.value(fallback.Expr), true
		}
		if !ok {
			f.t.Fatalf("the variable %s has no value", name)
		}
		given[name] = f.typed(b, v)
	}
	for name := range values {
		if _, known := given[name]; !known {
			f.t.Errorf("there is no variable %s", name)
		}
	}
	f.context.Variables["var"] = cty.ObjectVal(given)
}

// typed gives a value the type of its variable, and what is optional in it.
func (f *folder) typed(variable block, v cty.Value) cty.Value {
	f.t.Helper()
	of, optional, faults := typeexpr.TypeConstraintWithDefaults(variable.Body.Attributes["type"].Expr)
	if faults.HasErrors() {
		f.t.Fatal(faults)
	}
	if optional != nil && !v.IsNull() {
		v = optional.Apply(v)
	}
	v, err := convert.Convert(v, of)
	if err != nil {
		f.t.Fatalf("the variable %s: %v", variable.Labels[0], err)
	}
	return v
}

// locals are evaluated again and again, until none needs one that is not known yet.
func (f *folder) locals() {
	f.t.Helper()
	open, known := map[string]hcl.Expression{}, map[string]cty.Value{}
	for _, b := range f.all("locals") {
		for name, a := range b.Body.Attributes {
			open[name] = a.Expr
		}
	}
	for len(open) > 0 {
		before, faults := len(open), hcl.Diagnostics{}
		f.context.Variables["local"] = cty.ObjectVal(known)
		for _, name := range slices.Sorted(maps.Keys(open)) {
			v, wrong := open[name].Value(f.context)
			if wrong.HasErrors() {
				faults = append(faults, wrong...)
				continue
			}
			known[name] = v
			delete(open, name)
		}
		if len(open) == before {
			f.t.Fatal(faults)
		}
	}
	f.context.Variables["local"] = cty.ObjectVal(known)
}

func (f *folder) all(kind string) (some []block) {
	for _, b := range f.blocks {
		if b.is(kind) {
			some = append(some, b)
		}
	}
	return some
}

// resources are those of a type, by name.
func (f *folder) resources(kind string) map[string]block {
	some := map[string]block{}
	for _, b := range f.all("resource") {
		if b.Labels[0] == kind {
			some[b.Labels[1]] = b
		}
	}
	return some
}

func (f *folder) value(e hcl.Expression) cty.Value {
	f.t.Helper()
	v, faults := e.Value(f.context)
	if faults.HasErrors() {
		f.t.Fatal(faults)
	}
	return v
}

// local is the value of a local one.
func (f *folder) local(name string) cty.Value {
	f.t.Helper()
	all := f.context.Variables["local"]
	if !all.Type().HasAttribute(name) {
		f.t.Fatalf("there is no local %s", name)
	}
	return all.GetAttr(name)
}

// unknown stands for what only Google will say.
const unknown = "unknown@example.com"

// text is a value as a function would get it.
func text(v cty.Value) string {
	if !v.IsKnown() {
		return unknown
	}
	v, err := convert.Convert(v, cty.String)
	if err != nil || v.IsNull() {
		return fmt.Sprintf("not a text: %#v", v)
	}
	return v.AsString()
}

func texts(v cty.Value) (all []string) {
	if !v.IsWhollyKnown() || v.IsNull() {
		return nil
	}
	for _, e := range v.AsValueSlice() {
		all = append(all, text(e))
	}
	slices.Sort(all)
	return all
}

func object(v cty.Value) map[string]cty.Value {
	if v.IsNull() || !v.IsKnown() {
		return nil
	}
	return v.AsValueMap()
}

// functions are those of Terraform's that the definition uses where values are needed here.
var functions = map[string]function.Function{
	"concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc, "flatten": stdlib.FlattenFunc, "join": stdlib.JoinFunc, "keys": stdlib.KeysFunc,
	"length": stdlib.LengthFunc, "merge": stdlib.MergeFunc, "setunion": stdlib.SetUnionFunc, "sort": stdlib.SortFunc, "try": tryfunc.TryFunc,
	"values": stdlib.ValuesFunc, "tolist": stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)), "toset": stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),
	"one": function.New(&function.Spec{ // a list of no or one resource
		Params: []function.Parameter{{Name: "list", Type: cty.DynamicPseudoType, AllowUnknown: true, AllowDynamicType: true}},
		Type:   function.StaticReturnType(cty.DynamicPseudoType),
		Impl:   func([]cty.Value, cty.Type) (cty.Value, error) { return cty.DynamicVal, nil },
	}),
}
