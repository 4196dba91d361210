//! The balancer: which sandbox gets which invocation. All of it is arithmetic over what agents said and what this gateway
//! sent; nothing here waits or speaks.
//!
//! What must hold: a sandbox is never given more than its room by this gateway's own count; callers of one function are
//! served in the order of their coming; nothing waits where a sandbox has room.

mod group;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use skep_model::{Function, FunctionName};
use skep_wire::{NodePicture, NotStarted, SandboxPicture};
use tokio::sync::oneshot;

use group::{Group, Sandbox, updated};

/// A connection to an agent.
pub(crate) type NodeKey = u64;

/// Where an invocation is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) node: NodeKey,
    pub(crate) sandbox: Arc<str>,
    /// The node's name.
    pub(crate) hostname: Arc<str>,
}

/// What became of one who came.
#[derive(Debug)]
pub(crate) enum Arrival {
    Placed(Placement),
    /// It waits; `cold`: there is no sandbox at all.
    Waits {
        place: oneshot::Receiver<Placement>,
        cold: bool,
    },
    /// So many wait already.
    Full(u32),
}

/// Everything that is known of agents, their sandboxes, and those who wait.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    nodes: HashMap<NodeKey, Node>,
    /// Which connection is a node's, by the Swarm's id of it.
    keys: HashMap<String, NodeKey>,
    groups: HashMap<FunctionName, Group>,
    /// Functions for which somebody waits without any sandbox there.
    wanted: HashSet<FunctionName>,
}

#[derive(Debug)]
struct Node {
    picture: NodePicture,
    hostname: Arc<str>,
    /// Room that is not in use, over all its sandboxes.
    free: i64,
    /// The functions that have sandboxes there.
    functions: HashSet<FunctionName>,
}

impl Pool {
    /// Somebody comes with work for a function.
    pub(crate) fn arrive(&mut self, function: &Function, background: bool) -> Arrival {
        let group = self.groups.entry(function.name.clone()).or_default();
        group.revision = Some(function.revision.clone());
        group.concurrency = match function.settings.recycle {
            skep_model::Recycle::Request => 1,
            _ => function.settings.concurrency.max(1),
        };
        if group.waiting() == 0
            && let Some(placement) = self.place(&function.name)
        {
            return Arrival::Placed(placement);
        }
        let Some(group) = self.groups.get_mut(&function.name) else {
            return Arrival::Full(0);
        };
        let lane = &mut group.lanes[usize::from(background)];
        let limit = function.settings.queue;
        if !background && lane.len() >= limit as usize {
            lane.retain(|waiter| !waiter.is_closed());
            if lane.len() >= limit as usize {
                return Arrival::Full(limit);
            }
        }
        let (waiter, place) = oneshot::channel();
        lane.push_back(waiter);
        let cold = group.usable().next().is_none();
        if cold {
            self.wanted.insert(function.name.clone());
        }
        Arrival::Waits { place, cold }
    }

    /// One that was refused elsewhere comes back, before all who wait.
    pub(crate) fn again(&mut self, name: &FunctionName, background: bool) -> Arrival {
        if let Some(placement) = self.place(name) {
            return Arrival::Placed(placement);
        }
        let group = self.groups.entry(name.clone()).or_default();
        let (waiter, place) = oneshot::channel();
        group.lanes[usize::from(background)].push_front(waiter);
        let cold = group.usable().next().is_none();
        if cold {
            self.wanted.insert(name.clone());
        }
        Arrival::Waits { place, cold }
    }

