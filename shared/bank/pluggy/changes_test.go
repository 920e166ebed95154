package pluggy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/civil"
	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

// itemWith is an item whose account and card answer any look at their rows with these.
func itemWith(t testing.TB, ofBank, ofCard string) (*Pluggy, *script) {
	t.Helper()
	return scripted(t, map[string]http.HandlerFunc{
		"GET /items/" + theItem: says(itemJSON()), "GET /accounts": says(accountsJSON),
		"GET " + transactionsPath: func(w http.ResponseWriter, r *http.Request) {
			body := ofBank
			if r.URL.Query().Get("accountId") == theCard {
				body = ofCard
			}
			says(body)(w, r)
		},
	})
}

// follow reads to the end and returns the last cursor.
func follow(t testing.TB, p *Pluggy, at string, deep bool) (pages []bank.Page, next string) {
	t.Helper()
	for range 50 {
		page, err := p.Changes(t.Context(), bank.From{Token: secret.New(theItem), At: at, Deep: deep})
		if err != nil {
			t.Fatal(err)
		}
		pages, at = append(pages, page), page.Next
		if !page.More {
			return pages, at
		}
	}
	t.Fatal("reading does not end")
	return nil, ""
}

func names(pages []bank.Page) (all []string) {
	for _, p := range pages {
		for _, c := range p.Changed {
			all = append(all, c.ID)
		}
	}
	return all
}

// ledgerOf answers as Pluggy does from rows, newest first, two a page.
func ledgerOf(rows *[]string, created *map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		for name := range q {
			if !strings.Contains("accountId dateFrom createdAtFrom after", name) {
				with(400, `{"message":"property `+name+` should not exist","code":400}`)(w, r)
				return
			}
		}
		if q.Has("dateFrom") && q.Has("createdAtFrom") || q.Get("accountId") == theCard {
			says(resultsJSON("null"))(w, r)
			return
		}
		var found []string
		for _, row := range *rows { // "id day"
			id, date, _ := strings.Cut(row, " ")
			if q.Get("dateFrom") <= date && q.Get("createdAtFrom") <= (*created)[id] {
				found = append(found, rowJSON(id, theBank, `"date":"`+date+`T03:00:00.000Z"`, `"createdAt":"`+(*created)[id]+`"`))
			}
		}
		begin := 0
		_, _ = fmt.Sscan(q.Get("after"), &begin)
		end, next := min(begin+2, len(found)), "null"
		if end < len(found) {
			next = "?accountId=" + theBank + "&after=" + fmt.Sprint(end) // without the filters
		}
		says(resultsJSON(next, found[begin:end]...))(w, r)
	}
}

// pluggyOf is an item whose bank account has these rows, each with the time at which Pluggy had it.
func pluggyOf(t *testing.T) (p *Pluggy, s *script, rows *[]string, created *map[string]string) {
	rows, created = &[]string{"c 2026-06-15", "b 2026-06-10", "a 2026-05-01"}, &map[string]string{}
	for _, id := range []string{"a", "b", "c"} {
		(*created)[id] = "2026-06-16T08:00:00.000Z"
	}
	(*created)["a"] = "2026-06-01T08:00:00.000Z"
	p, s = itemWith(t, "", "")
	s.answers["GET "+transactionsPath] = ledgerOf(rows, created)
	now := time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)
	p.now = func() time.Time { return now }
	return p, s, rows, created
}

// The way that was closed in 2026 answers 410, and every parameter of it is refused on the new one.
func TestOnlyTheEndpointWithCursorsIsAskedAndOnlyWithItsParameters(t *testing.T) {
	p, s, _, _ := pluggyOf(t)
	_, at := follow(t, p, "", false)
	follow(t, p, at, false)
	follow(t, p, at, true)
	if n := len(s.queries("/transactions")); n > 0 {
		t.Errorf("the old endpoint was asked %d times", n)
	}
	for _, q := range s.queries(transactionsPath) {
		values, err := url.ParseQuery(q)
		if err != nil || values.Has("dateFrom") && values.Has("createdAtFrom") || values.Get("accountId") == "" {
			t.Errorf("asked %s", q)
		}
		for name := range values {
			if !slices.Contains([]string{"accountId", "dateFrom", "createdAtFrom", "after"}, name) {
				t.Errorf("asked with %s", name)
			}
		}
	}
}

