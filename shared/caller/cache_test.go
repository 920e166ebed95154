package caller

import (
	"context"
	"strconv"
	"testing"
	"time"
)

func TestACacheNeverHoldsMoreThanItsSize(t *testing.T) {
	c := newCache[int](10)
	for n := range 100 {
		_, err := c.load(t.Context(), strconv.Itoa(n), func(context.Context) (int, time.Time, error) {
			return n, time.Now().Add(time.Hour), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.held) > 10 {
			t.Fatalf("holds %d after %d", len(c.held), n)
		}
		if got, ok := c.peek(strconv.Itoa(n)); !ok || got != n {
			t.Fatalf("the newest is %v, %v", got, ok)
		}
	}
}
