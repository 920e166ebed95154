// Package provider is what the stand-ins for providers of bank data have in common, whatever they speak: a Server around a
// bank, which answers one request at a time and keeps on the disk what each changed; webhooks that are repeated until they
// are taken; faults and mischief on demand; limits by the minute; and the control interface by which all of it is scripted.
// What a provider says, signs and refuses is in its own folder.
package provider

import (
	"cmp"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/disk"
)

// MaxBody bounds what is read of a request, and of an answer to a webhook.
const MaxBody = 1 << 20

// Bank is a provider and the banks behind it as plain types, with no clock of its own.
type Bank interface {
	Announce()      // tells what changed since the last time
	Tick()          // does what is due
	Due() time.Time // when the next thing is; zero is never
}

// Clock is one that the control interface moves.
type Clock struct {
	// Skew is how far it was moved.
	Skew time.Duration

	real func() time.Time
}

// NewClock returns a Clock over a real one; nil is time.Now.
func NewClock(real func() time.Time) *Clock {
	if real == nil {
		real = time.Now
	}
	return &Clock{real: real}
}

// Now is the time.
func (c *Clock) Now() time.Time { return c.real().Add(c.Skew) }

// Options set a Server up.
type Options struct {
	Bank  Bank
	Clock *Clock // the Bank's
	// Space is where the documents lie on the disk. Everything a request changes lies in one space, so that it is written in
	// one transaction.
	Space string
	// DB keeps the state; nil keeps it in memory only.
	DB *disk.DB
	// BaseURL is where the handler is reached; empty takes the host of the request.
	BaseURL string
	// ContentType is that of the provider's JSON.
	ContentType string
	// UserAgent is that of its webhooks.
	UserAgent string
	// HTTP sends the webhooks within Timeout; default a client of its own. Redirects are never followed.
	HTTP    *http.Client
	Timeout time.Duration
	// Log takes what goes wrong; default slog.Default.
	Log *slog.Logger
}

// Server serves what is the same for every provider, and carries the state of one. Its lock guards the Bank, the Clock and
// everything here but Faults.
type Server[D Hook] struct {
	Options
	sync.Mutex
	Mux      http.ServeMux
	Changes  disk.Changes // what goes to the disk with the next Commit; nil where nothing is kept
	Faults   Faults
	Webhooks Queue[D]

	wake chan struct{} // one slot: the sender looks again
}

// New returns a Server with nothing in it; Load brings what is on the disk.
func New[D Hook](o Options, sender Sender[D]) *Server[D] {
	o.Log = cmp.Or(o.Log, slog.Default())
	s := &Server[D]{Options: o, wake: make(chan struct{}, 1)}
	if o.DB != nil {
		s.Changes = disk.Changes{}
	}
	s.Webhooks = newQueue(o, sender, s.Changes)
	return s
}

// Load brings back the Clock and the webhooks that wait, and gives every other document to the function of its kind, which is
// what stands before the slash in its id. A kind that this version does not know is left where it is.
func (s *Server[D]) Load(kinds map[string]func(body []byte) error) error {
	if s.DB == nil {
		return nil
	}
	kinds["clock"] = func(body []byte) error { return json.Unmarshal(body, &s.Clock.Skew) }
	kinds["hook"] = s.Webhooks.restore
	return s.DB.Load(s.Space, func(id string, body []byte) error {
		kind, _, _ := strings.Cut(id, "/")
		if add := kinds[kind]; add != nil {
			return add(body)
		}
		return nil
	})
}

// Do runs f alone and keeps what it changed, also where it fails half-way.
func (s *Server[D]) Do(f func() error) error {
	s.Lock()
	defer s.Unlock()
	return errors.Join(f(), s.Commit())
}

// Commit announces, queues the webhooks and writes everything that changed in one transaction; the lock is held.
func (s *Server[D]) Commit() error {
	s.Bank.Announce()
	s.Webhooks.sender.Drain()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return s.Save()
}

// Save writes what changed. What could not be written is tried again by the next Save.
func (s *Server[D]) Save() error {
	if s.DB != nil {
		if err := s.DB.Save(s.Space, s.Changes); err != nil {
			return err
		}
	}
	clear(s.Changes)
	return nil
}

// Advance moves the Clock and does what is due then; the lock is held.
func (s *Server[D]) Advance(d time.Duration) {
	s.Clock.Skew += d
	s.Changes.Put("clock/skew", s.Clock.Skew)
	s.Bank.Tick()
}

// ServeHTTP answers one request.
func (s *Server[D]) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.Mux.ServeHTTP(w, r) }

// Base is the address of the server, for links to itself.
func (s *Server[D]) Base(r *http.Request) string { return cmp.Or(s.BaseURL, "http://"+r.Host) }

// Write answers with JSON.
func (s *Server[D]) Write(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		s.Log.Error("sandbox: the answer is not JSON", "space", s.Space, "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", s.ContentType)
	w.WriteHeader(status)
	_, _ = w.Write(body) // a caller that went away cannot be told
}

// SeeOther redirects as written; http.Redirect would resolve a relative address against a path whose prefix was stripped.
func SeeOther(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}
