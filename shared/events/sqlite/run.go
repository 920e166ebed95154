package sqlite

import (
	"context"
	"database/sql"
	"strconv"
	"sync"
	"time"

	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/events/push"
	"github.com/bkper/automations-portal/shared/logs"
)

const (
	// poll is how long a message of another process on the same file, or one after an error, waits at most.
	poll = time.Second
	// spare is what a lease lasts beyond the deadline of its push, for writing down how the push ended.
	spare = 5 * time.Second
	// settling bounds that writing down, which goes on when Run is told to end.
	settling = 5 * time.Second
)

// Run delivers messages until ctx ends, and returns when the last push has ended.
func (q *Queue) Run(ctx context.Context) {
	var topics sync.WaitGroup
	for topic, target := range q.config.Targets {
		topics.Go(func() { q.serve(ctx, topic, target) })
	}
	topics.Wait()
}

// serve delivers the messages of one topic. Topics and messages never wait for each other, unless more messages than
// Concurrency are slow.
func (q *Queue) serve(ctx context.Context, topic events.Topic, target string) {
	var pushes sync.WaitGroup
	defer pushes.Wait()
	busy := make(chan struct{}, q.config.Concurrency)
	for ctx.Err() == nil {
		leased, wait, err := q.lease(ctx, topic, cap(busy)-len(busy))
		if err != nil && ctx.Err() == nil {
			q.config.Log.ErrorContext(ctx, "the queue cannot be read", "topic", topic, "error", err)
		}
		for _, m := range leased {
			busy <- struct{}{}
			pushes.Go(func() {
				defer q.ring(topic)
				defer func() { <-busy }()
				q.deliver(ctx, topic, target, m)
			})
		}
		q.await(ctx, topic, wait)
	}
}

// await returns when a message may be due: after wait, or when something was published or a push has ended.
func (q *Queue) await(ctx context.Context, topic events.Topic, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-q.wake[topic]:
	case <-timer.C:
	}
}

type message struct {
	id        int64
	data      []byte
	parent    string
	published time.Time
	attempt   int
}

func (m message) attributes() map[string]string {
	if m.parent == "" {
		return nil
	}
	return map[string]string{logs.ParentName: m.parent}
}

// lease takes up to n messages that are due, and says how long to wait before asking again. Messages whose last attempt
// ended with its process become dead letters.
func (q *Queue) lease(ctx context.Context, topic events.Topic, n int) (leased []message, wait time.Duration, err error) {
	if n == 0 {
		return nil, poll, nil
	}
	now := time.Now()
	if wait, err = q.untilDue(ctx, topic, now); err != nil || wait > 0 {
		return nil, wait, err
	}
	err = q.transact(ctx, func(tx *sql.Tx) (err error) {
		err = bury(ctx, tx, `topic = ? AND due <= ? AND attempt >= ?`, string(topic), now.UnixMicro(), q.config.MaxAttempts)
		if err == nil {
			leased, err = q.take(ctx, tx, topic, now, n)
		}
		return err
	})
	if err != nil {
		return nil, poll, err
	}
	return leased, 0, nil
}

// untilDue looks without the write lock, which an idle queue leaves to others.
func (q *Queue) untilDue(ctx context.Context, topic events.Topic, now time.Time) (time.Duration, error) {
	var next sql.NullInt64
	err := q.db.QueryRowContext(ctx, `SELECT min(due) FROM events_queue WHERE topic = ?`, string(topic)).Scan(&next)
	if err != nil || !next.Valid {
		return poll, err
	}
	return max(0, min(poll, time.UnixMicro(next.Int64).Sub(now))), nil
}

func (q *Queue) take(ctx context.Context, tx *sql.Tx, topic events.Topic, now time.Time, n int) ([]message, error) {
	rows, err := tx.QueryContext(ctx, `UPDATE events_queue SET attempt = attempt + 1, due = ?
		WHERE id IN (SELECT id FROM events_queue WHERE topic = ? AND due <= ? ORDER BY due, id LIMIT ?)
		RETURNING id, data, parent, published, attempt`,
		now.Add(q.config.Deadline+spare).UnixMicro(), string(topic), now.UnixMicro(), n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var taken []message
	for rows.Next() {
		var m message
		var published int64
		if err := rows.Scan(&m.id, &m.data, &m.parent, &published, &m.attempt); err != nil {
			return nil, err
		}
		m.published = time.UnixMicro(published)
		taken = append(taken, m)
	}
	return taken, rows.Err()
}

// bury turns the messages that the condition names into dead letters.
func bury(ctx context.Context, tx *sql.Tx, condition string, args ...any) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO events_dead (id, topic, data, published, attempts, parent)
		SELECT id, topic, data, published, attempt, parent FROM events_queue WHERE `+condition, args...)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM events_queue WHERE `+condition, args...)
	return err
}

// deliver pushes one message and writes down how that ended.
func (q *Queue) deliver(ctx context.Context, topic events.Topic, target string, m message) {
	id := strconv.FormatInt(m.id, 10)
	refusal := q.pusher.Push(ctx, target, push.Message{
		ID: id, Data: m.data, Attributes: m.attributes(), Published: m.published, Attempt: m.attempt,
		Subscription: "projects/local/subscriptions/" + string(topic),
	})
	if refusal != nil && ctx.Err() == nil {
		q.config.Log.WarnContext(ctx, "a push was refused",
			"topic", topic, "message", id, "attempt", m.attempt, "of", q.config.MaxAttempts, "error", refusal)
	}
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), settling)
	defer cancel()
	err := q.settle(settle, m, refusal, ctx.Err() != nil)
	if err != nil {
		q.config.Log.ErrorContext(ctx, "how a push ended was not written down; it comes again",
			"topic", topic, "message", id, "error", err)
	}
}

// settle deletes what was acknowledged, lets the rest come again, and gives up after the last attempt. The attempt guards
// a message that another process has leased since.
func (q *Queue) settle(ctx context.Context, m message, refusal error, stopping bool) error {
	switch {
	case refusal == nil:
		_, err := q.db.ExecContext(ctx, `DELETE FROM events_queue WHERE id = ?`, m.id)
		return err
	case stopping: // neither the message nor its receiver is to blame
		_, err := q.db.ExecContext(ctx, `UPDATE events_queue SET attempt = attempt - 1, due = ? WHERE id = ? AND attempt = ?`,
			time.Now().UnixMicro(), m.id, m.attempt)
		return err
	case m.attempt >= q.config.MaxAttempts:
		return q.transact(ctx, func(tx *sql.Tx) error { return bury(ctx, tx, `id = ? AND attempt = ?`, m.id, m.attempt) })
	}
	_, err := q.db.ExecContext(ctx, `UPDATE events_queue SET due = ? WHERE id = ? AND attempt = ?`,
		time.Now().Add(q.config.backoff(m.attempt)).UnixMicro(), m.id, m.attempt)
	return err
}
