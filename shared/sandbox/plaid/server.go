package plaid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/disk"
	"github.com/bkper/automations-portal/shared/sandbox/provider"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const apiVersion = "2020-09-14"

// Options set a Server up. Only Clients is needed.
type Options struct {
	Config
	// BaseURL is where the handler is reached, path prefix included, no slash at the end; it makes the Hosted Link
	// addresses. Empty takes the host of the request.
	BaseURL string
	// Clients are the secrets by client_id.
	Clients map[string]secret.String
	// DB keeps the state; nil keeps it in memory only.
	DB *disk.DB
	// RateLimits applies the limits of Plaid's Sandbox.
	RateLimits bool
	// RetryBase is the delay before the first repetition of a webhook, each further one takes four times as long; default
	// 30 seconds, as at Plaid.
	RetryBase time.Duration
	// HTTP sends the webhooks; default a client of its own. Redirects are never followed.
	HTTP *http.Client
	// Log takes what goes wrong; default slog.Default.
	Log *slog.Logger
}

// Server is Plaid over HTTP. It serves the API's endpoints, the Hosted Link page at /link/{id} (see Visit for its forms)
// and the control interface, see Control, under whatever prefix its caller strips. Every answer is given
// after what it changed is on the disk. It is safe for concurrent use.
type Server struct {
	opts Options

	core    *provider.Server[*delivery] // its lock guards the rest
	bank    *Bank
	ids     *rand.Rand // request ids
	limiter provider.Limiter
	hooks   hooks
}

// New returns a Server with the state on the disk, if any. It fails if that state cannot be read.
func New(o Options) (*Server, error) {
	clock := provider.NewClock(o.Now)
	cfg := o.Config
	cfg.Now = clock.Now
	s := &Server{opts: o, bank: NewBank(cfg), ids: provider.NewRand()}
	s.hooks = hooks{bank: s.bank, base: cmp.Or(o.RetryBase, 30*time.Second)}
	s.core = provider.New(provider.Options{
		Bank: s.bank, Clock: clock, Space: space, DB: o.DB, BaseURL: o.BaseURL, ContentType: "application/json",
		UserAgent: "Plaid-Webhook-Sandbox/1.0", HTTP: o.HTTP, Timeout: hookTimeout, Log: o.Log,
	}, &s.hooks)
	s.hooks.core, s.core.Webhooks.Mischief = s.core, &s.hooks.mischief.Mischief
	if err := s.restore(); err != nil {
		return nil, fmt.Errorf("sandbox Plaid: %w", err)
	}
	s.routes()
	return s, nil
}

func (s *Server) restore() error {
	var all saved
	if err := s.core.Load(all.kinds()); err != nil {
		return err
	}
	if err := s.bank.restore(&all); err != nil {
		return err
	}
	s.bank.dirty = s.core.Changes
	if err := s.hooks.restore(all.keys, time.Now()); err != nil {
		return err
	}
	return s.core.Save()
}

// Do runs f on the Bank, alone, and keeps what it changed: how code in the same process scripts the bank. Changes are
// announced by webhooks afterwards. A Bank that panics or fails half-way is kept as it then is.
func (s *Server) Do(f func(*Bank) error) error {
	return s.core.Do(func() error { return f(s.bank) })
}

// Run sends the webhooks, and moves Items whose time has come, until ctx ends; it then waits for the attempts under way and
// returns nil. What was not delivered is delivered by the next Run, of another process too.
func (s *Server) Run(ctx context.Context) error { return s.core.Run(ctx) }

// AddFault adds a fault; the first that matches a request is used.
func (s *Server) AddFault(f Fault) { s.core.Faults.Add(f) }

// ClearFaults ends all faults.
func (s *Server) ClearFaults() { s.core.Faults.Clear() }

// Fault makes an endpoint fail. Its Code is an error_code; empty is INTERNAL_SERVER_ERROR.
type Fault = provider.Fault

// What a Fault does.
const (
	FaultError = provider.FaultError
	FaultHTML  = provider.FaultHTML
	FaultSlow  = provider.FaultSlow
	FaultReset = provider.FaultReset
)

// fail answers a fault of the kind error.
func (s *Server) fail(w http.ResponseWriter, f *Fault) {
	code := f.Code
	if _, ok := refusals[code]; !ok {
		code = "INTERNAL_SERVER_ERROR"
	}
	refused := refuse(code)
	refused.Status = cmp.Or(f.Status, refused.Status)
	s.answer(w, nil, refused)
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.core.ServeHTTP(w, r) }

// call is one request of the API, decoded.
type call struct {
	client string
	base   string // address of the server, for links to itself
}

// endpoint registers a POST of the API: required members of the body, and the function that answers with the members of
// the answer. The function runs with the lock of core held.
func endpoint[In any](s *Server, path, required string, f func(c call, in In) (map[string]any, error)) {
	s.core.Mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		s.core.Faults.Serve(w, r, func(w http.ResponseWriter) {
			var in In
			c, raw, err := s.decode(w, r, &in, strings.Fields(required))
			var out map[string]any
			if err == nil {
				out, err = s.run(path, c, raw, func() (map[string]any, error) { return f(c, in) })
			}
			s.answer(w, out, err)
		}, s.fail)
	})
}

