//! Skep on a Swarm, a file for each idea.

mod agents;
mod install;
mod refused;
