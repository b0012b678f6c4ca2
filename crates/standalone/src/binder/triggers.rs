//! Which claims and volumes to look at when something changes.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use crate::objects::claims;
use crate::runtime::{Caches, Change, ObjectKey};

/// Claims to reconcile.
pub(super) fn of_claims(caches: &Caches) -> impl Stream<Item = ObjectKey> + use<> {
    let own = caches
        .claims
        .changes()
        .map(|change| ObjectKey::of(&**change.object()));
    let by_volume = {
        let caches = caches.clone();
        caches.volumes.changes().flat_map(move |change| {
            stream::iter(claims_touched_by(change.object(), &caches.claims.all()))
        })
    };
    let by_class = {
        let caches = caches.clone();
        caches.classes.changes().flat_map(move |_| {
            stream::iter(caches.claims.all()).filter_map(|claim| async move {
                claims::volume_name(&claim)
                    .is_none()
                    .then(|| ObjectKey::of(&*claim))
            })
        })
    };
    stream::select_all([own.boxed(), by_volume.boxed(), by_class.boxed()])
}

/// The claims that a volume is for or was for, and those that an available one could be for.
fn claims_touched_by(
    volume: &PersistentVolume,
    known: &[Arc<PersistentVolumeClaim>],
) -> Vec<ObjectKey> {
    let volume_name = claims::name(volume);
    let reference = claims::claim_ref(volume).map(claims::claim_ref_key);
    known
        .iter()
        .filter(|claim| match claims::volume_name(claim) {
            Some(name) => name == volume_name,
            None => reference
                .as_ref()
                .is_none_or(|key| *key == ObjectKey::of(&***claim)),
        })
        .map(|claim| ObjectKey::of(&**claim))
        .collect()
}

/// Volumes to reconcile.
pub(super) fn of_volumes(caches: &Caches) -> impl Stream<Item = ObjectKey> + use<> {
    let own = caches
        .volumes
        .changes()
        .map(|change| ObjectKey::of(&**change.object()));
    let volumes = caches.volumes.clone();
    let by_claim = caches
        .claims
        .changes()
        .flat_map(move |change| stream::iter(volumes_touched_by(&change, &volumes.all())));
    stream::select(own, by_claim).boxed()
}

/// The volumes that refer to a claim, or that it refers to.
fn volumes_touched_by(
    change: &Change<PersistentVolumeClaim>,
    known: &[Arc<PersistentVolume>],
) -> Vec<ObjectKey> {
    let claim = change.object();
    let key = ObjectKey::of(&**claim);
    let named = claims::volume_name(claim);
    known
        .iter()
        .filter(|volume| {
            named == Some(claims::name(&***volume))
                || claims::claim_ref(volume).is_some_and(|r| claims::claim_ref_key(r) == key)
        })
        .map(|volume| ObjectKey::of(&**volume))
        .collect()
}
