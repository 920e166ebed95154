package provider

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// What a Fault does.
const (
	FaultError = "error" // an error of the provider's own
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
	Status      int    `json:"status,omitempty"`   // of the kind error; 0 is the provider's own
	Code        string `json:"code,omitempty"`     // of the kind error, as the provider names its errors; empty is the most general
	Times       int    `json:"times"`              // requests that fail; 0 is until the faults are cleared
	Skip        int    `json:"skip,omitempty"`     // requests that pass before
	After       bool   `json:"after,omitempty"`    // the request takes effect, and only then fails
	DelayMillis int    `json:"delay_ms,omitempty"` // of the kind slow
}

func (f *Fault) matches(r *http.Request) bool {
	path := f.Path == "" || f.Path == r.URL.Path || strings.HasSuffix(f.Path, "/") && strings.HasPrefix(r.URL.Path, f.Path)
	return path && (f.Method == "" || f.Method == r.Method)
}

// Faults are those of a Server. They are safe for concurrent use.
type Faults struct {
	mu   sync.Mutex
	list []*Fault
}

// Add adds a fault; the first that matches a request is used.
func (l *Faults) Add(f Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, &f)
}

// Clear ends all faults.
func (l *Faults) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
}

// take returns what is to happen to a request, nil if nothing.
func (l *Faults) take(r *http.Request) *Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, f := range l.list {
		if !f.matches(r) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			return nil
		}
		if f.Times == 1 {
			l.list = append(l.list[:i:i], l.list[i+1:]...)
		} else if f.Times > 1 {
			f.Times--
		}
		copied := *f
		return &copied
	}
	return nil
}

// Serve serves a request as the faults have it; refuse answers one of the kind error.
func (l *Faults) Serve(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter), refuse func(http.ResponseWriter, *Fault)) {
	f := l.take(r)
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
		refuse(w, f)
	}
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

// Limiter counts requests in windows of a minute. The zero Limiter has counted none.
type Limiter struct {
	minute int64
	counts map[string]int
}

// Take counts a request and reports whether it is one of the first most in its minute.
func (l *Limiter) Take(key string, most int, now time.Time) bool {
	if minute := now.Unix() / 60; l.counts == nil || minute != l.minute {
		l.minute, l.counts = minute, map[string]int{}
	}
	l.counts[key]++
	return l.counts[key] <= most
}
