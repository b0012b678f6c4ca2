//! Failing disks and lost power: what was acknowledged is there, what was refused is not.
//!
//! `FAULTS_SEED` repeats a run, `FAULTS_ROUNDS` makes it longer; `make crash` does both.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use ::faults::trace::{self, Operation};
use ::faults::{Failure, FailureKind, Interposer, Ledger, Random, from_environment, power};
use longshore_apiserver::store::{Store, Write};
use tempfile::TempDir;

use crate::load;

/// A seed of its own for each run, which is printed; the harness shows it when the test fails.
pub(crate) fn seed() -> u64 {
    let time = std::time::UNIX_EPOCH.elapsed().unwrap();
    let seed = from_environment("FAULTS_SEED").unwrap_or(time.as_secs());
    eprintln!("FAULTS_SEED={seed}");
    seed
}

/// One run of the load, and what is left of it.
struct Run {
    folders: TempDir,
    operations: Vec<Operation>,
    ledger: Ledger,
    events: Vec<String>,
    done: bool,
}

impl Run {
    fn new(interposer: &Interposer, seed: u64, failure: Option<Failure>) -> Self {
        let folders = tempfile::tempdir().unwrap();
        let (data, trace) = (folders.path().join("data"), folders.path().join("trace"));
        std::fs::create_dir(&data).unwrap();
        let mut command = load::command(&data, seed);
        interposer.apply(&mut command, &data, Some(&trace), failure);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let mut ledger = Ledger::default();
        ledger.hear(&said);
        let done = ledger.remarks.iter().any(|remark| remark == "done");
        let saw = ledger
            .remarks
            .iter()
            .filter_map(|remark| remark.strip_prefix("saw "));
        Self {
            operations: trace::read(&trace),
            events: saw.map(Into::into).collect(),
            ledger,
            folders,
            done,
        }
    }

    fn counted(&self) -> u64 {
        self.operations
            .iter()
            .filter(|operation| operation.counts())
            .count() as u64
    }

    /// The end that the test did not ask for.
    fn assert_done(&self, what: &str) {
        let could_not_open = self
            .ledger
            .remarks
            .iter()
            .any(|r| r.starts_with("cannot open"));
        assert!(
            self.done || could_not_open,
            "{what}: {:#?}",
            self.ledger.remarks
        );
    }
}

/// Everything that must hold of a folder, whatever happened to it, given what a program that wrote to
/// it had said.
fn check(dir: &Path, ledger: &Ledger, what: &str) {
    let store = Store::open(dir).unwrap_or_else(|error| panic!("{what}: {error}"));
    let objects = store.list("configmaps", None);
    let found: BTreeMap<String, String> = objects
        .iter()
        .map(|object| {
            let value = object.value();
            let name = value["metadata"]["name"].as_str().unwrap().to_owned();
            assert_eq!(
                value["metadata"]["resourceVersion"],
                object.revision.to_string()
            );
            (name, load::mark(&value).to_owned())
        })
        .collect();
    let faults = ledger.faults(&found);
    assert!(faults.is_empty(), "{what}: {faults:#?}");
    assert!(
        store.revision() >= ledger.revision(),
        "{what}: revisions went back"
    );
    check_history(&store, ledger, what);
}

/// The history that is left has every acknowledged change, once, at its revision, and each event
/// carries the state before it.
fn check_history(store: &Store, ledger: &Ledger, what: &str) {
    let events = store.watch("configmaps", 0).take().unwrap();
    let mut states: BTreeMap<String, String> = BTreeMap::new();
    let mut newest = 0;
    let mut seen = Vec::new();
    for event in &events {
        let text = load::describe(event);
        let words: Vec<&str> = text.split(' ').collect();
        let [_, name, before, after] = words[..] else {
            panic!("{text}")
        };
        assert!(
            event.object.revision > newest,
            "{what}: {text} after {newest}"
        );
        newest = event.object.revision;
        let known = states.get(name).map_or("-", String::as_str);
        assert_eq!(before, known, "{what}: {text}");
        states.insert(name.into(), after.into());
        seen.push((
            newest,
            (
                name.to_owned(),
                Some(after.to_owned()).filter(|mark| mark != "-"),
            ),
        ));
    }
    let missing: Vec<_> = ledger
        .acknowledged
        .iter()
        .filter(|(revision, change)| !seen.contains(&(**revision, (*change).clone())))
        .collect();
    assert!(missing.is_empty(), "{what}: without an event: {missing:?}");
}

