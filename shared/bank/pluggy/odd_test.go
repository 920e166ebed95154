package pluggy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

// Each test here is an answer that Pluggy should not give.

// More may be new at once than one page can compare, as when a bank's quota kept a year out until today.
func TestNewsBeyondWhatOnePageHoldsAreToldToTheLastRow(t *testing.T) {
	const many = maxTold + 700
	p, s := itemWith(t, "", "")
	news := false
	s.answers["GET "+transactionsPath] = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("accountId") == theCard {
			says(resultsJSON("null"))(w, r)
			return
		}
		if !news {
			says(resultsJSON("null", rowJSON("first", theBank)))(w, r)
			return
		}
		begin := 0
		_, _ = fmt.Sscan(r.URL.Query().Get("after"), &begin)
		var rows []string
		for n := begin; n < min(begin+500, many); n++ {
			date := time.Date(2026, 6, 15, 3, 0, 0, 0, time.UTC).AddDate(0, 0, -n/60).Format("2006-01-02")
			rows = append(rows, rowJSON(fmt.Sprint("n", n), theBank, `"date":"`+date+`T03:00:00.000Z"`, `"createdAt":"2026-06-18T08:00:00.000Z"`))
		}
		next := "null"
		if begin+500 < many {
			next = "?after=" + fmt.Sprint(begin+500)
		}
		says(resultsJSON(next, rows...))(w, r)
	}
	p.now = func() time.Time { return time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC) }
	_, at := follow(t, p, "", false)
	news = true
	pages, _ := follow(t, p, at, false)
	seen := map[string]bool{}
	for _, id := range names(pages) {
		seen[id] = true
	}
	if len(seen) < many {
		t.Errorf("%d of %d rows were told", len(seen), many)
	}
}

// A history is read in pages, with hours between them where a process dies. What comes meanwhile, on a page that was passed, is new
// afterwards, however new the last page's rows are.
func TestWhatComesWhileAHistoryIsReadIsNewAfterIt(t *testing.T) {
	p, _, rows, created := pluggyOf(t)
	begun := time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)
	for n := range 40 {
		*rows = append(*rows, fmt.Sprintf("n%02d 2026-04-01", n))
		(*created)[fmt.Sprintf("n%02d", n)] = "2026-06-01T08:00:00.000Z"
	}
	first, err := p.Changes(t.Context(), bank.From{Token: secret.New(theItem)})
	if err != nil || !first.More {
		t.Fatalf("%+v, %v", first, err)
	}
	*rows = append(append([]string{"passed 2026-06-20"}, *rows...), "late 2026-01-01")
	(*created)["passed"] = begun.Add(time.Minute).Format(time.RFC3339)
	(*created)["late"] = begun.Add(5 * time.Hour).Format(time.RFC3339)
	p.now = func() time.Time { return begun.Add(6 * time.Hour) }
	pages, at := follow(t, p, first.Next, false)
	if !slices.Contains(names(pages), "late") {
		t.Fatal("the last page was not read")
	}
	if pages, _ = follow(t, p, at, false); !slices.Contains(names(pages), "passed") {
		t.Errorf("afterwards %v are new", names(pages))
	}
}

// A row that Pluggy says to have had in a time to come must not hide those that it has today.
func TestARowOfTheFutureHidesNoneOfToday(t *testing.T) {
	p, _, rows, created := pluggyOf(t)
	*rows = append([]string{"odd 2026-06-15"}, *rows...)
	(*created)["odd"] = "2999-01-01T08:00:00.000Z"
	_, at := follow(t, p, "", false)
	_, at = follow(t, p, at, false)
	*rows = append([]string{"new 2026-06-19"}, *rows...)
	(*created)["new"] = "2026-06-20T18:00:00.000Z"
	p.now = func() time.Time { return time.Date(2026, 6, 20, 19, 0, 0, 0, time.UTC) }
	if pages, _ := follow(t, p, at, false); !slices.Contains(names(pages), "new") {
		t.Errorf("%v are new", names(pages))
	}
}

func TestPagesThatHoldNothingAreNotFollowedForEver(t *testing.T) {
	p, s := itemWith(t, "", "")
	asked := 0
	s.answers["GET "+transactionsPath] = func(w http.ResponseWriter, r *http.Request) {
		asked++
		says(resultsJSON(fmt.Sprint("?after=", asked)))(w, r)
	}
	if _, _, err := p.all(t.Context(), reais, nil); bank.CodeOf(err) != badAnswer {
		t.Errorf("%v", err)
	}
}

