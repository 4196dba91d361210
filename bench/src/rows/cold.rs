//! The first request to a function on a network with nothing running, beside `docker start` to the first answer.

use std::time::{Duration, Instant};

use super::{Context, Deployed};
use crate::load::{first_answer, latencies, median};
use crate::table::{Line, milliseconds};

const PAIRS: usize = 15;

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Vec<Line>> {
    let deployed = Deployed::new(context, &[], &[], "bridge").await?;
    deployed.serve.wait_for("/bench")?;
    let (mut skep, mut docker, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let ours = latencies(deployed.serve.listen, "/bench", 1)?[0];
        let theirs = docker_start(context, &format!("{}-yardstick-{pair}", deployed.serve.namespace)).await?;
        ratios.push(ours.as_secs_f64() / theirs.as_secs_f64());
        skep.push(ours);
        docker.push(theirs);
    }
    deployed.end().await?;
    Ok(vec![Line {
        what: "first request to a function on a bridge network, nothing running: p50".into(),
        skep: milliseconds(median(&mut skep)),
        yardstick: format!(
            "`docker start` to the first answer {}",
            milliseconds(median(&mut docker))
        ),
        result: format!("{:.2}×", median(&mut ratios)),
        promise: "≤ 1.2×",
    }])
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
