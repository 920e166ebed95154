package store

import (
	"time"

	"github.com/bkper/automations-portal/shared/bank"
)

// Fields by which documents are found.
const (
	ByOwner      = "owner"      // connections, sessions: the user
	ByItem       = "item"       // connections: provider + "/" + item
	ByBook       = "book"       // connections: offered to; integrations: of
	ByConnection = "connection" // integrations (live ones only), sessions
	ByAccount    = "account"    // integrations: connection + "/" + bank account key, removed ones too
	ByReplay     = "replay"     // integrations: connection, those whose history is to be read again
	ByRef        = "ref"        // sessions: Session.Ref
	ByBlocked    = "blocked"    // integrations: the user as whom they record, where the Book could not take rows
	ByTrouble    = "trouble"    // connections, engines: why they cannot be read: NeedsUser or Failing
	ByConsent    = "consent"    // connections: the UTC date, as 2006-01-02, on which the consent at the bank ends
)

// The values of ByTrouble.
const (
	NeedsUser = string(bank.NeedsUser) // of connections
	Failing   = "failing"              // of engines: several failures in a row
)

// Connections holds every Connection.
var Connections = Kind[bank.Connection]{
	Name: "connections",
	ID:   func(c *bank.Connection) string { return c.ID },
	Index: func(c *bank.Connection) map[string][]string {
		index := map[string][]string{ByOwner: {c.Owner}, ByBook: c.Offered}
		if c.Item != "" {
			index[ByItem] = []string{ItemKey(c.Provider, c.Item)}
		}
		if c.State == bank.NeedsUser {
			index[ByTrouble] = []string{NeedsUser}
		}
		if !c.ConsentExpires.IsZero() && (c.State == bank.Active || c.State == bank.NeedsUser) {
			index[ByConsent] = []string{c.ConsentExpires.UTC().Format(time.DateOnly)}
		}
		return index
	},
	Due: func(c *bank.Connection) time.Time { // a disconnection that was cut short is finished
		if c.State == bank.Removing {
			return c.Updated
		}
		return time.Time{}
	},
}

// Integrations holds every Integration.
var Integrations = Kind[bank.Integration]{
	Name: "integrations",
	ID:   func(i *bank.Integration) string { return i.ID },
	Index: func(i *bank.Integration) map[string][]string {
		index := map[string][]string{ByBook: {i.Book}, ByAccount: {AccountKey(i.Connection, i.Key)}}
		if i.State == bank.Live {
			index[ByConnection] = []string{i.Connection}
			if i.Want > i.Have && !i.Paused {
				index[ByReplay] = []string{i.Connection}
			}
			if i.Behind != "" {
				index[ByBlocked] = []string{i.As}
			}
		}
		return index
	},
}

// Sessions holds every Session. The database deletes them a month after they end.
var Sessions = Kind[bank.Session]{
	Name: "sessions",
	ID:   func(s *bank.Session) string { return s.ID },
	Index: func(s *bank.Session) map[string][]string {
		return map[string][]string{ByOwner: {s.Owner}, ByConnection: {s.Connection}, ByRef: {s.Ref}}
	},
	Due: func(s *bank.Session) time.Time { return s.Due },
	Expires: func(s *bank.Session) time.Time {
		if s.State == bank.Lost || s.Ended.IsZero() {
			return time.Time{}
		}
		return s.Ended.Add(30 * 24 * time.Hour)
	},
}

// Users holds every User.
var Users = Kind[bank.User]{
	Name: "users",
	ID:   func(u *bank.User) string { return u.Sub },
}

// ItemKey is the value of ByItem.
func ItemKey(provider, item string) string { return provider + "/" + item }

// AccountKey is the value of ByAccount.
func AccountKey(connection, key string) string { return connection + "/" + key }
