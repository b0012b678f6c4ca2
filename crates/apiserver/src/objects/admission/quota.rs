//! Room for new objects: what they use is charged to the quotas of their namespace before they
//! are stored, and given back if they are not.
//!
//! In a namespace with quotas one write at a time has its turn, from its charge to its end. The
//! status of a quota is written in such a turn too: so a client that asks for a write of the status,
//! even a dry one, learns of a state in which every charge has its object, or has been undone. A
//! recount that starts from there never takes back a charge whose object is yet to come.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::super::{Call, Objects, Part, refused};
use super::name;
use crate::kind::Kind;
use crate::meta;
use crate::quota::{self, Amounts};
use crate::status::Status;
use crate::store::{Key, Object, Write, WriteError};

const QUOTAS: &str = "resourcequotas";

/// Namespaces share this many turns.
const TURNS: usize = 64;

/// Whose turn it is, by namespace.
#[derive(Debug)]
pub(crate) struct Turns([RwLock<()>; TURNS]);

/// A turn: with others where there are no quotas, alone where there are.
#[derive(Debug)]
#[expect(dead_code, reason = "the guards are held, not read")]
enum Turn<'a> {
    Shared(RwLockReadGuard<'a, ()>),
    Alone(RwLockWriteGuard<'a, ()>),
}

/// What a write was charged; to be [settled](Objects::settle) when it is known whether it was done.
#[derive(Debug, Default)]
#[must_use]
pub(in crate::objects) struct Charge<'a> {
    paid: Vec<(Key, Amounts)>,
    _turn: Option<Turn<'a>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| RwLock::default()))
    }
}

impl Turns {
    fn of(&self, namespace: &str) -> &RwLock<()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(namespace);
        let index = usize::try_from(hash % TURNS as u64).unwrap_or_default();
        &self.0[index]
    }
}

/// A write as quotas see it.
struct Demand<'a> {
    call: &'a Call,
    object: &'a Value,
    resource: String,
    is_new: bool,
    /// What it uses beyond the present state.
    more: Amounts,
}

impl Objects {
    /// Waits until no charge is without its object, before the status of a quota is written.
    pub(in crate::objects) async fn quota_turn(&self, call: &Call) -> Charge<'_> {
        if call.part != Part::Status || !call.kind.is("", QUOTAS) {
            return Charge::default();
        }
        let turn = self.turns.of(&call.namespace).write().await;
        Charge {
            paid: Vec::new(),
            _turn: Some(Turn::Alone(turn)),
        }
    }

    /// Charges a new object, or what a new state uses beyond the `old` one, to every quota that it
    /// counts for, or says which quota has no room for it.
    pub(in crate::objects) async fn charge(
        &self,
        call: &Call,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<Charge<'_>, Status> {
        if !is_charged(call, old) {
            return Ok(Charge::default());
        }
        let (turn, quotas) = self.enter(&call.namespace).await;
        let mut charge = Charge {
            paid: Vec::new(),
            _turn: Some(turn),
        };
        if quotas.is_empty() {
            return Ok(charge);
        }
        let demand = Demand::new(call, object, old);
        for quota in &quotas {
            demand.on(&quota.value())?;
        }
        if call.dry_run {
            return Ok(charge);
        }
        for quota in quotas {
            match self.pay(&demand, quota).await {
                Ok(paid) => charge.paid.extend(paid),
                Err(status) => {
                    self.settle(charge, false).await;
                    return Err(status);
                }
            }
        }
        Ok(charge)
    }

    /// Ends the turn of a write, and gives back what it was charged if it was not done.
    pub(in crate::objects) async fn settle(&self, charge: Charge<'_>, done: bool) {
        if done {
            return;
        }
        for (key, paid) in &charge.paid {
            while let Some(stored) = self.store.get(key) {
                let quota = with_used(stored.value(), paid, |used, paid| used - paid);
                let write = Write::Update(stored.revision, quota);
                match self.store.write(key.clone(), write).await {
                    Err(WriteError::Stale) => {}
                    Ok(_) => break,
                    Err(error) => {
                        // The next recount corrects it.
                        tracing::warn!(%error, quota = key.name, "cannot give back to a quota");
                        break;
                    }
                }
            }
        }
    }

    async fn enter(&self, namespace: &str) -> (Turn<'_>, Vec<Arc<Object>>) {
        let turns = self.turns.of(namespace);
        let quotas = || self.in_namespace(QUOTAS, namespace);
        if quotas().is_empty() {
            let turn = turns.read().await;
            if quotas().is_empty() {
                return (Turn::Shared(turn), Vec::new());
            }
        }
        let turn = turns.write().await;
        (Turn::Alone(turn), quotas())
    }

    /// Adds a demand to one quota's `status.used`; users and controllers may write that, too.
    async fn pay(
        &self,
        demand: &Demand<'_>,
        mut quota: Arc<Object>,
    ) -> Result<Option<(Key, Amounts)>, Status> {
        loop {
            let value = quota.value();
            let more = demand.on(&value)?;
            if more.is_empty() {
                return Ok(None);
            }
            let key = Key {
                resource: QUOTAS.into(),
                namespace: demand.call.namespace.clone(),
                name: meta::name(&value).to_owned(),
            };
            let paid = with_used(value, &more, |used, more| used + more);
            let write = Write::Update(quota.revision, paid);
            match self.store.write(key.clone(), write).await {
                Ok(_) => return Ok(Some((key, more))),
                Err(WriteError::Missing) => return Ok(None),
                Err(WriteError::Stale) => match self.store.get(&key) {
                    Some(present) => quota = present,
                    None => return Ok(None),
                },
                Err(error) => return Err(refused(&demand.call.kind, &key.name, &error)),
            }
        }
    }
}

