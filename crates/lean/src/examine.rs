//! What `skep doctor` says of the lean engine on a node: a look that makes nothing.

use bollard::Docker;

use crate::host::Host;

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
            means: vec![host.cgroup.to_string(), module(&host)],
            reasons: Vec::new(),
        },
        Err(reasons) => Examination {
            means: Vec::new(),
            reasons,
        },
    }
}

fn module(host: &Host) -> String {
    match &host.apparmor {
        Some(profile) => format!("AppArmor's profile {profile}"),
        None => "no AppArmor or SELinux, as Docker".to_owned(),
    }
}
