//! What `skep doctor` says of the lean engine on a node: a look that makes nothing.

use bollard::Docker;

use crate::host::Host;
use crate::layers::Source;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// What instances would be made with, in a few words each; empty where they can't be.
    pub means: Vec<String>,
    /// Why they can't be, as sentences.
    pub reasons: Vec<String>,
}

/// Looks at this node and its Docker.
pub async fn examine(docker: &Docker) -> Examination {
    match Host::probe(docker).await {
        Ok(host) => Examination {
            means: [host.cgroup.to_string(), module(&host)]
                .into_iter()
                .chain(layers(&host))
                .collect(),
            reasons: Vec::new(),
        },
        Err(reasons) => Examination {
            means: Vec::new(),
            reasons,
        },
    }
}

/// Said where it is not the usual way: it costs a disk's space and a first request's time.
fn layers(host: &Host) -> Option<String> {
    match &host.layers {
        Source::Overlay2 => None,
        Source::Hidden(driver) => Some(format!(
            "images flattened into Skep's data, each once, since Docker keeps them with {driver}"
        )),
    }
}

fn module(host: &Host) -> String {
    match &host.apparmor {
        Some(profile) => format!("AppArmor's profile {profile}"),
        None => "no AppArmor or SELinux, as Docker".to_owned(),
    }
}
