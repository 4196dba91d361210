//! Skep on a Swarm, a file for each idea.

mod agents;
mod calls;
mod children;
mod faults;
mod figures;
mod handlers;
mod install;
mod operators;
mod private;
mod queue;
mod refused;
mod stack;
mod started;
mod upgrade;
