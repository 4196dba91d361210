//! An instance gets what `docker start` of its template would give it.

use serde_json::Value;
use skep_engine::Engine;

use crate::common::{self, Bench};

fn inspect(bench: &Bench, container: &str) -> Value {
    let printed: Value = serde_json::from_str(&bench.docker.run(&["inspect", container])).unwrap();
    printed[0].clone()
}

#[tokio::test]
async fn everything_that_a_template_asks_for_arrives() {
    let bench = Bench::new("parity").await;
    let network = bench.docker.network("a", &[]);
    let volume = format!("{}-shared", bench.docker.namespace());
    bench.docker.run(&[
        "volume",
        "create",
        "--label",
        &format!("skep.namespace={}", bench.docker.namespace()),
        &volume,
    ]);
    let shared = format!("{volume}:/shared:ro");
    #[rustfmt::skip]
    let options = [
        "--label", "skep.handler=exec", "--label", "com.docker.compose.project=x", "--label", "own=label",
        "--network", &network, "--network-alias", "name", "-e", "A=1", "-e", "EMPTY=", "-u", "12:34", "-w", "/tmp",
        "--hostname", "chosen", "--domainname", "example", "--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE",
        "--security-opt", "no-new-privileges", "--memory", "64m", "--cpus", "0.5", "--pids-limit", "77",
        "--ulimit", "nofile=100:200", "--sysctl", "net.core.somaxconn=99", "--read-only", "--tmpfs", "/scratch:size=1m",
        "-v", &shared, "-v", "/anonymous", "--mount", "type=volume,dst=/other", "--dns", "9.9.9.9", "--dns-search", "s",
        "--add-host", "there:10.1.2.3", "--init", "--stop-signal", "SIGINT", "--stop-timeout", "3", "--shm-size", "32m",
        "--log-opt", "max-size=1m", "--device", "/dev/null:/dev/own", "--device-cgroup-rule", "c 1:3 r",
        "--group-add", "7", "--oom-score-adj", "5", "--health-cmd", "true", "--restart", "always", "--ipc", "private",
        "--entrypoint", "/probe", "--cpu-shares", "9", "--expose", "99",
    ];
    let function = bench.function(&options, &["sleep", "100"]);
    let launched = bench.launch(&function).await.unwrap();
    let template: Value = serde_json::from_str(&function.template.inspect).unwrap();
    let instance = inspect(&bench, &launched.instance.locator());

    let changed = ["/AutoRemove", "/RestartPolicy"];
    compare(&template["HostConfig"], &instance["HostConfig"], "", &changed);
    let changed = [
        "/AttachStdin",
        "/OpenStdin",
        "/StdinOnce",
        "/Labels",
        "/Env",
        "/Image",
    ];
    compare(&template["Config"], &instance["Config"], "", &changed);
    assert_eq!(instance["Image"], template["Image"]);
    let mut variables: Vec<&str> = instance["Config"]["Env"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    variables.retain(|variable| !variable.starts_with("SKEP_URL="));
    // Docker itself keeps them in no fixed order.
    for own in ["A=1", "EMPTY="] {
        assert!(variables.contains(&own), "{variables:?}");
    }
    assert!(variables.contains(&"SKEP_FUNCTION=probe"), "{variables:?}");

    let labels = instance["Config"]["Labels"].as_object().unwrap();
    let mut keys: Vec<&str> = labels.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "own",
            "skep.instance",
            "skep.instance-of",
            "skep.namespace",
            "skep.owner"
        ]
    );
    let attached = &instance["NetworkSettings"]["Networks"][&network];
    assert!(
        attached["Aliases"]
            .as_array()
            .is_none_or(|names| !names.iter().any(|name| name == "name")),
        "{attached}"
    );
    launched.instance.remove().await;
}

/// Every field of the template's stands in the instance's, but for those that Skep changes.
fn compare(template: &Value, instance: &Value, path: &str, changed: &[&str]) {
    if changed.contains(&path) {
        return;
    }
    match (template, instance) {
        (Value::Object(template), Value::Object(instance)) => {
            for (key, value) in template {
                let below = format!("{path}/{key}");
                compare(value, instance.get(key).unwrap_or(&Value::Null), &below, changed);
            }
        }
        _ => assert_eq!(instance, template, "{path}"),
    }
}

