//! The control listener: what an operator, `skep ls` and Prometheus read of a running Skep, and how functions are
//! invoked past their routes. It owns the shape of that interface ([`api`], checked in as `docs/openapi.json`) and
//! who may speak to it ([`Access`]). It never changes a function, never decides about an invocation and keeps
//! nothing: everything it says is read through [`Node`] at the moment it is asked.

pub mod api;
mod guard;
mod node;
mod openapi;
mod reply;
mod routes;
mod server;
pub mod view;

pub use guard::{Access, AccessError, Token};
pub use node::{InvocationFilter, LogFilter, Node};
pub use openapi::document;
pub use server::{Control, router, unguarded};
