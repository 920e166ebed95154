package pluggy

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

func bell(t testing.TB, secrets ...string) *Pluggy {
	t.Helper()
	c := Config{Environment: Sandbox, ClientID: "c", ClientSecret: secret.New("s")}
	for _, s := range secrets {
		c.WebhookSecrets = append(c.WebhookSecrets, secret.New(s))
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func carrying(values ...string) http.Header { return http.Header{WebhookHeader: values} }

func TestOnlyOurSecretsAreAcceptedTwoOfThemWhileOneIsExchanged(t *testing.T) {
	const old = "the-secret-of-before-1234"
	body := []byte(`{"event":"item/updated","eventId":"e","itemId":"` + theItem + `"}`)
	for name, c := range map[string]struct {
		secrets []string
		header  http.Header
		good    bool
	}{
		"ours":                    {[]string{theSecret}, carrying(theSecret), true},
		"the new one of two":      {[]string{theSecret, old}, carrying(theSecret), true},
		"the old one of two":      {[]string{theSecret, old}, carrying(old), true},
		"in small letters":        {[]string{theSecret}, http.Header{"webhook-secret": {theSecret}}, true},
		"the old one afterwards":  {[]string{theSecret, ""}, carrying(old), false},
		"none":                    {[]string{theSecret}, nil, false},
		"empty":                   {[]string{theSecret}, carrying(""), false},
		"twice":                   {[]string{theSecret}, carrying(theSecret, theSecret), false},
		"under two names":         {[]string{theSecret}, http.Header{"webhook-secret": {theSecret}, WebhookHeader: {theSecret}}, false},
		"its beginning":           {[]string{theSecret}, carrying(theSecret[:len(theSecret)-1]), false},
		"a letter more":           {[]string{theSecret}, carrying(theSecret + "a"), false},
		"in another header":       {[]string{theSecret}, http.Header{"Authorization": {theSecret}}, false},
		"none is configured":      {nil, carrying(""), false},
		"empty ones are":          {[]string{"", ""}, carrying(""), false},
		"in Pluggy's own Headers": {[]string{theSecret}, http.Header{"X-Pluggy-Signature": {theSecret}}, false},
	} {
		notices, err := bell(t, c.secrets...).Verify(t.Context(), c.header, body)
		if (err == nil) != c.good || errors.Is(err, bank.ErrForged) == c.good || (len(notices) > 0) != c.good {
			t.Errorf("%s: %d notices, %v", name, len(notices), err)
		}
	}
}

func TestAnEventSaysWhereToLookAndNothingElseOfItIsUsed(t *testing.T) {
	const id = `"eventId":"e","itemId":"` + theItem + `"`
	item, deep := bank.Notice{Item: theItem}, bank.Notice{Item: theItem, Deep: true}
	visit := bank.Notice{Item: theItem, Session: ref("reference")}
	for body, want := range map[string][]bank.Notice{
		`{"event":"item/created",` + id + `,"triggeredBy":"USER","clientUserId":"reference"}`:                                                  {item, visit},
		`{"event":"item/created",` + id + `,"triggeredBy":"CLIENT","clientUserId":"reference"}`:                                                {item, visit},
		`{"event":"item/updated",` + id + `,"triggeredBy":"USER","clientUserId":"reference"}`:                                                  {item, visit},
		`{"event":"item/updated",` + id + `,"triggeredBy":"SYNC","clientUserId":"reference"}`:                                                  {item},
		`{"event":"item/updated",` + id + `,"triggeredBy":"INTERNAL"}`:                                                                         {item},
		`{"event":"item/login_succeeded",` + id + `,"clientUserId":"reference"}`:                                                               {item, visit},
		`{"event":"item/waiting_user_input",` + id + `,"triggeredBy":"USER","clientUserId":"reference"}`:                                       {item, visit},
		`{"event":"item/error",` + id + `,"error":{"code":"USER_INPUT_TIMEOUT","parameter":"token"},"triggeredBy":"SYNC","clientUserId":null}`: {item},
		`{"event":"item/deleted",` + id + `,"clientUserId":"reference"}`:                                                                       {item},
		`{"event":"item/created",` + id + `,"clientUserId":"` + strings.Repeat("x", 256) + `"}`:                                                {item},
		`{"event":"item/created","eventId":"e","itemId":"` + strings.ToUpper(theItem) + `"}`:                                                   {item},
		`{"event":"transactions/created",` + id + `,"accountId":"` + theBank + `","transactionsCreatedAtFrom":"2025-02-13T17:21:53.719Z",
		  "createdTransactionsLink":"https://evil.example/x","createdTransactionsLinkV2":"https://evil.example/y"}`: {item},
		`{"event":"transactions/updated",` + id + `,"transactionIds":["a","b"],"transactionsCount":2}`:                 {deep},
		`{"event":"transactions/deleted",` + id + `,"transactionIds":7}`:                                               {deep},
		`{"event":"connector/status_updated","eventId":"e","id":"201","connectorId":201,"data":{"status":"UNSTABLE"}}`: nil,
		`{"event":"payment_intent/completed","eventId":"e","paymentIntentId":"x"}`:                                     nil,
		`{"event":"something/new"}`: nil,
	} {
		got, err := bell(t, theSecret).Verify(t.Context(), carrying(theSecret), []byte(body))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v: %s", body, err, diff)
		}
	}
}

func TestAWebhookThatCannotBeReadIsMalformed(t *testing.T) {
	for _, body := range []string{
		"", "null", "[]", "{", `{"event":7}`, `{"event":""}`, `{}`, `{"event":"item/updated"}`, `{"event":"item/updated","itemId":7}`,
		`{"event":"item/updated","itemId":"../x"}`, `{"event":"item/updated","itemId":"` + theItem + `","itemId":"` + theBank + `"}`,
		`{"event":"item/updated","itemId":"` + theItem + `"} x`, strings.Repeat("[", 100_000), `{"event":"` + strings.Repeat("x", maxBody) + `"}`,
	} {
		if got, err := bell(t, theSecret).Verify(t.Context(), carrying(theSecret), []byte(body)); !errors.Is(err, bank.ErrMalformed) || len(got) > 0 {
			t.Errorf("%.60s: %d notices, %v", body, len(got), err)
		}
	}
}

// Whatever comes, it is understood or refused, and a forged one is never understood.
func FuzzVerify(f *testing.F) {
	f.Add([]byte(`{"event":"item/created","eventId":"e","itemId":"`+theItem+`","triggeredBy":"USER","clientUserId":"reference"}`), theSecret)
	f.Add([]byte(`{"event":"transactions/deleted","itemId":"`+theItem+`","transactionIds":["x"]}`), "")
	f.Add([]byte(`{"event":null}`), theSecret)
	p := bell(f, theSecret)
	f.Fuzz(func(t *testing.T, body []byte, proof string) {
		notices, err := p.Verify(t.Context(), carrying(proof), body)
		switch {
		case proof != theSecret && !errors.Is(err, bank.ErrForged):
			t.Errorf("%q passes", proof)
		case err != nil && (len(notices) > 0 || !errors.Is(err, bank.ErrForged) && !errors.Is(err, bank.ErrMalformed)):
			t.Errorf("%d notices, %v", len(notices), err)
		}
		for _, n := range notices {
			if !ids.MatchString(n.Item) || n.Session != "" && len(n.Session) != 32 {
				t.Errorf("%+v", n)
			}
		}
	})
}
