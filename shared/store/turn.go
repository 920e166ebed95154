package store

import (
	"context"
	"errors"
)

// Turn counts what is done under a name, one after the other. It is for what must know all that is there, which only queries
// tell: whoever is about to do it reads the turn, asks the queries, and does it in a transaction that takes the turn, if nobody
// else has since. A query in the transaction itself would lock more than it finds, for a minute where its process dies
// (Firestore's emulator: all of the collection).
type Turn struct {
	Owner string `json:"owner"` // the name
	No    int64  `json:"no"`
}

// Turns holds every Turn.
var Turns = Kind[Turn]{Name: "turns", ID: func(t *Turn) string { return t.Owner }}

// ErrOvertaken: another has taken the turn, so that queries may find more by now.
var ErrOvertaken = errors.New("another has taken the turn meanwhile")

// TurnOf reads the turn of a name, before the queries.
func TurnOf(ctx context.Context, r Reader, name string) (Turn, error) {
	t, err := Turns.Get(ctx, r, name)
	return turn(t, err, name)
}

// Check reads in a transaction whether it is still this turn. ErrOvertaken.
func (t Turn) Check(tx Tx) error {
	found, err := Turns.Load(tx, t.Owner)
	now, err := turn(found, err, t.Owner)
	if err == nil && now.No != t.No {
		err = ErrOvertaken
	}
	return err
}

// Take takes the turn, in a transaction that has checked it.
func (t Turn) Take(tx Tx) error {
	t.No++
	return Turns.Put(tx, &t)
}

// turn is one that was read; the first one is not written down.
func turn(found *Turn, err error, name string) (Turn, error) {
	switch {
	case errors.Is(err, ErrNotFound):
		return Turn{Owner: name}, nil
	case err != nil:
		return Turn{}, err
	}
	return *found, nil
}
