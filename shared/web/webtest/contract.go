// Package webtest holds HTTP traffic against an OpenAPI document, so that tests fail when the functions and their
// description part.
package webtest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// The components by which a document describes answers that belong to no operation of it.
const (
	noSuchPath       = "NoSuchPath"
	methodNotAllowed = "MethodNotAllowed"
)

// Contract checks every request and answer that passes it. It is safe for concurrent use. What passes is never changed.
type Contract struct {
	// Ours chooses the requests that the document is about, for traffic that goes to other services too; nil is all.
	Ours func(*http.Request) bool

	*document
	report func(error)

	mu        sync.Mutex
	exercised map[string]bool // operation: answered below 400
	seen      map[answer]bool
}

// answer is one that an operation may give. The code is that of a problem; "" for others.
type answer struct {
	operation string
	status    int
	code      string
}

// String is such as "POST /link 409 already_linked".
func (a answer) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %d %s", a.operation, a.status, a.code))
}

// New makes a contract of a document, which must be valid, its examples included. Each violation is reported once, at the time,
// perhaps from several goroutines at once.
func New(spec []byte, report func(error)) (*Contract, error) {
	once, _ := documents.LoadOrStore(string(spec), sync.OnceValues(func() (*document, error) { return read(spec) }))
	d, err := once.(func() (*document, error))()
	if err != nil {
		return nil, err
	}
	return &Contract{document: d, report: report, exercised: map[string]bool{}, seen: map[answer]bool{}}, nil
}

// documents has what has been read, by its text: a document is read once a process, for that takes longer than most tests.
var documents sync.Map

// document is never changed, so contracts share it.
type document struct {
	doc    *openapi3.T
	router routers.Router
}

func read(spec []byte) (*document, error) {
	doc, err := openapi3.NewLoader().LoadFromData(spec)
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("validate the OpenAPI document: %w", err)
	}
	// The path alone decides: tests serve at addresses of their own.
	doc.Servers = nil
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("read the paths of the OpenAPI document: %w", err)
	}
	return &document{doc, router}, nil
}

