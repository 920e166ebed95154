package app_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/bkper/automations-portal/functions/connect"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
)

// hours lets time pass in steps of ten minutes, with the schedule at work.
func (b *bench) hours(n int) {
	b.t.Helper()
	for range 6 * n {
		b.now = b.now.Add(9 * time.Minute)
		b.minutes(1)
	}
}

func TestASessionThatNobodyComesBackFromIsKeptByTheSchedule(t *testing.T) {
	b := newBench(t)
	if !b.begin("connect", "/", object{"book": b.book, "country": "US"}) {
		t.Fatal("it does not begin")
	}
	b.minutes(4) // no page, no webhook
	if len(b.connections()) != 1 {
		t.Errorf("sessions %+v", b.sessions())
	}
	b.sound(false)
	done := b.complete()
	if done.State != string(bank.Kept) {
		t.Errorf("asked at last: %+v", done)
	}
}

func TestASessionThatNobodyFinishesEnds(t *testing.T) {
	b := newBench(t)
	if status := b.call("connect", "/", object{"book": b.book, "country": "US"}, &b.started); status != http.StatusOK {
		t.Fatal(status)
	}
	b.minutes(5)
	if s := b.sessions()[0]; s.State != bank.Open || len(b.secrets("session-")) != 1 {
		t.Errorf("while the person may come back: %+v", s)
	}
	b.hours(24)
	if s := b.sessions()[0]; s.State != bank.Cancelled || !s.Due.IsZero() || len(b.secrets("session-")) != 0 {
		t.Errorf("after a day: %+v, secrets %v", s, b.secrets("session-"))
	}
	var done connect.Completed
	if status := b.call("connect", "/complete", object{"session": b.started.Session}, &done); status != http.StatusOK || done.State != string(bank.Cancelled) || done.Message == "" {
		t.Errorf("asked after it expired: %d %+v", status, done)
	}
	if len(b.connections()) != 0 {
		t.Errorf("connections %+v", b.connections())
	}
}

func TestEveryLinkedConnectionIsLookedAtWithinSixHours(t *testing.T) {
	b := newBench(t)
	onBooks(b)
	b.must(b.plaid.Do(func(p *plaid.Bank) error { _, err := p.Add(b.account, meanwhile()...); return err }))
	b.hours(6) // every webhook is lost
	b.holds(append(historyRows(), meanwhile()...)...)
}

func TestABankThatDoesNotAnswerDelaysTheEndOfAConsent(t *testing.T) {
	b := newBench(t)
	onBooks(b)
	b.plaid.AddFault(plaid.Fault{Path: "/item/remove", Kind: plaid.FaultError})
	var answer struct{ State string }
	for range 3 {
		if status := b.call("disconnect", "/", object{"connection": b.connections()[0].ID}, &answer); status != http.StatusAccepted || answer.State != "stopping" {
			t.Errorf("while the bank does not answer: %d %+v", status, answer)
		}
	}
	if len(b.secrets("connection-")) != 1 {
		t.Error("the token is gone, and the consent lives")
	}
	b.add(row(0, "77", "TOO LATE"))
	b.deliver()
	b.holds(historyRows()...)
	b.plaid.ClearFaults()
	b.minutes(5)
	if c := b.connections()[0]; c.State != bank.Disconnected || len(b.items()) != 0 || len(b.secrets("connection-")) != 0 {
		t.Errorf("once the bank answers: %+v, items %v, tokens %v", c, b.items(), b.secrets("connection-"))
	}
	b.sound(false)
}

func TestABankThatDoesNotAnswerLosesNothing(t *testing.T) {
	b := newBench(t)
	onBooks(b)
	b.plaid.AddFault(plaid.Fault{Path: "/transactions/sync", Kind: plaid.FaultError, Times: 7})
	b.add(meanwhile()...)
	b.deliver()
	b.holds(historyRows()...)
	b.hours(6)
	b.holds(append(historyRows(), meanwhile()...)...)
}
