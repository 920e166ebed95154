package bkper

import (
	"fmt"
	"net/http"
	"slices"
)

// Error is a refusal as Bkper writes it. Beware: 401 means no access to the Book, 403 means no valid token.
type Error struct {
	Status  int    // HTTP status
	Reason  string // required, forbidden, notFound, invalid, backendError
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Reason, e.Message) }

func invalid(format string, args ...any) *Error {
	return &Error{http.StatusBadRequest, "invalid", fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) *Error {
	return &Error{http.StatusNotFound, "notFound", fmt.Sprintf(format, args...)}
}

func errLogin() *Error { return &Error{http.StatusForbidden, "forbidden", "Login Required."} }

func errUnavailable() *Error {
	return &Error{http.StatusServiceUnavailable, "backendError", "Backend Error"}
}

// Permission is what a collaborator may do in a Book.
type Permission string

// The permissions. POSTER is shown to people as "Record & View", RECORDER as "Record Only".
const (
	Owner    Permission = "OWNER"
	Editor   Permission = "EDITOR"
	Poster   Permission = "POSTER"
	Recorder Permission = "RECORDER"
	Viewer   Permission = "VIEWER"
	None     Permission = "NONE"
)

var permissions = []Permission{Owner, Editor, Poster, Recorder, Viewer, None}

// capability is a row of Bkper's table of permissions.
type capability int

const (
	enters   capability = iota // is a collaborator at all
	views                      // transactions, Accounts and balances
	records                    // and deletes drafts
	posts                      // and reverts posted transactions
	checks                     // and unchecks
	edits                      // Accounts, groups, sharing, setting locks
	owns                       // unlocks, deletes the Book
	connects                   // integrations; by the rules
)

// holders tells who may do what. Source: Bkper's guide to sharing Books.
var holders = map[capability][]Permission{
	enters:  {Owner, Editor, Poster, Recorder, Viewer},
	views:   {Owner, Editor, Poster, Viewer},
	records: {Owner, Editor, Poster, Recorder},
	posts:   {Owner, Editor, Poster},
	checks:  {Owner, Editor},
	edits:   {Owner, Editor},
	owns:    {Owner},
}

func (p Permission) can(c capability) bool { return slices.Contains(holders[c], p) }

func (b *book) permission(who Caller) Permission {
	if c, ok := b.Collaborators[fold(who.Email)]; ok {
		return c.Permission
	}
	return None
}

func (b *book) allow(who Caller, c capability) error {
	p := b.permission(who)
	if !p.can(enters) {
		return &Error{http.StatusUnauthorized, "required", fmt.Sprintf("The user [%s] is not a collaborator on the book [%s - %s]", who.Email, b.Name, b.ID)}
	}
	if !p.can(c) {
		return &Error{http.StatusUnauthorized, "required", fmt.Sprintf("The user [%s] with permission [%s] may not do this on the book [%s - %s]", who.Email, p, b.Name, b.ID)}
	}
	return nil
}

// allowConnect is allow for integrations, whose least permission is a rule.
func (s *Service) allowConnect(b *book, who Caller) error {
	least := s.rules.IntegrationsBy
	if least == "" {
		least = Editor
	}
	p := b.permission(who)
	if p.can(enters) && slices.Index(permissions, p) <= slices.Index(permissions, least) {
		return nil
	}
	return b.allow(who, connects)
}
