//! Damage of every kind is found and named; history is bounded; older formats are read.

use std::os::unix::fs::FileExt as _;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::writer::stamp;
use super::*;

fn key(name: &str) -> Key {
    Key {
        resource: "configmaps".into(),
        namespace: "default".into(),
        name: name.into(),
    }
}

fn value(data: &str) -> Value {
    json!({"metadata": {}, "data": {"a": data}})
}

/// A database with a few objects in a folder of its own.
struct Fixture {
    dir: TempDir,
    disk: Option<Disk>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = open(&dir.path().join("state.db")).unwrap().0;
        Self {
            dir,
            disk: Some(disk),
        }
    }

    /// With the changes 1 to 5: `a` created and changed, `b` created, `c` created and deleted.
    fn filled() -> Self {
        let mut fixture = Self::new();
        fixture.put("a", Change::Added, 0, "1");
        fixture.put("b", Change::Added, 0, "2");
        fixture.put("a", Change::Modified, 1, "3");
        fixture.put("c", Change::Added, 0, "4");
        fixture.put("c", Change::Deleted, 4, "4");
        fixture
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("state.db")
    }

    fn wal(&self) -> PathBuf {
        self.path().with_extension("db-wal")
    }

    fn put(&mut self, name: &str, change: Change, previous: u64, data: &str) {
        let disk = self.disk.as_mut().unwrap();
        let entry = Entry {
            key: key(name),
            change,
            object: Arc::new(stamp(&key(name), value(data), disk.revision + 1)),
            previous,
        };
        disk.commit(&[entry]).unwrap();
    }

    /// Leaves the files as a killed process does.
    fn kill(&mut self) {
        drop(self.disk.take());
    }

    fn close(&mut self) {
        self.disk.take().unwrap().close().unwrap();
    }

    /// Changes the closed file behind the program's back.
    fn tamper(&mut self, sql: &str) {
        self.close();
        let connection = Connection::open(self.path()).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    #[track_caller]
    fn damage(&self) -> Damage {
        match open(&self.path()) {
            Err(OpenError::Damaged { damage, .. }) => damage,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("no damage was found"),
        }
    }
}

#[test]
fn a_flipped_bit_in_a_row_is_found_and_the_object_is_named() {
    let mut fixture = Fixture::filled();
    fixture.tamper("UPDATE entry SET value = CAST(replace(CAST(value AS TEXT), '3', '7') AS BLOB)");
    let damage = fixture.damage();
    assert!(
        matches!(&damage, Damage::Row { key, revision: 3 } if key == "configmaps/default/a"),
        "{damage}"
    );
}

#[test]
fn each_column_of_a_row_is_checked() {
    for change in [
        "key = 'configmaps/default/x'",
        "op = 1",
        "op = 7",
        "prev = 2",
        "value = x'7b'",
    ] {
        let mut fixture = Fixture::filled();
        fixture.tamper(&format!("UPDATE entry SET {change} WHERE rev = 2"));
        let damage = fixture.damage();
        assert!(
            matches!(damage, Damage::Row { revision: 2, .. }),
            "{change}: {damage}"
        );
    }
}

#[test]
fn lost_changes_are_found() {
    for (lost, missing) in [("rev = 2", 2), ("rev = 4", 4), ("rev < 3", 1)] {
        let mut fixture = Fixture::filled();
        fixture.tamper(&format!("DELETE FROM entry WHERE {lost}"));
        let damage = fixture.damage();
        assert!(
            matches!(damage, Damage::Gap { missing: found } if found == missing),
            "{damage}"
        );
    }
    let mut fixture = Fixture::filled();
    fixture.tamper("DELETE FROM entry WHERE rev = 5");
    let damage = fixture.damage();
    assert!(
        matches!(
            damage,
            Damage::Rows {
                expected: 5,
                found: 4
            }
        ),
        "{damage}"
    );
}

#[test]
fn a_lost_object_behind_the_floor_is_found() {
    let mut fixture = Fixture::filled();
    let disk = fixture.disk.as_mut().unwrap();
    let transaction = disk.connection.transaction().unwrap();
    let mut book = disk.book;
    book.raise_floor(&transaction, 5).unwrap();
    book.write(&transaction).unwrap();
    transaction.commit().unwrap();
    disk.book = book;
    fixture.close();
    let (disk, memory) = open(&fixture.path()).unwrap();
    assert_eq!((disk.revision, disk.book.rows), (5, 2));
    assert_eq!(memory.get(&key("a")).unwrap().revision, 3);
    fixture.disk = Some(disk);
    fixture.tamper("DELETE FROM entry WHERE rev = 2");
    let damage = fixture.damage();
    assert!(
        matches!(
            damage,
            Damage::Rows {
                expected: 2,
                found: 1
            }
        ),
        "{damage}"
    );
}

