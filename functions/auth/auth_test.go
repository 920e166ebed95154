package auth_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/functions/auth"
	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/sandbox/google"
	"github.com/bkper/automations-portal/shared/store"
	storemem "github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/web"
)

func TestAPersonSignsInAndThePageGetsAccessTokens(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	end, screens := b.signIn(ana, "?returnUrl="+url.QueryEscape(w.server.URL+"/portal/books?id=1#top"))
	if end.status != http.StatusSeeOther || end.to.String() != w.server.URL+"/portal/books?id=1#top" {
		t.Fatalf("the sign-in ends with %d %v %s", end.status, end.to, end.body)
	}
	if len(screens) != 1 {
		t.Fatalf("Google was visited %d times", len(screens))
	}
	q := screens[0].Query()
	for name, want := range map[string]string{
		"response_type": "code", "access_type": "offline", "code_challenge_method": "S256", "prompt": "", "client_id": clientID,
		"scope": "openid https://www.googleapis.com/auth/userinfo.email", "redirect_uri": w.server.URL + "/auth/callback",
	} {
		if q.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, q.Get(name), want)
		}
	}
	if w.grant(ana) == "" {
		t.Error("no grant is kept")
	}
	if u := w.user(ana); u.Email != ana || !u.Granted || !u.Updated.Equal(w.now) {
		t.Errorf("user %+v", u)
	}
	if u, ok := w.google.Lookup(b.token()); !ok || u.Email != ana {
		t.Errorf("the token is %v's", u)
	}
	if w.count("signins") != 0 {
		t.Error("the visit was not spent")
	}
	if got := end.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
}

func TestTheWebAuthClientIsServedAsItExpects(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	origin := "Origin: " + pages
	cross := "Sec-Fetch-Site: cross-site"

	before := b.refresh(origin, cross)
	if before.status != http.StatusUnauthorized || before.code() != "unauthenticated" {
		t.Errorf("without a session: %d %s", before.status, before.body)
	}
	preflight := b.do(http.MethodOptions, w.server.URL+"/auth/refresh", nil, origin, "Access-Control-Request-Method: POST",
		"Access-Control-Request-Headers: content-type")
	end, _ := b.signIn(ana, "?returnUrl="+url.QueryEscape(pages+"/?book=1"))
	if end.to == nil || end.to.String() != pages+"/?book=1" {
		t.Errorf("login returns to %v", end.to)
	}
	after := b.refresh(origin, cross, "Content-Type: application/json")
	var got map[string]string
	if err := json.Unmarshal([]byte(after.body), &got); err != nil || after.status != http.StatusOK {
		t.Fatalf("refresh: %d %s", after.status, after.body)
	}
	if _, ok := w.google.Lookup(got["accessToken"]); !ok || len(got) != 2 || got["userId"] != google.Sub(ana) {
		t.Errorf("refresh: %d members, user %q", len(got), got["userId"])
	}
	for name, a := range map[string]answer{"401": before, "preflight": preflight, "200": after} {
		if a.header.Get("Access-Control-Allow-Origin") != pages || a.header.Get("Access-Control-Allow-Credentials") != "true" {
			t.Errorf("%s: %v", name, a.header)
		}
	}
	out := b.get("/auth/logout?returnUrl="+url.QueryEscape(pages+"/bye"), "Sec-Fetch-Dest: document", cross)
	if out.status != http.StatusSeeOther || out.to.String() != pages+"/bye" {
		t.Errorf("logout: %d %v", out.status, out.to)
	}
	if a := b.refresh(origin, cross); a.status != http.StatusUnauthorized {
		t.Errorf("after logout: %d", a.status)
	}
}

