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
use tokio::sync::watch;

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
    root_ca: Option<watch::Receiver<String>>,
    known: Cache<Namespace>,
    accounts: Cache<ServiceAccount>,
    certificates: Cache<ConfigMap>,
}

impl Namespaces {
    /// `root_ca` is the PEM text of the authorities to trust for the API server's certificate.
    pub(crate) fn new(
        client: Client,
        caches: &Caches,
        resources: Resources,
        root_ca: Option<watch::Receiver<String>>,
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
        let authorities = self.renewals();
        stream::select_all([
            own.boxed(),
            accounts.boxed(),
            certificates.boxed(),
            authorities.boxed(),
        ])
    }

    /// All namespaces, whenever there are other authorities.
    fn renewals(&self) -> impl Stream<Item = ObjectKey> + use<> {
        let known = self.known.clone();
        let renewed = stream::unfold(self.root_ca.clone(), |root_ca| async {
            let mut root_ca = root_ca?;
            root_ca.changed().await.ok()?;
            Some(((), Some(root_ca)))
        });
        renewed.flat_map(move |()| {
            let all = known.all();
            stream::iter(all).map(|namespace| ObjectKey::of(&*namespace))
        })
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
        if let Some(root_ca) = &self.root_ca {
            let text = root_ca.borrow().clone();
            self.publish(&key.name, text).await?;
        }
        Ok(Next::OnChange)
    }

    /// Has a namespace's ConfigMap say what to trust, whoever wrote something else there.
    async fn publish(&self, namespace: &str, root_ca: String) -> Result<(), ApiError> {
        let present = self.certificates.get(&ObjectKey::new(namespace, ROOT_CA));
        let data = Some([("ca.crt".to_owned(), root_ca)].into());
        match present {
            None => {
                let certificate = ConfigMap {
                    metadata: named_in(namespace, ROOT_CA),
                    data,
                    ..ConfigMap::default()
                };
                self.create(namespace, &certificate).await
            }
            Some(present) if present.data == data => Ok(()),
            Some(present) => {
                let mut certificate = ConfigMap::clone(&present);
                certificate.data = data;
                let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
                let replaced = api
                    .replace(ROOT_CA, &PostParams::default(), &certificate)
                    .await;
                replaced.doing("furnish namespace", namespace).or_gone()
            }
        }
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
