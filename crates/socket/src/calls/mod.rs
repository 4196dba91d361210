//! A request, from its first line to its answer: one file for each kind of thing that is asked for.

mod afar;
mod agree;
mod columns;
mod containers;
mod create;
mod events;
mod exec;
mod forward;
mod gathered;
mod images;
mod lines;
mod list;
mod node;
mod resources;
mod show;
mod template;

pub(crate) use self::columns::plain_columns;
pub(crate) use self::containers::{may_run as admitted, measured};
pub(crate) use self::forward::wants_upgrade;
pub(crate) use self::show::inspect as show_inspect;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use skep_grant::{Call, Json, Query, Refusal, target};
use skep_wire::Making;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, refused};
use crate::holder::Holder;
use crate::shared::Shared;

/// The largest body that is read whole, a little more than what is then taken for JSON.
const LARGEST: usize = (256 << 10) + 1;

/// How much is read of what is sent with a refused request: archives are, too.
const FORGONE: usize = 64 << 20;

/// What every call works with.
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) holder: Arc<Holder>,
    /// The socket is closed, and everything on it ends.
    pub(crate) closed: CancellationToken,
    /// The place of its connection, held for as long as anything goes on for it: also where that became a stream.
    pub(crate) place: Place,
    pub(crate) version: (u32, u32),
    pub(crate) query: Query,
    /// Where the child that is to be made was asked for by another node.
    pub(crate) making: Option<Making>,
}

/// One connection's place among those of its socket.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

/// Answers one request.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    holder: Arc<Holder>,
    closed: CancellationToken,
    place: Place,
    request: Request<Incoming>,
) -> Answer {
    answer_for(shared, holder, closed, (place, None), request).await
}

/// The same, which another node may have asked for.
pub(crate) async fn answer_for(
    shared: Arc<Shared>,
    holder: Arc<Holder>,
    closed: CancellationToken,
    given: (Place, Option<Making>),
    request: Request<Incoming>,
) -> Answer {
    let (newest, experimental) = (shared.daemon.version, HeaderValue::from_static("false"));
    let asked = format!("{} {}", request.method(), request.uri().path());
    let answered = handle(Arc::clone(&shared), Arc::clone(&holder), closed, given, request).await;
    let mut answer = answered.unwrap_or_else(|mut refusal| {
        refusal.message = shared.said(&holder, &refusal.message);
        tracing::debug!(function = %holder.function, asked, refusal = refusal.message, "refused");
        refused(&refusal)
    });
    let headers = answer.headers_mut();
    let version = HeaderValue::from_str(&format!("{}.{}", newest.0, newest.1));
    if let Ok(version) = version {
        headers.insert("api-version", version);
    }
    headers.insert("docker-experimental", experimental);
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers.insert("server", HeaderValue::from_static("Skep"));
    answer
}

async fn handle(
    shared: Arc<Shared>,
    holder: Arc<Holder>,
    closed: CancellationToken,
    (place, making): (Place, Option<Making>),
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    unambiguous(&request)?;
    let uri = request.uri();
    let asked = target(request.method().as_str(), uri.path(), uri.query())
        .and_then(|target| Ok((negotiated(&shared, target.version)?, target)));
    let (version, target) = match asked {
        Ok(asked) => asked,
        Err(refusal) => {
            forgo(request).await;
            return Err(refusal);
        }
    };
    let context = Context {
        shared,
        holder,
        closed,
        place,
        version,
        query: target.query,
        making,
    };
    match target.call {
        Call::Ping => Ok(node::ping()),
        Call::Version => Ok(node::version(&context)),
        Call::Info => Ok(node::info(&context).await),
        Call::Events => events::stream(context).await,
        Call::CreateContainer => create::create(context, json(request).await?).await,
        Call::ListContainers => list::list(context).await,
        Call::PruneContainers => list::prune(context).await,
        Call::Container(name, call) => containers::call(context, &name, call, request).await,
        Call::ExecInspect(id) => exec::inspect(context, &id).await,
        Call::ExecStart(id) => exec::start(context, &id, request).await,
        Call::ExecResize(id) => exec::resize(context, &id).await,
        Call::ListImages => images::list(context).await,
        Call::Image(name) => images::inspect(context, &name).await,
        Call::Pull => images::pull(context).await,
        Call::ListNetworks => resources::networks(context).await,
        Call::Network(name) => resources::network(context, &name).await,
        Call::Connect(name) => resources::connect(context, &name, json(request).await?, false).await,
        Call::Disconnect(name) => resources::connect(context, &name, json(request).await?, true).await,
        Call::ListVolumes => resources::volumes(context).await,
        Call::Volume(name) => resources::volume(context, &name).await,
    }
}

/// What could be read in two ways is refused before it is read at all.
fn unambiguous(request: &Request<Incoming>) -> Result<(), Refusal> {
    if request.uri().authority().is_some() || request.uri().scheme().is_some() {
        return Err(Refusal::malformed("the request's target must be a path"));
    }
    let headers: &HeaderMap = request.headers();
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONTENT_TYPE] {
        if headers.get_all(&name).iter().count() > 1 {
            return Err(Refusal::malformed(format!("the header {name} is there twice")));
        }
    }
    if headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING) {
        return Err(Refusal::malformed("the body's length is said in two ways"));
    }
    Ok(())
}

fn negotiated(shared: &Shared, asked: Option<(u32, u32)>) -> Result<(u32, u32), Refusal> {
    let (newest, oldest) = (shared.daemon.version, shared.oldest_version);
    let text = |(major, minor): (u32, u32)| format!("{major}.{minor}");
    match asked {
        None => Ok(newest),
        Some(version) if version > newest => Err(Refusal::malformed(format!(
            "client version {} is too new. Maximum supported API version is {}",
            text(version),
            text(newest)
        ))),
        Some(version) if version < oldest => Err(Refusal::malformed(format!(
            "client version {} is too old. Minimum supported API version is {}, please upgrade your client to a newer \
             version",
            text(version),
            text(oldest)
        ))),
        Some(version) => Ok(version),
    }
}

/// Reads what is sent with a request that is refused: a client that is still sending would hear of a broken connection
/// and not of the reason.
pub(crate) async fn forgo(request: Request<Incoming>) {
    let mut unread = Limited::new(request.into_body(), FORGONE);
    while let Some(Ok(_)) = unread.frame().await {}
}

/// A request's body, read whole.
pub(crate) async fn whole(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let read = Limited::new(request.into_body(), LARGEST).collect().await;
    read.map(http_body_util::Collected::to_bytes)
        .map_err(|error| Refusal::malformed(format!("the body can't be read: {error}")))
}

/// A request's body as JSON.
pub(crate) async fn json(request: Request<Incoming>) -> Result<Json, Refusal> {
    Json::parse(&whole(request).await?)
}
