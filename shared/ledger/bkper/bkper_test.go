package bkper_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/civil"
	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/ledger/bkper"
	"github.com/bkper/automations-portal/shared/secret"
)

// wire answers requests without a network.
type wire func(*http.Request) (*http.Response, error)

func (f wire) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func client(t *testing.T, transport http.RoundTripper) *bkper.Client {
	t.Helper()
	c, err := bkper.New(bkper.Config{
		BaseURL: "https://bkper.example/prefix", APIKey: secret.New("api-key"), Agent: "portal", HTTP: &http.Client{Transport: transport},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func answering(status int, header http.Header, body string) http.RoundTripper {
	return wire(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
		return w.Result(), nil
	})
}

var token = secret.New("ya29.tok-en")

const envelope = `{"error":{"code":0,"message":"The user [x@y] may not see echo-ya29.tok-en","errors":[{"domain":"global","reason":"REASON","message":""}]}}`

func reason(word string) string { return strings.Replace(envelope, "REASON", word, 1) }

func TestRefusalsAreTranslated(t *testing.T) {
	after := func(text string) http.Header { return http.Header{"Retry-After": {text}} }
	for _, row := range []struct {
		name      string
		transport http.RoundTripper
		kind      bank.Kind
		condition error
		after     time.Duration
	}{
		{"403 is the token", answering(403, nil, reason("forbidden")), bank.UserMustAct, ledger.ErrLogin, 0},
		{"401 is the permission", answering(401, nil, reason("required")), bank.UserMustAct, ledger.ErrNoAccess, 0},
		{"401 without details", answering(401, nil, `{"error":{"code":401,"message":"no"}}`), bank.UserMustAct, ledger.ErrNoAccess, 0},
		{"403 for quota", answering(403, nil, reason("rateLimitExceeded")), bank.Retry, nil, 0},
		{"404", answering(404, nil, reason("notFound")), bank.Permanent, ledger.ErrNotFound, 0},
		{"400", answering(400, nil, reason("invalid")), bank.Permanent, ledger.ErrRefused, 0},
		{"409", answering(409, nil, reason("conflict")), bank.Permanent, ledger.ErrRefused, 0},
		{"412", answering(412, nil, reason("conditionNotMet")), bank.Permanent, ledger.ErrRefused, 0},
		{"413", answering(413, nil, `<html>too large</html>`), bank.Permanent, ledger.ErrRefused, 0},
		{"408", answering(408, nil, ``), bank.Retry, nil, 0},
		{"429 with seconds", answering(429, after("7"), ``), bank.RetryAfter, nil, 7 * time.Second},
		{"429 without", answering(429, nil, reason("rateLimitExceeded")), bank.Retry, nil, 0},
		{"503 with too many seconds", answering(503, after("999999999999"), ``), bank.RetryAfter, nil, time.Hour},
		{"503 with a negative wait", answering(503, after("-5"), ``), bank.Retry, nil, 0},
		{"503 with a date that is past", answering(503, after("Mon, 02 Jan 2006 15:04:05 GMT"), ``), bank.RetryAfter, nil, 0},
		{"500", answering(500, nil, reason("backendError")), bank.Retry, nil, 0},
		{"a page of a proxy", answering(404, nil, `<html>ya29.tok-en</html>`), bank.Retry, nil, 0},
		{"a page instead of the login", answering(403, nil, `<html>blocked</html>`), bank.Retry, nil, 0},
		{"other JSON", answering(404, nil, `{"success":false}`), bank.Retry, nil, 0},
		{"a redirect", answering(302, http.Header{"Location": {"https://evil.example/"}}, ``), bank.Retry, nil, 0},
		{"success that is a page", answering(200, nil, `<html>ya29.tok-en</html>`), bank.Retry, nil, 0},
		{"success cut short", answering(200, nil, `{"id":"b1","name":"ya29.tok-en`), bank.Retry, nil, 0},
		{"unreachable", wire(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }), bank.Retry, nil, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := client(t, row.transport).Book(t.Context(), token, "book-1")
			var e *bank.Error
			if !errors.As(err, &e) || e.Kind != row.kind || e.Code == "" || e.After != row.after {
				t.Fatalf("%#v, want %s after %v", err, row.kind, row.after)
			}
			for _, condition := range []error{ledger.ErrLogin, ledger.ErrNoAccess, ledger.ErrNotFound, ledger.ErrRefused} {
				if errors.Is(err, condition) != (condition == row.condition) {
					t.Errorf("%v is %v: %v", err, condition, errors.Is(err, condition))
				}
			}
			if strings.Contains(err.Error(), "tok-en") || strings.Contains(err.Error(), "x@y") {
				t.Errorf("the answer is quoted: %v", err)
			}
		})
	}
}

