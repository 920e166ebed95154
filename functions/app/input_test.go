package app_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/google"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
)

// snapshot is all that a request can change: documents, queue, names in the vault, Books, items at the bank.
func (w *world) snapshot() map[string][]string {
	w.t.Helper()
	all := w.tables()
	names, err := w.vault.List(w.t.Context(), "", "")
	w.must(err)
	all["vault"] = names
	var items struct{ Items []json.RawMessage }
	w.sim(http.MethodGet, "/sandbox/plaid/_sim/items", nil, &items)
	for _, i := range items.Items {
		all["items"] = append(all["items"], string(i))
	}
	for _, b := range w.books.AllBooks() {
		all["book "+b.Name] = w.records(b.ID)
		accounts, err := w.books.Accounts(w.owner(b.ID), b.ID)
		w.must(err)
		for _, a := range accounts.Items {
			all["accounts "+b.Name] = append(all["accounts "+b.Name], a.ID+" "+a.Name)
		}
	}
	return all
}

// owner is a Book's, as the sandbox's own methods take callers.
func (w *world) owner(book string) bkper.Caller {
	for _, email := range []string{clientEmail, bookkeeperEmail} {
		if b, err := w.books.Book(bkper.Caller{Email: email}, book, false); err == nil && b.Permission == bkper.Owner {
			return bkper.Caller{Email: email}
		}
	}
	w.t.Fatalf("the Book %s has no owner", book)
	return bkper.Caller{}
}

// object is a JSON object that a row of a table changes in one place.
type object map[string]any

func (o object) with(name string, value any) object {
	changed := maps.Clone(o)
	changed[name] = value
	return changed
}

func (o object) without(name string) object {
	changed := maps.Clone(o)
	delete(changed, name)
	return changed
}

