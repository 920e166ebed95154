package browsertest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/store"
)

func TestThePageSpeaksBrazilianPortuguese(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		at := func(screen string) string { return w.at("pt-BR " + screen) }
		book := w.newBook("Livro")
		bank := w.bank("Banco da História", checking(row(5, "1234.50", "CAFÉ")))
		b := w.person(look{languages: "pt-BR,pt,en"}).open("/portal/?book=" + book)
		b.get("heading", "Automações para os seus Livros")
		w.once(b, at("door"))
		b.click("link", "Entrar com o Google")
		b.signIn(clientEmail)
		b.get("heading", "Bancos")
		b.in("list", "Países").click("link", map[bool]string{true: "Brasil", false: "Estados Unidos"}[w.brazilian])
		b.fill("searchbox", "Procure o seu banco", "banco da")
		b.in("list", "Bancos").click("link", bank.name)
		b.get("heading", "Conectar "+bank.name)
		b.accessible(at("privacy"))
		inside := b.toBank(bank, "Continuar")
		if w.brazilian {
			inside.click("button", "Continuar")
			inside.fill("textbox", "Usuário", customer)
			inside.fill("textbox", "Senha", "password-ok")
			inside.click("button", "Continuar")
		} else {
			inside.find(bank)
			inside.password(bank, true)
			inside.share(bank)
		}
		b.get("heading", bank.name+" está conectado")
		b.accessible(at("connected"))
		b.click("button", "Vincular Conta: Everyday ••0001")
		dialog := b.in("dialog", "Vincular Conta: Everyday ••0001")
		dialog.set("combobox", "Registrar transações", "Dos últimos 12 meses")
		b.accessible(at("link"))
		dialog.click("button", "Salvar")
		w.holds(book, "CAFÉ")
		b.says("1 transação registrada")
		b.in("navigation", "Portal de Automações").click("link", "Integrações do Livro")
		b.get("heading", "Integrações do Livro")
		month := []string{"jan.", "fev.", "mar.", "abr.", "mai.", "jun.", "jul.", "ago.", "set.", "out.", "nov.", "dez."}
		from := time.Now().UTC().AddDate(-1, 0, 0)
		b.says(fmt.Sprintf("%d de %s de %d", from.Day(), month[from.Month()-1], from.Year()))
		b.accessible(at("integrations"))
		if lang, err := chromedp.Run(b.soon(), chromedp.Evaluate[string](`document.documentElement.lang`)); lang != "pt-BR" {
			t.Errorf("the page says that it is in %q (%v)", lang, err)
		}
	})
}

func TestThePageIsUsableInTheDarkAndOnAPhone(t *testing.T) {
	for name, l := range map[string]look{"dark": {dark: true}, "phone": {phone: true}} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, w place) {
				at := func(screen string) string { return w.at(name + " " + screen) }
				book := w.newBook("Our Book with a rather long name")
				bank := w.bank("A Bank whose Name is Long, N.A.", checking(row(5, "4.50", "COFFEE")), card())
				b := w.person(l).open("/portal/?book=" + book)
				b.get("heading", "Automations for your Books")
				w.once(b, at("door"))
				b.click("link", "Sign in with Google")
				b.signIn(clientEmail)
				b.in("list", "Countries").get("link", w.country())
				w.once(b, at("map"))
				inside := b.bankWindow(bank)
				if w.brazilian {
					inside.get("button", "Continue")
				}
				b.accessible(at("bank open"))
				inside.find(bank)
				inside.password(bank, true)
				inside.share(bank)
				b.get("heading", bank.name+" is connected")
				b.accessible(at("connected"))
				b.click("button", "Link Account: Everyday ••0001")
				b.accessible(at("link"))
				b.in("dialog", "Link Account: Everyday ••0001").save(linking{to: "Bank Account"}, "Save")
				b.says("1 transaction recorded")
				b.section("Book Integrations")
				b.says("Live")
				b.accessible(at("integrations"))
				b.section("User Connections")
				b.click("button", "Disconnect")
				b.in("dialog", "Disconnect "+bank.name+"?").get("button", "Disconnect")
				w.once(b, at("disconnect"))
				b.click("button", "Cancel")
				b.section("Apps")
				w.once(b, at("apps"))
				b.section("Bots")
				w.once(b, at("bots"))
			})
		})
	}
}

// reach goes with the Tab key to a control.
func (b screen) reach(role, name string) {
	b.t.Helper()
	const most = 150 // stops
	for range most {
		at, err := on[bool](b.window, b.get(role, name).node, `function() { return this === document.activeElement; }`)
		switch {
		case err != nil: // on the way to another page
		case at:
			b.lit(role, name)
			return
		default:
			b.keys(kb.Tab)
		}
	}
	b.t.Fatalf("the Tab key does not lead to the %s %q\n%s", role, name, b.outline())
}

// lit fails where one cannot see what has the focus.
func (b screen) lit(role, name string) {
	b.t.Helper()
	seen, err := on[bool](b.window, b.get(role, name).node, `function() {
		const s = getComputedStyle(this);
		return this instanceof SVGElement || (this.matches(":focus-visible") && (s.outlineStyle !== "none" || s.boxShadow !== "none"));
	}`)
	b.try("look at the focus", err)
	if !seen {
		b.t.Errorf("one cannot see that %q has the focus", name)
	}
}

