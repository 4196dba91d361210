//! Asynchronous invocations accepted, each durable before its 202, beside what the disk can sync one by one.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{Context, Deployed};
use crate::load::throughput;
use crate::table::{Line, Report};

const CALLERS: usize = 256;
const SECONDS: u64 = 5;
const REQUEST: &str = r#"
wrk.method = "POST"
wrk.body = '{"voter":"0123456789abcdef","choice":"a"}'
wrk.headers["Prefer"] = "respond-async"
wrk.headers["Content-Type"] = "application/json"
"#;

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Report> {
    let labels = [
        ("skep.handler", "exec"),
        ("skep.max", "1"),
        ("skep.backlog", "10000000"),
    ];
    let deployed = Deployed::new(context, &labels, &["/backend", "echo"], "none").await?;
    deployed.serve.wait_for("/bench")?;
    let url = format!("http://{}/bench", deployed.serve.listen);
    let rate = throughput(&url, CALLERS, SECONDS, Some(REQUEST))?;
    let syncs = syncs_a_second(context.skep.parent().context("the binary lies in a folder")?)?;
    deployed.end().await?;
    Ok(Report::Promises(vec![Line {
        what: format!("asynchronous invocations accepted, each synced to disk first, {CALLERS} callers"),
        skep: format!("{rate:.0}/s"),
        yardstick: format!("one fsync after another: {syncs:.0}/s"),
        result: format!("{:.1}×", rate / syncs),
        promise: "≥ 5,000/s",
    }]))
}

/// How often a second a small append can be synced where the data lies.
fn syncs_a_second(folder: &Path) -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile_in(folder)?;
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < Duration::from_secs(1) {
        file.write_all(&[0; 512])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}
