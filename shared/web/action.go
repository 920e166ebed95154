package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/bkper/automations-portal/shared/caller"
)

const (
	maxDepth = 32
	maxQuery = 4 << 10
)

// Statuser is a response that chooses its own HTTP status; others are 200.
type Statuser interface{ Status() int }

// Keeper is a response that its caller's browser may keep for a while; others are not kept at all.
type Keeper interface{ Keep() time.Duration }

// Post makes a handler of an action: POST of a JSON object, answered with JSON. The caller is verified first, and the
// object must fit Req strictly: members that Req has not, members twice, members that are null, trailing data, invalid
// UTF-8, more than MaxBody bytes or 32 levels are 400. It panics where e has no Verifier: an action without a caller is a
// fault of ours.
func Post[Req, Resp any](e *Edge, route string, do func(context.Context, caller.Caller, Req) (Resp, error)) http.Handler {
	return e.Handle(route, Action(e, route, do), http.MethodPost)
}

// Action is what Post makes a handler of, for Edge.Handle where a path has other methods too.
func Action[Req, Resp any](e *Edge, route string, do func(context.Context, caller.Caller, Req) (Resp, error)) func(http.ResponseWriter, *http.Request) error {
	return action(e, route, do, func(w http.ResponseWriter, r *http.Request) ([]byte, error) {
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != "application/json" {
			return nil, &Problem{
				Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type",
				Detail: "Send JSON with Content-Type: application/json.",
			}
		}
		return Body(w, r, MaxBody)
	})
}

// Get is Post for lists: the members of Req come as parameters of the query, each at most once. They are texts: a number
// needs the option string in its json tag.
func Get[Req, Resp any](e *Edge, route string, do func(context.Context, caller.Caller, Req) (Resp, error)) http.Handler {
	return e.Handle(route, action(e, route, do, func(_ http.ResponseWriter, r *http.Request) ([]byte, error) {
		return queryObject(r.URL.RawQuery)
	}), http.MethodGet)
}

func action[Req, Resp any](e *Edge, route string, do func(context.Context, caller.Caller, Req) (Resp, error),
	read func(http.ResponseWriter, *http.Request) ([]byte, error),
) func(http.ResponseWriter, *http.Request) error {
	if e.Who == nil {
		panic("web: the action " + route + " has no verifier")
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		who, err := e.Caller(w, r)
		if err != nil {
			return err
		}
		text, err := read(w, r)
		if err != nil {
			return err
		}
		var req Req
		if err := decode(text, &req); err != nil {
			return err
		}
		resp, err := do(r.Context(), who, req)
		if err != nil {
			return err
		}
		if k, ok := any(resp).(Keeper); ok {
			w.Header().Set("Cache-Control", fmt.Sprintf("private, max-age=%d", int(k.Keep().Seconds())))
		}
		return JSON(w, statusOf(resp), resp)
	}
}

func statusOf(resp any) int {
	if s, ok := resp.(Statuser); ok {
		return s.Status()
	}
	return http.StatusOK
}

// JSON answers with v; an error says that v cannot be written as JSON and that nothing was written.
func JSON(w http.ResponseWriter, status int, v any) error {
	text, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("write a response: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(text)
	return nil
}

func queryObject(raw string) ([]byte, error) {
	if len(raw) > maxQuery {
		return nil, Invalid("", "Send a shorter query.")
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, Invalid("", "Percent-encode the query.")
	}
	object := make(map[string]string, len(values))
	for name, all := range values {
		if len(all) != 1 {
			return nil, Invalid(string(jsontext.Pointer("").AppendToken(name)), "Send each parameter once.")
		}
		object[name] = all[0]
	}
	text, err := json.Marshal(object)
	if err != nil {
		return nil, Invalid("", "Send the query in UTF-8.")
	}
	return text, nil
}

func decode(text []byte, into any) error {
	if err := checkShape(text); err != nil {
		return err
	}
	err := json.Unmarshal(text, into, json.RejectUnknownMembers(true))
	var semantic *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &semantic) && errors.Is(err, json.ErrUnknownName):
		return Invalid(string(semantic.JSONPointer), "Leave out the members that this action does not have; see /openapi.json.")
	case errors.As(err, &semantic):
		return Invalid(string(semantic.JSONPointer), "Send the member in the type and form that /openapi.json tells.")
	}
	return syntax(err)
}

// checkShape looks at the whole text before any of it is stored: it must be one object, not too deep, and without null,
// which the decoder would take for a member's default.
func checkShape(text []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(text))
	if d.PeekKind() != '{' {
		return Invalid("", "Send one JSON object.")
	}
	for {
		token, err := d.ReadToken()
		switch {
		case err != nil:
			return syntax(err)
		case token.Kind() == 'n':
			return Invalid(string(d.StackPointer()), "Leave the member out instead of sending null.")
		case d.StackDepth() > maxDepth:
			return Invalid("", fmt.Sprintf("Send at most %d levels of JSON.", maxDepth))
		case d.StackDepth() == 0:
			if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
				return Invalid("", "Send one JSON object and nothing after it.")
			}
			return nil
		}
	}
}

// syntax keeps the decoder's own words back, which quote the input.
func syntax(err error) error {
	var s *jsontext.SyntacticError
	if errors.As(err, &s) && errors.Is(err, jsontext.ErrDuplicateName) {
		return Invalid(string(s.JSONPointer), "Send each member once.")
	}
	return Invalid("", "Send well-formed JSON in UTF-8.")
}
