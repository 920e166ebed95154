// Package sqlite is a durable queue in the embedded SQLite file. It pushes messages as Pub/Sub does: with a signed token,
// an acknowledgement deadline, exponential back-off, counted attempts and dead letters.
package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/events/push"
	"github.com/bkper/automations-portal/shared/logs"
	"github.com/bkper/automations-portal/shared/sqlitefile"
)

// Config sets a Queue up. Targets and Token are needed.
type Config struct {
	Targets     map[events.Topic]string // the URL that each topic is pushed to
	Token       push.TokenSource
	Transport   http.RoundTripper // default http.DefaultTransport
	Deadline    time.Duration     // for the answer to a push; default 10 s, as with Pub/Sub, at most 10 min
	MinBackoff  time.Duration     // after the first refusal, doubled after each; default 10 s
	MaxBackoff  time.Duration     // default 10 min
	MaxAttempts int               // after which a message becomes a dead letter; default 10
	Concurrency int               // pushes of one topic at a time; default 16
	Log         *slog.Logger      // default slog.Default()
}

func (c Config) withDefaults() Config {
	c.Deadline = min(cmp.Or(c.Deadline, 10*time.Second), push.MaxDeadline)
	c.MinBackoff = cmp.Or(c.MinBackoff, 10*time.Second)
	c.MaxBackoff = max(cmp.Or(c.MaxBackoff, 10*time.Minute), c.MinBackoff)
	c.MaxAttempts = cmp.Or(c.MaxAttempts, 10)
	c.Concurrency = cmp.Or(c.Concurrency, 16)
	c.Log = cmp.Or(c.Log, slog.Default())
	return c
}

// backoff is the pause after a message was refused for the attempt-th time.
func (c Config) backoff(attempt int) time.Duration {
	pause := c.MinBackoff
	for range attempt - 1 {
		if pause >= c.MaxBackoff {
			return c.MaxBackoff
		}
		pause *= 2
	}
	return min(pause, c.MaxBackoff)
}

// schema: due is when a message may be delivered next, in microseconds since 1970; while one is being delivered it is the
// end of the lease, so a process that dies leaves nothing to clear up. Ids are never used again. parent names the trace that
// a message belongs to; it was added later.
const schema = `
CREATE TABLE IF NOT EXISTS events_queue (
	id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, data BLOB NOT NULL,
	published INTEGER NOT NULL, attempt INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS events_queue_due ON events_queue (topic, due);
CREATE TABLE IF NOT EXISTS events_dead (
	id INTEGER PRIMARY KEY, topic TEXT NOT NULL, data BLOB NOT NULL,
	published INTEGER NOT NULL, attempts INTEGER NOT NULL);`

const added = `
ALTER TABLE events_queue ADD COLUMN parent TEXT NOT NULL DEFAULT '';
ALTER TABLE events_dead ADD COLUMN parent TEXT NOT NULL DEFAULT '';`

// Queue is the queue. Its methods are safe for concurrent use, by several processes on one file too.
type Queue struct {
	config Config
	db     *sql.DB
	pusher push.Pusher
	wake   map[events.Topic]chan struct{}
}

var _ events.Publisher = (*Queue)(nil)

// Open opens the queue in the file at path. Nothing is delivered until Run is called.
func Open(ctx context.Context, path string, c Config) (*Queue, error) {
	c = c.withDefaults()
	db, err := sqlitefile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the queue: %w", err)
	}
	db.SetMaxOpenConns(1) // everything here writes, and waits for its turn by its context
	q := &Queue{
		config: c, db: db,
		pusher: push.Pusher{Transport: c.Transport, Token: c.Token, Deadline: c.Deadline},
		wake:   map[events.Topic]chan struct{}{},
	}
	for topic := range c.Targets {
		q.wake[topic] = make(chan struct{}, 1)
	}
	if err := q.transact(ctx, func(tx *sql.Tx) error { return prepare(ctx, tx) }); err != nil {
		return nil, errors.Join(fmt.Errorf("open the queue: %w", err), db.Close())
	}
	return q, nil
}

