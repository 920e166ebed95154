package plaid

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

// maxAnswer bounds what is read of one answer, in bytes. 500 transactions are about 1 MB, 50 banks with logos about 2 MB.
const maxAnswer = 16 << 20

// apiVersion is Plaid's only current one.
const apiVersion = "2020-09-14"

var errTooLong = errors.New("the answer is longer than any that Plaid should give")

// wire adds the credentials at the last moment, so that no other part holds the secret as plain text, and bounds answers.
type wire struct {
	next     http.RoundTripper
	clientID string
	secret   secret.String
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("PLAID-CLIENT-ID", w.clientID)
	r.Header.Set("PLAID-SECRET", w.secret.Reveal())
	r.Header.Set("Plaid-Version", apiVersion)
	answer, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	// A redirect is not followed, and the client would tell in its error what it cannot read of where it leads.
	answer.Header.Del("Location")
	answer.Body = &bounded{ReadCloser: answer.Body, left: maxAnswer}
	return answer, nil
}

// stay answers with the redirect itself, so that credentials and tokens go nowhere else.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// bounded fails instead of cutting short: half an answer must never look like a whole one.
type bounded struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if len(p) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if n > b.left {
		return 0, errTooLong
	}
	b.left -= n
	return n, err
}

// post calls Plaid without the SDK and returns the body of a success.
func (p *Plaid) post(ctx context.Context, call string, in any) ([]byte, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", call, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+call, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", call, err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	answer, err := p.slow.Do(r)
	if err != nil {
		return nil, broken(call, "TRANSPORT", err)
	}
	defer answer.Body.Close()
	out, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, broken(call, badAnswer, err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, refusal(call, answer.StatusCode, answer.Header, out)
	}
	return out, nil
}

// broken is a call whose outcome is not known.
func broken(call, code string, err error) error {
	return &bank.Error{Kind: bank.Retry, Code: code, Err: fmt.Errorf("plaid %s: %w", call, err)}
}