/// The ledger at a moment of a record.
fn heard(operations: &[Operation]) -> Ledger {
    let mut ledger = Ledger::default();
    for operation in operations {
        if let Operation::Said(text) = operation {
            ledger.hear(text);
        }
    }
    ledger
}

/// Cuts the power at some moments of a run.
fn cut_power(run: &Run, random: &mut Random, cuts: u64, what: &str) {
    for _ in 0..cuts {
        let moment = usize::try_from(random.below(run.operations.len() as u64 + 1)).unwrap();
        let done = &run.operations[..moment];
        let dir = tempfile::tempdir().unwrap();
        power::cut(done, random, dir.path());
        check(
            dir.path(),
            &heard(done),
            &format!("{what}, power cut at {moment}"),
        );
    }
}

#[test]
fn acknowledged_writes_survive_the_loss_of_power() {
    let interposer = Interposer::build();
    let mut random = Random::new(seed());
    let rounds = from_environment("FAULTS_ROUNDS").unwrap_or(2);
    for round in 0..rounds {
        let what = format!("round {round}");
        let run = Run::new(&interposer, random.number(), None);
        assert!(run.done, "{what}: {:#?}", run.ledger.remarks);
        assert_eq!(run.ledger.refused + run.ledger.unknown, 0);
        check(&run.folders.path().join("data"), &run.ledger, &what);
        cut_power(&run, &mut random, 50, &what);
    }
}

#[test]
fn refused_writes_are_never_found_and_the_disk_may_come_back() {
    let interposer = Interposer::build();
    let mut random = Random::new(seed());
    let operations = Run::new(&interposer, random.number(), None).counted();
    let rounds = from_environment("FAULTS_ROUNDS").unwrap_or(24);
    let (mut refused, mut unknown) = (0, 0);
    for round in 0..rounds {
        let kinds = [FailureKind::Eio, FailureKind::Enospc, FailureKind::Short];
        // Each fourth hits the making of a new store, where SQLite does most things for the first time.
        let reach = if round % 4 == 0 { 60 } else { operations };
        let failure = Failure {
            at: 1 + random.below(reach),
            count: 1 + random.below(12) * random.below(6),
            kind: kinds[usize::try_from(random.below(3)).unwrap()],
        };
        let what = format!("round {round}, failure {failure}");
        let run = Run::new(&interposer, random.number(), Some(failure));
        run.assert_done(&what);
        let acknowledged: Vec<_> = run
            .ledger
            .acknowledged
            .iter()
            .map(|(revision, (name, mark))| (*revision, name.clone(), mark.clone()))
            .collect();
        let events = run.events.iter().map(|event| {
            let words: Vec<&str> = event.split(' ').collect();
            let mark = Some(words[3].to_owned()).filter(|mark| mark != "-");
            (words[0].parse().unwrap(), words[1].to_owned(), mark)
        });
        assert_eq!(
            events.collect::<Vec<_>>(),
            acknowledged,
            "{what}: what watchers saw"
        );
        check(&run.folders.path().join("data"), &run.ledger, &what);
        cut_power(&run, &mut random, 8, &what);
        refused += run.ledger.refused;
        unknown += run.ledger.unknown;
    }
    eprintln!("{rounds} runs with failures: {refused} writes refused, {unknown} with unknown end");
    assert!(refused > 0, "no write met a failure");
}

#[tokio::test]
async fn a_process_killed_at_any_operation_leaves_what_it_said() {
    let interposer = Interposer::build();
    let mut random = Random::new(seed());
    let load_seed = random.number();
    let operations = Run::new(&interposer, load_seed, None).counted();
    let rounds = from_environment("FAULTS_ROUNDS").unwrap_or(12);
    for round in 0..rounds {
        // The first operations are those of a new file, and the last those of its closing.
        let at = match round % 3 {
            0 => 1 + random.below(20),
            1 => operations - random.below(20),
            _ => 1 + random.below(operations),
        };
        let failure = Failure {
            at,
            count: 1,
            kind: FailureKind::Kill,
        };
        let what = format!("round {round}, killed at {at}");
        let run = Run::new(&interposer, load_seed, Some(failure));
        let dir = run.folders.path().join("data");
        check(&dir, &run.ledger, &what);
        // It can be written again, at a new revision.
        let store = Store::open(&dir).unwrap();
        let create = Write::Create(serde_json::json!({"metadata": {"name": "after"}}));
        let made = store.write(load::key("after"), create).await.unwrap();
        assert!(made.revision > run.ledger.revision(), "{what}");
    }
}
