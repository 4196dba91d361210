//! Making one instance, from the request to the started process.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_engine::{Launch, LaunchError, LaunchErrorKind, Launched, Stdio};
use skep_model::{Handler, PortChoice};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::DropGuard;

use crate::body::Definition;
use crate::error::CallError;
use crate::inside::Inside;
use crate::instance::DockerInstance;
use crate::networks::NetworkMode;
use crate::place::{ForeignHost, Place};
use crate::ports::HeldPort;
use crate::reach::Reach;
use crate::removal;
use crate::shared::Shared;
use crate::way::Way;
use crate::{exit, streams};

/// The port for instances that have their network to themselves and ask for none.
const DEFAULT_PORT: u16 = 8080;
/// How long a failed launch waits for its container's removal before it says so.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(2);

/// Launches and answers. Where it fails, or nobody waits any more, everything that was made is removed.
pub(crate) async fn run(
    shared: Arc<Shared>,
    launch: Launch,
    answer: oneshot::Sender<Result<Launched, LaunchError>>,
) {
    let id = launch.instance;
    shared.live().insert(id);
    let mut container = None;
    let result = make(&shared, launch, &mut container, || answer.is_closed()).await;
    let failed = match result {
        Ok(launched) => match answer.send(Ok(launched)) {
            Ok(()) => return,
            Err(_) => None,
        },
        Err(error) => Some((answer, error)),
    };
    let unanswered = failed
        .as_ref()
        .is_some_and(|(_, error)| error.kind == LaunchErrorKind::EngineUnavailable);
    let Some(name) = container else {
        shared.live().remove(&id);
        if let Some((answer, error)) = failed {
            drop(answer.send(Err(error)));
        }
        return;
    };
    let mut removal = pin!(removal::remove(shared.clone(), id, name));
    // Answered after the removal, so that whoever hears of the failure finds nothing left behind; but an engine that
    // doesn't answer can't remove either, and the caller is to hear of it early.
    let removed = tokio::time::timeout(REMOVAL_PATIENCE, removal.as_mut())
        .await
        .is_ok();
    if let Some((answer, error)) = failed {
        drop(answer.send(Err(error)));
    }
    if !removed {
        removal.await;
    }
    if unanswered {
        shared.doubt.notify_one();
    }
}

fn abandoned() -> LaunchError {
    LaunchError {
        kind: LaunchErrorKind::StartFailed,
        message: "the launch was given up".to_owned(),
    }
}

/// `given_up` is asked between the engine's calls, never during one: a call that was begun goes on in the engine, and
/// would make what nobody then looks for.
async fn make(
    shared: &Arc<Shared>,
    launch: Launch,
    container: &mut Option<String>,
    given_up: impl Fn() -> bool,
) -> Result<Launched, LaunchError> {
    let begin = Instant::now();
    let unreadable = |error: crate::body::Unreadable| LaunchError {
        kind: LaunchErrorKind::StartFailed,
        message: error.to_string(),
    };
    let definition = Definition::read(&launch.function).map_err(unreadable)?;
    let (mode, grace, tty) = (definition.mode.clone(), definition.grace(), definition.tty());
    let networks: Vec<String> = definition
        .attachments
        .iter()
        .map(|attached| attached.network.clone())
        .collect();
    let is_http = launch.function.settings.handler == Handler::Http;
    let host = ForeignHost::of(shared, &mode)
        .await
        .map_err(|error| error.while_launching("looking at its network"))?;
    if is_http && let Reach::Networks { own } = &shared.reach {
        let joined = shared.own_networks.join(shared, own, &networks).await;
        joined.map_err(|error| error.while_launching("joining the function's network"))?;
    }

    let held = held_port(shared, &launch, &host).await?;
    let port = held
        .as_ref()
        .map_or_else(|| port(&launch, &definition), HeldPort::number);
    let mut environment = launch.environment.clone();
    environment.push(("SKEP_FUNCTION".to_owned(), launch.function.name.to_string()));
    let url = call_url(shared, &mode, &networks, &host).await;
    let inside = (url.is_none() && shared.reach.can_enter() && !mode.is_foreign())
        .then(|| Inside::new(launch.instance, port));
    let beside = match (&url, &mode, &host.namespace) {
        (None, NetworkMode::Container(_), Some(namespace)) => {
            let open = Inside::beside(shared, namespace, launch.instance, port).await;
            let failed =
                |error: &_| tracing::warn!(%error, "no SKEP_URL in the network of another container");
            open.inspect_err(failed).ok()
        }
        _ => None,
    };
    let (beside, open_beside) = beside.unzip();
    let known = inside.or(beside);
    if let Some(url) = url.or_else(|| known.as_ref().map(Inside::url)) {
        environment.push(("SKEP_URL".to_owned(), url));
    }
    let host_is_set = definition
        .environment()
        .any(|variable| variable.starts_with("DOCKER_HOST="));
    if launch.socket.is_some() && !host_is_set {
        environment.push((
            "DOCKER_HOST".to_owned(),
            format!("unix://{}", crate::body::SOCKET),
        ));
    }
    if is_http {
        environment.push(("PORT".to_owned(), port.to_string()));
    }

    if given_up() {
        return Err(abandoned());
    }
    let api = &shared.api;
    let created = definition.body(&launch, &shared.owner, &environment, api.many_networks);
    let name = container_name(&launch);
    *container = Some(name.clone());
    let id = api
        .create(&name, &created.body)
        .await
        .map_err(|error| error.while_launching("creating the container"))?;
    for attachment in created.later {
        let endpoint = serde_json::from_value(attachment.endpoint).ok();
        let connected = api.connect_network(&attachment.network, &id, endpoint).await;
        connected.map_err(|error| error.while_launching("attaching the container to its network"))?;
    }
    if let Some(copied) = &launch.function.template.copied {
        api.put(&id, copied)
            .await
            .map_err(|error| error.while_launching("putting in what was copied into the template"))?;
    }
    // Attached before it starts, so that not a byte is lost however fast it ends.
    let stdin = launch.stdio == Stdio::Pipe;
    let attached = api
        .attach(&id, stdin)
        .await
        .map_err(|error| error.while_launching("attaching to its streams"))?;
    if given_up() {
        return Err(abandoned());
    }
    let listening = start(shared, &id, inside.as_ref())
        .await
        .map_err(|error| error.while_launching("starting the container"))?;
    let (pipes, output) = match launch.stdio {
        Stdio::Pipe => {
            let (pipes, output) = streams::pipes(attached, &shared.tasks);
            (Some(pipes), output)
        }
        Stdio::Log => (None, streams::log(attached, tty, &shared.tasks)),
    };

    let (ended, exit) = watch::channel(None);
    let (watched, of) = (api.clone(), id.clone());
    shared
        .tasks
        .spawn(async move { ended.send_replace(Some(exit::wait(&watched, &of).await)) });

    let inspect = api
        .inspect(&id)
        .await
        .map_err(|error| error.while_launching("looking at the started container"))?;
    let mut place = Place::of(shared, &inspect, &id, &mode, &networks, &host);
    let listening = match (&inside, listening, &place.way) {
        (Some(inside), None, Way::Namespace { namespace, .. }) => {
            let open = inside.open(shared, namespace).await;
            let failed = |error: &_| tracing::warn!(container = id, %error, "no SKEP_URL in this instance");
            open.inspect_err(failed).ok()
        }
        (_, listening, _) => listening,
    };
    place.addresses.extend(known.as_ref().map(Inside::known_as));
    let instance = DockerInstance {
        shared: shared.clone(),
        id: launch.instance,
        container: id,
        port,
        grace,
        addresses: place.addresses,
        way: place.way,
        process: place.process,
        exit,
        _listening: listening.or(open_beside),
        _held: held,
    };
    Ok(Launched {
        instance: Arc::new(instance),
        pipes,
        output,
        sandbox: None,
        start: begin.elapsed(),
    })
}

