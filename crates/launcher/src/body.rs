//! The agent's container, as the engine is asked for it.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, HostConfigCgroupnsModeEnum, NetworkingConfig,
};
use sha2::{Digest, Sha256};
use skep_wire::{AGENTS_ALIAS, NETWORK, PART, variable};

/// The label with the digest of how an agent is run.
pub(crate) const DIGEST: &str = "skep.agent.digest";
/// The part that an agent's container is.
pub(crate) const AGENT: &str = "agent-container";

/// What an agent may beside Docker's default. The last is for functions whose user isn't root: the namespaces of a
/// sandbox are found through its process, which is such a user's (proc(5), ptrace(2)).
const CAPABILITIES: [&str; 3] = ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE"];

/// What a launcher was told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The id of its own Swarm task.
    pub task: String,
    /// The Swarm's id of this node.
    pub node: String,
    /// This node's name.
    pub node_name: String,
    /// The agent's keys, one line of JSON.
    pub keys: String,
    /// Variables of the agent's, `NAME=VALUE`.
    pub environment: Vec<String>,
    /// Where the agent keeps its data: the same path on the node and in its container.
    pub data: String,
    /// How long an agent may take to end what runs.
    pub drain: Duration,
}

/// What the launcher learns of its own container and its engine.
#[derive(Debug, Clone)]
pub(crate) struct Here {
    /// The id of the image that it runs itself: the agent's is the same.
    pub(crate) image: String,
    /// Where the engine's socket is on the node.
    pub(crate) socket: String,
    /// Where the engine keeps the layers of its images.
    pub(crate) docker_root: String,
    /// The id of the launcher's service.
    pub(crate) service: String,
    /// When its container was created, in seconds since 1970.
    pub(crate) created: i64,
}

/// The container and the digest of how it is run.
pub(crate) fn body(settings: &Settings, here: &Here) -> (ContainerCreateBody, String) {
    let mut environment = vec![
        format!("{}={}", variable::NODE, settings.node),
        format!("{}={}", variable::NODE_NAME, settings.node_name),
    ];
    environment.extend(settings.environment.iter().cloned());
    let same = |path: &str| format!("{path}:{path}");
    let host = HostConfig {
        pid_mode: Some("host".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::HOST),
        cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: Some(vec![
            "seccomp=unconfined".to_owned(),
            "apparmor=unconfined".to_owned(),
        ]),
        // What `--security-opt systempaths=unconfined` stands for.
        masked_paths: Some(Vec::new()),
        readonly_paths: Some(Vec::new()),
        binds: Some(vec![
            "/sys/fs/cgroup:/sys/fs/cgroup:rw".to_owned(),
            format!("{}:/var/run/docker.sock", here.socket),
            same(&here.docker_root),
            same(&settings.data),
        ]),
        network_mode: Some(NETWORK.to_owned()),
        // An engine that comes back must not have an agent that no service wants any more.
        auto_remove: Some(true),
        ..HostConfig::default()
    };
    let endpoint = EndpointSettings {
        aliases: Some(vec![AGENTS_ALIAS.to_owned()]),
        ..EndpointSettings::default()
    };
    let mut body = ContainerCreateBody {
        image: Some(here.image.clone()),
        cmd: Some(vec!["agent".to_owned()]),
        env: Some(environment),
        hostname: Some(settings.node_name.clone()),
        attach_stdin: Some(true),
        open_stdin: Some(true),
        stdin_once: Some(true),
        host_config: Some(host),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(NETWORK.to_owned(), endpoint)])),
        }),
        ..ContainerCreateBody::default()
    };
    let digest = digest(&body, settings);
    body.labels = Some(HashMap::from([
        (PART.to_owned(), AGENT.to_owned()),
        (DIGEST.to_owned(), digest.clone()),
    ]));
    (body, digest)
}

/// New keys are a new agent too.
fn digest(body: &ContainerCreateBody, settings: &Settings) -> String {
    let mut hash = Sha256::new();
    // Every map in it has one entry at most, so that it is written the same every time.
    hash.update(serde_json::to_vec(body).unwrap_or_default());
    hash.update(settings.keys.as_bytes());
    let hash = hash.finalize();
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Here, Settings, body};

    fn settings() -> Settings {
        Settings {
            task: "task".to_owned(),
            node: "node".to_owned(),
            node_name: "one".to_owned(),
            keys: "{}".to_owned(),
            environment: vec!["SKEP_NAMESPACE=default".to_owned()],
            data: "/var/lib/skep".to_owned(),
            drain: Duration::from_secs(600),
        }
    }

    fn here() -> Here {
        Here {
            image: "sha256:1".to_owned(),
            socket: "/run/docker.sock".to_owned(),
            docker_root: "/var/lib/docker".to_owned(),
            service: "service".to_owned(),
            created: 1,
        }
    }

    #[test]
    fn an_agent_is_not_privileged_and_its_keys_are_nowhere_in_its_definition() {
        let settings = Settings {
            keys: "secret".to_owned(),
            ..settings()
        };
        let (body, _) = body(&settings, &here());
        let text = serde_json::to_string(&body).unwrap();
        assert!(!text.contains("secret"), "{text}");
        let host = body.host_config.unwrap();
        assert_ne!(host.privileged, Some(true));
        assert_eq!(host.cap_add.unwrap(), ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE"]);
    }

    #[test]
    fn the_digest_changes_with_the_image_the_keys_and_the_variables_and_not_by_itself() {
        let digest = |settings: &Settings, here: &Here| body(settings, here).1;
        let first = digest(&settings(), &here());
        assert_eq!(first, digest(&settings(), &here()));
        // The task that asks is no part of it: otherwise no launcher could adopt another's agent.
        let other = Settings {
            task: "another".to_owned(),
            ..settings()
        };
        assert_eq!(first, digest(&other, &here()));
        let other = Here {
            image: "sha256:2".to_owned(),
            ..here()
        };
        assert_ne!(first, digest(&settings(), &other));
        let other = Settings {
            keys: "other".to_owned(),
            ..settings()
        };
        assert_ne!(first, digest(&other, &here()));
        let other = Settings {
            environment: Vec::new(),
            ..settings()
        };
        assert_ne!(first, digest(&other, &here()));
    }
}
