//! From demand to a number of tasks, for one function.
//!
//! - Needed are as many tasks as hold the mean demand of [`WINDOW`] at [`TARGET`] of their room.
//! - Where the mean of [`BURST`] needs more than [`PANIC`] times what there is, it is a panic: for a window after it
//!   there is only growth, by the shorter mean.
//! - There are fewer only where the need was lower for a whole `skep.idle`, and then as many as the most that was
//!   needed in that time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::Limits;
use crate::need::Demand;

/// How much of the room is to be in use.
const TARGET: f64 = 0.7;
/// The window of the mean.
const WINDOW: Duration = Duration::from_secs(10);
/// The window in which a burst shows.
const BURST: Duration = Duration::from_secs(1);
/// How many times what there is must be needed for a panic.
const PANIC: f64 = 2.0;
/// How exactly it is remembered when something was needed: this part of `skep.idle`.
const GRAINS: u32 = 32;

/// Why there are to be so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There are as many as are needed, or were lately.
    Steady,
    /// More are needed.
    Demand,
    /// Much more is needed, all at once.
    Panic,
    /// Fewer were needed for a whole `skep.idle`.
    Idle,
    /// The function's labels ask for it.
    Limits,
}

/// How many tasks there are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The number.
    pub tasks: u32,
    /// Why.
    pub reason: Reason,
}

/// What is remembered of one function.
#[derive(Debug, Clone)]
pub struct Scaler {
    limits: Limits,
    demand: Demand,
    /// Since when the need is known.
    began: Instant,
    /// What was needed, the most first: each is later and less than the one before it.
    needs: VecDeque<(Instant, u32)>,
    panic_until: Option<Instant>,
}

impl Scaler {
    /// Nothing is known of the function yet: for a whole `skep.idle` nothing is taken away.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            demand: Demand::new(now),
            began: now,
            needs: VecDeque::new(),
            panic_until: None,
        }
    }

    /// The labels say something else now.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// From now on so many invocations run or wait, on the whole cluster.
    pub fn observe(&mut self, now: Instant, demand: u32) {
        self.demand.observe(now, demand);
    }

    /// Whether nothing was asked for lately, and nothing is remembered that somebody would miss.
    pub fn is_forgettable(&self, now: Instant) -> bool {
        self.demand.last() == 0
            && self
                .needs
                .iter()
                .all(|(at, need)| *need == 0 || self.is_over(*at, now))
    }

    /// How many tasks there are to be where there are `current`.
    pub fn decide(&mut self, now: Instant, current: u32) -> Target {
        let burst = self.tasks_for(now, BURST);
        let mut need = self.tasks_for(now, WINDOW);
        if self.demand.last() > 0 {
            // The first is needed at once, whatever the mean.
            need = need.max(1);
        }
        if f64::from(burst) >= PANIC * f64::from(current.max(1)) {
            self.panic_until = Some(now + WINDOW);
        }
        let panicking = self.panic_until.is_some_and(|until| now < until);
        if panicking {
            need = need.max(burst);
        }
        let (floor, ceiling) = (self.limits.floor, self.limits.tasks);
        let need = need.clamp(floor.min(ceiling), ceiling);
        self.remember(now, need);
        let (tasks, reason) = if current > ceiling {
            (ceiling, Reason::Limits)
        } else if need > current && need == floor {
            (need, Reason::Limits)
        } else if need > current && panicking {
            (need, Reason::Panic)
        } else if need > current {
            (need, Reason::Demand)
        } else if panicking || now.saturating_duration_since(self.began) < self.limits.idle {
            (current, Reason::Steady)
        } else {
            let most = self.needs.front().map_or(need, |(_, need)| *need);
            if most < current {
                (most, Reason::Idle)
            } else {
                (current, Reason::Steady)
            }
        };
        Target { tasks, reason }
    }

    fn tasks_for(&mut self, now: Instant, window: Duration) -> u32 {
        let demand = self.demand.mean(now, window);
        let room = self.limits.room(self.limits.tasks) as f64 / f64::from(self.limits.tasks);
        // What is left of a mean after much time without any demand is none.
        if demand < 0.001 {
            return 0;
        }
        (demand / (room * TARGET)).ceil().min(f64::from(u32::MAX)) as u32
    }

    fn remember(&mut self, now: Instant, need: u32) {
        while let Some((at, _)) = self.needs.front()
            && self.is_over(*at, now)
        {
            self.needs.pop_front();
        }
        let grain = self.limits.idle / GRAINS;
        while let Some((_, older)) = self.needs.back()
            && *older <= need
        {
            self.needs.pop_back();
        }
        // What falls slowly is remembered in steps, by the larger number: memory stays bounded.
        match self.needs.back() {
            Some((at, _)) if now.saturating_duration_since(*at) < grain => {}
            _ => self.needs.push_back((now, need)),
        }
    }

    fn is_over(&self, at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(at) >= self.limits.idle
    }
}
