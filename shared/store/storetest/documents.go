package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/store"
)

var documentChecks = []Check{
	{"a body is read byte for byte", keepsBodies},
	{"missing documents stand in the answer in the order asked", keepsOrder},
	{"a document is replaced whole and deleted", replaces},
	{"of several writes of one document the last counts", lastCounts},
	{"kinds are apart", kindsApart},
	{"many documents are written and read at once", many},
	{"callers and store share no memory", noAliases},
	{"expiry deletes nothing before its time", expiry},
	{"everything is there after a restart", restarts},
	{"the project's own kinds are found by what they declare", ownKinds},
}

// bodies are hard to keep for who does not keep them as they are.
var bodies = []string{
	`{}`,
	"{ \"a\" : 1.10 ,\n\t\"b\": [ ] }",
	`{"a":9007199254740993,"b":0.1,"c":1e400,"d":-0,"e":123456789012345678901234567890.123456789,"f":1E+2}`,
	`{"a":[[1,[2,[]]],[[]],null,true,false,{}]}`,
	`{"":1,"__name__":2,"a.b":3,"a/b":4,"` + "`" + `":5,"é":6,"a":7}`,
	`{"a":"\u0000\u001f\"\\\/\ud83d\ude00 😀 ` + "\u2028" + ` <>&"}`,
	strings.Repeat(`{"a":`, 60) + `1` + strings.Repeat(`}`, 60),
	`{"a":1,"a":2}`,
}

func keepsBodies(ctx context.Context, h Harness) error {
	want := map[string]string{}
	for i, body := range bodies {
		id := fmt.Sprintf("d%d", i)
		want[id] = body
		if err := put(ctx, h.Store, document(id, body)); err != nil {
			return fmt.Errorf("put %s: %w", body, err)
		}
	}
	return holds(ctx, h.Store, want)
}

func keepsOrder(ctx context.Context, h Harness) error {
	if err := put(ctx, h.Store, number("a", 1), number("b", 2), number("c", 3)); err != nil {
		return err
	}
	ask := []string{"c", "none", "a", "c", "Never", "b"}
	check := func(found []store.Document) error {
		var got []string
		for _, d := range found {
			got = append(got, d.Kind+"/"+d.ID+string(d.Body))
			if d.Body != nil && len(d.Body) == 0 {
				return fmt.Errorf("%q has an empty body", d.ID)
			}
		}
		want := []string{`things/c{"n":3}`, "things/none", `things/a{"n":1}`, `things/c{"n":3}`, "things/Never", `things/b{"n":2}`}
		if !slices.Equal(got, want) {
			return fmt.Errorf("got %q; want %q", got, want)
		}
		if found[1].Body != nil {
			return errors.New("a missing document has a body")
		}
		return nil
	}
	found, err := h.Store.Get(ctx, kind, ask...)
	if err := errors.Join(err, check(found)); err != nil {
		return err
	}
	if found, err = h.Store.Get(ctx, kind); err != nil || len(found) != 0 {
		return fmt.Errorf("no ids give %v, %w", found, err)
	}
	return h.Store.Update(ctx, func(tx store.Tx) error {
		found, err := tx.Get(kind, ask...)
		return errors.Join(err, check(found))
	})
}

func replaces(ctx context.Context, h Harness) error {
	return all(
		func() error { return put(ctx, h.Store, document("a", `{"x":1,"y":2}`), document("b", `{}`)) },
		func() error { return put(ctx, h.Store, document("a", `{"y":3}`)) },
		func() error { return holds(ctx, h.Store, map[string]string{"a": `{"y":3}`, "b": `{}`}) },
		func() error { return remove(ctx, h.Store, "a", "never") },
		func() error { return holds(ctx, h.Store, map[string]string{"a": ``, "b": `{}`, "never": ``}) },
		func() error { return finds(ctx, h.Store, store.Query{}, "b") },
		func() error { return put(ctx, h.Store, document("a", `{"z":4}`)) },
		func() error { return holds(ctx, h.Store, map[string]string{"a": `{"z":4}`}) },
	)
}