func (o object) String() string {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// bad is a request that must be refused and change nothing.
type bad struct {
	name   string
	who    *person
	path   string
	body   string
	status int
	code   string
	// sound: the request is as the document says, and only this caller, now, is refused.
	sound bool
}

// refuse makes the requests, one after the other.
func (w *world) refuse(rows []bad) {
	w.t.Helper()
	w.settle()
	before := w.snapshot()
	for _, r := range rows {
		a := r.who.send(http.MethodPost, r.path, r.body, !r.sound)
		if a.status != r.status || a.code() != r.code {
			w.t.Errorf("%s: POST %s %.200s: %d %s, want %d %s", r.name, r.path, r.body, a.status, a.body, r.status, r.code)
		}
		if detail := a.member("detail"); !strings.HasSuffix(detail, ".") || len(detail) < 15 {
			w.t.Errorf("%s: the answer has no sentence: %s", r.name, a.body)
		}
		w.settle()
		after := w.snapshot()
		if diff := cmp.Diff(before, after); diff != "" {
			w.t.Errorf("%s: POST %s %.200s changed something:\n%s", r.name, r.path, r.body, diff)
			before = after
		}
	}
}

// stage is a world with something in it that a bad request could spoil.
type stage struct {
	*world
	book, free                string // Books: with a linked account, without
	connection, integration   string
	checking, card, pounds    string // keys of the client's bank accounts
	account, archived, income string // Accounts of the Book
	session                   string // open
	stranger                  *person
}

func newStage(t *testing.T) *stage {
	t.Helper()
	w := newWorld(t)
	s := &stage{world: w, book: w.newBook("Linked"), free: w.newBook("Free")}
	pounds := plaid.Holding{Name: "Sterling", Mask: "0004", Type: "depository", Subtype: "savings", Currency: "GBP", Current: decimal.New(1, 0)}
	b := w.bank("Stage Bank", checking(row(5, "1", "A")), card(), pounds)
	c := w.client.connect(b, s.book)
	w.client.ok(http.MethodPost, "/connect/offer", object{"connection": c.ID, "book": s.free, "offered": true}, nil)
	for _, a := range c.Accounts {
		*map[string]*string{"0001": &s.checking, "0002": &s.card, "0004": &s.pounds}[a.Mask] = a.Key
	}
	made, err := w.books.CreateAccounts(bkper.Caller{Email: clientEmail}, s.book, []bkper.Account{
		{Name: "Bank", Type: bkper.Asset}, {Name: "Old", Type: bkper.Asset}, {Name: "Income", Type: bkper.Incoming},
	})
	w.must(err)
	ids := map[string]string{}
	for _, a := range made.Items {
		ids[a.Name] = a.ID
	}
	s.account, s.archived, s.income = ids["Bank"], ids["Old"], ids["Income"]
	w.must(w.hand(s.book).Archive(s.archived, true))
	i := w.client.link(linking{Book: s.book, Connection: c.ID, Key: s.checking, Account: s.account})
	s.connection, s.integration, s.session = c.ID, i.ID, w.client.begin(s.book).Session
	s.stranger = &person{w: w, email: strangerEmail, http: http.DefaultClient, token: w.accessToken(strangerEmail, googleClient, googleSecret, w.url+"/auth/callback")}
	return s
}

// accessToken is one that a client of Google's got for a person, without our sign-in.
func (w *world) accessToken(email, client, clientSecret, redirect string) string {
	w.t.Helper()
	verifier := strings.Repeat("a-verifier-", 5)
	sum := sha256.Sum256([]byte(verifier))
	code, err := w.google.Approve(google.AuthRequest{
		ClientID: client, RedirectURI: redirect, ResponseType: "code", Scope: "openid email", Nonce: "n",
		Challenge: base64.RawURLEncoding.EncodeToString(sum[:]), Method: "S256",
	}, email)
	w.must(err)
	tokens, err := w.google.Exchange(client, clientSecret, code, redirect, verifier)
	w.must(err)
	w.heard.secret("access_token", tokens.AccessToken)
	return tokens.AccessToken
}

// goodBodies are requests that would do something, by path.
func (s *stage) goodBodies() map[string]object {
	return map[string]object{
		"/connect":          {"book": s.book, "country": "US", "language": "en"},
		"/connect/complete": {"session": s.session},
		"/connect/offer":    {"connection": s.connection, "book": s.free, "offered": false},
		"/connect/accounts": {"connection": s.connection},
		"/link":             {"book": s.book, "connection": s.connection, "key": s.card, "create": "Card", "from": day(30)},
		"/remove":           {"integration": s.integration},
		"/disconnect":       {"connection": s.connection},
		"/reconnect":        {"connection": s.connection, "language": "pt"},
		"/portal/sync":      {"connection": s.connection, "book": s.book},
	}
}

func TestMalformedRequestsAreRefusedAndChangeNothing(t *testing.T) {
	s := newStage(t)
	var rows []bad
	add := func(name, path, body string) {
		rows = append(rows, bad{name, s.client, path, body, http.StatusBadRequest, "invalid_request", false})
	}
	for path, good := range s.goodBodies() {
		text := good.String()
		names := slices.Sorted(maps.Keys(good))
		first := names[0]
		quoted, _ := json.Marshal(good[first])
		add("an unknown member", path, good.with("colour", "green").String())
		add("a member in another case", path, good.without(first).with(strings.ToUpper(first), good[first]).String())
		add("a member twice", path, fmt.Sprintf(`{%q:%s,%s`, first, quoted, text[1:]))
		add("something after the object", path, text+"{}")
		add("half an object", path, text[:len(text)-1])
		add("a list", path, "["+text+"]")
		add("null", path, "null")
		add("bytes that are no UTF-8", path, text[:len(text)-1]+",\"x\":\"\xff\"}")
		add("too large", path, `{"x":"`+strings.Repeat("x", 70_000)+`"}`)
		add("too deep", path, `{"x":`+strings.Repeat("[", 2_000)+strings.Repeat("]", 2_000)+`}`)
		for _, name := range names {
			for _, wrong := range []any{17, []string{"x"}, object{"x": "y"}} {
				add("a wrong type of "+name, path, good.with(name, wrong).String())
			}
		}
		for _, id := range []string{"connection", "integration", "session", "book"} {
			if good[id] == nil || path == "/portal/sync" && id == "book" || path == "/connect/offer" && id == "book" {
				continue
			}
			add("without "+id, path, good.without(id).String())
			for _, wrong := range []string{"", " ", "../" + fmt.Sprint(good[id]), "a/b", strings.Repeat("x", 129), "é", "x\x00y"} {
				add(fmt.Sprintf("%s %.20q", id, wrong), path, good.with(id, wrong).String())
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b bad) int { return strings.Compare(a.path, b.path) })
	s.refuseAll(rows) // one look for all, since each by itself would take minutes
	if len(rows) < 200 {
		t.Errorf("only %d requests", len(rows))
	}
}

func TestWhatCannotBeDoneIsRefusedAndChangesNothing(t *testing.T) {
	s := newStage(t)
	good := s.goodBodies()
	link, seen := good["/link"], bkper.SeedBookID
	noDigits, three := 0, 3
	kuwaiti := s.makeBook(bkper.Book{Name: "Three digits", FractionDigits: &three, Properties: map[string]string{"exc_code": "KWD"}}, bkper.Editor)
	whole := s.makeBook(bkper.Book{Name: "No digits", FractionDigits: &noDigits, Properties: map[string]string{"exc_code": "USD"}}, bkper.Editor)
	s.client.refused("/connect/accounts", object{"connection": "none"}, http.StatusNotFound, "not_found")
	no := func(name, path string, body object, status int, code string) bad {
		return bad{name, s.client, path, body.String(), status, code, false}
	}
	s.refuse([]bad{
		no("a Book that is not there", "/connect", good["/connect"].with("book", "none"), 404, "not_found"),
		no("a Book of others", "/connect", good["/connect"].with("book", seen("AUD")), 404, "not_found"),
		no("a country without banks", "/connect", good["/connect"].with("country", "JP"), 422, "country_not_served"),
		no("no country at all", "/connect", good["/connect"].with("country", "XX"), 422, "country_not_served"),
		no("a provider that is not there", "/connect", good["/connect"].with("provider", "bank-of-nowhere"), 422, "unknown_provider"),

		no("a VIEWER links", "/link", link.with("book", seen("GBP")), 403, "forbidden"),
		no("a POSTER links", "/link", link.with("book", seen("CAD")), 403, "forbidden"),
		no("a RECORDER links", "/link", link.with("book", seen("JPY")), 403, "forbidden"),
		no("a Book of others", "/link", link.with("book", seen("AUD")), 404, "not_found"),
		no("a Book that is not there", "/link", link.with("book", "none"), 404, "not_found"),
		no("a connection that is not there", "/link", link.with("connection", "none"), 404, "not_found"),
		no("a bank account that is not there", "/link", link.with("key", "none"), 404, "not_found"),
		no("another currency", "/link", link.with("key", s.pounds), 422, "currency_mismatch"),
		no("another currency, of the Book", "/link", link.with("book", kuwaiti), 422, "currency_mismatch"),
		no("too few digits", "/link", link.with("book", whole), 422, "digits_mismatch"),
		no("no date", "/link", link.with("from", "yesterday"), 400, "invalid_request"),
		no("a day that is not there", "/link", link.with("from", "2026-02-30"), 400, "invalid_request"),
		no("a date with a time", "/link", link.with("from", "2026-01-01T00:00:00Z"), 400, "invalid_request"),
		no("without a date", "/link", link.without("from"), 400, "invalid_request"),
		no("too long ago", "/link", link.with("from", "1989-12-31"), 422, "date_out_of_range"),
		no("too far ahead", "/link", link.with("from", time.Now().AddDate(2, 0, 0).Format(time.DateOnly)), 422, "date_out_of_range"),
		no("no Account", "/link", link.without("create"), 400, "invalid_request"),
		no("two Accounts", "/link", link.with("account", s.account), 400, "invalid_request"),
		no("a blank name", "/link", link.with("create", "  "), 400, "invalid_request"),
		no("a long name", "/link", link.with("create", strings.Repeat("x", 101)), 400, "invalid_request"),
		no("an Account that is not there", "/link", link.without("create").with("account", "none"), 422, "no_such_account"),
		no("an archived Account", "/link", link.without("create").with("account", s.archived), 422, "account_archived"),
		no("an archived Account, by name", "/link", link.with("create", "Old"), 422, "account_archived"),
		no("an income Account", "/link", link.without("create").with("account", s.income), 422, "account_type"),
		no("to replace what is not there", "/link", link.with("replaces", "none-such"), 422, "no_such_integration"),

		no("an integration that is not there", "/remove", object{"integration": "none"}, 404, "not_found"),
		no("a connection that is not there", "/disconnect", object{"connection": "none"}, 404, "not_found"),
		no("a connection that is not there", "/reconnect", object{"connection": "none"}, 404, "not_found"),
		no("a session that is not there", "/connect/complete", object{"session": "none"}, 404, "not_found"),
		no("to offer to a Book of others", "/connect/offer", object{"connection": s.connection, "book": seen("AUD"), "offered": true}, 404, "not_found"),
		no("an offered one without the Book", "/portal/sync", object{"connection": "none"}, 404, "not_found"),
	})
	// Who insists may, and knows what for.
	i := s.client.link(linking{Book: s.book, Connection: s.connection, Key: s.pounds, Create: "Sterling", Insist: true})
	if i.Currency != "GBP" {
		t.Errorf("insisted on: %+v", i)
	}
}

func TestWhoHasNoStandingGrantIsSentToGiveOne(t *testing.T) {
	s := newStage(t)
	_, err := s.books.Share(bkper.Caller{Email: clientEmail}, s.book, bkper.Collaborator{Email: strangerEmail, Permission: bkper.Editor})
	s.must(err)
	s.refuse([]bad{{"no grant", s.stranger, "/link", s.goodBodies()["/link"].String(), http.StatusForbidden, "consent_required", true}})
	a := s.stranger.do(http.MethodPost, "/link", s.goodBodies()["/link"])
	if to := a.member("url"); !strings.HasPrefix(to, s.url+"/auth/login") {
		t.Errorf("the consent is at %q", to)
	}
	signedIn := s.signIn(strangerEmail)
	if i := signedIn.link(linking{Book: s.book, Connection: s.connection, Key: s.card, Create: "Card"}); i.PostsAs != strangerEmail {
		t.Errorf("after the consent: %+v", i)
	}
}

func TestTokensOfOthersOpenNothing(t *testing.T) {
	s := newStage(t)
	push, err := s.oidc(t.Context(), s.cfg.PosterURL)
	s.must(err)
	expired := s.signIn(clientEmail).token
	tokens := map[string]string{
		"none": "", "nonsense": "nonsense", "two words": "a b", "another client's": s.accessToken(clientEmail, otherClient, "other", "https://other.example/back"),
		"a push's": push.Reveal(), "an ID token without a signature": "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "long": strings.Repeat("x", 5000),
	}
	var rows []bad
	for path, good := range s.goodBodies() {
		for name, token := range tokens {
			rows = append(rows, bad{"token: " + name, &person{w: s.world, http: http.DefaultClient, token: token}, path, good.String(), http.StatusUnauthorized, "unauthenticated", false})
		}
	}
	s.refuseAll(rows)
	s.must(s.google.ExpireTokens(google.Sub(clientEmail)))
	rows = nil
	for path, good := range s.goodBodies() {
		p := &person{w: s.world, http: http.DefaultClient, token: expired}
		rows = append(rows, bad{"an expired token", p, path, good.String(), http.StatusUnauthorized, "unauthenticated", true})
	}
	s.refuseAll(rows)
}

// refuseAll makes the requests, and looks once at the end whether anything changed.
func (w *world) refuseAll(rows []bad) {
	w.t.Helper()
	w.settle()
	before := w.snapshot()
	for _, r := range rows {
		a := r.who.send(http.MethodPost, r.path, r.body, !r.sound)
		if a.status != r.status || a.code() != r.code || !strings.HasSuffix(a.member("detail"), ".") {
			w.t.Errorf("%s: POST %s %.120s: %d %s, want %d %s", r.name, r.path, r.body, a.status, a.body, r.status, r.code)
		}
	}
	w.settle()
	if diff := cmp.Diff(before, w.snapshot()); diff != "" {
		w.t.Errorf("something changed:\n%s", diff)
	}
}

// theirs are requests about things of the client's.
func (s *stage) theirs() map[string]object {
	bodies := s.goodBodies()
	delete(bodies, "/connect")
	return bodies
}

func TestWhatBelongsToAnotherLooksLikeNothing(t *testing.T) {
	s := newStage(t)
	foreign := s.bookkeeper
	// The bookkeeper has everything that the client has: a bank, a Book, a session.
	own := foreign.connect(s.bank("Own Bank", checking()), s.free)
	s.settle()
	before := s.snapshot()
	for path, body := range s.theirs() {
		for _, who := range []*person{foreign, s.stranger} {
			if who == foreign && (path == "/link" || path == "/remove" || path == "/portal/sync") {
				continue // an editor of that Book may
			}
			for _, id := range []string{"connection", "integration", "session"} {
				if body[id] == nil {
					continue
				}
				theirs := who.do(http.MethodPost, path, body)
				nothing := who.do(http.MethodPost, path, body.with(id, "abcdefghijklmnopqrstuvwxyz"))
				if theirs.status != http.StatusNotFound || theirs.status != nothing.status || untraced(theirs.body) != untraced(nothing.body) {
					t.Errorf("POST %s as %s: another's: %d %s; none: %d %s", path, who.email, theirs.status, theirs.body, nothing.status, nothing.body)
				}
				for name := range theirs.header {
					if name != "Date" && name != "Content-Length" && !slices.Equal(theirs.header[name], nothing.header[name]) {
						t.Errorf("POST %s as %s: the header %s tells: %v, %v", path, who.email, name, theirs.header[name], nothing.header[name])
					}
				}
			}
		}
	}
	s.settle()
	if diff := cmp.Diff(before, s.snapshot()); diff != "" {
		t.Errorf("something changed:\n%s", diff)
	}
	for _, path := range []string{"/portal/book?book=", "/portal/integrations?book="} {
		theirs, nothing := s.stranger.do(http.MethodGet, path+s.book, nil), s.stranger.do(http.MethodGet, path+"none", nil)
		if theirs.status != http.StatusNotFound || untraced(theirs.body) != untraced(nothing.body) {
			t.Errorf("GET %s: another's: %d %s; none: %d %s", path, theirs.status, theirs.body, nothing.status, nothing.body)
		}
	}
	if all := foreign.connections(); len(all) != 1 || all[0].ID != own.ID {
		t.Errorf("the bookkeeper's connections are %+v", all)
	}
}

// untraced is the body of a problem without what differs in every answer.
func untraced(body string) string {
	var members map[string]any
	if json.Unmarshal([]byte(body), &members) != nil {
		return body
	}
	delete(members, "trace")
	return object(members).String()
}

func TestBadQueriesOfListsAreRefused(t *testing.T) {
	w := newWorld(t)
	for query, code := range map[string]string{
		"/portal/banks?country=US&country=GB":                        "invalid_request",
		"/portal/banks?country=US&colour=green":                      "invalid_request",
		"/portal/banks?country=US&q=" + strings.Repeat("x", 101):     "invalid_request",
		"/portal/banks?country=JP":                                   "country_not_served",
		"/portal/banks":                                              "country_not_served",
		"/portal/book":                                               "invalid_request",
		"/portal/book?book=" + url.QueryEscape("../x"):               "invalid_request",
		"/portal/integrations?book=none":                             "not_found",
		"/portal/connections?owner=" + google.Sub(bookkeeperEmail):   "invalid_request",
		"/portal/integrations?book=none&x=" + strings.Repeat("y", 9): "invalid_request",
	} {
		if a := w.client.send(http.MethodGet, query, "", true); a.code() != code || !strings.HasSuffix(a.member("detail"), ".") {
			t.Errorf("GET %s: %d %s, want %s", query, a.status, a.body, code)
		}
	}
}
