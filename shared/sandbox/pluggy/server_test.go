package pluggy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

func TestAPIKeysAndConnectTokensExpireWhenPluggysDo(t *testing.T) {
	r := newRig(t, Options{})
	life := func(token string) int {
		var c jwt.MapClaims
		parsed, _, err := jwt.NewParser().ParseUnverified(token, &c)
		if err != nil || parsed.Method.Alg() != "RS256" || c["clientId"] != testClient {
			t.Fatal(err, parsed, c)
		}
		return int(c["exp"].(float64) - c["iat"].(float64))
	}
	token := r.token(t, `{}`)
	if life(r.key) != 7200 || life(token) != 1800 {
		t.Errorf("key %d s, token %d s", life(r.key), life(token))
	}
	r.clock.advance(31 * time.Minute)
	if status, _ := r.call(t, "GET", "/connectors", token, ""); status != http.StatusForbidden {
		t.Errorf("the token still answers %d", status)
	}
	r.ok(t, "GET", "/connectors", "")
	r.clock.advance(90 * time.Minute)
	if status, out := r.call(t, "GET", "/connectors", r.key, ""); status != http.StatusForbidden || out["message"] != "Missing or invalid authorization token" {
		t.Errorf("the key still answers %d %v", status, out)
	}
}

func TestAnItemShowsAccountsAndTransactions(t *testing.T) {
	r := newRig(t, Options{})
	item := r.connected(t, "user-ok")
	got := r.ok(t, "GET", "/items/"+item, "")
	if got["status"] != "UPDATED" || got["executionStatus"] != "SUCCESS" || got["clientUserId"] != "u-1" {
		t.Errorf("%v", got)
	}
	accounts := r.ok(t, "GET", "/accounts?itemId="+item, "")
	var subtypes []string
	for _, a := range accounts["results"].([]any) {
		subtypes = append(subtypes, fmt.Sprint(a.(map[string]any)["subtype"]))
	}
	if diff := cmp.Diff([]string{"CHECKING_ACCOUNT", "SAVINGS_ACCOUNT", "CREDIT_CARD"}, subtypes); diff != "" {
		t.Error(diff)
	}
	page := r.ok(t, "GET", "/v2/transactions?accountId="+r.accountOf(t, item, "CREDIT"), "")
	dates := []string{}
	for _, x := range page["results"].([]any) {
		dates = append(dates, x.(map[string]any)["date"].(string))
	}
	if len(dates) < 100 || !slices.IsSortedFunc(dates, func(x, y string) int { return strings.Compare(y, x) }) {
		t.Errorf("%d rows: %v", len(dates), dates)
	}
}
