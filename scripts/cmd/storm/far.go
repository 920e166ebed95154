package main

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/bkper/automations-portal/scripts/internal/world"
	"github.com/bkper/automations-portal/shared/bank"
)

// mostLatency is the longest way to or from a service.
const mostLatency = 40 * time.Millisecond

// far puts services at a distance, so that processes die while a request is on its way, and while its answer is.
func (s *storm) far(next http.Handler) http.Handler {
	way := func(r *http.Request) bool { return world.Pause(r.Context(), rand.N(mostLatency)) == nil }
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20)) // that the caller has gone is noticed only once its body was read
		if err != nil || !way(r) {
			return // it never arrived
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		a := &answer{header: w.Header(), status: http.StatusOK}
		next.ServeHTTP(a, r)
		if !way(r) {
			return
		}
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body.Bytes()) // who asked may be dead
	})
}

// answer is kept until it has come all the way.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// exchanges notes for which candidates the bank gave an item's token out, whether or not anybody was still there to take it.
func (s *storm) exchanges(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/item/public_token/exchange") {
			next.ServeHTTP(w, r)
			return
		}
		var asked struct {
			Public string `json:"public_token"`
		}
		var given struct {
			Item string `json:"item_id"`
		}
		text, err := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(text))
		a := &answer{header: w.Header(), status: http.StatusOK}
		next.ServeHTTP(a, r)
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body.Bytes())
		if err == nil && json.Unmarshal(text, &asked) == nil && json.Unmarshal(a.body.Bytes(), &given) == nil && given.Item != "" {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.exchanged[given.Item] = bank.Hash("plaid", asked.Public)
		}
	})
}