// A bank that cannot be read is none, and above all no real one: a part of it may look like one.
func TestAConnectorThatIsHalfUnderstoodIsNoBank(t *testing.T) {
	const odd = `{"id":0,"name":"Pluggy Bank","country":"BR","isSandbox":"yes"}`
	p, _ := scripted(t, map[string]http.HandlerFunc{
		"GET /items/" + theItem: says(itemJSON(`"connector":` + odd)), "GET /accounts": says(accountsJSON),
		"GET /connectors": says(`{"results":[` + odd + `,7,null,{"id":601,"name":"Itaú","country":"BR","isSandbox":null}]}`),
	})
	p.environment = Production
	i, err := p.item(t.Context(), theItem)
	if err != nil || p.allowed(i.Connector.Value) || p.judge(i) != bad {
		t.Errorf("%+v, %v", i, err)
	}
	banks, err := p.Institutions(t.Context(), "BR", "")
	if err != nil || len(banks) != 1 || banks[0].ID != "601" {
		t.Errorf("%v, %v", banks, err)
	}
}

// The address of an item is its id, which opens it: an error that tells an address tells that.
func TestNoAddressComesIntoAnError(t *testing.T) {
	for _, location := range []string{"http://[::1/items/" + theItem, "https://elsewhere.example/items/" + theItem, "/items/%zz" + theItem} {
		p, _ := scripted(t, map[string]http.HandlerFunc{"GET /items/" + theItem: func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Location"] = []string{location}
			w.WriteHeader(http.StatusFound)
		}})
		_, err := p.Item(t.Context(), secret.New(theItem))
		if err == nil || strings.Contains(err.Error(), theItem) || bank.KindOf(err) != bank.OurFault {
			t.Errorf("%s: %v", location, err)
		}
	}
}

// An account is followed to another item by its number. Four digits of it are those of many.
func TestANumberThatIsMaskedIdentifiesNoAccount(t *testing.T) {
	for number, want := range map[string]bool{
		"0001/12345-0": true, "12345678-9": true, "**** 3450": false, "****/*3450-*": false, "xxxx-3450": false, "3450": false, "": false, "•••• 34501": false,
	} {
		a := account{ID: theBank, Type: "BANK", Subtype: "CHECKING_ACCOUNT", Number: loose(number)}
		if got := a.account(&item{Connector: maybe[connector]{connector{ID: "601"}, true}}); (got.Persistent != "") != want {
			t.Errorf("%q gives the key %q", number, got.Persistent)
		}
	}
}

// Accounts that an answer does not name are gone for us, with all that comes for them.
func TestAnAnswerThatNamesNotAllAccountsIsNone(t *testing.T) {
	one := strings.Replace(accountsJSON, `"page":1,"total":2,"totalPages":1`, `"page":1,"total":3,"totalPages":2`, 1)
	for body, good := range map[string]bool{
		accountsJSON: true, `{"results":[]}`: true, `{"page":1,"total":0,"totalPages":0,"results":[]}`: true,
		`{}`: false, `{"results":null}`: false, `{"accounts":[]}`: false, one: false, strings.Replace(one, `"total":3`, `"total":"3"`, 1): false,
	} {
		p, _ := scripted(t, map[string]http.HandlerFunc{"GET /items/" + theItem: says(itemJSON()), "GET /accounts": says(body)})
		if got, err := p.Item(t.Context(), secret.New(theItem)); (err == nil) != good || err != nil && (bank.CodeOf(err) != badAnswer || bank.KindOf(err) != bank.Retry) {
			t.Errorf("%.60s: %+v, %v", body, got.Accounts, err)
		}
	}
}

// Behind a wrong address nothing is found either. Who takes that for a consent that has ended destroys the token of one that lives.
func TestAnAddressThatPluggyDoesNotKnowIsNoItemThatIsGone(t *testing.T) {
	for body, gone := range map[string]bool{
		`{"code":404,"codeDescription":"ITEM_NOT_FOUND","message":"item not found"}`:       true,
		`{"code":404,"message":"Cannot DELETE /items/x","errorId":"e"}`:                    false,
		`{"statusCode":404,"message":"Cannot DELETE /items/x","error":"Not Found"}`:        false,
		`{"code":404,"codeDescription":"ENDPOINT_DEPRECATED","message":"no longer there"}`: false,
	} {
		p, _ := scripted(t, map[string]http.HandlerFunc{"DELETE /items/" + theItem: with(404, body), "GET /items/" + theItem: with(404, body)})
		_, err := p.Item(t.Context(), secret.New(theItem))
		if removed := p.Remove(t.Context(), secret.New(theItem)); errors.Is(err, bank.ErrGone) != gone || (removed == nil) != gone {
			t.Errorf("%s: %v, %v", body, err, removed)
		}
	}
}

