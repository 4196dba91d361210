//! Accepted once, run at least once: `Prefer: respond-async`.

use std::collections::BTreeSet;
use std::time::Duration;

use http::{Request, StatusCode};
use rustix::process::Signal;
use skep_tests::{DEBIAN, Skep, empty, eventually, full, probe_image};

#[tokio::test]
async fn an_accepted_invocation_runs_by_itself_and_its_result_waits_for_whoever_has_the_key() {
    let skep = Skep::start("async-key").await;
    skep.deploy(
        "cat",
        &["handler=exec"],
        &[],
        &[DEBIAN, "sh", "-c", "sleep 1; cat"],
    )
    .await;
    let request = Request::post("/cat")
        .header("prefer", "respond-async")
        .body(full("kept"))
        .unwrap();
    let accepted = skep.public.send(request).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    assert_eq!(accepted.header("preference-applied"), "respond-async");
    let location = accepted.header("location").to_owned();
    let early = skep.public.get(&format!("{location}/result")).await;
    assert_eq!(
        (early.status, early.problem().as_str()),
        (StatusCode::CONFLICT, "not-finished")
    );

    let outcome = skep.outcome(&location).await;
    assert_eq!(outcome["status"], "succeeded", "{outcome}");
    let result = skep.public.get(&format!("{location}/result")).await;
    assert_eq!((result.status, result.text()), (StatusCode::OK, "kept"));

    let (front, key) = location.rsplit_once('/').unwrap();
    let wrong: String = key.chars().map(|c| if c == '0' { '1' } else { '0' }).collect();
    for path in [format!("{front}/{wrong}"), format!("{front}/"), front.to_owned()] {
        assert_eq!(
            skep.public.get(&path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    skep.finish().await;
}

#[tokio::test]
async fn a_failure_is_an_end_and_large_bodies_come_through() {
    let skep = Skep::start("async-fail").await;
    let probe = probe_image();
    skep.deploy("fail", &["handler=exec"], &[], &[&probe, "exit", "4"])
        .await;
    skep.deploy("echo", &[], &[], &[&probe, "http"]).await;
    let location = skep.public.post_async("/fail", "").await;
    let outcome = skep.outcome(&location).await;
    assert_eq!(
        (&outcome["status"], &outcome["exit_code"]),
        (&"failed".into(), &4.into()),
        "{outcome}"
    );
    let large: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let location = skep.public.post_async("/echo/echo", large.clone()).await;
    assert_eq!(skep.outcome(&location).await["status"], "succeeded");
    let result = skep.public.get(&format!("{location}/result")).await;
    assert!(result.body == large, "{} bytes came back", result.body.len());
    skep.finish().await;
}

#[tokio::test]
async fn a_function_may_refuse_asynchronous_calls() {
    let skep = Skep::start("async-no").await;
    skep.deploy(
        "no",
        &["handler=exec", "async=false"],
        &[],
        &[&probe_image(), "echo", "now"],
    )
    .await;
    let request = Request::post("/no")
        .header("prefer", "respond-async")
        .body(empty())
        .unwrap();
    let answer = skep.public.send(request).await;
    // RFC 7240: a preference may be ignored, but then it isn't said to be applied.
    assert_eq!(answer.header("preference-applied"), "");
    assert_ne!(answer.status, StatusCode::ACCEPTED);
    skep.finish().await;
}

#[tokio::test]
async fn nothing_accepted_is_lost_however_often_skep_is_killed() {
    let mut skep = Skep::start("async-kill").await;
    let directory = tempfile::tempdir().unwrap();
    let volume = format!("{}:/out", directory.path().display());
    let script = "read id; echo $id >> /out/log";
    skep.deploy(
        "note",
        &["handler=exec"],
        &["-v", &volume],
        &[DEBIAN, "sh", "-c", script],
    )
    .await;
    let mut accepted = Vec::new();
    for round in 0..3_u64 {
        let public = skep.public;
        let sending = tokio::spawn(async move {
            let mut done = Vec::new();
            for number in 0..200 {
                let name = format!("{round}-{number}");
                let request = Request::post("/note").header("prefer", "respond-async");
                let request = request.body(full(format!("{name}\n"))).unwrap();
                match public.try_send(request).await {
                    Ok(answer) if answer.status == StatusCode::ACCEPTED => {
                        done.push((name, answer.header("location").to_owned()));
                    }
                    _ => break,
                }
                if done.len() == 12 {
                    break;
                }
            }
            done
        });
        // Some time in the middle of accepting and running.
        tokio::time::sleep(Duration::from_millis(150 + 230 * round)).await;
        skep.kill();
        accepted.extend(sending.await.unwrap());
        skep.restart().await;
    }
    assert!(!accepted.is_empty());
    for (name, location) in &accepted {
        let outcome = skep.outcome(location).await;
        assert_eq!(outcome["status"], "succeeded", "{name}: {outcome}");
    }
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    let ran: BTreeSet<&str> = log.lines().collect();
    let missing: Vec<_> = accepted
        .iter()
        .filter(|(name, _)| !ran.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "accepted and never run: {missing:?}");
    skep.nothing_made().await;
    skep.finish().await;
}

#[tokio::test]
async fn work_for_a_function_that_is_gone_waits_visibly_and_runs_when_it_is_back() {
    let mut skep = Skep::start("async-gone").await;
    let probe = probe_image();
    let slow = skep
        .deploy("f", &["handler=exec", "max=1"], &[], &[DEBIAN, "sleep", "2"])
        .await;
    let first = skep.public.post_async("/f", "").await;
    let second = skep.public.post_async("/f", "").await;
    skep.docker.remove(&slow);
    assert_eq!(
        skep.outcome(&first).await["status"],
        "succeeded",
        "what runs is not cut short"
    );
    skep.signal(Signal::KILL);
    skep.ended().await;
    skep.restart().await;
    assert_eq!(skep.public.get(&second).await.json()["status"], "queued");
    skep.deploy("f", &["handler=exec"], &[], &[&probe, "echo", "back"])
        .await;
    let outcome = skep.outcome(&second).await;
    assert_eq!(outcome["status"], "succeeded", "{outcome}");
    let result = skep.public.get(&format!("{second}/result")).await;
    assert_eq!(result.text(), "back\n", "it ran on the newest revision");
    skep.finish().await;
}

#[tokio::test]
async fn a_full_backlog_refuses_before_the_202() {
    let skep = Skep::start("async-full").await;
    skep.deploy(
        "f",
        &["handler=exec", "max=1", "backlog=2"],
        &[],
        &[DEBIAN, "sleep", "3"],
    )
    .await;
    let mut refused = None;
    for _ in 0..8 {
        let request = Request::post("/f")
            .header("prefer", "respond-async")
            .body(empty())
            .unwrap();
        let answer = skep.public.send(request).await;
        if answer.status != StatusCode::ACCEPTED {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a backlog of two takes no eight");
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "backlog-full")
    );
    eventually("the backlog to be worked off", async || {
        let list = skep.control.get("/v1/invocations").await.json();
        let open = list["invocations"]
            .as_array()?
            .iter()
            .any(|i| i["ended"].is_null());
        (!open).then_some(())
    })
    .await;
    skep.finish().await;
}
