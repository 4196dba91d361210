//! Skep as a container beside its functions: this very test program, run inside one.

use skep_engine::Engine;
use skep_testing::Docker;
use tokio_util::sync::CancellationToken;

use crate::common::{self, Bench};

/// Whose own network the program inside leaves at its end.
const INSIDE: &str = "container::inside_a_container";

#[test]
fn a_skep_in_a_container_reaches_functions_over_their_networks() {
    let docker = Docker::new("outside");
    let program = std::env::current_exe().expect("this program's path");
    let command = which("docker");
    // The probe's image is made out here, where the compiler is.
    skep_testing::probe_image();
    let label = format!("skep.namespace={}", docker.namespace());
    let program = format!("{}:/program:ro", program.display());
    let command = format!("{command}:/usr/bin/docker:ro");
    #[rustfmt::skip]
    let printed = docker.run(&[
        "run", "--rm", "--label", &label, "-v", "/var/run/docker.sock:/var/run/docker.sock",
        "-v", &program, "-v", &command, "debian:bookworm-slim", "/program", "--ignored", "--exact", INSIDE,
    ]);
    assert!(printed.contains("1 passed"), "{printed}");
}

fn which(command: &str) -> String {
    let paths = std::env::var_os("PATH").expect("PATH");
    let found = std::env::split_paths(&paths)
        .map(|path| path.join(command))
        .find(|path| path.exists());
    found.expect("the command is installed").display().to_string()
}

#[tokio::test]
#[ignore = "runs inside a container that the test beside it makes"]
async fn inside_a_container() {
    let mut bench = Bench::new("inside").await;
    assert_eq!(bench.engine.unreachable(), None);
    for network in [
        "bridge",
        bench.docker.network("a", &[]).as_str(),
        &bench.docker.network("b", &["--internal"]),
    ] {
        let launched = bench.http(&["--network", network], &["http"]).await;
        common::ready(&launched).await;
        assert!(
            common::get(&launched, "/env")
                .await
                .unwrap()
                .contains("\nSKEP_URL=http://")
        );
        launched.instance.remove().await;
        assert!(launched.instance.connect().await.is_err());

        let url = bench.engine.call_url(network).await.expect("a URL");
        let address = url.strip_prefix("http://").unwrap();
        let launched = bench
            .exec_with(&["--network", network], &["connect", address])
            .await;
        let (_, peer) = bench.calls.recv().await.unwrap();
        assert_eq!(vec![peer.ip()], launched.instance.addresses());
        common::finish(launched).await;
    }
    for network in ["none", "host"] {
        let reasons = bench
            .engine
            .unsupported(&bench.function(&["--network", network], &["http"]));
        assert!(
            reasons.len() == 1 && reasons[0].contains(network) && reasons[0].contains("on the host"),
            "{reasons:?}"
        );
        let exec = bench.function(&["--network", network, "--label", "skep.handler=exec"], &["echo"]);
        assert_eq!(bench.engine.unsupported(&exec), Vec::<String>::new());
    }
    bench.engine.lock().await.unwrap().release().await;
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    bench.engine.run_background(shutdown).await;
    for name in ["a", "b"] {
        bench
            .docker
            .run(&["network", "rm", &format!("{}-{name}", bench.docker.namespace())]);
    }
}
