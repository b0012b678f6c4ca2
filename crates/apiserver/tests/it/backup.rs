//! Backups: taken under load, restored while clients watch, and put in the place of what is damaged.

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::faults::{Failure, FailureKind, Interposer, from_environment, trace};
use bytes::Bytes;
use http::{Request, StatusCode};
use longshore_apiserver::extend::Extensions;
use longshore_apiserver::store::{
    self, Backup, BackupError, Change, Key, Outcome, Store, Write, WriteError,
};
use serde_json::{Value, json};

use crate::api::Api;

fn key(name: &str) -> Key {
    crate::load::key(name)
}

fn value(name: &str, uid: &str, data: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "uid": uid}, "data": {"a": data}})
}

async fn create(store: &Store, name: &str, data: &str) {
    let uid = format!("{name}-{data}");
    let write = Write::Create(value(name, &uid, data));
    store.write(key(name), write).await.unwrap();
}

async fn update(store: &Store, name: &str, data: &str) {
    let present = store.get(&key(name)).unwrap();
    let mut value = present.value();
    value["data"]["a"] = data.into();
    store
        .write(key(name), Write::Update(present.revision, value))
        .await
        .unwrap();
}

async fn delete(store: &Store, name: &str) {
    let present = store.get(&key(name)).unwrap();
    let write = Write::Delete(present.revision, present.value());
    store.write(key(name), write).await.unwrap();
}

/// Keeps a backup under a name.
fn save(store: &Store, path: &Path) {
    let mut file = store.backup().unwrap();
    let mut copy = std::fs::File::create(path).unwrap();
    std::io::copy(&mut file, &mut copy).unwrap();
}

fn contents(store: &Store) -> Vec<(String, String)> {
    let objects = store.list("configmaps", None);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let objects = objects.iter().map(|object| object.value());
    objects
        .map(|o| (text(&o["metadata"]["name"]), text(&o["data"]["a"])))
        .collect()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter()
        .map(|(name, data)| ((*name).into(), (*data).into()))
        .collect()
}

/// A store whose objects a, b and c are in a backup, and were changed since.
async fn changed(dir: &Path) -> (Store, PathBuf) {
    let store = Store::open(&dir.join("data")).unwrap();
    for name in ["a", "b", "c", "same"] {
        create(&store, name, "1").await;
    }
    let file = dir.join("backup");
    save(&store, &file);
    update(&store, "a", "2").await;
    delete(&store, "b").await;
    delete(&store, "c").await;
    create(&store, "c", "new").await;
    create(&store, "d", "new").await;
    (store, file)
}

const BEFORE: [(&str, &str); 4] = [("a", "1"), ("b", "1"), ("c", "1"), ("same", "1")];

