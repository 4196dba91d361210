//! One busy function does not starve another.

use std::time::{Duration, Instant};

use futures::future::join_all;
use http::StatusCode;
use skep_tests::{Skep, eventually, probe_image};

#[tokio::test]
async fn a_flood_for_one_function_does_not_starve_another() {
    // Room for two instances in all.
    let skep = Skep::with("fair", &["--memory-budget", "128m"]).await;
    let probe = probe_image();
    skep.deploy("busy", &["timeout=60s"], &["-m", "64m"], &[&probe, "http"])
        .await;
    skep.deploy("calm", &["timeout=60s"], &["-m", "64m"], &[&probe, "http"])
        .await;
    let public = skep.public;
    let begin = Instant::now();
    let flood = tokio::spawn(async move {
        let answers = join_all((0..16).map(|_| public.get("/busy/slow/200"))).await;
        assert!(
            answers.iter().all(|answer| answer.status == StatusCode::OK),
            "{answers:?}"
        );
        begin.elapsed()
    });
    eventually("the flood to wait", async || {
        let list = skep.control.get("/v1/functions").await.json();
        let busy = list["functions"]
            .as_array()?
            .iter()
            .find(|function| function["name"] == "busy")?
            .clone();
        (busy["queued"].as_u64()? >= 8).then_some(())
    })
    .await;
    let answer = skep.public.get("/calm").await;
    let calm = begin.elapsed();
    assert_eq!(answer.status, StatusCode::OK);
    let busy = flood.await.unwrap();
    assert!(
        calm + Duration::from_millis(200) < busy,
        "calm waited {calm:?} of {busy:?}: for all that came before it"
    );
    skep.nothing_made().await;
    skep.finish().await;
}
