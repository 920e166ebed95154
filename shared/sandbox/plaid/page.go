package plaid

import (
	"errors"
	"html/template"
	"net/http"

	"github.com/bkper/automations-portal/shared/sandbox/provider"
)

// The Hosted Link page is plain forms: no script, one address, every form posts to the address that it was shown at.
// Visit drives it; its documentation names the fields.
func (s *Server) pageRoutes() {
	s.core.Mux.HandleFunc("GET /link/{id}", s.showPage)
	s.core.Mux.HandleFunc("POST /link/{id}", s.actOnPage)
	s.core.Mux.HandleFunc("GET /link/{id}/oauth", s.showPage)
	s.core.Mux.HandleFunc("POST /link/{id}/oauth", s.actOnPage)
}

// pageView is what the page shows.
type pageView struct {
	SessionView
	Client string
	Query  string
	Banks  []*Institution
	Error  *Error
	Gone   bool // the link cannot be used
}

// LogoURL is the chosen bank's logo.
func (v pageView) LogoURL() template.URL {
	return template.URL("data:image/png;base64," + v.Institution.Logo())
}

func (s *Server) showPage(w http.ResponseWriter, r *http.Request) {
	id, session := r.PathValue("id"), r.URL.Query().Get("session")
	if session == "" {
		s.startPage(w, id)
		return
	}
	v, err := s.view(id, session, r.URL.Query().Get("q"))
	if err != nil {
		s.gone(w, err)
		return
	}
	if there := pageOf(v.Step, id, session, atBank(r)); there != "" {
		provider.SeeOther(w, there)
		return
	}
	s.render(w, http.StatusOK, v)
}

func atBank(r *http.Request) bool {
	return r.Pattern == "GET /link/{id}/oauth" || r.Pattern == "POST /link/{id}/oauth"
}

// pageOf returns where a step is shown, relative to the page asked for; empty is right here.
func pageOf(step Step, id, session string, atBank bool) string {
	switch {
	case step == EnterAtBank && !atBank:
		return id + "/oauth?session=" + session
	case step != EnterAtBank && atBank:
		return "../" + id + "?session=" + session
	}
	return ""
}

func (s *Server) startPage(w http.ResponseWriter, id string) {
	var session string
	err := s.Do(func(b *Bank) (err error) {
		session, err = b.StartSession(id)
		return err
	})
	if err != nil {
		s.gone(w, err)
		return
	}
	provider.SeeOther(w, "?session="+session)
}

func (s *Server) view(id, session, query string) (pageView, error) {
	s.core.Lock()
	defer s.core.Unlock()
	sv, err := s.bank.Session(id, session)
	if err != nil {
		return pageView{}, err
	}
	l := s.bank.hosted[id]
	v := pageView{SessionView: sv, Client: l.request.ClientName, Query: query, Error: sv.Error}
	if sv.Step != ChooseBank {
		return v, nil
	}
	if query != "" {
		v.Banks = s.bank.search(query, l.request.CountryCodes, l.request.Products, nil)
		return v, nil
	}
	const first = 20
	all := s.bank.institutions(l.request.CountryCodes, l.request.Products, nil)
	v.Banks = all[:min(first, len(all))]
	return v, nil
}

func (s *Server) actOnPage(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, provider.MaxBody)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "The form could not be read.", http.StatusBadRequest)
		return
	}
	id, session, f := r.PathValue("id"), r.URL.Query().Get("session"), r.PostForm
	act := Act{
		Step: Step(f.Get("step")), Exit: f.Get("exit") != "", Institution: f.Get("institution"),
		User: f.Get("username"), Password: f.Get("password"), Accounts: f["account"], All: f.Get("all") != "",
	}
	var v SessionView
	err := s.Do(func(b *Bank) (err error) {
		if err = b.Act(id, session, act); err != nil {
			return err
		}
		v, err = b.Session(id, session)
		return err
	})
	switch {
	case err != nil:
		s.gone(w, err)
	case v.Step == Finished && v.Redirect != "":
		provider.SeeOther(w, v.Redirect)
	case v.Step == Finished && atBank(r):
		provider.SeeOther(w, pageOf(v.Step, id, session, true))
	default:
		there := pageOf(v.Step, id, session, atBank(r))
		if there == "" {
			there = "?session=" + session
		}
		provider.SeeOther(w, there)
	}
}

