package auth_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bkper/automations-portal/functions/auth"
	"github.com/bkper/automations-portal/shared/sandbox/google"
	"github.com/bkper/automations-portal/shared/vault"
)

// TestASignInCutAnywhereIsCompletedByAnother fails each outside call in turn, before it takes effect and after.
func TestASignInCutAnywhereIsCompletedByAnother(t *testing.T) {
	for name, prepare := range map[string]func(*world){
		"new person": func(*world) {},
		"person whose grant is lost": func(w *world) {
			w.browser().enter(ana)
			if err := w.vault.Destroy(t.Context(), vault.UserGrant(google.Sub(ana))); err != nil {
				t.Fatal(err)
			}
		},
		"person who comes back": func(w *world) { w.browser().enter(ana) },
	} {
		for _, after := range []bool{false, true} {
			cuts := 0
			for at, fired := 0, true; fired && !t.Failed(); at++ {
				t.Run(fmt.Sprintf("%s, after=%v, call %d", name, after, at), func(t *testing.T) {
					w := newWorld(t)
					prepare(w)
					w.block(ana, "c1", "c2")
					*w.cut = cut{at: at, after: after}
					b := w.browser()
					b.signIn(ana, "")
					fired = w.cut.fired
					*w.cut = cut{at: -1}
					b.enter(ana)
					w.whole(b)
				})
				cuts = at
			}
			if cuts < 7 {
				t.Errorf("%s: only %d calls were cut", name, cuts)
			}
		}
	}
}

// whole checks all that a sign-in promises.
func (w *world) whole(b *browser) {
	w.t.Helper()
	if u, ok := w.google.Lookup(b.token()); !ok || u.Email != ana {
		w.t.Error("no access token")
	}
	if w.grant(ana) == "" || !w.user(ana).Granted {
		w.t.Error("no grant")
	}
	for _, c := range []string{"c1", "c2"} {
		if i, e := w.waits(c); i > 0 || e > 0 {
			w.t.Errorf("%s waits %v and %v", c, i, e)
		}
	}
}

func TestARefreshOrSignOutCutAnywhereCanBeRepeated(t *testing.T) {
	for _, after := range []bool{false, true} {
		for at, fired := 0, true; fired && !t.Failed(); at++ {
			w := newWorld(t)
			b := w.browser()
			b.enter(ana)
			w.pass(48 * time.Hour) // so that the session is written too
			*w.cut = cut{at: at, after: after}
			b.refresh()
			fired = w.cut.fired
			*w.cut = cut{at: -1}
			b.token()
			*w.cut = cut{at: 0, after: after}
			b.do(http.MethodPost, w.server.URL+"/auth/logout", nil)
			if b.cookie(auth.SessionCookie) == "" {
				t.Error("the cookie is gone although the session may not be")
			}
			if a := b.do(http.MethodPost, w.server.URL+"/auth/logout", nil); a.status != http.StatusNoContent || w.count("pagesessions") != 0 {
				t.Errorf("signing out again: %d %s", a.status, a.body)
			}
		}
	}
}

// leaks lists the secrets that a text holds in one of their usual disguises.
func leaks(text string, secrets []string) (found []string) {
	for _, s := range secrets {
		// Without its ends base64 is the same wherever the text begins, in one of three places.
		forms := []string{s, url.QueryEscape(s), url.PathEscape(s), hex.EncodeToString([]byte(s))}
		for skip := range 3 {
			whole := s[skip : skip+(len(s)-skip)/3*3]
			forms = append(forms, base64.StdEncoding.EncodeToString([]byte(whole)), base64.URLEncoding.EncodeToString([]byte(whole)))
		}
		for _, form := range forms {
			if strings.Contains(text, form) {
				found = append(found, s[:6]+"… as "+form[:6]+"…")
			}
		}
	}
	return found
}

func TestNoTokenIsInAnyLogDocumentAddressOrRefusal(t *testing.T) {
	var said strings.Builder
	var secrets []string
	hear := func(w *world, bs ...*browser) {
		said.WriteString(w.log.String() + w.documents())
		for _, m := range w.rings {
			fmt.Fprintf(&said, "%+v", m)
		}
		for _, b := range bs {
			said.WriteString(strings.Join(b.seen, "\n"))
			for _, name := range []string{auth.SessionCookie, "bkper_login"} {
				if value := b.cookie(name); value != "" {
					secrets = append(secrets, value)
				}
			}
		}
		secrets = append(append(secrets, w.tokens...), clientSecret)
	}
	for _, after := range []bool{false, true} {
		for at, fired := 0, true; fired && !t.Failed(); at++ {
			w := newWorld(t)
			w.block(ana, "c1")
			b, again := w.browser(), w.browser()
			*w.cut = cut{at: at, after: after}
			b.signIn(ana, "")
			b.refresh()
			fired = w.cut.fired
			*w.cut = cut{at: -1}
			again.enter(ana)
			hear(w, b, again)
			if err := w.google.RevokeUser(google.Sub(ana)); err != nil {
				t.Fatal(err)
			}
			again.refresh()
			again.enter(ana)
			again.refresh("Origin: https://evil.example")
			again.get("/auth/logout")
			hear(w, b, again)
		}
	}
	if len(secrets) < 50 || said.Len() < 10_000 {
		t.Fatalf("only %d secrets and %d bytes were heard", len(secrets), said.Len())
	}
	for _, leak := range leaks(said.String(), secrets) {
		t.Errorf("leaked: %s", leak)
	}
	for _, planted := range []string{
		secrets[0], "%" + url.QueryEscape(secrets[0]), hex.EncodeToString([]byte(secrets[0])),
		base64.StdEncoding.EncodeToString([]byte("x" + secrets[0] + "y")),
	} {
		if len(leaks(said.String()+planted, secrets)) == 0 {
			t.Error("a planted leak was not found")
		}
	}
}