func TestARowThatComesLateWithAnOldDateIsFound(t *testing.T) {
	p, _, rows, created := pluggyOf(t)
	first, at := follow(t, p, "", false)
	if diff := cmp.Diff([]string{"c", "b", "a"}, names(first)); diff != "" {
		t.Fatal(diff)
	}
	*rows = append(*rows, "late 2026-04-02")
	(*created)["late"] = "2026-06-17T08:00:00.000Z"
	pages, _ := follow(t, p, at, false)
	if got := strings.Join(names(pages), " "); !strings.Contains(got, "late") {
		t.Errorf("found %s", got)
	}
}

func TestNothingNewIsToldAsNothing(t *testing.T) {
	p, s, _, _ := pluggyOf(t)
	_, at := follow(t, p, "", false)
	_, at = follow(t, p, at, false)
	before := len(s.queries(transactionsPath))
	pages, next := follow(t, p, at, false)
	if len(pages) != 1 || len(names(pages)) > 0 || len(pages[0].Retold) > 0 || next != at {
		t.Errorf("%d pages, %v, %+v", len(pages), names(pages), pages[0].Retold)
	}
	// One look at each account, of all pages of what the overlap repeats.
	if n := len(s.queries(transactionsPath)) - before; n > 3 {
		t.Errorf("that took %d requests", n)
	}
}

// Rows of one synchronisation become visible in any order, and the newest may be taken back.
func TestRowsThatComeOrGoAmongTheNewestAreNews(t *testing.T) {
	for name, change := range map[string]func(rows *[]string, created map[string]string){
		"one comes that Pluggy had before the newest": func(rows *[]string, created map[string]string) {
			*rows = append([]string{"x 2026-06-12"}, *rows...)
			created["x"] = "2026-06-16T07:55:00.000Z"
		},
		"the newest goes": func(rows *[]string, _ map[string]string) { *rows = (*rows)[1:] },
		"all of them go":  func(rows *[]string, _ map[string]string) { *rows = (*rows)[2:] },
	} {
		p, _, rows, created := pluggyOf(t)
		_, at := follow(t, p, "", false)
		_, at = follow(t, p, at, false)
		change(rows, *created)
		pages, at := follow(t, p, at, false)
		if len(pages[0].Retold) != 1 || pages[0].Retold[0].Since.After(civil.Date{Year: 2026, Month: 6, Day: 8}) {
			t.Errorf("%s: %+v", name, pages[0].Retold)
		}
		if pages, _ := follow(t, p, at, false); len(pages[0].Retold) > 0 {
			t.Errorf("%s: it is told again and again", name)
		}
	}
}

// Both halves of an id that changes are in one page: the new one is named, and the old one is missing from a span that is whole.
func TestAnIDThatChangesIsSeenWithBothHalvesWhicheverWebhookComesFirst(t *testing.T) {
	for _, deep := range []bool{false, true} {
		p, s, rows, created := pluggyOf(t)
		_, at := follow(t, p, "", false)
		*rows = []string{"c2 2026-06-14", "b 2026-06-10", "a 2026-05-01"}
		(*created)["c2"] = "2026-06-18T08:00:00.000Z"
		pages, _ := follow(t, p, at, deep)
		since := civil.Date{Year: 2026, Month: 6, Day: 7}
		want := []string{"c2", "b"}
		if deep {
			since, want = civil.Date{Year: 2025, Month: 6, Day: 20}, []string{"c2", "b", "a"}
		}
		// Pluggy does not say by whose clock it compares, so that a day more must be asked for than is said to be whole.
		if asked := strings.Join(s.queries(transactionsPath), " "); !strings.Contains(asked, "dateFrom="+since.AddDays(-1).String()) {
			t.Errorf("deep %v: asked %s", deep, asked)
		}
		page := pages[0]
		if diff := cmp.Diff([]bank.Retold{{Account: theBank, Since: since}}, page.Retold); diff != "" {
			t.Errorf("deep %v: %s", deep, diff)
		}
		if diff := cmp.Diff(want, names(pages[:1])); diff != "" {
			t.Errorf("deep %v: %s", deep, diff)
		}
	}
}

