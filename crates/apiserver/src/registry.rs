//! The kinds that are served: those compiled in, and those of `CustomResourceDefinition` objects.

pub(crate) mod approval;
pub(crate) mod crd;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tokio::sync::watch;

use crate::convert;
use crate::kind::Kind;
use crate::meta;

/// All kinds at one moment.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Grows with every change; names the state of discovery documents.
    pub generation: u64,
    /// Every served version of every resource: built-in ones first, then by definition.
    pub kinds: Vec<Arc<Kind>>,
    by_path: HashMap<String, Arc<Kind>>,
    terminating: Vec<String>,
}

impl Catalog {
    /// The kind behind a path.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.by_path.get(&path(group, version, plural))
    }

    /// Whether the kind's definition is being deleted.
    pub fn is_terminating(&self, kind: &Kind) -> bool {
        !kind.is_builtin() && self.terminating.contains(&kind.group_resource())
    }
}

fn path(group: &str, version: &str, plural: &str) -> String {
    format!("{group}/{version}/{plural}")
}

/// Holds the current [`Catalog`]; definitions come and go.
#[derive(Debug)]
pub struct Registry {
    builtin: Vec<Arc<Kind>>,
    definitions: Mutex<BTreeMap<String, Definition>>,
    catalog: RwLock<Arc<Catalog>>,
}

#[derive(Debug)]
struct Definition {
    /// What the kinds were made from: the same again changes nothing.
    source: Value,
    kinds: Vec<Arc<Kind>>,
    /// The kind of the stored objects, whether it is served or not.
    storage: Option<Arc<Kind>>,
    terminating: bool,
    /// The watches of the kinds end when this does.
    _life: watch::Sender<()>,
}

impl Definition {
    fn of(crd: &Value) -> Self {
        let (sender, life) = watch::channel(());
        let alive = |kind| {
            Arc::new(Kind {
                life: Some(life.clone()),
                ..kind
            })
        };
        let kinds = if crd::is_established(crd) {
            crd::kinds(crd)
        } else {
            Vec::new()
        };
        Self {
            source: crd::source(crd),
            kinds: kinds.into_iter().map(alive).collect(),
            storage: crd::storage_kind(crd).map(alive),
            terminating: meta::is_deleting(crd),
            _life: sender,
        }
    }
}

impl Registry {
    /// Starts with the kinds that are compiled in.
    pub fn new(builtin: Vec<Kind>) -> Self {
        let builtin = builtin.into_iter().map(|mut kind| {
            if kind.is("events.k8s.io", "events") {
                kind.hooks.stored_as = Some(convert::EVENTS);
            }
            Arc::new(kind)
        });
        let registry = Self {
            builtin: builtin.collect(),
            definitions: Mutex::default(),
            catalog: RwLock::default(),
        };
        registry.rebuild(&registry.definitions.lock());
        registry
    }

    /// The kinds of this moment.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read())
    }

    /// Serves what a `CustomResourceDefinition` defines, if it is established.
    pub fn install(&self, crd: &Value) {
        let mut definitions = self.definitions.lock();
        let source = crd::source(crd);
        match definitions.get_mut(meta::name(crd)) {
            Some(known) if known.source == source => {
                let terminating = meta::is_deleting(crd);
                if known.terminating == terminating {
                    return;
                }
                known.terminating = terminating;
            }
            _ => {
                definitions.insert(meta::name(crd).to_owned(), Definition::of(crd));
            }
        }
        self.rebuild(&definitions);
    }

    /// Stops serving what a definition of this name defined.
    pub fn remove(&self, name: &str) {
        let mut definitions = self.definitions.lock();
        if definitions.remove(name).is_some() {
            self.rebuild(&definitions);
        }
    }

    /// The names of all definitions.
    pub fn definitions(&self) -> Vec<String> {
        self.definitions.lock().keys().cloned().collect()
    }

    /// The kind of the stored objects of one definition, whether it is served or not.
    pub fn stored_by(&self, name: &str) -> Option<Arc<Kind>> {
        let definitions = self.definitions.lock();
        definitions.get(name)?.storage.clone()
    }

    fn rebuild(&self, definitions: &BTreeMap<String, Definition>) {
        let custom = definitions
            .values()
            .flat_map(|definition| &definition.kinds);
        let kinds: Vec<_> = self.builtin.iter().chain(custom).cloned().collect();
        // Those compiled in come last, so that nothing takes their place.
        let by_path = kinds
            .iter()
            .rev()
            .map(|kind| {
                (
                    path(&kind.group, &kind.version, &kind.plural),
                    Arc::clone(kind),
                )
            })
            .collect();
        let terminating = definitions
            .iter()
            .filter(|(_, definition)| definition.terminating)
            .map(|(name, _)| name.clone())
            .collect();
        let mut catalog = self.catalog.write();
        let generation = catalog.generation + 1;
        *catalog = Arc::new(Catalog {
            generation,
            kinds,
            by_path,
            terminating,
        });
    }
}
