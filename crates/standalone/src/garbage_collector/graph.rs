//! Who owns whom, and what follows from it. No I/O.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PropagationPolicy;

use crate::objects::well_known;
use crate::resources::Served;

pub(super) const FOREGROUND: &str = well_known::FOREGROUND_DELETION;
pub(super) const ORPHAN: &str = well_known::ORPHAN_DEPENDENTS;

/// Past this many, all are forgotten; owners are looked up instead.
const REMEMBERED_GONE: usize = 4096;

/// Identifies an object for all time.
pub(super) type Uid = Arc<str>;

/// What matters of an object here.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    pub(super) resource: Arc<Served>,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: Uid,
    pub(super) revision: String,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) finalizers: Vec<String>,
    pub(super) deleting: bool,
}

impl Object {
    pub(super) fn new(resource: &Arc<Served>, metadata: ObjectMeta) -> Self {
        Self {
            resource: resource.clone(),
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default().into(),
            revision: metadata.resource_version.unwrap_or_default(),
            owners: metadata.owner_references.unwrap_or_default(),
            finalizers: metadata.finalizers.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
        }
    }

    fn is_going_with(&self, finalizer: &str) -> bool {
        self.deleting && self.finalizers.iter().any(|each| each == finalizer)
    }

    fn state_as_owner(&self) -> OwnerState {
        if self.is_going_with(FOREGROUND) {
            OwnerState::GoingFirst
        } else {
            OwnerState::Present
        }
    }

    /// Whether this object can own another.
    fn reach(&self, dependent: &Self) -> Reach {
        if self.namespace.is_empty() || self.namespace == dependent.namespace {
            Reach::Owner
        } else if dependent.namespace.is_empty() {
            Reach::Impossible
        } else {
            Reach::OtherNamespace
        }
    }

    fn blocks(&self, owner: &Uid) -> bool {
        self.owners.iter().any(|reference| {
            *reference.uid == **owner && reference.block_owner_deletion == Some(true)
        })
    }
}

/// Whether an object can be the owner of another.
enum Reach {
    Owner,
    /// The owner that is meant would be in the dependent's namespace, and is not.
    OtherNamespace,
    /// The owner is in a namespace, and the dependent is in none.
    Impossible,
}

/// What is known of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerState {
    Present,
    /// Being deleted in the foreground: it waits for its dependents to go first.
    GoingFirst,
    Absent,
}

/// The one thing to do about an object.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Nothing,
    /// These stand in its way.
    LookAt(Vec<Uid>),
    Delete {
        object: Object,
        propagation: PropagationPolicy,
    },
    /// Take these owners out of its references.
    DropOwners {
        object: Object,
        owners: Vec<Uid>,
    },
    /// Take it out of its dependents' references, then let it go.
    Orphan {
        object: Object,
        dependents: Vec<Object>,
    },
    /// Let it go: its dependents are gone.
    Release {
        object: Object,
    },
    /// It and its owner wait for each other: make it wait for none.
    Unblock {
        object: Object,
    },
}

/// All objects.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// There may be very many; boxed, they leave no room for as many that may come.
    objects: HashMap<Uid, Box<Object>>,
    dependents: HashMap<Uid, BTreeSet<Uid>>,
    /// Owners that were seen to go.
    gone: HashSet<Uid>,
}

impl Graph {
    /// Notes an object's state; answers what to look at because of that.
    pub(super) fn apply(&mut self, object: Object) -> Vec<Uid> {
        let uid = object.uid.clone();
        let mut attention = Vec::new();
        let before = self.objects.remove(&uid);
        let old_owners = before
            .as_ref()
            .map(|before| before.owners.as_slice())
            .unwrap_or_default();
        if *old_owners != object.owners {
            for owner in old_owners {
                self.unlink(&owner.uid, &uid);
            }
            for owner in &object.owners {
                self.dependents
                    .entry(owner.uid.as_str().into())
                    .or_default()
                    .insert(uid.clone());
            }
            // Owners that wait for this object may wait no longer.
            attention.extend(self.waiting_owners(old_owners));
        }
        if !object.owners.is_empty()
            || object.is_going_with(FOREGROUND)
            || object.is_going_with(ORPHAN)
        {
            attention.push(uid.clone());
        }
        self.objects.insert(uid, Box::new(object));
        attention
    }

    /// Forgets an object that is gone; answers what to look at because of that.
    pub(super) fn remove(&mut self, uid: &Uid) -> Vec<Uid> {
        let Some(object) = self.objects.remove(uid) else {
            return Vec::new();
        };
        for owner in &object.owners {
            self.unlink(&owner.uid, uid);
        }
        let mut attention = self.waiting_owners(&object.owners);
        if let Some(dependents) = self.dependents.get(uid) {
            attention.extend(dependents.iter().cloned());
            if self.gone.len() >= REMEMBERED_GONE {
                self.gone.clear();
            }
            self.gone.insert(uid.clone());
        }
        attention
    }

    /// The objects of one resource.
    pub(super) fn of_resource(&self, resource: &Arc<Served>) -> Vec<Uid> {
        self.objects
            .values()
            .filter(|object| object.resource == *resource)
            .map(|object| object.uid.clone())
            .collect()
    }

    pub(super) fn object(&self, uid: &Uid) -> Option<&Object> {
        self.known(uid)
    }

    fn known(&self, uid: &str) -> Option<&Object> {
        self.objects.get(uid).map(Box::as_ref)
    }

