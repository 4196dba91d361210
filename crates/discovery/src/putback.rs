//! Creates a container or a network again as it was, from what was remembered of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, EndpointSettings, NetworkConnectRequest, NetworkCreateRequest, NetworkingConfig,
};
use bollard::query_parameters::{CreateContainerOptions, RemoveContainerOptions};
use serde_json::Value;
use skep_model::Template;
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(30);
/// The pauses before each further attempt.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_millis(1_000),
    Duration::from_millis(2_000),
];

/// Why something could not be put back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PutBackError {
    #[error("what was remembered of it can't be read")]
    Remembered(#[from] serde_json::Error),
    #[error("the engine refused it")]
    Engine(#[from] Error),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    NoAnswer(#[from] tokio::time::error::Elapsed),
}

/// Puts a template back and returns its new id.
///
/// # Errors
/// The engine refused or did not answer; nothing half made stays.
pub(crate) async fn template(docker: &Docker, template: &Template) -> Result<Arc<str>, PutBackError> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let result = tokio::time::timeout(PATIENCE, create(docker, template))
            .await
            .map_err(PutBackError::from);
        match (result.flatten(), pauses.next()) {
            // Most likely a network that is itself being put back.
            (Err(PutBackError::Engine(_) | PutBackError::NoAnswer(_)), Some(pause)) => sleep(pause).await,
            (result, _) => return result,
        }
    }
}

/// Puts a network back.
///
/// # Errors
/// The engine refused or did not answer.
pub(crate) async fn network(docker: &Docker, network: NetworkCreateRequest) -> Result<(), PutBackError> {
    tokio::time::timeout(PATIENCE, docker.create_network(network)).await??;
    Ok(())
}

async fn create(docker: &Docker, template: &Template) -> Result<Arc<str>, PutBackError> {
    let remembered: Value = serde_json::from_str(&template.inspect)?;
    let mut networks = networks(&remembered, template)?;
    let mut body = body(&remembered, template)?;
    body.image = Some(image(docker, template).await);
    // Engines before API 1.44 take one network at creation; the others are connected after it.
    if let Some(first) = networks.remove(&template.network_mode) {
        let endpoints = HashMap::from([(template.network_mode.clone(), first)]);
        body.networking_config = Some(NetworkingConfig {
            endpoints_config: Some(endpoints),
        });
    } else {
        // `default`, `host`, `none` and `container:` need no entry, and their own names appear as networks.
        networks.retain(|name, _| !matches!(name.as_str(), "bridge" | "host" | "none"));
    }
    let options = CreateContainerOptions {
        name: Some(template.name.clone()),
        ..Default::default()
    };
    let id = docker.create_container(Some(options), body).await?.id;
    for (network, endpoint) in networks {
        let request = NetworkConnectRequest {
            container: id.clone(),
            endpoint_config: Some(endpoint),
        };
        if let Err(error) = docker.connect_network(&network, request).await {
            let _ = docker.remove_container(&id, None::<RemoveContainerOptions>).await;
            return Err(error.into());
        }
    }
    if let Some(copied) = &template.copied
        && let Err(error) = skep_copied::put(docker, &id, copied).await
    {
        let _ = docker.remove_container(&id, None::<RemoveContainerOptions>).await;
        return Err(error.into());
    }
    Ok(id.into())
}

fn body(remembered: &Value, template: &Template) -> Result<ContainerCreateBody, serde_json::Error> {
    // An inspection's Config has the fields of a creation's body.
    let mut body: ContainerCreateBody = serde_json::from_value(remembered["Config"].clone())?;
    body.host_config = serde_json::from_value(remembered["HostConfig"].clone())?;
    if body.hostname.as_deref() == Some(template.id.short()) {
        body.hostname = None;
    }
    // None would mean the image's entrypoint; this is how one says that there is none.
    if body.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        body.entrypoint = Some(vec![String::new()]);
    }
    Ok(body)
}

fn networks(
    remembered: &Value,
    template: &Template,
) -> Result<HashMap<String, EndpointSettings>, serde_json::Error> {
    let known: Option<HashMap<String, EndpointSettings>> =
        serde_json::from_value(remembered["NetworkSettings"]["Networks"].clone())?;
    let asked = known.unwrap_or_default().into_iter().map(|(name, endpoint)| {
        let mut aliases = endpoint.aliases.unwrap_or_default();
        aliases.retain(|alias| alias != template.id.short());
        let asked = EndpointSettings {
            aliases: (!aliases.is_empty()).then_some(aliases),
            ipam_config: endpoint.ipam_config,
            links: endpoint.links,
            driver_opts: endpoint.driver_opts,
            gw_priority: endpoint.gw_priority,
            ..Default::default()
        };
        (name, asked)
    });
    Ok(asked.collect())
}

/// The image by the name that it was created with, as long as that still means the same image.
async fn image(docker: &Docker, template: &Template) -> String {
    match docker.inspect_image(&template.image).await {
        Ok(found) if found.id.as_deref() == Some(template.image_id.as_str()) => template.image.clone(),
        _ => template.image_id.clone(),
    }
}
