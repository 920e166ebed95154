package google

import (
	"encoding/json"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const maxBody = 64 << 10

// Server serves a Service over HTTP. The caller strips the prefix that it is mounted under.
//
//	GET,POST /o/oauth2/v2/auth       authorization; a POST is the person's click: form field email (or login_hint in the
//	                                 query) allows, form field deny refuses
//	POST     /token                  grants authorization_code and refresh_token
//	GET,POST /tokeninfo              ?access_token=
//	POST     /revoke                 token=
//	GET      /oauth2/v3/certs        the public keys
//	GET,POST /oauth2/v3/userinfo     who the bearer is
//	GET      /.well-known/openid-configuration
//
// The hands of the sandbox's user, for drivers in another process, each with a form body:
//
//	POST /_sim/users    email, name, sub: adds an account
//	POST /_sim/revoke   email: withdraws all consents
//	POST /_sim/expire   email: ends the access tokens
type Server struct {
	s    *Service
	base string
	auto bool
	mux  *http.ServeMux
}

// ServerOptions set a Server up.
type ServerOptions struct {
	BaseURL     string // where the Server is reached, prefix included, for the discovery document
	AutoApprove bool   // allows at once, as login_hint's account or else the first one, without a page
}

// NewServer puts HTTP over s.
func NewServer(s *Service, o ServerOptions) *Server {
	v := &Server{s: s, base: strings.TrimSuffix(o.BaseURL, "/"), auto: o.AutoApprove, mux: http.NewServeMux()}
	v.mux.HandleFunc("GET /o/oauth2/v2/auth", v.authorize)
	v.mux.HandleFunc("POST /o/oauth2/v2/auth", v.decide)
	v.mux.HandleFunc("POST /token", v.token)
	v.mux.HandleFunc("/tokeninfo", v.tokenInfo)
	v.mux.HandleFunc("POST /revoke", v.revoke)
	v.mux.HandleFunc("GET /oauth2/v3/certs", v.certs)
	v.mux.HandleFunc("/oauth2/v3/userinfo", v.userInfo)
	v.mux.HandleFunc("GET /.well-known/openid-configuration", v.discovery)
	v.mux.HandleFunc("POST /_sim/users", v.addUser)
	v.mux.HandleFunc("POST /_sim/revoke", v.hand(s.RevokeUser))
	v.mux.HandleFunc("POST /_sim/expire", v.hand(s.ExpireTokens))
	return v
}

func (v *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	v.mux.ServeHTTP(w, r)
}

var authParams = []string{
	"client_id", "redirect_uri", "response_type", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
	"access_type", "prompt", "login_hint", "include_granted_scopes", "hd", "hl", "enable_granular_consent",
}

// parse reads the query. Google refuses parameters that it does not know or that come twice.
func parse(q url.Values) (AuthRequest, error) {
	for name, values := range q {
		if !slices.Contains(authParams, name) {
			return AuthRequest{}, refuse(http.StatusBadRequest, "invalid_request", "Parameter not allowed for this message type: %s", name)
		}
		if len(values) > 1 {
			return AuthRequest{}, refuse(http.StatusBadRequest, "invalid_request", "OAuth 2 parameters can only have a single value: %s", name)
		}
	}
	return AuthRequest{
		ClientID: q.Get("client_id"), RedirectURI: q.Get("redirect_uri"), ResponseType: q.Get("response_type"),
		Scope: q.Get("scope"), Nonce: q.Get("nonce"), Challenge: q.Get("code_challenge"), Method: q.Get("code_challenge_method"),
		AccessType: q.Get("access_type"), Prompt: q.Get("prompt"), IncludeGranted: q.Get("include_granted_scopes") == "true",
	}, nil
}

func (v *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	req, err := parse(q)
	if err == nil {
		err = v.s.Check(req)
	}
	if err != nil {
		showError(w, err)
		return
	}
	hint := q.Get("login_hint")
	if slices.Contains(strings.Fields(req.Prompt), "none") {
		if !v.s.Granted(req, hint) {
			back(w, r, req, url.Values{"error": {"interaction_required"}})
			return
		}
		v.approve(w, r, req, hint)
		return
	}
	if users := v.s.Users(); v.auto && len(users) > 0 {
		if hint == "" {
			hint = users[0].Email
		}
		v.approve(w, r, req, hint)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	page.Execute(w, map[string]any{"Client": req.ClientID, "Scope": req.Scope, "Hint": hint, "Users": v.s.Users()})
}

// style follows the reader's theme, and leaves room to touch the accounts.
const style = `<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><style>
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 26rem; margin: 12vh auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; }
button { font: inherit; width: 100%; padding: .75rem 1rem; text-align: left; border: 1px solid #8888; border-radius: .375rem; }
</style>`

var page = template.Must(template.New("auth").Parse(`<!doctype html>
<html lang="en"><head>` + style + `<title>Sign in – sandbox of Google</title></head>
<body><main><h1>Choose an account</h1>
<p>to continue to <strong>{{.Client}}</strong>, which asks for: {{.Scope}}</p>
<form method="post">
{{$hint := .Hint}}{{range .Users}}<p><button name="email" value="{{.Email}}"{{if eq .Email $hint}} autofocus{{end}}>{{.Name}} &lt;{{.Email}}&gt;</button></p>
{{else}}<p>The sandbox has no accounts.</p>
{{end}}<p><button name="deny" value="yes">Cancel</button></p>
</form></main></body></html>
`))

func (v *Server) decide(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	req, err := parse(q)
	if err == nil {
		err = v.s.Check(req)
	}
	if err != nil {
		showError(w, err)
		return
	}
	if err := r.ParseForm(); err != nil {
		showError(w, refuse(http.StatusBadRequest, "invalid_request", "malformed form"))
		return
	}
	if r.PostForm.Get("deny") != "" {
		back(w, r, req, url.Values{"error": {"access_denied"}})
		return
	}
	email := r.PostForm.Get("email")
	if email == "" {
		email = q.Get("login_hint")
	}
	v.approve(w, r, req, email)
}

func (v *Server) approve(w http.ResponseWriter, r *http.Request, req AuthRequest, email string) {
	code, err := v.s.Approve(req, email)
	if err != nil {
		showError(w, err)
		return
	}
	back(w, r, req, url.Values{"code": {code}, "scope": {strings.Join(fullScopes(strings.Fields(req.Scope)), " ")}})
}

// back sends the browser to the client with the answer and the state it came with.
func back(w http.ResponseWriter, r *http.Request, req AuthRequest, answer url.Values) {
	to, err := url.Parse(req.RedirectURI)
	if err != nil {
		showError(w, refuse(http.StatusBadRequest, "redirect_uri_mismatch", "malformed redirect URI"))
		return
	}
	q := to.Query()
	for name, values := range answer {
		q[name] = values
	}
	if state := r.URL.Query().Get("state"); state != "" {
		q.Set("state", state)
	}
	to.RawQuery = q.Encode()
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to.String(), http.StatusFound)
}

var errorPage = template.Must(template.New("error").Parse(`<!doctype html>
<html lang="en"><head>` + style + `<title>Error – sandbox of Google</title></head>
<body><main><h1>Access blocked</h1><p>{{.Description}}</p><p>Error {{.Status}}: {{.Code}}</p></main></body></html>
`))

func showError(w http.ResponseWriter, err error) {
	e := asError(err)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(e.Status)
	errorPage.Execute(w, e)
}

func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	slog.Error("sandbox of Google", "error", err)
	return refuse(http.StatusInternalServerError, "server_error", "")
}

