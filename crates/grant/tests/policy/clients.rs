//! Bodies as the clients write them.

use skep_grant::{Create, ExecCreate, ExecStart, Json, NetworkAsked};

use super::{spawn, through};

/// `docker run --rm debian:bookworm-slim echo hi`, as the CLI writes it (28.2): dozens of fields that say nothing.
const CLI: &str = include_str!("../corpus/create-docker-28.json");

#[test]
fn what_the_docker_command_sends_goes_through() {
    let body = through(CLI, &spawn()).unwrap();
    assert_eq!(body["Cmd"], serde_json::json!(["echo", "hi"]));
    assert_eq!(body["HostConfig"]["AutoRemove"], true);
    assert_eq!(body["HostConfig"]["NetworkMode"], "none");
}

#[test]
fn what_the_docker_command_asks_for_itself_goes_through() {
    // -m 64m --cpus 0.5 --tmpfs /x:size=1m --entrypoint sleep -u 1 --init --read-only --cap-drop ALL --health-cmd true
    let body = CLI
        .replace("\"Memory\":0", "\"Memory\":67108864")
        .replace("\"NanoCpus\":0", "\"NanoCpus\":500000000")
        .replace(
            "\"CapDrop\":null",
            "\"CapDrop\":[\"ALL\"],\"Tmpfs\":{\"/x\":\"size=1m\"},\"Init\":true",
        )
        .replace(
            "\"Entrypoint\":null",
            "\"Entrypoint\":[\"sleep\"],\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"true\"]}",
        );
    let body = through(&body, &spawn()).unwrap();
    assert_eq!(body["HostConfig"]["Memory"], 67_108_864);
    assert_eq!(body["HostConfig"]["Tmpfs"]["/x"], "size=1m");
    assert_eq!(body["HostConfig"]["Init"], true);
    assert_eq!(body["Healthcheck"]["Test"][1], "true");
}

#[test]
fn what_docker_py_sends_goes_through() {
    let body = include_str!("../corpus/create-docker-py.json");
    let body = through(body, &spawn()).unwrap();
    assert_eq!(body["Env"], serde_json::json!(["A=1"]));
    assert_eq!(body["Labels"]["x"], "y");
    let exec = include_str!("../corpus/exec-docker-py.json");
    ExecCreate::parse(Json::parse(exec.as_bytes()).unwrap()).unwrap();
    let keys = |fields: &str| {
        let exec = format!(r#"{{"Cmd":["sh"],{fields}}}"#);
        ExecCreate::parse(Json::parse(exec.as_bytes()).unwrap()).map(|exec| exec.body()["DetachKeys"].clone())
    };
    assert_eq!(keys(r#""detachKeys":"ctrl-p""#).unwrap(), "ctrl-p");
    assert_eq!(
        keys(r#""DetachKeys":"ctrl-p","detachKeys":"ctrl-q""#)
            .unwrap_err()
            .status,
        400
    );
}

#[test]
fn what_dockerode_sends_goes_through() {
    let body = include_str!("../corpus/create-dockerode.json");
    through(&body.replace(",\"VolumesFrom\":[]", ""), &spawn()).unwrap();
    through(body, &spawn()).unwrap();
    let named = through(r#"{"name":"web","Image":"debian:bookworm-slim"}"#, &spawn()).unwrap();
    assert!(named.get("name").is_none());
    ExecStart::parse(Json::parse(br#"{"hijack":true,"stdin":true}"#).unwrap()).unwrap();
}

#[test]
fn a_network_that_nobody_names_is_the_parents() {
    for body in [CLI, "{}", r#"{"HostConfig":null,"NetworkingConfig":null}"#] {
        let create = Create::parse(Json::parse(body.as_bytes()).unwrap(), &spawn()).unwrap();
        assert_eq!(create.network, NetworkAsked::Parents, "{body}");
    }
}

#[test]
fn a_function_takes_a_command_and_an_environment_over_its_template() {
    let create = |body: &str| Create::parse(Json::parse(body.as_bytes()).unwrap(), &spawn()).unwrap();
    create(CLI).over_template().unwrap();
    create(r#"{"Image":"f","Cmd":["a"],"Env":["A=1"],"Labels":{"a":"b"},"Tty":true}"#)
        .over_template()
        .unwrap();
    for body in [
        r#"{"User":"0"}"#,
        r#"{"Entrypoint":["sh"]}"#,
        r#"{"HostConfig":{"Memory":67108864}}"#,
        r#"{"HostConfig":{"Tmpfs":{"/x":""}}}"#,
        r#"{"HostConfig":{"NetworkMode":"none"}}"#,
    ] {
        assert_eq!(create(body).over_template().unwrap_err().status, 403, "{body}");
    }
}
