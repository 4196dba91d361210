//! The socket of a child: what it grants, where the child finds it, and that it is there again after Skep was not.
//!
//! A bind holds a file, not its name: a socket that a later Skep makes under the same name would be another file, and
//! the child would keep the one that nobody listens on. So the child gets the socket's folder, and at the usual place
//! a link into it.

use std::io;
use std::sync::{Arc, OnceLock};

use http::Method;
use serde_json::{Value, json};
use skep_grant::{Create, Image, Refusal, SOCKET};
use skep_model::{Function, PortRange, Spawn};

use crate::archive::Archive;
use crate::holder::{Holder, Inherited, Parent};
use crate::labels::Marks;
use crate::shared::Shared;
use crate::{listener, network};

/// Where a child finds the folder of its socket.
pub(crate) const FOLDER: &str = "/run/skep";
/// What covers the usual place: a link in the container's own files would not be seen there.
const COVERED: [&str; 4] = ["/", "/run", "/var", "/var/run"];

/// What a child's own socket grants; `None` where it has none.
pub(crate) fn grant(
    holder: &Holder,
    create: &Create,
    function: Option<&Function>,
) -> Result<Option<Spawn>, Refusal> {
    let own = function.and_then(|function| function.settings.spawn.as_ref());
    let deep_enough = holder.spawn.depth > 1;
    if create.host.mounts.socket && !deep_enough {
        return Err(Refusal::forbidden(format!(
            "a socket for the child: skep.spawn.depth of {} is {}, and children of this generation have none",
            holder.function,
            holder.spawn.depth + holder.generation - 1
        )));
    }
    let below = Spawn {
        depth: holder.spawn.depth.saturating_sub(1),
        ..holder.spawn.clone()
    };
    Ok(match own {
        Some(own) if deep_enough => Some(common(&below, own)),
        _ => create.host.mounts.socket.then_some(below),
    })
}

/// What both give: a function that is started so gets no more than its starter has, and none of what its own template
/// leaves out. How many children there may be, and how large, is counted for the whole tree by the grant at its top.
fn common(parent: &Spawn, own: &Spawn) -> Spawn {
    let in_both = |one: &[String], other: &[String]| {
        let both = one.iter().filter(|entry| other.contains(entry));
        both.cloned().collect()
    };
    Spawn {
        may_start: own
            .may_start
            .iter()
            .filter_map(|entry| may_start(parent, entry))
            .collect(),
        networks: in_both(&parent.networks, &own.networks),
        volumes: in_both(&parent.volumes, &own.volumes),
        ports: ports(&parent.ports, &own.ports),
        depth: parent.depth.min(own.depth),
        life: parent.life.min(own.life),
        ..parent.clone()
    }
}

fn may_start(parent: &Spawn, entry: &String) -> Option<String> {
    if parent.may_start.contains(entry) {
        return Some(entry.clone());
    }
    // Written out with its tag: granted as an image, it must not mean the function of that name.
    let image = Image::parse(entry).ok();
    let image = image.filter(|image| image.is_granted(&parent.may_start));
    image.map(|image| image.to_string())
}

fn ports(one: &[PortRange], other: &[PortRange]) -> Vec<PortRange> {
    let pairs = one
        .iter()
        .flat_map(|one| other.iter().map(move |other| (one, other)));
    let both = pairs.map(|(one, other)| PortRange {
        first: one.first.max(other.first),
        last: one.last.min(other.last),
    });
    both.filter(|range| range.first <= range.last).collect()
}

/// Opens a child's socket. Everything but the network that its children inherit is in its marks.
pub(crate) fn open(
    shared: &Arc<Shared>,
    marks: &Marks,
    network: Inherited,
) -> io::Result<Option<Arc<Holder>>> {
    let (Some(socket), Some(grant)) = (&marks.socket, &marks.grant) else {
        return Ok(None);
    };
    let holder = Arc::new(Holder {
        function: marks.function.clone(),
        spawn: grant.clone(),
        parent: Parent::Child {
            id: OnceLock::new(),
            root: marks.root.clone(),
            invocation: marks.invocation,
        },
        network,
        generation: marks.generation + 1,
        above: marks.above.clone(),
        roots: Default::default(),
    });
    listener::open(shared, socket, Arc::clone(&holder))?;
    Ok(Some(holder))
}

/// Opens the sockets of children that an earlier Skep made, where the children have them.
pub(crate) async fn reopen(shared: &Arc<Shared>) {
    let closed: Vec<(String, Marks)> = {
        let (children, open) = (shared.children(), shared.open());
        let closed = children.all().filter(|child| {
            let socket = child.marks.socket.as_ref();
            socket.is_some_and(|socket| !open.contains_key(socket))
        });
        closed
            .map(|child| (child.id.clone(), child.marks.clone()))
            .collect()
    };
    for (id, marks) in closed {
        let inspect = match shared.lean().and_then(|lean| lean.child(&id)) {
            Some(own) => Ok(own.settled().clone()),
            None => {
                let path = format!("/containers/{id}/json");
                shared.daemon.ask(Method::GET, &path, None).await
            }
        };
        let Ok(inspect) = inspect else {
            continue;
        };
        match open(shared, &marks, network::of_inspect(&inspect)) {
            Ok(holder) => known_as(holder.as_deref(), &id),
            Err(error) => tracing::warn!(container = id, %error, "a child's socket could not be made again"),
        }
        // Removed meanwhile: its end closed a socket that was not open yet.
        if shared.children().get(&id).is_none()
            && let Some(socket) = &marks.socket
        {
            listener::close(shared, socket);
        }
    }
}

