// Package providertest is what the tests of the stand-ins share: who receives their webhooks, over HTTP or in memory, and
// the file that keeps their state.
package providertest

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/disk"
	"github.com/google/go-cmp/cmp"
)

// Received is a webhook that came.
type Received struct {
	Name   string // what it is about, in the provider's word
	Header http.Header
	Path   string
	Body   []byte
	Fields map[string]any // of the body
}

// Receiver takes webhooks at its URL.
type Receiver struct {
	URL string
	Got chan Received

	status atomic.Pointer[func(Received) int]
}

// NewReceiver returns a Receiver that answers 200 until the test ends. The field named name is the Name of what it receives.
func NewReceiver(t *testing.T, name string) *Receiver {
	r := &Receiver{Got: make(chan Received, 1000)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		in := Received{Header: req.Header, Path: req.URL.Path, Body: body}
		_ = json.Unmarshal(body, &in.Fields)
		in.Name, _ = in.Fields[name].(string)
		if status := r.status.Load(); status != nil {
			w.WriteHeader((*status)(in))
		}
		r.Got <- in
	}))
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// Answer sets how webhooks are answered from now on.
func (r *Receiver) Answer(status func(Received) int) { r.status.Store(&status) }

// Next waits for a webhook with one of the names and skips others.
func (r *Receiver) Next(t *testing.T, names ...string) Received {
	t.Helper()
	timeout := time.After(5 * time.Second)
	for {
		select {
		case in := <-r.Got:
			if slices.Contains(names, in.Name) {
				return in
			}
		case <-timeout:
			t.Fatalf("no webhook %v came", names)
		}
	}
}

// Instant receives webhooks in memory, so that hours pass at once in a bubble of testing/synctest.
type Instant struct {
	Statuses []int // of the answers, the last one for ever; none is that no answer comes
	Header   http.Header
	Start    time.Time
	At       []time.Duration // of the attempts, after Start
	Hosts    []string        // to which they went
}

// RoundTrip takes one attempt.
func (i *Instant) RoundTrip(req *http.Request) (*http.Response, error) {
	i.At, i.Hosts = append(i.At, time.Since(i.Start)), append(i.Hosts, req.URL.Host)
	if len(i.Statuses) == 0 {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	status := i.Statuses[min(len(i.At), len(i.Statuses))-1]
	return &http.Response{StatusCode: status, Header: i.Header, Body: http.NoBody, Request: req}, nil
}

// Runner is a stand-in that sends webhooks.
type Runner interface{ Run(context.Context) error }

// Run lets a stand-in send its webhooks until the test ends.
func Run(t testing.TB, s Runner) { t.Cleanup(start(t, s)) }

// RunFor lets it send them for a while, in a bubble of testing/synctest.
func RunFor(t testing.TB, s Runner, d time.Duration) {
	stop := start(t, s)
	time.Sleep(d) // on the clock of the bubble
	stop()
}

func start(t testing.TB, s Runner) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// OpenDisk opens a new file that is closed after everything that the test starts later.
func OpenDisk(t *testing.T) *disk.DB {
	t.Helper()
	db, err := disk.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// CheckReleased has a stand-in load testdata/state.json, which a released one wrote with documents of these kinds, and
// compares that with what the stand-in would write now.
func CheckReleased(t *testing.T, space string, kinds []string, load func(*disk.DB) map[string]any) {
	t.Helper()
	text, err := os.ReadFile("testdata/state.json")
	if err != nil {
		t.Fatal(err)
	}
	var want, got map[string]any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for id := range want {
		kind, _, _ := strings.Cut(id, "/")
		there[kind] = true
	}
	if diff := cmp.Diff(kinds, slices.Sorted(maps.Keys(there))); diff != "" {
		t.Fatal(diff)
	}
	db := OpenDisk(t)
	if err := db.Save(space, want); err != nil {
		t.Fatal(err)
	}
	if text, err = json.Marshal(load(db)); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
