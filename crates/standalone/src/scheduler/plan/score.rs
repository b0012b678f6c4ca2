//! The best of the nodes that take a Pod.
//!
//! Each aspect gives a node 0 to 100 points, and counts as much as in Kubernetes' default profile:
//!
//! | aspect | weight |
//! |---|---|
//! | taints that the node would rather not have ignored | 3 |
//! | preferred node affinity | 2 |
//! | preferred neighbours | 2 |
//! | room that is left | 1 |

use k8s_openapi::api::core::v1::Pod;

use super::neighbours::Neighbours;
use super::resources::Amounts;
use super::{Candidate, World, node_fit};
use crate::objects::claims;

/// The best candidate: not the one that failed before, then by points, then by name.
pub(super) fn best<'a>(
    pod: &Pod,
    candidates: Vec<Candidate<'a>>,
    requests: &Amounts,
    neighbours: &Neighbours<'_>,
    world: &World<'_>,
) -> Option<Candidate<'a>> {
    let aspect = |of: &dyn Fn(&Candidate<'a>) -> i64| {
        normalized(&candidates.iter().map(of).collect::<Vec<_>>())
    };
    let taints = aspect(&|each| -count(node_fit::disliked_taints(pod, each.node)));
    let affinity = aspect(&|each| node_fit::preference(pod, each.node));
    let near = aspect(&|each| neighbours.preference(each.node));
    let points = |index: usize, each: &Candidate<'_>| {
        let room = i64::try_from(each.room.emptiness(requests)).unwrap_or_default();
        let of = |aspect: &[i64]| aspect.get(index).copied().unwrap_or_default();
        3 * of(&taints) + 2 * of(&affinity) + 2 * of(&near) + room
    };
    let ranks: Vec<_> = candidates
        .iter()
        .enumerate()
        .map(|(index, each)| {
            let name = claims::name(each.node);
            (
                world.avoid == Some(name),
                -points(index, each),
                name.to_owned(),
            )
        })
        .collect();
    let ranked = ranks.into_iter().zip(candidates);
    ranked
        .min_by(|(a, _), (b, _)| a.cmp(b))
        .map(|(_, best)| best)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Spreads values over 0 to 100; all 0 where they are the same.
fn normalized(values: &[i64]) -> Vec<i64> {
    let (least, most) = (values.iter().min(), values.iter().max());
    let (least, most) = (least.copied().unwrap_or(0), most.copied().unwrap_or(0));
    let range = most.saturating_sub(least).max(1);
    values
        .iter()
        .map(|value| value.saturating_sub(least).saturating_mul(100) / range)
        .collect()
}