func TestWhatNoWebhookToldIsSeenWithinAWeek(t *testing.T) {
	p, _, rows, _ := pluggyOf(t)
	now := p.now()
	_, at := follow(t, p, "", false)
	*rows = []string{"c 2026-06-15", "a 2026-05-01"}
	for days, want := range map[int]bool{1: false, 6: false, 7: true, 30: true} {
		p.now = func() time.Time { return now.AddDate(0, 0, days) }
		pages, next := follow(t, p, at, false)
		if got := len(pages[0].Retold) > 0; got != want {
			t.Errorf("after %d days all is told again: %v", days, got)
		}
		if pages, _ := follow(t, p, next, false); want && len(pages[0].Retold) > 0 {
			t.Errorf("after %d days all is told again, and then again", days)
		}
	}
}

func TestWhileASynchronisationIsUnderWayNothingIsCompared(t *testing.T) {
	p, s, rows, _ := pluggyOf(t)
	_, at := follow(t, p, "", false)
	*rows = nil
	updating := func(since string) http.HandlerFunc {
		return says(itemJSON(`"status":"UPDATING"`, `"updatedAt":"`+since+`"`))
	}
	s.answers["GET /items/"+theItem] = updating("2026-06-20T11:59:00.000Z")
	for _, deep := range []bool{false, true} {
		_, err := p.Changes(t.Context(), bank.From{Token: secret.New(theItem), At: at, Deep: deep})
		var e *bank.Error
		if !errors.As(err, &e) || e.Kind != bank.RetryAfter || e.After <= 0 {
			t.Errorf("deep %v: %v", deep, err)
		}
	}
	if pages, _ := follow(t, p, "", false); pages[0].Complete {
		t.Error("history is said to be complete while it is being replaced")
	}
	s.answers["GET /items/"+theItem] = updating("2026-06-20T10:00:00.000Z")
	if pages, _ := follow(t, p, at, true); len(pages[0].Retold) == 0 {
		t.Error("a synchronisation that was lost is waited for")
	}
}

func TestHistoryIsCompleteOnceTheFirstSynchronisationHasBroughtIt(t *testing.T) {
	for members, want := range map[string]bool{
		`"lastUpdatedAt":null,"status":"UPDATING"`: false, `"lastUpdatedAt":"2026-06-20T10:00:00.000Z"`: true,
		`"executionStatus":"PARTIAL_SUCCESS","statusDetail":{"accounts":{"isUpdated":true},"transactions":{"isUpdated":false,"lastUpdatedAt":null,"warnings":[{"code":"423"}]}}`: false,
		`"executionStatus":"PARTIAL_SUCCESS","statusDetail":{"transactions":{"isUpdated":false,"lastUpdatedAt":"2026-06-19T10:00:00.000Z"}}`:                                     true,
		`"statusDetail":{"transactions":null}`: true,
	} {
		p, s, _, _ := pluggyOf(t)
		s.answers["GET /items/"+theItem] = says(itemJSON(members))
		if pages, _ := follow(t, p, "", false); pages[len(pages)-1].Complete != want {
			t.Errorf("%s: complete is %v", members, !want)
		}
	}
}

