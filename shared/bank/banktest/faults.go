package banktest

import (
	"fmt"
	"io"
	"net/http"
	"sync"
)

// Faults stands before a sandbox and answers in its place while it is broken.
type Faults struct {
	Next http.Handler

	mu    sync.Mutex
	fault *fault
}

// fault is one way to be broken. All but the cut connection repeat the request in their answer, credentials and tokens
// included, as a careless proxy's page may do.
type fault struct {
	name   string
	status int // 0 cuts the connection
	kind   string
	header map[string]string
	body   string // instead of the request
}

const patience = "7" // seconds, of a Retry-After

var faults = []fault{
	{name: "connection cut"},
	{name: "500 in JSON", status: 500, kind: "application/json"},
	{name: "502 as a page", status: 502, kind: "text/html"},
	{name: "503 with nothing", status: 503},
	{name: "429", status: 429, kind: "application/json"},
	{name: "429 that says when", status: 429, kind: "application/json", header: map[string]string{"Retry-After": patience}},
}

// hollow are successes that say nothing.
var hollow = []fault{
	{name: "an empty object", status: 200, kind: "application/json", body: "{}"},
	{name: "null", status: 200, kind: "application/json", body: "null"},
	{name: "nothing", status: 200, kind: "application/json", body: " "},
	{name: "a page", status: 200, kind: "text/html", body: "<html><body>Sign in to the network</body></html>"},
}

// set breaks the service, or heals it with nil.
func (f *Faults) set(broken *fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = broken
}

// ServeHTTP implements http.Handler.
func (f *Faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	broken := f.fault
	f.mu.Unlock()
	if broken == nil {
		f.Next.ServeHTTP(w, r)
		return
	}
	if broken.status == 0 {
		panic(http.ErrAbortHandler)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "too long", http.StatusBadRequest)
		return
	}
	for name, value := range broken.header {
		w.Header().Set(name, value)
	}
	w.Header().Set("Content-Type", broken.kind)
	w.WriteHeader(broken.status)
	if broken.body != "" {
		_, _ = io.WriteString(w, broken.body) // a caller that went away cannot be told
		return
	}
	fmt.Fprintf(w, `{"error":%q,"request":%q,"headers":%q}`, broken.name, body, fmt.Sprint(r.Header))
}
