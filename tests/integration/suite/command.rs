//! The verbs, from a shell.

use std::process::{Command, Output};

use skep_tests::{DEBIAN, Skep, binary, eventually, probe_image};

fn skep_command(skep: &Skep, arguments: &[&str]) -> Output {
    let control = format!("http://{}", skep.control.address);
    let mut command = Command::new(binary());
    command.args(arguments).args(["--control", &control]);
    command.output().expect("skep runs")
}

fn stdout(skep: &Skep, arguments: &[&str]) -> String {
    let output = skep_command(skep, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn what_is_deployed_and_what_ran_is_listed_shown_and_logged() {
    let skep = Skep::start("cmd-list").await;
    let probe = probe_image();
    skep.deploy(
        "hello",
        &["handler=exec"],
        &[],
        &[DEBIAN, "sh", "-c", "echo out; echo to the log >&2"],
    )
    .await;
    skep.park("broken", &["handler=nonsense"], &[], &[&probe, "cat"]);
    let answer = skep.public.get("/hello").await;
    let id = answer.header("skep-invocation").to_owned();
    skep.record(&id).await;

    let list = skep_command(&skep, &["ls"]);
    let (data, chatter) = (
        String::from_utf8(list.stdout).unwrap(),
        String::from_utf8(list.stderr).unwrap(),
    );
    assert!(data.contains("hello") && data.contains("broken"), "{data}");
    assert!(
        chatter.contains("skep.handler=nonsense"),
        "the reason is a remark: {chatter}"
    );
    let list: serde_json::Value = serde_json::from_str(&stdout(&skep, &["ls", "--json"])).unwrap();
    assert!(list.to_string().contains("hello"));
    stdout(&skep, &["ps"]);
    for what in [id.as_str(), "hello"] {
        // An instance's last words may come a moment after its end is known.
        let logs = eventually("the line to be logged", async || {
            let logs = stdout(&skep, &["logs", what]);
            logs.contains("to the log").then_some(logs)
        })
        .await;
        assert!(!logs.contains("out\n"), "{logs}");
        assert!(stdout(&skep, &["inspect", what]).contains("hello"));
    }
    assert_eq!(stdout(&skep, &["invoke", "hello"]), "out\n");
    let missing = skep_command(&skep, &["inspect", "nothing-of-that-name"]);
    assert!(!missing.status.success() && missing.stdout.is_empty() && !missing.stderr.is_empty());
    skep.finish().await;
}

#[tokio::test]
async fn logs_of_one_invocation_never_mix_with_anothers() {
    let skep = Skep::start("cmd-logs").await;
    let script = "read name; for n in 1 2 3 4 5; do echo $name $n >&2; sleep 0.05; done";
    skep.deploy("f", &["handler=exec"], &[], &[DEBIAN, "sh", "-c", script])
        .await;
    let answers =
        futures::future::join_all(["a", "b", "c"].map(|name| skep.public.post("/f", format!("{name}\n"))))
            .await;
    for (answer, name) in answers.iter().zip(["a", "b", "c"]) {
        let id = answer.header("skep-invocation");
        skep.record(id).await;
        let logs = stdout(&skep, &["logs", id]);
        let lines: Vec<&str> = logs.lines().collect();
        let wanted: Vec<String> = (1..=5).map(|n| format!("{name} {n}")).collect();
        assert_eq!(lines.len(), 5, "{logs}");
        assert!(
            lines
                .iter()
                .zip(&wanted)
                .all(|(line, wanted)| line.ends_with(wanted.as_str())),
            "{logs}"
        );
    }
    skep.finish().await;
}
