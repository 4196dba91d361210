//! `make bench`: the promises in numbers, each measured beside its yardstick in one run on this machine.
//!
//! It prints a row for each promise of the specification that applies, as a Markdown table, and exits 0 whatever
//! the figures are: a bench measures, it does not judge. Ratios carry over from machine to machine, times don't.

mod docker;
mod floor;
mod load;
mod rows;
mod runners;
mod skep;
mod table;
mod unix;

use clap::Parser;

/// Measures Skep beside the kernel itself, runc, crun, `docker run`, `docker start` and nginx.
#[derive(Parser)]
struct Arguments {
    /// Only the rows whose name contains one of these: fresh, compare, spares, reused, cold, idle, accept, children.
    rows: Vec<String>,
    /// The `skep` binary to measure.
    #[arg(long, default_value = "target/release/skep")]
    skep: std::path::PathBuf,
    /// How many functions are registered for the idle row.
    #[arg(long, default_value_t = 1000)]
    functions: usize,
}

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    // A process of its own, before there is a second thread.
    if words.next().as_deref() == Some(floor::VERB) {
        return floor::run(words);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(Arguments::parse()))
}

async fn measure(arguments: Arguments) -> anyhow::Result<()> {
    let docker = docker::Engine::connect().await?;
    let context = rows::Context {
        docker,
        skep: arguments.skep,
        functions: arguments.functions,
    };
    let wanted = |name: &str| {
        arguments.rows.is_empty() || arguments.rows.iter().any(|row| name.contains(row.as_str()))
    };
    let mut printer = table::Printer::default();
    for (name, row) in rows::ALL {
        if wanted(name) {
            printer.print(&row(&context).await?);
        }
    }
    Ok(())
}