func TestOtherSitesCannotUseTheSession(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.enter(ana)
	own := "Origin: " + w.server.URL
	for _, row := range []struct {
		name    string
		headers []string
		status  int
	}{
		{"no browser", nil, 200},
		{"own page", []string{own, "Sec-Fetch-Site: same-origin"}, 200},
		{"own page of an old browser", []string{own}, 200},
		{"configured page", []string{"Origin: " + pages, "Sec-Fetch-Site: cross-site"}, 200},
		{"foreign page", []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}, 403},
		{"foreign page of an old browser", []string{"Origin: https://evil.example"}, 403},
		{"page under another name of the site", []string{"Origin: https://other.pages.example", "Sec-Fetch-Site: same-site"}, 403},
		{"name that begins alike", []string{"Origin: " + pages + ".evil.example"}, 403},
		{"other scheme", []string{"Origin: http://pages.example", "Sec-Fetch-Site: cross-site"}, 403},
		{"sandboxed frame", []string{"Origin: null", "Sec-Fetch-Site: cross-site"}, 403},
		{"hidden origin", []string{"Sec-Fetch-Site: cross-site"}, 403},
	} {
		for _, path := range []string{"/auth/refresh", "/auth/logout"} {
			if path == "/auth/logout" && row.status == 200 {
				continue
			}
			a := b.do(http.MethodPost, w.server.URL+path, nil, row.headers...)
			if a.status != row.status || row.status == 403 && (a.code() != "forbidden" || a.header.Get("Access-Control-Allow-Origin") != "") {
				t.Errorf("%s from %s: %d %s", path, row.name, a.status, a.code())
			}
		}
	}
	if a := b.get("/auth/logout", "Sec-Fetch-Dest: image", "Sec-Fetch-Site: cross-site"); a.status != 403 {
		t.Errorf("logout as a picture: %d", a.status)
	}
	if a := b.get("/auth/refresh"); a.status != http.StatusMethodNotAllowed {
		t.Errorf("GET refresh: %d", a.status)
	}
	b.token()
}

