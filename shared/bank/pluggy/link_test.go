package pluggy

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

// door is a Pluggy that makes connect tokens and has one item, with what a test wants of it.
type door struct {
	*Pluggy
	s     *script
	clock time.Time
	asked struct {
		ItemID  string
		Options map[string]any
	}
}

func newDoor(t *testing.T) *door {
	t.Helper()
	d := &door{clock: time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)}
	d.Pluggy, d.s = scripted(t, map[string]http.HandlerFunc{
		"GET /accounts": says(accountsJSON), "GET /v2/items": with(403, `{"code":403,"message":"Not enabled"}`),
		"POST /connect_token": func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err == nil {
				err = json.Unmarshal(body, &d.asked)
			}
			if err != nil {
				t.Error(err)
			}
			says(`{"accessToken":"`+jwt(`{"iat":1000,"exp":2800}`)+`"}`)(w, r)
		},
	})
	d.now = func() time.Time { return d.clock }
	return d
}

// has makes the item that of a reference.
func (d *door) has(reference string, members ...string) {
	d.s.answers["GET /items/"+theItem] = says(itemJSON(append([]string{`"clientUserId":"` + reference + `"`}, members...)...))
}

func (d *door) reference() string { s, _ := d.asked.Options["clientUserId"].(string); return s }

func (d *door) begin(t *testing.T, b bank.Begin) bank.Begun {
	t.Helper()
	b.User, b.Country, b.Return, b.Webhook = "user-1", "BR", "https://portal.example/connect/complete?session=s", "https://portal.example/webhook/pluggy"
	begun, err := d.Begin(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return begun
}

func (d *door) outcome(t *testing.T, begun bank.Begun, user, hint string) bank.Outcome {
	t.Helper()
	out, err := d.Outcome(t.Context(), bank.Visit{Handle: begun.Handle, Ref: begun.Ref, User: user, Hint: hint})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A clientUserId comes back with the item and in webhooks: it must say nothing of the person, and nobody may guess another's.
func TestAVisitIsKnownByAReferenceThatCannotBeGuessedAndNamesNobody(t *testing.T) {
	d := newDoor(t)
	first := d.begin(t, bank.Begin{})
	one := d.reference()
	second := d.begin(t, bank.Begin{})
	if two := d.reference(); one == two || len(one) < 26 || len(one) > maxReference || strings.Contains(one, "user-1") || first.Ref == second.Ref {
		t.Errorf("%q, then %q", one, two)
	}
	if strings.Contains(first.Widget.Reveal(), one) || first.Ref != ref(one) {
		t.Error("the page is given the reference, or webhooks would not find the session")
	}
}

// Pluggy calls an item's own webhook without our secret, and keeps two people from the account that they share.
func TestATokenAsksForNoWebhookOfItsOwnAndLetsPeopleShareAccounts(t *testing.T) {
	d := newDoor(t)
	d.begin(t, bank.Begin{})
	for name := range d.asked.Options {
		if name != "clientUserId" && name != "oauthRedirectUri" {
			t.Errorf("asked with %s", name)
		}
	}
	if d.asked.Options["oauthRedirectUri"] != "https://portal.example/connect/complete?session=s" {
		t.Errorf("%v", d.asked.Options)
	}
}

func TestATokenIsMadeAnewForEveryVisitAndEndsWhenItSays(t *testing.T) {
	d := newDoor(t)
	begun := d.begin(t, bank.Begin{})
	d.begin(t, bank.Begin{})
	if n := len(d.s.queries("/connect_token")); n != 2 {
		t.Errorf("%d tokens for two visits", n)
	}
	if begun.Expires.Sub(d.clock) != 30*time.Minute || !begun.Forgets.After(begun.Expires) {
		t.Errorf("it ends %v", begun.Expires)
	}
}

func TestAnItemIsKeptOnlyForTheVisitInWhichPluggySaysItWasMade(t *testing.T) {
	for name, c := range map[string]struct {
		reference string
		members   string
		user      string
		hint      string
		want      int
	}{
		"its own":                       {"", "", "user-1", theItem, 1},
		"its own, named otherwise":      {"", "", "user-1", strings.ToUpper(theItem), 1},
		"among other names":             {"", "", "user-1", theBank + "," + theItem, 1},
		"another visit's":               {"reference-of-another", "", "user-1", theItem, 0},
		"nobody's":                      {"x", `"clientUserId":null`, "user-1", theItem, 0},
		"another user's handle":         {"", "", "user-2", theItem, 0},
		"no item of ours":               {"", "", "user-1", theBank, 0},
		"a name that is none":           {"", "", "user-1", "../items/" + theItem, 0},
		"a bank elsewhere":              {"", `"connector":{"id":1,"country":"AR"}`, "user-1", theItem, 0},
		"without a bank":                {"", `"connector":null`, "user-1", theItem, 0},
		"a test bank where none is":     {"", `"connector":{"id":0,"country":"BR","isSandbox":true}`, "user-1", theItem, 0},
		"a proxy that is no bank":       {"", `"connector":{"id":200,"country":"BR","name":"MeuPluggy"}`, "user-1", theItem, 0},
		"too many names before its own": {"", "", "user-1", strings.Repeat(theBank+",", maxHints) + theItem, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t)
			d.environment = Production
			begun := d.begin(t, bank.Begin{})
			reference := c.reference
			if reference == "" {
				reference = d.reference()
			}
			d.has(reference)
			if c.members != "" {
				d.has(reference, c.members)
			}
			if out := d.outcome(t, begun, c.user, c.hint); len(out.Candidates) != c.want || (c.want > 0) != (out.State == bank.Finished) {
				t.Errorf("%s with %d candidates", out.State, len(out.Candidates))
			}
		})
	}
}

