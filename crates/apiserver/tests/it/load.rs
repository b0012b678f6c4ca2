//! Writers and a watcher on a store: a program to be killed, starved and unplugged.
//!
//! The tests of `faults` run this very test binary as a process of its own, for its one test here,
//! and read from its standard output what it tried and what came of it (see [`faults::Ledger`]).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use faults::Random;
use longshore_apiserver::store::{Change, Event, Key, Store, Write, WriteError};
use serde_json::{Value, json};

const DIR: &str = "LOAD_DIR";
const SEED: &str = "LOAD_SEED";
const WRITERS: u64 = 4;
const WRITES: u64 = 25;
const KEYS: u64 = 5;

/// The program, ready to be disturbed.
pub(crate) fn command(dir: &Path, seed: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "load::load", "--nocapture"])
        .env(DIR, dir)
        .env(SEED, seed.to_string());
    command
}

/// Where the program keeps a key of its ledger.
pub(crate) fn key(name: &str) -> Key {
    Key {
        resource: "configmaps".into(),
        namespace: "default".into(),
        name: name.into(),
    }
}

/// The mark in an object.
pub(crate) fn mark(object: &Value) -> &str {
    object["data"]["mark"].as_str().unwrap()
}

fn value(name: &str, mark: &str, size: u64) -> Value {
    let filler = "x".repeat(usize::try_from(size).unwrap());
    json!({"metadata": {"name": name, "namespace": "default"},
        "data": {"mark": mark, "filler": filler}})
}

/// Says a line, whole, where whoever reads it is sure to get it.
fn say(line: std::fmt::Arguments<'_>) {
    let line = format!("> {line}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

/// The program itself; without a folder there is nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let mut random = Random::new(faults::from_environment(SEED).unwrap());
    let store = match Store::open(&dir) {
        Ok(store) => Arc::new(store),
        Err(error) => return say(format_args!("cannot open: {error}")),
    };
    let start = store.revision();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(Arc::clone(&store), writer, random.fork())))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for event in store.watch("configmaps", start).take().unwrap() {
        saw(&event);
    }
    store.close();
    say(format_args!("done"));
}

/// Tells of an event, and of the state before it that it carries.
pub(crate) fn describe(event: &Event) -> String {
    let object = event.object.value();
    let name = object["metadata"]["name"].as_str().unwrap();
    let before = event.previous.as_ref().map(|before| before.value());
    let before = before.as_ref().map_or("-", mark);
    let change = match event.change {
        Change::Deleted => "-",
        _ => mark(&object),
    };
    format!("{} {name} {before} {change}", event.object.revision)
}

fn saw(event: &Event) {
    say(format_args!("saw {}", describe(event)));
}

/// Writes to keys of its own, and in the end until a write succeeds.
async fn write(store: Arc<Store>, writer: u64, mut random: Random) {
    let mut written = 0;
    for n in 0.. {
        let name = format!("w{writer}-k{}", random.below(KEYS));
        let size = if random.once_in(8) {
            20_000
        } else {
            random.below(600)
        };
        let deletes = random.once_in(4);
        let present = store.get(&key(&name));
        let (write, mark) = match &present {
            Some(object) if deletes => (
                Write::Delete(object.revision, object.value()),
                "-".to_owned(),
            ),
            Some(object) => {
                let mark = format!("{writer}.{n}");
                (
                    Write::Update(object.revision, value(&name, &mark, size)),
                    mark,
                )
            }
            None => {
                let mark = format!("{writer}.{n}");
                (Write::Create(value(&name, &mark, size)), mark)
            }
        };
        say(format_args!("try {name} {mark}"));
        let succeeded = match store.write(key(&name), write).await {
            Ok(object) => {
                say(format_args!("ok {name} {mark} {}", object.revision));
                true
            }
            Err(WriteError::Unknown(_)) => {
                say(format_args!("unknown {name} {mark}"));
                false
            }
            Err(error) => {
                assert!(matches!(error, WriteError::Disk(_)), "{error}");
                say(format_args!("no {name} {mark}"));
                false
            }
        };
        if !succeeded {
            let now = store.get(&key(&name)).map(|object| object.revision);
            assert_eq!(
                now,
                present.map(|object| object.revision),
                "a refused write is seen"
            );
            assert!(
                n < 10 * WRITES,
                "the disk works again, but the store does not"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        written += 1;
        if written >= WRITES && succeeded {
            break;
        }
    }
}