// prepare makes the tables, or adds what a file of an older version lacks.
func prepare(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return err
	}
	var complete bool
	err := tx.QueryRowContext(ctx, `SELECT count(*) > 0 FROM pragma_table_info('events_queue') WHERE name = 'parent'`).Scan(&complete)
	if err != nil || complete {
		return err
	}
	_, err = tx.ExecContext(ctx, added)
	return err
}

// Close closes the file. What is being delivered meanwhile is delivered again after its lease.
func (q *Queue) Close() error { return q.db.Close() }

// Publish implements events.Publisher. A topic without a target is refused, since nobody would ever get the message.
func (q *Queue) Publish(ctx context.Context, topic events.Topic, m events.Message) error {
	err := q.publish(ctx, topic, m)
	if err != nil {
		return fmt.Errorf("publish to %s: %w", topic, ended(ctx, err))
	}
	q.ring(topic)
	return nil
}

func (q *Queue) publish(ctx context.Context, topic events.Topic, m events.Message) error {
	if q.config.Targets[topic] == "" {
		return errors.New("the topic has no target")
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	now := time.Now().UnixMicro()
	_, err = q.db.ExecContext(ctx,
		`INSERT INTO events_queue (topic, data, published, due, parent) VALUES (?, ?, ?, ?, ?)`,
		string(topic), data, now, now, events.Attributes(ctx)[logs.ParentName])
	return err
}

// ring lets Run look for messages of a topic at once.
func (q *Queue) ring(topic events.Topic) {
	select {
	case q.wake[topic] <- struct{}{}:
	default: // it is about to look already
	}
}

// maxDead bounds DeadLetters.
const maxDead = 1_000

// DeadLetters returns the oldest dead letters, at most 1,000.
func (q *Queue) DeadLetters(ctx context.Context) ([]events.DeadLetter, error) {
	rows, err := q.db.QueryContext(ctx,
		`SELECT id, topic, data, attempts, published FROM events_dead ORDER BY id LIMIT ?`, maxDead)
	if err != nil {
		return nil, fmt.Errorf("read the dead letters: %w", ended(ctx, err))
	}
	defer rows.Close()
	var all []events.DeadLetter
	for rows.Next() {
		var d events.DeadLetter
		var published int64
		if err := rows.Scan(&d.ID, &d.Topic, &d.Data, &d.Attempts, &published); err != nil {
			return nil, fmt.Errorf("read the dead letters: %w", ended(ctx, err))
		}
		d.Published = time.UnixMicro(published)
		all = append(all, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the dead letters: %w", ended(ctx, err))
	}
	return all, nil
}

// ErrNoDeadLetter: there is no dead letter with this id; it may have been replayed before.
var ErrNoDeadLetter = errors.New("no such dead letter")

// Replay publishes a dead letter again, as a new message whose attempts are counted anew. ErrNoDeadLetter.
func (q *Queue) Replay(ctx context.Context, id string) error {
	var topic events.Topic
	err := q.transact(ctx, func(tx *sql.Tx) error {
		number, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return ErrNoDeadLetter
		}
		now := time.Now().UnixMicro()
		err = tx.QueryRowContext(ctx, `INSERT INTO events_queue (topic, data, published, due, parent)
			SELECT topic, data, ?1, ?1, parent FROM events_dead WHERE id = ?2 RETURNING topic`, now, number).Scan(&topic)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNoDeadLetter
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM events_dead WHERE id = ?`, number)
		return err
	})
	if err != nil {
		return fmt.Errorf("replay the dead letter %s: %w", id, err)
	}
	q.ring(topic)
	return nil
}

func (q *Queue) transact(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := q.db.BeginTx(ctx, nil)
	if err != nil {
		return ended(ctx, err)
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return ended(ctx, err)
	}
	return ended(ctx, tx.Commit())
}

// ended prefers the context's error to what the driver makes of it.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
