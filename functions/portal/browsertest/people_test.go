package browsertest

import (
	"fmt"
)

// enter opens the portal for a Book and signs in.
func (p *person) enter(book, email string) screen {
	p.t.Helper()
	b := p.open("/portal/?book=" + book)
	b.click("link", "Sign in with Google")
	b.signIn(email)
	b.get("heading", "Banks")
	return b
}

// signIn chooses an account on the sandbox's sign-in page of Google.
func (b screen) signIn(email string) {
	b.t.Helper()
	b.click("button", "… <"+email+">")
}

// section opens one of the left panel.
func (b screen) section(name string) {
	b.t.Helper()
	b.in("navigation", "Automations Portal").click("link", name)
	b.get("heading", name)
}

// choose goes to what is agreed to before a bank is connected.
func (b screen) choose(country string, bank *savings) {
	b.t.Helper()
	b.section("Banks")
	b.in("list", "Countries").click("link", country)
	b.fill("searchbox", "Search for your bank", bank.name)
	b.in("list", "Banks").click("link", bank.name)
	b.get("heading", "Connect "+bank.name)
}

// bankWindow goes from the map to the bank's own sign-in.
func (b screen) bankWindow(bank *savings) screen {
	b.t.Helper()
	country := "United States"
	if bank.brazilian() {
		country = "Brazil"
	}
	b.choose(country, bank)
	return b.toBank(bank, "Continue")
}

// toBank is the bank's own sign-in, which a button opens: a window, in Brazil a frame over the page.
func (b screen) toBank(bank *savings, button string) screen {
	b.t.Helper()
	if bank.brazilian() {
		b.click("button", button)
		return b.frame()
	}
	return b.popup(func() { b.click("button", button) })
}

// find looks for the bank where its sign-in still asks for it.
func (b screen) find(bank *savings) {
	b.t.Helper()
	if bank.brazilian() {
		b.click("button", "Continue")
		return
	}
	b.fill("searchbox", "Search for your bank", bank.name)
	b.click("button", "Search")
	b.click("button", bank.name)
}

// password signs in at the bank.
func (b screen) password(bank *savings, good bool) {
	b.t.Helper()
	if bank.brazilian() {
		b.fill("textbox", "Usuário", customer)
		b.fill("textbox", "Senha", map[bool]string{true: "password-ok", false: "password-wrong"}[good])
		b.click("button", "Continue")
		return
	}
	b.fill("textbox", "Username", customer)
	b.fill("textbox", "Password", map[bool]string{true: "pass_good", false: "pass_wrong"}[good])
	b.click("button", "Sign in")
}

// share ends a sign-in at the bank well.
func (b screen) share(bank *savings) {
	b.t.Helper()
	if !bank.brazilian() {
		b.click("button", "Share the chosen accounts")
		b.closed()
	}
}

// connect makes a connection, from the map to the way back.
func (b screen) connect(bank *savings) {
	b.t.Helper()
	at := b.bankWindow(bank)
	at.find(bank)
	at.password(bank, true)
	at.share(bank)
	b.get("heading", bank.name+" is connected")
}

// linking is what a person fills in to link an account.
type linking struct {
	account string // of the bank, such as "Everyday ••0001"
	to      string // an Account of the Book, or the name of a new one
	period  string // empty leaves what is proposed
	date    string
	pending bool
}

// link links an account and waits until the dialog has closed.
func (b screen) link(l linking) {
	b.t.Helper()
	b.click("button", "Link Account: "+l.account)
	b.in("dialog", "Link Account: "+l.account).save(l, "Save")
	b.gone("dialog", "Link Account: "+l.account)
}

func (b screen) save(l linking, label string) {
	b.t.Helper()
	if l.to != "" {
		b.fill("combobox", "Account in …", l.to)
		b.click("option", fmt.Sprintf("…%s…", l.to))
	}
	if l.period != "" {
		b.set("combobox", "Record transactions", l.period)
	}
	if l.date != "" {
		b.set("Date", "From", l.date)
	}
	b.check("checkbox", "Record pending transactions", l.pending)
	b.click("button", label)
}

// holds waits until the Book has exactly these standing records.
func (w *world) holds(book string, texts ...string) {
	w.t.Helper()
	want := fmt.Sprint(texts)
	wait(w.t, "the Book holds "+want, func() string {
		if now := fmt.Sprint(w.texts(book)); now != want {
			return "it holds " + now
		}
		return ""
	}, nil)
}
