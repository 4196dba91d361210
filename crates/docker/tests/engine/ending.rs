//! How instances end, well and badly.

use std::time::{Duration, Instant};

use skep_engine::{Exit, LaunchErrorKind};

use crate::common::{self, Bench};

const NONE: [&str; 2] = ["--network", "none"];

#[tokio::test]
async fn an_exit_code_comes_back() {
    let bench = Bench::new("code").await;
    let (_, _, exit) = common::finish(bench.exec(&["exit", "42"]).await).await;
    assert_eq!(
        exit,
        Exit {
            code: 42,
            out_of_memory: false
        }
    );
}

#[tokio::test]
async fn an_end_by_a_signal_counts_128_and_the_signal() {
    let bench = Bench::new("signal").await;
    let options = [NONE.as_slice(), &["--init"]].concat();
    let (_, _, exit) = common::finish(bench.exec_with(&options, &["signal"]).await).await;
    assert_eq!(
        exit,
        Exit {
            code: 134,
            out_of_memory: false
        }
    );
}

#[tokio::test]
async fn running_out_of_memory_is_told_from_being_killed() {
    let bench = Bench::new("oom").await;
    let options = [NONE.as_slice(), &["--memory", "16m", "--memory-swap", "16m"]].concat();
    // An engine misses it now and then: it looks at the cgroup, which may be gone by then.
    for _ in 0..5 {
        let (_, _, exit) = common::finish(bench.exec_with(&options, &["memory", "64"]).await).await;
        assert_eq!(exit.code, 137);
        if exit.out_of_memory {
            return;
        }
    }
    panic!("five times out of memory, and never told");
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_a_failed_start_and_leaves_nothing() {
    let bench = Bench::new("nocommand").await;
    let options = ["--label", "skep.handler=exec", "--entrypoint", "/no/such/command"];
    let function = bench.function(&options, &[]);
    let error = bench.launch(&function).await.unwrap_err();
    assert_eq!(error.kind, LaunchErrorKind::StartFailed);
    assert!(error.message.contains("/no/such/command"), "{error}");
    assert_eq!(bench.docker.instances(), 0);
}

#[tokio::test]
async fn an_image_that_is_gone_is_a_failed_start() {
    let bench = Bench::new("noimage").await;
    let function = bench.function(&["--label", "skep.handler=exec"], &["echo"]);
    let mut without = (*function).clone();
    let mut template = (*without.template).clone();
    template.image_id = format!("sha256:{}", "0".repeat(64));
    without.template = template.into();
    let error = bench.launch(&without.into()).await.unwrap_err();
    assert_eq!(error.kind, LaunchErrorKind::StartFailed);
    assert!(error.message.contains("No such image"), "{error}");
    assert_eq!(bench.docker.instances(), 0);
}

#[tokio::test]
async fn an_engine_that_is_not_there_says_what_to_do() {
    let error = skep_docker::connect_client(Some("unix:///no/such/docker.sock"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("start Docker"), "{error}");
    let error = skep_docker::connect_client(Some("ssh://host")).await.unwrap_err();
    assert!(
        error.to_string().contains("unix:///path/to/docker.sock"),
        "{error}"
    );
}

#[tokio::test]
async fn a_process_that_ignores_the_stop_signal_is_killed_after_its_grace() {
    let bench = Bench::new("stubborn").await;
    let options = [NONE.as_slice(), &["--stop-timeout", "1"]].concat();
    let launched = bench.exec_with(&options, &["ignore-term"]).await;
    let begin = Instant::now();
    launched.instance.stop().await;
    assert!(
        begin.elapsed() >= Duration::from_millis(900),
        "{:?}",
        begin.elapsed()
    );
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    assert_eq!(launched.instance.exited().await.code, 137);
    launched.instance.remove().await;
}

#[tokio::test]
async fn removing_ends_a_swarm_of_children_at_once() {
    let bench = Bench::new("swarm").await;
    let launched = bench.exec(&["swarm", "30"]).await;
    let locator = launched.instance.locator();
    let (_, _, exit) = common::finish(launched).await;
    assert_eq!(exit.code, 0);
    let left = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        std::fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|groups| groups.contains(&locator))
    });
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn a_running_instance_is_removed_at_once_and_twice_does_no_harm() {
    let bench = Bench::new("remove").await;
    let launched = bench.exec(&["sleep", "1000"]).await;
    let again = launched.instance.clone();
    tokio::join!(launched.instance.remove(), again.remove());
    launched.instance.remove().await;
    assert_eq!(bench.docker.instances(), 0);
    assert_eq!(launched.instance.exited().await.code, 137);
    assert_eq!(launched.instance.try_exited().map(|exit| exit.code), Some(137));
}

#[tokio::test]
async fn a_container_that_somebody_else_removes_has_ended() {
    let bench = Bench::new("vanish").await;
    let launched = bench.exec(&["sleep", "1000"]).await;
    assert_eq!(launched.instance.try_exited(), None);
    bench.docker.run(&["rm", "-f", &launched.instance.locator()]);
    assert_eq!(launched.instance.exited().await.code, 137);
    launched.instance.stop().await;
    assert!(launched.instance.freeze().await.is_err());
    launched.instance.remove().await;
}

#[tokio::test]
async fn a_frozen_instance_stands_still_thaws_and_can_be_removed_frozen() {
    let bench = Bench::new("freeze").await;
    let launched = bench.http(&[], &["http"]).await;
    common::ready(&launched).await;
    launched.instance.freeze().await.unwrap();
    let locator = launched.instance.locator();
    assert_eq!(
        bench
            .docker
            .run(&["inspect", "-f", "{{.State.Status}}", &locator]),
        "paused"
    );
    launched.instance.thaw().await.unwrap();
    assert!(
        common::get(&launched, "/pid")
            .await
            .unwrap()
            .ends_with("\r\n\r\n1\n")
    );
    launched.instance.freeze().await.unwrap();
    launched.instance.remove().await;
    assert_eq!(bench.docker.instances(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_accepts_and_never_answers_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("docker.sock");
    let _stalled = tokio::net::UnixListener::bind(&path).unwrap();
    let error = skep_docker::connect_client(Some(&format!("unix://{}", path.display())))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("did not answer"), "{error}");
}