// run applies ownership and limits, calls f alone, and keeps what it changed.
func (s *Server) run(path string, c call, raw map[string]jsontext.Value, f func() (map[string]any, error)) (map[string]any, error) {
	s.core.Lock()
	defer s.core.Unlock()
	item, err := s.bank.belongs(c.client, raw)
	if err != nil {
		return nil, err
	}
	if err := s.limit(path, c.client, item); err != nil {
		return nil, err
	}
	out, err := f()
	if kept := s.core.Commit(); kept != nil {
		return nil, kept
	}
	return out, err
}

// belongs refuses another client's tokens as if they did not exist, and returns the Item that the request is about.
func (b *Bank) belongs(client string, raw map[string]jsontext.Value) (item string, err error) {
	text := func(name string) string {
		var s string
		_ = json.Unmarshal(raw[name], &s) // its type was checked when the request was decoded
		return s
	}
	if it := b.tokens[text("access_token")]; it != nil {
		if it.client != client {
			return "", refuse("INVALID_ACCESS_TOKEN")
		}
		item = it.id
	}
	if p := b.publics[text("public_token")]; p != nil && p.client != client {
		return "", refuse("INVALID_PUBLIC_TOKEN")
	}
	if l := b.links[text("link_token")]; l != nil && l.client != client {
		return "", refuse("INVALID_LINK_TOKEN")
	}
	return item, nil
}

// decode reads the body strictly: members that the endpoint does not know, missing ones and wrong types are refused with
// the code that Plaid has for each.
func (s *Server) decode(w http.ResponseWriter, r *http.Request, in any, required []string) (call, map[string]jsontext.Value, error) {
	c := call{base: s.core.Base(r)}
	if err := checkHeaders(r); err != nil {
		return c, nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, provider.MaxBody))
	if err != nil {
		return c, nil, refuse("INVALID_BODY")
	}
	var raw map[string]jsontext.Value
	if err := json.Unmarshal(body, &raw); err != nil || raw == nil {
		return c, nil, refuse("INVALID_BODY")
	}
	if c.client, err = s.authenticate(r, raw); err != nil {
		return c, nil, err
	}
	if err := checkPresent(raw, required); err != nil {
		return c, nil, err
	}
	return c, raw, decodeMembers(raw, in)
}

func checkHeaders(r *http.Request) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	version := r.Header.Get("Plaid-Version")
	if err != nil || kind != "application/json" || version != "" && version != apiVersion {
		return refuse("INVALID_HEADERS")
	}
	return nil
}

// authenticate takes the credentials from the headers or the body and removes them from the body.
func (s *Server) authenticate(r *http.Request, raw map[string]jsontext.Value) (client string, err error) {
	credential := func(header, member string) (v string) {
		v = r.Header.Get(header)
		if m, ok := raw[member]; ok && v == "" {
			_ = json.Unmarshal(m, &v) // what is not a text stays empty and is refused below
		}
		delete(raw, member)
		return v
	}
	client = credential("PLAID-CLIENT-ID", "client_id")
	given := credential("PLAID-SECRET", "secret")
	if known, ok := s.opts.Clients[client]; !ok || known.Empty() || !known.Equal(given) {
		return "", refuse("INVALID_API_KEYS")
	}
	return client, nil
}

func checkPresent(raw map[string]jsontext.Value, required []string) error {
	var missing []string
	for _, name := range required {
		if v, ok := raw[name]; !ok || v.Kind() == 'n' {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return &Error{
			Type: invalidRequest, Code: "MISSING_FIELDS", Status: http.StatusBadRequest,
			Message: "the following required fields are missing: " + strings.Join(missing, ", "),
		}
	}
	return nil
}

func decodeMembers(raw map[string]jsontext.Value, in any) error {
	body, err := json.Marshal(raw)
	if err != nil {
		return refuse("INVALID_BODY")
	}
	err = json.Unmarshal(body, in, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	var wrong *json.SemanticError
	if !errors.As(err, &wrong) {
		return refuse("INVALID_BODY")
	}
	name := strings.ReplaceAll(strings.TrimPrefix(string(wrong.JSONPointer), "/"), "/", ".")
	if errors.Is(err, json.ErrUnknownName) {
		return &Error{
			Type: invalidRequest, Code: "UNKNOWN_FIELDS", Status: http.StatusBadRequest,
			Message: "the following fields are not recognized by this endpoint: " + name,
		}
	}
	return invalidField("%s has the wrong type", name)
}

func (s *Server) requestID() string {
	s.core.Lock()
	defer s.core.Unlock()
	return letters(15, s.ids.Uint64)
}

// answer writes the members of an answer, or the error; every one carries a request_id.
func (s *Server) answer(w http.ResponseWriter, out map[string]any, err error) {
	id := s.requestID()
	if err == nil {
		if out == nil {
			out = map[string]any{}
		}
		out["request_id"] = id
		s.core.Write(w, http.StatusOK, out)
		return
	}
	var refused *Error
	if !errors.As(err, &refused) {
		s.core.Log.Error("sandbox Plaid failed", "error", err)
		refused = refuse("INTERNAL_SERVER_ERROR")
	}
	body := refused.body()
	body.RequestID = id
	s.core.Write(w, refused.Status, body)
}
