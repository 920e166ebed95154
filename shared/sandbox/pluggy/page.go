package pluggy

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"strings"

	"github.com/bkper/automations-portal/shared/sandbox/provider"
)

// The widget: a script that defines PluggyConnect, and the page that it shows in a frame. The page is plain forms that post
// to the address at which they are shown, each with the hidden field step; its one script tells the page around what
// happened. A page that opens it needs the sandbox's origin in script-src and frame-src, nothing else.
var (
	//go:embed widget.js
	widgetJS []byte
	//go:embed frame.js
	frameJS []byte
	//go:embed page.css
	pageCSS []byte
	//go:embed page.html
	pageHTML string

	page = template.Must(template.New("connect").Parse(pageHTML))
)

func (s *Server) pageRoutes() {
	s.core.Mux.HandleFunc("GET /pluggy-connect/{version}/pluggy-connect.js", func(w http.ResponseWriter, r *http.Request) {
		base, err := json.Marshal(s.core.Base(r)) // escapes what would end the text
		if err != nil {
			s.answer(w, nil, err)
			return
		}
		script(w, "text/javascript", bytes.Replace(widgetJS, []byte("'{{base}}'"), base, 1))
	})
	s.core.Mux.HandleFunc("GET /connect/assets/frame.js", func(w http.ResponseWriter, _ *http.Request) { script(w, "text/javascript", frameJS) })
	s.core.Mux.HandleFunc("GET /connect/assets/style.css", func(w http.ResponseWriter, _ *http.Request) { script(w, "text/css", pageCSS) })
	s.core.Mux.HandleFunc("GET /connect", s.openPage)
	s.core.Mux.HandleFunc("GET /connect/{visit}", s.showPage)
	s.core.Mux.HandleFunc("POST /connect/{visit}", s.actOnPage)
	s.core.Mux.HandleFunc("GET /bank/{item}", s.showBank)
	s.core.Mux.HandleFunc("POST /bank/{item}", s.actAtBank)
}

func script(w http.ResponseWriter, kind string, text []byte) {
	h := w.Header()
	h.Set("Content-Type", kind+"; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	_, _ = w.Write(text)
}

// pageView is what the page shows.
type pageView struct {
	Step, Lang, Theme, Query, Origin, Told, Code, Message, Root string

	Banks     []*Connector
	Bank      *Connector
	Parameter *Parameter
	Retry     bool
}

// T is a text in the page's language.
func (v pageView) T(name string) string { return texts[v.Lang][name] }

// Picture is the image of a second factor.
func (v pageView) Picture() template.URL {
	return template.URL("data:image/png;base64," + v.Parameter.Data)
}

// openPage starts a visit; its parameters are those of the widget's direct address.
func (s *Server) openPage(w http.ResponseWriter, r *http.Request) {
	s.core.Lock()
	v := s.open(r.URL.Query())
	s.core.Unlock()
	provider.SeeOther(w, "connect/"+v.id)
}

func (s *Server) showPage(w http.ResponseWriter, r *http.Request) {
	view := pageView{Step: stepClosed, Lang: "pt", Told: "[]", Root: "../"}
	err := s.Do(func(b *Bank) (err error) {
		if v := s.visits[r.PathValue("visit")]; v != nil {
			if v.step == stepWorking || v.step == stepMFA || v.step == stepOAuth {
				s.follow(v, s.core.Base(r))
			}
			view, err = v.view(b, r.URL.Query().Get("q"))
		}
		return err
	})
	s.render(w, view, err)
}

func (v *visit) view(b *Bank, query string) (pageView, error) {
	told, err := json.Marshal(v.told)
	if len(v.told) == 0 {
		told = []byte("[]")
	}
	view := pageView{
		Step: v.step, Lang: v.wanted.language, Theme: v.wanted.theme, Query: query, Origin: v.wanted.origin, Told: string(told), Code: v.code, Message: v.message,
		Root: "../", Bank: v.bank, Retry: v.bank != nil && v.client != "",
	}
	switch v.step {
	case stepInstitution:
		view.Banks = v.banks(b, query)
	case stepMFA:
		if view.Parameter = v.item.parameter; view.Parameter == nil {
			view.Step = stepWorking // the time to answer is over, and the next look tells
		}
	}
	return view, err
}

func (s *Server) actOnPage(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, provider.MaxBody)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "The form could not be read.", http.StatusBadRequest)
		return
	}
	id := r.PathValue("visit")
	err := s.Do(func(*Bank) error {
		if v := s.visits[id]; v != nil {
			s.act(v, r.PostForm, s.core.Base(r))
		}
		return nil
	})
	if err != nil {
		s.render(w, pageView{}, err)
		return
	}
	provider.SeeOther(w, id)
}

