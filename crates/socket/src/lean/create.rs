//! From a create request, as it would go on to Docker, to a child; or to the word that it is Docker's to make.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use skep_grant::{Create, NetworkAsked, Refusal, SOCKET};

use super::child::LeanChild;
use super::shapes::{self, Known, Request};
use super::{Lean, ahead, images, journal, lock};
use crate::labels::Marks;
use crate::shared::Shared;

/// What is one child's own, and no part of its shape.
const OWN: [&str; 11] = [
    "Cmd",
    "Entrypoint",
    "Env",
    "Labels",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Hostname",
];

/// A child that was made: its id, and what is said with it.
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) warnings: Value,
}

/// Makes a child, where lean gives what the body asks for.
pub(crate) async fn create(
    shared: &Arc<Shared>,
    create: &Create,
    body: &Value,
    name: &str,
    marks: &Marks,
) -> Result<Option<Made>, Refusal> {
    let Some(lean) = shared.lean() else {
        return Ok(None);
    };
    let Some(function) = shared.function(marks.function.as_str()) else {
        return Ok(None);
    };
    let parent = body.pointer("/HostConfig/CgroupParent").and_then(Value::as_str);
    let common = parent.is_none() || lean.engine.0.has_common_cgroups();
    if !lean.is_wanted(&function) || !common || asks_docker(create, body) {
        return Ok(None);
    }
    let started = if marks.of_template {
        shared.function(&marks.asked)
    } else {
        None
    };
    if started.as_ref().is_some_and(|started| !lean.is_wanted(started)) {
        return Ok(None);
    }
    let image = body.get("Image").and_then(Value::as_str).unwrap_or_default();
    let image = images::id(shared, image).await?;
    let mut shape = body.clone();
    if let Some(fields) = shape.as_object_mut() {
        fields.insert("Image".to_owned(), image.as_str().into());
        fields.retain(|field, _| !OWN.contains(&field.as_str()));
        if let Some(host) = fields.get_mut("HostConfig").and_then(Value::as_object_mut) {
            host.retain(|field, _| !matches!(field.as_str(), "AutoRemove" | "ConsoleSize" | "CgroupParent"));
        }
    }
    let request = Request {
        body: shape,
        function: marks.function.to_string(),
        disk: started.map_or(function.settings.disk, |started| started.settings.disk),
        parent: parent.map(str::to_owned),
    };
    match shapes::of(shared, &request).await {
        Ok(known) => make(
            shared,
            &lean,
            (&request, &known),
            (body, name, marks.socket.is_some()),
        )
        .await
        .map(Some),
        Err(reason) => {
            tracing::debug!(reason, "a child is Docker's to make");
            Ok(None)
        }
    }
}

/// What is said in the request, and only Docker does.
fn asks_docker(create: &Create, body: &Value) -> bool {
    let has = |at: &str| {
        let value = body.pointer(at);
        value.is_some_and(|value| match value {
            Value::Object(fields) => !fields.is_empty(),
            Value::Bool(flag) => *flag,
            _ => false,
        })
    };
    create.host.restarts
        || has("/HostConfig/PortBindings")
        || has("/HostConfig/PublishAllPorts")
        || has("/Healthcheck")
        || matches!(create.network, NetworkAsked::Sibling(_))
}

async fn make(
    shared: &Arc<Shared>,
    lean: &Arc<Lean>,
    (request, known): (&Request, &Known),
    (body, name, with_socket): (&Value, &str, bool),
) -> Result<Made, Refusal> {
    let id = identifier()?;
    let mut inspect = inspect(&id, known, body)?;
    if with_socket {
        show_socket(&mut inspect);
    }
    let labels = inspect.pointer("/Config/Labels").cloned().unwrap_or(json!({}));
    let folder = lean.directory.join(&id);
    let facts = json!({ "inspect": inspect, "name": name, "request": request.written(), "labels": labels });
    let child = LeanChild::read(folder.clone(), &facts, &Value::Null);
    let child = Arc::new(child.ok_or_else(|| failed("what the engine said of its shape can't be read"))?);
    // Written down before it is answered: nobody is told of a child that a crash would make forgotten.
    let written = tokio::task::spawn_blocking(move || journal::begin(&folder, &facts)).await;
    match written {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(failed(&format!("the child can't be written down: {error}"))),
        Err(_) => return Err(failed("writing the child down broke off")),
    }
    lock(&lean.children).insert(id.clone(), child.clone());
    lean.events.say(shared, &child, "create", &[]);
    ahead::begin(shared, &child, &known.shape);
    lean.bound_weight(shared, &child.request.function).await;
    Ok(Made {
        id,
        warnings: known.warnings.clone(),
    })
}

