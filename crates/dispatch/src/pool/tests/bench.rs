//! A driver without anything real behind it. It checks every action of the pool against what must always hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_engine::Stdio;
use skep_model::{Function, Phases, Problem, ProblemCode};

use crate::config::Config;
use crate::pool::types::{seats, stdio};
use crate::pool::{Action, CallerKey, Grant, InstanceKey, Pool};
use crate::work::Fate;

/// What became of a caller.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Granted(InstanceKey, Grant),
    Refused(ProblemCode),
}

/// How far the bench brought an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Launching,
    Launched,
    Ready,
    Ending,
}

pub(super) struct Made {
    pub(super) function: Arc<Function>,
    pub(super) step: Step,
    /// Whether its launch was given up.
    pub(super) cancelled: bool,
    pub(super) leases: Vec<(CallerKey, bool)>,
    pub(super) served: u64,
    pub(super) frozen: bool,
    pub(super) gentle: bool,
}

struct Asked {
    function: Arc<Function>,
    background: bool,
}

pub(super) struct Bench {
    pub(super) pool: Pool,
    pub(super) config: Config,
    pub(super) now: Instant,
    pub(super) made: BTreeMap<InstanceKey, Made>,
    pub(super) answers: BTreeMap<CallerKey, Answer>,
    pub(super) waiting: BTreeSet<CallerKey>,
    pub(super) launches: Vec<(InstanceKey, String)>,
    asked: BTreeMap<CallerKey, Asked>,
    /// `exec` callers with a launch of their own.
    bound: BTreeMap<CallerKey, InstanceKey>,
    /// After the end of everything an instance may be ended while it works.
    pub(super) merciless: bool,
}

impl Bench {
    pub(super) fn new(config: Config) -> Self {
        Self {
            pool: Pool::new(config.clone()),
            config,
            now: Instant::now(),
            made: BTreeMap::new(),
            answers: BTreeMap::new(),
            waiting: BTreeSet::new(),
            launches: Vec::new(),
            asked: BTreeMap::new(),
            bound: BTreeMap::new(),
            merciless: false,
        }
    }

    /// A node with room for this many instances of one byte.
    pub(super) fn with_room(memory: u64) -> Self {
        Self::new(Config {
            concurrent_starts: 1000,
            ..Config::new(memory)
        })
    }

    pub(super) fn arrive(&mut self, function: &Arc<Function>, background: bool) -> CallerKey {
        let asked = Asked {
            function: Arc::clone(function),
            background,
        };
        // The dispatcher, too, first looks whether the caller need not wait.
        let at_once = (!background)
            .then(|| self.pool.at_once(&function.name, self.now))
            .flatten();
        let caller = match at_once {
            Some(_) => CallerKey(u64::MAX - self.asked.len() as u64),
            None => self.pool.arrive(function, stdio(function), background, self.now),
        };
        self.waiting.insert(caller);
        self.asked.insert(caller, asked);
        if let Some((instance, grant)) = at_once {
            self.one(Action::Grant {
                caller,
                instance,
                grant,
            });
        }
        self.carry_out();
        caller
    }

    pub(super) fn leave(&mut self, caller: CallerKey) {
        self.waiting.remove(&caller);
        self.bound.remove(&caller);
        self.pool.leave(caller, self.now);
        self.carry_out();
    }

    pub(super) fn set(&mut self, functions: &[&Arc<Function>]) {
        self.pool.set_functions(
            functions.iter().map(|function| Arc::clone(function)).collect(),
            self.now,
        );
        self.carry_out();
    }

    pub(super) fn launched(&mut self, key: InstanceKey) {
        self.made(key).step = Step::Launched;
        self.pool.launched(key, self.now);
        self.carry_out();
    }

    pub(super) fn ready(&mut self, key: InstanceKey) {
        self.made(key).step = Step::Ready;
        self.pool.ready(key, self.now);
        self.carry_out();
    }

    pub(super) fn fail(&mut self, key: InstanceKey) {
        let exists = self.made(key).step != Step::Launching;
        let problem = Problem::new(ProblemCode::StartFailed);
        if !exists {
            self.made.remove(&key);
        }
        self.pool
            .failed(key, &problem, Phases::default(), exists, self.now);
        self.carry_out();
    }

    pub(super) fn finish(&mut self, key: InstanceKey, nth: usize, fate: Fate) {
        let made = self.made(key);
        let nth = nth % made.leases.len();
        let (_, background) = made.leases.remove(nth);
        self.pool.finished(key, background, fate, false, self.now);
        self.carry_out();
    }

    pub(super) fn exit(&mut self, key: InstanceKey) {
        self.pool.exited(key, 1, self.now);
        self.carry_out();
    }

    pub(super) fn removed(&mut self, key: InstanceKey) {
        self.made.remove(&key);
        self.pool.removed(key, self.now);
        self.carry_out();
    }

