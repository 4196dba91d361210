//! What `skep serve` costs while nobody asks, with many functions registered.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::Context;
use crate::skep::Serve;
use crate::table::{Line, Report};

const WATCH: Duration = Duration::from_secs(60);

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Report> {
    let namespace = Serve::namespace();
    let create = |index: usize| {
        let (docker, namespace) = (&context.docker, namespace.as_str());
        async move {
            let function = format!("f{index}");
            let labels = [
                ("skep.function", function.as_str()),
                ("skep.namespace", namespace),
            ];
            docker
                .create(&format!("{namespace}-{index}"), &labels, &[], "bridge")
                .await
        }
    };
    let ids: Vec<String> = stream::iter((0..context.functions).map(create))
        .buffer_unordered(4)
        .try_collect()
        .await?;
    let result = watch(context, &namespace);
    stream::iter(ids.iter().map(|id| context.docker.remove(id)))
        .buffer_unordered(4)
        .try_collect::<Vec<()>>()
        .await?;
    let (resident, share) = result?;
    Ok(Report::Promises(vec![Line {
        what: format!(
            "`skep serve`, idle for {} s, {} functions registered",
            WATCH.as_secs(),
            context.functions
        ),
        skep: format!("{resident:.1} MB resident, {share:.2} % of a core"),
        yardstick: "none".into(),
        result: String::new(),
        promise: "≤ 40 MB, ≤ 1 %",
    }]))
}

fn watch(context: &Context, namespace: &str) -> anyhow::Result<(f64, f64)> {
    let serve = Serve::start(&context.skep, namespace.to_owned())?;
    // A function of the far end answers: by then all of them are known.
    serve.wait_for(&format!("/f{}", context.functions - 1))?;
    std::thread::sleep(Duration::from_secs(5));
    let (before, began) = (cpu_seconds(serve.pid())?, Instant::now());
    std::thread::sleep(WATCH);
    let share = (cpu_seconds(serve.pid())? - before) / began.elapsed().as_secs_f64() * 100.0;
    let resident = resident_megabytes(serve.pid())?;
    serve.stop()?;
    Ok((resident, share))
}

/// User and system time so far (proc(5), `stat`, fields 14 and 15; a tick is 10 ms on Linux).
fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .context("stat")?
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}

fn resident_megabytes(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("VmRSS")?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes / 1024.0)
}
