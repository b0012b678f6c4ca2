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
    let page = store.list("configmaps", Some("default"), None);
    assert_eq!(page.objects.len(), 1);
    assert_eq!(page.objects[0].value["data"]["a"], "2");
    assert_eq!(page.objects[0].value["metadata"]["resourceVersion"], "2");
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

    for n in 0..1100 {
        let revision = store.get(&key("a")).unwrap().revision;
        let update = Write::Update(revision, value("a", &n.to_string()));
        store.write(key("a"), update).await.unwrap();
    }
    assert!(matches!(watch.take(), Err(Expired { asked: 1, .. })));
    let from_the_future = store.watch("configmaps", 1_000_000).take();
    assert!(from_the_future.is_err());
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
    assert!(error.to_string().contains("state.db"), "{error}");
}

#[tokio::test]
async fn a_damaged_row_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store
        .write(key("a"), Write::Create(value("a", "1")))
        .await
        .unwrap();
    drop(store);
    let database = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    database
        .execute("UPDATE object SET value = x'7b'", [])
        .unwrap();
    drop(database);
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(&error, OpenError::DamagedRow { key, .. } if key == "configmaps/default/a"));
}
