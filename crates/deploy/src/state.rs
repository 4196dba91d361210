//! What the engine holds of a project now.

use crate::engine::label_filter;
use crate::error::DeployError;
use crate::labels;
use bollard::Docker;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::ListContainersOptions;
use std::collections::HashMap;

/// A container of the project.
#[derive(Clone, Debug)]
pub(crate) struct Existing {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) number: u32,
    pub(crate) created: i64,
    pub(crate) labels: HashMap<String, String>,
    pub(crate) image_id: String,
    pub(crate) state: ContainerSummaryStateEnum,
}

impl Existing {
    fn from(summary: ContainerSummary) -> Option<Self> {
        let labels = summary.labels.unwrap_or_default();
        let name = summary.names?.into_iter().next()?;
        Some(Self {
            id: summary.id?,
            name: name.trim_start_matches('/').to_owned(),
            service: labels.get(labels::SERVICE).cloned().unwrap_or_default(),
            number: labels
                .get(labels::NUMBER)
                .and_then(|number| number.parse().ok())
                .unwrap_or(0),
            created: summary.created.unwrap_or(0),
            image_id: summary.image_id.unwrap_or_default(),
            state: summary.state.unwrap_or(ContainerSummaryStateEnum::EMPTY),
            labels,
        })
    }

    pub(crate) fn is_one_off(&self) -> bool {
        self.labels
            .get(labels::ONE_OFF)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(crate) fn is_function(&self) -> bool {
        self.labels.contains_key(labels::FUNCTION)
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(
            self.state,
            ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::RESTARTING
        )
    }

    /// Parked: created and never started.
    pub(crate) fn is_parked(&self) -> bool {
        self.state == ContainerSummaryStateEnum::CREATED
    }

    /// Whether this container is what `hash` and the image ask for.
    pub(crate) fn is(&self, hash: &str, image_id: &str) -> bool {
        let label = |name: &str| self.labels.get(name).map(String::as_str);
        let image = label(labels::IMAGE).unwrap_or(&self.image_id);
        label(labels::CONFIG_HASH) == Some(hash) && image == image_id
    }

    /// The services that this one came after, from its label.
    pub(crate) fn depends_on(&self) -> Vec<String> {
        self.labels
            .get(labels::DEPENDS_ON)
            .map(String::as_str)
            .unwrap_or_default()
            .split(',')
            .filter_map(|part| part.split(':').next())
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

/// Every container with the project's label, the lowest numbers first.
pub(crate) async fn containers(docker: &Docker, project: &str) -> Result<Vec<Existing>, DeployError> {
    let options = ListContainersOptions {
        all: true,
        filters: Some(label_filter(labels::PROJECT, project)),
        ..ListContainersOptions::default()
    };
    let found = docker
        .list_containers(Some(options))
        .await
        .map_err(DeployError::engine("list the project's containers"))?;
    let mut containers: Vec<Existing> = found.into_iter().filter_map(Existing::from).collect();
    containers.sort_by(|left, right| {
        (&left.service, left.number, left.created).cmp(&(&right.service, right.number, right.created))
    });
    Ok(containers)
}