func TestTheOutcomeFollowsTheItem(t *testing.T) {
	const never = `"lastUpdatedAt":null`
	for name, c := range map[string]struct {
		members []string
		later   time.Duration
		want    bank.VisitState
		vain    int
	}{
		"it is there":                           {nil, 0, bank.Finished, 0},
		"it is being collected":                 {[]string{never, `"status":"UPDATING"`}, 0, bank.Visiting, 0},
		"a code is waited for":                  {[]string{never, `"status":"WAITING_USER_INPUT"`}, 0, bank.Visiting, 0},
		"the person may try again":              {[]string{never, `"status":"LOGIN_ERROR"`}, 0, bank.Visiting, 0},
		"the password stayed wrong":             {[]string{never, `"status":"LOGIN_ERROR"`}, time.Hour, bank.Left, 1},
		"it is collected when the token ends":   {[]string{never, `"status":"UPDATING"`}, time.Hour, bank.Visiting, 0},
		"it is never done":                      {[]string{never, `"status":"UPDATING"`}, 8 * time.Hour, bank.Left, 1},
		"it is done late":                       {nil, 5 * time.Hour, bank.Finished, 0},
		"it came and the bank is down since":    {[]string{`"status":"OUTDATED"`, `"executionStatus":"SITE_NOT_AVAILABLE"`}, 0, bank.Finished, 0},
		"the consent is on its way":             {[]string{never, `"status":"OUTDATED"`, `"executionStatus":"USER_AUTHORIZATION_PENDING"`}, time.Hour, bank.Visiting, 0},
		"a test bank where there are real ones": {[]string{`"connector":{"id":0,"country":"BR","isSandbox":true}`}, time.Hour, bank.Left, 1},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t)
			d.environment = Production
			begun := d.begin(t, bank.Begin{})
			d.has(d.reference(), c.members...)
			d.clock = d.clock.Add(c.later)
			out := d.outcome(t, begun, "user-1", theItem)
			vain := 0
			if out.State == bank.Left {
				vain = len(out.Candidates)
			}
			if out.State != c.want || vain != c.vain {
				t.Errorf("%s with %d in vain, want %s with %d", out.State, vain, c.want, c.vain)
			}
		})
	}
}

