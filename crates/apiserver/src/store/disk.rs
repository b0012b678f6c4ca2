//! The database file: one table, `entry`, with a row for each change that is still of use.
//!
//! A row is the state of an object from one revision on, or its deletion, and it names the revision
//! of the state before. So a write is one row at the end of the table, whatever it changes; the
//! objects are the newest rows of their keys, and the history is the rows after the `floor`.
//! Raising the floor is all that compaction is: the states that were replaced up to there go.
//!
//! ```text
//! rev  key                   op       prev
//!   3  configmaps/default/a  Added       0   replaced at 5, but kept: the floor is lower
//!   4  configmaps/default/b  Added       0   an object of today
//!      ------------------------------------  floor: history starts here
//!   5  configmaps/default/a  Modified    3   an object of today
//! ```
//!
//! The table `book` has one row: the floor, and a count and a fingerprint of the rows of `entry`.
//! With the checksum of each row, the gapless revisions after the floor and the chain of `prev`,
//! [`open`] finds out whether anything was changed, lost or put back by a failing disk.
//!
//! * `format`: rows, checksums and tables; `migrate`: from older formats
//! * `load`: from rows to memory, with every check
//! * `wal`: damage in SQLite's log, which SQLite itself takes for its end

mod format;
mod load;
mod migrate;
mod wal;

use std::collections::VecDeque;
use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::memory::Memory;
use super::{Change, Damage, Key, Object, OpenError, Snapshot};
use format::{Book, Row};
pub(super) use format::{FORMAT, found as found_format, key_text};

/// File mode of the database.
const PRIVATE: u32 = 0o600;

/// Most changes in the history on disk.
const HISTORY: usize = 16 * 1024;

/// Most bytes of objects in the history on disk.
const HISTORY_BYTES: usize = 64 * 1024 * 1024;

/// By how many changes the history is cut at a time.
const CUT: usize = 256;

/// Pages in SQLite's log after which they are copied to the database.
const CHECKPOINT_PAGES: usize = 1000;

/// Pages after which SQLite does it by itself, within a transaction that is very large.
const AUTO_CHECKPOINT_PAGES: i64 = 4000;

/// SQLite's log is cut to this size when it begins anew.
const WAL_BYTES: i64 = 8 * 1024 * 1024;

/// SQLite's page size.
const PAGE: usize = 4096;

/// Free pages that are left in the file for the next writes.
const FREE_PAGES: i64 = 1024;

/// The open database, and the revision of its last row.
#[derive(Debug)]
pub(super) struct Disk {
    connection: Connection,
    pub(super) path: PathBuf,
    pub(super) revision: u64,
    book: Book,
    history: History,
    /// About how many pages SQLite's log holds that are not in the database.
    pages: usize,
}

/// A change with its revision, ready to be stored.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) change: Change,
    pub(super) object: Arc<Object>,
    /// The revision of the state that it replaces; 0 for [`Change::Added`].
    pub(super) previous: u64,
}

/// Sizes of the rows after the floor, oldest first.
#[derive(Debug, Default)]
struct History {
    sizes: VecDeque<usize>,
    bytes: usize,
}

