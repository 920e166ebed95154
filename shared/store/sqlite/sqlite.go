// Package sqlite keeps documents in the embedded database file. It is enough for one machine: transactions run one after
// another, reads beside them.
package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bkper/automations-portal/shared/sqlitefile"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/internal/txn"
)

// schema: the body is text so that an operator can read it; due and expires are in microseconds since 1970, NULL where
// absent.
const schema = `
CREATE TABLE IF NOT EXISTS documents (
	kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, due INTEGER, expires INTEGER,
	PRIMARY KEY (kind, id)
) STRICT;
CREATE INDEX IF NOT EXISTS documents_due ON documents (kind, due, id) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS documents_expires ON documents (expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS terms (
	kind TEXT NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL, id TEXT NOT NULL,
	PRIMARY KEY (kind, field, value, id),
	FOREIGN KEY (kind, id) REFERENCES documents ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS terms_document ON terms (kind, id);
`

// Store is a store.Store. The body of a transaction holds the file's one write lock and runs once, so it should be short.
type Store struct {
	reads  *sql.DB
	writes *sql.DB // one connection: transactions wait here, in order, without keeping readers from theirs
	now    func() time.Time
	swept  atomic.Int64 // when expired documents were last looked for, Unix seconds
}

// Open opens the file at path and creates it where it is missing. Other packages may keep tables of their own in it.
func Open(path string) (*Store, error) {
	reads, err := sqlitefile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	writes, err := sqlitefile.Open(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), reads.Close())
	}
	writes.SetMaxOpenConns(1)
	s := &Store{reads: reads, writes: writes, now: time.Now}
	if _, err := writes.ExecContext(context.Background(), schema); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.Close())
	}
	return s, nil
}

// Close closes the file. Nothing may use the store any more.
func (s *Store) Close() error { return errors.Join(s.writes.Close(), s.reads.Close()) }

// Get reads documents by id.
func (s *Store) Get(ctx context.Context, kind string, ids ...string) ([]store.Document, error) {
	return get(ctx, s.reads, kind, ids)
}

// Find reads the documents that match.
func (s *Store) Find(ctx context.Context, q store.Query) ([]store.Document, error) {
	return find(ctx, s.reads, q)
}

// querier is a pool outside of transactions and the transaction inside.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func get(ctx context.Context, from querier, kind string, ids []string) ([]store.Document, error) {
	if err := txn.CheckIDs(kind, ids...); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	args := []any{kind}
	for _, id := range ids {
		args = append(args, id)
	}
	rows, err := query(ctx, from, kind, `SELECT id, body FROM documents WHERE kind = ? AND id IN (`+marks(len(ids))+`)`, args)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", kind, err)
	}
	bodies := map[string][]byte{}
	for _, d := range rows {
		bodies[d.ID] = d.Body
	}
	found := make([]store.Document, len(ids))
	for i, id := range ids {
		found[i] = store.Document{Kind: kind, ID: id, Body: append([]byte(nil), bodies[id]...)}
	}
	return found, nil
}

func find(ctx context.Context, from querier, q store.Query) ([]store.Document, error) {
	q, none, err := txn.CheckQuery(q)
	if err := cmp.Or(err, ctx.Err()); err != nil || none {
		return nil, wrap("find "+q.Kind, err)
	}
	text, args := statement(q)
	found, err := query(ctx, from, q.Kind, text, args)
	return found, wrap("find "+q.Kind, err)
}

// Count counts the documents that match.
func (s *Store) Count(ctx context.Context, q store.Query) (n int, err error) {
	q, none, err := txn.CheckQuery(q)
	if err := cmp.Or(err, ctx.Err()); err != nil || none {
		return 0, wrap("count "+q.Kind, err)
	}
	q.After = ""
	condition, args := where(q)
	err = s.reads.QueryRowContext(ctx, `SELECT count(*) FROM documents WHERE `+condition, args...).Scan(&n)
	return n, wrap("count "+q.Kind, ended(ctx, err))
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// statement puts a checked query into SQL.
func statement(q store.Query) (text string, args []any) {
	text, args = where(q)
	order := ` ORDER BY id`
	if !q.Due.IsZero() {
		order = ` ORDER BY due, id`
	}
	return `SELECT id, body FROM documents WHERE ` + text + order + ` LIMIT ?`, append(args, q.Limit)
}

// where is the conjunction of a query's conditions.
func where(q store.Query) (text string, args []any) {
	text, args = `kind = ?`, []any{q.Kind}
	if q.Field != "" {
		text += ` AND id IN (SELECT id FROM terms WHERE kind = ? AND field = ? AND value IN (` + marks(len(q.Any)) + `))`
		args = append(args, q.Kind, q.Field)
		for _, value := range q.Any {
			args = append(args, value)
		}
	}
	if !q.Due.IsZero() {
		text, args = text+` AND due <= ?`, append(args, q.Due.UnixMicro())
	}
	if q.After != "" {
		text, args = text+` AND id > ?`, append(args, q.After)
	}
	return text, args
}

// marks are n placeholders.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }

func query(ctx context.Context, from querier, kind, text string, args []any) (found []store.Document, err error) {
	rows, err := from.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, ended(ctx, err)
	}
	defer rows.Close()
	for rows.Next() {
		d := store.Document{Kind: kind}
		if err := rows.Scan(&d.ID, &d.Body); err != nil {
			return nil, ended(ctx, err)
		}
		found = append(found, d)
	}
	return found, ended(ctx, rows.Err())
}

