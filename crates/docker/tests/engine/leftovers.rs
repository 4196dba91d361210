//! Nothing stays behind: given-up launches, crashes, and two Skeps at once.

use std::time::Duration;

use skep_engine::Engine;
use tokio_util::sync::CancellationToken;

use crate::common::{self, Bench};

#[tokio::test]
async fn a_launch_that_is_given_up_at_any_moment_leaves_nothing() {
    let bench = Bench::new("dropped").await;
    let function = bench.function(&["--label", "skep.handler=exec"], &["sleep", "1000"]);
    for milliseconds in [0, 2, 5, 10, 20, 40, 80, 160, 300] {
        let launch = bench.engine.launch(common::request(&function));
        let launched = tokio::time::timeout(Duration::from_millis(milliseconds), launch).await;
        if let Ok(launched) = launched {
            launched.unwrap().instance.remove().await;
        }
    }
    // The background ends only when everything that runs for instances has ended.
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    bench.engine.run_background(shutdown).await;
    assert_eq!(bench.docker.instances(), 0);
}

#[tokio::test]
async fn a_sweep_removes_what_a_crashed_skep_left_and_nothing_else() {
    let bench = Bench::new("sweep").await;
    let options = [
        "--network",
        "none",
        "--label",
        "skep.handler=exec",
        "-v",
        "/anonymous",
    ];
    let function = bench.function(&options, &["sleep", "1000"]);
    let (crashed, _calls) = common::connect(&bench.docker).await;
    let orphan = crashed.launch(common::request(&function)).await.unwrap();
    let alive = bench.launch(&function).await.unwrap();

    let report = bench.engine.sweep().await;
    assert_eq!(report.removed.len(), 1);
    assert!(
        report.removed[0].starts_with(&orphan.instance.locator()),
        "{report:?}"
    );
    assert!(
        bench
            .docker
            .try_run(&["inspect", &alive.instance.locator()])
            .is_ok()
    );
    assert!(
        bench
            .docker
            .try_run(&["inspect", &function.template.id.0])
            .is_ok()
    );
    assert!(bench.engine.sweep().await.removed.is_empty());
    alive.instance.remove().await;
}

#[tokio::test]
async fn a_namespace_has_one_skep_at_a_time() {
    let bench = Bench::new("lock").await;
    let (second, _calls) = common::connect(&bench.docker).await;
    let lock = bench.engine.lock().await.unwrap();
    let error = second.lock().await.unwrap_err().to_string();
    assert!(
        error.contains("--namespace") && error.contains(bench.docker.namespace()),
        "{error}"
    );
    lock.release().await;
    second.lock().await.unwrap().release().await;
    let volume = format!("skep-lock-{}", bench.docker.namespace());
    assert!(
        bench.docker.try_run(&["volume", "inspect", &volume]).is_err(),
        "the lock is still there"
    );
}

#[tokio::test]
async fn the_lock_of_a_skep_that_was_killed_is_taken_over() {
    let bench = Bench::new("killed").await;
    // What kill -9 does: the socket closes, the volume stays. The process that it names has ended.
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    let process = format!("skep.lock.process={}", ended.id());
    ended.wait().unwrap();
    make_lock(
        &bench,
        &[
            &process,
            "skep.lock.started=1",
            &format!("skep.lock.boot={}", boot()),
        ],
    );
    bench.engine.lock().await.unwrap().release().await;
}

#[tokio::test]
async fn the_lock_of_a_skep_that_runs_in_a_container_is_respected_until_that_ends() {
    let bench = Bench::new("container-lock").await;
    let label = format!("skep.namespace={}", bench.docker.namespace());
    let holder = bench.docker.run(&[
        "run",
        "-d",
        "--label",
        &label,
        &skep_testing::probe_image(),
        "sleep",
        "1000",
    ]);
    make_lock(&bench, &[&format!("skep.lock.container={holder}")]);
    let error = bench.engine.lock().await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("the container {}", &holder[..12])),
        "{error}"
    );
    bench.docker.run(&["kill", &holder]);
    bench.engine.lock().await.unwrap().release().await;
}

#[tokio::test]
async fn the_lock_of_an_earlier_boot_is_taken_over() {
    let bench = Bench::new("boot").await;
    make_lock(
        &bench,
        &[
            "skep.lock.process=1",
            "skep.lock.started=1",
            "skep.lock.boot=another",
        ],
    );
    bench.engine.lock().await.unwrap().release().await;
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap()
        .trim()
        .to_owned()
}

fn make_lock(bench: &Bench, labels: &[&str]) {
    let namespace = format!("skep.namespace={}", bench.docker.namespace());
    let volume = format!("skep-lock-{}", bench.docker.namespace());
    let mut arguments = vec![
        "volume",
        "create",
        "--label",
        &namespace,
        "--label",
        "skep.lock.holder=another",
    ];
    arguments.extend(labels.iter().flat_map(|label| ["--label", label]));
    arguments.push(&volume);
    bench.docker.run(&arguments);
}
