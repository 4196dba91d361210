//! What a function sees of its children: what Docker shows, without the host's paths and with names as it knows them.

use std::path::Path;

use serde_json::{Value, json};
use skep_grant::SOCKET;

use crate::child::Child;
use crate::shared::Shared;

/// Fields that hold paths of the host.
const PATHS: [&str; 6] = [
    "/ResolvConfPath",
    "/HostnamePath",
    "/HostsPath",
    "/LogPath",
    "/NetworkSettings/SandboxKey",
    "/HostConfig/CgroupParent",
];

/// `GET /containers/ID/json`.
pub(crate) fn inspect(shared: &Shared, child: &Child, value: &mut Value) {
    for path in PATHS {
        if let Some(field) = value.pointer_mut(path) {
            *field = "".into();
        }
    }
    set(value, "/Name", format!("/{}", child.name).into());
    set(value, "/Config/Image", child.marks.asked.clone().into());
    if let Some(over) = &child.over {
        set(value, "/State/Error", over.clone().into());
    }
    set(value, "/GraphDriver", json!({ "Name": "", "Data": null }));
    if let Some(labels) = value.pointer_mut("/Config/Labels") {
        own_labels(labels);
    }
    if let Some(Value::Array(binds)) = value.pointer_mut("/HostConfig/Binds") {
        for bind in binds.iter_mut() {
            *bind = shown_bind(shared, bind.as_str().unwrap_or_default()).into();
        }
        binds.dedup();
    }
    for list in ["/HostConfig/Mounts", "/Mounts"] {
        if let Some(list) = value.pointer_mut(list) {
            mounts(shared, list);
        }
    }
}

/// One entry of `GET /containers/json`.
pub(super) fn summary(shared: &Shared, child: &Child, value: &mut Value) {
    set(value, "/Names", json!([format!("/{}", child.name)]));
    set(value, "/Image", child.marks.asked.clone().into());
    if let Some(labels) = value.get_mut("Labels") {
        own_labels(labels);
    }
    if let Some(list) = value.get_mut("Mounts") {
        mounts(shared, list);
    }
}

/// An object without the labels that are Skep's business.
pub(super) fn own_labels(labels: &mut Value) {
    if let Some(labels) = labels.as_object_mut() {
        labels.retain(|key, _| !key.starts_with("skep."));
    }
}

fn set(value: &mut Value, path: &str, to: Value) {
    if let Some(field) = value.pointer_mut(path) {
        *field = to;
    }
}

/// A volume is shown by its name, a folder of the host not at all, the child's socket as where it stands.
fn shown_bind(shared: &Shared, bind: &str) -> String {
    let (source, rest) = bind.split_once(':').unwrap_or((bind, ""));
    if is_socket(shared, source) {
        return format!("{SOCKET}:{SOCKET}");
    }
    let source = if source.starts_with('/') { "(host)" } else { source };
    format!("{source}:{rest}")
}

/// Whether a path of the host is a child's socket, or its folder.
fn is_socket(shared: &Shared, path: &str) -> bool {
    let sockets = shared.host_directory.as_deref();
    path == SOCKET || sockets.is_some_and(|folder| Path::new(path).starts_with(folder))
}

fn mounts(shared: &Shared, list: &mut Value) {
    let Some(mounts) = list.as_array_mut() else {
        return;
    };
    for mount in mounts.iter_mut() {
        let is_volume = mount.get("Type").and_then(Value::as_str) == Some("volume");
        let name = mount.get("Name").cloned().unwrap_or(json!(""));
        let source = mount.get("Source").and_then(Value::as_str).unwrap_or_default();
        if is_socket(shared, source) {
            set(mount, "/Source", SOCKET.into());
            set(mount, "/Destination", SOCKET.into());
        } else if source.starts_with('/') {
            set(mount, "/Source", if is_volume { name } else { json!("") });
        }
    }
    // Where it has the folder and the socket itself, it is shown once.
    let is_own = |mount: &Value| mount.get("Destination").and_then(Value::as_str) == Some(SOCKET);
    let first = mounts.iter().position(is_own);
    let mut at = 0..;
    mounts.retain(|mount| at.next() == first || !is_own(mount));
}
