package browsertest

import (
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
)

// place is where a story happens: its banks, its Books and how they write.
type place struct {
	*world
	brazilian bool
}

// everywhere tells a story at the banks of each provider.
func everywhere(t *testing.T, story func(t *testing.T, w place)) {
	t.Helper()
	for name, brazilian := range map[string]bool{"United States": false, "Brazil": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, place{newWorld(t), brazilian})
		})
	}
}

func (w place) bank(name string, holdings ...plaid.Holding) *savings {
	w.t.Helper()
	if w.brazilian {
		return w.brazil(name, holdings...)
	}
	return w.world.bank(name, holdings...)
}

func (w place) newBook(name string) string {
	w.t.Helper()
	if w.brazilian {
		return w.newBookIn("BRL", name)
	}
	return w.world.newBook(name)
}

// linked is the client's page once a bank is connected and its account linked; the transaction of that account, BEFORE, stands
// in the Book.
func (w place) linked(bookName, bankName string) (b screen, book string, bank *savings) {
	w.t.Helper()
	book, bank = w.newBook(bookName), w.bank(bankName, checking(row(5, "1", "BEFORE")))
	b = w.person(look{}).enter(book, clientEmail)
	b.connect(bank)
	b.link(linking{account: "Everyday ••0001", to: "Bank Account"})
	w.holds(book, "BEFORE")
	return b, book, bank
}

// at is the name of a picture.
func (w place) at(screen string) string {
	if w.brazilian {
		return "Brazil " + screen
	}
	return screen
}

// once looks at a screen that is the same wherever the banks are.
func (w place) once(b screen, name string) {
	w.t.Helper()
	if !w.brazilian {
		b.accessible(name)
	}
}

// history is how many days its banks give at most.
func (w place) history() int {
	if w.brazilian {
		return 365
	}
	return 730
}

func (w place) country() string {
	if w.brazilian {
		return "Brazil"
	}
	return "United States"
}

func TestAPersonConnectsABankLinksAnAccountAndSeesTheDrafts(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		book := w.newBook("Our Book")
		bank := w.bank("Story Bank", checking(row(5, "4.50", "COFFEE"), row(40, "900", "RENT"), row(200, "7", "OLD")), card())
		client := w.person(look{})
		b := client.open("/portal/?book=" + book)
		b.get("heading", "Automations for your Books")
		w.once(b, "door")
		b.click("link", "Sign in with Google")
		b.signIn(clientEmail)
		b.get("heading", "Banks")
		b.in("list", "Countries").get("link", w.country())
		w.once(b, "map")
		b.in("list", "Countries").click("link", w.country())
		b.fill("searchbox", "Search for your bank", "story")
		b.in("list", "Banks").get("link", bank.name)
		w.once(b, "banks")
		b.in("list", "Banks").click("link", bank.name)
		b.get("heading", "Connect Story Bank")
		b.accessible(w.at("privacy"))
		at := b.toBank(bank, "Continue")
		if !w.brazilian {
			b.get("heading", "Sign in at Story Bank")
			b.accessible(w.at("bank open"))
		}
		at.find(bank)
		at.get("textbox", map[bool]string{true: "Usuário", false: "Username"}[w.brazilian])
		at.accessible(w.at("sandbox bank"))
		at.password(bank, true)
		at.share(bank)
		b.get("heading", "Story Bank is connected")
		b.get("button", "Link Account: Card ••0002")
		b.accessible(w.at("connected"))
		b.click("button", "Link Account: Everyday ••0001")
		dialog := b.in("dialog", "Link Account: Everyday ••0001")
		b.accessible(w.at("link"))
		dialog.save(linking{to: "Bank Account"}, "Save")
		b.gone("dialog", "Link Account: Everyday ••0001")
		b.get("link", "Linked to Bank Account")
		w.holds(book, "COFFEE", "RENT")
		b.says("2 transactions recorded")
		b.accessible(w.at("linked"))
		bank.add(row(0, "3", "LUNCH"))
		w.holds(book, "COFFEE", "LUNCH", "RENT")
		shown := client.open("/sandbox/bkper/book/" + book)
		shown.get("button", "Post LUNCH")
	})
}

