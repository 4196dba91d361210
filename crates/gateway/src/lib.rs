//! Takes requests in: the public listener, and the listener by which functions call each other. It owns reading
//! HTTP safely, what a function gets to know of its caller, and the addresses of asynchronous invocations; it never
//! runs an invocation itself, never decides what is in force, and never answers what the control listener answers.

mod asynchronous;
mod brought;
mod config;
mod forwarded;
mod gateway;
mod head;
mod linger;
mod listener;
mod lookup;
mod metrics;
mod operator;
mod parent;
mod prefer;
mod received;
mod refusal;
mod room;
mod runner;
mod server;
mod service;
mod stream;
mod trusted;
mod turn;
mod upload;
mod window;
mod work;
mod workers;

pub use brought::Brought;
pub use config::Config;
pub use gateway::Gateway;
pub use listener::Serving;
pub use metrics::Metrics;
pub use trusted::{NetworkError, TrustedProxies};
pub use work::{Call, Elsewhere, Onward, Work};
pub use workers::Workers;
