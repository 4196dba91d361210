//! The first request to a function on a network with nothing running, beside `docker start` to the first answer.

use std::time::{Duration, Instant};

use super::{Context, Deployed};
use crate::load::{first_answer, latencies, median};
use crate::table::{Line, Report, milliseconds};

const PAIRS: usize = 15;

/// How long a new template is given to be seen; `docs/SPECIFICATION.md` promises 200 ms.
const SEEN: Duration = Duration::from_millis(500);

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Report> {
    let deployed = Deployed::new(context, &[], &[], "bridge").await?;
    deployed.serve.wait_for("/bench")?;
    let (mut cold, mut standing, mut docker) = (Vec::new(), Vec::new(), Vec::new());
    let (mut of_cold, mut of_standing) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let first = never_called(context, &deployed, pair).await?;
        let next = latencies(deployed.serve.listen, "/bench", 1)?[0];
        let theirs = docker_start(context, &format!("{}-yardstick-{pair}", deployed.serve.namespace)).await?;
        of_cold.push(first.as_secs_f64() / theirs.as_secs_f64());
        of_standing.push(next.as_secs_f64() / theirs.as_secs_f64());
        cold.push(first);
        standing.push(next);
        docker.push(theirs);
    }
    deployed.end().await?;
    let theirs = milliseconds(median(&mut docker));
    let line = |what: &str, times: &mut [Duration], ratios: &mut [f64], promise| Line {
        what: what.to_owned(),
        skep: milliseconds(median(times)),
        yardstick: format!("`docker start` to the first answer {theirs}"),
        result: format!("{:.2}×", median(ratios)),
        promise,
    };
    Ok(Report::Promises(vec![
        line(
            "first request to a function on a bridge network, nothing running: p50",
            &mut cold,
            &mut of_cold,
            "≤ 1.2×",
        ),
        line(
            "the same where its sandbox stands: p50",
            &mut standing,
            &mut of_standing,
            "none",
        ),
    ]))
}

/// The first request to a function that was deployed for it.
async fn never_called(context: &Context, deployed: &Deployed<'_>, pair: usize) -> anyhow::Result<Duration> {
    let (function, namespace) = (format!("cold-{pair}"), &deployed.serve.namespace);
    let labels = [
        ("skep.function", function.as_str()),
        ("skep.namespace", namespace.as_str()),
    ];
    let name = format!("{namespace}-{function}");
    let template = context.docker.create(&name, &labels, &[], "bridge").await?;
    tokio::time::sleep(SEEN).await;
    let time = latencies(deployed.serve.listen, &format!("/{function}"), 1).map(|times| times[0]);
    context.docker.remove(&template).await?;
    time
}

async fn docker_start(context: &Context, name: &str) -> anyhow::Result<Duration> {
    let id = context.docker.create(name, &[], &[], "bridge").await?;
    let began = Instant::now();
    context.docker.start(&id).await?;
    let address = context.docker.address(&id).await?;
    first_answer(address, "/", Duration::from_secs(30))?;
    let time = began.elapsed();
    context.docker.remove(&id).await?;
    Ok(time)
}