// keys presses keys, one after the other. What the page prevents when a key goes down then types nothing either.
func (b screen) keys(text string) {
	b.t.Helper()
	for _, r := range text {
		b.key(r, input.DispatchKeyEventParams{Text: kb.Keys[r].Text})
	}
}

func (b screen) key(r rune, p input.DispatchKeyEventParams) {
	b.t.Helper()
	k := kb.Keys[r]
	p.Type, p.Key, p.Code, p.WindowsVirtualKeyCode = input.DispatchKeyEventTypeKeyDown, k.Key, k.Code, k.Windows
	b.try("press the key "+k.Key, call(b.soon(), input.DispatchKeyEvent, p))
	p.Type, p.Text = input.DispatchKeyEventTypeKeyUp, ""
	// A key that closes the window, or leads to another page, may never be answered.
	_ = call(b.soon(), input.DispatchKeyEvent, p)
}

// selectAll presses Ctrl+A.
func (b screen) selectAll() {
	b.t.Helper()
	const control = 2
	b.key('a', input.DispatchKeyEventParams{Modifiers: control, Commands: []string{"selectAll"}})
}

func TestThePageIsUsableByKeyboardAlone(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		book := w.newBook("By keyboard")
		bank := w.bank("Keyboard Bank", checking(row(5, "4.50", "COFFEE")))
		b := w.person(look{}).open("/portal/?book=" + book)
		b.reach("link", "Sign in with Google")
		b.keys(kb.Enter)
		b.reach("button", "… <"+clientEmail+">")
		b.keys(kb.Enter)
		b.get("heading", "Banks")
		b.keys(kb.Tab)
		b.reach("link", "Skip to content")
		b.keys(kb.Enter)
		b.in("list", "Countries").reach("link", w.country())
		b.keys(kb.Enter)
		b.reach("searchbox", "Search for your bank")
		b.keys("keyboard")
		b.in("list", "Banks").reach("link", bank.name)
		b.keys(kb.Enter)
		b.reach("button", "Continue")
		if w.brazilian {
			b.keys(kb.Enter)
			b.frame().signInByKeyboard()
		} else {
			b.popup(func() { b.keys(kb.Enter) }).signInByKeyboardAt(bank)
		}
		b.get("heading", "Keyboard Bank is connected")
		b.reach("button", "Link Account: Everyday ••0001")
		b.keys(kb.Enter)
		dialog := b.in("dialog", "Link Account: Everyday ••0001")
		dialog.reach("combobox", "Account in By keyboard")
		b.selectAll()
		b.keys("bank a")
		dialog.get("option", "Bank Account…")
		b.keys(kb.Enter)
		dialog.reach("combobox", "Record transactions")
		b.keys(kb.ArrowDown)
		dialog.reach("button", "Save")
		b.keys(kb.Enter)
		w.holds(book, "COFFEE")
		b.gone("dialog", "Link Account: Everyday ••0001")
		b.reach("link", "Linked to Bank Account")
		b.keys(kb.Enter)
		b.get("heading", "Book Integrations")
		b.reach("button", "Remove")
		b.keys(kb.Enter)
		remove := b.in("dialog", "Remove Everyday ••0001?")
		remove.get("button", "Remove")
		b.keys(kb.Escape)
		b.gone("dialog", "Remove Everyday ••0001?")
		back, err := chromedp.Run(b.soon(), chromedp.Evaluate[string](`document.activeElement.textContent`))
		if err != nil || back != "Remove" {
			t.Errorf("after the dialog the focus is on %q (%v)", back, err)
		}
	})
}

// signInByKeyboard goes through the sign-in of a bank of Brazil that was chosen before.
func (b screen) signInByKeyboard() {
	b.t.Helper()
	b.reach("button", "Continue")
	b.keys(kb.Enter)
	b.reach("textbox", "Usuário")
	b.keys(customer)
	b.reach("textbox", "Senha")
	b.keys("password-ok" + kb.Enter)
}

// signInByKeyboardAt goes through the sign-in of a bank of the United States.
func (b screen) signInByKeyboardAt(bank *savings) {
	b.t.Helper()
	b.reach("searchbox", "Search for your bank")
	b.keys("Keyboard" + kb.Enter)
	b.reach("button", bank.name)
	b.keys(kb.Enter)
	b.reach("textbox", "Username")
	b.keys(customer)
	b.reach("textbox", "Password")
	b.keys("pass_good" + kb.Enter)
	b.reach("button", "Share the chosen accounts")
	b.keys(kb.Enter)
	b.closed()
}

func TestTheMapIsOneStopOfTheTabKeyAndItsCountriesAreReachedByArrows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.person(look{}).enter(w.newBook("Map"), clientEmail)
	b.in("group", "World map").reach("link", "Austria")
	b.keys(kb.ArrowRight + kb.ArrowRight + kb.ArrowLeft + kb.Enter)
	b.get("heading", "Banks – Belgium")
}

