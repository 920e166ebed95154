// Package disk keeps the state of the sandbox's servers in one SQLite file, so that a restart, kill -9 included, finds
// the banks and Books as they were when the last request was answered.
package disk

import (
	"database/sql"
	"encoding/json"
	"fmt"

	_ "modernc.org/sqlite" // the driver that database/sql opens below
)

// DB holds JSON documents by space and id. It is safe for concurrent use.
type DB struct{ db *sql.DB }

// Open opens the file at path and creates it where it is missing.
func Open(path string) (*DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(NORMAL)&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("open sandbox state: %w", err)
	}
	if _, err := db.Exec(`CREATE TABLE IF NOT EXISTS sandbox (space TEXT, id TEXT, body BLOB NOT NULL, PRIMARY KEY (space, id)) WITHOUT ROWID`); err != nil {
		db.Close()
		return nil, fmt.Errorf("open sandbox state: %w", err)
	}
	return &DB{db}, nil
}

// Load calls each with every document of a space, in the order of their ids.
func (d *DB) Load(space string, each func(id string, body []byte) error) error {
	rows, err := d.db.Query(`SELECT id, body FROM sandbox WHERE space = ? ORDER BY id`, space)
	if err != nil {
		return fmt.Errorf("load %s: %w", space, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var body []byte
		if err := rows.Scan(&id, &body); err != nil {
			return fmt.Errorf("load %s: %w", space, err)
		}
		if err := each(id, body); err != nil {
			return fmt.Errorf("load %s %s: %w", space, id, err)
		}
	}
	return rows.Err()
}

// Each calls each with every document of a space, decoded, in the order of their ids.
func Each[T any](d *DB, space string, each func(id string, doc T) error) error {
	return d.Load(space, func(id string, body []byte) error {
		var doc T
		if err := json.Unmarshal(body, &doc); err != nil {
			return err
		}
		return each(id, doc)
	})
}

// Into returns what decodes a document to the end of a list.
func Into[T any](list *[]T) func(body []byte) error {
	return func(body []byte) error {
		var doc T
		if err := json.Unmarshal(body, &doc); err != nil {
			return err
		}
		*list = append(*list, doc)
		return nil
	}
}

// Document is something that is kept on its own: a change costs in proportion to itself, not to all that a server holds.
type Document interface {
	Key() string // its id, such as kind/name
	Doc() any    // what is written, as JSON, when it is saved
}

// Changes are the documents that changed since they were last saved, by id. A nil Changes notes nothing, for whoever keeps
// nothing.
type Changes map[string]any

// Put notes what a document is now; nil is that it is no more.
func (c Changes) Put(id string, doc any) {
	if c != nil {
		c[id] = doc
	}
}

// Touch notes that a document changed.
func (c Changes) Touch(d Document) {
	if c != nil { // a simulator touches far more than anybody keeps
		c[d.Key()] = d
	}
}

// Forget notes that a document is no more.
func (c Changes) Forget(d Document) {
	if c != nil {
		c[d.Key()] = nil
	}
}

// Save writes the documents of a space in one transaction; a nil document deletes. What it wrote survives the death of
// the process once it has returned.
func (d *DB) Save(space string, docs map[string]any) error {
	if len(docs) == 0 {
		return nil
	}
	tx, err := d.db.Begin()
	if err != nil {
		return fmt.Errorf("save %s: %w", space, err)
	}
	defer tx.Rollback()
	for id, doc := range docs {
		if doc == nil {
			if _, err := tx.Exec(`DELETE FROM sandbox WHERE space = ? AND id = ?`, space, id); err != nil {
				return fmt.Errorf("save %s %s: %w", space, id, err)
			}
			continue
		}
		if d, ok := doc.(Document); ok {
			doc = d.Doc()
		}
		body, err := json.Marshal(doc)
		if err != nil {
			return fmt.Errorf("save %s %s: %w", space, id, err)
		}
		if _, err := tx.Exec(`INSERT INTO sandbox (space, id, body) VALUES (?, ?, ?) ON CONFLICT (space, id) DO UPDATE SET body = excluded.body`, space, id, body); err != nil {
			return fmt.Errorf("save %s %s: %w", space, id, err)
		}
	}
	return tx.Commit()
}

// Close closes the file.
func (d *DB) Close() error { return d.db.Close() }
