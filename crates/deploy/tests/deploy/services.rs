use crate::harness::{Sandbox, docker, states};
use skep_deploy::Event;

const SLEEPER: &str = "
services:
  web:
    image: debian:bookworm-slim
    command: sleep infinity
    stop_grace_period: 0s
    init: true
";

#[tokio::test]
async fn a_service_runs_under_composes_names_and_labels() {
    let sandbox = Sandbox::new("labels").await;
    sandbox.up(SLEEPER).await;
    let container = format!("{}-web-1", sandbox.name);
    assert_eq!(sandbox.containers(), states(&[("web-1", "running")]));
    let label = |name: &str| sandbox.inspect(&container, &format!("{{{{index .Config.Labels \"{name}\"}}}}"));
    assert_eq!(label("com.docker.compose.service"), "web");
    assert_eq!(label("com.docker.compose.container-number"), "1");
    assert_eq!(label("com.docker.compose.oneoff"), "False");
    assert_eq!(label("com.docker.compose.config-hash").len(), 64);
    assert!(label("com.docker.compose.image").starts_with("sha256:"));
    assert_eq!(
        label("com.docker.compose.project.working_dir"),
        sandbox.path().to_string_lossy()
    );
    assert_eq!(
        label("com.docker.compose.project.config_files"),
        sandbox.path().join("compose.yaml").to_string_lossy()
    );
    assert_eq!(label("skep.namespace"), "default");
    assert_eq!(label("skep.service"), "web");
    let network = format!("{}_default", sandbox.name);
    let labels = docker(&["network", "inspect", "--format", "{{json .Labels}}", &network]);
    assert!(
        labels.contains("\"com.docker.compose.network\":\"default\""),
        "{labels}"
    );
}

#[tokio::test]
async fn skep_url_names_the_gateway_of_the_first_network() {
    let sandbox = Sandbox::new("url").await;
    sandbox.up(SLEEPER).await;
    let network = format!("{}_default", sandbox.name);
    let gateway = docker(&[
        "network",
        "inspect",
        "--format",
        "{{(index .IPAM.Config 0).Gateway}}",
        &network,
    ]);
    let environment = sandbox.inspect(&format!("{}-web-1", sandbox.name), "{{json .Config.Env}}");
    assert!(
        environment.contains(&format!("\"SKEP_URL=http://{gateway}:8082\"")),
        "{environment}"
    );
}

#[tokio::test]
async fn a_second_deploy_of_the_same_file_touches_nothing() {
    let sandbox = Sandbox::new("again").await;
    let first = sandbox.up(SLEEPER).await;
    sandbox.progress.events();
    let second = sandbox.up(SLEEPER).await;
    assert_eq!(first.containers, second.containers);
    assert!(second.changed.is_empty());
    let name = format!("{}-web-1", sandbox.name);
    assert_eq!(sandbox.progress.events(), [Event::Unchanged { name }]);
}

#[tokio::test]
async fn only_the_service_that_changed_is_replaced() {
    let sandbox = Sandbox::new("one").await;
    let two = format!(
        "{SLEEPER}  other:\n    image: debian:bookworm-slim\n    command: sleep infinity\n    init: true\n    environment: {{COLOUR: red}}\n"
    );
    let first = sandbox.up(&two).await;
    let second = sandbox.up(&two.replace("red", "blue")).await;
    assert_eq!(second.changed, ["other"]);
    assert_eq!(first.containers["web"], second.containers["web"]);
    assert_ne!(first.containers["other"], second.containers["other"]);
    assert_eq!(
        sandbox.containers(),
        states(&[("other-1", "running"), ("web-1", "running")])
    );
}

#[tokio::test]
async fn anonymous_volumes_move_to_the_container_that_replaces_theirs() {
    let sandbox = Sandbox::new("anonymous").await;
    let file = format!("{SLEEPER}    volumes: [/data]\n    environment: {{COLOUR: red}}\n");
    sandbox.up(&file).await;
    let container = format!("{}-web-1", sandbox.name);
    docker(&["exec", &container, "touch", "/data/kept"]);
    sandbox.up(&file.replace("red", "blue")).await;
    assert_eq!(docker(&["exec", &container, "ls", "/data"]), "kept");
}

