//! The layers of images under the lean engine: many of them, and those of an engine that shows them to nobody. Such
//! an engine keeps every layer as a whole copy (`vfs`), as others keep theirs in places that nobody may look into.

use std::io::Read;
use std::path::{Path, PathBuf};

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Channel};
use rustix::process::Signal;
use skep_tests::{DEBIAN, Engine, Skep, Start, eventually, probe_image};

/// What an image may hold beside ordinary files. What stands in a volume is the volume's.
const CONTENTS: &str = "RUN ln -s /etc /link && ln -s link/../passwd /dangling && ln /etc/passwd /hard && mkfifo -m 600 /fifo \
     && mknod -m 640 /node c 1 3 && mknod /disk b 7 3 && chown 12:34 /node && chmod 4755 /bin/true \
     && mkdir -m 1777 /sticky && touch -d @86400 /sticky/old '/sticky/a name\\twith\\nall' /sticky/.wh.gone \
     && mkdir -p /data/kept && echo first > /data/kept/file && chown -R 7:7 /data && chmod 0 /data/kept/file \
     && truncate -s 3M /sparse && touch -d @86400 /sticky\nVOLUME /data\n";

/// Every file with all that is known of it. A folder's size and links are its file system's own.
const LIST: &str = "find / -xdev -path /proc -prune -o -path /sys -prune -o -path /dev -prune -o \
     -type d -printf '%p %M %U:%G %Ts\\n' -o -printf '%p %M %U:%G %n %s %Ts %l\\n' \
     | grep -vE '^(/|/etc|/etc/(hosts|hostname|resolv.conf|mtab)|/data|/data/kept|/.dockerenv) ' | sort; cat /data/kept/file /etc/passwd | cksum";

/// An engine that shows its layers to nobody, and has this image.
fn hiding(base: &str) -> Engine {
    Engine::with(&[base], &["--storage-driver", "vfs"])
}

/// Builds an image on a test's own engine.
fn build(engine: &Engine, name: &str, base: &str, contents: &str, files: &[(&str, &[u8])]) {
    let context = tempfile::tempdir().expect("a directory");
    let dockerfile = format!("FROM {base}\n{contents}");
    std::fs::write(context.path().join("Dockerfile"), dockerfile).expect("a file");
    for (file, bytes) in files {
        std::fs::write(context.path().join(file), bytes).expect("a file");
    }
    let folder = context.path().display().to_string();
    engine.run(&["build", "-q", "--network", "none", "-t", name, &folder]);
}

/// Parks a function on an engine of the test's own, and waits until it is in force.
async fn park(skep: &Skep, engine: &Engine, name: &str, labels: &[&str], command: &[&str]) -> String {
    let own = format!("skep.namespace={}", skep.docker.namespace());
    let function = format!("skep.function={name}");
    let mut arguments = vec![
        "create",
        "--network",
        "none",
        "--label",
        &own,
        "--label",
        &function,
    ];
    arguments.extend(["--label", "skep.handler=exec"]);
    arguments.extend(labels.iter().flat_map(|label| ["--label", label]));
    arguments.extend(command);
    let id = engine.run(&arguments);
    skep.in_force(name, &id).await;
    id
}

async fn shown(skep: &Skep, name: &str) -> (String, String) {
    let shown = skep.control.get(&format!("/v1/functions/{name}")).await.json();
    let function = &shown["function"];
    (
        function["engine"].as_str().expect("an engine").to_owned(),
        function["fallback"].to_string(),
    )
}

async fn lean_takes_over(skep: &Skep, name: &str) {
    eventually("lean to take over", async || {
        (shown(skep, name).await.0 == "lean").then_some(())
    })
    .await;
    assert_eq!(shown(skep, name).await.1, "[]");
}

fn store(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data.join("layers"))
        .into_iter()
        .flatten()
        .flatten();
    entries.map(|entry| entry.path()).collect()
}

fn unfinished(data: &Path) -> usize {
    let is_unfinished = |path: &&PathBuf| path.display().to_string().contains("unfinished");
    store(data).iter().filter(is_unfinished).count()
}

async fn start(topic: &str, engine: &Engine, data: &Path, flags: &[&str]) -> Skep {
    let host = engine.host();
    let all = [&["--docker-host", &host], flags].concat();
    let flags = all.into_iter().map(str::to_owned).collect();
    let data = Some(data.to_owned());
    Skep::from(topic, Start { flags, data }).await
}

