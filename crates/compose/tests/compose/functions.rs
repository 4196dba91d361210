use crate::harness::{file, notes, refusal, web};

const FUNCTION: &str = "labels: {skep.function: hello, skep.handler: exec}\n";

#[test]
fn the_label_makes_a_function_wherever_it_stands() {
    for lines in [
        "labels: {skep.function: hello}",
        "labels: ['skep.function=hello']",
        "deploy: {labels: {skep.function: hello}}",
        "deploy: {replicas: 0, labels: ['skep.function=hello']}",
    ] {
        let service = web(lines);
        assert_eq!(service.function.as_deref(), Some("hello"), "{lines}");
        assert_eq!(service.labels["skep.function"], "hello", "{lines}");
        assert_eq!(service.replicas, 1, "{lines}");
    }
    assert_eq!(web("labels: {other: x}").function, None);
}

#[test]
fn a_function_refuses_what_a_parked_template_cannot_have() {
    assert_eq!(
        refusal(&file(&format!(
            "{FUNCTION}ports: ['80']\nrestart: always\ncontainer_name: me\ntty: true"
        ))),
        "\
compose.yaml:5:5: services.web.ports: a function publishes no ports: Skep's listener passes its requests on
  hint: remove ports; the function answers at its route, /NAME unless skep.route says otherwise
compose.yaml:6:5: services.web.restart: a function is not kept running: each invocation gets a fresh container
  hint: remove restart
compose.yaml:7:5: services.web.container_name: a function's template changes its name with every deploy
  hint: remove container_name; the function is called by its label skep.function
compose.yaml:8:5: services.web.tty: a terminal would mangle what the exec handler reads and writes
  hint: remove tty"
    );
}

#[test]
fn harmless_keys_of_a_function_are_accepted_with_a_note() {
    let lines = format!(
        "{FUNCTION}restart: 'no'\nhealthcheck: {{test: 'true'}}\ndeploy: {{replicas: 3, placement: {{constraints: [x]}}, update_config: {{order: start-first}}}}"
    );
    assert_eq!(
        notes(&file(&lines)),
        [
            "compose.yaml:7:38: services.web.deploy.placement: Swarm only: it means nothing on one engine",
            "compose.yaml:7:73: services.web.deploy.update_config: Swarm only: it means nothing on one engine",
            "compose.yaml:6:5: services.web.healthcheck: an instance is ready when it accepts connections, or as skep.ready says; the health check has no part in it",
            "compose.yaml:7:5: services.web.deploy.replicas: one template is parked; Skep starts as many instances as are needed, up to skep.max",
        ]
    );
}

#[test]
fn one_label_with_two_values_is_a_contradiction() {
    let message = refusal(&file(
        "labels: {skep.function: hello, skep.max: '3'}\ndeploy: {labels: {skep.max: '4'}}",
    ));
    assert_eq!(
        message,
        "compose.yaml:5:5: services.web.deploy.labels: skep.max is \"3\" in labels and \"4\" in deploy.labels\n  hint: keep it in one of the two"
    );
}

#[test]
fn labels_that_skep_would_not_run_are_refused_with_their_place() {
    let message = refusal(&file(
        "labels: {skep.function: Not_A_Name, skep.maxx: '3', skep.timeout: soon}",
    ));
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines.len(), 3, "{message}");
    for (line, word) in lines.iter().zip(["Not_A_Name", "skep.maxx", "skep.timeout"]) {
        assert!(
            line.starts_with("compose.yaml:4:5: services.web.labels: "),
            "{message}"
        );
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn nobody_can_wait_for_a_function_to_be_healthy() {
    let message = refusal(
        "services:\n  web: {image: x, depends_on: {hello: {condition: service_healthy}}}\n  hello: {image: x, labels: {skep.function: hello}}\n",
    );
    assert_eq!(
        message,
        "compose.yaml:2:19: services.web.depends_on: hello is a function: it is never healthy, only ready when called\n  hint: depend on it without a condition: then it is parked first"
    );
}

#[test]
fn two_services_cannot_be_one_function() {
    let message = refusal(
        "services:\n  a: {image: x, labels: {skep.function: hello}}\n  b: {image: x, labels: {skep.function: hello}}\n",
    );
    assert_eq!(
        message,
        "compose.yaml:3:17: services.b.labels: a is the function hello already\n  hint: give each function a name of its own"
    );
}
