//! `POST /containers/create`: from a request to a child.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use skep_grant::{Create, Json, NetworkAsked, Refusal, Settled};
use skep_model::Function;

use super::agree::{Where, admit, agree};
use super::{Context, images, resources, template};
use crate::answer::Answer;
use crate::archive::Archive;
use crate::child::{Child, State};
use crate::holder::Inherited;
use crate::labels::Marks;
use crate::shared::Shared;
use crate::{below, listener, names, network, totals};

/// So often a sandbox of a function is begun for a child of it: one may go again before the child is made.
const BEGINNINGS: usize = 3;
/// How long it takes at most until a sandbox that came up here is heard of.
const HEARD: Duration = Duration::from_secs(1);

/// What a child is made from.
pub(super) enum Origin {
    /// The template of a granted function.
    Function(Arc<Function>),
    /// A granted image, by its name.
    Image(String),
    /// A granted function, of which this node knows the name only.
    Elsewhere(String),
}

impl Origin {
    fn function(&self) -> Option<&Function> {
        match self {
            Self::Function(function) => Some(function),
            Self::Image(_) | Self::Elsewhere(_) => None,
        }
    }

    /// The name of a function.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Self::Function(function) => Some(function.name.to_string()),
            Self::Elsewhere(name) => Some(name.clone()),
            Self::Image(_) => None,
        }
    }
}

/// A child that is just being made. Dropped before it was made, it gives back what was taken for it.
struct Begun {
    context: Arc<Context>,
    place: u64,
    socket: Option<String>,
    done: bool,
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.done {
            self.context.shared.children().settle(self.place, None);
            if let Some(socket) = &self.socket {
                listener::close(&self.context.shared, socket);
            }
        }
    }
}

/// Makes a child.
pub(super) async fn create(context: Context, body: Json) -> Result<Answer, Refusal> {
    let create = Create::parse(body, &context.holder.spawn)?;
    let name = match context.query.get("name").filter(|name| !name.is_empty()) {
        Some(name) => names::asked(name)?,
        None => names::generated(),
    };
    let context = Arc::new(context);
    let making = make(Arc::clone(&context), create, name);
    // In a task of its own: a client that goes away must not leave a container that nobody knows of.
    let made = context.shared.tasks.spawn(making).await;
    made.map_err(|_| Refusal {
        status: 500,
        message: "making the container broke off".to_owned(),
    })?
}

/// Makes it; where it is a function's of which no node has a sandbox, once there is one.
async fn make(context: Arc<Context>, create: Create, name: String) -> Result<Answer, Refusal> {
    let missing = |why: &str| Refusal {
        status: 503,
        message: format!(
            "{} is a function, and no node has a sandbox of it: {why}",
            create.image
        ),
    };
    for attempt in 0..=BEGINNINGS {
        if let Some(made) = attempted(&context, &create, &name).await? {
            return Ok(made);
        }
        let function = images::functions_name(&context, &create.image);
        if let (Some(function), Some(elsewhere)) = (function, context.elsewhere()) {
            let begun = elsewhere.begin(&context.holder.function, &function).await;
            begun.map_err(|why| missing(&why))?;
        }
        if attempt > 0 {
            // Where it came up here, it is heard of a moment later.
            context.shared.catalogue_changed(HEARD).await;
        }
    }
    Err(missing("what was begun is gone again"))
}