#[tokio::test]
async fn a_restore_is_a_set_of_ordinary_changes_at_new_revisions() {
    let dir = tempfile::tempdir().unwrap();
    let (store, file) = changed(dir.path()).await;
    let newest = store.revision();
    let restored = store.restore(Backup::read(&file).unwrap()).await.unwrap();
    let counts = [
        restored.created,
        restored.updated,
        restored.deleted,
        restored.unchanged,
    ];
    assert_eq!(counts, [1, 2, 1, 1]);
    assert_eq!(contents(&store), pairs(&BEFORE));
    let events = store.watch("configmaps", newest).take().unwrap();
    let seen: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.change,
                event.object.value()["metadata"]["name"].clone(),
            )
        })
        .collect();
    let expected = [
        (Change::Deleted, json!("d")),
        (Change::Modified, json!("a")),
        (Change::Added, json!("b")),
        (Change::Deleted, json!("c")),
        (Change::Added, json!("c")),
    ];
    // The order between names is that of the backup; `a` was written first there.
    assert_eq!(seen, expected);
    let revisions = events.iter().map(|event| event.object.revision);
    assert!(revisions.eq(newest + 1..=newest + 5));
    assert_eq!(
        store.get(&key("b")).unwrap().value()["metadata"]["uid"],
        "b-1"
    );

    let again = store.restore(Backup::read(&file).unwrap()).await.unwrap();
    assert_eq!((again.unchanged, again.revision), (4, newest + 5));
    store.close();
    assert_eq!(
        contents(&Store::open(&dir.path().join("data")).unwrap()),
        pairs(&BEFORE)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_shows_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&dir.path().join("data")).unwrap());
    create(&store, "first", "0").await;
    create(&store, "second", "0").await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        async move {
            for n in 1.. {
                update(&store, "first", &n.to_string()).await;
                update(&store, "second", &n.to_string()).await;
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
    });
    for n in 0..10 {
        let file = dir.path().join(format!("backup-{n}"));
        tokio::task::block_in_place(|| save(&store, &file));
        let copy = dir.path().join(format!("copy-{n}"));
        let outcome = store::restore(&copy, Backup::read(&file).unwrap());
        assert!(matches!(
            outcome.await.unwrap(),
            Outcome::Replaced {
                objects: 2,
                moved: None,
                ..
            }
        ));
        let copy = Store::open(&copy).unwrap();
        let found = contents(&copy);
        let number = |at: usize| found[at].1.parse::<u64>().unwrap();
        assert!(
            number(0) == number(1) || number(0) == number(1) + 1,
            "{found:?}"
        );
    }
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    let left = std::fs::read_dir(dir.path().join("data")).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        names
            .iter()
            .all(|name| !name.to_string_lossy().contains("temporary")),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_damaged_database_is_kept_aside_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (store, file) = changed(dir.path()).await;
    let newest = store.revision();
    store.close();
    let data = dir.path().join("data");
    let database = std::fs::File::options()
        .write(true)
        .open(data.join("state.db"))
        .unwrap();
    let damage = vec![0x55; 2000];
    for page in 1..database.metadata().unwrap().len() / 4096 {
        database.write_all_at(&damage, page * 4096 + 1000).unwrap();
    }
    let error = Store::open(&data).unwrap_err().to_string();
    assert!(error.contains("longshore restore FILE"), "{error}");

    let outcome = store::restore(&data, Backup::read(&file).unwrap())
        .await
        .unwrap();
    let Outcome::Replaced {
        objects: 4,
        revision,
        moved: Some(moved),
    } = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(moved, data.join("state.db.damaged-1"));
    assert!(moved.exists() && revision > newest);
    let store = Store::open(&data).unwrap();
    assert_eq!(contents(&store), pairs(&BEFORE));
    assert_eq!(store.revision(), revision);
    // Watchers of the time before have to list again.
    store.watch("configmaps", newest).take().unwrap_err();
    create(&store, "e", "1").await;
    assert_eq!(store.get(&key("e")).unwrap().revision, revision + 1);
    let mode = data
        .join("state.db")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_whole_store_that_does_not_run_is_changed_at_new_revisions() {
    let dir = tempfile::tempdir().unwrap();
    let (store, file) = changed(dir.path()).await;
    let newest = store.revision();
    store.close();
    let data = dir.path().join("data");
    let outcome = store::restore(&data, Backup::read(&file).unwrap())
        .await
        .unwrap();
    assert!(matches!(outcome, Outcome::Changed(restored) if restored.revision == newest + 5));
    let store = Store::open(&data).unwrap();
    let busy = store::restore(&data, Backup::read(&file).unwrap())
        .await
        .unwrap_err();
    assert!(busy.to_string().contains("in use"), "{busy}");
    assert_eq!(contents(&store), pairs(&BEFORE));
}

#[tokio::test]
async fn what_is_no_whole_backup_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, file) = changed(dir.path()).await;
    let whole = std::fs::read(&file).unwrap();
    let refused = |bytes: &[u8]| {
        let path = dir.path().join("other");
        std::fs::write(&path, bytes).unwrap();
        Backup::read(&path).unwrap_err()
    };
    assert!(matches!(refused(b""), BackupError::Format { found: 0, .. }));
    assert!(matches!(
        refused(b"no backup at all, but long enough"),
        BackupError::Damaged { .. }
    ));
    for length in [100, 4096, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..length]);
    }
    let mut newer = whole.clone();
    newer[63] = 9;
    assert!(matches!(
        refused(&newer),
        BackupError::Format { found: 9, .. }
    ));
    for at in (100..whole.len()).step_by(97) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        let path = dir.path().join("other");
        std::fs::write(&path, &flipped).unwrap();
        if let Ok(backup) = Backup::read(&path) {
            // The bit is in no use: what is read is what was written.
            assert_eq!(
                (backup.revision, backup.len()),
                (4, 4),
                "bit flipped at {at}"
            );
        }
    }
    let missing = Backup::read(&dir.path().join("missing")).unwrap_err();
    assert!(matches!(missing, BackupError::Io { .. }));
}

