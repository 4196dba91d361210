//! The lean engine, asked for by name: what an instance sees, what it can't do, and that nothing of it stays.

use http::{Request, StatusCode};
use skep_tests::{DEBIAN, Docker, Skep, cgroup_homes, cgroups, empty, eventually, probe_image};

#[tokio::test]
async fn each_invocation_has_a_file_system_and_processes_of_its_own() {
    let skep = Skep::start("lean-fresh").await;
    let script =
        "test -e /mark && echo stale; touch /mark /dev/shm/mark; (sleep 1000 &) ; ls /dev/shm; echo $$";
    let labels = ["handler=exec", "engine=lean"];
    skep.deploy(
        "fresh",
        &labels,
        &["--network", "none"],
        &[DEBIAN, "sh", "-c", script],
    )
    .await;
    for _ in 0..5 {
        let answer = skep.public.get("/fresh").await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "mark\n1\n"));
    }
    let namespace = skep.docker.namespace().to_owned();
    eventually("the last cgroup to go", async || {
        cgroups(&namespace).is_empty().then_some(())
    })
    .await;
    skep.finish().await;
    assert_eq!(cgroup_homes(&namespace), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn bodies_stream_through_both_ways_and_an_exit_code_is_told() {
    let skep = Skep::start("lean-streams").await;
    let labels = ["handler=exec", "engine=lean"];
    let none = ["--network", "none"];
    skep.deploy("cat", &labels, &none, &[&probe_image(), "cat"]).await;
    let body = vec![b'x'; 8 << 20];
    let answer = skep.public.post("/cat", body.clone()).await;
    assert!(answer.status == StatusCode::OK && answer.text().len() == body.len());
    skep.deploy(
        "fail",
        &labels,
        &none,
        &[DEBIAN, "sh", "-c", "echo why >&2; exit 3"],
    )
    .await;
    let answer = skep.public.get("/fail").await;
    assert_eq!(answer.problem(), "exit-code");
    assert_eq!(skep.record_of(&answer).await["ending"]["exit_code"], 3);
    skep.deploy("missing", &labels, &none, &[DEBIAN, "no-such-command"])
        .await;
    assert_eq!(skep.public.get("/missing").await.problem(), "start-failed");
    skep.finish().await;
}

#[tokio::test]
async fn a_web_server_is_reached_on_a_network_and_without_one() {
    let skep = Skep::start("lean-http").await;
    let network = skep.docker.network("lean", &[]);
    for (name, network) in [("own", "none"), ("bridge", network.as_str())] {
        let flags = ["--network", network];
        skep.deploy(name, &["engine=lean"], &flags, &[&probe_image(), "http"])
            .await;
        for _ in 0..3 {
            let answer = skep.public.get(&format!("/{name}/pid")).await;
            assert_eq!(
                (answer.status, answer.text().trim()),
                (StatusCode::OK, "1"),
                "{name}"
            );
        }
    }
    skep.deploy(
        "kept",
        &["engine=lean", "recycle=idle"],
        &[],
        &[&probe_image(), "http"],
    )
    .await;
    for count in 1..=3 {
        assert_eq!(
            skep.public.get("/kept/count").await.text().trim(),
            count.to_string()
        );
    }
    skep.finish().await;
}

#[tokio::test]
async fn what_lean_can_not_give_alike_is_refused_with_the_reason() {
    let skep = Skep::start("lean-refused").await;
    let cases: [(&str, &[&str], &str); 6] = [
        ("network", &["--network", "host"], "host's network"),
        ("ipc", &["--ipc", "host"], "--ipc host"),
        ("pid", &["--pid", "host"], "PidMode"),
        ("privileged", &["--privileged"], "Privileged"),
        ("over-proc", &["-v", "/tmp:/proc/x"], "mount over /proc/x"),
        ("log", &["--log-driver", "syslog"], "the driver syslog"),
    ];
    for (name, flags, _) in cases {
        skep.park(
            name,
            &["handler=exec", "engine=lean"],
            flags,
            &[&probe_image(), "env"],
        );
    }
    for (name, _, reason) in cases {
        let reasons = eventually("the function to be listed as invalid", async || {
            let answer = skep.control.get(&format!("/v1/functions/{name}")).await;
            (answer.status == StatusCode::OK).then(|| answer.text().to_owned())
        })
        .await;
        assert!(reasons.contains(reason), "{name}: {reasons}");
        assert_eq!(skep.public.get(&format!("/{name}")).await.problem(), "not-found");
    }
    skep.finish().await;
}

#[tokio::test]
async fn a_link_in_an_image_leads_no_mount_out_of_its_root() {
    let skep = Skep::start("lean-hostile").await;
    let host = tempfile::tempdir().expect("a directory");
    let target = host.path().display().to_string();
    let context = tempfile::tempdir().expect("a directory");
    let dockerfile = format!(
        "FROM {DEBIAN}\nRUN mkdir -p {target} && ln -s ../../../../../..{target} /escape && ln -s {target} /absolute\n"
    );
    std::fs::write(context.path().join("Dockerfile"), dockerfile).expect("a file");
    let image = format!("skep-test/links-{}", skep.docker.namespace());
    skep.docker
        .run(&["build", "-q", "-t", &image, &context.path().display().to_string()]);
    let labels = ["handler=exec", "engine=lean"];
    let flags = [
        "--network",
        "none",
        "--tmpfs",
        "/escape",
        "--tmpfs",
        "/absolute/below",
    ];
    let script = "echo x > /escape/x; echo y > /absolute/below/y; cat /escape/x /absolute/below/y";
    let template = skep
        .deploy("escape", &labels, &flags, &[&image, "sh", "-c", script])
        .await;
    let answer = skep.public.get("/escape").await;
    let written = std::fs::read_dir(host.path()).expect("it stands").count();
    skep.docker.remove(&template);
    skep.finish().await;
    Docker::new("lean-hostile").run(&["image", "rm", "-f", &image]);
    assert_eq!(
        (answer.text(), written),
        ("x\ny\n", 0),
        "the host's folder was written"
    );
}

#[tokio::test]
async fn a_kill_leaves_neither_processes_nor_cgroups_and_the_next_start_serves() {
    let mut skep = Skep::start("lean-kill").await;
    let labels = ["handler=exec", "engine=lean"];
    let flags = ["--network", "none"];
    skep.deploy("sleep", &labels, &flags, &[&probe_image(), "sleep", "1000"])
        .await;
    skep.deploy("hello", &labels, &flags, &[&probe_image(), "echo", "hello"])
        .await;
    let namespace = skep.docker.namespace().to_owned();
    let public = skep.public;
    let sleeping = tokio::spawn(async move {
        let request = Request::get("/sleep").body(empty()).expect("a request");
        public.try_send(request).await.is_ok()
    });
    eventually("an instance", async || {
        (!cgroups(&namespace).is_empty()).then_some(())
    })
    .await;
    skep.kill();
    assert!(!sleeping.await.expect("the caller ends"), "its answer is cut");
    // The spawner sees that nobody is there any more, and takes its children with it.
    eventually("its cgroups to go", async || {
        cgroups(&namespace).is_empty().then_some(())
    })
    .await;
    skep.restart().await;
    assert_eq!(skep.public.get("/hello").await.text(), "hello\n");
    skep.finish().await;
}

#[tokio::test]
async fn the_memory_and_the_disk_of_an_instance_are_bounded() {
    let skep = Skep::start("lean-bounds").await;
    let labels = ["handler=exec", "engine=lean", "disk=8m"];
    let flags = ["--network", "none", "--memory", "48m", "--memory-swap", "48m"];
    skep.deploy("memory", &labels, &flags, &[&probe_image(), "memory", "200"])
        .await;
    let answer = skep.public.get("/memory").await;
    assert_eq!(
        skep.record_of(&answer).await["ending"]["exit_code"],
        137,
        "{answer:?}"
    );
    let script = "head -c 20000000 /dev/zero > /big; echo $?; stat -c %s /big";
    skep.deploy(
        "disk",
        &labels,
        &["--network", "none"],
        &[DEBIAN, "sh", "-c", script],
    )
    .await;
    let answer = skep.public.get("/disk").await;
    let size: u64 = answer
        .text()
        .lines()
        .nth(1)
        .and_then(|line| line.parse().ok())
        .expect("a size");
    assert!(answer.text().starts_with('1') && size <= 8 << 20, "{answer:?}");
    skep.finish().await;
}
