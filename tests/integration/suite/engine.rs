//! What happens to an engine as a whole: it restarts, it hangs, somebody prunes everything. Each test has an engine
//! of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use rustix::process::Signal;
use skep_tests::{Engine, Skep, eventually, probe_image};

/// An engine, a Skep on it, and a function `NAME` for each name that echoes it.
async fn serving(topic: &str, names: &[&str]) -> (Engine, Skep) {
    let probe = probe_image();
    let engine = Engine::start(&[&probe]);
    let skep = Skep::with(topic, &["--docker-host", &engine.host()]).await;
    for name in names {
        let function = format!("skep.function={name}");
        let namespace = format!("skep.namespace={}", skep.docker.namespace());
        let labels = [
            "--label",
            &function,
            "--label",
            &namespace,
            "--label",
            "skep.handler=exec",
        ];
        let command = ["--network", "none", &probe, "echo", name];
        let id = engine.run(&[&["create"][..], &labels, &command].concat());
        skep.in_force(name, &id).await;
    }
    (engine, skep)
}

fn owned(engine: &Engine) -> String {
    engine.run(&["ps", "-aq", "--filter", "label=skep.owner"])
}

async fn answers(skep: &Skep, name: &str) {
    eventually("the function to answer", async || {
        let answer = skep.public.get(&format!("/{name}")).await;
        (answer.status == StatusCode::OK).then(|| assert_eq!(answer.text(), format!("{name}\n")))
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_restarts_is_found_again_with_all_its_functions() {
    let (mut engine, mut skep) = serving("engine-restart", &["one", "two"]).await;
    answers(&skep, "one").await;
    let waiting = skep.public.post_async("/one", "").await;
    engine.restart();
    for name in ["one", "two"] {
        answers(&skep, name).await;
    }
    assert_eq!(skep.outcome(&waiting).await["status"], "succeeded");
    skep.signal(Signal::TERM);
    assert!(skep.ended().await.success());
    assert_eq!(owned(&engine), "");
}

#[tokio::test]
async fn an_engine_that_hangs_for_a_while_loses_nothing() {
    let (engine, mut skep) = serving("engine-hang", &["one"]).await;
    engine.signal(Signal::STOP);
    let waiting = skep.public.post_async("/one", "").await;
    eventually("readiness to say so", async || {
        (skep.control.get("/readyz").await.status != StatusCode::OK).then_some(())
    })
    .await;
    engine.signal(Signal::CONT);
    answers(&skep, "one").await;
    assert_eq!(skep.outcome(&waiting).await["status"], "succeeded");
    skep.signal(Signal::TERM);
    assert!(skep.ended().await.success());
    assert_eq!(owned(&engine), "");
}

#[tokio::test]
async fn a_template_that_is_put_back_after_a_prune_has_what_was_copied_into_it() {
    let (engine, mut skep) = serving("engine-copied", &["one"]).await;
    let files = tempfile::tempdir().expect("a folder");
    let file = files.path().join("file");
    std::fs::write(&file, "copied").expect("it can be written");
    let parked = || engine.run(&["ps", "-aq", "--no-trunc", "--filter", "label=skep.function"]);
    let before = parked();
    let revision = async || {
        let answer = skep.control.get("/v1/functions/one").await;
        answer.json()["function"]["revision"].to_string()
    };
    let untouched = revision().await;
    engine.run(&["cp", file.to_str().expect("text"), &format!("{before}:/copied")]);
    eventually("the copy to be noticed", async || {
        (revision().await != untouched).then_some(())
    })
    .await;
    engine.run(&["container", "prune", "-f"]);
    let after = eventually("the template to stand again", async || {
        let now = parked();
        (!now.is_empty() && now != before).then_some(now)
    })
    .await;
    eventually("its copy", async || {
        let archive = engine.run(&["cp", &format!("{after}:/copied"), "-"]);
        archive.contains("copied").then_some(())
    })
    .await;
    answers(&skep, "one").await;
    skep.signal(Signal::TERM);
    assert!(skep.ended().await.success());
}

#[tokio::test]
async fn docker_system_prune_while_serving_fails_no_request() {
    let names = ["one", "two", "three", "four", "five"];
    let (engine, mut skep) = serving("engine-prune", &names).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, public) = (stop.clone(), skep.public);
    let load = tokio::spawn(async move {
        let mut count = 0;
        loop {
            for name in names {
                let answer = public.get(&format!("/{name}")).await;
                assert_eq!(answer.status, StatusCode::OK, "after {count}: {answer:?}");
                count += 1;
            }
            if stopped.load(Ordering::Relaxed) {
                break count;
            }
        }
    });
    for _ in 0..3 {
        let before = engine.run(&["ps", "-aq", "--filter", "label=skep.function"]);
        engine.run(&["system", "prune", "-f"]);
        eventually("every template to stand again", async || {
            let now = engine.run(&["ps", "-aq", "--filter", "label=skep.function"]);
            let others = now.lines().filter(|id| !before.contains(*id)).count();
            (others == names.len()).then_some(())
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    assert!(load.await.expect("no request failed") > 0);
    skep.signal(Signal::TERM);
    assert!(skep.ended().await.success());
    assert_eq!(owned(&engine), "");
}
