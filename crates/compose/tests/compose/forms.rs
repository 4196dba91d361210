//! Short and long forms mean the same.

use crate::harness::{file, project, web};
use skep_compose::{Condition, Mount, Probe, PullPolicy, Restart};
use std::path::Path;
use std::time::Duration;

#[test]
fn short_and_long_forms_mean_the_same() {
    for (short, long) in [
        ("environment: [A=1, B=]", "environment: {A: 1, B: ''}"),
        ("labels: [a=1, b]", "labels: {a: '1', b: }"),
        ("command: echo 'a b' c", "command: [echo, a b, c]"),
        ("entrypoint: /run.sh -x", "entrypoint: [/run.sh, -x]"),
        ("dns: 1.1.1.1", "dns: [1.1.1.1]"),
        ("tmpfs: /run", "tmpfs: [/run]"),
        ("extra_hosts: ['a:1.2.3.4']", "extra_hosts: {a: 1.2.3.4}"),
        ("extra_hosts: ['a=1.2.3.4']", "extra_hosts: {a: 1.2.3.4}"),
        ("ulimits: {nofile: 10}", "ulimits: {nofile: {soft: 10, hard: 10}}"),
        (
            "healthcheck: {test: exit 0}",
            "healthcheck: {test: [CMD-SHELL, exit 0]}",
        ),
        ("healthcheck: {disable: true}", "healthcheck: {test: [NONE]}"),
        (
            "mem_limit: 64m",
            "deploy: {resources: {limits: {memory: 67108864}}}",
        ),
        ("cpus: 0.5", "deploy: {resources: {limits: {cpus: '0.50'}}}"),
        ("pids_limit: 5", "deploy: {resources: {limits: {pids: 5}}}"),
        ("ports: ['8080:80']", "ports: [{target: 80, published: '8080'}]"),
        (
            "ports: ['127.0.0.1::80/udp']",
            "ports: [{target: 80, host_ip: 127.0.0.1, protocol: udp}]",
        ),
        (
            "ports: ['[::1]:8080:80']",
            "ports: [{target: 80, host_ip: '::1', published: 8080}]",
        ),
        ("ports: ['80-81:90-91']", "ports: ['80:90', '81:91']"),
        ("ports: ['80-81:90']", "ports: [{target: 90, published: 80-81}]"),
        ("expose: [80-81]", "expose: ['80/tcp', 81]"),
        ("networks: [default]", "networks: {default: }"),
        (
            "restart: on-failure:5",
            "deploy: {restart_policy: {condition: on-failure, max_attempts: 5}}",
        ),
        (
            "volumes: ['/a:/b:ro']",
            "volumes: [{type: bind, source: /a, target: /b, read_only: true}]",
        ),
        ("volumes: [/b]", "volumes: [{type: volume, target: /b}]"),
        ("stop_grace_period: 90s", "stop_grace_period: 1m30s"),
    ] {
        let (mut left, mut right) = (web(short), web(long));
        left.positions.clear();
        right.positions.clear();
        assert_eq!(left, right, "{short} and {long}");
    }
}

#[test]
fn dependencies_have_conditions() {
    let service = |lines: &str| {
        let text = format!("{}  db: {{image: x}}\n", file(lines));
        project(&text).services.remove("web").expect("web")
    };
    let short = service("depends_on: [db]");
    assert_eq!(short.depends_on["db"].condition, Condition::Started);
    let long = service("depends_on: {db: {condition: service_healthy, restart: true}}");
    assert_eq!(long.depends_on["db"].condition, Condition::Healthy);
    assert!(long.depends_on["db"].restart && long.depends_on["db"].required);
}

#[test]
fn paths_start_at_the_projects_directory_and_tilde_is_home() {
    let directory = crate::harness::directory(&[(
        "sub/compose.yaml",
        "services: {web: {image: x, build: ../app, volumes: ['./a/../b:/b', '~/c:/c', '..:/d']}}",
    )]);
    let mut options = crate::harness::options(directory.path());
    options.files = vec!["sub/compose.yaml".into()];
    options.environment.insert("HOME".into(), "/home/bee".into());
    let project = skep_compose::load(options).expect("it loads").project;
    let web = &project.services["web"];
    let sources: Vec<&Path> = web
        .mounts
        .iter()
        .filter_map(|mount| match mount {
            Mount::Bind { source, .. } => Some(source.as_path()),
            _ => None,
        })
        .collect();
    assert_eq!(
        sources,
        [
            directory.path().join("sub/b").as_path(),
            Path::new("/home/bee/c"),
            directory.path(),
        ]
    );
    let build = web.build.as_ref().expect("a build");
    assert_eq!(build.context, directory.path().join("app").to_string_lossy());
}