pub(super) fn failed(message: &str) -> Refusal {
    Refusal {
        status: 500,
        message: message.to_owned(),
    }
}

/// Shows a child's own socket as what was asked for.
fn show_socket(inspect: &mut Value) {
    let mount = json!({
        "Type": "bind", "Source": SOCKET, "Destination": SOCKET, "Mode": "ro", "RW": false, "Propagation": "rprivate",
    });
    for (at, entry) in [
        ("/HostConfig/Binds", json!(format!("{SOCKET}:{SOCKET}"))),
        ("/Mounts", mount),
    ] {
        match inspect.pointer_mut(at) {
            Some(Value::Array(list)) => list.push(entry),
            Some(none) => *none = json!([entry]),
            None => {}
        }
    }
}

/// 64 random hexadecimal digits.
pub(super) fn identifier() -> Result<String, Refusal> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| failed(&format!("no random number: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What `inspect` shows of a child, but for what it is doing: its shape's, with its own words merged over the image's
/// as Docker does.
fn inspect(id: &str, known: &Known, body: &Value) -> Result<Value, Refusal> {
    let mut inspect = known.inspect.clone();
    let list = |value: Option<&Value>| -> Vec<String> {
        let list = value.and_then(Value::as_array);
        let texts = list.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    let (mut command, entrypoint) = (list(body.get("Cmd")), body.get("Entrypoint"));
    let named = entrypoint.is_some_and(Value::is_array);
    let mut entry = list(entrypoint);
    if entry.is_empty() {
        if command.is_empty() {
            command = list(known.image.get("Cmd"));
        }
        if !named {
            entry = list(known.image.get("Entrypoint"));
        }
    }
    if entry == [""] {
        entry.clear();
    }
    let mut whole = entry.iter().chain(&command).cloned();
    let path = whole.next().filter(|path| !path.is_empty());
    let path = path.ok_or_else(|| Refusal::malformed("No command specified"))?;
    let arguments: Vec<String> = whole.collect();
    let mut environment = list(body.get("Env"));
    let name = |variable: &String| variable.split('=').next().unwrap_or_default().to_owned();
    for variable in list(known.image.get("Env")) {
        if !environment.iter().any(|own| name(own) == name(&variable)) {
            environment.push(variable);
        }
    }
    let mut labels: Map<String, Value> = Map::new();
    for source in [known.image.get("Labels"), body.get("Labels")] {
        let source = source.and_then(Value::as_object).into_iter().flatten();
        labels.extend(source.map(|(key, value)| (key.clone(), value.clone())));
    }
    let or_null = |list: Vec<String>| if list.is_empty() { Value::Null } else { list.into() };
    let asked = body.get("Hostname").and_then(Value::as_str).unwrap_or_default();
    let hostname = match asked {
        "" => known.shape.hostname().unwrap_or(&id[..12]),
        asked => asked,
    };
    for (at, value) in [
        ("Id", id.into()),
        ("Created", Timestamp::now().to_string().into()),
        ("Path", path.into()),
        ("Args", arguments.into()),
    ] {
        inspect[at] = value;
    }
    let config = &mut inspect["Config"];
    config["Hostname"] = hostname.into();
    config["Cmd"] = or_null(command);
    config["Entrypoint"] = or_null(entry);
    config["Env"] = or_null(environment);
    config["Labels"] = Value::Object(labels);
    for flag in [
        "Tty",
        "OpenStdin",
        "StdinOnce",
        "AttachStdin",
        "AttachStdout",
        "AttachStderr",
    ] {
        config[flag] = body.get(flag).and_then(Value::as_bool).unwrap_or(false).into();
    }
    for field in ["AutoRemove", "ConsoleSize"] {
        if let Some(value) = body.pointer(&format!("/HostConfig/{field}")) {
            inspect["HostConfig"][field] = value.clone();
        }
    }
    for mount in inspect["Mounts"].as_array_mut().into_iter().flatten() {
        let unnamed = mount
            .get("Name")
            .and_then(Value::as_str)
            .is_some_and(|name| name.len() == 64);
        if unnamed && mount.get("Type").and_then(Value::as_str) == Some("volume") {
            mount["Name"] = identifier()?.into();
        }
    }
    Ok(inspect)
}
