//! What is known of the networks that templates name: whether they exist, and how to make them again.
//!
//! A parked container does not keep its network in use, so a prune of networks deletes it, and every function on it
//! would fail to start. Like a template, a network that a prune deleted is put back; one removed by name is gone.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{NetworkCreateRequest, NetworkInspect};
use bollard::query_parameters::InspectNetworkOptions;

use crate::prune::LONGEST_PAUSE;

/// Networks that every engine has, and that no prune deletes.
const BUILT_IN: [&str; 4] = ["bridge", "host", "none", "default"];

#[derive(Debug, Default)]
struct Network {
    present: bool,
    /// How to make it again; `None` where Skep can't (a Swarm's), or where it was never seen.
    remembered: Option<NetworkCreateRequest>,
    /// When it was removed, by the engine's clock in nanoseconds.
    removed: Option<i64>,
}

/// Networks by name, each asked for once while it stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Networks {
    known: Arc<Mutex<HashMap<String, Network>>>,
}

impl Networks {
    /// Those of the networks that the engine does not have.
    ///
    /// # Errors
    /// The engine gave no answer.
    pub(crate) async fn missing(&self, docker: &Docker, names: &[String]) -> Result<Vec<String>, Error> {
        let mut missing = Vec::new();
        for name in names.iter().filter(|name| !BUILT_IN.contains(&name.as_str())) {
            if self.lock().get(name).is_some_and(|network| network.present) {
                continue;
            }
            match docker.inspect_network(name, None::<InspectNetworkOptions>).await {
                Ok(found) => {
                    let network = Network {
                        present: true,
                        remembered: remember(found),
                        removed: None,
                    };
                    self.lock().insert(name.clone(), network);
                }
                Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
                    self.lock().entry(name.clone()).or_default().present = false;
                    missing.push(name.clone());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(missing)
    }

    /// The network was removed.
    pub(crate) fn lost(&self, name: &str, time: i64) {
        if let Some(network) = self.lock().get_mut(name) {
            network.present = false;
            network.removed = Some(time);
        }
    }

    /// The network may be another one now.
    pub(crate) fn gained(&self, name: &str) {
        if let Some(network) = self.lock().get_mut(name) {
            network.present = false;
            network.removed = None;
        }
    }

    /// Every network is to be asked for again: events may have been missed.
    pub(crate) fn distrust(&self) {
        self.lock()
            .values_mut()
            .for_each(|network| network.present = false);
    }

    /// A prune of networks ended: what it removed is to be made again. A prune walks networks in no order, so what
    /// was removed without a longer pause before its end counts as removed by it.
    pub(crate) fn pruned(&self, time: i64) -> Vec<NetworkCreateRequest> {
        let mut known = self.lock();
        let mut removed: Vec<(i64, &mut Network)> = known
            .values_mut()
            .filter_map(|network| network.removed.filter(|at| *at <= time).map(|at| (at, network)))
            .collect();
        removed.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let mut reached = time;
        let mut found = Vec::new();
        for (at, network) in removed {
            if reached - at > LONGEST_PAUSE {
                break;
            }
            reached = at;
            network.removed = None;
            found.extend(network.remembered.clone());
        }
        found
    }

    /// Forgets every network that no template uses.
    pub(crate) fn keep_only(&self, used: &HashSet<&str>) {
        self.lock().retain(|name, _| used.contains(name.as_str()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Network>> {
        // Every change is a single step, so a poisoned map is still whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How to make the network again. A Swarm's networks are the Swarm's own affair.
fn remember(found: NetworkInspect) -> Option<NetworkCreateRequest> {
    if found.scope.as_deref() == Some("swarm") || found.ingress == Some(true) {
        return None;
    }
    Some(NetworkCreateRequest {
        name: found.name?,
        driver: found.driver,
        internal: found.internal,
        attachable: found.attachable,
        config_only: found.config_only,
        config_from: found
            .config_from
            .filter(|from| from.network.as_deref().is_some_and(|name| !name.is_empty())),
        ipam: found.ipam,
        enable_ipv4: found.enable_ipv4,
        enable_ipv6: found.enable_ipv6,
        options: found.options,
        labels: found.labels,
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn networks(names: &[&str]) -> Networks {
        let networks = Networks::default();
        for name in names {
            let remembered = Some(NetworkCreateRequest {
                name: (*name).to_owned(),
                ..Default::default()
            });
            let network = Network {
                present: true,
                remembered,
                removed: None,
            };
            networks.lock().insert((*name).to_owned(), network);
        }
        networks
    }

    fn names(found: &[NetworkCreateRequest]) -> Vec<&str> {
        found.iter().map(|network| network.name.as_str()).collect()
    }

    #[test]
    fn what_a_prune_removed_is_made_again_once() {
        let networks = networks(&["a", "b", "c"]);
        networks.lost("a", 100 * MS);
        networks.lost("b", 50 * MS);
        assert_eq!(names(&networks.pruned(110 * MS)), ["a", "b"]);
        assert!(networks.pruned(120 * MS).is_empty());
    }

    #[test]
    fn what_was_removed_long_before_stays_gone() {
        let networks = networks(&["a", "b"]);
        networks.lost("a", 0);
        networks.lost("b", 5_000 * MS);
        assert_eq!(names(&networks.pruned(5_010 * MS)), ["b"]);
    }

    #[test]
    fn a_network_of_the_swarm_is_left_to_it() {
        let found = NetworkInspect {
            name: Some("n".into()),
            scope: Some("swarm".into()),
            ..Default::default()
        };
        assert!(remember(found).is_none());
    }
}