#[test]
fn a_changed_table_of_contents_is_found() {
    for change in [
        "UPDATE book SET floor = 3",
        "UPDATE book SET entries = 9",
        "DELETE FROM book",
    ] {
        let mut fixture = Fixture::filled();
        fixture.tamper(change);
        assert!(matches!(fixture.damage(), Damage::Book), "{change}");
    }
}

#[test]
fn a_truncated_file_is_found() {
    let mut fixture = Fixture::filled();
    fixture.close();
    let file = File::options().write(true).open(fixture.path()).unwrap();
    let length = file.metadata().unwrap().len();
    for pages in 1..length / PAGE as u64 {
        file.set_len(length - pages * PAGE as u64).unwrap();
        fixture.damage();
    }
    file.set_len(length / 2 + 17).unwrap();
    fixture.damage();
}

#[test]
fn a_torn_page_is_found() {
    let mut fixture = Fixture::filled();
    for n in 0..200 {
        fixture.put(&format!("n{n}"), Change::Added, 0, &"x".repeat(300));
    }
    fixture.close();
    let file = File::options().write(true).open(fixture.path()).unwrap();
    let pages = file.metadata().unwrap().len() / PAGE as u64;
    let whole = std::fs::read(fixture.path()).unwrap();
    for page in 0..pages {
        let offset = page * PAGE as u64 + 512;
        file.write_all_at(&[0; 3584], offset).unwrap();
        if std::fs::read(fixture.path()).unwrap() != whole && open(&fixture.path()).is_ok() {
            let rest = &whole[usize::try_from(offset).unwrap()..][..3584];
            panic!(
                "page {page} was torn, {} bytes of it in use",
                rest.iter().filter(|b| **b != 0).count()
            );
        }
        std::fs::write(fixture.path(), &whole).unwrap();
        let _ = std::fs::remove_file(fixture.wal());
    }
}

#[test]
fn a_log_that_was_taken_away_is_missed() {
    let mut fixture = Fixture::filled();
    fixture.kill();
    std::fs::remove_file(fixture.wal()).unwrap();
    let damage = fixture.damage();
    assert!(matches!(damage, Damage::NoLog(_)), "{damage}");

    // After a proper end there is none.
    let mut fixture = Fixture::filled();
    fixture.close();
    assert!(!fixture.wal().exists());
    open(&fixture.path()).unwrap();
}

#[test]
fn damage_within_the_log_is_no_end_of_it() {
    let mut fixture = Fixture::filled();
    fixture.kill();
    let whole = std::fs::read(fixture.wal()).unwrap();
    let opens_with = |bytes: &[u8]| {
        let copy = tempfile::tempdir().unwrap();
        let path = copy.path().join("state.db");
        std::fs::copy(fixture.path(), &path).unwrap();
        std::fs::write(copy.path().join("state.db-wal"), bytes).unwrap();
        open(&path).map(|(disk, _)| disk.revision)
    };
    assert_eq!(opens_with(&whole).unwrap(), 5);
    // In the first of many transactions: those behind it would be lost.
    let mut bytes = whole.clone();
    bytes[32 + 24 + 100] ^= 1;
    let found = opens_with(&bytes);
    let Err(OpenError::Damaged {
        damage: Damage::Log { offset, .. },
        ..
    }) = found
    else {
        panic!("{found:?}")
    };
    assert_eq!(offset, 32);
    let mut bytes = whole.clone();
    bytes[17] ^= 1;
    opens_with(&bytes).unwrap_err();
    // A last transaction that was cut off was never acknowledged.
    assert_eq!(opens_with(&whole[..whole.len() - 100]).unwrap(), 4);
}

