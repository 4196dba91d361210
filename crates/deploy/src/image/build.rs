//! Builds an image with the engine's own builder.

use super::context::{self, Context};
use crate::engine::{message, patient};
use crate::error::DeployError;
use crate::progress::{Event, Progress};
use crate::registry;
use bollard::query_parameters::{BuildImageOptions, TagImageOptions};
use bollard::{Docker, body_try_stream};
use futures::StreamExt;
use skep_compose::{Build, Service};
use std::collections::HashMap;
use std::path::Path;

/// Lines kept for the error message when a build fails.
const LAST_WORDS: usize = 12;

pub(super) async fn build(
    docker: &Docker,
    service: &Service,
    build: &Build,
    image: &str,
    accounts: Option<&Path>,
    progress: &dyn Progress,
) -> Result<(), DeployError> {
    progress.event(Event::Building {
        image: image.to_owned(),
    });
    let failed = |message: String| DeployError::Build {
        service: service.name.clone(),
        image: image.to_owned(),
        message,
    };
    let mut options = options(service, build, image);
    let local = Path::new(&build.context).is_absolute();
    let sent = if local {
        let build = build.clone();
        let prepared = tokio::task::spawn_blocking(move || Context::prepare(&build)).await;
        let context = match prepared {
            Ok(Ok(context)) => context,
            Ok(Err(error)) => return Err(error.into()),
            Err(stopped) => return Err(failed(stopped.to_string())),
        };
        options.dockerfile = context.dockerfile_name().to_owned();
        Some(context::send(context))
    } else {
        options.remote = Some(build.context.clone());
        options.dockerfile = build.dockerfile.clone().unwrap_or_default();
        None
    };
    let (body, sender) = match sent {
        Some((chunks, sender)) => (Some(body_try_stream(chunks)), Some(sender)),
        None => (None, None),
    };
    let docker = registry::for_build(patient(docker), accounts, progress).await;
    let outcome = {
        let mut steps = std::pin::pin!(docker.build_image(options, None, body));
        let mut last: Vec<String> = Vec::new();
        loop {
            let step = match steps.next().await {
                None => break Ok(()),
                Some(Err(error)) => break Err(told(&last, &message(&error))),
                Some(Ok(step)) => step,
            };
            if let Some(error) = step.error_detail.and_then(|detail| detail.message) {
                break Err(told(&last, &error));
            }
            let text = step.stream.or(step.status).unwrap_or_default();
            for line in text.lines().map(str::trim_end) {
                if line.is_empty() {
                    continue;
                }
                progress.event(Event::Step {
                    image: image.to_owned(),
                    text: line.to_owned(),
                });
                if last.len() == LAST_WORDS {
                    last.remove(0);
                }
                last.push(line.to_owned());
            }
        }
    };
    // A file that could not be read explains the engine's complaint better.
    if let Some(sender) = sender
        && let Ok(Err(error)) = sender.await
        && outcome.is_err()
        && !error.is_hang_up()
    {
        return Err(error.into());
    }
    outcome.map_err(failed)?;
    for tag in &build.tags {
        let (repository, tag) = split_tag(tag);
        let options = TagImageOptions {
            repo: Some(repository.to_owned()),
            tag: Some(tag.to_owned()),
        };
        docker
            .tag_image(image, Some(options))
            .await
            .map_err(DeployError::engine(format!("tag {image}")))?;
    }
    progress.event(Event::Built {
        image: image.to_owned(),
    });
    Ok(())
}

fn told(last: &[String], error: &str) -> String {
    if last.is_empty() {
        return error.to_owned();
    }
    format!("{error}\n  {}", last.join("\n  "))
}

fn options(service: &Service, build: &Build, image: &str) -> BuildImageOptions {
    // An argument without a value is the Dockerfile's own default.
    let arguments: HashMap<String, String> = build
        .args
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
        .collect();
    BuildImageOptions {
        t: Some(image.to_owned()),
        extrahosts: (!build.extra_hosts.is_empty()).then(|| build.extra_hosts.join(",")),
        nocache: build.no_cache,
        cachefrom: (!build.cache_from.is_empty()).then(|| build.cache_from.clone()),
        pull: build.pull.then(|| String::from("1")),
        rm: true,
        forcerm: true,
        buildargs: (!arguments.is_empty()).then_some(arguments),
        shmsize: build.shm_size.and_then(|size| i32::try_from(size).ok()),
        labels: crate::resources::some(&build.labels),
        networkmode: build.network.clone(),
        platform: build
            .platform
            .clone()
            .or_else(|| service.platform.clone())
            .unwrap_or_default(),
        target: build.target.clone().unwrap_or_default(),
        ..BuildImageOptions::default()
    }
}

fn split_tag(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, "latest"),
    }
}
