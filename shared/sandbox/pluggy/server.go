package pluggy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/disk"
	"github.com/bkper/automations-portal/shared/sandbox/provider"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// Options set a Server up. Only Clients is needed.
type Options struct {
	Config
	// BaseURL is where the handler is reached, path prefix included, no slash at the end; it makes the addresses of images,
	// of the widget and in webhooks. Empty takes the host of the request, and https://api.pluggy.ai in webhooks.
	BaseURL string
	// Clients are the secrets by clientId.
	Clients map[string]secret.String
	// Disabled are clients whose keys are answered CLIENT_DISABLED.
	Disabled []string
	// DB keeps the state; nil keeps it in memory only.
	DB *disk.DB
	// RateLimits applies Pluggy's limits a minute and address.
	RateLimits bool
	// LocalWebhooks takes webhook URLs that Pluggy refuses: http, and hosts that are not public.
	LocalWebhooks bool
	// RetryDelays are the waits before the second and the third three attempts of a webhook; default an hour, then two.
	// Newer readers of the documents say 15 minutes, then two hours.
	RetryDelays [2]time.Duration
	// DisableAfter is how many events in a row a webhook may lose, all attempts failed, before it is disabled; default 5.
	// Pluggy's number is not known.
	DisableAfter int
	// HTTP sends the webhooks; default a client of its own. Redirects are never followed.
	HTTP *http.Client
	// Log takes what goes wrong; default slog.Default.
	Log *slog.Logger
}

// Server is Pluggy over HTTP. It serves the API's endpoints; the Connect widget, whose script is
// /pluggy-connect/latest/pluggy-connect.js; images below /assets/; and the control interface, see Control,
// under whatever prefix its caller strips. Every answer is given after what it changed is on the disk. It is safe for
// concurrent use.
type Server struct {
	opts Options

	core    *provider.Server[*delivery] // its lock guards the rest
	bank    *Bank
	signer  *signer
	limiter provider.Limiter
	hooks   hooks
	visits  map[string]*visit // by id
}

// New returns a Server with the state on the disk, if any. It fails if that state cannot be read.
func New(o Options) (*Server, error) {
	if o.RetryDelays == [2]time.Duration{} {
		o.RetryDelays = [2]time.Duration{time.Hour, 2 * time.Hour}
	}
	clock := provider.NewClock(o.Now)
	cfg := o.Config
	cfg.Now = clock.Now
	s := &Server{opts: o, bank: NewBank(cfg), visits: map[string]*visit{}}
	s.hooks = hooks{
		bank: s.bank, delays: o.RetryDelays, patience: cmp.Or(o.DisableAfter, 5), links: cmp.Or(o.BaseURL, publicAPI),
		own: map[string]*subscription{},
	}
	s.core = provider.New(provider.Options{
		Bank: s.bank, Clock: clock, Space: space, DB: o.DB, BaseURL: o.BaseURL, ContentType: "application/json; charset=utf-8",
		UserAgent: "Pluggy-Webhook-Sandbox/1.0", HTTP: o.HTTP, Timeout: hookTimeout, Log: o.Log,
	}, &s.hooks)
	s.hooks.core, s.core.Webhooks.Mischief = s.core, &s.hooks.mischief.Mischief
	if err := s.restore(); err != nil {
		return nil, fmt.Errorf("sandbox Pluggy: %w", err)
	}
	s.routes()
	return s, nil
}

func (s *Server) restore() (err error) {
	var all saved
	if err := s.core.Load(all.kinds()); err != nil {
		return err
	}
	if err := s.bank.restore(&all); err != nil {
		return err
	}
	s.bank.dirty = s.core.Changes
	for _, w := range all.webhooks {
		s.hooks.own[w.ID] = w
	}
	if len(all.keys) > 0 {
		s.signer, err = all.keys[0].signer()
	} else if s.signer, err = newSigner(); err == nil {
		s.core.Changes.Put("key/signing", s.signer.doc())
	}
	return errors.Join(err, s.core.Save())
}

// Do runs f on the Bank, alone, and keeps what it changed: how code in the same process scripts the bank. Changes are
// announced by webhooks afterwards. A Bank that panics or fails half-way is kept as it then is.
func (s *Server) Do(f func(*Bank) error) error {
	return s.core.Do(func() error { return f(s.bank) })
}

// Run sends the webhooks, and moves items whose time has come, until ctx ends; it then waits for the attempts under way and
// returns nil. What was not delivered is delivered by the next Run, of another process too.
func (s *Server) Run(ctx context.Context) error { return s.core.Run(ctx) }

// AddFault adds a fault; the first that matches a request is used. Its Code is a codeDescription.
func (s *Server) AddFault(f provider.Fault) { s.core.Faults.Add(f) }

// ClearFaults ends all faults.
func (s *Server) ClearFaults() { s.core.Faults.Clear() }

// fail answers a fault of the kind error: its Status is 500 where it has none, 429 has its headers, and its Code is a
// codeDescription.
func (s *Server) fail(w http.ResponseWriter, f *provider.Fault) {
	status := cmp.Or(f.Status, http.StatusInternalServerError)
	refused := refuse(status, f.Code, "%s", cmp.Or(http.StatusText(status), "Unknown error"))
	if status == http.StatusTooManyRequests {
		refused = tooMany(0)
	}
	s.answer(w, nil, refused)
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.core.ServeHTTP(w, r) }

// scope is who may call an endpoint.
type scope int

const (
	anybody scope = iota
	keyOnly       // an API key
	both          // an API key or a connect token
)

