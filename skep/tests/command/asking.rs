//! The verbs that ask a running Skep, against one that answers as told.

use serde_json::{Value, json};

use crate::fake::{Answer, Fake, json, problem};
use crate::{Ran, ran, skep};

const ID: &str = "01980a2e-0000-7000-8000-0123456789ab";

fn ask(arguments: &[&str], answers: Vec<Answer>) -> (Ran, Vec<String>) {
    let fake = Fake::answering(answers);
    let said = ran(skep(arguments).env("SKEP_CONTROL", &fake.url));
    (said, fake.asked())
}

fn functions() -> Value {
    json!({ "functions": [
        {
            "name": "broken", "state": "invalid", "reasons": ["skep.max=x: must be a whole number from 1 to 100000"],
            "template": "aaaaaaaaaaaa", "template_name": "broken-1", "revision": null, "handler": null, "routes": [],
            "engine": null, "fallback": [], "image": null, "created": null, "instances": 0, "running": 0, "queued": 0
        },
        {
            "name": "hello", "state": "ready", "reasons": [], "template": "bbbbbbbbbbbb", "template_name": "hello-1",
            "revision": "0123456789ab", "handler": "exec", "routes": ["/hello", "shop.example/hi"], "image": "debian",
            "engine": "docker", "fallback": ["skep.engine asks for it"], "created": null, "instances": 2, "running": 1, "queued": 3
        }
    ]})
}

/// A function with nothing wrong about it, in detail.
fn ready() -> Answer {
    json(json!({
        "name": "hello", "function": functions()["functions"][1], "settings": {}, "networks": [], "memory": null,
        "image_id": null, "invalid": []
    }))
}

fn invocation(status: &str, ending: Value) -> Value {
    json!({
        "id": ID, "function": "hello", "revision": "0123456789ab", "parent": null, "trigger": "request",
        "status": status, "method": "POST", "path": "/x?y", "received": "2026-01-31T12:00:00Z",
        "started": "2026-01-31T12:00:00.25Z", "ended": null, "instance": null,
        "phases": { "handler": 1.5, "queue": 0.0, "start": 240.25 }, "attempts": 1, "ending": ending
    })
}

fn log(text: &str, stream: &str) -> String {
    let line = json!({
        "time": "2026-01-31T12:00:00.123456Z", "function": "hello", "instance": ID, "invocation": ID,
        "stream": stream, "text": text,
    });
    format!("{line}\n")
}

fn lines(body: String) -> Answer {
    Answer {
        status: "200 OK",
        headers: "content-type: application/x-ndjson\r\n",
        body,
    }
}

#[test]
fn ls_prints_a_table_and_says_why_what_is_invalid() {
    let (said, asked) = ask(&["ls"], vec![json(functions())]);
    assert_eq!(said.exit, 0);
    assert_eq!(
        said.stdout,
        "FUNCTION  STATE    ROUTE                   HANDLER  ENGINE  IMAGE   REVISION      AGE  INSTANCES\n\
         broken    invalid\n\
         hello     ready    /hello,shop.example/hi  exec     docker  debian  0123456789ab       2\n"
    );
    assert_eq!(
        said.stderr,
        "broken (broken-1): skep.max=x: must be a whole number from 1 to 100000\n\
         why lean does not run a function: skep inspect hello\n"
    );
    assert!(asked[0].starts_with("GET /v1/functions HTTP/1.1\n"), "{asked:?}");
}

#[test]
fn nothing_to_show_is_said_and_leaves_the_data_empty() {
    let none = || json(json!({ "instances": [], "functions": [] }));
    let (said, _) = ask(&["ps"], vec![none(), none()]);
    assert_eq!(said.stdout.lines().count(), 1, "{}", said.stdout);
    assert_eq!(
        said.stderr,
        "nothing runs; an instance is made when something asks\n"
    );
    let (said, _) = ask(&["logs", "hello"], vec![lines(String::new()), ready()]);
    assert_eq!((said.exit, said.stdout.as_str()), (0, ""));
    assert!(said.stderr.starts_with("nothing was logged; "), "{}", said.stderr);
}

#[test]
fn ls_as_json_is_what_the_listener_said() {
    let (said, _) = ask(&["ls", "--json"], vec![json(functions())]);
    assert_eq!(serde_json::from_str::<Value>(&said.stdout).unwrap(), functions());
    assert_eq!(said.stderr, "");
}

#[test]
fn ps_shows_what_runs_and_who_waits() {
    let instances = json!({ "instances": [{
        "id": ID, "function": "hello", "revision": "0123456789ab", "engine": "docker", "locator": "cccccccccccc",
        "state": "busy", "started": jiff::Timestamp::now().to_string(), "invocations": [ID], "served": 1
    }]});
    let (said, _) = ask(&["ps"], vec![json(instances), json(functions())]);
    let stdout = said.stdout.replace(" 1s ", " 0s ");
    assert_eq!(
        stdout,
        format!(
            "INSTANCE                              FUNCTION  STATE  AGE  SERVED  ENGINE  LOCATOR       INVOCATIONS\n\
             {ID}  hello     busy   0s   1       docker  cccccccccccc  {ID}\n"
        )
    );
    assert_eq!(
        (said.exit, said.stderr.as_str()),
        (0, "3 wait for an instance of hello\n")
    );
}

