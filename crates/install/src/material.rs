//! What the services are made from: an image, a network, keys, `pause`, accounts at registries.
//!
//! Secrets and configs of a Swarm never change, so each has a digest of what is in it in its name. The keys are made
//! once; the authority's own key is thrown away, so that nobody, Skep included, can ever make another member.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bollard::Docker;
use bollard::models::{ConfigSpec, NetworkCreateRequest, Secret, SecretSpec};
use bollard::query_parameters::{ListConfigsOptionsBuilder, ListSecretsOptionsBuilder};
use skep_deploy::{Event, Progress, accounts};
use skep_tls::Authority;
use skep_wire::{AGENT_NAME, GATEWAY_NAME, Keys, NETWORK, PART};

use crate::error::{InstallError, is};
use crate::options::Options;
use crate::spec::{Material, Stored, short_digest};
use crate::swarm::labelled;

const GATEWAY_KEYS: &str = "skep-gateway-keys-";
const AGENT_KEYS: &str = "skep-agent-keys-";

/// Finds what there is, and makes what is missing.
pub(crate) async fn gather(
    docker: &Docker,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Material, InstallError> {
    let (image, image_id) = image(docker, &options.image, progress).await?;
    let network = network(docker, progress).await?;
    let (gateway_keys, agent_keys) = keys(docker, progress).await?;
    let pause = pause(docker, progress).await?;
    let registries = if options.registry_auth {
        registries(docker, options, progress).await?
    } else {
        None
    };
    Ok(Material {
        image,
        image_id,
        network,
        gateway_keys,
        agent_keys,
        pause,
        registries,
        queue: None,
    })
}

/// Removes keys, accounts and versions of `pause` that nothing uses any more.
pub(crate) async fn tidy(
    docker: &Docker,
    material: &Material,
    more: &[&Stored],
    progress: &dyn Progress,
) -> Result<(), InstallError> {
    let mut kept = vec![&material.gateway_keys, &material.agent_keys, &material.pause];
    kept.extend(material.registries.iter().chain(&material.queue));
    kept.extend(more);
    let is_kept = |id: &str| kept.iter().any(|stored| stored.id == id);
    for stored in secrets(docker).await?.iter().filter_map(of_secret) {
        if !is_kept(&stored.id) && docker.delete_secret(&stored.id).await.is_ok() {
            removed(progress, "secret", &stored.name);
        }
    }
    for stored in configs(docker, "pause").await? {
        // One that a sandbox still uses can't be removed: a later run does it.
        if !is_kept(&stored.id) && docker.delete_config(&stored.id).await.is_ok() {
            removed(progress, "config", &stored.name);
        }
    }
    Ok(())
}

/// A tag names another image tomorrow: services get the digest that it has today.
pub(crate) async fn image(
    docker: &Docker,
    name: &str,
    progress: &dyn Progress,
) -> Result<(String, String), InstallError> {
    let local = docker.inspect_image(name).await;
    let id = |local: &Result<bollard::models::ImageInspect, _>| {
        local
            .as_ref()
            .ok()
            .and_then(|image| image.id.clone())
            .unwrap_or_default()
    };
    let said = match docker.inspect_registry_image(name, None).await {
        Ok(found) => {
            let digest = found.descriptor.digest.unwrap_or_default();
            return Ok((pinned(name, &digest), digest));
        }
        Err(error) => error.to_string(),
    };
    if local.is_err() {
        return Err(InstallError::NoImage {
            image: name.to_owned(),
            said,
        });
    }
    progress.event(Event::Note {
        text: format!("{name} is in no registry: each node must have it already"),
    });
    Ok((name.to_owned(), id(&local)))
}

/// `registry:5000/skep:1` with a digest; a tag beside it would say nothing more.
fn pinned(name: &str, digest: &str) -> String {
    if digest.is_empty() || name.contains('@') {
        return name.to_owned();
    }
    format!("{name}@{digest}")
}

async fn network(docker: &Docker, progress: &dyn Progress) -> Result<String, InstallError> {
    let doing = "look at the network skep";
    match docker.inspect_network(NETWORK, None).await {
        Ok(found) => {
            let ours = found.labels.is_some_and(|labels| labels.contains_key(PART));
            return match found.id {
                Some(id) if ours => Ok(id),
                _ => Err(InstallError::Taken {
                    kind: "network",
                    name: NETWORK.to_owned(),
                }),
            };
        }
        Err(error) if is(&error, 404) => {}
        Err(error) => return Err(InstallError::engine(doing)(error)),
    }
    let request = NetworkCreateRequest {
        name: NETWORK.to_owned(),
        driver: Some("overlay".to_owned()),
        // The agents are containers of their own, not tasks.
        attachable: Some(true),
        labels: Some(labels("network")),
        ..NetworkCreateRequest::default()
    };
    let made = docker.create_network(request).await;
    let made = made.map_err(InstallError::engine("create the network skep"))?;
    created(progress, "network", NETWORK);
    Ok(made.id)
}

async fn keys(docker: &Docker, progress: &dyn Progress) -> Result<(Stored, Stored), InstallError> {
    let there: Vec<Stored> = secrets(docker).await?.iter().filter_map(of_secret).collect();
    for gateway in &there {
        let Some(generation) = gateway.name.strip_prefix(GATEWAY_KEYS) else {
            continue;
        };
        // Half a pair is of no use: a run was cut off between the two.
        let agent = format!("{AGENT_KEYS}{generation}");
        if let Some(agent) = there.iter().find(|stored| stored.name == agent) {
            return Ok((gateway.clone(), agent.clone()));
        }
    }
    let authority = Authority::generate()?;
    let generation = short_digest(authority.certificate().as_bytes());
    let agent = member(&authority, AGENT_NAME)?;
    let gateway = member(&authority, GATEWAY_NAME)?;
    let agent = secret(
        docker,
        progress,
        &format!("{AGENT_KEYS}{generation}"),
        "keys",
        &agent,
    )
    .await?;
    let gateway = secret(
        docker,
        progress,
        &format!("{GATEWAY_KEYS}{generation}"),
        "keys",
        &gateway,
    )
    .await?;
    Ok((gateway, agent))
}

/// A member's keys as they are handed over: one line.
pub(crate) fn member(authority: &Authority, name: &str) -> Result<Vec<u8>, InstallError> {
    let member = authority.member(name)?;
    let keys = Keys {
        authority: authority.certificate().to_owned(),
        certificate: member.certificate,
        key: member.key,
    };
    Ok(serde_json::to_vec(&keys).unwrap_or_default())
}

async fn pause(docker: &Docker, progress: &dyn Progress) -> Result<Stored, InstallError> {
    let program = skep_pause::program();
    let name = format!("skep-pause-{}", short_digest(&program));
    let there = configs(docker, "pause").await?;
    if let Some(found) = there.into_iter().find(|stored| stored.name == name) {
        return Ok(found);
    }
    let spec = ConfigSpec {
        name: Some(name.clone()),
        labels: Some(labels("pause")),
        data: Some(STANDARD.encode(program)),
        ..ConfigSpec::default()
    };
    let made = docker.create_config(spec).await;
    let made = made.map_err(InstallError::engine(format!("create the config {name}")))?;
    created(progress, "config", &name);
    Ok(Stored { id: made.id, name })
}

async fn registries(
    docker: &Docker,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Option<Stored>, InstallError> {
    let known = accounts::known(options.docker_config.as_deref(), progress).await;
    if known.is_empty() {
        progress.event(Event::Note {
            text: "--registry-auth: no account at any registry is known here; `docker login` makes one known"
                .to_owned(),
        });
        return Ok(None);
    }
    let data = serde_json::to_vec(&known).unwrap_or_default();
    let name = format!("skep-registries-{}", short_digest(&data));
    let there = secrets(docker).await?;
    if let Some(found) = there
        .iter()
        .filter_map(of_secret)
        .find(|stored| stored.name == name)
    {
        return Ok(Some(found));
    }
    secret(docker, progress, &name, "registries", &data)
        .await
        .map(Some)
}

pub(crate) async fn secret(
    docker: &Docker,
    progress: &dyn Progress,
    name: &str,
    part: &str,
    data: &[u8],
) -> Result<Stored, InstallError> {
    let spec = SecretSpec {
        name: Some(name.to_owned()),
        labels: Some(labels(part)),
        data: Some(STANDARD.encode(data)),
        ..SecretSpec::default()
    };
    let made = docker.create_secret(spec).await;
    let made = made.map_err(InstallError::engine(format!("create the secret {name}")))?;
    created(progress, "secret", name);
    Ok(Stored {
        id: made.id,
        name: name.to_owned(),
    })
}

/// Every secret that `skep install` made.
pub(crate) async fn secrets(docker: &Docker) -> Result<Vec<Secret>, InstallError> {
    let options = ListSecretsOptionsBuilder::default()
        .filters(&labelled(PART))
        .build();
    docker
        .list_secrets(Some(options))
        .await
        .map_err(InstallError::engine("list the secrets"))
}

pub(crate) fn of_secret(secret: &Secret) -> Option<Stored> {
    Some(Stored {
        id: secret.id.clone()?,
        name: secret.spec.as_ref()?.name.clone()?,
    })
}

/// Every config that is this part; of all parts where it is empty.
pub(crate) async fn configs(docker: &Docker, part: &str) -> Result<Vec<Stored>, InstallError> {
    let label = if part.is_empty() {
        PART.to_owned()
    } else {
        format!("{PART}={part}")
    };
    let options = ListConfigsOptionsBuilder::default()
        .filters(&labelled(&label))
        .build();
    let found = docker.list_configs(Some(options)).await;
    let found = found.map_err(InstallError::engine("list the configs"))?;
    let stored = |config: bollard::models::Config| {
        Some(Stored {
            id: config.id?,
            name: config.spec?.name?,
        })
    };
    Ok(found.into_iter().filter_map(stored).collect())
}

fn labels(part: &str) -> HashMap<String, String> {
    HashMap::from([(PART.to_owned(), part.to_owned())])
}

pub(crate) fn created(progress: &dyn Progress, kind: &'static str, name: &str) {
    progress.event(Event::Created {
        kind,
        name: name.to_owned(),
    });
}

pub(crate) fn removed(progress: &dyn Progress, kind: &'static str, name: &str) {
    progress.event(Event::Removed {
        kind,
        name: name.to_owned(),
    });
}
