// Package session sends a person to the bank's sign-in and writes down why, so that whoever learns first that the person
// is done (the page, a webhook or the schedule) can keep what came of it.
package session

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/bkper/automations-portal/shared/access"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
)

// firstLook is when the outcome is asked for, should nobody come back.
const firstLook = 2 * time.Minute

// Starter starts sessions.
type Starter struct {
	Store   store.Store
	Vault   vault.Writer
	Banks   map[string]bank.Provider
	Connect string                       // public URL of the connect function
	Webhook func(provider string) string // public URL of the webhook function for a provider
	Now     func() time.Time
}

// Started is what the page needs to go to the bank.
type Started struct {
	Session string    `json:"session"`         // for /connect/complete
	URL     string    `json:"url,omitempty"`   // open this page of the provider's …
	Widget  Token     `json:"widget,omitzero"` // … or give this token to the provider's script
	Expires time.Time `json:"expires"`
}

// Token is a token that goes into an answer because it is its own caller's: for one visit to the bank, minutes long.
type Token struct{ secret.String }

// IsZero reports whether there is none.
func (t Token) IsZero() bool { return t.Empty() }

// MarshalText writes the token itself.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.Reveal()), nil }

// MarshalJSON writes the token itself.
func (t Token) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%q", t.Reveal()), nil }

// Start begins a session at the provider. s says whose, for what and which connection; the token is of the item to be
// repaired, empty where a new one is to be made.
func (st *Starter) Start(ctx context.Context, c caller.Caller, s bank.Session, language string, token secret.String) (Started, error) {
	now := st.Now()
	s.ID, s.Owner, s.Email, s.State, s.Created = NewID(), c.Sub, c.Email, bank.Open, now
	provider, err := bank.Of(st.Banks, s.Provider)
	if err != nil {
		return Started{}, err
	}
	begun, err := provider.Begin(ctx, bank.Begin{
		Session: s.ID, User: User(c.Sub), Country: s.Country, Language: lang(language),
		Return:  st.Connect + "/complete?session=" + url.QueryEscape(s.ID),
		Webhook: st.Webhook(s.Provider), Token: token, Accounts: s.Purpose == bank.ToAccounts,
	})
	if err != nil {
		return Started{}, access.ExplainBank(fmt.Errorf("begin at the bank: %w", err))
	}
	s.Ref, s.Forgotten, s.Due = begun.Ref, begun.Forgets, now.Add(firstLook)
	// The handle goes first: a session without its handle could never be finished.
	if err := st.Vault.Put(ctx, vault.SessionHandle(s.ID), begun.Handle); err != nil {
		return Started{}, fmt.Errorf("keep the session's handle: %w", err)
	}
	err = st.Store.Update(ctx, func(tx store.Tx) error { return store.Sessions.Put(tx, &s) })
	if err != nil {
		return Started{}, fmt.Errorf("keep the session: %w", err)
	}
	return Started{s.ID, begun.URL, Token{begun.Widget}, begun.Expires}, nil
}

// User is the opaque id under which providers know a user.
func User(sub string) string { return bank.Hash("user", sub) }

// NewID makes an id that cannot be guessed: 26 letters and digits, 130 bits.
func NewID() string { return strings.ToLower(rand.Text()) }

func lang(language string) string {
	if strings.HasPrefix(strings.ToLower(language), "pt") {
		return "pt"
	}
	return "en"
}
