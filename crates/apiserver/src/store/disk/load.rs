//! From rows to memory, in one pass in the order of revisions, with every check.

use std::sync::Arc;

use rusqlite::{Connection, Row as Columns};

use super::format::{Book, Row, change, fingerprint, parse_key};
use super::{Change, Damage, Entry, History, Memory, Object};

/// Reads and checks everything.
pub(super) fn load(connection: &Connection, book: Book) -> Result<(Memory, History), Damage> {
    let mut loader = Loader {
        memory: Memory::new(book.floor),
        history: History::default(),
        seen: Book {
            floor: book.floor,
            open: book.open,
            ..Book::default()
        },
        newest: 0,
    };
    let select = "SELECT rev, key, op, prev, value, crc FROM entry ORDER BY rev";
    let mut statement = connection.prepare(select).map_err(Damage::Sqlite)?;
    let mut rows = statement.query([]).map_err(Damage::Sqlite)?;
    while let Some(columns) = rows.next().map_err(Damage::Sqlite)? {
        let entry = loader.read(columns)?;
        loader.take(entry)?;
    }
    if loader.seen != book {
        let (expected, found) = (book.rows, loader.seen.rows);
        return Err(Damage::Rows { expected, found });
    }
    Ok((loader.memory, loader.history))
}

struct Loader {
    memory: Memory,
    history: History,
    /// What the book would say of the rows so far.
    seen: Book,
    newest: u64,
}

impl Loader {
    /// Reads the columns `rev, key, op, prev, value, crc`, and checks them by themselves.
    fn read(&mut self, columns: &Columns<'_>) -> Result<Entry, Damage> {
        let rev = columns
            .get(0)
            .map(i64::cast_unsigned)
            .map_err(Damage::Sqlite)?;
        let key = columns.get::<_, String>(1).unwrap_or_default();
        let wrong = || Damage::Row {
            key: key.clone(),
            revision: rev,
        };
        let row = Row {
            rev,
            change: columns.get(2).ok().and_then(change).ok_or_else(wrong)?,
            previous: columns
                .get(3)
                .map(i64::cast_unsigned)
                .map_err(|_| wrong())?,
            value: columns
                .get_ref(4)
                .ok()
                .and_then(|value| value.as_blob().ok())
                .ok_or_else(wrong)?,
            key: key.clone(),
        };
        let checksum = columns.get(5).map_err(|_| wrong())?;
        if row.checksum() != checksum {
            return Err(wrong());
        }
        self.seen.rows += 1;
        self.seen.digest ^= fingerprint(rev, checksum);
        let key = parse_key(&key).ok_or_else(wrong)?;
        Ok(Entry {
            change: row.change,
            object: Arc::new(Object::from_text(rev, &key, row.value.to_vec())),
            previous: row.previous,
            key,
        })
    }

    /// Checks that an entry follows from those before it, and shows it.
    fn take(&mut self, entry: Entry) -> Result<(), Damage> {
        let revision = entry.object.revision;
        let before = self
            .memory
            .get(&entry.key)
            .map_or(0, |object| object.revision);
        if revision <= self.seen.floor {
            // What was before an object of that time is forgotten, and so are deletions.
            if before != 0 || entry.change == Change::Deleted {
                return Err(Damage::row(&entry));
            }
            self.memory.restore(&entry.key.resource, entry.object);
        } else {
            let expected = self.newest.max(self.seen.floor) + 1;
            if revision != expected {
                return Err(Damage::Gap { missing: expected });
            }
            if before != entry.previous || (before == 0) != (entry.change == Change::Added) {
                return Err(Damage::row(&entry));
            }
            self.history
                .extend(std::iter::once(entry.object.text().len()));
            self.memory.apply(vec![entry]);
        }
        self.newest = revision;
        Ok(())
    }
}