/// Opens or makes the database, checks all of it, and loads it.
pub(super) fn open(path: &Path) -> Result<(Disk, Memory), OpenError> {
    let damaged = |damage| OpenError::damaged(path, damage);
    let sqlite = |error| OpenError::sqlite(path, error);
    // To be asked before SQLite makes it.
    let wal = path.with_extension("db-wal");
    let had_wal = wal.exists();
    keep_private(path).map_err(|source| super::io(path, source))?;
    wal::check(&wal)
        .map_err(|source| super::io(&wal, source))?
        .map_err(damaged)?;
    let connection = Connection::open(path).map_err(sqlite)?;
    prepare(&connection).map_err(sqlite)?;
    let found = format::found(&connection).map_err(sqlite)?;
    match found {
        0 => format::create(&connection).map_err(sqlite)?,
        FORMAT => {}
        1 => migrate::from_1(&connection, path)?,
        _ => {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                found,
                known: FORMAT,
            });
        }
    }
    let book = Book::read(&connection).map_err(damaged)?;
    if book.open && found == FORMAT && !had_wal {
        return Err(damaged(Damage::NoLog(wal)));
    }
    let (memory, history) = load::load(&connection, book).map_err(damaged)?;
    let revision = memory.revision();
    let path = path.to_owned();
    let mut disk = Disk {
        connection,
        path,
        revision,
        book,
        history,
        pages: 0,
    };
    // SQLite quietly works without the log when it cannot write it, and goes on when it cannot make
    // its name durable.
    wal.metadata().map_err(|source| super::io(&wal, source))?;
    sync_folder(&disk.path).map_err(|source| super::io(&disk.path, source))?;
    disk.mark_open().map_err(sqlite)?;
    Ok((disk, memory))
}

/// The newest revision and the objects of a file, which is checked as a database is.
pub(super) fn read_all(connection: &Connection) -> Result<Snapshot, Damage> {
    let book = Book::read(connection)?;
    let (memory, _) = load::load(connection, book)?;
    Ok(memory.snapshot())
}

/// Writes objects, oldest first, to a file that is empty. It is durable once it is synced.
pub(super) fn write_all(
    path: &Path,
    floor: u64,
    objects: &[(Key, Arc<Object>)],
) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "auto_vacuum", "incremental")?;
    // Whoever is interrupted here throws the file away.
    connection.pragma_update(None, "journal_mode", "off")?;
    connection.pragma_update(None, "synchronous", "off")?;
    format::create(&connection)?;
    let mut book = Book {
        floor,
        ..Book::default()
    };
    let transaction = connection.transaction()?;
    for (key, object) in objects {
        let row = Row {
            rev: object.revision,
            key: key_text(key),
            change: Change::Added,
            previous: 0,
            value: object.text(),
        };
        row.insert(&transaction)?;
        book.add(&row);
    }
    book.write(&transaction)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

/// The highest revision that can still be read in a file that may be damaged, or have an older format.
pub(super) fn highest_revision(path: &Path) -> Option<u64> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let highest = |table| {
        let select = format!("SELECT max(rev) FROM {table}");
        let read = connection.query_row(&select, [], |row| row.get::<_, i64>(0));
        read.ok().map(i64::cast_unsigned)
    };
    let floor = Book::read(&connection).ok().map(|book| book.floor);
    floor.max(
        ["entry", "object", "log"]
            .into_iter()
            .filter_map(highest)
            .max(),
    )
}

