package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bkper/automations-portal/shared/store"
)

var ruleChecks = []Check{
	{"a document of the greatest size is kept and a greater one refused", documentSize},
	{"a transaction has a greatest size", updateSize},
	{"a body is one JSON object", bodyRules},
	{"kinds and ids keep their rules", idRules},
	{"an index keeps its rules", indexRules},
	{"a query keeps its rules", queryRules},
	{"nothing is done once the context has ended", contextEnds},
}

// refusedPut checks that a document is refused and that what stands in the same transaction is not written either.
func refusedPut(ctx context.Context, s store.Store, what string, d store.Document) error {
	return all(
		func() error { return refused(what, put(ctx, s, document("before", `{}`), d, document("after", `{}`))) },
		func() error { return finds(ctx, s, store.Query{}, "") },
	)
}

// sized makes a document that has n bytes with its index, which is one field with many values.
func sized(id string, n int) store.Document {
	values := make([]string, 1000)
	for i := range values {
		values[i] = fmt.Sprintf("%0199d", i)
	}
	const index = len("colour") + 1 + 1000*200
	d := indexed(id, "colour", values...)
	d.Body = []byte(`{"a":"` + strings.Repeat("x", n-index-len(`{"a":""}`)) + `"}`)
	return d
}

func documentSize(ctx context.Context, h Harness) error {
	largest := sized("a", 1_000_000)
	numbers := document("numbers", `{"a":[`+strings.Repeat("1,", 499_000)+`1]}`)
	return all(
		func() error { return refusedPut(ctx, h.Store, "a document of 1,000,001 bytes", sized("a", 1_000_001)) },
		func() error { return put(ctx, h.Store, largest) },
		func() error { return put(ctx, h.Store, numbers) },
		func() error {
			return holds(ctx, h.Store, map[string]string{"a": string(largest.Body), "numbers": string(numbers.Body)})
		},
		func() error {
			return finds(ctx, h.Store, store.Query{Field: "colour", Any: []string{fmt.Sprintf("%0199d", 999)}}, "a")
		},
	)
}

func updateSize(ctx context.Context, h Harness) error {
	// Each has 980,000 - 200,007 bytes of body, 1,000 values of 199 + 16, and 500.
	large := []store.Document{sized("l0", 980_000), sized("l1", 980_000), sized("l2", 980_000), sized("l3", 980_000)}
	rest := 4_000_000 - 4*(980_000-200_007+215_000+500) - 500
	more := func(n int) store.Document {
		return document("more", `{"a":"`+strings.Repeat("x", n-len(`{"a":""}`))+`"}`)
	}
	var small []store.Document
	for i := range 1000 {
		small = append(small, document(fmt.Sprintf("%0200d", i), `{"a":"`+strings.Repeat("x", 3_400)+`"}`))
	}
	return all(
		func() error {
			return refused("more than 4,000,000 bytes", put(ctx, h.Store, append(large, more(rest+1))...))
		},
		func() error { return refused("1,001 writes", put(ctx, h.Store, append(small, number("more", 1))...)) },
		func() error { return finds(ctx, h.Store, store.Query{}, "") },
		func() error { return put(ctx, h.Store, append(large, more(rest))...) },
		func() error { return put(ctx, h.Store, small...) },
	)
}

func bodyRules(ctx context.Context, h Harness) error {
	for _, body := range []string{``, ` `, `null`, `[]`, `"a"`, `1`, `{`, `{}{}`, `{"a":}`, `{'a':1}`, `{"a":NaN}`, "{\"a\":\"\xff\"}"} {
		if err := refusedPut(ctx, h.Store, fmt.Sprintf("the body %q", body), document("a", body)); err != nil {
			return err
		}
	}
	return refusedPut(ctx, h.Store, "no body", store.Document{Kind: kind, ID: "a"})
}

func idRules(ctx context.Context, h Harness) error {
	for _, id := range []string{"a", ".a", "...", "__a", "a__", "-", "A-Z_a.z0", strings.Repeat("x", 200)} {
		err := all(
			func() error { return put(ctx, h.Store, document(id, `{}`)) },
			func() error { return finds(ctx, h.Store, store.Query{}, id) },
			func() error { return remove(ctx, h.Store, id) },
		)
		if err != nil {
			return fmt.Errorf("the id %q: %w", id, err)
		}
	}
	for _, id := range []string{"", ".", "..", "__a__", "____", "a/b", "a b", "é", "a\n", "a\x00", strings.Repeat("x", 201)} {
		if err := refusedKey(ctx, h.Store, kind, id); err != nil {
			return err
		}
	}
	for _, k := range []string{"", "Things", "a_b", "a/b", "..", "é", "a1", strings.Repeat("x", 41)} {
		if err := refusedKey(ctx, h.Store, k, "a"); err != nil {
			return err
		}
		if _, err := h.Store.Find(ctx, store.Query{Kind: k}); err == nil {
			return fmt.Errorf("the kind %q is looked for", k)
		}
	}
	return refusedKey(ctx, h.Store, kind, make([]string, 1001)...)
}