// call is one request of the API, checked.
type call struct {
	*http.Request
	client string
	token  *connectToken // nil with an API key
	query  url.Values
	base   string // address of the server, for links to itself
	now    time.Time
}

// trigger says who sets something off.
func (c *call) trigger() string {
	if c.token != nil {
		return ByUser
	}
	return ByClient
}

// createdBody is an answer of status 201, nothing one of 204.
type (
	createdBody struct{ body any }
	nothing     struct{}
)

// endpoint registers "METHOD /path": who may call it, the parameters that the query may have, and the function that
// answers. The function runs with the lock of core held. In is the body; struct{} has none.
func endpoint[In any](s *Server, pattern string, who scope, query string, f func(c *call, in In) (any, error)) {
	s.core.Mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		s.core.Faults.Serve(w, r, func(w http.ResponseWriter) {
			var in In
			raw, err := readBody(w, r, in)
			var out any
			if err == nil {
				out, err = s.run(r, pattern, who, query, func(c *call) (any, error) {
					if err := decode(raw, &in); err != nil {
						return nil, err
					}
					return f(c, in)
				})
			}
			s.answer(w, out, err)
		}, s.fail)
	})
}

func readBody(w http.ResponseWriter, r *http.Request, in any) ([]byte, error) {
	if _, none := in.(struct{}); none {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, provider.MaxBody))
	if err != nil {
		return nil, refuse(http.StatusRequestEntityTooLarge, "", "request entity too large")
	}
	return body, nil
}

// decode reads a body strictly: members that the endpoint does not know and wrong types are refused.
func decode(raw []byte, in any) error {
	if len(raw) == 0 {
		return nil
	}
	err := json.Unmarshal(raw, in, json.RejectUnknownMembers(true))
	var wrong *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong):
		name := strings.ReplaceAll(strings.TrimPrefix(string(wrong.JSONPointer), "/"), "/", ".")
		if errors.Is(err, json.ErrUnknownName) {
			return badRequest("property %s should not exist", name)
		}
		return badRequest("property %s has the wrong type", name)
	}
	return badRequest("Unexpected token in JSON")
}

// run checks who calls and how often, calls f alone, and keeps what it changed.
func (s *Server) run(r *http.Request, pattern string, who scope, query string, f func(*call) (any, error)) (any, error) {
	s.core.Lock()
	defer s.core.Unlock()
	c, err := s.admit(r, pattern, who, query)
	if err != nil {
		return nil, err
	}
	out, err := f(c)
	if kept := s.core.Commit(); kept != nil {
		return nil, kept
	}
	return out, err
}

func (s *Server) admit(r *http.Request, pattern string, who scope, query string) (*call, error) {
	c := &call{Request: r, base: s.core.Base(r), query: r.URL.Query(), now: s.bank.now()}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	if err := s.limit(pattern, host, c.now); err != nil {
		return nil, err
	}
	if who != anybody {
		var err error
		c.client, c.token, err = s.signer.read(r.Header.Get("X-API-KEY"), c.now)
		if _, known := s.opts.Clients[c.client]; err != nil || !known || slices.Contains(s.opts.Disabled, c.client) {
			return nil, unauthorised()
		}
		if who == keyOnly && c.token != nil {
			return nil, outOfScope()
		}
	}
	return c, allowed(c.query, strings.Fields(query))
}

// allowed refuses parameters that the endpoint does not know, as Pluggy does.
func allowed(given url.Values, known []string) error {
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(known, name) {
			wrong = append(wrong, "property "+name+" should not exist")
		}
	}
	if len(wrong) > 0 {
		return badRequest("%s", strings.Join(wrong, ", "))
	}
	return nil
}

// answer writes what an endpoint answers, or the error.
func (s *Server) answer(w http.ResponseWriter, out any, err error) {
	var refused *Error
	switch made, isMade := out.(createdBody); {
	case errors.As(err, &refused):
		if refused.Status == http.StatusTooManyRequests {
			h := w.Header()
			h.Set("RateLimit-Limit", strconv.Itoa(cmp.Or(refused.limit, 360)))
			h.Set("RateLimit-Reset", "60")
			h.Set("Retry-After", "60")
		}
		s.core.Write(w, refused.Status, refused.body(uuid.NewString))
	case err != nil:
		s.core.Log.Error("sandbox Pluggy: answer", "error", err)
		s.core.Write(w, http.StatusInternalServerError, map[string]any{"code": 500, "message": "Internal server error"})
	case isMade:
		s.core.Write(w, http.StatusCreated, made.body)
	case out == nothing{}:
		w.WriteHeader(http.StatusNoContent)
	default:
		s.core.Write(w, http.StatusOK, out)
	}
}

// flatParameters are the parameters of a connector, all texts; numbers are taken as they are written.
func flatParameters(raw jsontext.Value) (map[string]string, error) {
	if len(raw) == 0 || raw.Kind() == 'n' {
		return nil, nil
	}
	if raw.Kind() == '"' {
		return nil, badRequest("encrypted parameters are not supported by the sandbox")
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, badRequest("parameters must be an object")
	}
	out := map[string]string{}
	for name, v := range members {
		switch v.Kind() {
		case '"':
			var text string
			if err := json.Unmarshal(v, &text); err != nil {
				return nil, badRequest("parameters.%s cannot be read", name)
			}
			out[name] = text
		case '0':
			out[name] = string(v)
		default:
			return nil, badRequest("parameters.%s must be a string", name)
		}
	}
	return out, nil
}