    /// Lets time pass, with every timer at its time.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.pool.next_deadline().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.pool.tick(self.now);
            self.carry_out();
        }
        self.now = until;
    }

    pub(super) fn carry_out(&mut self) {
        for action in self.pool.take_actions() {
            self.one(action);
        }
        self.check();
    }

    fn one(&mut self, action: Action) {
        match action {
            Action::Launch {
                instance,
                function,
                caller,
            } => {
                let same = self
                    .made
                    .values()
                    .filter(|made| made.function.name == function.name)
                    .count();
                assert!(same < function.settings.max as usize, "more than max");
                assert_eq!(caller.is_some(), stdio(&function) == Stdio::Pipe);
                if let Some(caller) = caller {
                    self.assert_first(caller);
                    self.bound.insert(caller, instance);
                }
                self.launches.push((instance, function.name.to_string()));
                let made = Made {
                    function,
                    step: Step::Launching,
                    cancelled: false,
                    leases: Vec::new(),
                    served: 0,
                    frozen: false,
                    gentle: false,
                };
                self.made.insert(instance, made);
            }
            Action::Cancel { instance } => {
                let made = self.made(instance);
                assert!(
                    matches!(made.step, Step::Launching | Step::Launched),
                    "only a launch is given up"
                );
                made.cancelled = true;
            }
            Action::Grant {
                caller,
                instance,
                grant,
            } => {
                match self.bound.remove(&caller) {
                    Some(own) => assert_eq!(own, instance),
                    None => self.assert_first(caller),
                }
                let background = self.asked[&caller].background;
                let made = self.made(instance);
                assert_eq!(made.step, Step::Ready, "only ready instances are given");
                assert!(
                    made.leases.len() < seats(&made.function) as usize,
                    "more than concurrency"
                );
                assert_eq!(grant.reused, made.served > 0);
                assert_eq!(
                    std::mem::take(&mut made.frozen),
                    grant.thaw,
                    "what is frozen is thawed"
                );
                made.served += 1;
                assert!(
                    made.function
                        .settings
                        .recycle
                        .limit()
                        .is_none_or(|limit| made.served <= limit)
                );
                made.leases.push((caller, background));
                self.answer(caller, Answer::Granted(instance, grant));
            }
            Action::Refuse { caller, problem, .. } => {
                self.bound.remove(&caller);
                self.answer(caller, Answer::Refused(problem.code));
            }
            Action::Freeze { instance } => {
                let made = self.made(instance);
                assert!(
                    made.step == Step::Ready && made.leases.is_empty(),
                    "only idle instances are frozen"
                );
                made.frozen = true;
            }
            Action::End { instance, gentle } => {
                let merciless = self.merciless;
                let made = self.made(instance);
                assert!(
                    merciless || made.leases.is_empty(),
                    "an instance was ended while it worked"
                );
                assert_ne!(made.step, Step::Ending, "ended twice");
                made.step = Step::Ending;
                made.gentle = gentle;
            }
            Action::Hurry { instance } => self.made(instance).gentle = false,
        }
    }

    fn answer(&mut self, caller: CallerKey, answer: Answer) {
        assert!(
            self.waiting.remove(&caller),
            "a caller is answered once, and not after it left"
        );
        self.answers.insert(caller, answer);
    }

    /// Nobody of the same function and class has waited longer.
    fn assert_first(&self, caller: CallerKey) {
        let own = &self.asked[&caller];
        let longer = self
            .waiting
            .iter()
            .take_while(|other| **other < caller)
            .find(|other| {
                let other_asked = &self.asked[*other];
                other_asked.function.name == own.function.name
                    && other_asked.background == own.background
                    && !self.bound.contains_key(*other)
            });
        assert_eq!(longer, None, "{caller:?} was served before one who waits longer");
    }

    fn made(&mut self, key: InstanceKey) -> &mut Made {
        self.made
            .get_mut(&key)
            .expect("the pool speaks of instances that exist")
    }

    /// The instances in one step, the oldest first.
    pub(super) fn in_step(&self, step: Step) -> Vec<InstanceKey> {
        self.made
            .iter()
            .filter(|(_, made)| made.step == step)
            .map(|(key, _)| *key)
            .collect()
    }

    /// Instances that are granted, the oldest first.
    pub(super) fn working(&self) -> Vec<InstanceKey> {
        self.made
            .iter()
            .filter(|(_, made)| !made.leases.is_empty())
            .map(|(key, _)| *key)
            .collect()
    }

    /// Brings every launch to readiness and removes everything that ends.
    pub(super) fn start_all(&mut self) {
        loop {
            let starting = [self.in_step(Step::Launching), self.in_step(Step::Launched)].concat();
            let ending = self.in_step(Step::Ending);
            if starting.is_empty() && ending.is_empty() {
                return;
            }
            for key in starting {
                if self.made(key).cancelled {
                    self.removed(key)
                } else {
                    self.ready(key)
                }
            }
            for key in ending {
                self.removed(key);
            }
        }
    }

    /// Finishes everything that works, once.
    pub(super) fn finish_all(&mut self) {
        for key in self.working() {
            while self.made.get(&key).is_some_and(|made| !made.leases.is_empty()) {
                let before = self.made(key).leases.len();
                self.finish(key, 0, Fate::Reusable);
                if self
                    .made
                    .get(&key)
                    .is_some_and(|made| made.leases.len() >= before)
                {
                    break;
                }
            }
        }
    }

    pub(super) fn instance_of(&self, caller: CallerKey) -> InstanceKey {
        match self.answers.get(&caller) {
            Some(Answer::Granted(instance, _)) => *instance,
            other => panic!("{caller:?} has no instance but {other:?}"),
        }
    }

    pub(super) fn refusal(&self, caller: CallerKey) -> Option<ProblemCode> {
        match self.answers.get(&caller) {
            Some(Answer::Refused(code)) => Some(*code),
            _ => None,
        }
    }
}
