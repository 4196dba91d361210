//! The routes in force, for looking up: a hash map of prefixes for each host, and one for requests of any host.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use skep_model::{Function, Route, route};

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub struct Matched<'a> {
    /// The function.
    pub function: &'a Arc<Function>,
    /// What of the request's path matched, as it was sent: it ends before a `/`, a `?` or with the path.
    pub prefix: &'a str,
}

/// All routes of the functions in force.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Table {
    hosts: HashMap<String, Prefixes>,
    anywhere: Prefixes,
}

/// Prefixes of one host.
#[derive(Debug, Default, PartialEq)]
struct Prefixes {
    functions: HashMap<String, Arc<Function>>,
    /// The most segments that a prefix has: deeper paths need not be looked at further.
    depth: usize,
}

impl Table {
    /// Adds a route; nothing else may have it.
    pub(crate) fn insert(&mut self, route: &Route, function: &Arc<Function>) {
        let prefixes = match &route.host {
            Some(host) => self.hosts.entry(host.clone()).or_default(),
            None => &mut self.anywhere,
        };
        prefixes.depth = prefixes.depth.max(route.prefix.matches('/').count());
        prefixes
            .functions
            .insert(route.prefix.clone(), Arc::clone(function));
    }

    /// Whose route this is.
    pub(crate) fn holder(&self, route: &Route) -> Option<&Arc<Function>> {
        let prefixes = match &route.host {
            Some(host) => self.hosts.get(host)?,
            None => &self.anywhere,
        };
        prefixes.functions.get(&route.prefix)
    }

    pub(crate) fn find<'a>(&'a self, host: Option<&str>, target: &'a str) -> Option<Matched<'a>> {
        let path = target
            .split(['?', '#'])
            .next()
            .filter(|path| path.starts_with('/'))?;
        let normal = route::normalise(path);
        let of_host = host.and_then(|host| self.hosts.get(bare_host(host).as_ref()));
        let (function, depth) = of_host
            .and_then(|prefixes| prefixes.longest(&normal))
            .or_else(|| self.anywhere.longest(&normal))?;
        let end = boundaries(path).take(depth).last().unwrap_or(0);
        Some(Matched {
            function,
            prefix: &path[..end],
        })
    }
}

impl Prefixes {
    /// The function with the longest prefix of this path, and how many segments that prefix has.
    fn longest(&self, path: &str) -> Option<(&Arc<Function>, usize)> {
        let root = self.functions.get("").map(|function| (function, 0));
        let deeper = boundaries(path)
            .take(self.depth)
            .zip(1..)
            .filter_map(|(end, depth)| self.functions.get(&path[..end]).map(|function| (function, depth)));
        deeper.last().or(root)
    }
}

/// Where the segments of a path end, the first segment's end first.
fn boundaries(path: &str) -> impl Iterator<Item = usize> {
    path.match_indices('/')
        .skip(1)
        .map(|(at, _)| at)
        .chain([path.len()])
}

/// A `Host` without its port and its final dot, in lower case.
fn bare_host(host: &str) -> Cow<'_, str> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}