func TestTheOutcomeTellsWhatWentWrong(t *testing.T) {
	const never = `"lastUpdatedAt":null`
	for execution, want := range map[string]bank.Cause{
		"INVALID_CREDENTIALS": bank.BadCredentials, "ACCOUNT_LOCKED": bank.BadCredentials, "SITE_NOT_AVAILABLE": bank.BankDown,
		"USER_INPUT_TIMEOUT": bank.TooLate, "USER_NOT_SUPPORTED": bank.Unreadable, "UNEXPECTED_ERROR": "",
	} {
		d := newDoor(t)
		begun := d.begin(t, bank.Begin{})
		d.has(d.reference(), never, `"status":"OUTDATED"`, `"executionStatus":"`+execution+`"`)
		for _, state := range []bank.VisitState{bank.Visiting, bank.Left} {
			if out := d.outcome(t, begun, "user-1", theItem); out.State != state || out.Cause != want {
				t.Errorf("%s: %s because of %q, want %s, %q", execution, out.State, out.Cause, state, want)
			}
			d.clock = d.clock.Add(time.Hour)
		}
	}
}

// The person may close the tab before the widget tells anything, and a webhook may be late.
func TestAVisitOfWhichNobodyToldIsWaitedForAndFoundWherePluggyListsItems(t *testing.T) {
	d := newDoor(t)
	begun := d.begin(t, bank.Begin{})
	for _, step := range []struct {
		passes time.Duration
		want   bank.VisitState
	}{{0, bank.Visiting}, {time.Hour, bank.Visiting}, {6 * time.Hour, bank.Left}} {
		d.clock = d.clock.Add(step.passes)
		if out := d.outcome(t, begun, "user-1", ""); out.State != step.want {
			t.Errorf("after %v: %s", step.passes, out.State)
		}
	}
	d = newDoor(t)
	begun = d.begin(t, bank.Begin{})
	d.s.answers["GET /v2/items"] = says(`{"results":[` + itemJSON(`"clientUserId":"`+d.reference()+`"`) + `,` + itemJSON(`"id":"`+theBank+`"`) + `,null,{"id":"x"}],"next":null}`)
	if out := d.outcome(t, begun, "user-1", ""); out.State != bank.Finished || len(out.Candidates) != 1 {
		t.Errorf("%s with %d candidates", out.State, len(out.Candidates))
	}
	if q := d.s.queries("/v2/items"); !slices.Equal(q, []string{"clientUserId=" + d.reference()}) {
		t.Errorf("asked %v", q)
	}
}

