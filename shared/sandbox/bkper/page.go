package bkper

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/shopspring/decimal"
)

// A page for people and browser tests: the Books, and one Book with its Accounts and transactions, to be changed by plain
// forms. Its script only shows what came in meanwhile. Links are relative, because the server does not know its prefix.

const pageLimit = 200

//go:embed page
var pageFiles embed.FS

var pages = template.Must(template.ParseFS(pageFiles, "page/*.html"))

func (v *Server) pageRoutes() {
	// Without it, any page that the developer opens could post forms into the Books.
	ownPages := http.NewCrossOriginProtection()
	form := func(pattern string, do http.HandlerFunc) { v.mux.Handle("POST "+pattern, ownPages.Handler(do)) }
	v.mux.HandleFunc("GET /book/{$}", v.booksPage)
	v.mux.HandleFunc("GET /book/{book}", v.bookPage)
	// As in Bkper's own page, where a Book opens at its transactions.
	v.mux.HandleFunc("GET /book/{book}/transactions", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "../"+url.PathEscape(r.PathValue("book")))
		w.WriteHeader(http.StatusSeeOther)
	})
	v.mux.HandleFunc("GET /book/{book}/transactions/{id}", v.transactionPage)
	form("/book/{book}/transactions/{id}", v.transactionForm)
	form("/book/{book}/period", v.periodForm)
	for _, name := range []string{"book.css", "book.js"} {
		v.mux.HandleFunc("GET /book/"+name, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, pageFiles, "page/"+name)
		})
	}
}

// head is what every page begins with. Root is the way to the folder of its style and script.
type head struct{ Title, Root string }

type booksView struct {
	head
	Books []Book
}

func (v *Server) booksPage(w http.ResponseWriter, r *http.Request) {
	show(w, r, http.StatusOK, "books", booksView{head{"Books", ""}, v.s.AllBooks()})
}

type bookView struct {
	head
	Book     Book
	Counts   string
	Accounts []pageAccount
	Views    []pageFilter
	Query    string
	View     template.URL // query of the page shown
	Next     template.URL // query of the next page; empty on the last
	Rows     []pageRow
}

type pageAccount struct {
	Account
	Kind, Shown string
	Gone        bool
}

// accountOf shows a balance as Bkper's own pages do: what is normal for the type is positive.
func accountOf(a Account) pageAccount {
	v := pageAccount{Account: a, Kind: strings.ToLower(string(a.Type)), Shown: a.Balance, Gone: True(a.Archived)}
	if d, err := decimal.NewFromString(a.Balance); err == nil && !True(a.Credit) && !d.IsZero() {
		v.Shown = d.Neg().StringFixed(-d.Exponent())
	}
	return v
}

// pageFilter is a choice of transactions that a link offers.
type pageFilter struct {
	Name    string
	Link    template.URL
	Current bool
}

var pageFilters = []struct{ name, query string }{
	{"All", ""}, {"Drafts", "is:draft"}, {"Posted", "is:posted"}, {"Checked", "is:checked"}, {"Trash", "is:trashed"},
}

func filtersFor(query string) (all []pageFilter) {
	for _, f := range pageFilters {
		all = append(all, pageFilter{f.name, template.URL(url.Values{"query": {f.query}}.Encode()), f.query == query})
	}
	return all
}

type pageRow struct {
	Transaction
	State, Sum, By string
	Credit, Debit  pageSide
	Edits          bool
	Actions        []pageAction
}

// pageSide is one side of a transaction. A draft's missing one is a form.
type pageSide struct {
	Name, Side, ID, Label string
	Action                template.URL
	Missing               bool
}

type pageAction struct{ Do, Name string }

func rowOf(t Transaction) pageRow {
	r := pageRow{Transaction: t, By: "by " + t.CreatedBy}
	if through := cmp.Or(t.AgentName, t.AgentID); through != "" {
		r.By += " through " + through
	}
	if t.Amount != nil {
		r.Sum = *t.Amount
	}
	post, check, trash := pageAction{"post", "Post"}, pageAction{"check", "Check"}, pageAction{"trash", "Trash"}
	switch {
	case True(t.Trashed):
		r.State, r.Actions = "trashed", []pageAction{{"untrash", "Restore"}}
	case True(t.Checked):
		r.State, r.Actions = "checked", []pageAction{{"uncheck", "Uncheck"}}
	case True(t.Posted):
		r.State, r.Actions, r.Edits = "posted", []pageAction{check, trash}, true
	default:
		r.State, r.Actions, r.Edits = "draft", []pageAction{post, trash}, true
	}
	r.Credit = sideOf(r, "credit", "From", t.CreditAccount)
	r.Debit = sideOf(r, "debit", "To", t.DebitAccount)
	return r
}

func sideOf(r pageRow, side, word string, a *Account) pageSide {
	if a != nil {
		return pageSide{Name: a.Name}
	}
	return pageSide{Side: side, ID: r.ID, Label: word + ", " + r.Description, Missing: r.State == "draft"}
}

func (v *Server) bookPage(w http.ResponseWriter, r *http.Request) {
	b, err := v.readBook(r.PathValue("book"), r.FormValue("query"), r.FormValue("cursor"))
	if err != nil {
		showRefusal(w, r, err, "", cmp.Or(backFromQuery(r), "./"))
		return
	}
	show(w, r, http.StatusOK, "book", b)
}

// backFromQuery leads from a query that is refused to the whole Book.
func backFromQuery(r *http.Request) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	return r.PathValue("book")
}