func TestEachPeriodRecordsWhatLiesInIt(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		book := w.newBook("Periods")
		ages := []int{0, 20, 60, 200, 350, 700}
		var rows []plaid.Row
		for _, age := range ages {
			rows = append(rows, row(age, "1", "OF "+day(age)))
		}
		bank := w.bank("Period Bank", checking(rows...))
		b := w.person(look{}).enter(book, clientEmail)
		b.connect(bank)
		now := time.Now().UTC()
		from := now
		for i, period := range []struct {
			name string
			from time.Time
		}{
			{"From today", now},
			{"Of the last 30 days", now.AddDate(0, 0, -30)},
			{"Of the last 90 days", now.AddDate(0, 0, -90)},
			{"Of this year", time.Date(now.Year(), 1, 1, 0, 0, 0, 0, time.UTC)},
			{"Of the last 12 months", now.AddDate(-1, 0, 0)},
			{"Of the last 24 months", now.AddDate(-2, 0, 0)},
		} {
			if i == 0 {
				b.link(linking{account: "Everyday ••0001", to: "Bank Account", period: period.name})
				b.section("Book Integrations")
			} else {
				b.click("button", "Configure")
				b.in("dialog", "Configure Everyday ••0001").save(linking{period: period.name}, "Save Configuration")
				b.gone("dialog", "Configure Everyday ••0001")
			}
			if period.from.Before(from) {
				from = period.from // a shorter one takes nothing away
			}
			var want []string
			for _, age := range ages {
				if day(age) >= from.Format(time.DateOnly) && age <= w.history() {
					want = append(want, "OF "+day(age))
				}
			}
			slices.Sort(want)
			w.holds(book, want...)
		}
		b.click("button", "Configure")
		dialog := b.in("dialog", "Configure Everyday ••0001")
		dialog.set("combobox", "Record transactions", "From a date")
		dialog.set("Date", "From", "2001-02-03")
		dialog.says("Period Bank gives transactions from " + now.AddDate(0, 0, -w.history()).Format("Jan 2, 2006") + " on, at the earliest; some banks give less.")
		dialog.says("download a statement at the bank and import the file")
		b.accessible(w.at("beyond the bank's history"))
		dialog.click("button", "Save Configuration")
		b.gone("dialog", "Configure Everyday ••0001")
		b.says("Feb 3, 2001")
	})
}

func TestAnAccountIsFoundByTypingOrCreated(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		book := w.newBook("Accounts")
		bank := w.bank("Creating Bank", checking(), card(row(3, "30", "SHOES")))
		b := w.person(look{}).enter(book, clientEmail)
		b.connect(bank)
		b.click("button", "Link Account: Card ••0002")
		dialog := b.in("dialog", "Link Account: Card ••0002")
		if proposed := dialog.get("combobox", "Account in Accounts").value; proposed != "Creating Bank Card" {
			t.Errorf("it proposes %q", proposed)
		}
		dialog.says("It will be created, of the type Liability.")
		dialog.fill("combobox", "Account in Accounts", "bänk ac")
		if found := dialog.in("listbox", "Options").names("option"); !slices.Equal(found, []string{"Bank Account Asset", "Create “bänk ac” Liability"}) {
			t.Errorf("typing finds %q", found)
		}
		dialog.fill("combobox", "Account in Accounts", "groceries")
		if found := dialog.in("listbox", "Options").names("option"); !slices.Equal(found, []string{"Create “groceries” Liability"}) {
			t.Errorf("an Account that no bank account can feed is offered: %q", found)
		}
		dialog.save(linking{to: "Visa of the firm"}, "Save")
		b.gone("dialog", "Link Account: Card ••0002")
		b.get("link", "Linked to Visa of the firm")
		w.holds(book, "SHOES")
		made, err := w.books.Account(bkper.Caller{Email: clientEmail}, book, "Visa of the firm")
		w.must(err)
		if made.Type != bkper.Liability {
			t.Errorf("the Account is of the type %s", made.Type)
		}
	})
}