func TestAVisitServesOnceAndInItsOwnBrowserOnly(t *testing.T) {
	w := newWorld(t)
	b, other := w.browser(), w.browser()
	back := func() *url.URL {
		t.Helper()
		return b.click(b.get("/auth/login").to, ana).to
	}
	with := func(u *url.URL, name, value string) string {
		q := u.Query()
		q.Set(name, value)
		u.RawQuery = q.Encode()
		return u.String()
	}
	refused := func(name string, b *browser, to string) {
		t.Helper()
		a := b.do(http.MethodGet, to, nil)
		if a.status != http.StatusBadRequest || a.code() != "sign_in_expired" || b.cookie(auth.SessionCookie) != "" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	other.get("/auth/login") // so that it has a cookie of its own
	stolen := back().String()
	refused("another browser's", other, stolen)
	refused("no cookie", w.browser(), stolen)
	refused("no state", b, with(back(), "state", ""))
	refused("another state", b, with(back(), "state", strings.Repeat("A", 43)))
	refused("no query", b, w.server.URL+"/auth/callback")
	refused("unknown code", b, with(back(), "code", "4/0unknown"))

	late := back().String()
	w.pass(10 * time.Minute)
	refused("late", b, late)

	once := back().String()
	if a := b.do(http.MethodGet, once, nil); a.status != http.StatusSeeOther {
		t.Fatalf("the visit itself: %d %s", a.status, a.body)
	}
	again := w.browser()
	again.client.Jar.SetCookies(mustParse(w.server.URL+"/auth/"), []*http.Cookie{{Name: "bkper_login", Value: b.cookie("bkper_login"), Path: "/auth"}})
	refused("replayed", again, once)
	if w.count("pagesessions") != 1 {
		t.Errorf("%d page sessions", w.count("pagesessions"))
	}
}

func mustParse(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	return u
}

func TestTabsThatSignInAtOnceDoNotSpoilEachOther(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	first, second := b.get("/auth/login?returnUrl=/one").to, b.get("/auth/login?returnUrl=/two").to
	for to, screen := range map[string]*url.URL{"/one": first, "/two": second} {
		a := b.do(http.MethodGet, b.click(screen, ana).to.String(), nil)
		if a.status != http.StatusSeeOther || a.to.Path != to {
			t.Errorf("%s: %d %v", to, a.status, a.to)
		}
	}
	b.token()
	if w.count("pagesessions") != 1 {
		t.Error("the former session of the browser was not ended")
	}
}

func TestACodeForAnotherChallengeIsRefused(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	screen := b.get("/auth/login").to
	q := screen.Query()
	q.Set("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM") // RFC 7636, appendix B
	screen.RawQuery = q.Encode()
	a := b.do(http.MethodGet, b.click(screen, ana).to.String(), nil)
	if a.status != http.StatusBadRequest || a.code() != "sign_in_expired" || w.grant(ana) != "" || w.count("users") != 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestNobodyIsSentToAPageThatIsNotOurs(t *testing.T) {
	w := newWorld(t)
	own := w.server.URL
	home := own + "/portal"
	for returnURL, want := range map[string]string{
		"":                                    home,
		"/books?id=1":                         own + "/books?id=1",
		"/a%2Fb?c=%26#d%20e":                  own + "/a%2Fb?c=%26#d%20e",
		own + "/books":                        own + "/books",
		pages:                                 pages,
		pages + "/x":                          pages + "/x",
		strings.ToUpper(pages) + "/x":         pages + "/x",
		pages + "/?signin=denied&b=1":         pages + "/?b=1",
		"//evil.example":                      home,
		"///evil.example":                     home,
		"/\\evil.example":                     home,
		"\\\\evil.example":                    home,
		"/\t/evil.example":                    home,
		"\x01https://evil.example":            home,
		" https://evil.example":               home,
		"javascript:alert(1)":                 home,
		"data:text/html,x":                    home,
		"https:evil.example":                  home,
		"https:/evil.example":                 home,
		"https:///evil.example":               home,
		"https://evil.example":                home,
		"https://evil.example/" + pages:       home,
		pages + ".evil.example":               home,
		"https://evilpages.example":           home,
		pages + "@evil.example":               home,
		"https://a@pages.example":             home,
		pages + ":444/":                       home,
		"http://pages.example":                home,
		pages + "\\@evil.example":             home,
		"evil.example":                        home,
		"?a":                                  home,
		"/auth/login":                         home,
		"/x/../auth/logout":                   home,
		own + "/auth/callback?x":              home,
		"/" + strings.Repeat("a", 3000):       home,
		"https://pages.example\u2044.evil.ex": home,
	} {
		b := w.browser()
		b.get("/auth/login?returnUrl=" + url.QueryEscape(returnURL))
		if end, _ := b.signIn(ana, "?returnUrl="+url.QueryEscape(returnURL)); end.to == nil || end.to.String() != want {
			t.Errorf("login with %.40q ends at %v", returnURL, end.to)
		}
		if out := b.get("/auth/logout?returnUrl=" + url.QueryEscape(returnURL)); out.to == nil || out.to.String() != want {
			t.Errorf("logout with %.40q ends at %v", returnURL, out.to)
		}
	}
}

func FuzzWhoeverIsSentAwayIsSentToAPageOfOurs(f *testing.F) {
	for _, seed := range []string{"/a", "//evil", "https://evil", pages + "/x", "/\\evil", "https://pages.example@evil", "javascript:x", "/%2F/evil", "?x"} {
		f.Add(seed)
	}
	h := (&auth.Auth{ClientID: "x", URL: "https://portal.example/auth", Returns: []string{pages}, Edge: &web.Edge{Log: slog.New(slog.DiscardHandler)}}).Handler()
	f.Fuzz(func(t *testing.T, returnURL string) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/logout?returnUrl="+url.QueryEscape(returnURL), nil))
		to := rec.Header().Get("Location")
		rest, own := strings.CutPrefix(to, "https://portal.example")
		if !own {
			rest, own = strings.CutPrefix(to, pages)
		}
		if !own || rest != "" && !strings.ContainsAny(rest[:1], "/?#") {
			t.Errorf("%q leads to %q", returnURL, to)
		}
	})
}

func TestAPersonWhoRefusesComesBackWithoutASession(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	screen := b.get("/auth/login?returnUrl=" + url.QueryEscape(pages+"/?a=1")).to
	back := b.do(http.MethodPost, screen.String(), url.Values{"deny": {"yes"}}).to
	a := b.do(http.MethodGet, back.String(), nil)
	if a.status != http.StatusSeeOther || a.to.String() != pages+"/?a=1&signin=denied" || b.cookie(auth.SessionCookie) != "" {
		t.Errorf("%d %v", a.status, a.to)
	}
	if a := b.do(http.MethodGet, back.String(), nil); a.code() != "sign_in_expired" {
		t.Errorf("the refusal came twice: %d %s", a.status, a.body)
	}
	state := b.get("/auth/login").to.Query().Get("state")
	if a := b.get("/auth/callback?error=server_error&state=" + state); a.to == nil || a.to.Query().Get("signin") != "failed" {
		t.Errorf("another error: %d %v", a.status, a.to)
	}
}

func TestASignInThatBringsNoRefreshTokenKeepsTheOldOne(t *testing.T) {
	w := newWorld(t)
	w.browser().enter(ana)
	old := w.grant(ana)
	b := w.browser()
	if screens := b.enter(ana); len(screens) != 1 {
		t.Errorf("Google was visited %d times", len(screens))
	}
	if w.grant(ana) != old || old == "" {
		t.Error("the grant changed")
	}
	b.token()
}

func TestAPersonWhoseGrantIsLostIsAskedForConsentOnce(t *testing.T) {
	w := newWorld(t)
	w.browser().enter(ana)
	if err := w.vault.Destroy(t.Context(), "grant-"+google.Sub(ana)); err != nil {
		t.Fatal(err)
	}
	b := w.browser()
	screens := b.enter(ana)
	if len(screens) != 2 || screens[0].Query().Get("prompt") != "" || screens[1].Query().Get("prompt") != "consent" || screens[1].Query().Get("login_hint") != ana {
		t.Errorf("Google was visited at %v", screens)
	}
	if w.grant(ana) == "" {
		t.Error("no grant is kept")
	}
	b.token()
}

func TestGoogleThatGivesNoGrantIsNotAskedForEver(t *testing.T) {
	f := newForger(t)
	a := f.callback(t, nil) // no refresh token
	if a.to == nil || a.to.Query().Get("prompt") != "consent" {
		t.Fatalf("%d %v %s", a.status, a.to, a.body)
	}
	a = f.back(a.to, nil)
	if a.status != http.StatusForbidden || a.code() != "consent_required" || f.b.cookie(auth.SessionCookie) != "" {
		t.Errorf("%d %v %s", a.status, a.to, a.body)
	}
}

func TestAPersonWhoTookTheConsentBackIsAskedForItAgain(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.enter(ana)
	b.token()
	if err := w.google.RevokeUser(google.Sub(ana)); err != nil {
		t.Fatal(err)
	}
	a := b.refresh()
	if a.status != http.StatusUnauthorized || a.code() != "consent_required" || !strings.Contains(a.body, w.server.URL+"/auth/login?consent=1") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if w.user(ana).Granted {
		t.Error("the user is said to have a grant")
	}
	old := w.grant(ana)
	screens := b.enter(ana)
	if len(screens) != 1 || screens[0].Query().Get("prompt") != "consent" || screens[0].Query().Get("login_hint") != ana {
		t.Errorf("Google was visited at %v", screens)
	}
	if !w.user(ana).Granted || w.grant(ana) == old {
		t.Error("the new grant is not kept")
	}
	if _, ok := w.google.Lookup(b.token()); !ok {
		t.Error("the page got a dead token")
	}
}

func TestConsentIsAskedForWhenWanted(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	if got := b.get("/auth/login?consent=1").to.Query().Get("prompt"); got != "consent" {
		t.Errorf("prompt = %q", got)
	}
	b.enter(ana)
	old := w.grant(ana)
	end, screens := b.signIn(ana, "?consent=1")
	if end.status != http.StatusSeeOther || screens[0].Query().Get("prompt") != "consent" || w.grant(ana) == old {
		t.Errorf("%d at %v", end.status, screens)
	}
}

func TestThePageGetsATokenThatLivesEvenIfTheLastOneDied(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.enter(ana)
	first := b.token()
	if err := w.google.ExpireTokens(google.Sub(ana)); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.google.Lookup(first); ok {
		t.Fatal("the first token lives")
	}
	if _, ok := w.google.Lookup(b.token()); !ok {
		t.Error("the page got a dead token")
	}
}

func TestSigningOutEndsTheSessionAndNotTheGrant(t *testing.T) {
	w := newWorld(t)
	b, phone := w.browser(), w.browser()
	b.enter(ana)
	phone.enter(ana)
	token := b.token()
	kept := b.cookie(auth.SessionCookie)
	a := b.do(http.MethodPost, w.server.URL+"/auth/logout", nil)
	if a.status != http.StatusNoContent || b.cookie(auth.SessionCookie) != "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.browser().refresh("Cookie: " + auth.SessionCookie + "=" + kept); a.status != http.StatusUnauthorized {
		t.Errorf("the cookie still serves: %d", a.status)
	}
	if _, ok := w.google.Lookup(token); !ok {
		t.Error("the access token was revoked")
	}
	if _, err := w.auth.Grants.Fresh(t.Context(), google.Sub(ana)); err != nil {
		t.Errorf("the grant no longer works: %v", err)
	}
	phone.token()
	if a := b.do(http.MethodPost, w.server.URL+"/auth/logout", nil); a.status != http.StatusNoContent {
		t.Errorf("signing out twice: %d", a.status)
	}
}

