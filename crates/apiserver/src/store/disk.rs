//! The database file: `object` holds what is, `log` what happened lately.
//!
//! Keys are `resource/namespace/name`. The newest row of `log` also carries the revision counter
//! over a restart, since the newest change may have been a deletion.

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde_json::{Map, Value};

use super::memory::Memory;
use super::{Change, Event, Key, Object, OpenError};

/// Format of the file, in SQLite's `user_version`.
const FORMAT: i64 = 1;

/// File mode of the database.
const PRIVATE: u32 = 0o600;

/// Rows of `log` that are kept at least.
const LOG_KEPT: u64 = 4096;

/// How often `log` is cut, in revisions.
const LOG_CUT_EVERY: u64 = 1024;

/// The open database, and the revision of its last row.
#[derive(Debug)]
pub(super) struct Disk {
    connection: Connection,
    pub(super) revision: u64,
}

/// A change with its revision, ready to be stored.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) change: Change,
    pub(super) object: Arc<Object>,
}

pub(super) fn open(path: &Path) -> Result<(Disk, Memory), OpenError> {
    let damaged = |source| OpenError::Damaged {
        path: path.to_owned(),
        source,
    };
    keep_private(path).map_err(|source| super::io(path, source))?;
    let connection = Connection::open(path).map_err(damaged)?;
    let found = prepare(&connection).map_err(damaged)?;
    if found > FORMAT {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: FORMAT,
        });
    }
    let memory = load(&connection, path)?;
    Ok((
        Disk {
            connection,
            revision: memory.revision(),
        },
        memory,
    ))
}

/// Makes the file where there is none, for its owner only: it holds Secrets as they are. SQLite
/// gives new files beside it the same mode; those that a crash left behind have to be changed.
fn keep_private(path: &Path) -> std::io::Result<()> {
    let private = Permissions::from_mode(PRIVATE);
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    let file = options.mode(PRIVATE).open(path)?;
    file.set_permissions(private.clone())?;
    for extension in ["db-wal", "db-shm"] {
        match std::fs::set_permissions(path.with_extension(extension), private.clone()) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Sets the connection up and makes the tables of a new file; returns the file's format.
fn prepare(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    // Reads come from memory; the page cache only serves the writer.
    connection.pragma_update(None, "cache_size", -1024)?;
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == 0 {
        connection.execute_batch(&format!(
            "BEGIN;
             CREATE TABLE object (key TEXT PRIMARY KEY, rev INTEGER NOT NULL, value BLOB NOT NULL)
                 WITHOUT ROWID;
             CREATE TABLE log (rev INTEGER PRIMARY KEY, key TEXT NOT NULL, op INTEGER NOT NULL,
                 value BLOB NOT NULL);
             PRAGMA user_version = {FORMAT};
             COMMIT;"
        ))?;
    }
    Ok(found)
}

fn load(connection: &Connection, path: &Path) -> Result<Memory, OpenError> {
    let loaded = load_objects(connection).and_then(|mut memory| {
        load_log(connection, &mut memory)?;
        Ok(memory)
    });
    let path = path.to_owned();
    loaded.map_err(|error| match error {
        LoadError::Sqlite(source) => OpenError::Damaged { path, source },
        LoadError::Row(key) => OpenError::DamagedRow { path, key },
    })
}

enum LoadError {
    Sqlite(rusqlite::Error),
    /// The key of a row that makes no sense.
    Row(String),
}

impl From<rusqlite::Error> for LoadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn load_objects(connection: &Connection) -> Result<Memory, LoadError> {
    let first = "SELECT rev FROM log ORDER BY rev LIMIT 1";
    let first: Option<i64> = connection
        .query_row(first, [], |row| row.get(0))
        .optional()?;
    let mut memory = Memory::new(first.map_or(0, |rev| rev.cast_unsigned().saturating_sub(1)));
    let mut statement = connection.prepare("SELECT key, rev, value FROM object")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (key, object) = read(row)?;
        memory.restore(key, object);
    }
    Ok(memory)
}

fn load_log(connection: &Connection, memory: &mut Memory) -> Result<(), LoadError> {
    let mut statement = connection.prepare("SELECT key, rev, value, op FROM log ORDER BY rev")?;
    let mut rows = statement.query([])?;
    let mut seen: HashMap<Key, Arc<Object>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let (key, object) = read(row)?;
        let change = change(row.get(3)?).ok_or_else(|| LoadError::Row(key.name.clone()))?;
        let before = seen.insert(key.clone(), Arc::clone(&object));
        // A new object is not the one that had its name before.
        let previous = before.filter(|_| change != Change::Added);
        let event = Event {
            change,
            object,
            previous,
        };
        memory.remember(&key.resource, event);
    }
    Ok(())
}

/// Reads the columns `key, rev, value`.
fn read(row: &Row<'_>) -> Result<(Key, Arc<Object>), LoadError> {
    let (text, revision): (String, i64) = (row.get(0)?, row.get(1)?);
    let json = row.get_ref(2)?.as_blob().ok();
    let json = json.filter(|json| serde_json::from_slice::<Map<String, Value>>(json).is_ok());
    match (parse_key(&text), json) {
        (Some(key), Some(json)) => Ok((
            key,
            Arc::new(Object {
                revision: revision.cast_unsigned(),
                text: Bytes::copy_from_slice(json),
            }),
        )),
        _ => Err(LoadError::Row(text)),
    }
}

impl Disk {
    /// Stores rows in one transaction; they are durable when this returns.
    pub(super) fn commit(&mut self, rows: &[Entry]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let mut newest = self.revision;
        for row in rows {
            insert(&transaction, row)?;
            newest = row.object.revision;
        }
        if newest / LOG_CUT_EVERY > self.revision / LOG_CUT_EVERY {
            let cut = newest.saturating_sub(LOG_KEPT);
            transaction
                .prepare_cached("DELETE FROM log WHERE rev <= ?1")?
                .execute([cut.cast_signed()])?;
        }
        transaction.commit()?;
        self.revision = newest;
        Ok(())
    }
}

fn insert(transaction: &Transaction<'_>, row: &Entry) -> rusqlite::Result<()> {
    let Entry {
        key,
        change,
        object,
    } = row;
    let text = format!("{}/{}/{}", key.resource, key.namespace, key.name);
    if *change == Change::Deleted {
        transaction
            .prepare_cached("DELETE FROM object WHERE key = ?1")?
            .execute([&text])?;
    } else {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO object (key, rev, value) VALUES (?1, ?2, ?3)")?
            .execute(params![
                text,
                object.revision.cast_signed(),
                &object.text[..]
            ])?;
    }
    transaction
        .prepare_cached("INSERT INTO log (rev, key, op, value) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            object.revision.cast_signed(),
            text,
            op(*change),
            &object.text[..]
        ])?;
    Ok(())
}

fn op(change: Change) -> i64 {
    match change {
        Change::Added => 0,
        Change::Modified => 1,
        Change::Deleted => 2,
    }
}

fn change(op: i64) -> Option<Change> {
    [Change::Added, Change::Modified, Change::Deleted]
        .into_iter()
        .find(|c| self::op(*c) == op)
}

fn parse_key(text: &str) -> Option<Key> {
    let mut parts = text.splitn(3, '/');
    let resource = parts.next()?.into();
    Some(Key {
        resource,
        namespace: parts.next()?.into(),
        name: parts.next()?.into(),
    })
}
