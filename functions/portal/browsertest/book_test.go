package browsertest

import (
	"testing"

	"github.com/chromedp/chromedp"
)

func TestTheBookIsOneClickAwayFromWhatFeedsIt(t *testing.T) {
	w := newWorld(t)
	book := w.newBook("Near")
	bank := w.bank("Near Bank", checking(row(5, "4.50", "COFFEE")))
	b := w.person(look{}).enter(book, clientEmail)
	b.get("link", "Open Near in a new window")
	b.connect(bank)
	b.saysNot("See the drafts in Near")
	b.link(linking{account: "Everyday ••0001", to: "Bank Account"})
	b.get("link", "See the drafts in Near")
	w.holds(book, "COFFEE")
	b.section("Book Integrations")
	shown := b.popup(func() { b.click("link", "See the drafts in Near") })
	shown.get("button", "Post COFFEE")
}

func TestNothingLiesOverAnythingBeforeTheSignInOnAPhone(t *testing.T) {
	w := newWorld(t)
	b := w.person(look{phone: true}).open("/portal/")
	b.get("heading", "Automations for your Books")
	below, err := chromedp.Run(b.soon(), chromedp.Evaluate[bool](
		`document.querySelector(".brand").getBoundingClientRect().bottom <= document.querySelector("h1").getBoundingClientRect().top`))
	b.try("measure", err)
	if !below {
		t.Error("the name lies over the heading")
	}
}