#[tokio::test]
async fn an_image_whose_layers_nobody_may_see_is_flattened_once_and_is_what_docker_shows() {
    let engine = hiding(DEBIAN);
    build(&engine, "image", DEBIAN, CONTENTS, &[]);
    is_flattened_once_and_what_docker_shows("layers", &engine, "image").await;
}

/// The store that engines use from Docker 29 on; older ones have it if they are asked to.
#[tokio::test]
async fn an_image_in_containerds_store_is_flattened_once_and_is_what_docker_shows() {
    let configuration = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(
        configuration.path(),
        r#"{"features": {"containerd-snapshotter": true}}"#,
    )
    .expect("it is written");
    let file = configuration.path().display().to_string();
    let engine = Engine::with(&[DEBIAN], &["--config-file", &file]);
    let driver = engine.run(&["info", "--format", "{{.Driver}} {{.DriverStatus}}"]);
    if !driver.contains("io.containerd.snapshotter") {
        println!("left out: this engine has no such store ({driver})");
        return;
    }
    is_flattened_once_and_what_docker_shows("layers-containerd", &engine, DEBIAN).await;
}

async fn is_flattened_once_and_what_docker_shows(topic: &str, engine: &Engine, image: &str) {
    let data = tempfile::tempdir().expect("a directory");
    let mut skep = start(topic, engine, data.path(), &[]).await;
    let template = park(&skep, engine, "list", &[], &[image, "sh", "-c", LIST]).await;
    let (first, why) = shown(&skep, "list").await;
    assert!(
        first == "docker" && why.contains("flattened for the lean engine at the first request"),
        "{first} {why}"
    );
    let answers = futures::future::join_all((0..3).map(|_| skep.public.get("/list"))).await;
    lean_takes_over(&skep, "list").await;
    let lean = skep.public.get("/list").await;
    assert_eq!(lean.status, StatusCode::OK, "{lean:?}");
    for docker in answers {
        let (docker, lean): (Vec<&str>, Vec<&str>) =
            (docker.text().lines().collect(), lean.text().lines().collect());
        let differing = docker.iter().zip(&lean).find(|(docker, lean)| docker != lean);
        assert!(
            docker.len() == lean.len() && docker.len() > 1000,
            "{} and {}",
            docker.len(),
            lean.len()
        );
        assert_eq!(differing, None);
    }
    assert_eq!(
        skep.said().matches("flattening the image").count(),
        1,
        "{}",
        skep.said()
    );
    // Another template of the same image has it at once, and so has the next Skep.
    park(
        &skep,
        engine,
        "demanded",
        &["skep.engine=lean"],
        &[image, "cat", "/etc/debian_version"],
    )
    .await;
    assert_eq!(skep.public.get("/demanded").await.status, StatusCode::OK);
    skep.signal(Signal::TERM);
    assert!(skep.ended().await.success());
    skep.restart().await;
    skep.in_force("list", &template).await;
    assert_eq!(shown(&skep, "list").await.0, "lean");
    assert_eq!(skep.public.get("/demanded").await.status, StatusCode::OK);
    assert_eq!(
        skep.said().matches("flattening the image").count(),
        0,
        "{}",
        skep.said()
    );
    assert_eq!(store(data.path()).len(), 1);
    let left = engine.run(&["ps", "-aq", "--filter", "name=-layers-[0-9a-f]{12}$"]);
    assert_eq!(left, "", "what was exported is removed");
    skep.finish().await;
}

#[tokio::test]
async fn first_requests_that_demand_lean_wait_for_one_flattening_and_a_kill_in_its_middle_leaves_nothing() {
    const BYTES: u64 = 30_000_000;
    let probe = probe_image();
    let engine = hiding(&probe);
    let random = std::fs::File::open("/dev/urandom").expect("it is there");
    let mut big = Vec::new();
    random.take(BYTES).read_to_end(&mut big).expect("it is read");
    build(&engine, "image", &probe, "COPY big /big\n", &[("big", &big)]);
    let data = tempfile::tempdir().expect("a directory");
    let mut skep = start("layers-kill", &engine, data.path(), &[]).await;
    let labels = ["skep.engine=lean", "skep.timeout=100s"];
    park(&skep, &engine, "big", &labels, &["image", "read", "/big"]).await;
    let public = skep.public;
    let cut = tokio::spawn(async move {
        let request = Request::get("/big").body(skep_tests::empty()).expect("a request");
        public.try_send(request).await.is_ok()
    });
    eventually("the flattening to begin", async || {
        (unfinished(data.path()) > 0).then_some(())
    })
    .await;
    skep.kill();
    assert!(!cut.await.expect("the caller ends"));
    assert_eq!(unfinished(data.path()), 1);
    skep.restart().await;
    assert_eq!(store(data.path()), Vec::<PathBuf>::new());
    let answers = futures::future::join_all((0..3).map(|_| skep.public.get("/big"))).await;
    for answer in answers {
        assert!(answer.body == big, "{} bytes of it", answer.body.len());
    }
    assert_eq!(
        skep.said().matches("flattening the image").count(),
        1,
        "{}",
        skep.said()
    );
    assert_eq!((store(data.path()).len(), unfinished(data.path())), (1, 0));
    skep.finish().await;
}

