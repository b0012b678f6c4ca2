//! What was acknowledged outlives `kill -9`, and watches go on where they were.
//!
//! Writers and watchers talk to a server in a process of its own, which is killed in the middle of
//! that, again and again. `FAULTS_SEED` repeats what is written and after how many acknowledged
//! writes each kill comes; `FAULTS_ROUNDS` says how many kills there are (`make crash ROUNDS=300`).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use ::faults::{Ledger, Random, State, from_environment};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{
    Api, DeleteParams, ListParams, PostParams, Preconditions, WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

const ROUNDS: u64 = 20;
const WRITERS: u64 = 8;
const KEYS: u64 = 6;

/// The example server as a process of its own, ready to answer.
pub(crate) async fn spawn(dir: &Path) -> Child {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples/serve");
    let mut child = Command::new(program)
        .arg(dir)
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap();
    assert!(
        line.is_some_and(|line| line.starts_with("ready")),
        "the server does not start"
    );
    child
}

async fn connect(dir: &Path) -> Api<ConfigMap> {
    let kubeconfig = Kubeconfig::read_from(dir.join("kubeconfig")).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    Api::default_namespaced(Client::try_from(config).unwrap())
}

/// The mark of an object, and whether the watch with a selector selects it.
fn read(config: &ConfigMap) -> (String, bool) {
    let mark = config.data.as_ref().unwrap()["mark"].clone();
    (
        mark,
        config
            .labels()
            .get("color")
            .is_some_and(|color| color == "red"),
    )
}

fn config(name: &str, mark: &str, is_red: bool, revision: Option<String>) -> ConfigMap {
    let color = if is_red { "red" } else { "blue" };
    let metadata = ObjectMeta {
        name: Some(name.into()),
        labels: Some(BTreeMap::from([("color".into(), color.into())])),
        resource_version: revision,
        ..ObjectMeta::default()
    };
    ConfigMap {
        metadata,
        data: Some(BTreeMap::from([("mark".into(), mark.into())])),
        ..ConfigMap::default()
    }
}

/// One of those who write, each to keys of its own.
struct Writer {
    api: Api<ConfigMap>,
    number: u64,
    /// Names this round's marks.
    round: u64,
    random: Random,
    ledger: Arc<Mutex<Ledger>>,
    acknowledged: mpsc::UnboundedSender<()>,
    /// Newest revisions of what is there.
    present: HashMap<String, String>,
}

impl Writer {
    /// Writes until the server is gone.
    async fn run(mut self) {
        for n in 0.. {
            let name = format!("w{}-k{}", self.number, self.random.below(KEYS));
            let mark = format!("{}.{}.{n}", self.round, self.number);
            if self.write(&name, mark).await.is_err() {
                return;
            }
        }
    }

    async fn write(&mut self, name: &str, mark: String) -> Result<(), kube::Error> {
        let (red, stale, delete) = (
            self.random.once_in(2),
            self.random.once_in(6),
            self.random.once_in(4),
        );
        let revision = self.present.get(name).cloned();
        if stale && revision.is_some() {
            return self.write_stale(name, red).await;
        }
        let mark = if delete && revision.is_some() {
            "-".to_owned()
        } else {
            mark
        };
        self.say(format_args!("try {name} {mark}"));
        let new = config(name, &mark, red, revision.clone());
        let written = match revision {
            None => self.api.create(&PostParams::default(), &new).await,
            Some(revision) if mark == "-" => {
                let preconditions = Preconditions {
                    resource_version: Some(revision),
                    uid: None,
                };
                let parameters = DeleteParams::default().preconditions(preconditions);
                return self.delete(name, &parameters).await;
            }
            Some(_) => self.api.replace(name, &PostParams::default(), &new).await,
        };
        let revision = written?.resource_version().unwrap();
        self.say(format_args!("ok {name} {mark} {revision}"));
        self.present.insert(name.into(), revision);
        let _ = self.acknowledged.send(());
        Ok(())
    }