/// Makes it where it can be made now; `None`: nowhere.
async fn attempted(context: &Arc<Context>, create: &Create, name: &str) -> Result<Option<Answer>, Refusal> {
    let (shared, holder) = (&context.shared, &context.holder);
    let origin = origin(context, create).await?;
    let grant = below::grant(holder, create, origin.function())?;
    let network = match &origin {
        Origin::Function(_) | Origin::Elsewhere(_) => {
            create.over_template()?;
            Inherited::default()
        }
        Origin::Image(_) => {
            let settled = network::settle(shared, holder, create)?;
            if let NetworkAsked::Named(name) = &create.network {
                resources::found(context, name).await?;
            }
            settled
        }
    };
    let limits = limits(create, &origin);
    let share = shared.share_of(holder);
    let memory = limits.0.or(share.memory);
    let nano_cpus = limits.1.or(share.nano_cpus);
    let invocation = holder.invocation(shared);
    let root = holder.root(invocation);
    let created = Timestamp::now();
    let life = SignedDuration::try_from(holder.spawn.life).unwrap_or(SignedDuration::MAX);
    let marks = Marks {
        function: holder.function.clone(),
        parent: holder.id(),
        root: root.clone(),
        invocation,
        generation: holder.generation,
        above: holder.above_children(),
        asked: create.image.clone(),
        of_template: !matches!(origin, Origin::Image(_)),
        deadline: created.saturating_add(life).unwrap_or(Timestamp::MAX),
        memory: memory.unwrap_or(0),
        nano_cpus: nano_cpus.unwrap_or(0),
        socket: grant.as_ref().map(|_| uuid::Uuid::now_v7().simple().to_string()),
        grant,
        restarts: create.host.restarts,
    };
    let counted = root.clone();
    if let Ok(mut roots) = holder.roots.lock() {
        roots.insert(root);
    }
    let mut begun = Begun {
        place: admit(context, &marks, name).await?,
        socket: marks.socket.clone(),
        context: Arc::clone(context),
        done: false,
    };
    match agree(context, create, &origin, &marks, (begun.place, name)).await? {
        Where::Here => {}
        Where::There(made) => {
            begun.done = true;
            shared.children().went(begun.place);
            return Ok(Some(made));
        }
        Where::Nowhere => return Ok(None),
    }
    let inherited = match &origin {
        Origin::Function(function) => network::of_template(function),
        Origin::Image(_) | Origin::Elsewhere(_) => network.clone(),
    };
    let own = below::open(shared, &marks, inherited).map_err(|error| {
        tracing::warn!(%error, "a child's socket could not be made");
        failed("the child's socket could not be made")
    })?;
    let number = |amount: Option<u64>| amount.and_then(|amount| i64::try_from(amount).ok());
    let settled = Settled {
        image: match &origin {
            Origin::Function(function) => function.template.image_id.clone(),
            Origin::Image(image) | Origin::Elsewhere(image) => image.clone(),
        },
        network: network.mode.clone(),
        labels: marks.written(&shared.owner, &shared.namespace),
        memory: number(memory),
        nano_cpus: number(nano_cpus),
        cgroup_parent: share.parent,
    };
    let (mut body, later) = match &origin {
        Origin::Function(function) => template::body(shared, function, create, &settled)?,
        Origin::Image(_) | Origin::Elsewhere(_) => (create.body(&settled), others(&network)),
    };
    let names_host = create
        .environment
        .iter()
        .any(|own| own.starts_with("DOCKER_HOST="));
    let _giving = names::Giving::take(shared, &holder.function, name)?;
    let plain = origin
        .function()
        .is_none_or(|function| function.template.copied.is_none())
        && (later.is_empty() || shared.many_networks)
        && context.query.get("platform").is_none_or(str::is_empty);
    let told = marks
        .socket
        .as_ref()
        .filter(|_| plain)
        .map(|_| below::told(names_host, body.clone()));
    let leanly = told.as_ref().unwrap_or(&body);
    if plain && let Some(made) = crate::lean::create(shared, create, leanly, name, &marks).await? {
        below::known_as(own.as_deref(), &made.id);
        begun.done = true;
        shared
            .children()
            .settle(begun.place, Some(known(&made.id, name.to_owned(), marks)));
        totals::keep(shared, &counted).await;
        return Ok(Some(crate::answer::json(
            StatusCode::CREATED,
            &json!({ "Id": made.id, "Warnings": made.warnings }),
        )));
    }
    let link = below::place(shared, &marks, names_host, &mut body);
    let real = format!("{}{name}", names::prefix(&shared.namespace, &holder.function));
    let platform = context
        .query
        .get("platform")
        .filter(|platform| !platform.is_empty());
    let platform = platform
        .map(|platform| format!("&platform={platform}"))
        .unwrap_or_default();
    let path = format!("/containers/create?name={real}{platform}");
    let answer = shared.daemon.ask(Method::POST, &path, Some(&body)).await?;
    let id = answer
        .get("Id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    below::known_as(own.as_deref(), &id);
    begun.done = true;
    shared
        .children()
        .settle(begun.place, Some(known(&id, name.to_owned(), marks)));
    totals::keep(shared, &counted).await;
    if let Err(refusal) = complete(shared, &id, &origin, link, later).await {
        shared.end(&id).await;
        return Err(refusal);
    }
    let warnings = answer.get("Warnings").cloned().unwrap_or(json!([]));
    Ok(Some(crate::answer::json(
        StatusCode::CREATED,
        &json!({ "Id": id, "Warnings": warnings }),
    )))
}

/// A child that was just made.
fn known(id: &str, name: String, marks: Marks) -> Child {
    Child {
        id: id.to_owned(),
        name,
        marks,
        state: State::Created,
        // Not earlier: a list from before it was there must not be taken to say that it is gone.
        created: Timestamp::now(),
        started: None,
        ended: None,
        removed: false,
        disk: None,
        over: None,
    }
}

/// What Docker does to a container after it made it, and before it may start.
async fn complete(
    shared: &Shared,
    id: &str,
    origin: &Origin,
    link: Option<Archive>,
    later: Vec<(String, Value)>,
) -> Result<(), Refusal> {
    for (network, endpoint) in later {
        let body = json!({ "Container": id, "EndpointConfig": endpoint });
        let path = format!("/networks/{network}/connect");
        shared.daemon.ask(Method::POST, &path, Some(&body)).await?;
    }
    let copied = origin
        .function()
        .and_then(|function| function.template.copied.as_ref());
    if let Some(copied) = copied {
        let put = skep_copied::put(&shared.docker, id, copied).await;
        put.map_err(|error| {
            tracing::warn!(container = id, %error, "a template's files could not be put into a child");
            failed(
                "the files that were copied into the function's template could not be put into the container",
            )
        })?;
    }
    match link {
        Some(link) => shared.daemon.put(id, link).await,
        None => Ok(()),
    }
}

fn failed(message: &str) -> Refusal {
    Refusal {
        status: 500,
        message: message.to_owned(),
    }
}

/// What the name of an image means here: a granted function first, then a granted image.
async fn origin(context: &Context, create: &Create) -> Result<Origin, Refusal> {
    let entries = &context.holder.spawn.may_start;
    let asked = create.image.as_str();
    if let Some(function) = images::function(context, asked) {
        return Ok(Origin::Function(function));
    }
    if let Some(name) = images::functions_name(context, asked) {
        return Ok(Origin::Elsewhere(name));
    }
    if let Some(name) = images::granted(context, asked).await? {
        if context.making.is_some() {
            images::fetch(context, &name).await?;
        }
        return Ok(Origin::Image(name));
    }
    Err(Refusal::forbidden(format!(
        "{asked} is not granted: skep.spawn of {} names {}",
        context.holder.function,
        entries.join(", ")
    )))
}

/// The limits that the child names itself: its request's, or its template's.
fn limits(create: &Create, origin: &Origin) -> (Option<u64>, Option<u64>) {
    let positive = |number: Option<i64>| {
        let number = number.and_then(|number| u64::try_from(number).ok());
        number.filter(|n| *n > 0)
    };
    match origin {
        Origin::Image(_) | Origin::Elsewhere(_) => {
            (positive(create.host.memory), positive(create.host.nano_cpus))
        }
        Origin::Function(function) => template::limits(function),
    }
}

fn others(network: &Inherited) -> Vec<(String, Value)> {
    network
        .others
        .iter()
        .map(|name| (name.clone(), json!({})))
        .collect()
}
