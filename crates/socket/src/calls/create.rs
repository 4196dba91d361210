//! `POST /containers/create`: from a request to a child.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use skep_grant::{Create, Image, Json, NetworkAsked, Refusal, Settled};
use skep_model::{Function, Spawn};

use super::{Context, images, resources};
use crate::answer::Answer;
use crate::children::{Child, State};
use crate::holder::{Holder, Inherited, Parent};
use crate::labels::Marks;
use crate::{listener, names, network};

/// What a child is made from.
enum Origin {
    /// The template of a granted function.
    Function(Arc<Function>),
    /// A granted image, by its name.
    Image(String),
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

async fn make(context: Arc<Context>, create: Create, name: String) -> Result<Answer, Refusal> {
    let (shared, holder) = (&context.shared, &context.holder);
    let origin = origin(&context, &create).await?;
    let socket = socket_for(holder, &create, &origin)?;
    let network = match &origin {
        Origin::Function(_) => {
            create.over_template()?;
            Inherited::default()
        }
        Origin::Image(_) => {
            let settled = network::settle(shared, holder, &create)?;
            if let NetworkAsked::Named(name) = &create.network {
                resources::found(&context, name).await?;
            }
            settled
        }
    };
    let limits = limits(&create, &origin);
    let share = shared
        .shares
        .of(&shared.namespace, &holder.function, &holder.spawn);
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
        asked: create.image.clone(),
        of_template: matches!(origin, Origin::Function(_)),
        deadline: created.saturating_add(life).unwrap_or(Timestamp::MAX),
        memory: memory.unwrap_or(0),
        nano_cpus: nano_cpus.unwrap_or(0),
        socket: socket.as_ref().map(|_| uuid::Uuid::now_v7().simple().to_string()),
        may_start: socket.clone().unwrap_or_default(),
    };
    if let Ok(mut roots) = holder.roots.lock() {
        roots.insert(root);
    }
    let mut begun = Begun {
        place: admit(&context, &marks).await?,
        socket: marks.socket.clone(),
        context: Arc::clone(&context),
        done: false,
    };
    let below = open_socket(&context, &marks, &origin, &network)?;
    let number = |amount: Option<u64>| amount.and_then(|amount| i64::try_from(amount).ok());
    let settled = Settled {
        image: match &origin {
            Origin::Function(function) => function.template.image_id.clone(),
            Origin::Image(image) => image.clone(),
        },
        network: network.mode.clone(),
        labels: marks.written(&shared.owner, &shared.namespace),
        socket: marks
            .socket
            .as_ref()
            .and_then(|id| listener::host_path(shared, id))
            .map(|path| path.display().to_string()),
        memory: number(memory),
        nano_cpus: number(nano_cpus),
        cgroup_parent: share.parent,
    };
    let (body, later) = match &origin {
        Origin::Function(function) => from_template(&context, function, &create, &settled)?,
        Origin::Image(_) => (create.body(&settled), others(&network)),
    };
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
    if let Some(below) = below
        && let Parent::Child { id: own, .. } = &below.parent
    {
        drop(own.set(id.clone()));
    }
    begun.done = true;
    shared.children().settle(
        begun.place,
        Some(Child {
            id: id.clone(),
            name,
            marks,
            state: State::Created,
            // Not earlier: a list from before it was there must not be taken to say that it is gone.
            created: Timestamp::now(),
            started: None,
            ended: None,
            restarts: create.host.restarts,
            removed: false,
        }),
    );
    for (network, endpoint) in later {
        let body = json!({ "Container": id, "EndpointConfig": endpoint });
        let path = format!("/networks/{network}/connect");
        let connected = shared.daemon.ask(Method::POST, &path, Some(&body));
        if let Err(refusal) = connected.await {
            shared.end(&id).await;
            return Err(refusal);
        }
    }
    let warnings = answer.get("Warnings").cloned().unwrap_or(json!([]));
    Ok(crate::answer::json(
        StatusCode::CREATED,
        &json!({ "Id": id, "Warnings": warnings }),
    ))
}

/// What the name of an image means here: a granted function first, then a granted image.
async fn origin(context: &Context, create: &Create) -> Result<Origin, Refusal> {
    let entries = &context.holder.spawn.may_start;
    let asked = create.image.as_str();
    if let Some(function) = images::function(context, asked) {
        return Ok(Origin::Function(function));
    }
    if let Some(name) = images::granted(context, asked).await? {
        return Ok(Origin::Image(name));
    }
    Err(Refusal::forbidden(format!(
        "{asked} is not granted: skep.spawn of {} names {}",
        context.holder.function,
        entries.join(", ")
    )))
}

/// Whether the child has a socket of its own, and what it may start there.
fn socket_for(holder: &Holder, create: &Create, origin: &Origin) -> Result<Option<Vec<String>>, Refusal> {
    let own = match origin {
        Origin::Function(function) => function.settings.spawn.as_ref(),
        Origin::Image(_) => None,
    };
    let deep_enough = holder.spawn.depth > 1;
    if create.host.mounts.socket && !deep_enough {
        return Err(Refusal::forbidden(format!(
            "a socket for the child: skep.spawn.depth of {} is {}, and children of this generation have none",
            holder.function,
            holder.spawn.depth + holder.generation - 1
        )));
    }
    match own {
        // What both may start: a function that is started so gets no more than its starter has.
        Some(own) if deep_enough => Ok(Some(common(&holder.spawn, own))),
        _ if create.host.mounts.socket => Ok(Some(holder.spawn.may_start.clone())),
        _ => Ok(None),
    }
}

