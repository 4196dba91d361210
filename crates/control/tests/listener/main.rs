//! The control listener as its callers see it.

mod guard;
mod openapi;
mod paths;
mod support;
