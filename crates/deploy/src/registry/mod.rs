//! Credentials of registries, from where the docker command keeps them: so
//! whoever has logged in with `docker login` can deploy.
//!
//! The engine gets them with the request that needs them and nowhere else;
//! nothing of them is shown, stored or cached here. What cannot be had is told
//! and the engine asked without it, as the docker command does: the image may
//! be a public one.

mod config;
mod helper;

use crate::progress::{Event, Progress};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bollard::Docker;
use config::Config;
use hyper::header::HeaderValue;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The registry of an image that names none.
const HUB: &str = "docker.io";
/// What `docker login` without a registry calls it.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What the engine is told of an account (its `AuthConfig`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Account {
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    password: String,
    /// Instead of a password.
    #[serde(skip_serializing_if = "String::is_empty")]
    identitytoken: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    registrytoken: String,
    serveraddress: String,
}

/// Why credentials cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("{path}: {reason}", path = .path.display())]
    Config { path: PathBuf, reason: String },
    #[error("docker-credential-{helper}: {reason}")]
    Helper { helper: String, reason: String },
}

/// The engine, with the account for one image's registry.
pub(crate) async fn for_pull(
    docker: Docker,
    folder: Option<&Path>,
    image: &str,
    progress: &dyn Progress,
) -> Docker {
    let registry = host_of(image);
    let Some(config) = read(folder, progress).await else {
        return docker;
    };
    let account = account(&config, key_of(registry), progress).await;
    with_header(docker, "x-registry-auth", account.as_ref())
}

/// The engine, with all accounts: which of them a Dockerfile needs, only the
/// builder knows.
pub(crate) async fn for_build(docker: Docker, folder: Option<&Path>, progress: &dyn Progress) -> Docker {
    let Some(config) = read(folder, progress).await else {
        return docker;
    };
    let mut accounts = BTreeMap::new();
    for key in config.registries() {
        if let Some(account) = account(&config, key, progress).await {
            accounts.insert(key.to_owned(), account);
        }
    }
    let accounts = (!accounts.is_empty()).then_some(accounts);
    with_header(docker, "x-registry-config", accounts.as_ref())
}

/// Every account that is known, as JSON: from the host of a registry (`docker.io` for Docker Hub) to the engine's
/// `AuthConfig`. It is secret.
pub(crate) async fn known(
    folder: Option<&Path>,
    progress: &dyn Progress,
) -> BTreeMap<String, serde_json::Value> {
    let Some(config) = read(folder, progress).await else {
        return BTreeMap::new();
    };
    let mut accounts = BTreeMap::new();
    for key in config.registries() {
        let found = account(&config, key, progress).await;
        if let Some(value) = found.and_then(|account| serde_json::to_value(account).ok()) {
            let host = if key == HUB_KEY { HUB } else { key };
            accounts.insert(host.to_owned(), value);
        }
    }
    accounts
}

/// bollard would encode them in the base64 of e-mail, of which the engine
/// understands only what it has in common with that of URLs.
fn with_header(docker: Docker, name: &'static str, accounts: Option<&impl Serialize>) -> Docker {
    let json = accounts.and_then(|accounts| serde_json::to_vec(accounts).ok());
    let value = json.and_then(|json| HeaderValue::try_from(URL_SAFE.encode(json)).ok());
    let Some(mut value) = value else {
        return docker;
    };
    value.set_sensitive(true);
    docker.with_request_modifier(move |mut request| {
        request.headers_mut().insert(name, value.clone());
        request
    })
}

async fn read(folder: Option<&Path>, progress: &dyn Progress) -> Option<Config> {
    match Config::read(&folder?.join("config.json")).await {
        Ok(config) => config,
        Err(error) => {
            note(progress, &error);
            None
        }
    }
}

async fn account(config: &Config, key: &str, progress: &dyn Progress) -> Option<Account> {
    if let Some(name) = config.helper_of(key) {
        match helper::get(name, key).await {
            Ok(None) => {}
            Ok(found) => return found,
            Err(error) => note(progress, &error),
        }
    }
    match config.account(key) {
        Ok(account) => account,
        Err(error) => {
            note(progress, &error);
            None
        }
    }
}

fn note(progress: &dyn Progress, error: &RegistryError) {
    progress.event(Event::Note {
        text: format!("going on without registry credentials: {error}"),
    });
}

/// The registry that an image is named after.
pub(crate) fn host_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => HUB,
    }
}

fn key_of(registry: &str) -> &str {
    match registry {
        HUB | "index.docker.io" | "registry-1.docker.io" => HUB_KEY,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_after_its_registry() {
        let cases = [
            ("debian", HUB),
            ("library/debian:12", HUB),
            ("someone/app", HUB),
            ("localhost/app", "localhost"),
            ("localhost:5000/app:1", "localhost:5000"),
            ("ghcr.io/someone/app@sha256:00", "ghcr.io"),
            ("registry:5000/app", "registry:5000"),
        ];
        for (image, host) in cases {
            assert_eq!(host_of(image), host, "{image}");
        }
        assert_eq!(key_of(host_of("docker.io/library/debian")), HUB_KEY);
    }
}