fn common(parent: &Spawn, own: &Spawn) -> Vec<String> {
    let both = own.may_start.iter().filter_map(|entry| {
        if parent.may_start.contains(entry) {
            return Some(entry.clone());
        }
        // Written out with its tag: granted as an image, it must not mean the function of that name.
        let image = Image::parse(entry).ok();
        let image = image.filter(|image| image.is_granted(&parent.may_start));
        image.map(|image| image.to_string())
    });
    both.collect()
}

/// The limits that the child names itself: its request's, or its template's.
fn limits(create: &Create, origin: &Origin) -> (Option<u64>, Option<u64>) {
    let positive = |number: Option<i64>| {
        number
            .and_then(|number| u64::try_from(number).ok())
            .filter(|n| *n > 0)
    };
    match origin {
        Origin::Image(_) => (positive(create.host.memory), positive(create.host.nano_cpus)),
        Origin::Function(function) => {
            let inspect: Value = serde_json::from_str(&function.template.inspect).unwrap_or_default();
            let field = |name: &str| {
                positive(
                    inspect
                        .pointer(&format!("/HostConfig/{name}"))
                        .and_then(Value::as_i64),
                )
            };
            let quota = field("CpuQuota")
                .map(|quota| quota.saturating_mul(1_000_000_000) / field("CpuPeriod").unwrap_or(100_000));
            (field("Memory"), field("NanoCpus").or(quota))
        }
    }
}

/// Takes a place. What ended a moment ago may not be known yet: Docker is asked before anything is refused.
async fn admit(context: &Context, marks: &Marks) -> Result<u64, Refusal> {
    let shared = &context.shared;
    let attempt = || shared.children().admit(&context.holder.spawn, marks.clone());
    match attempt() {
        Ok(place) => Ok(place),
        Err(_) => {
            shared.look_now().await;
            attempt()
        }
    }
}

fn open_socket(
    context: &Context,
    marks: &Marks,
    origin: &Origin,
    network: &Inherited,
) -> Result<Option<Arc<Holder>>, Refusal> {
    let Some(id) = &marks.socket else {
        return Ok(None);
    };
    let holder = &context.holder;
    let below = Arc::new(Holder {
        function: holder.function.clone(),
        spawn: Spawn {
            may_start: marks.may_start.clone(),
            depth: holder.spawn.depth - 1,
            ..holder.spawn.clone()
        },
        parent: Parent::Child {
            id: OnceLock::new(),
            root: marks.root.clone(),
            invocation: marks.invocation,
        },
        network: match origin {
            Origin::Function(function) => network::of_template(function),
            Origin::Image(_) => network.clone(),
        },
        generation: holder.generation + 1,
        roots: Default::default(),
    });
    listener::open(&context.shared, id, Arc::clone(&below)).map_err(|error| {
        tracing::warn!(%error, "a child's socket could not be made");
        Refusal {
            status: 500,
            message: "the child's socket could not be made".to_owned(),
        }
    })?;
    Ok(Some(below))
}

fn others(network: &Inherited) -> Vec<(String, Value)> {
    network
        .others
        .iter()
        .map(|name| (name.clone(), json!({})))
        .collect()
}

/// The body of a function's container: its template's, with command and environment over it.
fn from_template(
    context: &Context,
    function: &Arc<Function>,
    create: &Create,
    settled: &Settled,
) -> Result<(Value, Vec<(String, Value)>), Refusal> {
    let mut environment: Vec<(String, String)> = Vec::new();
    for variable in &create.environment {
        if let Some((name, value)) = variable.split_once('=') {
            environment.push((name.to_owned(), value.to_owned()));
        }
    }
    if settled.socket.is_some() {
        environment.push(("DOCKER_HOST".to_owned(), format!("unix://{}", skep_grant::SOCKET)));
    }
    let made = skep_docker::template_body(function, &environment, context.shared.many_networks);
    let (mut body, later) = made.map_err(|error| Refusal {
        status: 500,
        message: format!("{}: {error}", function.name),
    })?;
    let Some(fields) = body.as_object_mut() else {
        return Ok((body, later));
    };
    if let Some(command) = &create.command {
        fields.insert("Cmd".to_owned(), command.clone().into());
    }
    let mut labels: BTreeMap<String, Value> = BTreeMap::new();
    let own = fields.get("Labels").and_then(Value::as_object);
    labels.extend(
        own.into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    let given = create.labels.iter().chain(&settled.labels);
    labels.extend(given.map(|(key, value)| (key.clone(), value.as_str().into())));
    fields.insert("Labels".to_owned(), json!(labels));
    for (name, flag) in [
        ("Tty", create.tty),
        ("OpenStdin", create.open_stdin),
        ("StdinOnce", create.stdin_once),
        ("AttachStdin", create.attach[0]),
        ("AttachStdout", create.attach[1]),
        ("AttachStderr", create.attach[2]),
    ] {
        fields.insert(name.to_owned(), flag.into());
    }
    if let Some(host) = fields.get_mut("HostConfig").and_then(Value::as_object_mut) {
        host.insert("AutoRemove".to_owned(), create.host.auto_remove.into());
        if let Some(socket) = &settled.socket {
            let bind = format!("{socket}:{}", skep_grant::SOCKET);
            match host.get_mut("Binds") {
                Some(Value::Array(binds)) => binds.push(bind.into()),
                _ => drop(host.insert("Binds".to_owned(), json!([bind]))),
            }
        }
        create.bound(host, settled);
    }
    Ok((body, later))
}