#[test]
fn inspect_shows_the_phases_in_the_order_in_which_they_happen() {
    let ending = json!({
        "kind": "problem", "problem": "start-failed", "exit_code": null, "http_status": 502, "detail": "no such command"
    });
    let (said, _) = ask(&["inspect", ID], vec![json(invocation("failed", ending))]);
    assert_eq!(
        said.stdout,
        format!(
            "invocation   {ID}\nfunction     hello\nrevision     0123456789ab\nrequest      POST /x?y\n\
             status       failed\nreceived     2026-01-31T12:00:00Z\nstarted      2026-01-31T12:00:00.25Z\n\
             attempts     1\nqueue        0 ms\nstart        240.25 ms\nhandler      1.5 ms\nending       problem\n\
             problem      start-failed\nhttp status  502\ndetail       no such command\n"
        )
    );
}

#[test]
fn what_does_not_exist_has_an_exit_code_of_its_own() {
    let (said, _) = ask(
        &["inspect", "nobody"],
        vec![problem("404 Not Found", "not-found", "none")],
    );
    assert_eq!((said.exit, said.stdout.as_str()), (3, ""));
    assert_eq!(
        said.stderr,
        "error: no function is named \"nobody\"\n\
         hint: `skep ls` lists them; an invocation's or instance's id is given in full\n"
    );
    let (said, _) = ask(
        &["logs", "nobody"],
        vec![problem("404 Not Found", "not-found", "no such function")],
    );
    assert_eq!(
        (said.exit, said.stderr.as_str()),
        (3, "error: no such function\n")
    );
}

#[test]
fn logs_of_a_function_tell_its_invocations_apart() {
    let body = log("one", "stderr") + &log("killed", "skep");
    let (said, asked) = ask(
        &["logs", "hello", "-n", "2", "--since", "2026-01-31T12:00:00Z"],
        vec![lines(body), ready()],
    );
    assert_eq!(said.stdout, "0123456789ab | one\n0123456789ab | skep: killed\n");
    let target = "GET /v1/logs?function=hello&follow=false&tail=2&since=2026-01-31T12%3A00%3A00Z HTTP/1.1\n";
    assert!(asked[0].starts_with(target), "{asked:?}");
}

#[test]
fn logs_of_an_invalid_function_say_why_nothing_is_written() {
    let invalid = functions()["functions"][0].clone();
    let detail = |function: Value, invalid: Value| {
        json(json!({
            "name": "broken", "function": function, "settings": {}, "networks": [], "memory": null, "image_id": null,
            "invalid": [invalid]
        }))
    };
    let why = "broken is invalid and does not run:\n\
               broken (broken-1): skep.max=x: must be a whole number from 1 to 100000\n";
    let (said, asked) = ask(
        &["logs", "broken"],
        vec![lines(String::new()), detail(Value::Null, invalid.clone())],
    );
    assert_eq!(
        (said.exit, said.stdout.as_str(), said.stderr.as_str()),
        (0, "", why)
    );
    assert!(
        asked[1].starts_with("GET /v1/functions/broken HTTP/1.1\n"),
        "{asked:?}"
    );
    // What ran before it was replaced is shown as well.
    let (said, _) = ask(
        &["logs", "broken", "--follow", "--json"],
        vec![lines(log("one", "stderr")), detail(Value::Null, invalid.clone())],
    );
    assert_eq!((said.stdout.lines().count(), said.stderr.as_str()), (1, why));
    // An older template is in force.
    let (said, _) = ask(
        &["logs", "broken"],
        vec![
            lines(String::new()),
            detail(functions()["functions"][1].clone(), invalid),
        ],
    );
    assert!(said.stderr.starts_with("nothing was logged; "), "{}", said.stderr);
}

#[test]
fn rm_of_what_is_a_service_of_the_swarm_says_how_it_goes() {
    let services = json!([
        { "ID": "a", "Spec": { "Name": "shop_hello", "Labels": { "skep.function": "hello" } } },
        { "ID": "b", "Spec": { "Name": "another", "Labels": { "skep.function": "hello", "skep.owner": "skep" } } },
    ]);
    let answers = [json!({ "ApiVersion": "1.41" }), json!([]), services];
    let fake = Fake::answering(answers.map(json).into());
    let host = fake.url.replace("http://", "tcp://");
    let said = ran(&mut skep(&["rm", "hello", "--docker-host", &host]));
    assert_eq!(
        (said.exit, said.stderr.as_str()),
        (
            3,
            "error: no template of hello is in the namespace default\n\
             hint: on a Swarm a function is a service: docker service rm shop_hello\n"
        )
    );
    let asked = fake.asked();
    assert!(asked[2].contains("/services?"), "{asked:?}");
}

