package bkper

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"time"
)

// FaultKind is a way in which a call goes wrong.
type FaultKind string

// The kinds of faults.
const (
	FaultStatus     FaultKind = "status"      // answers Status and does nothing
	FaultSlow       FaultKind = "slow"        // waits DelayMs, then works
	FaultReset      FaultKind = "reset"       // closes the connection and does nothing
	FaultResetAfter FaultKind = "reset_after" // works, then closes the connection without an answer
	FaultHang       FaultKind = "hang"        // works, then keeps silent until the client leaves, at most DelayMs
	FaultPartial    FaultKind = "partial"     // writes Rows rows of a batch, then answers 503
)

// Fault makes calls go wrong that match it.
type Fault struct {
	Kind       FaultKind `json:"kind"`
	Method     string    `json:"method,omitempty"` // "" for all
	Path       string    `json:"path,omitempty"`   // regular expression on the path below /v5; "" for all
	Status     int       `json:"status,omitempty"`
	RetryAfter string    `json:"retryAfter,omitempty"` // header of the answer
	Body       string    `json:"body,omitempty"`       // instead of the JSON envelope, as proxies answer
	DelayMs    int       `json:"delayMs,omitempty"`    // default 100 for slow, five minutes for hang
	Rows       int       `json:"rows,omitempty"`       // default 1
	Skip       int       `json:"skip,omitempty"`       // so many matching calls work first
	Times      int       `json:"times,omitempty"`      // so many matching calls fail then; 0 for all

	path *regexp.Regexp
	seen int
}

// SetFaults replaces all faults. An error says which is malformed.
func (v *Server) SetFaults(all []Fault) error {
	var faults []*Fault
	for _, f := range all {
		var err error
		if f.path, err = regexp.Compile(f.Path); err != nil {
			return invalid("path of fault: %v", err)
		}
		switch f.Kind {
		case FaultStatus:
			if f.Status < 400 || f.Status > 599 {
				return invalid("a status fault needs a status from 400 to 599")
			}
		case FaultSlow, FaultReset, FaultResetAfter, FaultHang, FaultPartial:
		default:
			return invalid("unknown kind of fault: %s", f.Kind)
		}
		faults = append(faults, &f)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.faults = faults
	return nil
}

// due returns the fault of a call, or nil.
func (v *Server) due(r *http.Request) *Fault {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, f := range v.faults {
		if f.Method != "" && f.Method != r.Method || !f.path.MatchString(r.URL.Path) {
			continue
		}
		f.seen++
		if f.seen > f.Skip && (f.Times == 0 || f.seen <= f.Skip+f.Times) {
			return f
		}
	}
	return nil
}

type cutKey struct{}

// cutAfter tells after how many rows the request's batch is to be cut; 0 for not at all.
func cutAfter(r *http.Request) int {
	n, _ := r.Context().Value(cutKey{}).(int)
	return n
}

func (v *Server) withFaults(w http.ResponseWriter, r *http.Request) {
	f := v.due(r)
	if f == nil {
		v.mux.ServeHTTP(w, r)
		return
	}
	switch f.Kind {
	case FaultStatus:
		f.answer(w)
	case FaultSlow:
		wait(r.Context(), f.delay(100*time.Millisecond))
		v.mux.ServeHTTP(w, r)
	case FaultPartial:
		v.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), cutKey{}, max(f.Rows, 1))))
	case FaultResetAfter, FaultHang:
		v.mux.ServeHTTP(httptest.NewRecorder(), r) // nobody receives the answer
		if f.Kind == FaultHang {
			wait(r.Context(), f.delay(5*time.Minute))
		}
		panic(http.ErrAbortHandler)
	case FaultReset:
		panic(http.ErrAbortHandler)
	}
}

func (f *Fault) delay(byDefault time.Duration) time.Duration {
	if f.DelayMs == 0 {
		return byDefault
	}
	return time.Duration(f.DelayMs) * time.Millisecond
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (f *Fault) answer(w http.ResponseWriter) {
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	if f.Body != "" {
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		w.WriteHeader(f.Status)
		w.Write([]byte(f.Body))
		return
	}
	refuse(w, &Error{f.Status, "backendError", http.StatusText(f.Status)})
}
