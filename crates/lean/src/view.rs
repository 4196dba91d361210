//! A sandbox as an operator sees it.

use jiff::Timestamp;
use skep_model::{FunctionName, InstanceId};

use crate::held::Held;

/// One sandbox that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxView {
    /// Docker's id of its container.
    pub container: String,
    /// The function.
    pub function: FunctionName,
    /// The instances in it.
    pub instances: Vec<InstanceId>,
    /// When it was made.
    pub created: Timestamp,
}

impl SandboxView {
    pub(crate) fn of(held: &Held) -> Self {
        Self {
            container: held.sandbox.container.clone(),
            function: held.function.clone(),
            instances: held.instances(),
            created: held.created,
        }
    }
}
