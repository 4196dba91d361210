//! Containers that a function starts through its socket: stock docker-py beside the same through dockerd, and how many
//! a client gets that does nothing else.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::{Context, Deployed};
use crate::docker::{IMAGE, run};
use crate::load::median;
use crate::table::{Line, Report, milliseconds};
use crate::unix::Client;

const ROUNDS: usize = 15;
/// Runs in each round through Skep, for one through dockerd.
const RUNS: usize = 6;
const STREAMS: usize = 4;
const WINDOW: Duration = Duration::from_secs(8);
const DOCKERD: &str = "/var/run/docker.sock";

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Report> {
    let labels = [
        ("skep.handler", "exec"),
        ("skep.engine", "lean"),
        ("skep.timeout", "600s"),
        ("skep.spawn", IMAGE),
        ("skep.spawn.max", "32"),
        ("skep.spawn.total", "1000000"),
        ("skep.spawn.memory", "1g"),
        ("skep.spawn.cpus", "2"),
    ];
    // Without an argument it serves, and never ends by itself.
    let deployed = Deployed::new(context, &labels, &["/backend"], "bridge").await?;
    // It runs for as long as its caller stays.
    let mut caller = TcpStream::connect(deployed.serve.listen)?;
    caller.write_all(b"GET /bench HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let measured = socket(deployed.serve.data()).and_then(|socket| through(&socket));
    drop(caller);
    let ended = deployed.end().await;
    let lines = measured?;
    ended?;
    Ok(Report::Promises(lines))
}

/// The function's socket, as the host sees it.
fn socket(data: &Path) -> anyhow::Result<PathBuf> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(30) {
        let folders = std::fs::read_dir(data.join("sockets")).into_iter().flatten();
        let mut sockets = folders.flatten().map(|folder| folder.path().join("docker.sock"));
        if let Some(socket) = sockets.find(|socket| Client::connect(socket).is_ok()) {
            return Ok(socket);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("the function has no socket")
}

fn through(socket: &Path) -> anyhow::Result<Vec<Line>> {
    let mut lines = docker_py(socket)?;
    for (alone, what) in [(false, "on the default bridge"), (true, "without a network")] {
        let skep = rate(socket, alone)?;
        let docker = rate(Path::new(DOCKERD), alone)?;
        lines.push(Line {
            what: format!("children made, started, awaited and removed, {STREAMS} streams, {what}"),
            skep: format!("{skep:.0}/s"),
            yardstick: format!("dockerd {docker:.1}/s"),
            result: format!("{:.0}×", skep / docker),
            promise: "≥ 100/s",
        });
    }
    Ok(lines)
}

fn docker_py(socket: &Path) -> anyhow::Result<Vec<Line>> {
    let own = Path::new("target/tools/clients/bin/python3");
    let python = if own.exists() { own } else { Path::new("python3") };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("children.py");
    let said = run(Command::new(python)
        .arg(script)
        .args([IMAGE, &ROUNDS.to_string()])
        .arg(format!("skep={}:{RUNS}", socket.display()))
        .arg(format!("docker={DOCKERD}:1")))
    .context("docker-py is installed by `scripts/setup bench`")?;
    let said: Vec<Value> = said.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut lines = Vec::new();
    for (skep, docker) in said.chunks_exact(2).map(|pair| (&pair[0], &pair[1])) {
        let p50 = |of: &Value| -> anyhow::Result<Duration> {
            let mut times: Vec<f64> = serde_json::from_value(of["times"].clone())?;
            Ok(Duration::from_secs_f64(median(&mut times)))
        };
        let (ours, theirs) = (p50(skep)?, p50(docker)?);
        let how = if skep["detach"] == true { ", detached" } else { "" };
        let network = if skep["alone"] == true {
            "without a network"
        } else {
            "on the default bridge"
        };
        lines.push(Line {
            what: format!("docker-py's `containers.run`{how}, {network}, lean children: p50"),
            skep: milliseconds(ours),
            yardstick: format!("dockerd {}", milliseconds(theirs)),
            result: format!("{:.1}×", theirs.as_secs_f64() / ours.as_secs_f64()),
            promise: "≥ 20×",
        });
    }
    Ok(lines)
}

/// Containers a second, made by as many streams as there are.
fn rate(socket: &Path, alone: bool) -> anyhow::Result<f64> {
    let mut body = json!({ "Image": IMAGE, "Cmd": ["/backend", "echo", "hello"] });
    if alone {
        body["HostConfig"] = json!({ "NetworkMode": "none" });
    }
    let body = body.to_string();
    let stream = |window: Duration| -> anyhow::Result<usize> {
        let (mut client, began, mut count) = (Client::connect(socket)?, Instant::now(), 0);
        while count == 0 || began.elapsed() < window {
            client.run(&body)?;
            count += 1;
        }
        Ok(count)
    };
    let all = |window: Duration| -> anyhow::Result<usize> {
        std::thread::scope(|scope| {
            let streams: Vec<_> = (0..STREAMS).map(|_| scope.spawn(|| stream(window))).collect();
            let counts = streams
                .into_iter()
                .map(|stream| stream.join().expect("no stream panics"));
            counts.sum()
        })
    };
    // The first of each stream waits for its sandbox.
    all(Duration::ZERO)?;
    let began = Instant::now();
    let count = all(WINDOW)?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
