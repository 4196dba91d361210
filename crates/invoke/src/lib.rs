//! Runs one invocation of one function: takes an instance from dispatching, speaks the function's contract with it
//! (`exec`, `cgi` or `http`), streams both bodies, and keeps the record of how it went. It owns what a handler is;
//! it never routes, never listens, never decides when an instance is made or ended, and never holds a body in
//! memory beyond one small window.

mod account;
mod body;
mod cgi;
mod exec;
mod headers;
mod http;
mod invocation;
mod invoker;
mod metrics;
mod pipes;
mod replay;
mod response;
mod run;
mod silence;
mod trace;
mod upload;

pub use account::Account;
pub use body::{Body, BodyError, empty, full};
pub use cgi::LocalRedirect;
pub use headers::{INVOCATION, remove_hop_by_hop, upgrade_of};
pub use invocation::{Invocation, Report};
pub use invoker::{Config, Invoker};
pub use metrics::Metrics;
pub use replay::{Replay, Sending};
pub use response::{problem_response, sign};
pub use trace::Trace;
