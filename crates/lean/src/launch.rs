//! Making one instance: a place in a sandbox, the streams, and what only this launch has.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_docker::{FirstProcess, HeldPort, Way};
use skep_engine::{Exit, Launch, LaunchError, LaunchErrorKind, Launched, Stdio};
use skep_model::{Function, Handler, PortChoice};
use skep_sys::NetworkNamespace;
use tokio::sync::watch;

use crate::calls::Calls;
use crate::engine::Shared;
use crate::held::Place;
use crate::instance::{KILL, LeanInstance};
use crate::plan::Sharing;
use crate::pool::PlaceError;
use crate::{files, sandbox, stock, streams};

/// Where clients look for Docker.
pub(crate) const SOCKET: &str = "/var/run/docker.sock";
/// The port for instances that have their network to themselves and ask for none.
const DEFAULT_PORT: u16 = 8080;
/// How long one runs before what was taken from the stock is made up for: most are over by then.
const SOON: Duration = Duration::from_millis(20);

/// Makes it, and counts.
pub(crate) async fn run(shared: Arc<Shared>, launch: Launch) -> Result<Launched, LaunchError> {
    let before = shared.kept_cgroups().await;
    let mut launched = make(&shared, &launch).await;
    if launched.is_err() {
        match shared.mended_since(before).await {
            Ok(true) => launched = make(&shared, &launch).await,
            Ok(false) => {}
            Err(error) => launched = Err(error),
        }
    }
    match &launched {
        Ok(launched) => shared.metrics.launched(launched.start),
        Err(_) => shared.metrics.launch_failed(),
    }
    launched
}

fn machine(what: &str, error: impl std::fmt::Display) -> LaunchError {
    LaunchError {
        kind: LaunchErrorKind::EngineUnavailable,
        message: format!("{what}: {error}"),
    }
}

async fn place(shared: &Arc<Shared>, launch: &Launch) -> Result<Place, LaunchError> {
    let place = shared.pool.place(shared, &launch.function, launch.instance).await;
    place.map_err(|error| LaunchError {
        kind: match &error {
            PlaceError::Unsupported(_) => LaunchErrorKind::StartFailed,
            PlaceError::Sandbox(error) => error.kind(),
            PlaceError::Spawner(_) | PlaceError::Broken => LaunchErrorKind::EngineUnavailable,
        },
        message: error.to_string(),
    })
}

async fn make(shared: &Arc<Shared>, launch: &Launch) -> Result<Launched, LaunchError> {
    let place = place(shared, launch).await?;
    let begin = Instant::now();
    let stocked = match &place.held.stock {
        // A socket would have to be there already.
        Some(stock) if launch.socket.is_none() => stock.take(shared, place.held.at_work()).await,
        _ => None,
    };
    let plan = &place.entry.plan;
    let network = place.held.sandbox.network.as_ref();
    let name = launch.instance.to_string();
    let hostname = plan
        .hostname
        .clone()
        .unwrap_or_else(|| name[name.len() - 12..].to_owned());
    let held = held_port(launch, &place).await?;
    let port = held
        .as_ref()
        .map_or_else(|| port(&launch.function), HeldPort::number);
    let calls = Calls::of(shared, &place, launch.instance, port).await;
    let descriptor = network.map(sandbox::SandboxNetwork::descriptor).transpose();
    let descriptor = descriptor.map_err(|error| machine("opening the network namespace", error))?;
    let (streams, ours) = streams::make(launch.stdio, plan.open_stdin, descriptor, &shared.tasks)
        .map_err(|error| machine("making the standard streams", error))?;
    let request = skep_spawner::Launch {
        spec: place.held.spec,
        name: name.clone(),
        environment: environment(launch, &place, &hostname, port, &calls),
        files: files::contents(
            network,
            shared.resolv_conf(),
            &hostname,
            &files::names(&hostname, &plan.process.domain),
            &plan.extra_hosts,
        ),
        binds: launch
            .socket
            .iter()
            .map(|socket| (socket.display().to_string(), SOCKET.to_owned()))
            .collect(),
        hostname,
        listener: calls.listener(),
    };
    let (spawned, name) = stock::spawn(shared, request, streams, stocked).await;
    let child = spawned.map_err(|failure| LaunchError {
        kind: if failure.template {
            LaunchErrorKind::StartFailed
        } else {
            LaunchErrorKind::EngineUnavailable
        },
        message: failure.to_string(),
    })?;
    let start = begin.elapsed();
    let (ended, exit) = watch::channel(None);
    let exited = unless_lost(&place, &child.descriptor, child.exited)?;
    let listening = calls.serve(shared, child.listener);
    let (of, sandbox) = (shared.clone(), place.held.clone());
    shared.tasks.spawn(async move {
        // It would keep the network of an instance that is gone.
        let _listening = listening;
        let mut exited = std::pin::pin!(exited);
        // What is prepared for the next takes nothing from one that is soon over.
        let early = tokio::time::timeout(SOON, &mut exited).await;
        let exit = match early {
            Ok(exit) => exit,
            Err(_) => {
                stock::fill(&of, &sandbox);
                exited.await
            }
        };
        let exit = exit.map(|exited| Exit {
            code: exited.code.into(),
            out_of_memory: exited.out_of_memory,
        });
        // The sender closed means that the spawner has ended, and its children with it.
        ended.send_replace(Some(exit.unwrap_or(Exit {
            code: 137,
            out_of_memory: false,
        })));
        stock::fill(&of, &sandbox);
    });
    let cgroups = shared.cgroups();
    let cgroups = cgroups.map_err(|error| machine("looking for the cgroups", error))?;
    let freezer = cgroups.freezer(&plan.limits, &name);
    let is_http = launch.function.settings.handler == Handler::Http;
    let (way, process) = way(&place, child.process, &name, is_http);
    let instance = LeanInstance {
        id: launch.instance,
        port,
        addresses: network
            .iter()
            .flat_map(|network| network.addresses.iter().copied())
            .chain(calls.known_as())
            .collect(),
        way,
        process,
        process_id: child.process,
        descriptor: child.descriptor,
        stop: (plan.stop_signal, plan.stop_grace),
        freezer,
        exit,
        _input: ours.input,
        _held: held,
        place,
    };
    let sandbox = instance.place.made;
    Ok(Launched {
        instance: Arc::new(instance),
        pipes: ours.pipes,
        output: ours.output,
        sandbox,
        start,
    })
}

