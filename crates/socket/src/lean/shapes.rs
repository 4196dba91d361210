//! What Docker would make of a request: found out once for each shape, by letting it make a container and removing
//! that again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use skep_lean::Shape;
use skep_model::{
    Function, Handler, PortChoice, Revision, SandboxChoice, Settings, Template, TemplateId, label,
};
use tokio::sync::OnceCell;

use super::lock;
use crate::shared::Shared;

/// How many shapes are remembered, and how many of one function's: each has a sandbox for a while, with an address that
/// is nobody else's meanwhile. Beyond that those used longest ago are found out anew.
const REMEMBERED: usize = 256;
const OF_ONE: usize = 32;
/// Says that a container is there to be looked at, and for how long.
const LOOKED_AT: &str = "skep.looked-at";

/// What a child is made from, as far as others may be made from the same.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    /// The create body without what is one child's own.
    pub(super) body: Value,
    /// The function whose child it is, and how much such a child may write.
    pub(super) function: String,
    pub(super) disk: u64,
    /// The cgroup that all children of the function are below.
    pub(super) parent: Option<String>,
}

impl Request {
    /// The container whose network such children are in, where that is not their own.
    pub(super) fn joined(&self) -> Option<&str> {
        let mode = self.body.pointer("/HostConfig/NetworkMode")?.as_str()?;
        mode.strip_prefix("container:")
    }

    pub(super) fn written(&self) -> Value {
        json!({ "body": self.body, "function": self.function, "disk": self.disk, "parent": self.parent })
    }

    pub(super) fn read(value: &Value) -> Option<Self> {
        Some(Self {
            body: value.get("body")?.clone(),
            function: value.get("function")?.as_str()?.to_owned(),
            disk: value.get("disk")?.as_u64()?,
            parent: value.get("parent").and_then(Value::as_str).map(str::to_owned),
        })
    }
}

/// One shape.
#[derive(Debug)]
pub(super) struct Known {
    /// What Docker's container of this shape showed of itself.
    pub(super) inspect: Value,
    /// `Config` of its image.
    pub(super) image: Value,
    pub(super) shape: Arc<Shape>,
    /// What Docker had to say about it.
    pub(super) warnings: Value,
}

type Cell = Arc<OnceCell<Result<Arc<Known>, String>>>;

#[derive(Debug, Default)]
pub(super) struct Shapes {
    known: Mutex<HashMap<String, Entry>>,
    /// Counts the uses.
    clock: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    cell: Cell,
    function: String,
    /// The container whose network they are in.
    joined: Option<String>,
    /// When it was last used, by the clock.
    used: u64,
}

impl Shapes {
    /// Forgets all: images have changed.
    pub(super) fn clear(&self) {
        lock(&self.known).clear();
    }

    /// Forgets those of functions that are gone: their sandboxes stand on networks that somebody may want to remove.
    fn forget_of(&self, is_gone: impl Fn(&str) -> bool) {
        lock(&self.known).retain(|_, entry| !is_gone(&entry.function));
    }

    /// Forgets those in the network of a container that is gone.
    pub(super) fn forget_joined(&self, container: &str) {
        lock(&self.known).retain(|_, entry| entry.joined.as_deref() != Some(container));
    }

    /// The place of a shape; a function with too many of them loses its own.
    fn cell(&self, key: &str, function: &str, joined: Option<&str>) -> Cell {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut known = lock(&self.known);
        if let Some(entry) = known.get_mut(key) {
            entry.used = now;
            return entry.cell.clone();
        }
        let own = known.values().filter(|entry| entry.function == function);
        let too_many = own.count() >= OF_ONE;
        if too_many || known.len() >= REMEMBERED {
            let others = known.iter();
            let others = others.filter(|(_, entry)| !too_many || entry.function == function);
            let oldest = others.min_by_key(|(_, entry)| entry.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                known.remove(&oldest);
            }
        }
        let cell = Cell::default();
        let entry = Entry {
            cell: cell.clone(),
            function: function.to_owned(),
            joined: joined.map(str::to_owned),
            used: now,
        };
        known.insert(key.to_owned(), entry);
        cell
    }
}

/// Forgets the shapes of functions' children with their functions, for as long as it is polled.
pub(crate) async fn watch_functions(shared: &Arc<Shared>) {
    let (Some(lean), Some(mut catalogue)) = (shared.lean(), shared.catalogue.get().cloned()) else {
        return std::future::pending().await;
    };
    while catalogue.changed().await.is_ok() {
        lean.shapes
            .forget_of(|function| !shared.is_functions_name(function));
    }
    std::future::pending().await
}

/// The shape of a request; an error is the reason why lean does not give it.
pub(super) async fn of(shared: &Arc<Shared>, request: &Request) -> Result<Arc<Known>, String> {
    let Some(lean) = shared.lean() else {
        return Err("there is no lean engine".to_owned());
    };
    let key = request.written().to_string();
    let cell = lean.shapes.cell(&key, &request.function, lean.joined(request));
    let found = cell
        .get_or_init(async || find_out(shared, request, &key).await)
        .await
        .clone();
    if found.is_err()
        && cell
            .get()
            .is_some_and(|found| found.as_ref().is_err_and(|error| is_passing(error)))
    {
        lock(&lean.shapes.known).remove(&key);
    }
    found
}

/// Whether an error may be gone the next time.
fn is_passing(error: &str) -> bool {
    error.contains("Docker does not answer") || error.contains("the engine")
}

