//! Who decides: a lease that is taken and renewed by compare-and-swap on the version of one object of the Swarm's.
//!
//! Clocks of different nodes are never compared. A lease is over when its object's version stayed the same for a whole
//! term by the observer's own clock; its holder stops earlier by its own ([`Lease::holds`]), so that two never decide at
//! once as long as clocks run at about one speed.

use std::time::{Duration, Instant};

/// Who has the lease, as the object's labels say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Which gateway.
    pub gateway: String,
    /// Where it is found.
    pub address: String,
    /// How often the lease changed hands.
    pub term: u64,
}

/// The object as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What the labels say; `None` where nobody ever held it.
    pub holder: Option<Holder>,
    /// The object's version.
    pub version: u64,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// There is no object yet: create it, naming oneself.
    Create(Holder),
    /// Write this over this version; where another was faster, that is no fault.
    Swap(Holder, u64),
    /// Another decides.
    Wait,
}

/// One gateway's side of the lease.
#[derive(Debug, Clone)]
pub struct Lease {
    gateway: String,
    address: String,
    term: Duration,
    /// The version that was seen last, and since when.
    seen: Option<(u64, Instant)>,
    /// When what was written last was begun to be written.
    renewed: Option<Instant>,
}

impl Lease {
    /// `term` is how long a holder that says nothing keeps it.
    pub fn new(gateway: String, address: String, term: Duration) -> Self {
        Self {
            gateway,
            address,
            term,
            seen: None,
            renewed: None,
        }
    }

    /// How often to look: often enough that two renewals may fail.
    pub fn period(&self) -> Duration {
        self.term / 4
    }

    /// What to do, now that the object was read; `None`: there is none.
    pub fn look(&mut self, now: Instant, found: Option<&Seen>) -> Step {
        let Some(found) = found else {
            self.seen = None;
            self.renewed = None;
            return Step::Create(self.own(1));
        };
        let since = match self.seen {
            Some((version, since)) if version == found.version => since,
            _ => {
                self.seen = Some((found.version, now));
                now
            }
        };
        match &found.holder {
            Some(holder) if holder.gateway == self.gateway => {
                Step::Swap(self.own(holder.term), found.version)
            }
            Some(holder) => {
                self.renewed = None;
                if now.saturating_duration_since(since) >= self.term {
                    Step::Swap(self.own(holder.term + 1), found.version)
                } else {
                    Step::Wait
                }
            }
            None => Step::Swap(self.own(1), found.version),
        }
    }

    /// A step that was begun at `began` succeeded.
    pub fn written(&mut self, began: Instant) {
        self.renewed = Some(began);
    }

    /// A step failed since another was faster.
    pub fn lost(&mut self) {
        self.renewed = None;
    }

    /// Whether this gateway may decide: a while before others may think that it doesn't.
    pub fn holds(&self, now: Instant) -> bool {
        self.renewed
            .is_some_and(|at| now.saturating_duration_since(at) < self.term * 3 / 4)
    }

    fn own(&self, term: u64) -> Holder {
        Holder {
            gateway: self.gateway.clone(),
            address: self.address.clone(),
            term,
        }
    }
}