// What is kept of an answer must fit where it is kept: one row must not stop all that come after it.
func TestIDsAndCursorsThatPluggyNeverGivesAreNotKept(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, id := range []string{`"` + long + `"`, `"a b"`, `"it's \"both\""`, `"a\u0000"`, `"é"`, `7`, `null`, `""`} {
		row := `{"id":` + id + `,"amount":1,"type":"CREDIT","currencyCode":"BRL","date":"2026-06-15T03:00:00.000Z"}`
		p, _ := itemWith(t, resultsJSON("null", rowJSON("t1", theBank), row), resultsJSON("null"))
		page, err := p.Changes(t.Context(), bank.From{Token: secret.New(theItem)})
		if err != nil || len(page.Changed) != 1 || len(page.Unusable) != 1 || page.Unusable[0].ID != bank.UnnamedID(jsontext.Value(row)) {
			t.Errorf("%.20s: %d changed, %d unusable, %v", id, len(page.Changed), len(page.Unusable), err)
		}
	}
	p, _ := itemWith(t, resultsJSON("?after="+long, rowJSON("t1", theBank)), resultsJSON("null"))
	if _, err := p.Changes(t.Context(), bank.From{Token: secret.New(theItem)}); bank.CodeOf(err) != badAnswer {
		t.Errorf("a cursor of a megabyte: %v", bank.CodeOf(err))
	}
}

// A page must be told before its time is over, however slow Pluggy is: what is lost with it is read again, and lost again.
func TestASlowPluggyIsReadAllTheSame(t *testing.T) {
	for _, deep := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const pages, each = 25, 3
			news := 0
			s := &script{t: t, answers: map[string]http.HandlerFunc{
				"GET /items/" + theItem: says(itemJSON()), "GET /accounts": says(accountsJSON),
				"GET " + transactionsPath: func(w http.ResponseWriter, r *http.Request) {
					begin, q := 0, r.URL.Query()
					_, _ = fmt.Sscan(q.Get("after"), &begin)
					if q.Get("accountId") == theCard || (q.Has("createdAtFrom") && news == 0) {
						says(resultsJSON("null"))(w, r)
						return
					}
					var rows []string
					for n := begin * each; n < begin*each+each; n++ {
						created := "2026-06-16T08:00:00.000Z"
						if news > 0 {
							created = "2026-06-18T08:00:00.000Z"
						}
						rows = append(rows, rowJSON(fmt.Sprint("n", news, "-", n), theBank, `"createdAt":"`+created+`"`))
					}
					next := "?after=" + fmt.Sprint(begin+1)
					if begin+1 == pages {
						next = "null"
					}
					says(resultsJSON(next, rows...))(w, r)
				},
			}}
			slow := func(r *http.Request) (*http.Response, error) {
				select {
				case <-time.After(7 * time.Second):
					return inMemory{s}.RoundTrip(r)
				case <-r.Context().Done():
					return nil, r.Context().Err()
				}
			}
			p, err := New(Config{
				Environment: Sandbox, ClientID: "c", ClientSecret: secret.New("s"), HTTPClient: &http.Client{Transport: roundTrip(slow)},
				Now: func() time.Time { return time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC) },
			})
			if err != nil {
				t.Fatal(err)
			}
			at := ""
			for ; news < 2; news++ {
				told := map[string]bool{}
				for n := 0; ; n++ {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					page, err := p.Changes(ctx, bank.From{Token: secret.New(theItem), At: at, Deep: deep && news > 0})
					cancel()
					if err != nil || n > pages {
						t.Fatalf("news %d, deep %v, page %d: %v", news, deep, n, err)
					}
					for _, c := range page.Changed {
						told[c.ID] = true
					}
					if at = page.Next; !page.More {
						break
					}
				}
				if !deep && len(told) < pages*each || len(told) == 0 {
					t.Errorf("news %d, deep %v: %d of %d rows were told", news, deep, len(told), pages*each)
				}
			}
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