/// Starts the container; where it is to call through a listener inside, that is opened meanwhile if it can be.
async fn start(
    shared: &Arc<Shared>,
    id: &str,
    inside: Option<&Inside>,
) -> Result<Option<DropGuard>, CallError> {
    let mut starting = pin!(shared.api.start(id));
    let Some(inside) = inside else {
        return starting.await.map(|()| None);
    };
    tokio::select! {
        started = &mut starting => started.map(|()| None),
        open = inside.open_early(shared, id) => starting.await.map(|()| Some(open)),
    }
}

/// `skep-NAMESPACE-FUNCTION-` and the random end of the instance's id, which no other instance has.
fn container_name(launch: &Launch) -> String {
    let id = launch.instance.to_string();
    let short = &id[id.len() - 12..];
    format!(
        "skep-{}-{}-{short}",
        launch.function.namespace, launch.function.name
    )
}

/// Where others may listen too and none is fixed, a port that is nobody else's.
async fn held_port(
    shared: &Shared,
    launch: &Launch,
    host: &ForeignHost,
) -> Result<Option<HeldPort>, LaunchError> {
    let (PortChoice::Assigned, Some(namespace)) = (launch.function.settings.port, &host.namespace) else {
        return Ok(None);
    };
    let port = shared.ports.take(namespace).await;
    port.map(Some).map_err(|error| LaunchError {
        kind: LaunchErrorKind::StartFailed,
        message: format!("finding a free port in the shared network namespace: {error}"),
    })
}

/// The fixed port; or the template's own `PORT`.
fn port(launch: &Launch, definition: &Definition) -> u16 {
    if let PortChoice::Fixed(port) = launch.function.settings.port {
        return port;
    }
    let own = definition
        .environment()
        .filter_map(|variable| variable.strip_prefix("PORT="))
        .last();
    own.and_then(|text| text.parse().ok())
        .filter(|port| *port > 0)
        .unwrap_or(DEFAULT_PORT)
}

async fn call_url(
    shared: &Shared,
    mode: &NetworkMode,
    networks: &[String],
    host: &ForeignHost,
) -> Option<String> {
    match mode {
        NetworkMode::None => None,
        NetworkMode::Host => shared.calls.host_url(shared).await,
        NetworkMode::Container(_) => shared.calls.url(shared, host.network.as_ref()?).await,
        NetworkMode::Default | NetworkMode::Named(_) => {
            for network in networks {
                if let Some(url) = shared.calls.url(shared, network).await {
                    return Some(url);
                }
            }
            None
        }
    }
}
