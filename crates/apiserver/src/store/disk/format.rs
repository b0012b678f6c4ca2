//! Rows, their checksums, and the tables of the newest format.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Change, Damage, Entry, Key};

/// The newest format, in SQLite's `user_version`.
pub(in super::super) const FORMAT: i64 = 2;

/// A row of `entry`, without its checksum.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) rev: u64,
    /// `resource/namespace/name`.
    pub(super) key: String,
    pub(super) change: Change,
    pub(super) previous: u64,
    /// The object as JSON text.
    pub(super) value: &'a [u8],
}

impl<'a> From<&'a Entry> for Row<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            rev: entry.object.revision,
            key: key_text(&entry.key),
            change: entry.change,
            previous: entry.previous,
            value: entry.object.text(),
        }
    }
}

impl Row<'_> {
    /// The checksum over every column.
    pub(super) fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.rev.to_le_bytes());
        hasher.update(&self.previous.to_le_bytes());
        hasher.update(&op(self.change).to_le_bytes());
        hasher.update(&self.key.len().to_le_bytes());
        hasher.update(self.key.as_bytes());
        hasher.update(self.value);
        hasher.finalize()
    }

    pub(super) fn insert(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let insert = "INSERT INTO entry (rev, key, op, prev, value, crc)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        transaction.prepare_cached(insert)?.execute(params![
            self.rev.cast_signed(),
            self.key,
            op(self.change),
            self.previous.cast_signed(),
            self.value,
            self.checksum()
        ])?;
        Ok(())
    }
}

/// The row of `book`: what `entry` as a whole must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Book {
    /// Every change after this revision is in `entry`, and nothing newer than it was lost.
    pub(super) floor: u64,
    /// Number of rows.
    pub(super) rows: u64,
    /// The fingerprints of all rows, exclusively or'ed.
    pub(super) digest: u64,
    /// Whether SQLite's log belongs to the database: it was not closed.
    pub(super) open: bool,
}

impl Book {
    pub(super) fn add(&mut self, row: &Row<'_>) {
        self.rows += 1;
        self.digest ^= fingerprint(row.rev, row.checksum());
    }

    /// Forgets the history up to a revision: the states that were replaced, and the deletions.
    pub(super) fn raise_floor(
        &mut self,
        transaction: &Transaction<'_>,
        floor: u64,
    ) -> rusqlite::Result<()> {
        let range = [self.floor.cast_signed(), floor.cast_signed()];
        let select = "SELECT rev, prev, op FROM entry WHERE rev > ?1 AND rev <= ?2";
        let mut select = transaction.prepare_cached(select)?;
        let mut gone = Vec::new();
        let mut rows = select.query(range)?;
        while let Some(row) = rows.next()? {
            let (rev, previous, op): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            gone.extend((previous > 0).then_some(previous));
            gone.extend((change(op) == Some(Change::Deleted)).then_some(rev));
        }
        let delete = "DELETE FROM entry WHERE rev = ?1 RETURNING crc";
        let mut delete = transaction.prepare_cached(delete)?;
        for rev in gone {
            let checksum = delete.query_row([rev], |row| row.get(0))?;
            self.rows = self.rows.saturating_sub(1);
            self.digest ^= fingerprint(rev.cast_unsigned(), checksum);
        }
        self.floor = floor;
        Ok(())
    }

    pub(super) fn read(connection: &Connection) -> Result<Self, Damage> {
        let select = "SELECT floor, entries, digest, open, crc FROM book";
        let read = connection
            .query_row(select, [], |row| {
                let number = |column| row.get(column).map(i64::cast_unsigned);
                let book = Self {
                    floor: number(0)?,
                    rows: number(1)?,
                    digest: number(2)?,
                    open: row.get(3)?,
                };
                Ok((book, row.get::<_, u32>(4)?))
            })
            .optional()
            .map_err(Damage::Sqlite)?;
        match read {
            Some((book, checksum)) if checksum == book.checksum() => Ok(book),
            _ => Err(Damage::Book),
        }
    }

    pub(super) fn write(self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let replace = "INSERT OR REPLACE INTO book (id, floor, entries, digest, open, crc)
                       VALUES (1, ?1, ?2, ?3, ?4, ?5)";
        transaction.prepare_cached(replace)?.execute(params![
            self.floor.cast_signed(),
            self.rows.cast_signed(),
            self.digest.cast_signed(),
            self.open,
            self.checksum()
        ])?;
        Ok(())
    }

    fn checksum(self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for number in [self.floor, self.rows, self.digest, self.open.into()] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.finalize()
    }
}

/// What a row adds to the digest of all rows: a well mixed function (that of splitmix64) of its
/// revision and checksum, so that no two likely faults cancel each other out.
pub(super) fn fingerprint(rev: u64, checksum: u32) -> u64 {
    let mut mixed = rev.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(checksum);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The format of a file; 0 for an empty one.
pub(in super::super) fn found(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Makes the tables of a new file.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    create_tables(&transaction)?;
    Book::default().write(&transaction)?;
    transaction.commit()
}

pub(super) fn create_tables(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(&format!(
        "CREATE TABLE entry (rev INTEGER PRIMARY KEY, key TEXT NOT NULL, op INTEGER NOT NULL,
             prev INTEGER NOT NULL, value BLOB NOT NULL, crc INTEGER NOT NULL);
         CREATE TABLE book (id INTEGER PRIMARY KEY CHECK (id = 1), floor INTEGER NOT NULL,
             entries INTEGER NOT NULL, digest INTEGER NOT NULL, open INTEGER NOT NULL,
             crc INTEGER NOT NULL);
         PRAGMA user_version = {FORMAT};"
    ))
}

fn op(change: Change) -> i64 {
    match change {
        Change::Added => 0,
        Change::Modified => 1,
        Change::Deleted => 2,
    }
}

pub(super) fn change(op: i64) -> Option<Change> {
    let all = [Change::Added, Change::Modified, Change::Deleted];
    all.into_iter().find(|change| self::op(*change) == op)
}

pub(in super::super) fn key_text(key: &Key) -> String {
    format!("{}/{}/{}", key.resource, key.namespace, key.name)
}

pub(super) fn parse_key(text: &str) -> Option<Key> {
    let mut parts = text.splitn(3, '/');
    Some(Key {
        resource: parts.next()?.into(),
        namespace: parts.next()?.into(),
        name: parts.next()?.into(),
    })
}
