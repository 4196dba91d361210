//! A fresh container for each request, beside `docker run` of the same: latency one by one, and the best rate.

use std::process::Command;
use std::time::{Duration, Instant};

use super::{Context, Deployed};
use crate::docker::{self, IMAGE};
use crate::load::{latencies, median, throughput};
use crate::table::{Line, Report, milliseconds};

const PAIRS: usize = 20;
const SECONDS: u64 = 10;

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Report> {
    let mut lines = Vec::new();
    let rate = docker_rate()?;
    for (engine, latency, throughput) in [
        ("lean", "≤ 5 ms, ≥ 40× less", "≥ 200/s, ≥ 20×"),
        ("docker", "none", "none"),
    ] {
        lines.extend(one_engine(context, engine, [latency, throughput], rate).await?);
    }
    Ok(Report::Promises(lines))
}

async fn one_engine(
    context: &Context,
    engine: &str,
    promises: [&'static str; 2],
    docker_rate: f64,
) -> anyhow::Result<[Line; 2]> {
    let labels = [("skep.handler", "exec"), ("skep.engine", engine)];
    let deployed = Deployed::new(context, &labels, &["/backend", "echo", "hello"], "none").await?;
    deployed.serve.wait_for("/bench")?;
    let (mut skep, mut docker) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        // Several for each of the other: the first meets what the other left to be cleaned up.
        skep.extend(latencies(deployed.serve.listen, "/bench", 10)?);
        docker.push(docker_run()?);
    }
    let (skep, docker) = (median(&mut skep), median(&mut docker));
    let url = format!("http://{}/bench", deployed.serve.listen);
    let rate = throughput(&url, 4, SECONDS, None)?;
    deployed.end().await?;
    let [latency, sustained] = promises;
    Ok([
        Line {
            what: format!("fresh container per request, static binary, no network, {engine} engine: p50"),
            skep: milliseconds(skep),
            yardstick: format!("`docker run` {}", milliseconds(docker)),
            result: format!("{:.1}× less", docker.as_secs_f64() / skep.as_secs_f64()),
            promise: latency,
        },
        Line {
            what: format!("the same, sustained with 4 callers, {engine} engine"),
            skep: format!("{rate:.1}/s"),
            yardstick: format!("`docker run`, 4 at a time: {docker_rate:.1}/s"),
            result: format!("{:.1}×", rate / docker_rate),
            promise: sustained,
        },
    ])
}

fn command() -> Command {
    let mut command = Command::new("docker");
    command.args([
        "run",
        "--rm",
        "--network",
        "none",
        IMAGE,
        "/backend",
        "echo",
        "hello",
    ]);
    command
}

fn docker_run() -> anyhow::Result<Duration> {
    let began = Instant::now();
    docker::run(&mut command())?;
    Ok(began.elapsed())
}

/// How many `docker run` a second four callers get.
fn docker_rate() -> anyhow::Result<f64> {
    let began = Instant::now();
    let count = std::thread::scope(|scope| {
        let caller = || -> anyhow::Result<u64> {
            let mut count = 0;
            while began.elapsed() < Duration::from_secs(SECONDS) {
                docker_run()?;
                count += 1;
            }
            Ok(count)
        };
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(caller)).collect();
        callers
            .into_iter()
            .map(|caller| caller.join().expect("no caller panics"))
            .sum::<anyhow::Result<u64>>()
    })?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
