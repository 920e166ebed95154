package pluggy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

func TestOneKeyServesAllCallsAndIsFetchedOnce(t *testing.T) {
	p, s := scripted(t, map[string]http.HandlerFunc{"GET /items/" + theItem: says(itemJSON()), "GET /accounts": says(accountsJSON)})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := p.Item(t.Context(), secret.New(theItem)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if s.keys != 1 {
		t.Errorf("%d keys were fetched", s.keys)
	}
}

func TestAKeyIsReplacedBeforeItEndsAndServesOnWhereNoOtherCanBeHad(t *testing.T) {
	now, keys, down := time.Unix(1_800_000_000, 0), 0, false
	ring := keyring{}
	fetch := func(context.Context) (apiKey, error) {
		if down {
			return apiKey{}, errors.New("down")
		}
		keys++
		return apiKey{secret.New(fmt.Sprint("key ", keys)), now.Add(2 * time.Hour)}, nil
	}
	get := func() string {
		key, err := ring.get(t.Context(), func() time.Time { return now }, fetch)
		if err != nil {
			return err.Error()
		}
		return key.Reveal()
	}
	for _, step := range []struct {
		passes time.Duration
		down   bool
		want   string
	}{
		{0, false, "key 1"},
		{109 * time.Minute, false, "key 1"},
		{time.Minute, false, "key 2"},
		{115 * time.Minute, true, "key 2"},
		{5 * time.Minute, true, "down"},
		{0, false, "key 3"},
	} {
		now, down = now.Add(step.passes), step.down
		if got := get(); got != step.want {
			t.Errorf("after %v: %s, want %s", step.passes, got, step.want)
		}
	}
}

func TestALifetimeDoesNotDependOnOurClock(t *testing.T) {
	for claims, want := range map[string]time.Duration{
		`{"iat":1000,"exp":8200}`: 2 * time.Hour, `{"iat":1000,"exp":2800}`: 30 * time.Minute, `{"exp":8200}`: keyLifetime,
		`{"iat":8200,"exp":1000}`: keyLifetime, `{"iat":1,"exp":9223372036854775807}`: keyLifetime, `{"iat":"a"}`: keyLifetime, `no JSON`: keyLifetime,
	} {
		if got := lifetime(jwt(claims)); got != want {
			t.Errorf("%s lives %v, want %v", claims, got, want)
		}
	}
	if lifetime("opaque") != keyLifetime || lifetime("a.$$.c") != keyLifetime {
		t.Error("a key that is no token has another lifetime")
	}
}

func TestWhoStopsWaitingForAKeyDoesNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, release := keyring{}, make(chan struct{})
		fetch := func(ctx context.Context) (apiKey, error) {
			select {
			case <-release:
				return apiKey{secret.New("key"), time.Now().Add(time.Hour)}, nil
			case <-ctx.Done():
				return apiKey{}, ctx.Err()
			}
		}
		impatient, leave := context.WithCancel(t.Context())
		results := make(chan error, 2)
		for _, ctx := range []context.Context{impatient, t.Context()} {
			go func() {
				_, err := ring.get(ctx, time.Now, fetch)
				results <- err
			}()
			synctest.Wait()
		}
		leave()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
		close(release)
		if err := <-results; err != nil {
			t.Errorf("who stayed got %v", err)
		}
	})
}

// Pluggy's refusal of a key, and refusals that only look like it.
func TestOnlyARefusedKeyIsReplacedAndOnlyOnce(t *testing.T) {
	const refusal = `{"code":403,"message":"Missing or invalid authorization token"}`
	for name, c := range map[string]struct {
		status int
		body   string
		keys   int
		kind   bank.Kind
	}{
		"403 of the key":       {403, refusal, 2, bank.OurFault},
		"401":                  {401, `{"code":401,"message":"x"}`, 2, bank.OurFault},
		"403 of something":     {403, `{"code":403,"message":"Forbidden for this plan"}`, 1, bank.OurFault},
		"403 with a code":      {403, `{"code":403,"codeDescription":"BALANCE_CONSENT_ERROR","message":"authorization token"}`, 1, bank.OurFault},
		"403 of a gateway":     {403, `<html>authorization token</html>`, 1, bank.OurFault},
		"404 that means gone":  {404, `{"code":404,"codeDescription":"ITEM_NOT_FOUND","message":"item not found"}`, 1, bank.Permanent},
		"404 of a gateway":     {404, `<html>no such route</html>`, 1, bank.OurFault},
		"409 update too early": {409, `{"code":409,"codeDescription":"CLIENT_IS_UPDATING_BEFORE_ALLOWED_FREQUENCY","data":{"minUpdateFrequencyAllowedInHours":24}}`, 1, bank.RetryAfter},
		"410":                  {410, `{"code":410,"codeDescription":"ENDPOINT_DEPRECATED","message":"This endpoint is deprecated."}`, 1, bank.OurFault},
		"a redirect":           {302, ``, 1, bank.OurFault},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := scripted(t, map[string]http.HandlerFunc{"GET /items/" + theItem: with(c.status, c.body)})
			_, err := p.Item(t.Context(), secret.New(theItem))
			if bank.KindOf(err) != c.kind || bank.CodeOf(err) == "" {
				t.Errorf("%v", err)
			}
			if s.keys != c.keys {
				t.Errorf("%d keys were fetched, want %d", s.keys, c.keys)
			}
			if gone := errors.Is(err, bank.ErrGone); gone != (c.kind == bank.Permanent) {
				t.Errorf("gone: %v", gone)
			}
		})
	}
}

