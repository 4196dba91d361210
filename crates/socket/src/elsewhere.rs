//! Children on other nodes: the way to them, which whoever uses this crate on a Swarm provides, and where those are that
//! were met.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use skep_grant::Refusal;
use skep_model::FunctionName;
use skep_wire::Visit;

use crate::answer::Body;
use crate::engine::Sockets;

/// Of how many children it is remembered where they are: it can be asked again.
const REMEMBERED: usize = 4096;

/// Why another node gives no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreached {
    /// It was not asked: nothing has happened there.
    NotSent(String),
    /// It was asked, and its answer did not come.
    Lost(String),
}

impl Unreached {
    pub(crate) fn refusal(self) -> Refusal {
        let (Self::NotSent(reason) | Self::Lost(reason)) = self;
        Refusal {
            status: 503,
            message: format!("the container is on another node, which does not answer: {reason}"),
        }
    }
}

/// The way to other nodes.
pub trait Elsewhere: Send + Sync + fmt::Debug + 'static {
    /// The other nodes that hold children of a function; none where nobody can say at once.
    fn holders<'a>(&'a self, function: &'a FunctionName) -> BoxFuture<'a, Vec<String>>;

    /// Returns when there is a sandbox of a function somewhere, which a child of `starter` is to be made from.
    ///
    /// There is none in time, or nobody can see to it; a sentence for the function.
    fn begin<'a>(&'a self, starter: &'a FunctionName, function: &'a str)
    -> BoxFuture<'a, Result<(), String>>;

    /// Asks one. Where the request is to become a connection's streams, so does the answer.
    fn ask(
        &self,
        visit: Visit,
        request: Request<Body>,
    ) -> BoxFuture<'_, Result<Response<Incoming>, Unreached>>;
}

/// Where children are, and processes in them, that are not here.
#[derive(Debug, Default)]
pub(crate) struct Met(Mutex<Nodes>);

#[derive(Debug, Default)]
struct Nodes {
    of: HashMap<String, Arc<str>>,
    /// In the order in which they were met.
    order: VecDeque<String>,
}

impl Met {
    /// The node of one, by its whole id.
    pub(crate) fn node(&self, id: &str) -> Option<Arc<str>> {
        let met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        met.of.get(id).cloned()
    }

    /// One was met.
    pub(crate) fn meet(&self, id: &str, node: &str) {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if met.of.insert(id.to_owned(), node.into()).is_some() {
            return;
        }
        met.order.push_back(id.to_owned());
        if met.order.len() > REMEMBERED
            && let Some(oldest) = met.order.pop_front()
        {
            met.of.remove(&oldest);
        }
    }
}

impl Sockets {
    /// Has children made, and reached, on other nodes too. Once, before there are any.
    pub fn reach_with(&self, elsewhere: Arc<dyn Elsewhere>) {
        drop(self.shared.elsewhere.set(elsewhere));
    }
}
