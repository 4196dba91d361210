//! What instances write, to the last line, and whose it is.

use skep_tests::{DEBIAN, Skep, eventually};

/// Keeps the machine busy for as long as it lives: what is a race only shows where there is somebody to race with.
struct Busy(Vec<std::process::Child>);

impl Busy {
    fn start() -> Self {
        let turn = || {
            let mut shell = std::process::Command::new("timeout");
            shell.args(["120", "sh", "-c", "while :; do :; done"]);
            shell.spawn().expect("a shell can be started")
        };
        Self((0..3).map(|_| turn()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let pid = rustix::process::Pid::from_child(child);
            // `timeout` hands the signal on to its shell; killed itself it would leave it behind.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = child.wait();
        }
    }
}

#[tokio::test]
async fn not_a_line_is_lost_of_commands_that_write_in_the_moment_in_which_they_exit() {
    let skep = Skep::start("logs-last-line").await;
    let script = "echo out; echo first >&2; echo to the log >&2";
    let command = [DEBIAN, "sh", "-c", script];
    for engine in ["docker", "lean"] {
        skep.deploy(
            engine,
            &["handler=exec", &format!("engine={engine}")],
            &[],
            &command,
        )
        .await;
    }
    let _busy = Busy::start();
    for (engine, count) in [("docker", 25), ("lean", 100)] {
        for _ in 0..count {
            let answer = skep.public.get(&format!("/{engine}")).await;
            assert_eq!(answer.text(), "out\n", "{answer:?}");
            let path = format!("/v1/invocations/{}/logs", answer.header("skep-invocation"));
            // An instance's last words may come a moment after its answer.
            eventually("both lines, as those of the invocation", async || {
                let logs = skep.control.get(&path).await.text().to_owned();
                (logs.contains("\"first\"") && logs.contains("\"to the log\"")).then_some(())
            })
            .await;
        }
    }
    skep.finish().await;
}
