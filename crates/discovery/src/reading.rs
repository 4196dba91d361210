//! Reading one container: whether it is a template of this namespace, and which.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use bollard::query_parameters::InspectContainerOptions;
use jiff::Timestamp;
use skep_copied::ReadError;
use skep_model::{Copied, Function, Invalid, Namespace, Revision, Template, label};
use tokio::time::timeout;

use crate::copies::Known;
use crate::images::{Image, Images};
use crate::networks::Networks;
use crate::template::template;
use crate::{Config, Supports};

/// Longer than any healthy engine takes to answer for one container.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than it takes to hand out as much as may be copied into a template.
const COPY_PATIENCE: Duration = Duration::from_secs(120);
const CREATED: ContainerStateStatusEnum = ContainerStateStatusEnum::CREATED;

/// A template as it was read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) template: Template,
    pub(crate) revision: Revision,
    /// Networks that it names and that the engine doesn't have.
    pub(crate) missing_networks: Vec<String>,
    /// Why what was put into it can't be carried over.
    pub(crate) problem: Option<String>,
    /// When the engine created the container. The template's own time may be an earlier one, where it was put back.
    pub(crate) made: Timestamp,
}

/// A template that is known, with what it makes.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) template: Arc<Template>,
    revision: Revision,
    missing_networks: Vec<String>,
    problem: Option<String>,
    pub(crate) made: Timestamp,
    pub(crate) candidate: Result<Function, Invalid>,
}

impl Held {
    pub(crate) fn new(found: Found, supports: &Supports) -> Self {
        let Found {
            template,
            revision,
            missing_networks,
            problem,
            made,
        } = found;
        let template = Arc::new(template);
        let candidate = candidate(
            &template,
            &revision,
            &missing_networks,
            problem.as_ref(),
            supports,
        );
        Self {
            template,
            revision,
            missing_networks,
            problem,
            made,
            candidate,
        }
    }

    /// The same with an image that appeared or vanished.
    pub(crate) fn with_image(&self, image: &Image, supports: &Supports) -> Self {
        let mut template = Template::clone(&self.template);
        fill_in(&mut template, image);
        let (revision, missing_networks) = (self.revision.clone(), self.missing_networks.clone());
        Self::new(
            Found {
                template,
                revision,
                missing_networks,
                problem: self.problem.clone(),
                made: self.made,
            },
            supports,
        )
    }

    /// Whether nothing differs that anybody could see.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.template == other.template && self.candidate == other.candidate
    }

    /// What `skep.function` says.
    pub(crate) fn function(&self) -> &str {
        self.template
            .labels
            .get(label::FUNCTION)
            .map_or("", String::as_str)
    }
}

/// What a container turned out to be.
#[derive(Debug)]
pub(crate) enum Read {
    Template(Box<Found>),
    /// No template of this namespace.
    Other,
    /// It was removed before it could be read.
    Gone,
    /// The engine could not say; for an operator.
    Failed(String),
}

/// Inspects a container, its image and its networks.
pub(crate) async fn read(
    docker: Docker,
    images: Images,
    networks: Networks,
    config: Config,
    copies: Known,
    id: Arc<str>,
) -> Read {
    match timeout(
        PATIENCE,
        inspect(&docker, &images, &networks, &config.namespace, &id),
    )
    .await
    {
        Ok(Ok(Inspected::Other)) => Read::Other,
        Ok(Ok(Inspected::Template { mut found, inspect })) => {
            let reading = copied(&docker, &inspect, copies, &config.scratch);
            match timeout(COPY_PATIENCE, reading).await {
                Ok(Ok(copied)) => found.carry(copied),
                Ok(Err(ReadError::Engine(Error::DockerResponseServerError { status_code: 404, .. }))) => {
                    return Read::Gone;
                }
                Ok(Err(error)) => found.problem = Some(error.to_string()),
                Err(_) => {
                    return Read::Failed("what was copied into it could not be read in time".to_owned());
                }
            }
            Read::Template(found)
        }
        Ok(Err(Error::DockerResponseServerError { status_code: 404, .. })) => Read::Gone,
        Ok(Err(error)) => Read::Failed(error.to_string()),
        Err(_) => Read::Failed(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn inspect(
    docker: &Docker,
    images: &Images,
    networks: &Networks,
    namespace: &Namespace,
    id: &str,
) -> Result<Inspected, Error> {
    let inspect = docker
        .inspect_container(id, None::<InspectContainerOptions>)
        .await?;
    let (mut template, revision) = template(inspect.clone());
    if template.labels.contains_key(label::OWNER) {
        return Ok(Inspected::Other);
    }
    let image = images.get(docker, &template.image_id).await?;
    fill_in(&mut template, &image);
    if label::function_name(&template).is_none() || label::namespace(&template) != namespace.as_str() {
        return Ok(Inspected::Other);
    }
    let missing_networks = networks.missing(docker, &template.networks).await?;
    let made = template.created;
    let found = Box::new(Found {
        template,
        revision,
        missing_networks,
        problem: None,
        made,
    });
    Ok(Inspected::Template {
        found,
        inspect: Box::new(inspect),
    })
}

/// A container, before it was looked at what was put into it.
enum Inspected {
    Template {
        found: Box<Found>,
        inspect: Box<ContainerInspectResponse>,
    },
    Other,
}

/// What was put into a template with `docker cp`. What was ever started is none and may have written anything.
async fn copied(
    docker: &Docker,
    inspect: &ContainerInspectResponse,
    known: Known,
    scratch: &Path,
) -> Result<Option<Arc<Copied>>, ReadError> {
    match known {
        Known::Yes(copied) => Ok(copied),
        Known::No
            if inspect
                .state
                .as_ref()
                .is_some_and(|state| state.status != Some(CREATED)) =>
        {
            Ok(None)
        }
        Known::No => skep_copied::read(docker, inspect, scratch).await,
    }
}

impl Found {
    /// What was put into the template is part of what defines the function.
    fn carry(&mut self, copied: Option<Arc<Copied>>) {
        if let Some(copied) = &copied {
            self.revision = Revision::of(format!("{} {}", self.revision, copied.digest).as_bytes());
        }
        self.template.copied = copied;
    }
}

fn fill_in(template: &mut Template, image: &Image) {
    template.image_labels = BTreeMap::clone(&image.labels);
    template.image_present = image.present;
}

/// The function that a template makes here and now, or every reason why it makes none.
fn candidate(
    template: &Arc<Template>,
    revision: &Revision,
    missing_networks: &[String],
    problem: Option<&String>,
    supports: &Supports,
) -> Result<Function, Invalid> {
    let invalid = |reasons: Vec<String>| Invalid {
        name: template.labels.get(label::FUNCTION).cloned().unwrap_or_default(),
        template: template.id.clone(),
        template_name: template.name.clone(),
        reasons,
    };
    let missing = missing_networks.iter().map(|network| {
        format!(
            "its network {network} is not on the engine; create it with `docker network create {network}`"
        )
    });
    let missing: Vec<String> = missing.chain(problem.cloned()).collect();
    match Function::from_template(Arc::clone(template), revision.clone()) {
        Err(reasons) => Err(invalid(reasons.into_iter().chain(missing).collect())),
        Ok(function) => {
            let reasons: Vec<String> = supports(&function).into_iter().chain(missing).collect();
            if reasons.is_empty() {
                Ok(function)
            } else {
                Err(invalid(reasons))
            }
        }
    }
}