/// Whether a write can use more than is used already. Of changes, only claims that grow and services
/// of another type do.
fn is_charged(call: &Call, old: Option<&Value>) -> bool {
    let kind: &Kind = &call.kind;
    let grows = kind.is("", "persistentvolumeclaims") || kind.is("", "services");
    let is_event = kind.plural == "events" && matches!(&*kind.group, "" | "events.k8s.io");
    kind.namespaced && !is_event && call.part == Part::Main && (old.is_none() || grows)
}

impl<'a> Demand<'a> {
    fn new(call: &'a Call, object: &'a Value, old: Option<&Value>) -> Self {
        let resource = call.kind.group_resource();
        let now = Timestamp::now();
        let mut more = quota::usage(&resource, object, now);
        for (name, before) in old.map_or_else(Amounts::new, |old| quota::usage(&resource, old, now))
        {
            let amount = more.entry(name).or_default();
            *amount = *amount - before;
        }
        more.retain(|_, amount| !amount.is_zero());
        Self {
            call,
            object,
            resource,
            is_new: old.is_none(),
            more,
        }
    }

    /// What this quota is to be charged; nothing if it does not count such objects.
    fn on(&self, quota: &Value) -> Result<Amounts, Status> {
        let mut hard = quota::amounts(quota, "/status/hard");
        hard.retain(|name, _| quota::resource_of(name) == self.resource);
        if hard.is_empty() || !quota::is_in_scope(quota, &self.resource, self.object) {
            return Ok(Amounts::new());
        }
        let (quota_name, used) = (meta::name(quota), quota::amounts(quota, "/status/used"));
        if let Some(missing) = unspecified(self.object, &hard).filter(|_| self.is_pod()) {
            return Err(self.refusal(&format!(
                "failed quota: {quota_name}: must specify {missing}"
            )));
        }
        if hard.keys().any(|name| !used.contains_key(name)) {
            let names: Vec<_> = hard.keys().map(String::as_str).collect();
            let names = names.join(",");
            let why = format!("status unknown for quota: {quota_name}, resources: {names}");
            return Err(self.refusal(&why));
        }
        let mut more = self.more.clone();
        more.retain(|name, _| hard.contains_key(name));
        let mut exceeded = more.clone();
        exceeded.retain(|name, more| !more.is_negative() && used[name] + *more > hard[name]);
        if exceeded.is_empty() {
            return Ok(more);
        }
        let show = |amounts: &Amounts| {
            let pairs = exceeded
                .keys()
                .map(|name| format!("{name}={}", amounts[name]));
            pairs.collect::<Vec<_>>().join(",")
        };
        Err(self.refusal(&format!(
            "exceeded quota: {quota_name}, requested: {}, used: {}, limited: {}",
            show(&more),
            show(&used),
            show(&hard)
        )))
    }

    fn is_pod(&self) -> bool {
        self.is_new && self.resource == "pods"
    }

    fn refusal(&self, why: &str) -> Status {
        Status::forbidden(&self.call.kind, name(self.object), why)
    }
}

/// Where CPU or memory is bounded, every container says how much it takes: `limits.cpu for: a,b`.
fn unspecified(pod: &Value, hard: &Amounts) -> Option<String> {
    let mut missing = Vec::new();
    for name in hard.keys() {
        let (which, resource) = match name.split_once('.') {
            Some((which @ ("limits" | "requests"), resource)) => (which, resource),
            _ => ("requests", name.as_str()),
        };
        if !matches!(resource, "cpu" | "memory") {
            continue;
        }
        let containers = ["/spec/containers", "/spec/initContainers"].into_iter();
        let containers = containers
            .filter_map(|list| pod.pointer(list)?.as_array())
            .flatten();
        let silent = containers
            .filter(|c| {
                c.pointer(&format!("/resources/{which}/{resource}"))
                    .is_none()
            })
            .map(|container| meta::text(container, "/name"));
        let silent: BTreeSet<_> = silent.collect();
        if !silent.is_empty() {
            let silent: Vec<_> = silent.into_iter().collect();
            missing.push(format!("{name} for: {}", silent.join(",")));
        }
    }
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// A quota with some of its `status.used` changed.
fn with_used(
    mut quota: Value,
    amounts: &Amounts,
    change: fn(quota_amount: quota::Quantity, by: quota::Quantity) -> quota::Quantity,
) -> Value {
    let mut used = quota::amounts(&quota, "/status/used");
    for (name, amount) in amounts {
        let sum = used.entry(name.clone()).or_default();
        *sum = change(*sum, *amount);
    }
    meta::child_mut(&mut quota, "status").insert("used".into(), quota::to_value(&used));
    quota
}
