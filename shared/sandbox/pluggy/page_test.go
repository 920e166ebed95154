package pluggy

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// widget is a person at the widget's page, without its scripts.
type widget struct {
	t    *testing.T
	at   string
	body string
}

var (
	stepShown  = regexp.MustCompile(`<main data-step="([a-z]*)"`)
	codeShown  = regexp.MustCompile(`data-code="([A-Z_]*)"`)
	toldShown  = regexp.MustCompile(`data-told="([^"]*)"`)
	inlineCode = regexp.MustCompile(`(?i)<script(>| [^>]*[^r]>[^<])|\son[a-z]+=|style=|<style|javascript:`)
	inputs     = regexp.MustCompile(`<(input|select)[^>]*>`)
)

func (r *rig) widget(t *testing.T, q url.Values) *widget {
	t.Helper()
	w := &widget{t: t, at: r.url + "/connect?" + q.Encode()}
	w.load(http.MethodGet, nil)
	return w
}

func (w *widget) load(method string, form url.Values) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.at, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatal(err, resp.Status, string(text))
	}
	w.at, w.body = resp.Request.URL.String(), string(text)
	w.check(resp.Header)
}

// check holds every page to what a strict browser and a person without a mouse need.
func (w *widget) check(h http.Header) {
	w.t.Helper()
	if policy := h.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'; script-src 'self'; style-src 'self';") {
		w.t.Errorf("policy %q", policy)
	}
	if bad := inlineCode.FindString(w.body); bad != "" {
		w.t.Errorf("%s has %q in it", w.step(), bad)
	}
	for _, in := range inputs.FindAllStringIndex(w.body, -1) {
		field, before := w.body[in[0]:in[1]], w.body[:in[0]]
		if !strings.Contains(field, `type="hidden"`) && strings.LastIndex(before, "<label>") <= strings.LastIndex(before, "</label>") {
			w.t.Errorf("%s: %s has no label", w.step(), field)
		}
	}
	if strings.Count(w.body, "<h1") != 1 || !strings.Contains(w.body, "<title>Pluggy Connect") || !strings.Contains(w.body, "data-focus") {
		w.t.Errorf("%s has not one heading, a title and a place for the focus", w.step())
	}
}

func (w *widget) step() string { return first(stepShown, w.body) }
func (w *widget) code() string { return first(codeShown, w.body) }

func first(r *regexp.Regexp, text string) string {
	if m := r.FindStringSubmatch(text); m != nil {
		return html.UnescapeString(m[1])
	}
	return ""
}

