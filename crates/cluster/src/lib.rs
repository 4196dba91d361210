//! A gateway's side of the cluster: which agents there are and what they have, which of them gets an invocation, and the
//! sandbox services that Swarm runs for Skep. It owns the queue of each function, the choice of a sandbox, what is given
//! elsewhere a second time, the lease of whoever scales (decision 090), and the budgets of children over all nodes
//! (decision 092). It never routes, never makes an instance, and keeps nothing: the Swarm and the agents say everything
//! anew.

mod agents;
mod answer;
mod children;
mod claims;
mod cluster;
mod course;
mod decider;
mod metrics;
mod places;
mod pool;
mod rooms;
mod run;
mod sandbox;
mod shared;
mod swarm;
mod tunnel;
mod visits;
mod waiting;

pub use agents::dialer;
pub use children::Children;
pub use cluster::{Cluster, Config, NodeView};
