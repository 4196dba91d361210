//! What somebody tries who knows how budgets are counted, and what a function's template settles.

use std::path::{Path, PathBuf};

use skep_tests::{DEBIAN, Skep};

use super::{call, docker, open, shell};

/// A child's socket on the host.
fn socket_of(skep: &Skep, child: &str) -> PathBuf {
    let format = "{{range .Mounts}}{{if eq .Destination \"/var/run/docker.sock\"}}{{.Source}}{{end}}{{end}}";
    skep.docker.run(&["inspect", "-f", format, child]).into()
}

#[tokio::test]
async fn the_end_of_a_child_with_a_socket_gives_no_more_children_in_all() {
    let skep = Skep::start("socket-total").await;
    let labels = ["spawn=debian:bookworm-slim", "spawn.depth=2", "spawn.total=3"];
    shell(&skep, "sh", &labels, &[]).await;
    let (socket, running) = open(&skep, "sh").await;
    let mut made = 0;
    let refusal = loop {
        let own = "/var/run/docker.sock:/var/run/docker.sock";
        let child = match docker(&socket, &["create", "-v", own, DEBIAN, "true"]).await {
            Ok(child) => child,
            Err(refusal) => break refusal,
        };
        made += 1;
        let grandchild = docker(&socket_of(&skep, &child), &["create", DEBIAN, "true"]).await;
        made += usize::from(grandchild.is_ok());
        docker(&socket, &["rm", &child]).await.unwrap();
        assert!(made < 10, "skep.spawn.total holds nothing");
    };
    assert!(refusal.contains("skep.spawn.total grants 3"), "{refusal}");
    assert_eq!(made, 3);
    running.abort();
}

#[tokio::test]
async fn a_start_finds_the_common_limits_in_place_whatever_became_of_them() {
    let skep = Skep::start("socket-cgroup").await;
    shell(&skep, "sh", &["spawn=debian:bookworm-slim", "spawn.memory=64m"], &[]).await;
    let (socket, running) = open(&skep, "sh").await;
    let child = docker(&socket, &["create", DEBIAN, "sleep", "60"]).await.unwrap();
    let below = format!("skep-children/{}/sh", skep.docker.namespace());
    let (old, new) = (
        Path::new("/sys/fs/cgroup/memory").join(&below),
        Path::new("/sys/fs/cgroup").join(&below),
    );
    // As a boot leaves it. Where children have even shares there is nothing to remove.
    for place in [&old, &new] {
        drop(std::fs::remove_dir(place));
    }
    docker(&socket, &["start", &child]).await.unwrap();
    for limit in [old.join("memory.limit_in_bytes"), new.join("memory.max")] {
        if let Ok(text) = std::fs::read_to_string(&limit) {
            assert_eq!(text.trim(), (64 << 20).to_string(), "{}", limit.display());
        }
    }
    docker(&socket, &["rm", "-f", &child]).await.unwrap();
    running.abort();
}
