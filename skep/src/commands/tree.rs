//! `skep tree`: which invocation started which, in which instance, and what that started through its Docker socket.

mod lines;
mod picture;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use skep_control::api;
use skep_model::Status;

use crate::cli;
use crate::client::Client;
use crate::commands::ago;
use crate::exit::{Exit, Outcome};
use crate::printer::{Printer, Tone};

/// How many of the last invocations are looked at.
const INVOCATIONS: u32 = 200;
/// How often a followed tree is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// One thing in the tree, with what it started below it.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Branch {
    kind: &'static str,
    id: String,
    name: String,
    state: String,
    #[serde(skip)]
    tone: Tone,
    /// Where the time went, and what it cost.
    detail: String,
    below: Vec<Branch>,
}

/// What the control listener said at one moment.
struct Seen {
    invocations: Vec<api::Invocation>,
    instances: Vec<api::Instance>,
    children: Vec<api::Child>,
}

pub(crate) async fn run(printer: &Printer, options: cli::Tree) -> Outcome {
    let client = Client::new(&options.control)?;
    let mut picture = picture::Picture::default();
    // One for all looks: what comes while it looks is known when it waits again.
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let seen = look(&client).await?;
        let mut roots = roots(&seen);
        if let Some(function) = &options.function {
            roots.retain(|root| root.name == *function);
        }
        if !options.follow {
            if roots.is_empty() {
                printer.note("nothing runs, and nothing ran lately");
            }
            if options.json {
                printer.json(&roots)?;
            } else {
                printer.bytes(lines::drawn(printer, &roots).as_bytes())?;
            }
            return Ok(Exit::Success);
        }
        picture.follow(printer, &roots, options.json)?;
        tokio::select! {
            _ = &mut interrupted => return Ok(Exit::Success),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn look(client: &Client) -> Result<Seen, crate::exit::Failed> {
    let invocations: api::Invocations = client
        .get(&format!("/v1/invocations?limit={INVOCATIONS}"))
        .await?;
    let instances: api::Instances = client.get("/v1/instances").await?;
    let children: api::Children = client.get("/v1/children").await?;
    Ok(Seen {
        invocations: invocations.invocations,
        instances: instances.instances,
        children: children.children,
    })
}

/// What nobody in the tree started: instances that run, and invocations with everything below them. Of what has
/// ended only that which started something is shown.
fn roots(seen: &Seen) -> Vec<Branch> {
    let mut below: HashMap<&str, Vec<&api::Child>> = HashMap::new();
    for child in &seen.children {
        // The child of an instance that serves one invocation stands below that.
        let parent = match &child.invocation {
            Some(invocation) if child.generation == 1 => invocation,
            _ => &child.parent,
        };
        below.entry(parent).or_default().push(child);
    }
    let mut called: HashMap<&str, Vec<&api::Invocation>> = HashMap::new();
    let known: HashSet<&str> = seen
        .invocations
        .iter()
        .map(|invocation| invocation.id.as_str())
        .collect();
    for invocation in &seen.invocations {
        if let Some(parent) = invocation.parent.as_deref() {
            called.entry(parent).or_default().push(invocation);
        }
    }
    let mut roots: BTreeMap<(Timestamp, String), Branch> = BTreeMap::new();
    let mut drawn: HashSet<&str> = HashSet::new();
    for invocation in &seen.invocations {
        let id = invocation.id.as_str();
        let is_root = invocation
            .parent
            .as_deref()
            .is_none_or(|parent| !known.contains(parent));
        let ended = invocation.ended.is_some();
        let alone = !below.contains_key(id) && !called.contains_key(id);
        drawn.insert(id);
        if is_root && !(ended && alone) {
            let branch = of_invocation(invocation, &called, &below, 0);
            roots.insert((invocation.received, id.to_owned()), branch);
        }
    }
    for instance in &seen.instances {
        // Of what is being served there is no record yet.
        let serving = instance
            .invocations
            .iter()
            .filter(|id| !drawn.contains(id.as_str()));
        let mut branch = of_instance(instance);
        branch.below.extend(serving.map(|id| Branch {
            kind: "invocation",
            id: id.clone(),
            name: instance.function.clone(),
            state: "running".to_owned(),
            tone: Tone::Good,
            detail: String::new(),
            below: children_of(id, &below, 0),
        }));
        branch.below.extend(children_of(&instance.id, &below, 0));
        // What it serves is drawn already, and says all there is to say.
        if branch.below.is_empty() && !instance.invocations.is_empty() {
            continue;
        }
        roots.insert((instance.started, instance.id.clone()), branch);
    }
    // Whose invocation is no longer known: children that outlived it.
    let shown: HashSet<&str> = seen
        .instances
        .iter()
        .flat_map(|instance| {
            instance
                .invocations
                .iter()
                .map(String::as_str)
                .chain([instance.id.as_str()])
        })
        .chain(drawn)
        .chain(seen.children.iter().map(|child| child.id.as_str()))
        .collect();
    for (parent, children) in below.iter().filter(|(parent, _)| !shown.contains(*parent)) {
        let function = children
            .first()
            .map(|child| child.function.clone())
            .unwrap_or_default();
        let created = children.first().map(|child| child.created).unwrap_or_default();
        let branch = Branch {
            kind: "gone",
            id: (*parent).to_owned(),
            name: function,
            state: "ended".to_owned(),
            tone: Tone::Attention,
            detail: String::new(),
            below: children_of(parent, &below, 0),
        };
        roots.insert((created, (*parent).to_owned()), branch);
    }
    roots.into_values().collect()
}

fn of_invocation(
    invocation: &api::Invocation,
    called: &HashMap<&str, Vec<&api::Invocation>>,
    below: &HashMap<&str, Vec<&api::Child>>,
    depth: usize,
) -> Branch {
    let mut under = children_of(&invocation.id, below, depth);
    // The bound is for a record that names itself.
    if depth < 32 {
        let calls = called.get(invocation.id.as_str()).into_iter().flatten();
        under.extend(calls.map(|call| of_invocation(call, called, below, depth + 1)));
    }
    let (state, tone) = match invocation.status {
        Status::Queued => ("queued", Tone::Attention),
        Status::Running => ("running", Tone::Good),
        Status::Succeeded => ("succeeded", Tone::Good),
        Status::Failed => ("failed", Tone::Bad),
    };
    let took = invocation
        .started
        .zip(invocation.ended)
        .map(|(start, end)| lasted(start, end));
    Branch {
        kind: "invocation",
        id: invocation.id.clone(),
        name: invocation.function.clone(),
        state: state.to_owned(),
        tone,
        detail: [
            Some(format!("{} ago", ago(invocation.received))),
            took.map(|took| format!("took {took}")),
            on(&invocation.node),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", "),
        below: under,
    }
}

fn of_instance(instance: &api::Instance) -> Branch {
    let state = serde_json::to_value(instance.state).ok();
    let state = state
        .and_then(|state| state.as_str().map(str::to_owned))
        .unwrap_or_default();
    Branch {
        kind: "instance",
        id: instance.id.clone(),
        name: instance.function.clone(),
        tone: Tone::Good,
        state,
        detail: [
            Some(instance.engine.clone()),
            Some(format!("{} old", ago(instance.started))),
            Some(format!("served {}", instance.served)),
            on(&instance.node),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", "),
        below: Vec::new(),
    }
}

fn children_of(parent: &str, below: &HashMap<&str, Vec<&api::Child>>, depth: usize) -> Vec<Branch> {
    let children = below.get(parent).into_iter().flatten();
    if depth >= 32 {
        return Vec::new();
    }
    let branch = |child: &&api::Child| {
        let (state, tone) = match (child.state, child.exit_code) {
            (api::ChildState::Created, _) => ("created".to_owned(), Tone::Attention),
            (api::ChildState::Running, _) => ("running".to_owned(), Tone::Good),
            (_, Some(0)) => ("exited 0".to_owned(), Tone::Good),
            (_, Some(code)) => (format!("exited {code}"), Tone::Bad),
            (_, None) => ("removed".to_owned(), Tone::Attention),
        };
        let ran = child.started.map(|start| {
            let end = child.ended.unwrap_or_else(Timestamp::now);
            format!("ran {}", lasted(start, end))
        });
        let memory = (child.memory > 0).then(|| format!("{} MiB", child.memory >> 20));
        let details = [
            Some(format!("{} old", ago(child.created))),
            ran,
            memory,
            on(&child.node),
        ];
        Branch {
            kind: "container",
            id: child.id.clone(),
            name: format!("{} ({})", child.started_as, child.name),
            state,
            tone,
            detail: details.into_iter().flatten().collect::<Vec<_>>().join(", "),
            below: children_of(&child.id, below, depth + 1),
        }
    };
    children.map(branch).collect()
}

fn on(node: &Option<String>) -> Option<String> {
    node.as_ref().map(|node| format!("on {node}"))
}

/// A length of time as a person says it: `0.42s`, `12s`, `3m`.
fn lasted(start: Timestamp, end: Timestamp) -> String {
    let seconds = end.duration_since(start).as_secs_f64().max(0.0);
    match seconds {
        ..10.0 => format!("{seconds:.2}s"),
        10.0..120.0 => format!("{seconds:.0}s"),
        _ => format!("{:.0}m", seconds / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(id: &str, parent: &str, invocation: Option<&str>, generation: u32) -> api::Child {
        api::Child {
            id: id.to_owned(),
            name: id.to_owned(),
            function: "f".to_owned(),
            parent: parent.to_owned(),
            invocation: invocation.map(str::to_owned),
            generation,
            started_as: "image".to_owned(),
            state: api::ChildState::Running,
            exit_code: None,
            created: Timestamp::UNIX_EPOCH,
            started: None,
            ended: None,
            memory: 0,
            nano_cpus: 0,
            node: None,
        }
    }

    #[test]
    fn a_grandchild_stands_below_the_child_and_that_below_its_invocation() {
        let seen = Seen {
            invocations: Vec::new(),
            instances: vec![api::Instance {
                id: "instance".to_owned(),
                function: "f".to_owned(),
                revision: String::new(),
                engine: "docker".to_owned(),
                locator: None,
                state: api::InstanceState::Busy,
                started: Timestamp::UNIX_EPOCH,
                invocations: vec!["invocation".to_owned()],
                served: 1,
                node: None,
            }],
            children: vec![
                child("one", "instance", Some("invocation"), 1),
                child("two", "one", Some("invocation"), 2),
                child("left", "another-instance", Some("ended"), 1),
            ],
        };
        let roots = roots(&seen);
        let instance = roots.iter().find(|root| root.kind == "instance").unwrap();
        assert_eq!(instance.below[0].id, "invocation");
        assert_eq!(instance.below[0].below[0].id, "one");
        assert_eq!(instance.below[0].below[0].below[0].id, "two");
        assert!(
            roots
                .iter()
                .any(|root| root.kind == "gone" && root.below[0].id == "left")
        );
    }
}
