package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/sandbox/plaid"
)

// mostTaken is how many rows of a customer a bank takes back: more, found missing after a replay, would be left for a
// person to decide.
const mostTaken = 15

// row makes a row with a description of its own, some days ago.
func (c *customer) row(rng *rand.Rand, ago int) plaid.Row {
	c.n++
	r := plaid.Row{
		Date: daysAgo(ago), Amount: decimal.New(rng.Int64N(200_000)-100_000, -2), Description: fmt.Sprintf("%s PURCHASE %05d", c.user, c.n),
	}
	if r.Amount.IsZero() {
		r.Amount = decimal.New(1, 0)
	}
	c.ever[r.Description]++
	return r
}

func daysAgo(n int) string { return time.Now().UTC().AddDate(0, 0, -n).Format(time.DateOnly) }

// trade lets the banks go on with their work until the calm.
func (s *storm) trade(ctx context.Context) {
	rng := s.chance("bank")
	for !s.isCalm() {
		if pause(ctx, rng, 20*time.Millisecond, 250*time.Millisecond) != nil {
			return
		}
		s.mu.Lock()
		c := s.customers[rng.IntN(len(s.customers))]
		s.mu.Unlock()
		var what string
		err := s.world.Plaid.Do(func(b *plaid.Bank) (err error) {
			what, err = c.move(rng, b)
			return err
		})
		if err != nil {
			s.log.Error("the bank could not move", "customer", c.user, "err", err)
			return
		}
		s.count(s.did, what, 1)
	}
}

// move does one thing at the bank. What a restless customer's bank has said it never changes: a new item would show the
// changed row as one that nobody knows, and the old record rightly stands.
func (c *customer) move(rng *rand.Rand, b *plaid.Bank) (what string, err error) {
	switch n := rng.IntN(100); {
	case n < 25:
		ids, err := b.Add(c.account(rng), c.pendingRow(rng), c.pendingRow(rng))
		c.holds = append(c.holds, ids...)
		return "rows held", err
	case n < 50 && len(c.holds) > 0:
		how := plaid.Settlement{Date: daysAgo(0), Unlinked: !c.pending && rng.IntN(3) == 0}
		if !c.restless && rng.IntN(3) == 0 {
			tip := decimal.New(rng.Int64N(9000)+1, -2)
			how.Amount = &tip
		}
		id, err := b.Settle(pick(rng, &c.holds), how)
		c.settled = append(c.settled, id)
		return "rows settled", err
	case n < 60 && !c.restless && len(c.settled) > 0:
		amount := decimal.New(rng.Int64N(100_000)+1, -2)
		return "rows amended", b.Amend(c.settled[rng.IntN(len(c.settled))], plaid.Amendment{Amount: &amount, Date: daysAgo(rng.IntN(20))})
	case n < 68 && !c.restless && c.taken < mostTaken && len(c.settled)+len(c.holds) > 0:
		c.taken++
		if len(c.settled) == 0 || len(c.holds) > 0 && rng.IntN(2) == 0 {
			return "rows taken back", b.Vanish(pick(rng, &c.holds))
		}
		return "rows taken back", b.Vanish(pick(rng, &c.settled))
	}
	ids, err := b.Add(c.account(rng), c.row(rng, rng.IntN(20)), c.row(rng, 0))
	c.settled = append(c.settled, ids...)
	return "rows added", err
}

func (c *customer) account(rng *rand.Rand) string { return c.ids[rng.IntN(len(c.ids))] }

func (c *customer) pendingRow(rng *rand.Rand) plaid.Row {
	r := c.row(rng, 1)
	r.Pending = true
	return r
}

// pick takes one of the list out of it.
func pick(rng *rand.Rand, from *[]string) string {
	i := rng.IntN(len(*from))
	one := (*from)[i]
	*from = slices.Delete(*from, i, i+1)
	return one
}
