// Package sqlitefile opens the one SQLite file that the embedded store, vault and queue share, so that all of them hold it
// to the same promises.
package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"sync"
	"time"

	"modernc.org/sqlite" // also the driver that database/sql opens below
	codes "modernc.org/sqlite/lib"
)

// connections bounds one pool: enough for readers side by side, few enough for a small machine.
const connections = 8

// options are applied to every connection of a pool.
//
//   - A writer waits 10 s for another, be it of another pool or process, before SQLITE_BUSY.
//   - With the write-ahead log readers never wait for a writer, nor a writer for readers.
//   - synchronous FULL: a commit that has returned survives the loss of power, not only the death of the process (for which
//     NORMAL would do). What is kept here was answered with 2xx or cannot be asked for again, such as a bank's token.
//   - A transaction takes the write lock when it begins; one that took it later, after a read, would have to fail when
//     another had written in between.
var options = url.Values{
	"_busy_timeout": {"10000"},
	"_journal_mode": {"WAL"},
	"_synchronous":  {"FULL"},
	"_foreign_keys": {"on"},
	"_txlock":       {"immediate"},
}.Encode()

// Open opens the file at path with a pool of its own and creates it, readable by its owner only, where it is missing. A
// path is always a file: ":memory:" is one of that name. Every transaction that begins holds the one write lock, so
// callers who must read while others write use statements without a transaction, and a second pool with
// SetMaxOpenConns(1) for what they write: waiting for a free connection then honours the context and is fair, and waiting
// writers never use up the connections of readers.
func Open(path string) (*sql.DB, error) {
	opening.Lock()
	defer opening.Unlock()
	if err := create(path); err != nil {
		return nil, fmt.Errorf("open the database file: %w", err)
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+options)
	if err != nil {
		return nil, fmt.Errorf("open the database file: %w", err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(time.Minute)
	if err := db.PingContext(context.Background()); err != nil {
		db.Close()
		return nil, fmt.Errorf("open the database file: %w", err)
	}
	return db, nil
}

// Busy reports whether an error says that another holds the file's write lock.
func Busy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == codes.SQLITE_BUSY // the other bits say why it is busy
}

// opening keeps create from closing a file that another call has begun to lock.
var opening sync.Mutex

// create makes the file where it is missing, and never opens one that is there: on POSIX systems closing it again would
// drop every lock that this process holds on it (https://www.sqlite.org/howtocorrupt.html).
func create(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return file.Close()
}
