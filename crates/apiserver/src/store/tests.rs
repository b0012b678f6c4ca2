use serde_json::json;

use super::*;

fn key(name: &str) -> Key {
    Key {
        resource: "configmaps".into(),
        namespace: "default".into(),
        name: name.into(),
    }
}

fn value(name: &str, data: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "data": {"a": data}})
}

#[tokio::test]
async fn reopening_keeps_objects_history_and_the_revision() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let a = store
        .write(key("a"), Write::Create(value("a", "1")))
        .await
        .unwrap();
    store
        .write(key("a"), Write::Update(a.revision, value("a", "2")))
        .await
        .unwrap();
    let b = store
        .write(key("b"), Write::Create(value("b", "1")))
        .await
        .unwrap();
    store
        .write(key("b"), Write::Delete(b.revision, value("b", "1")))
        .await
        .unwrap();
    assert_eq!(store.revision(), 4);
    drop(store);

    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.revision(), 4);
    let objects = store.list("configmaps", Some("default"));
    assert_eq!(objects.len(), 1);
    let a = objects[0].value();
    assert_eq!(a["data"]["a"], "2");
    assert_eq!(a["metadata"]["resourceVersion"], "2");
    let events = store.watch("configmaps", 1).take().unwrap();
    let changes: Vec<_> = events.iter().map(|event| event.change).collect();
    assert_eq!(changes, [Change::Modified, Change::Added, Change::Deleted]);
    assert_eq!(events[2].object.revision, 4);
    let next = store
        .write(key("c"), Write::Create(value("c", "1")))
        .await
        .unwrap();
    assert_eq!(next.revision, 5);
}

#[tokio::test]
async fn writes_that_saw_an_older_state_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let a = store
        .write(key("a"), Write::Create(value("a", "1")))
        .await
        .unwrap();
    store
        .write(key("a"), Write::Update(a.revision, value("a", "2")))
        .await
        .unwrap();
    let stale = store
        .write(key("a"), Write::Update(a.revision, value("a", "3")))
        .await;
    assert!(matches!(stale, Err(WriteError::Stale)));
    let exists = store.write(key("a"), Write::Create(value("a", "3"))).await;
    assert!(matches!(exists, Err(WriteError::Exists)));
    let missing = store
        .write(key("b"), Write::Delete(1, value("b", "3")))
        .await;
    assert!(matches!(missing, Err(WriteError::Missing)));
}

#[tokio::test]
async fn watches_follow_wait_and_expire() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let mut watch = store.watch("configmaps", 0);
    assert!(watch.take().unwrap().is_empty());
    let writer = Arc::clone(&store);
    let writing = tokio::spawn(async move {
        writer
            .write(key("a"), Write::Create(value("a", "1")))
            .await
            .unwrap();
    });
    watch.changed().await;
    assert_eq!(watch.take().unwrap().len(), 1);
    writing.await.unwrap();

    let large = "x".repeat(1024 * 1024);
    for n in 0..10 {
        let revision = store.get(&key("a")).unwrap().revision;
        let update = Write::Update(revision, value("a", &format!("{n}{large}")));
        store.write(key("a"), update).await.unwrap();
    }
    assert!(matches!(watch.take(), Err(Expired { asked: 1, .. })));
    let from_the_future = store.watch("configmaps", 1_000_000).take();
    assert!(from_the_future.is_err());
}

#[tokio::test]
async fn large_events_are_remembered_for_less_long() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let large = "x".repeat(1024 * 1024);
    let mut revision = 0;
    for n in 0..10 {
        let value = value("a", &large);
        let write = match n {
            0 => Write::Create(value),
            _ => Write::Update(revision, value),
        };
        revision = store.write(key("a"), write).await.unwrap().revision;
    }
    let remembered = |store: &Store| {
        let oldest = store.watch("configmaps", 0).take().unwrap_err().oldest;
        assert!(store.watch("configmaps", oldest - 1).take().is_err());
        store.watch("configmaps", oldest).take().unwrap().len()
    };
    assert_eq!(remembered(&store), 7);
    drop(store);
    assert_eq!(remembered(&Store::open(dir.path()).unwrap()), 7);
}

#[tokio::test]
async fn a_new_object_has_no_previous_state_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let create = || Write::Create(value("a", "1"));
    let first = store.write(key("a"), create()).await.unwrap();
    let delete = Write::Delete(first.revision, value("a", "1"));
    store.write(key("a"), delete).await.unwrap();
    store.write(key("a"), create()).await.unwrap();
    let seen = |store: &Store| {
        let events = store.watch("configmaps", 0).take().unwrap();
        let seen = events.iter().map(|e| (e.change, e.previous.is_some()));
        seen.collect::<Vec<_>>()
    };
    let expected = [
        (Change::Added, false),
        (Change::Deleted, true),
        (Change::Added, false),
    ];
    assert_eq!(seen(&store), expected);
    drop(store);
    assert_eq!(seen(&Store::open(dir.path()).unwrap()), expected);
}

#[tokio::test]
async fn only_the_owner_reads_the_database() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let files = ["state.db", "state.db-wal"].map(|name| dir.path().join(name));
    let mode = |path: &PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
    let store = Store::open(dir.path()).unwrap();
    store
        .write(key("a"), Write::Create(value("a", "1")))
        .await
        .unwrap();
    assert_eq!(files.each_ref().map(mode), [0o600; 2]);
    drop(store);

    // An older release, or a copy, may have left them open to everyone.
    for path in &files {
        File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap()
            .set_permissions(std::fs::Permissions::from_mode(0o644))
            .unwrap();
    }
    let _store = Store::open(dir.path()).unwrap();
    assert_eq!(files.each_ref().map(mode), [0o600; 2]);
}

#[test]
fn a_second_opener_is_refused_and_told_who() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    let OpenError::InUse { pid, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        pid.as_deref(),
        Some(std::process::id().to_string().as_str())
    );
    store.close();
    Store::open(dir.path()).unwrap();
}

#[test]
fn a_damaged_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("state.db"),
        "not a database, but long enough to be read as one",
    )
    .unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }));
    let text = error.to_string();
    assert!(text.contains("state.db"), "{text}");
    assert!(text.contains("longshore restore FILE"), "{text}");
}