func TestTheTokenGoesIntoOneHeaderAndNowhereElse(t *testing.T) {
	var seen *http.Request
	var sent []byte
	c := client(t, wire(func(r *http.Request) (*http.Response, error) {
		seen = r
		sent = nil
		if r.Body != nil {
			sent, _ = io.ReadAll(r.Body)
		}
		return answering(200, nil, `{}`).RoundTrip(r)
	}))
	_, err := c.Find(t.Context(), token, "book-1", ledger.Query{
		RemoteID: "a b'&c", Account: `Itaú "X"`, From: civil.Date{Year: 2026, Month: 1, Day: 1}, To: civil.Date{Year: 2026, Month: 2, Day: 28}, Trashed: true, Cursor: "next/1",
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := seen.URL.Query().Get("query"), `remoteId:"a b'&c" account:'Itaú "X"' after:2026-01-01 before:2026-03-01 is:trashed`; got != want {
		t.Errorf("query %s, want %s", got, want)
	}
	if got := seen.URL.Host + seen.URL.Path + "?limit=" + seen.URL.Query().Get("limit"); got != "bkper.example/prefix/v5/books/book-1/transactions?limit=1000" {
		t.Error(got)
	}
	want := http.Header{
		"Authorization": {"Bearer ya29.tok-en"}, "Accept": {"application/json"},
		"Bkper-Api-Key": {"api-key"}, "Bkper-Agent-Id": {"portal"}, "Cursor": {"next/1"},
	}
	if diff := cmp.Diff(want, seen.Header); diff != "" {
		t.Error(diff)
	}
	if _, err := c.Write(t.Context(), token, "book-1", ledger.Trash, []ledger.Transaction{{ID: "t1", Description: "x"}}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(seen.URL.String()+string(sent), "tok-en") {
		t.Errorf("%s with %s", seen.URL, sent)
	}
}

func TestBatchesAreSentAsBkperTakesThem(t *testing.T) {
	row := ledger.Transaction{
		ID: "t1", RemoteIDs: []string{"r1", "r2"}, Date: civil.Date{Year: 2026, Month: 1, Day: 2}, Amount: decimal.New(12, 3),
		Debit: "a1", Description: "X", Properties: map[string]string{"k": "v"}, URLs: []string{"https://u.example"}, Files: []byte(`[{"id":"f1"}]`),
	}
	posted := row
	posted.Posted, posted.Amount = true, decimal.RequireFromString("0.00000001")
	const full = `"remoteIds":["r1","r2"],"date":"2026-01-02","amount":"AMOUNT","debitAccount":{"id":"a1"},"description":"X",` +
		`"properties":{"k":"v"},"urls":["https://u.example"],"files":[{"id":"f1"}]`
	for _, row := range []struct {
		op           ledger.Operation
		row          ledger.Transaction
		method, path string
		body         string
	}{
		{ledger.Create, row, "POST", "/transactions/batch", `{"items":[{` + strings.Replace(full, "AMOUNT", "12000", 1) + `,"draft":true}]}`},
		{ledger.Update, row, "PUT", "/transactions/batch", `{"items":[{"id":"t1",` + strings.Replace(full, "AMOUNT", "12000", 1) + `,"draft":true}]}`},
		{ledger.Update, posted, "PUT", "/transactions/batch", `{"items":[{"id":"t1",` + strings.Replace(full, "AMOUNT", "0.00000001", 1) + `}]}`},
		{ledger.Trash, row, "PATCH", "/transactions/trash/batch", `{"items":[{"id":"t1"}]}`},
		{ledger.Revive, row, "PATCH", "/transactions/untrash/batch", `{"items":[{"id":"t1"}]}`},
	} {
		t.Run(string(row.op)+" "+row.row.Amount.String(), func(t *testing.T) {
			c := client(t, wire(func(r *http.Request) (*http.Response, error) {
				body, _ := io.ReadAll(r.Body)
				if r.Method != row.method || r.URL.Path != "/prefix/v5/books/book-1"+row.path || r.URL.RawQuery != "" || string(body) != row.body {
					t.Errorf("%s %s\n%s\nwant %s", r.Method, r.URL, body, row.body)
				}
				return answering(204, nil, "").RoundTrip(r)
			}))
			if all, err := c.Write(t.Context(), token, "book-1", row.op, []ledger.Transaction{row.row}); err != nil || len(all) > 0 {
				t.Error(all, err)
			}
		})
	}
}

func TestAnswersAreReadInEveryFormThatBkperWrites(t *testing.T) {
	const page = `{"account":"7","cursor":"c2","items":[
		{"id":5629499534213120,"amount":"1e-8","date":"2026-01-02","posted":true,"checked":true,"creditAccount":{"id":7,"name":"Bank","balance":"1.5"},
		 "debitAccount":{"id":"8"},"remoteIds":["r1"],"files":[{"size":"12"},{"size":12}],"createdAt":"1795167610378","tags":["x"],"unknown":{"a":[1]}},
		{"id":"2","draft":true,"amount":12.50,"description":"begun by a person"},
		{"id":"3","amount":"1e+21","properties":null,"files":null,"trashed":true}]}`
	found, err := client(t, answering(200, nil, page)).Find(t.Context(), token, "book-1", ledger.Query{})
	if err != nil {
		t.Fatal(err)
	}
	want := ledger.Found{Cursor: "c2", Transactions: []ledger.Transaction{
		{
			ID: "5629499534213120", Amount: decimal.RequireFromString("0.00000001"), Date: civil.Date{Year: 2026, Month: 1, Day: 2}, Posted: true, Checked: true,
			Credit: "7", Debit: "8", RemoteIDs: []string{"r1"}, Files: []byte(`[{"size":"12"},{"size":12}]`),
		},
		{ID: "2", Amount: decimal.RequireFromString("12.5"), Description: "begun by a person"},
		{ID: "3", Amount: decimal.RequireFromString("1000000000000000000000"), Trashed: true},
	}}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
	for _, empty := range []string{`{}`, `{"items":[]}`, ``, `null`} {
		if found, err := client(t, answering(200, nil, empty)).Find(t.Context(), token, "book-1", ledger.Query{}); err != nil || len(found.Transactions) > 0 || found.Cursor != "" {
			t.Errorf("%q: %+v, %v", empty, found, err)
		}
		if all, err := client(t, answering(200, nil, empty)).Books(t.Context(), token); err != nil || len(all) > 0 {
			t.Errorf("%q: %+v, %v", empty, all, err)
		}
	}
}

func TestAnAnswerThatCannotBeTrueIsNotTaken(t *testing.T) {
	for _, item := range []string{
		`{"id":"1","amount":"1e1000000000"}`, `{"id":"1","amount":"1e-1000000000"}`, `{"id":"1","amount":"undefined"}`,
		`{"id":"1","amount":"` + strings.Repeat("9", 1000) + `"}`, `{"id":"1","date":"2026-02-30"}`, `{"amount":"1"}`, `{"id":{}}`, `7`,
	} {
		_, err := client(t, answering(200, nil, `{"items":[`+item+`]}`)).Find(t.Context(), token, "book-1", ledger.Query{})
		if bank.KindOf(err) != bank.Retry || bank.CodeOf(err) != "unreadable" {
			t.Errorf("%.60s: %v", item, err)
		}
	}
}

func TestABookIsReadWhole(t *testing.T) {
	for _, row := range []struct {
		body string
		want ledger.Book
		bad  bool
	}{
		{
			`{"id":"b1","name":"Shop","permission":"EDITOR","fractionDigits":3,"lockDate":"2026-01-31","closingDate":"2025-12-31","properties":{"exc_code":" usd "}}`,
			ledger.Book{ID: "b1", Name: "Shop", Permission: ledger.Editor, Digits: 3, Locked: civil.Date{Year: 2026, Month: 1, Day: 31}, Currency: "USD"},
			false,
		},
		{
			`{"id":"b1","permission":"OWNER","fractionDigits":"0","lockDate":"1900-00-00","closingDate":"2025-12-31"}`,
			ledger.Book{ID: "b1", Permission: ledger.Owner, Locked: civil.Date{Year: 2025, Month: 12, Day: 31}},
			false,
		},
		{`{"id":"b1","permission":"RECORD_ONLY"}`, ledger.Book{ID: "b1", Permission: ledger.None, Digits: 2}, false},
		{`{"id":"b1","lockDate":"31/01/2026"}`, ledger.Book{}, true},
		{`{"id":"b1","fractionDigits":99}`, ledger.Book{}, true},
	} {
		got, err := client(t, answering(200, nil, row.body)).Book(t.Context(), token, "b1")
		if (err != nil) != row.bad || !row.bad && !cmp.Equal(got, row.want) {
			t.Errorf("%s: %+v, %v", row.body, got, err)
		}
	}
}

func TestARowThatIsMissingIsToldFromABookThatIs(t *testing.T) {
	write := func(bookStatus int) error {
		_, err := client(t, wire(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet {
				return answering(bookStatus, nil, map[bool]string{true: `{"id":"b1"}`, false: reason("x")}[bookStatus == 200]).RoundTrip(r)
			}
			return answering(404, nil, reason("notFound")).RoundTrip(r)
		})).Write(t.Context(), token, "b1", ledger.Update, []ledger.Transaction{{ID: "t1"}})
		return err
	}
	for status, want := range map[int]error{200: ledger.ErrRefused, 404: ledger.ErrNotFound, 401: ledger.ErrNoAccess, 403: ledger.ErrLogin} {
		if err := write(status); !errors.Is(err, want) {
			t.Errorf("Book %d: %v, want %v", status, err, want)
		}
	}
	if err := write(503); bank.KindOf(err) != bank.Retry {
		t.Errorf("Book 503: %v", err)
	}
}

func TestNothingIsSentThatCannotBeRight(t *testing.T) {
	c := client(t, wire(func(r *http.Request) (*http.Response, error) {
		t.Errorf("sent %s %s", r.Method, r.URL)
		return answering(200, nil, `{}`).RoundTrip(r)
	}))
	for _, id := range []string{"", ".", "..", "../user", "a/b", "a?b", "a%2Fb", "é", strings.Repeat("a", 201)} {
		if _, err := c.Book(t.Context(), token, id); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := c.Find(t.Context(), token, "b1", ledger.Query{RemoteID: `'both" is:trashed`}); !errors.Is(err, ledger.ErrRefused) {
		t.Error(err)
	}
	for name, row := range map[string]ledger.Transaction{
		"negative": {ID: "1", Amount: decimal.New(-1, 0)}, "huge": {ID: "1", Amount: decimal.New(1, 1_000_000)}, "without id": {},
	} {
		if _, err := c.Write(t.Context(), token, "b1", ledger.Update, []ledger.Transaction{row}); bank.KindOf(err) != bank.OurFault {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnEndlessAnswerEnds(t *testing.T) {
	body := &endless{}
	c := client(t, wire(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body)}, nil
	}))
	if _, err := c.Books(t.Context(), token); bank.KindOf(err) != bank.OurFault {
		t.Error(err)
	}
	if body.read > 64<<20 {
		t.Errorf("read %d bytes", body.read)
	}
}

type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

func TestACallEndsAfterThirtySecondsAlsoInTheMiddleOfTheAnswer(t *testing.T) {
	for name, transport := range map[string]func(context.Context) (*http.Response, error){
		"no answer": func(ctx context.Context) (*http.Response, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"half an answer": func(ctx context.Context) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(stalled{ctx})}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				_, err := client(t, wire(func(r *http.Request) (*http.Response, error) { return transport(r.Context()) })).Books(t.Context(), token)
				if took := time.Since(begun); took != 30*time.Second || bank.KindOf(err) != bank.Retry || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

type stalled struct{ ctx context.Context }

func (s stalled) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func TestARedirectIsNotFollowed(t *testing.T) {
	calls := 0
	c := client(t, wire(func(r *http.Request) (*http.Response, error) {
		calls++
		return answering(307, http.Header{"Location": {"https://evil.example/"}}, "").RoundTrip(r)
	}))
	if _, err := c.Books(t.Context(), token); err == nil || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestAnAddressThatCannotBeBkpersIsRefused(t *testing.T) {
	for _, address := range []string{"bkper.app", "ftp://bkper.app", "https://", "https://bkper.app?a=b", "https://bkper app"} {
		if _, err := bkper.New(bkper.Config{BaseURL: address}); err == nil {
			t.Errorf("%q is taken", address)
		}
	}
	if _, err := bkper.New(bkper.Config{}); err != nil {
		t.Error(err)
	}
}

func FuzzAnyAnswerIsReadOrRefused(f *testing.F) {
	for _, seed := range []string{`{}`, `{"items":[{"id":1,"amount":"1e9"}]}`, `{"items":[null]}`, `{"error":{"errors":[{}]}}`, `[]`, `{"accounts":[{"id":1.5}]}`} {
		for _, status := range []int{200, 204, 400, 401, 403, 404, 503} {
			f.Add(status, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 {
			t.Skip()
		}
		c := client(t, answering(status, nil, string(body)))
		for _, call := range []func() error{
			func() error { _, err := c.Books(t.Context(), token); return err },
			func() error { _, err := c.Book(t.Context(), token, "b1"); return err },
			func() error { _, err := c.Find(t.Context(), token, "b1", ledger.Query{}); return err },
			func() error {
				_, err := c.Write(t.Context(), token, "b1", ledger.Create, []ledger.Transaction{{RemoteIDs: []string{"r"}}})
				return err
			},
		} {
			var e *bank.Error
			if err := call(); err != nil && !errors.As(err, &e) {
				t.Errorf("%d %q: %v", status, body, err)
			} else if err == nil && status > 299 {
				t.Errorf("%d is a success", status)
			} else if err == nil && len(body) > 0 && status != 204 && !json.Valid(body) && len(strings.TrimSpace(string(body))) > 0 {
				t.Errorf("%q is read", body)
			}
		}
	})
}