#[test]
fn history_is_bounded_and_objects_stay() {
    let mut fixture = Fixture::new();
    fixture.put("old", Change::Added, 0, "1");
    let mut previous = 0;
    let rounds = HISTORY / CUT + 3;
    for round in 0..rounds {
        let disk = fixture.disk.as_mut().unwrap();
        let entries: Vec<_> = (0..CUT)
            .map(|n| {
                let revision = disk.revision + 1 + n as u64;
                let change = if previous == 0 {
                    Change::Added
                } else {
                    Change::Modified
                };
                let object = Arc::new(stamp(&key("a"), value(&round.to_string()), revision));
                let entry = Entry {
                    key: key("a"),
                    change,
                    object,
                    previous,
                };
                previous = revision;
                entry
            })
            .collect();
        disk.commit(&entries).unwrap();
        disk.tidy().unwrap();
    }
    let disk = fixture.disk.as_ref().unwrap();
    let newest = disk.revision;
    assert_eq!(newest, 1 + (rounds * CUT) as u64);
    assert!(disk.history.sizes.len() <= HISTORY + CUT);
    assert!(
        disk.book.rows <= (HISTORY + CUT + 2) as u64,
        "{:?}",
        disk.book
    );
    assert!(fixture.wal().metadata().unwrap().len() <= WAL_BYTES.cast_unsigned());
    fixture.kill();
    let (disk, memory) = open(&fixture.path()).unwrap();
    assert_eq!(disk.revision, newest);
    assert_eq!(memory.get(&key("old")).unwrap().revision, 1);
    assert_eq!(memory.get(&key("a")).unwrap().revision, newest);
    assert_eq!(disk.history.sizes.len() as u64, newest - disk.book.floor);
}

#[test]
fn history_is_bounded_in_bytes() {
    let mut history = History::default();
    let large = HISTORY_BYTES / 4;
    for _ in 0..100 {
        let surplus = history.surplus(std::iter::once(large));
        history.extend(std::iter::once(large));
        history.forget(surplus);
        assert!(history.bytes <= HISTORY_BYTES + HISTORY_BYTES / 8);
    }
    assert_eq!(history.sizes.len(), 4);
}

#[test]
fn space_of_deleted_objects_is_given_back() {
    let mut fixture = Fixture::new();
    let large = "x".repeat(100_000);
    for n in 0..400 {
        fixture.put(&format!("n{n}"), Change::Added, 0, &large);
    }
    for n in 0..400 {
        fixture.put(&format!("n{n}"), Change::Deleted, n + 1, "");
    }
    let full = fixture.path().metadata().unwrap().len();
    let mut revision = 800;
    for _ in 0..(HISTORY / CUT + 40) {
        let disk = fixture.disk.as_mut().unwrap();
        let entries: Vec<_> = (1..=CUT as u64)
            .map(|n| Entry {
                key: key(&format!("small{}", revision + n)),
                change: Change::Added,
                object: Arc::new(stamp(&key("small"), value(""), revision + n)),
                previous: 0,
            })
            .collect();
        revision += CUT as u64;
        disk.commit(&entries).unwrap();
        disk.tidy().unwrap();
    }
    fixture.close();
    let now = fixture.path().metadata().unwrap().len();
    assert!(
        full > 40_000_000 && now < full / 2,
        "{full} bytes, then {now}"
    );
}

#[test]
fn a_file_of_format_1_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(
        "PRAGMA journal_mode = wal;
        CREATE TABLE object (key TEXT PRIMARY KEY, rev INTEGER NOT NULL, value BLOB NOT NULL)
            WITHOUT ROWID;
        CREATE TABLE log (rev INTEGER PRIMARY KEY, key TEXT NOT NULL, op INTEGER NOT NULL,
            value BLOB NOT NULL);
        PRAGMA user_version = 1;
        INSERT INTO object VALUES ('configmaps/default/b', 7, x'7b7d'),
            ('configmaps/default/a', 9, x'7b7d');
        INSERT INTO log VALUES (9, 'configmaps/default/a', 1, x'7b7d'),
            (10, 'configmaps/default/c', 2, x'7b7d');",
    )
    .unwrap();
    drop(old);
    for _ in 0..2 {
        let (disk, memory) = open(&path).unwrap();
        assert_eq!(
            (disk.revision, disk.book.floor, disk.book.rows),
            (10, 10, 2)
        );
        assert_eq!(memory.get(&key("a")).unwrap().revision, 9);
        assert_eq!(memory.get(&key("b")).unwrap().text(), "{}");
    }
}

#[test]
fn a_newer_format_is_left_alone() {
    let mut fixture = Fixture::filled();
    fixture.tamper("PRAGMA user_version = 3");
    let error = open(&fixture.path()).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Newer {
                found: 3,
                known: 2,
                ..
            }
        ),
        "{error}"
    );
}