func TestASessionEndsWhenItIsNotUsedAndInAnyCaseAfterHalfAYear(t *testing.T) {
	const day = 24 * time.Hour
	w := newWorld(t)
	idle, used := w.browser(), w.browser()
	idle.enter(ana)
	used.enter(bob)
	w.pass(20 * day)
	if a := used.refresh(); a.status != http.StatusOK || a.header.Get("Set-Cookie") == "" {
		t.Fatalf("after 20 days: %d, cookies %q", a.status, a.header["Set-Cookie"])
	}
	w.pass(time.Hour)
	if a := used.refresh(); a.status != http.StatusOK || a.header.Get("Set-Cookie") != "" {
		t.Errorf("an hour later: %d, cookies %q", a.status, a.header["Set-Cookie"])
	}
	w.pass(10 * day)
	if a := idle.refresh(); a.status != http.StatusUnauthorized {
		t.Errorf("unused for 30 days: %d", a.status)
	}
	for range 14 {
		used.token()
		w.pass(10 * day)
	}
	used.token() // the 170th day
	w.pass(10*day - 2*time.Hour)
	used.token()
	w.pass(2 * time.Hour)
	if a := used.refresh(); a.status != http.StatusUnauthorized {
		t.Errorf("after 180 days: %d", a.status)
	}
}

