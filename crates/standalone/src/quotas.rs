//! Recounts what ResourceQuotas count.
//!
//! The API server charges what is created; this gives back what went or ended, follows changes of
//! what a quota bounds, and corrects everything once in a while. A recount first asks for a write of
//! the quota's status that changes nothing: the answer comes when every charge up to then has its
//! object, so that the lists that follow miss none. A charge after that makes the recount's own
//! write fail, and it starts again.

use std::time::Duration;

use apiserver::quota;
use futures::{Stream, StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::objects::claims;
use crate::resources::{Removal, Resources};
use crate::runtime::queue::Limits;
use crate::runtime::{ApiError, Cache, Caches, Change, Doing as _, Next, ObjectKey, drive};

/// How often a quota is recounted when nothing is known to have changed.
const RESYNC: Duration = Duration::from_mins(5);

/// Keeps `status.hard` and `status.used` of quotas.
#[derive(Clone)]
pub(crate) struct Quotas {
    client: Client,
    caches: Caches,
    known: Cache<ResourceQuota>,
    resources: Resources,
}

impl Quotas {
    pub(crate) fn new(client: Client, caches: Caches, resources: Resources) -> Self {
        Self {
            client,
            caches,
            known: Cache::default(),
            resources,
        }
    }

    /// Runs for ever.
    pub(crate) async fn run(self) {
        let follow = self.known.clone().follow(Api::all(self.client.clone()));
        let work = drive(self.triggers(), Limits::default(), |key| self.recount(key));
        tokio::join!(follow, work);
    }

    fn triggers(&self) -> impl Stream<Item = ObjectKey> + use<> {
        let own = self.known.changes().filter_map(|change| async move {
            let quota = change.object();
            is_behind(quota).then(|| ObjectKey::of(&**quota))
        });
        let ended = self.caches.pods.changes().filter_map(|change| async move {
            let pod = change.object();
            let ended = claims::is_finished(pod) || claims::is_deleting(&**pod);
            let gone = matches!(change, Change::Deleted(_)) || ended;
            gone.then(|| Removal::new("pods", pod.metadata.namespace.clone()))
        });
        let removed = stream::select(ended.boxed(), self.resources.removals().boxed());
        let quotas = self.known.clone();
        let by_removal = removed.flat_map(move |removal| {
            let mut counting = quotas.all();
            counting.retain(|quota| counts(quota, &removal));
            stream::iter(counting.into_iter().map(|quota| ObjectKey::of(&*quota)))
        });
        stream::select(own.boxed(), by_removal.boxed())
    }

    async fn recount(&self, key: ObjectKey) -> Result<Next, ApiError> {
        if self.known.get(&key).is_none() {
            return Ok(Next::OnChange);
        }
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            &key.namespace,
            &ApiResource::erase::<ResourceQuota>(&()),
        );
        let nothing = Patch::Merge(json!({}));
        let dry = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        let quota = api.patch_status(&key.name, &dry, &nothing).await;
        let quota = quota.doing("read quota", &key)?;
        let value = json!(quota);
        let mut objects = Vec::new();
        for resource in quota::counted_resources(&value) {
            let listed = self.list(&resource, &key).await?;
            objects.extend(listed.into_iter().map(|object| (resource.clone(), object)));
        }
        let counted = objects
            .iter()
            .map(|(resource, object)| (&**resource, object));
        let used = quota::used(&value, counted, Timestamp::now());
        let status = json!({"hard": value["spec"]["hard"], "used": quota::to_value(&used)});
        if status != value["status"] {
            let mut counted = quota;
            counted.data["status"] = status;
            let params = PostParams::default();
            let replaced = api.replace_status(&key.name, &params, &counted).await;
            replaced.doing("update the status of quota", &key)?;
        }
        Ok(Next::After(RESYNC))
    }

    /// The objects of a resource in the quota's namespace; none of a resource that is not served.
    async fn list(&self, resource: &str, quota: &ObjectKey) -> Result<Vec<Value>, ApiError> {
        let served = self.resources.current().await;
        let Some(served) = served
            .iter()
            .find(|served| served.group_resource() == resource)
        else {
            return Ok(Vec::new());
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &quota.namespace, &served.api);
        match api
            .list(&ListParams::default())
            .await
            .doing("list what counts for quota", quota)
        {
            Ok(listed) => Ok(listed.iter().map(|object| json!(object)).collect()),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// Whether a quota's status is about other bounds than its spec, or about none yet.
fn is_behind(quota: &ResourceQuota) -> bool {
    let spec = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let status = quota.status.as_ref();
    let used = status.and_then(|status| status.used.as_ref());
    let hard = status.and_then(|status| status.hard.as_ref());
    hard != spec || used.is_none()
}

/// Whether a quota counts such objects.
fn counts(quota: &ResourceQuota, removal: &Removal) -> bool {
    let elsewhere = removal.namespace.is_some() && removal.namespace != quota.metadata.namespace;
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let mut names = hard.into_iter().flatten().map(|(name, _)| name);
    !elsewhere && names.any(|name| quota::resource_of(name) == removal.resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(status: Value) -> ResourceQuota {
        serde_json::from_value(json!({"metadata": {"namespace": "ns"},
            "spec": {"hard": {"pods": "2", "requests.storage": "1Gi"}}, "status": status}))
        .unwrap()
    }

    #[test]
    fn a_status_is_behind_until_it_speaks_of_the_same_bounds() {
        let hard = json!({"pods": "2", "requests.storage": "1Gi"});
        assert!(is_behind(&quota(json!({}))));
        assert!(is_behind(&quota(json!({"hard": hard}))));
        assert!(is_behind(&quota(
            json!({"hard": {"pods": "1"}, "used": {"pods": "0"}})
        )));
        assert!(!is_behind(&quota(
            json!({"hard": hard, "used": {"pods": "0"}})
        )));
    }

    #[test]
    fn only_what_a_quota_counts_matters_to_it() {
        let removal =
            |resource: &str, namespace: &str| Removal::new(resource, Some(namespace.to_owned()));
        let quota = quota(json!({}));
        assert!(counts(&quota, &removal("pods", "ns")));
        assert!(counts(&quota, &removal("persistentvolumeclaims", "ns")));
        assert!(!counts(&quota, &removal("pods", "other")));
        assert!(!counts(&quota, &removal("configmaps", "ns")));
        assert!(counts(&quota, &Removal::new("pods", None)));
    }
}
