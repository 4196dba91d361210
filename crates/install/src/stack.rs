//! A stack file for those who deploy it themselves: the same network, services, keys and `pause`, as
//! `docker stack deploy` reads them.

use std::fmt::Write as _;

use serde_json::Value;
use skep_tls::Authority;
use skep_wire::{AGENT_NAME, GATEWAY_NAME, GATEWAYS_ALIAS, KEYS_FILE, NETWORK, PART, QUEUE_FILE, variable};

use crate::error::InstallError;
use crate::material::member;
use crate::nats;
use crate::options::{Gateways, Options, Publish, Queue};
use crate::spec::{
    AGENT_HEALTH, GATEWAY_HEALTH, GATEWAY_START, GATEWAY_VOLUME, HEALTH_INTERVAL, LISTEN_PORT, SOCKET,
    agent_arguments, agent_start, constraints, gateway_environment, grace_seconds, place, short_digest,
};

/// What is to be in one folder.
#[derive(Debug)]
pub struct Stack {
    /// The name of the stack file.
    pub file: String,
    /// Every file with what is in it; keys among them.
    pub files: Vec<(String, Vec<u8>)>,
}

/// The stack, with new keys.
///
/// # Errors
/// No keys can be made.
pub fn stack(options: &Options) -> Result<Stack, InstallError> {
    let authority = Authority::generate()?;
    let pause = skep_pause::program();
    let file = "skep.yaml".to_owned();
    let text = text(options, &format!("skep-pause-{}", short_digest(&pause)));
    let mut files = vec![
        (file.clone(), text.into_bytes()),
        ("gateway-keys.json".to_owned(), member(&authority, GATEWAY_NAME)?),
        ("agent-keys.json".to_owned(), member(&authority, AGENT_NAME)?),
        ("pause".to_owned(), pause),
    ];
    files.extend(nats::told(&options.queue).map(|queue| ("queue.json".to_owned(), queue)));
    Ok(Stack { files, file })
}

/// How a gateway is told of somebody else's queue: what stands with its secrets, and with all secrets. Servers of
/// Skep's own are kept to nodes, which a stack file can't know.
fn queue(options: &Options) -> (String, String) {
    if !matches!(options.queue, Queue::Elsewhere { .. }) {
        return Default::default();
    }
    let target = QUEUE_FILE.rsplit('/').next().unwrap_or_default();
    (
        format!("\n      - source: queue\n        target: {target}\n        mode: 0400"),
        format!("\n  queue:\n    file: queue.json\n    labels:\n      {PART}: nats"),
    )
}

/// A string as YAML takes it: JSON's is one. The `$` of a Compose file is doubled.
fn quoted(text: &str) -> String {
    Value::from(text.replace('$', "$$")).to_string()
}

fn list(indent: usize, entries: &[String]) -> String {
    let mut text = String::new();
    for entry in entries {
        let _ = writeln!(text, "{:indent$}- {}", "", quoted(entry));
    }
    text.truncate(text.trim_end().len());
    text
}

