package portal_test

import (
	"encoding"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/civil"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/functions/auth"
	"github.com/bkper/automations-portal/functions/connect"
	"github.com/bkper/automations-portal/functions/disconnect"
	"github.com/bkper/automations-portal/functions/link"
	"github.com/bkper/automations-portal/functions/portal"
	"github.com/bkper/automations-portal/functions/reconnect"
	"github.com/bkper/automations-portal/functions/remove"
	functionsync "github.com/bkper/automations-portal/functions/sync"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/session"
	"github.com/bkper/automations-portal/shared/view"
	"github.com/bkper/automations-portal/shared/web"
)

// operation says what Go makes of one: the schema of the body or of the query, and that of each answer with a body.
type operation struct {
	request any // nil for none
	answers map[int]any
}

func answers(v any) map[int]any { return map[int]any{http.StatusOK: v} }

// operations are all whose bodies are ours. Those of pushes and webhooks are Google's and the providers'.
var operations = map[string]operation{
	"POST /auth/refresh":       {nil, answers(auth.Access{})},
	"POST /connect":            {connect.Request{}, answers(session.Started{})},
	"POST /connect/complete":   {connect.Complete{}, answers(connect.Completed{})},
	"POST /connect/offer":      {connect.Offer{}, map[int]any{200: connect.Offering{}, 202: connect.Offering{}}},
	"POST /connect/accounts":   {connect.Accounts{}, answers(session.Started{})},
	"POST /link":               {link.Request{}, answers(view.Integration{})},
	"POST /remove":             {remove.Request{}, map[int]any{200: remove.Response{}, 202: remove.Response{}}},
	"POST /disconnect":         {disconnect.Request{}, map[int]any{200: disconnect.Response{}, 202: disconnect.Response{}}},
	"POST /reconnect":          {reconnect.Request{}, answers(session.Started{})},
	"GET /portal/config":       {nil, answers(portal.Config{})},
	"GET /portal/user":         {portal.Nothing{}, answers(portal.User{})},
	"GET /portal/connections":  {portal.Nothing{}, answers(portal.Connections{})},
	"GET /portal/integrations": {portal.OfBook{}, answers(portal.Integrations{})},
	"GET /portal/attention":    {portal.OfIntegration{}, answers(portal.Attention{})},
	"GET /portal/countries":    {portal.Nothing{}, answers(portal.Countries{})},
	"GET /portal/banks":        {portal.Search{}, answers(portal.Banks{})},
	"GET /portal/bank":         {portal.OfBank{}, answers(portal.Bank{})},
	"GET /portal/books":        {portal.Nothing{}, answers(portal.BookList{})},
	"GET /portal/book":         {portal.OfBook{}, answers(portal.Book{})},
	"POST /portal/sync":        {portal.SyncNow{}, map[int]any{202: portal.Asked{}}},
	"POST /sync":               {nil, answers(functionsync.Rung{})},
}