#[tokio::test]
async fn the_api_gives_backups_and_restores_them_with_their_definitions() {
    let api = Api::start(Extensions::default()).await;
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "disks.example.org"}, "spec": {"group": "example.org",
        "scope": "Cluster", "names": {"kind": "Disk", "plural": "disks"},
        "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let disk = json!({"apiVersion": "example.org/v1", "kind": "Disk", "metadata": {"name": "d"}});
    let disks = "/apis/example.org/v1/disks";
    let send = async |method: &str, path: &str, body: Bytes| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/json");
        let response = api.send(request, body).await;
        let status = response.status();
        let body = http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap();
        (status, body.to_bytes())
    };
    let text = |value: &Value| Bytes::from(value.to_string());
    assert_eq!(
        send("POST", definitions, text(&crd)).await.0,
        StatusCode::CREATED
    );
    assert_eq!(
        send("POST", disks, text(&disk)).await.0,
        StatusCode::CREATED
    );
    let (status, backup) = send("GET", "/longshore/v1/backup", Bytes::new()).await;
    assert_eq!(status, StatusCode::OK);
    let gone = format!("{definitions}/disks.example.org");
    assert_eq!(send("DELETE", &gone, Bytes::new()).await.0, StatusCode::OK);
    assert_eq!(
        send("GET", disks, Bytes::new()).await.0,
        StatusCode::NOT_FOUND
    );

    let half = backup.slice(..backup.len() / 2);
    for garbage in [Bytes::from_static(b"{}"), half] {
        let (status, answer) = send("POST", "/longshore/v1/restore", garbage).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer:?}");
    }
    assert_eq!(
        send("GET", "/longshore/v1/restore", Bytes::new()).await.0,
        405
    );
    assert_eq!(
        send("POST", "/longshore/v1/backup", Bytes::new()).await.0,
        405
    );
    let (status, answer) = send("POST", "/longshore/v1/restore", backup.clone()).await;
    assert_eq!(status, StatusCode::OK, "{answer:?}");
    assert_eq!(
        send("GET", &format!("{disks}/d"), Bytes::new()).await.0,
        StatusCode::OK
    );
}

const RESTORE_DIR: &str = "RESTORE_DIR";

/// Restores a folder, where [`restore_copy`] runs this as a process of its own; without a folder there is
/// nothing to do.
#[tokio::test]
async fn restoring() {
    let Some(dir) = std::env::var_os(RESTORE_DIR).map(PathBuf::from) else {
        return;
    };
    let backup = Backup::read(&dir.join("backup")).unwrap();
    store::restore(&dir.join("data"), backup).await.unwrap();
}

/// Runs it on a copy of a folder; it may be killed at an operation.
fn restore_copy(of: &Path, kill_at: Option<u64>) -> (tempfile::TempDir, u64) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::copy(of.join("backup"), dir.path().join("backup")).unwrap();
    for entry in std::fs::read_dir(of.join("data")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), data.join(entry.file_name())).unwrap();
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "backup::restoring"])
        .env(RESTORE_DIR, dir.path());
    let failure = kill_at.map(|at| Failure {
        at,
        count: 1,
        kind: FailureKind::Kill,
    });
    let trace = dir.path().join("trace");
    Interposer::build().apply(&mut command, &data, Some(&trace), failure);
    let output = command.output().unwrap();
    assert_eq!(output.status.success(), kill_at.is_none(), "{output:?}");
    let counted = trace::read(&trace)
        .iter()
        .filter(|operation| operation.counts())
        .count();
    (dir, counted as u64)
}

#[tokio::test]
async fn a_restore_that_is_killed_is_done_or_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = changed(dir.path()).await;
    let now = contents(&store);
    store.close();
    let step = if from_environment("FAULTS_ROUNDS").is_some() {
        1
    } else {
        5
    };

    let (_, operations) = restore_copy(dir.path(), None);
    for at in (1..=operations).step_by(step) {
        let (copy, _) = restore_copy(dir.path(), Some(at));
        let store = Store::open(&copy.path().join("data")).unwrap();
        let found = contents(&store);
        assert!(
            found == now || found == pairs(&BEFORE),
            "killed at {at}: {found:?}"
        );
    }

    let database = dir.path().join("data/state.db");
    let length = database.metadata().unwrap().len();
    std::fs::File::options()
        .write(true)
        .open(database)
        .unwrap()
        .set_len(length - 4096)
        .unwrap();
    let (_, operations) = restore_copy(dir.path(), None);
    for at in (1..=operations).step_by(step) {
        let (copy, _) = restore_copy(dir.path(), Some(at));
        let data = copy.path().join("data");
        match Store::open(&data) {
            Ok(store) => assert_eq!(contents(&store), pairs(&BEFORE), "killed at {at}"),
            Err(error) => {
                assert!(
                    error.to_string().contains("damaged"),
                    "killed at {at}: {error}"
                );
                let backup = Backup::read(&copy.path().join("backup")).unwrap();
                store::restore(&data, backup).await.unwrap();
                assert_eq!(contents(&Store::open(&data).unwrap()), pairs(&BEFORE));
            }
        }
    }
}

#[tokio::test]
async fn a_closed_store_is_not_restored() {
    let dir = tempfile::tempdir().unwrap();
    let (store, file) = changed(dir.path()).await;
    store.close();
    let refused = store
        .restore(Backup::read(&file).unwrap())
        .await
        .unwrap_err();
    assert!(matches!(refused, WriteError::Closed));
}
