package caller_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/secret"
)

// Whatever Google answers, it names a person or nobody, and no token shows in an error.
func FuzzGooglesAnswers(f *testing.F) {
	f.Add([]byte(info(nil)), 200)
	f.Add([]byte(info(map[string]any{"email_verified": true, "exp": 9e9, "sub": nil})), 200)
	f.Add([]byte(`{"access_token":"ya29.canary","expires_in":3599,"token_type":"Bearer"}`), 200)
	f.Add([]byte(`{"access_token":7,"expires_in":"x"}`), 200)
	f.Add([]byte(`{"error":"invalid_grant","error_description":"of refresh-canary"}`), 400)
	f.Add([]byte(`{"error":"refresh-canary"}`), 401)
	f.Add([]byte("refresh-canary"), 502)
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		if status < 200 || status > 599 {
			return
		}
		client := answering(status, string(body))
		who, err := newGoogle(t, client).Verify(t.Context(), secret.New("ya29.canary"))
		known := errors.Is(err, caller.ErrUnauthenticated) || errors.Is(err, caller.ErrUnavailable)
		if (err == nil) != (who.Sub != "" && who.Email != "") || err != nil && !known || strings.Contains(fmt.Sprint(err), "canary") {
			t.Errorf("%q %q, %v", who.Sub, who.Email, err)
		}
		token, err := newGrants(grant("refresh-canary"), client).Fresh(t.Context(), "110")
		var told *bank.Error
		if (err == nil) == token.Empty() || err != nil && (!errors.As(err, &told) || told.Code == "" || strings.Contains(err.Error()+told.Code, "canary")) {
			t.Errorf("a token: %v, %v", !token.Empty(), err)
		}
	})
}