// showBank is the bank's own page, for who goes there by the address in an item's userAction.
func (s *Server) showBank(w http.ResponseWriter, r *http.Request) {
	s.core.Lock()
	view := s.bankView(r.PathValue("item"), nil)
	s.core.Unlock()
	s.render(w, view, nil)
}

// bankView asks while the item waits and afterwards says that the window can be closed.
func (s *Server) bankView(itemID string, refusal error) pageView {
	view := pageView{Step: stepClosed, Lang: "pt", Told: "[]", Root: "../"}
	if it := s.bank.items[itemID]; it != nil && it.status == WaitingAction {
		view.Step, view.Bank = stepOAuth, it.connector
	}
	var shown visit
	if s.refused(&shown, refusal) {
		view.Code, view.Message = shown.code, shown.message
	}
	return view
}

func (s *Server) actAtBank(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, provider.MaxBody)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "The form could not be read.", http.StatusBadRequest)
		return
	}
	var view pageView
	err := s.Do(func(b *Bank) error {
		var refusal error
		if it := b.items[r.PathValue("item")]; it != nil && it.status == WaitingAction {
			f := r.PostForm
			refusal = b.authorise(it, f.Get("user"), f.Get("password"), f.Get("answer") == "grant")
			b.tick(it)
		}
		view = s.bankView(r.PathValue("item"), refusal)
		return nil
	})
	s.render(w, view, err)
}

func (s *Server) render(w http.ResponseWriter, v pageView, err error) {
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	ancestors := "'none'"
	if v.Origin != "" {
		ancestors = v.Origin
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", strings.Join([]string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "form-action 'self'", "base-uri 'none'",
		"frame-ancestors " + ancestors,
	}, "; "))
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	if err := page.Execute(w, v); err != nil {
		s.core.Log.Error("sandbox Pluggy: show the page", "error", err)
	}
}

// texts are the page's, by language.
var texts = map[string]map[string]string{
	"pt": {
		"title": "Pluggy Connect (sandbox)", "consent": "Conecte a sua conta", "consent.text": "Você autoriza a leitura das suas contas e transações. Nenhum dado real é usado: este é o ambiente de testes.",
		"continue": "Continuar", "institution": "Escolha a sua instituição", "search": "Buscar instituição", "search.go": "Buscar",
		"institution.none": "Nenhuma instituição tem esse nome.", "hint": "Teste: user-ok com password-ok.", "hint.document": "Teste: qualquer número, como 882.937.076-23 ou 12.345.678/0001-95.", "hint.mfa": "Teste: 123456.",
		"oauth": "Autorize o acesso:", "user": "Usuário", "password": "Senha", "grant": "Autorizar", "deny": "Negar", "mfa": "Confirme que é você",
		"mfa.image": "Imagem com o código", "working": "Conectando…", "success": "Conta conectada", "error": "Não foi possível conectar", "retry": "Tentar novamente",
		"closed": "Você pode fechar esta janela.", "done": "Concluir", "cancel": "Cancelar",
	},
	"en": {
		"title": "Pluggy Connect (sandbox)", "consent": "Connect your account", "consent.text": "You allow your accounts and transactions to be read. No real data is used: this is the test environment.",
		"continue": "Continue", "institution": "Choose your institution", "search": "Search institutions", "search.go": "Search",
		"institution.none": "No institution has that name.", "hint": "Test: user-ok with password-ok.", "hint.document": "Test: any number, such as 882.937.076-23 or 12.345.678/0001-95.", "hint.mfa": "Test: 123456.",
		"oauth": "Allow access:", "user": "User", "password": "Password", "grant": "Allow", "deny": "Deny", "mfa": "Confirm that it is you",
		"mfa.image": "Picture of the code", "working": "Connecting…", "success": "Account connected", "error": "The account could not be connected", "retry": "Try again",
		"closed": "You can close this window.", "done": "Done", "cancel": "Cancel",
	},
}