func TestThePageWorksFromAnotherOrigin(t *testing.T) {
	t.Parallel()
	other := httptest.NewUnstartedServer(nil)
	elsewhere := strings.Replace("http://"+other.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	w := newWorld(t, func(env map[string]string) {
		env["ALLOWED_ORIGINS"], env["PAGE_URL"] = elsewhere, elsewhere+"/portal/"
	})
	w.hosts(other)
	book := w.newBook("Elsewhere")
	bank := w.bank("Distant Bank", checking(row(5, "4.50", "COFFEE")))
	b := w.person(look{}).open(elsewhere + "/portal/?book=" + book)
	b.click("link", "Sign in with Google")
	b.signIn(clientEmail)
	b.get("heading", "Banks")
	if at := b.address(); !strings.HasPrefix(at, elsewhere) {
		t.Fatalf("after the sign-in the page is at %s", at)
	}
	b.connect(bank)
	b.link(linking{account: "Everyday ••0001", to: "Bank Account"})
	w.holds(book, "COFFEE")
	b.click("link", "Sign out")
	b.get("heading", "Automations for your Books")
}

func TestAPageOfAForeignOriginGetsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := httptest.NewUnstartedServer(nil)
	w.hosts(other)
	p := w.person(look{})
	p.enter(w.newBook("Own"), clientEmail)
	b := p.open(strings.Replace(other.URL, "127.0.0.1", "localhost", 1) + "/portal/")
	b.get("heading", "The page could not be loaded")
	b.bad.forgive() // the browser says that it keeps the page out
}

// hosts lets another server serve the page, until the test ends.
func (w *world) hosts(other *httptest.Server) {
	other.Config.Handler = http.HandlerFunc(w.host)
	other.Start()
	w.t.Cleanup(other.Close)
}

// host serves the page as another host would: the same files, with the address of the portal function in them.
func (w *world) host(out http.ResponseWriter, r *http.Request) {
	answer, err := http.Get(w.url + r.URL.RequestURI())
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadGateway)
		return
	}
	out.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
	out.WriteHeader(answer.StatusCode)
	io.WriteString(out, strings.Replace(string(text), `<meta name="portal" content="./">`, `<meta name="portal" content="`+w.url+`/portal/">`, 1))
}

func TestThePageIsLightAndQuick(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Light")
	p := w.person(look{})
	p.enter(book, clientEmail)
	const heaviest, slowest = 150_000, time.Second
	var best time.Duration
	for range 5 {
		b := p.open("about:blank")
		began := time.Now()
		b.goTo("/portal/?book=" + book)
		b.in("list", "Countries").get("link", "United States")
		took := time.Since(began)
		if best == 0 || took < best {
			best = took
		}
		weight, err := chromedp.Run(b.soon(), chromedp.Evaluate[int](`performance.getEntries().reduce((n, e) => n + (e.encodedBodySize ?? 0), 0)`))
		b.try("weigh the page", err)
		t.Logf("%d bytes, usable after %v", weight, took.Round(time.Millisecond))
		if weight > heaviest || weight < 10_000 {
			t.Errorf("the page weighs %d bytes; at most %d are allowed", weight, heaviest)
		}
		b.close()
	}
	if best > slowest {
		t.Errorf("the page was never usable within %v; the best was %v", slowest, best)
	}
}

func TestAnImportIsWatchedAndTheBankAskedAgainAfterARest(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		book := w.newBook("Watched")
		bank := w.bank("Slow Bank", checking(row(5, "1", "BEFORE")))
		b := w.person(look{}).enter(book, clientEmail)
		b.connect(bank)
		bank.hesitate(3 * time.Second)
		b.link(linking{account: "Everyday ••0001", to: "Bank Account"})
		b.get("progressbar", "Import of Everyday ••0001")
		b.says("Banks may take up to two days for a long history")
		b.accessible(w.at("import"))
		w.holds(book, "BEFORE")
		b.gone("progressbar", "Import of Everyday ••0001")
		b.says("1 transaction recorded")
		if sync := b.get("button", "Sync now"); sync.props["disabled"] != "true" {
			t.Error("the bank can be asked again at once")
		}
		b.says("Sync now is possible again")
		w.rested()
		b.reload()
		b.click("button", "Sync now")
		b.says("The bank is being read.")
		b.accessible(w.at("asked again"))
	})
}

// rested makes it an hour ago that each connection was read, and longer that its status was.
func (w *world) rested() {
	w.t.Helper()
	w.engines(func(e *posting.Engine) { e.Synced, e.Looked = time.Now().Add(-time.Hour), time.Time{} })
}

// engines changes what the poster knows of each connection.
func (w *world) engines(change func(*posting.Engine)) {
	w.t.Helper()
	s := w.documents()
	engines, err := posting.Engines.Find(w.t.Context(), s, store.Query{})
	w.must(err)
	for _, e := range engines {
		w.must(s.Update(w.t.Context(), func(tx store.Tx) error {
			e, err := posting.Load(tx, e.Connection)
			if err != nil {
				return err
			}
			change(e)
			return posting.Engines.Put(tx, e)
		}))
	}
}