func document(t *testing.T) *openapi3.T {
	t.Helper()
	text, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func operationsOf(doc *openapi3.T) map[string]*openapi3.Operation {
	all := map[string]*openapi3.Operation{}
	for path, item := range doc.Paths.Map() {
		for method, o := range item.Operations() {
			all[method+" "+path] = o
		}
	}
	return all
}

func TestTheDocumentIsValidAndSoAreItsExamples(t *testing.T) {
	doc := document(t)
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	if !doc.IsOpenAPI31OrLater() {
		t.Errorf("it is of version %s", doc.OpenAPI)
	}
}

func TestTheDocumentAndTheTypesHaveTheSameMembers(t *testing.T) {
	doc := document(t)
	for name, o := range operationsOf(doc) {
		known, ok := operations[name]
		if !ok {
			if ours := bodies(o); len(ours) > 0 && !strings.Contains(name, "/openapi.json") && !strings.Contains(name, "/page/") {
				t.Errorf("%s: the test knows no type of its answers %v", name, ours)
			}
			continue
		}
		for _, fault := range compare(o, known) {
			t.Errorf("%s: %s", name, fault)
		}
	}
	for name := range operations {
		if operationsOf(doc)[name] == nil {
			t.Errorf("the document has no %s", name)
		}
	}
}

func compare(o *openapi3.Operation, known operation) (f faults) {
	sameRequest(&f, o, known.request)
	for _, status := range bodies(o) {
		if known.answers[status] == nil {
			f.add("the test knows no type of the answer %d", status)
		}
	}
	for status, v := range known.answers {
		response := o.Responses.Status(status)
		if response == nil || response.Value.Content["application/json"] == nil {
			f.add("the document has no JSON of the answer %d", status)
			continue
		}
		same(&f, fmt.Sprint(status), response.Value.Content["application/json"].Schema.Value, reflect.TypeOf(v), true)
	}
	return f
}

func TestADriftOfEitherSideIsSeen(t *testing.T) {
	type inner struct {
		Name string `json:"name"`
	}
	type answer struct {
		Name  string    `json:"name"`
		Count int       `json:"count,omitempty"` // written even when it is 0
		Made  time.Time `json:"made,omitzero"`
		Inner []inner   `json:"inner"`
	}
	const whole = `{"type":"object","additionalProperties":false,"required":["name","count","inner"],"properties":{"name":{"type":"string"},
		"count":{"type":"integer"},"made":{"type":"string","format":"date-time"},"inner":{"type":"array","items":{"type":"object",
		"additionalProperties":false,"required":["name"],"properties":{"name":{"type":"string"}}}}}}`
	drifts := func(old, new string) faults {
		var schema openapi3.Schema
		if err := schema.UnmarshalJSON([]byte(strings.Replace(whole, old, new, 1))); err != nil {
			t.Fatal(err)
		}
		var f faults
		same(&f, "200", &schema, reflect.TypeFor[answer](), true)
		return f
	}
	if f := drifts("", ""); len(f) > 0 {
		t.Errorf("the same: %q", f)
	}
	for _, row := range []struct{ name, old, new string }{
		{"member of the document alone", `"count":{`, `"more":{"type":"string"},"count":{`},
		{"member of Go alone", `"made":{"type":"string","format":"date-time"},`, ``},
		{"member of Go alone, inside", `"properties":{"name":{"type":"string"}}}}}}`, `"properties":{}}}}}`},
		{"another type", `"count":{"type":"integer"}`, `"count":{"type":"string"}`},
		{"another type inside", `"properties":{"name":{"type":"string"}}}}}}`, `"properties":{"name":{"type":"boolean"}}}}}}`},
		{"no format", `,"format":"date-time"`, ``},
		{"required and left out", `"required":["name","count","inner"]`, `"required":["name","count","inner","made"]`},
		{"not required and never left out", `"required":["name","count","inner"]`, `"required":["name","inner"]`},
		{"open", `"additionalProperties":false,`, ``},
	} {
		if f := drifts(row.old, row.new); len(f) == 0 {
			t.Errorf("%s: not seen", row.name)
		}
	}
}

// bodies are the statuses that are answered with JSON.
func bodies(o *openapi3.Operation) []int {
	var all []int
	for status, response := range o.Responses.Map() {
		if response.Value.Content["application/json"] != nil {
			all = append(all, number(status))
		}
	}
	slices.Sort(all)
	return all
}

// number is that of a status; 0 for "default", which answers must not hide behind.
func number(status string) int {
	n, _ := strconv.Atoi(status)
	return n
}

func sameRequest(f *faults, o *openapi3.Operation, v any) {
	if v == nil || reflect.TypeOf(v).NumField() == 0 && o.RequestBody == nil {
		if o.RequestBody != nil || len(o.Parameters) > 0 {
			f.add("the document has a request, the function none")
		}
		return
	}
	schema := queryOf(o.Parameters)
	if o.RequestBody != nil {
		schema = o.RequestBody.Value.Content["application/json"].Schema.Value
		if !o.RequestBody.Value.Required || len(o.Parameters) > 0 {
			f.add("the body is not required, or there are parameters beside it")
		}
	}
	same(f, "request", schema, reflect.TypeOf(v), false)
}

// queryOf is the object that the parameters of a query make.
func queryOf(parameters openapi3.Parameters) *openapi3.Schema {
	s := openapi3.NewObjectSchema().WithoutAdditionalProperties()
	for _, p := range parameters {
		s.WithPropertyRef(p.Value.Name, p.Value.Schema)
		if p.Value.Required {
			s.Required = append(s.Required, p.Value.Name)
		}
	}
	return s
}

// faults collects what differs.
type faults []string

func (f *faults) add(format string, a ...any) { *f = append(*f, fmt.Sprintf(format, a...)) }

// same compares a schema with a type, down to the last member. Of an answer a member is required where the encoder always
// writes it; of a request where its tag does not say that it may be left out.
func same(f *faults, at string, schema *openapi3.Schema, typ reflect.Type, answer bool) {
	schema = alone(schema)
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want := kindOf(typ)
	if types := schema.Type; types == nil || !types.Is(want.name) {
		if schema.Const == nil || reflect.TypeOf(schema.Const).Kind() != typ.Kind() {
			f.add("%s: %v in the document, %s in Go", at, types, want.name)
			return
		}
	}
	if want.format != "" && schema.Format != want.format {
		f.add("%s: format %q in the document, %q in Go", at, schema.Format, want.format)
	}
	switch want.name {
	case openapi3.TypeArray:
		same(f, at+"/*", schema.Items.Value, typ.Elem(), answer)
	case openapi3.TypeObject:
		sameMembers(f, at, schema, typ, answer)
	}
}

func sameMembers(f *faults, at string, schema *openapi3.Schema, typ reflect.Type, answer bool) {
	if has := schema.AdditionalProperties.Has; has == nil || *has {
		f.add("%s: additional members are let pass", at)
	}
	var names, required []string
	for _, m := range membersOf(typ) {
		names = append(names, m.name)
		if !m.optional {
			required = append(required, m.name)
		}
		if property := schema.Properties[m.name]; property != nil {
			same(f, at+"/"+m.name, property.Value, m.typ, answer)
		}
	}
	if answer {
		required = always(typ)
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, slices.Sorted(maps.Keys(schema.Properties))); diff != "" {
		f.add("%s: members of Go (-) and of the document (+): %s", at, diff)
	}
	slices.Sort(required)
	if diff := cmp.Diff(required, slices.Sorted(slices.Values(schema.Required))); diff != "" {
		f.add("%s: required of Go (-) and of the document (+): %s", at, diff)
	}
}

// always are the members that the encoder of the answers writes even of a value that holds nothing.
func always(typ reflect.Type) []string {
	text, err := json.Marshal(reflect.Zero(typ).Interface())
	var object map[string]any
	if err != nil || json.Unmarshal(text, &object) != nil {
		return nil
	}
	return slices.Collect(maps.Keys(object))
}

// alone is the schema that an allOf narrows, or the schema itself.
func alone(s *openapi3.Schema) *openapi3.Schema {
	if len(s.AllOf) > 0 {
		return s.AllOf[0].Value
	}
	return s
}

type kind struct{ name, format string }

func kindOf(typ reflect.Type) kind {
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return kind{openapi3.TypeString, "date-time"}
	case typ == reflect.TypeFor[civil.Date]():
		return kind{openapi3.TypeString, "date"}
	case typ.Implements(reflect.TypeFor[encoding.TextMarshaler]()), typ.Kind() == reflect.String:
		return kind{name: openapi3.TypeString}
	}
	switch typ.Kind() {
	case reflect.Bool:
		return kind{name: openapi3.TypeBoolean}
	case reflect.Int, reflect.Int64:
		return kind{name: openapi3.TypeInteger}
	case reflect.Slice:
		return kind{name: openapi3.TypeArray}
	case reflect.Struct:
		return kind{name: openapi3.TypeObject}
	}
	return kind{name: "nothing that the document can have: " + typ.String()}
}

