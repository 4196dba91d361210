//! One function's sandboxes as a gateway knows them, and those who wait for one.

use std::collections::VecDeque;
use std::sync::Arc;

use skep_model::Revision;
use skep_wire::SandboxPicture;
use tokio::sync::oneshot;

use super::{NodeKey, Placement};

/// Of so many turns one is asynchronous work's, however many callers wait.
const SHARE: u32 = 8;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) sandboxes: Vec<Sandbox>,
    /// Callers, and asynchronous work.
    pub(super) lanes: [VecDeque<oneshot::Sender<Placement>>; 2],
    pub(super) turns: u32,
    pub(super) revision: Option<Revision>,
    pub(super) concurrency: u32,
}

#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) id: Arc<str>,
    pub(super) node: NodeKey,
    pub(super) revision: String,
    pub(super) slots: u32,
    /// What others have running there, as far as can be told.
    pub(super) others: u32,
    /// Ready instances that nobody was sent to since they were told of.
    pub(super) idle: u32,
    /// What this gateway has there, and the most of it since the last picture.
    pub(super) own: u32,
    pub(super) peak: u32,
    pub(super) draining: bool,
    /// Its instances can't stand side by side.
    pub(super) alone: bool,
    /// It refused since the last picture.
    pub(super) refused: bool,
}

impl Sandbox {
    pub(super) fn free(&self, concurrency: u32) -> i64 {
        let room = i64::from(self.slots) * i64::from(concurrency);
        room - i64::from(self.others) - i64::from(self.own)
    }

    pub(super) fn may_take(&self, concurrency: u32) -> bool {
        !self.draining && !self.refused && self.free(concurrency) > 0
    }
}

impl Default for Group {
    fn default() -> Self {
        Self {
            sandboxes: Vec::new(),
            lanes: Default::default(),
            turns: 0,
            revision: None,
            concurrency: 1,
        }
    }
}

impl Group {
    /// The sandboxes that count: those of the newest revision; while it has none yet, the older ones go on.
    pub(super) fn usable(&self) -> impl Iterator<Item = (usize, &Sandbox)> {
        let current = |sandbox: &Sandbox| {
            self.revision
                .as_ref()
                .is_none_or(|revision| sandbox.revision == revision.as_str())
        };
        let any = self
            .sandboxes
            .iter()
            .any(|sandbox| !sandbox.draining && current(sandbox));
        self.sandboxes
            .iter()
            .enumerate()
            .filter(move |(_, sandbox)| !sandbox.draining && (!any || current(sandbox)))
    }

    pub(super) fn waiting(&self) -> usize {
        self.lanes
            .iter()
            .flatten()
            .filter(|waiter| !waiter.is_closed())
            .count()
    }

    pub(super) fn next_lane(&mut self) -> Option<usize> {
        for lane in &mut self.lanes {
            while lane.front().is_some_and(oneshot::Sender::is_closed) {
                lane.pop_front();
            }
        }
        let both = self.lanes.iter().all(|lane| !lane.is_empty());
        if both {
            self.turns += 1;
            return Some(usize::from(self.turns.is_multiple_of(SHARE)));
        }
        self.lanes.iter().position(|lane| !lane.is_empty())
    }
}

/// A sandbox as it is shown now; what this gateway has there stays counted.
pub(super) fn updated(key: NodeKey, shown: &SandboxPicture, before: Option<Sandbox>) -> Sandbox {
    let (own, peak) = before
        .as_ref()
        .map_or((0, 0), |sandbox| (sandbox.own, sandbox.peak));
    // What has just ended here may still be shown as running: nobody is kept waiting for that, the agent would say so.
    let others = shown.running.saturating_sub(peak.max(own));
    Sandbox {
        id: Arc::from(shown.id.as_str()),
        node: key,
        revision: shown.revision.clone(),
        slots: shown.slots,
        others,
        idle: shown.idle,
        own,
        peak: own,
        // Where the function can't be run it is as if there were none.
        draining: shown.draining || !shown.reasons.is_empty(),
        alone: shown.alone,
        refused: false,
    }
}