#[tokio::test]
async fn the_host_name_is_its_own_unless_the_template_has_one() {
    let bench = Bench::new("hostname").await;
    let launched = bench.exec(&["hostname"]).await;
    let own = format!("{}\n", launched.instance.locator());
    assert_eq!(String::from_utf8(common::finish(launched).await.0).unwrap(), own);
    let launched = bench
        .exec_with(&["--network", "none", "--hostname", "chosen"], &["hostname"])
        .await;
    assert_eq!(common::finish(launched).await.0, b"chosen\n");
}

#[tokio::test]
async fn anonymous_volumes_are_fresh_and_go_with_the_instance_and_named_ones_stay() {
    let bench = Bench::new("volumes").await;
    let volume = format!("{}-kept", bench.docker.namespace());
    bench.docker.run(&[
        "volume",
        "create",
        "--label",
        &format!("skep.namespace={}", bench.docker.namespace()),
        &volume,
    ]);
    let kept = format!("{volume}:/kept");
    let options = [
        "--network",
        "none",
        "--label",
        "skep.handler=exec",
        "-v",
        "/fresh",
        "-v",
        &kept,
    ];
    let write = bench.function(&options, &["write", "/fresh/file", "once"]);
    let launched = bench.launch(&write).await.unwrap();
    let mounts = inspect(&bench, &launched.instance.locator())["Mounts"].clone();
    let anonymous = mounts
        .as_array()
        .unwrap()
        .iter()
        .find(|mount| mount["Destination"] == "/fresh")
        .unwrap();
    let anonymous = anonymous["Name"].as_str().unwrap().to_owned();
    assert_eq!(common::finish(launched).await.2.code, 0);
    assert!(
        bench.docker.try_run(&["volume", "inspect", &anonymous]).is_err(),
        "the anonymous volume is still there"
    );

    let list = bench.function(&options, &["ls", "/fresh"]);
    assert_eq!(common::finish(bench.launch(&list).await.unwrap()).await.0, b"");
    let write = bench.function(&options, &["write", "/kept/file", "kept"]);
    common::finish(bench.launch(&write).await.unwrap()).await;
    let read = bench.function(&options, &["read", "/kept/file"]);
    assert_eq!(
        common::finish(bench.launch(&read).await.unwrap()).await.0,
        b"kept"
    );
}

#[tokio::test]
async fn given_variables_go_over_the_templates_own() {
    let bench = Bench::new("env").await;
    let options = [
        "--network",
        "none",
        "--label",
        "skep.handler=exec",
        "-e",
        "A=template",
        "-e",
        "B=template",
    ];
    let mut request = common::request(&bench.function(&options, &["env"]));
    request.environment.push(("A".to_owned(), "given".to_owned()));
    let (stdout, _, _) = common::finish(bench.engine.launch(request).await.unwrap()).await;
    let stdout = String::from_utf8(stdout).unwrap();
    assert!(
        stdout.contains("A=given\nB=template\n") && stdout.contains("SKEP_FUNCTION=probe\n"),
        "{stdout}"
    );
    assert!(!stdout.contains("PORT="), "{stdout}");
}

#[tokio::test]
async fn an_entrypoint_that_the_template_emptied_stays_empty() {
    let bench = Bench::new("entrypoint").await;
    let options = [
        "--network",
        "none",
        "--label",
        "skep.handler=exec",
        "--entrypoint",
        "",
    ];
    let launched = bench
        .launch(&bench.function(&options, &["/probe", "echo", "bare"]))
        .await
        .unwrap();
    assert_eq!(common::finish(launched).await.0, b"bare\n");
}

#[tokio::test]
async fn a_mac_address_that_several_instances_would_share_is_refused_with_the_reason() {
    let bench = Bench::new("mac").await;
    let function = bench.function(&[], &["http"]);
    let mut with = (*function).clone();
    let mut template = (*with.template).clone();
    let mut inspect: Value = serde_json::from_str(&template.inspect).unwrap();
    inspect["Config"]["MacAddress"] = "02:42:ac:11:00:99".into();
    template.inspect = inspect.to_string().into();
    with.template = template.into();
    let reasons = bench.engine.unsupported(&with);
    assert!(
        reasons.len() == 1 && reasons[0].contains("skep.max=1"),
        "{reasons:?}"
    );
    assert_eq!(bench.engine.unsupported(&function), Vec::<String>::new());
}
