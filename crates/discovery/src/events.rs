//! The engine's events, reduced to those that can change what is deployed.

use std::collections::HashMap;

use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::EventsOptions;
use skep_model::label;

/// Something happened on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A container with the label `skep.function` was created, and not by Skep.
    Created(String),
    /// A container may have changed; that it is a template is not said.
    Changed(String),
    /// Something was put into a container with `docker cp`.
    Copied(String),
    /// A container is gone. `owned`: Skep itself had made it.
    Destroyed { id: String, owned: bool },
    /// A prune of containers is complete.
    ContainersPruned,
    /// The network with this name was removed.
    NetworkLost(String),
    /// A network with this name was made.
    NetworkGained(String),
    /// A prune of networks is complete.
    NetworksPruned,
    /// An image lost a tag or was deleted; its id where the engine says it.
    ImageLost(String),
    /// An image appeared or got a tag.
    ImageGained,
}

/// What to ask the engine for: the kinds of event that [`read`] knows, from `since` (`seconds.nanoseconds`).
pub(crate) fn options(since: &str) -> EventsOptions {
    let words = |list: &[&str]| {
        list.iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<String>>()
    };
    let filters = HashMap::from([
        ("type".to_owned(), words(&["container", "image", "network"])),
        (
            "event".to_owned(),
            words(&[
                "create",
                "destroy",
                "rename",
                "update",
                "start",
                "extract-to-dir",
                "prune",
                "connect",
                "disconnect",
                "delete",
                "untag",
                "tag",
                "pull",
                "load",
                "import",
            ]),
        ),
    ]);
    EventsOptions {
        since: Some(since.to_owned()),
        until: None,
        filters: Some(filters),
    }
}

/// Reads one event; `None` where it can't concern a template.
pub(crate) fn read(message: EventMessage) -> Option<Event> {
    let actor = message.actor.unwrap_or_default();
    let attributes = actor.attributes.unwrap_or_default();
    let id = actor.id.unwrap_or_default();
    let action = message.action.unwrap_or_default();
    match (message.typ?, action.as_str()) {
        (EventMessageTypeEnum::CONTAINER, "create") => {
            // A container's attributes contain its labels.
            let template = attributes.contains_key(label::FUNCTION) && !attributes.contains_key(label::OWNER);
            template.then_some(Event::Created(id))
        }
        (EventMessageTypeEnum::CONTAINER, "rename" | "update" | "start") => Some(Event::Changed(id)),
        (EventMessageTypeEnum::CONTAINER, "extract-to-dir") => {
            // Skep itself does so with every instance of a function that has copied files.
            (!attributes.contains_key(label::OWNER)).then_some(Event::Copied(id))
        }
        (EventMessageTypeEnum::CONTAINER, "destroy") => Some(Event::Destroyed {
            id,
            owned: attributes.contains_key(label::OWNER),
        }),
        (EventMessageTypeEnum::CONTAINER, "prune") => Some(Event::ContainersPruned),
        (EventMessageTypeEnum::NETWORK, "connect" | "disconnect") => attributes
            .get("container")
            .map(|container| Event::Changed(container.clone())),
        (EventMessageTypeEnum::NETWORK, "create") => name(&attributes).map(Event::NetworkGained),
        (EventMessageTypeEnum::NETWORK, "destroy") => name(&attributes).map(Event::NetworkLost),
        (EventMessageTypeEnum::NETWORK, "prune") => Some(Event::NetworksPruned),
        (EventMessageTypeEnum::IMAGE, "delete" | "untag") => Some(Event::ImageLost(id)),
        (EventMessageTypeEnum::IMAGE, "tag" | "pull" | "load" | "import") => Some(Event::ImageGained),
        _ => None,
    }
}

fn name(attributes: &HashMap<String, String>) -> Option<String> {
    attributes.get("name").cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::EventActor;

    fn message(typ: EventMessageTypeEnum, action: &str, attributes: &[(&str, &str)]) -> EventMessage {
        let attributes = attributes
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        EventMessage {
            typ: Some(typ),
            action: Some(action.to_owned()),
            actor: Some(EventActor {
                id: Some("id".to_owned()),
                attributes: Some(attributes),
            }),
            ..Default::default()
        }
    }

    #[test]
    fn only_a_template_counts_as_created() {
        let create =
            |labels: &[(&str, &str)]| read(message(EventMessageTypeEnum::CONTAINER, "create", labels));
        assert_eq!(
            create(&[("skep.function", "a")]),
            Some(Event::Created("id".to_owned()))
        );
        assert_eq!(create(&[("image", "debian")]), None);
        assert_eq!(create(&[("skep.function", "a"), ("skep.owner", "o")]), None);
    }

    #[test]
    fn a_network_event_names_the_container_it_changed() {
        let connect = message(EventMessageTypeEnum::NETWORK, "connect", &[("container", "c")]);
        assert_eq!(read(connect), Some(Event::Changed("c".to_owned())));
    }

    #[test]
    fn a_prune_is_told_from_the_removals_it_consists_of() {
        let destroy = message(EventMessageTypeEnum::CONTAINER, "destroy", &[]);
        assert_eq!(
            read(destroy),
            Some(Event::Destroyed {
                id: "id".to_owned(),
                owned: false
            })
        );
        let prune = message(EventMessageTypeEnum::CONTAINER, "prune", &[("reclaimed", "0")]);
        assert_eq!(read(prune), Some(Event::ContainersPruned));
    }
}
