//! Functions' children over the cluster, as a gateway has them: it agrees to each that its agent asks for, says where it is
//! made, and hands calls about those of other nodes on to their agents.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bollard::Docker;
use bollard::models::ServiceSpec;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use skep_catalogue::Catalogue;
use skep_invoke::{Body, full};
use skep_model::Function;
use skep_wire::{Agreed, Claim, NodePicture, Place, Visit};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::claims::Claims;
use crate::cluster::Cluster;
use crate::places::{self, Candidate, Room};
use crate::rooms::Census;
use crate::{run, visits};

/// All of them. A clone is the same.
#[derive(Clone)]
pub struct Children {
    cluster: Cluster,
    catalogue: watch::Receiver<Arc<Catalogue>>,
    claims: Arc<Claims>,
    census: Census,
}

/// What has to be known before it is said where.
struct Prospect {
    place: Place,
    rooms: Arc<HashMap<String, Room>>,
    constraints: Vec<String>,
    candidates: Vec<Candidate>,
}

impl Children {
    /// Of a cluster whose manager is this.
    pub fn new(cluster: Cluster, catalogue: watch::Receiver<Arc<Catalogue>>, docker: Docker) -> Self {
        Self {
            cluster,
            catalogue,
            claims: Arc::new(Claims::new(Instant::now())),
            census: Census::new(docker),
        }
    }

    /// Keeps up with what room the nodes have, until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        self.census.refresh(stop).await;
    }

    /// What a function's children have on a node, and whether they may; where the next is made, where that was asked.
    ///
    /// # Errors
    /// It is more than may be; a sentence for the function.
    pub async fn claim(&self, claim: Claim) -> Result<Agreed, String> {
        if claim.limits.is_some() {
            tokio::time::sleep_until(self.claims.ready_at().into()).await;
        }
        let prospect = self.prospect(&claim).await;
        self.claims.claim(claim, Instant::now(), |coming| {
            let mut prospect = prospect?;
            for candidate in &mut prospect.candidates {
                candidate.children = candidate.children.plus(coming(&candidate.node));
            }
            let wants = prospect.place.wants;
            let (rooms, candidates) = (&prospect.rooms, &prospect.candidates);
            let mut chosen = places::choose(rooms, candidates, &prospect.constraints, wants);
            if chosen.is_none() && !prospect.place.can {
                // Only another node can make it at all, whatever room it has.
                chosen = candidates.first().map(|candidate| candidate.node.clone());
            }
            chosen.map(|node| (node, wants))
        })
    }

    /// The nodes that hold children of a function; all, where not every one may have been heard of yet.
    pub fn holders(&self, function: &str) -> Vec<String> {
        let holders = self.claims.holders(function, Instant::now());
        let nodes = || self.cluster.nodes().into_iter();
        holders.unwrap_or_else(|| nodes().map(|node| node.picture.node).collect())
    }

    /// Returns when there is a sandbox of a function. Where there is none, one is begun and waited for, as for the first
    /// invocation.
    ///
    /// # Errors
    /// There is none in time; a sentence for whoever asked.
    pub async fn begin(&self, name: &str) -> Result<(), String> {
        let function = self.catalogue.borrow().function(name).cloned();
        let function = function.ok_or_else(|| format!("{name} is no function that could run"))?;
        let mut nodes = self.cluster.nodes().into_iter();
        if nodes.any(|node| candidate(&node.picture, &function).has_sandbox) {
            return Ok(());
        }
        run::begin(self.cluster.shared(), &function).await
    }

    /// Hands a call on to the node that it is for.
    pub async fn visit(&self, mut visit: Visit, request: Request<Incoming>) -> Response<Body> {
        let function = self.catalogue.borrow().function(&visit.function).cloned();
        let granted = function
            .as_ref()
            .and_then(|function| function.settings.spawn.as_ref())
            .is_some_and(|spawn| visits::is_within(&visit.visitor.grant, spawn));
        if let Some(making) = &mut visit.making {
            making.network = None;
            let Some(function) = function.filter(|_| granted) else {
                return said("the function's grant, as it is in force, does not give this");
            };
            if !making.is_function {
                making.network = self.network(&function).await;
            }
        }
        visits::hand_on(self.cluster.shared(), &visit, request).await
    }

    /// What can be known of the nodes on which a child could be; `None` where it stays where it was asked for.
    async fn prospect(&self, claim: &Claim) -> Option<Prospect> {
        let mut place = claim.place.clone()?;
        if place.stays {
            return None;
        }
        let rooms = self.census.rooms().await;
        if place.can && !places::is_full(&rooms, &claim.node, place.here) {
            return None;
        }
        let catalogue = self.catalogue.borrow().clone();
        let starter = catalogue.function(&claim.function)?;
        let made_of = match &place.of {
            Some(of) => catalogue.function(of)?,
            None => starter,
        };
        let spec: ServiceSpec = serde_json::from_str(&made_of.template.inspect).ok()?;
        if place.of.is_some() && place.wants.memory == 0 && place.wants.nano_cpus == 0 {
            (place.wants.memory, place.wants.nano_cpus) = limits(&spec);
        }
        let anywhere = place.of.is_none() && (!place.inherits || self.network(starter).await.is_some());
        let placement = spec.task_template.and_then(|task| task.placement);
        let nodes = self.cluster.nodes().into_iter().map(|node| node.picture);
        let candidates = nodes
            .filter(|picture| picture.node != claim.node)
            .map(|picture| candidate(&picture, made_of))
            .filter(|candidate| candidate.has_sandbox || anywhere);
        Some(Prospect {
            candidates: candidates.collect(),
            constraints: placement
                .and_then(|placement| placement.constraints)
                .unwrap_or_default(),
            place,
            rooms,
        })
    }

    /// What a node without a sandbox of a function can give of its networks.
    async fn network(&self, function: &Function) -> Option<skep_wire::Network> {
        let spec: ServiceSpec = serde_json::from_str(&function.template.inspect).ok()?;
        let task = spec.task_template.and_then(|task| task.networks);
        let networks = task.or(spec.networks).unwrap_or_default();
        let targets: Vec<String> = networks
            .into_iter()
            .filter_map(|network| network.target)
            .collect();
        self.census.attachable(&targets).await
    }
}

fn candidate(picture: &NodePicture, function: &Function) -> Candidate {
    let mut own = picture.sandboxes.iter().filter(|sandbox| {
        sandbox.function == function.name.as_str()
            && sandbox.namespace == function.namespace.as_str()
            && !sandbox.draining
            && sandbox.reasons.is_empty()
    });
    Candidate {
        node: picture.node.clone(),
        children: picture.children,
        has_sandbox: own.next().is_some(),
    }
}

/// The memory and the CPUs that a function's service limits each instance to.
fn limits(spec: &ServiceSpec) -> (u64, u64) {
    let task = spec.task_template.as_ref();
    let limits = task.and_then(|task| task.resources.as_ref()?.limits.as_ref());
    let positive = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    limits.map_or((0, 0), |limits| {
        (positive(limits.memory_bytes), positive(limits.nano_cpus))
    })
}

/// An answer of the gateway's own: nothing has begun.
fn said(what: &str) -> Response<Body> {
    let mut response = Response::new(full(what.to_owned()));
    *response.status_mut() = StatusCode::FORBIDDEN;
    let unknown = skep_wire::NotStarted::Unknown.header();
    response.headers_mut().insert(skep_wire::NOT_STARTED, unknown);
    response
}
