//! Which ReplicaSet gets which size.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DeploymentSpec, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Sets;

/// A ReplicaSet that is to have another size.
#[derive(Debug, PartialEq)]
pub(super) struct Scaling {
    pub(super) set: Arc<ReplicaSet>,
    pub(super) to: i32,
}

/// How far the number of Pods may stray during a rollout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    /// Above what is wanted.
    pub(super) surge: i32,
    /// Below what is wanted.
    pub(super) unavailable: i32,
}

pub(super) fn wanted(spec: &DeploymentSpec) -> i32 {
    spec.replicas.unwrap_or(1)
}

pub(super) fn size(set: &ReplicaSet) -> i32 {
    let replicas = set.spec.as_ref().and_then(|spec| spec.replicas);
    replicas.unwrap_or(1)
}

pub(super) fn is_active(set: &ReplicaSet) -> bool {
    size(set) > 0
        || set
            .status
            .as_ref()
            .is_some_and(|status| status.replicas > 0)
}

pub(super) fn available(set: &ReplicaSet) -> i32 {
    let status = set.status.as_ref();
    status
        .and_then(|status| status.available_replicas)
        .unwrap_or(0)
}

fn is_recreate(spec: &DeploymentSpec) -> bool {
    let strategy = spec.strategy.as_ref();
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

pub(super) fn bounds(spec: &DeploymentSpec) -> Bounds {
    if is_recreate(spec) {
        let unavailable = wanted(spec);
        return Bounds {
            surge: 0,
            unavailable,
        };
    }
    let rolling = spec
        .strategy
        .as_ref()
        .and_then(|s| s.rolling_update.as_ref());
    let of = |bound: Option<&IntOrString>, up| share(bound, wanted(spec), up);
    let surge = of(rolling.and_then(|r| r.max_surge.as_ref()), true);
    let unavailable = of(rolling.and_then(|r| r.max_unavailable.as_ref()), false);
    // Percentages of a few Pods may both come to nothing.
    let unavailable = if surge + unavailable == 0 {
        1
    } else {
        unavailable
    };
    Bounds { surge, unavailable }
}

/// A number, or a percentage of the total that is rounded up or down; a quarter if nothing is said.
pub(in crate::workloads) fn share(bound: Option<&IntOrString>, total: i32, up: bool) -> i32 {
    let percent = match bound {
        Some(IntOrString::Int(number)) => return *number,
        Some(IntOrString::String(text)) => text.trim_end_matches('%').parse().unwrap_or(0),
        None => 25,
    };
    let parts = i64::from(total) * i64::from(percent) + if up { 99 } else { 0 };
    i32::try_from(parts / 100).unwrap_or(i32::MAX)
}

/// The size that the new ReplicaSet starts with.
pub(super) fn first_size(spec: &DeploymentSpec, sets: &Sets) -> i32 {
    grown(spec, sets, 0)
}

/// The size of the new ReplicaSet, which has `now`, when it takes all the room there is.
fn grown(spec: &DeploymentSpec, sets: &Sets, now: i32) -> i32 {
    if is_recreate(spec) {
        return wanted(spec);
    }
    let total: i32 = now + sets.old.iter().map(|set| size(set)).sum::<i32>();
    let room = (wanted(spec) + bounds(spec).surge - total).max(0);
    now + room.min(wanted(spec) - now)
}

/// The next step of a rollout; none when it is complete or has to wait.
pub(super) fn roll(spec: &DeploymentSpec, sets: &Sets, old_pods_left: bool) -> Vec<Scaling> {
    let Some(new) = &sets.new else {
        return Vec::new();
    };
    if is_recreate(spec) {
        let old = empty(&sets.old);
        if !old.is_empty() || old_pods_left {
            return old;
        }
    }
    let now = size(new);
    let to = if now > wanted(spec) {
        wanted(spec)
    } else {
        grown(spec, sets, now)
    };
    if to != now {
        let set = new.clone();
        return vec![Scaling { set, to }];
    }
    shrink_old(spec, sets, new)
}

/// Takes from the old ReplicaSets what is not needed for the Pods that must be available: first what
/// is not available anyway.
fn shrink_old(spec: &DeploymentSpec, sets: &Sets, new: &ReplicaSet) -> Vec<Scaling> {
    let least = wanted(spec) - bounds(spec).unavailable;
    let total: i32 = sets.all().iter().map(|set| size(set)).sum();
    let mut spare = total - least - (size(new) - available(new)).max(0);
    let mut sizes: Vec<_> = sets.old.iter().map(|set| (set, size(set))).collect();
    for (set, size) in &mut sizes {
        let useless = (*size - available(set)).clamp(0, spare.max(0));
        *size -= useless;
        spare -= useless;
    }
    let usable: i32 = sets
        .all()
        .iter()
        .map(|set| available(set).min(self::size(set)))
        .sum();
    let mut spare = spare.min(usable - least);
    for (_, size) in &mut sizes {
        let taken = (*size).clamp(0, spare.max(0));
        *size -= taken;
        spare -= taken;
    }
    let changed = sizes.into_iter().filter(|(set, to)| size(set) != *to);
    changed
        .map(|(set, to)| Scaling {
            set: set.clone(),
            to,
        })
        .collect()
}

/// Takes all Pods from some ReplicaSets.
pub(super) fn empty(sets: &[Arc<ReplicaSet>]) -> Vec<Scaling> {
    let filled = sets.iter().filter(|set| size(set) > 0);
    filled
        .map(|set| Scaling {
            set: set.clone(),
            to: 0,
        })
        .collect()
}

/// While a rollout is paused, the largest ReplicaSet follows the Deployment's size.
pub(super) fn resize(spec: &DeploymentSpec, sets: &Sets) -> Vec<Scaling> {
    let all = sets.all();
    let Some(largest) = all.iter().max_by_key(|set| size(set)) else {
        return Vec::new();
    };
    let others: i32 = all.iter().map(|set| size(set)).sum::<i32>() - size(largest);
    let to = (wanted(spec) - others).max(0);
    let within = others > 0 && size(largest) > to;
    if to == size(largest) || within && size(largest) - to <= bounds(spec).surge {
        return Vec::new();
    }
    vec![Scaling {
        set: largest.clone(),
        to,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(replicas: i32, strategy: Value) -> DeploymentSpec {
        serde_json::from_value(
            json!({"replicas": replicas, "strategy": strategy, "selector": {},
            "template": {}}),
        )
        .unwrap()
    }

    fn rolling(surge: Value, unavailable: Value) -> Value {
        json!({"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
    }

    fn set(size: i32, available: i32) -> Arc<ReplicaSet> {
        let set = json!({"spec": {"replicas": size, "selector": {}},
            "status": {"replicas": size, "availableReplicas": available}});
        Arc::new(serde_json::from_value(set).unwrap())
    }

    fn sets(old: &[(i32, i32)], new: (i32, i32)) -> Sets {
        Sets {
            new: Some(set(new.0, new.1)),
            old: old
                .iter()
                .map(|(size, available)| set(*size, *available))
                .collect(),
        }
    }

    fn sizes(spec: &DeploymentSpec, sets: &Sets) -> Vec<i32> {
        roll(spec, sets, false)
            .iter()
            .map(|scaling| scaling.to)
            .collect()
    }

    #[test]
    fn percentages_are_rounded_away_from_each_other() {
        let quarter = rolling(json!("25%"), json!("25%"));
        let of = |replicas| bounds(&spec(replicas, quarter.clone()));
        assert_eq!(
            of(10),
            Bounds {
                surge: 3,
                unavailable: 2
            }
        );
        assert_eq!(
            of(1),
            Bounds {
                surge: 1,
                unavailable: 0
            }
        );
        let none = bounds(&spec(2, rolling(json!(0), json!("25%"))));
        assert_eq!(
            none,
            Bounds {
                surge: 0,
                unavailable: 1
            }
        );
    }

    #[test]
    fn a_rollout_grows_and_shrinks_within_its_bounds() {
        let spec = spec(10, rolling(json!(3), json!(2)));
        assert_eq!(first_size(&spec, &sets(&[(10, 10)], (0, 0))), 3);
        assert_eq!(sizes(&spec, &sets(&[(10, 10)], (3, 0))), [8]);
        assert_eq!(sizes(&spec, &sets(&[(8, 8)], (3, 0))), [5]);
        assert_eq!(sizes(&spec, &sets(&[(8, 8)], (5, 0))), [] as [i32; 0]);
        assert_eq!(sizes(&spec, &sets(&[(8, 8)], (5, 5))), [3]);
        assert_eq!(sizes(&spec, &sets(&[(0, 0)], (10, 10))), [] as [i32; 0]);
    }

    #[test]
    fn what_is_not_available_goes_first() {
        let spec = spec(4, rolling(json!(1), json!(1)));
        assert_eq!(sizes(&spec, &sets(&[(3, 3), (1, 0)], (1, 0))), [0]);
    }

    #[test]
    fn recreation_waits_for_the_last_old_pod() {
        let spec = spec(3, json!({"type": "Recreate"}));
        let both = sets(&[(3, 3)], (0, 0));
        assert_eq!(sizes(&spec, &both), [0]);
        let emptied = sets(&[(0, 0)], (0, 0));
        assert_eq!(roll(&spec, &emptied, true), []);
        assert_eq!(sizes(&spec, &emptied), [3]);
    }

    #[test]
    fn a_smaller_deployment_shrinks_its_new_set() {
        let spec = spec(2, rolling(json!(1), json!(0)));
        assert_eq!(sizes(&spec, &sets(&[], (5, 5))), [2]);
        let paused = resize(&spec, &sets(&[], (5, 5)));
        assert_eq!(paused[0].to, 2);
    }
}
