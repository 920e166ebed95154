package bank

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfterIsReadInBothFormsAndBounded(t *testing.T) {
	now := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	sent := now.Format(http.TimeFormat)
	for _, row := range []struct {
		after, date string
		want        time.Duration
	}{
		{"30", "", 30 * time.Second},
		{"0", "", 0},
		{"-5", "", 0},
		{"99999999999", "", 6 * time.Hour},
		{"9999999999999999999999", "", 0},
		{now.Add(2 * time.Minute).Format(http.TimeFormat), sent, 2 * time.Minute},
		{now.Add(24 * time.Hour).Format(http.TimeFormat), sent, 6 * time.Hour},
		{now.Add(-time.Minute).Format(http.TimeFormat), sent, 0},
		{now.Format(http.TimeFormat), "", 0},
		{"soon", sent, 0},
		{"", sent, 0},
	} {
		for _, kind := range []Kind{Retry, RetryAfter, UserMustAct, Permanent, OurFault} {
			got, want := Error{Kind: kind}, Error{Kind: kind}
			if passing := kind == Retry || kind == RetryAfter; passing && row.want > 0 {
				want = Error{Kind: RetryAfter, After: row.want}
			}
			if got.Heed(http.Header{"Retry-After": {row.after}, "Date": {row.date}}); got != want {
				t.Errorf("%q of %s: %v, want %v", row.after, kind, got, want)
			}
		}
	}
}
