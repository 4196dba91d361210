//! `make bench`: the promises in numbers, each measured beside its yardstick in one run on this machine.
//!
//! It prints a row for each promise of the specification that applies, as a Markdown table, and exits 0 whatever
//! the figures are: a bench measures, it does not judge. Ratios carry over from machine to machine, times don't.

mod docker;
mod load;
mod rows;
mod skep;
mod table;

use clap::Parser;

/// Measures Skep beside nginx, `docker run` and `docker start`.
#[derive(Parser)]
struct Arguments {
    /// Only the rows whose name contains one of these.
    rows: Vec<String>,
    /// The `skep` binary to measure.
    #[arg(long, default_value = "target/release/skep")]
    skep: std::path::PathBuf,
    /// How many functions are registered for the idle row.
    #[arg(long, default_value_t = 1000)]
    functions: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let docker = docker::Engine::connect().await?;
    let context = rows::Context {
        docker,
        skep: arguments.skep,
        functions: arguments.functions,
    };
    let wanted = |name: &str| {
        arguments.rows.is_empty() || arguments.rows.iter().any(|row| name.contains(row.as_str()))
    };
    table::header();
    for (name, row) in rows::ALL {
        if wanted(name) {
            for line in row(&context).await? {
                table::row(&line);
            }
        }
    }
    Ok(())
}
