package bkper

import (
	"cmp"
	"maps"
	"slices"
)

// Hand is a person at work in Bkper's own pages. It acts as the Book's owner, under the same rules as the API.
type Hand struct {
	s    *Service
	who  Caller
	book string
}

// Hand returns the hand of a Book's owner.
func (s *Service) Hand(bookID string) (Hand, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.books[bookID]; ok && !b.Deleted {
		for _, c := range b.Collaborators {
			if c.Permission == Owner {
				return Hand{s, Caller{Email: c.Email}, bookID}, nil
			}
		}
	}
	return Hand{}, notFound("Book NOT found! ID: %s", bookID)
}

// Edit is what a person changes in a transaction; nil stays as it is, and an empty text clears.
type Edit struct {
	Date        *string           `json:"date,omitempty"` // yyyy-MM-dd
	Amount      *string           `json:"amount,omitempty"`
	Description *string           `json:"description,omitempty"`
	Credit      *string           `json:"credit,omitempty"` // id or name of the Account that the money leaves
	Debit       *string           `json:"debit,omitempty"`  // id or name of the Account that the money reaches
	Properties  map[string]string `json:"properties,omitempty"`
}

// Edit changes a transaction.
func (h Hand) Edit(id string, e Edit) (TransactionOperation, error) {
	t, err := h.s.Transaction(h.who, h.book, id)
	if err != nil {
		return TransactionOperation{}, err
	}
	if e.Date != nil {
		t.Date = *e.Date
	}
	if e.Amount != nil {
		if t.Amount = e.Amount; *e.Amount == "" {
			t.Amount = nil
		}
	}
	if e.Description != nil {
		t.Description = *e.Description
	}
	if t.CreditAccount, err = h.side(t.CreditAccount, e.Credit); err != nil {
		return TransactionOperation{}, err
	}
	if t.DebitAccount, err = h.side(t.DebitAccount, e.Debit); err != nil {
		return TransactionOperation{}, err
	}
	if t.Properties == nil {
		t.Properties = map[string]string{}
	}
	maps.Copy(t.Properties, e.Properties)
	return h.s.Update(h.who, h.book, t)
}

func (h Hand) side(now *Account, to *string) (*Account, error) {
	if to == nil {
		return now, nil
	}
	if *to == "" {
		return nil, nil
	}
	a, err := h.s.Account(h.who, h.book, *to)
	return &a, err
}

// Post posts a draft.
func (h Hand) Post(id string) (TransactionOperation, error) {
	return h.s.Post(h.who, h.book, Transaction{ID: id})
}

// Check checks a posted transaction.
func (h Hand) Check(id string) (TransactionOperation, error) { return h.s.Check(h.who, h.book, id) }

// Uncheck unchecks a transaction.
func (h Hand) Uncheck(id string) (TransactionOperation, error) { return h.s.Uncheck(h.who, h.book, id) }

// Trash throws a transaction into the bin.
func (h Hand) Trash(id string) (TransactionOperation, error) { return h.s.Trash(h.who, h.book, id) }

// Untrash takes a transaction out of the bin.
func (h Hand) Untrash(id string) (TransactionOperation, error) { return h.s.Untrash(h.who, h.book, id) }

// Merge merges two transactions.
func (h Hand) Merge(one, two string) (TransactionOperation, error) {
	return h.s.Merge(h.who, h.book, []Transaction{{ID: one}, {ID: two}})
}

// Lock locks what is dated on or before date, yyyy-MM-dd; "" unlocks.
func (h Hand) Lock(date string) (Book, error) {
	return h.s.UpdateBook(h.who, h.book, Book{LockDate: orCleared(date)})
}

// Close closes what is dated on or before date, yyyy-MM-dd; "" opens it again.
func (h Hand) Close(date string) (Book, error) {
	return h.s.UpdateBook(h.who, h.book, Book{ClosingDate: orCleared(date)})
}

func orCleared(date string) string { return cmp.Or(date, cleared) }

// Archive archives an Account, or brings it back.
func (h Hand) Archive(accountID string, archived bool) error {
	_, err := h.s.UpdateAccounts(h.who, h.book, []Account{{ID: accountID, Archived: new(archived)}})
	return err
}

// DeleteAccount deletes an Account without posted transactions.
func (h Hand) DeleteAccount(accountID string) error {
	_, err := h.s.DeleteAccount(h.who, h.book, accountID)
	return err
}

// Permit gives a person a permission; None takes access away.
func (h Hand) Permit(email string, p Permission) error {
	_, err := h.s.Share(h.who, h.book, Collaborator{Email: email, Permission: p})
	return err
}

// Delete deletes the Book.
func (h Hand) Delete() error {
	_, err := h.s.DeleteBook(h.who, h.book)
	return err
}

// All returns every transaction of the Book in the order of creation, whatever its state, without lag.
func (h Hand) All() ([]Transaction, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	b, err := h.s.enter(h.who, h.book, views)
	if err != nil {
		return nil, err
	}
	ordered := slices.Collect(maps.Values(b.records))
	slices.SortFunc(ordered, func(x, y *record) int { return cmp.Compare(x.Seq, y.Seq) })
	all := make([]Transaction, 0, len(ordered))
	for _, r := range ordered {
		all = append(all, h.s.view(b, r))
	}
	return all, nil
}