func TestCookiesAreTheFunctionsOwn(t *testing.T) {
	for _, row := range []struct {
		name, url string
		returns   []string
		want      string
	}{
		{"https", "https://portal.example/auth", nil, "__Host-bkper_session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"},
		{"https with other pages", "https://portal.example/auth", []string{pages}, "__Host-bkper_session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=None"},
		{"a function of its own host", "https://auth.example/", nil, "__Host-bkper_session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"},
		{"a developer's machine", "http://localhost:8080/auth", []string{pages}, "bkper_session=; Path=/auth; Max-Age=0; HttpOnly; SameSite=Lax"},
	} {
		h := (&auth.Auth{ClientID: "x", URL: row.url, Returns: row.returns, Edge: &web.Edge{Log: slog.New(slog.DiscardHandler)}}).Handler()
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/logout", nil))
		if got := rec.Header().Get("Set-Cookie"); got != row.want {
			t.Errorf("%s: %s", row.name, got)
		}
	}
	w := newWorld(t)
	a := w.browser().get("/auth/login")
	if got := a.header.Get("Set-Cookie"); !strings.HasSuffix(got, "; Path=/auth; Max-Age=600; HttpOnly; SameSite=Lax") {
		t.Errorf("login: %s", got)
	}
}

// A page on another host below the same domain can set cookies that browsers send here.
func TestACookieThatAnotherHostMaySetIsNoSession(t *testing.T) {
	s := storemem.New()
	cookie := strings.Repeat("A", 43) // 32 bytes
	session := &auth.PageSession{ID: fmt.Sprintf("%x", sha256.Sum256([]byte(cookie))), Sub: "mallory", Expires: time.Now().Add(time.Hour)}
	if err := s.Update(t.Context(), func(tx store.Tx) error { return auth.PageSessions.Put(tx, session) }); err != nil {
		t.Fatal(err)
	}
	h := (&auth.Auth{ClientID: "x", Store: s, URL: "https://portal.example/auth", Edge: &web.Edge{Log: slog.New(slog.DiscardHandler)}}).Handler()
	for _, row := range []struct {
		name string
		ends bool
	}{{"bkper_session", false}, {"__Host-bkper_session", true}} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/logout", nil)
		r.AddCookie(&http.Cookie{Name: row.name, Value: cookie})
		h.ServeHTTP(httptest.NewRecorder(), r)
		if _, err := auth.PageSessions.Get(t.Context(), s, session.ID); errors.Is(err, store.ErrNotFound) != row.ends {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func TestAHostIsOursHoweverItIsWritten(t *testing.T) {
	h := (&auth.Auth{ClientID: "x", URL: "https://Portal.example/auth", Home: "https://portal.EXAMPLE/home", Edge: &web.Edge{Log: slog.New(slog.DiscardHandler)}}).Handler()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/logout", nil))
	if to := rec.Header().Get("Location"); to != "https://portal.example/home" {
		t.Errorf("to %q", to)
	}
}

func TestAMisconfiguredFunctionDoesNotServe(t *testing.T) {
	for name, a := range map[string]*auth.Auth{
		"no URL":           {ClientID: "x"},
		"no host":          {ClientID: "x", URL: "https:///auth"},
		"another scheme":   {ClientID: "x", URL: "ftp://portal.example/auth"},
		"origin with path": {ClientID: "x", URL: "https://portal.example/auth", Returns: []string{"https://pages.example/"}},
		"foreign home":     {ClientID: "x", URL: "https://portal.example/auth", Home: "https://evil.example"},
		"any client":       {URL: "https://portal.example/auth"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it serves")
				}
			}()
			a.Edge = &web.Edge{}
			a.Handler()
		})
	}
}

