package browsertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/store"
)

func TestWhatWasTrashedIsImportedAgainWhenAPersonAsks(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		book := w.newBook("Trashing")
		bank := w.bank("Trashing Bank", checking(row(5, "1", "KEPT"), row(4, "2", "TRASHED")))
		client := w.person(look{})
		b := client.enter(book, clientEmail)
		b.connect(bank)
		b.link(linking{account: "Everyday ••0001", to: "Bank Account"})
		w.holds(book, "KEPT", "TRASHED")
		kept := client.open("/sandbox/bkper/book/" + book)
		kept.click("button", "Trash TRASHED")
		w.holds(book, "KEPT")
		kept.close()
		b.section("Book Integrations")
		b.click("button", "Import trashed again")
		dialog := b.in("dialog", "Import again what was trashed?")
		w.once(b, "import trashed again")
		dialog.click("button", "Import again")
		b.gone("dialog", "Import again what was trashed?")
		b.says("What was trashed is on its way back.")
		w.holds(book, "KEPT", "TRASHED")
	})
}

func TestWhatIsNotRecordedIsShownWithTheReason(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		book := w.newBook("Locked")
		bank := w.bank("Late Bank", checking(row(5, "12.50", "LOCKED"), row(0, "2", "OPEN")))
		hand, err := w.books.Hand(book)
		w.must(err)
		_, err = hand.Lock(day(3))
		w.must(err)
		b := w.person(look{}).enter(book, clientEmail)
		b.connect(bank)
		b.link(linking{account: "Everyday ••0001", to: "Bank Account"})
		w.holds(book, "OPEN")
		b.section("Book Integrations")
		b.says("Live")
		b.click("DisclosureTriangle", "Transactions to look at")
		b.says("In the locked period")
		b.says(map[bool]string{true: "-R$12.50", false: "-$12.50"}[w.brazilian])
		b.accessible(w.at("not recorded"))
	})
}

func TestPendingTransactionsAreRecordedWhereThatIsAsked(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		book := w.newBook("Pending")
		bank := w.bank("Pending Bank", card(row(5, "1", "SETTLED")))
		waiting := row(1, "20", "DINNER")
		waiting.Pending = true
		ids := bank.add(waiting)
		b := w.person(look{}).enter(book, clientEmail)
		b.connect(bank)
		b.link(linking{account: "Card ••0002", to: "Card"})
		w.holds(book, "SETTLED")
		b.section("Book Integrations")
		b.click("button", "Configure")
		b.in("dialog", "Configure Card ••0002").save(linking{pending: true}, "Save Configuration")
		b.gone("dialog", "Configure Card ••0002")
		w.holds(book, "DINNER", "SETTLED")
		bank.settle(ids[0], decimal.New(24, 0))
		wait(t, "the same draft has the final amount", func() string {
			hand, err := w.books.Hand(book)
			w.must(err)
			all, err := hand.All()
			w.must(err)
			var dinners []string
			for _, t := range all {
				if t.Description == "DINNER" && !bkper.True(t.Trashed) {
					dinners = append(dinners, decimal.RequireFromString(*t.Amount).String())
				}
			}
			if !slices.Equal(dinners, []string{"24"}) {
				return fmt.Sprint(dinners)
			}
			return ""
		}, b.window)
	})
}

func TestABankThatCannotBeReadForLongIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, _, bank := place{world: w}.linked("Silent", "Silent Bank")
	b.says("1 transaction recorded, the last now")
	w.engines(func(e *posting.Engine) { e.Failures = 3 })
	b.section("User Connections")
	b.reload()
	b.says("Bank unavailable")
	b.says("Silent Bank cannot be reached at the moment. It is tried again by itself; nothing is lost meanwhile.")
	b.helps(bank.name)
	b.accessible("bank unavailable")
	b.section("Book Integrations")
	b.says("Bank unavailable")
}

// rainyDays is an account that somebody opens later.
func rainyDays() plaid.Holding {
	return plaid.Holding{
		Name: "Rainy Days", Mask: "0009", Type: "depository", Subtype: "savings", Currency: "USD", Current: decimal.New(5, 0),
		Rows: []plaid.Row{row(2, "3", "RAIN")},
	}
}

func TestANewlyOpenedAccountIsAddedToItsConnection(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		b, book, bank := w.linked("Growing", "Growing Bank")
		bank.open(rainyDays())
		if !w.brazilian { // whose provider tells of accounts only once they are shared
			b.says("Growing Bank has accounts that you have not shared yet.")
		}
		at := b.toBank(bank, "Add accounts")
		if w.brazilian {
			at.find(bank)
			at.password(bank, true)
		} else {
			at.password(bank, true)
			at.check("checkbox", "Rainy Days …", true)
			at.share(bank)
		}
		b.get("heading", "Growing Bank is connected again")
		b.link(linking{account: "Rainy Days ••0009", to: "Bank Account"})
		w.holds(book, "BEFORE", "RAIN")
		all, err := store.Connections.Find(t.Context(), w.documents(), store.Query{})
		w.must(err)
		if len(all) != 1 || all[0].NewAccounts {
			t.Errorf("the owner is still told of accounts that were not shared: %+v", all)
		}
	})
}

