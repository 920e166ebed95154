package bkper_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bkper/automations-portal/shared/sandbox/bkper"
)

// visitor is somebody at the pages, who follows redirects.
type visitor struct{ *api }

func (v visitor) get(path string, headers ...string) reply {
	v.t.Helper()
	return v.send(bkper.Caller{}, http.MethodGet, "/book/"+path, "", headers...)
}

// submit posts a form, as a page of the given site does.
func (v visitor) submit(path, site string, form url.Values) reply {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.(*testing.T).Context(), http.MethodPost, v.url+"/book/"+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", site)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return reply{resp.StatusCode, string(text), resp.Header}
}

// do posts a form of the Book's own pages.
func (v visitor) do(path string, form url.Values) reply {
	v.t.Helper()
	return v.submit(v.book+path, "same-origin", form)
}

// actions are the names of the buttons and links in a transaction's row.
func actions(page, id string) (names []string) {
	_, row, _ := strings.Cut(page, `data-id="`+id+`"`)
	row, _, _ = strings.Cut(row, "</tr>")
	for _, m := range regexp.MustCompile(`aria-label="([A-Z][a-z]*)`).FindAllStringSubmatch(row, -1) {
		names = append(names, m[1])
	}
	return names
}

func TestThePageShowsTheBookAndItsFormsChangeIt(t *testing.T) {
	v := visitor{serve(t, bkper.Options{})}
	tx := v.create(v.draft("r1", "2026-01-02", "1"))[0]
	must(v.s.UpdateBook(owner, v.book, bkper.Book{Name: "<Books>"}))(t)
	v.want(v.get(""), 200, `<a href="`+v.book+`">&lt;Books&gt;</a>`)
	act := func(action, state string, offered ...string) {
		t.Helper()
		got := v.do("/transactions/"+tx.ID, url.Values{"action": {action}})
		v.want(got, 200, `data-state="`+state+`"`)
		if now := actions(got.body, tx.ID); !slices.Equal(now, offered) {
			t.Errorf("after %s the row offers %v, want %v", action, now, offered)
		}
	}
	if now := actions(v.get(v.book).body, tx.ID); !slices.Equal(now, []string{"To", "Save", "Edit", "Post", "Trash"}) {
		t.Errorf("a draft's row offers %v", now)
	}
	v.want(v.get(v.book+"/transactions/"+tx.ID), 200, `value="2026-01-02"[\s\S]*value="1.00"[\s\S]*value="Bank"[\s\S]*value="COFFEE r1"`)
	v.want(v.do("/transactions/"+tx.ID, url.Values{
		"action": {"edit"}, "date": {"2026-01-03"}, "amount": {"5"}, "credit": {"Bank"}, "debit": {"Rent"}, "description": {"<Rent>"},
	}), 200, `data-state="draft"[\s\S]*2026-01-03[\s\S]*Bank[\s\S]*Rent[\s\S]*&lt;Rent&gt;[\s\S]*5.00`)
	act("post", "posted", "Edit", "Check", "Trash")
	act("check", "checked", "Uncheck")
	v.want(v.do("/transactions/"+tx.ID, url.Values{"action": {"trash"}}), 400, `role="alert">[^<]*checked`)
	act("uncheck", "posted", "Edit", "Check", "Trash")
	v.want(v.do("/transactions/"+tx.ID, url.Values{"action": {"trash"}}), 200, `No transaction is here`)
	v.want(v.get(v.book+"?query=is%3Atrashed"), 200, `data-state="trashed"`)
	v.want(v.do("/transactions/"+tx.ID, url.Values{"action": {"untrash"}}), 200, `data-state="posted"`)
	v.want(v.do("/transactions/"+tx.ID, url.Values{"action": {"burn"}}), 404, `role="alert"`)
	v.want(v.get("nothing"), 404, `role="alert"`)
	v.want(v.get(v.book+"/transactions/nothing"), 404, `role="alert"`)
	v.want(v.get(v.book+"?query=is%3Anonsense"), 400, `role="alert"[\s\S]*href="`+v.book+`"`)
}

func TestADraftIsCompletedInItsRow(t *testing.T) {
	v := visitor{serve(t, bkper.Options{})}
	in := v.draft("r2", "2026-01-02", "3")
	in.CreditAccount, in.DebitAccount = nil, in.CreditAccount
	both := v.create(v.draft("r1", "2026-01-02", "1"), in)
	for i, row := range []struct{ side, path string }{{"debit", "To"}, {"credit", "From"}} {
		id := both[i].ID
		v.want(v.get(v.book), 200, `name="`+row.side+`" list="names" required autocomplete="off" aria-label="`+row.path+`, COFFEE`)
		v.want(v.do("/transactions/"+id, url.Values{"action": {"edit"}, row.side: {"Nowhere"}}), 404, `role="alert">[^<]*Nowhere`)
		v.want(v.do("/transactions/"+id, url.Values{"action": {"edit"}, row.side: {"Rent"}}), 200, "")
		now := must(v.s.Transaction(owner, v.book, id))(t)
		if now.CreditAccount == nil || now.DebitAccount == nil || now.Description != both[i].Description || *now.Amount != *both[i].Amount || now.Date != both[i].Date {
			t.Errorf("completed, it is %+v", now)
		}
	}
}