type member struct {
	name     string
	typ      reflect.Type
	optional bool // its tag says that it may be left out
}

func membersOf(typ reflect.Type) []member {
	var all []member
	for _, f := range reflect.VisibleFields(typ) {
		tag, tagged := f.Tag.Lookup("json")
		name, rest, _ := strings.Cut(tag, ",")
		if f.Anonymous && !tagged || len(f.Index) > 1 && !tagged || !f.IsExported() {
			continue
		}
		options := strings.Split(rest, ",")
		all = append(all, member{name, f.Type, slices.Contains(options, "omitempty") || slices.Contains(options, "omitzero")})
	}
	return all
}

func TestAProblemHasTheMembersOfTheDocument(t *testing.T) {
	schema := document(t).Components.Schemas["Problem"].Value
	whole := &web.Problem{Status: 503, Code: "x", Detail: "x", URL: "https://a.example", Connection: "x", Field: "/x", After: time.Second}
	for _, row := range []struct {
		problem *web.Problem
		want    []string
	}{
		{whole, slices.Collect(maps.Keys(schema.Properties))},
		{&web.Problem{Status: 409, Code: "x", Detail: "x"}, schema.Required},
	} {
		h := (&web.Edge{Log: slog.New(slog.DiscardHandler)}).Handle("x", func(http.ResponseWriter, *http.Request) error { return row.problem }, http.MethodGet)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(row.want)), slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("members of the document (-) and of a problem (+): %s", diff)
		}
	}
}

