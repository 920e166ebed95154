package browsertest

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/pluggy"
	"github.com/bkper/automations-portal/shared/sandbox/provider"
)

// endsWith waits until the page says why nothing came of a visit, and looks whether it offers help.
func (b screen) endsWith(name, bank, why string) {
	b.t.Helper()
	b.get("heading", bank+" is not connected")
	b.says(why)
	b.accessible(name)
	b.helps(bank)
}

// helps looks whether a person can turn to somebody, with the bank's name filled in.
func (b screen) helps(bank string) {
	b.t.Helper()
	help, err := on[string](b.window, b.get("link", "Contact us").node, `function() { return this.href; }`)
	b.try("read a link", err)
	mail, err := url.Parse(help)
	b.try("read a link", err)
	if q := mail.Query(); mail.Scheme != "mailto" || q.Get("subject") != "Bank connection: "+bank || !strings.Contains(q.Get("body"), bank) {
		b.t.Errorf("the way to help is %s", help)
	}
}

func TestAWrongPasswordIsExplained(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bank := w.bank("Strict Bank", checking(row(5, "1", "A")))
	b := w.person(look{}).enter(w.newBook("Wrong"), clientEmail)
	at := b.bankWindow(bank)
	at.find(bank)
	at.password(bank, false)
	at.get("alert", "…")
	at.click("button", "Cancel and go back")
	at.closed()
	b.endsWith("wrong password", bank.name, "Strict Bank did not accept the user name, the password or the code.")
	b.says("Nothing was connected, and nothing is kept of the attempt.")
	again := b.toBank(bank, "Start again")
	again.find(bank)
	again.password(bank, true)
	again.share(bank)
	b.get("heading", "Strict Bank is connected")
}

func TestABankThatIsDownIsExplained(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	down := &savings{w: w, name: "Pinstripe Bank - down"}
	b := w.person(look{}).enter(w.newBook("Down"), clientEmail)
	b.section("Banks")
	b.in("list", "Countries").click("link", "United States")
	b.fill("searchbox", "Search for your bank", "pinstripe")
	b.in("list", "Banks").click("link", down.name+"…")
	at := b.toBank(down, "Continue")
	at.find(down)
	at.get("alert", "…")
	at.click("button", "Cancel and go back")
	at.closed()
	b.endsWith("bank down", down.name, "does not answer at the moment. That is not your fault; try again later today.")
}

func TestASignInThatTakesTooLongIsExplained(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		bank := w.bank("Slow Bank", checking(row(5, "1", "A")))
		b := w.person(look{}).enter(w.newBook("Expired"), clientEmail)
		if !w.brazilian {
			w.late.Store(-int64(7 * time.Hour)) // so that the bank's link is given out when nobody waits for it any more
			b.choose(w.country(), bank)
			b.click("button", "Continue")
			b.endsWith("expired", bank.name, "The sign-in took too long, and has ended for your safety.")
			return
		}
		at := b.bankWindow(bank)
		at.get("button", "Continue")
		w.late.Store(int64(time.Hour))
		at.click("button", "Continue")
		at.get("alert", "The connect token is invalid or expired")
		at.click("button", "Cancel")
		b.endsWith(w.at("expired"), bank.name, "The sign-in was left before it was finished, or took too long.")
		w.late.Store(0)
		again := b.toBank(bank, "Start again")
		again.find(bank)
		again.password(bank, true)
		b.get("heading", "Slow Bank is connected")
	})
}