func TestAGrantLetsTheBooksOfItsUserGoOn(t *testing.T) {
	w := newWorld(t)
	w.block(ana, "c1", "c2")
	w.block(bob, "c3")
	w.browser().enter(ana)
	for connection, want := range map[string]time.Duration{"c1": 0, "c2": 0, "c3": 1} {
		i, e := w.waits(connection)
		if (i > 0) != (want > 0) || (e > 0) != (want > 0) {
			t.Errorf("%s waits %v and %v", connection, i, e)
		}
	}
	slices.SortFunc(w.rings, func(a, b events.Message) int { return strings.Compare(a.Connection, b.Connection) })
	if diff := cmp.Diff([]events.Message{{Connection: "c1"}, {Connection: "c2"}}, w.rings); diff != "" {
		t.Error(diff)
	}
	w.browser().enter(ana)
	if len(w.rings) != 2 {
		t.Error("what goes on already was rung for again")
	}
}

func TestAnIntegrationThatCannotBeReadLocksNobodyOut(t *testing.T) {
	w := newWorld(t)
	err := w.store.Update(t.Context(), func(tx store.Tx) error {
		tx.Put(store.Document{Kind: "integrations", ID: "i", Body: []byte(`{"id":7}`), Index: map[string][]string{store.ByBlocked: {google.Sub(ana)}}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.browser().enter(ana)
	if !strings.Contains(w.log.String(), "not_resumed") {
		t.Error("nothing is said in the log")
	}
}

func TestTheCallbackWaitsForNoBell(t *testing.T) {
	w := newWorld(t, func(a *auth.Auth) { a.Events = deaf{} })
	w.block(ana, "c1")
	w.browser().enter(ana)
	if i, e := w.waits("c1"); i > 0 || e > 0 {
		t.Errorf("it waits %v and %v", i, e)
	}
}
