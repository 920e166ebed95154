package pluggy

import "time"

// limits are Pluggy's a minute and address.
var limits = map[string]int{
	"POST /auth": 360, "GET /transactions": 360, "GET /v2/transactions": 360, "PATCH /items/{id}": 20,
}

// limit counts a request and refuses it where it is one too many; the lock of core is held.
func (s *Server) limit(pattern, address string, now time.Time) error {
	most, ok := limits[pattern]
	if ok && s.opts.RateLimits && !s.limiter.Take(pattern+" "+address, most, now) {
		return tooMany(most)
	}
	return nil
}