func TestAClientConnectsAndABookkeeperLinks(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		book := w.newBook("Shared")
		bank := w.bank("Shared Bank", checking(row(5, "4.50", "COFFEE")), card())
		client, bookkeeper := w.person(look{}), w.person(look{})
		theirs := bookkeeper.enter(book, bookkeeperEmail)
		mine := client.enter(book, clientEmail)
		theirs.section("Book Integrations")
		theirs.says("Nothing is configured on this Book yet.")
		mine.connect(bank)
		theirs.reload()
		offered := theirs.in("article", "Shared Bank")
		theirs.accessible(w.at("offered"))
		for _, private := range []string{"Reconnect", "Disconnect", "Add accounts"} {
			if slices.Contains(theirs.names("button"), private) {
				t.Errorf("the bookkeeper is offered to %s", private)
			}
		}
		offered.says("Everyday ••0001")
		theirs.saysNot(clientEmail)
		offered.click("button", "Link Account: Everyday ••0001")
		theirs.in("dialog", "Link Account: Everyday ••0001").says("Recorded as " + bookkeeperEmail)
		theirs.in("dialog", "Link Account: Everyday ••0001").save(linking{to: "Bank Account"}, "Save")
		w.holds(book, "COFFEE")
		theirs.get("article", "Everyday ••0001 to Bank Account")
		theirs.accessible(w.at("integrations of a bookkeeper"))
		theirs.section("User Connections")
		theirs.says("No bank is connected to you yet.")

		mine.section("Book Integrations")
		mine.get("article", "Everyday ••0001 to Bank Account")
		mine.says(bookkeeperEmail)
		mine.section("User Connections")
		mine.click("button", "Stop offering it to Shared")
		stop := mine.in("dialog", "Stop offering it to Shared?")
		stop.says("Everyday ••0001 → Bank Account in Shared")
		w.once(mine, "stop offering")
		stop.click("button", "Stop offering")
		mine.gone("dialog", "Stop offering it to Shared?")
		mine.says("None: only you can link its accounts.")
		theirs.section("Book Integrations")
		theirs.reload()
		theirs.says("Nothing is configured on this Book yet.")
		bank.add(row(0, "1", "AFTERWARDS"))
		mine.set("combobox", "Offer it to another Book", "Shared")
		mine.says("Offered: the editors of Shared can link its accounts now.")
		w.holds(book, "COFFEE")
	})
}

func TestDisconnectNamesWhatStopsAndReconnectGoesOn(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		b, book, bank := w.linked("Ending", "Ending Bank")
		b.click("link", "All User Connections")
		b.get("button", "Disconnect")
		b.accessible(w.at("connections"))
		b.click("button", "Disconnect")
		dialog := b.in("dialog", "Disconnect Ending Bank?")
		dialog.says("Everyday ••0001 → Bank Account in Ending")
		w.once(b, "disconnect")
		dialog.click("button", "Cancel")
		b.gone("dialog", "Disconnect Ending Bank?")
		b.click("button", "Disconnect")
		b.in("dialog", "Disconnect Ending Bank?").click("button", "Disconnect")
		b.says("Disconnected: nothing is read from the bank or recorded any more.")
		b.gone("button", "Disconnect")
		b.accessible(w.at("disconnected"))
		bank.add(row(0, "2", "MEANWHILE"))
		at := b.toBank(bank, "Reconnect")
		at.find(bank)
		at.password(bank, true)
		at.share(bank)
		b.get("heading", "Ending Bank is connected again")
		b.accessible(w.at("connected again"))
		w.holds(book, "BEFORE", "MEANWHILE")
	})
}