// ForTest is New for a test, which fails at every violation.
func ForTest(t testing.TB, spec []byte) *Contract {
	t.Helper()
	c, err := New(spec, func(err error) { t.Errorf("not as the OpenAPI document says: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type badKey struct{}

// Bad marks the requests made with the context as deliberately bad: only their answers are checked. A server sees the mark
// only where it is called in the same process, so across a connection use RoundTripper.
func Bad(ctx context.Context) context.Context { return context.WithValue(ctx, badKey{}, true) }

func bad(r *http.Request) bool { return r.Context().Value(badKey{}) != nil }

// RoundTripper checks what a client sends and gets through next, http.DefaultTransport where it is nil.
func (c *Contract) RoundTripper(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return roundTripper{c, next}
}

type roundTripper struct {
	contract *Contract
	next     http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (rt roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	if ours := rt.contract.Ours; ours != nil && !ours(r) {
		return rt.next.RoundTrip(r)
	}
	sent, err := drain(&r.Body)
	if err != nil {
		return nil, err
	}
	asked := clone(r, r.URL.Path, sent)
	resp, err := rt.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	got, err := drain(&resp.Body)
	if err != nil {
		return nil, err
	}
	rt.contract.check(exchange{asked, sent, resp.StatusCode, resp.Header, got})
	return resp, nil
}

// Handler checks what next takes and answers. prefix is where the document has the paths that next serves from its root:
// "/connect" for the function that is mounted there, "" for what serves them all.
func (c *Contract) Handler(prefix string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.Ours != nil && !c.Ours(r) {
			next.ServeHTTP(w, r)
			return
		}
		sent, err := drain(&r.Body)
		if err != nil {
			// What never arrived whole cannot be checked; the handler gets what there is, and the same error.
			r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(sent), failing{err}))
		}
		asked := clone(r, prefix+r.URL.Path, sent) // now, because handlers change the path on its way down
		out := &recorder{ResponseWriter: w}
		next.ServeHTTP(out, r)
		if err == nil {
			c.check(exchange{asked, sent, cmp.Or(out.status, http.StatusOK), w.Header(), out.body.Bytes()})
		}
	})
}

// drain reads a body and puts it back.
func drain(body *io.ReadCloser) ([]byte, error) {
	if *body == nil || *body == http.NoBody {
		return nil, nil
	}
	data, err := io.ReadAll(*body)
	if closed := (*body).Close(); err == nil {
		err = closed
	}
	*body = io.NopCloser(bytes.NewReader(data))
	return data, err
}

type failing struct{ err error }

// Read implements io.Reader.
func (f failing) Read([]byte) (int, error) { return 0, f.err }

// recorder keeps a copy of an answer.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	r.status = cmp.Or(r.status, http.StatusOK)
	r.body.Write(b)
	return r.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController what lies below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// exchange is a request with its answer.
type exchange struct {
	req    *http.Request // of the path that the document has
	sent   []byte
	status int
	header http.Header
	got    []byte
}

func (c *Contract) check(x exchange) {
	if x.req.Method == http.MethodOptions && x.req.Header.Get("Access-Control-Request-Method") != "" {
		return // a preflight is the browser's, not the page's
	}
	found, params, err := c.find(x.req)
	name := x.req.Method + " " + x.req.URL.Path
	if found != nil {
		name = found.Method + " " + found.Path
	}
	var faults []error
	switch {
	case x.status == http.StatusMethodNotAllowed && !errors.Is(err, routers.ErrPathNotFound):
		faults = c.refusedMethod(x, found)
	case err == nil:
		faults = c.documented(x, found, params, name)
	case bad(x.req) && errors.Is(err, routers.ErrPathNotFound):
		faults = append(faults, c.component(x, noSuchPath))
	case bad(x.req):
		faults = append(faults, fmt.Errorf("status %d where a method that is not documented is refused with 405", x.status))
	default:
		faults = append(faults, errors.New("the document has no such path and method"))
	}
	for _, fault := range faults {
		if fault != nil {
			c.report(fmt.Errorf("%s, status %d: %w", name, x.status, fault))
		}
	}
}

// clone makes a request that can be read again and again, and changed.
func clone(r *http.Request, path string, sent []byte) *http.Request {
	own := r.Clone(context.WithoutCancel(r.Context()))
	own.URL = &url.URL{Path: path, RawQuery: r.URL.RawQuery}
	own.Body, own.ContentLength = http.NoBody, int64(len(sent))
	if len(sent) > 0 {
		own.Body = io.NopCloser(bytes.NewReader(sent))
	}
	return own
}

// find looks an operation up. A slash at the end makes no difference, and HEAD is GET without a body.
func (c *Contract) find(r *http.Request) (*routers.Route, map[string]string, error) {
	own := *r
	if r.Method == http.MethodHead {
		own.Method = http.MethodGet
	}
	bare := strings.TrimSuffix(r.URL.Path, "/")
	var err error
	for _, path := range []string{r.URL.Path, bare, bare + "/"} {
		own.URL = &url.URL{Path: path}
		route, params, e := c.router.FindRoute(&own)
		if e == nil {
			return route, params, nil
		}
		if err == nil || errors.Is(err, routers.ErrPathNotFound) {
			err = e
		}
	}
	return nil, nil, err
}

// refusedMethod checks a 405: it must name every method that the document has for the path.
func (c *Contract) refusedMethod(x exchange, found *routers.Route) []error {
	faults := []error{c.component(x, methodNotAllowed)}
	if found != nil && x.req.Method != http.MethodHead {
		return append(faults, errors.New("the document has this method"))
	}
	allowed := strings.Split(x.header.Get("Allow"), ",")
	for i := range allowed {
		allowed[i] = strings.TrimSpace(allowed[i])
	}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		own := *x.req
		own.Method = method
		if _, _, err := c.find(&own); err == nil && !slices.Contains(allowed, method) {
			faults = append(faults, fmt.Errorf("Allow leaves out %s", method))
		}
	}
	return faults
}

// documented checks an exchange whose operation is known.
func (c *Contract) documented(x exchange, found *routers.Route, params map[string]string, name string) []error {
	var faults []error
	if !bad(x.req) {
		faults = append(faults, c.request(x, found, params), undocumentedQuery(x.req, found))
	}
	response := found.Operation.Responses.Value(fmt.Sprint(x.status))
	if response == nil {
		return append(faults, errors.New("the document has no such status here"))
	}
	faults = append(faults, c.response(x, found, response))
	c.mark(name, x)
	return faults
}

func (c *Contract) request(x exchange, found *routers.Route, params map[string]string) error {
	err := openapi3filter.ValidateRequest(x.req.Context(), &openapi3filter.RequestValidationInput{
		Request: clone(x.req, x.req.URL.Path, x.sent), PathParams: params, Route: found, Options: options(),
	})
	if err != nil {
		return fmt.Errorf("the request: %w", brief(err))
	}
	return nil
}

// undocumentedQuery finds parameters that the document does not have, which the validator lets pass.
func undocumentedQuery(r *http.Request, found *routers.Route) error {
	for name := range r.URL.Query() {
		if found.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			return fmt.Errorf("the request: the document has no parameter %q", name)
		}
	}
	return nil
}

// response checks headers and body. The validator passes over some statuses and over bodies that are not documented; both
// are looked at here.
func (c *Contract) response(x exchange, route *routers.Route, documented *openapi3.ResponseRef) error {
	for name, h := range documented.Value.Headers {
		if h.Value.Required && x.header.Get(name) == "" {
			return fmt.Errorf("the answer has no %s", name)
		}
	}
	if x.req.Method == http.MethodHead {
		return nil
	}
	if kind, _, _ := mime.ParseMediaType(x.header.Get("Content-Type")); len(x.got) > 0 && documented.Value.Content.Get(kind) == nil {
		return fmt.Errorf("the answer: the document has no body of %q here", kind)
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: x.req, Route: route},
		Status:                 x.status, Header: x.header, Options: options(),
	}
	in.SetBodyBytes(x.got)
	if err := openapi3filter.ValidateResponse(x.req.Context(), in); err != nil {
		return fmt.Errorf("the answer: %w", brief(err))
	}
	return nil
}