// ended makes an error that came after the end of ctx say so; the driver's own is "interrupted".
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Update runs body in the one transaction that can be open. A body that calls Update waits for itself until ctx ends.
func (s *Store) Update(ctx context.Context, body func(store.Tx) error) error {
	conn, begun, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	defer conn.Close()
	defer begun.Rollback() // of no effect after Commit
	t := &tx{ctx: ctx, tx: begun}
	writes, err := t.Done(body(t))
	if err != nil || len(writes) == 0 {
		return cmp.Or(err, ctx.Err())
	}
	if err := s.write(ctx, begun, writes); err != nil {
		return fmt.Errorf("update: %w", ended(ctx, err))
	}
	return s.commit(ctx, begun)
}

// begin takes the write lock. While another pool or process holds it SQLite waits without minding the context, so it is let
// to wait for short times only. The connection is to be closed after the transaction.
func (s *Store) begin(ctx context.Context) (*sql.Conn, *sql.Tx, error) {
	conn, err := s.writes.Conn(ctx)
	if err != nil {
		return nil, nil, ended(ctx, err)
	}
	if _, err := conn.ExecContext(ctx, `PRAGMA busy_timeout = 100`); err != nil {
		return nil, nil, errors.Join(ended(ctx, err), conn.Close())
	}
	for {
		begun, err := conn.BeginTx(ctx, nil)
		if err == nil {
			return conn, begun, nil
		}
		if !sqlitefile.Busy(err) || ctx.Err() != nil {
			return nil, nil, errors.Join(ended(ctx, err), conn.Close())
		}
	}
}

// commit knows of two outcomes when ctx has ended before: database/sql has rolled back, or it has not noticed yet and
// commits. A failure of the file itself leaves open what a later process will find in it.
func (s *Store) commit(ctx context.Context, begun *sql.Tx) error {
	err := begun.Commit()
	if err == nil {
		return nil
	}
	if rolledBack := errors.Is(err, sql.ErrTxDone) || err == ctx.Err(); rolledBack { //nolint:errorlint // database/sql gives it bare; what wraps it is the file's
		return fmt.Errorf("update: %w", ended(ctx, err))
	}
	return fmt.Errorf("update: %w: %w", store.ErrUnknown, err)
}

func (s *Store) write(ctx context.Context, begun *sql.Tx, writes []txn.Write) error {
	if err := s.sweep(ctx, begun); err != nil {
		return err
	}
	for _, w := range writes {
		if err := apply(ctx, begun, w); err != nil {
			return err
		}
	}
	return nil
}

func apply(ctx context.Context, begun *sql.Tx, w txn.Write) error {
	if w.Body == nil {
		_, err := begun.ExecContext(ctx, `DELETE FROM documents WHERE kind = ? AND id = ?`, w.Kind, w.ID)
		return err
	}
	if _, err := begun.ExecContext(ctx, `DELETE FROM terms WHERE kind = ? AND id = ?`, w.Kind, w.ID); err != nil {
		return err
	}
	_, err := begun.ExecContext(ctx, `INSERT INTO documents (kind, id, body, due, expires) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body, due = excluded.due, expires = excluded.expires`,
		w.Kind, w.ID, string(w.Body), micros(w.Due), micros(w.Expires))
	if err != nil || len(w.Terms) == 0 {
		return err
	}
	insert, err := begun.PrepareContext(ctx, `INSERT INTO terms (kind, field, value, id) VALUES (?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for _, term := range w.Terms {
		if _, err := insert.ExecContext(ctx, w.Kind, term.Field, term.Value, w.ID); err != nil {
			return err
		}
	}
	return nil
}

// micros is the column's value of a time.
func micros(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

// sweep deletes a few expired documents, once a minute, along with what is written anyway. Firestore does so within a day.
func (s *Store) sweep(ctx context.Context, begun *sql.Tx) error {
	now := s.now()
	if now.Unix() < s.swept.Load()+60 {
		return nil
	}
	s.swept.Store(now.Unix())
	_, err := begun.ExecContext(ctx, `DELETE FROM documents WHERE rowid IN
		(SELECT rowid FROM documents WHERE expires <= ? ORDER BY expires LIMIT 200)`, now.UnixMicro())
	return err
}

// tx is the transaction of a body.
type tx struct {
	txn.Writes
	ctx context.Context
	tx  *sql.Tx
}

func (t *tx) Get(kind string, ids ...string) ([]store.Document, error) {
	if err := t.Reading(); err != nil {
		return nil, err
	}
	found, err := get(t.ctx, t.tx, kind, ids)
	t.Failed(err)
	return found, err
}

func (t *tx) Find(q store.Query) ([]store.Document, error) {
	if err := t.Reading(); err != nil {
		return nil, err
	}
	found, err := find(t.ctx, t.tx, q)
	t.Failed(err)
	return found, err
}
