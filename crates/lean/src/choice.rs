//! Both engines as one: each function runs on the best that gives what its template asks for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use skep_docker::DockerEngine;
use skep_engine::{Engine, EngineKind, Launch, LaunchError, Launched};
use skep_model::{EngineChoice, Function};

use crate::engine::LeanEngine;
use crate::layers::Waiting;
use crate::pool::Definition;

/// How many templates' answers are remembered; beyond it they are found anew.
const REMEMBERED: usize = 10_000;

/// Chooses between lean and docker, function by function.
#[derive(Clone)]
pub struct Engines {
    docker: DockerEngine,
    lean: LeanEngine,
    /// What a template that names no engine gets.
    default: EngineChoice,
    /// What lean said of each template: reading one takes longer than starting an instance of it.
    answers: Arc<Mutex<HashMap<Definition, Arc<[String]>>>>,
}

impl Engines {
    /// Of these two; `default` is what `skep.engine=auto` means here.
    pub fn new(docker: DockerEngine, lean: LeanEngine, default: EngineChoice) -> Self {
        Self {
            docker,
            lean,
            default,
            answers: Arc::default(),
        }
    }

    fn lean_reasons(&self, function: &Function) -> Arc<[String]> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let definition = (function.template.id.clone(), function.revision.clone());
        if let Some(known) = answers.get(&definition) {
            return known.clone();
        }
        if answers.len() >= REMEMBERED {
            answers.clear();
        }
        let reasons: Arc<[String]> = self.lean.unsupported(function).into();
        answers.insert(definition, reasons.clone());
        reasons
    }

    /// Whether lean makes a function's instances, now or once its image's layers are there.
    pub fn is_leans(&self, function: &Function) -> bool {
        match self.choice(function) {
            EngineChoice::Docker => false,
            EngineChoice::Lean => true,
            EngineChoice::Auto => self.lean_reasons(function).is_empty(),
        }
    }

    /// Why lean, which gives what a function asks for, can't make an instance of it right now.
    fn waiting(&self, function: &Function) -> Option<Waiting> {
        self.lean.shared.waiting(function)
    }

    fn choice(&self, function: &Function) -> EngineChoice {
        match function.settings.engine {
            EngineChoice::Auto => self.default,
            named => named,
        }
    }
}

impl Engine for Engines {
    fn kind(&self) -> EngineKind {
        EngineKind::Docker
    }

    fn kind_for(&self, function: &Function) -> EngineKind {
        match self.choice(function) {
            EngineChoice::Docker => EngineKind::Docker,
            EngineChoice::Lean => EngineKind::Lean,
            EngineChoice::Auto if self.is_leans(function) && self.waiting(function).is_none() => {
                EngineKind::Lean
            }
            EngineChoice::Auto => EngineKind::Docker,
        }
    }

    fn fallback(&self, function: &Function) -> Vec<String> {
        match self.choice(function) {
            EngineChoice::Auto => {
                let reasons = self.lean_reasons(function);
                let waiting = || self.waiting(function).map(|waiting| waiting.to_string());
                match reasons.is_empty() {
                    true => waiting().into_iter().collect(),
                    false => reasons.to_vec(),
                }
            }
            EngineChoice::Lean | EngineChoice::Docker => Vec::new(),
        }
    }

    fn unsupported(&self, function: &Function) -> Vec<String> {
        match self.kind_for(function) {
            EngineKind::Lean => self.lean_reasons(function).to_vec(),
            EngineKind::Docker => self.docker.unsupported(function),
        }
    }

    fn launch(&self, launch: Launch) -> BoxFuture<'_, Result<Launched, LaunchError>> {
        match self.kind_for(&launch.function) {
            EngineKind::Lean => self.lean.launch(launch),
            EngineKind::Docker => {
                if self.is_leans(&launch.function) {
                    // Until its layers are there, Docker makes its instances.
                    self.lean.shared.want(&launch.function);
                }
                self.docker.launch(launch)
            }
        }
    }
}