func (v *Server) readBook(id, query, cursor string) (bookView, error) {
	h, err := v.s.Hand(id)
	if err != nil {
		return bookView{}, err
	}
	b, err := v.s.Book(h.who, h.book, true)
	if err != nil {
		return bookView{}, err
	}
	found, err := v.s.Transactions(h.who, h.book, query, pageLimit, cursor)
	if err != nil {
		return bookView{}, err
	}
	view := bookView{
		head: head{b.Name, ""}, Book: b, Counts: h.counts(), Accounts: pageAccounts(b), Views: filtersFor(query), Query: query,
		View: place(query, cursor),
	}
	for _, t := range found.Items {
		row := rowOf(t)
		for _, side := range []*pageSide{&row.Credit, &row.Debit} {
			side.Action = template.URL(id + "/transactions/" + t.ID + "?" + string(view.View))
		}
		view.Rows = append(view.Rows, row)
	}
	if found.Cursor != "" {
		view.Next = place(query, found.Cursor)
	}
	return view, nil
}

func pageAccounts(b Book) (all []pageAccount) {
	for _, a := range b.Accounts {
		all = append(all, accountOf(a))
	}
	return all
}

// place is where a reader is in a Book, as the query of a URL.
func place(query, cursor string) template.URL {
	q := url.Values{}
	for name, value := range map[string]string{"query": query, "cursor": cursor} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return template.URL(q.Encode())
}

func placeOf(r *http.Request) string {
	q := r.URL.Query()
	return string(place(q.Get("query"), q.Get("cursor")))
}

// counts says how many transactions are in which state.
func (h Hand) counts() string {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	n := map[string]int{}
	for _, r := range h.s.books[h.book].records {
		switch {
		case r.Trashed:
			n["trashed"]++
		case r.Checked:
			n["checked"]++
		case r.Posted:
			n["posted"]++
		default:
			n["draft"]++
		}
	}
	drafts := "drafts"
	if n["draft"] == 1 {
		drafts = "draft"
	}
	return fmt.Sprintf("%d %s, %d posted, %d checked, %d in the trash", n["draft"], drafts, n["posted"], n["checked"], n["trashed"])
}

type transactionView struct {
	head
	Book     Book
	Back     string
	Row      pageRow
	Accounts []pageAccount
}

func (v *Server) transactionPage(w http.ResponseWriter, r *http.Request) {
	book, id := r.PathValue("book"), r.PathValue("id")
	back := "../../" + book + "?" + placeOf(r)
	h, err := v.s.Hand(book)
	if err != nil {
		showRefusal(w, r, err, "../../", "../../")
		return
	}
	b, err := v.s.Book(h.who, h.book, true)
	if err == nil {
		var t Transaction
		if t, err = v.s.Transaction(h.who, h.book, id); err == nil {
			row := rowOf(t)
			title := strings.TrimSpace("Edit " + t.Description)
			show(w, r, http.StatusOK, "transaction", transactionView{head{title, "../../"}, b, back, row, pageAccounts(b)})
			return
		}
	}
	showRefusal(w, r, err, "../../", back)
}

func (v *Server) transactionForm(w http.ResponseWriter, r *http.Request) {
	book, id := r.PathValue("book"), r.PathValue("id")
	back := "../../" + book + "?" + placeOf(r)
	h, err := v.s.Hand(book)
	if err == nil {
		if action := r.FormValue("action"); action == "edit" {
			_, err = h.Edit(id, Edit{
				Date: sent(r, "date"), Amount: sent(r, "amount"), Description: sent(r, "description"), Credit: sent(r, "credit"), Debit: sent(r, "debit"),
			})
		} else {
			_, err = h.turn(action, id)
		}
	}
	if err != nil {
		showRefusal(w, r, err, "../../", back)
		return
	}
	seeOther(w, back+"#t-"+id)
}

// sent is a field of a form; nil where the form has none of that name.
func sent(r *http.Request, field string) *string {
	if !r.PostForm.Has(field) {
		return nil
	}
	return new(r.PostForm.Get(field))
}

func (v *Server) periodForm(w http.ResponseWriter, r *http.Request) {
	book := r.PathValue("book")
	back := "../" + book + "?" + placeOf(r)
	h, err := v.s.Hand(book)
	if err == nil {
		if _, err = h.Lock(r.PostFormValue("lock")); err == nil {
			_, err = h.Close(r.PostFormValue("closing"))
		}
	}
	if err != nil {
		showRefusal(w, r, err, "../", back)
		return
	}
	seeOther(w, back)
}

// seeOther redirects as written; http.Redirect would resolve a relative address against a path whose prefix was stripped.
func seeOther(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

type refusedView struct {
	head
	Error *Error
	Back  string
}

func showRefusal(w http.ResponseWriter, r *http.Request, err error, root, back string) {
	var e *Error
	if !errors.As(err, &e) {
		e = errUnavailable()
	}
	show(w, r, e.Status, "refused", refusedView{head{"Refused", root}, e, back})
}

// show answers with a page. Its ETag lets the page's script ask often for little.
func show(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var text strings.Builder
	if err := pages.ExecuteTemplate(&text, name, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	digest := sha256.Sum256([]byte(text.String()))
	tag := `"` + base64.RawURLEncoding.EncodeToString(digest[:12]) + `"`
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", tag)
	if r.Method == http.MethodGet && status == http.StatusOK && r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.WriteHeader(status)
	w.Write([]byte(text.String()))
}