/// Says which container a socket belongs to.
pub(crate) fn known_as(holder: Option<&Holder>, id: &str) {
    if let Some(Holder {
        parent: Parent::Child { id: own, .. },
        ..
    }) = holder
    {
        drop(own.set(id.to_owned()));
    }
}

/// Tells a child of the lean engine where its socket is: it stands at the usual place whenever the child runs.
pub(crate) fn told(own_host: bool, mut body: Value) -> Value {
    if !own_host {
        name_host(&mut body, SOCKET);
    }
    body
}

fn name_host(body: &mut Value, place: &str) {
    let variable = format!("DOCKER_HOST=unix://{place}");
    match body.get_mut("Env") {
        Some(Value::Array(own)) => {
            own.retain(|one| !one.as_str().is_some_and(|one| one.starts_with("DOCKER_HOST=")));
            own.push(variable.into());
        }
        _ => body["Env"] = json!([variable]),
    }
}

/// Puts a socket into a create body; what comes back goes into the container before it starts.
pub(crate) fn place(shared: &Shared, marks: &Marks, own_host: bool, body: &mut Value) -> Option<Archive> {
    let socket = listener::host_path(shared, marks.socket.as_ref()?)?;
    let folder = socket.parent()?.display().to_string();
    let covered = is_covered(body);
    let mut binds = vec![json!(format!("{folder}:{FOLDER}:ro"))];
    if covered {
        // Serves until Skep ends; who asks DOCKER_HOST is served after that too.
        binds.push(json!(format!("{}:{SOCKET}", socket.display())));
    }
    let host = body.get_mut("HostConfig").and_then(Value::as_object_mut)?;
    match host.get_mut("Binds") {
        Some(Value::Array(own)) => own.extend(binds),
        _ => drop(host.insert("Binds".to_owned(), binds.into())),
    }
    if !own_host {
        let place = if covered {
            format!("{FOLDER}/docker.sock")
        } else {
            SOCKET.to_owned()
        };
        name_host(body, &place);
    }
    (!covered).then(|| Archive::link(&SOCKET[1..], &format!("{FOLDER}/docker.sock")))
}

/// Whether a link at the usual place can't be made, or would not be seen.
fn is_covered(body: &Value) -> bool {
    let host = &body["HostConfig"];
    let keys = |value: &Value| -> Vec<String> {
        let keys = value.as_object().into_iter().flatten();
        keys.map(|(key, _)| key.clone()).collect()
    };
    let mut places = [keys(&host["Tmpfs"]), keys(&body["Volumes"])].concat();
    let binds = host["Binds"].as_array().into_iter().flatten();
    let binds = binds.filter_map(|bind| bind.as_str()?.split(':').nth(1).map(str::to_owned));
    places.extend(binds);
    let mounts = host["Mounts"].as_array().into_iter().flatten();
    places.extend(mounts.filter_map(|mount| mount["Target"].as_str().map(str::to_owned)));
    host["ReadonlyRootfs"] == json!(true)
        || places
            .iter()
            .any(|place| COVERED.contains(&place.as_str()) || place == "/run/docker.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spawn(may_start: &[&str], networks: &[&str], ports: &[PortRange], depth: u32) -> Spawn {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Spawn {
            may_start: owned(may_start),
            networks: owned(networks),
            volumes: owned(networks),
            ports: ports.to_vec(),
            depth,
            ..Spawn::default()
        }
    }

    #[test]
    fn what_a_started_function_grants_is_what_both_grant() {
        let range = |first, last| PortRange { first, last };
        let some = [range(0, 0), range(8000, 8010)];
        let parent = spawn(&["tool", "debian:*"], &["a", "b"], &some, 2);
        let own = spawn(
            &["debian:12", "tool", "alpine"],
            &["b", "c"],
            &[range(8005, 9000)],
            5,
        );
        let both = common(&parent, &own);
        assert_eq!(both.may_start, ["debian:12", "tool"]);
        assert_eq!(
            (both.networks, both.volumes),
            (vec!["b".to_owned()], vec!["b".to_owned()])
        );
        assert_eq!(both.ports, [range(8005, 8010)]);
        assert_eq!(both.depth, 2);
        assert_eq!(both.max, parent.max);
    }

    #[test]
    fn a_link_is_made_only_where_it_is_seen() {
        for (body, covered) in [
            (json!({ "HostConfig": {} }), false),
            (json!({ "HostConfig": { "ReadonlyRootfs": true } }), true),
            (json!({ "HostConfig": { "Tmpfs": { "/run": "" } } }), true),
            (json!({ "HostConfig": { "Tmpfs": { "/tmp": "" } } }), false),
            (json!({ "HostConfig": { "Binds": ["v:/var:ro"] } }), true),
            (
                json!({ "HostConfig": { "Mounts": [{ "Target": "/var/run" }] } }),
                true,
            ),
            (json!({ "HostConfig": {}, "Volumes": { "/run": {} } }), true),
        ] {
            assert_eq!(is_covered(&body), covered, "{body}");
        }
    }
}
