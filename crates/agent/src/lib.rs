//! A node's agent on a Swarm: it finds the sandboxes that Swarm placed here, and runs the invocations that gateways
//! send to them. It owns which sandboxes there are, how many invocations each may run, and what gateways are told of
//! that; and it brings to gateways what its functions call, and asks them about the budget of what its functions start. It
//! never places or scales anything, never routes, and makes and removes no sandbox: those are Swarm's. One that Swarm
//! ends it only lets go, once its last invocation has ended.
//!
//! Start reading at [`Agent`], then `watching.rs` (what is there) and `reply.rs` (what is asked for).

mod agent;
mod answer;
mod budget;
mod calls;
mod elsewhere;
mod gateways;
mod given;
mod known;
mod names;
mod picture;
mod reply;
mod sandbox;
mod share;
mod table;
mod template;
mod view;
mod waiters;
mod watching;

pub use agent::{Agent, Config, Parts};
pub use calls::Calls;
pub use gateways::Gateways;
pub use reply::AgentReply;
pub use view::SandboxView;
