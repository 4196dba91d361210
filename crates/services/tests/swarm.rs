//! Services of a real Swarm of one node, which the test makes and takes down.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use skep_catalogue::Catalogue;
use skep_model::Namespace;
use skep_services::{Config, Services};
use tokio::sync::watch;

/// A Swarm of its own.
struct Swarm(String);

impl Swarm {
    fn up() -> Self {
        let name = format!("services-{}", std::process::id());
        let swarm = Self(name);
        let owner = std::process::id().to_string();
        swarm.script(&["up", &swarm.0, "--nodes", "1", "--owner", &owner]);
        swarm
    }

    fn script(&self, arguments: &[&str]) -> String {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scripts/swarm");
        checked(
            Command::new(script)
                .args(arguments)
                .output()
                .expect("the script runs"),
            arguments,
        )
    }

    fn socket(&self) -> String {
        let printed = self.script(&["env", &self.0, "1"]);
        let address = printed.split_once("DOCKER_HOST=").expect("an address").1;
        let end = address.find([';', '\n', ' ', '"', '\'']).unwrap_or(address.len());
        address[..end].to_owned()
    }

    fn docker(&self, arguments: &[&str]) -> String {
        self.script(&[&["docker", &self.0, "1"], arguments].concat())
    }

    fn create(&self, name: &str, arguments: &[&str]) -> String {
        let create = [
            "service",
            "create",
            "--detach",
            "--no-resolve-image",
            "--name",
            name,
        ];
        self.docker(&[&create, arguments, &["debian:bookworm-slim", "echo", "hello"]].concat())
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.script(&["down", &self.0]);
    }
}

fn checked(output: Output, arguments: &[&str]) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

async fn until(
    catalogue: &mut watch::Receiver<Arc<Catalogue>>,
    so: impl Fn(&Catalogue) -> bool,
) -> Arc<Catalogue> {
    let waiting = catalogue.wait_for(|catalogue| so(catalogue));
    let found = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    Arc::clone(&found.expect("it is known in time").expect("the watch goes on"))
}

#[tokio::test]
async fn what_is_deployed_on_a_swarm_is_known_at_once() {
    let swarm = Swarm::up();
    swarm.create(
        "first",
        &[
            "--replicas",
            "0",
            "--label",
            "skep.function=hello",
            "--label",
            "skep.handler=exec",
        ],
    );
    let docker = skep_docker::connect_client(Some(&swarm.socket()))
        .await
        .expect("it answers");
    let config = Config {
        namespace: Namespace::default(),
        relist: Duration::from_secs(600),
    };
    let services = Services::start(docker, config);
    services.listed().await;
    let mut catalogue = services.catalogue();
    let first = catalogue
        .borrow()
        .function("hello")
        .cloned()
        .expect("it was there before");
    assert_eq!(first.template.name, "first");

    // Deployed, changed, spoilt, mended, removed: each is heard of, none waits for a list.
    swarm.create("other", &["--replicas", "0", "--label", "skep.function=other"]);
    until(&mut catalogue, |now| now.function("other").is_some()).await;
    swarm.docker(&[
        "service",
        "update",
        "--detach",
        "--no-resolve-image",
        "--env-add",
        "A=1",
        "first",
    ]);
    until(&mut catalogue, |now| {
        now.function("hello")
            .is_some_and(|new| new.revision != first.revision)
    })
    .await;
    swarm.docker(&["service", "scale", "--detach", "other=2"]);
    let spoilt = until(&mut catalogue, |now| now.function("other").is_none()).await;
    assert!(
        spoilt.invalid()[0].reasons[0].contains("2 replicas"),
        "{:?}",
        spoilt.invalid()
    );
    swarm.docker(&["service", "scale", "--detach", "other=0"]);
    until(&mut catalogue, |now| now.function("other").is_some()).await;
    swarm.docker(&["service", "rm", "other"]);
    until(&mut catalogue, |now| now.function("other").is_none()).await;
    swarm.create(
        "everywhere",
        &["--mode", "global", "--label", "skep.function=everywhere"],
    );
    let global = until(&mut catalogue, |now| !now.invalid().is_empty()).await;
    assert!(
        global.invalid()[0].reasons[0].contains("global"),
        "{:?}",
        global.invalid()
    );
}
