//! What is in force: the one place that decides, among all templates that were found, which functions exist and
//! where their routes lead. It owns the rules about two templates with one name and two functions with one route
//! (DESIGN 3.1), and looking up a request's function. It never looks at Docker, reads no clock and remembers
//! nothing: the same templates and the same catalogue before give the same catalogue after.
//!
//! How a request's path is compared with a route:
//! - A prefix matches whole segments: `/hello` matches `/hello`, `/hello/` and `/hello/x`, never `/helloworld`.
//! - The longest prefix wins, among routes with the request's host first, then among routes without a host.
//! - Percent-encodings of letters, digits, `-`, `.`, `_` and `~` count as those characters; every other encoding
//!   counts as itself, so `%2F` is no separator. Letter case counts in a path and not in a host.
//! - `.` and `..` and empty segments are not resolved: the function gets the path as it was sent.

mod resolve;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_model::{Function, FunctionName, Invalid, Namespace};

pub use table::Matched;
use table::Table;

/// The functions in force, where their routes lead, and what is not in force and why.
#[derive(Debug, Default, PartialEq)]
pub struct Catalogue {
    functions: BTreeMap<FunctionName, Arc<Function>>,
    invalid: Vec<Invalid>,
    superseded: Vec<Arc<Function>>,
    table: Table,
}

impl Catalogue {
    /// Decides what is in force among all templates that were found; `previous` is what was in force before, so
    /// that a route stays with the function that has it.
    ///
    /// An [`Invalid`] names no namespace: whoever reads templates leaves those of other namespaces out.
    pub fn resolve(
        namespace: &Namespace,
        candidates: Vec<Result<Function, Invalid>>,
        previous: Option<&Catalogue>,
    ) -> Catalogue {
        let mut valid = Vec::new();
        let mut invalid = Vec::new();
        for candidate in candidates {
            match candidate {
                Ok(function) if function.namespace == *namespace => valid.push(function),
                Ok(_) => {}
                Err(reasons) => invalid.push(reasons),
            }
        }
        let decision = resolve::decide(valid, |route| {
            previous
                .and_then(|catalogue| catalogue.table.holder(route))
                .map(|holder| holder.name.clone())
        });
        invalid.extend(decision.lost);
        invalid.sort_by(|a, b| (&a.name, &a.template).cmp(&(&b.name, &b.template)));
        let mut catalogue = Catalogue {
            invalid,
            superseded: decision.superseded.into_iter().map(Arc::new).collect(),
            ..Catalogue::default()
        };
        for function in decision.in_force.into_iter().map(Arc::new) {
            for route in &function.settings.routes {
                catalogue.table.insert(route, &function);
            }
            catalogue.functions.insert(function.name.clone(), function);
        }
        catalogue
    }

    /// The function in force with this name.
    pub fn function(&self, name: &str) -> Option<&Arc<Function>> {
        self.functions.get(name)
    }

    /// Every function in force, by name.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.functions.values()
    }

    /// Templates that are not run, each with every reason, by name.
    pub fn invalid(&self) -> &[Invalid] {
        &self.invalid
    }

    /// Valid templates that a newer one of the same name replaced, by name, the newest first.
    pub fn superseded(&self) -> &[Arc<Function>] {
        &self.superseded
    }

    /// The function that a request reaches. `host` is its `Host` or `:authority`, port and all; `path` may have
    /// its query behind it.
    pub fn route<'a>(&'a self, host: Option<&str>, path: &'a str) -> Option<Matched<'a>> {
        self.table.find(host, path)
    }
}