// refusedKey checks that no call takes a kind and ids.
func refusedKey(ctx context.Context, s store.Store, kind string, ids ...string) error {
	what := fmt.Sprintf("%.50q with the id %.50q", kind, ids)
	_, err := s.Get(ctx, kind, ids...)
	return all(
		func() error { return refused("get "+what, err) },
		func() error {
			return refused("get in a transaction, its error ignored, "+what, s.Update(ctx, func(tx store.Tx) error {
				_, _ = tx.Get(kind, ids...)
				return nil
			}))
		},
		func() error {
			return refusedPut(ctx, s, "put "+what, store.Document{Kind: kind, ID: ids[0], Body: []byte(`{}`)})
		},
		func() error {
			return refused("delete "+what, s.Update(ctx, func(tx store.Tx) error {
				tx.Delete(kind, ids[0])
				return nil
			}))
		},
	)
}

func indexRules(ctx context.Context, h Harness) error {
	for _, bad := range []map[string][]string{
		{"": {"a"}},
		{"Colour": {"a"}},
		{"a.b": {"a"}},
		{strings.Repeat("x", 41): {"a"}},
		{"colour": {strings.Repeat("x", 201)}},
		{"colour": {"\xff"}},
		{"colour": make([]string, 10_001)},
	} {
		d := document("a", `{}`)
		d.Index = bad
		if err := refusedPut(ctx, h.Store, fmt.Sprintf("the index %.100q", fmt.Sprint(bad)), d); err != nil {
			return err
		}
	}
	long := strings.Repeat("x", 200)
	values := []string{"", long, "é ☃ 😀", "a,b?'\"\\%", "a\x00b", "A"}
	if err := put(ctx, h.Store, indexed("a", "colour", append(values, values...)...)); err != nil {
		return err
	}
	for _, value := range values {
		if err := finds(ctx, h.Store, store.Query{Field: "colour", Any: []string{value}}, "a"); err != nil {
			return err
		}
	}
	return finds(ctx, h.Store, store.Query{Field: "colour", Any: []string{long[1:], "é", "a", "a\x00", "a\x00c", "%", " "}}, "")
}

func queryRules(ctx context.Context, h Harness) error {
	for _, q := range []store.Query{
		{Limit: -1},
		{Limit: 1001},
		{Field: "colour", Any: strings.Split(strings.Repeat("a,", 30)+"a", ",")},
		{Field: "Colour", Any: []string{"a"}},
		{Field: "a.b", Any: []string{"a"}},
		{Any: []string{"a"}},
		{Field: "colour", Any: []string{strings.Repeat("x", 201)}},
		{Field: "colour", Any: []string{"\xff"}},
		{Due: time.Unix(1, 0), After: "a"},
		{After: "a/b"},
		{After: ".."},
	} {
		q.Kind = kind
		what := fmt.Sprintf("the query %.200v", fmt.Sprint(q))
		_, err := h.Store.Find(ctx, q)
		err = errors.Join(
			refused(what, err),
			refused("ignoring the error of "+what, h.Store.Update(ctx, func(tx store.Tx) error {
				_, _ = tx.Find(q)
				return nil
			})),
		)
		if err != nil {
			return err
		}
	}
	return nil
}

func contextEnds(ctx context.Context, h Harness) error {
	if err := put(ctx, h.Store, document("a", `{}`)); err != nil {
		return err
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, got := h.Store.Get(ended, kind, "a")
	_, found := h.Store.Find(ended, store.Query{Kind: kind})
	ran := false
	updated := h.Store.Update(ended, func(tx store.Tx) error {
		ran = true
		return nil
	})
	for what, err := range map[string]error{"get": got, "find": found, "update": updated} {
		if !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnknown) {
			return fmt.Errorf("%s with a context that has ended gives %w", what, err)
		}
	}
	if ran {
		return errors.New("a body runs though the context has ended")
	}
	during, cancel := context.WithCancel(ctx)
	defer cancel()
	err := h.Store.Update(during, func(tx store.Tx) error {
		tx.Put(document("b", `{}`))
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnknown) {
		return fmt.Errorf("an update whose context ends before the commit gives %w", err)
	}
	return holds(ctx, h.Store, map[string]string{"b": ``})
}
