package plaid

import (
	"net/http"
	"net/http/httptest"
	"time"
)

// What a Fault does.
const (
	FaultError = "error" // an error of Plaid's own, by its code
	FaultHTML  = "html"  // 502 and a page that is not JSON, as a proxy answers
	FaultSlow  = "slow"  // the answer comes late
	FaultReset = "reset" // the connection breaks without an answer
)

// Fault makes an endpoint fail.
type Fault struct {
	Path        string `json:"path"`               // such as /transactions/sync; empty is every endpoint of the API
	Kind        string `json:"kind"`               // error, html, slow or reset
	Code        string `json:"code,omitempty"`     // of the kind error; empty is INTERNAL_SERVER_ERROR
	Times       int    `json:"times"`              // requests that fail; 0 is until the faults are cleared
	Skip        int    `json:"skip,omitempty"`     // requests that pass before
	After       bool   `json:"after,omitempty"`    // the request takes effect, and only then fails
	DelayMillis int    `json:"delay_ms,omitempty"` // of the kind slow
}

// AddFault adds a fault; the first that matches a request is used.
func (s *Server) AddFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// ClearFaults ends all faults.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// fault returns what is to happen to a request, nil if nothing.
func (s *Server) fault(path string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if f.Path != "" && f.Path != path {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			return nil
		}
		if f.Times == 1 {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		} else if f.Times > 1 {
			f.Times--
		}
		copied := *f
		return &copied
	}
	return nil
}

// withFaults serves a request as the faults have it.
func (s *Server) withFaults(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter)) {
	f := s.fault(r.URL.Path)
	switch {
	case f == nil:
		serve(w)
		return
	case f.Kind == FaultSlow:
		timer := time.NewTimer(time.Duration(f.DelayMillis) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
		serve(w)
		return
	case f.After:
		serve(httptest.NewRecorder()) // nobody receives the answer
	}
	switch f.Kind {
	case FaultHTML:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write([]byte("<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"))
	case FaultReset:
		panic(http.ErrAbortHandler)
	default:
		code := f.Code
		if _, ok := refusals[code]; !ok {
			code = "INTERNAL_SERVER_ERROR"
		}
		s.answer(w, nil, refuse(code))
	}
}

// limiter counts requests by minute. The Server's mutex guards it.
type limiter struct {
	minute int64
	counts map[string]int
}

func newLimiter() *limiter { return &limiter{counts: map[string]int{}} }

// limits are those of Plaid's Sandbox a minute (https://plaid.com/docs/errors/rate-limit-exceeded/): by Item and by client;
// 0 is none.
var limits = map[string]struct {
	item, client int
	code         string
}{
	"/transactions/sync":           {50, 1000, "TRANSACTIONS_SYNC_LIMIT"},
	"/transactions/refresh":        {2, 100, "TRANSACTIONS_REFRESH_LIMIT"},
	"/accounts/get":                {100, 5000, "ACCOUNTS_LIMIT"},
	"/item/get":                    {40, 5000, "ITEM_GET_LIMIT"},
	"/item/remove":                 {100, 500, "RATE_LIMIT"},
	"/institutions/get":            {0, 10, "INSTITUTIONS_GET_LIMIT"},
	"/institutions/get_by_id":      {0, 400, "INSTITUTIONS_GET_BY_ID_LIMIT"},
	"/sandbox/transactions/create": {2, 50, "RATE_LIMIT"},
}

// take counts a request and refuses it where it is one too many.
func (l *limiter) take(path, client, item string, now time.Time) error {
	limit, ok := limits[path]
	if !ok {
		return nil
	}
	if minute := now.Unix() / 60; minute != l.minute {
		l.minute = minute
		clear(l.counts)
	}
	over := func(key string, most int) bool {
		l.counts[key]++
		return most > 0 && l.counts[key] > most
	}
	if over(path+" client "+client, limit.client) || item != "" && over(path+" item "+item, limit.item) {
		return refuse(limit.code)
	}
	return nil
}
