//! Brings one service from what the engine holds to what the project says.

mod containers;
mod function;
mod service;

pub(crate) use containers::{remove, stop};

use crate::control::Control;
use crate::error::DeployError;
use crate::options::UpOptions;
use crate::progress::Progress;
use crate::spec::Plan;
use crate::state::Existing;
use bollard::Docker;
use skep_compose::Project;

/// What every step needs.
pub(crate) struct Deployment<'a> {
    pub(crate) docker: &'a Docker,
    pub(crate) project: &'a Project,
    pub(crate) options: &'a UpOptions,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) control: Option<Control>,
    pub(crate) all_networks: bool,
}

/// What became of a service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Applied {
    /// Its containers now, by id.
    pub(crate) containers: Vec<String>,
    /// Whether one of them was replaced or made.
    pub(crate) changed: bool,
}

impl Deployment<'_> {
    /// Applies one service; `restart` asks for running containers to be
    /// restarted even where nothing changed.
    pub(crate) async fn apply(
        &self,
        plan: &Plan,
        existing: Vec<Existing>,
        restart: bool,
    ) -> Result<Applied, DeployError> {
        if plan.service.function.is_some() {
            self.apply_function(plan, existing).await
        } else {
            self.apply_service(plan, existing, restart).await
        }
    }

    fn is_as_planned(&self, container: &Existing, plan: &Plan) -> bool {
        !self.options.force_recreate && container.is(&plan.hash, &plan.image.id)
    }
}
