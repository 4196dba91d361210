//! Networks that templates name: missing, removed, pruned.

use std::sync::Arc;
use std::time::Duration;

use skep_testing::Docker;

use crate::common::{IMAGE, Watch};

#[tokio::test]
async fn a_template_on_a_network_that_is_not_there_is_invalid_until_it_is() {
    let docker = Docker::new("nonet");
    let network = docker.network("gone", &[]);
    let id = docker.create(&["--label", "skep.function=f", "--network", &network, IMAGE, "true"]);
    let mut watch = Watch::start(docker.namespace()).await;
    assert!(watch.now().function("f").is_some());
    // Another test's prune just after the removal would look like its cause.
    let _lock = docker.lock_prunes();
    docker.run(&["network", "rm", &network]);
    let reasons = watch.reasons(&id).await;
    assert!(
        reasons.contains(&format!("docker network create {network}")),
        "{reasons}"
    );
    docker.network("gone", &[]);
    watch.until(|now| now.function("f").is_some()).await;
}

#[tokio::test]
async fn a_prune_of_everything_takes_neither_the_function_nor_its_networks() {
    let docker = Docker::new("system");
    let one = docker.network("one", &["--subnet", "10.213.8.0/24", "--internal", "-o", "a=b"]);
    let two = docker.network("two", &[]);
    let id = docker.create(&["--label", "skep.function=f", "--network", &one, IMAGE, "true"]);
    docker.run(&["network", "connect", &two, &id]);
    let mut watch = Watch::with(
        docker.namespace(),
        Duration::from_secs(600),
        Arc::new(|_| Vec::new()),
    )
    .await;
    let before = watch.now().function("f").unwrap().clone();
    assert_eq!(before.template.networks.len(), 2);

    let lock = docker.lock_prunes();
    docker.prune_with(&lock);
    let filter = format!("label=skep.namespace={}", docker.namespace());
    docker.run(&["network", "prune", "-f", "--filter", &filter]);
    watch
        .until(|now| {
            let back = now.function("f").is_some_and(|f| {
                f.template.id != before.template.id && f.template.networks == before.template.networks
            });
            back && docker.try_run(&["network", "inspect", &one, &two]).is_ok()
        })
        .await;
    let format = "{{.Internal}} {{.Options.a}} {{(index .IPAM.Config 0).Subnet}}";
    assert_eq!(
        docker.run(&["network", "inspect", "-f", format, &one]),
        "true b 10.213.8.0/24"
    );
    assert_eq!(watch.now().function("f").unwrap().revision, before.revision);
}
