package emulator

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// Shared is one emulator for all tests of a test binary, started when the first one asks for it. Tests keep apart by
// project ids of their own. TestMain calls Stop at its end:
//
//	var google = emulator.Shared{Product: emulator.Firestore}
//
//	func TestMain(m *testing.M) {
//		code := m.Run()
//		google.Stop()
//		os.Exit(code)
//	}
type Shared struct {
	Product Product
	once    sync.Once
	running *Emulator
	err     error
}

// Host gives the emulator's host. Where it is not installed the test is skipped with one line that says so.
func (s *Shared) Host(t testing.TB) string {
	t.Helper()
	s.once.Do(func() { s.running, s.err = Start(context.Background(), s.Product) })
	if errors.Is(s.err, ErrNotInstalled) {
		t.Skipf("not run: %v", s.err)
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.running.Host
}

// Stop stops the emulator if a test has started it. It must not be called while tests run.
func (s *Shared) Stop() {
	s.once.Do(func() {})
	if s.running != nil {
		s.running.Stop()
	}
}