fn text(options: &Options, pause: &str) -> String {
    let mut environment = gateway_environment(options);
    environment.push(format!("{}={pause}", variable::PAUSE_CONFIG));
    let (queue, queue_secret) = queue(options);
    let keys = KEYS_FILE.rsplit('/').next().unwrap_or_default();
    let mode = match options.gateways {
        Gateways::All => "      mode: global".to_owned(),
        Gateways::Count(count) => format!("      mode: replicated\n      replicas: {count}"),
    };
    let max = match options.gateways {
        Gateways::All => "",
        Gateways::Count(_) => "        max_replicas_per_node: 1",
    };
    let (publish, order, endpoint) = match options.publish {
        Publish::Host => ("host", "stop-first", "      endpoint_mode: dnsrr"),
        Publish::Ingress => ("ingress", "start-first", ""),
    };
    format!(
        "\
# Skep on a Swarm, as `skep install` would put it there:
#   docker stack deploy -c skep.yaml skep
# and off it again:
#   docker stack rm skep
version: \"3.8\"

services:
  gateway:
    image: {image}
    command: [gateway]
    environment:
{environment}
    networks:
      skep:
        aliases: [{GATEWAYS_ALIAS}]
    ports:
      - target: {LISTEN_PORT}
        published: {port}
        protocol: tcp
        mode: {publish}
    volumes:
      - {SOCKET}:{SOCKET}
      - {GATEWAY_VOLUME}:/var/lib/skep
    secrets:
      - source: gateway-keys
        target: {keys}
        mode: 0400{queue}
    healthcheck:
      test: {gateway_health}
      interval: {interval}s
      timeout: {interval}s
      retries: 3
      start_period: {gateway_start}s
    stop_grace_period: {grace}s
    deploy:
{mode}
{endpoint}
      labels:
        {PART}: gateway
      placement:
{max}
        constraints:
{constraints}
      restart_policy:
        condition: any
        delay: 1s
      update_config:
        parallelism: 1
        order: {order}
        failure_action: rollback

  agent:
    image: {image}
    command:
{arguments}
    environment:
{place}
    volumes:
      - {SOCKET}:{SOCKET}
    secrets:
      - source: agent-keys
        target: {keys}
        mode: 0400
    healthcheck:
      test: {agent_health}
      interval: {interval}s
      timeout: {interval}s
      retries: 3
      start_period: {agent_start}s
    stop_grace_period: {grace}s
    deploy:
      mode: global
      endpoint_mode: dnsrr
      labels:
        {PART}: agent
      restart_policy:
        condition: any
        delay: 1s
      update_config:
        parallelism: 1
        # The old launcher then sees its successor, and leaves the agent to it.
        order: start-first
        failure_action: rollback

networks:
  skep:
    name: {NETWORK}
    driver: overlay
    attachable: true
    labels:
      {PART}: network

volumes:
  {GATEWAY_VOLUME}:
    name: {GATEWAY_VOLUME}

secrets:
  gateway-keys:
    file: gateway-keys.json
    labels:
      {PART}: keys
  agent-keys:
    file: agent-keys.json
    labels:
      {PART}: keys{queue_secret}

# A gateway mounts it into sandboxes.
configs:
  pause:
    name: {pause}
    file: pause
    labels:
      {PART}: pause
",
        image = quoted(&options.image),
        environment = list(6, &environment),
        port = options.port,
        gateway_health = Value::from(GATEWAY_HEALTH.to_vec()),
        agent_health = Value::from(AGENT_HEALTH.to_vec()),
        interval = HEALTH_INTERVAL.as_secs(),
        gateway_start = GATEWAY_START.as_secs(),
        agent_start = agent_start(options).as_secs(),
        grace = grace_seconds(options.drain),
        constraints = list(10, &constraints(options)),
        arguments = list(6, &agent_arguments(options)),
        place = list(6, &place()),
    )
}

#[cfg(test)]
mod tests {
    use super::stack;
    use crate::options::{Gateways, Options, Queue};

    #[test]
    fn a_queue_elsewhere_is_a_file_of_its_own_and_not_in_the_stack_file() {
        let options = Options {
            queue: Queue::Elsewhere {
                servers: vec!["tls://user:password@nats.example.com:4222".to_owned()],
                replicas: 3,
            },
            ..Options::default()
        };
        let stack = stack(&options).unwrap();
        let text = String::from_utf8(stack.files[0].1.clone()).unwrap();
        assert!(!text.contains("password"), "{text}");
        assert!(
            text.contains("\n      - source: queue\n        target: skep-queue\n"),
            "{text}"
        );
        assert!(text.contains("\n  queue:\n    file: queue.json\n"), "{text}");
        let (name, queue) = stack.files.last().unwrap();
        assert_eq!(name, "queue.json");
        let queue: skep_wire::Queue = serde_json::from_slice(queue).unwrap();
        assert_eq!(queue.replicas, 3);
    }

    #[test]
    fn keys_are_in_files_of_their_own_and_not_in_the_stack_file() {
        let options = Options {
            gateways: Gateways::Count(2),
            environment: vec!["SKEP_LOG=a$b".to_owned()],
            ..Options::default()
        };
        let stack = stack(&options).unwrap();
        let names: Vec<_> = stack.files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["skep.yaml", "gateway-keys.json", "agent-keys.json", "pause"]
        );
        let text = String::from_utf8(stack.files[0].1.clone()).unwrap();
        assert!(!text.contains("PRIVATE KEY"), "{text}");
        assert!(text.contains("replicas: 2"), "{text}");
        assert!(text.contains("max_replicas_per_node: 1"), "{text}");
        // A line that lost its indentation is a file that can't be read.
        assert!(text.contains("\n    networks:\n      skep:\n"), "{text}");
        assert!(text.contains("\n    volumes:\n"), "{text}");
        // Compose would take `$b` for a variable of its own.
        assert!(text.contains("\"SKEP_LOG=a$$b\""), "{text}");
        assert!(text.contains("\"SKEP_NODE={{.Node.ID}}\""), "{text}");
    }
}
