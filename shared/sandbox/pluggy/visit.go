package pluggy

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Steps of the widget's page.
const (
	stepConsent     = "consent"
	stepInstitution = "institution"
	stepCredentials = "credentials"
	stepOAuth       = "oauth"
	stepMFA         = "mfa"
	stepWorking     = "working"
	stepSuccess     = "success"
	stepError       = "error"
	stepClosed      = "closed"
)

const mostVisits = 1000 // that are remembered

// visit is one opening of the widget.
type visit struct {
	id      string
	client  string
	token   connectToken
	wanted  wanted
	step    string
	bank    *Connector
	item    *item
	code    string // of the last refusal, shown on the page
	message string
	told    []telling
	runs    int  // executions of the item that are told, or were before
	secret  bool // the person answered a second factor
}

// wanted are the properties that the widget was opened with.
type wanted struct {
	origin     string // of the page around; empty where there is none
	update     string
	connectors []int
	types      []string
	countries  []string
	sandbox    bool
	language   string
	theme      string // light or dark; empty is the person's own
}

// telling is something that the page around the frame hears, by its number.
type telling struct {
	N       int    `json:"n"`
	Kind    string `json:"kind"` // event, success, error or close
	Payload any    `json:"payload"`
}

func (v *visit) tell(kind string, payload any) {
	v.told = append(v.told, telling{len(v.told) + 1, kind, payload})
}

// event is one of onEvent's: name and value are its further member, if any.
func (v *visit) event(event, name string, value any, now time.Time) {
	payload := map[string]any{"event": event, "timestamp": now.UnixMilli()}
	if name != "" {
		payload[name] = value
	}
	v.tell("event", payload)
}

// open begins a visit; one whose token is no good begins at its error.
func (s *Server) open(q url.Values) *visit {
	v := &visit{id: uuid.NewString(), step: stepConsent, wanted: readWanted(q)}
	if len(s.visits) >= mostVisits {
		clear(s.visits)
	}
	s.visits[v.id] = v
	client, token, err := s.signer.read(q.Get("connect_token"), s.bank.now())
	if err != nil || token == nil {
		v.fail("INVALID_TOKEN", "The connect token is invalid or expired")
		return v
	}
	v.client, v.token = client, *token
	switch it, err := s.bank.item(client, v.wanted.update); {
	case v.wanted.update != token.Item:
		v.fail("ITEM_UPDATE_NOT_ALLOWED", "The connect token was not made for this update")
	case v.wanted.update == "":
		v.choose(s.bank, q.Get("selected_connector_id"))
	case err != nil:
		v.fail("ITEM_NOT_FOUND", err.Error())
	default:
		v.item, v.bank, v.runs = it, it.connector, it.runs
	}
	return v
}

func readWanted(q url.Values) wanted {
	w := wanted{update: q.Get("update_item"), sandbox: q.Get("with_sandbox") == "true", language: "pt"}
	if strings.HasPrefix(q.Get("lang"), "en") {
		w.language = "en"
	}
	if theme := q.Get("theme"); theme == "light" || theme == "dark" {
		w.theme = theme
	}
	if u, err := url.Parse(q.Get("origin")); err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") {
		w.origin = u.Scheme + "://" + u.Host
	}
	split := func(name string) []string {
		return slices.DeleteFunc(strings.Split(q.Get(name), ","), func(s string) bool { return s == "" })
	}
	for _, id := range split("connector_ids") {
		if n, err := strconv.Atoi(id); err == nil {
			w.connectors = append(w.connectors, n)
		}
	}
	w.types, w.countries = split("connector_types"), split("countries")
	return w
}

// choose takes the bank of an id that comes as a text; what is none is not chosen.
func (v *visit) choose(b *Bank, id string) bool {
	n, err := strconv.Atoi(id)
	if err != nil {
		return false
	}
	c, err := b.connector(n)
	if err == nil {
		v.bank = c
	}
	return err == nil
}

// banks are those that the person may choose from.
func (v *visit) banks(b *Bank, name string) []*Connector {
	list := b.Connectors(ConnectorQuery{Countries: v.wanted.countries, Types: v.wanted.types, Name: name, Sandbox: v.wanted.sandbox})
	return slices.DeleteFunc(list, func(c *Connector) bool {
		return len(v.wanted.connectors) > 0 && !slices.Contains(v.wanted.connectors, c.ID)
	})
}

func (v *visit) fail(code, message string) {
	v.step, v.code, v.message = stepError, code, message
	v.tell("error", map[string]any{"message": message})
}

