//! What members of another version say, and what nobody but a member may: it is answered, and does nothing.

use http::{Request, StatusCode};
use http_body_util::Full;
use skep_tls::body;
use skep_wire::{CALLER, CONTEXT, INVOCATION, NOT_STARTED, OUTCOME, PROBLEM, SANDBOX, VISIT};

use crate::support::Agent;

const EXEC: (&str, &str) = ("skep.handler", "exec");

#[tokio::test]
async fn what_a_member_of_another_version_asks_is_answered_and_the_line_goes_on() {
    let agent = Agent::start("agent-versions").await;
    let container = agent.sandbox(&[EXEC], 16, &["cat"], &[]).await;
    let asked = |path: &str, field: Option<(&http::HeaderName, &str)>| {
        let mut request = Request::post(format!("http://agent.skep{path}"));
        if let Some((name, value)) = field {
            request = request.header(name, value);
        }
        request
            .body(body(Full::from("from a newer version")))
            .expect("a request")
    };
    for (request, expected) in [
        (asked("/v9/unheard-of", None), StatusCode::NOT_FOUND),
        // `{}` and something that is not base64.
        (
            asked("/containers/json", Some((&VISIT, "e30"))),
            StatusCode::BAD_REQUEST,
        ),
        (
            asked("/containers/json", Some((&VISIT, "%"))),
            StatusCode::BAD_REQUEST,
        ),
        (asked("/", Some((&SANDBOX, &container))), StatusCode::BAD_REQUEST),
        (asked(skep_wire::WAITING, None), StatusCode::BAD_REQUEST),
    ] {
        let what = format!("{request:?}");
        let answer = agent.line.send(request).await.expect("an answer");
        assert_eq!(answer.status(), expected, "{what}");
    }
    // A field more than this version knows.
    let more = r#"{"gateway":"g","namespace":"n","functions":{},"newer":[1]}"#;
    assert_eq!(agent.tell(more).await, StatusCode::NO_CONTENT);
    let answer = agent.invoke(&container, "/", "goes on").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "goes on"));
}

#[tokio::test]
async fn the_fields_by_which_members_speak_are_nobody_elses() {
    let agent = Agent::start("agent-smuggled").await;
    let flags = ["--network", "none"];
    let labels = [EXEC, ("skep.timeout", "60s")];
    let own = [&CALLER, &VISIT, &SANDBOX, &CONTEXT];
    let fields: String = own.iter().map(|name| format!("{name}: forged\\r\\n")).collect();
    let script = format!(
        r#"exec 3<>"/dev/tcp/127.0.0.1/${{SKEP_URL##*:}}"
        printf 'POST /called HTTP/1.1\r\nHost: skep\r\nConnection: close\r\nContent-Length: 0\r\n' >&3
        printf '{fields}X-Own: stays\r\n\r\n' >&3; cat <&3"#
    );
    let container = agent
        .sandbox_of(
            "debian:bookworm-slim",
            &labels,
            16,
            &["bash", "-c", &script],
            &flags,
        )
        .await;
    let answer = agent.invoke(&container, "/", "").await;
    assert!(answer.text.contains("200 OK"), "{}", answer.text);
    let heard: Vec<_> = agent
        .gateways
        .iter()
        .flat_map(|gateway| gateway.heard())
        .collect();
    let [heard] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(heard["x-own"], "stays");
    for name in own.into_iter().filter(|name| **name != CALLER) {
        assert!(!heard.contains_key(name), "{name}: {heard:?}");
    }
    // The agent's own word, once.
    assert_eq!(heard.get_all(CALLER).iter().count(), 1);

    // Nor can a function's answer say what only an agent may.
    let said = [&NOT_STARTED, &PROBLEM, &OUTCOME];
    let fields: String = said.iter().map(|name| format!("{name}: full\\r\\n")).collect();
    let script = format!("printf 'Status: 200\\r\\n{fields}X-Own: stays\\r\\n\\r\\nanswered'");
    let labels = [("skep.handler", "cgi")];
    let container = agent
        .sandbox_of(
            "debian:bookworm-slim",
            &labels,
            16,
            &["bash", "-c", &script],
            &flags,
        )
        .await;
    let answer = agent.invoke(&container, "/", "").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "answered"));
    assert_eq!(answer.headers["x-own"], "stays");
    for name in said {
        assert!(!answer.headers.contains_key(name), "{name}: {:?}", answer.headers);
    }
    assert!(answer.headers.contains_key(INVOCATION));
}
