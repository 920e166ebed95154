package secretmanager

import (
	"context"
	"math/rand/v2"
	"time"

	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	tries    = 4
	deadline = 10 * time.Second // of one try
)

// call makes one call, again where Secret Manager is away for a moment or its quota is used up (two writes a second for
// one secret), at most four times. An error is a gRPC status or that of the context.
func (v *Vault) call(ctx context.Context, do func(context.Context, *secretmanager.Client) error) error {
	client, err := v.connect()
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err = attempt(ctx, client, do)
		if err == nil || try == tries || !passing(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause(try)):
		}
	}
}

// pause is up to 0.2, 0.6 and 1.8 s, at least half of that, so that callers who failed together do not return together.
func pause(try int) time.Duration {
	longest := 200 * time.Millisecond
	for range try - 1 {
		longest *= 3
	}
	return longest/2 + rand.N(longest/2)
}

func attempt(ctx context.Context, c *secretmanager.Client, do func(context.Context, *secretmanager.Client) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	err := do(limited, c)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func passing(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted, codes.DeadlineExceeded:
		return true
	}
	return false
}
