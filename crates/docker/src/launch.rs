//! Making one instance, from the request to the started process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bollard::models::ContainerInspectResponse;
use skep_engine::{Launch, LaunchError, LaunchErrorKind, Launched, Stdio};
use skep_model::{Handler, PortChoice};
use skep_sys::NetworkNamespace;
use tokio::sync::{oneshot, watch};

use crate::body::Definition;
use crate::error::CallError;
use crate::instance::DockerInstance;
use crate::networks::NetworkMode;
use crate::reach::Reach;
use crate::removal;
use crate::shared::Shared;
use crate::way::{FirstProcess, Way};
use crate::{addresses, exit, streams};

/// The port for instances that have their network to themselves and ask for none.
const DEFAULT_PORT: u16 = 8080;

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
    let error = match result {
        Ok(launched) => match answer.send(Ok(launched)) {
            Ok(()) => return,
            Err(_) => None,
        },
        Err(error) => Some((answer, error)),
    };
    match container {
        Some(name) => removal::remove(shared, id, name).await,
        None => drop(shared.live().remove(&id)),
    }
    // Only now, so that whoever hears of the failure finds nothing left behind.
    if let Some((answer, error)) = error {
        drop(answer.send(Err(error)));
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
    let host = host_of(shared, &mode)
        .await
        .map_err(|error| error.while_launching("looking at its network"))?;
    if is_http && let Reach::Networks { own } = &shared.reach {
        let joined = shared.own_networks.join(shared, own, &networks).await;
        joined.map_err(|error| error.while_launching("joining the function's network"))?;
    }

    let port = port(&launch, &definition, &host).await?;
    let mut environment = launch.environment.clone();
    environment.push(("SKEP_FUNCTION".to_owned(), launch.function.name.to_string()));
    if let Some(url) = call_url(shared, &mode, &networks, &host).await {
        environment.push(("SKEP_URL".to_owned(), url));
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
    // Attached before it starts, so that not a byte is lost however fast it ends.
    let stdin = launch.stdio == Stdio::Pipe;
    let attached = api
        .attach(&id, stdin)
        .await
        .map_err(|error| error.while_launching("attaching to its streams"))?;
    if given_up() {
        return Err(abandoned());
    }
    api.start(&id)
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
    let place = Place::of(shared, &inspect, &id, &mode, &networks, &host);
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
    };
    Ok(Launched {
        instance: Arc::new(instance),
        pipes,
        output,
        sandbox: None,
        start: begin.elapsed(),
    })
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

/// What is known of a network namespace that isn't the instance's own, before the instance is in it.
#[derive(Debug, Default)]
struct ForeignHost {
    namespace: Option<NetworkNamespace>,
    addresses: Vec<IpAddr>,
    network: Option<String>,
}

async fn host_of(shared: &Shared, mode: &NetworkMode) -> Result<ForeignHost, CallError> {
    match mode {
        NetworkMode::Host => {
            let namespace = match &shared.reach {
                Reach::Namespaces { host } => Some(host.clone()),
                Reach::Networks { .. } | Reach::Nowhere { .. } => None,
            };
            Ok(ForeignHost {
                namespace,
                ..ForeignHost::default()
            })
        }
        NetworkMode::Container(target) => {
            let inspect = shared.api.inspect(target).await?;
            let process = process_id(&inspect).filter(|_| shared.reach.can_enter());
            let namespace = process.map(NetworkNamespace::of_process).transpose()?;
            let (networks, addresses): (Vec<_>, Vec<_>) = addresses::of(&inspect).into_iter().unzip();
            Ok(ForeignHost {
                namespace,
                addresses,
                network: networks.into_iter().next(),
            })
        }
        _ => Ok(ForeignHost::default()),
    }
}

fn process_id(inspect: &ContainerInspectResponse) -> Option<u32> {
    let process = inspect.state.as_ref()?.pid?;
    u32::try_from(process).ok().filter(|process| *process > 0)
}

/// The fixed port; or the template's own `PORT`; or, where others may listen too, one that is free.
async fn port(launch: &Launch, definition: &Definition, host: &ForeignHost) -> Result<u16, LaunchError> {
    if let PortChoice::Fixed(port) = launch.function.settings.port {
        return Ok(port);
    }
    if let Some(namespace) = &host.namespace {
        let free = namespace
            .listen((Ipv4Addr::UNSPECIFIED, 0).into())
            .await
            .and_then(|listener| listener.local_addr());
        return free
            .map(|address: SocketAddr| address.port())
            .map_err(|error| LaunchError {
                kind: LaunchErrorKind::StartFailed,
                message: format!("finding a free port in the shared network namespace: {error}"),
            });
    }
    let own = definition
        .environment()
        .filter_map(|variable| variable.strip_prefix("PORT="))
        .last();
    Ok(own
        .and_then(|text| text.parse().ok())
        .filter(|port| *port > 0)
        .unwrap_or(DEFAULT_PORT))
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

/// Where a started instance is.
struct Place {
    addresses: Vec<IpAddr>,
    way: Way,
    process: Option<FirstProcess>,
}

impl Place {
    fn of(
        shared: &Shared,
        inspect: &ContainerInspectResponse,
        id: &str,
        mode: &NetworkMode,
        networks: &[String],
        host: &ForeignHost,
    ) -> Self {
        let mut own = addresses::of(inspect);
        // In the order of the template's attachments: the first is the one that it starts with.
        own.sort_by_key(|(network, _)| networks.iter().position(|name| name == network));
        let mut addresses: Vec<IpAddr> = own.into_iter().map(|(_, address)| address).collect();
        addresses.extend(&host.addresses);
        let first = addresses.first().copied();
        if *mode == NetworkMode::Host {
            addresses.push(Ipv4Addr::LOCALHOST.into());
        }
        let process = process_id(inspect)
            .filter(|_| shared.reach.can_enter())
            .and_then(|process| FirstProcess::of(process, id));
        let way = match &shared.reach {
            Reach::Namespaces { .. } => match process.as_ref().and_then(open_namespace) {
                Some(namespace) => Way::Namespace {
                    namespace,
                    address: first.unwrap_or(Ipv4Addr::LOCALHOST.into()),
                    foreign: mode.is_foreign(),
                },
                None => Way::Closed("the instance has ended".to_owned()),
            },
            Reach::Networks { .. } => match first {
                Some(address) => Way::Network(address),
                None => Way::Closed("the instance has no address on a network".to_owned()),
            },
            Reach::Nowhere { reason } => Way::Closed(reason.clone()),
        };
        Self {
            addresses,
            way,
            process,
        }
    }
}

/// Opens the network namespace of a container's first process, and makes sure that it still is that process.
fn open_namespace(process: &FirstProcess) -> Option<NetworkNamespace> {
    let namespace = NetworkNamespace::of_process(process.id()?).ok()?;
    process.id().map(|_| namespace)
}
