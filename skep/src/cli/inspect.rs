//! Every verb but `serve`: short-lived, and most of them ask a running Skep.

use std::path::PathBuf;

use clap::Args;
use skep_model::Namespace;

use super::{Addresses, Docker};
use crate::environment;

/// Where a running Skep is asked.
#[derive(Debug, Clone, Args)]
pub(crate) struct Control {
    /// The control listener of the running Skep
    #[arg(long, value_name = "URL", env = environment::CONTROL, default_value = "http://127.0.0.1:8081")]
    pub(crate) control: String,

    /// A file with the token that it asks for
    #[arg(long, value_name = "FILE", env = environment::CONTROL_TOKEN_FILE)]
    pub(crate) control_token_file: Option<PathBuf>,
}

/// `skep ls` and `skep ps`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) control: Control,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `skep tree`.
#[derive(Debug, Args)]
pub(crate) struct Tree {
    /// Only this function's [default: every function's]
    #[arg(value_name = "FUNCTION")]
    pub(crate) function: Option<String>,

    /// Draw it again whenever something changes, until interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) control: Control,
}

/// `skep invoke`.
#[derive(Debug, Args)]
pub(crate) struct Invoke {
    /// The function
    #[arg(value_name = "FUNCTION")]
    pub(crate) function: String,

    /// The request's body: text, @FILE, or - for standard input
    #[arg(short, long, value_name = "BODY", allow_hyphen_values = true)]
    pub(crate) data: Option<String>,

    /// The path and query that the function sees
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub(crate) path: String,

    /// The request's method [default: POST with a body, GET without]
    #[arg(short = 'X', long, value_name = "METHOD")]
    pub(crate) method: Option<http::Method>,

    /// A field of the request's header; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(http::HeaderName, http::HeaderValue)>,

    /// Have it accepted and run by itself; prints the invocation's id
    #[arg(long = "async")]
    pub(crate) asynchronous: bool,

    /// Show the answer's status and header on standard error
    #[arg(short, long)]
    pub(crate) include: bool,

    #[command(flatten)]
    pub(crate) control: Control,
}

/// `skep logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// A function, or the id of an invocation
    #[arg(value_name = "FUNCTION|INVOCATION")]
    pub(crate) whose: String,

    /// Go on with what is still to be written
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Only the last so many lines
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(crate) tail: Option<u32>,

    /// Only since then: a time (2026-01-31T12:00:00Z), or how long ago (10m)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,

    /// Put the time before each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,

    /// Print each line as a JSON object
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) control: Control,
}

/// `skep inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// A function's name, or the id of an invocation or an instance
    #[arg(value_name = "FUNCTION|ID")]
    pub(crate) what: String,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) control: Control,
}

/// `skep rm`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The functions
    #[arg(value_name = "FUNCTION", required = true)]
    pub(crate) functions: Vec<String>,

    /// The namespace that they are in
    #[arg(long, value_name = "NAME", env = environment::NAMESPACE, default_value = "default")]
    pub(crate) namespace: Namespace,

    #[command(flatten)]
    pub(crate) docker: Docker,

    #[command(flatten)]
    pub(crate) control: Control,
}

/// `skep deploy`.
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// The Compose file; several are merged [default: compose.yaml and its like in this folder]
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// The project's name [default: the file's own, or its folder's]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) project: Option<String>,

    /// Profiles to switch on, with commas
    #[arg(long = "profile", value_name = "NAMES", value_delimiter = ',')]
    pub(crate) profiles: Vec<String>,

    /// Remove the project's functions, services and networks; volumes stay
    #[arg(long, conflicts_with_all = ["build", "force_recreate"])]
    pub(crate) down: bool,

    /// With --down: remove its volumes, too
    #[arg(short, long, requires = "down")]
    pub(crate) volumes: bool,

    /// Build images even where they are there already
    #[arg(long)]
    pub(crate) build: bool,

    /// Replace even what did not change
    #[arg(long)]
    pub(crate) force_recreate: bool,

    /// Remove what carries the project's name and is no longer in the file
    #[arg(long)]
    pub(crate) remove_orphans: bool,

    /// The namespace of its functions
    #[arg(long, value_name = "NAME", env = environment::NAMESPACE, default_value = "default")]
    pub(crate) namespace: Namespace,

    /// The port of SKEP_URL, as `skep serve` has it
    #[arg(long, value_name = "PORT", env = environment::CALL_PORT, default_value_t = 8082)]
    pub(crate) call_port: u16,

    #[command(flatten)]
    pub(crate) docker: Docker,

    #[command(flatten)]
    pub(crate) control: Control,
}

/// `skep doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Where `skep serve` would keep its data
    #[arg(long, value_name = "DIRECTORY", env = environment::DATA_DIR, default_value = "/var/lib/skep")]
    pub(crate) data_dir: PathBuf,

    #[command(flatten)]
    pub(crate) docker: Docker,

    #[command(flatten)]
    pub(crate) addresses: Addresses,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn header(text: &str) -> Result<(http::HeaderName, http::HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("must be NAME: VALUE")?;
    let name = name
        .trim()
        .parse()
        .map_err(|_| format!("{name:?} is not the name of a header field"))?;
    let value = value
        .trim()
        .parse()
        .map_err(|_| format!("{value:?} is not the value of a header field"))?;
    Ok((name, value))
}