// gone answers for a link that is unknown or over, and for a form that does not fit where the session is.
func (s *Server) gone(w http.ResponseWriter, err error) {
	var refused *Error
	status := http.StatusConflict
	if errors.As(err, &refused) {
		status = http.StatusGone
	}
	s.render(w, status, pageView{Gone: true})
}

func (s *Server) render(w http.ResponseWriter, status int, v pageView) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	if err := page.Execute(w, v); err != nil {
		s.core.Log.Error("sandbox Plaid: show the page", "error", err)
	}
}

var page = template.Must(template.New("link").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Connect your bank (sandbox)</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; background: light-dark(#f3f4f6, #16181c); color: light-dark(#16181c, #f3f4f6); }
main { max-width: 26rem; margin: 2rem auto; padding: 1.5rem; border-radius: 1rem; background: light-dark(#fff, #22252b); }
h1 { font-size: 1.25rem; margin: 0 0 1rem; }
label { display: block; margin: .5rem 0; }
input[type=text], input[type=password], input[type=search] { width: 100%; box-sizing: border-box; font: inherit; padding: .5rem; }
button { font: inherit; padding: .6rem 1rem; border-radius: .5rem; border: 1px solid #8888; cursor: pointer; background: light-dark(#fff, #2c3038); color: inherit; }
button.main { width: 100%; border: 0; background: #1a4fd6; color: #fff; margin-top: .5rem; }
ul { list-style: none; padding: 0; } li button { width: 100%; text-align: left; margin: .2rem 0; }
.error { padding: .75rem; border-radius: .5rem; background: light-dark(#fde8e8, #5b1d1d); }
img { width: 3rem; height: 3rem; border-radius: .5rem; }
footer { margin-top: 1rem; font-size: .85rem; opacity: .8; }
</style>
</head>
<body>
<main data-step="{{.Step}}">
{{- if .Gone}}
<h1>This link cannot be used</h1>
<p>It is over, unknown, or already past this step. Go back to the application and start again.</p>
{{- else}}
{{- with .Error}}
<p class="error" role="alert" data-code="{{.Code}}">{{or .Display .Message}}</p>
{{- end}}
{{- if eq .Step "institution"}}
<h1>{{.Client}} would like to connect your bank</h1>
<form method="get">
<input type="hidden" name="session" value="{{.ID}}">
<label>Search for your bank <input type="search" name="q" value="{{.Query}}" autofocus></label>
<button>Search</button>
</form>
<form method="post">
<input type="hidden" name="step" value="institution">
<ul>
{{- range .Banks}}
<li><button name="institution" value="{{.ID}}">{{.Name}}</button></li>
{{- else}}
<li>No bank has that name.</li>
{{- end}}
</ul>
</form>
{{- else if or (eq .Step "credentials") (eq .Step "oauth")}}
<img alt="" src="{{.LogoURL}}">
<h1>{{if eq .Step "oauth"}}{{.Institution.Name}}: sign in to share your accounts{{else}}Sign in at {{.Institution.Name}}{{end}}</h1>
<form method="post">
<input type="hidden" name="step" value="{{.Step}}">
<label>Username <input type="text" name="username" autocomplete="off" autofocus required></label>
<label>Password <input type="password" name="password" autocomplete="off" required></label>
<button class="main">Sign in</button>
</form>
<footer>Sandbox: user_good with pass_good.</footer>
{{- else if eq .Step "accounts"}}
<h1>Choose the accounts to share with {{.Client}}</h1>
<form method="post">
<input type="hidden" name="step" value="accounts">
{{- range .Choices}}
<label><input type="checkbox" name="account" value="{{.ID}}"{{if .Chosen}} checked{{end}}> {{.Name}} ••••{{.Mask}}</label>
{{- end}}
<button class="main">Share the chosen accounts</button>
</form>
{{- else if eq .Step "done"}}
<h1>Done</h1>
{{- if .Redirect}}
<p><a href="{{.Redirect}}">Go back to {{.Client}}</a></p>
{{- else}}
<p>You can close this window.</p>
{{- end}}
{{- end}}
{{- if ne .Step "done"}}
<form method="post"><footer><button name="exit" value="exit">Cancel and go back</button></footer></form>
{{- end}}
{{- end}}
</main>
</body>
</html>
`))