async fn find_out(shared: &Arc<Shared>, request: &Request, key: &str) -> Result<Arc<Known>, String> {
    let daemon = &shared.daemon;
    let said = |refusal: skep_grant::Refusal| refusal.message;
    let mut body = request.body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("Labels".to_owned(), looked_at(shared));
        fields.insert("Entrypoint".to_owned(), json!([""]));
        fields.insert("Cmd".to_owned(), json!(["-"]));
    }
    let made = daemon
        .ask(Method::POST, "/containers/create", Some(&body))
        .await
        .map_err(said)?;
    let id = made
        .get("Id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let inspect = daemon
        .ask(Method::GET, &format!("/containers/{id}/json"), None)
        .await;
    let removed = daemon
        .ask(Method::DELETE, &format!("/containers/{id}?v=1&force=1"), None)
        .await;
    if let Err(refusal) = removed {
        tracing::warn!(container = id, %refusal, "a container that was only looked at could not be removed");
    }
    let mut inspect = inspect.map_err(said)?;
    let image = inspect
        .get("Image")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let described = daemon
        .ask(Method::GET, &format!("/images/{image}/json"), None)
        .await
        .map_err(said)?;
    let config = described.get("Config").cloned().unwrap_or_default();
    if config
        .pointer("/Healthcheck/Test")
        .is_some_and(|test| *test != json!(["NONE"]))
    {
        return Err("its image has a health check".to_owned());
    }
    if let Some(fields) = inspect.get_mut("Config").and_then(Value::as_object_mut) {
        for field in ["Labels", "Cmd", "Entrypoint"] {
            fields.insert(field.to_owned(), Value::Null);
        }
        fields.insert(
            "Env".to_owned(),
            config.get("Env").cloned().unwrap_or(Value::Null),
        );
    }
    inspect["SizeRootFs"] = described.get("Size").cloned().unwrap_or(0.into());
    let lean = shared.lean().ok_or("there is no lean engine")?;
    let joined = lean.joined(request);
    let mut function = function(shared, request, &inspect, (&id, &image), key)?;
    // Its network is its own, as Docker's would be, unless it is another container's.
    function.settings.sandbox = match joined {
        Some(_) => SandboxChoice::Shared,
        None => SandboxChoice::Private,
    };
    let parent = request.parent.as_deref();
    let shape = lean.engine.0.shape(Arc::new(function), parent, joined).await?;
    Ok(Arc::new(Known {
        inspect,
        image: config,
        shape,
        warnings: made.get("Warnings").cloned().unwrap_or(json!([])),
    }))
}

fn looked_at(shared: &Shared) -> Value {
    let mut labels = Map::new();
    labels.insert(label::OWNER.to_owned(), shared.owner.as_str().into());
    labels.insert(label::NAMESPACE.to_owned(), shared.namespace.as_str().into());
    labels.insert(LOOKED_AT.to_owned(), "true".into());
    Value::Object(labels)
}

/// Removes what an earlier Skep was just looking at when it ended.
pub(super) async fn remove_stale(shared: &Shared) {
    let mut filters = skep_grant::Filters::default();
    filters.add("label", LOOKED_AT.to_owned());
    filters.add("label", format!("{}={}", label::NAMESPACE, shared.namespace));
    let mut query = skep_grant::Query::default();
    query.set("all", "1".to_owned());
    query.set("filters", filters.written());
    let path = format!("/containers/json{}", query.written());
    let listed = shared
        .daemon
        .ask(Method::GET, &path, None)
        .await
        .unwrap_or_default();
    for entry in listed.as_array().into_iter().flatten() {
        if let Some(id) = entry.get("Id").and_then(Value::as_str) {
            drop(
                shared
                    .daemon
                    .ask(Method::DELETE, &format!("/containers/{id}?v=1&force=1"), None)
                    .await,
            );
        }
    }
}

/// A function that looks like a template of such children.
fn function(
    shared: &Shared,
    request: &Request,
    inspect: &Value,
    (id, image): (&str, &str),
    key: &str,
) -> Result<Function, String> {
    let starter = shared.function(&request.function).ok_or("its function is gone")?;
    let settings = Settings {
        handler: Handler::Exec,
        port: PortChoice::Assigned,
        sandboxes: 0,
        disk: request.disk,
        spawn: None,
        ..starter.settings.clone()
    };
    let template = Template {
        id: TemplateId(id.into()),
        name: String::new(),
        created: Timestamp::now(),
        labels: Default::default(),
        image_labels: Default::default(),
        image_id: image.to_owned(),
        image: image.to_owned(),
        image_present: true,
        ever_started: false,
        publishes_ports: false,
        tty: false,
        exposed_tcp: Vec::new(),
        port_variable: None,
        fixed_address: false,
        network_mode: String::new(),
        networks: Vec::new(),
        memory: None,
        copied: None,
        inspect: inspect.to_string().into(),
    };
    Ok(Function {
        name: starter.name.clone(),
        namespace: shared.namespace.clone(),
        revision: Revision::of(key.as_bytes()),
        settings,
        template: Arc::new(template),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_with_many_shapes_loses_its_own_and_those_it_used_longest_ago() {
        let shapes = Shapes::default();
        shapes.cell("another's", "another", None);
        shapes.cell("first", "one", Some("a task"));
        for number in 0..OF_ONE * 3 {
            shapes.cell(&number.to_string(), "one", None);
            shapes.cell("first", "one", Some("a task"));
        }
        let latest = (OF_ONE * 3 - 1).to_string();
        {
            let known = lock(&shapes.known);
            assert_eq!(known.len(), OF_ONE + 1);
            for kept in ["another's", "first", &latest] {
                assert!(known.contains_key(kept), "{kept}");
            }
        }
        shapes.forget_joined("a task");
        let known = lock(&shapes.known);
        assert!(!known.contains_key("first") && known.contains_key(&latest));
    }
}