#[test]
fn logs_of_an_invocation_are_what_it_wrote() {
    let (said, asked) = ask(
        &["logs", ID, "-f"],
        vec![lines(log("one", "stdout") + &log("two", "stderr"))],
    );
    assert_eq!(
        (said.exit, said.stdout.as_str(), said.stderr.as_str()),
        (0, "one\ntwo\n", "")
    );
    assert!(
        asked[0].starts_with(&format!("GET /v1/invocations/{ID}/logs?follow=true ")),
        "{asked:?}"
    );
    let (said, _) = ask(&["logs", ID, "-t"], vec![lines(log("one", "stdout"))]);
    assert_eq!(said.stdout, "2026-01-31T12:00:00.123Z one\n");
}

#[test]
fn an_answer_that_breaks_off_is_no_end() {
    let broken = Answer {
        status: "200 OK",
        headers: "content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n",
        body: format!("{:x}\r\n{}\r\n", log("one", "stdout").len(), log("one", "stdout")),
    };
    // Two framings at once are refused by the client; the first goes.
    let fake = Fake::answering(vec![broken]);
    let said = ran(skep(&["logs", ID]).env("SKEP_CONTROL", &fake.url));
    assert_eq!(said.exit, 1, "{said:?}");
    drop(fake.asked());
}

#[test]
fn invoke_passes_everything_on_and_prints_the_answer_byte_for_byte() {
    let answer = Answer {
        status: "200 OK",
        headers: "skep-invocation: x\r\n",
        body: "a\n\nb".to_owned(),
    };
    let arguments = [
        "invoke", "hello", "-X", "PUT", "--path", "/a%2Fb?c", "-H", "X-One: 1", "-d", "body",
    ];
    let (said, asked) = ask(&arguments, vec![answer]);
    assert_eq!(
        (said.exit, said.stdout.as_str(), said.stderr.as_str()),
        (0, "a\n\nb", "")
    );
    assert!(
        asked[0].starts_with("PUT /v1/functions/hello/invoke/a%2Fb?c HTTP/1.1\n"),
        "{asked:?}"
    );
    assert!(
        asked[0].contains("\nx-one: 1\n") && asked[0].ends_with("\nbody"),
        "{asked:?}"
    );
}

#[test]
fn a_function_that_fails_is_told_apart_from_a_skep_that_does() {
    let failing = |status, body: &str| Answer {
        status,
        headers: "skep-invocation: 01980a2e-0000-7000-8000-0123456789ab\r\n",
        body: body.to_owned(),
    };
    let (said, _) = ask(
        &["invoke", "hello"],
        vec![failing("418 I'm a teapot", "short and stout\n")],
    );
    assert_eq!((said.exit, said.stdout.as_str()), (5, "short and stout\n"));
    assert_eq!(
        said.stderr,
        format!("error: hello answered 418 I'm a teapot\nhint: its log: skep logs {ID}\n")
    );
    let (said, _) = ask(
        &["invoke", "nobody"],
        vec![problem("404 Not Found", "not-found", "no function is named")],
    );
    assert_eq!(
        (said.exit, said.stdout.as_str(), said.stderr.as_str()),
        (
            3,
            "",
            "error: no function is named\n\
             hint: `skep ls` lists the functions, and what is wrong with those that can't run\n"
        )
    );
}

#[test]
fn an_accepted_invocation_prints_its_id_alone() {
    let answer = Answer {
        status: "202 Accepted",
        headers: "skep-invocation: 01980a2e-0000-7000-8000-0123456789ab\r\nlocation: /_skep/invocations/x/k\r\n",
        body: "{}".to_owned(),
    };
    let (said, asked) = ask(&["invoke", "hello", "--async"], vec![answer]);
    assert_eq!((said.exit, said.stdout), (0, format!("{ID}\n")));
    assert!(asked[0].contains("\nprefer: respond-async\n"), "{asked:?}");
}

#[test]
fn the_token_is_sent_and_a_wrong_one_is_explained() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("token");
    std::fs::write(&file, "secret\n").unwrap();
    let fake = Fake::answering(vec![problem(
        "401 Unauthorized",
        "unauthorized",
        "this is not the token",
    )]);
    let said = ran(skep(&["ls", "--control", &fake.url, "--control-token-file"]).arg(&file));
    assert_eq!(said.exit, 1);
    assert_eq!(
        said.stderr,
        "error: this is not the token\n\
         hint: give the token that `skep serve` was started with: --control-token-file FILE\n"
    );
    assert!(fake.asked()[0].contains("\nauthorization: Bearer secret\n"));
}