func TestWhatIsMadeAfterASessionEndedIsRecognisedByItsRefAlone(t *testing.T) {
	d := newDoor(t)
	begun := d.begin(t, bank.Begin{})
	d.has(d.reference())
	out, err := d.Outcome(t.Context(), bank.Visit{Ref: begun.Ref, User: "user-1", Hint: theItem})
	if err != nil || len(out.Candidates) != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	d.has(d.reference(), `"lastUpdatedAt":null`, `"status":"UPDATING"`)
	if out, err = d.Outcome(t.Context(), bank.Visit{Ref: begun.Ref, Hint: theItem}); err != nil || out.State != bank.Left || len(out.Candidates) != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	if out, err = d.Outcome(t.Context(), bank.Visit{Ref: ref("another"), Hint: theItem}); err != nil || len(out.Candidates) != 0 {
		t.Errorf("%+v, %v", out, err)
	}
	for name, v := range map[string]bank.Visit{"nothing": {Hint: theItem}, "a broken handle": {Handle: secret.New("{"), Ref: begun.Ref, Hint: theItem}} {
		if out, err = d.Outcome(t.Context(), v); err != nil || out.State != bank.Unknown {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
}

func TestDiscardingDeletesTheItem(t *testing.T) {
	d := newDoor(t)
	deleted := 0
	d.s.answers["DELETE /items/"+theItem] = func(w http.ResponseWriter, r *http.Request) { deleted++; says(`{"count":1}`)(w, r) }
	if err := d.Discard(t.Context(), bank.Candidate{Public: secret.New(theItem)}); err != nil || deleted != 1 {
		t.Errorf("%d deleted, %v", deleted, err)
	}
	if err := d.Discard(t.Context(), bank.Candidate{Public: secret.New(theBank)}); err != nil {
		t.Errorf("one that is gone: %v", err)
	}
}

// A new item would name every account and transaction anew. The widget refuses an update unless the token is for it.
func TestAReconnectionUpdatesTheItemAndMakesNone(t *testing.T) {
	d := newDoor(t)
	d.has("whoever", `"status":"LOGIN_ERROR"`, `"executionStatus":"INVALID_CREDENTIALS"`)
	begun := d.begin(t, bank.Begin{Token: secret.New(theItem)})
	var shown map[string]any
	if err := json.Unmarshal([]byte(begun.Widget.Reveal()), &shown); err != nil {
		t.Fatal(err)
	}
	if d.asked.ItemID != theItem || shown["updateItem"] != theItem || shown["connectToken"] == "" {
		t.Errorf("the token is for %q, the widget for %v", d.asked.ItemID, shown)
	}
	for _, step := range []struct {
		passes  time.Duration
		members []string
		want    bank.VisitState
	}{
		{0, []string{`"status":"LOGIN_ERROR"`}, bank.Visiting},
		{0, nil, bank.Visiting}, // well, and not read again since
		{0, []string{`"lastUpdatedAt":"2026-06-20T12:01:00.000Z"`, `"status":"UPDATING"`}, bank.Visiting},
		{0, []string{`"lastUpdatedAt":"2026-06-20T12:01:00.000Z"`}, bank.Finished},
		{time.Hour, []string{`"status":"LOGIN_ERROR"`}, bank.Left},
		{0, []string{`"status":"UPDATING"`}, bank.Visiting},
		{8 * time.Hour, []string{`"status":"UPDATING"`}, bank.Left},
	} {
		d.clock = d.clock.Add(step.passes)
		d.has("whoever", step.members...)
		if out := d.outcome(t, begun, "user-1", theItem); out.State != step.want || len(out.Candidates) > 0 {
			t.Errorf("%v: %s with %d candidates, want %s", step.members, out.State, len(out.Candidates), step.want)
		}
	}
	delete(d.s.answers, "GET /items/"+theItem)
	if _, err := d.Begin(t.Context(), bank.Begin{User: "user-1", Country: "BR", Token: secret.New(theItem)}); !errors.Is(err, bank.ErrGone) {
		t.Errorf("of an item that is gone: %v", err)
	}
}

func TestTheFrontBringsPluggysScriptAndNoOtherHosts(t *testing.T) {
	p, _ := scripted(t, nil)
	front := p.Front()
	if !strings.Contains(string(front.Widget), `"`+DefaultWidget+`"`) || strings.Contains(string(front.Widget), "{{") || front.Days != history {
		t.Errorf("%s", front.Widget)
	}
	for directive, origins := range front.Hosts {
		for _, o := range origins {
			if !strings.HasPrefix(o, "https://") || !strings.HasSuffix(o, ".pluggy.ai") {
				t.Errorf("%s allows %s", directive, o)
			}
		}
	}
	own, err := New(Config{Environment: Sandbox, BaseURL: "http://localhost:1", WidgetURL: "http://localhost:1/w.js", ClientID: "c", ClientSecret: secret.New("s")})
	if err != nil {
		t.Fatal(err)
	}
	if front := own.Front(); !strings.Contains(string(front.Widget), `"http://localhost:1/w.js"`) || !slices.Equal(front.Hosts["frame-src"], []string{"http://localhost:1"}) {
		t.Errorf("%v", front.Hosts)
	}
}
