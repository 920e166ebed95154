package plaid

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

// always answers every call with the same, without a network.
type always struct {
	status int
	body   []byte
}

func (a always) RoundTrip(r *http.Request) (*http.Response, error) {
	header := http.Header{"Content-Type": {"application/json"}, "Location": {string(a.body)}}
	return &http.Response{StatusCode: a.status, Header: header, Body: io.NopCloser(bytes.NewReader(a.body)), Request: r}, nil
}

// Whatever Plaid answers, it is understood or is an error of a kind, and shows nobody's token.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		healthyItem, someAccounts, itemWith("ITEM_LOGIN_REQUIRED", "ITEM_ERROR"), createdLink, linkHead + `,"link_sessions":[` + made + `,` + handed + `]}`,
		`{"access_token":"access-sandbox-1","item_id":"i","request_id":"r"}`, `{"institutions":[` + aBank("ins_1", "null", "null", `"`+onePixel+`"`) + `],"total":1}`,
		`{"key":{"alg":"ES256","crv":"P-256","kid":"6c5516e1","kty":"EC","use":"sig","x":"AA","y":"AA","created_at":1,"expired_at":null}}`,
		`null`, `[]`, `{"item":null,"accounts":[null]}`, `{"link_sessions":[null,{"results":{"item_add_results":[null]},"on_success":{}}]}`,
		`{"error_type":"ITEM_ERROR","error_code":"` + itemToken + `"}`, "http://[::1/" + itemToken,
	} {
		f.Add([]byte(body), 200)
		f.Add([]byte(body), 302)
		f.Add([]byte(body), 400)
	}
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		if status < 200 || status > 599 {
			return
		}
		p, err := New(Config{
			Environment: Sandbox, ClientID: "c", Secret: secret.New("client-secret-canary"), ClientName: "n",
			HTTPClient: &http.Client{Transport: always{status, body}},
		})
		if err != nil {
			t.Fatal(err)
		}
		token := secret.New(itemToken)
		failed := func(call string, err error) bool {
			if err == nil {
				return false
			}
			var told *bank.Error
			if !errors.As(err, &told) || told.Code == "" || told.Kind == "" || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v", call, err)
			}
			return true
		}
		if item, err := p.Item(t.Context(), token); !failed("item", err) && item.ID == "" {
			t.Errorf("half an item: %+v", item)
		}
		if begun, err := p.Begin(t.Context(), bank.Begin{User: "u", Country: "US"}); !failed("begin", err) && (begun.Handle.Empty() || begun.URL == "" || begun.Expires.IsZero()) {
			t.Errorf("half a session: %+v", begun)
		}
		out, err := p.Outcome(t.Context(), bank.Visit{Handle: secret.New("link-sandbox-canary"), User: "u"})
		if !failed("outcome", err) && out.State == bank.Finished && len(out.Candidates) == 0 {
			t.Errorf("finished without anything: %+v", out)
		}
		for _, c := range out.Candidates {
			if c.Public.Empty() || c.Key == "" {
				t.Errorf("half a candidate: %+v", c)
			}
		}
		if grant, err := p.Exchange(t.Context(), bank.Candidate{Public: secret.New("public-canary")}); !failed("exchange", err) && (grant.Item == "" || grant.Token.Empty()) {
			t.Errorf("half a grant: %+v", grant)
		}
		if banks, err := p.Institutions(t.Context(), "US", "x"); !failed("institutions", err) && len(banks) > shelfSize {
			t.Errorf("%d banks", len(banks))
		}
		if key, err := p.fetchKey(t.Context(), "6c5516e1"); !failed("key", err) && key.public == nil {
			t.Error("half a key")
		}
		failed("remove", p.Remove(t.Context(), token))
	})
}