func TestTheDocumentHasEveryStateThatGoHas(t *testing.T) {
	schemas := document(t).Components.Schemas
	for _, row := range []struct {
		schema, member string
		want           []any
	}{
		{"SessionState", "", []any{bank.Open, bank.Exchanging, bank.Kept, bank.Duplicate, bank.Cancelled, bank.Refused, bank.Lost}},
		{"Completed", "reason", []any{bank.BadCredentials, bank.BankDown, bank.TooLate, bank.Unreadable}},
		{"Connection", "status", []any{view.Connected, view.NeedsYou, view.Expiring, view.Unavailable, view.Disconnected, view.Stopping}},
		{"Connection", "need", []any{bank.NewCredentials, bank.Confirmation, bank.Locked, bank.ActionAtBank, bank.NewConsent, bank.NotReadable, bank.Stalled}},
		{"AttentionRow", "reason", []any{
			posting.ReasonCurrency, posting.ReasonDigits, posting.ReasonZero, posting.ReasonLocked,
			posting.ReasonRefused, posting.ReasonUnusable, posting.Changed, posting.TakenBack, posting.Garbled,
		}},
		{"BankAccount", "type", []any{bank.Deposit, bank.Card, bank.Loan, bank.Other}},
		{"Book", "permission", []any{ledger.Owner, ledger.Editor, ledger.Poster, ledger.Recorder, ledger.Viewer, ledger.None}},
		{"BookAccount", "type", []any{ledger.Asset, ledger.Liability, ledger.Incoming, ledger.Outgoing}},
	} {
		schema := schemas[row.schema].Value
		if row.member != "" {
			schema = schema.Properties[row.member].Value
		}
		var want []any
		for _, v := range row.want {
			want = append(want, reflect.ValueOf(v).String())
		}
		if diff := cmp.Diff(want, schema.Enum); diff != "" {
			t.Errorf("%s/%s: Go (-), document (+): %s", row.schema, row.member, diff)
		}
	}
}

// Every reason for which an integration is behind has a sentence; the document lists those and no others.
func TestTheDocumentHasEveryStatusOfAnIntegration(t *testing.T) {
	fixed := []any{
		view.Live, view.Importing, view.Paused, view.Removed, view.NeedsOwner, view.Unnamed, view.Unavailable, view.Disconnected, view.Stopping,
	}
	for _, status := range document(t).Components.Schemas["Integration"].Value.Properties["status"].Value.Enum {
		if slices.Contains(fixed, status) {
			continue
		}
		c := &bank.Connection{State: bank.Active, Accounts: []bank.LinkedAccount{{Key: "k"}}}
		v := view.OfIntegration(&bank.Integration{State: bank.Live, Key: "k", Behind: status.(string)}, c, nil)
		if v.Status != status || v.Message == "" {
			t.Errorf("%s: status %q, message %q", status, v.Status, v.Message)
		}
	}
}

func TestEveryCodeIsExplainedWhereItIsListed(t *testing.T) {
	for name, o := range operationsOf(document(t)) {
		for status, response := range o.Responses.Map() {
			media := response.Value.Content["application/problem+json"]
			if number(status) >= http.StatusBadRequest != (media != nil) {
				t.Errorf("%s %s: problems and statuses from 400 on are not the same", name, status)
			}
			if media == nil {
				continue
			}
			codes := codesOf(response.Value)
			if len(codes) == 0 || len(codes) != len(media.Examples) {
				t.Errorf("%s %s: %d codes, %d examples", name, status, len(codes), len(media.Examples))
			}
			for _, code := range codes {
				if !strings.Contains(*response.Value.Description, "`"+code+"`: ") {
					t.Errorf("%s %s: %s is not explained", name, status, code)
				}
			}
		}
	}
}

// codeLiteral finds where a code is written down: in a call, in a Problem, or in an assignment to its member.
var codeLiteral = regexp.MustCompile(`(?:Conflict|Unprocessable)\("([a-z_]+)"|\bCode: +"([a-z_]+)"|\.Code\b[^=\n]*= "([a-z_]+)"`)

func TestTheDocumentHasTheCodesThatTheFunctionsHave(t *testing.T) {
	written := map[string]bool{}
	for _, pattern := range []string{"../*/*.go", "../../shared/access/*.go", "../../shared/web/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files, %v", pattern, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range codeLiteral.FindAllStringSubmatch(string(text), -1) {
				written[found[1]+found[2]+found[3]] = true
			}
		}
	}
	delete(written, "client_gone") // for the log alone: nobody waits for the answer
	documented := map[string]bool{}
	for _, o := range operationsOf(document(t)) {
		for _, response := range o.Responses.Map() {
			for _, code := range codesOf(response.Value) {
				documented[code] = true
			}
		}
	}
	for _, code := range codesOf(document(t).Components.Responses["MethodNotAllowed"].Value) {
		documented[code] = true
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(written)), slices.Sorted(maps.Keys(documented))); diff != "" {
		t.Errorf("codes of Go (-) and of the document (+): %s", diff)
	}
}

// codesOf are the codes of a problem.
func codesOf(r *openapi3.Response) []string {
	media := r.Content["application/problem+json"]
	if media == nil {
		return nil
	}
	var all []string
	for _, code := range media.Schema.Value.AllOf[1].Value.Properties["code"].Value.Enum {
		all = append(all, code.(string))
	}
	return all
}
