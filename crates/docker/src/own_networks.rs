//! The networks that Skep's own container is attached to, where Skep runs as one.

use std::collections::HashSet;

use tokio::sync::Mutex;

use crate::error::CallError;
use crate::reach::Reach;
use crate::shared::Shared;

/// Joins the functions' networks as they are needed, and leaves at the end those that it joined itself.
#[derive(Debug, Default)]
pub(crate) struct OwnNetworks {
    joined: Mutex<HashSet<String>>,
}

impl OwnNetworks {
    /// Makes sure that the own container is attached to the first of these networks, over which a function is
    /// reached.
    pub(crate) async fn join(
        &self,
        shared: &Shared,
        own: &str,
        networks: &[String],
    ) -> Result<(), CallError> {
        let Some(network) = networks.first() else {
            return Ok(());
        };
        let mut joined = self.joined.lock().await;
        if joined.contains(network) {
            return Ok(());
        }
        let inspect = shared.api.inspect(own).await?;
        let attached = inspect
            .network_settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        if !attached.contains_key(network) {
            shared.api.connect_network(network, own, None).await?;
            joined.insert(network.clone());
        }
        Ok(())
    }

    /// Leaves every network that was joined here.
    pub(crate) async fn leave(&self, shared: &Shared) {
        let Reach::Networks { own } = &shared.reach else {
            return;
        };
        for network in self.joined.lock().await.drain() {
            if let Err(error) = shared.api.disconnect_network(&network, own).await {
                tracing::warn!(
                    network,
                    error = error.chain(),
                    "Skep's container could not leave a network"
                );
            }
        }
    }
}