// send fills the form in that is shown.
func (w *widget) send(fields ...string) {
	w.t.Helper()
	form := url.Values{"step": {w.step()}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	w.load(http.MethodPost, form)
}

// told are the kinds and events that the page around hears, in their order.
func (w *widget) told() (list []string) {
	w.t.Helper()
	var all []telling
	if err := json.Unmarshal([]byte(first(toldShown, w.body)), &all); err != nil {
		w.t.Fatal(err)
	}
	for i, x := range all {
		if x.N != i+1 {
			w.t.Errorf("telling %d has the number %d", i, x.N)
		}
		name := x.Kind
		if x.Kind == "event" {
			name = x.Payload.(map[string]any)["event"].(string)
		}
		list = append(list, name)
	}
	return list
}

func (w *widget) expect(step, code string) {
	w.t.Helper()
	if w.step() != step || w.code() != code {
		w.t.Fatalf("step %s, code %q; want %s, %q", w.step(), w.code(), step, code)
	}
}

func TestTheWidgetConnectsABankAndTellsThePageAround(t *testing.T) {
	r := newRig(t, Options{})
	token := r.token(t, `{"options":{"clientUserId":"u-7"}}`)
	w := r.widget(t, url.Values{"connect_token": {token}, "with_sandbox": {"true"}, "countries": {"BR"}, "lang": {"en"}, "origin": {"https://portal.example"}})
	w.expect("consent", "")
	w.send()
	w.expect("institution", "")
	w.send("connector", "0")
	w.expect("credentials", "")
	w.send("user", "user-bad", "password", "password-bad")
	w.expect("error", "INVALID_CREDENTIALS")
	w.send()
	w.send("user", "user-ok", "password", "password-ok")
	w.expect("success", "")
	w.send("close", "close")
	w.expect("closed", "")
	want := []string{
		"SUBMITTED_CONSENT", "SELECTED_INSTITUTION", "SUBMITTED_LOGIN", "ITEM_RESPONSE", "error", "SUBMITTED_LOGIN", "LOGIN_SUCCESS",
		"LOGIN_STEP_COMPLETED", "ITEM_RESPONSE", "success", "close",
	}
	if diff := cmp.Diff(want, w.told()); diff != "" {
		t.Error(diff)
	}
	var all []struct {
		Kind    string
		Payload struct{ Item map[string]any }
	}
	if err := json.Unmarshal([]byte(first(toldShown, w.body)), &all); err != nil {
		t.Fatal(err)
	}
	item := all[9].Payload.Item
	if got := r.ok(t, "GET", "/items/"+item["id"].(string), ""); got["status"] != "UPDATED" || got["clientUserId"] != "u-7" {
		t.Errorf("%v", got)
	}
}

func TestTheWidgetAsksForASecondFactor(t *testing.T) {
	r := newRig(t, Options{})
	for user, row := range map[string]struct{ good, bad string }{
		"user-ok": {"123456", "1"}, "user-ok-img": {"123456", "1"}, "user-ok-phone": {"123456", "1"}, "user-ok-select": {"email", "pigeon"},
	} {
		for answer, want := range map[string]string{row.good: "success", row.bad: "error"} {
			w := r.widget(t, url.Values{"connect_token": {r.token(t, `{}`)}, "selected_connector_id": {"3"}})
			w.send()
			w.send("user", user+"+"+answer, "password", "password-ok")
			w.expect("mfa", "")
			w.send("answer", answer)
			if w.step() != want {
				t.Errorf("%s answers %s: %s %s", user, answer, w.step(), w.code())
			}
		}
	}
}

func TestTheWidgetLeadsToTheBanksOwnPageWhereThereIsOne(t *testing.T) {
	r := newRig(t, Options{})
	open := func() *widget {
		w := r.widget(t, url.Values{"connect_token": {r.token(t, `{}`)}, "selected_connector_id": {"601"}})
		w.send()
		w.send("cpf", "1")
		w.expect("credentials", "CONNECTOR_VALIDATION_ERROR")
		w.send("cpf", "882.937.076-23")
		w.expect("oauth", "")
		return w
	}
	w := open()
	w.send("answer", "grant", "user", "user-ok", "password", "wrong")
	w.expect("oauth", "INVALID_CREDENTIALS")
	w.send("answer", "grant", "user", "user-ok", "password", "password-ok")
	w.expect("success", "")
	w = open()
	w.send("answer", "deny")
	w.expect("error", "USER_AUTHORIZATION_NOT_GRANTED")
}

func TestTheWidgetWaitsWhileTheBankIsSlow(t *testing.T) {
	r := newRig(t, Options{Config: Config{Step: time.Second}})
	w := r.widget(t, url.Values{"connect_token": {r.token(t, `{}`)}, "selected_connector_id": {"0"}})
	w.send()
	w.send("user", "user-ok", "password", "password-ok")
	w.expect("working", "")
	if !strings.Contains(w.body, `http-equiv="refresh"`) {
		t.Error("the page does not look again")
	}
	r.clock.advance(time.Minute)
	w.load(http.MethodGet, nil)
	w.expect("success", "")
	if w = r.widget(t, url.Values{"connect_token": {r.token(t, `{}`)}, "theme": {"dark"}}); !strings.Contains(w.body, `<html lang="pt" class="dark">`) {
		t.Error(w.body[:100])
	}
}

func TestTheWidgetRepairsOnlyWithATokenForTheItem(t *testing.T) {
	r := newRig(t, Options{})
	item := r.connected(t, "user-ok")
	if err := r.Do(func(b *Bank) error { return b.Fail(item, "INVALID_CREDENTIALS", "") }); err != nil {
		t.Fatal(err)
	}
	w := r.widget(t, url.Values{"connect_token": {r.token(t, `{}`)}, "update_item": {item}})
	w.expect("error", "ITEM_UPDATE_NOT_ALLOWED")
	w = r.widget(t, url.Values{"connect_token": {r.token(t, `{"itemId":"`+item+`"}`)}, "update_item": {item}})
	w.send()
	w.expect("credentials", "")
	w.send("user", "user-ok+other", "password", "password-ok")
	w.expect("credentials", "ITEM_ORIGINAL_CONNECTED_WITH_DIFFERENT_ACCOUNT")
	w.send("user", "user-ok", "password", "password-ok")
	w.expect("success", "")
	if got := r.ok(t, "GET", "/items/"+item, ""); got["status"] != "UPDATED" {
		t.Errorf("%v", got)
	}
	w = r.widget(t, url.Values{"connect_token": {"nonsense"}})
	w.expect("error", "INVALID_TOKEN")
}

func TestTheBanksPageCanBeVisitedOutsideTheWidget(t *testing.T) {
	r := newRig(t, Options{})
	item, status, err := r.Connect(r.token(t, `{}`), Visit{Connector: 601, User: "user-ok", Password: "wrong"})
	if err == nil || status != WaitingAction {
		t.Fatal(status, err)
	}
	action := r.ok(t, "GET", "/items/"+item, "")["userAction"].(map[string]any)
	w := &widget{t: t, at: action["attributes"].(map[string]any)["url"].(string)}
	w.load(http.MethodGet, nil)
	w.expect("oauth", "")
	w.send("answer", "grant", "user", "user-ok", "password", "password-ok")
	w.expect("closed", "")
	if got := r.ok(t, "GET", "/items/"+item, ""); got["status"] != "UPDATED" {
		t.Errorf("%v", got)
	}
}

func TestThePageMayBeFramedByThePageThatOpensItOnly(t *testing.T) {
	r := newRig(t, Options{})
	for origin, want := range map[string]string{
		"https://portal.example/x": "frame-ancestors https://portal.example", "": "frame-ancestors 'none'", "javascript:alert(1)": "frame-ancestors 'none'",
	} {
		q := url.Values{"connect_token": {r.token(t, `{}`)}, "origin": {origin}}
		_, h, _ := r.raw(t, "GET", "/connect?"+q.Encode(), "", "")
		if got := h.Get("Content-Security-Policy"); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %s", origin, got)
		}
	}
}

func TestTheScriptsComeFromTheSandbox(t *testing.T) {
	r := newRig(t, Options{})
	for path, want := range map[string]string{
		"/pluggy-connect/latest/pluggy-connect.js": "window.PluggyConnect", "/pluggy-connect/v2.8.2/pluggy-connect.js": `const base = "` + r.url + `"`,
		"/connect/assets/frame.js": "postMessage", "/connect/assets/style.css": ":focus-visible", "/assets/connector-icons/601.svg": "<svg",
	} {
		status, h, text := r.raw(t, "GET", path, "", "")
		if status != http.StatusOK || !strings.Contains(string(text), want) || h.Get("Content-Type") == "" {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if status, _, _ := r.raw(t, "GET", "/assets/connector-icons/999.svg", "", ""); status != http.StatusNotFound {
		t.Errorf("an icon of nobody: %d", status)
	}
}
