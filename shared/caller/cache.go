package caller

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// cache keeps what was fetched until a time of its own. Callers that ask for the same key at once share one fetch.
type cache[V any] struct {
	size   int
	flight singleflight.Group
	mu     sync.Mutex
	held   map[string]held[V]
}

type held[V any] struct {
	value V
	until time.Time
}

func newCache[V any](size int) *cache[V] {
	return &cache[V]{size: size, held: map[string]held[V]{}}
}

func (c *cache[V]) peek(key string) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.held[key]
	if !ok || !time.Now().Before(h.until) {
		var none V
		return none, false
	}
	return h.value, true
}

// load fetches and keeps. The fetch goes on when the caller that began it goes away, for others may wait for it.
func (c *cache[V]) load(ctx context.Context, key string, fetch func(context.Context) (V, time.Time, error)) (V, error) {
	done := c.flight.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		value, until, err := fetch(ctx)
		if err == nil {
			c.keep(key, value, until)
		}
		return value, err
	})
	var none V
	select {
	case <-ctx.Done():
		return none, ctx.Err()
	case r := <-done:
		if r.Err != nil {
			return none, r.Err
		}
		value, _ := r.Val.(V)
		return value, nil
	}
}

func (c *cache[V]) keep(key string, value V, until time.Time) {
	now := time.Now()
	if !now.Before(until) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.held[key]; !known && len(c.held) >= c.size {
		c.makeRoom(now)
	}
	c.held[key] = held[V]{value, until}
}

func (c *cache[V]) makeRoom(now time.Time) {
	for k, h := range c.held {
		if !now.Before(h.until) {
			delete(c.held, k)
		}
	}
	for k := range c.held {
		if len(c.held) < c.size {
			return
		}
		delete(c.held, k)
	}
}

func (c *cache[V]) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.held, key)
}
