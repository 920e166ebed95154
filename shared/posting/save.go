package posting

import (
	"errors"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/store"
)

// ErrStopping: the connection that fed the integration before may still be writing for it.
var ErrStopping = errors.New("the former connection is still letting go")

// Save writes an integration as a person wants it, over what stands (nil where nothing does), and tells the holder of its
// connection. What the poster knows is carried over, and history is asked for where the save makes more of it wanted, or
// where the bank has named the account anew since: its rows come again under other ids and must be recognised. The
// caller's reads in the transaction come before. ErrStopping.
func Save(tx store.Tx, i, old *bank.Integration, now time.Time) (*Engine, error) {
	e, err := Load(tx, i.Connection)
	if err != nil {
		return nil, err
	}
	i.Created, i.Updated = now, now
	if old == nil {
		i.Want = 1
		e.Mark(now)
		return e, errors.Join(Engines.Put(tx, e), store.Integrations.Put(tx, i))
	}
	var former *Engine
	if old.Connection != i.Connection {
		if former, err = Load(tx, old.Connection); err != nil {
			return nil, err
		}
		if !former.Quiet(former.Config, now) {
			return nil, ErrStopping
		}
		e.Adopt(i.ID, former)
		former.Mark(time.Time{})
	}
	i.Created, i.Want, i.Have, i.Again, i.Epoch = old.Created, old.Want, old.Have, old.Again, old.Epoch
	renamed := old.Of.ID != i.Of.ID
	if renamed {
		i.Epoch++
	}
	if renamed || old.State != bank.Live || old.Behind != "" || i.From.Before(old.From) || (i.Pending && !old.Pending) || (old.Paused && !i.Paused) {
		i.Replay()
	}
	e.Mark(now)
	if former != nil {
		err = Engines.Put(tx, former)
	}
	return e, errors.Join(err, Engines.Put(tx, e), store.Integrations.Put(tx, i))
}

// BringBack asks, in the transaction of Save, that history is read once more and that what people have trashed comes back
// with it.
func BringBack(tx store.Tx, i *bank.Integration) error {
	i.Replay()
	i.Again = i.Want
	return store.Integrations.Put(tx, i)
}

// Moved finds the live integrations of accounts that the bank names anew, or again, for a replay: what came for those that were gone
// is not told again. Where the account has another id now the epoch is advanced: its transactions may come again under other ids too,
// and must be recognised. A removed one notices when it is saved again.
func Moved(tx store.Tx, connection string, accounts []bank.LinkedAccount, keys []string) ([]*bank.Integration, error) {
	byKey := map[string]bank.LinkedAccount{}
	for _, a := range accounts {
		byKey[a.Key] = a
	}
	var moved []*bank.Integration
	for _, key := range keys {
		is, err := store.Integrations.Select(tx, store.Query{Field: store.ByAccount, Any: []string{store.AccountKey(connection, key)}})
		if err != nil {
			return nil, err
		}
		for _, i := range is {
			if i.State != bank.Live {
				continue
			}
			if i.Of.ID != byKey[key].ID {
				i.Epoch++
			}
			i.Of = byKey[key].Account
			i.Replay()
			moved = append(moved, i)
		}
	}
	return moved, nil
}
