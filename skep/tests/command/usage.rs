//! What can be told without an engine or a running Skep.

use crate::{ran, skep};

/// A port on which nothing listens: one that was just given back.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn where_no_skep_answers_every_verb_says_so_with_its_own_exit_code() {
    for verb in [
        &["ls"][..],
        &["ps"],
        &["logs", "hello"],
        &["inspect", "hello"],
        &["invoke", "hello"],
    ] {
        let control = nobody();
        let said = ran(skep(verb).args(["--control", &control]));
        assert_eq!((said.exit, said.stdout.as_str()), (4, ""), "{verb:?}");
        let expected = format!(
            "error: no Skep can be reached at {control}: Connection refused (os error 111)\n\
             hint: start one with `skep serve`, or say where its control listener is: --control URL or SKEP_CONTROL\n"
        );
        assert_eq!(said.stderr, expected, "{verb:?}");
    }
}

#[test]
fn what_is_typed_wrong_is_usage() {
    for arguments in [
        &["sreve"][..],
        &["invoke"],
        &["serve", "--memory-budget", "much"],
        &["serve", "--drain-timeout", "soon"],
        &["serve", "--listen", "localhost"],
        &["invoke", "hello", "-H", "no colon"],
    ] {
        let said = ran(&mut skep(arguments));
        assert_eq!(
            (said.exit, said.stdout.as_str()),
            (2, ""),
            "{arguments:?}: {}",
            said.stderr
        );
        assert!(
            said.stderr.starts_with("error: "),
            "{arguments:?}: {}",
            said.stderr
        );
    }
}

#[test]
fn a_control_url_that_is_none_is_usage() {
    let said = ran(&mut skep(&["ls", "--control", "https://127.0.0.1:8081"]));
    assert_eq!(said.exit, 2);
    assert_eq!(
        said.stderr,
        "error: --control https://127.0.0.1:8081: Skep's control listener speaks no TLS\n\
         hint: it is the address that `skep serve` prints as `control on http://…`\n"
    );
}

#[test]
fn beyond_loopback_serve_does_not_start_without_a_token() {
    let said = ran(&mut skep(&["serve", "--control", "0.0.0.0:0"]));
    assert_eq!(said.exit, 2);
    assert_eq!(
        said.stderr,
        "error: the control listener's address 0.0.0.0:0 can be reached from elsewhere, and no token is set\n\
         hint: write a secret into a file and give it with --control-token-file, or listen on 127.0.0.1\n"
    );
}

#[test]
fn a_port_in_use_is_one_clear_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = ran(&mut skep(&[
        "serve",
        "--listen",
        &address,
        "--control",
        "127.0.0.1:0",
    ]));
    assert_eq!(said.exit, 1);
    assert_eq!(
        said.stderr,
        format!(
            "error: {address} can't be listened on: Address already in use (os error 98)\n\
             hint: something else has the port (ss -ltnp tells what); stop it, or choose another with --listen\n"
        )
    );
}

#[test]
fn without_an_engine_serve_says_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    let mut serve = skep(&["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"]);
    serve
        .args(["--docker-host", "unix:///nowhere/docker.sock", "--data-dir"])
        .arg(data.path());
    let said = ran(&mut serve);
    assert_eq!(said.exit, 4);
    assert_eq!(
        said.stderr,
        "error: no Docker engine listens at unix:///nowhere/docker.sock; start Docker (systemctl start docker), or \
         set DOCKER_HOST\nhint: `skep doctor` looks at everything that Skep needs\n"
    );
}

#[test]
fn a_compose_file_with_a_key_that_is_not_understood_is_refused_before_the_engine_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("compose.yaml"),
        "services:\n  web:\n    image: x\n    scael: 2\n",
    )
    .unwrap();
    let mut deploy = skep(&["deploy", "--docker-host", "unix:///nowhere/docker.sock"]);
    let said = ran(deploy.current_dir(folder.path()));
    assert_eq!((said.exit, said.stdout.as_str()), (1, ""));
    assert!(
        said.stderr.contains("compose.yaml:4:") && said.stderr.contains("scael"),
        "{}",
        said.stderr
    );
}

#[test]
fn the_doctor_without_an_engine_fails_and_goes_on_with_the_rest() {
    let mut doctor = skep(&["doctor", "--json", "--docker-host", "unix:///nowhere/docker.sock"]);
    let said = ran(doctor.args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"]));
    assert_eq!(said.exit, 1, "{}", said.stderr);
    let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(
        (findings[0]["check"].as_str(), findings[0]["level"].as_str()),
        (Some("engine"), Some("fail"))
    );
    assert!(
        findings.iter().any(|finding| finding["check"] == "kernel"),
        "{report}"
    );
}

#[test]
fn help_is_there_however_it_is_asked_for() {
    for arguments in [&["help", "rm"][..], &["rm", "--help"], &["rm", "-h"]] {
        let said = ran(&mut skep(arguments));
        assert_eq!(said.exit, 0, "{arguments:?}");
        assert!(
            said.stdout.contains("--namespace <NAME>"),
            "{arguments:?}: {}",
            said.stdout
        );
    }
}
