package app

import (
	"fmt"
	"maps"

	"github.com/bkper/automations-portal/shared/bank"
	eventsqlite "github.com/bkper/automations-portal/shared/events/sqlite"
)

// UseQueue gives the App a queue that the test has set up, with pauses that no test wants to wait for cut short.
func (a *App) UseQueue(q *eventsqlite.Queue) {
	a.queue = q
	a.onClose(q.Close)
}

// UseBank puts one more provider into the table of banks. It must be called before Handler.
func (a *App) UseBank(p bank.Provider) {
	table := a.banks
	a.banks = func() (map[string]bank.Provider, error) {
		all, err := table()
		if err != nil {
			return nil, err
		}
		if all[p.Name()] != nil {
			return nil, fmt.Errorf("there is a provider %s already", p.Name())
		}
		more := maps.Clone(all)
		more[p.Name()] = p
		return more, nil
	}
}
