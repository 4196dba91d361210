//! The same program in a fresh container, made in every way there is: one caller and several, each handler, with a
//! network and without. What is measured side by side is comparable; times carry over to no other machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::Context;
use crate::docker::{IMAGE, run};
use crate::runners::{DockerRun, Kernel, Lean, Runner, Runtime, Work};
use crate::skep::Serve;
use crate::table::{Report, milliseconds};

/// The latencies are taken in turns, so that what else happens on the machine meets all alike.
const ROUNDS: usize = 10;
/// Callers where there are several.
const SEVERAL: usize = 4;
/// How long each rate is measured.
const WINDOW: Duration = Duration::from_secs(2);

/// A way of running, and how many runs of it make a round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Floor,
    Lean,
    Runtime(&'static str),
    DockerRun,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Lean => "Skep, lean, through the gateway",
            Self::Runtime(program) => program,
            Self::DockerRun => "`docker run`",
        }
    }

    fn runs(self) -> usize {
        match self {
            Self::Floor | Self::Lean => 30,
            Self::Runtime(_) => 3,
            Self::DockerRun => 1,
        }
    }

    fn runner(self, case: &Case<'_>, stream: usize) -> anyhow::Result<Box<dyn Runner>> {
        let work = Work {
            stream,
            ..case.work.clone()
        };
        Ok(match self {
            Self::Floor => Box::new(Kernel::new(&work)?),
            Self::Lean => Box::new(Lean::new(case.serve.listen, &format!("/{}", case.function()))?),
            Self::Runtime(program) => Box::new(Runtime::new(program, &work)?),
            Self::DockerRun => Box::new(DockerRun::new(&work)),
        })
    }
}

const HANDLERS: [(&str, Option<&str>); 3] = [("exec", Some("echo")), ("cgi", Some("cgi")), ("http", None)];

struct Case<'a> {
    serve: &'a Serve,
    handler: &'static str,
    work: Work,
}

impl Case<'_> {
    fn network(&self) -> &'static str {
        match self.work.network {
            Some(_) => "bridge",
            None => "none",
        }
    }

    fn function(&self) -> String {
        function(self.handler, self.network())
    }
}

fn function(handler: &str, network: &str) -> String {
    format!("{handler}-{network}")
}

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Report> {
    let beside = context.skep.parent().context("the binary lies in a folder")?;
    let scratch = tempfile::tempdir_in(beside)?;
    let namespace = Serve::namespace();
    let (mut containers, outcome) = deploy(context, &namespace).await;
    let measured = match outcome {
        Ok(()) => serve_and_measure(context, &namespace, scratch.path(), &mut containers).await,
        Err(error) => Err(error),
    };
    for container in containers {
        context.docker.remove(&container).await?;
    }
    measured
}

/// A template for each handler and network; gives what was made even where that fails.
async fn deploy(context: &Context, namespace: &str) -> (Vec<String>, anyhow::Result<()>) {
    let mut made = Vec::new();
    for (handler, word) in HANDLERS {
        for network in ["none", "bridge"] {
            let function = function(handler, network);
            let labels = [
                ("skep.function", function.as_str()),
                ("skep.namespace", namespace),
                ("skep.handler", handler),
                ("skep.engine", "lean"),
            ];
            let command: Vec<&str> = word
                .into_iter()
                .flat_map(|word| ["/backend", word, "hello"])
                .collect();
            let name = format!("{namespace}-{function}");
            match context.docker.create(&name, &labels, &command, network).await {
                Ok(id) => made.push(id),
                Err(error) => return (made, Err(error)),
            }
        }
    }
    (made, Ok(()))
}

async fn serve_and_measure(
    context: &Context,
    namespace: &str,
    scratch: &Path,
    containers: &mut Vec<String>,
) -> anyhow::Result<Report> {
    let root = unpack(scratch)?;
    // Its network is the one that the others are given.
    let standing = context
        .docker
        .create(&format!("{namespace}-standing"), &[], &[], "bridge")
        .await?;
    containers.push(standing.clone());
    context.docker.start(&standing).await?;
    let process = run(Command::new("docker").args(["inspect", "-f", "{{.State.Pid}}", &standing]))?;
    let network = PathBuf::from(format!("/proc/{}/ns/net", process.trim()));
    let serve = Serve::start(&context.skep, namespace.to_owned())?;
    let mut runtimes = None;
    let mut rows = vec![head()];
    for (handler, command) in HANDLERS {
        for network in [None, Some(network.clone())] {
            let work = Work {
                root: root.clone(),
                scratch: scratch.to_owned(),
                command,
                network,
                stream: 0,
            };
            let runtimes = runtimes.get_or_insert_with(|| {
                let mut all = vec!["runc", "crun"];
                all.retain(|program| Runtime::works(program, &work));
                all
            });
            let case = Case {
                serve: &serve,
                handler,
                work,
            };
            serve.wait_for(&format!("/{}", case.function()))?;
            let measured = measure_case(&case, runtimes)?;
            for row in &measured {
                eprintln!("{}", row.join(", "));
            }
            rows.extend(measured);
        }
    }
    serve.stop()?;
    Ok(Report::Table(rows))
}