func TestThePageCountsAndShowsBalancesAsBkperDoes(t *testing.T) {
	v := visitor{serve(t, bkper.Options{})}
	paid := v.create(v.full("r1", "2026-01-02", "7.5"), v.draft("r2", "2026-01-02", "1"), v.draft("r3", "2026-01-02", "2"), v.draft("r4", "2026-01-02", "2"))
	must(v.s.Post(owner, v.book, bkper.Transaction{ID: paid[0].ID}))(t)
	must(v.s.Trash(owner, v.book, paid[3].ID))(t)
	v.want(v.get(v.book), 200, `role="status">2 drafts, 1 posted, 0 checked, 1 in the trash<`)
	v.want(v.get(v.book), 200, `data-account="Bank"><td>Bank</td><td>asset</td><td class="number">-7.50<[\s\S]*data-account="Rent"><td>Rent</td><td>outgoing</td><td class="number">7.50<`)
	if drafts := v.get(v.book + "?query=is%3Adraft").body; strings.Contains(drafts, `data-state="posted"`) || !strings.Contains(drafts, `aria-current="page">Drafts<`) {
		t.Error("the link to the drafts shows others, or does not say where one is")
	}
}

func TestAPeriodIsLockedClosedAndOpenedAgain(t *testing.T) {
	v := visitor{serve(t, bkper.Options{})}
	tx := v.create(v.full("r1", "2026-01-02", "7.5"))[0]
	for _, period := range []url.Values{{"lock": {"2026-01-31"}, "closing": {""}}, {"lock": {""}, "closing": {"2026-01-31"}}} {
		v.want(v.do("/period", period), 200, `value="2026-01-31"`)
		v.want(v.do("/transactions/"+tx.ID, url.Values{"action": {"post"}}), 400, `role="alert">[^<]*locked`)
	}
	v.want(v.do("/period", url.Values{"lock": {"soon"}}), 400, `role="alert"`)
	v.want(v.do("/period", url.Values{"lock": {""}, "closing": {""}}), 200, `name="lock" value=""[\s\S]*name="closing" value=""`)
	v.want(v.do("/transactions/"+tx.ID, url.Values{"action": {"post"}}), 200, `data-state="posted"`)
}

func TestAFormKeepsItsPlaceInTheBook(t *testing.T) {
	v := visitor{serve(t, bkper.Options{})}
	tx := v.create(v.full("r1", "2026-01-02", "7.5"))[0]
	v.want(v.get(v.book+"?query=is%3Adraft"), 200, `action="`+v.book+`/transactions/`+tx.ID+`\?query=is%3Adraft"`)
	v.want(v.do("/transactions/"+tx.ID+"?query=is%3Adraft", url.Values{"action": {"post"}}), 200, `aria-current="page">Drafts<[\s\S]*No transaction is here`)
	v.want(v.do("/period?query=is%3Aposted", url.Values{}), 200, `aria-current="page">Posted<`)
}

func TestAskingAgainCostsNothingUntilSomethingCameIn(t *testing.T) {
	v := visitor{serve(t, bkper.Options{})}
	tag := v.get(v.book).header.Get("ETag")
	if again := v.get(v.book, "If-None-Match", tag); again.status != http.StatusNotModified || again.body != "" {
		t.Errorf("asked again: %d", again.status)
	}
	v.create(v.draft("r1", "2026-01-02", "1"))
	v.want(v.get(v.book, "If-None-Match", tag), 200, "COFFEE r1")
}

func TestThePagesTakeNoScriptButTheirOwnAndNoFormOfOthers(t *testing.T) {
	v := visitor{serve(t, bkper.Options{})}
	tx := v.create(v.draft("r1", "2026-01-02", "1"))[0]
	for _, path := range []string{"", v.book, v.book + "/transactions/" + tx.ID, "nothing"} {
		page := v.get(path)
		if policy := page.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
			t.Errorf("%q: policy %s", path, policy)
		}
		if m := regexp.MustCompile(`<style|style=|<script[^>]*>[^<]|\son[a-z]+=|javascript:`).FindString(page.body); m != "" {
			t.Errorf("%q: %s, which the policy forbids", path, m)
		}
	}
	for _, file := range []string{"book.css", "book.js"} {
		v.want(v.get(file), 200, "bkper|Book")
	}
	v.want(v.submit(v.book+"/transactions/"+tx.ID, "cross-site", url.Values{"action": {"trash"}}), 403, "")
	v.want(v.submit(v.book+"/period", "cross-site", url.Values{"lock": {"2026-01-31"}}), 403, "")
	v.want(v.get(v.book), 200, `data-state="draft"`)
}