// component checks an answer that belongs to no operation against a response of the components.
func (c *Contract) component(x exchange, name string) error {
	if c.doc.Components == nil || c.doc.Components.Responses[name] == nil {
		return fmt.Errorf("the document does not have the response %s", name)
	}
	documented := c.doc.Components.Responses[name]
	only := openapi3.NewResponses(openapi3.WithStatus(x.status, documented))
	if want, ok := map[string]int{noSuchPath: http.StatusNotFound, methodNotAllowed: http.StatusMethodNotAllowed}[name]; ok && x.status != want {
		return fmt.Errorf("status %d where %d is due", x.status, want)
	}
	route := &routers.Route{Spec: c.doc, PathItem: &openapi3.PathItem{}, Operation: &openapi3.Operation{Responses: only}}
	return c.response(x, route, documented)
}

func options() *openapi3filter.Options {
	return &openapi3filter.Options{
		IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true, SkipSettingDefaults: true, MultiError: true,
		AuthenticationFunc: authenticated,
		SchemaValidationOptions: []openapi3.SchemaValidationOption{
			openapi3.WithStringFormatValidator("date-time", format(func(s string) error { _, err := time.Parse(time.RFC3339, s); return err })),
			openapi3.WithStringFormatValidator("date", format(func(s string) error { _, err := time.Parse(time.DateOnly, s); return err })),
			openapi3.WithStringFormatValidator("uri", format(absolute)),
		},
	}
}

// format makes a validator. Those that the module has by itself let 31 February pass, and every URI.
func format(check func(string) error) openapi3.StringFormatValidator {
	return openapi3.NewCallbackValidator(check)
}

func absolute(text string) error {
	u, err := url.Parse(text)
	if err == nil && u.Scheme == "" {
		err = errors.New("not an absolute URI")
	}
	return err
}

// authenticated tells whether a request carries what a security scheme asks for; whether that is good is the server's to say.
func authenticated(_ context.Context, in *openapi3filter.AuthenticationInput) error {
	r, scheme := in.RequestValidationInput.Request, in.SecurityScheme
	missing := fmt.Errorf("without what %s asks for", in.SecuritySchemeName)
	switch {
	case scheme.Type == "apiKey" && scheme.In == "cookie":
		_, err := r.Cookie(scheme.Name)
		_, plain := r.Cookie(strings.TrimPrefix(scheme.Name, "__Host-")) // over http, where no cookie can be named so
		if err != nil && plain != nil {
			return missing
		}
	case scheme.Type == "apiKey" && scheme.In == "header":
		if r.Header.Get(scheme.Name) == "" {
			return missing
		}
	case !strings.HasPrefix(strings.ToLower(r.Header.Get("Authorization")), "bearer "):
		return missing
	}
	return nil
}

// brief keeps the schemas and values, which the validator prints whole, out of a report: they are long, and values may be
// tokens.
func brief(err error) error {
	var about []string
	var request *openapi3filter.RequestError
	var response *openapi3filter.ResponseError
	if errors.As(err, &request) {
		about = append(about, request.Reason)
		if request.Parameter != nil {
			about = append(about, "parameter "+request.Parameter.Name)
		}
		err = cmp.Or(request.Err, err)
	} else if errors.As(err, &response) {
		about = append(about, response.Reason)
		err = cmp.Or(response.Err, err)
	}
	if schema := innermost(err); schema != nil {
		_, reason, _ := strings.Cut("\n"+schema.Reason, "\n- at ") // the validator's own heading is of no use
		about = append(about, "/"+strings.Join(schema.JSONPointer(), "/"), cmp.Or(reason, schema.Reason, schema.SchemaField))
	} else if err != error(request) && err != error(response) {
		about = append(about, err.Error())
	}
	return errors.New(strings.Join(slices.DeleteFunc(about, func(s string) bool { return s == "" }), ": "))
}

// innermost finds the schema that a value breaks, below those that are made of others.
func innermost(err error) *openapi3.SchemaError {
	var found *openapi3.SchemaError
	for inner := (*openapi3.SchemaError)(nil); errors.As(err, &inner); err, inner = inner.Origin, nil {
		found = inner
	}
	return found
}

// mark notes that an operation gave an answer.
func (c *Contract) mark(name string, x exchange) {
	a := answer{operation: name, status: x.status}
	if x.status >= http.StatusBadRequest {
		a.code = codeOf(x.got)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[a] = true
	c.exercised[name] = c.exercised[name] || x.status < http.StatusBadRequest
}