#[test]
fn every_listed_key_is_understood() {
    let text = "
version: '3.9'
name: everything
x-anything: {at: all}
services:
  web:
    image: nginx
    build:
      context: .
      dockerfile: Dockerfile
      args: [A, B=1]
      labels: {x: y}
      target: final
      tags: ['other:1']
      cache_from: ['nginx']
      no_cache: true
      pull: true
      network: host
      extra_hosts: ['a:1.2.3.4']
      shm_size: 1m
      platforms: [linux/amd64]
    pull_policy: build
    platform: linux/amd64
    healthcheck: {test: [CMD, 'true'], interval: 1s, timeout: 2s, retries: 3, start_period: 4s, start_interval: 5s}
    restart: unless-stopped
    logging: {driver: json-file, options: {max-size: 1m}}
    sysctls: {net.core.somaxconn: 1024}
    devices: ['/dev/null:/dev/x:r']
    init: true
    privileged: false
    read_only: true
    tty: true
    stdin_open: true
    hostname: a
    domainname: b
    user: 1000:1000
    working_dir: /x
    stop_signal: SIGINT
    shm_size: 1g
    group_add: [1, dialout]
    security_opt: ['no-new-privileges:true']
    cap_add: [A]
    cap_drop: [B]
    dns_search: a.b
    dns_opt: [ndots:1]
    annotations: {a: b}
    mem_reservation: 1m
    memswap_limit: -1
    cpu_shares: 10
    cpuset: 0-1
    oom_score_adj: 5
    scale: 2
    networks:
      back: {aliases: [a], ipv4_address: 10.1.2.3, priority: 5, driver_opts: {a: b}}
      front: {priority: 10}
    volumes:
      - {type: volume, source: data, target: /data, volume: {nocopy: true}}
      - {type: tmpfs, target: /tmp, tmpfs: {size: 1m, mode: 1777}}
      - {type: bind, source: /etc, target: /e, bind: {propagation: rslave, create_host_path: false}}
    profiles: []
    deploy: {mode: replicated, endpoint_mode: dnsrr, resources: {limits: {cpus: 1.5}, reservations: {memory: 1m}}}
networks:
  back: {driver: bridge, driver_opts: {a: b}, internal: true, attachable: true, enable_ipv6: false, labels: {a: b}, ipam: {driver: default, config: [{subnet: 10.1.0.0/16, gateway: 10.1.0.1}]}}
  front: {name: shared, external: true}
volumes:
  data: {driver: local, driver_opts: {type: none}, labels: [a=b]}
";
    let project = project(text);
    let web = &project.services["web"];
    assert_eq!(web.pull_policy, PullPolicy::Build);
    assert_eq!(web.restart, Restart::UnlessStopped);
    assert_eq!(web.replicas, 2);
    assert_eq!(web.limits.nano_cpus, Some(1_500_000_000));
    assert_eq!(web.limits.memory_reservation, Some(1 << 20));
    assert_eq!(web.limits.memory_swap, Some(-1));
    let health = web.healthcheck.as_ref().expect("a health check");
    assert_eq!(
        health.test,
        Some(Probe::Command(vec!["CMD".into(), "true".into()]))
    );
    assert_eq!(health.start_period, Some(Duration::from_secs(4)));
    let networks: Vec<&str> = web
        .networks
        .iter()
        .map(|network| network.network.as_str())
        .collect();
    assert_eq!(networks, ["front", "back"], "the highest priority first");
    assert_eq!(project.networks["front"].name, "shared");
    assert_eq!(project.networks["back"].name, "test_back");
    assert_eq!(project.volumes["data"].name, "test_data");
}

#[test]
fn anchors_and_merge_keys_are_applied() {
    let project = project(
        "
x-base: &base {image: base, user: root}
x-more: &more {user: bee, working_dir: /x}
services:
  one: {<<: *base, user: me}
  two: {<<: [*more, *base]}
  three:
    <<: *base
    environment: &env {A: '1'}
  four:
    image: x
    environment: {<<: *env, B: '2'}
",
    );
    let service = |name: &str| &project.services[name];
    assert_eq!(service("one").user.as_deref(), Some("me"));
    assert_eq!(service("two").user.as_deref(), Some("bee"));
    assert_eq!(service("two").image.as_deref(), Some("base"));
    assert_eq!(service("four").environment["A"], "1");
    assert_eq!(service("four").environment["B"], "2");
}

#[test]
fn scalars_keep_their_text() {
    let web = web("environment: {A: 010, B: yes, C: 1e3, D: 1.10, E: 0x10, F: '~', G: 12:30}");
    let values: Vec<&str> = web.environment.values().map(String::as_str).collect();
    assert_eq!(values, ["010", "yes", "1e3", "1.10", "0x10", "~", "12:30"]);
}