func lastCounts(ctx context.Context, h Harness) error {
	err := h.Store.Update(ctx, func(tx store.Tx) error {
		tx.Put(indexed("a", "colour", "red"))
		tx.Put(indexed("a", "colour", "blue"))
		tx.Put(document("b", `{}`))
		tx.Delete(kind, "b")
		tx.Delete(kind, "c")
		tx.Put(document("c", `{}`))
		return nil
	})
	return all(
		func() error { return err },
		func() error { return holds(ctx, h.Store, map[string]string{"a": `{}`, "b": ``, "c": `{}`}) },
		func() error { return finds(ctx, h.Store, store.Query{Field: "colour", Any: []string{"red"}}, "") },
		func() error { return finds(ctx, h.Store, store.Query{Field: "colour", Any: []string{"blue"}}, "a") },
	)
}

func kindsApart(ctx context.Context, h Harness) error {
	other := indexed("a", "colour", "red")
	other.Kind, other.Due = "others", time.Unix(1, 0)
	return all(
		func() error { return put(ctx, h.Store, other) },
		func() error { return holds(ctx, h.Store, map[string]string{"a": ``}) },
		func() error { return finds(ctx, h.Store, store.Query{}, "") },
		func() error { return finds(ctx, h.Store, store.Query{Field: "colour", Any: []string{"red"}}, "") },
		func() error { return finds(ctx, h.Store, store.Query{Due: time.Unix(2, 0)}, "") },
		func() error { return put(ctx, h.Store, document("a", `{"mine":1}`)) },
		func() error { return remove(ctx, h.Store, "a") },
		func() error {
			found, err := h.Store.Get(ctx, "others", "a")
			if err != nil || string(found[0].Body) != `{}` {
				return fmt.Errorf("the document of the other kind is %q, %w", found, err)
			}
			return nil
		},
	)
}

func many(ctx context.Context, h Harness) error {
	const n = 400
	var documents []store.Document
	var ids []string
	for i := range n {
		documents = append(documents, number(fmt.Sprintf("d%03d", i), i))
		ids = append(ids, fmt.Sprintf("d%03d", (i*7)%n), fmt.Sprintf("e%03d", i)) // 7 and n have no common divisor
	}
	if err := put(ctx, h.Store, documents...); err != nil {
		return err
	}
	found, err := h.Store.Get(ctx, kind, ids...)
	if err != nil || len(found) != 2*n {
		return fmt.Errorf("%d of %d documents, %w", len(found), 2*n, err)
	}
	for i := range n {
		got, err := numberOf(found[2*i])
		if err != nil || got != (i*7)%n || found[2*i].ID != ids[2*i] || found[2*i+1].Body != nil {
			return fmt.Errorf("got %q and %q at place %d, %w", found[2*i], found[2*i+1], i, err)
		}
	}
	return nil
}

func noAliases(ctx context.Context, h Harness) error {
	spoil := func(b []byte) { copy(b, `{"spoilt":1}`) }
	mine := indexed("a", "colour", "red")
	mine.Body = []byte(`{"n":1,"m":2}`)
	err := h.Store.Update(ctx, func(tx store.Tx) error {
		mine.Body, mine.Index["colour"][0] = []byte(`{"n":1,"m":2}`), "red"
		tx.Put(mine)
		spoil(mine.Body)
		mine.Index["colour"][0] = "blue"
		return nil
	})
	untouched := func() error {
		return errors.Join(
			holds(ctx, h.Store, map[string]string{"a": `{"n":1,"m":2}`}),
			finds(ctx, h.Store, store.Query{Field: "colour", Any: []string{"red"}}, "a"),
		)
	}
	return all(
		func() error { return err },
		untouched,
		func() error {
			spoil(mine.Body)
			mine.Index["colour"][0] = "green"
			return untouched()
		},
		func() error {
			found, err := h.Store.Get(ctx, kind, "a", "a")
			if err != nil {
				return err
			}
			spoil(found[0].Body)
			if string(found[1].Body) != `{"n":1,"m":2}` {
				return errors.New("two documents of one answer share a body")
			}
			return untouched()
		},
		func() error {
			found, err := h.Store.Find(ctx, store.Query{Kind: kind})
			if err != nil {
				return err
			}
			spoil(found[0].Body)
			return untouched()
		},
		func() error {
			err := h.Store.Update(ctx, func(tx store.Tx) error {
				got, err := tx.Get(kind, "a")
				if err != nil {
					return err
				}
				spoil(got[0].Body)
				found, err := tx.Find(store.Query{Kind: kind})
				if err != nil {
					return err
				}
				spoil(found[0].Body)
				return nil
			})
			return errors.Join(err, untouched())
		},
	)
}

