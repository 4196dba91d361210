//! What the engine, its instances and its background work have in common.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_model::{InstanceId, Namespace};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::api::Api;
use crate::call::CallListeners;
use crate::own_networks::OwnNetworks;
use crate::ports::Ports;
use crate::reach::Reach;

/// One per [`crate::DockerEngine`].
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) reach: Reach,
    pub(crate) namespace: Namespace,
    /// Differs between two runs of Skep, so that a later one knows what an earlier one left.
    pub(crate) owner: String,
    pub(crate) calls: CallListeners,
    pub(crate) own_networks: OwnNetworks,
    /// For instances in network namespaces of others.
    pub(crate) ports: Arc<Ports>,
    /// Everything that runs in the background on an instance's behalf; the engine's end waits for it.
    pub(crate) tasks: TaskTracker,
    /// Told when the engine may yet make what nobody waits for any more.
    pub(crate) doubt: Notify,
    /// The instances whose containers exist or are being made; the sweep leaves these alone.
    live: Mutex<HashSet<InstanceId>>,
}

impl Shared {
    pub(crate) fn new(
        api: Api,
        reach: Reach,
        namespace: Namespace,
        owner: String,
        calls: CallListeners,
        own_networks: OwnNetworks,
    ) -> Self {
        let (tasks, live) = (TaskTracker::new(), Mutex::default());
        Self {
            api,
            reach,
            namespace,
            owner,
            calls,
            own_networks,
            ports: Ports::new(),
            tasks,
            doubt: Notify::new(),
            live,
        }
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, HashSet<InstanceId>> {
        // The set is whole between any two calls; whoever panicked while holding it changes nothing about that.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
