//! The garbage collector: objects go when the last of their owners is gone.
//!
//! One watch per served resource, of metadata only, feeds a graph of owners and dependents. A change
//! names the objects to look at; what the graph says about one of them leads to at most one step:
//!
//! | object | step |
//! |---|---|
//! | all owners gone | delete it |
//! | some owners gone, or going in the foreground | drop the references to those |
//! | all others going in the foreground | delete it, in the foreground if it has dependents |
//! | going in the foreground, nothing blocks | take off `foregroundDeletion` |
//! | going with `orphan` | drop its dependents' references, then take off `orphan` |
//!
//! An owner that the graph does not know is looked up before it counts as gone.

mod graph;
mod monitor;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc;
use kube::Client;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::events::Recorder;
use crate::resources::Resources;
use crate::runtime::queue::Limits;
use crate::runtime::{ApiError, Next, drive};
use graph::{Graph, OwnerState, Step, Uid};
use monitor::Monitors;

const LIMITS: Limits = Limits {
    max_delay: Duration::from_secs(30),
    ..Limits::DEFAULT
};

/// Deletes what has lost its owners.
#[derive(Clone)]
pub(crate) struct GarbageCollector {
    client: Client,
    resources: Resources,
    recorder: Recorder,
}

/// One run, with the graph that it builds.
#[derive(Clone)]
struct Collection {
    client: Client,
    resources: Resources,
    recorder: Recorder,
    graph: Arc<Mutex<Graph>>,
    /// Objects to look at.
    attention: mpsc::UnboundedSender<Uid>,
}

impl GarbageCollector {
    pub(crate) fn new(client: Client, resources: Resources, recorder: &Recorder) -> Self {
        let recorder = recorder.for_component("garbage-collector-controller", None);
        Self {
            client,
            resources,
            recorder,
        }
    }

    /// Runs for ever.
    pub(crate) async fn run(self) {
        let (attention, objects) = mpsc::unbounded();
        let collection = Collection {
            client: self.client,
            resources: self.resources,
            recorder: self.recorder,
            graph: Arc::default(),
            attention,
        };
        let monitors = Monitors::new(collection.clone());
        // Until every resource is listed once, a missing object proves nothing.
        let complete = monitors.complete();
        let work = drive(objects, LIMITS, |uid| {
            collection.reconcile(uid, complete.clone())
        });
        tokio::join!(monitors.follow(), work);
    }
}

impl Collection {
    fn look_at(&self, objects: impl IntoIterator<Item = Uid>) {
        for uid in objects {
            // The receiver runs as long as this.
            let _ = self.attention.unbounded_send(uid);
        }
    }

    async fn reconcile(
        &self,
        uid: Uid,
        mut complete: watch::Receiver<bool>,
    ) -> Result<Next, ApiError> {
        // Fails only when the monitors are gone, and this with them.
        let _ = complete.wait_for(|complete| *complete).await;
        self.report_misplaced(&uid);
        let unknown = self.graph.lock().unknown_owners(&uid);
        let mut found = Vec::with_capacity(unknown.len());
        for owner in unknown {
            let state = self.look_up(&uid, &owner).await?;
            found.push((Uid::from(owner.uid), state));
        }
        let step = self.graph.lock().step(&uid, &found);
        match step {
            Step::Nothing => {}
            Step::LookAt(objects) => self.look_at(objects),
            Step::Delete {
                object,
                propagation,
            } => self.delete(&object, propagation).await?,
            Step::DropOwners { object, owners } => self.drop_owners(&object, &owners).await?,
            Step::Orphan { object, dependents } => {
                for dependent in &dependents {
                    self.drop_owners(dependent, std::slice::from_ref(&uid))
                        .await?;
                }
                self.drop_finalizer(&object, graph::ORPHAN).await?;
            }
            Step::Release { object } => self.drop_finalizer(&object, graph::FOREGROUND).await?,
            Step::Unblock { object } => self.unblock(&object).await?,
        }
        Ok(Next::OnChange)
    }
}