// act takes a form in. One that does not fit where the visit is changes nothing.
func (s *Server) act(v *visit, f url.Values, base string) {
	now := s.bank.now()
	switch {
	case v.step == stepClosed:
		return
	case f.Get("close") != "":
		v.step = stepClosed
		v.tell("close", nil)
		return
	case f.Get("step") != v.step:
		return
	case v.client != "" && !now.Before(v.token.expires):
		v.bank = nil // nothing can be tried again with this token
		v.fail("INVALID_TOKEN", "The connect token is invalid or expired")
		return
	}
	v.code, v.message = "", ""
	switch v.step {
	case stepConsent:
		v.event("SUBMITTED_CONSENT", "", nil, now)
		v.step = stepInstitution
		if v.bank != nil {
			s.enter(v, now, base)
		}
	case stepInstitution:
		if v.choose(s.bank, f.Get("connector")) {
			s.enter(v, now, base)
		}
	case stepCredentials:
		v.event("SUBMITTED_LOGIN", "", nil, now)
		s.submit(v, f, base)
	case stepOAuth:
		err := s.bank.authorise(v.item, f.Get("user"), f.Get("password"), f.Get("answer") == "grant")
		s.refused(v, err)
		s.follow(v, base)
	case stepMFA:
		v.event("SUBMITTED_MFA", "", nil, now)
		v.secret = true
		if p := v.item.parameter; p != nil {
			s.refused(v, s.bank.answerMFA(v.item, map[string]string{p.Name: f.Get("answer")}))
		}
		s.follow(v, base)
	case stepError:
		if v.bank != nil {
			v.step = stepCredentials
		}
	}
}

// enter goes to the chosen bank. Where it asks for nothing, its own page comes at once.
func (s *Server) enter(v *visit, now time.Time, base string) {
	v.event("SELECTED_INSTITUTION", "connector", s.bank.connectorJSON(v.bank, base, false), now)
	v.step = stepCredentials
	if len(v.bank.Credentials) == 0 || v.bank.OAuth && v.item != nil {
		s.submit(v, url.Values{}, base)
	}
}

// submit makes the item, or updates the one that there is.
func (s *Server) submit(v *visit, f url.Values, base string) {
	parameters := map[string]string{}
	for _, c := range v.bank.Credentials {
		if given := f.Get(c.Name); given != "" {
			parameters[c.Name] = given
		}
	}
	var err error
	if v.item == nil {
		v.item, err = s.bank.createItem(v.client, v.token.ID, v.bank.ID, parameters, nil, v.token.Options)
	} else {
		err = s.bank.updateItem(v.item, ByUser, parameters, ItemOptions{}, nil)
	}
	if s.refused(v, err) {
		return
	}
	s.follow(v, base)
}

// refused shows on the page why something was refused.
func (s *Server) refused(v *visit, err error) bool {
	var api *Error
	var bank *ItemError
	switch {
	case err == nil:
		return false
	case errors.As(err, &api):
		v.code, v.message = api.Description, api.Message
		if len(api.Details) > 0 {
			v.message = api.Details[0].Message
		}
	case errors.As(err, &bank):
		v.code, v.message = bank.Code, bank.Message
	default:
		v.code, v.message = "ERROR", err.Error()
	}
	return true
}

// follow brings a visit to where its item is.
func (s *Server) follow(v *visit, base string) {
	it := v.item
	if it == nil {
		return
	}
	s.bank.tick(it)
	switch {
	case it.status == WaitingAction:
		v.step = stepOAuth
	case it.status == WaitingInput:
		v.step = stepMFA
	case !it.idle():
		v.step = stepWorking
	case v.runs != it.runs:
		v.runs = it.runs
		s.end(v, base)
	}
}

// end tells how an item's execution ended.
func (s *Server) end(v *visit, base string) {
	now, shown := s.bank.now(), s.bank.itemJSON(v.item, base)
	if v.item.status == Updated {
		name := "LOGIN_SUCCESS"
		if v.secret {
			name = "LOGIN_MFA_SUCCESS"
		}
		v.event(name, "item", shown, now)
		v.event("LOGIN_STEP_COMPLETED", "item", shown, now)
		v.event("ITEM_RESPONSE", "item", shown, now)
		v.step = stepSuccess
		v.tell("success", map[string]any{"item": shown})
		return
	}
	v.event("ITEM_RESPONSE", "item", shown, now)
	v.step, v.code, v.message = stepError, v.item.execution, messages[v.item.execution]
	v.tell("error", map[string]any{"message": v.item.execution, "data": map[string]any{"item": shown}})
}
