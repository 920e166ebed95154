package firestore

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/emulator"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/storetest"
)

var google = emulator.Shared{Product: emulator.Firestore}

func TestMain(m *testing.M) {
	code := m.Run()
	google.Stop()
	os.Exit(code)
}

// inEmulator gives a store in a new project of the emulator.
func inEmulator(t *testing.T, prefix string) *Store {
	t.Helper()
	host := google.Host(t)
	if err := os.Setenv(emulator.Firestore.Env, host); err != nil { // the same for all tests, which run side by side
		t.Fatal(err)
	}
	return opened(t, Options{Project: fmt.Sprintf("test-%d-%d", os.Getpid(), projects.Add(1)), Prefix: prefix})
}

var projects atomic.Int64

func opened(t *testing.T, o Options) *Store {
	t.Helper()
	s := New(o)
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	google.Host(t)
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		current := inEmulator(t, "")
		return storetest.Harness{
			Store: current,
			Reopen: func() (store.Store, error) {
				if err := current.Close(); err != nil {
					return nil, err
				}
				current = opened(t, current.options)
				return current, nil
			},
			// The emulator breaks the tie between two transactions that wait for each other only after seconds.
			Contenders: 8, Rounds: 5, Patience: 300 * time.Millisecond,
		}
	})
}