func TestAnItemWithoutAccountsYetHasNothingToReadFrom(t *testing.T) {
	p, _ := scripted(t, map[string]http.HandlerFunc{
		"GET /items/" + theItem: says(itemJSON(`"lastUpdatedAt":null,"status":"UPDATING"`)), "GET /accounts": says(`{"results":[]}`),
	})
	page, err := p.Changes(t.Context(), bank.From{Token: secret.New(theItem)})
	if err != nil || page.Next != "" || page.More || page.Complete {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestAnAccountThatIsNewIsReadFromItsBeginning(t *testing.T) {
	p, s, _, _ := pluggyOf(t)
	_, at := follow(t, p, "", false)
	s.answers["GET /accounts"] = says(strings.ReplaceAll(accountsJSON, theCard, "0d5a0000-0000-4000-8000-000000000003"))
	s.answers["GET "+transactionsPath] = func(w http.ResponseWriter, r *http.Request) {
		if id := r.URL.Query().Get("accountId"); id != theBank && r.URL.RawQuery == "accountId="+id {
			says(resultsJSON("null", rowJSON("x", id, `"date":"2025-01-01T03:00:00.000Z"`)))(w, r)
			return
		}
		says(resultsJSON("null"))(w, r)
	}
	pages, _ := follow(t, p, at, false)
	if diff := cmp.Diff([]string{"x"}, names(pages)); diff != "" {
		t.Error(diff)
	}
}

// Pluggy's next is a query that goes with the path; older clients have seen a whole address. Our key goes nowhere else.
func TestNextIsFollowedOnlyToWhereItMayLead(t *testing.T) {
	p, s := itemWith(t, "", "")
	good := func(next string) bool {
		_, err := p.follow(next, theBank)
		return err == nil
	}
	for next, want := range map[string]bool{
		"?accountId=" + theBank + "&after=x": true, "?after=x": true, p.base.String() + "/v2/transactions?after=x": true, "/v2/transactions?after=x": true,
		"?accountId=" + strings.ToUpper(theBank) + "&after=x": true,
		"?accountId=" + theCard + "&after=x":                  false, "?after=": false, "?accountId=" + theBank: false, "https://evil.example/v2/transactions?after=x": false,
		"//evil.example/v2/transactions?after=x": false, "/items?after=x": false, "/v2/transactions/../items?after=x": false, "?after=%zz": false, ":": false,
		"http://user@" + p.base.Host + "/v2/transactions?after=x": false, "ftp://" + p.base.Host + "/v2/transactions?after=x": false,
	} {
		if good(next) != want {
			t.Errorf("%s: followed is %v", next, !want)
		}
	}
	s.answers["GET "+transactionsPath] = says(resultsJSON("https://evil.example/?after=x", rowJSON("t", theBank)))
	if _, err := p.Changes(t.Context(), bank.From{Token: secret.New(theItem)}); bank.KindOf(err) != bank.Retry || bank.CodeOf(err) != badAnswer {
		t.Errorf("%v", err)
	}
}

func TestTheFiltersAreSentWithEveryPage(t *testing.T) {
	p, s, rows, created := pluggyOf(t)
	_, at := follow(t, p, "", false)
	for n := range 5 {
		*rows = append([]string{fmt.Sprintf("n%d 2026-06-1%d", n, 5+n%5)}, *rows...)
		(*created)[fmt.Sprint("n", n)] = "2026-06-18T08:00:00.000Z"
	}
	before := len(s.queries(transactionsPath))
	follow(t, p, at, false)
	for _, q := range s.queries(transactionsPath)[before:] {
		if strings.Contains(q, theBank) && strings.Contains(q, "after=") && !strings.Contains(q, "createdAtFrom=") && !strings.Contains(q, "dateFrom=") {
			t.Errorf("asked %s", q)
		}
	}
}

func TestACircleOfPagesIsLeftWhateverItsLength(t *testing.T) {
	for _, length := range []int{1, 2, 3, 7} {
		p, s := itemWith(t, "", "")
		s.answers["GET "+transactionsPath] = func(w http.ResponseWriter, r *http.Request) {
			n := 0
			_, _ = fmt.Sscan(r.URL.Query().Get("after"), &n)
			says(resultsJSON("?after="+fmt.Sprint(n%length+1), rowJSON(fmt.Sprint(n), theBank)))(w, r)
		}
		at, err := "", error(nil)
		for n := 0; n < 100 && err == nil; n++ {
			var page bank.Page
			page, err = p.Changes(t.Context(), bank.From{Token: secret.New(theItem), At: at})
			at = page.Next
		}
		if bank.CodeOf(err) != badAnswer {
			t.Errorf("a history of %d pages in a circle: %v", length, err)
		}
		if _, _, err := p.all(t.Context(), reais, url.Values{"dateFrom": {"2026-01-01"}}); bank.CodeOf(err) != badAnswer {
			t.Errorf("a comparison of %d pages in a circle: %v", length, err)
		}
	}
}

func TestACursorThatIsNotOursOrOfAnotherItemIsRefused(t *testing.T) {
	p, s, _, _ := pluggyOf(t)
	_, at := follow(t, p, "", false)
	other, err := cursor{Item: itemDigest(theBank)}.text()
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]string{
		"nonsense": "x", "a version to come": "2." + at[2:], "cut": at[:len(at)-3], "another item's": other, "no object": cursorVersion + "bnVsbA", "Pluggy's own": "MjAyNnx1dWlk",
	} {
		_, err := p.Changes(t.Context(), bank.From{Token: secret.New(theItem), At: at})
		if !errors.Is(err, bank.ErrCursor) || bank.KindOf(err) != bank.Retry {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.answers["GET "+transactionsPath] = with(400, `{"message":"Invalid cursor","code":400}`)
	if _, err := p.Changes(t.Context(), bank.From{Token: secret.New(theItem), At: at}); !errors.Is(err, bank.ErrCursor) {
		t.Errorf("Pluggy's refusal: %v", err)
	}
}

// What does not fit one page in memory is told as far as it was read, and only that is said to be whole.
func TestAComparisonThatIsCutShortIsWholeOnlyAsFarAsItWent(t *testing.T) {
	day := func(n int) row { return row{Date: []byte(fmt.Sprintf(`"2026-06-%02dT03:00:00.000Z"`, n))} }
	for name, c := range map[string]struct {
		days []int
		want civil.Date
		ok   bool
	}{
		"newest first": {[]int{20, 18, 18, 11}, civil.Date{Year: 2026, Month: 6, Day: 13}, true},
		"in disorder":  {[]int{11, 20}, civil.Date{}, false},
		"none":         {nil, civil.Date{}, false},
	} {
		var rows []row
		for _, d := range c.days {
			rows = append(rows, day(d))
		}
		if since, ok := cut(rows); ok != c.ok || ok && since != c.want {
			t.Errorf("%s: %v, %v", name, since, ok)
		}
	}
}

func TestAPageSaysNothingOfAccountsThatAreClosedMeanwhile(t *testing.T) {
	p, s, rows, created := pluggyOf(t)
	for n := range 40 {
		*rows = append(*rows, fmt.Sprintf("n%d 2026-04-01", n))
		(*created)[fmt.Sprint("n", n)] = "2026-06-01T08:00:00.000Z"
	}
	first, err := p.Changes(t.Context(), bank.From{Token: secret.New(theItem)})
	if err != nil || !first.More {
		t.Fatalf("%+v, %v", first, err)
	}
	s.answers["GET /accounts"] = says(`{"results":[]}`)
	pages, next := follow(t, p, first.Next, false)
	if len(names(pages)) > 0 || next == "" {
		t.Errorf("%v, %q", names(pages), next)
	}
}

// Cursors are kept for as long as a connection lives: one that was written by an earlier version must go on.
func TestACursorOfTheFirstVersionIsStillRead(t *testing.T) {
	const kept = "1.eyJpIjoiN2NlMTAwZWE3NWZhIiwibSI6eyIwZDVhMDAwMC0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwMDEiOnsidCI6IjIwMjYtMDYtMTZUMDg6MDA6MDBaIiwiZCI6IjAxMjM0NTY3ODlhYiJ9fSwidyI6IjIwMjYtMDYtMjBUMTI6MDA6MDBaIiwiciI6eyJ3IjpmYWxzZSwiYyI6dHJ1ZSwiaCI6dHJ1ZSwiYiI6IjIwMjYtMDYtMjBUMTI6MDA6MDBaIiwibCI6WyIwZDVhMDAwMC0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwMDIiXSwiYSI6Ik1qQXlOZz09IiwibiI6IjIwMjYtMDYtMTZUMDg6MDA6MDBaIiwicCI6MywicyI6ImFiY2RlZjAxMjM0NSJ9fQ"
	p, _, _, _ := pluggyOf(t)
	page, err := p.Changes(t.Context(), bank.From{Token: secret.New(theItem), At: kept})
	if err != nil || page.Next == "" {
		t.Errorf("%+v, %v", page, err)
	}
}
