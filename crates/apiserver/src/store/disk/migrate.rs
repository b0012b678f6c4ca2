//! From older formats to the newest, in one transaction.
//!
//! Format 1 had the tables `object (key, rev, value)` and `log (rev, key, op, value)`, without
//! checksums. Its history is not taken over: watches that come back are told to list again.

use std::path::Path;

use rusqlite::{Connection, Transaction};

use super::format::{self, Book, Row};
use super::{Change, Damage, OpenError};

/// Makes the newest format of format 1.
pub(super) fn from_1(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let damaged = |damage| OpenError::damaged(path, damage);
    let sqlite = |error| OpenError::sqlite(path, error);
    let transaction = connection.unchecked_transaction().map_err(sqlite)?;
    format::create_tables(&transaction).map_err(sqlite)?;
    copy_objects(&transaction).map_err(damaged)?;
    let drop = "DROP TABLE object; DROP TABLE log;";
    transaction.execute_batch(drop).map_err(sqlite)?;
    transaction.commit().map_err(sqlite)?;
    // New files have it from the start; here it takes a copy of the file.
    connection.execute_batch("VACUUM").map_err(sqlite)
}

fn copy_objects(transaction: &Transaction<'_>) -> Result<(), Damage> {
    let newest = "SELECT max((SELECT ifnull(max(rev), 0) FROM object),
                             (SELECT ifnull(max(rev), 0) FROM log))";
    let newest = transaction.query_row(newest, [], |row| row.get(0).map(i64::cast_unsigned));
    let mut book = Book {
        floor: newest.map_err(Damage::Sqlite)?,
        ..Book::default()
    };
    let select = "SELECT rev, key, value FROM object ORDER BY rev";
    let mut select = transaction.prepare(select).map_err(Damage::Sqlite)?;
    let mut rows = select.query([]).map_err(Damage::Sqlite)?;
    while let Some(columns) = rows.next().map_err(Damage::Sqlite)? {
        let rev = columns
            .get(0)
            .map(i64::cast_unsigned)
            .map_err(Damage::Sqlite)?;
        let key: String = columns.get(1).map_err(Damage::Sqlite)?;
        let value = columns
            .get_ref(2)
            .map_err(Damage::Sqlite)?
            .as_blob()
            .unwrap_or_default();
        if serde_json::from_slice::<serde::de::IgnoredAny>(value).is_err() {
            return Err(Damage::Row { key, revision: rev });
        }
        let row = Row {
            rev,
            key,
            change: Change::Added,
            previous: 0,
            value,
        };
        row.insert(transaction).map_err(Damage::Sqlite)?;
        book.add(&row);
    }
    book.write(transaction).map_err(Damage::Sqlite)
}
