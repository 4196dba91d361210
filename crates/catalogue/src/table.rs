//! The routes in force.

use std::sync::Arc;

use skep_model::Function;

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub struct Matched<'a> {
    /// The function.
    pub function: &'a Arc<Function>,
    /// What of the request's path matched, as it was sent: a prefix of it without a `/` at its end.
    pub prefix: &'a str,
}

#[derive(Debug, Default)]
pub(crate) struct Table {}

impl Table {
    pub(crate) fn find<'a>(&'a self, _host: Option<&str>, _path: &'a str) -> Option<Matched<'a>> {
        None
    }
}
