package app

import eventsqlite "github.com/bkper/automations-portal/shared/events/sqlite"

// UseQueue gives the App a queue that the test has set up, with pauses that no test wants to wait for cut short.
func (a *App) UseQueue(q *eventsqlite.Queue) {
	a.queue = q
	a.onClose(q.Close)
}
