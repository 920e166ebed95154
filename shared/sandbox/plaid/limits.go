package plaid

import "time"

// limits are those of Plaid's Sandbox a minute (https://plaid.com/docs/errors/rate-limit-exceeded/): by Item and by client;
// 0 is none.
var limits = map[string]struct {
	item, client int
	code         string
}{
	"/transactions/sync":           {50, 1000, "TRANSACTIONS_SYNC_LIMIT"},
	"/transactions/refresh":        {2, 100, "TRANSACTIONS_REFRESH_LIMIT"},
	"/accounts/get":                {100, 5000, "ACCOUNTS_LIMIT"},
	"/item/get":                    {40, 5000, "ITEM_GET_LIMIT"},
	"/item/remove":                 {100, 500, "RATE_LIMIT"},
	"/institutions/get":            {0, 10, "INSTITUTIONS_GET_LIMIT"},
	"/institutions/get_by_id":      {0, 400, "INSTITUTIONS_GET_BY_ID_LIMIT"},
	"/sandbox/transactions/create": {2, 50, "RATE_LIMIT"},
}

// limit counts a request and refuses it where it is one too many; the lock of core is held.
func (s *Server) limit(path, client, item string) error {
	limit, ok := limits[path]
	if !ok || !s.opts.RateLimits {
		return nil
	}
	now := time.Now()
	over := func(key string, most int) bool { return most > 0 && !s.limiter.Take(key, most, now) }
	if over(path+" client "+client, limit.client) || item != "" && over(path+" item "+item, limit.item) {
		return refuse(limit.code)
	}
	return nil
}
