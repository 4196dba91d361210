//! Functions in languages whose runtimes start slowly: a container never used before for each request, with spares
//! and without. `skep.ready` names a path: the question whether it is ready runs the code that a first request meets
//! cold, so that the request itself does not.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Context;
use crate::docker::run;
use crate::load::latencies;
use crate::skep::Serve;
use crate::table::{Line, Report, milliseconds};

/// The languages: what they are called here and in `bench/functions`.
const LANGUAGES: [(&str, &str); 2] = [("python", "Python"), ("node", "Node")];
const REQUESTS: usize = 40;
const COLD_REQUESTS: usize = 10;
/// Between two requests, in times of what a start takes: another spare takes the place of the one that was used.
const STARTS: u32 = 4;

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Report> {
    let mut lines = Vec::new();
    for (folder, language) in LANGUAGES {
        let image = build(folder)?;
        let namespace = Serve::namespace();
        let mut templates = Vec::new();
        for (function, spares) in [("spared", "2"), ("cold", "0")] {
            let labels = [
                ("skep.function", function),
                ("skep.namespace", namespace.as_str()),
                ("skep.spares", spares),
                ("skep.ready", "/"),
            ];
            let name = format!("{namespace}-{function}");
            let created = context
                .docker
                .create_of(&image, &name, &labels, &[], "bridge")
                .await;
            templates.push(created?);
        }
        let measured = ask(context, &namespace);
        for template in templates {
            context.docker.remove(&template).await?;
        }
        let (spared, cold) = measured?;
        lines.push(line(language, spared, cold));
    }
    Ok(Report::Promises(lines))
}

fn build(folder: &str) -> anyhow::Result<String> {
    let image = format!("skep-bench/{folder}");
    let files = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("functions")
        .join(folder);
    run(Command::new("docker")
        .args(["build", "-q", "-t", &image])
        .arg(files))?;
    Ok(image)
}

/// The times with spares and without, in order.
fn ask(context: &Context, namespace: &str) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let serve = Serve::start(&context.skep, namespace.to_owned())?;
    let times = |path: &str, count: usize, pause: Duration| -> anyhow::Result<Vec<Duration>> {
        serve.wait_for(path)?;
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            std::thread::sleep(pause);
            times.extend(latencies(serve.listen, path, 1)?);
        }
        times.sort_unstable();
        Ok(times)
    };
    let cold = times("/cold", COLD_REQUESTS, Duration::ZERO)?;
    let spared = times("/spared", REQUESTS, cold[COLD_REQUESTS / 2] * STARTS)?;
    serve.stop()?;
    Ok((spared, cold))
}

fn line(language: &str, spared: Vec<Duration>, cold: Vec<Duration>) -> Line {
    let percentile = |times: &[Duration], part: usize| times[(times.len() - 1) * part / 100];
    let (fast, slow) = (percentile(&spared, 50), percentile(&cold, 50));
    Line {
        what: format!("a {language} function, a fresh container per request, two spares: p50"),
        skep: format!(
            "{} (p99 {})",
            milliseconds(fast),
            milliseconds(percentile(&spared, 99))
        ),
        yardstick: format!("without spares {}", milliseconds(slow)),
        result: format!("{:.0}× less", slow.as_secs_f64() / fast.as_secs_f64()),
        promise: "< 5 ms",
    }
}