func TestACallGoesOnWithTheNewKey(t *testing.T) {
	p, s := scripted(t, nil)
	s.answers = map[string]http.HandlerFunc{"GET /accounts": says(accountsJSON), "GET /items/" + theItem: func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-API-KEY") == "key-1" {
			with(http.StatusForbidden, `{"code":403,"message":"Missing or invalid authorization token"}`)(w, r)
			return
		}
		says(itemJSON())(w, r)
	}}
	if _, err := p.Item(t.Context(), secret.New(theItem)); err != nil || s.keys != 2 {
		t.Errorf("%v after %d keys", err, s.keys)
	}
}

func TestWrongCredentialsAreOurFault(t *testing.T) {
	for _, code := range []string{"CLIENT_KEYS_UNAUTHORIZED", "CLIENT_DISABLED"} {
		p, _ := scripted(t, map[string]http.HandlerFunc{"POST /auth": with(401, `{"code":401,"codeDescription":"`+code+`","message":"Client keys are invalid"}`)})
		if _, err := p.Item(t.Context(), secret.New(theItem)); bank.KindOf(err) != bank.OurFault || bank.CodeOf(err) != code {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestAnAnswerThatCannotBeReadIsWorthARetry(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"a page":       func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"nothing":      says(""),
		"half":         says(`{"id":"` + theItem),
		"another item": says(`{"id":"` + theBank + `"}`),
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, itemJSON(`"x":"`+strings.Repeat("x", maxAnswer)+`"`))
		},
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "{")
		},
	} {
		p, _ := scripted(t, map[string]http.HandlerFunc{"GET /items/" + theItem: answer})
		_, err := p.Item(t.Context(), secret.New(theItem))
		if bank.KindOf(err) != bank.Retry || bank.CodeOf(err) != badAnswer || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	p, _ := scripted(t, map[string]http.HandlerFunc{"GET /items/" + theItem: func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}})
	if _, err := p.Item(t.Context(), secret.New(theItem)); err == nil || elsewhere.Load() != 0 {
		t.Errorf("%v, and %d requests went elsewhere", err, elsewhere.Load())
	}
}

func TestOnlyWhatLooksLikeAnIDBecomesPartOfAnAddress(t *testing.T) {
	p, s := scripted(t, nil)
	for _, token := range []string{"", "..", "../items", theItem + "/mfa", theItem + "?x=y", strings.ToUpper(theItem) + " ", "0"} {
		_, itemErr := p.Item(t.Context(), secret.New(token))
		_, readErr := p.Changes(t.Context(), bank.From{Token: secret.New(token)})
		if !errors.Is(itemErr, bank.ErrGone) || !errors.Is(readErr, bank.ErrGone) || p.Remove(t.Context(), secret.New(token)) == nil {
			t.Errorf("%q: %v, %v", token, itemErr, readErr)
		}
	}
	if len(s.asked) != 0 {
		t.Errorf("asked for %s", s.asked[0].URL)
	}
}

func TestEveryFaultOfAConfigurationIsNamed(t *testing.T) {
	_, err := New(Config{Environment: "moon", BaseURL: "http://pluggy.example", WidgetURL: "javascript:x", WebhookSecrets: []secret.String{secret.New("short")}})
	for _, fault := range []string{"environment", "base URL", "widget's URL", "client id", "client secret", "webhook secret"} {
		if err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%q is not named in %v", fault, err)
		}
	}
}