func TestABankThatAsksForItsUserIsRepaired(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		b, book, bank := w.linked("Repaired", "Asking Bank")
		bank.ask()
		bank.add(row(0, "2", "MEANWHILE"))
		b.section("User Connections")
		wait(t, "the page says that the bank needs its user", func() string {
			b.reload()
			b.get("heading", "User Connections")
			text, err := b.in("article", bank.name).text()
			b.try("read", err)
			if !slices.Contains(b.names("link"), "Contact us") {
				return text
			}
			return ""
		}, b.window)
		b.says("Needs you")
		b.says(map[bool]string{
			true:  "Asking Bank no longer accepts the user name or the password. Reconnect with those that work on its own website or app; nothing is lost meanwhile.",
			false: "Asking Bank asks you to sign in again. Reconnect to go on; nothing is lost meanwhile.",
		}[w.brazilian])
		b.accessible(w.at("needs you"))
		b.section("Book Integrations")
		b.says("Needs its owner")
		b.section("User Connections")
		at := b.toBank(bank, "Reconnect")
		if w.brazilian {
			at.find(bank)
			at.password(bank, true)
		} else { // whose page knows the bank already
			at.password(bank, true)
			at.closed()
		}
		b.get("heading", "Asking Bank is connected again")
		w.holds(book, "BEFORE", "MEANWHILE")
	})
}

func TestAnIntegrationIsPausedResumedRemovedAndLinkedAgain(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		b, book, bank := w.linked("Paused", "Pausing Bank")
		b.click("link", "Linked to Bank Account")
		b.get("heading", "Book Integrations")
		b.says("Live")
		b.accessible(w.at("integrations"))
		b.click("button", "Pause")
		b.says("Paused. Nothing more is recorded until it is resumed.")
		w.once(b, "paused")
		bank.add(row(0, "2", "MEANWHILE"))
		b.click("button", "Resume")
		w.holds(book, "BEFORE", "MEANWHILE")
		b.says("Live")
		b.click("button", "Remove")
		dialog := b.in("dialog", "Remove Everyday ••0001?")
		dialog.says("will no longer be recorded to Bank Account in Paused.")
		w.once(b, "remove")
		dialog.click("button", "Remove")
		b.gone("article", "Everyday ••0001 to Bank Account")
		b.says("Removed Everyday ••0001: nothing more is recorded. What was recorded stays.")
		bank.add(row(0, "3", "LATER"))
		b.section("User Connections")
		b.says("Connected")
		w.holds(book, "BEFORE", "MEANWHILE")
		b.link(linking{account: "Everyday ••0001", to: "Bank Account"})
		w.holds(book, "BEFORE", "LATER", "MEANWHILE")
	})
}

func TestWhatDiffersFromTheBankIsShown(t *testing.T) {
	everywhere(t, func(t *testing.T, w place) {
		book := w.newBook("Differing")
		bank := w.bank("Differing Bank", checking())
		ids := bank.add(row(5, "1", "POSTED"))
		client := w.person(look{})
		b := client.enter(book, clientEmail)
		b.connect(bank)
		b.link(linking{account: "Everyday ••0001", to: "Bank Account"})
		w.holds(book, "POSTED")
		kept := client.open("/sandbox/bkper/book/" + book)
		kept.fill("combobox", "To, POSTED", "Groceries")
		kept.click("button", "Save To, POSTED")
		kept.click("button", "Post POSTED")
		kept.get("button", "Check POSTED")
		bank.amend(ids[0], decimal.New(12, 0))
		b.section("Book Integrations")
		wait(t, "the page counts what differs", func() string {
			b.reload()
			b.get("article", "Everyday ••0001 to Bank Account")
			b.get("button", "Remove")
			text, err := b.text()
			b.try("read", err)
			if !slices.ContainsFunc(b.names("DisclosureTriangle"), func(n string) bool { return n == "Transactions to look at" }) {
				return text
			}
			return ""
		}, b.window)
		b.click("DisclosureTriangle", "Transactions to look at")
		b.says("Changed at the bank")
		b.says(map[bool]string{true: "-R$12.00", false: "-$12.00"}[w.brazilian])
		b.accessible(w.at("transactions to look at"))
		record := b.popup(func() { b.click("link", "Open its record of …") })
		record.get("heading", "Edit POSTED")
	})
}
