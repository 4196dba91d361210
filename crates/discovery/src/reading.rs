//! Reading one container: whether it is a template of this namespace, and which.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::InspectContainerOptions;
use skep_model::{Function, Invalid, Namespace, Revision, Template, label};

use crate::Supports;
use crate::images::{Image, Images};
use crate::template::template;

/// Longer than any healthy engine takes to answer for one container.
const PATIENCE: Duration = Duration::from_secs(10);

/// A template that is known, with what it makes.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) template: Arc<Template>,
    pub(crate) revision: Revision,
    pub(crate) candidate: Result<Function, Invalid>,
}

impl Held {
    pub(crate) fn new(template: Template, revision: Revision, supports: &Supports) -> Self {
        let template = Arc::new(template);
        let candidate = candidate(&template, &revision, supports);
        Self { template, revision, candidate }
    }

    /// The same with an image that appeared or vanished.
    pub(crate) fn with_image(&self, image: &Image, supports: &Supports) -> Self {
        let mut template = Template::clone(&self.template);
        fill_in(&mut template, image);
        Self::new(template, self.revision.clone(), supports)
    }

    /// What `skep.function` says.
    pub(crate) fn function(&self) -> &str {
        self.template.labels.get(label::FUNCTION).map_or("", String::as_str)
    }
}

/// What a container turned out to be.
#[derive(Debug)]
pub(crate) enum Read {
    Template { template: Box<Template>, revision: Revision },
    /// No template of this namespace.
    Other,
    /// It was removed before it could be read.
    Gone,
    /// The engine could not say; for an operator.
    Failed(String),
}

/// Inspects a container and its image.
pub(crate) async fn read(docker: Docker, images: Images, namespace: Namespace, id: Arc<str>) -> Read {
    match tokio::time::timeout(PATIENCE, inspect(&docker, &images, &namespace, &id)).await {
        Ok(Ok(read)) => read,
        Ok(Err(Error::DockerResponseServerError { status_code: 404, .. })) => Read::Gone,
        Ok(Err(error)) => Read::Failed(error.to_string()),
        Err(_) => Read::Failed(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn inspect(docker: &Docker, images: &Images, namespace: &Namespace, id: &str) -> Result<Read, Error> {
    let found = docker.inspect_container(id, None::<InspectContainerOptions>).await?;
    let (mut template, revision) = template(found);
    if template.labels.contains_key(label::OWNER) {
        return Ok(Read::Other);
    }
    let image = images.get(docker, &template.image_id).await?;
    fill_in(&mut template, &image);
    let ours = label::function_name(&template).is_some() && label::namespace(&template) == namespace.as_str();
    Ok(if ours { Read::Template { template: Box::new(template), revision } } else { Read::Other })
}

fn fill_in(template: &mut Template, image: &Image) {
    template.image_labels = BTreeMap::clone(&image.labels);
    template.image_present = image.present;
}

/// The function that a template makes here and now, or why it makes none.
pub(crate) fn candidate(
    template: &Arc<Template>,
    revision: &Revision,
    supports: &Supports,
) -> Result<Function, Invalid> {
    let invalid = |reasons: Vec<String>| Invalid {
        name: template.labels.get(label::FUNCTION).cloned().unwrap_or_default(),
        template: template.id.clone(),
        template_name: template.name.clone(),
        reasons,
    };
    let function = Function::from_template(Arc::clone(template), revision.clone()).map_err(invalid)?;
    let reasons = supports(&function);
    if reasons.is_empty() { Ok(function) } else { Err(invalid(reasons)) }
}
