//! Namespaces: what each one has from the start, and how one ends.
//!
//! Every namespace has a ServiceAccount `default` and, when the authority of the API server is known, a
//! ConfigMap `kube-root-ca.crt` that carries it. A namespace that is being deleted is emptied of every
//! resource that is served, and then leaves the API.

mod content;
mod termination;

use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::objects::claims;
use crate::resources::Resources;
use crate::runtime::error::GoneIsDone as _;
use crate::runtime::queue::Limits;
use crate::runtime::{ApiError, Cache, Caches, Doing as _, Next, ObjectKey, drive};

const SERVICE_ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";

/// Namespaces being emptied at a time. Each may wait long for finalizers, which costs nothing.
const TERMINATIONS: Limits = Limits {
    concurrency: 256,
    ..Limits::DEFAULT
};

/// Furnishes new namespaces and empties those that are deleted.
#[derive(Clone)]
pub(crate) struct Namespaces {
    client: Client,
    resources: Resources,
    root_ca: Option<String>,
    known: Cache<Namespace>,
    accounts: Cache<ServiceAccount>,
    certificates: Cache<ConfigMap>,
}

impl Namespaces {
    /// `root_ca` is the PEM text of the authority that signed the API server's certificate.
    pub(crate) fn new(
        client: Client,
        caches: &Caches,
        resources: Resources,
        root_ca: Option<String>,
    ) -> Self {
        Self {
            client,
            resources,
            root_ca,
            known: caches.namespaces.clone(),
            accounts: Cache::default(),
            certificates: Cache::default(),
        }
    }

    /// Runs for ever.
    pub(crate) async fn run(self) {
        let named =
            |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
        let follow = async {
            tokio::join!(
                self.accounts
                    .clone()
                    .follow_with(Api::all(self.client.clone()), named(SERVICE_ACCOUNT)),
                self.certificates
                    .clone()
                    .follow_with(Api::all(self.client.clone()), named(ROOT_CA)),
            );
        };
        let work = async {
            self.known.ready().await;
            self.accounts.ready().await;
            self.certificates.ready().await;
            tokio::join!(
                drive(self.triggers(), Limits::default(), |key| self.furnish(key)),
                drive(self.namespace_triggers(), TERMINATIONS, |key| self
                    .terminate(key)),
            );
        };
        tokio::join!(follow, work);
    }

    fn namespace_triggers(&self) -> impl Stream<Item = ObjectKey> + use<> {
        self.known
            .changes()
            .map(|change| ObjectKey::of(&**change.object()))
    }

    fn triggers(&self) -> impl Stream<Item = ObjectKey> + use<> {
        let own = self.namespace_triggers();
        let accounts = self
            .accounts
            .changes()
            .map(|change| namespace_of(&**change.object()));
        let certificates = self
            .certificates
            .changes()
            .map(|change| namespace_of(&**change.object()));
        stream::select_all([own.boxed(), accounts.boxed(), certificates.boxed()])
    }

    async fn furnish(&self, key: ObjectKey) -> Result<Next, ApiError> {
        let Some(namespace) = self.known.get(&key) else {
            return Ok(Next::OnChange);
        };
        if claims::is_deleting(&*namespace) {
            return Ok(Next::OnChange);
        }
        if self
            .accounts
            .get(&ObjectKey::new(&*key.name, SERVICE_ACCOUNT))
            .is_none()
        {
            let account = ServiceAccount {
                metadata: named_in(&key.name, SERVICE_ACCOUNT),
                ..ServiceAccount::default()
            };
            self.create(&key.name, &account).await?;
        }
        if let Some(root_ca) = &self.root_ca
            && self
                .certificates
                .get(&ObjectKey::new(&*key.name, ROOT_CA))
                .is_none()
        {
            let certificate = ConfigMap {
                metadata: named_in(&key.name, ROOT_CA),
                data: Some([("ca.crt".to_owned(), root_ca.clone())].into()),
                ..ConfigMap::default()
            };
            self.create(&key.name, &certificate).await?;
        }
        Ok(Next::OnChange)
    }

    async fn create<K>(&self, namespace: &str, object: &K) -> Result<(), ApiError>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let created = api.create(&PostParams::default(), object).await;
        created.doing("furnish namespace", namespace).or_gone()
    }

    async fn terminate(&self, key: ObjectKey) -> Result<Next, ApiError> {
        match self
            .known
            .get(&key)
            .filter(|namespace| claims::is_deleting(&**namespace))
        {
            Some(namespace) => termination::step(&self.client, &self.resources, &namespace).await,
            None => Ok(Next::OnChange),
        }
    }
}

/// The key of the namespace that an object is in.
fn namespace_of(object: &impl Resource) -> ObjectKey {
    ObjectKey::cluster(object.meta().namespace.clone().unwrap_or_default())
}

fn named_in(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    }
}