/// The end of an instance, which is made to end with its sandbox: without its network whoever talks with it would wait
/// for nothing.
fn unless_lost<E: Future>(
    place: &Place,
    process: &OwnedFd,
    exited: E,
) -> Result<impl Future<Output = E::Output> + use<E>, LaunchError> {
    let network = place.held.sandbox.network.as_ref();
    let lost = network.map(|network| network.life.end());
    let process = process
        .try_clone()
        .map_err(|error| machine("holding the instance's process", error))?;
    Ok(async move {
        let mut exited = std::pin::pin!(exited);
        let Some(lost) = lost else {
            return exited.await;
        };
        tokio::select! {
            biased;
            exit = &mut exited => return exit,
            () = lost.cancelled() => {}
        }
        tracing::debug!("a sandbox has ended, and its instances are ended with it");
        // One that has just ended needs no signal.
        let _ended = skep_sys::send_signal(process.as_fd(), KILL);
        exited.await
    })
}

/// What goes over the template's own variables.
fn environment(launch: &Launch, place: &Place, hostname: &str, port: u16, calls: &Calls) -> Vec<String> {
    let mut environment = Vec::new();
    let own = &place.entry.plan.process.environment;
    if !own.iter().any(|variable| variable.starts_with("HOSTNAME=")) {
        environment.push(format!("HOSTNAME={hostname}"));
    }
    environment.extend(
        launch
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    environment.push(format!("SKEP_FUNCTION={}", launch.function.name));
    if launch.socket.is_some() && !own.iter().any(|variable| variable.starts_with("DOCKER_HOST=")) {
        environment.push(format!("DOCKER_HOST=unix://{SOCKET}"));
    }
    environment.extend(calls.url().map(|url| format!("SKEP_URL={url}")));
    if launch.function.settings.handler == Handler::Http {
        environment.push(format!("PORT={port}"));
    }
    environment
}

/// Where others may listen too and none is fixed, a port that is nobody else's.
async fn held_port(launch: &Launch, place: &Place) -> Result<Option<HeldPort>, LaunchError> {
    let assigned = matches!(launch.function.settings.port, PortChoice::Assigned);
    let together = place.entry.plan.sharing == Sharing::Together && launch.stdio == Stdio::Log;
    match &place.held.sandbox.network {
        Some(network) if assigned && together => {
            let port = network.ports.take(&network.namespace).await;
            port.map(Some)
                .map_err(|error| machine("finding a free port in the sandbox", error))
        }
        _ => Ok(None),
    }
}

/// The fixed port; else the template's own `PORT`.
pub(crate) fn port(function: &Function) -> u16 {
    if let PortChoice::Fixed(port) = function.settings.port {
        return port;
    }
    let own = function
        .template
        .port_variable
        .as_deref()
        .and_then(|text| text.parse().ok());
    own.filter(|port| *port > 0).unwrap_or(DEFAULT_PORT)
}

/// The way to an `http` instance; another needs none, and may have ended before it could be looked at.
fn way(place: &Place, process_id: u32, name: &str, is_http: bool) -> (Way, Option<FirstProcess>) {
    if !is_http {
        return (
            Way::Closed("the instance serves no requests over a port".to_owned()),
            None,
        );
    }
    let process = FirstProcess::of(process_id, name);
    let way = match &place.held.sandbox.network {
        Some(network) => Way::Namespace {
            namespace: network.namespace.clone(),
            address: network
                .addresses
                .first()
                .copied()
                .unwrap_or(std::net::Ipv4Addr::LOCALHOST.into()),
            // Alone in it, whatever answers is the instance.
            foreign: place.entry.plan.sharing == Sharing::Together,
        },
        None => match process
            .as_ref()
            .and_then(FirstProcess::id)
            .map(NetworkNamespace::of_process)
        {
            Some(Ok(namespace)) => Way::Namespace {
                namespace,
                address: std::net::Ipv4Addr::LOCALHOST.into(),
                foreign: false,
            },
            _ => Way::Closed("the instance has ended".to_owned()),
        },
    };
    (way, process)
}
