package browsertest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/sandbox/bkper"
)

// keep makes drafts in a Book, as the poster does.
func (w *world) keep(book string, texts ...string) {
	w.t.Helper()
	var drafts []bkper.Transaction
	for _, text := range texts {
		drafts = append(drafts, bkper.Transaction{
			Date: day(1), Amount: new("12.50"), Description: text, CreditAccount: &bkper.Account{Name: "Bank Account"}, Draft: new(true),
		})
	}
	_, err := w.books.CreateBatch(bkper.Caller{Email: clientEmail}, book, drafts)
	w.must(err)
}

func TestTheSandboxsBookIsKeptByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	book := w.newBook("Kept by hand")
	b := w.person(look{}).open("/sandbox/bkper/book/")
	b.click("link", "Kept by hand")
	b.says("No transaction is here.")
	w.keep(book, "COFFEE", "RENT")
	b.get("link", "Edit COFFEE") // by itself
	b.says("2 drafts, 0 posted, 0 checked, 0 in the trash")
	b.accessible("sandbox book")

	b.fill("combobox", "To, COFFEE", "Groceries")
	b.click("button", "Save To, COFFEE")
	b.click("button", "Post COFFEE")
	b.says("1 draft, 1 posted")
	b.click("button", "Check COFFEE")
	b.get("button", "Uncheck COFFEE")

	b.click("link", "Edit RENT")
	b.get("heading", "Edit RENT")
	b.accessible("sandbox transaction")
	b.fill("textbox", "Amount", "900")
	b.fill("textbox", "Description", "RENT OF MAY")
	b.click("button", "Save")
	b.click("button", "Trash RENT OF MAY")
	b.gone("link", "Edit RENT OF MAY")
	b.click("link", "Trash")
	b.click("button", "Restore RENT OF MAY")
	b.says("1 draft, 0 posted, 1 checked, 0 in the trash")
	if diff := cmp.Diff([]string{"COFFEE", "RENT OF MAY"}, w.texts(book)); diff != "" {
		t.Errorf("the Book (-want +got):\n%s", diff)
	}
}

func TestTheSandboxsBookIsUsableInTheDarkOnAPhone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	book := w.newBook("In the dark")
	w.keep(book, "COFFEE")
	b := w.person(look{dark: true, phone: true}).open("/sandbox/bkper/book/" + book)
	b.get("link", "Edit COFFEE")
	b.accessible("sandbox book dark phone")
	b.set("Date", "Locked up to and on", day(0))
	b.click("button", "Save period")
	b.click("button", "Trash COFFEE")
	b.get("alert", "")
	b.says("locked until")
	b.accessible("sandbox refusal")
	b.click("link", "Back")
	b.get("link", "Edit COFFEE")
}
