//! `skep install` and `skep uninstall`: Skep onto a Swarm, and off it.

use std::path::Path;

use skep_deploy::progress;
use skep_install::{InstallError, Options, Publish, Queue, UninstallOptions};

use crate::cli;
use crate::environment;
use crate::exit::{Exit, Failed, Outcome};
use crate::printer::Printer;

/// Only the owner may read keys.
const PRIVATE: u32 = 0o600;

pub(crate) async fn run(printer: &Printer, options: cli::Install) -> Outcome {
    let wanted = Options {
        image: options.image,
        registry_auth: options.registry_auth,
        docker_config: environment::docker_config(),
        namespace: options.namespace.to_string(),
        port: options.port,
        publish: match options.publish {
            cli::Publish::Host => Publish::Host,
            cli::Publish::Ingress => Publish::Ingress,
        },
        gateways: options.gateways,
        constraints: options.constraints,
        queue: match options.queue {
            _ if !options.nats.is_empty() => Queue::Elsewhere {
                servers: options.nats,
                replicas: options.nats_replicas.into(),
            },
            cli::QueueKind::Nats => Queue::Nats {
                image: options.nats_image,
            },
            cli::QueueKind::Sqlite => Queue::Own,
        },
        environment: options.environment,
        data: path(&options.node_data)?,
        drain: options.drain_timeout,
        patience: options.wait,
    };
    if let Some(folder) = &options.write_stack {
        return write_stack(printer, &wanted, folder);
    }
    let docker = connect(options.docker.host.as_deref()).await?;
    let progress = progress::for_standard_error();
    let installed = skep_install::install(&docker, &wanted, progress.as_ref()).await;
    drop(progress);
    let installed = installed.map_err(|error| failed(&error))?;
    printer.note(&format!(
        "Skep {} on {} nodes: {}",
        if installed.changed.is_empty() {
            "was as it should be"
        } else {
            "runs"
        },
        installed.agents.len(),
        installed.agents.join(", "),
    ));
    for address in &installed.gateways {
        printer.line(&format!("http://{}", with_port(address, wanted.port)))?;
    }
    Ok(Exit::Success)
}

pub(crate) async fn leave(printer: &Printer, options: cli::Uninstall) -> Outcome {
    let docker = connect(options.docker.host.as_deref()).await?;
    let wanted = UninstallOptions {
        data: options.data,
        data_dir: path(&options.node_data)?,
        patience: options.wait,
    };
    let progress = progress::for_standard_error();
    let gone = skep_install::uninstall(&docker, &wanted, progress.as_ref()).await;
    drop(progress);
    let found = gone.map_err(|error| failed(&error))?;
    printer.note(if found {
        "Skep is off the Swarm."
    } else {
        "Skep was not on this Swarm."
    });
    Ok(Exit::Success)
}

fn write_stack(printer: &Printer, options: &Options, folder: &Path) -> Outcome {
    let stack = skep_install::stack(options).map_err(|error| failed(&error))?;
    let unwritten = |path: &Path, error: std::io::Error| {
        Failed::new(
            Exit::Failure,
            format!("{} can't be written: {error}", path.display()),
        )
    };
    std::fs::create_dir_all(folder).map_err(|error| unwritten(folder, error))?;
    for (name, bytes) in &stack.files {
        let path = folder.join(name);
        write_private(&path, bytes).map_err(|error| unwritten(&path, error))?;
    }
    let file = folder.join(&stack.file);
    if !matches!(options.queue, Queue::Elsewhere { .. }) {
        printer.note(
            "Accepted work is kept by the gateway that took it: a stack file can't know the nodes of a queue. \
             skep install puts one there; --nats names your own.",
        );
    }
    printer.note("The keys are in this folder, too: remove it when the stack is deployed.");
    printer.line(&format!("docker stack deploy -c {} skep", file.display()))?;
    Ok(Exit::Success)
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(PRIVATE);
    options.open(path)?.write_all(bytes)
}

async fn connect(docker_host: Option<&str>) -> Result<bollard::Docker, Failed> {
    skep_docker::connect_client(docker_host)
        .await
        .map_err(|error| Failed::from_error(Exit::Unreachable, &error))
}

fn path(path: &Path) -> Result<String, Failed> {
    let text = path
        .to_str()
        .filter(|_| path.is_absolute() && path.parent().is_some());
    text.map(str::to_owned).ok_or_else(|| {
        Failed::new(
            Exit::Usage,
            format!(
                "--node-data {}: must be an absolute path below the root",
                path.display()
            ),
        )
    })
}

/// What to do stands apart from what is wrong.
fn failed(error: &InstallError) -> Failed {
    let failed = Failed::from_error(Exit::Failure, error);
    match failed.message.clone().split_once("; ") {
        Some((what, hint)) if matches!(error, InstallError::NoSwarm | InstallError::NoGateway { .. }) => {
            Failed {
                message: what.to_owned(),
                ..failed
            }
            .hint(hint)
        }
        _ => failed,
    }
}

fn with_port(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}
