package pluggy

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

// What a Fault does.
const (
	FaultError = "error" // an error of Pluggy's own, by its status
	FaultHTML  = "html"  // 502 and a page that is not JSON, as a gateway answers
	FaultSlow  = "slow"  // the answer comes late
	FaultReset = "reset" // the connection breaks without an answer
	FaultCut   = "cut"   // the connection breaks in the middle of the answer
)

// Fault makes an endpoint fail.
type Fault struct {
	Method      string `json:"method,omitempty"`   // empty is every one
	Path        string `json:"path"`               // such as /v2/transactions, or with a slash at its end all below it; empty is every endpoint of the API
	Kind        string `json:"kind"`               // error, html, slow, reset or cut
	Status      int    `json:"status,omitempty"`   // of the kind error; 0 is 500; 429 has its headers
	Code        string `json:"code,omitempty"`     // codeDescription of the kind error; empty is none
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

func (f *Fault) matches(r *http.Request) bool {
	path := f.Path == "" || f.Path == r.URL.Path || strings.HasSuffix(f.Path, "/") && strings.HasPrefix(r.URL.Path, f.Path)
	return path && (f.Method == "" || f.Method == r.Method)
}

// fault returns what is to happen to a request, nil if nothing.
func (s *Server) fault(r *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if !f.matches(r) {
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
	f := s.fault(r)
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
	case f.Kind == FaultCut:
		cut(w, serve)
		return
	case f.After:
		serve(httptest.NewRecorder())
	}
	switch f.Kind {
	case FaultHTML:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write([]byte("<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"))
	case FaultReset:
		panic(http.ErrAbortHandler)
	default:
		s.answer(w, nil, f.refusal())
	}
}

func (f *Fault) refusal() *Error {
	if f.Status == http.StatusTooManyRequests {
		return tooMany(0)
	}
	status := cmp.Or(f.Status, http.StatusInternalServerError)
	return refuse(status, f.Code, "%s", cmp.Or(http.StatusText(status), "Unknown error"))
}

// cut sends the first half of an answer and breaks the connection.
func cut(w http.ResponseWriter, serve func(http.ResponseWriter)) {
	whole := httptest.NewRecorder()
	serve(whole)
	w.Header().Set("Content-Type", whole.Header().Get("Content-Type"))
	w.WriteHeader(whole.Code)
	_, _ = w.Write(whole.Body.Bytes()[:whole.Body.Len()/2])
	_ = http.NewResponseController(w).Flush() // what cannot be flushed breaks as well
	panic(http.ErrAbortHandler)
}

// limiter counts requests by minute. The Server's mutex guards it.
type limiter struct {
	minute int64
	counts map[string]int
}

func newLimiter() *limiter { return &limiter{counts: map[string]int{}} }

// limits are Pluggy's a minute and address.
var limits = map[string]int{
	"POST /auth": 360, "GET /transactions": 360, "GET /v2/transactions": 360, "PATCH /items/{id}": 20,
}

// take counts a request and refuses it where it is one too many.
func (l *limiter) take(pattern, address string, now time.Time) error {
	most, ok := limits[pattern]
	if !ok {
		return nil
	}
	if minute := now.Unix() / 60; minute != l.minute {
		l.minute = minute
		clear(l.counts)
	}
	key := pattern + " " + address
	if l.counts[key]++; l.counts[key] > most {
		return tooMany(most)
	}
	return nil
}