    /// An invocation that was placed is over, or was never sent.
    pub(crate) fn finished(&mut self, name: &FunctionName, placement: &Placement) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let found = group
            .sandboxes
            .iter_mut()
            .find(|sandbox| sandbox.id == placement.sandbox);
        if let Some(sandbox) = found {
            sandbox.own = sandbox.own.saturating_sub(1);
            if let Some(node) = self.nodes.get_mut(&sandbox.node) {
                node.free += 1;
            }
        }
        self.serve_waiting(name);
    }

    /// A sandbox did not begin what it was sent.
    pub(crate) fn refused(&mut self, name: &FunctionName, placement: &Placement, reason: Option<NotStarted>) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let found = group
            .sandboxes
            .iter_mut()
            .find(|sandbox| sandbox.id == placement.sandbox);
        let Some(sandbox) = found else { return };
        match reason {
            Some(NotStarted::Draining | NotStarted::Unknown) => sandbox.draining = true,
            Some(NotStarted::Full) | None => sandbox.refused = true,
        }
    }

    /// What there is on a node, in place of what was.
    pub(crate) fn picture(&mut self, key: NodeKey, picture: NodePicture, namespace: &str) {
        let mut kept: HashMap<Arc<str>, Sandbox> = HashMap::new();
        // An agent that was started anew has another connection, and the node the same id.
        let before = self.keys.insert(picture.node.clone(), key);
        let mut touched: HashSet<FunctionName> = HashSet::new();
        for known in before.into_iter().chain([key]) {
            let functions = self.nodes.remove(&known).map(|node| node.functions);
            for name in functions.unwrap_or_default() {
                if let Some(group) = self.groups.get_mut(&name) {
                    let gone = group.sandboxes.extract_if(.., |sandbox| sandbox.node == known);
                    kept.extend(gone.map(|sandbox| (Arc::clone(&sandbox.id), sandbox)));
                }
                touched.insert(name);
            }
        }
        let (mut free, mut functions) = (0, HashSet::new());
        for shown in picture
            .sandboxes
            .iter()
            .filter(|shown| shown.namespace == namespace)
        {
            let Ok(name) = shown.function.parse::<FunctionName>() else {
                continue;
            };
            let group = self.groups.entry(name.clone()).or_default();
            let sandbox = updated(key, shown, kept.remove(shown.id.as_str()));
            free += sandbox.free(group.concurrency).max(0);
            group.sandboxes.push(sandbox);
            functions.insert(name.clone());
            touched.insert(name);
        }
        let node = Node {
            hostname: picture.hostname.as_str().into(),
            picture,
            free,
            functions,
        };
        self.nodes.insert(key, node);
        for name in touched {
            self.serve_waiting(&name);
            self.look_for_loss(&name);
        }
    }

    /// A node does not answer any more.
    pub(crate) fn lost(&mut self, key: NodeKey) {
        let Some(node) = self.nodes.remove(&key) else {
            return;
        };
        self.keys.retain(|_, of| *of != key);
        for name in node.functions {
            if let Some(group) = self.groups.get_mut(&name) {
                group.sandboxes.retain(|sandbox| sandbox.node != key);
            }
            self.look_for_loss(&name);
        }
    }

    /// Functions for which somebody waits while there is no sandbox; each is told of once.
    pub(crate) fn take_wanted(&mut self) -> Vec<FunctionName> {
        let wanted: Vec<_> = self.wanted.drain().collect();
        wanted.into_iter().filter(|name| self.is_wanted(name)).collect()
    }

    /// Whether somebody waits for a function that has no sandbox.
    pub(crate) fn is_wanted(&self, name: &FunctionName) -> bool {
        self.groups
            .get(name)
            .is_some_and(|group| group.waiting() > 0 && group.usable().next().is_none())
    }

    /// Invocations that run or wait, by function, at all gateways of the namespace; functions that have none are left
    /// out. `own` is this gateway's name.
    pub(crate) fn demand(&self, namespace: &str, own: &str) -> HashMap<FunctionName, u32> {
        let of = |group: &Group| {
            let running = group.sandboxes.iter().map(|sandbox| sandbox.others + sandbox.own);
            running.sum::<u32>() + u32::try_from(group.waiting()).unwrap_or(u32::MAX)
        };
        let mut demand: HashMap<FunctionName, u32> = self
            .groups
            .iter()
            .map(|(name, group)| (name.clone(), of(group)))
            .filter(|(_, demand)| *demand > 0)
            .collect();
        for (name, waiting) in self.waiting_elsewhere(namespace, own) {
            let sum = demand.entry(name).or_default();
            *sum = sum.saturating_add(waiting);
        }
        demand
    }

    /// Those who wait at other gateways, as agents were told. Where a gateway has told two of them, one is late, and the
    /// larger number holds.
    fn waiting_elsewhere(&self, namespace: &str, own: &str) -> HashMap<FunctionName, u32> {
        let heard = self.nodes.values().flat_map(|node| &node.picture.waiting);
        let heard = heard.filter(|heard| heard.namespace == namespace && heard.gateway != own);
        let mut most: HashMap<(&str, &str), u32> = HashMap::new();
        for waiting in heard {
            for (name, count) in &waiting.functions {
                let most = most.entry((&waiting.gateway, name)).or_default();
                *most = (*most).max(*count);
            }
        }
        let mut sums: HashMap<FunctionName, u32> = HashMap::new();
        for ((_, name), count) in most {
            if let Ok(name) = name.parse() {
                let sum = sums.entry(name).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        sums
    }

    /// The functions, each with the revision, whose instances can't stand side by side in one sandbox: the nodes that
    /// have their images say so.
    pub(crate) fn alone(&self) -> HashSet<(FunctionName, String)> {
        let groups = self.groups.iter();
        let all = groups.flat_map(|(name, group)| group.sandboxes.iter().map(move |sandbox| (name, sandbox)));
        let alone = all.filter(|(_, sandbox)| sandbox.alone);
        alone
            .map(|(name, sandbox)| (name.clone(), sandbox.revision.clone()))
            .collect()
    }

    /// The agent that is connected the longest.
    pub(crate) fn eldest(&self) -> Option<NodeKey> {
        self.nodes.keys().min().copied()
    }

    /// Those who wait at this gateway, by function; functions for which nobody does are left out.
    pub(crate) fn waiting(&self) -> HashMap<FunctionName, u32> {
        let count = |group: &Group| u32::try_from(group.waiting()).unwrap_or(u32::MAX);
        self.groups
            .iter()
            .map(|(name, group)| (name.clone(), count(group)))
            .filter(|(_, waiting)| *waiting > 0)
            .collect()
    }

    /// The nodes as their agents described them last.
    pub(crate) fn nodes(&self) -> Vec<(NodeKey, NodePicture)> {
        let mut nodes: Vec<_> = self
            .nodes
            .iter()
            .map(|(key, node)| (*key, node.picture.clone()))
            .collect();
        nodes.sort_by(|a, b| a.1.hostname.cmp(&b.1.hostname));
        nodes
    }

    /// Why a function can't be run on any of the nodes that have a sandbox for it, each with its node; empty where it
    /// can, and where none has one.
    pub(crate) fn unusable(&self, name: &str, namespace: &str) -> Vec<String> {
        let mut all = Vec::new();
        for NodePicture {
            hostname, sandboxes, ..
        } in self.nodes.values().map(|node| &node.picture)
        {
            let own = |sandbox: &&SandboxPicture| sandbox.function == name && sandbox.namespace == namespace;
            for sandbox in sandboxes.iter().filter(own) {
                if sandbox.reasons.is_empty() {
                    return Vec::new();
                }
                all.extend(
                    sandbox
                        .reasons
                        .iter()
                        .map(|reason| format!("{hostname}: {reason}")),
                );
            }
        }
        all.sort();
        all.dedup();
        all
    }

    /// Forgets functions of which nothing is left.
    pub(crate) fn tidy(&mut self) {
        self.groups
            .retain(|_, group| !group.sandboxes.is_empty() || group.waiting() > 0);
    }

    /// A free instance first; else the most room on the node that has the most.
    fn place(&mut self, name: &FunctionName) -> Option<Placement> {
        let group = self.groups.get_mut(name)?;
        let concurrency = group.concurrency;
        let nodes = &self.nodes;
        let best = group
            .usable()
            .filter(|(_, sandbox)| sandbox.may_take(concurrency))
            .max_by_key(|(_, sandbox)| {
                let room = nodes.get(&sandbox.node).map_or(0, |node| node.free);
                (sandbox.idle > 0, room, sandbox.free(concurrency))
            })
            .map(|(index, _)| index)?;
        let sandbox = &mut group.sandboxes[best];
        let node = self.nodes.get_mut(&sandbox.node)?;
        node.free -= 1;
        sandbox.own += 1;
        sandbox.peak = sandbox.peak.max(sandbox.own);
        sandbox.idle = sandbox.idle.saturating_sub(1);
        Some(Placement {
            node: sandbox.node,
            sandbox: Arc::clone(&sandbox.id),
            hostname: Arc::clone(&node.hostname),
        })
    }

    fn serve_waiting(&mut self, name: &FunctionName) {
        loop {
            let Some(lane) = self.groups.get_mut(name).and_then(Group::next_lane) else {
                return;
            };
            let Some(placement) = self.place(name) else { return };
            let waiter = self
                .groups
                .get_mut(name)
                .and_then(|group| group.lanes[lane].pop_front());
            let unheard = match waiter {
                Some(waiter) => waiter.send(placement).err(),
                None => Some(placement),
            };
            if let Some(placement) = unheard {
                self.give_back(name, &placement);
            }
        }
    }

    fn give_back(&mut self, name: &FunctionName, placement: &Placement) {
        let sandboxes = self.groups.get_mut(name).map(|group| &mut group.sandboxes);
        let found = sandboxes.and_then(|all| all.iter_mut().find(|sandbox| sandbox.id == placement.sandbox));
        if let Some(sandbox) = found {
            sandbox.own = sandbox.own.saturating_sub(1);
        }
        if let Some(node) = self.nodes.get_mut(&placement.node) {
            node.free += 1;
        }
    }

    /// The last sandbox may have gone from under those who wait.
    fn look_for_loss(&mut self, name: &FunctionName) {
        if self.is_wanted(name) {
            self.wanted.insert(name.clone());
        }
    }
}

#[cfg(test)]
mod many;
#[cfg(test)]
mod tests;
