package view_test

import (
	"testing"
	"time"

	"cloud.google.com/go/civil"
	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/view"
)

func TestTheStatusOfAnIntegrationIsWhatStandsInItsWayFirst(t *testing.T) {
	here, gone := []bank.LinkedAccount{{Key: "k"}}, []bank.LinkedAccount{{Key: "k", Gone: true}}
	active := &bank.Connection{State: bank.Active, Accounts: here}
	away := &posting.Engine{Failures: 3}
	for _, row := range []struct {
		name        string
		integration bank.Integration
		connection  *bank.Connection
		engine      *posting.Engine
		want        string
	}{
		{"well", bank.Integration{}, active, nil, view.Live},
		{"two failures", bank.Integration{}, active, &posting.Engine{Failures: 2}, view.Live},
		{"bank away", bank.Integration{}, active, away, view.Unavailable},
		{"bank away while importing", bank.Integration{Want: 1}, active, away, view.Unavailable},
		{"importing", bank.Integration{Want: 1}, active, nil, view.Importing},
		{"Book away, bank away", bank.Integration{Behind: "no_access"}, active, away, "no_access"},
		{"paused, bank away", bank.Integration{Paused: true}, active, away, view.Paused},
		{"paused, account gone", bank.Integration{Paused: true}, &bank.Connection{State: bank.Active, Accounts: gone}, nil, view.Unnamed},
		{"account unknown", bank.Integration{}, &bank.Connection{State: bank.Active}, nil, view.Unnamed},
		{"owner away", bank.Integration{Behind: "no_access"}, &bank.Connection{State: bank.NeedsUser, Accounts: gone}, away, view.NeedsOwner},
		{"stopping", bank.Integration{}, &bank.Connection{State: bank.Removing, Accounts: here}, nil, view.Stopping},
		{"disconnected", bank.Integration{Paused: true}, &bank.Connection{State: bank.Disconnected, Accounts: here}, nil, view.Disconnected},
		{"no connection", bank.Integration{}, nil, nil, view.Disconnected},
		{"removed", bank.Integration{State: bank.Removed}, &bank.Connection{State: bank.Disconnected}, nil, view.Removed},
	} {
		i := row.integration
		i.Key = "k"
		if i.State == "" {
			i.State = bank.Live
		}
		if v := view.OfIntegration(&i, row.connection, row.engine); v.Status != row.want || v.Message == "" {
			t.Errorf("%s: %s %q, want %s", row.name, v.Status, v.Message, row.want)
		}
	}
}

func TestAnOwnerIsToldWhyTheBankWantsThemAgain(t *testing.T) {
	now := time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)
	said := map[string]bank.Need{}
	for _, why := range []bank.Need{
		"", bank.NewCredentials, bank.Confirmation, bank.Locked, bank.ActionAtBank, bank.NewConsent, bank.NotReadable, bank.Stalled,
	} {
		c := &bank.Connection{Owner: "ana", State: bank.NeedsUser}
		v := view.OfConnection(c, nil, why, "ana", now)
		if v.Status != view.NeedsYou || v.Need != why || v.Message == "" {
			t.Errorf("%q: %s, %q, %q", why, v.Status, v.Need, v.Message)
		}
		if other, twice := said[v.Message]; twice {
			t.Errorf("%q says what %q says", why, other)
		}
		said[v.Message] = why
		if v := view.OfConnection(c, nil, why, "bob", now); v.Need != "" || v.Status != view.NeedsYou || said[v.Message] != "" {
			t.Errorf("%q: who does not own it is told %q, %q", why, v.Need, v.Message)
		}
	}
}

func TestAConsentThatIsOverAsksForItsOwnerAlsoBeforeTheProviderDoes(t *testing.T) {
	now := time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		ends time.Time
		want string
		need bank.Need
	}{
		{time.Time{}, view.Connected, ""},
		{now.AddDate(0, 1, 0), view.Connected, ""},
		{now.Add(time.Minute), view.Expiring, ""},
		{now, view.NeedsYou, bank.NewConsent},
		{now.AddDate(0, -1, 0), view.NeedsYou, bank.NewConsent},
	} {
		v := view.OfConnection(&bank.Connection{Owner: "ana", State: bank.Active, ConsentExpires: row.ends}, nil, "", "ana", now)
		if v.Status != row.want || v.Need != row.need || v.Message == "" {
			t.Errorf("%v: %s, %q", row.ends, v.Status, v.Need)
		}
	}
}

func TestARowIsShownAsTheBankHasItWithASentence(t *testing.T) {
	day := civil.Date{Year: 2026, Month: 1, Day: 2}
	written := posting.Values{Date: day, Amount: decimal.New(12345, -3), Direction: bank.In}
	now := posting.Values{Date: day.AddDays(1), Amount: decimal.New(7, 0), Direction: bank.Out}
	for _, reason := range []posting.Reason{posting.ReasonCurrency, posting.ReasonDigits, posting.ReasonZero, posting.ReasonLocked, posting.ReasonRefused, posting.ReasonUnusable} {
		v := view.OfRow(&posting.Row{State: posting.Aside, Reason: reason, Written: written})
		if v.Message == "" || v.Reason != string(reason) || v.Date != "2026-01-02" || v.Amount != "12.345" || v.Direction != "in" {
			t.Errorf("%s: %+v", reason, v)
		}
	}
	for _, flag := range []posting.Flag{posting.Changed, posting.TakenBack, posting.Garbled} {
		v := view.OfRow(&posting.Row{State: posting.Standing, Flag: flag, Record: "r", Written: written, Bank: &now})
		if v.Message == "" || v.Reason != string(flag) || v.Date != "2026-01-03" || v.Amount != "7" || v.Direction != "out" || v.Record != "r" {
			t.Errorf("%s: %+v", flag, v)
		}
	}
	want := view.Row{Reason: "unreadable"}
	got := view.OfRow(&posting.Row{State: posting.Aside, Reason: posting.ReasonUnusable})
	got.Message = ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