func TestWhereAccountsCannotBeAddedTheOtherWayIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	book := w.newBook("London")
	bank := w.bank("London Bank", checking(row(5, "1", "BEFORE")))
	b := w.person(look{}).enter(book, clientEmail)
	b.choose("United Kingdom", bank)
	at := b.toBank(bank, "Continue")
	at.find(bank)
	at.password(bank, true)
	at.share(bank)
	b.get("heading", "London Bank is connected")
	b.link(linking{account: "Everyday ••0001", to: "Bank Account"})
	w.holds(book, "BEFORE")
	bank.open(rainyDays())
	b.says("London Bank has accounts that you have not shared yet. To share them, disconnect and reconnect: the integrations are kept.")
	b.gone("button", "Add accounts")
	b.accessible("accounts that cannot be added")
	b.click("button", "Disconnect")
	b.in("dialog", "Disconnect London Bank?").click("button", "Disconnect")
	b.says("Disconnected: nothing is read from the bank or recorded any more.")
	at = b.toBank(bank, "Reconnect")
	at.find(bank)
	at.password(bank, true)
	at.share(bank)
	b.get("heading", "London Bank is connected again")
	b.link(linking{account: "Rainy Days ••0009", to: "Bank Account"})
	w.holds(book, "BEFORE", "RAIN")
	b.saysNot("that you have not shared yet")
}

func TestAConsentThatEndsSoonSaysWhen(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		b, _, bank := w.linked("Expiring", "Ending Soon Bank")
		b.says("1 transaction recorded, the last now")
		bank.expire(time.Now().Add(3 * 24 * time.Hour))
		if w.brazilian { // whose provider says nothing of it by itself; it is asked daily, and by Sync now
			w.rested()
			b.reload()
			b.click("button", "Sync now")
		}
		b.says("Expires in 3 days")
		b.says("Your consent at Ending Soon Bank ends soon.")
		b.accessible(w.at("expiring"))
	})
}

func TestTheBankOfAConnectionIsKnownByItsLogo(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		book := w.newBook("Logos")
		bank := w.bank("Logo Bank", checking(row(5, "1", "A")))
		b := w.person(look{}).enter(book, clientEmail)
		b.connect(bank)
		b.shows("logo", bank.name)
		b.link(linking{account: "Everyday ••0001", to: "Bank Account"})
		b.section("Book Integrations")
		b.shows("logo", "Everyday ••0001 to Bank Account")
		b.reload()
		b.shows("logo", "Everyday ••0001 to Bank Account")
	})
}

// shows waits until a picture of a class shows in an article.
func (b screen) shows(class, article string) {
	b.t.Helper()
	wait(b.t, "a picture shows in "+article, func() string {
		found, err := b.all("article", article)
		if err != nil || len(found) != 1 {
			return fmt.Sprintf("there are %d such articles (%v)", len(found), err)
		}
		there, err := on[bool](b.window, found[0].node, `function(name) { const i = this.querySelector("img." + name); return !!i && i.complete && i.naturalWidth > 0; }`, class)
		if err != nil {
			return err.Error()
		}
		if !there {
			return "it has none"
		}
		return ""
	}, b.window)
}

func TestAnAddressOfABankCanBeOpenedByItself(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		bank := w.bank("Bookmarked Bank", checking(row(5, "1", "A")))
		b := w.person(look{}).enter(w.newBook("Bookmarks"), clientEmail)
		b.choose(w.country(), bank)
		b.reload()
		b.get("heading", "Connect Bookmarked Bank")
		at := b.toBank(bank, "Continue")
		at.find(bank)
		at.password(bank, true)
		at.share(bank)
		b.get("heading", "Bookmarked Bank is connected")
		b.goTo(b.address()[:strings.Index(b.address(), "#")] + "#/banks/US/nobody/ins_0")
		b.says("That is not there any more")
		b.click("link", "Banks – United States")
	})
}

func TestABankThatComesUnderAnotherNameIsAskedWhichOneItIs(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		book := w.newBook("Moved")
		before, after := w.bank("Old Name Bank", checking(row(5, "1", "BEFORE"))), w.bank("New Name Bank", checking(row(5, "1", "BEFORE"), row(1, "2", "LATER")))
		b := w.person(look{}).enter(book, clientEmail)
		b.connect(before)
		b.link(linking{account: "Everyday ••0001", to: "Bank Account"})
		w.holds(book, "BEFORE")
		b.click("button", "Disconnect")
		b.in("dialog", "Disconnect Old Name Bank?").click("button", "Disconnect")
		b.says("Disconnected: nothing is read from the bank or recorded any more.")
		b.connect(after)
		b.click("button", "Link Account: Everyday ••0001")
		dialog := b.in("dialog", "Link Account: Everyday ••0001")
		dialog.save(linking{to: "Bank Account"}, "Save")
		dialog.says("The Book may hold transactions of this bank account already.")
		b.accessible(w.at("which account"))
		dialog.check("radio", "Old Name Bank: Everyday ••0001, which fed Bank Account …", true)
		dialog.click("button", "Save")
		b.gone("dialog", "Link Account: Everyday ••0001")
		w.holds(book, "BEFORE", "LATER")
	})
}
