//! Every controller of this crate, under one supervisor.

use kube::Client;
use tokio::sync::watch;

use crate::absent_nodes::AbsentNodes;
use crate::binder::Binder;
use crate::bootstrap::{self, BootstrapError};
use crate::events::{self, EventWriter, Recorder};
use crate::garbage_collector::GarbageCollector;
use crate::namespaces::Namespaces;
use crate::protection::Protection;
use crate::provisioner::{CapacityPublisher, Drivers, NodeSocket, Provisioner};
use crate::quotas::Quotas;
use crate::resources::Resources;
use crate::runtime::Caches;
use crate::runtime::supervisor::Supervisor;
use crate::scheduler::Scheduler;
use crate::taint_eviction::TaintEviction;
use crate::workloads::Workloads;

/// What the control plane must be told; the rest it reads from the API.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Nodes and the sockets of their CSI drivers, which may start later. Other nodes that the API
    /// knows are away.
    pub nodes: Vec<NodeSocket>,
    /// PEM text of the authorities to trust for the API server's certificate, for
    /// `kube-root-ca.crt`, which follows it.
    pub root_ca: Option<watch::Receiver<String>>,
}

/// The control plane of a home without a cluster.
///
/// ```no_run
/// # async fn example(client: kube::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use longshore_standalone::{Config, ControlPlane, NodeSocket};
///
/// let node = NodeSocket { name: "node-1".into(), socket: "/data/nodes/node-1/csi.sock".into() };
/// let config = Config { nodes: vec![node], root_ca: None };
/// let control_plane = ControlPlane::start(client, config).await?;
/// control_plane.run(std::future::pending()).await;
/// # Ok(())
/// # }
/// ```
pub struct ControlPlane {
    client: Client,
    config: Config,
    recorder: Recorder,
    events: EventWriter,
}

impl ControlPlane {
    /// Creates the objects that every home has, where they are missing. Nothing runs yet.
    ///
    /// # Errors
    /// When the API server does not take one of them.
    pub async fn start(client: Client, config: Config) -> Result<Self, BootstrapError> {
        bootstrap::create_missing(&client).await?;
        let (recorder, events) = events::channel();
        Ok(Self {
            client,
            config,
            recorder,
            events,
        })
    }

    /// Reports events through this control plane, which writes them while it runs.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Runs all controllers until `shutdown` completes, then drops them where they stand: what they
    /// were doing follows again from the objects at the next start.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self {
            client,
            config,
            recorder,
            events,
        } = self;
        let caches = Caches::default();
        let resources = Resources::default();
        let drivers = Drivers::new(&config.nodes);
        let mut tasks = Supervisor::default();

        tasks.keep(
            "caches",
            with(&client, &caches, |client, caches| caches.follow(client)),
        );
        tasks.keep(
            "resources",
            with(&client, &resources, |client, known| known.follow(client)),
        );
        tasks.keep(
            "events",
            with(&client, &events, |client, events| events.run(client)),
        );
        tasks.keep(
            "event expiry",
            with(&client, &(), |client, ()| events::expire(client)),
        );

        let binder = Binder::new(client.clone(), caches.clone(), &recorder);
        tasks.keep("binder", move || binder.clone().run());
        let provisioner =
            Provisioner::new(client.clone(), caches.clone(), &recorder, drivers.clone());
        tasks.keep("provisioner", move || provisioner.clone().run());
        let capacity = CapacityPublisher::new(client.clone(), caches.clone(), drivers);
        tasks.keep("capacity", move || capacity.clone().run());
        let scheduler = Scheduler::new(client.clone(), caches.clone(), &recorder);
        tasks.keep("scheduler", move || scheduler.clone().run());
        let present = config.nodes.into_iter().map(|node| node.name);
        let absent = AbsentNodes::new(client.clone(), caches.clone(), present);
        tasks.keep("absent nodes", move || absent.clone().run());
        let eviction = TaintEviction::new(client.clone(), caches.clone(), &recorder);
        tasks.keep("taint eviction", move || eviction.clone().run());
        let protection = Protection::new(client.clone(), caches.clone());
        tasks.keep("protection", move || protection.clone().run());
        let workloads = Workloads::new(client.clone(), caches.clone(), &recorder);
        tasks.keep("workloads", move || workloads.clone().run());
        let quotas = Quotas::new(client.clone(), caches.clone(), resources.clone());
        tasks.keep("quotas", move || quotas.clone().run());
        let collector = GarbageCollector::new(client.clone(), resources.clone(), &recorder);
        tasks.keep("garbage collector", move || collector.clone().run());
        let namespaces = Namespaces::new(client, &caches, resources, config.root_ca);
        tasks.keep("namespaces", move || namespaces.clone().run());

        tasks.run(shutdown).await;
    }
}

/// A task that takes its own copies each time it is started.
fn with<T, Fut, F>(client: &Client, state: &T, start: F) -> impl Fn() -> Fut + use<T, Fut, F>
where
    T: Clone,
    F: Fn(Client, T) -> Fut,
{
    let (client, state) = (client.clone(), state.clone());
    move || start(client.clone(), state.clone())
}