func TestWhoeverClosesThePageFindsTheConnectionLater(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		bank := w.bank("Patient Bank", checking(row(5, "1", "A")))
		client := w.person(look{})
		book := w.newBook("Left")
		again := client.enter(book, clientEmail)
		again.section("User Connections")
		again.says("No bank is connected to you yet.")
		b := client.open("about:blank")
		b.before(`{
			const ask = window.fetch;
			window.fetch = (url, options) => String(url).includes("connect/complete") ? new Promise(() => {}) : ask(url, options);
		}`)
		b.goTo("/portal/?book=" + book)
		at := b.bankWindow(bank)
		at.find(bank)
		if w.brazilian { // whose sign-in is a part of the page, which is as good as closed: it never hears what came of it
			at.password(bank, true)
		} else {
			b.close()
			at.password(bank, true)
			at.click("button", "Share the chosen accounts")
			at.get("heading", "Patient Bank is connected") // as no page is left that waits
		}
		wait(t, "the connection is there", func() string {
			again.reload()
			again.get("heading", "User Connections")
			again.gone("main", "Loading…")
			if !slices.Contains(again.names("article"), bank.name) {
				return "it is not"
			}
			return ""
		}, again.window)
	})
}

func TestAClosedWindowCanBeOpenedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bank := w.bank("Closing Bank", checking(row(5, "1", "A")))
	b := w.person(look{}).enter(w.newBook("Closed"), clientEmail)
	at := b.bankWindow(bank)
	at.find(bank)
	at.get("textbox", "Username")
	at.close()
	b.says("The window was closed.")
	b.accessible("window closed")
	b.helps(bank.name)
	again := b.popup(func() { b.click("link", "Open the window again") })
	again.find(bank)
	again.password(bank, true)
	again.click("button", "Share the chosen accounts")
	b.get("heading", "Closing Bank is connected")
	again.closed()
}

func TestABlockedPopUpIsOpenedByALink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bank := w.bank("Blocked Bank", checking(row(5, "1", "A")))
	p := w.person(look{})
	b := p.open("about:blank")
	b.before(`window.open = () => null`)
	b.goTo("/portal/?book=" + w.newBook("Blocked"))
	b.click("link", "Sign in with Google")
	b.signIn(clientEmail)
	b.get("heading", "Banks")
	b.choose("United States", bank)
	b.click("button", "Continue")
	b.says("Your browser has blocked the window.")
	b.accessible("pop-up blocked")
	b.helps(bank.name)
	at := b.popup(func() { b.click("link", "Open the sign-in") })
	at.find(bank)
	at.password(bank, true)
	at.click("button", "Share the chosen accounts")
	b.get("heading", "Blocked Bank is connected")
	at.closed()
}

func TestABankThatIsConnectedAlreadyIsPointedAt(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		bank := w.bank("Twice Bank", checking(row(5, "1", "A")))
		b := w.person(look{}).enter(w.newBook("Twice"), clientEmail)
		b.connect(bank)
		b.choose(w.country(), bank)
		b.says("You have connected Twice Bank already.")
		w.once(b, "already connected, before")
		at := b.toBank(bank, "Continue")
		at.find(bank)
		at.password(bank, true)
		at.share(bank)
		b.endsWith(w.at("already connected"), bank.name, "You have connected Twice Bank already. Reconnect that connection instead: its integrations stay.")
		b.click("button", "See that connection")
		b.get("heading", "User Connections")
		b.get("article", bank.name)
	})
}

func TestReconnectingAtAnotherBankIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bank, other := w.bank("First Bank", checking(row(5, "1", "A"))), w.bank("Second Bank", checking(row(5, "1", "A")))
	b := w.person(look{}).enter(w.newBook("Other"), clientEmail)
	b.connect(bank)
	b.click("button", "Disconnect")
	b.in("dialog", "Disconnect First Bank?").click("button", "Disconnect")
	b.says("Disconnected: nothing is read from the bank or recorded any more.")
	at := b.toBank(other, "Reconnect")
	at.find(other)
	at.password(other, true)
	at.share(other)
	b.endsWith("another bank", bank.name, "This is another bank than the one to be reconnected.")
	b.click("button", "Back")
	b.get("heading", "User Connections")
	b.says("Nothing is read from First Bank.")
}