#[tokio::test]
async fn layers_stay_while_an_instance_of_a_removed_template_runs_and_go_afterwards() {
    let probe = probe_image();
    let engine = hiding(&probe);
    build(
        &engine,
        "image",
        &probe,
        "COPY word /word\n",
        &[("word", b"first")],
    );
    build(
        &engine,
        "other",
        &probe,
        "COPY word /word\n",
        &[("word", b"other")],
    );
    let data = tempfile::tempdir().expect("a directory");
    let skep = start("layers-gone", &engine, data.path(), &["--keep-layers", "1s"]).await;
    let labels = ["skep.engine=lean", "skep.timeout=100s"];
    let id = park(&skep, &engine, "late", &labels, &["image", "cat"]).await;
    let other = park(&skep, &engine, "other", &labels, &["other", "read", "/word"]).await;
    let (mut sender, body) = Channel::<bytes::Bytes>::new(1);
    let request = Request::post("/late").body(body.boxed()).expect("a request");
    let public = skep.public;
    let answer = tokio::spawn(async move { public.send(request).await });
    sender.send_data("x".into()).await.expect("it is taken");
    let process = eventually("the instance", async || {
        let list = skep.control.get("/v1/instances").await.json();
        let locator = list["instances"][0]["locator"].as_str()?.to_owned();
        locator.strip_prefix("pid ").map(str::to_owned)
    })
    .await;
    engine.run(&["rm", &id]);
    eventually("the function to go", async || {
        (skep.control.get("/v1/functions/late").await.status == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    // Layers that were needed for longer than these go first, if these are not needed.
    assert_eq!(skep.public.get("/other").await.text(), "other");
    assert_eq!(store(data.path()).len(), 2);
    engine.run(&["rm", &other]);
    let image = engine.run(&["image", "inspect", "--format", "{{.Id}}", "image"]);
    let kept = data
        .path()
        .join("layers")
        .join(image.trim_start_matches("sha256:"));
    eventually("the other image's layers to go", async || {
        (store(data.path()).len() < 2).then_some(())
    })
    .await;
    assert_eq!(store(data.path()), [kept]);
    let word = std::fs::read(format!("/proc/{process}/root/word"));
    assert_eq!(word.expect("the instance runs"), b"first");
    drop(sender);
    let answer = answer.await.expect("an answer");
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "x"));
    eventually("the layers to go", async || {
        store(data.path()).is_empty().then_some(())
    })
    .await;
    skep.finish().await;
}

#[tokio::test]
async fn an_image_of_a_hundred_layers_runs_on_lean() {
    let skep = Skep::start("layers-many").await;
    let context = tempfile::tempdir().expect("a directory");
    std::fs::write(context.path().join("file"), "x").expect("a file");
    let copies: String = (1..=100)
        .map(|number| format!("COPY file /many/{number}\n"))
        .collect();
    let dockerfile = format!("FROM {DEBIAN}\n{copies}");
    std::fs::write(context.path().join("Dockerfile"), dockerfile).expect("a file");
    let image = format!("skep-test/many-{}", skep.docker.namespace());
    let folder = context.path().display().to_string();
    skep.docker.run(&["build", "-q", "-t", &image, &folder]);
    let labels = ["handler=exec", "engine=lean"];
    let script = "ls /many | wc -l; cat /many/1 /many/100";
    let command = [image.as_str(), "sh", "-c", script];
    let template = skep
        .deploy("many", &labels, &["--network", "none"], &command)
        .await;
    let answer = skep.public.get("/many").await;
    skep.docker.remove(&template);
    let docker = skep
        .docker
        .run(&["image", "inspect", "-f", "{{len .RootFS.Layers}}", &image]);
    skep.finish().await;
    skep_tests::Docker::new("layers-many").run(&["image", "rm", "-f", &image]);
    assert_eq!((answer.text(), docker.as_str()), ("100\nxx", "101"));
}
