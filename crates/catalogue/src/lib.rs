//! What is in force.

mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_model::{Function, FunctionName, Invalid, Namespace};

pub use table::Matched;
use table::Table;

/// The functions in force, where their routes lead, and what is not in force and why.
#[derive(Debug, Default)]
pub struct Catalogue {
    functions: BTreeMap<FunctionName, Arc<Function>>,
    invalid: Vec<Invalid>,
    superseded: Vec<Arc<Function>>,
    table: Table,
}

impl Catalogue {
    /// Decides what is in force among all templates that were found.
    pub fn resolve(
        namespace: &Namespace,
        candidates: Vec<Result<Function, Invalid>>,
        previous: Option<&Catalogue>,
    ) -> Catalogue {
        let _ = (namespace, candidates, previous);
        Catalogue::default()
    }

    /// The function in force with this name.
    pub fn function(&self, name: &str) -> Option<&Arc<Function>> {
        let name: FunctionName = name.parse().ok()?;
        self.functions.get(&name)
    }

    /// Every function in force, by name.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.functions.values()
    }

    /// Templates that are not run, each with every reason.
    pub fn invalid(&self) -> &[Invalid] {
        &self.invalid
    }

    /// Valid templates that a newer one of the same name replaced.
    pub fn superseded(&self) -> &[Arc<Function>] {
        &self.superseded
    }

    /// The function that a request for this host (its `Host`, port and all) and path reaches.
    pub fn route<'a>(&'a self, host: Option<&str>, path: &'a str) -> Option<Matched<'a>> {
        self.table.find(host, path)
    }
}
