//! Finding what an earlier Skep left behind: after a crash nobody else knows of those containers.
//!
//! A reconciler without input: it lists what carries this namespace's labels, leaves what this process knows to be
//! alive, and removes the rest. Sound because one Skep at a time holds the namespace ([`crate::lock`]).

use std::sync::Arc;

use bollard::models::ContainerSummary;
use skep_model::label;

use crate::removal;
use crate::shared::Shared;

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// The ids of the containers that it removed.
    pub removed: Vec<String>,
    /// The ids of those that it couldn't remove, for the next sweep.
    pub left: Vec<String>,
    /// Whether the engine said what there is; otherwise nothing was done.
    pub answered: bool,
}

pub(crate) async fn sweep(shared: &Arc<Shared>) -> SweepReport {
    let mut report = SweepReport::default();
    let labels = vec![
        format!("{}={}", label::NAMESPACE, shared.namespace),
        label::OWNER.to_owned(),
        label::INSTANCE.to_owned(),
    ];
    let listed = match shared.api.list(labels, false).await {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(
                error = error.chain(),
                "the engine could not be swept; the next sweep tries again"
            );
            return report;
        }
    };
    report.answered = true;
    for orphan in listed
        .into_iter()
        .filter(|container| is_orphan(shared, container))
    {
        let Some(id) = orphan.id else { continue };
        match removal::remove_container(&shared.api, &id).await {
            Ok(()) => {
                tracing::info!(
                    container = id,
                    "removed a container that an earlier Skep left behind"
                );
                report.removed.push(id);
            }
            Err(error) => {
                tracing::warn!(
                    container = id,
                    error = error.chain(),
                    "an orphaned container could not be removed"
                );
                report.left.push(id);
            }
        }
    }
    report
}

fn is_orphan(shared: &Shared, container: &ContainerSummary) -> bool {
    let labels = container.labels.as_ref();
    let own = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    let instance = own(label::INSTANCE).and_then(|text| text.parse().ok());
    let ours = own(label::OWNER) == Some(shared.owner.as_str());
    !(ours && instance.is_some_and(|instance| shared.live().contains(&instance)))
}