#[tokio::test]
async fn replicas_go_up_and_down() {
    let sandbox = Sandbox::new("replicas").await;
    let with = |count: u32| format!("{SLEEPER}    deploy: {{replicas: {count}}}\n");
    sandbox.up(&with(3)).await;
    assert_eq!(
        sandbox.containers(),
        states(&[("web-1", "running"), ("web-2", "running"), ("web-3", "running")])
    );
    let fewer = sandbox.up(&with(1)).await;
    assert!(fewer.changed.is_empty());
    assert_eq!(sandbox.containers(), states(&[("web-1", "running")]));
    sandbox.up(&with(0)).await;
    assert_eq!(sandbox.containers(), states(&[]));
}

#[tokio::test]
async fn dependents_wait_for_health_and_for_completion() {
    let sandbox = Sandbox::new("conditions").await;
    sandbox
        .up("
services:
  app:
    image: debian:bookworm-slim
    command: sleep infinity
    init: true
    depends_on:
      database: {condition: service_healthy}
      migration: {condition: service_completed_successfully}
  database:
    image: debian:bookworm-slim
    command: sh -c 'sleep 1; touch /ready; exec sleep infinity'
    init: true
    healthcheck: {test: test -e /ready, interval: 200ms, retries: 100}
  migration:
    image: debian:bookworm-slim
    command: sh -c 'touch /done'
")
        .await;
    let events = sandbox.progress.events();
    let started: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            Event::Started { name } => name.strip_prefix(&format!("{}-", sandbox.name)),
            _ => None,
        })
        .collect();
    assert_eq!(started.last(), Some(&"app-1"));
    let app = format!("{}-app-1", sandbox.name);
    assert_eq!(
        sandbox.inspect(&app, "{{index .Config.Labels \"com.docker.compose.depends_on\"}}"),
        "database:service_healthy:false,migration:service_completed_successfully:false"
    );
}

#[tokio::test]
async fn a_failed_dependency_is_named_and_others_come_up_all_the_same() {
    let sandbox = Sandbox::new("failed").await;
    let error = sandbox
        .try_up(&format!(
            "{SLEEPER}
  app:
    image: debian:bookworm-slim
    command: sleep infinity
    depends_on:
      migration: {{condition: service_completed_successfully}}
  migration:
    image: debian:bookworm-slim
    command: sh -c 'exit 3'
"
        ))
        .await
        .expect_err("the migration fails");
    assert_eq!(error.to_string(), "app waits for migration, which exited with 3");
    assert_eq!(
        sandbox.containers(),
        states(&[("migration-1", "exited"), ("web-1", "running")])
    );
}

#[tokio::test]
async fn every_setting_reaches_the_container() {
    let sandbox = Sandbox::new("settings").await;
    sandbox.write("token.txt", "s3cret");
    sandbox.write("nginx.conf", "conf");
    sandbox
        .up("
services:
  web:
    image: debian:bookworm-slim
    entrypoint: [sleep]
    command: infinity
    init: true
    user: '1000:1000'
    working_dir: /tmp
    hostname: bee
    environment: [A=1, B=two words]
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE]
    security_opt: ['no-new-privileges:true']
    read_only: true
    tmpfs: [/run, '/var/tmp:size=1m']
    extra_hosts: ['db.example:10.1.2.3']
    dns: 10.0.0.1
    ulimits: {nofile: {soft: 100, hard: 200}, nproc: 50}
    shm_size: 32m
    stop_signal: SIGINT
    stop_grace_period: 1500ms
    restart: on-failure:3
    logging: {driver: json-file, options: {max-size: 1m}}
    expose: [9000]
    deploy: {resources: {limits: {cpus: '0.5', memory: 64m, pids: 99}}}
    volumes: ['data:/data', './here:/here:ro']
    secrets: [token]
    configs: [{source: conf, target: /etc/x.conf}]
    networks: {back: {aliases: [hive]}, front: }
networks: {front: , back: {internal: true}}
volumes: {data: }
secrets: {token: {file: token.txt}}
configs: {conf: {file: ./nginx.conf}}
")
        .await;
    let container = format!("{}-web-1", sandbox.name);
    for (format, expected) in [
        (
            "{{.Config.User}} {{.Config.WorkingDir}} {{.Config.Hostname}}",
            "1000:1000 /tmp bee",
        ),
        (
            "{{.HostConfig.CapAdd}} {{.HostConfig.CapDrop}}",
            "[NET_BIND_SERVICE] [ALL]",
        ),
        (
            "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.SecurityOpt}}",
            "true [no-new-privileges:true]",
        ),
        (
            "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}",
            "500000000 67108864 99",
        ),
        (
            "{{.HostConfig.ShmSize}} {{.HostConfig.Dns}} {{.HostConfig.ExtraHosts}}",
            "33554432 [10.0.0.1] [db.example:10.1.2.3]",
        ),
        (
            "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}",
            "on-failure 3",
        ),
        ("{{.Config.StopSignal}} {{.Config.StopTimeout}}", "SIGINT 2"),
        (
            "{{.HostConfig.LogConfig.Type}} {{.HostConfig.LogConfig.Config}}",
            "json-file map[max-size:1m]",
        ),
        (
            "{{.HostConfig.Init}} {{json .Config.ExposedPorts}}",
            "true {\"9000/tcp\":{}}",
        ),
    ] {
        assert_eq!(sandbox.inspect(&container, format), expected, "{format}");
    }
    let networks = sandbox.inspect(&container, "{{json .NetworkSettings.Networks}}");
    assert!(
        networks.contains(&format!("{}_front", sandbox.name)),
        "{networks}"
    );
    assert!(networks.contains("\"hive\""), "{networks}");
    let inside = docker(&[
        "exec",
        &container,
        "sh",
        "-c",
        "cat /run/secrets/token /etc/x.conf; ls -d /data /here",
    ]);
    assert_eq!(inside, "s3cretconf/data\n/here");
    assert!(
        sandbox.path().join("here").is_dir(),
        "a missing directory is made"
    );
}

