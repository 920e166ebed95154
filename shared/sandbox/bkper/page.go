package bkper

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"
)

// A page for people and browser tests: the Books, and one Book with its Accounts and transactions, to be changed by plain
// forms. Links are relative, because the server does not know its prefix.

const pageLimit = 200

var pages = template.Must(template.New("").Parse(`
{{define "head"}}<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.}} – sandbox of Bkper</title>
<style>body{font:16px/1.5 sans-serif;margin:2rem}table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.25rem .5rem;text-align:left}
.number{text-align:right}tr[data-state=trashed]{text-decoration:line-through}form{display:inline}</style></head><body>{{end}}

{{define "books"}}{{template "head" "Books"}}<h1>Books</h1><ul>{{range .}}<li><a href="{{.ID}}">{{.Name}}</a></li>{{end}}</ul></body></html>{{end}}

{{define "error"}}{{template "head" "Refused"}}<h1>Refused</h1><p role="alert">{{.Message}}</p></body></html>{{end}}

{{define "book"}}{{template "head" .Book.Name}}<h1>{{.Book.Name}}</h1>
<table id="accounts"><caption>Accounts</caption><tr><th>Name</th><th>Type</th><th>Balance</th></tr>
{{range .Accounts}}<tr data-account="{{.Name}}"><td>{{.Name}}</td><td>{{.Type}}</td><td class="number">{{.Balance}}</td></tr>
{{end}}</table>
<form method="get"><label>Query <input name="query" value="{{.Query}}" size="60"></label> <button>Search</button></form>
<table id="transactions"><caption>Transactions</caption><tr><th>State</th><th>Change</th><th>Actions</th></tr>
{{$book := .Book.ID}}{{range .Rows}}<tr data-id="{{.ID}}" data-state="{{.State}}"><td>{{.State}}</td>
<td><form method="post" action="{{$book}}/transactions/{{.ID}}">
<input name="date" type="date" aria-label="Date" value="{{.Date}}">
<input name="amount" aria-label="Amount" value="{{.Sum}}" size="10">
<input name="credit" aria-label="From" placeholder="from" value="{{.From}}">
<input name="debit" aria-label="To" placeholder="to" value="{{.To}}">
<input name="description" aria-label="Description" value="{{.Description}}" size="40">
<button name="action" value="edit">Save</button></form></td>
<td><form method="post" action="{{$book}}/transactions/{{.ID}}">{{range .Actions}}<button name="action" value="{{.}}">{{.}}</button> {{end}}</form></td></tr>
{{end}}</table>
{{with .Next}}<p><a href="?{{.}}" rel="next">Next page</a></p>{{end}}</body></html>{{end}}
`))

type pageRow struct {
	Transaction
	State, Sum, From, To string
	Actions              []string
}

func rowOf(t Transaction) pageRow {
	r := pageRow{Transaction: t}
	if t.Amount != nil {
		r.Sum = *t.Amount
	}
	if t.CreditAccount != nil {
		r.From = t.CreditAccount.Name
	}
	if t.DebitAccount != nil {
		r.To = t.DebitAccount.Name
	}
	switch {
	case True(t.Trashed):
		r.State, r.Actions = "trashed", []string{"untrash"}
	case True(t.Checked):
		r.State, r.Actions = "checked", []string{"uncheck"}
	case True(t.Posted):
		r.State, r.Actions = "posted", []string{"check", "trash"}
	default:
		r.State, r.Actions = "draft", []string{"post", "trash"}
	}
	return r
}

func (v *Server) books(w http.ResponseWriter, _ *http.Request) {
	show(w, http.StatusOK, "books", v.s.AllBooks())
}

func (v *Server) page(w http.ResponseWriter, r *http.Request) {
	h, err := v.s.Hand(r.PathValue("book"))
	if err != nil {
		showRefusal(w, err)
		return
	}
	query, cursor := r.FormValue("query"), r.FormValue("cursor")
	b, err := v.s.Book(h.who, h.book, true)
	if err != nil {
		showRefusal(w, err)
		return
	}
	found, err := v.s.Transactions(h.who, h.book, query, pageLimit, cursor)
	if err != nil {
		showRefusal(w, err)
		return
	}
	var rows []pageRow
	for _, t := range found.Items {
		rows = append(rows, rowOf(t))
	}
	next := ""
	if found.Cursor != "" {
		next = url.Values{"query": {query}, "cursor": {found.Cursor}}.Encode()
	}
	show(w, http.StatusOK, "book", map[string]any{"Book": b, "Accounts": b.Accounts, "Rows": rows, "Query": query, "Next": template.URL(next)})
}

func (v *Server) pageForm(w http.ResponseWriter, r *http.Request) {
	h, err := v.s.Hand(r.PathValue("book"))
	if err == nil {
		id, f := r.PathValue("id"), r.FormValue
		if action := f("action"); action == "edit" {
			_, err = h.Edit(id, Edit{
				Date: new(f("date")), Amount: new(f("amount")), Description: new(f("description")), Credit: new(f("credit")), Debit: new(f("debit")),
			})
		} else {
			_, err = h.turn(action, id)
		}
	}
	if err != nil {
		showRefusal(w, err)
		return
	}
	w.Header().Set("Location", "../../"+h.book)
	w.WriteHeader(http.StatusSeeOther)
}

func showRefusal(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = errUnavailable()
	}
	show(w, e.Status, "error", e)
}

func show(w http.ResponseWriter, status int, name string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	pages.ExecuteTemplate(w, name, data)
}