/// Makes a new file for its owner only.
pub(super) fn create_private(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(path)
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

/// Makes the names of the database's files durable.
fn sync_folder(database: &Path) -> std::io::Result<()> {
    match database.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    // Only `Disk::close` takes the log away.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Takes effect in a new file only, and only before the next line.
    connection.pragma_update(None, "auto_vacuum", "incremental")?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    // Normally `Disk::tidy` is faster, and does it when nobody waits.
    connection.pragma_update(None, "wal_autocheckpoint", AUTO_CHECKPOINT_PAGES)?;
    // Reads come from memory; the page cache only serves the writer.
    connection.pragma_update(None, "cache_size", -1024)
}

impl Disk {
    /// Stores changes in one transaction; they are durable when this returns. After an error
    /// nothing of them is stored as far as this process sees; [`Disk::settle`] makes that certain.
    pub(super) fn commit(&mut self, entries: &[Entry]) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut book = self.book;
        let mut newest = self.revision;
        for entry in entries {
            let row = Row::from(entry);
            row.insert(&transaction)?;
            book.add(&row);
            newest = row.rev;
        }
        let sizes = entries.iter().map(|entry| entry.object.text().len());
        let forgotten = self.history.surplus(sizes.clone());
        if forgotten > 0 {
            book.raise_floor(&transaction, self.book.floor + forgotten as u64)?;
            shrink(&transaction)?;
        }
        book.write(&transaction)?;
        transaction.commit()?;
        self.book = book;
        self.revision = newest;
        self.pages += 3 + sizes.clone().map(|size| 1 + size / PAGE).sum::<usize>();
        self.history.extend(sizes);
        self.history.forget(forgotten);
        Ok(())
    }

    /// Copies SQLite's log to the database when it has become long, so that it can begin anew.
    pub(super) fn tidy(&mut self) -> rusqlite::Result<()> {
        if self.pages < CHECKPOINT_PAGES {
            return Ok(());
        }
        self.checkpoint("PASSIVE")?;
        self.pages = 0;
        Ok(())
    }

    /// Makes certain, after a failed commit, that nothing of it is ever found, and that the disk
    /// can be written again.
    ///
    /// The failed transaction may be in SQLite's log, whole and with its end mark, so that the next
    /// to open the file would take it as done. Here the log is known to end before: what is good of
    /// it goes to the database, it is emptied, and the write that begins it anew is synced.
    pub(super) fn settle(&mut self) -> rusqlite::Result<()> {
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        self.checkpoint("TRUNCATE")?;
        self.pages = 0;
        self.write_book(self.book)
    }

    /// Tells the next to open the file that all is in the database, and no log belongs to it.
    pub(super) fn close(mut self) -> rusqlite::Result<()> {
        self.write_book(Book {
            open: false,
            ..self.book
        })?;
        let config = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        self.connection.set_db_config(config, false)?;
        self.connection.close().map_err(|(_, error)| error)
    }

    /// Notes in the database itself that SQLite's log belongs to it from now on.
    /// It begins anew, so that what a crash left in it cannot be mixed up with what comes.
    fn mark_open(&mut self) -> rusqlite::Result<()> {
        if !self.book.open {
            self.write_book(Book {
                open: true,
                ..self.book
            })?;
        }
        self.checkpoint("TRUNCATE")
    }

    fn write_book(&mut self, book: Book) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        book.write(&transaction)?;
        transaction.commit()?;
        self.book = book;
        Ok(())
    }

    fn checkpoint(&self, mode: &str) -> rusqlite::Result<()> {
        let pragma = format!("PRAGMA wal_checkpoint({mode})");
        self.connection.query_row(&pragma, [], |_| Ok(()))
    }
}

/// Gives free pages back to the file system, a few at a time.
fn shrink(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let count = |pragma| transaction.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (free, all) = (count("freelist_count")?, count("page_count")?);
    if free < FREE_PAGES || free < all / 4 {
        return Ok(());
    }
    let mut statement = transaction.prepare_cached("PRAGMA incremental_vacuum(256)")?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

impl History {
    /// How many of the oldest rows are too many once `more` have come.
    fn surplus(&self, more: impl Iterator<Item = usize> + Clone) -> usize {
        let mut rows = self.sizes.len() + more.clone().count();
        let mut bytes = self.bytes + more.clone().sum::<usize>();
        if rows <= HISTORY + CUT && bytes <= HISTORY_BYTES + HISTORY_BYTES / 8 {
            return 0;
        }
        let all = self.sizes.iter().copied().chain(more);
        let surplus = all.take_while(|size| {
            let is_surplus = rows > HISTORY || bytes > HISTORY_BYTES;
            rows -= 1;
            bytes -= size;
            is_surplus
        });
        surplus.count()
    }

    fn extend(&mut self, sizes: impl Iterator<Item = usize> + Clone) {
        self.bytes += sizes.clone().sum::<usize>();
        self.sizes.extend(sizes);
    }

    fn forget(&mut self, rows: usize) {
        self.bytes -= self.sizes.drain(..rows).sum::<usize>();
    }
}

#[cfg(test)]
mod tests;
