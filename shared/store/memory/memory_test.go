package memory_test

import (
	"testing"
	"time"

	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
	"github.com/bkper/automations-portal/shared/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Harness {
		s := memory.New()
		return storetest.Harness{
			Store:      s,
			Reopen:     func() (store.Store, error) { return s, nil }, // it outlives the processes that a simulator kills
			Contenders: 8, Rounds: 50, Patience: 20 * time.Millisecond,
		}
	})
}