#[tokio::test]
async fn an_orphan_is_named_and_removed_only_on_request() {
    let mut sandbox = Sandbox::new("orphan").await;
    let two = format!(
        "{SLEEPER}  gone:\n    image: debian:bookworm-slim\n    command: sleep infinity\n    init: true\n"
    );
    sandbox.up(&two).await;
    sandbox.up(SLEEPER).await;
    assert!(
        sandbox
            .progress
            .has(|event| matches!(event, Event::Note { text } if text.contains("gone is not in the file")))
    );
    assert_eq!(sandbox.containers().len(), 2);
    sandbox.options.remove_orphans = true;
    sandbox.up(SLEEPER).await;
    assert_eq!(sandbox.containers(), states(&[("web-1", "running")]));
}

#[tokio::test]
async fn a_container_that_cannot_be_created_leaves_the_old_one_running() {
    let sandbox = Sandbox::new("keeps").await;
    let file = format!("{SLEEPER}    environment: {{A: '1'}}\n");
    let first = sandbox.up(&file).await;
    let broken = file.replace("A: '1'", "A: '2'") + "    cap_add: [NO_SUCH_CAPABILITY]\n";
    let error = sandbox.try_up(&broken).await.expect_err("no such capability");
    assert!(error.report().contains("create"), "{}", error.report());
    assert_eq!(sandbox.containers(), states(&[("web-1", "running")]));
    let again = sandbox.up(&file).await;
    assert_eq!(first.containers, again.containers);
}

#[tokio::test]
async fn a_missing_external_network_is_an_error_with_a_way_out() {
    let sandbox = Sandbox::new("external").await;
    let name = format!("{}-nowhere", sandbox.name);
    let error = sandbox
        .try_up(&format!(
            "{SLEEPER}    networks: [out]\nnetworks: {{out: {{external: true, name: {name}}}}}\n"
        ))
        .await
        .expect_err("it does not exist");
    assert!(error.to_string().contains("docker network create"), "{error}");
}

#[tokio::test]
async fn a_service_in_anothers_network_follows_it_when_it_is_replaced() {
    let sandbox = Sandbox::new("peer").await;
    let file = format!(
        "{SLEEPER}    environment: {{COLOUR: red}}
  side:
    image: debian:bookworm-slim
    command: sleep infinity
    init: true
    network_mode: service:web
  restarted:
    image: debian:bookworm-slim
    command: sleep infinity
    init: true
    stop_grace_period: 0s
    depends_on: {{web: {{condition: service_started, restart: true}}}}
"
    );
    let first = sandbox.up(&file).await;
    let mode = || sandbox.inspect(&format!("{}-side-1", sandbox.name), "{{.HostConfig.NetworkMode}}");
    assert_eq!(mode(), format!("container:{}", first.containers["web"][0]));
    let started = || sandbox.inspect(&format!("{}-restarted-1", sandbox.name), "{{.State.StartedAt}}");
    let before = started();
    let second = sandbox.up(&file.replace("red", "blue")).await;
    assert_eq!(second.changed, ["side", "web"]);
    assert_eq!(mode(), format!("container:{}", second.containers["web"][0]));
    assert_eq!(first.containers["restarted"], second.containers["restarted"]);
    assert_ne!(before, started());
}