func TestABankThatBreaksWhileItIsListedCanBeAskedAgain(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		b := w.person(look{}).enter(w.newBook("Broken"), clientEmail)
		w.plaid.AddFault(provider.Fault{Path: "/institutions/get", Kind: provider.FaultError})
		w.pluggy.AddFault(provider.Fault{Path: "/connectors", Kind: provider.FaultError})
		b.in("list", "Countries").click("link", w.country())
		b.get("alert", "…")
		b.get("link", "Contact us")
		w.once(b, "no banks")
		w.plaid.ClearFaults()
		w.pluggy.ClearFaults()
		b.click("button", "Try again")
		b.get("list", "Banks")
	})
}

func TestWhoMayNotChangeTheBookIsTold(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		bank := w.bank("Viewing Bank", checking(row(5, "1", "A")))
		gbp := "Books in GBP" // in which the client only views
		b := w.person(look{}).open("/portal/")
		b.click("link", "Sign in with Google")
		b.signIn(clientEmail)
		b.get("heading", "Which Book?")
		w.once(b, "which Book")
		b.in("list", "Which Book?").click("link", gbp+"…")
		b.get("heading", "Banks")
		b.connect(bank)
		b.says("It is offered to Books in GBP. An editor of the Book links its accounts now; you need do nothing more.")
		b.says("An editor of the Book can link it")
		if slices.ContainsFunc(b.names("button"), func(name string) bool { return strings.HasPrefix(name, "Link Account") }) {
			t.Error("who only views is offered to link")
		}
	})
}

func TestASignInThatIsRefusedAtGoogleIsExplained(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.person(look{}).open("/portal/")
	b.click("link", "Sign in with Google")
	b.click("button", "Cancel")
	b.says("Nobody was signed in, because the permission was refused at Google.")
	b.accessible("refused at Google")
	b.click("link", "Sign in with Google")
	b.signIn(clientEmail)
	b.get("heading", "Which Book?")
	b.click("link", "Sign out")
	b.get("heading", "Automations for your Books")
}

func TestFailuresInTheWidgetAreExplained(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bank := w.brazil("Banco Rigoroso", checking(row(5, "1", "A")))
	b := w.person(look{}).enter(w.newBookIn("BRL", "Widget"), clientEmail)
	at := b.bankWindow(bank)
	at.click("button", "Cancel")
	b.endsWith("Brazil left", bank.name, "The sign-in was left before it was finished, or took too long.")

	b.click("button", "Start again")
	at.find(bank)
	at.password(bank, false)
	at.get("alert", "…")
	at.click("button", "Cancel")
	b.endsWith("Brazil wrong password", bank.name, bank.name+" did not accept the user name, the password or the code.")

	b.click("button", "Start again")
	at.find(bank)
	at.password(bank, true)
	b.get("heading", bank.name+" is connected")
}

func TestABankThatIsDownIsExplainedBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bank := w.brazil("Banco Fora do Ar", checking(row(5, "1", "A")))
	w.must(w.pluggy.Do(func(p *pluggy.Bank) error { return p.SetHealth(bank.connector, pluggy.Offline) }))
	b := w.person(look{}).enter(w.newBookIn("BRL", "Down"), clientEmail)
	b.section("Banks")
	b.in("list", "Countries").click("link", "Brazil")
	b.fill("searchbox", "Search for your bank", "fora")
	b.in("list", "Banks").click("link", bank.name+"…")
	b.says("does not answer at the moment. You can try, but it is likely to fail")
	b.accessible("Brazil bank down, before")
	at := b.toBank(bank, "Continue")
	at.find(bank)
	at.password(bank, true)
	at.get("alert", "…")
	at.click("button", "Cancel")
	b.endsWith("Brazil bank down", bank.name, "does not answer at the moment. That is not your fault; try again later today.")
}

func TestAWidgetThatIsBlockedIsExplained(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(env map[string]string) { env["PLUGGY_WIDGET_URL"] += ".gone" })
	bank := w.brazil("Banco Calado", checking(row(5, "1", "A")))
	b := w.person(look{}).enter(w.newBookIn("BRL", "Blocked"), clientEmail)
	b.choose("Brazil", bank)
	b.click("button", "Continue")
	b.endsWith("Brazil widget blocked", bank.name, "The sign-in could not be shown. Look whether something in your browser blocks it, then start again.")
}