func expiry(ctx context.Context, h Harness) error {
	later := due("later", time.Unix(1, 0))
	later.Expires = time.Now().Add(time.Hour)
	return all(
		func() error { return put(ctx, h.Store, later, document("never", `{}`)) },
		func() error { return put(ctx, h.Store, document("another", `{}`)) },
		func() error { return holds(ctx, h.Store, map[string]string{"later": `{}`, "never": `{}`}) },
		func() error { return finds(ctx, h.Store, store.Query{Due: time.Unix(2, 0)}, "later") },
	)
}

func restarts(ctx context.Context, h Harness) error {
	a, gone := indexed("a", "colour", "red"), indexed("gone", "colour", "red")
	a.Due = time.Unix(1, 0)
	err := all(
		func() error { return put(ctx, h.Store, a, gone, number("b", 1)) },
		func() error { return put(ctx, h.Store, number("b", 2)) },
		func() error { return remove(ctx, h.Store, "gone") },
	)
	if err != nil {
		return err
	}
	for range 2 {
		if h.Store, err = h.Reopen(); err != nil {
			return fmt.Errorf("open again: %w", err)
		}
		err = all(
			func() error { return holds(ctx, h.Store, map[string]string{"a": `{}`, "b": `{"n":2}`, "gone": ``}) },
			func() error { return finds(ctx, h.Store, store.Query{Field: "colour", Any: []string{"red"}}, "a") },
			func() error { return finds(ctx, h.Store, store.Query{Due: time.Unix(1, 0)}, "a") },
			func() error { return put(ctx, h.Store, number("c", 3)) },
			func() error { return holds(ctx, h.Store, map[string]string{"c": `{"n":3}`}) },
		)
		if err != nil {
			return fmt.Errorf("after a restart: %w", err)
		}
	}
	return nil
}

func ownKinds(ctx context.Context, h Harness) error {
	err := h.Store.Update(ctx, func(tx store.Tx) error {
		return errors.Join(
			store.Connections.Put(tx, &bank.Connection{ID: "c1", Owner: "u1", Provider: "p", Item: "i1", Offered: []string{"b1", "b2"}}),
			store.Connections.Put(tx, &bank.Connection{ID: "c2", Owner: "u1"}),
			store.Sessions.Put(tx, &bank.Session{ID: "s1", Owner: "u1", State: bank.Open, Due: time.Unix(10, 0)}),
			store.Users.Put(tx, &bank.User{Sub: "u1", Email: "a@example.com"}),
		)
	})
	if err != nil {
		return err
	}
	for _, q := range []struct {
		field, value string
		want         int
	}{
		{store.ByOwner, "u1", 2}, {store.ByBook, "b2", 1}, {store.ByItem, store.ItemKey("p", "i1"), 1}, {store.ByBook, "b3", 0},
	} {
		found, err := store.Connections.Find(ctx, h.Store, store.Query{Field: q.field, Any: []string{q.value}})
		if err != nil || len(found) != q.want {
			return fmt.Errorf("%d connections with %s %q, %w; want %d", len(found), q.field, q.value, err, q.want)
		}
	}
	sessions, err := store.Sessions.Find(ctx, h.Store, store.Query{Due: time.Unix(10, 0)})
	if err != nil || len(sessions) != 1 || !sessions[0].Due.Equal(time.Unix(10, 0)) {
		return fmt.Errorf("the sessions that are due are %v, %w", sessions, err)
	}
	user, err := store.Users.Get(ctx, h.Store, "u1")
	if err != nil || user.Email != "a@example.com" {
		return fmt.Errorf("the user is %v, %w", user, err)
	}
	if _, err := store.Users.Get(ctx, h.Store, "u2"); !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("a user who is not there: %w", err)
	}
	return nil
}