    /// The answer to a deletion does not tell its revision: watchers find it, as that of a change
    /// without acknowledgement.
    async fn delete(&mut self, name: &str, parameters: &DeleteParams) -> Result<(), kube::Error> {
        self.api.delete(name, parameters).await?;
        self.say(format_args!("gone {name}"));
        self.present.remove(name);
        let _ = self.acknowledged.send(());
        Ok(())
    }

    /// A write on top of a state that is not the newest is refused, and never seen.
    async fn write_stale(&mut self, name: &str, red: bool) -> Result<(), kube::Error> {
        let new = config(name, "stale", red, Some("1".into()));
        match self.api.replace(name, &PostParams::default(), &new).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
            Ok(_) => panic!("a stale write of {name} was taken"),
        }
    }

    fn say(&self, line: std::fmt::Arguments<'_>) {
        self.ledger.lock().hear(&format!("> {line}"));
    }
}

/// One that watches, over every restart.
#[derive(Debug)]
struct Watcher {
    selector: &'static str,
    revision: String,
    seen: Vec<Seen>,
}

/// An event: what happened, revision, name, mark (none for a deletion), whether it is selected.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    change: &'static str,
    revision: u64,
    name: String,
    mark: State,
    is_red: bool,
}

impl Watcher {
    /// Watches until the server is gone, or something of this name is made.
    async fn run(mut self, api: Api<ConfigMap>, last: &str) -> Self {
        let parameters = WatchParams::default().labels(self.selector);
        let Ok(stream) = api.watch(&parameters, &self.revision).await else {
            return self;
        };
        let mut stream = std::pin::pin!(stream);
        while let Some(Ok(event)) = stream.next().await {
            let (change, config) = match event {
                WatchEvent::Added(config) => ("ADDED", config),
                WatchEvent::Modified(config) => ("MODIFIED", config),
                WatchEvent::Deleted(config) => ("DELETED", config),
                WatchEvent::Bookmark(bookmark) => {
                    self.revision = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(status) => panic!("after {}: {status:?}", self.revision),
            };
            self.revision = config.resource_version().unwrap();
            let name = config.name_any();
            if name == last {
                break;
            }
            let (mark, is_red) = read(&config);
            let mark = Some(mark).filter(|_| change != "DELETED");
            let revision = self.revision.parse().unwrap();
            self.seen.push(Seen {
                change,
                revision,
                name,
                mark,
                is_red,
            });
        }
        self
    }
}

/// What a watch with the selector must have seen, when one without it has seen this.
fn selected(all: &[Seen]) -> Vec<(&'static str, u64, String)> {
    let mut red = HashMap::new();
    let mut expected = Vec::new();
    for event in all {
        let before = red.insert(
            event.name.clone(),
            event.is_red && event.change != "DELETED",
        );
        let now = red[&event.name];
        let change = match (before.unwrap_or(false), now) {
            (false, false) => continue,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        expected.push((change, event.revision, event.name.clone()));
    }
    expected
}

/// What watches saw is what was acknowledged and what was found done, each once and in order.
fn check_events(all: &[Seen], ledger: &Ledger, mut unacknowledged: Vec<(String, State)>) {
    let mut newest = 0;
    let mut acknowledged = 0;
    for event in all {
        assert!(event.revision > newest, "{event:?} after {newest}");
        newest = event.revision;
        let change = (event.name.clone(), event.mark.clone());
        if let Some(known) = ledger.acknowledged.get(&event.revision) {
            assert_eq!(*known, change);
            acknowledged += 1;
        } else {
            let place = unacknowledged.iter().position(|known| *known == change);
            let place = place.unwrap_or_else(|| panic!("nobody did {event:?}"));
            unacknowledged.remove(place);
        }
    }
    assert_eq!(
        acknowledged,
        ledger.acknowledged.len(),
        "events are missing"
    );
    assert_eq!(unacknowledged, [], "events are missing");
}

/// The run: what is known of it, from round to round.
struct Run {
    dir: tempfile::TempDir,
    random: Random,
    ledger: Arc<Mutex<Ledger>>,
    watchers: Vec<Watcher>,
    /// Changes without a revision of their own in the ledger.
    unacknowledged: Vec<(String, State)>,
    newest: u64,
}

impl Run {
    /// Compares what is there with what must be, and returns the revision of each object.
    async fn check(&mut self, api: &Api<ConfigMap>, what: &str) -> HashMap<String, String> {
        let list = api.list(&ListParams::default()).await.unwrap();
        let marks = list
            .items
            .iter()
            .map(|config| (config.name_any(), read(config).0))
            .collect();
        let mut ledger = self.ledger.lock();
        let faults = ledger.faults(&marks);
        assert!(faults.is_empty(), "{what}: {faults:#?}");
        self.unacknowledged.extend(ledger.settle(&marks));
        let revision: u64 = list.metadata.resource_version.unwrap().parse().unwrap();
        let expected = ledger.revision().max(self.newest);
        assert!(
            revision >= expected,
            "{what}: revision {revision} after {expected}"
        );
        self.newest = revision;
        let present = list.items.iter();
        present
            .map(|config| (config.name_any(), config.resource_version().unwrap()))
            .collect()
    }

    /// Lets everybody work until the server is killed.
    async fn round(&mut self, round: u64) {
        let mut server = spawn(self.dir.path()).await;
        let api = connect(self.dir.path()).await;
        let present = self.check(&api, &format!("before round {round}")).await;
        if round == 0 {
            for selector in ["", "color=red"] {
                let revision = self.newest.to_string();
                self.watchers.push(Watcher {
                    selector,
                    revision,
                    seen: Vec::new(),
                });
            }
        }
        let (acknowledge, mut acknowledged) = mpsc::unbounded_channel();
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| Writer {
                api: api.clone(),
                number,
                round,
                random: self.random.fork(),
                ledger: Arc::clone(&self.ledger),
                acknowledged: acknowledge.clone(),
                present: present.clone(),
            })
            .map(|writer| tokio::spawn(writer.run()))
            .collect();
        let watchers: Vec<_> = std::mem::take(&mut self.watchers)
            .into_iter()
            .map(|watcher| tokio::spawn(watcher.run(api.clone(), "last")))
            .collect();
        for _ in 0..=self.random.below(120) {
            acknowledged.recv().await.unwrap();
        }
        server.kill().await.unwrap();
        for writer in writers {
            writer.await.unwrap();
        }
        for watcher in watchers {
            self.watchers.push(watcher.await.unwrap());
        }
        let gone = std::mem::take(&mut self.ledger.lock().gone);
        self.unacknowledged
            .extend(gone.into_iter().map(|name| (name, None)));
    }

    /// Lets the watches come to their ends.
    async fn finish(&mut self) {
        let mut server = spawn(self.dir.path()).await;
        let api = connect(self.dir.path()).await;
        self.check(&api, "at the end").await;
        let last = config("last", "last", true, None);
        api.create(&PostParams::default(), &last).await.unwrap();
        for watcher in std::mem::take(&mut self.watchers) {
            self.watchers.push(watcher.run(api.clone(), "last").await);
        }
        server.kill().await.unwrap();
        let [all, red] = &self.watchers[..] else {
            panic!("{:?}", self.watchers)
        };
        check_events(
            &all.seen,
            &self.ledger.lock(),
            std::mem::take(&mut self.unacknowledged),
        );
        let seen = red
            .seen
            .iter()
            .map(|seen| (seen.change, seen.revision, seen.name.clone()));
        assert_eq!(seen.collect::<Vec<_>>(), selected(&all.seen));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_and_watches_survive_kills() {
    let mut run = Run {
        dir: tempfile::tempdir().unwrap(),
        random: Random::new(crate::faults::seed()),
        ledger: Arc::default(),
        watchers: Vec::new(),
        unacknowledged: Vec::new(),
        newest: 0,
    };
    let rounds = from_environment("FAULTS_ROUNDS").unwrap_or(ROUNDS);
    for round in 0..rounds {
        run.round(round).await;
    }
    run.finish().await;
    let (kills, ledger) = (rounds, run.ledger.lock());
    let (writes, events) = (ledger.acknowledged.len(), run.watchers[0].seen.len());
    eprintln!("{kills} kills, {writes} acknowledged writes beside deletions, {events} events");
}
