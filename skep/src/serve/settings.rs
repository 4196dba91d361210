//! What was typed, resolved: files read, texts understood, what excludes each other refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use skep_control::{Access, Token};
use skep_gateway::TrustedProxies;
use skep_model::{EngineChoice, Namespace};

use crate::cli::{self, EngineDefault};
use crate::exit::{Exit, Failed};

/// Everything that `skep serve` needs to know, as plain data.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) listen: SocketAddr,
    pub(super) control: SocketAddr,
    pub(super) access: Access,
    pub(super) call_port: u16,
    pub(super) namespace: Namespace,
    pub(super) data_directory: PathBuf,
    pub(super) docker_host: Option<String>,
    /// What `skep.engine=auto` means.
    pub(super) engine: EngineChoice,
    pub(super) gateway: skep_gateway::Config,
    pub(super) memory_budget: Option<u64>,
    pub(super) drain_timeout: Duration,
    pub(super) relist: Duration,
    pub(super) keep_for: Duration,
    pub(super) keep_bytes: u64,
}

impl Settings {
    pub(super) fn resolve(options: cli::Serve) -> Result<Self, Failed> {
        let access = access(
            options.control,
            options.control_token_file.as_deref(),
            &options.control_names,
        )?;
        let mut gateway = skep_gateway::Config::default();
        let proxies = options.trusted_proxies.join(",");
        gateway.trusted_proxies = proxies
            .parse::<TrustedProxies>()
            .map_err(|error| Failed::new(Exit::Usage, format!("--trusted-proxies: {error}")))?;
        if let Some(bytes) = options.max_body {
            gateway.max_body = bytes;
        }
        Ok(Self {
            listen: options.listen,
            control: options.control,
            access,
            call_port: options.call_port,
            namespace: options.namespace,
            data_directory: options.data_dir,
            docker_host: options.docker_host,
            engine: match options.engine {
                EngineDefault::Auto => EngineChoice::Auto,
                EngineDefault::Lean => EngineChoice::Lean,
                EngineDefault::Docker => EngineChoice::Docker,
            },
            gateway,
            memory_budget: options.memory_budget,
            drain_timeout: options.drain_timeout,
            relist: options.relist,
            keep_for: options.keep_for,
            keep_bytes: options.keep_bytes,
        })
    }
}

/// Who may speak to a control listener.
pub(super) fn access(
    address: SocketAddr,
    token_file: Option<&Path>,
    names: &[String],
) -> Result<Access, Failed> {
    let token = token_file.map(token).transpose()?;
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let names = names.iter().cloned().chain([own]);
    Access::new(address, token, names).map_err(|error| {
        Failed::new(Exit::Usage, error.to_string())
            .hint("write a secret into a file and give it with --control-token-file, or listen on 127.0.0.1")
    })
}

fn token(path: &Path) -> Result<Token, Failed> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failed::new(
            Exit::Usage,
            format!("the token file {} can't be read: {error}", path.display()),
        )
    })?;
    Token::new(&text).ok_or_else(|| {
        Failed::new(Exit::Usage, format!("the token file {} is empty", path.display()))
            .hint("for example: openssl rand -hex 32 > FILE")
    })
}
