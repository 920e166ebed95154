// Package sqlite keeps the vault in the embedded SQLite file, encrypted with AES-256-GCM. The key is never in that file.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/sqlitefile"
	"github.com/bkper/automations-portal/shared/vault"
)

// schema: sealed is nonce, ciphertext and tag, bound to the name; proof tells whether a key is the one that the file was
// begun with.
const schema = `
CREATE TABLE IF NOT EXISTS vault_key (id INTEGER PRIMARY KEY CHECK (id = 1), proof BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS vault_secrets (name TEXT PRIMARY KEY, sealed BLOB NOT NULL);`

// Vault is a vault in a SQLite file.
type Vault struct {
	reads  *sql.DB
	writes *sql.DB // one connection, so that writers queue by their contexts
	seal   sealer
}

var _ vault.Vault = (*Vault)(nil)

// Open opens the vault in the file at path. key is 32 bytes in base64; an empty one stands for the key file at path +
// ".key", which the first Open makes. ErrKey where the key is not the one that the file was begun with, or its file is
// missing, malformed or open to others.
func Open(ctx context.Context, path string, key secret.String) (*Vault, error) {
	v := new(Vault)
	if err := v.open(ctx, path, key); err != nil {
		return nil, errors.Join(fmt.Errorf("open the vault: %w", err), v.Close())
	}
	return v, nil
}

func (v *Vault) open(ctx context.Context, path string, key secret.String) (err error) {
	if v.reads, err = sqlitefile.Open(path); err != nil {
		return err
	}
	if v.writes, err = sqlitefile.Open(path); err != nil {
		return err
	}
	v.writes.SetMaxOpenConns(1)
	// One transaction, so that of two processes which begin the same file one makes the key and the other finds it.
	return v.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, schema); err != nil {
			return err
		}
		v.seal, err = unlock(ctx, tx, path+".key", key)
		return err
	})
}

// Close closes the file.
func (v *Vault) Close() error {
	var errs []error
	for _, db := range []*sql.DB{v.reads, v.writes} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Get implements vault.Reader.
func (v *Vault) Get(ctx context.Context, name string) (secret.String, error) {
	if err := errors.Join(vault.CheckName(name), ctx.Err()); err != nil {
		return secret.String{}, fmt.Errorf("read the secret: %w", err)
	}
	var sealed []byte
	err := v.reads.QueryRowContext(ctx, `SELECT sealed FROM vault_secrets WHERE name = ?`, name).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return secret.String{}, fmt.Errorf("read the secret %s: %w", name, vault.ErrNotFound)
	}
	if err != nil {
		return secret.String{}, fmt.Errorf("read the secret %s: %w", name, ended(ctx, err))
	}
	s, err := v.seal.open(name, sealed)
	if err != nil {
		return secret.String{}, fmt.Errorf("read the secret %s: %w", name, err)
	}
	return s, nil
}

// Put implements vault.Writer.
func (v *Vault) Put(ctx context.Context, name string, s secret.String) error {
	if err := errors.Join(vault.CheckName(name), vault.CheckSecret(s), ctx.Err()); err != nil {
		return fmt.Errorf("write the secret: %w", err)
	}
	sealed := v.seal.seal(name, s)
	err := v.erase(ctx, `INSERT INTO vault_secrets (name, sealed) VALUES (?1, ?2)
		ON CONFLICT (name) DO UPDATE SET sealed = ?2`, name, sealed)
	if err != nil {
		return fmt.Errorf("write the secret %s: %w", name, err)
	}
	return nil
}

// Destroy implements vault.Vault.
func (v *Vault) Destroy(ctx context.Context, name string) error {
	if err := errors.Join(vault.CheckName(name), ctx.Err()); err != nil {
		return fmt.Errorf("destroy the secret: %w", err)
	}
	if err := v.erase(ctx, `DELETE FROM vault_secrets WHERE name = ?`, name); err != nil {
		return fmt.Errorf("destroy the secret %s: %w", name, err)
	}
	return nil
}

// List implements vault.Vault.
func (v *Vault) List(ctx context.Context, prefix, after string) ([]string, error) {
	if err := errors.Join(vault.CheckList(prefix, after), ctx.Err()); err != nil {
		return nil, fmt.Errorf("list the secrets: %w", err)
	}
	names, err := v.list(ctx, prefix, after)
	if err != nil {
		return nil, fmt.Errorf("list the secrets: %w", ended(ctx, err))
	}
	return names, nil
}

func (v *Vault) list(ctx context.Context, prefix, after string) ([]string, error) {
	// No name has a byte above 0x7f, so prefix || 0x7f ends the range.
	rows, err := v.reads.QueryContext(ctx, `SELECT name FROM vault_secrets
		WHERE name >= ?1 AND name < ?1 || char(127) AND name > ?2 ORDER BY name LIMIT ?3`, prefix, after, vault.MaxList)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// erase runs a statement that takes a secret away, so that nothing of its ciphertext stays behind: secure_delete
// overwrites it in the file, and the checkpoint empties the write-ahead log, where older pages stand. A reader of the file
// who is in the way lets the log stand until the next checkpoint.
func (v *Vault) erase(ctx context.Context, statement string, args ...any) error {
	err := v.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	})
	if err != nil {
		return err
	}
	_ = v.onWriter(ctx, func(c *sql.Conn) error { return emptyLog(context.WithoutCancel(ctx), c) }) // the commit stands
	return nil
}

// emptyLog moves the write-ahead log into the file and cuts it to nothing, without waiting for anybody.
func emptyLog(ctx context.Context, c *sql.Conn) error {
	var wait int
	if err := c.QueryRowContext(ctx, `PRAGMA busy_timeout`).Scan(&wait); err != nil {
		return err
	}
	if _, err := c.ExecContext(ctx, `PRAGMA busy_timeout = 0`); err != nil {
		return err
	}
	_, err := c.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
	_, restored := c.ExecContext(ctx, fmt.Sprintf(`PRAGMA busy_timeout = %d`, wait))
	return errors.Join(err, restored)
}

func (v *Vault) write(ctx context.Context, do func(*sql.Tx) error) error {
	err := v.onWriter(ctx, func(c *sql.Conn) error {
		// The pool may have replaced its connection, and this option belongs to the connection.
		if _, err := c.ExecContext(ctx, `PRAGMA secure_delete = ON`); err != nil {
			return err
		}
		tx, err := c.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := do(tx); err != nil {
			return err
		}
		return tx.Commit()
	})
	return ended(ctx, err)
}

func (v *Vault) onWriter(ctx context.Context, do func(*sql.Conn) error) error {
	c, err := v.writes.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c)
}

// ended prefers the context's error to what the driver makes of it.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