func (v *Server) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		answerError(w, refuse(http.StatusBadRequest, "invalid_request", "malformed form"))
		return
	}
	f := r.PostForm
	id, clientSecret := f.Get("client_id"), f.Get("client_secret")
	if user, password, ok := r.BasicAuth(); ok {
		// RFC 6749 §2.3.1 form-encodes both halves before they are joined.
		id, _ = url.QueryUnescape(user)
		clientSecret, _ = url.QueryUnescape(password)
	}
	var t Tokens
	var err error
	switch f.Get("grant_type") {
	case "authorization_code":
		t, err = v.s.Exchange(id, clientSecret, f.Get("code"), f.Get("redirect_uri"), f.Get("code_verifier"))
	case "refresh_token":
		t, err = v.s.Refresh(id, clientSecret, f.Get("refresh_token"))
	default:
		err = refuse(http.StatusBadRequest, "unsupported_grant_type", "Invalid grant_type: %s", f.Get("grant_type"))
	}
	if err != nil {
		answerError(w, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	answer(w, http.StatusOK, t)
}

func (v *Server) tokenInfo(w http.ResponseWriter, r *http.Request) {
	info, err := v.s.TokenInfo(r.FormValue("access_token"))
	if err != nil {
		answerError(w, err)
		return
	}
	answer(w, http.StatusOK, info)
}

func (v *Server) revoke(w http.ResponseWriter, r *http.Request) {
	if err := v.s.Revoke(r.FormValue("token")); err != nil {
		answerError(w, err)
		return
	}
	answer(w, http.StatusOK, struct{}{})
}

func (v *Server) certs(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=21600, must-revalidate, no-transform")
	answer(w, http.StatusOK, map[string]any{"keys": v.s.Keys()})
}

func (v *Server) userInfo(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	u, ok := v.s.Lookup(token)
	if !ok {
		answerError(w, refuse(http.StatusUnauthorized, "invalid_request", "Invalid Credentials"))
		return
	}
	answer(w, http.StatusOK, map[string]any{"sub": u.Sub, "name": u.Name, "email": u.Email, "email_verified": true})
}

func (v *Server) discovery(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"issuer":                                Issuer,
		"authorization_endpoint":                v.base + "/o/oauth2/v2/auth",
		"token_endpoint":                        v.base + "/token",
		"userinfo_endpoint":                     v.base + "/oauth2/v3/userinfo",
		"revocation_endpoint":                   v.base + "/revoke",
		"jwks_uri":                              v.base + "/oauth2/v3/certs",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"scopes_supported":                      []string{"openid", "email", "profile"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic"},
		"code_challenge_methods_supported":      []string{"S256"},
		"grant_types_supported":                 []string{"authorization_code", "refresh_token"},
	})
}

func (v *Server) addUser(w http.ResponseWriter, r *http.Request) {
	u, err := v.s.AddUser(User{Sub: r.FormValue("sub"), Email: r.FormValue("email"), Name: r.FormValue("name")})
	if err != nil {
		answerError(w, refuse(http.StatusBadRequest, "invalid_request", "%v", err))
		return
	}
	answer(w, http.StatusOK, u)
}

func (v *Server) hand(do func(sub string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		email := r.FormValue("email")
		users := v.s.Users()
		i := slices.IndexFunc(users, func(u User) bool { return strings.EqualFold(u.Email, email) })
		if i < 0 {
			answerError(w, refuse(http.StatusNotFound, "invalid_request", "no account %s", email))
			return
		}
		if err := do(users[i].Sub); err != nil {
			answerError(w, err)
			return
		}
		answer(w, http.StatusOK, struct{}{})
	}
}

func answerError(w http.ResponseWriter, err error) {
	e := asError(err)
	answer(w, e.Status, e)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