/// The image's files in a folder, with those that a file system is mounted over.
fn unpack(scratch: &Path) -> anyhow::Result<PathBuf> {
    let root = scratch.join("root");
    for folder in ["", "proc", "dev", "sys"] {
        std::fs::create_dir_all(root.join(folder))?;
    }
    let container = run(Command::new("docker").args(["create", IMAGE]))?;
    let copied = run(Command::new("docker")
        .arg("cp")
        .arg(format!("{}:/backend", container.trim()))
        .arg(&root));
    run(Command::new("docker").args(["rm", container.trim()]))?;
    copied.map(|_| root)
}

fn head() -> Vec<String> {
    let several = format!("{SEVERAL} streams");
    [
        "handler",
        "network",
        "how",
        "p50",
        "p99",
        "beside the floor",
        "one stream",
        &several,
        "of the floor's one",
    ]
    .map(str::to_owned)
    .to_vec()
}

struct Figures {
    way: Way,
    times: Vec<Duration>,
    rates: [f64; 2],
}

fn measure_case(case: &Case<'_>, runtimes: &[&'static str]) -> anyhow::Result<Vec<Vec<String>>> {
    let mut ways = vec![Way::Floor, Way::Lean];
    ways.extend(runtimes.iter().copied().map(Way::Runtime));
    ways.push(Way::DockerRun);
    let mut figures = Vec::new();
    for way in ways {
        figures.push((way.runner(case, 0)?, way, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (runner, way, times) in &mut figures {
            // The first meets what the way before it left to be cleaned up.
            runner.once()?;
            for _ in 0..way.runs() {
                times.push(runner.once()?);
            }
        }
    }
    let mut measured = Vec::new();
    for (runner, way, mut times) in figures {
        drop(runner);
        times.sort_unstable();
        let rates = [rate(way, case, 1)?, rate(way, case, SEVERAL)?];
        measured.push(Figures { way, times, rates });
    }
    let floor = measured.first().context("the floor comes first")?;
    Ok(measured.iter().map(|one| row(case, one, floor)).collect())
}

/// How many a second so many callers get, each asking for the next as soon as it has one.
fn rate(way: Way, case: &Case<'_>, streams: usize) -> anyhow::Result<f64> {
    let mut runners = Vec::new();
    for stream in 0..streams {
        let mut runner = way.runner(case, stream)?;
        runner.once()?;
        runners.push(runner);
    }
    let began = Instant::now();
    let count = std::thread::scope(|scope| {
        let callers: Vec<_> = runners
            .into_iter()
            .map(|mut runner| {
                scope.spawn(move || -> anyhow::Result<u64> {
                    let mut count = 0;
                    while began.elapsed() < WINDOW {
                        runner.once()?;
                        count += 1;
                    }
                    Ok(count)
                })
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().expect("no caller panics"))
            .sum::<anyhow::Result<u64>>()
    })?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

fn row(case: &Case<'_>, one: &Figures, floor: &Figures) -> Vec<String> {
    let percentile = |figures: &Figures, part: usize| figures.times[(figures.times.len() - 1) * part / 100];
    let (p50, least) = (percentile(one, 50), percentile(floor, 50));
    let best = one.rates[0].max(one.rates[1]);
    vec![
        case.handler.to_owned(),
        case.network().to_owned(),
        one.way.name().to_owned(),
        milliseconds(p50),
        milliseconds(percentile(one, 99)),
        format!("{:.2}×", p50.as_secs_f64() / least.as_secs_f64()),
        format!("{:.0}/s", one.rates[0]),
        format!("{:.0}/s", one.rates[1]),
        format!("{:.0} %", best / floor.rates[0] * 100.0),
    ]
}