    fn unlink(&mut self, owner: &str, dependent: &Uid) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
                self.gone.remove(owner);
            }
        }
    }

    fn waiting_owners(&self, owners: &[OwnerReference]) -> Vec<Uid> {
        let known = owners
            .iter()
            .filter_map(|owner| self.known(owner.uid.as_str()));
        known
            .filter(|owner| owner.is_going_with(FOREGROUND) || owner.is_going_with(ORPHAN))
            .map(|owner| owner.uid.clone())
            .collect()
    }

    /// The objects with an owner that no watch has shown.
    pub(super) fn with_unknown_owners(&self) -> Vec<Uid> {
        let uids = self.objects.keys();
        uids.filter(|uid| !self.unknown_owners(uid).is_empty())
            .cloned()
            .collect()
    }

    /// The owners of an object that must be looked up before a step can be decided.
    pub(super) fn unknown_owners(&self, uid: &Uid) -> Vec<OwnerReference> {
        let Some(object) = self.known(uid).filter(|object| !object.deleting) else {
            return Vec::new();
        };
        let unknown = |owner: &&OwnerReference| self.owner_state(object, owner).is_none();
        object.owners.iter().filter(unknown).cloned().collect()
    }

    fn owner_state(&self, object: &Object, owner: &OwnerReference) -> Option<OwnerState> {
        if let Some(known) = self.known(owner.uid.as_str()) {
            return Some(match known.reach(object) {
                Reach::Owner => known.state_as_owner(),
                Reach::OtherNamespace => OwnerState::Absent,
                // Nothing is deleted on the word of a reference that cannot be.
                Reach::Impossible => OwnerState::Present,
            });
        }
        self.gone
            .contains(owner.uid.as_str())
            .then_some(OwnerState::Absent)
    }

    /// The owners of an object that it cannot have, being elsewhere.
    pub(super) fn misplaced_owners<'a>(
        &'a self,
        object: &'a Object,
    ) -> impl Iterator<Item = &'a OwnerReference> {
        object.owners.iter().filter(|owner| {
            let known = self.known(owner.uid.as_str());
            known.is_some_and(|known| !matches!(known.reach(object), Reach::Owner))
        })
    }

    /// Decides about an object; `found` tells about the owners that were looked up.
    pub(super) fn step(&self, uid: &Uid, found: &[(Uid, OwnerState)]) -> Step {
        let Some(object) = self.known(uid) else {
            return Step::Nothing;
        };
        if object.is_going_with(ORPHAN) {
            let dependents = self.dependents_of(uid).cloned().collect();
            return Step::Orphan {
                object: object.clone(),
                dependents,
            };
        }
        if object.is_going_with(FOREGROUND) {
            return self.foreground_step(object);
        }
        if object.deleting || object.owners.is_empty() {
            return Step::Nothing;
        }
        let mut by_state: [Vec<Uid>; 3] = Default::default();
        for owner in &object.owners {
            let looked_up = || {
                found
                    .iter()
                    .find(|(uid, _)| **uid == *owner.uid)
                    .map(|(_, s)| *s)
            };
            let Some(state) = self.owner_state(object, owner).or_else(looked_up) else {
                // It changed meanwhile, which brings the next look.
                return Step::Nothing;
            };
            by_state[state as usize].push(owner.uid.as_str().into());
        }
        let [present, going_first, absent] = by_state;
        if !present.is_empty() {
            let owners: Vec<_> = absent.into_iter().chain(going_first).collect();
            return if owners.is_empty() {
                Step::Nothing
            } else {
                Step::DropOwners {
                    object: object.clone(),
                    owners,
                }
            };
        }
        self.deletion_step(object, !going_first.is_empty())
    }

    fn foreground_step(&self, object: &Object) -> Step {
        let blocking = || {
            self.dependents_of(&object.uid)
                .filter(|each| each.blocks(&object.uid))
        };
        if blocking().next().is_none() {
            return Step::Release {
                object: object.clone(),
            };
        }
        let alive = self
            .dependents_of(&object.uid)
            .filter(|each| !each.deleting);
        let alive: Vec<_> = alive.map(|each| each.uid.clone()).collect();
        if alive.is_empty() {
            Step::Nothing
        } else {
            Step::LookAt(alive)
        }
    }

    fn deletion_step(&self, object: &Object, owner_waits: bool) -> Step {
        let mut dependents = self.dependents_of(&object.uid);
        if owner_waits && dependents.clone().next().is_some() {
            let is_blocking = object
                .owners
                .iter()
                .any(|o| o.block_owner_deletion == Some(true));
            if is_blocking && dependents.any(|each| each.is_going_with(FOREGROUND)) {
                return Step::Unblock {
                    object: object.clone(),
                };
            }
            let propagation = PropagationPolicy::Foreground;
            return Step::Delete {
                object: object.clone(),
                propagation,
            };
        }
        let has = |finalizer: &str| object.finalizers.iter().any(|each| each == finalizer);
        let propagation = if has(ORPHAN) {
            PropagationPolicy::Orphan
        } else if has(FOREGROUND) {
            PropagationPolicy::Foreground
        } else {
            PropagationPolicy::Background
        };
        Step::Delete {
            object: object.clone(),
            propagation,
        }
    }

    fn dependents_of(&self, owner: &Uid) -> impl Iterator<Item = &Object> + Clone {
        let dependents = self.dependents.get(owner).into_iter().flatten();
        dependents.filter_map(|uid| self.known(uid))
    }
}

#[cfg(test)]
mod tests;
